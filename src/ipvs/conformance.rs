//! What every backend must do: one suite, passed by the kernel and by the imitation of it.
//!
//! It writes everything the types can express and reads it back, and provokes every refusal. It needs a
//! table of its own (a fresh network namespace), which it leaves empty. The lab runs it against the kernel,
//! a unit test against memory; where the two differ, the kernel is right.

mod suite;

use std::net::{IpAddr, SocketAddr};

use self::suite::*;
use super::backend::{Backend, Op};
use super::scheduler::SCHEDULERS;
use super::types::{
    Destination, Family, Forwarding, Persistence, Protocol, Service, ServiceFlags, ServiceKey, SyncDaemon,
    SyncRole, Timeouts, Tunnel, TunnelChecksum,
};

/// Runs the suite. `interface` is a link that is up, has an IPv4 and an IPv6 address and can multicast (not `lo`).
///
/// # Errors
/// The first claim that does not hold, in words; otherwise the number of claims that do.
pub fn run(backend: &mut dyn Backend, interface: &str) -> Result<usize, String> {
    let mut suite = Suite { backend, claims: 0 };
    suite.claim(suite_is_alone, "the table is empty at the start")?;
    for (name, part) in PARTS {
        part(&mut suite).map_err(|e| format!("{name}: {e}"))?;
        suite.clear().map_err(|e| format!("{name}: cleaning up: {e}"))?;
    }
    sync_daemons(&mut suite, interface).map_err(|e| format!("sync daemons: {e}"))?;
    suite.clear().map_err(|e| format!("sync daemons: cleaning up: {e}"))?;
    Ok(suite.claims)
}

type Part = fn(&mut Suite<'_>) -> Outcome;

/// Every part but the sync daemons', which needs a link.
const PARTS: &[(&str, Part)] = &[
    ("keys", keys),
    ("schedulers", schedulers),
    ("flags", flags),
    ("persistence", persistence),
    ("changing a service", changing_a_service),
    ("forwarding", forwarding),
    ("mixed families", mixed_families),
    ("changing a destination", changing_a_destination),
    ("refusals about services", refusals_about_services),
    ("refusals about destinations", refusals_about_destinations),
    ("removal", removal),
    ("order", order),
    ("batches", batches),
    ("a large service", a_large_service),
    ("timeouts", timeouts),
    ("information", information),
];

fn keys(suite: &mut Suite<'_>) -> Outcome {
    let mut all = Vec::new();
    for address in [V4, V6] {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            all.push(service_key(protocol, address, 80));
            all.push(service_key(protocol, address, 65535));
        }
    }
    for family in [Family::Inet, Family::Inet6] {
        all.push(ServiceKey::Fwmark { family, mark: 1 });
        all.push(ServiceKey::Fwmark { family, mark: u32::MAX });
    }
    all.sort_unstable();
    for key in &all {
        suite.accept(&[Op::AddService(*key, plain())])?;
        suite.reads_service(key, &plain())?;
    }
    let listed = suite.keys()?;
    suite.same("the keys", &listed, &all)?;
    // Port 0 is every port; the kernel leaves it to the user to make such a service persistent.
    let any_port = service_key(Protocol::Tcp, V4, 0);
    let persistent = Service { persistence: Some(Persistence { timeout: 60, prefix: 32 }), ..plain() };
    suite.accept(&[Op::AddService(any_port, persistent.clone())])?;
    suite.reads_service(&any_port, &persistent)
}

fn schedulers(suite: &mut Suite<'_>) -> Outcome {
    let key = tcp(V4);
    let mut present = 0usize;
    for known in SCHEDULERS {
        let service = Service { scheduler: scheduler(known.name)?, ..plain() };
        match suite.apply(&[Op::AddService(key, service.clone())])?.as_slice() {
            [] => {
                present = present.saturating_add(1);
                suite.reads_service(&key, &service)?;
                suite.accept(&[Op::RemoveService(key)])?;
            }
            [(0, NOENT)] => suite.reads_absent(&key)?,
            other => return Err(format!("adding a {} service: refused with {other:?}", known.name)),
        }
    }
    suite.claim(move |_| Ok(present >= 2), "the kernel has at least two schedulers")?;
    let unknown = Service { scheduler: scheduler("nosuchscheduler")?, ..plain() };
    suite.refuse(Op::AddService(key, unknown.clone()), NOENT)?;
    suite.accept(&[Op::AddService(key, plain())])?;
    suite.refuse(Op::SetService(key, unknown), NOENT)?;
    suite.reads_service(&key, &plain())?;
    let none = Service { scheduler: scheduler("none")?, ..plain() };
    suite.accept(&[Op::SetService(key, none.clone())])?;
    suite.reads_service(&key, &none)
}

