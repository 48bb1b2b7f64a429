//! Other routers with one of our VRIDs: what they advertise and how, whether it is accepted, what to change.
//!
//! One table an instance. Any host on the link can invent senders, so it is bounded and forgets: first those that were
//! only refused, of these the one silent for the longest.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::settings::{Checksum, Version};
use crate::time::Instant;

/// Most peers that are remembered.
const LIMIT: usize = 32;
/// Most contradictions that are reported in a minute.
const REPORT_LIMIT: u32 = 8;
/// In which time.
const REPORT_TIME: Duration = Duration::from_secs(60);
/// Least silence after which a contradiction is over.
const LEAST_SILENCE: Duration = Duration::from_secs(3);

/// How a peer advertises.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PeerProfile {
    /// Version of the protocol, where that could be read.
    pub version: Option<Version>,
    /// By multicast, or by unicast.
    pub is_multicast: bool,
    /// In a word.
    pub authentication: &'static str,
    pub priority: Option<u8>,
    pub interval: Option<Duration>,
    /// How many addresses it names.
    pub count: Option<usize>,
    /// Form of its checksum, where there are two.
    pub checksum: Option<Checksum>,
}

/// A router that advertises a VRID of ours.
#[derive(Clone, Debug)]
pub(super) struct PeerRecord {
    /// How, the last time.
    pub profile: PeerProfile,
    /// The interval it gives, and since when it gives that one.
    pub interval: Option<(Duration, Instant)>,
    /// Advertisements that were accepted.
    pub accepted: u64,
    /// Those that were not.
    pub refused: u64,
    /// When it last spoke.
    pub last: Instant,
    /// Why it was last refused.
    pub last_refusal: Option<String>,
    /// What it and this host cannot agree about.
    pub conflict: Option<Conflict>,
}

/// A contradiction between a peer and this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// A fixed word.
    pub kind: &'static str,
    /// In the operator's words.
    pub what: String,
    /// When it was last seen.
    pub seen: Instant,
    /// It was reported, so its end is reported too.
    is_reported: bool,
}

/// All of them, of one instance.
#[derive(Debug, Default)]
pub(super) struct Peers {
    table: BTreeMap<IpAddr, PeerRecord>,
    reported: u32,
    reported_since: Instant,
}

impl Peers {
    /// An advertisement was accepted.
    pub(super) fn accepted(&mut self, source: IpAddr, profile: PeerProfile, now: Instant) {
        let interval = profile.interval;
        let peer = self.peer(source, profile, now);
        peer.accepted += 1;
        if peer.interval.map(|(known, _)| known) != interval {
            peer.interval = interval.map(|interval| (interval, now));
        }
    }

    /// Whether an accepted peer has given this interval before: a single packet, or a copy of it, proves
    /// nothing. `usual` is the own interval; answers come sooner than intervals.
    pub(super) fn has_repeated(
        &self,
        source: IpAddr,
        interval: Duration,
        usual: Duration,
        now: Instant,
    ) -> bool {
        let known = self.table.get(&source).and_then(|peer| peer.interval);
        known.is_some_and(|(known, since)| known == interval && now.since(since) >= interval.min(usual) / 2)
    }

    /// A packet was refused.
    pub(super) fn refused(&mut self, source: IpAddr, profile: PeerProfile, reason: String, now: Instant) {
        let peer = self.peer(source, profile, now);
        peer.refused += 1;
        peer.last_refusal = Some(reason);
    }

    fn peer(&mut self, source: IpAddr, profile: PeerProfile, now: Instant) -> &mut PeerRecord {
        if !self.table.contains_key(&source) && self.table.len() >= LIMIT {
            let oldest =
                self.table.iter().min_by_key(|(_, s)| (s.accepted > 0, s.conflict.is_some(), s.last));
            if let Some(oldest) = oldest.map(|(source, _)| *source) {
                self.table.remove(&oldest);
            }
        }
        let peer = self.table.entry(source).or_insert_with(|| PeerRecord {
            profile: profile.clone(),
            interval: None,
            accepted: 0,
            refused: 0,
            last: now,
            last_refusal: None,
            conflict: None,
        });
        (peer.profile, peer.last) = (profile, now);
        peer
    }

