//! What is asked of the kernel next.

use std::time::Duration;

use super::{Reconciler, Report, Request, SWEEP_INTERVAL, Sweep};
use crate::ipvs::backend::{Op, Scope};
use crate::ipvs::plan::plan;
use crate::ipvs::types::ServiceKey;
use crate::time::Instant;

/// Services whose destinations one read fetches.
const SLICE: usize = 32;
/// Operations after which a request takes no further service.
const BATCH: usize = 512;

impl Reconciler {
    /// The next request, if one is due and none is under way.
    pub(crate) fn request(&mut self, now: Instant, report: &mut Report<'_>) -> Option<Request> {
        if self.in_flight.is_some() {
            return None;
        }
        if !self.is_needed() {
            self.forget_readings(report);
            return None;
        }
        if now < self.pause.until {
            return None;
        }
        let request = if self.knows_keys { self.next_request(now, report) } else { Some(keys()) };
        match &request {
            Some(Request::Apply(ops)) => {
                self.asked = ops.iter().filter_map(Op::service).copied().collect();
                self.touched.extend(self.asked.iter().copied());
            }
            Some(Request::Snapshot(Scope::Keys)) => self.sweep_began = now,
            _ => {}
        }
        self.in_flight.clone_from(&request);
        request
    }

    /// The order of work: 1. writes, 2. services in doubt, 3. settings, 4. services that others have just changed, leaving
    /// destinations, 5. the sweep.
    fn next_request(&mut self, now: Instant, report: &mut Report<'_>) -> Option<Request> {
        self.release_withheld(now);
        let ops = self.next_ops(report);
        if !ops.is_empty() {
            return Some(Request::Apply(ops));
        }
        if !self.unread.is_empty() {
            return Some(entries(self.unread.keys().take(SLICE).copied().collect()));
        }
        if let Some(request) = self.settings.request(now) {
            return Some(request);
        }
        let watched: Vec<_> = self.watched.due(now).take(SLICE).collect();
        let rechecks = self.drift_log.due(now);
        if !rechecks.is_empty() {
            return Some(entries(rechecks));
        }
        if !watched.is_empty() {
            return Some(entries(watched));
        }
        match &mut self.sweep {
            Sweep::Waiting { until } if now < *until => None,
            Sweep::Waiting { .. } => Some(keys()),
            Sweep::Reading { rest } if rest.is_empty() => {
                self.read_at = Some(self.sweep_began);
                let is_read_requested = std::mem::take(&mut self.is_read_requested);
                let pause = if is_read_requested { Duration::ZERO } else { SWEEP_INTERVAL };
                self.sweep = Sweep::Waiting { until: now + pause };
                is_read_requested.then(keys)
            }
            Sweep::Reading { rest } => Some(entries(rest.drain(..rest.len().min(SLICE)).collect())),
        }
    }

    /// Lets operations whose pause is over be tried again.
    fn release_withheld(&mut self, now: Instant) {
        for key in self.retries.due(now).collect::<Vec<_>>() {
            self.retries.set(key, None);
            if let Some(trouble) = self.failing.get_mut(&key) {
                trouble.withheld.clear();
                self.plan_anew(key);
            }
        }
    }

    /// Plans dirty services until a request is full. A dirty service that needs nothing is clean.
    fn next_ops(&mut self, report: &mut Report<'_>) -> Vec<Op> {
        let mut chosen = Vec::new();
        let mut size = 0;
        for key in &self.dirty {
            #[cfg(test)]
            {
                self.looked_at += 1;
            }
            let room = self.desired.get(key).map_or(1, |d| 1 + d.destinations.len());
            if size > 0 && size + room > BATCH {
                break;
            }
            size += room;
            chosen.push(*key);
        }
        let mut ops = plan(&chosen, &self.desired, &self.actual, &self.owned);
        ops.retain(|op| !self.is_withheld(op));
        for key in chosen {
            self.dirty.remove(&key);
            self.touched.insert(key);
            if !ops.iter().any(|op| op.service() == Some(&key)) {
                self.conclude(key, report);
            }
        }
        ops
    }

    fn is_withheld(&self, op: &Op) -> bool {
        let trouble = op.service().and_then(|key| self.failing.get(key));
        trouble.is_some_and(|t| {
            t.withheld.contains(op) || t.withheld.iter().any(|held| self.is_service_still_wanted(held))
        })
    }

    /// Whether a refused operation would add the very service that is wanted: nothing of it can be done before.
    fn is_service_still_wanted(&self, held: &Op) -> bool {
        let Op::AddService(key, service) = held else { return false };
        self.desired.get(key).is_some_and(|wanted| wanted.service == *service)
    }

    /// When there is something to do that no answer announces.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.in_flight.is_some() || !self.is_needed() {
            return None;
        }
        let has_work = !self.knows_keys
            || !self.unread.is_empty()
            || !self.dirty.is_empty()
            || matches!(self.sweep, Sweep::Reading { .. });
        let now = has_work.then_some(Instant::ZERO);
        let sweep = match self.sweep {
            Sweep::Waiting { until } => Some(until),
            Sweep::Reading { .. } => None,
        };
        let rechecks = self.drift_log.deadline();
        let first =
            [now, sweep, rechecks, self.retries.first(), self.watched.first(), self.settings.deadline()]
                .into_iter()
                .flatten()
                .min();
        first.map(|at| at.max(self.pause.until))
    }
}

fn keys() -> Request {
    Request::Snapshot(Scope::Keys)
}

fn entries(keys: Vec<ServiceKey>) -> Request {
    Request::Snapshot(Scope::Entries(keys))
}
