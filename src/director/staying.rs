//! Real servers that a configuration takes out of a pool, and that stay while what replaces them has no verdict yet.
//!
//! Make before break. The configuration may take out a healthy server: replace it, change its port, give it weight 0, or
//! remove its whole pool. The server continues to serve, and is still checked, until every server that came with the
//! configuration has a verdict and those that are up have the quorum; at most [`STAY_LIMIT`]. At a start the same holds
//! for servers found in the kernel. These have no checkers, so they stay only until the new servers have their verdicts,
//! unless the state file says that they were staying before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::Director;
use super::admin_override::AdminState;
use super::checkers::{CheckerId, Checkers};
use super::event::Event;
use super::path_check;
use super::pool::{Member, Pool, Subscription};
use crate::config::VirtualServerId;
use crate::ipvs::types::{Destination, ServiceEntry};
use crate::time::Instant;

/// Longest time a server stays whose replacement does not come up.
pub(crate) const STAY_LIMIT: Duration = Duration::from_secs(120);

/// A real server that stays.
#[derive(Debug)]
pub(crate) struct Staying {
    /// As it was.
    pub destination: Destination,
    /// When it is removed, even if its replacement is not up.
    pub deadline: Instant,
    /// With its checkers, unless it is still a member, or was found in the kernel.
    member: Option<Member>,
    /// Found in the kernel at a start, and nothing says that it has served by a configuration.
    is_found: bool,
    is_reported: bool,
}

impl Staying {
    /// The member it was.
    pub(crate) fn member(&self) -> Option<&Member> {
        self.member.as_ref()
    }
}

impl Director {
    /// Whether a destination that a virtual server has in a kernel will stay until servers that are not yet there have
    /// their verdicts.
    pub(super) fn will_stay(&self, id: VirtualServerId, at: SocketAddr, kernel: &ServiceEntry) -> bool {
        let serves = |at: &SocketAddr| kernel.destinations.get(at).is_some_and(|d| d.destination.weight > 0);
        let Some(pool) = self.pools.get(&id).filter(|_| serves(&at)) else { return false };
        let is_out = pool.is_taken_out(&at);
        let is_replacement = |m: &Member| m.may_serve() && m.is_up && !m.subscriptions.is_empty();
        is_out && pool.members.iter().any(|(at, member)| is_replacement(member) && !serves(at))
    }
}

impl Member {
    fn may_serve(&self) -> bool {
        self.weight() > 0 && self.admin.state == AdminState::Free
    }

    /// Whether it came with the configuration in force, to serve: what leaves waits for it.
    fn is_replacement(&self) -> bool {
        self.is_new && self.may_serve()
    }

    /// Whether its checkers have said what they can say; a path_check may be impossible from here.
    fn has_verdict(&self, checkers: &Checkers) -> bool {
        let said = |s: &Subscription| {
            let entry = checkers.get(s.checker)?;
            let is_left_open = s.is_optimistic && path_check::is_path_check(entry);
            entry.schedule.health().is_up().or(is_left_open.then_some(true))
        };
        let mut all = self.subscriptions.iter().map(said);
        all.clone().any(|is_up| is_up == Some(false)) || all.all(|is_up| is_up.is_some())
    }
}

impl Pool {
    /// A member, or one that was and stays.
    pub(super) fn member(&self, at: &SocketAddr) -> Option<&Member> {
        self.members.get(at).or_else(|| self.staying.get(at).and_then(Staying::member))
    }

