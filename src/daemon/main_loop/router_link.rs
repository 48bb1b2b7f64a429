//! Between the main loop and the router's thread: reports, settings, what the director knows, and the end.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, warn};

use super::super::health::HealthMonitor;
use super::super::router::{self, Handle, RouterReport};
use super::super::{clock, startup};
use super::Shell;
use crate::director::io::Input;
use crate::notify::vrrp::Context;
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{Input as RouterInput, TrackLevel};
use crate::vrrp::settings::{Settings, TrackTarget};

/// Longest time a stop waits for the router, whose own limit is shorter.
pub(super) const ROUTER_LIMIT: Duration = Duration::from_secs(8);

impl Shell {
    /// Sends the router what the director last reported; one that has just begun does not know it.
    pub(super) fn send_level(&mut self) {
        if let (Some(router), Some(level)) = (&mut self.router, &self.level) {
            router.send(RouterInput::Director(level.clone()));
        }
    }

    /// Sends the router what is known of the checks it tracks; one that has just begun does not know it.
    pub(super) fn send_track_checks(&mut self) {
        let levels: Vec<(String, bool)> =
            self.director.track_check_levels().map(|(name, is_up)| (name.to_owned(), is_up)).collect();
        levels.into_iter().for_each(|(name, is_up)| self.send_track_check(name, is_up));
    }

    pub(super) fn send_track_check(&mut self, name: String, is_up: bool) {
        if let Some(router) = &mut self.router {
            let (target, level) = (TrackTarget::Check(name), TrackLevel::Is(is_up));
            router.send(RouterInput::Tracked { target, level });
        }
    }

    /// Takes a report of the router; instances are inputs of the director.
    pub(super) fn take_report(&mut self, report: RouterReport, health: &HealthMonitor) -> Option<Input> {
        match report {
            RouterReport::Instance(level) => Some(Input::Instance(level)),
            RouterReport::Gone(name) => Some(Input::InstanceGone(name)),
            RouterReport::Session(level) => Some(Input::Session(level)),
            RouterReport::SessionGone(name) => Some(Input::SessionGone(name)),
            RouterReport::Event(event) => {
                self.dispatch_router(&event);
                None
            }
            RouterReport::Assert(assert) => {
                self.asserter.begin(*assert, self.config.vrrp.secures_scripts);
                None
            }
            RouterReport::EndAssert(number) => {
                self.asserter.end(number);
                None
            }
            RouterReport::HandedOver(handover, is_guarded) => {
                self.save_masters(&handover, is_guarded);
                None
            }
            RouterReport::Finished => {
                self.snapshots.router_is_known();
                self.gather_status(health);
                self.stop_by.take().map(|_| Input::Stop)
            }
            RouterReport::Status => {
                self.snapshots.router_is_known();
                self.gather_status(health);
                None
            }
        }
    }

    /// What the next process has to know; it is written before this one ends.
    pub(super) fn save_masters(&self, handover: &Handover, is_guarded: bool) {
        if let Err(error) = self.run_dir.masters().save(handover, is_guarded, clock::now()) {
            warn!("cannot write who is Master: {error}: the next start begins as Backup");
        }
    }

    pub(super) fn dispatch_router(&mut self, event: &Event) {
        let (previous, is_stopping) = (self.previous.as_deref(), self.is_stopping);
        self.events.dispatch_router(event, Context { settings: &self.config.vrrp, previous, is_stopping });
    }

    /// Waits until the router has ended; what it still reports is notified and saved.
    pub(super) async fn part_from_router(&mut self) {
        let last_reports = async {
            while let Some(router) = self.router.as_mut().filter(|router| !router.is_finished()) {
                match router.next().await {
                    RouterReport::Event(event) => self.dispatch_router(&event),
                    RouterReport::HandedOver(handover, is_guarded) => {
                        self.save_masters(&handover, is_guarded)
                    }
                    _ => {}
                }
            }
        };
        if tokio::time::timeout(ROUTER_LIMIT, last_reports).await.is_err() {
            warn!("VRRP's thread does not end");
        }
    }

    /// Sends the router new settings, or begins it when there are virtual routers for the first time.
    pub(super) async fn reload_router(&mut self, settings: &Arc<Settings>) {
        match &mut self.router {
            Some(router) => router.send(RouterInput::Reload(Arc::clone(settings))),
            None if settings.is_empty() => {}
            None => {
                if let Err(failure) = router::refuse_unpermitted(settings) {
                    return error!("{}: no VIP is held", failure.message);
                }
                if self.guardian.is_none() {
                    warn!(
                        "there is no guardian: VIPs would stay here when lvsd dies; the next start has one"
                    );
                }
                let (settings, guardian) = (Arc::clone(settings), self.guardian.take());
                match Handle::start(settings, startup::seed(), Vec::new(), guardian, None).await {
                    Ok(router) => self.router = Some(router),
                    Err((failure, guardian)) => {
                        // It is for the next attempt.
                        self.guardian = guardian;
                        error!("{}: no VIP is held", failure.message);
                    }
                }
            }
        }
    }
}

/// The next report of the router; waits for ever where there is none.
pub(super) async fn next_report(router: &mut Option<Handle>) -> RouterReport {
    match router {
        Some(router) => router.next().await,
        None => std::future::pending().await,
    }
}
