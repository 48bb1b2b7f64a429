//! The shell: everything that can block, fail or lie. It performs the director's effects and decides nothing.
//!
//! [`startup`] makes sure this may be the director of its network namespace; [`main_loop`] owns the director and
//! hands out work: [`actuator`] talks to the kernel, [`prober`] asks real servers, [`control`] answers operators,
//! [`state_file`] remembers, [`sink`] tells. [`process`] knows who else runs here.

pub mod actuator;
pub mod control;
pub mod main_loop;
pub mod prober;
pub mod process;
pub mod sink;
pub mod startup;
pub mod state_file;
