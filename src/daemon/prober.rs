//! Runs probes: one task each, dropped when nobody waits for it any more.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use super::sources::SourceChooser;
use super::{clock, vantage};
use crate::check;
use crate::check::outcome::{Outcome, Phase, Verdict};
use crate::check::path::Lane;
use crate::check::schedule::RunId;
use crate::check::source::Sources;
use crate::check::spec::{CheckerSpec, Question};

/// Every probe under way.
#[derive(Default)]
pub struct Prober {
    tasks: JoinSet<(RunId, Outcome)>,
    handles: BTreeMap<RunId, AbortHandle>,
    sources: SourceChooser,
}

impl Prober {
    /// Begins a probe, which must not leave from certain addresses.
    pub fn begin(
        &mut self,
        run: RunId,
        spec: Arc<CheckerSpec>,
        lane: Option<Lane>,
        sources: Option<&Arc<Sources>>,
    ) {
        let source = sources.map_or(Ok(None), |sources| self.sources.choose(&spec.target, sources));
        let handle = self.tasks.spawn(async move {
            let begun = clock::moment();
            let outcome = match source {
                Ok(source) => check::run(&spec, lane.as_ref(), source, begun).await,
                Err(outcome) => outcome,
            };
            let outcome = Outcome { took: clock::now().since(begun.now), ..outcome };
            let outcome = doubted(outcome, &spec, lane).await;
            let (checker, target) = (spec.question.keyword(), spec.target.address);
            debug!(%target, verdict = ?outcome.verdict, took = ?outcome.took, "{checker}: {}", outcome.reason);
            (run, outcome)
        });
        self.handles.insert(run, handle);
    }

    /// Forgets a probe.
    pub fn cancel(&mut self, run: RunId) {
        if let Some(handle) = self.handles.remove(&run) {
            handle.abort();
        }
    }

    /// The next probe that ended; waits for ever when there is none.
    pub async fn next(&mut self) -> (RunId, Outcome) {
        loop {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(Ok((run, outcome))) => {
                    if self.handles.remove(&run).is_some() {
                        return (run, outcome);
                    }
                }
                Some(Err(error)) => {
                    // Cancelled: nobody waits, and thousands may be at once.
                    if error.is_cancelled() {
                        continue;
                    }
                    let run = self.handles.iter().find(|(_, h)| h.id() == error.id()).map(|(run, _)| *run);
                    if let Some(run) = run {
                        self.handles.remove(&run);
                        return (run, broken(&error.to_string()));
                    }
                }
            }
        }
    }
}

/// Silence of a way may be this host's own doing.
async fn doubted(outcome: Outcome, spec: &CheckerSpec, lane: Option<Lane>) -> Outcome {
    let is_silence = outcome.verdict == Verdict::Fail && outcome.errno.is_none();
    let (Some(lane), Question::Path(question), true) = (lane, &spec.question, is_silence) else {
        return outcome;
    };
    let vip = question.vip.ip();
    let obstacle = tokio::task::spawn_blocking(move || vantage::obstacle(vip, lane.source)).await;
    match obstacle.ok().flatten() {
        Some(why) => Outcome { took: outcome.took, ..Outcome::unverified(outcome.phase, why) },
        None => outcome,
    }
}

/// A probe that broke says nothing about the real server.
fn broken(error: &str) -> Outcome {
    Outcome::unverified(Phase::Socket, format!("the probe broke, please report this: {error}"))
}
