//! Virtual routers (VRRP, RFC 3768 and RFC 9568): which host holds the VIPs, decided purely.
//!
//! - [`router`]: the state machine of all virtual routers of this host: [`io`]'s inputs in, effects out.
//! - [`instance`] is one virtual router by the RFC; `transition` and [`leave_init`] move it from state to state, with its
//!   sync [`group`]; [`reload`] and [`handover`] carry its state over.
//! - `member` is an instance with its binding, peers, counters and faults; [`binding`]: its link, source address and
//!   sockets; [`receive`]: what arrives; [`peers`]: the routers it arrives from; `log_limit` bounds the log of drops.
//! - `host_events`: what changes of links and addresses mean for instances; [`other_nodes`]: instances of the file that
//!   are another node's.
//! - [`tracking`]: scripts, files, processes and interfaces, and what they do to priorities.
//! - [`assertion`]: the command that makes a Master's addresses its own outside this host.
//! - [`addresses`]: what this host should have, how the kernel gets it, and how it is announced.
//! - `crash_plan`: what the guardian does if the daemon dies.
//! - [`packet`]: advertisements as bytes; [`settings`]: the configuration; [`event`], [`status`]: what operators see.
//!
//! Sockets, netlink and threads are the daemon's; configuration files are `config`'s.

mod addresses;
pub(crate) mod assertion;
pub(crate) mod binding;
mod crash_plan;
pub(crate) mod event;
mod group;
pub(crate) mod handover;
mod host_events;
mod instance;
pub(crate) mod io;
mod leave_init;
mod log_limit;
mod member;
pub(crate) mod other_nodes;
pub(crate) mod packet;
mod peers;
mod receive;
mod reload;
pub(crate) mod router;
pub(crate) mod settings;
#[cfg(test)]
pub(crate) mod sim;
pub(crate) mod status;
pub(crate) mod tracking;
mod transition;

pub(crate) use router::hosts_own;
