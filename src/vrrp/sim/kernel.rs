//! Scenarios of what the kernel does without being asked, and of what lvsd did not add itself.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{instance, on_vmac, settings, vip};
use super::world::World;
use crate::net::types::{Address, Hop, Op, Prefix, Route, Rule, RuleAction};
use crate::vrrp::io::{Input, State};
use crate::vrrp::settings::{InstanceSettings, Settings, Virtual};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const VIP: [u8; 4] = [10, 0, 0, 51];
/// The host's own address on e0.
const OWN: [u8; 4] = [10, 0, 0, 201];

fn prefix(ip: [u8; 4], length: u8) -> Prefix {
    Prefix { ip: ip.into(), length }
}

fn route(destination: [u8; 4], gateway: [u8; 4], link: &str) -> Route {
    let hop = Hop { via: Some(gateway.into()), link: Some(link.to_owned()), ..Hop::default() };
    Route::plain(prefix(destination, 16), vec![hop])
}

fn rule() -> Rule {
    Rule { priority: Some(100), ..Rule::plain(false, RuleAction::Table(100)) }
}

fn virtual_<T>(it: T) -> Virtual<T> {
    Virtual { wanted: Arc::new(it), is_tracked: true }
}

/// An instance with a route and a rule.
fn routed(priority: u8) -> InstanceSettings {
    InstanceSettings {
        routes: vec![virtual_(route([172, 16, 0, 0], [10, 0, 1, 1], "e1"))],
        rules: vec![virtual_(rule())],
        ..instance("a", 51, priority)
    }
}

fn counts(world: &World, node: usize) -> (usize, usize) {
    let host = &world.nodes[node].host;
    (host.routes().iter().filter(|r| r.protocol == 18).count(), host.rules().len())
}

/// Whether an address of e0 of host 0 is secondary; None when it is not there.
fn is_secondary(world: &World, ip: [u8; 4]) -> Option<bool> {
    let host = world.nodes[0].host.host();
    host.addresses.iter().find(|h| h.prefix.ip == IpAddr::from(ip)).map(|h| h.is_secondary)
}

fn remove_by_hand(world: &mut World, ip: [u8; 4], length: u8) {
    world.nodes[0].host.remove_address("e0", prefix(ip, length));
}

