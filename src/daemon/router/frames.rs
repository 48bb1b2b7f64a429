//! The socket that puts whole Ethernet frames on links: gratuitous ARP and neighbour advertisements.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::net::types::LinkIndex;

/// It is of no protocol, so it hears nothing.
pub(super) struct Frames(OwnedFd);

impl Frames {
    /// Opens it.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn open() -> io::Result<Frames> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        Ok(Frames(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None)?))
    }

    /// Sends a frame; its first bytes say whom to.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&self, link: LinkIndex, frame: &[u8]) -> io::Result<()> {
        let [destination @ .., _, _] = *frame.first_chunk::<8>().ok_or(io::ErrorKind::InvalidInput)?;
        let index = i32::try_from(link.0).map_err(io::Error::other)?;
        let [a, b, c, d, e, g] = destination;
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as libc::c_ushort,
            sll_protocol: 0,
            sll_ifindex: index,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 6,
            sll_addr: [a, b, c, d, e, g, 0, 0],
        };
        let size =
            libc::socklen_t::try_from(size_of_val(&address)).expect("an address's size fits socklen_t");
        // SAFETY: the descriptor is open; frame and address live through the call, each with its own length.
        #[allow(unsafe_code)]
        let sent = unsafe {
            let to = (&raw const address).cast();
            libc::sendto(self.0.as_raw_fd(), frame.as_ptr().cast(), frame.len(), libc::MSG_DONTWAIT, to, size)
        };
        if sent >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}
