//! `ha_suspend`: checks that run only while this host has the VIP.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, real, tcp_server, told, weights};
use super::world::{Server, World};
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::director::colocation::LocalAddresses;
use crate::director::io::Input;
use crate::ipvs::types::Protocol;
use crate::net::types::Prefix;
use crate::time::Instant;
use crate::vrrp::io::{InstanceLevel, State};

const SECOND: Duration = Duration::from_secs(1);
const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

fn suspended() -> VirtualServer {
    VirtualServer { checks_need_vip: true, ..tcp_server() }
}

fn addresses(world: &mut World, has_vip: bool) {
    let mut local = LocalAddresses { own: world.local.own.clone(), ..LocalAddresses::default() };
    local.own.remove(&VIP);
    local.own.extend(has_vip.then_some(VIP));
    world.local = local;
    world.tell(Input::LocalAddresses(world.local.clone()));
}

fn instance(world: &mut World, state: State) {
    let addresses = BTreeSet::from([Prefix { ip: VIP, length: 32 }]);
    world.tell(Input::Instance(InstanceLevel { name: "VI_1".to_owned(), vrid: 51, state, addresses }));
}

fn probes(world: &World) -> usize {
    world.trace.iter().filter(|line| line.contains(" probe ")).count()
}

/// Runs that ended with an outcome that counts.
fn runs(world: &World) -> u64 {
    let status = world.director().unwrap().status(world.now);
    status.virtual_servers.iter().flat_map(|server| &server.real_servers).map(|real| real.checks).sum()
}

#[test]
fn nothing_is_asked_without_the_vip_and_all_at_once_with_it() {
    let mut world = World::new(1);
    world.start(&config(suspended()));
    world.run(60 * SECOND);
    assert_eq!(probes(&world), 0);
    assert_eq!(told(&world, "checks for 1 virtual server of 10.0.0.1 are suspended"), 1);
    assert_eq!(weights(&world), "1:1 2:1 3:1", "as in keepalived, the whole pool, unchecked");
    world.servers.insert(real(1), Server::Refuses);
    addresses(&mut world, true);
    world.run(SECOND / 10);
    assert_eq!(probes(&world), 3, "at once");
    assert_eq!(told(&world, "checks for 1 virtual server of 10.0.0.1 run: this host has 10.0.0.1"), 1);
    world.run(SECOND);
    assert_eq!(weights(&world), "2:1 3:1");
}

#[test]
fn verdicts_stand_while_checks_are_suspended_and_a_run_under_way_says_nothing() {
    let mut world = World::new(1);
    addresses(&mut world, true);
    world.start(&config(suspended()));
    world.servers.insert(real(1), Server::Refuses);
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "2:1 3:1");
    // The others no longer answer, which takes a run as long as it may; with the VIP gone this must not count.
    world.servers.insert(real(2), Server::Silent);
    world.servers.insert(real(3), Server::Silent);
    let before = probes(&world);
    while probes(&world) < before + 3 {
        world.run(SECOND / 10);
    }
    addresses(&mut world, false);
    world.servers.remove(&real(1));
    let (asked, ended) = (probes(&world), runs(&world));
    world.run(600 * SECOND);
    assert_eq!((probes(&world), runs(&world)), (asked, ended));
    assert_eq!(weights(&world), "2:1 3:1");
    let status = world.director().unwrap().status(world.now);
    let words = status.virtual_servers[0].suspended.clone().unwrap();
    assert!(words.contains("does not have 10.0.0.1"), "{words}");
    assert_eq!((status.stale_checkers, status.overdue_milliseconds), (0, 0));
    addresses(&mut world, true);
    world.run(SECOND);
    assert!(weights(&world).starts_with("1:1"), "it was well all the time: {}", weights(&world));
    assert_eq!(world.director().unwrap().status(world.now).virtual_servers[0].suspended, None);
}

#[test]
fn a_backup_that_still_has_the_address_does_not_check_and_a_master_does() {
    let mut world = World::new(1);
    addresses(&mut world, true);
    world.start(&config(suspended()));
    instance(&mut world, State::Backup);
    world.run(SECOND);
    assert_eq!(told(&world, "are suspended"), 1);
    let before = probes(&world);
    world.run(60 * SECOND);
    assert_eq!(probes(&world), before);
    instance(&mut world, State::Master);
    world.run(SECOND / 10);
    assert_eq!(probes(&world), before + 3);
    world.tell(Input::InstanceGone("VI_1".to_owned()));
    world.run(60 * SECOND);
    assert!(probes(&world) > before + 6, "the address is nobody's business but this host's");
}

#[test]
fn a_checker_runs_while_one_of_its_virtual_servers_wants_it() {
    let id = VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 2].into(), port: 80 };
    let other = VirtualServer { id, ..tcp_server() };
    let both = |first: VirtualServer, second: Option<VirtualServer>| {
        let virtual_servers = std::iter::once(first).chain(second).collect();
        Arc::new(Config { virtual_servers, ..Config::default() })
    };
    let mut world = World::new(1);
    world.start(&both(suspended(), Some(other.clone())));
    world.run(20 * SECOND);
    assert!(probes(&world) >= 9);
    // The one that wants them goes, or wants them no longer.
    for second in [None, Some(VirtualServer { checks_need_vip: true, ..other.clone() })] {
        world.tell(Input::Reload(both(suspended(), second)));
        world.run(SECOND);
        let before = probes(&world);
        world.run(60 * SECOND);
        assert_eq!(probes(&world), before);
        world.tell(Input::Reload(both(suspended(), Some(other.clone()))));
        world.run(SECOND);
        assert!(probes(&world) >= before + 3, "wanted again, at once");
    }
    world.tell(Input::Reload(both(tcp_server(), None)));
    let before = probes(&world);
    world.run(60 * SECOND);
    assert!(probes(&world) > before + 9, "without the word nothing is suspended");
}

#[test]
fn a_server_that_is_down_stays_down_over_a_restart_without_the_vip() {
    let mut world = World::new(1);
    addresses(&mut world, true);
    world.servers.insert(real(1), Server::Refuses);
    world.start(&config(suspended()));
    world.run(20 * SECOND);
    addresses(&mut world, false);
    world.crash();
    world.start(&config(suspended()));
    world.run(60 * SECOND);
    assert_eq!(weights(&world), "2:1 3:1");
    assert!(world.now > Instant::ZERO && world.broken.is_empty(), "{:?}", world.broken);
}
