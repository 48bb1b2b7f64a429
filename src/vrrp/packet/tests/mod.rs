//! keepalived's own packets, byte by byte, and what is made of others.

mod hostile;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::counters::Moment;
use super::*;
use crate::net::types::LinkIndex;
use crate::vrrp::settings::Hmac;

#[test]
fn every_packet_of_keepalived_is_understood_and_would_be_sent_alike() {
    let mut count = 0;
    for (name, datagram) in vectors() {
        let heard = decode(&datagram).unwrap_or_else(|e| panic!("{name}: {e}"));
        let expected = authentication_of(&name);
        let wall = heard.hmac.map_or(Duration::ZERO, |trailer| trailer.moment.time());
        let verdict = authenticate(&heard, &datagram, &expected, &mut ReplayWindow::new(), wall);
        assert_eq!(verdict, Ok(None), "{name}");
        let sent = encode_like(&heard, &datagram, &expected, wall);
        assert_eq!(with_ip_checksum(sent), datagram.bytes, "{name}");
        count += 1;
    }
    assert_eq!(count, 53);
}

#[test]
fn advertisements_of_keepalived_are_decoded() {
    let heard = |name| decode(&vector(name)).unwrap();
    let v2 = heard("V2-3VIPS");
    assert_eq!(v2.advert.version, Version::V2);
    assert_eq!((v2.advert.vrid, v2.advert.priority, v2.advert.interval), (52, 100, Duration::from_secs(1)));
    let addresses: Vec<IpAddr> =
        [100, 101, 102].map(|last| IpAddr::V4(Ipv4Addr::new(10, 77, 0, last))).to_vec();
    assert_eq!(v2.advert.addresses, addresses);
    assert_eq!((v2.checksum, v2.authentication), (None, ReceivedAuthentication::None));
    assert_eq!(heard("V2-PRIO0").advert.priority, 0);
    assert_eq!(heard("V2-PASS").authentication, ReceivedAuthentication::Password(*b"s3cret\0\0"));
    assert_eq!(heard("V2-AH-2").authentication, ReceivedAuthentication::Header);
    assert_eq!(heard("V2-AH-2").sequence, Some(2));
    let v3 = heard("V3-IP4");
    assert_eq!((v3.advert.version, v3.advert.interval), (Version::V3, Duration::from_millis(250)));
    assert_eq!(v3.checksum, Some(Checksum::PseudoHeader));
    assert_eq!(heard("V3-IP4-NOPSEUDO").checksum, Some(Checksum::MessageOnly));
    let v6 = heard("V3-IP6");
    assert_eq!(v6.advert.addresses, ["fe80::56", "fd77::100"].map(|ip| ip.parse::<IpAddr>().unwrap()));
    assert!(v6.begins_link_local());
    assert!(!heard("V3-IP6-UNICAST").begins_link_local());
    let trailer = heard("HMAC-V2").hmac.unwrap();
    assert_eq!((trailer.key, trailer.moment.seconds, trailer.moment.counter), (1, 0x6b00_09cd, 0));
}

#[test]
fn a_packet_that_was_cut_is_refused_at_every_length() {
    for (name, datagram) in vectors() {
        for length in 0..datagram.bytes.len() {
            let cut = Datagram { bytes: datagram.bytes[..length].to_vec(), ..datagram.clone() };
            let why = decode(&cut).expect_err(&name).flaw;
            assert!(
                matches!(why, Flaw::Short { .. } | Flaw::Checksum | Flaw::Long { .. }),
                "{name}, {length} bytes: {why:?}"
            );
            // The same, with an IP header that tells the length there is.
            if datagram.source.is_ipv4() && length >= IPV4_HEADER {
                let mut honest = cut;
                write(&mut honest.bytes, 2, &(length as u16).to_be_bytes());
                // Without the whole of its signature it is a packet without signature.
                let unsigned = decode(&datagram).unwrap().message.end;
                assert_eq!(decode(&honest).is_ok(), length == unsigned, "{name}, {length} bytes");
            }
        }
    }
}

