//! The loop that owns the director: inputs in, effects out, in a written order of importance.
//!
//! 1. The kernel's answers: the next request waits for them.
//! 2. Signals.
//! 3. A reload that has finished reading.
//! 4. Operators' questions: few at a time, and never so welcome as when a flood of outcomes keeps the loop busy.
//! 5. Outcomes of probes.
//! 6. The director's own deadline. Every input does what is due, so a flood of outcomes cannot starve it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::actuator::Actuator;
use super::control::{Command, Control, DaemonStatus, Question, ReloadOutcome, Reply};
use super::prober::Prober;
use super::sink;
use super::startup;
use super::state_file::RunDirectory;
use crate::config::Config;
use crate::director::order::Selector;
use crate::director::{Director, Effect, Input};
use crate::time::{self, Instant};

/// Real servers named to an operator who asked for one that is not there.
const KNOWN_SHOWN: usize = 10;

/// Everything the loop owns.
pub struct Shell {
    /// Decides.
    pub director: Director,
    /// Talks to the kernel.
    pub actuator: Actuator,
    /// Answers operators.
    pub control: Control,
    /// Remembers.
    pub run_dir: RunDirectory,
    /// Read again at every reload.
    pub config_path: PathBuf,
    /// When the daemon started.
    pub started_at: Instant,
}

/// The signals that are orders; from its making on they do not end the process.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    hand_over: Signal,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Reload,
    Stop(&'static str),
    HandOver,
}

/// A reload under way; a second request during it starts another one after it.
#[derive(Default)]
struct Reload {
    job: Option<JoinHandle<Result<Config, Vec<String>>>>,
    is_wanted_again: bool,
    last: Option<(Instant, Vec<String>)>,
}

/// Runs until the director is finished; whether it finished clean.
pub async fn run(mut shell: Shell, mut signals: Signals) -> bool {
    let mut prober = Prober::default();
    let mut reload = Reload::default();
    let mut input = Input::Wake;
    loop {
        let mut effects = Vec::new();
        shell.director.handle(time::now(), input, &mut effects);
        if let Some(is_clean) = shell.perform(effects, &mut prober) {
            info!("done");
            return is_clean;
        }
        input = loop {
            let deadline = shell.director.deadline();
            tokio::select! {
                biased;
                answer = shell.actuator.answer() => break answer,
                order = signals.next() => {
                    if let Some(input) = reload.obey(order, &shell.config_path) {
                        break input;
                    }
                }
                result = reload.finished() => {
                    if let Some(config) = reload.conclude(result, &shell.config_path) {
                        break Input::Reload(Arc::new(config));
                    }
                }
                question = shell.control.next() => {
                    if let Some(input) = shell.answer(question, &reload) {
                        break input;
                    }
                }
                (run, outcome) = prober.next() => break Input::ProbeDone { run, outcome },
                () = sleep_until(deadline) => break Input::Wake,
            }
        };
    }
}

impl Shell {
    /// Performs effects in order; Some when the director is finished.
    fn perform(&mut self, effects: Vec<Effect>, prober: &mut Prober) -> Option<bool> {
        let mut finished = None;
        for effect in effects {
            match effect {
                Effect::StartProbe { run, spec } => prober.begin(run, spec),
                Effect::CancelProbe(run) => prober.cancel(run),
                Effect::SaveState(state) => {
                    if let Err(error) = self.run_dir.save(state, time::now()) {
                        warn!("cannot write the state file: {error}: after a crash, health would be unknown");
                    }
                }
                Effect::Kernel(request) => self.actuator.begin(request),
                Effect::Event(event) => sink::log(&event),
                Effect::Finished { is_clean } => finished = Some(is_clean),
            }
        }
        finished
    }

