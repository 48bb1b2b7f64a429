//! How YAML writes a check: `check: {type: http, url: /health, status: 200}`, the type being one of [`TYPES`].

use super::{CheckerOptions, TYPES, Type};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, nearest};
use crate::syntax::reader::any_of;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

pub(super) const TYPE: &str = "a type of check, e.g. tcp";

/// Reads `check: tcp` or `check: {type: ...}`.
pub(in crate::config) fn read(checkers: &mut Vec<CheckerOptions>, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_some() {
        return read_block(checkers, node, reader);
    }
    for word in &node.values {
        let empty = Node { block: Some(Vec::new()), ..node.clone() };
        if let Some(found) = of_type(word, reader) {
            (found.read)(checkers, &empty, reader);
        }
    }
}

fn read_block(checkers: &mut Vec<CheckerOptions>, node: &Node, reader: &mut Reader<'_>) {
    let written = node.statements().iter().find(|s| &*s.keyword.text == "type");
    let (span, problem) = match written.map(|written| (written, written.values.first())) {
        Some((_, Some(word))) => {
            if let Some(found) = of_type(word, reader) {
                (found.read)(checkers, node, reader);
            }
            return;
        }
        Some((written, None)) => (written.keyword.span, "`type` needs a value"),
        None => (node.keyword.span, "`check` needs a `type`"),
    };
    reader
        .diagnostics
        .push(Diagnostic::error(span, problem).help(format!("write `type: tcp`; types are {}", types())));
}

/// None after reporting what is wrong.
fn of_type(word: &Word, reader: &mut Reader<'_>) -> Option<&'static Type> {
    let found = TYPES.iter().find(|found| found.name == &*word.text);
    if found.is_none() {
        let likely = nearest(word, TYPES.iter().map(|found| found.name));
        let hint = likely.map(|likely| format!("did you mean `{likely}`?"));
        reader.wrong("type", word, &format!("a type of check: {}", types()), Wrong::Malformed(hint));
    }
    found
}

/// The types: `tcp, http or https`.
fn types() -> String {
    any_of(&TYPES.iter().map(|found| found.name).collect::<Vec<_>>())
}
