//! The loop that owns the director: inputs in, effects out, in a written order of importance.
//!
//! 1. Scripts, FIFOs and mails that tell of changes: they only go on, and are bounded.
//! 2. The kernel's answers: the next request waits for them.
//! 3. Signals.
//! 4. The router's reports: who holds the VIPs; and what it follows.
//! 5. A reload that has finished reading.
//! 6. Outcomes of probes.
//! 7. Questions of operators and of who monitors. Never are they so welcome as when a flood of outcomes keeps the loop
//!    busy: one at a time has its turn, so that a crowd of them cannot keep outcomes waiting either.
//! 8. News of this host's addresses and neighbours, of who answers for VIPs, and of how clients' connections
//!    get on.
//! 9. The director's own deadline. Every input does what is due, so a flood of outcomes cannot starve it.
//! 10. The status that somebody asked for, some servers at a time; it has its turn in a flood, too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::actuator::Actuator;
use super::clock;
use super::control::{Command, Control, DaemonStatus, Ordered, Question, Reply};
use super::dump::Dumps;
use super::event_dispatcher::EventDispatcher;
use super::guardian::Guardian;
use super::handshakes::HandshakeWatch;
use super::health::{HealthMonitor, HealthSources};
use super::host_findings::HostFindings;
use super::host_watch::HostWatcher;
use super::lifecycle_scripts;
use super::prober::Prober;
use super::process;
use super::reload::Reloads;
use super::router::{self, Handle, RouterReport};
use super::signals::{SignalOrder, Signals};
use super::snapshot::Snapshots;
use super::startup;
use super::state_file::{Kept, RunDirectory};
use super::sysctls::{self, Keeper, KernelSettings};
use super::systemd::ServiceManager;
use super::trackers::Trackers;
use crate::config::{Config, VirtualServer};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::director::state::State;
use crate::director::status::Status;
use crate::director::vrrp_link::HostForwards;
use crate::director::{Director, Effect, Input};
use crate::net::sysctl;
use crate::notify::vrrp::Context;
use crate::time::Instant;
use crate::vrrp::event::Event;
use crate::vrrp::handover::Handover;
use crate::vrrp::io::{DirectorLevel, Input as RouterInput};
use crate::vrrp::settings::Settings;

/// Real servers named to an operator who asked for one that is not there.
const KNOWN_SHOWN: usize = 10;
/// Why a reload is not put in force, and an order not carried out.
const STOPS: &str = "lvsd stops";
const HANDS_OVER: &str = "lvsd hands over to the next start, which reads the file";
const NO_ORDER: &str = "lvsd is ending, the order is not carried out: give it again to the next lvsd";
/// Longest time a stop waits for the router, whose own limit is shorter.
const ROUTER_LIMIT: Duration = Duration::from_secs(8);
/// From one turn of those who ask to the next.
const TURN: Duration = Duration::from_millis(10);
/// Longest time a status waits for the kernel's table to be read.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// Everything the loop owns.
pub(crate) struct Shell {
    pub director: Director,
    /// Holds the VIPs; None without any.
    pub router: Option<Handle>,
    /// While there is no router that has it.
    pub guardian: Option<Guardian>,
    /// What the director last told it, or would have.
    pub level: Option<DirectorLevel>,
    /// When a stop no longer waits for the router; set while it does.
    pub stop_by: Option<Instant>,
    /// Makes the status for all who ask.
    pub snapshots: Snapshots,
    /// Who waits for a status until the kernel's table has been read, and since when; the control socket bounds how many.
    pub looking: Vec<(Instant, Question)>,
    /// When those who ask have their next turn, whatever else there is to do.
    pub turn_at: Instant,
    /// Where a status goes that was asked for by a signal.
    pub dumps: Dumps,
    /// The status of that kind that is being written.
    pub dumping: Option<JoinHandle<()>>,
    /// Who waits for the end of a hand-over; the control socket bounds how many.
    pub handing_over: Vec<oneshot::Sender<Reply>>,
    /// Talks to the kernel.
    pub actuator: Actuator,
    pub control: Control,
    pub run_dir: RunDirectory,
    /// Keeps the kernel's IPVS settings.
    pub sysctls: Keeper<KernelSettings>,
    /// Knows this host's addresses, and has arriving packets marked.
    pub host_watcher: HostWatcher,
    /// Samples clients' connections.
    pub handshakes: HandshakeWatch,
    /// Looks at what of this host hurts.
    pub host_findings: HostFindings,
    pub reloads: Reloads,
    /// Tells the service manager.
    pub service_manager: ServiceManager,
    /// Tells everybody else.
    pub events: EventDispatcher,
    /// Runs and watches what the router follows.
    pub trackers: Trackers,
    /// What the router was set to before the last reload: what it removes is told by that.
    pub before: Option<Arc<Settings>>,
    /// When the daemon started.
    pub started_at: Instant,
    /// When the kernel's settings, and the run directory, are next looked at.
    pub watch_at: Instant,
    /// Why what somebody deleted in the run directory is not there again.
    pub lost: Option<String>,
    /// What was found of forwarding.
    pub forwards: Option<HostForwards>,
    /// Whether clients that the kernel knows by persistence are to be sent elsewhere.
    pub expires_templates: bool,
    /// Why the state could not be saved the last time.
    pub unsaved: Option<String>,
    /// A save failed, or the first one succeeded after that: the director does not know it yet.
    pub was_saved: Option<bool>,
    /// Who gave the order that was the last input.
    pub pending_override: Option<PendingOverride>,
    /// Whether the end is a stop and not a hand-over.
    pub is_stopping: bool,
}

