//! `virtual_rules`, `static_rules`: policy rules in the words of `ip rule`.

use crate::config::checker::MAX_INTERFACE;
use crate::net::types::{Prefix, Rule, RuleAction};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Spanned, Stance, Table, Yaml, get};
use crate::syntax::source::Span;
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

use super::address::UNTRACKED;
use super::line::Line;
use super::names::{self, Names};
use super::route::network;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "rule";

/// A rule as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct RuleOptions {
    is_ipv6: Slot<bool>,
    is_ipv4: Slot<bool>,
    is_inverted: Slot<bool>,
    from: Slot<Option<Prefix>>,
    to: Slot<Option<Prefix>>,
    tos: Slot<u32>,
    fwmark: Slot<(u32, u32)>,
    input: Slot<String>,
    output: Slot<String>,
    uids: Slot<(u32, u32)>,
    ip_protocol: Slot<String>,
    source_ports: Slot<(u32, u32)>,
    destination_ports: Slot<(u32, u32)>,
    suppress_length: Slot<u32>,
    suppress_group: Slot<u32>,
    priority: Slot<u32>,
    action: Slot<Action>,
    is_untracked: Slot<bool>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Table(String),
    Other(RuleAction),
}

const fn option(
    name: &'static str,
    what: &'static str,
    read: fn(&mut RuleOptions, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<RuleOptions> {
    Keyword::new(name, Kind::Words { what, min: 1, max: 1, read }, doc)
}

const fn verdict(
    name: &'static str,
    read: fn(&mut RuleOptions, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<RuleOptions> {
    Keyword::new(name, Kind::Words { what: "", min: 0, max: 1, read }, doc)
}

const fn link(
    name: &'static str,
    slot: fn(&mut RuleOptions) -> &mut Slot<String>,
    doc: &'static str,
) -> Keyword<RuleOptions> {
    Keyword::new(name, Kind::Text { what: "INTERFACE", max: MAX_INTERFACE, slot }, doc)
}

const fn refused(name: &'static str, doc: &'static str) -> Keyword<RuleOptions> {
    let kind = Kind::Words { what: "VALUE", min: 1, max: 1, read: |_, _, _| {} };
    Keyword::new(name, kind, doc)
        .but(Stance::Refused(
            "lvsd makes no such rules: make this one with `ip rule`, where the system makes its own",
        ))
        .yaml(Yaml::Absent)
}

/// Options of a rule.
pub(crate) const RULE: Table<RuleOptions> = Table::of(
    TABLE,
    TABLE,
    &[&[
        Keyword::new("inet6", Kind::Flag(|o: &mut RuleOptions| &mut o.is_ipv6), "A rule of IPv6."),
        Keyword::new("inet", Kind::Flag(|o: &mut RuleOptions| &mut o.is_ipv4), "A rule of IPv4."),
        Keyword::new("not", Kind::Flag(|o: &mut RuleOptions| &mut o.is_inverted), "What does not match."),
        option("from", "PREFIX or all", |o, n, r| selector(&mut o.from, n, r), "Packets from there."),
        option("to", "PREFIX or all", |o, n, r| selector(&mut o.to, n, r), "Packets to there."),
        option("tos", "NUMBER", |o, n, r| whole(&mut o.tos, n, r, 255), "Type of service.").or(&["dsfield"]),
        option("fwmark", "MARK[/MASK]", fwmark, "Firewall mark."),
        link("iif", |o| &mut o.input, "Packets that come in there.").or(&["dev"]),
        link("oif", |o| &mut o.output, "Packets of sockets bound to it."),
        option("uidrange", "FIRST-LAST", |o, n, r| range(&mut o.uids, n, r, u32::MAX), "Users they are of."),
        Keyword::new(
            "ipproto",
            Kind::Text { what: "PROTOCOL", max: 32, slot: |o: &mut RuleOptions| &mut o.ip_protocol },
            "IP protocol.",
        ),
        option("sport", "PORT[-PORT]", |o, n, r| range(&mut o.source_ports, n, r, 65_535), "Source ports."),
        option(
            "dport",
            "PORT[-PORT]",
            |o, n, r| range(&mut o.destination_ports, n, r, 65_535),
            "Destination ports.",
        ),
        option(
            "suppress_prefixlength",
            "LENGTH",
            |o, n, r| whole(&mut o.suppress_length, n, r, 128),
            "Pass over routes of so short a prefix.",
        )
        .or(&["sup_pl"]),
        option(
            "suppress_ifgroup",
            "GROUP",
            |o, n, r| whole(&mut o.suppress_group, n, r, u32::MAX),
            "Pass over routes through such interfaces.",
        )
        .or(&["sup_group"]),
        option(
            "priority",
            "NUMBER",
            |o, n, r| whole(&mut o.priority, n, r, u32::MAX),
            "Its place among the rules; without it the kernel's choice.",
        )
        .or(&["preference", "order", "pref", "prio"]),
        option("table", "TABLE", |o, n, r| act(o, n, r, None), "Look there.").or(&["lookup"]),
        option("goto", "PRIORITY", goto, "Go on with the rule of this priority."),
        verdict("nop", |o, n, r| act(o, n, r, Some(RuleAction::Nop)), "Do nothing."),
        verdict("blackhole", |o, n, r| act(o, n, r, Some(RuleAction::Blackhole)), "Drop."),
        verdict("unreachable", |o, n, r| act(o, n, r, Some(RuleAction::Unreachable)), "Answer: unreachable."),
        verdict("prohibit", |o, n, r| act(o, n, r, Some(RuleAction::Prohibit)), "Answer: prohibited."),
        Keyword::new("no_track", Kind::Flag(|o: &mut RuleOptions| &mut o.is_untracked), UNTRACKED),
        Keyword::new(
            "track_group",
            Kind::Words { what: "GROUP", min: 1, max: 1, read: |_, _, _| {} },
            "Virtual routers that follow it.",
        )
        .but(Stance::Ignored("it is put back at once when it is taken away: nothing has to follow it"))
        .yaml(Yaml::Absent),
        refused("realms", "Realms."),
        refused("nat", "Old network address translation."),
        refused("l3mdev", "The table of the packet's VRF."),
        refused("tun_id", "Number of a tunnel."),
        refused("protocol", "Who made it."),
        refused("proto", "Who made it."),
    ]],
);

/// The rule of a line, and whether its loss is mended. None after saying what is wrong.
pub(crate) fn resolve(line: &Line, names: &Names<'_>, reader: &mut Reader<'_>) -> Option<(Rule, bool)> {
    let mut options = RuleOptions::default();
    let before = reader.diagnostics.errors();
    reader.block(&RULE, &line.options, &mut options);
    if let Some(word) = line.first.first() {
        let likely =
            crate::syntax::keyword::nearest(word, ["from", "to", "fwmark", "iif", "table"].into_iter());
        let help = likely.map_or("write e.g. `from 192.0.2.0/24 table 100`".to_owned(), |l| {
            format!("did you mean `{l}`?")
        });
        let problem = Diagnostic::error(word.span, format!("`{}` is not a word of a rule", word.text));
        reader.diagnostics.push(problem.help(help));
    }
    if reader.diagnostics.errors() > before {
        return None;
    }
    let prefixes = [get(&options.from).flatten(), get(&options.to).flatten()];
    let is_ipv6 =
        get(&options.is_ipv6).unwrap_or(false) || prefixes.iter().flatten().any(|prefix| prefix.ip.is_ipv6());
    if prefixes.iter().flatten().any(|prefix| prefix.ip.is_ipv6() != is_ipv6)
        || (is_ipv6 && get(&options.is_ipv4).unwrap_or(false))
    {
        reader.error(line.span, "this rule mixes IPv4 and IPv6");
        return None;
    }
    let action = match &options.action {
        Some(Spanned { value: Action::Other(action), .. }) => *action,
        Some(Spanned { value: Action::Table(word), span }) => {
            RuleAction::Table(names.table(word, *span, reader)?)
        }
        None => {
            let problem = Diagnostic::error(line.span, "this rule says nothing of what is to be done");
            reader.diagnostics.push(problem.help("write `table NUMBER` behind it"));
            return None;
        }
    };
    let ports = |slot: &Slot<(u32, u32)>| {
        let (first, last) = get(slot)?;
        Some((u16::try_from(first).ok()?, u16::try_from(last).ok()?))
    };
    let ip_protocol = match &options.ip_protocol {
        Some(word) => Some(names.ip_protocol(&word.value, word.span, reader)?),
        None => None,
    };
    let rule = Rule {
        is_ipv6,
        is_inverted: get(&options.is_inverted).unwrap_or(false),
        from: prefixes.first().copied().flatten(),
        to: prefixes.last().copied().flatten(),
        tos: get(&options.tos).and_then(|n| u8::try_from(n).ok()).unwrap_or(0),
        fwmark: get(&options.fwmark),
        input_link: get(&options.input),
        output_link: get(&options.output),
        uids: get(&options.uids),
        ip_protocol,
        source_ports: ports(&options.source_ports),
        destination_ports: ports(&options.destination_ports),
        suppress_prefix_length: get(&options.suppress_length),
        suppress_group: get(&options.suppress_group),
        priority: get(&options.priority),
        protocol: crate::net::types::PROTOCOL,
        action,
    };
    Some((rule, !get(&options.is_untracked).unwrap_or(false)))
}

fn selector(slot: &mut Slot<Option<Prefix>>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if matches!(&*word.text, "all" | "any" | "default") {
        return reader.store(slot, node, None);
    }
    if let Some(prefix) = network(word, &node.keyword.text, reader) {
        reader.store(slot, node, Some(prefix));
    }
}

fn whole(slot: &mut Slot<u32>, node: &Node, reader: &mut Reader<'_>, most: u32) {
    let Some(word) = node.values.first() else { return };
    match names::number(word).filter(|n| *n <= most) {
        Some(number) => reader.store(slot, node, number),
        None => {
            let wanted = format!("a whole number from 0 to {most}");
            reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(None));
        }
    }
}

fn range(slot: &mut Slot<(u32, u32)>, node: &Node, reader: &mut Reader<'_>, most: u32) {
    let Some(word) = node.values.first() else { return };
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    match (names::number(first), names::number(last)) {
        (Some(first), Some(last)) if first <= last && last <= most => reader.store(slot, node, (first, last)),
        _ => {
            let wanted = format!("a number from 0 to {most}, or FIRST-LAST");
            reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(None));
        }
    }
}

fn fwmark(options: &mut RuleOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let (mark, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
    match (names::number(mark), names::number(mask)) {
        (Some(mark), Some(mask)) => reader.store(&mut options.fwmark, node, (mark, mask)),
        _ => reader.wrong("fwmark", word, "MARK or MARK/MASK, e.g. 0x1/0xff", Wrong::Malformed(None)),
    }
}

fn goto(options: &mut RuleOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut priority = None;
    whole(&mut priority, node, reader, u32::MAX);
    if let Some(priority) = get(&priority) {
        act(options, node, reader, Some(RuleAction::Goto(priority)));
    }
}

fn act(options: &mut RuleOptions, node: &Node, reader: &mut Reader<'_>, action: Option<RuleAction>) {
    let (action, span): (_, Span) = match (action, node.values.first()) {
        (Some(action), _) => (Action::Other(action), node.span()),
        (None, Some(word)) => (Action::Table(word.text.to_string()), word.span),
        (None, None) => return,
    };
    if options.action.is_some() {
        return reader.error(
            node.keyword.span,
            format!("`{}`: this rule does something else already", node.keyword.text),
        );
    }
    options.action = Some(Spanned { value: action, span });
}
