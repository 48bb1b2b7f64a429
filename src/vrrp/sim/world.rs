//! A few hosts on a wire, in virtual time: who says what to whom, what gets lost, who sleeps, who dies.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants::{self, Reported};
use crate::net::memory::MemoryHost;
use crate::net::reading::Reading;
use crate::net::types::{Host, Link, LinkIndex, MacAddress, News, Op, Prefix, Refusal};
use crate::time::Instant;
use crate::vrrp::addresses::announce::announcer::Announcement;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStates};
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{
    CrashPlan, Datagram, DirectorLevel, Effect, Endpoint, Input, State, TrackLevel, Transmission,
};
use crate::vrrp::packet;
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Settings, TrackTarget};
use crate::vrrp::status::{InstanceStatus, Status};

/// From the death of a process to its guardian's good-bye.
const GUARDIAN: Duration = Duration::from_millis(50);
/// From one reading of the host to the next.
const READING_INTERVAL: Duration = Duration::from_secs(60);

/// Something that will happen.
enum Happening {
    Arrives {
        node: usize,
        datagram: Datagram,
    },
    KernelActs {
        node: usize,
        incarnation: u32,
        ops: Vec<Op>,
    },
    KernelAnswers {
        node: usize,
        incarnation: u32,
        refusals: Vec<Refusal>,
    },
    /// The oldest news item that has not been heard arrives.
    KernelTells {
        node: usize,
        incarnation: u32,
    },
    /// The host is read at this moment; the router is told later.
    HostIsRead {
        node: usize,
        incarnation: u32,
    },
    HostWasRead {
        node: usize,
        incarnation: u32,
        host: Host,
    },
    ReadsAgain {
        node: usize,
        incarnation: u32,
    },
    Drains {
        node: usize,
        incarnation: u32,
    },
    SocketsAreTried {
        node: usize,
        incarnation: u32,
    },
    QueueEmpties {
        node: usize,
        incarnation: u32,
        link: LinkIndex,
        name: String,
    },
    GuardianActs {
        node: usize,
        crash_plan: Arc<CrashPlan>,
    },
    /// A hand-over's time is over.
    NobodyClaims {
        node: usize,
        incarnation: u32,
        crash_plan: Arc<CrashPlan>,
    },
    /// A process that is stopped was silent for longer than its guardian allows.
    IsSilent {
        node: usize,
        pause: u32,
    },
    /// What is followed has its first result.
    FirstResult {
        node: usize,
        incarnation: u32,
        target: TrackTarget,
    },
}

pub(super) struct Node {
    pub host: MemoryHost,
    /// What its router is to be.
    pub settings: Arc<Settings>,
    /// What the director says.
    pub director: DirectorLevel,
    /// How its scripts and files are.
    pub tracks: BTreeMap<TrackTarget, TrackLevel>,
    /// How long scripts and files take for their first result.
    pub first_result: Duration,
    /// What a hand-over left, until somebody claims it or the guardian gives it up.
    pub handed_over: Option<(Instant, Handover)>,
    /// Everything that was told.
    pub events: Vec<(Instant, Event)>,
    /// Everything that was sent: when, VRID, priority, to whom.
    pub sent: Vec<(Instant, u8, u8, IpAddr)>,
    /// When it last said that it is Master, by VRID.
    pub last_claim: BTreeMap<u8, Instant>,
    /// Its links as its router was told of them, and since when they are so.
    pub links: BTreeMap<LinkIndex, (Instant, Link)>,
    /// Frames that were announced.
    pub announced: Vec<(Instant, LinkIndex, Vec<u8>)>,
    /// How many frames a link's queue takes, and how long it is full then.
    pub frame_queue: Option<(usize, Duration)>,
    /// The longest time news of the host take.
    pub news_delay: Duration,
    /// Operations asked of the kernel.
    pub ops: Vec<(Instant, Op)>,
    /// Whether a guardian survives a death.
    pub has_guardian: bool,
    /// How many effects there were of any kind.
    pub effects: usize,
    /// What it does now it does because a packet arrived.
    pub is_receiving: bool,
    /// It said that it is done.
    pub is_finished: bool,
    pub listening: Arc<BTreeSet<Endpoint>>,
    /// Why sockets that are not open yet cannot be opened.
    pub refuses_sockets: Option<SocketFailure>,
    /// The sockets it asked for, and those of them that could not be opened.
    asked: Arc<BTreeSet<Endpoint>>,
    unopened: BTreeMap<Endpoint, SocketFailure>,
    /// What became of sockets, to be reported when all effects are performed.
    reports: Option<SocketStates>,
    /// Groups its links are members of besides.
    pub joined: BTreeSet<(LinkIndex, IpAddr)>,
    /// When an address went.
    pub lost: BTreeMap<IpAddr, Instant>,
    router: Option<Router>,
    states: BTreeMap<String, State>,
    incarnation: u32,
    pauses: u32,
    is_paused: bool,
    crash_plan: Arc<CrashPlan>,
    queued: BTreeMap<LinkIndex, usize>,
    unsent: Vec<Announcement>,
    /// When the last news is told: they come in order.
    last_news: Instant,
    arrived: VecDeque<Datagram>,
    waiting: VecDeque<Input>,
    is_asking: bool,
    reported: Reported,
    /// News that are on their way.
    news: VecDeque<News>,
    /// The host is being read.
    reading: Option<Reading>,
}

