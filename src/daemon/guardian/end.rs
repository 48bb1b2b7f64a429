//! The guardian's own life: it waits for the daemon's death, does what the will says, and ends.
//!
//! After the death it allocates nothing, waits for nothing, and takes no failure for a reason to stop.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::RawFd;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RawProtocol, SendFlags, SocketFlags, SocketType, bind, ipproto, netdevice, sendto,
    socket_with, sockopt,
};
use socket2::SockRef;

use super::page::Page;
use super::will::{self, Deed, LONGEST};

/// Descriptors a process may have this early.
const EARLY: RawFd = 256;
/// IPPROTO_VRRP.
const VRRP: u32 = 112;
/// Traffic class of what VRRP says.
const CLASS: u32 = 0xc0;

/// Waits until the other end of the pipe is closed, then does what is to be done. What is written to it meanwhile
/// means that there is something to guard.
pub(super) fn await_death(page: &Page, death: &OwnedFd, keep: RawFd) {
    settle(keep);
    // No signal interrupts.
    while !matches!(rustix::io::read(death, &mut [0; 8]), Ok(0) | Err(_)) {
        engage(page);
    }
    act(page);
}

/// Makes sure of what it will need when memory may be short.
fn engage(page: &Page) {
    // Memory that is not to be locked without CAP_IPC_LOCK is no reason not to guard.
    let _ = mlockall(MlockAllFlags::CURRENT);
    // The sockets of now are closed again: what matters is whether they may be had.
    if let Err(errno) = Sockets::open() {
        page.complain(errno.raw_os_error());
    }
}

/// Keeps nothing of the daemon's, and what it needs itself.
fn settle(keep: RawFd) {
    let _ = rustix::thread::set_name(c"lvsd: guardian");
    let _ = rustix::process::setsid();
    let _ = rustix::process::chdir("/");
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    close_others(keep);
    let _ = std::fs::write("/proc/self/oom_score_adj", "-1000");
}

/// Closes everything but the standard streams and the pipe.
fn close_others(keep: RawFd) {
    let keep = keep.unsigned_abs();
    // SAFETY: this process was forked a moment ago and runs nothing but this module, which owns the pipe alone: nobody
    // uses or closes what is closed here.
    #[allow(unsafe_code)]
    unsafe {
        libc::syscall(libc::SYS_close_range, 3_u32, keep.saturating_sub(1).max(2), 0_u32);
        if libc::syscall(libc::SYS_close_range, keep.saturating_add(1), u32::MAX, 0_u32) != 0 {
            // Before Linux 5.9; so early the daemon has a handful.
            for descriptor in (3..EARLY).filter(|d| d.unsigned_abs() != keep) {
                libc::close(descriptor);
            }
        }
    }
}

struct Sockets {
    ipv4: OwnedFd,
    /// None where there is no IPv6.
    ipv6: Option<OwnedFd>,
    netlink: OwnedFd,
}

impl Sockets {
    fn open() -> Result<Sockets, Errno> {
        Ok(Sockets {
            ipv4: raw(AddressFamily::INET, ipproto::RAW.as_raw())?,
            ipv6: match raw(AddressFamily::INET6, RawProtocol::new(VRRP).ok_or(Errno::INVAL)?) {
                Err(Errno::AFNOSUPPORT) => None,
                other => Some(other?),
            },
            netlink: socket_with(AddressFamily::NETLINK, SocketType::RAW, FLAGS, None)?,
        })
    }
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

fn raw(family: AddressFamily, protocol: RawProtocol) -> Result<OwnedFd, Errno> {
    socket_with(family, SocketType::RAW, FLAGS, Some(rustix::net::Protocol::from_raw(protocol)))
}

fn act(page: &Page) {
    // Nothing was bequeathed, or it was taken back: a planned end.
    if page.read(0, &mut [0; 1]) == 0 {
        return;
    }
    let Ok(sockets) = Sockets::open() else { return };
    let (mut content, mut at) = ([0; LONGEST], 0);
    while let Some((deed, length, next)) = will::read(page, at, &mut content) {
        at = next;
        let content = content.get(..length).unwrap_or_default();
        let _ = match deed {
            Deed::Ask => {
                sendto(&sockets.netlink, content, SendFlags::DONTWAIT, &SocketAddrNetlink::new(0, 0))
            }
            Deed::Say { link, source, destination, hop_limit } => {
                say(&sockets, link, source, destination, hop_limit, content)
            }
        };
    }
}

fn say(
    sockets: &Sockets,
    link: u32,
    source: IpAddr,
    destination: IpAddr,
    hop_limit: u8,
    packet: &[u8],
) -> Result<usize, Errno> {
    let socket = match destination {
        IpAddr::V4(_) => &sockets.ipv4,
        IpAddr::V6(_) => sockets.ipv6.as_ref().ok_or(Errno::AFNOSUPPORT)?,
    };
    if link != 0 {
        let name = netdevice::index_to_name_inlined(&sockets.netlink, link)?;
        SockRef::from(socket).bind_device(Some(name.as_bytes())).map_err(|_| Errno::NODEV)?;
    } else {
        SockRef::from(socket).bind_device(None).map_err(|_| Errno::NODEV)?;
    }
    match source {
        // The packet brings its header along.
        IpAddr::V4(_) => sockopt::set_ip_multicast_loop(socket, false)?,
        IpAddr::V6(source) => {
            let scope = if source.is_unicast_link_local() { link } else { 0 };
            bind(socket, &SocketAddrV6::new(source, 0, 0, scope))?;
            sockopt::set_ipv6_multicast_loop(socket, false)?;
            sockopt::set_ipv6_multicast_hops(socket, u32::from(hop_limit))?;
            sockopt::set_ipv6_unicast_hops(socket, Some(hop_limit))?;
            sockopt::set_ipv6_tclass(socket, CLASS)?;
        }
    }
    let to = match destination {
        IpAddr::V4(ip) => SocketAddr::from((ip, 0)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, link).into(),
    };
    sendto(socket, packet, SendFlags::DONTWAIT, &to)
}
