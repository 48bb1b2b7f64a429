//! What must never, and what must finally, be true of the world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::world::World;
use crate::net::types::LinkIndex;
use crate::time::Instant;
use crate::vrrp::event::Event;
use crate::vrrp::io::{Endpoint, State};
use crate::vrrp::packet;
use crate::vrrp::settings::{Family, InstanceSettings, Settings};
use crate::vrrp::status::InstanceStatus;

/// Until a change of the host has been read.
const NEWS: Duration = Duration::from_millis(10);

/// At every packet: it leaves through a socket that is open.
pub(super) fn has_that_socket(world: &mut World, node: usize, endpoint: &Endpoint) {
    if !world.nodes[node].listening.contains(endpoint) {
        world.broken.push(format!("sends through an open socket: {node} through {endpoint:?}"));
    }
}

/// At every packet: its source is an address of the host, or was until a moment ago. An owner's VIPs are its own.
pub(super) fn speaks_from_its_own(world: &mut World, node: usize, vrid: u8, priority: u8, source: IpAddr) {
    let this = &world.nodes[node];
    let is_owners = this.settings.instances.iter().any(|i| {
        i.vrid == vrid && i.priority == 255 && i.addresses.iter().any(|a| a.wanted.prefix.ip == source)
    });
    let is_new = |at: &Instant| world.now.since(*at) <= NEWS + this.news_delay;
    let was_held = this.lost.get(&source).is_some_and(is_new);
    // Priority 0 is the last word from an address that goes; a process that was paused has not heard yet.
    if priority > 0 && !this.has(source) && !is_owners && !was_held && !world.has_unread(node) {
        world.broken.push(format!("speaks from an own address: {node} advertises {vrid} from {source}"));
    }
}

/// At every packet: it is not for the address that it comes from.
pub(super) fn speaks_to_others(
    world: &mut World,
    node: usize,
    vrid: u8,
    source: IpAddr,
    destination: IpAddr,
) {
    if source == destination {
        world.broken.push(format!("speaks to others: {node} advertises {vrid} to its own {destination}"));
    }
}

/// At every claim: no router begins to claim, or goes on after a pause, while a better Master's advertisement waits to
/// be read.
pub(super) fn heard_before_it_claims(world: &mut World, node: usize, vrid: u8, priority: u8) {
    let settings = world.nodes[node].settings.instances.iter().find(|i| i.vrid == vrid);
    let Some(settings) = settings.filter(|_| priority > 0) else { return };
    // A Backup that yielded to a better Master advertises once more (`higher_prio_send_advert`): that is no claim.
    if world.nodes[node].is_receiving && world.state(node, &settings.name) == Some(State::Backup) {
        return;
    }
    let lately = settings.advert_interval * 3 / 2;
    if world.nodes[node].last_claim.get(&vrid).is_some_and(|at| world.now.since(*at) <= lately) {
        return;
    }
    let is_better = |priority: u8, theirs: u8| theirs > priority;
    let waiting = world.arrived(node).iter().filter_map(|d| packet::decode(d).ok());
    let better = waiting.filter(|h| h.advert.vrid == vrid && is_better(priority, h.advert.priority)).count();
    if better > 0 {
        let text = format!("hears before it claims: {node} claims {vrid} with {priority}, {better} unread");
        world.broken.push(text);
    }
}

/// At every advertisement of priority 0: no other instance of this host is Master with that VRID there.
pub(super) fn leaves_what_it_does_not_hold(world: &mut World, node: usize, vrid: u8, source: IpAddr) {
    if !world.is_running(node) {
        return;
    }
    let settings = std::sync::Arc::clone(&world.nodes[node].settings);
    let family = if source.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let status = world.whole_status(node);
    for instance in settings.instances.iter().filter(|i| i.vrid == vrid && i.family == family) {
        if status.instances.iter().any(|s| s.name == instance.name && s.state == State::Master) {
            let name = &instance.name;
            let text =
                format!("priority 0 for a VRID it holds: {node} sends it for {vrid}, {name} is Master");
            world.broken.push(text);
        }
    }
}

