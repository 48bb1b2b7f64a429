//! A daemon with a guardian is killed: its priority-0 advertisements are on the wire and its addresses gone within 100
//! ms, also when the whole group is signalled; after `on_crash hold`, a hand-over or a planned end nothing is done. The
//! guardian does not outlive the daemon, and keeps nothing of the daemon's. VRRP that begins by a reload has it, too,
//! and addresses are removed with any options.
//!
//! The daemon is a small process of the lab's own ([`PROBES`]) that does what it is told on its standard input.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lvsd::internals::daemon::{GUARDIAN, Guardian};
use lvsd::internals::net::Kernel;
use lvsd::internals::net::{Address, LinkIndex, Op, Prefix};
use lvsd::internals::vrrp::{CrashPlan, Endpoint, Transmission};
use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::Probe;
use crate::lab::daemon::{Daemon, configure, run_dir};
use crate::lab::host::Host;
use crate::lab::topology::{VIP, VIP6};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

/// What a dead Master may cost.
const LIMIT: Duration = Duration::from_millis(100);
/// How often a busy machine may make it longer.
const ATTEMPTS: usize = 3;
/// Other addresses of the daemon's, so that there is something to take away.
const MORE: u8 = 200;

/// A virtual router with addresses of every kind, and how many they are.
const BY_RELOAD: &str = include_str!("by-reload.conf");
const VIPS_BY_RELOAD: usize = 6;

/// Its name, for `--inside`.
const DAEMON: &str = "guarded-daemon";

pub(super) const PROBES: &[Probe] = &[Probe { name: DAEMON, run: guarded_daemon }];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    let capture = Capture::open(&d2)?;
    let before = judge::addresses(&d1)?;

    for (case, killers) in [
        ("kill -9", &[Signal::KILL][..]),
        ("signals to the whole group", &[Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::KILL]),
    ] {
        lab.step(case);
        // A machine that is busy just then says nothing of the guardian.
        let mut times = Vec::new();
        while times.len() < ATTEMPTS && times.iter().min().is_none_or(|time| *time >= LIMIT) {
            times.push(die(lab, &d1, &capture, case, killers)?);
            same("the addresses that stay", &judge::addresses(&d1)?, &before)?;
        }
        claim(times.iter().min().is_some_and(|time| *time < LIMIT), || format!("it took {times:?}"))?;
    }

    lab.step("hold and hand-over: disarmed before the end");
    let mut daemon = Guarded::start(&d1)?;
    daemon.tell("publish")?;
    daemon.tell("disarm")?;
    let guardian = guardian_process()?;
    kill(daemon.pid()?, Signal::KILL)?;
    nobody_is_left(guardian)?;
    claim(capture.silence()?, || "a disarmed guardian spoke".into())?;
    let all = usize::from(MORE) + 2;
    same("the addresses that were left", &d1.enter(held)?.len(), &all)?;
    drop(daemon);

    lab.step("the last crash_plan counts: that of a Backup is empty");
    let mut daemon = Guarded::start(&d1)?;
    daemon.tell("publish")?;
    daemon.tell("yield")?;
    let guardian = guardian_process()?;
    kill(daemon.pid()?, Signal::KILL)?;
    nobody_is_left(guardian)?;
    claim(capture.silence()?, || "the guardian of a Backup spoke".into())?;
    same("the addresses that were left", &d1.enter(held)?.len(), &all)?;
    drop(daemon);

    lab.step("a planned end");
    let mut daemon = Guarded::start(&d1)?;
    daemon.tell("publish")?;
    let guardian = guardian_process()?;
    daemon.tell("dismiss")?;
    claim(!is_there(guardian), || "a dismissed guardian is still there".into())?;
    claim(daemon.child.try_wait().is_ok_and(|s| s.is_none()), || "the daemon ended with it".into())?;
    kill(daemon.pid()?, Signal::KILL)?;
    claim(capture.silence()?, || "a dismissed guardian spoke".into())?;
    same("the addresses that were left", &d1.enter(held)?.len(), &all)?;
    drop(daemon);
    let prefixes: Vec<Prefix> = d1.enter(held)?.into_iter().collect();
    d1.enter(|| {
        let mut kernel = Kernel::open()?;
        let link = kernel.host()?.link("eth0").ok_or("no eth0")?.index;
        let ops: Vec<Op> =
            prefixes.iter().map(|prefix| Op::RemoveAddress { link, prefix: *prefix }).collect();
        same("what was refused", &kernel.apply(&ops), &Vec::new())
    })?;

    lab.step("VRRP that begins by a reload, with addresses of every kind");
    let mut times = Vec::new();
    while times.len() < ATTEMPTS && times.iter().min().is_none_or(|time| *time >= LIMIT) {
        times.push(begun_by_a_reload(lab, &d1, &capture)?);
    }
    claim(times.iter().min().is_some_and(|time| *time < LIMIT), || format!("it took {times:?}"))
}

