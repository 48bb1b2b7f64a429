//! Every scenario, one folder each: its story on top, its keepalived.conf files beside it.

mod forwarding_modes;
mod harness_itself;

use std::process::ExitCode;

use crate::lab::{Lab, Verdict};

/// A story that a kernel and other programs judge.
pub struct Scenario {
    /// Its name, and its folder's with underscores.
    pub name: &'static str,
    /// What it shows, in one line.
    pub about: &'static str,
    /// Wall-clock limit in seconds, with room for a busy machine.
    pub limit_s: u64,
    /// The guest's memory in MiB.
    pub memory: u32,
    /// Run only when asked for by its whole name.
    pub on_request: bool,
    /// What runs, and where.
    pub run: Run,
}

/// What runs, and where.
pub enum Run {
    /// In a guest of its own.
    Inside(fn(&mut Lab) -> Verdict),
    /// On the host, about the lab itself.
    Outside(fn() -> Verdict),
}

/// A job that tests the machinery that runs jobs.
pub struct Probe {
    /// Its name, for `--inside`.
    pub name: &'static str,
    /// What the guest does.
    pub run: fn() -> ExitCode,
}

/// The name of the job that is nothing but a shell in the standard network.
pub const SHELL: &str = "shell";

/// Jobs of the scenario `harness-itself`.
pub const PROBES: &[Probe] = harness_itself::PROBES;

/// An ordinary scenario.
const fn scenario(
    name: &'static str,
    about: &'static str,
    limit_s: u64,
    run: fn(&mut Lab) -> Verdict,
) -> Scenario {
    Scenario { name, about, limit_s, memory: 512, on_request: false, run: Run::Inside(run) }
}

/// All scenarios, in the order they run.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "harness-itself",
        about: "exit status and output come back; a hang and a dead kernel are seen; nothing stays behind",
        limit_s: 60,
        memory: 128,
        on_request: false,
        run: Run::Outside(harness_itself::run),
    },
    scenario(
        "forwarding-modes",
        "the lab's network carries NAT, DR and TUN, TCP, UDP and SCTP, by ipvsadm alone",
        120,
        forwarding_modes::run,
    ),
];
