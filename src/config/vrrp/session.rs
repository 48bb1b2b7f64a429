//! `bfd_instance`: sessions that virtual routers and checkers follow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::bfd::settings::{SLOW, SessionSettings};
use crate::config::checker::MAX_INTERFACE;
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::track::{self, WEIGHT, WeightOptions, too_large};
use super::{host, name, yaml_name};

options! {
    /// `bfd_instance` as it was written.
    pub(crate) struct SessionOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// The neighbour: the session is with this address.
        neighbor: Slot<IpAddr> = address("neighbor_ip").or(&["neighbour_ip"]).yaml(&["neighbor"]);
        /// Own address of the session; without it the kernel chooses one.
        source: Slot<IpAddr> = address("source_ip").yaml(&["source"]);
        /// Least time between two packets of the neighbour, in milliseconds.
        min_rx: Slot<Duration> = word(=> milliseconds[LEAST]; "min_rx", TIME), default Duration::from_millis(10), native NATIVE_INTERVAL;
        /// Least time between two own packets while the session is up, in milliseconds.
        min_tx: Slot<Duration> = word(=> milliseconds[LEAST]; "min_tx", TIME), default Duration::from_millis(10), native NATIVE_INTERVAL;
        /// Least time between two own packets while it is not up, in milliseconds.
        idle_tx: Slot<Duration> = word(=> milliseconds[SLOW]; "idle_tx", IDLE_TIME), default SLOW;
        /// Packets that may be missing before the session is down.
        multiplier: Slot<u32> = number("multiplier", 1, 255), default 5, native 3;
        /// Send nothing before the neighbour was heard.
        is_passive: Slot<bool> = flag("passive"), default false;
        /// TTL or hop limit of own packets, and what those of the neighbour are compared with.
        hop_limit: Slot<u32> = number("ttl", 1, 255).or(&["hoplimit"]).yaml(&["ttl"]);
        /// How much lower the hop limit of the neighbour's packets may be; 255: any hop limit.
        max_hops: Slot<u8> = word(=> max_hops; "max_hops", HOPS);
        /// The neighbour is behind routers (RFC 5883, port 4784); keepalived does not have it.
        is_multihop: Slot<bool> = flag("multihop"), default false;
        /// Interface that leads to the neighbour, for a link-local address; keepalived does not have it.
        interface: Slot<String> = text("interface", "INTERFACE", MAX_INTERFACE);
        /// What is added to the priority where track_bfd gives no weight; 0 puts the instance in Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> track::read_weight; "weight", WEIGHT, 1, 2);
        /// For track_bfd only.
        is_for_vrrp: Slot<bool> = flag("vrrp");
        /// For BFD_CHECK only.
        is_for_checkers: Slot<bool> = flag("checker");
    }
}

/// Keywords of `bfd_instance`.
pub(crate) const BFD_INSTANCE: Table<SessionOptions> =
    Table::of("bfd_instance", "bfd_instance", &[SessionOptions::keywords()]);

const LEAST: Duration = Duration::from_millis(1);
/// The longest time that fits a packet's 32 bits of microseconds, in whole milliseconds.
const LONGEST: Duration = Duration::from_millis(4_294_967);
/// Three of these are missed before a session is down: quick enough for most, and no burden.
const NATIVE_INTERVAL: Duration = Duration::from_millis(300);
const TIME: &str = "a time from 1 ms to 4294967 ms";
const IDLE_TIME: &str = "a time from 1000 ms to 4294967 ms";
const HOPS: &str = "a whole number from -1 to 255";
/// Largest weight of a session.
pub(super) const MAX_WEIGHT: i16 = 253;
/// What keepalived sends IPv6 packets with, unless it is told otherwise.
const KEEPALIVED_HOP_LIMIT: u8 = 64;

