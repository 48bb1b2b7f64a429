//! BFD's sockets: a port that receives for each family in use, and for each session a socket that sends.
//!
//! RFC 5881 section 4: packets go to the port of BFD from one between 49152 and 65535, which is the session's own. A socket
//! that cannot be had is tried again every second, and the status says why. What a packet means is decided in `bfd`.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use socket2::{Domain, Protocol, Socket, Type};

use super::epoll_set::EpollSet;
use super::receive::{Buffer, receive_udp};
use super::socket::{NOTHING, PRIORITY, TRAFFIC_CLASS, request_control_message};
use crate::bfd::packet::LENGTH;
use crate::bfd::session::SessionHandover;
use crate::bfd::sessions::{Datagram, Effect, Event, Input, Level, Sessions};
use crate::bfd::settings::{MULTIHOP_PORT, PORT, SessionSettings};
use crate::bfd::status::SessionStatus;
use crate::time::Instant;

/// Between two attempts to open a socket.
const RETRY: Duration = Duration::from_secs(1);
/// Packets taken from one socket before the next has its turn.
const TURN: usize = 16;
/// Turns before a timer decides: what queues can hold, not what a flood can bring.
const MAX_TURNS: usize = 64;
/// The ports that a session may send from: the first, and how many (RFC 5881 section 4).
const SOURCE_PORTS: (u16, u16) = (49_152, 16_384);
/// Ports that are tried for a session before that is given up for now.
const MAX_PORTS: u16 = 64;

/// A port that receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ReceiverKey {
    is_ipv4: bool,
    is_multihop: bool,
}

/// A socket, or when it is tried again and why it is not there.
enum Slot {
    Open(Socket),
    Failed { why: String },
}

struct Sender {
    settings: Arc<SessionSettings>,
    slot: Slot,
    to: SocketAddr,
    /// Why the last packet could not be sent.
    unsent: Option<String>,
}

/// All sessions of this host, and their sockets.
pub(super) struct Bfd {
    sessions: Sessions,
    receivers: BTreeMap<ReceiverKey, Slot>,
    senders: BTreeMap<String, Sender>,
    /// When what failed is tried again.
    retry_at: Option<Instant>,
    ready: EpollSet,
    buffer: Buffer,
    rng: fastrand::Rng,
}

/// What came of an input, in this order.
pub(super) enum Outcome {
    Level(Level),
    Gone(String),
    Event(Event),
    /// For the log.
    Complaint(String),
}

