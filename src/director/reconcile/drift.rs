//! Changes of our services by other programs, and services that were adopted: counted, and remembered for the status.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::problems::Recurrence;
use super::Report;
use crate::ipvs::types::ServiceKey;
use crate::time::Instant;

/// Services that are read more often after a change by another program, at most: each costs a request to the kernel.
const MOST_RECHECKS: usize = 16;
/// From one reading of such a service to the next: after one change, and while changes recur.
const RECHECK: Duration = Duration::from_secs(1);
const RECHECK_SOON: Duration = Duration::from_millis(100);

/// Counts since the start.
#[derive(Debug, Default)]
pub(crate) struct DriftLog {
    /// How often a change by another program was repaired.
    pub drift_repaired: u64,
    /// The last of these changes.
    pub last_drift: Option<Drift>,
    /// Services found in the kernel that became ours.
    pub adopted: u64,
    /// Changes that belong together, by service.
    recurrences: BTreeMap<ServiceKey, Recurrence>,
    /// Services that were changed a short time ago, and when each is read again.
    rechecks: BTreeMap<ServiceKey, Instant>,
}

/// A change by another program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drift {
    /// When it was found.
    pub at: Instant,
    pub service: ServiceKey,
    /// What, in words.
    pub what: String,
}

impl DriftLog {
    /// Another program changed a service of ours. Changes that recur are reported as such, and not each time.
    pub(crate) fn drift(&mut self, at: Instant, service: ServiceKey, what: String, report: &mut Report<'_>) {
        self.drift_repaired += 1;
        self.last_drift = Some(Drift { at, service, what: what.clone() });
        let recurrence = Recurrence::add(self.recurrences.remove(&service), at, what.clone());
        if !recurrence.is_recurring() {
            report.drift(service, what);
        }
        self.recurrences.insert(service, recurrence);
        if self.rechecks.len() < MOST_RECHECKS {
            self.rechecks.entry(service).or_insert(at);
        }
    }

    /// Changes of a service that recur.
    pub(crate) fn recurrence(&self, service: &ServiceKey, now: Instant) -> Option<&Recurrence> {
        self.recurrences.get(service).filter(|known| known.is_recurring() && known.is_going_on(now))
    }

    /// A service was read: when it is read again if it is in a hurry. Changes of long ago are forgotten.
    pub(crate) fn was_read(&mut self, service: &ServiceKey, now: Instant) {
        let Some(recurrence) = self.recurrences.get(service) else { return };
        if !recurrence.is_going_on(now) {
            self.recurrences.remove(service);
            self.rechecks.remove(service);
        } else if let Some(at) = self.rechecks.get_mut(service) {
            *at = now + if recurrence.is_recurring() { RECHECK_SOON } else { RECHECK };
        }
    }

    /// A service is ours no longer.
    pub(crate) fn forget(&mut self, service: &ServiceKey) {
        self.recurrences.remove(service);
        self.rechecks.remove(service);
    }

    /// No service is ours any more.
    pub(crate) fn forget_all(&mut self) {
        self.recurrences.clear();
        self.rechecks.clear();
    }

    /// Services to be read again now.
    pub(crate) fn due(&self, now: Instant) -> Vec<ServiceKey> {
        self.rechecks.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect()
    }

    /// When the first service is to be read again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rechecks.values().min().copied()
    }

    /// A service that was in the kernel is ours from now on.
    pub(crate) fn count_adopted(
        &mut self,
        service: ServiceKey,
        destinations: usize,
        report: &mut Report<'_>,
    ) {
        self.adopted += 1;
        report.adopted(service, destinations);
    }
}
