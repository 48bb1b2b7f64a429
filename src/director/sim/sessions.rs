//! BFD_CHECK: real servers whose health is that of a BFD session.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, tcp_server, told, weights};
use super::world::World;
use crate::bfd::sessions::Level;
use crate::bfd::settings::SessionSettings;
use crate::check::spec::{CheckerSpec, Question, Timing};
use crate::config::{Checker, Config};
use crate::director::Input;

const SECOND: Duration = Duration::from_secs(1);
const NEIGHBOR: [u8; 4] = [10, 1, 0, 1];

fn settings(neighbor: IpAddr) -> SessionSettings {
    SessionSettings { min_rx: SECOND, min_tx: SECOND, ..SessionSettings::sample("web1", neighbor) }
}

/// Two real servers, the first of which is checked by a session, and once a minute at most.
fn checked(alpha: bool, neighbor: IpAddr) -> Arc<Config> {
    let mut server = tcp_server();
    server.real_servers.truncate(2);
    let first = Arc::make_mut(&mut server.real_servers[0]);
    let CheckerSpec { target, timing, .. } = CheckerSpec::clone(&first.checkers[0].spec);
    let timing = Timing { interval: 60 * SECOND, retry: 0, rise: 1, ..Timing::clone(&timing) };
    let question = Question::bfd("web1");
    let spec = CheckerSpec { target, question, timing: Arc::new(timing), log_all_failures: false };
    first.checkers = vec![Checker { spec: Arc::new(spec), alpha }];
    let mut config = Config::clone(&config(server));
    let sessions = [("web1".to_owned(), Arc::new(settings(neighbor)))].into();
    config.vrrp = Arc::new(crate::vrrp::settings::Settings { sessions, ..Default::default() });
    Arc::new(config)
}

fn started(alpha: bool) -> World {
    let mut world = World::new(1);
    world.start(&checked(alpha, NEIGHBOR.into()));
    world.run(2 * SECOND);
    world
}

fn report(world: &mut World, is_up: bool) {
    let reason = if is_up { "up" } else { "nothing was heard for 150 ms" };
    let level = Level {
        name: "web1".to_owned(),
        neighbor: NEIGHBOR.into(),
        is_up,
        silence: None,
        reason: reason.to_owned(),
    };
    world.tell(Input::Session(level));
    world.run(SECOND / 100);
}

#[test]
fn a_session_that_goes_down_takes_its_real_server_out_at_once_and_brings_it_back_at_once() {
    let mut world = started(false);
    assert_eq!(weights(&world), "1:1 2:1", "before the session reports the server counts as up");
    report(&mut world, true);
    assert_eq!(weights(&world), "1:1 2:1");
    report(&mut world, false);
    assert_eq!(weights(&world), "2:1");
    let why = "BFD_CHECK: session web1 with 10.1.0.1 is down: nothing was heard for 150 ms";
    assert_eq!(told(&world, why), 1);
    report(&mut world, true);
    assert_eq!(weights(&world), "1:1 2:1");
    world.run(600 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1");
    assert!(
        world.trace.iter().all(|line| !line.contains("probe") || !line.contains("10.1.0.1:")),
        "it starts no probe"
    );
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn with_alpha_a_real_server_waits_for_its_session() {
    let mut world = started(true);
    assert_eq!(weights(&world), "2:1");
    report(&mut world, true);
    assert_eq!(weights(&world), "1:1 2:1");
}

#[test]
fn a_reload_keeps_the_verdict_until_a_session_with_another_neighbour_reports() {
    let mut world = started(false);
    report(&mut world, true);
    report(&mut world, false);
    world.tell(Input::Reload(checked(false, [10, 1, 0, 9].into())));
    world.tell(Input::SessionGone("web1".to_owned()));
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "2:1");
    report(&mut world, true);
    assert_eq!(weights(&world), "1:1 2:1");
}

#[test]
fn a_session_that_never_reports_is_said_to_be_unknown_and_decides_nothing() {
    let mut world = started(false);
    world.run(120 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1");
    assert!(told(&world, "session web1 reports nothing") >= 1);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_report_about_a_session_that_is_not_configured_is_ignored() {
    let mut world = started(false);
    let level = Level {
        name: "other".to_owned(),
        neighbor: NEIGHBOR.into(),
        is_up: false,
        silence: None,
        reason: String::new(),
    };
    world.tell(Input::Session(level));
    world.run(2 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1");
}
