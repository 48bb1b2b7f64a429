//! Announcements as Ethernet frames: gratuitous ARP (RFC 5227 section 3) and unsolicited neighbour advertisements
//! (RFC 4861 section 7.2.6), which announce to a network where an address is now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::types::MacAddress;

const BROADCAST: MacAddress = MacAddress([0xff; 6]);
/// Of ff02::1, all nodes.
const ALL_NODES_MAC: MacAddress = MacAddress([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// The frame that announces to a link that `ip` is at `mac`. `is_router`: this host forwards IPv6 there.
pub(crate) fn frame(ip: IpAddr, mac: MacAddress, is_router: bool) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => arp(ip, mac),
        IpAddr::V6(ip) => neighbour(ip, mac, is_router),
    }
}

/// A request for the own address: hosts that know it learn, and only a second owner answers.
fn arp(ip: Ipv4Addr, mac: MacAddress) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, ARP);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]); // Ethernet, IPv4, lengths, request
    frame.extend(mac.0);
    frame.extend(ip.octets());
    frame.extend(BROADCAST.0);
    frame.extend(ip.octets());
    frame
}

/// An advertisement that overrides what neighbours remember.
fn neighbour(ip: Ipv6Addr, mac: MacAddress, is_router: bool) -> Vec<u8> {
    const LENGTH: u8 = 32;
    const ICMPV6: u8 = 58;
    const ROUTER: u8 = 0x80;
    const OVERRIDE: u8 = 0x20;
    let flags = OVERRIDE | if is_router { ROUTER } else { 0 };
    let mut message = vec![136, 0, 0, 0, flags, 0, 0, 0];
    message.extend(ip.octets());
    message.extend([2, 1]); // target's link-layer address, eight bytes
    message.extend(mac.0);
    let sum =
        Sum::default().with_pseudo_header(ip.into(), ALL_NODES.into(), ICMPV6, message.len()).with(&message);
    message.iter_mut().skip(2).zip(sum.complement().to_be_bytes()).for_each(|(to, from)| *to = from);
    let mut frame = ethernet(ALL_NODES_MAC, mac, IPV6);
    frame.extend([0x60, 0, 0, 0, 0, LENGTH, ICMPV6, 255]);
    frame.extend(ip.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: MacAddress, from: MacAddress, kind: [u8; 2]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(kind);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from keepalived 2.2.7.
    const GARP: &str = "ffffffffffff020000000001080600010800060400010200000000010a4d0064ffffffffffff0a4d0064";
    const GARP_VMAC: &str =
        "ffffffffffff00005e00013d0806000108000604000100005e00013d0a4d0064ffffffffffff0a4d0064";
    const NA: &str = concat!(
        "33330000000102000000000186dd6000000000203afffe800000000000000000000000000056ff02",
        "0000000000000000000000000001880056f120000000fe8000000000000000000000000000560201",
        "020000000001",
    );
    const NA_VMAC: &str = concat!(
        "33330000000100005e00023e86dd6000000000203afffe800000000000000000000000000062ff02",
        "00000000000000000000000000018800f89b20000000fe8000000000000000000000000000620201",
        "00005e00023e",
    );
    const NA_GLOBAL: &str = concat!(
        "33330000000102000000000186dd6000000000203afffd770000000000000000000000000100ff02",
        "0000000000000000000000000001880057af20000000fd7700000000000000000000000001000201",
        "020000000001",
    );

    #[test]
    fn frames_are_keepaliveds_byte_by_byte() {
        let own = MacAddress([2, 0, 0, 0, 0, 1]);
        let cases = [
            ("10.77.0.100", own, GARP),
            ("10.77.0.100", MacAddress([0, 0, 0x5e, 0, 1, 61]), GARP_VMAC),
            ("fe80::56", own, NA),
            ("fe80::62", MacAddress([0, 0, 0x5e, 0, 2, 62]), NA_VMAC),
            ("fd77::100", own, NA_GLOBAL),
        ];
        for (ip, mac, text) in cases {
            let made: String =
                frame(ip.parse().unwrap(), mac, false).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(made, text, "{ip}");
        }
    }

    #[test]
    fn a_router_says_that_it_is_one() {
        let ip: IpAddr = "fe80::56".parse().unwrap();
        let (host, router) =
            (frame(ip, MacAddress::default(), false), frame(ip, MacAddress::default(), true));
        assert_eq!((host[58], router[58]), (0x20, 0xa0));
        // The checksum follows.
        let message = &router[54..];
        let all: IpAddr = ALL_NODES.into();
        assert!(Sum::default().with_pseudo_header(ip, all, 58, message.len()).with(message).is_fine());
    }
}
