//! What the wire carries, checked without a kernel: known bytes, round trips, hostile bytes.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{decode, encode, fuzz};
use crate::ipvs::backend::Op;
use crate::ipvs::scheduler::{SCHEDULERS, Scheduler};
use crate::ipvs::types::*;
use crate::netlink::request::Request;

#[test]
fn a_new_service_has_the_bytes_that_ipvs_tools_send() {
    let key = ServiceKey::Address { protocol: Protocol::Tcp, address: ip("10.0.0.1"), port: 80 };
    let service = Service {
        scheduler: Scheduler::new("sh").unwrap(),
        flags: ServiceFlags::SCHED2,
        persistence: Some(Persistence { timeout: 60, prefix: 32 }),
        persistence_engine: None,
    };
    #[rustfmt::skip]
    let expected = [
        0x01, 0x01, 0x00, 0x00, // NEW_SERVICE, version 1
        0x54, 0x00, 0x01, 0x80, // service, nested
        0x06, 0x00, 0x01, 0x00, 0x02, 0x00, 0x00, 0x00, // AF_INET
        0x06, 0x00, 0x02, 0x00, 0x06, 0x00, 0x00, 0x00, // TCP
        0x14, 0x00, 0x03, 0x00, 0x0a, 0x00, 0x00, 0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0x06, 0x00, 0x04, 0x00, 0x00, 0x50, 0x00, 0x00, // port 80
        0x07, 0x00, 0x06, 0x00, b's', b'h', 0x00, 0x00,
        0x0c, 0x00, 0x07, 0x00, 0x11, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, // PERSISTENT | SCHED2
        0x08, 0x00, 0x08, 0x00, 0x3c, 0x00, 0x00, 0x00, // 60 s
        0x08, 0x00, 0x09, 0x00, 0xff, 0xff, 0xff, 0xff, // /32
    ];
    assert_eq!(bytes(encode::operation(&Op::AddService(key, service)).unwrap()), expected);
}

#[test]
fn the_mask_of_a_persistent_ipv4_service_is_in_network_order() {
    let key = ServiceKey::Fwmark { family: Family::Inet, mark: 1 };
    let service = Service { persistence: Some(Persistence { timeout: 1, prefix: 20 }), ..plain() };
    let all = bytes(encode::operation(&Op::AddService(key, service)).unwrap());
    assert!(all.ends_with(&[0x08, 0x00, 0x09, 0x00, 0xff, 0xff, 0xf0, 0x00]), "{all:02x?}");
}

#[test]
fn what_the_wire_cannot_carry_is_refused_with_a_reason() {
    let key = ServiceKey::Fwmark { family: Family::Inet, mark: 1 };
    let engine = |name: &str| Service { persistence_engine: Some(name.into()), ..plain() };
    let prefix = Service { persistence: Some(Persistence { timeout: 1, prefix: 33 }), ..plain() };
    let unmarked = ServiceKey::Fwmark { family: Family::Inet, mark: 0 };
    for op in [
        Op::AddService(key, engine("s\0p")),
        Op::AddService(key, engine(&"x".repeat(100_000))),
        Op::SetService(key, prefix),
        Op::RemoveService(unmarked),
    ] {
        let refused = encode::operation(&op).unwrap_err();
        assert_eq!(refused.errno, rustix::io::Errno::INVAL.raw_os_error(), "{op:?}");
        assert!(!refused.text.is_empty());
    }
}

#[test]
fn flags_that_are_the_kernels_own_are_not_read() {
    let (_, service, _) = decode::service(&service_message(&[flags(0x3 | 0x8)])).unwrap().unwrap();
    assert_eq!(service.flags, ServiceFlags::SCHED1);
    assert_eq!(service.persistence, Some(Persistence { timeout: 300, prefix: 24 }));
}

#[test]
fn a_mask_that_is_no_prefix_equals_no_prefix_anyone_may_want() {
    let odd = attribute(9, &[255, 0, 255, 0]);
    let (_, service, _) = decode::service(&service_message(&[flags(1), odd])).unwrap().unwrap();
    assert_eq!(service.persistence.map(|p| p.prefix), Some(0));
}

#[test]
fn counters_are_read_from_the_64_bit_ones_and_else_from_the_old_ones() {
    let old = attribute(10, &[number32(1, 7), number32(2, 8), number64(4, 9)].concat());
    let new = attribute(12, &[number64(1, 1 << 40), number64(2, 2), number64(5, 3)].concat());
    let read = |extra: &[Vec<u8>]| {
        let (_, _, stats) = decode::service(&service_message(extra)).unwrap().unwrap();
        (stats.connections, stats.packets_in, stats.bytes_in, stats.bytes_out)
    };
    assert_eq!(read(&[flags(0), new.clone(), old.clone()]), (1 << 40, 2, 0, 3));
    assert_eq!(read(&[flags(0), old.clone(), new]), (1 << 40, 2, 0, 3));
    assert_eq!(read(&[flags(0), old]), (7, 8, 9, 0));
}

