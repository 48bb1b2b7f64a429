//! A preview is true: what it foresees is what a director with the same knowledge of health does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{real_server, sync_daemon, tcp_server};
use super::sweep::{random_config, strangers_arrive};
use super::world::{Server, World};
use crate::check::spec::{CheckerSpec, Question};
use crate::config::{Config, Global, VirtualServer, VirtualServerId};
use crate::director::desired;
use crate::director::io::Input;
use crate::director::preview::{Change, HostKnown, KernelCopy, KernelTable, preview};
use crate::director::state::{KnownDown, State};
use crate::ipvs::backend::{Backend, Scope, Snapshot};
use crate::ipvs::types::{Connections, Destination, DestinationKey, Service, ServiceKey, SyncRole};
use crate::vrrp::io::{InstanceLevel, State as RouterState};

/// Long enough for every check and drain to end.
const QUIET: Duration = Duration::from_secs(400);

/// Services and destinations without counters.
type Shape = BTreeMap<ServiceKey, (Service, BTreeMap<DestinationKey, Destination>)>;

#[test]
fn what_is_foreseen_is_what_a_restart_with_another_file_does() {
    let mut foreseen = 0;
    for seed in 0..96 {
        let mut world = World::new(seed);
        strangers_arrive(&mut world);
        for n in 1..6 {
            let state = if world.rng.u32(0..3) == 0 { Server::Refuses } else { Server::Answers };
            world.servers.insert(([10, 1, 0, n], 80).into(), state);
        }
        let before = Arc::new(random_config(&mut world.rng));
        world.start(&before);
        world.run(QUIET);
        let after = Arc::new(random_config(&mut world.rng));
        let state = State { down: truth(&world, &after), ..world.saved().clone() };
        let foresight = preview(&after, state, HostKnown::default(), copy(&world), world.now);
        let mut expected = shape(&world.services());
        foresight.changes.iter().for_each(|change| happen(change, &mut expected));
        world.crash();
        world.start(&after);
        world.run(QUIET);
        assert_eq!(shape(&world.services()), expected, "seed {seed}: {:#?}", foresight.changes);
        foreseen += foresight.changes.len();
        let again = preview(&after, world.saved().clone(), HostKnown::default(), copy(&world), world.now);
        assert_eq!(again.changes, [], "seed {seed}: nothing is left to do");
    }
    assert!(foreseen > 300, "only {foreseen} changes were foreseen: is the test broken?");
}

#[test]
fn a_reload_ends_where_a_fresh_start_with_the_same_health_does() {
    for seed in 0..96 {
        let [reloaded, restarted] = [true, false].map(|is_reload| {
            let mut world = World::new(seed);
            strangers_arrive(&mut world);
            for n in 1..6 {
                let state = if world.rng.u32(0..3) == 0 { Server::Refuses } else { Server::Answers };
                world.servers.insert(([10, 1, 0, n], 80).into(), state);
            }
            let [before, after] = [(); 2].map(|()| Arc::new(random_config(&mut world.rng)));
            world.start(&before);
            world.run(QUIET);
            if is_reload {
                world.tell(Input::Reload(after));
            } else {
                world.tell(Input::Stop);
                world.run(Duration::from_secs(15));
                world.start(&after);
            }
            world.run(QUIET);
            shape(&world.services())
        });
        assert_eq!(reloaded, restarted, "seed {seed}");
    }
}

#[test]
fn a_server_that_leaves_with_connections_is_foreseen_to_drain_and_a_dead_one_to_be_cut() {
    let mut world = World::new(5);
    let mut config = random_config(&mut world.rng);
    while config
        .virtual_servers
        .first()
        .is_none_or(|s| desired::must_leave_at_once(s) || s.real_servers.len() < 3)
    {
        config = random_config(&mut world.rng);
    }
    let server = &mut config.virtual_servers[0];
    (server.quorum, server.sorry_server) = (1, None);
    for real in server.real_servers.iter_mut().map(Arc::make_mut) {
        (real.weight, real.inhibit_on_failure) = (1, false);
    }
    let (id, key) = (server.id, desired::service_key(server.id));
    let (leaves, dies) = (server.real_servers[0].address, server.real_servers[1].address);
    world.start(&Arc::new(config.clone()));
    world.run(QUIET);
    for at in [leaves, dies] {
        assert!(world.kernel.set_connections(&key, &at, Connections { active: 7, ..Connections::default() }));
    }
    config.virtual_servers[0].real_servers.remove(0);
    let down = vec![known_down(id, dies, &config.virtual_servers[0].real_servers[0].checkers[0].spec)];
    let state = State { down, ..world.saved().clone() };
    let changes = preview(&Arc::new(config), state, HostKnown::default(), copy(&world), world.now).changes;
    let of = |wanted| {
        let is_it =
            |c: &&Change| matches!(c, Change::Destination { destination, .. } if *destination == wanted);
        changes.iter().find(is_it).expect("a change").clone()
    };
    assert!(matches!(of(leaves), Change::Destination { after: Some(d), drains: true, .. } if d.weight == 0));
    assert_eq!(of(leaves).cut(), 0);
    // Nothing takes its place.
    assert!(matches!(of(leaves), Change::Destination { stays: false, .. }));
    // A server adopted with weight counts as up, unless it is known to be down.
    assert!(matches!(of(dies), Change::Destination { after: None, drains: false, .. }));
    assert_eq!(of(dies).cut(), 7);
}

