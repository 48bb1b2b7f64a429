//! Real servers that are well and do not take packets for the VIP.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, real, real_server, tcp_server, told, weights};
use super::world::{Server, World, is_probe_service};
use crate::check::outcome::ProbeResult;
use crate::check::spec::Timing;
use crate::config::{Checker, Config, PathCheck, RealServer, VirtualServer};
use crate::director::admin_override::Selector;
use crate::director::arp_problem::ArpProblems;
use crate::director::colocation::LocalAddresses;
use crate::director::io::Input;
use crate::director::marks::PROBE_MARKS;
use crate::ipvs::backend::{Backend, Op};
use crate::ipvs::types::{Forwarding, ServiceKey};
use crate::net::types::MacAddress;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_server_that_does_not_take_packets_for_the_vip_is_named_goes_and_comes_back() {
    let mut world = started(checked(tcp_server()));
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    world.paths.insert(real(2).ip(), Server::Silent);
    // An interval, two answers that do not come, and the pause between them.
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "1:1 3:1");
    assert_eq!(
        told(
            &world,
            "real server 10.1.0.2:80 of virtual server 10.0.0.1:80 tcp is down: path_check: no answer"
        ),
        1
    );
    world.paths.clear();
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(world.broken, Vec::<String>::new());
}

#[test]
fn a_dead_server_is_dead_by_its_own_check_and_returns_as_soon_as_without() {
    let mut with = started(checked(tcp_server()));
    let mut without = started(tcp_server());
    for world in [&mut with, &mut without] {
        world.run(10 * SECOND);
        world.servers.insert(real(2), Server::Refuses);
        world.run(10 * SECOND);
        assert_eq!(weights(world), "1:1 3:1");
        assert_eq!(told(world, "is down: TCP_CHECK: connection refused"), 1, "{:?}", world.events);
        world.servers.clear();
        world.run(5 * SECOND);
        assert_eq!(weights(world), "1:1 2:1 3:1");
    }
    let asked = with.path_probes.iter().filter(|(_, ip)| *ip == real(2).ip()).count();
    // Not while it was down: that much is known.
    assert!(asked < 12, "{asked} probes of 10.1.0.2 in 26 s");
}