/// A director that holds no VIP until it is told so is killed: how long its priority 0 and the end of its addresses
/// took.
fn begun_by_a_reload(lab: &Lab, d1: &Host, capture: &Capture) -> Result<Duration, String> {
    let before = judge::addresses(d1)?;
    let held_before = d1.enter(all_held)?;
    let file = configure(lab, d1, "global_defs {\n}\n")?;
    let mut daemon = Daemon::start_lvsd(lab, d1, &file, &run_dir(d1), &[])?;
    daemon.wait_log("starts", seconds(5))?;
    let guardian = guardian_process()?;
    same("the memory an idle guardian locks", &locked(guardian)?.as_str(), &"0 kB")?;
    fs::write(&file, BY_RELOAD).map_err(|e| format!("{}: {e}", file.display()))?;
    daemon.reload()?;
    wait_for("all its VIPs are there", seconds(5), || {
        let eth0 = judge::addresses(d1)?.remove("eth0").unwrap_or_default();
        let old = before.get("eth0").map_or(0, BTreeSet::len);
        if eth0.len() == old + VIPS_BY_RELOAD { Ok(()) } else { Err(format!("{eth0:?}")) }
    })?;
    keeps_nothing(guardian)?;
    // Its /sys is another namespace's.
    let log = daemon.log_text();
    claim(!log.contains("no interface"), || format!("it does not see its own interface:\n{log}"))?;
    let died = Instant::now();
    daemon.signal(Signal::KILL)?;
    let said = capture.priority_zero(died)?;
    // By netlink: a program to ask would take longer than what is measured.
    let gone = wait_for("the addresses are gone", seconds(5), || {
        let now = d1.enter(all_held)?;
        if now == held_before { Ok(died.elapsed()) } else { Err(format!("{now:?}")) }
    })?;
    same("the addresses that stay", &judge::addresses(d1)?, &before)?;
    nobody_is_left(guardian)?;
    note(lab, "by a reload", said, gone);
    Ok(gone)
}

fn note(lab: &Lab, case: &str, said: Duration, gone: Duration) {
    let (said, gone) = (said.as_secs_f64() * 1e3, gone.as_secs_f64() * 1e3);
    lab.note(format!("{case}: priority-0 advertisements after {said:.1} ms, addresses gone by {gone:.1} ms"));
}

/// Kills a daemon with these signals: how long its priority-0 advertisements and the end of its addresses took.
fn die(lab: &Lab, d1: &Host, capture: &Capture, case: &str, killers: &[Signal]) -> Result<Duration, String> {
    let mut daemon = Guarded::start(d1)?;
    daemon.tell("publish")?;
    let guardian = guardian_process()?;
    keeps_nothing(guardian)?;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2] {
        kill(guardian, signal)?;
    }
    let died = Instant::now();
    for signal in killers {
        // The first one may have ended both.
        if *signal != Signal::KILL {
            let _ = kill(guardian, *signal);
        }
        let _ = kill(daemon.pid()?, *signal);
    }
    let said = capture.both(died)?;
    let gone = wait_for("the addresses are gone", seconds(5), || {
        let now = d1.enter(held)?;
        if now.is_empty() { Ok(died.elapsed()) } else { Err(format!("{} are there", now.len())) }
    })?;
    note(lab, case, said, gone);
    nobody_is_left(guardian)?;
    Ok(gone)
}

/// The guarded process: adds addresses, and does what its standard input says.
fn guarded_daemon() -> ExitCode {
    let outcome = Guardian::spawn(std::path::Path::new("/run/guarded-daemon"))
        .and_then(|guardian| guardian.engage().map(|()| guardian));
    let outcome = outcome.map_err(|e| e.to_string()).and_then(obey);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("guarded-daemon: {message}");
            ExitCode::FAILURE
        }
    }
}

