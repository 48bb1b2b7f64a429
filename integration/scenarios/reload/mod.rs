//! SIGHUP under load: a virtual server is added, a real server leaves, weight and scheduler change, and no
//! request fails; a file with a typo changes nothing and the daemon says where the typo is; an empty file and one that
//! was cut off change nothing until the operator says that it is meant; each reload says what it changed.

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir};
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

fn after_conf() -> &'static str {
    include_str!("after.conf")
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
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

    lab.step("an empty file, and one that was cut off after its first block");
    let socket = control(&run_dir(director));
    let logged = daemon.log_text().len();
    let defs_only: String =
        after_conf().split_inclusive('\n').take_while(|l| !l.starts_with("virtual_")).collect();
    for (what, content) in [("empty", ""), ("cut off", &*defs_only)] {
        configure(lab, director, content)?;
        let refused = lvsd(director, &["reload", "--control", &socket])?;
        claim(refused.code == Some(78) && refused.stderr.contains("lvsd reload --allow-removal"), || {
            format!("{what}: refused with the next step: {refused:?}")
        })?;
        daemon.reload()?;
        same(&format!("the table under a file that is {what}"), &site.table()?, &after)?;
    }
    let warned = daemon.log_text().split_off(logged);
    claim(warned.contains("it has no virtual servers, and 2 of them are in force"), || warned)?;

    lab.step("the file is mended");
    configure(lab, director, include_str!("before.conf"))?;
    daemon.reload()?;
    wait_for_table(director, "the first file again", seconds(60), &before)?;
    load.wait_for_answers(50)?;
    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;

    lab.step("a reload says what it changed, and removes everything when that is meant");
    configure(lab, director, after_conf())?;
    let accepted = lvsd(director, &["reload", "--control", &socket])?;
    for words in [
        "+  virtual server 10.1.0.100:8080 tcp",
        "-  real server 10.1.0.22:80 of virtual server 10.1.0.100:80 tcp",
        "is in force: 1 virtual server added",
    ] {
        claim(accepted.stdout.contains(words), || format!("{words:?} is printed: {accepted:?}"))?;
    }
    configure(lab, director, "")?;
    let removed = lvsd(director, &["reload", "--control", &socket, "--allow-removal"])?;
    same("allowed", &removed.code, &Some(0))?;
    wait_for_table(director, "nothing is left", seconds(400), &Table::default())?;
    daemon.end(Signal::TERM)
}
