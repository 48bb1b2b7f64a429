//! lvsd is not alone with the kernel's table. A service that is not lvsd's is always left as it is; changes by other
//! programs to lvsd's own services are repaired.

use std::time::Duration;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::table::{Table, ipvsadm, load, wait_for_table};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

const OURS: &str = "-A -t 10.1.0.100:80 -s rr
-a -t 10.1.0.100:80 -r 10.1.0.21:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.22:80 -g -w 1
-a -t 10.1.0.100:80 -r 10.1.0.23:80 -g -w 1
";
const STRANGER: &str = "-A -t 10.1.0.200:443 -s wlc -p 300
-a -t 10.1.0.200:443 -r 10.1.0.21:443 -g -w 7
-A -f 9 -s rr
-a -f 9 -r 10.1.0.22:0 -g -w 1
";
/// IPVS announces no changes: repair waits for lvsd's next look at the table.
const SWEEP: Duration = seconds(60);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    load(director, STRANGER)?;
    let ours = Table::parse(OURS)?;
    let stranger = Table::parse(STRANGER)?;
    let both = ours.clone().with(&stranger);
    let daemon = Daemon::lvsd(lab, director, include_str!("keepalived.conf"))?;
    wait_for_table(director, "our service beside the stranger's", seconds(15), &both)?;

    lab.step("a stranger edits our service");
    ipvsadm(director, "-E -t 10.1.0.100:80 -s wlc -p 50")?;
    ipvsadm(director, "-d -t 10.1.0.100:80 -r 10.1.0.21:80")?;
    ipvsadm(director, "-e -t 10.1.0.100:80 -r 10.1.0.22:80 -m -w 9")?;
    ipvsadm(director, "-a -t 10.1.0.100:80 -r 10.1.0.99:80 -g")?;
    wait_for_table(director, "our service is repaired", SWEEP, &both)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;

    let told = status(director)?;
    let last = told.pointer("/director/last_drift").ok_or_else(|| told.to_string())?;
    same("whose service was edited", &last.pointer("/virtual_server"), &Some(&"10.1.0.100:80 tcp".into()))?;
    let said = lvsd(director, &["status", "--control", &control(&run_dir(director))])?.stdout;
    claim(said.contains("ago: virtual server 10.1.0.100:80 tcp: "), || format!("status names it: {said}"))?;

    lab.step("the stranger edits its own, and deletes ours");
    ipvsadm(director, "-e -t 10.1.0.200:443 -r 10.1.0.21:443 -g -w 2")?;
    ipvsadm(director, "-D -f 9")?;
    ipvsadm(director, "-D -t 10.1.0.100:80")?;
    let edited =
        Table::parse("-A -t 10.1.0.200:443 -s wlc -p 300\n-a -t 10.1.0.200:443 -r 10.1.0.21:443 -g -w 2\n")?;
    wait_for_table(director, "ours is back, theirs as they left it", SWEEP, &ours.clone().with(&edited))?;

    lab.step("a program empties the table");
    ipvsadm(director, "-C")?;
    wait_for_table(director, "ours is back, nothing else", SWEEP, &ours)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    load(director, STRANGER)?;
    daemon.end(Signal::TERM)?;
    same("a stop leaves the stranger's services", &site.table()?, &stranger)
}
