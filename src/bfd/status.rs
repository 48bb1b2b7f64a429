//! Sessions as an operator sees them; serialized for `lvsd status --json` and read by the metrics.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::packet::State;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionStatus {
    pub(crate) name: String,
    pub(crate) neighbor: IpAddr,
    /// `source_ip`.
    pub(crate) source: Option<IpAddr>,
    pub(crate) is_multihop: bool,
    pub(crate) state: State,
    /// For how long.
    pub(crate) since_milliseconds: u64,
    /// Why it last left Up.
    pub(crate) diagnostic: String,
    /// The neighbour's state, as last heard.
    pub(crate) remote_state: State,
    /// Why the neighbour's session last left Up.
    pub(crate) remote_diagnostic: String,
    /// Silence after which the neighbour is taken for unreachable; None: it was not heard yet.
    pub(crate) detection_microseconds: Option<u64>,
    /// Between two own packets, before jitter; None: none are sent.
    pub(crate) transmit_microseconds: Option<u64>,
    pub(crate) discriminator: u32,
    /// 0: not known.
    pub(crate) remote_discriminator: u32,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// How often it came up.
    pub(crate) came_up: u64,
    /// How often it went down.
    pub(crate) went_down: u64,
    /// Packets of its neighbour that were dropped, by kind.
    pub(crate) dropped: BTreeMap<String, u64>,
    /// Why nothing can be sent or received now.
    pub(crate) trouble: Option<String>,
}
