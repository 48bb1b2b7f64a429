//! Statements as text: YAML and keepalived.conf.
//!
//! serde-saphyr writes YAML, its quotes and its indentation. It knows comments behind scalars only, so that a line of
//! comment is a key of its own while it writes, and becomes the comment afterwards.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_yaml::{Commented, FlowMap, FlowSeq};

use super::draft::{Draft, TRIED};

/// Longest list or mapping that is written in one line.
const MAX_FLOW: usize = 90;

/// A text that is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) statements: Vec<Draft>,
    /// Comments before everything else.
    pub(crate) begin: Vec<String>,
    /// Comments at its end.
    pub(crate) end: Vec<String>,
}

enum Tree {
    Bool(bool),
    Number(i64),
    Text(String),
    Commented(Box<Tree>, String),
    Flow(Vec<Tree>),
    FlowMap(Vec<(String, Tree)>),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
    Nothing,
}

struct Entries<'a>(&'a [(String, Tree)]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Bool(value) => to.serialize_bool(*value),
            Tree::Number(number) => to.serialize_i64(*number),
            Tree::Text(text) => to.serialize_str(text),
            Tree::Commented(value, comment) => Commented(&**value, comment.clone()).serialize(to),
            Tree::Flow(items) => FlowSeq(items).serialize(to),
            Tree::FlowMap(entries) => FlowMap(Entries(entries)).serialize(to),
            Tree::List(items) => items.serialize(to),
            Tree::Map(entries) => Entries(entries).serialize(to),
            Tree::Nothing => to.serialize_unit(),
        }
    }
}

/// Writes YAML. None where it cannot be written.
pub(crate) fn yaml(document: &Document, is_trial: bool) -> Option<String> {
    let mut sign = "lvsd-comment-".to_owned();
    while document.statements.iter().any(|draft| mentions(draft, &sign)) {
        sign.push('x');
    }
    let mut writer = YamlWriter { lines: Vec::new(), sign, is_trial };
    let mut entries = Vec::new();
    for line in &document.begin {
        entries.push(writer.comment(line));
    }
    if !document.begin.is_empty() {
        entries.push(writer.comment(""));
    }
    writer.entries(&document.statements, true, &mut entries);
    for line in &document.end {
        entries.push(writer.comment(line));
    }
    let options = serde_yaml::ser_options! {
        compact_list_indent: false,
        prefer_block_scalars: false,
        yaml_12: true,
        no_lang_directive: true,
    };
    let text = serde_yaml::to_string_with_options(&Tree::Map(entries), options).ok()?;
    Some(writer.with_comments(&text))
}

fn mentions(draft: &Draft, sign: &str) -> bool {
    draft.keyword.contains(sign)
        || draft.values.iter().any(|value| value.contains(sign))
        || draft.statements().iter().any(|inner| mentions(inner, sign))
}

struct YamlWriter {
    lines: Vec<String>,
    /// The beginning of the key that stands for a line of comment.
    sign: String,
    is_trial: bool,
}

impl YamlWriter {
    fn sign_of(&mut self, line: &str) -> String {
        self.lines.push(line.to_owned());
        format!("{}{}", self.sign, self.lines.len() - 1)
    }

    fn comment(&mut self, line: &str) -> (String, Tree) {
        (self.sign_of(line), Tree::Nothing)
    }

    fn with_comments(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for line in text.lines() {
            let begin = line.len() - line.trim_start_matches([' ', '-']).len();
            let (indent, rest) = line.split_at(begin);
            let key = rest.strip_prefix(&*self.sign);
            let number = key.and_then(|key| {
                let (digits, is_key) = match key.strip_suffix(": null").or(key.strip_suffix(":")) {
                    Some(digits) => (digits, true),
                    None => (key, false),
                };
                Some((digits.parse::<usize>().ok()?, is_key))
            });
            match number.and_then(|(number, is_key)| Some((self.lines.get(number)?, is_key))) {
                Some((comment, _)) if comment.is_empty() => out.push('\n'),
                Some((comment, is_key)) => {
                    // An item of a list that is nothing but a comment is no item.
                    let indent = if is_key { indent.to_owned() } else { indent.replacen("- ", "", 1) };
                    out.push_str(&format!("{indent}{comment}\n"));
                }
                None => out.push_str(&format!("{line}\n")),
            }
        }
        out
    }

