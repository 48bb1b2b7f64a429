//! What a sender counts up, and what a receiver remembers of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one sender counts up: IP identification, number of the authentication header, signatures. An instance's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counters {
    identification: u16,
    sequence: u32,
    signed: Option<Moment>,
}

impl Counters {
    /// Nothing sent yet.
    pub(crate) fn new() -> Counters {
        Counters::default()
    }

    /// A peer's number was received: own packets must go on after it.
    pub(crate) fn saw_sequence(&mut self, heard: u32) {
        self.sequence = self.sequence.max(heard);
    }

    /// The next identification: never 0, which the kernel would replace.
    pub(super) fn next_identification(&mut self) -> u16 {
        self.identification = self.identification.checked_add(1).unwrap_or(1);
        self.identification
    }

    /// The next number of an authentication header. At the end of its range, after centuries, it stays there and
    /// receivers refuse it, as the standard wants.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.saturating_add(1);
        self.sequence
    }

    /// The moment to sign with: always later than the one before, unless the clock was set back further than
    /// [`BRIDGED`]. Then receivers that want it so (`anti_replay monotonic`) refuse until the clock has caught up.
    pub(super) fn next_moment(&mut self, wall: Duration) -> Moment {
        let mut moment = Moment::at(wall);
        if let Some(last) = self.signed
            && moment <= last
            && last.time().saturating_sub(wall) < BRIDGED
        {
            moment = Moment { counter: last.counter.saturating_add(1), ..last };
        }
        self.signed = Some(moment);
        moment
    }
}

/// How far back a clock may be set without effect.
const BRIDGED: Duration = Duration::from_secs(1);

/// When something was signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Seconds since 1970 UTC.
    pub seconds: u32,
    /// In 1/65536 of a second.
    pub fraction: u16,
    /// Tells packets of one moment apart.
    pub counter: u16,
}

impl Moment {
    /// The first of a time since 1970.
    pub(super) fn at(wall: Duration) -> Moment {
        let fraction = (u64::from(wall.subsec_nanos()) << 16) / 1_000_000_000;
        Moment {
            seconds: u32::try_from(wall.as_secs()).unwrap_or(u32::MAX),
            fraction: u16::try_from(fraction).unwrap_or(u16::MAX),
            counter: 0,
        }
    }

    /// As a time since 1970.
    pub(super) fn time(self) -> Duration {
        let nanos = (u64::from(self.fraction) * 1_000_000_000).div_ceil(1 << 16);
        Duration::from_secs(u64::from(self.seconds)) + Duration::from_nanos(nanos)
    }
}

/// What a receiver remembers of authenticated senders, so that their packets cannot be replayed. One per instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplayWindow {
    sequences: Remembered<u32>,
    moments: Remembered<Moment>,
}

impl ReplayWindow {
    /// No sender is known yet.
    pub(crate) fn new() -> ReplayWindow {
        ReplayWindow::default()
    }

    /// The highest number heard of that sender.
    pub(super) fn sequence(&self, source: IpAddr) -> Option<u32> {
        self.sequences.last(source)
    }

    /// The latest signature heard of that sender.
    pub(super) fn moment(&self, source: IpAddr) -> Option<Moment> {
        self.moments.last(source)
    }

    /// A good packet was heard.
    pub(super) fn heard_sequence(&mut self, source: IpAddr, sequence: u32) {
        self.sequences.remember(source, sequence);
    }

    /// A well signed packet was heard.
    pub(super) fn heard_moment(&mut self, source: IpAddr, moment: Moment) {
        self.moments.remember(source, moment);
    }
}

/// The last of each sender. Only senders that know the key are stored, so there are few; the one not heard for the
/// longest time makes room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered<T> {
    turn: u64,
    senders: BTreeMap<IpAddr, (u64, T)>,
}

/// Senders remembered for an instance.
const MAX_SENDERS: usize = 16;

impl<T> Default for Remembered<T> {
    fn default() -> Remembered<T> {
        Remembered { turn: 0, senders: BTreeMap::new() }
    }
}

impl<T: Copy> Remembered<T> {
    fn last(&self, source: IpAddr) -> Option<T> {
        self.senders.get(&source).map(|(_, last)| *last)
    }

    fn remember(&mut self, source: IpAddr, value: T) {
        if self.senders.len() >= MAX_SENDERS && !self.senders.contains_key(&source) {
            let oldest = self.senders.iter().min_by_key(|(_, (turn, _))| *turn).map(|(ip, _)| *ip);
            oldest.map(|ip| self.senders.remove(&ip));
        }
        self.turn += 1;
        self.senders.insert(source, (self.turn, value));
    }
}
