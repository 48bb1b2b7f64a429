//! Single situations an operator would recognise.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::world::{Server, World};
use crate::check::spec::{CheckerSpec, Question, Target, Timing};
use crate::config::{
    Checker, Config, Global, RealServer, ServerNotices, SorryServer, TimeoutOptions, VirtualServer,
    VirtualServerId,
};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::colocation::LocalAddresses;
use crate::director::event::Event;
use crate::director::io::Input;
use crate::director::pool::DRAIN_DEADLINE;
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::ipvs::backend::{Backend, Op, Scope, Snapshot};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{
    Connections, Forwarding, Persistence, Protocol, Service, ServiceFlags, ServiceKey, SyncDaemon, SyncRole,
    Timeouts, Tunnel,
};

#[test]
fn a_dead_server_leaves_and_returns() {
    let (mut world, _) = started(tcp_server());
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    let ops = world.ops.len();
    world.servers.insert(real(2), Server::Refuses);
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "1:1 3:1");
    world.servers.insert(real(2), Server::Answers);
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(world.ops.len() - ops, 2, "one operation for each change");
    assert_eq!(told(&world, "real server 10.1.0.2:80"), 2);
}

#[test]
fn a_server_that_is_dead_at_the_start_goes_after_one_failure() {
    let mut world = World::new(1);
    world.servers.insert(real(1), Server::Refuses);
    let mut server = tcp_server();
    server.real_servers.iter_mut().for_each(|r| timing(r).retry = 9);
    world.start(&config(server));
    world.run(Duration::from_millis(1100));
    assert_eq!(weights(&world), "2:1 3:1");
}

