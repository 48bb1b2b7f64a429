//! Spaces that are not ASCII, which editors and web pages bring along: told once a file, read as spaces.

use std::ops::Range;

use super::diagnostic::{Certainty, Diagnostic, Edit};
use super::lexer::{self, Line};
use super::source::Span;

/// Most of a file that are suggested to be replaced at once.
const MAX_EDITS: usize = 1000;

/// Odd spaces of a file: the first, its name, how many.
#[derive(Debug, Default)]
pub(crate) struct OddSpaces {
    found: Option<(Span, String, usize)>,
    edits: Vec<Edit>,
}

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
        let old = line.text.get(range.clone()).unwrap_or_default();
        if self.edits.len() < MAX_EDITS {
            // What stands around them, the edit's resolution leaves alone.
            let new = old.chars().map(|c| if c.is_ascii() { c } else { ' ' }).collect();
            let old = old.trim_matches([' ', '\t']).to_owned();
            self.edits.push(Edit::Replace { span: line.span(range.clone()), old, new });
        }
        if let Some((_, _, count)) = &mut self.found {
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
        self.found = Some((line.span(range), name, 1));
    }

    /// What is to be said about them.
    pub(crate) fn told(self) -> Option<Diagnostic> {
        let (first, name, count) = self.found?;
        let others = if count > 1 { format!(" ({count} of them in this file)") } else { String::new() };
        let text = format!("a {name} stands here, which is read as a space{others}");
        Some(
            Diagnostic::warning(first, text)
                .help("replace it by an ordinary space: keepalived takes it for a letter")
                .suggest(Certainty::Certain, self.edits),
        )
    }
}
