//! Checks of this host at the start, at a reload and by `lvsd check`: settings that break what is configured.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, UdpSocket};

use super::host_watch;
use crate::config::Config;
use crate::director::colocation;
use crate::doctor::host_checks::{self, HostFacts};
use crate::net::kernel::Kernel;
use crate::net::sysctl;
use crate::vrrp;

/// The problems that this host has with this configuration, in words. Where the kernel has no IPVS, this host is no
/// director and only checks a file: then nothing about virtual servers.
pub(crate) fn check(config: &Config) -> Vec<String> {
    let mut found = hosts_own(config);
    if read("net.ipv4.vs.expire_nodest_conn").is_some() {
        found.extend(host_checks::check(config, &facts()).iter().map(ToString::to_string));
    }
    found
}

/// Virtual addresses that are this host's own, as the router would find them at its start.
fn hosts_own(config: &Config) -> Vec<String> {
    if config.vrrp.instances.is_empty() {
        return Vec::new();
    }
    let host = Kernel::open().and_then(|mut kernel| kernel.host());
    let found = host.map(|host| vrrp::hosts_own(&config.vrrp, host)).unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

pub(crate) fn facts() -> HostFacts<'static> {
    // 127.0.0.1 is an address of this host exactly while lo is up.
    let is_loopback_up = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).is_ok();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let own = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| host_watch::around(&host).own);
    HostFacts { sysctl: &read, is_loopback_up, kernel: version(&release), own: own.unwrap_or_default() }
}

fn read(name: &str) -> Option<String> {
    sysctl::read(name).ok()
}

/// The virtual servers that have this host as a real server, and how lvsd directs their packets, in words.
pub(crate) fn colocations(config: &Config) -> Vec<String> {
    let own = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| host_watch::around(&host).own);
    let found = colocation::find(config, &own.unwrap_or_default(), true);
    found.iter().map(|(id, colocated)| format!("virtual server {id}: {colocated}")).collect()
}

/// The instances that are for other nodes, and not run on this host, in words.
pub(crate) fn other_nodes(config: &Config) -> Vec<String> {
    if config.vrrp.instances.iter().all(|instance| instance.source.is_none()) {
        return Vec::new();
    }
    let own = Kernel::open().and_then(|mut kernel| kernel.host()).map(|host| host_watch::around(&host).own);
    let own = own.unwrap_or_default();
    let found = vrrp::other_nodes::find(&config.vrrp, |ip| own.contains(&ip), &BTreeMap::new());
    let found = found.iter();
    found
        .map(|(name, node)| format!("vrrp_instance {name} is for the node with {node}: not run here"))
        .collect()
}

/// `6.1.0-18-amd64` is 6.1; a release without numbers counts as the newest.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        _ => (u32::MAX, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_release_that_makes_no_sense_is_the_newest() {
        let all = ["5.8.0-1-amd64", "6.10", "odd"].map(version);
        assert_eq!(all, [(5, 8), (6, 10), (u32::MAX, 0)]);
    }
}
