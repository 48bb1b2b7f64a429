//! YAML's `only_on: HOST` or `only_on: [HOSTS]`: a mapping is for these hosts alone, as a line of keepalived.conf behind `@HOST`.

use super::diagnostic::{Diagnostic, Diagnostics};
use super::source::Span;
use super::tree::{Node, Word};

pub(crate) const ONLY_ON: &str = "only_on";
/// What tells a mapping from the others of its list.
const NAMES: [&str; 4] = ["name", "address", "group", "fwmark"];

/// A mapping that is for other hosts, and was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elsewhere {
    /// Where it says so.
    pub span: Span,
    /// The key it stands below.
    pub key: String,
    /// Its name or address, where it has one.
    pub name: Option<String>,
    /// The hosts it is for.
    pub hosts: Vec<String>,
}

/// Takes out what is for other hosts than `host`.
pub(crate) fn take_out(nodes: &mut Vec<Node>, host: &str, diagnostics: &mut Diagnostics) -> Vec<Elsewhere> {
    let mut elsewhere = Vec::new();
    walk(nodes, host, diagnostics, &mut elsewhere);
    elsewhere
}

/// As deep as YAML nests, which is bounded.
fn walk(nodes: &mut Vec<Node>, host: &str, diagnostics: &mut Diagnostics, out: &mut Vec<Elsewhere>) {
    nodes.retain_mut(|node| {
        let Some(block) = &mut node.block else { return true };
        if let Some(condition) = block.iter().find(|s| &*s.keyword.text == ONLY_ON) {
            if condition.block.is_some() || condition.values.is_empty() {
                let problem = Diagnostic::error(condition.keyword.span, "`only_on` names no host");
                diagnostics.push(problem.help("write e.g. `only_on: lb1` or `only_on: [lb1, lb2]`"));
            } else if condition.values.iter().all(|word| &*word.text != host) {
                let text = |word: &Word| word.text.to_string();
                let named =
                    |key: &str| block.iter().find(|s| &*s.keyword.text == key)?.values.first().map(text);
                out.push(Elsewhere {
                    span: condition.keyword.span,
                    key: node.keyword.text.to_string(),
                    name: NAMES.into_iter().find_map(named),
                    hosts: condition.values.iter().map(text).collect(),
                });
                return false;
            }
        }
        walk(block, host, diagnostics, out);
        true
    });
}
