//! Checks of a director: its kernel, its settings, other directors on this host, and the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::host_checks::{self, HostProblem};
use super::{Finding, Fix, Ipvs, Severity, SyncMessage, View, first_of, service};
use crate::config::{Config, RealServer, VirtualServer, VirtualServerId};
use crate::director::colocation::{self, Remedy};
use crate::director::event::count;
use crate::host_setup::plan::overhead;
use crate::ipvs::types::{Forwarding, ServiceFlags, SyncRole};
use crate::net::types::{HeldAddress, Prefix};

/// The usual largest packet of a client.
const CLIENT_MTU: u32 = 1500;

pub(super) fn check(config: &Config, view: &View<'_>, found: &mut Vec<Finding>) {
    found.extend(ipvs(config, view));
    found.extend(unanswered(config, view));
    found.extend(running(view));
    found.extend(service::check(view));
    found.extend(unchecked(view));
    found.extend(ways(view));
    found.extend(rivals(view));
    of_host(config, host_checks::check(config, &view.host), view, false, found);
    let servers = &config.virtual_servers;
    found.extend(servers.iter().filter_map(|server| mh(server, view.is_yaml)));
    found.extend(servers.iter().filter_map(|server| mh_port(server, view.is_yaml)));
    found.extend(colocations(config, view));
    // One word a network: what is true of one real server there is true of all.
    let mut seen = BTreeSet::new();
    for (server, real) in servers.iter().flat_map(|s| s.real_servers.iter().map(move |real| (s, real))) {
        let network = beside(view, real.address.ip()).map(|held| held.prefix.network());
        if seen.insert((server.id.address(), network, real.forwarding)) {
            found.extend(way_back(server, real, view));
            let new = tunnel(real, view).filter(|new| !found.contains(new));
            found.extend(new);
        }
    }
    let is_direct = |real: &RealServer| matches!(real.forwarding, Forwarding::Dr | Forwarding::Tun(_));
    if let Some(server) = servers.iter().find(|s| s.real_servers.iter().any(|real| is_direct(real))) {
        found.push(Finding {
            severity: Severity::Hint,
            what: "a request from this host itself proves nothing".to_owned(),
            evidence: format!("virtual server {} forwards by DR or TUN", server.id),
            why: "replies of real servers come from the VIP, which is this host's own address: it drops them, though \
                  every client is served"
                .to_owned(),
            fix: Some(Fix::ByHand("ask the VIP from another host".to_owned())),
        });
    }
}

/// Settings, links and VIPs of this host; of VIPs elsewhere, with `only_asked`, those that the network was asked for.
pub(super) fn of_host(
    config: &Config,
    settings: Vec<HostProblem>,
    view: &View<'_>,
    only_asked: bool,
    found: &mut Vec<Finding>,
) {
    found.extend(settings.into_iter().map(|problem| Finding {
        severity: if problem.is_fatal { Severity::Broken } else { Severity::Warning },
        evidence: format!("{}, read now", problem.what),
        what: problem.what,
        why: problem.why,
        fix: problem.fix.or(Some(Fix::ByHand(problem.advice))),
    }));
    found.extend(places(config, view, only_asked));
    found.extend(links(config, view));
    found.extend(sync_ids(config, view));
}

/// Directors whose connections are not received, as their sync id is another one.
fn sync_ids(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let mut found: Vec<Finding> = Vec::new();
    for daemon in config.global.sync_daemons.iter().filter(|daemon| daemon.role == SyncRole::Backup) {
        // A receiver of id 0 takes all.
        let is_other = |heard: &&SyncMessage| {
            heard.link == daemon.interface && heard.sync_id != daemon.sync_id && daemon.sync_id != 0
        };
        let Some(heard) = view.sync_messages.iter().find(is_other) else { continue };
        found.push(Finding {
            severity: Severity::Warning,
            what: format!(
                "{} sends its connections with sync id {}, and this director has {}",
                heard.source, heard.sync_id, daemon.sync_id
            ),
            evidence: format!("heard on {}", daemon.interface),
            why: "the kernel drops them silently: after a failover connections and persistence are lost"
                .to_owned(),
            fix: Some(Fix::ByHand(
                "give all directors of one site the same id in lvs_sync_daemon, then: lvsd reload".to_owned(),
            )),
        });
    }
    found
}

