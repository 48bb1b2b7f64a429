//! The daemon's look at itself, once a second: is it alive, is it well, and what does the service manager hear?
//!
//! Alive is what the watchdog is fed for: checks begin and end when they should, and the kernel's answers come. Well
//! is what `/healthz` says: alive, ready, and the kernel holds what it should.

use std::time::Duration;

use tracing::{error, info};

use super::actuator::Actuator;
use super::reload::Reloads;
use super::router::Handle;
use super::systemd::ServiceManager;
use crate::director::Director;
use crate::director::summary::Summary;
use crate::time::Instant;

/// Between two looks, at most.
const INTERVAL: Duration = Duration::from_secs(1);
/// How late a check may be. A busy machine makes checks late, and a new process would not make it less busy.
const OVERDUE_LIMIT: Duration = Duration::from_secs(60);
/// How long the kernel may take for one request, of which each part is bounded to seconds.
const KERNEL_LIMIT: Duration = Duration::from_secs(60);
/// For how long the router's thread, which says once a second how it is, may be silent.
const ROUTER_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may differ from what it should be.
const OUT_OF_SYNC_LIMIT: Duration = Duration::from_secs(30);

/// What the look is at.
pub(crate) struct HealthSources<'a> {
    pub director: &'a Director,
    /// Talks to the kernel.
    pub actuator: &'a Actuator,
    pub reloads: &'a Reloads,
    /// Has the virtual routers.
    pub router: Option<&'a Handle>,
}

impl HealthSources<'_> {
    fn router_silent_for(&self, now: Instant) -> Duration {
        self.router.map(|router| router.silent_for(now)).unwrap_or_default()
    }
}

/// The daemon's health.
#[derive(Debug)]
pub(crate) struct HealthMonitor {
    service_manager: ServiceManager,
    interval: Duration,
    next: Instant,
    out_of_sync_since: Option<Instant>,
    sent: String,
    is_ready_sent: bool,
    is_end_sent: bool,
    is_reload_sent: bool,
    hang: Option<String>,
}

impl HealthMonitor {
    pub(crate) fn new(service_manager: ServiceManager, now: Instant) -> HealthMonitor {
        let feed = service_manager.watchdog().map_or(INTERVAL, |limit| limit / 2);
        HealthMonitor {
            service_manager,
            interval: feed.clamp(Duration::from_millis(10), INTERVAL),
            next: now,
            out_of_sync_since: None,
            sent: String::new(),
            is_ready_sent: false,
            is_end_sent: false,
            is_reload_sent: false,
            hang: None,
        }
    }

    /// When the next look is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// After everything the main loop does: sends the service manager what cannot wait, checks when it is time.
    pub(crate) fn follow(&mut self, now: Instant, sources: &HealthSources<'_>) {
        if sources.director.is_in_sync() {
            self.out_of_sync_since = None;
        } else {
            self.out_of_sync_since.get_or_insert(now);
        }
        self.send_transitions(now, sources);
        if now >= self.next {
            self.next = now + self.interval;
            self.check(now, sources);
        }
    }

    fn send_transitions(&mut self, now: Instant, sources: &HealthSources<'_>) {
        let is_ending = sources.director.is_ending();
        if is_ending && !std::mem::replace(&mut self.is_end_sent, true) {
            self.service_manager.stopping("ending");
        }
        if is_ending {
            return;
        }
        if sources.director.is_ready() && !std::mem::replace(&mut self.is_ready_sent, true) {
            self.sent = sentence(&sources.director.summary(now), sources.reloads);
            self.service_manager.ready(&self.sent);
        }
        let is_reloading = sources.reloads.is_under_way();
        if is_reloading == self.is_reload_sent || !self.is_ready_sent {
            return;
        }
        self.is_reload_sent = is_reloading;
        if is_reloading {
            self.service_manager.reloading(now);
        } else {
            self.sent = sentence(&sources.director.summary(now), sources.reloads);
            self.service_manager.ready(&self.sent);
        }
    }

