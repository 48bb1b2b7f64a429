//! What MISC_CHECK runs.

use std::time::Duration;

use serde::Serialize;

use crate::script::Command;

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MiscQuestion {
    /// The command, and its user (keepalived `misc_path`, `user`).
    pub command: Command,
    /// Longest time it may take (keepalived `misc_timeout`); then its process group is ended.
    pub limit: Duration,
    /// keepalived `misc_dynamic`: an exit status from 2 to 255 is a weight.
    pub is_dynamic: bool,
    /// keepalived `enable_script_security`.
    pub is_secure: bool,
}
