//! Definitions (`$NAME=value`) and their uses (`$NAME`, `${NAME}`), replaced when used.
//!
//! A definition of several lines gives its first line here, and the others as they are written: `expand` reads them
//! one after the other, for they may define and ask conditions themselves. Replacing is bounded in depth, in number
//! and in size: definitions that double each other, or lead back to themselves, end with an error.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

use super::diagnostic::{Diagnostic, Diagnostics};
use super::files::Files;
use super::keyword;
use super::lexer::Line;
use super::repeat;
use super::source::{Sources, Span};

/// Most bytes a line may grow to.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 10;
/// Most bytes of lines that hold definitions, in all.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Most uses in all.
const MAX_USES: usize = 4_000_000;
/// Most uses on one line.
const MAX_USES_PER_LINE: usize = 10_000;
const MAX_DEPTH: usize = 64;
/// What `${_RANDOM}` goes up to.
const MOST_RANDOM: u32 = 32_767;
/// Names that are there without a definition.
const PREDEFINED: [&str; 6] = ["_BANG", "_ENV", "_HASH", "_INSTANCE", "_PWD", "_RANDOM"];

/// Every definition made so far.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    all: BTreeMap<String, Definition>,
    /// What `@ID` is compared with and `${_INSTANCE}` stands for.
    pub id: String,
    /// Names whose lines are being read.
    active: Active,
    uses: usize,
    bytes: usize,
}

/// A line whose definitions are replaced, and the lines that follow from them.
#[derive(Debug, Default)]
pub(crate) struct Expanded {
    pub line: Line<'static>,
    /// The definitions of several lines it ended with, their first lines being in it.
    pub blocks: Vec<Block>,
}

/// A definition of several lines whose first line was read.
#[derive(Debug)]
pub(crate) struct Block {
    lines: Rc<[Line<'static>]>,
    /// Names being replaced within it.
    active: Active,
}

/// Names being replaced, innermost first; shared, for every line of a block has the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Active(Option<Rc<(String, Active)>>);

impl Active {
    fn with(&self, name: &str) -> Active {
        Active(Some(Rc::new((name.to_owned(), self.clone()))))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let mut at = self;
        std::iter::from_fn(move || {
            let (name, outer) = at.0.as_deref()?;
            at = outer;
            Some(name.as_str())
        })
    }
}

impl Block {
    /// The lines behind the first, not replaced yet.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line<'static>> {
        self.lines.iter().skip(1)
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// `$NAME=`.
    span: Span,
    lines: Rc<[Line<'static>]>,
}

/// A definition whose lines are still being read.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Its name; empty when the definition is read only to be skipped.
    name: String,
    span: Span,
    lines: Vec<Line<'static>>,
}

impl Pending {
    /// The definition a line begins with, and whether it goes on in the next line: so it does where the line ends in
    /// `\`, before its comment or in it.
    pub(crate) fn begin(line: &Line<'_>, comment_ends_in_backslash: bool) -> Option<(Pending, bool)> {
        let (name, value) = definition(&line.text)?;
        let span = line.span(0..value.start);
        let mut body = Line::empty();
        body.push(line, value, None);
        let (body, continues) = continuation(&body);
        let continues = continues || comment_ends_in_backslash;
        Some((Pending { name: name.to_owned(), span, lines: vec![body] }, continues))
    }

    /// The same, for a condition that does not hold: its lines belong to it all the same.
    #[must_use]
    pub(crate) fn skipped(self) -> Pending {
        Pending { name: String::new(), ..self }
    }

    /// Adds a line; answers whether another follows.
    pub(crate) fn push(&mut self, line: &Line<'_>, comment_ends_in_backslash: bool) -> bool {
        let (line, continues) = continuation(line);
        self.lines.push(line);
        continues || comment_ends_in_backslash
    }
}

/// What replacing needs of the reader.
pub(crate) struct Scene<'a> {
    /// Where uses are remembered.
    pub sources: &'a mut Sources,
    /// Where problems go.
    pub diagnostics: &'a mut Diagnostics,
    /// `${_PWD}`.
    pub directory: &'a Path,
    /// `${_ENV NAME}`.
    pub files: &'a dyn Files,
}

impl Definitions {
    /// No definitions yet; `id` is what `@ID` is compared with and `${_INSTANCE}` stands for.
    pub(crate) fn new(id: String) -> Definitions {
        Definitions { id, ..Definitions::default() }
    }

    /// Counts bytes that came of a repetition.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Makes a definition; a later one of the same name counts from there on.
    pub(crate) fn define(&mut self, Pending { name, span, lines }: Pending) {
        if !name.is_empty() {
            self.all.insert(name, Definition { span, lines: lines.into() });
        }
    }

