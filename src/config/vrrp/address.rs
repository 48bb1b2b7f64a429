//! Lines of addresses: `virtual_ipaddress`, `static_ipaddress`, `unicast_peer`.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::net::types::{Address, Prefix};
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Keyword, Reader, Slot, Support, Table, get, no_op};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::Peer;

use super::line::{Line, lines};
use super::names::Names;

/// The table of YAML's mappings.
pub(crate) const TABLE: &str = "address";
/// The same of peers.
pub(crate) const PEER_TABLE: &str = "peer";

/// A line of `virtual_ipaddress` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct AddressOptions {
    /// The address, with the length where it was written.
    pub(crate) ip: IpAddr,
    /// Where it is.
    pub(crate) span: Span,
    length: Option<u8>,
    more: More,
}

options! {
    /// What stands behind the address.
    #[derive(Clone)]
    pub(crate) struct More {
        /// The address, with the length of its network's prefix.
        _ = no_op("address", "ADDRESS[/LENGTH]", 1, 1).only_yaml();
        _ = only_on();
        /// The interface it is put on.
        link: Slot<String> = text("dev", "INTERFACE", MAX_INTERFACE);
        /// Broadcast address; + sets all bits of the host, - none.
        broadcast: Slot<String> = text("brd", "an address, + or -", 15).or(&["broadcast"]);
        /// Where it is valid: global, link, host, site, or a number.
        scope: Slot<String> = text("scope", "SCOPE", 64);
        /// A label, for IPv4: INTERFACE:WORD.
        label: Slot<String> = text("label", "LABEL", 15);
        /// The other end of a point-to-point link.
        peer: Slot<Prefix> = word(=> peer; "peer", "ADDRESS[/LENGTH]");
        /// How long it is preferred as a source; 0 is never.
        preferred: Slot<Option<u32>> = word(=> preferred; "preferred_lft", "seconds, or forever");
        /// A home address of Mobile IPv6.
        home: Slot<bool> = flag("home");
        /// Do not look for duplicates, for IPv6.
        _ = unread("nodad", Support::Ignored("duplicate addresses are not looked for in any case, unless `-nodad` says so"));
        /// Look for duplicates before it is used, for IPv6.
        checks_duplicates: Slot<bool> = flag("-nodad").yaml(&["detect_duplicates"]);
        /// The kernel makes temporary addresses of it.
        manages_temporary: Slot<bool> = flag("mngtmpaddr");
        /// Do not make a route to its network.
        no_prefix_route: Slot<bool> = flag("noprefixroute");
        /// Join its group, where it is a multicast address.
        joins: Slot<bool> = flag("autojoin");
        /// Do not put it back when another program removes it, and do not follow its interface.
        is_untracked: Slot<bool> = flag("no_track");
        /// Put it on a virtual MAC address of its own interface.
        _ = no_op("use_vmac", "", 0, 0).but(Support::Refused(NO_VMAC)).not_yaml();
        _ = track_group();
    }
}

const NO_VMAC: &str =
    "lvsd makes virtual MAC addresses for whole instances: write an instance for this interface";

/// `track_group` behind an address, a route or a rule.
pub(super) const fn track_group<T>() -> Keyword<T> {
    no_op("track_group", "GROUP", 1, 1)
        .but(Support::Ignored("it is put back at once when it is taken away: nothing has to follow it"))
        .not_yaml()
        .doc("Virtual routers that follow it.")
}

/// Options of an address.
pub(super) const ADDRESS: Table<More> = Table::of(TABLE, TABLE, &[More::keywords()]);

/// A line of `unicast_peer` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct PeerOptions {
    /// The peer.
    pub(crate) peer: Peer,
    /// Where it is.
    pub(crate) span: Span,
    /// Whether a range of hop limits was written.
    pub(crate) has_range: bool,
}

options! {
    /// What stands behind a peer.
    pub(crate) struct PeerMore {
        /// The peer's address.
        _ = no_op("address", "ADDRESS", 1, 1).only_yaml();
        _ = only_on();
        /// Least TTL or hop limit its advertisements may have.
        least: Slot<u32> = number("min_ttl", 0, 255);
        /// Largest TTL or hop limit they may have.
        most: Slot<u32> = number("max_ttl", 0, 255);
    }
}

