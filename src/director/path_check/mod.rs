//! `path_check`: when the path of client traffic to a real server is checked, and what an outcome proves.
//!
//! A state machine of its own: the director hands it inputs together with a [`View`] of what it may read, and performs
//! its effects. A path check follows a recent pass of the real server's own check, so a failure is about the path. It
//! waits until its [probe service](probe_service) is in the kernel; probes begin no faster than source ports allow.
//! A failure takes a serving real server out only if another real server's path check, begun since, has passed:
//! otherwise this director or the network is the likelier cause. So the two checks that passed last run again at once.

pub(crate) mod probe_service;
mod recent_passes;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use probe_service::{Created, ProbeServices};
use recent_passes::RecentPasses;
pub(crate) use view::View;

use super::checkers::{CheckerId, Entry};
use super::marks::Marks;
use super::reconcile::Request;
use crate::check::outcome::{Outcome, Phase, ProbeResult};
use crate::check::path::{PACE, ProbePath};
use crate::check::spec::path::{Carrier, PathQuestion};
use crate::check::spec::{CheckerSpec, Question, Target};
use crate::config::{Config, RealServer, VirtualServer};
use crate::ipvs::backend::{Error, Refusal};
use crate::ipvs::types::{Family, Forwarding, ServiceKey, Tunnel};
use crate::time::Instant;

/// Greatest age of the pass of the real server's own check.
const FRESH: Duration = Duration::from_secs(1);
/// Other path checks that run again when one fails.
const WITNESSES: usize = 2;

/// What the director reports.
#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The deadline is reached, or something changed.
    Wake,
    /// A path check is due.
    Due(CheckerId),
    /// A check of a real server itself ended; `came_up` if that changed its health to up.
    OwnCheckEnded { id: CheckerId, result: ProbeResult, came_up: bool },
    /// A probe of a path check ended.
    ProbeDone { id: CheckerId, outcome: Outcome },
    /// The kernel's table was read: these are its services with marks for probes.
    Services(&'a BTreeSet<ServiceKey>),
    /// The kernel answered the request of this machine.
    Applied(&'a Result<Vec<Refusal>, Error>),
    /// A new configuration is in force, and checkers that it does not have are gone.
    Reloaded,
}

/// What the director is to do, in this order.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Start the probe of a path check.
    Probe(CheckerId, ProbePath),
    /// Let the next run of a checker begin then.
    RunAt(CheckerId, Instant),
    /// A run of a path check has this outcome; where none is under way, no probe was needed or possible.
    Conclude(CheckerId, Outcome),
    /// A path check cannot be made from here: until it has a verdict its real server counts as up.
    CountAsUp(CheckerId),
}

/// The state of all path checks.
#[derive(Debug, Default)]
pub(crate) struct PathChecks {
    /// Some real server has a path check.
    is_used: bool,
    services: ProbeServices,
    queue: VecDeque<CheckerId>,
    /// In the queue, or waiting for their probe service.
    queued: BTreeSet<CheckerId>,
    /// Path checks that wait for a run of a real server's own check, by that check.
    waiting: BTreeMap<CheckerId, BTreeSet<CheckerId>>,
    /// The probe services of runs under way, and when the runs began.
    runs: BTreeMap<CheckerId, (ServiceKey, Instant)>,
    passes: RecentPasses,
    failing: BTreeMap<CheckerId, Failing>,
    next_slot: u64,
    /// When the next probe service may be created.
    next_create: Instant,
    /// All probe services are in use.
    is_full: bool,
    vips: BTreeSet<IpAddr>,
}

/// A path check of which every run has failed.
#[derive(Clone, Copy, Debug)]
struct Failing {
    /// When the first of them ended.
    since: Instant,
    /// The next run was moved forward once, because no other path check had passed since.
    was_moved_forward: bool,
}

