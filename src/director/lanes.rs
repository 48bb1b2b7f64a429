//! Ways to single real servers: services of a mark of lvsd's own with one destination, in the kernel as long as a probe
//! needs them.
//!
//! They are nobody's virtual server, so neither reconciler nor state file know them: a service of such a mark that no
//! probe needs is a left-over of an earlier life, or of a request whose end is unknown, and goes when it is seen.
//! Pure, and bounded by the marks there are; the director lends it the kernel while the reconciler has nothing to write.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Director;
use super::checkers::CheckerId;
use super::event::Event;
use super::marks::Marks;
use super::reconcile::Request;
use super::reconcile::op_error::{back_off, explain, is_surprise};
use crate::ipvs::backend::{Error, Op, Refusal};
use crate::ipvs::types::{Destination, Family, Service, ServiceKey};
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Lanes {
    marks: Marks,
    lanes: BTreeMap<ServiceKey, Lane>,
    /// A request of ours is under way.
    in_flight: Option<Vec<Op>>,
    failures: u32,
    retry_at: Instant,
}

#[derive(Clone, Debug)]
enum Lane {
    /// To be opened for a check.
    Wanted(CheckerId, Service, SocketAddr, Destination),
    /// Being opened; for nobody, when he went meanwhile.
    Opening(Option<CheckerId>),
    Open,
    /// To be closed.
    Over,
    Closing,
}

/// What became of a way that was wanted.
#[derive(Debug)]
pub(super) enum Opened {
    /// A check can use it.
    For(CheckerId, ServiceKey),
    /// It cannot be opened, and why.
    Refused(CheckerId, String),
}

impl Lanes {
    /// From now on these marks are its own.
    pub(super) fn configure(&mut self, marks: Marks) {
        self.marks = marks;
    }

    /// Whether a service is such a way.
    pub(super) fn is_lane(&self, key: ServiceKey) -> bool {
        self.marks.is_key(key) || self.lanes.contains_key(&key)
    }

    /// A way that nobody has.
    pub(super) fn free(&self, family: Family) -> Option<ServiceKey> {
        let keys = self.marks.lanes().map(|mark| ServiceKey::Fwmark { family, mark });
        keys.into_iter().find(|key| !self.lanes.contains_key(key))
    }

    /// Wants a way opened for a check.
    pub(super) fn open(
        &mut self,
        key: ServiceKey,
        check: CheckerId,
        service: Service,
        (at, destination): (SocketAddr, Destination),
    ) {
        self.lanes.insert(key, Lane::Wanted(check, service, at, destination));
    }

    /// Nobody needs a way any more.
    pub(super) fn close(&mut self, key: ServiceKey) {
        match self.lanes.get_mut(&key) {
            Some(Lane::Wanted(..)) => drop(self.lanes.remove(&key)),
            Some(Lane::Opening(check)) => *check = None,
            Some(lane @ Lane::Open) => *lane = Lane::Over,
            Some(Lane::Over | Lane::Closing) | None => {}
        }
    }

    /// Nobody needs any.
    pub(super) fn close_all(&mut self) {
        for key in self.lanes.keys().copied().collect::<Vec<_>>() {
            self.close(key);
        }
    }

    /// What the kernel was seen to have: what should not be there goes, what should be and is not is gone.
    pub(super) fn seen(&mut self, present: &BTreeSet<ServiceKey>) {
        for key in present.iter().filter(|key| self.is_lane(**key)).copied().collect::<Vec<_>>() {
            self.lanes.entry(key).or_insert(Lane::Over);
        }
    }

    /// The next request.
    pub(super) fn request(&mut self, now: Instant) -> Option<Request> {
        if self.in_flight.is_some() || now < self.retry_at {
            return None;
        }
        let mut ops = Vec::new();
        for (key, lane) in &mut self.lanes {
            match lane {
                Lane::Wanted(check, service, at, destination) => {
                    ops.push(Op::AddService(*key, service.clone()));
                    ops.push(Op::AddDestination(*key, *at, *destination));
                    *lane = Lane::Opening(Some(*check));
                }
                Lane::Over => {
                    ops.push(Op::RemoveService(*key));
                    *lane = Lane::Closing;
                }
                Lane::Opening(_) | Lane::Open | Lane::Closing => {}
            }
        }
        if ops.is_empty() {
            return None;
        }
        self.in_flight = Some(ops.clone());
        Some(Request::Apply(ops))
    }

