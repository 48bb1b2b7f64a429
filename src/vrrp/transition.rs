//! From state to state: faults, takeovers, yielding; a sync group changes its state together. How an instance leaves Init
//! is [`leave_init`](super::leave_init)'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::binding;
use super::event::Event;
use super::group;
use super::instance::Claim;
use super::io::{Effect, Endpoint, State};
use super::member::Member;
use super::router::Router;
use super::tracking::levels;
use super::tracking::needed_links;
use crate::net::types::Host;
use crate::time::Instant;

impl Router {
    /// Evaluates host, tracks and director again: priorities, faults, which instances may leave Init.
    pub(super) fn look_around(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let Some(host) = self.host.take() else { return };
        let vips: BTreeSet<IpAddr> = self
            .members
            .values()
            .flat_map(Member::addresses)
            // The host's own address can be a source, even if it is also configured as a VIP.
            .filter(|a| !self.reconciler.can_be_source(&a.wanted.link, a.wanted.prefix.ip))
            .map(|a| a.wanted.prefix.ip)
            .collect();
        for (target, rest) in self.levels.count_failures(&self.settings.damping, &host, now) {
            out.push(Effect::Event(Event::Damped { what: levels::words(&target), rest }));
        }
        let mut own_faults = BTreeMap::new();
        for name in self.names() {
            let fault = self.look_at(&name, &host, &vips, now, out);
            own_faults.insert(name, fault);
        }
        self.host = Some(host);
        self.listen(out);
        let counting = self.counting(&own_faults, now);
        for name in self.names() {
            let own = own_faults.get(&name).cloned().flatten();
            let fault = own.or_else(|| self.fault_of_group(&name, &counting));
            if let Some(member) = self.members.get_mut(&name) {
                member.fault = fault;
            }
        }
        for name in self.names() {
            self.follow_fault(&name, now, out);
        }
        for name in self.names() {
            self.leave_init(&name, now, out);
        }
        for name in self.names() {
            let is_free =
                self.members.get(&name).is_some_and(|m| m.instance.waits_for_group()) && self.agrees(&name);
            if let Some(member) = self.members.get_mut(&name).filter(|_| is_free) {
                // The member that it waited for has left the group by a reload.
                member.instance.try_again(now);
            }
        }
        self.is_stale = true;
    }

    /// What an instance stands on, and its priority. Says why it cannot go on by itself.
    fn look_at(
        &mut self,
        name: &str,
        host: &Host,
        vips: &BTreeSet<IpAddr>,
        now: Instant,
        out: &mut Vec<Effect>,
    ) -> Option<String> {
        let member = self.members.get(name)?;
        let groups: Vec<_> = self.groups.iter().filter(|g| g.has(name)).map(|g| g.settings.clone()).collect();
        let known: Vec<IpAddr> = member.known_by.into_iter().chain(member.instance.source()).collect();
        let binding = binding::of(member.settings(), host, vips, &self.reconciler, &known);
        let counts_own = groups.iter().all(|g| g.counts_weights);
        let own = self.levels.evaluate(&member.settings().tracks, counts_own, host, now);
        let shared = self.levels.evaluate(groups.iter().flat_map(|g| &g.tracks), true, host, now);
        let cannot_forward = self.director.as_ref().is_some_and(|d| d.cannot_forward.is_some());
        let penalty = if cannot_forward { i64::from(self.settings.forwarding_weight) } else { 0 };
        let sum = own.sum.saturating_add(shared.sum).saturating_sub(penalty);
        let needed = || needed_links::fault(member.settings(), host);
        let (deaf, unopened) = self.without_socket(member.state(), binding.endpoint.as_ref());
        let fault = binding.fault.clone().or_else(needed).or(deaf).or(own.fault).or(shared.fault);
        // A Master goes on at once, though scripts of this life have not ended yet: they were well.
        let unknown = own.unknown.or(shared.unknown).filter(|_| !member.is_inherited);
        let waits_for = binding.waits_for.clone().or(unopened).or(unknown);
        if fault.is_some() && member.state() == State::Master && binding.endpoint.is_none() {
            // The last words leave while there is a socket.
            self.advertise(name, Some(0), now, out);
        }
        let member = self.members.get_mut(name)?;
        member.instance.set_source(binding.source);
        (member.binding, member.sum, member.waits_for) = (binding, sum, waits_for);
        let (from, to) =
            (member.instance.priority(), levels::effective_priority(member.settings().priority, sum));
        if from != to {
            member.instance.set_priority(to);
            let instance = name.to_owned();
            let (state, reason) = (member.state(), self.cause.clone());
            out.push(Effect::Event(Event::Priority { instance, state, from, to, reason }));
        }
        fault
    }

