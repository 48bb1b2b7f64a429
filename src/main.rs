//! The `lvsd` binary: the commands live in [`lvsd::cli`].

fn main() {}
