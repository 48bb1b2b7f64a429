//! However lvsd ends, nothing of its probes stays: no service of theirs, and the host's setting is what it was.

use std::fs;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::site::Site;
use crate::lab::table::Table;
use crate::lab::topology::{REAL_SERVERS, VIP};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

use super::{reals, start, vip, wait_for_only, yaml};

pub(super) fn nothing_is_left(lab: &Lab, site: &Site) -> Verdict {
    let host = &site.director;
    let file = yaml(lab, "dr", false)?;
    same("accept_local before", &accept_local(host)?, &"0".to_owned())?;
    for end in ["kill -9", "hand-over"] {
        lab.step(format!("{end} during a probe"));
        let daemon = start(lab, host, &file)?;
        wait_for_only(host, VIP, &reals(false, &REAL_SERVERS)?)?;
        same("accept_local while ways are checked", &accept_local(host)?, &"1".to_owned())?;
        vip(lab, "rs2", VIP, false)?;
        wait_for_probe_service(host)?;
        let seen = status(host)?;
        let foreign = seen.pointer("/director/foreign_services").ok_or("foreign_services")?;
        same("foreign services", &foreign.as_array().map(Vec::len), &Some(0))?;
        let run_dir = run_dir(host);
        let file_name = file.display().to_string();
        let plan =
            lvsd(host, &["plan", "-c", &file_name, "--run-dir", &run_dir, "--control", &control(&run_dir)])?;
        same(&format!("lvsd plan: {}", plan.stdout), &plan.code, &Some(0))?;
        wait_for_probe_service(host)?;
        leave(daemon, end)?;
        claim(probe_services(host)? == 1, || {
            format!("{end}: the probe's service should have been left for this test")
        })?;
        same("accept_local after it", &accept_local(host)?, &"1".to_owned())?;

        let daemon = start(lab, host, &file)?;
        vip(lab, "rs2", VIP, true)?;
        wait_for_only(host, VIP, &reals(false, &REAL_SERVERS)?)?;
        let log = daemon.log_text();
        claim(!log.contains("left alone"), || log)?;
        daemon.end(Signal::TERM)?;
        same("the table after a stop", &Table::read(host)?.counts(), &(0, 0))?;
        same("accept_local after a stop", &accept_local(host)?, &"0".to_owned())?;
    }

    lab.step("a stop during a probe");
    let daemon = start(lab, host, &file)?;
    vip(lab, "rs2", VIP, false)?;
    wait_for_probe_service(host)?;
    daemon.end(Signal::TERM)?;
    same("the table", &Table::read(host)?.counts(), &(0, 0))?;
    vip(lab, "rs2", VIP, true)
}

fn leave(daemon: Daemon, end: &str) -> Verdict {
    match end {
        "kill -9" => daemon.kill().map(drop),
        _ => daemon.hand_over(),
    }
}

fn accept_local(host: &Host) -> Result<String, String> {
    let path = "/proc/sys/net/ipv4/conf/all/accept_local";
    host.enter(|| fs::read_to_string(path).map_err(|e| format!("{path}: {e}")))
        .map(|text| text.trim().to_owned())
}

/// Services of lvsd's own marks.
fn probe_services(host: &Host) -> Result<usize, String> {
    Ok(Table::read(host)?.0.keys().filter(|key| key.starts_with("-f 18196")).count())
}

fn wait_for_probe_service(host: &Host) -> Verdict {
    wait_for("a probe waits for its answer", seconds(20), || match probe_services(host)? {
        1 => Ok(()),
        n => Err(format!("{n} of its services")),
    })
}
