//! The router: every decision about virtual routers and their addresses, pure.
//!
//! Input and `now` go in, effects come out; it never reads a clock, never waits, never fails and knows no socket.
//! [`Instance`](super::instance::Instance)s decide what advertisements mean, `transition` moves them (with their sync
//! groups), `receive` handles packets, `reload` carries state over, [`AddressReconciler`] reconciles the host's
//! addresses. The daemon's router thread performs the effects, the simulated world in `sim` does so in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::announce::AnnounceableLinks;
use super::addresses::announce::announcer::Announcer;
use super::addresses::reconcile::AddressReconciler;
use super::assertion::Assertions;
use super::binding::sockets::SocketStates;
use super::event::Event;
use super::group::Group;
use super::instance::Reaction;
use super::io::{CrashPlan, DirectorLevel, Effect, Endpoint, Input, State, TrackLevel};
use super::log_limit::LogLimit;
use super::member::Member;
use super::other_nodes::OtherNodes;
use super::reload::Leaving;
use super::settings::{Settings, Track, TrackTarget};
use super::tracking::levels::{self, Levels};
use super::tracking::link_delay::DelayedLinks;
use super::tracking::relevance::Relevance;
use crate::bfd::sessions::Level;
use crate::net::types::{Host, LinkIndex};
use crate::time::{Instant, milliseconds};

/// Longest time a stop waits for the kernel.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Lateness that operators should know of.
const LATE: Duration = Duration::from_millis(100);
/// Shortest time between two reports of lateness.
const LATE_PAUSE: Duration = Duration::from_secs(60);
/// Catching up that took longer is repeated, at most so often: the process was stopped again meanwhile.
const CATCH_UP_LIMIT: (Duration, u32) = (Duration::from_millis(5), 3);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Running,
    Stopping { give_up: Instant },
    Finished,
}

/// Every packet that has arrived is being read, before a timer that is late decides.
#[derive(Clone, Copy, Debug)]
struct CatchUp {
    since: Instant,
    times: u32,
}

/// Every virtual router of this host.
#[derive(Debug)]
pub(crate) struct Router {
    /// The whole file's.
    pub(super) configured: Arc<Settings>,
    /// Those that run here: without the instances of [`other_nodes`](Router::other_nodes).
    pub(super) settings: Arc<Settings>,
    pub(super) other_nodes: OtherNodes,
    pub(super) members: BTreeMap<String, Member>,
    /// Masters whose VRID or interface changed.
    pub(super) leaving: Vec<Leaving>,
    pub(super) groups: Vec<Group>,
    /// A sync group has members that are Master and members that are Backup.
    pub(super) has_split_group: bool,
    pub(super) reconciler: AddressReconciler,
    pub(super) announcer: Announcer,
    pub(super) announceable: AnnounceableLinks,
    pub(super) relevance: Relevance,
    pub(super) levels: Levels,
    pub(super) log_limit: LogLimit,
    pub(super) assertions: Assertions,
    pub(super) host: Option<Host>,
    pub(super) director: Option<DirectorLevel>,
    /// Packets that belong to no instance here, by kind.
    pub(super) unknown_vrid: BTreeMap<&'static str, u64>,
    /// Why something may have changed, in words.
    pub(super) cause: String,
    /// What instances stand on has to be looked at again.
    pub(super) is_dirty: bool,
    /// Levels, desired network and crash_plan have to be made anew.
    pub(super) is_stale: bool,
    life: Life,
    starts_at: Instant,
    wall_offset: Duration,
    pub(super) delayed_links: DelayedLinks,
    /// Links that forward IPv6.
    pub(super) router_links: BTreeSet<LinkIndex>,
    listening: Arc<BTreeSet<Endpoint>>,
    /// What became of those sockets.
    pub(super) sockets: SocketStates,
    joined: BTreeSet<(LinkIndex, IpAddr)>,
    pub(super) crash_plan: Arc<CrashPlan>,
    catch_up: Option<CatchUp>,
    late_reported: Option<Instant>,
    late_times: u64,
}

