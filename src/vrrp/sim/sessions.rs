//! Scenarios of `track_bfd`: priorities, faults, and a takeover that does not wait for the master-down interval.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::site::{group, instance, settings};
use super::world::World;
use crate::bfd::sessions::Level;
use crate::vrrp::io::{Input, State};
use crate::vrrp::settings::{InstanceSettings, Settings, Track, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);
/// 50 ms, three packets.
const DETECTION: Duration = Duration::from_millis(150);

fn follows(weight: i16, is_reversed: bool) -> Vec<Track> {
    vec![Track { target: TrackTarget::Bfd("peer".to_owned()), weight, is_reversed }]
}

fn address(node: usize) -> IpAddr {
    [10, 0, 0, 201 + u8::try_from(node).unwrap()].into()
}

fn level(neighbor: IpAddr, is_up: bool, silence: Option<Duration>) -> Input {
    Input::Session(Level { name: "peer".to_owned(), neighbor, is_up, silence, reason: String::new() })
}

/// Two hosts with a session between them that is up; the first one has the higher priority and is Master.
fn pair(tracks: &[Track]) -> World {
    pair_of(|priority| {
        settings(vec![InstanceSettings { tracks: tracks.to_vec(), ..instance("a", 51, priority) }])
    })
}

fn pair_of(settings_of: impl Fn(u8) -> Settings) -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(settings_of(priority));
        world.start(node);
        world.handle(node, level(address(1 - node), true, None));
    }
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

/// Nothing passes between the two any more, and their links stay up.
fn cut(world: &mut World) {
    world.deaf.extend([(0, 1), (1, 0)]);
}

fn state(world: &World, node: usize, instance: &str) -> State {
    world.state(node, instance).expect("it runs")
}

fn expire(world: &mut World, node: usize) {
    world.handle(node, level(address(1 - node), false, Some(DETECTION)));
}

#[test]
fn a_backup_whose_master_cannot_be_reached_takes_over_within_another_detection_time() {
    for weight in [10, -10, 1] {
        let mut world = pair(&follows(weight, false));
        cut(&mut world);
        world.run(DETECTION);
        expire(&mut world, 1);
        assert_eq!(state(&world, 1, "a"), State::Backup, "not before its turn");
        world.run(DETECTION);
        assert_eq!(state(&world, 1, "a"), State::Master, "weight {weight}");
        let reason = "10.0.0.201 cannot be reached: BFD heard nothing for 150 ms";
        assert_eq!(world.status(1, "a").reason, reason);
    }
}

#[test]
fn the_better_of_two_backups_takes_over_first() {
    let mut world = World::new(7, 3);
    for (node, priority) in [(0, 200), (1, 150), (2, 100)] {
        let own = InstanceSettings { tracks: follows(10, false), ..instance("a", 51, priority) };
        world.nodes[node].settings = Arc::new(settings(vec![own]));
        world.start(node);
        world.handle(node, level(address(0), true, None));
    }
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world.deaf.extend([(0, 1), (1, 0), (0, 2), (2, 0)]);
    for node in [2, 1] {
        world.handle(node, level(address(0), false, Some(DETECTION)));
    }
    world.run(DETECTION);
    assert_eq!((state(&world, 1, "a"), state(&world, 2, "a")), (State::Master, State::Backup));
}

#[test]
fn a_master_that_still_advertises_stays_though_its_bfd_is_silent() {
    let mut world = pair(&follows(10, false));
    // Just before its next advertisement.
    world.run(SECOND - Duration::from_millis(30));
    expire(&mut world, 1);
    world.run(10 * SECOND);
    assert_eq!((state(&world, 0, "a"), state(&world, 1, "a")), (State::Master, State::Backup));
}

#[test]
fn a_session_that_the_neighbour_ended_itself_moves_nothing_but_priorities() {
    let mut world = pair(&follows(10, false));
    cut(&mut world);
    world.handle(1, level(address(0), false, None));
    world.run(SECOND);
    assert_eq!(state(&world, 1, "a"), State::Backup);
    assert_eq!(world.status(1, "a").priority, 100);
    world.run(3 * SECOND);
    assert_eq!(state(&world, 1, "a"), State::Master, "the master-down interval counts as ever");
}

#[test]
fn a_session_with_somebody_else_says_nothing_of_the_master() {
    let mut world = pair(&follows(10, false));
    cut(&mut world);
    world.handle(1, level([10, 0, 0, 254].into(), false, Some(DETECTION)));
    world.run(SECOND);
    assert_eq!(state(&world, 1, "a"), State::Backup);
}

#[test]
fn a_session_that_nobody_follows_moves_nothing() {
    let mut world = pair(&[]);
    cut(&mut world);
    expire(&mut world, 1);
    world.run(SECOND);
    assert_eq!(state(&world, 1, "a"), State::Backup);
}

#[test]
fn a_sync_group_takes_over_together() {
    let mut world = pair_of(|priority| {
        let group =
            crate::vrrp::settings::GroupSettings { tracks: follows(10, false), ..group("both", &["a", "b"]) };
        let instances = [instance("a", 51, priority), instance("b", 52, priority)].map(Arc::new);
        Settings { instances: instances.into(), groups: vec![Arc::new(group)], ..Settings::default() }
    });
    cut(&mut world);
    expire(&mut world, 1);
    world.run(DETECTION);
    assert_eq!((state(&world, 1, "a"), state(&world, 1, "b")), (State::Master, State::Master));
}

#[test]
fn weights_count_as_keepalived_counts_them() {
    for (weight, is_reversed, up, down) in
        [(20, false, 120, 100), (-20, false, 100, 80), (20, true, 80, 100), (-20, true, 100, 120)]
    {
        let mut world = pair(&follows(weight, is_reversed));
        assert_eq!(world.status(1, "a").priority, up, "weight {weight} reverse {is_reversed}");
        world.handle(1, level(address(0), false, None));
        assert_eq!(world.status(1, "a").priority, down, "weight {weight} reverse {is_reversed}");
    }
}

#[test]
fn without_weight_a_session_that_is_down_is_a_fault() {
    let mut world = pair(&follows(0, false));
    world.handle(1, level(address(0), false, None));
    assert_eq!(state(&world, 1, "a"), State::Fault);
    assert_eq!(world.status(1, "a").reason, "BFD session peer down");
    world.handle(1, level(address(0), true, None));
    assert_eq!(state(&world, 1, "a"), State::Backup);
}
