//! From what is to what should be: the next request, in an order in which each thing finds what it leans on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::owner::Owner;
use super::{
    AddressKey, AddressReconciler, InFlight, Key, address_key, is_in_the_way_of, is_present, prefixes_of,
};
use crate::net::types::{HeldAddress, Host, LinkIndex, Op, Prefix, Route, Vmac};
use crate::time::Instant;
use crate::vrrp::event::Event;

impl AddressReconciler {
    /// What to ask of the kernel now.
    pub(crate) fn plan(&mut self, host: &Host, now: Instant) -> Option<Vec<Op>> {
        let is_due = self.is_dirty || self.wake.is_some_and(|at| at <= now);
        if self.in_flight.is_some() || !is_due {
            return None;
        }
        (self.is_dirty, self.wake) = (false, None);
        let present = self.present_addresses(host);
        self.appeared.extend(present.difference(&self.present).cloned());
        self.present = present;
        // Additions before removals: what moves is never gone, and a link never without its last address.
        let (mut ops, mut removals) = (Vec::new(), Vec::new());
        self.plan_address_removals(host, now, &mut ops, &mut removals);
        self.plan_displaced(now, &mut ops);
        self.plan_additions(host, now, &mut ops);
        self.plan_route_removals(now, &mut ops);
        ops.append(&mut removals);
        let gone: Vec<_> = self.vmacs.values().filter(|v| !self.desired.vmacs.contains(v)).cloned().collect();
        for vmac in gone {
            let key = Key::Vmac(vmac.name.clone());
            let is_planned = ops.iter().any(|(planned, _)| *planned == key);
            if !is_planned && self.may_try(&key, now) {
                ops.push((key, Op::RemoveVmac(vmac)));
            }
        }
        if ops.is_empty() {
            return None;
        }
        let asked = ops.iter().map(|(_, op)| op.clone()).collect();
        self.in_flight = Some(InFlight::new(ops));
        Some(asked)
    }

    fn may_try(&mut self, key: &Key, now: Instant) -> bool {
        match self.pauses.get(key).map(|pause| pause.next).filter(|next| *next > now) {
            Some(next) => {
                self.wake = Some(self.wake.map_or(next, |wake| wake.min(next)));
                false
            }
            None => true,
        }
    }

    /// Rules before routes: each leans on what follows.
    fn plan_route_removals(&mut self, now: Instant, ops: &mut Vec<(Key, Op)>) {
        let gone: Vec<_> = self.added.iter().filter(|key| !self.index.contains(key)).rev().cloned().collect();
        for key in gone {
            let op = match &key {
                Key::Rule(rule) => Op::RemoveRule(Arc::clone(rule)),
                // To remove it would remove what takes its place.
                Key::Route(route) if self.is_replaced(route) => continue,
                Key::Route(route) => Op::RemoveRoute(Arc::clone(route)),
                Key::Vmac(_) | Key::Address(_) => continue,
            };
            if self.may_try(&key, now) {
                ops.push((key, op));
            }
        }
    }