#[test]
fn a_certificate_near_its_end_is_reported_once_at_each_change_and_takes_no_server_down() {
    const DAY: Duration = Duration::from_secs(86_400);
    let mut world = World::new(1);
    world.certificates.insert(real(1), DAY * 15);
    world.certificates.insert(real(2), DAY * 13);
    world.start(&config(tcp_server()));
    let certificates = |world: &World| -> Vec<(String, &'static str)> {
        let about = world.events.iter().filter(|(_, e)| e.kind().starts_with("certificate_"));
        about.map(|(_, e)| (e.to_string(), e.kind())).collect()
    };
    let mut wanted =
        vec![("TCP_CHECK of 10.1.0.2:80: certificate expires in 13 days".to_owned(), "certificate_expiring")];
    world.run(Duration::from_secs(60));
    assert_eq!(certificates(&world), wanted);
    // A failure in between shows no certificate, and changes nothing about it.
    for (server, left, said, kind) in [
        (Server::Refuses, DAY * 13, None, ""),
        (Server::Answers, DAY * 12, None, ""),
        (Server::Answers, Duration::ZERO, Some("certificate has expired"), "certificate_expired"),
        (Server::Answers, DAY / 2, Some("certificate expires in less than a day"), "certificate_expiring"),
        (Server::Answers, DAY * 90, Some("certificate is good again, for 90 days"), "certificate_renewed"),
    ] {
        world.servers.insert(real(2), server);
        world.certificates.insert(real(2), left);
        world.run(Duration::from_secs(60));
        wanted.extend(said.map(|said| (format!("TCP_CHECK of 10.1.0.2:80: {said}"), kind)));
        assert_eq!(certificates(&world), wanted);
    }
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn the_end_of_the_certificate_last_shown_is_in_the_status_by_whom_was_asked() {
    let mut server = tcp_server();
    let mut other = edit(&mut server.real_servers[0]).checkers[0].clone();
    Arc::make_mut(&mut other.spec).log_all_failures = true;
    edit(&mut server.real_servers[0]).checkers.push(other);
    let mut world = World::new(1);
    world.certificates.insert(real(1), Duration::from_secs(86_400));
    world.start(&config(server));
    world.run(Duration::from_secs(20));
    let shown = |world: &World| -> Vec<Vec<(SocketAddr, u64)>> {
        let status = world.director().unwrap().status(world.now);
        let servers = status.virtual_servers[0].real_servers.iter();
        servers.map(|r| r.certificates.iter().map(|c| (c.target, c.not_after)).collect()).collect()
    };
    let [first, second, third] = &shown(&world)[..] else { panic!() };
    assert!(matches!(first[..], [(at, end)] if at == real(1) && end > 86_400), "{first:?}");
    assert!(second.is_empty() && third.is_empty());
    world.servers.insert(real(1), Server::Silent);
    world.run(Duration::from_secs(20));
    let before = shown(&world);
    world.run(Duration::from_secs(20));
    assert_eq!(shown(&world), before, "a server that does not answer shows none, and the one known stays");
    assert_eq!(before[0].len(), 1);
}

#[test]
fn a_server_that_cannot_be_asked_for_long_keeps_its_verdict_and_that_is_an_event_and_in_the_status() {
    let (mut world, _) = started(tcp_server());
    world.unaskable.insert(real(2));
    world.servers.insert(real(2), Server::Silent);
    world.run(Duration::from_secs(60));
    assert_eq!(weights(&world), "1:1 2:1 3:1", "its verdict is held");
    let stale: Vec<String> = world
        .events
        .iter()
        .filter(|(_, event)| event.kind() == "checker_stale")
        .map(|(_, event)| event.to_string())
        .collect();
    assert_eq!(
        stale,
        [
            "10.1.0.2:80 could not be checked for 8 s (TCP_CHECK): it still counts as up, and clients may be sent to a \
          dead server: no file descriptors left"
        ]
    );
    let unchecked = |world: &World| -> (usize, Vec<Option<String>>) {
        let status = world.director().unwrap().status(world.now);
        let reals = &status.virtual_servers[0].real_servers;
        (status.stale_checkers, reals.iter().map(|real| real.unchecked.clone()).collect())
    };
    assert_eq!(unchecked(&world), (1, vec![None, Some("no file descriptors left".to_owned()), None]));
    assert_eq!(
        world.director().unwrap().summary(world.now).to_string(),
        "1 virtual server, 3 of 3 real servers up; 1 checks cannot be made from here"
    );
    world.unaskable.clear();
    world.run(Duration::from_secs(60));
    assert_eq!(weights(&world), "1:1 3:1");
    assert_eq!(unchecked(&world), (0, vec![None, None, None]));
}

#[test]
fn an_active_director_does_not_check_direct_servers_from_the_vip_they_have() {
    let vip: IpAddr = [10, 0, 0, 1].into();
    for (forwarding, has_own) in
        [(Forwarding::Dr, true), (Forwarding::Tun(Tunnel::Ipip), true), (Forwarding::Dr, false)]
    {
        let mut server = tcp_server();
        for real in &mut server.real_servers {
            edit(real).forwarding = forwarding;
        }
        let mut world = World::new(1);
        world.prefers_vips = true;
        world.start(&config(server));
        world.run(SECONDS_TO_NOTICE);
        // It becomes active.
        if !has_own {
            world.local = LocalAddresses::default();
        }
        world.local.on_network.insert(vip);
        world.local.own.insert(vip);
        world.tell(Input::LocalAddresses(world.local.clone()));
        world.run(Duration::from_secs(30));
        assert_eq!(weights(&world), "1:1 2:1 3:1", "{forwarding:?} {has_own}");
        let is_said = world.events.iter().any(|(_, event)| event.kind() == "checker_stale");
        assert_eq!(is_said, !has_own, "only a host without another address cannot check them");
    }
}

#[test]
fn a_real_server_of_a_firewall_mark_is_found_by_the_port_it_was_written_with() {
    let mut server = tcp_server();
    server.id = VirtualServerId::Fwmark { family: crate::ipvs::types::Family::Inet, mark: 7 };
    for real in &mut server.real_servers {
        let real = edit(real);
        real.written_port = 443;
        real.address.set_port(0);
    }
    let mut world = World::new(1);
    world.start(&config(server));
    world.run(SECONDS_TO_NOTICE);
    for (text, found) in [("10.1.0.2:443", 1), ("10.1.0.2:0", 1), ("10.1.0.2", 1), ("10.1.0.2:80", 0)] {
        let selector: Selector = text.parse().unwrap();
        let histories = world.director().unwrap().histories(world.now, &selector);
        assert_eq!(histories.len(), found, "{text}");
        assert!(
            histories.iter().all(|history| history.status.name().to_string() == "10.1.0.2:443"),
            "{histories:?}"
        );
    }
    world
        .tell(Input::Override { selector: "10.1.0.2:443".parse().unwrap(), change: OverrideChange::Disable });
    world.run(SECONDS_TO_NOTICE);
    assert!(
        world.director().unwrap().status(world.now).virtual_servers[0].real_servers[1]
            .kernel_weight
            .is_none_or(|weight| weight == 0)
    );
}

#[test]
fn an_inhibited_server_stays_with_weight_0() {
    let mut server = tcp_server();
    edit(&mut server.real_servers[0]).inhibit_on_failure = true;
    let (mut world, _) = started(server);
    world.servers.insert(real(1), Server::Silent);
    world.run(Duration::from_secs(20));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
}

#[test]
fn an_alpha_server_waits_for_its_first_pass() {
    let mut server = tcp_server();
    for real in &mut server.real_servers {
        edit(real).checkers[0].alpha = true;
        timing(real).warmup = Some(Duration::ZERO);
    }
    let mut world = World::new(1);
    world.servers.insert(real(3), Server::Silent);
    world.start(&config(server));
    world.run(Duration::from_secs(20));
    assert_eq!(weights(&world), "1:1 2:1");
    let added = |op: &Op| matches!(op, Op::AddDestination(_, at, _) if *at == real(3));
    assert!(!world.ops.iter().any(|(_, op)| added(op)), "not even for a moment");
}

#[test]
fn the_sorry_server_serves_only_while_quorum_is_lost() {
    let mut server = tcp_server();
    server.quorum = 2;
    server.sorry_server = Some(SorryServer { address: real(9), forwarding: Forwarding::Dr, inhibit: false });
    let (mut world, _) = started(server);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    world.servers.insert(real(1), Server::Refuses);
    world.servers.insert(real(2), Server::Refuses);
    world.kernel.set_connections(&key(), &real(3), busy());
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "3:0 9:1", "the healthy one below quorum keeps its connections");
    world.kernel.set_connections(&key(), &real(3), Connections::default());
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "9:1");
    world.servers.clear();
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn a_sorry_server_that_is_a_real_server_is_one_destination() {
    let mut server = tcp_server();
    server.sorry_server = Some(SorryServer { address: real(3), forwarding: Forwarding::Dr, inhibit: true });
    let (mut world, _) = started(server);
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    for n in 1..=3 {
        world.servers.insert(real(n), Server::Refuses);
    }
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "3:1");
}