fn no_complaints(world: &World) {
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn an_address_of_the_host_that_is_configured_as_a_vip_stays_in_every_state_and_is_reported_once() {
    // With its own prefix length, and as keepalived.conf has it without one.
    for length in [24, 32] {
        let mut a = instance("a", 51, 100);
        a.addresses = vec![vip("e0", OWN.into(), length)];
        let mut world = World::new(7, 1);
        let default = Route { protocol: 4, ..route([0, 0, 0, 0], [10, 0, 0, 1], "e0") };
        let default = Route { destination: prefix([0, 0, 0, 0], 0), ..default };
        world.nodes[0].host.apply(&[Op::AddRoute(Arc::new(default))]);
        world.nodes[0].settings = Arc::new(settings(vec![a]));
        world.start(0);
        world.run(10 * MILLISECOND);
        assert_eq!(world.state(0, "a"), Some(State::Backup), "/{length}");
        world.run(100 * SECOND);
        assert_eq!(world.state(0, "a"), Some(State::Master), "/{length}");
        let reported = world.reported(0, "vrrp_hosts_own");
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!(reported[0].starts_with("virtual address 10.0.0.201 is an address of this host already"));
        world.handle(0, Input::Stop);
        world.run(SECOND);
        let host = &world.nodes[0].host;
        assert!(world.nodes[0].has(OWN), "/{length}");
        assert_eq!((host.routes().len(), world.nodes[0].ops.len()), (1, 0), "/{length}");
    }
}

#[test]
fn an_address_of_another_length_than_the_vips_is_left_alone_unless_it_is_marked() {
    for is_marked in [false, true] {
        let mut world = World::new(1, 1);
        world.nodes[0].settings = settings(vec![instance("a", 51, 100)]).into();
        let other = prefix(VIP, 28);
        if is_marked {
            let address = Address::plain("e0", other);
            world.nodes[0].host.apply(&[Op::AddAddress(Arc::new(address))]);
        } else {
            world.nodes[0].host.add_address("e0", other);
        }
        world.start(0);
        world.run(10 * MILLISECOND);
        assert_eq!(world.nodes[0].has(VIP), !is_marked);
        assert_eq!(world.reported(0, "vrrp_hosts_own").len(), usize::from(!is_marked));
        assert_eq!(world.reported(0, "vrrp_left_over").len(), usize::from(is_marked));
    }
}

#[test]
fn a_vip_that_a_killed_keepalived_left_is_removed_from_a_backup_unless_the_host_lives_by_it() {
    // In the host's own network, as a single address, and alone in its network.
    for (ip, length, is_removed) in [(VIP, 24, true), (VIP, 32, true), ([192, 0, 2, 5], 24, false)] {
        let mut a = instance("a", 51, 100);
        a.addresses = vec![vip("e0", ip.into(), length)];
        let mut world = World::new(1, 1);
        world.nodes[0].settings = settings(vec![a]).into();
        world.nodes[0].host.add_address("e0", prefix(ip, length));
        world.start(0);
        world.run(10 * MILLISECOND);
        assert_eq!(!world.nodes[0].has(ip), is_removed, "{ip:?}/{length}");
        assert!(world.nodes[0].has(OWN));
    }
}

#[test]
fn what_a_dead_lvsd_left_is_removed_wherever_it_is() {
    for ip in [VIP, [192, 0, 2, 5]] {
        let mut a = instance("a", 51, 100);
        a.addresses = vec![vip("e0", ip.into(), 24)];
        let mut world = World::with(vec![settings(vec![a])]);
        world.run(10 * SECOND);
        world.nodes[0].has_guardian = false;
        world.crash(0);
        assert!(world.nodes[0].has(ip));
        world.start(0);
        world.run(10 * MILLISECOND);
        assert!(!world.nodes[0].has(ip), "{ip:?}");
    }
}

#[test]
fn an_owner_that_comes_by_reload_or_hand_over_keeps_what_its_host_had_before() {
    let mut owner = instance("a", 51, 255);
    owner.addresses = vec![vip("e0", OWN.into(), 24)];
    let mut world = World::with(vec![settings(vec![instance("z", 9, 100)])]);
    world.run(10 * SECOND);
    world.reload(0, settings(vec![instance("z", 9, 100), owner]));
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    world.handle(0, Input::HandOver);
    world.forget(0);
    world.start_after(0, ["a".to_owned()].into());
    world.run(10 * SECOND);
    assert_eq!(world.reported(0, "vrrp_hosts_own"), [""; 0], "priority 255 says so");
    world.handle(0, Input::Stop);
    world.run(SECOND);
    assert!(world.nodes[0].has(OWN), "the host's own address stays");
}

#[test]
fn a_static_address_that_the_host_has_already_stays_when_lvsd_stops() {
    let mut all = settings(vec![instance("a", 51, 100)]);
    all.static_addresses = vec![
        Arc::new(Address::plain("e0", prefix(OWN, 24))),
        Arc::new(Address::plain("e0", prefix([192, 0, 2, 1], 24))),
    ];
    let mut world = World::with(vec![all]);
    world.run(SECOND);
    assert!(world.nodes[0].has([192, 0, 2, 1]));
    world.handle(0, Input::Stop);
    world.run(SECOND);
    assert!(world.nodes[0].has(OWN) && !world.nodes[0].has([192, 0, 2, 1]));
    assert_eq!(world.reported(0, "vrrp_hosts_own"), [""; 0]);
}

#[test]
fn a_hosts_own_address_that_comes_after_the_vip_is_primary_and_outlives_it() {
    for promotes in [false, true] {
        for end in ["stop", "death", "backup", "hand removal"] {
            let mut a = instance("a", 51, 100);
            a.addresses.push(vip("e0", [10, 0, 0, 52].into(), 24));
            a.interface = Some("e1".to_owned());
            let mut world = World::new(7, 1);
            world.nodes[0].settings = Arc::new(settings(vec![a]));
            world.nodes[0].host.set_promotes_secondaries(promotes);
            remove_by_hand(&mut world, OWN, 24);
            world.start(0);
            world.until("Master", |w| w.nodes[0].has(VIP));
            assert_eq!(is_secondary(&world, VIP), Some(false), "no other address is there");
            // DHCP answers.
            world.nodes[0].host.add_address("e0", prefix(OWN, 24));
            world.run(SECOND);
            let are = [OWN, VIP, [10, 0, 0, 52]].map(|ip| is_secondary(&world, ip));
            assert_eq!(are, [Some(false), Some(true), Some(true)], "{promotes} {end}");
            match end {
                "stop" => world.handle(0, Input::Stop),
                "death" => world.crash(0),
                "backup" => {
                    let e1 = world.nodes[0].link("e1");
                    world.nodes[0].host.set_running(e1, false);
                }
                _ => remove_by_hand(&mut world, VIP, 24),
            }
            world.run(SECOND);
            assert!(world.nodes[0].has(OWN), "{promotes} {end}");
            assert_eq!(world.nodes[0].has(VIP), end == "hand removal", "{promotes} {end}");
            no_complaints(&world);
        }
    }
}

#[test]
fn an_own_address_that_comes_at_the_moment_the_vip_goes_stays() {
    let mut a = instance("a", 51, 100);
    a.interface = Some("e1".to_owned());
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![a]));
    world.nodes[0].host.set_promotes_secondaries(false);
    remove_by_hand(&mut world, OWN, 24);
    world.start(0);
    world.until("Master", |w| w.nodes[0].has(VIP));
    world.nodes[0].host.add_address("e0", prefix(OWN, 24));
    world.handle(0, Input::Stop);
    world.run(SECOND);
    assert!(world.nodes[0].has(OWN) && !world.nodes[0].has(VIP));
}

