//! Computes the changes from the host's present state to the desired one, in a safe order: settings before addresses,
//! or the host would announce a VIP in between.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Arrival, Preparation, TunnelKind};
use crate::net::types::{Address, Prefix};

const NODAD: u32 = 0x02;
/// RT_SCOPE_HOST: valid on this host only.
const SCOPE_HOST: u8 = 254;

/// A host, as far as it can be asked.
pub(crate) trait View {
    /// A link's setting (`net.FAMILY.conf.LINK.NAME`); None when there is none.
    fn setting(&self, family: &str, link: &str, name: &str) -> Option<u32>;
    /// Whether a link is switched on; None when there is none.
    fn link(&self, name: &str) -> Option<bool>;
    /// The prefix lengths a link has an address with.
    fn lengths(&self, link: &str, ip: IpAddr) -> Vec<u8>;
}

/// A change of the host, in the order of its doing; [`HostChange::undone`] says how it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HostChange {
    /// A link's setting.
    Setting {
        /// `ipv4` or `ipv6`.
        family: String,
        /// A link, or `all`.
        link: String,
        name: String,
        /// What it was; None when its link is yet to be made.
        from: Option<u32>,
        /// What it is to be.
        to: u32,
    },
    /// A link is made.
    AddLink {
        name: String,
        /// The kernel's word for its kind.
        kind: String,
    },
    /// A link is switched on.
    LinkUp { name: String },
    /// UDP packets to a port are read as GUE.
    AddGue { port: u16, is_ipv6: bool },
    /// A link gets an address.
    AddAddress { link: String, ip: IpAddr },
}

impl HostChange {
    /// Whether nothing is wrong without it: the larger of `all`'s and a link's own counts, and with `all` right, which
    /// is a change of its own, the link's is no matter.
    pub(crate) fn is_spare(&self) -> bool {
        matches!(self, HostChange::Setting { link, name, .. } if link != "all" && ARP.iter().any(|(arp, ..)| arp == name))
    }
}

/// What is to be changed, and what the operator should know beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub changes: Vec<HostChange>,
    pub notes: Vec<String>,
}

/// The settings that keep an address of this host to itself: at least these, because the larger of a link's and
/// `all`'s counts, and some hosts are stricter.
pub(crate) const ARP: [(&str, u32, &str); 2] = [
    ("arp_ignore", 1, "answer ARP only for addresses of the link that was asked"),
    ("arp_announce", 2, "never name the VIP as the sender of an ARP question"),
];

/// The link that decapsulates a tunnel: name and kind. The kernel's own catch-all links, which need no peer's address.
pub(crate) fn decapsulator(
    tunnel: TunnelKind,
    is_outer_ipv6: bool,
    ip: IpAddr,
) -> (&'static str, &'static str) {
    match (tunnel, is_outer_ipv6) {
        (TunnelKind::Gre, false) => ("gre0", "gre"),
        (TunnelKind::Gre, true) => ("ip6gre0", "ip6gre"),
        (_, true) => ("ip6tnl0", "ip6tnl"),
        (_, false) if ip.is_ipv6() => ("sit0", "sit"),
        (_, false) => ("tunl0", "ipip"),
    }
}

/// Bytes a tunnel adds to a packet.
pub(crate) fn overhead(tunnel: TunnelKind, is_outer_ipv6: bool) -> u32 {
    let outer = if is_outer_ipv6 { 40 } else { 20 };
    outer
        + match tunnel {
            TunnelKind::Ipip => 0,
            TunnelKind::Gre => 4,
            // UDP and the shortest GUE header.
            TunnelKind::Gue { .. } => 12,
        }
}

/// The address of a VIP as its link is to have it.
pub(crate) fn address(link: &str, ip: IpAddr) -> Address {
    Address {
        link: link.to_owned(),
        prefix: Prefix { ip, length: whole(ip) },
        peer: None,
        broadcast: None,
        scope: if ip.is_ipv4() { SCOPE_HOST } else { 0 },
        label: None,
        flags: if ip.is_ipv6() { NODAD } else { 0 },
        // Deprecated: never the source of this host's own packets.
        preferred_lifetime: ip.is_ipv6().then_some(0),
    }
}

