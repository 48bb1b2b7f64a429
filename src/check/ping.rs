//! PING_CHECK: conversation, tests.
//!
//! One ICMP echo request, and the reply that belongs to it. The kernel's unprivileged datagram socket is used where
//! `net.ipv4.ping_group_range` allows it, a raw socket (CAP_NET_RAW) elsewhere; no setting of the host is changed.

use rustix::io::Errno;
use socket2::{Protocol, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::connect::{bind, in_words, open_as, receive, refused};
use super::errno::When;
use super::outcome::{Outcome, Phase};
use super::spec::Target;
use crate::net::checksum::Sum;

/// Bytes after the ICMP header, as keepalived sends: 128.
const PAYLOAD: usize = 128;
const HEADER: usize = 8;
const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Asks once. Ends within the target's `connect_timeout`; [`Outcome::took`] is the caller's to fill.
pub(crate) async fn run(target: &Target) -> Outcome {
    let echo = Echo::new(target.address.is_ipv6());
    let socket = match open(target) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    if let Err(error) = socket.send(&echo.request()).await {
        return refused(target, When::Connecting, &error);
    }
    // Other packets that a raw socket receives are ignored.
    let reply = receive(&socket, |packet| echo.is_answered_by(packet).then_some(()));
    match timeout(target.connect_timeout, reply).await {
        Ok(Ok(())) => Outcome::pass("echo reply"),
        Ok(Err(error)) => refused(target, When::Answered, &error),
        Err(_elapsed) => {
            Outcome::fail(Phase::Head, format!("no echo reply within {}", in_words(target.connect_timeout)))
        }
    }
}

/// tokio knows no ICMP socket; its UDP socket sends and receives on any datagram socket it is given.
fn open(target: &Target) -> Result<UdpSocket, Outcome> {
    let protocol = if target.address.is_ipv6() { Protocol::ICMPV6 } else { Protocol::ICMPV4 };
    let socket = match open_as(target, Type::DGRAM.nonblocking(), protocol) {
        // This process's groups are not in net.ipv4.ping_group_range.
        Err(outcome) if outcome.errno == Some(Errno::ACCESS.raw_os_error()) => {
            open_as(target, Type::RAW.nonblocking(), protocol)?
        }
        opened => opened?,
    };
    // Ports mean nothing to ICMP: a datagram socket would take one for its identifier.
    let mut source = target.source().clone();
    source.port = None;
    bind(&socket, &source, target.address)?;
    let mut peer = target.address;
    peer.set_port(0);
    socket.connect(&peer.into()).map_err(|e| refused(target, When::Connecting, &e))?;
    UdpSocket::from_std(socket.into()).map_err(|e| refused(target, When::Preparing, &e))
}

/// One request, told from all others by what it carries: the kernel chooses a datagram socket's identifier.
struct Echo {
    is_ipv6: bool,
    token: [u8; 16],
}

impl Echo {
    fn new(is_ipv6: bool) -> Echo {
        Echo { is_ipv6, token: fastrand::u128(..).to_ne_bytes() }
    }

    fn request(&self) -> Vec<u8> {
        let mut packet = vec![0; HEADER + PAYLOAD];
        let [id_high, id_low, sequence_high, sequence_low, ..] = self.token;
        let kind = if self.is_ipv6 { ECHO_REQUEST_V6 } else { ECHO_REQUEST };
        let head = [kind, 0, 0, 0, id_high, id_low, sequence_high, sequence_low];
        for (byte, value) in packet.iter_mut().zip(head.into_iter().chain(self.token)) {
            *byte = value;
        }
        // The kernel fills in ICMPv6's, which covers addresses it chooses, and a datagram socket's.
        if !self.is_ipv6 {
            let sum = Sum::default().with(&packet).complement().to_be_bytes();
            for (byte, value) in packet.iter_mut().skip(2).zip(sum) {
                *byte = value;
            }
        }
        packet
    }

    /// `packet` as the socket gives it: a raw one for IPv4 begins with the IP header.
    fn is_answered_by(&self, packet: &[u8]) -> bool {
        let icmp = match packet.first() {
            Some(first) if !self.is_ipv6 && first >> 4 == 4 => packet.get(usize::from(first & 0xf) * 4..),
            _ => Some(packet),
        };
        let Some([kind, code, _, _, _, _, _, _, payload @ ..]) = icmp else { return false };
        let wanted = if self.is_ipv6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
        (*kind, *code) == (wanted, 0) && payload.starts_with(&self.token)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::target;

    #[test]
    fn only_the_reply_to_this_request_counts() {
        for is_ipv6 in [false, true] {
            let echo = Echo::new(is_ipv6);
            let mut reply = echo.request();
            assert!(!echo.is_answered_by(&reply), "its own request");
            reply[0] = if is_ipv6 { ECHO_REPLY_V6 } else { ECHO_REPLY };
            assert!(echo.is_answered_by(&reply));
            assert!(!Echo::new(is_ipv6).is_answered_by(&reply), "another request's");
            for length in 0..HEADER + 16 {
                assert!(!echo.is_answered_by(&reply[..length]), "{length} bytes of it");
            }
            let with_ip_header = [vec![0x46; 24], reply.clone()].concat();
            assert_eq!(echo.is_answered_by(&with_ip_header), !is_ipv6);
            reply[1] = 1;
            assert!(!echo.is_answered_by(&reply), "another code");
        }
    }

    #[test]
    fn an_ipv4_request_has_a_checksum() {
        assert!(Sum::default().with(&Echo::new(false).request()).is_fine());
    }

    #[tokio::test]
    async fn this_host_answers_itself() {
        for address in ["127.0.0.1:9", "[::1]:9"] {
            let outcome = run(&target(address.parse().unwrap())).await;
            match outcome.result {
                ProbeResult::Pass => assert_eq!(outcome.reason, "echo reply"),
                // A machine without IPv6, or a test that may open neither socket, must say so.
                _ => assert!(outcome.errno.is_some(), "{outcome:?}"),
            }
        }
    }

    #[tokio::test]
    async fn an_address_that_is_silent_fails_after_connect_timeout() {
        // The loopback network answers everywhere; a broadcast address answers no one by default.
        let mut target = target("127.255.255.255:0".parse().unwrap());
        target.connect_timeout = Duration::from_millis(50);
        let outcome = run(&target).await;
        assert_ne!(outcome.result, ProbeResult::Pass, "{outcome:?}");
    }
}