pub(super) struct World {
    pub now: Instant,
    pub nodes: Vec<Node>,
    /// All its chance.
    pub rng: fastrand::Rng,
    /// Per cent of packets lost.
    pub loss: u32,
    /// Per cent of packets that arrive twice.
    pub duplication: u32,
    /// Longest time a packet takes.
    pub delay: Duration,
    /// Longest time it takes to read a host; at a start without it, no time passes.
    pub reading: Duration,
    /// Who cannot be heard by whom.
    pub deaf: BTreeSet<(usize, usize)>,
    /// What happened, for comparing two runs.
    pub trace: Vec<String>,
    pub broken: Vec<String>,
    begun: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    next_happening: u64,
}

impl World {
    /// Hosts with e0 and e1, addresses 10.0.0.201 and on, no routers yet.
    pub(super) fn new(seed: u64, hosts: u8) -> World {
        let begun = Instant::of_uptime(seed);
        World {
            now: begun,
            begun,
            nodes: (1..=hosts).map(Node::new).collect(),
            rng: fastrand::Rng::with_seed(seed),
            loss: 0,
            duplication: 0,
            delay: Duration::from_micros(300),
            reading: Duration::ZERO,
            deaf: BTreeSet::new(),
            trace: Vec::new(),
            broken: Vec::new(),
            queue: BTreeMap::new(),
            next_happening: 0,
        }
    }

    /// Hosts with these settings, all started.
    pub(super) fn with(settings: Vec<Settings>) -> World {
        let mut world = World::new(7, u8::try_from(settings.len()).expect("a few hosts"));
        for (node, settings) in settings.into_iter().enumerate() {
            world.nodes[node].settings = Arc::new(settings);
            world.start(node);
        }
        world
    }

    /// Starts a router on a host.
    pub(super) fn start(&mut self, node: usize) {
        let seed = self.rng.u64(..);
        let now = self.now;
        let this = &mut self.nodes[node];
        this.incarnation += 1;
        (this.is_paused, this.is_finished, this.is_asking) = (false, false, false);
        this.listening = Arc::default();
        this.asked = Arc::default();
        this.unopened.clear();
        this.joined.clear();
        this.crash_plan = Arc::default();
        this.arrived.clear();
        this.waiting.clear();
        this.queued.clear();
        this.states.clear();
        this.reported = Reported::default();
        let _ = this.host.take_news();
        this.news.clear();
        this.reading = None;
        this.router = Some(Router::new(Arc::clone(&this.settings), seed, now));
        let (host, director) = (this.host.host().clone(), this.director.clone());
        let tracks: Vec<_> = this.tracks.iter().map(|(t, l)| (t.clone(), *l)).collect();
        self.trace(node, "starts");
        self.tell(node, Input::Clock(Duration::from_secs(1_700_000_000)));
        if let Some((since, handover)) = self.nodes[node].handed_over.take() {
            let age = now.since(since);
            self.tell(node, Input::Inherited { handover: Box::new(handover), age });
        }
        let (first_result, incarnation) = (self.nodes[node].first_result, self.nodes[node].incarnation);
        for (target, level) in tracks {
            if first_result.is_zero() {
                self.tell(node, Input::Tracked { target, level });
            } else {
                self.schedule(first_result, Happening::FirstResult { node, incarnation, target });
            }
        }
        self.tell(node, Input::Director(director));
        if self.reading == Duration::ZERO {
            self.tell(node, Input::Host(host));
            self.read_again(node);
        } else {
            self.read(node);
        }
    }

