//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How often a condition is looked at, at first.
///
/// Polling, because there is nothing to wait on: IPVS announces no changes, other programs' logs and exits
/// are not ours, and one look (an executed judge) costs more than this.
const POLL: Duration = Duration::from_millis(50);
/// What part of the time waited so far the next pause is: long waits poll less often. Polls are what costs
/// where time is simulated.
const PART: u32 = 10;

/// Waits until `look` answers Ok, and answers what it found; `look`'s Err says what was seen instead.
///
/// # Errors
/// At the deadline: what was awaited, for how long, and what was seen last.
pub(crate) fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(seen) if started.elapsed() >= deadline => {
                return Err(format!(
                    "not within {:.1} s: {what}; last seen:\n{seen}",
                    deadline.as_secs_f64()
                ));
            }
            Err(_) => pause(POLL.max(started.elapsed() / PART)),
        }
    }
}

/// Lets time pass: for paces and for what must *not* happen within a time, never instead of a condition.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Seconds, for deadlines.
pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
