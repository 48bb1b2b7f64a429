//! The run directory: its lock, and the files in it that a successor reads: which services are lvsd's and which real
//! servers were down, and what the kernel's settings were before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::boot_file::{BootFile, Scope};
use super::handover::{self, HandoverFile};
use super::private_file;
use crate::director::state::State;
use crate::time::Instant;

/// How long what the file says of health is believed.
const HEALTH_VALID: Duration = Duration::from_secs(600);
const FORMAT: u32 = 1;
/// Names in the run directory.
const STATE: &str = "state.json";
const ORIGINALS: &str = "sysctl.json";

/// What the state file holds.
#[derive(Serialize, Deserialize)]
struct Content {
    format: u32,
    saved_at: Instant,
    state: State,
}

/// A locked run directory.
#[derive(Debug)]
pub(crate) struct RunDirectory {
    path: PathBuf,
    scope: Scope,
    /// Held until the process ends.
    lock: File,
}

/// What became of a run directory since it was locked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It is as it was.
    AsItWas,
    /// It, or its lock, was gone or another's, and was made anew: what was in it is to be written again.
    MadeAnew,
}

/// The reason that the run directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another lvsd holds it.
    #[error("run directory {path} is in use by another lvsd{holder}: stop it, or choose another --run-dir", path = .0.display(), holder = holder(.1))]
    Locked(PathBuf, String),
    /// Others than its owner could change what is in it.
    #[error("run directory {path}: {1}: remove it, or choose another --run-dir", path = .0.display())]
    Untrusted(PathBuf, String),
    /// It cannot be made or written.
    #[error("run directory {path}: {1}", path = .0.display())]
    Io(PathBuf, io::Error),
}

fn holder(pid: &str) -> String {
    if pid.is_empty() { String::new() } else { format!(" (pid {pid})") }
}

impl RunDirectory {
    /// Makes the directory (mode 0755) if need be and locks it.
    ///
    /// # Errors
    /// [`Error`] when another process holds the lock, or it cannot be written.
    pub(crate) fn lock(path: &Path) -> Result<RunDirectory, Error> {
        let io_error = |error| Error::Io(path.to_owned(), error);
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(io_error)?;
        verify(path)?;
        let mut lock = private_file::open_or_make(&lock_file(path)).map_err(|error| {
            io_error(io::Error::new(error.kind(), format!("{}: {error}", lock_file(path).display())))
        })?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut pid = String::new();
            let _ = lock.take(20).read_to_string(&mut pid);
            return Err(Error::Locked(path.to_owned(), pid.trim().to_owned()));
        }
        // Only people read it: a full file system must not stop the director.
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        if let Err(error) = written {
            let next = "the state cannot be saved either until there is room";
            warn!("{}: {error}: the process id is not written; {next}", lock_file(path).display());
        }
        Ok(RunDirectory { path: path.to_owned(), scope: Scope::current().map_err(io_error)?, lock })
    }

    /// Locks it again where it or its lock was deleted or replaced.
    ///
    /// # Errors
    /// [`Error`] when another process holds the lock by now, or it cannot be made.
    pub(crate) fn keep(&mut self) -> Result<Kept, Error> {
        let held = self.lock.metadata();
        let found = fs::symlink_metadata(lock_file(&self.path));
        let is_same = |(held, found): (fs::Metadata, fs::Metadata)| {
            (held.dev(), held.ino()) == (found.dev(), found.ino())
        };
        if held.and_then(|held| Ok((held, found?))).is_ok_and(is_same) {
            return Ok(Kept::AsItWas);
        }
        *self = RunDirectory::lock(&self.path)?;
        Ok(Kept::MadeAnew)
    }

    /// What a predecessor left; nothing when it lived before this boot or in another network namespace. A file
    /// that makes no sense is set aside with a warning: it must never keep a director from starting.
    pub(crate) fn load(&self, now: Instant) -> State {
        let file = self.file(STATE);
        match file.read::<Content>() {
            Ok(None) => State::default(),
            Ok(Some(content)) if content.format != FORMAT => {
                set_aside(&file.path, &format!("format {} of another lvsd", content.format))
            }
            Ok(Some(content)) => {
                let is_health_known = is_health_known(&content, now);
                let mut state = content.state;
                if !is_health_known {
                    state.down.clear();
                }
                state
            }
            Err(error) if error.get_ref().is_some_and(|e| e.is::<serde_json::Error>()) => {
                set_aside(&file.path, &error.to_string())
            }
            Err(error) => {
                warn!("state file {}: {error}: starting without it", file.path.display());
                State::default()
            }
        }
    }

    /// Writes the state, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; the previous file is untouched then.
    pub(crate) fn save(&self, state: State, now: Instant) -> io::Result<()> {
        let file = self.file(STATE);
        if state == State::default() {
            return file.remove();
        }
        file.write(0o644, &Content { format: FORMAT, saved_at: now, state })
    }

    /// Where the kernel's settings of before are remembered.
    pub(crate) fn originals(&self) -> OriginalsFile {
        OriginalsFile(self.file(ORIGINALS))
    }

    /// Where the Masters at a hand-over are written.
    pub(super) fn masters(&self) -> HandoverFile {
        HandoverFile(self.file(handover::NAME))
    }

    fn file(&self, name: &str) -> BootFile {
        BootFile { path: self.path.join(name), scope: self.scope.clone() }
    }
}