#[test]
fn a_removed_server_serves_its_last_connections_first() {
    let (mut world, full) = started(tcp_server());
    let mut shorter = full.virtual_servers[0].clone();
    shorter.real_servers.remove(0);
    world.kernel.set_connections(&key(), &real(1), busy());
    world.tell(Input::Reload(config(shorter)));
    world.run(Duration::from_secs(60));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.kernel.set_connections(&key(), &real(1), Connections::default());
    world.run(Duration::from_secs(4));
    assert_eq!(weights(&world), "2:1 3:1");
}

#[test]
fn connections_that_never_end_are_cut_at_the_deadline() {
    let (mut world, full) = started(tcp_server());
    let mut shorter = full.virtual_servers[0].clone();
    shorter.real_servers.remove(0);
    world.kernel.set_connections(&key(), &real(1), busy());
    world.tell(Input::Reload(config(shorter)));
    world.run(DRAIN_DEADLINE - Duration::from_secs(1));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.run(Duration::from_secs(2));
    assert_eq!(weights(&world), "2:1 3:1");
}

#[test]
fn udp_and_mh_without_fallback_let_go_at_once() {
    let mut udp = tcp_server();
    udp.id = VirtualServerId::Address { protocol: Protocol::Udp, address: [10, 0, 0, 1].into(), port: 80 };
    let mut mh = tcp_server();
    mh.scheduler = Scheduler::new("mh").unwrap();
    let mut fallback = mh.clone();
    fallback.flags = ServiceFlags::SCHED1;
    for (server, expected) in [(udp, "2:1 3:1"), (mh, "2:1 3:1"), (fallback, "1:0 2:1 3:1")] {
        let (mut world, full) = started(server);
        let mut shorter = full.virtual_servers[0].clone();
        shorter.real_servers.remove(0);
        let service = *world.kernel.table().keys().next().unwrap();
        world.kernel.set_connections(&service, &real(1), busy());
        world.tell(Input::Reload(config(shorter)));
        world.run(Duration::from_millis(100));
        assert_eq!(weights(&world), expected);
    }
}

#[test]
fn after_a_crash_servers_that_were_down_stay_down_and_those_that_were_up_stay_up() {
    let mut server = tcp_server();
    edit(&mut server.real_servers[2]).checkers[0].alpha = true;
    server.real_servers.iter_mut().for_each(|r| timing(r).warmup = Some(Duration::ZERO));
    let (mut world, config) = started(server);
    world.servers.insert(real(1), Server::Silent);
    world.run(Duration::from_secs(20));
    assert_eq!(weights(&world), "2:1 3:1");
    world.crash();
    let ops = world.ops.len();
    for n in 1..=3 {
        world.servers.insert(real(n), Server::Silent);
    }
    world.start(&config);
    world.run(Duration::from_millis(500));
    assert_eq!(weights(&world), "2:1 3:1", "before any probe has ended");
    assert_eq!(world.ops.len(), ops, "the table is right already");
    let status = world.director().unwrap().status(world.now);
    assert_eq!(status.virtual_servers[0].real_servers[0].reason, "TCP_CHECK: no answer");
}