/// VIPs on links that no client can reach.
fn links(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let mut by_link: BTreeMap<&str, (bool, BTreeSet<IpAddr>)> = BTreeMap::new();
    for vip in config.virtual_servers.iter().filter_map(|server| server.id.address()) {
        let held = view.network.addresses.iter().filter(|held| held.prefix.ip == vip);
        let links: Vec<_> = held.filter_map(|held| view.network.links.get(&held.link)).collect();
        let is_reached = links.iter().any(|link| link.is_loopback || link.is_silent || link.is_working());
        for link in links.iter().filter(|_| !is_reached) {
            by_link.entry(&link.name).or_insert((link.is_up, BTreeSet::new())).1.insert(vip);
        }
    }
    let finding = |(name, (is_up, vips)): (&str, (bool, BTreeSet<IpAddr>))| {
        let vips: Vec<String> = vips.iter().map(ToString::to_string).collect();
        let (state, fix) = match is_up {
            true => {
                ("has no carrier", Fix::ByHand(format!("check the cable of {name} and the switch's port")))
            }
            false => ("is switched off", Fix::LinkUp(name.to_owned())),
        };
        Finding {
            severity: Severity::Broken,
            what: format!("link {name}, which has VIP {}, {state}", first_of(&vips)),
            evidence: format!("ip link show {name}"),
            why: "clients cannot reach the VIP".to_owned(),
            fix: Some(fix),
        }
    };
    by_link.into_iter().map(finding).collect()
}

/// No director maintains the table: lvsd does not answer, or services are left without a director.
fn unanswered(config: &Config, view: &View<'_>) -> Option<Finding> {
    if let Some(silence) = &view.silence {
        return Some(Finding {
            severity: Severity::Broken,
            what: "lvsd runs and does not answer".to_owned(),
            evidence: silence.clone(),
            why: "it may no longer check real servers or repair the IPVS table".to_owned(),
            fix: Some(Fix::ByHand(
                "systemctl restart lvsd; its services stay in the kernel meanwhile".to_owned(),
            )),
        });
    }
    let services = view.services.filter(|services| *services > 0)?;
    (view.directors.is_empty() && !config.virtual_servers.is_empty()).then(|| Finding {
        severity: Severity::Broken,
        what: "no director runs, and the kernel has services".to_owned(),
        evidence: format!(
            "neither lvsd nor keepalived runs in this network namespace; /proc/net/ip_vs has {}",
            count(services, "service")
        ),
        why: "real servers are not checked: clients are sent to dead ones".to_owned(),
        fix: Some(Fix::ByHand("systemctl start lvsd".to_owned())),
    })
}

fn ipvs(config: &Config, view: &View<'_>) -> Option<Finding> {
    let (severity, evidence, fix) = match view.ipvs {
        _ if config.ipvs_need().is_none() => return None,
        Ipvs::Loaded => return None,
        Ipvs::Loadable => {
            (Severity::Warning, "net.ipv4.vs is not there, the module ip_vs is not loaded", "modprobe ip_vs")
        }
        Ipvs::Absent => (
            Severity::Broken,
            "net.ipv4.vs is not there, and /lib/modules has no ip_vs for this kernel",
            "install the modules of the running kernel (in a container: modprobe ip_vs on its host), then: modprobe \
             ip_vs",
        ),
    };
    Some(Finding {
        severity,
        what: "the kernel has no IPVS".to_owned(),
        evidence: evidence.to_owned(),
        why: "nothing is forwarded without it".to_owned(),
        fix: Some(Fix::ByHand(fix.to_owned())),
    })
}