/// Keeps a state file that makes no sense beside the next one.
fn set_aside(path: &Path, why: &str) -> State {
    let aside = path.with_extension("json.bad");
    let next = "services that it named and that are no longer configured stay in the kernel";
    warn!("state file {}: {why}: kept as {}; {next}", path.display(), aside.display());
    let _ = fs::rename(path, &aside);
    State::default()
}

/// The file that says what the kernel's settings were before they were changed, in this boot and network namespace.
#[derive(Clone, Debug)]
pub(crate) struct OriginalsFile(BootFile);

#[derive(Serialize, Deserialize)]
struct Originals {
    values: BTreeMap<String, String>,
}

impl OriginalsFile {
    /// What a predecessor wrote; nothing when there is nothing that can be read.
    pub(crate) fn load(&self) -> BTreeMap<String, String> {
        match self.0.read::<Originals>() {
            Ok(originals) => originals.map(|o| o.values).unwrap_or_default(),
            Err(error) => {
                warn!("{}: {error}: the original kernel settings are not known", self.0.path.display());
                BTreeMap::new()
            }
        }
    }

    /// Writes them, whole or not at all; without any there is no file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, values: &BTreeMap<String, String>) -> io::Result<()> {
        if values.is_empty() {
            return self.0.remove();
        }
        self.0.write(0o644, &Originals { values: values.clone() })
    }
}

/// The state file in a run directory, for a process that only reads it; None when it is not of this boot and network
/// namespace. The second value is whether its health is still believed.
///
/// # Errors
/// When it cannot be read or makes no sense.
pub(crate) fn peek(run_dir: &Path, now: Instant) -> io::Result<Option<(State, bool)>> {
    let file = BootFile { path: run_dir.join(STATE), scope: Scope::current()? };
    let content = file.read::<Content>()?.filter(|content| content.format == FORMAT);
    Ok(content.map(|content| {
        let is_health_known = is_health_known(&content, now);
        (content.state, is_health_known)
    }))
}

/// The original kernel settings, for a process that only reads them.
///
/// # Errors
/// When this boot cannot be told from others.
pub(crate) fn peek_originals(run_dir: &Path) -> io::Result<BTreeMap<String, String>> {
    Ok(OriginalsFile(BootFile { path: run_dir.join(ORIGINALS), scope: Scope::current()? }).load())
}

fn lock_file(run_dir: &Path) -> PathBuf {
    run_dir.join("lvsd.pid")
}

/// A user that may write to a directory may replace its files.
fn verify(run_dir: &Path) -> Result<(), Error> {
    let found = fs::metadata(run_dir).map_err(|error| Error::Io(run_dir.to_owned(), error))?;
    let untrusted = |why: String| Err(Error::Untrusted(run_dir.to_owned(), why));
    let own = rustix::process::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        return untrusted(format!("it belongs to user {}, and lvsd runs as user {own}", found.uid()));
    }
    let is_groups =
        found.mode() & 0o020 != 0 && found.gid() != 0 && found.gid() != rustix::process::getegid().as_raw();
    if found.mode() & 0o002 != 0 || is_groups {
        return untrusted(format!("others may write to it (mode {:04o})", found.mode() & 0o7777));
    }
    Ok(())
}

