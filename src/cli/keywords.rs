//! `lvsd check --keywords`: every word of both languages, and what lvsd does with it.

use std::fmt::Write;

use serde::Serialize;

use super::table::Table;
use super::{complain, print};
use crate::config::root;
use crate::daemon::startup::Exit;
use crate::syntax::keyword::{KeywordInfo, Support, nearest};

/// What lvsd does with a keyword: a word, and why.
fn stance(stance: Support) -> (&'static str, Option<&'static str>) {
    match stance {
        Support::Supported => ("supported", None),
        Support::Deprecated(why) => ("deprecated", Some(why)),
        Support::Ignored(why) => ("ignored", Some(why)),
        Support::Refused(why) => ("refused", Some(why)),
    }
}

/// The listing for people.
pub(crate) fn table() -> String {
    let listing = root::listing();
    let mut table = Table::default();
    table.row(["KEEPALIVED.CONF", "YAML", "STANCE", "MEANING"]);
    let mut block = "";
    for keyword in &listing {
        if keyword.block != block {
            block = keyword.block;
            table.row([""]);
            table.row([format!("{block}:")]);
        }
        let (what, why) = stance(keyword.support);
        let names = |names: &[&str]| if names.is_empty() { "-".to_owned() } else { names.join(", ") };
        let meaning = match why {
            Some(why) => format!("{} ({why})", keyword.doc),
            None => keyword.doc.to_owned(),
        };
        table.row([names(&keyword.names), names(&keyword.yaml), what.to_owned(), meaning]);
    }
    let mut text = table.render();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "\n{}", counts(&listing));
    text
}

/// How many words there are of each stance.
fn counts(listing: &[KeywordInfo]) -> String {
    let of = |wanted: &[&str]| listing.iter().filter(|k| wanted.contains(&stance(k.support).0)).count();
    format!(
        "{} keywords: {} supported, {} ignored, {} refused",
        listing.len(),
        of(&["supported", "deprecated"]),
        of(&["ignored"]),
        of(&["refused"]),
    )
}

#[derive(Serialize)]
struct Row {
    block: &'static str,
    keepalived_conf: Vec<&'static str>,
    yaml: Vec<&'static str>,
    takes: String,
    stance: &'static str,
    why: Option<&'static str>,
    meaning: &'static str,
}

/// The listing for programs.
pub(crate) fn json() -> String {
    super::json(&root::listing().into_iter().map(row).collect::<Vec<_>>())
}

fn row(k: KeywordInfo) -> Row {
    let (stance, why) = stance(k.support);
    Row {
        block: k.block,
        keepalived_conf: k.names,
        yaml: k.yaml,
        takes: k.takes,
        stance,
        why,
        meaning: k.doc,
    }
}

/// All that is known of one word: a block of lines for each place where it stands.
pub(crate) fn explain(word: &str, is_json: bool) -> Exit {
    let listing = root::listing();
    let is_it = |k: &KeywordInfo| k.names.contains(&word) || k.yaml.contains(&word);
    let found: Vec<KeywordInfo> = listing.iter().filter(|k| is_it(k)).cloned().collect();
    if found.is_empty() {
        let all = listing.iter().flat_map(|k| k.names.iter().chain(&k.yaml).copied());
        let likely =
            nearest(word, all).map(|likely| format!(": did you mean `{likely}`?")).unwrap_or_default();
        complain(&format!("no keepalived and no lvsd has a keyword `{word}`{likely}"));
        return Exit::Config;
    }
    print(&match is_json {
        true => super::json(&found.into_iter().map(row).collect::<Vec<_>>()),
        false => found.iter().map(about).collect::<Vec<_>>().join("\n"),
    });
    Exit::Ok
}

/// One keyword for people.
fn about(keyword: &KeywordInfo) -> String {
    let names = if keyword.names.is_empty() { &keyword.yaml } else { &keyword.names };
    let (what, why) = stance(keyword.support);
    let mut lines = vec![format!("{}: {}", names.join(", "), keyword.doc)];
    lines.push(match keyword.names.is_empty() {
        true => format!("stands in {}, in YAML only", keyword.yaml_block),
        false => format!("stands in {}", keyword.block),
    });
    lines.extend((!keyword.takes.is_empty()).then(|| format!("takes {}", keyword.takes)));
    lines.push(match keyword.yaml.is_empty() {
        true => "in YAML: no such key".to_owned(),
        false => format!("in YAML: `{}` in {}", keyword.yaml.join("`, `"), keyword.yaml_block),
    });
    lines.push(match why {
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    });
    lines.join("\n  ") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_listing_names_both_spellings_and_counts() {
        let text = table();
        let line = |start: &str| {
            text.lines()
                .find(|l| l.starts_with(start))
                .unwrap()
                .split_whitespace()
                .take(5)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(line("lb_kind, lvs_method"), "lb_kind, lvs_method forwarding supported Forwarding");
        assert_eq!(line("delay_loop"), "delay_loop interval supported Time from");
        assert_eq!(line("retry"), "retry - supported Failures in");
        assert!(
            text.lines()
                .any(|l| l.starts_with("-  ") && l.contains(" scheduler_flags ") && l.contains("supported"))
        );
        let last = text.lines().last().unwrap();
        assert!(last.contains(" supported, ") && last.ends_with(" refused"), "{last}");
    }
}
