//! The queues between main loop and router thread, and what becomes of messages when the other side is slow.
//!
//! Levels wait on the sender's side, the newest in the place of an older one: only outdated ones are lost. Events and
//! complaints are dropped when too many wait, counted, and the count is reported.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::bfd::sessions::Level;
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{Assert, DirectorLevel, Input, InstanceLevel, TrackLevel};
use crate::vrrp::settings::{Settings, TrackTarget};
use crate::vrrp::status::Status as RouterStatus;

/// What is under way in each direction; what does not fit waits with its sender.
const UNDER_WAY: usize = 64;
/// Events and complaints that wait with the router.
const MAX_WAITING: usize = 1024;

/// What the main loop sends to the router's thread.
#[derive(Clone, Debug)]
pub(super) enum RouterCommand {
    /// For the router itself.
    Input(Input),
    /// A status at once, for an operator's request.
    Report,
}

/// What the router reports to the main loop.
#[derive(Debug)]
pub(super) enum Report {
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
    /// The shell's own words, for the log.
    Said(String),
    /// How everything is: at every change, and once a second, which is its heartbeat.
    Status(Box<RouterStatus>),
    /// What the next process has to know, and whether a guardian waits for it.
    HandedOver(Box<Handover>, bool),
    /// The router is done.
    Finished,
}

/// The main loop's end of the queue of commands.
#[derive(Debug)]
pub(super) struct RouterCommands {
    sender: mpsc::Sender<RouterCommand>,
    wants_status: bool,
    director: Option<DirectorLevel>,
    tracked: BTreeMap<TrackTarget, TrackLevel>,
    settings: Option<Arc<Settings>>,
    /// Ended runs of `assert`, at most one of each instance.
    asserted: VecDeque<Input>,
    end: Option<Input>,
}

/// The queue for commands.
pub(super) fn router_commands() -> (RouterCommands, mpsc::Receiver<RouterCommand>) {
    // Full: what is to be sent waits in `RouterCommands`.
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let commands = RouterCommands {
        sender,
        wants_status: false,
        director: None,
        tracked: BTreeMap::new(),
        settings: None,
        asserted: VecDeque::new(),
        end: None,
    };
    (commands, receiver)
}

impl RouterCommands {
    /// Sends an input, or keeps it until there is room.
    pub(super) fn send(&mut self, input: Input) {
        self.note(input);
        self.send_waiting();
    }