/// At every announcement: it is about an address of an instance that is Master there.
pub(super) fn announces_what_it_has(world: &mut World, node: usize, link: LinkIndex, frame: &[u8]) {
    let ip = announced(frame);
    // By the name it knows: that a link was renamed is told later.
    let known = world.nodes[node].links.get(&link).map(|(_, link)| link.clone());
    let name = known.as_ref().map(|l| l.name.clone()).unwrap_or_default();
    let is_held = world.nodes[node].settings.instances.iter().any(|i| {
        let has = addresses(i).any(|(l, a)| a == ip && l == name);
        has && world.state(node, &i.name) == Some(State::Master)
    });
    if !is_held {
        world.broken.push(format!("announces what it has: {node} announces {ip} on {name}"));
    }
    let is_possible = known.is_some_and(|l| l.is_working() && l.mac.is_some_and(|mac| frame[6..12] == mac.0));
    if !is_possible {
        world.broken.push(format!("announces where it can, with its MAC address: {node} {ip} on {name}"));
    }
}

/// At rest: each VIP of a Master was announced since its link works, has its MAC address and its master.
pub(super) fn neighbours_know(world: &mut World, node: usize) {
    let this = &world.nodes[node];
    let mut wrong = Vec::new();
    for instance in &this.settings.instances {
        if world.state(node, &instance.name) != Some(State::Master) || instance.announcing.repeat == 0 {
            continue;
        }
        for (name, ip) in addresses(instance) {
            let Some(index) = this.host.host().link(&name).map(|l| l.index) else { continue };
            let Some((since, _)) = this.links.get(&index).filter(|(_, link)| link.is_working()) else {
                continue;
            };
            let is_it = |(at, on, frame): &(Instant, LinkIndex, Vec<u8>)| {
                at >= since && *on == index && announced(frame) == ip
            };
            if this.has(ip) && !this.announced.iter().any(is_it) {
                wrong.push(format!(
                    "neighbours know: {ip} on {name} of {node} was not announced since {since:?}"
                ));
            }
        }
    }
    world.broken.extend(wrong);
}

/// The address an announcement is about.
pub(super) fn announced(frame: &[u8]) -> IpAddr {
    match frame[12..14] {
        [0x08, 0x06] => Ipv4Addr::from(<[u8; 4]>::try_from(&frame[28..32]).expect("an address")).into(),
        _ => Ipv6Addr::from(<[u8; 16]>::try_from(&frame[62..78]).expect("an address")).into(),
    }
}

/// Links and addresses an instance has as Master.
pub(super) fn addresses(settings: &InstanceSettings) -> impl Iterator<Item = (String, IpAddr)> {
    let all = settings.addresses.iter().chain(&settings.excluded);
    all.map(|a| (a.wanted.link.clone(), a.wanted.prefix.ip))
}

/// What an operator knows of a host's instances and groups by its events since its start.
#[derive(Debug, Default)]
pub(super) struct Reported {
    instances: BTreeMap<String, State>,
    groups: BTreeMap<String, State>,
    /// Instances with a rival whose end was not reported.
    rivals: BTreeSet<String>,
    /// Instances whose rival may be that of another VRID or name, since a reload.
    unsure: BTreeSet<String>,
    /// Names that an instance or group had before a reload.
    vacated: BTreeSet<String>,
}

impl Reported {
    /// There are other settings now.
    pub(super) fn reloaded(&mut self, settings: &Settings) {
        self.groups.retain(|name, _| settings.groups.iter().any(|group| group.name == *name));
        self.rivals.clear();
        self.unsure.extend(self.instances.keys().cloned());
    }

    /// Masters whose rival's end was not reported.
    pub(super) fn rivals(&self) -> &BTreeSet<String> {
        &self.rivals
    }

