//! All sockets of the router's thread: exactly those it wants open, what arrives on them, what leaves through them.
//!
//! It decides nothing: packets go up as they came. Instances that send from two addresses on one link receive through
//! one socket, or every packet would come twice. A socket that cannot be had is tried again every second. Joining a
//! group, and closing a socket that did, waits for the kernel's lock of all interfaces: [`Wire::take_openings`] and
//! [`Wire::take_closings`] are for a thread that may.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use socket2::Socket;

use super::epoll_set::EpollSet;
use super::frames::Frames;
use super::receive::{Buffer, receive};
use super::socket;
use crate::net::types::LinkIndex;
use crate::time::Instant;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStates, SocketStep};
use crate::vrrp::io::{Datagram, Endpoint, Transmission};

/// Between two attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// Packets taken from one socket before the next has its turn.
const TURN: usize = 16;
/// Until a packet is tried again that a full queue did not take, and for how long it is worth that: the next
/// advertisement says the same.
const RESEND: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));
/// Packets that wait for room: two of each virtual router there can be on a link.
const MAX_LATE: usize = 512;

/// Identifies a socket that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReceiverKey {
    link: Option<LinkIndex>,
    protocol: u8,
    /// The group, or the own address.
    bound_to: IpAddr,
}

/// Identifies a socket that sends.
type SenderKey = (Option<LinkIndex>, u8, IpAddr);

/// A socket that an endpoint needs.
struct SocketSlot {
    endpoint: Endpoint,
    state: Attempt,
    /// Why the last attempt failed.
    failure: Option<SocketFailure>,
}

enum Attempt {
    Open(Socket),
    /// Another thread opens it.
    UnderWay,
    Due {
        next: Instant,
    },
}

pub(super) struct Wire {
    receivers: BTreeMap<u64, (ReceiverKey, SocketSlot)>,
    senders: BTreeMap<SenderKey, SocketSlot>,
    next_key: u64,
    endpoints: BTreeSet<Endpoint>,
    /// What became of their sockets, as it was reported last.
    reported: SocketStates,
    /// Knows which receivers have something to read: level-triggered, so that what is left is returned again.
    ready: EpollSet,
    frames: Frames,
    buffer: Buffer,
    is_opening: bool,
    closing: Vec<OwnedFd>,
    /// What a full queue did not take, in its order, and when it is given up.
    late: VecDeque<(Instant, Transmission)>,
    resend_at: Instant,
}

impl Wire {
    /// No sockets yet but that for frames. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's: `PermissionDenied` without CAP_NET_RAW.
    pub(super) fn new() -> io::Result<Wire> {
        Ok(Wire {
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
            next_key: 0,
            endpoints: BTreeSet::new(),
            reported: SocketStates::default(),
            ready: EpollSet::new()?,
            frames: Frames::new()?,
            buffer: Buffer::default(),
            is_opening: false,
            closing: Vec::new(),
            late: VecDeque::new(),
            resend_at: Instant::ZERO,
        })
    }

