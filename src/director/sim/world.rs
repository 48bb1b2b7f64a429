//! A machine with a kernel, real servers, strangers and faults, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use crate::check::outcome::{Certificate, Outcome, Phase, ProbeResult};
use crate::check::schedule::RunId;
use crate::check::source::Sources;
use crate::check::spec::CheckerSpec;
use crate::config::Config;
use crate::director::Director;
use crate::director::admin_override::AdminOverride;
use crate::director::checkers::PoolMemberKey;
use crate::director::colocation::LocalAddresses;
use crate::director::event::Event;
use crate::director::io::{Effect, Input};
use crate::director::marks::Marks;
use crate::director::reconcile::Request;
use crate::director::state::State;
use crate::ipvs::backend::{Backend, Error, Op, Refusal, Snapshot};
use crate::ipvs::memory::MemoryBackend;
use crate::ipvs::types::{ServiceEntry, ServiceKey};
use crate::net::tc::ingress::FwmarkRule;
use crate::time::Instant;
use crate::vrrp::io::DirectorLevel;

/// The director's own address.
const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 200));

/// Something that will happen.
enum Happening {
    ProbeEnds { incarnation: u32, run: RunId, target: SocketAddr, by_path: bool, leaves: Leaves },
    KernelActs { incarnation: u32, request: Request },
}

/// From where a probe leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// From an address of this host's own.
    Well,
    /// From a VIP that the real server has, too.
    FromVip,
    /// There is no address that it may leave from.
    Nowhere,
}

/// A real server as the world sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Answers,
    Refuses,
    /// Says nothing: probes end after their time limit.
    Silent,
}

pub(super) struct World {
    pub now: Instant,
    pub kernel: MemoryBackend,
    /// Whether the kernel has IPVS; one without answers no request.
    pub has_ipvs: bool,
    /// How many requests the kernel got.
    pub requests: usize,
    /// Services of other programs; they must never change.
    pub strangers: BTreeSet<ServiceKey>,
    /// Real servers; one that is not listed answers.
    pub servers: BTreeMap<SocketAddr, Server>,
    /// Those that answer, but not by the way of packets for the VIP; one that is not listed does.
    pub paths: BTreeMap<IpAddr, Server>,
    /// The kernel chooses a VIP as the source of checks where this host has one on a link: an IPv6 VIP that is not
    /// deprecated, an IPv4 VIP in the real servers' network.
    pub prefers_vips: bool,
    /// Real servers that this host cannot ask, for a reason of its own.
    pub unaskable: BTreeSet<SocketAddr>,
    /// How long the certificates of servers that show one are still valid, on the world's clock.
    pub certificates: BTreeMap<SocketAddr, Duration>,
    /// Weights that checks of real servers ask for while they pass.
    pub weights: BTreeMap<SocketAddr, u8>,
    /// What operators ordered, by virtual server and real server.
    pub overrides: BTreeMap<PoolMemberKey, AdminOverride>,
    /// The generator of all chance in this world.
    pub rng: fastrand::Rng,
    /// Everything that was told.
    pub events: Vec<(Instant, Event)>,
    /// FIFO lines of what was notified.
    pub notified: Vec<String>,
    /// What the router was told of checks that it tracks.
    pub track_checks: Vec<(Instant, String, bool)>,
    /// What the router was told last.
    pub router: Option<DirectorLevel>,
    /// What the director is told of its host before anything else.
    pub local: LocalAddresses,
    /// The packets it wants marked.
    pub fwmark_rules: Vec<FwmarkRule>,
    /// Whether it wants clients that the kernel knows sent elsewhere.
    pub expires_templates: bool,
    /// How many saves of the state fail from now on.
    pub failing_saves: u32,
    /// When a save failed.
    pub failed_saves: Vec<Instant>,
    /// Every operation that was tried, except those about probe services.
    pub ops: Vec<(Instant, Op)>,
    /// Those that went by such a way, and when.
    pub path_probes: Vec<(Instant, IpAddr)>,
    /// Most such ways there were at once.
    pub most_probe_services: usize,
    /// When a probe last left by a slot's source port.
    ports: BTreeMap<u64, Instant>,
    /// What happened, for comparing two runs.
    pub trace: Vec<String>,
    /// Per cent of requests and probes that go wrong.
    pub fault_rate: u32,
    /// How the director finished.
    pub finished: Option<bool>,
    pub broken: Vec<String>,
    director: Option<Director>,
    saved: State,
    queue: BTreeMap<(Instant, u64), Happening>,
    next_happening: u64,
    incarnation: u32,
    kernel_is_busy: bool,
}

