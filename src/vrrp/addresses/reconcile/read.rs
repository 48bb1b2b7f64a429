//! What is there as far as is known: learned by reading the host, and forgotten when the kernel may have taken it.
//!
//! The kernel announces what happens to links and addresses. Of routes it announces only some losses, and none that
//! come with a link or an address; so what may have gone with one is asked for again, and what is there is read now
//! and then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::index::{of_route, of_rule};
use super::{AddressReconciler, Key};
use crate::net::types::{HeldAddress, Host, Prefix, Route, Rule};
use crate::time::Instant;

impl AddressReconciler {
    /// The host was read, with its routes and rules. `before` is what was known.
    pub(crate) fn host_was_read(&mut self, host: &Host, before: Option<&Host>, now: Instant) {
        for link in host.links.values() {
            if let Some(before) = before.and_then(|before| before.links.get(&link.index)) {
                self.identity_changed(before, link);
            }
        }
        self.off = host.links.values().filter(|link| !link.is_up).map(|link| link.index).collect();
        self.touched.extend(self.in_flight.iter().flat_map(|asked| asked.addresses.keys()).cloned());
        self.forget_hosts_own(host);
        self.find_hosts_own(host);
        self.done.retain(|key| !matches!(key, Key::Vmac(name) if host.link(name).is_none()));
        let seen = self.seen(host);
        let in_flight: BTreeSet<Key> =
            self.in_flight.iter().flat_map(|asked| &asked.ops).map(|(key, _)| key.clone()).collect();
        // What a request under way adds may have been read before it was there.
        let lost: Vec<Key> = self
            .done
            .iter()
            .filter(|key| is_route_or_rule(key) && !seen.contains(*key) && !in_flight.contains(*key))
            .cloned()
            .collect();
        for key in lost {
            self.lost(key, now);
        }
        self.added.retain(|key| seen.contains(key) || in_flight.contains(key));
        for key in seen.into_iter().filter(|key| !in_flight.contains(key)) {
            self.not_restored.remove(&key);
            self.done.insert(key.clone());
            self.added.insert(key);
        }
        self.is_dirty = true;
    }

    /// Of all routes and rules that are configured (for any state) or were added, those that are there.
    fn seen(&self, host: &Host) -> BTreeSet<Key> {
        let mut routes: BTreeMap<(u32, Prefix), Vec<&Route>> = BTreeMap::new();
        for shown in &host.routes {
            routes.entry(of_route(shown)).or_default().push(shown);
        }
        let mut rules: BTreeMap<Rule, Vec<&Rule>> = BTreeMap::new();
        for shown in &host.rules {
            rules.entry(of_rule(shown)).or_default().push(shown);
        }
        let is_seen = |key: &Key| match key {
            Key::Route(it) => {
                routes.get(&of_route(it)).is_some_and(|all| all.iter().any(|shown| is_whole(it, shown)))
            }
            Key::Rule(it) => {
                rules.get(&of_rule(it)).is_some_and(|all| all.iter().any(|shown| it.is_same(shown)))
            }
            Key::Vmac(_) | Key::Address(_) => false,
        };
        let routes = self.desired.known_routes.iter().map(|it| Key::Route(Arc::clone(it)));
        let rules = self.desired.known_rules.iter().map(|it| Key::Rule(Arc::clone(it)));
        routes.chain(rules).chain(self.added.iter().cloned()).filter(is_seen).collect()
    }

    /// An address went; `host` is as before it. The kernel drops the routes from that address, and with a link's last
    /// IPv4 address those through the link.
    pub(crate) fn forget_without(&mut self, held: &HeldAddress, link: &str, host: &Host) {
        let IpAddr::V4(_) = held.prefix.ip else { return };
        let leans = |key: &Key| matches!(key, Key::Route(route) if route.source == Some(held.prefix.ip));
        // It may be there with another length, or on another link: then the kernel keeps them.
        let is_again =
            |h: &HeldAddress| h.prefix.ip == held.prefix.ip && (h.link, h.prefix) != (held.link, held.prefix);
        if self.done.iter().any(leans) && !host.addresses.iter().any(is_again) {
            self.done.retain(|key| !leans(key));
        }
        let is_other = |h: &HeldAddress| h.prefix.ip.is_ipv4() && h.prefix != held.prefix;
        if !host.addresses.of(held.link).any(is_other) {
            self.forget_through(link);
        }
    }

    /// What a route leans on is there again: one that was refused need not wait.
    pub(crate) fn retry_routes(&mut self, now: Instant) {
        for (key, pause) in &mut self.pauses {
            if matches!(key, Key::Route(_)) && pause.is_reported {
                pause.next = pause.next.min(now);
            }
        }
    }

    pub(crate) fn forget_through(&mut self, link: &str) {
        self.done.retain(|key| match key {
            Key::Route(route) => {
                !route.hops.iter().any(|hop| hop.link.as_deref().is_none_or(|name| name == link))
            }
            _ => true,
        });
    }

    /// What was the host's own, and is there no more, may be lvsd's when it comes back.
    fn forget_hosts_own(&mut self, host: &Host) {
        self.hosts_own.retain(|(link, prefix)| {
            host.link(link).is_some_and(|link| super::is_present(host, link.index, *prefix))
        });
    }
}

fn is_route_or_rule(key: &Key) -> bool {
    matches!(key, Key::Route(_) | Key::Rule(_))
}

/// All hops of a route are there.
fn is_whole(desired: &Route, shown: &Route) -> bool {
    desired.is_same(shown) && desired.canonical().hops.len() == shown.hops.len()
}
