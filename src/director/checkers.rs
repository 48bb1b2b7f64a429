//! All checkers of a configuration: one per distinct specification, shared by the real servers that subscribe to it.
//!
//! Owns their schedules and one queue of deadlines. What a verdict means to a subscriber is the pool's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::check::outcome::{Certificate, Outcome, ProbeResult};
use crate::check::schedule::{Health, RunId, Schedule, Turn};
use crate::check::spec::{CheckerSpec, Question, Reporter};
use crate::config::VirtualServerId;
use crate::time::Instant;

/// Identifies a checker as long as it has subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CheckerId(u64);

impl CheckerId {
    /// Before all others.
    pub(crate) const FIRST: CheckerId = CheckerId(0);
    /// After all others.
    pub(crate) const LAST: CheckerId = CheckerId(u64::MAX);
}

/// A real server of a virtual server: the subscriber of checkers.
pub(crate) type PoolMemberKey = (VirtualServerId, SocketAddr);

/// One checker and its subscribers.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it asks, and how often.
    pub spec: Arc<CheckerSpec>,
    /// Its history: health, and the runs so far.
    pub schedule: Schedule,
    /// When it is due.
    pub turn: Turn,
    pub subscribers: Vec<PoolMemberKey>,
    /// A subscriber is reached by DR or TUN, so it has the VIP itself: the check must not leave from a VIP.
    pub is_direct: bool,
    /// The weight that the last run that passed asked for.
    pub weight: Option<u8>,
    /// The server's certificate, as last seen.
    pub certificate: Option<Box<Certificate>>,
    /// Runs that ended; 32 bits are enough for ten runs a second in 13 years, and thousands of these are kept.
    pub runs: u32,
    /// Those of them that failed.
    pub failures: u32,
}

/// A run under way.
#[derive(Clone, Copy, Debug)]
struct Running {
    checker: CheckerId,
    /// When it must have ended.
    limit: Instant,
}

/// What a finished run changed.
pub(crate) struct Finished<'a> {
    pub entry: &'a Entry,
    /// Its health before this run.
    pub before: Health,
    /// The weight it asked for before this run.
    pub weight_before: Option<u8>,
    /// Whether it could not be made before this run.
    pub was_inconclusive: bool,
    /// For how long it could not be made, once that is too long.
    pub became_stale: Option<Duration>,
    /// The server's certificate, if something new is to be said of it.
    pub certificate: Option<Certificate>,
}

#[derive(Debug, Default)]
pub(crate) struct Checkers {
    /// Boxed: a map filled in order has nodes that are half empty.
    entries: BTreeMap<CheckerId, Box<Entry>>,
    running: BTreeMap<RunId, Running>,
    timers: BTreeSet<(Instant, CheckerId)>,
    /// Checkers whose verdict is held for longer than can be believed.
    stale: BTreeSet<CheckerId>,
    /// Checkers whose health is down.
    down: BTreeSet<CheckerId>,
    /// Those that are reported to.
    of_reporters: BTreeMap<Reporter, BTreeSet<CheckerId>>,
    /// What those add to the weight, where that is not 0.
    added_weights: BTreeMap<CheckerId, i64>,
    /// Those that do not run, because this host has none of the VIPs they are for (`ha_suspend`).
    suspended: BTreeSet<CheckerId>,
    /// Those that virtual routers track, with real servers or without.
    tracked: BTreeSet<CheckerId>,
    last_id: u64,
    last_run: RunId,
}

/// Checkers by what they ask: needed, and kept, only while a configuration is put in force.
#[derive(Debug)]
pub(crate) struct BySpec(BTreeMap<Arc<CheckerSpec>, CheckerId>);

impl Checkers {
    /// The specifications of all checkers.
    pub(crate) fn specs(&self) -> impl Iterator<Item = &Arc<CheckerSpec>> {
        self.entries.values().map(|entry| &entry.spec)
    }

    /// The checkers by what they ask.
    pub(crate) fn by_spec(&self) -> BySpec {
        BySpec(self.entries.iter().map(|(id, entry)| (Arc::clone(&entry.spec), *id)).collect())
    }

