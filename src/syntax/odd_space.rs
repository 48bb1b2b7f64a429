//! Spaces that are not ASCII, which editors and web pages bring along: told once a file, read as spaces.

use std::ops::Range;

use super::diagnostic::Diagnostic;
use super::lexer::{self, Line};
use super::source::Span;

/// Odd spaces of a file: the first, its name, how many.
#[derive(Debug, Default)]
pub(crate) struct OddSpaces(Option<(Span, String, usize)>);

impl OddSpaces {
    /// The line without the odd spaces it begins and ends with: they would hide a definition or an include.
    pub(crate) fn strip<'a>(&mut self, line: Line<'a>) -> Line<'a> {
        let (before, behind) = lexer::odd_ends(&line.text);
        if before.is_empty() && behind.is_empty() {
            return line;
        }
        let inner = before.end..behind.start;
        for range in [before, behind].into_iter().filter(|r| !r.is_empty()) {
            self.add(&line, range);
        }
        let mut out = Line::empty();
        out.push(&line, inner, None);
        out
    }

    pub(crate) fn add(&mut self, line: &Line<'_>, range: Range<usize>) {
        if let Some((_, _, count)) = &mut self.0 {
            *count += 1;
            return;
        }
        // Ordinary ones may stand before it.
        let c = line.text.get(range.clone()).and_then(|t| t.chars().find(|c| !c.is_ascii())).unwrap_or(' ');
        let name = match c {
            '\u{a0}' => "no-break space (U+00A0)".to_owned(),
            '\u{3000}' => "wide space (U+3000)".to_owned(),
            other => format!("space that is not ASCII (U+{:04X})", u32::from(other)),
        };
        self.0 = Some((line.span(range), name, 1));
    }

    /// What is to be said about them.
    pub(crate) fn told(self) -> Option<Diagnostic> {
        let (first, name, count) = self.0?;
        let others = if count > 1 { format!(" ({count} of them in this file)") } else { String::new() };
        let text = format!("a {name} stands here, which is read as a space{others}");
        Some(
            Diagnostic::warning(first, text)
                .help("replace it by an ordinary space: keepalived takes it for a letter"),
        )
    }
}
