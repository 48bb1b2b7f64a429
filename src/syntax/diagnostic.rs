//! What is wrong with a text: every problem, not only the first.
//!
//! A [`Diagnostic`] is data; `cli::render` draws it. The collector is bounded, because a file of a million
//! unknown words must not become a gigabyte of messages: what exceeds the bound is counted.

use super::source::{Sources, Span};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used; the operator should look.
    Warning,
}

/// A remark to a problem, maybe with a place of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Where, if it is about a place.
    pub span: Option<Span>,
    /// What is there.
    pub text: String,
}

/// A problem that programs tell from others: its words may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// `nopreempt` has no effect.
    NopreemptIgnored,
    /// A password is longer than the protocol carries.
    PasswordCut,
    /// Something was not written that a line for another host (`@ID`) may say.
    Missing,
    /// A word stands in a block that is not its own, or lacks its block: a brace may be missing or surplus.
    Brace,
    /// A `}` closes nothing.
    Closing,
    /// A block is never closed.
    Open,
    /// A `{` stands where no block begins.
    Surplus,
    /// A quote is never closed.
    Quote,
    /// A word is no keyword, and nothing is known that it may be meant to be.
    Stray,
    /// A block is skipped whose keyword is not known: what names it does not find it.
    LostBlock,
    /// The statement that begins here has no effect.
    Unheeded(Span),
    /// Another number than the one that was written is taken; times in microseconds.
    Taken(u64),
}

impl Code {
    /// The braces of the text are uneven, or seem to be.
    pub const UNEVEN: &[Code] = &[Code::Open, Code::Closing, Code::Surplus, Code::Quote];
}

/// How sure it is that a [`Suggestion`] is what was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The text can mean nothing else.
    Certain,
    /// The text can mean nothing else if the changed one has no new problem.
    IfClean,
    /// It is likely: the operator decides.
    Likely,
}

/// A change of the text that resolves a problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// Changes that belong together; none overlaps another.
    pub edits: Vec<Edit>,
    pub certainty: Certainty,
}

/// One change of a text. What stands at the span may differ from what was read, where a definition was used:
/// [`Edit::resolve`] leaves such places alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `old`, apart from blanks around it, becomes `new`.
    Replace { span: Span, old: String, new: String },
    /// A statement that begins with `word` becomes a comment, if nothing but a comment follows in its line.
    Comment { span: Span, word: String },
}

impl Edit {
    /// The bytes to replace, and what by; None where the text of the file is not what was read.
    pub fn resolve<'a>(&'a self, sources: &Sources) -> Option<(Span, &'a str)> {
        match self {
            Edit::Replace { span, old, new } => {
                (sources.slice(*span).trim_matches([' ', '\t']) == old).then_some((*span, new))
            }
            Edit::Comment { span, word } => {
                let line = sources.line(*span);
                let rest = sources.slice(Span { start: span.end, ..line });
                let rest = rest.trim_start();
                let ends_line = rest.is_empty() || rest.starts_with(['#', '!']);
                let is_whole = span.end <= line.end && sources.slice(*span).starts_with(word.as_str());
                (ends_line && is_whole).then_some((Span { end: span.start, ..*span }, "# "))
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which one it is, where a program has to know.
    pub code: Option<Code>,
    /// How much it matters.
    pub class: Class,
    /// It is about the host that reads the file, and need not hold on another one.
    pub depends_on_host: bool,
    /// Where; None for a problem of a file as a whole.
    pub span: Option<Span>,
    /// What is wrong: lower case, the object first.
    pub message: String,
    /// What to write or do.
    pub help: Option<String>,
    /// The same for programs, where it is a change of the text.
    pub suggestion: Option<Box<Suggestion>>,
    pub notes: Vec<Note>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Class::Error, Some(span), message)
    }

    /// A warning at a place.
    pub fn warning(span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(Class::Warning, Some(span), message)
    }

    /// A problem, maybe of a file as a whole.
    pub fn new(class: Class, span: Option<Span>, message: impl Into<String>) -> Diagnostic {
        Diagnostic {
            code: None,
            class,
            depends_on_host: false,
            span,
            message: message.into(),
            help: None,
            suggestion: None,
            notes: Vec::new(),
        }
    }

    /// With what programs know it by.
    #[must_use]
    pub fn code(mut self, code: Code) -> Diagnostic {
        self.code = Some(code);
        self
    }

    /// One that is about the host that reads the file.
    #[must_use]
    pub fn of_this_host(mut self) -> Diagnostic {
        self.depends_on_host = true;
        self
    }

    /// With what to write or do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// With a change that resolves it.
    #[must_use]
    pub fn suggest(mut self, certainty: Certainty, edits: Vec<Edit>) -> Diagnostic {
        self.suggestion = Some(Box::new(Suggestion { edits, certainty }));
        self
    }

    /// With a remark about another place.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.notes.push(Note { span: Some(span), text: text.into() });
        self
    }
}

