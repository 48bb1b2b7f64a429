//! Requests to IPVS: operations and questions into generic netlink messages.
//!
//! What the wire cannot carry at all (a name with a NUL, a prefix longer than an address) is refused here;
//! every other judgement is the kernel's.

use std::net::IpAddr;

use rustix::io::Errno;

use super::wire::{self, Command, CommandAttr, DaemonAttr, DestinationAttr, ServiceAttr};
use crate::ipvs::backend::Op;
use crate::ipvs::types::{
    Destination, DestinationKey, Family, Forwarding, Protocol, Service, ServiceKey, SyncDaemon, SyncRole,
    Timeouts, Tunnel, TunnelChecksum,
};
use crate::netlink::generic;
use crate::netlink::request::Request;

/// A request that cannot be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unencodable {
    /// The errno the kernel would have given.
    pub(super) errno: i32,
    /// Why, in words.
    pub(super) text: String,
}

/// An operation.
pub(super) fn operation(op: &Op) -> Result<Request, Unencodable> {
    match op {
        Op::AddService(key, s) => with_service(Command::NewService, key, Some(s)),
        Op::SetService(key, s) => with_service(Command::SetService, key, Some(s)),
        Op::RemoveService(key) => with_service(Command::DelService, key, None),
        Op::AddDestination(key, at, d) => with_destination(Command::NewDest, key, *at, Some(d)),
        Op::SetDestination(key, at, d) => with_destination(Command::SetDest, key, *at, Some(d)),
        Op::RemoveDestination(key, at) => with_destination(Command::DelDest, key, *at, None),
        Op::SetTimeouts(t) => Ok(timeouts(t)),
        Op::StartSync(d) => start_sync(d),
        Op::StopSync(role) => {
            let mut request = question(Command::DelDaemon);
            request.nested(CommandAttr::Daemon.into(), |daemon| {
                daemon.number(DaemonAttr::State, state(*role));
            });
            Ok(request)
        }
    }
}

/// The question for one service.
pub(super) fn get_service(key: &ServiceKey) -> Result<Request, Unencodable> {
    with_service(Command::GetService, key, None)
}

/// The question for one service's destinations, a dump.
pub(super) fn get_destinations(key: &ServiceKey) -> Result<Request, Unencodable> {
    with_service(Command::GetDest, key, None)
}

/// A question without arguments.
pub(super) fn question(command: Command) -> Request {
    generic::request(command, wire::VERSION)
}

fn with_service(
    command: Command,
    key: &ServiceKey,
    settings: Option<&Service>,
) -> Result<Request, Unencodable> {
    let mut request = question(command);
    request.try_nested(CommandAttr::Service, |all| service(all, key, settings))?;
    Ok(request)
}

fn with_destination(
    command: Command,
    key: &ServiceKey,
    at: DestinationKey,
    settings: Option<&Destination>,
) -> Result<Request, Unencodable> {
    let mut request = with_service(command, key, None)?;
    request.nested(CommandAttr::Dest.into(), |all| destination(all, at, settings));
    Ok(request)
}

fn service(all: &mut Request, key: &ServiceKey, settings: Option<&Service>) -> Result<(), Unencodable> {
    all.attribute(ServiceAttr::Family, &family(key.family()).to_ne_bytes());
    match *key {
        ServiceKey::Address { protocol: p, address: a, port } => {
            all.attribute(ServiceAttr::Protocol, &protocol(p).to_ne_bytes())
                .attribute(ServiceAttr::Address, &address(a))
                .attribute(ServiceAttr::Port, &port.to_be_bytes());
        }
        // The kernel would take it for TCP to 0.0.0.0:0.
        ServiceKey::Fwmark { mark: 0, .. } => return Err(refuse("a firewall mark is never 0")),
        ServiceKey::Fwmark { mark, .. } => {
            all.number(ServiceAttr::Fwmark, mark);
        }
    }
    if let Some(s) = settings {
        let mut flags = s.flags.0 & crate::ipvs::types::ServiceFlags::USER.0;
        if s.persistence.is_some() {
            flags |= wire::PERSISTENT;
        }
        let prefix = s.persistence.map_or(key.family().host_prefix(), |p| p.prefix);
        all.text(ServiceAttr::Scheduler, name(s.scheduler.as_str())?)
            .attribute(ServiceAttr::Flags, &flags_and_mask(flags, u32::MAX))
            .number(ServiceAttr::Timeout, s.persistence.map_or(0, |p| p.timeout))
            .attribute(ServiceAttr::Netmask, &netmask(key.family(), prefix)?.to_ne_bytes());
        if let Some(engine) = &s.persistence_engine {
            all.text(ServiceAttr::PersistenceEngine, name(engine)?);
        }
    }
    Ok(())
}