    /// Answers an operator; an order is also an input.
    fn answer(&self, question: Question, reload: &Reload) -> Option<Input> {
        let now = time::now();
        let mut input = None;
        let reply = match question.command {
            Command::Why(selector) => match self.director.stories(now, &selector) {
                stories if stories.is_empty() => self.nobody(&selector),
                stories => Reply::Why(stories),
            },
            Command::Order { selector, change } => match self.director.select(&selector) {
                selected if selected.is_empty() => self.nobody(&selector),
                selected => {
                    input = Some(Input::Order { selector, change });
                    Reply::Ordered(selected)
                }
            },
            Command::Status => Reply::Status(Box::new(DaemonStatus {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                uptime_seconds: now.since(self.started_at).as_secs(),
                config: self.config_path.clone(),
                last_reload: reload.outcome(now),
                director: self.director.status(now),
            })),
        };
        // Nobody waits for it any more: nothing to tell.
        let _ = question.reply.send(reply);
        input
    }

    fn nobody(&self, selector: &Selector) -> Reply {
        let members = self.director.config().virtual_servers.iter().flat_map(|s| &s.real_servers);
        let known: BTreeSet<String> = members.map(|r| r.address.to_string()).collect();
        let some: Vec<String> = known.iter().take(KNOWN_SHOWN).cloned().collect();
        let more = if known.len() > KNOWN_SHOWN { ", ..." } else { "" };
        Reply::Error(format!("there is no real server {selector}; there are: {}{more}", some.join(", ")))
    }
}

impl Signals {
    /// Catches them. Needs the event loop's context.
    ///
    /// # Errors
    /// When there is no event loop.
    pub fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hand_over: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Order {
        tokio::select! {
            _ = self.terminate.recv() => Order::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Order::Stop("SIGINT"),
            _ = self.hand_over.recv() => Order::HandOver,
            _ = self.hangup.recv() => Order::Reload,
        }
    }
}

impl Reload {
    /// What an order means for the director; a reload is read first.
    fn obey(&mut self, order: Order, path: &std::path::Path) -> Option<Input> {
        match order {
            Order::Stop(signal) => {
                info!("{signal}: stopping, our services are removed");
                Some(Input::Stop)
            }
            Order::HandOver => {
                info!("SIGUSR2: handing over, everything stays in the kernel");
                Some(Input::HandOver)
            }
            Order::Reload if self.job.is_some() => {
                self.is_wanted_again = true;
                None
            }
            Order::Reload => {
                self.begin(path);
                None
            }
        }
    }

    fn begin(&mut self, path: &std::path::Path) {
        info!("reading {}", path.display());
        let path = path.to_owned();
        self.job = Some(tokio::task::spawn_blocking(move || startup::load(&path)));
    }

    /// The file that was read; waits for ever when none is.
    async fn finished(&mut self) -> Result<Config, Vec<String>> {
        let Some(job) = &mut self.job else { return std::future::pending().await };
        let result = job.await;
        self.job = None;
        result.unwrap_or_else(|error| Err(vec![format!("reading the configuration broke: {error}")]))
    }

    /// The configuration to put in force, if it is without errors.
    fn conclude(&mut self, result: Result<Config, Vec<String>>, path: &std::path::Path) -> Option<Config> {
        let (config, errors) = match result {
            Ok(config) => (Some(config), Vec::new()),
            Err(errors) => (None, errors),
        };
        if config.is_some() {
            info!("reload: {} is in force", path.display());
        } else {
            for line in &errors {
                error!("reload: {line}");
            }
            let count =
                if errors.len() == 1 { "1 error".to_owned() } else { format!("{} errors", errors.len()) };
            error!("reload rejected, nothing changed: {} has {count}", path.display());
        }
        self.last = Some((time::now(), errors));
        if std::mem::take(&mut self.is_wanted_again) {
            self.begin(path);
        }
        config
    }

    fn outcome(&self, now: Instant) -> Option<ReloadOutcome> {
        self.last.as_ref().map(|(at, errors)| ReloadOutcome {
            is_accepted: errors.is_empty(),
            seconds_ago: now.since(*at).as_secs(),
            errors: errors.clone(),
        })
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep(at.since(time::now())).await,
        None => std::future::pending().await,
    }
}
