//! Links, addresses, routes and rules in the kernel's words: what a host has, and what is asked of it.
//!
//! Links are named in what is asked (an operator writes names) and numbered in what is seen (the kernel does).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

pub(crate) use super::held::HeldAddresses;
pub(crate) use super::links::Links;

/// The kernel's number of a link (ifindex); a link made anew has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkIndex(pub u32);

/// A link-layer address of Ethernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A link as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: LinkIndex,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its address; None when it is not an Ethernet one.
    pub mac: Option<MacAddress>,
    /// Switched on (IFF_UP).
    pub is_up: bool,
    /// Has a carrier (IFF_LOWER_UP and IFF_RUNNING).
    pub is_running: bool,
    pub is_loopback: bool,
    /// It sends and answers no ARP or ND (IFF_NOARP), like a dummy.
    pub is_silent: bool,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// The link below a macvlan or VLAN (IFLA_LINK), where it is in the same namespace.
    pub base: Option<LinkIndex>,
    /// The link it is enslaved to (IFLA_MASTER): a bridge, bond or team, whose port it is, or a VRF.
    pub master: Option<LinkIndex>,
    /// Its packets are its master's: any but a VRF takes them.
    pub is_port: bool,
}

impl Link {
    /// A link that works and is nothing special.
    #[cfg(any(test, feature = "internals"))]
    pub fn plain(index: LinkIndex, name: &str) -> Link {
        Link {
            index,
            name: name.to_owned(),
            mac: None,
            is_up: true,
            is_running: true,
            is_loopback: false,
            is_silent: false,
            mtu: 1500,
            base: None,
            master: None,
            is_port: false,
        }
    }

    /// Whether it can carry packets.
    pub fn is_working(&self) -> bool {
        self.is_up && self.is_running
    }
}

/// An address with the length of its network's prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// The address, host bits included.
    pub ip: IpAddr,
    /// 0 to 32, or to 128.
    pub length: u8,
}

impl Prefix {
    /// The address alone.
    pub fn host(ip: IpAddr) -> Prefix {
        Prefix { ip, length: if ip.is_ipv4() { 32 } else { 128 } }
    }

    /// The same without host bits.
    pub fn network(self) -> Prefix {
        let length = u32::from(self.length);
        let ip = match self.ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
                Ipv4Addr::from(ip.to_bits() & mask).into()
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
                Ipv6Addr::from(ip.to_bits() & mask).into()
            }
        };
        Prefix { ip, length: self.length }
    }

    /// Whether an address is of this network.
    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.ip.is_ipv4() && Prefix { ip, ..self }.network().ip == self.network().ip
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.length)
    }
}

/// An address to be had by a link (`virtual_ipaddress`, `static_ipaddress`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// The link's name.
    pub link: String,
    /// The address.
    pub prefix: Prefix,
    /// The other end (`peer`).
    pub peer: Option<Prefix>,
    /// `brd`; None: none.
    pub broadcast: Option<Ipv4Addr>,
    /// RT_SCOPE_*: 0 is global, 253 link, 254 host.
    pub scope: u8,
    /// `label`, at most 15 bytes; IPv4 only.
    pub label: Option<String>,
    /// Kernel's flags (IFA_F_*): NODAD 0x02, HOMEADDRESS 0x10, MANAGETEMPADDR 0x100, NOPREFIXROUTE 0x200,
    /// MCAUTOJOIN 0x400.
    pub flags: u32,
    /// Seconds it is preferred as a source; 0 is deprecated, None for ever.
    pub preferred_lifetime: Option<u32>,
}

impl Address {
    /// An address without further attributes; an IPv6 one is not looked for on the network first.
    #[cfg(any(test, feature = "internals"))]
    pub fn plain(link: &str, prefix: Prefix) -> Address {
        Address {
            link: link.to_owned(),
            prefix,
            peer: None,
            broadcast: None,
            scope: 0,
            label: None,
            flags: if prefix.ip.is_ipv6() { IFA_F_NODAD } else { 0 },
            preferred_lifetime: None,
        }
    }
}

/// What marks addresses, routes and rules as added by lvsd: RTPROT_KEEPALIVED, so that each finds what the other left.
pub const PROTOCOL: u8 = 18;

/// IFA_F_NODAD: an address that is not looked for on the network before it is used.
pub(crate) const IFA_F_NODAD: u32 = 0x02;

