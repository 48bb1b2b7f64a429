//! Gratuitous ARP and neighbour advertisements for the addresses of Masters: which addresses, and by which frame.
//!
//! [`announcer`] decides when, [`links`] on which links; an address that the kernel does not have is not announced.

pub(crate) mod announcer;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::announcer::{Again, Announcement};
pub(crate) use self::links::AnnounceableLinks;
use crate::net::announce;
use crate::time::Instant;
use crate::vrrp::io::{Effect, State};
use crate::vrrp::router::Router;

impl Router {
    /// Emits the announcements that are due: of addresses that have just appeared, and repeated ones, each link at its rate.
    pub(crate) fn announce(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut appeared: BTreeMap<String, Vec<Announcement>> = BTreeMap::new();
        for it in self.reconciler.take_appeared() {
            let announcement = Announcement { instance: it.instance.clone(), link: it.link, ip: it.ip };
            appeared.entry(it.instance).or_default().push(announcement);
        }
        let renewed = self.renewed();
        let places: BTreeSet<_> = renewed.values().flatten().map(|a| (&*a.instance, &*a.link)).collect();
        for (instance, link) in places {
            // Announcements that wait for this link are among the new ones, too. Dropping them keeps a link that comes and
            // goes from piling up announcements.
            self.announcer.drop_waiting(instance, link);
        }
        for (name, announcements) in &renewed {
            let known = appeared.entry(name.clone()).or_default();
            known.extend(announcements.iter().cloned());
            known.sort();
            known.dedup();
        }
        for (name, announcements) in appeared {
            let Some(member) = self.members.get(&name).filter(|m| m.state() == State::Master) else {
                continue;
            };
            let announcing = member.settings().announcing;
            self.announcer.begin(&name, &announcing, now);
            self.announcer.burst(&announcements, announcing.repeat);
            if renewed.contains_key(&name) {
                self.announcer.again(&name, &announcing, now);
            }
        }
        let members = &self.members;
        let due = self.announcer.due(now, |name| members.get(name).map(|m| m.settings().announcing));
        for (name, again) in due {
            self.announce_for(&name, again);
        }
        let Some(host) = &self.host else { return };
        for announcement in self.announcer.take(now) {
            let Some(link) = host.link(&announcement.link) else { continue };
            // What cannot leave now is announced when the link is back.
            let Some(mac) = self.announceable.mac(link.index) else { continue };
            let Announcement { instance, link: name, ip } = &announcement;
            if !self.reconciler.has(host, instance, name, *ip) {
                continue;
            }
            let is_router = self.router_links.contains(&link.index);
            let frame = announce::frame(announcement.ip, mac, is_router);
            out.push(Effect::Announce { of: announcement, link: link.index, frame });
        }
    }

    /// By instance, what is on links that came back, or changed so that neighbours cannot know.
    fn renewed(&mut self) -> BTreeMap<String, Vec<Announcement>> {
        let mut links = self.announceable.take_renewed();
        // Others' links come and go all day.
        links.retain(|index| {
            let link = self.host.as_ref().and_then(|host| host.links.get(index));
            link.is_some_and(|link| self.relevance.of_link(&link.name))
        });
        let mut renewed: BTreeMap<String, Vec<Announcement>> = BTreeMap::new();
        if links.is_empty() {
            return renewed;
        }
        let held = self.host.iter().flat_map(|host| self.reconciler.held(host));
        for (_, entry) in held.filter(|(link, _)| links.contains(link)) {
            let instance = entry.instance.clone();
            let (link, ip) = (entry.value.link.clone(), entry.value.prefix.ip);
            renewed.entry(instance.clone()).or_default().push(Announcement { instance, link, ip });
        }
        renewed
    }

    fn announce_for(&mut self, name: &str, again: Again) {
        let Some(member) = self.members.get(name) else { return };
        let settings = Arc::clone(member.settings());
        let announcing = settings.announcing;
        let all = self.announcements(name);
        let (addresses, repeat) = match again {
            Again::Second => (all, announcing.repeat),
            Again::SecondLower => (all, announcing.lower_priority_repeat),
            Again::Refresh => (all, announcing.refresh_repeat),
            Again::Extra => {
                let own = settings.vmac.as_ref().map(|v| &v.name).or(settings.interface.as_ref());
                let is_meant = |a: &Announcement| announcing.extra_on_all || Some(&a.link) != own;
                (all.into_iter().filter(is_meant).collect(), 1)
            }
        };
        // What has not even been said yet need not be said again.
        if !self.announcer.is_busy(name) {
            self.announcer.burst(&addresses, repeat);
        }
    }

    /// A burst besides the plan: another Master may have announced the same addresses.
    pub(crate) fn announce_again(&mut self, name: &str) {
        let member = self.members.get(name).filter(|m| m.state() == State::Master);
        if member.is_some() {
            self.announce_for(name, Again::Second);
        }
    }

    /// A burst because a lower priority was heard.
    pub(crate) fn announce_against_lower(&mut self, name: &str, now: Instant) {
        let Some(member) = self.members.get(name) else { return };
        let announcing = member.settings().announcing;
        self.announcer.lower_priority(name, &announcing, now);
        self.announce_for(name, Again::SecondLower);
    }

    fn announcements(&self, name: &str) -> Vec<Announcement> {
        let held = self.host.iter().flat_map(|host| self.reconciler.held(host));
        held.filter(|(_, entry)| entry.instance == name)
            .map(|(_, entry)| Announcement {
                instance: name.to_owned(),
                link: entry.value.link.clone(),
                ip: entry.value.prefix.ip,
            })
            .collect()
    }
}
