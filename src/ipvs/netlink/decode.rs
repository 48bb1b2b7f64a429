//! Answers of IPVS: generic netlink attributes into the table's types, trusting nothing.
//!
//! Unknown attributes are skipped. A value that lvsd does not know must not hide the rest of a foreign
//! table: a service of another protocol is left out, a scheduler whose name is odd reads as `none`, and a
//! forwarding method or tunnel that is unknown as [`Forwarding::Bypass`], so that it equals nothing desired.

use std::net::IpAddr;

use super::wire::{self, CommandAttr, DaemonAttr, DestinationAttr, InfoAttr, ServiceAttr, StatsAttr};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{
    Connections, Destination, DestinationEntry, DestinationKey, Family, Forwarding, Persistence, Protocol,
    Service, ServiceFlags, ServiceKey, Stats, SyncDaemon, SyncRole, Timeouts, Tunnel, TunnelChecksum,
};
use crate::netlink::attribute::{Attribute, Malformed, attributes, take_u32};

/// The key of a service; None when lvsd cannot express it.
pub(super) fn service_key(message: &[u8]) -> Result<Option<ServiceKey>, Malformed> {
    service_attributes(message)?.key()
}

/// A service's key, settings and counters; None when lvsd cannot express its key.
pub(super) fn service(message: &[u8]) -> Result<Option<(ServiceKey, Service, Stats)>, Malformed> {
    let s = service_attributes(message)?;
    let Some(key) = s.key()? else { return Ok(None) };
    let flags = s.flags.ok_or(Malformed("a service without flags"))?;
    let persistence = if flags & wire::PERSISTENT == 0 {
        None
    } else {
        Some(Persistence {
            timeout: s.timeout.ok_or(Malformed("a persistent service without a timeout"))?,
            prefix: prefix(
                key.family(),
                s.netmask.ok_or(Malformed("a persistent service without a netmask"))?,
            ),
        })
    };
    let name = s.scheduler.ok_or(Malformed("a service without a scheduler"))?;
    let service = Service {
        scheduler: Scheduler::new(&name)
            .or_else(|| Scheduler::new(NO_SCHEDULER))
            .ok_or(Malformed("a service without a scheduler"))?,
        flags: ServiceFlags(flags & ServiceFlags::USER.0),
        persistence,
        persistence_engine: s.persistence_engine.filter(|e| !e.is_empty()),
    };
    Ok(Some((key, service, s.stats64.or(s.stats).unwrap_or_default())))
}

/// What the kernel calls a service that has no scheduler.
const NO_SCHEDULER: &str = "none";

/// A destination of a service of the family; None when it is of a family lvsd does not know.
pub(super) fn destination(
    message: &[u8],
    service: Family,
) -> Result<Option<(DestinationKey, DestinationEntry)>, Malformed> {
    let mut d = DestinationAttributes::default();
    for a in attributes(nested(message, CommandAttr::Dest)?) {
        d.take(&a?)?;
    }
    let Some(family) = d.family.map_or(Some(service), self::family) else { return Ok(None) };
    let address = address(&d.address.ok_or(Malformed("a destination without an address"))?, family)?;
    let port = d.port.ok_or(Malformed("a destination without a port"))?;
    let entry = DestinationEntry {
        destination: Destination {
            forwarding: forwarding(
                d.forwarding.ok_or(Malformed("a destination without a forwarding method"))?,
                d.tunnel,
            ),
            weight: d.weight.ok_or(Malformed("a destination without a weight"))?,
            upper_threshold: d.upper_threshold,
            lower_threshold: d.lower_threshold,
        },
        connections: d.connections,
        stats: d.stats64.or(d.stats).unwrap_or_default(),
    };
    Ok(Some((DestinationKey::new(address, port), entry)))
}

