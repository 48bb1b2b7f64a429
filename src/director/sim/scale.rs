//! What the kernel refuses, servers that move, and many that fail at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{
    SECONDS_TO_NOTICE, config, real, real_server, spec, started, sync_daemon, tcp_server, told, weights,
};
use super::world::{Server, World};
use crate::check::outcome::{Outcome, Phase};
use crate::check::schedule::RunId;
use crate::config::{Config, Global, RealServer, VirtualServer, VirtualServerId};
use crate::director::Director;
use crate::director::event::Event;
use crate::director::io::{Effect, Input};
use crate::director::state::State;
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Protocol, SyncDaemon, SyncRole};
use crate::time::Instant;

#[test]
fn a_dead_server_that_moves_to_another_virtual_server_stays_dead() {
    let other = |reals: Vec<Arc<RealServer>>| VirtualServer {
        id: VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 2].into(), port: 80 },
        real_servers: reals,
        ..tcp_server()
    };
    let of = |servers| Arc::new(Config { virtual_servers: servers, ..Config::default() });
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Silent);
    world.start(&of(vec![tcp_server(), other(vec![real_server(7)])]));
    world.run(Duration::from_secs(20));
    let mut shorter = tcp_server();
    shorter.real_servers.remove(0);
    let ops = world.ops.len();
    world.tell(Input::Reload(of(vec![shorter, other(vec![real_server(1), real_server(7)])])));
    world.run(Duration::from_secs(20));
    assert_eq!(world.ops.len(), ops, "its checker goes on, and it says down");
}

#[test]
fn a_changed_check_of_a_healthy_server_retries_before_it_says_down() {
    let (mut world, full) = started(tcp_server());
    let mut changed = full.virtual_servers[0].clone();
    changed.real_servers.iter_mut().for_each(|r| spec(r).target.connect_timeout = Duration::from_secs(7));
    world.servers.insert(real(1), Server::Refuses);
    world.tell(Input::Reload(config(changed)));
    world.run(Duration::from_millis(1100));
    world.servers.clear();
    world.run(Duration::from_secs(20));
    assert_eq!(told(&world, "is down"), 0, "one failure, and one retry is configured");
}

#[test]
fn two_refusals_of_one_service_wait_side_by_side() {
    let (mut world, full) = started(tcp_server());
    world.kernel.set_scheduler("twos", false);
    let mut server = full.virtual_servers[0].clone();
    server.scheduler = Scheduler::new("twos").unwrap();
    world.tell(Input::Reload(config(server.clone())));
    world.run(Duration::from_secs(20));
    let other = RealServer { address: "[fd00::9]:80".parse().unwrap(), ..(*real_server(9)).clone() };
    server.real_servers.push(Arc::new(other));
    world.tell(Input::Reload(config(server.clone())));
    let ops = world.ops.len();
    world.run(Duration::from_secs(60));
    let tried = world.ops.len() - ops;
    assert!(tried < 60, "{tried} operations in a minute");
    assert_eq!(told(&world, "no scheduler twos"), 1, "once, not at every attempt");
}