    /// What must go before anything can be added, and what goes after.
    fn plan_address_removals(
        &mut self,
        host: &Host,
        now: Instant,
        before: &mut Vec<(Key, Op)>,
        after: &mut Vec<(Key, Op)>,
    ) {
        let mut hosts_own = Vec::new();
        let mut undesired = Vec::new();
        for held in &host.addresses {
            let Some(link) = host.links.get(&held.link) else { continue };
            let key = (link.name.clone(), held.prefix);
            let is_ours = self.ours.contains_key(&key);
            if !is_ours && !self.desired.forbidden.contains(&(link.name.clone(), held.prefix.ip)) {
                continue;
            }
            let is_desired = self.index.address(&self.desired, &key).is_some();
            let is_changed = self.is_changed(&key);
            match self.owner(host, link, held) {
                Owner::Host => hosts_own.push(key),
                _ if is_desired && !is_changed => {}
                _ => undesired.push((key, held.link, is_ours, is_changed)),
            }
        }
        hosts_own.into_iter().for_each(|key| self.keep_hosts_own(key));
        for (place, link, is_ours, is_changed) in undesired {
            let prefix = place.1;
            let key = Key::Address(place.clone());
            if !self.may_try(&key, now) {
                continue;
            }
            // An IPv6 address is there once: with another length it makes room.
            let makes_room =
                is_changed || (prefix.ip.is_ipv6() && self.index.has_address(&place.0, prefix.ip));
            if !is_ours {
                self.events.push(Event::LeftOver { prefix, link: place.0, is_adopted: false });
            }
            let ops = if makes_room { &mut *before } else { &mut *after };
            ops.push((key, Op::RemoveAddress { link, prefix }));
        }
        // Ours, and gone without our doing.
        self.ours.retain(|key, _| {
            self.index.contains(&Key::Address(key.clone()))
                || host.link(&key.0).is_some_and(|l| is_present(host, l.index, key.1))
        });
    }

    /// A virtual address of an instance must not be the primary one of a network in which the host has an address of its
    /// own (that came late): the host would speak from it, and lose its own with it. Anew, it stands behind. These are the
    /// networks where it is so.
    fn before_hosts_own(&self, host: &Host) -> BTreeSet<(LinkIndex, Prefix)> {
        let (mut virtual_first, mut own_behind) = (BTreeSet::new(), BTreeSet::new());
        for held in host.addresses.iter().filter(|held| held.prefix.ip.is_ipv4()) {
            let network = (held.link, held.network());
            match (held.is_secondary, self.is_virtual(host, held)) {
                (false, true) => drop(virtual_first.insert(network)),
                (true, false) => drop(own_behind.insert(network)),
                _ => {}
            }
        }
        virtual_first.intersection(&own_behind).copied().collect()
    }

    /// lvsd added it for an instance.
    fn is_virtual(&self, host: &Host, held: &HeldAddress) -> bool {
        host.links.get(&held.link).is_some_and(|link| {
            let key = (link.name.clone(), held.prefix);
            let entry = self.index.address(&self.desired, &key);
            self.ours.contains_key(&key) && entry.is_some_and(|entry| !entry.instance.is_empty())
        })
    }

    fn is_replaced(&self, route: &Route) -> bool {
        let mut others = self.desired.routes.iter().filter(|entry| *entry.value != *route);
        let key = Key::Route(Arc::new(route.clone()));
        others.any(|entry| is_in_the_way_of(&key, &entry.value))
    }

    /// It is there, but was added with other attributes than it should have now.
    fn is_changed(&self, key: &AddressKey) -> bool {
        let desired = self.index.address(&self.desired, key);
        matches!((desired, self.ours.get(key)), (Some(entry), Some(ours)) if entry.value != *ours)
    }

    /// VMACs that another program renamed go first: their MAC address is needed for another one.
    fn plan_displaced(&mut self, now: Instant, ops: &mut Vec<(Key, Op)>) {
        let desired = &self.desired.vmacs;
        let is_displaced = |v: &&Arc<Vmac>| {
            let is_same = |w: &Arc<Vmac>| (&w.base, w.mac) == (&v.base, v.mac);
            desired.iter().all(|w| w.name != v.name) && desired.iter().any(is_same)
        };
        let displaced: Vec<_> = self.vmacs.values().filter(is_displaced).cloned().collect();
        for vmac in displaced {
            let key = Key::Vmac(vmac.name.clone());
            if self.may_try(&key, now) {
                ops.push((key, Op::RemoveVmac(vmac)));
            }
        }
    }

    /// A VMAC of ours that is not on the link it is to be on, because that was renamed.
    fn is_misplaced(&self, vmac: &Vmac, host: &Host) -> bool {
        let base = host.link(&vmac.base).map(|base| base.index);
        self.vmacs.contains_key(&vmac.name) && host.link(&vmac.name).is_some_and(|link| link.base != base)
    }

