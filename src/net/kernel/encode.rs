//! Operations into rtnetlink messages.
//!
//! A value that the kernel has no field for is refused here; every other judgement is the kernel's.

use std::net::IpAddr;

use rustix::io::Errno;

use super::wire::*;
use crate::net::types::{Address, Hop, LinkIndex, PROTOCOL, Prefix, Route, RouteKind, Rule, RuleAction};
use crate::netlink::request::{CREATE, DUMP, EXCLUSIVE, REPLACE, Request};

/// Finds the number of a link by its name.
pub(super) type Find<'a> = &'a dyn Fn(&str) -> Option<LinkIndex>;

/// A request that cannot be made: errno and words.
pub(super) type Unspeakable = (i32, String);

/// Bytes of a name (IFNAMSIZ less the NUL).
const NAME_LIMIT: usize = 15;

pub(super) fn all_links() -> Request {
    Request::new(GET_LINK, DUMP, &[0; LINK_HEADER])
}

pub(super) fn all_addresses() -> Request {
    Request::new(GET_ADDRESS, DUMP, &[0; ADDRESS_HEADER])
}

pub(super) fn all_neighbours() -> Request {
    Request::new(GET_NEIGHBOUR, DUMP, &[0; NEIGHBOUR_HEADER])
}

/// A neighbour is looked up, as if a packet went to it.
pub(super) fn look_up(link: LinkIndex, ip: IpAddr) -> Request {
    let [a, b, c, d] = link.0.to_ne_bytes();
    let header = [family(ip), 0, 0, 0, a, b, c, d, 0, 0, NTF_USE, 0];
    let mut request = Request::new(NEW_NEIGHBOUR, CREATE, &header);
    request.attribute(NDA_DST, &bytes(ip));
    request
}

/// A neighbour is forgotten.
pub(super) fn forget_neighbour(link: LinkIndex, ip: IpAddr) -> Request {
    let [a, b, c, d] = link.0.to_ne_bytes();
    let mut request = Request::new(DELETE_NEIGHBOUR, 0, &[family(ip), 0, 0, 0, a, b, c, d, 0, 0, 0, 0]);
    request.attribute(NDA_DST, &bytes(ip));
    request
}

/// The routes of a family that carry a protocol's number, in all tables.
pub(super) fn routes_of(is_ipv6: bool, protocol: u8) -> Request {
    let mut header = [0; ROUTE_HEADER];
    header[0] = if is_ipv6 { AF_INET6 } else { AF_INET };
    header[5] = protocol;
    Request::new(GET_ROUTE, DUMP, &header)
}

/// The rules of a family.
pub(super) fn rules_of(is_ipv6: bool) -> Request {
    let mut header = [0; ROUTE_HEADER];
    header[0] = if is_ipv6 { AF_INET6 } else { AF_INET };
    Request::new(GET_RULE, DUMP, &header)
}

/// The routes of a family, table and kind.
pub(super) fn routes_like(route: &Route) -> Request {
    let mut header = [0; ROUTE_HEADER];
    header[0] = family(route.destination.ip);
    header[7] = kind(route.kind);
    let mut request = Request::new(GET_ROUTE, DUMP, &header);
    request.number(RTA_TABLE, route.canonical().table);
    request
}

/// An address; `replaces` changes lifetimes and IPv6 flags of one that is there.
pub(super) fn add_address(a: &Address, link: LinkIndex, replaces: bool) -> Result<Request, Unspeakable> {
    let ip = a.prefix.ip;
    let far = a.peer.unwrap_or(a.prefix);
    if a.label.as_ref().is_some_and(|label| label.len() > NAME_LIMIT || label.contains('\0')) {
        return Err((Errno::RANGE.raw_os_error(), "a label has at most 15 bytes".into()));
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return Err((Errno::INVAL.raw_os_error(), format!("{} is no address for a link", a.prefix)));
    }
    let flags = CREATE | if replaces { REPLACE } else { EXCLUSIVE };
    let mut request = Request::new(NEW_ADDRESS, flags, &address_header(ip, far.length, a.scope, link));
    request.attribute(IFA_LOCAL, &bytes(ip)).attribute(IFA_ADDRESS, &bytes(far.ip));
    if ip.is_ipv4() {
        request.attribute(IFA_BROADCAST, &a.broadcast.map(|b| b.octets()).unwrap_or_default());
        request.text(IFA_LABEL, a.label.as_deref().unwrap_or(&a.link));
    }
    request.number(IFA_FLAGS, a.flags).attribute(IFA_PROTO, &[PROTOCOL]);
    if let Some(preferred) = a.preferred_lifetime {
        let lifetimes: Vec<u8> = [preferred, FOREVER, 0, 0].iter().flat_map(|n| n.to_ne_bytes()).collect();
        request.attribute(IFA_CACHEINFO, &lifetimes);
    }
    Ok(request)
}

