//! All sessions of this host: which one a packet is for, when something is due, what is reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::packet::{Diagnostic, Flaw, LENGTH, State, decode};
use super::session::{Change, Reaction, Session, SessionHandover};
use super::settings::SessionSettings;
use super::status::SessionStatus;
use crate::time::{Instant, microseconds, milliseconds};

/// Between two reports of packets that a session drops for the same reason.
const REPORT_PAUSE: Duration = Duration::from_secs(60);

/// An input.
#[derive(Clone, Debug)]
pub(crate) enum Input<'a> {
    /// It is the time that was asked for. What had arrived by then comes before.
    Wake,
    Received(Datagram<'a>),
    /// Have exactly these sessions, by name; those that stay what they were go on.
    Configure(&'a BTreeMap<String, Arc<SessionSettings>>),
    /// What a process before handed over; comes before the first [`Input::Wake`].
    Inherited(&'a [SessionHandover]),
    /// Ask the neighbours to be patient with the next process.
    PrepareHandover,
    /// End all sessions, and say so.
    Stop,
}

/// A datagram that arrived at a port of BFD.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datagram<'a> {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// TTL or hop limit.
    pub(crate) hop_limit: u8,
    /// Which port it came to.
    pub(crate) is_multihop: bool,
    pub(crate) bytes: &'a [u8],
}

/// What is to be done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Send a packet of the session of that name.
    Send {
        session: String,
        bytes: [u8; LENGTH],
    },
    /// A session is so: once that is known, and at each change. Not of one that just began.
    Level(Level),
    /// The session is no more.
    Gone(String),
    Event(Event),
}

/// Whether a session is up: what tracks and checks follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    pub(crate) name: String,
    pub(crate) neighbor: IpAddr,
    pub(crate) is_up: bool,
    /// It was up, and the neighbour was silent for so long. None: it was never up, or the neighbour itself ended it.
    pub(crate) silence: Option<Duration>,
    /// Why it is not up, in words.
    pub(crate) reason: String,
}

/// Something that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Changed {
        session: String,
        neighbor: IpAddr,
        from: State,
        to: State,
        diagnostic: Diagnostic,
        remote_diagnostic: Diagnostic,
        /// Where nothing was heard for too long: for how long.
        silence: Option<Duration>,
    },
    /// A packet was dropped; one event per session, reason and minute.
    Dropped { session: String, source: IpAddr, flaw: Flaw, suppressed: u64 },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Changed { session, neighbor, from, to, diagnostic, remote_diagnostic, silence } => {
                write!(f, "BFD session {session} with {neighbor}: {from} -> {to}")?;
                match silence {
                    Some(time) => return write!(f, ": nothing was heard for {} ms", milliseconds(*time)),
                    // On the way up it is that of the last time.
                    None if matches!(to, State::Init | State::Up) => return Ok(()),
                    None => write!(f, ": {diagnostic}")?,
                }
                if *remote_diagnostic != Diagnostic::NONE {
                    write!(f, "; the neighbor says: {remote_diagnostic}")?;
                }
                Ok(())
            }
            Event::Dropped { session, source, flaw, suppressed } => {
                write!(f, "BFD session {session}: a packet of {source} was dropped: {flaw}")?;
                if *suppressed > 0 { write!(f, " ({suppressed} more since the last report)") } else { Ok(()) }
            }
        }
    }
}

impl Event {
    /// The kind of event, a fixed word for machines.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Event::Changed { .. } => "bfd_session",
            Event::Dropped { .. } => "bfd_dropped",
        }
    }

    /// Whether an operator should look.
    pub(crate) fn is_warning(&self) -> bool {
        matches!(self, Event::Dropped { .. } | Event::Changed { from: State::Up, .. })
    }

    pub(crate) fn session(&self) -> &str {
        match self {
            Event::Changed { session, .. } | Event::Dropped { session, .. } => session,
        }
    }
}

/// Packets of one kind that a session dropped.
#[derive(Clone, Copy, Debug, Default)]
struct Dropped {
    count: u64,
    suppressed: u64,
    reported_at: Option<Instant>,
}

/// A session, and what belongs to it.
#[derive(Debug)]
struct Entry {
    session: Session,
    /// Its place in the queue of deadlines.
    due_at: Option<Instant>,
    dropped: BTreeMap<Flaw, Dropped>,
}

