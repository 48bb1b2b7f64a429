//! The status as files, for who asks by a signal: `status.json` and `status.txt` in the run directory, and on request
//! keepalived's dumps by their own names.

mod keepalived;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::control::DaemonStatus;

/// Where the status goes.
#[derive(Clone, Debug)]
pub struct Dumps {
    /// Folder of `status.json` and `status.txt`.
    pub run_dir: PathBuf,
    /// Folder of `keepalived.data`, `keepalived.stats` and `keepalived.json`; None: they are not written.
    pub keepalived: Option<PathBuf>,
    /// The status as text for people.
    pub render: fn(&DaemonStatus) -> String,
}

impl Dumps {
    /// Writes the status, and logs where it is.
    pub fn write(&self, signal: &str, status: &DaemonStatus) {
        let mut files = vec![
            (self.run_dir.join("status.json"), status.to_json()),
            (self.run_dir.join("status.txt"), (self.render)(status)),
        ];
        if let Some(folder) = &self.keepalived {
            files.extend(keepalived::files(status).map(|(name, text)| (folder.join(name), text)));
        }
        let mut written = Vec::new();
        for (path, text) in &files {
            match replace(path, text.as_bytes()) {
                Ok(()) => written.push(path.display().to_string()),
                Err(error) => warn!("{signal}: the status cannot be written to {}: {error}", path.display()),
            }
        }
        if !written.is_empty() {
            info!("{signal}: the status is in {}", written.join(", "));
        }
    }
}

/// Replaces a file, whole or not at all, readable by its owner only, as keepalived's dumps are. The folder may be one
/// that everybody writes to: nothing that lies there is followed or opened.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
    let written = file.write_all(text).and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_status_file_is_replaced_whole_is_private_and_follows_no_link() {
        let folder = std::env::temp_dir().join(format!("lvsd-dump-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let (path, victim) = (folder.join("status.json"), folder.join("victim"));
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, &path).unwrap();
        symlink(&victim, folder.join(format!(".status.json.{}", std::process::id()))).unwrap();
        replace(&path, b"first").unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "nothing else is left");
        assert!(replace(&folder.join("no/such/folder"), b"").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
