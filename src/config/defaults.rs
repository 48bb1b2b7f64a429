//! Dialects: whose defaults apply. An option's defaults stand where it is declared; here are those that belong to no
//! single option.

use std::time::Duration;

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::Forwarding;

/// Whose defaults apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// keepalived's: what keepalived.conf means, and YAML that says so.
    #[default]
    Keepalived,
    /// lvsd's own: YAML's.
    Native,
}

impl Dialect {
    fn is_native(self) -> bool {
        self == Dialect::Native
    }

    /// `lb_algo`.
    pub(crate) fn scheduler(self) -> Option<Scheduler> {
        Scheduler::new("wlc")
    }

    /// `lb_kind`; None: it must be written.
    pub(crate) fn forwarding(self) -> Option<Forwarding> {
        (!self.is_native()).then_some(Forwarding::Nat)
    }

    /// `delay_before_retry` of HTTP_GET.
    pub(crate) fn http_delay_before_retry(self) -> Duration {
        Duration::from_secs(3)
    }

    /// `delay_before_retry` of the other checkers.
    pub(crate) fn delay_before_retry(self) -> Duration {
        Duration::from_secs(1)
    }

    /// An instance of `state MASTER` without `priority` is the owner of its addresses.
    pub(crate) fn owner_by_state(self) -> bool {
        !self.is_native()
    }

    /// `check_unicast_src`, and the TTL of peers on the own link: one packet from anywhere makes a Master yield.
    pub(crate) fn checks_peers(self) -> bool {
        self.is_native()
    }

    /// `vrrp_forwarding_weight`: a director that cannot forward leaves the VIP to one that can.
    pub(crate) fn forwarding_weight(self) -> u8 {
        if self.is_native() { 50 } else { 0 }
    }

    /// Settings of the kernel, by name: without them, connections to a server that is gone hang until they time out.
    pub(crate) fn sysctl(self) -> &'static [(&'static str, u32)] {
        if self.is_native() { &[("expire_nodest_conn", 1), ("expire_quiescent_template", 1)] } else { &[] }
    }
}
