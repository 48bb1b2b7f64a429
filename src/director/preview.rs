//! What a director would do to a kernel: the director itself, let loose on a copy of the kernel's table until it is
//! content. So the answer cannot differ from what it will do; only health and the kernel's modules are taken on trust.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::desired;
use super::reconcile::Request;
use super::state::State;
use super::status::Status;
use super::{Director, Effect, Input};
use crate::check::outcome::Outcome;
use crate::check::schedule::RunId;
use crate::config::{Config, VirtualServerId};
use crate::ipvs::backend::{Backend, Op};
use crate::ipvs::memory::MemoryBackend;
use crate::ipvs::types::{Connections, Destination, Service, ServiceEntry, ServiceKey, SyncRole, Timeouts};
use crate::time::Instant;

/// Longest time, of its own clock, in which the copy must be what it should be: operations that the copy refuses are
/// tried again and again.
const LIMIT: Duration = Duration::from_secs(60);

/// A kernel's services.
pub type KernelTable = BTreeMap<ServiceKey, ServiceEntry>;

/// What would happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// What would change, by service.
    pub changes: Vec<Change>,
    /// How the director would see things then.
    pub status: Status,
}

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// A service is added (no `before`), removed (no `after`) or set.
    Service {
        /// Which.
        service: VirtualServerId,
        /// As it is.
        before: Option<Service>,
        /// As it would be.
        after: Option<Service>,
    },
    /// A destination is added (no `before`), removed (no `after`) or set.
    Destination {
        /// Its service.
        service: VirtualServerId,
        /// Address and port.
        destination: SocketAddr,
        /// As it is.
        before: Option<Destination>,
        /// As it would be.
        after: Option<Destination>,
        /// Its connections now.
        connections: Connections,
        /// Whether it serves its last connections and is then removed.
        drains: bool,
    },
    /// The connection timeouts.
    Timeouts {
        /// As they would be, in seconds.
        after: Timeouts,
    },
    /// A setting of the kernel below `net.ipv4.vs`.
    Setting {
        /// Its name there.
        name: String,
        /// As it is; None where it cannot be read.
        before: Option<String>,
        /// As it would be.
        after: String,
    },
    /// A sync daemon is started.
    StartSync {
        /// Sender or receiver.
        role: SyncRole,
        /// On which interface.
        interface: String,
    },
    /// A sync daemon is stopped.
    StopSync {
        /// Sender or receiver.
        role: SyncRole,
    },
}

impl Change {
    /// Active connections that would be cut.
    pub fn cut(&self) -> u64 {
        match self {
            Change::Destination { after: None, connections, .. } => connections.active.into(),
            _ => 0,
        }
    }
}

/// Lets a director with this configuration and this knowledge loose on a copy of a kernel. Servers that `state` does
/// not know as down pass their checks.
pub fn preview(config: &Arc<Config>, state: State, kernel: MemoryBackend, now: Instant) -> Preview {
    let before = kernel.table().clone();
    let director = Director::new(Arc::clone(config), state, 0, now);
    let mut trial =
        Trial { director, kernel, now, runs: Vec::new(), requests: VecDeque::new(), settings: Vec::new() };
    trial.tell(Input::Wake);
    trial.check_everybody();
    trial.converge();
    let status = trial.director.status(trial.now);
    let leaving: BTreeSet<_> = status
        .virtual_servers
        .iter()
        .flat_map(|s| s.leaving.iter().map(|at| (desired::service_key(s.virtual_server), *at)))
        .collect();
    let mut changes = changes(&before, trial.kernel.table(), &leaving);
    changes.extend(trial.settings);
    Preview { changes, status }
}

struct Trial {
    director: Director,
    kernel: MemoryBackend,
    now: Instant,
    runs: Vec<RunId>,
    requests: VecDeque<Request>,
    settings: Vec<Change>,
}

impl Trial {
    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.director.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::StartProbe { run, .. } => self.runs.push(run),
                Effect::Kernel(request) => self.requests.push_back(request),
                Effect::CancelProbe(_)
                | Effect::SaveState(_)
                | Effect::Router(_)
                | Effect::Event(_)
                | Effect::Finished { .. } => {}
            }
        }
    }

    /// Every checker runs once, before the kernel has been read; those known to be down do not end.
    fn check_everybody(&mut self) {
        while self.runs.len() < self.director.checkers.len() {
            let Some(at) = self.director.deadline() else { break };
            self.now = self.now.max(at);
            self.tell(Input::Wake);
        }
        for run in std::mem::take(&mut self.runs) {
            let health = self.director.checkers.of_run(run).map(|entry| entry.schedule.health());
            if health.is_some_and(|h| h.is_up().is_none()) {
                self.tell(Input::ProbeDone { run, outcome: assumed() });
            }
        }
    }

    fn converge(&mut self) {
        let limit = self.now + LIMIT;
        while !self.director.is_ready() && self.now <= limit {
            match self.requests.pop_front() {
                Some(Request::Snapshot(scope)) => {
                    let answer = self.kernel.snapshot(&scope);
                    self.tell(Input::Snapshot(answer));
                }
                Some(Request::Apply(ops)) => {
                    self.settings.extend(ops.iter().filter_map(setting));
                    let answer = self.kernel.apply(&ops);
                    self.tell(Input::Applied(answer));
                }
                None => {
                    let Some(at) = self.director.deadline() else { break };
                    self.now = self.now.max(at);
                    self.tell(Input::Wake);
                }
            }
        }
    }
}

fn assumed() -> Outcome {
    Outcome::pass("assumed")
}

fn setting(op: &Op) -> Option<Change> {
    match op {
        Op::SetTimeouts(after) => Some(Change::Timeouts { after: *after }),
        Op::StartSync(d) => Some(Change::StartSync { role: d.role, interface: d.interface.clone() }),
        Op::StopSync(role) => Some(Change::StopSync { role: *role }),
        _ => None,
    }
}

fn changes(
    before: &KernelTable,
    after: &KernelTable,
    leaving: &BTreeSet<(ServiceKey, SocketAddr)>,
) -> Vec<Change> {
    let keys: BTreeSet<&ServiceKey> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for key in keys {
        let service = desired::virtual_server_id(*key);
        let (old, new) = (before.get(key), after.get(key));
        let (old_service, new_service) = (old.map(|e| &e.service), new.map(|e| &e.service));
        if old_service != new_service {
            let (before, after) = (old_service.cloned(), new_service.cloned());
            changes.push(Change::Service { service, before, after });
        }
        let destinations = |entry: Option<&'_ ServiceEntry>| -> BTreeSet<SocketAddr> {
            entry.map(|e| e.destinations.keys().copied().collect()).unwrap_or_default()
        };
        for at in destinations(old).union(&destinations(new)) {
            let found = old.and_then(|e| e.destinations.get(at));
            let before = found.map(|d| d.destination);
            let after = new.and_then(|e| e.destinations.get(at)).map(|d| d.destination);
            if before != after {
                changes.push(Change::Destination {
                    service,
                    destination: *at,
                    before,
                    after,
                    connections: found.map(|d| d.connections).unwrap_or_default(),
                    drains: leaving.contains(&(*key, *at)),
                });
            }
        }
    }
    changes
}
