//! What the guardian does when the daemon dies: advertisements of priority 0 for every Master, and addresses to remove.

use std::sync::Arc;

use super::io::{CrashPlan, Effect, State};
use super::router::Router;
use super::settings::OnCrash;
use crate::time::Instant;

impl Router {
    /// Publishes the plan where it changed; it is empty when a crash is to change nothing, or the router stops.
    pub(super) fn publish_crash_plan(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let mut crash_plan = CrashPlan::default();
        if !self.is_stopping() && self.settings.on_crash == OnCrash::Failover {
            let wall = self.wall(now);
            let masters = self.members.values().filter(|m| m.state() == State::Master);
            crash_plan.silence = masters.clone().map(|m| m.instance.allowed_silence()).min();
            crash_plan.priority_zero = masters.flat_map(|m| m.priority_zero(wall)).collect();
            for (link, prefix) in self.host.iter().flat_map(|host| self.reconciler.added(host)) {
                crash_plan.addresses.entry(link).or_default().insert(prefix);
            }
        }
        if *self.crash_plan != crash_plan {
            self.crash_plan = Arc::new(crash_plan);
            out.push(Effect::CrashPlan(Arc::clone(&self.crash_plan)));
        }
    }
}
