//! What a received packet says about two configurations that do not fit together, and what to change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::vrrp::member::Member;
use crate::vrrp::packet::{Flaw, Received, ReceivedAuthentication};
use crate::vrrp::settings::{Checksum, Transport};

/// What a refusal says about configurations, with what to change; None where it says nothing.
pub(super) fn difference(flaw: &Flaw) -> Option<String> {
    let words = match flaw {
        Flaw::Transport { is_multicast: true } => {
            "it uses multicast, we use unicast: give both unicast_peer, or none".to_owned()
        }
        Flaw::Transport { is_multicast: false } => {
            "it uses unicast, we use multicast: give both unicast_peer, or none".to_owned()
        }
        Flaw::Version { has, expected } => format!(
            "it speaks version {}, we speak {}: give both the same vrrp_version",
            has.number(),
            expected.number()
        ),
        Flaw::Interval { has, expected } => format!(
            "it advertises every {} s, we every {} s, and version 2 wants them equal: give both the same advert_int",
            has.as_secs(),
            expected.as_secs()
        ),
        Flaw::Authentication { has, expected } => format!(
            "it authenticates with {}, we with {}: give both the same auth_type",
            authentication_words(*has),
            authentication_words(*expected)
        ),
        Flaw::Password | Flaw::HeaderSignature => {
            "its auth_pass is another one: give both the same".to_owned()
        }
        Flaw::Stranger => "it is not among our unicast_peer: add it, or stop it there".to_owned(),
        Flaw::Signed | Flaw::Unsigned | Flaw::UnknownKey(_) | Flaw::Signature => {
            format!("{flaw}: give both the same auth_hmac")
        }
        Flaw::Clock { .. } => format!("{flaw}: set both clocks"),
        Flaw::NoAddresses => {
            "it names no address: it may be a virtual router of another network, which needs another VRID"
                .to_owned()
        }
        _ => return None,
    };
    Some(words)
}

/// What is odd about an advertisement that is accepted.
pub(super) fn disagreement(
    member: &Member,
    received: &Received,
    source: IpAddr,
    is_believed: bool,
) -> Option<(&'static str, String)> {
    let settings = member.settings();
    let advert = &received.advert;
    if member.instance.is_owner() && advert.priority == 255 {
        let words = "both have priority 255, which only the owner of the addresses may have: lower one";
        return Some(("owner", words.to_owned()));
    }
    if let Transport::Unicast { peers, .. } = &settings.transport
        && !peers.iter().any(|peer| peer.address == source)
    {
        let words =
            "it is not among our unicast_peer: add it, or write check_unicast_src so that it is ignored";
        return Some(("stranger", words.to_owned()));
    }
    let ours: BTreeSet<IpAddr> = settings.addresses.iter().map(|a| a.wanted.prefix.ip).collect();
    let theirs: BTreeSet<IpAddr> = advert.addresses.iter().copied().collect();
    if ours != theirs {
        return Some(("addresses", list_words(&ours, &theirs, advert.addresses.len())));
    }
    if !is_believed {
        let words = format!(
            "it advertises every {:?}, we every {:?}: too far apart to be believed at once, so we keep to ours until it says so again",
            advert.interval, settings.advert_interval
        );
        return Some(("interval", words));
    }
    if let Some(form) = received.checksum
        && form != settings.checksum
    {
        let words = match form {
            Checksum::PseudoHeader => {
                "its checksum covers a pseudo header, ours does not: some programs drop one of them; \
                 give both the same v3_checksum_as_v2"
            }
            Checksum::MessageOnly => {
                "its checksum covers no pseudo header, ours does: some programs drop one of them; \
                 give both the same v3_checksum_as_v2"
            }
        };
        return Some(("checksum", words.to_owned()));
    }
    None
}

pub(super) fn in_vain(theirs: u8, ours: u8) -> String {
    format!(
        "it stays Master with priority {theirs} though ours is {ours}: it does not receive our packets, or does not \
         accept them: look at its log"
    )
}

fn list_words(ours: &BTreeSet<IpAddr>, theirs: &BTreeSet<IpAddr>, count: usize) -> String {
    let some = |all: Vec<String>| match all.as_slice() {
        [] => "none".to_owned(),
        [first] => first.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    };
    let lacks = some(ours.difference(theirs).map(IpAddr::to_string).collect());
    let beyond = some(theirs.difference(ours).map(IpAddr::to_string).collect());
    format!(
        "it names {count} addresses, we {}; only ours: {lacks}; only its: {beyond}: \
         give both the same virtual_ipaddress",
        ours.len()
    )
}

fn authentication_words(of: ReceivedAuthentication) -> &'static str {
    match of {
        ReceivedAuthentication::None => "nothing",
        ReceivedAuthentication::Password(_) => "PASS",
        ReceivedAuthentication::Header => "AH",
    }
}
