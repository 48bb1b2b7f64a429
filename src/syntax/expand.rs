//! Files to tree: opens the files, follows `include`, replaces definitions, hands words to the tree's builder.
//!
//! The order is keepalived's, line by line: comment, definition (`$NAME=value`), replacement of `$NAME` and
//! `${NAME}` (when used, so a definition may use a later one), `include`, words and braces. Everything is
//! bounded: files, their size and nesting, lines, what a line may grow to and how often it may be replaced.
//! `config` calls [`read`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::diagnostic::{Class, Diagnostic, Diagnostics};
use super::files::{self, Files};
use super::lexer::{self, Line, Token};
use super::source::{FileId, Sources, Span};
use super::tree::{Builder, Node, Word};

/// Deepest nesting of includes.
pub const MAX_INCLUDE_DEPTH: usize = 64;
/// Most lines, after includes and definitions.
pub const MAX_LINES: usize = 1_000_000;
/// Most bytes a line may grow to by definitions.
pub const MAX_LINE_BYTES: usize = 64 << 10;
/// Most bytes of lines that hold definitions, in all.
pub const MAX_EXPANDED_BYTES: usize = 64 << 20;
/// Most replacements on one line.
const MAX_USES_PER_LINE: usize = 10_000;
/// Most replacements in all.
const MAX_USES: usize = 4_000_000;
/// Deepest nesting of definitions.
const MAX_USE_DEPTH: usize = 64;

/// What was read.
#[derive(Debug)]
pub struct Text {
    /// The statements.
    pub nodes: Vec<Node>,
    /// The files they come from.
    pub sources: Sources,
    /// What is wrong so far; statements that were understood are in `nodes` all the same.
    pub diagnostics: Diagnostics,
}

/// Reads a file with all it includes.
pub fn read(files: &dyn Files, path: &Path) -> Text {
    let mut expander = Expander {
        files,
        sources: Sources::default(),
        diagnostics: Diagnostics::default(),
        builder: Builder::default(),
        definitions: BTreeMap::new(),
        open: Vec::new(),
        lines: 0,
        uses: 0,
        expanded_bytes: 0,
        is_full: false,
    };
    expander.open_file(path, None);
    let nodes = expander.builder.finish(&mut expander.diagnostics);
    Text { nodes, sources: expander.sources, diagnostics: expander.diagnostics }
}

struct Definition {
    /// `$NAME=`.
    span: Span,
    /// One line, or several that ended with `\`.
    lines: Rc<[Line<'static>]>,
}

/// A definition whose lines are still being read.
struct Pending {
    name: String,
    span: Span,
    lines: Vec<Line<'static>>,
}

struct Expander<'f> {
    files: &'f dyn Files,
    sources: Sources,
    diagnostics: Diagnostics,
    builder: Builder,
    definitions: BTreeMap<String, Definition>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    lines: usize,
    uses: usize,
    expanded_bytes: usize,
    /// A bound was passed: nothing more is read.
    is_full: bool,
}

