//! The words `regex` and its like: an expression as keepalived reads it.
//!
//! keepalived resolves backslashes before PCRE2 sees them, so that `\\d` is written `\\\\d`. lvsd does the same, and
//! warns where that is probably not what was meant. In YAML the expression is as it stands.

use crate::check::pattern::{OPTIONS, verify};
use crate::check::spec::pattern::Pattern;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::defaults::Dialect;
use super::options::options;

options! {
    /// What a `url` says of its body, as it was written.
    #[derive(Clone)]
    pub(crate) struct PatternOptions {
        /// Expression (PCRE2) the body must match; backslashes are read as keepalived reads them.
        _ = word(=> expression; "regex", "EXPRESSION in double quotes");
        expression: Slot<Vec<u8>>;
        is_unreadable: bool;
        /// The body must not match.
        is_unwanted: Slot<bool> = flag("regex_no_match"), default false;
        /// Options of the expression, by their names in PCRE2.
        options: Vec<Spanned<u32>> = words(=> pattern_options; "regex_options", "options, e.g. `caseless dotall`", 1, 64);
        /// Where in the body a match may begin, at least.
        min_offset: Slot<u32> = number("regex_min_offset", 0, u32::MAX);
        /// Where in the body a match may begin, at most.
        max_offset: Slot<u32> = number("regex_max_offset", 0, u32::MAX);
        /// Stack of the matcher.
        _ = unread("regex_stack", Support::Ignored("the matcher takes what memory it needs, up to 64 MiB"));
    }
}

/// The expression of `regex` in keepalived.conf, as YAML writes it. None where it is not text.
pub(super) fn as_yaml(word: &Word) -> Option<String> {
    let text = if word.is_quoted { &*word.text } else { word.text.trim_matches('\'') };
    String::from_utf8(unescaped(text)?.bytes).ok()
}

/// The expression of YAML's `regex`, as keepalived.conf writes it in quotes. None where it cannot.
pub(super) fn as_conf(text: &str) -> Option<String> {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\042").replace('\n', "\\n").replace('\t', "\\t");
    (unescaped(&escaped)?.bytes == text.as_bytes()).then_some(escaped)
}

/// Reads `regex`.
fn expression(into: &mut PatternOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if reader.is_yaml() {
        // YAML's quotes are all there are: PCRE2 sees what was written.
        return reader.store(&mut into.expression, node, word.text.as_bytes().to_vec());
    }
    let text = if word.is_quoted { &*word.text } else { word.text.trim_matches('\'') };
    let Some(Unescaped { bytes, lost }) = unescaped(text) else {
        into.is_unreadable = true;
        let problem = Diagnostic::error(word.span, "`regex`: a backslash stands at the end")
            .help("a double quote within is written `\\x22`, a backslash `\\\\\\\\`");
        return reader.diagnostics.push(problem);
    };
    if let Some(lost) = lost {
        let kept = lost.kept.escape_ascii();
        let text = format!("`regex`: `\\{}` is read as `{kept}`, as keepalived reads it", lost.written);
        let help = format!("write `\\\\{}` if PCRE2 is to see the backslash", lost.written);
        reader.diagnostics.push(Diagnostic::warning(word.span, text).help(help));
    }
    reader.store(&mut into.expression, node, bytes);
}

/// Reads `regex_options`.
fn pattern_options(into: &mut Vec<Spanned<u32>>, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        match OPTIONS.iter().find(|(name, _)| *name == &*word.text) {
            Some((_, bit)) => into.push(Spanned { value: *bit, span: word.span }),
            None => {
                let likely = nearest(word, OPTIONS.iter().map(|(name, _)| *name));
                let hint = likely.map(|name| format!("did you mean `{name}`?"));
                reader.wrong("regex_options", word, "an option of PCRE2", Wrong::Malformed(hint));
            }
        }
    }
}