    /// A reading of the host begins, as after lost news.
    pub(super) fn read(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        match &mut self.nodes[node].reading {
            Some(reading) => reading.lose(),
            none => {
                *none = Some(Reading::default());
                let after = self.while_reading();
                self.schedule(after, Happening::HostIsRead { node, incarnation });
            }
        }
    }

    /// News that are on their way are lost, and the host is read again.
    pub(super) fn lose_news(&mut self, node: usize) {
        self.collect_news(node);
        self.nodes[node].news.clear();
        self.read(node);
    }

    fn while_reading(&mut self) -> Duration {
        let longest = u64::try_from(self.reading.as_micros()).unwrap_or(0).max(100);
        Duration::from_micros(self.rng.u64(1..=longest))
    }

    fn read_again(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        let after = READING_INTERVAL + Duration::from_millis(self.rng.u64(0..6000));
        self.schedule(after, Happening::ReadsAgain { node, incarnation });
    }

    fn host_was_read(&mut self, node: usize, host: Host) {
        // What has arrived is heard first.
        self.collect_news(node);
        while let Some(news) = self.nodes[node].news.pop_front() {
            self.hear(node, news);
        }
        let read = self.nodes[node].reading.take().and_then(|reading| reading.finish(host));
        match read {
            Some(host) => {
                self.tell(node, Input::Host(host));
                self.read_again(node);
            }
            None => self.read(node),
        }
    }

    fn hear(&mut self, node: usize, news: News) {
        if let Some(reading) = &mut self.nodes[node].reading {
            reading.hear(&news);
        }
        self.tell(node, Input::News(news));
    }

    /// Stops and forgets a router that was told to stop or to hand over.
    pub(super) fn forget(&mut self, node: usize) {
        self.nodes[node].router = None;
        self.nodes[node].listening = Arc::default();
    }

    /// Starts a router whose predecessor was Master of these instances until this moment.
    pub(super) fn start_after(&mut self, node: usize, masters: BTreeSet<String>) {
        let mut handover = Handover::default();
        for settings in self.nodes[node].settings.instances.iter().filter(|i| masters.contains(&i.name)) {
            handover.instances.extend(super::site::handed_over_as_master(settings).instances);
        }
        self.nodes[node].handed_over = Some((self.now, handover));
        self.start(node);
    }

    /// The process leaves everything to the next one, and ends. Its guardian waits for that, but not for long.
    pub(super) fn hand_over(&mut self, node: usize) {
        self.tell(node, Input::HandOver);
        self.forget(node);
        let this = &self.nodes[node];
        let (incarnation, crash_plan) = (this.incarnation, Arc::clone(&this.crash_plan));
        let deadline = this.handed_over.as_ref().and_then(|(_, handover)| handover.deadline());
        if let Some(after) = deadline.filter(|_| this.has_guardian) {
            self.schedule(after, Happening::NobodyClaims { node, incarnation, crash_plan });
        }
    }

    /// The process dies. Its last wish may or may not reach the kernel; its guardian, if any, acts.
    pub(super) fn crash(&mut self, node: usize) {
        self.trace(node, "dies");
        self.forget(node);
        let this = &mut self.nodes[node];
        this.incarnation += 1;
        if this.has_guardian {
            let crash_plan = Arc::clone(&this.crash_plan);
            self.schedule(GUARDIAN, Happening::GuardianActs { node, crash_plan });
        }
    }

    /// The whole host stands still, as by a hypervisor.
    pub(super) fn pause(&mut self, node: usize) {
        self.trace(node, "is paused");
        self.nodes[node].is_paused = true;
        self.nodes[node].pauses += 1;
    }

    /// The process alone is stopped, as by SIGSTOP; or it hangs. Its guardian is not.
    pub(super) fn hang(&mut self, node: usize) {
        self.pause(node);
        let (this, pause) = (&self.nodes[node], self.nodes[node].pauses);
        if let Some(limit) = this.crash_plan.silence.filter(|_| this.has_guardian) {
            self.schedule(limit, Happening::IsSilent { node, pause });
        }
    }

    /// It goes on: what waited is read in any order, as the kernel's wake-ups come.
    pub(super) fn resume(&mut self, node: usize) {
        self.trace(node, "goes on");
        self.nodes[node].is_paused = false;
        loop {
            let this = &self.nodes[node];
            let is_due = this.router.as_ref().and_then(Router::deadline).is_some_and(|at| at <= self.now);
            let mut ways = Vec::new();
            ways.extend(is_due.then_some(0));
            ways.extend((!this.arrived.is_empty()).then_some(1));
            ways.extend((!this.waiting.is_empty()).then_some(2));
            let Some(way) = self.rng.choice(ways) else { return };
            let input = match way {
                0 => Input::Wake,
                1 => Input::Received(self.nodes[node].arrived.pop_front().expect("not empty")),
                _ => self.nodes[node].waiting.pop_front().expect("not empty"),
            };
            self.tell(node, input);
        }
    }