impl World {
    /// An empty kernel, all servers answering, no director yet.
    pub(super) fn new(seed: u64) -> World {
        World {
            now: Instant::of_uptime(seed),
            kernel: MemoryBackend::new(),
            has_ipvs: true,
            requests: 0,
            strangers: BTreeSet::new(),
            servers: BTreeMap::new(),
            paths: BTreeMap::new(),
            prefers_vips: false,
            unaskable: BTreeSet::new(),
            certificates: BTreeMap::new(),
            weights: BTreeMap::new(),
            overrides: BTreeMap::new(),
            rng: fastrand::Rng::with_seed(seed),
            events: Vec::new(),
            notified: Vec::new(),
            track_checks: Vec::new(),
            router: None,
            local: LocalAddresses {
                own: [HOST].into(),
                on_network: [HOST].into(),
                ..LocalAddresses::default()
            },
            fwmark_rules: Vec::new(),
            expires_templates: false,
            failing_saves: 0,
            failed_saves: Vec::new(),
            ops: Vec::new(),
            path_probes: Vec::new(),
            most_probe_services: 0,
            ports: BTreeMap::new(),
            trace: Vec::new(),
            fault_rate: 0,
            finished: None,
            broken: Vec::new(),
            director: None,
            saved: State::default(),
            queue: BTreeMap::new(),
            next_happening: 0,
            incarnation: 0,
            kernel_is_busy: false,
        }
    }

    /// Starts a director on what the last one saved.
    pub(super) fn start(&mut self, config: &Arc<Config>) {
        let seed = self.rng.u64(..);
        self.finished = None;
        self.fwmark_rules.clear();
        self.incarnation += 1;
        self.director = Some(Director::new(Arc::clone(config), self.saved.clone(), seed, self.now));
        self.tell(Input::LocalAddresses(self.local.clone()));
    }

    /// The process dies; what it had asked of the kernel may or may not still happen.
    pub(super) fn crash(&mut self) {
        self.director = None;
        self.incarnation += 1;
        self.kernel_is_busy = false;
    }

