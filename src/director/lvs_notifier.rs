//! Changes of virtual servers and real servers in keepalived's words: which commands run, which line is written, what a
//! mail says.
//!
//! A part of the director, which emits what comes of it as [`Effect::Notify`]. A virtual server's quorum is notified at the start, too, as keepalived does: what `quorum_up` prepares is not there before. The
//! addresses of a group are notified as one virtual server.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Director;
use super::event::Event;
use super::io::Effect;
use super::lifecycle::Life;
use super::pool::{Member, Pool};
use crate::config::{Global, UpDown, VirtualServer, VirtualServerId};
use crate::notify::mail::content::{self, Occasion, QuorumNumbers};
use crate::notify::notification::{Audience, FifoLine, Notification, ServerName, StateChange, Subject};

type Pools = BTreeMap<VirtualServerId, Pool>;

/// Makes notifications of the director's events. What was notified last is remembered where the state is, in pools and
/// members; what pools of one group share, here.
#[derive(Debug, Default)]
pub(crate) struct LvsNotifier {
    /// Of virtual servers with a group, and of their real servers: whether each was notified as up. What is known
    /// without a notification is here, too.
    grouped: BTreeMap<Subject, bool>,
    /// The first states were notified.
    has_begun: bool,
    /// What a stop notifies was notified.
    is_stop_notified: bool,
}

impl LvsNotifier {
    /// The notifications of an event: at most one, or the first states of all when the kernel's table is complete for
    /// the first time.
    pub(crate) fn follow(&mut self, event: &Event, pools: &mut Pools, global: &Global) -> Vec<Notification> {
        match event {
            Event::RealServer { virtual_server, real_server, is_up, reason } => {
                let Some(Pool { server, members, .. }) = pools.get_mut(virtual_server) else {
                    return Vec::new();
                };
                // Where the kernel knows no port, the event has the one that was written.
                let any = SocketAddr::new(real_server.ip(), 0);
                let at = if members.contains_key(real_server) { *real_server } else { any };
                let Some(member) = members.get_mut(&at) else { return Vec::new() };
                self.real_server(server, member, *is_up, (Occasion::Change, reason)).into_iter().collect()
            }
            Event::Quorum { virtual_server, has_quorum, weight, quorum } => {
                let Some(pool) = pools.get_mut(virtual_server) else { return Vec::new() };
                let cause = format!("weight {weight}, quorum {quorum}");
                if !has_quorum && pool.server.sorry_server.is_none() && self.of_server(pool).is_none() {
                    // It never had one, and no sorry server takes its place: keepalived runs no quorum_down then.
                    self.set_server(pool, false);
                    return Vec::new();
                }
                self.virtual_server(pool, *has_quorum, *weight, (Occasion::Change, &cause))
                    .into_iter()
                    .collect()
            }
            Event::Ready { .. } => {
                self.has_begun = true;
                self.first_states(pools, global)
            }
            _ => Vec::new(),
        }
    }

    /// The notifications of what a reload brought. What it took away is forgotten.
    pub(crate) fn reloaded(&mut self, pools: &mut Pools, global: &Global) -> Vec<Notification> {
        let grouped = || pools.values().filter(|pool| pool.server.notices.group.is_some());
        let servers = grouped().map(|p| server_subject(&p.server));
        let members = grouped()
            .flat_map(|p| p.members.values().map(|m| real_subject(&p.server, m.real_server.named())));
        let known: BTreeSet<Subject> = servers.chain(members).collect();
        self.grouped.retain(|subject, _| known.contains(subject));
        if self.has_begun { self.first_states(pools, global) } else { Vec::new() }
    }