    /// Why it must not be Master or Backup without its socket, and what it waits for in Init.
    fn without_socket(&self, state: State, endpoint: Option<&Endpoint>) -> (Option<String>, Option<String>) {
        let Some(endpoint) = endpoint else { return (None, None) };
        match self.sockets.failure(endpoint) {
            Some(failure) => (Some(failure.to_string()), None),
            None if self.sockets.is_open(endpoint) => (None, None),
            // One that is Master or Backup goes on: its new socket is open in a moment, or is known not to be.
            None => match state {
                State::Init => (None, Some("its socket".to_owned())),
                State::Fault => (Some("its socket is not open yet".to_owned()), None),
                State::Backup | State::Master => (None, None),
            },
        }
    }

    /// Those faults that have lasted long enough to be their sync groups', too.
    fn counting(
        &mut self,
        faults: &BTreeMap<String, Option<String>>,
        now: Instant,
    ) -> BTreeMap<String, String> {
        let mut counting = BTreeMap::new();
        for (name, fault) in faults {
            let Some(member) = self.members.get_mut(name) else { continue };
            let Some(fault) = fault else {
                member.fault_since = None;
                continue;
            };
            member.fault_since.get_or_insert(now);
            if self.members.get(name).is_some_and(|m| !self.is_in_grace(m, now)) {
                counting.insert(name.clone(), fault.clone());
            }
        }
        counting
    }

    fn fault_of_group(&self, name: &str, faults: &BTreeMap<String, String>) -> Option<String> {
        for group in self.groups.iter().filter(|g| g.has(name)) {
            for member in &group.settings.members {
                if let Some(fault) = faults.get(member) {
                    return Some(format!("sync group {}: instance {member}: {fault}", group.settings.name));
                }
            }
        }
        None
    }

    fn follow_fault(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get(name) else { return };
        match (member.state(), member.fault.clone()) {
            // From a fault before its first Backup it goes on as from Init, with all that is waited for there.
            (State::Fault, None) if !member.has_begun => {}
            (State::Fault, None) => {
                let reason = format!("fault is over: {}", self.cause);
                self.enter(name, State::Backup, &reason, now, out);
            }
            (State::Fault, Some(fault)) => {
                if let Some(member) = self.members.get_mut(name) {
                    member.reason = fault;
                }
            }
            (State::Init, Some(fault)) if self.is_in_grace(member, now) => {
                if let Some(member) = self.members.get_mut(name) {
                    member.reason = format!("not ready yet: {fault}");
                }
            }
            (_, Some(fault)) => self.leave(name, State::Fault, &fault, true, now, out),
            (_, None) => {}
        }
    }

    /// Whether its sync groups let it become Master: each other member is Master, is about to be, or waits for this one.
    pub(super) fn agrees(&self, name: &str) -> bool {
        let is_willing = |other: &String| {
            other == name
                || self
                    .members
                    .get(other)
                    .is_none_or(|m| m.state() == State::Master || m.instance.waits_for_group() || m.goes_on())
        };
        self.groups.iter().filter(|g| g.has(name)).all(|g| g.settings.members.iter().all(is_willing))
    }

    /// There is no Master: it takes over, if its group does.
    pub(super) fn take_over(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        if !self.agrees(name) {
            return;
        }
        let Some(member) = self.members.get(name) else { return };
        let reason = match member.instance.master() {
            Some(Claim { source, priority: 0, .. }) => format!("{source} sent priority 0"),
            Some(Claim { source, .. }) => match member.instance.unreachable_for() {
                Some(time) => {
                    format!("{source} cannot be reached: BFD heard nothing for {} ms", time.as_millis())
                }
                None => format!("no advertisement from {source} within the master-down interval"),
            },
            None => "no advertisement of a Master received".to_owned(),
        };
        self.take_over_with_group(name, &reason, now, out);
    }

    /// It becomes Master, and so do the other members of its sync groups.
    pub(super) fn take_over_with_group(
        &mut self,
        name: &str,
        reason: &str,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        self.enter(name, State::Master, reason, now, out);
        for other in self.companions(name) {
            let is_master = self.members.get(&other).is_none_or(|m| m.state() == State::Master);
            if let Some(member) = self.members.get_mut(&other) {
                (member.is_inherited, member.inherited_until) = (false, None);
            }
            if !is_master {
                self.enter(&other, State::Master, reason, now, out);
            }
        }
    }

    /// The others of its sync groups.
    fn companions(&self, name: &str) -> BTreeSet<String> {
        let groups = self.groups.iter().filter(|g| g.has(name));
        let all = groups.flat_map(|g| &g.settings.members).filter(|other| *other != name);
        all.filter(|other| self.members.contains_key(*other)).cloned().collect()
    }

