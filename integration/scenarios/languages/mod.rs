//! lvsd reads a configuration in YAML, Debian's keepalived the same in keepalived.conf, with groups of addresses in
//! it: `ipvsadm -Sn` and the timeouts must be the same. Then lvsd is given the keepalived.conf: nothing changes, and nothing
//! would by what `lvsd convert` makes of either.
//! `--lenient` starts where a word is unknown, and not where a check would be lost.
//!
//! keepalived 2.2 drops `persistence_granularity` of a group, lvsd does not: here it stands elsewhere.

use std::path::Path;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::Topology;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const CONF: &str = include_str!("pair.conf");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    judge::modprobe(&["ip_vs"])?;
    let mut topology = Topology::new(&["front"]);
    for (name, number) in [("d1", 11), ("d2", 12)] {
        let (v4, v6) = (format!("10.1.0.{number}/24"), format!("fd00:1::{number}/64"));
        topology.host(name).plug(name, "eth0", "front", &[&v4, &v6]);
    }
    lab.build(&topology)?;
    let (ours, theirs) = (lab.host("d1")?, lab.host("d2")?);

    let yaml = lab.write("d1.yaml", include_str!("pair.yaml"))?;
    let mut daemon = Daemon::start_lvsd(lab, &ours, &yaml, &run_dir(&ours), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    let table = Table::read(&ours)?;
    let (services, destinations) = table.counts();
    claim(services == 6 + 1 + 7 + 2, || format!("sixteen services, not {services}"))?;
    let keepalived = Daemon::keepalived(lab, &theirs, CONF)?;
    wait_for("keepalived's table is that of the YAML", seconds(20), || {
        let other = Table::read(&theirs)?;
        if other == table { Ok(()) } else { Err(format!("lvsd:\n{table}\nkeepalived:\n{other}")) }
    })?;
    let timeouts = |host| judge::output(host, &["ipvsadm", "-L", "--timeout"]);
    same("the timeouts", &timeouts(&ours)?, &timeouts(&theirs)?)?;
    lab.step(format!(
        "YAML here, keepalived.conf there: the same {services} services, {destinations} destinations"
    ));
    keepalived.end(Signal::TERM)?;

    daemon.hand_over()?;
    let file = configure(lab, &ours, CONF)?;
    let mut daemon = Daemon::start_lvsd(lab, &ours, &file, &run_dir(&ours), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    same("the table, the file being keepalived.conf now", &Table::read(&ours)?, &table)?;
    lab.step(
        "what `lvsd convert` makes of the keepalived.conf changes nothing, and neither does the way back",
    );
    converted(&ours, &file, "yaml")?;
    converted(&ours, &yaml, "conf")?;
    daemon.end(Signal::TERM)?;
    same("the table after the stop", &Table::read(&ours)?, &Table::default())?;
    lab.step("the other language changes nothing");

    let file = configure(lab, &ours, &format!("{CONF}shiny_new_word {{\n    anything\n}}\n"))?;
    let mut strict = Daemon::start_lvsd(lab, &ours, &file, &run_dir(&ours), &[])?;
    claim(strict.wait_exit(seconds(20))? == 78, || "an unknown word is not started".to_owned())?;
    let mut lenient = Daemon::start_lvsd(lab, &ours, &file, &run_dir(&ours), &["--lenient"])?;
    lenient.wait_log(READY, seconds(30))?;
    same("the table of the lenient", &Table::read(&ours)?, &table)?;
    lenient.end(Signal::TERM)?;
    let lost = CONF.replace(
        "real_server fd00:1::4:1 80 {",
        "real_server fd00:1::4:1 80 {\n        TCP_CHEK {\n        }",
    );
    let file = configure(lab, &ours, &lost)?;
    let mut refused = Daemon::start_lvsd(lab, &ours, &file, &run_dir(&ours), &["--lenient"])?;
    claim(refused.wait_exit(seconds(20))? == 78, || "a lost check is not started".to_owned())?;
    lab.step("--lenient skips a word, and never a check");
    Ok(())
}

/// The way an operator goes over: convert, check, plan beside the running lvsd.
fn converted(host: &Host, file: &Path, extension: &str) -> Verdict {
    let file = file.to_string_lossy();
    let result = format!("{file}.{extension}");
    let done = lvsd(host, &["convert", &file, "-o", &result])?;
    claim(done.code == Some(0) && done.stderr.contains("it means the same"), || format!("{done:?}"))?;
    let checked = lvsd(host, &["check", &result])?;
    claim(checked.code == Some(0), || format!("{checked:?}"))?;
    let run_dir = run_dir(host);
    let plan = lvsd(host, &["plan", "-c", &result, "--run-dir", &run_dir, "--control", &control(&run_dir)])?;
    claim(plan.code == Some(0), || format!("{plan:?}"))
}
