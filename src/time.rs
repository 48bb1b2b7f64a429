//! Points in time, for everything that is given `now` as an argument.
//!
//! Nothing here reads a clock, and nothing below the shell does: the shell's `daemon::clock` is the only place, so that
//! tests run every decision in virtual time, at any uptime. This module knows no calendar: an [`Instant`]
//! is nanoseconds of the machine's monotonic clock (CLOCK_MONOTONIC, the same for every process since boot) and nothing
//! more.

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the monotonic clock, in nanoseconds since boot (or since a test's beginning).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Instant(u64);

impl Instant {
    /// The beginning of the clock.
    pub const ZERO: Instant = Instant(0);

    /// The point `nanos` nanoseconds after the clock's beginning.
    pub const fn from_nanos(nanos: u64) -> Instant {
        Instant(nanos)
    }

    /// Nanoseconds since the clock's beginning.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point; zero when `earlier` is later.
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, d: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Whole milliseconds of a time; a time too long for the number is the largest one.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds of a time; a time too long for the number is the largest one.
pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// What both clocks said at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The monotonic clock.
    pub now: Instant,
    /// The wall clock, which may jump: time since 1970 UTC, for what other people date, as certificates.
    pub wall: Duration,
}

/// How the monotonic clock is read, for a conversation that has to know when to stop waiting: the shell hands it in.
pub(crate) type Clock = fn() -> Instant;

#[cfg(test)]
impl Instant {
    /// When a simulated world begins: its machine was just booted, has run for a while, or for long.
    pub fn of_uptime(seed: u64) -> Instant {
        const UPTIMES: [Duration; 3] =
            [Duration::from_secs(1), Duration::from_secs(1000), Duration::from_secs(40 * 86_400)];
        let chosen = usize::try_from(seed % 3).ok().and_then(|index| UPTIMES.get(index));
        Instant::ZERO + chosen.copied().unwrap_or_default()
    }
}
