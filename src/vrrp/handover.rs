//! What a process hands over to the next one: which instances are Master and for how long no peer can have taken over, the
//! counters that packets carry, and the levels of tracks.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::io::{Effect, State, TrackLevel};
use super::member::Member;
use super::packet::{Counters, ReplayWindow};
use super::router::Router;
use super::settings::{Family, InstanceSettings, TrackTarget};
use super::tracking::damping::DampedHandover;
use crate::bfd::session::SessionHandover;
use crate::time::Instant;

/// Everything that is handed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// Instances by name.
    pub instances: BTreeMap<String, InstanceHandover>,
    /// How scripts, files and processes were.
    pub tracks: Vec<(TrackTarget, TrackLevel)>,
    /// How often what is damped failed lately.
    #[serde(default)]
    pub damped: Vec<DampedHandover>,
    /// BFD sessions that are up; the shell has them.
    #[serde(default)]
    pub sessions: Vec<SessionHandover>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceHandover {
    pub vrid: u8,
    pub family: Family,
    pub interface: Option<String>,
    /// Master: for how long from the hand-over on no peer takes over. None: it was not Master.
    pub is_sole_for: Option<Duration>,
    /// Between two of its advertisements.
    pub interval: Duration,
    /// What it counted up in packets: numbers that peers have seen must not be used again.
    pub counters: Counters,
    /// What it remembers of others' counters.
    pub replay: ReplayWindow,
}

impl Handover {
    /// The times within which the next process has to claim, and to have taken over; None when there is no Master.
    pub(crate) fn deadlines(&self) -> Option<(Duration, Duration)> {
        Some((self.deadline()?, self.instances.values().filter_map(|i| i.is_sole_for).min()?))
    }

    /// The time within which the next process has to take over; None when there is no Master to take over.
    ///
    /// It is an interval shorter than peers wait: priority 0 that the guardian sends then still arrives in time.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let masters = self.instances.values().filter_map(|i| i.is_sole_for.map(|sole| (sole, i.interval)));
        masters
            .map(|(sole, interval)| {
                sole.checked_sub(interval).filter(|t| *t >= interval / 2).unwrap_or(sole / 2)
            })
            .min()
    }

    /// No instance is Master any more: the VIPs were given up.
    pub(crate) fn give_up(&mut self) {
        self.instances.values_mut().for_each(|instance| instance.is_sole_for = None);
    }

    /// Whether any instance is Master, so long after the hand-over.
    pub(crate) fn has_master(&self, age: Duration) -> bool {
        self.instances.values().any(|i| i.is_sole_for.is_some_and(|sole| age < sole))
    }
}

impl InstanceHandover {
    fn is_of(&self, settings: &InstanceSettings) -> bool {
        (self.vrid, self.family, &self.interface) == (settings.vrid, settings.family, &settings.interface)
    }
}

impl Router {
    /// The last thing it does. Every Master advertises once more, so that peers wait for the next process as long as they can.
    pub(super) fn hand_over(&mut self, now: Instant, out: &mut Vec<Effect>) {
        for name in self.names() {
            let is_master = |m: &&Member| m.state() == State::Master;
            // One that is late may have been replaced, and has not read the new Master's packets.
            if self.members.get(&name).filter(is_master).is_some_and(|m| !m.instance.is_late(now)) {
                self.advertise(&name, None, now, out);
            }
        }
        let handed = |member: &Member| InstanceHandover {
            vrid: member.settings().vrid,
            family: member.settings().family,
            interface: member.settings().interface.clone(),
            is_sole_for: member.instance.is_sole_for(now),
            interval: member.settings().advert_interval,
            counters: member.counters.clone(),
            replay: member.replay.clone(),
        };
        let handover = Handover {
            instances: self.members.iter().map(|(name, member)| (name.clone(), handed(member))).collect(),
            tracks: self.levels.all().collect(),
            damped: self.levels.damped.hand_over(&self.settings.damping, now),
            sessions: Vec::new(),
        };
        // What the guardian sends if no process follows must have later numbers than what was sent just now.
        self.publish_crash_plan(now, out);
        out.push(Effect::HandOver(Box::new(handover)));
    }

    /// The process before handed over `age` ago.
    pub(super) fn inherit(&mut self, handover: &Handover, age: Duration, now: Instant) {
        for (name, handed) in &handover.instances {
            let Some(member) = self.members.get_mut(name).filter(|m| handed.is_of(m.settings())) else {
                continue;
            };
            member.counters = handed.counters.clone();
            member.replay = handed.replay.clone();
            let rest =
                handed.is_sole_for.and_then(|sole| sole.checked_sub(age)).filter(|rest| !rest.is_zero());
            if let Some(rest) = rest {
                (member.is_inherited, member.has_begun) = (true, true);
                member.inherited_until = Some(now + rest);
            }
        }
        self.levels.damped.inherit(&handover.damped, age, now);
        self.levels.damped.retain(|target| self.settings.damping.contains_key(target));
        if handover.has_master(age) {
            self.levels.inherit(&handover.tracks);
        }
    }

    /// An instance that could not go on in time begins as any other: a peer may have taken over.
    pub(super) fn disinherit(&mut self, now: Instant) {
        for member in self.members.values_mut() {
            if member.is_inherited && member.inherited_until.is_some_and(|until| until <= now) {
                (member.is_inherited, member.inherited_until) = (false, None);
                member.has_begun &= member.state() != State::Init;
                self.is_dirty = true;
                self.is_stale = true;
            }
        }
    }

    /// When the next one is too late.
    pub(super) fn inheritance_ends(&self) -> Option<Instant> {
        self.members.values().filter_map(|m| m.inherited_until.filter(|_| m.is_inherited)).min()
    }
}
