//! Instances of other nodes, in a file that all nodes share.
//!
//! An instance is another node's if this host lacks its `unicast_src_ip` and has the address of one of its
//! `unicast_peer`s. The router then runs as if the file did not contain it. Once found, it stays another node's until
//! this host has its source address: an address that a DHCP client loses for a moment decides nothing. Link-local addresses
//! decide nothing either, for any host may have the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::binding::source::is_link_local;
use super::event::Event;
use super::io::Effect;
use super::router::Router;
use super::settings::{GroupSettings, InstanceSettings, Settings};

/// Instances of other nodes: name, and the address of the node that runs it.
pub(crate) type OtherNodes = BTreeMap<String, IpAddr>;

/// The instances of other nodes. `is_own` says whether an address is one of this host's.
pub(crate) fn find(settings: &Settings, is_own: impl Fn(IpAddr) -> bool, known: &OtherNodes) -> OtherNodes {
    let mut found = OtherNodes::new();
    for instance in &settings.instances {
        let source = instance.source.filter(|source| !is_link_local(*source) && !is_own(*source));
        let Some(source) = source else { continue };
        let was_found = known.get(&instance.name) == Some(&source);
        if was_found || instance.transport.peers().any(|peer| !is_link_local(peer) && is_own(peer)) {
            found.insert(instance.name.clone(), source);
        }
    }
    // Both families of an instance are one node's.
    let nodes: BTreeMap<String, IpAddr> = settings
        .instances
        .iter()
        .filter_map(|instance| Some((instance.pair.clone()?, *found.get(&instance.name)?)))
        .collect();
    for instance in &settings.instances {
        if let Some(node) = instance.pair.as_ref().and_then(|pair| nodes.get(pair)) {
            found.entry(instance.name.clone()).or_insert(*node);
        }
    }
    found
}

/// Whether two instances are for different nodes: each has a unicast source of its own, which the other has as a peer.
pub(crate) fn are_apart(a: &InstanceSettings, b: &InstanceSettings) -> bool {
    match (a.source, b.source) {
        (Some(source), Some(other)) if source != other => {
            a.transport.peers().any(|peer| peer == other) && b.transport.peers().any(|peer| peer == source)
        }
        _ => false,
    }
}

/// The settings without these instances.
fn without(settings: &Arc<Settings>, others: &OtherNodes) -> Arc<Settings> {
    if others.is_empty() {
        return Arc::clone(settings);
    }
    let mut own = Settings::clone(settings);
    own.instances.retain(|instance| !others.contains_key(&instance.name));
    for group in &mut own.groups {
        if group.members.iter().any(|member| others.contains_key(member)) {
            let mut members = group.members.clone();
            members.retain(|member| !others.contains_key(member));
            *group = Arc::new(GroupSettings { members, ..GroupSettings::clone(group) });
        }
    }
    own.groups.retain(|group| !group.members.is_empty());
    Arc::new(own)
}

impl Router {
    /// Finds out again which instances are other nodes'; whether they are others than before.
    pub(super) fn find_other_nodes(&mut self, out: &mut Vec<Effect>) -> bool {
        let Some(host) = &self.host else { return false };
        let instances = || self.configured.instances.iter();
        if self.other_nodes.is_empty() && instances().all(|instance| instance.source.is_none()) {
            return false;
        }
        let addresses = instances().flat_map(|i| i.addresses.iter().chain(&i.excluded));
        let vips: BTreeSet<IpAddr> = addresses
            .filter(|a| !self.reconciler.is_hosts_own(&a.wanted.link, a.wanted.prefix.ip))
            .map(|a| a.wanted.prefix.ip)
            .collect();
        let held = host.addresses.iter().map(|held| held.prefix.ip);
        let own: BTreeSet<IpAddr> = held.filter(|ip| !vips.contains(ip)).collect();
        let found = find(&self.configured, |ip| own.contains(&ip), &self.other_nodes);
        if found == self.other_nodes {
            return false;
        }
        let before = std::mem::replace(&mut self.other_nodes, found);
        for (instance, node) in self.other_nodes.iter().filter(|(name, node)| before.get(*name) != Some(node))
        {
            out.push(Effect::Event(Event::OtherNode { instance: instance.clone(), node: *node }));
        }
        true
    }

    /// The settings of those that run here.
    pub(super) fn own_settings(&self) -> Arc<Settings> {
        without(&self.configured, &self.other_nodes)
    }
}