    /// The notifications of a stop, once: of virtual servers with `omega`, everything that is up.
    pub(crate) fn stopping(&mut self, pools: &mut Pools) -> Vec<Notification> {
        let mut all = Vec::new();
        if std::mem::replace(&mut self.is_stop_notified, true) {
            return all;
        }
        for pool in pools.values_mut().filter(|p| p.server.notices.is_told_at_stop) {
            for member in pool.members.values_mut().filter(|m| m.is_up) {
                all.extend(self.real_server(&pool.server, member, false, (Occasion::Stop, AT_STOP)));
            }
            if pool.has_quorum() {
                all.extend(self.virtual_server(pool, false, 0, (Occasion::Stop, AT_STOP)));
            }
        }
        all
    }

    /// The states of everything that was never notified.
    fn first_states(&mut self, pools: &mut Pools, global: &Global) -> Vec<Notification> {
        let mut all = Vec::new();
        for pool in pools.values_mut() {
            for member in pool.members.values_mut() {
                if self.of_member(&pool.server, member).is_some() {
                    continue;
                }
                if member.is_up && global.tells_first_servers {
                    all.extend(self.real_server(&pool.server, member, true, (Occasion::Start, AT_START)));
                } else {
                    let is_up = member.is_up;
                    self.set_member(&pool.server, member, is_up);
                }
            }
            if self.of_server(pool).is_some() {
                continue;
            }
            // keepalived notifies the lack of a quorum only when a sorry server takes over.
            if pool.has_quorum() || pool.server.sorry_server.is_some() {
                let (is_up, weight) = (pool.has_quorum(), pool.live_weight());
                all.extend(self.virtual_server(pool, is_up, weight, (Occasion::Start, AT_START)));
            } else {
                self.set_server(pool, false);
            }
        }
        all
    }

    /// How a virtual server was notified last.
    fn of_server(&self, pool: &Pool) -> Option<bool> {
        match pool.server.notices.group {
            Some(_) => self.grouped.get(&server_subject(&pool.server)).copied(),
            None => pool.notified,
        }
    }

    /// Remembers how a virtual server was notified; how it was before.
    fn set_server(&mut self, pool: &mut Pool, is_up: bool) -> Option<bool> {
        match pool.server.notices.group {
            Some(_) => self.grouped.insert(server_subject(&pool.server), is_up),
            None => pool.notified.replace(is_up),
        }
    }

    /// How a real server was notified last.
    fn of_member(&self, server: &VirtualServer, member: &Member) -> Option<bool> {
        match server.notices.group {
            Some(_) => self.grouped.get(&real_subject(server, member.real_server.named())).copied(),
            None => member.notified,
        }
    }

    /// Remembers how a real server was notified; how it was before.
    fn set_member(&mut self, server: &VirtualServer, member: &mut Member, is_up: bool) -> Option<bool> {
        match server.notices.group {
            Some(_) => self.grouped.insert(real_subject(server, member.real_server.named()), is_up),
            None => member.notified.replace(is_up),
        }
    }

    /// None when this state was notified last.
    fn virtual_server(
        &mut self,
        pool: &mut Pool,
        is_up: bool,
        weight: u64,
        (occasion, cause): (Occasion, &str),
    ) -> Option<Notification> {
        let previous = self.set_server(pool, is_up);
        if previous == Some(is_up) {
            return None;
        }
        let VirtualServer { quorum, hysteresis, notices, .. } = &pool.server;
        let text = format!("VS {} {}", name(&pool.server), word(is_up));
        let subject = server_subject(&pool.server);
        let mut notification =
            notification(subject, text, is_up, previous, notices.commands.as_deref(), cause);
        let numbers = QuorumNumbers { weight, quorum: *quorum, hysteresis: *hysteresis };
        let subject = &notification.change.subject;
        let content = || content::of_virtual_server(subject, is_up, occasion, numbers, cause);
        notification.mail = notices.is_mailed.then(content);
        Some(notification)
    }

