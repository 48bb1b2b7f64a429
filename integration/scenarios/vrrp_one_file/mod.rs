//! One file for two directors, with an instance of both families that moves and is notified as one; peers and priorities in
//! a file beside it, which change by reloads without a change of state.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const PAIR: &str = include_str!("pair.yaml");
const CONF: &str = include_str!("director.conf");
const FOLDER: &str = "/run/one-file";
const TOLD: &str = "#!/bin/sh\necho \"$@\" >> /run/one-file/lines\n";
const BOTH: [&str; 3] = ["10.77.0.100/24", "fe80::100/64", "fd77::100/64"];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let _segment = lab.segment(3)?;
    fs::create_dir_all(FOLDER).map_err(|e| e.to_string())?;
    let told = format!("{FOLDER}/told");
    fs::write(&told, TOLD).map_err(|e| e.to_string())?;
    fs::set_permissions(&told, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    both_families(lab)?;
    peers_in_a_file(lab)
}

fn both_families(lab: &Lab) -> Verdict {
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    let file = lab.write("pair.yaml", PAIR)?;
    let start =
        |host: &Host| Daemon::start_lvsd(lab, host, &file, &run_dir(host), &["--config-id", host.name()]);

    lab.step("check names what is another director's");
    let path = file.display().to_string();
    let checked = lvsd(&d1, &["check", "--offline", "--config-id", "d1", &path])?;
    lab.note(&checked.stdout);
    claim(checked.stdout.contains("`web` of `instances` is for d2: not run here"), || {
        checked.stdout.clone()
    })?;
    same("its exit code", &checked.code, &Some(0))?;

    lab.step("the better one holds the addresses of both families");
    let (one, two) = (start(&d1)?, start(&d2)?);
    holds(&d1, &BOTH)?;
    wait_for("the other one is Backup of both", seconds(10), || are(&d2, "backup"))?;
    let text = lvsd(&d1, &["status", "--control", &control(&run_dir(&d1))])?.stdout;
    lab.note(&text);
    claim(text.contains("3 of 3") && !text.contains("web/6"), || format!("one line for both:\n{text}"))?;
    reported("d1", 0, &["INSTANCE web BACKUP 150", "INSTANCE web MASTER 150"])?;

    lab.step("it dies, and returns: both move, and each change is reported once");
    let before = (lines_of("d1").len(), lines_of("d2").len());
    one.kill()?;
    holds(&d2, &BOTH)?;
    let one = start(&d1)?;
    holds(&d1, &BOTH)?;
    wait_for("the other one is Backup of both", seconds(10), || are(&d2, "backup"))?;
    pause(seconds(2));
    reported("d2", before.1, &["INSTANCE web MASTER 100", "INSTANCE web BACKUP 100"])?;
    reported("d1", before.0, &["INSTANCE web BACKUP 150", "INSTANCE web MASTER 150"])?;
    one.end(Signal::TERM)?;
    holds(&d2, &BOTH)?;
    two.end(Signal::TERM)?;
    same("its last line", &lines_of("d2").pop().unwrap_or_default().as_str(), &"INSTANCE web STOP 100")
}

