//! `assert`, with a small cloud: the command follows the Master, is repeated while the API fails, is ended when it hangs or
//! the instance is Master no longer, runs again when another host claims the VIP, and never runs twice at once.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::vrrp::frame::{Forged, message_v3};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::VIP;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("director.yaml");
const TAKE: &str = include_str!("take");
const FOLDER: &str = "/run/assert";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let _segment = lab.segment(2)?;
    fs::create_dir_all(FOLDER).map_err(|e| e.to_string())?;
    let take = format!("{FOLDER}/take");
    fs::write(&take, TAKE).map_err(|e| e.to_string())?;
    fs::set_permissions(&take, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    let (one, two) = (start(lab, &d1, 150)?, start(lab, &d2, 100)?);

    lab.step("the Master's command makes the cloud route the VIP to it");
    owner_is("d1")?;
    same("what it was told", &calls("d1"), &vec!["web 61 150 10.77.0.100 master 1".to_owned()])?;
    wait_for("the status says so", seconds(5), || is_asserted(&d1))?;
    let table = status_text(&d1)?;
    lab.note(&table);
    claim(table.contains("assert: /run/assert/take: succeeded"), || format!("the table says so:\n{table}"))?;
    pause(seconds(150));
    same("its calls", &reasons("d1").join(" "), &"master interval interval".to_owned())?;
    same("the Backup's calls", &calls("d2"), &Vec::new())?;

    lab.step("the Master dies: the address follows to the other one");
    let begun = Instant::now();
    one.kill()?;
    owner_is("d2")?;
    lab.note(format!("after {:.2} s", begun.elapsed().as_secs_f64()));

    lab.step("the API fails while it comes back: the command is repeated until it succeeds, and the status says so");
    api("d1", "fails")?;
    let first = start(lab, &d1, 150)?;
    wait_for("it was tried three times", seconds(30), || {
        let failures = number(&d1, "failures")?.unwrap_or(0);
        if failures >= 3 { Ok(()) } else { Err(format!("{failures} failures")) }
    })?;
    same("the owner is still", &owner(), &"d2".to_owned())?;
    let table = status_text(&d1)?;
    claim(table.contains("FAILING") && table.contains("the API answers 503"), || {
        format!("the table names the failure:\n{table}")
    })?;
    api("d1", "well")?;
    owner_is("d1")?;
    let log = first.log_text();
    let said = log.matches("assert failed: the command exited with status 1: the API answers 503").count();
    same("lines about the failure", &said, &1)?;
    claim(log.contains("assert succeeded, at attempt "), || log.clone())?;

    lab.step("another host claims the VIP: the command runs at once, and once more when that is over");
    let before = calls("d1").len();
    fs::write(format!("{FOLDER}/owner"), "rival\n").map_err(|e| e.to_string())?;
    claims(lab)?;
    owner_is("d1")?;
    wait_for("it has run twice", seconds(10), || {
        let now = reasons("d1").split_off(before);
        if now == ["claimed", "claimed"] { Ok(()) } else { Err(format!("{now:?}")) }
    })?;

    for behaviour in ["hangs", "deaf"] {
        lab.step(format!(
            "the API hangs ({behaviour}): the command ends with the mastership, and its last run first"
        ));
        api("d1", behaviour)?;
        let before = calls("d1").len();
        fs::write(format!("{FOLDER}/owner"), "rival\n").map_err(|e| e.to_string())?;
        // Within its interval a call begins, and it hangs.
        wait_for("it hangs", seconds(90), || {
            let running = number(&d1, "running_milliseconds")?;
            if calls("d1").len() > before && running.is_some() { Ok(()) } else { Err(format!("{running:?}")) }
        })?;
        configure(lab, &d1, 50)?;
        first.reload()?;
        owner_is("d2")?;
        wait_for("its run has ended", seconds(5), || {
            let running = number(&d1, "running_milliseconds")?;
            if running.is_none() { Ok(()) } else { Err(format!("{running:?}")) }
        })?;
        if behaviour == "deaf" {
            let pid = fs::read_to_string(format!("{FOLDER}/deaf")).unwrap_or_default();
            let is_gone = !fs::exists(format!("/proc/{}", pid.trim())).unwrap_or(true);
            claim(is_gone, || format!("the process {pid} is killed"))?;
        }
        api("d1", "well")?;
        configure(lab, &d1, 150)?;
        first.reload()?;
        owner_is("d1")?;
    }

    lab.step("a hand-over: the next process calls again; a stop: the other one is called");
    let before = calls("d1").len();
    first.hand_over()?;
    let first = start(lab, &d1, 150)?;
    wait_for("it was called", seconds(10), || {
        let now = reasons("d1").split_off(before);
        if now == ["master"] { Ok(()) } else { Err(format!("{now:?}")) }
    })?;
    first.end(Signal::TERM)?;
    owner_is("d2")?;
    two.end(Signal::TERM)?;
    same("commands that ran twice at once", &fs::exists(format!("{FOLDER}/overlaps")).unwrap_or(true), &false)
}

