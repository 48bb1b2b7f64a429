//! One netlink socket: sends datagrams to the kernel, receives the kernel's, every wait bounded.
//!
//! After an error its owner drops it and opens another.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;
use rustix::io::{Errno, IoSliceMut};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_timeout,
};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SocketAddrAny, recvmsg};

/// Longest silence of the kernel inside an answer.
const SILENCE: Duration = Duration::from_secs(5);
/// Wanted receive buffer: a full batch of refusals, or of services, or the news of a link with thousands of addresses
/// that goes.
pub(crate) const RECEIVE_BUFFER: usize = 8 << 20;
/// The kernel builds dumps in pieces of at most 32 KiB and one message of IPVS is below 4 KiB.
pub(crate) const DATAGRAM: usize = 64 << 10;
/// Interrupted waits and datagrams of other senders endured in one receive.
const PATIENCE: usize = 64;

/// See the module.
pub(crate) struct Socket {
    socket: NlSocket,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket of a protocol.
    ///
    /// # Errors
    /// A sentence, when the system refuses one.
    pub(crate) fn open(protocol: NlFamily) -> Result<Socket, String> {
        let socket = NlSocket::connect(protocol, None, Groups::empty())
            .map_err(|e| format!("cannot be opened: {e}"))?;
        let this = Socket { socket, buffer: vec![0; DATAGRAM] };
        // Texts are a courtesy: kernels before 4.12 know none.
        let _ = this.socket.enable_ext_ack(true);
        // Dumps of routes are asked for in part; a kernel before 4.20 sends them whole, and we choose.
        let _ = this.socket.enable_strict_checking(true);
        set_socket_timeout(descriptor(&this.socket), Timeout::Recv, Some(SILENCE))
            .map_err(|e| format!("cannot be given a timeout: {e}"))?;
        widen(descriptor(&this.socket)).map_err(|e| format!("cannot be given a receive buffer: {e}"))?;
        Ok(this)
    }

    /// Sends one datagram to the kernel, which works it off before this returns.
    ///
    /// # Errors
    /// A sentence, when the kernel did not take the whole datagram.
    pub(crate) fn send(&self, datagram: &[u8]) -> Result<(), String> {
        for _ in 0..PATIENCE {
            match self.socket.send(datagram, Msg::empty()) {
                Ok(n) if n == datagram.len() => return Ok(()),
                Ok(n) => return Err(format!("took {n} of {} bytes", datagram.len())),
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("cannot send: {e}")),
            }
        }
        Err("sending was interrupted again and again".into())
    }

    /// The kernel's next datagram.
    ///
    /// # Errors
    /// A sentence, when there was none for 5 seconds, some were lost (ENOBUFS), or it was cut off.
    pub(crate) fn receive(&mut self) -> Result<&[u8], String> {
        let mut length = None;
        for _ in 0..PATIENCE {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            let got = match recvmsg(
                descriptor(&self.socket),
                &mut parts,
                &mut RecvAncillaryBuffer::default(),
                RecvFlags::empty(),
            ) {
                Ok(got) => got,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(format!("no answer for {} s", SILENCE.as_secs())),
                Err(Errno::NOBUFS) => return Err("answers were lost: receive buffer full".into()),
                Err(e) => return Err(format!("cannot receive: {e}")),
            };
            if !is_from_kernel(got.address) {
                continue;
            }
            if got.flags.contains(ReturnFlags::TRUNC) {
                return Err("an answer was cut off".into());
            }
            length = Some(got.bytes);
            break;
        }
        length
            .and_then(|n| self.buffer.get(..n))
            .ok_or_else(|| "receiving was interrupted again and again".into())
    }
}

/// Gives a netlink socket a receive buffer of [`RECEIVE_BUFFER`] bytes.
pub(crate) fn widen(socket: impl AsFd) -> Result<(), Errno> {
    // The first needs CAP_NET_ADMIN over the whole machine; the second is capped at net.core.rmem_max.
    set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER)
        .or_else(|_| set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER))
}

/// Whether the kernel sent a datagram, and not another process.
pub(crate) fn is_from_kernel(sender: Option<SocketAddrAny>) -> bool {
    sender
        .and_then(|address| SocketAddrNetlink::try_from(address).ok())
        .is_some_and(|sender| sender.pid() == 0)
}

fn descriptor(socket: &NlSocket) -> BorrowedFd<'_> {
    // SAFETY: the socket owns its descriptor and keeps it open as long as the borrow lasts.
    #[allow(unsafe_code)]
    unsafe {
        BorrowedFd::borrow_raw(socket.as_raw_fd())
    }
}
