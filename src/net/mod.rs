//! The host's network beside IPVS, in the kernel's words: [`types`]; [`sysctl`] reads and writes the kernel's settings,
//! [`announce`] makes the frames that tell where an address is.
//!
//! This layer refuses to know configuration files and health. `identity` says when two of a thing are the same;
//! [`kernel`] is this host, [`memory`] one for simulated worlds;
//! [`conformance`] holds both to the same. [`door`] says how arriving packets get marks,
//! [`question`] and [`holders`] ask who has an address, [`firewall`] which packets others' rules drop.

pub mod announce;
pub mod checksum;
pub mod conformance;
pub mod door;
pub mod firewall;
pub mod frames;
mod held;
pub mod holders;
mod identity;
pub mod kernel;
mod links;
pub mod memory;
pub mod question;
pub mod reading;
pub mod sysctl;
pub mod types;
