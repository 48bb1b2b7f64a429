//! What the reconciler reports. Its own keys are the kernel's; an event names the virtual server of the service.

use super::super::colocation::placement::Placement;
use super::super::event::Event;
use crate::ipvs::types::ServiceKey;

/// Where the reconciler puts its events, with what it needs to name services.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    /// Knows the virtual server of a service.
    pub placement: &'a Placement,
    pub events: &'a mut Vec<Event>,
}

impl Report<'_> {
    /// A service that was in the kernel is ours from now on.
    pub(super) fn adopted(&mut self, key: ServiceKey, destinations: usize) {
        self.events.push(Event::Adopted { service: self.placement.owner(key), destinations });
    }

    /// A service that is not configured appeared in the kernel, or is gone.
    pub(super) fn foreign(&mut self, key: ServiceKey, is_present: bool) {
        self.events.push(Event::Foreign { service: self.placement.owner(key), is_present });
    }

    /// Another program changed one of our services.
    pub(super) fn drift(&mut self, key: ServiceKey, what: String) {
        self.events.push(Event::Drift { service: self.placement.owner(key), what });
    }

    /// The kernel refuses a part of a service.
    pub(super) fn degraded(&mut self, key: ServiceKey, reason: &str) {
        self.events.push(Event::Degraded { service: self.placement.owner(key), reason: reason.to_owned() });
    }

    /// The kernel has all of a service again.
    pub(super) fn restored(&mut self, key: ServiceKey) {
        self.events.push(Event::Restored { service: self.placement.owner(key) });
    }

    /// The kernel does not answer, or refuses a setting; None once it is over.
    pub(super) fn kernel(&mut self, trouble: Option<&str>) {
        self.events.push(Event::Kernel { trouble: trouble.map(str::to_owned) });
    }
}
