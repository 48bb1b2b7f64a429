//! `lvsd reload`.

use super::plan::cells;
use super::socket::{SocketArguments, misunderstood};
use super::table::Table;
use super::{check, complain, print};
use crate::config::{self, Reading, Strictness};
use crate::daemon::control::{Command, ReloadOutcome, Reply};
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Class;
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct ReloadArguments {
    /// Also a file that removes the last virtual server or router, or more than half of them
    #[arg(long)]
    allow_removal: bool,
    #[command(flatten)]
    socket: SocketArguments,
}

pub(super) fn run(arguments: &ReloadArguments) -> Exit {
    match arguments.socket.ask(Command::Reload { allow_removal: arguments.allow_removal }) {
        Ok(Reply::Reload(outcome)) => verdict(&outcome),
        Ok(_) => misunderstood(),
        Err(exit) => exit,
    }
}

fn verdict(outcome: &ReloadOutcome) -> Exit {
    let path = outcome.config.display().to_string();
    let path = text::line(&path);
    if outcome.is_accepted {
        for line in &outcome.warnings {
            complain(&format!("warning: {line}"));
        }
        print(&format!("{}{path} is in force: {}\n", table(outcome), outcome.summary));
        return Exit::Ok;
    }
    complain(&format!("reload rejected, the configuration before it is in force:\n{}", errors(outcome)));
    Exit::Config
}

/// What it changed, as `lvsd plan` shows it.
fn table(outcome: &ReloadOutcome) -> String {
    if outcome.changes.is_empty() {
        return String::new();
    }
    let mut table = Table::default();
    table.row(["", "WHAT", "BEFORE", "NOW"]);
    for change in &outcome.changes {
        let (before, after) = (change.before.clone(), change.after.clone());
        let [sign, what, before, after, _] = cells(&change.what, before, after, String::new());
        table.row([sign, what, before, after]);
    }
    let mut text = table.render();
    if outcome.more_changes > 0 {
        text.push_str(&format!("and {} more\n", outcome.more_changes));
    }
    text
}

/// The errors as `lvsd check` draws them, as long as the file still says what the daemon has read; else its lines.
fn errors(outcome: &ReloadOutcome) -> String {
    let ways: &[Strictness] =
        if outcome.is_silent { &[] } else { &[Strictness::Strict, Strictness::Lenient] };
    for strictness in ways.iter().copied() {
        let loaded = config::load(
            &outcome.config,
            &Reading { strictness, id: outcome.config_id.clone(), ..Reading::default() },
        );
        if loaded.lines(Class::Error) == outcome.errors {
            return check::report(&outcome.config, &loaded, false).text.trim_end().to_owned();
        }
    }
    outcome.errors.join("\n")
}
