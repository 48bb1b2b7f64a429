//! Events of the host, from the kernel's multicast groups, for an event loop.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use rustix::event::{PollFd, PollFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with};
use rustix::time::Timespec;
use socket2::{SockFilter, SockRef};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{decode, wire};
use crate::net::types::{Host, HostEvent, LinkIndex};
use crate::netlink::attribute::Malformed;
use crate::netlink::message::{Reply, replies};
use crate::netlink::socket::{DATAGRAM, RECEIVE_BUFFER, is_from_kernel, widen};

/// NETLINK_ROUTE is protocol 0.
const ROUTE: Option<Protocol> = None;
/// RTMGRP_*: links, addresses, routes and rules of both families.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18;
/// RTMGRP_*: links, addresses of both families.
const ADDRESSES: u32 = 0x1 | 0x10 | 0x100;
const NEIGHBOURS: u32 = 0x4;
/// Datagrams read at once: timers and packets have their turn between.
const TURN: usize = 64;

/// Links that went whose names are kept.
const GONE: usize = 64;

/// What [`Watch::next`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchBatch {
    /// The host changed; in order, perhaps in no way that matters.
    Events(Vec<HostEvent>),
    /// Events were lost: read the host again and [`Watch::learn`] it.
    Lost,
}

/// A socket subscribed to rtnetlink groups (RTMGRP_*).
#[derive(Debug)]
pub struct Watch {
    socket: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
    names: Names,
}

/// Link names by index: a route has only indexes, and its link may have gone with it.
#[derive(Debug, Default)]
struct Names {
    of: BTreeMap<LinkIndex, String>,
    /// Those of them that went, the first one first; at most [`GONE`].
    gone: VecDeque<LinkIndex>,
}

impl Watch {
    /// Subscribes in the network namespace of this thread and inside its event loop. A reading of the host
    /// that begins afterwards misses nothing.
    ///
    /// # Errors
    /// A sentence, when the system refuses the socket.
    pub fn open() -> Result<Watch, String> {
        Watch::of(GROUPS)
    }

    /// The same for links and addresses, and for neighbours if wanted.
    ///
    /// # Errors
    /// A sentence, when the system refuses the socket.
    pub fn around(with_neighbours: bool) -> Result<Watch, String> {
        Watch::of(ADDRESSES | if with_neighbours { NEIGHBOURS } else { 0 })
    }

