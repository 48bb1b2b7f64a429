//! Keeps the kernel's table equal to the desired one: what to read next, what to write next, what went wrong.
//!
//! Level-triggered and bounded: one request is under way at a time, applies go before reads, reads come in
//! slices, so a dead server's removal never waits for a sweep. After any failure the actual state of what failed
//! is forgotten and read again; an operation the kernel refuses is held back for a growing pause while the rest
//! of its service goes on. IPVS announces no changes, hence the slow sweep. While there is nothing of IPVS, neither
//! wanted nor left over, it asks the kernel nothing: a host of virtual routers alone need not have it. The desired
//! table comes from the director, which calls it.

mod actual;
mod answers;
pub(crate) mod drift;
pub(crate) mod op_error;
mod report;
mod requests;
pub(crate) mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::marks::Marks;
use super::timers::Timers;
use crate::ipvs::backend::{Op, Scope};
use crate::ipvs::types::{DesiredService, ServiceEntry, ServiceKey};
use crate::time::Instant;
pub(crate) use actual::record;
pub(crate) use answers::Readings;
use drift::DriftLog;
pub(crate) use report::Report;
use settings::SettingsKeeper;

/// From the end of one sweep to the beginning of the next.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
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
    /// Services of these marks are not virtual servers' (path_check): they are ignored.
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
    /// Services whose actual or desired state may have changed since [`Reconciler::take_touched`].
    touched: BTreeSet<ServiceKey>,
    settings: SettingsKeeper,
    sweep: Sweep,
    /// When the keys that the sweep began with were asked for.
    sweep_began: Instant,
    /// Everything was read since then, in one sweep.
    read_at: Option<Instant>,
    /// An operator asked for the table as it is now: the next sweep follows at once.
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

    /// Adds a service to the touched ones.
    pub(crate) fn touch(&mut self, key: ServiceKey) {
        self.touched.insert(key);
    }

    /// Services whose actual or desired state may have changed since the last call.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    /// Ignores the probe services of path_check.
    pub(crate) fn ignore(&mut self, marks: Marks) {
        self.ignored = marks;
    }

    /// Sets a service's desired state.
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

    /// Has a service removed.
    pub(crate) fn remove_desired(&mut self, key: ServiceKey) {
        self.desired.remove(&key);
        self.watched.set(key, None);
        self.drift_log.forget(&key);
        self.plan_anew(key);
    }

    /// Has everything removed that is owned, and settings put back to what they were.
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
    fn forget_readings(&mut self, report: &mut Report<'_>) {
        self.on_answer(report);
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

    /// A service needs no more work: over with its trouble, unless something is still held back.
    fn conclude(&mut self, key: ServiceKey, report: &mut Report<'_>) {
        if self.failing.get(&key).is_some_and(|t| t.withheld.is_empty())
            && let Some(trouble) = self.failing.remove(&key)
            && trouble.is_reported
        {
            report.restored(key);
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
    pub(crate) fn is_in_sync(&self) -> bool {
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

    /// Services that are not configured.
    pub(crate) fn foreign(&self) -> &BTreeSet<ServiceKey> {
        &self.foreign
    }

    /// Services the kernel refuses a part of, and that were reported.
    pub(crate) fn failing(&self) -> impl Iterator<Item = (&ServiceKey, &FailingService)> {
        self.failing.iter().filter(|(_, t)| t.is_reported)
    }

    /// What the kernel refuses of a service, if it was reported.
    pub(crate) fn failure(&self, key: &ServiceKey) -> Option<&FailingService> {
        self.failing.get(key).filter(|trouble| trouble.is_reported)
    }

    /// What the kernel was last known to hold of a service.
    pub(crate) fn actual(&self, key: &ServiceKey) -> Option<&ServiceEntry> {
        self.actual.get(key)
    }

    /// Changes by other programs.
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
