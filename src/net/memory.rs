//! A host without a kernel: performs [`Op`]s on a [`Host`] and announces [`HostEvent`], as the kernel does.
//!
//! For simulated worlds. It keeps what surprises people: an IPv6 link that is switched off loses its addresses; the
//! first address of an IPv4 network is its primary one, and takes the others with it when it is removed; IPv4
//! routes go silently when their link goes down, loses its last IPv4 address, or their source address goes;
//! routes, rules and addresses stay when the program that added them dies. Everything else is announced, one's own
//! changes too. [`super::conformance`] holds it to the kernel.

mod addresses;
mod routing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv6Addr};

use rustix::io::Errno;

use super::types::{
    Address, HeldAddress, Host, HostEvent, Link, LinkIndex, MacAddress, Op, PROTOCOL, Prefix, Refusal, Route,
    Rule, Vmac,
};

/// Bytes of a link's name (IFNAMSIZ less the NUL).
const NAME_LIMIT: usize = 15;

/// Why an operation was refused: errno and words.
type Refused = (Errno, String);

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct MemoryHost {
    host: Host,
    /// What the attributes of an address were, where they were given by an [`Op`].
    given: BTreeMap<(LinkIndex, Prefix), Address>,
    /// Macvlans made by an [`Op`].
    vmacs: BTreeSet<LinkIndex>,
    events: VecDeque<HostEvent>,
    /// How many of the next operations are refused.
    refusing: usize,
    next_index: u32,
    /// Whether the others of its network survive a first address (promote_secondaries).
    promotes_secondaries: bool,
}

impl Default for MemoryHost {
    fn default() -> MemoryHost {
        MemoryHost::new()
    }
}

impl MemoryHost {
    /// A host with nothing but `lo`.
    pub(crate) fn new() -> MemoryHost {
        let mut this = MemoryHost {
            host: Host::default(),
            given: BTreeMap::new(),
            vmacs: BTreeSet::new(),
            events: VecDeque::new(),
            refusing: 0,
            next_index: 1,
            promotes_secondaries: true,
        };
        let index = this.insert_link(Link { mtu: 65536, ..Link::plain(LinkIndex(0), "lo") });
        this.host.links.change(index, |lo| lo.is_loopback = true);
        for (ip, length) in [(IpAddr::from([127, 0, 0, 1]), 8), (Ipv6Addr::LOCALHOST.into(), 128)] {
            this.hold(HeldAddress { scope: 254, ..HeldAddress::plain(index, Prefix { ip, length }) });
        }
        this.events.clear();
        this
    }

    /// What the host has.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    /// Its routes, but for those that follow from addresses.
    pub(crate) fn routes(&self) -> &BTreeSet<Route> {
        &self.host.routes
    }

    /// Its rules, but for the three every host has.
    pub(crate) fn rules(&self) -> &BTreeSet<Rule> {
        &self.host.rules
    }

    /// The links that hold an address, with any prefix length.
    pub(crate) fn holders(&self, ip: IpAddr) -> BTreeSet<LinkIndex> {
        self.host.addresses.iter().filter(|held| held.prefix.ip == ip).map(|held| held.link).collect()
    }

    /// What changed since it was last asked, oldest first.
    pub(crate) fn take_events(&mut self) -> Vec<HostEvent> {
        self.events.drain(..).collect()
    }

    /// The oldest change that has not been asked for.
    pub(crate) fn next_event(&mut self) -> Option<HostEvent> {
        self.events.pop_front()
    }

    /// Plugs a card in, switched on and with carrier; its IPv6 link-local address follows from its MAC address.
    pub(crate) fn add_link(&mut self, name: &str, mac: MacAddress) -> LinkIndex {
        let index = self.insert_link(Link { mac: Some(mac), mtu: 1500, ..Link::plain(LinkIndex(0), name) });
        self.hold_link_local(index);
        index
    }

    /// Pulls it out.
    pub(crate) fn remove_link(&mut self, index: LinkIndex) {
        let above: Vec<_> = self.above(index);
        for above in above {
            self.remove_link(above);
        }
        // It is switched off first, and that is told.
        self.set_up(index, false);
        for held in self.held_by(index) {
            self.forget(&held);
        }
        self.lose_routes_of(index, true);
        self.vmacs.remove(&index);
        if self.host.links.remove(index).is_some() {
            self.events.push_back(HostEvent::LinkGone(index));
        }
    }

