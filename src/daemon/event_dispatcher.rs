//! Where events go: the log, scripts, FIFOs, mails. The only place that logs changes of state, so that they never disagree.

use std::time::Duration;

use tracing::{error, info, warn};

use super::fifos::{self, Fifos};
use super::mails::{MailStatus, Mails};
use super::scripts::Scripts;
use crate::config::Config;
use crate::director::event::{Event, Severity};
use crate::notify::notification::Notification;
use crate::notify::vrrp::{Context, VrrpNotifier};
use crate::time::Instant;
use crate::vrrp;
use crate::vrrp::settings::Settings;

/// Prefix of the fields that repeat a message for machines; the text form of the log leaves them out.
pub(crate) const MACHINE_FIELDS: &str = "event";
/// How long the end of the daemon waits for its last notifications.
const END_LIMIT: Duration = Duration::from_secs(1);
/// And for its last mail: a mail server is further away.
const LAST_MAIL_LIMIT: Duration = Duration::from_secs(2);

/// Sends events to the log, and notifications to scripts, FIFOs and mails.
#[derive(Debug)]
pub(crate) struct EventDispatcher {
    notifier: VrrpNotifier,
    /// Notifications so far: each has a number.
    sequence: u64,
    scripts: Scripts,
    fifos: Fifos,
    mails: Mails,
}

impl EventDispatcher {
    /// Notifies as a configuration says. Needs the event loop's context.
    pub(crate) fn new(config: &Config) -> EventDispatcher {
        let scripts = Scripts::new(config.vrrp.secures_scripts);
        let mut events = EventDispatcher {
            notifier: VrrpNotifier::default(),
            sequence: 0,
            scripts,
            fifos: Fifos::new(),
            mails: Mails::new(),
        };
        events.configure(config);
        events
    }

    /// Notifies as another configuration says.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.scripts.secure(config.vrrp.secures_scripts);
        let targets = fifos::targets(&config.vrrp.notify.fifos, &config.global.fifos);
        self.fifos.configure(targets, config.vrrp.secures_scripts);
        self.mails.configure(config.global.mail.clone());
    }

    /// Logs an event of the director; its notifications follow.
    pub(crate) fn dispatch(&mut self, event: &Event) {
        log(event);
    }

    /// Logs and notifies an event of the router.
    pub(crate) fn dispatch_router(&mut self, event: &vrrp::event::Event, context: Context<'_>) {
        log_router(event);
        if let Some(notification) = self.notifier.notify(event, context) {
            self.notify(notification);
        }
    }

    /// The router has other settings.
    pub(crate) fn router_reloaded(&mut self, settings: &Settings) {
        if settings.notify.repeats_on_reload {
            self.notifier.lines().iter().for_each(|line| self.fifos.push(line));
        }
    }

    /// Mails it, writes its line and runs its scripts.
    pub(crate) fn notify(&mut self, mut notification: Notification) {
        self.sequence += 1;
        if let Some(content) = notification.mail.take() {
            self.mails.push(content);
        }
        if let Some(line) = &notification.line {
            self.fifos.push(line);
        }
        if !notification.scripts.is_empty() {
            self.scripts.push(self.sequence, notification);
        }
    }

    /// Runs scripts, writes lines and sends mails, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        tokio::join!(self.scripts.work(), self.fifos.work(), self.mails.work());
    }

    /// State of the mails.
    pub(crate) fn mail_status(&self, now: Instant) -> Option<MailStatus> {
        self.mails.status(now)
    }

    /// The daemon ends: its last scripts and lines have a second, the last mail two.
    pub(crate) async fn finish(&mut self, is_stop: bool) {
        tokio::join!(
            self.scripts.finish(END_LIMIT),
            self.fifos.finish(END_LIMIT / 2, is_stop),
            self.mails.finish(LAST_MAIL_LIMIT)
        );
    }
}

/// Logs an event: a sentence for people, and as fields for machines its kind and the servers it is about.
fn log(event: &Event) {
    let subject = event.subject();
    let (server, real) = (subject.virtual_server.as_deref(), subject.real_server.as_deref());
    let kind = event.kind();
    match event.severity() {
        Severity::Info => {
            info!(event = kind, event.virtual_server = server, event.real_server = real, "{event}")
        }
        Severity::Warn => {
            warn!(event = kind, event.virtual_server = server, event.real_server = real, "{event}")
        }
        Severity::Error => {
            error!(event = kind, event.virtual_server = server, event.real_server = real, "{event}");
        }
    }
}

/// The same for the router's.
fn log_router(event: &vrrp::event::Event) {
    let (kind, instance, session) = (event.kind(), event.instance(), event.session());
    match event.severity() {
        Severity::Info => info!(event = kind, event.instance = instance, event.session = session, "{event}"),
        Severity::Warn => warn!(event = kind, event.instance = instance, event.session = session, "{event}"),
        Severity::Error => {
            error!(event = kind, event.instance = instance, event.session = session, "{event}")
        }
    }
}
