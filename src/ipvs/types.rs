//! What an IPVS table holds (linux/ip_vs.h): services, destinations, timeouts, sync daemons, counters.
//!
//! Values are canonical: two of them compare equal exactly when the kernel would treat them alike (no
//! kernel-set flags, netmask as a prefix length). The wire format is the netlink backend's business.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::scheduler::Scheduler;

/// Address family of a service or destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 (`inet`).
    Inet,
    /// IPv6 (`inet6`).
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Family {
        match address {
            IpAddr::V4(_) => Family::Inet,
            IpAddr::V6(_) => Family::Inet6,
        }
    }

    /// Length of a host prefix: 32 or 128.
    pub fn host_prefix(self) -> u8 {
        match self {
            Family::Inet => 32,
            Family::Inet6 => 128,
        }
    }
}

/// Transport protocol of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP (6).
    Tcp,
    /// UDP (17).
    Udp,
    /// SCTP (132).
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// What identifies a service in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ServiceKey {
    /// By protocol, virtual address and port (0 = every port, for persistent services).
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address (VIP).
        address: IpAddr,
        /// Port, host byte order.
        port: u16,
    },
    /// By firewall mark, for one family.
    Fwmark {
        /// Family of the packets.
        family: Family,
        /// The mark, never 0.
        mark: u32,
    },
}

impl ServiceKey {
    /// Address family of the service.
    pub fn family(&self) -> Family {
        match self {
            ServiceKey::Address { address, .. } => Family::of(*address),
            ServiceKey::Fwmark { family, .. } => *family,
        }
    }
}

impl fmt::Display for ServiceKey {
    /// `10.0.0.1:80 tcp`, `[fd00::1]:80 tcp`, `fwmark 7`, `fwmark 7 inet6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceKey::Address { protocol, address, port } => {
                write!(f, "{} {protocol}", SocketAddr::new(*address, *port))
            }
            ServiceKey::Fwmark { family: Family::Inet, mark } => write!(f, "fwmark {mark}"),
            ServiceKey::Fwmark { family: Family::Inet6, mark } => write!(f, "fwmark {mark} inet6"),
        }
    }
}

/// What identifies a destination within its service: address and port.
pub(crate) type DestinationKey = SocketAddr;

/// Scheduler flags and one-packet scheduling (IP_VS_SVC_F_*), without the bits the kernel sets itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceFlags(pub u32);

impl ServiceFlags {
    /// IP_VS_SVC_F_ONEPACKET: every datagram is scheduled alone (keepalived `ops`).
    pub const ONE_PACKET: ServiceFlags = ServiceFlags(0x4);
    /// IP_VS_SVC_F_SCHED1: `flag-1`, `sh-fallback`, `mh-fallback`.
    pub const SCHED1: ServiceFlags = ServiceFlags(0x8);
    /// IP_VS_SVC_F_SCHED2: `flag-2`, `sh-port`, `mh-port`.
    pub const SCHED2: ServiceFlags = ServiceFlags(0x10);
    /// IP_VS_SVC_F_SCHED3: `flag-3`.
    pub const SCHED3: ServiceFlags = ServiceFlags(0x20);
    /// Every bit a user may set; PERSISTENT follows from [`Service::persistence`], HASHED is the kernel's.
    pub const USER: ServiceFlags = ServiceFlags(0x3c);

    /// Both sets together.
    #[must_use]
    pub fn with(self, other: ServiceFlags) -> ServiceFlags {
        ServiceFlags(self.0 | other.0)
    }

