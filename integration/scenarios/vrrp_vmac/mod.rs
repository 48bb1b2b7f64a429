//! A switch learns from every frame where a MAC address is. That of a virtual router is where its Master is: nothing
//! that a Backup sends comes from it, and reports of multicast groups never do, on neither; the interface below makes
//! them, unasked and asked, also of the groups where neighbours look for the VIPs of IPv6.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::client::get;
use crate::lab::topology::batch;
use crate::lab::vrrp::frame::{Advert, Message, checksum};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::{Segment, VIP, address, link_local};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const CONF: &str = include_str!("director.conf");
const SECOND: Duration = seconds(1);
/// Reports have left some moments after what they are about.
const REPORTED: Duration = seconds(3);
/// What a virtual router's MAC address begins with.
const VIRTUAL: &[u8] = &[0, 0, 0x5e, 0];
/// What both directors are members of: VRRP's groups, and those of fe80::62 and fd77::62.
const GROUPS: [&str; 3] = ["224.0.0.18", "ff02::12", "ff02::1:ff00:62"];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    let node =
        |name: &str, priority: u8| Node::new(lab, name, Make::Lvsd, &format!("$PRIORITY={priority}\n{CONF}"));
    let (mut first, mut second) = (node("d1", 100)?, node("d2", 150)?);

    // What a link reports in its first moments need not reach the switch's other ports.
    pause(REPORTED);
    lab.step("d1 is Master, alone");
    let begun = Instant::now();
    first.start(lab)?;
    speaks(&segment, "d1", begun)?;
    pause(REPORTED);
    reports_below(&segment, "d1", begun)?;
    lab.step("d2 takes over: d1 is Backup, and leaves the groups of addresses it has not any more");
    let taken = Instant::now();
    second.start(lab)?;
    speaks(&segment, "d2", taken)?;
    pause(REPORTED);
    reports_below(&segment, "d2", taken)?;
    lab.step("a querier asks for members");
    let asked = Instant::now();
    lab.host("c")?.enter(|| {
        let socket = PacketSocket::open("eth0")?;
        socket.send(&general_query()).map_err(|e| format!("a query: {e}"))
    })?;
    pause(REPORTED);
    let group = [IpAddr::from([224, 0, 0, 18])];
    for director in ["d1", "d2"] {
        has_reported(&segment, director, asked, &group)?;
    }
    lab.step(
        "a host asks for the directors' own addresses: their interfaces answer, no virtual MAC address does",
    );
    for director in ["d1", "d2"] {
        answers_itself(&segment, director)?;
    }
    lab.step("d2 stops, d1 is Master again");
    let stopped = Instant::now();
    second.end(Signal::TERM)?;
    speaks(&segment, "d1", stopped)?;
    pause(REPORTED);
    first.end(Signal::TERM)?;
    pause(REPORTED);

    let seen = virtual_frames(&segment, begun);
    lab.note(format!("frames from virtual MAC addresses: {seen:?}"));
    claim(seen.contains_key("advertisement"), || "no virtual MAC address was seen".to_owned())?;
    claim(!seen.contains_key("report"), || format!("reports from a virtual MAC address: {seen:?}"))
}

/// The same two directors, whose interface is part of a VRF: so are their VMACs, and a client hears the virtual MAC
/// address of the Master.
pub(super) fn run_vrf(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    judge::modprobe(&["vrf"])?;
    for name in ["d1", "d2"] {
        let vrf = "link add blue type vrf table 10\nlink set blue up\nlink set eth0 master blue\n";
        batch(Some(name), vrf)?;
    }
    let mut nodes = Vec::new();
    for (name, priority) in [("d1", 150), ("d2", 100)] {
        let mut node = Node::new(lab, name, Make::Lvsd, &format!("$PRIORITY={priority}\n{CONF}"))?;
        node.start(lab)?;
        nodes.push(node);
    }
    let mut begun = Instant::now();
    for (name, node) in ["d1", "d2"].into_iter().zip(&mut nodes) {
        lab.step(format!("{name} is Master"));
        speaks(&segment, name, begun)?;
        for vmac in ["vrrp.61", "vrrp6.62"] {
            let shown = judge::run(&["ip", "-n", name, "link", "show", "dev", vmac])?;
            claim(shown.contains("master blue"), || shown.clone())?;
        }
        hears(&segment, "00:00:5e:00:01:3d")?;
        lab.step(format!("{name}'s interface leaves the VRF, and is part of it again"));
        for (change, is_part) in [("nomaster", false), ("master blue", true)] {
            batch(Some(name), &format!("link set eth0 {change}\n"))?;
            for vmac in ["vrrp.61", "vrrp6.62"] {
                wait_for(&format!("{vmac} follows it"), seconds(5), || {
                    let shown = judge::run(&["ip", "-n", name, "link", "show", "dev", vmac])?;
                    if shown.contains("master blue") == is_part { Ok(()) } else { Err(shown) }
                })?;
            }
            hears(&segment, "00:00:5e:00:01:3d")?;
        }
        begun = Instant::now();
        node.kill_all()?;
        // What the dead left would answer, too.
        batch(Some(name), "link del vrrp.61\nlink del vrrp6.62\n")?;
    }
    Ok(())
}

