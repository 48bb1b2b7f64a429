//! The pool of one virtual server: which real servers are up, whether they are a quorum, which of them serve, and which
//! are leaving or staying. From this follows what the kernel should hold of the virtual server.
//!
//! Level-triggered: [`Pool::recompute`] derives everything anew from the checkers' health and from what the kernel was
//! last seen to hold. The reconciler changes the table.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::admin_override::{AdminOverride, AdminState};
use super::checkers::{CheckerId, Checkers};
use super::desired;
use super::event::Event;
use super::problems::Problems;
use super::staying::Staying;
use crate::check::schedule::Health;
use crate::check::spec::Question;
use crate::config::types::MAX_WEIGHT;
use crate::config::{RealServer, VirtualServer};
use crate::ipvs::types::{DesiredService, Destination, DestinationKey, ServiceEntry, ServiceKey};
use crate::time::Instant;

/// Longest time a healthy destination that leaves may keep its connections.
pub(crate) const DRAIN_DEADLINE: Duration = Duration::from_secs(300);
/// Shortest time between two recomputations of a pool because of check results, for each of its members. Without it a
/// pool of thousands of servers would be recomputed for each of its thousands of first results. Where the time would be
/// shorter than [`THROTTLE_LEAST`], there is none.
const THROTTLE_EACH: Duration = Duration::from_micros(5);
const THROTTLE_LEAST: Duration = Duration::from_millis(1);
/// The time is never longer.
const THROTTLE_MOST: Duration = Duration::from_secs(1);
/// Quiet needed before a quiesced destination counts as drained: a handshake under way is not yet active.
pub(crate) const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// A virtual server at work.
#[derive(Debug)]
pub(crate) struct Pool {
    pub server: VirtualServer,
    /// Its real servers at work.
    pub members: BTreeMap<SocketAddr, Member>,
    /// Healthy destinations on the way out.
    pub leaving: BTreeMap<DestinationKey, Leaving>,
    /// Those that the configuration takes out, and that serve on until they are replaced.
    pub staying: BTreeMap<DestinationKey, Staying>,
    /// Those that stayed and do no longer: their checkers are not needed any more.
    pub released: Vec<(SocketAddr, Member)>,
    /// The mark its packets get, where this host is one of its real servers.
    pub mark: Option<u32>,
    /// What its clients suffer.
    pub problems: Problems,
    /// Whether its quorum was notified as up; None before the first time. Unused in a group.
    pub notified: Option<bool>,
    has_quorum: bool,
    /// Whether it had a quorum since the start, or the lack of one was reported.
    is_quorum_reported: bool,
    desired: Arc<DesiredService>,
    in_kernel: Arc<DesiredService>,
    throttled_until: Instant,
    /// Members looked at by [`Pool::recompute`], ever.
    #[cfg(test)]
    pub looked_at: usize,
}

/// A real server at work.
#[derive(Debug)]
pub(crate) struct Member {
    pub real_server: Arc<RealServer>,
    pub subscriptions: Box<[Subscription]>,
    /// Whether all of them are content.
    pub is_up: bool,
    pub since: Instant,
    /// Whether it was up since the start, or its failure was reported.
    pub is_reported: bool,
    /// Whether it came with the configuration in force: it is none of those that served before.
    pub is_new: bool,
    /// What an operator said about it.
    pub admin: AdminOverride,
    /// The weight that its checkers ask for; None: the configured one.
    pub checked_weight: Option<u32>,
    /// Whether it was notified as up; None before the first time. Unused in a group, whose pools are notified as one.
    pub notified: Option<bool>,
}

/// A real server's interest in a checker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub checker: CheckerId,
    /// Whether the server counts as up while the checker knows nothing.
    pub is_optimistic: bool,
}

/// A healthy destination that serves its last connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaving {
    /// Its settings, with weight 0.
    pub destination: Destination,
    /// When it is deleted, even if it still has connections.
    pub deadline: Instant,
    /// Since when the kernel was seen to send it nothing new.
    quiesced_since: Option<Instant>,
    /// Active connections, as last read.
    active: u32,
}

