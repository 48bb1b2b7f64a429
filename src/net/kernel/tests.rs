//! What is written is what is read, without a kernel: a request and what the kernel shows have the same form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::net::types::{Address, Hop, MacAddress, Route, RouteKind, Rule, RuleAction};

proptest! {
    #[test]
    fn a_route_that_was_written_is_the_route_that_is_read(route in route()) {
        let request = encode::add_route(&route, false, &|name| name.strip_prefix("eth")?.parse().ok().map(LinkIndex)).unwrap();
        let read = decode::route(request.body(), &|index| Some(format!("eth{}", index.0))).unwrap().unwrap();
        prop_assert!(route.is_same(&read), "{route:?}\n{read:?}");
        prop_assert_eq!(route.canonical(), read);
    }

    #[test]
    fn a_rule_that_was_written_is_the_rule_that_is_read(rule in rule()) {
        let read = decode::rule(encode::add_rule(&rule).body()).unwrap().unwrap();
        prop_assert_eq!(rule.canonical(), read);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode::link(&bytes);
        let _ = decode::address(&bytes);
        let _ = decode::route(&bytes, &|_| None);
        let _ = decode::rule(&bytes);
    }

    #[test]
    fn no_damage_to_a_route_makes_a_decoder_panic(route in route(), at in any::<prop::sample::Index>(), byte: u8) {
        let request = encode::add_route(&route, false, &|_| Some(LinkIndex(7))).unwrap();
        let mut bytes = request.body().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = decode::route(&bytes, &|_| None);
        let _ = decode::route(&bytes[..at], &|_| None);
    }
}

#[test]
fn an_address_that_was_written_is_the_address_that_is_read() {
    let wanted = Address {
        broadcast: Some([10, 1, 0, 255].into()),
        scope: 253,
        label: Some("eth0:vip".into()),
        flags: 0x200,
        preferred_lifetime: Some(9),
        ..Address::plain("eth0", Prefix { ip: [10, 1, 0, 100].into(), length: 24 })
    };
    let request = encode::add_address(&wanted, LinkIndex(7), false).unwrap();
    let read = decode::address(request.body()).unwrap().unwrap();
    assert_eq!((read.held.link, read.held.prefix, read.held.scope), (LinkIndex(7), wanted.prefix, 253));
    assert_eq!((read.label, read.broadcast, read.preferred), (wanted.label, wanted.broadcast, 9));
    assert_eq!((read.flags, read.far, read.held.is_unusable), (0x200, wanted.prefix.ip, false));
    assert!(read.held.is_marked());
}

#[test]
fn an_ipv6_address_is_unusable_while_tentative_and_after_duplicate_detection_failed() {
    for (flags, is_unusable) in [(0x40_u32, true), (0x44, false), (0x48, true), (0x08, true), (0x80, false)] {
        let mut request = Request::new(20, 0, &[10, 128, 0, 0, 7, 0, 0, 0]);
        request.attribute(1_u16, &Ipv6Addr::LOCALHOST.octets()).number(8_u16, flags);
        let read = decode::address(request.body()).unwrap().unwrap();
        assert_eq!(read.held.is_unusable, is_unusable, "{flags:#x}");
    }
}

#[test]
fn a_base_in_another_namespace_is_none() {
    let mut header = [0; 16];
    header[2] = 1;
    header[4] = 9;
    header[8..12].copy_from_slice(&0x1_0043_u32.to_ne_bytes());
    let mut request = Request::new(16, 0, &header);
    request.text(3_u16, "eth0").attribute(1_u16, &[2, 0, 0, 0, 0, 1]).number(4_u16, 1500).number(5_u16, 14);
    let shown = decode::link(request.body()).unwrap().link;
    assert_eq!(
        (shown.base, shown.mac, shown.mtu),
        (Some(LinkIndex(14)), Some(MacAddress([2, 0, 0, 0, 0, 1])), 1500)
    );
    assert!(shown.is_working());
    request.number(37_u16, 0);
    assert_eq!(decode::link(request.body()).unwrap().link.base, None);
}

