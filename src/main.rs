//! The `lvsd` binary: the commands live in [`lvsd::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(lvsd::cli::main() as u8)
}
