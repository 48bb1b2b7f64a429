//! Keeps the kernel's table equal to the desired one: what to read next, what to write next, what went wrong.
//!
//! Level-triggered and bounded: one request is under way at a time, applies go before reads, reads come in
//! slices, so a dead server's removal never waits for a sweep. After any failure the actual state of what failed
//! is forgotten and read again; an operation the kernel refuses is held back for a growing pause while the rest
//! of its service goes on. IPVS announces no changes, hence the slow sweep. While there is nothing of IPVS, neither
//! wanted nor left over, it asks the kernel nothing: a host of virtual routers alone need not have it. The desired
//! table comes from the director, which calls it.

mod actual;
pub(crate) mod drift;
pub(crate) mod op_error;
pub(crate) mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::marks::Marks;
use super::timers::Timers;
use crate::ipvs::backend::{Error, Op, Refusal, Scope, Snapshot};
use crate::ipvs::plan::plan;
use crate::ipvs::types::{DesiredService, ServiceEntry, ServiceKey};
use crate::time::Instant;
use actual::{difference, record};
use drift::DriftLog;
use op_error::{back_off, explain, is_surprise};
use settings::SettingsKeeper;

/// From the end of one sweep to the beginning of the next.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// Services whose destinations one read fetches.
const SLICE: usize = 32;
/// Operations after which a request takes no further service.
const BATCH: usize = 512;
/// How often a service with leaving destinations is read.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// What the actuator should do with the kernel; one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read.
    Snapshot(Scope),
    /// Write.
    Apply(Vec<Op>),
}

/// Why a service must be read before it is planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// Never seen by us: reading it adopts it.
    New,
    /// Seen, but the kernel's state is in doubt after a failure.
    Doubtful,
}

/// A service the kernel refused a part of.
#[derive(Debug)]
pub(crate) struct FailingService {
    /// The kernel's reason, in words.
    pub reason: String,
    failures: u32,
    retry_at: Instant,
    withheld: Vec<Op>,
    is_reported: bool,
}

#[derive(Debug)]
enum Sweep {
    Waiting { until: Instant },
    Reading { rest: Vec<ServiceKey> },
}