impl Router {
    /// All instances in Init, nothing known of the host. `seed` is all its chance.
    pub(crate) fn new(settings: Arc<Settings>, seed: u64, now: Instant) -> Router {
        let members = settings.instances.iter();
        let members = members.map(|s| (s.name.clone(), Member::new(Arc::clone(s), now))).collect();
        let mut announcer = Announcer::default();
        announcer.set_pacing(&settings.pacing);
        let mut assertions = Assertions::default();
        // Nothing runs yet that would have to end.
        assertions.configure(&settings, &BTreeMap::new(), now, &mut Vec::new());
        Router {
            members,
            leaving: Vec::new(),
            has_split_group: false,
            groups: settings.groups.iter().map(|g| Group::new(Arc::clone(g))).collect(),
            reconciler: AddressReconciler::new(seed),
            announcer,
            announceable: AnnounceableLinks::default(),
            relevance: Relevance::of(&settings),
            levels: Levels::default(),
            log_limit: LogLimit::default(),
            assertions,
            host: None,
            director: None,
            unknown_vrid: BTreeMap::new(),
            cause: "start".to_owned(),
            is_dirty: true,
            is_stale: true,
            life: Life::Running,
            starts_at: now + settings.startup_delay,
            wall_offset: Duration::ZERO,
            delayed_links: DelayedLinks::default(),
            router_links: BTreeSet::new(),
            listening: Arc::default(),
            sockets: SocketStates::default(),
            joined: BTreeSet::new(),
            crash_plan: Arc::default(),
            catch_up: None,
            late_reported: None,
            late_times: 0,
            configured: Arc::clone(&settings),
            settings,
            other_nodes: OtherNodes::new(),
        }
    }

    /// Takes an input and says what is to be done.
    pub(crate) fn handle(&mut self, now: Instant, input: Input, out: &mut Vec<Effect>) {
        if self.life == Life::Finished {
            return;
        }
        match input {
            Input::Wake => {}
            Input::Host(host) => self.read_host(host, now),
            Input::HostEvent(event) => self.handle_host_event(&event, now),
            Input::Received(datagram) => self.receive(&datagram, now, out),
            Input::CaughtUp => self.caught_up(now, out),
            Input::Sockets(sockets) => {
                if self.sockets.failed != sockets.failed {
                    self.cause = match sockets.failed.values().next() {
                        None => "all sockets are open".to_owned(),
                        Some(failure) => failure.to_string(),
                    };
                }
                self.is_dirty |= self.sockets != sockets;
                self.sockets = sockets;
            }
            Input::Tracked { target, level } => self.track(target, level),
            Input::Session(session) => {
                self.track(TrackTarget::Bfd(session.name.clone()), TrackLevel::Is(session.is_up));
                // Priorities first: what they move of a timer is not to delay this.
                self.advance(now, out);
                return self.session_is(&session, now);
            }
            Input::Director(level) => {
                if self.director.as_ref() != Some(&level) {
                    self.cause = match &level.cannot_forward {
                        Some(reason) => format!("this host cannot forward: {reason}"),
                        None => "this host can forward".to_owned(),
                    };
                    self.director = Some(level);
                    self.is_dirty = true;
                }
            }
            Input::Clock(offset) => {
                self.wall_offset = offset;
                self.is_stale = true;
            }
            Input::RouterLinks(links) => self.router_links = links,
            Input::Inherited { handover, age } => self.inherit(&handover, age, now),
            Input::Applied(refusals) => {
                if let Some(host) = &mut self.host {
                    self.reconciler.applied(&refusals, host, now);
                }
                self.cause = "the kernel answered".to_owned();
                self.is_dirty = true;
            }
            Input::NotSent(announcements) => self.announcer.give_back(announcements),
            Input::Writable(link) => self.announcer.unblock(&link),
            Input::Asserted { number, ended } => self.asserted(number, &ended, now, out),
            Input::Reload(settings) => self.reload(settings, now, out),
            Input::Stop => self.stop(now, out),
            Input::HandOver => {
                if self.life == Life::Running {
                    self.hand_over(now, out);
                }
                self.life = Life::Finished;
                out.push(Effect::Finished);
                return;
            }
        }
        self.advance(now, out);
    }

