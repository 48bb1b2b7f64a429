//! What path checks read of the director: checkers, pools, own addresses, VRRP instances.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::is_path_check;
use crate::check::source::distance;
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::director::checkers::{CheckerId, Checkers, Entry};
use crate::director::colocation::placement::Placement;
use crate::director::pool::{Member, Pool};
use crate::director::vrrp_link::VrrpLink;
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Destination, Family, Service, ServiceFlags, SyncRole};
use crate::time::Instant;

pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) checkers: &'a Checkers,
    pub(crate) pools: &'a BTreeMap<VirtualServerId, Pool>,
    pub(crate) placement: &'a Placement,
    pub(crate) vrrp_link: &'a VrrpLink,
}

impl<'a> View<'a> {
    /// A path check and the real server that it is about.
    pub(super) fn check(&self, id: CheckerId) -> Option<(&'a Entry, VirtualServerId, SocketAddr)> {
        let entry = self.checkers.get(id)?;
        let (server, at) = entry.subscribers.first().copied()?;
        Some((entry, server, at))
    }

    fn member(&self, server: VirtualServerId, at: SocketAddr) -> Option<&'a Member> {
        self.pools.get(&server).and_then(|pool| pool.members.get(&at))
    }

    /// The checks of a real server itself.
    pub(super) fn own_checks(
        &self,
        server: VirtualServerId,
        at: SocketAddr,
    ) -> impl Iterator<Item = CheckerId> + 'a {
        self.checks(server, at, false)
    }

    /// The path checks of a real server.
    pub(super) fn path_checks(
        &self,
        server: VirtualServerId,
        at: SocketAddr,
    ) -> impl Iterator<Item = CheckerId> + 'a {
        self.checks(server, at, true)
    }

    fn checks(
        &self,
        server: VirtualServerId,
        at: SocketAddr,
        of_path: bool,
    ) -> impl Iterator<Item = CheckerId> + 'a {
        let checkers = self.checkers;
        let subscriptions = self.member(server, at).into_iter().flat_map(|member| &member.subscriptions);
        let ids = subscriptions.map(|subscription| subscription.checker);
        ids.filter(move |id| checkers.get(*id).is_some_and(|entry| is_path_check(entry) == of_path))
    }

    /// Whether a real server serves.
    pub(super) fn is_up(&self, server: VirtualServerId, at: SocketAddr) -> bool {
        self.member(server, at).is_some_and(|member| member.is_up)
    }

    /// Whether the last run of a check did not pass.
    pub(super) fn has_not_passed(&self, id: CheckerId) -> bool {
        self.checkers.get(id).is_some_and(|check| check.schedule.passed_at().is_none())
    }

    /// Why the path to a real server need not be checked from here, in words.
    pub(super) fn is_not_needed(&self, at: SocketAddr) -> Option<&'static str> {
        if self.placement.is_own(at.ip()) {
            return Some("not checked: it is this host");
        }
        // With backup_only the kernel of a standby schedules nothing: the probe would go to the active director.
        let global = &self.config.global;
        let is_idle = global.sysctl.get("backup_only").is_some_and(|value| value.0.first() == Some(&1));
        let daemons = self.vrrp_link.sync_daemons(global);
        let is_backup = daemons.iter().any(|daemon| daemon.role == SyncRole::Backup);
        (is_idle && is_backup).then_some("not checked: backup_only keeps this standby from forwarding")
    }

    /// The own address on the network that is most alike the target, and that is no VIP.
    pub(super) fn nearest_address(
        &self,
        family: Family,
        to: IpAddr,
        is_vip: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let own = self.placement.on_network().filter(|ip| Family::of(*ip) == family && !is_vip(*ip));
        own.min_by_key(|ip| distance(*ip, to))
    }

    /// The probe service that a check needs.
    ///
    /// # Errors
    /// When the check is to come again, if at all.
    pub(super) fn probe_service(
        &self,
        now: Instant,
        id: CheckerId,
    ) -> Result<(Service, (SocketAddr, Destination), Family), Option<Instant>> {
        let (entry, server, at) = self.check(id).ok_or(None)?;
        if self.own_checks(server, at).any(|own| self.has_not_passed(own)) {
            return Err(Some(now + entry.spec.timing.interval));
        }
        let pool = self.pools.get(&server).ok_or(None)?;
        let real = self.member(server, at).map(|member| &member.real_server).ok_or(None)?;
        let destination =
            Destination { forwarding: real.forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 };
        Ok((service(&pool.server), (SocketAddr::new(at.ip(), 0), destination), server.family()))
    }
}

/// A probe service has one destination, so any scheduler will do. The kernel has the virtual server's own; schedulers
/// that build large tables are avoided.
fn service(server: &VirtualServer) -> Service {
    let is_dear = matches!(server.scheduler.as_str(), "mh" | "sh" | "dh" | "lblc" | "lblcr");
    let plain = Scheduler::new("rr").filter(|_| is_dear);
    Service {
        scheduler: plain.unwrap_or_else(|| server.scheduler.clone()),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}
