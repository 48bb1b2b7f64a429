//! A daemon that is measured, in a control group of its own: what all its processes cost, those that have ended too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::mount::MountFlags;
use rustix::process::Signal;

use crate::lab::daemon::{Daemon, keepalived_arguments, lvsd_arguments, lvsd_binary, run_dir};
use crate::lab::host::Host;
use crate::lab::vrrp::node::Make;
use crate::lab::{Lab, Verdict, claim};

use super::PATIENCE;

/// Where the control groups are.
const GROUPS: &str = "/run/groups";

/// Numbers the groups: one is used once.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// Makes the kernel's control groups visible.
///
/// # Errors
/// When the kernel has none.
pub(super) fn mount_groups() -> Verdict {
    fs::create_dir_all(GROUPS).map_err(|e| format!("{GROUPS}: {e}"))?;
    rustix::mount::mount("none", GROUPS, "cgroup2", MountFlags::empty(), None)
        .map_err(|e| format!("{GROUPS}: cgroup2: {e}"))
}

/// A control group, and the CPU time of what ran in it.
pub(super) struct Group {
    path: PathBuf,
}

impl Group {
    /// A new one, empty.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn new() -> Result<Group, String> {
        let path = Path::new(GROUPS).join(format!("g{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Group { path })
    }

    /// A command that runs in it. A shell enters the group and is replaced by the program: it is not in its costs.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("bash");
        let procs = self.path.join("cgroup.procs");
        command.args(["-c", r#"echo $$ > "$0" && exec "$@""#]).arg(procs).arg(program);
        command
    }

    /// CPU time of all that ran in it; in the guest, a nanosecond is an instruction.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub(super) fn cpu(&self) -> Result<Duration, String> {
        let path = self.path.join("cpu.stat");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let usage = text.lines().find_map(|l| l.strip_prefix("usage_usec "));
        let usage = usage.and_then(|n| n.trim().parse().ok());
        usage.map(Duration::from_micros).ok_or_else(|| format!("{}: no usage_usec", path.display()))
    }

    /// The processes in it.
    fn processes(&self) -> Result<Vec<u32>, String> {
        let path = self.path.join("cgroup.procs");
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(text.lines().filter_map(|l| l.parse().ok()).collect())
    }

    /// Memory of all its processes, what they share divided among them (PSS), in KiB.
    ///
    /// # Errors
    /// When /proc does not tell.
    pub(super) fn memory(&self) -> Result<f64, String> {
        let mut all: u32 = 0;
        for pid in self.processes()? {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            let line = text.lines().find_map(|l| l.strip_prefix("Pss:"));
            let pss =
                line.and_then(|l| l.split_ascii_whitespace().next()).and_then(|n| n.parse::<u32>().ok());
            all += pss.ok_or_else(|| format!("{path}: no Pss"))?;
        }
        Ok(f64::from(all))
    }
}

/// The keepalived that lvsd is measured against: LVSD_BENCH_AGAINST, or Debian's.
///
/// # Errors
/// When there is none.
pub(super) fn keepalived() -> Result<PathBuf, String> {
    std::env::var_os("LVSD_BENCH_AGAINST").map_or_else(|| program("keepalived"), |path| Ok(path.into()))
}

/// Where a program is.
///
/// # Errors
/// When it is nowhere.
pub(super) fn program(name: &str) -> Result<PathBuf, String> {
    let found =
        ["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().map(|p| Path::new(p).join(name));
    found.into_iter().find(|p| p.is_file()).ok_or_else(|| format!("no {name}; run scripts/setup -a"))
}

/// A running director.
pub(super) struct Subject {
    pub group: Group,
    daemon: Daemon,
    file: PathBuf,
}

impl Subject {
    /// Starts one with this configuration, and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn start(lab: &Lab, host: &Host, make: Make, configuration: &str) -> Result<Subject, String> {
        let group = Group::new()?;
        let file = lab.write(&format!("{}-{}.conf", host.name(), make.name()), configuration)?;
        let mut command = match make {
            Make::Lvsd => group.command(&lvsd_binary()),
            Make::Keepalived => group.command(&keepalived()?),
        };
        match make {
            Make::Lvsd => {
                let dir = run_dir(host);
                // What a run before left is no part of this one.
                let _ = fs::remove_dir_all(&dir);
                lvsd_arguments(&mut command, &file, &dir);
            }
            // The guest has no syslog: without -G messages go to its serial line, which would be measured, too.
            Make::Keepalived => {
                keepalived_arguments(command.arg("-G"), host, &file);
            }
        }
        let daemon = Daemon::start(lab, host, make.name(), &mut command)?;
        Ok(Subject { group, daemon, file })
    }

    /// Puts another configuration in its file, and makes it read it.
    ///
    /// # Errors
    /// When that fails.
    pub(super) fn reload(&self, configuration: &str) -> Verdict {
        fs::write(&self.file, configuration).map_err(|e| format!("{}: {e}", self.file.display()))?;
        self.daemon.reload()
    }

    /// Stops it, and answers what the stop cost.
    ///
    /// # Errors
    /// When it does not end, or not with 0.
    pub(super) fn stop(mut self) -> Result<Duration, String> {
        let before = self.group.cpu()?;
        self.daemon.signal(Signal::TERM)?;
        let code = self.daemon.wait_exit(PATIENCE)?;
        claim(code == 0, || format!("exit code {code}: {}", self.daemon.log_text()))?;
        Ok(self.group.cpu()?.saturating_sub(before))
    }
}

/// A duration in millions of instructions.
pub(super) fn millions(cpu: Duration) -> f64 {
    cpu.as_secs_f64() * 1e3
}
