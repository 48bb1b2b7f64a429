//! Scenarios of others on the wire: mistakes in configurations, forged packets, floods.

use std::sync::Arc;
use std::time::Duration;

use super::protocol::{advertisement, stranger};
use super::site::{instance, settings, unicast, vip};
use super::world::World;
use crate::vrrp::io::{Datagram, Input, State};
use crate::vrrp::settings::{Authentication, Checksum, InstanceSettings, Version};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// Two hosts that cannot agree: what host 0 says of host 1.
fn reported(a: InstanceSettings, b: InstanceSettings) -> Vec<String> {
    let mut world = World::with(vec![settings(vec![a]), settings(vec![b])]);
    world.run(20 * SECOND);
    assert_eq!(world.broken, [""; 0]);
    world.reported(0, "vrrp_conflict")
}

fn v2(priority: u8) -> InstanceSettings {
    InstanceSettings { version: Version::V2, ..instance("a", 51, priority) }
}

#[test]
fn two_masters_that_do_not_hear_each_other_are_reported_what_to_change() {
    let also = "instance a: 10.0.0.202 also says it is master of VRID 51: ";
    let uni = |priority| InstanceSettings { transport: unicast(&[1, 2]), ..instance("a", 51, priority) };
    let password = |word| InstanceSettings { authentication: Authentication::Password(word), ..v2(100) };
    let header = InstanceSettings { authentication: Authentication::Header(*b"s3cret\0\0"), ..v2(100) };
    let slow = InstanceSettings { advert_interval: 2 * SECOND, ..v2(100) };
    let cases = [
        (
            uni(150),
            instance("a", 51, 100),
            "it uses multicast, we use unicast: give both unicast_peer, or none",
        ),
        (
            instance("a", 51, 150),
            uni(100),
            "it uses unicast, we use multicast: give both unicast_peer, or none",
        ),
        (v2(150), instance("a", 51, 100), "it speaks version 3, we speak 2: give both the same vrrp_version"),
        (
            v2(150),
            password(*b"s3cret\0\0"),
            "it authenticates with PASS, we with nothing: give both the same auth_type",
        ),
        (
            password(*b"another\0"),
            password(*b"s3cret\0\0"),
            "its auth_pass is another one: give both the same",
        ),
        (v2(150), header, "it authenticates with AH, we with nothing: give both the same auth_type"),
        (
            v2(150),
            slow,
            "it advertises every 2 s, we every 1 s, and version 2 wants them equal: give both the same advert_int",
        ),
    ];
    for (a, b, what) in cases {
        // The first Master reports it; the other one may have advertised before.
        let reported = reported(a, b);
        assert!(reported.len() == 1 || reported.len() == 2, "{what}: {reported:?}");
        let said = reported.iter().any(|t| *t == format!("{also}{what}") || t.ends_with(what));
        assert!(said, "{what}: {reported:?}");
    }
}

#[test]
fn unicast_receives_multicast_but_never_acts_on_it() {
    let uni = InstanceSettings { transport: unicast(&[1, 2]), ..instance("a", 51, 100) };
    let mut world = World::with(vec![settings(vec![uni]), settings(vec![instance("a", 51, 200)])]);
    world.run(20 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master), "split, and both say so");
    let status = world.status(0, "a");
    assert!(status.has_conflict);
    let peer = &status.peers[0];
    assert_eq!((peer.source.to_string().as_str(), peer.is_multicast), ("10.0.0.202", true));
    assert_eq!((peer.accepted, peer.priority, peer.version), (0, Some(200), Some(3)));
    assert!(peer.refused > 10 && peer.last_refusal.is_some());
}

#[test]
fn when_the_other_one_stops_the_end_is_reported_and_the_addresses_are_announced_again() {
    let uni = InstanceSettings { transport: unicast(&[1, 2]), ..instance("a", 51, 100) };
    let mut world = World::with(vec![settings(vec![uni]), settings(vec![instance("a", 51, 200)])]);
    world.run(20 * SECOND);
    world.nodes[1].has_guardian = false;
    world.crash(1);
    let announced = world.nodes[0].announced.len();
    world.run(10 * SECOND);
    assert_eq!(
        world.reported(0, "vrrp_conflict_ended"),
        ["instance a: the conflict with 10.0.0.202 is over"]
    );
    assert_eq!(world.nodes[0].announced.len(), announced + 5);
    assert!(!world.status(0, "a").has_conflict);
}