    fn check(&mut self, now: Instant, sources: &HealthSources<'_>) {
        let summary = sources.director.summary(now);
        if !self.is_end_sent {
            let sentence = sentence(&summary, sources.reloads);
            if sentence != self.sent {
                self.service_manager.status(&sentence);
                self.sent = sentence;
            }
        }
        let hang = hang(summary.overdue, sources.actuator.busy_for(now), sources.router_silent_for(now));
        match (&self.hang, &hang) {
            (None, Some(what)) => error!("{what}: the service manager's watchdog is not fed"),
            (Some(_), None) => info!("everything is in time again"),
            _ => {}
        }
        if hang.is_none() {
            self.service_manager.alive();
        }
        self.hang = hang;
    }

    /// What is wrong with the daemon itself.
    pub(crate) fn trouble(&self, now: Instant, sources: &HealthSources<'_>) -> Option<String> {
        let inputs = HealthInputs {
            is_ending: sources.director.is_ending(),
            is_ready: sources.director.is_ready(),
            kernel_trouble: sources.director.kernel_trouble().map(str::to_owned),
            overdue: sources.director.overdue(now),
            kernel_busy: sources.actuator.busy_for(now),
            router_silent: sources.router_silent_for(now),
            out_of_sync: self.out_of_sync_since.map(|since| now.since(since)).unwrap_or_default(),
        };
        inputs.trouble()
    }
}

/// What says whether the daemon is well.
#[derive(Clone, Debug, Default)]
struct HealthInputs {
    is_ending: bool,
    is_ready: bool,
    kernel_trouble: Option<String>,
    overdue: Duration,
    kernel_busy: Duration,
    router_silent: Duration,
    out_of_sync: Duration,
}

impl HealthInputs {
    fn trouble(self) -> Option<String> {
        if self.is_ending {
            return Some("ending".to_owned());
        }
        if let Some(trouble) = self.kernel_trouble {
            return Some(format!("kernel: {trouble}"));
        }
        if let Some(hang) = hang(self.overdue, self.kernel_busy, self.router_silent) {
            return Some(hang);
        }
        if !self.is_ready {
            return Some("not ready: the kernel has not held what it should yet".to_owned());
        }
        let seconds = self.out_of_sync.as_secs();
        (self.out_of_sync > OUT_OF_SYNC_LIMIT)
            .then(|| format!("the kernel has not been what it should be for {seconds} s"))
    }
}

/// What does not move any more, in words.
fn hang(overdue: Duration, kernel_busy: Duration, router_silent: Duration) -> Option<String> {
    if router_silent > ROUTER_LIMIT {
        return Some(format!("VRRP's thread has been silent for {} s", router_silent.as_secs()));
    }
    if overdue > OVERDUE_LIMIT {
        return Some(format!("a check is {} s late", overdue.as_secs()));
    }
    let seconds = kernel_busy.as_secs();
    (kernel_busy > KERNEL_LIMIT).then(|| format!("the kernel has not answered for {seconds} s"))
}