impl Expander<'_> {
    fn error(&mut self, at: Option<Span>, message: String) {
        self.diagnostics.push(Diagnostic::new(Class::Error, at, message));
    }

    fn open_file(&mut self, path: &Path, included_at: Option<Span>) {
        if self.open.iter().any(|p| p == path) {
            return self.error(included_at, format!("{}: includes itself", path.display()));
        }
        if self.open.len() >= MAX_INCLUDE_DEPTH {
            return self.error(included_at, format!("includes nest deeper than {MAX_INCLUDE_DEPTH}"));
        }
        let bytes = match self.files.read(path, self.sources.room()) {
            Ok(bytes) => bytes,
            Err(e) => return self.error(included_at, format!("{}: {}", path.display(), in_words(&e))),
        };
        if bytes.contains(&0) {
            return self
                .error(included_at, format!("{}: is not a text file (it holds NUL bytes)", path.display()));
        }
        // What is not UTF-8 becomes U+FFFD: harmless in a comment, an error in a word.
        let text =
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
        let Ok(file) = self.sources.add(path, text, included_at) else {
            self.is_full = true;
            let (bytes, files) = (Sources::MAX_BYTES >> 20, Sources::MAX_FILES);
            return self.error(
                included_at,
                format!("{}: the configuration is larger than {bytes} MiB or {files} files", path.display()),
            );
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
                    .help("save the file without it: keepalived takes it as part of the first word"),
            );
        }
        let mut odd_spaces = OddSpaces::default();
        let mut pending: Option<Pending> = None;
        for raw in text.get(start..).unwrap_or_default().split_inclusive('\n') {
            let span = span_of(file, start, raw.len());
            start += raw.len();
            if self.is_full {
                break;
            }
            let line = lexer::decomment(raw, span);
            if let Some(mut definition) = pending.take() {
                let (line, continues) = continuation(line);
                definition.lines.push(line);
                match continues {
                    true if self.count_line(span) => pending = Some(definition),
                    _ => self.define(definition),
                }
                continue;
            }
            if line.text.is_empty() {
                continue;
            }
            if !self.count_line(span) {
                break;
            }
            pending = self.line(&line, &mut odd_spaces);
        }
        if let Some(definition) = pending {
            self.define(definition);
        }
        if let Some((first, name, count)) = odd_spaces.0 {
            let others = if count > 1 { format!(" ({count} of them in this file)") } else { String::new() };
            self.diagnostics.push(
                Diagnostic::warning(first, format!("a {name} stands here, which is read as a space{others}"))
                    .help("replace it by an ordinary space: keepalived takes it for a letter"),
            );
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

    /// Reads one line; answers the definition it begins, if that goes on in the next line.
    fn line(&mut self, line: &Line<'_>, odd_spaces: &mut OddSpaces) -> Option<Pending> {
        if let Some((name, value)) = definition(&line.text) {
            let mut body = Line::empty();
            body.push(line, value.clone(), None);
            let (body, continues) = continuation(body);
            let definition =
                Pending { name: name.to_owned(), span: line.span(0..value.start), lines: vec![body] };
            if continues {
                return Some(definition);
            }
            self.define(definition);
            return None;
        }
        if let Some(what) = not_built(&line.text) {
            let length = line.text.find(|c: char| c.is_ascii_whitespace()).unwrap_or(line.text.len());
            self.error(Some(line.span(0..length)), format!("not yet supported: {what}"));
            return None;
        }
        if line.text.contains('$') {
            for expanded in self.expand(line) {
                self.statements(&expanded, odd_spaces);
            }
        } else {
            self.statements(line, odd_spaces);
        }
        None
    }

    fn define(&mut self, Pending { name, span, lines }: Pending) {
        self.definitions.insert(name, Definition { span, lines: lines.into() });
    }

    /// Replaces the uses of definitions; one line may become several.
    fn expand(&mut self, line: &Line<'_>) -> Vec<Line<'static>> {
        let mut expansion = Expansion::default();
        self.expand_into(line, None, &mut expansion);
        self.uses += expansion.uses;
        self.expanded_bytes += expansion.bytes;
        if (self.uses > MAX_USES || self.expanded_bytes > MAX_EXPANDED_BYTES) && !self.is_full {
            self.is_full = true;
            let span = line.span(0..line.text.len());
            let limit = MAX_EXPANDED_BYTES >> 20;
            self.error(Some(span), format!("definitions make the configuration larger than {limit} MiB"));
        }
        for _ in 1..expansion.out.len() {
            self.count_line(line.span(0..line.text.len()));
        }
        if expansion.is_broken { Vec::new() } else { expansion.out }
    }

    fn expand_into(&mut self, line: &Line<'_>, used_at: Option<Span>, to: &mut Expansion) {
        let mut from = 0;
        let mut is_quoted = false;
        while let Some(dollar) = line.text.get(from..).and_then(|t| t.find('$')).map(|i| from + i) {
            if to.is_broken {
                return;
            }
            let before = line.text.get(from..dollar).unwrap_or_default();
            is_quoted ^= before.bytes().filter(|b| *b == b'"').count() % 2 == 1;
            to.push(line, from..dollar, used_at);
            from = dollar + 1;
            let Some(reference) = reference(line.text.get(dollar..).unwrap_or_default()) else {
                to.push(line, dollar..from, used_at);
                continue;
            };
            let span = used_at.unwrap_or_else(|| line.span(dollar..dollar + reference.length));
            let whole = dollar..dollar + reference.length;
            from = whole.end;
            self.replace(&reference, line, whole, span, used_at, is_quoted, to);
        }
        to.push(line, from..line.text.len(), used_at);
    }

    #[expect(clippy::too_many_arguments, reason = "one step of expand_into, split off for its length")]
    fn replace(
        &mut self,
        reference: &Reference<'_>,
        line: &Line<'_>,
        whole: std::ops::Range<usize>,
        span: Span,
        used_at: Option<Span>,
        is_quoted: bool,
        to: &mut Expansion,
    ) {
        to.uses += 1;
        let name = reference.name;
        let definition = self.definitions.get(name).map(|d| (d.span, Rc::clone(&d.lines)));
        let grows_by: usize =
            definition.iter().flat_map(|(_, lines)| lines.iter()).map(|l| l.text.len() + 1).sum();
        let broken = if to.uses > MAX_USES_PER_LINE || to.bytes + grows_by > MAX_LINE_BYTES {
            Some(format!("`${name}` makes the line longer than {MAX_LINE_BYTES} bytes"))
        } else if let Some(circle) = to.active.iter().position(|n| n == name) {
            let names: Vec<String> = to.active.iter().skip(circle).map(|n| format!("${n}")).collect();
            Some(format!("`${name}` is defined by itself: {} -> ${name}", names.join(" -> ")))
        } else if to.active.len() >= MAX_USE_DEPTH {
            Some(format!("definitions nest deeper than {MAX_USE_DEPTH}"))
        } else {
            None
        };
        if let Some(message) = broken {
            to.is_broken = true;
            return self.error(Some(span), message);
        }
        match self.builtin(name, span) {
            Some(Ok(text)) => return to.push_text(&text, span),
            Some(Err(())) => {
                to.is_broken = true;
                return;
            }
            None => {}
        }
        let Some((defined_at, lines)) = definition else {
            return self.undefined(reference, line, whole, span, used_at, is_quoted, to);
        };
        self.sources.record_use(span, defined_at);
        to.active.push(name.to_owned());
        let is_block = lines.len() > 1;
        for (i, body) in lines.iter().enumerate() {
            if i > 0 {
                to.next_line();
            }
            // Words of a definition of one line point at its use, those of a block at its lines.
            self.expand_into(body, used_at.or((!is_block).then_some(span)), to);
        }
        to.active.pop();
    }

    #[expect(clippy::too_many_arguments, reason = "one step of replace, split off for its length")]
    fn undefined(
        &mut self,
        reference: &Reference<'_>,
        line: &Line<'_>,
        whole: std::ops::Range<usize>,
        span: Span,
        used_at: Option<Span>,
        is_quoted: bool,
        to: &mut Expansion,
    ) {
        let written = line.text.get(whole.clone()).unwrap_or_default();
        let likely = super::keyword::nearest(reference.name, self.definitions.keys().map(String::as_str));
        let help = likely.map(|n| format!("did you mean `${n}`?"));
        let mut problem = if reference.is_braced && !is_quoted {
            to.is_broken = true;
            Diagnostic::error(span, format!("`{written}` is not defined"))
        } else {
            to.push(line, whole, used_at);
            Diagnostic::warning(span, format!("`{written}` is not defined and stays as it is"))
        };
        problem.help = help.or_else(|| Some(format!("define it above: `${}=value`", reference.name)));
        self.diagnostics.push(problem);
    }

    /// The value of a predefined name; `Err` after saying why it has none here.
    fn builtin(&mut self, name: &str, span: Span) -> Option<Result<String, ()>> {
        match name {
            "_HASH" => Some(Ok("#".to_owned())),
            "_BANG" => Some(Ok("!".to_owned())),
            "_PWD" => {
                let directory = self.open.last().and_then(|p| p.parent()).unwrap_or(Path::new("."));
                Some(Ok(directory.display().to_string()))
            }
            "_INSTANCE" | "_RANDOM" | "_ENV" => {
                self.error(Some(span), format!("not yet supported: `${{{name}}}`"));
                Some(Err(()))
            }
            _ => None,
        }
    }

    /// Reads a line whose definitions are replaced.
    fn statements(&mut self, line: &Line<'_>, odd_spaces: &mut OddSpaces) {
        if let Some((keyword, pattern)) = include(&line.text) {
            return self.include(line, keyword, pattern);
        }
        for token in lexer::tokens(&line.text) {
            match token {
                Token::Word { text, is_quoted } => self.word(line, text, is_quoted),
                Token::Open(at) => self.builder.open(line.span(at..at + 1), &mut self.diagnostics),
                Token::Close(at) => {
                    self.check_include();
                    self.builder.close(line.span(at..at + 1), &mut self.diagnostics);
                }
                Token::Unterminated(at) => {
                    let problem = Diagnostic::error(line.span(at..at + 1), "this quote is never closed")
                        .help("write the closing `\"` on the same line");
                    self.diagnostics.push(problem);
                }
                Token::OddSpace(range) => odd_spaces.add(line, range),
            }
        }
        self.check_include();
        self.builder.end_of_line();
    }

    fn word(&mut self, line: &Line<'_>, range: std::ops::Range<usize>, is_quoted: bool) {
        let text = line.text.get(range.clone()).unwrap_or_default();
        let span = line.span(range);
        if text.contains('\u{fffd}') {
            self.diagnostics.push(
                Diagnostic::error(span, "this word is not UTF-8")
                    .help("save the file in UTF-8, or correct the word"),
            );
        }
        self.builder.word(Word { text: text.into(), span, is_quoted });
    }

    /// An `include` in the middle of a line.
    fn check_include(&mut self) {
        let Some(first) = self.builder.words().first() else { return };
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
        let found = files::glob(self.files, &full);
        if found.is_empty() {
            let class =
                if matches!(keyword, "includew" | "includea") { Class::Error } else { Class::Warning };
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
}

/// A line while its definitions are replaced.
#[derive(Default)]
struct Expansion {
    /// Finished lines, and the one being put together.
    out: Vec<Line<'static>>,
    /// Names being replaced, outermost first.
    active: Vec<String>,
    uses: usize,
    bytes: usize,
    /// The line cannot be used; it was said why.
    is_broken: bool,
}

impl Expansion {
    fn last(&mut self) -> &mut Line<'static> {
        if self.out.is_empty() {
            self.out.push(Line::empty());
        }
        self.out.last_mut().expect("a line was pushed if there was none")
    }

    fn next_line(&mut self) {
        self.last();
        self.out.push(Line::empty());
        self.bytes += 1;
    }

    fn push(&mut self, from: &Line<'_>, range: std::ops::Range<usize>, used_at: Option<Span>) {
        self.bytes += range.len();
        self.last().push(from, range, used_at);
    }

    fn push_text(&mut self, text: &str, span: Span) {
        self.bytes += text.len();
        self.last().push_text(text, span);
    }
}

/// Odd spaces of a file: the first, its name, how many.
#[derive(Default)]
struct OddSpaces(Option<(Span, String, usize)>);

impl OddSpaces {
    fn add(&mut self, line: &Line<'_>, range: std::ops::Range<usize>) {
        if let Some((_, _, count)) = &mut self.0 {
            *count += 1;
            return;
        }
        let c = line.text.get(range.clone()).and_then(|t| t.chars().next()).unwrap_or(' ');
        let name = match c {
            '\u{a0}' => "no-break space (U+00A0)".to_owned(),
            '\u{3000}' => "wide space (U+3000)".to_owned(),
            other => format!("space that is not ASCII (U+{:04X})", u32::from(other)),
        };
        self.0 = Some((line.span(range), name, 1));
    }
}

/// The name a line defines and where its value is: `$NAME=value`.
fn definition(text: &str) -> Option<(&str, std::ops::Range<usize>)> {
    let rest = text.strip_prefix('$')?;
    let (name, value) = rest.split_once('=')?;
    (is_name(name)).then(|| (name, text.len() - value.len()..text.len()))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Takes the `\` off a line that goes on in the next.
fn continuation(line: Line<'_>) -> (Line<'static>, bool) {
    let text = line.text.trim_end();
    let continues = text.ends_with('\\');
    let kept = if continues { text.len() - 1 } else { text.len() };
    let mut body = Line::empty();
    body.push(&line, 0..line.text.get(..kept).map_or(0, |t| t.trim_end().len()), None);
    (body, continues)
}

/// A use of a definition.
struct Reference<'a> {
    name: &'a str,
    /// Of all of it, from the dollar.
    length: usize,
    is_braced: bool,
}

/// The use that `text` begins with: `${NAME}`, or `$NAME` before a space, a comma, `)` or the end.
fn reference(text: &str) -> Option<Reference<'_>> {
    let rest = text.strip_prefix('$')?;
    if let Some(inside) = rest.strip_prefix('{') {
        let (name, _) = inside.split_once('}')?;
        // `${_ENV NAME}`, `${_RANDOM 1 5}`: the first word names it.
        let first = name.split(' ').next().unwrap_or_default();
        let has_arguments = first.len() < name.len() && first.starts_with('_');
        let length = name.len() + "${}".len();
        return (is_name(first) && (has_arguments || first == name)).then_some(Reference {
            name: first,
            length,
            is_braced: true,
        });
    }
    let length = rest.bytes().take_while(|b| is_name_byte(*b)).count();
    let (name, behind) = rest.split_at(length);
    let ends = matches!(behind.bytes().next(), None | Some(b' ' | b'\t' | b',' | b')' | b'"'));
    (is_name(name) && ends).then_some(Reference { name, length: length + 1, is_braced: false })
}

/// What of the language a line needs that is not built.
fn not_built(text: &str) -> Option<&'static str> {
    if text.starts_with('@') {
        return Some("conditional lines (`@ID ...`)");
    }
    ["~SEQ(", "~SEQx("]
        .iter()
        .any(|s| text.starts_with(s))
        .then_some("sequences (`~SEQ(...)`)")
        .or_else(|| text.starts_with("~LST(").then_some("lists (`~LST(...)`)"))
}

/// The include word a line begins with, and where its pattern is.
fn include(text: &str) -> Option<(&str, std::ops::Range<usize>)> {
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

fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "is a directory, not a file".to_owned(),
        io::ErrorKind::PermissionDenied => "not permitted to read it".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}
