//! What is followed, as history: runs of scripts, instances of processes, numbers in files. Pure.
//!
//! What a level does to priorities is the router's affair. The shell runs the scripts and looks at the host
//! (`daemon::trackers`); when, and what the results amount to, is decided here.

pub(crate) mod file;
pub(crate) mod process;
pub(crate) mod script;
