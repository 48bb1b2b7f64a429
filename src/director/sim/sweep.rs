//! Everything at once, by seed: servers that flap, strangers that meddle, a kernel that loses answers, reloads,
//! crashes and hand-overs; then silence, and the world must be as it should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::path_check::path_check;
use super::world::{Server, World};
use crate::check::spec::{CheckerSpec, Question, Target, Timing};
use crate::config::{
    Checker, Config, RealServer, ServerNotices, SorryServer, VirtualServer, VirtualServerId,
};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::desired;
use crate::director::event::Event;
use crate::director::io::Input;
use crate::ipvs::backend::{Backend, Op};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{
    Destination, Forwarding, Persistence, Protocol, Service, ServiceFlags, ServiceKey, Tunnel,
};
use crate::time::Instant;
use crate::vrrp::sim::seeds;

/// Long enough for every pause, retry and drain to end.
const QUIET: Duration = Duration::from_secs(440);

#[test]
fn after_any_mischief_the_kernel_is_as_it_should_be() {
    for seed in seeds() {
        let world = live(seed);
        let tail = world.trace.len().saturating_sub(40);
        assert!(
            world.broken.is_empty(),
            "seed {seed}:\n{}\nlast of {} steps:\n{}",
            world.broken.join("\n"),
            world.trace.len(),
            world.trace[tail..].join("\n")
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..8 {
        assert_eq!(live(seed).trace, live(seed).trace, "seed {seed}");
    }
}

fn live(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut config = Arc::new(random_config(&mut world.rng));
    strangers_arrive(&mut world);
    world.start(&config);
    world.fault_rate = world.rng.choice([0, 0, 5, 20]).expect("not empty");
    for _ in 0..world.rng.u32(5..40) {
        mischief(&mut world, &mut config);
        let pause = Duration::from_millis(world.rng.u64(0..8000));
        world.run(pause);
    }
    world.fault_rate = 0;
    if world.director().is_none() {
        world.start(&config);
    }
    world.run(QUIET);
    let (ops, requests) = (world.ops.len(), world.requests);
    world.run(Duration::from_secs(60));
    if config.ipvs_need().is_none() && world.requests != requests {
        world.broken.push("without anything of IPVS at rest the kernel is not asked".to_owned());
    }
    if world.ops.len() != ops {
        world.broken.push(format!("at rest nothing is changed: {:?}", &world.ops[ops..]));
    }
    invariants::at_rest(&mut world, &config);
    reload_of_the_same_file_changes_nothing(&mut world, &config);
    the_end(&mut world);
    world
}

fn reload_of_the_same_file_changes_nothing(world: &mut World, config: &Arc<Config>) {
    let (ops, events) = (world.ops.len(), world.events.len());
    world.tell(Input::Reload(Arc::new(Config::clone(config))));
    world.run(Duration::from_secs(30));
    // Failing attempts that are all logged go on as before; they are no change.
    let is_change = |(_, event): &&(Instant, Event)| !matches!(event, Event::Attempt { .. });
    let events: Vec<_> = world.events[events..].iter().filter(is_change).collect();
    if world.ops.len() != ops || !events.is_empty() {
        let text = format!("reloading the same file: {:?} {events:?}", &world.ops[ops..]);
        world.broken.push(text);
    }
}

fn the_end(world: &mut World) {
    if world.rng.bool() {
        let table = world.services();
        world.tell(Input::HandOver);
        world.run(Duration::from_secs(15));
        if world.services() != table || world.finished != Some(true) {
            world.broken.push("hand-over: nothing changed".to_owned());
        }
    } else {
        world.tell(Input::Stop);
        world.run(Duration::from_secs(15));
        let rest: Vec<_> = world.kernel.table().keys().filter(|k| !world.strangers.contains(k)).collect();
        if !rest.is_empty() || world.finished != Some(true) || !world.saved().owned.is_empty() {
            let text = format!("stop: owned state gone: {rest:?}, {:?}", world.saved());
            world.broken.push(text);
        }
    }
}

fn mischief(world: &mut World, config: &mut Arc<Config>) {
    match world.rng.u32(0..14) {
        0..=3 => {
            let at = real_address(world.rng.u8(1..6));
            let state = [Server::Answers, Server::Answers, Server::Refuses, Server::Silent];
            let state = world.rng.choice(state).expect("not empty");
            world.servers.insert(at, state);
        }
        4 | 5 => meddle(world),
        6 => {
            *config = Arc::new(random_config(&mut world.rng));
            forget_orders(world, config);
            world.tell(Input::Reload(Arc::clone(config)));
        }
        7 => {
            world.crash();
            let pause = Duration::from_millis(world.rng.u64(0..3000));
            world.run(pause);
            world.start(config);
        }
        8 => {
            world.tell(Input::HandOver);
            world.run(Duration::from_millis(50));
            world.crash();
            world.start(config);
        }
        9 => {
            let missing = world.rng.bool();
            world.kernel.set_scheduler("wrr", missing);
            world.run(Duration::from_secs(3));
            world.kernel.set_scheduler("wrr", true);
        }
        10 => connections_come_and_go(world),
        11 | 12 => operator_orders(world),
        _ => world.fault_rate = world.rng.choice([0, 5, 20, 60]).expect("not empty"),
    }
}

fn operator_orders(world: &mut World) {
    let change = match world.rng.u32(0..6) {
        0 | 1 => OverrideChange::Drain { limit: Duration::from_secs(world.rng.u64(1..100)) },
        2 => OverrideChange::Undrain,
        3 => OverrideChange::Disable,
        4 => OverrideChange::Enable,
        _ => OverrideChange::Weight(world.rng.bool().then_some(5)),
    };
    let at = real_address(world.rng.u8(1..6));
    let selector = Selector { address: at.ip(), port: None, virtual_server: None };
    let Some(director) = world.director() else { return };
    for subscriber in director.select(&selector) {
        let order = world.overrides.get(&subscriber).copied().unwrap_or_default();
        world.overrides.insert(subscriber, order.changed(change, world.now));
    }
    world.tell(Input::Override { selector, change });
}

/// An order ends with the real server it is about.
fn forget_orders(world: &mut World, config: &Config) {
    world.overrides.retain(|(id, at), _| {
        let mut servers = config.virtual_servers.iter().filter(|s| s.id == *id);
        servers.any(|s| s.real_servers.iter().any(|r| r.address == *at))
    });
}

/// A stranger edits a service of ours.
fn meddle(world: &mut World) {
    let ours: Vec<ServiceKey> =
        world.kernel.table().keys().filter(|k| !world.strangers.contains(k)).copied().collect();
    let Some(key) = world.rng.choice(ours) else { return };
    let stray = destination(7, Forwarding::Nat);
    let op = match world.rng.u32(0..5) {
        0 => Op::RemoveService(key),
        1 => Op::AddDestination(key, "10.66.0.1:80".parse().unwrap(), stray),
        2 => Op::SetService(key, plain_service("lc")),
        n => {
            let destinations = world.kernel.table().get(&key).map(|e| e.destinations.clone());
            let Some((at, entry)) = world.rng.choice(destinations.unwrap_or_default()) else { return };
            let weight = world.rng.u32(0..3);
            match n {
                3 => Op::RemoveDestination(key, at),
                _ => Op::SetDestination(key, at, Destination { weight, ..entry.destination }),
            }
        }
    };
    world.trace.push(format!("{:?} a stranger: {op:?}", world.now));
    world.kernel.apply(&[op]).expect("the memory kernel answers");
}

fn connections_come_and_go(world: &mut World) {
    let keys: Vec<_> = world.kernel.table().keys().copied().collect();
    let Some(key) = world.rng.choice(keys) else { return };
    let active = world.rng.choice([0, 3]).expect("not empty");
    let Some(entry) = world.kernel.table_mut().get_mut(&key) else { return };
    for d in entry.destinations.values_mut() {
        d.connections.active = active;
    }
}

/// Services that are never configured.
pub(super) fn strangers_arrive(world: &mut World) {
    for n in 0..world.rng.u8(0..3) {
        let key = ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 99, 0, n].into(), port: 22 };
        let ops = [
            Op::AddService(key, plain_service("rr")),
            Op::AddDestination(key, "10.99.1.1:22".parse().unwrap(), destination(1, Forwarding::Dr)),
        ];
        assert_eq!(world.kernel.apply(&ops), Ok(vec![]));
        world.strangers.insert(key);
    }
}

