//! A piece of a text that is shared instead of copied: what most words of a configuration are.

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Some bytes of a shared text, read as a `str`.
#[derive(Clone)]
pub(crate) struct Slice {
    text: Arc<str>,
    start: u32,
    end: u32,
}

impl Default for Slice {
    fn default() -> Slice {
        "".into()
    }
}

impl Slice {
    /// A piece of a text; empty when it has no such piece.
    pub(crate) fn of(text: &Arc<str>, range: Range<u32>) -> Slice {
        Slice { text: Arc::clone(text), start: range.start, end: range.end }
    }
}

impl From<&str> for Slice {
    fn from(text: &str) -> Slice {
        Slice { end: u32::try_from(text.len()).unwrap_or(u32::MAX), text: text.into(), start: 0 }
    }
}

impl Deref for Slice {
    type Target = str;

    fn deref(&self) -> &str {
        self.text.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

impl PartialEq for Slice {
    /// The same letters; the texts may be different ones.
    fn eq(&self, other: &Slice) -> bool {
        **self == **other
    }
}

impl Eq for Slice {}

impl Ord for Slice {
    fn cmp(&self, other: &Slice) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl PartialOrd for Slice {
    fn partial_cmp(&self, other: &Slice) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
