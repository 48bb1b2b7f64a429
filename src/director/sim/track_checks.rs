//! `vrrp_check`: checks whose verdicts go to the router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, tcp_server, told, weights};
use super::world::{Server, World};
use crate::check::spec::{CheckerSpec, Question, Timing};
use crate::config::Config;
use crate::director::Input;
use crate::director::status::{HealthStatus, Status};
use crate::vrrp::settings::{CheckSettings, GroupSettings, NotifyCommands, Settings, Track, TrackTarget};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn local() -> SocketAddr {
    "127.0.0.1:80".parse().unwrap()
}

/// A check of some addresses with an interval of a second: three failures, two passes.
fn check(name: &str, targets: &[SocketAddr]) -> CheckSettings {
    let server = tcp_server();
    let like = CheckerSpec::clone(&server.real_servers[0].checkers[0].spec);
    let timing = Timing {
        interval: SECOND,
        retry: 2,
        rise: 2,
        delay_before_retry: SECOND,
        confirm: None,
        warmup: Some(Duration::ZERO),
    };
    let spec = |target: &SocketAddr| {
        let mut spec =
            CheckerSpec { question: Question::Tcp, timing: Arc::new(timing.clone()), ..like.clone() };
        spec.target.address = *target;
        spec.target.connect_timeout = SECOND;
        Arc::new(spec)
    };
    CheckSettings {
        name: name.to_owned(),
        checkers: targets.iter().map(spec).collect(),
        begins_failed: false,
    }
}

/// A site of one virtual server, with these checks; those of `followed` are tracked.
fn tracking(checks: Vec<CheckSettings>, followed: &[&str]) -> Arc<Config> {
    let track =
        |name: &&str| Track { target: TrackTarget::Check((*name).to_owned()), weight: 0, is_reversed: false };
    let group = GroupSettings {
        is_pair: false,
        name: "G".to_owned(),
        members: Vec::new(),
        tracks: followed.iter().map(track).collect(),
        counts_weights: false,
        notify: NotifyCommands::default(),
    };
    let settings = Settings {
        groups: vec![Arc::new(group)],
        checks: checks.into_iter().map(|check| (check.name.clone(), Arc::new(check))).collect(),
        ..Settings::default()
    };
    let mut config = Config::clone(&config(tcp_server()));
    config.vrrp = Arc::new(settings);
    Arc::new(config)
}

/// What the router was told since the last call.
fn levels(world: &mut World) -> Vec<(String, bool)> {
    world.track_checks.drain(..).map(|(_, name, is_up)| (name, is_up)).collect()
}

fn started(config: &Arc<Config>) -> World {
    let mut world = World::new(7);
    world.start(config);
    world
}

fn reload(world: &mut World, config: &Arc<Config>) {
    world.tell(Input::Reload(Arc::clone(config)));
}

fn status(world: &World) -> Status {
    world.director().unwrap().status(world.now)
}

fn web(is_up: bool) -> Vec<(String, bool)> {
    vec![("web".to_owned(), is_up)]
}

