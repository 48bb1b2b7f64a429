//! One virtual router by the book (RFC 3768, RFC 9568 section 6.4): four states and one timer.
//!
//! It decides what an advertisement or the end of its timer means, and keeps what follows from it. It knows no
//! packets, addresses, links or other instances: the router calls it, and moves it from state to state.
//!
//! The file is long because the RFC's state machine is one thing: each of its rules reads the same few fields.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::io::State;
use super::settings::{Beginning, InstanceSettings, Version};
use crate::time::Instant;

/// Longest time a timer may be late without effect; less where a priority's skew is less.
const SLACK: Duration = Duration::from_millis(5);
/// Answers to lower priorities and to priority 0 in one interval: a storm of those must not become one of ours.
const ANSWERS: u8 = 8;
/// How late a busy machine may make the sign of life that comes with an advertisement.
const JITTER: Duration = Duration::from_millis(20);
/// Own intervals without an advertisement of lower priority after which the contention is over.
const CONTENTION_END: u32 = 3;
/// Routers whose highest priority is remembered.
const REMEMBERED: usize = 32;
/// Own intervals in which a Master of lower priority should have yielded.
const PATIENCE: u32 = 5;

/// A virtual router of this host.
#[derive(Debug)]
pub(super) struct Instance {
    settings: Arc<InstanceSettings>,
    state: State,
    since: Instant,
    /// Backup: when the Master is given up. Master: the next advertisement. None: it waits for its group.
    timer: Option<Instant>,
    priority: u8,
    source: Option<IpAddr>,
    master: Option<Claim>,
    learnt: Option<Duration>,
    preempts_from: Option<Instant>,
    contention: Option<Contention>,
    /// The Master this one took over from, if there was one.
    predecessor: Option<IpAddr>,
    /// Backup: for how long the Master answered no BFD packets, as long as it has not advertised since.
    unreachable_for: Option<Duration>,
    /// Its sync group is Master already, so it takes over from a lower Master, even with `nopreempt`.
    joins_a_master: bool,
    /// The highest priority each other router was heard with, and when it was last heard.
    highest: BTreeMap<IpAddr, (u8, Instant)>,
    answers: u8,
}

/// Another Master with a lower priority advertises while this one is Master.
#[derive(Clone, Copy, Debug)]
struct Contention {
    begun: Instant,
    /// When it is forgotten.
    ends: Instant,
    /// The last claim of a rival: more than the last word of the Master before. It was reported, and its end will be.
    rival: Option<Claim>,
}

/// An advertisement that was accepted: its sender claims to be Master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub source: IpAddr,
    /// 0: no longer.
    pub priority: u8,
    /// How often it says so, where that is to be believed.
    pub interval: Option<Duration>,
}

/// What follows from something heard, or from the end of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    Nothing,
    /// There is a Master, and it stays.
    Follow,
    Advertise,
    /// A Master received a lower priority: it advertises at once, unless it is to be silent.
    Assert {
        /// The first one after a time without.
        is_first: bool,
        /// The first one that is no answer to this Master's first words.
        is_rival: bool,
        /// It was not said too often in this interval.
        is_due: bool,
        /// The other one should have yielded long ago.
        is_in_vain: bool,
    },
    /// There is a better Master.
    Yield,
    /// There is no Master, or none good enough.
    TakeOver,
}

impl Instance {
    pub(super) fn new(settings: Arc<InstanceSettings>, now: Instant) -> Instance {
        Instance {
            state: State::Init,
            since: now,
            timer: None,
            priority: settings.priority,
            source: None,
            master: None,
            learnt: None,
            preempts_from: None,
            contention: None,
            predecessor: None,
            unreachable_for: None,
            joins_a_master: false,
            highest: BTreeMap::new(),
            answers: 0,
            settings,
        }
    }

