//! Where events go: the log, scripts, FIFOs, mails. The only place that logs changes of state, so that they never disagree.

use std::time::Duration;

use tracing::{error, info, warn};

use super::fifos::{self, Fifos};
use super::mails::{MailStatus, Mails};
use super::scripts::Scripts;
use crate::config::Config;
use crate::director::Director;
use crate::director::event::{Event, Severity};
use crate::director::notice::Notices;
use crate::notify::instance::{Scene, Teller};
use crate::notify::telling::Telling;
use crate::time::Instant;
use crate::vrrp;
use crate::vrrp::settings::Settings;

/// Prefix of the fields that repeat a message for machines; the text form of the log leaves them out.
pub(crate) const MACHINE_FIELDS: &str = "event";
/// How long the end of the daemon waits for those who are told of it.
const FAREWELL: Duration = Duration::from_secs(1);
/// And for its last mail: a mail server is further away.
const LAST_MAIL: Duration = Duration::from_secs(2);

/// Everybody who is told.
#[derive(Debug)]
pub(crate) struct Sink {
    notices: Notices,
    teller: Teller,
    scripts: Scripts,
    fifos: Fifos,
    mails: Mails,
}

impl Sink {
    /// Tells those a configuration names. Needs the event loop's context.
    pub(crate) fn new(config: &Config) -> Sink {
        let scripts = Scripts::new(config.vrrp.secures_scripts);
        let (notices, teller) = (Notices::default(), Teller::default());
        let mut sink = Sink { notices, teller, scripts, fifos: Fifos::new(), mails: Mails::new() };
        sink.want(config);
        sink
    }

    /// Tells those another configuration names.
    pub(crate) fn want(&mut self, config: &Config) {
        self.scripts.secure(config.vrrp.secures_scripts);
        let wanted = fifos::wanted(&config.vrrp.notify.fifos, &config.global.fifos);
        self.fifos.want(wanted, config.vrrp.secures_scripts);
        self.mails.want(config.global.mail.clone());
    }

    /// Tells of an event of the director.
    pub(crate) fn tell(&mut self, event: &Event, director: &Director) {
        log(event);
        let teller = &mut self.teller;
        let tellings = self.notices.follow(event, director, &mut || teller.next_sequence());
        self.pass_on(tellings);
    }

    /// Tells of an event of the router, after logging it.
    pub(crate) fn tell_router(&mut self, event: &vrrp::event::Event, scene: Scene<'_>) {
        log_router(event);
        let telling = self.teller.tell(event, scene);
        self.pass_on(telling);
    }

    /// The director has another configuration.
    pub(crate) fn reloaded(&mut self, director: &Director) {
        let teller = &mut self.teller;
        let tellings = self.notices.reloaded(director, &mut || teller.next_sequence());
        self.pass_on(tellings);
    }

    /// The router has other settings.
    pub(crate) fn router_reloaded(&mut self, settings: &Settings) {
        if settings.notify.repeats_on_reload {
            self.teller.lines().iter().for_each(|line| self.fifos.push(line));
        }
    }

    /// The director is about to stop.
    pub(crate) fn stopping(&mut self, director: &Director) {
        let teller = &mut self.teller;
        let tellings = self.notices.farewell(director, &mut || teller.next_sequence());
        self.pass_on(tellings);
    }

    fn pass_on(&mut self, tellings: impl IntoIterator<Item = Telling>) {
        for mut telling in tellings {
            if let Some(letter) = telling.letter.take() {
                self.mails.push(letter);
            }
            if let Some(line) = &telling.line {
                self.fifos.push(line);
            }
            if !telling.scripts.is_empty() {
                self.scripts.push(telling);
            }
        }
    }

    /// Runs scripts, writes lines and sends mails, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        tokio::join!(self.scripts.work(), self.fifos.work(), self.mails.work());
    }

    /// How mails are getting on.
    pub(crate) fn mail_status(&self, now: Instant) -> Option<MailStatus> {
        self.mails.status(now)
    }

    /// The daemon ends: who is told of it has a second, the last mail two.
    pub(crate) async fn finish(&mut self, is_stop: bool) {
        tokio::join!(
            self.scripts.finish(FAREWELL),
            self.fifos.finish(FAREWELL / 2, is_stop),
            self.mails.finish(LAST_MAIL)
        );
    }
}

/// Logs an event: a sentence for people, and as fields for machines what it is and whom it is about.
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
    let (kind, instance) = (event.kind(), event.instance());
    match event.severity() {
        Severity::Info => info!(event = kind, event.instance = instance, "{event}"),
        Severity::Warn => warn!(event = kind, event.instance = instance, "{event}"),
        Severity::Error => error!(event = kind, event.instance = instance, "{event}"),
    }
}
