//! The loop on the router's thread: inputs in, effects out, in a written order of importance.
//!
//! 1. The router's deadline: an advertisement that is late may cost an election. When it is late, the router itself
//!    asks to read first what has arrived ([`Effect::CatchUp`]).
//! 2. The main loop's commands: priority 0 is due within 20 ms.
//! 3. What the kernel answered, then its own events.
//! 4. BFD: its deadlines come with those of 1, its packets before those of VRRP, because their silence counts sooner.
//! 5. Packets, a turn for each socket: a flood of them delays nothing above by more than its turn.
//! 6. Room for announcements, where a link had none; room to report.
//!
//! The file is long because this order is one loop over one state: its inputs and the effects of the router stand together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::bfd::{self, Bfd};
use super::helper::{Done, Helper, Job};
use super::mailbox::{Report, Reports, RouterCommand};
use super::realtime;
use super::timer::Timer;
use super::wire::Wire;
use crate::daemon::clock;
use crate::daemon::guardian::Guardian;
use crate::daemon::guardian::claim::Predecessor;
use crate::net::kernel::{Watch, WatchBatch};
use crate::net::reading::Reading;
use crate::net::types::{Host, HostEvent, LinkIndex, Refusal};
use crate::time::Instant;
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{Effect, Input, State};
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Realtime, Settings};

/// Between two reports of how everything is, at most.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Between two looks at which links forward IPv6.
const ROUTERS_INTERVAL: Duration = Duration::from_secs(5);
/// A wall clock that moved by more has jumped.
const JUMP: Duration = Duration::from_millis(50);
/// Between two attempts to read the host.
const READ_RETRY: Duration = Duration::from_secs(1);
/// Between two readings of the host: what the kernel did without announcing it stays unnoticed for so long.
const READ_INTERVAL: Duration = Duration::from_secs(60);
/// Added to it by chance, so that not all directors read at the same moment.
const READ_SPREAD: Duration = Duration::from_secs(6);
/// Events that are handled before a reading: what the socket can hold, not what a flood can bring.
const MAX_HEARD: usize = 4096;
/// Packets that [`Effect::CatchUp`] reads at most: what queues can hold, not what a flood can bring.
const MAX_CATCH_UP: usize = 4096;
/// Rounds of events that are read before an answer that came after them: a storm of others' must not hold it back.
const MAX_ROUNDS: usize = 256;
/// The same complaint is logged again after this time.
const COMPLAINT_PAUSE: Duration = Duration::from_secs(60);
const MAX_COMPLAINTS: usize = 256;
/// Longest time a hand-over waits for BFD's neighbours to agree to be patient.
const NEIGHBORS_LIMIT: Duration = Duration::from_millis(300);

/// Everything the thread owns.
pub(super) struct Task {
    router: Router,
    commands: mpsc::Receiver<RouterCommand>,
    reports: Reports,
    wire: Wire,
    bfd: Bfd,
    /// A hand-over waits for neighbours until then.
    hands_over_by: Option<Instant>,
    is_closing: bool,
    is_joining: bool,
    /// Groups to be members of, once the last ones are joined.
    groups: Option<BTreeSet<(LinkIndex, IpAddr)>>,
    timer: Timer,
    /// None: to be opened anew, when the host is read.
    watch: Option<Watch>,
    helper: Helper,
    /// Dropped without being dismissed it takes this thread for dead, and so it should.
    guardian: Option<Guardian>,
    realtime: Realtime,
    links: BTreeMap<LinkIndex, String>,
    heartbeat_at: Instant,
    find_routers_at: Instant,
    read_at: Option<Instant>,
    /// The host is being read.
    reading: Option<Reading>,
    /// Protocols whose routes are read: those of every configuration so far; empty for none.
    route_protocols: BTreeSet<u8>,
    rng: fastrand::Rng,
    is_finding_routers: bool,
    /// What the kernel answered, and how many more events may come before it.
    answer: Option<(Vec<Refusal>, usize)>,
    wall_offset: Option<Duration>,
    complaints: BTreeMap<String, Instant>,
    is_finished: bool,
    /// The guardian of the process before, until an instance goes on as Master here.
    predecessor: Option<Predecessor>,
    handover: Option<Box<Handover>>,
}

