//! From which address a check leaves, so that the real server does not take it for its own packet.
//!
//! A real server of DR or TUN has the VIP itself and drops what comes from it. Where this host holds the VIP, the kernel
//! may choose it as the source (an IPv6 VIP that is not deprecated, an IPv4 VIP in the real server's network where this
//! host has no other address), and then every check fails on whichever director is active. The kernel's choice stands
//! unless it is such a VIP: it knows the routes. Pure; the prober asks the kernel for its choice.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// This host's addresses, as far as checks of DR and TUN are concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// VIPs of services that forward by DR or TUN.
    pub vips: Arc<BTreeSet<IpAddr>>,
    /// Addresses that come and go with a virtual router: the last choice, and none where services by firewall mark
    /// forward by DR or TUN, since their VIPs are among these.
    pub floating: BTreeSet<IpAddr>,
    /// Whether they are none.
    pub avoids_floating: bool,
    /// Its addresses, each with its link.
    pub own: BTreeSet<(IpAddr, u32)>,
}

impl Sources {
    /// Whether the kernel could choose an address that it must not.
    pub fn are_needed(&self) -> bool {
        self.own.iter().any(|(ip, _)| self.is_forbidden(*ip))
    }

    /// Whether real servers may have this address, too.
    pub fn is_forbidden(&self, ip: IpAddr) -> bool {
        self.vips.contains(&ip) || (self.avoids_floating && self.floating.contains(&ip))
    }

    /// The address to use towards `target` instead of a VIP that the kernel chose: one of the link the VIP is on, then
    /// the one most alike the target. None when this host has no other.
    pub fn instead_of(&self, chosen: IpAddr, target: IpAddr) -> Option<IpAddr> {
        let links: BTreeSet<u32> =
            self.own.iter().filter(|(ip, _)| *ip == chosen).map(|(_, link)| *link).collect();
        let is_usable = |ip: IpAddr| {
            let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            ip.is_ipv4() == target.is_ipv4() && !is_link_local && !self.is_forbidden(ip)
        };
        let usable = self.own.iter().filter(|(ip, _)| is_usable(*ip));
        let rank = |(ip, link): &&(IpAddr, u32)| {
            (self.floating.contains(ip), !links.contains(link), distance(*ip, target))
        };
        usable.min_by_key(rank).map(|(ip, _)| *ip)
    }
}

/// How little two addresses of one family have in common: smaller when more leading bits are the same.
pub(crate) fn distance(one: IpAddr, other: IpAddr) -> u128 {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => u128::from(ip),
    };
    bits(one) ^ bits(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_replaced_by_an_own_address_of_its_link_and_then_by_the_nearest() {
        let own = [("10.1.0.100", 2), ("10.1.0.11", 2), ("10.9.0.1", 3), ("192.168.7.1", 4)];
        let sources = of(&["10.1.0.100"], &own);
        let instead =
            |target: &str| sources.instead_of(ip("10.1.0.100"), ip(target)).map(|ip| ip.to_string());
        assert!(sources.are_needed());
        assert_eq!(instead("10.1.0.21").as_deref(), Some("10.1.0.11"));
        // Behind a router the link counts more than the likeness: its routers know this link's addresses.
        assert_eq!(instead("10.9.5.21").as_deref(), Some("10.1.0.11"));
        // A VIP on a link of its own (a virtual MAC): the nearest.
        let own = [("10.1.0.100", 9), ("10.1.0.11", 2), ("10.9.0.1", 3)];
        let sources = of(&["10.1.0.100"], &own);
        assert_eq!(sources.instead_of(ip("10.1.0.100"), ip("10.9.5.21")), Some(ip("10.9.0.1")));
    }

    #[test]
    fn neither_another_vip_nor_a_link_local_address_nor_the_other_family_takes_its_place() {
        let own =
            [("fd00:1::100", 2), ("fd00:1::101", 2), ("fe80::1", 2), ("10.1.0.11", 2), ("fd00:9::1", 3)];
        let mut sources = of(&["fd00:1::100", "fd00:1::101"], &own);
        assert_eq!(sources.instead_of(ip("fd00:1::100"), ip("fd00:1::21")), Some(ip("fd00:9::1")));
        sources.own.retain(|(_, link)| *link == 2);
        assert_eq!(sources.instead_of(ip("fd00:1::100"), ip("fd00:1::21")), None);
    }

    #[test]
    fn an_address_that_floats_is_the_last_choice_and_none_where_a_service_by_mark_may_have_it() {
        let own = [("10.1.0.100", 2), ("10.1.0.11", 3), ("10.1.0.20", 2)];
        let mut sources = of(&["10.1.0.100"], &own);
        sources.floating = ["10.1.0.100", "10.1.0.20"].map(ip).into();
        let instead = |sources: &Sources| {
            sources.instead_of(ip("10.1.0.100"), ip("10.1.0.21")).map(|ip| ip.to_string())
        };
        assert_eq!(instead(&sources).as_deref(), Some("10.1.0.11"));
        sources.own.remove(&(ip("10.1.0.11"), 3));
        assert_eq!(instead(&sources).as_deref(), Some("10.1.0.20"));
        sources.avoids_floating = true;
        assert_eq!(instead(&sources), None);
    }

    #[test]
    fn without_a_vip_of_its_own_a_host_needs_no_care() {
        assert!(!of(&["10.1.0.100"], &[("10.1.0.11", 2)]).are_needed());
    }

    fn of(vips: &[&str], own: &[(&str, u32)]) -> Sources {
        Sources {
            vips: Arc::new(vips.iter().map(|text| ip(text)).collect()),
            own: own.iter().map(|(text, link)| (ip(text), *link)).collect(),
            ..Sources::default()
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
