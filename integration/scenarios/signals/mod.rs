//! Every signal that people, exporters and logrotate send to keepalived by habit is sent to a Master: it stays Master
//! with its VIP, those for keepalived's dumps write the status, and what is left to end it does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, lvsd, run_dir};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const CONF: &str = include_str!("keepalived.conf");
/// SIGHUP reloads, SIGINT and SIGTERM stop; the others are a broken program's, a watchdog's, or cannot be caught.
const NOT_HARMLESS: [i32; 16] = [1, 2, 4, 5, 6, 7, 8, 9, 11, 15, 17, 19, 21, 22, 24, 31];
const DUMPS: &str = "/run/signals-dumps";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let host = lab.host("d1")?;
    let before = judge::addresses(&host)?;
    fs::create_dir_all(DUMPS).map_err(|e| format!("{DUMPS}: {e}"))?;
    let (file, dir) = (configure(lab, &host, CONF)?, run_dir(&host));
    let mut daemon = Daemon::start_lvsd(lab, &host, &file, &dir, &["--keepalived-dumps", DUMPS])?;
    daemon.wait_log("Backup -> Master", seconds(10))?;
    let held = wait_for("its VIP is there", seconds(2), || {
        let now = judge::addresses(&host)?;
        if now == before { Err(format!("{now:?}")) } else { Ok(now) }
    })?;

    lab.step("every other signal, as `kill` sends it");
    for number in (1..=64).filter(|n| !NOT_HARMLESS.contains(n) && ![32, 33].contains(n)) {
        judge::run(&["sh", "-c", &format!("kill -{number} {}", daemon.pid())])?;
        pause(std::time::Duration::from_millis(20));
        claim(daemon.is_running(), || format!("signal {number} ended it:\n{}", daemon.log_text()))?;
    }
    pause(seconds(2));
    same("the addresses", &judge::addresses(&host)?, &held)?;
    let log = daemon.log_text();
    claim(!log.contains("Master -> "), || log.clone())?;
    for words in
        ["SIGQUIT ignored: SIGTERM or SIGINT stops lvsd", "SIGTSTP ignored", "a real-time signal ignored"]
    {
        claim(log.contains(words), || format!("no {words:?}:\n{log}"))?;
    }

    lab.step(
        "keepalived's own way to ask: the number by its name, then the signal; each writes all files anew",
    );
    let files = ["status.json", "status.txt"].map(|name| format!("{dir}/{name}"));
    let dumps =
        ["keepalived.data", "keepalived.stats", "keepalived.json"].map(|name| format!("{DUMPS}/{name}"));
    for name in ["DATA", "STATS", "STATS_CLEAR", "JSON", "TDATA"] {
        for file in files.iter().chain(&dumps) {
            fs::remove_file(file).map_err(|e| format!("{name}: {file}: {e}"))?;
        }
        let number = lvsd(&host, &[&format!("--signum={name}")])?;
        same("exit code", &number.code, &Some(0))?;
        judge::run(&["sh", "-c", &format!("kill -s {} $(cat {dir}/lvsd.pid)", number.stdout.trim())])?;
        wait_for(&format!("{name} writes its files"), seconds(5), || {
            let missing: Vec<_> = files.iter().chain(&dumps).filter(|f| fs::metadata(f).is_err()).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?}")) }
        })?;
    }
    let read = |path: &String| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let [json, text] = &files;
    let status: serde_json::Value = serde_json::from_str(&read(json)?).map_err(|e| e.to_string())?;
    same(
        "its state",
        &status.pointer("/router/instances/0/state").and_then(serde_json::Value::as_str),
        &Some("master"),
    )?;
    claim(read(text)?.contains("web"), || "the text names the instance".to_owned())?;
    let [data, stats, json] = &dumps;
    claim(read(data)?.contains("   State = MASTER\n"), || "keepalived.data".to_owned())?;
    claim(read(stats)?.contains("  Became master: 1\n"), || "keepalived.stats".to_owned())?;
    let dump: serde_json::Value = serde_json::from_str(&read(json)?).map_err(|e| e.to_string())?;
    same(
        "keepalived's number of Master",
        &dump.pointer("/0/data/state").and_then(serde_json::Value::as_u64),
        &Some(2),
    )?;
    let modes: BTreeSet<u32> = files
        .iter()
        .chain(&dumps)
        .filter_map(|f| fs::metadata(f).ok())
        .map(|m| m.permissions().mode() & 0o777)
        .collect();
    same("modes", &modes, &BTreeSet::from([0o600]))?;
    claim(daemon.log_text().contains(&format!("SIGUSR1: the status is in {dir}/status.json")), || {
        daemon.log_text()
    })?;

    lab.step("a hand-over is refused while the next start would fail, and answers when it is done");
    fs::write(&file, CONF.replace("virtual_router_id", "virtual_ruter_id")).map_err(|e| e.to_string())?;
    let control = crate::lab::daemon::control(&dir);
    let arguments = ["handover", "--run-dir", &dir, "--control", &control];
    let refused = lvsd(&host, &arguments)?;
    same("exit code", &refused.code, &Some(78))?;
    claim(refused.stderr.contains("virtual_ruter_id"), || refused.stderr.clone())?;
    claim(daemon.is_running(), || "it goes on".to_owned())?;
    fs::write(&file, CONF).map_err(|e| e.to_string())?;
    let stopped = lvsd(&host, &[&arguments[..], &["--if-restarting", "lvsd.service"]].concat())?;
    same("without systemd it is a stop, which is not its work", &stopped.code, &Some(0))?;
    claim(daemon.is_running(), || "it goes on".to_owned())?;
    let done = lvsd(&host, &arguments)?;
    same(&format!("exit code: {}", done.stderr), &done.code, &Some(0))?;
    same("its own exit code", &daemon.wait_exit(seconds(1))?, &0)?;
    same("the addresses", &judge::addresses(&host)?, &held)?;
    let mut daemon = Daemon::start_lvsd(lab, &host, &file, &dir, &[])?;
    daemon.wait_log("handed over by a predecessor", seconds(5))?;
    claim(!daemon.log_text().contains("-> Backup"), || daemon.log_text())?;

    lab.step("SIGTERM ends it, also where a file is being read: nothing of that is put in force");
    let more = CONF.replace("10.1.0.100/24", "10.1.0.100/24\n        10.1.0.180/24");
    fs::write(&file, more).map_err(|e| e.to_string())?;
    for signal in [Signal::STOP, Signal::HUP, Signal::TERM, Signal::CONT] {
        daemon.signal(signal)?;
    }
    same("exit code", &daemon.wait_exit(seconds(15))?, &0)?;
    let log = daemon.log_text();
    claim(!log.contains("is in force") && !log.contains("10.1.0.180"), || log.clone())?;
    same("the addresses", &judge::addresses(&host)?, &before)
}
