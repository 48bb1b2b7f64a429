//! Who in the network says that it has an address: asked by ARP from this host's own address, and everybody's answer is
//! collected. It refuses to know who should have it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::frames::Frames;
use super::question::{ARP, arp_request};
use super::types::{LinkIndex, MacAddress};
use crate::time;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Answers beyond this many are not looked at: somebody floods.
const LIMIT: usize = 4096;

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
