//! Checks that virtual routers track (`vrrp_check`): checkers like those of real servers, whose verdicts go to the router.
//!
//! A check is well while all of its checkers are up. What it was keeps counting until there is a new verdict: before the first
//! one nothing is reported, and the router waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Director;
use super::checkers::{CheckerId, Entry};
use super::event::Event;
use super::io::Effect;
use super::status::{CheckerHistory, HealthStatus, checker_history};
use crate::check::schedule::Health;
use crate::config::Config;
use crate::time::Instant;
use crate::vrrp::settings::{CheckSettings, TrackTarget};

/// All checks that are tracked.
#[derive(Debug, Default)]
pub(super) struct TrackChecks {
    all: BTreeMap<String, TrackCheck>,
    /// Those whose verdict may be another.
    changed: BTreeSet<String>,
}

#[derive(Debug)]
struct TrackCheck {
    settings: Arc<CheckSettings>,
    checkers: Vec<CheckerId>,
    /// As reported; None before the first verdict.
    is_up: Option<bool>,
    /// Since when it is so.
    since: Instant,
}

/// A check that virtual routers track, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackCheckStatus {
    pub name: String,
    /// Whether it counts as up; None before the first verdict.
    pub is_up: Option<bool>,
    /// The worst of its checkers.
    pub health: HealthStatus,
    /// For how many seconds it is up, or down.
    pub since_seconds: u64,
    /// Why, in words.
    pub reason: String,
    /// Runs of its checkers that ended, since they began.
    pub checks: u64,
    /// Those of them that failed.
    pub check_failures: u64,
    /// For how many seconds a checker could not run, for a reason of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unverified_seconds: Option<u64>,
}

/// Everything known about one of these checks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackCheckHistory {
    /// How it stands.
    pub status: TrackCheckStatus,
    pub checkers: Vec<CheckerHistory>,
}

impl Director {
    /// Runs the checks that this configuration tracks, and no others; one that stays the same goes on as if nothing happened.
    pub(super) fn configure_track_checks(
        &mut self,
        config: &Config,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let settings = &config.vrrp;
        if settings.checks.is_empty() && self.track_checks.all.is_empty() {
            return;
        }
        let followed = settings.followed();
        let mut before = std::mem::take(&mut self.track_checks.all);
        let mut by_spec = self.checkers.by_spec();
        let wanted = settings
            .checks
            .iter()
            .filter(|(name, _)| followed.contains(&TrackTarget::Check((*name).clone())));
        for (name, settings) in wanted {
            let old = before.remove(name);
            let mut checkers = Vec::with_capacity(settings.checkers.len());
            for spec in &settings.checkers {
                let id = self.checkers.find_or_make(&mut by_spec, spec, None, &mut self.rng, now);
                self.checkers.track(id);
                let is_fresh =
                    self.checkers.get(id).is_some_and(|entry| entry.schedule.health() == Health::Unknown);
                if is_fresh {
                    match &old {
                        Some(old) => self.inherit_track_check(id, &old.checkers, now),
                        None if settings.begins_failed => self.checkers.begin_down(id),
                        None => {}
                    }
                }
                checkers.push(id);
            }
            let (is_up, since) = old.map_or((None, now), |old| (old.is_up, old.since));
            let check = TrackCheck { settings: Arc::clone(settings), checkers, is_up, since };
            self.track_checks.all.insert(name.clone(), check);
            self.track_checks.changed.insert(name.clone());
        }
        let tracked =
            self.track_checks.all.values().flat_map(|check| check.checkers.iter().copied()).collect();
        effects.extend(self.checkers.track_only(tracked).into_iter().map(Effect::CancelProbe));
    }

    /// A changed check goes on from what its like knew: its first failure is not the first ever.
    fn inherit_track_check(&mut self, id: CheckerId, old: &[CheckerId], now: Instant) {
        let identity = |entry: &Entry| (entry.spec.question.keyword(), entry.spec.target.address);
        let Some(new) = self.checkers.get(id).map(identity) else { return };
        let like = old.iter().filter_map(|old| self.checkers.get(*old)).find(|entry| identity(entry) == new);
        let known =
            like.and_then(|entry| Some((entry.schedule.health().is_up()?, entry.schedule.last()?.clone())));
        match known {
            Some((true, last)) => self.checkers.know_up(id, now, last),
            Some((false, last)) => self.checkers.know_down(id, now, last),
            None => {}
        }
    }

