//! The tools scenarios are written with: hosts and their network, servers, clients, daemons, judges.
//!
//! Everything here runs inside a booted guest, as root, in one process: a host is a network namespace, a
//! server or client of ours a thread that entered it. Programs are executed only where they are under test
//! or judge, because executing one is what costs in this kernel (20 to 45 ms each).

pub(crate) mod capture;
pub(crate) mod client;
pub(crate) mod daemon;
pub(crate) mod echo;
pub(crate) mod host;
pub(crate) mod judge;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod mail;
pub(crate) mod manager;
pub(crate) mod prometheus;
pub(crate) mod shell;
pub(crate) mod site;
pub(crate) mod table;
pub(crate) mod topology;
pub(crate) mod vrrp;
pub(crate) mod wait;
pub(crate) mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use host::Host;

/// What a scenario, or a step of one, ends with: nothing, or a sentence that says what was wrong.
pub(crate) type Verdict = Result<(), String>;

/// Exit status of a scenario that cannot be run here and says why in its last line.
pub(crate) const SKIPPED: u8 = 77;

/// What the log says before the sentence that says what was wrong.
pub(crate) const FAILED: &str = "FAILED: ";

/// What the log says before a line that the runner shows although the scenario passed.
pub(crate) const NOTE: &str = "note: ";

/// The lab, as a scenario sees it.
#[derive(Debug)]
pub(crate) struct Lab {
    hosts: Vec<Host>,
    started: Instant,
    out: PathBuf,
    interactive: bool,
    skipped: bool,
}

impl Lab {
    /// A lab without hosts; `out` is where artefacts go.
    pub(crate) fn new(out: PathBuf, interactive: bool) -> Lab {
        Lab { hosts: Vec::new(), started: Instant::now(), out, interactive, skipped: false }
    }

    /// Directory for artefacts: what is here is kept when the scenario fails.
    pub(crate) fn out(&self) -> &Path {
        &self.out
    }

    /// Whether a shell was asked for after the scenario.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Whether the scenario ended because it cannot be run here.
    pub(crate) fn is_skipped(&self) -> bool {
        self.skipped
    }

    /// Says in the log what comes next.
    pub(crate) fn step(&self, text: impl AsRef<str>) {
        println!("{:7.2} s  {}", self.started.elapsed().as_secs_f64(), text.as_ref());
    }

    /// Says something that is shown when the scenario has passed: a measurement, a summary.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        for line in text.as_ref().lines() {
            println!("{NOTE}{line}");
        }
    }

    /// Ends the scenario because it cannot be run here; `reason` is shown.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn skip(&mut self, reason: &str) -> Verdict {
        self.skipped = true;
        Err(reason.to_owned())
    }

    /// Writes an artefact and answers its path.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.out.join(name);
        fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(path)
    }

    /// A host by its name.
    ///
    /// # Errors
    /// When the topology has no such host.
    pub(crate) fn host(&self, name: &str) -> Result<Host, String> {
        let found = self.hosts.iter().find(|h| h.name() == name);
        found.cloned().ok_or_else(|| format!("the lab has no host {name}"))
    }

    /// Leaves every host's tables, addresses, routes and neighbours, and the kernel's messages, as artefacts.
    pub(crate) fn autopsy(&self) {
        for host in &self.hosts {
            let name = host.name();
            let judgements: [(&str, &[&str]); 5] = [
                ("ipvs.stats", &["ipvsadm", "-Ln", "--stats"]),
                ("ipvs", &["ipvsadm", "-Ln"]),
                ("addr.json", &["ip", "-j", "addr"]),
                ("route", &["ip", "route", "show", "table", "all"]),
                ("neigh", &["ip", "neigh"]),
            ];
            for (kind, command) in judgements {
                let text = judge::output(host, command).unwrap_or_else(|e| e);
                if !text.is_empty() {
                    let _ = fs::write(self.out.join(format!("{name}.{kind}")), text);
                }
            }
        }
        if let Ok(text) = judge::run(&["dmesg"]) {
            let _ = fs::write(self.out.join("dmesg"), text);
        }
    }
}

/// Fails with both sides when they differ.
///
/// # Errors
/// When `got` is not `want`.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: &T, want: &T) -> Verdict {
    if got == want { Ok(()) } else { Err(format!("{what}:\n    want {want:?}\n    got  {got:?}")) }
}

/// Fails with a sentence when a claim does not hold.
///
/// # Errors
/// When `holds` is false.
pub(crate) fn claim(holds: bool, sentence: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(sentence()) }
}
