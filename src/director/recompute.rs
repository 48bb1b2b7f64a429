//! Recomputes the pools of which something changed, and hands what the kernel should hold of each to the reconciler.

use std::collections::BTreeSet;

use super::Director;
use super::event::Event;
use super::io::Effect;
use crate::time::Instant;

impl Director {
    pub(super) fn recompute_pools(
        &mut self,
        now: Instant,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        self.changed_pools.extend(self.left.due(now));
        let throttled: BTreeSet<_> = self.throttled.due(now).collect();
        let looked_at: usize =
            throttled.iter().filter_map(|id| self.pools.get(id)).map(|p| p.members.len()).sum();
        self.changed_pools.extend(&throttled);
        let mut ended = Vec::new();
        for id in std::mem::take(&mut self.changed_pools) {
            self.throttled.set(id, None);
            let belongs_in_kernel = self.belongs_in_kernel(id);
            let Some(pool) = self.pools.get_mut(&id) else {
                self.left.set(id, None);
                self.templates.remove(id);
                continue;
            };
            let key = pool.key();
            let before = (pool.leaving.len(), pool.staying.len());
            pool.recompute(now, &self.checkers, events);
            if throttled.contains(&id) {
                pool.throttle(now, looked_at);
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
        let left = ended.iter().map(|(checker, _)| *checker).collect();
        effects.extend(self.checkers.unsubscribe(ended).into_iter().map(Effect::CancelProbe));
        self.suspend_checkers(now, &left, effects);
    }
}
