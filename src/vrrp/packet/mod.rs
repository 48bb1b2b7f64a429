//! Advertisements as bytes: VRRPv2 and VRRPv3, IPv4 and IPv6, with every authentication keepalived has.
//!
//! Reading has two steps. [`decode`] needs no configuration: lengths, version, type, checksum. [`authenticate`] asks
//! what one instance expects. What an instance makes of an advertisement (its interval, its addresses, a peer's hop
//! limit) is the router's. Anything may arrive here: every length is checked, nothing is indexed.

mod authentication;
mod counters;
mod flaw;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod fuzz;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::io::Datagram;
use super::settings::{Authentication, Checksum, HmacMode, Version};
use crate::net::checksum::Sum;
pub(crate) use authentication::{HmacTrailer, authenticate};
pub(crate) use counters::{Counters, ReplayWindow};
pub(crate) use flaw::{Flaw, KINDS, Malformed};

/// IP protocol of VRRP.
pub(crate) const PROTOCOL: u8 = 112;
/// IP protocol of the authentication header.
pub(crate) const PROTOCOL_AH: u8 = 51;
/// Hop limit of all that travels by multicast.
pub(crate) const HOP_LIMIT: u8 = 255;
/// Most addresses an advertisement can hold.
pub(crate) const MAX_ADDRESSES: usize = 255;

/// Type of service of advertisements: internetwork control.
const TOS: u8 = 0xc0;
/// The only type of packet there is.
const ADVERTISEMENT: u8 = 1;
const IPV4_HEADER: usize = 20;
const VRRP_HEADER: usize = 8;
const CHECKSUM_AT: usize = 6;
/// Authentication data of version 2 on IPv4: always there.
const V2_DATA: usize = 8;

/// What an advertisement says (without its authentication).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertisement {
    /// Version of the protocol.
    pub version: Version,
    /// 1 to 255.
    pub vrid: u8,
    /// 0: the Master leaves; 255: the owner of the addresses.
    pub priority: u8,
    /// v2: 1 to 255 whole seconds; v3: 10 ms to 40.95 s in steps of 10 ms.
    pub interval: Duration,
    /// At most [`MAX_ADDRESSES`], all of the family it travels by.
    pub addresses: Vec<IpAddr>,
}

/// Its source and destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub source: IpAddr,
    /// The group, or a peer.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
}

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// What it says. The list of addresses may be empty: whether that is fine is the instance's to say.
    pub advert: Advertisement,
    /// Which form of checksum it has, where there are two: version 3 on IPv4.
    pub checksum: Option<Checksum>,
    /// How it is authenticated.
    pub authentication: ReceivedAuthentication,
    /// Number of its authentication header.
    pub sequence: Option<u32>,
    pub hmac: Option<HmacTrailer>,
    /// Where the VRRP message begins and ends in the datagram.
    message: std::ops::Range<usize>,
}

/// How an advertisement is authenticated, by version 2's own means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReceivedAuthentication {
    /// Not at all.
    None,
    /// By a password in clear text.
    Password([u8; 8]),
    /// By an authentication header.
    Header,
}

impl Received {
    /// Version 3 on IPv6: whether the first address is link-local, as RFC 9568 section 5.2.9 wants it. Others can do
    /// without: it is reported, not refused.
    #[cfg(test)]
    pub(crate) fn begins_link_local(&self) -> bool {
        !matches!(self.advert.addresses.first(), Some(IpAddr::V6(first)) if !first.is_unicast_link_local())
    }
}

