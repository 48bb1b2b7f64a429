//! A packet from a raw socket with all that must be known of it: source, destination, hop limit, link.
//!
//! No safe crate reads IP_PKTINFO and IPV6_HOPLIMIT. The call itself is the only unsafe block; the kernel's bytes are
//! read with bounds.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::net::types::LinkIndex;
use crate::vrrp::io::Datagram;

/// Longer packets are cut, which their own lengths show: the longest advertisement has 4116 bytes.
const MAX_PACKET: usize = 9216;
/// Room for the kernel's notes: two of at most 20 bytes, each with its header.
const MAX_NOTES: usize = 128;
/// A cmsghdr: its length, level and type.
const NOTE_HEADER: usize = size_of::<usize>() + 8;

/// Room for one packet, used again for the next.
pub(super) struct Buffer {
    packet: Vec<u8>,
    source: [u8; 32],
    notes: [u8; MAX_NOTES],
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer { packet: vec![0; MAX_PACKET], source: [0; 32], notes: [0; MAX_NOTES] }
    }
}

/// Reads the next packet of `protocol` from a socket that does not block.
///
/// # Errors
/// The kernel's; `WouldBlock` when there is none. `InvalidData` where the kernel gives no source.
pub(super) fn receive(socket: BorrowedFd<'_>, protocol: u8, buffer: &mut Buffer) -> io::Result<Datagram> {
    let (packet_length, notes_length) = receive_message(socket, buffer)?;
    let packet = buffer.packet.get(..packet_length).unwrap_or(&buffer.packet);
    let notes = Notes(buffer.notes.get(..notes_length).unwrap_or(&buffer.notes));
    let [family, ..] = buffer.source.as_chunks::<2>().0 else { return Err(nameless()) };
    let datagram = match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => of_ipv4(packet, notes, protocol),
        libc::AF_INET6 => of_ipv6(packet, notes, protocol, &buffer.source),
        _ => None,
    };
    datagram.ok_or_else(nameless)
}

/// A datagram that arrived at a UDP port, with all that must be known of it.
pub(super) struct UdpDatagram<'a> {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    /// TTL or hop limit.
    pub(super) hop_limit: u8,
    pub(super) bytes: &'a [u8],
}

/// Reads the next datagram from a UDP socket that does not block, and that notes destination and hop limit beside it.
///
/// # Errors
/// As for [`receive`].
pub(super) fn receive_udp<'a>(socket: BorrowedFd<'_>, buffer: &'a mut Buffer) -> io::Result<UdpDatagram<'a>> {
    let (packet_length, notes_length) = receive_message(socket, buffer)?;
    let bytes = buffer.packet.get(..packet_length).unwrap_or(&buffer.packet);
    let notes = Notes(buffer.notes.get(..notes_length).unwrap_or(&buffer.notes));
    let read = || {
        let [family, ..] = buffer.source.as_chunks::<2>().0 else { return None };
        let (source, destination, limit) = match i32::from(u16::from_ne_bytes(*family)) {
            libc::AF_INET => {
                let address = |bytes: &[u8]| Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)));
                // The index and the local address come before it.
                let note = notes.find(libc::IPPROTO_IP, libc::IP_PKTINFO)?.get(8..)?;
                let limit = notes.find(libc::IPPROTO_IP, libc::IP_TTL)?;
                (address(buffer.source.get(4..)?)?, address(note)?, limit)
            }
            libc::AF_INET6 => {
                let address = |bytes: &[u8]| Some(IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)));
                let note = notes.find(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
                let limit = notes.find(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)?;
                // Family, port and flow label come before it.
                (address(buffer.source.get(8..)?)?, address(note)?, limit)
            }
            _ => return None,
        };
        let hop_limit = u8::try_from(i32::from_ne_bytes(*limit.first_chunk()?)).ok()?;
        Some((source, destination, hop_limit))
    };
    let (source, destination, hop_limit) = read().ok_or_else(nameless)?;
    Ok(UdpDatagram { source, destination, hop_limit, bytes })
}

fn nameless() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the kernel did not say whence a packet came")
}

