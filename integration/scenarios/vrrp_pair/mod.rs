//! Two directors share a VIP: when one dies, stops or hands over, the other or the next one holds it in time.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use lvsd::internals::daemon::GUARDIAN;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::capture::Capture;
use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, lvsd, processes, status};
use crate::lab::host::Host;
use crate::lab::topology::{REAL_SERVERS, VIP};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, judge, same};

/// Three intervals and the skew of priority 100, and what looking takes.
const MASTER_DOWN: Duration = Duration::from_millis(3610 + LOOK);
/// The skew of priority 100.
const SKEW: Duration = Duration::from_millis(610 + LOOK);
const VIPS: [&str; 4] = [VIP, "fe80::100", "fd00:1::100", "10.1.0.101"];
/// A look costs, and is not taken at once.
const LOOK: u64 = 500;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    lab.dr_real_servers(&[VIP])?;
    let webs = REAL_SERVERS.iter().map(|name| Web::start(&lab.host(name)?)).collect::<Result<Vec<_>, _>>()?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    let text = include_str!("d1.conf");
    let first = &text.replace("@peer", "10.1.0.12");
    let second = text.replace("@peer", "10.1.0.11").replace("priority 150", "priority 100");
    let capture =
        Capture::start(lab, &lab.host("r")?, "eth0", "ip proto 112 or arp or ip6 proto 112 or icmp6")?;

    lab.step("the one with the higher priority holds the VIP");
    let one = Daemon::lvsd(lab, &d1, first)?;
    let two = Daemon::lvsd(lab, &d2, &second)?;
    is_with(&d1, &d2, seconds(10))?;
    answers(lab)?;
    let table = lvsd(&d1, &["status", "--control", &crate::lab::daemon::control("/run/lvsd-d1")])?.stdout;
    lab.note(&table);
    claim(table.contains("web       51    Master  150"), || format!("the status says so:\n{table}"))?;
    same("the other's Master", &instance(&d2, "master")?.as_str(), &"10.1.0.11")?;

    lab.step("it is killed: its guardian sends priority 0, and the other takes over");
    let begun = Instant::now();
    one.kill()?;
    wait_for("the VIPs are on d2", SKEW, || holds(&d2))?;
    lab.note(format!("after {:.2} s", begun.elapsed().as_secs_f64()));
    same("the VIPs that are still on d1", &held(&d1)?, &Vec::new())?;
    answers(lab)?;

    lab.step("it returns and takes the VIP back");
    let one = Daemon::lvsd(lab, &d1, first)?;
    is_with(&d1, &d2, seconds(10))?;

    lab.step(
        "it is killed with its guardian: the other takes over when it has heard nothing for long enough",
    );
    let begun = Instant::now();
    one.signal(Signal::STOP)?;
    kill_guardian(&one)?;
    one.kill()?;
    wait_for("the VIPs are on d2", MASTER_DOWN, || holds(&d2))?;
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
    wait_for("the VIPs are on d2", SKEW, || holds(&d2))?;
    lab.note(format!(
        "ended after {:.3} s, taken over after {:.2} s",
        ended.as_secs_f64(),
        begun.elapsed().as_secs_f64()
    ));
    same("the VIPs that are still on d1", &held(&d1)?, &Vec::new())?;
    answers(lab)?;

    lab.step("the Master hands over to its own successor: the VIP never leaves");
    two.hand_over()?;
    claim(holds(&d2).is_ok(), || "the VIP left d2".to_owned())?;
    let mut two = Daemon::lvsd(lab, &d2, &second)?;
    same("its state", &instance(&d2, "state")?.as_str(), &"master")?;
    claim(!two.log_text().contains("-> Backup"), || two.log_text())?;
    answers(lab)?;

    lab.step("a program removes the VIP: it is back");
    judge::run(&["ip", "-n", "d2", "addr", "del", "10.1.0.100/24", "dev", "eth0"])?;
    two.wait_log("another program removed", seconds(2))?;
    holds(&d2)?;
    same("its state", &instance(&d2, "state")?.as_str(), &"master")?;

    lab.step("what was on the wire");
    two.end(Signal::TERM)?;
    let lines = capture.stop_after("10.1.0.12 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 0")?;
    let has = |words: &str| {
        claim(lines.iter().any(|line| line.contains(words)), || format!("no {words:?} in {lines:#?}"))
    };
    has("10.1.0.11 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 150")?;
    has("10.1.0.11 > 224.0.0.18: VRRPv2, Advertisement, vrid 51, prio 0")?;
    has("fe80::100 > ff02::1: ICMP6, neighbor advertisement")?;
    has("ff02::12: VRRPv3, Advertisement, vrid 52, prio 0")?;
    has("Request who-has 10.1.0.100 (ff:ff:ff:ff:ff:ff) tell 10.1.0.100")?;
    pause(seconds(1));
    same("what is left behind", &(held(&d1)?, held(&d2)?), &(Vec::new(), Vec::new()))?;
    drop(webs);
    Ok(())
}

fn kill_guardian(daemon: &Daemon) -> Verdict {
    for id in processes(GUARDIAN)? {
        let text = std::fs::read_to_string(format!("/proc/{id}/stat")).map_err(|e| e.to_string())?;
        let parent = text.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1));
        if parent == Some(&daemon.pid().to_string()) {
            let pid = id.parse().ok().and_then(Pid::from_raw).ok_or("no process id")?;
            return kill_process(pid, Signal::KILL).map_err(|e| format!("signal: {e}"));
        }
    }
    Err("no guardian of that daemon".to_owned())
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
        match held(other)? {
            none if none.is_empty() => Ok(()),
            some => Err(format!("{some:?} are on {} too", other.name())),
        }
    })
}

/// All VIPs: by multicast of IPv4 and IPv6, and by unicast.
fn holds(host: &Host) -> Verdict {
    let found = held(host)?;
    if found.len() == VIPS.len() { Ok(()) } else { Err(format!("{} holds {found:?}", host.name())) }
}

fn held(host: &Host) -> Result<Vec<&'static str>, String> {
    let all = judge::addresses(host)?;
    let own = all.get("eth0").ok_or("no eth0")?;
    Ok(VIPS.into_iter().filter(|vip| vip.parse().is_ok_and(|ip: IpAddr| own.contains(&ip))).collect())
}

/// A word of the instance `web` in a host's status.
fn instance(host: &Host, word: &str) -> Result<String, String> {
    let status = status(host)?;
    let all = status.pointer("/router/instances").and_then(|all| all.as_array()).ok_or("no instances")?;
    let named = |instance: &&serde_json::Value| instance.get("name").is_some_and(|name| name == "web");
    let web = all.iter().find(named).ok_or("no instance web")?;
    let text = web.get(word).and_then(|value| value.as_str());
    text.map(str::to_owned).ok_or_else(|| format!("no {word} in {web}"))
}
