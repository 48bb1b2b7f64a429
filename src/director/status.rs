//! The director as an operator sees it; serialized for `lvsd status --json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::Director;
use super::admin_override::Selector;
use super::checkers::Entry;
use super::path_check::is_path_check;
use super::pool::{Member, Pool};
use super::problems::Problem;
use super::track_checks::TrackCheckStatus;
use crate::check::outcome::{Outcome, ProbeResult};
use crate::check::schedule::{Attempt, Health};
use crate::config::VirtualServerId;
use crate::ipvs::types::{Connections, Forwarding, ServiceEntry, ServiceKey, Stats};
use crate::time::{Instant, milliseconds};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether the kernel holds what it should, as far as is known.
    pub is_converged: bool,
    /// How long ago the kernel's table was last read as a whole: what is said of it is not younger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_seconds: Option<u64>,
    /// Whether the kernel held what it should at least once since the start.
    pub is_ready: bool,
    /// Whether clients known by persistence are sent elsewhere now, because a server of theirs leaves.
    #[serde(default)]
    pub expires_templates: bool,
    /// Whether this kernel was found unable to mark packets: services of which this host is a real server are by
    /// address.
    #[serde(default)]
    pub cannot_mark: bool,
    /// Whether anything of the kernel's IPVS is wanted, or is still ours; never without virtual server, sync daemon and
    /// timeouts.
    pub is_ipvs_used: bool,
    /// Why the kernel does not answer, or refuses a timeout or sync daemon, while it does.
    pub kernel_trouble: Option<String>,
    /// Virtual servers, sorted.
    pub virtual_servers: Vec<VirtualServerStatus>,
    /// Services in the kernel that are not configured; left alone.
    pub foreign_services: Vec<VirtualServerId>,
    /// How often a change by another program was repaired since the start.
    pub drift_repaired: u64,
    /// The last of these changes.
    pub last_drift: Option<DriftStatus>,
    /// Services found in the kernel that became ours, since the start.
    pub services_adopted: u64,
    /// How often the kernel refused an operation or failed to answer since the start.
    pub kernel_errors: u64,
    /// Checks that virtual routers track, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vrrp_checks: Vec<TrackCheckStatus>,
    pub checkers: usize,
    /// Those that could not run for several intervals, for a reason of this host.
    #[serde(default)]
    pub stale_checkers: usize,
    /// How late the latest check is to begin or to end, in milliseconds.
    pub overdue_milliseconds: u64,
}

/// A change by another program that was repaired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftStatus {
    /// The virtual server of the changed service.
    pub virtual_server: VirtualServerId,
    /// What it was, in words.
    pub what: String,
    /// How many seconds ago it was found.
    pub seconds_ago: u64,
}

/// One virtual server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtualServerStatus {
    pub virtual_server: VirtualServerId,
    pub scheduler: String,
    /// Whether enough real servers are up.
    pub has_quorum: bool,
    /// Weight of the live real servers.
    pub live_weight: u64,
    pub quorum: u32,
    /// What is done because this host is one of its real servers, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub colocated: Option<ColocatedStatus>,
    /// Why its checks do not run (`ha_suspend`), in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspended: Option<String>,
    /// What the kernel refuses, while it does.
    pub degraded: Option<String>,
    /// What its clients suffer although the kernel holds what it should.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<Problem>,
    /// Whether the service is in the kernel.
    pub is_in_kernel: bool,
    /// The kernel's counters, as last read.
    pub stats: Stats,
    /// How many seconds ago the kernel's counters and connections were read; None before the first time.
    pub sample_age_seconds: Option<u64>,
    /// Real servers, sorted.
    pub real_servers: Vec<RealServerStatus>,
    /// The sorry server.
    pub sorry_server: Option<SorryServerStatus>,
    /// Removed real servers that serve their last connections.
    pub leaving: Vec<SocketAddr>,
    /// Real servers that the configuration takes out, and that serve until what replaces them is up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub staying: Vec<SocketAddr>,
}

/// What is done for a virtual server of which this host is a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColocatedStatus {
    /// What it is, in words.
    pub what: String,
    /// The mark of its service in the kernel.
    pub mark: Option<u32>,
    /// Whether packets get that mark wherever they should.
    pub is_marked: bool,
}

