//! The daemon dies (kill -9) or hands over (`lvsd handover`) under load and is started again: the table stays and no
//! request fails; a real server that was known to be down is not let in by the restart, only by its health.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, run_dir};
use crate::lab::site::WEB;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const WELL: [&str; 2] = ["10.1.0.21:80", "10.1.0.22:80"];
const CONF: &str = include_str!("keepalived.conf");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    site.web("rs3")?.set_health_status(503);
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    site.wait_for_serving(&WELL)?;
    let load = site.load()?;
    let served = site.web("rs3")?.served();
    // Health is written down at most once a second: what a crash before that forgets does not matter here.
    let state = Path::new(&run_dir(&site.director)).join("state.json");
    wait_for("the state file knows that rs3 is down", seconds(10), || {
        let text = fs::read_to_string(&state).unwrap_or_default();
        if text.contains("10.1.0.23") { Ok(()) } else { Err(text) }
    })?;

    lab.step("kill -9");
    daemon.kill()?;
    load.wait_for_answers(100)?;
    same("the table after kill -9", &site.table()?.serving(WEB), &WELL.to_vec())?;
    let checked = site.web("rs3")?.checked();
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    same("the table once it is back", &site.table()?.serving(WEB), &WELL.to_vec())?;
    load.wait_for_answers(100)?;

    lab.step("lvsd handover");
    daemon.hand_over()?;
    load.wait_for_answers(100)?;
    same("the table after a hand over", &site.table()?.serving(WEB), &WELL.to_vec())?;
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    load.wait_for_answers(100)?;
    let checks = |site: &mut crate::lab::site::Site| site.web("rs3").map(|w| w.checked());
    wait_for("the restarted daemon checks rs3", seconds(15), || {
        let now = checks(&mut site)?;
        if now > checked + 1 { Ok(()) } else { Err(format!("{now} checks, {checked} before")) }
    })?;
    same("the table once it is back", &site.table()?.serving(WEB), &WELL.to_vec())?;

    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    same("requests the ill server got", &site.web("rs3")?.served(), &served)?;
    claim(hits.answered.keys().eq(["rs1", "rs2"]), || format!("rs1 and rs2 answered: {hits}"))?;

    lab.step("the ill server is well again");
    site.web("rs3")?.set_health_status(200);
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;
    daemon.end(Signal::TERM)
}
