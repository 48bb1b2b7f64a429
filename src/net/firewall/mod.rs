//! A firewall's rules, as far as they decide over single packets: what becomes of one, and by which rule.
//!
//! [`nft`] and [`iptables`] read what their programs list. A test that they cannot read may have either outcome; a
//! packet counts as dropped only where every path through the rules drops it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use super::types::Prefix;

pub(crate) mod iptables;
pub(crate) mod nft;
#[cfg(test)]
mod tests;

/// Chains that call each other are followed so deep.
const DEPTH: usize = 16;
/// Rules that are looked at for one packet, at most.
const STEPS: usize = 100_000;

/// Where packets are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's words")]
pub(crate) enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What connection tracking makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's words")]
pub(crate) enum Tracked {
    New,
    Established,
    Related,
    Invalid,
    Untracked,
}

/// A packet; fields that are not known are None.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub is_ipv4: bool,
    pub protocol: u8,
    pub source: Option<IpAddr>,
    pub destination: Option<IpAddr>,
    pub destination_port: Option<u16>,
    /// Port it comes from.
    pub source_port: Option<u16>,
    /// The link it arrives by.
    pub arrives_by: Option<String>,
    /// The link it leaves by.
    pub leaves_by: Option<String>,
    /// What it is to connection tracking.
    pub tracked: Option<Tracked>,
}

/// What a rule asks of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether it is of IPv4.
    IsIpv4(bool),
    /// Its IP protocol.
    Protocol(BTreeSet<u8>),
    /// Where it comes from.
    Source(Vec<Prefix>),
    /// Where it goes to.
    Destination(Vec<Prefix>),
    /// The port it comes from.
    SourcePort(Vec<(u16, u16)>),
    /// The port it goes to.
    DestinationPort(Vec<(u16, u16)>),
    /// The link it arrives by; a name may end in `*`.
    ArrivesBy(Vec<String>),
    /// The link it leaves by.
    LeavesBy(Vec<String>),
    /// What connection tracking makes of it.
    Tracked(BTreeSet<Tracked>),
    Unknown,
}

/// A question, and whether the answer must be no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Test {
    pub question: Question,
    /// It must not be so.
    pub is_negated: bool,
}

impl Test {
    /// What must be so.
    pub(crate) fn is(question: Question) -> Test {
        Test { question, is_negated: false }
    }
}

/// What a rule does with a packet that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kernel's words")]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Jump(String),
    Goto(String),
    Return,
    /// It is no longer tracked, and the next rule is asked.
    Untrack,
    /// Nothing that matters here: the next rule is asked.
    Continue,
    /// What cannot be read may decide anything.
    Unknown,
    /// The first that fits decides.
    Map(Vec<(Question, Verdict)>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// All of these must hold.
    pub tests: Vec<Test>,
    /// Then this happens.
    pub verdict: Verdict,
    /// It in words.
    pub text: String,
}

/// Rules in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain {
    /// Where packets enter it, and in which order; None: other chains call it.
    pub hook: Option<(Hook, i32)>,
    /// What no rule decided is dropped.
    pub drops_the_rest: bool,
    pub rules: Vec<Rule>,
}

/// Chains that may call each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// As operators call it: `nft inet filter`.
    pub name: String,
    /// Whether packets of IPv4 come here.
    pub has_ipv4: bool,
    /// Whether packets of IPv6 do.
    pub has_ipv6: bool,
    pub chains: BTreeMap<String, Chain>,
}

/// All there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub tables: Vec<Table>,
}

/// What drops a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// The table's name.
    pub table: String,
    /// The chain the packet entered it by.
    pub chain: String,
    pub text: String,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, chain {}: {}", self.table, self.chain, self.text)
    }
}