    /// When it wants [`Input::Wake`]; later than `now` after every input.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let own = match self.life {
            Life::Finished => return None,
            Life::Stopping { give_up } => {
                return [Some(give_up), self.reconciler.deadline()].into_iter().flatten().min();
            }
            Life::Running => {
                let leaving = self.leaving.iter().map(|l| l.until).min();
                let inheritance = self.inheritance_ends();
                [
                    self.reconciler.deadline(),
                    self.init_deadline(),
                    leaving,
                    self.delayed_links.deadline(),
                    self.levels.damped.deadline(),
                    self.assertions.deadline(),
                    inheritance,
                ]
            }
        };
        // While everything that arrived is being read, no timer decides.
        let is_catching_up = self.catch_up.is_some();
        let announcer = self.announcer.deadline().filter(|_| !is_catching_up);
        let members = self.members.values().filter(|_| !is_catching_up).filter_map(Member::deadline);
        own.into_iter().flatten().chain(announcer).chain(members).min()
    }

    /// UTC since 1970.
    pub(super) fn wall(&self, now: Instant) -> Duration {
        self.wall_offset + now.since(Instant::ZERO)
    }

    /// When the first instance may leave Init.
    pub(super) fn starts_at(&self) -> Instant {
        self.starts_at
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.life != Life::Running
    }

    pub(super) fn is_catching_up(&self) -> bool {
        self.catch_up.is_some()
    }

    pub(super) fn late_times(&self) -> u64 {
        self.late_times
    }

    fn track(&mut self, target: TrackTarget, level: TrackLevel) {
        if self.levels.measured(&target, &Host::default()) != Some(level) {
            let (what, how) = (levels::words(&target), levels::level_words(&target, Some(level)));
            self.cause = format!("{what} {how}");
            self.levels.set(target, level);
            self.is_dirty = true;
        }
    }

    /// The Master cannot be reached any more: an instance that follows the session with it does not wait for its silence.
    ///
    /// The neighbour must be the Master itself: a session with another host, as with a gateway, says nothing of the Master.
    /// A neighbour that ended the session is alive, and continues to advertise.
    fn session_is(&mut self, session: &Level, now: Instant) {
        let Some(silence) = session.silence else { return };
        let target = TrackTarget::Bfd(session.name.clone());
        let is_followed = |tracks: &[Track]| tracks.iter().any(|track| track.target == target);
        for (name, member) in &mut self.members {
            let of_groups = || self.groups.iter().any(|g| g.has(name) && is_followed(&g.settings.tracks));
            if is_followed(&member.settings().tracks) || of_groups() {
                member.instance.lose_neighbor(session.neighbor, silence, now);
            }
        }
    }

    fn caught_up(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(catch_up) = self.catch_up.take() else { return };
        if now.since(catch_up.since) > CATCH_UP_LIMIT.0 && catch_up.times < CATCH_UP_LIMIT.1 {
            self.catch_up = Some(CatchUp { since: now, times: catch_up.times + 1 });
            out.push(Effect::CatchUp);
            return;
        }
        self.fire(now, out);
    }

    fn stop(&mut self, now: Instant, out: &mut Vec<Effect>) {
        self.life = Life::Stopping { give_up: now + STOP_LIMIT };
        self.catch_up = None;
        for name in self.names() {
            self.leave(&name, State::Init, "stopped", true, now, out);
        }
        for leaving in &mut self.leaving {
            leaving.until = now;
        }
        self.finish_moves(now, out);
        self.is_stale = true;
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Does all that is due or follows from the last input: faults, transitions, timers, addresses, reports.
    fn advance(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.life == Life::Running {
            for link in self.delayed_links.take_due(now) {
                self.link_changed(&link);
            }
            while let Some(target) = self.levels.damped.end(now) {
                self.cause = format!("{} has been well for long enough", levels::words(&target));
                self.is_dirty = true;
            }
            self.disinherit(now);
            let is_init_due = self.init_deadline().is_some_and(|at| at <= now);
            if std::mem::take(&mut self.is_dirty) || is_init_due {
                if self.find_other_nodes(out) {
                    self.run(self.own_settings(), now, out);
                    self.is_dirty = false;
                }
                self.look_around(now, out);
            }
            self.finish_moves(now, out);
            self.run_timers(now, out);
        }
        self.assert_addresses(now, out);
        let was_stale = std::mem::take(&mut self.is_stale);
        if was_stale {
            self.update_desired();
            self.report_levels(out);
        }
        if let Some(host) = &self.host {
            if let Some(ops) = self.reconciler.plan(host, now) {
                out.push(Effect::Apply(ops));
            }
            out.extend(self.reconciler.take_events().into_iter().map(Effect::Event));
        }
        if self.life == Life::Running && !self.is_catching_up() {
            self.announce(now, out);
        }
        if was_stale {
            self.publish_crash_plan(now, out);
        }
        if let Life::Stopping { give_up } = self.life
            && (self.host.is_none() || self.reconciler.is_converged() || give_up <= now)
        {
            self.life = Life::Finished;
            out.push(Effect::Finished);
        }
    }

    fn run_timers(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.is_catching_up() || !self.members.values().any(|m| m.is_due(now)) {
            return;
        }
        let deaf = self.members.values().filter(|m| m.instance.must_receive_first(now));
        let lateness = deaf.filter_map(|m| m.instance.timer()).map(|at| now.since(at)).max();
        if let Some(lateness) = lateness {
            if self.members.values().any(|m| m.instance.is_late(now)) {
                self.was_late(lateness, now, out);
            }
            self.begin_catch_up(now, out);
            return;
        }
        self.fire(now, out);
    }

    /// Has every packet that has arrived read before a timer decides.
    pub(super) fn begin_catch_up(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.catch_up.is_none() {
            self.catch_up = Some(CatchUp { since: now, times: 1 });
            out.push(Effect::CatchUp);
        }
    }

    fn was_late(&mut self, lateness: Duration, now: Instant, out: &mut Vec<Effect>) {
        self.late_times += 1;
        let is_reported = self.late_reported.is_some_and(|at| now.since(at) < LATE_PAUSE);
        if lateness >= LATE && !is_reported {
            self.late_reported = Some(now);
            let milliseconds = milliseconds(lateness);
            out.push(Effect::Event(Event::Late { milliseconds }));
        }
    }

    /// Every timer that is due decides.
    fn fire(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let due = self.members.iter().filter(|(_, m)| m.is_due(now));
        for name in due.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            let Some(member) = self.members.get_mut(&name) else { continue };
            if member.instance.contention_ends().is_some_and(|at| at <= now)
                && let Some(rival) = member.instance.end_contention()
            {
                let (source, theirs) = (rival.source, rival.priority);
                let ours = member.instance.priority();
                let instance = name.clone();
                out.push(Effect::Event(Event::LowerPriority {
                    instance,
                    source,
                    theirs,
                    ours,
                    is_over: true,
                }));
                // The other one may have announced the addresses last, and asserted them.
                self.announce_again(&name);
                self.addresses_are_claimed(&name, now);
            }
            self.end_conflicts(&name, now, out);
            let Some(member) = self.members.get_mut(&name) else { continue };
            if member.instance.timer().is_none_or(|at| at > now) {
                continue;
            }
            match member.instance.expire() {
                Reaction::TakeOver => self.take_over(&name, now, out),
                Reaction::Advertise => self.advertise(&name, None, now, out),
                _ => {}
            }
        }
    }

    /// Sends an advertisement, with another priority than its own where one is given.
    pub(super) fn advertise(
        &mut self,
        name: &str,
        priority: Option<u8>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let wall = self.wall(now);
        let Some(member) = self.members.get_mut(name) else { return };
        let packets = member.advertisement(priority, wall);
        member.statistics.sent += u64::from(!packets.is_empty());
        if priority == Some(0) {
            member.statistics.priority_zero_sent += u64::from(!packets.is_empty());
        } else if member.state() == State::Master {
            member.instance.advertised(now);
        }
        self.is_stale |= member.is_signed();
        out.extend(packets.into_iter().map(Effect::Send));
    }

    fn report_levels(&mut self, out: &mut Vec<Effect>) {
        for member in self.members.values_mut() {
            let level = member.level();
            if member.reported_level.as_ref() != Some(&level) {
                out.push(Effect::Instance(level.clone()));
                member.reported_level = Some(level);
            }
        }
        self.report_groups(out);
    }

    /// Has the sockets open that the instances need now.
    pub(super) fn listen(&mut self, out: &mut Vec<Effect>) {
        let leaving = self.leaving.iter().map(|l| &l.member);
        let bindings = self.members.values().chain(leaving).map(|m| &m.binding);
        let groups: BTreeSet<_> = bindings.clone().flat_map(|binding| &binding.groups).copied().collect();
        if self.joined != groups {
            self.joined.clone_from(&groups);
            out.push(Effect::Join(groups));
        }
        let sockets = super::binding::sockets(bindings);
        let leaving = self.leaving.iter_mut().map(|l| &mut l.member);
        for member in self.members.values_mut().chain(leaving) {
            if let Some(own) = &mut member.binding.endpoint
                && let Some(socket) = sockets.iter().find(|s| super::binding::is_same(s, own))
            {
                own.clone_from(socket);
            }
        }
        if *self.listening != sockets {
            self.listening = Arc::new(sockets);
            out.push(Effect::Listen(Arc::clone(&self.listening)));
        }
    }
}

/// What an instance that is no owner has as a virtual address though it is the host's own: found as at a start.
pub(crate) fn hosts_own(settings: &Arc<Settings>, host: Host) -> Vec<Event> {
    let mut effects = Vec::new();
    Router::new(Arc::clone(settings), 0, Instant::ZERO).handle(
        Instant::ZERO,
        Input::Host(host),
        &mut effects,
    );
    let events = effects.into_iter().filter_map(|effect| match effect {
        Effect::Event(event) => Some(event),
        _ => None,
    });
    events.filter(|event| matches!(event, Event::HostsOwn { .. })).collect()
}
