//! An instance with everything that belongs to it: binding, peers, counters, faults.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::binding::Binding;
use super::instance::Instance;
use super::io::{InstanceLevel, State, Transmission};
use super::packet::{self, Advertisement, Counters, HOP_LIMIT, Path, ReplayWindow};
use super::peers::Peers;
use super::settings::{Authentication, InstanceSettings, Transport, VirtualAddress};
use crate::time::Instant;

/// What an instance counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// Advertisements sent, to a group or to all peers.
    pub sent: u64,
    /// Those of priority 0.
    pub priority_zero_sent: u64,
    pub accepted: u64,
    /// Those of priority 0.
    pub priority_zero_received: u64,
    /// Those a Master heard of a lower priority.
    pub lower: u64,
    /// Own ones that came back.
    pub looped: u64,
    /// How often it became Master.
    pub became_master: u64,
    /// Packets dropped, by kind.
    pub dropped: BTreeMap<&'static str, u64>,
}

/// An instance with everything it has.
#[derive(Debug)]
pub(super) struct Member {
    /// By the protocol's book.
    pub instance: Instance,
    /// What it stands on.
    pub binding: Binding,
    /// What it counts up in packets.
    pub counters: Counters,
    /// What it remembers of others' counters.
    pub replay: ReplayWindow,
    /// Others that speak for its VRID.
    pub peers: Peers,
    /// What it counts.
    pub statistics: Statistics,
    /// Why it is in its state.
    pub reason: String,
    /// Why it cannot be Master or Backup, itself or its group.
    pub fault: Option<String>,
    /// Since when it has had a fault of its own without interruption.
    pub fault_since: Option<Instant>,
    /// The state that was last reported of it: one that moves to another VRID is in Init without a report.
    pub reported: State,
    /// It has been Backup or Master, here or in the process that handed it over.
    pub has_begun: bool,
    /// What it waits for in Init.
    pub waits_for: Option<String>,
    /// The unclamped sum of what it follows.
    pub sum: i64,
    /// Since when only the director's services keep it in Init.
    pub gated_since: Option<Instant>,
    /// It was reported that it receives its own packets.
    pub has_reported_loop: bool,
    /// What was reported to the director.
    pub reported_level: Option<InstanceLevel>,
    /// A predecessor left it as Master.
    pub is_inherited: bool,
    /// The address of this host to which unicast peers send.
    pub known_by: Option<IpAddr>,
    /// When it stops being an inherited Master. None: never, because it did not come from a predecessor but moved to
    /// another VRID within this process.
    pub inherited_until: Option<Instant>,
    /// It yielded to a better Master that may not know of it: it sends one more advertisement, as Backup.
    pub owes_last_word: bool,
}

impl Member {
    pub(super) fn new(settings: Arc<InstanceSettings>, now: Instant) -> Member {
        Member {
            instance: Instance::new(settings, now),
            binding: Binding::default(),
            counters: Counters::new(),
            replay: ReplayWindow::new(),
            peers: Peers::default(),
            statistics: Statistics::default(),
            reason: "start".to_owned(),
            fault: None,
            fault_since: None,
            reported: State::Init,
            has_begun: false,
            waits_for: None,
            sum: 0,
            gated_since: None,
            has_reported_loop: false,
            reported_level: None,
            is_inherited: false,
            known_by: None,
            inherited_until: None,
            owes_last_word: false,
        }
    }

    /// What it is to be.
    pub(super) fn settings(&self) -> &Arc<InstanceSettings> {
        self.instance.settings()
    }

    pub(super) fn state(&self) -> State {
        self.instance.state()
    }

    /// In Init, or in a fault that was found there.
    pub(super) fn is_before_backup(&self) -> bool {
        match self.state() {
            State::Init => true,
            State::Fault => !self.has_begun,
            State::Backup | State::Master => false,
        }
    }

    /// When the first of its timers ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timers = [self.instance.timer(), self.instance.contention_ends(), self.peers.next_end()];
        timers.into_iter().flatten().min()
    }

    /// Whether one of its timers has ended.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|at| at <= now)
    }

    /// It was Master in the life before, and nothing keeps it from being so in this one.
    pub(super) fn goes_on(&self) -> bool {
        self.is_inherited && self.state() == State::Init && self.fault.is_none() && self.waits_for.is_none()
    }

    /// Its addresses, excluded ones too.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        let settings = self.settings();
        settings.addresses.iter().chain(&settings.excluded)
    }

    /// An advertisement to the group or to each peer, with another priority where one is given.
    pub(super) fn advertisement(&mut self, priority: Option<u8>, wall: Duration) -> Vec<Transmission> {
        let priority = priority.unwrap_or(self.instance.priority());
        let settings = Arc::clone(self.settings());
        packets(&settings, &self.binding, priority, &mut self.counters, wall)
    }

    /// The advertisement of priority 0 to send if this process dies. Only signed ones depend on what was sent before.
    pub(super) fn priority_zero(&self, wall: Duration) -> Vec<Transmission> {
        let mut counters = if self.is_signed() { self.counters.clone() } else { Counters::new() };
        packets(self.settings(), &self.binding, 0, &mut counters, wall)
    }

    /// Every packet differs from the one before.
    pub(super) fn is_signed(&self) -> bool {
        matches!(self.settings().authentication, Authentication::Header(_) | Authentication::Hmac(_))
    }

    /// How it is, for the director.
    pub(super) fn level(&self) -> InstanceLevel {
        let settings = self.settings();
        InstanceLevel {
            name: settings.name.clone(),
            vrid: settings.vrid,
            state: self.state(),
            addresses: self.addresses().map(|a| a.wanted.prefix).collect(),
        }
    }
}

/// The only place where advertisements are made.
fn packets(
    settings: &InstanceSettings,
    binding: &Binding,
    priority: u8,
    counters: &mut Counters,
    wall: Duration,
) -> Vec<Transmission> {
    let (Some(endpoint), Some(source)) = (&binding.endpoint, binding.source) else { return Vec::new() };
    let advert = Advertisement {
        version: settings.version,
        vrid: settings.vrid,
        priority,
        interval: settings.advert_interval,
        addresses: settings.addresses.iter().map(|a| a.wanted.prefix.ip).collect(),
    };
    let destinations: Vec<(IpAddr, u8)> = match &settings.transport {
        Transport::Multicast(group) => vec![(*group, HOP_LIMIT)],
        Transport::Unicast { hop_limit, .. } => binding.peers.iter().map(|ip| (*ip, *hop_limit)).collect(),
    };
    let mut all = Vec::with_capacity(destinations.len());
    for (destination, hop_limit) in destinations {
        let path = Path { source, destination, hop_limit };
        let bytes =
            packet::encode(&advert, &path, settings.checksum, &settings.authentication, counters, wall);
        all.push(Transmission { endpoint: endpoint.clone(), destination, hop_limit, bytes });
    }
    all
}