/// All of them, by their discriminators.
#[derive(Debug)]
pub(crate) struct Sessions {
    entries: BTreeMap<u32, Entry>,
    by_name: BTreeMap<String, u32>,
    /// By the neighbour and by the port: several where they differ in the own address.
    by_neighbor: BTreeMap<(IpAddr, bool), Vec<u32>>,
    timers: BTreeSet<(Instant, u32)>,
    /// Packets of strangers, by kind.
    unknown: BTreeMap<&'static str, u64>,
    inherited: Vec<SessionHandover>,
    is_stopped: bool,
    rng: fastrand::Rng,
}

impl Sessions {
    /// None yet; `seed` is all their chance.
    pub(crate) fn new(seed: u64) -> Sessions {
        Sessions {
            entries: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_neighbor: BTreeMap::new(),
            timers: BTreeSet::new(),
            unknown: BTreeMap::new(),
            inherited: Vec::new(),
            is_stopped: false,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Takes an input and says what is to be done.
    pub(crate) fn handle(&mut self, now: Instant, input: Input<'_>, out: &mut Vec<Effect>) {
        if self.is_stopped {
            return;
        }
        match input {
            Input::Wake => self.wake(now, out),
            Input::Received(datagram) => self.receive(now, &datagram, out),
            Input::Configure(settings) => self.configure(now, settings, out),
            Input::Inherited(handed) => self.inherited = handed.to_vec(),
            Input::PrepareHandover => self.each(out, |session, rng| session.begin_handover(now, rng)),
            Input::Stop => {
                self.each(out, |session, _| session.end(now));
                self.is_stopped = true;
            }
        }
    }

    /// When it wants [`Input::Wake`]; it may be in the past.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at).filter(|_| !self.is_stopped)
    }

    /// Whether neighbours have not agreed yet to be patient with the next process.
    pub(crate) fn awaits_handover(&self) -> bool {
        !self.is_stopped && self.entries.values().any(|entry| entry.session.awaits_handover())
    }

    /// What the next process has to know.
    pub(crate) fn hand_over(&self) -> Vec<SessionHandover> {
        self.entries.values().filter_map(|entry| entry.session.hand_over()).collect()
    }

    /// All levels that are known.
    pub(crate) fn levels(&self) -> Vec<Level> {
        self.entries.values().filter_map(|entry| level(&entry.session, None)).collect()
    }

    /// How everything is; what the shell knows of a session's socket is the shell's to add.
    pub(crate) fn status(&self, now: Instant) -> Vec<SessionStatus> {
        self.by_name.values().filter_map(|id| self.entries.get(id)).map(|entry| entry.status(now)).collect()
    }

    /// Packets that belong to no session, by kind.
    pub(crate) fn unknown(&self) -> &BTreeMap<&'static str, u64> {
        &self.unknown
    }

