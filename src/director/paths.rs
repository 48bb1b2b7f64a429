//! When the way of the VIP's packets to a real server is checked, and what an outcome is worth.
//!
//! Such a check follows the real server's own, which passed a moment before: so what it finds is about the way. It
//! begins when a [lane](super::lanes) is open, and no sooner after the one before it than source ports allow; whoever
//! is due meanwhile waits in a queue, and is not late. A failure takes nobody out who serves unless another real server
//! answered by the same means since it first failed: when none does, this director or the network is the likelier
//! culprit. So that it need not wait for them, two others are asked at once. A part of the director.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::checkers::{CheckerId, Entry, PoolMemberKey};
use super::event::Event;
use super::lanes::{Lanes, Opened};
use super::marks::Marks;
use super::{Director, Effect, Input};
use crate::check::outcome::{Outcome, Phase, Verdict};
use crate::check::path::{Carrier, Lane, PACE, PathQuestion};
use crate::check::schedule::RunId;
use crate::check::source::distance;
use crate::check::spec::{CheckerSpec, Question, Target};
use crate::config::{Config, RealServer, VirtualServer, VirtualServerId};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Destination, Family, Forwarding, Service, ServiceFlags, ServiceKey, SyncRole};
use crate::time::Instant;

/// How fresh the pass of a real server's own check must be.
const FRESH: Duration = Duration::from_secs(1);
/// How many others are asked when a way is found broken.
const WITNESSES: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Some real server's way is checked.
    is_used: bool,
    pub(super) lanes: Lanes,
    queue: VecDeque<CheckerId>,
    queued: BTreeSet<CheckerId>,
    /// Behind a run of the real server's own check.
    behind: BTreeMap<CheckerId, BTreeSet<CheckerId>>,
    /// Their services, and when they began.
    runs: BTreeMap<RunId, (ServiceKey, Instant)>,
    good: Witnesses,
    /// Since when a way was found broken at each run.
    broken: BTreeMap<CheckerId, Broken>,
    /// The run to come after the one that ended, where that is sooner than its schedule says.
    hurried: Option<(CheckerId, Instant)>,
    next_slot: u64,
    /// When the next lane may be opened.
    next_open: Instant,
    /// All lanes are in use.
    is_full: bool,
    vips: BTreeSet<IpAddr>,
}

/// Ways that were last found good, by when the run began that found it.
#[derive(Debug, Default)]
struct Witnesses {
    since: BTreeMap<CheckerId, (Family, Instant)>,
    by_age: BTreeSet<(Family, Instant, CheckerId)>,
}

impl Witnesses {
    fn insert(&mut self, family: Family, id: CheckerId, began: Instant) {
        self.remove(id);
        self.since.insert(id, (family, began));
        self.by_age.insert((family, began, id));
    }

    fn remove(&mut self, id: CheckerId) {
        if let Some((family, began)) = self.since.remove(&id) {
            self.by_age.remove(&(family, began, id));
        }
    }

    fn retain(&mut self, is_there: impl Fn(CheckerId) -> bool) {
        self.since.retain(|id, _| is_there(*id));
        self.by_age.retain(|(_, _, id)| is_there(*id));
    }

    /// The latest first.
    fn latest(&self, family: Family) -> impl Iterator<Item = (Instant, CheckerId)> + '_ {
        let (first, last) = (Instant::ZERO, Instant::from_nanos(u64::MAX));
        let all = (family, first, CheckerId::FIRST)..=(family, last, CheckerId::LAST);
        self.by_age.range(all).rev().map(|(_, began, id)| (*began, *id))
    }
}

/// A way that was found broken at each run since.
#[derive(Clone, Copy, Debug)]
struct Broken {
    /// When the first of them failed.
    since: Instant,
    /// A run was hurried, because no other way had been seen to work meanwhile.
    was_hurried: bool,
}

impl Paths {
    /// Begins with a configuration; what is under way goes on.
    pub(crate) fn configure(&mut self, config: &Config, marks: Marks) {
        let reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
        self.is_used = reals.into_iter().any(|real| real.path_check.is_some());
        self.vips = config.virtual_servers.iter().filter_map(|server| server.id.address()).collect();
        self.lanes.configure(marks);
    }

