//! `path_check`: conversation, words.
//!
//! A connection to the VIP that goes to one real server, by the way clients' packets take: the packets carry a mark,
//! and a service in the kernel sends packets with that mark to this real server alone. The director opens such a [`ProbePath`]. The
//! source is an address of this host's own, which the real server knows the way to; its answer comes from the VIP.
//! The handshake is broken off by a reset before it is complete, so the application never hears of it.
//!
//! It refuses to claim more than was seen: the same silence has several causes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::Socket;

use super::connect::{in_words, open, reach};
use super::outcome::{Outcome, Phase, ProbeResult};
use super::spec::path::{Carrier, PathQuestion};
use super::spec::{Source, Target};

/// Source ports: below the kernel's ephemeral ports, so that no closed connection of another program is in the way.
const FIRST_PORT: u16 = 10_240;
/// How many there are for the first try, and as many again for the second.
const PORTS: u16 = 11_264;
/// From one probe to the next: the kernel's table remembers for a minute where a connection from a port went, and no
/// port may come again before.
pub(crate) const PACE: Duration = Duration::from_millis(6);
/// Hops of a probe to a neighbour: enough for a real server that passes it on to a container of its own, and few
/// when one passes it back.
const HOPS: u32 = 8;

/// A way to one real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbePath {
    /// What carries this mark goes that way.
    pub mark: u32,
    /// An address of this host's that is no VIP.
    pub source: IpAddr,
    /// Counts probes, at most one each [`PACE`], across restarts: says the source port.
    pub slot: u64,
}

impl ProbePath {
    /// The source ports to try.
    fn ports(&self) -> [u16; 2] {
        let offset = u16::try_from(self.slot % u64::from(PORTS)).unwrap_or(0);
        [FIRST_PORT + offset, FIRST_PORT + PORTS + offset]
    }
}

/// Asks once. Ends within the target's `connect_timeout`.
pub(crate) async fn run(target: &Target, question: &PathQuestion, path: &ProbePath) -> Outcome {
    let [first, second] = path.ports();
    let outcome = ask(target, question, path, first).await;
    if outcome.result == ProbeResult::Inconclusive && outcome.errno == Some(libc::EADDRINUSE) {
        return ask(target, question, path, second).await;
    }
    outcome
}

async fn ask(target: &Target, question: &PathQuestion, path: &ProbePath, port: u16) -> Outcome {
    let source =
        Source { address: Some(path.source), port: Some(port), interface: None, fwmark: Some(path.mark) };
    let through = Target {
        address: question.vip,
        source: Some(Box::new(source)),
        connect_timeout: target.connect_timeout,
    };
    let socket = match open(&through) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    if let Err(error) = prepare(&socket, question) {
        let reason = format!("the socket cannot be prepared: {error}");
        return Outcome::inconclusive(Phase::Socket, reason).with_errno(error.raw_os_error());
    }
    match reach(socket, &through).await {
        // Its port was chosen, so it lingers for no time: closing it resets the connection.
        Ok(_stream) => Outcome::pass(format!("{} answers there", question.vip)),
        Err(failed) if failed.is_immediate => here(question, failed.outcome),
        Err(failed) => judge(question, failed.outcome, target.connect_timeout),
    }
}

fn prepare(socket: &Socket, question: &PathQuestion) -> std::io::Result<()> {
    if question.by == Carrier::Frames {
        match question.vip {
            SocketAddr::V4(_) => socket.set_ttl_v4(HOPS)?,
            SocketAddr::V6(_) => socket.set_unicast_hops_v6(HOPS)?,
        }
    }
    // The last packet of the handshake is put off until there is something to say, which there never is.
    socket.set_tcp_quickack(false)
}

/// What an error before the first answer says: it is about this host's route to the VIP, which clients' packets, who
/// arrive here, do not take.
fn here(question: &PathQuestion, outcome: Outcome) -> Outcome {
    match outcome.result {
        ProbeResult::Fail => {
            let reason = format!("no way to {} from here: {}", question.vip, outcome.reason);
            Outcome::inconclusive(outcome.phase, reason).with_errno(outcome.errno)
        }
        ProbeResult::Pass | ProbeResult::Inconclusive => outcome,
    }
}

/// What a connection that did not come about says of the way.
fn judge(question: &PathQuestion, outcome: Outcome, patience: Duration) -> Outcome {
    let vip = question.vip;
    let reason = match (outcome.result, outcome.errno) {
        (ProbeResult::Fail, None) => {
            format!("{}: no answer from {vip} within {}", silence(question), in_words(patience))
        }
        (ProbeResult::Fail, Some(libc::ECONNREFUSED | libc::ECONNRESET)) => match question.by {
            Carrier::Frames => {
                format!(
                    "service down at the VIP: {vip} is refused, nothing listens there or a firewall rejects it"
                )
            }
            // A host without a tunnel device that is up sends the same ICMP.
            Carrier::Tunnel | Carrier::UdpTunnel => format!(
                "tunnel device down there, or service down at the VIP: {vip} is refused, or the tunnel's packets are"
            ),
        },
        (ProbeResult::Fail, Some(libc::EHOSTUNREACH)) => {
            format!(
                "VIP missing on lo, so it sends packets for {vip} on, or a firewall rejects them: {}",
                outcome.reason
            )
        }
        (ProbeResult::Fail, Some(libc::ENOPROTOOPT)) => {
            format!("no tunnel device there: it knows no such protocol ({vip})")
        }
        _ => return outcome,
    };
    Outcome::fail(outcome.phase, reason).with_errno(outcome.errno)
}