impl PathChecks {
    /// Takes what follows from a configuration; [`Input::Reloaded`] follows once its checkers are there.
    pub(crate) fn configure(&mut self, config: &Config, marks: Marks) {
        let mut reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
        self.is_used = reals.any(|real| real.path_check.is_some());
        self.vips = config.virtual_servers.iter().filter_map(|server| server.id.address()).collect();
        self.services.configure(marks);
    }

    /// Takes one input and appends what is to be done about it.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        input: Input<'_>,
        view: &View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        match input {
            Input::Wake => self.create_services(now, view, effects),
            Input::Due(id) => self.due(now, id, view, effects),
            Input::OwnCheckEnded { id, result, came_up } if self.is_used => {
                self.own_check_ended(now, id, (result, came_up), view, effects);
            }
            Input::OwnCheckEnded { .. } => {}
            Input::ProbeDone { id, outcome } => self.conclude(now, id, outcome, view, effects),
            Input::Services(present) => self.services.on_keys(present),
            Input::Applied(result) => {
                for created in self.services.on_applied(now, result) {
                    self.created(now, created, view, effects);
                }
            }
            Input::Reloaded => self.reloaded(now, view, effects),
        }
    }

    /// When the next probe service may be created, if a check waits only for that.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.queue.is_empty() && !self.is_full).then_some(self.next_create)
    }

    /// Ends all checks, and removes their probe services.
    pub(crate) fn clear(&mut self) {
        let services = std::mem::take(&mut self.services);
        *self = PathChecks { services, next_slot: self.next_slot, ..PathChecks::default() };
        self.services.remove_all();
    }

    /// The next request to the kernel, if one is due and none is under way.
    pub(crate) fn request(&mut self, now: Instant) -> Option<Request> {
        self.services.request(now)
    }

    /// When there is something to ask of the kernel that no answer announces.
    pub(crate) fn kernel_deadline(&self) -> Option<Instant> {
        self.services.deadline()
    }

    /// Whether a request of this machine is under way.
    pub(crate) fn is_kernel_busy(&self) -> bool {
        self.services.is_busy()
    }

    /// Whether no probe service is left in the kernel.
    pub(crate) fn is_released(&self) -> bool {
        self.services.is_released()
    }

    /// Whether a service in the kernel is a probe service.
    pub(crate) fn is_probe_service(&self, key: ServiceKey) -> bool {
        self.services.contains(key)
    }

    /// A check begins after a recent pass of the real server's own checks, and is postponed while one of them fails.
    fn due(&mut self, now: Instant, id: CheckerId, view: &View<'_>, effects: &mut Vec<Effect>) {
        let Some((entry, server, at)) = view.check(id) else { return };
        if let Some(why) = view.is_not_needed(at) {
            return self.conclude(now, id, Outcome::pass(why), view, effects);
        }
        for own in view.own_checks(server, at) {
            let Some(check) = view.checkers.get(own) else { continue };
            let is_fresh = check.schedule.passed_at().is_some_and(|at| now.since(at) <= FRESH);
            let is_down = check.schedule.health().is_up() == Some(false);
            if is_fresh && !is_down {
                continue;
            }
            if is_down || check.schedule.last().is_none() {
                // When the own check passes, this one is due at once.
                return self.postpone(id, now + entry.spec.timing.interval, effects);
            }
            self.waiting.entry(own).or_default().insert(id);
            return effects.push(Effect::RunAt(own, now));
        }
        if self.queued.insert(id) {
            self.queue.push_back(id);
        }
    }

    /// What was found before proves nothing any more.
    fn postpone(&mut self, id: CheckerId, until: Instant, effects: &mut Vec<Effect>) {
        self.passes.remove(id);
        effects.push(Effect::RunAt(id, until));
    }

    fn reloaded(&mut self, now: Instant, view: &View<'_>, effects: &mut Vec<Effect>) {
        let is_there = |id: &CheckerId| view.checkers.get(*id).is_some();
        let services = &mut self.services;
        self.runs.retain(|id, (key, _)| {
            let is_kept = is_there(id);
            if !is_kept {
                services.remove(*key);
            }
            is_kept
        });
        // The own check that they wait for may be gone.
        let waiting: BTreeSet<CheckerId> =
            std::mem::take(&mut self.waiting).into_values().flatten().collect();
        effects.extend(waiting.into_iter().map(|id| Effect::RunAt(id, now)));
        self.queue.retain(is_there);
        self.queued.retain(is_there);
        self.passes.retain(|id| is_there(&id));
        self.failing.retain(|id, _| is_there(id));
    }

    /// Continues what waited for a real server's own check. A server that came up has its path checked at once.
    fn own_check_ended(
        &mut self,
        now: Instant,
        id: CheckerId,
        (result, came_up): (ProbeResult, bool),
        view: &View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        for waiting in self.waiting.remove(&id).unwrap_or_default() {
            if result == ProbeResult::Pass {
                self.due(now, waiting, view, effects);
            } else if let Some(entry) = view.checkers.get(waiting) {
                self.postpone(waiting, now + entry.spec.timing.interval, effects);
            }
        }
        if !came_up {
            return;
        }
        let members = view.checkers.get(id).map(|entry| entry.subscribers.as_slice()).unwrap_or_default();
        let checks = members.iter().flat_map(|(server, at)| view.path_checks(*server, *at));
        effects.extend(checks.filter(|id| !self.queued.contains(id)).map(|id| Effect::RunAt(id, now)));
    }

    /// Has probe services created for the checks that wait: as many as there are marks, and as fast as allowed.
    fn create_services(&mut self, now: Instant, view: &View<'_>, effects: &mut Vec<Effect>) {
        while let Some(id) = self.queue.front().copied().filter(|_| self.next_create <= now) {
            let (service, destination, family) = match view.probe_service(now, id) {
                Ok(service) => service,
                Err(until) => {
                    self.queue.pop_front();
                    self.queued.remove(&id);
                    until.into_iter().for_each(|until| self.postpone(id, until, effects));
                    continue;
                }
            };
            let free = self.services.free_key(family);
            self.is_full = free.is_none();
            let Some(key) = free else { return };
            self.queue.pop_front();
            self.services.create(key, id, service, destination);
            self.next_create = now + PACE;
        }
    }

    fn created(&mut self, now: Instant, created: Created, view: &View<'_>, effects: &mut Vec<Effect>) {
        let (id, why) = match created {
            Created::Ready(id, key) => {
                self.queued.remove(&id);
                match self.probe(now, id, key, view) {
                    Ok(path) => return effects.push(Effect::Probe(id, path)),
                    Err(why) => {
                        self.services.remove(key);
                        (id, why.to_owned())
                    }
                }
            }
            Created::Failed(id, why) => {
                self.queued.remove(&id);
                (id, format!("its probe service cannot be created: {why}"))
            }
        };
        self.conclude(now, id, Outcome::inconclusive(Phase::Socket, why), view, effects);
    }

    fn probe(
        &mut self,
        now: Instant,
        id: CheckerId,
        key: ServiceKey,
        view: &View<'_>,
    ) -> Result<ProbePath, &'static str> {
        let gone = "the real server is gone";
        let ServiceKey::Fwmark { family, mark } = key else { return Err(gone) };
        let entry = view.checkers.get(id).filter(|entry| entry.schedule.running().is_none()).ok_or(gone)?;
        let Question::Path(question) = &entry.spec.question else { return Err(gone) };
        let real = entry.spec.target.address.ip();
        let to = if Family::of(real) == family { real } else { question.vip.ip() };
        let is_vip = |ip: IpAddr| self.vips.contains(&ip) || view.vrrp_link.is_vip(ip);
        let source = view
            .nearest_address(family, to, is_vip)
            .ok_or("this host has no address of its own there that is no VIP")?;
        let slot = self.slot(now);
        self.runs.insert(id, (key, now));
        Ok(ProbePath { mark, source, slot })
    }

    /// Slots are counted by the clock, so that a successor goes on where this process ended.
    fn slot(&mut self, now: Instant) -> u64 {
        let pace = u64::try_from(PACE.as_nanos()).unwrap_or(u64::MAX);
        let slot = self.next_slot.max(now.as_nanos() / pace);
        self.next_slot = slot + 1;
        slot
    }

    /// Judges an outcome; a probe service of the run is removed.
    fn conclude(
        &mut self,
        now: Instant,
        id: CheckerId,
        outcome: Outcome,
        view: &View<'_>,
        effects: &mut Vec<Effect>,
    ) {
        let began = self.runs.remove(&id).map(|(key, began)| {
            self.services.remove(key);
            began
        });
        let Some((entry, server, at)) = view.check(id) else {
            return effects.push(Effect::Conclude(id, outcome));
        };
        if outcome.result == ProbeResult::Pass {
            self.failing.remove(&id);
            if let Some(began) = began {
                self.passes.insert(server.family(), id, began);
            }
            return effects.push(Effect::Conclude(id, outcome));
        }
        self.passes.remove(id);
        if outcome.result == ProbeResult::Inconclusive {
            effects.push(Effect::CountAsUp(id));
            return effects.push(Effect::Conclude(id, outcome));
        }
        if view.own_checks(server, at).any(|own| view.has_not_passed(own)) {
            let why = format!("service down: its own check fails as well; {}", outcome.reason);
            return effects.push(Effect::Conclude(id, doubtful(outcome, why)));
        }
        let failing = self.failing.entry(id).or_insert(Failing { since: now, was_moved_forward: false });
        let is_proven =
            self.passes.latest(server.family()).next().is_some_and(|(began, _)| began > failing.since);
        if is_proven || !view.is_up(server, at) {
            return effects.push(Effect::Conclude(id, outcome));
        }
        let others = self.passes.latest(server.family()).map(|(_, id)| id).take(WITNESSES);
        effects.extend(others.filter(|id| !self.queued.contains(id)).map(|id| Effect::RunAt(id, now)));
        if !entry.schedule.decides(&entry.spec.timing) {
            return effects.push(Effect::Conclude(id, outcome));
        }
        let why = format!(
            "no real server answers through a VIP here, so this director or the network is suspected first; {}",
            outcome.reason
        );
        effects.push(Effect::Conclude(id, doubtful(outcome, why)));
        // Only once: where every path is broken, more probes only add to the load.
        if !std::mem::replace(&mut failing.was_moved_forward, true) {
            effects.push(Effect::RunAt(id, now + entry.spec.timing.pause_before_retry()));
        }
    }
}

fn doubtful(outcome: Outcome, why: String) -> Outcome {
    Outcome::inconclusive(outcome.phase, why).with_errno(outcome.errno)
}

/// The specification of a real server's path check, if it has one.
pub(crate) fn spec(server: &VirtualServer, real: &RealServer) -> Option<Arc<CheckerSpec>> {
    let check = real.path_check.as_ref()?;
    let vip = SocketAddr::new(server.id.address()?, check.port);
    let by = match real.forwarding {
        Forwarding::Tun(Tunnel::Gue { .. }) => Carrier::UdpTunnel,
        Forwarding::Tun(_) => Carrier::Tunnel,
        _ => Carrier::Frames,
    };
    Some(Arc::new(CheckerSpec {
        target: Target { address: real.address, source: None, connect_timeout: check.connect_timeout },
        question: Question::Path(Box::new(PathQuestion { vip, by })),
        timing: Arc::clone(&check.timing),
        log_all_failures: false,
    }))
}

/// Whether a checker is a path check.
pub(crate) fn is_path_check(entry: &Entry) -> bool {
    matches!(entry.spec.question, Question::Path(_))
}
