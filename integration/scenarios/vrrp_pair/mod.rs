//! Two directors share a VIP: whoever dies, stops or hands over, the other or the next one holds it in time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::capture::Capture;
use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, lvsd, status};
use crate::lab::host::Host;
use crate::lab::topology::{REAL_SERVERS, VIP};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, judge, same};

/// Three intervals and the skew of priority 100, and what looking takes.
const MASTER_DOWN: Duration = Duration::from_millis(3610 + LOOK);
/// The skew of priority 100.
const SKEW: Duration = Duration::from_millis(610 + LOOK);
/// A look costs, and is not taken at once.
const LOOK: u64 = 500;

pub fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    lab.dr_real_servers(&[VIP])?;
    let webs = REAL_SERVERS.iter().map(|name| Web::start(&lab.host(name)?)).collect::<Result<Vec<_>, _>>()?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    let first = include_str!("d1.conf");
    let second = first.replace("priority 150", "priority 100");
    let capture = Capture::start(lab, &lab.host("r")?, "eth0", "ip proto 112 or arp")?;

    lab.step("the one with the higher priority holds the VIP");
    let one = Daemon::lvsd(lab, &d1, first)?;
    let two = Daemon::lvsd(lab, &d2, &second)?;
    is_with(&d1, &d2, seconds(10))?;
    answers(lab)?;
    let table = lvsd(&d1, &["status", "--control", &crate::lab::daemon::control("/run/lvsd-d1")])?.stdout;
    lab.note(&table);
    claim(table.contains("web       51    Master  150"), || format!("the status says so:\n{table}"))?;
    same("the other's Master", &instance(&d2)?["master"].as_str(), &Some("10.1.0.11"))?;

    lab.step("it is killed: the other takes over");
    let begun = Instant::now();
    one.kill()?;
    wait_for("the VIP is on d2", MASTER_DOWN, || holds(&d2))?;
    lab.note(format!("after {:.2} s", begun.elapsed().as_secs_f64()));
    answers(lab)?;

    lab.step("it returns and takes the VIP back");
    let one = Daemon::lvsd(lab, &d1, first)?;
    is_with(&d1, &d2, seconds(10))?;
    answers(lab)?;

    lab.step("it is stopped: the other takes over after the skew time, and nothing is left behind");
    let begun = Instant::now();
    one.end(Signal::TERM)?;
    let ended = begun.elapsed();
    wait_for("the VIP is on d2", SKEW, || holds(&d2))?;
    lab.note(format!(
        "ended after {:.3} s, taken over after {:.2} s",
        ended.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    claim(holds(&d1).is_err(), || "the VIP is still on d1".to_owned())?;
    answers(lab)?;

    lab.step("the Master hands over to its own successor: the VIP never leaves");
    two.end(Signal::USR2)?;
    claim(holds(&d2).is_ok(), || "the VIP left d2".to_owned())?;
    let mut two = Daemon::lvsd(lab, &d2, &second)?;
    same("its state", &instance(&d2)?["state"].as_str(), &Some("master"))?;
    claim(!two.log_text().contains("-> Backup"), || two.log_text())?;
    answers(lab)?;

    lab.step("somebody removes the VIP: it is back");
    judge::run(&["ip", "-n", "d2", "addr", "del", "10.1.0.100/24", "dev", "eth0"])?;
    two.wait_log("somebody removed", seconds(2))?;
    holds(&d2)?;
    same("its state", &instance(&d2)?["state"].as_str(), &Some("master"))?;

    lab.step("what was on the wire");
    two.end(Signal::TERM)?;
    let lines = capture.stop_after("10.1.0.12 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 0")?;
    let has = |words: &str| {
        claim(lines.iter().any(|line| line.contains(words)), || format!("no {words:?} in {lines:#?}"))
    };
    has("10.1.0.11 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 150")?;
    has("10.1.0.11 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 0")?;
    has("Request who-has 10.1.0.100 (ff:ff:ff:ff:ff:ff) tell 10.1.0.100")?;
    pause(seconds(1));
    claim(holds(&d1).is_err() && holds(&d2).is_err(), || "a VIP is left behind".to_owned())?;
    drop(webs);
    Ok(())
}

/// Requests to the VIP are answered by all real servers.
fn answers(lab: &Lab) -> Verdict {
    let client = lab.host("c")?;
    wait_for("twelve requests are answered", seconds(5), || {
        let got = hits(&client, 12, &format!("http://{VIP}/"))?.to_string();
        if got == "rs1=4 rs2=4 rs3=4" { Ok(()) } else { Err(got) }
    })
}

fn is_with(holder: &Host, other: &Host, deadline: Duration) -> Verdict {
    wait_for(&format!("the VIP is on {} alone", holder.name()), deadline, || {
        holds(holder)?;
        if holds(other).is_ok() { Err(format!("it is on {} too", other.name())) } else { Ok(()) }
    })
}

fn holds(host: &Host) -> Verdict {
    let vip: IpAddr = VIP.parse().map_err(|e| format!("{VIP}: {e}"))?;
    let all = judge::addresses(host)?;
    let is_there = all.get("eth0").is_some_and(|addresses| addresses.contains(&vip));
    if is_there { Ok(()) } else { Err(format!("{}: {all:?}", host.name())) }
}

fn instance(host: &Host) -> Result<serde_json::Value, String> {
    Ok(status(host)?["router"]["instances"][0].clone())
}
