//! What an errno says of a real server: that it is down, or that it cannot be asked from here.
//!
//! The one table of it. An error that clients' packets would meet as well is the real server's failure: every answer
//! of the network, and a route that forwarded packets take, too. An error that concerns only the probe's own socket
//! (no descriptor, no such source, a firewall's or a policy's EPERM) says nothing about the real server. Where one
//! errno can be either, the route of forwarded packets decides. [`super::connect`] and the conversations call it.

use std::borrow::Cow;
use std::io;

/// When the kernel gave an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// By a call that sends nothing: socket(), setsockopt(), bind(), epoll_ctl().
    Preparing,
    /// By connect() itself: the route was looked up and a port was chosen, no packet was answered.
    Connecting,
    /// After that, as SO_ERROR or by a read or a write: the real server or the network answered, or both were silent.
    Answered,
}

/// What an errno says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Clients' packets meet the same.
    ServerDown(Cow<'static, str>),
    /// Only the probe is concerned; the words name the next step where there is one.
    CannotAsk(Cow<'static, str>),
    /// The first if the route of forwarded packets ends the same way, otherwise the second.
    AsRouted(&'static str, Cow<'static, str>),
}

pub(super) fn meaning(when: When, error: &io::Error) -> Meaning {
    let Some(errno) = error.raw_os_error() else {
        return Meaning::CannotAsk(format!("{error}, on this host").into());
    };
    match (when, errno) {
        (_, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::ENOSPC)
        | (When::Preparing, _) => Meaning::CannotAsk(of_this_host(error)),
        // The peer itself, or its host, whether it is this one (synchronous) or another.
        (_, libc::ECONNREFUSED) => down("connection refused"),
        (_, libc::ECONNRESET) => down("connection reset"),
        (_, libc::ECONNABORTED) => down("connection aborted"),
        (_, libc::EPIPE) => down("connection closed"),
        (_, libc::ETIMEDOUT) => down("connection timed out"),
        (_, libc::EHOSTDOWN) => down("host is down"),
        (_, libc::ENETDOWN) => down("network is down"),
        // No neighbour or ICMP; or, synchronous, a route of type unreachable or throw, or none.
        (_, libc::EHOSTUNREACH) => down("no route to host"),
        (_, libc::ENETUNREACH) => down("network unreachable"),
        // A route or rule of type prohibit or blackhole stops forwarded packets, too. A security module (SELinux)
        // and a source address that went away stop only the probe.
        (When::Connecting, libc::EACCES) => Meaning::AsRouted(
            "prohibited by a route of this host: look at `ip route get` and `ip rule`",
            "forbidden on this host: look at its security policy (SELinux, AppArmor)".into(),
        ),
        (When::Connecting, libc::EINVAL) => Meaning::AsRouted(
            "blackholed by a route of this host: look at `ip route get` and `ip rule`",
            "the kernel refuses this source or address: look at bindto, and a link-local address needs bind_if"
                .into(),
        ),
        (When::Connecting, _) => Meaning::CannotAsk(of_this_host(error)),
        // What comes later comes from the network: ICMP and ICMPv6 as icmp_err_convert() and icmpv6_err_convert() of
        // the kernel translate them.
        (When::Answered, libc::EACCES) => down("administratively prohibited: a firewall on the way rejects it (ICMPv6)"),
        (When::Answered, libc::EPROTO) => down("rejected on the way (ICMP error)"),
        (When::Answered, libc::ENOPROTOOPT) => down("protocol unreachable (ICMP)"),
        (When::Answered, libc::EOPNOTSUPP) => down("source route failed (ICMP)"),
        (When::Answered, libc::ENONET) => down("host is isolated (ICMP)"),
        (When::Answered, libc::EMSGSIZE) => down("a packet was too big on the way (ICMP)"),
        (When::Answered, _) => Meaning::ServerDown(format!("{error}, after connecting").into()),
    }
}

fn down(words: &'static str) -> Meaning {
    Meaning::ServerDown(words.into())
}

/// The operator's words for an error of this host, with the next step where there is one.
pub(super) fn of_this_host(error: &io::Error) -> Cow<'static, str> {
    match error.raw_os_error() {
        Some(libc::EMFILE) => "no file descriptors left: raise LimitNOFILE",
        Some(libc::ENFILE) => "no file descriptors left on this host: raise sysctl fs.file-max",
        Some(libc::ENOBUFS | libc::ENOMEM) => "no memory left for sockets on this host",
        Some(libc::ENOSPC) => "no epoll watches left: raise sysctl fs.epoll.max_user_watches",
        Some(libc::EPERM | libc::EACCES) => {
            "forbidden on this host: look at its outgoing firewall rules and its security policy"
        }
        Some(libc::EAFNOSUPPORT) => "this address family is switched off on this host",
        _ => return format!("{error}, on this host").into(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every errno that a check has met, synchronous and not; `integration/scenarios/check_errors` tries what the lab can
    /// bring about.
    #[test]
    fn what_clients_would_meet_is_the_servers_failure_and_all_else_cannot_be_asked() {
        use When::{Answered, Connecting, Preparing};
        const ROUTED: &str = "as routed";
        const DOWN: &str = "down";
        const HERE: &str = "cannot ask";
        for (errno, preparing, connecting, answered) in [
            (libc::ECONNREFUSED, HERE, DOWN, DOWN),
            (libc::ECONNRESET, HERE, DOWN, DOWN),
            (libc::ECONNABORTED, HERE, DOWN, DOWN),
            (libc::EPIPE, HERE, DOWN, DOWN),
            (libc::ETIMEDOUT, HERE, DOWN, DOWN),
            (libc::EHOSTDOWN, HERE, DOWN, DOWN),
            (libc::ENETDOWN, HERE, DOWN, DOWN),
            (libc::EHOSTUNREACH, HERE, DOWN, DOWN),
            (libc::ENETUNREACH, HERE, DOWN, DOWN),
            (libc::EACCES, HERE, ROUTED, DOWN),
            (libc::EINVAL, HERE, ROUTED, DOWN),
            (libc::EPERM, HERE, HERE, DOWN),
            (libc::EADDRNOTAVAIL, HERE, HERE, DOWN),
            (libc::EADDRINUSE, HERE, HERE, DOWN),
            (libc::EAFNOSUPPORT, HERE, HERE, DOWN),
            (libc::ENODEV, HERE, HERE, DOWN),
            (libc::EPROTO, HERE, HERE, DOWN),
            (libc::ENOPROTOOPT, HERE, HERE, DOWN),
            (libc::EOPNOTSUPP, HERE, HERE, DOWN),
            (libc::ENONET, HERE, HERE, DOWN),
            (libc::EMSGSIZE, HERE, HERE, DOWN),
            (libc::EIO, HERE, HERE, DOWN),
            (libc::EMFILE, HERE, HERE, HERE),
            (libc::ENFILE, HERE, HERE, HERE),
            (libc::ENOBUFS, HERE, HERE, HERE),
            (libc::ENOMEM, HERE, HERE, HERE),
            (libc::ENOSPC, HERE, HERE, HERE),
        ] {
            for (when, wanted) in [(Preparing, preparing), (Connecting, connecting), (Answered, answered)] {
                let is = match meaning(when, &io::Error::from_raw_os_error(errno)) {
                    Meaning::ServerDown(_) => DOWN,
                    Meaning::CannotAsk(_) => HERE,
                    Meaning::AsRouted(..) => ROUTED,
                };
                assert_eq!(is, wanted, "errno {errno} {when:?}");
            }
        }
    }
}
