//! A thousand virtual servers with ten real servers each: the whole table is there, and how long it took is
//! printed beside what Debian's keepalived needs for the same file in the same kernel.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, run_dir};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::Topology;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const VIRTUAL_SERVERS: u16 = 1000;
const REAL_SERVERS: u16 = 10;
const FULL: (usize, usize) = (1000, 10_000);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    judge::modprobe(&["ip_vs", "ip_vs_rr"])?;
    let mut topology = Topology::new(&["front"]);
    for (name, number) in [("d1", 11), ("d2", 12)] {
        topology.host(name).plug(name, "eth0", "front", &[&format!("10.1.0.{number}/24")]);
    }
    lab.build(&topology)?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);

    let file = configure(lab, &d1, &configuration(1))?;
    let begun = Instant::now();
    let mut daemon = Daemon::start_lvsd(lab, &d1, &file, &run_dir(&d1), &[])?;
    daemon.wait_log(READY, seconds(120))?;
    let ready = begun.elapsed();
    wait_for_counts(&d1, FULL)?;
    let full = begun.elapsed();
    let memory = daemon.memory()?;
    lab.step(format!("lvsd: ready after {}, table seen full after {}, {memory} KiB", ms(ready), ms(full)));
    let table = Table::read(&d1)?;

    let begun = Instant::now();
    configure(lab, &d1, &configuration(2))?;
    daemon.reload()?;
    wait_for("the last virtual server's weights are 2", seconds(120), || {
        let last =
            judge::output(&d1, &["ipvsadm", "-Ln", "-t", &format!("{}:80", vip(VIRTUAL_SERVERS - 1))])?;
        if last.matches(" 2 ").count() >= usize::from(REAL_SERVERS) { Ok(()) } else { Err(last) }
    })?;
    lab.step(format!("lvsd: 10,000 weights changed by a reload after {}", ms(begun.elapsed())));
    configure(lab, &d1, &configuration(1))?;
    daemon.reload()?;
    wait_for("the first file again", seconds(120), || {
        let now = Table::read(&d1)?;
        if now == table { Ok(()) } else { Err(format!("{:?}", now.counts())) }
    })?;

    all_fail_at_once(lab, &d1, &daemon)?;

    let begun = Instant::now();
    daemon.signal(Signal::TERM)?;
    same("exit code", &daemon.wait_exit(seconds(120))?, &0)?;
    lab.step(format!("lvsd: stopped after {}", ms(begun.elapsed())));
    same("the table after a stop", &Table::read(&d1)?.counts(), &(0, 0))?;

    let begun = Instant::now();
    let keepalived = Daemon::keepalived(lab, &d2, &configuration(1))?;
    wait_for_counts(&d2, FULL)?;
    lab.step(format!("keepalived: table seen full after {}", ms(begun.elapsed())));
    let theirs = Table::read(&d2)?;
    keepalived.signal(Signal::TERM)?;
    claim(theirs == table, || "lvsd and keepalived make the same table of the same file".to_owned())
}

/// Ten thousand checks that are refused: the worst moment is no time to be slow.
fn all_fail_at_once(lab: &Lab, d1: &Host, daemon: &Daemon) -> Verdict {
    let checked = configuration(1).replace("10.20.", "127.20.").replace(
        "        weight 1\n",
        "        TCP_CHECK {\n            connect_timeout 1\n            retry 0\n        }\n",
    );
    configure(lab, d1, &checked)?;
    let begun = Instant::now();
    daemon.reload()?;
    wait_for_counts(d1, (1000, 0))?;
    lab.step(format!("lvsd: 10,000 servers refused and out after {}", ms(begun.elapsed())));
    Ok(())
}

/// Counts by /proc/net/ip_vs, which is much cheaper to read than ipvsadm is to run.
fn wait_for_counts(host: &Host, want: (usize, usize)) -> Verdict {
    wait_for(&format!("{want:?} services and destinations"), seconds(180), || {
        let counts = host.enter(|| {
            let text = std::fs::read_to_string("/proc/thread-self/net/ip_vs")
                .map_err(|e| format!("/proc/net/ip_vs: {e}"))?;
            let destinations = text.lines().filter(|l| l.starts_with("  -> ")).count();
            // Three lines of heading; the last of them looks like a destination.
            Ok((text.lines().count().saturating_sub(destinations + 2), destinations.saturating_sub(1)))
        })?;
        if counts == want { Ok(()) } else { Err(format!("{counts:?}")) }
    })
}

fn vip(n: u16) -> String {
    format!("10.10.{}.{}", n / 250, n % 250 + 1)
}

fn configuration(weight: u32) -> String {
    let mut text = String::new();
    for n in 0..VIRTUAL_SERVERS {
        let _ = writeln!(
            text,
            "virtual_server {} 80 {{\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP",
            vip(n)
        );
        for k in 1..=REAL_SERVERS {
            let _ = writeln!(
                text,
                "    real_server 10.20.{k}.{} 80 {{\n        weight {weight}\n    }}",
                n % 250 + 1
            );
        }
        text.push_str("}\n");
    }
    text
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
