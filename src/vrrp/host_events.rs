//! What events of the host's links and addresses mean for the router: which parts take notice, and whether instances
//! must be looked at again.

use super::router::Router;
use crate::net::types::{HeldAddress, Host, HostEvent, Link};
use crate::time::Instant;

impl Router {
    pub(super) fn read_host(&mut self, mut host: Host, now: Instant) {
        let is_first = self.host.is_none();
        self.delayed_links.keep_only(&host);
        self.announceable.read(&host);
        if is_first {
            // Nothing was announced on any of them.
            self.announceable.take_renewed();
        }
        let links = std::mem::take(&mut host.links);
        for link in links.values() {
            let before = self.host.as_ref().and_then(|host| host.links.get(&link.index));
            let link = self.delayed_links.counts_as(link.clone(), before, &self.settings.link_delays, now);
            host.links.insert(link);
        }
        if is_first {
            self.update_desired();
        }
        self.reconciler.host_was_read(&host, self.host.as_ref(), now);
        // Only the reconciler needs them.
        host.routes.clear();
        host.rules.clear();
        self.announcer.keep_blocked(|link| host.link(link).is_some());
        self.host = Some(host);
        self.cause = "the host was read".to_owned();
        self.is_dirty = true;
    }

    pub(super) fn link_changed(&mut self, link: &Link) {
        let Some(host) = &mut self.host else { return };
        let before = host.links.get(&link.index).map(|before| before.name.as_str());
        let is_relevant =
            [Some(link.name.as_str()), before].into_iter().flatten().any(|n| self.relevance.of_link(n));
        if host.links.insert(link.clone()).as_ref() != Some(link) && is_relevant {
            let how = if link.is_working() { "up" } else { "down" };
            self.cause = format!("interface {} {how}", link.name);
            self.is_dirty = true;
        }
    }

    pub(super) fn handle_host_event(&mut self, event: &HostEvent, now: Instant) {
        if let HostEvent::Link(link) = event {
            if let Some(host) = &self.host {
                self.announceable.see(link);
                self.reconciler.observe_link(link, host);
                let before = host.links.get(&link.index);
                let delays = &self.settings.link_delays;
                let link = self.delayed_links.counts_as(link.clone(), before, delays, now);
                self.link_changed(&link);
            }
            return;
        }
        let Some(host) = &mut self.host else { return };
        self.reconciler.observe(event, host, now);
        let relevance = &self.relevance;
        let is_relevant = |host: &Host, held: &HeldAddress| {
            host.links.get(&held.link).is_none_or(|link| relevance.of_address(&link.name, held.prefix.ip))
        };
        match event {
            HostEvent::LinkGone(index) => {
                self.delayed_links.forget(*index);
                self.announceable.forget(*index);
                if let Some(link) = host.links.get(index) {
                    self.announcer.unblock(&link.name);
                    if relevance.of_link(&link.name) {
                        self.cause = format!("interface {} went", link.name);
                        self.is_dirty = true;
                    }
                }
            }
            HostEvent::Address(held) => {
                if is_relevant(host, held) {
                    self.cause = format!("address {} came", held.prefix);
                    self.is_dirty = true;
                }
            }
            HostEvent::AddressGone(held) => {
                if is_relevant(host, held) {
                    self.cause = format!("address {} went", held.prefix);
                    self.is_dirty = true;
                }
            }
            HostEvent::Link(_)
            | HostEvent::RouteGone(_)
            | HostEvent::RuleGone(_)
            | HostEvent::Neighbour(_) => {}
        }
        host.apply(event);
    }
}