    /// The checker with this specification, made if there is none, with this turn or one of its own. The caller must
    /// subscribe to it.
    pub(crate) fn find_or_make(
        &mut self,
        by_spec: &mut BySpec,
        spec: &Arc<CheckerSpec>,
        turn: Option<Turn>,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> CheckerId {
        let known = by_spec.0.get(spec).and_then(|id| Some((*id, self.entries.get_mut(id)?)));
        if let Some((id, entry)) = known {
            // The one of the configuration that is put in force, so that its predecessor's need not be kept.
            entry.spec = Arc::clone(spec);
            return id;
        }
        self.last_id += 1;
        let id = CheckerId(self.last_id);
        let spec = Arc::clone(spec);
        let mut schedule = Schedule::new(&spec.timing, rng, now);
        if let Some(reporter) = spec.question.reporter() {
            self.of_reporters.entry(reporter).or_default().insert(id);
            // What is known costs nothing to ask for.
            schedule.wait_until(now);
        }
        self.timers.extend(schedule.deadline().map(|at| (at, id)));
        by_spec.0.insert(Arc::clone(&spec), id);
        self.entries.insert(
            id,
            Box::new(Entry {
                spec,
                schedule,
                turn: turn.unwrap_or(Turn::nth(self.last_id)),
                subscribers: Vec::new(),
                is_direct: false,
                weight: None,
                certificate: None,
                runs: 0,
                failures: 0,
            }),
        );
        id
    }

    /// Adds a subscriber that is not one yet.
    pub(crate) fn subscribe(&mut self, id: CheckerId, subscriber: PoolMemberKey) {
        if let Some(entry) = self.entries.get_mut(&id) {
            // Most have one.
            entry.subscribers.reserve_exact(usize::from(entry.subscribers.is_empty()));
            entry.subscribers.push(subscriber);
        }
    }

    /// Ends subscriptions. The last one takes the checker along; runs under way are returned for cancelling.
    pub(crate) fn unsubscribe(
        &mut self,
        ended: impl IntoIterator<Item = (CheckerId, PoolMemberKey)>,
    ) -> Vec<RunId> {
        // Thousands of virtual servers may share one: it is gone through once for all of them.
        let mut of: BTreeMap<CheckerId, BTreeSet<PoolMemberKey>> = BTreeMap::new();
        for (id, subscriber) in ended {
            of.entry(id).or_default().insert(subscriber);
        }
        let mut runs = Vec::new();
        for (id, ended) in of {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.subscribers.retain(|s| !ended.contains(s));
            if entry.subscribers.is_empty() && !self.tracked.contains(&id) {
                runs.extend(self.remove(id));
            }
        }
        runs
    }

    /// A virtual router tracks a checker: it stays without real servers, too.
    pub(crate) fn track(&mut self, id: CheckerId) {
        self.tracked.insert(id);
    }

    /// Virtual routers track these only. A checker without a subscriber goes; runs under way are returned for cancelling.
    pub(crate) fn track_only(&mut self, tracked: BTreeSet<CheckerId>) -> Vec<RunId> {
        let before = std::mem::replace(&mut self.tracked, tracked);
        let ended = before.into_iter().filter(|id| {
            !self.tracked.contains(id) && self.get(*id).is_some_and(|entry| entry.subscribers.is_empty())
        });
        let ended: Vec<CheckerId> = ended.collect();
        ended.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Whether a virtual router tracks a checker.
    pub(crate) fn is_tracked(&self, id: CheckerId) -> bool {
        self.tracked.contains(&id)
    }

    fn remove(&mut self, id: CheckerId) -> Option<RunId> {
        let entry = self.entries.remove(&id)?;
        self.stale.remove(&id);
        self.down.remove(&id);
        self.tracked.remove(&id);
        self.added_weights.remove(&id);
        self.suspended.remove(&id);
        if let Some(reporter) = entry.spec.question.reporter()
            && let Some(all) = self.of_reporters.get_mut(&reporter)
        {
            all.remove(&id);
            if all.is_empty() {
                self.of_reporters.remove(&reporter);
            }
        }
        if let Some(at) = entry.schedule.deadline() {
            self.timers.remove(&(at, id));
        }
        let run = entry.schedule.running()?;
        self.running.remove(&run);
        Some(run)
    }

    /// Ends everything; the runs under way are returned for cancelling.
    pub(crate) fn clear(&mut self) -> Vec<RunId> {
        let runs = self.running.keys().copied().collect();
        *self = Checkers { last_id: self.last_id, last_run: self.last_run, ..Checkers::default() };
        runs
    }

    /// Records what is known of a checker from before.
    pub(crate) fn know_down(&mut self, id: CheckerId, now: Instant, last: Outcome) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.schedule.know_down(now, last);
            self.down.insert(id);
        }
    }