    /// Makes a definition of one word; answers the one it hides.
    pub(crate) fn hide(&mut self, name: &str, value: &str, span: Span) -> Option<Definition> {
        let mut line = Line::empty();
        line.push_text(value, span);
        self.all.insert(name.to_owned(), Definition { span, lines: [line].into() })
    }

    /// Brings back what [`Definitions::hide`] hid.
    pub(crate) fn restore(&mut self, name: &str, hidden: Option<Definition>) {
        match hidden {
            Some(definition) => self.all.insert(name.to_owned(), definition),
            None => self.all.remove(name),
        };
    }

    /// Whether replacing has cost as much as it may in all.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.uses > MAX_USES || self.bytes > MAX_BYTES
    }

    /// Length of what a line begins with that says how often it is repeated, if that uses definitions: they are
    /// replaced before the rest of the line.
    pub(crate) fn repetition(&self, text: &str) -> Option<usize> {
        self.repetition_within(text, MAX_DEPTH)
    }

    fn repetition_within(&self, text: &str, depth: usize) -> Option<usize> {
        if let Some(length) = repeat::length(text) {
            return text.get(..length).is_some_and(|head| head.contains('$')).then_some(length);
        }
        let used = reference(text)?;
        // One that leads back to itself is reported where it is replaced.
        let depth = depth.checked_sub(1)?;
        let begins = match &*self.all.get(used.name)?.lines {
            [only] => {
                repeat::length(&only.text).is_some() || self.repetition_within(&only.text, depth).is_some()
            }
            _ => false,
        };
        begins.then_some(used.length)
    }

    /// What is wrong with the first use of a text that has no definition.
    pub(crate) fn first_undefined(&self, line: &Line<'_>, length: usize) -> Option<Diagnostic> {
        let text = line.text.get(..length)?;
        let undefined = |(at, _): (usize, &str)| {
            let used = reference(text.get(at..)?)?;
            let is_known = self.all.contains_key(used.name) || PREDEFINED.contains(&used.name);
            (!is_known).then_some((at, used))
        };
        let (at, used) = text.match_indices('$').find_map(undefined)?;
        let span = line.span(at..at + used.length);
        let written = text.get(at..at + used.length)?;
        Some(Diagnostic::error(span, format!("`{written}` is not defined")).help(self.likely(used.name)))
    }

    /// What to do about a name that is not defined.
    fn likely(&self, name: &str) -> String {
        let names = self.all.keys().map(String::as_str).chain(PREDEFINED);
        match keyword::nearest(name, names) {
            Some(likely) => format!("did you mean `${likely}`?"),
            None => format!("define it above: `${name}=value`"),
        }
    }

    /// Replaces the uses on a line; None if it cannot be used.
    pub(crate) fn expand(&mut self, line: &Line<'_>, scene: &mut Scene<'_>) -> Option<Expanded> {
        let mut to = Expansion { active: self.active.clone(), ..Expansion::default() };
        self.expand_into(line, None, &mut to, scene);
        self.uses = self.uses.saturating_add(to.uses);
        self.bytes = self.bytes.saturating_add(to.bytes);
        (!to.is_broken).then_some(to.out)
    }

    /// Begins a block's lines: what they use must not lead back to it. Answers what ends them.
    pub(crate) fn enter(&mut self, block: &Block) -> Active {
        std::mem::replace(&mut self.active, block.active.clone())
    }

    /// Ends a block's lines.
    pub(crate) fn leave(&mut self, outer: Active) {
        self.active = outer;
    }

    fn expand_into(&self, line: &Line<'_>, used_at: Option<Span>, to: &mut Expansion, scene: &mut Scene<'_>) {
        let mut from = 0;
        let mut is_quoted = false;
        while let Some(dollar) = line.text.get(from..).and_then(|t| t.find('$')).map(|i| from + i) {
            if to.is_broken || self.is_behind_block(line, from, used_at, to, scene) {
                return;
            }
            let before = line.text.get(from..dollar).unwrap_or_default();
            is_quoted ^= before.bytes().filter(|b| *b == b'"').count() % 2 == 1;
            to.push(line, from..dollar, used_at);
            from = dollar + 1;
            let Some(name) = reference(line.text.get(dollar..).unwrap_or_default()) else {
                to.push(line, dollar..from, used_at);
                continue;
            };
            let range = dollar..dollar + name.length;
            from = range.end;
            let span = used_at.unwrap_or_else(|| line.span(range.clone()));
            let used = Use { name, line, range, span, used_at, is_quoted };
            if let Err(problem) = self.replace(&used, to, scene) {
                to.is_broken = true;
                scene.diagnostics.push(problem);
            }
        }
        if !to.is_broken && !self.is_behind_block(line, from, used_at, to, scene) {
            to.push(line, from..line.text.len(), used_at);
        }
    }

    /// Whether a definition of several lines stands before the rest of a line; complains if there is a rest.
    fn is_behind_block(
        &self,
        line: &Line<'_>,
        from: usize,
        used_at: Option<Span>,
        to: &mut Expansion,
        scene: &mut Scene<'_>,
    ) -> bool {
        if to.out.blocks.is_empty() {
            return false;
        }
        let rest = line.text.get(from..).unwrap_or_default();
        if !rest.trim().is_empty() {
            to.is_broken = true;
            let span = used_at.unwrap_or_else(|| line.span(from..line.text.len()));
            let text = "this stands behind a definition of several lines, which must be the last of its line";
            scene.diagnostics.push(Diagnostic::error(span, text).help("write it on a line of its own"));
        }
        true
    }

    fn replace(&self, used: &Use<'_>, to: &mut Expansion, scene: &mut Scene<'_>) -> Result<(), Diagnostic> {
        to.uses += 1;
        let (name, span) = (used.name.name, used.span);
        if let Some(circle) = to.active.names().position(|n| n == name) {
            let mut names: Vec<String> =
                to.active.names().take(circle + 1).map(|n| format!("${n}")).collect();
            names.reverse();
            let text = format!("`${name}` is defined by itself: {} -> ${name}", names.join(" -> "));
            return Err(Diagnostic::error(span, text));
        }
        if to.active.names().count() >= MAX_DEPTH {
            return Err(Diagnostic::error(span, format!("definitions nest deeper than {MAX_DEPTH}")));
        }
        match name {
            "_HASH" => return to.grow("#", span),
            "_BANG" => return to.grow("!", span),
            "_PWD" => return to.grow(&scene.files.absolute(scene.directory).display().to_string(), span),
            "_INSTANCE" => return to.grow(&self.id, span),
            "_ENV" => return self.variable(used, to, scene),
            "_RANDOM" => return self.random(used, to),
            _ => {}
        }
        let Some(definition) = self.all.get(name) else { return self.undefined(used, to, scene) };
        let grows_by = definition.lines.first().map_or(0, |first| first.text.len() + 1);
        to.check_size(grows_by, name, span)?;
        scene.sources.record_use(span, definition.span);
        let outer = std::mem::take(&mut to.active);
        to.active = outer.with(name);
        let is_block = definition.lines.len() > 1;
        if let Some(first) = definition.lines.first() {
            // Words of a definition of one line point at its use, those of a block at its lines.
            self.expand_into(first, used.used_at.or((!is_block).then_some(span)), to, scene);
        }
        if is_block {
            to.out.blocks.push(Block { lines: Rc::clone(&definition.lines), active: to.active.clone() });
        }
        to.active = outer;
        Ok(())
    }

    /// `${_ENV NAME}`.
    fn variable(&self, used: &Use<'_>, to: &mut Expansion, scene: &Scene<'_>) -> Result<(), Diagnostic> {
        let name = used.name.arguments;
        if !is_name(name) {
            let problem = Diagnostic::error(used.span, "`${_ENV}` needs the name of a variable");
            return Err(problem.help("write e.g. `${_ENV SITE}`"));
        }
        let Some(value) = scene.files.variable(name) else {
            let text = format!("`${{_ENV {name}}}`: the environment has no variable {name}");
            return Err(Diagnostic::error(used.span, text));
        };
        to.grow(&value, used.span)
    }

    /// `${_RANDOM [MIN [MAX]]}`: by chance from host to host and from use to use, but the same whenever the file
    /// is read, or each reload would change something.
    fn random(&self, used: &Use<'_>, to: &mut Expansion) -> Result<(), Diagnostic> {
        let words: Vec<&str> = used.name.arguments.split_ascii_whitespace().collect();
        let numbers: Vec<u32> = words.iter().filter_map(|word| word.parse().ok()).collect();
        let (min, max) = match numbers[..] {
            [] => (0, MOST_RANDOM),
            [min] => (min, MOST_RANDOM),
            [min, max, ..] => (min, max),
        };
        if numbers.len() < words.len() || words.len() > 2 || min > max {
            let text = format!("`${{_RANDOM {}}}`: this is not a range", used.name.arguments);
            let help = "write `${_RANDOM MIN MAX}`, two whole numbers, the lesser first";
            return Err(Diagnostic::error(used.span, text).help(help));
        }
        let uses = self.uses.saturating_add(to.uses);
        let seed = self.id.bytes().fold(uses as u64, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
        to.grow(&fastrand::Rng::with_seed(seed).u32(min..=max).to_string(), used.span)
    }

    /// keepalived leaves it as it is; in braces outside quotes that breaks the line, and what follows.
    fn undefined(&self, used: &Use<'_>, to: &mut Expansion, scene: &mut Scene<'_>) -> Result<(), Diagnostic> {
        let written = used.line.text.get(used.range.clone()).unwrap_or_default();
        let help = self.likely(used.name.name);
        if used.name.is_braced && !used.is_quoted {
            return Err(Diagnostic::error(used.span, format!("`{written}` is not defined")).help(help));
        }
        let text = format!("`{written}` is not defined and stays as it is");
        scene.diagnostics.push(Diagnostic::warning(used.span, text).help(help));
        to.push(used.line, used.range.clone(), used.used_at);
        Ok(())
    }
}

