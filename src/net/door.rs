//! Marks for what arrives at a link: which filters stand at which door, and what leads there from what stands there.
//!
//! A packet to a service gets its mark, unless a peer sent it: a peer's filter stands behind the service's and takes
//! the mark away again. Every filter lets the next one be asked, so those of others decide as if ours were not there.
//! Pure; [`super::kernel`] puts filters there and reads them, who wants packets marked knows why.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::types::{Host, Link, LinkIndex, MacAddress};

/// The service a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// Its address.
    pub ip: IpAddr,
    /// 6 TCP, 17 UDP, 132 SCTP.
    pub protocol: u8,
    /// Its port; None: any.
    pub port: Option<u16>,
}

/// A filter at a link's ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Filter {
    /// Of frames from this neighbour only; such a filter stands behind those of all frames.
    pub from: Option<MacAddress>,
    /// Of packets to this service.
    pub to: Target,
    /// The mark they get.
    pub mark: u32,
}

/// Packets to be marked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Marking {
    /// Packets to this service.
    pub to: Target,
    /// The mark they get, never 0.
    pub mark: u32,
    /// Unless one of these neighbours sent them.
    pub peers: BTreeSet<IpAddr>,
}

/// What a link's neighbour was last known by.
pub(crate) type Neighbours = BTreeMap<(LinkIndex, IpAddr), MacAddress>;

/// A filter that stands in one of our places, or whatever else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its priority, which says its place.
    pub priority: u16,
    /// Its protocol, as an Ethernet type.
    pub ether_type: u16,
    /// The kernel's name for it.
    pub handle: u32,
    /// What it is; None when it is nothing we would put there.
    pub filter: Option<Filter>,
}

/// A step from what stands at a door to what should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "verb and object")]
pub enum Step {
    Remove(Standing),
    Add(Filter),
}

/// The links that may have doors.
pub(crate) fn doors_of(host: &Host) -> impl Iterator<Item = &Link> {
    host.links.values().filter(|link| link.mac.is_some() && !link.is_loopback && !link.is_silent)
}

/// The filters each door needs: at every Ethernet link with an address. Clients of a routed VIP come in at links whose
/// networks know nothing of it, and a packet without its mark would be answered by this host itself.
pub(crate) fn wanted(
    host: &Host,
    neighbours: &Neighbours,
    markings: &[Marking],
) -> BTreeMap<LinkIndex, BTreeSet<Filter>> {
    let mut doors: BTreeMap<LinkIndex, BTreeSet<Filter>> = BTreeMap::new();
    for link in doors_of(host) {
        if !host.addresses.iter().any(|held| held.link == link.index) {
            continue;
        }
        for marking in markings {
            let door = doors.entry(link.index).or_default();
            door.insert(Filter { from: None, to: marking.to, mark: marking.mark });
            let macs = marking.peers.iter().filter_map(|ip| neighbours.get(&(link.index, *ip)));
            door.extend(macs.map(|mac| Filter { from: Some(*mac), to: marking.to, mark: 0 }));
        }
    }
    doors
}

/// Peers whose frames could not be told from others' at a link, because the neighbour is not known.
pub(crate) fn unknown(
    host: &Host,
    neighbours: &Neighbours,
    markings: &[Marking],
) -> BTreeSet<(LinkIndex, IpAddr)> {
    let mut unknown = BTreeSet::new();
    for link in doors_of(host) {
        let of_link = |ip: &IpAddr| {
            host.addresses.iter().any(|held| held.link == link.index && held.prefix.contains(*ip))
        };
        let peers = markings.iter().flat_map(|marking| &marking.peers).filter(|ip| of_link(ip));
        unknown.extend(peers.map(|ip| (link.index, *ip)).filter(|key| !neighbours.contains_key(key)));
    }
    unknown
}

/// The steps from what stands at a door to what should. What would let a peer's packets be marked comes last on the
/// way in and first on the way out. `keeps_strangers`: peers' filters stay whose frames' senders nobody knows, as long
/// as somebody is not known.
pub fn steps(standing: &[Standing], wanted: &BTreeSet<Filter>, keeps_strangers: bool) -> Vec<Step> {
    let is_kept = |filter: &Filter| {
        wanted.contains(filter)
            || (keeps_strangers
                && filter.from.is_some()
                && wanted.iter().any(|other| other.to == filter.to && other.from.is_none()))
    };
    let mut there = BTreeSet::new();
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for found in standing {
        match found.filter {
            // The same twice, where somebody has copied ours.
            Some(filter) if is_kept(&filter) && there.insert(filter) => {}
            Some(Filter { from: Some(_), .. }) => last.push(Step::Remove(*found)),
            _ => first.push(Step::Remove(*found)),
        }
    }
    let (peers, services): (Vec<Filter>, Vec<Filter>) =
        wanted.difference(&there).partition(|filter| filter.from.is_some());
    first.extend(peers.into_iter().map(Step::Add));
    first.extend(services.into_iter().map(Step::Add));
    first.append(&mut last);
    first
}

