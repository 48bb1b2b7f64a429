//! The loop that owns the director: inputs in, effects out, in a written order of importance.
//!
//! 1. The kernel's answers: the next request waits for them.
//! 2. Signals.
//! 3. A reload that has finished reading.
//! 4. Operators' questions: few at a time, and never so welcome as when a flood of outcomes keeps the loop busy.
//! 5. Outcomes of probes.
//! 6. News of this host's addresses and neighbours.
//! 7. The director's own deadline. Every input does what is due, so a flood of outcomes cannot starve it.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::actuator::Actuator;
use super::control::{Command, Control, DaemonStatus, Question, Reply};
use super::doors::DoorKeeper;
use super::notify::Notifier;
use super::prober::Prober;
use super::pulse::{Body, Pulse};
use super::reload::Reloads;
use super::sink;
use super::state_file::RunDirectory;
use super::sysctls::{Keeper, Kernel, Values};
use crate::config::Config;
use crate::director::coupling::HostForwards;
use crate::director::order::Selector;
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::director::{Director, Effect, Input};
use crate::net::sysctl;
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
    /// Keeps the kernel's IPVS settings.
    pub sysctls: Keeper<Kernel>,
    /// Knows this host's addresses, and has arriving packets marked.
    pub doors: DoorKeeper,
    /// Reads configurations.
    pub reloads: Reloads,
    /// Tells the service manager.
    pub notifier: Notifier,
    /// When the daemon started.
    pub started_at: Instant,
    /// When the kernel's settings are next looked at.
    pub watch_at: Instant,
    /// What was found of forwarding.
    pub forwards: Option<HostForwards>,
    /// Whether the end is a stop and not a hand-over.
    pub is_stopping: bool,
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

/// Runs until the director is finished; whether it finished clean.
pub async fn run(mut shell: Shell, mut signals: Signals) -> bool {
    let mut prober = Prober::default();
    let mut pulse = Pulse::new(std::mem::take(&mut shell.notifier), time::now());
    // Where this host is comes before anything is asked of the kernel.
    let mut input = shell.doors.known().unwrap_or(Input::Wake);
    loop {
        let mut effects = Vec::new();
        if let Some(host) = shell.watch_host(time::now()) {
            shell.director.handle(time::now(), Input::Host(host), &mut effects);
        }
        shell.director.handle(time::now(), input, &mut effects);
        let finished = shell.perform(effects, &mut prober);
        pulse.follow(time::now(), &shell.body());
        if let Some(is_clean) = finished {
            if shell.is_stopping {
                shell.sysctls.release();
                shell.doors.release().await;
            }
            info!("done");
            return is_clean;
        }
        input = loop {
            let deadline = shell.director.deadline().map_or(pulse.deadline(), |at| at.min(pulse.deadline()));
            tokio::select! {
                biased;
                answer = shell.actuator.answer() => break answer,
                order = signals.next() => {
                    if let Some(input) = shell.obey(order) {
                        break input;
                    }
                }
                read = shell.reloads.finished() => {
                    if let Some(config) = shell.reloads.conclude(read) {
                        shell.sysctls.want(settings(&config));
                        break Input::Reload(Arc::new(config));
                    }
                }
                question = shell.control.next() => {
                    if let Some(input) = shell.answer(question, &pulse) {
                        break input;
                    }
                }
                (run, outcome) = prober.next() => break Input::ProbeDone { run, outcome },
                news = shell.doors.next() => break news,
                () = sleep_until(deadline) => break Input::Wake,
            }
            pulse.follow(time::now(), &shell.body());
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
                Effect::Mark(markings) => self.doors.want(markings),
                Effect::Router(_) => {}
                Effect::Event(event) => sink::log(&event),
                Effect::Finished { is_clean } => finished = Some(is_clean),
            }
        }
        finished
    }

    /// The kernel announces no changes of its settings either: those of IPVS are kept, those of forwarding read.
    fn watch_host(&mut self, now: Instant) -> Option<HostForwards> {
        if self.is_stopping || now < self.watch_at {
            return None;
        }
        self.watch_at = now + SWEEP_INTERVAL;
        self.sysctls.keep();
        let is_on = |name| sysctl::read(name).map_or(true, |value| value != "0");
        let host =
            HostForwards { ipv4: is_on("net.ipv4.ip_forward"), ipv6: is_on("net.ipv6.conf.all.forwarding") };
        (self.forwards.replace(host) != Some(host)).then_some(host)
    }

    /// What an order by signal means for the director; a reload is read first.
    fn obey(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Stop(signal) => {
                self.is_stopping |= !self.director.is_ending();
                info!("{signal}: stopping, our services are removed");
                Some(Input::Stop)
            }
            Order::HandOver => {
                info!("SIGUSR2: handing over, everything stays in the kernel");
                Some(Input::HandOver)
            }
            Order::Reload => {
                self.reloads.begin(None);
                None
            }
        }
    }

    /// Answers an operator; an order is also an input, and a reload is answered when it has ended.
    fn answer(&mut self, question: Question, pulse: &Pulse) -> Option<Input> {
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
            Command::Status => Reply::Status(Box::new(self.status(now, pulse))),
            Command::Health => Reply::Health(pulse.trouble(now, &self.body())),
            Command::Reload if self.director.is_ending() => Reply::Error("lvsd is ending".to_owned()),
            Command::Reload => {
                self.reloads.begin(Some(question.reply));
                return None;
            }
        };
        // Nobody waits for it any more: nothing to tell.
        let _ = question.reply.send(reply);
        input
    }

    fn status(&self, now: Instant, pulse: &Pulse) -> DaemonStatus {
        let (reloads_accepted, reloads_rejected) = self.reloads.counts();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started_at).as_secs(),
            config: self.reloads.path().to_owned(),
            trouble: pulse.trouble(now, &self.body()),
            last_reload: self.reloads.outcome(now),
            reloads_accepted,
            reloads_rejected,
            director: self.director.status(now),
        }
    }

    fn body(&self) -> Body<'_> {
        Body { director: &self.director, actuator: &self.actuator, reloads: &self.reloads }
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

/// The kernel's settings a configuration wants.
pub fn settings(config: &Config) -> Values {
    config.global.sysctl.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}

async fn sleep_until(deadline: Instant) {
    tokio::time::sleep(deadline.since(time::now())).await;
}
