//! What scripts and FIFOs are given, beside Debian's keepalived: no FAULT at a start because a VMAC is on its way; the
//! address that scripts move ends at the host that stays Master; a member that joins a Master's group by a reload does
//! not move the group; a Master that fell ill is replaced where `preempt healthier` is written, and only there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use rustix::process::Signal;

use crate::lab::topology::batch;
use crate::lab::vrrp::frame::{Forged, message_v3};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::{Segment, VIP};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("director.conf");
const FOLDER: &str = "/run/reports";
/// The host that has the address a cloud provider moves: whose script ran last.
const TAKES: &str = "#!/bin/sh\necho \"$2\" >> /run/reports/cloud\n";
const READER: &str = "#!/bin/sh\nexec cat \"$1\" > /run/reports/lines\n";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    for make in [Make::Keepalived, Make::Lvsd] {
        lab.step(format!("{}: it starts with a VMAC, and a peer is Master for three seconds", make.name()));
        prepare()?;
        let mut node = Node::new(lab, "d1", make, &conf(150, "", "A\nB"))?;
        node.start(lab)?;
        wait_line("GROUP \"G\" MASTER 0")?;
        wait_line("INSTANCE \"CLOUD\" MASTER 150")?;
        pause(seconds(3));
        claim(!lines().iter().any(|line| line.contains("FAULT")), || {
            format!("no FAULT at the start: {:?}", lines())
        })?;
        a_peer_is_master_for_seconds(lab)?;
        lab.note(format!("who took the cloud's address: {:?}", cloud()));
        same("the address ends at", &cloud().last().cloned(), &Some("lower-150".to_owned()))?;
        if make == Make::Lvsd {
            same("reports of the rival", &lines().iter().filter(|l| l.contains("RX_LOWER_PRI")).count(), &2)?;
        }

        lab.step(format!("{}: a third instance joins the group by a reload", make.name()));
        let before = lines().len();
        node.rewrite(&conf(150, "", "A\nB\nCLOUD"))?;
        node.signal(Signal::HUP)?;
        pause(seconds(10));
        let told: Vec<String> =
            lines().into_iter().skip(before).filter(|line| line.starts_with("GROUP")).collect();
        lab.note(format!("the group's lines: {told:?}"));
        if make == Make::Lvsd {
            same("lines of the group", &told, &Vec::new())?;
        }
        node.end(Signal::TERM)?;
    }
    an_address_comes_late(lab)?;
    a_master_falls_ill(lab, &segment)
}

/// A router of priority 50 claims three times; its script, which takes the address, needs half a second.
fn a_peer_is_master_for_seconds(lab: &Lab) -> Verdict {
    let client = lab.host("c")?;
    let advertise = || {
        client.enter(|| {
            let message = message_v3(61, 50, 100, &[VIP]);
            let frame = Forged::new([10, 77, 0, 9].into(), message).sum_v3().frame();
            PacketSocket::open("eth0")?.send(&frame).map_err(|e| format!("an advertisement: {e}"))
        })
    };
    advertise()?;
    pause(seconds(1) / 2);
    let text = fs::read_to_string(format!("{FOLDER}/cloud")).unwrap_or_default();
    fs::write(format!("{FOLDER}/cloud"), text + "rival\n").map_err(|e| e.to_string())?;
    for _ in 0..2 {
        pause(seconds(1));
        advertise()?;
    }
    pause(seconds(6));
    Ok(())
}