/// A raw socket shows the IP header, which says everything but the link.
fn of_ipv4(packet: &[u8], notes: Notes<'_>, protocol: u8) -> Option<Datagram> {
    let note = notes.find(libc::IPPROTO_IP, libc::IP_PKTINFO)?;
    let link = u32::from_ne_bytes(*note.first_chunk()?);
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?)));
    Some(Datagram {
        link: LinkIndex(link),
        protocol,
        source: address(12)?,
        destination: address(16)?,
        hop_limit: *packet.get(8)?,
        bytes: packet.to_vec(),
    })
}

fn of_ipv6(packet: &[u8], notes: Notes<'_>, protocol: u8, source: &[u8]) -> Option<Datagram> {
    let address = |bytes: &[u8]| Some(IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)));
    let note = notes.find(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)?;
    let link = u32::from_ne_bytes(*note.get(16..)?.first_chunk()?);
    let limit = notes.find(libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)?;
    let limit = i32::from_ne_bytes(*limit.first_chunk()?);
    Some(Datagram {
        link: LinkIndex(link),
        protocol,
        // Family, port and flow label come before it.
        source: address(source.get(8..)?)?,
        destination: address(note)?,
        hop_limit: u8::try_from(limit).ok()?,
        bytes: packet.to_vec(),
    })
}

/// What the kernel noted beside a packet (`cmsg(3)`).
#[derive(Clone, Copy)]
struct Notes<'a>(&'a [u8]);

impl<'a> Notes<'a> {
    fn find(self, level: i32, kind: i32) -> Option<&'a [u8]> {
        let mut rest = self.0;
        loop {
            let (length, after) = rest.split_first_chunk::<{ size_of::<usize>() }>()?;
            let length = usize::from_ne_bytes(*length);
            let (own_level, after) = after.split_first_chunk::<4>()?;
            let own_kind = after.first_chunk::<4>()?;
            if (i32::from_ne_bytes(*own_level), i32::from_ne_bytes(*own_kind)) == (level, kind) {
                return rest.get(NOTE_HEADER..length);
            }
            // A length shorter than its own header would never end.
            let next = length.max(NOTE_HEADER).checked_next_multiple_of(size_of::<usize>())?;
            rest = rest.get(next..)?;
        }
    }
}

/// The lengths of packet and notes.
#[allow(clippy::useless_conversion, reason = "musl counts notes in 32 bits")]
fn receive_message(socket: BorrowedFd<'_>, buffer: &mut Buffer) -> io::Result<(usize, usize)> {
    let Buffer { packet, source, notes } = buffer;
    let mut piece = libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() };
    // SAFETY: a msghdr of zeros is a valid one; each pointer set here is to memory that is borrowed mutably for as
    // long as the call takes, with its own length beside it.
    #[allow(unsafe_code)]
    let (length, header) = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        header.msg_name = source.as_mut_ptr().cast();
        header.msg_namelen = 28;
        header.msg_iov = &raw mut piece;
        header.msg_iovlen = 1;
        header.msg_control = notes.as_mut_ptr().cast();
        header.msg_controllen = notes.len().try_into().unwrap_or_default();
        (libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT), header)
    };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok((length, usize::try_from(header.msg_controllen).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (NOTE_HEADER + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(size_of::<usize>()), 0);
        bytes
    }

    #[test]
    fn notes_are_found_behind_others_and_never_beyond_their_end() {
        let mut bytes = note(1, 2, &[9; 5]);
        bytes.extend(note(41, 50, &[7; 20]));
        assert_eq!(Notes(&bytes).find(41, 50), Some(&[7; 20][..]));
        assert_eq!(Notes(&bytes).find(1, 2), Some(&[9; 5][..]));
        assert_eq!(Notes(&bytes).find(41, 51), None);
        for length in 0..bytes.len() {
            let _ = Notes(&bytes[..length]).find(41, 50);
        }
        for length in [0, 1, NOTE_HEADER - 1, usize::MAX, usize::MAX - 7, 1 << 40] {
            let mut lie = bytes.clone();
            lie[..size_of::<usize>()].copy_from_slice(&length.to_ne_bytes());
            let _ = Notes(&lie).find(41, 50);
            let _ = Notes(&lie).find(1, 2);
        }
    }
}
