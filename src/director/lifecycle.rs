//! The life of a director: it runs, until a stop has removed everything or a hand-over has left everything.

use std::time::Duration;

use super::Director;
use super::event::Event;
use super::io::Effect;
use super::pool::Pool;
use crate::ipvs::types::ServiceKey;
use crate::time::Instant;

/// Longest time a stop waits for the kernel.
const STOP_LIMIT: Duration = Duration::from_secs(10);
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Running,
    Stopping { give_up: Instant },
    HandingOver,
    Finished,
}

impl Director {
    /// Stops: removes all services that are ours.
    pub(super) fn stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.notify_stop(effects);
        if self.life != Life::Running {
            return;
        }
        self.life = Life::Stopping { give_up: now + STOP_LIMIT };
        effects.extend(self.checkers.clear().into_iter().map(Effect::CancelProbe));
        self.pools.clear();
        self.placement.clear();
        self.path_check.clear();
        self.left.clear();
        self.templates.clear();
        self.changed_pools.clear();
        self.throttled.clear();
        self.reconciler.remove_all_desired();
    }

    pub(super) fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        if self.life != Life::Running {
            return;
        }
        self.life = Life::HandingOver;
        self.saves.mark_stale();
        let state = self.state();
        effects.extend(self.checkers.clear().into_iter().map(Effect::CancelProbe));
        effects.push(Effect::SaveState(state));
    }

    pub(super) fn conclude(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.life {
            Life::Running if !self.is_ready && self.reconciler.is_converged() => {
                self.is_ready = true;
                self.was_leaving.clear();
                self.was_staying.clear();
                self.find_templates();
                let keys: Vec<ServiceKey> = self.pools.values().map(Pool::key).collect();
                let entries: Vec<_> = keys.iter().filter_map(|k| self.reconciler.actual(k)).collect();
                let destinations = entries.iter().map(|e| e.destinations.len()).sum();
                self.report(Event::Ready { services: entries.len(), destinations }, effects);
            }
            Life::Stopping { give_up } if self.is_released() || now >= give_up => {
                self.life = Life::Finished;
                effects.push(Effect::SaveState(self.state()));
                effects.push(Effect::Finished { is_clean: self.is_released() });
            }
            Life::HandingOver if !self.is_kernel_busy() => {
                self.life = Life::Finished;
                effects.push(Effect::Finished { is_clean: true });
            }
            _ => {}
        }
    }
}