#[test]
fn a_lease_that_is_renewed_by_removing_the_address_costs_nothing_for_long() {
    let mut world = World::with(vec![settings(vec![InstanceSettings {
        interface: Some("e1".to_owned()),
        ..instance("a", 51, 100)
    }])]);
    world.nodes[0].host.set_promotes_secondaries(false);
    world.until("Master", |w| w.nodes[0].has(VIP));
    for _ in 0..5 {
        remove_by_hand(&mut world, OWN, 24);
        world.run(50 * MILLISECOND);
        world.nodes[0].host.add_address("e0", prefix(OWN, 24));
        world.run(20 * SECOND);
        assert_eq!((is_secondary(&world, OWN), is_secondary(&world, VIP)), (Some(false), Some(true)));
    }
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2);
}

#[test]
fn what_happens_between_the_reading_of_the_host_and_its_delivery_is_not_lost() {
    for is_good in [false, true] {
        let mut world = World::new(7, 1);
        world.nodes[0].settings = Arc::new(settings(vec![instance("a", 51, 150)]));
        let e0 = world.nodes[0].link("e0");
        world.nodes[0].host.set_running(e0, !is_good);
        world.reading = 20 * MILLISECOND;
        world.start(0);
        world.run(10 * SECOND);
        assert_eq!(world.state(0, "a") == Some(State::Master), !is_good);
        // It is read again because events were lost, and changes at every moment of that.
        for after in 0..40 {
            world.read(0);
            world.run(after * MILLISECOND);
            world.nodes[0].host.set_running(e0, is_good);
            world.run(5 * SECOND);
            let state = world.state(0, "a");
            assert_eq!(state == Some(State::Master), is_good, "after {after} ms: {state:?}");
            world.nodes[0].host.set_running(e0, !is_good);
            world.run(5 * SECOND);
        }
    }
}

#[test]
fn news_that_are_lost_are_made_good_by_the_next_reading() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)])]);
    world.run(10 * SECOND);
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    let _ = world.nodes[0].host.take_events();
    world.run(70 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault), "without being asked to");
    assert!(!world.nodes[0].has(VIP));
}

