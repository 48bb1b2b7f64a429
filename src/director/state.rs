//! What one process leaves to the next in the state file: which services in the kernel are lvsd's, which checkers were
//! down, which servers were leaving or staying, operators' overrides, and the kernel's settings as they were before lvsd.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::admin_override::AdminOverride;
use crate::config::VirtualServerId;
use crate::ipvs::types::{SyncRole, Timeouts};
use crate::time::Instant;

/// Written before the kernel is changed, so that it is never behind the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Services that are ours: wanted, or not yet confirmed deleted.
    pub owned: BTreeSet<VirtualServerId>,
    /// Checkers whose health was down.
    pub down: Vec<KnownDown>,
    /// Destinations that serve their last connections.
    #[serde(default)]
    pub leaving: Vec<KnownLeaving>,
    /// Those that serve until they are replaced.
    #[serde(default)]
    pub staying: Vec<KnownLeaving>,
    /// Overrides by operators.
    #[serde(default, rename = "orders")]
    pub overrides: Vec<KnownOverride>,
    /// The kernel's timeouts before we changed them.
    pub original_timeouts: Option<Timeouts>,
    /// Sync daemons we started.
    pub sync_daemons: Vec<SyncRole>,
}

impl State {
    /// The same where the kernel has no IPVS: nothing that was put there is left.
    pub fn without_ipvs(self) -> State {
        let (owned, leaving, staying, sync_daemons) = Default::default();
        State { owned, leaving, staying, sync_daemons, original_timeouts: None, ..self }
    }
}

/// A destination that serves its last connections, or until it is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownLeaving {
    /// The virtual server it belongs to.
    pub virtual_server: VirtualServerId,
    /// Address and port.
    pub real_server: SocketAddr,
    /// When it is removed, or gets no new connections, even if it still serves some.
    pub deadline: Instant,
}

/// What an operator said about a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownOverride {
    /// The virtual server it belongs to.
    pub virtual_server: VirtualServerId,
    /// Address and port of the real server.
    pub real_server: SocketAddr,
    #[serde(rename = "order")]
    pub admin: AdminOverride,
}

/// A checker that said down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDown {
    /// The virtual server it belongs to.
    pub virtual_server: VirtualServerId,
    /// Address and port of the real server.
    pub real_server: SocketAddr,
    /// keepalived's word for the checker.
    pub checker: String,
    /// Address and port it checked: mostly the real server's own.
    pub target: SocketAddr,
    /// Why, in the operator's words.
    pub reason: String,
}