impl Leaving {
    /// Begins to leave.
    pub(crate) fn new(destination: Destination, deadline: Instant) -> Leaving {
        Leaving { destination, deadline, quiesced_since: None, active: 0 }
    }
}

impl Member {
    /// Whether every checker is content.
    pub(crate) fn judge(&self, checkers: &Checkers) -> bool {
        self.subscriptions.iter().all(|s| {
            let health = checkers.get(s.checker).map_or(Health::Unknown, |c| c.schedule.health());
            health.is_up().unwrap_or(s.is_optimistic)
        })
    }

    /// Its weight while it serves: an order's, else the checkers', else the configured one.
    pub(crate) fn weight(&self) -> u32 {
        self.admin.weight.or(self.checked_weight).unwrap_or(self.real_server.weight)
    }

    /// The weight that its checkers ask for (keepalived: the configured one, and for each checker the difference it
    /// makes). A checker without a verdict leaves things as they are.
    fn weigh(&self, checkers: &Checkers) -> Option<u32> {
        let configured = i64::from(self.real_server.weight);
        let (mut weight, mut is_asked) = (configured, false);
        for (id, entry) in
            self.subscriptions.iter().filter_map(|s| Some((s.checker, checkers.get(s.checker)?)))
        {
            let added = checkers.added_weight(id);
            match entry.weight.map(|asked| i64::from(asked) - configured).or((added != 0).then_some(added)) {
                Some(added) => {
                    weight = weight.saturating_add(added);
                    is_asked = true;
                }
                None if entry.schedule.health() == Health::Unknown && self.checked_weight.is_some() => {
                    return self.checked_weight;
                }
                None => {}
            }
        }
        is_asked.then(|| u32::try_from(weight.max(0)).unwrap_or(MAX_WEIGHT).min(MAX_WEIGHT))
    }

    /// What the checkers say that ask for a weight.
    fn weight_reason(&self, checkers: &Checkers) -> String {
        let all = self.subscriptions.iter().filter_map(|s| Some((s.checker, checkers.get(s.checker)?)));
        let asking = all.filter(|(id, entry)| entry.weight.is_some() || checkers.added_weight(*id) != 0);
        let said: Vec<String> = asking
            .filter_map(|(_, entry)| {
                Some(format!("{}: {}", entry.spec.question.keyword(), entry.schedule.last()?.reason))
            })
            .collect();
        if said.is_empty() { "as configured".to_owned() } else { said.join("; ") }
    }

    /// Whether a checker may ask for a weight.
    fn is_weighed(&self, checkers: &Checkers) -> bool {
        self.subscriptions.iter().filter_map(|s| checkers.get(s.checker)).any(|entry| {
            match &entry.spec.question {
                Question::Misc(question) => question.is_dynamic,
                Question::File(question) => question.weight != 0,
                _ => false,
            }
        })
    }

    /// Whether every checker has a verdict, or one of them fails.
    fn is_decided(&self, checkers: &Checkers) -> bool {
        let health = |s: &Subscription| checkers.get(s.checker).and_then(|c| c.schedule.health().is_up());
        let mut all = self.subscriptions.iter().map(health);
        all.clone().any(|is_up| is_up == Some(false)) || all.all(|is_up| is_up.is_some())
    }

    fn state(&self) -> desired::MemberState {
        match (self.admin.state, self.is_up) {
            (AdminState::Free, true) => desired::MemberState::Serving(self.weight()),
            (AdminState::Free, false) => desired::MemberState::Failed,
            (AdminState::Drained { .. } | AdminState::Disabled, _) => desired::MemberState::Out,
        }
    }

    /// Whether its connections are not worth keeping: it does not answer them, or was disabled.
    fn is_cut(&self) -> bool {
        !self.is_up || self.admin.state == AdminState::Disabled
    }

