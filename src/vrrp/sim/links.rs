//! Scenarios of links: those of VIPs that are not the instance's own, and those that change while they are in use.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{address, instance, instance6, on_vmac, settings, vip};
use super::world::World;
use crate::net::types::{Hop, LinkIndex, MacAddress, Op, Prefix, Route, Rule, RuleAction};
use crate::vrrp::io::{Input, State};
use crate::vrrp::settings::{InstanceSettings, LinkDelays, Settings, Virtual};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const VIP: [u8; 4] = [10, 0, 0, 51];
const INNER: [u8; 4] = [10, 0, 1, 77];
const INNER6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 0x77));

/// The usual pair of LVS-NAT: VRRP and a VIP outside, the real servers' gateway inside.
fn with_inner(priority: u8) -> InstanceSettings {
    InstanceSettings { excluded: vec![vip("e1", INNER.into(), 24)], ..instance("a", 51, priority) }
}

fn pair(of: impl Fn(u8) -> InstanceSettings) -> World {
    let mut world = World::with(vec![settings(vec![of(150)]), settings(vec![of(100)])]);
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

fn alone(a: InstanceSettings) -> World {
    let mut world = World::with(vec![settings(vec![a])]);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    world
}

fn announced(world: &World, from: usize, ip: impl Into<IpAddr>) -> Vec<(LinkIndex, [u8; 6])> {
    let ip = ip.into();
    let frames = world.nodes[0].announced[from..].iter();
    let of_it = frames.filter(|(_, _, frame)| invariants::announced(frame) == ip);
    of_it.map(|(_, link, frame)| (*link, frame[6..12].try_into().unwrap())).collect()
}

fn is_well(world: &mut World) {
    invariants::at_rest(world);
    assert_eq!(world.broken, [""; 0]);
}

#[derive(Clone, Copy, Debug)]
enum Ill {
    Cut,
    Down,
    Gone,
}

const ILLS: [Ill; 3] = [Ill::Cut, Ill::Down, Ill::Gone];

fn fall_ill(world: &mut World, node: usize, name: &str, ill: Ill) {
    let index = world.nodes[node].link(name);
    let host = &mut world.nodes[node].host;
    match ill {
        Ill::Cut => host.set_running(index, false),
        Ill::Down => host.set_up(index, false),
        Ill::Gone => host.remove_link(index),
    }
}

/// The link works again; one that had gone has another number, and none of its addresses.
fn get_well(world: &mut World, node: usize, name: &str) {
    let host = &mut world.nodes[node].host;
    match host.host().link(name).map(|l| l.index) {
        Some(index) => {
            host.set_up(index, true);
            host.set_running(index, true);
        }
        None => {
            let index = host.add_link(name, MacAddress([2, 0, 0, 9, 9, u8::try_from(node).unwrap()]));
            let third = u8::from(name == "e1");
            let own = [10, 0, third, 201 + u8::try_from(node).unwrap()];
            host.add_address(name, Prefix { ip: own.into(), length: 24 });
            assert!(host.host().links.contains_key(&index));
        }
    }
    host.end_duplicate_detection(true);
}

#[test]
fn the_inside_of_a_nat_pair_dies_and_the_other_director_takes_over() {
    for (ill, why) in [(Ill::Cut, "has no carrier"), (Ill::Down, "is down"), (Ill::Gone, "is not there")] {
        let mut world = pair(with_inner);
        fall_ill(&mut world, 0, "e1", ill);
        let took = world.until("the other one", |w| w.state(1, "a") == Some(State::Master));
        assert!(took < 700 * MILLISECOND, "{ill:?}: it says that it leaves: {took:?}");
        world.run(SECOND);
        let reason = world.status(0, "a").reason;
        assert_eq!(reason, format!("interface e1, which has the virtual address 10.0.1.77/24, {why}"));
        assert!(!world.nodes[0].has(VIP) && world.nodes[1].has(VIP) && world.nodes[1].has(INNER));
        get_well(&mut world, 0, "e1");
        world.run(30 * SECOND);
        assert_eq!(world.master("a"), Some(0), "{ill:?}");
        is_well(&mut world);
        assert_eq!(world.reported(0, "vrrp_refused"), [""; 0]);
    }
}

#[test]
fn routes_and_rules_are_as_good_as_addresses_and_no_track_leaves_each_of_them_out() {
    let to = Prefix { ip: [172, 16, 0, 0].into(), length: 16 };
    let route = Route::plain(to, vec![Hop { link: Some("e1".to_owned()), ..Hop::default() }]);
    let rule = Rule { input_link: Some("e1".to_owned()), ..Rule::plain(false, RuleAction::Table(100)) };
    let of_address = with_inner(150);
    let of_route = InstanceSettings {
        routes: vec![Virtual { wanted: Arc::new(route), is_tracked: true }],
        ..instance("a", 51, 150)
    };
    let of_rule = InstanceSettings {
        rules: vec![Virtual { wanted: Arc::new(rule), is_tracked: true }],
        ..instance("a", 51, 150)
    };
    for tracked in [of_address, of_route, of_rule] {
        let mut world = alone(tracked.clone());
        fall_ill(&mut world, 0, "e1", Ill::Cut);
        world.run(SECOND);
        assert_eq!(world.state(0, "a"), Some(State::Fault), "{tracked:?}");
        let mut untracked = tracked;
        untracked.excluded.iter_mut().for_each(|a| a.is_tracked = false);
        untracked.routes.iter_mut().for_each(|r| r.is_tracked = false);
        untracked.rules.iter_mut().for_each(|r| r.is_tracked = false);
        let mut world = alone(untracked.clone());
        for ill in ILLS {
            fall_ill(&mut world, 0, "e1", ill);
            world.run(10 * SECOND);
            assert_eq!(world.state(0, "a"), Some(State::Master), "{ill:?}: {untracked:?}");
            get_well(&mut world, 0, "e1");
            world.run(10 * SECOND);
            assert_eq!(world.nodes[0].host.routes().len(), untracked.routes.len(), "{ill:?}");
            assert_eq!(world.reported(0, "vrrp_refused"), [""; 0], "{ill:?}");
            is_well(&mut world);
        }
        assert_eq!(world.reported(0, "vrrp_restored"), [""; 0], "no person did anything");
    }
}

#[test]
fn a_vips_link_that_is_not_there_at_the_start_is_waited_for() {
    let mut world = World::new(1, 1);
    world.nodes[0].settings = settings(vec![with_inner(150)]).into();
    let e1 = world.nodes[0].link("e1");
    world.nodes[0].host.remove_link(e1);
    world.start(0);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert!(world.status(0, "a").reason.ends_with("is not there"));
    assert_eq!(world.nodes[0].ops.len(), 0);
    get_well(&mut world, 0, "e1");
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    is_well(&mut world);
}

#[test]
fn what_is_on_a_link_that_comes_back_is_announced_there_and_never_while_it_is_down() {
    // Nothing of it is tracked: it stays Master all the time.
    let mut a = InstanceSettings { ignores_own_link: true, ..instance("a", 51, 150) };
    a.excluded = vec![vip("e1", INNER.into(), 24), vip("e1", INNER6, 64)];
    a.excluded.iter_mut().for_each(|a| a.is_tracked = false);
    a.announcing.refresh = SECOND;
    for name in ["e0", "e1"] {
        for ill in [Ill::Cut, Ill::Down] {
            let mut world = alone(a.clone());
            fall_ill(&mut world, 0, name, ill);
            world.run(10 * SECOND);
            assert_eq!(world.state(0, "a"), Some(State::Master));
            let before = world.nodes[0].announced.len();
            get_well(&mut world, 0, name);
            world.run(50 * MILLISECOND);
            let vips: &[IpAddr] = if name == "e0" { &[IpAddr::from(VIP)] } else { &[INNER.into(), INNER6] };
            for vip in vips {
                let times = announced(&world, before, *vip).len();
                assert!((5..=6).contains(&times), "{name} {ill:?}: {vip} {times} times");
            }
            assert_eq!(world.reported(0, "vrrp_refused"), [""; 0]);
            assert_eq!(world.reported(0, "vrrp_restored"), [""; 0]);
            is_well(&mut world);
        }
    }
}

#[test]
fn a_link_that_flickers_is_announced_on_anew_though_its_being_down_did_not_count() {
    let excluded = vec![vip("e0", INNER6, 64)];
    let mut all = settings(vec![InstanceSettings { excluded, ..instance("a", 51, 150) }]);
    let delays = LinkDelays { down: 3 * SECOND, up: 3 * SECOND };
    all.link_delays = [("e0".to_owned(), delays)].into();
    let mut world = World::with(vec![all]);
    world.run(20 * SECOND);
    let before = world.nodes[0].announced.len();
    for ill in [Ill::Cut, Ill::Down] {
        fall_ill(&mut world, 0, "e0", ill);
        world.run(SECOND);
        get_well(&mut world, 0, "e0");
        world.run(SECOND);
    }
    assert_eq!(world.state(0, "a"), Some(State::Master));
    for vip in [IpAddr::from(VIP), INNER6] {
        let times = announced(&world, before, vip).len();
        assert!((10..=11).contains(&times), "{vip} {times} times");
    }
    assert_eq!(world.reported(0, "vrrp_restored"), [""; 0], "the kernel took them, no person");
    is_well(&mut world);
}

#[test]
fn a_carrier_that_comes_and_goes_does_not_pile_up_announcements() {
    let mut all = settings(vec![InstanceSettings { ignores_own_link: true, ..instance("a", 51, 150) }]);
    let slow = 100 * MILLISECOND;
    all.pacing = vec![crate::vrrp::settings::Pacing { links: Vec::new(), arp: slow, neighbour: slow }];
    let mut world = World::with(vec![all]);
    world.run(10 * SECOND);
    let before = world.nodes[0].announced.len();
    for _ in 0..100 {
        fall_ill(&mut world, 0, "e0", Ill::Cut);
        world.run(MILLISECOND);
        get_well(&mut world, 0, "e0");
        world.run(MILLISECOND);
    }
    world.run(4 * SECOND);
    let after = world.nodes[0].announced.len() - before;
    assert!((5..=8).contains(&after), "{after}");
}

#[test]
fn another_mac_address_is_announced_at_once() {
    let mut world = alone(with_inner(150));
    for name in ["e0", "e1"] {
        let before = world.nodes[0].announced.len();
        let index = world.nodes[0].link(name);
        let mac = [2, 0, 0, 7, 7, 7];
        world.nodes[0].host.set_mac(index, MacAddress(mac));
        world.run(50 * MILLISECOND);
        let vip = if name == "e0" { VIP } else { INNER };
        assert_eq!(announced(&world, before, vip), [(index, mac); 5]);
        assert_eq!(world.nodes[0].announced.len(), before + 5, "only what is on {name}");
    }
    world.run(10 * SECOND);
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2, "it stayed Master");
    is_well(&mut world);
}