/// What the running lvsd knows to be wrong.
fn running(view: &View<'_>) -> Vec<Finding> {
    let Some(running) = &view.running else { return Vec::new() };
    let finding = |what: String, evidence: &str| Finding {
        severity: Severity::Broken,
        what,
        evidence: evidence.to_owned(),
        why: "the IPVS table does not match the configuration".to_owned(),
        fix: Some(Fix::ByHand("lvsd status tells more".to_owned())),
    };
    let own = running.trouble.iter().chain(&running.director.kernel_trouble);
    let mut found: Vec<Finding> =
        own.map(|trouble| finding("the running lvsd reports a problem".to_owned(), trouble)).collect();
    found.extend(running.director.virtual_servers.iter().filter_map(|server| {
        let degraded = server.degraded.as_ref()?;
        Some(finding(
            format!("virtual server {} is not in the kernel as configured", server.virtual_server),
            degraded,
        ))
    }));
    found.extend(running.rejected.as_ref().map(|errors| Finding {
        severity: Severity::Warning,
        what: "the last reload was rejected: the configuration before it is in force".to_owned(),
        evidence: errors.first().cloned().unwrap_or_default(),
        why: "what was changed in the file has no effect, and a restart would fail".to_owned(),
        fix: Some(Fix::ByHand("lvsd check, correct the file, lvsd reload".to_owned())),
    }));
    found
}

/// Real servers whose verdict is held because this host cannot check them: by reason, as one reason stops many checks.
fn unchecked(view: &View<'_>) -> Vec<Finding> {
    let servers = view.running.iter().flat_map(|running| &running.director.virtual_servers);
    let mut by_reason: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for real in servers.flat_map(|server| &server.real_servers) {
        if let Some(reason) = &real.unchecked {
            by_reason.entry(reason).or_default().insert(real.name().to_string());
        }
    }
    let finding = |(reason, reals): (&str, BTreeSet<String>)| Finding {
        severity: Severity::Broken,
        what: format!("{} cannot be checked from here", first_of(&Vec::from_iter(reals))),
        evidence: reason.to_owned(),
        why: "the last verdict is held: clients are sent to a real server that may be dead".to_owned(),
        fix: Some(Fix::ByHand(
            "remove the reason, or correct the check's source (bindto, bind_if, fwmark)".to_owned(),
        )),
    };
    by_reason.into_iter().map(finding).collect()
}

/// Real servers that are well and do not get the VIP's packets, as the running lvsd found.
fn ways(view: &View<'_>) -> Vec<Finding> {
    let servers = view.running.iter().flat_map(|running| &running.director.virtual_servers);
    let mut found: Vec<Finding> = Vec::new();
    for (server, real) in servers.flat_map(|s| s.real_servers.iter().map(move |real| (s, real))) {
        let Some(path) = real.path.as_ref().filter(|path| path.is_good == Some(false)) else { continue };
        let (Some(vip), ip) = (server.virtual_server.address(), real.real_server.ip()) else { continue };
        let method = if matches!(real.forwarding, Forwarding::Tun(_)) { " --method tun" } else { "" };
        let finding = Finding {
            severity: Severity::Broken,
            what: format!("real server {ip} does not answer packets for VIP {vip}"),
            evidence: path.words.clone(),
            why: "it answers at its own address, so without this check its share of the clients would hang"
                .to_owned(),
            fix: Some(Fix::On(ip, format!("lvsd real-server up --vip {vip}{method}"))),
        };
        // One VIP may be many virtual servers.
        if !found.iter().any(|known| known.what == finding.what) {
            found.push(finding);
        }
    }
    found
}

fn rivals(view: &View<'_>) -> Option<Finding> {
    let lvsds = view.directors.iter().filter(|(name, _)| name == "lvsd").count();
    let is_mixed = lvsds > 0 && lvsds < view.directors.len();
    if lvsds < 2 && !is_mixed {
        return None;
    }
    let all: Vec<String> = view.directors.iter().map(|(name, pid)| format!("{name} (pid {pid})")).collect();
    Some(Finding {
        severity: if is_mixed { Severity::Warning } else { Severity::Broken },
        what: "two directors share one table".to_owned(),
        evidence: format!("in this network namespace run {}", all.join(", ")),
        why: "each undoes the other's work, unless one of them only holds addresses".to_owned(),
        fix: Some(Fix::ByHand("stop one of them".to_owned())),
    })
}