#[test]
fn routes_and_rules_that_a_death_left_are_removed_by_the_next_life() {
    for is_inherited in [false, true] {
        let mut world = World::with(vec![settings(vec![routed(150)])]);
        world.run(10 * SECOND);
        assert_eq!(counts(&world, 0), (1, 1));
        world.crash(0);
        world.run(2 * SECOND);
        assert_eq!(counts(&world, 0), (1, 1), "the guardian removes addresses only");
        if is_inherited {
            world.start_after(0, ["a".to_owned()].into());
        } else {
            world.start(0);
        }
        world.run(10 * MILLISECOND);
        assert_eq!(counts(&world, 0), if is_inherited { (1, 1) } else { (0, 0) });
        world.run(10 * SECOND);
        assert_eq!(counts(&world, 0), (1, 1));
        world.handle(0, Input::Stop);
        world.run(SECOND);
        invariants::nothing_is_left(&mut world, 0);
        no_complaints(&world);
    }
}

#[test]
fn a_reading_that_finds_a_fault_removes_routes_and_rules() {
    let mut world = World::with(vec![settings(vec![routed(150)])]);
    world.run(10 * SECOND);
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    world.lose_news(0);
    world.run(SECOND);
    assert_eq!((world.state(0, "a"), counts(&world, 0)), (Some(State::Fault), (0, 0)));
}

#[test]
fn a_rule_or_route_of_the_operators_own_that_is_like_a_virtual_one_stays() {
    let mut world = World::new(7, 1);
    let theirs = [
        Op::AddRule(Arc::new(Rule { protocol: 3, ..rule() })),
        Op::AddRoute(Arc::new(Route { protocol: 3, ..route([172, 16, 0, 0], [10, 0, 1, 1], "e1") })),
    ];
    assert_eq!(world.nodes[0].host.apply(&theirs), []);
    world.nodes[0].settings = Arc::new(settings(vec![routed(150)]));
    world.start(0);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(world.reported(0, "vrrp_refused").len(), 2, "and is reported");
    world.handle(0, Input::Stop);
    world.run(6 * SECOND);
    let host = &world.nodes[0].host;
    assert_eq!((host.routes().len(), host.rules().len()), (1, 1));
}

#[test]
fn a_vip_that_is_put_back_comes_with_the_routes_the_kernel_dropped_without_a_word() {
    let mut a = instance("a", 51, 150);
    a.addresses = vec![vip("e1", [10, 0, 2, 51].into(), 24)];
    a.routes = vec![virtual_(route([172, 16, 0, 0], [10, 0, 2, 1], "e1"))];
    let mut world = World::with(vec![settings(vec![a])]);
    world.run(10 * SECOND);
    let e1 = world.nodes[0].link("e1");
    // The link has no other IPv4 address.
    world.nodes[0].host.remove_address("e1", prefix([10, 0, 1, 201], 24));
    world.run(SECOND);
    assert_eq!(counts(&world, 0), (1, 0));
    world.nodes[0].host.remove_address("e1", prefix([10, 0, 2, 51], 24));
    assert_eq!(counts(&world, 0), (0, 0));
    world.run(100 * MILLISECOND);
    assert!(world.nodes[0].has([10, 0, 2, 51]));
    assert_eq!(counts(&world, 0), (1, 0));
    world.nodes[0].host.set_up(e1, false);
    world.run(SECOND);
    world.nodes[0].host.set_up(e1, true);
    world.until("the route is back", |w| counts(w, 0) == (1, 0));
}

#[test]
fn a_route_from_a_vip_comes_back_with_it() {
    let mut a = routed(150);
    a.routes =
        vec![virtual_(Route { source: Some(VIP.into()), ..route([172, 16, 0, 0], [10, 0, 1, 1], "e1") })];
    let mut world = World::with(vec![settings(vec![a])]);
    world.run(10 * SECOND);
    remove_by_hand(&mut world, VIP, 24);
    assert_eq!(counts(&world, 0).0, 0);
    world.run(100 * MILLISECOND);
    assert!(world.nodes[0].has(VIP));
    assert_eq!(counts(&world, 0), (1, 1));
}

#[test]
fn routes_and_rules_that_went_without_being_announced_are_back_within_a_minute_and_reported() {
    let mut world = World::with(vec![settings(vec![routed(150)])]);
    world.run(10 * SECOND);
    world.nodes[0].host.lose_silently(Some(&route([172, 16, 0, 0], [10, 0, 1, 1], "e1")), Some(&rule()));
    assert_eq!(counts(&world, 0), (0, 0));
    world.run(70 * SECOND);
    assert_eq!(counts(&world, 0), (1, 1));
    assert_eq!(world.reported(0, "vrrp_restored").len(), 2);
}

