//! `assert`: the command runs when and as often as it has to, and never twice at once.

use std::sync::Arc;
use std::time::Duration;

use super::site::{group, instance, settings};
use super::world::World;
use super::world::commands::Behaviour::{Fails, Hangs, HangsAndIgnoresTerm, Succeeds};
use crate::script::Command;
use crate::time::Instant;
use crate::vrrp::assertion::AssertStatus;
use crate::vrrp::settings::{AssertSettings, InstanceSettings, Settings};

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(100);

pub(super) fn command(program: &str) -> AssertSettings {
    AssertSettings {
        command: Command { words: vec![program.to_owned()], user: None, group: None },
        interval: 60 * SECOND,
        timeout: 10 * SECOND,
    }
}

fn asserting(name: &str, vrid: u8, priority: u8) -> InstanceSettings {
    InstanceSettings { assert: Some(Arc::new(command("/take"))), ..instance(name, vrid, priority) }
}

fn pair() -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(settings(vec![asserting("a", 51, priority)]));
        world.start(node);
    }
    world
}

fn status(world: &World, node: usize) -> AssertStatus {
    world.status(node, "a").assert.expect("it has a command")
}

/// When its runs began, in seconds since the first.
fn begun(world: &World, node: usize) -> Vec<u64> {
    let all: Vec<Instant> = world.nodes[node].asserts.iter().map(|begun| begun.at).collect();
    all.iter().map(|at| at.since(all[0]).as_secs_f64().round() as u64).collect()
}

fn reasons(world: &World, node: usize) -> Vec<&str> {
    world.nodes[node].asserts.iter().map(|begun| begun.variable("LVSD_REASON")).collect()
}

