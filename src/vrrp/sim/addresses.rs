//! Scenarios of addresses, routes, rules, VMACs and announcements.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{address, announcing, instance, instance6, on_vmac, settings, vip};
use super::world::World;
use crate::net::types::{Hop, LinkIndex, Op, Prefix, Route, RouteKind, Rule, RuleAction};
use crate::time::Instant;
use crate::vrrp::io::{Input, State};
use crate::vrrp::settings::{Announcing, InstanceSettings, Pacing, Settings, Virtual};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const VIP: [u8; 4] = [10, 0, 0, 51];

fn alone(a: InstanceSettings) -> World {
    master(settings(vec![a]))
}

fn master(all: Settings) -> World {
    let mut world = World::with(vec![all]);
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    world.run(10 * MILLISECOND);
    world
}

fn remove(world: &mut World, link: &str, ip: impl Into<IpAddr>, length: u8) {
    world.nodes[0].host.remove_address(link, Prefix { ip: ip.into(), length });
}

/// When and what host 0 announced.
fn announced(world: &World) -> Vec<(Instant, IpAddr)> {
    world.nodes[0].announced.iter().map(|(at, _, frame)| (*at, invariants::announced(frame))).collect()
}

#[test]
fn a_removed_address_is_back_at_once_without_leaving_master() {
    let mut world = alone(instance("a", 51, 100));
    world.run(20 * SECOND);
    let before = announced(&world).len();
    remove(&mut world, "e0", VIP, 24);
    let took = world.until("back", |w| w.nodes[0].has(VIP));
    assert!(took < 100 * MILLISECOND, "{took:?}");
    world.run(10 * MILLISECOND);
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2, "Init, Backup, Master and no more");
    assert_eq!(
        world.reported(0, "vrrp_restored"),
        [
            "instance a: another program removed address 10.0.0.51/24 on e0: restored (1 times since the start)"
        ]
    );
    assert_eq!(announced(&world).len(), before + 5, "and the network hears of it");
    assert_eq!(world.status(0, "a").counters.restored, 1);
}

#[test]
fn a_program_that_fights_is_answered_more_and_more_slowly() {
    let mut world = alone(instance("a", 51, 100));
    let end = world.now + 60 * SECOND;
    while world.now < end {
        if world.nodes[0].has(VIP) {
            remove(&mut world, "e0", VIP, 24);
        }
        world.run(MILLISECOND);
    }
    let restored = world.reported(0, "vrrp_restored").len();
    assert!((6..20).contains(&restored), "{restored}");
    assert_eq!(world.state(0, "a"), Some(State::Master));
}

#[test]
fn untracked_addresses_are_not_restored() {
    let mut untracked = instance("a", 51, 100);
    untracked.addresses[0].is_tracked = false;
    let mut world = alone(untracked);
    remove(&mut world, "e0", VIP, 24);
    world.run(10 * SECOND);
    assert!(!world.nodes[0].has(VIP));
    assert_eq!(world.state(0, "a"), Some(State::Master));
}

#[test]
fn an_address_that_is_there_when_it_is_wanted_is_adopted_and_never_doubled() {
    let mut world = World::new(1, 1);
    world.nodes[0].settings = settings(vec![instance("a", 51, 100)]).into();
    world.nodes[0].host.add_address("e0", Prefix { ip: VIP.into(), length: 24 });
    world.start_after(0, ["a".to_owned()].into());
    assert_eq!(world.state(0, "a"), Some(State::Master), "a predecessor left it as Master");
    world.run(10 * MILLISECOND);
    invariants::vip_iff_master(&mut world, 0, "a");
    assert_eq!(world.broken, [""; 0]);
    assert_eq!(world.reported(0, "vrrp_left_over"), ["address 10.0.0.51/24 on e0 was there already: kept"]);
    world.handle(0, Input::Stop);
    world.run(SECOND);
    invariants::nothing_is_left(&mut world, 0);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_backup_has_no_vip_whatever_adds_it() {
    let mut world =
        World::with(vec![settings(vec![instance("a", 51, 100)]), settings(vec![instance("a", 51, 150)])]);
    world.run(10 * SECOND);
    world.nodes[0].host.add_address("e0", Prefix { ip: VIP.into(), length: 24 });
    world.run(10 * MILLISECOND);
    assert!(!world.nodes[0].has(VIP));
}

#[test]
fn what_the_kernel_refuses_is_reported_once_and_tried_again() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(SECOND);
    world.nodes[0].host.refuse(3);
    world.run(20 * SECOND);
    assert!(world.nodes[0].has(VIP));
    assert_eq!(
        world.reported(0, "vrrp_refused"),
        ["instance a: address 10.0.0.51/24 on e0: input/output error"]
    );
    assert_eq!(world.whole_status(0).refused, [""; 0]);
}

