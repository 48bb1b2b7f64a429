//! Points in time by key, and in order: the next one is found without a look at all.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Instant;

/// Points in time, at most one for each key.
#[derive(Debug)]
pub(super) struct Timers<K> {
    at: BTreeMap<K, Instant>,
    by_time: BTreeSet<(Instant, K)>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { at: BTreeMap::new(), by_time: BTreeSet::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// A key is due then, or never (None).
    pub(super) fn set(&mut self, key: K, at: Option<Instant>) {
        let before = match at {
            Some(at) => self.at.insert(key, at),
            None => self.at.remove(&key),
        };
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.by_time.remove(&(before, key));
        }
        self.by_time.extend(at.map(|at| (at, key)));
    }

    /// When a key is due.
    pub(super) fn at(&self, key: &K) -> Option<Instant> {
        self.at.get(key).copied()
    }

    /// When the first one is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// The keys that are due, in the order of time.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = K> + '_ {
        self.by_time.iter().take_while(move |(at, _)| *at <= now).map(|(_, key)| *key)
    }

    /// All keys that are due some time.
    pub(super) fn keys(&self) -> impl Iterator<Item = K> + '_ {
        self.at.keys().copied()
    }

    /// Nothing is due any more.
    pub(super) fn clear(&mut self) {
        *self = Timers::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_found_in_order_and_a_later_time_replaces_an_earlier_one() {
        let at = Instant::from_nanos;
        let mut timers = Timers::default();
        for (key, due) in [("a", 5), ("b", 3), ("c", 9), ("b", 4), ("d", 1)] {
            timers.set(key, Some(at(due)));
        }
        timers.set("d", None);
        assert_eq!((timers.first(), timers.at(&"b"), timers.at(&"d")), (Some(at(4)), Some(at(4)), None));
        assert_eq!(timers.due(at(5)).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(timers.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        timers.clear();
        assert_eq!(timers.first(), None);
    }
}