/// Options of a peer.
pub(super) const PEER: Table<PeerMore> = Table::of(PEER_TABLE, PEER_TABLE, &[PeerMore::keywords()]);

/// Reads a block of `ADDRESS[/LENGTH] [OPTION [VALUE]]...` lines.
pub(super) fn read(found: &mut Vec<AddressOptions>, node: &Node, reader: &mut Reader<'_>) {
    for Line { first, options, span } in lines(&ADDRESS, "address", node, reader) {
        let mut more = More::default();
        let address = first.first().and_then(|word| prefixed(word, &node.keyword.text, reader));
        // What follows a word that is no address need not be its options.
        if address.is_some() || reader.is_yaml() {
            reader.options(&ADDRESS, &options, &mut more);
        }
        found.extend(address.map(|(ip, length)| AddressOptions { ip, span, length, more }));
    }
}

impl PeerOptions {
    /// A peer whose packets may have any hop limit.
    pub(crate) fn of(address: IpAddr, span: Span) -> PeerOptions {
        PeerOptions { peer: Peer { address, min_hop_limit: 0, max_hop_limit: 255 }, span, has_range: false }
    }
}

/// Reads a block of `ADDRESS [min_ttl N] [max_ttl N]` lines, and whether one of them could not be read.
pub(crate) fn peers(node: &Node, reader: &mut Reader<'_>) -> (Vec<PeerOptions>, bool) {
    let (mut found, mut has_unread) = (Vec::new(), false);
    for Line { first, options, span } in lines(&PEER, "address", node, reader) {
        let mut more = PeerMore::default();
        reader.options(&PEER, &options, &mut more);
        let Some(word) = first.first() else { continue };
        let byte = |slot: &Slot<u32>| get(slot).and_then(|n| u8::try_from(n).ok());
        let (least, most) = (byte(&more.least), byte(&more.most));
        if least.unwrap_or(0) > most.unwrap_or(255) {
            reader.error(span, format!("`{}`: min_ttl is more than max_ttl", node.keyword.text));
        }
        match reader.address(&node.keyword.text, word) {
            Some(address) => found.push(PeerOptions {
                peer: Peer { address, min_hop_limit: least.unwrap_or(0), max_hop_limit: most.unwrap_or(255) },
                span,
                has_range: least.or(most).is_some(),
            }),
            None => has_unread = true,
        }
    }
    (found, has_unread)
}

impl AddressOptions {
    /// The interface it says it is put on.
    pub(crate) fn link(&self) -> Option<(&str, Span)> {
        self.more.link.as_ref().map(|s| (&*s.value, s.span))
    }

    /// Whether its loss is mended.
    pub(crate) fn is_tracked(&self) -> bool {
        !get(&self.more.is_untracked).unwrap_or(false)
    }

