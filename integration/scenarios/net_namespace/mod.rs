//! `net_namespace`: a director that is started in one network namespace and works in another, as keepalived does: its table,
//! its VIPs, its checks, and the guardian that cleans up after it. Where there is no such namespace it does not start; a
//! reload cannot move it.

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::judge::addresses;
use crate::lab::site::Site;
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// The VIP of the virtual router.
const FLOATING: &str = "10.1.0.150";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let started = lab.host("r")?;
    let file = include_str!("elsewhere.conf");

    lab.step("keepalived");
    let keepalived = Daemon::keepalived(lab, &started, file)?;
    directs(&site, &started)?;
    keepalived.end(Signal::TERM)?;
    wait_for("the VIP is gone", seconds(10), || floats(&site.director, false))?;

    lab.step("lvsd");
    let daemon = Daemon::lvsd(lab, &started, file)?;
    directs(&site, &started)?;
    claim(daemon.log_text().contains("in network namespace d1 from now on"), || daemon.log_text())?;
    let shown = status(&started)?;
    claim(shown.to_string().contains("10.1.0.100:80"), || format!("status finds it: {shown}"))?;
    let checked = lvsd(&started, &["check", &path(lab)])?;
    claim(checked.code == Some(0) && !checked.stdout.contains("no interface"), || format!("{checked:?}"))?;

    lab.step("a reload cannot move it");
    configure(lab, &started, &file.replace("net_namespace d1", "net_namespace c"))?;
    let refused = lvsd(&started, &["reload", "--control", &control(&run_dir(&started))])?;
    let said = refused.stdout + &refused.stderr;
    claim(refused.code == Some(78) && said.contains("from d1 to c: restart lvsd"), || said)?;
    directs(&site, &started)?;

    lab.step("its guardian is there, too");
    daemon.kill()?;
    wait_for("the VIP is gone", seconds(3), || floats(&site.director, false))?;

    lab.step("a namespace that does not exist");
    configure(lab, &started, &file.replace("net_namespace d1", "net_namespace nowhere"))?;
    let missing = lvsd(&started, &["run", &path(lab), "--run-dir", &run_dir(&started)])?;
    let said = missing.stdout + &missing.stderr;
    claim(missing.code == Some(78), || format!("{:?}: {said}", missing.code))?;
    claim(
        said.contains("there is no network namespace `nowhere`") && said.contains("ip netns add nowhere"),
        || said,
    )
}

fn path(lab: &Lab) -> String {
    lab.out().join("r.conf").display().to_string()
}

/// All of it is on the director, nothing where it was started.
fn directs(site: &Site, started: &Host) -> Verdict {
    wait_for("the director directs", seconds(30), || {
        same(
            "who serves",
            &site.table()?.serving("-t 10.1.0.100:80"),
            &vec!["10.1.0.21:80", "10.1.0.22:80"],
        )?;
        floats(&site.director, true)
    })?;
    same("services where it was started", &Table::read(started)?.counts().0, &0)?;
    floats(started, false)?;
    let got = site.hits()?;
    same("requests that fail", &got.total_failed(), &0)
}

fn floats(host: &Host, wanted: bool) -> Verdict {
    let vip = FLOATING.parse().map_err(|e| format!("{FLOATING}: {e}"))?;
    let has = addresses(host)?.values().any(|all| all.contains(&vip));
    same(&format!("whether {} has {FLOATING}", host.name()), &has, &wanted)
}