    /// Why it is up or down, in the operator's words.
    pub(crate) fn reason(&self, checkers: &Checkers) -> String {
        let entries: Vec<_> = self
            .subscriptions
            .iter()
            .filter_map(|s| checkers.get(s.checker).map(|entry| (s, entry)))
            .collect();
        if entries.is_empty() {
            return "no checker, always up".to_owned();
        }
        let culprit = entries.iter().find(|(s, c)| {
            let health = c.schedule.health();
            health.is_up().unwrap_or(s.is_optimistic) == self.is_up && health != Health::Up
        });
        let (_, entry) = match culprit.or(entries.first()) {
            Some(found) => *found,
            None => return String::new(),
        };
        let keyword = entry.spec.question.keyword();
        match (entry.schedule.health(), entry.schedule.last()) {
            (Health::Unknown, None) => format!("{keyword} has not run yet"),
            (Health::Down | Health::Rising(_), None) => format!("{keyword} failed before the start"),
            (_, None) => keyword.to_owned(),
            (_, Some(last)) => format!("{keyword}: {}", last.reason),
        }
    }
}

impl Pool {
    /// A virtual server with these members, before [`Pool::begin`].
    pub(crate) fn new(server: VirtualServer, members: BTreeMap<SocketAddr, Member>) -> Pool {
        let desired = DesiredService { service: desired::service(&server), destinations: BTreeMap::new() };
        let desired = Arc::new(desired);
        Pool {
            server,
            members,
            leaving: BTreeMap::new(),
            staying: BTreeMap::new(),
            released: Vec::new(),
            mark: None,
            problems: Problems::default(),
            notified: None,
            has_quorum: false,
            is_quorum_reported: false,
            in_kernel: Arc::clone(&desired),
            desired,
            throttled_until: Instant::ZERO,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// Health and quorum to begin with, once all virtual servers have their checkers: one that others subscribe to as
    /// well may inherit its verdict from one of them.
    pub(crate) fn begin(&mut self, checkers: &Checkers) {
        for member in self.members.values_mut() {
            member.is_up = member.judge(checkers);
        }
        self.has_quorum = self.next_quorum();
    }

    /// The same virtual server under a new configuration; returns the members it had.
    pub(crate) fn reconfigure(
        &mut self,
        server: VirtualServer,
        members: BTreeMap<SocketAddr, Member>,
    ) -> BTreeMap<SocketAddr, Member> {
        if self.server.notices.group != server.notices.group {
            self.notified = None;
        }
        self.server = server;
        std::mem::replace(&mut self.members, members)
    }

    /// Goes on from what the kernel holds. A server that serves there counts as up until a checker says otherwise; one
    /// that serves there and is not configured drains, once it is replaced; one that was leaving or staying goes on until
    /// its old deadline.
    pub(crate) fn adopt(
        &mut self,
        now: Instant,
        actual: &ServiceEntry,
        checkers: &Checkers,
        mut was_leaving: impl FnMut(&SocketAddr) -> Option<Instant>,
        was_staying: impl FnMut(&SocketAddr) -> Option<Instant>,
    ) {
        let weight = |at: &SocketAddr| actual.destinations.get(at).map(|entry| entry.destination.weight);
        let serves = |at: &SocketAddr| weight(at).is_some_and(|weight| weight > 0);
        Arc::make_mut(&mut self.desired).destinations =
            actual.destinations.iter().map(|(at, entry)| (*at, entry.destination)).collect();
        for (at, member) in &mut self.members {
            // Where its weight is 0 by configuration or order, being there is all a server that serves can do.
            if serves(at) || (member.weight() == 0 && weight(at).is_some()) {
                member.subscriptions.iter_mut().for_each(|s| s.is_optimistic = true);
                member.is_up = member.judge(checkers);
            }
            member.is_new &= !serves(at);
            // The weight that the last run of a checker asked for, until the first run of this one.
            if member.is_weighed(checkers) {
                member.checked_weight = weight(at).filter(|found| *found != member.real_server.weight);
            }
        }
        for (at, entry) in &actual.destinations {
            if let Some(deadline) = was_leaving(at) {
                let destination = Destination { weight: 0, ..entry.destination };
                self.leaving.insert(*at, Leaving::new(destination, deadline));
            }
        }
        // The destinations with weight show on which side of the hysteresis the quorum was.
        if self
            .server
            .sorry_server
            .is_some_and(|s| !self.members.contains_key(&s.address) && serves(&s.address))
        {
            self.has_quorum = false;
        } else if self.members.keys().any(serves) {
            self.has_quorum = true;
        }
        self.stay_as_found(now, actual, was_staying);
        self.has_quorum = self.next_quorum();
    }

    /// Derives health, quorum and the desired service anew.
    pub(crate) fn recompute(&mut self, now: Instant, checkers: &Checkers, events: &mut Vec<Event>) {
        self.throttle(now, self.members.len());
        #[cfg(test)]
        {
            self.looked_at += self.members.len();
            super::steps::take(self.members.len());
        }
        self.recompute_members(now, checkers, events);
        let down = self.recompute_staying(now, checkers, events);
        self.recompute_quorum(checkers, events);
        let state = |at| self.members.get(&at).map_or(desired::MemberState::Out, Member::state);
        let mut wanted = desired::destinations(&self.server, self.has_quorum, state);
        if !self.is_sorry_active() {
            wanted.extend(self.staying.iter().map(|(at, staying)| (*at, staying.destination)));
        }
        self.recompute_leaving(now, &wanted, &down, events);
        let mut destinations = wanted;
        for (at, leaving) in &self.leaving {
            destinations.insert(*at, leaving.destination);
        }
        let desired = DesiredService { service: desired::service(&self.server), destinations };
        // What has not changed stays the one the reconciler holds, too.
        if *self.desired != desired {
            self.desired = Arc::new(desired);
        }
        if self.mark.is_none() {
            self.in_kernel = Arc::clone(&self.desired);
            return;
        }
        let in_kernel = desired::by_mark(&self.desired);
        if *self.in_kernel != in_kernel {
            self.in_kernel = Arc::new(in_kernel);
        }
    }

    fn recompute_members(&mut self, now: Instant, checkers: &Checkers, events: &mut Vec<Event>) {
        for member in self.members.values_mut() {
            let is_up = member.judge(checkers);
            let is_news = match is_up {
                true => !member.is_up,
                false => member.is_up || (!member.is_reported && member.is_decided(checkers)),
            };
            if member.is_up != is_up {
                member.is_up = is_up;
                member.since = now;
            }
            if is_up || is_news {
                member.is_reported = true;
            }
            let checked_weight = member.weigh(checkers);
            if member.checked_weight != checked_weight {
                member.checked_weight = checked_weight;
                events.push(Event::Weight {
                    virtual_server: self.server.id,
                    real_server: member.real_server.named(),
                    weight: checked_weight.unwrap_or(member.real_server.weight),
                    reason: member.weight_reason(checkers),
                });
            }
            if is_news {
                events.push(Event::RealServer {
                    virtual_server: self.server.id,
                    real_server: member.real_server.named(),
                    is_up,
                    reason: member.reason(checkers),
                });
            }
        }
    }

    fn recompute_quorum(&mut self, checkers: &Checkers, events: &mut Vec<Event>) {
        let has_quorum = self.next_quorum();
        let is_changed = has_quorum != self.has_quorum;
        self.has_quorum = has_quorum;
        // One that was never there is reported once the first checks have decided that it is missing.
        let is_missing = !has_quorum
            && !self.is_quorum_reported
            && self.members.values().all(|member| member.is_decided(checkers));
        self.is_quorum_reported |= has_quorum || is_changed || is_missing;
        if !is_changed && !is_missing {
            return;
        }
        events.push(Event::Quorum {
            virtual_server: self.server.id,
            has_quorum,
            weight: self.live_weight(),
            quorum: self.server.quorum,
        });
        if let Some(sorry) = &self.server.sorry_server {
            events.push(Event::SorryServer {
                virtual_server: self.server.id,
                sorry_server: sorry.address,
                is_active: !has_quorum,
            });
        }
    }

    /// keepalived: lost when W == 0 or W < quorum - hysteresis, gained when W >= quorum + hysteresis.
    fn next_quorum(&self) -> bool {
        self.is_quorum(self.live_weight())
    }

    /// Whether this weight would be a quorum now.
    pub(super) fn is_quorum(&self, weight: u64) -> bool {
        let (quorum, hysteresis) = (u64::from(self.server.quorum), u64::from(self.server.hysteresis));
        if self.has_quorum {
            weight > 0 && weight >= quorum.saturating_sub(hysteresis)
        } else {
            weight > 0 && weight >= quorum + hysteresis
        }
    }

    fn recompute_leaving(
        &mut self,
        now: Instant,
        wanted: &BTreeMap<DestinationKey, Destination>,
        down: &BTreeSet<SocketAddr>,
        events: &mut Vec<Event>,
    ) {
        let is_cut = |at: &SocketAddr| down.contains(at) || self.members.get(at).is_some_and(Member::is_cut);
        let server = self.server.id;
        let ordered = |at: &SocketAddr| match self.members.get(at)?.admin.state {
            AdminState::Drained { deadline } => Some(deadline),
            AdminState::Free | AdminState::Disabled => None,
        };
        self.leaving.retain(|at, leaving| {
            leaving.deadline = ordered(at).unwrap_or(leaving.deadline);
            let is_over = now >= leaving.deadline;
            if is_over {
                let real_server = named(&self.members, at);
                events.push(Event::Left { virtual_server: server, real_server, cut: leaving.active });
            }
            !is_over && !wanted.contains_key(at) && !is_cut(at)
        });
        if desired::must_leave_at_once(&self.server) {
            self.leaving.clear();
            return;
        }
        for (at, previous) in &self.desired.destinations {
            // One that was ordered to have left by now does so at once.
            let deadline = ordered(at).unwrap_or(now + DRAIN_DEADLINE);
            if previous.weight > 0 && !wanted.contains_key(at) && !is_cut(at) && deadline > now {
                let destination = Destination { weight: 0, ..*previous };
                self.leaving.entry(*at).or_insert(Leaving::new(destination, deadline));
            }
        }
    }

    /// Takes a fresh reading of the kernel's connection counts; true when a destination has finished leaving.
    pub(crate) fn watch_leaving(
        &mut self,
        now: Instant,
        actual: Option<&ServiceEntry>,
        events: &mut Vec<Event>,
    ) -> bool {
        let before = self.leaving.len();
        let server = self.server.id;
        self.leaving.retain(|at, leaving| {
            let Some(entry) = actual.and_then(|a| a.destinations.get(at)) else { return false };
            leaving.active = entry.connections.active;
            if entry.destination.weight > 0 {
                leaving.quiesced_since = None;
                return true;
            }
            let since = *leaving.quiesced_since.get_or_insert(now);
            // A closed connection counts too: until the kernel forgets it, a client that comes again from the same
            // port is sent to this destination, and into the void when it is gone.
            let connections = entry.connections.active.saturating_add(entry.connections.inactive);
            let is_kept = connections > 0 || now.since(since) < DRAIN_GRACE;
            if !is_kept {
                let real_server = named(&self.members, at);
                events.push(Event::Left { virtual_server: server, real_server, cut: 0 });
            }
            is_kept
        });
        self.leaving.len() != before
    }

    /// When the first leaving or staying destination runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.values().map(|l| l.deadline).min();
        leaving.into_iter().chain(self.staying.values().map(|s| s.deadline)).min()
    }

    /// What the kernel should hold, in the virtual server's words.
    pub(super) fn desired(&self) -> &DesiredService {
        &self.desired
    }

    /// Postpones the next recomputation because of check results. `looked_at` counts the members of all pools that were
    /// recomputed together, because the next result may concern all of them again.
    pub(crate) fn throttle(&mut self, now: Instant, looked_at: usize) {
        let pause =
            THROTTLE_EACH.saturating_mul(u32::try_from(looked_at).unwrap_or(u32::MAX)).min(THROTTLE_MOST);
        self.throttled_until = if pause < THROTTLE_LEAST { now } else { now + pause };
    }

    /// When check results may recompute it again.
    pub(crate) fn throttled_until(&self) -> Instant {
        self.throttled_until
    }

    /// The service's key in the kernel.
    pub(crate) fn key(&self) -> ServiceKey {
        desired::key(self.server.id, self.mark)
    }

    /// What the kernel should hold.
    pub(crate) fn in_kernel(&self) -> &Arc<DesiredService> {
        &self.in_kernel
    }

    /// What the kernel holds, in the virtual server's words.
    pub(crate) fn seen<'a>(&self, entry: &'a ServiceEntry) -> Cow<'a, ServiceEntry> {
        match self.mark {
            None => Cow::Borrowed(entry),
            Some(_) => Cow::Owned(desired::by_address(entry, &self.server)),
        }
    }

    /// Whether enough real servers are up.
    pub(crate) fn has_quorum(&self) -> bool {
        self.has_quorum
    }

    /// Whether the sorry server serves.
    pub(crate) fn is_sorry_active(&self) -> bool {
        !self.has_quorum && self.server.sorry_server.is_some()
    }

    /// Weight of the live real servers, with those that stay until they are replaced.
    pub(crate) fn live_weight(&self) -> u64 {
        let staying = self.staying.values().map(|s| u64::from(s.destination.weight));
        self.members_weight() + staying.sum::<u64>()
    }

    /// Weight of the live members.
    pub(super) fn members_weight(&self) -> u64 {
        let weight = |m: &Member| match m.state() {
            desired::MemberState::Serving(weight) => u64::from(weight),
            desired::MemberState::Failed | desired::MemberState::Out => 0,
        };
        self.members.values().map(weight).sum()
    }
}