/// What the thread begins with.
pub(super) struct Beginning {
    pub(super) settings: Arc<Settings>,
    /// All its chance.
    pub(super) seed: u64,
    pub(super) commands: mpsc::Receiver<RouterCommand>,
    pub(super) reports: Reports,
}

impl Task {
    /// Opens all that is needed. Needs the event loop's context.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn new(beginning: Beginning) -> Result<Task, String> {
        let Beginning { settings, seed, commands, reports } = beginning;
        let now = clock::now();
        let realtime = settings.realtime;
        let route_protocols = settings.route_protocols();
        let failed = |what: &str, error: &dyn std::fmt::Display| format!("{what}: {error}");
        let mut task = Task {
            wire: Wire::new().map_err(|error| failed("VRRP's sockets", &error))?,
            bfd: Bfd::new(seed).map_err(|error| failed("BFD's sockets", &error))?,
            hands_over_by: None,
            is_closing: false,
            is_joining: false,
            groups: None,
            answer: None,
            timer: Timer::new().map_err(|error| failed("a timer", &error))?,
            // Before the host is read: what happens in between must not be missed.
            watch: Some(Watch::open()?),
            helper: Helper::start(&realtime)?,
            guardian: None,
            router: Router::new(settings, seed, now),
            commands,
            reports,
            realtime,
            links: BTreeMap::new(),
            heartbeat_at: now,
            find_routers_at: now,
            read_at: Some(now),
            reading: None,
            route_protocols,
            rng: fastrand::Rng::with_seed(seed),
            is_finding_routers: false,
            wall_offset: None,
            complaints: BTreeMap::new(),
            is_finished: false,
            predecessor: None,
            handover: None,
        };
        task.be_punctual();
        task.send_clock(now);
        Ok(task)
    }

    /// Runs until the router is done, first with the settings that it was made with. The inputs come before everything else.
    pub(super) async fn run(
        mut self,
        settings: Arc<Settings>,
        inputs: Vec<Input>,
        guardian: Option<Guardian>,
        predecessor: Option<Predecessor>,
    ) {
        (self.guardian, self.predecessor) = (guardian, predecessor);
        if let Some(Err(error)) = self.guardian.as_ref().map(Guardian::engage) {
            self.complain(format!("the guardian does not know that there are VIPs: {error}"));
        }
        let now = clock::now();
        for input in &inputs {
            if let Input::Inherited { handover, .. } = input {
                self.bfd.inherit(now, &handover.sessions);
            }
        }
        // Before the router: what is followed is known when it looks at it for the first time.
        let outcomes = self.bfd.configure(now, &settings.sessions);
        drop(settings);
        self.take_outcomes(outcomes);
        for input in inputs {
            self.handle(input);
        }
        while !self.is_finished {
            let now = clock::now();
            self.guardian.iter().for_each(|guardian| guardian.beat(now));
            self.look_after(now);
            if self.is_finished {
                break;
            }
            // In a flood of packets the event loop seldom gets to ask the timer.
            if self.router.deadline().is_some_and(|at| at <= clock::now()) {
                self.handle(Input::Wake);
                if self.is_finished {
                    break;
                }
            }
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = self.timer.sleep_until(deadline) => {}
                command = self.commands.recv() => match command {
                    Some(RouterCommand::Input(input)) => self.handle_command(input),
                    Some(RouterCommand::Report) => self.heartbeat(clock::now()),
                    // The main loop is gone without a word: what it left is the guardian's.
                    None => return,
                },
                done = self.helper.done() => self.conclude(done),
                batch = next_batch(&mut self.watch) => self.handle_batch(batch),
                () = self.bfd.readable() => {
                    let outcomes = self.bfd.hear(clock::now());
                    self.take_outcomes(outcomes);
                }
                () = self.wire.readable() => {
                    for datagram in self.wire.hear() {
                        self.handle(Input::Received(datagram));
                    }
                }
                () = self.wire.writable() => self.go_on_announcing(),
                () = self.reports.room() => self.reports.flush(),
            }
        }
        self.part_from_guardian();
        self.heartbeat(clock::now());
        self.reports.send(Report::Finished);
        while self.reports.has_more() {
            self.reports.room().await;
            self.reports.flush();
        }
    }

    /// What was to be said and removed is; or it is handed over, and the guardian waits for the next process.
    fn part_from_guardian(&mut self) {
        let guardian = self.guardian.take();
        let Some(handover) = self.handover.take() else {
            return guardian.into_iter().for_each(Guardian::dismiss);
        };
        let now = clock::now();
        let is_guarded = match (guardian, handover.deadlines()) {
            (Some(guardian), Some((claim, done))) => {
                let handed_over = guardian.hand_over(now + claim, now + done);
                handed_over.unwrap_or_else(|error| {
                    self.complain(format!(
                        "the guardian does not wait for the next process: {error}: should none come, the VIPs stay here"
                    ));
                    false
                })
            }
            (guardian, _) => {
                guardian.into_iter().for_each(Guardian::dismiss);
                false
            }
        };
        self.reports.send(Report::HandedOver(handover, is_guarded));
    }

    fn deadline(&self) -> Option<Instant> {
        let read_at = self.read_at.filter(|_| self.reading.is_none());
        let own = [
            Some(self.heartbeat_at),
            read_at,
            self.wire.deadline(),
            self.bfd.deadline(),
            self.hands_over_by,
            self.router.deadline(),
        ];
        own.into_iter().flatten().min()
    }

    /// The shell's own appointments.
    fn look_after(&mut self, now: Instant) {
        if self.bfd.deadline().is_some_and(|at| at <= now) {
            let outcomes = self.bfd.wake(now);
            self.take_outcomes(outcomes);
        }
        if self.hands_over_by.is_some_and(|by| by <= now || !self.bfd.awaits_handover()) {
            self.hands_over_by = None;
            self.handle(Input::HandOver);
        }
        if self.wire.deadline().is_some_and(|at| at <= now) {
            let complaints = self.wire.tend(now);
            self.complain_of(complaints);
            self.report_sockets();
            self.go_on_announcing();
        }
        self.begin_jobs(now);
        if self.reading.is_none() && self.read_at.is_some_and(|at| at <= now) {
            self.read_host(now);
        }
        self.send_clock(now);
        if self.heartbeat_at > now {
            return;
        }
        if !std::mem::replace(&mut self.is_joining, true) {
            self.helper.begin(Job::Join(self.groups.take()));
        }
        if self.find_routers_at <= now {
            self.find_routers(now);
            let trouble = self.guardian.as_ref().and_then(Guardian::trouble);
            trouble.into_iter().for_each(|text| self.complain(text));
        }
        self.heartbeat(now);
    }

    /// What may wait for the kernel's locks, one of a kind at a time.
    fn begin_jobs(&mut self, now: Instant) {
        let openings = self.wire.take_openings(now);
        if !openings.is_empty() {
            self.helper.begin(Job::Open(openings));
        }
        if !self.is_closing {
            let closings = self.wire.take_closings();
            self.is_closing = !closings.is_empty();
            if self.is_closing {
                self.helper.begin(Job::Close(closings));
            }
        }
        if !self.is_joining && self.groups.is_some() {
            self.is_joining = true;
            self.helper.begin(Job::Join(self.groups.take()));
        }
    }

    fn report_sockets(&mut self) {
        if let Some(listening) = self.wire.take_socket_states() {
            self.handle(Input::Sockets(listening));
        }
    }

    fn go_on_announcing(&mut self) {
        for link in self.wire.frames().take_writable(clock::now()) {
            self.handle(Input::Writable(link));
        }
    }

    /// Signatures carry the time of day; a step of the clock must not make them wrong until the next heartbeat.
    fn send_clock(&mut self, now: Instant) {
        let offset = clock::unix_now().saturating_sub(now.since(Instant::ZERO));
        if self.wall_offset.is_none_or(|known| known.abs_diff(offset) > JUMP) {
            self.wall_offset = Some(offset);
            self.handle(Input::Clock(offset));
        }
    }

    fn heartbeat(&mut self, now: Instant) {
        self.heartbeat_at = now + HEARTBEAT;
        let mut status = self.router.status(now);
        (status.sessions, status.unknown_sessions) = self.bfd.status(now);
        self.reports.send(Report::Status(Box::new(status)));
    }

    fn find_routers(&mut self, now: Instant) {
        self.find_routers_at = now + ROUTERS_INTERVAL;
        if !std::mem::replace(&mut self.is_finding_routers, true) {
            self.helper.begin(Job::FindRouters(self.links.clone()));
        }
    }

    fn read_host(&mut self, now: Instant) {
        // What happens while it is read must be heard.
        if self.watch.is_none() {
            match Watch::open() {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => {
                    self.read_at = Some(now + READ_RETRY);
                    return self.complain(error);
                }
            }
        }
        self.read_at = None;
        self.reading = Some(Reading::default());
        self.helper.begin(Job::Read(self.route_protocols.clone()));
    }

    fn handle_command(&mut self, command: Input) {
        match command {
            Input::Reload(settings) => self.reload(settings),
            Input::HandOver => {
                let now = clock::now();
                let outcomes = self.bfd.prepare_handover(now);
                self.take_outcomes(outcomes);
                if self.bfd.awaits_handover() {
                    self.hands_over_by = Some(now + NEIGHBORS_LIMIT);
                } else {
                    self.handle(Input::HandOver);
                }
            }
            Input::Stop => {
                // VRRP's last words first: they move the VIPs.
                self.handle(Input::Stop);
                let outcomes = self.bfd.stop(clock::now());
                self.take_outcomes(outcomes);
            }
            command => self.handle(command),
        }
    }

    fn reload(&mut self, settings: Arc<Settings>) {
        self.route_protocols.extend(settings.route_protocols());
        let outcomes = self.bfd.configure(clock::now(), &settings.sessions);
        self.take_outcomes(outcomes);
        // What is followed for the first time has a level already.
        for level in self.bfd.levels() {
            self.handle(Input::Session(level));
        }
        if settings.realtime != self.realtime {
            self.realtime = settings.realtime;
            self.be_punctual();
        }
        self.handle(Input::Reload(settings));
    }

    /// The router and the main loop hear what BFD found.
    fn take_outcomes(&mut self, outcomes: Vec<bfd::Outcome>) {
        let mut has_changed = false;
        for outcome in outcomes {
            match outcome {
                bfd::Outcome::Level(level) => {
                    self.reports.send(Report::Session(level.clone()));
                    self.handle(Input::Session(level));
                }
                bfd::Outcome::Gone(name) => self.reports.send(Report::SessionGone(name)),
                bfd::Outcome::Event(event) => {
                    has_changed = true;
                    self.reports.send(Report::Event(Event::Session(event)));
                }
                bfd::Outcome::Complaint(text) => self.complain(text),
            }
        }
        if has_changed {
            self.heartbeat(clock::now());
        }
    }

    fn be_punctual(&mut self) {
        for text in realtime::apply(&self.realtime) {
            self.reports.send(Report::Said(text));
        }
    }

    fn conclude(&mut self, done: Done) {
        self.is_finding_routers &= !matches!(done, Done::Routers(_));
        match done {
            Done::Applied(refusals, remarks) => {
                self.complain_of(remarks);
                self.answer = Some((refusals, MAX_ROUNDS));
                self.answer();
            }
            Done::Opened(all) => {
                let complaints = self.wire.opened(clock::now(), all);
                self.complain_of(complaints);
                self.report_sockets();
            }
            Done::Closed => self.is_closing = false,
            Done::Joined(complaints) => {
                self.is_joining = false;
                self.complain_of(complaints);
            }
            Done::Routers(links) => self.handle(Input::RouterLinks(links)),
            Done::Host(Ok(host)) => {
                // What has been announced by now may have come after the reading.
                self.hear_all();
                match self.reading.take().and_then(|reading| reading.finish(host)) {
                    Some(host) => self.host_was_read(host),
                    None => self.read_at = Some(clock::now()),
                }
            }
            Done::Host(Err(error)) => {
                self.reading = None;
                self.read_at = Some(clock::now() + READ_RETRY);
                self.complain(format!(
                    "the host's addresses cannot be read: {error}: tried again every second"
                ));
            }
        }
    }

    fn host_was_read(&mut self, host: Host) {
        let spread = READ_SPREAD * self.rng.u32(0..1000) / 1000;
        self.read_at.get_or_insert(clock::now() + READ_INTERVAL + spread);
        self.watch.iter_mut().for_each(|watch| watch.learn(&host));
        self.name_links(&host);
        // Which links forward is known before the first of them announces anything.
        self.find_routers(clock::now());
        self.handle(Input::Host(host));
    }

    /// Hears what has been announced and not been heard yet.
    fn hear_all(&mut self) {
        for _ in 0..MAX_HEARD {
            let Some(batch) = self.watch.as_mut().and_then(Watch::next_now) else { return };
            self.handle_batch(batch);
        }
        self.lose();
    }

    /// Events were lost: the host is read again, and what is being read now is no good.
    fn lose(&mut self) {
        self.read_at = Some(clock::now());
        self.reading.iter_mut().for_each(Reading::lose);
    }

    /// The kernel puts events of a change into their queue before it answers the request: what waits there is older
    /// than the answer, and after it would look like another program's doing.
    fn answer(&mut self) {
        let is_dry = self.watch.as_ref().is_none_or(Watch::is_dry);
        if let Some((refusals, _)) = self.answer.take_if(|(_, rounds)| is_dry || *rounds == 0) {
            self.handle(Input::Applied(refusals));
        } else if let Some((_, rounds)) = &mut self.answer {
            *rounds -= 1;
        }
    }

    fn name_links(&mut self, host: &Host) {
        self.wire.keep_only(|link| host.links.contains_key(&link));
        self.links = host.links.values().map(|link| (link.index, link.name.clone())).collect();
    }

    fn handle_batch(&mut self, batch: Result<WatchBatch, String>) {
        match batch {
            Ok(WatchBatch::Events(all)) => {
                for event in all {
                    match &event {
                        HostEvent::Link(link) => drop(self.links.insert(link.index, link.name.clone())),
                        HostEvent::LinkGone(index) => {
                            self.links.remove(index);
                            self.wire.forget_link(*index);
                        }
                        _ => {}
                    }
                    self.reading.iter_mut().for_each(|reading| reading.record(&event));
                    self.handle(Input::HostEvent(event));
                }
            }
            Ok(WatchBatch::Lost) => self.lose(),
            Err(error) => {
                self.complain(error);
                self.watch = None;
                self.reading.iter_mut().for_each(Reading::lose);
                self.read_at = Some(clock::now() + READ_RETRY);
            }
        }
        self.answer();
    }

    /// Gives the router an input and performs all that it wants, in its order.
    fn handle(&mut self, input: Input) {
        let mut effects = Vec::new();
        let mut queue = VecDeque::new();
        let mut has_changed = false;
        let mut unsent = Vec::new();
        let mut has_master = false;
        self.router.handle(clock::now(), input, &mut effects);
        queue.extend(effects.drain(..));
        loop {
            let Some(effect) = queue.pop_front() else {
                if unsent.is_empty() {
                    break;
                }
                let unsent = std::mem::take(&mut unsent);
                self.router.handle(clock::now(), Input::NotSent(unsent), &mut effects);
                queue.extend(effects.drain(..));
                continue;
            };
            match effect {
                Effect::CatchUp => {
                    let mut count = 0;
                    while count < MAX_CATCH_UP {
                        let heard = self.wire.hear();
                        if heard.is_empty() {
                            break;
                        }
                        count += heard.len();
                        for datagram in heard {
                            self.router.handle(clock::now(), Input::Received(datagram), &mut effects);
                        }
                    }
                    self.router.handle(clock::now(), Input::CaughtUp, &mut effects);
                    queue.extend(effects.drain(..));
                }
                Effect::Listen(endpoints) => {
                    let complaints = self.wire.listen(clock::now(), endpoints.iter());
                    self.complain_of(complaints);
                    if let Some(listening) = self.wire.take_socket_states() {
                        self.router.handle(clock::now(), Input::Sockets(listening), &mut effects);
                        queue.extend(effects.drain(..));
                    }
                }
                Effect::Join(groups) => {
                    self.groups = Some(groups);
                }
                Effect::Send(transmission) => {
                    if let Err(error) = self.wire.send(clock::now(), transmission) {
                        self.complain(error);
                    }
                }
                Effect::Announce { of, link, frame } => {
                    match self.wire.frames().send(clock::now(), link, &of.link, &frame) {
                        Ok(true) => {}
                        Ok(false) => unsent.push(of),
                        Err(error) => {
                            self.complain(format!("cannot announce addresses on {}: {error}", of.link));
                        }
                    }
                }
                Effect::Apply(ops) => self.helper.begin(Job::Apply(ops)),
                Effect::CrashPlan(crash_plan) => {
                    let published = self.guardian.as_mut().map(|guardian| guardian.publish(&crash_plan));
                    if let Some(Err(error)) = published {
                        self.complain(format!("not all will be removed when lvsd dies: {error}"));
                    }
                }
                Effect::Instance(level) => {
                    has_changed = true;
                    has_master |= level.state == State::Master;
                    self.reports.send(Report::Instance(level));
                }
                Effect::InstanceGone(name) => {
                    has_changed = true;
                    self.reports.send(Report::Gone(name));
                }
                Effect::Event(event) => {
                    has_changed = true;
                    self.reports.send(Report::Event(event));
                }
                Effect::Assert(assert) => {
                    has_changed = true;
                    self.reports.send(Report::Assert(assert));
                }
                Effect::EndAssert(number) => self.reports.send(Report::EndAssert(number)),
                Effect::HandOver(mut handover) => {
                    handover.sessions = self.bfd.hand_over();
                    self.handover = Some(handover);
                }
                Effect::Finished => self.is_finished = true,
            }
        }
        // By now this process's own guardian knows what to do.
        if has_master && let Some(predecessor) = self.predecessor.take() {
            predecessor.confirm_takeover();
        }
        if has_changed {
            self.heartbeat(clock::now());
        }
    }

    fn complain_of(&mut self, all: Vec<String>) {
        all.into_iter().for_each(|text| self.complain(text));
    }

    /// Logs a complaint, unless the same was logged moments ago.
    fn complain(&mut self, text: String) {
        let now = clock::now();
        if self.complaints.get(&text).is_some_and(|last| now.since(*last) < COMPLAINT_PAUSE) {
            return;
        }
        if self.complaints.len() >= MAX_COMPLAINTS {
            self.complaints.clear();
        }
        self.complaints.insert(text.clone(), now);
        self.reports.send(Report::Said(text));
    }
}

async fn next_batch(watch: &mut Option<Watch>) -> Result<WatchBatch, String> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}
