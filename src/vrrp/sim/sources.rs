//! Source addresses: of links with several networks, late and replaced addresses, addresses that are another host's.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, instance6, on_vmac, settings, unicast};
use super::world::World;
use crate::net::types::{Op, Prefix};
use crate::vrrp::io::State;
use crate::vrrp::settings::{InstanceSettings, Peer, Settings, Transport};

const SECOND: Duration = Duration::from_secs(1);

fn prefix(text: &str) -> Prefix {
    let (ip, length) = text.split_once('/').unwrap();
    Prefix { ip: ip.parse().unwrap(), length: length.parse().unwrap() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn source(world: &World, node: usize) -> Option<IpAddr> {
    world.status(node, "a").source
}

fn states(world: &World) -> (Option<State>, Option<State>) {
    (world.state(0, "a"), world.state(1, "a"))
}

fn is(world: &World, node: usize, state: State) -> bool {
    world.state(node, "a") == Some(state)
}

/// Unicast between two hosts that do not say which their own address is.
fn unicast_pair() -> World {
    let of = |priority, peer| {
        settings(vec![InstanceSettings { transport: unicast(&[peer]), ..instance("a", 51, priority) }])
    };
    let mut world = World::new(7, 2);
    world.nodes[0].settings = Arc::new(of(100, 2));
    world.nodes[1].settings = Arc::new(of(150, 1));
    world
}

fn to_peers(peers: &[&str]) -> Transport {
    let peer = |text: &&str| Peer { address: ip(text), min_hop_limit: 0, max_hop_limit: 255 };
    Transport::Unicast {
        peers: peers.iter().map(peer).collect(),
        hop_limit: 255,
        checks_source: false,
        guards_ttl: false,
    }
}

/// One host whose e0 is given these addresses, in this order, instead of what it had.
fn chosen(new: InstanceSettings, addresses: &[&str]) -> Option<IpAddr> {
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![new]));
    world.nodes[0].host.remove_address("e0", prefix("10.0.0.201/24"));
    for address in addresses {
        world.nodes[0].host.add_address("e0", prefix(address));
    }
    world.start(0);
    world.run(SECOND);
    source(&world, 0)
}

#[test]
fn unicast_speaks_from_the_network_of_its_peers() {
    let mut world = unicast_pair();
    world.nodes[0].host.add_address("e0", prefix("9.0.0.5/24"));
    world.start(0);
    world.start(1);
    world.run(20 * SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.0.0.201")));
    assert_eq!(states(&world), (Some(State::Backup), Some(State::Master)));
}

#[test]
fn an_address_that_comes_later_does_not_move_the_source() {
    let mut world = unicast_pair();
    world.start(0);
    world.start(1);
    world.run(20 * SECOND);
    for later in ["9.0.0.5/24", "10.0.0.3/24", "10.0.0.4/8"] {
        world.nodes[0].host.add_address("e0", prefix(later));
        world.run(20 * SECOND);
        assert_eq!(source(&world, 0), Some(ip("10.0.0.201")), "after {later}");
        assert_eq!(states(&world), (Some(State::Backup), Some(State::Master)));
    }
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(5 * SECOND);
    world.nodes[0].host.add_address("e0", prefix("9.0.0.5/24"));
    world.run(5 * SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.0.0.201")), "by multicast");
}

#[test]
fn without_peers_the_source_is_the_first_address_the_kernel_lists() {
    let multicast = || instance("a", 51, 100);
    assert_eq!(chosen(multicast(), &["192.0.2.9/24", "10.0.0.1/24"]), Some(ip("192.0.2.9")));
    assert_eq!(chosen(multicast(), &["10.0.0.7/24", "10.0.0.3/24"]), Some(ip("10.0.0.7")), "the primary one");
    // A re-read shows the same order.
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![multicast()]));
    world.start(0);
    world.nodes[0].host.add_address("e0", prefix("9.0.0.5/24"));
    world.run(SECOND);
    world.forget(0);
    world.start(0);
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.0.0.201")));
}

#[test]
fn with_routed_peers_only_the_order_decides_for_ipv4_and_common_bits_for_ipv6() {
    let new = InstanceSettings { transport: to_peers(&["172.16.0.1"]), ..instance("a", 51, 100) };
    assert_eq!(chosen(new, &["192.0.2.9/24", "10.0.0.1/24"]), Some(ip("192.0.2.9")));
    let six = |peer| InstanceSettings { transport: to_peers(&[peer]), ..instance6("a", 51, 100) };
    let both = ["2001:db8::5/64", "fd00:5::5/64"];
    assert_eq!(chosen(six("2001:db8:9::1"), &both), Some(ip("2001:db8::5")));
    assert_eq!(chosen(six("fd00:9::1"), &both), Some(ip("fd00:5::5")));
}

