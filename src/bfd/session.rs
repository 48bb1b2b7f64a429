//! One session by the book (RFC 5880 section 6.8): its state, what it knows of the neighbour, its two timers.
//!
//! Intervals change as the standard wants it: while a session is up, a longer interval between own packets, and a shorter
//! detection time, wait until the neighbour has answered a poll (section 6.8.3).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::packet::{Diagnostic, LENGTH, Packet, State, encode};
use super::settings::{SLOW, SessionSettings};
use crate::time::Instant;

/// Detection time that the neighbour is asked for while one process hands over to the next.
pub(crate) const HANDOVER_SILENCE: Duration = Duration::from_secs(5);
/// Packets that a session may take to come up before it is said not to be up.
const FIRST_PACKETS: u32 = 3;
/// What a neighbour is taken to want before it has said so (RFC 5880 section 6.8.1, `bfd.RemoteMinRxInterval`).
const REMOTE_MIN_RX: Duration = Duration::from_micros(1);

/// What the neighbour said last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Remote {
    /// 0: not known, or not heard for a detection time.
    pub(super) discriminator: u32,
    pub(super) state: State,
    pub(super) diagnostic: Diagnostic,
    multiplier: u8,
    desired_tx: Duration,
    required_rx: Duration,
    is_demand: bool,
}

const UNKNOWN: Remote = Remote {
    discriminator: 0,
    state: State::Down,
    diagnostic: Diagnostic::NONE,
    multiplier: 0,
    desired_tx: Duration::ZERO,
    required_rx: REMOTE_MIN_RX,
    is_demand: false,
};

/// A session that is up, for the next process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionHandover {
    name: String,
    neighbor: IpAddr,
    discriminator: u32,
    remote: Remote,
}

impl SessionHandover {
    /// Whether the next process can go on with it.
    pub(super) fn is_of(&self, settings: &SessionSettings) -> bool {
        (&self.name, self.neighbor) == (&settings.name, settings.neighbor)
    }

    pub(super) fn discriminator(&self) -> u32 {
        self.discriminator
    }
}

/// A session left a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: State,
    /// Of the silence that ended it; None: it did not expire.
    pub(super) expired: Option<Duration>,
}

/// What follows from an input.
#[derive(Debug, Default)]
pub(super) struct Reaction {
    pub(super) change: Option<Change>,
    /// To be sent, in this order.
    pub(super) packets: Vec<[u8; LENGTH]>,
}

#[derive(Debug)]
pub(super) struct Session {
    settings: Arc<SessionSettings>,
    discriminator: u32,
    state: State,
    since: Instant,
    diagnostic: Diagnostic,
    remote: Remote,
    /// The interval that packets offer (`Desired Min TX Interval`).
    desired_tx: Duration,
    /// What counts: it is shorter until a poll for a longer one is answered.
    tx_in_use: Duration,
    required_rx: Duration,
    /// What counts: it is longer until a poll for a shorter one is answered.
    rx_in_use: Duration,
    is_polling: bool,
    is_handing_over: bool,
    sent_at: Option<Instant>,
    next_at: Option<Instant>,
    /// The interval that `next_at` follows from.
    interval: Option<Duration>,
    expires_at: Option<Instant>,
    /// Before then a session that was never up need not be said to be down. None: it is over.
    first_packets_until: Option<Instant>,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) came_up: u64,
    pub(super) went_down: u64,
}

impl Session {
    /// One that knows nothing of its neighbour; [`Session::advance`] is due at once.
    pub(super) fn new(settings: Arc<SessionSettings>, discriminator: u32, now: Instant) -> Session {
        let slow = settings.idle_tx.max(SLOW);
        Session {
            discriminator,
            state: State::Down,
            since: now,
            diagnostic: Diagnostic::NONE,
            remote: UNKNOWN,
            desired_tx: slow,
            tx_in_use: slow,
            required_rx: settings.min_rx,
            rx_in_use: settings.min_rx,
            is_polling: false,
            is_handing_over: false,
            sent_at: None,
            next_at: None,
            interval: None,
            expires_at: None,
            first_packets_until: Some(now + slow * FIRST_PACKETS),
            sent: 0,
            received: 0,
            came_up: 0,
            went_down: 0,
            settings,
        }
    }

    /// The one that a process before handed over: it is up until the neighbour is silent for a detection time.
    pub(super) fn resume(settings: Arc<SessionSettings>, handed: &SessionHandover, now: Instant) -> Session {
        let mut session = Session::new(settings, handed.discriminator, now);
        session.remote = handed.remote;
        session.state = State::Up;
        (session.came_up, session.first_packets_until) = (1, None);
        session.set_intervals();
        session.tx_in_use = session.desired_tx;
        session.is_polling = true;
        session.expires_at = session.detection().map(|time| now + time);
        session
    }

    pub(super) fn settings(&self) -> &Arc<SessionSettings> {
        &self.settings
    }

