//! Loads the kernel module: finds modprobe, runs it, waits for it, but not for ever.
//!
//! Called when the kernel knows no generic netlink family of IPVS's name.

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// The module's name.
pub(super) const MODULE: &str = "ip_vs";
/// Where modprobe lives on systems that keep it out of a service's PATH.
const SYSTEM_FOLDERS: [&str; 2] = ["/sbin", "/usr/sbin"];
/// Longest silence of modprobe, in seconds.
const SILENCE: i64 = 20;
/// Most bytes of modprobe's complaint we keep, and so most turns of the loop that reads them.
const COMPLAINT: usize = 1024;

/// There while the module is in the kernel, built in or loaded.
const LOADED: &str = "/sys/module/ip_vs";

/// Whether the kernel has IPVS now. Asking the kernel by generic netlink may load it, this does not.
pub(crate) fn is_loaded() -> bool {
    Path::new(LOADED).exists()
}

/// Loads the module.
///
/// # Errors
/// Why it could not be loaded, in words.
pub(super) fn load() -> Result<(), String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = find("modprobe", &path).ok_or("there is no modprobe in PATH, /sbin or /usr/sbin")?;
    run(Command::new(program).arg(MODULE))
}

/// A program of this name in the folders of `path`, or in the system's.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{name} could not be run: {e}"))?;
    let complaint = match child.stderr.take() {
        Some(stderr) => listen(stderr),
        None => Ok(String::new()),
    };
    match complaint {
        // Its standard error is closed, so it is ending.
        Ok(complaint) => verdict(&name, &mut child, &complaint),
        Err(why) => {
            let _ = child.kill();
            // It may be stuck in the kernel: take its status if it is there, never wait for it.
            let _ = child.try_wait();
            Err(format!("{name} {why}"))
        }
    }
}

/// All it writes until it closes its end; only the beginning is kept.
fn listen(mut stderr: ChildStderr) -> Result<String, &'static str> {
    let mut kept = Vec::new();
    for _ in 0..COMPLAINT {
        let mut ready = [PollFd::new(&stderr, PollFlags::IN)];
        match poll(&mut ready, Some(&Timespec { tv_sec: SILENCE, tv_nsec: 0 })) {
            Ok(0) => return Err("did not end in time"),
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(_) => return Err("could not be waited for"),
        }
        let mut piece = [0; 256];
        match stderr.read(&mut piece) {
            Ok(0) => return Ok(String::from_utf8_lossy(&kept).trim().to_owned()),
            Ok(n) => {
                let room = COMPLAINT.saturating_sub(kept.len());
                kept.extend(piece.iter().take(n.min(room)));
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return Err("could not be listened to"),
        }
    }
    Err("did not stop complaining")
}

fn verdict(name: &str, child: &mut Child, complaint: &str) -> Result<(), String> {
    let status = child.wait().map_err(|e| format!("{name} could not be waited for: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(if complaint.is_empty() { format!("{name}: {status}") } else { complaint.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_outside_path_is_found_in_the_systems_folders() {
        assert!(find("sh", OsStr::new("/bin")).is_some());
        assert!(find("no-such-program-anywhere", OsStr::new("/bin:relative:")).is_none());
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let why = run(shell("echo 'FATAL: Module ip_vs not found.' >&2; exit 1")).unwrap_err();
        assert_eq!(why, "FATAL: Module ip_vs not found.");
    }

    #[test]
    fn a_silent_failure_gives_its_status() {
        assert_eq!(run(shell("exit 3")).unwrap_err(), "/bin/sh: exit status: 3");
    }

    #[test]
    fn a_success_is_a_success_whatever_it_says() {
        assert_eq!(run(shell("echo warning >&2")), Ok(()));
    }

    #[test]
    fn an_endless_complaint_is_cut_short() {
        let why = run(shell("while :; do echo no; done >&2")).unwrap_err();
        assert_eq!(why, "/bin/sh did not stop complaining");
    }

    fn shell(script: &str) -> &'static mut Command {
        let command = Box::leak(Box::new(Command::new("/bin/sh")));
        command.args(["-c", script])
    }
}
