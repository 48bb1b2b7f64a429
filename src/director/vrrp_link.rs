//! What the director and the router report to each other: levels, not conversations.
//!
//! The router says how its instances are; that decides which sync daemon runs. The director says which VIPs lack
//! a service that may still come, and why this host cannot forward, if it cannot. Both follow from services and virtual
//! servers that are looked at one by one, when something of them changes. Services stay loaded on a standby.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use super::colocation::placement::Placement;
use super::pool::Pool;
use super::reconcile::Reconciler;
use crate::config::{Config, Global, VirtualServerId};
use crate::ipvs::types::{Family, Forwarding, ServiceKey, SyncDaemon, SyncRole};
use crate::vrrp::io::{DirectorLevel, InstanceLevel, State};

/// Whether this host forwards packets (`net.ipv4.ip_forward`, `net.ipv6.conf.all.forwarding`).
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
pub(crate) struct VrrpLink {
    instances: BTreeMap<String, InstanceLevel>,
    /// The addresses of all of them, and how many have each.
    vips: BTreeMap<IpAddr, usize>,
    /// Those of Masters, and how many have each.
    held: BTreeMap<IpAddr, usize>,
    host: HostForwards,
    /// Services that are not in the kernel though they may come, with their VIPs.
    missing: BTreeMap<ServiceKey, Option<IpAddr>>,
    /// How many of them each VIP lacks.
    not_ready: BTreeMap<IpAddr, usize>,
    /// Services the kernel refuses as a whole.
    refused: BTreeSet<ServiceKey>,
    /// Virtual servers without quorum, and without a sorry server.
    without_quorum: BTreeSet<VirtualServerId>,
    /// The first real server by NAT of each family.
    by_nat: BTreeMap<Family, SocketAddr>,
    /// Why the kernel does not answer.
    unanswered: Option<String>,
    was_ready: bool,
    reported: Option<DirectorLevel>,
    /// Something changed that the router may have to know.
    is_stale: bool,
}

impl VrrpLink {
    /// Takes an instance's state and addresses: true when its addresses changed.
    pub(crate) fn set_instance(&mut self, level: InstanceLevel) -> bool {
        let before = self.instances.get(&level.name);
        let is_moved = before.is_none_or(|before| before.addresses != level.addresses);
        if is_moved || before.is_none_or(|before| before.state != level.state) {
            self.remove_instance(&level.name);
            for address in &level.addresses {
                *self.vips.entry(address.ip).or_default() += 1;
                if level.state == State::Master {
                    *self.held.entry(address.ip).or_default() += 1;
                }
            }
        }
        self.instances.insert(level.name.clone(), level);
        is_moved
    }

    /// An instance was removed.
    pub(crate) fn remove_instance(&mut self, name: &str) {
        let Some(level) = self.instances.remove(name) else { return };
        for address in &level.addresses {
            one_less(&mut self.vips, address.ip);
            if level.state == State::Master {
                one_less(&mut self.held, address.ip);
            }
        }
    }

    /// Whether this host forwards packets.
    pub(crate) fn set_host_forwards(&mut self, host: HostForwards) {
        self.host = host;
        self.is_stale = true;
    }

    /// Takes a new configuration: [`VrrpLink::set_quorum`] follows for each virtual server.
    pub(crate) fn configure(&mut self, config: &Config) {
        self.without_quorum.clear();
        self.by_nat.clear();
        let mut servers: Vec<_> = config.virtual_servers.iter().collect();
        servers.sort_by_key(|server| server.id);
        for real in servers.into_iter().flat_map(|server| &server.real_servers) {
            if real.forwarding == Forwarding::Nat {
                self.by_nat.entry(Family::of(real.address.ip())).or_insert(real.address);
            }
        }
        self.is_stale = true;
    }

    /// A virtual server's pool was recomputed.
    pub(crate) fn set_quorum(&mut self, pool: &Pool) {
        let id = pool.server.id;
        let is_lost = !pool.has_quorum() && pool.server.sorry_server.is_none();
        self.is_stale |=
            if is_lost { self.without_quorum.insert(id) } else { self.without_quorum.remove(&id) };
    }

    /// Whether this host holds a VIP; None where no instance says.
    pub(crate) fn holds(&self, vip: IpAddr) -> Option<bool> {
        self.vips.get(&vip)?;
        Some(self.held.contains_key(&vip))
    }

    /// The addresses of all instances.
    pub(crate) fn vips(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vips.keys().copied()
    }

    /// Whether an instance has an address.
    pub(crate) fn is_vip(&self, ip: IpAddr) -> bool {
        self.vips.contains_key(&ip)
    }

    /// The sync daemons that should run now: with an instance to follow one at a time, or the kernel's `backup_only`
    /// would hold on a Master, too.
    pub(crate) fn sync_daemons(&self, global: &Global) -> Vec<SyncDaemon> {
        let Some(name) = &global.sync_follows else { return global.sync_daemons.clone() };
        // In one file for all nodes the named one may be another node's: this host's with its number stands for it.
        let same_vrid = |level: &&InstanceLevel| Some(level.vrid) == global.sync_follows_vrid;
        let followed = self.instances.get(name).or_else(|| self.instances.values().find(same_vrid));
        let is_master = followed.is_some_and(|level| level.state == State::Master);
        let role = if is_master { SyncRole::Master } else { SyncRole::Backup };
        global.sync_daemons.iter().filter(|daemon| daemon.role == role).cloned().collect()
    }

