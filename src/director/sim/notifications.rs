//! What is notified to scripts, FIFOs and mails, and when: at the start, at a change, at a reload, at a stop.

use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{real, real_server, tcp_server};
use super::world::{Server, World};
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::director::io::Input;

const SECOND: Duration = Duration::from_secs(1);

/// Virtual servers of two real servers each, whose quorum is 2; with `omega` the first of them.
fn servers(count: u8) -> Arc<Config> {
    let server = |last: u8| {
        let mut server = VirtualServer { quorum: 2, ..tcp_server() };
        if let VirtualServerId::Address { address, .. } = &mut server.id {
            *address = [10, 0, 0, last].into();
        }
        server.real_servers = vec![real_server(1), real_server(2)];
        server.notices.is_told_at_stop = last == 1;
        server
    };
    Arc::new(Config { virtual_servers: (1..=count).map(server).collect(), ..Config::default() })
}

fn started() -> World {
    let mut world = World::new(1);
    world.start(&servers(1));
    world.run(5 * SECOND);
    assert_eq!(std::mem::take(&mut world.notified), ["VS [10.0.0.1]:tcp:80 UP"]);
    world
}

#[test]
fn a_change_is_notified_after_the_events_before_it_and_a_reload_notifies_what_is_new() {
    let mut world = started();
    world.servers.insert(real(2), Server::Refuses);
    world.run(20 * SECOND);
    let expected = ["RS [10.1.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN", "VS [10.0.0.1]:tcp:80 DOWN"];
    assert_eq!(std::mem::take(&mut world.notified), expected);
    let order = |what: &str| world.trace.iter().position(|line| line.contains(what)).unwrap();
    let (down, notified) = (order("is_up: false"), order("RealServer(\"[10.1.0.2]"));
    assert!(down < notified && notified < order("has_quorum: false"), "each event with its notifications");
    world.servers.remove(&real(2));
    world.run(20 * SECOND);
    world.notified.clear();
    world.tell(Input::Reload(servers(2)));
    assert_eq!(world.notified, ["VS [10.0.0.2]:tcp:80 UP"], "at once");
    world.tell(Input::Reload(servers(2)));
    assert_eq!(world.notified.len(), 1, "what goes on was notified before");
    world.tell(Input::Reload(servers(1)));
    world.tell(Input::Reload(servers(2)));
    assert_eq!(world.notified.len(), 2, "what was removed is new when it comes back");
}

#[test]
fn a_stop_is_notified_when_it_is_requested_and_once() {
    let down = [
        "RS [10.1.0.1]:tcp:80 [10.0.0.1]:tcp:80 DOWN",
        "RS [10.1.0.2]:tcp:80 [10.0.0.1]:tcp:80 DOWN",
        "VS [10.0.0.1]:tcp:80 DOWN",
    ];
    for is_requested in [true, false] {
        let mut world = started();
        world.tell(Input::Reload(servers(2)));
        world.run(5 * SECOND);
        world.notified.clear();
        if is_requested {
            world.tell(Input::StopRequested);
            assert_eq!(world.notified, down, "of virtual servers with `omega`");
            world.run(5 * SECOND);
            assert_eq!(world.services().len(), 2, "the services wait for the virtual routers to go");
        }
        world.tell(Input::Stop);
        world.run(5 * SECOND);
        assert_eq!((world.finished, world.services().len()), (Some(true), 0));
        assert_eq!(world.notified, down);
    }
}

#[test]
fn a_hand_over_notifies_nothing() {
    let mut world = started();
    world.tell(Input::HandOver);
    world.tell(Input::StopRequested);
    world.run(5 * SECOND);
    assert_eq!((world.finished, world.notified.len()), (Some(true), 0));
}