#[test]
fn another_scheduler_is_taken_at_once_though_the_first_was_refused() {
    let mut world = World::new(1);
    world.kernel.set_scheduler("twos", false);
    let refused = VirtualServer { scheduler: Scheduler::new("twos").unwrap(), ..tcp_server() };
    world.start(&config(refused));
    world.run(Duration::from_secs(60));
    assert!(world.kernel.table().is_empty());
    world.tell(Input::Reload(config(tcp_server())));
    world.run(Duration::from_millis(100));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn a_sync_daemon_the_kernel_refuses_shows_in_the_status() {
    let mut world = World::new(1);
    let daemon = SyncDaemon { interface: "nosuch".to_owned(), ..sync_daemon(SyncRole::Master) };
    world.kernel.set_interface("nosuch", false);
    let global = Global { sync_daemons: vec![daemon], ..Global::default() };
    world.start(&Arc::new(Config { global, virtual_servers: vec![tcp_server()], ..Config::default() }));
    world.run(Duration::from_secs(5));
    let trouble = world.director().unwrap().status(world.now).kernel_trouble;
    assert!(
        trouble.is_some_and(|t| t.contains("sync daemon on nosuch")),
        "the log says so once, the status as long"
    );
}

#[test]
fn many_failures_at_once_are_saved_once_a_second_and_not_one_by_one() {
    let crowd = VirtualServer { real_servers: (1..=60).map(real_server).collect(), ..tcp_server() };
    let (mut world, config) = started(crowd);
    let saves = |world: &World| world.trace.iter().filter(|line| line.contains("SaveState")).count();
    let before = saves(&world);
    for n in 2..=60 {
        world.servers.insert(real(n), Server::Refuses);
    }
    world.run(SECONDS_TO_NOTICE);
    let (changes, saved) = (told(&world, "is down"), saves(&world) - before);
    assert!(changes == 59 && saved <= 6, "{saved} saves for {changes} changes");
    world.run(Duration::from_secs(1));
    world.crash();
    world.start(&config);
    world.run(Duration::from_millis(100));
    assert_eq!(weights(&world), "1:1", "a second later everything is saved");
}

#[test]
fn first_verdicts_of_ten_thousand_servers_cost_little_more_than_looking_at_each() {
    const MANY: u32 = 10_000;
    let at = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        let address = SocketAddr::from(([10, b, c, d], 80));
        let mut real = (*real_server(1)).clone();
        real.address = address;
        let mut real = Arc::new(real);
        spec(&mut real).target.address = address;
        real
    };
    let server = VirtualServer { real_servers: (1..=MANY).map(at).collect(), ..tcp_server() };
    let mut now = Instant::ZERO;
    let mut director = Director::new(config(server), State::default(), 1, now);
    let mut effects = Vec::new();
    director.handle(now, Input::Wake, &mut effects);
    let (mut verdicts, mut down) = (0, 0);
    while down < MANY {
        let begun: Vec<RunId> = effects
            .drain(..)
            .filter_map(|effect| match effect {
                Effect::StartProbe { run, .. } => Some(run),
                Effect::Event(Event::RealServer { is_up: false, .. }) => {
                    down += 1;
                    None
                }
                _ => None,
            })
            .collect();
        for run in begun {
            // Each has an instant of its own.
            now = now + Duration::from_micros(100);
            let outcome = Outcome::fail(Phase::Connect, "connection refused");
            director.handle(now, Input::ProbeDone { run, outcome }, &mut effects);
            verdicts += 1;
            let looked_at: usize = director.pools.values().map(|pool| pool.looked_at).sum();
            let each = looked_at / usize::try_from(MANY).unwrap();
            assert!(each < 500, "each server was looked at {each} times after {verdicts} verdicts");
        }
        now = now.max(director.deadline().expect("a check is due"));
        director.handle(now, Input::Wake, &mut effects);
        assert!(verdicts < 10 * MANY, "{down} are down");
    }
}

#[test]
fn a_table_of_thousands_is_adopted_service_by_service() {
    const SERVICES: u16 = 2000;
    let server = |port: u16| VirtualServer {
        id: VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port },
        real_servers: vec![real_server(1)],
        ..tcp_server()
    };
    let virtual_servers = (1..=SERVICES).map(server).collect();
    let config = Arc::new(Config { virtual_servers, ..Config::default() });
    let mut world = World::new(1);
    world.start(&config);
    world.run(Duration::from_secs(5));
    world.tell(Input::HandOver);
    world.run(Duration::from_secs(1));
    let ops = world.ops.len();
    world.start(&config);
    world.run(Duration::from_secs(5));
    assert_eq!(world.ops.len(), ops, "everything is as it should be");
    let looked_at = world.director().unwrap().reconciler.looked_at;
    assert!(looked_at < 4 * usize::from(SERVICES), "{looked_at} services were planned for {SERVICES}");
}