    /// A checker counts as down until it has passed often enough, unless a real server has it as well.
    pub(crate) fn begin_down(&mut self, id: CheckerId) {
        if let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.subscribers.is_empty()) {
            entry.schedule.begin_down();
            self.down.insert(id);
        }
    }

    /// Records that a checker's predecessor said up.
    pub(crate) fn know_up(&mut self, id: CheckerId, now: Instant, last: Outcome) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.schedule.know_up(now, last);
            self.down.remove(&id);
        }
    }

    /// The next checker whose run is due, if any: it is the caller's to begin, or to put off.
    pub(crate) fn due(&mut self, now: Instant) -> Option<CheckerId> {
        let (at, _) = self.timers.first()?;
        if *at > now {
            return None;
        }
        self.timers.pop_first().map(|(_, id)| id)
    }

    /// Begins a run of a checker.
    pub(crate) fn begin(&mut self, now: Instant, id: CheckerId) -> Option<(RunId, Arc<CheckerSpec>)> {
        let entry = self.entries.get_mut(&id).filter(|entry| entry.schedule.running().is_none())?;
        if let Some(at) = entry.schedule.deadline() {
            self.timers.remove(&(at, id));
        }
        self.last_run += 1;
        entry.schedule.begin(self.last_run);
        let limit = now + entry.spec.longest_run();
        self.running.insert(self.last_run, Running { checker: id, limit });
        Some((self.last_run, Arc::clone(&entry.spec)))
    }

    /// Suspends those of the checkers all of whose virtual servers are suspended, and has the others go on at once: what
    /// they knew stands. The runs to cancel are returned. A path check under way ends by itself.
    pub(crate) fn suspend(
        &mut self,
        now: Instant,
        ids: &BTreeSet<CheckerId>,
        is_suspended: impl Fn(VirtualServerId) -> bool,
    ) -> Vec<RunId> {
        let mut cancelled = Vec::new();
        for id in ids {
            let Some(entry) = self.entries.get_mut(id) else { continue };
            let is_tracked = self.tracked.contains(id);
            let is_wanted = is_tracked || entry.subscribers.iter().any(|(server, _)| !is_suspended(*server));
            if is_wanted {
                if self.suspended.remove(id) {
                    self.begin_at(*id, now);
                }
                continue;
            }
            if !self.suspended.insert(*id) {
                continue;
            }
            self.stale.remove(id);
            if let Some(at) = entry.schedule.deadline() {
                self.timers.remove(&(at, *id));
            }
            let run = entry.schedule.running().filter(|_| !matches!(entry.spec.question, Question::Path(_)));
            if let Some(run) = run {
                entry.schedule.cancel(now);
                self.running.remove(&run);
                cancelled.push(run);
            }
        }
        cancelled
    }

    /// Whether a checker does not run, because this host has none of the VIPs it is for.
    pub(crate) fn is_suspended(&self, id: CheckerId) -> bool {
        self.suspended.contains(&id)
    }

    /// Has the next run of a checker begin at `at`, unless one is under way or it is suspended.
    pub(crate) fn begin_at(&mut self, id: CheckerId, at: Instant) {
        if self.suspended.contains(&id) {
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some(before) = entry.schedule.deadline() {
            self.timers.remove(&(before, id));
            entry.schedule.wait_until(at);
            self.timers.insert((at, id));
        }
    }

    /// The checks that follow this one, which reported, run now.
    pub(crate) fn begin_checks_of(&mut self, reporter: &Reporter, now: Instant) {
        let all: Vec<CheckerId> = self.of_reporters.get(reporter).into_iter().flatten().copied().collect();
        all.into_iter().for_each(|id| self.begin_at(id, now));
    }

    /// Has a checker add so much to the weight; returns whether that is new.
    pub(crate) fn add_weight(&mut self, id: CheckerId, added: i64) -> bool {
        let before =
            if added == 0 { self.added_weights.remove(&id) } else { self.added_weights.insert(id, added) };
        before.unwrap_or_default() != added
    }

    /// What a checker adds to the weight.
    pub(crate) fn added_weight(&self, id: CheckerId) -> i64 {
        self.added_weights.get(&id).copied().unwrap_or_default()
    }

    /// Takes the outcome of a run; None when the run was cancelled.
    pub(crate) fn finish(&mut self, now: Instant, run: RunId, outcome: Outcome) -> Option<Finished<'_>> {
        let id = self.running.remove(&run)?.checker;
        let entry = self.entries.get_mut(&id)?;
        let (before, weight_before) = (entry.schedule.health(), entry.weight);
        if outcome.result == ProbeResult::Pass {
            entry.weight = outcome.weight;
        }
        let was_inconclusive = entry.schedule.inconclusive_since().is_some();
        let seen = outcome.certificate.clone();
        let has_failed = outcome.result == ProbeResult::Fail;
        if !entry.schedule.finish(&entry.spec.timing, entry.turn, now, run, outcome) {
            return None;
        }
        if entry.schedule.health().is_up() == Some(false) {
            self.down.insert(id);
        } else {
            self.down.remove(&id);
        }
        // Why a path has no verdict may be that the own check fails, which says enough.
        let is_path = matches!(entry.spec.question, Question::Path(_));
        let is_stale = !is_path && entry.schedule.is_stale(&entry.spec.timing, now);
        let is_news = if is_stale { self.stale.insert(id) } else { self.stale.remove(&id) };
        let inconclusive_since = entry.schedule.inconclusive_since().filter(|_| is_news && is_stale);
        let became_stale = inconclusive_since.map(|since| now.since(since));
        entry.runs = entry.runs.saturating_add(1);
        entry.failures = entry.failures.saturating_add(u32::from(has_failed));
        let said = entry.certificate.as_ref().map(|c| c.time()).unwrap_or_default();
        let certificate = seen.as_deref().filter(|seen| seen.time() != said).copied();
        entry.certificate = seen.or(entry.certificate.take());
        if !self.suspended.contains(&id) {
            self.timers.extend(entry.schedule.deadline().map(|at| (at, id)));
        }
        Some(Finished { entry, before, weight_before, was_inconclusive, became_stale, certificate })
    }

    /// The checker of a run under way.
    pub(crate) fn of_run(&self, run: RunId) -> Option<&Entry> {
        self.id_of_run(run).and_then(|id| self.get(id))
    }

    /// Which checker a run under way is of.
    pub(crate) fn id_of_run(&self, run: RunId) -> Option<CheckerId> {
        self.running.get(&run).map(|running| running.checker)
    }

    /// Whether a checker's verdict is held for longer than can be believed.
    pub(crate) fn is_stale(&self, id: CheckerId) -> bool {
        self.stale.contains(&id)
    }

    /// Checkers whose health is down.
    pub(crate) fn down(&self) -> impl Iterator<Item = &Entry> {
        self.down.iter().filter_map(|id| self.get(*id))
    }

    /// Sets which checkers must not leave from a VIP: those with a subscriber for which this holds.
    pub(crate) fn mark_direct(&mut self, is_direct: impl Fn(&PoolMemberKey) -> bool) {
        for entry in self.entries.values_mut() {
            entry.is_direct = entry.subscribers.iter().any(&is_direct);
        }
    }

    /// How many checkers are stale.
    pub(crate) fn stale(&self) -> usize {
        self.stale.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (CheckerId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry.as_ref()))
    }

    /// A checker by its id.
    pub(crate) fn get(&self, id: CheckerId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    /// When the next run is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How late the latest checker is: a run that should have begun, or one that should have ended.
    pub(crate) fn overdue(&self, now: Instant) -> Duration {
        let beginning = self.timers.first().map(|(at, _)| now.since(*at));
        let ending = self.running.values().map(|r| now.since(r.limit)).max();
        beginning.max(ending).unwrap_or_default()
    }

    /// How many distinct checkers there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::outcome::Phase;
    use crate::check::spec::{Target, Timing};
    use crate::ipvs::types::Protocol;

    #[test]
    fn a_run_that_begins_late_or_does_not_end_is_overdue() {
        let mut checkers = Checkers::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut by_spec = checkers.by_spec();
        let id = checkers.find_or_make(&mut by_spec, &Arc::new(spec()), None, &mut rng, at(0));
        checkers.subscribe(id, subscriber());
        assert_eq!(checkers.overdue(at(0)), Duration::ZERO);
        assert_eq!(checkers.overdue(at(7)), Duration::from_secs(7), "warmup 0: due at once");
        assert_eq!(checkers.due(at(7)), Some(id));
        let (run, _) = checkers.begin(at(7), id).unwrap();
        assert_eq!(checkers.overdue(at(13)), Duration::ZERO, "twice connect_timeout is its right");
        assert_eq!(checkers.overdue(at(15)), Duration::from_secs(2));
        assert!(checkers.finish(at(15), run, failure()).is_some());
        assert_eq!(checkers.overdue(at(15)), Duration::ZERO);
        let entry = checkers.get(id).unwrap();
        assert_eq!((entry.runs, entry.failures), (1, 1));
    }

    fn spec() -> CheckerSpec {
        let target = Target {
            address: SocketAddr::from(([10, 1, 0, 1], 80)),
            source: None,
            connect_timeout: Duration::from_secs(3),
        };
        let timing = Timing {
            interval: Duration::from_secs(6),
            retry: 1,
            delay_before_retry: Duration::from_secs(1),
            confirm: None,
            rise: 1,
            warmup: Some(Duration::ZERO),
        };
        CheckerSpec { target, question: Question::Tcp, timing: Arc::new(timing), log_all_failures: false }
    }

    fn subscriber() -> PoolMemberKey {
        let id =
            VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port: 80 };
        (id, SocketAddr::from(([10, 1, 0, 1], 80)))
    }

    fn failure() -> Outcome {
        Outcome::fail(Phase::Connect, "connection refused")
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(1000 + seconds)
    }
}
