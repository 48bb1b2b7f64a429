//! The director's requests to the kernel, one at a time, and where the parts of an answer go.
//!
//! Reconciler and path checks both have requests: changes of the table come first, then probe services, then readings.

use super::event::Event;
use super::io::Effect;
use super::reconcile::{Readings, Report, Request};
use super::{Director, path_check};
use crate::time::Instant;

impl Director {
    /// When there is something to ask of the kernel; while it is asked, only its answer can move anything.
    pub(super) fn kernel_deadline(&self) -> Option<Instant> {
        if self.is_kernel_busy() {
            return None;
        }
        [self.reconciler.deadline(), self.path_check.kernel_deadline()].into_iter().flatten().min()
    }

    pub(super) fn is_kernel_busy(&self) -> bool {
        self.reconciler.is_busy() || self.path_check.is_kernel_busy()
    }

    pub(super) fn kernel_request(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Request> {
        if self.is_kernel_busy() {
            return None;
        }
        let first = if self.reconciler.has_writes() { None } else { self.path_check.request(now) };
        let mut report = Report { placement: &self.placement, events };
        first.or_else(|| self.reconciler.request(now, &mut report)).or_else(|| self.path_check.request(now))
    }

    /// Whether everything of ours is gone from the kernel.
    pub(super) fn is_released(&self) -> bool {
        self.reconciler.is_released() && self.path_check.is_released()
    }

    /// What the kernel was seen to hold goes to the pools and to the path checks.
    pub(super) fn take_readings(
        &mut self,
        now: Instant,
        readings: &Readings,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(present) = &readings.probe_services {
            self.run_path_check(now, path_check::Input::Services(present), events, effects);
        }
        let was_leaving = self.was_leaving.len();
        for key in &readings.read {
            let id = self.placement.owner(*key);
            if !self.is_in_place(*key, id) {
                continue;
            }
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            let actual = self.reconciler.actual(key).map(|entry| pool.seen(entry));
            if let Some(actual) = actual.as_deref().filter(|_| readings.adopted.contains(key)) {
                let (leaving, staying) = (&mut self.was_leaving, &mut self.was_staying);
                let was_leaving = |at: &_| leaving.remove(&(id, *at));
                pool.adopt(now, actual, &self.checkers, was_leaving, |at| staying.remove(&(id, *at)));
                self.changed_pools.insert(id);
                self.saves.mark_stale();
            }
            if pool.watch_leaving(now, actual.as_deref(), events) {
                self.changed_pools.insert(id);
                self.saves.mark_stale();
            }
            self.find_problems(now, id, true, events);
        }
        if self.was_leaving.len() != was_leaving {
            self.find_templates();
        }
    }
}
