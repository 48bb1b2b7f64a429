//! What a director would do to a kernel: the director itself, let loose on a copy of the kernel's table until it is
//! content. So the answer cannot differ from what it will do; only health and the kernel's modules are taken on trust.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::checkers::Entry;
use super::colocation::LocalAddresses;
use super::colocation::placement::IngressMarks;
use super::desired;
use super::path_check::is_path_check;
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
use crate::vrrp::io::InstanceLevel;

/// Longest time, of its own clock, in which the copy must be what it should be: operations that the copy refuses are
/// tried again and again.
const LIMIT: Duration = Duration::from_secs(60);

/// A kernel's services.
pub(crate) type KernelTable = BTreeMap<ServiceKey, ServiceEntry>;

/// What is known of the host that the director would run on.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostKnown {
    pub local: LocalAddresses,
    /// How its instances are: the sync daemons follow one, and who holds a VIP may have its service.
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

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A service is added (no `before`), removed (no `after`) or set.
    Service {
        service: VirtualServerId,
        /// The mark of its packets, where this host is one of its real servers, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        mark: Option<u32>,
        /// As it is.
        before: Option<Service>,
        /// As it would be.
        after: Option<Service>,
    },
    /// A destination is added (no `before`), removed (no `after`) or set.
    Destination {
        service: VirtualServerId,
        /// The mark of its packets, where this host is one of its real servers, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        mark: Option<u32>,
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
        /// Whether all that begins only when what replaces it is up.
        stays: bool,
    },
    /// The connection timeouts.
    Timeouts {
        /// As they would be, in seconds.
        after: Timeouts,
    },
    /// A setting of the kernel: one below `net.ipv4.vs`, or one of the host by its whole name.
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
    pub(crate) fn cut(&self) -> u64 {
        match self {
            Change::Destination { after: None, connections, .. } => connections.active.into(),
            _ => 0,
        }
    }
}

/// Lets a director with this configuration and this knowledge loose on a copy of a kernel. Servers that `state` does
/// not know as down pass their checks.
pub(crate) fn preview(
    config: &Arc<Config>,
    state: State,
    host: HostKnown,
    kernel: MemoryBackend,
    now: Instant,
) -> Preview {
    let before = kernel.table().clone();
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
        trial.tell(Input::IngressMarks(IngressMarks { cannot_mark: true, ..IngressMarks::default() }));
    }
    trial.tell(Input::LocalAddresses(host.local));
    for level in host.instances {
        trial.tell(Input::Instance(level));
    }
    trial.check_everybody();
    trial.converge();
    let status = trial.director.status(trial.now);
    let leaving: BTreeSet<_> = status
        .virtual_servers
        .iter()
        .flat_map(|s| s.leaving.iter().map(|at| (s.virtual_server, *at)))
        .collect();
    let mut changes = changes(&before, trial.kernel.table(), &trial.director, &leaving);
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
    cannot_mark: bool,
}

impl Trial {
    fn tell(&mut self, input: Input) {
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
                | Effect::Finished { .. } => {}
            }
        }
        if let Some(marked) = marked {
            self.tell(Input::IngressMarks(IngressMarks { marked, cannot_mark: self.cannot_mark }));
        }
    }

    /// Every checker runs once, before the kernel has been read; those known to be down do not end.
    fn check_everybody(&mut self) {
        let own = self.director.checkers.iter().filter(|(_, entry)| !is_path_check(entry)).count();
        while self.runs.len() < own {
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
        let is_unknown = |entry: &Entry| is_path_check(entry) && entry.schedule.health().is_up().is_none();
        let checkers = self.director.checkers.iter();
        let unknown: Vec<_> = checkers.filter(|(_, entry)| is_unknown(entry)).map(|(id, _)| id).collect();
        for id in unknown {
            if let Some((run, _)) = self.director.checkers.begin(self.now, id) {
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
    director: &Director,
    leaving: &BTreeSet<(VirtualServerId, SocketAddr)>,
) -> Vec<Change> {
    let all = before.keys().chain(after.keys());
    let keys: BTreeSet<&ServiceKey> =
        all.filter(|key| !director.path_check.is_probe_service(**key)).collect();
    let mut changes = Vec::new();
    for key in keys {
        let service = director.owner(*key);
        let mark = match key {
            ServiceKey::Fwmark { mark, .. } if desired::service_key(service) != *key => Some(*mark),
            _ => None,
        };
        let is_retired = director.is_retired(*key);
        let seen =
            |table: &KernelTable| table.get(key).map(|entry| director.in_words_of(service, mark, entry));
        let (old, new) = (seen(before), seen(after));
        let (old_service, new_service) = (old.as_ref().map(|e| &e.service), new.as_ref().map(|e| &e.service));
        if old_service != new_service {
            let (before, after) = (old_service.cloned(), new_service.cloned());
            changes.push(Change::Service { service, mark, before, after });
        }
        let destinations = |entry: Option<&ServiceEntry>| -> BTreeSet<SocketAddr> {
            entry.map(|e| e.destinations.keys().copied().collect()).unwrap_or_default()
        };
        for at in destinations(old.as_ref()).union(&destinations(new.as_ref())) {
            let found = old.as_ref().and_then(|e| e.destinations.get(at));
            let before = found.map(|d| d.destination);
            let after = new.as_ref().and_then(|e| e.destinations.get(at)).map(|d| d.destination);
            if before != after {
                changes.push(Change::Destination {
                    service,
                    mark,
                    destination: *at,
                    before,
                    after,
                    connections: found.map(|d| d.connections).unwrap_or_default(),
                    drains: is_retired || leaving.contains(&(service, *at)),
                    stays: old.as_ref().is_some_and(|old| director.will_stay(service, *at, old)),
                });
            }
        }
    }
    changes
}