#[test]
fn a_strangers_service_of_another_protocol_or_family_is_left_out() {
    for (kind, value) in [(2, 50u16), (1, 7)] {
        let message = service_message(&[flags(0), attribute(kind, &value.to_ne_bytes())]);
        assert_eq!(decode::service(&message), Ok(None));
        assert_eq!(decode::service_key(&message), Ok(None));
    }
}

#[test]
fn a_strangers_forwarding_method_or_tunnel_equals_none_that_is_wanted() {
    for (method, tunnel) in [(5u32, 0u8), (7, 0), (2, 9)] {
        let message = destination_message(&[number32(3, method), attribute(13, &[tunnel])]);
        let (_, entry) = decode::destination(&message, Family::Inet).unwrap().unwrap();
        assert_eq!(entry.destination.forwarding, Forwarding::Bypass);
    }
}

#[test]
fn a_destination_without_a_family_has_its_services() {
    let (at, _) = decode::destination(&destination_message(&[]), Family::Inet).unwrap().unwrap();
    assert_eq!(at, "10.0.0.9:8080".parse::<SocketAddr>().unwrap());
    let (at, _) = decode::destination(&destination_message(&[]), Family::Inet6).unwrap().unwrap();
    assert_eq!(at, "[a00:9::]:8080".parse::<SocketAddr>().unwrap());
}

#[test]
fn live_connections_are_read() {
    let message = destination_message(&[number32(7, 5), number32(8, 6), number32(9, 7)]);
    let (_, entry) = decode::destination(&message, Family::Inet).unwrap().unwrap();
    assert_eq!(entry.connections, Connections { active: 5, inactive: 6, persistent: 7 });
}

#[test]
fn an_attribute_that_is_too_short_is_an_error_in_words() {
    let short = service_message(&[attribute(7, &[1])]);
    assert_eq!(
        decode::service(&short).unwrap_err().to_string(),
        "an attribute is shorter than its type says"
    );
    assert_eq!(decode::service(&[]).unwrap_err().to_string(), "an answer without what was asked for");
}

#[test]
fn version_and_table_size_are_read() {
    let message = [number32(1, 0x0001_0201), number32(2, 4096)].concat();
    assert_eq!(decode::info(&message), Ok(((1, 2, 1), 4096)));
}

proptest! {
    #[test]
    fn a_service_that_was_written_is_the_service_that_is_read(key in keys(), service in services()) {
        // A prefix is one of the key's family.
        let service = Service {
            persistence: service.persistence.map(|p| Persistence { prefix: p.prefix.min(key.family().host_prefix()), ..p }),
            ..service
        };
        for op in [Op::AddService(key, service.clone()), Op::SetService(key, service.clone())] {
            let read = decode::service(attributes_of(&encode_op(&op))).unwrap();
            prop_assert_eq!(read, Some((key, service.clone(), Stats::default())));
        }
        let question = bytes(encode::get_service(&key).unwrap());
        prop_assert_eq!(decode::service_key(attributes_of(&question)), Ok(Some(key)));
    }

    #[test]
    fn a_destination_that_was_written_is_the_destination_that_is_read(
        key in keys(), at in addresses(), destination in destinations(),
    ) {
        for op in [Op::AddDestination(key, at, destination), Op::SetDestination(key, at, destination)] {
            let message = encode_op(&op);
            let (read_at, entry) = decode::destination(attributes_of(&message), key.family()).unwrap().unwrap();
            prop_assert_eq!(read_at, at);
            prop_assert_eq!(entry.destination, destination);
            prop_assert_eq!(decode::service_key(attributes_of(&message)), Ok(Some(key)));
        }
    }

    #[test]
    fn a_sync_daemon_that_was_written_is_the_sync_daemon_that_is_read(daemon in sync_daemons()) {
        let message = encode_op(&Op::StartSync(daemon.clone()));
        prop_assert_eq!(decode::sync_daemon(attributes_of(&message)), Ok(Some(daemon)));
    }

    #[test]
    fn timeouts_that_were_written_are_the_timeouts_that_are_read(tcp: u32, tcp_fin: u32, udp: u32) {
        let all = Timeouts { tcp, tcp_fin, udp };
        prop_assert_eq!(decode::timeouts(attributes_of(&encode_op(&Op::SetTimeouts(all)))), Ok(all));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        fuzz::decode_everything(&message);
    }

    #[test]
    fn no_damage_to_an_answer_makes_a_decoder_panic(
        key in keys(), at in addresses(), destination in destinations(), service in services(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        for op in [Op::AddService(key, Service { persistence: None, ..service.clone() }), Op::AddDestination(key, at, destination)] {
            let mut message = attributes_of(&encode_op(&op)).to_vec();
            for (place, value) in &damage {
                let place = place.index(message.len());
                message[place] = *value;
            }
            fuzz::decode_everything(&message);
            fuzz::decode_everything(&message[..cut.index(message.len())]);
        }
    }
}

fn keys() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    let family = prop_oneof![Just(Family::Inet), Just(Family::Inet6)];
    prop_oneof![
        (protocol, any::<IpAddr>(), any::<u16>()).prop_map(|(protocol, address, port)| ServiceKey::Address {
            protocol,
            address,
            port
        }),
        (family, 1..=u32::MAX).prop_map(|(family, mark)| ServiceKey::Fwmark { family, mark }),
    ]
}