/// Most bytes of a text: it quotes words, and a word may be as long as a file.
const MAX_TEXT: usize = 1000;

/// Leaves out the middle of a text that is too long.
fn shorten(text: &mut String) {
    if text.len() > MAX_TEXT {
        let boundary = |near: usize| (near..text.len()).find(|at| text.is_char_boundary(*at));
        let from = boundary(MAX_TEXT / 2).unwrap_or(text.len());
        let to = boundary(text.len() - MAX_TEXT / 4).unwrap_or(text.len());
        text.replace_range(from..to, " ... ");
    }
}

/// All problems found so far.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    errors: usize,
    warnings: usize,
    /// How many of the warnings depend on the host.
    host_warnings: usize,
    /// What depends on the host is left out.
    is_offline: bool,
}

impl Diagnostics {
    /// Leaves out from now on what depends on the host.
    pub fn ignore_this_host(&mut self) {
        self.is_offline = true;
    }

    /// Number of warnings about the host that reads the file, kept or not; they are among [`Diagnostics::warnings`].
    pub fn host_warnings(&self) -> usize {
        self.host_warnings
    }

    /// Adds a note to the first problem with this code.
    pub fn note(&mut self, code: Code, note: Note) {
        if let Some(first) = self.list.iter_mut().find(|d| d.code == Some(code)) {
            first.notes.push(note);
        }
    }

    /// Most problems kept of each class; the others are only counted.
    pub const MAX_KEPT: usize = 1000;

    /// Most remarks of one problem.
    const MAX_NOTES: usize = 20;

    /// Adds a problem. One that says the same of the same place (a definition's body used twice) is dropped.
    pub fn push(&mut self, mut diagnostic: Diagnostic) {
        if self.is_offline && diagnostic.depends_on_host {
            return;
        }
        let is_of_host = diagnostic.depends_on_host && diagnostic.class == Class::Warning;
        if diagnostic.code == Some(Code::Missing)
            && let Some(first) =
                self.list.iter_mut().find(|d| d.message == diagnostic.message && d.span.is_some())
            && first.span != diagnostic.span
        {
            // What lacks is one problem, however often it is named.
            if first.notes.len() < Self::MAX_NOTES {
                first.notes.push(Note { span: diagnostic.span, text: "it is named here, too".to_owned() });
            }
            return;
        }
        shorten(&mut diagnostic.message);
        diagnostic.help.iter_mut().for_each(shorten);
        diagnostic.notes.iter_mut().for_each(|note| shorten(&mut note.text));
        let count = match diagnostic.class {
            Class::Error => &mut self.errors,
            Class::Warning => &mut self.warnings,
        };
        if *count >= Self::MAX_KEPT {
            *count = count.saturating_add(1);
            self.host_warnings += usize::from(is_of_host);
        } else if diagnostic.span.is_none() || !self.list.contains(&diagnostic) {
            *count += 1;
            self.host_warnings += usize::from(is_of_host);
            self.list.push(diagnostic);
        }
    }

    /// Whether one of the problems is one of these.
    pub fn any(&self, codes: &[Code]) -> bool {
        self.list.iter().any(|d| d.code.is_some_and(|code| codes.contains(&code)))
    }

