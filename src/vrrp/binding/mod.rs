//! Where an instance sends and receives: its link, its source address, its sockets; and why it cannot.
//!
//! A pure function of its settings, the host and the source address it had; it remembers nothing.

pub(crate) mod sockets;
pub(super) mod source;

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::net::types::{Host, Link, LinkIndex};
use crate::vrrp::addresses::reconcile::AddressReconciler;
use crate::vrrp::io::Endpoint;
use crate::vrrp::packet::{PROTOCOL, PROTOCOL_AH};
use crate::vrrp::settings::{Authentication, Family, InstanceSettings, Transport, Version};

/// What an instance stands on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binding {
    /// The link its advertisements leave by and arrive on; None for unicast without an interface.
    pub link: Option<LinkIndex>,
    /// The link below its VMAC, or the same.
    pub base: Option<LinkIndex>,
    /// The address they come from.
    pub source: Option<IpAddr>,
    /// The socket it speaks and hears with.
    pub endpoint: Option<Endpoint>,
    /// Sockets for what it would not hear otherwise: others that speak for its VRID in another way.
    pub monitored_endpoints: Vec<Endpoint>,
    /// Multicast groups of its VMAC that the link below reports: a Backup's VMAC must not be heard of, or a switch
    /// looks for it there.
    pub groups: BTreeSet<(LinkIndex, IpAddr)>,
    /// Its unicast peers without those that are this host itself: one list may name all nodes.
    pub peers: Vec<IpAddr>,
    /// IPv4 peers in a network of its link, where these must have TTL 255.
    pub on_link_peers: BTreeSet<IpAddr>,
    /// Why it cannot be Master or Backup.
    pub fault: Option<String>,
    /// What it waits for in Init.
    pub waits_for: Option<String>,
}

/// What an instance stands on. `vips` are the addresses of all instances: none of them is a source. `known` are the
/// source addresses to keep to, see [`source::choose`].
pub(crate) fn of(
    settings: &InstanceSettings,
    host: &Host,
    vips: &BTreeSet<IpAddr>,
    reconciler: &AddressReconciler,
    known: &[IpAddr],
) -> Binding {
    let mut binding = Binding::default();
    let mut base = None;
    if let Some(name) = &settings.interface {
        let Some(link) = host.link(name) else {
            binding.fault = Some(format!("interface {name} is not there"));
            return binding;
        };
        base = Some(link.index);
        if !settings.ignores_own_link && !link.is_working() {
            let what = if link.is_up { "has no carrier" } else { "is down" };
            binding.fault = Some(format!("interface {name} {what}"));
        } else if !settings.ignores_own_link && link.is_port {
            binding.fault = Some(fault_of_port(link, host));
        }
    }
    (binding.link, binding.base) = (base, base);
    if let Some(vmac) = &settings.vmac {
        let link = host.link(&vmac.name).filter(|_| reconciler.has_vmac(&vmac.name));
        match (link, reconciler.vmac_trouble(&vmac.name)) {
            (Some(link), _) => {
                if !link.is_up {
                    binding.fault.get_or_insert_with(|| format!("interface {} is down", vmac.name));
                }
                // Peers find this host's own address at its own MAC address: unicast arrives below.
                let is_multicast = matches!(settings.transport, Transport::Multicast(_));
                if is_multicast && !settings.advertises_from_base {
                    binding.link = Some(link.index);
                }
                if let Some(base) = base {
                    binding.groups = groups(settings, &vmac.name, base);
                }
            }
            (None, Some(trouble)) => {
                binding.fault.get_or_insert_with(|| trouble.to_owned());
            }
            (None, None) => binding.waits_for = Some(format!("VMAC {}", vmac.name)),
        }
    }
    if let Some(base) = base {
        binding.on_link_peers = on_link_peers(settings, host, base);
    }
    match source::choose(settings, host, base, vips, known) {
        Ok(source) => binding.source = Some(source),
        Err(reason) => {
            binding.fault.get_or_insert(reason);
        }
    }
    if let Transport::Unicast { peers, .. } = &settings.transport {
        // Not every own address: a host that takes over a dead peer's address still is no peer of its own.
        let others = peers.iter().map(|peer| peer.address).filter(|ip| Some(*ip) != binding.source);
        binding.peers = others.collect();
        if binding.peers.is_empty() {
            let why =
                if peers.is_empty() { "it has no unicast_peer" } else { "each unicast_peer is this host" };
            binding.fault.get_or_insert_with(|| why.to_owned());
        }
    }
    if binding.waits_for.is_none()
        && let Some(source) = binding.source
    {
        open(&mut binding, settings, source);
        if let (Some(link), Some(own)) = (binding.link, &binding.endpoint) {
            let others = source::others(settings, host, link, vips, source);
            let own = own.clone();
            binding
                .monitored_endpoints
                .extend(others.into_iter().map(|source| Endpoint { source, ..own.clone() }));
        }
    }
    binding
}