#[test]
fn a_changed_time_limit_never_revives_a_dead_server() {
    let (mut world, full) = started(tcp_server());
    world.servers.insert(real(1), Server::Silent);
    world.run(Duration::from_secs(20));
    let mut changed = full.virtual_servers[0].clone();
    for real in &mut changed.real_servers {
        spec(real).target.connect_timeout = Duration::from_secs(7);
        edit(real).checkers[0].alpha = true;
    }
    let ops = world.ops.len();
    world.tell(Input::Reload(config(changed)));
    world.run(Duration::from_secs(30));
    assert_eq!(world.ops.len(), ops, "dead stays dead, healthy stays");
}

#[test]
fn recovery_after_a_failed_apply_is_faster_than_the_slow_sweep() {
    let (mut world, _) = started(tcp_server());
    world.fault_rate = 100;
    world.servers.insert(real(2), Server::Refuses);
    world.run(Duration::from_secs(60));
    world.fault_rate = 0;
    world.run(SECONDS_TO_NOTICE + SWEEP_INTERVAL / 2);
    assert_eq!(weights(&world), "1:1 3:1");
}

#[test]
fn a_missing_scheduler_degrades_one_service_until_it_is_there() {
    let mut other = tcp_server();
    other.id = VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 2].into(), port: 80 };
    other.scheduler = Scheduler::new("twos").unwrap();
    let mut world = World::new(1);
    world.kernel.set_scheduler("twos", false);
    let config = Config { virtual_servers: vec![tcp_server(), other.clone()], ..Config::default() };
    world.start(&Arc::new(config));
    world.run(Duration::from_secs(60));
    assert_eq!(world.kernel.table().len(), 1);
    assert_eq!(told(&world, "no scheduler twos"), 1, "once, not at every attempt");
    assert_eq!(told(&world, "ready"), 1);
    let status = world.director().unwrap().status(world.now);
    assert!(status.virtual_servers[1].degraded.as_ref().unwrap().contains("ip_vs_twos"));
    world.kernel.set_scheduler("twos", true);
    world.run(Duration::from_secs(6));
    assert_eq!(world.kernel.table().len(), 2);
    assert_eq!(told(&world, "whole again"), 1);
}

#[test]
fn a_request_for_the_kernel_as_it_is_now_gets_what_was_read_after_it() {
    let (mut world, _) = started(tcp_server());
    world.run(Duration::from_secs(25));
    let age = |world: &World| world.director().unwrap().status(world.now).read_seconds;
    for _ in 0..3 {
        world.run(Duration::from_secs(4));
        let asked = world.now;
        world.tell(Input::ReadKernel);
        world.run(Duration::from_millis(200));
        let read_at = world.director().unwrap().read_at().unwrap();
        assert!(read_at >= asked, "{read_at:?} {asked:?}");
        assert_eq!(age(&world), Some(0));
    }
    world.run(Duration::from_secs(8));
    assert_eq!(age(&world), Some(8), "the next one is not due yet, and its age is told");
}

#[test]
fn a_strangers_edits_are_put_right_named_and_counted() {
    let (mut world, _) = started(tcp_server());
    world.kernel.apply(&[Op::RemoveDestination(key(), real(1))]).unwrap();
    world.run(SWEEP_INTERVAL + Duration::from_secs(1));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(told(&world, "destination 10.1.0.1:80 was deleted"), 1);
    world.kernel.apply(&[Op::RemoveService(key())]).unwrap();
    world.run(SWEEP_INTERVAL + Duration::from_secs(1));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    let status = world.director().unwrap().status(world.now);
    assert_eq!(status.drift_repaired, 2);
    let last = status.last_drift.unwrap();
    assert_eq!(
        (last.virtual_server.to_string(), last.what),
        ("10.0.0.1:80 tcp".into(), "the service was deleted".into())
    );
    assert!(last.seconds_ago <= SWEEP_INTERVAL.as_secs(), "{} s", last.seconds_ago);
}

