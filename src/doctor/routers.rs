//! Checks of virtual routers: others with their VRID, a peer whose advertisements do not arrive, and options that have
//! no effect.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Advert, Finding, Fix, Severity, View};
use crate::config::Config;
use crate::syntax::diagnostic::Code;
use crate::vrrp::io::State;
use crate::vrrp::other_nodes;
use crate::vrrp::settings::{Family, InstanceSettings, OnCrash, Transport};
use crate::vrrp::status::{InstanceStatus, PeerStatus};

/// Warnings of the file that mean another life than the one that is written.
const LAPSES: [(Code, &str); 2] = [
    (
        Code::NopreemptIgnored,
        "this host takes the addresses back whenever it returns, which costs clients a second failover",
    ),
    (
        Code::PasswordCut,
        "version 2 has room for eight: routers whose passwords begin alike accept each other, and a host that \
         counts more \
         does not",
    ),
];

/// So many repairs are no accident.
const RESTORED: u64 = 3;

pub(super) fn check(config: &Config, view: &View<'_>, found: &mut Vec<Finding>) {
    for instance in run_here(config, view) {
        let collision = collision(config, instance, view);
        found.extend(status(view, instance).into_iter().flat_map(|status| {
            let is_known = collision.is_some();
            troubles(status).filter(move |finding| !is_known || finding.severity != Severity::Warning)
        }));
        found.extend(collision);
        found.extend(unanswered(instance, view));
        found.extend(equals(instance, view));
        found.extend(strict(config, instance, view));
        found.extend(silent(instance, view));
        found.extend(failback(config, instance));
    }
    found.extend(strangers(config, view));
    for remark in &view.remarks {
        let Some((_, why)) = LAPSES.iter().find(|(code, _)| remark.code == Some(*code)) else { continue };
        found.push(Finding {
            severity: Severity::Warning,
            what: remark.what.clone(),
            evidence: remark.place.clone(),
            why: (*why).to_owned(),
            fix: remark.help.clone().map(Fix::ByHand),
        });
    }
    if config.vrrp.on_crash == OnCrash::Hold && !config.vrrp.instances.is_empty() {
        found.push(Finding {
            severity: Severity::Hint,
            what: "a daemon that crashes leaves its addresses on the host".to_owned(),
            evidence: "`vrrp_on_crash` is hold".to_owned(),
            why: "until it is started again two hosts may have them".to_owned(),
            fix: None,
        });
    }
}

/// Why two hosts have an address of a virtual router: what is known of it, and what helps.
pub(super) fn why_both(config: &Config, view: &View<'_>, vip: IpAddr) -> Option<(String, String)> {
    let instance = run_here(config, view).find(|instance| addresses(instance).contains(&vip))?;
    let status = status(view, instance)?;
    if status.state != State::Master {
        return None;
    }
    let name = &instance.name;
    let heard = of(instance, view).find(|advert| advert.priority > 0 && advert.addresses.contains(&vip));
    let Some(advert) = heard else {
        let fix = match &instance.transport {
            Transport::Multicast(group) => format!(
                "let IP protocol 112 to {group} pass between both hosts (firewalls, the switch's IGMP \
                 snooping), or write \
                 unicast_peer on both"
            ),
            Transport::Unicast { .. } => {
                "let IP protocol 112 pass between both hosts, and name each in the other's unicast_peer"
                    .to_owned()
            }
        };
        return Some((
            format!("vrrp_instance {name} is Master, and no advertisement of another router arrives"),
            fix,
        ));
    };
    let mut peers = status.peers.iter().filter(|peer| is_speaking(status, peer));
    let peer = peers.find(|peer| peer.source == advert.source);
    Some(match peer {
        None => (
            format!("advertisements of {} arrive at {} and do not reach lvsd", advert.source, advert.link),
            "let IP protocol 112 pass this host's firewall".to_owned(),
        ),
        Some(peer) => (
            format!(
                "vrrp_instance {name} is Master, and hears {}: {}",
                advert.source,
                peer.last_refusal.as_deref().unwrap_or("that one does not hear this host")
            ),
            format!(
                "let IP protocol 112 pass from this host to {}, and give both the same vrrp_instance",
                advert.source
            ),
        ),
    })
}

/// Whether lvsd receives advertisements of a peer now.
fn is_speaking(status: &InstanceStatus, peer: &PeerStatus) -> bool {
    peer.silent_milliseconds <= status.master_down_microseconds / 1000
}

/// The instances that are not another node's.
pub(super) fn run_here<'a>(
    config: &'a Config,
    view: &View<'_>,
) -> impl Iterator<Item = &'a Arc<InstanceSettings>> + use<'a> {
    let known = view.running.as_ref().and_then(|running| running.router.as_ref());
    let known = known.map(|router| router.other_nodes.clone()).unwrap_or_default();
    let others = other_nodes::find(&config.vrrp, |ip| view.host.own.contains(&ip), &known);
    config.vrrp.instances.iter().filter(move |instance| !others.contains_key(&instance.name))
}