/// A running sync daemon; None when its role is unknown.
pub(super) fn sync_daemon(message: &[u8]) -> Result<Option<SyncDaemon>, Malformed> {
    let mut state = None;
    let mut daemon = SyncDaemon {
        role: SyncRole::Master,
        interface: String::new(),
        sync_id: 0,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    for a in attributes(nested(message, CommandAttr::Daemon)?) {
        let a = a?;
        match DaemonAttr::from(a.kind) {
            DaemonAttr::State => state = Some(a.u32()?),
            DaemonAttr::Interface => daemon.interface = a.text(),
            // The kernel keeps a whole number, the wire between directors has a byte for it.
            DaemonAttr::SyncId => daemon.sync_id = a.u32()?.to_le_bytes()[0],
            DaemonAttr::MaxLen => daemon.max_len = Some(a.u16()?),
            DaemonAttr::Group => daemon.group = Some(a.ipv4()?.into()),
            DaemonAttr::Group6 => daemon.group = Some(a.ipv6()?.into()),
            DaemonAttr::Port => daemon.port = Some(a.u16()?),
            DaemonAttr::Ttl => daemon.ttl = Some(a.u8()?),
            _ => {}
        }
    }
    daemon.role = match state.ok_or(Malformed("a sync daemon without a role"))? {
        wire::MASTER => SyncRole::Master,
        wire::BACKUP => SyncRole::Backup,
        _ => return Ok(None),
    };
    Ok(Some(daemon))
}

/// The answer to GET_CONFIG.
pub(super) fn timeouts(message: &[u8]) -> Result<Timeouts, Malformed> {
    let mut t = Timeouts::default();
    for a in attributes(message) {
        let a = a?;
        match CommandAttr::from(a.kind) {
            CommandAttr::TimeoutTcp => t.tcp = a.u32()?,
            CommandAttr::TimeoutTcpFin => t.tcp_fin = a.u32()?,
            CommandAttr::TimeoutUdp => t.udp = a.u32()?,
            _ => {}
        }
    }
    Ok(t)
}

/// The answer to GET_INFO: version, size of the connection table.
pub(super) fn info(message: &[u8]) -> Result<((u8, u8, u8), u32), Malformed> {
    let (mut version, mut size) = ((0, 0, 0), 0);
    for a in attributes(message) {
        let a = a?;
        match InfoAttr::from(a.kind) {
            InfoAttr::Version => {
                let [_, major, minor, patch] = a.u32()?.to_be_bytes();
                version = (major, minor, patch);
            }
            InfoAttr::TableSize => size = a.u32()?,
            _ => {}
        }
    }
    Ok((version, size))
}

/// What a service's attributes say, before any sense is made of it.
#[derive(Default)]
struct ServiceAttributes<'a> {
    family: Option<u16>,
    protocol: Option<u16>,
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    fwmark: Option<u32>,
    scheduler: Option<String>,
    flags: Option<u32>,
    timeout: Option<u32>,
    netmask: Option<u32>,
    persistence_engine: Option<String>,
    stats: Option<Stats>,
    stats64: Option<Stats>,
}

fn service_attributes(message: &[u8]) -> Result<ServiceAttributes<'_>, Malformed> {
    let mut s = ServiceAttributes::default();
    for a in attributes(nested(message, CommandAttr::Service)?) {
        let a = a?;
        match ServiceAttr::from(a.kind) {
            ServiceAttr::Family => s.family = Some(a.u16()?),
            ServiceAttr::Protocol => s.protocol = Some(a.u16()?),
            ServiceAttr::Address => s.address = Some(a),
            ServiceAttr::Port => s.port = Some(a.port()?),
            ServiceAttr::Fwmark => s.fwmark = Some(a.u32()?),
            ServiceAttr::Scheduler => s.scheduler = Some(a.text()),
            ServiceAttr::Flags => s.flags = Some(take_u32(a.payload, 0)?),
            ServiceAttr::Timeout => s.timeout = Some(a.u32()?),
            ServiceAttr::Netmask => s.netmask = Some(a.u32()?),
            ServiceAttr::PersistenceEngine => s.persistence_engine = Some(a.text()),
            ServiceAttr::Stats => s.stats = Some(stats(&a)?),
            ServiceAttr::Stats64 => s.stats64 = Some(stats(&a)?),
            _ => {}
        }
    }
    Ok(s)
}

impl ServiceAttributes<'_> {
    /// None when the family or the protocol is one lvsd does not know.
    fn key(&self) -> Result<Option<ServiceKey>, Malformed> {
        let number = self.family.ok_or(Malformed("a service without an address family"))?;
        let Some(family) = family(number) else { return Ok(None) };
        if let Some(mark) = self.fwmark {
            return Ok(Some(ServiceKey::Fwmark { family, mark }));
        }
        let protocol = match self.protocol.ok_or(Malformed("a service without a protocol"))? {
            wire::TCP => Protocol::Tcp,
            wire::UDP => Protocol::Udp,
            wire::SCTP => Protocol::Sctp,
            _ => return Ok(None),
        };
        let address = address(&self.address.ok_or(Malformed("a service without an address"))?, family)?;
        let port = self.port.ok_or(Malformed("a service without a port"))?;
        Ok(Some(ServiceKey::Address { protocol, address, port }))
    }
}

/// What a destination's attributes say, before any sense is made of it.
#[derive(Default)]
struct DestinationAttributes<'a> {
    address: Option<Attribute<'a>>,
    port: Option<u16>,
    family: Option<u16>,
    forwarding: Option<u32>,
    weight: Option<u32>,
    upper_threshold: u32,
    lower_threshold: u32,
    tunnel: TunnelAttributes,
    connections: Connections,
    stats: Option<Stats>,
    stats64: Option<Stats>,
}

