//! A configuration in the other language: `lvsd convert`.
//!
//! The statements of one language become those of the other by the tables of keywords ([`Rows`]), so that a new keyword is
//! carried without work; what a language says in a form of its own is in [`to_yaml`] and [`to_conf`]. The text that comes out is
//! read again: what its language does not take is left out and listed, and the two configurations are compared. Nothing is lost
//! without a word.

use std::collections::BTreeMap;
use std::path::Path;

use crate::syntax::comments;
use crate::syntax::diagnostic::{Class, Code, Diagnostic};
use crate::syntax::draft::{self, Draft};
use crate::syntax::expand::conditions;
use crate::syntax::files::{Files, Overlay};
use crate::syntax::keyword::{Form, KeywordInfo, Language, Yaml};
use crate::syntax::source::{FileId, Sources, Span};
use crate::syntax::tree::{Node, Word};
use crate::syntax::write::{self, Document};

use super::changes::changes;
use super::load::{Loaded, Reading, language_of, load_as, load_heard};
use super::root;
use super::types::Config;

mod leftovers;
mod to_conf;
mod to_yaml;

/// Most statements that are left out one after the other, because the other language does not take them.
const MAX_TRIALS: usize = 200;
/// Most statements that are listed.
const MAX_LISTED: usize = 1000;

/// A configuration in the other language.
#[derive(Debug)]
pub(crate) struct Converted {
    pub(crate) text: String,
    /// What is not as it was.
    pub(crate) left: Vec<Left>,
    /// How many more of them there are.
    pub(crate) not_listed: usize,
    /// As it was read.
    pub(crate) before: Loaded,
}

impl Converted {
    /// Whether something that had an effect is missing.
    pub(crate) fn has_lost(&self) -> bool {
        self.left.iter().any(|left| left.kind == Kind::Lost)
    }
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was to be converted cannot be run.
    Unreadable(Box<Loaded>),
    /// What came out cannot be run: what is said of it.
    Rejected(Box<Loaded>),
    /// It cannot be written.
    Unwritable,
}

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) span: Option<Span>,
    pub(crate) kind: Kind,
    /// The statement or the thing, never a secret of it.
    pub(crate) what: String,
    pub(crate) why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// It had an effect, or has one on another host, and is not there any more.
    Lost,
    /// What it stands for is written instead.
    Expanded,
    /// It had no effect, and is left out.
    Unused,
}

/// Converts a file. `to` is the path that the result is read by: its folder is what relative paths in it begin at.
///
/// # Errors
/// [`Failure`].
pub(crate) fn convert(
    files: &dyn Files,
    path: &Path,
    from: Language,
    to: &Path,
    reading: &Reading,
) -> Result<Converted, Failure> {
    let mut nodes: Vec<Node> = Vec::new();
    let before = load_heard(files, path, from, reading, &mut |node| nodes.push(node.clone()));
    let Some(config) = &before.config else { return Err(Failure::Unreadable(Box::new(before))) };
    let rows = Rows::new();
    let attached = comments::attach(&nodes, &before.sources, from);
    let (mut document, mut left) = match from {
        Language::Keepalived => to_yaml::document(&nodes, &rows, attached, &before),
        Language::Yaml => to_conf::document(&nodes, &rows, attached),
    };
    left.extend(expanded(&before.sources, from, &files.host()));
    let mut unsaid = Vec::new();
    let (text, after) = tried(files, to, reading, &mut document, &mut unsaid)?;
    let differences = match after.config.as_ref() {
        Some(after) => differences(config, after),
        None => Vec::new(),
    };
    // Where the configurations are equal, what was left out had no effect.
    let kind = if differences.is_empty() { Kind::Unused } else { Kind::Lost };
    left.extend(unsaid.into_iter().map(|left| Left { kind, ..left }));
    let is_explained = left.iter().any(|left| left.kind == Kind::Lost && left.span.is_some());
    left.extend(differences.into_iter().filter(|_| !is_explained).map(|what| Left {
        span: None,
        kind: Kind::Lost,
        what,
        why: "it does not come out the same in the other language".to_owned(),
    }));
    left.sort_by_key(|left| (left.span.map(|span| (span.file, span.start)), left.kind));
    left.dedup();
    let not_listed = left.len().saturating_sub(MAX_LISTED);
    left.truncate(MAX_LISTED);
    Ok(Converted { text, left, not_listed, before })
}

