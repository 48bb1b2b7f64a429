//! Firewall marks for packets that arrive at a link: which tc filters its ingress should have, and the changes that lead
//! there from the filters it has.
//!
//! A packet to a service gets its mark, unless a peer sent it: the peer's filter comes after the service's and resets
//! the mark. Every filter passes the packet on to the next one, so filters of other programs decide as if ours were not
//! there. Pure: [`crate::net::kernel`] installs filters and reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::net::types::{Host, Link, LinkIndex, MacAddress};

/// The service that a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceAddress {
    /// Its IPv4 or IPv6 address.
    pub ip: IpAddr,
    /// 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// None: any port.
    pub port: Option<u16>,
}

/// A filter that sets the mark of packets to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkFilter {
    /// Only for frames from this neighbour; such a filter comes after those for all frames.
    pub from: Option<MacAddress>,
    /// Only for packets to this service.
    pub to: ServiceAddress,
    /// The mark they get; 0 resets it.
    pub mark: u32,
}

/// Packets to a service get a mark, unless a peer sent them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FwmarkRule {
    pub to: ServiceAddress,
    /// Never 0.
    pub mark: u32,
    /// Addresses of neighbours whose packets keep mark 0.
    pub peers: BTreeSet<IpAddr>,
}

/// The last known link-layer address of each neighbour.
pub(crate) type Neighbours = BTreeMap<(LinkIndex, IpAddr), MacAddress>;

/// A tc filter in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcFilter {
    pub priority: u16,
    /// Its protocol, as an Ethernet type.
    pub ether_type: u16,
    /// The kernel's number for it.
    pub handle: u32,
    /// None when it is no filter that lvsd would install.
    pub filter: Option<MarkFilter>,
}

/// A change to the filters of an ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterChange {
    Remove(TcFilter),
    Add(MarkFilter),
}

/// The links whose ingress may have filters.
pub(crate) fn eligible_links(host: &Host) -> impl Iterator<Item = &Link> {
    host.links.values().filter(|link| link.mac.is_some() && !link.is_loopback && !link.is_silent)
}

/// The filters that each link's ingress needs: those of every Ethernet link with an address. Clients of a routed VIP
/// come in at links whose networks do not include it, and a packet without its mark would be answered by this host
/// itself.
pub(crate) fn desired(
    host: &Host,
    neighbours: &Neighbours,
    rules: &[FwmarkRule],
) -> BTreeMap<LinkIndex, BTreeSet<MarkFilter>> {
    let mut desired: BTreeMap<LinkIndex, BTreeSet<MarkFilter>> = BTreeMap::new();
    for link in eligible_links(host) {
        if !host.addresses.iter().any(|held| held.link == link.index) {
            continue;
        }
        for rule in rules {
            let filters = desired.entry(link.index).or_default();
            filters.insert(MarkFilter { from: None, to: rule.to, mark: rule.mark });
            let macs = rule.peers.iter().filter_map(|ip| neighbours.get(&(link.index, *ip)));
            filters.extend(macs.map(|mac| MarkFilter { from: Some(*mac), to: rule.to, mark: 0 }));
        }
    }
    desired
}

/// Peers in a link's networks whose link-layer address is not known, so that no filter can recognise their frames.
pub(crate) fn unresolved_peers(
    host: &Host,
    neighbours: &Neighbours,
    rules: &[FwmarkRule],
) -> BTreeSet<(LinkIndex, IpAddr)> {
    let mut unresolved = BTreeSet::new();
    for link in eligible_links(host) {
        let is_of_link = |ip: &IpAddr| {
            host.addresses.iter().any(|held| held.link == link.index && held.prefix.contains(*ip))
        };
        let peers = rules.iter().flat_map(|rule| &rule.peers).filter(|ip| is_of_link(ip));
        unresolved.extend(peers.map(|ip| (link.index, *ip)).filter(|key| !neighbours.contains_key(key)));
    }
    unresolved
}

/// The changes from the installed filters to the desired ones, in an order that never lets a peer's packet be marked:
/// a peer's filter is added before the service's and removed after it. `keeps_unknown_peers`: filters of peers that are
/// in no rule any more stay, because one of them may be a peer whose link-layer address is not known at present.
pub fn changes(
    installed: &[TcFilter],
    desired: &BTreeSet<MarkFilter>,
    keeps_unknown_peers: bool,
) -> Vec<FilterChange> {
    let is_kept = |filter: &MarkFilter| {
        desired.contains(filter)
            || (keeps_unknown_peers
                && filter.from.is_some()
                && desired.iter().any(|other| other.to == filter.to && other.from.is_none()))
    };
    let mut present = BTreeSet::new();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for found in installed {
        match found.filter {
            // A second copy of one of ours is removed.
            Some(filter) if is_kept(&filter) && present.insert(filter) => {}
            Some(MarkFilter { from: Some(_), .. }) => last.push(FilterChange::Remove(*found)),
            _ => first.push(FilterChange::Remove(*found)),
        }
    }
    let (peers, services): (Vec<MarkFilter>, Vec<MarkFilter>) =
        desired.difference(&present).partition(|filter| filter.from.is_some());
    first.extend(peers.into_iter().map(FilterChange::Add));
    first.extend(services.into_iter().map(FilterChange::Add));
    first.append(&mut last);
    first
}

