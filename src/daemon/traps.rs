//! Settings of this host that will hurt what is configured: said at the start, at a reload, and by `lvsd check`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;

use super::doors;
use crate::config::{Config, RealServer, VirtualServer, VirtualServerId};
use crate::director::colocated;
use crate::ipvs::types::{Forwarding, Protocol, ServiceFlags};
use crate::net::kernel::Kernel;
use crate::net::sysctl;

/// Linux before this sends a client that reuses its port astray for a second (fixed by the two patches of 5.9).
const REUSE_FIXED: (u32, u32) = (5, 9);

/// A host, as far as it can be asked.
pub struct Host<'a> {
    /// A kernel setting's value; None when this kernel has none of that name.
    pub sysctl: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `lo` is up.
    pub is_loopback_up: bool,
    /// The kernel's version.
    pub kernel: (u32, u32),
    /// Its addresses.
    pub own: BTreeSet<IpAddr>,
}

/// What on this host will hurt this configuration, in words. Nothing when this host has no IPVS: it is no director
/// then, and only checks a file.
pub fn here(config: &Config) -> Vec<String> {
    let read = |name: &str| sysctl::read(name).ok();
    if read("net.ipv4.vs.expire_nodest_conn").is_none() {
        return Vec::new();
    }
    // 127.0.0.1 is an address of this host exactly while lo is up.
    let is_loopback_up = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let own = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| doors::around(&host).own);
    let own = own.unwrap_or_default();
    of(config, &Host { sysctl: &read, is_loopback_up, kernel: version(&release), own })
}

/// Virtual servers of which this host is a real server, and what will be done about it, in words.
pub fn colocations(config: &Config) -> Vec<String> {
    let own = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| doors::around(&host).own);
    let found = colocated::find(config, &own.unwrap_or_default(), true);
    found.iter().map(|(id, colocated)| format!("virtual server {id}: {colocated}")).collect()
}

/// What on this host will hurt this configuration, in words.
pub fn of(config: &Config, host: &Host<'_>) -> Vec<String> {
    let is = |name: &str, value: &str| (host.sysctl)(name).is_some_and(|found| found == value);
    let servers = || config.virtual_servers.iter();
    let reals = || servers().flat_map(|s| &s.real_servers).map(Arc::as_ref);
    let mut traps = Vec::new();
    let is_nat = |r: &&RealServer| r.forwarding == Forwarding::Nat;
    for (setting, is_v4) in [("net.ipv4.ip_forward", true), ("net.ipv6.conf.all.forwarding", false)] {
        let found = reals().filter(is_nat).find(|r| r.address.is_ipv4() == is_v4);
        if let Some(real) = found.filter(|_| is(setting, "0")) {
            traps.push(format!(
                "{setting} is 0: NAT needs it, or no reply of real server {} reaches its client; set it to 1",
                real.address
            ));
        }
    }
    // Where lvsd keeps the setting itself, it is about to be right.
    let is_kept = |name: &str| config.global.sysctl.contains_key(name);
    let hurts = |name: &str| !is_kept(name) && is(&format!("net.ipv4.vs.{name}"), "0");
    if let Some(server) = servers().find(|s| is_datagram(s)).filter(|_| hurts("expire_nodest_conn")) {
        traps.push(format!(
            "net.ipv4.vs.expire_nodest_conn is 0: a client of virtual server {} that keeps its port is sent to a real \
             server that failed, until the kernel forgets it; set it to 1",
            server.id
        ));
    }
    let persistent = servers().find(|s| s.persistence.is_some());
    if let Some(server) = persistent.filter(|_| hurts("expire_quiescent_template")) {
        traps.push(format!(
            "net.ipv4.vs.expire_quiescent_template is 0: persistence of virtual server {} holds clients at a real \
             server of weight 0, for new connections, too; set it to 1",
            server.id
        ));
    }
    let reuse = (host.sysctl)("net.ipv4.vs.conn_reuse_mode")
        .filter(|mode| mode != "0" && !is_kept("conn_reuse_mode"));
    if let Some(mode) = reuse.filter(|_| host.kernel < REUSE_FIXED && !config.virtual_servers.is_empty()) {
        let (major, minor) = host.kernel;
        traps.push(format!(
            "net.ipv4.vs.conn_reuse_mode is {mode}: before Linux 5.9 (this is {major}.{minor}) a client that reuses \
             its port waits for a second; set it to 0"
        ));
    }
    if !host.is_loopback_up && reals().any(|r| r.address.is_ipv4()) {
        traps.push(
            "lo is down: the kernel refuses IPv4 real servers; set it up (ip link set lo up)".to_owned(),
        );
    }
    let elsewhere = colocated::marked_elsewhere(config, &host.own);
    traps.extend(elsewhere.map(|id| {
        format!(
            "virtual server {id}: this host is one of its real servers, and its marks are set by others: they must \
             leave out packets that another of its real servers sent, or two directors send them to and fro"
        )
    }));
    traps
}