    /// Leaves out what may follow from a missing or surplus brace, or from a quote that is not closed. The problem that
    /// remains says how many there are, and where the next word stands that does not fit. They must be in the order of the
    /// text.
    pub fn leave_out_consequences(&mut self) {
        // Where the braces are even, each problem is one.
        if !self.any(Code::UNEVEN) {
            return;
        }
        let first =
            |codes: &[Code]| self.list.iter().position(|d| d.code.is_some_and(|c| codes.contains(&c)));
        let causes: [&[Code]; 4] =
            [&[Code::Quote], &[Code::Surplus], &[Code::Open], &[Code::Brace, Code::Closing]];
        let Some(head) = causes.into_iter().find_map(first) else { return };
        let follows = |d: &Diagnostic| {
            matches!(d.code, Some(Code::Surplus | Code::Open | Code::Brace | Code::Closing | Code::Missing))
        };
        let (code, after) = (self.list.get(head).and_then(|d| d.code), self.list.split_off(head));
        // Words that are nothing stand where the brace took their block away: the fault is seen there first.
        let stray = self.list.iter().rev().take_while(|d| d.code == Some(Code::Stray)).count();
        let stray = if matches!(code, Some(Code::Brace | Code::Closing)) { stray } else { 0 };
        let strays = self.list.split_off(self.list.len() - stray);
        let (lacking, before): (Vec<_>, Vec<_>) = self.list.drain(..).partition(follows);
        let mut rest = strays.into_iter().chain(after);
        let Some(mut cause) = rest.next() else { return };
        let (rest, kept): (Vec<_>, Vec<_>) = match code {
            Some(Code::Quote) => rest.partition(follows),
            _ => (rest.collect(), Vec::new()),
        };
        let rest: Vec<Diagnostic> = lacking.into_iter().chain(rest).collect();
        let counted = |class| rest.iter().filter(|d| d.class == class).count();
        self.errors -= counted(Class::Error);
        self.warnings -= counted(Class::Warning);
        self.host_warnings -= rest.iter().filter(|d| d.class == Class::Warning && d.depends_on_host).count();
        let next = rest.iter().find(|d| follows(d) && d.span.is_some() && d.code != Some(Code::Missing));
        cause
            .notes
            .extend(next.map(|next| Note { span: next.span, text: format!("therefore: {}", next.message) }));
        if !rest.is_empty() {
            let text = match rest.len() {
                1 => "one more problem may be its consequence, and is not listed".to_owned(),
                n => format!("{n} more problems may be its consequences, and are not listed"),
            };
            cause.notes.push(Note { span: None, text });
        }
        self.list = before;
        self.list.push(cause);
        self.list.extend(kept);
    }

    /// Brings the problems into the order of the text; those of files as a whole come first.
    pub fn sort(&mut self) {
        self.list.sort_by_key(|d| d.span);
    }

    /// Adds to every problem with a place the remark that `note` has for that place.
    pub fn annotate(&mut self, note: impl Fn(Span) -> Option<Note>) {
        for diagnostic in &mut self.list {
            diagnostic.notes.extend(diagnostic.span.and_then(&note));
        }
    }

    /// The problems kept, in the order found or, after [`Diagnostics::sort`], of the text.
    pub fn iter(&self) -> impl Iterator<Item = &Diagnostic> {
        self.list.iter()
    }

    /// Number of errors, kept or not.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// Number of warnings, kept or not.
    pub fn warnings(&self) -> usize {
        self.warnings
    }

    /// Number of problems that were counted but not kept.
    pub fn dropped(&self) -> usize {
        (self.errors + self.warnings).saturating_sub(self.list.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::source::FileId;

    #[test]
    fn problems_beyond_the_bound_are_counted_and_not_kept() {
        let mut all = Diagnostics::default();
        for start in 0..1500 {
            all.push(Diagnostic::warning(span(start), "odd"));
        }
        all.push(Diagnostic::error(span(0), "wrong"));
        assert_eq!((all.errors(), all.warnings(), all.dropped()), (1, 1500, 500));
        assert_eq!(all.iter().count(), 1001);
    }

    #[test]
    fn the_same_problem_at_the_same_place_is_said_once() {
        let mut all = Diagnostics::default();
        all.push(Diagnostic::error(span(3), "wrong"));
        all.push(Diagnostic::error(span(3), "wrong"));
        assert_eq!(all.errors(), 1);
    }

    #[test]
    fn a_text_that_quotes_a_word_without_end_is_cut_in_the_middle() {
        let mut all = Diagnostics::default();
        let word = "é".repeat(100_000);
        all.push(Diagnostic::error(span(3), format!("a`{word}` is wrong")).help(&word).at(span(4), &word));
        let kept = all.iter().next().unwrap();
        assert!(kept.message.starts_with("a`éé") && kept.message.ends_with("éé` is wrong"));
        assert!(kept.message.contains("é ... é"));
        for text in [&kept.message, kept.help.as_ref().unwrap(), &kept.notes[0].text] {
            assert!(text.len() <= MAX_TEXT, "{}", text.len());
        }
    }

    fn span(start: u32) -> Span {
        Span { file: FileId::default(), start, end: start + 1 }
    }
}