#[test]
fn it_runs_on_becoming_master_and_then_each_interval_on_the_master_alone() {
    let mut world = pair();
    world.run(10 * SECOND);
    assert_eq!((world.master("a"), world.cloud), (Some(0), Some(0)));
    let first = &world.nodes[0].asserts[0];
    let told = ["LVSD_NAME", "LVSD_VRID", "LVSD_PRIORITY", "LVSD_ADDRESSES", "LVSD_PREFIXES", "LVSD_SOURCE"];
    assert_eq!(
        told.map(|name| first.variable(name)),
        ["a", "51", "150", "10.0.0.51", "10.0.0.51/24", "10.0.0.201"]
    );
    assert!(status(&world, 0).is_asserted && !status(&world, 1).is_asserted);
    world.run(180 * SECOND);
    assert_eq!(begun(&world, 0), [0, 60, 120, 180]);
    assert_eq!(reasons(&world, 0), ["master", "interval", "interval", "interval"]);
    assert_eq!(world.nodes[1].asserts.len(), 0);
    assert_eq!(world.reported(0, "vrrp_asserted").len(), 1, "what goes on as it should is no news");
    world.crash(0);
    world.run(5 * SECOND);
    assert_eq!((world.master("a"), world.cloud), (Some(1), Some(1)));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn it_is_repeated_until_it_succeeds_ever_later_within_a_bound() {
    let mut world = pair();
    let fails = Fails(MOMENT / 10);
    world.nodes[0].commands = [fails; 9].into_iter().chain([Succeeds(MOMENT)]).collect();
    world.run(20 * SECOND);
    let failing = status(&world, 0);
    assert!(!failing.is_asserted && failing.failures > 2, "{failing:?}");
    assert_eq!(failing.last.as_deref(), Some("exited with status 1: the API says 503"));
    assert!(failing.next_milliseconds.is_some());
    world.run(160 * SECOND);
    let at = begun(&world, 0);
    let pauses: Vec<u64> = at.windows(2).map(|pair| pair[1] - pair[0]).take(9).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    let attempts = world.nodes[0].asserts.iter().map(|begun| begun.variable("LVSD_ATTEMPT"));
    assert_eq!(attempts.collect::<Vec<_>>(), ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10"]);
    assert_eq!(
        world.reported(0, "vrrp_not_asserted"),
        [
            "instance a: assert failed: the command exited with status 1: the API says 503; it runs again in 1 s, until it \
          succeeds"
        ],
        "the same failure is said once"
    );
    assert_eq!(
        world.reported(0, "vrrp_asserted"),
        ["instance a: assert succeeded, at attempt 10, within 0.1 s"]
    );
    assert_eq!(world.cloud, Some(0));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn one_that_hangs_ends_at_its_timeout_and_runs_again() {
    let mut world = pair();
    world.nodes[0].commands = [Hangs, Hangs, Succeeds(MOMENT)].into();
    world.run(8 * SECOND);
    let hanging = status(&world, 0);
    assert!(hanging.running_milliseconds.is_some() && hanging.next_milliseconds.is_none(), "{hanging:?}");
    world.run(40 * SECOND);
    assert_eq!(begun(&world, 0), [0, 11, 23]);
    assert!(status(&world, 0).is_asserted);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn it_ends_with_the_mastership_and_waits_for_its_own_end_before_the_next() {
    for behaviour in [Hangs, HangsAndIgnoresTerm] {
        let mut world = pair();
        world.nodes[0].commands = [behaviour, Succeeds(MOMENT)].into();
        world.until("it runs", |world| !world.nodes[0].asserts.is_empty());
        // Master for a moment, Backup for a moment, Master again: the first run outlives all of that.
        let mut lower = Settings::clone(&world.nodes[0].settings);
        lower.instances = vec![Arc::new(asserting("a", 51, 50))];
        let better = Settings::clone(&world.nodes[0].settings);
        world.reload(0, lower);
        world.until("it is Backup", |world| world.master("a") == Some(1));
        world.reload(0, better);
        world.until("it is Master", |world| world.master("a") == Some(0));
        world.run(5 * SECOND);
        let [first, second] = &world.nodes[0].asserts[..] else { panic!("{:?}", world.nodes[0].asserts) };
        let (ended, is_success) = first.ended.expect("it ended");
        assert!(!is_success && second.at >= ended, "{first:?} {second:?}");
        assert_eq!(world.cloud, Some(0));
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn another_host_that_claims_the_addresses_has_it_run_at_once_and_again_when_that_is_over() {
    let mut world = pair();
    world.run(20 * SECOND);
    world.cut(0, 1, true);
    world.until("both are Master", |world| world.status(1, "a").state == crate::vrrp::io::State::Master);
    world.run(5 * SECOND);
    assert_eq!(world.cloud, Some(1), "each believes to be alone, the last command won");
    let before = world.nodes[0].asserts.len();
    world.cut(0, 1, false);
    world.run(2 * SECOND);
    assert_eq!((world.master("a"), world.cloud), (Some(0), Some(0)), "long before the interval");
    world.run(10 * SECOND);
    let after = &reasons(&world, 0)[before..];
    assert_eq!(after, ["claimed", "claimed"], "at its first word, and when it is silent");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_claim_during_a_run_has_it_run_once_more() {
    let mut world = pair();
    world.nodes[0].commands = [Succeeds(MOMENT), Succeeds(5 * SECOND)].into();
    world.run(20 * SECOND);
    world.cut(0, 1, true);
    world.run(10 * SECOND);
    let before = world.nodes[0].asserts.len();
    world.cut(0, 1, false);
    // Its interval ends while the other one still claims.
    world.run(30 * SECOND);
    let runs = &world.nodes[0].asserts[before..];
    assert!(runs.len() >= 2 && runs[1].at >= runs[0].ended.unwrap().0, "{runs:?}");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_reload_keeps_it_and_runs_another_command_at_once() {
    let mut world = pair();
    world.run(20 * SECOND);
    let with = |assert: Option<AssertSettings>, name: &str| {
        settings(vec![InstanceSettings { assert: assert.map(Arc::new), ..asserting(name, 51, 150) }])
    };
    world.reload(0, with(Some(AssertSettings { timeout: SECOND, ..command("/take") }), "a"));
    world.run(10 * SECOND);
    assert_eq!(world.nodes[0].asserts.len(), 1, "the command is the same");
    world.reload(0, with(Some(AssertSettings { timeout: SECOND, ..command("/take") }), "renamed"));
    world.run(10 * SECOND);
    assert_eq!(world.nodes[0].asserts.len(), 1, "the instance is the same");
    assert!(world.status(0, "renamed").assert.unwrap().is_asserted);
    world.nodes[0].commands = [Hangs, Succeeds(MOMENT)].into();
    world.reload(0, with(Some(command("/other")), "renamed"));
    world.run(SECOND);
    assert_eq!(reasons(&world, 0), ["master", "reload"]);
    world.reload(0, with(Some(command("/third")), "renamed"));
    world.run(SECOND);
    assert_eq!(reasons(&world, 0), ["master", "reload", "reload"], "the one that hangs is ended");
    world.nodes[0].commands = [HangsAndIgnoresTerm].into();
    world.reload(0, with(Some(command("/fourth")), "renamed"));
    world.run(SECOND);
    world.reload(0, with(None, "renamed"));
    world.run(SECOND);
    world.reload(0, with(Some(command("/fourth")), "renamed"));
    world.run(5 * SECOND);
    assert_eq!(world.nodes[0].asserts.len(), 5, "it came back while its last run was being killed");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_hand_over_runs_it_again_in_the_next_life_and_a_stop_ends_it() {
    let mut world = pair();
    world.run(20 * SECOND);
    world.hand_over(0);
    world.run(SECOND / 2);
    world.start(0);
    world.run(2 * SECOND);
    assert_eq!((world.master("a"), reasons(&world, 0)), (Some(0), vec!["master", "master"]));
    world.nodes[0].commands = [Hangs].into();
    world.run(70 * SECOND);
    assert!(status(&world, 0).running_milliseconds.is_some());
    world.handle(0, crate::vrrp::io::Input::Stop);
    world.run(SECOND);
    assert!(world.nodes[0].asserts.iter().all(|begun| begun.ended.is_some()), "{:?}", world.nodes[0].asserts);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn instances_of_a_group_have_commands_of_their_own() {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        let mut all = settings(vec![asserting("a", 51, priority), asserting("b", 52, priority)]);
        all.groups = vec![Arc::new(group("G", &["a", "b"]))];
        world.nodes[node].settings = Arc::new(all);
        world.start(node);
    }
    world.nodes[0].commands = [Hangs].into();
    world.run(8 * SECOND);
    let names: Vec<&str> = world.nodes[0].asserts.iter().map(|begun| begun.variable("LVSD_NAME")).collect();
    assert_eq!(names, ["a", "b"], "one that hangs does not keep the other one waiting");
    assert_eq!(world.broken, [""; 0]);
}
