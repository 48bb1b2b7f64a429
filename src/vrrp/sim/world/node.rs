//! A host of the world: its kernel, its router, its guardian, and what it has received and not read yet.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::invariants::Reported;
use super::commands::{Begun, Behaviour};
use crate::net::memory::MemoryHost;
use crate::net::reading::Reading;
use crate::net::types::{HostEvent, Link, LinkIndex, MacAddress, Op, Prefix};
use crate::time::Instant;
use crate::vrrp::addresses::announce::announcer::Announcement;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStates};
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{CrashPlan, Datagram, DirectorLevel, Endpoint, Input, State, TrackLevel};
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Settings, TrackTarget};

pub(in crate::vrrp::sim) struct Node {
    pub(in crate::vrrp::sim) host: MemoryHost,
    /// What its router is to be.
    pub(in crate::vrrp::sim) settings: Arc<Settings>,
    /// What the director says.
    pub(in crate::vrrp::sim) director: DirectorLevel,
    /// How its scripts and files are.
    pub(in crate::vrrp::sim) tracks: BTreeMap<TrackTarget, TrackLevel>,
    /// How long scripts and files take for their first result.
    pub(in crate::vrrp::sim) first_result: Duration,
    /// What a hand-over left, until a successor claims it or the guardian gives it up.
    pub(in crate::vrrp::sim) handed_over: Option<(Instant, Handover)>,
    /// How its commands of `assert` behave, one run after the other; the last one for ever.
    pub(in crate::vrrp::sim) commands: VecDeque<Behaviour>,
    /// Runs of commands that have begun.
    pub(in crate::vrrp::sim) asserts: Vec<Begun>,
    /// Numbers of those under way.
    pub(super) asserting: BTreeMap<u64, (String, Behaviour)>,
    /// Everything that was reported.
    pub(in crate::vrrp::sim) events: Vec<(Instant, Event)>,
    /// Everything that was sent: when, VRID, priority, to whom.
    pub(in crate::vrrp::sim) sent: Vec<(Instant, u8, u8, IpAddr)>,
    /// When it last said that it is Master, by VRID.
    pub(in crate::vrrp::sim) last_claim: BTreeMap<u8, Instant>,
    /// Its links as its router was told of them, and since when they are so.
    pub(in crate::vrrp::sim) links: BTreeMap<LinkIndex, (Instant, Link)>,
    /// Frames that were announced.
    pub(in crate::vrrp::sim) announced: Vec<(Instant, LinkIndex, Vec<u8>)>,
    /// How many frames a link's queue takes, and how long it is full then.
    pub(in crate::vrrp::sim) frame_queue: Option<(usize, Duration)>,
    /// The longest delay of host events.
    pub(in crate::vrrp::sim) news_delay: Duration,
    /// Operations asked of the kernel.
    pub(in crate::vrrp::sim) ops: Vec<(Instant, Op)>,
    /// Whether a guardian survives a death.
    pub(in crate::vrrp::sim) has_guardian: bool,
    /// How many effects there were of any kind.
    pub(in crate::vrrp::sim) effects: usize,
    /// What it does now it does because a packet arrived.
    pub(in crate::vrrp::sim) is_receiving: bool,
    /// It said that it is done.
    pub(in crate::vrrp::sim) is_finished: bool,
    pub(in crate::vrrp::sim) listening: Arc<BTreeSet<Endpoint>>,
    /// Why sockets that are not open yet cannot be opened.
    pub(in crate::vrrp::sim) refuses_sockets: Option<SocketFailure>,
    /// The sockets it asked for, and those of them that could not be opened.
    pub(super) asked: Arc<BTreeSet<Endpoint>>,
    pub(super) unopened: BTreeMap<Endpoint, SocketFailure>,
    /// What became of sockets, to be reported when all effects are performed.
    pub(super) reports: Option<SocketStates>,
    /// Groups its links are members of besides.
    pub(in crate::vrrp::sim) joined: BTreeSet<(LinkIndex, IpAddr)>,
    /// When an address went.
    pub(in crate::vrrp::sim) lost: BTreeMap<IpAddr, Instant>,
    pub(super) router: Option<Router>,
    pub(super) states: BTreeMap<String, State>,
    pub(super) incarnation: u32,
    pub(super) pauses: u32,
    pub(super) is_paused: bool,
    pub(super) crash_plan: Arc<CrashPlan>,
    pub(super) queued: BTreeMap<LinkIndex, usize>,
    pub(super) unsent: Vec<Announcement>,
    /// When the last event is reported: they come in order.
    pub(super) last_event: Instant,
    pub(super) arrived: VecDeque<Datagram>,
    pub(super) waiting: VecDeque<Input>,
    pub(super) is_asking: bool,
    pub(super) reported: Reported,
    /// Events that are on their way.
    pub(super) host_events: VecDeque<HostEvent>,
    /// The host is being read.
    pub(super) reading: Option<Reading>,
}

