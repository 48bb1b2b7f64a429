//! A director's addresses: as they should be, and again so after others have had their hands on them; what a reload
//! changes, and nothing else; and a host that is left as it was found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::vrrp_vmac::hears;
use crate::lab::host::Host;
use crate::lab::topology::batch;
use crate::lab::vrrp::frame::{Advert, Message};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, VIP6, address};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, judge, same};

const CONF: &str = include_str!("director.conf");
const VMAC: &str = include_str!("vmac.conf");
const VRID: u8 = 51;
const INTERVAL: Duration = seconds(1);
/// The skew of priority 100.
const SKEW: Duration = Duration::from_micros(609_375);
/// How soon a VIP that was taken away is back.
const BACK: Duration = Duration::from_millis(100);
const EXACT: Duration = Duration::from_millis(2);
/// The VIP that a reload brings.
const ANOTHER: &str = "10.77.0.101";
/// Settings of the host that a VMAC needs otherwise.
const SETTINGS: [&str; 4] =
    ["net.ipv4.conf.all.rp_filter", "net.ipv4.conf.eth0.rp_filter", ARP_IGNORE, ARP_FILTER];
const ARP_IGNORE: &str = "net.ipv4.conf.eth0.arp_ignore";
const ARP_FILTER: &str = "net.ipv4.conf.eth0.arp_filter";

/// A part of the scenario, run with lvsd or keepalived.
type Part = fn(&Lab, &Segment, Make) -> Verdict;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(1)?;
    for make in [Make::Keepalived, Make::Lvsd] {
        let parts: [(&str, Part); 4] = [
            ("left behind", left_behind),
            ("by hand", by_hand),
            ("reload", reload),
            ("virtual MAC", virtual_mac),
        ];
        for (name, part) in parts {
            lab.step(format!("{}: {name}", make.name()));
            part(lab, &segment, make).map_err(|e| format!("{}: {name}: {e}", make.name()))?;
        }
    }
    Ok(())
}

/// The VIPs are there before the daemon, one with another prefix: each is there once when it is Master, those of IPv6
/// so that they never become the source of the director's own packets; and none once it has stopped.
fn left_behind(lab: &Lab, segment: &Segment, make: Make) -> Verdict {
    let mut node = Node::new(lab, "d1", make, CONF)?;
    batch(Some("d1"), &format!("addr add {VIP}/32 dev eth0\naddr add {VIP6}/128 dev eth0 nodad\n"))?;
    let begun = Instant::now();
    node.start(lab)?;
    speaks(segment, begun)?;
    pause(BACK);
    let held = held(&node.host, "eth0")?;
    let of = |address: IpAddr| held.iter().filter(|h| h.local == address).cloned().collect::<Vec<_>>();
    // An address with another prefix is the host's. keepalived holds the address twice.
    let prefixes: Vec<u8> = of(VIP.into()).iter().map(|h| h.prefixlen).collect();
    let want = if make == Make::Keepalived { vec![32, 24] } else { vec![32] };
    same("prefixes of the VIP", &prefixes, &want)?;
    for address in [IpAddr::from(VIP6), "fe80::56".parse().map_err(|e| format!("{e}"))?] {
        let flags: Vec<(bool, bool)> = of(address).iter().map(|h| (h.deprecated, h.nodad)).collect();
        same(&format!("{address} deprecated, nodad"), &flags, &vec![(true, true)])?;
    }
    node.end(Signal::TERM)?;
    batch(Some("d1"), &format!("addr del {VIP}/32 dev eth0\n"))?;
    no_vips(&node.host)
}

/// A program deletes a VIP: it is back, and the network has seen only its announcement.
fn by_hand(lab: &Lab, segment: &Segment, make: Make) -> Verdict {
    let mut node = Node::new(lab, "d1", make, CONF)?;
    let begun = Instant::now();
    node.start(lab)?;
    speaks(segment, begun)?;
    pause(INTERVAL * 7);
    for (vip, prefix) in [(IpAddr::from(VIP), 24), (VIP6.into(), 128)] {
        let deleted = Instant::now();
        batch(Some("d1"), &format!("addr del {vip}/{prefix} dev eth0\n"))?;
        let gone = segment.holders.wait("d1", vip, false, deleted, BACK)?;
        let back = segment.holders.wait("d1", vip, true, gone, seconds(5))?;
        let took = back.saturating_duration_since(gone);
        if make == Make::Keepalived {
            // It steps back, sends priority 0, and is Master again after its skew.
            let off = took.max(SKEW) - took.min(SKEW);
            claim(off <= EXACT, || format!("{vip} is back after {took:?}, want {SKEW:?}"))?;
        } else {
            claim(took <= BACK, || format!("{vip} is back after {took:?}"))?;
            announced(segment, vip, gone)?;
            pause(INTERVAL * 2);
            uninterrupted(segment, deleted)?;
        }
        pause(INTERVAL * 3);
    }
    node.end(Signal::TERM)?;
    no_vips(&node.host)
}