/// A bridge or bond takes what arrives at its ports: an instance there would hear no Master, and become one.
fn fault_of_port(link: &Link, host: &Host) -> String {
    let master = link.master.and_then(|index| host.links.get(&index));
    let master = master.map_or("another interface", |master| &*master.name);
    let name = &link.name;
    format!("interface {name} is a port of {master}, which gets its packets: write `interface {master}`")
}

/// Peers that send without a router between, so with TTL 255: where that is to be checked.
fn on_link_peers(settings: &InstanceSettings, host: &Host, link: LinkIndex) -> BTreeSet<IpAddr> {
    let Transport::Unicast { peers, guards_ttl: true, .. } = &settings.transport else {
        return BTreeSet::new();
    };
    // keepalived sends IPv6 with the kernel's hop limit, 64.
    let networks: Vec<_> = host.addresses.listed(link).iter().map(|h| h.network()).collect();
    let unsaid = peers.iter().filter(|p| p.min_hop_limit == 0 && p.address.is_ipv4()).map(|p| p.address);
    unsaid.filter(|peer| networks.iter().any(|network| network.contains(*peer))).collect()
}

/// The groups its VMAC is a member of: that of its advertisements, and those where neighbours look for its addresses.
fn groups(settings: &InstanceSettings, vmac: &str, base: LinkIndex) -> BTreeSet<(LinkIndex, IpAddr)> {
    let addresses = settings.addresses.iter().chain(&settings.excluded);
    let own = addresses.filter(|a| a.wanted.link == vmac).map(|a| a.wanted.prefix.ip);
    let mut all: BTreeSet<IpAddr> = own.filter_map(solicited).collect();
    if let Transport::Multicast(group) = settings.transport {
        all.insert(group);
    }
    all.into_iter().map(|group| (base, group)).collect()
}

/// The group of an IPv6 address's neighbour solicitations (RFC 4291 section 2.7.1).
fn solicited(ip: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(ip) = ip else { return None };
    let [.., a, b, c] = ip.octets();
    Some(IpAddr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]))
}

/// The socket it needs, and those that receive routers configured otherwise: the other flavour, the other
/// authentication.
fn open(binding: &mut Binding, settings: &InstanceSettings, source: IpAddr) {
    let is_v2_on_ipv4 = settings.version == Version::V2 && source.is_ipv4();
    let (protocol, other) = match settings.authentication {
        Authentication::Header(_) if is_v2_on_ipv4 => (PROTOCOL_AH, PROTOCOL),
        _ => (PROTOCOL, PROTOCOL_AH),
    };
    let endpoint = |protocol, group| Endpoint {
        link: binding.link,
        protocol,
        group,
        source,
        receive_buffer: settings.receive_buffer.unwrap_or(0),
    };
    let standard = match settings.family {
        Family::Ipv4 => IpAddr::from([224, 0, 0, 18]),
        Family::Ipv6 => IpAddr::from([0xff02, 0, 0, 0, 0, 0, 0, 0x12]),
    };
    let below = Endpoint { link: binding.base, ..endpoint(protocol, None) };
    let (own, mut monitored) = match settings.transport {
        Transport::Multicast(group) => (Some(group), vec![below]),
        Transport::Unicast { .. } if binding.link.is_some() => {
            (None, vec![endpoint(protocol, Some(standard))])
        }
        Transport::Unicast { .. } => (None, Vec::new()),
    };
    if is_v2_on_ipv4 && own.is_some() {
        monitored.push(endpoint(other, own));
    }
    binding.endpoint = Some(endpoint(protocol, own));
    binding.monitored_endpoints = monitored;
}

/// The sockets of all: by multicast one for a link, protocol and group, however many sources speak through it, for
/// every socket would be given every packet.
pub(crate) fn sockets<'a>(bindings: impl Iterator<Item = &'a Binding>) -> BTreeSet<Endpoint> {
    let mut all: BTreeSet<Endpoint> = BTreeSet::new();
    for endpoint in bindings.flat_map(|g| g.endpoint.iter().chain(&g.monitored_endpoints)) {
        let same = all.iter().find(|known| is_same(known, endpoint)).cloned();
        let merged = match same {
            None => endpoint.clone(),
            Some(known) => {
                all.remove(&known);
                let receive_buffer = known.receive_buffer.max(endpoint.receive_buffer);
                Endpoint { source: known.source.min(endpoint.source), receive_buffer, ..known }
            }
        };
        all.insert(merged);
    }
    all
}

/// Whether two would hear the same. IPv4's source is in the packet itself; IPv6's is the socket's.
pub(crate) fn is_same(a: &Endpoint, b: &Endpoint) -> bool {
    let is_shared = a.group.is_some() && a.source.is_ipv4();
    (a.link, a.protocol, a.group) == (b.link, b.protocol, b.group) && (is_shared || a.source == b.source)
}
