//! A crash plan as bytes that need no further decision: packets to send, then requests to rtnetlink. [`super::end`]
//! carries it out, in the other process.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::page::Page;
use crate::net::kernel;
use crate::net::types::{LinkIndex, Prefix};
use crate::vrrp::io::{CrashPlan, Transmission};

/// Longest content of an action: an advertisement of 255 IPv6 addresses with its signature is shorter.
pub(super) const LONGEST: usize = 4608;
/// Bytes before an action's content.
const HEADER: usize = 40;

/// One step of a crash plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrashAction {
    /// Send this from a raw socket.
    Send {
        /// 0: the routing table knows.
        link: u32,
        source: IpAddr,
        destination: IpAddr,
        hop_limit: u8,
    },
    /// Send this to rtnetlink.
    Netlink,
}

#[derive(Debug, Default)]
pub(super) struct PlanWriter {
    bytes: Vec<u8>,
    /// The last addresses and their requests: they seldom change; priority-0 packets change with every signed
    /// advertisement.
    addresses: BTreeMap<LinkIndex, BTreeSet<Prefix>>,
    requests: Vec<Vec<u8>>,
}

impl PlanWriter {
    /// The plan's bytes, priority 0 first: a peer takes over while the addresses are being removed.
    pub(super) fn write(&mut self, crash_plan: &CrashPlan) -> &[u8] {
        if crash_plan.addresses != self.addresses {
            self.requests = kernel::removals(&crash_plan.addresses, kernel::promotes_secondaries);
            self.addresses.clone_from(&crash_plan.addresses);
        }
        self.bytes.clear();
        for packet in &crash_plan.priority_zero {
            append(&mut self.bytes, &send(packet), &packet.bytes);
        }
        for request in &self.requests {
            append(&mut self.bytes, &CrashAction::Netlink, request);
        }
        &self.bytes
    }
}

fn send(packet: &Transmission) -> CrashAction {
    CrashAction::Send {
        link: packet.endpoint.link.map_or(0, |link| link.0),
        source: packet.endpoint.source,
        destination: packet.destination,
        hop_limit: packet.hop_limit,
    }
}

fn append(bytes: &mut Vec<u8>, action: &CrashAction, content: &[u8]) {
    let Ok(length) = u16::try_from(content.len()) else { return };
    if content.len() > LONGEST {
        return;
    }
    let (kind, hop_limit, link, source, destination) = match *action {
        CrashAction::Netlink => (0, 0, 0, [0; 16], [0; 16]),
        CrashAction::Send { link, source, destination, hop_limit } => {
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

/// Reads the action at `at` of the valid plan; its content goes into `content`. Answers it, its content's
/// length, and where the next one is; None at the end, or where it was cut off.
pub(super) fn read(
    page: &Page,
    at: usize,
    content: &mut [u8; LONGEST],
) -> Option<(CrashAction, usize, usize)> {
    let mut header = [0; HEADER];
    if page.read(at, &mut header) < HEADER {
        return None;
    }
    let [kind, hop_limit, l0, l1, i0, i1, i2, i3, addresses @ ..] = header;
    let length = usize::from(u16::from_ne_bytes([l0, l1]));
    let (source, destination) = (addresses.first_chunk()?, addresses.last_chunk()?);
    let action = match kind {
        0 => CrashAction::Netlink,
        _ => CrashAction::Send {
            link: u32::from_ne_bytes([i0, i1, i2, i3]),
            source: address(kind, *source)?,
            destination: address(kind, *destination)?,
            hop_limit,
        },
    };
    let begin = at.checked_add(HEADER)?;
    let room = content.get_mut(..length)?;
    (page.read(begin, room) == length).then_some((action, length, begin.checked_add(length)?))
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
    use crate::vrrp::io::Endpoint;

    #[test]
    fn a_published_plan_is_done_in_order_priority_zero_first() {
        let page = Page::map().unwrap();
        let mut writer = PlanWriter::default();
        let addresses: BTreeSet<Prefix> =
            (1..=100).map(|n| Prefix::host(IpAddr::from([10, 1, 0, n]))).collect();
        let crash_plan = CrashPlan {
            silence: None,
            priority_zero: vec![packet("10.1.0.11", "224.0.0.18", 28), packet("fe80::1", "ff02::12", 24)],
            addresses: BTreeMap::from([(LinkIndex(3), addresses)]),
        };
        assert!(page.publish(writer.write(&crash_plan)));
        let (mut content, mut at, mut actions) = ([0; LONGEST], 0, Vec::new());
        while let Some((action, length, next)) = read(page, at, &mut content) {
            actions.push((action, content[..length].to_vec()));
            at = next;
        }
        let said: Vec<_> = crash_plan.priority_zero.iter().map(|f| (send(f), f.bytes.clone())).collect();
        assert_eq!(actions[..2], said);
        assert!(actions[2..].iter().all(|(action, _)| *action == CrashAction::Netlink));
        let asked: Vec<u8> = actions[2..].iter().flat_map(|(_, content)| content.clone()).collect();
        // A header of 16 and of 8 bytes, and an address of 8.
        assert_eq!(asked.len(), 100 * 32);
    }

    #[test]
    fn a_truncated_request_is_not_executed() {
        let page = Page::map().unwrap();
        let mut writer = PlanWriter::default();
        let crash_plan = CrashPlan {
            silence: None,
            priority_zero: vec![packet("10.1.0.11", "224.0.0.18", 28); 2],
            addresses: BTreeMap::new(),
        };
        let bytes = writer.write(&crash_plan);
        page.publish(&bytes[..bytes.len() - 1]);
        let mut content = [0; LONGEST];
        let (_, _, next) = read(page, 0, &mut content).unwrap();
        assert_eq!(read(page, next, &mut content), None);
    }

    fn packet(source: &str, destination: &str, length: usize) -> Transmission {
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
