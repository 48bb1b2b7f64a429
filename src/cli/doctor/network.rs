//! What the network tells a director: who else has a VIP. Questions only; it refuses to judge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::Config;
use crate::net::holders::{self, Asker};
use crate::net::types::{HeldAddress, Host, LinkIndex, MacAddress};

/// Addresses that are asked for on one link, at most.
const QUESTIONS: usize = 1024;

/// The addresses that clients know: those of virtual servers and of virtual routers.
pub(super) fn vips(config: &Config) -> BTreeSet<IpAddr> {
    let routers = config.vrrp.instances.iter();
    let held = routers.flat_map(|instance| instance.addresses.iter().chain(&instance.excluded));
    let servers = config.virtual_servers.iter().filter_map(|server| server.id.address());
    servers.chain(held.map(|address| address.wanted.prefix.ip)).collect()
}

/// Who else in the network has a VIP, and which could be asked for; real servers are asked for as well, for their
/// link-layer addresses.
pub(super) fn ask(
    config: &Config,
    host: &Host,
    vips: &BTreeSet<IpAddr>,
    unseen: &mut Vec<String>,
) -> (BTreeSet<(IpAddr, MacAddress)>, BTreeSet<IpAddr>) {
    let reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let is_own = |ip: &IpAddr| host.addresses.iter().any(|held| held.prefix.ip == *ip);
    let reals: BTreeSet<IpAddr> = reals.map(|real| real.address.ip()).filter(|ip| !is_own(ip)).collect();
    let mut questions: BTreeMap<(LinkIndex, bool), BTreeSet<IpAddr>> = BTreeMap::new();
    for (all, is_vip) in [(vips, true), (&reals, false)] {
        for ip in all {
            let on = links_of(host, *ip, vips);
            if on.is_empty() && is_vip {
                unseen.push(format!("who else has VIP {ip}: no link of this host is in its network"));
            }
            for link in on {
                let asked = questions.entry((link, ip.is_ipv4())).or_default();
                if asked.len() < QUESTIONS {
                    asked.insert(*ip);
                } else if is_vip {
                    unseen
                        .push(format!("who else has VIP {ip}: more than {QUESTIONS} addresses on one link"));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    let mut asked = BTreeSet::new();
    for ((link, is_ipv4), addresses) in questions {
        match asker(host, link, is_ipv4, vips).map(|asker| holders::ask(&asker, &addresses)) {
            Some(Ok(claims)) => {
                found.extend(claims);
                asked.extend(addresses);
            }
            Some(Err(error)) => unseen.push(format!("who else has the VIPs: {error}")),
            None => {}
        }
    }
    let macs: BTreeSet<MacAddress> = host.links.values().filter_map(|link| link.mac).collect();
    found.retain(|(_, mac)| !macs.contains(mac));
    (found, asked)
}

/// The links neighbours of an address are on: those that have its network.
fn links_of(host: &Host, ip: IpAddr, vips: &BTreeSet<IpAddr>) -> BTreeSet<LinkIndex> {
    let networks = host.addresses.iter().filter(|held| held.prefix.length > 0 && held.prefix.contains(ip));
    let links = networks.map(|held| held.link);
    links.filter(|link| asker(host, *link, ip.is_ipv4(), vips).is_some()).collect()
}

/// How to ask on a link: from an address of it that is no VIP.
fn asker(host: &Host, link: LinkIndex, is_ipv4: bool, vips: &BTreeSet<IpAddr>) -> Option<Asker> {
    let shown =
        host.links.get(&link).filter(|link| link.is_working() && !link.is_loopback && !link.is_silent)?;
    let whole = if is_ipv4 { 32 } else { 128 };
    let is_fit = |held: &&HeldAddress| {
        let ip = held.prefix.ip;
        let is_shared = held.prefix.length < whole && !held.is_unusable;
        held.link == link && ip.is_ipv4() == is_ipv4 && is_shared && !vips.contains(&ip)
    };
    let own = host.addresses.iter().filter(is_fit).map(|held| held.prefix.ip);
    Some(Asker { link, mac: shown.mac?, ip: own.min()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{Link, Prefix};

    #[test]
    fn each_family_is_asked_for_from_an_own_address_of_the_link_that_is_no_vip() {
        let at = |text: &str, length| HeldAddress {
            link: LinkIndex(2),
            prefix: Prefix { ip: text.parse().unwrap(), length },
            scope: 0,
            is_secondary: false,
            is_unusable: text.ends_with("dead"),
        };
        let link = Link {
            index: LinkIndex(2),
            name: "eth0".to_owned(),
            mac: Some(MacAddress([2, 0, 0, 0, 0, 1])),
            is_up: true,
            is_running: true,
            is_loopback: false,
            is_silent: false,
            mtu: 1500,
            base: None,
        };
        let all = [
            at("10.1.0.5", 24),
            at("10.1.0.100", 24),
            at("10.1.0.11", 24),
            at("10.1.0.4", 32),
            at("fd00:1::dead", 64),
            at("fd00:1::11", 64),
            at("fd00:1::100", 128),
        ];
        let host = Host { links: [(LinkIndex(2), link)].into(), addresses: all.into() };
        let vips = ["10.1.0.100", "fd00:1::100", "10.1.0.5"].map(|ip| ip.parse().unwrap()).into();
        let from = |is_ipv4| asker(&host, LinkIndex(2), is_ipv4, &vips).unwrap().ip.to_string();
        assert_eq!((from(true), from(false)), ("10.1.0.11".to_owned(), "fd00:1::11".to_owned()));
        let on = |ip: &str| links_of(&host, ip.parse().unwrap(), &vips).len();
        assert_eq!((on("10.1.0.100"), on("fd00:1::100"), on("fd00:2::100"), on("10.2.0.1")), (1, 1, 0, 0));
    }
}
