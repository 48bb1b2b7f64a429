//! Files to tree: opens the files, follows `include`, replaces definitions, hands words to the tree's builder.
//!
//! The order is keepalived's, line by line: comment, condition (`@ID`), definition (`$NAME=value`), repetition
//! (`~SEQ`, `~LST`), replacement of `$NAME` and `${NAME}` (when used, so a definition may use a later one),
//! `include`, words and braces. Everything is bounded: files, their size and nesting, lines, what a line may grow
//! to and how often it may be replaced. A plain line, of nothing but words, braces and a comment, is most lines:
//! it goes a short way to the same tree. `config` calls [`read`].
//!
//! The file is long because the steps of a line share its position, its definitions and the limits of the whole reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::definition::{self, Definitions, Expanded, Pending, Scene};
use super::diagnostic::{Certainty, Class, Code, Diagnostic, Diagnostics, Edit};
use super::files::{self, Files, Unmatched};
use super::lexer::{self, Line, Plain, Token};
use super::odd_space::OddSpaces;
use super::only_on::Elsewhere;
use super::open::open;
use super::repeat::{self, Repeat};
use super::slice::Slice;
use super::source::{FileId, Sources, Span};
use super::tree::{Builder, Node, Word};

/// Deepest nesting of includes.
pub(crate) const MAX_INCLUDE_DEPTH: usize = 64;
/// Most lines, after includes and definitions.
pub(crate) const MAX_LINES: usize = 1_000_000;
/// Deepest nesting of repetitions.
const MAX_REPEATS: usize = 16;

/// U+FF5B and U+FF5D, which input methods for Chinese and Japanese write.
const FULL_WIDTH_OPEN: char = '｛';
const FULL_WIDTH_CLOSE: char = '｝';

/// What was read.
#[derive(Debug)]
pub(crate) struct Text {
    pub sources: Sources,
    /// What is wrong so far.
    pub diagnostics: Diagnostics,
    /// Lines that are for other hosts (`@ID`), and were not read.
    pub skipped: Option<Skipped>,
    /// Mappings of YAML that are for other hosts (`only_on`), and were not read.
    pub elsewhere: Vec<Elsewhere>,
}

/// Lines whose condition does not hold here.
#[derive(Clone, Debug)]
pub(crate) struct Skipped {
    /// The first one's condition.
    pub first: Span,
    pub count: usize,
    /// What the conditions were compared with.
    pub id: String,
}

/// Reads the statements of the top level, one after the other.
pub(crate) type Read<'a> = dyn FnMut(&Node, &mut Diagnostics) + 'a;

/// Reads a file with all it includes; what was understood goes to `to`, even if other parts are wrong.
pub(crate) fn read(files: &dyn Files, path: &Path, to: &mut Read<'_>) -> Text {
    let mut expander = Expander {
        files,
        sources: Sources::default(),
        diagnostics: Diagnostics::default(),
        builder: Builder::default(),
        definitions: Definitions::new(files.host()),
        open: Vec::new(),
        lines: 0,
        skipped: None,
        repeats: 0,
        is_full: false,
        entries: files::MAX_ENTRIES,
        to,
        plain: Vec::new(),
    };
    expander.open_file(path, None);
    // Where reading ended early, an open block is no mistake of the file.
    let mut unsaid = Diagnostics::default();
    let diagnostics = if expander.is_full { &mut unsaid } else { &mut expander.diagnostics };
    for node in expander.builder.finish(diagnostics) {
        (expander.to)(&node, &mut expander.diagnostics);
    }
    Text {
        sources: expander.sources,
        diagnostics: expander.diagnostics,
        skipped: expander.skipped,
        elsewhere: Vec::new(),
    }
}

struct Expander<'f, 'r> {
    files: &'f dyn Files,
    to: &'f mut Read<'r>,
    sources: Sources,
    diagnostics: Diagnostics,
    builder: Builder,
    definitions: Definitions,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    lines: usize,
    skipped: Option<Skipped>,
    /// Repetitions being read, one within the other.
    repeats: usize,
    /// A bound was passed, or a file system does not answer: nothing more is read.
    is_full: bool,
    /// Entries of directories that patterns may still look at.
    entries: usize,
    /// The words and braces of a plain line; a vector that is filled again.
    plain: Vec<Plain>,
}

impl Expander<'_, '_> {
    fn error(&mut self, at: Option<Span>, message: String) {
        self.diagnostics.push(Diagnostic::new(Class::Error, at, message));
    }

