//! The host's network beside IPVS, in the kernel's words. [`sysctl`] reads and writes the kernel's settings.
//!
//! This layer refuses to know configuration files and health.

pub mod sysctl;
