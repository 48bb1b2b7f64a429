//! What an instance's authentication makes of a packet: passwords, authentication headers (RFC 4302, as keepalived
//! reads it), and keepalived 2.4's signatures. Comparing takes the same time wherever the difference is.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::Sha256;

use super::counters::Moment;
use super::{CHECKSUM_AT, IPV4_HEADER, PROTOCOL, write};
use super::{Flaw, Malformed, Received, ReceivedAuthentication, ReplayWindow};
use crate::vrrp::io::Datagram;
use crate::vrrp::settings::{self, Authentication, HmacMode, Version};

/// Length of an authentication header with the 96 bits of HMAC-MD5.
pub(super) const HEADER: usize = 24;
/// Its length as it says it itself: 32-bit words less two.
const HEADER_WORDS: u8 = 4;
/// Where its signature begins.
const HEADER_SIGNATURE: usize = 12;

/// Length of keepalived's trailer.
const TRAILER: usize = 28;
/// The trailer up to its signature.
const TRAILER_HEAD: usize = 12;
/// The signature: HMAC-SHA256, cut.
const SIGNATURE: usize = 16;
/// The only type of trailer there is.
const TRAILER_TYPE: u8 = 1;

/// keepalived's signature (`auth_hmac`), as received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HmacTrailer {
    pub key: u8,
    pub moment: Moment,
    signature: [u8; SIGNATURE],
}

impl HmacTrailer {
    /// Reads what follows a message; None: it is no trailer.
    pub(super) fn read(bytes: &[u8]) -> Option<HmacTrailer> {
        let bytes: &[u8; TRAILER] = bytes.try_into().ok()?;
        let [TRAILER_TYPE, key, 0, 0, a, b, c, d, e, f, g, h, signature @ ..] = *bytes else { return None };
        let moment = Moment {
            seconds: u32::from_be_bytes([a, b, c, d]),
            fraction: u16::from_be_bytes([e, f]),
            counter: u16::from_be_bytes([g, h]),
        };
        Some(HmacTrailer { key, moment, signature })
    }
}

/// The trailer of a message whose checksum is not written yet.
pub(super) fn sign(
    message: &[u8],
    version: Version,
    vrid: u8,
    source: IpAddr,
    hmac: &settings::Hmac,
    moment: Moment,
) -> [u8; TRAILER] {
    let head = trailer_head(hmac.active, moment);
    let key = hmac.keys.get(&hmac.active).map_or(&[][..], |key| key);
    let full = signature(message, version, vrid, source, &head, key).finalize().into_bytes();
    let mut trailer = [0; TRAILER];
    write(&mut trailer, 0, &head);
    write(trailer.get_mut(TRAILER_HEAD..).unwrap_or_default(), 0, &full);
    trailer
}

fn trailer_head(key: u8, moment: Moment) -> [u8; TRAILER_HEAD] {
    let [a, b, c, d] = moment.seconds.to_be_bytes();
    let [e, f] = moment.fraction.to_be_bytes();
    let [g, h] = moment.counter.to_be_bytes();
    [TRAILER_TYPE, key, 0, 0, a, b, c, d, e, f, g, h]
}

/// The signature covers the source address, the message with a checksum of zero, and the trailer: neither the
/// destination nor the IP header.
fn signature(
    message: &[u8],
    version: Version,
    vrid: u8,
    source: IpAddr,
    head: &[u8; TRAILER_HEAD],
    key: &[u8],
) -> Hmac<Sha256> {
    let family = if source.is_ipv4() { 4 } else { 6 };
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&[family, version.number(), vrid, 0]);
    match source {
        IpAddr::V4(ip) => {
            mac.update(&ip.octets());
            mac.update(&[0; 12]);
        }
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    update_without(&mut mac, message, CHECKSUM_AT, 2);
    mac.update(head);
    mac.update(&[0; SIGNATURE]);
    mac
}

/// Adds bytes, with zeros for some of them.
fn update_without(mac: &mut impl Mac, bytes: &[u8], at: usize, length: usize) {
    mac.update(bytes.get(..at).unwrap_or(bytes));
    mac.update([0; 16].get(..length).unwrap_or_default());
    mac.update(bytes.get(at + length..).unwrap_or_default());
}

/// The authentication header between an IPv4 header and a message.
pub(super) fn header(
    ip_header: &[u8],
    message: &[u8],
    source: Ipv4Addr,
    sequence: u32,
    key: &[u8],
) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    write(&mut header, 0, &[PROTOCOL, HEADER_WORDS, 0, 0]);
    write(&mut header, 4, &source.octets());
    write(&mut header, 8, &sequence.to_be_bytes());
    let full = header_signature(ip_header, &header, message, key).finalize().into_bytes();
    write(&mut header, HEADER_SIGNATURE, full.as_slice());
    header
}

/// Reads an authentication header: its number.
pub(super) fn read_header(bytes: &[u8]) -> Result<u32, Flaw> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Err(Flaw::Short { has: bytes.len(), needs: HEADER });
    };
    let [PROTOCOL, HEADER_WORDS, _, _, _, _, _, _, a, b, c, d, ..] = *header else {
        return Err(Flaw::Header);
    };
    Ok(u32::from_be_bytes([a, b, c, d]))
}