impl Rules {
    /// What drops a packet on its way through these hooks, whatever else holds; None: nothing, as far as can be told.
    pub(crate) fn what_drops(&self, packet: &Packet, hooks: &[Hook]) -> Option<Dropped> {
        let mut packet = packet.clone();
        let mut steps = STEPS;
        for hook in hooks {
            let mut entries: Vec<(i32, &Table, &str)> = self
                .tables
                .iter()
                .filter(|table| if packet.is_ipv4 { table.has_ipv4 } else { table.has_ipv6 })
                .flat_map(|table| {
                    let chains = table.chains.iter();
                    chains.filter_map(move |(name, chain)| match chain.hook {
                        Some((at, order)) if at == *hook => Some((order, table, name.as_str())),
                        _ => None,
                    })
                })
                .collect();
            entries.sort_by_key(|(order, ..)| *order);
            for (_, table, name) in entries {
                let mut walk = Walk { table, steps: &mut steps, ways: Ways::default() };
                walk.enter(name, &mut packet, DEPTH);
                if let Ways { may_pass: false, dropped_by: Some(text) } = walk.ways {
                    return Some(Dropped { table: table.name.clone(), chain: name.to_owned(), text });
                }
            }
        }
        None
    }
}

/// What may become of a packet.
#[derive(Default)]
struct Ways {
    may_pass: bool,
    dropped_by: Option<String>,
}

/// How a chain ends for a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its fate is known.
    Decided,
    /// The calling chain goes on, certainly or perhaps.
    Returned,
}

struct Walk<'a> {
    table: &'a Table,
    steps: &'a mut usize,
    ways: Ways,
}

impl Walk<'_> {
    /// A base chain.
    fn enter(&mut self, name: &str, packet: &mut Packet, depth: usize) {
        if self.follow(name, packet, depth) == End::Returned {
            match self.table.chains.get(name).is_some_and(|chain| chain.drops_the_rest) {
                true => self.drop("what no rule accepts is dropped"),
                false => self.ways.may_pass = true,
            }
        }
    }

    fn drop(&mut self, text: &str) {
        self.ways.dropped_by.get_or_insert_with(|| text.to_owned());
    }

    fn follow(&mut self, name: &str, packet: &mut Packet, depth: usize) -> End {
        let table = self.table;
        let Some(chain) = table.chains.get(name).filter(|_| depth > 0) else {
            self.ways.may_pass = true;
            return End::Returned;
        };
        for rule in &chain.rules {
            if *self.steps == 0 {
                self.ways.may_pass = true;
                return End::Returned;
            }
            *self.steps -= 1;
            let Some(is_certain) = fits(&rule.tests, packet) else { continue };
            let before = packet.tracked;
            if let Some(end) = self.perform(&rule.verdict, is_certain, &rule.text, packet, depth) {
                return end;
            }
            if !is_certain && packet.tracked != before {
                packet.tracked = None;
            }
        }
        End::Returned
    }

    /// None: the next rule is asked.
    fn perform(
        &mut self,
        verdict: &Verdict,
        is_certain: bool,
        text: &str,
        packet: &mut Packet,
        depth: usize,
    ) -> Option<End> {
        let end = match verdict {
            Verdict::Accept => {
                self.ways.may_pass = true;
                Some(End::Decided)
            }
            Verdict::Drop => {
                self.drop(text);
                Some(End::Decided)
            }
            Verdict::Unknown => {
                self.ways.may_pass = true;
                None
            }
            Verdict::Continue => None,
            Verdict::Untrack => {
                packet.tracked = Some(Tracked::Untracked);
                None
            }
            Verdict::Return => Some(End::Returned),
            Verdict::Jump(name) => {
                (self.follow(name, packet, depth - 1) == End::Decided).then_some(End::Decided)
            }
            Verdict::Goto(name) => Some(self.follow(name, packet, depth - 1)),
            Verdict::Map(all) => {
                let found = all.iter().find_map(|(question, verdict)| {
                    let is_so = answer(question, packet);
                    (is_so != Some(false)).then_some((verdict, is_so.is_some()))
                });
                let (verdict, is_sure) = found?;
                if !is_sure {
                    // Any of them may be the one.
                    self.ways.may_pass = true;
                }
                return self.perform(verdict, is_certain && is_sure, text, packet, depth);
            }
        };
        end.filter(|_| is_certain)
    }
}

