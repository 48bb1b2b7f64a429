//! What was found in the kernel that we had not put there, counted and remembered for the status.

use super::event::Event;
use crate::ipvs::types::ServiceKey;
use crate::time::Instant;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Tally {
    /// How often somebody else's change was put right.
    pub drift_repaired: u64,
    /// The last of these changes.
    pub last_drift: Option<Drift>,
    /// Services found in the kernel that became ours.
    pub adopted: u64,
}

/// A change by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// When it was found.
    pub at: Instant,
    /// Whose service.
    pub service: ServiceKey,
    /// What, in words.
    pub what: String,
}

impl Tally {
    /// Somebody else changed a service of ours.
    pub fn drift(&mut self, at: Instant, service: ServiceKey, what: String, events: &mut Vec<Event>) {
        self.drift_repaired += 1;
        self.last_drift = Some(Drift { at, service, what: what.clone() });
        events.push(Event::Drift { service, what });
    }

    /// A service that was in the kernel is ours from now on.
    pub fn adopt(&mut self, service: ServiceKey, destinations: usize, events: &mut Vec<Event>) {
        self.adopted += 1;
        events.push(Event::Adopted { service, destinations });
    }
}
