//! `lvsd handover`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command as Program;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::socket::{SocketArguments, misunderstood};
use super::{check, complain, print};
use crate::config::{self, Namespace, Reading, Strictness};
use crate::daemon::control::{Command, Reply};
use crate::daemon::startup::Exit;

/// How often it is looked whether the process has ended, and for how long.
const LOOKS: (Duration, u32) = (Duration::from_millis(5), 2000);

#[derive(Debug, clap::Args)]
pub(super) struct HandoverArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Hand over although the configuration has errors
    #[arg(long)]
    force: bool,
    /// For ExecStop in a systemd unit: hand over only where systemd restarts this unit, do nothing where it stops it
    #[arg(long, value_name = "UNIT")]
    if_restarting: Option<String>,
}

pub(super) fn run(arguments: &HandoverArguments) -> Exit {
    if let Some(unit) = &arguments.if_restarting
        && !is_restarting(unit)
    {
        return Exit::Ok;
    }
    let status = match arguments.socket.ask(Command::Status) {
        Ok(Reply::Status(status)) => status,
        Ok(_) => return misunderstood(),
        Err(exit) => return exit,
    };
    // By this program, which is most likely the one that starts next.
    let strictness = if status.is_lenient { Strictness::Lenient } else { Strictness::Strict };
    let reading =
        Reading { strictness, id: status.config_id.clone(), is_offline: false, namespace: Namespace::Enter };
    if let Err(report) = can_run(&status.config, &reading) {
        if arguments.if_restarting.is_some() {
            // systemd ends the process in any case, and what is in the kernel serves on without it.
            complain(&format!(
                "the next start will fail, and a VIP then goes to the peer at once:\n{report}"
            ));
        } else if !arguments.force {
            let next = "mend the configuration, or use --force";
            complain(&format!("not handed over, because the next start would fail; {next}:\n{report}"));
            return Exit::Config;
        }
    }
    let pid = match arguments.socket.ask(Command::HandOver) {
        Ok(Reply::HandedOver { pid }) => pid,
        Ok(_) => return misunderstood(),
        Err(exit) => return exit,
    };
    if !has_ended(&arguments.socket.run_dir) {
        complain(&format!("handed over, but process {pid} does not end"));
        return Exit::Unavailable;
    }
    print(&format!(
        "process {pid} has handed over and ended: everything is in the kernel for the next start\n"
    ));
    Exit::Ok
}

fn can_run(path: &Path, reading: &Reading) -> Result<(), String> {
    let loaded = config::load(path, reading);
    if loaded.config.is_some() {
        return Ok(());
    }
    Err(check::report(path, &loaded, false).text.trim_end().to_owned())
}

/// Whether the process that held the run directory's lock has let go of it.
fn has_ended(run_dir: &Path) -> bool {
    let lock: PathBuf = run_dir.join("lvsd.pid");
    let Ok(file) = File::open(&lock) else { return true };
    let (pause, times) = LOOKS;
    (0..times).any(|_| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() || wait(pause))
}

/// Nothing announces that a lock is free, except to a process that waits for it without limit.
#[expect(clippy::disallowed_methods, reason = "a command line tool that polls what nothing announces")]
fn wait(pause: Duration) -> bool {
    std::thread::sleep(pause);
    false
}

/// What systemd has begun with a unit: a stop and a restart run the same ExecStop.
fn is_restarting(unit: &str) -> bool {
    let listed =
        Program::new("systemctl").args(["list-jobs", "--plain", "--no-legend", "--no-pager"]).output();
    match listed {
        Ok(output) if output.status.success() => {
            is_restart_listed(&String::from_utf8_lossy(&output.stdout), unit)
        }
        Ok(output) => {
            complain(&format!("systemctl list-jobs: {}: taken for a stop", output.status));
            false
        }
        Err(error) => {
            complain(&format!("systemctl: {error}: taken for a stop"));
            false
        }
    }
}

/// Lines are a number, the unit, the job's type and its state.
fn is_restart_listed(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        matches!(words[..], [_, found, "restart", ..] if found == unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_distinguished_from_a_stop_by_the_units_own_job() {
        let jobs = "812 lvsd.service        restart running\n813 other.service stop waiting\n";
        assert!(is_restart_listed(jobs, "lvsd.service"));
        assert!(!is_restart_listed(jobs, "other.service"));
        assert!(!is_restart_listed("812 lvsd.service stop running\n", "lvsd.service"));
        assert!(!is_restart_listed("", "lvsd.service"));
    }
}