    pub(super) fn discriminator(&self) -> u32 {
        self.discriminator
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    pub(super) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// Silence after which the neighbour is unreachable (section 6.8.4); None before it was heard.
    pub(super) fn detection(&self) -> Option<Duration> {
        let longest = self.rx_in_use.max(self.remote.desired_tx);
        (self.remote.multiplier > 0).then(|| longest * u32::from(self.remote.multiplier))
    }

    /// Between two packets, before jitter (section 6.8.7); None where none are to be sent.
    pub(super) fn transmit_interval(&self) -> Option<Duration> {
        let Remote { discriminator, state, required_rx, is_demand, .. } = self.remote;
        let waits = self.settings.is_passive && discriminator == 0;
        let is_unwanted = is_demand && self.is_up() && state == State::Up && !self.is_polling;
        if waits || is_unwanted || required_rx.is_zero() || self.state == State::AdminDown {
            return None;
        }
        Some(self.tx_in_use.max(required_rx))
    }

    /// Whether it is up; None while it may still be about to come up for the first time.
    pub(super) fn level(&self) -> Option<bool> {
        self.first_packets_until.is_none().then_some(self.is_up())
    }

    /// When [`Session::advance`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next = self.transmit_interval().map(|_| self.next_at.unwrap_or(Instant::ZERO));
        next.into_iter().chain(self.expires_at).chain(self.first_packets_until).min()
    }

    /// What is due by now: the neighbour's silence first.
    pub(super) fn advance(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Reaction {
        let mut reaction = Reaction::default();
        self.first_packets_until.take_if(|at| *at <= now);
        if self.expires_at.is_some_and(|at| at <= now) {
            let silence = self.detection();
            (self.expires_at, self.remote) = (None, UNKNOWN);
            if matches!(self.state, State::Init | State::Up) {
                self.diagnostic = Diagnostic::EXPIRED;
                reaction.change = Some(Change { from: self.state, expired: silence });
                self.enter(State::Down, now);
                self.send_periodic(now, rng, &mut reaction);
            }
        }
        if self.transmit_interval().is_some() && self.next_at.is_none_or(|at| at <= now) {
            self.send_periodic(now, rng, &mut reaction);
        }
        reaction
    }

    /// A packet for this session arrived (section 6.8.6).
    pub(super) fn receive(&mut self, now: Instant, packet: &Packet, rng: &mut fastrand::Rng) -> Reaction {
        let mut reaction = Reaction::default();
        if self.state == State::AdminDown {
            return reaction;
        }
        self.received += 1;
        self.remote = Remote {
            discriminator: packet.mine,
            state: packet.state,
            diagnostic: packet.diagnostic,
            multiplier: packet.multiplier,
            desired_tx: packet.desired_tx,
            required_rx: packet.required_rx,
            is_demand: packet.is_demand,
        };
        if packet.is_final && self.is_polling {
            self.is_polling = false;
            (self.tx_in_use, self.rx_in_use) = (self.desired_tx, self.required_rx);
        }
        let from = self.state;
        let to = next_state(from, packet.state);
        if to != from {
            if to == State::Down {
                self.diagnostic = Diagnostic::NEIGHBOR_DOWN;
            }
            reaction.change = Some(Change { from, expired: None });
            self.enter(to, now);
        }
        self.expires_at = self.detection().map(|time| now + time);
        if packet.is_poll {
            // At once, without waiting for the timer, and never together with a poll of our own (section 6.5).
            self.send(now, true, &mut reaction);
        }
        if to != from {
            self.send_periodic(now, rng, &mut reaction);
        } else {
            self.reschedule(now, rng);
        }
        reaction
    }

    /// Other settings for the same session.
    pub(super) fn reconfigure(
        &mut self,
        settings: &Arc<SessionSettings>,
        now: Instant,
        rng: &mut fastrand::Rng,
    ) -> Reaction {
        let mut reaction = Reaction::default();
        let before = std::mem::replace(&mut self.settings, Arc::clone(settings));
        let is_changed = self.set_intervals() || before.multiplier != settings.multiplier;
        if is_changed && self.is_up() {
            self.is_polling = true;
            self.send_periodic(now, rng, &mut reaction);
        } else {
            self.reschedule(now, rng);
        }
        reaction
    }

    /// Asks the neighbour to be patient with the next process: [`HANDOVER_SILENCE`] instead of the usual detection time.
    pub(super) fn begin_handover(&mut self, now: Instant, rng: &mut fastrand::Rng) -> Reaction {
        let mut reaction = Reaction::default();
        if self.is_up() && !self.is_handing_over {
            self.is_handing_over = true;
            if self.set_intervals() {
                self.is_polling = true;
                self.send_periodic(now, rng, &mut reaction);
            }
        }
        reaction
    }

    /// Whether the neighbour has not agreed yet to be patient.
    pub(super) fn awaits_handover(&self) -> bool {
        self.is_up() && self.is_polling
    }

    /// What the next process needs of it; None where it is not up.
    pub(super) fn hand_over(&self) -> Option<SessionHandover> {
        self.is_up().then(|| SessionHandover {
            name: self.settings.name.clone(),
            neighbor: self.settings.neighbor,
            discriminator: self.discriminator,
            remote: self.remote,
        })
    }

    /// The last word: the session ends because an operator wants it, not because the path failed (section 6.8.16).
    pub(super) fn end(&mut self, now: Instant) -> Reaction {
        let mut reaction = Reaction::default();
        let is_known = self.remote.discriminator != 0;
        self.diagnostic = Diagnostic::ADMIN_DOWN;
        self.enter(State::AdminDown, now);
        (self.expires_at, self.first_packets_until) = (None, None);
        if is_known {
            self.send(now, false, &mut reaction);
        }
        reaction
    }

    fn enter(&mut self, state: State, now: Instant) {
        let before = std::mem::replace(&mut self.state, state);
        self.since = now;
        if before == State::Up {
            self.went_down += 1;
        }
        if state == State::Up {
            self.came_up += 1;
            (self.diagnostic, self.first_packets_until) = (Diagnostic::NONE, None);
        }
        self.is_handing_over &= state == State::Up;
        self.is_polling = self.set_intervals() && state == State::Up;
        if state != State::Up {
            (self.tx_in_use, self.rx_in_use) = (self.desired_tx, self.required_rx);
        }
    }

    /// What packets are to say; whether that is something else than before.
    fn set_intervals(&mut self) -> bool {
        let settings = &self.settings;
        let desired_tx = match self.state {
            State::Up if self.is_handing_over => {
                settings.min_tx.max(HANDOVER_SILENCE / u32::from(settings.multiplier.max(1)))
            }
            State::Up => settings.min_tx,
            _ => settings.idle_tx.max(SLOW),
        };
        let is_changed = (desired_tx, settings.min_rx) != (self.desired_tx, self.required_rx);
        (self.desired_tx, self.required_rx) = (desired_tx, settings.min_rx);
        self.tx_in_use = self.tx_in_use.min(desired_tx);
        self.rx_in_use = self.rx_in_use.max(self.required_rx);
        is_changed
    }

    /// Sends out of turn, or in turn; the next one follows an interval later.
    fn send_periodic(&mut self, now: Instant, rng: &mut fastrand::Rng, reaction: &mut Reaction) {
        self.interval = self.transmit_interval();
        if self.interval.is_some() {
            self.send(now, false, reaction);
        }
        self.next_at = self.interval.map(|interval| now + self.jittered(interval, rng));
    }

    /// Another interval holds from the last packet on.
    fn reschedule(&mut self, now: Instant, rng: &mut fastrand::Rng) {
        let interval = self.transmit_interval();
        if interval != self.interval {
            self.interval = interval;
            let last = self.sent_at.unwrap_or(now);
            self.next_at = interval.map(|interval| (last + self.jittered(interval, rng)).max(now));
        }
    }

    fn send(&mut self, now: Instant, is_final: bool, reaction: &mut Reaction) {
        self.sent += 1;
        if !is_final {
            self.sent_at = Some(now);
        }
        reaction.packets.push(encode(&Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            is_poll: self.is_polling && !is_final,
            is_final,
            is_demand: false,
            multiplier: self.settings.multiplier,
            mine: self.discriminator,
            yours: self.remote.discriminator,
            desired_tx: self.desired_tx,
            required_rx: self.required_rx,
        }));
    }

