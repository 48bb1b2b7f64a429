//! Health checks: what to ask a real server, the conversation, and the history that makes a verdict.
//!
//! One file per checker holds its specification, its conversation and its tests ([`tcp`], [`http`] with and without [`tls`],
//! [`smtp`], [`dns`], [`udp`], [`ping`], [`misc`], [`path`]); its keywords are in `config::checker`. [`spec`] holds what all checkers share, [`outcome`] what a run ends with, [`schedule`] the pure
//! machine that turns outcomes into health, [`connect`] the socket every conversation begins with. What a verdict
//! means for virtual servers is left to the director.

pub(crate) mod connect;
pub(crate) mod digest;
pub(crate) mod dns;
mod errno;
pub(crate) mod fetch;
pub(crate) mod hash;
pub(crate) mod http;
pub(crate) mod misc;
pub(crate) mod outcome;
pub(crate) mod path;
pub(crate) mod pattern;
pub(crate) mod ping;
pub(crate) mod schedule;
#[cfg(test)]
mod scripted;
pub(crate) mod smtp;
pub(crate) mod source;
pub(crate) mod spec;
mod tap;
pub(crate) mod tcp;
pub(crate) mod tls;
pub(crate) mod udp;

use std::net::IpAddr;

use outcome::{Outcome, Phase};
use path::ProbePath;
use spec::{CheckerSpec, Question};

use crate::script::Runner;
use crate::time::Moment;

/// Asks `spec`'s question once, by the `path` where it is one about the way, and from `source` where that is not left
/// to the specification and the kernel; returns what came of it. `begun` is when it begins; [`Outcome::took`] is the
/// caller's to fill, who has the clock.
///
/// Ends within twice the target's `connect_timeout` (per URL for HTTP). Nothing is spawned: dropping the
/// future closes the socket and ends the probe.
pub(crate) async fn run(
    runner: &Runner,
    spec: &CheckerSpec,
    path: Option<&ProbePath>,
    source: Option<IpAddr>,
    begun: Moment,
) -> Outcome {
    let bound = source.map(|ip| spec.target.bound_to(ip));
    let target = bound.as_ref().unwrap_or(&spec.target);
    match &spec.question {
        Question::Tcp => tcp::run(target).await,
        Question::Misc(question) => Box::pin(misc::run(runner, question)).await,
        Question::Ping => Box::pin(ping::run(target)).await,
        Question::Udp(question) => Box::pin(udp::run(target, question)).await,
        Question::Dns(question) => Box::pin(dns::run(target, question)).await,
        Question::Smtp(question) => Box::pin(smtp::run(target, question)).await,
        // On the heap while it runs: the future of a checker that waits for its turn stays small.
        Question::Http(question) => Box::pin(http::run(target, question, begun)).await,
        Question::Path(question) => match path {
            Some(path) => Box::pin(path::run(target, question, path)).await,
            None => Outcome::inconclusive(Phase::Socket, "no way was opened for it"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use outcome::{Phase, Verdict};
    use scripted::{say, serve, target};
    use spec::Timing;

    #[tokio::test]
    async fn each_question_is_asked_its_own_way() {
        let answer = vec![say("HTTP/1.0 200 OK\r\n\r\n")];
        let (address, _server) = serve(vec![answer.clone(), answer]).await;
        let tcp = run(&Runner::new(1), &checker(address, Question::Tcp), None, None, Moment::default()).await;
        assert_eq!((tcp.verdict, tcp.phase, tcp.status), (Verdict::Pass, Phase::Done, None));

        let url = http::Url {
            path: "/".into(),
            virtualhost: None,
            status: vec![(404, 404)],
            digest: None,
            pattern: None,
            tls: None,
        };
        let question = http::HttpQuestion { version: http::HttpVersion::V1_1, urls: vec![url] };
        let http = run(
            &Runner::new(1),
            &checker(address, Question::Http(question.into())),
            None,
            None,
            Moment::default(),
        )
        .await;
        assert_eq!((http.verdict, http.phase, http.status), (Verdict::Fail, Phase::Judge, Some(200)));
    }

    fn checker(address: std::net::SocketAddr, question: Question) -> CheckerSpec {
        let second = Duration::from_secs(1);
        let timing = Timing {
            interval: second,
            retry: 1,
            delay_before_retry: second,
            confirm: None,
            rise: 1,
            warmup: None,
        };
        CheckerSpec { target: target(address), question, timing: timing.into(), log_all_failures: false }
    }
}
