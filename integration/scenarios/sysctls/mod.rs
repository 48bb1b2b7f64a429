//! The host's settings. `ipvs.sysctl` has an owner: settings are applied before the first packet, kept against strangers, left by a
//! hand-over and a crash, put back by a stop, and what a reload drops is put back at once. With keepalived.conf they are
//! the operator's, but `lvsd check` says on a director which will hurt.

use std::net::IpAddr;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::judge::{addresses, output};
use crate::lab::topology::batch;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const BOTH: &str = include_str!("both.yaml");
const ONE: &str = include_str!("one.yaml");
const NAT: &str = "virtual_server 10.1.0.100 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    persistence_timeout 50
    real_server 10.3.0.21 80 {
        TCP_CHECK {
        }
    }
}
";
const ROUTER: &str = include_str!("router.conf");
const NAMES: [&str; 3] = ["expire_nodest_conn", "expire_quiescent_template", "sync_threshold"];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    let before = settings(director)?;
    same("the kernel's defaults", &before.as_str(), &"0 0 3 50")?;
    let file = lab.write("d1.yaml", BOTH)?;
    let run_dir = run_dir(director);

    lab.step("settings that break something");
    let nat = lab.write("nat.conf", NAT)?.to_string_lossy().into_owned();
    let check = || lvsd(director, &["check", "-c", &nat]).map(|finished| finished.stdout);
    let said = check()?;
    let persistence = "warning: this host: net.ipv4.vs.expire_quiescent_template is 0";
    claim(said.contains(persistence) && !said.contains("ip_forward"), || said)?;
    director.sysctl(&[("net.ipv4.ip_forward", "0")])?;
    let said = check()?;
    claim(said.contains("warning: this host: net.ipv4.ip_forward is 0: NAT needs it"), || said)?;

    lab.step("start, and a stranger");
    let path = file.to_string_lossy().into_owned();
    let plan = lvsd(director, &["plan", "-c", &path, "--run-dir", &run_dir])?.stdout;
    claim(plan.contains("net.ipv4.vs.sync_threshold"), || format!("the plan names settings: {plan}"))?;
    let mut daemon = Daemon::start_lvsd(lab, director, &file, &run_dir, &[])?;
    daemon.wait_log(READY, seconds(30))?;
    same("applied", &settings(director)?.as_str(), &"1 1 5 60")?;
    director.sysctl(&[("net.ipv4.vs.sync_threshold", "7 70")])?;
    wait_for("it is set again", seconds(30), || {
        let now = settings(director)?;
        if now == "1 1 5 60" { Ok(()) } else { Err(now) }
    })?;
    daemon.wait_log("was changed to 7 70 by another program", seconds(5))?;

    lab.step("kill -9, a hand-over");
    daemon.kill()?;
    same("a crash leaves them", &settings(director)?.as_str(), &"1 1 5 60")?;
    let mut daemon = Daemon::start_lvsd(lab, director, &file, &run_dir, &[])?;
    daemon.wait_log(READY, seconds(30))?;
    daemon.hand_over()?;
    same("a hand-over leaves them", &settings(director)?.as_str(), &"1 1 5 60")?;

    lab.step("a reload drops one, a stop all");
    let mut daemon = Daemon::start_lvsd(lab, director, &file, &run_dir, &[])?;
    daemon.wait_log(READY, seconds(30))?;
    lab.write("d1.yaml", ONE)?;
    let reload = lvsd(director, &["reload", "--control", &control(&run_dir)])?;
    claim(reload.code == Some(0), || format!("{reload:?}"))?;
    same("what is dropped is put back", &settings(director)?.as_str(), &"0 1 3 50")?;
    daemon.end(Signal::TERM)?;
    same("a stop puts everything back", &settings(director)?, &before)?;
    promoting(lab, director)
}

/// An interface's `promote_secondaries` is the virtual router's while there is one: a VIP outlives the first address of
/// its network.
fn promoting(lab: &Lab, director: &Host) -> Verdict {
    lab.step("promote_secondaries");
    director.sysctl(&[("net.ipv4.conf.all.promote_secondaries", "0")])?;
    director.sysctl(&[("net.ipv4.conf.eth0.promote_secondaries", "0")])?;
    let setting = || output(director, &["cat", "/proc/sys/net/ipv4/conf/eth0/promote_secondaries"]);
    batch(Some(director.name()), "addr add 192.0.2.111/32 dev eth0\n")?;
    let file = lab.write("d1.conf", ROUTER)?;
    let daemon = Daemon::start_lvsd(lab, director, &file, &run_dir(director), &[])?;
    let vip: IpAddr = "10.1.0.150".parse().map_err(|e| format!("{e}"))?;
    let holds = || -> Result<bool, String> {
        Ok(addresses(director)?.get("eth0").is_some_and(|all| all.contains(&vip)))
    };
    wait_for("the VIP is there", seconds(10), || if holds()? { Ok(()) } else { Err("no".to_owned()) })?;
    same("the setting", &setting()?.trim(), &"1")?;
    batch(Some(director.name()), "addr del 10.1.0.11/24 dev eth0\n")?;
    // Otherwise it would have gone with the address, and come again.
    let log = daemon.log_text();
    claim(holds()? && !log.contains("put back"), || log.clone())?;
    batch(Some(director.name()), "addr add 10.1.0.11/24 dev eth0\n")?;
    daemon.end(Signal::TERM)?;
    same("the setting, put back", &setting()?.trim(), &"0")
}

/// Their values in a host, in the order of [`NAMES`].
fn settings(host: &Host) -> Result<String, String> {
    let mut command = vec!["cat".to_owned()];
    command.extend(NAMES.map(|name| format!("/proc/sys/net/ipv4/vs/{name}")));
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    Ok(output(host, &words)?.split_whitespace().collect::<Vec<_>>().join(" "))
}