    /// Gives a router an input and performs what it wants.
    pub(super) fn tell(&mut self, node: usize, input: Input) {
        if self.nodes[node].is_paused {
            match input {
                Input::Received(datagram) => self.nodes[node].arrived.push_back(datagram),
                Input::Wake => {}
                other => self.nodes[node].waiting.push_back(other),
            }
            return;
        }
        if self.nodes[node].router.is_some() {
            self.nodes[node].learn_links(self.now, &input);
        }
        self.nodes[node].is_receiving = matches!(input, Input::Received(_));
        let Some(router) = &mut self.nodes[node].router else { return };
        let mut effects = Vec::new();
        router.handle(self.now, input, &mut effects);
        if router.deadline().is_some_and(|at| at <= self.now) {
            let text = format!("deadline() > now: {:?} at {:?}", router.deadline(), self.now);
            self.broken.push(text);
        }
        for effect in effects {
            self.perform(node, effect);
        }
        if let Some(listening) = self.nodes[node].reports.take() {
            self.tell(node, Input::Sockets(listening));
        }
        let unsent = std::mem::take(&mut self.nodes[node].unsent);
        if !unsent.is_empty() {
            self.tell(node, Input::NotSent(unsent));
        }
    }

    /// Whether a link's queue takes one more frame; one that is full says when it is empty.
    fn has_room(&mut self, node: usize, link: LinkIndex, name: &str) -> bool {
        let this = &mut self.nodes[node];
        let Some((room, pause)) = this.frame_queue else { return true };
        let used = this.queued.entry(link).or_default();
        if *used < room {
            *used += 1;
            return true;
        }
        if *used == room {
            *used += 1;
            let (incarnation, name) = (this.incarnation, name.to_owned());
            self.schedule(pause, Happening::QueueEmpties { node, incarnation, link, name });
        }
        false
    }

    fn perform(&mut self, node: usize, effect: Effect) {
        self.nodes[node].effects += 1;
        let incarnation = self.nodes[node].incarnation;
        match effect {
            Effect::Send(transmission) => self.send(node, &transmission),
            Effect::Announce { of, link, frame } => {
                invariants::announces_what_it_has(self, node, link, &frame);
                if self.has_room(node, link, &of.link) {
                    self.nodes[node].announced.push((self.now, link, frame));
                } else {
                    self.nodes[node].unsent.push(of);
                }
            }
            Effect::Apply(ops) => {
                self.trace(node, &format!("asks {ops:?}"));
                if std::mem::replace(&mut self.nodes[node].is_asking, true) {
                    self.broken.push("one request at a time: a second one".to_owned());
                }
                let now = self.now;
                self.nodes[node].ops.extend(ops.iter().map(|op| (now, op.clone())));
                let after = Duration::from_micros(self.rng.u64(20..2000));
                self.schedule(after, Happening::KernelActs { node, incarnation, ops });
            }
            Effect::Drain => {
                self.trace(node, "drains");
                self.schedule(Duration::from_micros(1), Happening::Drains { node, incarnation });
            }
            Effect::Event(event) => {
                self.trace(node, &event.to_string());
                let wrong = self.nodes[node].reported.follow(&event);
                self.broken.extend(wrong.map(|wrong| format!("{wrong}, on {node}")));
                self.nodes[node].events.push((self.now, event));
            }
            Effect::Listen(endpoints) => {
                self.trace(node, &format!("listens to {endpoints:?}"));
                self.nodes[node].asked = endpoints;
                let listening = self.open_sockets(node);
                self.nodes[node].reports = Some(listening);
            }
            Effect::Join(groups) => {
                self.trace(node, &format!("joins {groups:?}"));
                self.nodes[node].joined = groups;
            }
            Effect::CrashPlan(crash_plan) => self.nodes[node].crash_plan = crash_plan,
            Effect::Instance(level) => {
                self.trace(node, &format!("{} is {}", level.name, level.state));
                self.nodes[node].states.insert(level.name, level.state);
            }
            Effect::InstanceGone(name) => {
                self.trace(node, &format!("{name} is no more"));
                self.nodes[node].states.remove(&name);
            }
            Effect::HandOver(handover) => self.nodes[node].handed_over = Some((self.now, *handover)),
            Effect::Finished => {
                self.trace(node, "is done");
                self.nodes[node].is_finished = true;
            }
        }
    }

