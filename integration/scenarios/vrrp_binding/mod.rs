//! What an instance needs, and which senders it accepts: links with two networks, source addresses that are not there
//! (yet), sockets that cannot be opened, senders that are no peers, intervals that differ. Each beside keepalived,
//! whose result is noted.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, run_dir};
use crate::lab::topology::{SWITCH, batch};
use crate::lab::vrrp::frame::{Forged, message_v3};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::{Segment, VIP, WIRE};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const VRID: u8 = 81;
const VRID6: u8 = 82;
const CALM: Duration = seconds(20);

type Case = fn(&mut Lab, &Segment, Make) -> Verdict;

const BINDING: [(&str, Case); 4] = [
    ("two networks on the link", two_networks),
    ("one file for two nodes", one_file),
    ("a source address that comes late", late_source),
    ("a socket that cannot be opened", deaf),
];
const BELIEVED: [(&str, Case); 2] =
    [("a stranger by unicast", stranger), ("an interval five times as long", slow)];

/// What an instance stands on.
pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    cases(lab, &segment, &BINDING)
}

/// Whom it believes.
pub(super) fn run_believed(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    cases(lab, &segment, &BELIEVED)?;
    lab.step("lvsd in YAML: the TTL of a peer on the link");
    ttl(lab, &segment)
}

fn cases(lab: &mut Lab, segment: &Segment, cases: &[(&str, Case)]) -> Verdict {
    let mut wrong = Vec::new();
    for (name, case) in cases {
        for make in [Make::Keepalived, Make::Lvsd] {
            lab.step(format!("{}: {name}", make.name()));
            let judged = case(lab, segment, make);
            restore()?;
            match (make, judged) {
                (_, Ok(())) => lab.note(format!("{}: {name}: right", make.name())),
                (Make::Keepalived, Err(e)) => lab.note(format!("keepalived: {name}: {e}")),
                (Make::Lvsd, Err(e)) => {
                    lab.step(format!("wrong: {e}"));
                    wrong.push(format!("{name}: {e}"));
                }
            }
        }
    }
    claim(wrong.is_empty(), || wrong.join("\n"))
}

/// The addresses the segment began with, in its order.
fn restore() -> Verdict {
    for n in [1, 2] {
        let lines = format!(
            "addr flush dev eth0 scope global\naddr add 10.77.0.{n}/24 dev eth0\n\
             addr add fd77::{n:x}/64 dev eth0 nodad\n"
        );
        batch(Some(&format!("d{n}")), &lines)?;
    }
    Ok(())
}

fn v4(number: u8, priority: u8, more: &str) -> String {
    format!(
        "vrrp_instance four {{\n    state BACKUP\n    interface eth0\n    virtual_router_id {VRID}\n    version 3\n    \
         priority {priority}\n{more}\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n# d{number}\n"
    )
}

fn peer(number: u8) -> String {
    format!("    advert_int 1\n    unicast_peer {{\n        10.77.0.{}\n    }}", 3 - number)
}

fn pair(lab: &Lab, make: Make, of: impl Fn(u8, u8) -> String) -> Result<[Node; 2], String> {
    Ok([Node::new(lab, "d1", make, &of(1, 150))?, Node::new(lab, "d2", make, &of(2, 100))?])
}

fn holders(segment: &Segment) -> Vec<String> {
    segment.holders.at(IpAddr::V4(VIP), Instant::now())
}

fn held_by(segment: &Segment, what: &str, names: &[&str]) -> Verdict {
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    same(what, &holders(segment), &names)
}

fn ended(nodes: &mut [Node; 2], judged: Verdict) -> Verdict {
    for node in nodes.iter_mut() {
        node.end(Signal::TERM)?;
    }
    judged
}

