//! What is known, kept and reported before and at the first checks of a start, a restart or a reload.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, real, real_server, spec, tcp_server, told, weights};
use super::world::{Server, World};
use crate::config::{Config, RealServer, SorryServer, VirtualServer, VirtualServerId};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::event::Event;
use crate::director::io::Input;
use crate::ipvs::backend::Op;
use crate::ipvs::types::{DestinationEntry, Family, Forwarding, Protocol};

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
    world.tell(Input::Override {
        selector: Selector { address: real(1).ip(), port: None, virtual_server: None },
        change: OverrideChange::Weight(Some(0)),
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

/// Each way in which a configuration takes the only servers out, and puts others in their place.
fn replacements() -> Vec<(&'static str, VirtualServer, VirtualServer, &'static str)> {
    let with = |reals: &[(u8, u16, u32)]| {
        let mut server = tcp_server();
        server.real_servers = reals
            .iter()
            .map(|(n, port, weight)| {
                let mut real = real_server(*n);
                let edited = Arc::make_mut(&mut real);
                edited.address.set_port(*port);
                edited.weight = *weight;
                spec(&mut real).target.address.set_port(*port);
                real
            })
            .collect();
        alpha(server)
    };
    let sorry = |mut server: VirtualServer| {
        let address = SocketAddr::from(([10, 1, 0, 9], 80));
        server.sorry_server = Some(SorryServer { address, forwarding: Forwarding::Nat, inhibit: false });
        server
    };
    let mut changed = with(&[(4, 80, 1), (5, 80, 1)]);
    changed.quorum = 2;
    vec![
        ("the server is another", with(&[(1, 80, 1)]), with(&[(4, 80, 1)]), "4:80:1"),
        ("the port is another", with(&[(1, 80, 1)]), with(&[(1, 8080, 1)]), "1:8080:1"),
        ("the whole pool is another", with(&[(1, 80, 1), (2, 80, 1)]), changed, "4:80:1 5:80:1"),
        ("the weight is 0", with(&[(1, 80, 1)]), with(&[(1, 80, 0), (4, 80, 1)]), "1:80:0 4:80:1"),
        ("beside a sorry server", sorry(with(&[(1, 80, 1)])), sorry(with(&[(4, 80, 1)])), "4:80:1"),
        ("it gets its weight", with(&[(1, 80, 1), (4, 80, 0)]), with(&[(4, 80, 1)]), "4:80:1"),
        (
            "without alpha",
            tcp_server(),
            VirtualServer { real_servers: vec![real_server(4)], ..tcp_server() },
            "4:80:1",
        ),
    ]
}

/// The only service's destinations as `last octet:port:weight`.
fn ports(world: &World) -> String {
    let entry = world.kernel.table().values().next().expect("a service");
    let one = |(at, entry): (&SocketAddr, &DestinationEntry)| {
        let at = at.to_string();
        format!("{}:{}", at.strip_prefix("10.1.0.").unwrap_or(&at), entry.destination.weight)
    };
    entry.destinations.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Whether a client would be served now.
fn serves(world: &World) -> bool {
    let answers = |at: &SocketAddr| world.servers.get(at).is_none_or(|server| *server == Server::Answers);
    let mut all = world.kernel.table().values().flat_map(|service| &service.destinations);
    all.any(|(at, entry)| entry.destination.weight > 0 && answers(at))
}

#[test]
fn what_a_configuration_takes_out_serves_until_what_replaces_it_is_up() {
    for (what, before, after, end) in replacements() {
        for is_reload in [true, false] {
            let mut world = World::new(1);
            world.start(&config(before.clone()));
            world.run(20 * SECOND);
            let sorry = told(&world, "sorry");
            let added = after.real_servers.iter().map(|real| real.address);
            for at in added.filter(|at| !before.real_servers.iter().any(|real| real.address == *at)) {
                world.servers.insert(at, Server::Silent);
            }
            if is_reload {
                world.tell(Input::Reload(config(after.clone())));
            } else {
                world.tell(Input::HandOver);
                world.run(SECOND);
                world.start(&config(after.clone()));
            }
            // Its first check is under way for three seconds; then it answers.
            for step in 0..200 {
                world.run(SECOND / 20);
                assert!(serves(&world), "{what}, {is_reload}, {step}: {}", weights(&world));
                if step == 20 {
                    assert_ne!(ports(&world), end, "{what}, {is_reload}");
                    world.servers.clear();
                }
            }
            assert_eq!(ports(&world), end, "{what}, {is_reload}");
            let is_known = is_reload && what == "it gets its weight";
            let stays = if is_known { 0 } else { before_count(&before, &after) };
            assert_eq!(told(&world, "serves until what replaces it is up"), stays, "{what}, {is_reload}");
            assert_eq!(
                (told(&world, "lost quorum"), told(&world, "sorry")),
                (0, sorry),
                "{what}, {is_reload}"
            );
            assert_eq!(world.director().unwrap().checkers.len(), after.real_servers.len(), "{what}");
            assert_eq!(world.broken, Vec::<String>::new());
        }
    }
}

/// How many servers one configuration has to serve and the other has not.
fn before_count(before: &VirtualServer, after: &VirtualServer) -> usize {
    let serves = |server: &VirtualServer, at| {
        server.real_servers.iter().any(|real| real.address == at && real.weight > 0)
    };
    before.real_servers.iter().filter(|r| r.weight > 0 && !serves(after, r.address)).count()
}

#[test]
fn a_server_whose_replacement_is_dead_stays_for_two_minutes_and_as_long_as_it_is_well() {
    let (_, before, after, _) = replacements().remove(0);
    let begin = || {
        let mut world = World::new(1);
        world.servers.insert(real(4), Server::Refuses);
        world.start(&config(before.clone()));
        world.run(20 * SECOND);
        world.tell(Input::Reload(config(after.clone())));
        world.run(20 * SECOND);
        assert_eq!(weights(&world), "1:1");
        assert_eq!((told(&world, &format!("{} of", real(4))), told(&world, "lost quorum")), (1, 0));
        world
    };
    let mut world = begin();
    let staying =
        |world: &World| world.director().unwrap().status(world.now).virtual_servers[0].staying.clone();
    assert_eq!(staying(&world), [real(1)]);
    world.run(120 * SECOND);
    assert_eq!(weights(&world), "");
    assert_eq!(
        (told(&world, "although nothing that replaces it is up"), told(&world, "lost quorum")),
        (1, 1)
    );

    let mut world = begin();
    world.servers.insert(real(1), Server::Refuses);
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "");
    assert_eq!(
        (told(&world, &format!("{} of virtual server 10.0.0.1:80 tcp is down", real(1))), staying(&world)),
        (1, vec![])
    );

    // A restart, and another one before the first has looked, cost it nothing; nor do they give it more time.
    let mut world = begin();
    for _ in 0..2 {
        world.tell(Input::HandOver);
        world.start(&config(after.clone()));
    }
    world.run(90 * SECOND);
    assert_eq!((weights(&world), staying(&world)), ("1:1".to_owned(), vec![real(1)]));
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "");

    // The old file comes back: as if it had never gone.
    let mut world = begin();
    let ops = world.ops.len();
    world.tell(Input::Reload(config(before.clone())));
    world.run(20 * SECOND);
    assert_eq!((weights(&world), world.ops.len(), staying(&world)), ("1:1".to_owned(), ops, vec![]));
    assert_eq!(world.director().unwrap().checkers.len(), 1);

    // Another replacement that is up ends its stay; one that nothing replaces leaves at once.
    let mut world = begin();
    let third = |n: u8| config(VirtualServer { real_servers: vec![real_server(n)], ..before.clone() });
    world.tell(Input::Reload(third(5)));
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "5:1");
    world.tell(Input::Reload(config(VirtualServer { real_servers: vec![], ..before })));
    world.run(SECOND / 10);
    assert_eq!(weights(&world), "5:0");
}

#[test]
fn a_real_server_of_a_firewall_mark_is_named_by_the_port_that_was_written() {
    let mut server = tcp_server();
    server.id = VirtualServerId::Fwmark { family: Family::Inet, mark: 7 };
    for real in &mut server.real_servers {
        let real = Arc::make_mut(real);
        real.address.set_port(0);
        real.written_port = 443;
    }
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Refuses);
    world.start(&config(server));
    world.run(30 * SECOND);
    assert_eq!(told(&world, "real server 10.1.0.1:443 of virtual server fwmark 7 is down"), 1);
    world.tell(Input::Override {
        selector: Selector { address: real(2).ip(), port: Some(443), virtual_server: None },
        change: OverrideChange::Weight(Some(0)),
    });
    assert_eq!(told(&world, "real server 10.1.0.2:443 of virtual server fwmark 7: by order"), 1);
}