    /// Whether every bit of `other` is set here.
    pub fn contains(self, other: ServiceFlags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Persistence of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Persistence {
    /// Seconds a client stays with its destination, 1 to 2678400 (31 days).
    pub timeout: u32,
    /// Prefix length by which clients are told apart: 1-32, or 1-128 for IPv6.
    pub prefix: u8,
}

/// How a service schedules.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Service {
    /// Scheduler, e.g. `wlc`.
    pub scheduler: Scheduler,
    /// Scheduler flags and one-packet scheduling.
    pub flags: ServiceFlags,
    /// Persistence, if any.
    pub persistence: Option<Persistence>,
    /// Persistence engine, e.g. `sip`; at most 15 bytes.
    pub persistence_engine: Option<String>,
}

/// Checksum handling of a GUE or GRE tunnel (IP_VS_TUNNEL_ENCAP_FLAG_*).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelChecksum {
    /// `nocsum`.
    #[default]
    None,
    /// `csum`.
    Checksum,
    /// `remcsum`: remote checksum offload, GUE only.
    Remote,
}

/// Encapsulation of the TUN forwarding method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "type")]
pub enum Tunnel {
    /// IP in IP.
    #[default]
    Ipip,
    /// Generic UDP encapsulation to a port.
    Gue {
        /// UDP port of the real server's decapsulator, 1-65535.
        port: u16,
        /// Checksum handling.
        checksum: TunnelChecksum,
    },
    /// GRE.
    Gre {
        /// Checksum handling; never `Remote`.
        checksum: TunnelChecksum,
    },
}

/// Forwarding method of a destination (IP_VS_CONN_F_*).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forwarding {
    /// Address translation (masquerading).
    Nat,
    /// Direct routing.
    Dr,
    /// Tunnel.
    Tun(Tunnel),
    /// This host itself; the kernel's own choice for local addresses in listings of foreign tables.
    Local,
    /// Transparent cache bypass; only ever seen in foreign tables.
    Bypass,
}

impl fmt::Display for Forwarding {
    /// `NAT`, `DR`, `TUN ipip`, `TUN gue`, `TUN gre`, `local`, `bypass`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forwarding::Nat => "NAT",
            Forwarding::Dr => "DR",
            Forwarding::Tun(Tunnel::Ipip) => "TUN ipip",
            Forwarding::Tun(Tunnel::Gue { .. }) => "TUN gue",
            Forwarding::Tun(Tunnel::Gre { .. }) => "TUN gre",
            Forwarding::Local => "local",
            Forwarding::Bypass => "bypass",
        })
    }
}

/// How packets reach a destination and how many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Destination {
    /// Forwarding method.
    pub forwarding: Forwarding,
    /// Weight, 0 (quiesced) to 2147483647.
    pub weight: u32,
    /// Connections above which no new ones are sent; 0 = no limit.
    pub upper_threshold: u32,
    /// Connections below which an overloaded destination is used again; 0 = 3/4 of the upper.
    pub lower_threshold: u32,
}

/// A service's or destination's counters (64-bit; the kernel folds them about every 2 s).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub connections: u64,
    /// Packets from clients.
    pub packets_in: u64,
    /// Packets to clients (NAT only).
    pub packets_out: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients (NAT only).
    pub bytes_out: u64,
}

/// A destination's live connection counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    pub active: u32,
    /// Connections in any other state.
    pub inactive: u32,
    pub persistent: u32,
}

/// A destination as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationEntry {
    pub destination: Destination,
    /// Its live connections.
    pub connections: Connections,
    pub stats: Stats,
}

/// A service as the kernel reports it, with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Its settings.
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
    /// Its destinations.
    pub destinations: BTreeMap<DestinationKey, DestinationEntry>,
}

/// A desired service, with its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its settings.
    pub service: Service,
    /// Its destinations.
    pub destinations: BTreeMap<DestinationKey, Destination>,
}

/// Connection timeouts, in seconds (`ipvsadm --set`); each 0..=2678400.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    pub tcp: u32,
    /// TCP after a FIN.
    pub tcp_fin: u32,
    pub udp: u32,
}

/// Which half of connection replication a sync daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncRole {
    /// Sends this director's connections (IP_VS_STATE_MASTER).
    Master,
    /// Receives another director's (IP_VS_STATE_BACKUP).
    Backup,
}