/// What the operator calls a destination: by the port that was written, where it is a real server of the pool.
pub(super) fn named(members: &BTreeMap<SocketAddr, Member>, at: &SocketAddr) -> SocketAddr {
    members.get(at).map_or(*at, |member| member.real_server.named())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{ServerNotices, VirtualServerId};
    use crate::ipvs::scheduler::Scheduler;
    use crate::ipvs::types::{Forwarding, Protocol, ServiceFlags};

    /// Quorum, hysteresis, and for each live weight from 0 to 6: kept when there (k) or lost (l), gained when not
    /// there (g) or missed (m).
    #[test]
    fn the_table_of_quorum_is_exhaustive() {
        let table = [
            (1, 0, "l k k k k k k", "m g g g g g g"),
            (2, 0, "l l k k k k k", "m m g g g g g"),
            (2, 1, "l k k k k k k", "m m m g g g g"),
            (3, 0, "l l l k k k k", "m m m g g g g"),
            (3, 1, "l l k k k k k", "m m m m g g g"),
            (3, 2, "l k k k k k k", "m m m m m g g"),
            (4, 0, "l l l l k k k", "m m m m g g g"),
            (4, 3, "l k k k k k k", "m m m m m m m"),
        ];
        for (quorum, hysteresis, when_there, when_not) in table {
            for (had_quorum, expected) in [(true, when_there), (false, when_not)] {
                for (weight, letter) in expected.split(' ').enumerate() {
                    let mut pool = pool(quorum, hysteresis, weight);
                    pool.has_quorum = had_quorum;
                    let expected = matches!(letter, "k" | "g");
                    let situation = (quorum, hysteresis, had_quorum, weight);
                    assert_eq!(pool.next_quorum(), expected, "{situation:?}");
                }
            }
        }
    }

    fn pool(quorum: u32, hysteresis: u32, weight: usize) -> Pool {
        let real_server = Arc::new(RealServer {
            address: "10.1.0.1:80".parse().unwrap(),
            written_port: 80,
            forwarding: Forwarding::Dr,
            weight: u32::try_from(weight).unwrap(),
            inhibit_on_failure: false,
            upper_threshold: 0,
            lower_threshold: 0,
            checkers: vec![],
            path_check: None,
            commands: None,
            is_mailed: false,
        });
        let server = VirtualServer {
            id: VirtualServerId::Address { protocol: Protocol::Tcp, address: [10, 0, 0, 1].into(), port: 80 },
            scheduler: Scheduler::new("rr").unwrap(),
            flags: ServiceFlags::default(),
            persistence: None,
            persistence_engine: None,
            quorum,
            hysteresis,
            sorry_server: None,
            real_servers: vec![real_server.clone()],
            checks_need_vip: false,
            notices: ServerNotices::default(),
        };
        let member = Member {
            real_server,
            subscriptions: Box::default(),
            is_up: true,
            since: Instant::ZERO,
            is_reported: true,
            is_new: false,
            admin: AdminOverride::default(),
            checked_weight: None,
            notified: None,
        };
        Pool::new(server, BTreeMap::from([(member.real_server.address, member)]))
    }
}
