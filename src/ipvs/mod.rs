//! The kernel's IPVS table, in the kernel's own words: services and destinations.
//!
//! [`types`] say what the table holds,
//! [`scheduler`] which schedulers and flags exist, [`plan`] computes the operations that turn one table into
//! another, and a [`backend`] reads and changes a real table: [`netlink`] the kernel's. Tests and the simulated world have
//! an imitation, `memory`; both backends pass the suite in `conformance`.

pub(crate) mod backend;
#[cfg(any(test, feature = "internals"))]
pub mod conformance;
pub(crate) mod connections;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod memory;
pub(crate) mod netlink;
pub(crate) mod plan;
pub(crate) mod scheduler;
pub(crate) mod types;
