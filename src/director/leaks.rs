//! Real servers that answer ARP for a VIP: told by whoever asked the network, told on when it changes.
//!
//! Their neighbours send some clients straight there. That is none of the kernel's table, so nobody is taken out for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::colocated;
use super::event::Event;
use super::{Director, Life};
use crate::config::{Config, VirtualServerId};
use crate::net::types::MacAddress;

/// By VIP and real server: the link-layer address it answers with.
pub type Leaks = BTreeMap<(IpAddr, IpAddr), MacAddress>;

/// The real servers among those who claim a VIP, by what each link-layer address is known as; `holds` says which VIPs
/// this host has itself. Whoever is a director, too, may be the active one while this host is not.
pub fn find(
    config: &Config,
    own: &BTreeSet<IpAddr>,
    holds: impl Fn(IpAddr) -> bool,
    claims: &BTreeSet<(Ipv4Addr, MacAddress)>,
    names: &BTreeMap<MacAddress, BTreeSet<IpAddr>>,
) -> Leaks {
    let directors: BTreeSet<IpAddr> =
        colocated::find(config, own, true).into_values().flat_map(|found| found.peers).collect();
    let mut found = Leaks::new();
    for (vip, mac) in claims {
        let vip = IpAddr::V4(*vip);
        let servers = config.virtual_servers.iter().filter(|server| server.id.address() == Some(vip));
        let mut reals = servers.flat_map(|server| &server.real_servers).map(|real| real.address.ip());
        let real = reals.find(|ip| names.get(mac).is_some_and(|names| names.contains(ip)));
        if let Some(real) = real.filter(|real| holds(vip) || !directors.contains(real)) {
            found.insert((vip, real), *mac);
        }
    }
    found
}

/// The VIPs and real servers that are asked for, where somebody's way is checked.
pub fn questions(config: &Config) -> Option<(BTreeSet<Ipv4Addr>, BTreeSet<Ipv4Addr>)> {
    let reals = || config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    reals().any(|real| real.path_check.is_some()).then(|| everybody(config))
}

/// All VIPs and real servers of IPv4.
pub fn everybody(config: &Config) -> (BTreeSet<Ipv4Addr>, BTreeSet<Ipv4Addr>) {
    let v4 = crate::net::holders::v4;
    let servers = || config.virtual_servers.iter();
    let vips = servers().filter_map(|server| v4(server.id.address()?)).collect();
    let reals = servers().flat_map(|server| &server.real_servers);
    (vips, reals.filter_map(|real| v4(real.address.ip())).collect())
}

impl Director {
    /// These answer for VIPs, and no others.
    pub(super) fn leaks_are(&mut self, leaks: Leaks, events: &mut Vec<Event>) {
        if self.life != Life::Running {
            return;
        }
        let before = std::mem::replace(&mut self.leaks, leaks);
        let keys: BTreeSet<_> = before.keys().chain(self.leaks.keys()).copied().collect();
        for (vip, real) in keys {
            let mac = self.leaks.get(&(vip, real)).copied();
            if before.get(&(vip, real)).copied() == mac {
                continue;
            }
            // Of a VIP's many virtual servers, the first speaks for all.
            let of_vip = |id: &&VirtualServerId| id.address() == Some(vip);
            let mut pools = self.pools.iter().filter(|(id, _)| of_vip(id));
            let found =
                pools.find_map(|(id, pool)| Some((*id, *pool.members.keys().find(|at| at.ip() == real)?)));
            if let Some((virtual_server, real_server)) = found {
                events.push(Event::Leak { virtual_server, real_server, mac });
            }
        }
    }

    /// The link-layer address by which a real server answers for a VIP.
    pub(super) fn leak(&self, id: VirtualServerId, real: IpAddr) -> Option<MacAddress> {
        self.leaks.get(&(id.address()?, real)).copied()
    }
}