/// An address as the kernel shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldAddress {
    pub link: LinkIndex,
    pub prefix: Prefix,
    /// RT_SCOPE_*.
    pub scope: u8,
    /// Not the first of its network (IFA_F_SECONDARY); IPv4 only.
    pub is_secondary: bool,
    /// Another host has it (IFA_F_DADFAILED), or duplicate address detection is under way (IFA_F_TENTATIVE): it cannot
    /// be a source.
    pub is_unusable: bool,
    /// Not for new conversations (IFA_F_DEPRECATED): its preferred lifetime is over.
    pub is_deprecated: bool,
    /// Made for privacy, and replaced within a day (IFA_F_TEMPORARY); IPv6 only.
    pub is_temporary: bool,
    /// The other end of a link between two (IFA_ADDRESS), where it is not the address itself.
    pub far: Option<IpAddr>,
    /// Which program added it (IFA_PROTO): 0 where it did not say so, or the kernel (before 5.18) does not keep it.
    pub protocol: u8,
}

impl HeldAddress {
    /// An address that is nothing special.
    pub fn plain(link: LinkIndex, prefix: Prefix) -> HeldAddress {
        HeldAddress {
            link,
            prefix,
            scope: 0,
            is_secondary: false,
            is_unusable: false,
            is_deprecated: false,
            is_temporary: false,
            far: None,
            protocol: 0,
        }
    }

    /// Whether it carries the mark of lvsd, which is also that of newer keepaliveds.
    pub fn is_marked(&self) -> bool {
        self.protocol == PROTOCOL
    }

    /// Whether both are of one network, so that the first of them is the primary address (IPv4 only).
    pub fn shares_network(&self, other: &HeldAddress) -> bool {
        self.link == other.link && self.prefix.ip.is_ipv4() && self.network() == other.network()
    }

    /// The network it makes reachable on its link: the other end's, where there is one.
    pub fn network(&self) -> Prefix {
        Prefix { ip: self.far.unwrap_or(self.prefix.ip), length: self.prefix.length }.network()
    }
}

/// What a host has: read at the start, now and then, and whenever events were lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its links.
    pub links: Links,
    /// Its addresses.
    pub addresses: HeldAddresses,
    /// Its routes that carry one of the marks the reader asked for.
    pub routes: BTreeSet<Route>,
    /// Its rules, but for those every host has.
    pub rules: BTreeSet<Rule>,
}

impl Host {
    /// The link of that name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.named(name)
    }
}

/// A change of the host, told by the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// A link is there, or changed.
    Link(Link),
    /// A link went.
    LinkGone(LinkIndex),
    /// An address is there, or changed.
    Address(HeldAddress),
    /// An address went.
    AddressGone(HeldAddress),
    /// A route went: the reader looks up whether it was wanted.
    RouteGone(Route),
    /// A rule went.
    RuleGone(Rule),
    /// A neighbour was resolved; only from a watch that includes neighbours.
    Neighbour(Neighbour),
}

/// A neighbour as the kernel knows it: of one that went, or does not answer, nothing is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The link it is on.
    pub link: LinkIndex,
    pub ip: IpAddr,
    /// Its link-layer address.
    pub mac: MacAddress,
}

/// What a route does with a packet (RTN_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum RouteKind {
    Unicast,
    Local,
    Broadcast,
    Anycast,
    Multicast,
    Blackhole,
    Unreachable,
    Prohibit,
    Throw,
}

/// A route (`virtual_routes`, `static_routes`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// What it does.
    pub kind: RouteKind,
    /// Where to; `default` is a prefix of length 0, which also tells the family.
    pub destination: Prefix,
    /// From where (`from`); IPv6 only.
    pub from: Option<Prefix>,
    /// Source address of packets made here (`src`).
    pub source: Option<IpAddr>,
    /// `tos`.
    pub tos: u8,
    /// Routing table; 254 is main.
    pub table: u32,
    /// `metric`, `priority`, `preference`.
    pub metric: Option<u32>,
    /// RT_SCOPE_*; None: what the kind implies.
    pub scope: Option<u8>,
    /// RTPROT_*; keepalived's is 18.
    pub protocol: u8,
    /// Metrics by RTAX_* number: 2 mtu, 3 window, 4 rtt, 5 rttvar, 6 ssthresh, 7 cwnd, 8 advmss, 9 reordering,
    /// 10 hoplimit, 11 initcwnd, 12 features, 13 rto_min, 14 initrwnd, 15 quickack.
    pub metrics: BTreeMap<u16, u32>,
    /// One hop, or several of a multipath route; none for those that go nowhere.
    pub hops: Vec<Hop>,
}