#[test]
fn a_server_that_is_replaced_is_foreseen_to_stay_until_then() {
    let mut world = World::new(1);
    let with = |n: u8| {
        let server = VirtualServer { real_servers: vec![real_server(n)], ..tcp_server() };
        Arc::new(Config { virtual_servers: vec![server], ..Config::default() })
    };
    world.start(&with(1));
    world.run(QUIET);
    let foreseen = preview(&with(2), world.saved().clone(), HostKnown::default(), copy(&world), world.now);
    let stays = |change: &Change| match change {
        Change::Destination { destination, stays, .. } => Some((*destination, *stays)),
        _ => None,
    };
    let stays: Vec<_> = foreseen.changes.iter().filter_map(stays).collect();
    assert_eq!(stays, [(real_server(1).address, true), (real_server(2).address, false)]);
}

#[test]
fn sync_daemons_are_foreseen_to_follow_the_instances_as_they_are() {
    let global = Global {
        sync_daemons: [SyncRole::Master, SyncRole::Backup].map(sync_daemon).to_vec(),
        sync_follows: Some("VI_1".to_owned()),
        ..Global::default()
    };
    let config = Arc::new(Config { global, virtual_servers: vec![tcp_server()], ..Config::default() });
    let mut world = World::new(1);
    world.start(&config);
    let level = |state| InstanceLevel { name: "VI_1".to_owned(), vrid: 51, state, addresses: [].into() };
    for (state, changes) in [(RouterState::Master, 0), (RouterState::Backup, 2)] {
        world.tell(Input::Instance(level(RouterState::Master)));
        world.run(QUIET);
        let host = HostKnown { instances: vec![level(state)], ..HostKnown::default() };
        let foreseen = preview(&config, world.saved().clone(), host, copy(&world), world.now);
        assert_eq!(foreseen.changes.len(), changes, "{state}: {:?}", foreseen.changes);
    }
}

/// What `lvsd plan` reads of the kernel.
fn copy(world: &World) -> KernelCopy {
    let mut kernel = world.kernel.clone();
    let Ok(Snapshot::Settings(settings)) = kernel.snapshot(&Scope::Settings) else {
        panic!("asked for settings")
    };
    KernelCopy { table: kernel.table().clone(), settings }
}

/// The servers that refuse, for every checker of a configuration.
fn truth(world: &World, config: &Config) -> Vec<KnownDown> {
    let mut down = Vec::new();
    for server in &config.virtual_servers {
        for real in &server.real_servers {
            let refused = real
                .checkers
                .iter()
                .filter(|c| world.servers.get(&c.spec.target.address).is_some_and(|s| *s == Server::Refuses));
            down.extend(refused.map(|c| known_down(server.id, real.address, &c.spec)));
        }
    }
    down
}

fn known_down(id: VirtualServerId, real_server: DestinationKey, spec: &CheckerSpec) -> KnownDown {
    assert_eq!(spec.question, Question::Tcp);
    KnownDown {
        virtual_server: id,
        real_server,
        checker: spec.question.keyword().to_owned(),
        target: spec.target.address,
        reason: "connection refused".to_owned(),
    }
}

fn shape(table: &KernelTable) -> Shape {
    let destinations = |e: &crate::ipvs::types::ServiceEntry| {
        e.destinations.iter().map(|(at, d)| (*at, d.destination)).collect()
    };
    table.iter().map(|(key, e)| (*key, (e.service.clone(), destinations(e)))).collect()
}

/// A change, and the end of a drain.
fn happen(change: &Change, table: &mut Shape) {
    match change {
        Change::Service { service, after: Some(after), .. } => {
            let fresh = || (after.clone(), BTreeMap::new());
            table.entry(desired::service_key(*service)).or_insert_with(fresh).0 = after.clone();
        }
        Change::Service { service, after: None, .. } => {
            table.remove(&desired::service_key(*service));
        }
        Change::Destination { service, destination, after, drains, .. } => {
            let Some((_, all)) = table.get_mut(&desired::service_key(*service)) else {
                assert!(after.is_none(), "a destination of no service: {change:?}");
                return;
            };
            match after {
                Some(after) if !drains => all.insert(*destination, *after),
                _ => all.remove(destination),
            };
        }
        other => panic!("no settings here: {other:?}"),
    }
}
