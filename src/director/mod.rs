//! The director: every decision about virtual servers, pure.
//!
//! Input and `now` go in, effects come out ([`io`]); it never reads a clock, never waits, never fails and knows no socket.
//! [`checkers`] run on schedule, `runs` takes their outcomes, [`pool`]s turn their health into what the kernel should hold
//! ([`desired`]), `recompute` hands it to [`reconcile`], which finds the difference, and `kernel` requests the change.
//! [`colocation`] places services where this host is a real server, too; [`path_check`] checks the path of client traffic;
//! [`track_checks`] are checks whose verdicts virtual routers track; [`lvs_notifier`] says what of an [`event`] scripts, FIFOs
//! and mails are notified.
//!
//! [`reload`] carries state from one configuration to the next, `save` and [`state`] from one process to the next,
//! `lifecycle` is a stop and a hand-over. The shell in `daemon` performs the effects, the simulated world in `sim` does so in
//! virtual time: the same code decides in both.

pub(crate) mod admin_override;
pub(crate) mod arp_problem;
pub(crate) mod checkers;
pub(crate) mod colocation;
pub(crate) mod desired;
pub(crate) mod event;
pub(crate) mod files;
pub(crate) mod io;
mod kernel;
mod lifecycle;
pub(crate) mod lvs_notifier;
pub(crate) mod marks;
pub(crate) mod path_check;
pub(crate) mod pool;
pub(crate) mod preview;
pub(crate) mod problems;
mod recompute;
pub(crate) mod reconcile;
pub(crate) mod reload;
mod runs;
mod save;
mod sessions;
mod sources;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod staying;
#[cfg(test)]
mod steps;
pub(crate) mod summary;
mod suspension;
mod template_expiry;
mod timers;
pub(crate) mod track_checks;
pub(crate) mod vrrp_link;

#[cfg(test)]
mod sim;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use admin_override::AdminOverride;
use arp_problem::ArpProblems;
use checkers::{Checkers, PoolMemberKey};
use colocation::placement::Placement;
use event::Event;
use files::FileLevels;
use io::{Effect, Input};
use lifecycle::Life;
use lvs_notifier::LvsNotifier;
use path_check::PathChecks;
use pool::Pool;
use reconcile::settings::SettingsKeeper;
use reconcile::{Reconciler, Report};
use save::SaveSchedule;
use sessions::SessionLevels;
use sources::SourceKeeper;
use state::{KnownDown, KnownLeaving, State};
use suspension::Suspension;
use template_expiry::TemplateExpiry;
use timers::Timers;
use track_checks::TrackChecks;
use vrrp_link::VrrpLink;

