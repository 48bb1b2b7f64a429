//! What a director must know of its predecessor: what is ours in the kernel, and who was down.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::config::VirtualServerId;
use crate::ipvs::types::{SyncRole, Timeouts};

/// Written before the kernel is changed, so that it is never behind the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Services that are ours: wanted, or not yet confirmed deleted.
    pub owned: BTreeSet<VirtualServerId>,
    /// Checkers that said down.
    pub down: Vec<KnownDown>,
    /// The kernel's timeouts before we changed them.
    pub original_timeouts: Option<Timeouts>,
    /// Sync daemons we started.
    pub sync_daemons: Vec<SyncRole>,
}

/// A checker that said down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDown {
    /// Whose: the virtual server.
    pub virtual_server: VirtualServerId,
    /// Whose: the real server.
    pub real_server: SocketAddr,
    /// keepalived's word for the checker.
    pub checker: String,
    /// Whom it asked.
    pub target: SocketAddr,
    /// Why, in the operator's words.
    pub reason: String,
}
