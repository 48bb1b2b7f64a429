//! Limits the log of dropped packets: one event per kind, sender and minute, however many arrive.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;

/// How long the same is not logged again.
const SILENCE: Duration = Duration::from_secs(60);
/// Most kinds and senders that are remembered; beyond, nothing is logged until the oldest are forgotten.
const LIMIT: usize = 128;

/// What was logged of dropped packets.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    logged: BTreeMap<(&'static str, IpAddr), Logged>,
    /// Not logged, for want of room.
    crowded: u64,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    suppressed: u64,
}

impl LogLimit {
    /// A packet was dropped. Some: it should be logged, with how many like it were not.
    pub(super) fn admit(&mut self, kind: &'static str, source: IpAddr, now: Instant) -> Option<u64> {
        if let Some(logged) = self.logged.get_mut(&(kind, source)) {
            if now.since(logged.at) < SILENCE {
                logged.suppressed += 1;
                return None;
            }
            logged.at = now;
            return Some(std::mem::take(&mut logged.suppressed));
        }
        if self.logged.len() >= LIMIT {
            self.logged.retain(|_, logged| now.since(logged.at) < SILENCE);
        }
        if self.logged.len() >= LIMIT {
            self.crowded += 1;
            return None;
        }
        self.logged.insert((kind, source), Logged { at: now, suppressed: 0 });
        Some(std::mem::take(&mut self.crowded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_reported_once_a_minute_with_how_many_were_not() {
        let mut limit = LogLimit::default();
        let source: IpAddr = "10.0.0.2".parse().unwrap();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(limit.admit("checksum", source, at(100)), Some(0));
        assert_eq!(limit.admit("checksum", source, at(101)), None);
        assert_eq!(limit.admit("version", source, at(101)), Some(0), "another kind");
        assert_eq!(limit.admit("checksum", source, at(159)), None);
        assert_eq!(limit.admit("checksum", source, at(160)), Some(2));
    }

    #[test]
    fn a_crowd_of_senders_is_not_reported_one_by_one() {
        let mut limit = LogLimit::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let drop = |limit: &mut LogLimit, n: u32, seconds| {
            limit.admit("checksum", std::net::Ipv4Addr::from(n).into(), at(seconds))
        };
        let logged = (0..100_000).filter(|n| drop(&mut limit, *n, 100).is_some()).count();
        assert_eq!(logged, LIMIT);
        assert_eq!(drop(&mut limit, 7_000_000, 170), Some(100_000 - 128), "and then how many there were");
    }
}
