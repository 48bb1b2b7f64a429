//! Whether the kernel must schedule persistent clients anew because their real server leaves.
//!
//! The kernel keeps a persistent client at its server by a template, even at weight 0: a server that leaves would get every
//! new connection of its clients, and never become empty. A server that was leaving when the previous process ended
//! continues to leave.

use std::collections::BTreeSet;

use super::Director;
use super::pool::Pool;
use crate::config::VirtualServerId;
use crate::time::Instant;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct TemplateExpiry {
    /// Virtual servers with persistence that have a real server which is leaving.
    left: BTreeSet<VirtualServerId>,
    /// When the last server is removed that was leaving, with persistence, in the previous process.
    until: Instant,
    emitted: bool,
}

impl TemplateExpiry {
    /// Whether clients must be scheduled anew.
    fn is_needed(&self, now: Instant) -> bool {
        !self.left.is_empty() || self.until > now
    }

    /// The same, when it changed.
    pub(super) fn changed(&mut self, now: Instant) -> Option<bool> {
        let is_needed = self.is_needed(now);
        (std::mem::replace(&mut self.emitted, is_needed) != is_needed).then_some(is_needed)
    }

    /// A pool was recomputed.
    pub(super) fn set(&mut self, pool: &Pool) {
        if pool.server.persistence.is_some() && !pool.leaving.is_empty() {
            self.left.insert(pool.server.id);
        } else {
            self.left.remove(&pool.server.id);
        }
    }

    /// A virtual server is no more.
    pub(super) fn remove(&mut self, id: VirtualServerId) {
        self.left.remove(&id);
    }

    /// Forgets virtual servers that a reload removed.
    pub(super) fn retain(&mut self, is_configured: impl Fn(&VirtualServerId) -> bool) {
        self.left.retain(is_configured);
    }

    /// Nothing leaves any more: everything goes.
    pub(super) fn clear(&mut self) {
        self.left.clear();
    }
}

impl Director {
    /// Whether persistent clients must be scheduled anew now.
    pub fn expires_templates(&self, now: Instant) -> bool {
        self.templates.is_needed(now)
    }

    /// Finds until when a predecessor's leave.
    pub(super) fn find_templates(&mut self) {
        let is_persistent =
            |id| self.pools.get(id).is_some_and(|pool: &Pool| pool.server.persistence.is_some());
        let deadlines = self.was_leaving.iter().filter(|((id, _), _)| is_persistent(id));
        self.templates.until = deadlines.map(|(_, deadline)| *deadline).max().unwrap_or_default();
    }
}
