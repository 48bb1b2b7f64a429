//! Debian's keepalived and lvsd read the same files, in two hosts of one kernel: `ipvsadm -Sn`, the timeouts and
//! the sync daemons must be the same. A generator writes the files from the words of the LVS side, by seed
//! (`LVSD_LAB_SEED` replays one); `corners.conf` beside this file holds what deserves a place of its own.
//!
//! Each seed gives two files. The first has no checkers: both tables are what it says, and hold still. The second
//! has ([`checks`]), of servers that are well, ill, closed or nowhere: both must come to the same table, by their own
//! verdicts, quorum and sorry servers included, and stay there.

mod checks;

use std::fmt::Write as _;

use lvsd::internals::ipvs::SCHEDULERS;
use rustix::process::Signal;

use crate::lab::daemon::{self, Daemon};
use crate::lab::host::Host;
use crate::lab::table::{Table, ipvsadm};
use crate::lab::topology::Topology;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const SEEDS: std::ops::Range<u64> = 1..5;
const VIRTUAL_SERVERS: u8 = 40;
const CHECKED: u8 = 25;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    judge::modprobe(&["ip_vs"])?;
    let mut topology = Topology::new(&["front"]);
    for (name, number) in [("d1", 11), ("d2", 12)] {
        let (v4, v6) = (format!("10.1.0.{number}/24"), format!("fd00:1::{number}/64"));
        let near = format!("10.1.2.{}/24", number + 200);
        topology.host(name).plug(name, "eth0", "front", &[&v4, &v6, &near]);
    }
    let addresses = checks::addresses();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    topology.host(checks::HOST).plug(checks::HOST, "eth0", "front", &addresses);
    lab.build(&topology)?;
    let hosts = (lab.host("d1")?, lab.host("d2")?);
    let _webs = checks::answering(lab, [&hosts.0, &hosts.1])?;
    let schedulers: Vec<&str> = SCHEDULERS
        .iter()
        .map(|s| s.name)
        .filter(|name| {
            ipvsadm(&hosts.0, &format!("-A -t 10.9.9.9:9 -s {name}")).is_ok_and(|()| clear(&hosts.0))
        })
        .collect();

    compare(lab, &hosts, "corners.conf", include_str!("corners.conf"))?;
    let seeds = match std::env::var("LVSD_LAB_SEED").map(|seed| seed.parse::<u64>()) {
        Ok(Ok(seed)) => seed..seed + 1,
        Ok(Err(_)) => return Err("LVSD_LAB_SEED is no number".to_owned()),
        Err(_) => SEEDS,
    };
    for seed in seeds {
        let text = generate(&mut fastrand::Rng::with_seed(seed), &schedulers, false);
        compare(lab, &hosts, &format!("seed {seed}"), &text)?;
        let text = generate(&mut fastrand::Rng::with_seed(seed), &schedulers, true);
        compare_checked(lab, &hosts, &format!("seed {seed} with checks"), &text)?;
    }
    Ok(())
}

/// Takes the trial service away again.
fn clear(host: &Host) -> bool {
    ipvsadm(host, "-D -t 10.9.9.9:9").is_ok()
}

/// One file, both daemons, one after the other; each leaves an empty table.
fn compare(lab: &Lab, (ours, theirs): &(Host, Host), name: &str, text: &str) -> Verdict {
    let daemon = Daemon::lvsd(lab, ours, text)?;
    let (table, settings) = (Table::read(ours)?, settings(ours)?);
    let keepalived = Daemon::keepalived(lab, theirs, text)?;
    let verdict = wait_for(&format!("{name}: keepalived's table is lvsd's"), seconds(20), || {
        let other = Table::read(theirs)?;
        if other == table { Ok(()) } else { Err(difference(&table, &other)) }
    });
    if verdict.is_err() {
        lab.write(&format!("{}.differs.conf", name.replace(' ', "-")), text)?;
    }
    verdict?;
    same(&format!("{name}: timeouts and sync daemons"), &settings, &self::settings(theirs)?)?;
    let (services, destinations) = table.counts();
    lab.step(format!("{name}: the same {services} services, {destinations} destinations, {settings}"));
    claim(services > 0, || format!("{name}: a table worth comparing"))?;
    keepalived.end(Signal::TERM)?;
    daemon.end(Signal::TERM)?;
    same("the table after both have stopped", &Table::read(ours)?, &Table::default())
}

/// One file with checks, both daemons at once.
fn compare_checked(lab: &Lab, (ours, theirs): &(Host, Host), name: &str, text: &str) -> Verdict {
    let lvsd = Daemon::lvsd(lab, ours, text)?;
    let at_first = Table::read(ours)?;
    let keepalived = Daemon::keepalived(lab, theirs, text)?;
    let verdict = wait_for(&format!("{name}: each checker of lvsd has run"), seconds(60), || {
        checks::all_ran(&daemon::status(ours)?)
    });
    let is_same = || {
        let (table, other) = (Table::read(ours)?, Table::read(theirs)?);
        if other == table { Ok(table) } else { Err(difference(&table, &other)) }
    };
    let same_table = format!("{name}: keepalived's table is lvsd's");
    let verdict = verdict.and_then(|()| wait_for(&same_table, seconds(120), is_same)).and_then(|_| {
        // No verdict is outstanding by now.
        pause(seconds(30));
        is_same().map_err(|difference| format!("{same_table} and stays so:\n{difference}"))
    });
    if verdict.is_err() {
        lab.write(&format!("{}.differs.conf", name.replace(' ', "-")), text)?;
    }
    let table = verdict?;
    let (services, destinations) = table.counts();
    lab.step(format!("{name}: the same {services} services, {destinations} destinations"));
    claim(table != at_first, || format!("{name}: a real server is down"))?;
    keepalived.end(Signal::TERM)?;
    lvsd.end(Signal::TERM)?;
    same("the table after both have stopped", &Table::read(ours)?, &Table::default())
}

