//! Sends mails, one at a time. The outbox decides which changes the next one contains, and when it is sent.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::clock;
use super::smtp;
use crate::notify::mail::MailSettings;
use crate::notify::mail::content::MailContent;
use crate::notify::mail::message::compose;
use crate::notify::mail::outbox::{DatedContent, Delivery, DeliveryFailure, Outbox};
use crate::time::Instant;

/// How a mail ended: which recipients were refused although others were accepted, or why it failed.
type Ended = Result<Option<String>, DeliveryFailure>;

/// Mails that wait or are under way.
#[derive(Debug)]
pub(crate) struct Mails {
    settings: Option<Arc<MailSettings>>,
    outbox: Outbox,
    session: Option<JoinHandle<Ended>>,
    host: String,
    /// Mails begun: makes ids distinct.
    begun: u64,
}

/// Mails, as the status has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailStatus {
    /// The mail server.
    pub server: String,
    /// Changes that wait to be sent.
    pub waiting: usize,
    /// Changes sent by mail since the start.
    pub sent: u64,
    /// Changes in mails that were refused.
    pub failed: u64,
    /// Changes that were dropped because too many waited.
    pub dropped: u64,
    /// Mails that were accepted since the start; one may contain many changes.
    pub mails: u64,
    /// Whether the mail server takes none at the moment.
    pub is_failing: bool,
    /// What went wrong last, with the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// How long ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error_seconds: Option<u64>,
}

impl Mails {
    /// None yet, and no server.
    pub(crate) fn new() -> Mails {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let host = if host.is_empty() || !host.chars().all(is_name) { "localhost".to_owned() } else { host };
        Mails { settings: None, outbox: Outbox::new(clock::now()), session: None, host, begun: 0 }
    }

    /// Mails go there from now on, those that wait, too.
    pub(crate) fn configure(&mut self, settings: Option<Arc<MailSettings>>) {
        if self.settings != settings {
            self.outbox.retry_now();
        }
        if settings.is_none() {
            self.outbox.clear();
        }
        self.settings = settings;
    }

    /// Adds a change. It is sent by [`Mails::work`].
    pub(crate) fn push(&mut self, content: MailContent) {
        if self.settings.is_some() && self.outbox.push(DatedContent { content, date: clock::unix_now() }) {
            warn!(event = "mail_dropped", "mails: too many changes wait: the oldest are not sent");
        }
    }

    /// Sends what is to be sent, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        loop {
            self.step().await;
        }
    }

    /// The daemon ends: what waits is sent within the limit.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        self.outbox.end();
        let idle = async {
            while !self.outbox.is_idle() {
                self.step().await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            let waiting = self.outbox.waiting();
            warn!(event = "mail_failed", "mails: lvsd ends: {waiting} changes were not sent");
        }
    }

    async fn step(&mut self) {
        self.begin();
        let deadline = self.outbox.deadline();
        tokio::select! {
            ended = end_of(&mut self.session) => {
                self.session = None;
                self.log(ended);
            }
            () = clock::sleep_until(deadline) => {}
        }
    }

    fn begin(&mut self) {
        let Some(settings) = self.settings.clone().filter(|_| self.session.is_none()) else { return };
        let Some(dated) = self.outbox.begin(clock::now()) else { return };
        self.begun += 1;
        let id = format!("{}.{}.{}", clock::unix_now().as_micros(), std::process::id(), self.begun);
        let mail = compose(dated, &settings, &self.host, &id);
        let host = self.host.clone();
        self.session = Some(tokio::spawn(async move {
            match mail {
                Ok(mail) => smtp::deliver(mail, &settings, &host).await,
                Err(reason) => Err(DeliveryFailure { is_final: true, reason }),
            }
        }));
    }

    fn log(&mut self, ended: Ended) {
        let delivery = self.outbox.ended(clock::now(), ended);
        if self.settings.is_none() {
            self.outbox.clear();
        }
        match delivery {
            Delivery::Nothing => {}
            Delivery::Failing { reason, waiting, pause } => warn!(
                event = "mail_failing",
                "mails: {reason}; {waiting} changes wait, the next attempt is in {} s",
                pause.as_secs()
            ),
            Delivery::Refused { reason, changes } => {
                warn!(event = "mail_failed", "mails: {reason}; changes that were not sent: {changes}");
            }
            Delivery::Partly { reason } => {
                warn!(event = "mail_refused", "mails: {reason}; other recipients were accepted")
            }
            Delivery::Recovered { dropped } => {
                info!(
                    event = "mail_recovered",
                    "mails: accepted again; changes dropped meanwhile: {dropped}"
                );
            }
        }
    }

    /// State of the mails; None when none are configured.
    pub(crate) fn status(&self, now: Instant) -> Option<MailStatus> {
        let settings = self.settings.as_ref()?;
        let counts = self.outbox.counts();
        let last_error = self.outbox.last_error();
        Some(MailStatus {
            server: settings.server.to_string(),
            waiting: self.outbox.waiting(),
            sent: counts.sent,
            failed: counts.failed,
            dropped: counts.dropped,
            mails: counts.mails,
            is_failing: self.outbox.is_failing(),
            last_error: last_error.map(|(_, reason)| reason.to_owned()),
            last_error_seconds: last_error.map(|(at, _)| now.since(at).as_secs()),
        })
    }
}

impl Default for Mails {
    fn default() -> Mails {
        Mails::new()
    }
}

async fn end_of(session: &mut Option<JoinHandle<Ended>>) -> Ended {
    match session {
        Some(session) => session.await.unwrap_or_else(|error| {
            let reason = format!("sending broke, please report this: {error}");
            Err(DeliveryFailure { is_final: true, reason })
        }),
        None => pending().await,
    }
}