/// keepalived.conf has bare numbers of milliseconds; YAML has units, because its other bare times are seconds.
fn milliseconds(slot: &mut Slot<Duration>, node: &Node, reader: &mut Reader<'_>, least: Duration) {
    let Some(word) = node.values.first() else { return };
    let keyword = &*node.keyword.text;
    let wanted = if least == LEAST { TIME } else { IDLE_TIME };
    let is_bare = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_bare && reader.is_yaml() {
        let text = format!("`{keyword}`: `{}` has no unit", word.text);
        let problem = Diagnostic::error(word.span, text).help(format!("write `{}ms`", word.text));
        return reader.diagnostics.push(problem);
    }
    let with_unit = if is_bare { format!("{}ms", word.text) } else { word.text.to_string() };
    match value::time(&with_unit) {
        Ok(time) if time.duration < least || time.duration > LONGEST => {
            reader.wrong(keyword, word, wanted, Wrong::OutOfRange);
        }
        Ok(time) => {
            if !is_bare && !reader.is_yaml() {
                let text = format!("`{keyword}`: keepalived does not understand the unit of `{}`", word.text);
                let number = format!("write `{}`", time.duration.as_micros() / 1000);
                reader.diagnostics.push(Diagnostic::warning(word.span, text).help(number));
            }
            reader.store(slot, node, time.duration);
        }
        Err(wrong) => reader.wrong(keyword, word, wanted, wrong),
    }
}

/// -1 and 255 are the same.
fn max_hops(slot: &mut Slot<u8>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match word.parse::<i64>() {
        Ok(-1) => reader.store(slot, node, u8::MAX),
        Ok(number) => match u8::try_from(number) {
            Ok(hops) => reader.store(slot, node, hops),
            Err(_) => reader.wrong("max_hops", word, HOPS, Wrong::OutOfRange),
        },
        Err(_) => reader.wrong("max_hops", word, HOPS, Wrong::Malformed(None)),
    }
}

/// Reads `bfd_instance NAME`.
pub(crate) fn read(sessions: &mut Vec<SessionOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = SessionOptions { name: stand_in, ..SessionOptions::default() };
    reader.block(&BFD_INSTANCE, node.statements(), &mut options);
    options.verify(node, reader);
    sessions.extend(name.map(|_| options));
}

impl SessionOptions {
    /// Where it may be followed from: by virtual routers, by checkers. Both, unless one is named.
    fn readers(&self) -> (bool, bool) {
        let is_set = |slot: &Slot<bool>| get(slot).unwrap_or(false);
        match (is_set(&self.is_for_vrrp), is_set(&self.is_for_checkers)) {
            (false, false) => (true, true),
            named => named,
        }
    }

    /// Says what is wrong with it by itself.
    fn verify(&self, node: &Node, reader: &mut Reader<'_>) {
        let name = &*self.name.text;
        let words = SessionOptions::keywords::<SessionOptions>();
        let error = |span: Span, text: String| Diagnostic::error(span, format!("bfd_instance {name}{text}"));
        let has_written = |word: &str| node.statements().iter().any(|s| s.keyword.text.starts_with(word));
        let Some(neighbor) = &self.neighbor else {
            if !has_written("neighb") {
                let example = reader.example(words, "neighbor_ip", "ADDRESS");
                let word = reader.spelling(words, "neighbor_ip");
                let problem = error(node.span(), format!(" has no `{word}`"));
                reader.diagnostics.push(problem.help(format!("write `{example}`")));
            }
            return;
        };
        let (ip, span) = (neighbor.value, neighbor.span);
        if ip.is_multicast() || ip.is_unspecified() {
            reader.diagnostics.push(error(span, format!(": {ip} is not the address of one neighbor")));
        }
        let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
        if is_link_local && self.interface.is_none() {
            let example = reader.example(words, "interface", "INTERFACE");
            let problem = error(span, format!(": {ip} is a link-local address"));
            reader
                .diagnostics
                .push(problem.help(format!("write `{example}`, too: the one that leads to it")));
        }
        if let Some(source) = &self.source {
            if source.value.is_ipv4() != ip.is_ipv4() {
                let text = format!(": its own address {} and {ip} are of different families", source.value);
                reader.diagnostics.push(error(source.span, text));
            } else if source.value == ip {
                let text = format!(": {ip} is both its own address and that of the neighbor");
                reader.diagnostics.push(error(source.span, text));
            }
        }
        if let Some(span) = too_large(&self.weight, MAX_WEIGHT) {
            let text = format!("`weight` of bfd_instance {name} is not from -{MAX_WEIGHT} to {MAX_WEIGHT}");
            reader.compat_unheeded(span, text, ", and is ignored");
        }
    }

    /// What tracks inherit.
    pub(super) fn usual_weight(&self) -> Option<WeightOptions> {
        get(&self.weight).filter(|written| written.weight.abs() <= MAX_WEIGHT)
    }

