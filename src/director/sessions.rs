//! BFD sessions as BFD_CHECK sees them. A check of a session starts no probe: it takes what the session last reported, at once
//! when that changes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Director;
use crate::bfd::sessions::Level;
use crate::check::outcome::{Outcome, Phase};
use crate::check::spec::Reporter;
use crate::config::Config;
use crate::time::Instant;

/// A session says how it is within seconds of its beginning; after so long there is nothing to wait for.
const PATIENCE: Duration = Duration::from_secs(15);

/// What is known of every session of the configuration.
#[derive(Debug, Default)]
pub(super) struct SessionLevels(BTreeMap<String, Known>);

#[derive(Debug)]
enum Known {
    Reported(Level),
    /// It began then, and may be about to come up.
    Unknown {
        since: Instant,
    },
}

/// What a check of a session makes of it.
pub(super) enum Answer {
    /// Its outcome, and what it adds to the weight while it passes.
    Outcome(Outcome, i64),
    /// To be asked again then, unless it reports before.
    Later(Instant),
}

impl Answer {
    /// One that leaves the weight alone.
    pub(super) fn outcome(outcome: Outcome) -> Answer {
        Answer::Outcome(outcome, 0)
    }
}

impl SessionLevels {
    /// Knows the sessions of this configuration.
    pub(super) fn configure(&mut self, config: &Config, now: Instant) {
        let sessions = &config.vrrp.sessions;
        self.0.retain(|name, _| sessions.contains_key(name));
        for name in sessions.keys() {
            self.0.entry(name.clone()).or_insert(Known::Unknown { since: now });
        }
    }

    pub(super) fn answer(&self, name: &str, now: Instant) -> Answer {
        match self.0.get(name) {
            Some(Known::Reported(Level { is_up: true, neighbor, .. })) => {
                Answer::outcome(Outcome::pass(format!("session {name} with {neighbor} is up")))
            }
            Some(Known::Reported(Level { neighbor, reason, .. })) => {
                let text = format!("session {name} with {neighbor} is down: {reason}");
                Answer::outcome(Outcome::fail(Phase::Judge, text))
            }
            Some(Known::Unknown { since }) if now < *since + PATIENCE => Answer::Later(*since + PATIENCE),
            _ => {
                let text = format!("session {name} reports nothing: its thread could not be started");
                Answer::outcome(Outcome::inconclusive(Phase::Socket, text))
            }
        }
    }
}

impl Director {
    /// A session reported.
    pub(super) fn session_is(&mut self, level: Level, now: Instant) {
        let reporter = Reporter::Session(level.name.as_str().into());
        if let Some(known) = self.sessions.0.get_mut(&level.name) {
            *known = Known::Reported(level);
            self.checkers.begin_checks_of(&reporter, now);
        }
    }

    /// A session ended; where it begins anew, as with another neighbour, its checks keep their verdicts until it reports.
    pub(super) fn session_is_gone(&mut self, name: &str, now: Instant) {
        if let Some(known) = self.sessions.0.get_mut(name) {
            *known = Known::Unknown { since: now };
        }
    }
}
