//! Problems of virtual servers that the running lvsd reports: quorum, real servers that are down, and services of other
//! programs that take their packets.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Fix, Running, Severity, View, first_of};
use crate::config::VirtualServerId;
use crate::director::problems::{Kind, Problem};
use crate::director::status::{HealthStatus, VirtualServerStatus};
use crate::ipvs::types::{Family, Protocol};

pub(super) fn check(view: &View<'_>) -> Vec<Finding> {
    let Some(running) = &view.running else { return Vec::new() };
    let mut found = Vec::new();
    for server in &running.director.virtual_servers {
        found.extend(server.problems.iter().map(|problem| suffered(server, problem, view)));
        found.extend(quorum(server));
    }
    found.extend(down(running));
    found.extend(shadows(running));
    found
}

fn suffered(server: &VirtualServerStatus, problem: &Problem, view: &View<'_>) -> Finding {
    let id = server.virtual_server;
    let (evidence, why) = match problem {
        Problem::TakesNobody(_) => (
            format!("live weight {} of {} needed, and no sorry server serves", server.live_weight, server.quorum),
            "every new client is refused",
        ),
        Problem::Recurring { .. } => (
            match view.others.as_slice() {
                [] => "no known program that does it runs here: look at cron jobs, and at other hosts that log in"
                    .to_owned(),
                others => format!("on this host runs {}", others.join(", ")),
            },
            "between its change and the repair clients fail",
        ),
        Problem::HalfOpen { .. } => (
            "the kernel's list of connections (/proc/net/ip_vs_conn), read twice".to_owned(),
            "its share of the clients hangs, though its checks pass: the checks follow another path than client traffic",
        ),
    };
    Finding {
        severity: Severity::Broken,
        what: format!("virtual server {id}: {problem}"),
        evidence,
        why: why.to_owned(),
        fix: Some(Fix::ByHand(problem.advice().to_owned())),
    }
}

/// No quorum, although some real servers are up.
fn quorum(server: &VirtualServerStatus) -> Option<Finding> {
    let is_idle = server.problems.iter().any(|problem| problem.kind() == Kind::TakesNobody);
    // Before the first verdicts no virtual server has quorum.
    let is_known = server.real_servers.iter().all(|real| real.health != HealthStatus::Unknown);
    if server.has_quorum || is_idle || !is_known {
        return None;
    }
    let sorry = server.sorry_server.as_ref().filter(|sorry| sorry.is_active);
    Some(Finding {
        severity: Severity::Broken,
        what: format!("virtual server {} has no quorum", server.virtual_server),
        evidence: format!("live weight {} of {} needed", server.live_weight, server.quorum),
        why: match sorry {
            Some(sorry) => format!(
                "every client gets the sorry server {}, which has no check: test it by hand",
                sorry.sorry_server
            ),
            None => "too few real servers are left for all clients".to_owned(),
        },
        fix: Some(Fix::ByHand("`lvsd why REAL-SERVER` says what is wrong with each".to_owned())),
    })
}

/// Real servers that are down, by what their checks say.
fn down(running: &Running) -> Vec<Finding> {
    let mut by_reason: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for real in running.director.virtual_servers.iter().flat_map(|server| &server.real_servers) {
        if !real.is_up && matches!(real.health, HealthStatus::Down | HealthStatus::Rising) {
            by_reason.entry(&real.reason).or_default().insert(real.name().to_string());
        }
    }
    let finding = |(reason, reals): (&str, BTreeSet<String>)| {
        let reals = Vec::from_iter(reals);
        let one = reals.first().cloned().unwrap_or_default();
        Finding {
            severity: Severity::Warning,
            what: format!(
                "real server {} {} down",
                first_of(&reals),
                if reals.len() == 1 { "is" } else { "are" }
            ),
            evidence: reason.to_owned(),
            why: "the others have its share of the clients".to_owned(),
            fix: Some(Fix::ByHand(format!("lvsd why {one}"))),
        }
    };
    by_reason.into_iter().map(finding).collect()
}

/// Services that are not configured, and that get packets of a virtual server before it does: the kernel looks for the
/// mark first, then for address and port, then for the address alone.
fn shadows(running: &Running) -> Vec<Finding> {
    let servers = &running.director.virtual_servers;
    let mut found = Vec::new();
    for foreign in &running.director.foreign_services {
        let (severity, what, why, delete) = match *foreign {
            VirtualServerId::Fwmark { mark, .. } => (
                Severity::Warning,
                format!("a foreign service of firewall mark {mark} comes before virtual servers by address"),
                "packets with this mark go there, even if they are for a VIP",
                format!("ipvsadm -D -f {mark}{}", if foreign.family() == Family::Inet6 { " -6" } else { "" }),
            ),
            VirtualServerId::Address { protocol, address, port } => {
                let shadowed = servers
                    .iter()
                    .map(|server| server.virtual_server)
                    .find(|id| *id == VirtualServerId::Address { protocol, address, port: 0 } && port != 0);
                let Some(shadowed) = shadowed else { continue };
                let word = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                };
                (
                    Severity::Broken,
                    format!("a foreign service takes packets of virtual server {shadowed}: {foreign}"),
                    "the kernel prefers the service of one port to the one of all ports",
                    format!("ipvsadm -D {word} {}", std::net::SocketAddr::new(address, port)),
                )
            }
        };
        found.push(Finding {
            severity,
            what,
            evidence: format!("{foreign} is in the kernel and not in the configuration"),
            why: why.to_owned(),
            fix: Some(Fix::ByHand(format!("if it is not needed: {delete}"))),
        });
    }
    found
}