fn flags(suite: &mut Suite<'_>) -> Outcome {
    let key = service_key(Protocol::Udp, V4, 53);
    suite.accept(&[Op::AddService(key, plain())])?;
    let single = [ServiceFlags::ONE_PACKET, ServiceFlags::SCHED1, ServiceFlags::SCHED2, ServiceFlags::SCHED3];
    for flags in single.into_iter().chain([ServiceFlags::USER, ServiceFlags::default()]) {
        let service = Service { flags, ..plain() };
        suite.accept(&[Op::SetService(key, service.clone())])?;
        suite.reads_service(&key, &service)?;
    }
    // Bits that are the kernel's own are neither written nor read.
    suite.accept(&[Op::SetService(key, Service { flags: ServiceFlags(u32::MAX), ..plain() })])?;
    suite.reads_service(&key, &Service { flags: ServiceFlags::USER, ..plain() })
}

fn persistence(suite: &mut Suite<'_>) -> Outcome {
    for (address, prefixes) in [(V4, [1, 8, 24, 31, 32]), (V6, [1, 48, 64, 127, 128])] {
        let key = tcp(address);
        suite.accept(&[Op::AddService(key, plain())])?;
        for prefix in prefixes {
            for timeout in [1, 360, 2_678_400] {
                let service = Service { persistence: Some(Persistence { timeout, prefix }), ..plain() };
                suite.accept(&[Op::SetService(key, service.clone())])?;
                suite.reads_service(&key, &service)?;
            }
        }
        suite.accept(&[Op::SetService(key, plain())])?;
        suite.reads_service(&key, &plain())?;
        let too_long = Persistence { timeout: 60, prefix: key.family().host_prefix() + 1 };
        suite.refuse(Op::SetService(key, Service { persistence: Some(too_long), ..plain() }), INVAL)?;
        suite.reads_service(&key, &plain())?;
    }
    let zero = Service { persistence: Some(Persistence { timeout: 60, prefix: 0 }), ..plain() };
    suite.refuse(Op::SetService(tcp(V6), zero), INVAL)?;
    // The engine `sip` is a module a kernel may lack.
    let key = service_key(Protocol::Udp, V4, 5060);
    let sip = Service {
        persistence: Some(Persistence { timeout: 60, prefix: 32 }),
        persistence_engine: Some("sip".into()),
        ..plain()
    };
    match suite.apply(&[Op::AddService(key, sip.clone())])?.as_slice() {
        [] => {
            suite.reads_service(&key, &sip)?;
            let without = Service { persistence_engine: None, ..sip };
            suite.accept(&[Op::SetService(key, without.clone())])?;
            suite.reads_service(&key, &without)
        }
        [(0, NOENT)] => suite.reads_absent(&key),
        other => Err(format!("adding a service with the engine sip: refused with {other:?}")),
    }
}

fn changing_a_service(suite: &mut Suite<'_>) -> Outcome {
    for key in [tcp(V4), tcp(V6), ServiceKey::Fwmark { family: Family::Inet6, mark: 7 }] {
        let at = destination_key(key.family(), 1);
        suite.accept(&[Op::AddService(key, plain()), Op::AddDestination(key, at, weight(3))])?;
        let persistence = Some(Persistence { timeout: 60, prefix: 16 });
        let changes = [
            Service { scheduler: scheduler("wrr")?, ..plain() },
            Service { flags: ServiceFlags::SCHED1, ..plain() },
            Service { persistence, ..plain() },
            plain(),
        ];
        for service in changes {
            suite.accept(&[Op::SetService(key, service.clone())])?;
            suite.reads(&key, &service, &[(at, weight(3))])?;
        }
    }
    Ok(())
}