    /// What it is to be.
    pub(super) fn settings(&self) -> &Arc<InstanceSettings> {
        &self.settings
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// When it wants to be asked what follows from the silence.
    pub(super) fn timer(&self) -> Option<Instant> {
        self.timer
    }

    /// Its effective priority.
    pub(super) fn priority(&self) -> u8 {
        self.priority
    }

    /// The address it speaks from.
    pub(super) fn source(&self) -> Option<IpAddr> {
        self.source
    }

    /// The other host that was last heard as Master.
    pub(super) fn master(&self) -> Option<Claim> {
        self.master.filter(|_| self.state != State::Master)
    }

    /// The addresses are its own (RFC 9568 section 6.1).
    pub(super) fn is_owner(&self) -> bool {
        self.settings.priority == 255
    }

    /// It becomes Master without waiting.
    pub(super) fn begins_as_master(&self) -> bool {
        self.is_owner() && self.settings.beginning == Beginning::Master
    }

    /// The time is up, and its group does not agree yet.
    pub(super) fn waits_for_group(&self) -> bool {
        self.state == State::Backup && self.timer.is_none()
    }

    /// The Master's interval: version 3 learns it.
    pub(super) fn interval(&self) -> Duration {
        match self.settings.version {
            Version::V2 => self.settings.advert_interval,
            Version::V3 => self.learnt.unwrap_or(self.settings.advert_interval),
        }
    }

    /// How much later than the best one this one takes over.
    pub(super) fn skew(&self) -> Duration {
        self.skew_of(self.priority)
    }

    fn skew_of(&self, priority: u8) -> Duration {
        let unit = match self.settings.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => self.interval(),
        };
        unit * (256 - u32::from(priority)) / 256
    }

    /// Silence after which there is no Master.
    pub(super) fn master_down(&self) -> Duration {
        self.interval() * u32::from(self.settings.missed_adverts) + self.skew()
    }