/// A connection sync daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncDaemon {
    /// Sender or receiver.
    pub role: SyncRole,
    /// Multicast interface; at most 15 bytes.
    pub interface: String,
    /// Sync id, 0-255; 0 at the receiver accepts all.
    pub sync_id: u8,
    /// Most bytes a sync message carries; None = the kernel's choice (interface MTU).
    pub max_len: Option<u16>,
    /// Multicast group; None = the kernel's 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; None = the kernel's 8848.
    pub port: Option<u16>,
    /// Multicast TTL, 1-255; None = the kernel's 1.
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// The kernel's default group.
    pub const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
    /// The kernel's default port.
    pub const DEFAULT_PORT: u16 = 8848;

    /// This daemon as the kernel reports it once it runs: its defaults filled in, its limits applied.
    /// `chosen` is the length of a message where none is wanted, which follows from the interface: 1472
    /// bytes at a sender, at least that at a receiver.
    #[must_use]
    pub fn running(&self, chosen: Option<u16>) -> SyncDaemon {
        let group = self.group.unwrap_or(Self::DEFAULT_GROUP);
        // IP and UDP headers.
        let headers = if group.is_ipv6() { 48 } else { 28 };
        let least = match self.role {
            SyncRole::Master => 1,
            SyncRole::Backup => 1024,
        };
        SyncDaemon {
            max_len: self.max_len.filter(|n| *n != 0).map(|n| n.clamp(least, u16::MAX - headers)).or(chosen),
            group: Some(group),
            port: self.port.filter(|p| *p != 0).or(Some(Self::DEFAULT_PORT)),
            ttl: self.ttl.filter(|t| *t != 0).or(Some(1)),
            ..self.clone()
        }
    }

    /// Whether a daemon the kernel reports is the one wanted here.
    pub fn is_satisfied_by(&self, reported: &SyncDaemon) -> bool {
        self.running(reported.max_len) == *reported
    }
}

/// What the kernel keeps beside the services.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// IPVS version, e.g. (1, 2, 1).
    pub version: (u8, u8, u8),
    /// Size of the connection hash table.
    pub connection_table_size: u32,
    pub timeouts: Timeouts,
    /// Running sync daemons, master first.
    pub sync_daemons: Vec<SyncDaemon>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_sync_daemon_has_the_kernels_defaults_and_limits() {
        let run = |role, max_len, group: Option<&str>| {
            let running = daemon(role, max_len, group).running(Some(1472));
            (running.max_len, running.group.unwrap().to_string(), running.port, running.ttl)
        };
        let is = |max_len, group: &str| (Some(max_len), group.to_owned(), Some(8848), Some(1));
        assert_eq!(run(SyncRole::Master, None, None), is(1472, "224.0.0.81"));
        assert_eq!(run(SyncRole::Master, Some(0), None), is(1472, "224.0.0.81"));
        assert_eq!(run(SyncRole::Master, Some(1), None), is(1, "224.0.0.81"));
        assert_eq!(run(SyncRole::Backup, Some(1), None), is(1024, "224.0.0.81"));
        assert_eq!(run(SyncRole::Master, Some(65535), None), is(65507, "224.0.0.81"));
        assert_eq!(run(SyncRole::Backup, Some(65535), Some("ff02::81")), is(65487, "ff02::81"));
    }

    #[test]
    fn a_wanted_sync_daemon_is_satisfied_by_its_running_self_and_by_no_other() {
        let wanted = daemon(SyncRole::Backup, None, None);
        let running = wanted.running(Some(65507));
        assert!(wanted.is_satisfied_by(&running));
        assert!(!wanted.is_satisfied_by(&SyncDaemon { sync_id: 2, ..running.clone() }));
        assert!(!wanted.is_satisfied_by(&SyncDaemon { ttl: Some(9), ..running.clone() }));
        assert!(!daemon(SyncRole::Backup, Some(2000), None).is_satisfied_by(&running));
    }

    fn daemon(role: SyncRole, max_len: Option<u16>, group: Option<&str>) -> SyncDaemon {
        SyncDaemon {
            role,
            interface: "eth0".into(),
            sync_id: 1,
            max_len,
            group: group.map(|g| g.parse().unwrap()),
            port: None,
            ttl: None,
        }
    }
}
