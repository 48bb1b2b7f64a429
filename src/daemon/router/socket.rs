//! The raw sockets of an endpoint: one that receives, one that sends.
//!
//! They are two, because a socket that receives from a group must be bound to it (unicast stays away), and one that sends
//! must not gather what it never reads.

use std::io;
use std::mem::size_of_val;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::NonZeroU32;
use std::os::fd::AsRawFd;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, SockFilter, Socket, Type};

use crate::net::types::LinkIndex;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStep};
use crate::vrrp::io::Endpoint;

/// Before other traffic in this host's own queues: internetwork control, as in the packets' type of service.
pub(super) const PRIORITY: u32 = 6;
pub(super) const TRAFFIC_CLASS: u32 = 0xc0;
const HOP_LIMIT: u32 = 255;

/// A filter of one instruction that lets nothing pass (BPF_RET, 0 bytes).
pub(super) const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

/// The socket that receives.
///
/// # Errors
/// Which step the kernel refused.
pub(super) fn receiving(endpoint: &Endpoint) -> Result<Socket, SocketFailure> {
    let socket = open(endpoint)?;
    at(SocketStep::Option, set_up_receiving(&socket, endpoint))?;
    let index = endpoint.link.map_or(0, |link| link.0);
    let joined = match endpoint.group {
        Some(IpAddr::V4(group)) => socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index)),
        Some(IpAddr::V6(group)) => socket.join_multicast_v6(&group, index),
        None => Ok(()),
    };
    at(SocketStep::Join, joined)?;
    let bound_to = address(endpoint.group.unwrap_or(endpoint.source), endpoint.link);
    at(SocketStep::Address, socket.bind(&bound_to))?;
    Ok(socket)
}

fn set_up_receiving(socket: &Socket, endpoint: &Endpoint) -> io::Result<()> {
    if endpoint.receive_buffer > 0 {
        socket.set_recv_buffer_size(usize::try_from(endpoint.receive_buffer).unwrap_or(usize::MAX))?;
    }
    match endpoint.source {
        IpAddr::V4(_) => {
            socket.set_multicast_all_v4(false)?;
            request_control_message(socket, libc::IPPROTO_IP, libc::IP_PKTINFO)
        }
        IpAddr::V6(_) => {
            // Linux 4.20 brought it. Without it other groups' packets stay away all the same: it is bound to one.
            or_older(socket.set_multicast_all_v6(false), || Ok(()))?;
            socket.set_recv_hoplimit_v6(true)?;
            request_control_message(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        }
    }
}

/// The socket that sends.
///
/// # Errors
/// Which step the kernel refused.
pub(super) fn sending(endpoint: &Endpoint) -> Result<Socket, SocketFailure> {
    let socket = open(endpoint)?;
    at(SocketStep::Option, set_up_sending(&socket, endpoint))?;
    at(SocketStep::Address, socket.bind(&address(endpoint.source, endpoint.link)))?;
    Ok(socket)
}

fn set_up_sending(socket: &Socket, endpoint: &Endpoint) -> io::Result<()> {
    socket.attach_filter(&[NOTHING])?;
    socket.set_priority(PRIORITY)?;
    match endpoint.source {
        IpAddr::V4(_) => {
            socket.set_header_included_v4(true)?;
            socket.set_multicast_loop_v4(false)
        }
        IpAddr::V6(_) => {
            socket.set_multicast_loop_v6(false)?;
            socket.set_multicast_hops_v6(HOP_LIMIT)?;
            socket.set_unicast_hops_v6(HOP_LIMIT)?;
            socket.set_tclass_v6(TRAFFIC_CLASS)?;
            endpoint.link.map_or(Ok(()), |link| socket.set_multicast_if_v6(link.0))
        }
    }
}

/// A step of the kernel's, in the router's words.
pub(super) fn at<T>(step: SocketStep, result: io::Result<T>) -> Result<T, SocketFailure> {
    result.map_err(|error| SocketFailure { step, errno: error.raw_os_error().unwrap_or(0) })
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

fn open(endpoint: &Endpoint) -> Result<Socket, SocketFailure> {
    let protocol = Some(Protocol::from(i32::from(endpoint.protocol)));
    let is_ipv4 = endpoint.source.is_ipv4();
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = at(SocketStep::Open, Socket::new(domain, Type::RAW.nonblocking(), protocol))?;
    at(SocketStep::Interface, bind_to_link(&socket, is_ipv4, endpoint.link))?;
    // An address may come later than its socket, and go before it.
    let is_free = if is_ipv4 { socket.set_freebind_v4(true) } else { socket.set_freebind_v6(true) };
    at(SocketStep::Option, is_free)?;
    Ok(socket)
}

/// By number (SO_BINDTOIFINDEX), which stays true when the link is renamed; by name before Linux 5.1.
fn bind_to_link(socket: &Socket, is_ipv4: bool, link: Option<LinkIndex>) -> io::Result<()> {
    let index = link.and_then(|link| NonZeroU32::new(link.0));
    let by_number = match is_ipv4 {
        true => socket.bind_device_by_index_v4(index),
        false => socket.bind_device_by_index_v6(index),
    };
    or_older(by_number, || bind_by_name(socket, index))
}

fn bind_by_name(socket: &Socket, index: Option<NonZeroU32>) -> io::Result<()> {
    let Some(index) = index else { return socket.bind_device(None) };
    let name = rustix::net::netdevice::index_to_name(socket, index.get())?;
    socket.bind_device(Some(name.as_bytes()))
}

/// What to do instead on a kernel that is too old to know an option.
fn or_older(result: io::Result<()>, instead: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => instead(),
        other => other,
    }
}

/// Switches on a note beside each packet, which no safe crate does for these.
#[allow(unsafe_code)]
pub(super) fn request_control_message(
    socket: &Socket,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<()> {
    let on: libc::c_int = 1;
    let size = libc::socklen_t::try_from(size_of_val(&on)).expect("an int's size fits socklen_t");
    // SAFETY: the descriptor is the socket's own and open; the option value is an int that lives through the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether this process may open such sockets; IPv4 answers for both families.
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
    open(&nowhere).map(drop).map_err(|failure| io::Error::from_raw_os_error(failure.errno))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    #[test]
    fn before_linux_5_1_a_socket_is_bound_to_its_link_by_name() {
        let too_old = || Err(io::Error::from_raw_os_error(libc::ENOPROTOOPT));
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        or_older(too_old(), || bind_by_name(&socket, NonZeroU32::new(1))).unwrap();
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        let nowhere = or_older(too_old(), || bind_by_name(&socket, NonZeroU32::new(999_999)));
        assert_eq!(nowhere.unwrap_err().raw_os_error(), Some(libc::ENODEV));
        let other = or_older(Err(io::Error::from_raw_os_error(libc::EPERM)), || unreachable!());
        assert_eq!(other.unwrap_err().raw_os_error(), Some(libc::EPERM));
    }

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
