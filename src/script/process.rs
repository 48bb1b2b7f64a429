//! The process of one script: starts it in a process group of its own, signals the whole group, and leaves none of it
//! behind.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process_group, setrlimit};
use tokio::process::Child;

use super::account::{Account, Accounts};
use super::{Launch, shortage, trust};

/// Files a script may have open: the limit of a login shell, not the higher one of the daemon.
const SCRIPT_FILES: u64 = 1024;
/// Environment variables that the service manager sets for the daemon alone; scripts do not get them.
const PRIVATE: &[&str] =
    &["IFS", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID"];

/// A process with its group.
#[derive(Debug)]
pub(super) struct Process {
    /// The process itself.
    pub child: Child,
    group: Option<Pid>,
    /// Ended once its requester no longer waits.
    is_ours: bool,
}

/// Why a script did not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotBegun {
    /// In the operator's words.
    pub why: String,
    /// What helps, where this host is short of something: that says nothing of the script.
    pub advice: Option<&'static str>,
}

impl From<String> for NotBegun {
    fn from(why: String) -> NotBegun {
        NotBegun { why, advice: None }
    }
}

impl NotBegun {
    /// Because of an error, in these words.
    pub(crate) fn of(error: &io::Error, why: String) -> NotBegun {
        NotBegun { why, advice: shortage::is_hosts(error).then(|| shortage::advice(error)) }
    }
}

impl Process {
    /// Begins a script. Reads files, and waits until the program is executed: not for a thread that must not block.
    ///
    /// # Errors
    /// Why it cannot run.
    pub(super) fn begin(
        launch: &Launch,
        accounts: &Accounts,
        output: Option<io::PipeWriter>,
    ) -> Result<Process, NotBegun> {
        let account = accounts.of(&launch.command)?;
        let program = find(launch.command.program())?;
        if launch.is_secure && account.map_or(rustix::process::geteuid().is_root(), |a| a.uid == 0) {
            trust::verify(&program)?;
        }
        let arguments: Vec<OsString> = launch.command.words.iter().skip(1).map(OsString::from).collect();
        let mut writers = [output, None];
        if let [Some(first), second] = &mut writers {
            *second = first.try_clone().ok();
        }
        let begin = |program: &Path, arguments: &[OsString], writers: [Option<io::PipeWriter>; 2]| {
            let [stdout, stderr] = writers.map(|w| w.map_or_else(Stdio::null, Stdio::from));
            let mut command = tokio::process::Command::new(program);
            command.args(arguments).current_dir("/").stdin(Stdio::null()).stdout(stdout).stderr(stderr);
            command.process_group(0).kill_on_drop(false);
            clean_environment(&mut command);
            command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
            change_account(&mut command, account);
            at_birth(&mut command);
            command.spawn()
        };
        let copies = writers.each_ref().map(|w| w.as_ref().and_then(|w| w.try_clone().ok()));
        let begun = match begin(&program, &arguments, copies) {
            // Without a first line that names an interpreter: the shell's.
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                let arguments: Vec<OsString> =
                    std::iter::once(program.clone().into_os_string()).chain(arguments).collect();
                begin(Path::new("/bin/sh"), &arguments, writers)
            }
            other => other,
        };
        let child = begun.map_err(|error| NotBegun::of(&error, explain(&program, account, &error)))?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Process { child, group, is_ours: launch.is_ours })
    }

    /// Sends a signal to the whole group, as long as its first process is not reaped: its number cannot be another
    /// process's.
    pub(super) fn signal(&self, signal: Signal) {
        if let (Some(group), Some(_)) = (self.group, self.child.id()) {
            // It may have ended just now.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_ours {
            self.signal(Signal::KILL);
        }
    }
}

/// The program's file: as written, or in PATH.
fn find(program: &str) -> Result<PathBuf, NotBegun> {
    if program.contains('/') {
        // It is executed from there, wherever the daemon itself was started.
        let program = Path::new("/").join(program);
        return runnable(&program).map(|()| program);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let found = std::env::split_paths(&path).map(|folder| folder.join(program)).find(|p| runnable(p).is_ok());
    found.ok_or_else(|| format!("{program}: there is no such program in {}", path.to_string_lossy()).into())
}

fn runnable(program: &Path) -> Result<(), NotBegun> {
    let found = std::fs::metadata(program).map_err(|error| {
        let why = match error.kind() {
            ErrorKind::NotFound => format!("{}: there is no such file", program.display()),
            _ => format!("{}: {error}", program.display()),
        };
        NotBegun::of(&error, why)
    })?;
    if !found.is_file() {
        return Err(format!("{}: is no file", program.display()).into());
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Err(format!("{}: is not executable: `chmod +x` it", program.display()).into());
    }
    Ok(())
}

fn explain(program: &Path, account: Option<Account>, error: &io::Error) -> String {
    let at = program.display();
    match (error.raw_os_error(), account) {
        // The file itself was seen a moment ago.
        (Some(libc::ENOENT), _) => format!("{at}: the interpreter in its first line does not exist"),
        (Some(libc::EPERM), Some(to)) => {
            format!("{at}: may not be run as user {} group {} from here", to.uid, to.gid)
        }
        (Some(libc::EACCES), Some(to)) => format!("{at}: user {} may not execute it", to.uid),
        _ => format!("{at}: {error}"),
    }
}

fn clean_environment(command: &mut tokio::process::Command) {
    for name in std::env::vars_os().map(|(name, _)| name) {
        if name.as_bytes().starts_with(b"LD_") || PRIVATE.iter().any(|p| name == *p) {
            command.env_remove(name);
        }
    }
}

/// Changing to the present user takes capabilities that are not needed.
fn change_account(command: &mut tokio::process::Command, account: Option<Account>) {
    let Some(account) = account else { return };
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if (account.uid, account.gid) != (uid, gid) {
        command.uid(account.uid).gid(account.gid);
    }
}

/// Ordinary scheduling and few files, unlike the daemon.
fn at_birth(command: &mut tokio::process::Command) {
    let hook = || {
        let most = getrlimit(Resource::Nofile).maximum;
        let current = Some(most.map_or(SCRIPT_FILES, |m| m.min(SCRIPT_FILES)));
        // Neither is worth the script.
        let _ = setrlimit(Resource::Nofile, Rlimit { current, maximum: most });
        let ordinary = libc::sched_param { sched_priority: 0 };
        // SAFETY: the pointer is to a value that lives throughout the call.
        #[allow(unsafe_code)]
        let _ = unsafe { libc::sched_setscheduler(0, libc::SCHED_OTHER, &raw const ordinary) };
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes system calls only; it allocates nothing and takes no lock.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(hook);
    }
}
