//! Addresses of a host without a kernel.

use std::net::{IpAddr, Ipv6Addr};

use rustix::io::Errno;

use super::{MemoryHost, NAME_LIMIT, Refused};
use crate::net::types::{Address, HeldAddress, HostEvent, IFA_F_NODAD, LinkIndex, Prefix};

pub(super) const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;

impl MemoryHost {
    pub(super) fn add(&mut self, address: &Address, protocol: u8) -> Result<(), Refused> {
        let link = self.find_link(&address.link)?.clone();
        let (ip, prefix) = (address.prefix.ip, address.prefix);
        let longest = Prefix::host(ip).length;
        if prefix.length > longest || ip.is_unspecified() || ip.is_multicast() {
            return Err((Errno::INVAL, format!("{prefix} is no address for a link")));
        }
        if address.label.as_ref().is_some_and(|label| label.len() > NAME_LIMIT) {
            return Err((Errno::RANGE, "a label has at most 15 bytes".into()));
        }
        let there = self.held_by(link.index).into_iter().find(|held| {
            // On a link an IPv6 address is there once, an IPv4 one once for each length.
            held.prefix.ip == ip && (ip.is_ipv6() || held.prefix.length == prefix.length)
        });
        if let Some(there) = there {
            let is_other_length = there.prefix != prefix;
            let is_as_wanted = self.given.get(&(link.index, prefix)).is_none_or(|given| given == address);
            if is_other_length || (is_as_wanted && (ip.is_ipv6() || there.scope == address.scope)) {
                return Ok(());
            }
            self.remove(link.index, prefix, true);
        }
        let other = self.held_by(link.index).into_iter().find(|held| {
            held.prefix.network() == prefix.network() && ip.is_ipv4() && held.scope != address.scope
        });
        if other.is_some() {
            return Err((Errno::INVAL, format!("{prefix}: the others of its network have another scope")));
        }
        if ip.is_ipv6() && !link.is_up {
            return Err((Errno::NETDOWN, format!("{} is switched off", address.link)));
        }
        let is_tentative = ip.is_ipv6() && address.flags & IFA_F_NODAD == 0;
        let scope = match ip {
            IpAddr::V6(ip) => ipv6_scope(ip),
            IpAddr::V4(_) => address.scope,
        };
        self.hold(HeldAddress {
            scope,
            protocol,
            is_unusable: is_tentative,
            is_deprecated: address.preferred_lifetime == Some(0),
            far: address.peer.map(|peer| peer.ip).filter(|far| *far != ip),
            ..HeldAddress::plain(link.index, prefix)
        });
        self.given.insert((link.index, prefix), address.clone());
        Ok(())
    }

    /// Takes an address away; the others of its network stay if they are promoted.
    pub(super) fn remove(&mut self, link: LinkIndex, prefix: Prefix, promotes: bool) {
        let Some(held) = self.held_by(link).into_iter().find(|held| held.prefix == prefix) else { return };
        let secondaries: Vec<_> = self
            .held_by(link)
            .into_iter()
            .filter(|other| !held.is_secondary && other.is_secondary && other.shares_network(&held))
            .collect();
        if !promotes {
            for other in &secondaries {
                self.forget(other);
            }
        }
        self.forget(&held);
        if let Some(heir) = secondaries.first().filter(|_| promotes) {
            let heir = HeldAddress { is_secondary: false, ..*heir };
            self.host.addresses.insert(heir);
            self.events.push_back(HostEvent::Address(heir));
        }
        if prefix.ip.is_ipv4() && !self.has_ipv4(link) {
            self.lose_ipv4_routes_of(link);
        }
    }

    /// Gives a link an address that it does not have.
    pub(super) fn hold(&mut self, new: HeldAddress) {
        let all = self.held_by(new.link);
        if all.iter().any(|held| held.prefix == new.prefix) {
            return;
        }
        let is_secondary = all.iter().any(|held| held.shares_network(&new));
        let new = HeldAddress { is_secondary, ..new };
        self.host.addresses.insert(new);
        self.events.push_back(HostEvent::Address(new));
    }

    pub(super) fn hold_link_local(&mut self, index: LinkIndex) {
        let Some(mac) = self.host.links.get(&index).and_then(|link| link.mac) else { return };
        let [a, b, c, d, e, f] = mac.0;
        let ip = Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
        let prefix = Prefix { ip: ip.into(), length: 64 };
        self.hold(HeldAddress { scope: SCOPE_LINK, ..HeldAddress::plain(index, prefix) });
    }

    /// Takes an address away, and the routes that have it as their source.
    pub(super) fn forget(&mut self, held: &HeldAddress) {
        if self.host.addresses.remove(held.link, held.prefix) {
            self.given.remove(&(held.link, held.prefix));
            self.events.push_back(HostEvent::AddressGone(*held));
            self.lose_routes_from(held.prefix.ip);
        }
    }

    pub(super) fn has_ipv4(&self, link: LinkIndex) -> bool {
        self.held_by(link).iter().any(|held| held.prefix.ip.is_ipv4())
    }

    pub(super) fn held_by(&self, link: LinkIndex) -> Vec<HeldAddress> {
        self.host.addresses.listed(link)
    }
}

/// IPv6 addresses have the scope their bits say.
fn ipv6_scope(ip: Ipv6Addr) -> u8 {
    if ip.is_loopback() {
        SCOPE_HOST
    } else if ip.is_unicast_link_local() {
        SCOPE_LINK
    } else {
        0
    }
}