fn forwarding(suite: &mut Suite<'_>) -> Outcome {
    let mut methods = vec![Forwarding::Nat, Forwarding::Dr, Forwarding::Local, Forwarding::Bypass];
    methods.push(Forwarding::Tun(Tunnel::Ipip));
    for checksum in [TunnelChecksum::None, TunnelChecksum::Checksum, TunnelChecksum::Remote] {
        methods.push(Forwarding::Tun(Tunnel::Gue { port: 5555, checksum }));
        methods.push(Forwarding::Tun(Tunnel::Gre { checksum }));
    }
    for key in [tcp(V4), tcp(V6)] {
        suite.accept(&[Op::AddService(key, plain())])?;
        let mut all = Vec::new();
        for (n, forwarding) in (1..).zip(&methods) {
            all.push((
                destination_key(key.family(), n),
                Destination { forwarding: *forwarding, ..weight(1) },
            ));
        }
        let ops: Vec<Op> = all.iter().map(|(at, d)| Op::AddDestination(key, *at, *d)).collect();
        suite.accept(&ops)?;
        suite.reads(&key, &plain(), &all)?;
        // Each method becomes each other one.
        for turn in 1..methods.len() {
            for (i, (at, d)) in all.iter_mut().enumerate() {
                d.forwarding = *methods.iter().cycle().nth(i + turn).ok_or("no forwarding method")?;
                suite.accept(&[Op::SetDestination(key, *at, *d)])?;
            }
            suite.reads(&key, &plain(), &all)?;
        }
        let no_port = Forwarding::Tun(Tunnel::Gue { port: 0, checksum: TunnelChecksum::None });
        let no_port = Destination { forwarding: no_port, ..weight(1) };
        suite.refuse(Op::AddDestination(key, destination_key(key.family(), 99), no_port), INVAL)?;
        suite.refuse(Op::SetDestination(key, destination_key(key.family(), 1), no_port), INVAL)?;
    }
    Ok(())
}

fn mixed_families(suite: &mut Suite<'_>) -> Outcome {
    let tunnel = Destination { forwarding: Forwarding::Tun(Tunnel::Ipip), ..weight(1) };
    for (key, other) in [(tcp(V6), Family::Inet), (tcp(V4), Family::Inet6)] {
        let (own, foreign) = (destination_key(key.family(), 1), destination_key(other, 2));
        suite.accept(&[Op::AddService(key, plain()), Op::AddDestination(key, own, weight(1))])?;
        for forwarding in [Forwarding::Nat, Forwarding::Dr] {
            suite.refuse(Op::AddDestination(key, foreign, Destination { forwarding, ..weight(1) }), INVAL)?;
        }
        suite.accept(&[Op::AddDestination(key, foreign, tunnel)])?;
        suite.reads(&key, &plain(), &[(own, weight(1)), (foreign, tunnel)])?;
        suite.refuse(Op::SetDestination(key, foreign, weight(2)), INVAL)?;
        let quiesced = Destination { weight: 0, ..tunnel };
        suite.accept(&[Op::SetDestination(key, foreign, quiesced)])?;
        suite.reads(&key, &plain(), &[(own, weight(1)), (foreign, quiesced)])?;
        suite.accept(&[Op::RemoveDestination(key, foreign)])?;
        suite.reads(&key, &plain(), &[(own, weight(1))])?;
    }
    Ok(())
}

fn changing_a_destination(suite: &mut Suite<'_>) -> Outcome {
    for key in [tcp(V4), tcp(V6), ServiceKey::Fwmark { family: Family::Inet, mark: 9 }] {
        let (at, other) = (destination_key(key.family(), 1), destination_key(key.family(), 2));
        suite.accept(&[
            Op::AddService(key, plain()),
            Op::AddDestination(key, at, weight(1)),
            Op::AddDestination(key, other, weight(7)),
        ])?;
        let changes = [
            weight(0),
            weight(MOST_WEIGHT),
            Destination { upper_threshold: 100, ..weight(1) },
            Destination { upper_threshold: 100, lower_threshold: 50, ..weight(1) },
            Destination { upper_threshold: 100, lower_threshold: 100, ..weight(1) },
            // Above it newer kernels refuse what older ones take.
            Destination { upper_threshold: MOST_WEIGHT, lower_threshold: MOST_WEIGHT, ..weight(1) },
            weight(1),
        ];
        for d in changes {
            suite.accept(&[Op::SetDestination(key, at, d)])?;
            suite.reads(&key, &plain(), &[(at, d), (other, weight(7))])?;
        }
        // The same address on another port is another destination.
        let port = SocketAddr::new(at.ip(), at.port() + 1);
        suite.accept(&[Op::AddDestination(key, port, weight(5))])?;
        suite.reads(&key, &plain(), &[(at, weight(1)), (other, weight(7)), (port, weight(5))])?;
    }
    Ok(())
}

