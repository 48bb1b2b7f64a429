//! A packet socket: whole Ethernet frames out of one interface and back.

use std::io::{self, Read};
use std::mem::MaybeUninit;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// ETH_P_ALL.
const EVERYTHING: u16 = 0x0003;
/// Longest frame: what veth carries at its greatest MTU.
pub(crate) const LONGEST: usize = 65_550;
/// Room for what is not read yet: a flood, while the reader waits for its turn.
const QUEUE: usize = 32 << 20;

/// A packet socket on one interface of the host the calling thread is in.
#[derive(Debug)]
pub(crate) struct PacketSocket(Socket);

impl PacketSocket {
    /// Opens one on this interface; only what comes after is heard.
    ///
    /// # Errors
    /// When there is no such interface, or the kernel refuses.
    pub(crate) fn open(interface: &str) -> Result<PacketSocket, String> {
        let fail = |e: io::Error| format!("packet socket on {interface}: {e}");
        let index = rustix::net::netdevice::name_to_index(
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
                .map_err(|e| fail(e.into()))?,
            interface,
        )
        .map_err(|e| fail(e.into()))?;
        // Protocol 0 hears nothing: otherwise frames of other interfaces would be queued before the bind.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0))).map_err(fail)?;
        socket.set_recv_buffer_size(QUEUE).map_err(fail)?;
        socket.bind(&address(index).map_err(fail)?).map_err(fail)?;
        Ok(PacketSocket(socket))
    }

    /// Sends a frame as it is.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.0.send(frame).map(drop)
    }

    /// Waits for the next frame and reads it into a buffer of [`LONGEST`] bytes.
    ///
    /// # Errors
    /// What the kernel said.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let n = (&self.0).read(buffer)?;
        Ok(buffer.get(..n).unwrap_or_default())
    }
}

/// Every protocol on one interface.
#[allow(unsafe_code)]
fn address(index: u32) -> io::Result<SockAddr> {
    // SAFETY: all zeroes is a valid sockaddr_ll; it is smaller than the storage it is written to, and the length
    // given is its own.
    unsafe {
        let mut link: libc::sockaddr_ll = MaybeUninit::zeroed().assume_init();
        link.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        link.sll_protocol = EVERYTHING.to_be();
        link.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
        let ((), address) = SockAddr::try_init(|storage, length| {
            storage.cast::<libc::sockaddr_ll>().write(link);
            *length = u32::try_from(size_of::<libc::sockaddr_ll>()).map_err(io::Error::other)?;
            Ok(())
        })?;
        Ok(address)
    }
}
