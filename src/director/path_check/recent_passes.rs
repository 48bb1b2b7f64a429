//! Path checks whose last run passed, by when that run began.

use std::collections::{BTreeMap, BTreeSet};

use crate::director::checkers::CheckerId;
use crate::ipvs::types::Family;
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct RecentPasses {
    by_check: BTreeMap<CheckerId, (Family, Instant)>,
    by_age: BTreeSet<(Family, Instant, CheckerId)>,
}

impl RecentPasses {
    pub(super) fn insert(&mut self, family: Family, id: CheckerId, began: Instant) {
        self.remove(id);
        self.by_check.insert(id, (family, began));
        self.by_age.insert((family, began, id));
    }

    pub(super) fn remove(&mut self, id: CheckerId) {
        if let Some((family, began)) = self.by_check.remove(&id) {
            self.by_age.remove(&(family, began, id));
        }
    }

    pub(super) fn retain(&mut self, is_there: impl Fn(CheckerId) -> bool) {
        self.by_check.retain(|id, _| is_there(*id));
        self.by_age.retain(|(_, _, id)| is_there(*id));
    }

    /// All of a family, the latest first.
    pub(super) fn latest(&self, family: Family) -> impl Iterator<Item = (Instant, CheckerId)> + '_ {
        let (first, last) = (Instant::ZERO, Instant::from_nanos(u64::MAX));
        let all = (family, first, CheckerId::FIRST)..=(family, last, CheckerId::LAST);
        self.by_age.range(all).rev().map(|(_, began, id)| (*began, *id))
    }
}