#[test]
fn the_first_run_comes_at_once_and_its_result_decides() {
    for (server, is_up) in [(Server::Answers, true), (Server::Refuses, false)] {
        let mut world = World::new(7);
        world.servers.insert(local(), server);
        world.start(&tracking(vec![check("web", &[local()])], &["web"]));
        world.run(100 * MS);
        assert_eq!(levels(&mut world), web(is_up));
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn it_is_down_after_three_failures_a_second_apart_and_up_after_two_passes() {
    let mut world = started(&tracking(vec![check("web", &[local()])], &["web"]));
    world.run(10 * SECOND);
    assert_eq!(levels(&mut world), web(true));
    world.servers.insert(local(), Server::Refuses);
    world.run(1900 * MS);
    assert_eq!(levels(&mut world), [], "two failures at most");
    world.run(1200 * MS);
    assert_eq!(levels(&mut world), web(false));
    let found = status(&world).vrrp_checks.remove(0);
    assert_eq!((found.is_up, found.health), (Some(false), HealthStatus::Down));
    assert_eq!(found.reason, "TCP_CHECK of 127.0.0.1:80: connection refused");
    assert_eq!(told(&world, "vrrp_check web: failed: TCP_CHECK of 127.0.0.1:80: connection refused"), 1);
    world.servers.remove(&local());
    world.run(1100 * MS);
    assert_eq!(levels(&mut world), [], "one pass");
    world.run(1200 * MS);
    assert_eq!(levels(&mut world), web(true));
    // One that flaps within its three failures is well.
    for _ in 0..20 {
        world.servers.insert(local(), Server::Refuses);
        world.run(1500 * MS);
        world.servers.remove(&local());
        world.run(1500 * MS);
    }
    assert_eq!(levels(&mut world), []);
    assert_eq!(weights(&world), "1:1 2:1 3:1", "real servers are none of its business");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_service_that_hangs_costs_its_timeouts_too() {
    let mut world = started(&tracking(vec![check("web", &[local()])], &["web"]));
    world.run(10 * SECOND);
    levels(&mut world);
    world.servers.insert(local(), Server::Silent);
    let began = world.now;
    while levels(&mut world) != web(false) {
        world.run(50 * MS);
        assert!(world.now.since(began) < 10 * SECOND);
    }
    let took = world.now.since(began);
    assert!(took >= 3 * SECOND && took <= 7 * SECOND, "{took:?}");
}

#[test]
fn of_several_all_must_pass() {
    let other: SocketAddr = "10.9.0.1:25".parse().unwrap();
    let mut world = started(&tracking(vec![check("web", &[local(), other])], &["web"]));
    world.run(5 * SECOND);
    assert_eq!(levels(&mut world), web(true));
    world.servers.insert(other, Server::Refuses);
    world.run(4 * SECOND);
    assert_eq!(levels(&mut world), web(false));
    assert_eq!(status(&world).vrrp_checks[0].reason, "TCP_CHECK of 10.9.0.1:25: connection refused");
    world.servers.insert(local(), Server::Refuses);
    world.run(4 * SECOND);
    world.servers.remove(&other);
    world.run(10 * SECOND);
    assert_eq!(levels(&mut world), [], "now the other one is down");
    world.servers.remove(&local());
    world.run(4 * SECOND);
    assert_eq!(levels(&mut world), web(true));
}

#[test]
fn with_init_fail_it_is_down_until_it_has_passed_twice() {
    let settings = CheckSettings { begins_failed: true, ..check("web", &[local()]) };
    let mut world = started(&tracking(vec![settings], &["web"]));
    assert_eq!(levels(&mut world), web(false), "before its first run");
    world.run(100 * MS);
    assert_eq!(levels(&mut world), [], "one pass");
    world.run(1100 * MS);
    assert_eq!(levels(&mut world), web(true));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_check_that_is_not_tracked_does_not_run_and_a_reload_begins_and_ends_it() {
    let checks = || vec![check("web", &[local()]), check("other", &["10.9.0.1:80".parse().unwrap()])];
    let mut world = started(&tracking(checks(), &[]));
    let probes = |world: &World| {
        let of = |line: &&String| line.contains("probe") && line.contains("of 127.0.0.1:80");
        world.trace.iter().filter(of).count()
    };
    world.run(5 * SECOND);
    assert_eq!((probes(&world), levels(&mut world)), (0, vec![]));
    reload(&mut world, &tracking(checks(), &["web"]));
    world.run(5 * SECOND);
    assert_eq!(levels(&mut world), web(true));
    let before = probes(&world);
    assert!((5..=7).contains(&before), "{before}");
    // It is the same: it neither runs at once nor is it reported again.
    reload(&mut world, &tracking(checks(), &["web", "other"]));
    world.run(100 * MS);
    assert_eq!(levels(&mut world), [("other".to_owned(), true)]);
    reload(&mut world, &tracking(checks(), &[]));
    let ended = probes(&world);
    assert!(ended <= before + 1);
    world.run(5 * SECOND);
    assert_eq!((probes(&world), levels(&mut world)), (ended, vec![]));
    assert_eq!(status(&world).vrrp_checks, []);
    // And anew: what it was is forgotten.
    world.servers.insert(local(), Server::Refuses);
    reload(&mut world, &tracking(checks(), &["web"]));
    world.run(100 * MS);
    assert_eq!(levels(&mut world), web(false));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_changed_check_keeps_its_verdict_and_its_first_failure_is_not_the_first_ever() {
    let mut world = started(&tracking(vec![check("web", &[local()])], &["web"]));
    world.run(5 * SECOND);
    levels(&mut world);
    let mut changed = check("web", &[local()]);
    let mut spec = CheckerSpec::clone(&changed.checkers[0]);
    spec.target.connect_timeout = 2 * SECOND;
    changed.checkers = vec![Arc::new(spec)];
    world.servers.insert(local(), Server::Refuses);
    reload(&mut world, &tracking(vec![changed], &["web"]));
    world.run(1500 * MS);
    assert_eq!(levels(&mut world), []);
    world.run(2 * SECOND);
    assert_eq!(levels(&mut world), web(false));
    // Another address is another question: its first result decides.
    reload(&mut world, &tracking(vec![check("web", &["127.0.0.2:80".parse().unwrap()])], &["web"]));
    world.run(100 * MS);
    assert_eq!(levels(&mut world), web(true));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn what_a_real_server_is_asked_as_well_is_asked_once_and_stays_for_either() {
    let mut config = Config::clone(&tracking(vec![], &["web"]));
    let spec = Arc::clone(&config.virtual_servers[0].real_servers[0].checkers[0].spec);
    let shared =
        CheckSettings { name: "web".to_owned(), checkers: vec![Arc::clone(&spec)], begins_failed: false };
    let mut settings = Settings::clone(&config.vrrp);
    settings.checks = [("web".to_owned(), Arc::new(shared))].into();
    config.vrrp = Arc::new(settings);
    let both = Arc::new(config.clone());
    let mut world = started(&both);
    world.run(10 * SECOND);
    assert_eq!(levels(&mut world), web(true));
    assert_eq!(status(&world).checkers, 3);
    world.servers.insert(spec.target.address, Server::Refuses);
    world.run(60 * SECOND);
    assert_eq!((levels(&mut world), weights(&world)), (web(false), "2:1 3:1".to_owned()));
    // Without the real server it goes on, and without the check the real server's does.
    let mut alone = config.clone();
    alone.virtual_servers[0].real_servers.remove(0);
    reload(&mut world, &Arc::new(alone));
    world.run(SECOND);
    assert_eq!((status(&world).checkers, levels(&mut world)), (3, vec![]));
    world.servers.remove(&spec.target.address);
    world.run(60 * SECOND);
    assert_eq!(levels(&mut world), web(true));
    reload(&mut world, &both);
    world.run(SECOND);
    let mut without = config;
    without.vrrp = Arc::default();
    reload(&mut world, &Arc::new(without));
    world.run(60 * SECOND);
    assert_eq!((status(&world).checkers, status(&world).vrrp_checks), (3, vec![]));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn what_this_host_cannot_ask_counts_as_it_did() {
    let mut world = started(&tracking(vec![check("web", &[local()])], &["web"]));
    world.run(5 * SECOND);
    levels(&mut world);
    world.unaskable.insert(local());
    world.run(60 * SECOND);
    assert_eq!(levels(&mut world), []);
    let found = status(&world).vrrp_checks.remove(0);
    assert_eq!((found.is_up, found.unverified_seconds.is_some()), (Some(true), true));
}

#[test]
fn a_check_runs_though_the_virtual_server_that_shares_it_is_suspended() {
    let mut config = Config::clone(&tracking(vec![], &["web"]));
    config.virtual_servers[0].checks_need_vip = true;
    let spec = Arc::clone(&config.virtual_servers[0].real_servers[0].checkers[0].spec);
    let shared = CheckSettings { name: "web".to_owned(), checkers: vec![spec], begins_failed: false };
    let mut settings = Settings::clone(&config.vrrp);
    settings.checks =
        [("web".to_owned(), Arc::new(shared)), ("own".to_owned(), Arc::new(check("own", &[local()])))].into();
    settings.groups.clear();
    let like = tracking(vec![], &["web", "own"]);
    settings.groups.clone_from(&like.vrrp.groups);
    config.vrrp = Arc::new(settings);
    let mut world = started(&Arc::new(config));
    world.run(10 * SECOND);
    assert_eq!(levels(&mut world), [("own".to_owned(), true), ("web".to_owned(), true)]);
    assert_eq!(world.broken, [""; 0]);
}
