//! The sockets that put whole Ethernet frames on links: gratuitous ARP and neighbour advertisements.
//!
//! A link has one of its own: what waits in one link's queue takes no room from another's. A full one says when there
//! is room again ([`Frames::writable`]); a queue that drops instead (ENOBUFS) does not, so it is tried again soon.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::epoll::EventFlags;

use super::epoll_set::EpollSet;
use crate::net::packet_socket::PacketSocket;
use crate::net::types::LinkIndex;
use crate::time::Instant;

/// Until a link whose queue dropped a frame is tried again.
const RETRY: Duration = Duration::from_millis(10);

/// See the module.
pub(super) struct Frames {
    outlets: BTreeMap<LinkIndex, Outlet>,
    /// Tells which full ones have room.
    ready: EpollSet,
}

/// A link's socket. It is of no protocol, so it receives nothing.
struct Outlet {
    socket: PacketSocket,
    full: Option<Full>,
}

/// There is no room.
struct Full {
    /// As the link was named when that was seen.
    name: String,
    /// When it is tried again, where the kernel does not say.
    retry: Option<Instant>,
}

impl Frames {
    /// No sockets yet. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn new() -> io::Result<Frames> {
        PacketSocket::unbound()?;
        Ok(Frames { outlets: BTreeMap::new(), ready: EpollSet::new()? })
    }

    /// Sends a frame by the link of that number and name; its first bytes are the destination. False: there is no room,
    /// and [`Frames::take_writable`] answers that name when there is.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(
        &mut self,
        now: Instant,
        link: LinkIndex,
        name: &str,
        frame: &[u8],
    ) -> io::Result<bool> {
        let outlet = match self.outlets.entry(link) {
            std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::btree_map::Entry::Vacant(new) => {
                new.insert(Outlet { socket: PacketSocket::unbound()?, full: None })
            }
        };
        if outlet.full.is_some() {
            return Ok(false);
        }
        let Err(error) = outlet.socket.send_by(link, frame) else { return Ok(true) };
        let retry = match error.raw_os_error() {
            Some(libc::EAGAIN) => {
                let once = EventFlags::OUT | EventFlags::ONESHOT;
                let watched = self.ready.watch(&outlet.socket, u64::from(link.0), once);
                watched.is_err().then_some(now + RETRY)
            }
            Some(libc::ENOBUFS) => Some(now + RETRY),
            _ => return Err(error),
        };
        outlet.full = Some(Full { name: name.to_owned(), retry });
        Ok(false)
    }

    /// When a full link is tried again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.outlets.values().filter_map(|outlet| outlet.full.as_ref()?.retry).min()
    }

    /// Waits until a full link may have room.
    pub(super) async fn writable(&self) {
        self.ready.wait().await;
    }

    /// The names of links that were full and have room.
    pub(super) fn take_writable(&mut self, now: Instant) -> Vec<String> {
        let ready = self.ready.ready().into_iter().filter_map(|key| u32::try_from(key).ok().map(LinkIndex));
        let due = self.outlets.iter().filter(|(_, outlet)| {
            outlet.full.as_ref().and_then(|full| full.retry).is_some_and(|at| at <= now)
        });
        let have_room: Vec<LinkIndex> = ready.chain(due.map(|(link, _)| *link)).collect();
        let full = have_room.into_iter().filter_map(|link| self.outlets.get_mut(&link)?.full.take());
        full.map(|full| full.name).collect()
    }

    /// A link went: its socket, to be closed where that may take its time.
    pub(super) fn forget(&mut self, link: LinkIndex) -> Option<OwnedFd> {
        self.outlets.remove(&link).map(|outlet| outlet.socket.into())
    }

    /// Links other than these are there no more: their sockets.
    pub(super) fn keep_only(&mut self, is_there: impl Fn(LinkIndex) -> bool) -> Vec<OwnedFd> {
        let gone: Vec<_> = self.outlets.keys().copied().filter(|link| !is_there(*link)).collect();
        gone.into_iter().filter_map(|link| self.forget(link)).collect()
    }
}
