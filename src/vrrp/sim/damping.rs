//! Damping: what flaps must be well for ever longer before it counts.

use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, script, settings};
use super::world::World;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{Damping, InstanceSettings, Settings, Track, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);

fn chk() -> TrackTarget {
    TrackTarget::Script("chk".to_owned())
}

fn damped(priority: u8, tracks: Vec<Track>, target: TrackTarget) -> Settings {
    let mut all = settings(vec![InstanceSettings { tracks, ..instance("a", 51, priority) }]);
    all.damping = [(target, Damping { half_life: 60 * SECOND, limit: 3 })].into();
    all
}

/// The better node follows a script by weight -100; both are up.
fn pair() -> World {
    let mut world = World::new(7, 2);
    world.nodes[0].settings = Arc::new(damped(150, vec![script("chk", -100)], chk()));
    world.nodes[1].settings = Arc::new(settings(vec![instance("a", 51, 100)]));
    world.nodes[0].tracks.insert(chk(), TrackLevel::Is(true));
    world.start(0);
    world.start(1);
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

fn fail_for_a_moment(world: &mut World) {
    world.track(0, chk(), TrackLevel::Is(false));
    world.run(SECOND);
    world.track(0, chk(), TrackLevel::Is(true));
    world.run(SECOND);
}

/// How long it is well before its weight counts no more.
fn time_until_it_counts(world: &mut World) -> Duration {
    let since = world.now;
    while world.status(0, "a").priority != 150 {
        world.run(SECOND);
        assert!(world.now.since(since) < 600 * SECOND, "it never counts again");
    }
    world.now.since(since)
}

#[test]
fn what_fails_now_and_then_counts_at_once() {
    let mut world = pair();
    for _ in 0..10 {
        fail_for_a_moment(&mut world);
        assert_eq!(world.status(0, "a").priority, 150);
        world.run(90 * SECOND);
    }
    assert_eq!(world.reported(0, "vrrp_damped"), [""; 0]);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn what_flaps_must_be_well_for_ever_longer_within_a_bound() {
    let mut world = pair();
    for _ in 0..3 {
        fail_for_a_moment(&mut world);
        assert_eq!(world.status(0, "a").priority, 150, "the limit is put up with");
    }
    fail_for_a_moment(&mut world);
    let status = world.status(0, "a");
    assert_eq!(status.priority, 50);
    assert_eq!(status.tracks[0].level, "succeeds, counts as failed for 80 s more (damping)");
    let reported = world.reported(0, "vrrp_damped");
    assert_eq!(
        reported,
        ["script chk is well, and failed too often lately: it counts as failed for 81 s more"]
    );
    let first = time_until_it_counts(&mut world);
    assert!(first > 70 * SECOND && first < 90 * SECOND, "{first:?}");
    let mut before = first;
    for flaps in [6, 12] {
        for _ in 0..flaps {
            fail_for_a_moment(&mut world);
        }
        let then = time_until_it_counts(&mut world);
        assert!(then > before, "{then:?} after {flaps} more failures, {before:?} before");
        before = then;
    }
    for _ in 0..500 {
        fail_for_a_moment(&mut world);
    }
    let longest = time_until_it_counts(&mut world);
    assert!(longest <= 4 * 60 * SECOND, "{longest:?}");
    assert_eq!(world.master("a"), Some(1), "until the better one has taken over");
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_failure_counts_at_once_and_a_fault_stays_while_it_is_damped() {
    let mut world = World::with(vec![damped(150, vec![script("chk", 0)], chk())]);
    world.track(0, chk(), TrackLevel::Is(true));
    world.run(20 * SECOND);
    for _ in 0..4 {
        fail_for_a_moment(&mut world);
    }
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert_eq!(world.status(0, "a").reason, "script chk failed too often (damping)");
    world.run(300 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_link_that_flaps_is_damped_too() {
    let link = TrackTarget::Interface("e1".to_owned());
    let track = Track { target: link.clone(), weight: -100, is_reversed: false };
    let mut world = World::with(vec![damped(150, vec![track], link)]);
    world.run(20 * SECOND);
    for _ in 0..4 {
        let e1 = world.nodes[0].link("e1");
        world.nodes[0].host.set_running(e1, false);
        world.run(SECOND);
        world.nodes[0].host.set_running(e1, true);
        world.run(SECOND);
    }
    assert_eq!(world.status(0, "a").priority, 50);
    world.run(100 * SECOND);
    assert_eq!(world.status(0, "a").priority, 150);
}

#[test]
fn a_hand_over_and_a_reload_forget_no_failures() {
    let mut world = pair();
    for _ in 0..4 {
        fail_for_a_moment(&mut world);
    }
    world.hand_over(0);
    world.run(SECOND);
    world.start(0);
    world.run(10 * SECOND);
    assert_eq!(world.status(0, "a").priority, 50);
    let mut other = Settings::clone(&world.nodes[0].settings);
    other.startup_delay = SECOND;
    world.reload(0, other);
    world.run(10 * SECOND);
    assert_eq!(world.status(0, "a").priority, 50);
    world.run(100 * SECOND);
    assert_eq!(world.status(0, "a").priority, 150);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn without_damping_in_the_file_nothing_is_kept_back_any_more() {
    let mut world = pair();
    for _ in 0..4 {
        fail_for_a_moment(&mut world);
    }
    assert_eq!(world.status(0, "a").priority, 50);
    let mut other = Settings::clone(&world.nodes[0].settings);
    other.damping.clear();
    world.reload(0, other);
    world.run(SECOND);
    assert_eq!(world.status(0, "a").priority, 150);
}

#[test]
fn what_failed_for_longer_than_it_is_kept_back_counts_as_soon_as_it_is_well() {
    let mut world = pair();
    for _ in 0..3 {
        fail_for_a_moment(&mut world);
    }
    world.track(0, chk(), TrackLevel::Is(false));
    world.run(600 * SECOND);
    world.track(0, chk(), TrackLevel::Is(true));
    world.run(SECOND);
    assert_eq!(world.status(0, "a").priority, 150);
    assert_eq!(world.reported(0, "vrrp_damped"), [""; 0]);
    assert_eq!(world.broken, [""; 0]);
}