    /// None when this state was notified last.
    fn real_server(
        &mut self,
        server: &VirtualServer,
        member: &mut Member,
        is_up: bool,
        (occasion, cause): (Occasion, &str),
    ) -> Option<Notification> {
        let previous = self.set_member(server, member, is_up);
        if previous == Some(is_up) {
            return None;
        }
        let real = &member.real_server;
        let at = real.named();
        let text = format!("RS {} {} {}", real_name(server, at), name(server), word(is_up));
        let subject = real_subject(server, at);
        let mut notification = notification(subject, text, is_up, previous, real.commands.as_deref(), cause);
        let subject = &notification.change.subject;
        notification.mail = real.is_mailed.then(|| content::of_real_server(subject, is_up, occasion, cause));
        Some(notification)
    }
}

fn notification(
    subject: Subject,
    text: String,
    is_up: bool,
    previous: Option<bool>,
    commands: Option<&UpDown>,
    cause: &str,
) -> Notification {
    let script = commands.and_then(|c| if is_up { c.up.clone() } else { c.down.clone() });
    let line = FifoLine { audience: Audience::Lvs, bytes: format!("{text}\n").into_bytes() };
    let change = StateChange {
        subject,
        state: word(is_up),
        previous: previous.map(word),
        priority: None,
        cause: cause.to_owned(),
        master: None,
    };
    Notification { change, scripts: script.into_iter().collect(), line: Some(line), mail: None }
}

impl Director {
    /// An event with its notifications.
    pub(super) fn report(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let notifications = self.notifier.follow(&event, &mut self.pools, &self.config.global);
        effects.push(Effect::Event(event));
        notify(notifications, effects);
    }

    /// What a reload brought is notified, behind its events.
    pub(super) fn notify_reload(&mut self, effects: &mut Vec<Effect>) {
        if self.life == Life::Running {
            notify(self.notifier.reloaded(&mut self.pools, &self.config.global), effects);
        }
    }

    /// What a stop notifies is notified, once.
    pub(super) fn notify_stop(&mut self, effects: &mut Vec<Effect>) {
        if self.life == Life::Running {
            notify(self.notifier.stopping(&mut self.pools), effects);
        }
    }
}

fn notify(notifications: Vec<Notification>, effects: &mut Vec<Effect>) {
    effects.extend(notifications.into_iter().map(|notification| Effect::Notify(Box::new(notification))));
}

/// Causes of notifications that no event causes.
const AT_START: &str = "at the start";
const AT_STOP: &str = "lvsd stops";

fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}

fn server_subject(server: &VirtualServer) -> Subject {
    Subject::VirtualServer(server_name(server))
}

fn real_subject(server: &VirtualServer, real: SocketAddr) -> Subject {
    Subject::RealServer(real_name(server, real), server_name(server))
}

fn server_name(server: &VirtualServer) -> ServerName {
    let mark_family = match (&server.notices.group, server.id) {
        (None, VirtualServerId::Fwmark { family, .. }) => Some(family),
        (Some(_), _) | (None, VirtualServerId::Address { .. }) => None,
    };
    ServerName { text: name(server), mark_family }
}

/// A virtual server as keepalived writes it: `[10.0.0.1]:tcp:80`, `FWM 7`, `[web]:0`.
fn name(server: &VirtualServer) -> String {
    match (&server.notices.group, server.id) {
        (Some(group), _) => group.to_string(),
        (None, VirtualServerId::Address { protocol, address, port }) => {
            format!("[{address}]:{protocol}:{port}")
        }
        (None, VirtualServerId::Fwmark { mark, .. }) => format!("FWM {mark}"),
    }
}

/// A real server as keepalived writes it: `[10.1.0.1]:tcp:80`; a firewall mark has no protocol.
fn real_name(server: &VirtualServer, real: SocketAddr) -> String {
    let (ip, port) = (real.ip(), real.port());
    match server.id {
        VirtualServerId::Address { protocol, .. } => format!("[{ip}]:{protocol}:{port}"),
        VirtualServerId::Fwmark { .. } => format!("[{ip}]:none:{port}"),
    }
}

#[cfg(test)]
mod tests;