/// Up to three virtual servers of up to five real servers.
pub(super) fn random_config(rng: &mut fastrand::Rng) -> Config {
    let virtual_servers = {
        let all = 0..rng.u8(1..4);
        all.filter(|_| rng.bool()).collect::<Vec<_>>()
    };
    let virtual_servers = virtual_servers.into_iter().map(|n| random_server(rng, n)).collect();
    Config { virtual_servers, ..Config::default() }
}

fn random_server(rng: &mut fastrand::Rng, n: u8) -> VirtualServer {
    let protocol = if n == 2 { Protocol::Udp } else { Protocol::Tcp };
    let scheduler = rng.choice(["rr", "wrr", "mh", "sh", "wlc"]).expect("not empty");
    let addresses: Vec<_> = (1..6).filter(|_| rng.u32(0..3) > 0).map(real_address).collect();
    let addresses = if addresses.is_empty() { vec![real_address(1)] } else { addresses };
    let mut real_servers: Vec<_> = addresses.into_iter().map(|at| random_real(rng, at)).collect();
    let has_vip = |real: &RealServer| protocol == Protocol::Tcp && real.forwarding != Forwarding::Nat;
    for real in real_servers.iter_mut().filter(|real| has_vip(real)) {
        real.path_check = rng.bool().then(|| Arc::new(path_check(&real.checkers[0])));
    }
    let real_servers: Vec<_> = real_servers.into_iter().map(Arc::new).collect();
    let total: u32 = real_servers.iter().map(|r| r.weight).sum();
    let sorry = |rng: &mut fastrand::Rng| SorryServer {
        address: rng.choice([real_address(1), real_address(9)]).expect("not empty"),
        forwarding: Forwarding::Dr,
        inhibit: rng.bool(),
    };
    VirtualServer {
        id: VirtualServerId::Address { protocol, address: [10, 0, 0, n].into(), port: 80 },
        scheduler: Scheduler::new(scheduler).expect("a scheduler"),
        flags: if rng.bool() { ServiceFlags::SCHED1 } else { ServiceFlags::default() },
        persistence: rng.bool().then_some(Persistence { timeout: 50, prefix: 32 }),
        persistence_engine: None,
        quorum: rng.u32(1..=total.max(1)),
        hysteresis: 0,
        sorry_server: rng.bool().then(|| sorry(rng)),
        real_servers,
        checks_need_vip: false,
        notices: ServerNotices::default(),
    }
}

