//! What an option is when nobody wrote it. The only place that knows the defaults of a dialect.

use std::time::Duration;

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Forwarding, Protocol};

/// Whose defaults apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// keepalived's: what keepalived.conf means, and YAML that says so.
    Keepalived,
    /// lvsd's own: YAML's.
    Native,
}

/// The defaults of a dialect.
#[derive(Clone, Debug)]
pub(crate) struct Defaults {
    pub protocol: Protocol,
    pub scheduler: Option<Scheduler>,
    /// `lb_kind`; None: it must be written.
    pub forwarding: Option<Forwarding>,
    pub weight: u32,
    /// `persistence_timeout` where persistence is on without a time, in seconds.
    pub persistence_timeout: u32,
    pub interval: Duration,
    pub connect_timeout: Duration,
    pub retry: u32,
    /// `delay_before_retry` of HTTP_GET.
    pub http_delay_before_retry: Duration,
    /// `delay_before_retry` of the other checkers.
    pub delay_before_retry: Duration,
    pub rise: u32,
    /// `confirm`, where `delay_before_retry` is not written.
    pub confirm: Option<Duration>,
    /// `alpha`, in YAML `check_before_add`.
    pub alpha: bool,
    pub path_check: bool,
    pub status: (u16, u16),
    /// An instance of `state MASTER` without `priority` is the owner of its addresses.
    pub owner_by_state: bool,
    /// `check_unicast_src`, and the TTL of peers on the own link.
    pub checks_peers: bool,
    pub forwarding_weight: u8,
    /// Settings of the kernel, by name.
    pub sysctl: &'static [(&'static str, u32)],
}

/// The defaults of a dialect.
pub(crate) fn defaults(dialect: Dialect) -> Defaults {
    let keepalived = Defaults {
        protocol: Protocol::Udp,
        scheduler: Scheduler::new("wlc"),
        forwarding: Some(Forwarding::Nat),
        weight: 1,
        persistence_timeout: 360,
        interval: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        retry: 1,
        http_delay_before_retry: Duration::from_secs(3),
        delay_before_retry: Duration::from_secs(1),
        rise: 1,
        confirm: None,
        alpha: false,
        path_check: false,
        status: (200, 299),
        owner_by_state: true,
        checks_peers: false,
        forwarding_weight: 0,
        sysctl: &[],
    };
    match dialect {
        Dialect::Keepalived => keepalived,
        Dialect::Native => Defaults {
            protocol: Protocol::Tcp,
            forwarding: None,
            interval: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            retry: 2,
            rise: 2,
            confirm: Some(Duration::from_millis(200)),
            alpha: true,
            path_check: true,
            owner_by_state: false,
            // One packet from anywhere makes a Master yield.
            checks_peers: true,
            // A director that cannot forward leaves the VIP to one that can.
            forwarding_weight: 50,
            // Without them, connections to a server that is gone hang until they time out.
            sysctl: &[("expire_nodest_conn", 1), ("expire_quiescent_template", 1)],
            ..keepalived
        },
    }
}