#[test]
fn another_list_of_addresses_is_reported_and_does_not_split_the_election() {
    let mut other = instance("a", 51, 100);
    other.addresses.push(vip("e0", [10, 0, 0, 77].into(), 24));
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)]), settings(vec![other])]);
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    assert_eq!(
        world.reported(1, "vrrp_conflict"),
        [
            "instance a: 10.0.0.201 and this host differ on VRID 51: it names 1 addresses, we 2; only ours: 10.0.0.77; \
          only its: none: give both the same virtual_ipaddress"
        ]
    );
}

#[test]
fn the_other_form_of_checksum_is_understood_and_reported() {
    let other = InstanceSettings { checksum: Checksum::MessageOnly, ..instance("a", 51, 100) };
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)]), settings(vec![other])]);
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    let reported = world.reported(1, "vrrp_conflict");
    assert!(reported.len() == 1 && reported[0].contains("v3_checksum_as_v2"), "{reported:?}");
}

#[test]
fn own_packets_that_come_back_change_nothing_and_are_reported_once() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(10 * SECOND);
    let before = world.status(0, "a");
    for _ in 0..200 {
        let own = advertisement(&world, [10, 0, 0, 201], |advert| advert.priority = 255);
        world.handle(0, Input::Received(own));
        world.run(SECOND);
    }
    let after = world.status(0, "a");
    assert_eq!((after.state, after.counters.looped), (State::Master, 200));
    assert_eq!(after.counters.lower_priority_received, before.counters.lower_priority_received);
    assert_eq!(world.reported(0, "vrrp_dropped").len(), 1);
}

/// Every way to spoil a good packet: name of the counter, and how.
fn spoilt(good: &Datagram) -> Vec<(&'static str, Datagram)> {
    let with = |change: &dyn Fn(&mut Datagram)| {
        let mut datagram = good.clone();
        change(&mut datagram);
        datagram
    };
    let mut all = vec![
        ("hop_limit", with(&|d| (d.hop_limit, d.bytes[8]) = (254, 254))),
        ("version", with(&|d| d.bytes[20] = 0x41)),
        ("type", with(&|d| d.bytes[20] = 0x32)),
        ("checksum", with(&|d| d.bytes[26] ^= 1)),
        ("checksum", with(&|d| d.bytes[26..28].fill(0))),
        ("length", with(&|d| d.bytes[23] = 255)),
        ("length", with(&|d| d.bytes[23] = 0)),
    ];
    for length in 0..good.bytes.len() {
        all.push(("length", with(&|d| d.bytes.truncate(length))));
    }
    for extra in (1..28).chain([9000]) {
        let grown = with(&|d| {
            d.bytes.resize(good.bytes.len() + extra, 0);
            let total = u16::try_from(d.bytes.len()).unwrap();
            d.bytes[2..4].copy_from_slice(&total.to_be_bytes());
        });
        all.push(("length", grown));
    }
    all
}

#[test]
fn hostile_packets_change_no_state_and_no_timer_and_are_counted() {
    for wait in [SECOND, 10 * SECOND + SECOND / 2] {
        let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
        world.run(wait);
        let good = advertisement(&world, [10, 0, 0, 9], |advert| advert.priority = 200);
        let before = world.status(0, "a");
        let events = world.nodes[0].events.len();
        for (kind, datagram) in spoilt(&good) {
            let dropped = dropped(&world, kind);
            world.handle(0, Input::Received(datagram.clone()));
            assert_eq!(dropped + 1, self::dropped(&world, kind), "{kind}: {datagram:?}");
        }
        let after = world.status(0, "a");
        assert_eq!((before.state, before.timer_microseconds), (after.state, after.timer_microseconds));
        assert_eq!(before.counters.accepted, after.counters.accepted);
        let kinds = ["hop_limit", "version", "type", "checksum", "length"];
        let said = world.nodes[0].events.len() - events;
        assert!(said <= kinds.len(), "{said} lines for {} kinds", kinds.len());
    }
}

/// Dropped packets of a kind: those of the instance, and those of no instance.
fn dropped(world: &World, kind: &str) -> u64 {
    let own = world.status(0, "a").counters.dropped.get(kind).copied().unwrap_or(0);
    own + world.whole_status(0).unknown_vrid.get(kind).copied().unwrap_or(0)
}