#[test]
fn padding_is_fine_and_surplus_is_not() {
    for (name, datagram) in vectors() {
        for surplus in 1..=28 {
            let mut padded = datagram.clone();
            padded.bytes.extend(std::iter::repeat_n(0, surplus));
            if datagram.source.is_ipv4() {
                let heard = decode(&padded).unwrap_or_else(|e| panic!("{name}: {e}"));
                assert_eq!(heard, decode(&datagram).unwrap(), "{name}");
                let total = padded.bytes.len() as u16;
                write(&mut padded.bytes, 2, &total.to_be_bytes());
            }
            assert!(matches!(decode(&padded).expect_err(&name).flaw, Flaw::Long { .. }), "{name}");
        }
    }
}

#[test]
fn options_of_ip_are_fine_and_fragments_are_not() {
    let plain = vector("V3-IP4");
    let mut optional = plain.clone();
    drop(optional.bytes.splice(IPV4_HEADER..IPV4_HEADER, [0x94, 4, 0, 0])); // router alert
    optional.bytes[0] = 0x46;
    optional.bytes[3] += 4;
    assert_eq!(decode(&optional).unwrap().advert, decode(&plain).unwrap().advert);
    for (at, bits) in [(6, 0x20), (6, 0x01), (7, 0x01)] {
        let mut piece = plain.clone();
        piece.bytes[at] |= bits;
        assert_eq!(decode(&piece).unwrap_err().flaw, Flaw::Fragment);
    }
    let mut whole = plain.clone();
    whole.bytes[6] |= 0x40;
    decode(&whole).unwrap();
    for (first, total) in [(0x65, 32), (0x44, 32), (0x45, 19), (0x4f, 32)] {
        let mut odd = plain.clone();
        odd.bytes[0] = first;
        odd.bytes[3] = total;
        assert_eq!(decode(&odd).unwrap_err().flaw, Flaw::IpHeader);
    }
}

/// A byte of the message is changed, and the checksum made right again.
#[test]
fn each_rule_of_receiving_has_its_own_words() {
    let cases: &[(&str, usize, u8, &str)] = &[
        ("V2-NOAUTH", 0, 0x41, "its version is 4, expected 2 or 3"),
        ("V2-NOAUTH", 0, 0x22, "its type is 2, expected 1 (advertisement)"),
        ("V2-NOAUTH", 1, 0, "its VRID is 0, expected 1 to 255"),
        ("V2-NOAUTH", 3, 2, "it is too short: 20 bytes, expected 24"),
        ("V2-NOAUTH", 3, 255, "it is too short: 20 bytes, expected 1036"),
        ("V2-NOAUTH", 3, 0, "it is too long: 20 bytes, expected 16"),
        ("V2-NOAUTH", 4, 3, "its authentication type is 3, expected 0, 1 or 2"),
        ("V2-NOAUTH", 4, 2, "its authentication header makes no sense"),
        ("V2-NOAUTH", 5, 0, "its advertisement interval is 0"),
        ("V3-IP4", 5, 0, "its advertisement interval is 0"),
        ("V3-IP6", 5, 0, "its advertisement interval is 0"),
        ("V3-IP6", 3, 1, "it is too long: 40 bytes, expected 24"),
        ("V2-AH", 4, 0, "its authentication header makes no sense"),
    ];
    for (name, at, value, words) in cases {
        let mut datagram = vector(name);
        let start = decode(&datagram).unwrap().message.start;
        datagram.bytes[start + at] = *value;
        mend(&mut datagram, start);
        let error = decode(&datagram).unwrap_err();
        assert_eq!(error.to_string(), *words, "{name}");
        assert_eq!(error.vrid, (*at != 1).then(|| vector(name).bytes[start + 1]), "{name}");
    }
    let mut wrong = vector("V2-NOAUTH");
    wrong.bytes[IPV4_HEADER + CHECKSUM_AT] ^= 1;
    assert_eq!(decode(&wrong).unwrap_err().to_string(), "its checksum is wrong");
    wrong.bytes[IPV4_HEADER + CHECKSUM_AT..][..2].fill(0);
    assert_eq!(decode(&wrong).unwrap_err().kind(), "checksum");
    let far = Datagram { hop_limit: 254, ..vector("V3-IP6") };
    assert_eq!(
        decode(&far).unwrap_err().to_string(),
        "its TTL is 254, expected 255: it comes from another network"
    );
    // A peer's hop limit is the instance's business.
    decode(&Datagram { hop_limit: 64, ..vector("V3-IP6-UNICAST") }).unwrap();
}

