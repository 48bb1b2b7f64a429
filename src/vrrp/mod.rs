//! Virtual routers (VRRP, RFC 3768 and RFC 9568): who holds the VIPs, decided purely.
//!
//! [`settings`] is what they are to be; [`exchange`] what the router is told and what it wants done. Sockets,
//! netlink and threads are the daemon's; configuration files are `config`'s.

use std::time::Duration;

pub mod event;
pub mod exchange;
pub mod settings;
pub mod tracking;

/// Longest time an instance waits in Init for the director's services.
pub const READY_LIMIT: Duration = Duration::from_secs(10);
