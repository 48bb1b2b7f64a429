//! `lvsd plan` says what would change and changes nothing: before the first start, beside a running lvsd whose health
//! it takes, after a hand-over from what that left; and what it says is what happens.

pub(super) mod router;

use std::net::TcpStream;
use std::path::Path;

use crate::lab::daemon::{Daemon, Finished, configure, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::site::WEB;
use crate::lab::table::{Table, ipvsadm, wait_for_table};
use crate::lab::topology::VIP;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const NOW: &str = include_str!("now.conf");
const THEN: &str = include_str!("then.conf");
const AFTER: &str = "-A -t 10.1.0.100:80 -s wrr
-a -t 10.1.0.100:80 -r 10.1.0.21:80 -g -w 5
-A -t 10.1.0.100:8080 -s wlc -p 60
-a -t 10.1.0.100:8080 -r 10.1.0.22:8080 -g -w 1
-A -t 10.1.0.200:443 -s wlc
";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let director = &site.director.clone();
    // Who leaves waits until the kernel has forgotten its connections: 2 minutes after a FIN, by default.
    ipvsadm(director, "--set 900 3 300")?;
    ipvsadm(director, "-A -t 10.1.0.200:443 -s wlc")?;
    let then = lab.write("then.conf", THEN)?;
    let now = configure(lab, director, NOW)?;

    lab.step("before the first start");
    let first = unchanged(director, &now)?;
    same("exit code", &first.code, &Some(2))?;
    says(
        &first,
        &[
            "health: unknown, every real server is assumed up",
            "(there is no such socket): operators' orders (drain, disable, weight) are unknown",
            "+  service 10.1.0.100:80 tcp       rr",
            "+    10.1.0.23:80                  DR weight 1",
            "foreign service 10.1.0.200:443 tcp is left alone",
            "4 changes",
        ],
    )?;
    let typo = lab.write("typo.conf", &NOW.replace("TCP_CHECK", "TCP_CHEK"))?;
    let refused = unchanged(director, &typo)?;
    same("exit code of a typo", &refused.code, &Some(78))?;
    claim(refused.stderr.contains("TCP_CHEK"), || format!("{refused:?}"))?;

    lab.step("beside a running lvsd");
    let daemon = Daemon::lvsd(lab, director, NOW)?;
    same("exit code when all is as it should be", &unchanged(director, &now)?.code, &Some(0))?;
    site.web("rs3")?.stop();
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80"])?;
    let still = unchanged(director, &now)?;
    same("exit code while a server is down", &still.code, &Some(0))?;
    says(
        &still,
        &[&format!("health: as the running lvsd (pid {}) sees it", daemon.pid()), "nothing to change"],
    )?;

    let own = lvsd(director, &["plan", "--run-dir", &run_dir(director)])?;
    same("exit code for the daemon's own file", &own.code, &Some(0))?;
    says(&own, &[&format!("{} and this kernel", now.display()), "nothing to change"])?;

    lab.step("another file");
    let held = site.client.enter(|| {
        let connect = |_| TcpStream::connect((VIP, 80)).map_err(|e| format!("connect: {e}"));
        (0..4).map(connect).collect::<Result<Vec<_>, _>>()
    })?;
    let planned = unchanged(director, &then)?;
    same("exit code", &planned.code, &Some(2))?;
    says(
        &planned,
        &[
            "~  service 10.1.0.100:80 tcp    rr           wrr",
            "~    10.1.0.21:80               DR weight 1  DR weight 5",
            "~    10.1.0.22:80               DR weight 1  DR weight 0  2 active end first, then it is removed",
            "+  service 10.1.0.100:8080 tcp               wlc persistent 60 s /32",
            "5 changes",
        ],
    )?;
    claim(!planned.stdout.contains("10.1.0.23"), || {
        format!("rs3 is down, and nothing to change: {planned:?}")
    })?;
    let document = plan(director, &then, &["--json"])?;
    let document: serde_json::Value = serde_json::from_str(&document.stdout).map_err(|e| e.to_string())?;
    same(
        "changes in JSON",
        &document.pointer("/changes").and_then(|c| c.as_array()).map(Vec::len),
        &Some(5),
    )?;
    same("connections cut", &document.pointer("/connections_cut"), &Some(&0.into()))?;
    let gone = lab.write("gone.conf", "")?;
    let gone = unchanged(director, &gone)?;
    says(
        &gone,
        &["-  service 10.1.0.100:80 tcp  rr", "2 active are cut", "4 active connections would be cut"],
    )?;
    drop(held);

    lab.step("it happens");
    configure(lab, director, THEN)?;
    same("reload", &lvsd(director, &["reload", "--control", &control(&run_dir(director))])?.code, &Some(0))?;
    wait_for_table(director, "what was planned", seconds(60), &Table::parse(AFTER)?)?;
    same("exit code afterwards", &unchanged(director, &then)?.code, &Some(0))?;

    lab.step("a server dies, and lvsd hands over");
    site.web("rs1")?.stop();
    wait_for("no real server is left", seconds(20), || {
        let table = site.table()?;
        if table.serving(WEB).is_empty() { Ok(()) } else { Err(table.to_string()) }
    })?;
    daemon.hand_over()?;
    let left = unchanged(director, &then)?;
    same("exit code after a hand-over", &left.code, &Some(0))?;
    says(
        &left,
        &[
            "health: as the last lvsd left it",
            "operators' orders are as the last lvsd left them",
            "virtual server 10.1.0.100:80 tcp would be without quorum, weight 0, quorum 1",
        ],
    )
}

/// `lvsd plan`, which leaves the table as it is.
fn unchanged(director: &Host, file: &Path) -> Result<Finished, String> {
    let before = Table::read(director)?;
    let finished = plan(director, file, &[])?;
    same("the table after a plan", &Table::read(director)?, &before)?;
    Ok(finished)
}

fn plan(director: &Host, file: &Path, more: &[&str]) -> Result<Finished, String> {
    let file = file.to_string_lossy().into_owned();
    let mut arguments = vec!["plan", "-c", &file];
    let run_dir = run_dir(director);
    arguments.extend(["--run-dir", &run_dir]);
    arguments.extend(more);
    lvsd(director, &arguments)
}

/// Lines that must be in the plan; blanks between columns count as one.
fn says(plan: &Finished, lines: &[&str]) -> Verdict {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let said = squeeze(&plan.stdout);
    for line in lines {
        claim(said.contains(&squeeze(line)), || {
            format!("it says {line:?}:\n{}{}", plan.stdout, plan.stderr)
        })?;
    }
    Ok(())
}