fn status<'a>(view: &'a View<'_>, instance: &InstanceSettings) -> Option<&'a InstanceStatus> {
    let router = view.running.as_ref()?.router.as_ref()?;
    router.instances.iter().find(|status| status.name == instance.name)
}

/// All its addresses.
pub(super) fn addresses(instance: &InstanceSettings) -> BTreeSet<IpAddr> {
    instance.addresses.iter().chain(&instance.excluded).map(|a| a.wanted.prefix.ip).collect()
}

/// What was heard of its number, where it lives.
fn of<'a>(instance: &'a InstanceSettings, view: &'a View<'_>) -> impl Iterator<Item = &'a Advert> {
    view.adverts.iter().filter(move |advert| {
        advert.vrid == instance.vrid
            && advert.source.is_ipv4() == (instance.family == Family::Ipv4)
            && instance.interface.as_ref() == Some(&advert.link)
            && !view.host.own.contains(&advert.source)
    })
}

/// What the running router is not well with.
fn troubles(status: &InstanceStatus) -> impl Iterator<Item = Finding> + use<> {
    let name = &status.name;
    let fault = (status.state == State::Fault).then(|| Finding {
        severity: Severity::Broken,
        what: format!("vrrp_instance {name} is in Fault"),
        evidence: status.reason.clone(),
        why: "it takes no address, even when all other routers fail".to_owned(),
        fix: Some(Fix::ByHand("repair what it waits for; lvsd then continues by itself".to_owned())),
    });
    let restored = (status.counters.restored >= RESTORED).then(|| Finding {
        severity: Severity::Warning,
        what: format!("vrrp_instance {name}: another program removes what it holds, again and again"),
        evidence: format!("addresses, routes and rules were put back {} times", status.counters.restored),
        why: "between the removal and the repair clients fail".to_owned(),
        fix: Some(Fix::ByHand(
            "find the program: NetworkManager, systemd-networkd, a DHCP client, a script; the log says what it removed"
                .to_owned(),
        )),
    });
    let speaking = status.peers.iter().filter(|peer| is_speaking(status, peer));
    let conflicts = speaking.filter_map(|peer| peer.conflict.clone());
    let conflicts = conflicts.map(|conflict| Finding {
        severity: Severity::Warning,
        what: format!("vrrp_instance {name}: two routers with one VRID do not agree"),
        fix: conflict.rsplit_once(": ").map(|(_, help)| Fix::ByHand(help.to_owned())),
        evidence: conflict,
        why: "each rejects the other's advertisements: both may become Master".to_owned(),
    });
    fault.into_iter().chain(restored).chain(conflicts.collect::<Vec<_>>())
}

/// Another virtual router on the link has the same VRID.
fn collision(config: &Config, instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    let own: BTreeSet<IpAddr> = instance.addresses.iter().map(|a| a.wanted.prefix.ip).collect();
    let other = of(instance, view)
        .find(|advert| !advert.addresses.is_empty() && own.is_disjoint(&advert.addresses))?;
    let (name, vrid, link) = (&instance.name, instance.vrid, &other.link);
    let free = free(config, view, link).map_or_else(
        || "none is free here: use another network, or unicast_peer".to_owned(),
        |free| format!("write `virtual_router_id {free}` in vrrp_instance {name} on all its routers"),
    );
    Some(Finding {
        severity: Severity::Broken,
        what: format!("vrrp_instance {name}: another virtual router on {link} has VRID {vrid}, too"),
        evidence: format!("heard {}", words(other)),
        why:
            "each takes the other's advertisements for its own peer's: one of both never becomes Master, and \
         two hosts may \
              have one MAC address"
                .to_owned(),
        fix: Some(Fix::ByHand(free)),
    })
}

/// A VRID that is free on a link.
fn free(config: &Config, view: &View<'_>, link: &str) -> Option<u8> {
    let heard = view.adverts.iter().filter(|advert| advert.link == link).map(|advert| advert.vrid);
    let own = config.vrrp.instances.iter().map(|instance| instance.vrid);
    let taken: BTreeSet<u8> = heard.chain(own).collect();
    (1..=255).find(|vrid| !taken.contains(vrid))
}

/// `10.1.0.9: VRID 51, priority 100, for 10.1.0.200`.
fn words(advert: &Advert) -> String {
    let ips: Vec<String> = advert.addresses.iter().map(ToString::to_string).collect();
    let Advert { source, vrid, version, priority, .. } = advert;
    format!("{source}: VRID {vrid} (version {version}), priority {priority}, for {}", ips.join(" and "))
}

/// Virtual routers of others on the same links.
fn strangers(config: &Config, view: &View<'_>) -> Option<Finding> {
    let is_ours = |advert: &Advert| {
        view.host.own.contains(&advert.source)
            || config
                .vrrp
                .instances
                .iter()
                .any(|i| i.vrid == advert.vrid && i.interface.as_ref() == Some(&advert.link))
    };
    let others: Vec<&Advert> = view.adverts.iter().filter(|advert| !is_ours(advert)).collect();
    let first = others.first()?;
    let said: Vec<String> = others.iter().take(8).map(|advert| words(advert)).collect();
    Some(Finding {
        severity: Severity::Hint,
        what: format!("other virtual routers send on {}", first.link),
        evidence: said.join("; "),
        why: "their VRIDs are in use there".to_owned(),
        fix: free(config, view, &first.link)
            .map(|free| Fix::ByHand(format!("a free one for the next vrrp_instance is {free}"))),
    })
}