fn text(node: &str, priority: u8) -> String {
    let command = format!("{FOLDER}/take {node}");
    CONF.replace("$PRIORITY", &priority.to_string()).replace("$COMMAND", &command)
}

fn configure(lab: &Lab, host: &Host, priority: u8) -> Result<PathBuf, String> {
    lab.write(&format!("{}.yaml", host.name()), &text(host.name(), priority))
}

fn start(lab: &Lab, host: &Host, priority: u8) -> Result<Daemon, String> {
    let file = configure(lab, host, priority)?;
    Daemon::start_lvsd(lab, host, &file, &run_dir(host), &[])
}

/// A router of priority 50 advertises three times, a second apart.
fn claims(lab: &Lab) -> Verdict {
    let client = lab.host("c")?;
    for _ in 0..3 {
        client.enter(|| {
            let message = message_v3(61, 50, 100, &[VIP]);
            let frame = Forged::new([10, 77, 0, 9].into(), message).sum_v3().frame();
            PacketSocket::open("eth0")?.send(&frame).map_err(|e| format!("an advertisement: {e}"))
        })?;
        pause(seconds(1));
    }
    Ok(())
}

/// How the API answers a node.
fn api(node: &str, how: &str) -> Verdict {
    fs::write(format!("{FOLDER}/api-{node}"), how).map_err(|e| e.to_string())
}

fn owner() -> String {
    fs::read_to_string(format!("{FOLDER}/owner")).unwrap_or_default().trim().to_owned()
}

fn owner_is(node: &str) -> Verdict {
    wait_for(&format!("the cloud routes the VIP to {node}"), seconds(15), || {
        let owner = owner();
        if owner == node { Ok(()) } else { Err(format!("it routes it to {owner:?}")) }
    })
}

fn calls(node: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/calls-{node}")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Why each call was made.
fn reasons(node: &str) -> Vec<String> {
    let reason = |line: String| line.split(' ').nth(4).unwrap_or_default().to_owned();
    calls(node).into_iter().map(reason).collect()
}

fn assert_of(host: &Host) -> Result<serde_json::Value, String> {
    Ok(status(host)?.pointer("/router/instances/0/assert").cloned().unwrap_or_default())
}

fn number(host: &Host, of: &str) -> Result<Option<u64>, String> {
    Ok(assert_of(host)?.get(of).and_then(serde_json::Value::as_u64))
}

fn is_asserted(host: &Host) -> Verdict {
    let assert = assert_of(host)?;
    if assert.get("is_asserted").is_some_and(|is_so| is_so == true) {
        Ok(())
    } else {
        Err(assert.to_string())
    }
}

fn status_text(host: &Host) -> Result<String, String> {
    Ok(lvsd(host, &["status", "--control", &control(&run_dir(host))])?.stdout)
}
