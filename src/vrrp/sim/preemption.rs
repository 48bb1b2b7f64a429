//! Scenarios of `nopreempt` and `preempt healthier`: which Master is left alone, and what the status says then.

use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, script, settings};
use super::world::World;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{InstanceSettings, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);

fn chk() -> TrackTarget {
    TrackTarget::Script("chk".to_owned())
}

/// Two hosts whose script costs 60; the first one has the higher priority and is Master.
fn pair(of: &InstanceSettings) -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        let own =
            InstanceSettings { priority, preempts: false, tracks: vec![script("chk", -60)], ..of.clone() };
        world.nodes[node].settings = Arc::new(settings(vec![own]));
        world.nodes[node].tracks = [(chk(), TrackLevel::Is(true))].into();
        world.start(node);
    }
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

fn healthier() -> InstanceSettings {
    InstanceSettings { preempts_ill: true, ..instance("a", 51, 100) }
}

fn is_well(world: &mut World, node: usize, is: bool) {
    world.track(node, chk(), TrackLevel::Is(is));
    world.run(10 * SECOND);
}

#[test]
fn a_better_backup_says_that_it_waits_because_of_nopreempt() {
    let mut world = pair(&instance("a", 51, 100));
    assert_eq!(world.status(1, "a").holds_back, None, "it is no better");
    is_well(&mut world, 0, false);
    assert_eq!(world.master("a"), Some(0), "the ill one stays");
    assert_eq!(world.status(1, "a").holds_back.as_deref(), Some("better (100 > 90), waits: nopreempt"));
    is_well(&mut world, 0, true);
    assert_eq!(world.status(1, "a").holds_back, None);
}

#[test]
fn a_master_that_fell_ill_is_replaced_by_a_healthier_backup_and_does_not_come_back_by_itself() {
    let mut world = pair(&healthier());
    is_well(&mut world, 0, false);
    assert_eq!(world.master("a"), Some(1));
    is_well(&mut world, 0, true);
    assert_eq!(world.master("a"), Some(1), "two that are well leave each other alone");
    let reason = "better (150 > 100), waits: preempt healthier, and that Master was never heard with more";
    assert_eq!(world.status(0, "a").holds_back.as_deref(), Some(reason));
    is_well(&mut world, 1, false);
    assert_eq!(world.master("a"), Some(0), "now the other one is ill");
    // Both are: the less ill one stays.
    is_well(&mut world, 0, false);
    assert_eq!(world.master("a"), Some(0));
    is_well(&mut world, 1, true);
    assert_eq!(world.master("a"), Some(1));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn hosts_that_are_well_never_replace_each_other_in_whatever_order_they_start() {
    for first in [0, 1] {
        let mut world = pair(&healthier());
        for _ in 0..3 {
            world.crash(first);
            world.run(10 * SECOND);
            world.start(first);
            world.run(10 * SECOND);
            assert_eq!(world.master("a"), Some(1 - first), "it stays where the death moved it");
        }
    }
}

#[test]
fn every_move_has_an_illness_as_its_cause() {
    let mut world = pair(&healthier());
    let changes = |world: &World| (0..2).map(|n| world.reported(n, "vrrp_transition").len()).sum::<usize>();
    let before = changes(&world);
    for n in 0..20 {
        is_well(&mut world, 0, n % 2 == 1);
    }
    assert_eq!(changes(&world), before + 2, "the flapping one is replaced once");
    assert_eq!(world.master("a"), Some(1));
}

#[test]
fn a_short_illness_is_waited_out_with_a_delay() {
    let mut world = pair(&InstanceSettings { preempt_delay: 30 * SECOND, ..healthier() });
    for _ in 0..5 {
        world.track(0, chk(), TrackLevel::Is(false));
        world.run(20 * SECOND);
        let held = world.status(1, "a").holds_back.unwrap_or_default();
        assert!(held.starts_with("better (100 > 90), waits: preempt_delay, "), "{held}");
        is_well(&mut world, 0, true);
    }
    assert_eq!(world.master("a"), Some(0));
    world.track(0, chk(), TrackLevel::Is(false));
    world.run(40 * SECOND);
    assert_eq!((world.master("a"), world.state(0, "a")), (Some(1), Some(State::Backup)));
}