#[test]
fn reserved_bits_are_ignored_and_an_empty_list_is_the_instances_business() {
    let mut reserved = vector("V3-IP4");
    reserved.bytes[IPV4_HEADER + 4] |= 0xf0;
    mend(&mut reserved, IPV4_HEADER);
    assert_eq!(decode(&reserved).unwrap().advert, decode(&vector("V3-IP4")).unwrap().advert);
    let mut empty = vector("V3-IP4");
    empty.bytes.truncate(IPV4_HEADER + VRRP_HEADER);
    empty.bytes[3] -= 4;
    empty.bytes[IPV4_HEADER + 3] = 0;
    mend(&mut empty, IPV4_HEADER);
    assert!(decode(&empty).unwrap().advert.addresses.is_empty());
}

#[test]
fn every_kind_of_flaw_is_among_the_kinds() {
    for (name, datagram) in vectors() {
        for at in 0..datagram.bytes.len() {
            let mut changed = datagram.clone();
            changed.bytes[at] ^= 0x11;
            if let Err(error) = decode(&changed) {
                assert!(KINDS.contains(&error.kind()), "{name}: {error:?}");
            }
        }
    }
}

#[test]
fn other_authentication_is_refused() {
    let other_key = hmac(HmacMode::Enforce, &[7; 32]);
    let good_key = authentication_of("HMAC");
    let (password, header) =
        (Authentication::Password(*b"s3cret\0\0"), Authentication::Header(*b"s3cret\0\0"));
    let cases: &[(&str, &Authentication, &str)] = &[
        ("V2-PASS", &Authentication::None, "its authentication is a password (PASS), expected none"),
        ("V2-NOAUTH", &password, "its authentication is none, expected a password (PASS)"),
        ("V2-AH", &password, "its authentication is a header (AH), expected a password (PASS)"),
        ("V2-NOAUTH", &header, "its authentication is none, expected a header (AH)"),
        ("V2-PASS", &Authentication::Password(*b"s3cret\0!"), "its password (auth_pass) is another one"),
        (
            "V2-AH",
            &Authentication::Header(*b"secret\0\0"),
            "its authentication header was made with another auth_pass",
        ),
        ("HMAC-V2", &Authentication::None, "it is signed (auth_hmac), and no signature is expected"),
        ("V3-IP4", &good_key, "it is not signed, and a signature (auth_hmac) is expected"),
        ("HMAC-V3-IP6", &other_key, "its signature (auth_hmac) was made with another key"),
    ];
    for (name, expected, words) in cases {
        let datagram = vector(name);
        let heard = decode(&datagram).unwrap();
        let wall = heard.hmac.map_or(Duration::ZERO, |t| t.moment.time());
        let verdict = authenticate(&heard, &datagram, expected, &mut ReplayWindow::new(), wall);
        assert_eq!(verdict.unwrap_err().to_string(), *words, "{name}");
    }
}

#[test]
fn no_bit_of_an_authenticated_packet_can_be_changed() {
    for name in ["V2-AH", "HMAC-V2", "HMAC-V3-IP4", "HMAC-V3-IP6"] {
        let datagram = vector(name);
        let expected = authentication_of(name);
        let first = decode(&datagram).unwrap();
        let wall = first.hmac.map_or(Duration::ZERO, |t| t.moment.time());
        let begin = if name == "V2-AH" { 0 } else { first.message.start };
        for at in begin..datagram.bytes.len() {
            let mut changed = datagram.clone();
            changed.bytes[at] ^= 0x08;
            if at != first.message.start + CHECKSUM_AT && at != first.message.start + CHECKSUM_AT + 1 {
                mend(&mut changed, first.message.start);
            }
            let verdict = decode(&changed)
                .and_then(|heard| authenticate(&heard, &changed, &expected, &mut ReplayWindow::new(), wall));
            // Type of service, fragment flags and the IP header's checksum may change on the way.
            let is_mutable = name == "V2-AH" && [1, 6, 7, 10, 11].contains(&at);
            assert!(verdict.is_err() || is_mutable, "{name}: byte {at}");
        }
    }
}