#[test]
fn most_peers_decide_between_two_networks_and_the_end_of_a_tunnel_is_a_network() {
    let new = |peers| InstanceSettings { transport: to_peers(peers), ..instance("a", 51, 100) };
    let both = ["10.7.0.9/24", "10.8.0.9/24"];
    assert_eq!(chosen(new(&["10.8.0.1", "10.7.0.1", "10.8.0.2"]), &both), Some(ip("10.8.0.9")));
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![new(&["10.9.9.2"])]));
    let mut far = crate::net::types::Address::plain("e0", prefix("10.3.3.3/32"));
    far.peer = Some(prefix("10.9.9.2/32"));
    world.nodes[0].host.apply(&[Op::AddAddress(Arc::new(far))]);
    world.start(0);
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.3.3.3")));
}

#[test]
fn ipv6_never_speaks_from_what_the_kernel_would_not_choose() {
    let transport = to_peers(&["fd00::2"]);
    let new = InstanceSettings { transport, ..instance6("a", 51, 100) };
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![new]));
    let host = &mut world.nodes[0].host;
    // The VIP of the file, left behind, a deprecated, a temporary and another network's address: all before the good one.
    let bad = ["fd00::1:33/64", "fd00::d/64", "fd00::7/64", "2001:db8::1/64"];
    host.add_address("e0", prefix("fd00::9/64"));
    bad.iter().for_each(|text| host.add_address("e0", prefix(text)));
    host.change_address(prefix("fd00::d/64"), |held| held.is_deprecated = true);
    host.change_address(prefix("fd00::7/64"), |held| held.is_temporary = true);
    world.start(0);
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("fd00::9")));
    // A deprecated one is better than none, and it stays while it is there.
    world.nodes[0].host.remove_address("e0", prefix("fd00::9/64"));
    world.nodes[0].host.remove_address("e0", prefix("fd00::7/64"));
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("fd00::d")));
    world.nodes[0].host.remove_address("e0", prefix("fd00::d/64"));
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("2001:db8::1")));
    // Its peer's network is worth a move.
    world.nodes[0].host.add_address("e0", prefix("fd00::a/64"));
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("fd00::a")));
}

#[test]
fn ipv6_multicast_speaks_from_the_oldest_link_local_address() {
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(settings(vec![instance6("a", 51, 100)]));
    world.nodes[0].host.add_address("e0", prefix("fe80::1/64"));
    world.start(0);
    world.run(SECOND);
    assert_eq!(source(&world, 0), Some(ip("fe80::ff:fe00:1")));
}

#[test]
fn a_replaced_address_moves_the_source_whichever_comes_first() {
    for is_new_first in [true, false] {
        let mut world = unicast_pair();
        world.nodes[0].settings =
            Arc::new(settings(vec![InstanceSettings { transport: unicast(&[2]), ..instance("a", 51, 200) }]));
        world.start(0);
        world.start(1);
        world.run(20 * SECOND);
        assert!(is(&world, 0, State::Master));
        let (old, new) = (prefix("10.0.0.201/24"), prefix("10.0.0.99/24"));
        if is_new_first {
            world.nodes[0].host.add_address("e0", new);
            world.run(5 * SECOND);
            assert_eq!(source(&world, 0), Some(old.ip));
        }
        world.nodes[0].host.remove_address("e0", old);
        world.run(SECOND / 2);
        if !is_new_first {
            assert!(is(&world, 0, State::Fault), "without an address");
            assert!(world.status(0, "a").reason.contains("has no IPv4 address of its own (yet)"));
            world.nodes[0].host.add_address("e0", new);
        }
        world.run(20 * SECOND);
        assert_eq!((source(&world, 0), is(&world, 0, State::Master)), (Some(new.ip), true), "{is_new_first}");
    }
}

#[test]
fn a_late_address_of_dhcp_ends_the_fault() {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(settings(vec![instance("a", 51, priority)]));
    }
    world.nodes[0].host.remove_address("e0", prefix("10.0.0.201/24"));
    world.start(0);
    world.start(1);
    world.run(30 * SECOND);
    assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)));
    assert_eq!(
        world.status(0, "a").reason,
        "interface e0 has no IPv4 address of its own (yet), and advertisements need a source address"
    );
    world.nodes[0].host.add_address("e0", prefix("10.0.0.201/24"));
    world.run(10 * SECOND);
    assert_eq!(states(&world), (Some(State::Master), Some(State::Backup)));
}

