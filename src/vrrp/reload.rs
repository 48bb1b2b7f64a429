//! From one configuration to the next: who stays, who moves, who comes and goes.
//!
//! An instance is who it was by its name, else by VRID, family and interface. What did not change does not move. One
//! whose VRID or interface changes while Master is Master on the new one before it leaves the old one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::exchange::{Effect, State};
use super::group::Group;
use super::member::Member;
use super::router::Router;
use super::settings::{Family, InstanceSettings, Settings, TrackTarget};
use crate::time::Instant;

/// Longest time a Master waits for its successor on another VRID or interface.
const MOVE_LIMIT: Duration = Duration::from_secs(1);

/// A Master whose VRID or interface changed: it says good-bye when its successor is Master.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) member: Member,
    pub(super) until: Instant,
}

/// Who a virtual router is on the wire.
type Place = (u8, Family, Option<String>);

fn place(settings: &InstanceSettings) -> Place {
    (settings.vrid, settings.family, settings.interface.clone())
}

impl Router {
    /// New settings.
    pub(super) fn reload(&mut self, settings: Arc<Settings>, now: Instant, out: &mut Vec<Effect>) {
        if settings == self.settings || self.is_stopping() {
            return;
        }
        self.cause = "new configuration".to_owned();
        let mut before = std::mem::take(&mut self.members);
        self.settings = Arc::clone(&settings);
        let mut newcomers = Vec::new();
        let mut moved = Vec::new();
        for new in &settings.instances {
            if let Some(old) = before.remove(&new.name) {
                if place(old.settings()) == place(new) {
                    self.keep(old, new, now);
                } else {
                    moved.push((old, Arc::clone(new)));
                }
            } else {
                newcomers.push(Arc::clone(new));
            }
        }
        for new in newcomers {
            let renamed = before.iter().find(|(_, old)| place(old.settings()) == place(&new));
            let renamed = renamed.map(|(name, _)| name.clone());
            match renamed.and_then(|name| before.remove(&name)) {
                Some(old) => self.rename(old, &new, now, out),
                None => {
                    self.members.insert(new.name.clone(), Member::new(new, now));
                }
            }
        }
        let groups = settings.groups.iter().map(|new| {
            let told = self.groups.iter().find(|old| old.settings.name == new.name).map(|old| old.told);
            Group { told: told.unwrap_or(State::Init), ..Group::new(Arc::clone(new)) }
        });
        self.groups = groups.collect();
        self.announcer.set_pacing(&settings.pacing);
        let followed = followed(&settings);
        self.levels.retain(|target| followed.contains(target));
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
        let old = member.settings().name.clone();
        self.announcer.cancel(&old);
        member.told = None;
        out.push(Effect::InstanceGone(old));
        self.keep(member, new, now);
    }

    /// VRID or interface changed: who was Master is so on the new one before it leaves the old one.
    fn move_over(&mut self, moved: Vec<(Member, Arc<InstanceSettings>)>, now: Instant) {
        for (old, new) in moved {
            let mut member = Member::new(Arc::clone(&new), now);
            member.tally = old.tally.clone();
            member.reported = old.reported;
            self.announcer.cancel(&new.name);
            if old.state() == State::Master {
                member.is_inherited = true;
                self.leaving.push(Leaving { member: old, until: now + MOVE_LIMIT });
            }
            self.members.insert(new.name.clone(), member);
        }
    }

    /// Says good-bye for those that are Master elsewhere by now, or cannot be.
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
            out.extend(leaving.member.advertisement(Some(0), wall).into_iter().map(Effect::Send));
        }
        self.listen(out);
    }

    fn remove(&mut self, mut old: Member, now: Instant, out: &mut Vec<Effect>) {
        let name = old.settings().name.clone();
        self.announcer.cancel(&name);
        if old.state() == State::Master {
            let wall = self.wall(now);
            out.extend(old.advertisement(Some(0), wall).into_iter().map(Effect::Send));
        }
        if old.state() != State::Init {
            out.push(Effect::Event(Event::Transition {
                instance: name.clone(),
                vrid: old.settings().vrid,
                from: old.state(),
                to: State::Init,
                priority: old.instance.priority(),
                reason: "removed from the configuration".to_owned(),
                master: None,
            }));
        }
        out.push(Effect::InstanceGone(name));
    }
}

fn followed(settings: &Settings) -> BTreeSet<TrackTarget> {
    let instances = settings.instances.iter().flat_map(|i| &i.tracks);
    let groups = settings.groups.iter().flat_map(|g| &g.tracks);
    instances.chain(groups).map(|track| track.target.clone()).collect()
}