/// One real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerStatus {
    /// Address and port.
    pub real_server: SocketAddr,
    /// The same with the port that was written, where the kernel knows none (a firewall mark's, by DR or TUN).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<SocketAddr>,
    /// Up, failing, down or unknown.
    pub health: HealthStatus,
    /// Whether it counts as up for its pool.
    pub is_up: bool,
    /// For how many seconds.
    pub since_seconds: u64,
    /// Why, in words.
    pub reason: String,
    /// For how many seconds a checker could not run, for a reason of this host.
    pub unverified_seconds: Option<u64>,
    /// Why a checker could not run for so long that the verdict that is held is not to be believed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchecked: Option<String>,
    /// Runs of its checkers that ended, since they began.
    pub checks: u64,
    /// Those of them that failed.
    pub check_failures: u64,
    /// The certificates its checkers were last shown, by target; of one target, the one that ends first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateStatus>,
    /// What was last found of the way packets for the VIP take to it, where that is checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathStatus>,
    /// That it answers its neighbours for the VIP, which it must not, and by which link-layer address, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<String>,
    pub forwarding: Forwarding,
    /// What an operator said about it, in words; None when nothing.
    pub order: Option<String>,
    /// Weight while it serves: the configured one, unless an operator gave another.
    pub weight: u32,
    /// Weight by configuration.
    #[serde(default)]
    pub configured_weight: u32,
    /// Weight in the kernel, as last read; None when it is not there.
    pub kernel_weight: Option<u32>,
    /// Live connections in the kernel, as last read.
    pub connections: Connections,
    /// The kernel's counters, as last read.
    pub stats: Stats,
}

impl RealServerStatus {
    /// Address and port as an operator calls it.
    pub fn name(&self) -> SocketAddr {
        self.named.unwrap_or(self.real_server)
    }
}

/// What was found of the way packets for the VIP take to a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStatus {
    /// Whether they arrive and are answered; None before the first verdict, or where the last probe gave none.
    pub is_good: Option<bool>,
    pub words: String,
}

/// The certificate of a server that was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateStatus {
    /// Address and port that was checked: mostly the real server's own.
    pub target: SocketAddr,
    /// When it ends (X.509 `notAfter`), in seconds since 1970 UTC.
    pub not_after: u64,
}

/// Health in one word: the worst of a real server's checkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthStatus {
    /// Every checker passed last time (or there is none).
    Up,
    /// Not checked yet.
    Unknown,
    /// Failing, not yet often enough to be down.
    Failing,
    /// Down, passing, not yet often enough to be up.
    Rising,
    Down,
}

/// The sorry server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SorryServerStatus {
    /// Address and port.
    pub sorry_server: SocketAddr,
    /// Whether it serves.
    pub is_active: bool,
    /// Weight in the kernel, as last read; None when it is not there.
    pub kernel_weight: Option<u32>,
}

/// Everything known about the health of one real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealServerHistory {
    /// Its virtual server.
    pub virtual_server: VirtualServerId,
    /// How it stands.
    pub status: RealServerStatus,
    pub checkers: Vec<CheckerHistory>,
}

/// What a checker asks, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckerHistory {
    /// keepalived's word for the checker.
    pub checker: String,
    /// Address and port it checks.
    pub target: SocketAddr,
    /// What it knows.
    pub health: HealthStatus,
    /// When the certificate it was last shown ends, in seconds since 1970 UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<u64>,
    /// It does not run, because this host has none of the VIPs it is for (`ha_suspend`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_suspended: bool,
    /// Milliseconds until the next run; None while one is under way, and while it is suspended.
    pub next_run_ms: Option<u64>,
    /// The last attempts, oldest first; runs in a row that ended alike are one.
    pub attempts: Vec<ProbeHistory>,
}

/// Runs in a row that ended alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeHistory {
    pub count: u32,
    /// How many milliseconds ago the first of them ended.
    pub first_ms_ago: u64,
    /// How many milliseconds ago the last of them ended.
    pub last_ms_ago: u64,
    /// How the last of them ended.
    pub outcome: Outcome,
}

/// A status that is being made: of thousands of real servers some at a time.
#[derive(Debug)]
pub struct PartialStatus {
    virtual_servers: Vec<VirtualServerStatus>,
    /// The last one is to be completed behind this real server.
    within: Option<Bound<SocketAddr>>,
    /// The next virtual server is behind this one.
    next: Bound<VirtualServerId>,
}

impl Default for PartialStatus {
    fn default() -> PartialStatus {
        PartialStatus { virtual_servers: Vec::new(), within: None, next: Bound::Unbounded }
    }
}

impl Director {
    /// Everything known about the health of the selected real servers.
    pub fn histories(&self, now: Instant, selector: &Selector) -> Vec<RealServerHistory> {
        let history = |(id, at): (VirtualServerId, SocketAddr)| {
            let pool = self.pools.get(&id)?;
            let member = pool.members.get(&at)?;
            let history = |checker| {
                let is_suspended = self.checkers.is_suspended(checker);
                self.checkers.get(checker).map(|entry| checker_history(now, entry, is_suspended))
            };
            Some(RealServerHistory {
                virtual_server: id,
                status: self.real_server_status(now, id, member, self.seen(pool).as_deref()),
                checkers: member.subscriptions.iter().filter_map(|s| history(s.checker)).collect(),
            })
        };
        self.select(selector).into_iter().filter_map(history).collect()
    }

