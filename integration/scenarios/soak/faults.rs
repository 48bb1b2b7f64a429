//! What happens to the director: one function for each kind of event, drawn by weight.

use std::collections::BTreeMap;

use lvsd::internals::daemon::{Command, Reply, ask};
use lvsd::internals::director::{OverrideChange, Selector};
use lvsd::internals::ipvs::Op;
use lvsd::internals::ipvs::Scheduler;
use lvsd::internals::ipvs::{
    DesiredService, Destination, Family, Forwarding, Protocol, Service, ServiceFlags, ServiceKey,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use super::Soak;
use super::configuration::{Configuration, ours};
use super::servers::{Condition, any, host_of};
use super::truth::key;
use crate::lab::daemon::{control, run_dir};
use crate::lab::topology::{VIP, batch, front};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Verdict, claim, judge, same};

/// A kind of event: its name, how often it is drawn among the others, what happens.
type Fault = (&'static str, u32, fn(&mut Soak<'_>) -> Verdict);

/// All kinds.
pub(super) const FAULTS: &[Fault] = &[
    ("server falls ill", 12, fall_ill),
    ("server recovers", 14, recover),
    ("server flaps", 6, flap),
    ("cable cut or mended", 6, cable),
    ("packets lost", 3, loss),
    ("route forbidden", 3, forbid),
    ("no descriptors", 2, no_descriptors),
    ("daemon frozen", 2, freeze),
    ("stranger edits ours", 8, edit_ours),
    ("stranger edits theirs", 4, edit_theirs),
    ("table flushed", 1, flush),
    ("order", 8, order),
    ("reload", 6, reload),
    ("reload, same file", 2, reload_same),
    ("reload, broken file", 3, reload_broken),
    ("kill -9", 4, kill),
    ("hand over", 4, hand_over),
    ("stop", 2, stop),
];

/// One by chance.
pub(super) fn draw(rng: &mut fastrand::Rng) -> Option<&'static Fault> {
    let all: u32 = FAULTS.iter().map(|f| f.1).sum();
    let mut left = rng.u32(..all);
    FAULTS.iter().find(|(_, weight, _)| {
        let is_it = left < *weight;
        left = left.saturating_sub(*weight);
        is_it
    })
}

fn fall_ill(soak: &mut Soak<'_>) -> Verdict {
    let (host, port) = any(&mut soak.rng);
    let how = [Condition::Refusing, Condition::Ill, Condition::Hanging];
    let condition = *how.get(soak.rng.usize(..how.len())).unwrap_or(&Condition::Ill);
    soak.tell(format!("{host}:{port} is {condition:?}"));
    soak.truth.servers.set(host, port, condition)
}

fn recover(soak: &mut Soak<'_>) -> Verdict {
    let (host, port) = any(&mut soak.rng);
    soak.tell(format!("{host}:{port} is well"));
    soak.truth.servers.set(host, port, Condition::Well)
}

fn flap(soak: &mut Soak<'_>) -> Verdict {
    let (host, port) = any(&mut soak.rng);
    soak.tell(format!("{host}:{port} flaps"));
    for _ in 0..soak.rng.u8(2..=8) {
        soak.truth.servers.set(host, port, Condition::Refusing)?;
        pause(soak.up_to(6));
        soak.truth.servers.set(host, port, Condition::Well)?;
        pause(soak.up_to(6));
    }
    Ok(())
}

fn cable(soak: &mut Soak<'_>) -> Verdict {
    let (host, _) = any(&mut soak.rng);
    let is_cut = !soak.truth.servers.is_cut(host);
    soak.tell(format!("{host}'s cable: {}", if is_cut { "cut" } else { "mended" }));
    soak.truth.servers.cut(soak.lab, host, is_cut)
}

fn loss(soak: &mut Soak<'_>) -> Verdict {
    let (host, _) = any(&mut soak.rng);
    let percent = soak.rng.u8(5..=60);
    soak.tell(format!("{percent} % of the packets to {host} are lost"));
    soak.lossy.insert(host);
    let (port, percent) = (format!("{host}-eth0"), format!("{percent}%"));
    let switch = soak.lab.host("sw")?;
    judge::output(&switch, &["tc", "qdisc", "replace", "dev", &port, "root", "netem", "loss", &percent])
        .map(drop)
}

fn forbid(soak: &mut Soak<'_>) -> Verdict {
    let (host, _) = any(&mut soak.rng);
    if !soak.forbidden.insert(host) {
        return Ok(());
    }
    soak.tell(format!("the way to {host} is forbidden"));
    routes(host, "add")
}

fn routes(host: &str, verb: &str) -> Verdict {
    let [v4, v6] = front(host).ok_or("not a standard host")?;
    batch(Some("d1"), &format!("route {verb} prohibit {v4}/32\nroute {verb} prohibit {v6}/128\n"))
}