    /// Switches a link on or off. Off, it loses its IPv6 addresses and its routes.
    pub(crate) fn set_up(&mut self, index: LinkIndex, is_up: bool) {
        if self.host.links.get(&index).is_none_or(|link| link.is_up == is_up) {
            return;
        }
        self.change_link(index, |link| link.is_up = is_up);
        if is_up {
            if !self.vmacs.contains(&index) {
                self.hold_link_local(index);
            }
        } else {
            for held in self.held_by(index) {
                if held.prefix.ip.is_ipv6() && held.prefix.ip != IpAddr::V6(Ipv6Addr::LOCALHOST) {
                    self.forget(&held);
                }
            }
            self.lose_routes_of(index, false);
        }
        self.follow(index);
    }

    /// Gives a link a carrier, or takes it.
    pub(crate) fn set_running(&mut self, index: LinkIndex, is_running: bool) {
        self.change_link(index, |link| link.is_running = is_running);
        self.follow(index);
    }

    /// Gives a link another name; what is on it stays.
    pub(crate) fn rename(&mut self, index: LinkIndex, name: &str) {
        if self.host.link(name).is_some() {
            return;
        }
        let old = self.host.links.get(&index).map(|link| link.name.clone());
        self.change_link(index, |link| link.name = name.to_owned());
        let routes = std::mem::take(&mut self.host.routes).into_iter();
        self.host.routes = routes
            .map(|mut route| {
                for hop in route.hops.iter_mut().filter(|hop| hop.link == old) {
                    hop.link = Some(name.to_owned());
                }
                route
            })
            .collect();
    }

    /// Gives a link another MAC address; its addresses stay.
    pub(crate) fn set_mac(&mut self, index: LinkIndex, mac: MacAddress) {
        self.change_link(index, |link| link.mac = Some(mac));
    }

    /// Makes a link a port of a bridge or bond, or of none.
    pub(crate) fn set_port_of(&mut self, index: LinkIndex, master: Option<LinkIndex>) {
        self.change_link(index, |link| (link.master, link.is_port) = (master, master.is_some()));
    }

    /// Adds an address as an operator does; what is refused is no matter.
    pub(crate) fn add_address(&mut self, link: &str, prefix: Prefix) {
        let _ = self.add(&Address::plain(link, prefix), 0);
    }

    /// Removes an address as an operator does, or a DHCP client: where the link does not promote secondary addresses,
    /// they go with it.
    pub(crate) fn remove_address(&mut self, link: &str, prefix: Prefix) {
        if let Some(index) = self.host.link(link).map(|link| link.index) {
            self.remove(index, prefix, self.promotes_secondaries);
        }
    }

    /// An address that is there becomes another in its attributes: deprecated, for instance.
    pub(crate) fn change_address(&mut self, prefix: Prefix, change: impl Fn(&mut HeldAddress)) {
        let all: Vec<_> = self.host.addresses.iter().filter(|held| held.prefix == prefix).copied().collect();
        for mut held in all {
            change(&mut held);
            self.host.addresses.insert(held);
            self.events.push_back(HostEvent::Address(held));
        }
    }

    /// A route or rule goes without being announced, as by a kernel whose events were lost.
    pub(crate) fn lose_silently(&mut self, route: Option<&Route>, rule: Option<&Rule>) {
        self.host.routes.retain(|there| route.is_none_or(|lost| !lost.is_same(there)));
        self.host.rules.retain(|there| rule.is_none_or(|lost| !lost.is_same(there)));
    }

    /// Duplicate address detection ended: addresses that were tentative can be used, or cannot.
    pub(crate) fn end_duplicate_detection(&mut self, is_unique: bool) {
        let tentative: Vec<_> = self.host.addresses.iter().filter(|held| held.is_unusable).copied().collect();
        for held in tentative.into_iter().filter(|_| is_unique) {
            let usable = HeldAddress { is_unusable: false, ..held };
            self.host.addresses.insert(usable);
            self.events.push_back(HostEvent::Address(usable));
        }
    }

    /// Refuses the next `count` operations with EIO.
    pub(crate) fn refuse(&mut self, count: usize) {
        self.refusing = count;
    }

    /// Whether the others of its network survive when a first address goes (net.ipv4.conf.*.promote_secondaries).
    pub(crate) fn set_promotes_secondaries(&mut self, promotes: bool) {
        self.promotes_secondaries = promotes;
    }

