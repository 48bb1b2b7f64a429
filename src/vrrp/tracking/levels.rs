//! Levels of everything tracked, and what they do to a priority: weights are summed unclamped, a weight of 0 is a
//! Fault.
//!
//! Levels come from the shell (scripts, files, processes) and from the host (interfaces). Nothing here remembers: a
//! sum is made anew whenever something changed, so it cannot drift.

use std::collections::BTreeMap;
use std::time::Duration;

use super::damping::Damped;
use crate::net::types::Host;
use crate::time::Instant;
use crate::vrrp::io::TrackLevel;
use crate::vrrp::settings::{Damping, Track, TrackTarget};

/// The largest a single file may count; its opposite is a Fault.
const FILE_LIMIT: i64 = 253;

/// What is known of everything that is followed.
#[derive(Debug, Default)]
pub(in crate::vrrp) struct Levels {
    known: BTreeMap<TrackTarget, TrackLevel>,
    /// As they were in the life before; each counts until it is known.
    inherited: BTreeMap<TrackTarget, TrackLevel>,
    pub(in crate::vrrp) damped: Damped,
}

/// What some tracks make of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::vrrp) struct TrackResult {
    /// What they add to its priority.
    pub sum: i64,
    /// Why it cannot be Master or Backup.
    pub fault: Option<String>,
    /// What it waits for in Init: its first result decides between Fault and not.
    pub unknown: Option<String>,
}

impl Levels {
    /// Sets the level of a target.
    pub(in crate::vrrp) fn set(&mut self, target: TrackTarget, level: TrackLevel) {
        self.inherited.remove(&target);
        self.known.insert(target, level);
    }

    /// Until they are known they are as they were.
    pub(in crate::vrrp) fn inherit(&mut self, before: &[(TrackTarget, TrackLevel)]) {
        self.inherited = before.iter().cloned().collect();
        self.inherited.retain(|target, _| !self.known.contains_key(target));
    }

    /// Everything as it counts now.
    pub(in crate::vrrp) fn all(&self) -> impl Iterator<Item = (TrackTarget, TrackLevel)> + '_ {
        self.inherited.iter().chain(&self.known).map(|(target, level)| (target.clone(), *level))
    }

    /// Only these are still followed.
    pub(in crate::vrrp) fn retain(&mut self, is_followed: impl Fn(&TrackTarget) -> bool) {
        self.known.retain(|target, _| is_followed(target));
        self.inherited.retain(|target, _| is_followed(target));
    }

    /// Counts failures of what is damped; what just became well and still counts as failed, and for how long.
    pub(in crate::vrrp) fn count_failures(
        &mut self,
        damping: &BTreeMap<TrackTarget, Damping>,
        host: &Host,
        now: Instant,
    ) -> Vec<(TrackTarget, Duration)> {
        let mut kept_back = Vec::new();
        for (target, damping) in damping {
            let Some(TrackLevel::Is(is_well)) = self.measured(target, host) else { continue };
            let rest = self.damped.observe(target, damping, is_well, now);
            kept_back.extend(rest.map(|rest| (target.clone(), rest)));
        }
        kept_back
    }

    /// The level of a target as it counts; None while it is unknown.
    pub(in crate::vrrp) fn level(
        &self,
        target: &TrackTarget,
        host: &Host,
        now: Instant,
    ) -> Option<TrackLevel> {
        match self.damped.until(target, now) {
            Some(_) => Some(TrackLevel::Is(false)),
            None => self.measured(target, host),
        }
    }

    /// The level of a target, damped or not.
    pub(in crate::vrrp) fn measured(&self, target: &TrackTarget, host: &Host) -> Option<TrackLevel> {
        match target {
            TrackTarget::Interface(name) => {
                Some(TrackLevel::Is(host.link(name).is_some_and(|link| link.is_working())))
            }
            _ => self.known.get(target).or_else(|| self.inherited.get(target)).copied(),
        }
    }

    /// What these make of an instance; weights count where `counts_weights`.
    pub(in crate::vrrp) fn evaluate<'a>(
        &self,
        tracks: impl IntoIterator<Item = &'a Track>,
        counts_weights: bool,
        host: &Host,
        now: Instant,
    ) -> TrackResult {
        let mut all = TrackResult::default();
        for track in tracks {
            let level = self.level(&track.target, host, now);
            match (level, track.weight) {
                (None, 0) => {
                    all.unknown.get_or_insert_with(|| words(&track.target));
                }
                (None, _) => {}
                (Some(level), 0) => {
                    if is_fault(level, track.is_reversed) {
                        all.fault.get_or_insert_with(|| self.reason(track, level, now));
                    }
                }
                (Some(level), weight) if counts_weights => {
                    let counted = count(level, i64::from(weight), track.is_reversed);
                    let is_file = matches!(level, TrackLevel::Counts(_));
                    if is_file && counted < -FILE_LIMIT {
                        all.fault.get_or_insert_with(|| self.reason(track, level, now));
                    }
                    all.sum = all.sum.saturating_add(counted.clamp(-FILE_LIMIT - 1, FILE_LIMIT + 1));
                }
                (Some(_), _) => {}
            }
        }
        all
    }

    fn reason(&self, track: &Track, level: TrackLevel, now: Instant) -> String {
        let what = words(&track.target);
        match self.damped.until(&track.target, now) {
            Some(_) => format!("{what} failed too often (damping)"),
            None => format!("{what} {}", level_words(&track.target, Some(level))),
        }
    }
}

