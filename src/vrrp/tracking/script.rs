//! `vrrp_script`: when it runs, and what its runs amount to.
//!
//! keepalived's counter: from 0 to rise + fall - 1; a script is up from `rise` on. The first result alone decides,
//! unless `init_fail` wants `rise` successes.

use std::sync::Arc;

use crate::time::Instant;
use crate::vrrp::settings::ScriptSettings;

/// A followed script.
#[derive(Debug)]
pub(crate) struct ScriptTrack {
    settings: Arc<ScriptSettings>,
    counter: u32,
    /// None before the first result.
    level: Option<bool>,
    next: Instant,
    run: Option<Run>,
    /// Why it cannot do its work, or be run, as it was reported.
    complaint: Option<String>,
}

/// A run under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// When it counts as failed.
    over: Instant,
    has_counted: bool,
}

/// What is to be done about a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Run it. Its time limit is the settings' own.
    pub begins: bool,
    /// Its level, where that changed or is known for the first time.
    pub level: Option<bool>,
    /// To be logged: it cannot do its work, or can again.
    pub complaint: Option<Complaint>,
}

/// What an operator must hear of a script, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// It cannot do its work, and counts as failed.
    CannotRun(String),
    /// This host cannot run it now, and it counts as it did.
    HostCannot(String),
    /// It can again.
    RunsAgain,
}

impl ScriptTrack {
    pub(crate) fn new(settings: Arc<ScriptSettings>, now: Instant) -> ScriptTrack {
        let counter = if settings.begins_failed { 0 } else { settings.rise.saturating_sub(1) };
        ScriptTrack { settings, counter, level: None, next: now, run: None, complaint: None }
    }

    /// The same script under other settings: what is known of it stays, and a changed time counts from its next run.
    pub(crate) fn reconfigure(&mut self, settings: Arc<ScriptSettings>) {
        self.counter = match self.level {
            Some(true) => top(&settings),
            Some(false) => 0,
            None if settings.begins_failed => 0,
            None => settings.rise.saturating_sub(1),
        };
        self.settings = settings;
    }

    pub(crate) fn settings(&self) -> &Arc<ScriptSettings> {
        &self.settings
    }

    /// When [`ScriptTrack::advance`] has something to do.
    pub(crate) fn deadline(&self) -> Instant {
        match self.run {
            Some(Run { over, has_counted: false }) => self.next.min(over),
            _ => self.next,
        }
    }

    /// Does what is due.
    pub(crate) fn advance(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        if self.settings.begins_failed && self.level.is_none() {
            self.level = Some(false);
            due.level = Some(false);
        }
        if let Some(run) = self.run.as_mut().filter(|run| now >= run.over && !run.has_counted) {
            // Counted now, and not when it is at last ended: it may never be.
            run.has_counted = true;
            due.level = self.count(false).or(due.level);
        }
        if now < self.next {
            return due;
        }
        // Late by more than one run: the missed ones are not made up for.
        let regular = self.next + self.settings.interval;
        self.next = if regular > now { regular } else { now + self.settings.interval };
        match self.run {
            None => {
                self.run = Some(Run { over: now + self.settings.timeout, has_counted: false });
                due.begins = true;
            }
            // A script that cannot even be ended must not stay up because it runs no more.
            Some(Run { has_counted: true, .. }) => due.level = self.count(false).or(due.level),
            Some(Run { has_counted: false, .. }) => {}
        }
        due
    }

    /// Its run ended: well, badly, or without doing anything (then why).
    pub(crate) fn ended(&mut self, is_success: bool, cannot_run: Option<String>) -> Due {
        let mut due = Due::default();
        let Some(run) = self.run.take() else { return due };
        if !run.has_counted {
            due.level = self.count(is_success && cannot_run.is_none());
        }
        due.complaint = match (&cannot_run, &self.complaint) {
            (Some(new), old) if old.as_ref() != Some(new) => Some(Complaint::CannotRun(new.clone())),
            (None, Some(_)) => Some(Complaint::RunsAgain),
            _ => None,
        };
        self.complaint = cannot_run;
        due
    }

    /// This host could not run it, for want of something: that says nothing of what the script looks at.
    pub(crate) fn not_run(&mut self, why: String) -> Due {
        if self.run.take().is_none() || self.complaint.as_ref() == Some(&why) {
            return Due::default();
        }
        self.complaint = Some(why.clone());
        Due { complaint: Some(Complaint::HostCannot(why)), ..Due::default() }
    }