fn mh(server: &VirtualServer, is_yaml: bool) -> Option<Finding> {
    if server.scheduler.as_str() != "mh" || server.flags.contains(ServiceFlags::SCHED1) {
        return None;
    }
    let id = server.id;
    let is_kept = server.real_servers.iter().any(|real| real.inhibit_on_failure);
    let why = match is_kept {
        true => {
            "a real server that fails keeps its share at weight 0 (inhibit_on_failure): its clients are refused"
        }
        false => {
            "at weight 0 a real server's clients are refused: lvsd must take it out at once instead, and a drain \
                  cuts its connections"
        }
    };
    let word = if is_yaml { "`scheduler_flags: [mh-fallback]`" } else { "`mh-fallback`" };
    Some(Finding {
        severity: if is_kept { Severity::Broken } else { Severity::Warning },
        what: format!("virtual server {id}: mh without mh-fallback"),
        evidence: "the scheduler is mh, and its flags have no mh-fallback".to_owned(),
        why: why.to_owned(),
        fix: Some(Fix::ByHand(format!("write {word} in virtual server {id}, then: lvsd reload"))),
    })
}

/// mh looks at the client's address alone, unless it is told otherwise.
fn mh_port(server: &VirtualServer, is_yaml: bool) -> Option<Finding> {
    let is_by_address = server.scheduler.as_str() == "mh" && !server.flags.contains(ServiceFlags::SCHED2);
    let id = server.id;
    let word = if is_yaml { "`scheduler_flags: [mh-port]`" } else { "`mh-port`" };
    is_by_address.then(|| Finding {
        severity: Severity::Hint,
        what: format!("virtual server {id}: mh sends all of a client's connections to one real server"),
        evidence: "the scheduler is mh, and its flags have no mh-port".to_owned(),
        why: "clients behind one address, a proxy's or a provider's, all go to the same".to_owned(),
        fix: Some(Fix::ByHand(format!("where that is not meant, write {word} in virtual server {id}"))),
    })
}

/// VIPs that cannot be reached here.
fn places(config: &Config, view: &View<'_>, only_asked: bool) -> Vec<Finding> {
    let vips = || config.virtual_servers.iter().filter_map(|server| server.id.address());
    let held = |ip: IpAddr| view.network.addresses.iter().filter(move |held| held.prefix.ip == ip);
    let mut found = Vec::new();
    let doubted: Vec<String> = vips()
        .filter(|ip| held(*ip).next().is_some() && held(*ip).all(|held| held.is_unusable))
        .map(|ip| ip.to_string())
        .collect();
    if !doubted.is_empty() {
        found.push(Finding {
            severity: Severity::Broken,
            what: format!("VIP {} is not usable", first_of(&doubted)),
            evidence: "the kernel shows it as tentative or dadfailed".to_owned(),
            why: "another host answered for it when it was added, or the check for duplicates is not over: the kernel drops packets for it"
                .to_owned(),
            fix: Some(Fix::ByHand("find the other host that has it, then add the address again with nodad".to_owned())),
        });
    }
    // A VRRP router has its VIPs only while Master; another one may be active.
    let is_movable =
        !config.vrrp.instances.is_empty() || view.directors.iter().any(|(n, _)| n == "keepalived");
    let is_elsewhere = |ip: IpAddr| view.holders.iter().any(|(held, _)| *held == ip);
    let missing: Vec<String> = vips()
        .filter(|ip| !is_movable && held(*ip).next().is_none() && !is_elsewhere(*ip))
        .filter(|ip| !only_asked || view.asked.contains(ip))
        .collect::<BTreeSet<_>>()
        .iter()
        .map(ToString::to_string)
        .collect();
    if !missing.is_empty() {
        found.push(Finding {
            severity: Severity::Warning,
            what: format!("no host has VIP {}", first_of(&missing)),
            evidence: "no link of this host has it, no vrrp_instance adds it, and no host answers for it"
                .to_owned(),
            why: "clients cannot reach it".to_owned(),
            fix: Some(Fix::ByHand(
                "add it to a link (ip addr add VIP/32 dev LINK), or write a vrrp_instance that holds it"
                    .to_owned(),
            )),
        });
    }
    found
}

