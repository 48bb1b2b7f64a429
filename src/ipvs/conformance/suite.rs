//! Helpers of the suite: claims about a backend, and the values it writes.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use crate::ipvs::backend::{Backend, Op, Scope, Snapshot};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{
    Connections, Destination, DestinationEntry, DestinationKey, Family, Forwarding, Protocol, Service,
    ServiceEntry, ServiceFlags, ServiceKey, Settings, Stats, Timeouts,
};

/// Whether a claim, or all of a part's, held; if not, in words.
pub(super) type Outcome = Result<(), String>;

pub(super) const EXIST: i32 = Errno::EXIST.raw_os_error();
pub(super) const INVAL: i32 = Errno::INVAL.raw_os_error();
pub(super) const NODEV: i32 = Errno::NODEV.raw_os_error();
pub(super) const NOENT: i32 = Errno::NOENT.raw_os_error();
pub(super) const RANGE: i32 = Errno::RANGE.raw_os_error();
pub(super) const SRCH: i32 = Errno::SRCH.raw_os_error();

/// Addresses for documentation (RFC 5737, RFC 3849), so that no real traffic is concerned.
pub(super) const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
pub(super) const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// The largest weight the kernel takes.
pub(super) const MOST_WEIGHT: u32 = i32::MAX.unsigned_abs();

pub(super) fn service_key(protocol: Protocol, address: IpAddr, port: u16) -> ServiceKey {
    ServiceKey::Address { protocol, address, port }
}

pub(super) fn tcp(address: IpAddr) -> ServiceKey {
    service_key(Protocol::Tcp, address, 80)
}

/// The `n`th destination of a family.
pub(super) fn destination_key(family: Family, n: u32) -> DestinationKey {
    let address = match family {
        Family::Inet => IpAddr::from(0xcb00_7100u32.wrapping_add(n).to_be_bytes()),
        Family::Inet6 => IpAddr::from((0x2001_0db8_0001_u128 << 80 | u128::from(n)).to_be_bytes()),
    };
    SocketAddr::new(address, 8080)
}

pub(super) fn scheduler(name: &str) -> Result<Scheduler, String> {
    Scheduler::new(name).ok_or_else(|| format!("{name} is no scheduler's name"))
}

pub(super) fn plain() -> Service {
    Service {
        scheduler: Scheduler::new("rr").expect("rr is a module's name"),
        flags: ServiceFlags::default(),
        persistence: None,
        persistence_engine: None,
    }
}

pub(super) fn weight(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Dr, weight, upper_threshold: 0, lower_threshold: 0 }
}

pub(super) fn suite_is_alone(suite: &mut Suite<'_>) -> Result<bool, String> {
    Ok(suite.keys()?.is_empty())
}

/// A backend under test, and how many claims held.
pub(super) struct Suite<'a> {
    pub(super) backend: &'a mut dyn Backend,
    pub(super) claims: usize,
}

impl Suite<'_> {
    pub(super) fn claim(
        &mut self,
        holds: impl FnOnce(&mut Self) -> Result<bool, String>,
        what: &str,
    ) -> Outcome {
        self.claims += 1;
        if holds(self)? { Ok(()) } else { Err(format!("not so: {what}")) }
    }

    pub(super) fn same<T: PartialEq + std::fmt::Debug + ?Sized>(
        &mut self,
        what: &str,
        got: &T,
        want: &T,
    ) -> Outcome {
        self.claims += 1;
        if got == want { Ok(()) } else { Err(format!("{what}: expected {want:?}, got {got:?}")) }
    }

    /// Index and errno of each refusal.
    pub(super) fn apply(&mut self, ops: &[Op]) -> Result<Vec<(usize, i32)>, String> {
        let refusals = self.backend.apply(ops).map_err(|e| format!("applying {ops:?}: {e}"))?;
        Ok(refusals.iter().map(|r| (r.index, r.errno)).collect())
    }

    pub(super) fn accept(&mut self, ops: &[Op]) -> Outcome {
        self.claims += 1;
        match self.apply(ops)?.first() {
            None => Ok(()),
            Some((i, errno)) => {
                Err(format!("{:?} was refused: {}", ops.get(*i), std::io::Error::from_raw_os_error(*errno)))
            }
        }
    }

    pub(super) fn refuse(&mut self, op: Op, errno: i32) -> Outcome {
        let refused = self.apply(std::slice::from_ref(&op))?;
        let what = format!("the refusal of {op:?}");
        self.same(&what.chars().take(400).collect::<String>(), refused.as_slice(), [(0, errno)].as_slice())
    }

    pub(super) fn reads_service(&mut self, key: &ServiceKey, service: &Service) -> Outcome {
        self.reads(key, service, &[])
    }

    pub(super) fn reads(
        &mut self,
        key: &ServiceKey,
        service: &Service,
        all: &[(DestinationKey, Destination)],
    ) -> Outcome {
        let entry = self.entry(key)?.ok_or_else(|| format!("{key} is not there"))?;
        self.same(&format!("{key}"), &entry.service, service)?;
        self.same(&format!("counters of {key}"), &entry.stats, &Stats::default())?;
        let got: BTreeMap<_, _> = entry.destinations.iter().map(|(at, d)| (*at, d.destination)).collect();
        self.same(&format!("destinations of {key}"), &got, &all.iter().copied().collect())?;
        let idle =
            |d: &DestinationEntry| d.connections == Connections::default() && d.stats == Stats::default();
        let are_idle = entry.destinations.values().all(idle);
        self.same(&format!("idleness of {key}"), &are_idle, &true)
    }

    pub(super) fn reads_absent(&mut self, key: &ServiceKey) -> Outcome {
        let is_absent = self.entry(key)?.is_none();
        self.same(&format!("absence of {key}"), &is_absent, &true)
    }

    pub(super) fn reads_timeouts(&mut self, want: Timeouts) -> Outcome {
        let got = self.settings()?.timeouts;
        self.same("the timeouts", &got, &want)
    }

    pub(super) fn entry(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, String> {
        self.entries(&[*key])?.remove(key).ok_or_else(|| format!("{key} was asked for and not answered"))
    }

    pub(super) fn keys(&mut self) -> Result<Vec<ServiceKey>, String> {
        match self.backend.snapshot(&Scope::Keys) {
            Ok(Snapshot::Keys(keys)) => Ok(keys),
            other => Err(format!("asked for keys, got {other:?}")),
        }
    }

    pub(super) fn entries(
        &mut self,
        keys: &[ServiceKey],
    ) -> Result<BTreeMap<ServiceKey, Option<ServiceEntry>>, String> {
        match self.backend.snapshot(&Scope::Entries(keys.to_vec())) {
            Ok(Snapshot::Entries(entries)) => Ok(entries),
            other => Err(format!("asked for entries, got {other:?}")),
        }
    }

    pub(super) fn settings(&mut self) -> Result<Settings, String> {
        match self.backend.snapshot(&Scope::Settings) {
            Ok(Snapshot::Settings(settings)) => Ok(settings),
            other => Err(format!("asked for settings, got {other:?}")),
        }
    }

    /// Removes every service.
    pub(super) fn clear(&mut self) -> Outcome {
        let ops: Vec<Op> = self.keys()?.into_iter().map(Op::RemoveService).collect();
        self.accept(&ops)?;
        self.claim(suite_is_alone, "the table is empty when everything was removed")
    }
}
