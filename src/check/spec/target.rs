//! Whom a checker asks, and from where.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::Serialize;

/// Whom to ask, and from where (keepalived `connect_ip`, `connect_port`, `connect_timeout`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Target {
    /// Address and port to connect to.
    pub address: SocketAddr,
    /// From where; None where nothing of it is said, as for most.
    pub source: Option<Box<Source>>,
    /// Time for the connection; and again, from then on, for the whole rest of the conversation.
    pub connect_timeout: Duration,
}

/// From where to ask (keepalived `bindto`, `bind_port`, `bind_if`, `fwmark`).
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Source {
    pub address: Option<IpAddr>,
    /// Source port, 1-65535.
    pub port: Option<u16>,
    /// Interface to bind to (SO_BINDTODEVICE), at most 15 bytes.
    pub interface: Option<String>,
    /// Mark on the socket's packets (SO_MARK).
    pub fwmark: Option<u32>,
}

impl Target {
    /// The same, asked from this address.
    pub fn bound_to(&self, ip: IpAddr) -> Target {
        let source = Source { address: Some(ip), ..self.source().clone() };
        Target { source: Some(Box::new(source)), ..self.clone() }
    }

    /// From where to ask.
    pub fn source(&self) -> &Source {
        const ANYWHERE: &Source = &Source { address: None, port: None, interface: None, fwmark: None };
        self.source.as_deref().unwrap_or(ANYWHERE)
    }
}
