//! Begins the runs of checkers that are due, and judges their outcomes.

use std::collections::BTreeMap;

use super::Director;
use super::checkers::{CheckerId, Entry};
use super::event::Event;
use super::io::Effect;
use super::marks::Marks;
use super::path_check::{self, View, is_path_check};
use super::pool::Pool;
use super::sessions::Answer;
use super::timers::Timers;
use crate::check::outcome::{Outcome, ProbeResult};
use crate::check::schedule::RunId;
use crate::check::spec::Question;
use crate::config::VirtualServerId;
use crate::time::Instant;

impl Director {
    /// Gives path checks and reconciler the marks of probe services.
    pub(super) fn configure_path_check(&mut self) {
        let marks = Marks::of(&self.config);
        self.reconciler.ignore(marks.clone());
        self.path_check.configure(&self.config, marks);
    }

    pub(super) fn begin_checks(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        while let Some(id) = self.checkers.due(now) {
            if self.checkers.get(id).is_some_and(is_path_check) {
                self.run_path_check(now, path_check::Input::Due(id), events, effects);
            } else if let Some(answer) = self.reported(id, now) {
                match answer {
                    Answer::Later(at) => self.checkers.begin_at(id, at),
                    Answer::Outcome(outcome, added) => {
                        // While it fails there is nothing that a weight would change.
                        if outcome.result == ProbeResult::Pass
                            && self.checkers.add_weight(id, added)
                            && let Some(entry) = self.checkers.get(id)
                        {
                            recompute_subscribers(entry, &self.pools, &mut self.throttled);
                        }
                        if let Some((run, _)) = self.checkers.begin(now, id) {
                            self.finish_run(now, run, outcome, events, effects);
                        }
                    }
                }
            } else if let Some((run, spec)) = self.checkers.begin(now, id) {
                let sources = self.checkers.get(id).and_then(|entry| self.sources_of(entry));
                effects.push(Effect::StartProbe { run, spec, path: None, sources });
            }
        }
        // Before the kernel was read, left-over probe services are unknown.
        if self.reconciler.has_read() {
            self.run_path_check(now, path_check::Input::Wake, events, effects);
        }
    }

    /// What was reported to this checker (a BFD session, a file); None for a checker that asks the real server itself.
    fn reported(&self, id: CheckerId, now: Instant) -> Option<Answer> {
        match &self.checkers.get(id)?.spec.question {
            Question::Bfd(question) => Some(self.sessions.answer(&question.session, now)),
            Question::File(question) => Some(self.files.answer(question, now)),
            _ => None,
        }
    }

    /// Hands an input to the path checks and performs their effects.
    pub(super) fn run_path_check(
        &mut self,
        now: Instant,
        input: path_check::Input<'_>,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        let view = View {
            config: &self.config,
            checkers: &self.checkers,
            pools: &self.pools,
            placement: &self.placement,
            vrrp_link: &self.vrrp_link,
        };
        let mut wanted = Vec::new();
        self.path_check.handle(now, input, &view, &mut wanted);
        for effect in wanted {
            match effect {
                path_check::Effect::Probe(id, path) => {
                    let begun = self.checkers.begin(now, id).into_iter();
                    let start =
                        |(run, spec)| Effect::StartProbe { run, spec, path: Some(path), sources: None };
                    effects.extend(begun.map(start));
                }
                path_check::Effect::RunAt(id, at) => self.checkers.begin_at(id, at),
                path_check::Effect::Conclude(id, outcome) => {
                    let running = self.checkers.get(id).and_then(|entry| entry.schedule.running());
                    let run = running.or_else(|| self.checkers.begin(now, id).map(|(run, _)| run));
                    if let Some(run) = run {
                        self.finish_run(now, run, outcome, events, effects);
                    }
                }
                path_check::Effect::CountAsUp(id) => {
                    let key = self.checkers.get(id).and_then(|entry| entry.subscribers.first().copied());
                    let Some((server, at)) = key else { continue };
                    let member = self.pools.get_mut(&server).and_then(|pool| pool.members.get_mut(&at));
                    let all = member.into_iter().flat_map(|member| &mut member.subscriptions);
                    all.filter(|s| s.checker == id).for_each(|s| s.is_optimistic = true);
                    self.changed_pools.insert(server);
                }
            }
        }
    }

    /// A path check's outcome is judged by the path checks first.
    pub(super) fn probe_done(
        &mut self,
        now: Instant,
        run: RunId,
        outcome: Outcome,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.checkers.id_of_run(run) else { return };
        if self.checkers.get(id).is_some_and(is_path_check) {
            self.run_path_check(now, path_check::Input::ProbeDone { id, outcome }, events, effects);
        } else {
            self.finish_run(now, run, outcome, events, effects);
        }
    }

    fn finish_run(
        &mut self,
        now: Instant,
        run: RunId,
        outcome: Outcome,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.checkers.id_of_run(run) else { return };
        let (result, reason) = (outcome.result, outcome.reason.to_string());
        let Some(finished) = self.checkers.finish(now, run, outcome) else { return };
        let entry = finished.entry;
        let (checker, target) = (entry.spec.question.keyword(), entry.spec.target.address);
        let is_inconclusive = result == ProbeResult::Inconclusive;
        if is_inconclusive != finished.was_inconclusive {
            let reason = is_inconclusive.then(|| reason.clone());
            events.push(Event::Inconclusive { checker, target, reason });
        }
        if let Some(unchecked_for) = finished.became_stale {
            let is_up = entry.schedule.health().is_up();
            events.push(Event::Stale { checker, target, is_up, unchecked_for, reason: reason.clone() });
        }
        if result == ProbeResult::Fail && entry.spec.log_all_failures {
            events.push(Event::Attempt { checker, target, reason });
        }
        if let Some(certificate) = finished.certificate {
            let (time, expires_in) = (certificate.time(), certificate.expires_in);
            events.push(Event::Certificate { checker, target, time, expires_in });
        }
        let (was_up, is_up) = (finished.before.is_up(), entry.schedule.health().is_up());
        let is_weight_new = entry.weight != finished.weight_before;
        if is_up != was_up && !entry.subscribers.is_empty() {
            self.saves.mark_stale();
        }
        if is_up != was_up || is_weight_new {
            recompute_subscribers(entry, &self.pools, &mut self.throttled);
        }
        let is_path = is_path_check(entry);
        if is_up != was_up {
            self.track_checks_changed(id);
        }
        if !is_path {
            let came_up = is_up == Some(true) && was_up != is_up;
            let input = path_check::Input::OwnCheckEnded { id, result, came_up };
            self.run_path_check(now, input, events, effects);
        }
    }
}

/// Has the pools that subscribe to this check recomputed when their throttle ends.
fn recompute_subscribers(
    entry: &Entry,
    pools: &BTreeMap<VirtualServerId, Pool>,
    throttled: &mut Timers<VirtualServerId>,
) {
    for (server, _) in &entry.subscribers {
        if let Some(pool) = pools.get(server) {
            throttled.set(*server, Some(pool.throttled_until()));
        }
    }
}
