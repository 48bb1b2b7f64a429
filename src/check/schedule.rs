//! The history that makes a verdict: when one checker runs next, and what its outcomes mean.
//!
//! Pure: time is an argument, the random delay of the first run comes from the caller's generator. It refuses to
//! know who subscribes to the verdict. Semantics are keepalived's: the first failure ever decides at once; later
//! ones must repeat `retry` more times; `rise` passes (keepalived: one) bring the server back; a run that could not
//! be made here (`ProbeResult::Inconclusive`) changes nothing. The first run comes soon; the others when it is the checker's
//! [`Turn`], so that thousands that began together do not go on together.

use std::time::Duration;

use super::outcome::{Outcome, ProbeResult};
use super::spec::Timing;
use crate::time::Instant;

/// Attempts that are kept.
const ATTEMPTS: usize = 8;
/// Intervals without a verdict after which the last one is stale.
const STALE_AFTER: u32 = 3;
/// Longest spread of first runs when `warmup` is not given.
const SPREAD: Duration = Duration::from_secs(1);

/// What the runs so far say together: the verdict on which the director acts. What one run says alone is
/// [`ProbeResult`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// No run has given a verdict yet.
    Unknown,
    /// The last run passed.
    Up,
    /// Up, but this many last runs failed: at least 1, at most `retry`.
    Failing(u32),
    /// Failed, and has not passed since.
    Down,
    /// Down, but this many last runs passed: at least 1, fewer than `rise`.
    Rising(u32),
}

impl Health {
    /// Whether the history says the server works; None before the first verdict.
    pub fn is_up(self) -> Option<bool> {
        match self {
            Health::Unknown => None,
            Health::Up | Health::Failing(_) => Some(true),
            Health::Down | Health::Rising(_) => Some(false),
        }
    }
}

/// Runs in a row that ended alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// How the last of them ended.
    pub outcome: Outcome,
    /// When the first of them ended.
    pub since: Instant,
    /// When the last of them ended.
    pub until: Instant,
    /// How many there were.
    pub count: u32,
}

/// When within its interval a checker is due, on the machine's clock: a fraction of the interval, of 2^32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Turn(u32);

impl Turn {
    /// The turn of the `n`th checker: multiples of the golden ratio, of which any in a row are spread evenly.
    pub(crate) fn nth(n: u64) -> Turn {
        let scaled = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        Turn(u32::try_from(scaled).unwrap_or_default())
    }

    /// The first time after `now`: never later than an interval, and exactly that after the last time.
    fn after(self, now: Instant, interval: Duration) -> Instant {
        let interval = interval.as_nanos().max(1);
        let offset = (interval * u128::from(self.0)) >> 32;
        let into = (u128::from(now.as_nanos()) + interval - offset) % interval;
        now + Duration::from_nanos(u64::try_from(interval - into).unwrap_or(u64::MAX))
    }
}

/// Identifies one run of one checker; an outcome that carries another number is stale.
pub type RunId = u64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Activity {
    Waiting { until: Instant },
    Running { run: RunId },
}

/// One checker's schedule and history; its timing is the caller's, where the specification stands.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    health: Health,
    /// Since when `health` says up, or down, or nothing.
    since: Instant,
    activity: Activity,
    attempts: Vec<Attempt>,
    /// [`NEVER`] while runs can be made; thousands of these are kept, and an Option is twice as large.
    inconclusive_since: Instant,
}

/// Longer than any machine runs.
const NEVER: Instant = Instant::from_nanos(u64::MAX);

impl Schedule {
    /// A checker that begins now with nothing known; its first run comes after a random part of `warmup`, or of
    /// min(interval, 1 s).
    pub(crate) fn new(timing: &Timing, rng: &mut fastrand::Rng, now: Instant) -> Schedule {
        let longest = timing.warmup.unwrap_or_else(|| timing.interval.min(SPREAD));
        let longest = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let delay = Duration::from_nanos(rng.u64(0..=longest));
        Schedule {
            health: Health::Unknown,
            since: now,
            activity: Activity::Waiting { until: now + delay },
            // Most checkers pass for ever, which is one attempt.
            attempts: Vec::with_capacity(1),
            inconclusive_since: NEVER,
        }
    }

    /// Begins with a verdict known from before a restart or a change of the specification: down.
    pub(crate) fn know_down(&mut self, now: Instant, last: Outcome) {
        self.health = Health::Down;
        self.remember(now, last);
    }

    /// Begins without a verdict as if it had failed: it has to pass `rise` times.
    pub(crate) fn begin_down(&mut self) {
        self.health = Health::Down;
    }

