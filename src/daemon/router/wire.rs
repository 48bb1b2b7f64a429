//! All sockets of the router's thread: exactly those it wants open, what arrives on them, what leaves through them.
//!
//! It decides nothing: packets go up as they came. Who speaks from two addresses on one link hears through one
//! socket, or every packet would come twice. A socket that cannot be had is tried again every second.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll;
use socket2::Socket;
use tokio::io::unix::AsyncFd;

use super::frames::Frames;
use super::receive::{Buffer, receive};
use super::socket;
use crate::net::kernel::register;
use crate::net::types::LinkIndex;
use crate::time::Instant;
use crate::vrrp::exchange::{Datagram, Endpoint, Transmission};
use crate::vrrp::listening::{Listening, SocketFailure, SocketStep};

/// Between two attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// Sockets looked at in one go.
const MAX_READY: usize = 64;
/// Packets taken from one socket before the next has its turn.
const TURN: usize = 16;

/// What the socket that hears is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ear {
    link: Option<LinkIndex>,
    protocol: u8,
    /// The group, or the own address.
    bound_to: IpAddr,
}

/// What the socket that speaks is known by.
type Mouth = (Option<LinkIndex>, u8, IpAddr);

/// A socket that is wanted.
struct Wanted {
    endpoint: Endpoint,
    state: Attempt,
}

enum Attempt {
    Open(Socket),
    /// None: not tried yet.
    Failed {
        next: Instant,
        failure: Option<SocketFailure>,
    },
}

/// The sockets.
pub(super) struct Wire {
    ears: BTreeMap<u64, (Ear, Wanted)>,
    mouths: BTreeMap<Mouth, Wanted>,
    next_key: u64,
    endpoints: BTreeSet<Endpoint>,
    /// What became of their sockets, as it was reported last.
    reported: Listening,
    /// Tells which ears have something to hear: level-triggered, so that what is left is told again.
    ready: AsyncFd<OwnedFd>,
    frames: Frames,
    buffer: Buffer,
}