fn refusals_about_services(suite: &mut Suite<'_>) -> Outcome {
    for key in [tcp(V4), tcp(V6), ServiceKey::Fwmark { family: Family::Inet, mark: 3 }] {
        suite.refuse(Op::SetService(key, plain()), SRCH)?;
        suite.refuse(Op::RemoveService(key), SRCH)?;
        suite.accept(&[Op::AddService(key, plain())])?;
        let other = Service { scheduler: scheduler("wrr")?, ..plain() };
        suite.refuse(Op::AddService(key, other), EXIST)?;
        suite.reads_service(&key, &plain())?;
    }
    suite.reads_absent(&service_key(Protocol::Udp, V4, 80))?;
    suite.reads_absent(&ServiceKey::Fwmark { family: Family::Inet6, mark: 3 })?;
    let key = service_key(Protocol::Udp, V4, 5060);
    let engine = |name: &str| Service { persistence_engine: Some(name.into()), ..plain() };
    suite.refuse(Op::AddService(key, engine("nosuchengine")), NOENT)?;
    suite.refuse(Op::AddService(key, engine("longer-than-15-bytes")), INVAL)?;
    suite.refuse(Op::AddService(key, engine(&"x".repeat(70_000))), INVAL)?;
    suite.refuse(Op::AddService(key, engine("s\0p")), INVAL)?;
    suite.reads_absent(&key)?;
    let unmarked = ServiceKey::Fwmark { family: Family::Inet, mark: 0 };
    suite.refuse(Op::AddService(unmarked, plain()), INVAL)?;
    suite.reads_absent(&unmarked)
}

fn refusals_about_destinations(suite: &mut Suite<'_>) -> Outcome {
    for key in [tcp(V4), tcp(V6)] {
        let at = destination_key(key.family(), 1);
        suite.refuse(Op::AddDestination(key, at, weight(1)), SRCH)?;
        suite.refuse(Op::SetDestination(key, at, weight(1)), SRCH)?;
        suite.refuse(Op::RemoveDestination(key, at), SRCH)?;
        suite.accept(&[Op::AddService(key, plain())])?;
        suite.refuse(Op::SetDestination(key, at, weight(1)), NOENT)?;
        suite.refuse(Op::RemoveDestination(key, at), NOENT)?;
        let crossed = Destination { upper_threshold: 1, lower_threshold: 2, ..weight(1) };
        for bad in [weight(MOST_WEIGHT + 1), weight(u32::MAX), crossed] {
            suite.refuse(Op::AddDestination(key, at, bad), RANGE)?;
        }
        suite.reads(&key, &plain(), &[])?;
        suite.accept(&[Op::AddDestination(key, at, weight(1))])?;
        suite.refuse(Op::AddDestination(key, at, weight(2)), EXIST)?;
        for bad in [weight(MOST_WEIGHT + 1), weight(u32::MAX), crossed] {
            suite.refuse(Op::SetDestination(key, at, bad), RANGE)?;
        }
        suite.reads(&key, &plain(), &[(at, weight(1))])?;
    }
    for (key, addresses) in
        [(tcp(V4), ["224.0.0.1", "255.255.255.255", "0.0.0.0"]), (tcp(V6), ["ff02::1", "fe80::1", "::"])]
    {
        for address in addresses {
            let address: IpAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
            suite.refuse(Op::AddDestination(key, SocketAddr::new(address, 80), weight(1)), INVAL)?;
        }
    }
    Ok(())
}

