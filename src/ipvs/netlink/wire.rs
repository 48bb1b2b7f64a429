//! The numbers of IPVS's generic netlink protocol (linux/ip_vs.h), version 1.
//!
//! Nothing but numbers; [`super::encode`] and [`super::decode`] give them their meaning.

use neli::neli_enum;

/// Name of the generic netlink family.
pub(super) const FAMILY_NAME: &str = "IPVS";
/// Version of the protocol (IPVS_GENL_VERSION).
pub(super) const VERSION: u8 = 1;

/// IP_VS_SVC_F_PERSISTENT.
pub(super) const PERSISTENT: u32 = 0x1;

pub(super) const AF_INET: u16 = 2;
pub(super) const AF_INET6: u16 = 10;

pub(super) const TCP: u16 = 6;
pub(super) const UDP: u16 = 17;
pub(super) const SCTP: u16 = 132;

/// IP_VS_CONN_F_FWD_MASK: the bits of a forwarding method.
pub(super) const FORWARDING_MASK: u32 = 0x7;
pub(super) const NAT: u32 = 0;
pub(super) const LOCAL: u32 = 1;
pub(super) const TUN: u32 = 2;
pub(super) const DR: u32 = 3;
pub(super) const BYPASS: u32 = 4;

pub(super) const IPIP: u8 = 0;
pub(super) const GUE: u8 = 1;
pub(super) const GRE: u8 = 2;

pub(super) const CHECKSUM: u16 = 1;
pub(super) const REMOTE_CHECKSUM: u16 = 2;

pub(super) const MASTER: u32 = 1;
pub(super) const BACKUP: u32 = 2;

/// IPVS_CMD_*: what a message asks or tells.
#[neli_enum(serialized_type = "u8")]
pub(super) enum Command {
    NewService = 1,
    SetService = 2,
    DelService = 3,
    GetService = 4,
    NewDest = 5,
    SetDest = 6,
    DelDest = 7,
    GetDest = 8,
    NewDaemon = 9,
    DelDaemon = 10,
    GetDaemon = 11,
    SetConfig = 12,
    GetConfig = 13,
    GetInfo = 15,
}

/// IPVS_CMD_ATTR_*: the outermost attributes.
#[neli_enum(serialized_type = "u16")]
pub(super) enum CommandAttr {
    Service = 1,
    Dest = 2,
    Daemon = 3,
    TimeoutTcp = 4,
    TimeoutTcpFin = 5,
    TimeoutUdp = 6,
}

/// IPVS_SVC_ATTR_*.
#[neli_enum(serialized_type = "u16")]
pub(super) enum ServiceAttr {
    Family = 1,
    Protocol = 2,
    Address = 3,
    Port = 4,
    Fwmark = 5,
    Scheduler = 6,
    Flags = 7,
    Timeout = 8,
    Netmask = 9,
    Stats = 10,
    PersistenceEngine = 11,
    Stats64 = 12,
}

/// IPVS_DEST_ATTR_*.
#[neli_enum(serialized_type = "u16")]
pub(super) enum DestinationAttr {
    Address = 1,
    Port = 2,
    Forwarding = 3,
    Weight = 4,
    UpperThreshold = 5,
    LowerThreshold = 6,
    Active = 7,
    Inactive = 8,
    Persistent = 9,
    Stats = 10,
    Family = 11,
    Stats64 = 12,
    TunnelType = 13,
    TunnelPort = 14,
    TunnelFlags = 15,
}

/// IPVS_DAEMON_ATTR_*.
#[neli_enum(serialized_type = "u16")]
pub(super) enum DaemonAttr {
    State = 1,
    Interface = 2,
    SyncId = 3,
    MaxLen = 4,
    Group = 5,
    Group6 = 6,
    Port = 7,
    Ttl = 8,
}

/// IPVS_STATS_ATTR_*.
#[neli_enum(serialized_type = "u16")]
pub(super) enum StatsAttr {
    Connections = 1,
    PacketsIn = 2,
    PacketsOut = 3,
    BytesIn = 4,
    BytesOut = 5,
}

/// IPVS_INFO_ATTR_*.
#[neli_enum(serialized_type = "u16")]
pub(super) enum InfoAttr {
    Version = 1,
    TableSize = 2,
}
