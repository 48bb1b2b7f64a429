//! An imitation of the kernel's IPVS table, for the simulated world and tests; the product is built without it.
//!
//! It refuses what the kernel refuses, with the kernel's errno, in the kernel's order of judgement (checked
//! by the suite both backends pass). It forwards no packet: a test sets connection counts and schedulers
//! itself and may edit the table as another program would. One owner, nothing shared: a test that needs another
//! view clones it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustix::io::Errno;

use super::backend::{Backend, Error, Op, Refusal, Scope, Snapshot};
use super::scheduler::SCHEDULERS;
use super::types::{
    Connections, Destination, DestinationEntry, DestinationKey, Family, Forwarding, Service, ServiceEntry,
    ServiceFlags, ServiceKey, Settings, Stats, SyncDaemon, SyncRole, Timeouts, Tunnel,
};

/// The imitation.
#[derive(Clone, Debug)]
pub struct MemoryBackend {
    table: BTreeMap<ServiceKey, ServiceEntry>,
    timeouts: Timeouts,
    sync_daemons: BTreeMap<SyncRole, SyncDaemon>,
    schedulers: BTreeSet<String>,
    engines: BTreeSet<String>,
    interfaces: BTreeSet<String>,
}

/// Longest name of a scheduler, persistence engine or interface, in bytes.
const NAME_LIMIT: usize = 15;
/// Largest timeout the kernel takes, in seconds, at the 100 ticks a second of the smallest kernels.
const TIMEOUT_LIMIT: u32 = i32::MAX.unsigned_abs() / 100;
impl Default for MemoryBackend {
    /// An empty table in a kernel with every scheduler lvsd knows, the engine `sip`, and links `lo` and
    /// `eth0`.
    fn default() -> MemoryBackend {
        let names = |all: &[&str]| all.iter().map(|n| (*n).to_owned()).collect();
        MemoryBackend {
            table: BTreeMap::new(),
            timeouts: Timeouts { tcp: 900, tcp_fin: 120, udp: 300 },
            sync_daemons: BTreeMap::new(),
            // `none` is how the kernel spells a service that has no scheduler.
            schedulers: SCHEDULERS.iter().map(|k| k.name.to_owned()).chain(["none".to_owned()]).collect(),
            engines: names(&["sip"]),
            interfaces: names(&["lo", "eth0"]),
        }
    }
}

impl MemoryBackend {
    /// See [`MemoryBackend::default`].
    pub fn new() -> MemoryBackend {
        MemoryBackend::default()
    }

    /// The table.
    pub fn table(&self) -> &BTreeMap<ServiceKey, ServiceEntry> {
        &self.table
    }

    /// The table, to be edited as a stranger would, past every check.
    pub fn table_mut(&mut self) -> &mut BTreeMap<ServiceKey, ServiceEntry> {
        &mut self.table
    }

    /// Sets a destination's live connections; false when there is no such destination.
    pub fn set_connections(
        &mut self,
        service: &ServiceKey,
        at: &DestinationKey,
        connections: Connections,
    ) -> bool {
        let entry = self.table.get_mut(service).and_then(|s| s.destinations.get_mut(at));
        entry.map(|d| d.connections = connections).is_some()
    }

    /// Takes a scheduler's module away, or brings it back; services that use it keep it.
    pub fn set_scheduler(&mut self, name: &str, present: bool) {
        set(&mut self.schedulers, name, present);
    }

    /// Takes a persistence engine's module away, or brings it.
    pub fn set_engine(&mut self, name: &str, present: bool) {
        set(&mut self.engines, name, present);
    }

    /// Takes a link away, or brings it.
    pub fn set_interface(&mut self, name: &str, present: bool) {
        set(&mut self.interfaces, name, present);
    }

    /// Takes every service, timeout and sync daemon away, as a reboot would.
    pub fn reboot(&mut self) {
        let fresh = MemoryBackend::default();
        self.table = fresh.table;
        self.timeouts = fresh.timeouts;
        self.sync_daemons = fresh.sync_daemons;
    }