/// The text, what cannot stand in it having been taken out, and how it is read.
fn tried(
    files: &dyn Files,
    to: &Path,
    reading: &Reading,
    document: &mut Document,
    left: &mut Vec<Left>,
) -> Result<(String, Loaded), Failure> {
    let language = language_of(to);
    draft::number(&mut document.statements);
    let read = |text: &str| {
        let texts = BTreeMap::from([(to.to_owned(), text.into())]);
        load_as(&Overlay { files, texts }, to, reading)
    };
    for trial in 0.. {
        let text = match written(document, language, true) {
            Ok(text) => text,
            Err(Some(number)) => {
                leave(
                    document,
                    number,
                    "it has a sign that keepalived.conf cannot say: a double quote, or a line end",
                    left,
                )
                .ok_or(Failure::Unwritable)?;
                continue;
            }
            Err(None) => return Err(Failure::Unwritable),
        };
        let read = read(&text);
        let errors = read.diagnostics.iter().filter(|d| d.class == Class::Error);
        let found: BTreeMap<usize, &Diagnostic> = errors
            .filter_map(|d| {
                let span = d.span.filter(|span| read.sources.path(span.file) == to)?;
                Some((draft::tried(&text, span.start as usize)?, d))
            })
            .collect();
        if read.config.is_some() {
            break;
        }
        let mut is_less = false;
        for (number, problem) in found {
            is_less |= leave(document, number, &problem.message, left).is_some();
        }
        if !is_less || trial >= MAX_TRIALS {
            return Err(Failure::Rejected(Box::new(read)));
        }
    }
    let text = written(document, language, false).map_err(|_| Failure::Unwritable)?;
    let read = read(&text);
    if read.config.is_none() {
        return Err(Failure::Rejected(Box::new(read)));
    }
    Ok((text, read))
}

fn written(document: &Document, language: Language, is_trial: bool) -> Result<String, Option<usize>> {
    match language {
        Language::Yaml => write::yaml(document, is_trial).ok_or(None),
        Language::Keepalived => write::conf(document, is_trial).map_err(|word| Some(word.number)),
    }
}

/// Takes a statement out, and lists it.
fn leave(document: &mut Document, number: usize, why: &str, left: &mut Vec<Left>) -> Option<()> {
    // Without its name or address a thing is none.
    let is_heading =
        |draft: &Draft| matches!(draft.keyword.as_str(), "address" | "name" | "type" | "path" | "session");
    let removed = draft::remove(&mut document.statements, &mut document.end, number, &is_heading)?;
    let what = format!("`{}`", removed.keyword);
    left.push(Left { span: Some(removed.span), kind: Kind::Lost, what, why: why.to_owned() });
    Some(())
}

/// What differs between two configurations, in words. The order of virtual servers and of what has a name does not matter.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    if before == after {
        return Vec::new();
    }
    let mut ordered = after.clone();
    let place = |id| before.virtual_servers.iter().position(|server| server.id == id);
    ordered.virtual_servers.sort_by_key(|server| place(server.id));
    if *before == ordered {
        return Vec::new();
    }
    let named = |change: super::changes::Change| match (change.before, change.after) {
        (Some(_), None) => format!("{} is missing", change.what),
        (None, _) => format!("{} is new", change.what),
        (Some(old), Some(new)) => format!("{}: {old} became {new}", change.what),
    };
    let found: Vec<String> = changes(before, &ordered).into_iter().map(named).collect();
    if found.is_empty() { vec!["a setting".to_owned()] } else { found }
}

