//! The director: every decision about virtual servers, pure.
//!
//! Input and `now` go in, effects come out; it never reads a clock, never waits, never fails and knows no socket.
//! [`checkers`] run on schedule, `runs` takes their outcomes, [`pool`]s turn their health into what the kernel should hold
//! ([`desired`]), [`reconcile`] finds the difference, `kernel` asks for it to be applied, [`colocation`] places services where this host is a real server, too; [`path_check`]
//! checks the path of client traffic. [`reload`] carries state from one configuration to the next, [`state`] from one process to
//! the next. The shell in `daemon` performs the effects, the simulated world in `sim` does so in virtual time: the same
//! code decides in both.

pub(crate) mod admin_override;
pub(crate) mod arp_problem;
pub(crate) mod checkers;
pub(crate) mod colocation;
pub(crate) mod desired;
pub(crate) mod event;
mod kernel;
pub(crate) mod lvs_notifier;
pub(crate) mod marks;
pub(crate) mod path_check;
pub(crate) mod pool;
pub(crate) mod preview;
pub(crate) mod problems;
pub(crate) mod reconcile;
pub(crate) mod reload;
mod runs;
mod sources;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod staying;
#[cfg(test)]
mod steps;
pub(crate) mod summary;
mod timers;
pub(crate) mod vrrp_link;

#[cfg(test)]
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use admin_override::{AdminOverride, OverrideChange, Selector};
use arp_problem::ArpProblems;
use checkers::{Checkers, PoolMemberKey};
use colocation::LocalAddresses;
use colocation::placement::{IngressMarks, Placement};
use event::Event;
use path_check::PathChecks;
use pool::Pool;
use reconcile::settings::SettingsKeeper;
use reconcile::{Readings, Reconciler, Request};
use reload::MemberBuilder;
use sources::SourceKeeper;
use state::{KnownDown, KnownLeaving, KnownOverride, State};
use timers::Timers;
use vrrp_link::{HostForwards, VrrpLink};

use crate::check::outcome::Outcome;
use crate::check::path::ProbePath;
use crate::check::schedule::RunId;
use crate::check::source::Sources;
use crate::check::spec::CheckerSpec;
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::ipvs::backend::{Error, Refusal, Snapshot};
use crate::ipvs::connections::{Flow, Handshakes};
use crate::ipvs::types::ServiceKey;
use crate::net::tc::ingress::FwmarkRule;
use crate::time::Instant;
use crate::vrrp::io::{DirectorLevel, InstanceLevel};

/// Longest time a stop waits for the kernel.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How often the state is saved though nothing changed: what it says of health is believed for ten minutes.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
/// Pauses before a save that failed is tried again: the first, which doubles each time, and the longest.
const SAVE_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// From one save of changed health to the next: when thousands of servers fail, each would cost as much as all.
const SAVE_PAUSE: Duration = Duration::from_secs(1);

/// What the world tells the director.
#[derive(Debug)]
pub enum Input {
    /// It is the time the director asked for.
    Wake,
    /// A probe ended.
    ProbeDone {
        /// Which run.
        run: RunId,
        /// How.
        outcome: Outcome,
    },
    /// The kernel answered a read.
    Snapshot(Result<Snapshot, Error>),
    /// The kernel answered a write.
    Applied(Result<Vec<Refusal>, Error>),
    /// A new configuration, validated.
    Reload(Arc<Config>),
    /// An operator's order about some real servers.
    Override {
        /// Which.
        selector: Selector,
        /// What.
        change: OverrideChange,
    },
    /// An instance of the router is so.
    Instance(InstanceLevel),
    /// An instance of the router is no more.
    InstanceGone(String),
    /// This host passes packets on, or does not.
    Host(HostForwards),
    /// This host has these addresses.
    LocalAddresses(LocalAddresses),
    /// Packets get these marks.
    IngressMarks(IngressMarks),
    /// These real servers answer ARP for VIPs.
    ArpProblems(ArpProblems),
    /// The state could not be saved, or can be again.
    Saved(bool),
    /// Somebody wants to know how the kernel's table is now: it is read.
    Look,
    /// Clients' connections, sampled.
    Handshakes(BTreeMap<Flow, Handshakes>),
    /// Remove all that is ours, then finish.
    Stop,
    /// Leave everything as it is, then finish.
    HandOver,
}