    fn apply_one(&mut self, op: &Op) -> Result<(), Errno> {
        match op {
            Op::AddService(key, s) => self.add_service(key, s),
            Op::SetService(key, s) => self.set_service(key, s),
            Op::RemoveService(key) => {
                check_key(key)?;
                self.table.remove(key).map(drop).ok_or(Errno::SRCH)
            }
            Op::AddDestination(key, at, d) => self.add_destination(key, *at, d),
            Op::SetDestination(key, at, d) => {
                self.judge_destination(key, at, d)?;
                let entry = self.destinations(key)?.get_mut(at).ok_or(Errno::NOENT)?;
                entry.destination = *d;
                Ok(())
            }
            Op::RemoveDestination(key, at) => {
                check_key(key)?;
                self.destinations(key)?.remove(at).map(drop).ok_or(Errno::NOENT)
            }
            Op::SetTimeouts(t) => self.set_timeouts(t),
            Op::StartSync(d) => self.start_sync(d),
            Op::StopSync(role) => self.sync_daemons.remove(role).map(drop).ok_or(Errno::SRCH),
        }
    }

    fn add_service(&mut self, key: &ServiceKey, s: &Service) -> Result<(), Errno> {
        check_settings(key, s)?;
        if self.table.contains_key(key) {
            return Err(Errno::EXIST);
        }
        let service = self.accept_service(key, s)?;
        let entry = ServiceEntry { service, stats: Stats::default(), destinations: BTreeMap::new() };
        self.table.insert(*key, entry);
        Ok(())
    }

    fn set_service(&mut self, key: &ServiceKey, s: &Service) -> Result<(), Errno> {
        check_settings(key, s)?;
        if !self.table.contains_key(key) {
            return Err(Errno::SRCH);
        }
        let service = self.accept_service(key, s)?;
        self.table.get_mut(key).ok_or(Errno::SRCH)?.service = service;
        Ok(())
    }

    /// What the kernel makes of the settings, if it has the modules.
    fn accept_service(&self, key: &ServiceKey, s: &Service) -> Result<Service, Errno> {
        let engine = s.persistence_engine.as_ref().filter(|e| !e.is_empty());
        if !self.schedulers.contains(s.scheduler.as_str())
            || engine.is_some_and(|e| !self.engines.contains(e))
        {
            return Err(Errno::NOENT);
        }
        if key.family() == Family::Inet6 && s.persistence.is_some_and(|p| p.prefix == 0) {
            return Err(Errno::INVAL);
        }
        Ok(Service {
            flags: ServiceFlags(s.flags.0 & ServiceFlags::USER.0),
            persistence_engine: engine.cloned(),
            ..s.clone()
        })
    }

    fn add_destination(
        &mut self,
        key: &ServiceKey,
        at: DestinationKey,
        d: &Destination,
    ) -> Result<(), Errno> {
        self.judge_destination(key, &at, d)?;
        let all = self.destinations(key)?;
        if all.contains_key(&at) {
            return Err(Errno::EXIST);
        }
        if !is_unicast(at.ip()) {
            return Err(Errno::INVAL);
        }
        let entry = DestinationEntry {
            destination: *d,
            connections: Connections::default(),
            stats: Stats::default(),
        };
        all.insert(at, entry);
        Ok(())
    }

