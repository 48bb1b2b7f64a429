//! What the kernel's answers mean: what was read, what was done, what was refused, and that there was no answer.

use std::collections::{BTreeMap, BTreeSet};

use super::actual::{difference, record};
use super::op_error::{back_off, explain, is_surprise};
use super::{FailingService, Pause, Reconciler, Report, Request, Sweep, Unread, WATCH_INTERVAL};
use crate::ipvs::backend::{Error, Op, Refusal, Scope, Snapshot};
use crate::ipvs::types::{ServiceEntry, ServiceKey};
use crate::time::Instant;

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

impl Reconciler {
    /// Takes what was read; returns the services seen for the first time, and those read again.
    pub(crate) fn on_snapshot(
        &mut self,
        now: Instant,
        result: Result<Snapshot, Error>,
        report: &mut Report<'_>,
    ) -> Readings {
        let flight = self.in_flight.take();
        let Some(Request::Snapshot(scope)) = flight else { return Readings::default() };
        let snapshot = match result {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.on_no_answer(now, &error, report);
                if let Scope::Entries(keys) = &scope {
                    self.doubt(keys.iter().copied());
                }
                return Readings::default();
            }
        };
        self.on_answer(report);
        match (scope, snapshot) {
            (Scope::Keys, Snapshot::Keys(keys)) => {
                let (probe_services, present) =
                    keys.into_iter().partition(|key| self.ignored.is_probe_service(*key));
                self.on_keys(now, present, report);
                Readings { probe_services: Some(probe_services), ..Readings::default() }
            }
            (Scope::Entries(asked), Snapshot::Entries(found)) => self.on_entries(now, &asked, found, report),
            (Scope::Settings, Snapshot::Settings(settings)) => {
                self.settings.on_read(now, settings);
                Readings::default()
            }
            (_, _) => Readings::default(),
        }
    }

    fn on_keys(&mut self, now: Instant, present: BTreeSet<ServiceKey>, report: &mut Report<'_>) {
        let is_first = !std::mem::replace(&mut self.knows_keys, true);
        if is_first && std::mem::take(&mut self.flush) {
            self.owned.extend(present.iter().copied());
            self.owned_changed = true;
        }
        if is_first {
            self.plan_owned_anew();
            self.touched.extend(self.desired.keys().copied());
        }
        self.on_vanished(now, &present, report);
        for key in &present {
            if self.owned.contains(key) && !self.actual.contains_key(key) {
                self.read_first(*key, Unread::New);
            }
        }
        let foreign: BTreeSet<_> = present.difference(&self.owned).copied().collect();
        for key in foreign.symmetric_difference(&self.foreign) {
            report.foreign(*key, foreign.contains(key));
        }
        self.foreign = foreign;
        let rest = self.actual.keys().filter(|k| present.contains(k)).copied().collect();
        self.sweep = Sweep::Reading { rest };
    }

    /// Services of ours that the kernel no longer has.
    fn on_vanished(&mut self, now: Instant, present: &BTreeSet<ServiceKey>, report: &mut Report<'_>) {
        let vanished: Vec<_> = self.actual.keys().filter(|k| !present.contains(k)).copied().collect();
        for key in vanished {
            self.actual.remove(&key);
            self.unread.remove(&key);
            self.plan_anew(key);
            if self.desired.contains_key(&key) {
                self.drift_log.drift(now, key, "the service was deleted".to_owned(), report);
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
        report: &mut Report<'_>,
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
                    self.drift_log.count_adopted(*key, destinations, report);
                    readings.adopted.push(*key);
                }
                readings.read.push(*key);
                self.sampled.insert(*key, now);
                self.report_drift(now, *key, known.as_ref(), Some(&entry), report);
                self.actual.insert(*key, entry);
            } else {
                self.sampled.remove(key);
                self.report_drift(now, *key, known.as_ref(), None, report);
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
        report: &mut Report<'_>,
    ) {
        let Some(known) = known else { return };
        if !self.desired.contains_key(&key) {
            return;
        }
        if let Some(what) = difference(known, found) {
            self.drift_log.drift(now, key, what, report);
        }
    }

    /// Takes the kernel's answer to an apply.
    pub(crate) fn on_applied(
        &mut self,
        now: Instant,
        result: Result<Vec<Refusal>, Error>,
        report: &mut Report<'_>,
    ) {
        let Some(Request::Apply(ops)) = self.in_flight.take() else { return };
        self.touched.append(&mut self.asked);
        let refusals = match result {
            Ok(refusals) => refusals,
            Err(error) => {
                self.on_no_answer(now, &error, report);
                // Which of them took effect is unknown: what they were about is read again.
                self.forget_actual(&ops);
                self.settings.doubt();
                return;
            }
        };
        self.on_answer(report);
        let refused: BTreeMap<usize, Refusal> = refusals.into_iter().map(|r| (r.index, r)).collect();
        let touched: BTreeSet<ServiceKey> = ops.iter().filter_map(|op| op.service().copied()).collect();
        let mut failed: BTreeMap<ServiceKey, Vec<(Op, Refusal)>> = BTreeMap::new();
        for (index, op) in ops.into_iter().enumerate() {
            match (refused.get(&index), op.service().copied()) {
                (None, Some(_)) => record(&mut self.actual, op),
                (Some(refusal), Some(key)) => failed.entry(key).or_default().push((op, refusal.clone())),
                (refusal, None) => {
                    self.errors += u64::from(refusal.is_some());
                    self.settings.on_applied(now, &op, refusal, report);
                }
            }
        }
        for key in touched {
            match failed.remove(&key) {
                Some(failures) => self.on_refused(now, key, failures, report),
                None => self.end_if_done(key, report),
            }
        }
    }

    fn end_if_done(&mut self, key: ServiceKey, report: &mut Report<'_>) {
        if !self.dirty.contains(&key) && !self.unread.contains_key(&key) {
            self.conclude(key, report);
        }
    }

    /// Holds refused operations back, and reads the service again.
    fn on_refused(
        &mut self,
        now: Instant,
        key: ServiceKey,
        failures: Vec<(Op, Refusal)>,
        report: &mut Report<'_>,
    ) {
        self.errors += u64::try_from(failures.len()).unwrap_or(0);
        let reason = failures.first().map(|(op, r)| explain(op, r)).unwrap_or_default();
        // A table that differs from what was last read is no error the first time: it is read again.
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
                report.degraded(key, &reason);
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

    fn on_no_answer(&mut self, now: Instant, error: &Error, report: &mut Report<'_>) {
        self.errors += 1;
        self.pause.failures += 1;
        self.pause.until = now + back_off(self.pause.failures);
        let trouble = error.to_string();
        if self.pause.trouble.as_ref() != Some(&trouble) {
            report.kernel(Some(&trouble));
            self.pause.trouble = Some(trouble);
        }
    }

    pub(super) fn on_answer(&mut self, report: &mut Report<'_>) {
        if self.pause.trouble.is_some() {
            report.kernel(None);
        }
        self.pause = Pause::default();
    }
}
