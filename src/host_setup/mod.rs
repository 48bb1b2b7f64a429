//! Prepares a host as a real server behind DR or TUN: it accepts packets for a VIP without answering ARP for it.
//!
//! [`plan`] says what is to be changed, [`emit`] writes the same as files that survive a reboot, [`record`] keeps what
//! was changed, so that it can be undone. All of it is pure; `cli` performs it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::config::{Config, VirtualServerId};
use crate::ipvs::types::{Forwarding, Tunnel};

pub(crate) mod emit;
pub(crate) mod plan;
pub(crate) mod record;

/// How packets for a VIP arrive here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Arrival {
    /// As they are, in a frame to this host's MAC address.
    Dr,
    /// In a tunnel, whose outer packets are of this family.
    Tun {
        tunnel: TunnelKind,
        /// IPv6 carries it.
        is_outer_ipv6: bool,
    },
}

/// An encapsulation, as far as the decapsulating host must know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TunnelKind {
    /// IP in IP.
    Ipip,
    /// GRE without key.
    Gre,
    /// GUE to a UDP port.
    Gue {
        /// 1-65535.
        port: u16,
    },
}

impl From<Tunnel> for TunnelKind {
    fn from(tunnel: Tunnel) -> TunnelKind {
        match tunnel {
            Tunnel::Ipip => TunnelKind::Ipip,
            Tunnel::Gue { port, .. } => TunnelKind::Gue { port },
            Tunnel::Gre { .. } => TunnelKind::Gre,
        }
    }
}

/// A VIP this host serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Vip {
    pub ip: IpAddr,
    /// How its packets arrive.
    pub arrival: Arrival,
}

/// What is wanted of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preparation {
    /// The VIPs; at least one.
    pub vips: BTreeSet<Vip>,
    /// The link that has them: `lo`, or one that is no part of the network.
    pub device: String,
}

/// The VIPs a director's configuration sends to one of `own` addresses, and what cannot be told from it.
pub(crate) fn of_config(config: &Config, own: &BTreeSet<IpAddr>) -> (BTreeSet<Vip>, Vec<String>) {
    let mut vips = BTreeSet::new();
    let mut untold = Vec::new();
    for server in &config.virtual_servers {
        for real in server.real_servers.iter().filter(|real| own.contains(&real.address.ip())) {
            let arrival = match real.forwarding {
                Forwarding::Dr => Arrival::Dr,
                Forwarding::Tun(tunnel) => {
                    Arrival::Tun { tunnel: tunnel.into(), is_outer_ipv6: real.address.is_ipv6() }
                }
                Forwarding::Nat | Forwarding::Local | Forwarding::Bypass => continue,
            };
            match server.id {
                VirtualServerId::Address { address, .. } => {
                    vips.insert(Vip { ip: address, arrival });
                }
                VirtualServerId::Fwmark { .. } => untold.push(format!(
                    "virtual server {} is a firewall mark: its VIPs are not in this file, name them with --vip",
                    server.id
                )),
            }
        }
    }
    (vips, untold)
}