impl PatternOptions {
    /// The pattern, if there is an expression; `url` is the block it stands in.
    pub(crate) fn resolve(&self, dialect: Dialect, url: Span, reader: &mut Reader<'_>) -> Option<Pattern> {
        let Some(expression) = &self.expression else {
            let others = [
                self.is_unwanted.as_ref().map(|s| s.span),
                self.min_offset.as_ref().map(|s| s.span),
                self.max_offset.as_ref().map(|s| s.span),
                self.options.first().map(|o| o.span),
            ];
            if let (Some(span), false) = (others.into_iter().flatten().min(), self.is_unreadable) {
                let problem = Diagnostic::warning(span, "this is ignored: the url has no `regex`");
                reader.diagnostics.push(problem.at(url, "this one"));
            }
            return None;
        };
        let bits = self.options.iter().fold(0, |all, option| all | option.value);
        let offset = |slot: &Slot<u32>| get(slot).and_then(|n| usize::try_from(n).ok());
        // keepalived takes 0 for no limit.
        let max = offset(&self.max_offset).filter(|max| *max > 0);
        let offsets = (offset(&self.min_offset).unwrap_or(0), max);
        if let (Some(max), Some(written)) = (max, &self.max_offset)
            && max < offsets.0
        {
            reader
                .error(written.span, "`regex_max_offset` is less than `regex_min_offset`: nothing can match");
        }
        let is_unwanted = self.is_unwanted(dialect);
        let pattern = Pattern::new(&expression.value, bits, offsets, is_unwanted);
        if let Err((reason, at)) = verify(&pattern) {
            let before = expression.value.get(..at).unwrap_or_default().escape_ascii();
            let place = if at == 0 { "at its beginning".to_owned() } else { format!("after `{before}`") };
            reader.error(expression.span, format!("`regex`: {reason}, {place}"));
            return None;
        }
        Some(pattern)
    }
}

/// A text whose backslashes were resolved.
struct Unescaped {
    bytes: Vec<u8>,
    /// The first backslash that PCRE2 was probably meant to see.
    lost: Option<Lost>,
}

struct Lost {
    written: char,
    kept: u8,
}

/// Resolves backslashes as keepalived does; None when the last has nothing behind it.
fn unescaped(text: &str) -> Option<Unescaped> {
    let mut out = Unescaped { bytes: Vec::with_capacity(text.len()), lost: None };
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            let mut buffer = [0; 4];
            out.bytes.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        let escaped = chars.next()?;
        let kept = match escaped {
            'a' => 0x07,
            'b' => 0x08,
            'E' => 0x1b,
            'f' => 0x0c,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 0x0b,
            'x' if chars.peek().is_some_and(char::is_ascii_hexdigit) => {
                let mut value = 0_u8;
                while let Some(digit) = chars.peek().and_then(|c| c.to_digit(16)) {
                    chars.next();
                    value = value << 4 | u8::try_from(digit).unwrap_or(0);
                }
                value
            }
            'c' if chars.peek().is_some() => chars.next().map_or(0, |c| u32::from(c) as u8 & 0x1f),
            '0'..='7' => {
                let mut value = escaped.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    if let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) {
                        chars.next();
                        value = value << 3 | digit;
                    }
                }
                value as u8
            }
            other => {
                let mut buffer = [0; 4];
                let bytes = other.encode_utf8(&mut buffer).as_bytes();
                out.bytes.extend_from_slice(bytes);
                if !matches!(other, '\\' | '"' | '\'' | ' ' | '/') {
                    out.lost.get_or_insert(Lost { written: other, kept: *bytes.first()? });
                }
                continue;
            }
        };
        // A word boundary in PCRE2, a group's backreference: they are hardly meant as control characters.
        if matches!(escaped, 'b' | 'a' | 'v' | '1'..='7') {
            out.lost.get_or_insert(Lost { written: escaped, kept });
        }
        out.bytes.push(kept);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backslashes_are_resolved_as_keepalived_resolves_them() {
        for (text, bytes, lost) in [
            ("hello world", &b"hello world"[..], None),
            (r"a\d+\.", br"a\d+\.", None),
            (r"\n\r\t\f\E", b"\n\r\t\x0c\x1b", None),
            (r"\x41\x4a4B\xg", b"A\x4Bxg", Some('x')),
            (r"\101\60", b"A0", Some('1')),
            (r"\cA", b"\x01", None),
            (r#"\"quoted\""#, b"\"quoted\"", None),
            (r"\d+", b"d+", Some('d')),
            (r"\.", b".", Some('.')),
            (r"\bok", b"\x08ok", Some('b')),
            ("é\\é", "éé".as_bytes(), Some('é')),
        ] {
            let text = text.replace(r"a\d+\.", r"a\\d+\\.");
            let out = unescaped(&text).unwrap();
            assert_eq!(out.bytes, bytes, "{text}");
            assert_eq!(out.lost.map(|l| l.written), lost, "{text}");
        }
        assert!(unescaped("a\\").is_none());
    }
}
