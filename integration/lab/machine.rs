//! A machine: a host with a name, /etc and /run of its own, where scripts meant for whole machines can run.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::daemon::Daemon;
use super::host::Host;
use super::{Lab, Verdict, judge};

/// Enters a machine whose parts are below the first argument, by the name of the second, and becomes the rest.
const ENTER: &str = r#"set -e
hostname "$2"
mount --bind "$1/etc" /etc
mount --bind "$1/run" /run
shift 2
exec "$@""#;

/// A machine. /etc begins as the guest's; what is written there and in /run stays the machine's. The rest of the
/// file system is shared, and writable.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    host: Host,
    root: String,
}

impl Machine {
    /// Makes a host a machine.
    ///
    /// # Errors
    /// When its parts cannot be mounted.
    pub(crate) fn of(host: &Host) -> Result<Machine, String> {
        let root = format!("/run/machine-{}", host.name());
        for part in ["etc", "run", "upper", "work"] {
            let path = format!("{root}/{part}");
            fs::create_dir_all(&path).map_err(|e| format!("{path}: {e}"))?;
        }
        let layers = format!("lowerdir=/etc,upperdir={root}/upper,workdir={root}/work");
        judge::run(&["mount", "-t", "overlay", "overlay", "-o", &layers, &format!("{root}/etc")])?;
        Ok(Machine { host: host.clone(), root })
    }

    /// Its host.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// What runs these words in the machine, once started in its host.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--uts", "sh", "-c", ENTER, "sh", &self.root, self.host.name()]);
        command.args(words).stdin(Stdio::null());
        command
    }

    /// Runs a program to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Output, String> {
        self.host.enter(|| self.command(words).output().map_err(|e| format!("unshare: {e}")))
    }

    /// Runs a program that must succeed, and answers what it said.
    ///
    /// # Errors
    /// When it does not, with what it said.
    pub(crate) fn succeed(&self, words: &[&str]) -> Result<String, String> {
        let output = self.run(words)?;
        let said = said(&output);
        if output.status.success() {
            return Ok(said);
        }
        Err(format!("{}: {}: {}\n{said}", self.host.name(), words.join(" "), output.status))
    }

    /// Starts a program; its log is `NAME` among the artefacts.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, lab: &Lab, name: &str, words: &[&str]) -> Result<Daemon, String> {
        Daemon::start(lab, &self.host, name, &mut self.command(words))
    }

    /// What a unit among its /etc/systemd/system has for this setting (`ExecStart`).
    ///
    /// # Errors
    /// When there is no such unit, or it has no such line.
    pub(crate) fn unit(&self, unit: &str, setting: &str) -> Result<Vec<String>, String> {
        let path = self.path(&format!("/etc/systemd/system/{unit}"))?;
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(setting)?.strip_prefix('='));
        let line = line.ok_or_else(|| format!("{}: no {setting}", path.display()))?;
        Ok(line.split_whitespace().map(str::to_owned).collect())
    }

    /// Runs what a unit has for this setting.
    ///
    /// # Errors
    /// When it fails.
    pub(crate) fn obey(&self, unit: &str, setting: &str) -> Verdict {
        let words = self.unit(unit, setting)?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.succeed(&words).map(drop)
    }

    /// Where one of its files is, seen from outside.
    ///
    /// # Errors
    /// When the path is neither below /etc nor below /run.
    pub(crate) fn path(&self, inside: &str) -> Result<PathBuf, String> {
        if !inside.starts_with("/etc/") && !inside.starts_with("/run/") {
            return Err(format!("{inside} is not {}'s own", self.host.name()));
        }
        Ok(PathBuf::from(format!("{}{inside}", self.root)))
    }
}

/// Both outputs as text.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