/// Ends what must end before the table can be judged: a check that may or may not pass has no truth.
pub(super) fn calm(soak: &mut Soak<'_>) -> Verdict {
    let switch = soak.lab.host("sw")?;
    for host in std::mem::take(&mut soak.lossy) {
        judge::output(&switch, &["tc", "qdisc", "del", "dev", &format!("{host}-eth0"), "root"])?;
    }
    for host in std::mem::take(&mut soak.forbidden) {
        routes(host, "del")?;
    }
    Ok(())
}

fn no_descriptors(soak: &mut Soak<'_>) -> Verdict {
    let time = soak.up_to(40);
    soak.tell(format!("lvsd has no descriptors left for {:.1} s", time.as_secs_f64()));
    let pid = Pid::from_raw(soak.daemon()?.pid().cast_signed());
    let limit = |limit| prlimit(pid, Resource::Nofile, limit).map_err(|e| format!("prlimit: {e}"));
    let before = limit(Rlimit { current: Some(3), ..getrlimit(Resource::Nofile) })?;
    pause(time);
    limit(before).map(drop)
}

fn freeze(soak: &mut Soak<'_>) -> Verdict {
    let time = soak.up_to(60);
    soak.tell(format!("lvsd is stopped for {:.1} s", time.as_secs_f64()));
    soak.daemon()?.signal(Signal::STOP)?;
    pause(time);
    soak.daemon()?.signal(Signal::CONT)
}

fn edit_ours(soak: &mut Soak<'_>) -> Verdict {
    let ours: Vec<ServiceKey> = ours().into_iter().map(key).collect();
    let web = web()?;
    let table = soak.kernel.read()?;
    let table: Vec<_> = table.into_iter().filter(|(key, _)| ours.contains(key)).collect();
    if table.is_empty() {
        return Ok(());
    }
    let Some((key, entry)) = table.get(soak.rng.usize(..table.len())) else { return Ok(()) };
    let entries: Vec<_> = entry.destinations.iter().collect();
    let one = if entries.is_empty() { None } else { entries.get(soak.rng.usize(..entries.len())) };
    let op = match (soak.rng.u8(..6), one) {
        (0, _) => Op::RemoveService(*key),
        (1, _) => {
            let scheduler = Scheduler::new("lblc").ok_or("no scheduler lblc")?;
            Op::SetService(*key, Service { scheduler, persistence: None, ..entry.service.clone() })
        }
        (2, Some((at, _))) => Op::RemoveDestination(*key, **at),
        // Not where clients ask: the kernel caches one route for a destination, that of its first user, and a
        // connection that is still translated leaves one by which direct routing looks for the VIP's own neighbour.
        (3, Some((at, d))) if *key != web => {
            let forwarding =
                if d.destination.forwarding == Forwarding::Nat { Forwarding::Dr } else { Forwarding::Nat };
            Op::SetDestination(*key, **at, Destination { forwarding, ..d.destination })
        }
        (3 | 4, Some((at, d))) => {
            Op::SetDestination(*key, **at, Destination { weight: soak.rng.u32(..20), ..d.destination })
        }
        (_, one) => {
            let address = if key.family() == Family::Inet { "10.1.0.99" } else { "fd00:1::99" };
            let at = address.parse().map_err(|e| format!("{address}: {e}"))?;
            let port = one.map_or(80, |(at, _)| at.port());
            Op::AddDestination(*key, std::net::SocketAddr::new(at, port), plain(soak.rng.u32(..3)))
        }
    };
    soak.tell(format!("a stranger's hand: {op:?}"));
    // lvsd may have changed the table meanwhile: a refusal is the stranger's business.
    soak.kernel.apply(&[op]).map(drop)
}

/// The service clients ask.
pub(super) fn web() -> Result<ServiceKey, String> {
    let address = VIP.parse().map_err(|e| format!("{VIP}: {e}"))?;
    Ok(ServiceKey::Address { protocol: Protocol::Tcp, address, port: 80 })
}

fn edit_theirs(soak: &mut Soak<'_>) -> Verdict {
    let address = |protocol, address: &str, port| {
        let address = address.parse().map_err(|e| format!("{address}: {e}"))?;
        Ok::<_, String>(ServiceKey::Address { protocol, address, port })
    };
    let keys = [
        address(Protocol::Tcp, "10.1.0.200", 443)?,
        address(Protocol::Udp, "fd00:1::200", 53)?,
        ServiceKey::Fwmark { family: Family::Inet, mark: 9 },
    ];
    let Some(key) = keys.get(soak.rng.usize(..keys.len())).copied() else { return Ok(()) };
    let at = match key.family() {
        Family::Inet => "10.1.0.21:443",
        Family::Inet6 => "[fd00:1::21]:443",
    };
    let at = at.parse().map_err(|e| format!("{at}: {e}"))?;
    let destination = plain(soak.rng.u32(..9));
    let ops = match soak.truth.foreign.get_mut(&key) {
        Some(_) if soak.rng.bool() => {
            soak.truth.foreign.remove(&key);
            vec![Op::RemoveService(key)]
        }
        Some(service) => {
            service.destinations.insert(at, destination);
            vec![Op::SetDestination(key, at, destination)]
        }
        None => {
            let scheduler = Scheduler::new("wlc").ok_or("no scheduler wlc")?;
            let service = Service {
                scheduler,
                flags: ServiceFlags::default(),
                persistence: None,
                persistence_engine: None,
            };
            let destinations = BTreeMap::from([(at, destination)]);
            soak.truth.foreign.insert(key, DesiredService { service: service.clone(), destinations });
            vec![Op::AddService(key, service), Op::AddDestination(key, at, destination)]
        }
    };
    soak.tell(format!("the stranger's own: {ops:?}"));
    same("refused of the stranger's own", &soak.kernel.apply(&ops)?, &Vec::new())
}

