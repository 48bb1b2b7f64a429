//! The `lvsd` binary: the commands live in the library, in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    lvsd::main()
}
