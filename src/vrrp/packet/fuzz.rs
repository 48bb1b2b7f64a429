//! Packets of any form, for `crate::fuzz`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::{
    Checksum, Counters, PROTOCOL, PROTOCOL_AH, Path, Received, ReceivedAuthentication, ReplayWindow,
    authenticate, decode, encode,
};
use crate::net::types::LinkIndex;
use crate::vrrp::io::Datagram;
use crate::vrrp::settings::{Authentication, Hmac, HmacMode};

/// Reads and authenticates a packet; what it advertises, sent again, says the same.
///
/// The first byte: bit 0 IPv6, bit 1 an authentication header, bit 2 unicast. The second: the hop limit.
pub(crate) fn datagram(bytes: &[u8]) {
    let [flags, hop_limit, bytes @ ..] = bytes else { return };
    let (source, group, peer): (IpAddr, IpAddr, IpAddr) = if flags & 1 == 0 {
        let address = |at: usize| {
            let octets: Option<[u8; 4]> = bytes.get(at..at + 4).and_then(|octets| octets.try_into().ok());
            IpAddr::V4(octets.map_or(Ipv4Addr::LOCALHOST, Ipv4Addr::from))
        };
        (address(12), address(16), Ipv4Addr::new(10, 77, 0, 2).into())
    } else {
        let link_local = |last| IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last));
        (link_local(1), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(), link_local(2))
    };
    let datagram = Datagram {
        link: LinkIndex(2),
        protocol: if flags & 2 == 0 { PROTOCOL } else { PROTOCOL_AH },
        source,
        destination: if flags & 4 == 0 { group } else { peer },
        hop_limit: *hop_limit,
        bytes: bytes.to_vec(),
    };
    let Ok(received) = decode(&datagram) else { return };
    for expected in authentications() {
        let mut replay = ReplayWindow::new();
        for seconds in [0, 1, 1_700_000_000] {
            let _ = authenticate(&received, &datagram, &expected, &mut replay, Duration::from_secs(seconds));
        }
    }
    sent_again(&received, &datagram);
}

fn sent_again(received: &Received, datagram: &Datagram) {
    let path =
        Path { source: datagram.source, destination: datagram.destination, hop_limit: datagram.hop_limit };
    let form = received.checksum.unwrap_or(Checksum::PseudoHeader);
    let mut counters = Counters::new();
    let bytes = encode(&received.advert, &path, form, &Authentication::None, &mut counters, Duration::ZERO);
    let again = decode(&Datagram { protocol: PROTOCOL, bytes, ..datagram.clone() });
    let again = again.expect("an advertisement that was encoded can be read");
    assert_eq!(again.advert, received.advert);
    assert_eq!(again.authentication, ReceivedAuthentication::None);
}

/// With the keys of the captured packets.
fn authentications() -> [Authentication; 4] {
    let keys = BTreeMap::from([(1, (0..32).collect())]);
    let hmac = Hmac {
        keys,
        active: 1,
        window: Duration::from_secs(60),
        is_monotonic: true,
        mode: HmacMode::Enforce,
    };
    [
        Authentication::None,
        Authentication::Password(*b"s3cret\0\0"),
        Authentication::Header(*b"s3cret\0\0"),
        Authentication::Hmac(Arc::new(hmac)),
    ]
}