    /// Takes the answer to its request; None when none was under way.
    pub(super) fn on_applied(
        &mut self,
        now: Instant,
        result: &Result<Vec<Refusal>, Error>,
    ) -> Option<Vec<Opened>> {
        let ops = self.in_flight.take()?;
        let refused: BTreeMap<ServiceKey, (Op, Refusal)> = match result {
            Ok(refusals) => {
                (self.failures, self.retry_at) = (0, Instant::ZERO);
                refusals
                    .iter()
                    .rev()
                    .filter_map(|r| Some((ops.get(r.index)?, r)))
                    .filter_map(|(op, r)| Some((*op.service()?, (op.clone(), r.clone()))))
                    .collect()
            }
            Err(_) => {
                self.failures += 1;
                self.retry_at = now + back_off(self.failures);
                BTreeMap::new()
            }
        };
        let mut opened = Vec::new();
        let touched: BTreeSet<ServiceKey> = ops.iter().filter_map(|op| op.service().copied()).collect();
        for key in touched {
            let trouble = match (result, refused.get(&key)) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(_), Some((op, refusal))) => Some(explain(op, refusal)),
                (Ok(_), None) => None,
            };
            let is_absent = refused.get(&key).is_some_and(|(op, refusal)| is_surprise(op, refusal.errno));
            let lane = self.lanes.remove(&key);
            let next = match (lane, trouble) {
                (Some(Lane::Opening(Some(check))), None) => {
                    opened.push(Opened::For(check, key));
                    Some(Lane::Open)
                }
                (Some(Lane::Opening(check)), Some(trouble)) => {
                    opened.extend(check.map(|check| Opened::Refused(check, trouble)));
                    Some(Lane::Over)
                }
                (Some(Lane::Opening(None)), None) => Some(Lane::Over),
                (Some(Lane::Closing), None) => None,
                (Some(Lane::Closing), Some(_)) if is_absent => None,
                (Some(Lane::Closing), Some(_)) => {
                    // Refused for another reason: not at once again.
                    self.retry_at = self.retry_at.max(now + back_off(self.failures.max(1)));
                    Some(Lane::Over)
                }
                (lane, _) => lane,
            };
            if let Some(next) = next {
                self.lanes.insert(key, next);
            }
        }
        Some(opened)
    }

    /// Whether something is to be written.
    pub(super) fn has_work(&self) -> bool {
        self.lanes.values().any(|lane| matches!(lane, Lane::Wanted(..) | Lane::Over))
    }

    /// When there is something to write that no answer announces.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.in_flight.is_none() && self.has_work()).then_some(self.retry_at)
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether none is left in the kernel.
    pub(super) fn is_released(&self) -> bool {
        self.lanes.is_empty() && self.in_flight.is_none()
    }
}

impl Director {
    /// When there is something to ask of the kernel; while it is asked, only its answer can move anything.
    pub(super) fn kernel_deadline(&self) -> Option<Instant> {
        if self.is_kernel_busy() {
            return None;
        }
        [self.reconciler.deadline(), self.paths.lanes.deadline()].into_iter().flatten().min()
    }

    pub(super) fn is_kernel_busy(&self) -> bool {
        self.reconciler.is_busy() || self.paths.lanes.is_busy()
    }

    /// Lanes are opened and closed after what the table needs written, and before it is read again.
    pub(super) fn request(&mut self, now: Instant, events: &mut Vec<Event>) -> Option<Request> {
        if self.is_kernel_busy() {
            return None;
        }
        let lane = if self.reconciler.has_writes() { None } else { self.paths.lanes.request(now) };
        lane.or_else(|| self.reconciler.request(now, events)).or_else(|| self.paths.lanes.request(now))
    }

    /// Whether everything that was ours is gone.
    pub(super) fn is_released(&self) -> bool {
        self.reconciler.is_released() && self.paths.lanes.is_released()
    }
}
