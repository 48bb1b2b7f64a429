//! From what is to what should be: the next request, in an order in which each thing finds what it leans on.

use std::sync::Arc;

use super::{AddressKey, Holdings, InFlight, Key, address_key, is_present};
use crate::net::types::{Host, Op, Route, Vmac};
use crate::time::Instant;
use crate::vrrp::event::Event;

impl Holdings {
    /// What to ask of the kernel now.
    pub fn plan(&mut self, host: &Host, now: Instant) -> Option<Vec<Op>> {
        let is_due = self.is_dirty || self.wake.is_some_and(|at| at <= now);
        if self.in_flight.is_some() || !is_due {
            return None;
        }
        (self.is_dirty, self.wake) = (false, None);
        let present = self.present_addresses(host);
        self.appeared.extend(present.difference(&self.present).cloned());
        self.present = present;
        let mut ops = Vec::new();
        self.plan_removals(host, now, &mut ops);
        self.plan_displaced(now, &mut ops);
        self.plan_additions(host, now, &mut ops);
        let gone: Vec<_> = self.vmacs.values().filter(|v| !self.wanted.vmacs.contains(v)).cloned().collect();
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

    fn plan_removals(&mut self, host: &Host, now: Instant, ops: &mut Vec<(Key, Op)>) {
        // Rules before routes before addresses: each leans on what follows.
        let gone: Vec<_> = self.done.iter().filter(|key| !self.index.contains(key)).rev().cloned().collect();
        for key in gone {
            if !self.may_try(&key, now) {
                continue;
            }
            let op = match &key {
                Key::Rule(rule) => Op::RemoveRule(Arc::clone(rule)),
                Key::Route(route) => Op::RemoveRoute(Arc::clone(route)),
                Key::Vmac(_) | Key::Address(_) => continue,
            };
            ops.push((key, op));
        }
        let mut unwanted = Vec::new();
        for held in &host.addresses {
            let Some(link) = host.links.get(&held.link) else { continue };
            let key = (link.name.clone(), held.prefix);
            let place = (link.name.clone(), held.prefix.ip);
            if self.spared.contains(&place) {
                continue;
            }
            let is_wanted = self.index.address(&self.wanted, &key).is_some();
            let is_ours = self.ours.contains_key(&key);
            let is_changed = self.is_changed(&key);
            if (is_wanted && !is_changed) || !(is_ours || self.wanted.forbidden.contains(&place)) {
                continue;
            }
            unwanted.push((key, held.link, is_ours));
        }
        for (place, link, is_ours) in unwanted {
            let prefix = place.1;
            let key = Key::Address(place.clone());
            if !self.may_try(&key, now) {
                continue;
            }
            if !is_ours {
                self.events.push(Event::LeftOver { prefix, link: place.0, is_adopted: false });
            }
            ops.push((key, Op::RemoveAddress { link, prefix }));
        }
        // Ours, and gone without our doing.
        self.ours.retain(|key, _| {
            self.index.contains(&Key::Address(key.clone()))
                || host.link(&key.0).is_some_and(|l| is_present(host, l.index, key.1))
        });
    }

    /// It is there, but was added with other attributes than it should have now.
    fn is_changed(&self, key: &AddressKey) -> bool {
        let wanted = self.index.address(&self.wanted, key);
        matches!((wanted, self.ours.get(key)), (Some(want), Some(ours)) if want.it != *ours)
    }

    /// VMACs that somebody renamed go first: their MAC address is wanted for another.
    fn plan_displaced(&mut self, now: Instant, ops: &mut Vec<(Key, Op)>) {
        let wanted = &self.wanted.vmacs;
        let is_displaced = |v: &&Arc<Vmac>| {
            let is_same = |w: &Arc<Vmac>| (&w.base, w.mac) == (&v.base, v.mac);
            wanted.iter().all(|w| w.name != v.name) && wanted.iter().any(is_same)
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
        for vmac in self.wanted.vmacs.clone() {
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
        for want in self.wanted.addresses.clone() {
            let place = address_key(&want.it);
            let key = Key::Address(place.clone());
            let Some(link) = host.link(&want.it.link) else { continue };
            if self.spared.contains(&(place.0.clone(), place.1.ip)) {
                continue;
            }
            // The kernel gives a link that is switched off no address of IPv6; one of IPv4 is of no use there, and
            // the link may be about to go.
            if self.off.contains(&link.index) {
                continue;
            }
            let is_changed = self.is_changed(&place);
            if is_present(host, link.index, place.1) && !is_changed {
                if !self.ours.contains_key(&place) {
                    self.ours.insert(place.clone(), Arc::clone(&want.it));
                    let event = Event::LeftOver { prefix: place.1, link: place.0.clone(), is_adopted: true };
                    self.events.push(event);
                }
                continue;
            }
            if !self.abandoned.contains(&key) && self.may_try(&key, now) {
                self.ours.insert(place, Arc::clone(&want.it));
                ops.push((key, Op::AddAddress(want.it)));
            }
        }
        for want in self.wanted.routes.clone() {
            let key = Key::Route(Arc::clone(&want.it));
            let is_wanted = !self.done.contains(&key) && !self.abandoned.contains(&key);
            if is_wanted && self.has_way(&want.it, host) && self.may_try(&key, now) {
                ops.push((key, Op::AddRoute(want.it)));
            }
        }
        for want in self.wanted.rules.clone() {
            let key = Key::Rule(Arc::clone(&want.it));
            let is_wanted = !self.done.contains(&key) && !self.abandoned.contains(&key);
            if is_wanted && self.may_try(&key, now) {
                ops.push((key, Op::AddRule(want.it)));
            }
        }
    }
}