/// An address goes; `far` is its other end, or itself.
pub(super) fn remove_address(link: LinkIndex, prefix: Prefix, far: IpAddr) -> Request {
    let header = address_header(prefix.ip, prefix.length, 0, link);
    let mut request = Request::new(DELETE_ADDRESS, 0, &header);
    request.attribute(IFA_LOCAL, &bytes(prefix.ip)).attribute(IFA_ADDRESS, &bytes(far));
    request
}

/// Removes an address, with any peer address: IPv4 is found by the address alone, IPv6 by its prefix length, too.
pub(super) fn remove_any_address(link: LinkIndex, prefix: Prefix) -> Request {
    let mut request = Request::new(DELETE_ADDRESS, 0, &address_header(prefix.ip, prefix.length, 0, link));
    request.attribute(IFA_LOCAL, &bytes(prefix.ip));
    request
}

/// A route comes, or takes the place of the one with its metric.
pub(super) fn add_route(route: &Route, replaces: bool, find: Find<'_>) -> Result<Request, Unspeakable> {
    self::route(NEW_ROUTE, CREATE | if replaces { REPLACE } else { EXCLUSIVE }, route, find)
}

/// A route goes.
pub(super) fn remove_route(route: &Route, find: Find<'_>) -> Result<Request, Unspeakable> {
    self::route(DELETE_ROUTE, 0, route, find)
}

fn route(message: u16, flags: u16, route: &Route, find: Find<'_>) -> Result<Request, Unspeakable> {
    let r = route.canonical();
    let onlink = match r.hops.as_slice() {
        [hop] if hop.is_onlink => ONLINK,
        _ => 0,
    };
    let header = [
        family(r.destination.ip),
        r.destination.length,
        r.from.map_or(0, |from| from.length),
        r.tos,
        u8::try_from(r.table).unwrap_or(0),
        r.protocol,
        r.implied_scope(),
        kind(r.kind),
        onlink,
        0,
        0,
        0,
    ];
    let mut request = Request::new(message, flags, &header);
    if r.destination.length > 0 {
        request.attribute(RTA_DST, &bytes(r.destination.ip));
    }
    if let Some(from) = r.from {
        request.attribute(RTA_SRC, &bytes(from.ip));
    }
    request.number(RTA_TABLE, r.table);
    if let Some(metric) = r.metric {
        request.number(RTA_PRIORITY, metric);
    }
    if let Some(source) = r.source {
        request.attribute(RTA_PREFSRC, &bytes(source));
    }
    if !r.metrics.is_empty() {
        request.nested(RTA_METRICS, |inner| {
            for (number, value) in &r.metrics {
                inner.number(*number, *value);
            }
        });
    }
    match r.hops.as_slice() {
        [] => {}
        [hop] => {
            if let Some(index) = hop_link(hop, find)? {
                request.number(RTA_OIF, index.0);
            }
            gateway(&mut request, hop, r.is_ipv6());
        }
        hops => {
            request.attribute(RTA_MULTIPATH, &multipath(hops, r.is_ipv6(), find)?);
        }
    }
    Ok(request)
}

fn multipath(hops: &[Hop], is_ipv6: bool, find: Find<'_>) -> Result<Vec<u8>, Unspeakable> {
    let mut all = Vec::new();
    for hop in hops {
        let mut way = Request::new(0, 0, &[]);
        gateway(&mut way, hop, is_ipv6);
        let index = hop_link(hop, find)?.map_or(0, |index| index.0);
        let weight = u8::try_from(hop.weight.saturating_sub(1)).map_err(|_| {
            (Errno::INVAL.raw_os_error(), format!("a weight of {} is more than 256", hop.weight))
        })?;
        let length = u16::try_from(way.body().len().saturating_add(HOP_HEADER)).unwrap_or(u16::MAX);
        all.extend(length.to_ne_bytes());
        all.extend([if hop.is_onlink { ONLINK } else { 0 }, weight]);
        all.extend(index.to_ne_bytes());
        all.extend(way.body());
    }
    Ok(all)
}

