//! Where the services of virtual servers are in the kernel, by address or by mark, and the way from one to the other.
//!
//! Make before break: the service in the new place comes first, the old one stays as it is until packets find the new
//! one, then sends no new connections to other hosts and goes when the old ones have ended. The director recomputes it at
//! every change of configuration, addresses and marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{Colocated, LocalAddresses, Remedy};
use crate::config::VirtualServerId;
use crate::director::event::Event;
use crate::director::io::Effect;
use crate::director::pool::{DRAIN_DEADLINE, DRAIN_GRACE, Pool};
use crate::director::{Director, Life, desired};
use crate::ipvs::types::{DesiredService, DestinationEntry, ServiceEntry, ServiceKey};
use crate::net::tc::ingress::FwmarkRule;
use crate::time::Instant;

/// The state of the tc filters that set marks at the ingress of links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngressMarks {
    /// Marks that packets get wherever they should.
    pub marked: BTreeSet<u32>,
    /// This kernel cannot mark packets.
    pub cannot_mark: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    local: LocalAddresses,
    ingress_marks: IngressMarks,
    colocated: BTreeMap<VirtualServerId, Colocated>,
    /// The virtual server whose packets get a mark, by mark.
    by_mark: BTreeMap<u32, VirtualServerId>,
    retired: BTreeMap<ServiceKey, Retired>,
    emitted: Vec<FwmarkRule>,
    /// The packets to be marked may have changed since the last effect.
    is_stale: bool,
}

/// A service whose virtual server has another one now.
#[derive(Clone, Copy, Debug)]
struct Retired {
    virtual_server: VirtualServerId,
    /// When it is removed, even if it still has connections; None until packets find its successor.
    deadline: Option<Instant>,
    quiet_since: Option<Instant>,
}

impl Placement {
    /// What is done about a virtual server of which this host is a real server.
    pub(crate) fn colocated(&self, id: VirtualServerId) -> Option<&Colocated> {
        self.colocated.get(&id)
    }

    /// The virtual servers of which this host is a real server.
    pub(crate) fn ids(&self) -> impl Iterator<Item = VirtualServerId> + '_ {
        self.colocated.keys().copied()
    }

    /// Whether this kernel cannot mark packets.
    pub(crate) fn cannot_mark(&self) -> bool {
        self.ingress_marks.cannot_mark
    }

    /// Whether the packets of a mark get it everywhere.
    pub(crate) fn is_marked(&self, mark: u32) -> bool {
        self.ingress_marks.marked.contains(&mark)
    }

    /// The virtual server a service in the kernel is of, or would be.
    pub(crate) fn owner(&self, key: ServiceKey) -> VirtualServerId {
        let ours = || {
            let ServiceKey::Fwmark { mark, .. } = key else { return None };
            self.by_mark.get(&mark).copied()
        };
        let retired = self.retired.get(&key).map(|retired| retired.virtual_server);
        retired.or_else(ours).unwrap_or_else(|| desired::virtual_server_id(key))
    }

    /// The VIP of a service in the kernel.
    pub(crate) fn vip(&self, key: ServiceKey) -> Option<IpAddr> {
        match self.owner(key) {
            VirtualServerId::Address { address, .. } => Some(address),
            VirtualServerId::Fwmark { .. } => None,
        }
    }

    fn retire(&mut self, key: ServiceKey, virtual_server: VirtualServerId) {
        let retired = Retired { virtual_server, deadline: None, quiet_since: None };
        self.retired.entry(key).or_insert(retired);
    }

    /// Forgets retired services: at a stop every service goes.
    pub(crate) fn clear(&mut self) {
        self.retired.clear();
    }

    fn fwmark_rules(&self) -> Vec<FwmarkRule> {
        self.colocated.iter().filter_map(|(id, c)| super::fwmark_rule(*id, c)).collect()
    }

    /// This host's addresses on links of the network.
    pub(crate) fn on_network(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.local.on_network.iter().copied()
    }

    /// This host's addresses, each with its link. Those of `lo` are among them: a host whose links have none of their
    /// own uses these as the source.
    pub(crate) fn own_on_links(&self) -> impl Iterator<Item = (IpAddr, u32)> + '_ {
        let own = self.local.own.iter().filter(|ip| !ip.is_loopback());
        own.map(|ip| (*ip, self.local.links.get(ip).copied().unwrap_or_default()))
    }

    /// Whether an address is this host's.
    pub(crate) fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.local.own.contains(&ip)
    }

    /// The service without new connections to other hosts: at its old place packets are no longer expected, except
    /// unmarked ones of peers, for this host.
    fn quiesced(&self, key: ServiceKey, actual: &ServiceEntry) -> DesiredService {
        let mut wanted = held(actual);
        let is_by_address = matches!(key, ServiceKey::Address { .. });
        for (at, destination) in &mut wanted.destinations {
            if !(is_by_address && self.is_own(at.ip())) {
                destination.weight = 0;
            }
        }
        wanted
    }
}