/// One use of a definition.
struct Use<'a> {
    name: Reference<'a>,
    line: &'a Line<'a>,
    /// All of it in the line, from the dollar.
    range: Range<usize>,
    /// Where what becomes of it is said to be.
    span: Span,
    /// The use that led to the line, if it is a definition's.
    used_at: Option<Span>,
    is_quoted: bool,
}

/// A line while its definitions are replaced.
#[derive(Default)]
struct Expansion {
    /// The line being put together, and what follows.
    out: Expanded,
    /// Names being replaced.
    active: Active,
    uses: usize,
    bytes: usize,
    /// The line cannot be used; it was said why.
    is_broken: bool,
}

impl Expansion {
    fn push(&mut self, from: &Line<'_>, range: Range<usize>, used_at: Option<Span>) {
        self.bytes += range.len();
        self.out.line.push(from, range, used_at);
    }

    fn grow(&mut self, text: &str, span: Span) -> Result<(), Diagnostic> {
        self.check_size(text.len(), text, span)?;
        self.bytes += text.len();
        self.out.line.push_text(text, span);
        Ok(())
    }

    fn check_size(&self, grows_by: usize, name: &str, span: Span) -> Result<(), Diagnostic> {
        if self.uses > MAX_USES_PER_LINE || self.bytes + grows_by > MAX_LINE_BYTES {
            let text = format!("`${name}` makes the line longer than {MAX_LINE_BYTES} bytes");
            return Err(Diagnostic::error(span, text));
        }
        Ok(())
    }
}

