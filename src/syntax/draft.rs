//! Statements that are to be written: what a configuration becomes before it is text again, in either language.

use super::source::Span;

/// A statement that is to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) keyword: String,
    /// The words behind it.
    pub(crate) values: Vec<String>,
    /// The statements of its block, if it has one.
    pub(crate) block: Option<Vec<Draft>>,
    /// In YAML it is an item of a list, even if it is the only one.
    pub(crate) is_item: bool,
    /// Where what it says was written.
    pub(crate) span: Span,
    pub(crate) comments: Comments,
    /// What tells it from all others, while it is tried.
    pub(crate) number: usize,
}

/// The comments beside a statement, each with its `#`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Comments {
    /// The lines before it.
    pub(crate) before: Vec<String>,
    /// Behind it, in its line.
    pub(crate) behind: Option<String>,
    /// The lines at the end of its block.
    pub(crate) end: Vec<String>,
}

impl Comments {
    /// All of them, in the order of the text.
    pub(crate) fn lines(self) -> Vec<String> {
        self.before.into_iter().chain(self.behind).chain(self.end).collect()
    }
}

impl Draft {
    /// A statement with words.
    pub(crate) fn words<W: Into<String>>(
        keyword: &str,
        values: impl IntoIterator<Item = W>,
        span: Span,
    ) -> Draft {
        let values = values.into_iter().map(Into::into).collect();
        Draft { keyword: keyword.to_owned(), values, span, ..Draft::default() }
    }

    /// A statement with a block.
    pub(crate) fn block(keyword: &str, block: Vec<Draft>, span: Span) -> Draft {
        Draft { keyword: keyword.to_owned(), block: Some(block), span, ..Draft::default() }
    }

    /// With comments.
    #[must_use]
    pub(crate) fn commented(mut self, comments: Comments) -> Draft {
        self.comments = comments;
        self
    }

    /// As an item of a list.
    #[must_use]
    pub(crate) fn item(mut self) -> Draft {
        self.is_item = true;
        self
    }

    /// The statements of its block.
    pub(crate) fn statements(&self) -> &[Draft] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Numbers all statements, from 1.
pub(crate) fn number(drafts: &mut [Draft]) {
    fn each(drafts: &mut [Draft], last: &mut usize) {
        for draft in drafts {
            *last += 1;
            draft.number = *last;
            each(draft.block.as_deref_mut().unwrap_or_default(), last);
        }
    }
    each(drafts, &mut 0);
}

/// Takes the statement of a number out, or the one whose heading it is; its comments are those of the next one then, or end
/// the block.
pub(crate) fn remove(
    drafts: &mut Vec<Draft>,
    end: &mut Vec<String>,
    number: usize,
    is_heading: &dyn Fn(&Draft) -> bool,
) -> Option<Draft> {
    let is_it = |draft: &Draft| {
        let mut inner = draft.statements().iter();
        draft.number == number || inner.any(|inner| inner.number == number && is_heading(inner))
    };
    if let Some(at) = drafts.iter().position(is_it) {
        let mut removed = drafts.remove(at);
        let kept = std::mem::take(&mut removed.comments).lines();
        match drafts.get_mut(at) {
            Some(next) => drop(next.comments.before.splice(0..0, kept)),
            None => drop(end.splice(0..0, kept)),
        }
        return Some(removed);
    }
    drafts.iter_mut().find_map(|draft| {
        let block = draft.block.as_mut()?;
        remove(block, &mut draft.comments.end, number, is_heading)
    })
}

/// The sign of a line that says which statement is tried next.
pub(crate) const TRIED: &str = "#@ ";

/// The number of the statement that a place of a text that was written for a trial belongs to.
pub(crate) fn tried(text: &str, at: usize) -> Option<usize> {
    let before = text.get(..at)?;
    before.lines().rev().find_map(|line| {
        let (_, number) = line.split_once(TRIED)?;
        number.trim().parse().ok()
    })
}
