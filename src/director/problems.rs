//! What clients of a virtual server suffer although the kernel's table is as desired: no server takes new connections,
//! another program changes the service again and again, connections to a real server stay half open.
//!
//! Level-triggered: [`Director::find_problems`] derives the problems of one virtual server after its pool was recomputed
//! or its service was read, and reports those that begin and end.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::admin_override::AdminState;
use super::event::{Event, count};
use super::pool::{self, Pool};
use super::{Director, Life};
use crate::config::VirtualServerId;
use crate::ipvs::connections::{Flow, Handshakes};
use crate::ipvs::types::{Family, ServiceEntry};
use crate::time::{Instant, milliseconds};

/// Half-open connections below this number say nothing: clients go away, too.
const HALF_OPEN_LEAST: u32 = 3;
/// Virtual servers by firewall mark that a connection may be of, at most: the kernel's list names no mark.
const MARKS: usize = 64;
/// Readings in a row that must show the same before it is a problem.
const READINGS: u32 = 2;

/// The kinds of problems, for metrics and history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// [`Problem::TakesNobody`]
    TakesNobody,
    /// [`Problem::Recurring`]
    Recurring,
    /// [`Problem::HalfOpen`]
    HalfOpen,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::TakesNobody, Kind::Recurring, Kind::HalfOpen];

    /// Its word for machines.
    pub fn word(self) -> &'static str {
        match self {
            Kind::TakesNobody => "no_new_connections",
            Kind::Recurring => "recurring_change",
            Kind::HalfOpen => "half_open",
        }
    }
}

/// What clients of a virtual server suffer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    /// No destination takes new connections.
    #[serde(rename = "no_new_connections")]
    TakesNobody(Idle),
    /// Another program changes the service again and again.
    #[serde(rename = "recurring_change")]
    Recurring {
        /// How often it was put right since the first time.
        times: u64,
        /// The average time from one change to the next.
        period_milliseconds: u64,
        /// The last change, in words.
        what: String,
    },
    /// Clients' connections to a real server stay half open, and none is completed.
    HalfOpen {
        /// Address and port.
        real_server: SocketAddr,
        half_open: u32,
    },
}

/// Why no destination takes new connections: how many real servers do not, by their reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idle {
    /// Those that are down.
    pub down: usize,
    /// Those that an operator drained, disabled, or gave the weight 0.
    pub by_order: usize,
    /// Those whose configured weight is 0.
    pub weight_zero: usize,
    /// Those that have as many connections as their upper threshold.
    pub overloaded: usize,
}

impl Problem {
    pub fn kind(&self) -> Kind {
        match self {
            Problem::TakesNobody(_) => Kind::TakesNobody,
            Problem::Recurring { .. } => Kind::Recurring,
            Problem::HalfOpen { .. } => Kind::HalfOpen,
        }
    }

    /// What makes it another one than the others of its kind.
    fn key(&self) -> Key {
        match self {
            Problem::HalfOpen { real_server, .. } => (self.kind(), Some(*real_server)),
            _ => (self.kind(), None),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Problem::TakesNobody(idle) if idle.down > 0 => {
                "`lvsd why REAL-SERVER` says what is wrong with each; a sorry_server answers meanwhile"
            }
            Problem::TakesNobody(idle) if idle.by_order > 0 => "lvsd enable REAL-SERVER takes an order back",
            Problem::TakesNobody(idle) if idle.overloaded > 0 => {
                "raise uthreshold, or add real servers or a sorry_server"
            }
            Problem::TakesNobody(_) => {
                "give a real server a weight above 0 in the configuration, then: lvsd reload"
            }
            Problem::Recurring { .. } => {
                "find the program: kube-proxy, keepalived, ldirectord, or ipvsadm in cron and in scripts; lvsd doctor \
                 names those that run here"
            }
            Problem::HalfOpen { .. } => {
                "run lvsd doctor on the real server; DR and TUN need the VIP there, NAT a way back through this host; \
                 `path_check` in the virtual server tests it for each real server"
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::TakesNobody(idle) => write!(f, "takes no new connections: {idle}"),
            Problem::Recurring { times, period_milliseconds, what } => write!(
                f,
                "another program changes it every {}, repaired {times} times so far: {what}",
                seconds(*period_milliseconds)
            ),
            Problem::HalfOpen { real_server, half_open } => write!(
                f,
                "no client completes a connection to {real_server}: {half_open} stay half open \
                 (SYN_RECV)"
            ),
        }
    }
}

/// `1 s`, `0.3 s`.
fn seconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("0.{} s", milliseconds / 100),
        more => format!("{} s", (more + 500) / 1000),
    }
}