/// Timeouts and sync daemons in ipvsadm's words, on one line.
fn settings(host: &Host) -> Result<String, String> {
    let timeouts = judge::output(host, &["ipvsadm", "-L", "--timeout"])?;
    let daemons = judge::output(host, &["ipvsadm", "-L", "--daemon"])?;
    Ok(format!("{timeouts} {daemons}").split_whitespace().collect::<Vec<_>>().join(" "))
}

fn difference(ours: &Table, theirs: &Table) -> String {
    let (ours, theirs) = (ours.to_string(), theirs.to_string());
    let only = |a: &str, b: &str| {
        let lines = a.lines().filter(|line| !b.lines().any(|other| other == *line));
        lines.take(20).collect::<Vec<_>>().join("\n")
    };
    format!("only lvsd:\n{}\nonly keepalived:\n{}", only(&ours, &theirs), only(&theirs, &ours))
}

/// A file of virtual servers from the words of the LVS side. What keepalived 2.2 gets wrong is left out: flags of
/// sh and mh stand behind lb_algo, and a sorry server is never also a real server.
fn generate(rng: &mut fastrand::Rng, schedulers: &[&str], is_checked: bool) -> String {
    let mut text = String::from("global_defs {\n    router_id same-table\n");
    if rng.bool() {
        let _ = writeln!(text, "    lvs_timeouts tcp {} tcpfin {} udp {}", time(rng), time(rng), time(rng));
    }
    text.push_str("}\n");
    for n in 0..if is_checked { CHECKED } else { VIRTUAL_SERVERS } {
        virtual_server(rng, schedulers, n, is_checked, &mut text);
    }
    text
}

fn time(rng: &mut fastrand::Rng) -> u32 {
    rng.u32(1..5000)
}

fn virtual_server(rng: &mut fastrand::Rng, schedulers: &[&str], n: u8, is_checked: bool, text: &mut String) {
    let is_six = rng.bool();
    let is_marked = rng.u8(0..8) == 0;
    let is_udp = !is_marked && rng.u8(0..4) == 0;
    let heading = match (is_marked, is_six) {
        (true, _) => format!("fwmark {}", u32::from(n) + 1),
        (false, true) => format!("fd00:1::1:{n:x} 80"),
        (false, false) => format!("10.1.1.{n} 80"),
    };
    let scheduler = rng.choice(schedulers).copied().unwrap_or("rr");
    let kind = rng.choice(["NAT", "DR", "TUN"]).unwrap_or("NAT");
    let _ = writeln!(text, "virtual_server {heading} {{\n    lb_algo {scheduler}");
    let _ = writeln!(text, "    {} {kind}", rng.choice(["lb_kind", "lvs_method"]).unwrap_or("lb_kind"));
    if is_marked {
        let _ = writeln!(text, "    ip_family {}", if is_six { "inet6" } else { "inet" });
    } else {
        let protocol = if is_udp { "UDP" } else { rng.choice(["TCP", "tcp", "SCTP"]).unwrap_or("TCP") };
        let _ = writeln!(text, "    protocol {protocol}");
    }
    options(rng, scheduler, is_six, is_udp, text);
    if is_checked {
        checks::of_virtual_server(rng, text);
    }
    let address = |n: u8| if is_six { format!("fd00:1::2:{n:x}") } else { format!("10.1.2.{n}") };
    let port = if is_marked && kind != "NAT" { String::new() } else { " 80".to_owned() };
    if rng.bool() {
        let _ = writeln!(text, "    sorry_server {}{port}", address(250));
    }
    for real in 1..rng.u8(2..6) {
        let nat_port = if kind == "NAT" && !port.is_empty() { " 8080".to_owned() } else { port.clone() };
        let _ = writeln!(text, "    real_server {}{nat_port} {{", address(real));
        if rng.bool() {
            let most = if is_checked { 4 } else { 70_000 };
            let _ = writeln!(text, "        weight {}", rng.u32(0..most));
        }
        if rng.u8(0..4) == 0 {
            let upper = rng.u32(10..10_000);
            let _ = writeln!(text, "        uthreshold {upper}\n        lthreshold {}", rng.u32(1..upper));
        }
        if is_checked {
            checks::of_real_server(rng, text);
        }
        text.push_str("    }\n");
    }
    text.push_str("}\n");
}

fn options(rng: &mut fastrand::Rng, scheduler: &str, is_six: bool, is_udp: bool, text: &mut String) {
    if matches!(scheduler, "sh" | "mh") {
        for flag in ["port", "fallback"] {
            if rng.bool() {
                let _ = writeln!(text, "    {scheduler}-{flag}");
            }
        }
    }
    if is_udp && rng.u8(0..3) == 0 {
        text.push_str("    ops\n");
    } else if rng.bool() {
        let _ = writeln!(text, "    persistence_timeout {}", time(rng));
        if rng.bool() {
            let mask = if is_six { "64" } else { "255.255.255.0" };
            let _ = writeln!(text, "    persistence_granularity {mask}");
        }
    }
    if rng.u8(0..4) == 0 {
        let _ = writeln!(text, "    weight {}", rng.u32(1..9));
    }
}
