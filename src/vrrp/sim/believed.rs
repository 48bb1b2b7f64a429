//! Whom an instance believes: intervals that differ much, senders that are no peers, peers beyond a router.

use std::net::IpAddr;
use std::time::Duration;

use super::protocol::advertisement;
use super::site::{instance, settings, unicast};
use super::world::World;
use crate::vrrp::io::{Datagram, Input, State};
use crate::vrrp::packet::{self, Advertisement, Counters, Path};
use crate::vrrp::settings::{Authentication, Checksum, InstanceSettings, Settings, Transport};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn every(interval: Duration, priority: u8) -> Settings {
    settings(vec![InstanceSettings { advert_interval: interval, ..instance("a", 51, priority) }])
}

#[test]
fn a_master_with_a_far_longer_or_shorter_interval_is_followed() {
    let longest = Duration::from_millis(40_950);
    for (masters, own) in [(5 * SECOND, SECOND), (longest, 10 * MILLISECOND), (10 * MILLISECOND, 5 * SECOND)]
    {
        let mut world = World::with(vec![every(masters, 200), every(own, 100)]);
        world.run(240 * SECOND);
        let changes = world.reported(1, "vrrp_transition");
        // It takes over once before it receives any, and once before the interval is repeated.
        assert!(changes.len() <= 5, "{masters:?} and {own:?}: {changes:?}");
        world.run(240 * SECOND);
        assert_eq!(world.reported(1, "vrrp_transition").len(), changes.len(), "{masters:?} and {own:?}");
        assert_eq!((world.state(0, "a"), world.state(1, "a")), (Some(State::Master), Some(State::Backup)));
        assert_eq!(u128::from(world.status(1, "a").interval_milliseconds), masters.as_millis());
    }
}

#[test]
fn a_master_that_is_followed_may_change_its_interval() {
    let mut world = World::with(vec![every(5 * SECOND, 200), every(SECOND, 100)]);
    world.run(60 * SECOND);
    let changes = world.reported(1, "vrrp_transition").len();
    world.reload(0, every(14 * SECOND, 200));
    world.run(120 * SECOND);
    assert_eq!(world.reported(1, "vrrp_transition").len(), changes);
    assert_eq!(world.status(1, "a").interval_milliseconds, 14_000);
}

#[test]
fn one_forged_packet_and_its_copies_do_not_make_a_backup_blind() {
    let mut world = World::with(vec![every(SECOND, 150), every(SECOND, 100)]);
    world.run(10 * SECOND);
    let of_master = [10, 0, 0, 201];
    for source in [of_master, [10, 0, 0, 9]] {
        let forged = advertisement(&world, source, |advert| {
            (advert.priority, advert.interval) = (200, Duration::from_millis(40_950));
        });
        for _ in 0..3 {
            world.handle(1, Input::Received(forged.clone()));
        }
        assert_eq!(world.status(1, "a").interval_milliseconds, 1000);
    }
    world.nodes[0].has_guardian = false;
    world.crash(0);
    let took = world.until("Master", |w| w.state(1, "a") == Some(State::Master));
    assert!(took < 4 * SECOND, "{took:?}");
}

/// A pair by unicast that may check its peers.
fn pair(checks: bool, guards: bool) -> World {
    let of = |priority, peer| {
        let Transport::Unicast { peers, hop_limit, .. } = unicast(&[peer]) else { unreachable!() };
        let transport = Transport::Unicast { peers, hop_limit, checks_source: checks, guards_ttl: guards };
        settings(vec![InstanceSettings { transport, ..instance("a", 51, priority) }])
    };
    let mut world = World::with(vec![of(150, 2), of(100, 1)]);
    world.run(10 * SECOND);
    world
}

/// An advertisement of priority 254 to the Master.
fn forged(world: &World, source: [u8; 4], ttl: u8) -> Datagram {
    let settings = world.nodes[0].settings.instances[0].clone();
    let advert = Advertisement {
        version: settings.version,
        vrid: settings.vrid,
        priority: 254,
        interval: settings.advert_interval,
        addresses: settings.addresses.iter().map(|a| a.wanted.prefix.ip).collect(),
    };
    let (source, destination) = (IpAddr::from(source), IpAddr::from([10, 0, 0, 201]));
    let path = Path { source, destination, hop_limit: ttl };
    let none = Authentication::None;
    let mut counters = Counters::new();
    let bytes = packet::encode(&advert, &path, Checksum::PseudoHeader, &none, &mut counters, Duration::ZERO);
    Datagram { link: world.nodes[0].link("e0"), protocol: 112, source, destination, hop_limit: ttl, bytes }
}

fn attacked(world: &mut World, source: [u8; 4], ttl: u8) -> usize {
    let before = world.reported(0, "vrrp_transition").len();
    for _ in 0..10 {
        let datagram = forged(world, source, ttl);
        world.handle(0, Input::Received(datagram));
        world.run(3 * SECOND);
    }
    world.reported(0, "vrrp_transition").len() - before
}

#[test]
fn a_stranger_by_unicast_makes_no_instance_yield_where_peers_are_checked() {
    let mut world = pair(true, false);
    assert_eq!(attacked(&mut world, [172, 16, 0, 9], 60), 0);
    assert_eq!(world.status(0, "a").counters.dropped.get("stranger"), Some(&10));
    let said = world.reported(0, "vrrp_conflict");
    assert!(
        !said.is_empty() && said.iter().all(|text| text.contains("not among our unicast_peer")),
        "{said:?}"
    );
}

#[test]
fn a_stranger_that_is_listened_to_is_reported() {
    let mut world = pair(false, false);
    assert!(attacked(&mut world, [172, 16, 0, 9], 60) > 0, "keepalived's default");
    let said = world.reported(0, "vrrp_conflict");
    assert!(said.iter().any(|text| text.contains("write check_unicast_src")), "{said:?}");
}

#[test]
fn the_address_of_a_peer_on_the_own_link_cannot_be_forged_from_beyond_a_router() {
    let of_peer = [10, 0, 0, 202];
    let mut world = pair(true, true);
    assert_eq!(attacked(&mut world, of_peer, 254), 0);
    assert_eq!(world.status(0, "a").counters.dropped.get("hop_limit"), Some(&10));
    let mut world = pair(true, false);
    assert!(attacked(&mut world, of_peer, 254) > 0, "where the TTL is not checked");
}
