//! What an option is when nobody wrote it. The only place that knows the defaults of a dialect.

use std::time::Duration;

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Forwarding, Protocol};

/// Whose defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// keepalived.conf.
    Keepalived,
}

/// The defaults of a dialect.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// `protocol`.
    pub protocol: Protocol,
    /// `lb_algo`.
    pub scheduler: Option<Scheduler>,
    /// `lb_kind`.
    pub forwarding: Forwarding,
    /// `weight`.
    pub weight: u32,
    /// `persistence_timeout` where persistence is on without a time, in seconds.
    pub persistence_timeout: u32,
    /// `delay_loop`.
    pub interval: Duration,
    /// `connect_timeout`.
    pub connect_timeout: Duration,
    /// `retry`.
    pub retry: u32,
    /// `delay_before_retry` of HTTP_GET.
    pub http_delay_before_retry: Duration,
    /// `delay_before_retry` of the other checkers.
    pub delay_before_retry: Duration,
    /// `status_code`.
    pub status: (u16, u16),
}

/// The defaults of a dialect.
pub fn defaults(dialect: Dialect) -> Defaults {
    match dialect {
        Dialect::Keepalived => Defaults {
            protocol: Protocol::Udp,
            scheduler: Scheduler::new("wlc"),
            forwarding: Forwarding::Nat,
            weight: 1,
            persistence_timeout: 360,
            interval: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            retry: 1,
            http_delay_before_retry: Duration::from_secs(3),
            delay_before_retry: Duration::from_secs(1),
            status: (200, 299),
        },
    }
}