    /// Looks at `most` more virtual and real servers; true once all were looked at. The configuration must stay the
    /// same meanwhile.
    pub fn gather(&self, now: Instant, partial: &mut PartialStatus, mut most: usize) -> bool {
        loop {
            let Some((id, pool)) = self.pools.range((partial.next, Bound::Unbounded)).next() else {
                return true;
            };
            if most == 0 {
                return false;
            }
            let seen = self.seen(pool);
            let actual = seen.as_deref();
            let after = *partial.within.get_or_insert_with(|| {
                partial.virtual_servers.push(self.virtual_server_status(now, pool, actual));
                Bound::Unbounded
            });
            most -= 1;
            let Some(server) = partial.virtual_servers.last_mut() else { return true };
            for (at, member) in pool.members.range((after, Bound::Unbounded)) {
                if most == 0 {
                    return false;
                }
                most -= 1;
                server.real_servers.push(self.real_server_status(now, *id, member, actual));
                partial.within = Some(Bound::Excluded(*at));
            }
            partial.within = None;
            partial.next = Bound::Excluded(*id);
        }
    }

    /// The director as an operator sees it at `now`.
    pub fn status(&self, now: Instant) -> Status {
        let mut partial = PartialStatus::default();
        self.gather(now, &mut partial, usize::MAX);
        self.status_of(now, partial)
    }

    /// The same, of what was gathered.
    pub fn status_of(&self, now: Instant, partial: PartialStatus) -> Status {
        let foreign = self.reconciler.foreign().iter();
        let drift_log = self.reconciler.drift_log();
        Status {
            is_converged: self.reconciler.is_in_sync(),
            read_seconds: self.reconciler.read_at().map(|at| now.since(at).as_secs()),
            is_ready: self.is_ready,
            expires_templates: self.expires_templates(now),
            cannot_mark: self.placement.cannot_mark(),
            is_ipvs_used: self.reconciler.is_needed(),
            kernel_trouble: self.reconciler.kernel_trouble().map(str::to_owned),
            virtual_servers: partial.virtual_servers,
            foreign_services: foreign.map(|key| super::desired::virtual_server_id(*key)).collect(),
            drift_repaired: drift_log.drift_repaired,
            last_drift: drift_log.last_drift.as_ref().map(|drift| DriftStatus {
                virtual_server: self.placement.owner(drift.service),
                what: drift.what.clone(),
                seconds_ago: now.since(drift.at).as_secs(),
            }),
            services_adopted: drift_log.adopted,
            kernel_errors: self.reconciler.errors(),
            vrrp_checks: self.track_check_status(now),
            checkers: self.checkers.len(),
            stale_checkers: self.checkers.stale(),
            overdue_milliseconds: milliseconds(self.checkers.overdue(now)),
        }
    }