fn gateway(request: &mut Request, hop: &Hop, is_ipv6: bool) {
    match hop.via {
        Some(via) if via.is_ipv6() == is_ipv6 => {
            request.attribute(RTA_GATEWAY, &bytes(via));
        }
        Some(via) => {
            let mut way = u16::from(family(via)).to_ne_bytes().to_vec();
            way.extend(bytes(via));
            request.attribute(RTA_VIA, &way);
        }
        None => {}
    }
}

fn hop_link(hop: &Hop, find: Find<'_>) -> Result<Option<LinkIndex>, Unspeakable> {
    let Some(name) = &hop.link else { return Ok(None) };
    find(name).map(Some).ok_or_else(|| (Errno::NODEV.raw_os_error(), format!("there is no link {name}")))
}

/// A rule comes.
pub(super) fn add_rule(rule: &Rule) -> Request {
    self::rule(NEW_RULE, CREATE | EXCLUSIVE, rule)
}

/// A rule goes.
pub(super) fn remove_rule(rule: &Rule) -> Request {
    self::rule(DELETE_RULE, 0, rule)
}

fn rule(message: u16, flags: u16, rule: &Rule) -> Request {
    let r = rule.canonical();
    let length = |prefix: Option<Prefix>| prefix.map_or(0, |p| p.length);
    let (action, table, target) = match r.action {
        RuleAction::Table(table) => (1, Some(table), None),
        RuleAction::Goto(target) => (2, None, Some(target)),
        RuleAction::Nop => (3, None, None),
        RuleAction::Blackhole => (6, None, None),
        RuleAction::Unreachable => (7, None, None),
        RuleAction::Prohibit => (8, None, None),
    };
    let family = if r.is_ipv6 { AF_INET6 } else { AF_INET };
    let short = table.and_then(|table| u8::try_from(table).ok()).unwrap_or(0);
    let [a, b, c, d] = if r.is_inverted { INVERT } else { 0 }.to_ne_bytes();
    let header = [family, length(r.to), length(r.from), r.tos, short, 0, 0, action, a, b, c, d];
    let mut request = Request::new(message, flags, &header);
    if let Some(to) = r.to {
        request.attribute(FRA_DST, &bytes(to.ip));
    }
    if let Some(from) = r.from {
        request.attribute(FRA_SRC, &bytes(from.ip));
    }
    if let Some((mark, mask)) = r.fwmark {
        request.number(FRA_FWMARK, mark).number(FRA_FWMASK, mask);
    }
    for (attribute, name) in [(FRA_IIFNAME, &r.input_link), (FRA_OIFNAME, &r.output_link)] {
        if let Some(name) = name {
            request.text(attribute, name);
        }
    }
    if let Some((first, last)) = r.uids {
        request.attribute(FRA_UID_RANGE, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
    }
    if let Some(protocol) = r.ip_protocol {
        request.attribute(FRA_IP_PROTO, &[protocol]);
    }
    for (attribute, range) in [(FRA_SPORT_RANGE, r.source_ports), (FRA_DPORT_RANGE, r.destination_ports)] {
        if let Some((first, last)) = range {
            request.attribute(attribute, &[first.to_ne_bytes(), last.to_ne_bytes()].concat());
        }
    }
    let numbers = [
        (FRA_SUPPRESS_PREFIXLEN, r.suppress_prefix_length),
        (FRA_SUPPRESS_IFGROUP, r.suppress_group),
        (FRA_PRIORITY, r.priority),
        (FRA_TABLE, table),
        (FRA_GOTO, target),
    ];
    for (attribute, number) in numbers {
        if let Some(number) = number {
            request.number(attribute, number);
        }
    }
    if message == NEW_RULE {
        request.attribute(FRA_PROTOCOL, &[r.protocol]);
    }
    request
}

fn is_name(name: &str) -> Result<(), Unspeakable> {
    if name.is_empty() || name.len() > NAME_LIMIT || name.contains(['/', '\0']) {
        return Err((Errno::RANGE.raw_os_error(), format!("{name:?} is no link's name")));
    }
    Ok(())
}

/// A link of a kind, without parameters, switched off.
pub(super) fn make_link(name: &str, kind: &str) -> Result<Request, Unspeakable> {
    is_name(name)?;
    let mut request = Request::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(LinkIndex(0), false));
    request.text(IFLA_IFNAME, name);
    request.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, kind.as_bytes());
    });
    Ok(request)
}