impl Bfd {
    /// No sessions yet; `seed` is all their chance. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new(seed: u64) -> io::Result<Bfd> {
        Ok(Bfd {
            sessions: Sessions::new(seed),
            receivers: BTreeMap::new(),
            senders: BTreeMap::new(),
            retry_at: None,
            ready: EpollSet::new()?,
            buffer: Buffer::default(),
            rng: fastrand::Rng::with_seed(seed),
        })
    }

    /// Has exactly these sessions.
    pub(super) fn configure(
        &mut self,
        now: Instant,
        settings: &BTreeMap<String, Arc<SessionSettings>>,
    ) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        // The last words of a session leave through its own socket.
        self.handle(now, Input::Configure(settings), &mut outcomes);
        self.senders.retain(|name, sender| {
            settings.get(name).is_some_and(|new| {
                new.is_same_session(&sender.settings) && new.hop_limit == sender.settings.hop_limit
            })
        });
        let keys: Vec<ReceiverKey> = settings.values().map(|s| ReceiverKey::of(s)).collect();
        self.receivers.retain(|key, slot| {
            let stays = keys.contains(key);
            if let (false, Slot::Open(socket)) = (stays, slot) {
                self.ready.forget(socket);
            }
            stays
        });
        for key in keys {
            self.receivers.entry(key).or_insert_with(|| Slot::Failed { why: String::new() });
        }
        for (name, settings) in settings {
            self.senders.entry(name.clone()).or_insert_with(|| Sender {
                settings: Arc::clone(settings),
                slot: Slot::Failed { why: String::new() },
                to: SocketAddr::new(settings.neighbor, settings.port()),
                unsent: None,
            });
        }
        self.open(now, &mut outcomes);
        // With sockets for all of them: new sessions begin at once.
        self.handle(now, Input::Wake, &mut outcomes);
        outcomes
    }

    /// What the process before handed over: before the first [`Bfd::configure`].
    pub(super) fn inherit(&mut self, now: Instant, handed: &[SessionHandover]) {
        self.handle(now, Input::Inherited(handed), &mut Vec::new());
    }

    /// When [`Bfd::wake`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.sessions.deadline(), self.retry_at].into_iter().flatten().min()
    }

    /// Does what is due; what has arrived counts before any timer does.
    pub(super) fn wake(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.open(now, &mut outcomes);
        }
        if self.sessions.deadline().is_some_and(|at| at <= now) {
            for _ in 0..MAX_TURNS {
                if !self.hear_turn(now, &mut outcomes) {
                    break;
                }
            }
            self.handle(now, Input::Wake, &mut outcomes);
        }
        outcomes
    }

    /// Waits until there may be something to hear.
    pub(super) async fn readable(&self) {
        self.ready.wait().await;
    }

    /// Takes what has arrived: a turn for each socket that has something.
    pub(super) fn hear(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.hear_turn(now, &mut outcomes);
        outcomes
    }

    /// Every level that is known.
    pub(super) fn levels(&self) -> Vec<Level> {
        self.sessions.levels()
    }

    /// Ends all sessions.
    pub(super) fn stop(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.handle(now, Input::Stop, &mut outcomes);
        self.retry_at = None;
        outcomes
    }

    /// Asks the neighbours to be patient with the next process.
    pub(super) fn prepare_handover(&mut self, now: Instant) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        self.handle(now, Input::PrepareHandover, &mut outcomes);
        outcomes
    }

    /// Whether neighbours have not agreed to that yet.
    pub(super) fn awaits_handover(&self) -> bool {
        self.sessions.awaits_handover()
    }

    /// What the next process has to know.
    pub(super) fn hand_over(&self) -> Vec<SessionHandover> {
        self.sessions.hand_over()
    }

    /// How everything is: the sessions, and packets that belong to none.
    pub(super) fn status(&self, now: Instant) -> (Vec<SessionStatus>, BTreeMap<String, u64>) {
        let mut sessions = self.sessions.status(now);
        for status in &mut sessions {
            let sender = self.senders.get(&status.name);
            let receiver = sender.and_then(|s| self.receivers.get(&ReceiverKey::of(&s.settings)));
            let failed = |slot: &Slot| match slot {
                Slot::Failed { why } => Some(why.clone()),
                Slot::Open(_) => None,
            };
            status.trouble = receiver
                .and_then(failed)
                .or_else(|| sender.and_then(|s| failed(&s.slot).or_else(|| s.unsent.clone())));
        }
        let unknown = self.sessions.unknown().iter().map(|(kind, count)| ((*kind).to_owned(), *count));
        (sessions, unknown.collect())
    }

    fn handle(&mut self, now: Instant, input: Input<'_>, outcomes: &mut Vec<Outcome>) {
        let mut effects = Vec::new();
        self.sessions.handle(now, input, &mut effects);
        perform(&mut self.senders, effects, outcomes);
    }

    fn hear_turn(&mut self, now: Instant, outcomes: &mut Vec<Outcome>) -> bool {
        let mut has_heard = false;
        for ready in self.ready.ready() {
            let found = self.receivers.iter().find(|(key, _)| key.number() == ready);
            let Some((key, Slot::Open(socket))) = found else { continue };
            for _ in 0..TURN {
                let (sessions, senders) = (&mut self.sessions, &mut self.senders);
                match receive_udp(socket.as_fd(), &mut self.buffer) {
                    Ok(udp) => {
                        has_heard = true;
                        let datagram = Datagram {
                            source: udp.source,
                            destination: udp.destination,
                            hop_limit: udp.hop_limit,
                            is_multihop: key.is_multihop,
                            bytes: udp.bytes,
                        };
                        let mut effects = Vec::new();
                        sessions.handle(now, Input::Received(datagram), &mut effects);
                        perform(senders, effects, outcomes);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Taken from the socket by being returned.
                    Err(_) => {}
                }
            }
        }
        has_heard
    }

    /// Opens what is not open; complaints about what fails for another reason than before.
    fn open(&mut self, now: Instant, outcomes: &mut Vec<Outcome>) {
        let mut has_failed = false;
        for (key, slot) in &mut self.receivers {
            let Slot::Failed { why } = slot else { continue };
            let opened = receiving(*key).and_then(|socket| {
                self.ready.watch(&socket, key.number(), EventFlags::IN)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => *slot = Slot::Open(socket),
                Err(error) => {
                    has_failed = true;
                    let port = key.port();
                    let holder = match error.kind() {
                        ErrorKind::AddrInUse => ": another program has it, as keepalived or a routing daemon",
                        _ => "",
                    };
                    let text = format!("cannot receive BFD at UDP port {port}: {error}{holder}");
                    if *why != text {
                        outcomes.push(Outcome::Complaint(text.clone()));
                        *why = text;
                    }
                }
            }
        }
        for (name, sender) in &mut self.senders {
            let Slot::Failed { why } = &mut sender.slot else { continue };
            match sending(&sender.settings, &mut self.rng) {
                Ok((socket, to)) => (sender.slot, sender.to) = (Slot::Open(socket), to),
                Err(error) => {
                    has_failed = true;
                    let text = format!("cannot send BFD of session {name}: {error}");
                    if *why != text {
                        outcomes.push(Outcome::Complaint(text.clone()));
                        *why = text;
                    }
                }
            }
        }
        self.retry_at = has_failed.then_some(now + RETRY);
    }
}

impl ReceiverKey {
    fn of(settings: &SessionSettings) -> ReceiverKey {
        ReceiverKey { is_ipv4: settings.neighbor.is_ipv4(), is_multihop: settings.is_multihop }
    }

    fn number(self) -> u64 {
        u64::from(self.is_ipv4) | u64::from(self.is_multihop) << 1
    }

    fn port(self) -> u16 {
        if self.is_multihop { MULTIHOP_PORT } else { PORT }
    }
}

fn perform(senders: &mut BTreeMap<String, Sender>, effects: Vec<Effect>, outcomes: &mut Vec<Outcome>) {
    for effect in effects {
        match effect {
            Effect::Send { session, bytes } => {
                if let Some(sender) = senders.get_mut(&session) {
                    outcomes.extend(sender.send(&session, &bytes).map(Outcome::Complaint));
                }
            }
            Effect::Level(level) => outcomes.push(Outcome::Level(level)),
            Effect::Gone(name) => outcomes.push(Outcome::Gone(name)),
            Effect::Event(event) => outcomes.push(Outcome::Event(event)),
        }
    }
}

impl Sender {
    /// A complaint, where it is new. A packet that a full queue does not take is lost: the next one says the same.
    fn send(&mut self, session: &str, bytes: &[u8; LENGTH]) -> Option<String> {
        let Slot::Open(socket) = &self.slot else { return None };
        match socket.send_to(bytes, &self.to.into()) {
            Ok(_) => {
                self.unsent = None;
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => {
                let text = format!("cannot send BFD of session {session} to {}: {error}", self.to.ip());
                let is_new = self.unsent.as_ref() != Some(&text);
                self.unsent = Some(text.clone());
                is_new.then_some(text)
            }
        }
    }
}

fn receiving(key: ReceiverKey) -> io::Result<Socket> {
    let domain = if key.is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    let anywhere: IpAddr = if key.is_ipv4 {
        request_control_message(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO)?;
        request_control_message(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL)?;
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        socket.set_only_v6(true)?;
        request_control_message(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
        socket.set_recv_hoplimit_v6(true)?;
        Ipv6Addr::UNSPECIFIED.into()
    };
    socket.bind(&SocketAddr::new(anywhere, key.port()).into())?;
    Ok(socket)
}

/// The socket that sends, and where to.
fn sending(settings: &SessionSettings, rng: &mut fastrand::Rng) -> io::Result<(Socket, SocketAddr)> {
    let is_ipv4 = settings.neighbor.is_ipv4();
    let domain = if is_ipv4 { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    socket.attach_filter(&[NOTHING])?;
    socket.set_priority(PRIORITY)?;
    let hop_limit = u32::from(settings.hop_limit);
    // The own address may come later than the socket, and go before it.
    let anywhere: IpAddr = if is_ipv4 {
        socket.set_ttl_v4(hop_limit)?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
        socket.set_freebind_v4(true)?;
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        socket.set_only_v6(true)?;
        socket.set_unicast_hops_v6(hop_limit)?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
        socket.set_freebind_v6(true)?;
        Ipv6Addr::UNSPECIFIED.into()
    };
    let mut scope = 0;
    if let Some(interface) = &settings.interface {
        scope = rustix::net::netdevice::name_to_index(&socket, interface)?;
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let scoped = |ip: IpAddr, port: u16| match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
        ip => SocketAddr::new(ip, port),
    };
    let own = settings.source.unwrap_or(anywhere);
    let (first, count) = SOURCE_PORTS;
    let begin = rng.u16(0..count);
    let mut bound = Err(io::Error::from(ErrorKind::AddrInUse));
    for step in 0..MAX_PORTS {
        let port = first + (begin + step) % count;
        bound = socket.bind(&scoped(own, port).into());
        if !bound.as_ref().is_err_and(|error| error.kind() == ErrorKind::AddrInUse) {
            break;
        }
    }
    bound?;
    Ok((socket, scoped(settings.neighbor, settings.port())))
}
