//! Virtual routers (VRRP, RFC 3768 and RFC 9568): who holds the VIPs, decided purely.
//!
//! [`Router`] decides; [`settings`] is what virtual routers are to be; [`exchange`] what the router is told and what it
//! wants done; [`packet`] writes and reads advertisements. Sockets, netlink and threads are the daemon's; configuration
//! files are `config`'s.

use std::time::Duration;

mod announceable;
pub mod announcer;
mod concerns;
mod drops;
pub mod event;
pub mod exchange;
mod ground;
mod group;
pub mod handover;
mod hearing;
mod holdings;
mod instance;
pub mod listening;
mod member;
mod needed_links;
pub mod packet;
mod publish;
mod reload;
pub mod router;
pub mod settings;
#[cfg(test)]
pub mod sim;
mod source;
mod speakers;
pub mod status;
mod steadiness;
mod track;
pub mod tracking;
mod transition;
mod wishes;

pub use router::{Router, hosts_own};

/// Longest time an instance waits in Init for the director's services.
pub const READY_LIMIT: Duration = Duration::from_secs(10);

/// How long a fault that is found before an instance's first Backup must last to be reported: duplicate address
/// detection takes two seconds, a DHCP client's answer and ARP probe about as long.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(5);
