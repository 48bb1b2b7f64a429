//! Scripts around a director's life, beside Debian's keepalived: one runs before there is a service, one when there is
//! none any more, nor a VIP. One that hangs costs its time; a stop meanwhile does not wait for it.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;

use super::{FOLDER, prepare, program};
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const CONF: &str = include_str!("life.conf");
/// Writes down when it runs, and what services and VIPs there are then; takes a second.
const LIFE: &str = "#!/bin/sh\nservices=$(ipvsadm -Ln | grep -c ^TCP)\nvips=$(ip -4 addr show eth0 | grep -c 10.1.0.100)\n\
                    echo \"$1: $services services, $vips VIPs\" >> /run/notices/life.told\n[ -e /run/notices/hang ] && sleep 1000\nsleep 1\n";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let host = lab.host("d1")?;
    let around = ["start: 0 services, 0 VIPs", "stop: 0 services, 0 VIPs"];
    for (name, start) in [("keepalived", Daemon::keepalived as super::Start), ("lvsd", Daemon::lvsd)] {
        lab.step(name);
        ready()?;
        let daemon = start(lab, &host, &conf(5))?;
        serves(&host)?;
        same("what is told once it serves", &received(), &vec![around[0].to_owned()])?;
        daemon.end(Signal::TERM)?;
        same("what is told in the end", &received(), &around.map(str::to_owned).to_vec())?;
    }

    lab.step("a script that hangs costs its time, and the start goes on");
    ready()?;
    hang(true)?;
    let begun = Instant::now();
    let mut daemon = Daemon::lvsd(lab, &host, &conf(3))?;
    serves(&host)?;
    claim(begun.elapsed() >= seconds(3), || format!("it served after {:?}", begun.elapsed()))?;
    daemon.wait_log("startup_script: /run/notices/life was ended because its time was over", seconds(1))?;
    hang(false)?;

    lab.step("a hand-over is no end");
    daemon.hand_over()?;
    same("what is told", &received(), &vec![around[0].to_owned()])?;
    let daemon = Daemon::lvsd(lab, &host, &conf(5))?;
    serves(&host)?;
    daemon.end(Signal::TERM)?;

    lab.step("a stop meanwhile does not wait for the script");
    ready()?;
    hang(true)?;
    let file = crate::lab::daemon::configure(lab, &host, &conf(1000))?;
    let run_dir = crate::lab::daemon::run_dir(&host);
    let daemon = Daemon::start_lvsd(lab, &host, &file, &run_dir, &[])?;
    wait_for("the script runs", seconds(5), || {
        if received().is_empty() { Err("no".to_owned()) } else { Ok(()) }
    })?;
    hang(false)?;
    pause(seconds(1));
    let ended = Instant::now();
    daemon.end(Signal::TERM)?;
    claim(ended.elapsed() < seconds(5), || format!("it ended after {:?}", ended.elapsed()))?;
    same("what is told: what was begun is undone", &received(), &around.map(str::to_owned).to_vec())?;
    same("services", &services(&host)?, &0)
}

fn conf(limit: u32) -> String {
    format!("$LIMIT={limit}\n{CONF}")
}

fn ready() -> Verdict {
    prepare()?;
    program("life", LIFE)
}

/// Whether the script at the start hangs.
fn hang(does: bool) -> Verdict {
    let path = format!("{FOLDER}/hang");
    let done = if does { fs::write(&path, "") } else { fs::remove_file(&path) };
    done.map_err(|e| format!("{path}: {e}"))
}

/// The lines the scripts wrote.
fn received() -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/life.told")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Waits until the VIP and its service are there.
fn serves(host: &Host) -> Verdict {
    wait_for("the VIP and its service are there", seconds(20), || {
        let held = judge::addresses(host)?.remove("eth0").unwrap_or_default();
        let has_vip = held.iter().any(|ip| ip.to_string() == "10.1.0.100");
        match services(host)? {
            1 if has_vip => Ok(()),
            count => Err(format!("{count} services, {held:?}")),
        }
    })
}

fn services(host: &Host) -> Result<usize, String> {
    Ok(judge::output(host, &["ipvsadm", "-Ln"])?.lines().filter(|line| line.starts_with("TCP")).count())
}