    /// There is a better Master: it yields, and so does its group.
    ///
    /// Where two have been Master side by side the better one need not have heard of it, and neighbours may have this
    /// host's announcement last. Hearing a lower priority makes it announce the addresses again.
    pub(super) fn yield_to(
        &mut self,
        name: &str,
        claim: Claim,
        is_late: bool,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(member) = self.members.get_mut(name) else { return };
        let ours = member.instance.priority();
        // A last word that is no lower would win.
        let has_last_word = member.settings().answers_higher_priority && member.instance.is_outdone_by(claim);
        if has_last_word && !is_late {
            self.say_last_word(name, now, out);
        }
        let Claim { source, priority, .. } = claim;
        let reason = match priority.cmp(&ours) {
            std::cmp::Ordering::Greater => format!("{source} has priority {priority}, ours is {ours}"),
            std::cmp::Ordering::Equal => format!("{source} has the same priority and a higher address"),
            std::cmp::Ordering::Less => format!("{source} took over while this host was paused"),
        };
        self.enter(name, State::Backup, &reason, now, out);
        if let Some(member) = self.members.get_mut(name) {
            member.owes_last_word = has_last_word && is_late;
        }
        if is_late {
            // What else has arrived says whether there is a word to say at all.
            self.begin_catch_up(now, out);
        }
        for other in self.companions(name) {
            let Some(member) = self.members.get_mut(&other) else { continue };
            let reason = format!("its sync group: instance {name} is Backup");
            match member.state() {
                State::Master => {
                    let has_last_word = member.settings().answers_higher_priority;
                    self.leave(&other, State::Backup, &reason, true, now, out);
                    if let Some(member) = self.members.get_mut(&other) {
                        member.owes_last_word = has_last_word;
                    }
                }
                State::Backup if member.instance.waits_for_group() => member.instance.wait_again(now),
                _ => {}
            }
        }
    }

    /// One of its sync groups has members that are Master, while it is Backup: it has joined by a reload.
    pub(super) fn joins_a_master(&self, name: &str) -> bool {
        self.has_split_group
            && self.members.get(name).is_some_and(|m| m.state() == State::Backup)
            && self
                .companions(name)
                .iter()
                .any(|o| self.members.get(o).is_some_and(|m| m.state() == State::Master))
    }

    /// It follows a Master that is better than itself, so those of its sync groups that are Master cannot stay it.
    pub(super) fn take_group_back(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        let reason = format!("its sync group: instance {name} is Backup");
        for other in self.companions(name) {
            if self.members.get(&other).is_some_and(|m| m.state() == State::Master) {
                self.leave(&other, State::Backup, &reason, true, now, out);
            }
        }
    }

    /// One more advertisement of a Master that yields (`higher_prio_send_advert`).
    pub(super) fn say_last_word(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        if let Some(member) = self.members.get_mut(name) {
            member.owes_last_word = false;
            self.advertise(name, None, now, out);
        }
    }

    /// Leaves a state for one that is not Master; a Master sends priority 0 where no better one is known.
    pub(super) fn leave(
        &mut self,
        name: &str,
        to: State,
        reason: &str,
        sends_priority_zero: bool,
        now: Instant,
        out: &mut Vec<Effect>,
    ) {
        let Some(member) = self.members.get(name) else { return };
        if member.state() == to && member.reported == to {
            return;
        }
        if member.state() == State::Master && sends_priority_zero {
            self.advertise(name, Some(0), now, out);
        }
        self.enter(name, to, reason, now, out);
    }

    /// Enters a state. A new Master advertises first, so that the old one begins to leave.
    pub(super) fn enter(&mut self, name: &str, to: State, reason: &str, now: Instant, out: &mut Vec<Effect>) {
        let Some(member) = self.members.get_mut(name) else { return };
        let from = std::mem::replace(&mut member.reported, to);
        member.instance.enter(to, now);
        member.owes_last_word = false;
        match to {
            State::Backup | State::Master => member.has_begun = true,
            State::Fault => member.is_inherited = false,
            State::Init => {}
        }
        member.reason = reason.to_owned();
        let event = Event::Transition {
            instance: name.to_owned(),
            vrid: member.settings().vrid,
            from,
            to,
            priority: member.instance.priority(),
            reason: reason.to_owned(),
            master: member.instance.master().map(|claim| claim.source),
        };
        if to == State::Master {
            member.statistics.became_master += 1;
            self.advertise(name, None, now, out);
            // Addresses are announced when they appear; those that are there already are announced now.
            self.reconciler.count_as_appeared(name);
        } else {
            self.announcer.cancel(name);
        }
        // An instance that moved to another VRID, and is Master again, was already reported as Master.
        if from != to {
            out.push(Effect::Event(event));
        }
        self.is_stale = true;
    }

    /// Reports groups that changed.
    pub(super) fn report_groups(&mut self, out: &mut Vec<Effect>) {
        self.has_split_group = false;
        for group in &mut self.groups {
            let members = group.settings.members.iter().filter_map(|name| self.members.get(name));
            let state = group::state_of(members.clone().map(Member::state), group.reported);
            self.has_split_group |= group::is_split(members.clone().map(Member::state));
            if state != group.reported {
                group.reported = state;
                let blamed = members.clone().find(|m| m.state() == state);
                let reason = blamed.map_or_else(String::new, |m| m.reason.clone());
                let group = group.settings.name.clone();
                out.push(Effect::Event(Event::Group { group, to: state, reason }));
            }
        }
    }
}