/// The name a line defines and where its value is: `$NAME=value`.
fn definition(text: &str) -> Option<(&str, Range<usize>)> {
    let (name, value) = text.strip_prefix('$')?.split_once('=')?;
    is_name(name).then(|| (name, text.len() - value.len()..text.len()))
}

/// Takes the `\` off a line that goes on in the next.
fn continuation(line: &Line<'_>) -> (Line<'static>, bool) {
    let text = line.text.trim_end();
    let kept = text.strip_suffix('\\').unwrap_or(text);
    let mut body = Line::empty();
    body.push(line, 0..kept.trim_end().len(), None);
    (body, kept.len() < text.len())
}

/// Whether a word can be a definition's name.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_name_byte)
}

fn is_name_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// A name in a text that uses it.
struct Reference<'a> {
    name: &'a str,
    /// What stands behind it in its braces.
    arguments: &'a str,
    /// Of all of it, from the dollar.
    length: usize,
    is_braced: bool,
}

/// The use that `text` begins with: `${NAME}`, or `$NAME` before a space, a comma, `)`, a quote or the end.
fn reference(text: &str) -> Option<Reference<'_>> {
    let rest = text.strip_prefix('$')?;
    if let Some(inside) = rest.strip_prefix('{') {
        let (inside, _) = inside.split_once('}')?;
        // `${_ENV NAME}`, `${_RANDOM 1 5}`: the first word names it.
        let (name, arguments) = inside.split_once(' ').unwrap_or((inside, ""));
        let arguments = arguments.trim();
        let may_have_more = name.starts_with('_') || name == inside;
        let length = inside.len() + "${}".len();
        return (is_name(name) && may_have_more).then_some(Reference {
            name,
            arguments,
            length,
            is_braced: true,
        });
    }
    let length = rest.bytes().take_while(|b| is_name_byte(*b)).count();
    let (name, behind) = rest.split_at(length);
    let ends = matches!(behind.bytes().next(), None | Some(b' ' | b'\t' | b',' | b')' | b'"'));
    (is_name(name) && ends).then_some(Reference { name, arguments: "", length: length + 1, is_braced: false })
}
