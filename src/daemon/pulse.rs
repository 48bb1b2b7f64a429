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
use crate::director::vitals::Vitals;
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
const UNSETTLED_LIMIT: Duration = Duration::from_secs(30);

/// What the look is at.
pub(crate) struct Body<'a> {
    pub director: &'a Director,
    /// Talks to the kernel.
    pub actuator: &'a Actuator,
    pub reloads: &'a Reloads,
    /// Has the virtual routers.
    pub router: Option<&'a Handle>,
}

impl Body<'_> {
    fn router_silent_for(&self, now: Instant) -> Duration {
        self.router.map(|router| router.silent_for(now)).unwrap_or_default()
    }
}

/// The daemon's pulse.
#[derive(Debug)]
pub(crate) struct Pulse {
    service_manager: ServiceManager,
    interval: Duration,
    next: Instant,
    unsettled_since: Option<Instant>,
    said: String,
    is_ready_told: bool,
    is_end_told: bool,
    is_reload_told: bool,
    hang: Option<String>,
}

impl Pulse {
    pub(crate) fn new(service_manager: ServiceManager, now: Instant) -> Pulse {
        let feed = service_manager.watchdog().map_or(INTERVAL, |limit| limit / 2);
        Pulse {
            service_manager,
            interval: feed.clamp(Duration::from_millis(10), INTERVAL),
            next: now,
            unsettled_since: None,
            said: String::new(),
            is_ready_told: false,
            is_end_told: false,
            is_reload_told: false,
            hang: None,
        }
    }

    /// When the next look is due.
    pub(crate) fn deadline(&self) -> Instant {
        self.next
    }

    /// After everything the main loop does: tells the service manager what cannot wait, looks when it is time.
    pub(crate) fn follow(&mut self, now: Instant, body: &Body<'_>) {
        if body.director.is_settled() {
            self.unsettled_since = None;
        } else {
            self.unsettled_since.get_or_insert(now);
        }
        self.tell_transitions(now, body);
        if now >= self.next {
            self.next = now + self.interval;
            self.look(now, body);
        }
    }

    fn tell_transitions(&mut self, now: Instant, body: &Body<'_>) {
        let is_ending = body.director.is_ending();
        if is_ending && !std::mem::replace(&mut self.is_end_told, true) {
            self.service_manager.stopping("ending");
        }
        if is_ending {
            return;
        }
        if body.director.is_ready() && !std::mem::replace(&mut self.is_ready_told, true) {
            self.said = sentence(&body.director.vitals(now), body.reloads);
            self.service_manager.ready(&self.said);
        }
        let is_reloading = body.reloads.is_under_way();
        if is_reloading == self.is_reload_told || !self.is_ready_told {
            return;
        }
        self.is_reload_told = is_reloading;
        if is_reloading {
            self.service_manager.reloading(now);
        } else {
            self.said = sentence(&body.director.vitals(now), body.reloads);
            self.service_manager.ready(&self.said);
        }
    }