/// Who waits to hear what became of an order.
pub(crate) struct PendingOverride {
    reply: oneshot::Sender<Reply>,
    selector: Selector,
    change: OverrideChange,
}

/// Runs until the director is finished; whether it finished clean.
pub(crate) async fn run(mut shell: Shell, mut signals: Signals) -> bool {
    let mut prober = Prober::new(process::file_limit());
    let mut health = HealthMonitor::new(std::mem::take(&mut shell.service_manager), clock::now());
    // Where this host is comes before anything is asked of the kernel.
    let mut input = shell.host_watcher.known().unwrap_or(Input::Wake);
    loop {
        let mut effects = Vec::new();
        let is_reload = matches!(input, Input::Reload(_));
        let is_act = is_reload || matches!(input, Input::Override { .. });
        // At the start this says which addresses checks must not leave from, before the first of them does.
        shell.director.handle(clock::now(), input, &mut effects);
        if let Some(host) = shell.watch_host(clock::now()) {
            shell.director.handle(clock::now(), Input::Host(host), &mut effects);
        }
        let mut finished = shell.perform(effects, &mut prober);
        while let Some(is_saved) = shell.was_saved.take() {
            let mut effects = Vec::new();
            shell.director.handle(clock::now(), Input::Saved(is_saved), &mut effects);
            finished = finished.or(shell.perform(effects, &mut prober));
        }
        if is_act {
            // Who pending_override it and looks next sees what became of it.
            shell.snapshots.forget();
        }
        shell.answer_override();
        if is_reload {
            shell.tell_level();
            shell.events.reloaded(&shell.director);
            shell.events.router_reloaded(&shell.director.config().vrrp);
        }
        shell.looked(&health);
        health.follow(clock::now(), &shell.health_sources());
        if let Some(is_clean) = finished {
            if shell.is_stopping {
                shell.sysctls.release();
                shell.host_watcher.release().await;
                shell.part_from_router().await;
                shell.events.finish(true).await;
            } else {
                // Its advertisements go on until there is nothing else to wait for.
                shell.events.finish(false).await;
                shell.router.iter_mut().for_each(|router| router.send(RouterInput::HandOver));
                shell.part_from_router().await;
            }
            shell.guardian.take().into_iter().for_each(Guardian::dismiss);
            let config = shell.director.config();
            if let Some(script) = config.global.shutdown.as_ref().filter(|_| shell.is_stopping) {
                lifecycle_scripts::run("shutdown_script", script, config.vrrp.secures_scripts, signals.end())
                    .await;
            }
            info!("done");
            shell.answer_hand_over().await;
            return is_clean;
        }
        input = loop {
            if let Some(input) = shell.have_turn(&health) {
                break input;
            }
            let look_by = shell.looking.first().map(|(since, _)| *since + LOOK_LIMIT);
            let deadlines = [shell.director.deadline(), shell.stop_by, shell.snapshots.deadline(), look_by];
            let deadline = deadlines.into_iter().flatten().fold(health.deadline(), Instant::min);
            tokio::select! {
                biased;
                // Never ends, it only goes on.
                () = shell.events.work() => continue,
                news = shell.host_findings.next() => break news,
                answer = shell.actuator.answer() => break answer,
                order = signals.next() => {
                    if let Some(input) = shell.obey(order, &health) {
                        break input;
                    }
                }
                news = next_news(&mut shell.router) => {
                    if let Some(input) = shell.take(news, &health) {
                        break input;
                    }
                }
                tracked = shell.trackers.next() => {
                    if let Some(router) = &mut shell.router {
                        router.send(tracked);
                    }
                }
                read = shell.reloads.finished() => {
                    if let Some(config) = shell.reloads.conclude(read) {
                        shell.sysctls.want(sysctls::wanted(&config, shell.expires_templates));
                        shell.before = Some(Arc::clone(&shell.director.config().vrrp));
                        shell.events.configure(&config);
                        shell.reload_router(&config).await;
                        shell.trackers.configure(&config.vrrp);
                        shell.handshakes.want(&config);
                        shell.host_findings.want(&config);
                        break Input::Reload(config);
                    }
                }
                (run, outcome) = prober.next() => break Input::ProbeDone { run, outcome },
                question = shell.control.next() => {
                    if let Some(input) = shell.answer(question, &health) {
                        break input;
                    }
                }
                news = shell.host_watcher.next() => break news,
                news = shell.handshakes.next() => break news,
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

impl Shell {
    /// Performs effects in order; Some when the director is finished.
    fn perform(&mut self, effects: Vec<Effect>, prober: &mut Prober) -> Option<bool> {
        let mut finished = None;
        for effect in effects {
            match effect {
                Effect::StartProbe { run, spec, path, sources } => {
                    prober.begin(run, spec, path, sources.as_ref());
                }
                Effect::CancelProbe(run) => prober.cancel(run),
                Effect::SaveState(state) => self.save(state),
                Effect::Kernel(request) => self.actuator.begin(request),
                Effect::Mark(fwmark_rules) => self.host_watcher.set_rules(fwmark_rules),
                Effect::ExpireTemplates(is_wanted) => {
                    self.expires_templates = is_wanted;
                    self.sysctls.want(sysctls::wanted(self.director.config(), is_wanted));
                }
                Effect::Router(level) => {
                    self.level = Some(level);
                    self.tell_level();
                }
                Effect::Event(event) => self.events.dispatch(&event, &self.director),
                Effect::Finished { is_clean } => finished = Some(is_clean),
            }
        }
        finished
    }

    /// Writes the state; said once while it fails.
    fn save(&mut self, state: State) {
        match self.run_dir.save(state, clock::now()) {
            Ok(()) => {
                if self.unsaved.take().is_some() {
                    info!("the state file can be written again");
                    self.was_saved = Some(true);
                }
            }
            Err(error) => {
                let error = error.to_string();
                if self.unsaved.as_ref() != Some(&error) {
                    warn!(
                        "cannot write the state file: {error}: orders, and which servers are down, would not survive a restart; \
                         it is tried again"
                    );
                }
                self.unsaved = Some(error);
                self.was_saved = Some(false);
            }
        }
    }

    /// An order is answered once it holds, with what it does not do.
    fn answer_override(&mut self) {
        let Some(PendingOverride { reply, selector, change }) = self.pending_override.take() else { return };
        let servers = self.director.select(&selector);
        let ids: BTreeSet<_> = servers.iter().map(|(id, _)| *id).collect();
        let persistent = self.director.config().virtual_servers.iter().filter(|s| ids.contains(&s.id));
        let mut remarks: Vec<String> =
            persistent.filter_map(|server| persistence_remark(server, change)).collect();
        if let Some(error) = &self.unsaved {
            remarks.push(format!(
                "this order holds now, but would not survive a restart: the state file cannot be written: {error}; it \
                 is tried again, and `lvsd status` says so while it fails"
            ));
        }
        // Nobody waits for it any more: nothing to tell.
        let _ = reply.send(Reply::Ordered(Ordered { servers, remarks }));
    }

    /// Whether lvsd ends: nothing is put in force any more.
    fn is_ending(&self) -> bool {
        self.is_stopping || self.director.is_ending()
    }

    /// The router is told what the director last said, which one that has just begun does not know.
    fn tell_level(&mut self) {
        if let (Some(router), Some(level)) = (&mut self.router, &self.level) {
            router.send(RouterInput::Director(level.clone()));
        }
    }

    /// The kernel announces no changes of its settings either: those of IPVS are kept, those of forwarding read.
    fn watch_host(&mut self, now: Instant) -> Option<HostForwards> {
        if self.is_stopping || now < self.watch_at {
            return None;
        }
        self.watch_at = now + SWEEP_INTERVAL;
        self.sysctls.keep();
        self.keep_run_dir();
        let is_on = |name| sysctl::read(name).map_or(true, |value| value != "0");
        let host =
            HostForwards { ipv4: is_on("net.ipv4.ip_forward"), ipv6: is_on("net.ipv6.conf.all.forwarding") };
        (self.forwards.replace(host) != Some(host)).then_some(host)
    }

    /// Somebody may delete the run directory, or what is in it: nothing announces that either.
    fn keep_run_dir(&mut self) {
        let is_anew = match self.run_dir.keep() {
            Ok(Kept::AsItWas) => false,
            Ok(Kept::MadeAnew) => true,
            Err(error) => return self.complain(&error.to_string()),
        };
        if is_anew {
            warn!(
                "the run directory, or its lock, was deleted or replaced: it is made anew, and the state saved"
            );
            self.sysctls.remember();
            self.save(self.director.state());
        }
        match self.control.keep() {
            Ok(false) => self.lost = None,
            Ok(true) => {
                self.lost = None;
                warn!("the control socket was deleted or replaced: it is there again");
            }
            Err(error) => self.complain(&format!("control socket: {error}: commands do not reach this lvsd")),
        }
    }

    /// Once, until it is something else.
    fn complain(&mut self, trouble: &str) {
        if self.lost.as_deref() != Some(trouble) {
            error!("{trouble}");
            self.lost = Some(trouble.to_owned());
        }
    }

    /// What an order by signal means for the director; a reload is read first.
    fn obey(&mut self, order: SignalOrder, health: &HealthMonitor) -> Option<Input> {
        match order {
            SignalOrder::Stop(signal) if !self.is_stopping && self.director.is_ending() => {
                warn!("{signal} comes too late: everything is being handed over, and stays in the kernel");
                None
            }
            SignalOrder::Stop(signal) => {
                if !self.is_ending() {
                    self.is_stopping = true;
                    self.reloads.end(STOPS);
                    self.events.stopping(&self.director);
                }
                info!("{signal}: stopping, our services are removed");
                match self.router.as_mut().filter(|router| !router.is_finished()) {
                    // Its VIPs leave first: no client shall find them without services. Who signals twice has his
                    // reasons not to wait.
                    Some(router) if self.stop_by.is_none() => {
                        router.send(RouterInput::Stop);
                        self.stop_by = Some(clock::now() + ROUTER_LIMIT);
                        None
                    }
                    _ => {
                        self.stop_by = None;
                        Some(Input::Stop)
                    }
                }
            }
            SignalOrder::Demote => {
                self.router.iter_mut().for_each(Handle::demote);
                None
            }
            SignalOrder::Dump(signal) => {
                self.dump(signal, health);
                None
            }
            SignalOrder::Reload if self.is_ending() => {
                warn!("the reload is ignored: lvsd is ending");
                None
            }
            SignalOrder::Reload => {
                self.reloads.begin(None, false);
                None
            }
        }
    }

    /// What the router says; the director is told of its instances.
    fn take(&mut self, news: RouterReport, health: &HealthMonitor) -> Option<Input> {
        match news {
            RouterReport::Instance(level) => Some(Input::Instance(level)),
            RouterReport::Gone(name) => Some(Input::InstanceGone(name)),
            RouterReport::Event(event) => {
                self.tell_router(&event);
                None
            }
            RouterReport::HandedOver(handover, is_guarded) => {
                self.save_masters(&handover, is_guarded);
                None
            }
            RouterReport::Finished => {
                self.snapshots.router_is_known();
                self.gather_status(health);
                self.stop_by.take().map(|_| Input::Stop)
            }
            RouterReport::Status => {
                self.snapshots.router_is_known();
                self.gather_status(health);
                None
            }
        }
    }

    /// Those who ask are heard now and then, whatever else there is to do.
    fn have_turn(&mut self, health: &HealthMonitor) -> Option<Input> {
        let now = clock::now();
        if now < self.turn_at {
            return None;
        }
        self.turn_at = now + TURN;
        self.gather_status(health);
        let question = self.control.try_next()?;
        self.answer(question, health)
    }

    /// Whoever waits until the kernel's table has been read gets a status from then, or when it cannot be read.
    fn looked(&mut self, health: &HealthMonitor) {
        let (now, read_at) = (clock::now(), self.director.read_at());
        let is_done = |since: Instant| read_at.is_some_and(|at| at >= since) || now >= since + LOOK_LIMIT;
        while self.looking.first().is_some_and(|(since, _)| is_done(*since)) {
            let (_, question) = self.looking.remove(0);
            self.snapshots.forget();
            // It asks for nothing that is an input.
            self.answer(Question { command: Command::Status, ..question }, health);
        }
    }

    /// Goes on with the status that somebody waits for; whoever does is told it once all is there.
    fn gather_status(&mut self, health: &HealthMonitor) {
        let now = clock::now();
        self.snapshots.tidy(now);
        if self.snapshots.work(now, &self.director) {
            let director = self.director.status_of(now, self.snapshots.take());
            let status = self.status(now, health, director);
            self.snapshots.answer(now, status);
        }
    }

    /// Writes the status into files, off the loop; a second signal meanwhile is answered by the same files.
    fn dump(&mut self, signal: &'static str, health: &HealthMonitor) {
        if self.dumping.as_ref().is_some_and(|job| !job.is_finished()) {
            return;
        }
        let (reply, answer) = oneshot::channel();
        self.answer(Question { command: Command::Status, reply, client: None }, health);
        let dumps = self.dumps.clone();
        self.dumping = Some(tokio::spawn(async move {
            if let Ok(Reply::Status(status)) = answer.await {
                // A disk that hangs must not stop the loop.
                let _ = tokio::task::spawn_blocking(move || dumps.write(signal, &status)).await;
            }
        }));
    }

    /// Everything is handed over: the command that asked for it is answered, and the answer leaves this process.
    async fn answer_hand_over(&mut self) {
        let waiting = std::mem::take(&mut self.handing_over);
        if waiting.is_empty() {
            return;
        }
        for reply in waiting {
            // The command may have been interrupted.
            let _ = reply.send(Reply::HandedOver { pid: std::process::id() });
        }
        self.control.finish().await;
    }

    /// What the next process has to know; it is written before this one ends.
    fn save_masters(&self, handover: &Handover, is_guarded: bool) {
        if let Err(error) = self.run_dir.masters().save(handover, is_guarded, clock::now()) {
            warn!("cannot write who is Master: {error}: the next start begins as Backup");
        }
    }

    fn tell_router(&mut self, event: &Event) {
        let config = self.director.config();
        let (previous, is_stopping) = (self.before.as_deref(), self.is_stopping);
        self.events.dispatch_router(event, Context { settings: &config.vrrp, previous, is_stopping });
    }

    /// Its last words, where it has not said them.
    async fn part_from_router(&mut self) {
        let last_words = async {
            while let Some(router) = self.router.as_mut().filter(|router| !router.is_finished()) {
                match router.next().await {
                    RouterReport::Event(event) => self.tell_router(&event),
                    RouterReport::HandedOver(handover, is_guarded) => {
                        self.save_masters(&handover, is_guarded)
                    }
                    _ => {}
                }
            }
        };
        if tokio::time::timeout(ROUTER_LIMIT, last_words).await.is_err() {
            warn!("VRRP's thread does not end");
        }
    }

    /// The router is told of new settings, or begun when it has something to do for the first time.
    async fn reload_router(&mut self, config: &Config) {
        match &mut self.router {
            Some(router) => router.send(RouterInput::Reload(Arc::clone(&config.vrrp))),
            None if config.vrrp.is_empty() => {}
            None => {
                if let Err(failure) = router::refuse_unpermitted(&config.vrrp) {
                    return error!("{}: no VIP is held", failure.message);
                }
                if self.guardian.is_none() {
                    warn!(
                        "there is no guardian: VIPs would stay here when lvsd dies; the next start has one"
                    );
                }
                let (settings, guardian) = (Arc::clone(&config.vrrp), self.guardian.take());
                match Handle::start(settings, startup::seed(), Vec::new(), guardian, None).await {
                    Ok(router) => self.router = Some(router),
                    Err((failure, guardian)) => {
                        // It is for the next attempt.
                        self.guardian = guardian;
                        error!("{}: no VIP is held", failure.message);
                    }
                }
            }
        }
    }

    /// Answers an operator; an order is also an input, and a reload is answered when it has ended.
    fn answer(&mut self, question: Question, health: &HealthMonitor) -> Option<Input> {
        let now = clock::now();
        if !question.is_awaited(now) {
            info!(command = ?question.command, "a request is dropped: its client waits no longer");
            let _ =
                question.reply.send(Reply::Error("the request came too late, nothing was done".to_owned()));
            return None;
        }
        let reply = match question.command {
            Command::Why(selector) => match self.director.stories(now, &selector) {
                stories if stories.is_empty() => self.nobody(&selector),
                stories => Reply::Why(stories),
            },
            Command::Order { .. } if self.is_ending() => Reply::Error(NO_ORDER.to_owned()),
            Command::Order { selector, .. } if self.director.select(&selector).is_empty() => {
                self.nobody(&selector)
            }
            Command::Order { selector, change } => {
                self.pending_override = Some(PendingOverride { reply: question.reply, selector, change });
                return Some(Input::Override { selector, change });
            }
            Command::StatusNow if self.director.reads_kernel() => {
                self.looking.push((now, question));
                return Some(Input::Look);
            }
            Command::Status | Command::StatusNow => {
                let is_new = self.snapshots.ask(now, question.reply);
                if let Some(router) = self.router.as_mut().filter(|router| is_new && !router.is_finished()) {
                    // As it is now, not as it was a second ago.
                    router.ask();
                    self.snapshots.await_router(now);
                }
                return None;
            }
            Command::HandOver if self.is_ending() => Reply::Error("lvsd is ending".to_owned()),
            Command::HandOver => {
                info!("handing over, everything stays in the kernel");
                self.reloads.end(HANDS_OVER);
                self.handing_over.push(question.reply);
                return Some(Input::HandOver);
            }
            Command::Health => Reply::Health(health.trouble(now, &self.health_sources())),
            Command::Reload { .. } if self.is_ending() => Reply::Error("lvsd is ending".to_owned()),
            Command::Reload { allow_removal } => {
                self.reloads.begin(Some(question.reply), allow_removal);
                return None;
            }
        };
        // Nobody waits for it any more: nothing to tell.
        let _ = question.reply.send(reply);
        None
    }

    fn status(&self, now: Instant, health: &HealthMonitor, director: Status) -> DaemonStatus {
        let (reloads_accepted, reloads_rejected) = self.reloads.counts();
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: now.since(self.started_at).as_secs(),
            config: self.reloads.path().to_owned(),
            is_lenient: self.reloads.is_lenient(),
            trouble: health.trouble(now, &self.health_sources()),
            unsaved: self.unsaved.clone(),
            last_reload: self.reloads.outcome(now),
            reloads_accepted,
            reloads_rejected,
            mail: self.events.mail_status(now),
            host: self.host_findings.found().to_vec(),
            director,
            router: self.router.as_ref().and_then(|router| router.status().cloned()),
        }
    }

    fn health_sources(&self) -> HealthSources<'_> {
        HealthSources {
            director: &self.director,
            actuator: &self.actuator,
            reloads: &self.reloads,
            router: self.router.as_ref(),
        }
    }

    fn nobody(&self, selector: &Selector) -> Reply {
        let members = self.director.config().virtual_servers.iter().flat_map(|s| &s.real_servers);
        let known: BTreeSet<String> = members.map(|r| r.named().to_string()).collect();
        let some: Vec<String> = known.iter().take(KNOWN_SHOWN).cloned().collect();
        let more = if known.len() > KNOWN_SHOWN { ", ..." } else { "" };
        Reply::Error(format!("there is no real server {selector}; there are: {}{more}", some.join(", ")))
    }
}

/// What persistence does to an order about a real server of a virtual server, where the kernel keeps its clients there.
fn persistence_remark(server: &VirtualServer, change: OverrideChange) -> Option<String> {
    let timeout = server.persistence.as_ref()?.timeout;
    if sysctls::read(sysctls::EXPIRES_TEMPLATES).is_ok_and(|value| value != "0") {
        return None;
    }
    let (id, setting) = (server.id, sysctls::full(sysctls::EXPIRES_TEMPLATES));
    match change {
        OverrideChange::Drain { limit } => Some(format!(
            "virtual server {id} is persistent and {setting} is 0: clients it knows go on to the drained server until \
             they have been silent for {timeout} s; what is left after {} s is cut",
            limit.as_secs()
        )),
        OverrideChange::Weight(Some(0)) => Some(format!(
            "virtual server {id} is persistent and {setting} is 0: clients it knows go on to the server of weight 0 \
             until they have been silent for {timeout} s; `lvsd drain` sends them elsewhere at once"
        )),
        _ => None,
    }
}

async fn next_news(router: &mut Option<Handle>) -> RouterReport {
    match router {
        Some(router) => router.next().await,
        None => std::future::pending().await,
    }
}
