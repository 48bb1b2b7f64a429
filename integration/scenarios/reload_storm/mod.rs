//! A hundred reloads under load, back and forth between two files, a third of them by signal in the middle of
//! another: not one request fails, and in the end the table is the last file's.

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir, status};
use crate::lab::table::{Table, wait_for_table};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const ONE: &str = include_str!("one.conf");
const OTHER: &str = include_str!("other.conf");
/// What the first file wants, which is also the last.
const TABLE: &str = "-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.1.0.21:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.22:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.23:80 -g -w 1
";
const RELOADS: usize = 100;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    let daemon = Daemon::lvsd(lab, director, ONE)?;
    let socket = control(&run_dir(director));
    let load = site.load()?;
    for n in 1..=RELOADS {
        configure(lab, director, if n % 2 == 0 { ONE } else { OTHER })?;
        if n % 3 == 0 {
            daemon.reload()?;
        }
        let verdict = lvsd(director, &["reload", "--control", &socket])?;
        same(&format!("verdict of reload {n}: {}", verdict.stderr), &verdict.code, &Some(0))?;
    }
    load.wait_for_answers(50)?;
    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    claim(hits.total_answered() >= 100, || format!("the load was real: {hits}"))?;
    let told = wait_for("the kernel is as it should be", seconds(20), || {
        let told = status(director)?;
        if told.pointer("/director/is_converged") == Some(&true.into()) {
            Ok(told)
        } else {
            Err(told.to_string())
        }
    })?;
    let accepted = told.pointer("/reloads_accepted").and_then(|n| n.as_u64()).unwrap_or(0);
    claim(accepted >= RELOADS as u64, || format!("{accepted} reloads were accepted"))?;
    same("reloads that were rejected", &told.pointer("/reloads_rejected"), &Some(&0.into()))?;
    same(
        "repairs: no other program changed the table",
        &told.pointer("/director/drift_repaired"),
        &Some(&0.into()),
    )?;
    wait_for_table(director, "the last file", seconds(20), &Table::parse(TABLE)?)?;
    same("twelve more requests that failed", &site.hits()?.total_failed(), &0)?;
    daemon.end(Signal::TERM)
}
