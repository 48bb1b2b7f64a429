//! The source address of an instance's advertisements.
//!
//! It is an address that no election adds or removes: never one that the host does not have,
//! never a VIP (but an owner's). Once chosen it stays for as long as the host has it, for peers know this host by it:
//! they compare it when priorities are equal, and by unicast they may accept no other.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::net::types::{HeldAddress, Host, LinkIndex};
use crate::vrrp::io::Datagram;
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Family, InstanceSettings, Transport};

/// Other addresses that packets of peers are received at.
const MAX_OTHERS: usize = 8;

impl Router {
    /// A peer's packet arrived, so it knows this host by that address: where the file does not say which one is the
    /// source, it is that one. Peers that disagree about it change nothing.
    pub(crate) fn learn_source(&mut self, name: &str, datagram: &Datagram) {
        let Some(member) = self.members.get_mut(name) else { return };
        let settings = member.settings();
        let is_peer = member.binding.peers.contains(&datagram.source);
        let is_known = member.known_by == Some(datagram.destination);
        if settings.source.is_some() || !is_peer || is_known {
            return;
        }
        member.known_by = Some(datagram.destination);
        if member.instance.source() != member.known_by {
            self.cause = format!("{} sends to {}", datagram.source, datagram.destination);
            self.is_dirty = true;
        }
    }
}

/// The source address of an instance with this link.
///
/// `vips` are the addresses of all instances; `known` are those it is to keep to, the best one first: what peers send
/// to, and what it was given last.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn choose(
    settings: &InstanceSettings,
    host: &Host,
    link: Option<LinkIndex>,
    vips: &BTreeSet<IpAddr>,
    known: &[IpAddr],
) -> Result<IpAddr, String> {
    if let Some(source) = settings.source {
        return given(settings, host, vips, source);
    }
    let Some(link) = link else {
        return Err("without an interface it needs a source address (unicast_src_ip)".to_owned());
    };
    let required = Requirements::of(settings);
    let own = own_vips(settings);
    let listed = host.addresses.listed(link);
    let is_fit = |h: &HeldAddress| {
        required.fits(h) && !h.is_unusable && (!vips.contains(&h.prefix.ip) || own.contains(&h.prefix.ip))
    };
    let best = listed.iter().enumerate().filter(|(_, h)| is_fit(h)).min_by_key(|(place, h)| {
        // An owner's VIP only where there is nothing else, for VIPs come and go.
        (vips.contains(&h.prefix.ip), required.rank(h, *place, known))
    });
    best.map(|(_, h)| h.prefix.ip).ok_or_else(|| required.missing(settings, &listed, vips))
}

/// Other addresses of the link that unicast peers may know this host by, where the file does not say which one it is.
pub(crate) fn others(
    settings: &InstanceSettings,
    host: &Host,
    link: LinkIndex,
    vips: &BTreeSet<IpAddr>,
    source: IpAddr,
) -> Vec<IpAddr> {
    if settings.source.is_some() || matches!(settings.transport, Transport::Multicast(_)) {
        return Vec::new();
    }
    let required = Requirements::of(settings);
    let is_other = |h: &HeldAddress| {
        required.fits(h) && !h.is_unusable && h.prefix.ip != source && !vips.contains(&h.prefix.ip)
    };
    let all = host.addresses.listed(link).into_iter().filter(is_other);
    all.map(|h| h.prefix.ip).take(MAX_OTHERS).collect()
}

/// The given address (`mcast_src_ip`, `unicast_src_ip`), if this host has it.
fn given(
    settings: &InstanceSettings,
    host: &Host,
    vips: &BTreeSet<IpAddr>,
    source: IpAddr,
) -> Result<IpAddr, String> {
    // The addresses of a virtual router's owner are its own before it holds them.
    if own_vips(settings).contains(&source) {
        return Ok(source);
    }
    let keyword = match settings.transport {
        Transport::Multicast(_) => "mcast_src_ip",
        Transport::Unicast { .. } => "unicast_src_ip",
    };
    if vips.contains(&source) {
        return Err(format!(
            "source address {source} is a virtual address, which moves from host to host: give {keyword} an address \
             of this host's own"
        ));
    }
    // Any link will do: routed peers may know this host by an address of its loopback.
    match host.addresses.iter().find(|h| h.prefix.ip == source) {
        Some(held) if !held.is_unusable => Ok(source),
        Some(_) => Err(format!(
            "source address {source} cannot be used (yet): IPv6 is still finding out whether another host has it, or \
             one has"
        )),
        None => Err(format!(
            "source address {source} is not on this host (yet): add it, or give {keyword} an address of this host"
        )),
    }
}