/// The whole packet: IPv4 with its header, whose checksum is the kernel's; IPv6 what follows the header.
///
/// `wall` is the time since 1970 UTC, for signatures. Addresses of the other family and those beyond
/// [`MAX_ADDRESSES`] are the configuration's mistake and left out; so is an authentication that version and family
/// do not have.
pub(crate) fn encode(
    advert: &Advertisement,
    path: &Path,
    checksum: Checksum,
    authentication: &Authentication,
    counters: &mut Counters,
    wall: Duration,
) -> Vec<u8> {
    let (version, is_ipv4) = (advert.version, path.source.is_ipv4());
    let is_v2_on_ipv4 = version == Version::V2 && is_ipv4;
    let header_key = match authentication {
        Authentication::Header(key) if is_v2_on_ipv4 => Some(key),
        _ => None,
    };
    let (kind, data) = match authentication {
        Authentication::Password(password) if is_v2_on_ipv4 => (1, *password),
        _ => (if header_key.is_some() { 2 } else { 0 }, [0; V2_DATA]),
    };
    let mut message = Vec::with_capacity(VRRP_HEADER + advert.addresses.len() * 16 + V2_DATA);
    let addresses = advert.addresses.iter().filter(|ip| ip.is_ipv4() == is_ipv4).take(MAX_ADDRESSES);
    let count = u8::try_from(addresses.clone().count()).unwrap_or(u8::MAX);
    message.extend([version.number() << 4 | ADVERTISEMENT, advert.vrid, advert.priority, count]);
    match version {
        Version::V2 => {
            message.extend([kind, u8::try_from(advert.interval.as_secs()).unwrap_or(u8::MAX).max(1)])
        }
        Version::V3 => message.extend(centiseconds(advert.interval).to_be_bytes()),
    }
    message.extend([0, 0]);
    for address in addresses {
        match address {
            IpAddr::V4(ip) => message.extend(ip.octets()),
            IpAddr::V6(ip) => message.extend(ip.octets()),
        }
    }
    if is_v2_on_ipv4 {
        message.extend(data);
    }
    if let Authentication::Hmac(hmac) = authentication
        && hmac.mode != HmacMode::ReceiveOnly
    {
        let moment = counters.next_moment(wall);
        let trailer = authentication::sign(&message, version, advert.vrid, path.source, hmac, moment);
        // IPv6's checksum is one for all that follows the header, IPv4's is the message's own.
        let length = message.len();
        message.extend(trailer);
        let covered = if is_ipv4 { length } else { message.len() };
        write_checksum(&mut message, covered, version, path, checksum);
    } else {
        let covered = message.len();
        write_checksum(&mut message, covered, version, path, checksum);
    }
    match (path.source, path.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let identification = counters.next_identification();
            let mut packet = Vec::with_capacity(IPV4_HEADER + authentication::HEADER + message.len());
            packet.extend([0x45, TOS, 0, 0]);
            packet.extend(identification.to_be_bytes());
            let protocol = if header_key.is_some() { PROTOCOL_AH } else { PROTOCOL };
            packet.extend([0, 0, path.hop_limit, protocol, 0, 0]);
            packet.extend(source.octets());
            packet.extend(destination.octets());
            let ah = if header_key.is_some() { authentication::HEADER } else { 0 };
            let total = u16::try_from(IPV4_HEADER + ah + message.len()).unwrap_or(u16::MAX);
            write(&mut packet, 2, &total.to_be_bytes());
            if let Some(key) = header_key {
                let sequence = counters.next_sequence();
                let header = authentication::header(&packet, &message, source, sequence, key);
                packet.extend(header);
            }
            packet.extend(message);
            packet
        }
        _ => message,
    }
}

/// Reads a packet before its instance is known: lengths, version, type, checksum. By multicast, the hop limit.
pub(crate) fn decode(datagram: &Datagram) -> Result<Received, Malformed> {
    let without_vrid = |flaw| Malformed { vrid: None, flaw };
    let bytes = datagram.bytes.as_slice();
    let packet = match datagram.source {
        IpAddr::V4(_) => ipv4_payload(bytes).map_err(without_vrid)?,
        IpAddr::V6(_) => 0..bytes.len(),
    };
    let (sequence, start) = if datagram.protocol == PROTOCOL_AH {
        let header = bytes.get(packet.clone()).unwrap_or_default();
        (
            Some(authentication::read_header(header).map_err(without_vrid)?),
            packet.start + authentication::HEADER,
        )
    } else {
        (None, packet.start)
    };
    let message = bytes.get(start..packet.end).unwrap_or_default();
    let [first, vrid, ..] = *message else {
        return Err(without_vrid(Flaw::Short { has: message.len(), needs: VRRP_HEADER }));
    };
    let heard = Malformed { vrid: (vrid != 0).then_some(vrid), flaw: Flaw::VridZero };
    let blame = |flaw| Malformed { vrid: heard.vrid, flaw };
    let [_, _, priority, count, high, low, ..] = *message else {
        return Err(blame(Flaw::Short { has: message.len(), needs: VRRP_HEADER }));
    };
    if datagram.destination.is_multicast() && datagram.hop_limit != HOP_LIMIT {
        let flaw = Flaw::HopLimit { has: datagram.hop_limit, least: HOP_LIMIT, most: HOP_LIMIT };
        return Err(blame(flaw));
    }
    let version = match first >> 4 {
        2 => Version::V2,
        3 => Version::V3,
        other => return Err(blame(Flaw::UnknownVersion(other))),
    };
    if first & 0xf != ADVERTISEMENT {
        return Err(blame(Flaw::Type(first & 0xf)));
    }
    let is_ipv4 = datagram.source.is_ipv4();
    let is_v2_on_ipv4 = version == Version::V2 && is_ipv4;
    let list = VRRP_HEADER..VRRP_HEADER + usize::from(count) * if is_ipv4 { 4 } else { 16 };
    let length = list.end + if is_v2_on_ipv4 { V2_DATA } else { 0 };
    let hmac = match message.len().checked_sub(length) {
        None => return Err(blame(Flaw::Short { has: message.len(), needs: length })),
        Some(0) => None,
        Some(_) => {
            let surplus = message.get(length..).unwrap_or_default();
            let long = Flaw::Long { has: message.len(), needs: length };
            Some(HmacTrailer::read(surplus).ok_or_else(|| blame(long))?)
        }
    };
    let body = message.get(..length).unwrap_or_default();
    let covered = if is_ipv4 { body } else { message };
    let form = read_checksum(covered, version, datagram).ok_or_else(|| blame(Flaw::Checksum))?;
    if vrid == 0 {
        return Err(heard);
    }
    let data = body.get(list.end..).and_then(|data| data.try_into().ok()).unwrap_or([0; V2_DATA]);
    let authentication = match (version, high) {
        (Version::V3, _) => ReceivedAuthentication::None,
        (Version::V2, 0) => ReceivedAuthentication::None,
        (Version::V2, 1) if is_ipv4 => ReceivedAuthentication::Password(data),
        (Version::V2, 2) if is_ipv4 => ReceivedAuthentication::Header,
        (Version::V2, other) => return Err(blame(Flaw::UnknownAuthentication(other))),
    };
    if sequence.is_some() != (authentication == ReceivedAuthentication::Header) {
        return Err(blame(Flaw::Header));
    }
    let interval = match version {
        Version::V2 => Duration::from_secs(u64::from(low)),
        // The upper four bits are reserved and ignored.
        Version::V3 => Duration::from_millis(10 * u64::from(u16::from_be_bytes([high & 0xf, low]))),
    };
    if interval.is_zero() {
        return Err(blame(Flaw::IntervalZero));
    }
    let addresses = read_addresses(body.get(list).unwrap_or_default(), is_ipv4);
    Ok(Received {
        advert: Advertisement { version, vrid, priority, interval, addresses },
        checksum: form,
        authentication,
        sequence,
        hmac,
        message: start..start + length,
    })
}