    fn look(&mut self, now: Instant, body: &Body<'_>) {
        let vitals = body.director.vitals(now);
        if !self.is_end_told {
            let sentence = sentence(&vitals, body.reloads);
            if sentence != self.said {
                self.service_manager.status(&sentence);
                self.said = sentence;
            }
        }
        let hang = hang(vitals.overdue, body.actuator.busy_for(now), body.router_silent_for(now));
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
    pub(crate) fn trouble(&self, now: Instant, body: &Body<'_>) -> Option<String> {
        let signs = Signs {
            is_ending: body.director.is_ending(),
            is_ready: body.director.is_ready(),
            kernel_trouble: body.director.kernel_trouble().map(str::to_owned),
            overdue: body.director.overdue(now),
            kernel_busy: body.actuator.busy_for(now),
            router_silent: body.router_silent_for(now),
            unsettled: self.unsettled_since.map(|since| now.since(since)).unwrap_or_default(),
        };
        signs.trouble()
    }
}

/// What says whether the daemon is well.
#[derive(Clone, Debug, Default)]
struct Signs {
    is_ending: bool,
    is_ready: bool,
    kernel_trouble: Option<String>,
    overdue: Duration,
    kernel_busy: Duration,
    router_silent: Duration,
    unsettled: Duration,
}

impl Signs {
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
        let seconds = self.unsettled.as_secs();
        (self.unsettled > UNSETTLED_LIMIT)
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

fn sentence(vitals: &Vitals, reloads: &Reloads) -> String {
    let reload = if reloads.is_last_rejected() { "; the last reload was rejected" } else { "" };
    // A service manager shows one line.
    format!("{vitals}{reload}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Config, Global, Strictness, TimeoutOptions};
    use crate::director::state::State;
    use crate::director::{Effect, Input};
    use crate::ipvs::memory::MemoryBackend;

    #[tokio::test]
    async fn the_service_manager_hears_ready_only_once_the_kernel_holds_what_it_should() {
        let (service_manager, manager) = ServiceManager::pair("pulse");
        let now = Instant::ZERO + Duration::from_secs(1000);
        let timeouts = TimeoutOptions { tcp: Some(60), ..TimeoutOptions::default() };
        let global = Global { timeouts, ..Global::default() };
        let config = Config { global, ..Config::default() };
        let mut director = Director::new(Arc::new(config), State::default(), 0, now);
        let mut actuator = Actuator::new(None, || Ok(Box::new(MemoryBackend::new())));
        let mut reloads = Reloads::new(
            "/nonexistent/keepalived.conf".into(),
            Strictness::Strict,
            || Ok(Box::new(MemoryBackend::new())),
            Arc::clone(director.config()),
        );
        let mut pulse = Pulse::new(service_manager, now);
        pulse
            .follow(now, &Body { director: &director, actuator: &actuator, reloads: &reloads, router: None });
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
        pulse
            .follow(now, &Body { director: &director, actuator: &actuator, reloads: &reloads, router: None });
        assert_eq!(ServiceManager::heard(&manager), ["READY=1\nSTATUS=no virtual servers"]);

        reloads.begin(None, false);
        pulse
            .follow(now, &Body { director: &director, actuator: &actuator, reloads: &reloads, router: None });
        assert_eq!(ServiceManager::heard(&manager), ["RELOADING=1\nMONOTONIC_USEC=1000000000"]);
        let read = reloads.finished().await;
        assert!(reloads.conclude(read).is_none());
        pulse
            .follow(now, &Body { director: &director, actuator: &actuator, reloads: &reloads, router: None });
        let rejected = "READY=1\nSTATUS=no virtual servers; the last reload was rejected";
        assert_eq!(ServiceManager::heard(&manager), [rejected]);
        director.handle(now, Input::HandOver, &mut Vec::new());
        pulse
            .follow(now, &Body { director: &director, actuator: &actuator, reloads: &reloads, router: None });
        assert_eq!(ServiceManager::heard(&manager), ["STOPPING=1\nSTATUS=ending"]);
    }

    #[test]
    fn a_daemon_is_well_until_one_of_its_signs_is_bad() {
        let second = Duration::from_secs(1);
        let well = Signs { is_ready: true, ..Signs::default() };
        let said = |signs: Signs| signs.trouble().unwrap_or_default();
        assert_eq!(said(well.clone()), "");
        let busy = Signs { overdue: OVERDUE_LIMIT, kernel_busy: KERNEL_LIMIT, ..well.clone() };
        assert_eq!(said(Signs { unsettled: UNSETTLED_LIMIT, ..busy }), "", "at its limits");
        assert_eq!(said(Signs { overdue: OVERDUE_LIMIT + second, ..well.clone() }), "a check is 61 s late");
        let hanging = Signs { kernel_busy: KERNEL_LIMIT + second, ..well.clone() };
        assert_eq!(said(hanging), "the kernel has not answered for 61 s");
        let mute = Signs { router_silent: ROUTER_LIMIT + second, ..well.clone() };
        assert_eq!(said(mute), "VRRP's thread has been silent for 11 s");
        assert_eq!(said(Signs { router_silent: ROUTER_LIMIT, ..well.clone() }), "");
        let unsettled = Signs { unsettled: UNSETTLED_LIMIT + second, ..well.clone() };
        assert_eq!(said(unsettled), "the kernel has not been what it should be for 31 s");
        assert!(said(Signs::default()).starts_with("not ready"));
        assert_eq!(said(Signs { is_ending: true, ..well.clone() }), "ending");
        assert_eq!(said(Signs { kernel_trouble: Some("gone".to_owned()), ..well }), "kernel: gone");
    }
}