/// A service as it is.
fn held(actual: &ServiceEntry) -> DesiredService {
    let destinations = actual.destinations.iter().map(|(at, entry)| (*at, entry.destination)).collect();
    DesiredService { service: actual.service.clone(), destinations }
}

impl Director {
    pub(crate) fn on_local_addresses(&mut self, local: LocalAddresses, events: &mut Vec<Event>) {
        if self.life != Life::Running {
            return;
        }
        self.placement.local = local;
        self.find_sources();
        self.recompute_placement(events);
    }

    pub(crate) fn ingress_marks_are(&mut self, ingress_marks: IngressMarks, events: &mut Vec<Event>) {
        if self.life != Life::Running {
            return;
        }
        self.placement.ingress_marks = ingress_marks;
        self.recompute_placement(events);
    }

    /// Recomputes where the services belong.
    pub(crate) fn recompute_placement(&mut self, events: &mut Vec<Event>) {
        let (own, can_mark) = (&self.placement.local.own, !self.placement.ingress_marks.cannot_mark);
        let found = super::find(&self.config, own, can_mark);
        let before = std::mem::replace(&mut self.placement.colocated, found);
        let marks = self.placement.colocated.iter().filter_map(|(id, is)| Some((is.mark()?, *id)));
        self.placement.by_mark = marks.collect();
        self.placement.is_stale = true;
        for (id, is) in &self.placement.colocated {
            if before.get(id) != Some(is) {
                let has_limits = is.mark().is_none();
                let what = Some(is.to_string());
                events.push(Event::Colocated { virtual_server: *id, what, has_limits });
            }
            // A predecessor that knew no marks may have left it there, and it would schedule what peers send.
            if is.mark().is_some() && before.get(id).is_none_or(|was| was.mark().is_none()) {
                self.reconciler.adopt(desired::service_key(*id));
            }
        }
        for id in before.keys().filter(|id| !self.placement.colocated.contains_key(id)) {
            events.push(Event::Colocated { virtual_server: *id, what: None, has_limits: false });
        }
        for (id, pool) in &mut self.pools {
            let mark = self.placement.colocated.get(id).and_then(Colocated::mark);
            if self.placement.colocated.contains_key(id) || before.contains_key(id) {
                self.changed_pools.insert(*id);
            }
            if mark == pool.mark {
                continue;
            }
            let old = pool.key();
            pool.mark = mark;
            self.reconciler.remove_desired(old);
            if self.reconciler.actual(&old).is_some() {
                self.placement.retire(old, *id);
            }
        }
    }

    /// Whether a virtual server's service belongs into the kernel now.
    pub(crate) fn belongs_in_kernel(&self, id: VirtualServerId) -> bool {
        let Some(Colocated { remedy: Remedy::WhileActive(_), .. }) = self.placement.colocated.get(&id) else {
            return true;
        };
        let VirtualServerId::Address { address, .. } = id else { return true };
        self.vrrp_link.holds(address).unwrap_or_else(|| self.placement.local.on_network.contains(&address))
    }

    /// Takes a reading of a service: true when it is that of its pool, and not one that is to go.
    pub(crate) fn is_in_place(&mut self, key: ServiceKey, id: VirtualServerId) -> bool {
        let Some(pool) = self.pools.get(&id) else { return false };
        if pool.key() == key {
            return true;
        }
        if self.reconciler.actual(&key).is_some() {
            self.placement.retire(key, id);
        }
        false
    }

