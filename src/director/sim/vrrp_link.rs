//! The director beside a router: what it tells, and which sync daemon runs.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, started, sync_daemon, tcp_server};
use super::world::World;
use crate::config::{Config, Global, VirtualServer};
use crate::director::io::Input;
use crate::director::vrrp_link::HostForwards;
use crate::ipvs::backend::{Backend, Op, Scope, Snapshot};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Forwarding, SyncRole};
use crate::vrrp::io::{DirectorLevel, InstanceLevel, State};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

#[test]
fn a_vip_is_ready_once_its_service_is_in_the_kernel() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    let level = world.router.clone().expect("told at once");
    assert_eq!(level.not_ready, BTreeSet::from([VIP]));
    world.run(Duration::from_secs(1));
    assert_eq!(world.router, Some(DirectorLevel::default()));
}

#[test]
fn a_service_the_kernel_refuses_blocks_no_instance_and_lowers_this_host() {
    let mut world = World::new(1);
    world.kernel.set_scheduler("twos", false);
    let refused = VirtualServer { scheduler: Scheduler::new("twos").unwrap(), ..tcp_server() };
    world.start(&config(refused));
    world.run(Duration::from_secs(1));
    let level = world.router.clone().expect("told");
    assert!(level.not_ready.is_empty(), "{level:?}");
    assert!(level.cannot_forward.is_some_and(|why| why.contains("10.0.0.1:80")));
    world.kernel.set_scheduler("twos", true);
    world.run(Duration::from_secs(60));
    assert_eq!(world.router, Some(DirectorLevel::default()));
}

#[test]
fn a_kernel_that_does_not_answer_cannot_forward() {
    let (mut world, _) = started(tcp_server());
    world.fault_rate = 100;
    world.run(Duration::from_secs(60));
    let why = world.router.clone().and_then(|level| level.cannot_forward);
    assert!(why.is_some_and(|why| why.starts_with("IPVS: ")));
}

#[test]
fn a_host_that_does_not_forward_is_told_only_where_nat_needs_it() {
    let (mut world, full) = started(tcp_server());
    let off = HostForwards { ipv4: false, ipv6: false };
    world.tell(Input::Host(off));
    assert_eq!(world.router, Some(DirectorLevel::default()), "DR needs no forwarding");
    let mut server = full.virtual_servers[0].clone();
    Arc::make_mut(&mut server.real_servers[0]).forwarding = Forwarding::Nat;
    world.tell(Input::Reload(config(server)));
    world.run(Duration::from_secs(1));
    let why = world.router.clone().and_then(|level| level.cannot_forward);
    assert_eq!(why.as_deref(), Some("net.ipv4.ip_forward is 0, and NAT to real server 10.1.0.1:80 needs it"));
    world.tell(Input::Host(HostForwards::default()));
    assert_eq!(world.router, Some(DirectorLevel::default()));
}

#[test]
fn a_health_change_of_a_real_server_tells_the_router_nothing() {
    let (mut world, _) = started(tcp_server());
    let told = world.trace.iter().filter(|line| line.contains("Router(")).count();
    world.servers.insert(super::scenarios::real(2), super::world::Server::Refuses);
    world.run(Duration::from_secs(30));
    assert_eq!(world.trace.iter().filter(|line| line.contains("Router(")).count(), told);
}

#[test]
fn lost_quorum_counts_where_the_operator_says_so() {
    for counts in [false, true] {
        let mut world = World::new(1);
        let global = Global { quorum_counts: counts, ..Global::default() };
        let mut server = tcp_server();
        server.sorry_server = None;
        world.start(&Arc::new(Config { global, virtual_servers: vec![server], ..Config::default() }));
        world.run(Duration::from_secs(5));
        for n in 1..=3 {
            world.servers.insert(super::scenarios::real(n), super::world::Server::Refuses);
        }
        world.run(Duration::from_secs(30));
        let why = world.router.clone().and_then(|level| level.cannot_forward);
        assert_eq!(why.is_some_and(|why| why.contains("has lost quorum")), counts);
    }
}

#[test]
fn the_sync_daemon_follows_its_instance_and_never_two_run() {
    let mut world = World::new(1);
    let global = Global {
        sync_daemons: [SyncRole::Master, SyncRole::Backup].map(sync_daemon).to_vec(),
        sync_follows: Some("VI_1".to_owned()),
        ..Global::default()
    };
    let coupled = Arc::new(Config { global, virtual_servers: vec![tcp_server()], ..Config::default() });
    world.start(&coupled);
    world.run(Duration::from_secs(1));
    assert_eq!(roles(&mut world), [SyncRole::Backup], "no instance is Master yet");
    for (state, role) in [
        (State::Master, SyncRole::Master),
        (State::Fault, SyncRole::Backup),
        (State::Master, SyncRole::Master),
        (State::Backup, SyncRole::Backup),
    ] {
        world.tell(Input::Instance(instance("VI_2", State::Backup)));
        world.tell(Input::Instance(instance("VI_1", state)));
        world.run(Duration::from_millis(100));
        assert_eq!(roles(&mut world), [role], "{state}");
    }
    world.tell(Input::Instance(instance("VI_1", State::Master)));
    world.run(Duration::from_millis(100));
    world.tell(Input::InstanceGone("VI_1".to_owned()));
    world.run(Duration::from_millis(100));
    assert_eq!(roles(&mut world), [SyncRole::Backup]);
    let mut running = BTreeSet::new();
    for (_, op) in &world.ops {
        match op {
            Op::StartSync(daemon) => running.insert(daemon.role),
            Op::StopSync(role) => running.remove(role),
            _ => continue,
        };
        assert!(running.len() <= 1, "one at a time");
    }
    world.tell(Input::Stop);
    world.run(Duration::from_secs(1));
    assert!(roles(&mut world).is_empty());
}

fn instance(name: &str, state: State) -> InstanceLevel {
    InstanceLevel { name: name.to_owned(), vrid: 51, state, addresses: BTreeSet::new() }
}

fn roles(world: &mut World) -> Vec<SyncRole> {
    match world.kernel.snapshot(&Scope::Settings) {
        Ok(Snapshot::Settings(settings)) => settings.sync_daemons.iter().map(|d| d.role).collect(),
        other => panic!("{other:?}"),
    }
}
