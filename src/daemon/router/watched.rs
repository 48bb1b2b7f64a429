//! A descriptor the event loop watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Watches a descriptor, which from here on nobody else has. Needs the event loop's context.
///
/// # Errors
/// The kernel's.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, is moved into the AsyncFd, and lives as long as that does; nobody takes it out.
    #[allow(unsafe_code)]
    let watched = unsafe { AsyncFd::register(fd) };
    Ok(watched?)
}