#[test]
fn replayed_packets_are_refused() {
    let expected = authentication_of("V2-AH");
    let mut replay = ReplayWindow::new();
    let mut hear = |name: &str| {
        let datagram = vector(name);
        authenticate(&decode(&datagram).unwrap(), &datagram, &expected, &mut replay, Duration::ZERO)
    };
    assert_eq!(hear("V2-AH"), Ok(None));
    assert_eq!(hear("V2-AH-3"), Ok(None));
    let late = hear("V2-AH-2").unwrap_err();
    assert_eq!(late.flaw, Flaw::HeaderRepeated { has: 2, highest: 3 });
    assert_eq!(late.kind(), "replay");
    hear("V2-AH-3").unwrap_err();
    assert_eq!(hear("V2-AH-4"), Ok(None));
}

#[test]
fn a_signature_counts_within_its_window_of_time_and_in_monotonic_mode_once() {
    let datagram = vector("HMAC-V3-IP4");
    let heard = decode(&datagram).unwrap();
    let time = heard.hmac.unwrap().moment.time();
    let Authentication::Hmac(plain) = authentication_of("HMAC") else { unreachable!() };
    let monotonic = Authentication::Hmac(Arc::new(Hmac { is_monotonic: true, ..(*plain).clone() }));
    let plain = Authentication::Hmac(plain);
    let window = Duration::from_secs(5);
    let replay = &mut ReplayWindow::new();
    let mut at = |wall, how| authenticate(&heard, &datagram, how, replay, wall);
    assert_eq!(at(time + window, &plain), Ok(None));
    assert_eq!(at(time - window, &plain), Ok(None));
    let late = at(time + window * 2, &plain).unwrap_err();
    assert_eq!(late.to_string(), "it was signed 10 s before our clock: more than auth_hmac's time_window");
    let early = at(time - window * 2, &plain).unwrap_err();
    assert_eq!(early.to_string(), "it was signed 10 s after our clock: more than auth_hmac's time_window");
    assert_eq!(at(time, &monotonic).unwrap_err().flaw, Flaw::Repeated);
    let next = vector("HMAC-V3-IP4-2");
    let verdict =
        |replay: &mut _| authenticate(&decode(&next).unwrap(), &next, &monotonic, replay, time + window);
    assert_eq!(verdict(replay), Ok(None));
    assert_eq!(verdict(replay).unwrap_err().flaw, Flaw::Repeated);
}

#[test]
fn modes_say_what_becomes_of_bad_signatures() {
    use HmacMode::{Enforce, Permissive, ReceiveOnly};
    let verdict = |mode, key: &[u8], name: &str| {
        let datagram = vector(name);
        let heard = decode(&datagram).unwrap();
        let wall = heard.hmac.map_or(Duration::ZERO, |t| t.moment.time());
        let result = authenticate(&heard, &datagram, &hmac(mode, key), &mut ReplayWindow::new(), wall);
        result.map(|told| told.map(|t| t.flaw)).map_err(|e| e.flaw)
    };
    let (good, bad) = (key(), [1; 32]);
    assert_eq!(verdict(Enforce, &good, "V2-NOAUTH"), Err(Flaw::Unsigned));
    assert_eq!(verdict(Enforce, &bad, "HMAC-V2"), Err(Flaw::Signature));
    assert_eq!(verdict(Permissive, &good, "V2-NOAUTH"), Ok(Some(Flaw::Unsigned)));
    assert_eq!(verdict(Permissive, &bad, "HMAC-V2"), Ok(Some(Flaw::Signature)));
    assert_eq!(verdict(ReceiveOnly, &good, "V2-NOAUTH"), Ok(None));
    assert_eq!(verdict(ReceiveOnly, &bad, "HMAC-V2"), Err(Flaw::Signature));
    let heard = decode(&vector("V2-NOAUTH")).unwrap();
    let sent = encode_like(&heard, &vector("V2-NOAUTH"), &hmac(ReceiveOnly, &good), Duration::ZERO);
    assert_eq!(with_ip_checksum(sent), vector("V2-NOAUTH").bytes);
}

