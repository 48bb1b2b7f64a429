//! What virtual servers, real servers and checkers may all say, the innermost being the one that counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::check::spec::Timing;
use crate::syntax::keyword::{Keyword, Kind, Slot, Yaml, get};

use super::defaults::Defaults;
use super::types::PathCheck;

/// Options that are inherited: virtual server -> real server -> checker.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimingOptions {
    pub interval: Slot<Duration>,
    pub connect_timeout: Slot<Duration>,
    pub retry: Slot<u32>,
    /// `fall`: `retry` + 1.
    pub fall: Slot<u32>,
    pub rise: Slot<u32>,
    pub confirm: Slot<Duration>,
    pub delay_before_retry: Slot<Duration>,
    pub warmup: Slot<Duration>,
    pub alpha: Slot<bool>,
}

impl TimingOptions {
    /// What they come to, `delay_before_retry` being that of the checker.
    pub(crate) fn resolve(&self, defaults: &Defaults, delay_before_retry: Duration) -> Timing {
        let is_delayed = self.delay_before_retry.is_some();
        Timing {
            interval: get(&self.interval).unwrap_or(defaults.interval),
            retry: get(&self.fall)
                .map(|fall| fall.saturating_sub(1))
                .or(get(&self.retry))
                .unwrap_or(defaults.retry),
            delay_before_retry: get(&self.delay_before_retry).unwrap_or(delay_before_retry),
            confirm: get(&self.confirm).or(defaults.confirm.filter(|_| !is_delayed)),
            rise: get(&self.rise).unwrap_or(defaults.rise),
            warmup: get(&self.warmup),
        }
    }

    /// These options, with what they leave open taken from `outer`.
    #[must_use]
    pub(crate) fn or(self, outer: &TimingOptions) -> TimingOptions {
        TimingOptions {
            interval: self.interval.or_else(|| outer.interval.clone()),
            connect_timeout: self.connect_timeout.or_else(|| outer.connect_timeout.clone()),
            retry: self.retry.or_else(|| outer.retry.clone()),
            fall: self.fall.or_else(|| outer.fall.clone()),
            rise: self.rise.or_else(|| outer.rise.clone()),
            confirm: self.confirm.or_else(|| outer.confirm.clone()),
            delay_before_retry: self.delay_before_retry.or_else(|| outer.delay_before_retry.clone()),
            warmup: self.warmup.or_else(|| outer.warmup.clone()),
            alpha: self.alpha.or_else(|| outer.alpha.clone()),
        }
    }
}

/// Each timing once: thousands of checkers have the same.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    timings: BTreeSet<Arc<Timing>>,
    paths: BTreeSet<Arc<PathCheck>>,
}

impl Timings {
    /// The one that is equal to this.
    pub(crate) fn shared(&mut self, timing: Timing) -> Arc<Timing> {
        shared(&mut self.timings, timing)
    }

    /// The same of checks through the VIP.
    pub(crate) fn shared_path(&mut self, check: PathCheck) -> Arc<PathCheck> {
        shared(&mut self.paths, check)
    }
}

fn shared<T: Ord>(known: &mut BTreeSet<Arc<T>>, value: T) -> Arc<T> {
    if let Some(known) = known.get(&value) {
        return Arc::clone(known);
    }
    let value = Arc::new(value);
    known.insert(Arc::clone(&value));
    value
}

/// A block with [`TimingOptions`].
pub(crate) trait HasTiming: Sized + 'static {
    /// Least `retry` here: keepalived takes 0 only in a checker.
    const MIN_RETRY: u32;

    /// Where they are.
    fn timing(&mut self) -> &mut TimingOptions;

    const TIMING: &'static [Keyword<Self>] = &[
        Keyword::new(
            "delay_loop",
            Kind::Time { min: MICROSECOND, max: LONGEST, slot: |o: &mut Self| &mut o.timing().interval },
            "Time from the beginning of a check to that of the next, once the first one is over.",
        )
        .yaml(Yaml::As(&["interval"])),
        Keyword::new(
            "connect_timeout",
            Kind::Time {
                min: MICROSECOND,
                max: LONGEST_TIMEOUT,
                slot: |o: &mut Self| &mut o.timing().connect_timeout,
            },
            "Longest time a connection, and then the rest of the conversation, may take.",
        )
        .yaml(Yaml::As(&["timeout"])),
        Keyword::new(
            "retry",
            Kind::Number {
                min: Self::MIN_RETRY,
                max: u32::MAX,
                bare: None,
                slot: |o: &mut Self| &mut o.timing().retry,
            },
            "Failures in a row, beyond the first, before a real server counts as down.",
        )
        .yaml(Yaml::Instead("`fall`, which is one more than `retry`")),
        Keyword::new(
            "fall",
            Kind::Number { min: 1, max: u32::MAX, bare: None, slot: |o: &mut Self| &mut o.timing().fall },
            "Failures in a row before a real server counts as down.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "rise",
            Kind::Number { min: 1, max: u32::MAX, bare: None, slot: |o: &mut Self| &mut o.timing().rise },
            "Passes in a row before a real server that was down counts as up.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "confirm",
            Kind::Time { min: Duration::ZERO, max: LONGEST, slot: |o: &mut Self| &mut o.timing().confirm },
            "Time from a failure that does not decide yet to the check that confirms it.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "delay_before_retry",
            Kind::Time {
                min: Duration::ZERO,
                max: LONGEST,
                slot: |o: &mut Self| &mut o.timing().delay_before_retry,
            },
            "Time from a failure that does not decide yet to the next check.",
        ),
        Keyword::new(
            "warmup",
            Kind::Time { min: Duration::ZERO, max: LONGEST, slot: |o: &mut Self| &mut o.timing().warmup },
            "Longest random delay before the first check.",
        ),
        Keyword::new(
            "alpha",
            Kind::Flag(|o: &mut Self| &mut o.timing().alpha),
            "Real servers are down until their first check passes.",
        )
        .yaml(Yaml::As(&["check_before_add"])),
    ];
}

const MICROSECOND: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
/// keepalived's bound: 2^32 - 1 microseconds.
const LONGEST_TIMEOUT: Duration = Duration::from_micros(u32::MAX as u64);