fn flush(soak: &mut Soak<'_>) -> Verdict {
    soak.tell("a program empties the table");
    let ops: Vec<Op> = soak.kernel.read()?.into_keys().map(Op::RemoveService).collect();
    soak.truth.foreign.clear();
    soak.kernel.apply(&ops).map(drop)
}

fn plain(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Dr, weight, upper_threshold: 0, lower_threshold: 0 }
}

fn order(soak: &mut Soak<'_>) -> Verdict {
    let servers = &soak.truth.configuration.virtual_servers;
    let all: Vec<_> = servers.iter().flat_map(|v| v.real_servers.iter().map(|r| (v.id, r.at))).collect();
    let Some((id, at)) = all.get(soak.rng.usize(..all.len().max(1))).copied() else { return Ok(()) };
    let change = match soak.rng.u8(..10) {
        0 | 1 => OverrideChange::Drain { limit: seconds(soak.rng.u64(1..=240)) },
        2 | 3 => OverrideChange::Undrain,
        4 => OverrideChange::Disable,
        5 | 6 => OverrideChange::Enable,
        7 => OverrideChange::Weight(Some(soak.rng.u32(..12))),
        _ => OverrideChange::Weight(None),
    };
    soak.tell(format!("{change:?}: {} of {id}", host_of(at).unwrap_or("?")));
    let selector = Selector { address: at.ip(), port: Some(at.port()), virtual_server: Some(id) };
    let path = control(&run_dir(&soak.director));
    let reply =
        ask(path.as_ref(), Command::Order { selector, change }).map_err(|e| format!("{path}: {e}"))?;
    claim(matches!(&reply, Reply::Ordered(about) if about.servers[..] == [(id, at)]), || {
        format!("{reply:?}")
    })?;
    soak.truth.order(id, at, change);
    Ok(())
}

fn reload(soak: &mut Soak<'_>) -> Verdict {
    let configuration = Configuration::random(&mut soak.rng);
    soak.tell(format!("a new file: {} virtual servers", configuration.virtual_servers.len()));
    soak.write(&configuration.text())?;
    // Chance may leave less than half of what there was, and an order that follows is meant for the new file.
    let path = control(&run_dir(&soak.director));
    let reply = ask(path.as_ref(), Command::Reload { allow_removal: true });
    soak.truth.configure(configuration);
    match reply {
        Ok(Reply::Reload(outcome)) if outcome.is_accepted => Ok(()),
        other => Err(format!("a new file: {other:?}")),
    }
}

fn reload_same(soak: &mut Soak<'_>) -> Verdict {
    soak.tell("the same file again");
    soak.daemon()?.reload()
}

fn reload_broken(soak: &mut Soak<'_>) -> Verdict {
    let text = Configuration::random(&mut soak.rng).broken(&mut soak.rng);
    soak.tell("a broken file");
    soak.write(&text)?;
    soak.daemon()?.reload()?;
    pause(seconds(1));
    let text = soak.truth.configuration.text();
    soak.write(&text)
}

fn kill(soak: &mut Soak<'_>) -> Verdict {
    let daemon = soak.take_daemon()?;
    soak.tell("kill -9");
    daemon.kill()?;
    while_down(soak)
}

fn hand_over(soak: &mut Soak<'_>) -> Verdict {
    let daemon = soak.take_daemon()?;
    soak.tell("hand over");
    daemon.hand_over()?;
    while_down(soak)
}

/// No director runs for a while; the next one may find another file and another table.
fn while_down(soak: &mut Soak<'_>) -> Verdict {
    if soak.rng.u8(..3) == 0 {
        edit_ours(soak)?;
    }
    if soak.rng.u8(..3) == 0 {
        pause(soak.up_to(900));
    }
    if soak.rng.u8(..3) == 0 {
        soak.tell("with a new file");
        let configuration = Configuration::random(&mut soak.rng);
        soak.truth.configure(configuration);
    }
    soak.start()
}

fn stop(soak: &mut Soak<'_>) -> Verdict {
    soak.tell("stop");
    soak.stop()?;
    pause(soak.up_to(20));
    soak.start()
}