#[test]
fn errors_name_the_capability_or_the_kernels_reason() {
    assert!(in_words(1, None).contains("CAP_NET_ADMIN"));
    assert_eq!(
        in_words(101, Some("Nexthop has invalid gateway.")),
        "Nexthop has invalid gateway (network is unreachable)"
    );
    assert_eq!(in_words(17, None), "file exists");
}

fn ip(is_ipv6: bool) -> BoxedStrategy<IpAddr> {
    if is_ipv6 {
        any::<u128>().prop_map(|bits| Ipv6Addr::from(bits).into()).boxed()
    } else {
        any::<u32>().prop_map(|bits| Ipv4Addr::from(bits).into()).boxed()
    }
}

fn prefix(is_ipv6: bool) -> impl Strategy<Value = Prefix> {
    (ip(is_ipv6), 0..=if is_ipv6 { 128_u8 } else { 32 })
        .prop_map(|(ip, length)| Prefix { ip, length }.network())
}

fn hop(is_ipv6: bool) -> impl Strategy<Value = Hop> {
    let via = prop::option::of(prop_oneof![ip(is_ipv6), ip(true)]);
    (via, 0..90_u32, 1..=256_u16, any::<bool>()).prop_map(|(via, link, weight, is_onlink)| Hop {
        via,
        link: Some(format!("eth{link}")),
        weight,
        is_onlink,
    })
}

fn route() -> impl Strategy<Value = Route> {
    any::<bool>().prop_flat_map(|is_ipv6| {
        let plain = (
            prefix(is_ipv6),
            prop::option::of(ip(is_ipv6)),
            any::<u8>(),
            1..=u32::MAX,
            prop::option::of(any::<u32>()),
            prop::option::of(any::<u8>()),
            btree_map(1..=17_u16, any::<u32>(), 0..5),
            vec(hop(is_ipv6), 1..6),
            prop::sample::select(vec![
                RouteKind::Unicast,
                RouteKind::Local,
                RouteKind::Blackhole,
                RouteKind::Throw,
            ]),
        );
        plain.prop_map(|(destination, source, tos, table, metric, scope, metrics, hops, kind)| Route {
            kind,
            source,
            tos,
            table,
            metric,
            scope,
            metrics,
            ..Route::plain(destination, hops)
        })
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    any::<bool>().prop_flat_map(|is_ipv6| {
        let ports = || prop::option::of((any::<u16>(), any::<u16>()));
        let number = || prop::option::of(0..u32::MAX);
        let link = || prop::option::of("[a-z]{1,15}");
        let action = prop_oneof![
            (1..=u32::MAX).prop_map(RuleAction::Table),
            any::<u32>().prop_map(RuleAction::Goto),
            Just(RuleAction::Nop),
            Just(RuleAction::Prohibit)
        ];
        let networks = (prop::option::of(prefix(is_ipv6)), prop::option::of(prefix(is_ipv6)));
        let marks = (any::<bool>(), any::<u8>(), prop::option::of(any::<(u32, u32)>()));
        let who = (link(), link(), prop::option::of(any::<(u32, u32)>()), prop::option::of(any::<u8>()));
        let rest = (ports(), ports(), number(), number(), any::<u32>(), action);
        (networks, marks, who, rest).prop_map(move |(networks, marks, who, rest)| Rule {
            is_ipv6,
            is_inverted: marks.0,
            from: networks.0,
            to: networks.1,
            tos: marks.1,
            fwmark: marks.2,
            input_link: who.0,
            output_link: who.1,
            uids: who.2,
            ip_protocol: who.3,
            source_ports: rest.0,
            destination_ports: rest.1,
            suppress_prefix_length: rest.2,
            suppress_group: rest.3,
            priority: Some(rest.4),
            protocol: crate::net::types::PROTOCOL,
            action: rest.5,
        })
    })
}
