//! The main loop's end of the router's thread.

use std::panic;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::thread::{CapabilitySet, Pid, capabilities, gettid};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::mailbox::{self, Report, RouterCommands};
use super::realtime::{self, Penalty};
use super::socket;
use super::task::{Beginning, Task};
use crate::bfd::sessions::Level;
use crate::daemon::clock;
use crate::daemon::guardian::Guardian;
use crate::daemon::guardian::claim::Predecessor;
use crate::daemon::startup::{Exit, Failure};
use crate::time::Instant;
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{Assert, Input, InstanceLevel};
use crate::vrrp::settings::{Realtime, Settings};
use crate::vrrp::status::Status as RouterStatus;

/// What the router thread reports to the main loop.
#[derive(Debug)]
pub(crate) enum RouterReport {
    /// An instance is so.
    Instance(InstanceLevel),
    /// An instance is no more.
    Gone(String),
    /// A BFD session is so.
    Session(Level),
    /// A BFD session is no more.
    SessionGone(String),
    Event(Event),
    /// Run a command of `assert`.
    Assert(Box<Assert>),
    /// End the run of that number.
    EndAssert(u64),
    /// [`Handle::status`] is new.
    Status,
    /// What the next process has to know, and whether a guardian waits for it.
    HandedOver(Box<Handover>, bool),
    /// The router is done.
    Finished,
}

/// A router's thread and its last report.
pub(crate) struct Handle {
    commands: RouterCommands,
    reports: mpsc::Receiver<Report>,
    thread: Option<JoinHandle<()>>,
    id: Pid,
    status: Option<Box<RouterStatus>>,
    realtime: Realtime,
    penalty: Penalty,
    heard_at: Instant,
}