#[test]
fn counters_go_on_after_what_was_heard_and_never_back() {
    let mut counters = Counters::new();
    assert_eq!((counters.next_sequence(), counters.next_sequence()), (1, 2));
    counters.saw_sequence(40);
    counters.saw_sequence(7);
    assert_eq!(counters.next_sequence(), 41);
    let ids: Vec<u16> = (0..0x1_0001).map(|_| counters.next_identification()).collect();
    assert_eq!((ids[0], ids[0xfffe], ids[0xffff]), (1, 0xffff, 1));
    let second = Duration::from_secs(1_000_000);
    let mut last = Moment { seconds: 0, fraction: 0, counter: 0 };
    for back in [0, 0, 1, 900] {
        let moment = counters.next_moment(second - Duration::from_millis(back));
        assert!(moment > last, "{moment:?}");
        last = moment;
    }
    let earlier = counters.next_moment(second - Duration::from_secs(3600));
    assert_eq!((earlier.seconds, earlier.counter), (1_000_000 - 3600, 0));
}

#[test]
fn only_so_many_senders_are_remembered() {
    let mut replay = ReplayWindow::new();
    for last in 0..200u8 {
        replay.heard_sequence(Ipv4Addr::new(10, 0, 0, last).into(), 1);
        replay.heard_sequence(Ipv4Addr::new(10, 0, 0, 0).into(), 5);
    }
    assert_eq!(replay.sequence(Ipv4Addr::new(10, 0, 0, 0).into()), Some(5));
    assert_eq!(replay.sequence(Ipv4Addr::new(10, 0, 0, 199).into()), Some(1));
    assert_eq!(replay.sequence(Ipv4Addr::new(10, 0, 0, 1).into()), None);
}

proptest! {
    #[test]
    fn encoded_advertisements_decode_to_the_same(
        (advert, path) in advertisements(), form in prop_oneof![Just(Checksum::PseudoHeader), Just(Checksum::MessageOnly)],
        way in 0..4u8, secret in any::<[u8; 8]>(), wall in 0..u64::from(u32::MAX),
    ) {
        let authentication = match way {
            0 => Authentication::None,
            1 => Authentication::Password(secret),
            2 => Authentication::Header(secret),
            _ => hmac(HmacMode::Enforce, &[secret; 4].concat()),
        };
        let wall = Duration::from_secs(wall);
        let bytes = encode(&advert, &path, form, &authentication, &mut Counters::new(), wall);
        let protocol = match path.source {
            IpAddr::V4(_) => bytes[9],
            IpAddr::V6(_) => PROTOCOL,
        };
        let datagram = Datagram {
            link: LinkIndex(1), protocol, source: path.source, destination: path.destination,
            hop_limit: path.hop_limit, bytes,
        };
        let heard = decode(&datagram).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&heard.advert, &advert);
        let verdict = authenticate(&heard, &datagram, &authentication, &mut ReplayWindow::new(), wall);
        prop_assert_eq!(verdict, Ok(None));
        if let Some(seen) = heard.checksum {
            prop_assert_eq!(seen, form);
        }
    }
}

fn advertisements() -> impl Strategy<Value = (Advertisement, Path)> {
    let address = |is_ipv4: bool, bits: u128| match is_ipv4 {
        true => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        false => IpAddr::V6(Ipv6Addr::from_bits(bits)),
    };
    let v2 = (1..=255u64).prop_map(|s| (Version::V2, Duration::from_secs(s)));
    let v3 = (1..=4095u64).prop_map(|cs| (Version::V3, Duration::from_millis(10 * cs)));
    let list = proptest::collection::vec(any::<u128>(), 0..=255);
    let ends = (any::<u128>(), any::<u128>());
    (any::<bool>(), 1..=255u8, any::<u8>(), prop_oneof![v2, v3], list, ends).prop_map(
        move |(is_ipv4, vrid, priority, (version, interval), list, (source, destination))| {
            let addresses = list.into_iter().map(|bits| address(is_ipv4, bits)).collect();
            let (source, destination) = (address(is_ipv4, source), address(is_ipv4, destination));
            (
                Advertisement { version, vrid, priority, interval, addresses },
                Path { source, destination, hop_limit: 255 },
            )
        },
    )
}

