//! When a checker asks, and how many failures count.

use std::time::Duration;

use serde::Serialize;

/// When to ask, and how many failures count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Timing {
    /// Time between the beginnings of two runs (keepalived `delay_loop`); a run begins only when the one before has ended.
    pub interval: Duration,
    /// Failures in a row beyond the first before the verdict is down (keepalived `retry`).
    pub retry: u32,
    /// From a failure that does not decide yet to the next run (keepalived `delay_before_retry`).
    pub delay_before_retry: Duration,
    /// From a failure that does not decide yet to the next run, where a failure is to be confirmed quickly and then
    /// acted on; None: `delay_before_retry`. An option of lvsd's own.
    pub confirm: Option<Duration>,
    /// Passes in a row that bring a server back that was down, at least 1 (keepalived: always 1).
    pub rise: u32,
    /// Longest random delay before the first run (keepalived `warmup`); None: spread over min(interval, 1 s).
    pub warmup: Option<Duration>,
}

impl Timing {
    /// From a failure that does not decide yet to the next run.
    pub fn pause_before_retry(&self) -> Duration {
        self.confirm.unwrap_or(self.delay_before_retry)
    }
}