/// A pause after the kernel failed to answer.
#[derive(Debug, Default)]
struct Pause {
    failures: u32,
    until: Instant,
    trouble: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Reconciler {
    desired: BTreeMap<ServiceKey, Arc<DesiredService>>,
    actual: BTreeMap<ServiceKey, ServiceEntry>,
    owned: BTreeSet<ServiceKey>,
    foreign: BTreeSet<ServiceKey>,
    /// Services of these are overlooked: they are not virtual servers'.
    ignored: Marks,
    /// To be planned; none of them is unread.
    dirty: BTreeSet<ServiceKey>,
    /// To be read before they are planned: thousands, when a table is adopted.
    unread: BTreeMap<ServiceKey, Unread>,
    watched: Timers<ServiceKey>,
    failing: BTreeMap<ServiceKey, FailingService>,
    /// When what is held back of them is tried again.
    retries: Timers<ServiceKey>,
    /// Services of the operations under way.
    asked: BTreeSet<ServiceKey>,
    /// Services of which something became known or wanted, since last asked.
    touched: BTreeSet<ServiceKey>,
    settings: SettingsKeeper,
    sweep: Sweep,
    /// When the keys that the sweep began with were asked for.
    sweep_began: Instant,
    /// Everything was read since then, in one sweep.
    read_at: Option<Instant>,
    /// Somebody wants to know how it is now: the next sweep follows at once.
    is_read_requested: bool,
    pause: Pause,
    in_flight: Option<Request>,
    knows_keys: bool,
    flush: bool,
    drift_log: DriftLog,
    errors: u64,
    sampled: BTreeMap<ServiceKey, Instant>,
    owned_changed: bool,
    /// Services looked at by [`Reconciler::next_ops`], ever.
    #[cfg(test)]
    pub looked_at: usize,
}

impl Reconciler {
    /// Begins knowing only what a predecessor owned; `flush` deletes foreign services found at the start.
    pub(crate) fn new(owned: BTreeSet<ServiceKey>, settings: SettingsKeeper, flush: bool) -> Reconciler {
        Reconciler {
            desired: BTreeMap::new(),
            actual: BTreeMap::new(),
            owned,
            foreign: BTreeSet::new(),
            ignored: Marks::default(),
            dirty: BTreeSet::new(),
            unread: BTreeMap::new(),
            watched: Timers::default(),
            failing: BTreeMap::new(),
            retries: Timers::default(),
            asked: BTreeSet::new(),
            touched: BTreeSet::new(),
            settings,
            sweep: Sweep::Waiting { until: Instant::ZERO },
            sweep_began: Instant::ZERO,
            read_at: None,
            is_read_requested: false,
            pause: Pause::default(),
            in_flight: None,
            knows_keys: false,
            flush,
            drift_log: DriftLog::default(),
            errors: 0,
            sampled: BTreeMap::new(),
            owned_changed: true,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Has a service planned, once it is read.
    fn plan_anew(&mut self, key: ServiceKey) {
        if !self.unread.contains_key(&key) {
            self.dirty.insert(key);
        }
        self.touched.insert(key);
    }

    /// Has a service read, and then planned.
    fn read_first(&mut self, key: ServiceKey, why: Unread) {
        self.unread.entry(key).or_insert(why);
        self.dirty.remove(&key);
        self.touched.insert(key);
    }

    /// Has a service looked at again by who asks what was touched.
    pub(crate) fn touch(&mut self, key: ServiceKey) {
        self.touched.insert(key);
    }

    /// Services of which something became known or wanted, since last asked.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    /// Overlooks ways to single real servers.
    pub(crate) fn ignore(&mut self, marks: Marks) {
        self.ignored = marks;
    }

    /// Wants a service to be exactly this.
    pub(crate) fn set_desired(&mut self, key: ServiceKey, service: &Arc<DesiredService>) {
        if self.desired.get(&key) == Some(service) {
            return;
        }
        self.owned_changed |= self.owned.insert(key);
        self.desired.insert(key, Arc::clone(service));
        // A foreign service that becomes desired has never been read: read it, then take it over.
        if self.foreign.remove(&key) {
            self.read_first(key, Unread::New);
        }
        self.plan_anew(key);
    }

    /// Takes a service over that may be in the kernel, to be read before anything is done about it.
    pub(crate) fn adopt(&mut self, key: ServiceKey) {
        self.owned_changed |= self.owned.insert(key);
        if self.foreign.remove(&key) {
            self.read_first(key, Unread::New);
        }
        self.plan_anew(key);
    }

    /// Wants a service gone.
    pub(crate) fn remove_desired(&mut self, key: ServiceKey) {
        self.desired.remove(&key);
        self.watched.set(key, None);
        self.drift_log.forget(&key);
        self.plan_anew(key);
    }

    /// Wants nothing any more: all that is owned goes, settings go back to what they were.
    pub(crate) fn remove_all_desired(&mut self) {
        self.plan_owned_anew();
        self.desired.clear();
        self.watched.clear();
        self.drift_log.forget_all();
        self.settings.release();
    }

    fn plan_owned_anew(&mut self) {
        let owned: Vec<_> = self.owned.iter().copied().collect();
        owned.into_iter().for_each(|key| self.plan_anew(key));
    }

    /// Reads the connection counts of a service every second, or no longer.
    pub(crate) fn watch(&mut self, key: ServiceKey, is_wanted: bool, now: Instant) {
        let next = || self.watched.at(&key).unwrap_or(now + WATCH_INTERVAL);
        let next = is_wanted.then(next);
        self.watched.set(key, next);
    }

    /// Whether anything of IPVS is wanted, or is still ours.
    pub(crate) fn is_needed(&self) -> bool {
        !self.desired.is_empty() || !self.owned.is_empty() || self.settings.is_needed()
    }

    /// Reads the whole table as soon as it can be; what is being read may be older than this wish.
    pub(crate) fn read_now(&mut self) {
        match &mut self.sweep {
            Sweep::Waiting { until } => *until = Instant::ZERO,
            Sweep::Reading { .. } => self.is_read_requested = true,
        }
    }

    /// Since when everything has been read; None as long as it has not been.
    pub(crate) fn read_at(&self) -> Option<Instant> {
        self.read_at
    }

    /// Forgets what was read: when IPVS is needed again, the table may be any other.
    fn rest(&mut self, events: &mut Vec<Event>) {
        self.on_answer(events);
        self.knows_keys = false;
        self.sweep = Sweep::Waiting { until: Instant::ZERO };
        self.read_at = None;
        self.actual.clear();
        self.foreign.clear();
        self.dirty.clear();
        self.unread.clear();
        self.watched.clear();
        self.drift_log.forget_all();
        self.failing.clear();
        self.retries.clear();
        self.sampled.clear();
    }

    /// The next request, if one is due and none is under way.
    pub(crate) fn request(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Request> {
        if self.in_flight.is_some() {
            return None;
        }
        if !self.is_needed() {
            self.rest(events);
            return None;
        }
        if now < self.pause.until {
            return None;
        }
        let request = if self.knows_keys { self.next_request(now, events) } else { Some(keys()) };
        match &request {
            Some(Request::Apply(ops)) => {
                self.asked = ops.iter().filter_map(Op::service).copied().collect();
                self.touched.extend(self.asked.iter().copied());
            }
            Some(Request::Snapshot(Scope::Keys)) => self.sweep_began = now,
            _ => {}
        }
        self.in_flight.clone_from(&request);
        request
    }

    /// The order of work: 1. writes, 2. services in doubt, 3. settings, 4. services that others have just changed, leaving
    /// destinations, 5. the sweep.
    fn next_request(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Request> {
        self.release_withheld(now);
        let ops = self.next_ops(events);
        if !ops.is_empty() {
            return Some(Request::Apply(ops));
        }
        if !self.unread.is_empty() {
            return Some(entries(self.unread.keys().take(SLICE).copied().collect()));
        }
        if let Some(request) = self.settings.request(now) {
            return Some(request);
        }
        let watched: Vec<_> = self.watched.due(now).take(SLICE).collect();
        let rechecks = self.drift_log.due(now);
        if !rechecks.is_empty() {
            return Some(entries(rechecks));
        }
        if !watched.is_empty() {
            return Some(entries(watched));
        }
        match &mut self.sweep {
            Sweep::Waiting { until } if now < *until => None,
            Sweep::Waiting { .. } => Some(keys()),
            Sweep::Reading { rest } if rest.is_empty() => {
                self.read_at = Some(self.sweep_began);
                let is_read_requested = std::mem::take(&mut self.is_read_requested);
                let pause = if is_read_requested { Duration::ZERO } else { SWEEP_INTERVAL };
                self.sweep = Sweep::Waiting { until: now + pause };
                is_read_requested.then(keys)
            }
            Sweep::Reading { rest } => Some(entries(rest.drain(..rest.len().min(SLICE)).collect())),
        }
    }

    /// Lets operations whose pause is over be tried again.
    fn release_withheld(&mut self, now: Instant) {
        for key in self.retries.due(now).collect::<Vec<_>>() {
            self.retries.set(key, None);
            if let Some(trouble) = self.failing.get_mut(&key) {
                trouble.withheld.clear();
                self.plan_anew(key);
            }
        }
    }

    /// Plans dirty services until a request is full. A dirty service that needs nothing is clean.
    fn next_ops(&mut self, events: &mut Vec<Event>) -> Vec<Op> {
        let mut chosen = Vec::new();
        let mut size = 0;
        for key in &self.dirty {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let room = self.desired.get(key).map_or(1, |d| 1 + d.destinations.len());
            if size > 0 && size + room > BATCH {
                break;
            }
            size += room;
            chosen.push(*key);
        }
        let mut ops = plan(&chosen, &self.desired, &self.actual, &self.owned);
        ops.retain(|op| !self.is_withheld(op));
        for key in chosen {
            self.dirty.remove(&key);
            self.touched.insert(key);
            if !ops.iter().any(|op| op.service() == Some(&key)) {
                self.conclude(key, events);
            }
        }
        ops
    }

    fn is_withheld(&self, op: &Op) -> bool {
        let trouble = op.service().and_then(|key| self.failing.get(key));
        trouble.is_some_and(|t| {
            t.withheld.contains(op) || t.withheld.iter().any(|held| self.is_service_still_wanted(held))
        })
    }

    /// Whether a refused operation would add the very service that is wanted: nothing of it can be done before.
    fn is_service_still_wanted(&self, held: &Op) -> bool {
        let Op::AddService(key, service) = held else { return false };
        self.desired.get(key).is_some_and(|wanted| wanted.service == *service)
    }

    /// A service needs no more work: over with its trouble, unless something is still held back.
    fn conclude(&mut self, key: ServiceKey, events: &mut Vec<Event>) {
        if self.failing.get(&key).is_some_and(|t| t.withheld.is_empty())
            && let Some(trouble) = self.failing.remove(&key)
            && trouble.is_reported
        {
            events.push(Event::Restored { service: key });
        }
        self.touched.insert(key);
        let is_gone = !self.actual.contains_key(&key) && !self.desired.contains_key(&key);
        if is_gone {
            self.sampled.remove(&key);
        }
        if is_gone && self.owned.remove(&key) {
            self.owned_changed = true;
            self.failing.remove(&key);
            self.retries.set(key, None);
        }
    }

    /// Takes what was read; returns the services seen for the first time, and those read again.
    pub(crate) fn on_snapshot(
        &mut self,
        now: Instant,
        result: Result<Snapshot, Error>,
        events: &mut Vec<Event>,
    ) -> Readings {
        let flight = self.in_flight.take();
        let Some(Request::Snapshot(scope)) = flight else { return Readings::default() };
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.on_no_answer(now, &error, events);
                if let Scope::Entries(keys) = &scope {
                    self.doubt(keys.iter().copied());
                }
                return Readings::default();
            }
        };
        self.on_answer(events);
        match (scope, snapshot) {
            (Scope::Keys, Snapshot::Keys(keys)) => {
                let (probe_services, present) =
                    keys.into_iter().partition(|key| self.ignored.is_probe_service(*key));
                self.on_keys(now, present, events);
                Readings { probe_services: Some(probe_services), ..Readings::default() }
            }
            (Scope::Entries(asked), Snapshot::Entries(found)) => self.on_entries(now, &asked, found, events),
            (Scope::Settings, Snapshot::Settings(settings)) => {
                self.settings.on_read(now, settings);
                Readings::default()
            }
            (_, _) => Readings::default(),
        }
    }

    fn on_keys(&mut self, now: Instant, present: BTreeSet<ServiceKey>, events: &mut Vec<Event>) {
        let is_first = !std::mem::replace(&mut self.knows_keys, true);
        if is_first && std::mem::take(&mut self.flush) {
            self.owned.extend(present.iter().copied());
            self.owned_changed = true;
        }
        if is_first {
            self.plan_owned_anew();
            self.touched.extend(self.desired.keys().copied());
        }
        self.on_vanished(now, &present, events);
        for key in &present {
            if self.owned.contains(key) && !self.actual.contains_key(key) {
                self.read_first(*key, Unread::New);
            }
        }
        let foreign: BTreeSet<_> = present.difference(&self.owned).copied().collect();
        for key in foreign.symmetric_difference(&self.foreign) {
            events.push(Event::Foreign { service: *key, is_present: foreign.contains(key) });
        }
        self.foreign = foreign;
        let rest = self.actual.keys().filter(|k| present.contains(k)).copied().collect();
        self.sweep = Sweep::Reading { rest };
    }

    /// Services of ours that the kernel no longer has.
    fn on_vanished(&mut self, now: Instant, present: &BTreeSet<ServiceKey>, events: &mut Vec<Event>) {
        let vanished: Vec<_> = self.actual.keys().filter(|k| !present.contains(k)).copied().collect();
        for key in vanished {
            self.actual.remove(&key);
            self.unread.remove(&key);
            self.plan_anew(key);
            if self.desired.contains_key(&key) {
                self.drift_log.drift(now, key, "the service was deleted".to_owned(), events);
            }
        }
        let absent: Vec<_> = self.unread.keys().filter(|k| !present.contains(k)).copied().collect();
        for key in absent {
            self.unread.remove(&key);
            self.plan_anew(key);
        }
    }

    fn on_entries(
        &mut self,
        now: Instant,
        asked: &[ServiceKey],
        mut found: BTreeMap<ServiceKey, Option<ServiceEntry>>,
        events: &mut Vec<Event>,
    ) -> Readings {
        let mut readings = Readings::default();
        for key in asked {
            let entry = found.remove(key).flatten();
            let unread = self.unread.remove(key);
            if self.watched.at(key).is_some() {
                self.watched.set(*key, Some(now + WATCH_INTERVAL));
            }
            let known = self.actual.remove(key);
            self.drift_log.was_read(key, now);
            if let Some(entry) = entry {
                let is_new = unread == Some(Unread::New) && self.desired.contains_key(key);
                if is_new {
                    let destinations = entry.destinations.len();
                    self.drift_log.count_adopted(*key, destinations, events);
                    readings.adopted.push(*key);
                }
                readings.read.push(*key);
                self.sampled.insert(*key, now);
                self.report_drift(now, *key, known.as_ref(), Some(&entry), events);
                self.actual.insert(*key, entry);
            } else {
                self.sampled.remove(key);
                self.report_drift(now, *key, known.as_ref(), None, events);
                readings.read.push(*key);
            }
            self.plan_anew(*key);
        }
        readings
    }

    fn report_drift(
        &mut self,
        now: Instant,
        key: ServiceKey,
        known: Option<&ServiceEntry>,
        found: Option<&ServiceEntry>,
        events: &mut Vec<Event>,
    ) {
        let Some(known) = known else { return };
        if !self.desired.contains_key(&key) {
            return;
        }
        if let Some(what) = difference(known, found) {
            self.drift_log.drift(now, key, what, events);
        }
    }

    /// Takes the kernel's answer to an apply.
    pub(crate) fn on_applied(
        &mut self,
        now: Instant,
        result: Result<Vec<Refusal>, Error>,
        events: &mut Vec<Event>,
    ) {
        let Some(Request::Apply(ops)) = self.in_flight.take() else { return };
        self.touched.append(&mut self.asked);
        let refusals = match result {
            Ok(refusals) => refusals,
            Err(error) => {
                self.on_no_answer(now, &error, events);
                // Which of them took effect is unknown: what they were about is read again.
                self.forget_actual(&ops);
                self.settings.doubt();
                return;
            }
        };
        self.on_answer(events);
        let refused: BTreeMap<usize, Refusal> = refusals.into_iter().map(|r| (r.index, r)).collect();
        let touched: BTreeSet<ServiceKey> = ops.iter().filter_map(|op| op.service().copied()).collect();
        let mut failed: BTreeMap<ServiceKey, Vec<(Op, Refusal)>> = BTreeMap::new();
        for (index, op) in ops.into_iter().enumerate() {
            match (refused.get(&index), op.service().copied()) {
                (None, Some(_)) => record(&mut self.actual, op),
                (Some(refusal), Some(key)) => failed.entry(key).or_default().push((op, refusal.clone())),
                (refusal, None) => {
                    self.errors += u64::from(refusal.is_some());
                    self.settings.on_applied(now, &op, refusal, events);
                }
            }
        }
        for key in touched {
            match failed.remove(&key) {
                Some(failures) => self.on_refused(now, key, failures, events),
                None => self.settled_after_apply(key, events),
            }
        }
    }

    fn settled_after_apply(&mut self, key: ServiceKey, events: &mut Vec<Event>) {
        if !self.dirty.contains(&key) && !self.unread.contains_key(&key) {
            self.conclude(key, events);
        }
    }

    /// Holds refused operations back, and reads the service again.
    fn on_refused(
        &mut self,
        now: Instant,
        key: ServiceKey,
        failures: Vec<(Op, Refusal)>,
        events: &mut Vec<Event>,
    ) {
        self.errors += u64::try_from(failures.len()).unwrap_or(0);
        let reason = failures.first().map(|(op, r)| explain(op, r)).unwrap_or_default();
        // A table that is not as we thought is no trouble: reading it again settles that, the first time.
        let is_surprise = failures.iter().all(|(op, r)| is_surprise(op, r.errno));
        let trouble = self.failing.entry(key).or_insert(FailingService {
            reason: String::new(),
            failures: 0,
            retry_at: now,
            withheld: Vec::new(),
            is_reported: false,
        });
        trouble.failures += 1;
        // What is held already keeps its turn: two refusals must not free one another for ever.
        if trouble.withheld.is_empty() {
            trouble.retry_at = now + back_off(trouble.failures);
        }
        if !is_surprise || trouble.failures > 2 {
            // Without the service nothing else of it can work: only that it is missing needs to wait.
            let is_missing = failures.iter().any(|(op, _)| matches!(op, Op::AddService(..)));
            let causes = failures.into_iter().map(|(op, _)| op);
            trouble.withheld.extend(causes.filter(|op| !is_missing || matches!(op, Op::AddService(..))));
            if !trouble.is_reported || trouble.reason != reason {
                events.push(Event::Degraded { service: key, reason: reason.clone() });
                trouble.is_reported = true;
            }
        }
        trouble.reason = reason;
        let retry_at = Some(trouble.retry_at).filter(|_| !trouble.withheld.is_empty());
        self.retries.set(key, retry_at);
        self.doubt([key]);
    }

    fn forget_actual(&mut self, ops: &[Op]) {
        let keys: BTreeSet<ServiceKey> = ops.iter().filter_map(|op| op.service().copied()).collect();
        // Half-done work of our own must not be reported as a stranger's.
        for key in &keys {
            self.actual.remove(key);
        }
        self.doubt(keys);
    }

    fn doubt(&mut self, keys: impl IntoIterator<Item = ServiceKey>) {
        for key in keys {
            self.read_first(key, Unread::Doubtful);
        }
    }

    fn on_no_answer(&mut self, now: Instant, error: &Error, events: &mut Vec<Event>) {
        self.errors += 1;
        self.pause.failures += 1;
        self.pause.until = now + back_off(self.pause.failures);
        let trouble = error.to_string();
        if self.pause.trouble.as_ref() != Some(&trouble) {
            events.push(Event::Kernel { trouble: Some(trouble.clone()) });
            self.pause.trouble = Some(trouble);
        }
    }

    fn on_answer(&mut self, events: &mut Vec<Event>) {
        if self.pause.trouble.is_some() {
            events.push(Event::Kernel { trouble: None });
        }
        self.pause = Pause::default();
    }

    /// When there is something to do that no answer announces.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.in_flight.is_some() || !self.is_needed() {
            return None;
        }
        let has_work = !self.knows_keys
            || !self.unread.is_empty()
            || !self.dirty.is_empty()
            || matches!(self.sweep, Sweep::Reading { .. });
        let now = has_work.then_some(Instant::ZERO);
        let sweep = match self.sweep {
            Sweep::Waiting { until } => Some(until),
            Sweep::Reading { .. } => None,
        };
        let rechecks = self.drift_log.deadline();
        let first =
            [now, sweep, rechecks, self.retries.first(), self.watched.first(), self.settings.deadline()]
                .into_iter()
                .flatten()
                .min();
        first.map(|at| at.max(self.pause.until))
    }