/// Where the payload of an IPv4 packet is. What follows the length in its header is Ethernet's padding.
fn ipv4_payload(bytes: &[u8]) -> Result<std::ops::Range<usize>, Flaw> {
    let [first, _, high, low, _, _, flags, offset, ..] = *bytes else {
        return Err(Flaw::Short { has: bytes.len(), needs: IPV4_HEADER });
    };
    let header = usize::from(first & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([high, low]));
    if first >> 4 != 4 || header < IPV4_HEADER || total < header {
        return Err(Flaw::IpHeader);
    }
    if bytes.len() < total {
        return Err(Flaw::Short { has: bytes.len(), needs: total });
    }
    // More fragments follow, or this is not the first; "don't fragment" (0x40) is fine.
    if flags & 0x3f != 0 || offset != 0 {
        return Err(Flaw::Fragment);
    }
    Ok(header..total)
}

fn read_addresses(list: &[u8], is_ipv4: bool) -> Vec<IpAddr> {
    if is_ipv4 {
        list.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets).into()).collect()
    } else {
        list.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets).into()).collect()
    }
}

/// Whether the checksum over `message` fits, and in which form, where there are two. None: it does not.
fn read_checksum(message: &[u8], version: Version, datagram: &Datagram) -> Option<Option<Checksum>> {
    let plain = Sum::default().with(message);
    let with_header =
        plain.with_pseudo_header(datagram.source, datagram.destination, PROTOCOL, message.len());
    if datagram.source.is_ipv6() {
        return with_header.is_fine().then_some(None);
    }
    match version {
        Version::V2 => plain.is_fine().then_some(None),
        Version::V3 if with_header.is_fine() => Some(Some(Checksum::PseudoHeader)),
        Version::V3 => plain.is_fine().then_some(Some(Checksum::MessageOnly)),
    }
}

/// Writes the checksum over the first `covered` bytes.
fn write_checksum(message: &mut [u8], covered: usize, version: Version, path: &Path, form: Checksum) {
    let mut sum = Sum::default().with(message.get(..covered).unwrap_or_default());
    if path.source.is_ipv6() || (version == Version::V3 && form == Checksum::PseudoHeader) {
        sum = sum.with_pseudo_header(path.source, path.destination, PROTOCOL, covered);
    }
    write(message, CHECKSUM_AT, &sum.complement().to_be_bytes());
}

/// Writes into the middle of a packet.
fn write(packet: &mut [u8], at: usize, bytes: &[u8]) {
    packet.iter_mut().skip(at).zip(bytes).for_each(|(to, from)| *to = *from);
}

fn centiseconds(interval: Duration) -> u16 {
    u16::try_from(interval.as_millis() / 10).unwrap_or(u16::MAX).clamp(1, 4095)
}
