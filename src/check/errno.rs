//! What an errno says: something about the real server, or something about this host, and in which words.
//!
//! The line between the two is keepalived's: what the network or the peer can cause fails the check, all else
//! leaves the verdict as it was. It refuses to know which call failed; [`super::connect`] and the
//! conversations call it.

use std::io;

/// The operator's words for an errno that speaks of the real server or the way to it; None for all others.
pub(super) fn of_the_network(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::ECONNREFUSED => "connection refused",
        libc::ECONNRESET => "connection reset",
        libc::ECONNABORTED => "connection aborted",
        libc::EPIPE => "connection closed",
        libc::ETIMEDOUT => "connection timed out",
        libc::EHOSTUNREACH => "no route to host",
        libc::ENETUNREACH => "network unreachable",
        libc::EHOSTDOWN => "host is down",
        libc::ENETDOWN => "network is down",
        _ => return None,
    })
}

/// The operator's words for an error of this host, with the next step where there is one.
pub(super) fn of_this_host(error: &io::Error) -> String {
    let words = match error.raw_os_error() {
        Some(libc::EMFILE) => "no file descriptors left: raise LimitNOFILE",
        Some(libc::ENFILE) => "no file descriptors left on this host: raise sysctl fs.file-max",
        Some(libc::ENOBUFS | libc::ENOMEM) => "no memory left for sockets on this host",
        Some(libc::ENOSPC) => "no epoll watches left: raise sysctl fs.epoll.max_user_watches",
        Some(libc::EPERM | libc::EACCES) => {
            "forbidden on this host: look at its outgoing firewall rules and prohibit routes"
        }
        Some(libc::EAFNOSUPPORT) => "this address family is switched off on this host",
        _ => return format!("{error}, on this host"),
    };
    words.to_owned()
}