fn is_health_known(content: &Content, now: Instant) -> bool {
    now.since(content.saved_at) <= HEALTH_VALID
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::director::state::KnownDown;

    #[test]
    fn what_is_saved_is_loaded_and_health_is_believed_for_ten_minutes() {
        let scratch = Scratch::new("believed");
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        directory.save(state(), at(100)).unwrap();
        assert_eq!(directory.load(at(100)), state());
        assert_eq!(directory.load(at(700)), state());
        let later = directory.load(at(701));
        assert!(later.down.is_empty());
        assert_eq!(later.owned, state().owned);
    }

    #[test]
    fn nothing_left_to_remember_leaves_no_file() {
        let scratch = Scratch::new("nothing");
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        directory.save(state(), at(1)).unwrap();
        directory.save(State::default(), at(2)).unwrap();
        assert!(!scratch.0.join("state.json").exists());
        directory.save(State::default(), at(3)).unwrap();
    }

    #[test]
    fn a_file_of_another_boot_or_namespace_is_not_believed() {
        let scratch = Scratch::new("another");
        let mut directory = RunDirectory::lock(&scratch.0).unwrap();
        directory.save(state(), at(1)).unwrap();
        directory.scope.network_namespace += 1;
        assert_eq!(directory.load(at(2)), State::default());
        directory.scope.network_namespace -= 1;
        directory.scope.boot_id.push('x');
        assert_eq!(directory.load(at(2)), State::default());
    }

    #[test]
    fn settings_of_before_are_of_this_boot_and_leave_no_file_when_put_back() {
        let scratch = Scratch::new("originals");
        let mut directory = RunDirectory::lock(&scratch.0).unwrap();
        let values = BTreeMap::from([("conntrack".to_owned(), "0".to_owned())]);
        directory.originals().save(&values).unwrap();
        assert_eq!(directory.originals().load(), values);
        directory.scope.boot_id.push('x');
        assert_eq!(directory.originals().load(), BTreeMap::new());
        directory.originals().save(&BTreeMap::new()).unwrap();
        assert!(!scratch.0.join("sysctl.json").exists());
        fs::write(scratch.0.join("sysctl.json"), b"{").unwrap();
        assert_eq!(directory.originals().load(), BTreeMap::new());
    }

    #[test]
    fn peeking_sees_the_same_and_changes_nothing() {
        let scratch = Scratch::new("peek");
        assert_eq!(peek(&scratch.0, at(1)).unwrap(), None);
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        directory.save(state(), at(100)).unwrap();
        assert_eq!(peek(&scratch.0, at(700)).unwrap(), Some((state(), true)));
        assert_eq!(peek(&scratch.0, at(701)).unwrap(), Some((state(), false)));
        fs::write(scratch.0.join("state.json"), b"{").unwrap();
        assert!(peek(&scratch.0, at(1)).is_err());
        assert!(scratch.0.join("state.json").exists());
    }

    #[test]
    fn garbage_is_set_aside() {
        let scratch = Scratch::new("garbage");
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        fs::write(scratch.0.join("state.json"), b"\xff\x00{").unwrap();
        assert_eq!(directory.load(at(1)), State::default());
        assert!(scratch.0.join("state.json.bad").exists());
    }

    #[test]
    fn a_file_of_another_format_is_set_aside_and_not_passed_over_in_silence() {
        let scratch = Scratch::new("format");
        let directory = RunDirectory::lock(&scratch.0).unwrap();
        directory.save(state(), at(1)).unwrap();
        let file = scratch.0.join("state.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace(&format!("\"format\":{FORMAT}"), "\"format\":999")).unwrap();
        assert_eq!(directory.load(at(1)), State::default());
        assert!(scratch.0.join("state.json.bad").exists());
    }

    #[test]
    fn a_second_lock_is_refused_and_names_the_holder() {
        let scratch = Scratch::new("second");
        let _first = RunDirectory::lock(&scratch.0).unwrap();
        let error = RunDirectory::lock(&scratch.0).unwrap_err().to_string();
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    }

    #[test]
    fn a_directory_writable_by_others_and_a_lock_of_another_user_are_refused() {
        let scratch = Scratch::new("untrusted");
        fs::create_dir_all(&scratch.0).unwrap();
        let mode = |mode| fs::set_permissions(&scratch.0, fs::Permissions::from_mode(mode)).unwrap();
        let refused = || RunDirectory::lock(&scratch.0).unwrap_err();
        mode(0o1777);
        assert!(refused().to_string().contains("others may write to it (mode 1777)"));
        mode(0o755);
        let victim = scratch.0.join("victim");
        fs::write(&victim, "precious").unwrap();
        symlink(&victim, scratch.0.join("lvsd.pid")).unwrap();
        assert!(matches!(refused(), Error::Io(..)));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        fs::remove_file(scratch.0.join("lvsd.pid")).unwrap();
        // Only root can play the other user.
        if chown(&scratch.0, Some(12345), None).is_ok() {
            assert!(refused().to_string().contains("it belongs to user 12345, and lvsd runs as user 0"));
            chown(&scratch.0, Some(0), None).unwrap();
        }
        RunDirectory::lock(&scratch.0).unwrap();
    }

    #[test]
    fn a_directory_that_was_deleted_is_made_anew_and_locked_unless_another_has_it() {
        let scratch = Scratch::new("deleted");
        let mut directory = RunDirectory::lock(&scratch.0).unwrap();
        assert_eq!(directory.keep().unwrap(), Kept::AsItWas);
        fs::remove_dir_all(&scratch.0).unwrap();
        assert!(directory.save(state(), at(1)).is_err());
        assert_eq!(directory.keep().unwrap(), Kept::MadeAnew);
        directory.save(state(), at(1)).unwrap();
        assert!(matches!(RunDirectory::lock(&scratch.0), Err(Error::Locked(..))));
        fs::remove_file(scratch.0.join("lvsd.pid")).unwrap();
        let other = RunDirectory::lock(&scratch.0).unwrap();
        assert!(matches!(directory.keep(), Err(Error::Locked(..))));
        drop(other);
        assert_eq!(directory.keep().unwrap(), Kept::MadeAnew);
    }

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("lvsd-state-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Scratch(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn state() -> State {
        State {
            owned: ["10.0.0.1:80 tcp".parse().unwrap()].into(),
            down: vec![KnownDown {
                virtual_server: "10.0.0.1:80 tcp".parse().unwrap(),
                real_server: "10.1.0.1:80".parse().unwrap(),
                checker: "TCP_CHECK".to_owned(),
                target: "10.1.0.1:80".parse().unwrap(),
                reason: "connection refused".to_owned(),
            }],
            ..State::default()
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }
}