    /// Whether a service is on its way out because its virtual server has another one now.
    pub fn is_retired(&self, key: ServiceKey) -> bool {
        self.placement.retired.contains_key(&key)
    }

    /// A service in the words of its virtual server.
    pub fn in_words_of(&self, id: VirtualServerId, mark: Option<u32>, entry: &ServiceEntry) -> ServiceEntry {
        match (mark, self.pools.get(&id)) {
            (Some(_), Some(pool)) => desired::by_address(entry, &pool.server),
            _ => entry.clone(),
        }
    }

    /// Moves retired services on: held, quiesced, removed.
    pub(crate) fn update_retired(&mut self, now: Instant) {
        for (key, retired) in self.placement.retired.clone() {
            #[cfg(test)]
            crate::director::steps::take(1);
            let pool = self.pools.get(&retired.virtual_server).filter(|pool| pool.key() != key);
            let is_over = pool.is_none() || !self.reconciler.owned().contains(&key);
            let wish = match (pool, self.reconciler.actual(&key)) {
                (Some(pool), Some(actual)) => self.wish(now, key, retired, pool, actual),
                (None, _) | (_, None) => None,
            };
            let is_current = self.pools.get(&retired.virtual_server).is_some_and(|pool| pool.key() == key);
            match wish {
                Some((desired, retired)) => {
                    self.reconciler.set_desired(key, &Arc::new(desired));
                    self.reconciler.watch(key, retired.deadline.is_some(), now);
                    self.placement.retired.insert(key, retired);
                }
                None if is_current => {}
                None => self.reconciler.remove_desired(key),
            }
            if is_over {
                self.placement.retired.remove(&key);
                self.reconciler.touch(key);
            }
        }
    }

    /// What a retired service should be; None when it should be gone.
    fn wish(
        &self,
        now: Instant,
        key: ServiceKey,
        mut retired: Retired,
        pool: &Pool,
        actual: &ServiceEntry,
    ) -> Option<(DesiredService, Retired)> {
        let is_found = match key {
            ServiceKey::Address { .. } => pool.mark.is_none_or(|mark| self.placement.is_marked(mark)),
            ServiceKey::Fwmark { mark, .. } => !self.placement.is_marked(mark),
        };
        let has_successor =
            self.reconciler.actual(&pool.key()).is_some() || !self.belongs_in_kernel(retired.virtual_server);
        if !is_found || !has_successor {
            return Some((held(actual), Retired { deadline: None, quiet_since: None, ..retired }));
        }
        let deadline = *retired.deadline.get_or_insert(now + DRAIN_DEADLINE);
        let wanted = self.placement.quiesced(key, actual);
        let quiet = |(at, entry): (&_, &DestinationEntry)| {
            let is_leaving = wanted.destinations.get(at).is_some_and(|wanted| wanted.weight == 0);
            let connections = entry.connections.active.saturating_add(entry.connections.inactive);
            !is_leaving || (entry.destination.weight == 0 && connections == 0)
        };
        let is_quiet = actual.destinations.iter().all(quiet);
        retired.quiet_since = is_quiet.then(|| retired.quiet_since.unwrap_or(now));
        let has_rested = retired.quiet_since.is_some_and(|since| now.since(since) >= DRAIN_GRACE);
        // It would refuse what peers send, which this host answers without it.
        let is_empty = actual.destinations.is_empty();
        let is_over = desired::must_leave_at_once(&pool.server) || is_empty || has_rested || now >= deadline;
        (!is_over).then_some((wanted, retired))
    }

    /// Emits which packets are to be marked, when that changed.
    pub(crate) fn emit_markings(&mut self, effects: &mut Vec<Effect>) {
        if !std::mem::take(&mut self.placement.is_stale) {
            return;
        }
        let fwmark_rules = self.placement.fwmark_rules();
        #[cfg(test)]
        crate::director::steps::take(fwmark_rules.len());
        if fwmark_rules != self.placement.emitted {
            self.placement.emitted.clone_from(&fwmark_rules);
            effects.push(Effect::Mark(fwmark_rules));
        }
    }
}
