//! How an instance leaves Init (RFC 9568 section 6.4.1, and what lvsd and keepalived add to it). Five rules, in this
//! order:
//!
//! 1. `Router::is_in_grace`: a fault found in Init has some seconds to end by itself before it is one.
//! 2. `has_what_it_needs`: no fault, and nothing that a Master would lack: its VMAC, its socket, first script results.
//! 3. `Router::is_startup_delay_over`: `vrrp_startup_delay`.
//! 4. `Router::are_services_ready`: the director has the services of its VIPs in the kernel, or too much time has passed.
//! 5. `Router::first_state`: Master for the owner of the addresses and for what a predecessor handed over, if the sync
//!    groups agree; else Backup.
//!
//! What a predecessor handed over skips rules 3 and 4: its VIPs are in use, and a peer takes over if no advertisement
//! is sent.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::event::Event;
use super::io::{Effect, State};
use super::member::Member;
use super::router::Router;
use crate::time::Instant;

/// Rule 4: longest time an instance waits for the director's services. A director that cannot program the kernel must
/// not keep all of a VIP's routers in Init.
pub(crate) const READY_LIMIT: Duration = Duration::from_secs(10);

/// Rule 1: how long a fault found in Init may last before it is reported. Duplicate address detection takes two seconds
/// (RFC 4862), a DHCP client's answer and its ARP probe (RFC 5227) about as long.
pub(super) const FAULT_GRACE: Duration = Duration::from_secs(5);

/// What rule 5 decides.
enum First {
    Backup(String),
    Master(&'static str),
    /// It would be Master, but its sync group is not ready: as Backup it takes over as soon as the group agrees.
    BackupUntilGroupAgrees,
}

impl Router {
    /// Moves an instance from Init to its first state when all rules allow it.
    pub(super) fn leave_init(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) {
        if !self.members.get(name).is_some_and(|m| m.is_before_backup() && has_what_it_needs(m)) {
            return;
        }
        let is_inherited = self.members.get(name).is_some_and(|m| m.is_inherited);
        let is_ready =
            is_inherited || (self.is_startup_delay_over(now) && self.are_services_ready(name, now, out));
        if !is_ready {
            return;
        }
        let Some(first) = self.first_state(name) else { return };
        let Some(member) = self.members.get_mut(name) else { return };
        member.gated_since = None;
        match first {
            First::Backup(reason) => self.enter(name, State::Backup, &reason, now, out),
            First::BackupUntilGroupAgrees => {
                (member.is_inherited, member.inherited_until) = (false, None);
                self.enter(name, State::Backup, "start, its sync group is not ready", now, out);
                if let Some(member) = self.members.get_mut(name) {
                    member.instance.expire();
                }
            }
            First::Master(reason) => {
                (member.is_inherited, member.inherited_until) = (false, None);
                self.take_over_with_group(name, reason, now, out);
            }
        }
    }

    /// When the next instance leaves Init, or is in Fault, without further input.
    pub(super) fn init_deadline(&self) -> Option<Instant> {
        self.host.as_ref()?;
        let ends = self.members.values().filter_map(|member| match &member.fault {
            Some(_) => self.grace_ends(member),
            None if member.is_before_backup() && member.waits_for.is_none() => {
                Some(member.gated_since.map_or(self.starts_at(), |since| since + READY_LIMIT))
            }
            None => None,
        });
        ends.min()
    }

    /// Rule 1: whether a fault may still end by itself. This host's own VMACs and static addresses may be on their way,
    /// and so may a DHCP client's address or the end of duplicate address detection.
    pub(super) fn is_in_grace(&self, member: &Member, now: Instant) -> bool {
        self.grace_ends(member).is_some_and(|end| now < end)
    }

    /// When a fault of rule 1 counts; None where it counts at once. `vrrp_startup_delay` and `interface_up_down_delays`
    /// are waited for besides, because the operator asked for them.
    fn grace_ends(&self, member: &Member) -> Option<Instant> {
        let since = member.fault_since.filter(|_| member.state() == State::Init && !member.has_begun)?;
        let link_comes = member.binding.base.and_then(|link| self.delayed_links.comes_up(link));
        Some((since + FAULT_GRACE).max(self.starts_at()).max(link_comes.unwrap_or(since)))
    }

    /// Rule 3 (keepalived's `vrrp_startup_delay`): switches and tunnels of a host that boots may not pass packets yet,
    /// so an instance would receive no advertisements and become a second Master.
    fn is_startup_delay_over(&self, now: Instant) -> bool {
        now >= self.starts_at()
    }

    /// Rule 4: a Master without services in the kernel would answer for the VIPs and refuse every client, while a peer
    /// could serve them. It gates only this start, never a takeover.
    fn are_services_ready(&mut self, name: &str, now: Instant, out: &mut Vec<Effect>) -> bool {
        let Some(member) = self.members.get_mut(name) else { return false };
        let missing = match &self.director {
            None => Some("the director".to_owned()),
            Some(director) => missing_services(member, &director.not_ready),
        };
        let Some(waited_for) = missing else { return true };
        if now < *member.gated_since.get_or_insert(now) + READY_LIMIT {
            return false;
        }
        out.push(Effect::Event(Event::NotReady { instance: name.to_owned(), waited_for }));
        true
    }

    /// Rule 5 (RFC 9568 section 6.4.1: the owner becomes Master, others Backup). After a fault it begins as Backup, for
    /// a peer may be Master by now.
    fn first_state(&self, name: &str) -> Option<First> {
        let member = self.members.get(name)?;
        if member.state() == State::Fault {
            return Some(First::Backup(format!("fault is over: {}", self.cause)));
        }
        if !member.is_inherited && !member.instance.begins_as_master() {
            return Some(First::Backup("start".to_owned()));
        }
        Some(match (member.is_inherited, member.has_begun) {
            _ if !self.agrees(name) => First::BackupUntilGroupAgrees,
            (true, true) => First::Master("handed over by a predecessor"),
            (true, false) => First::Master("it was Master before the reload"),
            (false, _) => First::Master("owner of the addresses"),
        })
    }
}

/// Rule 2: an instance without its socket would receive no Master; one without its VMAC could not answer for its VIPs;
/// a script whose weight is 0 may be a Fault as soon as it has a result.
fn has_what_it_needs(member: &Member) -> bool {
    member.fault.is_none() && member.waits_for.is_none()
}

/// The services of its addresses that are not in the kernel yet, in words.
fn missing_services(member: &Member, not_ready: &BTreeSet<IpAddr>) -> Option<String> {
    let all: Vec<String> = member
        .addresses()
        .map(|a| a.wanted.prefix.ip)
        .filter(|ip| not_ready.contains(ip))
        .map(|ip| ip.to_string())
        .collect();
    match all.split_first() {
        None => None,
        Some((first, [])) => Some(format!("the services of {first}")),
        Some((first, rest)) => Some(format!("the services of {first} and {} more addresses", rest.len())),
    }
}