    fn wake(&mut self, now: Instant, out: &mut Vec<Effect>) {
        while let Some((_, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.with(id, out, |session, rng| session.advance(now, rng));
        }
    }

    fn configure(
        &mut self,
        now: Instant,
        settings: &BTreeMap<String, Arc<SessionSettings>>,
        out: &mut Vec<Effect>,
    ) {
        let stays = |entry: &Entry| {
            let old = entry.session.settings();
            settings.get(&old.name).is_some_and(|new| new.is_same_session(old))
        };
        let gone: Vec<u32> =
            self.entries.iter().filter(|(_, entry)| !stays(entry)).map(|(id, _)| *id).collect();
        gone.into_iter().for_each(|id| self.remove(now, id, out));
        let inherited = std::mem::take(&mut self.inherited);
        for (name, new) in settings {
            if let Some(id) = self.by_name.get(name) {
                self.with(*id, out, |session, rng| session.reconfigure(new, now, rng));
                continue;
            }
            let handed = inherited.iter().find(|handed| handed.is_of(new));
            let session = match handed {
                Some(handed) if !self.entries.contains_key(&handed.discriminator()) => {
                    Session::resume(Arc::clone(new), handed, now)
                }
                _ => Session::new(Arc::clone(new), self.free_discriminator(), now),
            };
            out.extend(level(&session, None).map(Effect::Level));
            self.add(session);
        }
    }

    fn add(&mut self, session: Session) {
        let (id, settings) = (session.discriminator(), session.settings());
        self.by_name.insert(settings.name.clone(), id);
        self.by_neighbor.entry((settings.neighbor, settings.is_multihop)).or_default().push(id);
        self.entries.insert(id, Entry { session, due_at: None, dropped: BTreeMap::new() });
        self.schedule(id);
    }

    fn remove(&mut self, now: Instant, id: u32, out: &mut Vec<Effect>) {
        self.with(id, out, |session, _| session.end(now));
        let Some(entry) = self.entries.remove(&id) else { return };
        let settings = entry.session.settings();
        self.timers.retain(|(_, other)| *other != id);
        self.by_name.remove(&settings.name);
        let key = (settings.neighbor, settings.is_multihop);
        if let Some(all) = self.by_neighbor.get_mut(&key) {
            all.retain(|other| *other != id);
            if all.is_empty() {
                self.by_neighbor.remove(&key);
            }
        }
        out.push(Effect::Gone(settings.name.clone()));
    }

    /// Random, so that packets of a session that ended here name no other one, and senders off the link cannot guess it.
    fn free_discriminator(&mut self) -> u32 {
        loop {
            let chosen = self.rng.u32(1..);
            if !self.entries.contains_key(&chosen) {
                return chosen;
            }
        }
    }

    fn receive(&mut self, now: Instant, datagram: &Datagram<'_>, out: &mut Vec<Effect>) {
        // Whose a packet is that says nothing useful, its sender tells.
        let with_sender = self.by_neighbor.get(&(datagram.source, datagram.is_multihop));
        let by_sender = with_sender.into_iter().flatten().copied().find(|id| self.takes(*id, datagram));
        let judged = decode(datagram.bytes).and_then(|packet| {
            let stranger = if with_sender.is_some() { Flaw::Destination } else { Flaw::UnknownNeighbor };
            let id = match packet.yours {
                0 => by_sender.ok_or(stranger)?,
                yours => Some(yours).filter(|id| self.takes(*id, datagram)).ok_or(Flaw::UnknownSession)?,
            };
            let least = self.entries.get(&id).map(|entry| entry.session.settings().least_hop_limit);
            match least.is_some_and(|least| datagram.hop_limit < least) {
                true => Err(Flaw::HopLimit),
                false => Ok((id, packet)),
            }
        });
        match judged {
            Ok((id, packet)) => self.with(id, out, |session, rng| session.receive(now, &packet, rng)),
            Err(flaw) => match by_sender.and_then(|id| self.entries.get_mut(&id)) {
                Some(entry) => out.extend(entry.drop_packet(now, datagram.source, flaw)),
                None => *self.unknown.entry(flaw.kind()).or_default() += 1,
            },
        }
    }

    /// Whether a datagram travels between the two ends of a session: a discriminator alone would let anybody who has seen
    /// one speak for the neighbour.
    fn takes(&self, id: u32, datagram: &Datagram<'_>) -> bool {
        self.entries.get(&id).is_some_and(|entry| {
            let settings = entry.session.settings();
            settings.neighbor == datagram.source
                && settings.is_multihop == datagram.is_multihop
                && settings.source.is_none_or(|own| own == datagram.destination)
        })
    }

    fn each(
        &mut self,
        out: &mut Vec<Effect>,
        mut act: impl FnMut(&mut Session, &mut fastrand::Rng) -> Reaction,
    ) {
        let ids: Vec<u32> = self.by_name.values().copied().collect();
        for id in ids {
            self.with(id, out, &mut act);
        }
    }

    fn with(
        &mut self,
        id: u32,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Session, &mut fastrand::Rng) -> Reaction,
    ) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let before = entry.session.level();
            let reaction = act(&mut entry.session, &mut self.rng);
            report(&entry.session, before, reaction, out);
            self.schedule(id);
        }
    }

    fn schedule(&mut self, id: u32) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let deadline = entry.session.deadline();
        if entry.due_at != deadline {
            if let Some(before) = std::mem::replace(&mut entry.due_at, deadline) {
                self.timers.remove(&(before, id));
            }
            self.timers.extend(deadline.map(|at| (at, id)));
        }
    }
}

impl Entry {
    fn drop_packet(&mut self, now: Instant, source: IpAddr, flaw: Flaw) -> Option<Effect> {
        let dropped = self.dropped.entry(flaw).or_default();
        dropped.count += 1;
        if dropped.reported_at.is_some_and(|at| now.since(at) < REPORT_PAUSE) {
            dropped.suppressed += 1;
            return None;
        }
        let suppressed = std::mem::take(&mut dropped.suppressed);
        dropped.reported_at = Some(now);
        let session = self.session.settings().name.clone();
        Some(Effect::Event(Event::Dropped { session, source, flaw, suppressed }))
    }