    /// The address as a VIP: deprecated with any prefix length, or checks of DR and TUN would leave from it. A link-local one
    /// is no source of those, but of router advertisements, and IPv4 has no such thing.
    pub(crate) fn resolve_vip(
        &self,
        link: Option<&str>,
        names: &Names<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<Address> {
        let address = self.resolve(link, names, reader)?;
        let is_source = matches!(self.ip, IpAddr::V6(ip) if !ip.is_unicast_link_local());
        let deprecated = Some(0).filter(|_| is_source && self.more.preferred.is_none());
        Some(Address { preferred_lifetime: deprecated.or(address.preferred_lifetime), ..address })
    }

    /// The address, on its own interface or on the one given. None after saying what is wrong.
    pub(crate) fn resolve(
        &self,
        link: Option<&str>,
        names: &Names<'_>,
        reader: &mut Reader<'_>,
    ) -> Option<Address> {
        let more = &self.more;
        let length = self.length.unwrap_or(if self.ip.is_ipv4() { 32 } else { 128 });
        // The kernel's length of an address with another end is that end's.
        let peer = get(&more.peer);
        let prefix = Prefix { ip: self.ip, length: peer.map_or(length, |peer: Prefix| peer.length) };
        let Some(link) = get(&more.link).or_else(|| link.map(str::to_owned)) else {
            let text = format!("address {prefix} is on no interface: write `dev INTERFACE` behind it");
            reader.diagnostics.push(Diagnostic::error(self.span, text).code(Code::Missing));
            return None;
        };
        let only = |what: &str, family: &str, span: Span, reader: &mut Reader<'_>| {
            reader.compat_unheeded(
                span,
                format!("`{what}` is {family}'s: address {prefix} has none"),
                ", and it is ignored",
            );
        };
        let broadcast = more.broadcast.as_ref().and_then(|brd| match self.ip {
            IpAddr::V4(ip) => broadcast(ip, length, &brd.value).or_else(|| {
                reader.error(brd.span, format!("`brd`: `{}` is not an IPv4 address, + or -", brd.value));
                None
            }),
            IpAddr::V6(_) => {
                only("brd", "IPv4", brd.span, reader);
                None
            }
        });
        if let (Some(label), IpAddr::V6(_)) = (&more.label, self.ip) {
            only("label", "IPv4", label.span, reader);
        }
        if let Some(peer) = more.peer.as_ref().filter(|p| p.value.ip.is_ipv4() != self.ip.is_ipv4()) {
            reader.error(peer.span, format!("`peer`: {} is not of the family of {prefix}", peer.value.ip));
        }
        let scope = more.scope.as_ref().and_then(|scope| names.scope(&scope.value, scope.span, reader));
        let is_ipv6 = self.ip.is_ipv6();
        let is = |slot: &Slot<bool>| get(slot).unwrap_or(false);
        let flags = [
            (is_ipv6 && !is(&more.checks_duplicates), 0x02),
            (is_ipv6 && is(&more.home), 0x10),
            (is_ipv6 && is(&more.manages_temporary), 0x100),
            (is(&more.no_prefix_route), 0x200),
            (is(&more.joins), 0x400),
        ];
        Some(Address {
            link,
            prefix,
            peer,
            broadcast,
            scope: scope.unwrap_or(0),
            label: get(&more.label).filter(|_| !is_ipv6),
            flags: flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag),
            // The kernel must not choose a VIP as the source of what this host says for itself.
            preferred_lifetime: get(&more.preferred).unwrap_or((is_ipv6 && length == 128).then_some(0)),
        })
    }
}

fn broadcast(ip: Ipv4Addr, length: u8, word: &str) -> Option<Ipv4Addr> {
    let host = u32::MAX.checked_shr(u32::from(length)).unwrap_or(0);
    match word {
        "+" => Some(Ipv4Addr::from(u32::from(ip) | host)),
        "-" => Some(Ipv4Addr::from(u32::from(ip) & !host)),
        other => other.parse().ok(),
    }
}

fn peer(slot: &mut Slot<Prefix>, node: &Node, reader: &mut Reader<'_>) {
    let found = node.values.first().and_then(|word| prefixed(word, "peer", reader));
    if let Some((ip, length)) = found {
        let length = length.unwrap_or(if ip.is_ipv4() { 32 } else { 128 });
        reader.store(slot, node, Prefix { ip, length });
    }
}

fn preferred(slot: &mut Slot<Option<u32>>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match &*word.text {
        "forever" => reader.store(slot, node, None),
        text => match value::number(text, 0, u32::MAX - 1) {
            Ok(seconds) => reader.store(slot, node, Some(seconds)),
            Err(wrong) => reader.wrong("preferred_lft", word, "a number of seconds, or forever", wrong),
        },
    }
}

/// `ADDRESS[/LENGTH]`. None after saying what is wrong.
pub(crate) fn prefixed(word: &Word, keyword: &str, reader: &mut Reader<'_>) -> Option<(IpAddr, Option<u8>)> {
    let (address, length) = word.split_once('/').map_or((&*word.text, None), |(a, l)| (a, Some(l)));
    let address = match value::address(address) {
        Ok(address) => address,
        Err(wrong) => {
            reader.wrong(keyword, word, "an IP address, with a prefix length or without", wrong);
            return None;
        }
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    let Some(length) = length else { return Some((address, None)) };
    match value::number(length, 0, most).ok().and_then(|n| u8::try_from(n).ok()) {
        Some(length) => Some((address, Some(length))),
        None => {
            let wanted = format!("an address with a prefix length from 0 to {most}");
            reader.wrong(keyword, word, &wanted, Wrong::Malformed(None));
            None
        }
    }
}
