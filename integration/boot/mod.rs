//! Kernels for the lab: starting one, being its first process.

pub(crate) mod counted;
pub(crate) mod guest;
pub(crate) mod init;
pub(crate) mod interrupt;
pub(crate) mod kernel;
pub(crate) mod scratch;
pub(crate) mod terminal;