/// What silence may be, the likelier first.
fn silence(question: &PathQuestion) -> &'static str {
    match question.by {
        Carrier::Frames => "VIP missing on lo, or reply path broken (a firewall, its route back)",
        Carrier::Tunnel => {
            "VIP missing on lo, or reply path broken (rp_filter or tunnel device there, a firewall)"
        }
        Carrier::UdpTunnel => {
            "VIP missing on lo, or reply path broken (rp_filter or tunnel device and port there, a firewall)"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::check::scripted::target;

    #[test]
    fn no_port_comes_again_within_the_minute_the_kernel_remembers_it() {
        let ports = |slot| ProbePath { mark: 1, source: [127, 0, 0, 1].into(), slot }.ports();
        assert_eq!(ports(0), [10_240, 21_504]);
        assert_eq!(ports(u64::from(PORTS) - 1), [21_503, 32_767]);
        assert_eq!(ports(u64::from(PORTS)), ports(0));
        assert!(PACE * u32::from(PORTS) > Duration::from_secs(65));
    }

    #[test]
    fn each_symptom_has_its_words_and_claims_no_more() {
        let said = |by, outcome: Outcome| {
            let question = PathQuestion { vip: "10.1.0.100:80".parse().unwrap(), by };
            let judged = judge(&question, outcome, Duration::from_secs(3));
            (judged.result, judged.reason.into_owned())
        };
        let failed = |errno| Outcome::fail(Phase::Connect, "no route to host").with_errno(errno);
        let (result, words) = said(Carrier::Frames, failed(None));
        assert_eq!(result, ProbeResult::Fail);
        assert_eq!(
            words,
            "VIP missing on lo, or reply path broken (a firewall, its route back): no answer from 10.1.0.100:80 \
             within 3 s"
        );
        let (_, words) = said(Carrier::Tunnel, failed(None));
        assert!(words.contains("rp_filter or tunnel device there"), "{words}");
        let (_, words) = said(Carrier::Frames, failed(Some(libc::ECONNREFUSED)));
        assert!(words.starts_with("service down at the VIP: "), "{words}");
        let (_, words) = said(Carrier::Tunnel, failed(Some(libc::ECONNREFUSED)));
        assert!(words.starts_with("tunnel device down there, or service down"), "{words}");
        let (_, words) = said(Carrier::Frames, failed(Some(libc::EHOSTUNREACH)));
        assert!(words.starts_with("VIP missing on lo, so it sends packets"), "{words}");
        let (_, words) = said(Carrier::Tunnel, failed(Some(libc::ENOPROTOOPT)));
        assert!(words.starts_with("no tunnel device there"), "{words}");
        let (result, _) = said(Carrier::Frames, failed(Some(libc::EACCES)));
        assert_eq!(result, ProbeResult::Fail, "ICMPv6 administratively prohibited is an answer");
        let question = PathQuestion { vip: "10.1.0.100:80".parse().unwrap(), by: Carrier::Frames };
        let outcome = here(&question, failed(Some(libc::ENETUNREACH)));
        assert_eq!(outcome.result, ProbeResult::Inconclusive, "{outcome:?}");
        let own = Outcome::inconclusive(Phase::Socket, "no file descriptors").with_errno(Some(libc::EMFILE));
        assert_eq!(said(Carrier::Frames, own), (ProbeResult::Inconclusive, "no file descriptors".to_owned()));
    }

    #[tokio::test]
    async fn a_taken_port_is_no_trouble_and_the_second_is_tried() {
        let path = ProbePath { mark: 0, source: [127, 0, 0, 9].into(), slot: 77 };
        let [first, _] = path.ports();
        let _taken = TcpListener::bind(("127.0.0.9", first)).unwrap();
        let vip = TcpListener::bind("127.0.0.1:0").unwrap();
        let question = PathQuestion { vip: vip.local_addr().unwrap(), by: Carrier::Frames };
        let outcome = run(&target("127.0.0.2:80".parse().unwrap()), &question, &path).await;
        // Without the right to mark packets it says so; with it, it is answered.
        if outcome.errno != Some(libc::EPERM) {
            assert_eq!(outcome.result, ProbeResult::Pass, "{outcome:?}");
        }
    }
}
