//! Diagnostics as text: the place, the line, the word underlined, what is wrong, what to write.
//!
//! Only the line a diagnostic is about is handed to the renderer, so that a problem at line 100,000 costs no
//! more than one at line 1.

use std::fmt::Write;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use crate::director::event::count;
use crate::syntax::diagnostic::{Certainty, Class, Diagnostic, Diagnostics, Edit, Note};
use crate::syntax::source::{Sources, Span};
use crate::text;

/// A diagnostic for programs; a problem of a file as a whole has no place.
#[derive(Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    place: Option<Place>,
    class: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    depends_on_host: bool,
    message: String,
    help: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<ListedSuggestion>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<ListedNote>,
}

/// A change of the text that resolves a diagnostic; all of its edits belong together.
#[derive(Serialize)]
struct ListedSuggestion {
    /// `certain`, `if_clean` (certain if it brings no new problem), `likely`.
    certainty: &'static str,
    edits: Vec<ListedEdit>,
}

/// The text from a place up to another one becomes `text`.
#[derive(Serialize)]
struct ListedEdit {
    #[serde(flatten)]
    from: Place,
    end_line: usize,
    end_column: usize,
    text: String,
}

#[derive(Serialize)]
struct ListedNote {
    #[serde(flatten)]
    place: Option<Place>,
    message: String,
}

#[derive(Serialize)]
struct Place {
    file: String,
    line: usize,
    column: usize,
}

/// A diagnostic for programs.
pub(crate) fn listed(diagnostic: &Diagnostic, sources: &Sources) -> Listed {
    let place = |span: Span| {
        let at = sources.position(span);
        Place { file: sources.path(span.file).display().to_string(), line: at.line, column: at.column }
    };
    let class = match diagnostic.class {
        Class::Error => "error",
        Class::Warning => "warning",
    };
    let edit = |edit: &Edit| {
        let (span, text) = edit.resolve(sources)?;
        let end = sources.position(Span { start: span.end, ..span });
        let (end_line, end_column) = (end.line, end.column);
        Some(ListedEdit { from: place(span), end_line, end_column, text: text.to_owned() })
    };
    let suggestion = diagnostic.suggestion.as_ref().and_then(|suggestion| {
        let certainty = match suggestion.certainty {
            Certainty::Certain => "certain",
            Certainty::IfClean => "if_clean",
            Certainty::Likely => "likely",
        };
        let edits = suggestion.edits.iter().map(edit).collect::<Option<Vec<_>>>()?;
        Some(ListedSuggestion { certainty, edits })
    });
    let note = |n: &Note| ListedNote { place: n.span.map(place), message: n.text.clone() };
    Listed {
        place: diagnostic.span.map(place),
        class,
        depends_on_host: diagnostic.depends_on_host,
        message: diagnostic.message.clone(),
        help: diagnostic.help.clone(),
        suggestion,
        notes: diagnostic.notes.iter().map(note).collect(),
    }
}

/// Longest line handed to the renderer, which cuts it to what is around the word; of a longer one, a part.
const MAX_SHOWN: usize = 4096;

/// Errors that are shown to people, and as many warnings: more are not corrected before the next look.
const MAX_LISTED: usize = 20;

/// The first diagnostics, in their order, then how many more there are.
pub(crate) fn render(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut out = String::new();
    let mut room = [MAX_LISTED; 2];
    let mut shown = [0; 2];
    for diagnostic in diagnostics.iter() {
        let at = usize::from(diagnostic.class == Class::Warning);
        if let (Some(room @ 1..), Some(shown)) = (room.get_mut(at), shown.get_mut(at)) {
            *room -= 1;
            *shown += 1;
            out.push_str(&one(diagnostic, sources));
            out.push_str("\n\n");
        }
    }
    let [errors, warnings] = shown;
    let more = [(diagnostics.errors() - errors, "error"), (diagnostics.warnings() - warnings, "warning")];
    let more: Vec<String> = more.iter().filter(|(n, _)| *n > 0).map(|(n, what)| count(*n, what)).collect();
    if !more.is_empty() {
        let _ = writeln!(
            out,
            "{} more: mend these first, or list all with `lvsd check --json`\n",
            more.join(" and ")
        );
    }
    out
}

/// One diagnostic, without a line end behind it.
pub(crate) fn one(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let level = match diagnostic.class {
        Class::Error => Level::ERROR,
        Class::Warning => Level::WARNING,
    };
    let host = if diagnostic.depends_on_host { "this host: " } else { "" };
    let message = format!("{host}{}", text::line(&diagnostic.message));
    let mut main = Group::with_title(level.primary_title(message.as_str()));
    if let Some(span) = diagnostic.span {
        main = snippet(main, span, sources);
    }
    let help = diagnostic.help.iter().map(|h| Level::HELP.message(h.as_str()));
    let plain =
        diagnostic.notes.iter().filter(|n| n.span.is_none()).map(|n| Level::NOTE.message(n.text.as_str()));
    main = main.elements(help).elements(plain);
    let mut report = vec![main];
    for note in &diagnostic.notes {
        if let Some(span) = note.span {
            let group = Group::with_title(Level::NOTE.secondary_title(note.text.as_str()));
            report.push(snippet(group, span, sources));
        }
    }
    Renderer::plain().render(&report)
}

