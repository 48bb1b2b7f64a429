//! What instances track: runs of scripts, instances of processes, numbers in files, interfaces. Pure.
//!
//! [`levels`] says what they do to priorities; [`damping`] keeps back what flaps; `needed_links`, `link_delay` and `relevance` concern interfaces. The shell runs the scripts and looks at the host
//! (`daemon::trackers`); when, and what the results amount to, is decided here.

pub(crate) mod damping;
pub(crate) mod file;
pub(super) mod levels;
pub(super) mod link_delay;
pub(super) mod needed_links;
pub(crate) mod process;
pub(super) mod relevance;
pub(crate) mod script;
