//! Sockets that cannot be opened: at the start, later, for a while, for ever.

use std::sync::Arc;
use std::time::Duration;

use super::site::{group, instance, settings, unicast, vip};
use super::world::World;
use crate::net::types::Prefix;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStep};
use crate::vrrp::io::State;
use crate::vrrp::settings::{InstanceSettings, Settings};

const SECOND: Duration = Duration::from_secs(1);
const NO_ROOM: SocketFailure = SocketFailure { step: SocketStep::Join, errno: libc::ENOBUFS };
const NO_DESCRIPTOR: SocketFailure = SocketFailure { step: SocketStep::Open, errno: libc::EMFILE };

fn states(world: &World) -> (Option<State>, Option<State>) {
    (world.state(0, "a"), world.state(1, "a"))
}

/// Two hosts, of which the first one cannot open sockets; nothing runs yet.
fn deaf(of: impl Fn(u8) -> Settings, failure: SocketFailure) -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(of(priority));
    }
    world.nodes[0].refuses_sockets = Some(failure);
    world
}

#[test]
fn a_host_that_cannot_open_its_socket_is_in_fault_until_it_can() {
    for failure in [NO_ROOM, NO_DESCRIPTOR] {
        for priority in [150, 255] {
            let own = |usual| if usual == 150 { priority } else { usual };
            let mut world = deaf(|usual| settings(vec![instance("a", 51, own(usual))]), failure);
            world.start(0);
            world.start(1);
            world.run(60 * SECOND);
            assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)), "{failure}");
            assert_eq!(world.status(0, "a").reason, failure.to_string());
            assert_eq!(world.sent(0, 51), []);
            let claims = world.reported(0, "vrrp_transition");
            assert_eq!(claims.len(), 1, "straight from Init: {claims:?}");
            world.nodes[0].refuses_sockets = None;
            world.run(10 * SECOND);
            assert_eq!(states(&world), (Some(State::Master), Some(State::Backup)), "{failure}");
            assert_eq!(world.broken, [""; 0]);
        }
    }
}

#[test]
fn a_master_whose_new_socket_cannot_be_opened_leaves_the_address_to_its_peer() {
    let of = |priority, peer| {
        settings(vec![InstanceSettings { transport: unicast(&[peer]), ..instance("a", 51, priority) }])
    };
    let mut world = World::with(vec![of(150, 2), of(100, 1)]);
    world.run(10 * SECOND);
    assert_eq!(states(&world), (Some(State::Master), Some(State::Backup)));
    // Its address is replaced, and so must its socket be.
    world.nodes[0].refuses_sockets = Some(NO_DESCRIPTOR);
    world.nodes[0].host.add_address("e0", Prefix { ip: [10, 0, 0, 77].into(), length: 24 });
    world.nodes[0].host.remove_address("e0", Prefix { ip: [10, 0, 0, 201].into(), length: 24 });
    world.run(10 * SECOND);
    assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)));
    assert!(!world.nodes[0].has([10, 0, 0, 51]) && world.nodes[1].has([10, 0, 0, 51]));
    world.nodes[0].refuses_sockets = None;
    world.run(10 * SECOND);
    assert_eq!(states(&world), (Some(State::Master), Some(State::Backup)));
}

#[test]
fn a_sync_group_does_not_split_where_one_of_its_sockets_cannot_be_opened() {
    let of = |priority| {
        let mut b = InstanceSettings { interface: Some("e1".to_owned()), ..instance("b", 52, priority) };
        b.addresses = vec![vip("e1", [10, 0, 1, 52].into(), 24)];
        let mut all = settings(vec![instance("a", 51, priority), b]);
        all.groups = vec![Arc::new(group("G", &["a", "b"]))];
        all
    };
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)]), of(100)]);
    world.run(10 * SECOND);
    // The second instance comes by a reload, when there is no room for its socket.
    world.nodes[0].refuses_sockets = Some(NO_ROOM);
    world.reload(0, of(150));
    world.run(20 * SECOND);
    assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)));
    assert_eq!((world.state(0, "b"), world.state(1, "b")), (Some(State::Fault), Some(State::Master)));
    world.nodes[0].refuses_sockets = None;
    world.run(20 * SECOND);
    assert_eq!(states(&world), (Some(State::Master), Some(State::Backup)));
    assert_eq!((world.state(0, "b"), world.state(1, "b")), (Some(State::Master), Some(State::Backup)));
}
