//! `virtual_routes`, `static_routes`: routes in the words of `ip route`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::net::types::{Hop, Prefix, Route, RouteKind};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Support, Table, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::address::{prefixed, track_group};
use super::line::{self, Line};
use super::names::{self, Names};
use super::one_of;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "route";
/// The same of next hops.
pub(crate) const HOP_TABLE: &str = "next_hop";
/// The protocol of routes of keepalived's kind (RTPROT_KEEPALIVED).
const PROTOCOL: u8 = 18;
const MAX_HOPS: usize = 64;

const KINDS: &[(&str, RouteKind)] = &[
    ("unicast", RouteKind::Unicast),
    ("local", RouteKind::Local),
    ("broadcast", RouteKind::Broadcast),
    ("anycast", RouteKind::Anycast),
    ("multicast", RouteKind::Multicast),
    ("blackhole", RouteKind::Blackhole),
    ("unreachable", RouteKind::Unreachable),
    ("prohibit", RouteKind::Prohibit),
    ("throw", RouteKind::Throw),
];

options! {
    /// A route as it was written.
    pub(crate) struct RouteOptions {
        /// Where it leads.
        to: Option<Word> = word(=> to; "to", "PREFIX or default");
        /// What becomes of packets: unicast, blackhole, unreachable, prohibit, throw, local, broadcast, anycast or multicast.
        kind: Slot<RouteKind> = word(=> one_of[KINDS]; "type", "TYPE");
        /// Packets from there only, for IPv6.
        from: Slot<Prefix> = word(=> from; "from", "PREFIX");
        /// Source address of packets made here.
        source: Slot<IpAddr> = address("src");
        /// A second gateway.
        other: Slot<IpAddr> = words(=> via; "or", "ADDRESS", 1, 2);
        /// Next hops, in YAML a list: {via, dev, weight, onlink}.
        more: Vec<HopOptions> = block(=> next_hop; "nexthop", "").yaml(&["nexthops", "nexthop"]).yaml_block(HOP_TABLE);
        /// Routing table, by number or name; without it main.
        table: Slot<String> = text("table", "TABLE", 64);
        /// Its place among the routes to there.
        metric: Slot<u32> = number("metric", 0, u32::MAX).or(&["priority", "preference"]);
        /// Type of service.
        tos: Slot<u32> = word(=> tos; "tos", "NUMBER").or(&["dsfield"]);
        /// Where its hop is: global, link, host, or a number.
        scope: Slot<String> = text("scope", "SCOPE", 64);
        /// The program that made it; default: keepalived (18).
        protocol: Slot<String> = text("protocol", "PROTOCOL", 64).or(&["proto"]);
        /// Do not put it back when another program removes it, and do not follow its interface.
        is_untracked: Slot<bool> = flag("no_track");
        _ = track_group();
        include hop: HopOptions;
        /// Largest packet.
        _ = word(@metrics => metric[2, &[]]; "mtu", "NUMBER");
        /// Largest window of TCP.
        _ = word(@metrics => metric[3, &[]]; "window", "NUMBER");
        /// First guess of the round-trip time.
        _ = word(@metrics => metric[4, &[("ms", 8), ("s", 8000)]]; "rtt", "TIME");
        /// First guess of its variance.
        _ = word(@metrics => metric[5, &[("ms", 4), ("s", 4000)]]; "rttvar", "TIME");
        /// First slow-start threshold.
        _ = word(@metrics => metric[6, &[]]; "ssthresh", "NUMBER");
        /// Largest congestion window.
        _ = word(@metrics => metric[7, &[]]; "cwnd", "NUMBER");
        /// Segment size that is advertised.
        _ = word(@metrics => metric[8, &[]]; "advmss", "NUMBER");
        /// Reordering that is expected.
        _ = word(@metrics => metric[9, &[]]; "reordering", "NUMBER");
        /// Hop limit.
        _ = word(@metrics => metric[10, &[]]; "hoplimit", "NUMBER");
        /// First congestion window.
        _ = word(@metrics => metric[11, &[]]; "initcwnd", "NUMBER");
        /// Features: ecn.
        _ = word(@metrics => features; "features", "ecn");
        /// Least retransmission time.
        _ = word(@metrics => metric[13, &[("ms", 1), ("s", 1000)]]; "rto_min", "TIME");
        /// First receive window.
        _ = word(@metrics => metric[14, &[]]; "initrwnd", "NUMBER");
        /// Acknowledge at once.
        _ = word(@metrics => metric[15, &[]]; "quickack", "0 or 1");
        metrics: BTreeMap<u16, u32>;
        /// Realms.
        _ = no_op("realms", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Congestion control.
        _ = no_op("congctl", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Preference of a router, for IPv6.
        _ = no_op("pref", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Time until it goes.
        _ = no_op("expires", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Encapsulation.
        _ = no_op("encap", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Whether the TTL is kept, for MPLS.
        _ = no_op("ttl-propagate", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// TCP Fast Open without a cookie.
        _ = no_op("fastopen_no_cookie", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Encapsulation of the gateway.
        _ = no_op("as", "VALUE", 1, 1).but(REFUSED).not_yaml();
    }
}

options! {
    /// A next hop as it was written.
    pub(crate) struct HopOptions {
        /// The gateway.
        via: Slot<IpAddr> = words(=> via; "via", "ADDRESS", 1, 2);
        /// The interface.
        link: Slot<String> = text("dev", "INTERFACE", MAX_INTERFACE).or(&["oif"]);
        /// Its share among the next hops.
        weight: Slot<u32> = number("weight", 1, 256);
        /// The gateway is on this link, even if it is in none of its networks.
        is_onlink: Slot<bool> = flag("onlink");
    }
}

const REFUSED: Support = Support::Refused(
    "lvsd makes no such routes: make this one with `ip route`, where the system makes its own",
);

/// Options of a next hop.
pub(crate) const HOP: Table<HopOptions> = Table::of(HOP_TABLE, HOP_TABLE, &[HopOptions::keywords()]);

/// Options of a route.
pub(crate) const ROUTE: Table<RouteOptions> =
    Table::of(TABLE, TABLE, &[RouteOptions::keywords(), HopOptions::keywords()]);

/// Reads a block of routes.
pub(super) fn read(routes: &mut Vec<Line>, node: &Node, reader: &mut Reader<'_>) {
    routes.extend(line::whole(&ROUTE, node, reader));
}

fn to(to: &mut Option<Word>, node: &Node, _: &mut Reader<'_>) {
    *to = node.values.first().cloned();
}

fn from(slot: &mut Slot<Prefix>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(prefix) = node.values.first().and_then(|word| network(word, "from", reader)) {
        reader.store(slot, node, prefix);
    }
}

/// The route of a line, and whether its loss is mended. None after saying what is wrong.
pub(crate) fn resolve(line: &Line, names: &Names<'_>, reader: &mut Reader<'_>) -> Option<(Route, bool)> {
    let mut options = RouteOptions::default();
    let before = reader.diagnostics.errors();
    let first = line.first.iter().position(|word| KINDS.iter().all(|(name, _)| *name != &*word.text));
    if let Some(kind) = line.first.first().filter(|_| first != Some(0)) {
        let node = Node { keyword: kind.clone(), values: vec![kind.clone()], block: None };
        one_of(&mut options.kind, &node, reader, KINDS);
    }
    options.to = first.and_then(|at| line.first.get(at)).cloned();
    if let Some(surplus) = first.and_then(|at| line.first.get(at + 1)) {
        let names = ROUTE.iter().flat_map(|k| k.names(crate::syntax::keyword::Language::Keepalived));
        let help = nearest(surplus, names).map(|likely| format!("did you mean `{likely}`?"));
        let text = format!("`{}` is not a word of a route", surplus.text);
        reader.diagnostics.push(Diagnostic { help, ..Diagnostic::error(surplus.span, text) });
    }
    reader.options(&ROUTE, &line.options, &mut options);
    if reader.diagnostics.errors() > before {
        return None;
    }
    options.route(line.span, names, reader)
}

impl RouteOptions {
    fn route(self, span: Span, names: &Names<'_>, reader: &mut Reader<'_>) -> Option<(Route, bool)> {
        let mut hops: Vec<Hop> = Vec::new();
        let own = self.hop.hop();
        let second = self.other.as_ref().map(|s| Hop { via: Some(s.value), ..own.clone() });
        if own.via.is_some() || own.link.is_some() {
            hops.push(own);
        }
        hops.extend(second);
        hops.extend(self.more.iter().map(HopOptions::hop));
        if hops.len() > MAX_HOPS {
            reader.error(span, format!("this route has more than {MAX_HOPS} next hops"));
            return None;
        }
        let Some(to) = &self.to else {
            let problem = Diagnostic::error(span, "this route leads nowhere");
            reader.diagnostics.push(problem.help("write a prefix, or `default`, at its beginning"));
            return None;
        };
        let destination = match &*to.text {
            "default" | "any" | "all" => {
                let gateway = get(&self.source).or_else(|| hops.iter().find_map(|hop| hop.via));
                let is_ipv6 = gateway.is_some_and(|ip| ip.is_ipv6());
                let ip = if is_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
                Prefix { ip, length: 0 }
            }
            word if nearest(word, ["default"].into_iter()).is_some() => {
                let problem = Diagnostic::error(to.span, format!("`{word}` is not where a route can lead"));
                reader.diagnostics.push(problem.help("did you mean `default`?"));
                return None;
            }
            _ => network(to, "route", reader)?,
        };
        let kind = get(&self.kind).unwrap_or(RouteKind::Unicast);
        let goes_nowhere = matches!(
            kind,
            RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw
        );
        if hops.is_empty() && !goes_nowhere {
            let problem = Diagnostic::error(
                span,
                format!("the route to {destination} has neither gateway nor interface"),
            );
            reader.diagnostics.push(problem.help("write `via ADDRESS` or `dev INTERFACE` behind it"));
            return None;
        }
        if !hops.is_empty() && goes_nowhere {
            reader.error(
                span,
                format!("the route to {destination} goes nowhere: remove its gateway and interface"),
            );
            return None;
        }
        let is_ipv4 = destination.ip.is_ipv4();
        // A route of IPv4 may have a gateway of IPv6, not the other way round.
        let is_foreign = |ip: IpAddr| !is_ipv4 && ip.is_ipv4();
        if get(&self.source).is_some_and(|ip| ip.is_ipv4() != is_ipv4)
            || get(&self.from).is_some_and(|from| from.ip.is_ipv4() || is_ipv4)
            || hops.iter().filter_map(|hop| hop.via).any(is_foreign)
        {
            reader.error(span, format!("the route to {destination} mixes IPv4 and IPv6"));
            return None;
        }
        let table = match &self.table {
            Some(word) => names.table(&word.value, word.span, reader)?,
            None => 254,
        };
        let scope = match &self.scope {
            Some(word) => Some(names.scope(&word.value, word.span, reader)?),
            None => None,
        };
        let protocol = match &self.protocol {
            Some(word) => names.protocol(&word.value, word.span, reader)?,
            None => PROTOCOL,
        };
        let route = Route {
            kind,
            destination,
            from: get(&self.from),
            source: get(&self.source),
            tos: get(&self.tos).and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
            table,
            metric: get(&self.metric),
            scope,
            protocol,
            metrics: self.metrics,
            hops,
        };
        Some((route, !get(&self.is_untracked).unwrap_or(false)))
    }
}

impl HopOptions {
    fn hop(&self) -> Hop {
        Hop {
            via: get(&self.via),
            link: get(&self.link),
            weight: get(&self.weight).and_then(|n| u16::try_from(n).ok()).unwrap_or(1),
            is_onlink: get(&self.is_onlink).unwrap_or(false),
        }
    }
}

/// A prefix without host bits. None after saying what is wrong.
pub(crate) fn network(word: &Word, keyword: &str, reader: &mut Reader<'_>) -> Option<Prefix> {
    let (ip, length) = prefixed(word, keyword, reader)?;
    let most: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let length = length.unwrap_or(most);
    let host = u32::from(most - length);
    let masked = match ip {
        IpAddr::V4(ip) => {
            IpAddr::from(Ipv4Addr::from(u32::from(ip) & u32::MAX.checked_shl(host).unwrap_or(0)))
        }
        IpAddr::V6(ip) => {
            IpAddr::from(Ipv6Addr::from(u128::from(ip) & u128::MAX.checked_shl(host).unwrap_or(0)))
        }
    };
    if masked != ip {
        let text = format!("`{keyword}`: {ip}/{length} has bits beyond its length: the kernel refuses it");
        reader.diagnostics.push(Diagnostic::error(word.span, text).help(format!("write {masked}/{length}")));
        return None;
    }
    Some(Prefix { ip, length })
}

fn via(slot: &mut Slot<IpAddr>, node: &Node, reader: &mut Reader<'_>) {
    // `via inet6 ADDRESS` names the family, which the address tells in any case.
    let words: Vec<&Word> = node.values.iter().filter(|w| !matches!(&*w.text, "inet" | "inet6")).collect();
    let Some(word) = words.first() else {
        return reader.error(node.keyword.span, format!("`{}` needs an address", node.keyword.text));
    };
    match value::address(word) {
        Ok(address) => reader.store(slot, node, address),
        Err(wrong) => reader.wrong(&node.keyword, word, "an IP address", wrong),
    }
}

fn next_hop(hops: &mut Vec<HopOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut hop = HopOptions::default();
    reader.block(&HOP, node.statements(), &mut hop);
    if hop.via.is_none() && hop.link.is_none() {
        let problem = Diagnostic::error(node.keyword.span, "a next hop needs a gateway or an interface");
        reader.diagnostics.push(problem.help("write `via ADDRESS` or `dev INTERFACE` in it"));
    }
    hops.push(hop);
}

fn tos(slot: &mut Slot<u32>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match names::number(word).filter(|n| *n <= 255) {
        Some(number) => reader.store(slot, node, number),
        None => reader.wrong("tos", word, "a whole number from 0 to 255", Wrong::Malformed(None)),
    }
}

/// A metric: a number, or a time with a unit, which makes it so many of the kernel's.
fn metric(
    metrics: &mut BTreeMap<u16, u32>,
    node: &Node,
    reader: &mut Reader<'_>,
    number: u16,
    units: &[(&str, u32)],
) {
    let Some(word) = node.values.first() else { return };
    let found = names::number(word).or_else(|| {
        let (digits, factor) =
            units.iter().find_map(|(unit, factor)| Some((word.strip_suffix(unit)?, *factor)))?;
        names::number(digits)?.checked_mul(factor)
    });
    match found {
        Some(found) => {
            metrics.insert(number, found);
        }
        None if &*word.text == "lock" => {
            let text = format!("`{}`: a lock is refused: lvsd makes no such routes", node.keyword.text);
            reader.error(word.span, text);
        }
        None => {
            let wanted = if units.is_empty() { "a whole number" } else { "a number, or a time with ms or s" };
            reader.wrong(&node.keyword, word, wanted, Wrong::Malformed(None));
        }
    }
}

fn features(metrics: &mut BTreeMap<u16, u32>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match &*word.text {
        "ecn" => {
            metrics.insert(12, 1);
        }
        _ => reader.wrong("features", word, "`ecn`", Wrong::Malformed(None)),
    }
}
