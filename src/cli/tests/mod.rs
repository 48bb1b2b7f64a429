//! What `lvsd check` says, word by word, and its verdicts.

mod diagnostics;
mod docs;
mod hostile;
mod odd;
mod options;
mod verdicts;
