//! `virtual_routes`, `static_routes`: routes in the words of `ip route`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::checker::MAX_INTERFACE;
use crate::net::types::{Hop, Prefix, Route, RouteKind};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, Yaml, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::address::{UNTRACKED, prefixed};
use super::line::Line;
use super::names::{self, Names};

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

/// A route as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteOptions {
    kind: Slot<RouteKind>,
    to: Option<Word>,
    from: Slot<Prefix>,
    source: Slot<IpAddr>,
    hop: HopOptions,
    other: Slot<IpAddr>,
    more: Vec<HopOptions>,
    table: Slot<String>,
    metric: Slot<u32>,
    tos: Slot<u32>,
    scope: Slot<String>,
    protocol: Slot<String>,
    metrics: BTreeMap<u16, u32>,
    is_untracked: Slot<bool>,
}

/// A next hop as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct HopOptions {
    via: Slot<IpAddr>,
    link: Slot<String>,
    weight: Slot<u32>,
    is_onlink: Slot<bool>,
}

/// A block with words of a hop.
trait HasHop: Sized + 'static {
    fn hop(&mut self) -> &mut HopOptions;

    const WORDS: &'static [Keyword<Self>] = &[
        Keyword::new(
            "via",
            Kind::Words {
                what: "ADDRESS",
                min: 1,
                max: 2,
                read: |o: &mut Self, n, r| via(&mut o.hop().via, n, r),
            },
            "The gateway.",
        ),
        Keyword::new(
            "dev",
            Kind::Text { what: "INTERFACE", max: MAX_INTERFACE, slot: |o: &mut Self| &mut o.hop().link },
            "The interface.",
        )
        .or(&["oif"]),
        Keyword::new(
            "weight",
            super::number(1, 256, |o: &mut Self| &mut o.hop().weight),
            "Its share among the next hops.",
        ),
        Keyword::new(
            "onlink",
            Kind::Flag(|o: &mut Self| &mut o.hop().is_onlink),
            "The gateway is on this link, whatever the addresses say.",
        ),
    ];
}

impl HasHop for RouteOptions {
    fn hop(&mut self) -> &mut HopOptions {
        &mut self.hop
    }
}

impl HasHop for HopOptions {
    fn hop(&mut self) -> &mut HopOptions {
        self
    }
}

/// Options of a next hop.
pub(crate) const HOP: Table<HopOptions> = Table::of(HOP_TABLE, HOP_TABLE, &[HopOptions::WORDS]);

