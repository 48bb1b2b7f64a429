//! FILE_CHECK: real servers whose weight, or health, is a number in a file.

use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, real, tcp_server, told, weights};
use super::world::{Server, World};
use crate::check::spec::file::FileQuestion;
use crate::check::spec::{CheckerSpec, Question, Timing};
use crate::config::{Checker, Config};
use crate::director::Input;
use crate::director::files::FileLevel;

const SECOND: Duration = Duration::from_secs(1);

/// Two real servers of weight 5, the first of which follows the file `f` once for each of these weights, beside its own
/// check.
fn following(factors: &[i32]) -> Arc<Config> {
    let mut server = tcp_server();
    server.real_servers.truncate(2);
    for real in &mut server.real_servers {
        Arc::make_mut(real).weight = 5;
    }
    let first = Arc::make_mut(&mut server.real_servers[0]);
    let CheckerSpec { target, timing, .. } = CheckerSpec::clone(&first.checkers[0].spec);
    let timing = Arc::new(Timing { interval: 60 * SECOND, retry: 0, rise: 1, ..Timing::clone(&timing) });
    first.checkers.extend(factors.iter().map(|weight| {
        let question = FileQuestion { file: "f".into(), weight: *weight, is_reversed: false };
        let spec = CheckerSpec {
            target: target.clone(),
            question: Question::File(Box::new(question)),
            timing: Arc::clone(&timing),
            log_all_failures: false,
        };
        Checker { spec: Arc::new(spec), alpha: false }
    }));
    config(server)
}

fn started(factors: &[i32]) -> World {
    let mut world = World::new(1);
    world.start(&following(factors));
    world.run(2 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5", "as configured until the file was read");
    world
}

fn says(world: &mut World, number: i64, complaint: Option<&str>) {
    world.tell(Input::File(FileLevel {
        name: "f".to_owned(),
        path: "/run/f".into(),
        number,
        complaint: complaint.map(str::to_owned),
    }));
    world.run(SECOND / 100);
}

#[test]
fn a_number_adds_to_the_weight_at_once() {
    let mut world = started(&[2]);
    says(&mut world, 3, None);
    assert_eq!(weights(&world), "1:11 2:5");
    let server = "real server 10.1.0.1:80 of virtual server 10.0.0.1:80 tcp has weight";
    assert_eq!(told(&world, &format!("{server} 11: FILE_CHECK: file f says 3: weight +6")), 1);
    says(&mut world, -2, None);
    assert_eq!(weights(&world), "1:1 2:5");
    says(&mut world, -9, None);
    assert_eq!(weights(&world), "1:0 2:5", "up, and without new connections");
    says(&mut world, i64::from(i32::MIN), None);
    assert_eq!(weights(&world), "2:5", "so much less is down");
    assert_eq!(told(&world, "is down: FILE_CHECK: file f says -2147483648"), 1);
    says(&mut world, i64::from(i32::MAX), None);
    assert_eq!(weights(&world), "1:2147483647 2:5", "no more than the kernel takes");
    says(&mut world, 0, Some("there is no such file"));
    assert_eq!(weights(&world), "1:5 2:5");
    assert_eq!(told(&world, &format!("{server} 5: as configured")), 1);
    world.run(600 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn with_weight_0_any_number_is_a_failure_and_another_check_counts_as_well() {
    let mut world = started(&[0]);
    says(&mut world, 1, None);
    assert_eq!(weights(&world), "2:5");
    assert_eq!(told(&world, "is down: FILE_CHECK: file f says 1"), 1);
    world.servers.insert(real(1), Server::Refuses);
    world.run(20 * SECOND);
    says(&mut world, 0, None);
    assert_eq!(weights(&world), "2:5", "its own check fails");
    world.servers.remove(&real(1));
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn several_checks_of_a_file_add_up() {
    let mut world = started(&[2, -1]);
    says(&mut world, 7, None);
    assert_eq!(weights(&world), "1:12 2:5");
}

#[test]
fn a_reload_counts_what_is_known_and_a_restart_keeps_the_weight_until_the_file_is_read() {
    let mut world = started(&[2]);
    says(&mut world, 3, None);
    let mut seen = Vec::new();
    let mut watch = |world: &mut World| {
        for _ in 0..40 {
            world.run(SECOND / 20);
            seen.push(weights(world));
        }
        seen.dedup();
        std::mem::take(&mut seen)
    };
    world.tell(Input::Reload(following(&[4])));
    assert_eq!(watch(&mut world), ["1:17 2:5"], "with its new weight at once");
    world.crash();
    world.start(&following(&[4]));
    assert_eq!(watch(&mut world), ["1:17 2:5"], "nothing was reported yet");
    says(&mut world, 1, None);
    assert_eq!(watch(&mut world), ["1:9 2:5"]);
    world.tell(Input::Reload(following(&[])));
    assert_eq!(watch(&mut world), ["1:5 2:5"]);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_file_that_is_never_read_is_said_and_decides_nothing() {
    let mut world = started(&[2]);
    world.run(120 * SECOND);
    assert_eq!(weights(&world), "1:5 2:5");
    assert!(told(&world, "file f cannot be read: its file system does not answer") >= 1);
    assert_eq!(world.broken, [""; 0]);
}
