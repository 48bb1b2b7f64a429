//! Hundreds and thousands of VIPs beside keepalived, behind a queue that is often full: every one is announced within
//! the first second of a takeover, each once before any again, and nothing of its own is taken for another program's.
//! Then a director on a host of containers, and one that is process 1 of a container.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd_binary, run_dir};
use crate::lab::topology::batch;
use crate::lab::vrrp::frame::Message;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::Segment;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const VRID: u8 = 51;
const INTERVAL: Duration = seconds(1);
/// How soon all VIPs are announced.
const LIMIT: Duration = seconds(1);
/// How often each is announced at first (`vrrp_garp_master_repeat`).
const REPEAT: usize = 5;
/// Slower than a burst and faster than two thousand VIPs in a second, with room for more than a socket may have under
/// way: the socket is full, and nothing is dropped behind it.
const SLOW: [&str; 12] =
    ["tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", "2mbit", "burst", "4kb", "limit"];
/// How lvsd begins to report what it takes for another program's doing.
const SUSPICIONS: [&str; 3] = ["was there already", "put back", "host's own"];
const LINKS: usize = 500;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(1)?;
    let mut slow = SLOW.to_vec();
    slow.push("4mb");
    for count in [600, 2000] {
        for make in [Make::Keepalived, Make::Lvsd] {
            let name = format!("{}: {count} VIPs", make.name());
            lab.step(&name);
            judge::output(&lab.host("d1")?, &slow)?;
            many(lab, &segment, make, count).map_err(|e| format!("{name}: {e}"))?;
            judge::output(&lab.host("d1")?, &["tc", "qdisc", "del", "dev", "eth0", "root"])?;
        }
    }
    lab.step("links of containers come and go");
    storm(lab, &segment)?;
    for make in [Make::Keepalived, Make::Lvsd] {
        lab.step(format!("{}: process 1 of a container", make.name()));
        first_process(lab, make)?;
    }
    Ok(())
}

/// Takes over, loses its link, takes over again, stops.
fn many(lab: &Lab, segment: &Segment, make: Make, count: u16) -> Verdict {
    let mut node = Node::new(lab, "d1", make, &configuration(count))?;
    let begun = Instant::now();
    node.start(lab)?;
    let took = takeover(segment, begun, count, make)?;
    lab.step(format!("  {took}"));
    pause(seconds(12));

    let down = Instant::now();
    batch(Some("d1"), "link set eth0 down\n")?;
    pause(INTERVAL * 2);
    batch(Some("d1"), "link set eth0 up\n")?;
    let took = takeover(segment, down + INTERVAL, count, make)?;
    lab.step(format!("  again, after its link was down: {took}"));
    pause(seconds(12));
    same("VIPs that are there", &vips(&node)?, &(usize::from(count) + 1))?;

    let stopped = Instant::now();
    node.end(Signal::TERM)?;
    lab.step(format!("  stopped after {:?}", stopped.elapsed()));
    same("VIPs that are left", &vips(&node)?, &0)?;
    if make == Make::Lvsd {
        let log = node.log();
        let lines: Vec<&str> = log.lines().filter(|l| SUSPICIONS.iter().any(|s| l.contains(s))).collect();
        claim(lines.is_empty(), || format!("suspicions:\n{}", lines.join("\n")))?;
    }
    Ok(())
}

/// How many VIPs were announced, and how long after the first advertisement the last one was; of lvsd, in which order.
fn takeover(segment: &Segment, from: Instant, count: u16, make: Make) -> Result<String, String> {
    let (first, _) =
        segment.tap.wait_advert("Master", from, seconds(20), |a| a.vrid == VRID && a.priority > 0)?;
    pause(seconds(5));
    let announced: Vec<(Instant, Ipv4Addr)> = segment
        .tap
        .between(first, first + seconds(5))
        .into_iter()
        .filter_map(|passed| match passed.message {
            Message::GratuitousArp { address, .. } => Some((passed.at, address)),
            _ => None,
        })
        .collect();
    let mut firsts: BTreeMap<Ipv4Addr, Instant> = BTreeMap::new();
    for (at, address) in &announced {
        firsts.entry(*address).or_insert(*at);
    }
    let all = usize::from(count) + 1;
    let last = firsts.values().max().copied().unwrap_or(first);
    let took = last.saturating_duration_since(first);
    if make == Make::Keepalived {
        // What it does behind such a queue is its own affair.
        return Ok(format!("{} of {all} VIPs are announced after {took:?}", firsts.len()));
    }
    same("VIPs that were announced", &firsts.len(), &all)?;
    claim(took <= LIMIT, || format!("the last VIP is announced after {took:?}"))?;
    same("announcements", &announced.len(), &(all * REPEAT))?;
    for (number, round) in announced.chunks(all).enumerate() {
        let different = round.iter().map(|(_, address)| *address).collect::<BTreeSet<_>>().len();
        same(&format!("different VIPs of round {number}"), &different, &all)?;
    }
    Ok(format!("{all} of {all} VIPs are announced after {took:?}"))
}