    fn map(&mut self, statements: &[Draft], end: &[String]) -> Tree {
        let mut entries = Vec::new();
        self.entries(statements, false, &mut entries);
        for line in end {
            entries.push(self.comment(line));
        }
        Tree::Map(entries)
    }

    fn entries(&mut self, statements: &[Draft], is_root: bool, entries: &mut Vec<(String, Tree)>) {
        let mut seen: Vec<&str> = Vec::new();
        for first in statements {
            let key = first.keyword.as_str();
            if seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let all: Vec<&Draft> = statements.iter().filter(|draft| draft.keyword == key).collect();
            if is_root && seen.len() > 1 && !self.is_trial {
                entries.push(self.comment(""));
            }
            let value = match all.as_slice() {
                [only] if !only.is_item => {
                    self.before(only, entries);
                    self.value(only)
                }
                _ => self.list(&all),
            };
            entries.push((key.to_owned(), value));
        }
    }

    /// The comments that stand before a statement.
    fn lines_before(&self, draft: &Draft) -> Vec<String> {
        let mut lines = draft.comments.before.clone();
        // Only a scalar can have one behind it.
        if draft.block.is_some() || draft.values.len() != 1 {
            lines.extend(draft.comments.behind.clone());
        }
        if self.is_trial {
            lines.push(format!("{TRIED}{}", draft.number));
        }
        lines
    }

    fn before(&mut self, draft: &Draft, entries: &mut Vec<(String, Tree)>) {
        for line in self.lines_before(draft) {
            entries.push(self.comment(&line));
        }
    }

    fn list(&mut self, all: &[&Draft]) -> Tree {
        let has_comments = |draft: &Draft| draft.comments != Default::default();
        let is_plain = |draft: &&&Draft| draft.block.is_none() && !has_comments(draft);
        let length: usize = all.iter().flat_map(|draft| &draft.values).map(|value| value.len() + 2).sum();
        if !self.is_trial && length < MAX_FLOW && all.iter().filter(is_plain).count() == all.len() {
            return Tree::Flow(all.iter().flat_map(|draft| &draft.values).map(|v| scalar(v)).collect());
        }
        let mut items = Vec::new();
        for draft in all {
            for line in self.lines_before(draft) {
                let sign = self.sign_of(&line);
                items.push(Tree::Text(sign));
            }
            match (&draft.block, draft.values.len()) {
                (None, 2..) => items.extend(draft.values.iter().map(|value| scalar(value))),
                _ => items.push(self.value(draft)),
            }
        }
        Tree::List(items)
    }

    fn value(&mut self, draft: &Draft) -> Tree {
        let Draft { values, block, comments, .. } = draft;
        match (block, values.as_slice()) {
            (Some(block), _) => match self.flow(draft) {
                Some(flow) => flow,
                None => self.map(block, &comments.end),
            },
            (None, []) => Tree::Nothing,
            (None, [only]) => match &comments.behind {
                Some(comment) => {
                    let text = comment.strip_prefix('#').unwrap_or(comment).trim_start();
                    Tree::Commented(Box::new(scalar(only)), text.to_owned())
                }
                None => scalar(only),
            },
            (None, values) => Tree::Flow(values.iter().map(|value| scalar(value)).collect()),
        }
    }

