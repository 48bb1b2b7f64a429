//! The changes between a kernel's table and what a director made of it, in the words of virtual servers.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::Serialize;

use super::KernelTable;
use crate::config::VirtualServerId;
use crate::director::{Director, desired};
use crate::ipvs::backend::Op;
use crate::ipvs::types::{Connections, Destination, Service, ServiceEntry, ServiceKey, SyncRole, Timeouts};

/// One thing that would change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Change {
    /// A service is added (no `before`), removed (no `after`) or set.
    Service {
        service: VirtualServerId,
        /// The mark of its packets, where this host is one of its real servers, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        mark: Option<u32>,
        /// As it is.
        before: Option<Service>,
        /// As it would be.
        after: Option<Service>,
    },
    /// A destination is added (no `before`), removed (no `after`) or set.
    Destination {
        service: VirtualServerId,
        /// The mark of its packets, where this host is one of its real servers, too.
        #[serde(skip_serializing_if = "Option::is_none")]
        mark: Option<u32>,
        /// Address and port.
        destination: SocketAddr,
        /// As it is.
        before: Option<Destination>,
        /// As it would be.
        after: Option<Destination>,
        /// Its connections now.
        connections: Connections,
        /// Whether it serves its last connections and is then removed.
        drains: bool,
        /// Whether all that begins only when what replaces it is up.
        stays: bool,
    },
    /// The connection timeouts.
    Timeouts {
        /// As they would be, in seconds.
        after: Timeouts,
    },
    /// A setting of the kernel: one below `net.ipv4.vs`, or one of the host by its whole name.
    Setting {
        /// The part below `net.ipv4.vs`, or the whole name.
        name: String,
        /// As it is; None where it cannot be read.
        before: Option<String>,
        /// As it would be.
        after: String,
    },
    /// A sync daemon is started.
    StartSync {
        /// Sender or receiver.
        role: SyncRole,
        /// On which interface.
        interface: String,
    },
    /// A sync daemon is stopped.
    StopSync {
        /// Sender or receiver.
        role: SyncRole,
    },
}

impl Change {
    /// Active connections that would be cut.
    pub(crate) fn cut(&self) -> u64 {
        match self {
            Change::Destination { after: None, connections, .. } => connections.active.into(),
            _ => 0,
        }
    }
}

/// What an operation changes that is about no service.
pub(super) fn setting(op: &Op) -> Option<Change> {
    match op {
        Op::SetTimeouts(after) => Some(Change::Timeouts { after: *after }),
        Op::StartSync(d) => Some(Change::StartSync { role: d.role, interface: d.interface.clone() }),
        Op::StopSync(role) => Some(Change::StopSync { role: *role }),
        _ => None,
    }
}

/// What differs between two tables, by service and destination; `leaving` serve their last connections.
pub(super) fn changes(
    before: &KernelTable,
    after: &KernelTable,
    director: &Director,
    leaving: &BTreeSet<(VirtualServerId, SocketAddr)>,
) -> Vec<Change> {
    let all = before.keys().chain(after.keys());
    let keys: BTreeSet<&ServiceKey> =
        all.filter(|key| !director.path_check.is_probe_service(**key)).collect();
    let mut changes = Vec::new();
    for key in keys {
        let service = director.owner(*key);
        let mark = match key {
            ServiceKey::Fwmark { mark, .. } if desired::service_key(service) != *key => Some(*mark),
            _ => None,
        };
        let is_retired = director.is_retired(*key);
        let seen =
            |table: &KernelTable| table.get(key).map(|entry| director.in_words_of(service, mark, entry));
        let (old, new) = (seen(before), seen(after));
        let (old_service, new_service) = (old.as_ref().map(|e| &e.service), new.as_ref().map(|e| &e.service));
        if old_service != new_service {
            let (before, after) = (old_service.cloned(), new_service.cloned());
            changes.push(Change::Service { service, mark, before, after });
        }
        let destinations = |entry: Option<&ServiceEntry>| -> BTreeSet<SocketAddr> {
            entry.map(|e| e.destinations.keys().copied().collect()).unwrap_or_default()
        };
        for at in destinations(old.as_ref()).union(&destinations(new.as_ref())) {
            let found = old.as_ref().and_then(|e| e.destinations.get(at));
            let before = found.map(|d| d.destination);
            let after = new.as_ref().and_then(|e| e.destinations.get(at)).map(|d| d.destination);
            if before != after {
                changes.push(Change::Destination {
                    service,
                    mark,
                    destination: *at,
                    before,
                    after,
                    connections: found.map(|d| d.connections).unwrap_or_default(),
                    drains: is_retired || leaving.contains(&(service, *at)),
                    stays: old.as_ref().is_some_and(|old| director.will_stay(service, *at, old)),
                });
            }
        }
    }
    changes
}
