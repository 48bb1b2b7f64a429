//! Runs the commands of `assert`: what runs when the router decides ([`crate::vrrp::assertion`]).

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::script::{Ended, Launch, Runner};
use crate::vrrp::io::{Assert, Input};

/// Commands that run at once: one for each instance that is Master. More of them wait for a place.
const MAX_RUNNING: usize = 64;
/// How long the end of the daemon waits for them: they are killed after two seconds.
const END_LIMIT: Duration = Duration::from_secs(4);

/// Commands that run.
#[derive(Debug)]
pub(crate) struct Asserter {
    runner: Runner,
    runs: JoinSet<(u64, Ended)>,
    /// Ends a run early, by its number.
    hurries: BTreeMap<u64, oneshot::Sender<()>>,
    is_finished: bool,
}

impl Asserter {
    /// Nothing runs yet.
    pub(crate) fn new() -> Asserter {
        Asserter {
            runner: Runner::new(MAX_RUNNING),
            runs: JoinSet::new(),
            hurries: BTreeMap::new(),
            is_finished: false,
        }
    }

    /// Begins a run; [`Asserter::next`] returns its end. Needs the event loop's context.
    pub(crate) fn begin(&mut self, assert: Assert, is_secure: bool) {
        if self.is_finished {
            return;
        }
        let Assert { number, command, environment, limit } = assert;
        let launch = Launch { command, environment, is_secure, limit, is_ours: true };
        let (hurry, hurried) = oneshot::channel::<()>();
        self.hurries.insert(number, hurry);
        let runner = self.runner.clone();
        self.runs.spawn(async move {
            let hurry = async move {
                if hurried.await.is_err() {
                    // It is never ended early.
                    pending::<()>().await;
                }
            };
            (number, runner.run(launch, hurry).await)
        });
    }

    /// Ends a run: its process group is asked to, and killed after two seconds.
    pub(crate) fn end(&mut self, number: u64) {
        if let Some(hurry) = self.hurries.remove(&number) {
            // It may have ended just now.
            let _ = hurry.send(());
        }
    }

    /// The end of the next run, for the router; may be left and entered again at any time.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            match self.runs.join_next().await {
                Some(Ok((number, ended))) => {
                    self.hurries.remove(&number);
                    debug!(output = ended.output.trim_end(), "assert, run {number}: {}", ended.ending);
                    return Input::Asserted { number, ended };
                }
                // No run is aborted.
                Some(Err(_)) => {}
                None => pending().await,
            }
        }
    }

    /// Ends all runs, and waits for that: the next process, or the next Master, runs the command as well.
    pub(crate) async fn finish(&mut self) {
        self.is_finished = true;
        for (_, hurry) in std::mem::take(&mut self.hurries) {
            let _ = hurry.send(());
        }
        let all = async { while self.runs.join_next().await.is_some() {} };
        if tokio::time::timeout(END_LIMIT, all).await.is_err() {
            warn!("a command of assert does not end, and is left alone");
        }
    }
}
