//! The host's network beside IPVS, in the kernel's words: [`types`]; [`sysctl`] reads and writes the kernel's settings.
//!
//! This layer refuses to know configuration files and health.

pub mod sysctl;
pub mod types;
