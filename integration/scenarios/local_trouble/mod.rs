//! Checks that cannot be made for a reason of the director's own: the source address of `bindto` is gone (EADDRNOTAVAIL),
//! no file descriptors are left (EMFILE). Verdicts are held, the table stays, the log says so, and when it lasts also
//! status, doctor and metrics; afterwards checks go on.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::site::{Site, WEB};
use crate::lab::topology::batch;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const ALL: [&str; 3] = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    batch(Some("d1"), "addr add 10.1.0.77/32 dev eth0")?;
    let mut daemon = Daemon::lvsd(lab, &site.director, include_str!("keepalived.conf"))?;
    site.wait_for_serving(&ALL)?;
    wait_for("every server was checked", seconds(15), || {
        let unchecked = unhealthy(&site)?;
        if unchecked.is_empty() { Ok(()) } else { Err(format!("{unchecked:?}")) }
    })?;

    lab.step("the source address of one server's checks is gone");
    batch(Some("d1"), "addr del 10.1.0.77/32 dev eth0")?;
    daemon.wait_log(
        "HTTP_GET of 10.1.0.22:80 cannot run here, its verdict is held: bindto 10.1.0.77 is not an address of this host",
        seconds(15),
    )?;
    daemon.wait_log(
        "10.1.0.22:80 could not be checked for 3 s (HTTP_GET): it still counts as up, and clients may be sent to a dead \
         server: bindto 10.1.0.77",
        seconds(15),
    )?;
    wait_for("status says since when", seconds(10), || {
        let text = status(&site.director)?.to_string();
        let words = "\"unverified_seconds\":";
        let told = text.matches(words).count() > text.matches(&format!("{words}null")).count();
        if told { Ok(()) } else { Err(text) }
    })?;
    same("the table, verdicts held", &site.table()?.serving(WEB), &ALL.to_vec())?;
    let dir = run_dir(&site.director);
    let (control, file) = (control(&dir), lab.out().join("d1.conf").display().to_string());
    let words = "10.1.0.22:80 cannot be checked from here";
    for command in [&["status", "--control", &control][..], &["doctor", "-c", &file, "--run-dir", &dir]] {
        let said = lvsd(&site.director, command)?.stdout;
        claim(said.contains(words), || format!("lvsd {command:?} does not say {words:?}:\n{said}"))?;
    }
    batch(Some("d1"), "addr add 10.1.0.77/32 dev eth0")?;
    daemon.wait_log("HTTP_GET of 10.1.0.22:80 runs again", seconds(15))?;

    lab.step("no file descriptors left");
    let pid = Pid::from_raw(daemon.pid().cast_signed());
    // Some are open for a moment only, while the daemon looks at its host.
    let mut open = usize::MAX;
    for _ in 0..30 {
        let all = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_err(|e| format!("fd: {e}"))?;
        open = open.min(all.count());
        pause(Duration::from_millis(100));
    }
    let none_left = Rlimit { current: Some(open as u64), ..getrlimit(Resource::Nofile) };
    let before = prlimit(pid, Resource::Nofile, none_left).map_err(|e| format!("prlimit: {e}"))?;
    site.web("rs1")?.set_health_status(503);
    for server in ALL {
        let words =
            format!("HTTP_GET of {server} cannot run here, its verdict is held: no file descriptors left");
        daemon.wait_log(&words, seconds(15))?;
    }
    same("the table, verdicts held", &site.table()?.serving(WEB), &ALL.to_vec())?;
    // An operator who asks what is wrong is answered all the same, by the descriptor in reserve.
    for _ in 0..3 {
        let told = status(&site.director)?.to_string();
        claim(told.contains("no file descriptors left"), || told)?;
    }

    lab.step("descriptors again: the server that fell ill meanwhile is noticed");
    prlimit(pid, Resource::Nofile, before).map_err(|e| format!("prlimit: {e}"))?;
    site.wait_for_serving(&["10.1.0.22:80", "10.1.0.23:80"])?;
    site.web("rs1")?.set_health_status(200);
    site.wait_for_serving(&ALL)?;
    daemon.end(Signal::TERM)
}

/// Real servers the daemon does not report as checked and up.
fn unhealthy(site: &Site) -> Result<Vec<String>, String> {
    let status = status(&site.director)?;
    let servers = status.pointer("/director/virtual_servers/0/real_servers").and_then(|v| v.as_array());
    let servers = servers.ok_or_else(|| format!("no real servers in {status}"))?;
    let is_up = |s: &&serde_json::Value| s.get("health").and_then(|h| h.as_str()) != Some("up");
    Ok(servers.iter().filter(is_up).map(ToString::to_string).collect())
}