#[test]
fn another_programs_change_of_many_servers_is_reported_in_few_words() {
    let crowd = VirtualServer { real_servers: (1..=60).map(real_server).collect(), ..tcp_server() };
    let (mut world, _) = started(crowd);
    let removals: Vec<_> = (1..=50).map(|n| Op::RemoveDestination(key(), real(n))).collect();
    world.kernel.apply(&removals).unwrap();
    world.run(SWEEP_INTERVAL + Duration::from_secs(1));
    let what = world.director().unwrap().status(world.now).last_drift.unwrap().what;
    assert!(what.ends_with("destination 10.1.0.8:80 was deleted, and 42 more changes"), "{what}");
}

#[test]
fn a_foreign_service_is_reported_and_left_alone_unless_flush_is_asked_for() {
    for flush in [false, true] {
        let mut world = World::new(1);
        let foreign = ServiceKey::Fwmark { family: crate::ipvs::types::Family::Inet, mark: 7 };
        world.kernel.apply(&[Op::AddService(foreign, rr())]).unwrap();
        let global = Global { flush, ..Global::default() };
        world.start(&Arc::new(Config { global, virtual_servers: vec![tcp_server()], ..Config::default() }));
        world.run(Duration::from_secs(20));
        assert_eq!(world.kernel.table().contains_key(&foreign), !flush);
        assert_eq!(told(&world, "not in the configuration"), usize::from(!flush));
        assert_eq!(weights(&world), "1:1 2:1 3:1");
    }
}

#[test]
fn a_foreign_service_that_gets_configured_is_taken_over_without_a_gap() {
    let mut world = World::new(1);
    world.kernel.apply(&[Op::AddService(key(), rr())]).unwrap();
    world.start(&Arc::new(Config::default()));
    world.run(Duration::from_secs(20));
    world.tell(Input::Reload(config(tcp_server())));
    world.run(Duration::from_secs(1));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert!(!world.ops.iter().any(|(_, op)| matches!(op, Op::AddService(..) | Op::RemoveService(_))));
    assert_eq!(told(&world, "adopted"), 1);
    assert_eq!(world.director().unwrap().status(world.now).services_adopted, 1);
}

#[test]
fn services_left_by_a_predecessor_and_configured_no_more_are_removed() {
    let (mut world, _) = started(tcp_server());
    world.crash();
    world.start(&Arc::new(Config::default()));
    world.run(Duration::from_secs(5));
    assert!(world.kernel.table().is_empty());
    assert!(world.saved().owned.is_empty());
}

#[test]
fn timeouts_and_sync_daemons_are_set_and_put_back() {
    let mut world = World::new(1);
    let daemon = sync_daemon(SyncRole::Master);
    let timeouts = TimeoutOptions { tcp: Some(77), tcp_fin: Some(0), udp: None };
    let global = Global { timeouts, sync_daemons: vec![daemon], ..Global::default() };
    world.start(&Arc::new(Config { global, virtual_servers: vec![tcp_server()], ..Config::default() }));
    world.run(Duration::from_secs(5));
    assert_eq!(settings(&mut world), (Timeouts { tcp: 77, tcp_fin: 120, udp: 300 }, 1));
    assert_eq!(told(&world, "ready"), 1);
    world.crash();
    world.start(&config(tcp_server()));
    world.run(Duration::from_secs(5));
    assert_eq!(settings(&mut world), (Timeouts { tcp: 900, tcp_fin: 120, udp: 300 }, 0));
}

#[test]
fn a_stop_removes_what_is_ours_and_says_so() {
    let (mut world, _) = started(tcp_server());
    world.tell(Input::Stop);
    world.run(Duration::from_secs(1));
    assert_eq!(world.finished, Some(true));
    assert!(world.kernel.table().is_empty());
}

#[test]
fn a_stop_that_the_kernel_blocks_ends_all_the_same_and_remembers_what_is_left() {
    let (mut world, _) = started(tcp_server());
    world.fault_rate = 100;
    world.tell(Input::Stop);
    world.run(Duration::from_secs(11));
    assert_eq!(world.finished, Some(false));
    assert_eq!(world.saved().owned.len(), 1);
}

#[test]
fn a_shared_checker_asks_once_for_two_virtual_servers() {
    let mut other = tcp_server();
    other.id = VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 2].into(), port: 80 };
    let mut world = World::new(1);
    world.start(&Arc::new(Config { virtual_servers: vec![tcp_server(), other], ..Config::default() }));
    world.run(Duration::from_secs(1));
    assert_eq!(world.director().unwrap().status(world.now).checkers, 3);
    world.servers.insert(real(1), Server::Refuses);
    world.run(SECONDS_TO_NOTICE);
    assert!(world.kernel.table().values().all(|s| !s.destinations.contains_key(&real(1))));
}

