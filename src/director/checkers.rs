//! All checkers of a configuration: one per distinct specification, shared by those who subscribe to it.
//!
//! Owns their schedules and one queue of deadlines. What a verdict means to a subscriber is the pool's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::check::outcome::{CertificateTime, Outcome};
use crate::check::schedule::{Health, RunId, Schedule};
use crate::check::spec::CheckerSpec;
use crate::config::VirtualServerId;
use crate::time::Instant;

/// Identifies a checker as long as anybody subscribes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckerId(u64);

/// A real server of a virtual server: who subscribes to checkers.
pub type Subscriber = (VirtualServerId, SocketAddr);

/// One checker and who cares about it.
#[derive(Debug)]
pub struct Entry {
    /// What it asks.
    pub spec: Arc<CheckerSpec>,
    /// When, and what it knows.
    pub schedule: Schedule,
    /// Who cares.
    pub subscribers: BTreeSet<Subscriber>,
    /// What was last said of the server's certificate.
    certificate: CertificateTime,
}

/// What a finished run changed.
pub struct Finished<'a> {
    /// The checker.
    pub entry: &'a Entry,
    /// Its health before this run.
    pub before: Health,
    /// Whether it could not be made before this run.
    pub was_unverified: bool,
    /// What is to be said of the server's certificate, if it is something new.
    pub certificate: Option<CertificateTime>,
}

/// Every checker.
#[derive(Debug, Default)]
pub struct Checkers {
    entries: BTreeMap<CheckerId, Entry>,
    by_spec: BTreeMap<Arc<CheckerSpec>, CheckerId>,
    running: BTreeMap<RunId, CheckerId>,
    timers: BTreeSet<(Instant, CheckerId)>,
    last_id: u64,
    last_run: RunId,
}

impl Checkers {
    /// Subscribes to the checker with this specification, making it if nobody has; true when it is new.
    pub fn subscribe(
        &mut self,
        spec: &CheckerSpec,
        subscriber: Subscriber,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> (CheckerId, bool) {
        if let Some(id) = self.by_spec.get(spec) {
            if let Some(entry) = self.entries.get_mut(id) {
                entry.subscribers.insert(subscriber);
            }
            return (*id, false);
        }
        self.last_id += 1;
        let id = CheckerId(self.last_id);
        let spec = Arc::new(spec.clone());
        let schedule = Schedule::new(spec.timing.clone(), rng, now);
        self.timers.extend(schedule.deadline().map(|at| (at, id)));
        self.by_spec.insert(Arc::clone(&spec), id);
        self.entries.insert(
            id,
            Entry {
                spec,
                schedule,
                subscribers: BTreeSet::from([subscriber]),
                certificate: CertificateTime::default(),
            },
        );
        (id, true)
    }

    /// Ends a subscription. The last one takes the checker along; a run under way is returned for cancelling.
    pub fn unsubscribe(&mut self, id: CheckerId, subscriber: &Subscriber) -> Option<RunId> {
        let entry = self.entries.get_mut(&id)?;
        entry.subscribers.remove(subscriber);
        if !entry.subscribers.is_empty() {
            return None;
        }
        let entry = self.entries.remove(&id)?;
        self.by_spec.remove(&entry.spec);
        if let Some(at) = entry.schedule.deadline() {
            self.timers.remove(&(at, id));
        }
        let run = entry.schedule.running()?;
        self.running.remove(&run);
        Some(run)
    }

    /// Ends everything; the runs under way are returned for cancelling.
    pub fn clear(&mut self) -> Vec<RunId> {
        let runs = self.running.keys().copied().collect();
        *self = Checkers { last_id: self.last_id, last_run: self.last_run, ..Checkers::default() };
        runs
    }

    /// Records what is known of a checker from before.
    pub fn know_down(&mut self, id: CheckerId, now: Instant, last: Outcome) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.schedule.know_down(now, last);
        }
    }

    /// Records that a checker's predecessor said up.
    pub fn know_up(&mut self, id: CheckerId, now: Instant, last: Outcome) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.schedule.know_up(now, last);
        }
    }

    /// Begins the next run that is due, if any.
    pub fn begin_due(&mut self, now: Instant) -> Option<(RunId, Arc<CheckerSpec>)> {
        let (at, id) = *self.timers.first()?;
        if at > now {
            return None;
        }
        self.timers.pop_first();
        let entry = self.entries.get_mut(&id)?;
        self.last_run += 1;
        entry.schedule.begin(self.last_run);
        self.running.insert(self.last_run, id);
        Some((self.last_run, Arc::clone(&entry.spec)))
    }

    /// Takes the outcome of a run; None when nobody waits for it any more.
    pub fn finish(&mut self, now: Instant, run: RunId, outcome: Outcome) -> Option<Finished<'_>> {
        let id = self.running.remove(&run)?;
        let entry = self.entries.get_mut(&id)?;
        let before = entry.schedule.health();
        let was_unverified = entry.schedule.unverified_since().is_some();
        let seen = outcome.certificate_time();
        if !entry.schedule.finish(now, run, outcome) {
            return None;
        }
        let certificate = seen.filter(|seen| *seen != entry.certificate);
        entry.certificate = seen.unwrap_or(entry.certificate);
        self.timers.extend(entry.schedule.deadline().map(|at| (at, id)));
        Some(Finished { entry, before, was_unverified, certificate })
    }

    /// A checker by its id.
    pub fn get(&self, id: CheckerId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// When the next run is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How many distinct checkers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}
