//! Who in the network says that it has an address: asked by ARP from this host's own address, and everybody's answer is
//! collected. It refuses to know who should have it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::frames::Frames;
use super::question::{ARP, arp_request};
use super::types::{Host, LinkIndex, MacAddress};
use crate::time;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers beyond this many are not looked at: somebody floods.
const LIMIT: usize = 4096;

/// Addresses that are asked for on one link, at most.
const QUESTIONS: usize = 1024;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// By which link.
    pub link: LinkIndex,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// An address of it that is no VIP.
    pub ip: Ipv4Addr,
}

/// Who claims which of these addresses, this host aside; takes a second.
///
/// # Errors
/// In the operator's words.
pub fn ask(
    asker: &Asker,
    addresses: &BTreeSet<Ipv4Addr>,
) -> Result<BTreeSet<(Ipv4Addr, MacAddress)>, String> {
    let not_asked = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => "CAP_NET_RAW is needed: run as root".to_owned(),
        _ => format!("frames cannot be sent: {error}"),
    };
    let frames = Frames::arriving(asker.link, ARP).map_err(not_asked)?;
    for ip in addresses {
        frames.send(&arp_request(asker.mac, asker.ip, *ip)).map_err(not_asked)?;
    }
    let end = time::now() + PATIENCE;
    let mut found = BTreeSet::new();
    for _ in 0..LIMIT {
        let left = end.since(time::now());
        if left.is_zero() {
            break;
        }
        let frame = frames.receive(left).map_err(not_asked)?;
        found.extend(frame.and_then(|frame| claim(&frame)).filter(|(ip, _)| addresses.contains(ip)));
    }
    Ok(found)
}

/// Who else in the network has one of these VIPs, and where these hosts are: each is asked for on the links whose network
/// it is of. What could not be asked is said in `unseen`.
pub fn ask_around(
    host: &Host,
    vips: &BTreeSet<Ipv4Addr>,
    hosts: &BTreeSet<Ipv4Addr>,
    unseen: &mut Vec<String>,
) -> BTreeSet<(Ipv4Addr, MacAddress)> {
    let is_own = |ip: &Ipv4Addr| host.addresses.iter().any(|held| held.prefix.ip == IpAddr::V4(*ip));
    let others: BTreeSet<Ipv4Addr> = hosts.iter().copied().filter(|ip| !is_own(ip)).collect();
    let mut questions: BTreeMap<LinkIndex, BTreeSet<Ipv4Addr>> = BTreeMap::new();
    for (all, is_vip) in [(vips, true), (&others, false)] {
        for ip in all {
            let on = links_of(host, *ip, vips);
            if on.is_empty() && is_vip {
                unseen.push(format!("who else has VIP {ip}: no link of this host is in its network"));
            }
            for link in on {
                let asked = questions.entry(link).or_default();
                if asked.len() < QUESTIONS {
                    asked.insert(*ip);
                } else if is_vip {
                    unseen
                        .push(format!("who else has VIP {ip}: more than {QUESTIONS} addresses on one link"));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    for (link, addresses) in questions {
        match asker(host, link, vips).map(|asker| ask(&asker, &addresses)) {
            Some(Ok(claims)) => found.extend(claims),
            Some(Err(error)) => unseen.push(format!("who else has the VIPs: {error}")),
            None => {}
        }
    }
    let macs: BTreeSet<MacAddress> = host.links.values().filter_map(|link| link.mac).collect();
    found.retain(|(_, mac)| !macs.contains(mac));
    found
}

/// The links neighbours of an address are on: those that have it, or its network.
fn links_of(host: &Host, ip: Ipv4Addr, vips: &BTreeSet<Ipv4Addr>) -> BTreeSet<LinkIndex> {
    let networks =
        host.addresses.iter().filter(|held| held.prefix.length > 0 && held.prefix.contains(ip.into()));
    networks.map(|held| held.link).filter(|link| asker(host, *link, vips).is_some()).collect()
}

/// How to ask on a link: from an address of it that is no VIP.
fn asker(host: &Host, link: LinkIndex, vips: &BTreeSet<Ipv4Addr>) -> Option<Asker> {
    let shown =
        host.links.get(&link).filter(|link| link.is_working() && !link.is_loopback && !link.is_silent)?;
    let own = host.addresses.iter().filter(|held| held.link == link && held.prefix.length < 32);
    let ip = own.filter_map(|held| v4(held.prefix.ip)).find(|ip| !vips.contains(ip))?;
    Some(Asker { link, mac: shown.mac?, ip })
}

/// An address, if it is one of IPv4.
pub fn v4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

/// What an ARP reply says: this address is at that link-layer address.
fn claim(frame: &[u8]) -> Option<(Ipv4Addr, MacAddress)> {
    // Ethernet, IPv4, their lengths, reply.
    if frame.get(14..22)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    let mac: [u8; 6] = *frame.get(22..)?.first_chunk()?;
    let ip: [u8; 4] = *frame.get(28..)?.first_chunk()?;
    Some((ip.into(), MacAddress(mac)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_names_address_and_mac_and_a_question_claims_nothing() {
        let ip = Ipv4Addr::new(10, 1, 0, 100);
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        let mut frame = arp_request(mac, ip, Ipv4Addr::new(10, 1, 0, 11));
        assert_eq!(claim(&frame), None);
        frame[21] = 2;
        assert_eq!(claim(&frame), Some((ip, mac)));
        assert_eq!(claim(&frame[..30]), None, "cut short");
    }
}
