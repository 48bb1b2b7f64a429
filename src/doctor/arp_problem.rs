//! The ARP problem: hosts that answer for a VIP and should not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::{Finding, Fix, Severity, View, routers};
use crate::config::{Config, VirtualServer};
use crate::director::arp_problem;
use crate::ipvs::types::Forwarding;
use crate::net::types::MacAddress;

pub(super) fn check(config: &Config, view: &View<'_>, found: &mut Vec<Finding>) {
    let mut vips: BTreeMap<IpAddr, BTreeSet<MacAddress>> = BTreeMap::new();
    view.holders.iter().for_each(|(ip, mac)| {
        vips.entry(*ip).or_default().insert(*mac);
    });
    for (vip, macs) in vips {
        found.extend(of_vip(config, view, vip, &macs));
    }
}

fn of_vip(config: &Config, view: &View<'_>, vip: IpAddr, macs: &BTreeSet<MacAddress>) -> Vec<Finding> {
    let servers: Vec<&VirtualServer> =
        config.virtual_servers.iter().filter(|server| server.id.address() == Some(vip)).collect();
    let is_held = view.network.addresses.iter().any(|held| {
        let link = view.network.links.get(&held.link);
        held.prefix.ip == vip && link.is_some_and(|link| !link.is_loopback && !link.is_silent)
    });
    let leaks = arp_problem::find(
        config,
        &view.host.own,
        |_| is_held,
        &macs.iter().map(|mac| (vip, *mac)).collect(),
        &view.names,
    );
    let question = arp_problem::question(vip);
    let mut found = Vec::new();
    let mut others = Vec::new();
    for mac in macs {
        let leaked = leaks.iter().find(|(_, by)| *by == mac).map(|((_, real), _)| *real);
        let mut reals = servers.iter().flat_map(|server| &server.real_servers);
        match leaked.and_then(|ip| reals.find(|real| real.address.ip() == ip)) {
            Some(real) => {
                let ip = real.address.ip();
                let fix = silence(vip, real.forwarding);
                found.push(Finding {
                    severity: Severity::Broken,
                    what: format!("real server {ip} answers {question} for VIP {vip}"),
                    evidence: format!("asked who has {vip}, {mac} ({ip}) answered"),
                    why: "neighbours send some clients directly to it: no balancing, no health checks, no \
                          persistence, and it comes and goes with their neighbour caches"
                        .to_owned(),
                    fix: Some(Fix::On(ip, fix)),
                });
            }
            None => others.push(*mac),
        }
    }
    // One that is no real server is the active director, while this host is not.
    if others.len() > usize::from(!is_held) {
        let who: Vec<String> = others.iter().map(|mac| name(view, *mac)).collect();
        let answered = format!("asked who has {vip}, {} answered", who.join(" and "));
        let (evidence, fix) = match routers::why_both(config, view, vip) {
            Some((why, fix)) => (format!("{answered}; {why}"), fix),
            None => (
                answered,
                format!(
                    "find that host by its link-layer address and take {vip} from it; two directors that both \
                     are Master do \
                     not hear each other"
                ),
            ),
        };
        found.push(Finding {
            severity: Severity::Broken,
            what: match is_held {
                true => format!("another host has VIP {vip}, too"),
                false => format!("{} hosts have VIP {vip}", others.len()),
            },
            evidence,
            why: "clients send to the host that answered last".to_owned(),
            fix: Some(Fix::ByHand(fix)),
        });
    }
    found
}

/// The command that keeps a real server from answering for the VIP.
fn silence(vip: IpAddr, forwarding: Forwarding) -> String {
    let up = match forwarding {
        Forwarding::Dr => format!("lvsd real-server up --vip {vip}"),
        Forwarding::Tun(_) => format!("lvsd real-server up --vip {vip} --method tun"),
        // NAT needs no VIP there.
        _ => return format!("ip addr flush to {vip}"),
    };
    // IPv6 is asked by link: a host that answers has the VIP on one of the network's links.
    if vip.is_ipv6() { format!("ip addr flush to {vip} && {up}") } else { up }
}

/// `02:00:00:00:00:09 (10.1.0.9)`.
fn name(view: &View<'_>, mac: MacAddress) -> String {
    match view.names.get(&mac).and_then(|names| names.first()) {
        Some(ip) => format!("{mac} ({ip})"),
        None => mac.to_string(),
    }
}