/// Lines that are instructions of their language, and are carried out instead of being carried over.
fn expanded(sources: &Sources, from: Language, host: &str) -> Vec<Left> {
    let mut found = Vec::new();
    if from == Language::Yaml {
        return found;
    }
    for file in sources.files() {
        let text = sources.text(file);
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let begin = start + (line.len() - line.trim_start().len());
            start += line.len();
            let line = line.trim();
            let (kind, why) = match line.chars().next() {
                Some('@') => {
                    let (holds, _) = conditions(line, host);
                    let why = match holds {
                        true => "the line is for some nodes only, and is written for every node",
                        false => "the line is for other nodes, and is left out",
                    };
                    (Kind::Lost, why)
                }
                Some('$') if line.contains('=') => {
                    (Kind::Expanded, "what it stands for is written where it is used")
                }
                Some('~') => (Kind::Expanded, "what it repeats is written"),
                Some('i') if line.starts_with("include") => {
                    (Kind::Expanded, "what the files say is written here")
                }
                _ => continue,
            };
            let what = line.split(['=', ' ', '\t']).next().unwrap_or_default();
            let end = begin + what.len();
            let at = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
            let span = Span { file, start: at(begin), end: at(end) };
            found.push(Left { span: Some(span), kind, what: format!("`{what}`"), why: why.to_owned() });
        }
    }
    found
}

/// The rows of all tables.
struct Rows(BTreeMap<&'static str, Vec<KeywordInfo>>);

impl Rows {
    fn new() -> Rows {
        let mut tables: BTreeMap<&'static str, Vec<KeywordInfo>> = BTreeMap::new();
        for row in root::listing() {
            tables.entry(row.block).or_default().push(row);
        }
        Rows(tables)
    }

    /// The rows of a table.
    fn of(&self, table: &str) -> &[KeywordInfo] {
        self.0.get(table).map(Vec::as_slice).unwrap_or_default()
    }

    /// The row of a word in a language.
    fn find(&self, table: &str, word: &str, language: Language) -> Option<&KeywordInfo> {
        self.of(table).iter().find(|row| match language {
            Language::Keepalived => row.names.contains(&word),
            Language::Yaml => row.yaml.contains(&word),
        })
    }

    /// The table of the block of a row.
    fn inner(&self, row: &KeywordInfo) -> Option<&'static str> {
        row.inner.or_else(|| {
            let is_block = matches!(row.form, Form::Block { .. });
            let name = row.names.first().filter(|name| is_block && self.0.contains_key(*name))?;
            Some(name)
        })
    }

    /// The key that names a line or a block in YAML's mappings.
    fn key_of(&self, table: &str) -> Option<&'static str> {
        let keys = self.of(table).iter().filter(|row| row.spelling == Yaml::Only);
        let mut names = keys.filter_map(|row| row.yaml.first().copied());
        names.find(|name| matches!(*name, "name" | "address"))
    }
}

/// What was said of statements, by where they begin.
type Codes = BTreeMap<(FileId, u32), Code>;

fn codes(loaded: &Loaded) -> Codes {
    let mut codes = Codes::new();
    for diagnostic in loaded.diagnostics.iter() {
        let at = match (diagnostic.code, diagnostic.span) {
            (Some(Code::Unheeded(span)), _) | (Some(Code::Taken(_)), Some(span)) => span,
            _ => continue,
        };
        codes.extend(diagnostic.code.map(|code| ((at.file, at.start), code)));
    }
    codes
}

/// Puts statements of the same key together, where a mapping can have it only once.
fn tidy(drafts: &mut Vec<Draft>) {
    let mut tidied: Vec<Draft> = Vec::with_capacity(drafts.len());
    for draft in drafts.drain(..) {
        let same = tidied
            .iter_mut()
            .find(|known| known.keyword == draft.keyword && !draft.is_item && !known.is_item);
        let Some(same) = same else {
            tidied.push(draft);
            continue;
        };
        let Draft { values, block, mut comments, .. } = draft;
        same.comments.before.append(&mut comments.before);
        same.comments.before.extend(comments.behind);
        same.comments.end.append(&mut comments.end);
        match (&mut same.block, block) {
            (Some(known), Some(block)) => {
                known.extend(block);
                tidy(known);
            }
            (None, Some(block)) => same.block = Some(block),
            _ => same.values.extend(values),
        }
    }
    *drafts = tidied;
}

/// A time as short as it can be said: `5s`, `250ms`, `10us`.
fn time_text(duration: std::time::Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1000) => format!("{}ms", micros / 1000),
        _ => format!("{micros}us"),
    }
}

/// The same in seconds.
fn seconds_text(duration: std::time::Duration) -> String {
    let micros = duration.as_micros();
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn texts(words: &[Word]) -> Vec<String> {
    words.iter().map(|word| word.text.to_string()).collect()
}

#[cfg(test)]
mod tests;
