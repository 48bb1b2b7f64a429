//! The systemd unit in examples/: with no more capabilities than it gives, lvsd lives a whole life, and still sees a
//! rival it may not look into; and `systemd-analyze` finds nothing wrong with it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, control, lvsd, lvsd_binary, processes, run_dir};
use crate::lab::host::Host;
use crate::lab::judge::{output, run as judge};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const UNIT: &str = include_str!("../../../examples/lvsd.service");
const DROP_IN: &str = include_str!("../../../examples/lvsd.service.d/vrrp.conf");
const INSTANCE: &str = "global_defs {
    script_user nobody
}
vrrp_script hangs {
    script \"/bin/sleep 1000\"
    interval 4
    timeout 1
    weight 1
}
vrrp_instance web {
    interface eth0
    virtual_router_id 51
    virtual_ipaddress {
        10.1.0.99/24
    }
    track_script {
        hangs
    }
    notify_master \"/usr/bin/touch /tmp/lvsd-master\"
}
";
/// The user `nobody`.
const NOBODY: u32 = 65_534;
/// Where the unit expects lvsd.
const INSTALLED: &str = "/usr/local/sbin/lvsd";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let director = site.director.clone();
    let capabilities = capabilities(&[UNIT])?;
    lab.step(format!("a life with {capabilities:?}"));
    let mut daemon = start(lab, &director, &capabilities)?;
    daemon.wait_log(READY, seconds(30))?;
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).map_err(|e| e.to_string())?;
    let effective = status.lines().find_map(|l| l.strip_prefix("CapEff:")).unwrap_or_default().trim();
    let wanted = "00000000000010e0";
    same("effective capabilities (12: NET_ADMIN, 7: SETUID, 6: SETGID, 5: KILL)", &effective, &wanted)?;
    let all = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];
    site.wait_for_serving(&all)?;
    site.web("rs3")?.set_health_status(503);
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80"])?;
    let socket = control(&run_dir(&director));
    let binary = lvsd_binary().to_string_lossy().into_owned();
    output(&director, &with(&capabilities, &[&binary, "reload", "--control", &socket]))?;
    site.web("rs3")?.set_health_status(200);
    site.wait_for_serving(&all)?;
    daemon.end(Signal::TERM)?;
    same("the table after a stop", &site.table()?.counts(), &(0, 0))?;

    lab.step("VRRP, without and with what it needs");
    let vrrp = format!("{INSTANCE}{CONF}");
    let mut denied = start_with(lab, &director, &capabilities, &vrrp)?;
    same("exit code", &denied.wait_exit(seconds(15))?, &77)?;
    let said = denied.log_text();
    claim(said.contains("vrrp_instance web needs CAP_NET_RAW, which lvsd does not have"), || said.clone())?;
    let mut daemon = start_with(lab, &director, &self::capabilities(&[UNIT, DROP_IN])?, &vrrp)?;
    daemon.wait_log("Backup -> Master", seconds(10))?;
    let said = daemon.log_text();
    claim(!said.contains("real-time") && !said.contains("memory is not locked"), || said.clone())?;
    lab.step("scripts of another user run, and are ended");
    wait_for("its script has run as nobody", seconds(10), || {
        let owner = fs::metadata("/tmp/lvsd-master").map_err(|e| format!("/tmp/lvsd-master: {e}"))?.uid();
        if owner == NOBODY { Ok(()) } else { Err(format!("user {owner}")) }
    })?;
    let sleeps = |is_wanted: bool| {
        let found = processes("sleep")?;
        if found.is_empty() == is_wanted { Err(format!("{found:?}")) } else { Ok(()) }
    };
    wait_for("the script that hangs has begun", seconds(10), || sleeps(true))?;
    wait_for("and is ended when its time is over", seconds(10), || sleeps(false))?;
    claim(!daemon.log_text().contains("may not do"), || daemon.log_text())?;
    daemon.end(Signal::TERM)?;
    let mut daemon = start_with(lab, &director, "--bounding-set=-all,+net_admin,+net_raw", &vrrp)?;
    let lacks = "may not do: it lacks CAP_KILL, CAP_SETGID and CAP_SETUID";
    daemon.wait_log(lacks, seconds(10))?;
    let file = configure(lab, &director, &vrrp)?.to_string_lossy().into_owned();
    let checked = lvsd(&director, &["check", "-c", &file])?.stdout;
    claim(checked.contains(&format!("lvsd (pid {}) {lacks}", daemon.pid())), || checked.clone())?;
    daemon.end(Signal::TERM)?;

    lab.step("beside keepalived");
    let rival = Daemon::keepalived(lab, &director, CONF)?;
    site.wait_for_serving(&all)?;
    let mut refused = start(lab, &director, &capabilities)?;
    same("exit code", &refused.wait_exit(seconds(15))?, &69)?;
    let said = refused.log_text();
    claim(said.contains("keepalived (pid "), || format!("it names the rival: {said}"))?;
    drop(rival);

    lab.step("systemd-analyze");
    if judge(&["systemd-analyze", "--version"]).is_err() {
        return lab.skip("there is no systemd-analyze here: the unit's words were not verified");
    }
    fs::copy(lvsd_binary(), INSTALLED).map_err(|e| format!("{INSTALLED}: {e}"))?;
    let file = lab.write("lvsd.service", UNIT)?;
    let said = verify(&file)?;
    same("what systemd-analyze finds", &said.as_str(), &"")?;
    let typo = lab.write("typo.service", &UNIT.replace("WatchdogSec", "WatchdogSek"))?;
    claim(verify(&typo)?.contains("WatchdogSek"), || "the judge sees a typo".to_owned())
}

/// What the unit and its additions leave, in setpriv's words.
fn capabilities(units: &[&str]) -> Result<String, String> {
    let mut all = String::new();
    for unit in units {
        let line = unit.lines().find_map(|l| l.strip_prefix("CapabilityBoundingSet="));
        let words = line.ok_or("a unit bounds no capabilities")?.split_whitespace();
        all.extend(words.map(|w| format!(",+{}", w.trim_start_matches("CAP_").to_lowercase())));
    }
    Ok(format!("--bounding-set=-all{all}"))
}

fn with<'a>(capabilities: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    [&["setpriv", "--no-new-privs", "--inh-caps=-all", capabilities], command].concat()
}

fn start(lab: &Lab, director: &Host, capabilities: &str) -> Result<Daemon, String> {
    start_with(lab, director, capabilities, CONF)
}

fn start_with(lab: &Lab, director: &Host, capabilities: &str, text: &str) -> Result<Daemon, String> {
    let file = configure(lab, director, text)?.to_string_lossy().into_owned();
    let (run_dir, binary) = (run_dir(director), lvsd_binary().to_string_lossy().into_owned());
    let socket = control(&run_dir);
    let words = [&*binary, "run", "-c", &file, "--run-dir", &run_dir, "--control", &socket];
    let words = with(capabilities, &words);
    let (program, arguments) = words.split_first().ok_or("no command")?;
    Daemon::start(lab, director, "lvsd", Command::new(program).args(arguments))
}

/// What systemd says about a unit of ours; what it says about others is not ours.
fn verify(file: &Path) -> Result<String, String> {
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(file)
        .output()
        .map_err(|e| format!("systemd-analyze: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(said.lines().filter(|l| l.contains(&name)).collect::<Vec<_>>().join("\n"))
}
