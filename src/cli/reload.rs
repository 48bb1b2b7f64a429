//! `lvsd reload`.

use super::socket::{SocketArguments, misunderstood};
use super::{check, complain, print};
use crate::config;
use crate::daemon::control::{Command, ReloadOutcome, Reply};
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Class;

#[derive(Debug, clap::Args)]
pub(super) struct ReloadArguments {
    #[command(flatten)]
    socket: SocketArguments,
}

pub(super) fn run(arguments: &ReloadArguments) -> Exit {
    match arguments.socket.ask(Command::Reload) {
        Ok(Reply::Reload(outcome)) => verdict(&outcome),
        Ok(_) => misunderstood(),
        Err(exit) => exit,
    }
}

fn verdict(outcome: &ReloadOutcome) -> Exit {
    let path = outcome.config.display();
    if outcome.is_accepted {
        for line in &outcome.warnings {
            complain(&format!("warning: {line}"));
        }
        print(&format!("{path}: in force\n"));
        return Exit::Ok;
    }
    complain(&format!("reload rejected, the configuration before it is in force:\n{}", errors(outcome)));
    Exit::Config
}

/// The errors as `lvsd check` draws them, as long as the file still says what the daemon has read; else its lines.
fn errors(outcome: &ReloadOutcome) -> String {
    let loaded = config::load(&outcome.config);
    if loaded.lines(Class::Error) == outcome.errors {
        return check::report(&outcome.config, &loaded).text.trim_end().to_owned();
    }
    outcome.errors.join("\n")
}
