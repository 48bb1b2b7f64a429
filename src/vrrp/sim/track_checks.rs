//! `track_check`: what the director says of its checks moves instances as scripts do.

use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, settings};
use super::world::World;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{InstanceSettings, Settings, Track, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);

fn web() -> TrackTarget {
    TrackTarget::Check("web".to_owned())
}

fn tracking(weight: i16, is_reversed: bool) -> Settings {
    let tracks = vec![Track { target: web(), weight, is_reversed }];
    settings(vec![InstanceSettings { tracks, ..instance("a", 51, 150) }])
}

#[test]
fn a_check_with_a_weight_moves_the_vip_and_back() {
    let mut world = World::new(7, 2);
    world.nodes[0].settings = Arc::new(tracking(-60, false));
    world.nodes[1].settings = Arc::new(settings(vec![instance("a", 51, 100)]));
    world.nodes[0].tracks.insert(web(), TrackLevel::Is(true));
    world.start(0);
    world.start(1);
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world.track(0, web(), TrackLevel::Is(false));
    world.run(6 * SECOND);
    assert_eq!((world.master("a"), world.status(0, "a").priority), (Some(1), 90));
    let track = &world.status(0, "a").tracks[0];
    assert_eq!((&*track.what, track.weight, &*track.level), ("check web", -60, "fails"));
    world.track(0, web(), TrackLevel::Is(true));
    world.run(6 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn without_a_weight_an_instance_waits_for_the_first_result_and_is_in_fault_while_it_fails() {
    let mut world = World::with(vec![tracking(0, false)]);
    world.run(20 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Init));
    assert_eq!(world.status(0, "a").waits_for.as_deref(), Some("check web"));
    world.track(0, web(), TrackLevel::Is(false));
    world.run(5 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert_eq!(world.status(0, "a").reason, "check web fails");
    world.track(0, web(), TrackLevel::Is(true));
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn reversed_it_counts_the_other_way_round() {
    let mut world = World::with(vec![tracking(-60, true)]);
    world.track(0, web(), TrackLevel::Is(false));
    world.run(20 * SECOND);
    assert_eq!(world.status(0, "a").priority, 210);
    world.track(0, web(), TrackLevel::Is(true));
    world.run(SECOND);
    assert_eq!(world.status(0, "a").priority, 150);
}