/// V1, R3: of two networks that of the peers, whichever address is the lowest or the first; and it stays.
fn two_networks(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    for n in [1, 2] {
        // The network without peers comes first, in both families and by number.
        let lines = format!(
            "addr flush dev eth0 scope global\naddr add 10.70.0.{n}/24 dev eth0\naddr add 10.77.0.{n}/24 dev eth0\n\
             addr add fd77::{n:x}/64 dev eth0 nodad\naddr add fd70::{n:x}/64 dev eth0 nodad\n"
        );
        batch(Some(&format!("d{n}")), &lines)?;
    }
    let six = |number: u8, priority: u8| {
        format!(
            "vrrp_instance six {{\n    state BACKUP\n    interface eth0\n    virtual_router_id {VRID6}\n    version 3\n    \
             priority {priority}\n    advert_int 1\n    unicast_peer {{\n        fd77::{:x}\n    }}\n    \
             virtual_ipaddress {{\n        fd77::100/64\n    }}\n}}\n",
            3 - number
        )
    };
    let mut nodes = pair(lab, make, |n, priority| v4(n, priority, &peer(n)) + &six(n, priority))?;
    for node in &mut nodes {
        node.start(lab)?;
    }
    pause(CALM);
    let judged = (|| {
        // Who was up first may have been Master for a moment.
        let begun = Instant::now();
        pause(seconds(5));
        held_by(segment, "who holds the VIP", &["d1"])?;
        let expected = |ip: &str| vec![ip.parse::<IpAddr>().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))];
        let peers = |vrid, from| segment.tap.peers(vrid, from, Instant::now());
        same("who speaks IPv4", &peers(VRID, begun), &expected("10.77.0.1"))?;
        same("who speaks IPv6", &peers(VRID6, begun), &expected("fd77::1"))?;
        let added = Instant::now();
        batch(Some("d1"), "addr add 10.60.0.1/24 dev eth0\naddr add fd60::1/64 dev eth0 nodad\n")?;
        batch(Some("d1"), "addr add 10.77.0.3/24 dev eth0\naddr add fd77::7/64 dev eth0 nodad\n")?;
        pause(CALM);
        same("who speaks IPv4 later", &peers(VRID, added), &expected("10.77.0.1"))?;
        same("who speaks IPv6 later", &peers(VRID6, added), &expected("fd77::1"))
    })();
    ended(&mut nodes, judged)
}

/// Both nodes have the same text: an instance for each of them, and one whose peers are all nodes.
fn one_file(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    let of = |n: u8, priority: u8| {
        format!(
            "vrrp_instance d{n} {{\n    state BACKUP\n    interface eth0\n    virtual_router_id {VRID}\n    version 3\n    \
             priority {priority}\n    advert_int 1\n    unicast_src_ip 10.77.0.{n}\n    unicast_peer {{\n        \
             10.77.0.{}\n    }}\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n",
            3 - n
        )
    };
    let all = format!(
        "vrrp_instance six {{\n    state BACKUP\n    interface eth0\n    virtual_router_id {VRID6}\n    version 3\n    \
         priority 100\n    advert_int 1\n    unicast_peer {{\n        fd77::1\n        fd77::2\n    }}\n    \
         virtual_ipaddress {{\n        fd77::100/64\n    }}\n}}\n"
    );
    let mut nodes = pair(lab, make, |_, _| of(1, 150) + &of(2, 100) + &all)?;
    for node in &mut nodes {
        node.start(lab)?;
    }
    pause(CALM);
    let judged = (|| {
        held_by(segment, "who holds the VIP", &["d1"])?;
        let begun = Instant::now();
        pause(seconds(5));
        let speaks = segment.tap.peers(VRID, begun, Instant::now());
        same("who speaks IPv4", &speaks, &vec![IpAddr::from([10, 77, 0, 1])])?;
        same("how many speak IPv6", &segment.tap.peers(VRID6, begun, Instant::now()).len(), &1)?;
        if make == Make::Lvsd {
            let said = nodes[1].log();
            let line = "instance d1: it is for the node with 10.77.0.1: not run here";
            claim(said.contains(line) && !said.contains("-> Fault"), || said.clone())?;
        }
        Ok(())
    })();
    nodes[0].end(Signal::TERM)?;
    pause(CALM);
    let judged = judged.and_then(|()| held_by(segment, "who holds the VIP after d1", &["d2"]));
    nodes[1].end(Signal::TERM)?;
    judged
}

/// R2: an address that is not there is not spoken from, and when it comes the instance is well.
fn late_source(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    let mut nodes = pair(lab, make, |n, priority| {
        let source = if n == 1 { 9 } else { 2 };
        let more = format!(
            "    advert_int 1\n    unicast_src_ip 10.77.0.{source}\n    unicast_peer {{\n        10.77.0.{}\n    }}",
            if n == 1 { 2 } else { 9 }
        );
        v4(n, priority, &more)
    })?;
    let begun = Instant::now();
    for node in &mut nodes {
        node.start(lab)?;
    }
    pause(CALM);
    let judged = (|| {
        held_by(segment, "who holds the VIP without the address", &["d2"])?;
        let late = IpAddr::from([10, 77, 0, 9]);
        let forged = segment.tap.peers(VRID, begun, Instant::now()).contains(&late);
        claim(!forged, || "it speaks from an address it does not have".to_owned())?;
        if make == Make::Lvsd {
            let said = nodes[0].log();
            claim(said.contains("source address 10.77.0.9 is not on this host (yet)"), || said.clone())?;
        }
        batch(Some("d1"), "addr add 10.77.0.9/24 dev eth0\n")?;
        pause(CALM);
        held_by(segment, "who holds the VIP when the address is there", &["d1"])
    })();
    ended(&mut nodes, judged)
}

