//! The raw sockets of an endpoint: one that hears, one that speaks.
//!
//! They are two, because a socket that hears a group must be bound to it (unicast stays away), and one that speaks
//! must not gather what it never reads.

use std::io;
use std::mem::size_of_val;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::net::types::LinkIndex;
use crate::vrrp::exchange::Endpoint;

/// Before other traffic in this host's own queues: internetwork control, as in the packets' type of service.
const PRIORITY: u32 = 6;
const TRAFFIC_CLASS: u32 = 0xc0;
const HOP_LIMIT: u32 = 255;

/// A filter of one instruction that lets nothing pass (BPF_RET, 0 bytes).
const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// The socket that hears.
///
/// # Errors
/// The kernel's.
pub(super) fn hearing(endpoint: &Endpoint) -> io::Result<Socket> {
    let socket = open(endpoint)?;
    if endpoint.receive_buffer > 0 {
        socket.set_recv_buffer_size(usize::try_from(endpoint.receive_buffer).unwrap_or(usize::MAX))?;
    }
    match endpoint.source {
        IpAddr::V4(_) => {
            socket.set_multicast_all_v4(false)?;
            tell_more(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_all_v6(false)?;
            socket.set_recv_hoplimit_v6(true)?;
            tell_more(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        }
    }
    let index = endpoint.link.map_or(0, |link| link.0);
    match endpoint.group {
        Some(IpAddr::V4(group)) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
        }
        Some(IpAddr::V6(group)) => socket.join_multicast_v6(&group, index)?,
        None => {}
    }
    socket.bind(&address(endpoint.group.unwrap_or(endpoint.source), endpoint.link))?;
    Ok(socket)
}

/// The socket that speaks.
///
/// # Errors
/// The kernel's.
pub(super) fn speaking(endpoint: &Endpoint) -> io::Result<Socket> {
    let socket = open(endpoint)?;
    socket.attach_filter(&[NOTHING])?;
    socket.set_priority(PRIORITY)?;
    match endpoint.source {
        IpAddr::V4(_) => {
            socket.set_header_included_v4(true)?;
            socket.set_multicast_loop_v4(false)?;
        }
        IpAddr::V6(_) => {
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(HOP_LIMIT)?;
            socket.set_unicast_hops_v6(HOP_LIMIT)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            if let Some(link) = endpoint.link {
                socket.set_multicast_if_v6(link.0)?;
            }
        }
    }
    socket.bind(&address(endpoint.source, endpoint.link))?;
    Ok(socket)
}

/// Where to send; a link-local one needs the link.
pub(super) fn address(ip: IpAddr, link: Option<LinkIndex>) -> SockAddr {
    let address = match ip {
        IpAddr::V4(ip) => SocketAddr::V4(SocketAddrV4::new(ip, 0)),
        IpAddr::V6(ip) => {
            let needs_scope = ip.is_unicast_link_local() || ip.is_multicast();
            let scope = link.filter(|_| needs_scope).map_or(0, |link| link.0);
            SocketAddr::V6(SocketAddrV6::new(ip, 0, 0, scope))
        }
    };
    address.into()
}

fn open(endpoint: &Endpoint) -> io::Result<Socket> {
    let protocol = Some(Protocol::from(i32::from(endpoint.protocol)));
    let index = endpoint.link.and_then(|link| NonZeroU32::new(link.0));
    // An address may come later than its socket, and go before it.
    match endpoint.source {
        IpAddr::V4(_) => {
            let socket = Socket::new(Domain::IPV4, Type::RAW.nonblocking(), protocol)?;
            socket.bind_device_by_index_v4(index)?;
            socket.set_freebind_v4(true)?;
            Ok(socket)
        }
        IpAddr::V6(_) => {
            let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking(), protocol)?;
            socket.bind_device_by_index_v6(index)?;
            socket.set_freebind_v6(true)?;
            Ok(socket)
        }
    }
}

/// Switches on a note beside each packet, which no safe crate does for these.
#[allow(unsafe_code)]
fn tell_more(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).expect("an int's size fits socklen_t");
    // SAFETY: the descriptor is the socket's own and open; the option value is an int that lives through the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process may open such sockets; IPv4 tells for both families.
///
/// # Errors
/// The kernel's: `PermissionDenied` without CAP_NET_RAW.
pub(super) fn probe() -> io::Result<()> {
    let nowhere = Endpoint {
        link: None,
        protocol: crate::vrrp::packet::PROTOCOL,
        group: None,
        source: Ipv4Addr::LOCALHOST.into(),
        receive_buffer: 0,
    };
    open(&nowhere).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn only_addresses_of_a_link_carry_its_number() {
        let scope = |ip: &str| {
            let socket = address(ip.parse().unwrap(), Some(LinkIndex(7))).as_socket();
            match socket.unwrap() {
                SocketAddr::V6(v6) => v6.scope_id(),
                SocketAddr::V4(_) => 0,
            }
        };
        assert_eq!((scope("fe80::1"), scope("ff02::12")), (7, 7));
        assert_eq!(
            (scope("2001:db8::1"), scope(&Ipv6Addr::LOCALHOST.to_string()), scope("192.0.2.1")),
            (0, 0, 0)
        );
    }
}
