//! What can be wrong with a packet, in the operator's words.

use std::fmt;
use std::time::Duration;

use super::{ReceivedAuthentication, Version};

/// A packet that is dropped, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// The virtual router it says it is of, where that could be read.
    pub vrid: Option<u8>,
    pub flaw: Flaw,
}

impl Malformed {
    /// A fixed word for counters.
    pub(crate) fn kind(&self) -> &'static str {
        self.flaw.kind()
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flaw.fmt(f)
    }
}

/// What is wrong with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// No IP header that makes sense.
    IpHeader,
    /// A piece of a packet.
    Fragment,
    /// Shorter than its headers say.
    Short {
        /// Bytes there are.
        has: usize,
        /// Bytes there should be.
        needs: usize,
    },
    /// Longer than its headers say.
    Long {
        /// Bytes there are.
        has: usize,
        /// Bytes there should be.
        needs: usize,
    },
    /// By multicast with another hop limit than 255, or by unicast with one outside the peer's range.
    HopLimit {
        has: u8,
        /// The least it may have.
        least: u8,
        most: u8,
    },
    /// Neither 2 nor 3.
    UnknownVersion(u8),
    /// The other one than the instance's.
    Version {
        has: Version,
        expected: Version,
    },
    /// Not an advertisement.
    Type(u8),
    VridZero,
    /// No addresses, where some are expected.
    NoAddresses,
    /// An interval of zero (RFC 9568 erratum 8301): a receiver that believed it would take over at once.
    IntervalZero,
    /// Version 2 and another interval than the instance's.
    Interval {
        has: Duration,
        expected: Duration,
    },
    /// The checksum does not fit.
    Checksum,
    /// Version 2 has three types of authentication: this is none of them.
    UnknownAuthentication(u8),
    /// An authentication header without sense, or one that is announced and missing.
    Header,
    /// Authenticated in another way than the instance is.
    Authentication {
        has: ReceivedAuthentication,
        expected: ReceivedAuthentication,
    },
    Password,
    /// The authentication header's signature does not fit, or is another sender's.
    HeaderSignature,
    /// A number of the authentication header that was there before.
    HeaderRepeated {
        has: u32,
        /// The highest so far.
        highest: u32,
    },
    /// keepalived's signature is there, and the instance has no `auth_hmac`.
    Signed,
    /// It is not there, and the instance has.
    Unsigned,
    /// Signed with a key that is not known.
    UnknownKey(u8),
    /// The signature does not fit.
    Signature,
    /// Signed at another time than now.
    Clock {
        /// How far the sender's clock and ours are apart.
        apart: Duration,
        /// Whether the sender's is behind.
        is_behind: bool,
    },
    /// Signed, but heard before.
    Repeated,
    /// From an address that is no peer's.
    Stranger,
    /// Multicast where unicast is expected, or the other way round.
    Transport {
        /// Whether it came by multicast.
        is_multicast: bool,
    },
}

impl Flaw {
    /// A fixed word for counters.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Flaw::IpHeader | Flaw::Fragment | Flaw::Short { .. } | Flaw::Long { .. } => "length",
            Flaw::HopLimit { .. } => "hop_limit",
            Flaw::UnknownVersion(_) | Flaw::Version { .. } => "version",
            Flaw::Type(_) => "type",
            Flaw::VridZero => "vrid",
            Flaw::NoAddresses => "addresses",
            Flaw::IntervalZero | Flaw::Interval { .. } => "interval",
            Flaw::Checksum => "checksum",
            Flaw::UnknownAuthentication(_)
            | Flaw::Header
            | Flaw::Authentication { .. }
            | Flaw::Signed
            | Flaw::Unsigned => "authentication_type",
            Flaw::Password | Flaw::HeaderSignature | Flaw::UnknownKey(_) | Flaw::Signature => {
                "authentication"
            }
            Flaw::HeaderRepeated { .. } | Flaw::Clock { .. } | Flaw::Repeated => "replay",
            Flaw::Stranger => "stranger",
            Flaw::Transport { .. } => "transport",
        }
    }
}