const fn option(
    name: &'static str,
    what: &'static str,
    read: fn(&mut RouteOptions, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<RouteOptions> {
    Keyword::new(name, Kind::Words { what, min: 1, max: 1, read }, doc)
}

const fn text(
    name: &'static str,
    what: &'static str,
    slot: fn(&mut RouteOptions) -> &mut Slot<String>,
    doc: &'static str,
) -> Keyword<RouteOptions> {
    Keyword::new(name, Kind::Text { what, max: 64, slot }, doc)
}

const fn refused(name: &'static str, doc: &'static str) -> Keyword<RouteOptions> {
    let kind = Kind::Words { what: "VALUE", min: 1, max: 1, read: |_, _, _| {} };
    Keyword::new(name, kind, doc)
        .but(Stance::Refused(
            "lvsd makes no such routes: make this one with `ip route`, where the system makes its own",
        ))
        .yaml(Yaml::Absent)
}

/// Options of a route.
pub(crate) const ROUTE: Table<RouteOptions> =
    Table::of(TABLE, TABLE, &[OWN, RouteOptions::WORDS, METRICS, OTHERS]);

const OWN: &[Keyword<RouteOptions>] = &[
    option("to", "PREFIX or default", |o, n, _| o.to = n.values.first().cloned(), "Where it leads."),
    option(
        "type",
        "TYPE",
        |o, n, r| super::one_of(&mut o.kind, n, r, KINDS),
        "What becomes of packets: unicast, blackhole, unreachable, prohibit, throw, local, broadcast, anycast or multicast.",
    ),
    option(
        "from",
        "PREFIX",
        |o, n, r| {
            if let Some(prefix) = n.values.first().and_then(|word| network(word, "from", r)) {
                r.store(&mut o.from, n, prefix);
            }
        },
        "Packets from there only, for IPv6.",
    ),
    Keyword::new(
        "src",
        Kind::Address(|o: &mut RouteOptions| &mut o.source),
        "Source address of packets made here.",
    ),
    Keyword::new(
        "or",
        Kind::Words {
            what: "ADDRESS",
            min: 1,
            max: 2,
            read: |o: &mut RouteOptions, n, r| via(&mut o.other, n, r),
        },
        "A second gateway.",
    ),
    Keyword::new(
        "nexthop",
        Kind::Block { what: "", max: 0, read: next_hop },
        "Next hops, in YAML a list: {via, dev, weight, onlink}.",
    )
    .yaml(Yaml::As(&["nexthops", "nexthop"]))
    .yaml_block(HOP_TABLE, next_hop),
    text("table", "TABLE", |o| &mut o.table, "Routing table, by number or name; without it main."),
    Keyword::new(
        "metric",
        super::number(0, u32::MAX, |o: &mut RouteOptions| &mut o.metric),
        "Its place among the routes to there.",
    )
    .or(&["priority", "preference"]),
    Keyword::new("tos", Kind::Words { what: "NUMBER", min: 1, max: 1, read: tos }, "Type of service.")
        .or(&["dsfield"]),
    text("scope", "SCOPE", |o| &mut o.scope, "Where its hop is: global, link, host, or a number."),
    text("protocol", "PROTOCOL", |o| &mut o.protocol, "Who made it; without it keepalived (18).")
        .or(&["proto"]),
    Keyword::new("no_track", Kind::Flag(|o: &mut RouteOptions| &mut o.is_untracked), UNTRACKED),
    Keyword::new(
        "track_group",
        Kind::Words { what: "GROUP", min: 1, max: 1, read: |_, _, _| {} },
        "Virtual routers that follow it.",
    )
    .but(Stance::Ignored("it is put back at once when it is taken away: nothing has to follow it"))
    .yaml(Yaml::Absent),
];

const METRICS: &[Keyword<RouteOptions>] = &[
    option("mtu", "NUMBER", |o, n, r| metric(o, n, r, 2, &[]), "Largest packet."),
    option("window", "NUMBER", |o, n, r| metric(o, n, r, 3, &[]), "Largest window of TCP."),
    option(
        "rtt",
        "TIME",
        |o, n, r| metric(o, n, r, 4, &[("ms", 8), ("s", 8000)]),
        "First guess of the round-trip time.",
    ),
    option(
        "rttvar",
        "TIME",
        |o, n, r| metric(o, n, r, 5, &[("ms", 4), ("s", 4000)]),
        "First guess of its variance.",
    ),
    option("ssthresh", "NUMBER", |o, n, r| metric(o, n, r, 6, &[]), "First slow-start threshold."),
    option("cwnd", "NUMBER", |o, n, r| metric(o, n, r, 7, &[]), "Largest congestion window."),
    option("advmss", "NUMBER", |o, n, r| metric(o, n, r, 8, &[]), "Segment size that is advertised."),
    option("reordering", "NUMBER", |o, n, r| metric(o, n, r, 9, &[]), "Reordering that is expected."),
    option("hoplimit", "NUMBER", |o, n, r| metric(o, n, r, 10, &[]), "Hop limit."),
    option("initcwnd", "NUMBER", |o, n, r| metric(o, n, r, 11, &[]), "First congestion window."),
    option("features", "ecn", features, "Features: ecn."),
    option(
        "rto_min",
        "TIME",
        |o, n, r| metric(o, n, r, 13, &[("ms", 1), ("s", 1000)]),
        "Least retransmission time.",
    ),
    option("initrwnd", "NUMBER", |o, n, r| metric(o, n, r, 14, &[]), "First receive window."),
    option("quickack", "0 or 1", |o, n, r| metric(o, n, r, 15, &[]), "Acknowledge at once."),
];

const OTHERS: &[Keyword<RouteOptions>] = &[
    refused("realms", "Realms."),
    refused("congctl", "Congestion control."),
    refused("pref", "Preference of a router, for IPv6."),
    refused("expires", "Time until it goes."),
    refused("encap", "Encapsulation."),
    refused("ttl-propagate", "Whether the TTL is kept, for MPLS."),
    refused("fastopen_no_cookie", "TCP Fast Open without a cookie."),
    refused("as", "Encapsulation of the gateway."),
];

/// The route of a line, and whether its loss is mended. None after saying what is wrong.
pub(crate) fn resolve(line: &Line, names: &Names<'_>, reader: &mut Reader<'_>) -> Option<(Route, bool)> {
    let mut options = RouteOptions::default();
    let before = reader.diagnostics.errors();
    let first = line.first.iter().position(|word| KINDS.iter().all(|(name, _)| *name != &*word.text));
    if let Some(kind) = line.first.first().filter(|_| first != Some(0)) {
        let node = Node { keyword: kind.clone(), values: vec![kind.clone()], block: None };
        super::one_of(&mut options.kind, &node, reader, KINDS);
    }
    options.to = first.and_then(|at| line.first.get(at)).cloned();
    if let Some(surplus) = first.and_then(|at| line.first.get(at + 1)) {
        let names = ROUTE.iter().flat_map(|k| k.names(crate::syntax::keyword::Language::Keepalived));
        let help = nearest(surplus, names).map(|likely| format!("did you mean `{likely}`?"));
        let text = format!("`{}` is not a word of a route", surplus.text);
        reader.diagnostics.push(Diagnostic { help, ..Diagnostic::error(surplus.span, text) });
    }
    reader.block(&ROUTE, &line.options, &mut options);
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

fn next_hop(options: &mut RouteOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut hop = HopOptions::default();
    reader.block(&HOP, node.statements(), &mut hop);
    if hop.via.is_none() && hop.link.is_none() {
        let problem = Diagnostic::error(node.keyword.span, "a next hop needs a gateway or an interface");
        reader.diagnostics.push(problem.help("write `via ADDRESS` or `dev INTERFACE` in it"));
    }
    options.more.push(hop);
}

fn tos(options: &mut RouteOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match names::number(word).filter(|n| *n <= 255) {
        Some(number) => reader.store(&mut options.tos, node, number),
        None => reader.wrong("tos", word, "a whole number from 0 to 255", Wrong::Malformed(None)),
    }
}

/// A metric: a number, or a time with a unit, which makes it so many of the kernel's.
fn metric(
    options: &mut RouteOptions,
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
            options.metrics.insert(number, found);
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

fn features(options: &mut RouteOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match &*word.text {
        "ecn" => {
            options.metrics.insert(12, 1);
        }
        _ => reader.wrong("features", word, "`ecn`", Wrong::Malformed(None)),
    }
}