    /// At every event: a change begins where the one before ended, and is a change. What is wrong, in words.
    pub(super) fn follow(&mut self, event: &Event) -> Option<String> {
        let (known, from, name, to) = match event {
            Event::Transition { instance, from, to, .. } => (&mut self.instances, Some(*from), instance, *to),
            Event::Group { group, to, .. } => (&mut self.groups, None, group, *to),
            Event::Renamed { is_group, before, name, state, .. } => {
                let known = if *is_group { &mut self.groups } else { &mut self.instances };
                known.insert(name.clone(), *state);
                self.vacated.insert(before.clone());
                self.vacated.remove(name);
                return None;
            }
            Event::LowerPriority { instance, is_over, .. } => {
                let is_odd = self.rivals.contains(instance) != *is_over && !self.unsure.remove(instance);
                if *is_over {
                    self.rivals.remove(instance);
                } else {
                    self.rivals.insert(instance.clone());
                }
                return is_odd.then(|| format!("a rival comes and goes: {event}"));
            }
            _ => return None,
        };
        if let Event::Transition { instance, .. } = event {
            self.rivals.remove(instance);
        }
        let before = known.insert(name.clone(), to).unwrap_or(State::Init);
        let before =
            if self.vacated.remove(name) && from == Some(State::Init) { State::Init } else { before };
        let from = from.unwrap_or(before);
        (from != before || to == before)
            .then(|| format!("reports follow each other: {name} was {before}, then {from} -> {to}"))
    }
}

/// At rest, after the last fault, everything mended: one Master, the best one if they preempt, and the addresses are
/// where it is, once.
pub(super) fn at_rest(world: &mut World) {
    let names: BTreeSet<String> =
        world.nodes.iter().flat_map(|n| &n.settings.instances).map(|i| i.name.clone()).collect();
    for name in names {
        let masters: Vec<usize> =
            (0..world.nodes.len()).filter(|n| world.state(*n, &name) == Some(State::Master)).collect();
        if masters.len() != 1 {
            world.broken.push(format!("one Master: {name} has {masters:?}"));
        }
        one_of_them_is_best(world, &name, &masters);
        for node in 0..world.nodes.len() {
            vip_iff_master(world, node, &name);
        }
    }
    for node in 0..world.nodes.len() {
        neighbours_know(world, node);
        a_vmac_has_none_of_its_bases_addresses(world, node);
        a_group_is_together(world, node);
        hosts_own_is_primary(world, node);
        let open = world.nodes[node].rivals();
        if !open.is_empty() {
            world.broken.push(format!("the end of a rival is reported: {open:?} of {node}"));
        }
    }
}

fn one_of_them_is_best(world: &mut World, name: &str, masters: &[usize]) {
    let all: Vec<_> = (0..world.nodes.len()).map(|n| (n, world.status(n, name))).collect();
    for (node, status) in &all {
        if status.state == State::Fault || status.state == State::Init {
            world.broken.push(format!("nothing stays broken: {name} on {node}: {}", status.reason));
        }
    }
    let is_free = world.nodes.iter().all(|n| {
        let is_alone = !n.settings.groups.iter().any(|g| g.members.iter().any(|m| m == name));
        is_alone && n.settings.instances.iter().any(|i| i.name == name && i.preempts)
    });
    // No router preempts a Master of the same priority, however high its own address is.
    let best = all.iter().map(|(_, s)| s.priority).max();
    let is_best = |(node, s): &(usize, InstanceStatus)| masters == [*node] && Some(s.priority) == best;
    if is_free && !all.iter().any(is_best) {
        world
            .broken
            .push(format!("the best one is Master: {name} is {masters:?}, the best priority is {best:?}"));
    }
}

/// A VMAC has no address of its base's: it would answer for it, as a Backup too.
fn a_vmac_has_none_of_its_bases_addresses(world: &mut World, node: usize) {
    let this = &world.nodes[node];
    let host = this.host.host();
    let on = |link: &str| {
        let index = host.link(link).map(|link| link.index);
        let held = host.addresses.iter().filter(move |h| Some(h.link) == index);
        held.map(|h| h.prefix.ip).collect::<BTreeSet<_>>()
    };
    let vmacs = this.settings.instances.iter().filter_map(|i| i.vmac.as_ref());
    let shared: Vec<_> =
        vmacs.flat_map(|v| on(&v.name).intersection(&on(&v.base)).copied().collect::<Vec<_>>()).collect();
    if !shared.is_empty() {
        world.broken.push(format!("a VMAC has none of its base's addresses: {shared:?} of {node}"));
    }
}

