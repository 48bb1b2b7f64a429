//! Runs notify scripts: what runs next and what has run long enough the queues decide.

use std::collections::BTreeMap;
use std::future::pending;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::clock;
use crate::notify::notification::{Notification, Subject};
use crate::notify::queue::{Class, EndReason, Job, LIMIT, MAX_RUNNING, Queues};
use crate::script::{Ended, Launch, Runner};

/// Notify scripts that run or wait.
#[derive(Debug)]
pub(crate) struct Scripts {
    queues: Queues,
    runners: BTreeMap<Class, Runner>,
    runs: JoinSet<(Job, Ended)>,
    hurries: BTreeMap<Subject, oneshot::Sender<()>>,
    is_secure: bool,
}

impl Scripts {
    /// Nothing runs yet.
    pub(crate) fn new(is_secure: bool) -> Scripts {
        Scripts {
            queues: Queues::default(),
            runners: Class::ALL.map(|class| (class, Runner::new(MAX_RUNNING))).into(),
            runs: JoinSet::new(),
            hurries: BTreeMap::new(),
            is_secure,
        }
    }

    /// From now on (`enable_script_security`).
    pub(crate) fn secure(&mut self, is_secure: bool) {
        self.is_secure = is_secure;
    }

    /// Runs what the change of that number has to run, when it is its turn. Needs the event loop's context.
    pub(crate) fn push(&mut self, sequence: u64, notification: Notification) {
        let subject = notification.change.subject.clone();
        if self.queues.push(clock::now(), sequence, notification) > 0 {
            let folded = self.queues.folded();
            warn!(
                "{subject}: its notify script hangs: an older change is skipped, later ones are reported ({folded} since the start)"
            );
        }
        self.begin();
    }

    fn begin(&mut self) {
        while let Some(job) = self.queues.begin(clock::now()) {
            let launch = Launch {
                command: job.command.clone(),
                environment: job.change.environment(job.sequence),
                is_secure: self.is_secure,
                // The queue's own time is shorter, or as long.
                limit: LIMIT,
                is_ours: false,
            };
            let (hurry, hurried) = oneshot::channel::<()>();
            let runner = self.runners.entry(Class::of(&job.change.subject));
            let runner = runner.or_insert_with(|| Runner::new(MAX_RUNNING)).clone();
            self.hurries.insert(job.change.subject.clone(), hurry);
            self.runs.spawn(async move {
                let hurry = async move {
                    if hurried.await.is_err() {
                        // No other script waits for its place.
                        pending::<()>().await;
                    }
                };
                let ended = runner.run(launch, hurry).await;
                (job, ended)
            });
        }
    }

    /// Goes on with what is to be done, for ever; may be left and entered again at any time.
    pub(crate) async fn work(&mut self) {
        loop {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let deadline = self.queues.deadline();
        tokio::select! {
            Some(ended) = self.runs.join_next() => {
                if let Ok((job, ended)) = ended {
                    self.hurries.remove(&job.change.subject);
                    self.queues.ended(&job.change.subject);
                    log(&job, &ended);
                }
                self.begin();
            }
            () = clock::sleep_until(deadline) => self.hurry(),
        }
    }

    fn hurry(&mut self) {
        for (subject, why) in self.queues.overdue(clock::now()) {
            let why = match why {
                EndReason::Limit => "it had 10 minutes",
                EndReason::LaterChange => "a later change waits",
                EndReason::Others => "other scripts wait for its place",
            };
            warn!("{subject}: its notify script takes too long, and is ended: {why}");
            if let Some(hurry) = self.hurries.remove(&subject) {
                // It may have ended just now.
                let _ = hurry.send(());
            }
        }
    }

    /// The daemon ends: each subject's last change is notified, within the limit. What still runs then goes on alone.
    pub(crate) async fn finish(&mut self, limit: Duration) {
        self.queues.end(clock::now());
        self.hurry();
        let idle = async {
            while !self.queues.is_idle() {
                self.step().await;
            }
        };
        if tokio::time::timeout(limit, idle).await.is_err() {
            warn!("notify scripts still run, and are left alone");
        }
    }
}

/// Logs the result of a script.
fn log(job: &Job, ended: &Ended) {
    let (subject, program, state) = (&job.change.subject, job.command.program(), job.change.state);
    let output = ended.output.trim_end();
    if ended.ending.is_success() && output.is_empty() {
        debug!("{subject}: {program} called for {state}, {}", ended.ending);
    } else if ended.ending.is_success() {
        info!(output, "{subject}: {program} called for {state}, {}", ended.ending);
    } else {
        warn!(output, "{subject}: {program} called for {state}, {}", ended.ending);
    }
}