fn services() -> impl Strategy<Value = Service> {
    let persistence = (any::<u32>(), 1..=128u8).prop_map(|(timeout, prefix)| Persistence { timeout, prefix });
    (0..SCHEDULERS.len(), 0..=15u32, proptest::option::of(persistence), proptest::option::of("[a-z]{1,15}"))
        .prop_map(|(i, flags, persistence, persistence_engine)| Service {
            scheduler: Scheduler::new(SCHEDULERS[i].name).unwrap(),
            flags: ServiceFlags(flags << 2),
            persistence,
            persistence_engine,
        })
}

fn destinations() -> impl Strategy<Value = Destination> {
    let checksum =
        prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Checksum), Just(TunnelChecksum::Remote)];
    let forwarding = prop_oneof![
        Just(Forwarding::Nat),
        Just(Forwarding::Dr),
        Just(Forwarding::Local),
        Just(Forwarding::Bypass),
        Just(Forwarding::Tun(Tunnel::Ipip)),
        (any::<u16>(), checksum.clone())
            .prop_map(|(port, checksum)| Forwarding::Tun(Tunnel::Gue { port, checksum })),
        checksum.prop_map(|checksum| Forwarding::Tun(Tunnel::Gre { checksum })),
    ];
    (forwarding, any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
        |(forwarding, weight, upper_threshold, lower_threshold)| Destination {
            forwarding,
            weight,
            upper_threshold,
            lower_threshold,
        },
    )
}

fn sync_daemons() -> impl Strategy<Value = SyncDaemon> {
    let role = prop_oneof![Just(SyncRole::Master), Just(SyncRole::Backup)];
    let group = proptest::option::of(any::<IpAddr>());
    (
        role,
        "[a-z0-9.]{1,15}",
        any::<u8>(),
        any::<Option<u16>>(),
        group,
        any::<Option<u16>>(),
        any::<Option<u8>>(),
    )
        .prop_map(|(role, interface, sync_id, max_len, group, port, ttl)| SyncDaemon {
            role,
            interface,
            sync_id,
            max_len,
            group,
            port,
            ttl,
        })
}

fn addresses() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(address, port)| SocketAddr::new(address, port))
}

fn encode_op(op: &Op) -> Vec<u8> {
    bytes(encode::operation(op).unwrap())
}

fn bytes(request: Request) -> Vec<u8> {
    request.body().to_vec()
}

/// What follows the generic netlink header.
fn attributes_of(message: &[u8]) -> &[u8] {
    &message[4..]
}

fn plain() -> Service {
    Service {
        scheduler: Scheduler::new("rr").unwrap(),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}

/// A TCP service as the kernel reports one, followed by `extra` (the last of a kind counts).
fn service_message(extra: &[Vec<u8>]) -> Vec<u8> {
    let mut inner = [
        attribute(1, &2u16.to_ne_bytes()),
        attribute(2, &6u16.to_ne_bytes()),
        attribute(3, &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        attribute(4, &[0, 80]),
        attribute(6, b"wlc\0"),
        number32(8, 300),
        attribute(9, &[255, 255, 255, 0]),
        attribute(999, b"from a newer kernel"),
    ]
    .concat();
    inner.extend(extra.concat());
    attribute(0x8000 | 1, &inner)
}

/// A destination as an old kernel reports one, followed by `extra`.
fn destination_message(extra: &[Vec<u8>]) -> Vec<u8> {
    let mut inner = [
        attribute(1, &[10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        attribute(2, &8080u16.to_be_bytes()),
        number32(3, 3),
        number32(4, 1),
    ]
    .concat();
    inner.extend(extra.concat());
    attribute(0x8000 | 2, &inner)
}

fn flags(value: u32) -> Vec<u8> {
    attribute(7, &[value.to_ne_bytes(), [0xff; 4]].concat())
}

fn number32(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_ne_bytes())
}

fn number64(kind: u16, value: u64) -> Vec<u8> {
    attribute(kind, &value.to_ne_bytes())
}

fn attribute(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(payload.len() + 4).unwrap().to_ne_bytes().to_vec();
    all.extend(kind.to_ne_bytes());
    all.extend(payload);
    all.resize(all.len().next_multiple_of(4), 0);
    all
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}
