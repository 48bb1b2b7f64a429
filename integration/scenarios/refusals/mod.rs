//! Two masters of one table are one too many: beside a live keepalived or lvsd of the same network namespace
//! `lvsd run` exits with 69 and names the process; in another namespace, after the other's end, or with
//! `--force`, it starts. A run directory is locked.

use std::path::Path;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, processes, run_dir};
use crate::lab::host::Host;
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let d1 = &site.director;
    let d2 = lab.host("d2")?;
    let file = configure(lab, d1, CONF)?;

    lab.step("beside keepalived");
    let mut keepalived = Daemon::keepalived(lab, d1, CONF)?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;
    let before = site.table()?;
    let pids = processes("keepalived")?;
    refused(lab, d1, &file, &run_dir(d1), &pids)?;
    same("a refused start changes nothing", &site.table()?, &before)?;

    lab.step("in another namespace");
    let other = Daemon::lvsd(lab, &d2, CONF)?;

    lab.step("beside keepalived, by force");
    let mut forced = Daemon::start_lvsd(lab, d1, &file, &run_dir(d1), &["--force"])?;
    forced.wait_log(READY, seconds(30))?;
    forced.hand_over()?;
    keepalived.signal(Signal::TERM)?;
    keepalived.wait_exit(seconds(15))?;

    lab.step("after keepalived, then beside lvsd");
    let ours = Daemon::lvsd(lab, d1, CONF)?;
    let pid = [ours.pid().to_string()];
    refused(lab, d1, &file, &run_dir(d1), &pid)?;
    refused(lab, d1, &file, "/run/lvsd-another", &pid)?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;

    lab.step("after a crash, whose lock and process are gone");
    ours.kill()?;
    let again = Daemon::lvsd(lab, d1, CONF)?;
    again.end(Signal::TERM)?;
    other.end(Signal::TERM)
}

/// A start that ends with 69 and names one of these processes.
fn refused(lab: &Lab, host: &Host, file: &Path, run_dir: &str, pids: &[String]) -> Verdict {
    let mut daemon = Daemon::start_lvsd(lab, host, file, run_dir, &[])?;
    same("exit code", &daemon.wait_exit(seconds(15))?, &69)?;
    let said = daemon.log_text();
    let words: Vec<&str> = said.split(|c: char| !c.is_ascii_digit()).collect();
    claim(pids.iter().any(|p| words.contains(&p.as_str())), || format!("it names one of {pids:?}: {said}"))
}
