//! Real servers that answer ARP or neighbour solicitations for a VIP: `daemon::host_findings` asks the network, and changes
//! are reported.
//!
//! Their neighbours send some clients straight to them. The kernel's table cannot change that, so no server is taken out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::colocation;
use super::event::Event;
use super::{Director, Life};
use crate::config::{Config, VirtualServerId};
use crate::net::types::MacAddress;

/// By VIP and real server: the link-layer address it answers with.
pub(crate) type ArpProblems = BTreeMap<(IpAddr, IpAddr), MacAddress>;

/// Addresses that neighbours answered for, and the link-layer address they answered with.
pub(crate) type Claims = BTreeSet<(IpAddr, MacAddress)>;

/// By link-layer address: the addresses it is known as.
pub(crate) type Names = BTreeMap<MacAddress, BTreeSet<IpAddr>>;

/// The real servers among the hosts that claim a VIP, by what each link-layer address is known as; `holds` says which VIPs
/// this host has itself. A real server that is a director, too, may be the active one while this host is not.
pub(crate) fn find(
    config: &Config,
    own: &BTreeSet<IpAddr>,
    holds: impl Fn(IpAddr) -> bool,
    claims: &Claims,
    names: &Names,
) -> ArpProblems {
    let directors: BTreeSet<IpAddr> =
        colocation::find(config, own, true).into_values().flat_map(|found| found.peers).collect();
    let mut found = ArpProblems::new();
    for (vip, mac) in claims {
        let vip = *vip;
        let servers = config.virtual_servers.iter().filter(|server| server.id.address() == Some(vip));
        let mut reals = servers.flat_map(|server| &server.real_servers).map(|real| real.address.ip());
        let real = reals.find(|ip| names.get(mac).is_some_and(|names| names.contains(ip)));
        if let Some(real) = real.filter(|real| holds(vip) || !directors.contains(real)) {
            found.insert((vip, real), *mac);
        }
    }
    found
}

/// Whether the network is asked which hosts answer for VIPs: where a real server has a path_check.
pub(crate) fn is_needed(config: &Config) -> bool {
    let mut reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    reals.any(|real| real.path_check.is_some())
}

/// The addresses that clients know, those of virtual servers and of virtual routers, and all real servers'.
pub(crate) fn addresses_to_ask(config: &Config) -> (BTreeSet<IpAddr>, BTreeSet<IpAddr>) {
    let routers = config.vrrp.instances.iter();
    let held = routers.flat_map(|instance| instance.addresses.iter().chain(&instance.excluded));
    let servers = config.virtual_servers.iter();
    let vips = servers.clone().filter_map(|server| server.id.address());
    let reals = servers.flat_map(|server| &server.real_servers).map(|real| real.address.ip());
    (vips.chain(held.map(|address| address.wanted.prefix.ip)).collect(), reals.collect())
}

/// The hosts that answer for VIPs; and by which of the real servers' addresses each link-layer address is known.
pub(crate) fn answers(claims: Claims, vips: &BTreeSet<IpAddr>) -> (Claims, Names) {
    let (of_vips, others): (Claims, Claims) = claims.into_iter().partition(|(ip, _)| vips.contains(ip));
    let mut names = Names::new();
    for (ip, mac) in others {
        names.entry(mac).or_default().insert(ip);
    }
    (of_vips, names)
}

/// The protocol by which neighbours ask for a VIP.
pub(crate) fn question(vip: IpAddr) -> &'static str {
    if vip.is_ipv4() { "ARP" } else { "neighbour solicitations" }
}

impl Director {
    /// Takes all real servers that answer for VIPs; reports what changed.
    pub(super) fn on_arp_problems(&mut self, found: ArpProblems, events: &mut Vec<Event>) {
        if self.life != Life::Running {
            return;
        }
        let before = std::mem::replace(&mut self.arp_problems, found);
        let keys: BTreeSet<_> = before.keys().chain(self.arp_problems.keys()).copied().collect();
        for (vip, real) in keys {
            let mac = self.arp_problems.get(&(vip, real)).copied();
            if before.get(&(vip, real)).copied() == mac {
                continue;
            }
            // Of a VIP's many virtual servers, the first speaks for all.
            let of_vip = |id: &&VirtualServerId| id.address() == Some(vip);
            let mut pools = self.pools.iter().filter(|(id, _)| of_vip(id));
            let found = pools.find_map(|(id, pool)| {
                Some((*id, pool.members.values().find(|m| m.real_server.address.ip() == real)?))
            });
            if let Some((virtual_server, member)) = found {
                let real_server = member.real_server.named();
                events.push(Event::ArpProblem { virtual_server, real_server, mac });
            }
        }
    }

    /// The sentence for a real server that answers for a VIP; None where it does not.
    pub(super) fn arp_problem(&self, id: VirtualServerId, real: IpAddr) -> Option<String> {
        let vip = id.address()?;
        let mac = self.arp_problems.get(&(vip, real))?;
        Some(format!("answers {} for the VIP (MAC {mac})", question(vip)))
    }
}
