//! What virtual servers, real servers and checkers may all say, the innermost being the one that counts.

use std::time::Duration;

use crate::syntax::keyword::{Keyword, Kind, Slot};

/// Options that are inherited: virtual server -> real server -> checker.
#[derive(Clone, Debug, Default)]
pub struct TimingOptions {
    /// `delay_loop`.
    pub interval: Slot<Duration>,
    /// `connect_timeout`.
    pub connect_timeout: Slot<Duration>,
    /// `retry`.
    pub retry: Slot<u32>,
    /// `delay_before_retry`.
    pub delay_before_retry: Slot<Duration>,
    /// `warmup`.
    pub warmup: Slot<Duration>,
    /// `alpha`.
    pub alpha: Slot<bool>,
}

impl TimingOptions {
    /// These options, with what they leave open taken from `outer`.
    #[must_use]
    pub fn or(self, outer: &TimingOptions) -> TimingOptions {
        TimingOptions {
            interval: self.interval.or_else(|| outer.interval.clone()),
            connect_timeout: self.connect_timeout.or_else(|| outer.connect_timeout.clone()),
            retry: self.retry.or_else(|| outer.retry.clone()),
            delay_before_retry: self.delay_before_retry.or_else(|| outer.delay_before_retry.clone()),
            warmup: self.warmup.or_else(|| outer.warmup.clone()),
            alpha: self.alpha.or_else(|| outer.alpha.clone()),
        }
    }
}

/// A block with [`TimingOptions`].
pub trait HasTiming: Sized + 'static {
    /// Least `retry` here: keepalived takes 0 only in a checker.
    const MIN_RETRY: u32;

    /// Where they are.
    fn timing(&mut self) -> &mut TimingOptions;

    /// Their keywords.
    const TIMING: &'static [Keyword<Self>] = &[
        Keyword::new(
            "delay_loop",
            Kind::Time { min: MICROSECOND, max: LONGEST, slot: |o| &mut o.timing().interval },
            "Time from the end of a check to the beginning of the next.",
        ),
        Keyword::new(
            "connect_timeout",
            Kind::Time { min: MICROSECOND, max: LONGEST_TIMEOUT, slot: |o| &mut o.timing().connect_timeout },
            "Longest time a connection, and then the rest of the conversation, may take.",
        ),
        Keyword::new(
            "retry",
            Kind::Number { min: Self::MIN_RETRY, max: u32::MAX, bare: None, slot: |o| &mut o.timing().retry },
            "Failures in a row, beyond the first, before a real server counts as down.",
        ),
        Keyword::new(
            "delay_before_retry",
            Kind::Time { min: Duration::ZERO, max: LONGEST, slot: |o| &mut o.timing().delay_before_retry },
            "Time from a failure that does not decide yet to the next check.",
        ),
        Keyword::new(
            "warmup",
            Kind::Time { min: Duration::ZERO, max: LONGEST, slot: |o| &mut o.timing().warmup },
            "Longest random delay before the first check.",
        ),
        Keyword::new(
            "alpha",
            Kind::Flag(|o| &mut o.timing().alpha),
            "Real servers are down until their first check passes.",
        ),
    ];
}

const MICROSECOND: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
/// keepalived's bound: 2^32 - 1 microseconds.
const LONGEST_TIMEOUT: Duration = Duration::from_micros(u32::MAX as u64);
