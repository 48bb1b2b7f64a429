//! Kernels for the lab: starting one, being its first process, running a list of scenarios on several.

pub mod counted;
pub mod guest;
pub mod init;
pub mod interrupt;
pub mod kernel;
pub mod runner;
pub mod scratch;
pub mod terminal;
