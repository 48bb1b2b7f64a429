//! A few hosts on a network, in virtual time: packets are sent, delayed and lost, processes pause, crash and hand over.

pub(super) mod commands;
mod happening;
mod host_events;
mod node;
mod queries;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::happening::Happening;
pub(super) use self::node::Node;
use super::invariants::{self, Reported};
use crate::time::Instant;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{DirectorLevel, Effect, Input, TrackLevel};
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Settings, TrackTarget};

/// From the death of a process to the priority-0 advertisement of its guardian.
const GUARDIAN: Duration = Duration::from_millis(50);

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
    /// Pairs of nodes of which one cannot hear the other.
    pub deaf: BTreeSet<(usize, usize)>,
    /// What happened, for comparing two runs.
    pub trace: Vec<String>,
    pub broken: Vec<String>,
    /// Where a command of `assert` last moved the addresses.
    pub cloud: Option<usize>,
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
            cloud: None,
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
        this.asserting.clear();
        this.states.clear();
        this.reported = Reported::default();
        let _ = this.host.take_events();
        this.host_events.clear();
        this.reading = None;
        this.router = Some(Router::new(Arc::clone(&this.settings), seed, now));
        let (host, director) = (this.host.host().clone(), this.director.clone());
        let tracks: Vec<_> = this.tracks.iter().map(|(t, l)| (t.clone(), *l)).collect();
        self.trace(node, "starts");
        self.handle(node, Input::Clock(Duration::from_secs(1_700_000_000)));
        if let Some((since, handover)) = self.nodes[node].handed_over.take() {
            let age = now.since(since);
            self.handle(node, Input::Inherited { handover: Box::new(handover), age });
        }
        let (first_result, incarnation) = (self.nodes[node].first_result, self.nodes[node].incarnation);
        for (target, level) in tracks {
            if first_result.is_zero() {
                self.handle(node, Input::Tracked { target, level });
            } else {
                self.schedule(first_result, Happening::FirstResult { node, incarnation, target });
            }
        }
        self.handle(node, Input::Director(director));
        if self.reading == Duration::ZERO {
            self.handle(node, Input::Host(host));
            self.read_again(node);
        } else {
            self.read(node);
        }
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
        self.handle(node, Input::HandOver);
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
            self.handle(node, input);
        }
    }

    /// Gives a router an input and performs what it wants.
    pub(super) fn handle(&mut self, node: usize, input: Input) {
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
            self.handle(node, Input::Sockets(listening));
        }
        let unsent = std::mem::take(&mut self.nodes[node].unsent);
        if !unsent.is_empty() {
            self.handle(node, Input::NotSent(unsent));
        }
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
            Effect::CatchUp => {
                self.trace(node, "catches up");
                self.schedule(Duration::from_micros(1), Happening::CatchesUp { node, incarnation });
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
            Effect::Assert(assert) => self.begin_command(node, &assert),
            Effect::EndAssert(number) => self.end_command(node, number),
            Effect::HandOver(handover) => self.nodes[node].handed_over = Some((self.now, *handover)),
            Effect::Finished => {
                self.trace(node, "is done");
                self.nodes[node].is_finished = true;
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
                    self.handle(node, Input::Wake);
                }
            }
        }
        true
    }

    fn schedule(&mut self, after: Duration, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((self.now + after, self.next_happening), happening);
    }

    fn trace(&mut self, node: usize, what: &str) {
        let at = self.now.since(self.begun).as_secs_f64();
        self.trace.push(format!("{at:.6} {node} {what}"));
    }

    /// A track's level becomes another one.
    pub(super) fn track(&mut self, node: usize, target: TrackTarget, level: TrackLevel) {
        self.nodes[node].tracks.insert(target.clone(), level);
        self.handle(node, Input::Tracked { target, level });
    }

    /// The director says something else.
    pub(super) fn direct(&mut self, node: usize, level: DirectorLevel) {
        self.nodes[node].director = level.clone();
        self.handle(node, Input::Director(level));
    }

    /// Other settings for a running router.
    pub(super) fn reload(&mut self, node: usize, settings: Settings) {
        self.nodes[node].settings = Arc::new(settings);
        let settings = Arc::clone(&self.nodes[node].settings);
        self.trace(node, "reloads");
        self.nodes[node].reported.reloaded(&settings);
        self.handle(node, Input::Reload(settings));
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
}