/// Weight 0: what is not well, or counts, is a Fault; reversed, what is well or does not.
fn is_fault(level: TrackLevel, is_reversed: bool) -> bool {
    let is_bad = match level {
        TrackLevel::Is(is_well) => !is_well,
        TrackLevel::Counts(number) => number != 0,
    };
    is_bad != is_reversed
}

/// A positive weight counts while well, a negative one while not; `reverse` turns the sign (keepalived).
fn count(level: TrackLevel, weight: i64, is_reversed: bool) -> i64 {
    let counted = match level {
        TrackLevel::Is(is_well) if is_well == (weight > 0) => weight,
        TrackLevel::Is(_) => 0,
        TrackLevel::Counts(number) => number.saturating_mul(weight).min(FILE_LIMIT),
    };
    if is_reversed { counted.saturating_neg() } else { counted }
}

/// The name of something followed, with its kind.
pub(in crate::vrrp) fn words(target: &TrackTarget) -> String {
    match target {
        TrackTarget::Interface(name) => format!("interface {name}"),
        TrackTarget::Script(name) => format!("script {name}"),
        TrackTarget::File(name) => format!("file {name}"),
        TrackTarget::Process(name) => format!("process {name}"),
        TrackTarget::Check(name) => format!("check {name}"),
        TrackTarget::Bfd(name) => format!("BFD session {name}"),
    }
}

/// A level in words.
pub(in crate::vrrp) fn level_words(target: &TrackTarget, level: Option<TrackLevel>) -> String {
    let (well, bad) = match target {
        TrackTarget::Interface(_) | TrackTarget::Bfd(_) => ("up", "down"),
        TrackTarget::Script(_) | TrackTarget::Check(_) => ("succeeds", "fails"),
        TrackTarget::File(_) | TrackTarget::Process(_) => ("running", "not running"),
    };
    match level {
        None => "not known yet".to_owned(),
        Some(TrackLevel::Is(true)) => well.to_owned(),
        Some(TrackLevel::Is(false)) => bad.to_owned(),
        Some(TrackLevel::Counts(number)) => format!("says {number}"),
    }
}

