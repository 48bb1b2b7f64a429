//! How YAML writes a check: `check: {type: http, url: /health, status: 200}`, the type being one of its words.

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Yaml, nearest};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::{CheckerKind, CheckerOptions};
use crate::config::url::{self, HTTP_URL, SSL_URL, digest_of, statuses};

/// The types there are.
const TYPES: &[(&str, CheckerKind)] =
    &[("tcp", CheckerKind::Tcp), ("http", CheckerKind::Http), ("https", CheckerKind::Ssl)];
/// Types of checks that are not built.
const NOT_YET: &[&str] = &["smtp", "dns", "misc", "udp", "ping", "file", "bfd"];
const TYPE: &str = "a type of check: tcp, http or https";

/// What every check of YAML takes.
pub(crate) const ANY: &[Keyword<CheckerOptions>] = &[Keyword::new(
    "type",
    // Read before the table can be chosen.
    Kind::Words { what: TYPE, min: 1, max: 1, read: |_, _, _| {} },
    "What is asked: tcp, http or https.",
)
.yaml(Yaml::Only)];

/// What checks of type http and https take in YAML only.
pub(crate) const HTTP: &[Keyword<CheckerOptions>] = &[
    Keyword::new(
        "url",
        Kind::Words { what: "paths, e.g. /health", min: 1, max: MAX_URLS, read: paths },
        "What to ask for, and what the answer must be; at least one.",
    )
    .or(&["urls"])
    .yaml(Yaml::Only)
    .yaml_block("url", url),
    Keyword::new(
        "status",
        Kind::Words {
            what: "statuses, e.g. 200 or [200-299, 304]",
            min: 1,
            max: 512,
            read: |o: &mut CheckerOptions, n, r| statuses(&mut o.status, n, r),
        },
        "Statuses that count as success, for URLs that do not say theirs.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "digest",
        Kind::Words {
            what: "32 hex digits (MD5), or sha256: and 64 hex digits",
            min: 1,
            max: 1,
            read: |o: &mut CheckerOptions, n, r| digest_of(&mut o.digest, n, r),
        },
        "Digest the body must have, for URLs that do not say theirs.",
    )
    .yaml(Yaml::Only),
];

const MAX_URLS: usize = 1000;

fn url(options: &mut CheckerOptions, node: &Node, reader: &mut Reader<'_>) {
    let table = if options.kind == CheckerKind::Ssl { &SSL_URL } else { &HTTP_URL };
    options.urls.push(url::read(table, node, reader));
}

fn paths(options: &mut CheckerOptions, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        // A block of nothing but its path, so that a path is the same in both forms.
        let keyword = Word { text: "path".into(), ..word.clone() };
        let path = Node { keyword: keyword.clone(), values: vec![word.clone()], block: None };
        url(options, &Node { keyword, values: Vec::new(), block: Some(vec![path]) }, reader);
    }
}

/// Reads `check: tcp`.
pub(crate) fn read_word(node: &Node, reader: &mut Reader<'_>) -> Vec<CheckerOptions> {
    let words = node.values.iter();
    let kinds: Vec<_> = words.filter_map(|word| kind(word, reader)).collect();
    kinds
        .into_iter()
        .map(|kind| super::read(kind, &Node { block: Some(Vec::new()), ..node.clone() }, reader))
        .collect()
}

/// Reads `check: {type: ...}`. None after saying what is wrong.
pub(crate) fn read_block(node: &Node, reader: &mut Reader<'_>) -> Option<CheckerOptions> {
    let Some(written) = node.statements().iter().find(|s| &*s.keyword.text == "type") else {
        let problem = Diagnostic::error(node.keyword.span, "`check` needs a `type`")
            .help("write `type: tcp`, http or https");
        reader.diagnostics.push(problem);
        return None;
    };
    let Some(word) = written.values.first() else {
        let problem = Diagnostic::error(written.keyword.span, "`type` needs a value")
            .help("write `type: tcp`, http or https");
        reader.diagnostics.push(problem);
        return None;
    };
    Some(super::read(kind(word, reader)?, node, reader))
}

fn kind(word: &Word, reader: &mut Reader<'_>) -> Option<CheckerKind> {
    if let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == &*word.text) {
        return Some(*kind);
    }
    if NOT_YET.contains(&&*word.text) {
        let text = format!(
            "a check of type {} is not yet supported: without it the real server would always count as up",
            word.text
        );
        reader.error(word.span, text);
        return None;
    }
    let likely = nearest(word, TYPES.iter().map(|(name, _)| *name));
    reader.wrong("type", word, TYPE, Wrong::Malformed(likely.map(|l| format!("did you mean `{l}`?"))));
    None
}
