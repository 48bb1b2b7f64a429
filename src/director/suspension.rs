//! Virtual servers whose real servers are checked only while this host has the VIP (keepalived's `ha_suspend`).
//!
//! While it has not, nothing is asked, and what was known stands: the service stays in the kernel as it is. A checker that
//! several virtual servers share runs while one of them wants it. With the VIP all of them are asked at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Director;
use super::checkers::CheckerId;
use super::event::Event;
use super::io::Effect;
use super::lifecycle::Life;
use crate::config::{Config, VirtualServerId};
use crate::time::Instant;

/// What is suspended.
#[derive(Debug, Default)]
pub(super) struct Suspension {
    vips: BTreeMap<IpAddr, Vip>,
}

/// A VIP of virtual servers that are checked only with it.
#[derive(Debug, Default)]
struct Vip {
    servers: BTreeSet<VirtualServerId>,
    /// Whether this host has it; None before this host's addresses are known.
    is_here: Option<bool>,
}

impl Suspension {
    /// Whether this virtual server wants no checks now.
    pub(super) fn is_suspended(&self, id: VirtualServerId) -> bool {
        let vip = id.address().and_then(|address| self.vips.get(&address));
        vip.is_some_and(|vip| vip.is_here != Some(true) && vip.servers.contains(&id))
    }

    fn configure(&mut self, config: &Config) {
        let mut before = std::mem::take(&mut self.vips);
        for server in config.virtual_servers.iter().filter(|server| server.checks_need_vip) {
            let Some(address) = server.id.address() else { continue };
            let is_here = before.remove(&address).and_then(|vip| vip.is_here);
            let vip = self.vips.entry(address).or_insert_with(|| Vip { is_here, ..Vip::default() });
            vip.servers.insert(server.id);
        }
    }
}

impl Director {
    /// Takes a new configuration, whose checkers are there already.
    pub(super) fn configure_suspension(
        &mut self,
        now: Instant,
        config: &Config,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        let was_used = !self.suspension.vips.is_empty();
        self.suspension.configure(config);
        if !was_used && self.suspension.vips.is_empty() {
            return;
        }
        if self.knows_addresses {
            self.find_vips(None, events);
        }
        let all: BTreeSet<CheckerId> = self.checkers.iter().map(|(id, _)| id).collect();
        self.suspend_checkers(now, &all, effects);
    }

    /// Addresses or instances changed: those of `vips`, or any.
    pub(super) fn review_suspension(
        &mut self,
        now: Instant,
        vips: Option<&[IpAddr]>,
        events: &mut Vec<Event>,
        effects: &mut Vec<Effect>,
    ) {
        if self.life != Life::Running || !self.knows_addresses || self.suspension.vips.is_empty() {
            return;
        }
        let moved = self.find_vips(vips, events);
        let pools = moved.iter().filter_map(|id| self.pools.get(id));
        let checkers = pools
            .flat_map(|pool| pool.members.values())
            .flat_map(|member| &member.subscriptions)
            .map(|subscription| subscription.checker)
            .collect();
        self.suspend_checkers(now, &checkers, effects);
    }

    /// Some virtual servers no longer subscribe to these checkers.
    pub(super) fn suspend_checkers(
        &mut self,
        now: Instant,
        checkers: &BTreeSet<CheckerId>,
        effects: &mut Vec<Effect>,
    ) {
        let suspension = &self.suspension;
        let cancelled = self.checkers.suspend(now, checkers, |server| suspension.is_suspended(server));
        effects.extend(cancelled.into_iter().map(Effect::CancelProbe));
    }

    /// Finds which VIPs this host has; returns the virtual servers of those that came or went.
    fn find_vips(&mut self, which: Option<&[IpAddr]>, events: &mut Vec<Event>) -> Vec<VirtualServerId> {
        let (link, placement) = (&self.vrrp_link, &self.placement);
        let mut moved = Vec::new();
        let mut look = |address: IpAddr, vip: &mut Vip| {
            // A Master that hands over still has the address for a moment; one that is new has it soon.
            let is_here = placement.is_own(address) && link.holds(address) != Some(false);
            if vip.is_here.replace(is_here) != Some(is_here) {
                moved.extend(&vip.servers);
                let servers = vip.servers.len();
                events.push(Event::Suspended { vip: address, servers, is_suspended: !is_here });
            }
        };
        match which {
            None => self.suspension.vips.iter_mut().for_each(|(address, vip)| look(*address, vip)),
            Some(some) => some.iter().for_each(|address| {
                self.suspension.vips.get_mut(address).into_iter().for_each(|vip| look(*address, vip));
            }),
        }
        moved
    }

    /// Why a virtual server's checks do not run, in words.
    pub(super) fn suspended_words(&self, id: VirtualServerId) -> Option<String> {
        let vip = id.address().filter(|_| self.suspension.is_suspended(id))?;
        Some(format!("checks are suspended because this host does not have {vip}: the last verdicts stand"))
    }
}
