//! Requests to IPVS: operations and questions into generic netlink messages.
//!
//! What the wire cannot carry at all (a name with a NUL, a prefix longer than an address) is refused here;
//! every other judgement is the kernel's.

use std::io::Cursor;
use std::net::IpAddr;

use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::nl::{NlPayload, NlmsghdrBuilder};
use neli::types::{Buffer, GenlBuffer};
use neli::{Size, ToBytes};
use rustix::io::Errno;

use super::wire::{self, Command, CommandAttr, DaemonAttr, DestinationAttr, ServiceAttr};
use crate::ipvs::backend::Op;
use crate::ipvs::types::{
    Destination, DestinationKey, Family, Forwarding, Protocol, Service, ServiceKey, SyncDaemon, SyncRole,
    Timeouts, Tunnel, TunnelChecksum,
};
use crate::netlink::message::NOOP;

/// A generic netlink message, not yet addressed.
pub(super) type Request = Genlmsghdr<u8, u16>;

/// A request that cannot be put on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unencodable {
    /// The errno the kernel would have given.
    pub(super) errno: i32,
    /// Why, in words.
    pub(super) text: String,
}

pub(super) fn operation(op: &Op) -> Result<Request, Unencodable> {
    match op {
        Op::AddService(key, s) => request(Command::NewService, vec![service(key, Some(s))?]),
        Op::SetService(key, s) => request(Command::SetService, vec![service(key, Some(s))?]),
        Op::RemoveService(key) => request(Command::DelService, vec![service(key, None)?]),
        Op::AddDestination(key, at, d) => with_destination(Command::NewDest, key, *at, Some(d)),
        Op::SetDestination(key, at, d) => with_destination(Command::SetDest, key, *at, Some(d)),
        Op::RemoveDestination(key, at) => with_destination(Command::DelDest, key, *at, None),
        Op::SetTimeouts(t) => timeouts(t),
        Op::StartSync(d) => request(Command::NewDaemon, vec![start_sync(d)?]),
        Op::StopSync(role) => {
            let state = attribute(DaemonAttr::State, state(*role))?;
            request(Command::DelDaemon, vec![nest(CommandAttr::Daemon, &[state])?])
        }
    }
}

/// The question for one service.
pub(super) fn get_service(key: &ServiceKey) -> Result<Request, Unencodable> {
    request(Command::GetService, vec![service(key, None)?])
}

/// The question for one service's destinations, a dump.
pub(super) fn get_destinations(key: &ServiceKey) -> Result<Request, Unencodable> {
    request(Command::GetDest, vec![service(key, None)?])
}

/// A question without arguments, by the number of its command in its family.
pub(super) fn question(command: impl Into<u8>) -> Result<Request, Unencodable> {
    finish(command.into(), Vec::new())
}

/// The controller's question for a family's number.
pub(super) fn get_family(name: &str) -> Result<Request, Unencodable> {
    let attributes = vec![attribute(neli::consts::genl::CtrlAttr::FamilyName, name)?];
    finish(neli::consts::genl::CtrlCmd::Getfamily.into(), attributes)
}

/// Appends a message to a datagram, addressed and numbered.
pub(super) fn append(
    datagram: &mut Cursor<Vec<u8>>,
    family: u16,
    flags: NlmF,
    seq: u32,
    request: Request,
) -> Result<(), Unencodable> {
    write(datagram, family, flags, seq, NlPayload::Payload(request))
}

/// Appends a message that does nothing and is acknowledged: once it is, everything before it is settled.
pub(super) fn append_full_stop(datagram: &mut Cursor<Vec<u8>>, seq: u32) -> Result<(), Unencodable> {
    write(datagram, NOOP, NlmF::ACK, seq, NlPayload::Empty)
}

fn write(
    datagram: &mut Cursor<Vec<u8>>,
    kind: u16,
    flags: NlmF,
    seq: u32,
    payload: NlPayload<u16, Request>,
) -> Result<(), Unencodable> {
    NlmsghdrBuilder::<u16, Request>::default()
        .nl_type(kind)
        .nl_flags(NlmF::REQUEST | flags)
        .nl_seq(seq)
        .nl_payload(payload)
        .build()
        .map_err(invalid)?
        .to_bytes(datagram)
        .map_err(invalid)
}

fn with_destination(
    command: Command,
    key: &ServiceKey,
    at: DestinationKey,
    d: Option<&Destination>,
) -> Result<Request, Unencodable> {
    request(command, vec![service(key, None)?, destination(at, d)?])
}

fn service(key: &ServiceKey, settings: Option<&Service>) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    let mut all = vec![attribute(ServiceAttr::Family, family(key.family()))?];
    match *key {
        ServiceKey::Address { protocol: p, address: a, port } => {
            all.push(attribute(ServiceAttr::Protocol, protocol(p))?);
            all.push(attribute(ServiceAttr::Address, address(a))?);
            all.push(attribute(ServiceAttr::Port, port.to_be())?);
        }
        // The kernel would take it for TCP to 0.0.0.0:0.
        ServiceKey::Fwmark { mark: 0, .. } => return Err(refuse(Errno::INVAL, "a firewall mark is never 0")),
        ServiceKey::Fwmark { mark, .. } => all.push(attribute(ServiceAttr::Fwmark, mark)?),
    }
    if let Some(s) = settings {
        let mut flags = s.flags.0 & crate::ipvs::types::ServiceFlags::USER.0;
        if s.persistence.is_some() {
            flags |= wire::PERSISTENT;
        }
        let prefix = s.persistence.map_or(key.family().host_prefix(), |p| p.prefix);
        all.push(name(ServiceAttr::Scheduler, s.scheduler.as_str())?);
        all.push(attribute(ServiceAttr::Flags, flags_and_mask(flags, u32::MAX))?);
        all.push(attribute(ServiceAttr::Timeout, s.persistence.map_or(0, |p| p.timeout))?);
        all.push(attribute(ServiceAttr::Netmask, netmask(key.family(), prefix)?)?);
        if let Some(engine) = &s.persistence_engine {
            all.push(name(ServiceAttr::PersistenceEngine, engine)?);
        }
    }
    nest(CommandAttr::Service, &all)
}

