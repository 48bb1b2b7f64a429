//! What a director would do to a kernel: a director works on a copy of the kernel's table until nothing is left to do.
//! So the answer cannot differ from what it will do; only health and what the kernel refuses are taken on trust.

mod change;
mod kernel_copy;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::Director;
use super::checkers::Entry;
use super::colocation::LocalAddresses;
use super::colocation::placement::IngressMarks;
use super::io::{Effect, Input};
use super::path_check::is_path_check;
use super::reconcile::Request;
use super::state::State;
use super::status::Status;
use crate::check::outcome::Outcome;
use crate::check::schedule::RunId;
use crate::config::Config;
use crate::ipvs::types::{ServiceEntry, ServiceKey};
use crate::time::Instant;
use crate::vrrp::io::InstanceLevel;
pub(crate) use change::Change;
use change::{changes, setting};
pub(crate) use kernel_copy::KernelCopy;

/// Longest time, of its own clock, in which the copy must be what it should be: a bound, should a director never finish.
const LIMIT: Duration = Duration::from_secs(60);

/// A kernel's services.
pub(crate) type KernelTable = BTreeMap<ServiceKey, ServiceEntry>;

/// What is known of the host that the director would run on.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostKnown {
    pub local: LocalAddresses,
    /// Its instances: the sync daemons follow one, and a host that holds a VIP may have its service.
    pub instances: Vec<InstanceLevel>,
    /// Whether its kernel cannot mark packets.
    pub cannot_mark: bool,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preview {
    /// What would change, by service.
    pub changes: Vec<Change>,
    /// How the director would see things then.
    pub status: Status,
}

/// Lets a director with this configuration and this knowledge work on a copy of a kernel. Servers that `state` does
/// not know as down pass their checks.
pub(crate) fn preview(
    config: &Arc<Config>,
    state: State,
    host: HostKnown,
    kernel: KernelCopy,
    now: Instant,
) -> Preview {
    let before = kernel.table.clone();
    let director = Director::new(Arc::clone(config), state, 0, now);
    let mut trial = Trial {
        director,
        kernel,
        now,
        runs: Vec::new(),
        requests: VecDeque::new(),
        settings: Vec::new(),
        cannot_mark: host.cannot_mark,
    };
    if host.cannot_mark {
        trial.input(Input::IngressMarks(IngressMarks { cannot_mark: true, ..IngressMarks::default() }));
    }
    trial.input(Input::LocalAddresses(host.local));
    for level in host.instances {
        trial.input(Input::Instance(level));
    }
    trial.run_every_checker();
    trial.converge();
    let status = trial.director.status(trial.now);
    let leaving: BTreeSet<_> = status
        .virtual_servers
        .iter()
        .flat_map(|s| s.leaving.iter().map(|at| (s.virtual_server, *at)))
        .collect();
    let mut changes = changes(&before, &trial.kernel.table, &trial.director, &leaving);
    changes.extend(trial.settings);
    Preview { changes, status }
}

struct Trial {
    director: Director,
    kernel: KernelCopy,
    now: Instant,
    runs: Vec<RunId>,
    requests: VecDeque<Request>,
    settings: Vec<Change>,
    cannot_mark: bool,
}

impl Trial {
    fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        let mut marked = None;
        self.director.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::StartProbe { run, .. } => self.runs.push(run),
                Effect::Kernel(request) => self.requests.push_back(request),
                Effect::Mark(fwmark_rules) => marked = Some(fwmark_rules.iter().map(|m| m.mark).collect()),
                Effect::CancelProbe(_)
                | Effect::SaveState(_)
                | Effect::Router(_)
                | Effect::ExpireTemplates(_)
                | Effect::Event(_)
                | Effect::Notify(_)
                | Effect::TrackCheck { .. }
                | Effect::Finished { .. } => {}
            }
        }
        if let Some(marked) = marked {
            self.input(Input::IngressMarks(IngressMarks { marked, cannot_mark: self.cannot_mark }));
        }
    }

    /// Every checker runs once, before the kernel has been read; those known to be down do not end.
    fn run_every_checker(&mut self) {
        let own = self.director.checkers.iter().filter(|(_, entry)| !is_path_check(entry)).count();
        while self.runs.len() < own {
            let Some(at) = self.director.deadline() else { break };
            self.now = self.now.max(at);
            self.input(Input::Wake);
        }
        for run in std::mem::take(&mut self.runs) {
            let health = self.director.checkers.of_run(run).map(|entry| entry.schedule.health());
            if health.is_some_and(|h| h.is_up().is_none()) {
                self.input(Input::ProbeDone { run, outcome: assumed() });
            }
        }
        let is_unknown = |entry: &Entry| is_path_check(entry) && entry.schedule.health().is_up().is_none();
        let checkers = self.director.checkers.iter();
        let unknown: Vec<_> = checkers.filter(|(_, entry)| is_unknown(entry)).map(|(id, _)| id).collect();
        for id in unknown {
            if let Some((run, _)) = self.director.checkers.begin(self.now, id) {
                self.input(Input::ProbeDone { run, outcome: assumed() });
            }
        }
    }

    fn converge(&mut self) {
        let limit = self.now + LIMIT;
        while !self.director.is_ready() && self.now <= limit {
            match self.requests.pop_front() {
                Some(Request::Snapshot(scope)) => {
                    let snapshot = self.kernel.snapshot(&scope);
                    self.input(Input::Snapshot(Ok(snapshot)));
                }
                Some(Request::Apply(ops)) => {
                    self.settings.extend(ops.iter().filter_map(setting));
                    self.kernel.apply(ops);
                    self.input(Input::Applied(Ok(Vec::new())));
                }
                None => {
                    let Some(at) = self.director.deadline() else { break };
                    self.now = self.now.max(at);
                    self.input(Input::Wake);
                }
            }
        }
    }
}

fn assumed() -> Outcome {
    Outcome::pass("assumed")
}