impl fmt::Display for Target {
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
    fn packets_are_marked_wherever_clients_may_come_in_and_an_unknown_peer_is_named() {
        let host = host();
        let none = Neighbours::new();
        let doors = |lan: &[Filter]| {
            BTreeMap::from([(LAN, lan.iter().copied().collect()), (STORAGE, BTreeSet::from([service(7)]))])
        };
        assert_eq!(wanted(&host, &none, &[marking()]), doors(&[service(7)]));
        assert_eq!(unknown(&host, &none, &[marking()]), [(LAN, ip("192.168.1.131"))].into());
        let known = Neighbours::from([((LAN, ip("192.168.1.131")), mac(9))]);
        assert_eq!(wanted(&host, &known, &[marking()]), doors(&[service(7), peer(9)]));
        assert_eq!(unknown(&host, &known, &[marking()]), BTreeSet::new());
        assert_eq!(wanted(&host, &known, &[]), BTreeMap::new());
    }

    #[test]
    fn a_routed_vip_is_expected_at_every_link_with_an_address() {
        let mut host = host();
        let far = Marking { to: Target { ip: ip("10.9.9.9"), ..target() }, peers: [].into(), mark: 7 };
        let links = |host: &Host| -> Vec<LinkIndex> {
            wanted(host, &Neighbours::new(), std::slice::from_ref(&far)).into_keys().collect()
        };
        assert_eq!(links(&host), [LAN, STORAGE]);
        host.addresses.retain(|held| held.link != STORAGE);
        assert_eq!(links(&host), [LAN], "a bridge's port, a bond's link");
    }

    #[test]
    fn no_step_leaves_a_peers_packets_marked() {
        let all = BTreeSet::from([service(7), peer(9)]);
        let standing: Vec<_> = [service(7), peer(9)].into_iter().zip(1..).map(found).collect();
        assert_eq!(steps(&[], &all, false), [Step::Add(peer(9)), Step::Add(service(7))]);
        assert_eq!(steps(&standing, &all, false), []);
        let removed = [Step::Remove(standing[0]), Step::Remove(standing[1])];
        assert_eq!(steps(&standing, &BTreeSet::new(), true), removed);
        // Another network card of the peer's: the new one is known before the old one is forgotten.
        let moved = BTreeSet::from([service(7), peer(10)]);
        assert_eq!(steps(&standing, &moved, false), [Step::Add(peer(10)), Step::Remove(standing[1])]);
    }

    #[test]
    fn a_mark_that_changes_is_taken_away_before_the_other_comes() {
        let standing = [found((service(7), 1))];
        let wanted = BTreeSet::from([service(8)]);
        assert_eq!(steps(&standing, &wanted, false), [Step::Remove(standing[0]), Step::Add(service(8))]);
    }

    #[test]
    fn what_is_not_ours_in_our_place_goes_and_a_stranger_stays_while_a_peer_is_unknown() {
        let odd = Standing { filter: None, ..found((service(7), 5)) };
        let stranger = found((peer(11), 6));
        let twice = [found((service(7), 1)), found((service(7), 2)), odd, stranger];
        let wanted = BTreeSet::from([service(7)]);
        assert_eq!(steps(&twice, &wanted, true), [Step::Remove(twice[1]), Step::Remove(odd)]);
        assert_eq!(
            steps(&twice, &wanted, false),
            [Step::Remove(twice[1]), Step::Remove(odd), Step::Remove(stranger)]
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

    fn marking() -> Marking {
        Marking { to: target(), mark: 7, peers: [ip("192.168.1.131")].into() }
    }

    fn target() -> Target {
        Target { ip: ip("192.168.1.233"), protocol: 6, port: Some(80) }
    }

    fn service(mark: u32) -> Filter {
        Filter { from: None, to: target(), mark }
    }

    fn peer(last: u8) -> Filter {
        Filter { from: Some(mac(last)), to: target(), mark: 0 }
    }

    fn found((filter, handle): (Filter, u32)) -> Standing {
        Standing { priority: 1, ether_type: 0x800, handle, filter: Some(filter) }
    }

    fn mac(last: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, last])
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
