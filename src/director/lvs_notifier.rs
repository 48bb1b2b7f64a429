//! Changes of virtual servers and real servers in keepalived's words: which commands hear of them, which line is
//! written.
//!
//! A virtual server's quorum is told at the start, too, as keepalived does: what `quorum_up` prepares is not there
//! before. The addresses of a group are one to whoever is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::Director;
use super::event::Event;
use super::pool::{Member, Pool};
use crate::config::{UpDown, VirtualServer, VirtualServerId};
use crate::notify::mail::content::{self, Occasion, QuorumNumbers};
use crate::notify::notification::{Audience, FifoLine, Notification, ServerName, StateChange, Subject};

/// What was told last.
#[derive(Debug, Default)]
pub(crate) struct LvsNotifier {
    told: BTreeMap<Subject, bool>,
    is_begun: bool,
}

pub(crate) type Number<'a> = &'a mut dyn FnMut() -> u64;

impl LvsNotifier {
    /// Who hears of an event. The first time all is in the kernel, and after a reload, of more than one.
    pub(crate) fn follow(
        &mut self,
        event: &Event,
        director: &Director,
        number: Number<'_>,
    ) -> Vec<Notification> {
        match event {
            Event::RealServer { virtual_server, real_server, is_up, reason } => {
                let Some(pool) = director.pools.get(virtual_server) else { return Vec::new() };
                // Where the kernel knows no port, the event has the one that was written.
                let any = SocketAddr::new(real_server.ip(), 0);
                let member = pool.members.get(real_server).or_else(|| pool.members.get(&any));
                let Some(member) = member else { return Vec::new() };
                self.real_server(pool, member, *is_up, (Occasion::Change, reason), number)
                    .into_iter()
                    .collect()
            }
            Event::Quorum { virtual_server, has_quorum, weight, quorum } => {
                let Some(pool) = director.pools.get(virtual_server) else { return Vec::new() };
                let cause = format!("weight {weight}, quorum {quorum}");
                let subject = Subject::VirtualServer(server_name(&pool.server));
                if !has_quorum && pool.server.sorry_server.is_none() && !self.told.contains_key(&subject) {
                    // It never had one, and no sorry server takes its place: keepalived runs no quorum_down then.
                    self.told.insert(subject, false);
                    return Vec::new();
                }
                self.virtual_server(pool, *has_quorum, *weight, (Occasion::Change, &cause), number)
                    .into_iter()
                    .collect()
            }
            Event::Ready { .. } => {
                self.is_begun = true;
                self.begin(director, number)
            }
            _ => Vec::new(),
        }
    }

    /// Who hears of what a reload brought. What it took away is forgotten.
    pub(crate) fn reloaded(&mut self, director: &Director, number: Number<'_>) -> Vec<Notification> {
        let pools = || director.pools.values();
        let servers = pools().map(|p| Subject::VirtualServer(server_name(&p.server)));
        let members =
            pools().flat_map(|p| p.members.values().map(|m| real_subject(&p.server, m.real_server.named())));
        let known: BTreeSet<Subject> = servers.chain(members).collect();
        self.told.retain(|subject, _| known.contains(subject));
        if self.is_begun { self.begin(director, number) } else { Vec::new() }
    }

    /// Who hears of a stop: of virtual servers with `omega`.
    pub(crate) fn farewell(&mut self, director: &Director, number: Number<'_>) -> Vec<Notification> {
        let mut all = Vec::new();
        for pool in director.pools.values().filter(|p| p.server.notices.is_told_at_stop) {
            for member in pool.members.values().filter(|m| m.is_up) {
                all.extend(self.real_server(pool, member, false, (Occasion::Stop, STOPPING), number));
            }
            if pool.has_quorum() {
                all.extend(self.virtual_server(pool, false, 0, (Occasion::Stop, STOPPING), number));
            }
        }
        all
    }

    /// Tells of what was never told.
    fn begin(&mut self, director: &Director, number: Number<'_>) -> Vec<Notification> {
        let mut all = Vec::new();
        let tells_servers = director.config.global.tells_first_servers;
        for pool in director.pools.values() {
            for member in pool.members.values() {
                let subject = real_subject(&pool.server, member.real_server.named());
                if self.told.contains_key(&subject) {
                    continue;
                }
                if member.is_up && tells_servers {
                    all.extend(self.real_server(pool, member, true, (Occasion::Start, BEGINNING), number));
                } else {
                    self.told.insert(subject, member.is_up);
                }
            }
            let subject = Subject::VirtualServer(server_name(&pool.server));
            if self.told.contains_key(&subject) {
                continue;
            }
            // keepalived tells of the lack of a quorum only when somebody takes its place.
            if pool.has_quorum() || pool.server.sorry_server.is_some() {
                let (is_up, weight) = (pool.has_quorum(), pool.live_weight());
                all.extend(self.virtual_server(pool, is_up, weight, (Occasion::Start, BEGINNING), number));
            } else {
                self.told.insert(subject, false);
            }
        }
        all
    }

    fn virtual_server(
        &mut self,
        pool: &Pool,
        is_up: bool,
        weight: u64,
        (occasion, cause): (Occasion, &str),
        number: Number<'_>,
    ) -> Option<Notification> {
        let VirtualServer { quorum, hysteresis, notices, .. } = &pool.server;
        let name = server_name(&pool.server);
        let text = format!("VS {} {}", name.text, word(is_up));
        let mut notification =
            self.tell(Subject::VirtualServer(name), text, is_up, notices.commands.as_deref(), cause, number)?;
        let numbers = QuorumNumbers { weight, quorum: *quorum, hysteresis: *hysteresis };
        let subject = &notification.change.subject;
        let content = || content::of_virtual_server(subject, is_up, occasion, numbers, cause);
        notification.mail = notices.is_mailed.then(content);
        Some(notification)
    }

    fn real_server(
        &mut self,
        pool: &Pool,
        member: &Member,
        is_up: bool,
        (occasion, cause): (Occasion, &str),
        number: Number<'_>,
    ) -> Option<Notification> {
        let real = &member.real_server;
        let at = real.named();
        let subject = real_subject(&pool.server, at);
        let text = format!("RS {} {} {}", real_name(&pool.server, at), name(&pool.server), word(is_up));
        let mut notification = self.tell(subject, text, is_up, real.commands.as_deref(), cause, number)?;
        let subject = &notification.change.subject;
        notification.mail = real.is_mailed.then(|| content::of_real_server(subject, is_up, occasion, cause));
        Some(notification)
    }

    fn tell(
        &mut self,
        subject: Subject,
        text: String,
        is_up: bool,
        commands: Option<&UpDown>,
        cause: &str,
        number: Number<'_>,
    ) -> Option<Notification> {
        let previous = self.told.insert(subject.clone(), is_up);
        if previous == Some(is_up) {
            return None;
        }
        let script = commands.and_then(|c| if is_up { c.up.clone() } else { c.down.clone() });
        let line = FifoLine { audience: Audience::Lvs, bytes: format!("{text}\n").into_bytes() };
        let change = StateChange {
            subject,
            state: word(is_up),
            previous: previous.map(word),
            priority: None,
            cause: cause.to_owned(),
            master: None,
            sequence: number(),
        };
        Some(Notification { change, scripts: script.into_iter().collect(), line: Some(line), mail: None })
    }
}

const BEGINNING: &str = "at the start";
const STOPPING: &str = "lvsd stops";

fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
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
