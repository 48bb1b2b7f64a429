//! How a command reaches the running lvsd.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{complain, run};
use crate::daemon::control::{self, Command, Reply};
use crate::daemon::startup::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct SocketArguments {
    /// Run directory of the lvsd to ask
    #[arg(long, value_name = "DIR", default_value = run::RUN_DIR)]
    pub(super) run_dir: PathBuf,
    /// Its control socket [default: control.sock in the run directory]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl SocketArguments {
    /// The control socket.
    pub(super) fn path(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| self.run_dir.join("control.sock"))
    }

    /// Asks; complains and gives the exit status when there is no good answer.
    pub(super) fn ask(&self, command: Command) -> Result<Reply, Exit> {
        let path = self.path();
        match control::ask(&path, command) {
            Ok(Reply::Error(error)) => {
                complain(&error);
                Err(Exit::Usage)
            }
            Ok(reply) => Ok(reply),
            Err(error) => {
                let (exit, next) = match error.kind() {
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                        (Exit::Unavailable, "is lvsd running? Another --run-dir or --control may be needed")
                    }
                    ErrorKind::PermissionDenied => (Exit::Permission, "run as root"),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => (
                        Exit::Unavailable,
                        "what was asked is dropped, unless lvsd has begun it: see `lvsd status`",
                    ),
                    _ => (Exit::Unavailable, "lvsd runs but does not answer as it should"),
                };
                complain(&format!("{}: {}; {next}", path.display(), control::unanswered(&error)));
                Err(exit)
            }
        }
    }
}

/// The answer was to another question: a daemon of another version, most likely.
pub(super) fn misunderstood() -> Exit {
    complain("lvsd gave an answer to another question: is it of another version than this command?");
    Exit::Unavailable
}