fn with_source(priority: u8, source: &str, peers: &[u8]) -> Settings {
    let transport = match peers {
        [] => Transport::Multicast([224, 0, 0, 18].into()),
        peers => unicast(peers),
    };
    let source = Some(ip(source));
    settings(vec![InstanceSettings { source, transport, ..instance("a", 51, priority) }])
}

#[test]
fn no_instance_sends_from_a_given_address_before_it_is_there_or_after_it_went() {
    for is_unicast in [true, false] {
        let peers = |node: u8| if is_unicast { vec![node] } else { vec![] };
        let mut world = World::new(7, 2);
        world.nodes[0].settings = Arc::new(with_source(150, "10.0.0.77", &peers(2)));
        world.nodes[1].settings = Arc::new(with_source(100, "10.0.0.202", &peers(1)));
        world.start(0);
        world.start(1);
        world.run(30 * SECOND);
        assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)));
        let keyword = if is_unicast { "unicast_src_ip" } else { "mcast_src_ip" };
        assert_eq!(
            world.status(0, "a").reason,
            format!(
                "source address 10.0.0.77 is not on this host (yet): add it, or give {keyword} an address of this host"
            )
        );
        assert_eq!(world.sent(0, 51), []);
        world.nodes[0].host.add_address("e0", prefix("10.0.0.77/24"));
        world.run(10 * SECOND);
        assert!(is(&world, 0, State::Master), "when it is there");
        world.nodes[0].host.remove_address("e0", prefix("10.0.0.77/24"));
        world.run(10 * SECOND);
        assert_eq!(states(&world), (Some(State::Fault), Some(State::Master)));
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn one_file_for_two_nodes_does_not_forge_the_neighbours_address() {
    // Both nodes have both instances: one speaks for each of them.
    let of = |vrid, name: &str, node: u8, peer| InstanceSettings {
        source: Some([10, 0, 0, 200 + node].into()),
        transport: unicast(&[peer]),
        ..instance(name, vrid, 100)
    };
    let file = || settings(vec![of(51, "a", 1, 2), of(52, "b", 2, 1)]);
    let mut world = World::with(vec![file(), file()]);
    world.run(30 * SECOND);
    assert_eq!((world.state(0, "a"), world.state(0, "b")), (Some(State::Master), None));
    assert_eq!((world.state(1, "a"), world.state(1, "b")), (None, Some(State::Master)));
    assert_eq!((world.sent(0, 52), world.sent(1, 51)), (vec![], vec![]));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_given_source_may_be_of_another_link_and_must_not_be_a_vip() {
    let mut world = World::with(vec![with_source(100, "10.0.1.201", &[2])]);
    world.run(10 * SECOND);
    assert!(is(&world, 0, State::Master));
    let mut world = World::new(7, 1);
    world.nodes[0].settings = Arc::new(with_source(100, "10.0.0.51", &[2]));
    world.nodes[0].host.add_address("e0", prefix("10.0.0.51/24"));
    world.start(0);
    world.run(10 * SECOND);
    assert!(
        world.status(0, "a").reason.contains("10.0.0.51 is a virtual address"),
        "{}",
        world.status(0, "a").reason
    );
}

#[test]
fn peers_that_know_this_host_by_another_address_of_it_are_heard_and_answered_from_it() {
    let mut world = unicast_pair();
    // What it had when it began is not what its peer has in its file.
    world.nodes[0].host.remove_address("e0", prefix("10.0.0.201/24"));
    world.nodes[0].host.add_address("e0", prefix("10.0.0.77/24"));
    world.start(0);
    world.start(1);
    world.run(10 * SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.0.0.77")));
    world.nodes[0].host.add_address("e0", prefix("10.0.0.201/24"));
    world.run(10 * SECOND);
    assert_eq!(source(&world, 0), Some(ip("10.0.0.201")), "to which its peer sends");
    assert_eq!(states(&world), (Some(State::Backup), Some(State::Master)));
}

#[test]
fn two_networks_on_a_link_hold_with_a_vmac_too() {
    let new = |priority| on_vmac(instance("a", 51, priority));
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        world.nodes[node].settings = Arc::new(settings(vec![new(priority)]));
        world.nodes[node].host.add_address("e0", prefix("9.0.0.5/24"));
        world.start(node);
    }
    world.run(20 * SECOND);
    assert_eq!((source(&world, 0), world.master("a")), (Some(ip("10.0.0.201")), Some(0)));
}
