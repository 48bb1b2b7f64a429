//! Which changes of the host can move an instance. Hosts of containers make and lose links all day, and a takeover of
//! two thousand addresses is two thousand events of them: neither is a reason to look at every instance again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::vrrp::settings::{InstanceSettings, Settings, TrackTarget};

/// What instances stand on, by name and address.
#[derive(Debug, Default)]
pub(in crate::vrrp) struct Relevance {
    links: BTreeSet<String>,
    vips: BTreeSet<IpAddr>,
    /// Sources that were given, unicast peers, and VIPs of owners.
    sources: BTreeSet<IpAddr>,
    /// An instance without an interface finds its source on any link.
    is_anywhere: bool,
}

impl Relevance {
    pub(in crate::vrrp) fn of(settings: &Settings) -> Relevance {
        let mut all = Relevance::default();
        settings.instances.iter().for_each(|instance| all.add(instance));
        let targets = settings.groups.iter().flat_map(|group| &group.tracks).map(|track| &track.target);
        all.links.extend(targets.filter_map(link_of));
        all.links.extend(settings.static_addresses.iter().map(|address| address.link.clone()));
        let routes = settings.static_routes.iter().flat_map(|route| &route.hops);
        all.links.extend(routes.filter_map(|hop| hop.link.clone()));
        all
    }

    fn add(&mut self, instance: &InstanceSettings) {
        self.links.extend(instance.interface.clone());
        self.is_anywhere |= instance.interface.is_none();
        self.links.extend(instance.vmac.iter().flat_map(|vmac| [vmac.name.clone(), vmac.base.clone()]));
        for address in instance.addresses.iter().chain(&instance.excluded) {
            self.links.insert(address.wanted.link.clone());
            self.vips.insert(address.wanted.prefix.ip);
            if instance.priority == 255 {
                self.sources.insert(address.wanted.prefix.ip);
            }
        }
        self.sources.extend(instance.source);
        // A peer that is this host's own makes it another node's instance.
        self.sources.extend(instance.transport.peers());
        self.links.extend(instance.tracks.iter().filter_map(|track| link_of(&track.target)));
        let hops = instance.routes.iter().flat_map(|route| &route.wanted.hops);
        self.links.extend(hops.filter_map(|hop| hop.link.clone()));
        let rules = instance.rules.iter().map(|rule| &rule.wanted);
        self.links.extend(rules.flat_map(|rule| rule.input_link.iter().chain(&rule.output_link).cloned()));
    }

    /// Whether an instance may stand otherwise when this link changes.
    pub(in crate::vrrp) fn of_link(&self, name: &str) -> bool {
        self.links.contains(name)
    }

    /// Whether an instance may stand otherwise when this address comes or goes: a VIP comes and goes with its Master.
    pub(in crate::vrrp) fn of_address(&self, link: &str, ip: IpAddr) -> bool {
        // A given source may be an address of any link.
        self.sources.contains(&ip) || (!self.vips.contains(&ip) && (self.is_anywhere || self.of_link(link)))
    }
}

fn link_of(target: &TrackTarget) -> Option<String> {
    match target {
        TrackTarget::Interface(name) => Some(name.clone()),
        TrackTarget::Script(_)
        | TrackTarget::File(_)
        | TrackTarget::Process(_)
        | TrackTarget::Check(_)
        | TrackTarget::Bfd(_) => None,
    }
}
