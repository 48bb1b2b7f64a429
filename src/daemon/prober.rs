//! Runs probes: one task each, dropped when its result is no longer needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;

use super::sources::SourceChooser;
use super::{clock, return_path};
use crate::check::outcome::{Outcome, Phase, ProbeResult};
use crate::check::path::ProbePath;
use crate::check::schedule::RunId;
use crate::check::source::Sources;
use crate::check::spec::{CheckerSpec, Question};
use crate::check::tls::TlsClients;
use crate::check::{self, RunContext};
use crate::script::Runner;

/// Descriptors that probes leave to everything else: sockets of virtual routers, the kernel, operators, scripts.
const RESERVED: usize = 128;
/// As many probes may be under way even where the limit is too low for what is reserved.
const FEWEST: usize = 64;

/// Commands of MISC_CHECK that run at once; the others wait for their turn, within their time.
const COMMANDS: usize = 256;

/// Every probe under way.
pub(crate) struct Prober {
    most: usize,
    tasks: JoinSet<(RunId, Outcome)>,
    handles: BTreeMap<RunId, AbortHandle>,
    sources: SourceChooser,
    runner: Runner,
    tls: TlsClients,
}

impl Prober {
    /// None yet; this process may have so many descriptors, and a probe needs one.
    pub(crate) fn new(descriptors: usize) -> Prober {
        Prober {
            most: descriptors.saturating_sub(RESERVED).max(FEWEST),
            tasks: JoinSet::new(),
            handles: BTreeMap::new(),
            sources: SourceChooser::default(),
            runner: Runner::new(COMMANDS),
            tls: TlsClients::default(),
        }
    }

    /// Begins a probe, which must not leave from certain addresses.
    pub(crate) fn begin(
        &mut self,
        run: RunId,
        spec: Arc<CheckerSpec>,
        path: Option<ProbePath>,
        sources: Option<&Arc<Sources>>,
    ) {
        let source = match self.handles.len() < self.most {
            true => sources.map_or(Ok(None), |sources| self.sources.choose(&spec.target, sources)),
            false => Err(crowded(self.most)),
        };
        let (runner, tls) = (self.runner.clone(), self.tls.of(&spec.question));
        let handle = self.tasks.spawn(async move {
            let begun = clock::moment();
            let outcome = match source {
                Ok(source) => {
                    let context =
                        RunContext { runner: &runner, tls: &tls, path: path.as_ref(), source, begun };
                    check::run(&spec, &context).await
                }
                Err(outcome) => outcome,
            };
            let outcome = Outcome { took: clock::now().since(begun.now), ..outcome };
            let outcome = doubted(outcome, &spec, path).await;
            let (checker, target) = (spec.question.keyword(), spec.target.address);
            debug!(%target, result = ?outcome.result, took = ?outcome.took, "{checker}: {}", outcome.reason);
            (run, outcome)
        });
        self.handles.insert(run, handle);
    }

    /// Releases the TLS clients, with their sessions, that none of these specifications needs.
    pub(crate) fn keep_tls<'a>(&mut self, specs: impl Iterator<Item = &'a Arc<CheckerSpec>>) {
        self.tls.keep(specs.map(|spec| &spec.question));
    }

    /// Forgets a probe.
    pub(crate) fn cancel(&mut self, run: RunId) {
        if let Some(handle) = self.handles.remove(&run) {
            handle.abort();
        }
    }

    /// The next probe that ended; waits for ever when there is none.
    pub(crate) async fn next(&mut self) -> (RunId, Outcome) {
        loop {
            match self.tasks.join_next().await {
                None => std::future::pending().await,
                Some(Ok((run, outcome))) => {
                    if self.handles.remove(&run).is_some() {
                        return (run, outcome);
                    }
                }
                Some(Err(error)) => {
                    // Cancelled probes have no reader, and there may be thousands at once.
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

/// Silence on the path may be caused by this host.
async fn doubted(outcome: Outcome, spec: &CheckerSpec, path: Option<ProbePath>) -> Outcome {
    let is_silence = outcome.result == ProbeResult::Fail && outcome.errno.is_none();
    let (Some(path), Question::Path(question), true) = (path, &spec.question, is_silence) else {
        return outcome;
    };
    let vip = question.vip.ip();
    let blocked_by = tokio::task::spawn_blocking(move || return_path::blocked_by(vip, path.source)).await;
    match blocked_by.ok().flatten() {
        Some(why) => Outcome { took: outcome.took, ..Outcome::inconclusive(outcome.phase, why) },
        None => outcome,
    }
}

/// One more probe would take a descriptor that something else needs.
fn crowded(most: usize) -> Outcome {
    let text =
        format!("{most} checks are under way, and more descriptors are not allowed: raise LimitNOFILE");
    Outcome::inconclusive(Phase::Socket, text)
}

/// A probe that broke says nothing about the real server.
fn broken(error: &str) -> Outcome {
    Outcome::inconclusive(Phase::Socket, format!("the probe broke, please report this: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::spec::{Target, Timing};

    #[tokio::test]
    async fn probes_leave_descriptors_to_everything_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let second = std::time::Duration::from_secs(1);
        let timing = Timing {
            interval: second,
            retry: 0,
            delay_before_retry: second,
            confirm: None,
            rise: 1,
            warmup: None,
        };
        let spec = Arc::new(CheckerSpec {
            target: Target {
                address: listener.local_addr().unwrap(),
                source: None,
                connect_timeout: second * 10,
            },
            question: Question::Tcp,
            timing: timing.into(),
            log_all_failures: false,
        });
        let mut prober = Prober::new(RESERVED + FEWEST);
        let runs = FEWEST as u64 + 1;
        (0..runs).for_each(|run| prober.begin(run, Arc::clone(&spec), None, None));
        let mut held = Vec::new();
        for _ in 0..runs {
            let (run, outcome) = prober.next().await;
            match outcome.result {
                ProbeResult::Pass => {}
                _ => held.push((run, outcome.result, outcome.reason.contains("raise LimitNOFILE"))),
            }
        }
        assert_eq!(held, [(FEWEST as u64, ProbeResult::Inconclusive, true)]);
    }
}