    /// A short mapping of scalars, of which there are many in a file, in one line.
    fn flow(&self, draft: &Draft) -> Option<Tree> {
        let inner = draft.statements();
        let is_plain = |d: &Draft| d.block.is_none() && d.comments == Default::default() && !d.is_item;
        let length: usize = inner
            .iter()
            .map(|d| d.keyword.len() + d.values.iter().map(|v| v.len() + 2).sum::<usize>() + 4)
            .sum();
        let is_short = draft.comments.end.is_empty() && length < MAX_FLOW;
        let mut keys: Vec<&str> = inner.iter().map(|d| d.keyword.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        if self.is_trial || !is_short || keys.len() != inner.len() || !inner.iter().all(is_plain) {
            return None;
        }
        let value = |d: &Draft| match d.values.as_slice() {
            [] => Tree::Nothing,
            [only] => scalar(only),
            values => Tree::Flow(values.iter().map(|value| scalar(value)).collect()),
        };
        Some(Tree::FlowMap(inner.iter().map(|d| (d.keyword.clone(), value(d))).collect()))
    }
}

/// A number or a truth value without quotes, where it reads back as the same letters.
fn scalar(text: &str) -> Tree {
    match text {
        "true" => Tree::Bool(true),
        "false" => Tree::Bool(false),
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Tree::Number(number),
            _ => Tree::Text(text.to_owned()),
        },
    }
}

/// A word that keepalived.conf cannot say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsayable {
    /// The number of its statement.
    pub(crate) number: usize,
}

/// Writes keepalived.conf.
///
/// # Errors
/// When a word has a sign that no quotes protect: a double quote, or a control character.
pub(crate) fn conf(document: &Document, is_trial: bool) -> Result<String, Unsayable> {
    let mut out = String::new();
    for line in &document.begin {
        out.push_str(&format!("{line}\n"));
    }
    if !document.begin.is_empty() {
        out.push('\n');
    }
    for (at, draft) in document.statements.iter().enumerate() {
        if at > 0 && (draft.block.is_some() || !draft.comments.before.is_empty()) {
            out.push('\n');
        }
        statement(draft, 0, is_trial, &mut out)?;
    }
    for line in &document.end {
        out.push_str(&format!("{line}\n"));
    }
    Ok(out)
}

fn statement(draft: &Draft, depth: usize, is_trial: bool, out: &mut String) -> Result<(), Unsayable> {
    let indent = "    ".repeat(depth);
    for line in &draft.comments.before {
        out.push_str(&format!("{indent}{line}\n"));
    }
    if is_trial {
        out.push_str(&format!("{indent}{TRIED}{}\n", draft.number));
    }
    let unsayable = Unsayable { number: draft.number };
    // At the beginning of a line these would be definitions, conditions, repetitions, includes.
    let begins_other = draft.keyword.starts_with(['$', '@', '~']) || draft.keyword.starts_with("include");
    let keyword = match begins_other {
        true => Some(format!("\"{}\"", draft.keyword)).filter(|_| !draft.keyword.contains('"')),
        false => word(&draft.keyword),
    };
    out.push_str(&format!("{indent}{}", keyword.ok_or(unsayable.clone())?));
    for value in &draft.values {
        out.push_str(&format!(" {}", word(value).ok_or(unsayable.clone())?));
    }
    let behind = draft.comments.behind.as_ref().map(|comment| format!(" {comment}")).unwrap_or_default();
    let Some(block) = &draft.block else {
        out.push_str(&format!("{behind}\n"));
        return Ok(());
    };
    out.push_str(&format!(" {{{behind}\n"));
    for inner in block {
        statement(inner, depth + 1, is_trial, out)?;
    }
    for line in &draft.comments.end {
        out.push_str(&format!("{indent}    {line}\n"));
    }
    out.push_str(&format!("{indent}}}\n"));
    Ok(())
}

/// A word, in quotes where it needs some. None where no quotes help.
fn word(text: &str) -> Option<String> {
    if text.contains(|c: char| c == '"' || c.is_control()) {
        return None;
    }
    let is_odd = |c: char| !c.is_ascii() || c <= ' ' || matches!(c, '{' | '}' | '#' | '!' | '\\');
    Some(if text.is_empty() || text.contains(is_odd) { format!("\"{text}\"") } else { text.to_owned() })
}
