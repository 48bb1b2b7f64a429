//! Asks the network which hosts have an address, by ARP or neighbour solicitation from this host's own address, and
//! collects all answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::packet_socket::PacketSocket;
use super::question::{ADVERTISEMENT, ARP, ICMPV6, IPV6, arp_request, solicitation};
use super::types::{HeldAddress, Host, LinkIndex, MacAddress};
use crate::time::Clock;

/// How long answers are waited for, each time; a host that does not answer is asked once more, as frames may be lost.
const PATIENCE: Duration = Duration::from_millis(500);
const TIMES: usize = 2;
/// Answers beyond this many are ignored: a host floods the network.
const LIMIT: usize = 4096;

/// Addresses that are asked for on one link, at most.
const QUESTIONS: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    /// By which link.
    pub link: LinkIndex,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// An address of it that is no VIP; only addresses of its family can be asked for.
    pub ip: IpAddr,
}

/// Which other hosts claim which of these addresses; takes a second.
///
/// # Errors
/// In the operator's words.
pub(crate) fn ask(
    asker: &Asker,
    addresses: &BTreeSet<IpAddr>,
    clock: Clock,
) -> Result<BTreeSet<(IpAddr, MacAddress)>, String> {
    let not_asked = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => "CAP_NET_RAW is needed: run as root".to_owned(),
        _ => format!("frames cannot be sent: {error}"),
    };
    let frames = match asker.ip {
        IpAddr::V4(_) => PacketSocket::arriving(asker.link, ARP),
        // Of all that arrives by IPv6 only what answers.
        IpAddr::V6(_) => PacketSocket::arriving_with(asker.link, IPV6, [(20, ICMPV6), (54, ADVERTISEMENT)]),
    };
    let frames = frames.map_err(not_asked)?;
    let mut found: BTreeSet<(IpAddr, MacAddress)> = BTreeSet::new();
    for _ in 0..TIMES {
        for ip in addresses.iter().filter(|ip| !found.iter().any(|(claimed, _)| claimed == *ip)) {
            let question = match (asker.ip, *ip) {
                (IpAddr::V4(own), IpAddr::V4(ip)) => arp_request(asker.mac, own, ip),
                (IpAddr::V6(own), IpAddr::V6(ip)) => solicitation(asker.mac, Some(own), ip),
                _ => continue,
            };
            frames.send(&question).map_err(not_asked)?;
        }
        let end = clock() + PATIENCE;
        for _ in 0..LIMIT {
            let left = end.since(clock());
            if left.is_zero() {
                break;
            }
            let frame = frames.receive(left).map_err(not_asked)?;
            let claimed = frame.and_then(|frame| match asker.ip {
                IpAddr::V4(_) => claim(&frame),
                IpAddr::V6(_) => claim_v6(&frame),
            });
            found.extend(claimed.filter(|(ip, _)| addresses.contains(ip)));
        }
    }
    Ok(found)
}