    /// Whether the kernel's services are known.
    pub(crate) fn has_read(&self) -> bool {
        self.knows_keys
    }

    /// Whether something of the table is to be written.
    pub(crate) fn has_writes(&self) -> bool {
        !(self.dirty.is_empty() && self.unread.is_empty()) && self.is_needed()
    }

    /// Whether nothing is left to do or to find out, beyond what the kernel refuses.
    pub(crate) fn is_converged(&self) -> bool {
        if !self.is_needed() {
            return self.in_flight.is_none();
        }
        self.knows_keys
            && self.in_flight.is_none()
            && self.unread.is_empty()
            && self.dirty.is_empty()
            && self.settings.is_converged()
    }

    /// Whether nothing is left to change: as [`Reconciler::is_converged`], but a sweep that looks again is no doubt.
    pub(crate) fn is_settled(&self) -> bool {
        if !self.is_needed() {
            return true;
        }
        self.knows_keys
            && !matches!(self.in_flight, Some(Request::Apply(_)))
            && self.unread.is_empty()
            && self.dirty.is_empty()
            && self.settings.is_converged()
    }

    /// Whether everything that was ours is gone.
    pub(crate) fn is_released(&self) -> bool {
        self.is_converged() && self.owned.is_empty()
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether what is ours changed since last asked.
    pub(crate) fn take_owned_changed(&mut self) -> bool {
        std::mem::take(&mut self.owned_changed) | self.settings.take_changed()
    }

    /// What is ours: wanted, or not yet confirmed deleted.
    pub(crate) fn owned(&self) -> &BTreeSet<ServiceKey> {
        &self.owned
    }

    /// Services nobody configured.
    pub(crate) fn foreign(&self) -> &BTreeSet<ServiceKey> {
        &self.foreign
    }

    /// Services the kernel refuses a part of, that somebody was told about.
    pub(crate) fn failing(&self) -> impl Iterator<Item = (&ServiceKey, &FailingService)> {
        self.failing.iter().filter(|(_, t)| t.is_reported)
    }

    /// What the kernel refuses of a service, if somebody was told.
    pub(crate) fn failure(&self, key: &ServiceKey) -> Option<&FailingService> {
        self.failing.get(key).filter(|trouble| trouble.is_reported)
    }

    /// What the kernel was last known to hold of a service.
    pub(crate) fn actual(&self, key: &ServiceKey) -> Option<&ServiceEntry> {
        self.actual.get(key)
    }

    /// What was found in the kernel that we had not put there.
    pub(crate) fn drift_log(&self) -> &DriftLog {
        &self.drift_log
    }

    /// How often the kernel refused an operation or failed to answer.
    pub(crate) fn errors(&self) -> u64 {
        self.errors
    }

    /// When the counters of a service were last read.
    pub(crate) fn sampled(&self, key: &ServiceKey) -> Option<Instant> {
        self.sampled.get(key).copied()
    }

    /// Why the kernel does not answer, or refuses a setting, while it does.
    pub(crate) fn kernel_trouble(&self) -> Option<&str> {
        self.pause.trouble.as_deref().or(self.settings.trouble())
    }

    /// Why the kernel does not answer, while it does not.
    pub(crate) fn unanswered(&self) -> Option<&str> {
        self.pause.trouble.as_deref()
    }

    /// Whether a wanted service is not yet known to be in the kernel as it should be, and is not refused.
    pub(crate) fn is_pending(&self, key: &ServiceKey) -> bool {
        let is_open = !self.knows_keys
            || self.dirty.contains(key)
            || self.unread.contains_key(key)
            || self.asked.contains(key);
        is_open && self.desired.contains_key(key) && !self.failing.contains_key(key)
    }

    /// Every wanted service.
    #[cfg(test)]
    pub(crate) fn desired_keys(&self) -> impl Iterator<Item = &ServiceKey> {
        self.desired.keys()
    }

    /// Timeouts and sync daemons.
    pub(crate) fn settings(&self) -> &SettingsKeeper {
        &self.settings
    }

    /// Timeouts and sync daemons, to be given new wishes.
    pub(crate) fn settings_mut(&mut self) -> &mut SettingsKeeper {
        &mut self.settings
    }
}

/// What a read brought.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    /// Services found in the kernel that we had not made: their pools adopt them.
    pub adopted: Vec<ServiceKey>,
    /// Services whose connection counts are fresh.
    pub read: Vec<ServiceKey>,
    /// Ways to single real servers that the kernel has, where all services were read.
    pub probe_services: Option<BTreeSet<ServiceKey>>,
}

fn keys() -> Request {
    Request::Snapshot(Scope::Keys)
}

fn entries(keys: Vec<ServiceKey>) -> Request {
    Request::Snapshot(Scope::Entries(keys))
}
