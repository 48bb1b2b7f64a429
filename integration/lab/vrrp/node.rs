//! A director of the segment: lvsd or keepalived, with the same file.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::daemon::{Daemon, configure, pid_file, run_dir};
use crate::lab::host::Host;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// Whose daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Make {
    Keepalived,
    Lvsd,
}

impl Make {
    /// Its name, as wide as the other's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Make::Keepalived => "keepalived",
            Make::Lvsd => "lvsd",
        }
    }
}

/// A director and what runs on it.
#[derive(Debug)]
pub(crate) struct Node {
    pub host: Host,
    pub make: Make,
    file: PathBuf,
    daemon: Option<Daemon>,
    /// What the daemons before said.
    said: String,
}

impl Node {
    /// A director that will run this configuration; nothing runs yet.
    ///
    /// # Errors
    /// When there is no such host.
    pub(crate) fn new(lab: &Lab, name: &str, make: Make, configuration: &str) -> Result<Node, String> {
        let host = lab.host(name)?;
        let file = configure(lab, &host, configuration)?;
        Ok(Node { host, make, file, daemon: None, said: String::new() })
    }

    /// Starts its daemon, and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&mut self, lab: &Lab) -> Verdict {
        self.forget();
        self.daemon = Some(match self.make {
            Make::Lvsd => Daemon::start_lvsd(lab, &self.host, &self.file, &run_dir(&self.host), &[])?,
            Make::Keepalived => Daemon::keepalived_with(lab, &self.host, &self.file)?,
        });
        Ok(())
    }

    /// Writes its file anew, for a reload.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn rewrite(&self, configuration: &str) -> Verdict {
        fs::write(&self.file, configuration).map_err(|e| format!("{}: {e}", self.file.display()))
    }

    /// Its daemon.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn daemon(&mut self) -> Result<&mut Daemon, String> {
        self.daemon.as_mut().ok_or_else(|| format!("nothing runs on {}", self.host.name()))
    }

    /// Sends its main process a signal.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn signal(&mut self, signal: Signal) -> Verdict {
        self.daemon()?.signal(signal)
    }

    /// Its process and all that descend from it, the youngest first.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn family(&mut self) -> Result<Vec<Pid>, String> {
        let mut family = vec![self.daemon()?.pid()];
        let parents = parents()?;
        let mut at = 0;
        while let Some(parent) = family.get(at).copied() {
            family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(child, _)| *child));
            at += 1;
        }
        Ok(family.into_iter().rev().filter_map(|p| i32::try_from(p).ok().and_then(Pid::from_raw)).collect())
    }

    /// The process that speaks VRRP: lvsd itself, keepalived's child.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn peer(&mut self) -> Result<Pid, String> {
        let main = self.daemon()?.pid().to_string();
        let text = match self.make {
            Make::Lvsd => main,
            Make::Keepalived => {
                let path = pid_file(&self.host, "vrrp");
                fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?
            }
        };
        text.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| format!("no process id: {text:?}"))
    }

    /// Sends all its processes a signal at the same moment.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn signal_all(&mut self, signal: Signal) -> Verdict {
        for pid in self.family()? {
            // One that has just ended by itself is gone all the same.
            let _ = kill_process(pid, signal);
        }
        Ok(())
    }

    /// Kills all its processes at the same moment: what a crash of the machine's power would leave, but the kernel.
    ///
    /// # Errors
    /// When none runs.
    pub(crate) fn kill_all(&mut self) -> Verdict {
        let family = self.family()?;
        kill_at_once(&family);
        self.is_dead(&family)
    }

    /// Kills its main process alone, and waits until all that it leaves behind has ended, too.
    ///
    /// # Errors
    /// When none runs, or something of it goes on living.
    pub(crate) fn kill_main(&mut self) -> Verdict {
        let family = self.family()?;
        self.signal(Signal::KILL)?;
        self.is_dead(&family)
    }

    /// Waits until these processes of it have ended, after they were killed.
    ///
    /// # Errors
    /// When something of it goes on living.
    pub(crate) fn is_dead(&mut self, family: &[Pid]) -> Verdict {
        self.forget();
        wait_for("its processes end", seconds(10), || {
            let living: Vec<_> = family.iter().filter(|p| is_living(**p)).collect();
            if living.is_empty() { Ok(()) } else { Err(format!("{living:?}")) }
        })
    }

    /// Ends it, and waits until it has ended with 0.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn end(&mut self, signal: Signal) -> Verdict {
        self.signal(signal)?;
        self.wait_end()
    }

    /// Has it hand over, and waits until it has ended with 0.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn hand_over(&mut self) -> Verdict {
        let daemon = self.daemon.take().ok_or_else(|| format!("nothing runs on {}", self.host.name()))?;
        self.said.push_str(&daemon.log_text());
        daemon.hand_over()
    }

    /// Waits until it has ended with 0.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn wait_end(&mut self) -> Verdict {
        let code = self.daemon()?.wait_exit(seconds(15))?;
        let name = self.host.name().to_owned();
        self.forget();
        claim(code == 0, || format!("{name}: exit code {code}"))
    }

    /// Drops its daemon, killing what is left of it, and keeps what it said.
    fn forget(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.said.push_str(&daemon.log_text());
        }
    }

    /// What it has said, all its daemons together.
    pub(crate) fn log(&self) -> String {
        let now = self.daemon.as_ref().map(Daemon::log_text).unwrap_or_default();
        format!("{}{now}", self.said)
    }

    /// Nothing that it said complains of what it heard.
    ///
    /// # Errors
    /// The lines that do.
    pub(crate) fn no_complaint(&self) -> Verdict {
        let log = self.log();
        let lines: Vec<&str> =
            log.lines().filter(|l| COMPLAINTS.iter().any(|c| l.to_ascii_lowercase().contains(c))).collect();
        claim(lines.is_empty(), || format!("{} complains:\n{}", self.host.name(), lines.join("\n")))
    }
}

/// How a daemon's line begins to complain of another's packets, keepalived's words and lvsd's.
const COMPLAINTS: [&str; 12] = [
    "invalid",
    "wrong version",
    "mismatch",
    "too short",
    "too long",
    "unexpected",
    "not present in",
    "expecting",
    "error",
    "refused",
    "dropped",
    "also says it is master",
];

/// Kills a [`Node::family`]. Its members are stopped first, a parent before its children: none of them sees another
/// die and does something about it.
pub(crate) fn kill_at_once(family: &[Pid]) {
    for pid in family.iter().rev() {
        let _ = kill_process(*pid, Signal::STOP);
    }
    for pid in family {
        let _ = kill_process(*pid, Signal::KILL);
    }
}

/// Whether a process is there and no zombie.
fn is_living(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|s| !s.contains(") Z "))
}

/// Every process and its parent.
fn parents() -> Result<Vec<(u32, u32)>, String> {
    let entries = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let parent = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_string_lossy().parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name between the brackets may hold anything.
        let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some((pid, parent))
    };
    Ok(entries.flatten().filter_map(parent).collect())
}
