//! What clients suffer although the kernel holds what it should, and that it is reported once, and when it is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, key, real, tcp_server, told};
use super::world::{Server, World};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::event::Event;
use crate::director::io::Input;
use crate::director::problems::Kind;
use crate::ipvs::connections::{Flow, Handshakes};
use crate::ipvs::types::{Connections, Protocol};

const SECOND: Duration = Duration::from_secs(1);

fn reported(world: &World, kind: Kind) -> (usize, usize) {
    let count = |over: bool| {
        let is_it = |event: &Event| matches!(event, Event::Problem { problem, is_over, .. } if problem.kind() == kind && *is_over == over);
        world.events.iter().filter(|(_, event)| is_it(event)).count()
    };
    (count(false), count(true))
}

#[test]
fn a_service_that_is_deleted_every_second_is_reported_once_and_comes_back_faster() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(20 * SECOND);
    let (mut absent, mut looks) = (0, 0);
    for second in 0..60 {
        world.kernel.table_mut().remove(&key());
        for _ in 0..20 {
            world.run(SECOND / 20);
            if second > 20 {
                looks += 1;
                absent += usize::from(!world.kernel.table().contains_key(&key()));
            }
        }
    }
    assert!(absent * 5 < looks, "absent in {absent} of {looks} looks");
    assert_eq!(reported(&world, Kind::Recurring), (1, 0));
    assert!(
        told(&world, "changed by another program, repaired") < 3,
        "what recurs is not reported each time"
    );
    let status = world.director().unwrap().status(world.now);
    let problems = &status.virtual_servers[0].problems;
    assert!(problems[0].to_string().starts_with("another program changes it every 1 s"), "{problems:?}");
    world.run(90 * SECOND);
    assert_eq!(reported(&world, Kind::Recurring), (1, 1));
    let before = world.requests;
    world.run(60 * SECOND);
    assert!(world.requests - before < 40, "it is read no faster than others: {}", world.requests - before);
}

#[test]
fn no_server_takes_new_connections_for_each_reason() {
    let all = |change: OverrideChange| Input::Override {
        selector: Selector { address: real(1).ip(), port: None, virtual_server: None },
        change,
    };
    // Of weight 0 in the configuration.
    let mut weightless = tcp_server();
    weightless.real_servers.truncate(1);
    let mut world = World::new(1);
    world.start(&config(weightless.clone()));
    world.run(20 * SECOND);
    assert_eq!(reported(&world, Kind::TakesNobody), (0, 0));
    Arc::make_mut(&mut weightless.real_servers[0]).weight = 0;
    world.tell(Input::Reload(config(weightless)));
    world.run(SECOND);
    assert_eq!(told(&world, "1 is of weight 0 in the configuration"), 1);
    // By order.
    let mut one = tcp_server();
    one.real_servers.truncate(1);
    world.tell(Input::Reload(config(one.clone())));
    world.run(SECOND);
    assert_eq!(reported(&world, Kind::TakesNobody), (1, 1));
    world.tell(all(OverrideChange::Weight(Some(0))));
    world.run(SECOND);
    assert_eq!(told(&world, "1 is out by an operator's order"), 1);
    world.tell(all(OverrideChange::Weight(None)));
    world.run(SECOND);
    // Down.
    world.servers.insert(real(1), Server::Refuses);
    world.run(30 * SECOND);
    assert_eq!(told(&world, "1 is down"), 1);
    world.servers.insert(real(1), Server::Answers);
    world.run(30 * SECOND);
    assert_eq!(reported(&world, Kind::TakesNobody), (3, 3));
    // Full, at two readings.
    Arc::make_mut(&mut one.real_servers[0]).upper_threshold = 2;
    world.tell(Input::Reload(config(one)));
    let busy = Connections { active: 1, inactive: 1, persistent: 0 };
    world.kernel.set_connections(&key(), &real(1), busy);
    world.run(30 * SECOND);
    assert_eq!(told(&world, "1 is at the upper threshold"), 1);
    world.kernel.set_connections(&key(), &real(1), Connections::default());
    world.run(30 * SECOND);
    assert_eq!(reported(&world, Kind::TakesNobody), (4, 4));
}

#[test]
fn connections_that_stay_half_open_are_reported_of_the_second_reading() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(20 * SECOND);
    let sample = |half_open, completed| {
        let vip = SocketAddr::from(([10, 0, 0, 1], 80));
        let flow = |n| Flow { protocol: Protocol::Tcp, vip, destination: real(n) };
        let well = Handshakes { half_open: 9, completed: 1 };
        Input::Handshakes(BTreeMap::from([(flow(1), Handshakes { half_open, completed }), (flow(2), well)]))
    };
    world.tell(sample(9, 0));
    world.tell(sample(9, 1));
    world.tell(sample(9, 0));
    world.tell(sample(2, 0));
    assert_eq!(reported(&world, Kind::HalfOpen), (0, 0), "once is no problem, and few are none");
    world.tell(sample(3, 0));
    world.tell(sample(4, 0));
    world.tell(sample(5, 0));
    assert_eq!(reported(&world, Kind::HalfOpen), (1, 0));
    assert_eq!(told(&world, &format!("no client completes a connection to {}", real(1))), 1);
    world.tell(sample(5, 1));
    assert_eq!(reported(&world, Kind::HalfOpen), (1, 1));
}
