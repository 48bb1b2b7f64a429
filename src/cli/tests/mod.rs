//! What `lvsd check` says, word by word, and its verdicts.

mod diagnostics;
mod docs;
pub(crate) mod odd;
mod options;
mod verdicts;
