//! Delays the changes of links (`interface_up_down_delays`): going up or down counts when it has lasted.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::net::types::{Host, Link, LinkIndex};
use crate::time::Instant;
use crate::vrrp::settings::LinkDelays;

/// Links that are otherwise than they count, and since when that counts.
#[derive(Debug, Default)]
pub(in crate::vrrp) struct DelayedLinks {
    changes: BTreeMap<LinkIndex, (Instant, Link)>,
}

impl DelayedLinks {
    /// A link as it counts now: as `before`, until its change has lasted.
    pub(in crate::vrrp) fn counts_as(
        &mut self,
        link: Link,
        before: Option<&Link>,
        delays: &BTreeMap<String, LinkDelays>,
        now: Instant,
    ) -> Link {
        let Some(before) = before.filter(|before| before.is_working() != link.is_working()) else {
            self.changes.remove(&link.index);
            return link;
        };
        let delay = delays.get(&link.name).map(|d| if link.is_working() { d.up } else { d.down });
        let Some(delay) = delay.filter(|delay| *delay > Duration::ZERO) else { return link };
        let counts_as = Link { is_up: before.is_up, is_running: before.is_running, ..link.clone() };
        let due = self.changes.get(&link.index).map_or(now + delay, |(due, _)| *due);
        self.changes.insert(link.index, (due, link));
        counts_as
    }

    /// A link went.
    pub(in crate::vrrp) fn forget(&mut self, link: LinkIndex) {
        self.changes.remove(&link);
    }

    /// Forgets links that are not on the host any more.
    pub(in crate::vrrp) fn keep_only(&mut self, host: &Host) {
        self.changes.retain(|index, _| host.links.contains_key(index));
    }

    /// Those whose change has lasted.
    pub(in crate::vrrp) fn take_due(&mut self, now: Instant) -> Vec<Link> {
        let due: Vec<LinkIndex> =
            self.changes.iter().filter(|(_, (at, _))| *at <= now).map(|(index, _)| *index).collect();
        due.into_iter().filter_map(|index| self.changes.remove(&index)).map(|(_, link)| link).collect()
    }

    /// When a link that came up counts as up.
    pub(in crate::vrrp) fn comes_up(&self, link: LinkIndex) -> Option<Instant> {
        self.changes.get(&link).filter(|(_, link)| link.is_working()).map(|(at, _)| *at)
    }

    /// When the next one has lasted.
    pub(in crate::vrrp) fn deadline(&self) -> Option<Instant> {
        self.changes.values().map(|(at, _)| *at).min()
    }
}