/// Whether a packet passes all tests: None no, true certainly, false perhaps.
fn fits(tests: &[Test], packet: &Packet) -> Option<bool> {
    let mut is_certain = true;
    for test in tests {
        match answer(&test.question, packet) {
            Some(is_so) if is_so == test.is_negated => return None,
            Some(_) => {}
            None => is_certain = false,
        }
    }
    Some(is_certain)
}

fn answer(question: &Question, packet: &Packet) -> Option<bool> {
    let within = |port: Option<u16>, all: &[(u16, u16)]| {
        let has_ports = [6, 17, 33, 132, 136].contains(&packet.protocol);
        match port {
            _ if !has_ports => Some(false),
            Some(port) => Some(all.iter().any(|(first, last)| (*first..=*last).contains(&port))),
            None => None,
        }
    };
    let of = |ip: Option<IpAddr>, all: &[Prefix]| match ip {
        _ if all.iter().all(|prefix| prefix.ip.is_ipv4() != packet.is_ipv4) => Some(false),
        Some(ip) => Some(all.iter().any(|prefix| prefix.contains(ip))),
        None => all.iter().any(|prefix| prefix.length == 0).then_some(true),
    };
    let by = |link: Option<&String>, all: &[String]| {
        let is = |pattern: &String, link: &str| match pattern.strip_suffix('*') {
            Some(start) => link.starts_with(start),
            None => pattern == link,
        };
        Some(all.iter().any(|pattern| link.is_some_and(|link| is(pattern, link)))).filter(|_| link.is_some())
    };
    match question {
        Question::IsIpv4(wanted) => Some(packet.is_ipv4 == *wanted),
        Question::Protocol(all) => Some(all.contains(&packet.protocol)),
        Question::Source(all) => of(packet.source, all),
        Question::Destination(all) => of(packet.destination, all),
        Question::SourcePort(all) => within(packet.source_port, all),
        Question::DestinationPort(all) => within(packet.destination_port, all),
        // A packet for this subject comes from the network.
        Question::ArrivesBy(all) if packet.arrives_by.is_none() && all.iter().all(|link| link == "lo") => {
            Some(false)
        }
        Question::ArrivesBy(all) => by(packet.arrives_by.as_ref(), all),
        Question::LeavesBy(all) if packet.leaves_by.is_none() && all.iter().all(|link| link == "lo") => {
            Some(false)
        }
        Question::LeavesBy(all) => by(packet.leaves_by.as_ref(), all),
        Question::Tracked(all) => packet.tracked.map(|tracked| all.contains(&tracked)),
        Question::Unknown => None,
    }
}

/// A protocol by its name or number.
fn protocol(word: &str) -> Option<u8> {
    let number = match word {
        "icmp" => 1,
        "igmp" => 2,
        "tcp" => 6,
        "udp" => 17,
        "dccp" => 33,
        "gre" => 47,
        "esp" | "ipsec-esp" => 50,
        "ah" | "ipsec-ah" => 51,
        "icmpv6" | "ipv6-icmp" => 58,
        "ospf" | "ospfigp" => 89,
        "pim" => 103,
        "vrrp" => 112,
        "sctp" => 132,
        "udplite" => 136,
        _ => return word.parse().ok(),
    };
    Some(number)
}

/// A state by its name, in either program's case.
fn tracked(word: &str) -> Option<Tracked> {
    match word.to_ascii_lowercase().as_str() {
        "new" => Some(Tracked::New),
        "established" => Some(Tracked::Established),
        "related" => Some(Tracked::Related),
        "invalid" => Some(Tracked::Invalid),
        "untracked" => Some(Tracked::Untracked),
        _ => None,
    }
}

/// `10.0.0.0/8`, or an address alone.
fn prefix(word: &str) -> Option<Prefix> {
    let (ip, length) = match word.split_once('/') {
        Some((ip, length)) => (ip.parse::<IpAddr>().ok()?, Some(length.parse::<u8>().ok()?)),
        None => (word.parse::<IpAddr>().ok()?, None),
    };
    let whole = Prefix::host(ip);
    let length = length.unwrap_or(whole.length);
    (length <= whole.length).then_some(Prefix { ip, length })
}