#[test]
fn a_renamed_link_keeps_no_vip_and_whatever_gets_the_name_is_used() {
    for name in ["e0", "e1"] {
        for goes_down in [false, true] {
            let mut world = pair(with_inner);
            let index = world.nodes[0].link(name);
            let host = &mut world.nodes[0].host;
            if goes_down {
                host.set_up(index, false);
            }
            host.rename(index, "lan0");
            host.set_up(index, true);
            host.end_duplicate_detection(true);
            world.run(5 * SECOND);
            assert_eq!(world.master("a"), Some(1));
            assert!(
                !world.nodes[0].has(VIP) && !world.nodes[0].has(INNER),
                "{name}: nothing is left on lan0"
            );
            assert!(world.status(0, "a").reason.contains("is not there"), "{}", world.status(0, "a").reason);
            get_well(&mut world, 0, name);
            world.run(30 * SECOND);
            assert_eq!(world.master("a"), Some(0), "another link has the name");
            is_well(&mut world);
            let other = world.nodes[0].link(name);
            let vip = if name == "e0" { VIP } else { INNER };
            assert_eq!(world.nodes[0].host.holders(vip.into()), [other].into());
            world.handle(0, Input::Stop);
            world.run(SECOND);
            invariants::nothing_is_left(&mut world, 0);
            assert_eq!(world.broken, [""; 0]);
        }
    }
}

