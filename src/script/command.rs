//! A command: its words, and the user it runs as.

use serde::Serialize;

/// A command with its arguments and its user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Command {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// User; None: the daemon's.
    pub user: Option<String>,
    /// Group; None: the user's.
    pub group: Option<String>,
}

impl Command {
    /// The program, as it was written.
    pub fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }
}