fn destination(all: &mut Request, at: DestinationKey, settings: Option<&Destination>) {
    all.attribute(DestinationAttr::Address, &address(at.ip()))
        .attribute(DestinationAttr::Port, &at.port().to_be_bytes())
        .attribute(DestinationAttr::Family, &family(Family::of(at.ip())).to_ne_bytes());
    let Some(d) = settings else { return };
    let method = match d.forwarding {
        Forwarding::Nat => wire::NAT,
        Forwarding::Dr => wire::DR,
        Forwarding::Tun(_) => wire::TUN,
        Forwarding::Local => wire::LOCAL,
        Forwarding::Bypass => wire::BYPASS,
    };
    all.number(DestinationAttr::Forwarding, method)
        .number(DestinationAttr::Weight, d.weight)
        .number(DestinationAttr::UpperThreshold, d.upper_threshold)
        .number(DestinationAttr::LowerThreshold, d.lower_threshold);
    if let Forwarding::Tun(tunnel) = d.forwarding {
        let (kind, port, checksum) = match tunnel {
            Tunnel::Ipip => (wire::IPIP, 0, TunnelChecksum::None),
            Tunnel::Gue { port, checksum } => (wire::GUE, port, checksum),
            Tunnel::Gre { checksum } => (wire::GRE, 0, checksum),
        };
        let flags = match checksum {
            TunnelChecksum::None => 0,
            TunnelChecksum::Checksum => wire::CHECKSUM,
            TunnelChecksum::Remote => wire::REMOTE_CHECKSUM,
        };
        all.attribute(DestinationAttr::TunnelType, &[kind])
            .attribute(DestinationAttr::TunnelPort, &port.to_be_bytes())
            .attribute(DestinationAttr::TunnelFlags, &flags.to_ne_bytes());
    }
}

fn timeouts(t: &Timeouts) -> Request {
    let mut request = question(Command::SetConfig);
    request
        .number(CommandAttr::TimeoutTcp, t.tcp)
        .number(CommandAttr::TimeoutTcpFin, t.tcp_fin)
        .number(CommandAttr::TimeoutUdp, t.udp);
    request
}

fn start_sync(d: &SyncDaemon) -> Result<Request, Unencodable> {
    let mut request = question(Command::NewDaemon);
    request.try_nested(CommandAttr::Daemon, |all| {
        all.number(DaemonAttr::State, state(d.role))
            .text(DaemonAttr::Interface, name(&d.interface)?)
            .number(DaemonAttr::SyncId, d.sync_id.into());
        if let Some(max_len) = d.max_len {
            all.attribute(DaemonAttr::MaxLen, &max_len.to_ne_bytes());
        }
        match d.group {
            Some(IpAddr::V4(group)) => all.attribute(DaemonAttr::Group, &group.octets()),
            Some(IpAddr::V6(group)) => all.attribute(DaemonAttr::Group6, &group.octets()),
            None => all,
        };
        if let Some(port) = d.port {
            all.attribute(DaemonAttr::Port, &port.to_ne_bytes());
        }
        if let Some(ttl) = d.ttl {
            all.attribute(DaemonAttr::Ttl, &[ttl]);
        }
        Ok(())
    })?;
    Ok(request)
}

fn family(f: Family) -> u16 {
    match f {
        Family::Inet => wire::AF_INET,
        Family::Inet6 => wire::AF_INET6,
    }
}

fn protocol(p: Protocol) -> u16 {
    match p {
        Protocol::Tcp => wire::TCP,
        Protocol::Udp => wire::UDP,
        Protocol::Sctp => wire::SCTP,
    }
}

fn state(role: SyncRole) -> u32 {
    match role {
        SyncRole::Master => wire::MASTER,
        SyncRole::Backup => wire::BACKUP,
    }
}

/// An address in the 16 bytes the kernel wants for either family.
fn address(a: IpAddr) -> [u8; 16] {
    match a {
        IpAddr::V4(v4) => {
            let mut all = [0; 16];
            if let Some(head) = all.first_chunk_mut() {
                *head = v4.octets();
            }
            all
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The persistence mask: network order bits for IPv4, a number for IPv6.
fn netmask(family: Family, prefix: u8) -> Result<u32, Unencodable> {
    if prefix > family.host_prefix() {
        return Err(refuse("a persistence prefix longer than an address"));
    }
    Ok(match family {
        Family::Inet => u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0).to_be(),
        Family::Inet6 => u32::from(prefix),
    })
}

/// struct ip_vs_flags.
fn flags_and_mask(flags: u32, mask: u32) -> [u8; 8] {
    let [a, b, c, d] = flags.to_ne_bytes();
    let [e, f, g, h] = mask.to_ne_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Longest name the wire is given; the kernel refuses those above 15 bytes itself.
const NAME_LIMIT: usize = 255;

fn name(text: &str) -> Result<&str, Unencodable> {
    if text.contains('\0') {
        return Err(refuse("a name with a NUL in it"));
    }
    if text.len() > NAME_LIMIT {
        return Err(refuse("a name longer than 15 bytes"));
    }
    Ok(text)
}

fn refuse(text: &str) -> Unencodable {
    Unencodable { errno: Errno::INVAL.raw_os_error(), text: text.to_owned() }
}
