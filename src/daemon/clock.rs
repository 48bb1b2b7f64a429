//! The only place that reads a clock. What is below the shell is given the time: `now` as an argument, a
//! [`Moment`] for one conversation, [`now`] itself as a [`crate::time::Clock`].
#![allow(clippy::disallowed_methods, reason = "the one clock that everything else is handed")]

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::{Instant, Moment};

/// Reads the monotonic clock.
pub(crate) fn now() -> Instant {
    let nanos = since_its_beginning(clock_gettime(ClockId::Monotonic)).as_nanos();
    Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Reads the wall clock: the time since 1970 UTC, which may jump.
pub fn unix_now() -> Duration {
    since_its_beginning(clock_gettime(ClockId::Realtime))
}

pub(crate) fn moment() -> Moment {
    Moment { now: now(), wall: unix_now() }
}

/// Waits for a point in time; without one for ever.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(now())).await,
        None => std::future::pending().await,
    }
}

fn since_its_beginning(t: Timespec) -> Duration {
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_nsec).unwrap_or(0))
}