#[test]
fn a_local_failure_is_told_and_changes_no_verdict() {
    let (mut world, _) = started(tcp_server());
    world.fault_rate = 100;
    world.run(Duration::from_secs(30));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
    assert_eq!(told(&world, "cannot run here"), 3);
    world.fault_rate = 0;
    world.run(Duration::from_secs(30));
    assert_eq!(told(&world, "runs again"), 3);
    assert_eq!(told(&world, "is down"), 0);
}

#[test]
fn a_drained_server_keeps_its_connections_until_they_end() {
    let (mut world, _) = started(tcp_server());
    world.kernel.set_connections(&key(), &real(1), busy());
    order(&mut world, 1, OverrideChange::Drain { limit: Duration::from_secs(60) });
    world.run(Duration::from_secs(30));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.kernel.set_connections(&key(), &real(1), Connections::default());
    world.run(Duration::from_secs(4));
    assert_eq!(weights(&world), "2:1 3:1");
    assert_eq!(told(&world, "has left"), 1);
    order(&mut world, 1, OverrideChange::Undrain);
    world.run(Duration::from_millis(100));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn a_drained_server_stays_until_the_kernel_has_forgotten_its_closed_connections() {
    let (mut world, _) = started(tcp_server());
    let closed = Connections { active: 0, inactive: 7, persistent: 0 };
    world.kernel.set_connections(&key(), &real(1), closed);
    order(&mut world, 1, OverrideChange::Drain { limit: Duration::from_secs(600) });
    world.run(Duration::from_secs(120));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.kernel.set_connections(&key(), &real(1), Connections::default());
    world.run(Duration::from_secs(4));
    assert_eq!(weights(&world), "2:1 3:1");
}

#[test]
fn a_drain_ends_at_the_operators_deadline_and_says_what_it_cut() {
    let (mut world, _) = started(tcp_server());
    world.kernel.set_connections(&key(), &real(1), busy());
    order(&mut world, 1, OverrideChange::Drain { limit: Duration::from_secs(20) });
    world.run(Duration::from_secs(19));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.run(Duration::from_secs(2));
    assert_eq!(weights(&world), "2:1 3:1");
    assert_eq!(told(&world, "4 connections cut at the deadline"), 1);
}

#[test]
fn a_disabled_server_goes_at_once_and_stays_away_whatever_its_health() {
    let mut server = tcp_server();
    edit(&mut server.real_servers[0]).inhibit_on_failure = true;
    let (mut world, _) = started(server);
    world.kernel.set_connections(&key(), &real(1), busy());
    order(&mut world, 1, OverrideChange::Disable);
    world.run(Duration::from_secs(10));
    assert_eq!(weights(&world), "2:1 3:1");
    order(&mut world, 1, OverrideChange::Enable);
    world.run(Duration::from_millis(100));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn orders_survive_reload_and_crash_and_a_drain_its_connections() {
    let (mut world, config) = started(tcp_server());
    world.kernel.set_connections(&key(), &real(1), busy());
    order(&mut world, 1, OverrideChange::Drain { limit: Duration::from_secs(600) });
    order(&mut world, 2, OverrideChange::Weight(Some(7)));
    order(&mut world, 3, OverrideChange::Disable);
    world.run(Duration::from_secs(5));
    assert_eq!(weights(&world), "1:0 2:7");
    let ops = world.ops.len();
    world.tell(Input::Reload(Arc::new(Config::clone(&config))));
    world.run(Duration::from_secs(5));
    world.crash();
    world.start(&config);
    world.run(Duration::from_secs(30));
    assert_eq!(weights(&world), "1:0 2:7", "the drained one still serves its connections");
    assert_eq!(world.ops.len(), ops);
    order(&mut world, 2, OverrideChange::Weight(None));
    world.run(Duration::from_millis(100));
    assert_eq!(weights(&world), "1:0 2:1");
}

#[test]
fn an_order_ends_with_its_server() {
    let (mut world, full) = started(tcp_server());
    order(&mut world, 1, OverrideChange::Disable);
    let mut shorter = full.virtual_servers[0].clone();
    shorter.real_servers.remove(0);
    world.tell(Input::Reload(config(shorter)));
    world.run(Duration::from_secs(5));
    world.tell(Input::Reload(full));
    world.run(Duration::from_secs(5));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn draining_the_last_server_brings_the_sorry_server() {
    let mut server = tcp_server();
    server.real_servers.truncate(1);
    server.sorry_server = Some(SorryServer { address: real(9), forwarding: Forwarding::Dr, inhibit: false });
    let (mut world, _) = started(server);
    world.kernel.set_connections(&key(), &real(1), busy());
    order(&mut world, 1, OverrideChange::Drain { limit: Duration::from_secs(60) });
    world.run(Duration::from_secs(1));
    assert_eq!(weights(&world), "1:0 9:1");
}

#[test]
fn a_predecessors_removed_server_goes_on_draining_after_a_crash() {
    let (mut world, full) = started(tcp_server());
    let mut shorter = full.virtual_servers[0].clone();
    shorter.real_servers.remove(0);
    let shorter = config(shorter);
    world.kernel.set_connections(&key(), &real(1), busy());
    world.tell(Input::Reload(Arc::clone(&shorter)));
    world.run(Duration::from_secs(10));
    world.crash();
    world.start(&shorter);
    world.run(DRAIN_DEADLINE - Duration::from_secs(15));
    assert_eq!(weights(&world), "1:0 2:1 3:1");
    world.run(Duration::from_secs(10));
    assert_eq!(weights(&world), "2:1 3:1", "at the old deadline, not a new one");
}

#[test]
fn a_server_that_flaps_must_prove_itself_where_rise_asks_for_it() {
    let mut server = tcp_server();
    timing(&mut server.real_servers[0]).rise = 3;
    let (mut world, _) = started(server);
    world.servers.insert(real(1), Server::Refuses);
    world.run(SECONDS_TO_NOTICE);
    world.servers.insert(real(1), Server::Answers);
    world.run(SECONDS_TO_NOTICE);
    assert_eq!(weights(&world), "2:1 3:1");
    world.run(Duration::from_secs(4));
    assert_eq!(weights(&world), "1:1 2:1 3:1");
}

#[test]
fn while_a_server_leaves_a_persistent_service_its_clients_are_sent_elsewhere() {
    let persistent =
        VirtualServer { persistence: Some(Persistence { timeout: 50, prefix: 32 }), ..tcp_server() };
    let drain = OverrideChange::Drain { limit: Duration::from_secs(60) };
    for (server, change, is_wanted) in [
        (&persistent, drain, true),
        (&tcp_server(), drain, false),
        (&persistent, OverrideChange::Weight(Some(0)), false),
        (&persistent, OverrideChange::Disable, false),
    ] {
        let (mut world, config) = started(server.clone());
        assert!(world.kernel.set_connections(&key(), &real(2), busy()));
        order(&mut world, 2, change);
        assert_eq!(world.expires_templates, is_wanted, "{change:?}");
        let since = world.trace.iter().position(|line| line.contains("ExpireTemplates"));
        let lowered = world.trace.iter().position(|line| line.contains("weight: 0"));
        assert!(!is_wanted || since < lowered, "before the weight is lowered");
        world.run(Duration::from_secs(5));
        // A successor that starts meanwhile goes on, from before its first reading of the kernel.
        world.tell(Input::HandOver);
        world.run(Duration::from_secs(1));
        world.start(&config);
        assert_eq!(world.expires_templates, is_wanted, "{change:?}");
        world.run(Duration::from_secs(5));
        assert_eq!(world.expires_templates, is_wanted, "{change:?}");
        world.run(Duration::from_secs(60));
        assert!(!world.expires_templates, "{change:?}: it has left");
    }
    // A reload takes a server out.
    let (mut world, _) = started(persistent.clone());
    assert!(world.kernel.set_connections(&key(), &real(2), busy()));
    let mut fewer = persistent;
    fewer.real_servers.remove(1);
    world.tell(Input::Reload(config(fewer)));
    assert!(world.expires_templates);
}

#[test]
fn a_server_that_leaves_keeps_its_connections_though_two_lives_end_before_they_have_looked() {
    let (mut world, config) = started(tcp_server());
    assert!(world.kernel.set_connections(&key(), &real(2), busy()));
    order(&mut world, 2, OverrideChange::Drain { limit: Duration::from_secs(60) });
    world.run(Duration::from_secs(5));
    for _ in 0..3 {
        world.crash();
        world.start(&config);
    }
    world.run(Duration::from_secs(1));
    // The third one is saved again as soon as it has looked.
    world.crash();
    world.start(&config);
    world.run(Duration::from_secs(40));
    assert_eq!(weights(&world), "1:1 2:0 3:1");
    world.run(Duration::from_secs(20));
    assert_eq!(weights(&world), "1:1 3:1");
}

#[test]
fn a_save_that_fails_is_tried_again_sooner_than_the_next_one_is_due() {
    let (mut world, _) = started(tcp_server());
    world.failing_saves = 4;
    let begun = world.now;
    order(&mut world, 1, OverrideChange::Disable);
    world.run(Duration::from_secs(20));
    let after: Vec<u64> = world.failed_saves.iter().map(|at| at.since(begun).as_secs()).collect();
    assert_eq!(after, [0, 1, 3, 7], "at once, and then with growing pauses");
    assert_eq!(world.saved().overrides.len(), 1);
}

fn order(world: &mut World, n: u8, change: OverrideChange) {
    let selector = Selector { address: real(n).ip(), port: None, virtual_server: None };
    world.tell(Input::Override { selector, change });
}

fn edit(real: &mut Arc<RealServer>) -> &mut RealServer {
    Arc::make_mut(real)
}

pub(super) fn spec(real: &mut Arc<RealServer>) -> &mut CheckerSpec {
    Arc::make_mut(&mut edit(real).checkers[0].spec)
}

fn timing(real: &mut Arc<RealServer>) -> &mut Timing {
    Arc::make_mut(&mut spec(real).timing)
}

/// Interval 2 s, one retry after 1 s, and a little.
pub(super) const SECONDS_TO_NOTICE: Duration = Duration::from_secs(4);

pub(super) fn started(server: VirtualServer) -> (World, Arc<Config>) {
    let mut world = World::new(1);
    let config = config(server);
    world.start(&config);
    world.run(Duration::from_secs(5));
    assert_eq!(told(&world, "ready"), 1);
    assert_eq!(world.broken, Vec::<String>::new());
    (world, config)
}

/// One of IPVS' sync daemons, at eth0.
pub(super) fn sync_daemon(role: SyncRole) -> SyncDaemon {
    SyncDaemon {
        role,
        interface: "eth0".to_owned(),
        sync_id: 5,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    }
}

pub(super) fn config(server: VirtualServer) -> Arc<Config> {
    Arc::new(Config { virtual_servers: vec![server], ..Config::default() })
}

pub(in crate::director) fn tcp_server() -> VirtualServer {
    VirtualServer {
        id: VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port: 80 },
        scheduler: Scheduler::new("rr").unwrap(),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
        quorum: 1,
        hysteresis: 0,
        sorry_server: None,
        real_servers: (1..=3).map(real_server).collect(),
        checks_need_vip: false,
        notices: ServerNotices::default(),
    }
}

pub(in crate::director) fn real_server(n: u8) -> Arc<RealServer> {
    let target = Target { address: real(n), source: None, connect_timeout: Duration::from_secs(3) };
    let timing = Timing {
        interval: Duration::from_secs(2),
        retry: 1,
        delay_before_retry: Duration::from_secs(1),
        confirm: None,
        rise: 1,
        warmup: None,
    };
    let spec =
        CheckerSpec { target, question: Question::Tcp, timing: Arc::new(timing), log_all_failures: false };
    Arc::new(RealServer {
        written_port: 80,
        address: real(n),
        forwarding: Forwarding::Dr,
        weight: 1,
        inhibit_on_failure: false,
        upper_threshold: 0,
        lower_threshold: 0,
        checkers: vec![Checker { spec: Arc::new(spec), alpha: false }],
        path_check: None,
        commands: None,
        is_mailed: false,
    })
}

pub(super) fn real(n: u8) -> SocketAddr {
    SocketAddr::new([10, 1, 0, n].into(), 80)
}

pub(super) fn key() -> ServiceKey {
    ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port: 80 }
}

pub(super) fn rr() -> Service {
    Service {
        scheduler: Scheduler::new("rr").unwrap(),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}

fn busy() -> Connections {
    Connections { active: 4, inactive: 0, persistent: 0 }
}

/// The only service's destinations as `last octet:weight`.
pub(super) fn weights(world: &World) -> String {
    let entry = world.kernel.table().values().next().expect("a service");
    let one = |(at, d): (&SocketAddr, &crate::ipvs::types::DestinationEntry)| match at {
        SocketAddr::V4(v4) => format!("{}:{}", v4.ip().octets()[3], d.destination.weight),
        SocketAddr::V6(_) => unreachable!("no IPv6 here"),
    };
    entry.destinations.iter().map(one).collect::<Vec<_>>().join(" ")
}

pub(super) fn told(world: &World, words: &str) -> usize {
    let says = |event: &Event| event.to_string().contains(words);
    world.events.iter().filter(|(_, event)| says(event)).count()
}

fn settings(world: &mut World) -> (Timeouts, usize) {
    match world.kernel.snapshot(&Scope::Settings) {
        Ok(Snapshot::Settings(settings)) => (settings.timeouts, settings.sync_daemons.len()),
        other => panic!("{other:?}"),
    }
}
