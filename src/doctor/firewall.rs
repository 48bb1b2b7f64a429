//! What this host's firewall drops of a director's traffic.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Finding, Fix, Severity, View, first_of, routers};
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::ipvs::types::{Forwarding, Protocol};
use crate::net::firewall::{Dropped, Hook, Packet, Tracked};
use crate::vrrp::packet::{PROTOCOL, PROTOCOL_AH};
use crate::vrrp::settings::{Authentication, Family, InstanceSettings, Transport};

/// The ways of packets that IPVS sends on, and of replies that it translates back.
const TO_VIP: [Hook; 2] = [Hook::Prerouting, Hook::Input];
const THROUGH: [Hook; 4] = [Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting];
const BACK: [Hook; 3] = [Hook::Prerouting, Hook::Forward, Hook::Postrouting];
/// Commands of one fix, at most.
const COMMANDS: usize = 16;

pub(super) fn check(config: &Config, view: &View<'_>, found: &mut Vec<Finding>) {
    found.extend(services(config, view));
    found.extend(half_seen(config, view));
    found.extend(replies(config, view));
    found.extend(routers::run_here(config, view).filter_map(|instance| advertisements(instance, view)));
    found.extend(full(view));
}

/// A TCP, UDP or SCTP packet of a client's to a virtual server.
fn to(server: &VirtualServer, tracked: Tracked) -> Option<Packet> {
    let VirtualServerId::Address { protocol, address, port } = server.id else { return None };
    Some(Packet {
        is_ipv4: address.is_ipv4(),
        protocol: number(protocol),
        source: None,
        destination: Some(address),
        destination_port: (port != 0).then_some(port),
        source_port: None,
        arrives_by: None,
        leaves_by: None,
        tracked: Some(tracked),
    })
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

/// Clients' first packets.
fn services(config: &Config, view: &View<'_>) -> Option<Finding> {
    let dropped: Vec<(&VirtualServer, Packet, Dropped)> = config
        .virtual_servers
        .iter()
        .filter_map(|server| {
            let packet = to(server, Tracked::New)?;
            let dropped = view.firewall.what_drops(&packet, &TO_VIP)?;
            Some((server, packet, dropped))
        })
        .collect();
    let (_, _, first) = dropped.first()?;
    let ids: Vec<String> = dropped.iter().map(|(server, ..)| server.id.to_string()).collect();
    let commands = dropped.iter().map(|(_, packet, dropped)| accept(packet, dropped)).take(COMMANDS);
    Some(Finding {
        severity: Severity::Broken,
        what: format!("this host's firewall drops what clients send to virtual server {}", first_of(&ids)),
        evidence: first.to_string(),
        why: "IPVS sees packets for a VIP only once the firewall has let them in".to_owned(),
        fix: Some(Fix::ByHand(commands.collect::<Vec<_>>().join(" && "))),
    })
}

/// By DR and TUN this host sees one half of a connection: what a client sends later fits to nothing it has seen.
fn half_seen(config: &Config, view: &View<'_>) -> Option<Finding> {
    let is_remembered = has_conntrack(view);
    let mut dropped: BTreeMap<IpAddr, Dropped> = BTreeMap::new();
    for server in config.virtual_servers.iter().filter(|server| forwards(server, |f| f != Forwarding::Nat)) {
        // Any datagram is the first of its like.
        let Some(packet) = to(server, Tracked::Invalid).filter(|packet| packet.protocol != 17) else {
            continue;
        };
        let is_new_dropped =
            || view.firewall.what_drops(&Packet { tracked: Some(Tracked::New), ..packet.clone() }, &TO_VIP);
        if let (Some(ip), Some(by)) = (packet.destination, view.firewall.what_drops(&packet, &THROUGH))
            && is_new_dropped().is_none()
        {
            dropped.entry(ip).or_insert(by);
        }
    }
    let (_, first) = dropped.first_key_value()?;
    let vips: Vec<String> = dropped.keys().map(ToString::to_string).collect();
    let why = match is_remembered {
        true => {
            "replies go past this host (DR, TUN), so all that a client sends after its first packet counts as \
             invalid: \
             connections open and hang (net.ipv4.vs.conntrack is 1)"
        }
        false => {
            "replies go past this host (DR, TUN), so a client's last packet counts as invalid: neither the real \
             server nor \
             IPVS learn that a connection has ended, for minutes"
        }
    };
    Some(Finding {
        severity: if is_remembered { Severity::Broken } else { Severity::Warning },
        what: format!("this host's firewall drops as invalid what clients send to VIP {}", first_of(&vips)),
        evidence: first.to_string(),
        why: why.to_owned(),
        fix: Some(Fix::ByHand(untrack(&dropped, first))),
    })
}

/// Replies of NAT's real servers.
fn replies(config: &Config, view: &View<'_>) -> Option<Finding> {
    let is_remembered = has_conntrack(view);
    let tracked = if is_remembered { Tracked::Established } else { Tracked::Invalid };
    let all = config
        .virtual_servers
        .iter()
        .flat_map(|server| server.real_servers.iter().map(move |real| (server, real)));
    let found = all.filter(|(_, real)| real.forwarding == Forwarding::Nat).find_map(|(server, real)| {
        let VirtualServerId::Address { protocol, .. } = server.id else { return None };
        let tracked = if protocol == Protocol::Udp && !is_remembered { Tracked::New } else { tracked };
        let packet = Packet {
            is_ipv4: real.address.is_ipv4(),
            protocol: number(protocol),
            source: Some(real.address.ip()),
            destination: None,
            destination_port: None,
            source_port: (real.address.port() != 0).then_some(real.address.port()),
            arrives_by: None,
            leaves_by: None,
            tracked: Some(tracked),
        };
        let dropped = view.firewall.what_drops(&packet, &BACK)?;
        Some((real.address, packet, dropped))
    });
    let (real, packet, dropped) = found?;
    // IPVS tells connection tracking of what it translates, where it is asked to.
    let would_pass = Packet { tracked: Some(Tracked::Established), ..packet.clone() };
    let fix = match view.firewall.what_drops(&would_pass, &BACK) {
        None if !is_remembered && (view.host.sysctl)(CONNTRACK).is_some() => {
            Fix::Setting { name: CONNTRACK.to_owned(), value: "1".to_owned() }
        }
        _ => Fix::ByHand(accept(&packet, &dropped)),
    };
    Some(Finding {
        severity: Severity::Broken,
        what: format!("this host's firewall drops replies of real server {real}"),
        evidence: format!(
            "{dropped}{}",
            if is_remembered {
                ""
            } else {
                "; net.ipv4.vs.conntrack is 0, so replies belong to nothing known"
            }
        ),
        why: "NAT's replies pass this host, and none reaches its client".to_owned(),
        fix: Some(fix),
    })
}

/// The setting by which IPVS tells connection tracking what it does.
const CONNTRACK: &str = "net.ipv4.vs.conntrack";

fn has_conntrack(view: &View<'_>) -> bool {
    (view.host.sysctl)(CONNTRACK).is_some_and(|value| value == "1")
}

fn forwards(server: &VirtualServer, is: impl Fn(Forwarding) -> bool) -> bool {
    server.real_servers.iter().any(|real| is(real.forwarding))
}

/// Advertisements of others, and own ones.
fn advertisements(instance: &InstanceSettings, view: &View<'_>) -> Option<Finding> {
    let is_ipv4 = instance.family == Family::Ipv4;
    let group = match &instance.transport {
        Transport::Multicast(group) => Some(*group),
        Transport::Unicast { .. } => None,
    };
    let is_header = matches!(instance.authentication, Authentication::Header(_));
    let arriving = Packet {
        is_ipv4,
        protocol: if is_header { PROTOCOL_AH } else { PROTOCOL },
        source: None,
        destination: group.or(instance.source),
        destination_port: None,
        source_port: None,
        arrives_by: instance.interface.clone(),
        leaves_by: None,
        tracked: Some(Tracked::New),
    };
    let leaving = Packet {
        source: instance.source,
        destination: group,
        arrives_by: None,
        leaves_by: instance.interface.clone(),
        ..arriving.clone()
    };
    let heard = view.firewall.what_drops(&arriving, &TO_VIP).map(|by| (arriving, by, "of other routers"));
    let spoken = || view.firewall.what_drops(&leaving, &[Hook::Output, Hook::Postrouting]);
    let (packet, dropped, whose) = heard.or_else(|| Some((leaving.clone(), spoken()?, "it sends")))?;
    Some(Finding {
        severity: Severity::Broken,
        what: format!("vrrp_instance {}: this host's firewall drops advertisements {whose}", instance.name),
        evidence: dropped.to_string(),
        why: "two routers that do not hear each other both become Master, and both claim the addresses"
            .to_owned(),
        fix: Some(Fix::ByHand(accept(&packet, &dropped))),
    })
}

/// The table of connections that are tracked has an end.
fn full(view: &View<'_>) -> Option<Finding> {
    let read = |name: &str| (view.host.sysctl)(name)?.parse::<u64>().ok();
    let (count, most) = (read("net.netfilter.nf_conntrack_count")?, read("net.netfilter.nf_conntrack_max")?);
    (most > 0 && count.saturating_mul(100) >= most.saturating_mul(80)).then(|| Finding {
        severity: if count >= most { Severity::Broken } else { Severity::Warning },
        what: "the kernel's table of tracked connections is nearly full".to_owned(),
        evidence: format!("nf_conntrack_count is {count} of {most}"),
        why: "when it is full, packets of new connections are dropped, to every service of this host"
            .to_owned(),
        fix: Some(Fix::Setting {
            name: "net.netfilter.nf_conntrack_max".to_owned(),
            value: most.saturating_mul(2).to_string(),
        }),
    })
}

/// The command that lets such packets pass where they are dropped.
fn accept(packet: &Packet, dropped: &Dropped) -> String {
    let protocol = match packet.protocol {
        6 => "tcp",
        17 => "udp",
        132 => "sctp",
        PROTOCOL_AH => "ah",
        _ => "112",
    };
    let family = if packet.is_ipv4 { "ip" } else { "ip6" };
    let is_vrrp = [PROTOCOL, PROTOCOL_AH].contains(&packet.protocol);
    match dropped.table.strip_prefix("nft ") {
        Some(table) => {
            let address = |word: &str, ip: Option<IpAddr>| ip.map(|ip| format!(" {family} {word} {ip}"));
            let port = |word: &str, port: Option<u16>| port.map(|port| format!(" {protocol} {word} {port}"));
            let mut tests = match is_vrrp {
                true => format!(" meta l4proto {}", packet.protocol),
                false => [address("saddr", packet.source), address("daddr", packet.destination)]
                    .into_iter()
                    .flatten()
                    .collect(),
            };
            let ports = [port("sport", packet.source_port), port("dport", packet.destination_port)];
            tests.extend(ports.into_iter().flatten());
            format!("nft insert rule {table} {}{tests} accept", dropped.chain)
        }
        None => {
            let program = if packet.is_ipv4 { "iptables" } else { "ip6tables" };
            let table = dropped.table.split(" -t ").nth(1).unwrap_or("filter");
            let option = |word: &str, value: Option<String>| {
                value.filter(|_| !is_vrrp).map_or(String::new(), |value| format!(" {word} {value}"))
            };
            format!(
                "{program} -t {table} -I {}{}{} -p {protocol}{}{} -j ACCEPT",
                dropped.chain,
                option("-s", packet.source.map(|ip| ip.to_string())),
                option("-d", packet.destination.map(|ip| ip.to_string())),
                option("--sport", packet.source_port.map(|port| port.to_string())),
                option("--dport", packet.destination_port.map(|port| port.to_string())),
            )
        }
    }
}

/// The command that keeps connections to these VIPs out of connection tracking.
fn untrack(vips: &BTreeMap<IpAddr, Dropped>, first: &Dropped) -> String {
    let all = |is_ipv4: bool| -> Vec<String> {
        vips.keys().filter(|ip| ip.is_ipv4() == is_ipv4).map(ToString::to_string).collect()
    };
    let is_nft = first.table.starts_with("nft ");
    let mut commands = Vec::new();
    if is_nft {
        commands.push(
            "nft 'add table inet lvs; add chain inet lvs untracked { type filter hook prerouting priority raw; \
             }'".to_owned(),
        );
    }
    for (family, program, vips) in [("ip", "iptables", all(true)), ("ip6", "ip6tables", all(false))] {
        match is_nft {
            _ if vips.is_empty() => {}
            true => commands.push(format!(
                "nft 'add rule inet lvs untracked {family} daddr {{ {} }} notrack'",
                vips.join(", ")
            )),
            false => commands.extend(
                vips.iter()
                    .take(COMMANDS)
                    .map(|vip| format!("{program} -t raw -I PREROUTING -d {vip} -j CT --notrack")),
            ),
        }
    }
    commands.join(" && ")
}
