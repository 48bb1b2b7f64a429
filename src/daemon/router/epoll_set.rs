//! Sockets of which it is asked which are ready, each by the number it was added with.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::{self, EventData, EventFlags};
use tokio::io::unix::AsyncFd;

use crate::net::kernel::{is_quiet, register};

/// Sockets that are returned at once; level-triggered ones that did not fit are returned again.
const MAX_READY: usize = 64;

/// See the module.
pub(super) struct EpollSet(AsyncFd<OwnedFd>);

impl EpollSet {
    /// Without sockets. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new() -> io::Result<EpollSet> {
        Ok(EpollSet(register(epoll::create(epoll::CreateFlags::CLOEXEC)?)?))
    }

    /// Asks for these events of a socket, whether it was added before or not.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn watch(&self, socket: impl AsFd, key: u64, events: EventFlags) -> io::Result<()> {
        let (set, socket, data) = (self.0.get_ref(), socket.as_fd(), EventData::new_u64(key));
        let known = epoll::modify(set, socket, data, events);
        Ok(known.or_else(|_| epoll::add(set, socket, data, events))?)
    }

    /// Asks no more of a socket.
    pub(super) fn forget(&self, socket: impl AsFd) {
        // It fails for one that was never added only.
        let _ = epoll::delete(self.0.get_ref(), socket);
    }

    /// Waits until a socket may be ready.
    pub(super) async fn wait(&self) {
        loop {
            // It fails when the event loop ends, and then nothing waits any more.
            let Ok(mut guard) = self.0.readable().await else { return std::future::pending().await };
            if !is_quiet(self.0.get_ref()) {
                guard.retain_ready();
                return;
            }
            guard.clear_ready();
        }
    }

    /// The numbers of those that are ready; what was asked for once (`ONESHOT`) is not returned again.
    pub(super) fn ready(&self) -> Vec<u64> {
        let mut events = [MaybeUninit::uninit(); MAX_READY];
        // Interrupted or not: what waits is returned again.
        let found = epoll::wait(self.0.get_ref(), &mut events, Some(&rustix::time::Timespec::default()));
        let found: &[epoll::Event] = found.as_ref().map_or(&[], |(found, _)| found);
        let number = |event: &epoll::Event| {
            // The field of a packed structure cannot be borrowed.
            let data = event.data;
            data.u64()
        };
        found.iter().map(number).collect()
    }
}