    /// Opens what was asked for and can be opened; the rest is tried again every second.
    fn open_sockets(&mut self, node: usize) -> SocketStates {
        let this = &mut self.nodes[node];
        let mut listening = SocketStates::default();
        for endpoint in this.asked.iter().cloned() {
            let is_open = this.listening.contains(&endpoint);
            if let Some(failure) = this.refuses_sockets.filter(|_| !is_open) {
                listening.failed.insert(endpoint, failure);
            } else {
                listening.open.insert(endpoint);
            }
        }
        this.listening = Arc::new(listening.open.clone());
        this.unopened = listening.failed.clone();
        let incarnation = this.incarnation;
        if !listening.failed.is_empty() {
            self.schedule(Duration::from_secs(1), Happening::SocketsAreTried { node, incarnation });
        }
        listening
    }

    /// A packet leaves: everybody with a fitting socket gets it, if the wire lets it.
    fn send(&mut self, from: usize, transmission: &Transmission) {
        let Transmission { endpoint, destination, hop_limit, bytes } = transmission;
        let link = endpoint.link.unwrap_or_else(|| self.nodes[from].link("e0"));
        let source = match endpoint.source {
            IpAddr::V4(_) => <[u8; 4]>::try_from(&bytes[12..16]).expect("a source").into(),
            other => other,
        };
        let datagram = Datagram {
            link,
            protocol: endpoint.protocol,
            source,
            destination: *destination,
            hop_limit: *hop_limit,
            bytes: bytes.clone(),
        };
        let heard = packet::decode(&datagram).expect("own packets are well formed");
        let (vrid, priority) = (heard.advert.vrid, heard.advert.priority);
        if self.nodes[from].unopened.contains_key(endpoint) {
            self.trace(from, "cannot send: its socket is not open");
            return;
        }
        invariants::has_that_socket(self, from, endpoint);
        invariants::heard_before_it_claims(self, from, vrid, priority);
        if priority == 0 {
            invariants::leaves_what_it_does_not_hold(self, from, vrid, source);
        }
        invariants::speaks_from_its_own(self, from, vrid, priority, source);
        self.trace(from, &format!("advertises {vrid} with {priority} to {destination}"));
        let now = self.now;
        self.nodes[from].sent.push((now, vrid, priority, *destination));
        if priority > 0 {
            self.nodes[from].last_claim.insert(vrid, now);
        } else {
            self.nodes[from].last_claim.remove(&vrid);
        }
        self.inject(Some(from), datagram);
    }