impl Node {
    pub(in crate::vrrp::sim) fn new(number: u8) -> Node {
        let mut host = MemoryHost::new();
        host.add_link("e0", MacAddress([2, 0, 0, 0, 0, number]));
        host.add_link("e1", MacAddress([2, 0, 0, 0, 1, number]));
        host.end_duplicate_detection(true);
        host.add_address("e0", Prefix { ip: [10, 0, 0, 200 + number].into(), length: 24 });
        host.add_address("e1", Prefix { ip: [10, 0, 1, 200 + number].into(), length: 24 });
        Node {
            host,
            settings: Arc::default(),
            director: DirectorLevel::default(),
            tracks: BTreeMap::new(),
            first_result: Duration::ZERO,
            handed_over: None,
            commands: VecDeque::new(),
            asserts: Vec::new(),
            asserting: BTreeMap::new(),
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
            last_event: Instant::ZERO,
            arrived: VecDeque::new(),
            waiting: VecDeque::new(),
            is_asking: false,
            reported: Reported::default(),
            host_events: VecDeque::new(),
            reading: None,
        }
    }

    pub(in crate::vrrp::sim) fn learn_links(&mut self, now: Instant, input: &Input) {
        match input {
            Input::HostEvent(HostEvent::Link(link)) => self.learn_link(now, link),
            Input::HostEvent(HostEvent::LinkGone(index)) => drop(self.links.remove(index)),
            Input::Host(host) => {
                self.links.retain(|index, _| host.links.contains_key(index));
                host.links.values().for_each(|link| self.learn_link(now, link));
            }
            _ => {}
        }
    }

    pub(in crate::vrrp::sim) fn learn_link(&mut self, now: Instant, link: &Link) {
        let what = |link: &Link| (link.is_working(), link.mac, link.master);
        let before = self.links.get(&link.index).filter(|(_, before)| what(before) == what(link));
        let since = before.map_or(now, |(since, _)| *since);
        self.links.insert(link.index, (since, link.clone()));
    }

    /// Masters here that have reported a rival and not yet its end.
    pub(in crate::vrrp::sim) fn rivals(&self) -> BTreeSet<String> {
        self.reported.rivals().clone()
    }

    /// The number of a link.
    pub(in crate::vrrp::sim) fn link(&self, name: &str) -> LinkIndex {
        self.host.host().link(name).expect("a link of that name").index
    }

    /// Whether an address is there, on any link and with any prefix length.
    pub(in crate::vrrp::sim) fn has(&self, ip: impl Into<IpAddr>) -> bool {
        !self.host.holders(ip.into()).is_empty()
    }

    /// The cable a link is plugged into; None while it carries nothing.
    pub(in crate::vrrp::sim) fn segment(&self, link: LinkIndex) -> Option<String> {
        let link = self.host.host().links.get(&link).filter(|link| link.is_working())?;
        match link.base {
            Some(base) => self.segment(base),
            None => Some(link.name.clone()),
        }
    }

    /// The links of all sockets that are given the packet.
    pub(in crate::vrrp::sim) fn hears(&self, segment: &str, datagram: &Datagram) -> Vec<LinkIndex> {
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
