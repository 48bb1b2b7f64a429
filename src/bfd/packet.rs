//! BFD's control packet (RFC 5880 section 4.1): 24 bytes, every one of them from a stranger.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bytes of a packet without authentication, the only form that is sent.
pub(crate) const LENGTH: usize = 24;
/// Bytes of the shortest packet with authentication.
const LENGTH_WITH_AUTHENTICATION: usize = 26;
const VERSION: u8 = 1;

const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const AUTHENTICATION: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// State of a session (RFC 5880 section 4.1, `Sta`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub(crate) enum State {
    AdminDown = 0,
    Down = 1,
    Init = 2,
    Up = 3,
}

/// Why a session last left Up (RFC 5880 section 4.1, `Diag`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Diagnostic(u8);

impl Diagnostic {
    pub(crate) const NONE: Diagnostic = Diagnostic(0);
    /// Nothing was heard within the detection time.
    pub(crate) const EXPIRED: Diagnostic = Diagnostic(1);
    /// The neighbour said that its session is down.
    pub(crate) const NEIGHBOR_DOWN: Diagnostic = Diagnostic(3);
    pub(crate) const ADMIN_DOWN: Diagnostic = Diagnostic(7);
}

/// A control packet without authentication; times in whole microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) diagnostic: Diagnostic,
    pub(crate) state: State,
    pub(crate) is_poll: bool,
    pub(crate) is_final: bool,
    /// Its sender asks for packets only where it polls (section 6.6).
    pub(crate) is_demand: bool,
    /// Never 0 (`Detect Mult`).
    pub(crate) multiplier: u8,
    /// The sender's discriminator (`My Discriminator`), never 0.
    pub(crate) mine: u32,
    /// 0 while its sender does not know ours.
    pub(crate) yours: u32,
    pub(crate) desired_tx: Duration,
    /// Zero: its sender wants no packets.
    pub(crate) required_rx: Duration,
}

/// Why a packet is discarded (RFC 5880 section 6.8.6, RFC 5881 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    Version,
    Length,
    Multiplier,
    Multipoint,
    NoDiscriminator,
    /// It names no session though its state says that there is one.
    NoSession,
    /// It carries authentication, which lvsd does not have.
    Authentication,
    /// It came over more hops than `max_hops` allows.
    HopLimit,
    /// It names a session that is not there, or not its sender's.
    UnknownSession,
    /// No session is with its sender.
    UnknownNeighbor,
    /// It is for another address of this host than `source_ip`.
    Destination,
}

impl Flaw {
    /// A fixed word for counters.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Flaw::Version => "version",
            Flaw::Length => "length",
            Flaw::Multiplier => "multiplier",
            Flaw::Multipoint => "multipoint",
            Flaw::NoDiscriminator => "no_discriminator",
            Flaw::NoSession => "no_session",
            Flaw::Authentication => "authentication",
            Flaw::HopLimit => "hop_limit",
            Flaw::UnknownSession => "unknown_session",
            Flaw::UnknownNeighbor => "unknown_neighbor",
            Flaw::Destination => "destination",
        }
    }

    /// What a session counts.
    pub(crate) const OF_SESSIONS: [Flaw; 10] = [
        Flaw::Version,
        Flaw::Length,
        Flaw::Multiplier,
        Flaw::Multipoint,
        Flaw::NoDiscriminator,
        Flaw::NoSession,
        Flaw::Authentication,
        Flaw::HopLimit,
        Flaw::UnknownSession,
        Flaw::Destination,
    ];
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Flaw::Version => "it is not of BFD version 1",
            Flaw::Length => "its length is wrong",
            Flaw::Multiplier => "its detection multiplier is 0",
            Flaw::Multipoint => "it has the multipoint bit",
            Flaw::NoDiscriminator => "its own discriminator is 0",
            Flaw::NoSession => "it names no session, and its state is neither Down nor AdminDown",
            Flaw::Authentication => {
                "it is authenticated, which lvsd does not support: switch authentication off at the neighbour"
            }
            Flaw::HopLimit => {
                "its TTL is too low: it came through a router, or the neighbour sends with less than 255 (RFC 5881); \
                 `max_hops` allows for it"
            }
            Flaw::UnknownSession => "it names a session that this host does not have with its sender",
            Flaw::UnknownNeighbor => "no bfd_instance has its sender as neighbor_ip",
            Flaw::Destination => "it is not for the source_ip of its session",
        })
    }
}