/// The client asks for the VIP, and hears this MAC address.
///
/// # Errors
/// When it hears another, or none.
pub(super) fn hears(segment: &Segment, mac: &str) -> Verdict {
    wait_for(&format!("the client hears {mac}"), seconds(8), || {
        // Anew each time: a director that looks for the client by its base link names the VIP as sender there.
        batch(Some("c"), &format!("neigh flush to {VIP}\n"))?;
        // Nothing listens there; to be refused, it must have asked for the MAC address.
        let _ = get(&segment.client, &format!("http://{VIP}/"));
        let seen = judge::output(&segment.client, &["ip", "neigh", "show", "to", &VIP.to_string()])?;
        if seen.contains(mac) { Ok(()) } else { Err(seen) }
    })
}

/// The client looks for a director's link-local address, and hears its own MAC address only: what a VMAC answers
/// teaches neighbours and switches a wrong place.
fn answers_itself(segment: &Segment, director: &str) -> Verdict {
    let IpAddr::V6(local) = link_local(director)? else { return Err("no IPv6".to_owned()) };
    let number = director.trim_start_matches('d').parse().map_err(|e| format!("{director}: {e}"))?;
    let own = [2, 0, 0, 0, 0, number];
    let asked = Instant::now();
    segment.client.enter(|| {
        let socket = UdpSocket::bind("[::]:0").map_err(|e| format!("a socket: {e}"))?;
        let interface = rustix::net::netdevice::name_to_index(&socket, "eth0").map_err(|e| e.to_string())?;
        let to = SocketAddrV6::new(local, 9, 0, interface);
        socket.send_to(b"who has you?", to).map(drop).map_err(|e| format!("to {to}: {e}"))
    })?;
    let first = segment.tap.wait(&format!("{local} is found"), asked, seconds(3), |p| match p.message {
        Message::NeighbourAnswer { address, .. } if address == local => Some(p.at),
        _ => None,
    })?;
    // Another answer follows at once.
    pause(SECOND);
    let mut heard = BTreeSet::new();
    for passed in segment.tap.between(first, Instant::now()) {
        if let Message::NeighbourAnswer { address, mac } = passed.message
            && address == local
        {
            heard.insert(mac);
        }
    }
    same(&format!("who answers for {director}"), &heard, &[own].into())
}

/// Waits until a director speaks for both virtual routers.
fn speaks(segment: &Segment, director: &str, from: Instant) -> Verdict {
    let source = address(director)?;
    for vrid in [61, 62] {
        let is_it = |a: &Advert| a.vrid == vrid && a.priority > 0 && (vrid == 62 || a.source == source);
        segment.tap.wait_advert(&format!("{director} for VRID {vrid}"), from, seconds(8), is_it)?;
    }
    // Addresses follow.
    pause(SECOND);
    Ok(())
}

/// A director has reported every group from its own MAC address.
fn reports_below(segment: &Segment, director: &str, from: Instant) -> Verdict {
    let groups = GROUPS.map(|group| group.parse().map_err(|e| format!("{group}: {e}")));
    let groups: Vec<IpAddr> = groups.into_iter().collect::<Result<_, String>>()?;
    has_reported(segment, director, from, &groups)
}

fn has_reported(segment: &Segment, director: &str, from: Instant, groups: &[IpAddr]) -> Verdict {
    let number = director.trim_start_matches('d').parse().map_err(|e| format!("{director}: {e}"))?;
    let own = [2, 0, 0, 0, 0, number];
    let mut reported = BTreeSet::new();
    for passed in segment.tap.between(from, Instant::now()) {
        if let Message::Membership(records) = passed.message
            && passed.frame.get(6..12) == Some(&own)
        {
            reported.extend(records.into_iter().map(|(_, group)| group));
        }
    }
    let missing: Vec<_> = groups.iter().filter(|group| !reported.contains(group)).collect();
    claim(missing.is_empty(), || format!("{director} has not reported {missing:?}, but {reported:?}"))
}

/// What came from virtual MAC addresses, by kind.
fn virtual_frames(segment: &Segment, from: Instant) -> BTreeMap<&'static str, usize> {
    let mut seen = BTreeMap::new();
    for passed in segment.tap.between(from, Instant::now()) {
        if passed.frame.get(6..10) == Some(VIRTUAL) {
            let kind = match passed.message {
                Message::Advert(_) => "advertisement",
                Message::GratuitousArp { .. } | Message::NeighbourAdvertisement { .. } => "announcement",
                Message::NeighbourAnswer { .. } => "answer",
                Message::Membership(_) => "report",
            };
            *seen.entry(kind).or_default() += 1;
        }
    }
    seen
}

/// IGMPv3's question of a router for all members, to be answered within a second (RFC 3376 section 4.1).
fn general_query() -> Vec<u8> {
    let ethernet = [&[0x01, 0, 0x5e, 0, 0, 1][..], &[2, 0, 0, 0, 0, 50], &[0x08, 0x00]].concat();
    let mut ip = vec![0x46, 0xc0, 0, 36, 0, 1, 0, 0, 1, 2, 0, 0];
    ip.extend(Ipv4Addr::new(10, 77, 0, 50).octets());
    ip.extend(Ipv4Addr::new(224, 0, 0, 1).octets());
    // Router alert.
    ip.extend([0x94, 4, 0, 0]);
    let mut query = vec![0x11, 10, 0, 0, 0, 0, 0, 0, 2, 125, 0, 0];
    for (part, place) in [(&mut ip, 10), (&mut query, 2)] {
        let sum = checksum(&[part.as_slice()]).to_be_bytes();
        part.splice(place..place + 2, sum);
    }
    [ethernet, ip, query].concat()
}
