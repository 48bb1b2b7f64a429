//! What `nft -j list ruleset` prints (libnftables-json(5)).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Chain, Hook, Question, Rule, Rules, Table, Test, Verdict, prefix, protocol, tracked};
use crate::net::types::Prefix;

/// Named sets by family, table and name.
type Sets<'a> = BTreeMap<(String, String), &'a Value>;

/// What was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listing {
    pub rules: Rules,
    /// Some were made by iptables, whose own program tells what they say.
    pub has_iptables: bool,
}

/// Reads it.
///
/// # Errors
/// In words, when it is none.
pub(crate) fn read(json: &str) -> Result<Listing, String> {
    let all: Value = serde_json::from_str(json).map_err(|error| format!("nft -j list ruleset: {error}"))?;
    let all = all.get("nftables").and_then(Value::as_array).ok_or("nft -j list ruleset: no ruleset")?;
    let of = |kind: &'static str| all.iter().filter_map(move |object| object.get(kind));
    let word = |object: &Value, name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let place = |object: &Value| Some((word(object, "family")?, word(object, "table")?));
    let mut tables: BTreeMap<(String, String), Table> = BTreeMap::new();
    let mut sets: BTreeMap<(String, String), Sets<'_>> = BTreeMap::new();
    for set in of("set") {
        if let (Some(place), Some(name)) = (place(set), word(set, "name")) {
            let elements = set.get("elem").unwrap_or(&Value::Null);
            sets.entry(place.clone()).or_default().insert((place.1, name), elements);
        }
    }
    for chain in of("chain") {
        let (Some(place), Some(name)) = (place(chain), word(chain, "name")) else { continue };
        let (has_ipv4, has_ipv6) = match place.0.as_str() {
            "ip" => (true, false),
            "ip6" => (false, true),
            "inet" => (true, true),
            // What a bridge or a link itself decides is another matter.
            _ => continue,
        };
        let hook = word(chain, "hook").and_then(|hook| hook_of(&hook));
        let order = chain.get("prio").and_then(Value::as_i64).and_then(|order| i32::try_from(order).ok());
        let read = Chain {
            hook: hook.map(|hook| (hook, order.unwrap_or(0))),
            drops_the_rest: word(chain, "policy").is_some_and(|policy| policy == "drop"),
            rules: Vec::new(),
        };
        let table = tables.entry(place).or_insert_with_key(|(family, table)| Table {
            name: format!("nft {family} {table}"),
            has_ipv4,
            has_ipv6,
            chains: BTreeMap::new(),
        });
        table.chains.insert(name, read);
    }
    let mut made_by_iptables = BTreeSet::new();
    let none = Sets::new();
    for rule in of("rule") {
        let (Some(place), Some(name)) = (place(rule), word(rule, "chain")) else { continue };
        let Some(chain) = tables.get_mut(&place).and_then(|table| table.chains.get_mut(&name)) else {
            continue;
        };
        let expressions = rule.get("expr").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if expressions.iter().any(|expression| expression.get("xt").is_some()) {
            made_by_iptables.insert(place.clone());
        }
        let handle = rule.get("handle").and_then(Value::as_u64).unwrap_or(0);
        chain.rules.push(rule_of(expressions, handle, &place.1, sets.get(&place).unwrap_or(&none)));
    }
    let has_iptables = !made_by_iptables.is_empty();
    tables.retain(|place, _| !made_by_iptables.contains(place));
    Ok(Listing { rules: Rules { tables: tables.into_values().collect() }, has_iptables })
}

fn hook_of(word: &str) -> Option<Hook> {
    match word {
        "prerouting" => Some(Hook::Prerouting),
        "input" => Some(Hook::Input),
        "forward" => Some(Hook::Forward),
        "output" => Some(Hook::Output),
        "postrouting" => Some(Hook::Postrouting),
        _ => None,
    }
}

