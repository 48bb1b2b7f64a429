//! The host's network beside IPVS, in the kernel's words: [`types`]; [`sysctl`] reads and writes the kernel's settings,
//! [`announce`] makes the frames that announce an address.
//!
//! `identity` compares routes and rules as the kernel does; [`kernel`] is this host, [`memory`] one for simulated worlds;
//! [`conformance`] holds both to the same. [`tc`] says which filters mark arriving packets,
//! [`question`] asks this host's own links for an address, [`holders`] asks the network, [`firewall`] evaluates rules, [`namespace`] moves threads.

pub(crate) mod announce;
pub(crate) mod checksum;
#[cfg(any(test, feature = "internals"))]
pub mod conformance;
pub(crate) mod firewall;
mod held;
pub(crate) mod holders;
mod identity;
pub(crate) mod kernel;
mod links;
#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod namespace;
pub(crate) mod packet_socket;
pub(crate) mod question;
pub(crate) mod reading;
pub mod sysctl;
pub(crate) mod tc {
    pub(crate) mod ingress;
}
pub(crate) mod types;
