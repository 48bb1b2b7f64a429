//! Checks of a host for settings that break what is configured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Fix;
use crate::config::{Config, RealServer, VirtualServer, VirtualServerId};
use crate::director::colocation;
use crate::ipvs::types::{Forwarding, Protocol, ServiceFlags};

/// Linux before this sends a client that reuses its port astray for a second (fixed by the two patches of 5.9).
const REUSE_FIXED: (u32, u32) = (5, 9);

/// What the checks read of a host.
pub(crate) struct HostFacts<'a> {
    /// A kernel setting's value; None when this kernel has none of that name.
    pub sysctl: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `lo` is up.
    pub is_loopback_up: bool,
    /// The kernel's version.
    pub kernel: (u32, u32),
    pub own: BTreeSet<IpAddr>,
}

impl fmt::Debug for HostFacts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostFacts")
            .field("kernel", &self.kernel)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// A setting or a state of the host that breaks something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostProblem {
    /// The setting and its value: `net.ipv4.ip_forward is 0`.
    pub what: String,
    /// What it does.
    pub why: String,
    /// What to do, in words.
    pub advice: String,
    /// The same as a command.
    pub fix: Option<Fix>,
    /// Nothing works with it, or something fails now and then.
    pub is_fatal: bool,
}

impl HostProblem {
    fn setting(name: &str, found: &str, right: &str, why: String) -> HostProblem {
        HostProblem {
            what: format!("{name} is {found}"),
            why,
            advice: format!("set it to {right}"),
            fix: Some(Fix::Setting { name: name.to_owned(), value: right.to_owned() }),
            is_fatal: false,
        }
    }
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.what, self.why, self.advice)
    }
}

/// Sources of checks that this host does not have, as in a file that two directors share. A host whose addresses could
/// not be read has none.
fn unbindable(config: &Config, own: &BTreeSet<IpAddr>) -> Vec<HostProblem> {
    let mut by_source: BTreeMap<IpAddr, BTreeSet<SocketAddr>> = BTreeMap::new();
    for real in config.virtual_servers.iter().flat_map(|server| &server.real_servers) {
        let sources = real.checkers.iter().filter_map(|checker| checker.spec.target.source().address);
        for source in sources.filter(|ip| !ip.is_loopback() && !own.is_empty() && !own.contains(ip)) {
            by_source.entry(source).or_default().insert(real.address);
        }
    }
    let problem = |(source, reals): (IpAddr, BTreeSet<SocketAddr>)| HostProblem {
        what: format!("bindto {source} is not an address of this host"),
        why: format!(
            "{} cannot be checked from here, and clients are sent there even if dead",
            super::first_of(&reals.iter().map(|at| format!("real server {at}")).collect::<Vec<_>>())
        ),
        advice: "in a file that several directors share leave bindto out, or include a file for each host"
            .to_owned(),
        fix: None,
        is_fatal: true,
    };
    by_source.into_iter().map(problem).collect()
}

/// The problems that this host has with this configuration.
pub(crate) fn check(config: &Config, host: &HostFacts<'_>) -> Vec<HostProblem> {
    let is = |name: &str, value: &str| (host.sysctl)(name).is_some_and(|found| found == value);
    let servers = || config.virtual_servers.iter();
    let reals = || servers().flat_map(|s| &s.real_servers).map(Arc::as_ref);
    let mut problems = Vec::new();
    let is_nat = |r: &&RealServer| r.forwarding == Forwarding::Nat;
    for (setting, is_v4) in [("net.ipv4.ip_forward", true), ("net.ipv6.conf.all.forwarding", false)] {
        let found = reals().filter(is_nat).find(|r| r.address.is_ipv4() == is_v4);
        if let Some(real) = found.filter(|_| is(setting, "0")) {
            let why = format!("NAT needs it, or no reply of real server {} reaches its client", real.address);
            problems.push(HostProblem { is_fatal: true, ..HostProblem::setting(setting, "0", "1", why) });
        }
    }
    // Where lvsd keeps the setting itself, it is about to be right.
    let is_kept = |name: &str| config.global.sysctl.contains_key(name);
    let hurts = |name: &str| !is_kept(name) && is(&format!("net.ipv4.vs.{name}"), "0");
    if let Some(server) = servers().find(|s| is_datagram(s)).filter(|_| hurts("expire_nodest_conn")) {
        let why = format!(
            "a client of virtual server {} that keeps its port is sent to a real server that failed, until the \
             kernel forgets it",
            server.id
        );
        problems.push(HostProblem::setting("net.ipv4.vs.expire_nodest_conn", "0", "1", why));
    }
    let persistent = servers().find(|s| s.persistence.is_some());
    if let Some(server) = persistent.filter(|_| hurts("expire_quiescent_template")) {
        let why = format!(
            "persistence of virtual server {} holds clients at a real server of weight 0, for new connections, too",
            server.id
        );
        problems.push(HostProblem::setting("net.ipv4.vs.expire_quiescent_template", "0", "1", why));
    }
    let reuse = (host.sysctl)("net.ipv4.vs.conn_reuse_mode")
        .filter(|mode| mode != "0" && !is_kept("conn_reuse_mode"));
    if let Some(mode) = reuse.filter(|_| host.kernel < REUSE_FIXED && !config.virtual_servers.is_empty()) {
        let (major, minor) = host.kernel;
        let why = format!(
            "before Linux 5.9 (this is {major}.{minor}) a client that reuses its port waits for a second"
        );
        problems.push(HostProblem::setting("net.ipv4.vs.conn_reuse_mode", &mode, "0", why));
    }
    if !host.is_loopback_up && reals().any(|r| r.address.is_ipv4()) {
        problems.push(HostProblem {
            what: "lo is down".to_owned(),
            why: "the kernel refuses IPv4 real servers".to_owned(),
            advice: "set it up (ip link set lo up)".to_owned(),
            fix: Some(Fix::LinkUp("lo".to_owned())),
            is_fatal: true,
        });
    }
    problems.extend(unbindable(config, &host.own));
    let elsewhere = colocation::marked_elsewhere(config, &host.own);
    problems.extend(elsewhere.map(|id| HostProblem {
        what: format!("virtual server {id}"),
        why: "this host is one of its real servers, and another program sets its marks".to_owned(),
        advice: "they must leave out packets that another of its real servers sent, or two directors send them to \
                 and fro"
            .to_owned(),
        fix: None,
        is_fatal: false,
    }));
    problems
}