fn peers_in_a_file(lab: &Lab) -> Verdict {
    lab.step("peers and priorities are in a file that is included");
    let hosts = ["d1", "d2", "d3"].map(|name| lab.host(name));
    let [d1, d2, d3] = hosts;
    let (d1, d2, d3) = (d1?, d2?, d3?);
    local("d1", 150, &[2])?;
    local("d2", 100, &[1])?;
    local("d3", 50, &[1, 2])?;
    let start = |host: &Host| Daemon::lvsd(lab, host, &CONF.replace("@LOCAL", &local_file(host.name())));
    let (one, two) = (start(&d1)?, start(&d2)?);
    holds(&d1, &BOTH[..1])?;
    wait_for("the other one is Backup", seconds(10), || are(&d2, "backup"))?;

    lab.step("a third director is added by reloads, and priorities change: the Master stays");
    for (daemon, name, priority, others) in [(&one, "d1", 160, [2, 3]), (&two, "d2", 120, [1, 3])] {
        local(name, priority, &others)?;
        daemon.reload()?;
        pause(seconds(5));
    }
    let three = start(&d3)?;
    wait_for("the third one is Backup", seconds(10), || are(&d3, "backup"))?;
    local("d1", 140, &[2, 3])?;
    one.reload()?;
    pause(seconds(5));

    lab.step("the second one leaves, and is taken out of the lists");
    two.end(Signal::TERM)?;
    local("d1", 140, &[3])?;
    one.reload()?;
    local("d3", 130, &[1])?;
    three.reload()?;
    pause(seconds(10));
    let master = instance(&d1, "web")?;
    same("its priority", &field(&master, "/priority"), &Value::from(140))?;
    same("how often it became Master", &field(&master, "/counters/became_master"), &Value::from(1))?;
    same("its last words so far", &field(&master, "/counters/priority_zero_sent"), &Value::from(0))?;
    same(
        "how often the third one became Master",
        &field(&instance(&d3, "web")?, "/counters/became_master"),
        &Value::from(0),
    )?;
    same("the third one's Master", &field(&instance(&d3, "web")?, "/master"), &Value::from("10.77.0.1"))?;

    lab.step("the new list holds: the third one takes over");
    one.kill()?;
    holds(&d3, &BOTH[..1])?;
    three.end(Signal::TERM)
}

fn local_file(name: &str) -> String {
    format!("{FOLDER}/{name}.local")
}

/// Writes what is different from director to director.
fn local(name: &str, priority: u8, others: &[u8]) -> Verdict {
    let peers: String = others.iter().map(|n| format!("    10.77.0.{n}\n")).collect();
    let text = format!("priority {priority}\nunicast_peer {{\n{peers}}}\n");
    fs::write(Path::new(&local_file(name)), text).map_err(|e| e.to_string())
}

/// What was reported on a director.
fn lines_of(name: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/lines")).unwrap_or_default();
    let own = text.lines().filter_map(|line| line.strip_prefix(name));
    own.map(|line| line.trim_start().to_owned()).collect()
}

/// What was reported on a director after so many lines.
fn reported(name: &str, after: usize, wanted: &[&str]) -> Verdict {
    let lines = lines_of(name).split_off(after);
    same(
        &format!("what {name} reported"),
        &lines.iter().map(String::as_str).collect::<Vec<_>>(),
        &wanted.to_vec(),
    )
}

fn field(of: &Value, path: &str) -> Value {
    of.pointer(path).cloned().unwrap_or_default()
}

fn instances(host: &Host) -> Result<Vec<Value>, String> {
    Ok(status(host)?.pointer("/router/instances").and_then(Value::as_array).cloned().unwrap_or_default())
}

fn instance(host: &Host, name: &str) -> Result<Value, String> {
    let found = instances(host)?.into_iter().find(|instance| field(instance, "/name") == name);
    found.ok_or_else(|| format!("no instance {name} on {}", host.name()))
}

fn are(host: &Host, state: &str) -> Verdict {
    let states: Vec<Value> =
        instances(host)?.into_iter().map(|instance| field(&instance, "/state")).collect();
    let is_so = !states.is_empty() && states.iter().all(|found| found == state);
    if is_so { Ok(()) } else { Err(format!("{states:?}")) }
}

/// Waits until a director holds exactly these.
fn holds(host: &Host, addresses: &[&str]) -> Verdict {
    wait_for(&format!("{} holds {addresses:?}", host.name()), seconds(15), || {
        let all = instances(host)?;
        let of = |instance: &Value| field(instance, "/addresses").as_array().cloned().unwrap_or_default();
        let held = all.iter().flat_map(of).filter(|address| field(address, "/is_held") == true);
        let held: Vec<String> =
            held.map(|address| field(&address, "/address").as_str().unwrap_or_default().to_owned()).collect();
        if held == addresses { Ok(()) } else { Err(format!("{held:?}")) }
    })
}