    /// Counts a result; the level where it changed.
    fn count(&mut self, is_success: bool) -> Option<bool> {
        let (rise, top) = (self.settings.rise.max(1), top(&self.settings));
        self.counter = match (is_success, self.counter) {
            (true, n) if n + 1 < rise => n + 1,
            (true, _) => top,
            (false, n) if n > rise => n - 1,
            (false, _) => 0,
        };
        let level = self.counter >= rise;
        // On the way up the first results of `init_fail` change nothing; without it the first one decides.
        let is_new = self.level != Some(level);
        self.level = Some(level);
        is_new.then_some(level)
    }
}

fn top(settings: &ScriptSettings) -> u32 {
    settings.rise.max(1).saturating_add(settings.fall.max(1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Command;
    use std::time::Duration;

    fn track(rise: u32, fall: u32, begins_failed: bool) -> ScriptTrack {
        let settings = ScriptSettings {
            name: "chk".to_owned(),
            command: Command { words: vec!["/chk".to_owned()], user: None, group: None },
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            weight: 0,
            is_reversed: false,
            rise,
            fall,
            begins_failed,
        };
        ScriptTrack::new(Arc::new(settings), at(0.0))
    }

    fn at(seconds: f64) -> Instant {
        Instant::ZERO + Duration::from_secs_f64(seconds)
    }

    /// Runs with these results, `s` or `f`; the level after each, as reported (`u`, `d`), or a dot for nothing new.
    fn levels(track: &mut ScriptTrack, results: &str) -> String {
        let mut levels = String::new();
        for result in results.chars() {
            let begun = track.advance(track.deadline());
            assert!(begun.begins, "a run is due");
            let level = track.ended(result == 's', None).level.or(begun.level);
            levels.push(level.map_or('.', |is_up| if is_up { 'u' } else { 'd' }));
        }
        levels
    }

    #[test]
    fn the_table_of_rise_and_fall() {
        let table = [
            // rise, fall, init_fail, results, what is reported
            (1, 1, false, "sfsf", "udud"),
            (1, 1, false, "ffss", "d.u."),
            (3, 2, false, "sfsffsss", "u...d..u"),
            (3, 2, false, "fssfsss", "d.....u"),
            (2, 3, false, "sffsfff", "u.....d"),
            (2, 3, false, "fsfss", "d...u"),
            (1, 1, true, "s", "u"),
            (3, 1, true, "sssf", "d.ud"),
            (3, 1, true, "fsssf", "d..ud"),
            (1, 3, true, "fsfff", "du..d"),
        ];
        for (rise, fall, begins_failed, results, expected) in table {
            let mut track = track(rise, fall, begins_failed);
            let case = (rise, fall, begins_failed, results);
            assert_eq!(levels(&mut track, results), expected, "{case:?}");
        }
    }

    #[test]
    fn init_fail_is_reported_before_the_first_run_ends() {
        let mut track = track(1, 1, true);
        assert_eq!(track.advance(at(0.0)), Due { begins: true, level: Some(false), complaint: None });
        assert_eq!(track.ended(true, None).level, Some(true));
    }

    #[test]
    fn runs_begin_at_the_interval_and_a_hanging_one_fails_at_its_timeout() {
        let mut track = track(1, 2, false);
        assert!(track.advance(at(0.0)).begins);
        assert_eq!(track.deadline(), at(1.0), "its timeout");
        assert_eq!(track.ended(true, None).level, Some(true));
        assert_eq!(track.deadline(), at(2.0), "from beginning to beginning");
        assert!(track.advance(at(2.0)).begins);
        assert_eq!(track.advance(at(3.0)), Due::default(), "the first of two failures");
        assert_eq!(track.deadline(), at(4.0));
        // It still hangs: nothing begins, and that is the second.
        assert_eq!(track.advance(at(4.0)), Due { level: Some(false), ..Due::default() });
        assert_eq!(track.ended(false, None).level, None, "its end is not a third");
        assert!(track.advance(at(6.0)).begins);
        assert_eq!(track.ended(true, None).level, Some(true));
    }

    #[test]
    fn a_run_longer_than_the_interval_is_no_failure_within_its_timeout() {
        let mut track = track(1, 1, false);
        let settings = ScriptSettings { timeout: Duration::from_secs(5), ..(*track.settings).clone() };
        track.reconfigure(Arc::new(settings));
        assert!(track.advance(at(0.0)).begins);
        assert_eq!((track.advance(at(2.0)), track.advance(at(4.0))), (Due::default(), Due::default()));
        assert_eq!(track.ended(true, None).level, Some(true));
        assert_eq!(track.deadline(), at(6.0));
    }

    #[test]
    fn a_late_clock_does_not_run_it_many_times() {
        let mut track = track(1, 1, false);
        assert!(track.advance(at(0.0)).begins);
        track.ended(true, None);
        assert!(track.advance(at(61.5)).begins);
        assert_eq!(track.ended(true, None), Due::default());
        assert_eq!(track.deadline(), at(63.5));
    }

    #[test]
    fn one_that_cannot_run_is_failed_and_reported_once() {
        let mut track = track(1, 1, false);
        let mut run = |why: Option<&str>| {
            assert!(track.advance(track.deadline()).begins);
            let due = track.ended(true, why.map(str::to_owned));
            (due.level, due.complaint)
        };
        let missing = || Complaint::CannotRun("missing".to_owned());
        assert_eq!(run(Some("missing")), (Some(false), Some(missing())));
        assert_eq!(run(Some("missing")), (None, None));
        assert_eq!(run(Some("other")).1, Some(Complaint::CannotRun("other".to_owned())));
        assert_eq!(run(None), (Some(true), Some(Complaint::RunsAgain)));
        assert_eq!(run(None), (None, None));
    }

    #[test]
    fn one_that_this_host_cannot_run_counts_as_it_did_and_is_reported_once() {
        let mut track = track(1, 1, false);
        assert_eq!(levels(&mut track, "s"), "u");
        let mut run = |result: Result<bool, &str>| {
            assert!(track.advance(track.deadline()).begins);
            match result {
                Ok(is_success) => track.ended(is_success, None),
                Err(why) => track.not_run(why.to_owned()),
            }
        };
        let complaint = Some(Complaint::HostCannot("no descriptors".to_owned()));
        assert_eq!(run(Err("no descriptors")), Due { complaint, ..Due::default() });
        assert_eq!(run(Err("no descriptors")), Due::default());
        assert_eq!(run(Ok(true)), Due { complaint: Some(Complaint::RunsAgain), ..Due::default() });
        assert_eq!(run(Ok(false)).level, Some(false));
    }

    #[test]
    fn a_reload_keeps_what_is_known() {
        let mut track = track(1, 2, false);
        assert_eq!(levels(&mut track, "s"), "u");
        let settings = ScriptSettings { rise: 3, fall: 1, ..(*track.settings).clone() };
        track.reconfigure(Arc::new(settings));
        assert_eq!(levels(&mut track, "sfsss"), ".d..u");
    }

    /// With any results the counter stays in its bounds, and a level is reported exactly when it changes.
    #[test]
    fn every_history_of_eight_results_is_consistent() {
        for (rise, fall, begins_failed) in
            (1..4).flat_map(|r| (1..4).flat_map(move |f| [(r, f, false), (r, f, true)]))
        {
            for history in 0u32..256 {
                let mut track = track(rise, fall, begins_failed);
                let mut level = None;
                let (mut good, mut bad) = (0, 0);
                for bit in 0..8 {
                    let is_success = history >> bit & 1 == 1;
                    level = track.advance(track.deadline()).level.or(level);
                    let changed = track.ended(is_success, None).level;
                    assert!(changed.is_none() || changed != level, "reported only when it changed");
                    let is_first = bit == 0 && !begins_failed;
                    level = changed.or(level);
                    (good, bad) = if is_success { (good + 1, 0) } else { (0, bad + 1) };
                    assert!(track.counter < rise + fall);
                    if good >= rise || (is_first && is_success) {
                        assert_eq!(level, Some(true), "{rise} {fall} {begins_failed} {history:b} {bit}");
                    }
                    if bad >= fall || (is_first && !is_success) {
                        assert_eq!(level, Some(false), "{rise} {fall} {begins_failed} {history:b} {bit}");
                    }
                }
            }
        }
    }
}