/// The same file changes nothing; one VIP more, or less, changes that one; an error changes nothing.
fn reload(lab: &Lab, segment: &Segment, make: Make) -> Verdict {
    let mut node = Node::new(lab, "d1", make, CONF)?;
    let begun = Instant::now();
    node.start(lab)?;
    speaks(segment, begun)?;
    pause(INTERVAL * 7);
    let vip = IpAddr::from(VIP);
    let another: IpAddr = ANOTHER.parse().map_err(|e| format!("{ANOTHER}: {e}"))?;
    let more = CONF.replace("# here", &format!("{ANOTHER}/24"));

    let quiet = Instant::now();
    node.signal(Signal::HUP)?;
    pause(INTERVAL * 4);
    uninterrupted(segment, quiet)?;
    same("who holds the VIP", &segment.holders.at(vip, Instant::now()), &vec!["d1".to_owned()])?;

    let added = Instant::now();
    node.rewrite(&more)?;
    node.signal(Signal::HUP)?;
    segment.holders.wait("d1", another, true, added, seconds(5))?;
    announced(segment, another, added)?;
    pause(INTERVAL * 3);
    uninterrupted(segment, added)?;

    let removed = Instant::now();
    node.rewrite(CONF)?;
    node.signal(Signal::HUP)?;
    segment.holders.wait("d1", another, false, removed, seconds(5))?;
    pause(INTERVAL * 3);
    uninterrupted(segment, removed)?;

    if make == Make::Lvsd {
        // keepalived dies of it, and leaves the VIP behind.
        let broken = Instant::now();
        node.rewrite(&CONF.replace("priority 100", "priority 1000"))?;
        node.signal(Signal::HUP)?;
        pause(INTERVAL * 4);
        uninterrupted(segment, broken)?;
        same("who holds the VIP", &segment.holders.at(vip, Instant::now()), &vec!["d1".to_owned()])?;
    }
    node.end(Signal::TERM)?;
    no_vips(&node.host)
}

/// A macvlan with the virtual router's MAC answers for the VIP, and only with that; when it stops, it is gone and the
/// host's settings are what they were.
fn virtual_mac(lab: &Lab, segment: &Segment, make: Make) -> Verdict {
    let mut node = Node::new(lab, "d1", make, VMAC)?;
    let before = settings(&node.host)?;
    let begun = Instant::now();
    node.start(lab)?;
    let is_it = |a: &Advert| a.vrid == 61 && a.priority > 0;
    segment.tap.wait_advert("VRID 61", begun, seconds(8), is_it)?;
    hears(segment, "00:00:5e:00:01:3d")?;
    node.end(Signal::TERM)?;
    let links = judge::output(&node.host, &["ip", "-br", "link"])?;
    claim(!links.contains("vrrp"), || format!("its macvlan is gone:\n{links}"))?;
    let after = settings(&node.host)?;
    if make == Make::Keepalived {
        // It leaves the base interface's arp_ignore and arp_filter as it needed them.
        let left: Vec<&str> = SETTINGS.into_iter().filter(|s| before.get(s) != after.get(s)).collect();
        same("settings it leaves", &left, &vec![ARP_IGNORE, ARP_FILTER])?;
        return node.host.sysctl(&[(ARP_IGNORE, "0"), (ARP_FILTER, "0")]);
    }
    same("the host's settings", &after, &before)
}

/// Waits until both virtual routers have spoken.
fn speaks(segment: &Segment, from: Instant) -> Verdict {
    for vrid in [VRID, 56] {
        let is_it = |a: &Advert| a.vrid == vrid && a.priority > 0;
        segment.tap.wait_advert(&format!("VRID {vrid}"), from, seconds(8), is_it)?;
    }
    Ok(())
}

/// Since a moment, the virtual router of IPv4 has spoken at least once each interval, and never of leaving.
fn uninterrupted(segment: &Segment, from: Instant) -> Verdict {
    let now = Instant::now();
    let source = address("d1")?;
    let adverts = segment.tap.adverts(VRID, from.checked_sub(INTERVAL).unwrap_or(from), now);
    claim(adverts.iter().all(|(_, a)| a.source == source && a.priority == 100), || format!("{adverts:?}"))?;
    let times = adverts.iter().map(|(at, _)| *at);
    let next = times.clone().skip(1).chain([now]);
    let gap = times.zip(next).map(|(one, next)| next.saturating_duration_since(one)).max();
    claim(gap.is_some_and(|g| g <= INTERVAL + EXACT), || format!("it was silent for {gap:?}"))
}

/// A VIP is announced within 100 ms of a moment.
fn announced(segment: &Segment, vip: IpAddr, from: Instant) -> Verdict {
    segment.tap.wait(&format!("{vip} announced"), from, BACK, |p| match p.message {
        Message::GratuitousArp { address, .. } if vip == address => Some(()),
        Message::NeighbourAdvertisement { address, .. } if vip == address => Some(()),
        _ => None,
    })
}

/// No VIP is left on a host.
fn no_vips(host: &Host) -> Verdict {
    let vips: [IpAddr; 2] = [VIP.into(), VIP6.into()];
    let left: Vec<Held> = held(host, "eth0")?.into_iter().filter(|h| vips.contains(&h.local)).collect();
    same("VIPs it leaves", &left, &Vec::new())
}

/// An address as `ip -j addr` sees it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
struct Held {
    local: IpAddr,
    prefixlen: u8,
    #[serde(default)]
    deprecated: bool,
    #[serde(default)]
    nodad: bool,
}

#[derive(serde::Deserialize)]
struct Link {
    #[serde(default)]
    addr_info: Vec<Held>,
}

/// The addresses of an interface.
fn held(host: &Host, interface: &str) -> Result<Vec<Held>, String> {
    let json = judge::run(&["ip", "-n", host.name(), "-j", "addr", "show", "dev", interface])?;
    let links: Vec<Link> = serde_json::from_str(&json).map_err(|e| format!("ip -j addr: {e}"))?;
    Ok(links.into_iter().flat_map(|l| l.addr_info).collect())
}

/// What a VMAC changes of the host's settings.
fn settings(host: &Host) -> Result<BTreeMap<&'static str, String>, String> {
    host.enter(|| {
        let read = |name: &'static str| {
            let path = format!("/proc/sys/{}", name.replace('.', "/"));
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            Ok((name, text.trim().to_owned()))
        };
        SETTINGS.into_iter().map(read).collect()
    })
}
