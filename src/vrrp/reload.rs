//! From one configuration to the next: which instances stay, move, come and go.
//!
//! An instance is the one it was on the wire: by VRID, family and interface, even under another name, so that two that
//! swap their names change no running instance. Else it is the one of its name: if that was Master, it is Master on the
//! new VRID or interface before it leaves the old one. What did not change does not move.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::group::Group;
use super::io::{Effect, State};
use super::member::Member;
use super::router::Router;
use super::settings::{Family, InstanceSettings, Settings, Transport};
use super::tracking::relevance::Relevance;
use crate::time::Instant;

/// Longest time a Master waits for its successor on another VRID or interface.
const MOVE_LIMIT: Duration = Duration::from_secs(1);

/// A Master whose VRID or interface changed: it sends priority 0 when its successor is Master.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) member: Member,
    pub(super) until: Instant,
}

/// What identifies a virtual router on the wire.
type WireIdentity = (u8, Family, Option<String>);

fn place(settings: &InstanceSettings) -> WireIdentity {
    (settings.vrid, settings.family, settings.interface.clone())
}

impl Router {
    pub(super) fn reload(&mut self, settings: Arc<Settings>, now: Instant, out: &mut Vec<Effect>) {
        if settings == self.configured || self.is_stopping() {
            return;
        }
        self.cause = "new configuration".to_owned();
        self.configured = Arc::clone(&settings);
        self.relevance = Relevance::of(&settings);
        self.find_other_nodes(out);
        self.run(self.own_settings(), now, out);
    }

    /// Runs other instances, and carries over what stays.
    pub(super) fn run(&mut self, settings: Arc<Settings>, now: Instant, out: &mut Vec<Effect>) {
        let mut before = std::mem::take(&mut self.members);
        self.settings = Arc::clone(&settings);
        let was_master = |m: &Member| m.state() == State::Master;
        let masters: BTreeSet<String> =
            before.iter().filter(|(_, m)| was_master(m)).map(|(name, _)| name.clone()).collect();
        let (same, others): (Vec<_>, Vec<_>) = settings
            .instances
            .iter()
            .partition(|new| before.get(&new.name).is_some_and(|old| place(old.settings()) == place(new)));
        for new in same {
            if let Some(old) = before.remove(&new.name) {
                self.keep(old, new, now);
            }
        }
        let mut renames = BTreeMap::new();
        let first_effect = out.len();
        let mut moved = Vec::new();
        let mut newcomers = Vec::new();
        for new in others {
            match at_place(&before, new).and_then(|name| before.remove(&name)) {
                Some(old) => {
                    renames.insert(old.settings().name.clone(), new.name.clone());
                    self.rename(old, new, now, out);
                }
                None => newcomers.push(new),
            }
        }
        for effect in out.iter_mut().skip(first_effect) {
            if let Effect::Event(Event::Renamed { is_group: false, before, is_taken, .. }) = effect {
                *is_taken = renames.values().any(|name| name == before);
            }
        }
        for new in newcomers {
            if let Some(old) = before.remove(&new.name) {
                moved.push((old, Arc::clone(new)));
                continue;
            }
            // The one of that name has another name now, and goes on under it.
            let is_inherited = masters.contains(&new.name);
            let member = Member { is_inherited, ..Member::new(Arc::clone(new), now) };
            self.members.insert(new.name.clone(), member);
        }
        for old in renames.keys().filter(|old| !self.members.contains_key(*old)) {
            out.push(Effect::InstanceGone(old.clone()));
        }
        self.regroup(&settings, &renames, out);
        self.assertions.configure(&settings, &renames, now, out);
        self.announcer.set_pacing(&settings.pacing);
        // The shell reports levels of the whole file, and only when they change.
        let followed = self.configured.followed();
        self.levels.retain(|target| followed.contains(target));
        self.levels.damped.retain(|target| settings.damping.contains_key(target));
        self.move_over(moved, now);
        for (_, old) in before {
            self.remove(old, now, out);
        }
        self.is_dirty = true;
        self.is_stale = true;
    }

    fn keep(&mut self, mut member: Member, new: &Arc<InstanceSettings>, now: Instant) {
        if member.settings() != new {
            if member.settings().announcing != new.announcing {
                self.announcer.change(&new.name, &new.announcing, now);
            }
            member.instance.set_settings(Arc::clone(new), now);
        }
        self.members.insert(new.name.clone(), member);
    }

    fn rename(
        &mut self,
        mut member: Member,
        new: &Arc<InstanceSettings>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let before = member.settings().name.clone();
        self.announcer.cancel(&before);
        member.reported_level = None;
        if member.reported != State::Init {
            out.push(Effect::Event(Event::Renamed {
                is_group: false,
                before,
                is_taken: false,
                name: new.name.clone(),
                state: member.reported,
                priority: member.instance.priority(),
            }));
        }
        self.keep(member, new, now);
    }

