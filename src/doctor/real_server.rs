//! Checks of a real server behind DR or TUN: what it lacks to accept packets for the VIP, and whether it announces it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Finding, Fix, Role, Severity, View};
use crate::config::Config;
use crate::host_setup::plan::{HostChange, plan};
use crate::host_setup::{Preparation, Vip, of_config};
use crate::ipvs::types::Forwarding;
use crate::net::types::{HeldAddress, Link};

pub(super) fn check(config: &Config, view: &View<'_>, role: Role, found: &mut Vec<Finding>) {
    let (vips, untold) = of_config(config, &view.host.own);
    found.extend(untold.into_iter().map(|text| Finding {
        severity: Severity::Hint,
        what: "a VIP is not known".to_owned(),
        evidence: text,
        why: "lvsd cannot tell whether this host accepts its packets".to_owned(),
        fix: Some(Fix::ByHand("lvsd real-server status --vip ADDR".to_owned())),
    }));
    let mut wanted = Preparation { vips: BTreeSet::new(), device: "lo".to_owned() };
    for vip in vips {
        let shorts: Vec<Finding> =
            hidden(view, vip.ip).filter(|(held, _)| is_short(held)).map(|at| short(view, vip, at)).collect();
        // An active director that is a real server, too, has the VIP where the network sees it.
        let is_active = role.is_director && shown(view, vip.ip).next().is_some();
        if shorts.is_empty() && !is_active {
            wanted.vips.insert(vip);
        }
        if !role.is_director {
            found.extend(answering(view, vip.ip));
        }
        found.extend(shorts);
    }
    let Some(prepared) = view.prepared else { return };
    match plan(&wanted, prepared) {
        Ok(plan) => {
            let is_elsewhere = |change: &HostChange| matches!(change, HostChange::AddAddress { link, ip } if link == "lo" && hidden(view, *ip).next().is_some());
            let lacking = plan.changes.iter().filter(|change| !is_elsewhere(change) && !change.is_spare());
            found.extend(lacking.map(|change| lacks(change, view)));
        }
        Err(text) => found.push(Finding {
            severity: Severity::Broken,
            what: "this host cannot be prepared".to_owned(),
            evidence: text,
            why: "packets for the VIP are not accepted, or neighbours learn the VIP at this host".to_owned(),
            fix: None,
        }),
    }
    let reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let mut translated =
        reals.filter(|r| r.forwarding == Forwarding::Nat && view.host.own.contains(&r.address.ip()));
    if let Some(real) = translated.next().filter(|_| !role.is_director) {
        found.push(Finding {
            severity: Severity::Hint,
            what: "NAT: replies of this host must leave by the director".to_owned(),
            evidence: format!("{} is a real server by NAT", real.address),
            why: "a reply that does not pass the director keeps this host's address, and its client drops it".to_owned(),
            fix: Some(Fix::ByHand(
                "ip route get CLIENT must name the director; clients of this host's own network need a route, too"
                    .to_owned(),
            )),
        });
    }
}

/// Links whose addresses are not announced to the network.
fn hidden<'a>(view: &'a View<'_>, ip: IpAddr) -> impl Iterator<Item = (&'a HeldAddress, &'a Link)> {
    at(view, ip).filter(|(_, link)| link.is_loopback || link.is_silent)
}

fn shown<'a>(view: &'a View<'_>, ip: IpAddr) -> impl Iterator<Item = (&'a HeldAddress, &'a Link)> {
    at(view, ip).filter(|(_, link)| !link.is_loopback && !link.is_silent)
}

fn at<'a>(view: &'a View<'_>, ip: IpAddr) -> impl Iterator<Item = (&'a HeldAddress, &'a Link)> {
    let all = view.network.addresses.iter().filter(move |held| held.prefix.ip == ip);
    all.filter_map(|held| Some((held, view.network.links.get(&held.link)?)))
}

fn is_short(held: &HeldAddress) -> bool {
    held.prefix.length != if held.prefix.ip.is_ipv4() { 32 } else { 128 }
}