/// What the director wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Run a probe; its outcome comes back as [`Input::ProbeDone`].
    StartProbe {
        /// Which run.
        run: RunId,
        /// What to ask.
        spec: Arc<CheckerSpec>,
        /// By which way, where it is about one.
        path: Option<ProbePath>,
        /// From which addresses it must not be asked, where the kernel could choose one of them.
        sources: Option<Arc<Sources>>,
    },
    /// Nobody waits for this run any more.
    CancelProbe(RunId),
    /// Keep this for a successor, before any request that follows.
    SaveState(State),
    /// Ask the kernel; one at a time.
    Kernel(Request),
    /// Have packets marked so, and no others; at every change.
    Mark(Vec<FwmarkRule>),
    /// Have the kernel send clients that it knows by persistence elsewhere when their server has weight 0, or leave that
    /// to whoever set it; at every change.
    ExpireTemplates(bool),
    /// Tell the router; at every change.
    Router(DirectorLevel),
    /// Tell the world.
    Event(Event),
    /// The director is done.
    Finished {
        /// False when a stop ran out of time with some of our services still in the kernel.
        is_clean: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Stopping { give_up: Instant },
    HandingOver,
    Finished,
}

/// The director.
#[derive(Debug)]
pub struct Director {
    config: Arc<Config>,
    rng: fastrand::Rng,
    checkers: Checkers,
    pools: BTreeMap<VirtualServerId, Pool>,
    reconciler: Reconciler,
    vrrp_link: VrrpLink,
    placement: Placement,
    path_check: PathChecks,
    sources: SourceKeeper,
    arp_problems: ArpProblems,
    life: Life,
    is_ready: bool,
    unsettled: BTreeSet<VirtualServerId>,
    /// Pools with verdicts: when their rest ends.
    resting: Timers<VirtualServerId>,
    overrides: BTreeMap<PoolMemberKey, AdminOverride>,
    was_leaving: BTreeMap<PoolMemberKey, Instant>,
    was_staying: BTreeMap<PoolMemberKey, Instant>,
    /// Somebody is down, up or leaving that the saved state does not know of.
    is_state_stale: bool,
    /// What is ours changed: to be saved before the kernel is asked for it.
    is_owned_stale: bool,
    last_save: Instant,
    next_save: Instant,
    /// In a row.
    failed_saves: u32,
    expires_templates: bool,
    /// Pools with half-open connections that may be a problem: few among thousands.
    half_open: BTreeSet<VirtualServerId>,
    /// Pools that a server is leaving, or will once it is replaced: when the first of them must have left.
    left: Timers<VirtualServerId>,
    /// Those of them with persistence that somebody is leaving.
    left_with_templates: BTreeSet<VirtualServerId>,
    /// Until when a predecessor's leave virtual servers with persistence.
    templates_until: Instant,
    /// Services that are to go may be further on their way.
    is_retirement_stale: bool,
}

