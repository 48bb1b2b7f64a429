//! Instances with addresses of both families: two virtual routers, one decision.

use std::sync::Arc;
use std::time::Duration;

use super::site::{group, instance, instance6, script, settings};
use super::world::World;
use super::world::commands::Behaviour::Succeeds;
use crate::script::Command;
use crate::vrrp::event::Event;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{AssertSettings, GroupSettings, InstanceSettings, Settings, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);

/// Both families of `web`, as the configuration makes them.
fn web(priority: u8) -> Settings {
    let pair = Some("web".to_owned());
    let tracks = vec![script("chk", -100)];
    let assert = AssertSettings {
        command: Command { words: vec!["/take".to_owned()], user: None, group: None },
        interval: 60 * SECOND,
        timeout: 10 * SECOND,
    };
    let four = InstanceSettings {
        pair: pair.clone(),
        tracks: tracks.clone(),
        assert: Some(Arc::new(assert)),
        ..instance("web", 51, priority)
    };
    let six = InstanceSettings { pair, tracks, ..instance6("web/6", 51, priority) };
    let pair = GroupSettings { is_pair: true, counts_weights: true, ..group("web", &["web", "web/6"]) };
    Settings { groups: vec![Arc::new(pair)], ..settings(vec![four, six]) }
}

fn pair() -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(web(priority));
        world.nodes[node].tracks = [(TrackTarget::Script("chk".to_owned()), TrackLevel::Is(true))].into();
        world.nodes[node].commands = [Succeeds(SECOND)].into();
        world.start(node);
    }
    world.run(10 * SECOND);
    assert!(is_master(&world, 0) && !is_master(&world, 1));
    world
}

fn is_master(world: &World, node: usize) -> bool {
    let states = ["web", "web/6"].map(|name| world.state(node, name) == Some(State::Master));
    assert_eq!(states[0], states[1], "both are where one is");
    states[0]
}

#[test]
fn both_families_move_together_for_a_weight_a_link_a_death_and_a_better_one() {
    let mut world = pair();
    world.track(0, TrackTarget::Script("chk".to_owned()), TrackLevel::Is(false));
    world.run(10 * SECOND);
    assert_eq!((world.status(0, "web").priority, world.status(0, "web/6").priority), (50, 50));
    assert!(is_master(&world, 1) && !is_master(&world, 0));
    world.track(0, TrackTarget::Script("chk".to_owned()), TrackLevel::Is(true));
    world.run(10 * SECOND);
    assert!(is_master(&world, 0) && !is_master(&world, 1));
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    world.run(10 * SECOND);
    assert!(is_master(&world, 1));
    world.nodes[0].host.set_running(e0, true);
    world.run(10 * SECOND);
    assert!(is_master(&world, 0));
    world.crash(0);
    world.run(10 * SECOND);
    assert!(is_master(&world, 1));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn one_family_that_cannot_be_takes_the_other_one_with_it() {
    let mut world = pair();
    // Its IPv6 source is gone.
    let source = world.status(0, "web/6").source.expect("it speaks");
    let all = &world.nodes[0].host.host().addresses;
    let prefix = all.iter().find(|held| held.prefix.ip == source).expect("it has it").prefix;
    world.nodes[0].host.remove_address("e0", prefix);
    world.run(20 * SECOND);
    assert!(is_master(&world, 1) && !is_master(&world, 0));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn the_command_of_both_is_one_and_told_the_addresses_of_both() {
    let mut world = pair();
    let [run] = &world.nodes[0].asserts[..] else { panic!("{:?}", world.nodes[0].asserts) };
    assert_eq!(run.variable("LVSD_NAME"), "web");
    assert_eq!(run.variable("LVSD_ADDRESSES"), "10.0.0.51 fe80::1:33 fd00::1:33");
    // Another host claims the addresses.
    world.cut(0, 1, true);
    world.run(10 * SECOND);
    world.cut(0, 1, false);
    world.run(10 * SECOND);
    assert_eq!(world.cloud, Some(0));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn an_instance_that_gets_the_other_family_by_a_reload_does_not_move() {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        let mut four = web(priority);
        four.instances.truncate(1);
        four.groups.clear();
        four.instances[0] =
            Arc::new(InstanceSettings { pair: None, ..InstanceSettings::clone(&four.instances[0]) });
        world.nodes[node].settings = Arc::new(four);
        world.nodes[node].tracks = [(TrackTarget::Script("chk".to_owned()), TrackLevel::Is(true))].into();
        world.start(node);
    }
    world.run(10 * SECOND);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.reload(node, web(priority));
        world.run(10 * SECOND);
    }
    assert!(is_master(&world, 0) && !is_master(&world, 1));
    let moves = world.nodes[0].events.iter().filter(|(_, event)| {
        matches!(event, Event::Transition { instance, from: State::Master, .. } if instance == "web")
    });
    assert_eq!(moves.count(), 0);
    assert_eq!(world.broken, [""; 0]);
}
