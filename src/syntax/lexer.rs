//! One line of keepalived's language: where its comment begins, and its words and braces.
//!
//! A [`Line`] is text that knows where each of its pieces came from, because definitions and escapes make the
//! text of a line differ from the text of the file. This module refuses to know what words mean and what
//! definitions are; `expand` calls it.

use std::borrow::Cow;
use std::ops::Range;

use super::source::Span;

/// A line, or what a line became, with the origin of its text.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// The text, without comment and end of line.
    pub text: Cow<'a, str>,
    origin: Origin,
}

impl Default for Line<'static> {
    fn default() -> Line<'static> {
        Line::empty()
    }
}

#[derive(Clone, Debug)]
enum Origin {
    /// Byte for byte the span's text.
    Direct(Span),
    /// Pieces side by side, in the text's order.
    Pieces(Vec<Piece>),
}

/// Text up to `end`, which came from `span`.
#[derive(Clone, Copy, Debug)]
struct Piece {
    end: usize,
    span: Span,
    /// Byte for byte the span's text; otherwise the text is what became of the whole span.
    is_exact: bool,
}

impl<'a> Line<'a> {
    /// The text of a span.
    pub(crate) fn direct(text: &'a str, span: Span) -> Line<'a> {
        Line { text: Cow::Borrowed(text), origin: Origin::Direct(span) }
    }

    /// A line to be put together with [`Line::push`].
    pub(crate) fn empty() -> Line<'static> {
        Line { text: Cow::Borrowed(""), origin: Origin::Pieces(Vec::new()) }
    }

    /// Appends a part of another line; `used_at` instead of its own origin, if given.
    pub(crate) fn push(&mut self, from: &Line<'_>, range: Range<usize>, used_at: Option<Span>) {
        let Some(text) = from.text.get(range.clone()).filter(|t| !t.is_empty()) else { return };
        self.text.to_mut().push_str(text);
        let end = self.text.len();
        let Origin::Pieces(pieces) = &mut self.origin else { return };
        match (used_at, &from.origin) {
            (Some(span), _) => pieces.push(Piece { end, span, is_exact: false }),
            (None, Origin::Direct(_)) => pieces.push(Piece { end, span: from.span(range), is_exact: true }),
            (None, Origin::Pieces(theirs)) => {
                let mut start = 0;
                let base = end - text.len();
                for piece in theirs {
                    let part = start.max(range.start)..piece.end.min(range.end);
                    if part.start < part.end {
                        let span = if piece.is_exact { from.span(part.clone()) } else { piece.span };
                        pieces.push(Piece { end: base + part.end - range.start, span, ..*piece });
                    }
                    start = piece.end;
                }
            }
        }
    }

    /// Appends text that became of a span.
    pub(crate) fn push_text(&mut self, text: &str, span: Span) {
        self.text.to_mut().push_str(text);
        let end = self.text.len();
        if let Origin::Pieces(pieces) = &mut self.origin {
            pieces.push(Piece { end, span, is_exact: false });
        }
    }

    /// Where a part of the text came from.
    pub(crate) fn span(&self, range: Range<usize>) -> Span {
        match &self.origin {
            Origin::Direct(span) => advance(*span, range),
            Origin::Pieces(pieces) => {
                let first = pieces.partition_point(|p| p.end <= range.start);
                let last = pieces.partition_point(|p| p.end < range.end.max(range.start + 1));
                let begin = |i: usize| i.checked_sub(1).and_then(|i| pieces.get(i)).map_or(0, |p| p.end);
                let cut = |i: usize| {
                    let piece = pieces.get(i).or(pieces.last())?;
                    let from = range.start.saturating_sub(begin(i));
                    let to = range.end.min(piece.end).saturating_sub(begin(i));
                    Some(if piece.is_exact { advance(piece.span, from..to) } else { piece.span })
                };
                match (cut(first), cut(last)) {
                    (Some(a), Some(b)) => a.to(b),
                    _ => Span { file: Default::default(), start: 0, end: 0 },
                }
            }
        }
    }
}

