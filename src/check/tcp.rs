//! TCP_CHECK: conversation, tests.
//!
//! The check passes when the connection is accepted; nothing is sent or read. It then closes as any client
//! does, with FIN: a reset would save a packet and make servers log an error at every check.

use super::connect::connect;
use super::outcome::Outcome;
use super::spec::Target;

/// Connects once. Ends within the target's `connect_timeout`; [`Outcome::took`] is the caller's to fill.
pub(crate) async fn run(target: &Target) -> Outcome {
    match connect(target).await {
        Ok(_stream) => Outcome::pass("connected"),
        Err(outcome) => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;
    use crate::check::outcome::{Phase, ProbeResult};
    use crate::check::scripted::{Step, say, serve, target};

    #[tokio::test]
    async fn an_accepted_connection_passes_and_is_closed_by_fin_with_nothing_said() {
        let (address, server) = serve(vec![vec![Step::Hold]]).await;
        let outcome = run(&target(address)).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Pass, Phase::Done));
        // Not even the mark of a reset.
        assert_eq!(server.await.unwrap(), [""]);
    }

    #[tokio::test]
    async fn a_server_that_speaks_first_and_never_accepts_a_word_passes() {
        let (address, _server) = serve(vec![vec![say("220 hello\r\n"), Step::Hold]]).await;
        assert_eq!(run(&target(address)).await.result, ProbeResult::Pass);
    }

    #[tokio::test]
    async fn a_closed_port_fails_as_refused() {
        let (address, server) = serve(vec![]).await;
        server.await.unwrap();
        let outcome = run(&target(address)).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Connect));
        assert_eq!((&*outcome.reason, outcome.errno), ("connection refused", Some(libc::ECONNREFUSED)));
    }

    #[tokio::test]
    async fn silence_fails_after_connect_timeout() {
        let deaf = Deaf::new();
        let mut target = target(deaf.address);
        target.connect_timeout = Duration::from_millis(150);
        let outcome = run(&target).await;
        assert_eq!((outcome.result, outcome.phase), (ProbeResult::Fail, Phase::Connect));
        assert_eq!((&*outcome.reason, outcome.errno), ("no answer within 0.15 s", None));
    }

    /// A listener whose queue is full: the kernel leaves further connections unanswered.
    struct Deaf {
        address: std::net::SocketAddr,
        _kept: Vec<socket2::Socket>,
    }

    impl Deaf {
        fn new() -> Deaf {
            let tcp = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            let listener = tcp();
            listener.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
            listener.listen(1).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let mut kept = vec![listener];
            for _ in 0..8 {
                let client = tcp();
                client.set_nonblocking(true).unwrap();
                let _in_progress = client.connect(&address.into());
                kept.push(client);
            }
            Deaf { address, _kept: kept }
        }
    }
}