fn whole(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The changes that prepare the host, in order; empty when it is prepared.
///
/// # Errors
/// In the operator's words, when something must be put right by hand first.
pub(crate) fn plan(preparation: &Preparation, host: &dyn View) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let device = preparation.device.as_str();
    let Some(is_on) = host.link(device) else {
        return Err(format!("there is no link {device}: make it, or choose another --dev"));
    };
    if preparation.vips.iter().any(|vip| vip.ip.is_ipv4()) {
        for (name, least, _) in ARP {
            for link in ["all", device] {
                plan.at_least(host, link, name, least);
            }
        }
    }
    for vip in &preparation.vips {
        if let Arrival::Tun { tunnel, is_outer_ipv6 } = vip.arrival {
            plan.tunnel(host, tunnel, is_outer_ipv6, vip.ip);
        }
    }
    if !is_on {
        plan.change(HostChange::LinkUp { name: device.to_owned() });
    }
    for vip in &preparation.vips {
        let lengths = host.lengths(device, vip.ip);
        if let Some(length) = lengths.iter().find(|length| **length != whole(vip.ip)) {
            return Err(format!(
                "{device} has {}/{length}: with it this host takes the whole network for its own; remove it first: \
                 ip addr del {}/{length} dev {device}",
                vip.ip, vip.ip
            ));
        }
        if lengths.is_empty() {
            plan.change(HostChange::AddAddress { link: device.to_owned(), ip: vip.ip });
        }
    }
    Ok(plan)
}

impl Plan {
    fn change(&mut self, change: HostChange) {
        if !self.changes.contains(&change) {
            self.changes.push(change);
        }
    }

    fn at_least(&mut self, host: &dyn View, link: &str, name: &str, least: u32) {
        let from = host.setting("ipv4", link, name);
        if from.is_none_or(|value| value < least) {
            self.change(setting("ipv4", link, name, from, least));
        }
    }

    fn tunnel(&mut self, host: &dyn View, tunnel: TunnelKind, is_outer_ipv6: bool, ip: IpAddr) {
        let (link, kind) = decapsulator(tunnel, is_outer_ipv6, ip);
        let is_on = host.link(link);
        if is_on.is_none() {
            self.change(HostChange::AddLink { name: link.to_owned(), kind: kind.to_owned() });
        }
        let has_address = !host.lengths(link, ip).is_empty();
        let needs_address = ip.is_ipv4() && self.free_from_filter(host, link, has_address);
        if is_on != Some(true) {
            self.change(HostChange::LinkUp { name: link.to_owned() });
        }
        if needs_address {
            self.change(HostChange::AddAddress { link: link.to_owned(), ip });
        }
        if let TunnelKind::Gue { port } = tunnel {
            self.change(HostChange::AddGue { port, is_ipv6: is_outer_ipv6 });
        }
        let more = overhead(tunnel, is_outer_ipv6);
        let note = format!(
            "packets in the tunnel are {more} bytes longer: let the path from the director carry {} bytes (link mtu \
             {}), or answer with a smaller MSS here: ip route change default ... advmss {}",
            1500 + more,
            1500 + more,
            1500 - more - if ip.is_ipv4() { 40 } else { 60 }
        );
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Packets from clients come out of a tunnel no route leads back into: a strict filter would drop them all. The
    /// larger of a link's and `all`'s counts; loose (2) is larger than strict (1). Loose drops them, too, while the
    /// link has no address (fib_frontend.c): whether it needs one.
    fn free_from_filter(&mut self, host: &dyn View, link: &str, has_address: bool) -> bool {
        let all = host.setting("ipv4", "all", "rp_filter").unwrap_or(0);
        let from = host.setting("ipv4", link, "rp_filter");
        let own = from.or_else(|| host.setting("ipv4", "default", "rp_filter")).unwrap_or(0);
        let to = match all {
            0 if has_address && own == 2 => 2,
            0 => 0,
            1 => 2,
            _ => own,
        };
        if own != to {
            self.change(setting("ipv4", link, "rp_filter", from, to));
        }
        all > 0 && !has_address
    }
}

fn setting(family: &str, link: &str, name: &str, from: Option<u32>, to: u32) -> HostChange {
    HostChange::Setting { family: family.to_owned(), link: link.to_owned(), name: name.to_owned(), from, to }
}

impl HostChange {
    /// The command that undoes it, for people.
    pub(crate) fn undone(&self) -> String {
        match self {
            HostChange::Setting { family, link, name, from, .. } => match from {
                Some(from) => format!("sysctl -w net/{family}/conf/{link}/{name}={from}"),
                None => format!("(net/{family}/conf/{link}/{name} goes with {link})"),
            },
            HostChange::AddLink { name, .. } => format!("ip link del {name}"),
            HostChange::LinkUp { name } => format!("ip link set {name} down"),
            HostChange::AddGue { port, is_ipv6 } => format!("ip fou del port {port}{}", six(*is_ipv6)),
            HostChange::AddAddress { link, ip } => format!("ip addr del {ip}/{} dev {link}", whole(*ip)),
        }
    }
}

fn six(is_ipv6: bool) -> &'static str {
    if is_ipv6 { " -6" } else { "" }
}

