//! Dropped packets, told at most once per kind, sender and minute, whoever sends however many.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Instant;

/// How long the same is not told again.
const SILENCE: Duration = Duration::from_secs(60);
/// Most kinds and senders that are remembered; beyond, nothing is told until the oldest are forgotten.
const LIMIT: usize = 128;

/// What was told of dropped packets.
#[derive(Debug, Default)]
pub(super) struct Drops {
    told: BTreeMap<(&'static str, IpAddr), Told>,
    /// Not told, for want of room.
    crowded: u64,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    unsaid: u64,
}

impl Drops {
    /// A packet was dropped. Some: it should be told, with how many like it were not.
    pub(super) fn drop(&mut self, kind: &'static str, source: IpAddr, now: Instant) -> Option<u64> {
        if let Some(told) = self.told.get_mut(&(kind, source)) {
            if now.since(told.at) < SILENCE {
                told.unsaid += 1;
                return None;
            }
            told.at = now;
            return Some(std::mem::take(&mut told.unsaid));
        }
        if self.told.len() >= LIMIT {
            self.told.retain(|_, told| now.since(told.at) < SILENCE);
        }
        if self.told.len() >= LIMIT {
            self.crowded += 1;
            return None;
        }
        self.told.insert((kind, source), Told { at: now, unsaid: 0 });
        Some(std::mem::take(&mut self.crowded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_a_minute_with_how_many_were_not() {
        let mut drops = Drops::default();
        let source: IpAddr = "10.0.0.2".parse().unwrap();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(drops.drop("checksum", source, at(100)), Some(0));
        assert_eq!(drops.drop("checksum", source, at(101)), None);
        assert_eq!(drops.drop("version", source, at(101)), Some(0), "another kind");
        assert_eq!(drops.drop("checksum", source, at(159)), None);
        assert_eq!(drops.drop("checksum", source, at(160)), Some(2));
    }

    #[test]
    fn a_crowd_of_senders_is_not_told_one_by_one() {
        let mut drops = Drops::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let drop = |drops: &mut Drops, n: u32, seconds| {
            drops.drop("checksum", std::net::Ipv4Addr::from(n).into(), at(seconds))
        };
        let told = (0..100_000).filter(|n| drop(&mut drops, *n, 100).is_some()).count();
        assert_eq!(told, LIMIT);
        assert_eq!(drop(&mut drops, 7_000_000, 170), Some(100_000 - 128), "and then how many there were");
    }
}