    /// An interval less 0 to 25 %; with a multiplier of 1 less 10 to 25 %, or a packet would come too late (section 6.8.7).
    fn jittered(&self, interval: Duration, rng: &mut fastrand::Rng) -> Duration {
        let most = if self.settings.multiplier == 1 { 900 } else { 1000 };
        interval * rng.u32(750..=most) / 1000
    }
}

/// The standard's table (section 6.8.6); AdminDown is left by nothing that is received.
pub(super) fn next_state(own: State, heard: State) -> State {
    match (own, heard) {
        (State::AdminDown, _) => State::AdminDown,
        (_, State::AdminDown) => State::Down,
        (State::Down, State::Down) => State::Init,
        (State::Down | State::Init, State::Init) | (State::Init, State::Up) => State::Up,
        (State::Up, State::Down) => State::Down,
        (own, _) => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_states_is_the_standards() {
        use State::{AdminDown, Down, Init, Up};
        let heard = [AdminDown, Down, Init, Up];
        assert_eq!(heard.map(|h| next_state(Down, h)), [Down, Init, Up, Down]);
        assert_eq!(heard.map(|h| next_state(Init, h)), [Down, Init, Up, Up]);
        assert_eq!(heard.map(|h| next_state(Up, h)), [Down, Down, Up, Up]);
        assert_eq!(heard.map(|h| next_state(AdminDown, h)), [AdminDown; 4]);
    }
}