/// The signature covers what routers do not change. keepalived takes the TTL for such by multicast, where there are
/// no routers, although RFC 4302 does not.
fn header_signature(ip_header: &[u8], header: &[u8; HEADER], message: &[u8], key: &[u8]) -> Hmac<Md5> {
    let mut constant = ip_header.to_vec();
    write(&mut constant, 1, &[0]); // type of service
    write(&mut constant, 6, &[0, 0]); // fragment
    write(&mut constant, 10, &[0, 0]); // checksum
    if !matches!(ip_header.get(16..IPV4_HEADER), Some([224..=239, ..])) {
        write(&mut constant, 8, &[0]); // TTL
    }
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&constant);
    update_without(&mut mac, header, HEADER_SIGNATURE, HEADER - HEADER_SIGNATURE);
    mac.update(message);
    mac
}

/// What the instance's authentication says of a packet. Something: it is accepted in spite of that (`mode
/// permissive`), and the operator should hear of it.
pub(crate) fn authenticate(
    heard: &Received,
    datagram: &Datagram,
    expected: &Authentication,
    replay: &mut ReplayWindow,
    wall: Duration,
) -> Result<Option<Malformed>, Malformed> {
    let blame = |flaw| Malformed { vrid: Some(heard.advert.vrid), flaw };
    let is_v2_on_ipv4 = heard.advert.version == Version::V2 && datagram.source.is_ipv4();
    let own = match expected {
        Authentication::Password(password) if is_v2_on_ipv4 => ReceivedAuthentication::Password(*password),
        Authentication::Header(_) if is_v2_on_ipv4 => ReceivedAuthentication::Header,
        _ => ReceivedAuthentication::None,
    };
    match (heard.authentication, own) {
        (ReceivedAuthentication::None, ReceivedAuthentication::None) => {}
        (ReceivedAuthentication::Password(theirs), ReceivedAuthentication::Password(ours)) => {
            if !is_same(&theirs, &ours) {
                return Err(blame(Flaw::Password));
            }
        }
        (ReceivedAuthentication::Header, ReceivedAuthentication::Header) => {
            check_header(heard, datagram, expected, replay).map_err(blame)?;
        }
        (has, expected) => return Err(blame(Flaw::Authentication { has, expected })),
    }
    match (expected, &heard.hmac) {
        (Authentication::Hmac(hmac), trailer) => {
            let checked = check_trailer(heard, trailer.as_ref(), datagram, hmac, replay, wall);
            match (checked.map_err(blame), hmac.mode) {
                (Ok(()), _) => Ok(None),
                (Err(flaw), HmacMode::Permissive) => Ok(Some(flaw)),
                (Err(Malformed { flaw: Flaw::Unsigned, .. }), HmacMode::ReceiveOnly) => Ok(None),
                (Err(flaw), _) => Err(flaw),
            }
        }
        (_, Some(_)) => Err(blame(Flaw::Signed)),
        (_, None) => Ok(None),
    }
}

fn check_header(
    heard: &Received,
    datagram: &Datagram,
    expected: &Authentication,
    replay: &mut ReplayWindow,
) -> Result<(), Flaw> {
    let (Authentication::Header(key), Some(sequence)) = (expected, heard.sequence) else {
        return Err(Flaw::Header);
    };
    let start = heard.message.start.checked_sub(HEADER).ok_or(Flaw::Header)?;
    let ip_header = datagram.bytes.get(..start).unwrap_or_default();
    let rest = datagram.bytes.get(start..heard.message.end).unwrap_or_default();
    let (header, message) = rest.split_first_chunk::<HEADER>().ok_or(Flaw::Header)?;
    let signature = header.get(HEADER_SIGNATURE..).unwrap_or_default();
    if header_signature(ip_header, header, message, key).verify_truncated_left(signature).is_err() {
        return Err(Flaw::HeaderSignature);
    }
    // keepalived names its own address as the index of security parameters.
    if !matches!((header.get(4..8), datagram.source), (Some(index), IpAddr::V4(ip)) if index == ip.octets()) {
        return Err(Flaw::HeaderSignature);
    }
    match replay.sequence(datagram.source) {
        Some(highest) if sequence <= highest => Err(Flaw::HeaderRepeated { has: sequence, highest }),
        _ => {
            replay.heard_sequence(datagram.source, sequence);
            Ok(())
        }
    }
}

fn check_trailer(
    heard: &Received,
    trailer: Option<&HmacTrailer>,
    datagram: &Datagram,
    hmac: &settings::Hmac,
    replay: &mut ReplayWindow,
    wall: Duration,
) -> Result<(), Flaw> {
    let Some(HmacTrailer { key: id, moment, signature: theirs }) = trailer else {
        return Err(Flaw::Unsigned);
    };
    let Some(key) = hmac.keys.get(id) else {
        return Err(Flaw::UnknownKey(*id));
    };
    let message = datagram.bytes.get(heard.message.clone()).unwrap_or_default();
    let head = trailer_head(*id, *moment);
    let advert = &heard.advert;
    let ours = signature(message, advert.version, advert.vrid, datagram.source, &head, key);
    if ours.verify_truncated_left(theirs).is_err() {
        return Err(Flaw::Signature);
    }
    let time = moment.time();
    if time.abs_diff(wall) > hmac.window {
        return Err(Flaw::Clock { apart: time.abs_diff(wall), is_behind: time < wall });
    }
    if hmac.is_monotonic && replay.moment(datagram.source).is_some_and(|last| *moment <= last) {
        return Err(Flaw::Repeated);
    }
    replay.heard_moment(datagram.source, *moment);
    Ok(())
}

/// Whether two passwords are the same, in the same time wherever they differ.
fn is_same(one: &[u8; 8], other: &[u8; 8]) -> bool {
    let difference = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(difference) == 0
}