/// Adds the line of a span, with the span underlined.
fn snippet<'a>(group: Group<'a>, span: Span, sources: &Sources) -> Group<'a> {
    let line = sources.line(span);
    let text = sources.slice(line);
    let start = (span.start.saturating_sub(line.start) as usize).min(text.len());
    let end = (span.end.saturating_sub(line.start) as usize).clamp(start, text.len());
    // A file's name may end the line, and go on as if it were lvsd.
    let path = text::line(&sources.path(span.file).display().to_string()).into_owned();
    let at = sources.position(span);
    let (shown, start, end) = window(text, start, end);
    let is_cut = shown.len() < text.len();
    let shown =
        Snippet::source(shown).line_start(at.line).annotation(AnnotationKind::Primary.span(start..end));
    if is_cut {
        // The renderer would count columns from where the line was cut.
        let origin = Origin::path(path).line(at.line).char_column(at.column);
        group.element(origin).element(shown)
    } else {
        group.element(shown.path(path))
    }
}

/// What is shown of a long line, and where the span is in it.
fn window(text: &str, start: usize, end: usize) -> (String, usize, usize) {
    if text.len() <= MAX_SHOWN {
        return (masked(text), start, end);
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
    (masked(shown), start - from, end.max(start) - from)
}

/// Words whose values are secrets, and beginnings of values that are: a diagnostic may end up in a log.
const SECRET_WORDS: &[&str] = &["auth_pass", "password", "secret"];
const SECRET_VALUES: &[&str] = &["hex:", "ascii:"];

/// Whether a line has a secret.
pub(super) fn has_secret(line: &str) -> bool {
    masked(line) != line
}

/// The text with a star for each byte of a secret, so that places stay what they are.
pub(super) fn masked(text: &str) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let from = |word: &&str| {
        let at = text.find(*word)?;
        let behind = text.get(at + word.len()..)?;
        let stands_alone = !text.get(..at)?.ends_with(is_of_word) && !behind.starts_with(is_of_word);
        let value = behind.trim_start_matches([' ', '\t', ':', '"', '\'']);
        (stands_alone && value.len() < behind.len()).then(|| text.len() - value.len())
    };
    let words = SECRET_WORDS.iter().filter_map(from);
    let values = SECRET_VALUES.iter().filter_map(|value| Some(text.find(value)? + value.len()));
    let Some(first) = words.chain(values).min() else { return text.to_owned() };
    // Everything behind it may belong to it.
    let (shown, secret) = text.split_at(first);
    let end = secret.trim_end_matches(['"', '\'', '}', ']', ' ', '\r', '\n']).len();
    let (secret, rest) = secret.split_at(end);
    format!("{shown}{}{rest}", "*".repeat(secret.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_shown_twenty_of_each_and_the_count_of_the_rest() {
        let load = |text: &str| {
            let path = std::path::Path::new("k.conf");
            let files =
                crate::syntax::files::MemoryFiles([(path.to_owned(), text.as_bytes().to_vec())].into());
            crate::config::load::load_from(&files, path, crate::config::Strictness::Strict)
        };
        let said = |text: &str| {
            let loaded = load(text);
            render(&loaded.diagnostics, &loaded.sources)
        };
        let surplus = "global_defs {\nrouter_id a b\n}\n".repeat(30);
        let shown = said(&format!("{surplus}{}", "pony\n".repeat(30)));
        assert_eq!(shown.matches("error: `pony` is not a keyword").count(), 20, "{shown}");
        assert_eq!(shown.matches("warning: ").count(), 20, "{shown}");
        assert!(shown.contains("10 errors and ") && shown.contains("lvsd check --json"), "{shown}");
        assert!(!said("pony\n").contains("more"));
        let hostile = "include \u{1b}[2J\u{202e}.conf\n";
        assert!(said(hostile).contains("\\u001b[2J\\u202e.conf"), "{}", said(hostile));
    }

    #[test]
    fn secrets_are_stars_of_the_same_length() {
        for (line, wanted) in [
            ("  auth_pass 1111 # x", "  auth_pass ********"),
            ("auth_pass \"a b\"", "auth_pass \"***\""),
            ("{type: pass, password: geheim}", "{type: pass, password: ******}"),
            ("key 1 hex:00ff", "key 1 hex:****"),
            ("auth_password 1", "auth_password 1"),
            ("secret: file:/etc/key", "secret: *************"),
            ("path /secret.html", "path /secret.html"),
            ("auth_pass", "auth_pass"),
        ] {
            assert_eq!(masked(line), wanted);
            assert_eq!(masked(line).len(), line.len());
        }
    }
}
