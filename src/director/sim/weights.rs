//! Weights that a check asks for (MISC_CHECK with `misc_dynamic`).

use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, real, tcp_server, told, weights};
use super::world::{Server, World};
use crate::check::spec::misc::MiscQuestion;
use crate::check::spec::{CheckerSpec, Question};
use crate::config::{Checker, VirtualServer, VirtualServerId};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::io::Input;
use crate::ipvs::types::Family;
use crate::script::Command;

const SECOND: Duration = Duration::from_secs(1);

/// Two real servers of weight 5, the first of which has so many checks that ask for its weight.
fn server(checks: u8) -> VirtualServer {
    let mut server = tcp_server();
    server.real_servers.truncate(2);
    for real in &mut server.real_servers {
        Arc::make_mut(real).weight = 5;
    }
    let first = Arc::make_mut(&mut server.real_servers[0]);
    let CheckerSpec { target, timing, .. } = CheckerSpec::clone(&first.checkers[0].spec);
    let checker = |n: u8| {
        let command = Command { words: vec![format!("/check/{n}")], user: None, group: None };
        let question = MiscQuestion { command, limit: SECOND, is_dynamic: true, is_secure: false };
        let spec = CheckerSpec {
            target: target.clone(),
            question: Question::Misc(Box::new(question)),
            timing: Arc::clone(&timing),
            log_all_failures: false,
        };
        Checker { spec: Arc::new(spec), alpha: false }
    };
    first.checkers = (0..checks).map(checker).collect();
    server
}

fn started(checks: u8) -> World {
    let mut world = World::new(1);
    world.start(&config(server(checks)));
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5", "as configured while no check asks for a weight");
    world
}

#[test]
fn a_check_that_passes_sets_the_weight_and_one_that_fails_takes_the_server_out() {
    let mut world = started(1);
    world.weights.insert(real(1), 20);
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:20 2:5");
    assert_eq!(told(&world, "10.1.0.1:80 of virtual server 10.0.0.1:80 tcp has weight 20: MISC_CHECK"), 1);
    world.servers.insert(real(1), Server::Refuses);
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "2:5");
    world.servers.remove(&real(1));
    world.weights.insert(real(1), 0);
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:0 2:5", "up, and without new connections");
    world.weights.remove(&real(1));
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5");
    assert_eq!(told(&world, "has weight 5: as configured"), 1);
}

#[test]
fn a_weight_is_reported_by_the_port_that_was_written() {
    let mut server = server(1);
    server.id = VirtualServerId::Fwmark { family: Family::Inet, mark: 7 };
    Arc::make_mut(&mut server.real_servers[0]).address.set_port(0);
    let mut world = World::new(1);
    world.weights.insert(real(1), 20);
    world.start(&config(server));
    world.run(5 * SECOND);
    assert_eq!(told(&world, "10.1.0.1:80 of virtual server fwmark 7 has weight 20"), 1);
}

#[test]
fn several_checks_add_up_what_each_changes() {
    let mut world = started(2);
    world.weights.insert(real(1), 8);
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:11 2:5", "5, and twice 3 more");
    world.weights.insert(real(1), 1);
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:0 2:5", "no less than 0");
}

#[test]
fn a_restart_and_a_reload_keep_the_weight_and_an_order_goes_before_it() {
    let mut world = started(1);
    world.weights.insert(real(1), 20);
    world.run(5 * SECOND);
    let reports = told(&world, "has weight");
    let mut other = server(1);
    other.quorum = 2;
    world.tell(Input::Reload(config(other)));
    world.run(SECOND);
    assert_eq!(weights(&world), "1:20 2:5");
    world.crash();
    world.start(&config(server(1)));
    let (until, mut seen) = (world.now + 5 * SECOND, Vec::new());
    while world.now < until {
        world.run(SECOND / 20);
        seen.push(weights(&world));
    }
    assert!(seen.iter().all(|weights| weights == "1:20 2:5"), "{seen:?}");
    assert_eq!(told(&world, "has weight"), reports, "nothing has changed");
    let selector = Selector { address: real(1).ip(), port: None, virtual_server: None };
    world.tell(Input::Override { selector, change: OverrideChange::Weight(Some(7)) });
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:7 2:5");
}
