//! What the kernel should hold: configuration, servers' health, operators' orders and the stranger's services, put
//! together by a model that shares no code with the director, and compared with what the kernel says.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use lvsd::internals::config::VirtualServerId;
use lvsd::internals::director::OverrideChange;
use lvsd::internals::ipvs::{
    DesiredService, Destination, Family, Persistence, Service, ServiceEntry, ServiceFlags, ServiceKey,
};

use super::configuration::{Configuration, VirtualServer};
use super::servers::Servers;
use crate::lab::Verdict;

/// The table, as the kernel says.
pub(super) type Table = BTreeMap<ServiceKey, ServiceEntry>;

/// What an operator said about a real server.
#[derive(Clone, Copy, Debug, Default)]
struct Order {
    is_drained: bool,
    is_disabled: bool,
    weight: Option<u32>,
}

/// Everything the table follows from.
#[derive(Debug)]
pub(super) struct Truth {
    /// What the running director was told last.
    pub configuration: Configuration,
    /// Whom it directs to.
    pub servers: Servers,
    /// The stranger's services.
    pub foreign: BTreeMap<ServiceKey, DesiredService>,
    orders: BTreeMap<(VirtualServerId, SocketAddr), Order>,
}

impl Truth {
    /// No operator command is in force.
    pub(super) fn new(configuration: Configuration, servers: Servers) -> Truth {
        Truth { configuration, servers, foreign: BTreeMap::new(), orders: BTreeMap::new() }
    }

    /// The director took an order.
    pub(super) fn order(&mut self, id: VirtualServerId, at: SocketAddr, change: OverrideChange) {
        let order = self.orders.entry((id, at)).or_default();
        match change {
            OverrideChange::Drain { .. } => (order.is_drained, order.is_disabled) = (true, false),
            OverrideChange::Undrain => order.is_drained = false,
            OverrideChange::Disable => (order.is_drained, order.is_disabled) = (false, true),
            OverrideChange::Enable => (order.is_drained, order.is_disabled) = (false, false),
            OverrideChange::Weight(weight) => order.weight = weight,
        }
    }

    /// The director runs another configuration: orders about servers that are gone are gone.
    pub(super) fn configure(&mut self, configuration: Configuration) {
        let is_there = |id: &VirtualServerId, at: &SocketAddr| {
            let servers = configuration.virtual_servers.iter().filter(|v| v.id == *id);
            servers.flat_map(|v| &v.real_servers).any(|r| r.at == *at)
        };
        self.orders.retain(|(id, at), _| is_there(id, at));
        self.configuration = configuration;
    }

    /// Compares. A healthy destination that leaves keeps its connections with weight 0 for at most five minutes:
    /// unless `is_rested` such ones may be there.
    pub(super) fn compare(&self, table: &Table, is_rested: bool) -> Verdict {
        let mut wrong = Vec::new();
        for server in &self.configuration.virtual_servers {
            if let Err(e) = self.compare_service(server, table.get(&key(server.id)), is_rested) {
                wrong.push(format!("{}: {e}", server.id));
            }
        }
        for (key, want) in &self.foreign {
            let is_untouched = table.get(key).is_some_and(|entry| {
                entry.service == want.service && destinations(entry) == want.destinations
            });
            if !is_untouched {
                wrong.push(format!("the stranger's {key}: {:?}", table.get(key)));
            }
        }
        for key in table.keys() {
            let is_ours = self.configuration.virtual_servers.iter().any(|v| self::key(v.id) == *key);
            if !is_ours && !self.foreign.contains_key(key) {
                wrong.push(format!("{key} should not be there"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    fn compare_service(
        &self,
        server: &VirtualServer,
        entry: Option<&ServiceEntry>,
        is_rested: bool,
    ) -> Verdict {
        let entry = entry.ok_or("not there")?;
        let want = service(server).ok_or("no such scheduler")?;
        if entry.service != want {
            return Err(format!("{:?}, wanted {want:?}", entry.service));
        }
        let got = destinations(entry);
        let wanted = self.wanted(server);
        let is_fine = |want: &BTreeMap<SocketAddr, Destination>| {
            want.iter().all(|(at, d)| got.get(at) == Some(d))
                && got.iter().all(|(at, d)| want.contains_key(at) || (d.weight == 0 && !is_rested))
        };
        if wanted.iter().any(is_fine) {
            return Ok(());
        }
        let list = |of: &BTreeMap<SocketAddr, Destination>| {
            of.iter()
                .map(|(at, d)| format!("{at} {:?} {}", d.forwarding, d.weight))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let wanted: Vec<_> = wanted.iter().map(list).collect();
        Err(format!("[{}], wanted [{}]", list(&got), wanted.join("] or [")))
    }

    /// The destinations there should be; between loss and gain of the quorum it depends on how it came there.
    fn wanted(&self, server: &VirtualServer) -> Vec<BTreeMap<SocketAddr, Destination>> {
        let order = |at| self.orders.get(&(server.id, at)).copied().unwrap_or_default();
        let weight = |r: &super::configuration::RealServer| order(r.at).weight.unwrap_or(r.weight);
        let is_out = |at| order(at).is_drained || order(at).is_disabled;
        let serves =
            |r: &super::configuration::RealServer| !is_out(r.at) && self.servers.passes(r.at, r.check);
        let live: u32 = server.real_servers.iter().filter(|r| serves(r)).map(weight).sum();
        let may_have = live > 0 && live >= server.quorum.saturating_sub(server.hysteresis);
        let must_have = live > 0 && live >= server.quorum + server.hysteresis;
        let mut possible = vec![may_have];
        if may_have != must_have {
            possible.push(must_have);
        }
        let table = |has_quorum: bool| {
            let sorry = server.sorry.filter(|_| !has_quorum);
            let mut table = BTreeMap::new();
            let mut put = |at, weight| {
                let forwarding = server.forwarding;
                let d = Destination { forwarding, weight, upper_threshold: 0, lower_threshold: 0 };
                table.insert(at, d);
            };
            if let Some((at, true)) = server.sorry {
                put(at, 0);
            }
            for real in &server.real_servers {
                if serves(real) && sorry.is_none() {
                    put(real.at, weight(real));
                } else if real.inhibit && !is_out(real.at) {
                    put(real.at, 0);
                }
            }
            if let Some((at, _)) = sorry {
                put(at, 1);
            }
            table
        };
        possible.into_iter().map(table).collect()
    }
}

/// Where a virtual server is in the kernel.
pub(super) fn key(id: VirtualServerId) -> ServiceKey {
    match id {
        VirtualServerId::Address { protocol, address, port } => {
            ServiceKey::Address { protocol, address, port }
        }
        VirtualServerId::Fwmark { family, mark } => ServiceKey::Fwmark { family, mark },
    }
}

fn service(server: &VirtualServer) -> Option<Service> {
    let prefix = if key(server.id).family() == Family::Inet { 32 } else { 128 };
    let timeout = server.persistence;
    Some(Service {
        scheduler: lvsd::internals::ipvs::Scheduler::new(server.scheduler)?,
        flags: ServiceFlags::default(),
        persistence: (timeout > 0).then_some(Persistence { timeout, prefix }),
        persistence_engine: None,
    })
}

fn destinations(entry: &ServiceEntry) -> BTreeMap<SocketAddr, Destination> {
    entry.destinations.iter().map(|(at, d)| (*at, d.destination)).collect()
}
