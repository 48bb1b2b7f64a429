//! Health checks: what to ask a real server, the conversation, and the history that makes a verdict.
//!
//! [`spec`] holds what a configuration says of each checker, as plain data. One file per checker holds its conversation and
//! its tests ([`tcp`], [`http`] with and without [`tls`], [`smtp`], [`dns`], [`udp`], [`ping`], [`misc`], [`path`]); its
//! keywords are in `config::checker`. [`outcome`] is what a run ends with, [`schedule`] the pure machine that turns outcomes
//! into health, [`connect`] the socket that every conversation begins with. What a verdict means for virtual servers is
//! left to the director.

pub(crate) mod connect;
pub(crate) mod dns;
mod errno;
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
use tls::RunClients;

use crate::script::Runner;
use crate::time::Moment;

/// What a run needs beside the specification.
#[derive(Debug)]
pub(crate) struct RunContext<'a> {
    /// Runs the command of MISC_CHECK.
    pub(crate) runner: &'a Runner,
    /// The TLS clients that the question needs.
    pub(crate) tls: &'a RunClients,
    /// The path to probe, for `path_check`.
    pub(crate) path: Option<&'a ProbePath>,
    /// The source address, where it is not left to the specification and the kernel.
    pub(crate) source: Option<IpAddr>,
    /// When the run begins.
    pub(crate) begun: Moment,
}

/// Asks the question of `spec` once; returns what came of it. The caller, which has the clock, fills in [`Outcome::took`].
///
/// Ends within [`CheckerSpec::longest_run`]. Nothing is spawned: dropping the future closes the socket and ends the probe.
pub(crate) async fn run(spec: &CheckerSpec, context: &RunContext<'_>) -> Outcome {
    let bound = context.source.map(|ip| spec.target.bound_to(ip));
    let target = bound.as_ref().unwrap_or(&spec.target);
    // On the heap while it runs: the future of a checker that waits for its turn stays small.
    match &spec.question {
        Question::Tcp => tcp::run(target).await,
        Question::Misc(question) => Box::pin(misc::run(context.runner, question)).await,
        Question::Ping => Box::pin(ping::run(target)).await,
        Question::Bfd(_) | Question::File(_) => {
            Outcome::inconclusive(Phase::Socket, "BFD sessions and files are not asked: they report")
        }
        Question::Udp(question) => Box::pin(udp::run(target, question)).await,
        Question::Dns(question) => Box::pin(dns::run(target, question)).await,
        Question::Smtp(question) => Box::pin(smtp::run(target, question, context.tls, context.begun)).await,
        Question::Http(question) => Box::pin(http::run(target, question, context.tls, context.begun)).await,
        Question::Path(question) => match context.path {
            Some(path) => Box::pin(path::run(target, question, path)).await,
            None => Outcome::inconclusive(Phase::Socket, "no way was opened for it"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use outcome::{Phase, ProbeResult};
    use scripted::{say, serve, target};
    use spec::Timing;
    use spec::http::{HttpQuestion, HttpVersion, Url};

    #[tokio::test]
    async fn each_question_is_asked_its_own_way() {
        let answer = vec![say("HTTP/1.0 200 OK\r\n\r\n")];
        let (address, _server) = serve(vec![answer.clone(), answer]).await;
        let tcp = ask(&checker(address, Question::Tcp)).await;
        assert_eq!((tcp.result, tcp.phase, tcp.status), (ProbeResult::Pass, Phase::Done, None));

        let url = Url { status: vec![(404, 404)], ..Url::new("/") };
        let question = HttpQuestion { version: HttpVersion::V1_1, urls: vec![url] };
        let http = ask(&checker(address, Question::Http(question.into()))).await;
        assert_eq!((http.result, http.phase, http.status), (ProbeResult::Fail, Phase::Judge, Some(200)));
    }

    async fn ask(spec: &CheckerSpec) -> Outcome {
        let (runner, tls) = (Runner::new(1), RunClients::default());
        let context =
            RunContext { runner: &runner, tls: &tls, path: None, source: None, begun: Moment::default() };
        run(spec, &context).await
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