impl fmt::Display for ServiceAddress {
    /// `192.168.1.233:80 tcp`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = match self.protocol {
            6 => "tcp",
            17 => "udp",
            132 => "sctp",
            _ => "?",
        };
        write!(f, "{} {protocol}", std::net::SocketAddr::new(self.ip, self.port.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{HeldAddress, Prefix};

    const LAN: LinkIndex = LinkIndex(2);
    const STORAGE: LinkIndex = LinkIndex(3);

    #[test]
    fn packets_are_marked_wherever_clients_may_come_in_and_an_unresolved_peer_is_returned() {
        let host = host();
        let none = Neighbours::new();
        let desired_with = |lan: &[MarkFilter]| {
            BTreeMap::from([(LAN, lan.iter().copied().collect()), (STORAGE, BTreeSet::from([service(7)]))])
        };
        assert_eq!(desired(&host, &none, &[rule()]), desired_with(&[service(7)]));
        assert_eq!(unresolved_peers(&host, &none, &[rule()]), [(LAN, ip("192.168.1.131"))].into());
        let known = Neighbours::from([((LAN, ip("192.168.1.131")), mac(9))]);
        assert_eq!(desired(&host, &known, &[rule()]), desired_with(&[service(7), peer(9)]));
        assert_eq!(unresolved_peers(&host, &known, &[rule()]), BTreeSet::new());
        assert_eq!(desired(&host, &known, &[]), BTreeMap::new());
    }

    #[test]
    fn packets_to_a_routed_vip_are_marked_at_every_link_with_an_address() {
        let mut host = host();
        let far =
            FwmarkRule { to: ServiceAddress { ip: ip("10.9.9.9"), ..target() }, peers: [].into(), mark: 7 };
        let links = |host: &Host| -> Vec<LinkIndex> {
            desired(host, &Neighbours::new(), std::slice::from_ref(&far)).into_keys().collect()
        };
        assert_eq!(links(&host), [LAN, STORAGE]);
        host.addresses.retain(|held| held.link != STORAGE);
        assert_eq!(links(&host), [LAN], "a bridge's port, a bond's link");
    }

    #[test]
    fn no_change_leaves_a_peers_packets_marked() {
        let all = BTreeSet::from([service(7), peer(9)]);
        let installed: Vec<_> = [service(7), peer(9)].into_iter().zip(1..).map(found).collect();
        assert_eq!(changes(&[], &all, false), [FilterChange::Add(peer(9)), FilterChange::Add(service(7))]);
        assert_eq!(changes(&installed, &all, false), []);
        let removed = [FilterChange::Remove(installed[0]), FilterChange::Remove(installed[1])];
        assert_eq!(changes(&installed, &BTreeSet::new(), true), removed);
        // Another network card of the peer's: the new one is known before the old one is forgotten.
        let moved = BTreeSet::from([service(7), peer(10)]);
        assert_eq!(
            changes(&installed, &moved, false),
            [FilterChange::Add(peer(10)), FilterChange::Remove(installed[1])]
        );
    }

    #[test]
    fn a_mark_that_changes_is_taken_away_before_the_other_comes() {
        let installed = [found((service(7), 1))];
        let desired = BTreeSet::from([service(8)]);
        assert_eq!(
            changes(&installed, &desired, false),
            [FilterChange::Remove(installed[0]), FilterChange::Add(service(8))]
        );
    }

    #[test]
    fn a_foreign_filter_at_our_priority_goes_and_one_of_an_unknown_peer_stays_while_a_peer_is_unresolved() {
        let odd = TcFilter { filter: None, ..found((service(7), 5)) };
        let stranger = found((peer(11), 6));
        let twice = [found((service(7), 1)), found((service(7), 2)), odd, stranger];
        let desired = BTreeSet::from([service(7)]);
        assert_eq!(
            changes(&twice, &desired, true),
            [FilterChange::Remove(twice[1]), FilterChange::Remove(odd)]
        );
        assert_eq!(
            changes(&twice, &desired, false),
            [FilterChange::Remove(twice[1]), FilterChange::Remove(odd), FilterChange::Remove(stranger)]
        );
    }

    fn host() -> Host {
        let link = |index: LinkIndex, name: &str| Link {
            mac: Some(mac(1)),
            is_loopback: name == "lo",
            ..Link::plain(index, name)
        };
        let lo = LinkIndex(1);
        let links = [(lo, link(lo, "lo")), (LAN, link(LAN, "eth0")), (STORAGE, link(STORAGE, "eth1"))];
        let addresses =
            [held(lo, "192.168.1.233", 32), held(LAN, "192.168.1.129", 24), held(STORAGE, "10.0.0.1", 24)];
        Host { links: links.into(), addresses: addresses.into(), ..Host::default() }
    }

    fn held(link: LinkIndex, address: &str, length: u8) -> HeldAddress {
        let prefix = Prefix { ip: ip(address), length };
        HeldAddress::plain(link, prefix)
    }

    fn rule() -> FwmarkRule {
        FwmarkRule { to: target(), mark: 7, peers: [ip("192.168.1.131")].into() }
    }

    fn target() -> ServiceAddress {
        ServiceAddress { ip: ip("192.168.1.233"), protocol: 6, port: Some(80) }
    }

    fn service(mark: u32) -> MarkFilter {
        MarkFilter { from: None, to: target(), mark }
    }

    fn peer(last: u8) -> MarkFilter {
        MarkFilter { from: Some(mac(last)), to: target(), mark: 0 }
    }

    fn found((filter, handle): (MarkFilter, u32)) -> TcFilter {
        TcFilter { priority: 1, ether_type: 0x800, handle, filter: Some(filter) }
    }

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, last])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
