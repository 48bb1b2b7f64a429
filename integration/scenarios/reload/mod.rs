//! SIGHUP under load: a virtual server is added, a real server leaves, weight and scheduler change, and no
//! request fails; a file with a typo changes nothing and the daemon says where the typo is.

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure};
use crate::lab::table::{Table, wait_for_table};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

const BEFORE: &str = "-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.1.0.21:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.22:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.23:80 -g -w 1
";
const AFTER: &str = "-A -t 10.1.0.100:80 -s wrr
-a -t 10.1.0.100:80 -r 10.1.0.21:80 -g -w 5
-a -t 10.1.0.100:80 -r 10.1.0.23:80 -g -w 1
-A -t 10.1.0.100:8080 -s wlc -p 60
-a -t 10.1.0.100:8080 -r 10.1.0.22:8080 -g -w 1
";

pub fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    let (before, after) = (Table::parse(BEFORE)?, Table::parse(AFTER)?);
    let mut daemon = Daemon::lvsd(lab, director, include_str!("before.conf"))?;
    wait_for_table(director, "the first file", seconds(15), &before)?;
    let load = site.load()?;

    lab.step("a second virtual server, a real server less");
    configure(lab, director, include_str!("after.conf"))?;
    daemon.reload()?;
    wait_for_table(director, "the second file", seconds(60), &after)?;
    same("twelve requests by weight", &site.hits()?.total_failed(), &0)?;

    lab.step("a typo");
    configure(lab, director, include_str!("typo.conf"))?;
    daemon.reload()?;
    daemon.wait_log("TCP_CHEK", seconds(15))?;
    let typo = include_str!("typo.conf");
    let line = typo.lines().position(|l| l.contains("TCP_CHEK")).map_or(0, |n| n + 1);
    daemon.wait_log(&format!("d1.conf:{line}"), seconds(5))?;
    same("a typo changes nothing", &site.table()?, &after)?;
    claim(daemon.is_running(), || "a typo ends nothing".to_owned())?;

    lab.step("the file is mended");
    configure(lab, director, include_str!("before.conf"))?;
    daemon.reload()?;
    wait_for_table(director, "the first file again", seconds(60), &before)?;
    load.wait_for_answers(50)?;
    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    daemon.end(Signal::TERM)
}
