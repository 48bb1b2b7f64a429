//! Who in the network says that it has an address: asked by ARP or neighbour solicitation from this host's own address,
//! and everybody's answer is collected. It refuses to know who should have it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::frames::Frames;
use super::question::{ADVERTISEMENT, ARP, ICMPV6, IPV6, arp_request, solicitation};
use super::types::{LinkIndex, MacAddress};
use crate::time;

/// How long answers are waited for, each time; who does not answer is asked once more, as frames may be lost.
const PATIENCE: Duration = Duration::from_millis(500);
const TIMES: usize = 2;
/// Answers beyond this many are not looked at: somebody floods.
const LIMIT: usize = 4096;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// By which link.
    pub link: LinkIndex,
    /// Its link-layer address.
    pub mac: MacAddress,
    /// An address of it that is no VIP; only addresses of its family can be asked for.
    pub ip: IpAddr,
}

/// Who claims which of these addresses, this host aside; takes a second.
///
/// # Errors
/// In the operator's words.
pub fn ask(asker: &Asker, addresses: &BTreeSet<IpAddr>) -> Result<BTreeSet<(IpAddr, MacAddress)>, String> {
    let not_asked = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => "CAP_NET_RAW is needed: run as root".to_owned(),
        _ => format!("frames cannot be sent: {error}"),
    };
    let frames = match asker.ip {
        IpAddr::V4(_) => Frames::arriving(asker.link, ARP),
        // Of all that arrives by IPv6 only what answers.
        IpAddr::V6(_) => Frames::arriving_with(asker.link, IPV6, [(20, ICMPV6), (54, ADVERTISEMENT)]),
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
        let end = time::now() + PATIENCE;
        for _ in 0..LIMIT {
            let left = end.since(time::now());
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

/// The same of a neighbour advertisement (RFC 4861 section 4.4); one that names no link-layer address means its sender's.
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
    fn an_advertisement_names_the_mac_it_tells_or_its_senders() {
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
}