    /// What the router has to know, when it changed.
    pub(crate) fn changed_level(
        &mut self,
        is_ready: bool,
        reconciler: &mut Reconciler,
        placement: &Placement,
        global: &Global,
    ) -> Option<DirectorLevel> {
        let mut touched = reconciler.take_touched();
        if self.was_ready != is_ready {
            self.was_ready = is_ready;
            touched.extend(self.missing.keys().copied());
        }
        for key in touched {
            self.look_at(key, reconciler, placement);
        }
        if self.unanswered.as_deref() != reconciler.unanswered() {
            self.unanswered = reconciler.unanswered().map(str::to_owned);
            self.is_stale = true;
        }
        let is_known = self.reported.is_some() && !self.is_stale;
        if is_known {
            return None;
        }
        self.is_stale = false;
        let level = DirectorLevel {
            not_ready: self.not_ready.keys().copied().collect(),
            cannot_forward: self.cannot_forward(reconciler, placement, global),
        };
        if self.reported.as_ref() == Some(&level) {
            return None;
        }
        self.reported = Some(level.clone());
        Some(level)
    }

    /// Recomputes what a service contributes, because something of it changed.
    fn look_at(&mut self, key: ServiceKey, reconciler: &Reconciler, placement: &Placement) {
        #[cfg(test)]
        super::steps::take(1);
        let is_absent = reconciler.actual(&key).is_none();
        // Once all was there, a service that is merely changing does not count; a refused one never blocks.
        let is_missing = (!self.was_ready || is_absent) && reconciler.is_pending(&key);
        let vip = if is_missing { placement.vip(key) } else { None };
        let before = match is_missing {
            true => self.missing.insert(key, vip),
            false => self.missing.remove(&key),
        };
        let before = before.flatten();
        if before != vip {
            self.is_stale |= vip.is_some_and(|vip| {
                let lacked = self.not_ready.entry(vip).or_default();
                *lacked += 1;
                *lacked == 1
            });
            self.is_stale |= before.is_some_and(|vip| one_less(&mut self.not_ready, vip));
        }
        let is_refused = is_absent && reconciler.failure(&key).is_some();
        let was_refused = if is_refused { !self.refused.insert(key) } else { self.refused.remove(&key) };
        // Its reason may be another.
        self.is_stale |= is_refused || was_refused;
    }

    /// Only what is wrong with this host counts, unless the operator asks for more: a dead real server is as dead
    /// behind the other director.
    fn cannot_forward(
        &self,
        reconciler: &Reconciler,
        placement: &Placement,
        global: &Global,
    ) -> Option<String> {
        if let Some(trouble) = reconciler.unanswered() {
            return Some(format!("IPVS: {trouble}"));
        }
        let refused = self.refused.first();
        if let Some((key, trouble)) = refused.and_then(|key| Some((key, reconciler.failure(key)?))) {
            return Some(format!(
                "service {} is not in the kernel: {}",
                placement.owner(*key),
                trouble.reason
            ));
        }
        for (family, forwards, setting) in [
            (Family::Inet, self.host.ipv4, "net.ipv4.ip_forward"),
            (Family::Inet6, self.host.ipv6, "net.ipv6.conf.all.forwarding"),
        ] {
            if let Some(real) = self.by_nat.get(&family).filter(|_| !forwards) {
                return Some(format!("{setting} is 0, and NAT to real server {real} needs it"));
            }
        }
        let lost = self.without_quorum.first().filter(|_| global.quorum_counts);
        lost.map(|id| format!("virtual server {id} has lost quorum"))
    }
}

/// Whether it was the last one.
fn one_less(counts: &mut BTreeMap<IpAddr, usize>, of: IpAddr) -> bool {
    let Some(count) = counts.get_mut(&of) else { return false };
    *count -= 1;
    let is_last = *count == 0;
    if is_last {
        counts.remove(&of);
    }
    is_last
}

#[cfg(test)]
impl super::Director {
    /// What the router should know, derived from everything.
    pub fn level(&self) -> DirectorLevel {
        let (reconciler, placement, host) = (&self.reconciler, &self.placement, &self.vrrp_link.host);
        let is_missing = |key: &&ServiceKey| {
            reconciler.is_pending(key) && (!self.is_ready || reconciler.actual(key).is_none())
        };
        let missing = reconciler.desired_keys().filter(is_missing);
        let refused = || {
            let (key, trouble) = reconciler.failing().find(|(key, _)| reconciler.actual(key).is_none())?;
            Some(format!("service {} is not in the kernel: {}", placement.owner(*key), trouble.reason))
        };
        let blocked = |is_on: bool, is_of: fn(&SocketAddr) -> bool, setting: &str| {
            let reals = self.pools.values().flat_map(|pool| &pool.server.real_servers);
            let mut by_nat = reals.filter(|real| real.forwarding == Forwarding::Nat && is_of(&real.address));
            let real = by_nat.next().filter(|_| !is_on)?;
            Some(format!("{setting} is 0, and NAT to real server {} needs it", real.address))
        };
        let lost = || {
            let is_lost = |pool: &&Pool| !pool.has_quorum() && pool.server.sorry_server.is_none();
            let lost = self.pools.values().find(is_lost).filter(|_| self.config.global.quorum_counts);
            lost.map(|pool| format!("virtual server {} has lost quorum", pool.server.id))
        };
        let cannot_forward = reconciler
            .unanswered()
            .map(|trouble| format!("IPVS: {trouble}"))
            .or_else(refused)
            .or_else(|| blocked(host.ipv4, SocketAddr::is_ipv4, "net.ipv4.ip_forward"))
            .or_else(|| blocked(host.ipv6, SocketAddr::is_ipv6, "net.ipv6.conf.all.forwarding"))
            .or_else(lost);
        DirectorLevel { not_ready: missing.filter_map(|key| placement.vip(*key)).collect(), cannot_forward }
    }
}
