//! Everything at once, by seed: packets that get lost, come twice and late; cables, partitions, pauses, deaths,
//! strangers who meddle, scripts that fail, reloads, hand-overs; then calm, and the world must be as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, instance6, on_vmac, script, settings, unicast, vip};
use super::world::World;
use super::{invariants, seeds, site};
use crate::net::memory::MemoryHost;
use crate::net::types::{HeldAddress, Hop, MacAddress, Prefix, Route, Rule, RuleAction};
use crate::vrrp::binding::sockets::{SocketFailure, SocketStep};
use crate::vrrp::io::{DirectorLevel, Input, State, TrackLevel};
use crate::vrrp::settings::{
    Authentication, Hmac, HmacMode, InstanceSettings, Settings, TrackTarget, Transport, Version, Virtual,
};

/// Long enough for every timer, delay, gate and pause to end.
const QUIET: Duration = Duration::from_secs(45);

#[test]
fn after_any_mischief_one_master_has_the_addresses() {
    for seed in seeds() {
        let world = live(seed);
        if world.broken.is_empty() {
            continue;
        }
        let reported: Vec<&str> =
            world.trace.iter().filter(|l| !l.contains("advertises")).map(String::as_str).collect();
        let tail = reported.len().saturating_sub(100);
        panic!(
            "seed {seed}:\n{}\nlast of {} steps, without advertisements:\n{}",
            world.broken.join("\n"),
            world.trace.len(),
            reported[tail..].join("\n")
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        assert_eq!(live(seed).trace, live(seed).trace, "seed {seed}");
    }
}

fn live(seed: u64) -> World {
    let hosts = 2 + u8::try_from(seed % 2).expect("small");
    let mut world = World::new(seed, hosts);
    for (node, settings) in random_site(&mut world.rng, hosts).into_iter().enumerate() {
        world.nodes[node].settings = Arc::new(settings);
        world.nodes[node].has_guardian = world.rng.u32(0..4) > 0;
        let promotes = world.rng.bool();
        world.nodes[node].host.set_promotes_secondaries(promotes);
        world.nodes[node].tracks = healthy();
        if world.rng.u32(0..4) == 0 {
            links_fail(&mut world, node);
        }
        let is_slow = world.rng.u32(0..3) == 0;
        if is_slow {
            let room = world.rng.usize(1..5);
            let pause = Duration::from_millis(world.rng.u64(1..400));
            world.nodes[node].frame_queue = Some((room, pause));
            world.nodes[node].news_delay =
                Duration::from_millis(world.rng.choice([20, 1000]).expect("not empty"));
        }
        let first_result = world.rng.choice([0, 0, 700, 2500]).expect("not empty");
        world.nodes[node].first_result = Duration::from_millis(first_result);
        world.start(node);
    }
    world.delay = Duration::from_micros(world.rng.choice([40, 500, 5000]).expect("not empty"));
    world.reading = Duration::from_millis(world.rng.choice([0, 1, 20]).expect("not empty"));
    for _ in 0..world.rng.u32(4..30) {
        let node = world.rng.usize(0..world.nodes.len());
        mischief(&mut world, node);
        let pause = Duration::from_millis(world.rng.u64(0..6000));
        world.run(pause);
    }
    mend(&mut world);
    world.run(QUIET);
    let (ops, transitions) = changes(&world);
    world.run(Duration::from_secs(15));
    if changes(&world) != (ops, transitions) {
        world.broken.push("at rest nothing changes: ops or transitions".to_owned());
    }
    invariants::at_rest(&mut world);
    reload_of_the_same_settings_changes_nothing(&mut world);
    the_end(&mut world);
    world
}

fn changes(world: &World) -> (usize, usize) {
    let transitions = |n| world.reported(n, "vrrp_transition").len();
    let nodes = 0..world.nodes.len();
    (world.nodes.iter().map(|n| n.ops.len()).sum(), nodes.map(transitions).sum())
}

fn reload_of_the_same_settings_changes_nothing(world: &mut World) {
    for node in 0..world.nodes.len() {
        let effects = world.nodes[node].effects;
        let same = Settings::clone(&world.nodes[node].settings);
        world.reload(node, same);
        if world.nodes[node].effects != effects {
            world.broken.push(format!("reloading the same settings: {node} did something"));
        }
    }
}

fn the_end(world: &mut World) {
    for node in 0..world.nodes.len() {
        let addresses = world.nodes[node].host.host().addresses.clone();
        let masters: Vec<u8> = {
            let all = &world.nodes[node].settings.instances;
            all.iter().filter(|i| world.state(node, &i.name) == Some(State::Master)).map(|i| i.vrid).collect()
        };
        if world.rng.bool() {
            world.handle(node, Input::HandOver);
            world.forget(node);
            if world.nodes[node].host.host().addresses != addresses || !world.nodes[node].is_finished {
                world.broken.push("hand-over: nothing changed".to_owned());
            }
            continue;
        }
        world.handle(node, Input::Stop);
        for vrid in masters {
            if world.sent(node, vrid).last().is_none_or(|(at, p)| *p != 0 || *at != world.now) {
                world.broken.push(format!("stop: priority 0 at once: {node} {vrid}"));
            }
        }
        world.run(Duration::from_secs(10));
        invariants::nothing_is_left(world, node);
        world.forget(node);
    }
}

/// Everything works again.
fn mend(world: &mut World) {
    (world.loss, world.duplication) = (0, 0);
    world.deaf.clear();
    for node in 0..world.nodes.len() {
        world.nodes[node].host.refuse(0);
        remove_what_is_not_lvsds(world, node);
        world.nodes[node].refuses_sockets = None;
        for name in ["e0", "e1"] {
            plug_in(world, node, name);
        }
        world.nodes[node].host.end_duplicate_detection(true);
        if world.is_paused(node) {
            world.resume(node);
        }
        if !world.is_running(node) {
            world.nodes[node].tracks = healthy();
            world.start(node);
        }
        for (target, level) in healthy() {
            world.track(node, target, level);
        }
        let not_ready = world.nodes[node].director.not_ready.clone();
        world.direct(node, DirectorLevel { not_ready, cannot_forward: None });
    }
}

fn plug_in(world: &mut World, node: usize, name: &str) {
    let number = u8::try_from(node + 1).expect("small");
    let all = &world.nodes[node].settings.instances;
    let vips: Vec<_> = all.iter().flat_map(|i| invariants::addresses(i)).collect();
    let host = &mut world.nodes[node].host;
    let third = u8::from(name == "e1");
    let index = match host.host().link(name) {
        Some(link) => link.index,
        None => host.add_link(name, MacAddress([2, 0, 0, 0, third, number])),
    };
    let is_local = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    let own = host.host().addresses.iter().filter(|h| !vips.iter().any(|(_, ip)| *ip == h.prefix.ip));
    if !own.clone().any(|h| h.link == index && is_local(h.prefix.ip)) {
        host.set_up(index, false);
    }
    host.set_port_of(index, None);
    host.set_up(index, true);
    host.set_running(index, true);
    host.end_duplicate_detection(true);
    host.add_address(name, Prefix { ip: [10, 0, third, 200 + number].into(), length: 24 });
    // A macvlan that was switched off.
    let above: Vec<_> =
        host.host().links.values().filter(|l| l.base == Some(index)).map(|l| l.index).collect();
    above.into_iter().for_each(|link| host.set_up(link, true));
}

fn healthy() -> BTreeMap<TrackTarget, TrackLevel> {
    BTreeMap::from([(TrackTarget::Script("chk".to_owned()), TrackLevel::Is(true))])
}

/// A stranger of a low priority is Master for some seconds beside the first instance, where it would be believed.
fn a_forger_claims(world: &mut World) {
    let first = &world.nodes[0].settings.instances[0];
    let is_open = first.authentication == Authentication::None
        && first.family == crate::vrrp::settings::Family::Ipv4
        && matches!(first.transport, Transport::Multicast(_));
    if !is_open {
        return;
    }
    let (interval, is_v2) = (first.advert_interval, first.version == Version::V2);
    for _ in 0..world.rng.u32(1..5) {
        if !is_v2 && world.nodes[0].host.host().link("e0").is_some() {
            super::protocol::stranger(world, [10, 0, 0, 9], |advert| advert.priority = 1);
        }
        world.run(interval);
    }
}

/// A reload gives the instances each other's names, or another VRID, or makes or ends a group of both.
fn everybody_reloads_otherwise(world: &mut World) {
    let what = world.rng.u32(0..3);
    let offset = world.rng.choice([0, 10, 20]).expect("not empty");
    for node in 0..world.nodes.len() {
        let mut new = Settings::clone(&world.nodes[node].settings);
        match what {
            0 if new.instances.len() == 2 => {
                for (instance, name) in new.instances.iter_mut().zip(["b", "a"]) {
                    let other =
                        if instance.name == name { ["a", "b"][usize::from(name == "a")] } else { name };
                    Arc::make_mut(instance).name = other.to_owned();
                }
            }
            1 => {
                for (n, instance) in (0..).zip(&mut new.instances) {
                    if instance.vmac.is_none() {
                        Arc::make_mut(instance).vrid = 51 + n + offset;
                    }
                }
            }
            2 if new.instances.len() == 2 && new.instances.iter().all(|i| i.priority < 255) => {
                if new.groups.is_empty() {
                    new.groups = vec![Arc::new(site::group("both", &["a", "b"]))];
                    let priority = new.instances[0].priority;
                    Arc::make_mut(&mut new.instances[1]).priority = priority;
                    new.forwarding_weight = 0;
                } else {
                    new.groups.clear();
                }
            }
            _ => {}
        }
        if world.is_running(node) {
            world.reload(node, new);
        } else {
            forget_addresses(world, node);
            world.nodes[node].settings = Arc::new(new);
        }
    }
}

fn mischief(world: &mut World, node: usize) {
    match world.rng.u32(0..26) {
        23 => a_forger_claims(world),
        24 | 25 => everybody_reloads_otherwise(world),
        0 => {
            if world.is_running(node) {
                world.crash(node);
            }
        }
        1 | 2 => {
            if !world.is_running(node) && !world.is_paused(node) {
                world.start(node);
            }
        }
        3 => {
            let pause = Duration::from_millis(world.rng.choice([30, 700, 2500, 6000]).expect("not empty"));
            if world.is_running(node) {
                if world.rng.bool() {
                    world.pause(node);
                } else {
                    world.hang(node);
                }
                world.run(pause);
                world.resume(node);
            }
        }
        4 | 5 => {
            let other = world.rng.usize(0..world.nodes.len());
            let is_cut = world.rng.bool();
            if is_cut && world.rng.bool() {
                world.deaf.insert((node, other));
            } else {
                world.cut(node, other, is_cut);
            }
        }
        6 | 7 => links_fail(world, node),
        8 => a_program_meddles(world, node),
        9 => addresses_change(world, node),
        10 => {
            let level = TrackLevel::Is(world.rng.bool());
            world.track(node, TrackTarget::Script("chk".to_owned()), level);
        }
        11 => {
            let vips = world.nodes[node].settings.instances.iter().flat_map(|i| invariants::addresses(i));
            let not_ready: BTreeSet<IpAddr> = vips.map(|(_, ip)| ip).collect();
            let not_ready = if world.rng.bool() { not_ready } else { BTreeSet::new() };
            let cannot_forward = world.rng.bool().then(|| "ip_vs is not loaded".to_owned());
            world.direct(node, DirectorLevel { not_ready, cannot_forward });
        }
        12 => everybody_reloads(world),
        13 => stops_or_hands_over(world, node),
        15 => world.lose_news(node),
        16 => world.nodes[node].host.lose_silently(None, None),
        17 => {
            let failure = SocketFailure { step: SocketStep::Open, errno: libc::EMFILE };
            world.nodes[node].refuses_sockets = world.rng.bool().then_some(failure);
        }
        14 => {
            let count = world.rng.usize(0..5);
            world.nodes[node].host.refuse(count);
        }
        _ => {
            world.loss = world.rng.choice([0, 0, 10, 40]).expect("not empty");
            world.duplication = world.rng.choice([0, 20]).expect("not empty");
        }
    }
}

fn links_fail(world: &mut World, node: usize) {
    let name = world.rng.choice(["e0", "e0", "e1"]).expect("not empty");
    let Some(index) = world.nodes[node].host.host().link(name).map(|l| l.index) else {
        plug_in(world, node, name);
        return;
    };
    let mac = MacAddress([2, 0, 0, world.rng.u8(..), world.rng.u8(..), world.rng.u8(..)]);
    let is_running = world.is_running(node);
    let host = &mut world.nodes[node].host;
    match world.rng.u32(0..9) {
        0 => host.set_up(index, false),
        1 => host.set_running(index, false),
        2 => host.remove_link(index),
        3 => host.set_mac(index, mac),
        4 => {
            let other = if name == "e0" { "e1" } else { "e0" };
            let master = host.host().link(other).map(|link| link.index);
            host.set_port_of(index, master);
        }
        // What a dead process left on a link that gets another name is the operator's.
        5 if is_running => {
            let other = format!("{name}.was{}", index.0);
            if world.rng.bool() {
                host.set_up(index, false);
            }
            host.rename(index, &other);
            world.run(Duration::from_secs(2));
        }
        _ => plug_in(world, node, name),
    }
}

/// A DHCP client or an operator: the own address goes and comes back, another one comes first, of the same network or
/// of another.
fn addresses_change(world: &mut World, node: usize) {
    let number = u8::try_from(node + 1).expect("small");
    let own = Prefix { ip: [10, 0, 0, 200 + number].into(), length: 24 };
    let same_network = Prefix { ip: [10, 0, 0, 100 + number].into(), length: 24 };
    let other_network = Prefix { ip: [9, 0, 0, number].into(), length: 24 };
    let host = &mut world.nodes[node].host;
    let add = |host: &mut crate::net::memory::MemoryHost, which: u32| match which {
        0 => host.add_address("e0", same_network),
        1 => host.add_address("e0", other_network),
        2 => {
            host.add_address("e0", Prefix { ip: [0xfd, number.into(), 0, 0, 0, 0, 0, 1].into(), length: 64 })
        }
        _ => {}
    };
    let (first, then) = (world.rng.u32(0..4), world.rng.u32(0..4));
    add(host, first);
    if world.rng.bool() {
        host.remove_address("e0", own);
        add(host, then);
        if world.rng.bool() {
            host.add_address("e0", own);
        }
    }
}

/// A program removes an address, or adds one.
fn a_program_meddles(world: &mut World, node: usize) {
    let all: Vec<_> = world.nodes[node].host.host().addresses.iter().copied().collect();
    let vips: Vec<_> =
        world.nodes[node].settings.instances.iter().flat_map(|i| invariants::addresses(i)).collect();
    if world.rng.bool() {
        let Some(held) = world.rng.choice(all) else { return };
        remove_by_hand(&mut world.nodes[node].host, &held);
    } else {
        let Some((link, ip)) = world.rng.choice(vips) else { return };
        let length = if ip.is_ipv4() { world.rng.u8(24..33) } else { world.rng.u8(64..129) };
        world.nodes[node].host.add_address(&link, Prefix { ip, length });
    }
}

fn everybody_reloads(world: &mut World) {
    let count = world.rng.usize(0..3);
    let priority = world.rng.bool().then(|| world.rng.u8(50..200));
    for node in 0..world.nodes.len() {
        let mut new = Settings::clone(&world.nodes[node].settings);
        for instance in &mut new.instances {
            let instance = Arc::make_mut(instance);
            let link = instance.addresses[0].wanted.link.clone();
            instance.excluded.retain(|a| a.wanted.link == "e1");
            instance.excluded.extend((0..count).map(|n| extra(&link, instance.vrid, n)));
            if let Some(priority) = priority.filter(|_| instance.priority < 255) {
                instance.priority = priority.wrapping_add(u8::try_from(node).expect("small"));
            }
        }
        if world.is_running(node) {
            world.reload(node, new);
        } else {
            forget_addresses(world, node);
            world.nodes[node].settings = Arc::new(new);
        }
    }
}

fn remove_by_hand(host: &mut MemoryHost, held: &HeldAddress) {
    if let Some(name) = host.host().links.get(&held.link).map(|link| link.name.clone()) {
        host.remove_address(&name, held.prefix);
    }
}

/// A configuration that changes while nothing runs: what a dead process left of it is the operator's.
fn forget_addresses(world: &mut World, node: usize) {
    let places: Vec<_> =
        world.nodes[node].settings.instances.iter().flat_map(|i| invariants::addresses(i)).collect();
    let all: Vec<_> = world.nodes[node].host.host().addresses.iter().copied().collect();
    for held in all.into_iter().filter(|h| places.iter().any(|(_, ip)| *ip == h.prefix.ip)) {
        remove_by_hand(&mut world.nodes[node].host, &held);
    }
}

/// Addresses added by hand, which lvsd reports as not its own: the operator removes them.
fn remove_what_is_not_lvsds(world: &mut World, node: usize) {
    let places: Vec<_> =
        world.nodes[node].settings.instances.iter().flat_map(|i| invariants::addresses(i)).collect();
    let host = &mut world.nodes[node].host;
    let all: Vec<_> = host.host().addresses.iter().filter(|h| !h.is_marked()).copied().collect();
    for held in all.into_iter().filter(|h| places.iter().any(|(_, ip)| *ip == h.prefix.ip)) {
        remove_by_hand(host, &held);
    }
}

fn extra(link: &str, vrid: u8, n: usize) -> crate::vrrp::settings::VirtualAddress {
    vip(link, [10, 0, vrid, u8::try_from(n).expect("small")].into(), 32)
}

fn stops_or_hands_over(world: &mut World, node: usize) {
    if !world.is_running(node) {
        return;
    }
    if world.rng.bool() {
        world.handle(node, Input::Stop);
        world.run(Duration::from_secs(6));
        world.forget(node);
        return;
    }
    world.hand_over(node);
    // In time, late, or at the next event.
    let Some(after) =
        world.rng.choice([Some(50), Some(50), Some(700), Some(2500), Some(4000), None]).flatten()
    else {
        return;
    };
    world.run(Duration::from_millis(after));
    world.start(node);
}

/// The same virtual routers on every host, with their own priorities.
pub(super) fn random_site(rng: &mut fastrand::Rng, hosts: u8) -> Vec<Settings> {
    let count = rng.u8(1..3);
    let common: Vec<InstanceSettings> = (0..count).map(|n| random_instance(rng, n, hosts)).collect();
    let has_group = count == 2 && rng.bool();
    let has_source = rng.u32(0..3) == 0;
    let owner = (rng.u32(0..8) == 0 && !has_group).then(|| rng.u8(0..hosts));
    (0..hosts)
        .map(|host| {
            let mut instances = common.clone();
            for instance in &mut instances {
                instance.priority = rng.u8(50..200);
                if instance.family == crate::vrrp::settings::Family::Ipv4 && has_source {
                    instance.source = Some([10, 0, 0, 201 + host].into());
                }
                if owner == Some(host) && instance.preempts {
                    instance.priority = 255;
                    instance.beginning = crate::vrrp::settings::Beginning::Master;
                }
            }
            let mut all = settings(instances);
            if has_group {
                all.groups = vec![Arc::new(site::group("both", &["a", "b"]))];
                // The winner of one election must win the other, or they alternate for ever.
                let priority = all.instances[0].priority;
                Arc::make_mut(&mut all.instances[1]).priority = priority;
            }
            all.forwarding_weight = if has_group { 0 } else { 20 };
            all
        })
        .collect()
}

fn random_instance(rng: &mut fastrand::Rng, n: u8, hosts: u8) -> InstanceSettings {
    let name = ["a", "b"][usize::from(n)];
    let mut new = match rng.u32(0..3) {
        0 => instance6(name, 51 + n, 100),
        _ => instance(name, 51 + n, 100),
    };
    let is_ipv4 = new.addresses[0].wanted.prefix.ip.is_ipv4();
    new.advert_interval = Duration::from_millis(rng.choice([300, 1000]).expect("not empty"));
    let key = Hmac {
        keys: BTreeMap::from([(1, vec![7; 32])]),
        active: 1,
        window: Duration::from_secs(5),
        is_monotonic: rng.bool(),
        mode: HmacMode::Enforce,
    };
    new.authentication = match rng.u32(0..4) {
        0 => Authentication::Hmac(Arc::new(key)),
        _ => Authentication::None,
    };
    if is_ipv4 && rng.bool() {
        new.version = Version::V2;
        new.advert_interval = Duration::from_secs(1);
        new.authentication = match rng.u32(0..3) {
            0 => Authentication::Password(*b"s3cret\0\0"),
            1 => Authentication::Header(*b"s3cret\0\0"),
            _ => Authentication::None,
        };
    }
    match rng.u32(0..3) {
        0 if is_ipv4 => new.transport = unicast(&(1..=hosts).collect::<Vec<_>>()),
        1 => new = on_vmac(new),
        _ => {}
    }
    if rng.bool() {
        let mut inner = vip("e1", [10, 0, 1, 51 + n].into(), 24);
        inner.is_tracked = rng.u32(0..4) > 0;
        new.excluded.push(inner);
    }
    new.preempts = rng.u32(0..4) > 0;
    new.preempts_ill = !new.preempts && rng.bool();
    new.preempt_delay = Duration::from_secs(rng.choice([0, 0, 5]).expect("not empty"));
    let weight = rng.choice([0, -20, 30]).expect("not empty");
    new.tracks = vec![script("chk", weight)];
    // Without chance, so that what else a seed does stays what it was.
    new.assert = (n == 0).then(|| Arc::new(super::assertions::command("/take")));
    if rng.bool() {
        (new.routes, new.rules) = random_routes(rng, &new, n);
    }
    new
}

/// A route through the other link, perhaps from the VIP, and a rule.
fn random_routes(
    rng: &mut fastrand::Rng,
    of: &InstanceSettings,
    n: u8,
) -> (Vec<Virtual<Route>>, Vec<Virtual<Rule>>) {
    let vip = of.addresses[0].wanted.prefix.ip;
    let hop = Hop { via: Some([10, 0, 1, 1].into()), link: Some("e1".to_owned()), ..Hop::default() };
    let destination = Prefix { ip: [172, 16, n, 0].into(), length: 24 };
    let source = (vip.is_ipv4() && rng.bool()).then_some(vip);
    let route = Route { source, ..Route::plain(destination, vec![hop]) };
    let rule = Rule { priority: Some(100 + u32::from(n)), ..Rule::plain(false, RuleAction::Table(100)) };
    let route = Virtual { wanted: Arc::new(route), is_tracked: true };
    let rule = Virtual { wanted: Arc::new(rule), is_tracked: true };
    (vec![route], vec![rule])
}