fn advance(span: Span, range: Range<usize>) -> Span {
    let at =
        |offset: usize| span.start.saturating_add(u32::try_from(offset).unwrap_or(u32::MAX)).min(span.end);
    Span { file: span.file, start: at(range.start), end: at(range.end) }
}

/// Removes the comment, the space around, and the backslashes of `\#` and `\!`.
///
/// A comment begins with `#` or `!` anywhere outside double quotes, even within a word.
pub(crate) fn decomment<'a>(line: &'a str, span: Span) -> Line<'a> {
    if !line.bytes().any(|byte| matches!(byte, b'"' | b'#' | b'!')) {
        let (start, end) = ends(line);
        let text = line.get(start..end).unwrap_or_default();
        return Line::direct(text, advance(span, start..end));
    }
    let mut in_quotes = false;
    let mut escapes = Vec::new();
    let mut end = line.len();
    let mut bytes = line.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\\' if !in_quotes && matches!(bytes.peek(), Some((_, b'#' | b'!'))) => {
                escapes.push(at);
                bytes.next();
            }
            b'#' | b'!' if !in_quotes => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    let text = line.get(..end).unwrap_or_default();
    let (start, end) = ends(text);
    let text = text.get(start..end).unwrap_or_default();
    let whole = Line::direct(text, advance(span, start..start + text.len()));
    if escapes.is_empty() {
        return whole;
    }
    let mut out = Line::empty();
    let mut from = 0;
    for escape in escapes.iter().map(|e| e.saturating_sub(start)) {
        out.push(&whole, from..escape, None);
        from = escape + 1;
    }
    out.push(&whole, from..whole.text.len(), None);
    out
}

/// A word or a brace of a plain line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Where it begins.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// Its first byte.
    pub sign: u8,
}

/// Reads the first line of a text if it is plain: ASCII without quotes, escapes, definitions, conditions,
/// repetitions and includes, of which [`decomment`] and [`tokens`] would make the same words. Answers its length
/// with its end of line then.
pub(crate) fn plain(text: &[u8], into: &mut Vec<Plain>) -> Option<usize> {
    into.clear();
    let mut rest = text;
    // Indentation is nearly half of such files.
    while let Some(behind) = rest.strip_prefix(b"    ") {
        rest = behind;
    }
    while let Some((&sign, behind)) = rest.split_first() {
        let start = text.len() - rest.len();
        match class(sign) {
            Class::Space => rest = behind,
            Class::End => return Some(start + 1),
            Class::Brace => {
                into.push(Plain { start, end: start + 1, sign });
                rest = behind;
            }
            Class::Comment => {
                return Some(memchr::memchr(b'\n', rest).map_or(text.len(), |at| start + at + 1));
            }
            Class::Word => {
                let length = rest.iter().position(|b| class(*b) != Class::Word).unwrap_or(rest.len());
                if sign == b'i' && rest.starts_with(b"include") {
                    return None;
                }
                into.push(Plain { start, end: start + length, sign });
                rest = rest.get(length..).unwrap_or_default();
            }
            Class::Odd => return None,
        }
    }
    Some(text.len())
}

/// What a byte is in a plain line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Space,
    /// Of the line.
    End,
    Brace,
    /// The first of a comment.
    Comment,
    /// Always part of a word.
    Word,
    /// No line with it is plain.
    Odd,
}

/// The class of a byte.
fn class(byte: u8) -> Class {
    const CLASSES: [Class; 256] = {
        let mut classes = [Class::Odd; 256];
        let mut byte = 0;
        while byte < 0x80 {
            if let Some(class) = classes.split_at_mut(byte as usize).1.first_mut() {
                *class = match byte {
                    b'\n' => Class::End,
                    _ if is_space_byte(byte) => Class::Space,
                    b'{' | b'}' => Class::Brace,
                    b'#' | b'!' => Class::Comment,
                    b'"' | b'\\' | b'$' | b'@' | b'~' => Class::Odd,
                    _ => Class::Word,
                };
            }
            byte += 1;
        }
        classes
    };
    CLASSES.get(usize::from(byte)).copied().unwrap_or(Class::Odd)
}