/// V8: no membership, so nothing is heard: the VIP stays with the other one.
fn deaf(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    let memberships = |n: &str| lab.host("d1")?.sysctl(&[("net.ipv4.igmp_max_memberships", n)]);
    memberships("0")?;
    let mut nodes = pair(lab, make, |n, priority| v4(n, priority, "    advert_int 1"))?;
    nodes[1].start(lab)?;
    pause(CALM);
    let begun = Instant::now();
    let judged = nodes[0].start(lab).and_then(|()| {
        pause(CALM);
        held_by(segment, "who holds the VIP without a socket", &["d2"])?;
        let deaf = IpAddr::from([10, 77, 0, 1]);
        let claims = segment.tap.peers(VRID, begun, Instant::now()).contains(&deaf);
        claim(!claims, || "it claims the VIP without receiving advertisements".to_owned())?;
        if make == Make::Lvsd {
            let said = nodes[0].log();
            claim(said.contains("raise the sysctls net.ipv4.igmp_max_memberships"), || said.clone())?;
        }
        memberships("20")?;
        pause(CALM);
        held_by(segment, "who holds the VIP with a socket", &["d1"])
    });
    memberships("20")?;
    ended(&mut nodes, judged)
}

/// An advertisement of priority 254 to d1.
fn forged(source: Ipv4Addr, ttl: u8) -> Vec<u8> {
    let mut forged = Forged::new(source, message_v3(VRID, 254, 100, &[VIP]));
    forged.to_mac = [2, 0, 0, 0, 0, 1];
    forged.destination = Ipv4Addr::new(10, 77, 0, 1);
    forged.hop_limit = ttl;
    forged.sum_v3().frame()
}

/// Sends it every three seconds for half a minute; the VIP stays where it is.
fn attack(lab: &Lab, segment: &Segment, frame: &[u8]) -> Verdict {
    held_by(segment, "who holds the VIP before", &["d1"])?;
    let wire = lab.host(SWITCH)?.enter(|| PacketSocket::open(WIRE))?;
    let begun = Instant::now();
    for _ in 0..10 {
        wire.send(frame).map_err(|e| e.to_string())?;
        pause(seconds(3));
    }
    let changes = segment.holders.changes(IpAddr::V4(VIP), begun, Instant::now());
    claim(changes.is_empty(), || format!("the VIP moved {} times", changes.len()))
}

/// V9: one packet each three seconds.
fn stranger(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    let mut nodes =
        pair(lab, make, |n, priority| v4(n, priority, &format!("    check_unicast_src\n{}", peer(n))))?;
    for node in &mut nodes {
        node.start(lab)?;
    }
    pause(CALM);
    let judged = attack(lab, segment, &forged(Ipv4Addr::new(10, 77, 0, 50), 255));
    ended(&mut nodes, judged)
}

/// V9 in YAML, whose default it is, and the peer's own address from beyond a router.
fn ttl(lab: &mut Lab, segment: &Segment) -> Verdict {
    let mut daemons = Vec::new();
    for (n, priority) in [(1, 150), (2, 100)] {
        let text = format!(
            "vrrp:\n  version: 3\n  instances:\n    - name: four\n      interface: eth0\n      virtual_router_id: {VRID}\n      \
             priority: {priority}\n      advert_interval: 1s\n      unicast_peers: [10.77.0.{}]\n      addresses: [{VIP}/24]\n",
            3 - n
        );
        let file = lab.write(&format!("ttl{n}.yaml"), &text)?;
        let host = lab.host(&format!("d{n}"))?;
        daemons.push(Daemon::start_lvsd(lab, &host, &file, &run_dir(&host), &[])?);
    }
    pause(CALM);
    let judged = attack(lab, segment, &forged(Ipv4Addr::new(10, 77, 0, 50), 255))
        .and_then(|()| attack(lab, segment, &forged(Ipv4Addr::new(10, 77, 0, 2), 254)));
    let said = daemons.first().map(Daemon::log_text).unwrap_or_default();
    let judged = judged.and_then(|()| claim(said.contains("its TTL is 254"), || said));
    for daemon in daemons {
        daemon.end(Signal::TERM)?;
    }
    judged
}

/// V6: the Backup takes over before it knows better, and then never again.
fn slow(lab: &mut Lab, segment: &Segment, make: Make) -> Verdict {
    let mut nodes = pair(lab, make, |n, priority| {
        v4(n, priority, if n == 1 { "    advert_int 5" } else { "    advert_int 1" })
    })?;
    for node in &mut nodes {
        node.start(lab)?;
    }
    let judged = wait_for("d1 holds the VIP", seconds(60), || held_by(segment, "who holds it", &["d1"]));
    pause(CALM);
    let begun = Instant::now();
    pause(seconds(60));
    let changes = segment.holders.changes(IpAddr::V4(VIP), begun, Instant::now());
    let judged = judged.and_then(|()| {
        held_by(segment, "who holds the VIP", &["d1"])?;
        claim(changes.is_empty(), || format!("the VIP moved {} times in a minute", changes.len()))
    });
    ended(&mut nodes, judged)
}