fn rule_of(expressions: &[Value], handle: u64, table: &str, sets: &Sets<'_>) -> Rule {
    let mut tests = Vec::new();
    let mut verdict = Verdict::Continue;
    let mut words = Vec::new();
    for expression in expressions {
        let Some((kind, what)) = expression.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let target = || what.get("target").and_then(Value::as_str).unwrap_or_default().to_owned();
        match kind.as_str() {
            "match" => {
                let test = test_of(what, table, sets);
                words.push(words_of(what));
                tests.push(test);
                continue;
            }
            "counter" | "log" | "comment" | "mangle" | "quota" | "ct helper" | "flow" | "set" => continue,
            "limit" => tests.push(Test::is(Question::Unknown)),
            "accept" => verdict = Verdict::Accept,
            "drop" | "reject" => verdict = Verdict::Drop,
            "return" => verdict = Verdict::Return,
            "notrack" => verdict = Verdict::Untrack,
            "jump" => verdict = Verdict::Jump(target()),
            "goto" => verdict = Verdict::Goto(target()),
            "vmap" => verdict = map_of(what, table, sets),
            _ => verdict = Verdict::Unknown,
        }
        words.push(kind.clone());
    }
    Rule { tests, verdict, text: format!("{} (handle {handle})", words.join(" ")) }
}

fn test_of(what: &Value, table: &str, sets: &Sets<'_>) -> Test {
    let part = |name: &str| what.get(name).unwrap_or(&Value::Null);
    let is_negated = match part("op").as_str() {
        Some("==" | "in") | None => false,
        Some("!=") => true,
        Some(_) => return Test::is(Question::Unknown),
    };
    Test { question: question(part("left"), part("right"), table, sets), is_negated }
}

fn map_of(what: &Value, table: &str, sets: &Sets<'_>) -> Verdict {
    let key = what.get("key").unwrap_or(&Value::Null);
    let pairs = what.pointer("/data/set").and_then(Value::as_array);
    let Some(pairs) = pairs else { return Verdict::Unknown };
    let all = pairs.iter().map(|pair| {
        let half = |at: usize| pair.get(at).unwrap_or(&Value::Null);
        let (kind, target) = match half(1).as_object().and_then(|object| object.iter().next()) {
            Some((kind, what)) => (kind.as_str(), what.get("target").and_then(Value::as_str)),
            None => ("", None),
        };
        let target = target.unwrap_or_default().to_owned();
        let verdict = match kind {
            "accept" => Verdict::Accept,
            "drop" => Verdict::Drop,
            "return" => Verdict::Return,
            "jump" => Verdict::Jump(target),
            "goto" => Verdict::Goto(target),
            "continue" => Verdict::Continue,
            _ => Verdict::Unknown,
        };
        (question(key, half(0), table, sets), verdict)
    });
    Verdict::Map(all.collect())
}

/// What is compared with what.
fn question(left: &Value, right: &Value, table: &str, sets: &Sets<'_>) -> Question {
    let texts: Option<Vec<String>> =
        values(right, table, sets).map(|all| all.into_iter().map(text_of).collect());
    let Some(texts) = texts else { return Question::Unknown };
    let at = |path: &str| left.pointer(path).and_then(Value::as_str);
    let found = match (at("/meta/key"), at("/payload/protocol"), at("/payload/field"), at("/ct/key")) {
        (Some("nfproto"), ..) => match texts.as_slice() {
            [one] if one == "ipv4" => Some(Question::IsIpv4(true)),
            [one] if one == "ipv6" => Some(Question::IsIpv4(false)),
            _ => None,
        },
        (Some("l4proto"), ..)
        | (None, Some("ip"), Some("protocol"), _)
        | (None, Some("ip6"), Some("nexthdr"), _) => {
            texts.iter().map(|word| protocol(word)).collect::<Option<_>>().map(Question::Protocol)
        }
        (Some("iif" | "iifname"), ..) => Some(Question::ArrivesBy(texts)),
        (Some("oif" | "oifname"), ..) => Some(Question::LeavesBy(texts)),
        (None, Some("ip" | "ip6"), Some("saddr"), _) => prefixes(&texts).map(Question::Source),
        (None, Some("ip" | "ip6"), Some("daddr"), _) => prefixes(&texts).map(Question::Destination),
        (None, Some("tcp" | "udp" | "sctp" | "th"), Some("dport"), _) => {
            ports(&texts).map(Question::DestinationPort)
        }
        (None, Some("tcp" | "udp" | "sctp" | "th"), Some("sport"), _) => {
            ports(&texts).map(Question::SourcePort)
        }
        (.., Some("state")) => {
            texts.iter().map(|word| tracked(word)).collect::<Option<_>>().map(Question::Tracked)
        }
        _ => None,
    };
    found.unwrap_or(Question::Unknown)
}