    /// A packet is on the wire, of a node or of a stranger.
    pub(super) fn inject(&mut self, from: Option<usize>, datagram: Datagram) {
        let segment = match from {
            Some(from) => self.nodes[from].segment(datagram.link),
            None => Some("e0".to_owned()),
        };
        let Some(segment) = segment else { return };
        for node in 0..self.nodes.len() {
            if Some(node) == from || from.is_some_and(|from| self.deaf.contains(&(from, node))) {
                continue;
            }
            let links = self.nodes[node].hears(&segment, &datagram);
            let copies = 1 + u32::from(self.rng.u32(0..100) < self.duplication);
            for _ in 0..copies {
                if self.rng.u32(0..100) >= self.loss {
                    let longest = u64::try_from(self.delay.as_micros()).unwrap_or(1).max(31);
                    let after = Duration::from_micros(self.rng.u64(30..longest));
                    for link in links.iter().copied() {
                        let datagram = Datagram { link, ..datagram.clone() };
                        self.schedule(after, Happening::Arrives { node, datagram });
                    }
                }
            }
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Until something is so, at most a minute. How long that took.
    pub(super) fn until(&mut self, what: &str, is_so: impl Fn(&World) -> bool) -> Duration {
        let begin = self.now;
        let end = begin + Duration::from_secs(60);
        while !is_so(self) {
            assert!(self.step(end), "{what}: not within a minute:\n{}", self.trace.join("\n"));
        }
        self.now.since(begin)
    }

    fn step(&mut self, end: Instant) -> bool {
        for node in 0..self.nodes.len() {
            self.collect_news(node);
        }
        let happening = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wakes = self.nodes.iter().filter(|n| !n.is_paused);
        let wake = wakes.filter_map(|n| n.router.as_ref().and_then(Router::deadline)).min();
        let next = [happening, wake].into_iter().flatten().min().filter(|at| *at <= end);
        // A broken world may stand still for ever; its first complaints say enough.
        let Some(next) = next.filter(|_| self.broken.len() < 50) else { return false };
        self.now = self.now.max(next);
        match self.queue.first_entry().filter(|first| first.key().0 <= self.now) {
            Some(first) => {
                let happening = first.remove();
                self.happen(happening);
            }
            None => {
                let is_due =
                    |n: &Node| n.router.as_ref().and_then(Router::deadline).is_some_and(|at| at <= self.now);
                let due = (0..self.nodes.len()).find(|n| {
                    let node = &self.nodes[*n];
                    !node.is_paused && is_due(node)
                });
                if let Some(node) = due {
                    self.tell(node, Input::Wake);
                }
            }
        }
        true
    }

    fn collect_news(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        for news in self.nodes[node].host.take_news() {
            if let News::AddressGone(held) = &news {
                self.nodes[node].lost.insert(held.prefix.ip, self.now);
            }
            self.nodes[node].news.push_back(news);
            let longest = u64::try_from(self.nodes[node].news_delay.as_micros()).unwrap_or(100);
            let delay =
                Duration::from_micros(if longest > 100 { self.rng.u64(100..longest) } else { longest });
            // One after the other, in order.
            let spacing = Duration::from_micros(50);
            let at = (self.nodes[node].last_news + spacing).max(self.now + delay);
            self.nodes[node].last_news = at;
            self.schedule(at.since(self.now), Happening::KernelTells { node, incarnation });
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { node, datagram } => {
                // It was on its way when the socket was closed, or the link went down.
                let link = self.nodes[node].host.host().links.get(&datagram.link);
                if link.is_some_and(|link| link.is_working()) {
                    self.tell(node, Input::Received(datagram));
                }
            }
            Happening::KernelActs { node, incarnation, ops } => {
                // The last wish of a dead process may or may not have reached the kernel.
                if incarnation != self.nodes[node].incarnation && self.rng.bool() {
                    return;
                }
                // What happened before is news already.
                self.collect_news(node);
                let refusals = self.nodes[node].host.apply(&ops);
                self.collect_news(node);
                // An answer comes after the news of what was done.
                let news = self.nodes[node].last_news.since(self.now);
                let after = Duration::from_micros(self.rng.u64(1..500)).max(news);
                self.schedule(after, Happening::KernelAnswers { node, incarnation, refusals });
            }
            Happening::KernelAnswers { node, incarnation, refusals } => {
                if incarnation == self.nodes[node].incarnation {
                    self.nodes[node].is_asking = false;
                    self.tell(node, Input::Applied(refusals));
                }
            }
            Happening::KernelTells { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation
                    && let Some(news) = self.nodes[node].news.pop_front()
                {
                    self.hear(node, news);
                }
            }
            Happening::HostIsRead { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    let host = self.nodes[node].host.host().clone();
                    let after = self.while_reading();
                    self.schedule(after, Happening::HostWasRead { node, incarnation, host });
                }
            }
            Happening::HostWasRead { node, incarnation, host } => {
                if incarnation == self.nodes[node].incarnation {
                    self.host_was_read(node, host);
                }
            }
            Happening::ReadsAgain { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    self.read(node);
                }
            }
            Happening::SocketsAreTried { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation && !self.nodes[node].unopened.is_empty() {
                    let listening = self.open_sockets(node);
                    self.tell(node, Input::Sockets(listening));
                }
            }
            Happening::QueueEmpties { node, incarnation, link, name } => {
                self.nodes[node].queued.remove(&link);
                let is_there = self.nodes[node].host.host().links.contains_key(&link);
                if incarnation == self.nodes[node].incarnation && is_there {
                    self.tell(node, Input::Writable(name));
                }
            }
            Happening::Drains { node, incarnation } if self.nodes[node].is_paused => {
                self.schedule(Duration::from_millis(1), Happening::Drains { node, incarnation });
            }
            Happening::Drains { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    while let Some(datagram) = self.nodes[node].arrived.pop_front() {
                        self.tell(node, Input::Received(datagram));
                    }
                    self.tell(node, Input::Drained);
                }
            }
            Happening::FirstResult { node, incarnation, target } => {
                let this = &self.nodes[node];
                if let Some(level) =
                    this.tracks.get(&target).copied().filter(|_| incarnation == this.incarnation)
                {
                    self.tell(node, Input::Tracked { target, level });
                }
            }
            Happening::NobodyClaims { node, incarnation, crash_plan } => {
                if incarnation == self.nodes[node].incarnation
                    && self.nodes[node].handed_over.take().is_some()
                {
                    self.happen(Happening::GuardianActs { node, crash_plan });
                }
            }
            Happening::IsSilent { node, pause } => {
                let this = &self.nodes[node];
                if this.is_paused && this.pauses == pause && this.router.is_some() {
                    let (crash_plan, listening) = (Arc::clone(&this.crash_plan), Arc::clone(&this.listening));
                    self.happen(Happening::GuardianActs { node, crash_plan });
                    // The process still has its sockets.
                    self.nodes[node].listening = listening;
                }
            }
            Happening::GuardianActs { node, crash_plan } => {
                self.trace(node, "its guardian acts");
                // A new process may have its own sockets by now.
                let others = Arc::clone(&self.nodes[node].listening);
                for farewell in &crash_plan.priority_zero {
                    self.nodes[node].listening = Arc::new(BTreeSet::from([farewell.endpoint.clone()]));
                    self.send(node, farewell);
                }
                self.nodes[node].listening = others;
                for (link, prefixes) in &crash_plan.addresses {
                    for prefix in prefixes {
                        let op = Op::RemoveAddress { link: *link, prefix: *prefix };
                        self.nodes[node].host.apply(&[op]);
                    }
                }
            }
        }
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((self.now + after, self.next_happening), happening);
    }

    fn trace(&mut self, node: usize, what: &str) {
        let at = self.now.since(self.begun).as_secs_f64();
        self.trace.push(format!("{at:.6} {node} {what}"));
    }

    /// How a router is.
    pub(super) fn whole_status(&self, node: usize) -> Status {
        self.nodes[node].router.as_ref().expect("a router").status(self.now)
    }

    /// How an instance of a host is.
    pub(super) fn status(&self, node: usize, name: &str) -> InstanceStatus {
        let status = self.whole_status(node);
        status.instances.into_iter().find(|i| i.name == name).expect("an instance")
    }

    /// Its state; None while nothing runs there.
    pub(super) fn state(&self, node: usize, name: &str) -> Option<State> {
        let node = &self.nodes[node];
        node.router.as_ref().and_then(|_| node.states.get(name).copied())
    }

    /// The only Master of an instance; None when there is none or more than one.
    pub(super) fn master(&self, name: &str) -> Option<usize> {
        let is_master = |n: &usize| self.state(*n, name) == Some(State::Master);
        let mut masters = (0..self.nodes.len()).filter(is_master);
        masters.next().filter(|_| masters.next().is_none())
    }

    /// Whether a process runs there and is not stopped.
    pub(super) fn is_running(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.router.is_some() && !node.is_paused && !node.is_finished
    }

    /// Whether a process is there, stopped or not.
    pub(super) fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].is_paused
    }

    /// Whether something but packets waits to be read by a process.
    pub(super) fn has_unread(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        !node.waiting.is_empty() || !node.news.is_empty() || node.reading.is_some()
    }

    /// What waits to be read by a process.
    pub(super) fn arrived(&self, node: usize) -> &VecDeque<Datagram> {
        &self.nodes[node].arrived
    }

    /// A track's level becomes another one.
    pub(super) fn track(&mut self, node: usize, target: TrackTarget, level: TrackLevel) {
        self.nodes[node].tracks.insert(target.clone(), level);
        self.tell(node, Input::Tracked { target, level });
    }

    /// The director says something else.
    pub(super) fn direct(&mut self, node: usize, level: DirectorLevel) {
        self.nodes[node].director = level.clone();
        self.tell(node, Input::Director(level));
    }

    /// Other settings for a running router.
    pub(super) fn reload(&mut self, node: usize, settings: Settings) {
        self.nodes[node].settings = Arc::new(settings);
        let settings = Arc::clone(&self.nodes[node].settings);
        self.trace(node, "reloads");
        self.nodes[node].reported.reloaded(&settings);
        self.tell(node, Input::Reload(settings));
    }

    /// Two hosts no longer hear each other, or do again.
    pub(super) fn cut(&mut self, a: usize, b: usize, is_cut: bool) {
        for pair in [(a, b), (b, a)] {
            if is_cut {
                self.deaf.insert(pair);
            } else {
                self.deaf.remove(&pair);
            }
        }
    }

    /// The times at which a host advertised a VRID, with the priorities.
    pub(super) fn sent(&self, node: usize, vrid: u8) -> Vec<(Instant, u8)> {
        self.nodes[node].sent.iter().filter(|s| s.1 == vrid).map(|s| (s.0, s.2)).collect()
    }

    /// Events of a host that are of a kind.
    pub(super) fn told(&self, node: usize, kind: &str) -> Vec<String> {
        let events = self.nodes[node].events.iter().filter(|(_, e)| e.kind() == kind);
        events.map(|(_, e)| e.to_string()).collect()
    }
}