fn obey(mut guardian: Guardian) -> Verdict {
    let mut kernel = Kernel::open()?;
    let eth0 = kernel.host()?.link("eth0").ok_or("no eth0")?.index;
    let prefixes = prefixes()?;
    let add = |prefix: &Prefix| Op::AddAddress(Arc::new(Address::plain("eth0", *prefix)));
    let refused = kernel.apply(&prefixes.iter().map(add).collect::<Vec<_>>());
    same("what was refused", &refused, &Vec::new())?;
    let host = kernel.host()?;
    let local = host.addresses.iter().map(|held| (held.link, held.prefix.ip));
    let local = local.filter(|(link, ip)| *link == eth0 && is_link_local(*ip)).map(|(_, ip)| ip).next();
    let crash_plan = CrashPlan {
        silence: None,
        priority_zero: vec![
            priority_zero4(eth0),
            priority_zero6(eth0, local.ok_or("no link-local address")?),
        ],
        addresses: BTreeMap::from([(eth0, prefixes)]),
    };
    say("ready")?;
    for line in std::io::stdin().lines() {
        let line = line.map_err(|e| e.to_string())?;
        match line.as_str() {
            "publish" => guardian.publish(&crash_plan).map_err(|e| e.to_string())?,
            "yield" => guardian.publish(&CrashPlan::default()).map_err(|e| e.to_string())?,
            "disarm" => guardian.disarm(),
            "dismiss" => {
                guardian.dismiss();
                say("dismiss")?;
                // Until it is killed.
                return std::io::stdin().read(&mut [0]).map(drop).map_err(|e| e.to_string());
            }
            other => return Err(format!("{other:?} is no order")),
        }
        if let Some(trouble) = guardian.trouble() {
            return Err(trouble);
        }
        say(&line)?;
    }
    Ok(())
}

fn say(word: &str) -> Verdict {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{word}").and_then(|()| out.flush()).map_err(|e| e.to_string())
}

fn prefixes() -> Result<BTreeSet<Prefix>, String> {
    let vips = [VIP, VIP6].map(|vip| vip.parse().map(Prefix::host).map_err(|e| format!("{vip}: {e}")));
    let mut all = vips.into_iter().collect::<Result<BTreeSet<_>, _>>()?;
    all.extend((1..=MORE).map(|n| Prefix::host(IpAddr::from([10, 9, 9, n]))));
    Ok(all)
}

/// The addresses of [`prefixes`] that are there.
fn held() -> Result<BTreeSet<Prefix>, String> {
    let wanted = prefixes()?;
    Ok(all_held()?.into_iter().map(|(_, prefix)| prefix).filter(|prefix| wanted.contains(prefix)).collect())
}

/// The addresses that are there, and their links.
fn all_held() -> Result<BTreeSet<(LinkIndex, Prefix)>, String> {
    Ok(Kernel::open()?.host()?.addresses.iter().map(|held| (held.link, held.prefix)).collect())
}

fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

fn endpoint(link: LinkIndex, source: IpAddr, group: IpAddr) -> Endpoint {
    Endpoint { link: Some(link), protocol: 112, group: Some(group), source, receive_buffer: 0 }
}

/// V2-PRIO0 of virtual router 51, from d1.
fn priority_zero4(link: LinkIndex) -> Transmission {
    let (source, group) = ([10, 1, 0, 11], [224, 0, 0, 18]);
    let mut bytes = vec![0x45, 0xc0, 0, 40, 0, 1, 0, 0, 255, 112, 0, 0];
    bytes.extend(source);
    bytes.extend(group);
    bytes.extend([0x21, 51, 0, 1, 0, 1, 0xd4, 0x2d, 10, 1, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0]);
    Transmission {
        endpoint: endpoint(link, source.into(), group.into()),
        destination: group.into(),
        hop_limit: 255,
        bytes,
    }
}

/// Version 3 on IPv6; its checksum is not checked here.
fn priority_zero6(link: LinkIndex, source: IpAddr) -> Transmission {
    let group: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into();
    let mut bytes = vec![0x31, 56, 0, 1, 0, 100, 0, 0];
    bytes.extend([0; 16]);
    Transmission { endpoint: endpoint(link, source, group), destination: group, hop_limit: 255, bytes }
}

/// The guarded process, from outside.
struct Guarded {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Guarded {
    fn start(host: &Host) -> Result<Guarded, String> {
        let own = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut command = Command::new(own);
        command.args(["--inside", DAEMON]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = host.start(&mut command)?;
        let orders = child.stdin.take().ok_or("no stdin")?;
        let answers = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut this = Guarded { child, orders, answers };
        this.hear("ready")?;
        Ok(this)
    }

    fn tell(&mut self, order: &str) -> Verdict {
        writeln!(self.orders, "{order}").map_err(|e| format!("{order}: {e}"))?;
        self.hear(order)
    }

    fn hear(&mut self, word: &str) -> Verdict {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| format!("{word}: {e}"))?;
        same("the answer", &line.trim(), &word)
    }