/// Advertisements of a Master arrive, but no host answers ARP or ND for its VIPs.
fn unanswered(instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    let advert = of(instance, view).find(|advert| advert.priority > 0)?;
    let is_missing = |ip: &&IpAddr| {
        let is_held = view.network.addresses.iter().any(|held| held.prefix.ip == **ip);
        view.asked.contains(ip) && !is_held && !view.holders.iter().any(|(held, _)| held == *ip)
    };
    let own = addresses(instance);
    let vip = advert.addresses.iter().filter(|ip| own.contains(ip)).find(is_missing)?;
    let cloud = view.environment.cloud.as_deref();
    Some(Finding {
        severity: Severity::Broken,
        what: format!("no host answers for VIP {vip}, though a Master advertises it"),
        evidence: format!("heard {}; asked who has {vip}: silence", words(advert)),
        why:
            "clients cannot reach it: the Master does not have it, or the network between drops frames that \
         name it"
                .to_owned(),
        fix: Some(Fix::On(
            advert.source,
            match cloud {
                Some(cloud) => format!(
                    "ip addr show to {vip}; if it is there, {cloud} drops it: allow the address for that \
                     machine's port"
                ),
                None => format!(
                    "ip addr show to {vip}; if it is there, arp_ignore of that link or the (virtual) switch's \
                     filter drops it"
                ),
            },
        )),
    })
}

/// Neither is the better one.
fn equals(instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    let equal = of(instance, view).find(|advert| {
        advert.priority == instance.priority
            && advert.addresses.iter().any(|ip| addresses(instance).contains(ip))
    })?;
    Some(Finding {
        severity: Severity::Hint,
        what: format!("vrrp_instance {}: two routers have priority {}", instance.name, instance.priority),
        evidence: format!("heard {}", words(equal)),
        why: "the higher address wins while both begin, else the router that was first: after a reboot it \
         may be either"
            .to_owned(),
        fix: Some(Fix::ByHand("give each its own priority".to_owned())),
    })
}

fn has_keepalived(view: &View<'_>) -> bool {
    view.directors.iter().any(|(name, _)| name == "keepalived")
}

/// keepalived's strict mode drops what comes to its addresses.
fn strict(config: &Config, instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    let own = addresses(instance);
    let mut vips = config.virtual_servers.iter().filter_map(|server| server.id.address());
    let vip = vips.find(|ip| instance.is_strict && own.contains(ip))?;
    let name = &instance.name;
    Some(Finding {
        severity: if has_keepalived(view) { Severity::Broken } else { Severity::Hint },
        what: format!("vrrp_instance {name}: strict mode, and a virtual server on its VIP {vip}"),
        evidence: match has_keepalived(view) {
            true => "`vrrp_strict` or `strict_mode` is set, and keepalived runs here".to_owned(),
            false => "`vrrp_strict` or `strict_mode` is set; lvsd accepts packets for the VIP all the same"
                .to_owned(),
        },
        why: "keepalived's rules drop what clients send to the VIP before IPVS sees it".to_owned(),
        fix: Some(Fix::ByHand(format!(
            "remove vrrp_strict, or write `strict_mode off` in vrrp_instance {name}"
        ))),
    })
}

/// keepalived tells of its addresses when it becomes Master, and never again.
fn silent(instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    (has_keepalived(view) && instance.announcing.refresh.is_zero()).then(|| Finding {
        severity: Severity::Hint,
        what: format!("vrrp_instance {} announces its addresses only once", instance.name),
        evidence: "`garp_master_refresh` is 0, and keepalived runs here".to_owned(),
        why: "after two Masters have settled who is Master, clients keep the other's MAC address".to_owned(),
        fix: Some(Fix::ByHand(
            "write `garp_master_refresh 60` in global_defs or in vrrp_instance".to_owned(),
        )),
    })
}

/// Connections are replicated from when the daemon starts, not before.
fn failback(config: &Config, instance: &InstanceSettings) -> Option<Finding> {
    let follows = config.global.sync_follows.as_ref() == Some(&instance.name);
    (follows && instance.preempts && instance.preempt_delay.is_zero()).then(|| Finding {
        severity: Severity::Hint,
        what: format!(
            "vrrp_instance {} takes the addresses back before it knows the connections",
            instance.name
        ),
        evidence: "lvs_sync_daemon follows it, it preempts, and preempt_delay is 0".to_owned(),
        why: "the kernel replicates new connections only, never those that exist: a host that returns \
         cuts connections \
              that began without it"
            .to_owned(),
        fix: Some(Fix::ByHand(
            "write `nopreempt` (and `state BACKUP`), or a preempt_delay as long as connections last"
                .to_owned(),
        )),
    })
}
