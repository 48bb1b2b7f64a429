//! Ctrl-C and SIGTERM at the host: kill every guest, remove every directory, leave.
//!
//! Guests run in process groups of their own, so the terminal's Ctrl-C reaches only this process.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Mutex;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tokio::signal::unix::{SignalKind, signal};

/// Process groups of the running guests and their directories.
static RUNNING: Mutex<BTreeMap<i32, PathBuf>> = Mutex::new(BTreeMap::new());

/// A guest that is running, until dropped; dropping kills what is left of its process group.
#[derive(Debug)]
pub(crate) struct Running(Pid);

impl Running {
    /// Starts a guest in a process group of its own. A test that is leaving holds the lock and never gives it
    /// back: no guest starts behind its back.
    ///
    /// # Errors
    /// When the command cannot be started.
    pub(crate) fn start(command: &mut Command, scratch: &Path) -> io::Result<(Running, Child)> {
        let mut running = lock();
        let child = command.process_group(0).spawn()?;
        let group =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        running.insert(group.as_raw_nonzero().get(), scratch.to_owned());
        Ok((Running(group), child))
    }

    /// SIGKILL to the whole group: the kernel and the processes it runs its guests' code in.
    pub(crate) fn kill(&self) {
        // ESRCH: nothing of it is left, which is what was wanted.
        let _ = kill_process_group(self.0, Signal::KILL);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // As their subreaper (see [`watch`]) this process is the parent of what the kernel left: without this
        // they would stay as zombies where no other process reaps.
        while let Ok(Some(_)) = waitpgid(self.0, WaitOptions::empty()) {}
        lock().remove(&self.0.as_raw_nonzero().get());
    }
}

/// Makes this process the parent of all processes that guests leave, and starts the thread that waits for SIGINT,
/// SIGTERM and SIGHUP.
pub(crate) fn watch() -> Result<(), String> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|e| format!("subreaper: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(|e| format!("signals: {e}"))?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
            let mut streams = Vec::new();
            for kind in kinds {
                match signal(kind) {
                    Ok(stream) => streams.push(stream),
                    Err(e) => eprintln!("lab: signals: {e}"),
                }
            }
            let [interrupt, terminate, hangup] = &mut streams[..] else { return };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            leave();
        });
    });
    Ok(())
}

fn leave() {
    let running = lock();
    for (group, scratch) in running.iter() {
        if let Some(pid) = Pid::from_raw(*group) {
            let _ = kill_process_group(pid, Signal::KILL);
            while let Ok(Some(_)) = waitpgid(pid, WaitOptions::empty()) {}
        }
        let _ = std::fs::remove_dir_all(scratch);
    }
    super::terminal::restore();
    eprintln!("lab: interrupted");
    std::process::exit(130);
}

fn lock() -> std::sync::MutexGuard<'static, BTreeMap<i32, PathBuf>> {
    RUNNING.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
