//! What became of the sockets that instances need: open, or why not.
//!
//! An instance without its socket is deaf: it would take the silence for a dead Master. So it waits in Init until its
//! socket is open, and is in Fault while it cannot be opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::is_same;
use crate::vrrp::io::Endpoint;

/// What became of the endpoints of [`Effect::Listen`](crate::vrrp::io::Effect::Listen). What is in neither set is
/// being opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SocketStates {
    /// Those with all their sockets.
    pub open: BTreeSet<Endpoint>,
    /// Those that lack a socket, which is tried again every second.
    pub failed: BTreeMap<Endpoint, SocketFailure>,
}

impl SocketStates {
    /// Whether an instance with this endpoint can send and receive.
    pub(crate) fn is_open(&self, endpoint: &Endpoint) -> bool {
        self.open.range(least(endpoint)..).take_while(|e| is_near(e, endpoint)).any(|e| is_same(e, endpoint))
    }

    /// Why it cannot.
    pub(crate) fn failure(&self, endpoint: &Endpoint) -> Option<SocketFailure> {
        let near = self.failed.range(least(endpoint)..).take_while(|(e, _)| is_near(e, endpoint));
        near.filter(|(e, _)| is_same(e, endpoint)).map(|(_, failure)| *failure).next()
    }
}

/// The least endpoint of the same link, protocol and group.
fn least(endpoint: &Endpoint) -> Endpoint {
    let source = match endpoint.source {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Endpoint { source, receive_buffer: 0, ..endpoint.clone() }
}

fn is_near(a: &Endpoint, b: &Endpoint) -> bool {
    (a.link, a.protocol, a.group) == (b.link, b.protocol, b.group)
}

/// Why a socket could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketFailure {
    /// What the kernel refused.
    pub step: SocketStep,
    /// Its error number.
    pub errno: i32,
}

/// A step on the way to a socket that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SocketStep {
    Open,
    /// Binding to the interface.
    Interface,
    Option,
    /// Joining the multicast group.
    Join,
    /// Binding to the address.
    Address,
    /// Waiting for packets.
    Watch,
}

impl fmt::Display for SocketFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.step {
            SocketStep::Open => "no socket for VRRP can be opened",
            SocketStep::Interface => "VRRP's socket cannot be bound to its interface",
            SocketStep::Option => "VRRP's socket cannot be set up",
            SocketStep::Join => "the multicast group cannot be joined",
            SocketStep::Address => "VRRP's socket cannot be bound to its address",
            SocketStep::Watch => "VRRP's socket cannot be watched",
        };
        let text = std::io::Error::from_raw_os_error(self.errno).to_string();
        let text = text.split(" (os error").next().unwrap_or_default().to_lowercase();
        write!(f, "{what}: {text}")?;
        if let Some(next) = self.next_step() {
            write!(f, ": {next}")?;
        }
        f.write_str("; tried again every second")
    }
}

impl SocketFailure {
    fn next_step(self) -> Option<&'static str> {
        Some(match (self.step, self.errno) {
            (_, libc::EMFILE) => "raise LimitNOFILE of lvsd's unit, or `ulimit -n`",
            (_, libc::ENFILE) => "raise the sysctl fs.file-max",
            (SocketStep::Open, libc::EPERM | libc::EACCES) => "give lvsd CAP_NET_RAW, or run it as root",
            (SocketStep::Open, libc::EAFNOSUPPORT) => {
                "this kernel has no IPv6: switch it on (ipv6.disable=0)"
            }
            // Memberships of one socket are counted; so is the memory they take.
            (SocketStep::Join, libc::ENOBUFS | libc::ENOMEM) => {
                "raise the sysctls net.ipv4.igmp_max_memberships and net.core.optmem_max"
            }
            (_, libc::ENOBUFS | libc::ENOMEM) => "raise the sysctl net.core.optmem_max, or free memory",
            (SocketStep::Watch, libc::ENOSPC) => "raise the sysctl fs.epoll.max_user_watches",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::LinkIndex;

    fn endpoint(link: u32, group: Option<[u8; 4]>, last: u8) -> Endpoint {
        Endpoint {
            link: Some(LinkIndex(link)),
            protocol: 112,
            group: group.map(IpAddr::from),
            source: [10, 0, 0, last].into(),
            receive_buffer: 0,
        }
    }

    #[test]
    fn instances_of_one_link_share_a_multicast_socket_and_its_failure() {
        let group = Some([224, 0, 0, 18]);
        let failure = SocketFailure { step: SocketStep::Join, errno: libc::ENOBUFS };
        let listening = SocketStates {
            open: [endpoint(2, group, 1), endpoint(3, None, 1)].into(),
            failed: [(endpoint(4, group, 1), failure), (endpoint(5, None, 1), failure)].into(),
        };
        assert!(listening.is_open(&endpoint(2, group, 9)));
        assert!(listening.is_open(&endpoint(3, None, 1)) && !listening.is_open(&endpoint(3, None, 9)));
        assert_eq!(listening.failure(&endpoint(4, group, 9)), Some(failure));
        assert_eq!(listening.failure(&endpoint(5, None, 9)), None);
        assert!(!listening.is_open(&endpoint(4, group, 1)) && !listening.is_open(&endpoint(9, group, 1)));
    }

    #[test]
    fn a_failure_names_the_next_step() {
        let words = |step, errno| SocketFailure { step, errno }.to_string();
        assert_eq!(
            words(SocketStep::Join, libc::ENOBUFS),
            "the multicast group cannot be joined: no buffer space available: raise the sysctls \
             net.ipv4.igmp_max_memberships and net.core.optmem_max; tried again every second"
        );
        assert!(words(SocketStep::Open, libc::EMFILE).contains("raise LimitNOFILE"));
        assert!(words(SocketStep::Open, libc::EPERM).contains("CAP_NET_RAW"));
        assert_eq!(
            words(SocketStep::Address, libc::EADDRNOTAVAIL),
            "VRRP's socket cannot be bound to its address: cannot assign requested address; tried again every second"
        );
    }
}