fn removal(suite: &mut Suite<'_>) -> Outcome {
    let (key, neighbour) = (tcp(V4), tcp(V6));
    let (at, kept) = (destination_key(Family::Inet, 1), destination_key(Family::Inet6, 1));
    suite.accept(&[
        Op::AddService(key, plain()),
        Op::AddDestination(key, at, weight(1)),
        Op::AddService(neighbour, plain()),
        Op::AddDestination(neighbour, kept, weight(2)),
        Op::RemoveService(key),
    ])?;
    suite.reads_absent(&key)?;
    suite.reads(&neighbour, &plain(), &[(kept, weight(2))])?;
    suite.accept(&[Op::AddService(key, plain())])?;
    suite.reads(&key, &plain(), &[])?;
    // A destination that returns has what it returns with, not what it left with.
    suite.accept(&[
        Op::AddDestination(neighbour, destination_key(Family::Inet6, 2), weight(9)),
        Op::RemoveDestination(neighbour, kept),
        Op::AddDestination(neighbour, kept, weight(4)),
        Op::RemoveDestination(neighbour, destination_key(Family::Inet6, 2)),
    ])?;
    suite.reads(&neighbour, &plain(), &[(kept, weight(4))])
}

fn order(suite: &mut Suite<'_>) -> Outcome {
    let (key, at) = (tcp(V4), destination_key(Family::Inet, 1));
    let refused = suite.apply(&[
        Op::AddDestination(key, at, weight(1)),
        Op::AddService(key, plain()),
        Op::AddService(key, plain()),
        Op::SetDestination(key, at, weight(1)),
        Op::AddDestination(key, at, weight(1)),
        Op::RemoveService(key),
        Op::RemoveDestination(key, at),
        Op::AddService(key, plain()),
        Op::AddDestination(key, at, weight(u32::MAX)),
        Op::AddDestination(key, at, weight(6)),
    ])?;
    let expected = [(0, SRCH), (2, EXIST), (3, NOENT), (6, SRCH), (8, RANGE)];
    suite.same("the refusals", refused.as_slice(), expected.as_slice())?;
    suite.reads(&key, &plain(), &[(at, weight(6))])?;
    let refused = suite.apply(&[])?;
    suite.same("the refusals of nothing", refused.as_slice(), [].as_slice())
}

fn batches(suite: &mut Suite<'_>) -> Outcome {
    let key = tcp(V4);
    suite.accept(&[Op::AddService(key, plain())])?;
    let (mut ops, mut expected, mut all) = (Vec::new(), Vec::new(), Vec::new());
    // Sizes on both sides of any limit on a batch, every third operation and the last one refused.
    for n in 0..200u32 {
        let at = destination_key(Family::Inet, n + 1);
        if n % 3 == 1 || n == 199 {
            expected.push((ops.len(), NOENT));
            ops.push(Op::RemoveDestination(key, at));
        } else {
            ops.push(Op::AddDestination(key, at, weight(n)));
            all.push((at, weight(n)));
        }
    }
    let refused = suite.apply(&ops)?;
    suite.same("the refusals", refused.as_slice(), expected.as_slice())?;
    suite.reads(&key, &plain(), &all)?;
    // Nothing but refusals, and one that never reaches the kernel among them.
    let mut ops: Vec<Op> = (0..130).map(|_| Op::AddService(key, plain())).collect();
    let engine = Service { persistence_engine: Some("s\0p".into()), ..plain() };
    if let Some(op) = ops.get_mut(70) {
        *op = Op::SetService(key, engine);
    }
    let expected: Vec<_> = (0..130).map(|i| (i, if i == 70 { INVAL } else { EXIST })).collect();
    let refused = suite.apply(&ops)?;
    suite.same("the refusals", refused.as_slice(), expected.as_slice())
}

/// More destinations than one piece of a dump holds, and more services.
fn a_large_service(suite: &mut Suite<'_>) -> Outcome {
    let key = tcp(V6);
    let all: Vec<_> = (1..=500).map(|n| (destination_key(Family::Inet6, n), weight(n))).collect();
    let mut ops = vec![Op::AddService(key, plain())];
    ops.extend(all.iter().map(|(at, d)| Op::AddDestination(key, *at, *d)));
    suite.accept(&ops)?;
    suite.reads(&key, &plain(), &all)?;
    let mut keys: Vec<_> = (1..=300).map(|port| service_key(Protocol::Udp, V4, port)).collect();
    let ops: Vec<Op> = keys.iter().map(|k| Op::AddService(*k, plain())).collect();
    suite.accept(&ops)?;
    // Absent ones between present ones.
    let asked: Vec<_> = (1..=300)
        .flat_map(|port| [service_key(Protocol::Udp, V4, port), service_key(Protocol::Tcp, V4, port)])
        .collect();
    let entries = suite.entries(&asked)?;
    let present: Vec<_> = entries.iter().filter(|(_, e)| e.is_some()).map(|(k, _)| *k).collect();
    suite.same("the services read by key", &present, &keys)?;
    suite.same("the number of answers", &entries.len(), &asked.len())?;
    keys.push(key);
    keys.sort_unstable();
    let listed = suite.keys()?;
    suite.same("the keys", &listed, &keys)
}

