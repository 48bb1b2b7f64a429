//! What else keeps packets for the VIP from a real server that is well, or its answers from arriving, and the words for
//! it: none claims more than was seen.

use std::collections::BTreeMap;

use rustix::process::Signal;

use crate::lab::capture::Capture;
use crate::lab::daemon::{Daemon, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::judge::output;
use crate::lab::site::Site;
use crate::lab::topology::{REAL_SERVERS, VIP, batch};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

use super::{reals, start, vip, wait_for_only, why, yaml};

pub(super) fn each_in_its_words(lab: &Lab, site: &mut Site) -> Verdict {
    lab.step("each fault has its words");
    let (real, director) = (lab.host("rs2")?, site.director.clone());
    let all = reals(false, &REAL_SERVERS)?;
    let active = start(lab, &director, &yaml(lab, "dr", false)?)?;
    wait_for_only(&director, VIP, &all)?;
    vip(lab, "rs2", VIP, false)?;
    real.sysctl(&[("net.ipv4.ip_forward", "1")])?;
    let capture = Capture::start(lab, &director, "eth0", "src 10.1.0.11 and dst 10.1.0.100")?;
    judge(lab, &director, "no VIP on a host that forwards", &["path_check: VIP missing on lo"])?;
    // It passes the probe back, and the director to it again: not for ever.
    let mut of_probe: BTreeMap<String, usize> = BTreeMap::new();
    for packet in capture.stop_after("Flags [S]")? {
        *of_probe.entry(packet.split(" > ").next().unwrap_or_default().to_owned()).or_default() += 1;
    }
    claim(of_probe.values().all(|packets| *packets <= 16), || format!("it goes round: {of_probe:?}"))?;
    real.sysctl(&[("net.ipv4.ip_forward", "0")])?;
    vip(lab, "rs2", VIP, true)?;
    wait_for_only(&director, VIP, &all)?;

    // What this director drops is no real server's fault.
    director.sysctl(&[("net.ipv4.conf.eth0.rp_filter", "1")])?;
    batch(Some(director.name()), &format!("addr del {VIP}/32 dev eth0\naddr add {VIP}/32 dev lo\n"))?;
    let words = "rp_filter is 1 on eth0, and 10.1.0.100 is on another link";
    wait_for("it suspects itself", seconds(30), || {
        let said = why(&director, "rs2", false)?;
        if said.contains(words) { Ok(()) } else { Err(said) }
    })?;
    claim(active.log_text().contains("its verdict is held: rp_filter is 1 on eth0"), || active.log_text())?;
    director.sysctl(&[("net.ipv4.conf.eth0.rp_filter", "2")])?;
    wait_for("its checks run again", seconds(30), || {
        let log = active.log_text();
        if log.contains("path_check of 10.1.0.22:80 runs again") { Ok(()) } else { Err(log) }
    })?;
    wait_for_only(&director, VIP, &all)?;
    claim(!active.log_text().contains("10.1.0.21:80 of virtual server 10.1.0.100:80 tcp is down"), || {
        active.log_text()
    })?;
    batch(Some(director.name()), &format!("addr del {VIP}/32 dev lo\naddr add {VIP}/32 dev eth0\n"))?;
    director.sysctl(&[("net.ipv4.conf.eth0.rp_filter", "0")])?;

    // It answers where it must not.
    let link = output(&real, &["ip", "-o", "link", "show", "eth0"])?;
    let mac =
        link.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).ok_or("rs2's address")?;
    for (ignore, words) in [("0", format!("answers ARP for the VIP (MAC {mac})")), ("1", "up".to_owned())] {
        real.sysctl(&[("net.ipv4.conf.all.arp_ignore", ignore)])?;
        let said = wait_for("the leak is seen, or over", seconds(90), || {
            let said = lvsd(&director, &["status", "--control", &control(&run_dir(&director))])?.stdout;
            let row = said.lines().find(|line| line.contains("10.1.0.22:80")).unwrap_or_default().to_owned();
            let is_seen = row.contains("answers ARP");
            if row.contains(&words) && is_seen == (ignore == "0") { Ok(row) } else { Err(said) }
        })?;
        lab.note(format!("arp_ignore {ignore}: {}", said.trim()));
    }
    claim(active.log_text().contains("answers ARP for the VIP no longer"), || active.log_text())?;

    // Nothing listens on its port at the VIP.
    site.web("rs2")?.stop();
    let nginx = Daemon::nginx(lab, &real, &["10.1.0.22:80"])?;
    judge(
        lab,
        &director,
        "the application knows its own address only",
        &["path_check: service down at the VIP: 10.1.0.100:80 is refused"],
    )?;
    nginx.end(Signal::TERM)?;
    // Nothing listens at either address: its own check says so.
    let said = wait_for("its own check fails", seconds(30), || {
        let said = why(&director, "rs2", false)?;
        if said.lines().next().is_some_and(|line| line.contains("TCP_CHECK: connection refused")) {
            Ok(said)
        } else {
            Err(said)
        }
    })?;
    lab.note(format!("the service is down: {}", said.lines().next().unwrap_or_default()));
    site.web("rs2")?.resume()?;
    wait_for_only(&director, VIP, &all)?;
    active.end(Signal::TERM)?;

    let active = start(lab, &director, &yaml(lab, "tun", false)?)?;
    wait_for_only(&director, VIP, &all)?;
    real.sysctl(&[("net.ipv4.conf.tunl0.rp_filter", "1")])?;
    judge(
        lab,
        &director,
        "rp_filter on the tunnel device",
        &["path_check: VIP missing on lo, or reply path broken (rp_filter"],
    )?;
    real.sysctl(&[("net.ipv4.conf.tunl0.rp_filter", "0")])?;
    wait_for_only(&director, VIP, &all)?;
    output(&real, &["ip", "link", "set", "tunl0", "down"])?;
    judge(
        lab,
        &director,
        "the tunnel device is down",
        &["path_check: tunnel device down there, or service down"],
    )?;
    output(&real, &["ip", "link", "set", "tunl0", "up"])?;
    wait_for_only(&director, VIP, &all)?;
    active.end(Signal::TERM)
}

/// The director takes the real server out, and says why.
fn judge(lab: &Lab, director: &Host, what: &str, words: &[&str]) -> Verdict {
    wait_for_only(director, VIP, &reals(false, &["rs1", "rs3"])?)?;
    let said = why(director, "rs2", false)?;
    lab.note(format!("{what}: {}", said.lines().next().unwrap_or_default()));
    claim(words.iter().all(|words| said.contains(words)), || format!("{what}: {said}"))
}
