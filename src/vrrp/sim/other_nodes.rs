//! One file for all nodes: peers that are the host itself, and instances of other nodes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::site::{group, instance, settings, unicast};
use super::world::World;
use crate::net::types::Prefix;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{InstanceSettings, Settings, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);

fn own(node: u8) -> IpAddr {
    [10, 0, 0, 200 + node].into()
}

fn at(node: u8) -> Prefix {
    Prefix { ip: own(node), length: 24 }
}

/// An instance for each of three nodes, a the best; all have the same number and the same VIP.
fn instance_for_each() -> Settings {
    let of = |name: &str, node: u8, others: &[u8], priority| InstanceSettings {
        source: Some(own(node)),
        transport: unicast(others),
        ..instance(name, 51, priority)
    };
    settings(vec![of("a", 1, &[2, 3], 150), of("b", 2, &[1, 3], 100), of("c", 3, &[1, 2], 50)])
}

fn run_here(world: &World, node: usize) -> Vec<(String, State)> {
    world.whole_status(node).instances.into_iter().map(|i| (i.name, i.state)).collect()
}

fn is(name: &str, state: State) -> Vec<(String, State)> {
    vec![(name.to_owned(), state)]
}

fn faults(world: &World, node: usize) -> Vec<String> {
    let all = world.reported(node, "vrrp_transition");
    all.into_iter().filter(|text| text.contains("Fault")).collect()
}

#[test]
fn each_node_runs_its_own_instance_of_a_file_for_all() {
    let mut world = World::with(vec![instance_for_each(), instance_for_each(), instance_for_each()]);
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 0), is("a", State::Master));
    assert_eq!(run_here(&world, 1), is("b", State::Backup));
    assert_eq!(run_here(&world, 2), is("c", State::Backup));
    assert_eq!(
        world.whole_status(1).other_nodes.into_iter().collect::<Vec<_>>(),
        [("a".to_owned(), own(1)), ("c".to_owned(), own(3))]
    );
    assert_eq!(
        world.reported(1, "vrrp_other_node"),
        [
            "instance a: it is for the node with 10.0.0.201: not run here",
            "instance c: it is for the node with 10.0.0.203: not run here"
        ]
    );
    world.crash(0);
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("b", State::Master));
    assert_eq!([0, 1, 2].map(|node| faults(&world, node)), [[""; 0]; 3]);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn an_address_that_dhcp_brings_late_and_takes_away_for_a_moment_runs_no_other_nodes_instance() {
    let mut world = World::with(vec![instance_for_each()]);
    world.run(20 * SECOND);
    world.nodes.push(super::world::Node::new(2));
    world.nodes[1].settings = Arc::new(instance_for_each());
    world.nodes[1].host.remove_address("e0", at(2));
    world.start(1);
    world.run(3 * SECOND);
    world.nodes[1].host.add_address("e0", at(2));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("b", State::Backup));
    assert_eq!(faults(&world, 1), [""; 0], "the address came within the time that a DHCP client takes");
    world.nodes[1].host.remove_address("e0", at(2));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("b", State::Fault), "a and c are still other nodes'");
    world.nodes[1].host.add_address("e0", at(2));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("b", State::Backup));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_host_that_gets_the_address_of_a_node_that_died_runs_its_instance() {
    let mut world = World::with(vec![instance_for_each(), instance_for_each()]);
    world.run(20 * SECOND);
    world.crash(0);
    world.run(20 * SECOND);
    world.nodes[1].host.remove_address("e0", at(2));
    world.nodes[1].host.add_address("e0", at(1));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("a", State::Master));
}