fn destination(
    at: DestinationKey,
    settings: Option<&Destination>,
) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    let mut all = vec![
        attribute(DestinationAttr::Address, address(at.ip()))?,
        attribute(DestinationAttr::Port, at.port().to_be())?,
        attribute(DestinationAttr::Family, family(Family::of(at.ip())))?,
    ];
    if let Some(d) = settings {
        let method = match d.forwarding {
            Forwarding::Nat => wire::NAT,
            Forwarding::Dr => wire::DR,
            Forwarding::Tun(_) => wire::TUN,
            Forwarding::Local => wire::LOCAL,
            Forwarding::Bypass => wire::BYPASS,
        };
        all.push(attribute(DestinationAttr::Forwarding, method)?);
        all.push(attribute(DestinationAttr::Weight, d.weight)?);
        all.push(attribute(DestinationAttr::UpperThreshold, d.upper_threshold)?);
        all.push(attribute(DestinationAttr::LowerThreshold, d.lower_threshold)?);
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
            all.push(attribute(DestinationAttr::TunnelType, kind)?);
            all.push(attribute(DestinationAttr::TunnelPort, port.to_be())?);
            all.push(attribute(DestinationAttr::TunnelFlags, flags)?);
        }
    }
    nest(CommandAttr::Dest, &all)
}

fn timeouts(t: &Timeouts) -> Result<Request, Unencodable> {
    let all = vec![
        attribute(CommandAttr::TimeoutTcp, t.tcp)?,
        attribute(CommandAttr::TimeoutTcpFin, t.tcp_fin)?,
        attribute(CommandAttr::TimeoutUdp, t.udp)?,
    ];
    request(Command::SetConfig, all)
}

fn start_sync(d: &SyncDaemon) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    let mut all = vec![
        attribute(DaemonAttr::State, state(d.role))?,
        name(DaemonAttr::Interface, &d.interface)?,
        attribute(DaemonAttr::SyncId, u32::from(d.sync_id))?,
    ];
    if let Some(max_len) = d.max_len {
        all.push(attribute(DaemonAttr::MaxLen, max_len)?);
    }
    match d.group {
        Some(IpAddr::V4(group)) => all.push(attribute(DaemonAttr::Group, group.octets())?),
        Some(IpAddr::V6(group)) => all.push(attribute(DaemonAttr::Group6, group.octets())?),
        None => {}
    }
    if let Some(port) = d.port {
        all.push(attribute(DaemonAttr::Port, port)?);
    }
    if let Some(ttl) = d.ttl {
        all.push(attribute(DaemonAttr::Ttl, ttl)?);
    }
    nest(CommandAttr::Daemon, &all)
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
        return Err(refuse(Errno::INVAL, "a persistence prefix longer than an address"));
    }
    Ok(match family {
        Family::Inet => u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0).to_be(),
        Family::Inet6 => u32::from(prefix),
    })
}

fn flags_and_mask(flags: u32, mask: u32) -> u64 {
    let [a, b, c, d] = flags.to_ne_bytes();
    let [e, f, g, h] = mask.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}

fn request(command: Command, attributes: Vec<Nlattr<u16, Buffer>>) -> Result<Request, Unencodable> {
    finish(command.into(), attributes)
}

fn finish(command: u8, attributes: Vec<Nlattr<u16, Buffer>>) -> Result<Request, Unencodable> {
    GenlmsghdrBuilder::<u8, u16>::default()
        .cmd(command)
        .version(wire::VERSION)
        .attrs(attributes.into_iter().collect::<GenlBuffer<u16, Buffer>>())
        .build()
        .map_err(invalid)
}

fn attribute<P: Size + ToBytes>(
    kind: impl Into<u16>,
    payload: P,
) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    let kind = AttrTypeBuilder::default().nla_type(kind.into()).build().map_err(invalid)?;
    NlattrBuilder::default().nla_type(kind).nla_payload(payload).build().map_err(invalid)
}

/// Longest name the wire is given; the kernel refuses those above 15 bytes itself.
const NAME_LIMIT: usize = 255;

fn name(kind: impl Into<u16>, text: &str) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    if text.contains('\0') {
        return Err(refuse(Errno::INVAL, "a name with a NUL in it"));
    }
    if text.len() > NAME_LIMIT {
        return Err(refuse(Errno::INVAL, "a name longer than 15 bytes"));
    }
    attribute(kind, text)
}

fn nest(kind: CommandAttr, inner: &[Nlattr<u16, Buffer>]) -> Result<Nlattr<u16, Buffer>, Unencodable> {
    inner.iter().try_fold(attribute(kind, ())?, |outer, a| outer.nest(a).map_err(invalid))
}

fn refuse(errno: Errno, text: &str) -> Unencodable {
    Unencodable { errno: errno.raw_os_error(), text: text.to_owned() }
}

fn invalid(e: impl std::fmt::Display) -> Unencodable {
    Unencodable { errno: Errno::INVAL.raw_os_error(), text: e.to_string() }
}