/// The VIPs of an owner, which are the host's own (RFC 9568 section 6.1).
fn own_vips(settings: &InstanceSettings) -> BTreeSet<IpAddr> {
    match settings.priority {
        255 => settings.addresses.iter().map(|a| a.wanted.prefix.ip).collect(),
        _ => BTreeSet::new(),
    }
}

/// What the source address has to fit.
struct Requirements {
    family: Family,
    peers: Vec<IpAddr>,
    /// IPv6: an address that is known beyond the link.
    is_global: bool,
}

/// From the best one on.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// No peer is in its network.
    is_apart: bool,
    /// How many of the addresses to keep are better; all of them if this one is not to be kept.
    known: usize,
    /// The list of all nodes does not name it as this one's.
    is_unnamed: bool,
    is_deprecated: bool,
    is_temporary: bool,
    is_secondary: bool,
    /// Peers outside its network.
    strangers: usize,
    scope: u8,
    /// IPv6: bits it shares with the peers (RFC 6724 section 5, rule 8).
    common: Reverse<u32>,
    place: i64,
}

impl Requirements {
    fn of(settings: &InstanceSettings) -> Requirements {
        let peers: Vec<IpAddr> = settings.transport.peers().collect();
        let is_global = peers.iter().any(|peer| !is_link_local(*peer));
        Requirements { family: settings.family, peers, is_global }
    }

    fn fits(&self, held: &HeldAddress) -> bool {
        match self.family {
            Family::Ipv4 => held.prefix.ip.is_ipv4(),
            Family::Ipv6 => held.prefix.ip.is_ipv6() && is_link_local(held.prefix.ip) != self.is_global,
        }
    }

    /// As the kernel would choose for the peers; without peers its first primary address of the widest scope.
    fn rank(&self, held: &HeldAddress, place: usize, known: &[IpAddr]) -> Rank {
        let network = held.network();
        let near = self.peers.iter().filter(|peer| network.contains(**peer)).count();
        let common = self.peers.iter().map(|peer| common_bits(held, *peer)).sum();
        let place = i64::try_from(place).unwrap_or(i64::MAX);
        Rank {
            is_apart: near == 0,
            known: known.iter().position(|ip| *ip == held.prefix.ip).unwrap_or(known.len()),
            is_unnamed: !self.peers.contains(&held.prefix.ip),
            is_deprecated: held.is_deprecated,
            is_temporary: held.is_temporary,
            is_secondary: held.is_secondary,
            strangers: self.peers.len() - near,
            scope: held.scope,
            common: Reverse(common),
            // Of link-local addresses the kernel itself speaks from the oldest (`ipv6_get_lladdr`).
            place: if is_link_local(held.prefix.ip) { -place } else { place },
        }
    }

    fn missing(
        &self,
        settings: &InstanceSettings,
        listed: &[HeldAddress],
        vips: &BTreeSet<IpAddr>,
    ) -> String {
        let name = settings.interface.as_deref().unwrap_or_default();
        let family = match self.family {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 if self.is_global => "global IPv6",
            Family::Ipv6 => "link-local IPv6",
        };
        let tentative = listed.iter().find(|h| self.fits(h) && !vips.contains(&h.prefix.ip));
        match tentative {
            Some(held) => format!(
                "interface {name} has no usable {family} address of its own (yet): IPv6 is still finding out whether \
                 another host has {}, or one has",
                held.prefix.ip
            ),
            None => format!(
                "interface {name} has no {family} address of its own (yet), and advertisements need a source address"
            ),
        }
    }
}

/// Leading bits of an IPv6 address that are a peer's, too; no more than its network has.
fn common_bits(held: &HeldAddress, peer: IpAddr) -> u32 {
    match (held.prefix.ip, peer) {
        (IpAddr::V6(own), IpAddr::V6(peer)) => {
            (own.to_bits() ^ peer.to_bits()).leading_zeros().min(u32::from(held.prefix.length))
        }
        _ => 0,
    }
}

pub(in crate::vrrp) fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local())
}