/// The values of a right side: one, a list, or a named set.
fn values<'a>(right: &'a Value, table: &str, sets: &Sets<'a>) -> Option<Vec<&'a Value>> {
    match right {
        Value::String(name) if name.starts_with('@') => {
            let name = name.strip_prefix('@')?.to_owned();
            match sets.get(&(table.to_owned(), name))? {
                Value::Array(all) => Some(all.iter().map(element).collect()),
                Value::Null => Some(Vec::new()),
                one => Some(vec![one]),
            }
        }
        Value::Array(all) => Some(all.iter().map(element).collect()),
        Value::Object(object) => match object.get("set") {
            Some(Value::Array(all)) => Some(all.iter().map(element).collect()),
            Some(one) => Some(vec![one]),
            None => Some(vec![right]),
        },
        one => Some(vec![one]),
    }
}

/// An element may have a life and a count around it.
fn element(value: &Value) -> &Value {
    value.pointer("/elem/val").unwrap_or(value)
}

/// A value in one word: an address, a prefix, a range.
fn text_of(value: &Value) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if let (Some(ip), Some(length)) = (value.pointer("/prefix/addr"), value.pointer("/prefix/len")) {
        return format!("{}/{}", plain(ip), plain(length));
    }
    match value.get("range").and_then(Value::as_array).map(Vec::as_slice) {
        Some([first, last]) => format!("{}-{}", plain(first), plain(last)),
        _ => plain(value),
    }
}

fn prefixes(texts: &[String]) -> Option<Vec<Prefix>> {
    texts.iter().map(|word| prefix(word)).collect()
}

fn ports(texts: &[String]) -> Option<Vec<(u16, u16)>> {
    let port = |word: &str| match word {
        "http" => Some(80),
        "https" => Some(443),
        "domain" => Some(53),
        "ssh" => Some(22),
        _ => word.parse().ok(),
    };
    let range = |word: &String| match word.split_once('-') {
        Some((first, last)) => Some((port(first)?, port(last)?)),
        None => port(word).map(|port| (port, port)),
    };
    texts.iter().map(range).collect()
}

/// A comparison as nft would write it, more or less.
fn words_of(what: &Value) -> String {
    let left = what.get("left").unwrap_or(&Value::Null);
    let at = |path: &str| left.pointer(path).and_then(Value::as_str);
    let subject = match (at("/meta/key"), at("/payload/protocol"), at("/payload/field"), at("/ct/key")) {
        (Some(key), ..) => key.to_owned(),
        (_, Some(protocol), Some(field), _) => format!("{protocol} {field}"),
        (.., Some(key)) => format!("ct {key}"),
        _ => "...".to_owned(),
    };
    let right = what.get("right").unwrap_or(&Value::Null);
    let values = values(right, "", &Sets::new());
    let values = values
        .map_or_else(|| text_of(right), |all| all.into_iter().map(text_of).collect::<Vec<_>>().join(","));
    let is_not = what.get("op").and_then(Value::as_str).is_some_and(|op| op == "!=");
    format!("{subject} {}{values}", if is_not { "!= " } else { "" })
}