    /// The judgement that comes before the kernel looks for the destination.
    fn judge_destination(
        &mut self,
        key: &ServiceKey,
        at: &DestinationKey,
        d: &Destination,
    ) -> Result<(), Errno> {
        check_key(key)?;
        self.destinations(key)?;
        let is_mixed = Family::of(at.ip()) != key.family();
        // Connection synchronisation cannot carry two families in one service.
        if is_mixed && (!self.sync_daemons.is_empty() || !matches!(d.forwarding, Forwarding::Tun(_))) {
            return Err(Errno::INVAL);
        }
        if d.weight > i32::MAX.unsigned_abs() || d.lower_threshold > d.upper_threshold {
            return Err(Errno::RANGE);
        }
        if matches!(d.forwarding, Forwarding::Tun(Tunnel::Gue { port: 0, .. })) {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    fn destinations(
        &mut self,
        key: &ServiceKey,
    ) -> Result<&mut BTreeMap<DestinationKey, DestinationEntry>, Errno> {
        self.table.get_mut(key).map(|s| &mut s.destinations).ok_or(Errno::SRCH)
    }

    fn set_timeouts(&mut self, t: &Timeouts) -> Result<(), Errno> {
        let Timeouts { tcp, tcp_fin, udp } = *t;
        if [tcp, tcp_fin, udp].iter().any(|seconds| *seconds > TIMEOUT_LIMIT) {
            return Err(Errno::INVAL);
        }
        let or_unchanged = |new: u32, old: u32| if new == 0 { old } else { new };
        self.timeouts = Timeouts {
            tcp: or_unchanged(tcp, self.timeouts.tcp),
            tcp_fin: or_unchanged(tcp_fin, self.timeouts.tcp_fin),
            udp: or_unchanged(udp, self.timeouts.udp),
        };
        Ok(())
    }

    fn start_sync(&mut self, d: &SyncDaemon) -> Result<(), Errno> {
        check_name(&d.interface)?;
        if d.group.is_some_and(|g| !g.is_multicast()) {
            return Err(Errno::INVAL);
        }
        let is_mixed = |(key, s): (&ServiceKey, &ServiceEntry)| {
            s.destinations.keys().any(|at| Family::of(at.ip()) != key.family())
        };
        if self.table.iter().any(is_mixed) {
            return Err(Errno::INVAL);
        }
        if !self.interfaces.contains(&d.interface) {
            return Err(Errno::NODEV);
        }
        if self.sync_daemons.contains_key(&d.role) {
            return Err(Errno::EXIST);
        }
        let is_v6 = d.group.is_some_and(|g| g.is_ipv6());
        self.sync_daemons.insert(d.role, d.running(Some(if is_v6 { 1452 } else { 1472 })));
        Ok(())
    }
}

impl Backend for MemoryBackend {
    fn snapshot(&mut self, scope: &Scope) -> Result<Snapshot, Error> {
        Ok(match scope {
            Scope::Keys => Snapshot::Keys(self.table.keys().copied().collect()),
            Scope::Entries(keys) => {
                Snapshot::Entries(keys.iter().map(|k| (*k, self.table.get(k).cloned())).collect())
            }
            Scope::Settings => Snapshot::Settings(Settings {
                version: (1, 2, 1),
                connection_table_size: 4096,
                timeouts: self.timeouts,
                sync_daemons: self.sync_daemons.values().cloned().collect(),
            }),
        })
    }

    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, Error> {
        let outcome = |(index, op)| {
            let errno = self.apply_one(op).err()?.raw_os_error();
            Some(Refusal { index, errno, text: None })
        };
        Ok(ops.iter().enumerate().filter_map(outcome).collect())
    }
}

fn set(all: &mut BTreeSet<String>, name: &str, present: bool) {
    if present {
        all.insert(name.to_owned());
    } else {
        all.remove(name);
    }
}

fn check_key(key: &ServiceKey) -> Result<(), Errno> {
    match key {
        ServiceKey::Fwmark { mark: 0, .. } => Err(Errno::INVAL),
        _ => Ok(()),
    }
}

/// What is refused before the kernel looks at its table.
fn check_settings(key: &ServiceKey, s: &Service) -> Result<(), Errno> {
    check_key(key)?;
    if s.persistence.is_some_and(|p| p.prefix > key.family().host_prefix()) {
        return Err(Errno::INVAL);
    }
    s.persistence_engine.as_deref().map_or(Ok(()), check_name)
}

fn check_name(name: &str) -> Result<(), Errno> {
    if name.contains('\0') || name.len() > NAME_LIMIT { Err(Errno::INVAL) } else { Ok(()) }
}

/// Whether the kernel takes the address for a destination's.
fn is_unicast(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => !(a.is_multicast() || a.is_broadcast() || a.octets().first() == Some(&0)),
        IpAddr::V6(a) => {
            let [top, ..] = a.segments();
            let is_link_local = top & 0xffc0 == 0xfe80;
            !(a.is_multicast() || a.is_unspecified() || is_link_local || a.to_ipv4_mapped().is_some())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::scheduler::Scheduler;
    use crate::ipvs::types::Protocol;

    #[test]
    fn a_scheduler_without_its_module_is_refused_until_it_is_there() {
        let mut kernel = MemoryBackend::new();
        kernel.set_scheduler("mh", false);
        let add = [Op::AddService(key(), service("mh"))];
        let refused = Refusal { index: 0, errno: Errno::NOENT.raw_os_error(), text: None };
        assert_eq!(kernel.apply(&add), Ok(vec![refused]));
        kernel.set_scheduler("mh", true);
        assert_eq!(kernel.apply(&add), Ok(vec![]));
        assert_eq!(kernel.table().len(), 1);
    }

    #[test]
    fn connections_that_were_set_are_seen_and_survive_a_change() {
        let mut kernel = loaded();
        let connections = Connections { active: 3, inactive: 2, persistent: 1 };
        assert!(kernel.set_connections(&key(), &at(1), connections));
        assert!(!kernel.set_connections(&key(), &at(9), connections));
        assert_eq!(kernel.apply(&[Op::SetDestination(key(), at(1), destination(0))]), Ok(vec![]));
        let entry = kernel.table()[&key()].destinations[&at(1)];
        assert_eq!((entry.connections, entry.destination.weight), (connections, 0));
    }

    #[test]
    fn a_strangers_edit_is_what_the_next_snapshot_shows() {
        let mut kernel = loaded();
        kernel.table_mut().get_mut(&key()).unwrap().destinations.remove(&at(1));
        let Ok(Snapshot::Entries(entries)) = kernel.snapshot(&Scope::Entries(vec![key()])) else {
            panic!("asked for entries")
        };
        assert!(entries[&key()].as_ref().unwrap().destinations.is_empty());
    }

    #[test]
    fn a_reboot_leaves_an_empty_table_in_the_same_kernel() {
        let mut kernel = loaded();
        kernel.set_scheduler("rr", false);
        assert_eq!(kernel.apply(&[Op::SetTimeouts(Timeouts { tcp: 1, tcp_fin: 1, udp: 1 })]), Ok(vec![]));
        kernel.reboot();
        assert_eq!(kernel.snapshot(&Scope::Keys), Ok(Snapshot::Keys(vec![])));
        let Ok(Snapshot::Settings(settings)) = kernel.snapshot(&Scope::Settings) else {
            panic!("asked for settings")
        };
        assert_eq!(settings.timeouts.tcp, 900);
        assert_eq!(kernel.apply(&[Op::AddService(key(), service("rr"))]).unwrap().len(), 1);
    }

    fn loaded() -> MemoryBackend {
        let mut kernel = MemoryBackend::new();
        let ops = [Op::AddService(key(), service("rr")), Op::AddDestination(key(), at(1), destination(5))];
        assert_eq!(kernel.apply(&ops), Ok(vec![]));
        kernel
    }

    fn key() -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: IpAddr::from([10, 0, 0, 1]), port: 80 }
    }

    fn at(n: u8) -> DestinationKey {
        DestinationKey::from(([10, 0, 1, n], 80))
    }

    fn service(scheduler: &str) -> Service {
        Service {
            scheduler: Scheduler::new(scheduler).unwrap(),
            flags: ServiceFlags::default(),
            persistence: None,
            persistence_engine: None,
        }
    }

    fn destination(weight: u32) -> Destination {
        Destination { forwarding: Forwarding::Dr, weight, upper_threshold: 0, lower_threshold: 0 }
    }
}