fn timeouts(suite: &mut Suite<'_>) -> Outcome {
    let before = suite.settings()?.timeouts;
    let all = Timeouts { tcp: 901, tcp_fin: 121, udp: 301 };
    suite.accept(&[Op::SetTimeouts(all)])?;
    suite.reads_timeouts(all)?;
    suite.accept(&[Op::SetTimeouts(Timeouts { tcp: 60, tcp_fin: 0, udp: 0 })])?;
    suite.reads_timeouts(Timeouts { tcp: 60, ..all })?;
    suite.accept(&[Op::SetTimeouts(Timeouts { tcp: 0, tcp_fin: 5, udp: 6 })])?;
    suite.reads_timeouts(Timeouts { tcp: 60, tcp_fin: 5, udp: 6 })?;
    suite.refuse(Op::SetTimeouts(Timeouts { tcp: u32::MAX, tcp_fin: 0, udp: 0 }), INVAL)?;
    suite.refuse(Op::SetTimeouts(Timeouts { tcp: 70, tcp_fin: 0, udp: u32::MAX }), INVAL)?;
    suite.reads_timeouts(Timeouts { tcp: 60, tcp_fin: 5, udp: 6 })?;
    suite.accept(&[Op::SetTimeouts(before)])?;
    suite.reads_timeouts(before)
}

fn information(suite: &mut Suite<'_>) -> Outcome {
    let settings = suite.settings()?;
    suite.claim(move |_| Ok(settings.version >= (1, 2, 0)), "the version is at least 1.2.0")?;
    suite.claim(move |_| Ok(settings.connection_table_size >= 256), "the connection table has a size")?;
    suite.claim(|s| Ok(s.settings()?.sync_daemons.is_empty()), "no sync daemon runs at the start")
}

fn sync_daemons(suite: &mut Suite<'_>, interface: &str) -> Outcome {
    for role in [SyncRole::Master, SyncRole::Backup] {
        suite.refuse(Op::StopSync(role), SRCH)?;
        for bare in sync_daemon_variants(role, interface)? {
            suite.accept(&[Op::StartSync(bare.clone())])?;
            suite.refuse(Op::StartSync(bare.clone()), EXIST)?;
            let running = suite.settings()?.sync_daemons;
            let chosen = running.first().and_then(|d| d.max_len);
            suite.same("the sync daemon", running.as_slice(), [bare.running(chosen)].as_slice())?;
            let is_chosen = chosen.is_some_and(|n| n >= if bare.max_len.is_some() { 1 } else { 1452 });
            suite.same("the choice of a sync message's length", &is_chosen, &true)?;
            suite.accept(&[Op::StopSync(role)])?;
            suite.claim(|s| Ok(s.settings()?.sync_daemons.is_empty()), "a stopped sync daemon is gone")?;
        }
    }
    let [master, backup] = [SyncRole::Master, SyncRole::Backup].map(|role| bare(role, interface));
    suite.accept(&[Op::StartSync(backup.clone()), Op::StartSync(master.clone())])?;
    let running = suite.settings()?.sync_daemons;
    let roles: Vec<_> = running.iter().map(|d| d.role).collect();
    suite.same("the roles", roles.as_slice(), [SyncRole::Master, SyncRole::Backup].as_slice())?;
    let elsewhere = SyncDaemon { interface: "nosuchlink".into(), ..master.clone() };
    suite.refuse(Op::StartSync(elsewhere.clone()), NODEV)?;
    // Neither may services mix families while one runs, nor may one start when they do.
    let (key, foreign) = (tcp(V6), destination_key(Family::Inet, 1));
    let tunnel = Destination { forwarding: Forwarding::Tun(Tunnel::Ipip), ..weight(1) };
    suite.accept(&[Op::AddService(key, plain())])?;
    suite.refuse(Op::AddDestination(key, foreign, tunnel), INVAL)?;
    suite.accept(&[Op::StopSync(SyncRole::Master), Op::StopSync(SyncRole::Backup)])?;
    suite.accept(&[Op::AddDestination(key, foreign, tunnel)])?;
    suite.refuse(Op::StartSync(master.clone()), INVAL)?;
    suite.accept(&[Op::RemoveService(key)])?;
    suite.refuse(Op::StartSync(elsewhere), NODEV)?;
    let unicast = Some(IpAddr::from([192, 0, 2, 1]));
    suite.refuse(Op::StartSync(SyncDaemon { group: unicast, ..master.clone() }), INVAL)?;
    let too_long = "longer-than-15-bytes".to_owned();
    suite.refuse(Op::StartSync(SyncDaemon { interface: too_long, ..master.clone() }), INVAL)?;
    suite.claim(|s| Ok(s.settings()?.sync_daemons.is_empty()), "a refused sync daemon does not run")
}

