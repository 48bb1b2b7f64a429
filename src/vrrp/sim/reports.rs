//! Scenarios of what an operator's scripts, FIFO and mails are given, and in which order.

use std::sync::Arc;
use std::time::Duration;

use super::site::{address, group, instance, on_vmac, settings};
use super::world::World;
use crate::net::types::{Op, Prefix};
use crate::vrrp::SETTLE_LIMIT;
use crate::vrrp::event::Event;
use crate::vrrp::exchange::{DirectorLevel, State};
use crate::vrrp::settings::{InstanceSettings, LinkDelays, Settings};

const SECOND: Duration = Duration::from_secs(1);
const OWN: Prefix = Prefix { ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 201)), length: 24 };

/// The states of an instance, or of a group, in the order of their reports.
fn reports(world: &World, node: usize, name: &str) -> Vec<State> {
    let events = world.nodes[node].events.iter();
    let of = |event: &Event| match event {
        Event::Transition { instance, to, .. } if instance == name => Some(*to),
        Event::Group { group, to, .. } if group == name => Some(*to),
        _ => None,
    };
    events.filter_map(|(_, event)| of(event)).collect()
}

fn reason(world: &World, name: &str) -> String {
    world.status(0, name).reason
}

/// A host whose e0 has no IPv4 address yet.
fn without_address(all: Settings) -> World {
    let mut world = World::new(7, 1);
    let link = world.nodes[0].link("e0");
    world.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix: OWN }]);
    world.nodes[0].settings = Arc::new(all);
    world.start(0);
    world
}

#[test]
fn a_vmac_that_is_on_its_way_is_no_fault() {
    for seed in 0..64 {
        let mut world = World::new(seed, 1);
        world.nodes[0].settings = Arc::new(settings(vec![on_vmac(instance("a", 51, 100))]));
        world.start(0);
        world.run(5 * SECOND);
        assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master], "seed {seed}");
        // By a reload, too.
        let all = vec![on_vmac(instance("a", 51, 100)), on_vmac(instance("b", 52, 100))];
        world.reload(0, settings(all));
        world.run(5 * SECOND);
        assert_eq!(reports(&world, 0, "b"), [State::Backup, State::Master], "seed {seed}");
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_static_address_that_is_on_its_way_is_no_fault() {
    let mut all = settings(vec![instance("a", 51, 100)]);
    all.static_addresses = vec![Arc::new(address("e0", OWN.ip, OWN.length))];
    let mut world = without_address(all);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn an_address_that_comes_late_is_no_fault_and_the_status_says_what_is_missing() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    world.run(4 * SECOND);
    let reason = reason(&world, "a");
    assert!(reason.starts_with("not ready yet: interface e0 has no IPv4 address of its own"), "{reason}");
    assert_eq!(world.state(0, "a"), Some(State::Init));
    world.nodes[0].host.add_address("e0", OWN);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn a_fault_at_the_start_that_lasts_is_reported_once_and_so_is_its_end() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    let took = world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
    assert_eq!(took, SETTLE_LIMIT);
    assert!(reason(&world, "a").starts_with("interface e0 has no IPv4 address of its own"));
    world.run(60 * SECOND);
    world.nodes[0].host.add_address("e0", OWN);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Fault, State::Backup, State::Master]);
    // It has begun: from now on a fault counts at once.
    let link = world.nodes[0].link("e0");
    world.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix: OWN }]);
    world.run(Duration::from_millis(10));
    assert_eq!(world.state(0, "a"), Some(State::Fault));
}

#[test]
fn a_startup_delay_holds_through_a_fault() {
    let delayed = Settings { startup_delay: 20 * SECOND, ..settings(vec![instance("a", 51, 100)]) };
    let mut world = without_address(delayed.clone());
    let took = world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
    assert_eq!(took, 20 * SECOND, "an operator who waits for his network so long wants no report before");
    let mut world = without_address(delayed);
    world.run(10 * SECOND);
    world.nodes[0].host.add_address("e0", OWN);
    let took = world.until("Backup", |w| w.state(0, "a") == Some(State::Backup));
    assert_eq!(took, 10 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup]);
}

#[test]
fn a_delay_of_the_link_holds_through_a_fault_at_the_start() {
    let mut world = World::new(7, 1);
    let mut patient = settings(vec![instance("a", 51, 100)]);
    patient.link_delays = [("e0".to_owned(), LinkDelays { down: SECOND, up: 10 * SECOND })].into();
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    world.nodes[0].settings = Arc::new(patient);
    world.start(0);
    world.run(2 * SECOND);
    world.nodes[0].host.set_running(e0, true);
    world.run(20 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn services_are_waited_for_after_a_fault_at_the_start_too() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    let not_ready = [std::net::IpAddr::from([10, 0, 0, 51])].into();
    world.direct(0, DirectorLevel { not_ready, ..DirectorLevel::default() });
    world.run(6 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    world.nodes[0].host.add_address("e0", OWN);
    world.run(6 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert_eq!(world.status(0, "a").waits_for.as_deref(), Some("the services of its addresses"));
    world.direct(0, DirectorLevel::default());
    assert_eq!(world.state(0, "a"), Some(State::Backup));
}

#[test]
fn what_is_not_ready_yet_takes_no_sync_group_along() {
    let grouped = |instances: Vec<InstanceSettings>| {
        let names: Vec<String> = instances.iter().map(|i| i.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Settings { groups: vec![Arc::new(group("G", &names))], ..settings(instances) }
    };
    let (a, b) = (instance("a", 51, 100), instance("b", 52, 100));
    let mut world = World::with(vec![grouped(vec![a.clone(), b.clone()])]);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    world.reload(0, grouped(vec![a, b, on_vmac(instance("c", 53, 100))]));
    world.run(10 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
    assert_eq!(reports(&world, 0, "c"), [State::Backup, State::Master]);
}