#[test]
fn routes_and_rules_come_with_mastership_are_mended_and_go() {
    let route = Route {
        kind: RouteKind::Unicast,
        destination: Prefix { ip: [172, 16, 0, 0].into(), length: 16 },
        from: None,
        source: None,
        tos: 0,
        table: 100,
        metric: None,
        scope: None,
        protocol: 18,
        metrics: Default::default(),
        hops: vec![Hop { link: Some("e1".to_owned()), ..Hop::default() }],
    };
    let rule = Rule {
        is_ipv6: false,
        is_inverted: false,
        from: Some(Prefix { ip: [10, 0, 0, 0].into(), length: 24 }),
        to: None,
        tos: 0,
        fwmark: None,
        input_link: None,
        output_link: None,
        uids: None,
        ip_protocol: None,
        source_ports: None,
        destination_ports: None,
        suppress_prefix_length: None,
        suppress_group: None,
        priority: Some(1000),
        protocol: 18,
        action: RuleAction::Table(100),
    };
    let mut world = alone(InstanceSettings {
        routes: vec![Virtual { wanted: Arc::new(route.clone()), is_tracked: true }],
        rules: vec![Virtual { wanted: Arc::new(rule.clone()), is_tracked: true }],
        ..instance("a", 51, 100)
    });
    let counts = |w: &World| (w.nodes[0].host.routes().len(), w.nodes[0].host.rules().len());
    assert_eq!(counts(&world), (1, 1));
    world.nodes[0].host.apply(&[Op::RemoveRoute(Arc::new(route)), Op::RemoveRule(Arc::new(rule))]);
    world.run(100 * MILLISECOND);
    assert_eq!(counts(&world), (1, 1));
    assert_eq!(world.reported(0, "vrrp_restored").len(), 2);
    // The kernel says nothing of routes that go with a link.
    let e1 = world.nodes[0].link("e1");
    world.nodes[0].host.set_up(e1, false);
    world.run(SECOND);
    world.nodes[0].host.set_up(e1, true);
    world.run(10 * SECOND);
    assert_eq!(counts(&world), (1, 1));
    world.handle(0, Input::Stop);
    world.run(SECOND);
    invariants::nothing_is_left(&mut world, 0);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn static_addresses_are_there_whatever_the_state() {
    let mut all = settings(vec![instance("a", 51, 100)]);
    all.static_addresses = vec![Arc::new(address("e1", [192, 0, 2, 1].into(), 24))];
    let mut world = World::with(vec![all]);
    world.run(10 * MILLISECOND);
    assert_eq!(world.state(0, "a"), Some(State::Backup));
    assert!(world.nodes[0].has([192, 0, 2, 1]));
    remove(&mut world, "e1", [192, 0, 2, 1], 24);
    world.run(10 * MILLISECOND);
    assert!(world.nodes[0].has([192, 0, 2, 1]));
    assert_eq!(
        world.reported(0, "vrrp_restored"),
        ["static: another program removed address 192.0.2.1/24 on e1: restored (1 times since the start)"]
    );
}

#[test]
fn ipv6_addresses_are_added_in_the_order_they_are_written() {
    let world = alone(instance6("a", 51, 100));
    let added: Vec<_> = world.nodes[0]
        .ops
        .iter()
        .filter_map(|(_, op)| match op {
            Op::AddAddress(address) => Some(address.prefix.ip),
            _ => None,
        })
        .collect();
    assert_eq!(
        added,
        instance6("a", 51, 100).addresses.iter().map(|a| a.wanted.prefix.ip).collect::<Vec<_>>()
    );
}

#[test]
fn a_vmac_is_there_from_the_start_carries_everything_and_goes_at_the_end() {
    let mut world = World::with(vec![settings(vec![on_vmac(instance("a", 51, 100))])]);
    world.run(10 * MILLISECOND);
    let link = world.nodes[0].link("vrrp.51");
    assert_eq!(world.state(0, "a"), Some(State::Backup));
    assert!(world.nodes[0].listening.iter().any(|s| s.link == Some(link) && s.group.is_some()));
    let e0 = world.nodes[0].link("e0");
    assert_eq!(world.nodes[0].joined, [(e0, [224, 0, 0, 18].into())].into());
    world.run(5 * SECOND);
    assert_eq!(world.nodes[0].host.holders(VIP.into()), [link].into());
    let (_, on, frame) = world.nodes[0].announced[0].clone();
    assert_eq!((on, &frame[6..12]), (link, &[0, 0, 0x5e, 0, 1, 51][..]), "from its own MAC address");
    world.nodes[0].host.remove_link(link);
    world.run(5 * SECOND);
    assert!(world.nodes[0].has(VIP), "made anew");
    world.handle(0, Input::Stop);
    world.run(SECOND);
    invariants::nothing_is_left(&mut world, 0);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn the_link_below_a_vmac_is_a_member_of_all_its_groups_from_the_start() {
    let mut world = World::with(vec![settings(vec![on_vmac(instance6("a", 51, 100))])]);
    world.run(10 * MILLISECOND);
    assert_eq!(world.state(0, "a"), Some(State::Backup));
    let groups =
        ["ff02::12", "ff02::1:ff01:33"].map(|group| (world.nodes[0].link("e0"), group.parse().unwrap()));
    assert_eq!(world.nodes[0].joined, groups.into());
    world.reload(0, settings(vec![instance6("a", 51, 100)]));
    world.run(SECOND);
    assert_eq!(world.nodes[0].joined, [].into());
}

#[test]
fn a_vmac_may_advertise_from_its_base() {
    let from_base = InstanceSettings { advertises_from_base: true, ..on_vmac(instance("a", 51, 100)) };
    let mut world = alone(from_base);
    world.run(SECOND);
    let e0 = world.nodes[0].link("e0");
    assert!(world.nodes[0].listening.iter().all(|s| s.link == Some(e0)));
    let vmac = world.nodes[0].link("vrrp.51");
    assert!(world.nodes[0].announced.iter().all(|(_, link, _)| *link == vmac));
}

#[test]
fn five_announcements_at_once_five_after_five_seconds_and_none_without_addresses() {
    let mut world = alone(instance("a", 51, 100));
    world.run(20 * SECOND);
    let all = announced(&world);
    assert_eq!(all.len(), 10);
    assert!(all[4].0.since(all[0].0) < MILLISECOND);
    assert_eq!(all[5].0.since(all[0].0), 5 * SECOND);
    let bare = InstanceSettings { addresses: Vec::new(), ..instance("a", 51, 100) };
    let mut world = alone(bare);
    world.run(20 * SECOND);
    assert!(announced(&world).is_empty());
}

#[test]
fn refreshes_go_on_while_master_and_stop_with_it() {
    let announcing = Announcing {
        delay: Duration::ZERO,
        repeat: 1,
        refresh: 10 * SECOND,
        refresh_repeat: 2,
        ..announcing()
    };
    let mut world = alone(InstanceSettings { announcing, ..instance("a", 51, 100) });
    world.run(35 * SECOND);
    assert_eq!(announced(&world).len(), 1 + 3 * 2);
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    world.run(100 * SECOND);
    assert_eq!(announced(&world).len(), 1 + 3 * 2);
}

#[test]
fn addresses_on_other_interfaces_are_announced_there_now_and_then() {
    let announcing = Announcing { delay: Duration::ZERO, repeat: 1, extra: 10 * SECOND, ..announcing() };
    let mut a = InstanceSettings { announcing, ..instance("a", 51, 100) };
    a.excluded = vec![vip("e1", [10, 0, 1, 51].into(), 24)];
    let mut world = alone(a.clone());
    world.run(35 * SECOND);
    assert_eq!(announced(&world).iter().filter(|(_, ip)| *ip == IpAddr::from(VIP)).count(), 1);
    assert_eq!(announced(&world).len(), 1 + 1 + 3);
    a.announcing.extra_on_all = true;
    let mut world = alone(a);
    world.run(35 * SECOND);
    assert_eq!(announced(&world).len(), 2 + 3 * 2);
}

#[test]
fn announcements_keep_the_pace_of_their_link_and_end_with_mastership() {
    let mut all = settings(vec![instance("a", 51, 100)]);
    all.pacing = vec![Pacing { links: Vec::new(), arp: 100 * MILLISECOND, neighbour: Duration::ZERO }];
    let mut world = World::with(vec![all]);
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    world.run(250 * MILLISECOND);
    assert_eq!(announced(&world).len(), 3);
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_up(e0, false);
    world.run(20 * SECOND);
    assert_eq!(announced(&world).len(), 3, "the rest is cancelled, and so is the second burst");
}

#[test]
fn a_neighbour_announcement_says_router_where_the_link_forwards() {
    for forwards in [true, false] {
        let mut world = World::with(vec![settings(vec![instance6("a", 51, 100)])]);
        let e0 = world.nodes[0].link("e0");
        let links = if forwards { [e0].into() } else { [LinkIndex(99)].into() };
        world.handle(0, Input::RouterLinks(links));
        world.run(10 * SECOND);
        let frames = &world.nodes[0].announced;
        assert!(frames.len() >= 10);
        assert!(frames.iter().all(|(_, _, f)| (f[14 + 40 + 4] & 0x80 != 0) == forwards));
    }
}

#[test]
fn an_owner_keeps_what_its_host_had_before() {
    let mut owner = instance("a", 51, 255);
    owner.addresses = vec![vip("e0", [10, 0, 0, 201].into(), 24)];
    let mut world = World::with(vec![settings(vec![owner])]);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert!(!announced(&world).is_empty());
    world.handle(0, Input::Stop);
    world.run(SECOND);
    assert!(world.nodes[0].has([10, 0, 0, 201]), "the host's own address stays");
}

#[test]
fn reading_the_host_again_disturbs_nothing() {
    let mut world = alone(on_vmac(instance("a", 51, 100)));
    world.run(10 * SECOND);
    let (ops, events, sockets) =
        (world.nodes[0].ops.len(), world.nodes[0].events.len(), Arc::clone(&world.nodes[0].listening));
    let host = world.nodes[0].host.host().clone();
    world.handle(0, Input::Host(host));
    world.run(3 * SECOND);
    assert_eq!((world.nodes[0].ops.len(), world.nodes[0].events.len()), (ops, events));
    assert!(Arc::ptr_eq(&sockets, &world.nodes[0].listening), "no socket was touched");
    // Changes during the gap are seen.
    let link = world.nodes[0].link("vrrp.51");
    world.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix: Prefix { ip: VIP.into(), length: 24 } }]);
    let _ = world.nodes[0].host.take_events();
    let host = world.nodes[0].host.host().clone();
    world.handle(0, Input::Host(host));
    world.run(10 * MILLISECOND);
    assert!(world.nodes[0].has(VIP));
}