/// Which other hosts of the network have one of these VIPs, and which VIPs could be asked for; other hosts are asked for, too, for
/// their link-layer addresses. What could not be asked is said in `unseen`.
pub(crate) fn ask_around(
    host: &Host,
    vips: &BTreeSet<IpAddr>,
    hosts: &BTreeSet<IpAddr>,
    unseen: &mut Vec<String>,
    clock: Clock,
) -> (BTreeSet<(IpAddr, MacAddress)>, BTreeSet<IpAddr>) {
    let is_own = |ip: &IpAddr| host.addresses.iter().any(|held| held.prefix.ip == *ip);
    let others: BTreeSet<IpAddr> = hosts.iter().copied().filter(|ip| !is_own(ip)).collect();
    let mut questions: BTreeMap<(LinkIndex, bool), BTreeSet<IpAddr>> = BTreeMap::new();
    for (all, is_vip) in [(vips, true), (&others, false)] {
        for ip in all {
            let on = links_of(host, *ip, vips);
            if on.is_empty() && is_vip {
                unseen.push(format!("who else has VIP {ip}: no link of this host is in its network"));
            }
            for link in on {
                let asked = questions.entry((link, ip.is_ipv4())).or_default();
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
    let mut asked = BTreeSet::new();
    for ((link, is_ipv4), addresses) in questions {
        match asker(host, link, is_ipv4, vips).map(|asker| ask(&asker, &addresses, clock)) {
            Some(Ok(claims)) => {
                found.extend(claims);
                asked.extend(addresses);
            }
            Some(Err(error)) => unseen.push(format!("which other hosts have the VIPs: {error}")),
            None => {}
        }
    }
    let macs: BTreeSet<MacAddress> = host.links.values().filter_map(|link| link.mac).collect();
    found.retain(|(_, mac)| !macs.contains(mac));
    (found, asked)
}

/// The links neighbours of an address are on: those that have its network.
fn links_of(host: &Host, ip: IpAddr, vips: &BTreeSet<IpAddr>) -> BTreeSet<LinkIndex> {
    let networks = host.addresses.iter().filter(|held| held.prefix.length > 0 && held.prefix.contains(ip));
    let links = networks.map(|held| held.link);
    links.filter(|link| asker(host, *link, ip.is_ipv4(), vips).is_some()).collect()
}

/// How to ask on a link: from an address of it that is no VIP.
fn asker(host: &Host, link: LinkIndex, is_ipv4: bool, vips: &BTreeSet<IpAddr>) -> Option<Asker> {
    let shown =
        host.links.get(&link).filter(|link| link.is_working() && !link.is_loopback && !link.is_silent)?;
    let whole = if is_ipv4 { 32 } else { 128 };
    let is_fit = |held: &&HeldAddress| {
        let ip = held.prefix.ip;
        let is_shared = held.prefix.length < whole && !held.is_unusable;
        held.link == link && ip.is_ipv4() == is_ipv4 && is_shared && !vips.contains(&ip)
    };
    // The one the kernel itself would ask from.
    let listed = host.addresses.listed(link);
    let own = listed.iter().find(is_fit).map(|held| held.prefix.ip);
    Some(Asker { link, mac: shown.mac?, ip: own? })
}

/// What an ARP reply says: this address is at that link-layer address.
fn claim(frame: &[u8]) -> Option<(IpAddr, MacAddress)> {
    // Ethernet, IPv4, their lengths, reply.
    if frame.get(14..22)? != [0, 1, 8, 0, 6, 4, 0, 2] {
        return None;
    }
    let mac: [u8; 6] = *frame.get(22..)?.first_chunk()?;
    let ip: [u8; 4] = *frame.get(28..)?.first_chunk()?;
    Some((Ipv4Addr::from(ip).into(), MacAddress(mac)))
}

/// The same of a neighbour advertisement (RFC 4861 section 4.4); one that names no link-layer address means its
/// sender's.
fn claim_v6(frame: &[u8]) -> Option<(IpAddr, MacAddress)> {
    const HOP_LIMIT: u8 = 255;
    let is_neighbour = frame.get(12..14)? == IPV6.to_be_bytes()
        && frame.get(20..22)? == [ICMPV6, HOP_LIMIT]
        && *frame.get(54)? == ADVERTISEMENT;
    if !is_neighbour {
        return None;
    }
    let ip: [u8; 16] = *frame.get(62..)?.first_chunk()?;
    let sender: [u8; 6] = *frame.get(6..)?.first_chunk()?;
    // Linux tells it first, and as the only one.
    let named = frame.get(78..).filter(|option| option.starts_with(&[2, 1]));
    let mac = named.and_then(|option| option.get(2..)?.first_chunk().copied()).unwrap_or(sender);
    Some((Ipv6Addr::from(ip).into(), MacAddress(mac)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::announce;
    use crate::net::types::{Link, Prefix};

    #[test]
    fn a_reply_names_address_and_mac_and_a_question_claims_nothing() {
        let ip = Ipv4Addr::new(10, 1, 0, 100);
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        let mut frame = arp_request(mac, ip, Ipv4Addr::new(10, 1, 0, 11));
        assert_eq!(claim(&frame), None);
        frame[21] = 2;
        assert_eq!(claim(&frame), Some((ip.into(), mac)));
        assert_eq!(claim(&frame[..30]), None, "cut short");
    }

    #[test]
    fn a_neighbour_advertisement_has_the_target_mac_or_its_senders() {
        let ip: Ipv6Addr = "fd00:1::100".parse().unwrap();
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        let mut frame = announce::frame(ip.into(), mac, false);
        assert_eq!(claim_v6(&frame), Some((ip.into(), mac)));
        assert_eq!(claim_v6(&frame[..78]), Some((ip.into(), mac)), "it tells none");
        assert_eq!(claim_v6(&frame[..70]), None, "cut short");
        frame[80..86].copy_from_slice(&[2, 0, 0, 0, 0, 0x21]);
        assert_eq!(claim_v6(&frame), Some((ip.into(), MacAddress([2, 0, 0, 0, 0, 0x21]))));
        frame[21] = 64;
        assert_eq!(claim_v6(&frame), None, "from beyond a router");
        assert_eq!(claim_v6(&solicitation(mac, Some(ip), ip)), None, "a question");
    }

    #[test]
    fn each_family_is_asked_for_from_an_own_address_of_the_link_that_is_no_vip() {
        let at = |text: &str, length| HeldAddress {
            is_unusable: text.ends_with("dead"),
            ..HeldAddress::plain(LinkIndex(2), Prefix { ip: text.parse().unwrap(), length })
        };
        let link = Link { mac: Some(MacAddress([2, 0, 0, 0, 0, 1])), ..Link::plain(LinkIndex(2), "eth0") };
        let all = [
            at("10.1.0.5", 24),
            at("10.1.0.100", 24),
            at("10.1.0.11", 24),
            at("10.1.0.4", 32),
            at("fd00:1::dead", 64),
            at("fd00:1::11", 64),
            at("fd00:1::100", 128),
        ];
        let host = Host { links: [(LinkIndex(2), link)].into(), addresses: all.into(), ..Host::default() };
        let vips = ["10.1.0.100", "fd00:1::100", "10.1.0.5"].map(|ip| ip.parse().unwrap()).into();
        let from = |is_ipv4| asker(&host, LinkIndex(2), is_ipv4, &vips).unwrap().ip.to_string();
        assert_eq!((from(true), from(false)), ("10.1.0.11".to_owned(), "fd00:1::11".to_owned()));
        let on = |ip: &str| links_of(&host, ip.parse().unwrap(), &vips).len();
        assert_eq!((on("10.1.0.100"), on("fd00:1::100"), on("fd00:2::100"), on("10.2.0.1")), (1, 1, 0, 0));
    }
}
