//! Asking the running daemon: the options every such command has, and what a failure means.

use std::io::ErrorKind;
use std::path::PathBuf;

use super::{complain, run};
use crate::daemon::control::{self, Command, Reply};
use crate::daemon::startup::Exit;

/// Which daemon to ask.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct DaemonArguments {
    /// Run directory of the lvsd to ask
    #[arg(long, value_name = "DIR", default_value = run::RUN_DIR)]
    pub run_dir: PathBuf,
    /// Its control socket [default: control.sock in the run directory]
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
}

impl DaemonArguments {
    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| self.run_dir.join("control.sock"))
    }

    /// Asks; a failure is told, and becomes the exit status.
    pub fn ask(&self, command: Command) -> Result<Reply, Exit> {
        let path = self.socket();
        control::ask(&path, command).map_err(|error| {
            let (exit, next) = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    (Exit::Unavailable, "is lvsd running? Another --run-dir or --control may be needed")
                }
                ErrorKind::PermissionDenied => (Exit::Permission, "run as root"),
                _ => (Exit::Unavailable, "lvsd runs but does not answer as it should"),
            };
            complain(&format!("{}: {error}; {next}", path.display()));
            exit
        })
    }
}

/// A reply that does not answer the question.
pub(super) fn other_reply(reply: Reply) -> Exit {
    match reply {
        Reply::Error(error) => complain(&error),
        _ => complain("lvsd gave another answer than asked for: is it of another version?"),
    }
    Exit::Unavailable
}