    /// Whether the links of a route's hops are there and switched on: else the kernel refuses it.
    fn has_way(&self, route: &Route, host: &Host) -> bool {
        let links = route.hops.iter().filter_map(|hop| hop.link.as_deref());
        links.map(|name| host.link(name)).all(|link| link.is_some_and(|l| !self.off.contains(&l.index)))
    }

    fn plan_additions(&mut self, host: &Host, now: Instant, ops: &mut Vec<(Key, Op)>) {
        for vmac in self.desired.vmacs.clone() {
            let key = Key::Vmac(vmac.name.clone());
            let is_there = self.done.contains(&key) && self.vmacs.get(&vmac.name) == Some(&vmac);
            if !is_there && self.is_misplaced(&vmac, host) {
                // Made again when it has gone.
                if self.may_try(&key, now) {
                    ops.push((key, Op::RemoveVmac(vmac)));
                }
            } else if !is_there && host.link(&vmac.base).is_some() && self.may_try(&key, now) {
                let old = self.vmacs.insert(vmac.name.clone(), Arc::clone(&vmac));
                if let Some(old) = old.filter(|old| *old != vmac) {
                    ops.push((key.clone(), Op::RemoveVmac(old)));
                }
                ops.push((key, Op::AddVmac(vmac)));
            }
        }
        let before_hosts_own = self.before_hosts_own(host);
        for entry in self.desired.addresses.clone() {
            let place = address_key(&entry.value);
            let key = Key::Address(place.clone());
            let Some(link) = host.link(&entry.value.link) else { continue };
            if self.is_hosts_own(&place.0, place.1.ip) {
                continue;
            }
            // The kernel gives a link that is switched off no address of IPv6; one of IPv4 is of no use there, and
            // the link may be about to go.
            if self.off.contains(&link.index) {
                continue;
            }
            let held = prefixes_of(host, link.index, place.1.ip).find(|held| held.prefix == place.1);
            if let Some(held) = held.filter(|_| !self.is_changed(&place)) {
                if !self.ours.contains_key(&place) {
                    if self.owner(host, link, held) == Owner::Host {
                        self.keep_hosts_own(place);
                        continue;
                    }
                    self.ours.insert(place.clone(), Arc::clone(&entry.value));
                    let event = Event::LeftOver { prefix: place.1, link: place.0.clone(), is_adopted: true };
                    self.events.push(event);
                }
                let is_before = before_hosts_own.contains(&(held.link, held.network()));
                if is_before && self.is_virtual(host, held) && self.may_try(&key, now) {
                    self.postpone(&key, now);
                    ops.push((key.clone(), Op::RemoveAddress { link: link.index, prefix: place.1 }));
                    ops.push((key, Op::AddAddress(entry.value)));
                }
                continue;
            }
            if !self.not_restored.contains(&key) && self.may_try(&key, now) {
                self.ours.insert(place, Arc::clone(&entry.value));
                ops.push((key, Op::AddAddress(entry.value)));
            }
        }
        for entry in self.desired.routes.clone() {
            let key = Key::Route(Arc::clone(&entry.value));
            let is_desired = !self.done.contains(&key) && !self.not_restored.contains(&key);
            if is_desired && self.has_way(&entry.value, host) && self.may_try(&key, now) {
                self.added.insert(key.clone());
                ops.push((key, Op::AddRoute(entry.value)));
            }
        }
        for entry in self.desired.rules.clone() {
            let key = Key::Rule(Arc::clone(&entry.value));
            let is_desired = !self.done.contains(&key) && !self.not_restored.contains(&key);
            if is_desired && self.may_try(&key, now) {
                self.added.insert(key.clone());
                ops.push((key, Op::AddRule(entry.value)));
            }
        }
    }
}