impl fmt::Display for HostChange {
    /// The command that does it, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostChange::Setting { family, link, name, from, to } => {
                write!(f, "sysctl -w net/{family}/conf/{link}/{name}={to}")?;
                from.map_or(Ok(()), |from| write!(f, "    # was {from}"))
            }
            HostChange::AddLink { name, kind } => write!(f, "ip link add {name} type {kind}"),
            HostChange::LinkUp { name } => write!(f, "ip link set {name} up"),
            HostChange::AddGue { port, is_ipv6 } => write!(f, "ip fou add port {port} gue{}", six(*is_ipv6)),
            HostChange::AddAddress { link, ip } if ip.is_ipv4() => {
                write!(f, "ip addr add {ip}/32 dev {link} scope host")
            }
            HostChange::AddAddress { link, ip } => {
                write!(f, "ip addr add {ip}/128 dev {link} nodad preferred_lft 0")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::host_setup::Vip;

    #[derive(Default)]
    struct Imagined {
        settings: BTreeMap<String, u32>,
        links: BTreeMap<&'static str, bool>,
        addresses: Vec<(&'static str, IpAddr, u8)>,
    }

    impl View for Imagined {
        fn setting(&self, family: &str, link: &str, name: &str) -> Option<u32> {
            self.settings.get(&format!("{family}.{link}.{name}")).copied()
        }

        fn link(&self, name: &str) -> Option<bool> {
            self.links.get(name).copied()
        }

        fn lengths(&self, link: &str, ip: IpAddr) -> Vec<u8> {
            self.addresses.iter().filter(|(l, i, _)| *l == link && *i == ip).map(|(.., n)| *n).collect()
        }
    }

    fn bare() -> Imagined {
        let names = ["all.arp_ignore", "all.arp_announce", "lo.arp_ignore", "lo.arp_announce"];
        Imagined {
            settings: names.iter().map(|name| (format!("ipv4.{name}"), 0)).collect(),
            links: BTreeMap::from([("lo", true)]),
            addresses: Vec::new(),
        }
    }

    fn preparation(vips: &[(&str, Arrival)]) -> Preparation {
        let vips = vips.iter().map(|(ip, arrival)| Vip { ip: ip.parse().unwrap(), arrival: *arrival });
        Preparation { vips: vips.collect::<BTreeSet<_>>(), device: "lo".to_owned() }
    }

    fn lines(preparation: &Preparation, host: &Imagined) -> Vec<String> {
        plan(preparation, host).unwrap().changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn settings_come_before_the_address() {
        let lines = lines(&preparation(&[("10.0.0.1", Arrival::Dr), ("fd00::1", Arrival::Dr)]), &bare());
        assert_eq!(
            lines,
            [
                "sysctl -w net/ipv4/conf/all/arp_ignore=1    # was 0",
                "sysctl -w net/ipv4/conf/lo/arp_ignore=1    # was 0",
                "sysctl -w net/ipv4/conf/all/arp_announce=2    # was 0",
                "sysctl -w net/ipv4/conf/lo/arp_announce=2    # was 0",
                "ip addr add 10.0.0.1/32 dev lo scope host",
                "ip addr add fd00::1/128 dev lo nodad preferred_lft 0",
            ]
        );
    }

    #[test]
    fn a_stricter_setting_is_never_lowered_and_what_is_done_is_not_done_again() {
        let mut host = bare();
        host.settings.values_mut().for_each(|value| *value = 8);
        host.addresses.push(("lo", "10.0.0.1".parse().unwrap(), 32));
        assert!(lines(&preparation(&[("10.0.0.1", Arrival::Dr)]), &host).is_empty());
    }

    #[test]
    fn a_vip_with_its_networks_prefix_is_reported_and_not_removed() {
        let mut host = bare();
        host.addresses.push(("lo", "10.0.0.1".parse().unwrap(), 24));
        let error = plan(&preparation(&[("10.0.0.1", Arrival::Dr)]), &host).unwrap_err();
        assert!(error.contains("ip addr del 10.0.0.1/24 dev lo"), "{error}");
    }

    #[test]
    fn a_tunnel_is_undone_by_a_link_that_filters_no_source() {
        let tun = |tunnel, is_outer_ipv6| Arrival::Tun { tunnel, is_outer_ipv6 };
        let mut host = bare();
        host.settings.values_mut().for_each(|value| *value = 2);
        let address = "ip addr add 10.0.0.1/32 dev tunl0 scope host";
        for (all, own, wanted, also) in [
            (1, 0, Some("sysctl -w net/ipv4/conf/tunl0/rp_filter=2    # was 0"), Some(address)),
            (0, 1, Some("sysctl -w net/ipv4/conf/tunl0/rp_filter=0    # was 1"), None),
            (0, 2, Some("sysctl -w net/ipv4/conf/tunl0/rp_filter=0    # was 2"), None),
            (2, 1, None, Some(address)),
            (0, 0, None, None),
        ] {
            host.settings.insert("ipv4.all.rp_filter".to_owned(), all);
            host.settings.insert("ipv4.tunl0.rp_filter".to_owned(), own);
            host.links.insert("tunl0", false);
            let lines = lines(&preparation(&[("10.0.0.1", tun(TunnelKind::Ipip, false))]), &host);
            let on_lo = ["ip addr add 10.0.0.1/32 dev lo scope host"];
            let rest = ["ip link set tunl0 up"].into_iter().chain(also).chain(on_lo);
            assert_eq!(lines, wanted.into_iter().chain(rest).collect::<Vec<_>>());
        }
        host.settings.insert("ipv4.all.rp_filter".to_owned(), 0);
        host.settings.insert("ipv4.tunl0.rp_filter".to_owned(), 2);
        host.addresses.push(("tunl0", "10.0.0.1".parse().unwrap(), 32));
        let lines = lines(&preparation(&[("10.0.0.1", tun(TunnelKind::Ipip, false))]), &host);
        assert_eq!(lines, ["ip link set tunl0 up", "ip addr add 10.0.0.1/32 dev lo scope host"]);
        let gue = preparation(&[("10.0.0.1", tun(TunnelKind::Gue { port: 6080 }, true))]);
        let plan = plan(&gue, &host).unwrap();
        let lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
        assert_eq!(lines[0], "ip link add ip6tnl0 type ip6tnl");
        assert!(lines.contains(&"ip fou add port 6080 gue -6".to_owned()), "{lines:?}");
        assert!(plan.notes[0].contains("52 bytes longer"), "{:?}", plan.notes);
    }
}