/// The captured packets, as a raw socket shows them.
fn vectors() -> Vec<(String, Datagram)> {
    let lines = include_str!("vectors.txt").lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, text) = line.split_once(' ').unwrap();
            let frame: Vec<u8> = (0..text.len())
                .step_by(2)
                .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
                .collect();
            let packet = &frame[14..];
            let v6 = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&packet[at..at + 16]).unwrap());
            let v4 = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
            let datagram = match packet[0] >> 4 {
                4 => Datagram {
                    link: LinkIndex(2),
                    protocol: packet[9],
                    source: v4(12),
                    destination: v4(16),
                    hop_limit: packet[8],
                    bytes: packet.to_vec(),
                },
                _ => Datagram {
                    link: LinkIndex(2),
                    protocol: packet[6],
                    source: v6(8),
                    destination: v6(24),
                    hop_limit: packet[7],
                    bytes: packet[40..].to_vec(),
                },
            };
            (name.to_owned(), datagram)
        })
        .collect()
}

fn vector(name: &str) -> Datagram {
    vectors().into_iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no vector {name}")).1
}

/// What keepalived was set to when it sent that packet.
fn authentication_of(name: &str) -> Authentication {
    match name {
        _ if name.starts_with("V2-PASS") => Authentication::Password(*b"s3cret\0\0"),
        _ if name.starts_with("V2-AH") => Authentication::Header(*b"s3cret\0\0"),
        _ if name.starts_with("HMAC") => hmac(HmacMode::Enforce, &key()),
        _ => Authentication::None,
    }
}

fn key() -> [u8; 32] {
    std::array::from_fn(|i| i as u8)
}

fn hmac(mode: HmacMode, key: &[u8]) -> Authentication {
    Authentication::Hmac(Arc::new(Hmac {
        keys: BTreeMap::from([(1, key.to_vec())]),
        active: 1,
        window: Duration::from_secs(5),
        is_monotonic: false,
        mode,
    }))
}

/// Sends what was heard, with counters that have come as far as the sender's.
fn encode_like(heard: &Received, datagram: &Datagram, how: &Authentication, wall: Duration) -> Vec<u8> {
    let mut counters = Counters::new();
    if datagram.source.is_ipv4() {
        let wanted = u16::from_be_bytes([datagram.bytes[4], datagram.bytes[5]]);
        (1..wanted).for_each(|id| assert_eq!(counters.next_identification(), id));
    }
    counters.saw_sequence(heard.sequence.unwrap_or(1) - 1);
    let path =
        Path { source: datagram.source, destination: datagram.destination, hop_limit: datagram.hop_limit };
    let form = heard.checksum.unwrap_or(Checksum::PseudoHeader);
    encode(&heard.advert, &path, form, how, &mut counters, wall)
}

/// The IP header's checksum, which the kernel writes.
fn with_ip_checksum(mut packet: Vec<u8>) -> Vec<u8> {
    if packet.first() == Some(&0x45) {
        let sum = Sum::default().with(&packet[..IPV4_HEADER]).complement();
        write(&mut packet, 10, &sum.to_be_bytes());
    }
    packet
}

/// Makes the message's checksum right again.
fn mend(datagram: &mut Datagram, start: usize) {
    let is_ipv4 = datagram.source.is_ipv4();
    let (source, destination) = (datagram.source, datagram.destination);
    let message = &mut datagram.bytes[start..];
    message[CHECKSUM_AT..CHECKSUM_AT + 2].fill(0);
    let length = message.len();
    // Of a signed message on IPv4 the trailer is not covered.
    let count = usize::from(message[3]) * 4;
    let plain = VRRP_HEADER + count + if message[0] >> 4 == 2 { V2_DATA } else { 0 };
    let covered = if is_ipv4 && plain + 28 == length { plain } else { length };
    let path = Path { source, destination, hop_limit: 255 };
    let version = if message[0] >> 4 == 2 { Version::V2 } else { Version::V3 };
    write_checksum(message, covered, version, &path, Checksum::PseudoHeader);
}