/// Every word [`Flaw::kind`] may give, for metrics that are there before the first packet.
pub(crate) const KINDS: &[&str] = &[
    "length",
    "hop_limit",
    "version",
    "type",
    "vrid",
    "addresses",
    "interval",
    "checksum",
    "authentication_type",
    "authentication",
    "replay",
    "stranger",
    "transport",
];

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::IpHeader => write!(f, "its IP header makes no sense"),
            Flaw::Fragment => write!(f, "it is a fragment"),
            Flaw::Short { has, needs } => write!(f, "it is too short: {has} bytes, expected {needs}"),
            Flaw::Long { has, needs } => write!(f, "it is too long: {has} bytes, expected {needs}"),
            Flaw::HopLimit { has, least, most } if least == most => {
                write!(f, "its TTL is {has}, expected {least}: it comes from another network")
            }
            Flaw::HopLimit { has, least, most } => write!(f, "its TTL is {has}, expected {least} to {most}"),
            Flaw::UnknownVersion(has) => write!(f, "its version is {has}, expected 2 or 3"),
            Flaw::Version { has, expected } => {
                write!(f, "its version is {}, expected {}", has.number(), expected.number())
            }
            Flaw::Type(has) => write!(f, "its type is {has}, expected 1 (advertisement)"),
            Flaw::VridZero => write!(f, "its VRID is 0, expected 1 to 255"),
            Flaw::NoAddresses => write!(f, "it names no address"),
            Flaw::IntervalZero => write!(f, "its advertisement interval is 0"),
            Flaw::Interval { has, expected } => {
                write!(f, "its advertisement interval is {has:?}, expected {expected:?}")
            }
            Flaw::Checksum => write!(f, "its checksum is wrong"),
            Flaw::UnknownAuthentication(has) => {
                write!(f, "its authentication type is {has}, expected 0, 1 or 2")
            }
            Flaw::Header => write!(f, "its authentication header makes no sense"),
            Flaw::Authentication { has, expected } => {
                write!(f, "its authentication is {}, expected {}", way(*has), way(*expected))
            }
            Flaw::Password => write!(f, "its password (auth_pass) is another one"),
            Flaw::HeaderSignature => write!(f, "its authentication header was made with another auth_pass"),
            Flaw::HeaderRepeated { has, highest } => {
                write!(f, "its authentication header's number is {has}, and {highest} was heard already")
            }
            Flaw::Signed => write!(f, "it is signed (auth_hmac), and no signature is expected"),
            Flaw::Unsigned => write!(f, "it is not signed, and a signature (auth_hmac) is expected"),
            Flaw::UnknownKey(has) => {
                write!(f, "it is signed with key {has}, which auth_hmac here does not have")
            }
            Flaw::Signature => write!(f, "its signature (auth_hmac) was made with another key"),
            Flaw::Clock { apart, is_behind } => write!(
                f,
                "it was signed {} s {} our clock: more than auth_hmac's time_window",
                apart.as_secs(),
                if *is_behind { "before" } else { "after" }
            ),
            Flaw::Repeated => write!(f, "its signature was received before: packets are replayed"),
            Flaw::Stranger => write!(f, "its sender is not among the peers (unicast_peer)"),
            Flaw::Transport { is_multicast: true } => write!(f, "it came by multicast, expected unicast"),
            Flaw::Transport { is_multicast: false } => write!(f, "it came by unicast, expected multicast"),
        }
    }
}

fn way(authentication: ReceivedAuthentication) -> &'static str {
    match authentication {
        ReceivedAuthentication::None => "none",
        ReceivedAuthentication::Password(_) => "a password (PASS)",
        ReceivedAuthentication::Header => "a header (AH)",
    }
}