impl fmt::Display for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.down, "down"),
            (self.by_order, "out by an operator's order"),
            (self.weight_zero, "of weight 0 in the configuration"),
            (self.overloaded, "at the upper threshold"),
        ];
        let mut parts = parts.iter().filter(|(n, _)| *n > 0).peekable();
        if parts.peek().is_none() {
            return f.write_str("it has no real server");
        }
        f.write_str("of its real servers ")?;
        for (n, (number, what)) in parts.enumerate() {
            let verb = if *number == 1 { "is" } else { "are" };
            write!(f, "{}{number} {verb} {what}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Identifies a problem among those of one virtual server.
type Key = (Kind, Option<SocketAddr>);

/// The problems of a virtual server, and what may become one.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    current: BTreeMap<Key, Problem>,
    /// By real server: how many connections were half open, and in how many readings in a row.
    half_open: BTreeMap<SocketAddr, (u32, u32)>,
    /// Readings in a row in which all real servers that could serve were at their threshold.
    overloaded: u32,
}

impl Problems {
    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.current.values()
    }
}

/// Why no server takes new connections; None while one does, or while that is not known yet.
fn idle(pool: &Pool, actual: Option<&ServiceEntry>) -> Option<Idle> {
    // A server that stays serves on until it is replaced.
    if pool.is_sorry_active() || pool.staying.values().any(|staying| staying.destination.weight > 0) {
        return None;
    }
    let mut idle = Idle::default();
    for (at, member) in &pool.members {
        let connections = actual.and_then(|entry| entry.destinations.get(at)).map(|entry| entry.connections);
        let is_full = connections.is_some_and(|connections| {
            let all = connections.active.saturating_add(connections.inactive);
            member.real_server.upper_threshold > 0 && all >= member.real_server.upper_threshold
        });
        let number = if member.admin.state != AdminState::Free || member.admin.weight == Some(0) {
            &mut idle.by_order
        } else if !member.is_up && member.is_reported {
            &mut idle.down
        } else if member.is_up && member.weight() == 0 {
            &mut idle.weight_zero
        } else if member.is_up && is_full {
            &mut idle.overloaded
        } else {
            // It serves, or its first check has not ended.
            return None;
        };
        *number += 1;
    }
    Some(idle)
}

impl Director {
    /// Clients' connections, as sampled from the kernel.
    pub(super) fn on_handshakes(
        &mut self,
        now: Instant,
        sample: &BTreeMap<Flow, Handshakes>,
        events: &mut Vec<Event>,
    ) {
        if self.life != Life::Running {
            return;
        }
        let mut found: BTreeMap<(VirtualServerId, SocketAddr), Handshakes> = BTreeMap::new();
        for (flow, handshakes) in sample {
            for (id, at) in self.pools_of(flow) {
                let sum = found.entry((id, at)).or_default();
                sum.half_open = sum.half_open.saturating_add(handshakes.half_open);
                sum.completed = sum.completed.saturating_add(handshakes.completed);
            }
        }
        let is_suspect = |seen: &Handshakes| seen.completed == 0 && seen.half_open >= HALF_OPEN_LEAST;
        let suspects: BTreeMap<_, _> = found.into_iter().filter(|(_, seen)| is_suspect(seen)).collect();
        let mut touched = std::mem::take(&mut self.half_open);
        touched.extend(suspects.keys().map(|(id, _)| *id));
        for id in touched {
            let Some(pool) = self.pools.get_mut(&id) else { continue };
            let before = std::mem::take(&mut pool.problems.half_open);
            for ((_, at), seen) in suspects.iter().filter(|((of, _), _)| *of == id) {
                let readings = before.get(at).map_or(0, |(_, readings)| *readings);
                pool.problems.half_open.insert(*at, (seen.half_open, readings.saturating_add(1)));
            }
            if !pool.problems.half_open.is_empty() {
                self.half_open.insert(id);
            }
            self.find_problems(now, id, false, events);
        }
    }

    /// The virtual servers and real servers that a flow of clients' connections belongs to.
    fn pools_of(&self, flow: &Flow) -> Vec<(VirtualServerId, SocketAddr)> {
        let port_of = |pool: &Pool| {
            let sorry = pool.server.sorry_server.as_ref().map(|sorry| sorry.address);
            let has = |at: &SocketAddr| pool.members.contains_key(at) || sorry == Some(*at);
            // By DR and TUN of a firewall mark or of all ports, the kernel has no port.
            [flow.destination, SocketAddr::new(flow.destination.ip(), 0)].into_iter().find(has)
        };
        let by_address = [flow.vip.port(), 0].into_iter().find_map(|port| {
            let (protocol, address) = (flow.protocol, flow.vip.ip());
            let id = VirtualServerId::Address { protocol, address, port };
            let pool = self.pools.get(&id)?;
            Some((id, port_of(pool)?))
        });
        match by_address {
            Some(found) => vec![found],
            None => {
                let first = VirtualServerId::Fwmark { family: Family::Inet, mark: 0 };
                let marked = self.pools.range(first..).take(MARKS);
                marked.filter_map(|(id, pool)| Some((*id, port_of(pool)?))).collect()
            }
        }
    }