    /// Asks for a status.
    pub(super) fn ask(&mut self) {
        self.wants_status = true;
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        while let Some(next) = self.take() {
            match self.sender.try_send(next) {
                Ok(()) => {}
                Err(TrySendError::Full(RouterCommand::Input(input))) => return self.note(input),
                Err(TrySendError::Full(RouterCommand::Report)) => return self.wants_status = true,
                // The thread ended: there is no receiver.
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }

    /// Sends what waits, one by one; waits for ever when nothing does.
    pub(super) async fn flush(&mut self) {
        loop {
            if !self.has_more() {
                return std::future::pending().await;
            }
            let sender = self.sender.clone();
            let Ok(permit) = sender.reserve().await else { return std::future::pending().await };
            if let Some(next) = self.take() {
                permit.send(next);
            }
        }
    }

    fn has_more(&self) -> bool {
        let has_level = self.director.is_some() || !self.tracked.is_empty() || self.settings.is_some();
        has_level || !self.asserted.is_empty() || self.wants_status || self.end.is_some()
    }

    /// New settings first: what is followed may be named there for the first time. The end last.
    fn take(&mut self) -> Option<RouterCommand> {
        let settings = self.settings.take().map(Input::Reload);
        let level = settings
            .or_else(|| self.director.take().map(Input::Director))
            .or_else(|| self.tracked.pop_first().map(|(target, level)| Input::Tracked { target, level }))
            .or_else(|| self.asserted.pop_front());
        if level.is_none() && std::mem::take(&mut self.wants_status) {
            return Some(RouterCommand::Report);
        }
        level.or_else(|| self.end.take()).map(RouterCommand::Input)
    }

    fn note(&mut self, input: Input) {
        match input {
            Input::Director(level) => self.director = Some(level),
            Input::Tracked { target, level } => drop(self.tracked.insert(target, level)),
            Input::Reload(settings) => self.settings = Some(settings),
            ended @ Input::Asserted { .. } => self.asserted.push_back(ended),
            end => self.end = Some(end),
        }
    }
}

/// The router's end of the queue of reports.
#[derive(Debug)]
pub(super) struct Reports {
    sender: mpsc::Sender<Report>,
    /// None: it is no more.
    instances: BTreeMap<String, Option<InstanceLevel>>,
    /// The same.
    sessions: BTreeMap<String, Option<Level>>,
    waiting: VecDeque<Report>,
    dropped: u64,
    status: Option<Box<RouterStatus>>,
    is_finished: bool,
}

/// The queue for reports.
pub(super) fn reports() -> (Reports, mpsc::Receiver<Report>) {
    // Full: what is to be sent waits in `Reports`.
    let (sender, receiver) = mpsc::channel(UNDER_WAY);
    let reports = Reports {
        sender,
        instances: BTreeMap::new(),
        sessions: BTreeMap::new(),
        waiting: VecDeque::new(),
        dropped: 0,
        status: None,
        is_finished: false,
    };
    (reports, receiver)
}

impl Reports {
    /// Sends as much as there is room for; the rest waits. Never blocks.
    pub(super) fn send(&mut self, report: Report) {
        match report {
            Report::Instance(level) => drop(self.instances.insert(level.name.clone(), Some(level))),
            Report::Gone(name) => drop(self.instances.insert(name, None)),
            Report::Session(level) => drop(self.sessions.insert(level.name.clone(), Some(level))),
            Report::SessionGone(name) => drop(self.sessions.insert(name, None)),
            Report::Status(status) => self.status = Some(status),
            Report::Finished => self.is_finished = true,
            // Of each instance one run, and its end.
            Report::HandedOver(..) | Report::Assert(_) | Report::EndAssert(_) => {
                self.waiting.push_back(report)
            }
            Report::Event(_) | Report::Said(_) if self.waiting.len() < MAX_WAITING => {
                self.waiting.push_back(report);
            }
            Report::Event(_) | Report::Said(_) => self.dropped += 1,
        }
        self.flush();
    }

    /// Sends as much as there is room for.
    pub(super) fn flush(&mut self) {
        let sender = self.sender.clone();
        while let Ok(permit) = sender.try_reserve() {
            let Some(next) = self.take() else { return };
            permit.send(next);
        }
    }

    /// Waits until there is room for what waits; for ever when nothing does.
    pub(super) async fn room(&self) {
        if !self.has_more() || self.sender.reserve().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether something waits.
    pub(super) fn has_more(&self) -> bool {
        let has_levels = !self.instances.is_empty() || !self.sessions.is_empty();
        let is_quiet = self.waiting.is_empty() && !has_levels && self.status.is_none();
        !is_quiet || self.dropped > 0 || self.is_finished
    }

    /// What happened before how things are, the end last.
    fn take(&mut self) -> Option<Report> {
        if let Some(report) = self.waiting.pop_front() {
            return Some(report);
        }
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            let text = format!("{dropped} VRRP events were dropped: too many at a time");
            return Some(Report::Said(text));
        }
        if let Some((name, level)) = self.instances.pop_first() {
            return Some(level.map_or(Report::Gone(name), Report::Instance));
        }
        if let Some((name, level)) = self.sessions.pop_first() {
            return Some(level.map_or(Report::SessionGone(name), Report::Session));
        }
        let status = self.status.take().map(Report::Status);
        status.or_else(|| std::mem::take(&mut self.is_finished).then_some(Report::Finished))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::io::State;

    fn level(reason: &str) -> Input {
        Input::Director(DirectorLevel { cannot_forward: Some(reason.to_owned()), ..DirectorLevel::default() })
    }

    #[tokio::test]
    async fn of_a_level_that_waits_only_the_newest_is_sent_and_the_end_comes_last() {
        let (mut commands, mut inbox) = router_commands();
        for n in 0..UNDER_WAY + 10 {
            commands.send(level(&n.to_string()));
        }
        commands.send(Input::Stop);
        commands.ask();
        let mut received = Vec::new();
        for _ in 0..UNDER_WAY + 3 {
            received.push(tokio::select! {
                biased;
                order = inbox.recv() => order.unwrap(),
                () = commands.flush() => unreachable!("it never ends"),
            });
        }
        let said = |order: &RouterCommand| match order {
            RouterCommand::Input(Input::Director(level)) => level.cannot_forward.clone().unwrap(),
            other => format!("{other:?}"),
        };
        let rest: Vec<String> = received.iter().skip(UNDER_WAY).map(said).collect();
        assert_eq!(rest, [&(UNDER_WAY + 9).to_string(), "Report", "Input(Stop)"]);
        assert!(inbox.try_recv().is_err());
    }

    #[tokio::test]
    async fn events_that_are_not_read_are_dropped_and_counted_and_levels_are_not() {
        let (mut reports, mut inbox) = reports();
        let instance = |state| InstanceLevel {
            name: "VI".to_owned(),
            vrid: 1,
            state,
            addresses: std::collections::BTreeSet::new(),
        };
        for n in 0..(UNDER_WAY + MAX_WAITING + 3) as u64 {
            reports.send(Report::Event(Event::Late { milliseconds: n }));
        }
        reports.send(Report::Instance(instance(State::Backup)));
        reports.send(Report::Instance(instance(State::Master)));
        reports.send(Report::Finished);
        let mut received = Vec::new();
        while reports.has_more() || !inbox.is_empty() {
            received.push(inbox.recv().await.unwrap());
            reports.flush();
        }
        let events = received.iter().filter(|report| matches!(report, Report::Event(_))).count();
        assert_eq!(events, UNDER_WAY + MAX_WAITING);
        let rest: Vec<String> = received[events..].iter().map(|report| format!("{report:?}")).collect();
        assert_eq!(rest.len(), 3, "{rest:?}");
        assert!(rest[0].contains("3 VRRP events were dropped"), "{rest:?}");
        assert!(rest[1].contains("Master"), "{rest:?}");
        assert_eq!(rest[2], "Finished");
    }
}
