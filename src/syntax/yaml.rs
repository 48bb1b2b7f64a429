//! YAML to the tree keepalived.conf becomes, too.
//!
//! A mapping is a block, `key: value` a statement; a list of scalars are its values, a list of mappings one
//! statement each. So the keyword tables read both languages. Every word keeps its place; an anchored value used
//! by alias keeps the place where it is written. It refuses to know any keyword, and to guess types: `1.10` and
//! `off` stay the words they are. Nesting, and what aliases may grow to, are bounded. `config` calls [`read`].

use std::collections::BTreeMap;
use std::path::Path;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Class, Diagnostic, Diagnostics};
use super::expand::{Read, Text};
use super::files::Files;
use super::only_on;
use super::open::open;
use super::slice::Slice;
use super::source::{FileId, Sources, Span};
use super::tree::{MAX_DEPTH, Node, Word};

/// Most values, aliases replaced by what they stand for.
pub(crate) const MAX_VALUES: usize = 1_000_000;

/// Reads a file; what was understood goes to `to`.
pub(crate) fn read(files: &dyn Files, path: &Path, to: &mut Read<'_>) -> Text {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let mut nodes = match open(files, path, &mut sources) {
        Ok(file) => parse(&sources.text(file), file, &mut diagnostics),
        Err(unreadable) => {
            diagnostics.push(Diagnostic::new(Class::Error, None, unreadable.message));
            Vec::new()
        }
    };
    let elsewhere = only_on::take_out(&mut nodes, &files.host(), &mut diagnostics);
    for node in nodes {
        to(&node, &mut diagnostics);
    }
    Text { sources, diagnostics, skipped: None, elsewhere }
}

/// Reads a text. What cannot be YAML is one error and no statement.
pub(crate) fn parse(text: &str, file: FileId, diagnostics: &mut Diagnostics) -> Vec<Node> {
    // The parser skips a byte order mark, but counts from behind it.
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let text = text.get(skipped..).unwrap_or_default();
    let options = granit_parser::options! {
        flow_nesting_limit: 2 * MAX_DEPTH,
        block_nesting_limit: 2 * MAX_DEPTH,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        emit_comments: false,
    };
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(text, options),
        place: Place { file, text, skipped },
        diagnostics,
        anchors: BTreeMap::new(),
        values: 0,
        depth: 0,
    };
    match reader.document() {
        Ok(nodes) => nodes,
        Err(Stop::Syntax(error)) => {
            let at = error.marker().byte_offset().unwrap_or(text.len());
            let span = reader.place.character(at);
            let info = error.info();
            let problem = Diagnostic::error(span, format!("this is not YAML: {info}"));
            reader.diagnostics.push(problem.help(hint(text, at, &info)));
            Vec::new()
        }
        Err(Stop::Said) => Vec::new(),
    }
}

/// What to look for where a text stops being YAML.
fn hint(text: &str, at: usize, info: &str) -> &'static str {
    let before = text.get(..at).and_then(|t| t.rsplit('\n').next()).unwrap_or_default();
    let after = text.get(at..).and_then(|t| t.split('\n').next()).unwrap_or_default();
    if before.trim_start_matches(' ').starts_with('\t') || after.starts_with('\t') || info.ends_with("a tab")
    {
        "indent with spaces: YAML takes no tabs"
    } else if before.ends_with(']') && after.starts_with(':') {
        "an IPv6 address with a port goes in quotes: \"[2001:db8::10]:80\""
    } else {
        "look at this line, and at the indentation of the one before"
    }
}

/// Why reading ends.
enum Stop {
    Syntax(ScanError),
    /// What is wrong was said.
    Said,
}

impl From<ScanError> for Stop {
    fn from(error: ScanError) -> Stop {
        Stop::Syntax(error)
    }
}

/// A value, its place, and of how many values it consists.
#[derive(Clone, Debug)]
struct Value {
    form: Form,
    span: Span,
    count: usize,
}

#[derive(Clone, Debug)]
enum Form {
    /// Nothing: `~`, `null`, or no value at all.
    Null,
    /// What is wrong with it was said.
    Wrong,
    Scalar(Word),
    List(Vec<Value>),
    Map(Vec<(Word, Value)>),
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    place: Place<'a>,
    diagnostics: &'a mut Diagnostics,
    anchors: BTreeMap<usize, Value>,
    values: usize,
    depth: usize,
}

/// From the parser's places to spans.
struct Place<'a> {
    file: FileId,
    text: &'a str,
    /// Bytes before the text.
    skipped: usize,
}

