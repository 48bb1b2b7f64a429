//! What `lvsd check` says, word by word, and its verdicts.

mod diagnostics;
mod options;
mod verdicts;
mod vrrp;
mod yaml;