/// Reads what came as the payload of a datagram; what follows the packet's own length is ignored.
///
/// # Errors
/// [`Flaw`], by the rules of RFC 5880 section 6.8.6 in their order.
pub(crate) fn decode(bytes: &[u8]) -> Result<Packet, Flaw> {
    let fixed: &[u8; LENGTH] = bytes.first_chunk().ok_or(Flaw::Length)?;
    let [first, second, multiplier, length, rest @ ..] = fixed;
    if first >> 5 != VERSION {
        return Err(Flaw::Version);
    }
    let is_authenticated = second & AUTHENTICATION != 0;
    let least = if is_authenticated { LENGTH_WITH_AUTHENTICATION } else { LENGTH };
    let length = usize::from(*length);
    if length < least || length > bytes.len() {
        return Err(Flaw::Length);
    }
    let word = |at: usize| rest.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_be_bytes(*b));
    if *multiplier == 0 {
        return Err(Flaw::Multiplier);
    }
    if second & MULTIPOINT != 0 {
        return Err(Flaw::Multipoint);
    }
    let state = match second >> 6 {
        0 => State::AdminDown,
        1 => State::Down,
        2 => State::Init,
        _ => State::Up,
    };
    let (mine, yours) = (word(0), word(4));
    if mine == 0 {
        return Err(Flaw::NoDiscriminator);
    }
    if yours == 0 && matches!(state, State::Init | State::Up) {
        return Err(Flaw::NoSession);
    }
    if is_authenticated {
        return Err(Flaw::Authentication);
    }
    let time = |at| Duration::from_micros(word(at).into());
    Ok(Packet {
        diagnostic: Diagnostic(first & 0x1f),
        state,
        is_poll: second & POLL != 0,
        is_final: second & FINAL != 0,
        is_demand: second & DEMAND != 0,
        multiplier: *multiplier,
        mine,
        yours,
        desired_tx: time(8),
        required_rx: time(12),
    })
}

/// The packet as it is sent: without authentication, and without echo.
pub(crate) fn encode(packet: &Packet) -> [u8; LENGTH] {
    let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let flags = flag(packet.is_poll, POLL) | flag(packet.is_final, FINAL) | flag(packet.is_demand, DEMAND);
    let micros = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
    let words = [packet.mine, packet.yours, micros(packet.desired_tx), micros(packet.required_rx), 0];
    let mut bytes = [0; LENGTH];
    let head = [
        VERSION << 5 | packet.diagnostic.0,
        (packet.state as u8) << 6 | flags,
        packet.multiplier,
        24, // LENGTH
    ];
    let all = head.into_iter().chain(words.into_iter().flat_map(u32::to_be_bytes));
    bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
    bytes
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::AdminDown => "AdminDown",
            State::Down => "Down",
            State::Init => "Init",
            State::Up => "Up",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            other => return write!(f, "diagnostic {other}"),
        })
    }
}

/// Reads a packet of any form; what was read, written again, says the same. For `crate::fuzz`.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(packet) = decode(bytes) else { return };
    let again = encode(&packet);
    assert_eq!(decode(&again), Ok(packet), "a packet that was written can be read");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// keepalived 2.2.7 in Init, captured.
    const CAPTURED: &str = "20800318a9b9a353f26e6e65000f42400000c35000000000";

    fn bytes(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).unwrap().try_into().unwrap()).collect();
        digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect()
    }

    #[test]
    fn a_captured_packet_says_what_it_says_and_is_written_the_same() {
        let captured = bytes(CAPTURED);
        let packet = decode(&captured).unwrap();
        let expected = Packet {
            diagnostic: Diagnostic::NONE,
            state: State::Init,
            is_poll: false,
            is_final: false,
            is_demand: false,
            multiplier: 3,
            mine: 0xa9b9_a353,
            yours: 0xf26e_6e65,
            desired_tx: Duration::from_secs(1),
            required_rx: Duration::from_millis(50),
        };
        assert_eq!(packet, expected);
        assert_eq!(encode(&packet).as_slice(), captured);
    }

    #[test]
    fn every_rule_of_the_standard_has_its_flaw() {
        let changed = |at: usize, value: u8| {
            let mut bytes = bytes(CAPTURED);
            bytes[at] = value;
            decode(&bytes).err()
        };
        assert_eq!(changed(0, 0x00), Some(Flaw::Version));
        assert_eq!(changed(0, 0x40), Some(Flaw::Version));
        assert_eq!(changed(2, 0), Some(Flaw::Multiplier));
        assert_eq!(changed(3, 23), Some(Flaw::Length));
        assert_eq!(changed(3, 25), Some(Flaw::Length), "longer than the datagram");
        assert_eq!(changed(1, 0x81), Some(Flaw::Multipoint));
        assert_eq!(changed(1, 0x84), Some(Flaw::Length), "the shortest with authentication has 26 bytes");
        let zeroed = |at: usize, state: u8| {
            let mut bytes = bytes(CAPTURED);
            bytes[at..at + 4].fill(0);
            bytes[1] = state << 6;
            decode(&bytes).err()
        };
        assert_eq!(zeroed(4, 1), Some(Flaw::NoDiscriminator));
        let of_states = [0, 1, 2, 3].map(|state| zeroed(8, state));
        assert_eq!(of_states, [None, None, Some(Flaw::NoSession), Some(Flaw::NoSession)]);
        for length in 0..LENGTH {
            assert_eq!(decode(&bytes(CAPTURED)[..length]), Err(Flaw::Length));
        }
    }

    #[test]
    fn what_follows_a_packet_is_ignored_and_authentication_is_refused() {
        let mut long = bytes(CAPTURED);
        long.resize(1400, 0xff);
        assert_eq!(decode(&long), decode(&bytes(CAPTURED)));
        long[1] |= AUTHENTICATION;
        long[3] = 28;
        assert_eq!(decode(&long), Err(Flaw::Authentication));
    }

    #[test]
    fn every_diagnostic_has_its_words() {
        let of = |number: u8| Diagnostic(number).to_string();
        assert_eq!(of(1), "control detection time expired");
        assert_eq!(of(31), "diagnostic 31");
    }
}
