//! What is known, kept and reported before and at the first checks of a start, a restart or a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::stories::{config, real, spec, tcp_server, told, weights};
use super::world::{Server, World};
use crate::config::{Config, RealServer, SorryServer, VirtualServer, VirtualServerId};
use crate::director::Input;
use crate::director::event::Event;
use crate::director::order::{Change, Selector};
use crate::ipvs::backend::Op;
use crate::ipvs::types::{Forwarding, Protocol};

const SECOND: Duration = Duration::from_secs(1);

fn alpha(mut server: VirtualServer) -> VirtualServer {
    for real in &mut server.real_servers {
        Arc::make_mut(real).checkers[0].alpha = true;
    }
    server
}

/// A virtual server that stands before `tcp_server` in the order of addresses.
fn before(real_servers: Vec<Arc<RealServer>>) -> VirtualServer {
    let id = VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 0].into(), port: 80 };
    VirtualServer { id, real_servers, ..tcp_server() }
}

fn both(added: VirtualServer, server: VirtualServer) -> Arc<Config> {
    Arc::new(Config { virtual_servers: vec![added, server], ..Config::default() })
}

fn ups(world: &World, from: usize) -> Vec<String> {
    let is_up = |event: &Event| matches!(event, Event::RealServer { is_up: true, .. });
    world.events.iter().skip(from).filter(|(_, e)| is_up(e)).map(|(_, e)| e.to_string()).collect()
}

fn additions_of(world: &World, from: usize, server: SocketAddr) -> Vec<Op> {
    let is_it = |op: &Op| matches!(op, Op::AddDestination(_, at, d) if *at == server && d.weight > 0);
    world.ops.iter().skip(from).map(|(_, op)| op.clone()).filter(is_it).collect()
}

/// Since so many events and operations no server was reported as up, and this one was not added.
fn stays_out(world: &World, (events, ops): (usize, usize), server: SocketAddr) {
    assert_eq!(ups(world, events), Vec::<String>::new());
    assert_eq!(additions_of(world, ops, server), []);
}

#[test]
fn a_dead_server_stays_down_when_a_reload_adds_a_virtual_server_before_its_own() {
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Silent);
    world.start(&config(tcp_server()));
    world.run(20 * SECOND);
    let (events, ops) = (world.events.len(), world.ops.len());
    // Another time limit makes other checkers, which both virtual servers share.
    let mut changed = tcp_server();
    for real in &mut changed.real_servers {
        spec(real).target.connect_timeout = 4 * SECOND;
    }
    world.tell(Input::Reload(both(before(changed.real_servers.clone()), changed)));
    world.run(20 * SECOND);
    stays_out(&world, (events, ops), real(1));
}

#[test]
fn a_dead_server_stays_down_when_a_restart_adds_a_virtual_server_before_its_own() {
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Silent);
    world.start(&config(tcp_server()));
    world.run(20 * SECOND);
    world.tell(Input::HandOver);
    world.run(SECOND);
    let (events, ops) = (world.events.len(), world.ops.len());
    world.start(&both(before(tcp_server().real_servers), tcp_server()));
    world.run(20 * SECOND);
    stays_out(&world, (events, ops), real(1));
}

#[test]
fn a_restart_keeps_servers_whose_weight_is_0_by_order_and_their_connections() {
    let config = config(alpha(tcp_server()));
    let mut world = World::new(1);
    world.start(&config);
    world.run(10 * SECOND);
    world.tell(Input::Order {
        selector: Selector { address: real(1).ip(), port: None, virtual_server: None },
        change: Change::Weight(Some(0)),
    });
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.tell(Input::HandOver);
    world.run(SECOND);
    let ops = world.ops.len();
    world.start(&config);
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    let removed = |op: &Op| matches!(op, Op::RemoveDestination(..) | Op::RemoveService(..));
    assert!(!world.ops.iter().skip(ops).any(|(_, op)| removed(op)), "{:?}", &world.ops[ops..]);
}

#[test]
fn a_server_dead_from_the_start_and_a_quorum_never_reached_are_reported_once() {
    let mut server = alpha(tcp_server());
    server.sorry_server = Some(SorryServer {
        address: SocketAddr::from(([10, 1, 0, 9], 80)),
        forwarding: Forwarding::Nat,
        inhibit: false,
    });
    let mut world = World::new(1);
    for n in 1..=3 {
        world.servers.insert(real(n), Server::Refuses);
    }
    world.start(&config(server));
    world.run(120 * SECOND);
    for n in 1..=3 {
        assert_eq!(told(&world, &format!("real server {} of", real(n))), 1, "server {n}");
    }
    assert_eq!(told(&world, "lost quorum"), 1);
    assert_eq!(told(&world, "sorry server 10.1.0.9:80 of virtual server 10.0.0.1:80 tcp serves"), 1);
    // And the other way round like any other.
    world.servers.insert(real(2), Server::Answers);
    world.run(60 * SECOND);
    assert_eq!(told(&world, &format!("real server {} of virtual server 10.0.0.1:80 tcp is up", real(2))), 1);
    assert_eq!(told(&world, "gained quorum"), 1);
    world.servers.insert(real(2), Server::Refuses);
    world.run(60 * SECOND);
    assert_eq!(told(&world, "lost quorum"), 2);
}

#[test]
fn one_dead_server_of_a_start_without_alpha_is_reported_once_and_quorum_not() {
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Refuses);
    world.start(&config(tcp_server()));
    world.run(120 * SECOND);
    assert_eq!(told(&world, "is down"), 1);
    assert_eq!(told(&world, "quorum"), 0);
}