impl Director {
    /// A director for this configuration; `state` is what a predecessor left, its health no older than it says.
    pub fn new(config: Arc<Config>, state: State, seed: u64, now: Instant) -> Director {
        let deadlines = |known: &[KnownLeaving]| {
            known.iter().map(|l| ((l.virtual_server, l.real_server), l.deadline)).collect()
        };
        let owned = state.owned.iter().map(|id| desired::service_key(*id)).collect();
        let mut settings = SettingsKeeper::new(state.original_timeouts, state.sync_daemons.clone());
        let vrrp_link = VrrpLink::default();
        settings.set_desired(config.global.timeouts, vrrp_link.sync_daemons(&config.global));
        let mut director = Director {
            rng: fastrand::Rng::with_seed(seed),
            checkers: Checkers::default(),
            pools: BTreeMap::new(),
            reconciler: Reconciler::new(owned, settings, config.global.flush),
            vrrp_link,
            placement: Placement::default(),
            path_check: PathChecks::default(),
            sources: SourceKeeper::default(),
            arp_problems: ArpProblems::new(),
            life: Life::Running,
            is_ready: false,
            unsettled: BTreeSet::new(),
            resting: Timers::default(),
            overrides: state.overrides.iter().map(|o| ((o.virtual_server, o.real_server), o.admin)).collect(),
            was_leaving: deadlines(&state.leaving),
            was_staying: deadlines(&state.staying),
            is_state_stale: false,
            is_owned_stale: true,
            last_save: now,
            next_save: now,
            failed_saves: 0,
            expires_templates: false,
            half_open: BTreeSet::new(),
            left: Timers::default(),
            left_with_templates: BTreeSet::new(),
            templates_until: Instant::ZERO,
            is_retirement_stale: true,
            config: Arc::clone(&config),
        };
        director.forget_overrides(&config);
        let mut known: BTreeMap<PoolMemberKey, Vec<KnownDown>> = BTreeMap::new();
        for down in state.down {
            known.entry((down.virtual_server, down.real_server)).or_default().push(down);
        }
        let mut builder = director.builder(now);
        let pool = |s: &VirtualServer| (s.id, Pool::new(s.clone(), builder.fresh(s, &known)));
        director.pools = config.virtual_servers.iter().map(pool).collect();
        let checkers = &director.checkers;
        director.pools.values_mut().for_each(|pool| pool.begin(checkers));
        director.unsettled.extend(director.pools.keys());
        director.configure_path_check();
        director.vrrp_link.configure(&config);
        director.configure_sources(&config);
        director.find_templates();
        director
    }

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let mut events = Vec::new();
        // Neither time nor a real server's health moves them: where they are is read every second.
        self.is_retirement_stale |= !matches!(input, Input::Wake | Input::ProbeDone { .. });
        match input {
            Input::Wake => {}
            Input::ProbeDone { run, outcome } => self.probe_done(now, run, outcome, &mut events, effects),
            Input::Snapshot(result) => {
                let readings = self.reconciler.on_snapshot(now, result, &mut events);
                self.take_readings(now, &readings, &mut events, effects);
            }
            Input::Applied(result) if self.path_check.is_kernel_busy() => {
                self.run_path_check(now, path_check::Input::Applied(&result), &mut events, effects);
            }
            Input::Applied(result) => self.reconciler.on_applied(now, result, &mut events),
            Input::Reload(config) => {
                self.reload(now, config, &mut events, effects);
                self.recompute_placement(&mut events);
            }
            Input::Override { selector, change } => self.apply_override(now, &selector, change, &mut events),
            Input::Instance(level) => {
                if self.vrrp_link.set_instance(level) {
                    self.find_sources();
                }
                self.set_desired_settings();
                self.unsettled.extend(self.placement.ids());
            }
            Input::InstanceGone(name) => {
                self.vrrp_link.remove_instance(&name);
                self.find_sources();
                self.set_desired_settings();
                self.unsettled.extend(self.placement.ids());
            }
            Input::Host(host) => self.vrrp_link.set_host_forwards(host),
            Input::LocalAddresses(local) => self.on_local_addresses(local, &mut events),
            Input::IngressMarks(ingress_marks) => self.ingress_marks_are(ingress_marks, &mut events),
            Input::ArpProblems(found) => self.on_arp_problems(found, &mut events),
            Input::Saved(is_saved) => self.saved(now, is_saved),
            Input::Look => self.reconciler.read_now(),
            Input::Handshakes(sample) => self.on_handshakes(now, &sample, &mut events),
            Input::Stop => self.stop(now, effects),
            Input::HandOver => self.hand_over(effects),
        }
        self.advance(now, &mut events, effects);
    }

    /// Whether the kernel's table is read at all.
    pub fn reads_kernel(&self) -> bool {
        self.reconciler.is_needed()
    }

    /// Since when the kernel's whole table has been read; None where it has not been, or is none of its affairs.
    pub fn read_at(&self) -> Option<Instant> {
        self.reconciler.read_at()
    }

    /// When the director must be woken at the latest; None when only an answer can move it.
    pub fn deadline(&self) -> Option<Instant> {
        match self.life {
            Life::Finished => return None,
            Life::HandingOver => return None,
            Life::Stopping { give_up } => {
                return Some(self.kernel_deadline().map_or(give_up, |d| d.min(give_up)));
            }
            Life::Running => {}
        }
        let paths = self.path_check.deadline().filter(|_| self.reconciler.has_read());
        let pools = self.left.first().into_iter().chain(self.resting.first());
        [self.checkers.deadline(), paths, pools.min(), self.kernel_deadline(), Some(self.next_save)]
            .into_iter()
            .flatten()
            .min()
    }

    fn take_readings(
        &mut self,
        now: Instant,
        readings: &Readings,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(present) = &readings.probe_services {
            self.run_path_check(now, path_check::Input::Services(present), events, effects);
        }
        let was_leaving = self.was_leaving.len();
        for key in &readings.read {
            let id = self.placement.owner(*key);
            if !self.is_in_place(*key, id) {
                continue;
            }
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            let actual = self.reconciler.actual(key).map(|entry| pool.seen(entry));
            if let Some(actual) = actual.as_deref().filter(|_| readings.adopted.contains(key)) {
                let (leaving, staying) = (&mut self.was_leaving, &mut self.was_staying);
                let was_leaving = |at: &_| leaving.remove(&(id, *at));
                pool.adopt(now, actual, &self.checkers, was_leaving, |at| staying.remove(&(id, *at)));
                self.unsettled.insert(id);
                self.is_state_stale = true;
            }
            if pool.watch_leaving(now, actual.as_deref(), events) {
                self.unsettled.insert(id);
                self.is_state_stale = true;
            }
            self.find_problems(now, id, true, events);
        }
        if self.was_leaving.len() != was_leaving {
            self.find_templates();
        }
    }

    /// The real servers a selector means, with their virtual servers.
    pub fn select(&self, selector: &Selector) -> Vec<PoolMemberKey> {
        let members = self.pools.values().flat_map(|p| p.members.iter().map(|(at, m)| (p.server.id, *at, m)));
        let selected = members.filter(|(id, _, member)| selector.selects(id, &member.real_server));
        selected.map(|(id, at, _)| (id, at)).collect()
    }

    fn apply_override(
        &mut self,
        now: Instant,
        selector: &Selector,
        change: OverrideChange,
        events: &mut Vec<Event>,
    ) {
        if self.life != Life::Running {
            return;
        }
        for (id, at) in self.select(selector) {
            let Some(member) = self.pools.get_mut(&id).and_then(|p| p.members.get_mut(&at)) else { continue };
            let admin = member.admin.changed(change, now);
            if admin == member.admin {
                continue;
            }
            member.admin = admin;
            if admin.is_none() {
                self.overrides.remove(&(id, at));
            } else {
                self.overrides.insert((id, at), admin);
            }
            events.push(Event::Override { virtual_server: id, real_server: at, admin });
            self.unsettled.insert(id);
            // Once an operator was told that his order holds, it must survive whatever comes next.
            self.next_save = now;
        }
    }

    /// An order ends with the real server it is about.
    fn forget_overrides(&mut self, config: &Config) {
        if self.overrides.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.overrides);
        let subscribers =
            config.virtual_servers.iter().flat_map(|s| s.real_servers.iter().map(|r| (s.id, r.address)));
        self.overrides = subscribers.filter_map(|s| Some((s, before.remove(&s)?))).collect();
    }

    fn reload(
        &mut self,
        now: Instant,
        config: Arc<Config>,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if self.life != Life::Running {
            return;
        }
        self.forget_overrides(&config);
        let mut old = std::mem::take(&mut self.pools);
        let (mut predecessors, mut added) = (Vec::new(), Vec::new());
        let mut builder = self.builder(now);
        let pool = |server: &VirtualServer| {
            let pool = match old.remove(&server.id) {
                Some(mut pool) => {
                    let members = builder.successors(server, &pool);
                    predecessors.push((server.id, pool.reconfigure(server.clone(), members)));
                    pool
                }
                None => {
                    let members = builder.fresh(server, &BTreeMap::new());
                    added.push(server.id);
                    Pool::new(server.clone(), members)
                }
            };
            (server.id, pool)
        };
        let mut pools: BTreeMap<_, _> = config.virtual_servers.iter().map(pool).collect();
        // Last of all: a checker that another virtual server takes over goes on.
        for (id, members) in &mut predecessors {
            let Some(pool) = pools.get_mut(id) else { continue };
            for (at, checker) in pool.stay(now, members, builder.checkers) {
                builder.ended.push((checker, (*id, at)));
            }
            builder.retire(*id, members, Some(&pool.members));
        }
        for (id, pool) in &mut old {
            pool.end_stays();
            builder.retire(*id, &pool.members, None);
        }
        let ended = std::mem::take(&mut builder.ended);
        effects.extend(self.checkers.unsubscribe(ended).into_iter().map(Effect::CancelProbe));
        for pool in old.values() {
            self.reconciler.remove_desired(pool.key());
        }
        self.unsettled.extend(pools.keys());
        self.left_with_templates.retain(|id| pools.contains_key(id));
        self.pools = pools;
        self.find_templates();
        for id in added {
            self.pools.get_mut(&id).into_iter().for_each(|pool| pool.begin(&self.checkers));
        }
        self.vrrp_link.configure(&config);
        self.configure_sources(&config);
        self.config = config;
        self.configure_path_check();
        self.run_path_check(now, path_check::Input::Reloaded, events, effects);
        self.set_desired_settings();
        self.is_state_stale = true;
    }

    fn set_desired_settings(&mut self) {
        if self.life == Life::Running {
            let global = &self.config.global;
            self.reconciler.settings_mut().set_desired(global.timeouts, self.vrrp_link.sync_daemons(global));
        }
    }

    fn stop(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.life != Life::Running {
            return;
        }
        self.life = Life::Stopping { give_up: now + STOP_LIMIT };
        effects.extend(self.checkers.clear().into_iter().map(Effect::CancelProbe));
        self.pools.clear();
        self.placement.clear();
        self.path_check.clear();
        self.left.clear();
        self.left_with_templates.clear();
        self.unsettled.clear();
        self.resting.clear();
        self.reconciler.remove_all_desired();
    }

    fn hand_over(&mut self, effects: &mut Vec<Effect>) {
        if self.life != Life::Running {
            return;
        }
        self.life = Life::HandingOver;
        self.is_state_stale = true;
        let state = self.state();
        effects.extend(self.checkers.clear().into_iter().map(Effect::CancelProbe));
        effects.push(Effect::SaveState(state));
    }

    /// Does all that is due: probes, pools, the next request to the kernel, the end.
    fn advance(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        if self.life == Life::Running {
            self.begin_checks(now, events, effects);
            self.settle(now, events, effects);
            if std::mem::take(&mut self.is_retirement_stale) {
                self.settle_retired(now);
            }
            self.emit_markings(effects);
            let expires = self.expires_templates(now);
            if std::mem::replace(&mut self.expires_templates, expires) != expires {
                effects.push(Effect::ExpireTemplates(expires));
            }
        }
        let request = match self.life {
            Life::Running | Life::Stopping { .. } => self.kernel_request(now, events),
            Life::HandingOver | Life::Finished => None,
        };
        self.name_services(events);
        effects.extend(events.drain(..).map(Effect::Event));
        self.save(now, request.as_ref(), effects);
        effects.extend(request.map(Effect::Kernel));
        self.conclude(now, effects);
        if self.life == Life::Running {
            let news = self.vrrp_link.news(
                self.is_ready,
                &mut self.reconciler,
                &self.placement,
                &self.config.global,
            );
            effects.extend(news.map(Effect::Router));
        }
    }

    fn settle(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        self.unsettled.extend(self.left.due(now));
        let rested: BTreeSet<_> = self.resting.due(now).collect();
        let looks: usize = rested.iter().filter_map(|id| self.pools.get(id)).map(|p| p.members.len()).sum();
        self.unsettled.extend(&rested);
        let mut ended = Vec::new();
        for id in std::mem::take(&mut self.unsettled) {
            self.resting.set(id, None);
            let belongs_in_kernel = self.belongs_in_kernel(id);
            let Some(pool) = self.pools.get_mut(&id) else {
                self.left.set(id, None);
                self.left_with_templates.remove(&id);
                continue;
            };
            let key = pool.key();
            let before = (pool.leaving.len(), pool.staying.len());
            pool.settle(now, &self.checkers, events);
            if rested.contains(&id) {
                pool.rest(now, looks);
            }
            self.vrrp_link.set_quorum(pool);
            self.is_state_stale |= (pool.leaving.len(), pool.staying.len()) != before;
            for (at, member) in std::mem::take(&mut pool.released) {
                ended
                    .extend(member.subscriptions.iter().map(|subscription| (subscription.checker, (id, at))));
            }
            if belongs_in_kernel {
                self.reconciler.set_desired(key, pool.in_kernel());
            } else {
                self.reconciler.remove_desired(key);
            }
            self.reconciler.watch(key, !pool.leaving.is_empty(), now);
            self.left.set(id, pool.deadline());
            if pool.server.persistence.is_some() && !pool.leaving.is_empty() {
                self.left_with_templates.insert(id);
            } else {
                self.left_with_templates.remove(&id);
            }
            self.find_problems(now, id, false, events);
        }
        effects.extend(self.checkers.unsubscribe(ended).into_iter().map(Effect::CancelProbe));
    }

    /// Whether clients that the kernel knows by persistence must be sent elsewhere: otherwise a server that leaves gets
    /// every new connection of theirs, and never gets empty. What a predecessor had leave goes on leaving.
    pub fn expires_templates(&self, now: Instant) -> bool {
        !self.left_with_templates.is_empty() || self.templates_until > now
    }

    fn find_templates(&mut self) {
        let is_persistent =
            |id| self.pools.get(id).is_some_and(|pool: &Pool| pool.server.persistence.is_some());
        let deadlines = self.was_leaving.iter().filter(|((id, _), _)| is_persistent(id));
        self.templates_until = deadlines.map(|(_, deadline)| *deadline).max().unwrap_or_default();
    }

    /// What is ours is saved before the kernel is asked for it, or when all is done; who is down as soon as the last
    /// save is a second ago; everything now and then for its freshness.
    fn save(&mut self, now: Instant, request: Option<&Request>, effects: &mut Vec<Effect>) {
        if self.life == Life::HandingOver || self.life == Life::Finished {
            return;
        }
        self.is_owned_stale |= self.reconciler.take_owned_changed();
        if self.is_state_stale {
            self.next_save = self.next_save.min(self.last_save + SAVE_PAUSE);
        }
        let is_moment = matches!(request, Some(Request::Apply(_))) || self.reconciler.is_converged();
        if (self.is_owned_stale && is_moment) || now >= self.next_save {
            effects.push(Effect::SaveState(self.state()));
            self.is_state_stale = false;
            self.is_owned_stale = false;
            self.last_save = now;
            self.next_save = now + SAVE_INTERVAL;
        }
    }

    /// What an operator was told to hold, and what is ours, must be on disk as soon as the disk takes it again.
    fn saved(&mut self, now: Instant, is_saved: bool) {
        if is_saved {
            self.failed_saves = 0;
            return;
        }
        let (first, longest) = SAVE_RETRY;
        let pause = first.saturating_mul(2u32.saturating_pow(self.failed_saves)).min(longest);
        self.failed_saves = self.failed_saves.saturating_add(1);
        self.next_save = self.next_save.min(now + pause);
    }

    fn conclude(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        match self.life {
            Life::Running if !self.is_ready && self.reconciler.is_converged() => {
                self.is_ready = true;
                self.was_leaving.clear();
                self.was_staying.clear();
                self.find_templates();
                let keys: Vec<ServiceKey> = self.pools.values().map(Pool::key).collect();
                let entries: Vec<_> = keys.iter().filter_map(|k| self.reconciler.actual(k)).collect();
                let destinations = entries.iter().map(|e| e.destinations.len()).sum();
                effects.push(Effect::Event(Event::Ready { services: entries.len(), destinations }));
            }
            Life::Stopping { give_up } if self.is_released() || now >= give_up => {
                self.life = Life::Finished;
                effects.push(Effect::SaveState(self.state()));
                effects.push(Effect::Finished { is_clean: self.is_released() });
            }
            Life::HandingOver if !self.is_kernel_busy() => {
                self.life = Life::Finished;
                effects.push(Effect::Finished { is_clean: true });
            }
            _ => {}
        }
    }

    /// What a successor would have to know now.
    pub fn state(&self) -> State {
        let known = |virtual_server, real_server: &SocketAddr, deadline: &Instant| KnownLeaving {
            virtual_server,
            real_server: *real_server,
            deadline: *deadline,
        };
        // Those of the last life, until the kernel has been read: a crash before that must not cut them.
        let still = |was: &BTreeMap<PoolMemberKey, Instant>| -> Vec<KnownLeaving> {
            was.iter().map(|((id, at), deadline)| known(*id, at, deadline)).collect()
        };
        let (mut leaving, mut staying) = (still(&self.was_leaving), still(&self.was_staying));
        for (id, pool) in self.left.keys().filter_map(|id| self.pools.get_key_value(&id)) {
            leaving.extend(pool.leaving.iter().map(|(at, l)| known(*id, at, &l.deadline)));
            staying.extend(pool.staying.iter().map(|(at, s)| known(*id, at, &s.deadline)));
        }
        let overrides = self.overrides.iter().map(|((id, at), admin)| KnownOverride {
            virtual_server: *id,
            real_server: *at,
            admin: *admin,
        });
        State {
            leaving,
            staying,
            overrides: overrides.collect(),
            owned: self.reconciler.owned().iter().map(|key| desired::virtual_server_id(*key)).collect(),
            down: reload::all_known_down(&self.checkers),
            original_timeouts: self.reconciler.settings().original(),
            sync_daemons: self.reconciler.settings().started().to_vec(),
        }
    }

    fn builder(&mut self, now: Instant) -> MemberBuilder<'_> {
        MemberBuilder {
            by_spec: self.checkers.by_spec(),
            checkers: &mut self.checkers,
            overrides: &self.overrides,
            rng: &mut self.rng,
            now,
            ended: Vec::new(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }
}