/// A private macvlan, switched off.
pub(super) fn make_macvlan(name: &str, base: LinkIndex, mac: [u8; 6]) -> Result<Request, Unspeakable> {
    is_name(name)?;
    let mut request = Request::new(NEW_LINK, CREATE | EXCLUSIVE, &link_header(LinkIndex(0), false));
    request.text(IFLA_IFNAME, name).number(IFLA_LINK, base.0).attribute(IFLA_ADDRESS, &mac);
    request.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"macvlan").nested(IFLA_INFO_DATA, |data| {
            data.number(IFLA_MACVLAN_MODE, MACVLAN_PRIVATE);
        });
    });
    Ok(request)
}

/// No IPv6 address by itself.
pub(super) fn generate_no_address(link: LinkIndex) -> Request {
    let mut request = Request::new(NEW_LINK, 0, &link_header(link, false));
    request.nested(IFLA_AF_SPEC, |all| {
        all.nested(u16::from(AF_INET6), |inner| {
            inner.attribute(IFLA_INET6_ADDR_GEN_MODE, &[GENERATE_NONE]);
        });
    });
    request
}

/// Whether a link's other IPv4 addresses survive the first one of their network (promote_secondaries). Unlike the file
/// of that name it can be changed where /proc/sys is read-only, as in containers.
pub(super) fn promote_secondaries(link: LinkIndex, is_on: bool) -> Request {
    let mut request = Request::new(NEW_LINK, 0, &link_header(link, false));
    request.nested(IFLA_AF_SPEC, |all| {
        all.nested(u16::from(AF_INET), |inner| {
            inner.nested(IFLA_INET_CONF, |settings| {
                settings.number(PROMOTE_SECONDARIES, u32::from(is_on));
            });
        });
    });
    request
}

/// A link's MAC address.
pub(super) fn set_mac(link: LinkIndex, mac: [u8; 6]) -> Request {
    let mut request = Request::new(NEW_LINK, 0, &link_header(link, false));
    request.attribute(IFLA_ADDRESS, &mac);
    request
}

/// A link's alias: a text for people, and for our next life.
pub(super) fn set_alias(link: LinkIndex, alias: &str) -> Request {
    let mut request = Request::new(NEW_LINK, 0, &link_header(link, false));
    request.attribute(IFLA_IFALIAS, alias.as_bytes());
    request
}

/// A link becomes part of another.
pub(super) fn set_master(link: LinkIndex, master: LinkIndex) -> Request {
    let mut request = Request::new(NEW_LINK, 0, &link_header(link, false));
    request.number(IFLA_MASTER, master.0);
    request
}

/// Switches a link on.
pub(super) fn switch_on(link: LinkIndex) -> Request {
    switch(link, true)
}

/// Switches a link on or off.
pub(super) fn switch(link: LinkIndex, is_on: bool) -> Request {
    let mut header = link_header(link, is_on);
    // ifi_change: this flag and no other.
    if let Some(change) = header.last_chunk_mut() {
        *change = IFF_UP.to_ne_bytes();
    }
    Request::new(NEW_LINK, 0, &header)
}

/// A link goes.
pub(super) fn remove_link(link: LinkIndex) -> Request {
    Request::new(DELETE_LINK, 0, &link_header(link, false))
}

fn link_header(link: LinkIndex, is_on: bool) -> [u8; LINK_HEADER] {
    let [a, b, c, d] = link.0.to_ne_bytes();
    let [e, f, g, h] = if is_on { IFF_UP } else { 0 }.to_ne_bytes();
    [AF_UNSPEC, 0, 0, 0, a, b, c, d, e, f, g, h, e, f, g, h]
}

fn address_header(ip: IpAddr, length: u8, scope: u8, link: LinkIndex) -> [u8; ADDRESS_HEADER] {
    let [a, b, c, d] = link.0.to_ne_bytes();
    [family(ip), length, 0, scope, a, b, c, d]
}

fn family(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { AF_INET } else { AF_INET6 }
}

fn bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// RTN_*.
fn kind(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Unicast => 1,
        RouteKind::Local => 2,
        RouteKind::Broadcast => 3,
        RouteKind::Anycast => 4,
        RouteKind::Multicast => 5,
        RouteKind::Blackhole => 6,
        RouteKind::Unreachable => 7,
        RouteKind::Prohibit => 8,
        RouteKind::Throw => 9,
    }
}
