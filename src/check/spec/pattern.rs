//! A regular expression and where in a body it must match (keepalived `regex` and its like).

use std::fmt;

use serde::{Serialize, Serializer};

/// An expression, and where in a body it must match or must not. That it can be compiled is the configuration's to see to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Pattern {
    /// The expression (PCRE2).
    #[serde(serialize_with = "as_text")]
    pub text: Vec<u8>,
    /// Options of PCRE2, as bits.
    pub options: u32,
    /// Where a match may begin, at least: bytes from the beginning of the body.
    pub min_offset: usize,
    /// Where a match may begin, at most.
    pub max_offset: Option<usize>,
    /// Whether a match is a failure.
    pub is_unwanted: bool,
}

impl Pattern {
    /// The expression `text` under PCRE2's `options`; a match may begin from `min_offset` to `max_offset`.
    pub fn new(
        text: &[u8],
        options: u32,
        (min_offset, max_offset): (usize, Option<usize>),
        is_unwanted: bool,
    ) -> Pattern {
        Pattern { text: text.to_vec(), options, min_offset, max_offset, is_unwanted }
    }
}

impl Pattern {
    /// A text that must be somewhere in the body.
    pub fn literal(text: &str) -> Pattern {
        Pattern::new(text.as_bytes(), LITERAL, (0, None), false)
    }
}

/// PCRE2_LITERAL: every character stands for itself.
const LITERAL: u32 = 0x0200_0000;

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text.escape_ascii())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({self}, {:#x}, {}..={:?})", self.options, self.min_offset, self.max_offset)
    }
}

fn as_text<S: Serializer>(text: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&text.escape_ascii())
}
