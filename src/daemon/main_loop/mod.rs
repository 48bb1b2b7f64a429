//! The loop that owns the director: inputs in, effects out, in a written order of importance.
//!
//! 1. Scripts, FIFOs and mails: they only go on, and are bounded.
//! 2. The findings about this host.
//! 3. The kernel's answers: the next request waits for them.
//! 4. Signals.
//! 5. The router's reports: which instance holds the VIPs; and what the router tracks and asserts.
//! 6. A reload that has finished reading.
//! 7. Outcomes of probes.
//! 8. Questions of operators and monitoring. They matter most when a flood of outcomes keeps the loop busy: every 10 ms
//!    one of them is answered first, and no more, so that a crowd of them cannot keep outcomes waiting either.
//! 9. Changes of this host's addresses, and how clients' connections get on.
//! 10. The director's own deadline. Every input does what is due, so a flood of outcomes cannot starve it.
//! 11. The status that was asked for, some servers at a time; it has its turn in a flood, too.
//!
//! `effects` gives the director its inputs and performs what it wants, `reconfigure` puts a configuration in force,
//! `router_link` is between this loop and the router's thread, `signal_orders`, `questions` and `overrides` are what
//! operators say, `upkeep` looks at what changes without announcement, `end` is the end.

mod effects;
mod end;
mod overrides;
mod questions;
mod reconfigure;
mod router_link;
mod signal_orders;
mod upkeep;

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::warn;

use super::actuator::Actuator;
use super::asserter::Asserter;
use super::clock;
use super::control::{Control, Question, Reply};
use super::dump::Dumps;
use super::event_dispatcher::EventDispatcher;
use super::guardian::Guardian;
use super::handshakes::HandshakeWatch;
use super::health::HealthMonitor;
use super::host_findings::HostFindings;
use super::host_watch::HostWatcher;
use super::memory::MemoryReturn;
use super::prober::Prober;
use super::reload::Reloads;
use super::router::Handle;
use super::signals::Signals;
use super::snapshot::Snapshots;
use super::state_file::RunDirectory;
use super::sysctls::{Keeper, KernelSettings};
use super::systemd::ServiceManager;
use super::trackers::{News, Trackers};
use crate::config::Config;
use crate::director::Director;
use crate::director::io::Input;
use crate::director::vrrp_link::HostForwards;
use crate::time::Instant;
use crate::vrrp::io::DirectorLevel;
use crate::vrrp::settings::Settings;
use overrides::PendingOverride;
use questions::READ_LIMIT;
use router_link::next_report;

/// Everything the loop owns.
pub(crate) struct Shell {
    pub director: Director,
    /// Holds the VIPs; None without any.
    pub router: Option<Handle>,
    /// The guardian, until a router begins and takes it.
    pub guardian: Option<Guardian>,
    /// What the director reported to the router last, or would have.
    pub level: Option<DirectorLevel>,
    /// When a stop no longer waits for the router; set while it does.
    pub stop_by: Option<Instant>,
    /// Makes the status for all that ask.
    pub snapshots: Snapshots,
    /// Requests for a status that wait until the kernel's table has been read, and since when; the control socket bounds
    /// how many.
    pub awaiting_read: Vec<(Instant, Question)>,
    /// When a question is answered next, even if other work waits.
    pub turn_at: Instant,
    /// Where a status goes that was asked for by a signal.
    pub dumps: Dumps,
    /// The status of that kind that is being written.
    pub dumping: Option<JoinHandle<()>>,
    /// Commands that wait for the end of a hand-over; the control socket bounds how many.
    pub handing_over: Vec<oneshot::Sender<Reply>>,
    /// Talks to the kernel.
    pub actuator: Actuator,
    /// Runs checks.
    pub prober: Prober,
    pub control: Control,
    pub run_dir: RunDirectory,
    /// Keeps the kernel's settings.
    pub sysctls: Keeper<KernelSettings>,
    /// Knows this host's addresses, and has arriving packets marked.
    pub host_watcher: HostWatcher,
    /// Samples clients' connections.
    pub handshakes: HandshakeWatch,
    /// Finds what is wrong with this host.
    pub host_findings: HostFindings,
    pub reloads: Reloads,
    /// systemd, or none.
    pub service_manager: ServiceManager,
    /// Log, scripts, FIFOs and mails.
    pub events: EventDispatcher,
    /// Runs and watches what the router tracks.
    pub trackers: Trackers,
    /// Runs the commands of `assert`.
    pub asserter: Asserter,
    /// The configuration in force. The director and the router have their own settings from it.
    pub config: Arc<Config>,
    /// The router's settings before the last reload: what the reload removed is notified as these say.
    pub previous: Option<Arc<Settings>>,
    /// Returns what reading a configuration needed.
    pub memory_return: MemoryReturn,
    /// When the daemon started.
    pub started_at: Instant,
    /// When the kernel's settings and the run directory are next looked at.
    pub watch_at: Instant,
    /// Why what was deleted in the run directory is not there again.
    pub lost: Option<String>,
    /// Whether this host forwards packets, as last read.
    pub forwards: Option<HostForwards>,
    /// The director's last [`Effect::ExpireTemplates`](crate::director::io::Effect::ExpireTemplates).
    pub expires_templates: bool,
    /// Why the last save of the state failed.
    pub unsaved: Option<String>,
    /// A save failed, or the first one succeeded after that: the director does not know it yet.
    pub was_saved: Option<bool>,
    /// The order that was the last input: its command waits for an answer.
    pub pending_override: Option<PendingOverride>,
    /// Whether the end is a stop and not a hand-over.
    pub is_stopping: bool,
}