    fn status(&self, now: Instant) -> SessionStatus {
        let session = &self.session;
        let (settings, remote) = (session.settings(), session.remote());
        SessionStatus {
            name: settings.name.clone(),
            neighbor: settings.neighbor,
            source: settings.source,
            is_multihop: settings.is_multihop,
            state: session.state(),
            since_milliseconds: milliseconds(now.since(session.since())),
            diagnostic: session.diagnostic().to_string(),
            remote_state: remote.state,
            remote_diagnostic: remote.diagnostic.to_string(),
            detection_microseconds: session.detection().map(microseconds),
            transmit_microseconds: session.transmit_interval().map(microseconds),
            discriminator: session.discriminator(),
            remote_discriminator: remote.discriminator,
            sent: session.sent,
            received: session.received,
            came_up: session.came_up,
            went_down: session.went_down,
            dropped: self.dropped.iter().map(|(flaw, d)| (flaw.kind().to_owned(), d.count)).collect(),
            trouble: None,
        }
    }
}

fn report(session: &Session, before: Option<bool>, reaction: Reaction, out: &mut Vec<Effect>) {
    let Reaction { change, packets } = reaction;
    let name = &session.settings().name;
    // The neighbour is told before everybody else: it has the longer way.
    out.extend(packets.into_iter().map(|bytes| Effect::Send { session: name.clone(), bytes }));
    if let Some(Change { from, expired }) = change {
        out.push(Effect::Event(Event::Changed {
            session: name.clone(),
            neighbor: session.settings().neighbor,
            from,
            to: session.state(),
            diagnostic: session.diagnostic(),
            remote_diagnostic: session.remote().diagnostic,
            silence: expired,
        }));
    }
    if session.level() != before {
        let silence = change.filter(|change| change.from == State::Up).and_then(|change| change.expired);
        out.extend(level(session, silence).map(Effect::Level));
    }
}

/// None while it is not known.
fn level(session: &Session, silence: Option<Duration>) -> Option<Level> {
    let is_up = session.level()?;
    let is_fresh = session.diagnostic() == Diagnostic::NONE;
    let reason = match silence {
        _ if is_up => "up".to_owned(),
        Some(time) => format!("nothing was heard for {} ms", milliseconds(time)),
        None if is_fresh => "it has not come up yet".to_owned(),
        None => session.diagnostic().to_string(),
    };
    let settings = session.settings();
    Some(Level { name: settings.name.clone(), neighbor: settings.neighbor, is_up, silence, reason })
}

/// Gives a packet to a session in each state, as from its neighbour and as from a stranger. For `crate::fuzz`.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    use super::packet::{Packet, encode};
    let neighbor = IpAddr::from([10, 0, 0, 2]);
    let destination = IpAddr::from([10, 0, 0, 1]);
    let settings = SessionSettings::sample("peer", neighbor);
    let settings = BTreeMap::from([(settings.name.clone(), Arc::new(settings))]);
    for state in [State::Down, State::Init, State::Up] {
        let (mut sessions, mut out, mut now) =
            (Sessions::new(1), Vec::new(), Instant::from_nanos(1_000_000_000));
        sessions.handle(now, Input::Configure(&settings), &mut out);
        let mut packet = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Down,
            is_poll: false,
            is_final: false,
            is_demand: false,
            multiplier: 3,
            mine: 7,
            yours: 0,
            desired_tx: Duration::from_millis(50),
            required_rx: Duration::from_millis(50),
        };
        // Down makes Init of Down, and Init makes Up of it.
        for heard in [State::Down, State::Init].into_iter().take(state as usize - 1) {
            packet.state = heard;
            packet.yours =
                if heard == State::Init { sessions.entries.keys().next().copied().unwrap_or(0) } else { 0 };
            let bytes = encode(&packet);
            let datagram =
                Datagram { source: neighbor, destination, hop_limit: 255, is_multihop: false, bytes: &bytes };
            sessions.handle(now, Input::Received(datagram), &mut out);
        }
        for source in [neighbor, destination] {
            let datagram = Datagram { source, destination, hop_limit: 255, is_multihop: false, bytes };
            sessions.handle(now, Input::Received(datagram), &mut out);
            // An answer to what this session said: its discriminator is not the input's to know.
            let mut own = bytes.to_vec();
            let id = sessions.entries.keys().next().copied().unwrap_or(0).to_be_bytes();
            own.iter_mut().skip(8).zip(id).for_each(|(to, from)| *to = from);
            sessions.handle(now, Input::Received(Datagram { bytes: &own, ..datagram }), &mut out);
            for _ in 0..50 {
                let Some(at) = sessions.deadline() else { break };
                now = now.max(at);
                out.clear();
                sessions.handle(now, Input::Wake, &mut out);
                assert!(sessions.deadline().is_none_or(|next| next > now), "what was due is done");
                assert!(out.len() <= 4, "one deadline has few effects: {out:?}");
            }
        }
    }
}
