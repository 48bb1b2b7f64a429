//! The status as files, written on a signal: `status.json` and `status.txt` in the run directory, and on request
//! keepalived's dumps by their own names.

mod keepalived;

use std::path::PathBuf;

use tracing::{info, warn};

use super::control::DaemonStatus;
use super::private_file::replace;

/// Where the status goes.
#[derive(Clone, Debug)]
pub(crate) struct Dumps {
    /// Folder of `status.json` and `status.txt`.
    pub run_dir: PathBuf,
    /// Folder of `keepalived.data`, `keepalived.stats` and `keepalived.json`; None: they are not written.
    pub keepalived: Option<PathBuf>,
    /// The status as text for people.
    pub render: fn(&DaemonStatus) -> String,
}

impl Dumps {
    /// Writes the status, and logs where it is.
    pub(crate) fn write(&self, signal: &str, status: &DaemonStatus) {
        let mut files = vec![
            (self.run_dir.join("status.json"), status.to_json()),
            (self.run_dir.join("status.txt"), (self.render)(status)),
        ];
        if let Some(folder) = &self.keepalived {
            files.extend(keepalived::files(status).map(|(name, text)| (folder.join(name), text)));
        }
        let mut written = Vec::new();
        for (path, text) in &files {
            // Readable by its owner only, as keepalived's dumps are.
            match replace(path, 0o600, text.as_bytes()) {
                Ok(()) => written.push(path.display().to_string()),
                Err(error) => warn!("{signal}: the status cannot be written to {}: {error}", path.display()),
            }
        }
        if !written.is_empty() {
            info!("{signal}: the status is in {}", written.join(", "));
        }
    }
}