fn is_datagram(server: &VirtualServer) -> bool {
    matches!(server.id, VirtualServerId::Address { protocol: Protocol::Udp, .. })
        && !server.flags.contains(ServiceFlags::ONE_PACKET)
}

/// `6.1.0-18-amd64` is 6.1; what makes no sense is the newest.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, 0),
    }
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
    fn each_trap_is_named_with_what_it_catches_and_only_while_it_is_set() {
        let nat = TCP.replace("DR", "NAT");
        let udp = TCP.replace("TCP", "UDP");
        let persistent = TCP.replace("lb_kind DR", "lb_kind DR\npersistence_timeout 50");
        let cases = [
            (nat.as_str(), "net.ipv4.ip_forward", "real server 10.1.0.1:80"),
            (&udp, "net.ipv4.vs.expire_nodest_conn", "virtual server 10.0.0.1:80 udp"),
            (&persistent, "net.ipv4.vs.expire_quiescent_template", "virtual server 10.0.0.1:80 tcp"),
        ];
        for (text, setting, subject) in cases {
            let traps = said(text, &[(setting, "0")], (6, 1));
            assert_eq!(traps.len(), 1, "{setting}: {traps:?}");
            assert!(
                traps[0].starts_with(&format!("{setting} is 0: ")) && traps[0].contains(subject),
                "{traps:?}"
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
    fn port_reuse_is_a_trap_of_old_kernels_and_a_dead_loopback_of_all() {
        let reuse = [("net.ipv4.vs.conn_reuse_mode", "1")];
        assert_eq!(said(TCP, &reuse, (5, 8)).len(), 1);
        assert_eq!(said(TCP, &reuse, (5, 9)).len(), 0);
        assert_eq!(
            (version("5.8.0-1-amd64"), version("6.10"), version("odd")),
            ((5, 8), (6, 10), (u32::MAX, 0))
        );
        let host = Host { sysctl: &|_| None, is_loopback_up: false, kernel: (6, 1), own: BTreeSet::new() };
        assert!(of(&config(TCP), &host)[0].starts_with("lo is down"));
    }

    #[test]
    fn marks_that_others_set_for_a_host_that_is_a_real_server_too_are_a_trap() {
        let by_mark = TCP.replace("10.0.0.1 80", "fwmark 7").replace("protocol TCP\n", "");
        let pair = by_mark.replace("}\n}\n", "}\nreal_server 10.1.0.2 80 {\nweight 1\n}\n}\n");
        assert_eq!(said(&by_mark, &[], (6, 1)), Vec::<String>::new(), "nobody to send it back");
        let traps = said(&pair, &[], (6, 1));
        assert!(traps.len() == 1 && traps[0].starts_with("virtual server fwmark 7: "), "{traps:?}");
    }

    fn said(text: &str, settings: &[(&str, &str)], kernel: (u32, u32)) -> Vec<String> {
        let read = |name: &str| settings.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let own = BTreeSet::from(["10.1.0.1".parse().unwrap()]);
        of(&config(text), &Host { sysctl: &read, is_loopback_up: true, kernel, own })
    }

    fn config(text: &str) -> Config {
        let files = MemoryFiles::new(&[("/keepalived.conf", text)]);
        load_from(&files, std::path::Path::new("/keepalived.conf"), Strictness::Strict)
            .config
            .expect("a configuration")
    }
}