    /// Nobody waits for this run any more.
    pub(crate) fn forget(&mut self, run: RunId) {
        if let Some((key, _)) = self.runs.remove(&run) {
            self.lanes.close(key);
        }
    }

    /// A run that is to come sooner than its schedule says.
    pub(crate) fn take_hurried(&mut self) -> Option<(CheckerId, Instant)> {
        self.hurried.take()
    }

    /// Nothing is checked any more.
    pub(crate) fn clear(&mut self) {
        let lanes = std::mem::take(&mut self.lanes);
        *self = Paths { lanes, next_slot: self.next_slot, ..Paths::default() };
        self.lanes.close_all();
    }

    fn enqueue(&mut self, id: CheckerId) {
        if self.queued.insert(id) {
            self.queue.push_back(id);
        }
    }

    /// When the next lane may be opened, if somebody waits for nothing but that.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.queue.is_empty() && !self.is_full).then_some(self.next_open)
    }

    /// Slots are counted by the clock, so that a successor goes on where this life ended.
    fn slot(&mut self, now: Instant) -> u64 {
        let pace = u64::try_from(PACE.as_nanos()).unwrap_or(u64::MAX);
        let slot = self.next_slot.max(now.as_nanos() / pace);
        self.next_slot = slot + 1;
        slot
    }
}