impl Node {
    fn new(number: u8) -> Node {
        let mut host = MemoryHost::new();
        host.add_link("e0", MacAddress([2, 0, 0, 0, 0, number]));
        host.add_link("e1", MacAddress([2, 0, 0, 0, 1, number]));
        host.settle(true);
        host.add_address("e0", Prefix { ip: [10, 0, 0, 200 + number].into(), length: 24 });
        host.add_address("e1", Prefix { ip: [10, 0, 1, 200 + number].into(), length: 24 });
        Node {
            host,
            settings: Arc::default(),
            director: DirectorLevel::default(),
            tracks: BTreeMap::new(),
            first_result: Duration::ZERO,
            handed_over: None,
            events: Vec::new(),
            sent: Vec::new(),
            last_claim: BTreeMap::new(),
            links: BTreeMap::new(),
            announced: Vec::new(),
            frame_queue: None,
            news_delay: Duration::from_micros(100),
            ops: Vec::new(),
            has_guardian: true,
            effects: 0,
            is_receiving: false,
            is_finished: false,
            listening: Arc::default(),
            refuses_sockets: None,
            asked: Arc::default(),
            unopened: BTreeMap::new(),
            reports: None,
            joined: BTreeSet::new(),
            lost: BTreeMap::new(),
            router: None,
            states: BTreeMap::new(),
            incarnation: 0,
            pauses: 0,
            is_paused: false,
            crash_plan: Arc::default(),
            queued: BTreeMap::new(),
            unsent: Vec::new(),
            last_news: Instant::ZERO,
            arrived: VecDeque::new(),
            waiting: VecDeque::new(),
            is_asking: false,
            reported: Reported::default(),
            news: VecDeque::new(),
            reading: None,
        }
    }

