//! Virtual routers (VRRP, RFC 3768 and RFC 9568): who holds the VIPs, decided purely.
//!
//! [`router`] decides; [`settings`] is what virtual routers are to be; [`io`] what the router is told and what it
//! wants done; [`packet`] writes and reads advertisements. Sockets, netlink and threads are the daemon's; configuration
//! files are `config`'s.

mod addresses;
pub(crate) mod binding;
mod crash_plan;
pub(crate) mod event;
mod group;
pub(crate) mod handover;
mod host_news;
mod instance;
pub(crate) mod io;
mod leave_init;
mod log_limit;
mod member;
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