    fn open_file(&mut self, path: &Path, included_at: Option<Span>) {
        let path: &Path = &path.components().collect::<PathBuf>();
        if self.open.iter().any(|p| p == path) {
            return self.error(included_at, format!("{}: includes itself", path.display()));
        }
        if self.open.len() >= MAX_INCLUDE_DEPTH {
            return self.error(included_at, format!("includes nest deeper than {MAX_INCLUDE_DEPTH}"));
        }
        let file = match open(self.files, path, &mut self.sources) {
            Ok(file) => file,
            Err(unreadable) => {
                self.is_full |= unreadable.is_full;
                return self.error(included_at, unreadable.message);
            }
        };
        self.open.push(path.to_owned());
        self.file(file);
        self.open.pop();
    }

    fn file(&mut self, file: FileId) {
        let text = self.sources.text(file);
        let mut start = 0;
        if text.starts_with('\u{feff}') {
            start = '\u{feff}'.len_utf8();
            let span = span_of(file, 0, start);
            self.diagnostics.push(
                Diagnostic::warning(span, "the file begins with a byte order mark, which is skipped here")
                    .help("save the file without it: keepalived takes it as part of the first word")
                    .suggest(
                        Certainty::Certain,
                        vec![Edit::Replace { span, old: "\u{feff}".to_owned(), new: String::new() }],
                    ),
            );
        }
        let is_lone = |at: &usize| text.as_bytes().get(at + 1).is_some_and(|b| !matches!(b, b'\r' | b'\n'));
        let returns = || text.match_indices('\r').map(|(at, _)| at);
        if memchr::memchr(b'\r', text.as_bytes()).is_some()
            && let Some(at) = returns().find(is_lone)
        {
            self.diagnostics.push(
                Diagnostic::error(span_of(file, at, 1), "a line ends with a carriage return alone")
                    .help("save the file with line feeds: a comment would reach to the next one"),
            );
        }
        let mut odd_spaces = OddSpaces::default();
        let mut pending: Option<Pending> = None;
        while !self.is_full && start < text.len() {
            if pending.is_none()
                && let Some(length) = self.plain_line(&text, file, start)
            {
                start += length;
                continue;
            }
            let raw = text.get(start..).and_then(|t| t.split_inclusive('\n').next()).unwrap_or_default();
            let span = span_of(file, start, raw.len());
            start += raw.len();
            let line = lexer::decomment(raw, span);
            let line = if line.text.is_ascii() { line } else { odd_spaces.strip(line) };
            let goes_on = line.text.len() < raw.trim().len() && raw.trim_end().ends_with('\\');
            if let Some(mut definition) = pending.take() {
                match definition.push(&line, goes_on) {
                    true if self.count_line(span) => pending = Some(definition),
                    _ => self.definitions.define(definition),
                }
                continue;
            }
            if line.text.is_empty() {
                continue;
            }
            if !self.count_line(span) {
                break;
            }
            pending = self.line(&line, goes_on, &mut odd_spaces);
        }
        if let Some(definition) = pending {
            self.definitions.define(definition);
        }
        if let Some(problem) = odd_spaces.told() {
            self.diagnostics.push(problem);
        }
    }

    fn count_line(&mut self, at: Span) -> bool {
        self.lines += 1;
        if self.lines > MAX_LINES && !self.is_full {
            self.is_full = true;
            self.error(Some(at), format!("the configuration has more than {MAX_LINES} lines"));
        }
        !self.is_full
    }

    /// Reads the line that begins at `start` if it is a plain one, and answers its length then.
    fn plain_line(&mut self, text: &Arc<str>, file: FileId, start: usize) -> Option<usize> {
        let mut plain = std::mem::take(&mut self.plain);
        let length = lexer::plain(text.as_bytes().get(start..).unwrap_or_default(), &mut plain);
        if let (Some(length), false) = (length, plain.is_empty())
            && self.count_line(span_of(file, start, length))
        {
            for Plain { start: from, end, sign } in &plain {
                let span = span_of(file, start + from, end - from);
                match sign {
                    b'{' => self.builder.open(span, &mut self.diagnostics),
                    b'}' => {
                        self.builder.close(span, &mut self.diagnostics);
                        self.hand_over();
                    }
                    _ => {
                        let text = Slice::of(text, span.start..span.end);
                        self.builder.word(Word { text, span, is_quoted: false });
                    }
                }
            }
            self.builder.end_of_line();
            self.hand_over();
        }
        self.plain = plain;
        length
    }

    /// Gives away the statements nothing can be added to any more.
    fn hand_over(&mut self) {
        while let Some(node) = self.builder.next_final() {
            (self.to)(&node, &mut self.diagnostics);
            self.builder.recycle(node);
        }
    }

