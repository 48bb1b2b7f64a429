//! The kernel's IPVS table, in the kernel's own words: services and destinations.
//!
//! This layer refuses to know health, configuration files and time. [`types`] say what the table holds,
//! [`scheduler`] which schedulers and flags exist, [`plan`] computes the operations that turn one table into
//! another, and a [`backend`] reads and changes a real table: [`netlink`] the kernel's, [`memory`] an
//! imitation for tests. Both backends pass the suite in [`conformance`].

pub mod backend;
pub mod conformance;
pub mod connections;
pub mod memory;
pub mod netlink;
pub mod plan;
pub mod scheduler;
pub mod types;
