//! Diagnostics as text: the place, the line, the word underlined, what is wrong, what to write.
//!
//! Only the line a diagnostic is about is handed to the renderer, so that a problem at line 100,000 costs no
//! more than one at line 1.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::syntax::diagnostic::{Class, Diagnostic, Diagnostics};
use crate::syntax::source::{Sources, Span};

/// Longest line shown; of a longer one, what is around the word.
const MAX_SHOWN: usize = 160;

/// All diagnostics, in their order, then how many were not kept.
pub fn render(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics.iter() {
        out.push_str(&one(diagnostic, sources));
        out.push_str("\n\n");
    }
    if diagnostics.dropped() > 0 {
        let _ = writeln!(out, "{} more problems are not shown\n", diagnostics.dropped());
    }
    out
}

/// One diagnostic, without a line end behind it.
pub fn one(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let level = match diagnostic.class {
        Class::Error => Level::ERROR,
        Class::Warning => Level::WARNING,
    };
    let mut main = Group::with_title(level.primary_title(diagnostic.message.as_str()));
    if let Some(span) = diagnostic.span {
        main = main.element(snippet(span, sources));
    }
    let help = diagnostic.help.iter().map(|h| Level::HELP.message(h.as_str()));
    let plain =
        diagnostic.notes.iter().filter(|n| n.span.is_none()).map(|n| Level::NOTE.message(n.text.as_str()));
    main = main.elements(help).elements(plain);
    let mut report = vec![main];
    for note in &diagnostic.notes {
        if let Some(span) = note.span {
            let group = Group::with_title(Level::NOTE.secondary_title(note.text.as_str()));
            report.push(group.element(snippet(span, sources)));
        }
    }
    Renderer::plain().render(&report)
}

/// The line of a span with the span underlined.
fn snippet(span: Span, sources: &Sources) -> Snippet<'static, annotate_snippets::Annotation<'static>> {
    let line = sources.line(span);
    let text = sources.slice(line);
    let start = (span.start.saturating_sub(line.start) as usize).min(text.len());
    let end = (span.end.saturating_sub(line.start) as usize).clamp(start, text.len());
    let (text, start, end) = window(text, start, end);
    let path = sources.path(span.file).display().to_string();
    Snippet::source(text)
        .line_start(sources.position(span).line)
        .path(path)
        .annotation(AnnotationKind::Primary.span(start..end))
}

/// What is shown of a long line, and where the span is in it.
fn window(text: &str, start: usize, end: usize) -> (String, usize, usize) {
    if text.len() <= MAX_SHOWN {
        return (text.to_owned(), start, end);
    }
    let floor = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = floor(start.saturating_sub(MAX_SHOWN / 4));
    let to = floor((from + MAX_SHOWN).min(text.len()));
    let shown = text.get(from..to).unwrap_or_default();
    let end = floor(end.min(to));
    (shown.to_owned(), start - from, end.max(start) - from)
}