    /// Gives the director an input and performs what it wants.
    pub(super) fn tell(&mut self, input: Input) {
        let Some(director) = &mut self.director else { return };
        let mut effects = Vec::new();
        let is_over = matches!(input, Input::HandOver);
        director.handle(self.now, input, &mut effects);
        if let Some(deadline) = director.deadline()
            && deadline <= self.now
            && !effects.iter().any(|e| matches!(e, Effect::Kernel(_) | Effect::StartProbe { .. }))
        {
            self.broken.push(format!("deadline() > now: {deadline:?} at {:?}", self.now));
        }
        for effect in effects {
            if is_over && matches!(effect, Effect::Kernel(_)) {
                self.broken.push("hand-over: nothing changed: a request after it".to_owned());
            }
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let line = match &effect {
            Effect::StartProbe { run, spec, .. } => format!("probe {run} of {}", spec.target.address),
            other => format!("{other:?}"),
        };
        self.trace.push(format!("{:.6} {line}", self.now.since(Instant::ZERO).as_secs_f64()));
        match effect {
            Effect::StartProbe { run, spec, path, sources } => {
                let (target, by_path) = (spec.target.address, path.is_some());
                if let Some(path) = path {
                    invariants::by_a_probe_service_of_its_own(self, path, target.ip());
                    self.path_probes.push((self.now, target.ip()));
                }
                let at = self.now + self.probe_time(&spec, by_path);
                let incarnation = self.incarnation;
                let leaves = self.leaves(target.ip(), sources.as_deref());
                self.schedule(at, Happening::ProbeEnds { incarnation, run, target, by_path, leaves });
            }
            Effect::CancelProbe(_) => {}
            Effect::SaveState(_) if self.failing_saves > 0 => {
                self.failing_saves -= 1;
                self.failed_saves.push(self.now);
                self.tell(Input::Saved(false));
            }
            Effect::SaveState(state) => {
                self.saved = state;
                if !self.failed_saves.is_empty() {
                    self.tell(Input::Saved(true));
                }
            }
            Effect::Kernel(request) => {
                if std::mem::replace(&mut self.kernel_is_busy, true) {
                    self.broken.push("one request under way: a second one".to_owned());
                }
                invariants::owned_before_use(self, &request);
                let at = self.now + Duration::from_micros(self.rng.u64(50..5000));
                self.schedule(at, Happening::KernelActs { incarnation: self.incarnation, request });
            }
            Effect::Event(event) => self.events.push((self.now, event)),
            Effect::Notify(notification) => {
                let line = notification.line.map(|line| line.bytes).unwrap_or_default();
                self.notified.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            Effect::Mark(fwmark_rules) => self.fwmark_rules = fwmark_rules,
            Effect::ExpireTemplates(is_wanted) => self.expires_templates = is_wanted,
            Effect::TrackCheck { name, is_up } => self.track_checks.push((self.now, name, is_up)),
            Effect::Router(level) => self.router = Some(level),
            Effect::Finished { is_clean } => {
                self.finished = Some(is_clean);
                self.director = None;
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        // A broken world may stand still for ever; its first complaints say enough.
        while self.broken.len() < 100 {
            let happening = self.queue.first_key_value().map(|((at, _), _)| *at);
            let wake = self.director.as_ref().and_then(Director::deadline);
            let next = [happening, wake].into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            match self.queue.first_entry().filter(|first| first.key().0 <= self.now) {
                Some(first) => {
                    let happening = first.remove();
                    self.happen(happening);
                }
                None => self.tell(Input::Wake),
            }
            invariants::always(self);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::ProbeEnds { incarnation, run, target, by_path, leaves } => {
                let outcome = match leaves {
                    Leaves::Well => self.outcome(target, by_path),
                    Leaves::FromVip => Outcome::fail(Phase::Connect, "no answer"),
                    Leaves::Nowhere => Outcome::inconclusive(Phase::Socket, "no address but VIPs"),
                };
                if incarnation == self.incarnation {
                    self.tell(Input::ProbeDone { run, outcome });
                }
            }
            Happening::KernelActs { incarnation, request } => {
                let is_awaited = incarnation == self.incarnation;
                // The last wish of a dead process may or may not have reached the kernel.
                if !is_awaited && self.rng.bool() {
                    return;
                }
                self.requests += 1;
                let answer = match request {
                    Request::Snapshot(_) if !self.has_ipvs => Input::Snapshot(Err(no_ipvs())),
                    Request::Apply(_) if !self.has_ipvs => Input::Applied(Err(no_ipvs())),
                    Request::Snapshot(scope) => Input::Snapshot(self.snapshot(&scope)),
                    Request::Apply(ops) => Input::Applied(self.apply(&ops)),
                };
                if is_awaited {
                    self.kernel_is_busy = false;
                    self.tell(answer);
                }
            }
        }
    }

    fn snapshot(&mut self, scope: &crate::ipvs::backend::Scope) -> Result<Snapshot, Error> {
        if self.goes_wrong() {
            return Err(Error::Transport("simulated loss of a reply".to_owned()));
        }
        self.kernel.snapshot(scope)
    }

    /// Applies one by one, looking at the table after each; a fault cuts the batch or loses the answer.
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, Error> {
        let is_cut = self.goes_wrong();
        let reach = if is_cut { self.rng.usize(0..=ops.len()) } else { ops.len() };
        let mut refusals = Vec::new();
        let before = self.kernel.table().clone();
        for (index, op) in ops[..reach].iter().enumerate() {
            if !op.service().is_some_and(|key| is_probe_service(*key)) {
                self.ops.push((self.now, op.clone()));
            }
            invariants::not_a_strangers(self, op);
            let probe_services = self.kernel.table().keys().filter(|key| is_probe_service(**key)).count();
            self.most_probe_services = self.most_probe_services.max(probe_services);
            if self.goes_wrong() {
                refusals.push(Refusal { index, errno: 12, text: None });
                continue;
            }
            let refused = self.kernel.apply(std::slice::from_ref(op))?;
            refusals.extend(refused.into_iter().map(|r| Refusal { index, ..r }));
            if refusals.is_empty() {
                invariants::never_without_a_server(self, op, &before, ops);
            }
        }
        if is_cut {
            return Err(Error::Transport("simulated loss of a reply".to_owned()));
        }
        Ok(refusals)
    }

    fn goes_wrong(&mut self) -> bool {
        self.fault_rate > 0 && self.rng.u32(0..100) < self.fault_rate
    }

    /// What becomes of a probe's source address, where the kernel may choose a VIP.
    fn leaves(&self, target: IpAddr, sources: Option<&Sources>) -> Leaves {
        let chosen = self.local.on_network.iter().find(|ip| **ip != HOST).filter(|_| self.prefers_vips);
        match (chosen, sources) {
            (None, _) => Leaves::Well,
            (Some(chosen), Some(sources)) if sources.is_forbidden(*chosen) => {
                sources.instead_of(*chosen, target).map_or(Leaves::Nowhere, |_| Leaves::Well)
            }
            (Some(_), _) => Leaves::FromVip,
        }
    }

    fn probe_time(&mut self, spec: &CheckerSpec, by_path: bool) -> Duration {
        match self.server(spec.target.address, by_path) {
            Some(Server::Silent) => spec.target.connect_timeout,
            _ => Duration::from_micros(self.rng.u64(200..20_000)),
        }
    }

    /// How a server answers; by the way of packets for the VIP not better than otherwise.
    fn server(&self, target: SocketAddr, by_path: bool) -> Option<Server> {
        let itself = self.servers.get(&target).copied().filter(|server| *server != Server::Answers);
        itself.or(self.paths.get(&target.ip()).copied().filter(|_| by_path))
    }

    /// Notes that a probe leaves by a slot's source port; when one last did.
    pub(super) fn leaves_by(&mut self, slot: u64) -> Option<Instant> {
        self.ports.insert(slot % 11_264, self.now)
    }

    /// The kernel's services, but for ways to single real servers.
    pub(super) fn services(&self) -> BTreeMap<ServiceKey, ServiceEntry> {
        let table = self.kernel.table().iter().filter(|(key, _)| !is_probe_service(**key));
        table.map(|(key, entry)| (*key, entry.clone())).collect()
    }

    fn outcome(&mut self, target: SocketAddr, by_path: bool) -> Outcome {
        let is_local_trouble = self.goes_wrong();
        let (result, reason) = match self.server(target, by_path) {
            _ if is_local_trouble || self.unaskable.contains(&target) => {
                (ProbeResult::Inconclusive, "no file descriptors left")
            }
            None | Some(Server::Answers) => (ProbeResult::Pass, "connected"),
            Some(Server::Refuses) => (ProbeResult::Fail, "connection refused"),
            Some(Server::Silent) => (ProbeResult::Fail, "no answer"),
        };
        let left = self.certificates.get(&target).filter(|_| result == ProbeResult::Pass);
        let now = self.now.since(Instant::ZERO);
        let shown = left.map(|left| Box::new(Certificate::new(now + *left, now)));
        Outcome {
            result,
            took: Duration::from_millis(1),
            certificate: shown,
            weight: self.weights.get(&target).copied().filter(|_| result == ProbeResult::Pass),
            ..Outcome::fail(Phase::Connect, reason)
        }
    }

    fn schedule(&mut self, at: Instant, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((at, self.next_happening), happening);
    }

    /// What the last director saved is lost.
    pub(super) fn forget(&mut self) {
        self.saved = State::default();
    }

    /// What the last director saved.
    pub(super) fn saved(&self) -> &State {
        &self.saved
    }

    /// The director, while there is one.
    pub(super) fn director(&self) -> Option<&Director> {
        self.director.as_ref()
    }
}

/// Whether a service is a way to a single real server.
pub(super) fn is_probe_service(key: ServiceKey) -> bool {
    Marks::default().is_probe_service(key)
}

fn no_ipvs() -> Error {
    Error::NoIpvs("run \"modprobe ip_vs\"".to_owned())
}
