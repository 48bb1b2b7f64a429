//! The `lvsd` binary: the commands live in [`lvsd::cli`].

use std::process::ExitCode;

use lvsd::daemon::startup::Exit;

fn main() -> ExitCode {
    // The panic's message has been written; a service manager gets a status it can tell from a signal's.
    let exit = std::panic::catch_unwind(lvsd::cli::main).unwrap_or(Exit::Bug);
    lvsd::daemon::log::flush();
    ExitCode::from(exit as u8)
}