/// An address is on a host exactly if its instance is Master there.
pub(super) fn vip_iff_master(world: &mut World, node: usize, name: &str) {
    let this = &world.nodes[node];
    let Some(settings) = this.settings.instances.iter().find(|i| i.name == name) else { return };
    let is_master = world.state(node, name) == Some(State::Master);
    let mut wrong = Vec::new();
    let is_tracked = settings.addresses.iter().chain(&settings.excluded).map(|a| a.is_tracked);
    for ((link, ip), is_tracked) in addresses(settings).zip(is_tracked) {
        let held: Vec<_> = this.host.host().addresses.iter().filter(|h| h.prefix.ip == ip).collect();
        // One that is not tracked stays away when it is removed.
        let is_taken = !is_tracked && held.is_empty();
        // The addresses that an owner finds at its start are the host's own, with any prefix length.
        let is_right = match settings.priority {
            255 => !is_master || !held.is_empty(),
            _ => held.len() == usize::from(is_master),
        };
        if !is_right && !is_taken {
            wrong.push(format!("VIP iff Master: {ip} on {link} of {node}: {held:?}, Master: {is_master}"));
        }
    }
    let host = this.host.host();
    for route in &settings.routes {
        let count = host.routes.iter().filter(|shown| route.wanted.is_same(shown)).count();
        if count != usize::from(is_master) {
            wrong.push(format!("routes iff Master: of {name} on {node} {count}, Master: {is_master}"));
        }
    }
    for rule in &settings.rules {
        let count = host.rules.iter().filter(|shown| rule.wanted.is_same(shown)).count();
        if count != usize::from(is_master) {
            wrong.push(format!("rules iff Master: of {name} on {node} {count}, Master: {is_master}"));
        }
    }
    world.broken.extend(wrong);
}

/// At rest: no virtual address is the primary one of a network that the host has an address of its own in.
pub(super) fn hosts_own_is_primary(world: &mut World, node: usize) {
    let host = world.nodes[node].host.host();
    let wrong: Vec<_> = host
        .addresses
        .iter()
        .filter(|own| !own.is_marked() && own.is_secondary)
        .filter(|own| {
            host.addresses.iter().any(|h| h.is_marked() && !h.is_secondary && h.shares_network(own))
        })
        .map(|own| format!("the host's own is primary: {} of {node} is behind a virtual one", own.prefix))
        .collect();
    world.broken.extend(wrong);
}

fn a_group_is_together(world: &mut World, node: usize) {
    let groups: Vec<Vec<String>> =
        world.nodes[node].settings.groups.iter().map(|g| g.members.clone()).collect();
    for members in groups {
        let states: BTreeSet<_> = members.iter().map(|m| world.state(node, m)).collect();
        if states.len() != 1 {
            world.broken.push(format!("a group is together: {members:?} of {node} are {states:?}"));
        }
    }
}

/// After a stop: nothing of ours is left.
pub(super) fn nothing_is_left(world: &mut World, node: usize) {
    let this = &world.nodes[node];
    let mut wrong = Vec::new();
    for instance in &this.settings.instances {
        for (link, ip) in addresses(instance) {
            // What an owner finds at its start is the host's own.
            if this.has(ip) && instance.priority < 255 {
                wrong.push(format!("stop: nothing is left: {ip} on {link} of {node}"));
            }
        }
        if let Some(vmac) = &instance.vmac
            && this.host.host().link(&vmac.name).is_some()
        {
            wrong.push(format!("stop: nothing is left: {} of {node}", vmac.name));
        }
    }
    if !this.host.routes().is_empty() || !this.host.rules().is_empty() {
        wrong.push(format!("stop: nothing is left: {:?} {:?}", this.host.routes(), this.host.rules()));
    }
    if !this.is_finished {
        wrong.push(format!("stop: {node} is not done"));
    }
    world.broken.extend(wrong);
}