    /// After a reload: takes the members that stay out of `before`, the members the pool had, and puts those back whose stay
    /// is over. Returns the checkers that staying members no longer need.
    pub(super) fn stay(
        &mut self,
        now: Instant,
        before: &mut BTreeMap<SocketAddr, Member>,
        checkers: &Checkers,
    ) -> Vec<(SocketAddr, CheckerId)> {
        let is_awaited = self.members.values().any(Member::is_replacement);
        for (at, staying) in std::mem::take(&mut self.staying) {
            let is_wanted = self.members.get(&at).is_some_and(|member| member.weight() > 0);
            if is_awaited && !is_wanted {
                self.staying.insert(at, staying);
            } else if let Some(member) = staying.member {
                before.insert(at, member);
            }
        }
        let mut unneeded = Vec::new();
        if !is_awaited {
            return unneeded;
        }
        let serves = |at: &SocketAddr, member: &Member| {
            let destination = self.desired().destinations.get(at).copied();
            destination.filter(|destination| destination.weight > 0 && member.is_up)
        };
        let leaving: Vec<(SocketAddr, Destination)> =
            before.iter().filter_map(|(at, member)| Some((*at, serves(at, member)?))).collect();
        for (at, destination) in leaving {
            let member = match self.members.get(&at) {
                Some(_) if self.is_taken_out(&at) => None,
                Some(_) => continue,
                None => before.remove(&at),
            };
            let member = member.map(|mut member| {
                // A path_check belongs to members only.
                let is_path = |id| checkers.get(id).is_some_and(path_check::is_path_check);
                let (paths, own): (Vec<_>, Vec<_>) =
                    member.subscriptions.into_vec().into_iter().partition(|s| is_path(s.checker));
                unneeded.extend(paths.into_iter().map(|s| (at, s.checker)));
                member.subscriptions = own.into_boxed_slice();
                member
            });
            let deadline = now + STAY_LIMIT;
            let staying = Staying { destination, deadline, member, is_found: false, is_reported: false };
            self.staying.entry(at).or_insert(staying);
        }
        unneeded
    }

    /// The virtual server was removed: no server stays.
    pub(super) fn end_stays(&mut self) {
        let stayed = std::mem::take(&mut self.staying).into_iter();
        self.members.extend(stayed.filter_map(|(at, staying)| Some((at, staying.member?))));
    }

    /// Whether the configuration has no use for a destination that the kernel has.
    fn is_taken_out(&self, at: &SocketAddr) -> bool {
        match self.members.get(at) {
            Some(member) => member.weight() == 0 && member.admin.is_none() && member.is_up,
            None => self.server.sorry_server.is_none_or(|sorry| sorry.address != *at),
        }
    }

    /// At a start: destinations that the kernel has and that the configuration takes out stay. Those that stayed in the
    /// previous process, by the state file, do so until they are replaced or their deadline.
    pub(super) fn stay_as_found(
        &mut self,
        now: Instant,
        actual: &ServiceEntry,
        mut was_staying: impl FnMut(&SocketAddr) -> Option<Instant>,
    ) {
        if !self.members.values().any(Member::is_replacement) {
            return;
        }
        for (at, entry) in &actual.destinations {
            if self.is_taken_out(at) && entry.destination.weight > 0 && !self.leaving.contains_key(at) {
                let known = was_staying(at);
                let staying = Staying {
                    destination: entry.destination,
                    deadline: known.unwrap_or(now + STAY_LIMIT),
                    member: None,
                    is_found: known.is_none(),
                    is_reported: known.is_some(),
                };
                self.staying.insert(*at, staying);
            }
        }
    }

    /// Ends the stay of those that are down, ordered otherwise, replaced, or out of time; which of them are down.
    pub(super) fn recompute_staying(
        &mut self,
        now: Instant,
        checkers: &Checkers,
        events: &mut Vec<Event>,
    ) -> BTreeSet<SocketAddr> {
        let mut down = BTreeSet::new();
        if self.staying.is_empty() {
            return down;
        }
        let virtual_server = self.server.id;
        let mut replacements = self.members.values().filter(|member| member.is_replacement());
        let all_have_verdicts = replacements.all(|member| member.has_verdict(checkers));
        let is_enough = self.is_quorum(self.members_weight());
        for (at, mut staying) in std::mem::take(&mut self.staying) {
            let member = staying.member.as_ref().or(self.members.get(&at));
            let real_server = member.map_or(at, |member| member.real_server.named());
            let is_down = member.is_some_and(|member| !member.judge(checkers));
            let is_ordered = self.members.get(&at).is_some_and(|member| !member.admin.is_none());
            let is_replaced = all_have_verdicts && (is_enough || staying.is_found);
            let is_late = now >= staying.deadline;
            if is_down {
                down.insert(at);
                if let Some(member) = &staying.member {
                    let reason = member.reason(checkers);
                    events.push(Event::RealServer { virtual_server, real_server, is_up: false, reason });
                }
            } else if !is_ordered && !is_replaced {
                if is_late || !staying.is_reported {
                    events.push(Event::Stays { virtual_server, real_server, is_over: is_late });
                }
                staying.is_reported = true;
                if !is_late {
                    self.staying.insert(at, staying);
                    continue;
                }
            }
            self.released.extend(staying.member.map(|member| (at, member)));
        }
        down
    }
}