#[test]
fn a_renaming_that_was_not_reported_is_seen_when_the_host_is_read() {
    let mut world = alone(with_inner(150));
    let e1 = world.nodes[0].link("e1");
    world.nodes[0].host.rename(e1, "lan0");
    let _ = world.nodes[0].host.take_events();
    let host = world.nodes[0].host.host().clone();
    world.handle(0, Input::Host(host));
    world.run(SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert!(!world.nodes[0].has(INNER) && !world.nodes[0].has(VIP));
}

#[test]
fn routes_through_a_renamed_link_go_with_its_addresses() {
    let to = Prefix { ip: [172, 16, 0, 0].into(), length: 16 };
    let route = Route::plain(to, vec![Hop { link: Some("e1".to_owned()), ..Hop::default() }]);
    let routes = vec![Virtual { wanted: Arc::new(route), is_tracked: true }];
    let mut world = alone(InstanceSettings { routes, ..with_inner(150) });
    assert_eq!(world.nodes[0].host.routes().len(), 1);
    let e1 = world.nodes[0].link("e1");
    world.nodes[0].host.rename(e1, "lan0");
    world.run(SECOND);
    assert_eq!(world.nodes[0].host.routes().len(), 0);
}

#[test]
fn a_static_address_and_route_are_back_as_soon_as_their_link_is() {
    let to = Prefix { ip: "fd00:9::".parse().unwrap(), length: 64 };
    let route = Route::plain(to, vec![Hop { link: Some("e1".to_owned()), ..Hop::default() }]);
    let all = Settings {
        static_addresses: vec![Arc::new(address("e1", INNER6, 64))],
        static_routes: vec![Arc::new(route)],
        ..settings(vec![instance("a", 51, 150)])
    };
    for ill in ILLS {
        let mut world = World::with(vec![all.clone()]);
        world.run(10 * SECOND);
        fall_ill(&mut world, 0, "e1", ill);
        world.run(100 * SECOND);
        assert!(!world.nodes[0].has(INNER6) || matches!(ill, Ill::Cut));
        get_well(&mut world, 0, "e1");
        world.run(10 * MILLISECOND);
        assert!(world.nodes[0].has(INNER6), "{ill:?}");
        assert_eq!(world.nodes[0].host.routes().len(), 1, "{ill:?}");
        assert_eq!(world.reported(0, "vrrp_refused"), [""; 0], "{ill:?}");
    }
}

#[test]
fn a_link_that_becomes_a_port_of_a_bridge_is_a_fault_until_it_is_its_own_again() {
    let mut world = pair(with_inner);
    let e0 = world.nodes[0].link("e0");
    let bridge = world.nodes[0].host.add_link("br0", MacAddress([2, 0, 0, 5, 5, 5]));
    world.nodes[0].host.set_port_of(e0, Some(bridge));
    world.run(5 * SECOND);
    assert_eq!(world.master("a"), Some(1), "it would hear nothing");
    assert_eq!(
        world.status(0, "a").reason,
        "interface e0 is a port of br0, which gets its packets: write `interface br0`"
    );
    world.nodes[0].host.set_port_of(e0, None);
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    is_well(&mut world);
}

#[test]
fn an_interface_that_is_made_anew_has_new_sockets_and_its_vmac_again() {
    let plain: fn(u8) -> InstanceSettings = with_inner;
    let vmac: fn(u8) -> InstanceSettings = |priority| on_vmac(instance("a", 51, priority));
    let vmac6: fn(u8) -> InstanceSettings = |priority| on_vmac(instance6("a", 51, priority));
    for of in [plain, vmac, vmac6] {
        let mut world = pair(of);
        let before = world.nodes[0].listening.clone();
        fall_ill(&mut world, 0, "e0", Ill::Gone);
        world.run(5 * SECOND);
        assert_eq!(world.master("a"), Some(1));
        get_well(&mut world, 0, "e0");
        world.run(20 * SECOND);
        assert_eq!(world.master("a"), Some(0));
        let now = world.nodes[0].listening.clone();
        assert!(now.is_disjoint(&before) && !now.is_empty(), "{now:?}");
        is_well(&mut world);
    }
}

#[test]
fn a_vmac_whose_base_is_renamed_moves_to_the_link_that_gets_the_name() {
    let mut world = pair(|priority| on_vmac(instance("a", 51, priority)));
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.rename(e0, "lan0");
    world.run(5 * SECOND);
    assert_eq!(world.master("a"), Some(1));
    assert!(world.nodes[0].host.host().link("vrrp.51").is_none(), "none is left on lan0");
    get_well(&mut world, 0, "e0");
    world.run(20 * SECOND);
    let (base, vmac) = (world.nodes[0].link("e0"), world.nodes[0].link("vrrp.51"));
    assert_eq!(world.nodes[0].host.host().links[&vmac].base, Some(base));
    assert_eq!(world.master("a"), Some(0));
    is_well(&mut world);
}

#[test]
fn a_vmac_that_a_program_renames_is_made_again_and_the_other_goes() {
    let mut world = alone(on_vmac(instance("a", 51, 150)));
    let vmac = world.nodes[0].link("vrrp.51");
    world.nodes[0].host.rename(vmac, "mine");
    world.run(10 * SECOND);
    assert!(world.nodes[0].host.host().link("mine").is_none());
    assert_eq!(world.state(0, "a"), Some(State::Master));
    is_well(&mut world);
}

#[test]
fn a_program_that_removes_an_untracked_address_of_a_working_link_has_its_way() {
    let mut a = with_inner(150);
    a.excluded[0].is_tracked = false;
    let mut world = alone(a);
    let op = Op::RemoveAddress {
        link: world.nodes[0].link("e1"),
        prefix: Prefix { ip: INNER.into(), length: 24 },
    };
    world.nodes[0].host.apply(&[op]);
    world.run(10 * SECOND);
    assert!(!world.nodes[0].has(INNER));
}
