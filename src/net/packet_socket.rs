//! A socket for whole Ethernet frames: bound to a link it sends, and receives what arrives there or leaves; unbound it
//! sends by any link and never waits.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_send_buffer_size_force, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};
use socket2::{SockAddr, SockAddrStorage, SockFilter, SockRef};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::types::LinkIndex;

/// Longest frame that is looked at, in bytes.
const LIMIT: usize = 2048;

/// ETH_P_ALL.
const ALL: u16 = 0x0003;

const LOAD_WORD: u16 = 0x20;
const LOAD_HALF: u16 = 0x28;
const LOAD_BYTE: u16 = 0x30;
const JUMP_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

fn op(code: u16, jt: u8, jf: u8, k: u32) -> SockFilter {
    SockFilter::new(code, jt, jf, k)
}

/// Keeps frames that leave (PACKET_OUTGOING) and are of this Ethernet type (linux/filter.h).
fn leaves(ether_type: u16) -> [SockFilter; 6] {
    /// SKF_AD_OFF + SKF_AD_PKTTYPE.
    const PACKET_TYPE: u32 = 0xffff_f004;
    const OUTGOING: u32 = 4;
    [
        op(LOAD_WORD, 0, 0, PACKET_TYPE),
        op(JUMP_EQUAL, 0, 3, OUTGOING),
        op(LOAD_HALF, 0, 0, 12),
        op(JUMP_EQUAL, 0, 1, ether_type.into()),
        op(RETURN, 0, 0, u32::MAX),
        op(RETURN, 0, 0, 0),
    ]
}

/// Keeps frames that have these bytes at these places.
fn has<const N: usize>(bytes: [(u32, u8); N]) -> Vec<SockFilter> {
    let mut ops = Vec::with_capacity(3 * N + 2);
    for (at, byte) in bytes {
        ops.extend([op(LOAD_BYTE, 0, 0, at), op(JUMP_EQUAL, 1, 0, byte.into()), op(RETURN, 0, 0, 0)]);
    }
    ops.push(op(RETURN, 0, 0, u32::MAX));
    ops
}

/// Room for frames that wait to be sent by an unbound socket, in bytes as the kernel counts them, some thousand frames;
/// the system's default is a fifth of it.
const SEND_BUFFER: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens it unbound: for [`PacketSocket::send_by`].
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub fn unbound() -> io::Result<PacketSocket> {
        let socket = open(SocketFlags::NONBLOCK)?;
        // It needs CAP_NET_ADMIN over the whole machine; without it more frames are given back.
        let _ = set_socket_send_buffer_size_force(&socket, SEND_BUFFER);
        Ok(PacketSocket(socket))
    }

    /// Opens it on a link; it receives nothing.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub fn open(link: LinkIndex) -> io::Result<PacketSocket> {
        PacketSocket::bound(link, 0, None)
    }

    /// Opens it on a link, and receives the frames of an Ethernet type that leave by it.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub fn leaving(link: LinkIndex, ether_type: u16) -> io::Result<PacketSocket> {
        // Sockets of a protocol do not see what leaves: this is one of all, with a filter.
        PacketSocket::bound(link, ALL, Some(&leaves(ether_type)))
    }

    /// Opens it on a link, and receives the frames of an Ethernet type that arrive there.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub fn arriving(link: LinkIndex, ether_type: u16) -> io::Result<PacketSocket> {
        PacketSocket::bound(link, ether_type, None)
    }

    /// The same, but only frames that have these bytes at these places.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub fn arriving_with<const N: usize>(
        link: LinkIndex,
        ether_type: u16,
        bytes: [(u32, u8); N],
    ) -> io::Result<PacketSocket> {
        PacketSocket::bound(link, ether_type, Some(&has(bytes)))
    }

    fn bound(link: LinkIndex, ether_type: u16, filter: Option<&[SockFilter]>) -> io::Result<PacketSocket> {
        let socket = open(SocketFlags::empty())?;
        if let Some(filter) = filter {
            SockRef::from(&socket).attach_filter(filter)?;
        }
        SockRef::from(&socket).bind(&address(link, ether_type, None)?)?;
        Ok(PacketSocket(socket))
    }

    /// Sends a frame by a link, to the station in its first bytes, without waiting.
    ///
    /// # Errors
    /// The kernel's: EAGAIN when the socket is full, ENOBUFS when the link's queue is.
    pub fn send_by(&self, link: LinkIndex, frame: &[u8]) -> io::Result<()> {
        let destination = frame.first_chunk().ok_or(io::ErrorKind::InvalidInput)?;
        let to = address(link, 0, Some(*destination))?;
        SockRef::from(&self.0).send_to_with_flags(frame, &to, libc::MSG_DONTWAIT).map(drop)
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The kernel's.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        Ok(send(&self.0, frame, SendFlags::empty()).map(drop)?)
    }

    /// The next frame; None when none comes within `patience`, which is more than zero.
    ///
    /// # Errors
    /// The kernel's.
    pub fn receive(&self, patience: Duration) -> io::Result<Option<Vec<u8>>> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(patience))?;
        let mut frame = vec![0; LIMIT];
        match recv(&self.0, frame.as_mut_slice(), RecvFlags::empty()) {
            Ok((length, _)) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> OwnedFd {
        socket.0
    }
}

/// Of no protocol until it is bound, or it would receive frames of other links before.
fn open(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, flags | SocketFlags::CLOEXEC, None)?)
}

/// `struct sockaddr_ll`.
fn address(link: LinkIndex, ether_type: u16, to: Option<[u8; 6]>) -> io::Result<SockAddr> {
    let [a, b, c, d, e, f] = to.unwrap_or_default();
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as libc::c_ushort,
        sll_protocol: ether_type.to_be(),
        sll_ifindex: i32::try_from(link.0).map_err(io::Error::other)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: if to.is_some() { 6 } else { 0 },
        sll_addr: [a, b, c, d, e, f, 0, 0],
    };
    let size = libc::socklen_t::try_from(size_of_val(&address)).expect("an address's size fits socklen_t");
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: the storage is large enough for every kind of address, and holds one of this size afterwards.
    #[allow(unsafe_code)]
    unsafe {
        *storage.view_as() = address;
        Ok(SockAddr::new(storage, size))
    }
}