    /// Has exactly the sockets of these endpoints; complaints about those that could not be opened.
    pub(super) fn listen<'a>(
        &mut self,
        now: Instant,
        endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ) -> Vec<String> {
        self.endpoints = endpoints.into_iter().cloned().collect();
        let (mut receivers, mut senders) = (BTreeMap::<ReceiverKey, Endpoint>::new(), BTreeMap::new());
        for endpoint in &self.endpoints {
            let receiver = receivers.entry(receiver_key(endpoint)).or_insert_with(|| endpoint.clone());
            receiver.receive_buffer = receiver.receive_buffer.max(endpoint.receive_buffer);
            senders.insert(sender_key(endpoint), endpoint.clone());
        }
        self.receivers.retain(|_, (receiver, old)| {
            let stays =
                receivers.get(receiver).is_some_and(|new| new.receive_buffer == old.endpoint.receive_buffer);
            if stays {
                receivers.remove(receiver);
            } else if let Attempt::Open(socket) = std::mem::replace(&mut old.state, Attempt::UnderWay) {
                self.ready.forget(&socket);
                self.closing.push(socket.into());
            }
            stays
        });
        self.senders.retain(|sender, _| senders.remove(sender).is_some());
        for (receiver, endpoint) in receivers {
            self.next_key += 1;
            self.receivers.insert(self.next_key, (receiver, SocketSlot::new(now, endpoint)));
        }
        self.senders
            .extend(senders.into_iter().map(|(sender, endpoint)| (sender, SocketSlot::new(now, endpoint))));
        self.tend(now)
    }

    /// Opens the sockets whose attempt is due; new complaints.
    pub(super) fn tend(&mut self, now: Instant) -> Vec<String> {
        let mut complaints = Vec::new();
        for slot in self.senders.values_mut().filter(|slot| slot.is_due(now)) {
            let opened = socket::sending(&slot.endpoint);
            complaints.extend(slot.opened(now, "send", opened));
        }
        if self.resend_at <= now {
            complaints.extend(self.resend(now));
        }
        complaints
    }

    /// What became of the sockets, where that is not what was reported last.
    pub(super) fn take_socket_states(&mut self) -> Option<SocketStates> {
        let receivers: BTreeMap<ReceiverKey, &SocketSlot> =
            self.receivers.values().map(|(receiver, slot)| (*receiver, slot)).collect();
        let mut states = SocketStates::default();
        for endpoint in &self.endpoints {
            let both =
                [receivers.get(&receiver_key(endpoint)).copied(), self.senders.get(&sender_key(endpoint))];
            if let Some(failure) = both.iter().flatten().find_map(|slot| slot.failure) {
                states.failed.insert(endpoint.clone(), failure);
            } else if both.iter().flatten().all(|slot| matches!(slot.state, Attempt::Open(_))) {
                states.open.insert(endpoint.clone());
            }
        }
        if states == self.reported {
            return None;
        }
        self.reported = states.clone();
        Some(states)
    }

    /// The sockets to open with [`socket::receiving`] where that may take its time; [`Wire::opened`] is due then.
    pub(super) fn take_openings(&mut self, now: Instant) -> Vec<(u64, Endpoint)> {
        if self.is_opening {
            return Vec::new();
        }
        let due = self.receivers.iter_mut().filter(|(_, (_, slot))| slot.is_due(now));
        let openings: Vec<_> = due
            .map(|(key, (_, slot))| {
                slot.state = Attempt::UnderWay;
                (*key, slot.endpoint.clone())
            })
            .collect();
        self.is_opening = !openings.is_empty();
        openings
    }

    /// What came of [`Wire::take_openings`]; new complaints.
    pub(super) fn opened(
        &mut self,
        now: Instant,
        all: Vec<(u64, Result<Socket, SocketFailure>)>,
    ) -> Vec<String> {
        self.is_opening = false;
        let mut complaints = Vec::new();
        for (key, opened) in all {
            let Some((_, slot)) = self.receivers.get_mut(&key) else {
                self.closing.extend(opened.map(OwnedFd::from).ok());
                continue;
            };
            let opened = opened.and_then(|socket| {
                socket::at(SocketStep::Watch, self.ready.watch(&socket, key, EventFlags::IN))?;
                Ok(socket)
            });
            complaints.extend(slot.opened(now, "receive", opened));
        }
        complaints
    }

    /// Sockets to close where that may take its time.
    pub(super) fn take_closings(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.closing)
    }

    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let receivers = self.receivers.values().map(|(_, slot)| slot).filter(|_| !self.is_opening);
        let attempts = receivers.chain(self.senders.values()).filter_map(SocketSlot::deadline);
        let resend = (!self.late.is_empty()).then_some(self.resend_at);
        attempts.chain(resend).chain(self.frames.deadline()).min()
    }

    /// Waits until there may be something to hear.
    pub(super) async fn readable(&self) {
        self.ready.wait().await;
    }

    /// Takes what has arrived: a turn for each socket that has something.
    pub(super) fn hear(&mut self) -> Vec<Datagram> {
        let mut heard = Vec::new();
        for key in self.ready.ready() {
            if let Some((receiver, SocketSlot { state: Attempt::Open(socket), .. })) =
                self.receivers.get(&key)
            {
                for _ in 0..TURN {
                    match receive(socket.as_fd(), receiver.protocol, &mut self.buffer) {
                        Ok(datagram) => heard.push(datagram),
                        // An error of the network (a peer's ICMP) is taken from the socket by being returned.
                        Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                        Err(_) => {}
                    }
                }
            }
        }
        heard
    }

    /// Sends a packet, or keeps it for some milliseconds until its queue has room.
    ///
    /// # Errors
    /// In words.
    pub(super) fn send(&mut self, now: Instant, transmission: Transmission) -> Result<(), String> {
        let sender = sender_key(&transmission.endpoint);
        let must_wait = self.late.iter().any(|(_, late)| sender_key(&late.endpoint) == sender);
        if !must_wait && self.try_send(&transmission)? {
            return Ok(());
        }
        if self.late.len() >= MAX_LATE {
            return Err(format!("cannot send to {}: the queue is full", transmission.destination));
        }
        if self.late.is_empty() {
            self.resend_at = now + RESEND.0;
        }
        self.late.push_back((now + RESEND.1, transmission));
        Ok(())
    }

    /// Tries again what waits for room; complaints about what was given up.
    fn resend(&mut self, now: Instant) -> Vec<String> {
        self.resend_at = now + RESEND.0;
        let mut complaints = Vec::new();
        let mut full = Vec::new();
        for (give_up, transmission) in std::mem::take(&mut self.late) {
            let sender = sender_key(&transmission.endpoint);
            let sent = if full.contains(&sender) { Ok(false) } else { self.try_send(&transmission) };
            match sent {
                Ok(true) => {}
                Ok(false) if now < give_up => {
                    full.push(sender);
                    self.late.push_back((give_up, transmission));
                }
                Ok(false) => {
                    full.push(sender);
                    let to = transmission.destination;
                    complaints.push(format!("cannot send to {to}: its queue had no room for {:?}", RESEND.1));
                }
                Err(why) => complaints.push(why),
            }
        }
        complaints
    }

    /// Sends a packet; false when there is no room for it.
    fn try_send(&self, transmission: &Transmission) -> Result<bool, String> {
        let Transmission { endpoint, destination, hop_limit, bytes } = transmission;
        let failed = |error: &dyn std::fmt::Display| format!("cannot send to {destination}: {error}");
        let socket = match self.senders.get(&sender_key(endpoint)).map(|slot| &slot.state) {
            Some(Attempt::Open(socket)) => socket,
            Some(_) => return Err(failed(&"its socket is not open yet")),
            None => return Err(failed(&"its socket was closed")),
        };
        let is_group = destination.is_multicast();
        if destination.is_ipv6() && !is_group {
            // Several instances may speak through it, each with a hop limit of its own.
            socket.set_unicast_hops_v6(u32::from(*hop_limit)).map_err(|error| failed(&error))?;
        }
        // A group is on the link itself: the routing table must not decide.
        let flags = if is_group { libc::MSG_DONTROUTE } else { 0 };
        let to = socket::address(*destination, endpoint.link);
        match socket.send_to_with_flags(bytes, &to, flags) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) => Ok(false),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The sockets for frames.
    pub(super) fn frames(&mut self) -> &mut Frames {
        &mut self.frames
    }

    /// Waits until a link that had no room for frames may have some.
    pub(super) async fn writable(&self) {
        self.frames.writable().await;
    }

    /// A link went.
    pub(super) fn forget_link(&mut self, link: LinkIndex) {
        self.closing.extend(self.frames.forget(link));
    }

    /// Links other than these are there no more.
    pub(super) fn keep_only(&mut self, is_there: impl Fn(LinkIndex) -> bool) {
        self.closing.extend(self.frames.keep_only(is_there));
    }
}

impl SocketSlot {
    fn new(now: Instant, endpoint: Endpoint) -> SocketSlot {
        SocketSlot { endpoint, state: Attempt::Due { next: now }, failure: None }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            Attempt::Open(_) | Attempt::UnderWay => None,
            Attempt::Due { next } => Some(*next),
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// What came of an attempt; a complaint where the reason is another one.
    fn opened(&mut self, now: Instant, what: &str, opened: Result<Socket, SocketFailure>) -> Option<String> {
        match opened {
            Ok(socket) => {
                (self.state, self.failure) = (Attempt::Open(socket), None);
                None
            }
            Err(failure) => {
                self.state = Attempt::Due { next: now + RETRY };
                if self.failure.replace(failure) == Some(failure) {
                    return None;
                }
                Some(format!("cannot {what} VRRP at {}: {failure}", self.endpoint.source))
            }
        }
    }
}

fn receiver_key(endpoint: &Endpoint) -> ReceiverKey {
    ReceiverKey {
        link: endpoint.link,
        protocol: endpoint.protocol,
        bound_to: endpoint.group.unwrap_or(endpoint.source),
    }
}

fn sender_key(endpoint: &Endpoint) -> SenderKey {
    (endpoint.link, endpoint.protocol, endpoint.source)
}
