//! What the kernel reports: which entries another program added or removed, and what goes with a link.

use std::sync::Arc;
use std::time::Duration;

use super::{AddressReconciler, FIGHT_PAUSE, Key, PEACE, is_present};
use crate::net::types::{Host, HostEvent, Link, Prefix, Route, Vmac};
use crate::time::Instant;

impl AddressReconciler {
    /// The kernel reported a change; `host` is as before it.
    pub(crate) fn observe(&mut self, event: &HostEvent, host: &Host, now: Instant) {
        match event {
            HostEvent::Link(link) => self.observe_link(link, host),
            HostEvent::LinkGone(index) => {
                if let Some(link) = host.links.get(index) {
                    let name = link.name.clone();
                    self.is_dirty |= self.index.needs_link(&name);
                    self.forget_through(&name);
                    self.done.remove(&Key::Vmac(name));
                }
                self.off.remove(index);
            }
            HostEvent::Address(held) | HostEvent::AddressGone(held) => {
                let Some(link) = host.links.get(&held.link) else { return };
                let key = (link.name.clone(), held.prefix);
                let is_there = matches!(event, HostEvent::Address(_));
                let was_there = is_present(host, held.link, held.prefix);
                if self.in_flight.is_some() {
                    self.touched.insert(key.clone());
                }
                if is_there == was_there {
                    return;
                }
                if is_there {
                    self.retry_routes(now);
                } else {
                    let name = link.name.clone();
                    self.hosts_own.remove(&key);
                    self.forget_without(held, &name, host);
                }
                let is_desired = self.index.address(&self.desired, &key).is_some();
                let asked = self.in_flight.as_ref().and_then(|asked| asked.addresses.get(&key));
                let is_asked = asked == Some(&is_there);
                // A link that goes down loses its IPv6 addresses by itself.
                if !is_asked && !self.off.contains(&held.link) && is_there != is_desired {
                    self.changed_by_others(Key::Address(key.clone()), is_desired, now);
                }
                self.is_dirty |= self.index.needs_link(&link.name) || self.ours.contains_key(&key);
            }
            HostEvent::RouteGone(route) => {
                let lost = self.index.route(&self.desired, route);
                if let Some(key) = lost.map(|route| Key::Route(Arc::clone(route))) {
                    self.lost(key, now);
                }
            }
            HostEvent::RuleGone(rule) => {
                let lost = self.index.rule(&self.desired, rule);
                if let Some(key) = lost.map(|rule| Key::Rule(Arc::clone(rule))) {
                    self.lost(key, now);
                }
            }
            HostEvent::Neighbour(_) => {}
        }
    }

    /// A link is there, or changed, as it is, however it counts; `host` is as before it.
    pub(crate) fn observe_link(&mut self, link: &Link, host: &Host) {
        let before = host.links.get(&link.index);
        let was_off = match link.is_up {
            true => self.off.remove(&link.index),
            false => !self.off.insert(link.index),
        };
        if let Some(before) = before {
            self.identity_changed(before, link);
        }
        let came_up = link.is_up && was_off;
        if came_up || before.is_none() {
            // The kernel drops the routes of a link that goes down, and says so of few.
            self.is_dirty |= self.index.needs_link(&link.name);
            self.forget_through(&link.name);
        }
    }

    /// A link may have another name, or be part of another VRF. What is ours on a link that was renamed is not where
    /// it is desired any more, and must be found there to be removed.
    pub(super) fn identity_changed(&mut self, before: &Link, link: &Link) {
        if before.name == link.name {
            if before.master != link.master {
                // Its VMACs have to follow it.
                self.distrust_vmacs_on(&link.name);
            }
            return;
        }
        let (old, new) = (&before.name, &link.name);
        let moved = |(name, rest): (String, Prefix)| (if name == *old { new.clone() } else { name }, rest);
        let ours = std::mem::take(&mut self.ours).into_iter();
        self.ours = ours.map(|(key, address)| (moved(key), address)).collect();
        self.hosts_own = std::mem::take(&mut self.hosts_own).into_iter().map(moved).collect();
        for keys in [&mut self.done, &mut self.added] {
            *keys = std::mem::take(keys).into_iter().map(|key| renamed(key, old, new)).collect();
        }
        if let Some(vmac) = self.vmacs.remove(old) {
            self.done.remove(&Key::Vmac(new.clone()));
            self.vmacs.insert(new.clone(), Arc::new(Vmac { name: new.clone(), ..Vmac::clone(&vmac) }));
        }
        self.distrust_vmacs_on(old);
        self.is_dirty = true;
    }

    /// VMACs on that base have to be made again, or made right.
    fn distrust_vmacs_on(&mut self, base: &str) {
        let vmacs = &self.vmacs;
        let is_on = |name: &String| vmacs.get(name).is_some_and(|vmac| vmac.base == base);
        self.done.retain(|key| !matches!(key, Key::Vmac(name) if is_on(name)));
        self.is_dirty = true;
    }

    pub(super) fn lost(&mut self, key: Key, now: Instant) {
        if self.done.remove(&key) {
            self.changed_by_others(key, true, now);
            self.is_dirty = true;
        }
    }

    /// Another program removed a desired entry, or added one that must not be there.
    fn changed_by_others(&mut self, key: Key, is_desired: bool, now: Instant) {
        if is_desired && !self.is_tracked(&key) {
            self.not_restored.insert(key);
            return;
        }
        if is_desired {
            self.removed_by_others.insert(key.clone());
        } else if !matches!(&key, Key::Address((link, prefix)) if self.is_forbidden(link, prefix.ip)) {
            return;
        }
        self.postpone(&key, now);
    }

    /// What is done again and again is done more and more slowly.
    pub(super) fn postpone(&mut self, key: &Key, now: Instant) {
        let pause = self.pauses.entry(key.clone()).or_default();
        let is_fight = pause.last > Instant::ZERO && now.since(pause.last) < PEACE;
        pause.length = match is_fight {
            true => (pause.length * 2).clamp(FIGHT_PAUSE.0, FIGHT_PAUSE.1),
            false => Duration::ZERO,
        };
        (pause.last, pause.next) = (now, now + pause.length);
    }
}

/// What is there through a link that has another name now.
fn renamed(key: Key, old: &str, new: &str) -> Key {
    match key {
        Key::Route(route) if route.hops.iter().any(|hop| hop.link.as_deref() == Some(old)) => {
            let mut route = Route::clone(&route);
            for hop in route.hops.iter_mut().filter(|hop| hop.link.as_deref() == Some(old)) {
                hop.link = Some(new.to_owned());
            }
            Key::Route(Arc::new(route))
        }
        Key::Vmac(name) if name == old => Key::Vmac(new.to_owned()),
        other => other,
    }
}
