//! Health checks: what to ask a real server, the conversation, and the history that makes a verdict.
//!
//! One file per checker holds its keywords, its specification, its conversation and its tests ([`tcp`],
//! [`http`]); [`spec`] holds what all checkers share, [`outcome`] what a run ends with, [`schedule`] the pure
//! machine that turns outcomes into health, [`connect`] the socket every conversation begins with. This layer
//! refuses to know virtual servers and pools: who cares about a verdict is the director's business.

pub mod connect;
pub mod digest;
mod errno;
pub mod hash;
pub mod http;
pub mod outcome;
pub mod schedule;
#[cfg(test)]
mod scripted;
pub mod spec;
mod tap;
pub mod tcp;

use outcome::Outcome;
use spec::{CheckerSpec, Question};

/// Asks `spec`'s question once and returns what came of it, with [`Outcome::took`] filled.
///
/// Ends within twice the target's `connect_timeout` (per URL for HTTP). Nothing is spawned: dropping the
/// future closes the socket and ends the probe.
pub async fn run(spec: &CheckerSpec) -> Outcome {
    let start = crate::time::now();
    let mut outcome = match &spec.question {
        Question::Tcp => tcp::run(&spec.target).await,
        // On the heap while it runs: the future of a checker that waits for its turn stays small.
        Question::Http(question) => Box::pin(http::run(&spec.target, question)).await,
    };
    outcome.took = crate::time::now().since(start);
    outcome
}
