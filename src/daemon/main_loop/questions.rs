//! Questions of operators and monitoring: the status, why a server is down, orders, health.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::info;

use super::super::clock;
use super::super::control::{Command, DaemonStatus, Question, Reply};
use super::super::health::{HealthMonitor, HealthSources};
use super::Shell;
use super::end::{HANDS_OVER, NO_ORDER};
use super::overrides::PendingOverride;
use crate::director::admin_override::Selector;
use crate::director::io::Input;
use crate::director::status::Status;
use crate::time::Instant;

/// Real servers named to an operator who asked for one that is not there.
const KNOWN_SHOWN: usize = 10;
/// From one question that has its turn to the next.
const TURN: Duration = Duration::from_millis(10);
/// Longest time a status waits for the kernel's table to be read.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);

impl Shell {
    /// Answers a question now and then, even if other work waits.
    pub(super) fn have_turn(&mut self, health: &HealthMonitor) -> Option<Input> {
        let now = clock::now();
        if now < self.turn_at {
            return None;
        }
        self.turn_at = now + TURN;
        self.gather_status(health);
        let question = self.control.try_next()?;
        self.answer(question, health)
    }

    /// Answers requests for a status that waited until the kernel's table has been read, or cannot be read.
    pub(super) fn answer_after_read(&mut self, health: &HealthMonitor) {
        let (now, read_at) = (clock::now(), self.director.read_at());
        let is_done = |since: Instant| read_at.is_some_and(|at| at >= since) || now >= since + READ_LIMIT;
        while self.awaiting_read.first().is_some_and(|(since, _)| is_done(*since)) {
            let (_, question) = self.awaiting_read.remove(0);
            self.snapshots.forget();
            // It asks for nothing that is an input.
            self.answer(Question { command: Command::Status, ..question }, health);
        }
    }

    /// Goes on with the status that was asked for, and answers once it is complete.
    pub(super) fn gather_status(&mut self, health: &HealthMonitor) {
        let now = clock::now();
        self.snapshots.tidy(now);
        if self.snapshots.work(now, &self.director) {
            let director = self.director.status_of(now, self.snapshots.take());
            let status = self.status(now, health, director);
            self.snapshots.answer(now, status);
        }
    }

    /// Writes the status into files, off the loop; a second signal meanwhile is answered by the same files.
    pub(super) fn dump(&mut self, signal: &'static str, health: &HealthMonitor) {
        if self.dumping.as_ref().is_some_and(|job| !job.is_finished()) {
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.answer(Question { command: Command::Status, reply, client: None }, health);
        let dumps = self.dumps.clone();
        self.dumping = Some(tokio::spawn(async move {
            if let Ok(Reply::Status(status)) = answer.await {
                // A disk that hangs must not stop the loop.
                let _ = tokio::task::spawn_blocking(move || dumps.write(signal, &status)).await;
            }
        }));
    }

    /// Answers an operator; an order is also an input, and a reload is answered when it has ended.
    pub(super) fn answer(&mut self, question: Question, health: &HealthMonitor) -> Option<Input> {
        let now = clock::now();
        if !question.is_awaited(now) {
            info!(command = ?question.command, "a request is dropped: its client waits no longer");
            let _ =
                question.reply.send(Reply::Error("the request came too late, nothing was done".to_owned()));
            return None;
        }
        let reply = match question.command {
            Command::Why(selector) => match self.director.histories(now, &selector) {
                histories if histories.is_empty() => self.no_such_server(&selector),
                histories => Reply::Why(histories),
            },
            Command::WhyChecks => Reply::WhyChecks(self.director.track_check_histories(now)),
            Command::Order { .. } if self.is_ending() => Reply::Error(NO_ORDER.to_owned()),
            Command::Order { selector, .. } if self.director.select(&selector).is_empty() => {
                self.no_such_server(&selector)
            }
            Command::Order { selector, change } => {
                self.pending_override = Some(PendingOverride { reply: question.reply, selector, change });
                return Some(Input::Override { selector, change });
            }
            Command::StatusNow if self.director.reads_kernel() => {
                self.awaiting_read.push((now, question));
                return Some(Input::ReadKernel);
            }
            Command::Status | Command::StatusNow => {
                let is_new = self.snapshots.ask(now, question.reply);
                if let Some(router) = self.router.as_mut().filter(|router| is_new && !router.is_finished()) {
                    // As it is now, not as it was a second ago.
                    router.ask();
                    self.snapshots.await_router(now);
                }
                return None;
            }
            Command::HandOver if self.is_ending() => Reply::Error("lvsd is ending".to_owned()),
            Command::HandOver => {
                info!("handing over, everything stays in the kernel");
                self.reloads.end(HANDS_OVER);
                self.handing_over.push(question.reply);
                return Some(Input::HandOver);
            }
            Command::Health => Reply::Health(health.trouble(now, &self.health_sources())),
            Command::Reload { .. } if self.is_ending() => Reply::Error("lvsd is ending".to_owned()),
            Command::Reload { allow_removal } => {
                self.reloads.begin(Some(question.reply), allow_removal, &self.config);
                return None;
            }
        };
        // The requester has gone: nothing to send.
        let _ = question.reply.send(reply);
        None
    }

    pub(super) fn status(&self, now: Instant, health: &HealthMonitor, director: Status) -> DaemonStatus {
        let (reloads_accepted, reloads_rejected) = self.reloads.counts();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started_at).as_secs(),
            config: self.reloads.path().to_owned(),
            is_lenient: self.reloads.is_lenient(),
            config_id: self.reloads.config_id().map(str::to_owned),
            trouble: health.trouble(now, &self.health_sources()),
            unsaved: self.unsaved.clone(),
            last_reload: self.reloads.outcome(now),
            reloads_accepted,
            reloads_rejected,
            mail: self.events.mail_status(now),
            host: self.host_findings.found().to_vec(),
            director,
            router: self.router.as_ref().and_then(|router| router.status().cloned()),
        }
    }

    pub(super) fn health_sources(&self) -> HealthSources<'_> {
        HealthSources {
            director: &self.director,
            actuator: &self.actuator,
            reloads: &self.reloads,
            router: self.router.as_ref(),
        }
    }

    pub(super) fn no_such_server(&self, selector: &Selector) -> Reply {
        let members = self.config.virtual_servers.iter().flat_map(|s| &s.real_servers);
        let known: BTreeSet<String> = members.map(|r| r.named().to_string()).collect();
        let some: Vec<String> = known.iter().take(KNOWN_SHOWN).cloned().collect();
        let more = if known.len() > KNOWN_SHOWN { ", ..." } else { "" };
        Reply::Error(format!("there is no real server {selector}; there are: {}{more}", some.join(", ")))
    }
}
