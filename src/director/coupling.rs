//! What the director and the router tell each other: levels, not conversations.
//!
//! The router says how its instances are; that decides which sync daemon runs. The director says which VIPs lack
//! a service that may still come, and why this host cannot forward, if it cannot. It refuses to know who holds a
//! VIP: services stay loaded on a standby.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::places::Places;
use super::pool::Pool;
use super::reconcile::Reconciler;
use crate::config::{Global, VirtualServerId};
use crate::ipvs::types::{Forwarding, ServiceKey, SyncDaemon, SyncRole};
use crate::vrrp::exchange::{DirectorLevel, InstanceLevel, State};

/// Whether this host passes packets on (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "families")]
pub struct HostForwards {
    pub ipv4: bool,
    pub ipv6: bool,
}

impl Default for HostForwards {
    /// Until it is known otherwise.
    fn default() -> HostForwards {
        HostForwards { ipv4: true, ipv6: true }
    }
}

/// What one knows of the other.
#[derive(Debug, Default)]
pub struct Coupling {
    instances: BTreeMap<String, InstanceLevel>,
    host: HostForwards,
    told: Option<DirectorLevel>,
}

impl Coupling {
    /// An instance is so.
    pub fn instance_is(&mut self, level: InstanceLevel) {
        self.instances.insert(level.name.clone(), level);
    }

    /// An instance is no more.
    pub fn instance_is_gone(&mut self, name: &str) {
        self.instances.remove(name);
    }

    /// This host passes packets on, or does not.
    pub fn host_is(&mut self, host: HostForwards) {
        self.host = host;
    }

    /// Whether this host holds a VIP; None where no instance says.
    pub fn holds(&self, vip: IpAddr) -> Option<bool> {
        let mut levels = self
            .instances
            .values()
            .filter(|level| level.addresses.iter().any(|held| held.ip == vip))
            .peekable();
        levels.peek()?;
        Some(levels.any(|level| level.state == State::Master))
    }

    /// The addresses of all instances.
    pub fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.instances.values().flat_map(|level| level.addresses.iter().map(|held| held.ip))
    }

    /// The sync daemons that should run now: with an instance to follow one at a time, or the kernel's `backup_only`
    /// would hold on a Master, too.
    pub fn sync_daemons(&self, global: &Global) -> Vec<SyncDaemon> {
        let Some(name) = &global.sync_follows else { return global.sync_daemons.clone() };
        let is_master = self.instances.get(name).is_some_and(|level| level.state == State::Master);
        let role = if is_master { SyncRole::Master } else { SyncRole::Backup };
        global.sync_daemons.iter().filter(|daemon| daemon.role == role).cloned().collect()
    }

    /// What the router is to be told, if it does not know it yet.
    pub fn news(
        &mut self,
        is_ready: bool,
        reconciler: &Reconciler,
        pools: &BTreeMap<VirtualServerId, Pool>,
        places: &Places,
        global: &Global,
    ) -> Option<DirectorLevel> {
        let level = DirectorLevel {
            not_ready: not_ready(is_ready, reconciler, places),
            cannot_forward: self.cannot_forward(reconciler, pools, places, global),
        };
        if self.told.as_ref() == Some(&level) {
            return None;
        }
        self.told = Some(level.clone());
        Some(level)
    }

    /// Only what is wrong with this host counts, unless the operator asks for more: a dead real server is as dead
    /// behind the other director.
    fn cannot_forward(
        &self,
        reconciler: &Reconciler,
        pools: &BTreeMap<VirtualServerId, Pool>,
        places: &Places,
        global: &Global,
    ) -> Option<String> {
        if let Some(trouble) = reconciler.unanswered() {
            return Some(format!("IPVS: {trouble}"));
        }
        if let Some((key, trouble)) = reconciler.troubles().find(|(key, _)| reconciler.actual(key).is_none())
        {
            return Some(format!("service {} is not in the kernel: {}", places.named(*key), trouble.reason));
        }
        let is_blocked = |address: IpAddr| match address {
            IpAddr::V4(_) => !self.host.ipv4,
            IpAddr::V6(_) => !self.host.ipv6,
        };
        if !self.host.ipv4 || !self.host.ipv6 {
            let mut real_servers = pools.values().flat_map(|pool| &pool.server.real_servers);
            let blocked =
                real_servers.find(|r| r.forwarding == Forwarding::Nat && is_blocked(r.address.ip()));
            if let Some(real) = blocked {
                let setting = if real.address.is_ipv4() {
                    "net.ipv4.ip_forward"
                } else {
                    "net.ipv6.conf.all.forwarding"
                };
                return Some(format!("{setting} is 0, and NAT to real server {} needs it", real.address));
            }
        }
        if global.quorum_counts {
            let lost = pools.values().find(|pool| !pool.has_quorum() && pool.server.sorry_server.is_none());
            return lost.map(|pool| format!("virtual server {} has lost quorum", pool.server.id));
        }
        None
    }
}

/// VIPs whose service is not in the kernel though it may come: a refused one never blocks. Once all was there, a
/// service that is merely changing does not count.
fn not_ready(is_ready: bool, reconciler: &Reconciler, places: &Places) -> BTreeSet<IpAddr> {
    let is_missing = |key: &&ServiceKey| !is_ready || reconciler.actual(key).is_none();
    reconciler.pending().filter(is_missing).filter_map(|key| places.vip(*key)).collect()
}
