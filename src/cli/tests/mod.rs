//! What `lvsd check` says, word by word, and its verdicts.

mod convert;
mod diagnostics;
mod docs;
mod fixes;
mod options;
mod report;
