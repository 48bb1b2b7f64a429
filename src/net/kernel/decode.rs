//! The kernel's messages about links, addresses, routes and rules. No length in them is trusted.
//!
//! Unknown attributes are skipped. A route or rule of a kind that lvsd never makes is skipped.

use std::net::{IpAddr, Ipv4Addr};

use super::wire::*;
use crate::net::types::{
    HeldAddress, Hop, Link, LinkIndex, MacAddress, Neighbour, Prefix, Route, RouteKind, Rule, RuleAction,
};
use crate::netlink::attribute::{Attribute, Malformed, attributes, take_u16, take_u32};

const CUT: Malformed = Malformed("a message is shorter than its header");

/// Names the links of routes.
pub(super) type Name<'a> = &'a dyn Fn(LinkIndex) -> Option<String>;

/// A link with what only its making needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownLink {
    pub(super) link: Link,
    /// "macvlan".
    pub(super) kind: String,
    pub(super) alias: String,
    /// Mode of a macvlan.
    pub(super) mode: Option<u32>,
}

pub(super) fn link(payload: &[u8]) -> Result<ShownLink, Malformed> {
    let (hardware, index) = (take_u16(payload, 2)?, LinkIndex(take_u32(payload, 4)?));
    let flags = take_u32(payload, 8)?;
    let mut link = Link {
        index,
        name: String::new(),
        mac: None,
        is_up: flags & IFF_UP != 0,
        is_running: flags & (IFF_RUNNING | IFF_LOWER_UP) == IFF_RUNNING | IFF_LOWER_UP,
        is_loopback: flags & IFF_LOOPBACK != 0,
        is_silent: flags & IFF_NOARP != 0,
        mtu: 0,
        base: None,
        master: None,
        is_port: false,
    };
    let (mut kind, mut alias, mut mode, mut is_elsewhere) = (String::new(), String::new(), None, false);
    let mut is_of_vrf = false;
    for a in attributes(payload.get(LINK_HEADER..).ok_or(CUT)?) {
        let a = a?;
        match a.kind {
            IFLA_IFNAME => link.name = a.text(),
            IFLA_ADDRESS if hardware == ETHERNET => {
                link.mac = a.payload.first_chunk().copied().map(MacAddress)
            }
            IFLA_MTU => link.mtu = a.u32()?,
            IFLA_LINK => link.base = Some(LinkIndex(a.u32()?)).filter(|base| base.0 != 0),
            IFLA_MASTER => link.master = Some(LinkIndex(a.u32()?)).filter(|master| master.0 != 0),
            IFLA_LINK_NETNSID => is_elsewhere = true,
            IFLA_IFALIAS => alias = a.text(),
            IFLA_LINKINFO => {
                for a in attributes(a.payload) {
                    let a = a?;
                    match a.kind {
                        IFLA_INFO_KIND => kind = a.text(),
                        IFLA_INFO_SLAVE_KIND => is_of_vrf = a.text() == "vrf",
                        IFLA_INFO_DATA if kind == "macvlan" => {
                            for a in attributes(a.payload) {
                                let a = a?;
                                if a.kind == IFLA_MACVLAN_MODE {
                                    mode = Some(a.u32()?);
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if is_elsewhere {
        link.base = None;
    }
    // One of a switch in software without a kind of its own (Open vSwitch) is a port, too.
    link.is_port = link.master.is_some() && !is_of_vrf;
    Ok(ShownLink { link, kind, alias, mode })
}

/// An address with what only its comparison needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ShownAddress {
    pub(super) held: HeldAddress,
    /// The other end, or itself.
    pub(super) far: IpAddr,
    pub(super) label: Option<String>,
    pub(super) broadcast: Option<Ipv4Addr>,
    pub(super) flags: u32,
    /// Seconds; [`FOREVER`].
    pub(super) preferred: u32,
    pub(super) has_failed: bool,
}

/// An address; None when it is of another family.
pub(super) fn address(payload: &[u8]) -> Result<Option<ShownAddress>, Malformed> {
    let [family, length, flags, scope, ..] = *payload.first_chunk::<ADDRESS_HEADER>().ok_or(CUT)?;
    let link = LinkIndex(take_u32(payload, 4)?);
    let mut flags = u32::from(flags);
    let (mut local, mut far, mut label, mut broadcast, mut preferred) = (None, None, None, None, FOREVER);
    let mut protocol = 0;
    for a in attributes(payload.get(ADDRESS_HEADER..).ok_or(CUT)?) {
        let a = a?;
        match a.kind {
            IFA_LOCAL => local = ip(&a, family)?,
            IFA_ADDRESS => far = ip(&a, family)?,
            IFA_LABEL => label = Some(a.text()),
            IFA_BROADCAST if family == AF_INET => broadcast = Some(a.ipv4()?),
            IFA_CACHEINFO => preferred = a.u32()?,
            IFA_FLAGS => flags = a.u32()?,
            IFA_PROTO => protocol = a.u8()?,
            _ => {}
        }
    }
    let Some(near) = local.or(far) else { return Ok(None) };
    let is_tentative = flags & IFA_F_TENTATIVE != 0 && flags & IFA_F_OPTIMISTIC == 0;
    let has_failed = flags & IFA_F_DADFAILED != 0;
    let held = HeldAddress {
        link,
        prefix: Prefix { ip: near, length },
        scope,
        is_secondary: family == AF_INET && flags & IFA_F_SECONDARY != 0,
        is_unusable: has_failed || is_tentative,
        is_deprecated: flags & IFA_F_DEPRECATED != 0,
        // The bit of IFA_F_SECONDARY has another meaning there.
        is_temporary: family == AF_INET6 && flags & IFA_F_SECONDARY != 0,
        far: far.filter(|far| *far != near),
        protocol,
    };
    Ok(Some(ShownAddress { held, far: far.unwrap_or(near), label, broadcast, flags, preferred, has_failed }))
}

/// A neighbour; None when it is of another family, or its link-layer address is no Ethernet one or not known.
pub(super) fn neighbour(payload: &[u8]) -> Result<Option<Neighbour>, Malformed> {
    let (family, link) = (*payload.first().ok_or(CUT)?, LinkIndex(take_u32(payload, 4)?));
    let is_silent = take_u16(payload, 8)? & (NUD_SILENT | NUD_NOARP) != 0;
    let (mut far, mut mac) = (None, None);
    for a in attributes(payload.get(NEIGHBOUR_HEADER..).ok_or(CUT)?) {
        let a = a?;
        match a.kind {
            NDA_DST => far = ip(&a, family)?,
            NDA_LLADDR if a.payload.len() == 6 => mac = a.payload.first_chunk().copied().map(MacAddress),
            _ => {}
        }
    }
    Ok(far.zip(mac).filter(|_| !is_silent).map(|(ip, mac)| Neighbour { link, ip, mac }))
}

/// Where a route says which protocol it is of.
pub(super) const PROTOCOL_AT: usize = 5;

/// A route; None when it is of another family or kind, or only a cache's.
pub(super) fn route(payload: &[u8], name: Name<'_>) -> Result<Option<Route>, Malformed> {
    let [family, length, from_length, tos, table, protocol, scope, kind, onlink, ..] =
        *payload.first_chunk::<ROUTE_HEADER>().ok_or(CUT)?;
    let (Some(kind), Some(anywhere)) = (route_kind(kind), unspecified(family)) else { return Ok(None) };
    if take_u32(payload, 8)? & CLONED != 0 {
        return Ok(None);
    }
    let mut route = Route {
        kind,
        tos,
        table: u32::from(table),
        scope: Some(scope),
        protocol,
        ..Route::plain(Prefix { ip: anywhere, length }, Vec::new())
    };
    let mut hop = Hop { weight: 1, is_onlink: onlink & ONLINK != 0, ..Hop::default() };
    for a in attributes(payload.get(ROUTE_HEADER..).ok_or(CUT)?) {
        let a = a?;
        match a.kind {
            RTA_DST => route.destination.ip = ip(&a, family)?.unwrap_or(anywhere),
            RTA_SRC => route.from = ip(&a, family)?.map(|ip| Prefix { ip, length: from_length }),
            RTA_PREFSRC => route.source = ip(&a, family)?,
            RTA_TABLE => route.table = a.u32()?,
            RTA_PRIORITY => route.metric = Some(a.u32()?),
            RTA_METRICS => {
                for a in attributes(a.payload) {
                    let a = a?;
                    // One of them is a name (congestion control), and no number.
                    if a.payload.len() == 4 {
                        route.metrics.insert(a.kind, a.u32()?);
                    }
                }
            }
            RTA_MULTIPATH => route.hops = multipath(a.payload, family, name)?,
            RTA_OIF => hop.link = name(LinkIndex(a.u32()?)),
            RTA_GATEWAY => hop.via = ip(&a, family)?,
            RTA_VIA => hop.via = via(&a)?,
            _ => {}
        }
    }
    if route.hops.is_empty() && (hop.link.is_some() || hop.via.is_some()) {
        route.hops.push(hop);
    }
    Ok(Some(route))
}

fn multipath(mut rest: &[u8], family: u8, name: Name<'_>) -> Result<Vec<Hop>, Malformed> {
    let mut hops = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(take_u16(rest, 0)?);
        let whole = rest.get(..length).filter(|w| w.len() >= HOP_HEADER).ok_or(CUT)?;
        let [_, _, flags, weight, ..] = *whole.first_chunk::<HOP_HEADER>().ok_or(CUT)?;
        let mut hop = Hop {
            via: None,
            link: name(LinkIndex(take_u32(whole, 4)?)),
            weight: u16::from(weight).saturating_add(1),
            is_onlink: flags & ONLINK != 0,
        };
        for a in attributes(whole.get(HOP_HEADER..).ok_or(CUT)?) {
            let a = a?;
            match a.kind {
                RTA_GATEWAY => hop.via = ip(&a, family)?,
                RTA_VIA => hop.via = via(&a)?,
                _ => {}
            }
        }
        hops.push(hop);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(hops)
}

/// A rule; None when it is of another family or does something lvsd has no word for.
pub(super) fn rule(payload: &[u8]) -> Result<Option<Rule>, Malformed> {
    let [family, to_length, from_length, tos, table, _, _, action, ..] =
        *payload.first_chunk::<ROUTE_HEADER>().ok_or(CUT)?;
    if unspecified(family).is_none() {
        return Ok(None);
    }
    let mut rule = Rule {
        is_inverted: take_u32(payload, 8)? & INVERT != 0,
        tos,
        priority: Some(0),
        protocol: 0,
        ..Rule::plain(family == AF_INET6, RuleAction::Nop)
    };
    let (mut table, mut target, mut mark, mut mask) = (u32::from(table), 0, None, u32::MAX);
    let prefix = |a: &Attribute<'_>, length| Ok(ip(a, family)?.map(|ip| Prefix { ip, length }));
    let ports = |a: &Attribute<'_>| Ok(Some((take_u16(a.payload, 0)?, take_u16(a.payload, 2)?)));
    // "None of it" is -1.
    let number = |a: &Attribute<'_>| Ok(Some(a.u32()?).filter(|n| *n != u32::MAX));
    for a in attributes(payload.get(ROUTE_HEADER..).ok_or(CUT)?) {
        let a = a?;
        match a.kind {
            FRA_DST => rule.to = prefix(&a, to_length)?,
            FRA_SRC => rule.from = prefix(&a, from_length)?,
            FRA_IIFNAME => rule.input_link = Some(a.text()),
            FRA_OIFNAME => rule.output_link = Some(a.text()),
            FRA_PRIORITY => rule.priority = Some(a.u32()?),
            FRA_FWMARK => mark = Some(a.u32()?),
            FRA_FWMASK => mask = a.u32()?,
            FRA_TABLE => table = a.u32()?,
            FRA_PROTOCOL => rule.protocol = a.u8()?,
            FRA_GOTO => target = a.u32()?,
            FRA_UID_RANGE => rule.uids = Some((take_u32(a.payload, 0)?, take_u32(a.payload, 4)?)),
            FRA_IP_PROTO => rule.ip_protocol = Some(a.u8()?),
            FRA_SPORT_RANGE => rule.source_ports = ports(&a)?,
            FRA_DPORT_RANGE => rule.destination_ports = ports(&a)?,
            FRA_SUPPRESS_PREFIXLEN => rule.suppress_prefix_length = number(&a)?,
            FRA_SUPPRESS_IFGROUP => rule.suppress_group = number(&a)?,
            _ => {}
        }
    }
    rule.fwmark = mark.map(|mark| (mark, mask));
    rule.action = match action {
        1 => RuleAction::Table(table),
        2 => RuleAction::Goto(target),
        3 => RuleAction::Nop,
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => return Ok(None),
    };
    Ok(Some(rule))
}

fn ip(a: &Attribute<'_>, family: u8) -> Result<Option<IpAddr>, Malformed> {
    Ok(match family {
        AF_INET => Some(a.ipv4()?.into()),
        AF_INET6 => Some(a.ipv6()?.into()),
        _ => None,
    })
}

fn via(a: &Attribute<'_>) -> Result<Option<IpAddr>, Malformed> {
    let family = u8::try_from(take_u16(a.payload, 0)?).unwrap_or(AF_UNSPEC);
    ip(&Attribute { kind: a.kind, payload: a.payload.get(2..).ok_or(CUT)? }, family)
}

fn unspecified(family: u8) -> Option<IpAddr> {
    match family {
        AF_INET => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        AF_INET6 => Some(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED)),
        _ => None,
    }
}

fn route_kind(kind: u8) -> Option<RouteKind> {
    Some(match kind {
        1 => RouteKind::Unicast,
        2 => RouteKind::Local,
        3 => RouteKind::Broadcast,
        4 => RouteKind::Anycast,
        5 => RouteKind::Multicast,
        6 => RouteKind::Blackhole,
        7 => RouteKind::Unreachable,
        8 => RouteKind::Prohibit,
        9 => RouteKind::Throw,
        _ => return None,
    })
}
