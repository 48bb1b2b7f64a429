//! Virtual routers whose advertisements arrive on this host, received before its firewall.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use socket2::{InterfaceIndexOrAddress, SockRef};

use crate::config::Config;
use crate::daemon::clock;
use crate::doctor::Advert;
use crate::net::packet_socket::PacketSocket;
use crate::net::types::{Host, LinkIndex};
use crate::time::Instant;
use crate::vrrp::io::Datagram;
use crate::vrrp::packet::{self, PROTOCOL, PROTOCOL_AH};
use crate::vrrp::settings::Transport;

/// How long is listened: two intervals of the slowest instance, within these.
const LEAST: Duration = Duration::from_millis(2100);
const MOST: Duration = Duration::from_secs(5);
/// Frames of one link that are looked at.
const LIMIT: usize = 1024;
/// Default groups (keepalived.s vrrp_mcast_group4, vrrp_mcast_group6; RFC 9568).
const GROUPS: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)), IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12))];
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ETHERNET: usize = 14;
const IPV6_HEADER: usize = 40;

/// Packet sockets on every link of a vrrp_instance.
pub(super) struct AdvertListener {
    sockets: Vec<(String, LinkIndex, u8, PacketSocket)>,
    /// Members of the groups: switches send nothing to others.
    _members: Vec<UdpSocket>,
    until: Instant,
}

impl AdvertListener {
    /// Begins to listen; what cannot be received is added to `unseen`.
    pub(super) fn open(config: &Config, host: &Host, unseen: &mut Vec<String>) -> AdvertListener {
        let mut links: BTreeMap<&str, BTreeSet<IpAddr>> = BTreeMap::new();
        let mut patience = LEAST;
        for instance in &config.vrrp.instances {
            let Some(link) = &instance.interface else { continue };
            let groups = links.entry(link).or_insert_with(|| GROUPS.into());
            if let Transport::Multicast(group) = &instance.transport {
                groups.insert(*group);
            }
            patience = patience.max(instance.advert_interval.saturating_mul(2));
        }
        let mut listener = AdvertListener { sockets: Vec::new(), _members: Vec::new(), until: clock::now() };
        for (name, groups) in links {
            let Some(link) = host.link(name).filter(|link| link.is_working()) else {
                unseen.push(format!("virtual routers on {name}: it is not there, or down"));
                continue;
            };
            for (ether_type, at, protocol) in
                [(IPV4, 23, PROTOCOL), (IPV4, 23, PROTOCOL_AH), (IPV6, 20, PROTOCOL)]
            {
                match PacketSocket::arriving_with(link.index, ether_type, [(at, protocol)]) {
                    Ok(frames) => listener.sockets.push((name.to_owned(), link.index, protocol, frames)),
                    Err(error) => unseen.push(format!("virtual routers on {name}: {error}")),
                }
            }
            // Where a group cannot be joined, a link in promiscuous mode still receives its packets.
            listener._members.extend(groups.iter().filter_map(|group| join(*group, link.index)));
        }
        if !listener.sockets.is_empty() {
            listener.until = clock::now() + patience.min(MOST);
        }
        listener
    }

    /// Listens until the time is over; the advertisements that arrived.
    pub(super) fn received(self) -> BTreeSet<Advert> {
        let mut heard = BTreeSet::new();
        for (name, link, protocol, frames) in &self.sockets {
            for _ in 0..LIMIT {
                // The first waits until the end; what came meanwhile to the others waits for them.
                let left = self.until.since(clock::now()).max(Duration::from_millis(1));
                match frames.receive(left) {
                    Ok(Some(frame)) => heard.extend(advert(&frame, name, *link, *protocol)),
                    Ok(None) | Err(_) => break,
                }
            }
        }
        heard
    }
}

fn join(group: IpAddr, link: LinkIndex) -> Option<UdpSocket> {
    let any: IpAddr =
        if group.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    match group {
        IpAddr::V4(group) => {
            SockRef::from(&socket)
                .join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link.0))
                .ok()?;
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, link.0).ok()?,
    }
    Some(socket)
}

/// What a frame says; None for what is no advertisement.
fn advert(frame: &[u8], name: &str, link: LinkIndex, protocol: u8) -> Option<Advert> {
    let packet = frame.get(ETHERNET..)?;
    let datagram = match packet.first()? >> 4 {
        4 => Datagram {
            link,
            protocol,
            source: Ipv4Addr::from(*packet.get(12..)?.first_chunk::<4>()?).into(),
            destination: Ipv4Addr::from(*packet.get(16..)?.first_chunk::<4>()?).into(),
            hop_limit: *packet.get(8)?,
            bytes: packet.to_vec(),
        },
        6 => {
            let length = usize::from(u16::from_be_bytes(*packet.get(4..)?.first_chunk()?));
            Datagram {
                link,
                protocol,
                source: Ipv6Addr::from(*packet.get(8..)?.first_chunk::<16>()?).into(),
                destination: Ipv6Addr::from(*packet.get(24..)?.first_chunk::<16>()?).into(),
                hop_limit: *packet.get(7)?,
                bytes: packet.get(IPV6_HEADER..)?.get(..length)?.to_vec(),
            }
        }
        _ => return None,
    };
    let advert = packet::decode(&datagram).ok()?.advert;
    Some(Advert {
        link: name.to_owned(),
        source: datagram.source,
        vrid: advert.vrid,
        version: advert.version.number(),
        priority: advert.priority,
        addresses: advert.addresses.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vrrp::packet::{Advertisement, Counters, Path, encode};
    use crate::vrrp::settings::{Authentication, Checksum, Version};

    #[test]
    fn a_frame_names_the_address_and_its_mac_in_both_families() {
        for (source, group, vip, version) in [
            ("10.1.0.9", "224.0.0.18", "10.1.0.200", Version::V2),
            ("fe80::9", "ff02::12", "fe80::200", Version::V3),
        ] {
            let advert = Advertisement {
                version,
                vrid: 51,
                priority: 100,
                interval: Duration::from_secs(1),
                addresses: vec![vip.parse().unwrap()],
            };
            let path =
                Path { source: source.parse().unwrap(), destination: group.parse().unwrap(), hop_limit: 255 };
            let bytes = encode(
                &advert,
                &path,
                Checksum::PseudoHeader,
                &Authentication::None,
                &mut Counters::default(),
                Duration::ZERO,
            );
            let mut frame = vec![0; ETHERNET];
            if let (IpAddr::V6(source), IpAddr::V6(group)) = (path.source, path.destination) {
                frame.extend([0x60, 0, 0, 0, 0, u8::try_from(bytes.len()).unwrap(), PROTOCOL, 255]);
                frame.extend(source.octets());
                frame.extend(group.octets());
            }
            frame.extend(&bytes);
            frame.resize(frame.len().max(60), 0); // Ethernet's padding
            let said = super::advert(&frame, "eth0", LinkIndex(2), PROTOCOL).unwrap();
            assert_eq!((said.source, said.vrid, said.priority), (path.source, 51, 100));
            assert_eq!(said.addresses, [vip.parse().unwrap()].into());
            for length in 0..frame.len().min(60) {
                let _ = super::advert(&frame[..length], "eth0", LinkIndex(2), PROTOCOL);
            }
        }
    }
}
