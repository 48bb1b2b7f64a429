//! What a session is to be: `bfd_instance` after defaults and checks. Made by `config`.

use std::net::IpAddr;
use std::time::Duration;

/// Between two packets while a session is not up, at least (RFC 5880 section 6.8.3).
pub(crate) const SLOW: Duration = Duration::from_secs(1);

/// UDP port of sessions over one hop (RFC 5881 section 4).
pub(crate) const PORT: u16 = 3784;
/// UDP port of sessions over several hops (RFC 5883 section 5).
pub(crate) const MULTIHOP_PORT: u16 = 4784;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionSettings {
    pub(crate) name: String,
    /// `neighbor_ip`.
    pub(crate) neighbor: IpAddr,
    /// `source_ip`; None: the kernel's choice.
    pub(crate) source: Option<IpAddr>,
    /// `interface`: for a link-local neighbour; at most 15 bytes. lvsd's own.
    pub(crate) interface: Option<String>,
    /// Whether routers may be in between (RFC 5883, `multihop`). lvsd's own.
    pub(crate) is_multihop: bool,
    /// `min_rx`: least time between two packets of the neighbour; 1 ms to 4294967 ms.
    pub(crate) min_rx: Duration,
    /// `min_tx`: least time between two own packets while up.
    pub(crate) min_tx: Duration,
    /// `idle_tx`: the same while not up; at least [`SLOW`].
    pub(crate) idle_tx: Duration,
    /// `multiplier`: packets that the neighbour misses before its session is down, 1 to 255.
    pub(crate) multiplier: u8,
    /// `passive`: nothing is sent before the neighbour was heard.
    pub(crate) is_passive: bool,
    /// `ttl`, `hoplimit`: of own packets.
    pub(crate) hop_limit: u8,
    /// Least TTL or hop limit of the neighbour's packets: by `ttl` and `max_hops`.
    pub(crate) least_hop_limit: u8,
    /// Weight of a track that gives none, -253 to 253.
    pub(crate) weight: i16,
    /// `reverse` where the track says nothing.
    pub(crate) is_reversed: bool,
}

impl SessionSettings {
    /// A session over one hop: 50 ms and three packets, so 150 ms.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn sample(name: &str, neighbor: IpAddr) -> SessionSettings {
        SessionSettings {
            name: name.to_owned(),
            neighbor,
            source: None,
            interface: None,
            is_multihop: false,
            min_rx: Duration::from_millis(50),
            min_tx: Duration::from_millis(50),
            idle_tx: SLOW,
            multiplier: 3,
            is_passive: false,
            hop_limit: 255,
            least_hop_limit: 255,
            weight: 0,
            is_reversed: false,
        }
    }

    /// Whether a session can go on under the other settings: they are with the same neighbour, in the same way.
    pub(crate) fn is_same_session(&self, other: &SessionSettings) -> bool {
        (self.neighbor, self.source, &self.interface, self.is_multihop)
            == (other.neighbor, other.source, &other.interface, other.is_multihop)
    }

    /// Where its packets go.
    pub(crate) fn port(&self) -> u16 {
        if self.is_multihop { MULTIHOP_PORT } else { PORT }
    }
}
