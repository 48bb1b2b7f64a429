//! What an operator says about a real server at run time: drain, disable, another weight.
//!
//! An order belongs to a real server of a virtual server by identity; it survives reload and restart, and ends when
//! the operator takes it back or the server leaves the configuration.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Director;
use super::checkers::PoolMemberKey;
use super::event::Event;
use super::lifecycle::Life;
use crate::config::{Config, RealServer, VirtualServerId};
use crate::time::Instant;

/// Every order about one real server; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminOverride {
    /// Whether it may serve.
    #[serde(rename = "standing")]
    pub state: AdminState,
    /// Weight instead of the configured one, 0-2147483647.
    pub weight: Option<u32>,
}

/// Whether a real server may serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum AdminState {
    /// As its health says.
    #[default]
    Free,
    /// No new connections; removed when the last one ends, or at the deadline.
    Drained {
        /// When it is removed, even if it still has connections.
        deadline: Instant,
    },
    /// Removed at once.
    Disabled,
}

/// What an operator wants changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OverrideChange {
    /// No new connections; removed when the last one ends, or after this long.
    Drain {
        /// At most this long.
        limit: Duration,
    },
    /// End a drain.
    Undrain,
    /// Remove at once.
    Disable,
    /// Let it serve again, drained or disabled.
    Enable,
    /// Another weight; None: the configured one.
    Weight(Option<u32>),
}

/// Which real servers an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// Their address.
    pub address: IpAddr,
    /// Their port; None: every port.
    pub port: Option<u16>,
    /// Only in this virtual server.
    pub virtual_server: Option<VirtualServerId>,
}

impl Selector {
    /// Whether a real server of a virtual server is meant, by the port it has in the kernel or the one it was written
    /// with.
    pub fn selects(&self, virtual_server: &VirtualServerId, real_server: &RealServer) -> bool {
        let ports = [real_server.address.port(), real_server.named().port()];
        self.address == real_server.address.ip()
            && self.port.is_none_or(|port| ports.contains(&port))
            && self.virtual_server.is_none_or(|id| id == *virtual_server)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port))?,
            None => write!(f, "{}", self.address)?,
        }
        match &self.virtual_server {
            Some(id) => write!(f, " of virtual server {id}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Selector {
    type Err = NotARealServer;

    /// `10.1.0.1`, `10.1.0.1:80`, `fd00::1`, `[fd00::1]:80`.
    fn from_str(text: &str) -> Result<Selector, NotARealServer> {
        let (address, port) = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
            (Ok(at), _) => (at.ip(), Some(at.port())),
            (_, Ok(address)) => (address, None),
            _ => return Err(NotARealServer(text.to_owned())),
        };
        Ok(Selector { address, port, virtual_server: None })
    }
}

/// A text that names no real server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a real server: write ADDRESS or ADDRESS:PORT, IPv6 as [ADDRESS]:PORT")]
pub struct NotARealServer(String);

impl AdminOverride {
    /// The order after a change.
    #[must_use]
    pub fn changed(self, change: OverrideChange, now: Instant) -> AdminOverride {
        match change {
            OverrideChange::Drain { limit } => {
                AdminOverride { state: AdminState::Drained { deadline: now + limit }, ..self }
            }
            OverrideChange::Undrain if matches!(self.state, AdminState::Drained { .. }) => {
                AdminOverride { state: AdminState::Free, ..self }
            }
            OverrideChange::Undrain => self,
            OverrideChange::Disable => AdminOverride { state: AdminState::Disabled, ..self },
            OverrideChange::Enable => AdminOverride { state: AdminState::Free, ..self },
            OverrideChange::Weight(weight) => AdminOverride { weight, ..self },
        }
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        *self == AdminOverride::default()
    }
}

impl fmt::Display for AdminOverride {
    /// `drained`, `disabled`, `weight 5`, or both with a comma; empty when there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            AdminState::Free => None,
            AdminState::Drained { .. } => Some("drained"),
            AdminState::Disabled => Some("disabled"),
        };
        match (state, self.weight) {
            (None, None) => Ok(()),
            (Some(state), None) => f.write_str(state),
            (None, Some(weight)) => write!(f, "weight {weight}"),
            (Some(state), Some(weight)) => write!(f, "{state}, weight {weight}"),
        }
    }
}

impl Director {
    /// The real servers a selector means, with their virtual servers.
    pub fn select(&self, selector: &Selector) -> Vec<PoolMemberKey> {
        let members = self.pools.values().flat_map(|p| p.members.iter().map(|(at, m)| (p.server.id, *at, m)));
        let selected = members.filter(|(id, _, member)| selector.selects(id, &member.real_server));
        selected.map(|(id, at, _)| (id, at)).collect()
    }

    pub(super) fn apply_override(
        &mut self,
        now: Instant,
        selector: &Selector,
        change: OverrideChange,
        events: &mut Vec<Event>,
    ) {
        if self.life != Life::Running {
            return;
        }
        for (id, at) in self.select(selector) {
            let Some(member) = self.pools.get_mut(&id).and_then(|p| p.members.get_mut(&at)) else { continue };
            let admin = member.admin.changed(change, now);
            if admin == member.admin {
                continue;
            }
            member.admin = admin;
            let real_server = member.real_server.named();
            if admin.is_none() {
                self.overrides.remove(&(id, at));
            } else {
                self.overrides.insert((id, at), admin);
            }
            events.push(Event::Override { virtual_server: id, real_server, admin });
            self.changed_pools.insert(id);
            self.saves.at_once(now);
        }
    }

    /// An order ends with the real server it is about.
    pub(super) fn forget_overrides(&mut self, config: &Config) {
        if self.overrides.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.overrides);
        let subscribers =
            config.virtual_servers.iter().flat_map(|s| s.real_servers.iter().map(|r| (s.id, r.address)));
        self.overrides = subscribers.filter_map(|s| Some((s, before.remove(&s)?))).collect();
    }
}