    /// Derives the problems of a virtual server anew; `was_read` when the kernel's counts are fresh.
    pub(super) fn find_problems(
        &mut self,
        now: Instant,
        id: VirtualServerId,
        was_read: bool,
        events: &mut Vec<Event>,
    ) {
        let Some(pool) = self.pools.get_mut(&id) else { return };
        let key = pool.key();
        let mut found: BTreeMap<Key, Problem> = BTreeMap::new();
        let mut add = |problem: Problem| {
            found.insert(problem.key(), problem);
        };
        let has_thresholds = pool.members.values().any(|member| member.real_server.upper_threshold > 0);
        let actual = self.reconciler.actual(&key).filter(|_| has_thresholds).map(|entry| pool.seen(entry));
        let idle = idle(pool, actual.as_deref());
        let is_full = idle.is_some_and(|idle| idle.overloaded > 0);
        pool.problems.overloaded = match (is_full, was_read) {
            (false, _) => 0,
            (true, true) => pool.problems.overloaded.saturating_add(1),
            (true, false) => pool.problems.overloaded,
        };
        // A server that is full now and then is no outage.
        if let Some(idle) = idle.filter(|_| !is_full || pool.problems.overloaded >= READINGS) {
            add(Problem::TakesNobody(idle));
        }
        if let Some(recurrence) = self.reconciler.drift_log().recurrence(&key, now) {
            add(Problem::Recurring {
                times: recurrence.times,
                period_milliseconds: milliseconds(recurrence.period()),
                what: recurrence.what.clone(),
            });
        }
        for (at, (half_open, readings)) in &pool.problems.half_open {
            if *readings >= READINGS {
                let real_server = pool::named(&pool.members, at);
                add(Problem::HalfOpen { real_server, half_open: *half_open });
            }
        }
        let before = std::mem::replace(&mut pool.problems.current, found);
        for (key, problem) in &pool.problems.current {
            if !before.contains_key(key) {
                events.push(Event::Problem { virtual_server: id, problem: problem.clone(), is_over: false });
            }
        }
        for (key, problem) in before {
            if !pool.problems.current.contains_key(&key) {
                events.push(Event::Problem { virtual_server: id, problem, is_over: true });
            }
        }
    }
}

/// What an event says of a problem that is over.
pub(super) fn over(problem: &Problem) -> String {
    match problem {
        Problem::TakesNobody(_) => "takes new connections again".to_owned(),
        Problem::Recurring { times, .. } => format!(
            "no other program changes it any more; it was repaired {}",
            count(usize::try_from(*times).unwrap_or(usize::MAX), "time")
        ),
        Problem::HalfOpen { real_server, .. } => {
            format!("connections to {real_server} no longer stay half open")
        }
    }
}

/// Changes of one service by other programs, one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Recurrence {
    pub times: u64,
    /// The last one, in words.
    pub what: String,
    first: Instant,
    last: Instant,
}

/// Changes further apart than this do not belong together.
const APART: Duration = Duration::from_secs(60);
/// So many are no accident.
const TIMES_LEAST: u64 = 3;

impl Recurrence {
    /// One more change; the first one when the last one was long ago.
    pub(crate) fn add(known: Option<Recurrence>, now: Instant, what: String) -> Recurrence {
        match known.filter(|known| known.is_going_on(now)) {
            Some(known) => Recurrence { times: known.times + 1, what, last: now, ..known },
            None => Recurrence { times: 1, what, first: now, last: now },
        }
    }

    /// Whether one more change now would belong to it.
    pub(crate) fn is_going_on(&self, now: Instant) -> bool {
        now.since(self.last) <= APART
    }

    /// Whether it is no accident.
    pub(crate) fn is_recurring(&self) -> bool {
        self.times >= TIMES_LEAST
    }

    /// The average time from one change to the next.
    pub(crate) fn period(&self) -> Duration {
        let gaps = u32::try_from(self.times.saturating_sub(1)).unwrap_or(u32::MAX).max(1);
        self.last.since(self.first) / gaps
    }
}
