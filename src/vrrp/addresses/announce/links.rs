//! Links that carry announcements now, and those whose addresses have to be announced anew.
//!
//! The state of a link here is the kernel's, without `interface_up_down_delays`. Neighbours and switches may have outdated
//! entries for a link's addresses after the link had no carrier, got another MAC address, or was put into another bridge
//! or bond: then its addresses are announced again.

use std::collections::{BTreeMap, BTreeSet};

use crate::net::types::{Host, Link, LinkIndex, MacAddress};

/// How a link announces: what neighbours remember, and where a switch learns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    mac: MacAddress,
    master: Option<LinkIndex>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct AnnounceableLinks {
    links: BTreeMap<LinkIndex, Identity>,
    renewed: BTreeSet<LinkIndex>,
}

impl AnnounceableLinks {
    /// All links of a host.
    pub(crate) fn read(&mut self, host: &Host) {
        self.links.retain(|index, _| host.links.contains_key(index));
        for link in host.links.values() {
            self.see(link);
        }
    }

    /// A link is there, or changed.
    pub(crate) fn see(&mut self, link: &Link) {
        let identity =
            link.mac.filter(|_| link.is_working()).map(|mac| Identity { mac, master: link.master });
        let before = match identity {
            Some(identity) => self.links.insert(link.index, identity),
            None => self.links.remove(&link.index),
        };
        if identity.is_none() {
            self.renewed.remove(&link.index);
        } else if before != identity {
            self.renewed.insert(link.index);
        }
    }

    /// A link went.
    pub(crate) fn forget(&mut self, link: LinkIndex) {
        self.links.remove(&link);
        self.renewed.remove(&link);
    }

    /// The MAC address to announce with; None while nothing can leave.
    pub(crate) fn mac(&self, link: LinkIndex) -> Option<MacAddress> {
        self.links.get(&link).map(|identity| identity.mac)
    }

    /// Links that came, came back or changed since this was last asked.
    pub(crate) fn take_renewed(&mut self) -> BTreeSet<LinkIndex> {
        std::mem::take(&mut self.renewed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const E0: LinkIndex = LinkIndex(2);

    fn link() -> Link {
        Link { mac: Some(MacAddress([2, 0, 0, 0, 0, 1])), ..Link::plain(E0, "e0") }
    }

    #[test]
    fn a_link_is_announced_on_while_it_works_and_anew_after_each_change_neighbours_cannot_know() {
        let mut links = AnnounceableLinks::default();
        let mut renews = |link: &Link| {
            links.see(link);
            (links.mac(E0).is_some(), !links.take_renewed().is_empty())
        };
        assert_eq!(renews(&link()), (true, true));
        assert_eq!(renews(&Link { mtu: 9000, name: "lan".into(), ..link() }), (true, false));
        assert_eq!(renews(&Link { is_running: false, ..link() }), (false, false));
        assert_eq!(renews(&link()), (true, true), "the carrier is back");
        assert_eq!(renews(&Link { is_up: false, ..link() }), (false, false));
        assert_eq!(renews(&link()), (true, true), "it is up again");
        let other = Link { mac: Some(MacAddress([2, 0, 0, 0, 0, 9])), ..link() };
        assert_eq!(renews(&other), (true, true), "another MAC address");
        assert_eq!(renews(&Link { master: Some(LinkIndex(7)), ..other.clone() }), (true, true));
        assert_eq!(renews(&Link { mac: None, ..other }), (false, false));
    }

    #[test]
    fn a_link_that_went_before_it_was_announced_on_is_forgotten() {
        let mut links = AnnounceableLinks::default();
        links.see(&link());
        links.forget(E0);
        assert_eq!((links.mac(E0), links.take_renewed().len()), (None, 0));
        links.see(&link());
        links.read(&Host::default());
        assert_eq!(links.mac(E0), None);
    }
}
