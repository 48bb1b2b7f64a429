//! The IPVS service and destinations that the kernel should hold for a pool. Only this file translates virtual and real
//! servers (words of the configuration) into services and destinations (words of the kernel).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use crate::config::{RealServer, SorryServer, VirtualServer, VirtualServerId};
use crate::ipvs::types::{
    DesiredService, Destination, DestinationKey, Forwarding, Protocol, Service, ServiceEntry, ServiceFlags,
    ServiceKey,
};

/// Weight of a sorry server while it serves.
const SORRY_WEIGHT: u32 = 1;

/// The service of a virtual server.
pub(crate) fn service_key(id: VirtualServerId) -> ServiceKey {
    match id {
        VirtualServerId::Address { protocol, address, port } => {
            ServiceKey::Address { protocol, address, port }
        }
        VirtualServerId::Fwmark { family, mark } => ServiceKey::Fwmark { family, mark },
    }
}

/// The service of a virtual server whose packets get a mark, or of one whose do not.
pub(crate) fn key(id: VirtualServerId, mark: Option<u32>) -> ServiceKey {
    match mark {
        Some(mark) => ServiceKey::Fwmark { family: id.family(), mark },
        None => service_key(id),
    }
}

/// What a service by mark has for what one by address would: the kernel looks replicated connections of DR and TUN up
/// without a port there.
pub(crate) fn by_mark(desired: &DesiredService) -> DesiredService {
    let inside = |(at, d): (&DestinationKey, &Destination)| match d.forwarding {
        Forwarding::Dr | Forwarding::Tun(_) => (SocketAddr::new(at.ip(), 0), *d),
        _ => (*at, *d),
    };
    let destinations = desired.destinations.iter().map(inside).collect();
    DesiredService { service: desired.service.clone(), destinations }
}

/// A service by mark as it would be by address.
pub(crate) fn by_address(entry: &ServiceEntry, server: &VirtualServer) -> ServiceEntry {
    // The first one written is the one.
    let reals = server.real_servers.iter().rev();
    let configured: BTreeMap<IpAddr, SocketAddr> = reals.map(|r| (r.address.ip(), r.address)).collect();
    let port = match server.id {
        VirtualServerId::Address { port, .. } => port,
        VirtualServerId::Fwmark { .. } => 0,
    };
    let outside = |at: &DestinationKey| match at.port() {
        0 => configured.get(&at.ip()).copied().unwrap_or(SocketAddr::new(at.ip(), port)),
        _ => *at,
    };
    let destinations = entry.destinations.iter().map(|(at, d)| (outside(at), *d)).collect();
    ServiceEntry { service: entry.service.clone(), stats: entry.stats, destinations }
}

/// The virtual server a service would belong to.
pub(crate) fn virtual_server_id(key: ServiceKey) -> VirtualServerId {
    match key {
        ServiceKey::Address { protocol, address, port } => {
            VirtualServerId::Address { protocol, address, port }
        }
        ServiceKey::Fwmark { family, mark } => VirtualServerId::Fwmark { family, mark },
    }
}

/// How the service of a virtual server schedules.
pub(crate) fn service(server: &VirtualServer) -> Service {
    Service {
        scheduler: server.scheduler.clone(),
        flags: server.flags,
        persistence: server.persistence,
        persistence_engine: server.persistence_engine.clone(),
    }
}

/// How a real server stands in its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    /// It is up and may serve, with this weight.
    Serving(u32),
    /// It is down.
    Failed,
    /// An operator took it out.
    Out,
}

/// The destinations of a virtual server whose real servers stand like this.
///
/// A sorry server that is a real server too is one destination: what serves decides how.
pub(crate) fn destinations(
    server: &VirtualServer,
    has_quorum: bool,
    state: impl Fn(SocketAddr) -> MemberState,
) -> BTreeMap<DestinationKey, Destination> {
    let is_sorry_active = !has_quorum && server.sorry_server.is_some();
    let wanted = server.real_servers.iter().filter_map(|real| {
        let weight = match state(real.address) {
            MemberState::Serving(weight) if !is_sorry_active => weight,
            MemberState::Serving(_) | MemberState::Failed if real.inhibit_on_failure => 0,
            MemberState::Serving(_) | MemberState::Failed | MemberState::Out => return None,
        };
        Some((real.address, destination(real, weight)))
    });
    let mut wanted: BTreeMap<_, _> = wanted.collect();
    if let Some(sorry) = &server.sorry_server {
        if is_sorry_active {
            wanted.insert(sorry.address, sorry_destination(sorry, SORRY_WEIGHT));
        } else if sorry.inhibit {
            wanted.entry(sorry.address).or_insert_with(|| sorry_destination(sorry, 0));
        }
    }
    wanted
}

/// Whether a destination that leaves this virtual server in health must be deleted at once: a quiesced one would
/// swallow its share (mh without fallback), or be asked for ever by the same flow (UDP).
pub(crate) fn must_leave_at_once(server: &VirtualServer) -> bool {
    let is_datagram = matches!(server.id, VirtualServerId::Address { protocol: Protocol::Udp, .. })
        || server.flags.contains(ServiceFlags::ONE_PACKET);
    let swallows = server.scheduler.as_str() == "mh" && !server.flags.contains(ServiceFlags::SCHED1);
    is_datagram || swallows
}

fn destination(real: &RealServer, weight: u32) -> Destination {
    Destination {
        forwarding: real.forwarding,
        weight,
        upper_threshold: real.upper_threshold,
        lower_threshold: real.lower_threshold,
    }
}

fn sorry_destination(sorry: &SorryServer, weight: u32) -> Destination {
    Destination { forwarding: sorry.forwarding, weight, upper_threshold: 0, lower_threshold: 0 }
}