/// Runs until the director is finished; whether it finished clean.
pub(crate) async fn run(mut shell: Shell, mut signals: Signals) -> bool {
    let mut health = HealthMonitor::new(std::mem::take(&mut shell.service_manager), clock::now());
    // This host's addresses come before any request to the kernel: they decide where services belong.
    let mut input = shell.host_watcher.known().unwrap_or(Input::Wake);
    loop {
        let finished = match input {
            Input::Reload(config) => shell.put_in_force(config).await,
            input => shell.direct(input),
        };
        shell.answer_after_read(&health);
        health.follow(clock::now(), &shell.health_sources());
        if let Some(is_clean) = finished {
            shell.end(&mut signals).await;
            return is_clean;
        }
        input = loop {
            if let Some(input) = shell.have_turn(&health) {
                break input;
            }
            let read_by = shell.awaiting_read.first().map(|(since, _)| *since + READ_LIMIT);
            let deadlines = [shell.director.deadline(), shell.stop_by, shell.snapshots.deadline(), read_by];
            let deadline = deadlines.into_iter().flatten().fold(health.deadline(), Instant::min);
            tokio::select! {
                biased;
                // Never ends, it only goes on.
                () = shell.events.work() => continue,
                found = shell.host_findings.next(&shell.config) => break found,
                answer = shell.actuator.answer() => break answer,
                order = signals.next() => {
                    if let Some(input) = shell.obey(order, &health) {
                        break input;
                    }
                }
                report = next_report(&mut shell.router) => {
                    if let Some(input) = shell.take_report(report, &health) {
                        break input;
                    }
                }
                tracked = shell.trackers.next() => match tracked {
                    News::Director(level) => break Input::File(level),
                    News::Router(level) => {
                        if let Some(router) = &mut shell.router {
                            router.send(level);
                        }
                    }
                },
                asserted = shell.asserter.next() => {
                    if let Some(router) = &mut shell.router {
                        router.send(asserted);
                    }
                }
                read = shell.reloads.finished() => {
                    if let Some(config) = shell.reloads.conclude(read, &shell.config) {
                        break Input::Reload(config);
                    }
                }
                (run, outcome) = shell.prober.next() => break Input::ProbeDone { run, outcome },
                question = shell.control.next() => {
                    if let Some(input) = shell.answer(question, &health) {
                        break input;
                    }
                }
                change = shell.host_watcher.next() => break change,
                sample = shell.handshakes.next() => break sample,
                () = clock::sleep_until(Some(deadline)) => {
                    if shell.stop_by.is_some_and(|at| at <= clock::now()) {
                        warn!("VRRP's thread does not end: its addresses may still be there");
                        shell.stop_by = None;
                        break Input::Stop;
                    }
                    shell.gather_status(&health);
                    break Input::Wake;
                }
                () = std::future::ready(()), if shell.snapshots.has_work() => shell.gather_status(&health),
            }
            health.follow(clock::now(), &shell.health_sources());
        };
    }
}