fn sync_daemon_variants(role: SyncRole, interface: &str) -> Result<Vec<SyncDaemon>, String> {
    let group: IpAddr = "224.0.0.99".parse().map_err(|e| format!("{e}"))?;
    let group6: IpAddr = "ff02::81".parse().map_err(|e| format!("{e}"))?;
    let plain = bare(role, interface);
    Ok(vec![
        SyncDaemon { sync_id: 255, ..plain.clone() },
        SyncDaemon { max_len: Some(1), ..plain.clone() },
        SyncDaemon { max_len: Some(1000), ..plain.clone() },
        SyncDaemon { max_len: Some(u16::MAX), ..plain.clone() },
        SyncDaemon { max_len: Some(0), port: Some(0), ttl: Some(0), ..plain.clone() },
        SyncDaemon { group: Some(group6), ttl: Some(2), ..plain.clone() },
        SyncDaemon { group: Some(group6), max_len: Some(u16::MAX), ..plain.clone() },
        SyncDaemon { group: Some(group), port: Some(8900), ttl: Some(3), ..plain.clone() },
        plain,
    ])
}

fn bare(role: SyncRole, interface: &str) -> SyncDaemon {
    SyncDaemon {
        role,
        interface: interface.into(),
        sync_id: 1,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::backend::{Error, Refusal, Scope, Snapshot};
    use crate::ipvs::memory::MemoryBackend;

    #[test]
    fn the_imitation_of_the_kernel_passes() {
        let claims = run(&mut MemoryBackend::new(), "eth0").unwrap();
        assert!(claims > 500, "only {claims} claims");
    }

    #[test]
    fn a_backend_that_does_less_than_it_says_is_found_out() {
        for fault in
            [Fault::LosesRefusals, Fault::CountsFromOne, Fault::ForgetsLastOfBatch, Fault::DeafToWeights]
        {
            let mut faulty = Faulty { kernel: MemoryBackend::new(), fault };
            let found = run(&mut faulty, "eth0");
            assert!(found.is_err(), "{fault:?} went unnoticed: {found:?}");
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Fault {
        LosesRefusals,
        CountsFromOne,
        ForgetsLastOfBatch,
        DeafToWeights,
    }

    struct Faulty {
        kernel: MemoryBackend,
        fault: Fault,
    }

    impl Backend for Faulty {
        fn snapshot(&mut self, scope: &Scope) -> Result<Snapshot, Error> {
            self.kernel.snapshot(scope)
        }

        fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, Error> {
            match self.fault {
                Fault::LosesRefusals => self.kernel.apply(ops).map(|_| Vec::new()),
                Fault::CountsFromOne => self.kernel.apply(ops).map(|mut all| {
                    all.iter_mut().for_each(|r| r.index += 1);
                    all
                }),
                Fault::ForgetsLastOfBatch if ops.len() > 64 => self.kernel.apply(&ops[..ops.len() - 1]),
                Fault::ForgetsLastOfBatch => self.kernel.apply(ops),
                Fault::DeafToWeights => {
                    let deaf = ops.iter().cloned().map(|op| match op {
                        Op::SetDestination(k, at, d) => {
                            Op::SetDestination(k, at, Destination { weight: 1, ..d })
                        }
                        other => other,
                    });
                    self.kernel.apply(&deaf.collect::<Vec<_>>())
                }
            }
        }
    }
}
