use std::sync::Arc;

use super::*;
use crate::net::types::Hop;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

#[test]
fn an_address_is_added_once_reported_and_removed() {
    let (mut host, eth0) = host();
    let add = Op::AddAddress(Arc::new(address("eth0", "10.1.0.100/32")));
    assert_eq!(host.apply(&[add.clone(), add.clone()]), []);
    let held = HeldAddress { protocol: 18, ..HeldAddress::plain(eth0, prefix("10.1.0.100/32")) };
    assert_eq!(host.take_events(), [HostEvent::Address(held)]);
    let remove = Op::RemoveAddress { link: eth0, prefix: prefix("10.1.0.100/32") };
    let other = Op::RemoveAddress { link: eth0, prefix: prefix("10.1.0.100/24") };
    assert_eq!(host.apply(&[other, remove.clone(), remove]), []);
    assert_eq!(host.take_events(), [HostEvent::AddressGone(held)]);
}

#[test]
fn a_refused_operation_stops_none_of_the_others() {
    let (mut host, _) = host();
    let bad = Op::AddAddress(Arc::new(address("eth9", "10.1.0.100/32")));
    let good = Op::AddAddress(Arc::new(address("eth0", "10.1.0.101/32")));
    let refused = host.apply(&[bad.clone(), good]);
    assert_eq!(refused.iter().map(|r| (&r.op, r.errno)).collect::<Vec<_>>(), [(&bad, 19)]);
    assert!(!host.holders("10.1.0.101".parse().unwrap()).is_empty());
}

#[test]
fn a_first_address_takes_the_others_with_it_unless_they_are_promoted() {
    for promotes in [true, false] {
        let (mut host, _) = host();
        host.set_promotes_secondaries(promotes);
        host.apply(&[Op::AddAddress(Arc::new(address("eth0", "10.1.0.100/24")))]);
        host.remove_address("eth0", prefix("10.1.0.11/24"));
        let left = host.host().addresses.iter().find(|held| held.prefix == prefix("10.1.0.100/24"));
        assert_eq!(left.map(|held| held.is_secondary), promotes.then_some(false));
    }
}

#[test]
fn a_link_that_is_switched_off_loses_its_ipv6_addresses_and_keeps_ipv4() {
    let (mut host, eth0) = host();
    host.apply(&[Op::AddAddress(Arc::new(address("eth0", "fd00:1::100/128")))]);
    host.set_up(eth0, false);
    assert!(host.holders("fd00:1::100".parse().unwrap()).is_empty());
    assert!(!host.holders("10.1.0.11".parse().unwrap()).is_empty());
    host.set_up(eth0, true);
    let is_local = |held: &HeldAddress| held.link == eth0 && is_link_local(held.prefix.ip);
    assert!(host.host().addresses.iter().any(is_local));
    host.set_running(eth0, false);
    assert!(host.host().addresses.iter().any(is_local));
}

#[test]
fn a_macvlan_shares_its_bases_fate_and_none_of_its_addresses() {
    let (mut host, eth0) = host();
    let vmac = Arc::new(Vmac {
        name: "vrrp6.51".into(),
        base: "eth0".into(),
        mac: [0, 0, 0x5e, 0, 2, 51],
        is_ipv6: true,
    });
    assert_eq!(host.apply(&[Op::AddVmac(vmac.clone()), Op::AddVmac(vmac.clone())]), []);
    let link = host.host().link("vrrp6.51").unwrap().clone();
    assert_eq!((link.mac, link.base, link.is_working()), (Some(MacAddress(vmac.mac)), Some(eth0), true));
    assert_eq!(host.holders("fe80::ff:fe00:1".parse().unwrap()), [eth0].into());
    host.set_running(eth0, false);
    assert!(!host.host().link("vrrp6.51").unwrap().is_working());
    host.remove_link(eth0);
    assert_eq!(host.host().link("vrrp6.51"), None);
    assert_eq!(host.apply(&[Op::RemoveVmac(vmac)]), []);
}

#[test]
fn a_foreign_link_of_a_macvlans_name_is_left_alone() {
    let (mut host, _) = host();
    host.add_link("vrrp.51", MAC);
    let vmac =
        Vmac { name: "vrrp.51".into(), base: "eth0".into(), mac: [0, 0, 0x5e, 0, 1, 51], is_ipv6: false };
    let refused = host.apply(&[Op::AddVmac(Arc::new(vmac.clone()))]);
    assert_eq!(refused.first().map(|r| r.errno), Some(17));
    host.apply(&[Op::RemoveVmac(Arc::new(vmac))]);
    assert!(host.host().link("vrrp.51").is_some());
}

#[test]
fn a_route_needs_its_source_first_and_goes_with_it() {
    let (mut host, eth0) = host();
    let route = Op::AddRoute(Arc::new(Route {
        source: Some("10.1.0.100".parse().unwrap()),
        ..Route::plain(
            prefix("10.9.0.0/16"),
            vec![Hop { via: Some("10.1.0.1".parse().unwrap()), ..Hop::default() }],
        )
    }));
    assert_eq!(host.apply(std::slice::from_ref(&route)).first().map(|r| r.errno), Some(22));
    let vip = Op::AddAddress(Arc::new(address("eth0", "10.1.0.100/32")));
    assert_eq!(host.apply(&[vip, route.clone(), route]), []);
    assert_eq!(host.routes().len(), 1);
    host.apply(&[Op::RemoveAddress { link: eth0, prefix: prefix("10.1.0.100/32") }]);
    assert_eq!(host.routes().len(), 0);
    assert!(
        !host.take_events().iter().any(|event| matches!(event, HostEvent::RouteGone(_))),
        "IPv4 says nothing"
    );
}

fn host() -> (MemoryHost, LinkIndex) {
    let mut host = MemoryHost::new();
    let eth0 = host.add_link("eth0", MAC);
    host.add_address("eth0", prefix("10.1.0.11/24"));
    host.take_events();
    (host, eth0)
}

fn prefix(text: &str) -> Prefix {
    let (ip, length) = text.split_once('/').unwrap();
    Prefix { ip: ip.parse().unwrap(), length: length.parse().unwrap() }
}

fn address(link: &str, text: &str) -> Address {
    Address::plain(link, prefix(text))
}