fn sentence(summary: &Summary, reloads: &Reloads) -> String {
    let reload = if reloads.is_last_rejected() { "; the last reload was rejected" } else { "" };
    // A service manager shows one line.
    format!("{summary}{reload}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Global, TimeoutOptions};
    use crate::director::io::{Effect, Input};
    use crate::director::state::State;
    use crate::ipvs::memory::MemoryBackend;

    #[tokio::test]
    async fn ready_is_sent_only_once_the_kernel_is_in_sync() {
        let (service_manager, manager) = ServiceManager::pair("health");
        let now = Instant::ZERO + Duration::from_secs(1000);
        let timeouts = TimeoutOptions { tcp: Some(60), ..TimeoutOptions::default() };
        let global = Global { timeouts, ..Global::default() };
        let config = Config { global, ..Config::default() };
        let config = Arc::new(config);
        let mut director = Director::new(Arc::clone(&config), State::default(), 0, now);
        let mut actuator = Actuator::new(None, || Ok(Box::new(MemoryBackend::new())));
        let mut reloads =
            Reloads::new("/nonexistent/keepalived.conf".into(), crate::config::Reading::default(), || {
                Ok(Box::new(MemoryBackend::new()))
            });
        let mut health = HealthMonitor::new(service_manager, now);
        health.follow(
            now,
            &HealthSources { director: &director, actuator: &actuator, reloads: &reloads, router: None },
        );
        assert_eq!(ServiceManager::heard(&manager), ["STATUS=no virtual servers", "WATCHDOG=1"]);

        let mut input = Input::Wake;
        while !director.is_ready() {
            let mut effects = Vec::new();
            director.handle(now, input, &mut effects);
            for effect in effects {
                if let Effect::Kernel(request) = effect {
                    actuator.begin(request);
                }
            }
            if director.is_ready() {
                break;
            }
            input = actuator.answer().await;
        }
        health.follow(
            now,
            &HealthSources { director: &director, actuator: &actuator, reloads: &reloads, router: None },
        );
        assert_eq!(ServiceManager::heard(&manager), ["READY=1\nSTATUS=no virtual servers"]);

        reloads.begin(None, false, &config);
        health.follow(
            now,
            &HealthSources { director: &director, actuator: &actuator, reloads: &reloads, router: None },
        );
        assert_eq!(ServiceManager::heard(&manager), ["RELOADING=1\nMONOTONIC_USEC=1000000000"]);
        let read = reloads.finished().await;
        assert!(reloads.conclude(read, &config).is_none());
        health.follow(
            now,
            &HealthSources { director: &director, actuator: &actuator, reloads: &reloads, router: None },
        );
        let rejected = "READY=1\nSTATUS=no virtual servers; the last reload was rejected";
        assert_eq!(ServiceManager::heard(&manager), [rejected]);
        director.handle(now, Input::HandOver, &mut Vec::new());
        health.follow(
            now,
            &HealthSources { director: &director, actuator: &actuator, reloads: &reloads, router: None },
        );
        assert_eq!(ServiceManager::heard(&manager), ["STOPPING=1\nSTATUS=ending"]);
    }

    #[test]
    fn a_daemon_is_healthy_until_one_input_is_bad() {
        let second = Duration::from_secs(1);
        let well = HealthInputs { is_ready: true, ..HealthInputs::default() };
        let said = |inputs: HealthInputs| inputs.trouble().unwrap_or_default();
        assert_eq!(said(well.clone()), "");
        let busy = HealthInputs { overdue: OVERDUE_LIMIT, kernel_busy: KERNEL_LIMIT, ..well.clone() };
        assert_eq!(said(HealthInputs { out_of_sync: OUT_OF_SYNC_LIMIT, ..busy }), "", "at its limits");
        assert_eq!(
            said(HealthInputs { overdue: OVERDUE_LIMIT + second, ..well.clone() }),
            "a check is 61 s late"
        );
        let hanging = HealthInputs { kernel_busy: KERNEL_LIMIT + second, ..well.clone() };
        assert_eq!(said(hanging), "the kernel has not answered for 61 s");
        let mute = HealthInputs { router_silent: ROUTER_LIMIT + second, ..well.clone() };
        assert_eq!(said(mute), "VRRP's thread has been silent for 11 s");
        assert_eq!(said(HealthInputs { router_silent: ROUTER_LIMIT, ..well.clone() }), "");
        let out_of_sync = HealthInputs { out_of_sync: OUT_OF_SYNC_LIMIT + second, ..well.clone() };
        assert_eq!(said(out_of_sync), "the kernel has not been what it should be for 31 s");
        assert!(said(HealthInputs::default()).starts_with("not ready"));
        assert_eq!(said(HealthInputs { is_ending: true, ..well.clone() }), "ending");
        assert_eq!(said(HealthInputs { kernel_trouble: Some("gone".to_owned()), ..well }), "kernel: gone");
    }
}
