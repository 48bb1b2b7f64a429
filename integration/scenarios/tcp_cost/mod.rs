//! What a TCP_CHECK costs: between one check's socket and the next one's, strace sees six system calls that are not
//! waiting: socket, connect, two registrations, the socket's error, close.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, lvsd_arguments, lvsd_binary, run_dir};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// Checks that are looked at.
const CHECKS: usize = 40;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let file = configure(lab, &site.director, include_str!("keepalived.conf"))?;
    let trace = lab.out().join("strace");
    let dir = run_dir(&site.director);
    let mut command = Command::new("strace");
    // One file for each thread: the checks are made by the first. Clocks are no system calls outside this kernel.
    command.args(["-ff", "-e", "trace=%network,%desc", "-o"]).arg(&trace).arg(lvsd_binary());
    lvsd_arguments(&mut command, &file, &dir);
    let mut daemon = Daemon::start(lab, &site.director, "strace", &mut command)?;
    daemon.wait_log(READY, seconds(60))?;
    let costs = wait_for("enough checks are traced", seconds(60), || {
        let costs = costs(&checks(lab)?);
        if costs.len() >= CHECKS { Ok(costs) } else { Err(format!("{} checks", costs.len())) }
    })?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for cost in costs {
        *seen.entry(cost.join(" ")).or_default() += 1;
    }
    let (usual, count) = seen.iter().max_by_key(|(_, count)| **count).ok_or("no check is over")?;
    lab.step(format!("a check: {usual}"));
    claim(usual.split(' ').count() <= 6, || format!("at most six system calls for a check: {seen:#?}"))?;
    // The director's own work falls between some of them: a sweep, a state that is saved.
    claim(*count * 2 > CHECKS, || format!("most checks are alike: {seen:#?}"))?;
    // strace hands the signal on, and ends with what it traced.
    let pid = crate::lab::daemon::processes("lvsd")?;
    let pid = pid.first().and_then(|pid| pid.parse().ok()).and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.ok_or("lvsd runs")?, Signal::TERM).map_err(|e| format!("kill: {e}"))?;
    let code = daemon.wait_exit(seconds(20))?;
    crate::lab::same("exit code", &code, &0)
}

/// The lines of the thread that makes the checks.
fn checks(lab: &Lab) -> Result<String, String> {
    let mut all = Vec::new();
    for entry in fs::read_dir(lab.out()).map_err(|e| format!("artefacts: {e}"))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("strace.") {
            all.push(fs::read_to_string(entry.path()).unwrap_or_default());
        }
    }
    all.into_iter().find(|text| text.contains(SOCKET)).ok_or_else(|| "no check yet".to_owned())
}

/// How strace writes the loop's message to itself.
const WAKE: &str = r#""\1\0\0\0\0\0\0\0", 8"#;
/// How strace writes the beginning of a check.
const SOCKET: &str = "socket(AF_INET, SOCK_STREAM";

/// The names of the system calls from each check's first to the next one's, waiting apart.
fn costs(trace: &str) -> Vec<Vec<String>> {
    let mut costs: Vec<Vec<String>> = Vec::new();
    for line in trace.lines() {
        if line.starts_with(SOCKET) {
            costs.push(Vec::new());
        }
        let Some((name, arguments)) = line.split_once('(') else { continue };
        // The standard library's own check of a descriptor it closes, and tokio's of one it takes: in debug builds only.
        let is_debugging =
            name == "fcntl" && ["F_GETFD", "F_GETFL"].iter().any(|word| arguments.contains(word));
        // With one checker alone every timer is the next one, and the loop's wait is told so: part of waiting.
        let is_waiting = name.starts_with("epoll_pwait") || name == "epoll_wait" || arguments.contains(WAKE);
        if let Some(cost) = costs.last_mut().filter(|_| !is_debugging && !is_waiting) {
            cost.push(name.to_owned());
        }
    }
    // The last may not be over.
    costs.pop();
    costs
}