/// The effective priority: that of an owner never changes, others stay between 1 and 254 (RFC 9568 section 5.2.4).
pub(in crate::vrrp) fn effective_priority(base: u8, sum: i64) -> u8 {
    if base == 255 {
        return 255;
    }
    u8::try_from(i64::from(base).saturating_add(sum).clamp(1, 254)).unwrap_or(254)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track(target: TrackTarget, weight: i16, is_reversed: bool) -> Track {
        Track { target, weight, is_reversed }
    }

    fn script(name: &str) -> TrackTarget {
        TrackTarget::Script(name.to_owned())
    }

    fn result_of(weight: i16, is_reversed: bool, level: TrackLevel) -> TrackResult {
        let mut levels = Levels::default();
        levels.set(script("chk"), level);
        levels.evaluate(&[track(script("chk"), weight, is_reversed)], true, &Host::default(), Instant::ZERO)
    }

    #[test]
    fn a_priority_is_clamped_and_its_sum_is_not() {
        assert_eq!(effective_priority(100, 200), 254);
        assert_eq!(effective_priority(100, 200 - 200), 100);
        assert_eq!(effective_priority(100, -200), 1);
        assert_eq!(effective_priority(255, -200), 255, "an owner stays one");
    }

    #[test]
    fn a_positive_weight_counts_while_well_and_a_negative_one_while_not() {
        let sums = [
            (20, false, true, 20),
            (20, false, false, 0),
            (-20, false, true, 0),
            (-20, false, false, -20),
            (20, true, true, -20),
            (-20, true, false, 20),
        ];
        for (weight, is_reversed, is_well, sum) in sums {
            let result = result_of(weight, is_reversed, TrackLevel::Is(is_well));
            assert_eq!((result.sum, result.fault), (sum, None), "{weight} {is_reversed} {is_well}");
        }
    }

    #[test]
    fn a_weight_of_zero_is_a_fault_and_says_which() {
        let failing = result_of(0, false, TrackLevel::Is(false));
        assert_eq!(failing.fault.as_deref(), Some("script chk fails"));
        assert_eq!(result_of(0, false, TrackLevel::Is(true)).fault, None);
        let reversed = result_of(0, true, TrackLevel::Is(true));
        assert_eq!(reversed.fault.as_deref(), Some("script chk succeeds"));
    }

    #[test]
    fn an_unknown_track_delays_only_where_it_could_be_a_fault() {
        let levels = Levels::default();
        let all = levels.evaluate(&[track(script("chk"), 0, false)], true, &Host::default(), Instant::ZERO);
        assert_eq!(all, TrackResult { unknown: Some("script chk".to_owned()), ..TrackResult::default() });
        assert_eq!(
            levels.evaluate(&[track(script("chk"), -20, false)], true, &Host::default(), Instant::ZERO),
            TrackResult::default()
        );
    }

    #[test]
    fn a_file_counts_its_number_by_its_weight_within_bounds() {
        let sums = [(2, 10, 20, false), (1, 1000, 253, false), (1, -254, -254, true), (-1, 100, -100, false)];
        for (weight, number, sum, is_fault) in sums {
            let mut levels = Levels::default();
            let file = TrackTarget::File("load".to_owned());
            levels.set(file.clone(), TrackLevel::Counts(number));
            let result =
                levels.evaluate(&[track(file, weight, false)], true, &Host::default(), Instant::ZERO);
            assert_eq!((result.sum, result.fault.is_some()), (sum, is_fault), "{weight} x {number}");
        }
    }

    #[test]
    fn weights_that_do_not_count_leave_faults_alone() {
        let mut levels = Levels::default();
        levels.set(script("chk"), TrackLevel::Is(false));
        let tracks = [track(script("chk"), -20, false), track(script("chk"), 0, false)];
        let result = levels.evaluate(&tracks, false, &Host::default(), Instant::ZERO);
        assert_eq!((result.sum, result.fault.is_some()), (0, true));
    }

    #[test]
    fn an_interface_is_known_from_the_host_alone() {
        let tracks = [track(TrackTarget::Interface("eth1".to_owned()), 0, false)];
        let result = Levels::default().evaluate(&tracks, true, &Host::default(), Instant::ZERO);
        assert_eq!(result.fault.as_deref(), Some("interface eth1 down"));
    }
}