#[test]
fn a_refused_route_is_tried_again_as_soon_as_its_gateway_is_near() {
    let mut a = instance("a", 51, 150);
    a.routes = vec![virtual_(route([172, 16, 0, 0], [10, 0, 3, 1], "e1"))];
    let mut world = World::with(vec![settings(vec![a])]);
    world.run(200 * SECOND);
    assert_eq!(counts(&world, 0), (0, 0));
    world.nodes[0].host.add_address("e1", prefix([10, 0, 3, 201], 24));
    world.run(100 * MILLISECOND);
    assert_eq!(counts(&world, 0), (1, 0));
}

#[test]
fn a_vip_that_moves_to_another_link_or_length_is_never_gone_and_nor_are_its_routes() {
    let with = |link: &str, length| {
        let mut a = routed(150);
        a.addresses = vec![vip(link, VIP.into(), length)];
        a.routes[0] = virtual_(Route { source: Some(VIP.into()), ..Route::clone(&a.routes[0].wanted) });
        settings(vec![a])
    };
    for (link, length) in [("e0", 32), ("e1", 24)] {
        let mut world = World::with(vec![with("e0", 24)]);
        world.run(10 * SECOND);
        let news = world.nodes[0].ops.len();
        world.reload(0, with(link, length));
        world.run(SECOND);
        let ops: Vec<_> = world.nodes[0].ops[news..].iter().map(|(_, op)| op.clone()).collect();
        assert!(matches!(ops[..], [Op::AddAddress(_), Op::RemoveAddress { .. }]), "{ops:?}");
        assert_eq!(counts(&world, 0), (1, 1));
        invariants::vip_iff_master(&mut world, 0, "a");
        no_complaints(&world);
    }
}

#[test]
fn an_ipv6_vip_of_another_length_makes_room_and_comes_back() {
    let with = |length| {
        let mut a = super::site::instance6("a", 51, 150);
        a.addresses[1] = vip("e0", a.addresses[1].wanted.prefix.ip, length);
        settings(vec![a])
    };
    let mut world = World::with(vec![with(64)]);
    world.run(10 * SECOND);
    world.reload(0, with(128));
    world.run(SECOND);
    let ip = with(64).instances[0].addresses[1].wanted.prefix.ip;
    let found: Vec<_> = world.nodes[0].host.host().addresses.iter().filter(|h| h.prefix.ip == ip).collect();
    assert_eq!(found.iter().map(|h| h.prefix.length).collect::<Vec<_>>(), [128]);
}

#[test]
fn a_route_that_changes_takes_the_place_of_the_old_one() {
    let with = |gateway, source: Option<IpAddr>| {
        let mut a = routed(150);
        a.routes = vec![virtual_(Route { source, ..route([172, 16, 0, 0], gateway, "e1") })];
        settings(vec![a])
    };
    let mut world = World::with(vec![with([10, 0, 1, 1], None)]);
    world.run(10 * SECOND);
    for (gateway, source) in [([10, 0, 1, 2], None), ([10, 0, 1, 2], Some(VIP.into())), ([10, 0, 1, 3], None)]
    {
        world.reload(0, with(gateway, source));
        world.run(SECOND);
        let found: Vec<_> = world.nodes[0].host.routes().iter().map(|r| (r.hops[0].via, r.source)).collect();
        assert_eq!(found, [(Some(gateway.into()), source)]);
    }
    world.handle(0, Input::Stop);
    world.run(SECOND);
    assert_eq!(counts(&world, 0), (0, 0));
}

#[test]
fn what_is_on_a_vmac_is_lvsds_though_it_is_the_links_only_address() {
    let mut a = on_vmac(instance("a", 51, 100));
    a.addresses[0] = vip("vrrp.51", VIP.into(), 32);
    let mut world = World::with(vec![Settings::clone(&settings(vec![a]))]);
    world.run(10 * MILLISECOND);
    // As by an older keepalived, on a macvlan that it left.
    world.nodes[0].host.add_address("vrrp.51", prefix(VIP, 32));
    world.run(10 * MILLISECOND);
    assert!(!world.nodes[0].has(VIP));
}
