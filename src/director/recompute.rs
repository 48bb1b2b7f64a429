//! Pools of which something changed are settled: what the kernel should hold of each goes to the reconciler, and what the
//! kernel was seen to hold comes back to them.

use std::collections::BTreeSet;

use super::event::Event;
use super::io::Effect;
use super::reconcile::Readings;
use super::{Director, path_check};
use crate::time::Instant;

impl Director {
    pub(super) fn settle(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        self.unsettled.extend(self.left.due(now));
        let rested: BTreeSet<_> = self.resting.due(now).collect();
        let looks: usize = rested.iter().filter_map(|id| self.pools.get(id)).map(|p| p.members.len()).sum();
        self.unsettled.extend(&rested);
        let mut ended = Vec::new();
        for id in std::mem::take(&mut self.unsettled) {
            self.resting.set(id, None);
            let belongs_in_kernel = self.belongs_in_kernel(id);
            let Some(pool) = self.pools.get_mut(&id) else {
                self.left.set(id, None);
                self.templates.remove(id);
                continue;
            };
            let key = pool.key();
            let before = (pool.leaving.len(), pool.staying.len());
            pool.settle(now, &self.checkers, events);
            if rested.contains(&id) {
                pool.rest(now, looks);
            }
            self.vrrp_link.set_quorum(pool);
            if (pool.leaving.len(), pool.staying.len()) != before {
                self.saves.mark_stale();
            }
            for (at, member) in std::mem::take(&mut pool.released) {
                ended
                    .extend(member.subscriptions.iter().map(|subscription| (subscription.checker, (id, at))));
            }
            if belongs_in_kernel {
                self.reconciler.set_desired(key, pool.in_kernel());
            } else {
                self.reconciler.remove_desired(key);
            }
            self.reconciler.watch(key, !pool.leaving.is_empty(), now);
            self.left.set(id, pool.deadline());
            self.templates.set(pool);
            self.find_problems(now, id, false, events);
        }
        effects.extend(self.checkers.unsubscribe(ended).into_iter().map(Effect::CancelProbe));
    }

    pub(super) fn take_readings(
        &mut self,
        now: Instant,
        readings: &Readings,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(present) = &readings.probe_services {
            self.run_path_check(now, path_check::Input::Services(present), events, effects);
        }
        let was_leaving = self.was_leaving.len();
        for key in &readings.read {
            let id = self.placement.owner(*key);
            if !self.is_in_place(*key, id) {
                continue;
            }
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            let actual = self.reconciler.actual(key).map(|entry| pool.seen(entry));
            if let Some(actual) = actual.as_deref().filter(|_| readings.adopted.contains(key)) {
                let (leaving, staying) = (&mut self.was_leaving, &mut self.was_staying);
                let was_leaving = |at: &_| leaving.remove(&(id, *at));
                pool.adopt(now, actual, &self.checkers, was_leaving, |at| staying.remove(&(id, *at)));
                self.unsettled.insert(id);
                self.saves.mark_stale();
            }
            if pool.watch_leaving(now, actual.as_deref(), events) {
                self.unsettled.insert(id);
                self.saves.mark_stale();
            }
            self.find_problems(now, id, true, events);
        }
        if self.was_leaving.len() != was_leaving {
            self.find_templates();
        }
    }
}