fn random_real(rng: &mut fastrand::Rng, address: SocketAddr) -> RealServer {
    let target = Target { address, source: None, connect_timeout: Duration::from_secs(rng.u64(1..4)) };
    let timing = Timing {
        interval: Duration::from_secs(rng.u64(1..7)),
        retry: rng.u32(0..3),
        delay_before_retry: Duration::from_secs(1),
        confirm: rng.bool().then_some(Duration::from_millis(200)),
        rise: rng.u32(1..3),
        warmup: rng.bool().then_some(Duration::from_secs(2)),
    };
    let spec = CheckerSpec {
        target,
        question: Question::Tcp,
        timing: Arc::new(timing),
        log_all_failures: rng.bool(),
    };
    RealServer {
        written_port: 80,
        address,
        forwarding: rng
            .choice([Forwarding::Dr, Forwarding::Nat, Forwarding::Tun(Tunnel::Ipip)])
            .expect("not empty"),
        weight: rng.u32(0..4),
        inhibit_on_failure: rng.u32(0..3) == 0,
        upper_threshold: 0,
        lower_threshold: 0,
        checkers: vec![Checker { spec: Arc::new(spec), alpha: rng.u32(0..3) == 0 }],
        path_check: None,
        commands: None,
        is_mailed: false,
    }
}

fn real_address(n: u8) -> SocketAddr {
    SocketAddr::new([10, 1, 0, n].into(), 80)
}

fn plain_service(scheduler: &str) -> Service {
    Service {
        scheduler: Scheduler::new(scheduler).expect("a scheduler"),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}

fn destination(weight: u32, forwarding: Forwarding) -> Destination {
    Destination { forwarding, weight, upper_threshold: 0, lower_threshold: 0 }
}

/// Used by the scenarios as well.
pub(super) fn config_of(seed: u64) -> Config {
    let mut rng = fastrand::Rng::with_seed(seed);
    Config { virtual_servers: vec![random_server(&mut rng, 0)], ..Config::default() }
}

#[test]
fn the_model_and_the_real_thing_are_not_the_same_code() {
    let config = config_of(3);
    let key = desired::service_key(config.virtual_servers[0].id);
    let mut world = World::new(3);
    world.start(&Arc::new(config.clone()));
    world.run(Duration::from_secs(30));
    world.kernel.table_mut().remove(&key);
    invariants::at_rest(&mut world, &config);
    assert!(!world.broken.is_empty(), "an empty table must be noticed");
}