    /// The session; None where it has no neighbour, which was said.
    pub(crate) fn resolve(&self, dialect: Dialect) -> Option<SessionSettings> {
        let neighbor = get(&self.neighbor)?;
        let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
        let is_multihop = self.is_multihop(dialect);
        let written = get(&self.hop_limit).map(small);
        // keepalived sends 64 over IPv6, where the standard wants 255.
        let usual = match (neighbor, dialect) {
            (IpAddr::V6(_), Dialect::Keepalived) => KEEPALIVED_HOP_LIMIT,
            _ => u8::MAX,
        };
        let least = match get(&self.max_hops) {
            Some(u8::MAX) => 0,
            None if is_multihop => 0,
            hops => written.unwrap_or(usual).saturating_sub(hops.unwrap_or(0)),
        };
        let weight = self.usual_weight();
        Some(SessionSettings {
            name: self.name.text.to_string(),
            neighbor,
            source: get(&self.source),
            interface: get(&self.interface),
            is_multihop,
            min_rx: self.min_rx(dialect),
            min_tx: self.min_tx(dialect),
            idle_tx: self.idle_tx(dialect),
            multiplier: small(self.multiplier(dialect)),
            is_passive: self.is_passive(dialect),
            hop_limit: written.unwrap_or(u8::MAX),
            least_hop_limit: least,
            weight: weight.map_or(0, |w| w.weight),
            is_reversed: weight.and_then(|w| w.is_reversed).unwrap_or(false),
        })
    }
}

/// Says which sessions have the same two ends: packets would be for either. Names given twice are said elsewhere.
pub(super) fn verify(sessions: &[SessionOptions], files: &dyn Files, reader: &mut Reader<'_>) {
    sources_of_this_host(sessions, files, reader);
    let mut seen: BTreeMap<(IpAddr, bool), Vec<&SessionOptions>> = BTreeMap::new();
    for session in sessions {
        let Some(neighbor) = &session.neighbor else { continue };
        let key = (neighbor.value, get(&session.is_multihop).unwrap_or(false));
        let others = seen.entry(key).or_default();
        let source = get(&session.source);
        let same = others.iter().find(|other| {
            let theirs = get(&other.source);
            source.is_none() || theirs.is_none() || source == theirs
        });
        if let Some(other) = same {
            let text = format!(
                "bfd_instance {} is with {}, as bfd_instance {} is",
                session.name.text, neighbor.value, other.name.text
            );
            let problem = Diagnostic::error(neighbor.span, text).at(other.name.span, "the other one is here");
            let help = "remove one of them, or give each its own source address";
            reader.diagnostics.push(problem.help(help));
        }
        others.push(session);
    }
}

/// A session speaks from an address that its host has.
fn sources_of_this_host(sessions: &[SessionOptions], files: &dyn Files, reader: &mut Reader<'_>) {
    let mut own: BTreeMap<bool, Option<BTreeSet<IpAddr>>> = BTreeMap::new();
    for session in sessions {
        let Some(source) = &session.source else { continue };
        let is_ipv4 = source.value.is_ipv4();
        let known = own.entry(is_ipv4).or_insert_with(|| host::addresses(is_ipv4, files));
        let is_said = get(&session.neighbor) == Some(source.value);
        if is_said || known.as_ref().is_none_or(|own| own.contains(&source.value)) {
            continue;
        }
        let text =
            format!("bfd_instance {}: {} is not an address of this host", session.name.text, source.value);
        let problem = Diagnostic::warning(source.span, text).of_this_host();
        let help = "the session is down until this host has it: write one of `ip addr`";
        reader.diagnostics.push(problem.help(help));
    }
}

/// What a follower says of the session that it names, where it may not follow it.
pub(crate) enum Follower {
    Router,
    Checker,
}

/// Says that a session is for others only; whether it may be followed.
pub(crate) fn may_follow(
    sessions: &[SessionOptions],
    name: &Word,
    follower: &Follower,
    reader: &mut Reader<'_>,
) -> bool {
    let Some(session) = sessions.iter().find(|session| session.name == *name) else { return true };
    let (missing, other) = match (follower, session.readers()) {
        (Follower::Router, (false, _)) => ("vrrp", "checker"),
        (Follower::Checker, (_, false)) => ("checker", "vrrp"),
        _ => return true,
    };
    let text = format!("bfd_instance {} says `{other}`, so it is for nothing else", name.text);
    let problem = Diagnostic::error(name.span, text).at(session.name.span, "it is here");
    reader.diagnostics.push(problem.help(format!("write `{missing}` there, too, or remove `{other}`")));
    false
}