/// What is asked about a real server's way; None where there is no such question.
pub(crate) fn spec(server: &VirtualServer, real: &RealServer) -> Option<Arc<CheckerSpec>> {
    let check = real.path_check.as_ref()?;
    let vip = SocketAddr::new(server.id.address()?, check.port);
    let by = match real.forwarding {
        Forwarding::Tun(crate::ipvs::types::Tunnel::Gue { .. }) => Carrier::UdpTunnel,
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

/// Whether a checker asks about a way.
pub(crate) fn is_path(entry: &Entry) -> bool {
    matches!(entry.spec.question, Question::Path(_))
}

/// The service of a lane: with one destination any scheduler will do, and the virtual server's own is there for sure;
/// those that compute much are not worth it.
fn lane_service(server: &VirtualServer) -> Service {
    let is_dear = matches!(server.scheduler.as_str(), "mh" | "sh" | "dh" | "lblc" | "lblcr");
    let plain = Scheduler::new("rr").filter(|_| is_dear);
    Service {
        scheduler: plain.unwrap_or_else(|| server.scheduler.clone()),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}

/// The own address that a real server has the shortest way to: the one most alike.
fn nearest(own: impl Iterator<Item = IpAddr>, to: IpAddr) -> Option<IpAddr> {
    own.min_by_key(|ip| distance(*ip, to))
}

impl Director {
    /// Which marks are those of lanes follows from the configuration.
    pub(super) fn mark_lanes(&mut self) {
        let marks = Marks::of(&self.config);
        self.reconciler.ignore(marks.clone());
        self.paths.configure(&self.config, marks);
    }

    /// Begins what is due: checks of ways behind others, and in lanes.
    pub(super) fn begin_checks(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        while let Some(id) = self.checkers.due(now) {
            if self.checkers.get(id).is_some_and(is_path) {
                self.path_is_due(now, id, events);
            } else if let Some((run, spec)) = self.checkers.begin(now, id) {
                let sources = self.checkers.get(id).and_then(|entry| self.sources_of(entry));
                effects.push(Effect::StartProbe { run, spec, lane: None, sources });
            }
        }
        if self.reconciler.has_read() {
            self.open_lanes(now);
        }
    }

    /// A check of a way is due: begun behind the own check's pass, put off where that fails.
    fn path_is_due(&mut self, now: Instant, id: CheckerId, events: &mut Vec<Event>) {
        let Some(entry) = self.checkers.get(id) else { return };
        let Some((server, at)) = entry.subscribers.first().copied() else { return };
        if let Some(why) = self.needs_no_path(at) {
            return self.path_is(now, id, Outcome::pass(why), events);
        }
        let later = now + entry.spec.timing.interval;
        for own in self.own_checks(server, at) {
            let Some(check) = self.checkers.get(own) else { continue };
            let is_fresh = check.schedule.passed_at().is_some_and(|at| now.since(at) <= FRESH);
            let is_down = check.schedule.health().is_up() == Some(false);
            if is_fresh && !is_down {
                continue;
            }
            if is_down || check.schedule.last().is_none() {
                // It is put forward again when the own check passes.
                return self.put_path_off(id, later);
            }
            self.paths.behind.entry(own).or_default().insert(id);
            return self.checkers.begin_at(own, now);
        }
        self.paths.enqueue(id);
    }

    /// It comes again then; what it found before bears no witness any more.
    fn put_path_off(&mut self, id: CheckerId, until: Instant) {
        self.paths.good.remove(id);
        self.checkers.begin_at(id, until);
    }

    /// Who waited for a check that may be no more is due again.
    pub(super) fn paths_reloaded(&mut self, now: Instant) {
        let waiting: BTreeSet<CheckerId> =
            std::mem::take(&mut self.paths.behind).into_values().flatten().collect();
        waiting.into_iter().for_each(|id| self.checkers.begin_at(id, now));
        let is_there = |id: &CheckerId| self.checkers.get(*id).is_some();
        self.paths.queue.retain(is_there);
        self.paths.queued.retain(is_there);
        self.paths.good.retain(|id| is_there(&id));
        self.paths.broken.retain(|id, _| is_there(id));
    }

    /// Why the way to a real server need not be checked from here, in the operator's words.
    fn needs_no_path(&self, at: SocketAddr) -> Option<&'static str> {
        if self.placement.is_own(at.ip()) {
            return Some("not checked: it is this host");
        }
        // The kernel balances nothing then, and the probe would go to the active director.
        let is_idle =
            self.config.global.sysctl.get("backup_only").is_some_and(|value| value.0.first() == Some(&1));
        let daemons = self.vrrp_link.sync_daemons(&self.config.global);
        let is_backup = daemons.iter().any(|daemon| daemon.role == SyncRole::Backup);
        (is_idle && is_backup).then_some("not checked: backup_only keeps this standby from forwarding")
    }

    /// A real server's own checks.
    fn own_checks(&self, server: VirtualServerId, at: SocketAddr) -> Vec<CheckerId> {
        self.checks_of(server, at, false)
    }

    fn checks_of(&self, server: VirtualServerId, at: SocketAddr, of_path: bool) -> Vec<CheckerId> {
        let member = self.pools.get(&server).and_then(|pool| pool.members.get(&at));
        let ids = member.into_iter().flat_map(|member| &member.subscriptions).map(|s| s.checker);
        ids.filter(|id| self.checkers.get(*id).is_some_and(|entry| is_path(entry) == of_path)).collect()
    }

    /// A real server's own check ended: who waited for it goes on, and a server that came up is asked about its way.
    pub(super) fn own_check_ended(
        &mut self,
        now: Instant,
        id: CheckerId,
        (verdict, came_up): (Verdict, bool),
        events: &mut Vec<Event>,
    ) {
        if !self.paths.is_used {
            return;
        }
        for path in self.paths.behind.remove(&id).unwrap_or_default() {
            if verdict == Verdict::Pass {
                self.path_is_due(now, path, events);
            } else if let Some(entry) = self.checkers.get(path) {
                let until = now + entry.spec.timing.interval;
                self.put_path_off(path, until);
            }
        }
        if !came_up {
            return;
        }
        let subscribers: Vec<PoolMemberKey> =
            self.checkers.get(id).map(|entry| entry.subscribers.clone()).unwrap_or_default();
        for (server, at) in subscribers {
            for path in self.checks_of(server, at, true) {
                if !self.paths.queued.contains(&path) {
                    self.checkers.begin_at(path, now);
                }
            }
        }
    }

    /// Wants lanes for those who wait, as many as there are and as fast as allowed.
    fn open_lanes(&mut self, now: Instant) {
        while let Some(id) = self.paths.queue.front().copied().filter(|_| self.paths.next_open <= now) {
            let (service, destination, family) = match self.lane_for(now, id) {
                Ok(lane) => lane,
                Err(until) => {
                    self.paths.queue.pop_front();
                    self.paths.queued.remove(&id);
                    until.into_iter().for_each(|until| self.put_path_off(id, until));
                    continue;
                }
            };
            let free = self.paths.lanes.free(family);
            self.paths.is_full = free.is_none();
            let Some(key) = free else { return };
            self.paths.queue.pop_front();
            self.paths.lanes.open(key, id, service, destination);
            self.paths.next_open = now + PACE;
        }
    }

    /// The lane a check needs now; None of them, and when it is to come again, if at all.
    fn lane_for(
        &self,
        now: Instant,
        id: CheckerId,
    ) -> Result<(Service, (SocketAddr, Destination), Family), Option<Instant>> {
        let entry = self.checkers.get(id).ok_or(None)?;
        let (server, at) = entry.subscribers.first().copied().ok_or(None)?;
        let is_well = |own: &CheckerId| {
            self.checkers.get(*own).is_some_and(|check| check.schedule.passed_at().is_some())
        };
        if !self.own_checks(server, at).iter().all(is_well) {
            return Err(Some(now + entry.spec.timing.interval));
        }
        let pool = self.pools.get(&server).ok_or(None)?;
        let real = pool.members.get(&at).map(|member| &member.real_server).ok_or(None)?;
        let destination =
            Destination { forwarding: real.forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 };
        let at = SocketAddr::new(at.ip(), 0);
        Ok((lane_service(&pool.server), (at, destination), server.family()))
    }

    /// Lanes were opened, or not.
    pub(super) fn lanes_opened(
        &mut self,
        now: Instant,
        opened: Vec<Opened>,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        for opened in opened {
            match opened {
                Opened::For(id, key) => {
                    self.paths.queued.remove(&id);
                    if let Err(why) = self.probe_path(now, id, key, effects) {
                        self.paths.lanes.close(key);
                        self.path_is(now, id, Outcome::inconclusive(Phase::Socket, why), events);
                    }
                }
                Opened::Refused(id, why) => {
                    self.paths.queued.remove(&id);
                    let why = format!("its way cannot be opened: {why}");
                    self.path_is(now, id, Outcome::inconclusive(Phase::Socket, why), events);
                }
            }
        }
    }

    fn probe_path(
        &mut self,
        now: Instant,
        id: CheckerId,
        key: ServiceKey,
        effects: &mut Vec<Effect>,
    ) -> Result<(), &'static str> {
        let gone = "the real server is gone";
        let ServiceKey::Fwmark { family, mark } = key else { return Err(gone) };
        let entry = self.checkers.get(id).ok_or(gone)?;
        let Question::Path(question) = &entry.spec.question else { return Err(gone) };
        let real = entry.spec.target.address.ip();
        let to = if Family::of(real) == family { real } else { question.vip.ip() };
        let own = self.placement.on_network().filter(|ip| Family::of(*ip) == family && !self.is_vip(*ip));
        let source = nearest(own, to).ok_or("this host has no address of its own there that is no VIP")?;
        let slot = self.paths.slot(now);
        let (run, spec) = self.checkers.begin(now, id).ok_or(gone)?;
        self.paths.runs.insert(run, (key, now));
        let lane = Some(Lane { mark, source, slot });
        effects.push(Effect::StartProbe { run, spec, lane, sources: None });
        Ok(())
    }

    fn is_vip(&self, ip: IpAddr) -> bool {
        self.paths.vips.contains(&ip) || self.vrrp_link.is_vip(ip)
    }

    /// A check of a way has this outcome without having been made.
    fn path_is(&mut self, now: Instant, id: CheckerId, outcome: Outcome, events: &mut Vec<Event>) {
        if let Some((run, _)) = self.checkers.begin(now, id) {
            self.probe_done(now, run, outcome, events);
        }
    }

    /// What an outcome of a way's check is worth; the way is closed.
    pub(super) fn judge_path(
        &mut self,
        now: Instant,
        id: CheckerId,
        run: RunId,
        outcome: Outcome,
    ) -> Outcome {
        let began = self.paths.runs.get(&run).map(|(_, began)| *began);
        self.paths.forget(run);
        let Some(entry) = self.checkers.get(id) else { return outcome };
        let Some((server, at)) = entry.subscribers.first().copied() else { return outcome };
        let family = server.family();
        if outcome.verdict == Verdict::Pass {
            self.paths.broken.remove(&id);
            if let Some(began) = began {
                self.paths.good.insert(family, id, began);
            }
            return outcome;
        }
        self.paths.good.remove(id);
        if outcome.verdict == Verdict::Inconclusive {
            // This director's inability is no reason to leave a server out.
            let member = self.pools.get_mut(&server).and_then(|pool| pool.members.get_mut(&at));
            let mine = member.into_iter().flat_map(|m| &mut m.subscriptions).filter(|s| s.checker == id);
            mine.for_each(|subscription| subscription.is_optimistic = true);
            self.unsettled.insert(server);
            return outcome;
        }
        let fails = |own: &CheckerId| {
            self.checkers.get(*own).is_some_and(|check| check.schedule.passed_at().is_none())
        };
        if self.own_checks(server, at).iter().any(fails) {
            let why = format!("service down: its own check fails as well; {}", outcome.reason);
            return Outcome::inconclusive(outcome.phase, why).with_errno(outcome.errno);
        }
        let broken = *self.paths.broken.entry(id).or_insert(Broken { since: now, was_hurried: false });
        let serves = self.pools.get(&server).and_then(|pool| pool.members.get(&at)).is_some_and(|m| m.is_up);
        if !serves {
            return outcome;
        }
        let has_witness =
            self.paths.good.latest(family).next().is_some_and(|(began, _)| began > broken.since);
        if !has_witness {
            self.ask_others(now, family);
        }
        let decides = self.checkers.get(id).is_some_and(|entry| entry.schedule.decides(&entry.spec.timing));
        if has_witness || !decides {
            return outcome;
        }
        // Once: where all ways are broken, hurry only adds to the load.
        if !broken.was_hurried {
            self.paths.broken.insert(id, Broken { was_hurried: true, ..broken });
            let pause = self.checkers.get(id).map(|entry| entry.spec.timing.pause_before_retry());
            self.paths.hurried = pause.map(|pause| (id, now + pause));
        }
        let why = format!(
            "nobody answers through a VIP here, so this director or the network is suspected first; {}",
            outcome.reason
        );
        Outcome::inconclusive(outcome.phase, why).with_errno(outcome.errno)
    }

    /// Has the two ways that were last found good looked at again, at once.
    fn ask_others(&mut self, now: Instant, family: Family) {
        let others: Vec<CheckerId> =
            self.paths.good.latest(family).map(|(_, id)| id).take(WITNESSES).collect();
        for id in others.into_iter().filter(|id| !self.paths.queued.contains(id)) {
            self.checkers.begin_at(id, now);
        }
    }

    /// Whether a service in the kernel is a way to a single real server.
    pub fn is_lane(&self, key: ServiceKey) -> bool {
        self.paths.lanes.is_lane(key)
    }

    /// Takes it on trust that all ways are good.
    pub(super) fn trust_paths(&mut self, now: Instant) {
        let unknown = |entry: &Entry| is_path(entry) && entry.schedule.health().is_up().is_none();
        let ids: Vec<CheckerId> =
            self.checkers.iter().filter(|(_, entry)| unknown(entry)).map(|(id, _)| id).collect();
        for id in ids {
            if let Some((run, _)) = self.checkers.begin(now, id) {
                self.handle(
                    now,
                    Input::ProbeDone { run, outcome: Outcome::pass("assumed") },
                    &mut Vec::new(),
                );
            }
        }
    }
}