    /// Begins with a verdict known from before a change of the specification: up, so that `retry` counts.
    pub(crate) fn know_up(&mut self, now: Instant, last: Outcome) {
        self.health = Health::Up;
        self.remember(now, last);
    }

    /// Runs that ended alike are one attempt: a server that is well for days needs no more room than one just seen.
    fn remember(&mut self, now: Instant, outcome: Outcome) {
        if let Some(last) = self.attempts.last_mut()
            && last.outcome.is_like(&outcome)
        {
            last.outcome = outcome;
            last.until = now;
            last.count = last.count.saturating_add(1);
            return;
        }
        if self.attempts.len() == ATTEMPTS {
            self.attempts.remove(0);
        }
        self.attempts.push(Attempt { outcome, since: now, until: now, count: 1 });
    }

    /// When the next run is due; None while one is under way.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.activity {
            Activity::Waiting { until } => Some(until),
            Activity::Running { .. } => None,
        }
    }

    /// Puts the next run off, or forward; does nothing while one is under way.
    pub(crate) fn wait_until(&mut self, until: Instant) {
        if let Activity::Waiting { until: before } = &mut self.activity {
            *before = until;
        }
    }

    /// Marks a run as begun.
    pub(crate) fn begin(&mut self, run: RunId) {
        self.activity = Activity::Running { run };
    }

    /// Forgets the run under way.
    pub(crate) fn cancel(&mut self, now: Instant) {
        self.activity = Activity::Waiting { until: now };
    }

    /// The run under way, if any.
    pub(crate) fn running(&self) -> Option<RunId> {
        match self.activity {
            Activity::Waiting { .. } => None,
            Activity::Running { run } => Some(run),
        }
    }

    /// Takes the outcome of a run; false when it is not the run under way (stale, ignored).
    pub(crate) fn finish(
        &mut self,
        timing: &Timing,
        turn: Turn,
        now: Instant,
        run: RunId,
        outcome: Outcome,
    ) -> bool {
        if self.running() != Some(run) {
            return false;
        }
        let before = self.health.is_up();
        self.health = match (outcome.result, self.health) {
            (ProbeResult::Inconclusive, held) => held,
            (ProbeResult::Pass, Health::Unknown | Health::Up | Health::Failing(_)) => Health::Up,
            (ProbeResult::Pass, Health::Down) => passed_times(timing, 1),
            (ProbeResult::Pass, Health::Rising(n)) => passed_times(timing, n.saturating_add(1)),
            (ProbeResult::Fail, Health::Unknown | Health::Down | Health::Rising(_)) => Health::Down,
            (ProbeResult::Fail, Health::Up) => failed_times(timing, 1),
            (ProbeResult::Fail, Health::Failing(n)) => failed_times(timing, n.saturating_add(1)),
        };
        self.inconclusive_since = match outcome.result {
            ProbeResult::Inconclusive => self.inconclusive_since.min(now),
            ProbeResult::Pass | ProbeResult::Fail => NEVER,
        };
        if self.health.is_up() != before {
            self.since = now;
        }
        self.remember(now, outcome);
        let until = match self.health {
            Health::Failing(_) if self.inconclusive_since == NEVER => now + timing.pause_before_retry(),
            _ => turn.after(now, timing.interval),
        };
        self.activity = Activity::Waiting { until };
        true
    }

    /// Whether a failure now would be the one that takes the server down, or keep it down.
    pub(crate) fn decides(&self, timing: &Timing) -> bool {
        let failures = match self.health {
            Health::Up => 0,
            Health::Failing(n) => n,
            Health::Unknown | Health::Down | Health::Rising(_) => return true,
        };
        failures >= timing.retry
    }

    /// What the runs so far say together: the verdict on which the director acts. What one run says alone is
    /// [`ProbeResult`].
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// How the last run ended.
    pub(crate) fn last(&self) -> Option<&Outcome> {
        self.attempts.last().map(|a| &a.outcome)
    }

    /// When the last run passed, if the last one did.
    pub(crate) fn passed_at(&self) -> Option<Instant> {
        let last = self.attempts.last()?;
        (last.outcome.result == ProbeResult::Pass).then_some(last.until)
    }

    /// The last attempts, oldest first.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter()
    }

    /// Since when runs could not be made, for a reason of this host.
    pub(crate) fn inconclusive_since(&self) -> Option<Instant> {
        Some(self.inconclusive_since).filter(|since| *since != NEVER)
    }

    /// Whether runs could not be made for so long that the verdict that is held may well be wrong.
    pub(crate) fn is_stale(&self, timing: &Timing, now: Instant) -> bool {
        let limit = timing.interval.saturating_mul(STALE_AFTER);
        self.inconclusive_since().is_some_and(|since| now.since(since) >= limit)
    }
}

