//! Receives the sync ids of other directors on the links of this host's backup sync daemon. The kernel silently drops
//! messages with another id.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use socket2::{InterfaceIndexOrAddress, SockRef};

use crate::config::Config;
use crate::doctor::SyncMessage;
use crate::ipvs::types::{SyncDaemon, SyncRole};
use crate::net::packet_socket::PacketSocket;
use crate::net::types::Host;
use crate::time::{Clock, Instant};

/// How long is listened: a sender keeps a message back for two seconds at most.
const PATIENCE: Duration = Duration::from_millis(2500);
/// Messages that are looked at.
const LIMIT: usize = 256;
const IPV4: u16 = 0x0800;
const UDP: u8 = 17;
/// Where an Ethernet frame of IPv4 has its protocol, its UDP port, its source, and the sync id of its message.
const PROTOCOL_AT: u32 = 23;
const PORT_AT: u32 = 36;
const SOURCE_AT: usize = 26;
const SYNC_ID_AT: usize = 43;

/// What other directors send to the groups of this configuration's receivers; what cannot be heard is said in `unseen`.
pub(crate) fn listen(
    config: &Config,
    host: &Host,
    unseen: &mut Vec<String>,
    clock: Clock,
) -> BTreeSet<SyncMessage> {
    let mut sockets = Vec::new();
    for daemon in config.global.sync_daemons.iter().filter(|daemon| daemon.role == SyncRole::Backup) {
        let name = &daemon.interface;
        let IpAddr::V4(group) = daemon.group.unwrap_or(SyncDaemon::DEFAULT_GROUP) else {
            unseen.push(format!("sync ids of other directors on {name}: its group is of IPv6"));
            continue;
        };
        let Some(link) = host.link(name).filter(|link| link.is_working()) else {
            unseen.push(format!("sync ids of other directors on {name}: it is not there, or down"));
            continue;
        };
        let [high, low] = daemon.port.unwrap_or(SyncDaemon::DEFAULT_PORT).to_be_bytes();
        let bytes = [(PROTOCOL_AT, UDP), (PORT_AT, high), (PORT_AT + 1, low)];
        match PacketSocket::arriving_with(link.index, IPV4, bytes) {
            Ok(frames) => sockets.push((name.clone(), frames, join(group, link.index.0))),
            Err(error) => unseen.push(format!("sync ids of other directors on {name}: {error}")),
        }
    }
    let until = clock() + PATIENCE;
    let mut heard = BTreeSet::new();
    for (link, frames, _member) in &sockets {
        heard.extend(of_link(link, frames, until, clock));
    }
    heard
}

fn of_link(link: &str, frames: &PacketSocket, until: Instant, clock: Clock) -> BTreeSet<SyncMessage> {
    let mut heard = BTreeSet::new();
    for _ in 0..LIMIT {
        let left = until.since(clock());
        if left.is_zero() {
            break;
        }
        let Ok(Some(frame)) = frames.receive(left) else { break };
        heard.extend(message(link, &frame));
    }
    heard
}

fn message(link: &str, frame: &[u8]) -> Option<SyncMessage> {
    let source = Ipv4Addr::from(*frame.get(SOURCE_AT..)?.first_chunk::<4>()?);
    let sync_id = *frame.get(SYNC_ID_AT)?;
    Some(SyncMessage { link: link.to_owned(), source: source.into(), sync_id })
}

/// Joins the group: switches send its messages to members only.
fn join(group: Ipv4Addr, link: u32) -> Option<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    SockRef::from(&socket).join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(link)).ok()?;
    Some(socket)
}