#[test]
fn when_no_server_answers_none_goes_until_one_does() {
    let mut world = started(checked(tcp_server()));
    world.run(10 * SECOND);
    for n in 1..=3 {
        world.paths.insert(real(n).ip(), Server::Silent);
    }
    world.run(60 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(told(&world, "this director or the network is suspected first"), 3);
    world.paths.remove(&real(3).ip());
    world.run(20 * SECOND);
    assert_eq!(weights(&world), "3:1");
    assert_eq!(told(&world, "path_check of 10.1.0.3:80 runs again"), 1);
}

/// The operator's timing and keepalived's: interval, connect_timeout, confirm, retry, rise.
const TIMINGS: [(u32, u32, Option<Duration>, u32, u32); 8] = [
    (60, 5, None, 1, 1),
    (30, 5, None, 1, 1),
    (15, 5, None, 3, 1),
    (6, 3, None, 1, 1),
    (6, 3, None, 0, 1),
    (2, 5, None, 1, 1),
    (5, 3, Some(Duration::from_millis(200)), 2, 2),
    (5, 1, Some(Duration::from_millis(200)), 0, 2),
];

#[test]
fn when_all_ways_break_at_once_all_real_servers_stay_whatever_the_timing() {
    for (timing, silent, seed) in TIMINGS
        .into_iter()
        .flat_map(|timing| [Server::Silent, Server::Refuses].map(|server| (timing, server)))
        .flat_map(|(timing, server)| (0..2).map(move |seed| (timing, server, seed)))
    {
        let mut world = ten(timing, seed);
        for n in 1..=10 {
            world.paths.insert(real(n).ip(), silent);
        }
        world.run(4 * timing.0 * SECOND + 20 * SECOND);
        assert_eq!(up(&world), 10, "{timing:?} {silent:?} seed {seed}");
        assert_eq!(world.broken, Vec::<String>::new());
    }
}

#[test]
fn one_way_that_breaks_among_many_is_found_within_the_time_of_its_own_probes() {
    for (timing, silent, seed) in TIMINGS
        .into_iter()
        .flat_map(|timing| [Server::Silent, Server::Refuses].map(|server| (timing, server)))
        .flat_map(|(timing, server)| (0..2).map(move |seed| (timing, server, seed)))
    {
        let mut world = ten(timing, seed);
        world.paths.insert(real(4).ip(), silent);
        let (interval, timeout, confirm, retry, _) = timing;
        let pause = confirm.unwrap_or(SECOND);
        // Without a retry the first failure waits for a witness once.
        let probes = retry.max(1) + 1;
        let limit = interval * SECOND + probes * (timeout * SECOND) + (probes - 1) * pause + SECOND;
        world.run(limit);
        assert_eq!(up(&world), 9, "{timing:?} {silent:?} seed {seed}");
        world.paths.clear();
        world.run(3 * interval * SECOND + 20 * SECOND);
        assert_eq!(up(&world), 10, "{timing:?} {silent:?} seed {seed}");
    }
}

/// Ten real servers that are well, watched for a while.
fn ten(
    (interval, timeout, confirm, retry, rise): (u32, u32, Option<Duration>, u32, u32),
    seed: u64,
) -> World {
    let mut server = checked(tcp_server());
    server.real_servers = (1..=10).map(real_server).collect();
    let timing = Arc::new(Timing {
        interval: interval * SECOND,
        retry,
        delay_before_retry: SECOND,
        confirm,
        rise,
        warmup: Some(interval * SECOND),
    });
    for real in &mut server.real_servers {
        let real = Arc::make_mut(real);
        let spec = Arc::make_mut(&mut real.checkers[0].spec);
        spec.timing = Arc::clone(&timing);
        spec.target.connect_timeout = timeout * SECOND;
        real.path_check = Some(Arc::new(PathCheck {
            timing: Arc::clone(&timing),
            connect_timeout: timeout * SECOND,
            port: 80,
            alpha: false,
        }));
    }
    let mut world = World::new(seed);
    world.start(&config(server));
    world.run(3 * interval * SECOND + 20 * SECOND);
    assert_eq!(up(&world), 10);
    world
}

fn up(world: &World) -> usize {
    world.director().unwrap().summary(world.now).up
}

#[test]
fn a_server_never_seen_to_work_is_not_let_in() {
    let mut server = checked(tcp_server());
    for real in &mut server.real_servers {
        let real = Arc::make_mut(real);
        real.checkers[0].alpha = true;
        real.path_check = Some(Arc::new(path_check(&real.checkers[0])));
    }
    let mut world = World::new(1);
    for n in 1..=2 {
        world.paths.insert(real(n).ip(), Server::Refuses);
    }
    world.start(&config(server));
    world.run(3 * SECOND);
    assert_eq!(weights(&world), "3:1");
    world.paths.clear();
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn what_this_director_cannot_do_keeps_no_server_out() {
    let mut server = checked(tcp_server());
    for real in &mut server.real_servers {
        Arc::make_mut(Arc::make_mut(real).path_check.as_mut().unwrap()).alpha = true;
    }
    let mut world = World::new(1);
    world.local = LocalAddresses::default();
    world.start(&config(server));
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(told(&world, "held: this host has no address of its own there that is no VIP"), 3);
    // And itself it does not ask.
    world.tell(Input::LocalAddresses(LocalAddresses {
        own: [real(1).ip()].into(),
        on_network: [real(1).ip()].into(),
        ..LocalAddresses::default()
    }));
    world.run(10 * SECOND);
    let asked: BTreeSet<IpAddr> = world.path_probes.iter().map(|(_, ip)| *ip).collect();
    assert_eq!(asked, BTreeSet::from([real(2).ip(), real(3).ip()]));
    let histories = world
        .director()
        .unwrap()
        .histories(world.now, &Selector { address: real(1).ip(), port: None, virtual_server: None });
    let path = histories[0].checkers.iter().find(|checker| checker.checker == "path_check").unwrap();
    let last = &path.attempts.last().unwrap().outcome;
    assert_eq!((last.result, &*last.reason), (ProbeResult::Pass, "not checked: it is this host"));
}

#[test]
fn no_way_is_left_over() {
    for seed in 0..100 {
        let mut world = World::new(seed);
        let config = config(checked(tcp_server()));
        world.start(&config);
        world.paths.insert(real(2).ip(), Server::Silent);
        // It dies while a way is open, or about to be.
        let pause = world.rng.u64(0..12_000);
        world.run(Duration::from_millis(pause));
        world.crash();
        match world.rng.u32(0..3) {
            0 => world.forget(),
            // A director without path_check finds them as well.
            1 => world.start(&super::scenarios::config(tcp_server())),
            _ => {}
        }
        if world.director().is_none() {
            world.start(&config);
        }
        world.paths.clear();
        world.run(9 * SECOND);
        world.tell(Input::Stop);
        world.run(10 * SECOND);
        assert_eq!((probe_services(&world), world.finished), (0, Some(true)), "seed {seed}");
        assert_eq!(world.broken, Vec::<String>::new(), "seed {seed}");
        assert_eq!(told(&world, "left alone"), 0, "seed {seed}");
    }
}

#[test]
fn a_takeover_removes_probe_services_that_were_left() {
    let mut world = started(checked(tcp_server()));
    world.paths.insert(real(2).ip(), Server::Silent);
    while probe_services(&world) == 0 {
        world.run(Duration::from_millis(100));
    }
    world.tell(Input::HandOver);
    world.run(SECOND);
    assert_eq!(
        (probe_services(&world), world.finished),
        (1, Some(true)),
        "nothing is changed at a hand-over"
    );
    world.start(&config(tcp_server()));
    world.run(SECOND);
    assert_eq!(probe_services(&world), 0);
    // A stranger's, while the director looks on.
    let key = ServiceKey::Fwmark { family: crate::ipvs::types::Family::Inet, mark: 0x6c76_3fff };
    let op = Op::AddService(key, crate::director::desired::service(&tcp_server()));
    world.kernel.apply(&[op]).unwrap();
    world.run(30 * SECOND);
    assert_eq!(probe_services(&world), 0);
}

#[test]
fn a_refusing_kernel_is_said_and_a_table_that_vanishes_is_no_trouble() {
    let mut world = started(checked(tcp_server()));
    world.run(5 * SECOND);
    for key in world.kernel.table().keys().copied().collect::<Vec<_>>() {
        world.kernel.table_mut().remove(&key);
    }
    world.run(30 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    world.kernel.set_scheduler("rr", false);
    world.run(30 * SECOND);
    assert_eq!(
        told(
            &world,
            "path_check of 10.1.0.1:80 cannot run here, its verdict is held: its probe service cannot be created"
        ),
        1
    );
    world.kernel.set_scheduler("rr", true);
    world.run(30 * SECOND);
    assert_eq!(told(&world, "path_check of 10.1.0.1:80 runs again"), 1);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(world.broken, Vec::<String>::new());
}

#[test]
fn a_thousand_real_servers_share_a_few_ways_and_each_is_asked_in_turn() {
    let mut server = tcp_server();
    let thousand = (0..1000_u16).map(|n| {
        let at = SocketAddr::from(([10, 2, (n / 250) as u8, (n % 250) as u8], 80));
        let mut real = (*real_server(1)).clone();
        real.address = at;
        let spec = Arc::make_mut(&mut real.checkers[0].spec);
        spec.target.address = at;
        Arc::new(real)
    });
    server.real_servers = thousand.collect();
    let mut world = started(checked(server));
    for n in 0..100 {
        world.paths.insert(IpAddr::from([10, 2, 0, n]), Server::Silent);
    }
    world.run(60 * SECOND);
    let asked: BTreeSet<IpAddr> = world.path_probes.iter().map(|(_, ip)| *ip).collect();
    assert_eq!(asked.len(), 1000);
    assert!(world.most_probe_services <= PROBE_MARKS as usize, "{}", world.most_probe_services);
    assert_eq!(world.broken, Vec::<String>::new());
    let up = world.director().unwrap().summary(world.now).up;
    assert_eq!(up, 900);
}

#[test]
fn a_reload_that_switches_it_on_asks_at_once_and_off_forgets_what_was_found() {
    let mut world = started(tcp_server());
    world.paths.insert(real(2).ip(), Server::Refuses);
    world.run(10 * SECOND);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    world.tell(Input::Reload(config(checked(tcp_server()))));
    world.run(5 * SECOND);
    assert_eq!(weights(&world), "1:1 3:1");
    world.tell(Input::Reload(config(tcp_server())));
    world.run(5 * SECOND);
    assert_eq!((weights(&world).as_str(), probe_services(&world)), ("1:1 2:1 3:1", 0));
    let asked = world.path_probes.len();
    world.run(60 * SECOND);
    assert_eq!(world.path_probes.len(), asked);
}

#[test]
fn a_server_that_answers_arp_for_the_vip_is_reported_once_and_serves_all_the_same() {
    let mut world = started(checked(tcp_server()));
    world.run(5 * SECOND);
    let leaks: ArpProblems =
        [((IpAddr::from([10, 0, 0, 1]), real(2).ip()), MacAddress([2, 0, 0, 0, 0, 9]))].into();
    for _ in 0..2 {
        world.tell(Input::ArpProblems(leaks.clone()));
    }
    assert_eq!(
        told(
            &world,
            "10.1.0.2:80 of virtual server 10.0.0.1:80 tcp answers ARP for the VIP (MAC 02:00:00:00:00:09)"
        ),
        1
    );
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    let status = world.director().unwrap().status(world.now);
    let found: Vec<_> =
        status.virtual_servers[0].real_servers.iter().map(|real| real.leak.as_deref()).collect();
    assert_eq!(found, [None, Some("answers ARP for the VIP (MAC 02:00:00:00:00:09)"), None]);
    world.tell(Input::ArpProblems(ArpProblems::new()));
    assert_eq!(told(&world, "answers ARP for the VIP no longer"), 1);
}

#[test]
fn at_rest_the_table_is_as_it_should_be_and_the_status_knows_no_ways() {
    let mut world = started(checked(tcp_server()));
    for _ in 0..200 {
        world.run(Duration::from_millis(37));
        let status = world.director().unwrap().status(world.now);
        assert_eq!(status.foreign_services, []);
        assert_eq!(status.virtual_servers.len(), 1);
        assert!(status.is_converged || !status.is_ready);
    }
    assert_eq!(world.services().len(), 1);
    let config: Arc<Config> = config(checked(tcp_server()));
    super::invariants::at_rest(&mut world, &config);
    assert_eq!(world.broken, Vec::<String>::new());
}

fn started(server: VirtualServer) -> World {
    let mut world = World::new(1);
    world.start(&config(server));
    world
}

/// With the ways of all its real servers checked.
fn checked(mut server: VirtualServer) -> VirtualServer {
    let direct = |real: &&mut Arc<RealServer>| real.forwarding == Forwarding::Dr;
    for real in server.real_servers.iter_mut().filter(direct) {
        let real = Arc::make_mut(real);
        real.path_check = Some(Arc::new(path_check(&real.checkers[0])));
    }
    server
}

/// As the real server's own check.
pub(super) fn path_check(own: &Checker) -> PathCheck {
    PathCheck {
        timing: Arc::clone(&own.spec.timing),
        connect_timeout: own.spec.target.connect_timeout,
        port: 80,
        alpha: own.alpha,
    }
}

fn probe_services(world: &World) -> usize {
    world.kernel.table().keys().filter(|key| is_probe_service(**key)).count()
}