use crate::check::spec::CheckerSpec;
use crate::config::{Config, VirtualServer, VirtualServerId};
use crate::time::Instant;

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
    sessions: SessionLevels,
    files: FileLevels,
    suspension: Suspension,
    /// This host's addresses were read at least once.
    knows_addresses: bool,
    track_checks: TrackChecks,
    arp_problems: ArpProblems,
    notifier: LvsNotifier,
    life: Life,
    is_ready: bool,
    changed_pools: BTreeSet<VirtualServerId>,
    /// Pools with results that wait: when they are recomputed.
    throttled: Timers<VirtualServerId>,
    overrides: BTreeMap<PoolMemberKey, AdminOverride>,
    was_leaving: BTreeMap<PoolMemberKey, Instant>,
    was_staying: BTreeMap<PoolMemberKey, Instant>,
    saves: SaveSchedule,
    templates: TemplateExpiry,
    /// Pools with half-open connections that may be a problem: few among thousands.
    half_open: BTreeSet<VirtualServerId>,
    /// Pools that a server is leaving, or will once it is replaced: when the first of them must have left.
    left: Timers<VirtualServerId>,
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
            sessions: SessionLevels::default(),
            files: FileLevels::default(),
            suspension: Suspension::default(),
            knows_addresses: false,
            track_checks: TrackChecks::default(),
            arp_problems: ArpProblems::new(),
            notifier: LvsNotifier::default(),
            life: Life::Running,
            is_ready: false,
            changed_pools: BTreeSet::new(),
            throttled: Timers::default(),
            overrides: state.overrides.iter().map(|o| ((o.virtual_server, o.real_server), o.admin)).collect(),
            was_leaving: deadlines(&state.leaving),
            was_staying: deadlines(&state.staying),
            saves: SaveSchedule::new(now),
            templates: TemplateExpiry::default(),
            half_open: BTreeSet::new(),
            left: Timers::default(),
            is_retirement_stale: true,
            config: Arc::clone(&config),
        };
        director.sessions.configure(&config, now);
        director.files.configure(&config, now);
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
        director.changed_pools.extend(director.pools.keys());
        // There is nothing yet that could be cancelled.
        director.configure_track_checks(&config, now, &mut Vec::new());
        director.configure_path_check();
        director.vrrp_link.configure(&config);
        director.configure_sources(&config);
        director.find_templates();
        // No address is known yet, and no checker runs: nothing is to be told or cancelled.
        director.configure_suspension(now, &config, &mut Vec::new(), &mut Vec::new());
        director
    }

    /// Takes one input and appends what is to be done about it.
    pub fn handle(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let mut events = Vec::new();
        // Neither time nor a real server's health moves them: where they are is read every second.
        self.is_retirement_stale |= !matches!(input, Input::Wake | Input::ProbeDone { .. });
        let is_reload = matches!(input, Input::Reload(_));
        match input {
            Input::Wake => {}
            Input::ProbeDone { run, outcome } => self.probe_done(now, run, outcome, &mut events, effects),
            Input::Snapshot(result) => {
                let mut report = Report { placement: &self.placement, events: &mut events };
                let readings = self.reconciler.on_snapshot(now, result, &mut report);
                self.take_readings(now, &readings, &mut events, effects);
            }
            Input::Applied(result) if self.path_check.is_kernel_busy() => {
                self.run_path_check(now, path_check::Input::Applied(&result), &mut events, effects);
            }
            Input::Applied(result) => {
                let mut report = Report { placement: &self.placement, events: &mut events };
                self.reconciler.on_applied(now, result, &mut report);
            }
            Input::Reload(config) => {
                self.sessions.configure(&config, now);
                self.files.configure(&config, now);
                self.reload(now, config, &mut events, effects);
                self.recompute_placement(&mut events);
            }
            Input::Override { selector, change } => self.apply_override(now, &selector, change, &mut events),
            Input::Instance(level) => {
                let vips: Vec<IpAddr> = level.addresses.iter().map(|held| held.ip).collect();
                if self.vrrp_link.set_instance(level) {
                    self.find_sources();
                }
                self.review_suspension(now, Some(&vips), &mut events, effects);
                self.set_desired_settings();
                self.changed_pools.extend(self.placement.ids());
            }
            Input::InstanceGone(name) => {
                self.vrrp_link.remove_instance(&name);
                self.find_sources();
                self.review_suspension(now, None, &mut events, effects);
                self.set_desired_settings();
                self.changed_pools.extend(self.placement.ids());
            }
            Input::Session(level) => self.session_is(level, now),
            Input::SessionGone(name) => self.session_is_gone(&name, now),
            Input::File(level) => self.file_says(level, now),
            Input::Host(host) => self.vrrp_link.set_host_forwards(host),
            Input::LocalAddresses(local) => {
                self.on_local_addresses(local, &mut events);
                self.knows_addresses = true;
                self.review_suspension(now, None, &mut events, effects);
            }
            Input::IngressMarks(ingress_marks) => self.ingress_marks_are(ingress_marks, &mut events),
            Input::ArpProblems(found) => self.on_arp_problems(found, &mut events),
            Input::Saved(is_saved) => self.saves.saved(now, is_saved),
            Input::ReadKernel => self.reconciler.read_now(),
            Input::Handshakes(sample) => self.on_handshakes(now, &sample, &mut events),
            Input::StopRequested => self.notify_stop(effects),
            Input::Stop => self.stop(now, effects),
            Input::HandOver => self.hand_over(effects),
        }
        self.advance(now, &mut events, effects);
        if is_reload {
            self.notify_reload(effects);
        }
    }

    /// Whether the kernel's table is read at all.
    pub fn reads_kernel(&self) -> bool {
        self.reconciler.is_needed()
    }

    /// When the last complete reading of the kernel's table began; None before the first, and while nothing of IPVS is needed.
    pub fn read_at(&self) -> Option<Instant> {
        self.reconciler.read_at()
    }

    /// The specifications of all checkers that still run, those of real servers on their way out included.
    pub(crate) fn checker_specs(&self) -> impl Iterator<Item = &Arc<CheckerSpec>> {
        self.checkers.specs()
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
        let pools = self.left.first().into_iter().chain(self.throttled.first());
        [self.checkers.deadline(), paths, pools.min(), self.kernel_deadline(), Some(self.saves.deadline())]
            .into_iter()
            .flatten()
            .min()
    }

    fn set_desired_settings(&mut self) {
        if self.life == Life::Running {
            let global = &self.config.global;
            self.reconciler.settings_mut().set_desired(global.timeouts, self.vrrp_link.sync_daemons(global));
        }
    }

    /// Does all that is due: probes, pools, the next request to the kernel, the end.
    fn advance(&mut self, now: Instant, events: &mut Vec<Event>, effects: &mut Vec<Effect>) {
        if self.life == Life::Running {
            self.begin_checks(now, events, effects);
            self.recompute_pools(now, events, effects);
            self.report_track_checks(now, events, effects);
            if std::mem::take(&mut self.is_retirement_stale) {
                self.update_retired(now);
            }
            self.emit_markings(effects);
            effects.extend(self.templates.changed(now).map(Effect::ExpireTemplates));
        }
        let request = match self.life {
            Life::Running | Life::Stopping { .. } => self.kernel_request(now, events),
            Life::HandingOver | Life::Finished => None,
        };
        events.drain(..).for_each(|event| self.report(event, effects));
        self.save(now, request.as_ref(), effects);
        effects.extend(request.map(Effect::Kernel));
        self.conclude(now, effects);
        if self.life == Life::Running {
            let global = &self.config.global;
            let level =
                self.vrrp_link.changed_level(self.is_ready, &mut self.reconciler, &self.placement, global);
            effects.extend(level.map(Effect::Router));
        }
    }
}
