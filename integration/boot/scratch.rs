//! A guest's directory on the host: what goes in and comes out; removed when dropped.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};

/// A directory that is removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Locked as long as its runner lives; other containers may know it by another process id.
    _lock: File,
}

/// What a directory's name begins with; the process id follows.
const PREFIX: &str = "lvsd-lab.";

/// Numbers the directories of this process.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Scratch {
    /// A new directory below the system's temporary directory, readable by this user only.
    pub(crate) fn new() -> Result<Scratch, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{PREFIX}{}.{number}", std::process::id()));
        let text = path.to_str().unwrap_or(" ");
        if text.contains(|c: char| c.is_whitespace() || c == ',') || text.len() > 80 {
            return Err(format!(
                "{}: a kernel's command line cannot carry this path; set TMPDIR",
                path.display()
            ));
        }
        let fail = |e: io::Error| format!("{}: {e}", path.display());
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(fail)?;
        let lock = File::open(&path).map_err(fail)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|e| fail(e.into()))?;
        Ok(Scratch { path, _lock: lock })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Copies what a reader of a failure needs to `to`, replacing what is there.
    pub(crate) fn keep(&self, to: &Path) -> io::Result<()> {
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for name in ["log", "console"] {
            fs::copy(self.path.join(name), to.join(name))?;
        }
        copy_tree(&self.path.join("out"), to)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_dir_all(&self.path) {
            eprintln!("lab: {} stays behind: {e}", self.path.display());
        }
    }
}

/// Removes what runners that were killed left: directories named by a process id that is no longer in use, and
/// the helper processes of those guests' kernels, idle but holding the guests' memory.
pub(crate) fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('.').next()).unwrap_or_default();
        let is_free = |dir: &File| flock(dir, FlockOperation::NonBlockingLockExclusive).is_ok();
        if owner.parse::<u32>().is_ok()
            && !Path::new("/proc").join(owner).exists()
            && File::open(entry.path()).as_ref().is_ok_and(is_free)
        {
            for pid in processes_of(&entry.path()) {
                let _ = kill_process(pid, Signal::KILL);
            }
            // Another user's stays: not ours to remove.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Processes of the guest whose directory this is, zombies apart.
pub(crate) fn processes_of(dir: &Path) -> Vec<Pid> {
    let word = format!("{}{}", super::init::DIRECTORY, dir.display());
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid
            && line.split(|b| *b == 0).any(|w| w == word.as_bytes())
        {
            found.push(pid);
        }
    }
    found
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