#[test]
fn sync_groups_consist_of_what_runs_here() {
    let of = |node: u8, other: u8, priority| {
        let one = |name: String, vrid| InstanceSettings {
            source: Some(own(node)),
            transport: unicast(&[other]),
            ..instance(&name, vrid, priority)
        };
        [one(format!("a{node}"), 51), one(format!("b{node}"), 52)]
    };
    let mut all = settings([of(1, 2, 150), of(2, 1, 100)].concat());
    all.groups = vec![Arc::new(group("g", &["a1", "b1", "a2", "b2"]))];
    let mut world = World::with(vec![all.clone(), all]);
    world.run(20 * SECOND);
    let states = |world: &World, node: usize| world.whole_status(node).groups[0].state;
    assert_eq!((states(&world, 0), states(&world, 1)), (State::Master, State::Backup));
    world.crash(0);
    world.run(20 * SECOND);
    assert_eq!(states(&world, 1), State::Master);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_list_of_all_nodes_serves_each_of_them() {
    let all =
        || settings(vec![InstanceSettings { transport: unicast(&[1, 2, 3]), ..instance("a", 51, 100) }]);
    let mut world = World::new(7, 3);
    for node in 0..3 {
        world.nodes[node].settings = Arc::new(all());
        // An address that would be chosen if the list did not name this node.
        world.nodes[node].host.add_address("e0", Prefix { ip: [10, 0, 0, 2].into(), length: 24 });
        world.start(node);
    }
    world.run(20 * SECOND);
    let master = world.master("a").expect("one Master");
    for node in 0..3_u8 {
        assert_eq!(world.status(node.into(), "a").source, Some(own(node + 1)));
    }
    assert_eq!(world.status(master, "a").counters.looped, 0);
    world.crash(master);
    world.run(20 * SECOND);
    assert!(world.master("a").is_some_and(|other| other != master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_list_that_names_only_this_host_is_a_fault() {
    let alone = settings(vec![InstanceSettings { transport: unicast(&[1]), ..instance("a", 51, 100) }]);
    let mut world = World::with(vec![alone]);
    world.run(20 * SECOND);
    assert_eq!(world.status(0, "a").reason, "each unicast_peer is this host");
}

#[test]
fn a_master_that_takes_over_a_dead_peers_address_stays_master() {
    let of = |node: u8, other: u8, priority| InstanceSettings {
        source: Some(own(node)),
        transport: unicast(&[other]),
        ..instance("a", 51, priority)
    };
    let mut world = World::with(vec![settings(vec![of(1, 2, 150)]), settings(vec![of(2, 1, 100)])]);
    world.run(20 * SECOND);
    world.crash(0);
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("a", State::Master));
    world.nodes[1].host.add_address("e0", at(1));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("a", State::Master));
    assert_eq!(faults(&world, 1), [""; 0]);
}

#[test]
fn the_owner_of_the_vip_knows_the_other_nodes_instance() {
    let mut a = InstanceSettings { source: Some(own(1)), transport: unicast(&[2]), ..instance("a", 51, 255) };
    let mut b = InstanceSettings { source: Some(own(2)), transport: unicast(&[1]), ..instance("b", 51, 100) };
    for both in [&mut a, &mut b] {
        both.addresses = vec![super::site::vip("e0", own(1), 24)];
    }
    let mut world = World::with(vec![settings(vec![a, b])]);
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 0), is("a", State::Master));
    assert_eq!(faults(&world, 0), [""; 0]);
}

#[test]
fn what_another_nodes_instance_tracks_is_known_when_it_comes_here() {
    let mut all = instance_for_each();
    let mut a = InstanceSettings::clone(&all.instances[0]);
    a.tracks = vec![super::site::script("chk", 0)];
    all.instances[0] = Arc::new(a);
    let mut world = World::with(vec![all.clone(), all]);
    let chk = TrackTarget::Script("chk".to_owned());
    for node in 0..2 {
        world.track(node, chk.clone(), TrackLevel::Is(true));
    }
    world.run(20 * SECOND);
    world.crash(0);
    world.track(1, chk, TrackLevel::Is(false));
    world.run(20 * SECOND);
    world.nodes[1].host.remove_address("e0", at(2));
    world.nodes[1].host.add_address("e0", at(1));
    world.run(20 * SECOND);
    assert_eq!(run_here(&world, 1), is("a", State::Fault));
}