fn colocations(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let all = colocation::find(config, &view.host.own, true);
    let marked = |id: VirtualServerId| {
        let servers = &view.running.as_ref()?.director.virtual_servers;
        servers.iter().find(|server| server.virtual_server == id)?.colocated.as_ref()
    };
    let found = all.iter().map(|(id, colocated)| {
        let state = marked(*id);
        let is_unmarked = state.is_some_and(|state| state.mark.is_some() && !state.is_marked);
        let is_poor = matches!(colocated.remedy, Remedy::WhileActive(_)) || is_unmarked;
        Finding {
            severity: if is_poor { Severity::Warning } else { Severity::Hint },
            what: format!("virtual server {id}: this director is one of its real servers, too"),
            evidence: state.map_or_else(|| colocated.to_string(), |state| state.what.clone()),
            why: "two such nodes send packets to and fro, unless each leaves out what the other sent"
                .to_owned(),
            fix: is_unmarked.then(|| Fix::ByHand("lvsd status says why packets get no mark".to_owned())),
        }
    });
    found.collect()
}

/// The own address whose network has this one.
fn beside<'a>(view: &'a View<'_>, ip: IpAddr) -> Option<&'a HeldAddress> {
    let networks = view.network.addresses.iter();
    let is_network =
        |prefix: &Prefix| prefix.length > 0 && prefix.length < if ip.is_ipv4() { 32 } else { 128 };
    networks
        .filter(|held| is_network(&held.prefix) && held.prefix.contains(ip))
        .max_by_key(|h| h.prefix.length)
}

/// Replies of a NAT real server must come back through this host; what of that can be told from here.
fn way_back(server: &VirtualServer, real: &RealServer, view: &View<'_>) -> Option<Finding> {
    let ip = real.address.ip();
    if real.forwarding != Forwarding::Nat || view.host.own.contains(&ip) {
        return None;
    }
    let finding = |what: String, evidence: String, fix: Fix| {
        let why = "a reply that does not pass this director keeps the real server's address, and its client drops it";
        Some(Finding { severity: Severity::Hint, what, evidence, why: why.to_owned(), fix: Some(fix) })
    };
    let Some(own) = beside(view, ip) else {
        let what = format!("NAT: the return path from real server {ip} is not known");
        let evidence = format!("{ip} is in no network of this host: routers decide where its replies go");
        return finding(what, evidence, Fix::On(ip, "ip route get CLIENT must lead back here".to_owned()));
    };
    let network = own.prefix.network();
    let what = match server.id.address().is_some_and(|vip| own.prefix.contains(vip)) {
        true => format!("NAT: real server {ip} answers clients of {network} directly, past this director"),
        false => format!("NAT: real server {ip} must reply through this director"),
    };
    let evidence = format!(
        "real server and {} are in {network}",
        match server.id.address() {
            Some(vip) if own.prefix.contains(vip) => format!("VIP {vip}"),
            _ => format!("this host ({})", own.prefix.ip),
        }
    );
    let gateway = own.prefix.ip;
    let route = match server.id.address().is_some_and(|vip| own.prefix.contains(vip)) {
        true => format!("ip route replace CLIENT via {gateway} (a host route for each client of {network})"),
        false => format!("ip route replace default via {gateway}"),
    };
    finding(what, evidence, Fix::On(ip, route))
}

fn tunnel(real: &RealServer, view: &View<'_>) -> Option<Finding> {
    let Forwarding::Tun(tunnel) = real.forwarding else { return None };
    let ip = real.address.ip();
    let link = view.network.links.get(&beside(view, ip)?.link)?;
    let needed = CLIENT_MTU + overhead(tunnel.into(), ip.is_ipv6());
    (link.mtu < needed && !link.is_loopback).then(|| Finding {
        severity: Severity::Hint,
        what: format!("TUN: full packets do not fit into {}", link.name),
        evidence: format!("its mtu is {}, a packet of {CLIENT_MTU} bytes in the tunnel has {needed}", link.mtu),
        why: "large requests wait until the client has learned to send smaller packets; datagrams may be lost"
            .to_owned(),
        fix: Some(Fix::ByHand(format!(
            "ip link set {} mtu {needed}, where the network carries it; else a smaller advmss on the real servers",
            link.name
        ))),
    })
}
