//! The owner of an address that is there: lvsd, which may remove it, or the host, whose own addresses always stay.
//!
//! What lvsd added in this life is its own, and what carries its mark (IFA_PROTO). Without a mark, an address counts as
//! left over from an earlier life, or from keepalived, only if it is exactly a configured virtual address and the host
//! does not live by it.

use super::{AddressKey, AddressReconciler};
use crate::net::types::{HeldAddress, Host, Link};
use crate::vrrp::event::Event;

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// lvsd added it.
    Lvsd,
    /// It is a virtual address that a dead program left behind.
    LeftOver,
    /// The host's own.
    Host,
}

impl AddressReconciler {
    /// Whose a virtual address is that is there.
    pub(crate) fn owner(&self, host: &Host, link: &Link, held: &HeldAddress) -> Owner {
        let key: AddressKey = (link.name.clone(), held.prefix);
        if self.ours.contains_key(&key) {
            return Owner::Lvsd;
        }
        if self.hosts_own.contains(&key) {
            return Owner::Host;
        }
        if held.is_marked() {
            return Owner::LeftOver;
        }
        let place = (link.name.clone(), held.prefix.ip);
        let is_of_an_owner = self.desired.owned_by_host.contains(&place);
        let is_exact = self.desired.exact.contains(&key);
        if is_of_an_owner || !is_exact || self.desired.sources.contains(&held.prefix.ip) {
            return Owner::Host;
        }
        let is_lvsds = self.desired.inherited.contains(&key)
            || self.desired.vmacs.iter().any(|vmac| vmac.name == link.name)
            || self.vmacs.contains_key(&link.name);
        if !is_lvsds && self.is_needed(host, held, link) { Owner::Host } else { Owner::LeftOver }
    }

    /// Whether the host would lose a network with this address, or every route through the link.
    fn is_needed(&self, host: &Host, held: &HeldAddress, link: &Link) -> bool {
        let is_own = |other: &&HeldAddress| {
            let place = (link.name.clone(), other.prefix.ip);
            let is_virtual = self.is_forbidden(&place.0, place.1)
                && !self.hosts_own.contains(&(place.0, other.prefix))
                && !self.desired.sources.contains(&place.1);
            let is_same_family = other.prefix.ip.is_ipv4() == held.prefix.ip.is_ipv4();
            other.link == held.link && *other != held && is_same_family && !is_virtual
        };
        let mut others = host.addresses.iter().filter(is_own);
        let (length, is_ipv4) = (held.prefix.length, held.prefix.ip.is_ipv4());
        match length < if is_ipv4 { 32 } else { 128 } {
            true => !others.any(|other| held.prefix.contains(other.prefix.ip)),
            false => is_ipv4 && others.next().is_none(),
        }
    }

    /// Finds the host's own among what is configured as virtual.
    pub(crate) fn find_hosts_own(&mut self, host: &Host) {
        let own: Vec<AddressKey> = host
            .addresses
            .iter()
            .filter_map(|held| Some((host.links.get(&held.link)?, held)))
            .filter(|(link, held)| self.is_forbidden(&link.name, held.prefix.ip))
            .filter(|(link, held)| self.owner(host, link, held) == Owner::Host)
            .map(|(link, held)| (link.name.clone(), held.prefix))
            .collect();
        own.into_iter().for_each(|key| self.keep_hosts_own(key));
    }

    /// An address stays that is configured as a virtual one: said once, unless its owner's priority says so, too.
    pub(crate) fn keep_hosts_own(&mut self, key: AddressKey) {
        let place = (key.0.clone(), key.1.ip);
        // A static address need not be added by lvsd to be there.
        let is_expected =
            self.desired.owned_by_host.contains(&place) || !self.desired.forbidden.contains(&place);
        if self.hosts_own.insert(key.clone()) && !is_expected {
            self.events.push(Event::HostsOwn { prefix: key.1, link: key.0 });
        }
    }

    /// Whether an address of a link is the host's own, so that advertisements can come from it though it is configured
    /// as a virtual one; where the file says both of it, the contradiction is a fault.
    pub(crate) fn can_be_source(&self, link: &str, ip: std::net::IpAddr) -> bool {
        self.is_hosts_own(link, ip) && !self.desired.sources.contains(&ip)
    }

    /// Whether an address of a link is the host's own, with any prefix length.
    pub(crate) fn is_hosts_own(&self, link: &str, ip: std::net::IpAddr) -> bool {
        let first = (link.to_owned(), crate::net::types::Prefix { ip, length: 0 });
        self.hosts_own.range(first..).next().is_some_and(|(l, prefix)| l == link && prefix.ip == ip)
    }
}