/// The odd spaces a line without comment begins and ends with; empty where there are none.
pub(crate) fn odd_ends(line: &str) -> (Range<usize>, Range<usize>) {
    let is_any = |c| is_space(c) || is_odd_space(c);
    let start = line.len() - line.trim_start_matches(is_any).len();
    let end = line.trim_end_matches(is_any).len().max(start);
    (0..start, end..line.len())
}

/// A word, a brace, or something between words that the operator should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word; the range is of its text, within the quotes if it had any.
    Word {
        /// Where its text is.
        text: Range<usize>,
        /// Whether it stood in double quotes.
        is_quoted: bool,
    },
    /// `{`.
    Open(usize),
    /// `}`.
    Close(usize),
    /// A double quote that is never closed; a word with the rest of the line follows.
    Unterminated(usize),
    /// A space that is not ASCII (no-break space, byte order mark, ...): it separates words here.
    OddSpace(Range<usize>),
}

/// The words and braces of a line without comment.
pub(crate) fn tokens(line: &str) -> Tokens<'_> {
    Tokens { line, at: 0, rest_of_line: None }
}

/// Iterator of [`tokens`].
#[derive(Clone, Debug)]
pub(crate) struct Tokens<'a> {
    line: &'a str,
    at: usize,
    rest_of_line: Option<Range<usize>>,
}

impl Iterator for Tokens<'_> {
    type Item = Token;

    fn next(&mut self) -> Option<Token> {
        if let Some(text) = self.rest_of_line.take() {
            self.at = self.line.len();
            return Some(Token::Word { text, is_quoted: true });
        }
        let rest = self.line.get(self.at..)?;
        self.at += rest.bytes().position(|b| !is_space_byte(b)).unwrap_or(rest.len());
        let rest = self.line.get(self.at..)?;
        let start = self.at;
        let first = rest.chars().next()?;
        match first {
            '{' | '}' => {
                self.at += 1;
                Some(if first == '{' { Token::Open(start) } else { Token::Close(start) })
            }
            '"' => {
                let inside = start + 1;
                let Some(length) = self.line.get(inside..).and_then(|r| r.find('"')) else {
                    self.rest_of_line = Some(inside..self.line.len());
                    return Some(Token::Unterminated(start));
                };
                self.at = inside + length + 1;
                Some(Token::Word { text: inside..inside + length, is_quoted: true })
            }
            odd if is_odd_space(odd) => {
                let length: usize = rest.chars().take_while(|c| is_odd_space(*c)).map(char::len_utf8).sum();
                self.at += length;
                Some(Token::OddSpace(start..self.at))
            }
            _ => {
                let ends = |c: char| matches!(c, '{' | '}' | '"') || is_space(c) || is_odd_space(c);
                // By bytes as long as they are ASCII; odd spaces need characters.
                let is_end = |b: u8| is_space_byte(b) || matches!(b, b'{' | b'}' | b'"') || !b.is_ascii();
                let plain = rest.bytes().position(is_end).unwrap_or(rest.len());
                let more = rest.get(plain..).unwrap_or_default();
                self.at += plain + more.find(ends).unwrap_or(more.len());
                Some(Token::Word { text: start..self.at, is_quoted: false })
            }
        }
    }
}

/// What separates words; control characters do, too.
fn is_space(c: char) -> bool {
    c <= ' ' || c == '\x7f'
}

/// As [`is_space`], of bytes: none of those of a character that is not ASCII.
const fn is_space_byte(byte: u8) -> bool {
    byte <= b' ' || byte == 0x7f
}

/// Where a text begins and ends without the space around it.
fn ends(text: &str) -> (usize, usize) {
    let end = text.bytes().rposition(|b| !is_space_byte(b)).map_or(0, |last| last + 1);
    let start = text.bytes().position(|b| !is_space_byte(b)).unwrap_or(0);
    (start, end)
}

/// Spaces that editors and web pages bring along, and that keepalived takes for letters.
fn is_odd_space(c: char) -> bool {
    !c.is_ascii()
        && (c.is_whitespace() || matches!(c, '\u{200b}' | '\u{200c}' | '\u{200d}' | '\u{2060}' | '\u{feff}'))
}