impl Place<'_> {
    fn span(&self, span: granit_parser::Span) -> Span {
        let range = span.byte_range().unwrap_or(0..0);
        self.range(range.start, range.end)
    }

    fn range(&self, start: usize, end: usize) -> Span {
        let at = |n: usize| u32::try_from(n.saturating_add(self.skipped)).unwrap_or(u32::MAX);
        Span { file: self.file, start: at(start), end: at(end.max(start)) }
    }

    /// The character at a byte; at the end of the text the last line that says something.
    fn character(&self, at: usize) -> Span {
        let at = if at < self.text.len() { at } else { self.text.trim_end().len() };
        let length = self.text.get(at..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8);
        self.range(at, at + length)
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.events.next() {
            Some(event) => {
                let (event, span) = event?;
                Ok((event, self.place.span(span)))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn document(&mut self) -> Result<Vec<Node>, Stop> {
        let mut nodes = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(nodes.unwrap_or_default()),
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if nodes.is_some() => {
                    let problem = Diagnostic::error(span, "a second document begins here");
                    self.diagnostics
                        .push(problem.help("a configuration is one document: remove the line `---`"));
                    return Err(Stop::Said);
                }
                Event::DocumentStart(..) => nodes = Some(Vec::new()),
                event => {
                    let root = self.value(event, span)?;
                    nodes = Some(match root.form {
                        Form::Null | Form::Wrong => Vec::new(),
                        Form::Map(entries) => self.statements(entries),
                        Form::Scalar(_) | Form::List(_) => {
                            let problem = Diagnostic::error(
                                self.first_line(root.span),
                                "the configuration is not a mapping",
                            );
                            self.diagnostics.push(
                                problem.help("write `virtual_servers:`, and below it what it is to be"),
                            );
                            Vec::new()
                        }
                    });
                }
            }
        }
    }

    /// A span cut to its first line: what is worth underlining.
    fn first_line(&self, span: Span) -> Span {
        let start = (span.start as usize).saturating_sub(self.place.skipped);
        let length = self.place.text.get(start..).and_then(|t| t.lines().next()).map_or(0, str::len);
        let end = (span.end as usize).saturating_sub(self.place.skipped);
        self.place.range(start, end.min(start + length))
    }

    /// The value that begins with an event.
    fn value(&mut self, event: Event<'a>, span: Span) -> Result<Value, Stop> {
        if event.tag().is_some() {
            let problem = Diagnostic::error(self.first_line(span), "a tag means nothing here");
            self.diagnostics.push(problem.help("remove the word with `!` before this value"));
        }
        if self.depth >= 2 * MAX_DEPTH {
            self.diagnostics
                .push(Diagnostic::error(span, format!("values nest deeper than {}", 2 * MAX_DEPTH)));
            return Err(Stop::Said);
        }
        self.depth += 1;
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, _) => {
                let is_null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let is_quoted = style != ScalarStyle::Plain;
                if text.contains('\u{fffd}') {
                    let problem = Diagnostic::error(self.first_line(span), "this word is not UTF-8");
                    self.diagnostics.push(problem.help("save the file in UTF-8, or correct the word"));
                }
                let form = if is_null {
                    Form::Null
                } else {
                    Form::Scalar(Word { text: (&*text).into(), span: self.first_line(span), is_quoted })
                };
                (anchor, Value { form, span, count: 1 })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.list(span)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.map(span)?),
            Event::Alias(anchor) => (0, self.alias(anchor, span)?),
            Event::UnresolvedAlias(name) => {
                let problem = Diagnostic::error(span, format!("`*{name}` is not defined before it is used"));
                self.diagnostics.push(problem.help(format!("mark what it stands for with `&{name}`")));
                (0, Value { form: Form::Wrong, span, count: 1 })
            }
            _ => (0, Value { form: Form::Null, span, count: 1 }),
        };
        self.depth -= 1;
        self.count(1, span)?;
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn count(&mut self, more: usize, at: Span) -> Result<(), Stop> {
        self.values = self.values.saturating_add(more);
        if self.values <= MAX_VALUES {
            return Ok(());
        }
        let problem = Diagnostic::error(at, format!("the configuration has more than {MAX_VALUES} values"));
        self.diagnostics.push(problem.help("an alias counts as often as it is used"));
        Err(Stop::Said)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<Value, Stop> {
        let Some(count) = self.anchors.get(&anchor).map(|v| v.count) else {
            self.diagnostics.push(Diagnostic::error(span, "this alias stands within what it stands for"));
            return Ok(Value { form: Form::Wrong, span, count: 1 });
        };
        // Counted before it is copied.
        self.count(count, span)?;
        Ok(self.anchors.get(&anchor).cloned().unwrap_or(Value { form: Form::Null, span, count: 1 }))
    }

    fn list(&mut self, begin: Span) -> Result<Value, Stop> {
        let (mut items, mut count) = (Vec::new(), 1);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value { form: Form::List(items), span: begin.to(span), count });
            }
            let item = self.value(event, span)?;
            count += item.count;
            items.push(item);
        }
    }

    fn map(&mut self, begin: Span) -> Result<Value, Stop> {
        let (mut entries, mut count) = (Vec::new(), 1);
        let mut seen: BTreeMap<Slice, Span> = BTreeMap::new();
        let mut merged: Vec<(Word, Value)> = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                for (key, value) in merged {
                    if !seen.contains_key(&key.text) {
                        seen.insert(key.text.clone(), key.span);
                        entries.push((key, value));
                    }
                }
                return Ok(Value { form: Form::Map(entries), span: begin.to(span), count });
            }
            let key = self.value(event, span)?;
            let (event, span) = self.next()?;
            let value = self.value(event, span)?;
            count += key.count + value.count;
            let Form::Scalar(key) = key.form else {
                let problem = Diagnostic::error(self.first_line(key.span), "this key is not a word");
                self.diagnostics.push(problem.help("write `key: value`; a value with braces goes in quotes"));
                continue;
            };
            if &*key.text == "<<" && !key.is_quoted {
                self.merge(value, &mut merged);
            } else if let Some(first) = seen.get(&key.text) {
                let problem = Diagnostic::error(key.span, format!("`{}` is given twice", key.text))
                    .at(*first, "the first one is here")
                    .help("remove one: a key stands once in its mapping");
                self.diagnostics.push(problem);
            } else {
                seen.insert(key.text.clone(), key.span);
                entries.push((key, value));
            }
        }
    }

    /// What `<<` brings: a mapping, or several, the first of which counts.
    fn merge(&mut self, value: Value, into: &mut Vec<(Word, Value)>) {
        match value.form {
            Form::Map(entries) => into.extend(entries),
            Form::List(items) => items.into_iter().for_each(|item| match item.form {
                Form::Map(entries) => into.extend(entries),
                _ => self.not_merged(item.span),
            }),
            _ => self.not_merged(value.span),
        }
    }

    fn not_merged(&mut self, span: Span) {
        let problem = Diagnostic::error(self.first_line(span), "`<<` takes a mapping");
        self.diagnostics.push(problem.help("write e.g. `<<: *common`"));
    }

    fn statements(&mut self, entries: Vec<(Word, Value)>) -> Vec<Node> {
        let mut nodes = Vec::new();
        for (keyword, value) in entries {
            match value.form {
                Form::List(items) => self.items(&keyword, items, &mut nodes),
                _ => {
                    let node = self.statement(keyword, value);
                    nodes.extend(node);
                }
            }
        }
        nodes
    }

    fn statement(&mut self, keyword: Word, value: Value) -> Option<Node> {
        let (values, block) = match value.form {
            Form::Wrong => return None,
            Form::Null => (Vec::new(), None),
            Form::Scalar(word) => (vec![word], None),
            Form::Map(entries) => (Vec::new(), Some(self.statements(entries))),
            Form::List(_) => {
                let problem = Diagnostic::error(
                    self.first_line(value.span),
                    format!("`{}`: a list stands within a list", keyword.text),
                );
                self.diagnostics.push(problem.help("remove the inner brackets, or the surplus `-`"));
                return None;
            }
        };
        Some(Node { keyword, values, block })
    }

    /// Scalars are the values of one statement; where there is a mapping, every item is a statement.
    fn items(&mut self, keyword: &Word, items: Vec<Value>, nodes: &mut Vec<Node>) {
        for empty in items.iter().filter(|i| matches!(i.form, Form::Null)) {
            let problem =
                Diagnostic::error(keyword.span, format!("`{}`: an item of the list is empty", keyword.text));
            self.diagnostics.push(if empty.span.end > empty.span.start {
                Diagnostic { span: Some(empty.span), ..problem }
            } else {
                problem
            });
        }
        let is_words = items.iter().all(|i| matches!(i.form, Form::Scalar(_) | Form::Null | Form::Wrong));
        if is_words {
            let words = items.into_iter().filter_map(|i| match i.form {
                Form::Scalar(word) => Some(word),
                _ => None,
            });
            let values: Vec<Word> = words.collect();
            if !values.is_empty() {
                nodes.push(Node { keyword: keyword.clone(), values, block: None });
            }
            return;
        }
        for item in items {
            if matches!(item.form, Form::Null) {
                continue;
            }
            // An item is told from the others by where it begins.
            let span = match &item.form {
                Form::Map(entries) => entries.first().map_or(keyword.span, |(key, _)| key.span),
                _ => self.first_line(item.span),
            };
            let node = self.statement(Word { span, ..keyword.clone() }, item);
            nodes.extend(node);
        }
    }
}
