//! The operator's scripts: how they are written, the user they run as, how they end.
//!
//! A script runs in a process group of its own, with nothing of the daemon's but its environment, and is ended as a
//! group when its time is over. Scripts of VRRP, of notifications and of checks are all run by [`run`]; what an
//! ending means is the caller's affair.

mod account;
mod command;
mod process;
pub(crate) mod run;
pub(crate) mod shortage;
mod trust;

pub(crate) use account::Account;
pub(crate) use command::Command;
pub(crate) use run::{Ended, Ending, Launch, Runner};

/// The user and group a command runs as; None: the daemon's. Reads files.
///
/// # Errors
/// In words, when there is no such user or group.
pub(crate) fn account(command: &Command) -> Result<Option<Account>, String> {
    account::Accounts::default().of(command).map_err(|not_begun| not_begun.why)
}
