//! SIGTERM and SIGINT remove every service of ours and leave the stranger's.

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::table::{Table, load, wait_for_table};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, same};

const STRANGER: &str = "-A -u 10.1.0.200:53 -s sh
-a -u 10.1.0.200:53 -r 10.1.0.21:53 -g -w 4
";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    load(director, STRANGER)?;
    let stranger = Table::parse(STRANGER)?;
    for signal in [Signal::TERM, Signal::INT] {
        lab.step(format!("{signal:?}"));
        let daemon = Daemon::lvsd(lab, director, include_str!("keepalived.conf"))?;
        wait_for("three services and seven destinations", seconds(15), || {
            let table = site.table()?;
            if table.counts() == (3, 7) { Ok(()) } else { Err(table.to_string()) }
        })?;
        daemon.end(signal)?;
        same("the table after a stop", &site.table()?, &stranger)?;
    }
    wait_for_table(director, "nothing comes back", seconds(1), &stranger)
}
