//! What `path_check` asks.

use std::net::SocketAddr;

use serde::Serialize;

/// The VIP whose traffic is checked, and how packets get to the real server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PathQuestion {
    /// The VIP and its port.
    pub vip: SocketAddr,
    /// What carries packets to the real server.
    pub by: Carrier,
}

/// What carries packets to a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// Their frames: it is a neighbour (DR).
    Frames,
    /// A tunnel that is a protocol of its own (ipip, gre).
    Tunnel,
    /// A tunnel of UDP (gue).
    UdpTunnel,
}
