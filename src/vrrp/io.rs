//! The router's inputs and effects: everything that crosses the line between decisions and the shell.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::addresses::announce::announcer::Announcement;
use super::binding::sockets::SocketStates;
use super::event::Event;
use super::handover::Handover;
use super::settings::{Settings, TrackTarget};
use crate::bfd::sessions::Level;
use crate::net::types::{Host, HostEvent, LinkIndex, Op, Prefix, Refusal};
use crate::script::{Command, Ended};

/// An input of the router.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// It is the time the router asked for.
    Wake,
    /// All that the host has: at the start, and whenever events were lost.
    Host(Host),
    /// The host changed.
    HostEvent(HostEvent),
    /// A packet arrived.
    Received(Datagram),
    /// What became of the sockets of [`Effect::Listen`]: after each, and whenever it changes.
    Sockets(SocketStates),
    /// Everything that had arrived when [`Effect::CatchUp`] was performed has been passed on.
    CaughtUp,
    /// What is followed changed, or is known for the first time.
    Tracked {
        target: TrackTarget,
        /// How it is.
        level: TrackLevel,
    },
    /// A BFD session is so: where it is followed it is a track, and if its neighbour is the Master and was silent for too
    /// long, Backups that follow it take over.
    Session(Level),
    /// What the director knows: comes before the first instance leaves Init, and whenever it changes.
    Director(DirectorLevel),
    /// UTC since 1970 minus the monotonic clock, for signatures: at the start and whenever it jumps.
    Clock(Duration),
    /// Links that forward IPv6 (`net.ipv6.conf.IF.forwarding`): what they announce carries the Router flag.
    RouterLinks(BTreeSet<LinkIndex>),
    /// What a predecessor handed over so long ago: comes before the first [`Input::Host`]. Its Masters go on as Master
    /// at once, while no peer can have taken over.
    Inherited {
        handover: Box<Handover>,
        /// How long ago.
        age: Duration,
    },
    /// The kernel answered [`Effect::Apply`], in the order of what was asked; empty when all was done. All
    /// [`HostEvent`] that it caused came before.
    Applied(Vec<Refusal>),
    /// Frames of [`Effect::Announce`] that their links' queues had no room for, in their order. [`Input::Writable`]
    /// follows for each of these links.
    NotSent(Vec<Announcement>),
    /// The link of that name has room for frames again.
    Writable(String),
    /// The run of that number ended, of [`Effect::Assert`]: always, also after [`Effect::EndAssert`].
    Asserted { number: u64, ended: Ended },
    /// New settings, validated.
    Reload(Arc<Settings>),
    /// Send priority 0, remove everything that lvsd added, then finish.
    Stop,
    /// Leave everything as it is, then finish.
    HandOver,
}

/// The level of something tracked. Interfaces need none: [`HostEvent`] report them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum TrackLevel {
    /// A script, by history, the number of a process's instances, or a BFD session: well or not.
    Is(bool),
    /// A file's number.
    Counts(i64),
}

/// What the director reports to the router, again whenever it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectorLevel {
    /// VIPs with a virtual server that is not in the kernel yet, though it may come: an instance with one of
    /// them waits in Init, at most [`READY_LIMIT`](super::leave_init::READY_LIMIT).
    pub not_ready: BTreeSet<IpAddr>,
    /// Why this host cannot forward, in words; None: it can, or has nothing to.
    pub cannot_forward: Option<String>,
}

/// What the router wants done, in this order.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// Have exactly these sockets open: close others, open new ones, leave the rest alone.
    Listen(Arc<BTreeSet<Endpoint>>),
    /// Be a member of exactly these multicast groups at these links, besides those of the sockets.
    Join(BTreeSet<(LinkIndex, IpAddr)>),
    /// Send a packet.
    Send(Transmission),
    /// Send an Ethernet frame: an ARP or neighbour announcement.
    Announce {
        /// What it announces.
        of: Announcement,
        link: LinkIndex,
        /// Destination, source, type and payload.
        frame: Vec<u8>,
    },
    /// Ask the kernel; [`Input::Applied`] follows. One at a time.
    Apply(Vec<Op>),
    /// Pass on everything that has arrived, then [`Input::CaughtUp`].
    CatchUp,
    /// Report an instance to the director and to operators, at every change.
    Instance(InstanceLevel),
    /// An instance is no more.
    InstanceGone(String),
    /// What the guardian does when the daemon dies.
    CrashPlan(Arc<CrashPlan>),
    /// Report an event.
    Event(Event),
    /// Run a command of `assert`; [`Input::Asserted`] follows.
    Assert(Box<Assert>),
    /// End the run of that number; [`Input::Asserted`] follows, unless it did already.
    EndAssert(u64),
    /// What the next process has to know; [`Effect::Finished`] follows.
    HandOver(Box<Handover>),
    /// The router is done.
    Finished,
}

/// One run of a command of `assert`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assert {
    /// No other run of this process has it.
    pub number: u64,
    pub command: Command,
    /// Added to the daemon's environment.
    pub environment: Vec<(String, String)>,
    /// Longest time it may take.
    pub limit: Duration,
}

/// A socket that sends and receives VRRP packets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// The link it is bound to; None for unicast without an interface.
    pub link: Option<LinkIndex>,
    /// IP protocol: 112, or 51 where an authentication header comes first.
    pub protocol: u8,
    /// Joined (multicast).
    pub group: Option<IpAddr>,
    /// Bound to (unicast), and the source of what is sent.
    pub source: IpAddr,
    /// Least receive buffer, in bytes; 0 is the system's.
    pub receive_buffer: u32,
}

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Datagram {
    /// Link it arrived on.
    pub link: LinkIndex,
    /// IP protocol of the socket: 112 or 51.
    pub protocol: u8,
    /// The sender.
    pub source: IpAddr,
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub hop_limit: u8,
    /// IPv4: the whole packet as a raw socket shows it, IP header first. IPv6: what follows the header.
    pub bytes: Vec<u8>,
}

/// A packet to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmission {
    /// Through which socket.
    pub endpoint: Endpoint,
    /// Whom to: the group or a peer.
    pub destination: IpAddr,
    /// Hop limit.
    pub hop_limit: u8,
    /// IPv4: the whole packet, IP header first (its checksum is the kernel's). IPv6: what follows the header.
    pub bytes: Vec<u8>,
}

/// State of an instance (RFC 9568 section 6.4; Fault is keepalived's).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the protocol's words")]
pub enum State {
    Init,
    Backup,
    Master,
    Fault,
}

/// How an instance is: for the director and for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceLevel {
    pub name: String,
    pub vrid: u8,
    pub state: State,
    /// Its VIPs, excluded ones too, held or not.
    pub addresses: BTreeSet<Prefix>,
}

/// What is to be done when the daemon died: made anew whenever it changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrashPlan {
    /// Advertisements of priority 0 of all instances that are Master.
    pub priority_zero: Vec<Transmission>,
    /// For how long the daemon may be silent before this is done, though it did not die: others have taken over by
    /// then. None: without limit.
    pub silence: Option<Duration>,
    /// Addresses to remove.
    pub addresses: BTreeMap<LinkIndex, BTreeSet<Prefix>>,
}