    /// Reads one line; answers the definition it begins, if that goes on in the next line. `goes_on`: its comment ends
    /// in `\`.
    fn line(&mut self, line: &Line<'_>, goes_on: bool, odd_spaces: &mut OddSpaces) -> Option<Pending> {
        let (holds, length) = conditions(&line.text, &self.definitions.id);
        if !holds {
            let first = line.span(0..line.text.trim_end().len().min(length));
            let id = &self.definitions.id;
            self.skipped.get_or_insert_with(|| Skipped { first, count: 0, id: id.clone() }).count += 1;
        }
        let rest;
        let line = if length > 0 {
            rest = rest_of(line, length);
            &rest
        } else {
            line
        };
        if !holds {
            // The lines of a definition that is not made are not made either.
            return Pending::begin(line, goes_on)
                .filter(|(_, continues)| *continues)
                .map(|(d, _)| d.skipped());
        }
        if let Some((definition, continues)) = Pending::begin(line, goes_on) {
            if continues {
                return Some(definition);
            }
            self.definitions.define(definition);
            return None;
        }
        let replaced;
        let line = match self.definitions.repetition(&line.text) {
            None => line,
            Some(length) => {
                replaced = self.repetition(line, length)?;
                &replaced
            }
        };
        match repeat::parse(&line.text) {
            Some(Ok(repeat)) => {
                self.repeat(line, &repeat, odd_spaces);
                return None;
            }
            Some(Err(wrong)) => {
                self.error(
                    Some(line.span(0..line.text.len())),
                    format!("this repetition cannot be read: {wrong}"),
                );
                return None;
            }
            None => {}
        }
        if line.text.as_bytes().contains(&b'$') {
            self.definitions(line, odd_spaces);
        } else {
            self.statements(line, odd_spaces);
        }
        None
    }

    /// Reads a line that may use definitions, and the lines that follow from them.
    fn definitions(&mut self, line: &Line<'_>, odd_spaces: &mut OddSpaces) {
        let whole = line.span(0..line.text.len());
        let Some(Expanded { line, blocks }) = self.expand(line) else { return };
        // A condition may come out of a definition, too.
        let (holds, length) = conditions(&line.text, &self.definitions.id);
        if !holds {
            return;
        }
        match length {
            0 => self.statements(&line, odd_spaces),
            _ => self.statements(&rest_of(&line, length), odd_spaces),
        }
        for block in blocks {
            let outer = self.definitions.enter(&block);
            for body in block.lines() {
                self.definitions.spend(body.text.len());
                self.check_budget(whole);
                if !self.count_line(whole) {
                    break;
                }
                if let Some(definition) = self.line(body, false, odd_spaces) {
                    self.definitions.define(definition);
                }
            }
            self.definitions.leave(outer);
        }
    }

    /// Reads a line once for each row of the repetition it begins with.
    fn repeat(&mut self, line: &Line<'_>, repeat: &Repeat<'_>, odd_spaces: &mut OddSpaces) {
        let head = line.span(0..repeat.length);
        if self.repeats >= MAX_REPEATS {
            return self.error(Some(head), format!("repetitions nest deeper than {MAX_REPEATS}"));
        }
        if line.text.len() > definition::MAX_LINE_BYTES {
            let text =
                format!("a line with a repetition is longer than {} bytes", definition::MAX_LINE_BYTES);
            return self.error(Some(head), text);
        }
        let text = rest_of(line, repeat.length);
        self.repeats += 1;
        let mut number = 0;
        while let Some(values) = repeat.row(number).filter(|_| self.count_line(head)) {
            self.definitions.spend(text.text.len());
            self.check_budget(head);
            let names = repeat.names.iter().zip(&values);
            let hidden: Vec<_> =
                names.map(|(name, value)| (name, self.definitions.hide(name, value, head))).collect();
            if let Some(definition) = self.line(&text, false, odd_spaces) {
                self.definitions.define(definition);
            }
            for (name, definition) in hidden.into_iter().rev() {
                self.definitions.restore(name, definition);
            }
            number += 1;
        }
        self.repeats -= 1;
    }

