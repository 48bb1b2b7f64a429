//! A testament as bytes that can be acted on without a thought: packets to send, then requests to rtnetlink.
//!
//! It refuses to act; [`super::end`] does, in the other process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::page::Page;
use crate::net::kernel;
use crate::net::types::{LinkIndex, Prefix};
use crate::vrrp::exchange::{Testament, Transmission};

/// Longest content of a deed: an advertisement of 255 IPv6 addresses with its signature is shorter.
pub(super) const LONGEST: usize = 4608;
/// Bytes before a deed's content.
const HEADER: usize = 40;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// Send this from a raw socket.
    Say {
        /// 0: the routing table knows.
        link: u32,
        source: IpAddr,
        destination: IpAddr,
        hop_limit: u8,
    },
    /// Send this to rtnetlink.
    Ask,
}

#[derive(Debug, Default)]
pub(super) struct Will {
    bytes: Vec<u8>,
    /// The last addresses and their requests: they seldom change, good-byes with every advertisement.
    addresses: BTreeMap<LinkIndex, BTreeSet<Prefix>>,
    requests: Vec<Vec<u8>>,
}

impl Will {
    /// The testament's bytes, good-byes first: who takes over shall begin while addresses are taken away.
    pub(super) fn write(&mut self, testament: &Testament) -> &[u8] {
        if testament.addresses != self.addresses {
            self.requests = kernel::removals(&testament.addresses, kernel::promotes_secondaries);
            self.addresses.clone_from(&testament.addresses);
        }
        self.bytes.clear();
        for farewell in &testament.farewells {
            append(&mut self.bytes, &say(farewell), &farewell.bytes);
        }
        for request in &self.requests {
            append(&mut self.bytes, &Deed::Ask, request);
        }
        &self.bytes
    }
}

fn say(farewell: &Transmission) -> Deed {
    Deed::Say {
        link: farewell.endpoint.link.map_or(0, |link| link.0),
        source: farewell.endpoint.source,
        destination: farewell.destination,
        hop_limit: farewell.hop_limit,
    }
}

fn append(bytes: &mut Vec<u8>, deed: &Deed, content: &[u8]) {
    let Ok(length) = u16::try_from(content.len()) else { return };
    if content.len() > LONGEST {
        return;
    }
    let (kind, hop_limit, link, source, destination) = match *deed {
        Deed::Ask => (0, 0, 0, [0; 16], [0; 16]),
        Deed::Say { link, source, destination, hop_limit } => {
            (if source.is_ipv4() { 4 } else { 6 }, hop_limit, link, octets(source), octets(destination))
        }
    };
    bytes.extend([kind, hop_limit]);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(link.to_ne_bytes());
    bytes.extend(source);
    bytes.extend(destination);
    bytes.extend(content);
}

/// Reads the deed at `at` of the will that counts; its content goes into `content`. Answers it, its content's
/// length, and where the next one is; None at the end, or where it was cut off.
pub(super) fn read(page: &Page, at: usize, content: &mut [u8; LONGEST]) -> Option<(Deed, usize, usize)> {
    let mut header = [0; HEADER];
    if page.read(at, &mut header) < HEADER {
        return None;
    }
    let [kind, hop_limit, l0, l1, i0, i1, i2, i3, addresses @ ..] = header;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let (source, destination) = (addresses.first_chunk()?, addresses.last_chunk()?);
    let deed = match kind {
        0 => Deed::Ask,
        _ => Deed::Say {
            link: u32::from_ne_bytes([i0, i1, i2, i3]),
            source: address(kind, *source)?,
            destination: address(kind, *destination)?,
            hop_limit,
        },
    };
    let begin = at.checked_add(HEADER)?;
    let room = content.get_mut(..length)?;
    (page.read(begin, room) == length).then_some((deed, length, begin.checked_add(length)?))
}

fn octets(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

fn address(kind: u8, octets: [u8; 16]) -> Option<IpAddr> {
    let ip = std::net::Ipv6Addr::from(octets);
    match kind {
        4 => ip.to_ipv4_mapped().map(IpAddr::V4),
        6 => Some(IpAddr::V6(ip)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::exchange::Endpoint;

    #[test]
    fn what_is_bequeathed_is_done_in_order_good_byes_first() {
        let page = Page::map().unwrap();
        let mut will = Will::default();
        let addresses: BTreeSet<Prefix> =
            (1..=100).map(|n| Prefix::host(IpAddr::from([10, 1, 0, n]))).collect();
        let testament = Testament {
            silence: None,
            farewells: vec![farewell("10.1.0.11", "224.0.0.18", 28), farewell("fe80::1", "ff02::12", 24)],
            addresses: BTreeMap::from([(LinkIndex(3), addresses)]),
        };
        assert!(page.publish(will.write(&testament)));
        let (mut content, mut at, mut deeds) = ([0; LONGEST], 0, Vec::new());
        while let Some((deed, length, next)) = read(page, at, &mut content) {
            deeds.push((deed, content[..length].to_vec()));
            at = next;
        }
        let said: Vec<_> = testament.farewells.iter().map(|f| (say(f), f.bytes.clone())).collect();
        assert_eq!(deeds[..2], said);
        assert!(deeds[2..].iter().all(|(deed, _)| *deed == Deed::Ask));
        let asked: Vec<u8> = deeds[2..].iter().flat_map(|(_, content)| content.clone()).collect();
        // A header of 16 and of 8 bytes, and an address of 8.
        assert_eq!(asked.len(), 100 * 32);
    }

    #[test]
    fn what_is_cut_off_is_not_done() {
        let page = Page::map().unwrap();
        let mut will = Will::default();
        let testament = Testament {
            silence: None,
            farewells: vec![farewell("10.1.0.11", "224.0.0.18", 28); 2],
            addresses: BTreeMap::new(),
        };
        let bytes = will.write(&testament);
        page.publish(&bytes[..bytes.len() - 1]);
        let mut content = [0; LONGEST];
        let (_, _, next) = read(page, 0, &mut content).unwrap();
        assert_eq!(read(page, next, &mut content), None);
    }

    fn farewell(source: &str, destination: &str, length: usize) -> Transmission {
        Transmission {
            endpoint: Endpoint {
                link: Some(LinkIndex(3)),
                protocol: 112,
                group: None,
                source: source.parse().unwrap(),
                receive_buffer: 0,
            },
            destination: destination.parse().unwrap(),
            hop_limit: 255,
            bytes: vec![0x31; length],
        }
    }
}
