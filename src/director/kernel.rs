//! Which part of the director asks the kernel next: one request is under way at a time.
//!
//! What the table needs written comes first, then probe services, then reading.

use super::Director;
use super::event::Event;
use super::reconcile::{Report, Request};
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
}
