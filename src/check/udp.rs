//! UDP_CHECK: conversation, tests.
//!
//! A datagram is sent. Silence for `connect_timeout` passes, unless a reply is required; an ICMP refusal fails at once.

use tokio::time::timeout;

use super::connect::{datagram, in_words, receive, refused};
use super::errno::When;
use super::outcome::{Outcome, Phase};
use super::spec::Target;
use super::spec::udp::{UdpQuestion, WantedReply};

impl WantedReply {
    /// What is wrong with a reply.
    fn fault(&self, reply: &[u8]) -> Option<String> {
        let (min, max) = (usize::from(self.min_length), usize::from(self.max_length));
        if reply.len() < min || reply.len() > max {
            return Some(format!("a reply of {} bytes, wanted {min} to {max}", reply.len()));
        }
        let other = reply
            .iter()
            .zip(&self.begins)
            .position(|(byte, wanted)| (byte ^ wanted.value) & wanted.mask != 0);
        other.map(|at| format!("the reply's byte {} differs from require_reply", at + 1))
    }
}

/// Sends once and waits for the reply. Ends within the target's `connect_timeout`; [`Outcome::took`] is the caller's to
/// fill.
pub(crate) async fn run(target: &Target, question: &UdpQuestion) -> Outcome {
    let socket = match datagram(target) {
        Ok(socket) => socket,
        Err(outcome) => return outcome,
    };
    if let Err(error) = socket.send(&question.payload).await {
        return refused(target, When::Connecting, &error);
    }
    let wanted = question.reply.as_ref();
    let within = in_words(target.connect_timeout);
    match timeout(target.connect_timeout, receive(&socket, |reply| Some(judge(wanted, reply)))).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => refused(target, When::Answered, &error),
        Err(_elapsed) if wanted.is_none() => Outcome::pass(format!("not refused within {within}")),
        Err(_elapsed) => Outcome::fail(Phase::Head, format!("no reply within {within}")),
    }
}

fn judge(wanted: Option<&WantedReply>, reply: &[u8]) -> Outcome {
    match wanted.map(|wanted| wanted.fault(reply)) {
        None => Outcome::pass("a reply came"),
        Some(None) => Outcome::pass("the required reply came"),
        Some(Some(fault)) => Outcome::fail(Phase::Judge, fault).with_first_bytes(reply),
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::check::outcome::ProbeResult;
    use crate::check::scripted::target;
    use crate::check::spec::udp::MaskedByte;

    /// A server that answers its first datagram with `reply`, and what that datagram was.
    fn server(reply: &'static [u8]) -> (Target, std::thread::JoinHandle<Vec<u8>>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let target = target(socket.local_addr().unwrap());
        let heard = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            let (length, client) = socket.recv_from(&mut buffer).unwrap();
            socket.send_to(reply, client).unwrap();
            buffer[..length].to_vec()
        });
        (target, heard)
    }

    fn question(reply: Option<WantedReply>) -> UdpQuestion {
        UdpQuestion { payload: b"ping".as_slice().into(), reply }
    }

    fn wanted(begins: &[(u8, u8)], min_length: u16, max_length: u16) -> Option<WantedReply> {
        let begins = begins.iter().map(|&(value, mask)| MaskedByte { value, mask }).collect();
        Some(WantedReply { begins, min_length, max_length })
    }

    #[tokio::test]
    async fn the_reply_that_is_wanted_passes_and_another_fails_with_its_beginning() {
        let cases = [
            (None, ProbeResult::Pass, "a reply came"),
            (wanted(&[], 0, 255), ProbeResult::Pass, "the required reply came"),
            (wanted(&[(b'p', 0xff), (0x60, 0xf0)], 0, 255), ProbeResult::Pass, "the required reply came"),
            (
                wanted(&[(b'p', 0xff), (0, 0), (b'x', 0xff)], 0, 255),
                ProbeResult::Fail,
                "the reply's byte 3 differs from require_reply",
            ),
            // keepalived compares what both have.
            (wanted(&[(b'p', 0xff); 1], 4, 4), ProbeResult::Pass, "the required reply came"),
            (wanted(&[], 5, 255), ProbeResult::Fail, "a reply of 4 bytes, wanted 5 to 255"),
            (wanted(&[], 0, 3), ProbeResult::Fail, "a reply of 4 bytes, wanted 0 to 3"),
        ];
        for (reply, result, reason) in cases {
            let (target, heard) = server(b"pong");
            let outcome = run(&target, &question(reply)).await;
            assert_eq!((outcome.result, &*outcome.reason), (result, reason));
            assert_eq!(outcome.first_bytes.as_deref(), (result == ProbeResult::Fail).then_some("pong"));
            assert_eq!(heard.join().unwrap(), b"ping");
        }
    }

    #[tokio::test]
    async fn silence_passes_unless_a_reply_is_required() {
        for (reply, result, reason) in [
            (None, ProbeResult::Pass, "not refused within 0.05 s"),
            (wanted(&[], 0, 255), ProbeResult::Fail, "no reply within 0.05 s"),
        ] {
            let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut target = target(silent.local_addr().unwrap());
            target.connect_timeout = Duration::from_millis(50);
            let outcome = run(&target, &question(reply)).await;
            assert_eq!((outcome.result, &*outcome.reason), (result, reason));
        }
    }

    #[tokio::test]
    async fn a_port_where_nothing_listens_fails_at_once_although_silence_would_pass() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let outcome = run(&target(closed), &question(None)).await;
        assert_eq!((outcome.result, &*outcome.reason), (ProbeResult::Fail, "connection refused"));
        assert_eq!(outcome.errno, Some(libc::ECONNREFUSED));
    }
}
