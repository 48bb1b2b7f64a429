//! What a successor has to know: what is in the saved state, and when it is saved.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::checkers::PoolMemberKey;
use super::io::Effect;
use super::lifecycle::Life;
use super::reconcile::Request;
use super::state::{KnownLeaving, KnownOverride, State};
use super::{Director, desired, reload};
use crate::time::Instant;

/// How often the state is saved though nothing changed: what it says of health is believed for ten minutes.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Pauses before a save that failed is tried again: the first, which doubles each time, and the longest.
const SAVE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// From one save of changed health to the next: when thousands of servers fail, each would cost as much as all.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// When the state is saved next.
#[derive(Debug)]
pub(super) struct SaveSchedule {
    /// The health of servers, or which of them leave or stay, changed since the last save.
    is_stale: bool,
    /// What is ours changed: to be saved before the kernel is asked for it.
    is_owned_stale: bool,
    last: Instant,
    next: Instant,
    /// In a row.
    failures: u32,
}

impl SaveSchedule {
    /// The first save is due.
    pub(super) fn new(now: Instant) -> SaveSchedule {
        SaveSchedule { is_stale: false, is_owned_stale: true, last: now, next: now, failures: 0 }
    }

    /// The saved state lacks a change: it is saved within a second.
    pub(super) fn mark_stale(&mut self) {
        self.is_stale = true;
    }

    /// The saved state lacks an override: once its operator has the answer that it holds, it must survive any crash.
    pub(super) fn at_once(&mut self, now: Instant) {
        self.next = now;
    }

    /// When the next save is due, without further input.
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// A save failed, or one succeeded after that. Orders that were answered, and what is ours, must be on disk as soon as the
    /// disk takes it again.
    pub(super) fn saved(&mut self, now: Instant, is_saved: bool) {
        if is_saved {
            self.failures = 0;
            return;
        }
        let (first, longest) = SAVE_RETRY;
        let pause = first.saturating_mul(2u32.saturating_pow(self.failures)).min(longest);
        self.failures = self.failures.saturating_add(1);
        self.next = self.next.min(now + pause);
    }

    /// Whether to save now, which then counts as done. `is_moment`: a request is about to need what is ours, or none will.
    fn take_due(&mut self, now: Instant, is_moment: bool) -> bool {
        if self.is_stale {
            self.next = self.next.min(self.last + SAVE_PAUSE);
        }
        let is_due = (self.is_owned_stale && is_moment) || now >= self.next;
        if is_due {
            (self.is_stale, self.is_owned_stale) = (false, false);
            (self.last, self.next) = (now, now + SAVE_INTERVAL);
        }
        is_due
    }
}

impl Director {
    /// What is ours is saved before the kernel is asked for it, or when all is done; which servers are down as soon as
    /// the last save is a second ago; everything now and then for its freshness.
    pub(super) fn save(&mut self, now: Instant, request: Option<&Request>, effects: &mut Vec<Effect>) {
        if self.life == Life::HandingOver || self.life == Life::Finished {
            return;
        }
        self.saves.is_owned_stale |= self.reconciler.take_owned_changed();
        let is_moment = matches!(request, Some(Request::Apply(_))) || self.reconciler.is_converged();
        if self.saves.take_due(now, is_moment) {
            effects.push(Effect::SaveState(self.state()));
        }
    }

    /// What a successor would have to know now.
    pub fn state(&self) -> State {
        let known = |virtual_server, real_server: &SocketAddr, deadline: &Instant| KnownLeaving {
            virtual_server,
            real_server: *real_server,
            deadline: *deadline,
        };
        // Those of the last life, until the kernel has been read: a crash before that must not cut them.
        let still = |was: &BTreeMap<PoolMemberKey, Instant>| -> Vec<KnownLeaving> {
            was.iter().map(|((id, at), deadline)| known(*id, at, deadline)).collect()
        };
        let (mut leaving, mut staying) = (still(&self.was_leaving), still(&self.was_staying));
        for (id, pool) in self.left.keys().filter_map(|id| self.pools.get_key_value(&id)) {
            leaving.extend(pool.leaving.iter().map(|(at, l)| known(*id, at, &l.deadline)));
            staying.extend(pool.staying.iter().map(|(at, s)| known(*id, at, &s.deadline)));
        }
        let overrides = self.overrides.iter().map(|((id, at), admin)| KnownOverride {
            virtual_server: *id,
            real_server: *at,
            admin: *admin,
        });
        State {
            leaving,
            staying,
            overrides: overrides.collect(),
            owned: self.reconciler.owned().iter().map(|key| desired::virtual_server_id(*key)).collect(),
            down: reload::all_known_down(&self.checkers),
            original_timeouts: self.reconciler.settings().original(),
            sync_daemons: self.reconciler.settings().started().to_vec(),
        }
    }
}
