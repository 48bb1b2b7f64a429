//! `virtual_rules`, `static_rules`: policy rules in the words of `ip rule`.

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::net::types::{Prefix, Rule, RuleAction};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, Support, Table, get};
use crate::syntax::source::Span;
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

use super::address::track_group;
use super::line::{self, Line};
use super::names::{self, Names};
use super::route::network;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "rule";

options! {
    /// A rule as it was written.
    pub(crate) struct RuleOptions {
        /// A rule of IPv6.
        is_ipv6: Slot<bool> = flag("inet6");
        /// A rule of IPv4.
        is_ipv4: Slot<bool> = flag("inet");
        /// What does not match.
        is_inverted: Slot<bool> = flag("not");
        /// Packets from there.
        from: Slot<Option<Prefix>> = word(=> selector; "from", "PREFIX or all");
        /// Packets to there.
        to: Slot<Option<Prefix>> = word(=> selector; "to", "PREFIX or all");
        /// Type of service.
        tos: Slot<u32> = word(=> whole[255]; "tos", "NUMBER").or(&["dsfield"]);
        /// Firewall mark.
        fwmark: Slot<(u32, u32)> = word(=> fwmark; "fwmark", "MARK[/MASK]");
        /// Packets that come in there.
        input: Slot<String> = text("iif", "INTERFACE", MAX_INTERFACE).or(&["dev"]);
        /// Packets of sockets bound to it.
        output: Slot<String> = text("oif", "INTERFACE", MAX_INTERFACE);
        /// Users they are of.
        uids: Slot<(u32, u32)> = word(=> range[u32::MAX]; "uidrange", "FIRST-LAST");
        /// IP protocol.
        ip_protocol: Slot<String> = text("ipproto", "PROTOCOL", 32);
        /// Source ports.
        source_ports: Slot<(u32, u32)> = word(=> range[65_535]; "sport", "PORT[-PORT]");
        /// Destination ports.
        destination_ports: Slot<(u32, u32)> = word(=> range[65_535]; "dport", "PORT[-PORT]");
        /// Pass over routes of so short a prefix.
        suppress_length: Slot<u32> = word(=> whole[128]; "suppress_prefixlength", "LENGTH").or(&["sup_pl"]);
        /// Pass over routes through such interfaces.
        suppress_group: Slot<u32> = word(=> whole[u32::MAX]; "suppress_ifgroup", "GROUP").or(&["sup_group"]);
        /// Its place among the rules; without it the kernel's choice.
        priority: Slot<u32> = word(=> whole[u32::MAX]; "priority", "NUMBER").or(&["preference", "order", "pref", "prio"]);
        /// Look there.
        action: Slot<Action> = word(=> act[None]; "table", "TABLE").or(&["lookup"]);
        /// Go on with the rule of this priority.
        _ = word(@action => goto; "goto", "PRIORITY");
        /// Do nothing.
        _ = words(@action => act[Some(RuleAction::Nop)]; "nop", "", 0, 1);
        /// Drop.
        _ = words(@action => act[Some(RuleAction::Blackhole)]; "blackhole", "", 0, 1);
        /// Answer: unreachable.
        _ = words(@action => act[Some(RuleAction::Unreachable)]; "unreachable", "", 0, 1);
        /// Answer: prohibited.
        _ = words(@action => act[Some(RuleAction::Prohibit)]; "prohibit", "", 0, 1);
        /// Do not put it back when another program removes it, and do not follow its interface.
        is_untracked: Slot<bool> = flag("no_track");
        _ = track_group();
        /// Realms.
        _ = no_op("realms", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// Old network address translation.
        _ = no_op("nat", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// The table of the packet's VRF.
        _ = no_op("l3mdev", "", 0, 0).but(REFUSED).not_yaml();
        /// Number of a tunnel.
        _ = no_op("tun_id", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// The program that made it.
        _ = no_op("protocol", "VALUE", 1, 1).but(REFUSED).not_yaml();
        /// The program that made it.
        _ = no_op("proto", "VALUE", 1, 1).but(REFUSED).not_yaml();
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Table(String),
    Other(RuleAction),
}

const REFUSED: Support = Support::Refused(
    "lvsd makes no such rules: make this one with `ip rule`, where the system makes its own",
);

/// Options of a rule.
pub(crate) const RULE: Table<RuleOptions> = Table::of(TABLE, TABLE, &[RuleOptions::keywords()]);

/// Reads a block of rules.
pub(super) fn read(rules: &mut Vec<Line>, node: &Node, reader: &mut Reader<'_>) {
    rules.extend(line::whole(&RULE, node, reader));
}

/// The rule of a line, and whether its loss is mended. None after saying what is wrong.
pub(crate) fn resolve(line: &Line, names: &Names<'_>, reader: &mut Reader<'_>) -> Option<(Rule, bool)> {
    let mut options = RuleOptions::default();
    let before = reader.diagnostics.errors();
    reader.options(&RULE, &line.options, &mut options);
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

fn fwmark(slot: &mut Slot<(u32, u32)>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let (mark, mask) = word.split_once('/').unwrap_or((word, "0xffffffff"));
    match (names::number(mark), names::number(mask)) {
        (Some(mark), Some(mask)) => reader.store(slot, node, (mark, mask)),
        _ => reader.wrong("fwmark", word, "MARK or MARK/MASK, e.g. 0x1/0xff", Wrong::Malformed(None)),
    }
}

fn goto(slot: &mut Slot<Action>, node: &Node, reader: &mut Reader<'_>) {
    let mut priority = None;
    whole(&mut priority, node, reader, u32::MAX);
    if let Some(priority) = get(&priority) {
        act(slot, node, reader, Some(RuleAction::Goto(priority)));
    }
}

fn act(slot: &mut Slot<Action>, node: &Node, reader: &mut Reader<'_>, action: Option<RuleAction>) {
    let (action, span): (_, Span) = match (action, node.values.first()) {
        (Some(action), _) => (Action::Other(action), node.span()),
        (None, Some(word)) => (Action::Table(word.text.to_string()), word.span),
        (None, None) => return,
    };
    if slot.is_some() {
        return reader.error(
            node.keyword.span,
            format!("`{}`: this rule does something else already", node.keyword.text),
        );
    }
    *slot = Some(Spanned { value: action, span });
}