impl Route {
    /// A route of the main table without further attributes.
    pub fn plain(destination: Prefix, hops: Vec<Hop>) -> Route {
        Route {
            kind: RouteKind::Unicast,
            destination,
            from: None,
            source: None,
            tos: 0,
            table: 254,
            metric: None,
            scope: None,
            protocol: PROTOCOL,
            metrics: BTreeMap::new(),
            hops,
        }
    }
}

/// A next hop.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    /// The gateway (`via`); may be IPv6 for an IPv4 route.
    pub via: Option<IpAddr>,
    /// The link's name (`dev`).
    pub link: Option<String>,
    /// 1 to 256; 0 is read as 1.
    pub weight: u16,
    /// `onlink`.
    pub is_onlink: bool,
}

/// A policy rule (`virtual_rules`, `static_rules`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// Of IPv6.
    pub is_ipv6: bool,
    /// `not`.
    pub is_inverted: bool,
    /// `from`.
    pub from: Option<Prefix>,
    /// `to`.
    pub to: Option<Prefix>,
    /// `tos`.
    pub tos: u8,
    /// `fwmark` with its mask.
    pub fwmark: Option<(u32, u32)>,
    /// `iif`.
    pub input_link: Option<String>,
    /// `oif`.
    pub output_link: Option<String>,
    /// `uidrange`.
    pub uids: Option<(u32, u32)>,
    /// `ipproto`.
    pub ip_protocol: Option<u8>,
    /// `sport`.
    pub source_ports: Option<(u16, u16)>,
    /// `dport`.
    pub destination_ports: Option<(u16, u16)>,
    /// `suppress_prefixlength`.
    pub suppress_prefix_length: Option<u32>,
    /// `suppress_ifgroup`.
    pub suppress_group: Option<u32>,
    /// `preference`, `priority`, `order`; None: given by the kernel.
    pub priority: Option<u32>,
    /// Which program added it (FRA_PROTOCOL); 0 where the kernel (before 4.17) does not say so.
    pub protocol: u8,
    /// What it does.
    pub action: RuleAction,
}

impl Rule {
    /// A rule for every packet.
    pub fn plain(is_ipv6: bool, action: RuleAction) -> Rule {
        Rule {
            is_ipv6,
            is_inverted: false,
            from: None,
            to: None,
            tos: 0,
            fwmark: None,
            input_link: None,
            output_link: None,
            uids: None,
            ip_protocol: None,
            source_ports: None,
            destination_ports: None,
            suppress_prefix_length: None,
            suppress_group: None,
            priority: None,
            protocol: PROTOCOL,
            action,
        }
    }
}

/// What a rule does with a packet (FR_ACT_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's words")]
pub enum RuleAction {
    Table(u32),
    Goto(u32),
    Nop,
    Blackhole,
    Unreachable,
    Prohibit,
}

/// A macvlan with a virtual router's MAC address (`use_vmac`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vmac {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The name of the link it sits on.
    pub base: String,
    /// 00:00:5e:00:01:VRID, or 00:00:5e:00:02:VRID for IPv6, unless the operator chose one.
    pub mac: [u8; 6],
    /// It carries IPv6.
    pub is_ipv6: bool,
}

/// A change asked of the kernel. Adding what is there and removing what is not are successes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "verb and object")]
pub enum Op {
    AddAddress(Arc<Address>),
    /// The same address of any other prefix length stays.
    RemoveAddress {
        link: LinkIndex,
        prefix: Prefix,
    },
    AddRoute(Arc<Route>),
    RemoveRoute(Arc<Route>),
    AddRule(Arc<Rule>),
    RemoveRule(Arc<Rule>),
    /// Makes the macvlan, its sysctls and those of its base, and switches it on.
    AddVmac(Arc<Vmac>),
    /// Removes it, and gives the base's sysctls back.
    RemoveVmac(Arc<Vmac>),
}

/// What the kernel did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which change.
    pub op: Op,
    /// Its error number; 0 when it did not answer.
    pub errno: i32,
    /// In words, with the kernel's own (extended acknowledgement) where it gave some.
    pub text: String,
}
