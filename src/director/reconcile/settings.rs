//! Keeps the kernel's IPVS timeouts and sync daemons as configured, and puts them back at the end.
//!
//! A part of the reconciler, which takes requests from it and passes it the answers. While nothing is configured it
//! makes no request.

use std::time::Duration;

use super::op_error::{back_off, explain};
use super::{Report, Request};
use crate::config::TimeoutOptions;
use crate::ipvs::backend::{Op, Refusal, Scope};
use crate::ipvs::types::{Settings, SyncDaemon, SyncRole, Timeouts};
use crate::time::Instant;

/// How often settings are read again when there is something to keep.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

/// The keeper of timeouts and sync daemons.
#[derive(Debug, Default)]
pub(crate) struct SettingsKeeper {
    desired: TimeoutOptions,
    desired_daemons: Vec<SyncDaemon>,
    original: Option<Timeouts>,
    started: Vec<SyncRole>,
    actual: Option<Settings>,
    next_read: Instant,
    failures: u32,
    retry_at: Instant,
    trouble: Option<String>,
    is_changed: bool,
}

impl SettingsKeeper {
    /// Begins with what a predecessor found and started.
    pub(crate) fn new(original: Option<Timeouts>, started: Vec<SyncRole>) -> SettingsKeeper {
        SettingsKeeper { original, started, ..SettingsKeeper::default() }
    }

    pub(crate) fn set_desired(&mut self, timeouts: TimeoutOptions, daemons: Vec<SyncDaemon>) {
        if self.desired != timeouts || self.desired_daemons != daemons {
            (self.desired, self.desired_daemons) = (timeouts, daemons);
            self.retry_at = Instant::ZERO;
            self.actual = None;
        }
    }

    /// Has everything put back as it was found.
    pub(crate) fn release(&mut self) {
        self.set_desired(TimeoutOptions::default(), Vec::new());
    }

    pub(super) fn is_needed(&self) -> bool {
        self.desired != TimeoutOptions::default()
            || !self.desired_daemons.is_empty()
            || self.original.is_some()
            || !self.started.is_empty()
    }

    pub(super) fn request(&mut self, now: Instant) -> Option<Request> {
        if !self.is_needed() || now < self.retry_at {
            return None;
        }
        if self.actual.is_none() || now >= self.next_read {
            return Some(Request::Snapshot(Scope::Settings));
        }
        let ops = self.plan();
        (!ops.is_empty()).then_some(Request::Apply(ops))
    }

    pub(super) fn on_read(&mut self, now: Instant, settings: Settings) {
        if self.original.is_none() && self.desired != TimeoutOptions::default() {
            self.original = Some(settings.timeouts);
            self.is_changed = true;
        }
        self.actual = Some(settings);
        self.next_read = now + SWEEP_INTERVAL;
        self.tidy();
    }

    /// Forgets what has been put back.
    fn tidy(&mut self) {
        let Some(actual) = &self.actual else { return };
        let is_restored = self.desired == TimeoutOptions::default() && self.original == Some(actual.timeouts);
        if is_restored {
            self.original = None;
            self.is_changed = true;
        }
        let before = self.started.len();
        let is_kept = |role: &SyncRole| {
            self.desired_daemons.iter().any(|d| d.role == *role)
                || actual.sync_daemons.iter().any(|d| d.role == *role)
        };
        self.started.retain(is_kept);
        self.is_changed |= self.started.len() != before;
    }

    pub(super) fn on_applied(
        &mut self,
        now: Instant,
        op: &Op,
        refusal: Option<&Refusal>,
        report: &mut Report<'_>,
    ) {
        if let Some(refusal) = refusal {
            self.failures += 1;
            self.retry_at = now + back_off(self.failures);
            self.actual = None;
            let trouble = explain(op, refusal);
            if self.trouble.as_ref() != Some(&trouble) {
                report.kernel(Some(&trouble));
                self.trouble = Some(trouble);
            }
            return;
        }
        self.failures = 0;
        if self.trouble.take().is_some() {
            report.kernel(None);
        }
        self.record(op);
    }

    fn record(&mut self, op: &Op) {
        let Some(actual) = &mut self.actual else { return };
        match op {
            Op::SetTimeouts(timeouts) => actual.timeouts = *timeouts,
            // The kernel chooses what was left open: it is read again.
            Op::StartSync(_) => self.actual = None,
            Op::StopSync(role) => actual.sync_daemons.retain(|d| d.role != *role),
            _ => {}
        }
        self.tidy();
    }

    /// Operations that lead from what was read to what is wanted; a wanted 0 leaves the kernel's value.
    fn plan(&mut self) -> Vec<Op> {
        let Some(actual) = &self.actual else { return Vec::new() };
        let mut ops = Vec::new();
        if let Some(original) = self.original {
            let choose = |wanted: Option<u32>, original| wanted.filter(|t| *t != 0).unwrap_or(original);
            let timeouts = Timeouts {
                tcp: choose(self.desired.tcp, original.tcp),
                tcp_fin: choose(self.desired.tcp_fin, original.tcp_fin),
                udp: choose(self.desired.udp, original.udp),
            };
            if timeouts != actual.timeouts {
                ops.push(Op::SetTimeouts(timeouts));
            }
        }
        // A role that ends makes room for the one that begins: never both where one is wanted.
        let mut starts = Vec::new();
        for role in [SyncRole::Master, SyncRole::Backup] {
            let wanted = self.desired_daemons.iter().find(|d| d.role == role);
            let running = actual.sync_daemons.iter().find(|d| d.role == role);
            let is_ours = self.started.contains(&role);
            match (wanted, running) {
                (Some(wanted), Some(running)) if wanted.is_satisfied_by(running) => {}
                (Some(wanted), running) => {
                    if running.is_some() {
                        ops.push(Op::StopSync(role));
                    }
                    starts.push(Op::StartSync(wanted.clone()));
                }
                (None, Some(_)) if is_ours => ops.push(Op::StopSync(role)),
                (None, _) => {}
            }
            if wanted.is_some() && !is_ours {
                self.started.push(role);
                self.is_changed = true;
            }
        }
        ops.append(&mut starts);
        ops
    }

    pub(super) fn doubt(&mut self) {
        self.actual = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let read = if self.actual.is_none() { Instant::ZERO } else { self.next_read };
        self.is_needed().then(|| read.max(self.retry_at))
    }

    pub(super) fn is_converged(&self) -> bool {
        !self.is_needed() || self.trouble.is_some() || (self.actual.is_some() && self.is_in_place())
    }

    fn is_in_place(&self) -> bool {
        let Some(actual) = &self.actual else { return false };
        let wants = |wanted: Option<u32>, actual| wanted.is_none_or(|t| t == 0 || t == actual);
        let timeouts = wants(self.desired.tcp, actual.timeouts.tcp)
            && wants(self.desired.tcp_fin, actual.timeouts.tcp_fin)
            && wants(self.desired.udp, actual.timeouts.udp);
        let is_releasing = self.desired == TimeoutOptions::default() && self.original.is_some();
        let daemons =
            self.desired_daemons.iter().all(|w| actual.sync_daemons.iter().any(|r| w.is_satisfied_by(r)));
        let leftovers = self.started.iter().any(|role| !self.desired_daemons.iter().any(|w| w.role == *role));
        timeouts && !is_releasing && daemons && !leftovers
    }

    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    /// Which setting the kernel refuses, while it does.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The kernel's timeouts before we changed them.
    pub(crate) fn original(&self) -> Option<Timeouts> {
        self.original
    }

    /// Sync daemons we started.
    pub(crate) fn started(&self) -> &[SyncRole] {
        &self.started
    }
}