fn is_datagram(server: &VirtualServer) -> bool {
    matches!(server.id, VirtualServerId::Address { protocol: Protocol::Udp, .. })
        && !server.flags.contains(ServiceFlags::ONE_PACKET)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Strictness;
    use crate::config::load::load_from;
    use crate::syntax::files::MemoryFiles;

    const TCP: &str = "virtual_server 10.0.0.1 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n\
                       real_server 10.1.0.1 80 {\nweight 1\n}\n}\n";

    #[test]
    fn a_plain_service_on_a_plain_host_has_none() {
        assert_eq!(said(TCP, &[], (6, 1)), Vec::<String>::new());
    }

    #[test]
    fn each_setting_is_named_with_what_it_breaks_and_only_while_it_is_set() {
        let nat = TCP.replace("DR", "NAT");
        let udp = TCP.replace("TCP", "UDP");
        let persistent = TCP.replace("lb_kind DR", "lb_kind DR\npersistence_timeout 50");
        let cases = [
            (nat.as_str(), "net.ipv4.ip_forward", "real server 10.1.0.1:80"),
            (&udp, "net.ipv4.vs.expire_nodest_conn", "virtual server 10.0.0.1:80 udp"),
            (&persistent, "net.ipv4.vs.expire_quiescent_template", "virtual server 10.0.0.1:80 tcp"),
        ];
        for (text, setting, subject) in cases {
            let problems = said(text, &[(setting, "0")], (6, 1));
            assert_eq!(problems.len(), 1, "{setting}: {problems:?}");
            assert!(
                problems[0].starts_with(&format!("{setting} is 0: ")) && problems[0].contains(subject),
                "{problems:?}"
            );
            assert_eq!(said(text, &[(setting, "1")], (6, 1)), Vec::<String>::new());
            assert_eq!(
                said(TCP, &[(setting, "0")], (6, 1)),
                Vec::<String>::new(),
                "{setting} hurts no other"
            );
        }
    }

    #[test]
    fn port_reuse_is_a_problem_of_old_kernels_and_a_dead_loopback_of_all() {
        let reuse = [("net.ipv4.vs.conn_reuse_mode", "1")];
        assert_eq!(said(TCP, &reuse, (5, 8)).len(), 1);
        assert_eq!(said(TCP, &reuse, (5, 9)).len(), 0);
        let host =
            HostFacts { sysctl: &|_| None, is_loopback_up: false, kernel: (6, 1), own: BTreeSet::new() };
        assert!(check(&config(TCP), &host)[0].what.starts_with("lo is down"));
    }

    #[test]
    fn marks_that_others_set_for_a_host_that_is_a_real_server_too_are_a_problem() {
        let by_mark = TCP.replace("10.0.0.1 80", "fwmark 7").replace("protocol TCP\n", "");
        let pair = by_mark.replace("}\n}\n", "}\nreal_server 10.1.0.2 80 {\nweight 1\n}\n}\n");
        assert_eq!(said(&by_mark, &[], (6, 1)), Vec::<String>::new(), "no router to send it back");
        let problems = said(&pair, &[], (6, 1));
        assert!(problems.len() == 1 && problems[0].starts_with("virtual server fwmark 7: "), "{problems:?}");
    }

    fn said(text: &str, settings: &[(&str, &str)], kernel: (u32, u32)) -> Vec<String> {
        let read = |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let own = BTreeSet::from(["10.1.0.1".parse().unwrap()]);
        let problems = check(&config(text), &HostFacts { sysctl: &read, is_loopback_up: true, kernel, own });
        problems.iter().map(ToString::to_string).collect()
    }

    fn config(text: &str) -> Config {
        let files = MemoryFiles::new(&[("/keepalived.conf", text)]);
        load_from(&files, std::path::Path::new("/keepalived.conf"), Strictness::Strict)
            .config
            .expect("a configuration")
    }
}