#[derive(Clone, Copy, Default)]
struct TunnelAttributes {
    kind: u8,
    port: u16,
    flags: u16,
}

impl<'a> DestinationAttributes<'a> {
    fn take(&mut self, a: &Attribute<'a>) -> Result<(), Malformed> {
        match DestinationAttr::from(a.kind) {
            DestinationAttr::Address => self.address = Some(*a),
            DestinationAttr::Port => self.port = Some(a.port()?),
            DestinationAttr::Forwarding => self.forwarding = Some(a.u32()?),
            DestinationAttr::Weight => self.weight = Some(a.u32()?),
            DestinationAttr::UpperThreshold => self.upper_threshold = a.u32()?,
            DestinationAttr::LowerThreshold => self.lower_threshold = a.u32()?,
            DestinationAttr::Active => self.connections.active = a.u32()?,
            DestinationAttr::Inactive => self.connections.inactive = a.u32()?,
            DestinationAttr::Persistent => self.connections.persistent = a.u32()?,
            DestinationAttr::Stats => self.stats = Some(stats(a)?),
            DestinationAttr::Family => self.family = Some(a.u16()?),
            DestinationAttr::Stats64 => self.stats64 = Some(stats(a)?),
            DestinationAttr::TunnelType => self.tunnel.kind = a.u8()?,
            DestinationAttr::TunnelPort => self.tunnel.port = a.port()?,
            DestinationAttr::TunnelFlags => self.tunnel.flags = a.u16()?,
            _ => {}
        }
        Ok(())
    }
}

fn forwarding(method: u32, tunnel: TunnelAttributes) -> Forwarding {
    match method & wire::FORWARDING_MASK {
        wire::NAT => Forwarding::Nat,
        wire::LOCAL => Forwarding::Local,
        wire::DR => Forwarding::Dr,
        wire::TUN => {
            let checksum = match tunnel.flags {
                wire::CHECKSUM => TunnelChecksum::Checksum,
                wire::REMOTE_CHECKSUM => TunnelChecksum::Remote,
                _ => TunnelChecksum::None,
            };
            match tunnel.kind {
                wire::IPIP => Forwarding::Tun(Tunnel::Ipip),
                wire::GUE => Forwarding::Tun(Tunnel::Gue { port: tunnel.port, checksum }),
                wire::GRE => Forwarding::Tun(Tunnel::Gre { checksum }),
                _ => Forwarding::Bypass,
            }
        }
        _ => Forwarding::Bypass,
    }
}

fn family(number: u16) -> Option<Family> {
    match number {
        wire::AF_INET => Some(Family::Inet),
        wire::AF_INET6 => Some(Family::Inet6),
        _ => None,
    }
}

/// The prefix length of a persistence mask; 0, which is invalid in a desired service, for a mask that is no prefix.
fn prefix(family: Family, netmask: u32) -> u8 {
    let ones = match family {
        Family::Inet => {
            let mask = u32::from_be(netmask);
            if mask.count_ones() == mask.leading_ones() { mask.leading_ones() } else { 0 }
        }
        Family::Inet6 => netmask,
    };
    u8::try_from(ones).ok().filter(|p| *p <= family.host_prefix()).unwrap_or(0)
}

fn stats(a: &Attribute<'_>) -> Result<Stats, Malformed> {
    let mut s = Stats::default();
    for a in attributes(a.payload) {
        let a = a?;
        match StatsAttr::from(a.kind) {
            StatsAttr::Connections => s.connections = a.counter()?,
            StatsAttr::PacketsIn => s.packets_in = a.counter()?,
            StatsAttr::PacketsOut => s.packets_out = a.counter()?,
            StatsAttr::BytesIn => s.bytes_in = a.counter()?,
            StatsAttr::BytesOut => s.bytes_out = a.counter()?,
            _ => {}
        }
    }
    Ok(s)
}

/// An address of the family: 4 bytes (of 16), or 16.
fn address(a: &Attribute<'_>, family: Family) -> Result<IpAddr, Malformed> {
    match family {
        Family::Inet => a.ipv4().map(IpAddr::from),
        Family::Inet6 => a.ipv6().map(IpAddr::from),
    }
}

fn nested(message: &[u8], which: CommandAttr) -> Result<&[u8], Malformed> {
    let which = u16::from(which);
    for a in attributes(message) {
        let a = a?;
        if a.kind == which {
            return Ok(a.payload);
        }
    }
    Err(Malformed("an answer without what was asked for"))
}