fn failed_times(timing: &Timing, failures: u32) -> Health {
    if failures > timing.retry { Health::Down } else { Health::Failing(failures) }
}

fn passed_times(timing: &Timing, passes: u32) -> Health {
    if passes >= timing.rise { Health::Up } else { Health::Rising(passes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::outcome::Phase;

    /// Every (health, verdict) and what must follow, with retry 2 and rise 3.
    #[test]
    fn the_transition_table_is_exhaustive() {
        use Health::{Down, Failing, Rising, Unknown, Up};
        use ProbeResult::{Fail, Inconclusive, Pass};
        let table = [
            (Unknown, Pass, Up),
            (Unknown, Fail, Down),
            (Unknown, Inconclusive, Unknown),
            (Up, Pass, Up),
            (Up, Fail, Failing(1)),
            (Up, Inconclusive, Up),
            (Failing(1), Pass, Up),
            (Failing(1), Fail, Failing(2)),
            (Failing(1), Inconclusive, Failing(1)),
            (Failing(2), Pass, Up),
            (Failing(2), Fail, Down),
            (Failing(2), Inconclusive, Failing(2)),
            (Down, Pass, Rising(1)),
            (Rising(1), Pass, Rising(2)),
            (Rising(1), Fail, Down),
            (Rising(1), Inconclusive, Rising(1)),
            (Rising(2), Pass, Up),
            (Rising(2), Fail, Down),
            (Rising(2), Inconclusive, Rising(2)),
            (Down, Fail, Down),
            (Down, Inconclusive, Down),
        ];
        for (before, result, after) in table {
            let mut s = schedule(Timing { rise: 3, ..timing(2) });
            s.schedule.health = before;
            run(&mut s, result);
            assert_eq!(s.health(), after, "{before:?} then {result:?}");
        }
    }

    #[test]
    fn without_retry_the_first_failure_takes_it_down() {
        let mut s = schedule(timing(0));
        run(&mut s, ProbeResult::Pass);
        run(&mut s, ProbeResult::Fail);
        assert_eq!(s.health(), Health::Down);
    }

    #[test]
    fn an_undecided_failure_is_repeated_after_delay_before_retry_and_everything_else_after_the_interval() {
        let mut s = schedule(timing(1));
        assert_eq!(run(&mut s, ProbeResult::Pass), Duration::from_secs(6));
        assert_eq!(run(&mut s, ProbeResult::Fail), Duration::from_secs(3));
        assert_eq!(run(&mut s, ProbeResult::Inconclusive), Duration::from_secs(6));
        assert_eq!(run(&mut s, ProbeResult::Fail), Duration::from_secs(6), "down: no hurry");
    }

    #[test]
    fn one_pass_brings_a_server_back_as_keepalived_does() {
        let mut s = schedule(timing(0));
        run(&mut s, ProbeResult::Fail);
        run(&mut s, ProbeResult::Pass);
        assert_eq!(s.health(), Health::Up);
    }

    #[test]
    fn a_failure_is_confirmed_quickly_where_that_is_asked_for() {
        let mut s = schedule(Timing { confirm: Some(Duration::from_millis(200)), ..timing(2) });
        run(&mut s, ProbeResult::Pass);
        assert_eq!(run(&mut s, ProbeResult::Fail), Duration::from_millis(200));
        assert_eq!(run(&mut s, ProbeResult::Fail), Duration::from_millis(200));
        assert_eq!(run(&mut s, ProbeResult::Fail), Duration::from_secs(6));
        assert_eq!(s.health(), Health::Down);
    }

    #[test]
    fn attempts_that_ended_alike_are_one_and_only_the_last_eight_are_kept() {
        let mut s = schedule(timing(0));
        for _ in 0..1000 {
            run(&mut s, ProbeResult::Pass);
        }
        assert_eq!(s.attempts().map(|a| a.count).collect::<Vec<_>>(), [1000]);
        for _ in 0..10 {
            run(&mut s, ProbeResult::Fail);
            run(&mut s, ProbeResult::Pass);
        }
        assert_eq!(s.attempts().count(), ATTEMPTS);
        assert_eq!(s.last().map(|o| o.result), Some(ProbeResult::Pass));
    }

    #[test]
    fn a_stale_outcome_is_ignored() {
        let mut s = schedule(timing(0));
        s.schedule.begin(7);
        assert!(!s.schedule.finish(&s.timing, Turn(0), at(1), 6, outcome(ProbeResult::Fail)));
        assert_eq!(s.health(), Health::Unknown);
        assert_eq!(s.running(), Some(7));
    }

    #[test]
    fn a_run_that_could_not_be_made_is_remembered_until_one_can() {
        let mut s = schedule(timing(0));
        run(&mut s, ProbeResult::Pass);
        run_at(&mut s, 5, ProbeResult::Inconclusive);
        run_at(&mut s, 9, ProbeResult::Inconclusive);
        assert_eq!(s.inconclusive_since(), Some(at(5)));
        run(&mut s, ProbeResult::Pass);
        assert_eq!(s.inconclusive_since(), None);
    }

    #[test]
    fn a_verdict_is_stale_after_three_intervals_without_one() {
        let mut s = schedule(timing(0));
        run_at(&mut s, 1, ProbeResult::Pass);
        run_at(&mut s, 10, ProbeResult::Inconclusive);
        assert!(!s.is_stale(&s.timing, at(27)));
        assert!(s.is_stale(&s.timing, at(28)));
        run_at(&mut s, 29, ProbeResult::Fail);
        assert!(!s.is_stale(&s.timing, at(60)));
    }

    #[test]
    fn the_first_run_comes_within_warmup_or_within_a_second() {
        for seed in 0..200 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let s = Schedule::new(&timing(0), &mut rng, at(100));
            let first = s.deadline().unwrap();
            assert!(first >= at(100) && first <= at(101), "{first:?}");
            let warm = Timing { warmup: Some(Duration::ZERO), ..timing(0) };
            assert_eq!(Schedule::new(&warm, &mut rng, at(100)).deadline(), Some(at(100)));
        }
    }

    #[test]
    fn a_turn_comes_once_an_interval_without_drift_and_those_in_a_row_are_spread() {
        let interval = Duration::from_secs(6);
        for first in [1, 1000, u64::MAX - 50] {
            let turns = (0..100).map(|n| Turn::nth(first.wrapping_add(n)));
            let mut of_each_second = [0; 6];
            for turn in turns {
                let due = turn.after(at(1000), interval);
                assert!(due > at(1000) && due <= at(1006), "{due:?}");
                of_each_second[usize::try_from(due.since(at(1000)).as_millis() / 1001).unwrap()] += 1;
                for ended in [0, 1, 5_999_999_999] {
                    assert_eq!(turn.after(due + Duration::from_nanos(ended), interval), due + interval);
                }
                let late = due + interval + Duration::from_nanos(1);
                assert_eq!(turn.after(late, interval), due + interval * 2, "a run that takes longer");
            }
            assert!(of_each_second.iter().all(|n| (14..=19).contains(n)), "{of_each_second:?}");
        }
        assert!(Turn::nth(7).after(at(0), Duration::ZERO) > at(0));
    }

    #[test]
    fn since_moves_only_when_the_answer_does() {
        let mut s = schedule(timing(1));
        for (t, result, since) in [
            (1, ProbeResult::Pass, 1),
            (2, ProbeResult::Fail, 1),
            (3, ProbeResult::Pass, 1),
            (4, ProbeResult::Fail, 1),
            (5, ProbeResult::Fail, 5),
            (6, ProbeResult::Fail, 5),
        ] {
            run_at(&mut s, t, result);
            assert_eq!(s.since, at(since), "after {result:?} at {t}");
        }
    }

    fn timing(retry: u32) -> Timing {
        Timing {
            interval: Duration::from_secs(6),
            retry,
            delay_before_retry: Duration::from_secs(3),
            confirm: None,
            rise: 1,
            warmup: None,
        }
    }

    struct Timed {
        timing: Timing,
        schedule: Schedule,
    }

    impl std::ops::Deref for Timed {
        type Target = Schedule;

        fn deref(&self) -> &Schedule {
            &self.schedule
        }
    }

    fn schedule(timing: Timing) -> Timed {
        let schedule = Schedule::new(&timing, &mut fastrand::Rng::with_seed(1), Instant::ZERO);
        Timed { timing, schedule }
    }

    fn run(s: &mut Timed, result: ProbeResult) -> Duration {
        run_at(s, 48, result)
    }

    /// Runs once; returns the pause until the next run.
    fn run_at(s: &mut Timed, seconds: u64, result: ProbeResult) -> Duration {
        s.schedule.begin(99);
        assert!(s.schedule.finish(&s.timing, Turn(0), at(seconds), 99, outcome(result)));
        s.deadline().unwrap().since(at(seconds))
    }

    fn outcome(result: ProbeResult) -> Outcome {
        Outcome { result, ..Outcome::fail(Phase::Done, "") }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }
}