/// The interface has no address when lvsd starts, and gets one two seconds later.
fn an_address_comes_late(lab: &Lab) -> Verdict {
    for (make, waits) in [(Make::Keepalived, 2), (Make::Lvsd, 2), (Make::Lvsd, 8)] {
        lab.step(format!("{}: its address comes after {waits} s", make.name()));
        prepare()?;
        batch(Some("d1"), "addr flush dev eth0 scope global\n")?;
        let mut node = Node::new(lab, "d1", make, &conf(150, "", "A\nB"))?;
        node.start(lab)?;
        pause(seconds(waits));
        batch(Some("d1"), "addr add 10.77.0.1/24 dev eth0\naddr add fd77::1/64 dev eth0\n")?;
        wait_line("GROUP \"G\" MASTER 0")?;
        let faults = lines().iter().filter(|line| line.contains("FAULT")).count();
        lab.note(format!("lines with FAULT: {faults}"));
        if make == Make::Lvsd {
            claim((faults > 0) == (waits == 8), || {
                format!("a fault is reported if it lasts: {:?}", lines())
            })?;
        }
        node.end(Signal::TERM)?;
    }
    Ok(())
}

/// The Master's script fails: its priority falls below the other one's.
fn a_master_falls_ill(lab: &Lab, segment: &Segment) -> Verdict {
    for (make, preemption, moves) in [
        (Make::Keepalived, "nopreempt", false),
        (Make::Lvsd, "nopreempt", false),
        (Make::Lvsd, "preempt healthier", true),
    ] {
        lab.step(format!("{}, {preemption}: the Master falls ill", make.name()));
        prepare()?;
        let mut nodes = Vec::new();
        for (name, priority) in [("d1", 150), ("d2", 100)] {
            let text = conf(priority, preemption, "A\nB")
                .replace("/run/reports/fifo", &format!("/run/reports/fifo-{name}"));
            let mut node = Node::new(lab, name, make, &text)?;
            node.start(lab)?;
            nodes.push(node);
            if name == "d1" {
                wait_cloud("master-150", 1)?;
            }
        }
        pause(seconds(5));
        program("well-150", "#!/bin/sh\nexit 1\n")?;
        pause(seconds(10));
        let holder = if moves { "d2" } else { "d1" };
        same(
            "who has the address",
            &segment.holders.at(VIP.into(), Instant::now()),
            &vec![holder.to_owned()],
        )?;
        program("well-150", "#!/bin/sh\nexit 0\n")?;
        pause(seconds(10));
        same(
            "and when it is well again",
            &segment.holders.at(VIP.into(), Instant::now()),
            &vec![holder.to_owned()],
        )?;
        for mut node in nodes {
            node.end(Signal::TERM)?;
        }
        pause(seconds(2));
    }
    Ok(())
}

fn conf(priority: u8, preemption: &str, members: &str) -> String {
    let members = members.replace('\n', "\n        ");
    CONF.replace("${PRIORITY}", &priority.to_string())
        .replace("${PREEMPTION}", preemption)
        .replace("${MEMBERS}", &members)
}

/// A folder without traces of the daemon before.
fn prepare() -> Verdict {
    // The first time there is none.
    let _ = fs::remove_dir_all(FOLDER);
    fs::create_dir_all(FOLDER).map_err(|e| e.to_string())?;
    program("takes", TAKES)?;
    program("reader", READER)?;
    program("well-150", "#!/bin/sh\nexit 0\n")?;
    program("well-100", "#!/bin/sh\nexit 0\n")
}

fn program(name: &str, text: &str) -> Verdict {
    let path = format!("{FOLDER}/{name}");
    let new = format!("{path}.new");
    fs::write(&new, text).map_err(|e| e.to_string())?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    fs::rename(&new, &path).map_err(|e| e.to_string())
}

/// The FIFO's lines.
fn lines() -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/lines")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Who took the address, the last one last.
fn cloud() -> Vec<String> {
    let text = fs::read_to_string(format!("{FOLDER}/cloud")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn wait_line(wanted: &str) -> Verdict {
    wait_for(wanted, seconds(20), || match lines().iter().any(|line| line == wanted) {
        true => Ok(()),
        false => Err(format!("{:?}", lines())),
    })
}

fn wait_cloud(wanted: &str, times: usize) -> Verdict {
    wait_for(wanted, seconds(20), || match cloud().iter().filter(|who| *who == wanted).count() {
        count if count >= times => Ok(()),
        _ => Err(format!("{:?}", cloud())),
    })
}