    fn pid(&self) -> Result<Pid, String> {
        let pid = i32::try_from(self.child.id()).map_err(|e| e.to_string())?;
        Pid::from_raw(pid).ok_or_else(|| "no pid".into())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kill(pid: Pid, signal: Signal) -> Verdict {
    kill_process(pid, signal).map_err(|e| format!("kill {pid:?}: {e}"))
}

/// The guardian, once it has settled.
fn guardian_process() -> Result<Pid, String> {
    wait_for("a guardian", seconds(5), || find_guardian()?.ok_or_else(|| "there is none".into()))
}

fn find_guardian() -> Result<Option<Pid>, String> {
    let entries = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_one = |pid: &i32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        // Without zombies.
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        name.trim_end() == GUARDIAN && !state.contains(") Z ")
    };
    Ok(pids.filter(is_one).find_map(Pid::from_raw))
}

fn is_there(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn nobody_is_left(guardian: Pid) -> Verdict {
    wait_for("the guardian has ended", seconds(5), || {
        if is_there(guardian) { Err("it is there".into()) } else { Ok(()) }
    })
}

/// A socket and /dev/null, and locked memory.
fn keeps_nothing(guardian: Pid) -> Verdict {
    let pid = guardian.as_raw_nonzero();
    wait_for("the guardian has settled", seconds(5), || {
        let locked = locked(guardian)?;
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).map_err(|e| format!("fd: {e}"))?;
        let links = entries.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let mut open: Vec<String> = links.map(|link| link.to_string_lossy().into_owned()).collect();
        open.sort();
        let [null1, null2, null3, socket] = open.as_slice() else { return Err(format!("it keeps {open:?}")) };
        let are_null = [null1, null2, null3].iter().all(|file| *file == "/dev/null");
        let is_fine = are_null && socket.starts_with("socket:") && locked != "0 kB" && locked != "no";
        if is_fine { Ok(()) } else { Err(format!("it keeps {open:?}, and locks {locked}")) }
    })
}

/// How much memory a process has locked, as /proc says it.
fn locked(process: Pid) -> Result<String, String> {
    let path = format!("/proc/{}/status", process.as_raw_nonzero());
    let status = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    Ok(status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap_or("no").trim().to_owned())
}

/// Hears VRRP.
struct Capture {
    ipv4: Socket,
    ipv6: Socket,
}

impl Capture {
    fn open(host: &Host) -> Result<Capture, String> {
        host.enter(|| {
            let odd = |e: std::io::Error| e.to_string();
            let index = Kernel::open()?.host()?.link("eth0").ok_or("no eth0")?.index.0;
            let ipv4 = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).map_err(odd)?;
            let interface = InterfaceIndexOrAddress::Index(index);
            ipv4.join_multicast_v4_n(&Ipv4Addr::new(224, 0, 0, 18), &interface).map_err(odd)?;
            let ipv6 = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(112))).map_err(odd)?;
            ipv6.join_multicast_v6(&Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12), index).map_err(odd)?;
            for socket in [&ipv4, &ipv6] {
                socket.set_read_timeout(Some(seconds(2))).map_err(odd)?;
            }
            Ok(Capture { ipv4, ipv6 })
        })
    }

    /// Hears both priority-0 advertisements, and nothing else: how long after the death the later one came.
    fn both(&self, died: Instant) -> Result<Duration, String> {
        let mut buffer = [0; 128];
        let heard = (&self.ipv4).read(&mut buffer).map_err(|e| format!("no priority 0 on IPv4: {e}"))?;
        let packet = buffer.get(..heard).unwrap_or_default();
        let is_it = packet.get(12..16) == Some(&[10, 1, 0, 11]) && packet.get(20..23) == Some(&[0x21, 51, 0]);
        claim(is_it && packet.get(8) == Some(&255), || format!("an odd packet of priority 0: {packet:?}"))?;
        let heard = (&self.ipv6).read(&mut buffer).map_err(|e| format!("no priority 0 on IPv6: {e}"))?;
        let packet = buffer.get(..heard).unwrap_or_default();
        claim(packet.get(..3) == Some(&[0x31, 56, 0]), || {
            format!("an odd packet of priority 0: {packet:?}")
        })?;
        Ok(died.elapsed())
    }

    /// Hears priority 0 of IPv4 after what was said before it: how long after the death it came.
    fn priority_zero(&self, died: Instant) -> Result<Duration, String> {
        let mut buffer = [0; 128];
        loop {
            let heard = (&self.ipv4).read(&mut buffer).map_err(|e| format!("no priority 0: {e}"))?;
            if buffer.get(..heard).and_then(|packet| packet.get(22)) == Some(&0) {
                return Ok(died.elapsed());
            }
        }
    }

    /// Whether nothing was said until now, nor is for a moment.
    fn silence(&self) -> Result<bool, String> {
        pause(seconds(1));
        for socket in [&self.ipv4, &self.ipv6] {
            socket.set_nonblocking(true).map_err(|e| e.to_string())?;
        }
        let mut buffer = [0; 128];
        let is_silent = (&self.ipv4).read(&mut buffer).is_err() && (&self.ipv6).read(&mut buffer).is_err();
        for socket in [&self.ipv4, &self.ipv6] {
            socket.set_nonblocking(false).map_err(|e| e.to_string())?;
        }
        Ok(is_silent)
    }
}