impl Handle {
    /// Starts the thread, and waits until it has its sockets. `inputs` come before everything else.
    /// [`refuse_unpermitted`] comes first.
    ///
    /// # Errors
    /// [`Failure`] when it cannot have what it needs; and the guardian, for another attempt.
    pub(crate) async fn start(
        settings: Arc<Settings>,
        seed: u64,
        inputs: Vec<Input>,
        guardian: Option<Guardian>,
        predecessor: Option<Predecessor>,
    ) -> Result<Handle, (Failure, Option<Guardian>)> {
        let realtime = settings.realtime;
        let (commands, inbox) = mailbox::router_commands();
        let (outbox, reports) = mailbox::reports();
        let begun_with = Arc::clone(&settings);
        let beginning = Beginning { settings, seed, commands: inbox, reports: outbox };
        let (began, has_begun) = oneshot::channel();
        let work = move || {
            let runtime = match Builder::new_current_thread().enable_io().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(began.send(Err((error.to_string(), guardian)))),
            };
            let task = {
                let _inside = runtime.enter();
                Task::new(beginning)
            };
            match task {
                Ok(task) => {
                    let _ = began.send(Ok(gettid()));
                    runtime.block_on(task.run(begun_with, inputs, guardian, predecessor));
                }
                Err(error) => drop(began.send(Err((error, guardian)))),
            }
        };
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Exit::Unavailable, format!("VRRP cannot start: {error}"))
        };
        let thread = thread::Builder::new().name("lvsd-router".to_owned()).spawn(work);
        let thread = thread.map_err(|error| (failed(&error), None))?;
        let begun = has_begun.await.map_err(|error| (failed(&error), None))?;
        let id = begun.map_err(|(error, guardian)| (failed(&error), guardian))?;
        Ok(Handle {
            commands,
            reports,
            thread: Some(thread),
            id,
            status: None,
            realtime,
            penalty: Penalty::default(),
            heard_at: clock::now(),
        })
    }

    /// Sends an input to the router; never waits.
    pub(crate) fn send(&mut self, input: Input) {
        if let Input::Reload(settings) = &input
            && settings.realtime != self.realtime
        {
            // The thread makes itself what these want.
            (self.realtime, self.penalty) = (settings.realtime, Penalty::default());
        }
        self.commands.send(input);
    }

    /// Asks for a status as it is now; [`RouterReport::Status`] follows.
    pub(crate) fn ask(&mut self) {
        self.commands.ask();
    }

    /// The next report; waits for ever once the router is done.
    pub(crate) async fn next(&mut self) -> RouterReport {
        loop {
            if self.is_finished() {
                return std::future::pending().await;
            }
            let report = tokio::select! {
                biased;
                report = self.reports.recv() => report,
                () = self.commands.flush() => continue,
                () = clock::sleep_until(self.penalty.ends()) => {
                    self.promote();
                    continue;
                }
            };
            match report {
                Some(Report::Status(status)) => {
                    self.status = Some(status);
                    self.heard_at = clock::now();
                    return RouterReport::Status;
                }
                Some(Report::Said(text)) => warn!("{text}"),
                Some(Report::HandedOver(handover, is_guarded)) => {
                    return RouterReport::HandedOver(handover, is_guarded);
                }
                Some(Report::Finished) => {
                    self.end();
                    return RouterReport::Finished;
                }
                Some(Report::Instance(level)) => return RouterReport::Instance(level),
                Some(Report::Gone(name)) => return RouterReport::Gone(name),
                Some(Report::Session(level)) => return RouterReport::Session(level),
                Some(Report::SessionGone(name)) => return RouterReport::SessionGone(name),
                Some(Report::Assert(assert)) => return RouterReport::Assert(assert),
                Some(Report::EndAssert(number)) => return RouterReport::EndAssert(number),
                Some(Report::Event(event)) => return RouterReport::Event(event),
                None => self.end(),
            }
        }
    }

    /// How everything was at the last report, at most a second ago.
    pub(crate) fn status(&self) -> Option<&RouterStatus> {
        self.status.as_deref()
    }

    /// For how long nothing was heard of it; nothing once it is done.
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        if self.is_finished() { Duration::ZERO } else { now.since(self.heard_at) }
    }

    /// Whether it is done.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_none()
    }

    /// It ran for too long without sleeping (RLIMIT_RTTIME): before it starves the machine it is an ordinary thread,
    /// for a while.
    pub(crate) fn demote(&mut self) {
        let Some(pause) = self.penalty.begin(clock::now()) else { return };
        let limit = self.realtime.limit;
        let ran = format!("VRRP's thread ran for longer than {limit:?} without a pause (vrrp_rlimit_rttime)");
        match realtime::demote(self.id) {
            Ok(()) => error!(
                "{ran}: no longer real-time for {} minutes, until then adverts may be late on a busy machine",
                pause.as_secs() / 60
            ),
            Err(error) => error!("{ran}: {error}"),
        }
    }

    fn promote(&mut self) {
        self.penalty.end(clock::now());
        match realtime::promote(self.id, &self.realtime) {
            Ok(()) => info!("VRRP's thread is real-time again"),
            Err(error) => error!("VRRP's thread cannot be made real-time again: {error}"),
        }
    }

    /// Joins the thread. Its panic is ours: without it only the guardian acts for the addresses.
    fn end(&mut self) {
        if let Some(Err(cause)) = self.thread.take().map(JoinHandle::join) {
            panic::resume_unwind(cause);
        }
    }
}

/// Refuses a start without the capabilities that the router needs.
///
/// # Errors
/// [`Failure`] with [`Exit::Permission`].
pub(crate) fn refuse_unpermitted(settings: &Settings) -> Result<(), Failure> {
    let is_denied = socket::probe().is_err_and(|e| e.kind() == std::io::ErrorKind::PermissionDenied);
    let own = capabilities(None).map(|own| own.effective).unwrap_or(CapabilitySet::empty());
    let missing: Vec<&str> =
        [("CAP_NET_RAW", is_denied), ("CAP_NET_ADMIN", !own.contains(CapabilitySet::NET_ADMIN))]
            .into_iter()
            .filter_map(|(name, is_missing)| is_missing.then_some(name))
            .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = match (settings.instances.first(), settings.sessions.keys().next()) {
        (Some(first), _) => format!("vrrp_instance {}", first.name),
        (None, Some(name)) => format!("bfd_instance {name}"),
        (None, None) => "static addresses".to_owned(),
    };
    let text = format!(
        "{what} needs {}, which lvsd does not have: run it as root, or give it to the binary or its unit",
        missing.join(" and ")
    );
    Err(Failure::new(Exit::Permission, text))
}