#[test]
fn other_vrids_other_links_and_vrid_zero_belong_to_no_instance() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    let before = world.status(0, "a");
    for vrid in [0, 1, 50, 52, 255] {
        let mut foreign = advertisement(&world, [10, 0, 0, 9], |a| (a.vrid, a.priority) = (vrid.max(1), 200));
        if vrid == 0 {
            let sum = u16::from_be_bytes([foreign.bytes[26], foreign.bytes[27]]) + 1;
            foreign.bytes[21] = 0;
            foreign.bytes[26..28].copy_from_slice(&sum.to_be_bytes());
        }
        world.handle(0, Input::Received(foreign));
    }
    let elsewhere = Datagram {
        link: world.nodes[0].link("e1"),
        ..advertisement(&world, [10, 0, 0, 9], |advert| advert.priority = 200)
    };
    world.handle(0, Input::Received(elsewhere));
    let after = world.status(0, "a");
    assert_eq!((after.timer_microseconds, after.counters), (before.timer_microseconds, before.counters));
    let strangers = world.whole_status(0).unknown_vrid;
    assert_eq!((strangers.get("unknown_vrid"), strangers.get("vrid")), (Some(&5), Some(&1)));
    let reported = world.reported(0, "vrrp_dropped");
    assert!(reported.len() == 1 && reported[0].contains("VRID is 0"), "{reported:?}");
}

#[test]
fn a_flood_of_foreign_vrids_delays_no_advertisement_and_takes_no_memory() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(10 * SECOND);
    let foreign = advertisement(&world, [10, 0, 0, 9], |advert| advert.vrid = 99);
    let before = world.sent(0, 51).len();
    // Virtual time moves with every packet, as a loop that reads a flood does.
    for _ in 0..100_000 {
        world.handle(0, Input::Received(foreign.clone()));
        world.now = world.now + Duration::from_micros(20);
    }
    world.run(MILLISECOND);
    let sent = &world.sent(0, 51)[before..];
    assert_eq!(sent.len(), 2);
    assert!(sent.windows(2).all(|w| w[1].0.since(w[0].0).abs_diff(SECOND) < SECOND / 100), "{sent:?}");
    assert_eq!(world.nodes[0].events.len(), world.reported(0, "vrrp_transition").len(), "nothing was said");
}

#[test]
fn unknown_vrids_are_reported_where_that_is_configured() {
    let mut asking = settings(vec![instance("a", 51, 100)]);
    asking.logs_unknown_vrids = true;
    let mut world = World::with(vec![asking]);
    for _ in 0..10 {
        let foreign = advertisement(&world, [10, 0, 0, 9], |advert| advert.vrid = 99);
        world.handle(0, Input::Received(foreign));
    }
    assert_eq!(
        world.reported(0, "vrrp_dropped"),
        ["VRRP: a packet of 10.0.0.9 was dropped: VRID 99 is not configured there"]
    );
}

#[test]
fn a_forged_crowd_of_masters_is_not_reported_one_by_one() {
    let mut world = World::with(vec![settings(vec![v2(100)])]);
    for n in 0..2000u16 {
        let [high, low] = n.to_be_bytes();
        stranger(&mut world, [10, 9, high, low], |advert| advert.version = Version::V3);
        world.run(MILLISECOND);
    }
    assert!(world.status(0, "a").peers.len() <= 32);
    assert!(world.reported(0, "vrrp_conflict").len() <= 8);
}

#[test]
fn settings_shared_by_two_sources_on_one_link_open_one_socket() {
    let with = |name, vrid, last| InstanceSettings {
        source: Some([10, 0, 0, last].into()),
        ..instance(name, vrid, 100)
    };
    let all = settings(vec![with("a", 51, 201), with("b", 52, 230)]);
    let world = World::with(vec![all]);
    let sockets = Arc::clone(&world.nodes[0].listening);
    assert_eq!(sockets.iter().filter(|s| s.group.is_some()).count(), 1, "{sockets:?}");
}

#[test]
fn a_master_that_does_not_yield_to_a_better_master_is_reported_after_a_while() {
    // Host 0 is not heard by host 1: a cable or a switch that works one way only.
    let mut world =
        World::with(vec![settings(vec![instance("a", 51, 150)]), settings(vec![instance("a", 51, 100)])]);
    world.deaf.insert((0, 1));
    world.run(20 * SECOND);
    assert_eq!(
        world.reported(0, "vrrp_conflict"),
        [
            "instance a: 10.0.0.202 and this host differ on VRID 51: it stays Master with priority 100 though ours is 150: \
          it does not receive our packets, or does not accept them: look at its log"
        ]
    );
    world.deaf.clear();
    world.run(20 * SECOND);
    assert_eq!(world.reported(0, "vrrp_conflict_ended").len(), 1);
    assert_eq!(world.master("a"), Some(0));
}