    /// A line whose repetition uses definitions, with those replaced; the rest of the line waits for its row. None
    /// after saying why that cannot be.
    fn repetition(&mut self, line: &Line<'_>, length: usize) -> Option<Line<'static>> {
        if let Some(problem) = self.definitions.first_undefined(line, length) {
            self.diagnostics.push(problem);
            return None;
        }
        let mut head = Line::empty();
        head.push(line, 0..length, None);
        let Expanded { line: mut replaced, .. } = self.expand(&head)?;
        replaced.push(line, length..line.text.len(), None);
        Some(replaced)
    }

    fn check_budget(&mut self, at: Span) {
        if self.definitions.is_exhausted() && !self.is_full {
            self.is_full = true;
            let limit = definition::MAX_BYTES >> 20;
            self.error(Some(at), format!("definitions make the configuration larger than {limit} MiB"));
        }
    }

    /// Replaces the uses of definitions.
    fn expand(&mut self, line: &Line<'_>) -> Option<Expanded> {
        let directory = self.open.last().and_then(|p| p.parent()).unwrap_or(Path::new("."));
        let (sources, diagnostics) = (&mut self.sources, &mut self.diagnostics);
        let scene = &mut Scene { sources, diagnostics, directory, files: self.files };
        let expanded = self.definitions.expand(line, scene);
        self.check_budget(line.span(0..line.text.len()));
        expanded
    }

    /// Reads a line whose definitions are replaced.
    fn statements(&mut self, line: &Line<'_>, odd_spaces: &mut OddSpaces) {
        if let Some((keyword, pattern)) = include(&line.text) {
            return self.include(line, keyword, pattern);
        }
        for token in lexer::tokens(&line.text) {
            match token {
                Token::Word { text, is_quoted: false } if !line.text.is_ascii() => self.odd_word(line, text),
                Token::Word { text, is_quoted } => self.word(line, text, is_quoted),
                Token::Open(at) => self.builder.open(line.span(at..at + 1), &mut self.diagnostics),
                Token::Close(at) => {
                    self.check_include();
                    self.builder.close(line.span(at..at + 1), &mut self.diagnostics);
                    self.hand_over();
                }
                Token::Unterminated(at) => {
                    let problem = Diagnostic::error(line.span(at..at + 1), "this quote is never closed")
                        .code(Code::Quote)
                        .help("write the closing `\"` on the same line");
                    self.diagnostics.push(problem);
                }
                Token::OddSpace(range) => odd_spaces.add(line, range),
            }
        }
        self.check_include();
        self.builder.end_of_line();
        self.hand_over();
    }

    /// A word that may be, or end its line with, a full-width brace: that is read as the brace it looks like.
    fn odd_word(&mut self, line: &Line<'_>, range: std::ops::Range<usize>) {
        let text = line.text.get(range.clone()).unwrap_or_default();
        let brace = match text.chars().next_back() {
            Some(sign @ FULL_WIDTH_OPEN) if range.end == line.text.len() => Some((sign, "{")),
            Some(sign @ (FULL_WIDTH_OPEN | FULL_WIDTH_CLOSE)) if text.len() == sign.len_utf8() => {
                Some((sign, if sign == FULL_WIDTH_OPEN { "{" } else { "}" }))
            }
            _ => None,
        };
        let Some((sign, plain)) = brace else { return self.word(line, range, false) };
        let start = range.end - sign.len_utf8();
        let span = line.span(start..range.end);
        self.diagnostics.push(
            Diagnostic::error(
                span,
                format!("`{sign}` is a full-width brace, which keepalived takes for a letter"),
            )
            .help(format!("write `{plain}`"))
            .suggest(
                Certainty::Certain,
                vec![Edit::Replace { span, old: sign.to_string(), new: plain.to_owned() }],
            ),
        );
        if range.start < start {
            self.word(line, range.start..start, false);
        }
        if plain == "{" {
            self.builder.open(span, &mut self.diagnostics);
        } else {
            self.check_include();
            self.builder.close(span, &mut self.diagnostics);
            self.hand_over();
        }
    }

    fn word(&mut self, line: &Line<'_>, range: std::ops::Range<usize>, is_quoted: bool) {
        let text = line.text.get(range.clone()).unwrap_or_default();
        let span = line.span(range);
        if !text.is_ascii() && text.contains('\u{fffd}') {
            self.diagnostics.push(
                Diagnostic::error(span, "this word is not UTF-8")
                    .help("save the file in UTF-8, or correct the word"),
            );
        }
        self.builder.word(Word { text: text.into(), span, is_quoted });
    }

    /// An `include` in the middle of a line.
    fn check_include(&mut self) {
        let Some(first) = self.builder.keyword() else { return };
        if !first.is_quoted && is_include(first) {
            let problem = Diagnostic::error(first.span, format!("`{}` must begin its line", first.text))
                .help("write it on a line of its own");
            self.diagnostics.push(problem);
            self.builder.discard();
        }
    }

    fn include(&mut self, line: &Line<'_>, keyword: &str, pattern: std::ops::Range<usize>) {
        let written = line.text.get(pattern.clone()).unwrap_or_default();
        let path = written.strip_prefix('"').and_then(|p| p.strip_suffix('"')).unwrap_or(written);
        if path.is_empty() {
            let problem =
                Diagnostic::error(line.span(0..keyword.len()), format!("`{keyword}` needs a value"))
                    .help(format!("write `{keyword} FILE`, e.g. `{keyword} conf.d/*.conf`"));
            return self.diagnostics.push(problem);
        }
        let span = line.span(pattern);
        let here = self.open.last().and_then(|p| p.parent()).unwrap_or(Path::new(""));
        let full = if path.starts_with('/') {
            path.to_owned()
        } else {
            here.join(path).to_string_lossy().into_owned()
        };
        if !files::is_pattern(path) {
            return self.open_file(Path::new(&full), Some(span));
        }
        let (mut found, mut is_missed) = (Vec::new(), false);
        for alternative in files::alternatives(&full) {
            let more = match files::glob(self.files, &alternative, &mut self.entries) {
                Ok(more) => more,
                Err(why) => return self.unmatched(path, span, &why),
            };
            if more.is_empty() && alternative != full && matches!(keyword, "includeb" | "includea") {
                is_missed = true;
                self.error(Some(span), format!("`{keyword}`: {alternative} matches no file"));
            }
            found.extend(more);
            if found.len() > files::MAX_MATCHES {
                return self.unmatched(path, span, &Unmatched::Matches);
            }
        }
        if found.is_empty() && !is_missed {
            let is_strict = matches!(keyword, "includew" | "includea");
            let class = if is_strict { Class::Error } else { Class::Warning };
            let problem = Diagnostic::new(class, Some(span), format!("`{path}` matches no file"));
            return self.diagnostics.push(problem);
        }
        for path in found {
            if self.is_full {
                break;
            }
            self.open_file(&path, Some(span));
        }
    }

    /// A pattern that includes nothing, because it is not known what it stands for.
    fn unmatched(&mut self, pattern: &str, span: Span, why: &Unmatched) {
        let text = match why {
            Unmatched::Matches => format!("`{pattern}` matches more than {} paths", files::MAX_MATCHES),
            Unmatched::Entries => format!(
                "`{pattern}` looks through directories with more than {} entries in all",
                files::MAX_ENTRIES
            ),
            Unmatched::Silence(directory, error) => {
                self.is_full = true;
                let directory = directory.display();
                return self.error(Some(span), format!("{directory}: {}", files::in_words(error)));
            }
        };
        let problem = Diagnostic::error(span, text);
        self.diagnostics.push(problem.help("name the directory of the files, e.g. `include conf.d/*.conf`"));
    }
}

/// Whether the conditions a line begins with (`@ID`: only there, `@^ID`: only elsewhere) all hold, and where the
/// rest begins.
pub(crate) fn conditions(text: &str, here: &str) -> (bool, usize) {
    let (mut holds, mut rest) = (true, text);
    while let Some(condition) = rest.strip_prefix('@') {
        let length = condition.find(|c: char| c.is_ascii_whitespace()).unwrap_or(condition.len());
        let (word, behind) = condition.split_at(length);
        holds &= match word.strip_prefix('^') {
            Some(id) => id != here,
            None => word == here,
        };
        rest = behind.trim_start();
    }
    (holds, text.len() - rest.len())
}

/// A line from a place on, without the space before.
fn rest_of(line: &Line<'_>, from: usize) -> Line<'static> {
    let rest = line.text.get(from..).unwrap_or_default();
    let mut out = Line::empty();
    out.push(line, line.text.len() - rest.trim_start().len()..line.text.len(), None);
    out
}

/// The include word a line begins with, and where its pattern is.
fn include(text: &str) -> Option<(&str, std::ops::Range<usize>)> {
    if !text.starts_with("include") {
        return None;
    }
    let length = text.find(|c: char| c.is_ascii_whitespace() || c == '"').unwrap_or(text.len());
    let (keyword, rest) = text.split_at(length);
    let pattern = rest.trim();
    let start = text.len() - rest.trim_start().len();
    is_include(keyword).then_some((keyword, start..start + pattern.len()))
}

fn is_include(word: &str) -> bool {
    matches!(word, "include" | "includer" | "includem" | "includew" | "includeb" | "includea")
}

fn span_of(file: FileId, start: usize, length: usize) -> Span {
    let at = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Span { file, start: at(start), end: at(start.saturating_add(length)) }
}
