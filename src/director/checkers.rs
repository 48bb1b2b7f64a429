//! All checkers of a configuration: one per distinct specification, shared by those who subscribe to it.
//!
//! Owns their schedules and one queue of deadlines. What a verdict means to a subscriber is the pool's business.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::check::outcome::{CertificateTime, Outcome, Verdict};
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
    pub subscribers: Vec<Subscriber>,
    /// What was last said of the server's certificate.
    certificate: CertificateTime,
    /// Runs that ended.
    pub runs: u64,
    /// Those of them that failed.
    pub failures: u64,
}

/// A run under way.
#[derive(Clone, Copy, Debug)]
struct Running {
    checker: CheckerId,
    /// When it must have ended.
    limit: Instant,
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
    /// Boxed: a map filled in order has nodes that are half empty.
    entries: BTreeMap<CheckerId, Box<Entry>>,
    by_spec: BTreeMap<Arc<CheckerSpec>, CheckerId>,
    running: BTreeMap<RunId, Running>,
    timers: BTreeSet<(Instant, CheckerId)>,
    last_id: u64,
    last_run: RunId,
}

impl Checkers {
    /// Subscribes to the checker with this specification, making it if nobody has; true when it is new.
    pub fn subscribe(
        &mut self,
        spec: &Arc<CheckerSpec>,
        subscriber: Subscriber,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> (CheckerId, bool) {
        if let Some(id) = self.by_spec.get(spec) {
            if let Some(entry) = self.entries.get_mut(id)
                && !entry.subscribers.contains(&subscriber)
            {
                entry.subscribers.push(subscriber);
            }
            return (*id, false);
        }
        self.last_id += 1;
        let id = CheckerId(self.last_id);
        let spec = Arc::clone(spec);
        let schedule = Schedule::new(spec.timing.clone(), rng, now);
        self.timers.extend(schedule.deadline().map(|at| (at, id)));
        self.by_spec.insert(Arc::clone(&spec), id);
        self.entries.insert(
            id,
            Box::new(Entry {
                spec,
                schedule,
                subscribers: vec![subscriber],
                certificate: CertificateTime::default(),
                runs: 0,
                failures: 0,
            }),
        );
        (id, true)
    }

    /// Ends a subscription. The last one takes the checker along; a run under way is returned for cancelling.
    pub fn unsubscribe(&mut self, id: CheckerId, subscriber: &Subscriber) -> Option<RunId> {
        let entry = self.entries.get_mut(&id)?;
        entry.subscribers.retain(|s| s != subscriber);
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
        let limit = now + entry.spec.longest_run();
        self.running.insert(self.last_run, Running { checker: id, limit });
        Some((self.last_run, Arc::clone(&entry.spec)))
    }

    /// Takes the outcome of a run; None when nobody waits for it any more.
    pub fn finish(&mut self, now: Instant, run: RunId, outcome: Outcome) -> Option<Finished<'_>> {
        let id = self.running.remove(&run)?.checker;
        let entry = self.entries.get_mut(&id)?;
        let before = entry.schedule.health();
        let was_unverified = entry.schedule.unverified_since().is_some();
        let seen = outcome.certificate_time();
        let has_failed = outcome.verdict == Verdict::Fail;
        if !entry.schedule.finish(now, run, outcome) {
            return None;
        }
        entry.runs += 1;
        entry.failures += u64::from(has_failed);
        let certificate = seen.filter(|seen| *seen != entry.certificate);
        entry.certificate = seen.unwrap_or(entry.certificate);
        self.timers.extend(entry.schedule.deadline().map(|at| (at, id)));
        Some(Finished { entry, before, was_unverified, certificate })
    }

    /// The checker of a run under way.
    pub fn of_run(&self, run: RunId) -> Option<&Entry> {
        self.running.get(&run).and_then(|r| self.get(r.checker))
    }

    /// A checker by its id.
    pub fn get(&self, id: CheckerId) -> Option<&Entry> {
        self.entries.get(&id).map(Box::as_ref)
    }

    /// When the next run is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// How late the latest checker is: a run that should have begun, or one that should have ended.
    pub fn overdue(&self, now: Instant) -> Duration {
        let beginning = self.timers.first().map(|(at, _)| now.since(*at));
        let ending = self.running.values().map(|r| now.since(r.limit)).max();
        beginning.max(ending).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::outcome::Phase;
    use crate::check::spec::{Question, Target, Timing};
    use crate::ipvs::types::Protocol;

    #[test]
    fn a_run_that_begins_late_or_does_not_end_is_overdue() {
        let mut checkers = Checkers::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let (id, _) = checkers.subscribe(&Arc::new(spec()), subscriber(), &mut rng, at(0));
        assert_eq!(checkers.overdue(at(0)), Duration::ZERO);
        assert_eq!(checkers.overdue(at(7)), Duration::from_secs(7), "warmup 0: due at once");
        let (run, _) = checkers.begin_due(at(7)).unwrap();
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
            bind_address: None,
            bind_port: None,
            bind_interface: None,
            fwmark: None,
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
        CheckerSpec { target, question: Question::Tcp, timing, log_all_failures: false }
    }

    fn subscriber() -> Subscriber {
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