    /// A peer and this host cannot agree. True: that is new and should be reported.
    pub(super) fn add_conflict(
        &mut self,
        source: IpAddr,
        kind: &'static str,
        what: String,
        now: Instant,
    ) -> bool {
        let Some(peer) = self.table.get_mut(&source) else { return false };
        if let Some(known) = peer.conflict.as_mut().filter(|c| c.kind == kind && c.is_reported) {
            (known.seen, known.what) = (now, what);
            return false;
        }
        if now.since(self.reported_since) >= REPORT_TIME {
            (self.reported, self.reported_since) = (0, now);
        }
        let is_reported = self.reported < REPORT_LIMIT;
        self.reported = self.reported.saturating_add(u32::from(is_reported));
        peer.conflict = Some(Conflict { kind, what, seen: now, is_reported });
        is_reported
    }

    /// A peer agrees with this host. True: it had not, and that was reported.
    pub(super) fn end_conflict(&mut self, source: IpAddr) -> bool {
        let conflict = self.table.get_mut(&source).and_then(|peer| peer.conflict.take());
        conflict.is_some_and(|c| c.is_reported)
    }

    /// When the next contradiction is over by silence.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.table.values().filter_map(end_of).min()
    }

    /// Those whose contradiction is over by silence, and whether it was reported.
    pub(super) fn end_conflicts(&mut self, now: Instant) -> Vec<(IpAddr, bool)> {
        let mut ended = Vec::new();
        for (source, peer) in &mut self.table {
            if end_of(peer).is_some_and(|end| end <= now)
                && let Some(conflict) = peer.conflict.take()
            {
                ended.push((*source, conflict.is_reported));
            }
        }
        ended
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&IpAddr, &PeerRecord)> {
        self.table.iter()
    }
}

fn end_of(peer: &PeerRecord) -> Option<Instant> {
    let interval = peer.profile.interval.unwrap_or(Duration::ZERO);
    peer.conflict.as_ref().map(|c| c.seen + (interval * 3).max(LEAST_SILENCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> PeerProfile {
        PeerProfile {
            version: Some(Version::V2),
            is_multicast: true,
            authentication: "none",
            priority: Some(100),
            interval: Some(Duration::from_secs(1)),
            count: Some(1),
            checksum: None,
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn inventing_senders_does_not_push_out_those_that_were_accepted() {
        let mut peers = Peers::default();
        let real: IpAddr = "10.0.0.2".parse().unwrap();
        peers.accepted(real, profile(), at(0));
        for n in 0..10_000u32 {
            peers.refused(std::net::Ipv4Addr::from(n).into(), profile(), "odd".to_owned(), at(1));
        }
        assert_eq!(peers.iter().count(), LIMIT);
        assert!(peers.iter().any(|(source, _)| *source == real));
    }

    #[test]
    fn a_contradiction_is_reported_once_and_so_is_its_end() {
        let mut peers = Peers::default();
        let source: IpAddr = "10.0.0.2".parse().unwrap();
        peers.refused(source, profile(), "odd".to_owned(), at(0));
        assert!(peers.add_conflict(source, "version", "odd".to_owned(), at(0)));
        assert!(!peers.add_conflict(source, "version", "odd".to_owned(), at(1)));
        assert_eq!(peers.next_end(), Some(at(4)));
        assert_eq!(peers.end_conflicts(at(3)), []);
        assert_eq!(peers.end_conflicts(at(4)), [(source, true)]);
        assert_eq!(peers.next_end(), None);
    }

    #[test]
    fn no_more_than_a_few_contradictions_are_reported_in_a_minute() {
        let mut peers = Peers::default();
        let mut reported = 0;
        for n in 0..1000u32 {
            let source: IpAddr = std::net::Ipv4Addr::from(n).into();
            peers.refused(source, profile(), "odd".to_owned(), at(100));
            reported += u32::from(peers.add_conflict(source, "version", "odd".to_owned(), at(100)));
        }
        assert_eq!(reported, REPORT_LIMIT);
    }
}
