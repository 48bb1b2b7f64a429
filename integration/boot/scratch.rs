//! A guest's directory on the host: what goes in and comes out; removed when dropped.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory that is removed when dropped.
#[derive(Debug)]
pub struct Scratch(PathBuf);

/// Numbers the directories of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A new directory below the system's temporary directory, readable by this user only.
    pub fn new() -> Result<Scratch, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("lvsd-lab.{}.{number}", std::process::id()));
        let text = path.to_str().unwrap_or(" ");
        if text.contains(|c: char| c.is_whitespace() || c == ',') || text.len() > 80 {
            return Err(format!(
                "{}: a kernel's command line cannot carry this path; set TMPDIR",
                path.display()
            ));
        }
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Scratch(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Copies what a reader of a failure needs to `to`, replacing what is there.
    pub fn keep(&self, to: &Path) -> io::Result<()> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for name in ["log", "console"] {
            fs::copy(self.0.join(name), to.join(name))?;
        }
        copy_tree(&self.0.join("out"), to)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.0) {
            eprintln!("lab: {} stays behind: {e}", self.0.display());
        }
    }
}

/// Copies files and directories; anything else (sockets, pipes) has no content to keep.
fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            fs::create_dir_all(&target)?;
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