    /// The timer's end is so long ago that this host must have been short of time.
    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.timer.is_some_and(|at| now.since(at) > self.skew().min(SLACK))
    }

    /// What arrived has to be read before the end of the timer decides: always before a takeover, for a process that
    /// slept until just before its timer has not read either; of a Master only when it is late.
    pub(super) fn must_receive_first(&self, now: Instant) -> bool {
        match self.state {
            State::Backup => self.timer.is_some_and(|at| at <= now),
            _ => self.is_late(now),
        }
    }

    /// A Master that was silent for so long that others had to take it for dead.
    fn was_given_up(&self, now: Instant) -> bool {
        let missed = u32::from(self.settings.missed_adverts);
        self.timer.is_some_and(|at| now.since(at) >= self.settings.advert_interval * (missed.max(1) - 1))
    }

    /// An advertisement was accepted.
    pub(super) fn receive(&mut self, now: Instant, claim: Claim) -> Reaction {
        if self.is_owner() && self.settings.owner_ignores_adverts {
            return Reaction::Nothing;
        }
        self.remember(now, claim);
        match self.state {
            State::Init | State::Fault => Reaction::Nothing,
            State::Backup => self.receive_as_backup(now, claim),
            State::Master => self.receive_as_master(now, claim),
        }
    }

    fn remember(&mut self, now: Instant, claim: Claim) {
        if !self.highest.contains_key(&claim.source) && self.highest.len() >= REMEMBERED {
            let oldest = self.highest.iter().min_by_key(|(_, (_, heard))| *heard).map(|(source, _)| *source);
            if let Some(oldest) = oldest {
                self.highest.remove(&oldest);
            }
        }
        let known = self.highest.entry(claim.source).or_insert((claim.priority, now));
        *known = (known.0.max(claim.priority), now);
    }

    /// A Master that was heard with a higher priority: its tracks have lowered it.
    fn is_ill(&self, claim: Claim) -> bool {
        self.highest.get(&claim.source).is_some_and(|(highest, _)| *highest > claim.priority)
    }

    /// Whether a Master of lower priority is to be replaced.
    fn replaces(&self, claim: Claim) -> bool {
        self.settings.preempts || (self.settings.preempts_ill && self.is_ill(claim))
    }

    /// Why a better Backup leaves a Master alone, in words.
    pub(super) fn holds_back(&self, now: Instant) -> Option<String> {
        let claim = self
            .master
            .filter(|m| self.state == State::Backup && (1..self.priority).contains(&m.priority))?;
        let reason = if self.replaces(claim) {
            let left = self.preempts_from.map(|from| from.since(now)).filter(|left| !left.is_zero())?;
            format!("preempt_delay, {} s more", left.as_secs() + 1)
        } else if self.settings.preempts_ill {
            "preempt healthier, and that Master was never heard with more".to_owned()
        } else {
            "nopreempt".to_owned()
        };
        Some(format!("better ({} > {}), waits: {reason}", self.priority, claim.priority))
    }

    fn receive_as_backup(&mut self, now: Instant, claim: Claim) -> Reaction {
        if claim.priority == 0 {
            // Never later than it is: repeated packets of priority 0 must not delay the takeover.
            let soon = now + self.skew();
            self.master = Some(claim);
            self.timer = self.timer.map(|at| at.min(soon));
            return Reaction::Follow;
        }
        self.predecessor = Some(claim.source);
        let is_lower = claim.priority < self.priority;
        if is_lower && self.joins_a_master {
            return Reaction::Nothing;
        }
        if is_lower && self.replaces(claim) {
            let delay = self.settings.preempt_delay;
            let from = *self.preempts_from.get_or_insert(now + delay);
            if now >= from {
                return Reaction::Nothing;
            }
        }
        if !is_lower || !self.replaces(claim) {
            self.preempts_from = None;
        }
        self.follow(now, claim);
        Reaction::Follow
    }

    fn receive_as_master(&mut self, now: Instant, claim: Claim) -> Reaction {
        if claim.priority == 0 {
            return if self.may_answer() { Reaction::Advertise } else { Reaction::Nothing };
        }
        // An instance that was replaced and does not preempt stays Backup.
        let is_lost = claim.priority < self.priority && !self.replaces(claim) && self.was_given_up(now);
        if is_lost || self.is_outdone_by(claim) {
            self.master = Some(claim);
            return Reaction::Yield;
        }
        let interval = self.settings.advert_interval;
        let end = now + interval * CONTENTION_END;
        let before = self.contention;
        let begun = before.map_or(now, |e| e.begun);
        let was_reported = before.is_some_and(|e| e.rival.is_some());
        // A Master that has just been replaced says one last word, so that its successor announces the addresses again.
        let is_last_word = self.predecessor == Some(claim.source) && now.since(self.since) < interval;
        let is_rival = !was_reported && !is_last_word;
        self.contention =
            Some(Contention { begun, ends: end, rival: Some(claim).filter(|_| was_reported || is_rival) });
        let is_in_vain = now.since(begun) > interval * PATIENCE;
        Reaction::Assert { is_first: before.is_none(), is_rival, is_due: self.may_answer(), is_in_vain }
    }

    fn may_answer(&mut self) -> bool {
        let may = self.answers < ANSWERS;
        self.answers = self.answers.saturating_add(1);
        may
    }

    /// A neighbour was silent for too long for BFD: if it is the Master, it is given up, and Backups take over in the order
    /// of their priorities within another such time. An advertisement of it makes this undone.
    pub(super) fn lose_neighbor(&mut self, neighbor: IpAddr, silence: Duration, now: Instant) {
        let is_master = self.master.is_some_and(|claim| claim.source == neighbor);
        if self.state == State::Backup && is_master {
            let soon = now + silence * (256 - u32::from(self.priority)) / 256;
            self.timer = self.timer.map(|at| at.min(soon));
            self.unreachable_for = Some(silence);
        }
    }

    /// For how long the Master could not be reached.
    pub(super) fn unreachable_for(&self) -> Option<Duration> {
        self.unreachable_for
    }

    fn follow(&mut self, now: Instant, claim: Claim) {
        self.unreachable_for = None;
        // An interval that is not to be believed yet does not undo the one that was.
        let is_same = self.master.is_some_and(|known| known.source == claim.source);
        let known = self.learnt.filter(|_| is_same);
        self.master = Some(claim);
        self.learnt = claim.interval.or(known);
        self.timer = Some(now + self.master_down());
    }

    /// A Master's process that shows nothing for so long hangs, or is stopped, and others have taken over.
    pub(super) fn allowed_silence(&self) -> Duration {
        let interval = self.settings.advert_interval;
        interval * u32::from(self.settings.missed_adverts) + (interval / 2).max(JITTER)
    }

    /// Master: for how long from now on no other router takes over; a Backup of the highest priority waits for so many
    /// advertisements after the last one. None: it is no Master, or was silent for so long.
    pub(super) fn is_sole_for(&self, now: Instant) -> Option<Duration> {
        let next = self.timer.filter(|_| self.state == State::Master)?;
        let interval = self.settings.advert_interval;
        let until = next + interval * (u32::from(self.settings.missed_adverts).max(1) - 1);
        Some(until.since(now)).filter(|time| !time.is_zero())
    }

    /// The end of the timer.
    pub(super) fn expire(&mut self) -> Reaction {
        match self.state {
            State::Init | State::Fault => {
                self.timer = None;
                Reaction::Nothing
            }
            State::Backup => {
                self.timer = None;
                Reaction::TakeOver
            }
            State::Master => Reaction::Advertise,
        }
    }

    /// An advertisement was sent, in its turn or as an answer.
    pub(super) fn advertised(&mut self, now: Instant) {
        let interval = self.settings.advert_interval;
        let is_regular = self.timer.is_none_or(|at| at <= now);
        if is_regular {
            self.answers = 0;
        }
        // From the time it was due, so that they do not drift; from now where that is past.
        let next = self.timer.filter(|_| is_regular).map(|at| at + interval).filter(|at| *at > now);
        self.timer = Some(next.unwrap_or(now + interval));
    }

    /// Moves to a state; the reason is the router's.
    pub(super) fn enter(&mut self, state: State, now: Instant) {
        (self.state, self.since) = (state, now);
        self.preempts_from = None;
        self.contention = None;
        self.unreachable_for = None;
        self.answers = 0;
        self.timer = match state {
            State::Init | State::Fault => {
                (self.master, self.learnt, self.predecessor) = (None, None, None);
                None
            }
            State::Backup => {
                self.predecessor = None;
                // A Master that made this one yield is heard, and its interval counts from now on.
                self.learnt = self.master.and_then(|m| m.interval);
                Some(now + self.master_down())
            }
            State::Master => {
                (self.master, self.learnt) = (None, None);
                Some(now + self.settings.advert_interval)
            }
        };
    }

    /// The group does not go along: from the beginning.
    pub(super) fn wait_again(&mut self, now: Instant) {
        if self.state == State::Backup {
            self.timer = Some(now + self.master_down());
        }
    }

    /// Its time was up, and now its group agrees: it listens once more and takes over.
    pub(super) fn try_again(&mut self, now: Instant) {
        if self.waits_for_group() {
            self.timer = Some(now);
        }
    }

    /// Whether its sync group is Master without it.
    pub(super) fn set_joins_a_master(&mut self, joins: bool) {
        self.joins_a_master = joins;
    }

    /// Another address to speak from.
    pub(super) fn set_source(&mut self, source: Option<IpAddr>) {
        self.source = source;
    }

    /// Another effective priority: the pending takeover moves by the difference of skews.
    pub(super) fn set_priority(&mut self, priority: u8) {
        let (before, after) = (self.skew_of(self.priority), self.skew_of(priority));
        self.priority = priority;
        if self.state == State::Backup {
            self.timer = self.timer.map(|at| Instant::ZERO + (at + after).since(Instant::ZERO + before));
        }
    }

    /// Other settings for the same virtual router: its state stays.
    pub(super) fn set_settings(&mut self, settings: Arc<InstanceSettings>, now: Instant) {
        let before = std::mem::replace(&mut self.settings, settings);
        let is_timed_otherwise = before.advert_interval != self.settings.advert_interval
            || before.missed_adverts != self.settings.missed_adverts
            || before.version != self.settings.version;
        if is_timed_otherwise {
            self.learnt = None;
            self.timer = match self.state {
                State::Init | State::Fault => None,
                State::Backup => self.timer.map(|_| now + self.master_down()),
                State::Master => self.timer.map(|at| at.min(now + self.settings.advert_interval)),
            };
        }
    }

    /// When a lower priority was not heard for long enough.
    pub(super) fn contention_ends(&self) -> Option<Instant> {
        self.contention.map(|e| e.ends)
    }

    /// It was not. The last claim, if it was a rival's.
    pub(super) fn end_contention(&mut self) -> Option<Claim> {
        self.contention.take().and_then(|e| e.rival)
    }

    /// Whether a claim is better than what this one could claim itself.
    pub(super) fn is_outdone_by(&self, claim: Claim) -> bool {
        match claim.priority.cmp(&self.priority) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => self.source.is_some_and(|own| claim.source > own),
            std::cmp::Ordering::Less => false,
        }
    }

    /// Whether an interval may be believed at once: foreign ones are bounded, or one packet would make this host blind
    /// for minutes, or claim before its time.
    pub(super) fn believes(&self, interval: Duration) -> bool {
        let own = self.settings.advert_interval;
        interval >= own / 4 && interval <= own * 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::sim::site;

    const NOW: Instant = Instant::from_nanos(1_000_000_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    /// What can happen to an instance of priority 100 at 10.0.0.5.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Happens {
        GoodBye,
        Lower,
        EqualFromBelow,
        EqualFromAbove,
        Higher,
        Silence,
    }

    use Happens::*;
    const ALL: [Happens; 6] = [GoodBye, Lower, EqualFromBelow, EqualFromAbove, Higher, Silence];
    const STATES: [State; 4] = [State::Init, State::Backup, State::Master, State::Fault];

    fn instance(state: State, preempts: bool) -> Instance {
        let settings = InstanceSettings { preempts, ..site::instance("a", 51, 100) };
        let mut instance = Instance::new(Arc::new(settings), NOW);
        instance.set_source(Some([10, 0, 0, 5].into()));
        instance.enter(state, NOW);
        instance
    }

    fn happen(instance: &mut Instance, what: Happens) -> Reaction {
        let claim =
            |priority, last: u8| Claim { source: [10, 0, 0, last].into(), priority, interval: Some(SECOND) };
        match what {
            GoodBye => instance.receive(NOW + SECOND, claim(0, 9)),
            Lower => instance.receive(NOW + SECOND, claim(99, 9)),
            EqualFromBelow => instance.receive(NOW + SECOND, claim(100, 4)),
            EqualFromAbove => instance.receive(NOW + SECOND, claim(100, 6)),
            Higher => instance.receive(NOW + SECOND, claim(101, 4)),
            Silence => instance.expire(),
        }
    }

    /// RFC 9568 section 6.4, and Fault: what follows, and what becomes of the timer (from `NOW`).
    fn expected(state: State, preempts: bool, what: Happens) -> (Reaction, Option<Duration>) {
        let down = 3 * SECOND + SECOND * 156 / 256;
        let skew = SECOND * 156 / 256;
        let assert = Reaction::Assert { is_first: true, is_rival: true, is_due: true, is_in_vain: false };
        match (state, what) {
            (State::Init | State::Fault, _) => (Reaction::Nothing, None),
            (State::Backup, GoodBye) => (Reaction::Follow, Some(SECOND + skew)),
            (State::Backup, Lower) if preempts => (Reaction::Nothing, Some(down)),
            (State::Backup, Lower | EqualFromBelow | EqualFromAbove | Higher) => {
                (Reaction::Follow, Some(SECOND + down))
            }
            (State::Backup, Silence) => (Reaction::TakeOver, None),
            (State::Master, GoodBye | Silence) => (Reaction::Advertise, Some(SECOND)),
            (State::Master, Lower | EqualFromBelow) => (assert, Some(SECOND)),
            (State::Master, EqualFromAbove | Higher) => (Reaction::Yield, Some(SECOND)),
        }
    }

    #[test]
    fn every_state_answers_everything_that_can_happen_as_the_standard_says() {
        for state in STATES {
            for preempts in [true, false] {
                for what in ALL {
                    let mut instance = instance(state, preempts);
                    let reaction = happen(&mut instance, what);
                    let timer = instance.timer().map(|at| at.since(NOW));
                    let want = expected(state, preempts, what);
                    assert_eq!((reaction, timer), want, "{state}, preempts {preempts}: {what:?}");
                    assert_eq!(instance.state(), state, "only the router moves it");
                }
            }
        }
    }

    #[test]
    fn entering_a_state_sets_its_timer_from_every_other() {
        for from in STATES {
            for to in STATES {
                let mut instance = instance(from, true);
                instance.enter(to, NOW + SECOND);
                let timer = instance.timer().map(|at| at.since(NOW + SECOND));
                let want = match to {
                    State::Init | State::Fault => None,
                    State::Backup => Some(3 * SECOND + SECOND * 156 / 256),
                    State::Master => Some(SECOND),
                };
                assert_eq!((timer, instance.since()), (want, NOW + SECOND), "{from} -> {to}");
            }
        }
    }

    #[test]
    fn an_owner_that_ignores_advertisements_ignores_all_of_them() {
        let settings = InstanceSettings { owner_ignores_adverts: true, ..site::instance("a", 51, 255) };
        let mut owner = Instance::new(Arc::new(settings), NOW);
        owner.enter(State::Master, NOW);
        for what in [GoodBye, Lower, EqualFromBelow, EqualFromAbove, Higher] {
            assert_eq!(happen(&mut owner, what), Reaction::Nothing, "{what:?}");
        }
    }

    #[test]
    fn advertisements_do_not_drift_with_small_delays_and_are_not_made_up_for() {
        let mut master = instance(State::Master, true);
        let late = NOW + SECOND + Duration::from_millis(3);
        master.advertised(late);
        assert_eq!(master.timer(), Some(NOW + 2 * SECOND));
        let much_later = NOW + 10 * SECOND;
        master.advertised(much_later);
        assert_eq!(master.timer(), Some(much_later + SECOND));
    }
}