fn short(view: &View<'_>, vip: Vip, (held, link): (&HeldAddress, &Link)) -> Finding {
    Finding {
        severity: Severity::Broken,
        what: format!("VIP {} has the prefix of its whole network on {}", vip.ip, link.name),
        evidence: format!("{} has {}", link.name, held.prefix),
        why: format!("this host takes all of {} for its own and answers none of it", held.prefix.network()),
        fix: Some(Fix::ByHand(format!("ip addr del {} dev {} && {}", held.prefix, link.name, view.prepare))),
    }
}

/// That links tell their neighbours of the VIP.
fn answering(view: &View<'_>, vip: IpAddr) -> Option<Finding> {
    let given = view.answers.iter().filter(|(ip, answer)| *ip == vip && answer.is_given);
    let evidence: Vec<String> = given.map(|(_, answer)| answer.to_string()).collect();
    let fix = match shown(view, vip).next() {
        Some((held, link)) => {
            Fix::ByHand(format!("ip addr del {} dev {} && {}", held.prefix, link.name, view.prepare))
        }
        None => Fix::Prepare(view.prepare.clone()),
    };
    (!evidence.is_empty()).then(|| Finding {
        severity: Severity::Broken,
        what: format!("this host answers its neighbours for VIP {vip}"),
        evidence: evidence.join("; "),
        why: "they send some clients directly to this host, past the director".to_owned(),
        fix: Some(fix),
    })
}

/// What a change that is due says of the host.
fn lacks(change: &HostChange, view: &View<'_>) -> Finding {
    let (severity, what, evidence, why) = match change {
        HostChange::AddAddress { link, .. } if link != "lo" => (
            Severity::Broken,
            format!("rp_filter drops what comes out of {link}"),
            format!(
                "net.ipv4.conf.all.rp_filter is {}, and {link} has no address",
                shown_value(view.prepared.and_then(|host| host.setting("ipv4", "all", "rp_filter")))
            ),
            "a loose filter drops every packet that arrives by a link without an address, too",
        ),
        HostChange::AddAddress { link, ip } => (
            Severity::Broken,
            format!("VIP {ip} is missing on {link}"),
            format!("{link} has no {ip}"),
            "what the director sends here is addressed to the VIP: this host drops it, and clients hang while the \
             director's checks of this host pass",
        ),
        HostChange::Setting { family, link, name, from, to } if name == "rp_filter" => (
            Severity::Broken,
            format!("rp_filter drops what comes out of {link}"),
            format!(
                "net.{family}.conf.{link}.rp_filter is {}, net.{family}.conf.all.rp_filter is {}; the larger counts, and {to} is needed",
                shown_value(*from),
                shown_value(view.prepared.and_then(|host| host.setting(family, "all", name)))
            ),
            "no route leads to clients by the tunnel's link, so a strict filter takes their packets for forged",
        ),
        HostChange::Setting { family, link, name, from, to } => (
            if name == "arp_ignore" { Severity::Broken } else { Severity::Warning },
            format!("{name} lets this host announce the VIP"),
            format!("net.{family}.conf.{link}.{name} is {}, {to} is needed", shown_value(*from)),
            "neighbours learn the VIP at this host, and send clients directly to this host, past the director",
        ),
        HostChange::AddLink { name, .. } | HostChange::LinkUp { name } => (
            Severity::Broken,
            format!("{name} does not work"),
            match change {
                HostChange::AddLink { .. } => format!("there is no link {name}"),
                _ => format!("{name} is down"),
            },
            "packets for the VIP cannot be accepted, or no tunnel is undone: clients hang",
        ),
        HostChange::AddGue { port, .. } => (
            Severity::Hint,
            format!("whether UDP port {port} is read as GUE is not known"),
            "ip fou show tells".to_owned(),
            "without it no tunnel is undone, and clients hang",
        ),
    };
    Finding { severity, what, evidence, why: why.to_owned(), fix: Some(Fix::Prepare(view.prepare.clone())) }
}

fn shown_value(value: Option<u32>) -> String {
    value.map_or_else(|| "not set".to_owned(), |value| value.to_string())
}
