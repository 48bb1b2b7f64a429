//! Damping: what fails again and again must be well for ever longer before it counts as well again.
//!
//! Each failure adds 1 to a penalty that halves with every `half_life`. When a failure takes it above `limit`, what is
//! tracked counts as failed until the penalty has fallen to half of the limit (the idea is BGP's, RFC 2439).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::Instant;
use crate::vrrp::settings::{Damping, TrackTarget};

/// The most a penalty can be, in limits: nothing is kept back for more than four half-lives after its last failure.
const CEILING: f64 = 8.0;

/// What is known of everything that is damped.
#[derive(Debug, Default)]
pub(in crate::vrrp) struct Damped {
    all: BTreeMap<TrackTarget, Penalty>,
}

/// How often something failed lately.
#[derive(Debug)]
struct Penalty {
    was_well: bool,
    value: f64,
    /// When `value` was so much.
    at: Instant,
    /// It counts as failed until then.
    until: Option<Instant>,
}

impl Penalty {
    fn failed(&mut self, damping: &Damping, now: Instant) {
        let limit = f64::from(damping.limit);
        self.value = (self.decayed(damping, now) + 1.0).min(limit * CEILING);
        self.at = now;
        let is_kept_back = self.until.is_some_and(|until| now < until);
        if self.value > limit || is_kept_back {
            let halves = (self.value / (limit / 2.0)).log2().max(0.0);
            self.until = Some(now + damping.half_life.mul_f64(halves));
        }
    }

    fn decayed(&self, damping: &Damping, now: Instant) -> f64 {
        let halves = now.since(self.at).as_secs_f64() / damping.half_life.as_secs_f64();
        self.value * (-halves).exp2()
    }
}

impl Damped {
    /// What is tracked is well, or not. For how long it is kept back, where it just became well and still counts as
    /// failed.
    pub(in crate::vrrp) fn observe(
        &mut self,
        target: &TrackTarget,
        damping: &Damping,
        is_well: bool,
        now: Instant,
    ) -> Option<Duration> {
        let new = || Penalty { was_well: is_well, value: 0.0, at: now, until: None };
        let penalty = self.all.entry(target.clone()).or_insert_with(new);
        match (std::mem::replace(&mut penalty.was_well, is_well), is_well) {
            (true, false) => penalty.failed(damping, now),
            (false, true) => {
                penalty.until = penalty.until.filter(|until| now < *until);
                return penalty.until.map(|until| until.since(now));
            }
            _ => {}
        }
        None
    }

    /// Until when it counts as failed though it is well.
    pub(in crate::vrrp) fn until(&self, target: &TrackTarget, now: Instant) -> Option<Instant> {
        self.all.get(target).filter(|penalty| penalty.was_well)?.until.filter(|until| now < *until)
    }

    /// When the next one counts as well again.
    pub(in crate::vrrp) fn deadline(&self) -> Option<Instant> {
        self.all.values().filter(|penalty| penalty.was_well).filter_map(|penalty| penalty.until).min()
    }

    /// Lets go of what has come to its end; whether any did.
    pub(in crate::vrrp) fn end(&mut self, now: Instant) -> Option<TrackTarget> {
        let is_over = |penalty: &Penalty| penalty.was_well && penalty.until.is_some_and(|until| until <= now);
        let (target, penalty) = self.all.iter_mut().find(|(_, penalty)| is_over(penalty))?;
        penalty.until = None;
        Some(target.clone())
    }

    /// Only these are still damped.
    pub(in crate::vrrp) fn retain(&mut self, is_damped: impl Fn(&TrackTarget) -> bool) {
        self.all.retain(|target, _| is_damped(target));
    }

    /// For the next process.
    pub(in crate::vrrp) fn hand_over(
        &self,
        damping: &BTreeMap<TrackTarget, Damping>,
        now: Instant,
    ) -> Vec<DampedHandover> {
        let known =
            self.all.iter().filter_map(|(target, penalty)| Some((target, penalty, damping.get(target)?)));
        known
            .map(|(target, penalty, damping)| DampedHandover {
                target: target.clone(),
                was_well: penalty.was_well,
                thousandths: (penalty.decayed(damping, now) * 1000.0) as u64,
                rest: penalty.until.map(|until| until.since(now)).unwrap_or_default(),
            })
            .collect()
    }

    /// What the process before knew, `age` ago.
    pub(in crate::vrrp) fn inherit(&mut self, known: &[DampedHandover], age: Duration, now: Instant) {
        for before in known {
            let rest = before.rest.checked_sub(age).filter(|rest| !rest.is_zero());
            let penalty = Penalty {
                was_well: before.was_well,
                value: before.thousandths as f64 / 1000.0,
                at: now,
                until: rest.map(|rest| now + rest),
            };
            self.all.insert(before.target.clone(), penalty);
        }
    }
}

/// How often something failed lately, for the next process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DampedHandover {
    target: TrackTarget,
    was_well: bool,
    /// The penalty, in thousandths.
    thousandths: u64,
    /// For how long it still counts as failed.
    rest: Duration,
}