    fn of(groups: u32) -> Result<Watch, String> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let refused = |what: &str, e: &dyn std::fmt::Display| format!("watching the network: {what}: {e}");
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, ROUTE)
            .map_err(|e| refused("socket", &e))?;
        SockRef::from(&socket).attach_filter(&FILTER).map_err(|e| refused("filter", &e))?;
        widen(&socket).map_err(|e| refused("receive buffer", &e))?;
        bind(&socket, &SocketAddrNetlink::new(0, groups)).map_err(|e| refused("groups", &e))?;
        let socket = register(socket).map_err(|e| refused("event loop", &e))?;
        Ok(Watch { socket, buffer: vec![0; DATAGRAM], names: Names::default() })
    }

    /// Learns the names of a host's links.
    pub fn learn(&mut self, host: &Host) {
        let of = host.links.values().map(|link| (link.index, link.name.clone())).collect();
        self.names = Names { of, gone: VecDeque::new() };
    }

    /// Whether no events wait to be read.
    pub fn is_dry(&self) -> bool {
        is_quiet(self.socket.get_ref())
    }

    /// The next events, some datagrams at once; waits for them. To stop waiting loses none.
    ///
    /// # Errors
    /// A sentence, when the socket is of no more use.
    pub async fn next(&mut self) -> Result<WatchBatch, String> {
        let failed = |e: io::Error| format!("watching the network: {e}");
        loop {
            let mut ready = self.socket.readable().await.map_err(failed)?;
            let mut events = Vec::new();
            for _ in 0..TURN {
                let read = ready.try_io(|socket| {
                    let (_, length, sender) =
                        recvfrom(socket.as_fd(), self.buffer.as_mut_slice(), RecvFlags::TRUNC)?;
                    Ok((length, sender))
                });
                let (length, sender) = match read {
                    Err(_not_ready) => break,
                    Ok(Err(e)) if e.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                        drop(ready);
                        self.forget();
                        return Ok(WatchBatch::Lost);
                    }
                    Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => continue,
                    Ok(Err(e)) => return Err(failed(e)),
                    Ok(Ok(read)) => read,
                };
                if !is_from_kernel(sender) {
                    continue;
                }
                match batch_of(&self.buffer, length, &mut self.names) {
                    WatchBatch::Events(found) => events.extend(found),
                    WatchBatch::Lost => return Ok(WatchBatch::Lost),
                }
            }
            if !events.is_empty() {
                return Ok(WatchBatch::Events(events));
            }
        }
    }

    /// The next datagram's events, if it has arrived.
    pub fn next_now(&mut self) -> Option<Result<WatchBatch, String>> {
        loop {
            match recvfrom(self.socket.as_fd(), self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                Err(Errno::NOBUFS) => {
                    self.forget();
                    return Some(Ok(WatchBatch::Lost));
                }
                Err(e) => return Some(Err(format!("watching the network: {e}"))),
                Ok((_, length, sender)) if is_from_kernel(sender.clone()) => {
                    return Some(Ok(batch_of(&self.buffer, length, &mut self.names)));
                }
                Ok(_) => {}
            }
        }
    }

    /// What was lost is newer than what waits: applied to a fresh reading of the host, it would be wrong.
    fn forget(&mut self) {
        for _ in 0..RECEIVE_BUFFER {
            match recvfrom(self.socket.as_fd(), self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

/// The events of the datagram in the buffer.
fn batch_of(buffer: &[u8], length: usize, names: &mut Names) -> WatchBatch {
    let datagram = buffer.get(..length);
    // What is cut off or makes no sense may have been anything: the host is read again.
    datagram.and_then(|datagram| names.read(datagram).ok()).map_or(WatchBatch::Lost, WatchBatch::Events)
}

/// The events in a datagram, to a host whose links are not known yet.
#[cfg(any(test, feature = "internals"))]
pub(super) fn read(datagram: &[u8]) -> WatchBatch {
    batch_of(datagram, datagram.len(), &mut Names::default())
}

impl Names {
    /// Changes that a link took along may arrive after its own removal; but hosts of containers create and remove links
    /// all day.
    fn keep_name_of(&mut self, gone: LinkIndex) {
        self.gone.push_back(gone);
        if self.gone.len() > GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.of.remove(&oldest);
        }
    }

    fn read(&mut self, datagram: &[u8]) -> Result<Vec<HostEvent>, Malformed> {
        let mut events = Vec::new();
        for reply in replies(datagram) {
            let Reply::Data { kind, payload, .. } = reply? else { continue };
            let found = match kind {
                // Bridges speak of their ports as links of another family.
                wire::NEW_LINK | wire::DELETE_LINK if payload.first() != Some(&wire::AF_UNSPEC) => None,
                wire::NEW_LINK => {
                    let link = decode::link(payload)?.link;
                    self.of.insert(link.index, link.name.clone());
                    self.gone.retain(|index| *index != link.index);
                    Some(HostEvent::Link(link))
                }
                wire::DELETE_LINK => {
                    let index = decode::link(payload)?.link.index;
                    self.keep_name_of(index);
                    Some(HostEvent::LinkGone(index))
                }
                wire::NEW_ADDRESS => decode::address(payload)?.map(|shown| HostEvent::Address(shown.held)),
                wire::DELETE_ADDRESS => {
                    decode::address(payload)?.map(|shown| HostEvent::AddressGone(shown.held))
                }
                wire::DELETE_ROUTE => {
                    decode::route(payload, &|index| self.of.get(&index).cloned())?.map(HostEvent::RouteGone)
                }
                wire::NEW_NEIGHBOUR => decode::neighbour(payload)?.map(HostEvent::Neighbour),
                wire::DELETE_RULE => decode::rule(payload)?.map(HostEvent::RuleGone),
                _ => None,
            };
            events.extend(found);
        }
        Ok(events)
    }
}

/// New routes and rules are no events, and a router of the Internet has a million of them: the kernel drops them
/// before they cost us anything. `nlmsg_type` is of the host's order, what the filter loads of the network's.
const FILTER: [SockFilter; 5] = [
    SockFilter::new(0x28, 0, 0, 4),
    SockFilter::new(0x15, 2, 0, wire::NEW_ROUTE.to_be() as u32),
    SockFilter::new(0x15, 1, 0, wire::NEW_RULE.to_be() as u32),
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// A descriptor that this thread's event loop watches for something to read.
///
/// # Errors
/// The system's.
pub(crate) fn register(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the socket is owned by what is registered, which closes it after its registration only.
    #[allow(unsafe_code)]
    let registered = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    registered.map_err(io::Error::from)
}

/// Whether there is nothing to read from a socket now, without waiting.
pub(crate) fn is_quiet(socket: &OwnedFd) -> bool {
    let mut poll = [PollFd::new(socket, PollFlags::IN)];
    rustix::event::poll(&mut poll, Some(&Timespec::default())).is_ok_and(|ready| ready == 0)
}