    /// A checker's verdict is another.
    pub(super) fn track_checks_changed(&mut self, id: CheckerId) {
        if self.checkers.is_tracked(id) {
            let named = self.track_checks.all.iter().filter(|(_, check)| check.checkers.contains(&id));
            self.track_checks.changed.extend(named.map(|(name, _)| name.clone()));
        }
    }

    /// Reports the verdicts that are new.
    pub(super) fn report_track_checks(
        &mut self,
        now: Instant,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        for name in std::mem::take(&mut self.track_checks.changed) {
            let Some(check) = self.track_checks.all.get(&name) else { continue };
            let verdict = self.verdict(check);
            if verdict.is_none() || verdict == check.is_up {
                continue;
            }
            let reason = self.track_check_reason(check);
            let Some(check) = self.track_checks.all.get_mut(&name) else { continue };
            (check.is_up, check.since) = (verdict, now);
            let is_up = verdict == Some(true);
            events.push(Event::TrackCheck { name: name.clone(), is_up, reason });
            effects.push(Effect::TrackCheck { name, is_up });
        }
    }

    /// None before there is one.
    fn verdict(&self, check: &TrackCheck) -> Option<bool> {
        let all: Vec<Option<bool>> =
            self.entries_of(check).map(|entry| entry.schedule.health().is_up()).collect();
        if all.contains(&Some(false)) {
            return Some(false);
        }
        (!all.is_empty() && all.iter().all(|is_up| *is_up == Some(true))).then_some(true)
    }

    fn entries_of<'a>(&'a self, check: &'a TrackCheck) -> impl Iterator<Item = &'a Entry> {
        check.checkers.iter().filter_map(|id| self.checkers.get(*id))
    }

    /// The reason of the first checker that is down, else of the first one that failed last, else of the first.
    fn track_check_reason(&self, check: &TrackCheck) -> String {
        let worst = self.entries_of(check).max_by_key(|entry| HealthStatus::from(entry.schedule.health()));
        let Some(entry) = worst else { return String::new() };
        let (checker, target) = (entry.spec.question.keyword(), entry.spec.target.address);
        match entry.schedule.last() {
            Some(last) => format!("{checker} of {target}: {}", last.reason),
            None if check.settings.begins_failed => {
                format!("{checker} of {target}: counts as failed until it has passed (init_fail)")
            }
            None => format!("{checker} of {target}: not checked yet"),
        }
    }

    /// What is known of every check that has a verdict: for a router that has just begun.
    pub(crate) fn track_check_levels(&self) -> impl Iterator<Item = (&str, bool)> {
        self.track_checks.all.iter().filter_map(|(name, check)| Some((&**name, check.is_up?)))
    }

    /// All of them, by name.
    pub(super) fn track_check_status(&self, now: Instant) -> Vec<TrackCheckStatus> {
        self.track_checks.all.values().map(|check| self.status_of_track_check(now, check)).collect()
    }

    fn status_of_track_check(&self, now: Instant, check: &TrackCheck) -> TrackCheckStatus {
        let entries = || self.entries_of(check);
        let unverified = entries().filter_map(|entry| entry.schedule.inconclusive_since()).min();
        TrackCheckStatus {
            name: check.settings.name.clone(),
            is_up: check.is_up,
            health: entries().map(|e| e.schedule.health().into()).max().unwrap_or(HealthStatus::Unknown),
            since_seconds: now.since(check.since).as_secs(),
            reason: self.track_check_reason(check),
            checks: entries().map(|entry| u64::from(entry.runs)).sum(),
            check_failures: entries().map(|entry| u64::from(entry.failures)).sum(),
            unverified_seconds: unverified.map(|since| now.since(since).as_secs()),
        }
    }

    /// Everything known about the health of all of them.
    pub fn track_check_histories(&self, now: Instant) -> Vec<TrackCheckHistory> {
        let history = |check: &TrackCheck| TrackCheckHistory {
            status: self.status_of_track_check(now, check),
            checkers: self.entries_of(check).map(|entry| checker_history(now, entry, false)).collect(),
        };
        self.track_checks.all.values().map(history).collect()
    }
}