fn configuration(count: u16) -> String {
    let mut text = format!(
        "vrrp_instance MANY {{\n state BACKUP\n interface eth0\n virtual_router_id {VRID}\n priority 100\n advert_int 1\n \
         virtual_ipaddress {{\n 10.77.0.100/24\n }}\n virtual_ipaddress_excluded {{\n"
    );
    for n in 0..count {
        let [high, low] = n.to_be_bytes();
        let _ = writeln!(text, "  10.78.{high}.{low}/32");
    }
    text.push_str(" }\n}\n");
    text
}

fn vips(node: &Node) -> Result<usize, String> {
    let all = judge::addresses(&node.host)?;
    let is_vip =
        |ip: &&std::net::IpAddr| ip.to_string().starts_with("10.78.") || ip.to_string() == "10.77.0.100";
    Ok(all.values().flatten().filter(is_vip).count())
}

/// Some hundred links are made and removed: no advertisement is late, and the log has nothing to say.
fn storm(lab: &Lab, segment: &Segment) -> Verdict {
    let mut node = Node::new(lab, "d1", Make::Lvsd, &configuration(50))?;
    let begun = Instant::now();
    node.start(lab)?;
    takeover(segment, begun, 50, Make::Lvsd)?;
    let from = Instant::now();
    let before = node.log().lines().count();
    for verb in ["add", "del"] {
        let mut lines = String::new();
        for n in 0..LINKS {
            let _ = match verb {
                "add" => writeln!(lines, "link add v{n} up type veth peer name w{n}\nlink set w{n} up"),
                _ => writeln!(lines, "link del v{n}"),
            };
        }
        batch(Some("d1"), &lines)?;
        pause(INTERVAL * 2);
    }
    pause(INTERVAL * 3);
    let adverts = segment.tap.adverts(VRID, from, Instant::now());
    let gap =
        adverts.iter().zip(adverts.iter().skip(1)).map(|(a, b)| b.0.saturating_duration_since(a.0)).max();
    claim(gap.is_some_and(|gap| gap < INTERVAL * 3 / 2), || format!("{gap:?} between two advertisements"))?;
    let log = node.log();
    let news: Vec<&str> = log.lines().skip(before).collect();
    claim(news.is_empty(), || format!("it says:\n{}", news.join("\n")))?;
    same("VIPs that are there", &vips(&node)?, &51)?;
    node.end(Signal::TERM)
}

/// Its track script leaves a process behind at every run: none of them stays in the table of processes.
fn first_process(lab: &Lab, make: Make) -> Verdict {
    let host = lab.host("d1")?;
    let script = lab.write("leaves.sh", "#!/bin/sh\n(sleep 0.1; exit 0) &\nexit 0\n")?;
    judge::run(&["chmod", "755", &script.display().to_string()])?;
    let text = format!(
        "global_defs {{\n script_user root\n enable_script_security\n}}\nvrrp_script leaves {{\n script {}\n interval 1\n}}\n\
         vrrp_instance ONE {{\n state BACKUP\n interface eth0\n virtual_router_id {VRID}\n priority 100\n advert_int 1\n \
         virtual_ipaddress {{\n 10.77.0.100/24\n }}\n track_script {{\n leaves\n }}\n}}\n",
        script.display()
    );
    let file = configure(lab, &host, &text)?;
    let mut command = Command::new("unshare");
    command.args(["-p", "-f", "--kill-child", "--mount-proc"]);
    match make {
        Make::Lvsd => {
            let run_dir = run_dir(&host);
            command.arg(lvsd_binary()).arg("run").arg("-c").arg(&file);
            command.args(["--run-dir", &run_dir, "--control", &control(&run_dir)]);
        }
        Make::Keepalived => {
            command.args(["keepalived", "-n", "-l", "-f"]).arg(&file);
        }
    }
    let daemon = Daemon::start(lab, &host, make.name(), &mut command)?;
    wait_for("it is Master", seconds(20), || {
        let all = judge::addresses(&host)?;
        let is_there = all.values().flatten().any(|ip| ip.to_string() == "10.77.0.100");
        if is_there { Ok(()) } else { Err(format!("{all:?}")) }
    })?;
    pause(seconds(40));
    let zombies = zombies()?;
    lab.step(format!("  {zombies} zombies after forty runs"));
    claim(zombies <= 5, || format!("{zombies} zombies after forty runs:\n{}", daemon.log_text()))?;
    daemon.kill()?;
    wait_for("the VIP is gone with it, or removed", seconds(5), || {
        let _ = batch(Some("d1"), "addr del 10.77.0.100/24 dev eth0\n");
        let all = judge::addresses(&host)?;
        let is_there = all.values().flatten().any(|ip| ip.to_string() == "10.77.0.100");
        if is_there { Err(format!("{all:?}")) } else { Ok(()) }
    })
}

/// Processes of the guest that have ended and that nothing has waited for.
fn zombies() -> Result<usize, String> {
    let entries = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let stats = entries.flatten().filter_map(|e| fs::read_to_string(e.path().join("stat")).ok());
    Ok(stats.filter(|stat| stat.contains(") Z ")).count())
}
