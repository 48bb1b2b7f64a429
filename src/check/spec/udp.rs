//! What UDP_CHECK sends and expects.

use serde::Serialize;

/// What to send, and what to expect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct UdpQuestion {
    /// The datagram (keepalived `payload`), at most 65,507 bytes.
    pub payload: Box<[u8]>,
    /// The reply that must come (keepalived `require_reply`); None: silence passes.
    pub reply: Option<WantedReply>,
}

/// A reply that passes.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WantedReply {
    /// Its first bytes; a reply that is shorter is compared as far as it goes.
    pub begins: Box<[MaskedByte]>,
    /// Fewest bytes (keepalived `min_reply_length`).
    pub min_length: u16,
    /// Most bytes (keepalived `max_reply_length`).
    pub max_length: u16,
}

/// A byte of which some bits must be as given: `x` in keepalived's hexadecimal text stands for any four bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct MaskedByte {
    pub value: u8,
    pub mask: u8,
}
