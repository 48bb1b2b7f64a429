//! What `iptables-save` and `ip6tables-save` print.

use std::collections::BTreeMap;

use super::{Chain, Hook, Question, Rule, Rules, Table, Test, Verdict, prefix, protocol, tracked};

/// Reads it. What is no rule is passed over.
pub(crate) fn read(text: &str, is_ipv4: bool) -> Rules {
    let program = if is_ipv4 { "iptables" } else { "ip6tables" };
    let mut rules = Rules::default();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            rules.tables.push(Table {
                name: format!("{program} -t {}", name.trim()),
                has_ipv4: is_ipv4,
                has_ipv6: !is_ipv4,
                chains: BTreeMap::new(),
            });
            continue;
        }
        let Some(table) = rules.tables.last_mut() else { continue };
        if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let (Some(name), policy) = (words.next(), words.next()) else { continue };
            let hook = hook(name).map(|hook| (hook, order(&table.name)));
            let chain = Chain { hook, drops_the_rest: policy == Some("DROP"), rules: Vec::new() };
            table.chains.insert(name.to_owned(), chain);
        } else if let Some((name, rest)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' '))
            && let Some(chain) = table.chains.get_mut(name)
        {
            chain.rules.push(rule(rest));
        }
    }
    rules
}

fn hook(chain: &str) -> Option<Hook> {
    match chain {
        "PREROUTING" => Some(Hook::Prerouting),
        "INPUT" => Some(Hook::Input),
        "FORWARD" => Some(Hook::Forward),
        "OUTPUT" => Some(Hook::Output),
        "POSTROUTING" => Some(Hook::Postrouting),
        _ => None,
    }
}

/// In which order tables see a packet (NF_IP_PRI_*).
fn order(table: &str) -> i32 {
    match table.rsplit(' ').next() {
        Some("raw") => -300,
        Some("mangle") => -150,
        Some("nat") => -100,
        Some("security") => 50,
        _ => 0,
    }
}

fn rule(text: &str) -> Rule {
    let mut tests = Vec::new();
    let mut verdict = Verdict::Continue;
    let mut is_negated = false;
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        if word == "!" {
            is_negated = true;
            continue;
        }
        let question = match word {
            "-m" => {
                words.next();
                is_negated = false;
                continue;
            }
            "--comment" => {
                // Quoted where it has blanks.
                let mut is_open = words.next().is_some_and(|first| first.starts_with('"') && !ends(first));
                while is_open && let Some(more) = words.next() {
                    is_open = !more.ends_with('"');
                }
                continue;
            }
            "-j" | "-g" => {
                let target = words.next().unwrap_or_default();
                let options: Vec<&str> = words.by_ref().collect();
                verdict = target_of(target, word == "-g", &options);
                continue;
            }
            "-p" => one(words.next(), |word| Some(Question::Protocol([protocol(word)?].into()))),
            "-s" => one(words.next(), |word| Some(Question::Source(vec![prefix(word)?]))),
            "-d" => one(words.next(), |word| Some(Question::Destination(vec![prefix(word)?]))),
            "-i" => one(words.next(), |word| Some(Question::ArrivesBy(vec![word.replace('+', "*")]))),
            "-o" => one(words.next(), |word| Some(Question::LeavesBy(vec![word.replace('+', "*")]))),
            "--dport" | "--dports" => one(words.next(), |word| ports(word).map(Question::DestinationPort)),
            "--sport" | "--sports" => one(words.next(), |word| ports(word).map(Question::SourcePort)),
            "--ctstate" | "--state" => one(words.next(), |word| {
                word.split(',').map(tracked).collect::<Option<_>>().map(Question::Tracked)
            }),
            _ => {
                // The value of an unknown option is no option.
                while words.next_if(|next| !next.starts_with('-') && *next != "!").is_some() {}
                Question::Unknown
            }
        };
        tests.push(Test { question, is_negated });
        is_negated = false;
    }
    Rule { tests, verdict, text: text.to_owned() }
}

fn ends(word: &str) -> bool {
    word.len() > 1 && word.ends_with('"')
}

fn one(word: Option<&str>, read: impl Fn(&str) -> Option<Question>) -> Question {
    word.and_then(read).unwrap_or(Question::Unknown)
}

fn target_of(target: &str, is_goto: bool, options: &[&str]) -> Verdict {
    match target {
        "ACCEPT" => Verdict::Accept,
        "DROP" | "REJECT" => Verdict::Drop,
        "RETURN" => Verdict::Return,
        "NOTRACK" => Verdict::Untrack,
        "CT" if options.contains(&"--notrack") => Verdict::Untrack,
        "LOG" | "NFLOG" | "MARK" | "CONNMARK" | "TCPMSS" | "CT" | "TRACE" | "CLASSIFY" | "DSCP" | "SET" => {
            Verdict::Continue
        }
        // The operator's chains have other names; so have unknown targets, which are then no chain.
        name if is_goto => Verdict::Goto(name.to_owned()),
        name => Verdict::Jump(name.to_owned()),
    }
}

fn ports(word: &str) -> Option<Vec<(u16, u16)>> {
    let range = |word: &str| match word.split_once(':') {
        Some((first, last)) => Some((first.parse().ok()?, last.parse().ok()?)),
        None => word.parse().ok().map(|port| (port, port)),
    };
    word.split(',').map(range).collect()
}