    /// Groups of the new settings, with what was reported of them: by their names, else by their members.
    fn regroup(&mut self, settings: &Settings, renames: &BTreeMap<String, String>, out: &mut Vec<Effect>) {
        let mut before = std::mem::take(&mut self.groups);
        let members_now = |group: &Group| -> BTreeSet<String> {
            let names = group.settings.members.iter();
            names.map(|name| renames.get(name).unwrap_or(name).clone()).collect()
        };
        let is_named = |group: &Group| settings.groups.iter().any(|new| new.name == group.settings.name);
        for new in &settings.groups {
            let by_name = before.iter().position(|old| old.settings.name == new.name);
            let by_members = || {
                let members: BTreeSet<String> = new.members.iter().cloned().collect();
                before.iter().position(|old| !is_named(old) && members_now(old) == members)
            };
            let mut group = Group::new(Arc::clone(new));
            if let Some(old) = by_name.or_else(by_members).map(|at| before.swap_remove(at)) {
                group.reported = old.reported;
                if old.settings.name != new.name && old.reported != State::Init {
                    let (before, name) = (old.settings.name.clone(), new.name.clone());
                    let renamed = Event::Renamed {
                        is_group: true,
                        before,
                        is_taken: false,
                        name,
                        state: old.reported,
                        priority: 0,
                    };
                    out.push(Effect::Event(renamed));
                }
            }
            self.groups.push(group);
        }
    }

    /// VRID or interface changed: a Master is Master on the new one before it leaves the old one.
    fn move_over(&mut self, moved: Vec<(Member, Arc<InstanceSettings>)>, now: Instant) {
        for (old, new) in moved {
            let mut member = Member::new(Arc::clone(&new), now);
            member.statistics = old.statistics.clone();
            member.reported = old.reported;
            self.announcer.cancel(&new.name);
            if old.state() == State::Master {
                member.is_inherited = true;
                self.leaving.push(Leaving { member: old, until: now + MOVE_LIMIT });
            }
            self.members.insert(new.name.clone(), member);
        }
    }

    /// Sends priority 0 for instances whose successor is Master by now, or cannot become Master.
    pub(super) fn finish_moves(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let wall = self.wall(now);
        let members = &self.members;
        let is_waiting = |leaving: &Leaving| {
            let successor = members.get(&leaving.member.settings().name);
            successor.is_some_and(|m| m.state() == State::Init) && leaving.until > now
        };
        let (waiting, done): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.leaving).into_iter().partition(is_waiting);
        self.leaving = waiting;
        if done.is_empty() {
            return;
        }
        for mut leaving in done {
            self.say_priority_zero(&mut leaving.member, wall, out);
        }
        self.listen(out);
    }

    /// Its last advertisement, except where another instance of this host has the same VRID by now: a receiver would
    /// take over from that one.
    fn say_priority_zero(&self, old: &mut Member, wall: Duration, out: &mut Vec<Effect>) {
        let packets = old.advertisement(Some(0), wall);
        let is_taken = |to: IpAddr| self.members.values().any(|m| speaks_for(m, old, to));
        out.extend(packets.into_iter().filter(|packet| !is_taken(packet.destination)).map(Effect::Send));
    }

    fn remove(&mut self, mut old: Member, now: Instant, out: &mut Vec<Effect>) {
        let name = old.settings().name.clone();
        self.announcer.cancel(&name);
        if old.state() == State::Master {
            let wall = self.wall(now);
            self.say_priority_zero(&mut old, wall, out);
        }
        if old.state() != State::Init {
            out.push(Effect::Event(Event::Transition {
                instance: name.clone(),
                vrid: old.settings().vrid,
                from: old.state(),
                to: State::Init,
                priority: old.instance.priority(),
                reason: match self.other_nodes.get(&name) {
                    Some(node) => format!("it is for the node with {node}"),
                    None => "removed from the configuration".to_owned(),
                },
                master: None,
            }));
        }
        out.push(Effect::InstanceGone(name));
    }
}

/// Which instance of the settings before was at a place: of two, the one that speaks as the new one does.
fn at_place(before: &BTreeMap<String, Member>, new: &InstanceSettings) -> Option<String> {
    let is_multicast = |settings: &InstanceSettings| matches!(settings.transport, Transport::Multicast(_));
    let there = before.values().map(Member::settings).filter(|old| place(old) == place(new));
    let best = there.max_by_key(|old| is_multicast(old) == is_multicast(new));
    best.map(|old| old.name.clone())
}

/// Whether a member is Master with the VRID of another one, whose packets to that address would be taken for its own.
fn speaks_for(member: &Member, old: &Member, to: IpAddr) -> bool {
    let (settings, replaced) = (member.settings(), old.settings());
    let is_there = match &settings.transport {
        Transport::Multicast(group) => *group == to,
        Transport::Unicast { .. } => settings.transport.peers().any(|peer| peer == to),
    };
    let (link, other) = (member.binding.base, old.binding.base);
    member.state() == State::Master
        && (settings.vrid, settings.family) == (replaced.vrid, replaced.family)
        && (link == other || link.is_none() || other.is_none())
        && is_there
}