    /// Performs operations in order; what was refused stops none of the others.
    pub(crate) fn apply(&mut self, ops: &[Op]) -> Vec<Refusal> {
        ops.iter()
            .filter_map(|op| {
                let (errno, text) = self.apply_one(op).err()?;
                Some(Refusal { op: op.clone(), errno: errno.raw_os_error(), text })
            })
            .collect()
    }

    fn apply_one(&mut self, op: &Op) -> Result<(), Refused> {
        if let Some(left) = self.refusing.checked_sub(1) {
            self.refusing = left;
            return Err((Errno::IO, "input/output error".into()));
        }
        match op {
            Op::AddAddress(address) => self.add(address, PROTOCOL),
            Op::RemoveAddress { link, prefix } => {
                self.remove(*link, *prefix, true);
                Ok(())
            }
            Op::AddRoute(route) => self.add_route(route),
            Op::RemoveRoute(route) => {
                self.remove_route(route);
                Ok(())
            }
            Op::AddRule(rule) => self.add_rule(rule),
            Op::RemoveRule(rule) => {
                self.remove_rule(rule);
                Ok(())
            }
            Op::AddVmac(vmac) => self.add_vmac(vmac),
            Op::RemoveVmac(vmac) => {
                let own = self.host.link(&vmac.name).map(|link| link.index);
                if let Some(index) = own.filter(|index| self.vmacs.contains(index)) {
                    self.remove_link(index);
                }
                Ok(())
            }
        }
    }

    fn add_vmac(&mut self, vmac: &Vmac) -> Result<(), Refused> {
        let base = self.find_link(&vmac.base)?.clone();
        let mac = MacAddress(vmac.mac);
        if vmac.name.is_empty() || vmac.name.len() > NAME_LIMIT {
            return Err((Errno::RANGE, format!("{:?} is no link's name", vmac.name)));
        }
        let mut existing = self.host.link(&vmac.name).cloned();
        // One of ours below which the base was renamed, and another link has the name.
        if let Some(link) = existing.take_if(|l| self.vmacs.contains(&l.index) && l.base != Some(base.index))
        {
            self.remove_link(link.index);
        }
        let index = match existing {
            None => {
                // As in Linux it is made switched off, and is heard of like that.
                let link = Link {
                    mac: Some(mac),
                    mtu: base.mtu,
                    base: Some(base.index),
                    ..Link::plain(LinkIndex(0), &vmac.name)
                };
                let index = self.insert_link(Link { is_up: false, is_running: false, ..link });
                self.vmacs.insert(index);
                index
            }
            Some(link) if self.vmacs.contains(&link.index) && link.base == Some(base.index) => link.index,
            Some(_) => {
                let text =
                    format!("a link {} is there and is no private macvlan on {}", vmac.name, vmac.base);
                return Err((Errno::EXIST, text));
            }
        };
        self.change_link(index, |link| {
            link.mac = Some(mac);
            link.is_up = true;
        });
        self.follow(base.index);
        Ok(())
    }

    fn find_link(&self, name: &str) -> Result<&Link, Refused> {
        self.host.link(name).ok_or_else(|| (Errno::NODEV, format!("there is no link {name}")))
    }

    /// Gives a link its number.
    fn insert_link(&mut self, link: Link) -> LinkIndex {
        let index = LinkIndex(self.next_index);
        self.next_index += 1;
        let link = Link { index, ..link };
        self.host.links.insert(link.clone());
        self.events.push_back(HostEvent::Link(link));
        index
    }

    /// Changes a link and tells, if there is something to tell.
    fn change_link(&mut self, index: LinkIndex, change: impl FnOnce(&mut Link)) {
        let before = self.host.links.get(&index).cloned();
        self.host.links.change(index, change);
        let after = self.host.links.get(&index).cloned();
        if after != before {
            self.events.extend(after.map(HostEvent::Link));
        }
    }

    /// A macvlan has a carrier while its base works.
    fn follow(&mut self, base: LinkIndex) {
        let works = self.host.links.get(&base).is_some_and(Link::is_working);
        for above in self.above(base) {
            self.change_link(above, |link| link.is_running = works);
        }
    }

    fn above(&self, base: LinkIndex) -> Vec<LinkIndex> {
        self.host.links.values().filter(|link| link.base == Some(base)).map(|link| link.index).collect()
    }
}

/// fe80::/10.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}

#[cfg(test)]
mod tests;