    /// What the kernel was last known to hold of a virtual server, in its words.
    fn seen<'a>(&'a self, pool: &Pool) -> Option<Cow<'a, ServiceEntry>> {
        self.reconciler.actual(&pool.key()).map(|entry| pool.seen(entry))
    }

    /// The virtual server a service in the kernel is of, or would be.
    pub fn owner(&self, key: ServiceKey) -> VirtualServerId {
        self.placement.owner(key)
    }

    /// Without its real servers.
    fn virtual_server_status(
        &self,
        now: Instant,
        pool: &Pool,
        actual: Option<&ServiceEntry>,
    ) -> VirtualServerStatus {
        let key = pool.key();
        let degraded = self.reconciler.failure(&key);
        let sorry_server = pool.server.sorry_server.map(|sorry| SorryServerStatus {
            sorry_server: sorry.address,
            is_active: pool.is_sorry_active(),
            kernel_weight: kernel_weight(actual, &sorry.address),
        });
        VirtualServerStatus {
            virtual_server: pool.server.id,
            scheduler: pool.server.scheduler.to_string(),
            has_quorum: pool.has_quorum(),
            live_weight: pool.live_weight(),
            quorum: pool.server.quorum,
            colocated: self.placement.colocated(pool.server.id).map(|colocated| ColocatedStatus {
                what: colocated.to_string(),
                mark: pool.mark,
                is_marked: pool.mark.is_some_and(|mark| self.placement.is_marked(mark)),
            }),
            suspended: self.suspended_words(pool.server.id),
            degraded: degraded.map(|trouble| trouble.reason.clone()),
            problems: pool.problems.iter().cloned().collect(),
            is_in_kernel: actual.is_some(),
            stats: actual.map(|a| a.stats).unwrap_or_default(),
            sample_age_seconds: self.reconciler.sampled(&key).map(|at| now.since(at).as_secs()),
            real_servers: Vec::with_capacity(pool.members.len()),
            sorry_server,
            leaving: pool.leaving.keys().copied().collect(),
            staying: pool.staying.keys().copied().collect(),
        }
    }

    fn real_server_status(
        &self,
        now: Instant,
        id: VirtualServerId,
        member: &Member,
        actual: Option<&ServiceEntry>,
    ) -> RealServerStatus {
        let at = member.real_server.address;
        let entry = actual.and_then(|a| a.destinations.get(&at));
        let checkers = || member.subscriptions.iter().filter_map(|s| self.checkers.get(s.checker));
        let inconclusive = checkers().filter_map(|c| c.schedule.inconclusive_since()).min();
        let mut stale = member.subscriptions.iter().filter(|s| self.checkers.is_stale(s.checker));
        let stale = stale.find_map(|s| self.checkers.get(s.checker)?.schedule.last());
        RealServerStatus {
            real_server: at,
            named: Some(member.real_server.named()).filter(|named| *named != at),
            health: checkers().map(|c| c.schedule.health().into()).max().unwrap_or(HealthStatus::Up),
            is_up: member.is_up,
            since_seconds: now.since(member.since).as_secs(),
            reason: member.reason(&self.checkers),
            unverified_seconds: inconclusive.map(|since| now.since(since).as_secs()),
            unchecked: stale.map(|outcome| outcome.reason.to_string()),
            checks: checkers().map(|c| u64::from(c.runs)).sum(),
            check_failures: checkers().map(|c| u64::from(c.failures)).sum(),
            certificates: certificates(checkers()),
            path: checkers().find(|entry| is_path_check(entry)).map(path_status),
            leak: self.arp_problem(id, at.ip()),
            forwarding: member.real_server.forwarding,
            order: (!member.admin.is_none()).then(|| member.admin.to_string()),
            weight: member.weight(),
            configured_weight: member.real_server.weight,
            kernel_weight: entry.map(|d| d.destination.weight),
            connections: entry.map(|d| d.connections).unwrap_or_default(),
            stats: entry.map(|d| d.stats).unwrap_or_default(),
        }
    }
}

fn path_status(entry: &Entry) -> PathStatus {
    let Some(last) = entry.schedule.last() else {
        return PathStatus { is_good: None, words: "not checked yet".to_owned() };
    };
    let is_good = match last.result {
        ProbeResult::Pass => Some(true),
        ProbeResult::Fail => Some(false),
        ProbeResult::Inconclusive => None,
    };
    PathStatus { is_good, words: last.reason.to_string() }
}

fn certificates<'a>(checkers: impl Iterator<Item = &'a Entry>) -> Vec<CertificateStatus> {
    let mut ends: BTreeMap<SocketAddr, u64> = BTreeMap::new();
    for (target, end) in
        checkers.filter_map(|c| Some((c.spec.target.address, c.certificate.as_ref()?.not_after)))
    {
        ends.entry(target).and_modify(|soonest| *soonest = end.min(*soonest)).or_insert(end);
    }
    ends.into_iter().map(|(target, not_after)| CertificateStatus { target, not_after }).collect()
}

pub(super) fn checker_history(now: Instant, entry: &Entry, is_suspended: bool) -> CheckerHistory {
    let attempt = |a: &Attempt| ProbeHistory {
        count: a.count,
        first_ms_ago: milliseconds(now.since(a.since)),
        last_ms_ago: milliseconds(now.since(a.until)),
        outcome: a.outcome.clone(),
    };
    CheckerHistory {
        checker: entry.spec.question.keyword().to_owned(),
        target: entry.spec.target.address,
        health: entry.schedule.health().into(),
        certificate_not_after: entry.certificate.as_ref().map(|c| c.not_after),
        is_suspended,
        next_run_ms: entry
            .schedule
            .deadline()
            .filter(|_| !is_suspended)
            .map(|at| milliseconds(at.since(now))),
        attempts: entry.schedule.attempts().map(attempt).collect(),
    }
}

impl From<Health> for HealthStatus {
    fn from(health: Health) -> HealthStatus {
        match health {
            Health::Unknown => HealthStatus::Unknown,
            Health::Up => HealthStatus::Up,
            Health::Failing(_) => HealthStatus::Failing,
            Health::Down => HealthStatus::Down,
            Health::Rising(_) => HealthStatus::Rising,
        }
    }
}

fn kernel_weight(actual: Option<&ServiceEntry>, at: &SocketAddr) -> Option<u32> {
    actual.and_then(|a| a.destinations.get(at)).map(|d| d.destination.weight)
}