    fn learn_links(&mut self, now: Instant, input: &Input) {
        match input {
            Input::News(News::Link(link)) => self.learn_link(now, link),
            Input::News(News::LinkGone(index)) => drop(self.links.remove(index)),
            Input::Host(host) => {
                self.links.retain(|index, _| host.links.contains_key(index));
                host.links.values().for_each(|link| self.learn_link(now, link));
            }
            _ => {}
        }
    }

    fn learn_link(&mut self, now: Instant, link: &Link) {
        let what = |link: &Link| (link.is_working(), link.mac, link.master);
        let before = self.links.get(&link.index).filter(|(_, before)| what(before) == what(link));
        let since = before.map_or(now, |(since, _)| *since);
        self.links.insert(link.index, (since, link.clone()));
    }

    /// Masters here that have reported a rival and not yet its end.
    pub(super) fn rivals(&self) -> BTreeSet<String> {
        self.reported.rivals().clone()
    }

    /// The number of a link.
    pub(super) fn link(&self, name: &str) -> LinkIndex {
        self.host.host().link(name).expect("a link of that name").index
    }

    /// Whether an address is there, on whatever link and with whatever prefix length.
    pub(super) fn has(&self, ip: impl Into<IpAddr>) -> bool {
        !self.host.holders(ip.into()).is_empty()
    }

    /// The cable a link is plugged into; None while it carries nothing.
    fn segment(&self, link: LinkIndex) -> Option<String> {
        let link = self.host.host().links.get(&link).filter(|link| link.is_working())?;
        match link.base {
            Some(base) => self.segment(base),
            None => Some(link.name.clone()),
        }
    }

    /// The links of all sockets that are given the packet.
    fn hears(&self, segment: &str, datagram: &Datagram) -> Vec<LinkIndex> {
        let is_for = |endpoint: &&Endpoint| {
            endpoint.protocol == datagram.protocol
                && match endpoint.group {
                    Some(group) => group == datagram.destination,
                    None => endpoint.source == datagram.destination && self.has(datagram.destination),
                }
                && endpoint.link.is_none_or(|link| self.segment(link).as_deref() == Some(segment))
        };
        let all = self.listening.iter().filter(is_for);
        all.map(|endpoint| endpoint.link.unwrap_or_else(|| self.link(segment))).collect()
    }
}
