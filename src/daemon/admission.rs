//! Limits the connections to this daemon: of all peers, and of each. Pure.
//!
//! A connection that has not asked anything yet gives way to a new one, and so does one whose answer has been ready
//! for a while and is not taken: a peer that only holds connections does not keep others out. One peer
//! holds a part of all at most.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::Instant;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub all: usize,
    /// Of one peer.
    pub of_peer: usize,
}

/// How long an answer may be on its way before its connection gives way to others.
const TAKING: Duration = Duration::from_secs(1);

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its question is not there yet.
    Asking,
    /// Its answer is being made.
    Waiting,
    /// Its answer is on its way.
    Taking,
}

/// What becomes of a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It has this number.
    Enters(u64),
    /// It has this number, and another one ends for it.
    Replaces(u64, u64),
    /// Its peer has too many, and all of them have asked something.
    Refused,
    /// All have asked something: it has to wait.
    Full,
}

#[derive(Debug)]
pub(super) struct Connections<P> {
    limits: Limits,
    held: BTreeMap<u64, Held<P>>,
    next: u64,
}

#[derive(Debug)]
struct Held<P> {
    peer: P,
    stage: Stage,
    since: Instant,
}

impl<P: Copy + Ord> Connections<P> {
    pub(super) fn new(limits: Limits) -> Connections<P> {
        Connections { limits, held: BTreeMap::new(), next: 0 }
    }

    /// A peer asks for a connection.
    pub(super) fn admit(&mut self, now: Instant, peer: P) -> Admission {
        let is_crowd = self.count(peer) >= self.limits.of_peer;
        let is_full = self.held.len() >= self.limits.all;
        if !is_crowd && !is_full {
            return Admission::Enters(self.enter(now, peer));
        }
        match self.yielding(now, is_crowd.then_some(peer)) {
            Some(other) => {
                self.held.remove(&other);
                Admission::Replaces(self.enter(now, peer), other)
            }
            None if is_crowd => Admission::Refused,
            None => Admission::Full,
        }
    }

    /// The connection that gives way first: the oldest one of the peer that holds the most.
    fn yielding(&self, now: Instant, of: Option<P>) -> Option<u64> {
        let gives_way = |held: &Held<P>| match held.stage {
            Stage::Asking => true,
            Stage::Waiting => false,
            Stage::Taking => now.since(held.since) >= TAKING,
        };
        let may = |held: &Held<P>| of.is_none_or(|peer| peer == held.peer) && gives_way(held);
        let candidates = self.held.iter().filter(|(_, held)| may(held));
        candidates
            .min_by_key(|(id, held)| (usize::MAX - self.count(held.peer), held.since, **id))
            .map(|(id, _)| *id)
    }

    /// The oldest one that has asked nothing goes: there is another use for what it holds.
    pub(super) fn expel(&mut self) -> Option<u64> {
        let (id, _) = self.held.iter().find(|(_, held)| held.stage == Stage::Asking)?;
        let id = *id;
        self.held.remove(&id);
        Some(id)
    }

    /// A connection has come so far.
    pub(super) fn reached(&mut self, now: Instant, id: u64, stage: Stage) {
        if let Some(held) = self.held.get_mut(&id) {
            (held.stage, held.since) = (stage, now);
        }
    }

    /// A connection has ended.
    pub(super) fn ended(&mut self, id: u64) {
        self.held.remove(&id);
    }

    fn count(&self, peer: P) -> usize {
        self.held.values().filter(|held| held.peer == peer).count()
    }

    fn enter(&mut self, now: Instant, peer: P) -> u64 {
        let id = self.next;
        self.next += 1;
        self.held.insert(id, Held { peer, stage: Stage::Asking, since: now });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { all: 4, of_peer: 3 };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn an_idle_client_keeps_no_other_out() {
        let mut connections = Connections::new(LIMITS);
        for n in 0..3 {
            assert_eq!(connections.admit(at(n), 'a'), Admission::Enters(n));
        }
        assert_eq!(connections.admit(at(3), 'a'), Admission::Replaces(3, 0), "its own oldest one goes");
        assert_eq!(connections.admit(at(4), 'b'), Admission::Enters(4), "others have the rest");
        connections.reached(at(5), 4, Stage::Waiting);
        assert_eq!(
            connections.admit(at(6), 'c'),
            Admission::Replaces(5, 1),
            "of the client that holds the most"
        );
        connections.ended(5);
        assert_eq!(connections.admit(at(7), 'c'), Admission::Enters(6));
        assert_eq!((connections.expel(), connections.expel()), (Some(2), Some(3)));
    }

    #[test]
    fn each_request_is_answered_and_an_answer_without_a_reader_is_dropped() {
        let mut connections = Connections::new(LIMITS);
        for n in 0..3 {
            connections.admit(at(0), 'a');
            connections.reached(at(1), n, Stage::Waiting);
        }
        assert_eq!(connections.admit(at(2), 'a'), Admission::Refused);
        assert_eq!(connections.admit(at(2), 'b'), Admission::Enters(3));
        connections.reached(at(2), 3, Stage::Waiting);
        assert_eq!(connections.admit(at(3), 'c'), Admission::Full);
        connections.reached(at(10), 1, Stage::Taking);
        assert_eq!(connections.admit(at(1009), 'c'), Admission::Full, "it may still be taken");
        assert_eq!(connections.admit(at(1010), 'c'), Admission::Replaces(4, 1));
        assert_eq!(connections.expel(), Some(4), "what was asked stays");
        assert_eq!(connections.expel(), None);
    }
}