impl Wire {
    /// No sockets yet but that for frames. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn new() -> io::Result<Wire> {
        Ok(Wire {
            ears: BTreeMap::new(),
            mouths: BTreeMap::new(),
            next_key: 0,
            endpoints: BTreeSet::new(),
            reported: Listening::default(),
            ready: register(epoll::create(epoll::CreateFlags::CLOEXEC)?)?,
            frames: Frames::open()?,
            buffer: Buffer::default(),
        })
    }

    /// Has exactly the sockets of these endpoints; what could not be opened is told.
    pub(super) fn listen<'a>(
        &mut self,
        now: Instant,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Vec<String> {
        self.endpoints = endpoints.into_iter().cloned().collect();
        let (mut ears, mut mouths) = (BTreeMap::<Ear, Endpoint>::new(), BTreeMap::new());
        for endpoint in &self.endpoints {
            let ear = ears.entry(ear_of(endpoint)).or_insert_with(|| endpoint.clone());
            ear.receive_buffer = ear.receive_buffer.max(endpoint.receive_buffer);
            mouths.insert(mouth_of(endpoint), endpoint.clone());
        }
        self.ears.retain(|_, (ear, old)| {
            let stays = ears.get(ear).is_some_and(|new| new.receive_buffer == old.endpoint.receive_buffer);
            if stays {
                ears.remove(ear);
            }
            stays
        });
        self.mouths.retain(|mouth, _| mouths.remove(mouth).is_some());
        for (ear, endpoint) in ears {
            self.next_key += 1;
            self.ears.insert(self.next_key, (ear, Wanted::new(now, endpoint)));
        }
        self.mouths.extend(mouths.into_iter().map(|(mouth, endpoint)| (mouth, Wanted::new(now, endpoint))));
        self.tend(now)
    }

    /// Opens what is wanted and not open, where an attempt is due. What is told is new.
    pub(super) fn tend(&mut self, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        for (key, (_, wanted)) in &mut self.ears {
            let (epoll, key) = (self.ready.get_ref(), *key);
            told.extend(wanted.tend(now, "hear", |endpoint| {
                let socket = socket::hearing(endpoint)?;
                let added = epoll::add(epoll, &socket, epoll::EventData::new_u64(key), epoll::EventFlags::IN);
                socket::at(SocketStep::Watch, added.map_err(io::Error::from))?;
                Ok(socket)
            }));
        }
        for wanted in self.mouths.values_mut() {
            told.extend(wanted.tend(now, "speak", socket::speaking));
        }
        told
    }

    /// What became of the sockets, where that is not what was reported last.
    pub(super) fn news(&mut self) -> Option<Listening> {
        let ears: BTreeMap<Ear, &Wanted> = self.ears.values().map(|(ear, wanted)| (*ear, wanted)).collect();
        let mut listening = Listening::default();
        for endpoint in &self.endpoints {
            let both = [ears.get(&ear_of(endpoint)).copied(), self.mouths.get(&mouth_of(endpoint))];
            let failure = both.iter().flatten().find_map(|wanted| match wanted.state {
                Attempt::Open(_) => None,
                Attempt::Failed { failure, .. } => failure,
            });
            if let Some(failure) = failure {
                listening.failed.insert(endpoint.clone(), failure);
            } else {
                listening.open.insert(endpoint.clone());
            }
        }
        if listening == self.reported {
            return None;
        }
        self.reported = listening.clone();
        Some(listening)
    }

    /// When an attempt is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let wanted = self.ears.values().map(|(_, wanted)| wanted).chain(self.mouths.values());
        wanted.filter_map(Wanted::deadline).min()
    }

    /// Waits until there may be something to hear.
    pub(super) async fn readable(&self) {
        loop {
            // It fails when the event loop ends, and then nobody waits any more.
            let Ok(mut guard) = self.ready.readable().await else { return std::future::pending().await };
            if !ready(self.ready.get_ref()).is_empty() {
                guard.retain_ready();
                return;
            }
            guard.clear_ready();
        }
    }

    /// Takes what has arrived: a turn for each socket that has something.
    pub(super) fn hear(&mut self) -> Vec<Datagram> {
        let mut heard = Vec::new();
        for key in ready(self.ready.get_ref()) {
            if let Some((ear, Wanted { state: Attempt::Open(socket), .. })) = self.ears.get(&key) {
                for _ in 0..TURN {
                    match receive(socket.as_fd(), ear.protocol, &mut self.buffer) {
                        Ok(datagram) => heard.push(datagram),
                        // An error of the network (a peer's ICMP) is taken from the socket by being told.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => {}
                    }
                }
            }
        }
        heard
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// In words.
    pub(super) fn send(&self, transmission: &Transmission) -> Result<(), String> {
        let Transmission { endpoint, destination, hop_limit, bytes } = transmission;
        let failed = |error: &dyn std::fmt::Display| format!("cannot send to {destination}: {error}");
        let socket = match self.mouths.get(&mouth_of(endpoint)).map(|wanted| &wanted.state) {
            Some(Attempt::Open(socket)) => socket,
            Some(Attempt::Failed { failure: Some(failure), .. }) => return Err(failed(failure)),
            Some(Attempt::Failed { failure: None, .. }) => return Err(failed(&"its socket is not open yet")),
            None => return Err(failed(&"its socket was closed")),
        };
        let is_group = destination.is_multicast();
        if destination.is_ipv6() && !is_group {
            // Several instances may speak through it, each with a hop limit of its own.
            socket.set_unicast_hops_v6(u32::from(*hop_limit)).map_err(|error| failed(&error))?;
        }
        // A group is on the link itself, whatever the routing table says.
        let flags = if is_group { libc::MSG_DONTROUTE } else { 0 };
        let to = socket::address(*destination, endpoint.link);
        match socket.send_to_with_flags(bytes, &to, flags) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn announce(&self, link: LinkIndex, frame: &[u8]) -> io::Result<()> {
        self.frames.send(link, frame)
    }
}

impl Wanted {
    fn new(now: Instant, endpoint: Endpoint) -> Wanted {
        Wanted { endpoint, state: Attempt::Failed { next: now, failure: None } }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            Attempt::Open(_) => None,
            Attempt::Failed { next, .. } => Some(*next),
        }
    }

    /// Opens it when it is time; what is told is another reason than before.
    fn tend(
        &mut self,
        now: Instant,
        what: &str,
        open: impl FnOnce(&Endpoint) -> Result<Socket, SocketFailure>,
    ) -> Option<String> {
        let Attempt::Failed { next, failure } = &mut self.state else { return None };
        if *next > now {
            return None;
        }
        match open(&self.endpoint) {
            Ok(socket) => {
                self.state = Attempt::Open(socket);
                None
            }
            Err(error) => {
                *next = now + RETRY;
                if failure.replace(error) == Some(error) {
                    return None;
                }
                Some(format!("cannot {what} VRRP at {}: {error}", self.endpoint.source))
            }
        }
    }
}

fn ear_of(endpoint: &Endpoint) -> Ear {
    Ear {
        link: endpoint.link,
        protocol: endpoint.protocol,
        bound_to: endpoint.group.unwrap_or(endpoint.source),
    }
}

fn mouth_of(endpoint: &Endpoint) -> Mouth {
    (endpoint.link, endpoint.protocol, endpoint.source)
}

/// The ears that have something to hear.
fn ready(epoll: &OwnedFd) -> Vec<u64> {
    let mut events = [MaybeUninit::uninit(); MAX_READY];
    // Interrupted or not: who waits is told again.
    let told = epoll::wait(epoll, &mut events, Some(&rustix::time::Timespec::default()));
    let told: &[epoll::Event] = told.as_ref().map_or(&[], |(told, _)| told);
    told.iter()
        .map(|event| {
            let data = event.data;
            data.u64()
        })
        .collect()
}
