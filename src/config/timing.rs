//! What virtual servers, real servers and checkers may all say, the innermost being the one that counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::check::spec::Timing;
use crate::syntax::keyword::{Includes, Slot, Spanned, get};
use crate::syntax::source::Span;

use super::defaults::Dialect;
use super::options::options;
use super::types::PathCheck;

options! {
    /// Options that are inherited: virtual server -> real server -> checker.
    #[derive(Clone)]
    inherited pub(crate) struct TimingOptions for HasTiming {
        /// Time from the beginning of a check to that of the next, once the first one is over.
        pub(crate) interval: Slot<Duration> = time("delay_loop", MICROSECOND, LONGEST).yaml(&["interval"]), default seconds(60), native seconds(5);
        /// Longest time a connection, and then the rest of the conversation, may take.
        pub(crate) connect_timeout: Slot<Duration> = time("connect_timeout", MICROSECOND, LONGEST_TIMEOUT).yaml(&["timeout"]), default seconds(5), native seconds(3);
        /// Failures in a row, beyond the first, before a real server counts as down.
        pub(crate) retry: Slot<u32> = number("retry", T::MIN_RETRY, u32::MAX).yaml_instead(FALL), default 1, native 2;
        /// Failures in a row before a real server counts as down (lvsd's own word).
        fall: Slot<u32> = number("fall", 1, u32::MAX);
        /// Passes in a row before a real server that was down counts as up (lvsd's own word).
        rise: Slot<u32> = number("rise", 1, u32::MAX), default 1, native 2;
        /// Time from a failure that does not decide yet to the check that confirms it (lvsd's own word).
        confirm: Slot<Duration> = time("confirm", Duration::ZERO, LONGEST);
        /// Time from a failure that does not decide yet to the next check.
        delay_before_retry: Slot<Duration> = time("delay_before_retry", Duration::ZERO, LONGEST);
        /// Longest random delay before the first check.
        warmup: Slot<Duration> = time("warmup", Duration::ZERO, LONGEST);
        /// Real servers are down until their first check passes.
        pub(crate) alpha: Slot<bool> = flag("alpha").bare_if(T::IS_ALPHA_BARE).yaml(&["check_before_add"]), default false, native true;
    }
}

/// A block with [`TimingOptions`].
pub(crate) trait HasTiming: Includes<TimingOptions> {
    /// Least `retry` here: keepalived takes 0 only in a checker.
    const MIN_RETRY: u32 = 1;
    /// Whether keepalived reads no word behind `alpha` here.
    const IS_ALPHA_BARE: bool = false;
}

/// What YAML writes instead of `retry`.
pub(crate) const FALL: &str = "`fall`, which is one more than `retry`";

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl TimingOptions {
    /// The timing that follows; `retry` and `delay_before_retry` are the checker's defaults.
    pub(crate) fn resolve(
        &self,
        dialect: Dialect,
        retry: Option<u32>,
        delay_before_retry: Duration,
    ) -> Timing {
        let is_delayed = self.delay_before_retry.is_some();
        // Confirming a failure at once is lvsd's own default, as long as no delay was written.
        let confirm = (dialect == Dialect::Native && !is_delayed).then_some(Duration::from_millis(200));
        let retry = match (get(&self.fall), &self.retry, retry) {
            (Some(fall), ..) => fall.saturating_sub(1),
            (None, None, Some(default)) => default,
            _ => self.retry(dialect),
        };
        Timing {
            interval: self.interval(dialect),
            retry,
            delay_before_retry: get(&self.delay_before_retry).unwrap_or(delay_before_retry),
            confirm: get(&self.confirm).or(confirm),
            rise: self.rise(dialect),
            warmup: get(&self.warmup),
        }
    }
}

/// What a block of virtual routers says of the times of its checks.
#[derive(Debug, Default)]
pub(crate) struct TrackTiming {
    pub interval: Slot<Duration>,
    pub timeout: Slot<Duration>,
    pub fall: Slot<u32>,
    pub rise: Slot<u32>,
}

/// What is not written of the checks of virtual routers, in both languages.
const TRACK_INTERVAL: Duration = seconds(1);
const TRACK_FALL: u32 = 3;
const TRACK_RISE: u32 = 2;

impl TimingOptions {
    /// What the checks of such a block inherit.
    pub(crate) fn of_track(written: TrackTiming) -> TimingOptions {
        let TrackTiming { interval, timeout, fall, rise } = written;
        TimingOptions { interval, connect_timeout: timeout, fall, rise, ..TimingOptions::default() }
    }

    /// The same with what virtual routers want where nothing is written: scripts have it, too. The first run begins at
    /// once, and a failure is followed by the next run after an interval: a service that is restarted in less is not down.
    #[must_use]
    pub(crate) fn with_track_defaults(self) -> TimingOptions {
        fn or<V: Clone>(written: &Slot<V>, usual: V) -> Slot<V> {
            written.clone().or_else(|| Some(Spanned { value: usual, span: Span::default() }))
        }
        let interval = get(&self.interval).unwrap_or(TRACK_INTERVAL);
        let is_paced = self.delay_before_retry.is_some() || self.confirm.is_some();
        TimingOptions {
            interval: or(&self.interval, interval),
            connect_timeout: or(&self.connect_timeout, interval.min(LONGEST_TIMEOUT)),
            fall: if self.retry.is_some() { self.fall } else { or(&self.fall, TRACK_FALL) },
            rise: or(&self.rise, TRACK_RISE),
            delay_before_retry: if is_paced { self.delay_before_retry } else { or(&None, interval) },
            warmup: or(&self.warmup, Duration::ZERO),
            ..self
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

const MICROSECOND: Duration = Duration::from_micros(1);
const LONGEST: Duration = Duration::from_secs(u32::MAX as u64);
/// keepalived's bound: 2^32 - 1 microseconds.
const LONGEST_TIMEOUT: Duration = Duration::from_micros(u32::MAX as u64);
