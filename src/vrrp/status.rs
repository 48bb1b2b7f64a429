//! The router as an operator sees it; serialized for `lvsd status --json` and read by the metrics.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::assertion::AssertStatus;
use super::event::seconds;
use super::group;
use super::io::State;
use super::member::Member;
use super::peers::PeerRecord;
use super::router::Router;
use super::settings::{Checksum, Track, Transport, Version};
use super::tracking::levels;
use crate::bfd::status::SessionStatus;
use crate::net::types::Host;
use crate::time::{Instant, microseconds, milliseconds};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Instances, sorted by name.
    pub instances: Vec<InstanceStatus>,
    /// Sync groups, in the file's order.
    pub groups: Vec<GroupStatus>,
    /// Instances of other nodes, which do not run here: each with its node's address.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_nodes: BTreeMap<String, IpAddr>,
    /// Packets for no instance, by kind.
    pub unknown_vrid: BTreeMap<String, u64>,
    /// How often timers ran late, so that everything that had arrived was heard first.
    pub late_times: u64,
    /// Addresses, routes, rules and links the kernel refuses now, in words.
    pub refused: Vec<String>,
    /// How often static addresses, routes and rules were put back.
    pub static_restored: u64,
    /// BFD sessions, sorted by name; the shell has them.
    #[serde(default)]
    pub(crate) sessions: Vec<SessionStatus>,
    /// Packets for no BFD session, by kind.
    #[serde(default)]
    pub(crate) unknown_sessions: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceStatus {
    pub name: String,
    pub vrid: u8,
    /// Version of the protocol.
    pub version: u8,
    /// Its interface; None for unicast without one.
    pub interface: Option<String>,
    /// Whether it speaks by multicast.
    pub is_multicast: bool,
    /// Init, Backup, Master or Fault.
    pub state: State,
    /// For how long.
    pub since_milliseconds: u64,
    pub reason: String,
    /// What it waits for in Init.
    pub waits_for: Option<String>,
    /// Time is up, and its sync group does not agree.
    pub waits_for_group: bool,
    /// It is better than the Master and leaves it alone: why, in words.
    #[serde(default)]
    pub holds_back: Option<String>,
    pub base_priority: u8,
    pub priority: u8,
    /// Address its advertisements come from.
    pub source: Option<IpAddr>,
    /// The host that was last heard as Master.
    pub master: Option<IpAddr>,
    pub master_priority: Option<u8>,
    /// The interval that counts, in milliseconds.
    pub interval_milliseconds: u64,
    /// Silence after which this host takes over, in microseconds.
    pub master_down_microseconds: u64,
    /// Until then, or until the next advertisement, in microseconds.
    pub timer_microseconds: Option<u64>,
    /// Addresses it is to have as Master, and whether they are there.
    pub addresses: Vec<AddressStatus>,
    /// What it follows, with that of its groups.
    pub tracks: Vec<TrackStatus>,
    pub counters: CountersStatus,
    /// Others that speak for its VRID.
    pub peers: Vec<PeerStatus>,
    /// A peer with its VRID has a conflicting configuration.
    pub has_conflict: bool,
    /// The instance of the configuration that it is one family of; both are there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// The command of `assert`, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) assert: Option<AssertStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressStatus {
    /// The address with its prefix length.
    pub address: String,
    pub link: String,
    /// Whether it is there, as ours.
    pub is_held: bool,
    /// Whether it is advertised.
    pub is_advertised: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackStatus {
    pub what: String,
    /// 0: a Fault when it is not well.
    pub weight: i16,
    /// How it is, in words.
    pub level: String,
}

/// Counters since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersStatus {
    pub sent: u64,
    /// Those of priority 0.
    pub priority_zero_sent: u64,
    pub accepted: u64,
    /// Those of priority 0.
    pub priority_zero_received: u64,
    /// Those of a lower priority that a Master heard.
    pub lower_priority_received: u64,
    /// Own ones that came back.
    pub looped: u64,
    /// How often it became Master.
    pub became_master: u64,
    /// How often something of it was put back.
    pub restored: u64,
    /// Packets dropped, by kind.
    pub dropped: BTreeMap<String, u64>,
}

/// Another router that advertises a VRID of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    pub source: IpAddr,
    /// Version of the protocol.
    pub version: Option<u8>,
    pub is_multicast: bool,
    /// How it authenticates, in a word.
    pub authentication: String,
    pub priority: Option<u8>,
    pub interval_milliseconds: Option<u64>,
    /// How many addresses it names.
    pub addresses: Option<usize>,
    /// Whether its checksum covers a pseudo header, where it may or may not.
    pub has_pseudo_header: Option<bool>,
    pub accepted: u64,
    pub refused: u64,
    /// How long ago it spoke.
    pub silent_milliseconds: u64,
    /// Why it was last refused.
    pub last_refusal: Option<String>,
    /// What it and this host cannot agree about, and what to change.
    pub conflict: Option<String>,
}

/// A sync group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    pub name: String,
    /// Its instances are the two families of one that has its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_pair: bool,
    /// The state of all its instances; one Fault puts all in Fault.
    pub state: State,
    pub members: Vec<String>,
}

impl Router {
    /// How everything is.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let groups = self.groups.iter().map(|g| GroupStatus {
            name: g.settings.name.clone(),
            is_pair: g.settings.is_pair,
            state: group::state_of(
                g.settings.members.iter().filter_map(|m| self.members.get(m)).map(Member::state),
                g.reported,
            ),
            members: g.settings.members.clone(),
        });
        Status {
            instances: self.members.iter().map(|(name, m)| self.instance_status(name, m, now)).collect(),
            groups: groups.collect(),
            other_nodes: self.other_nodes.clone(),
            unknown_vrid: words(&self.unknown_vrid),
            late_times: self.late_times(),
            refused: self.reconciler.refusals().map(str::to_owned).collect(),
            static_restored: self.reconciler.restored(""),
            sessions: Vec::new(),
            unknown_sessions: BTreeMap::new(),
        }
    }

    fn instance_status(&self, name: &str, member: &Member, now: Instant) -> InstanceStatus {
        let settings = member.settings();
        let instance = &member.instance;
        let empty = Host::default();
        let host = self.host.as_ref().unwrap_or(&empty);
        let held: Vec<_> = self
            .reconciler
            .held(host)
            .map(|(_, desired)| (&desired.value.link, desired.value.prefix))
            .collect();
        let addresses = member.addresses().enumerate().map(|(at, a)| AddressStatus {
            address: a.wanted.prefix.to_string(),
            link: a.wanted.link.clone(),
            is_held: member.state() == State::Master && held.contains(&(&a.wanted.link, a.wanted.prefix)),
            is_advertised: at < settings.addresses.len(),
        });
        let shared = self.groups.iter().filter(|g| g.has(name)).flat_map(|g| &g.settings.tracks);
        let tracks = settings.tracks.iter().chain(shared).map(|track| self.track_status(track, host, now));
        let statistics = &member.statistics;
        InstanceStatus {
            name: name.to_owned(),
            vrid: settings.vrid,
            version: settings.version.number(),
            interface: settings.interface.clone(),
            is_multicast: matches!(settings.transport, Transport::Multicast(_)),
            state: member.state(),
            since_milliseconds: milliseconds(now.since(instance.since())),
            reason: member.reason.clone(),
            waits_for: self.waits_for(member),
            waits_for_group: instance.waits_for_group(),
            holds_back: instance.holds_back(now),
            base_priority: settings.priority,
            priority: instance.priority(),
            source: instance.source(),
            master: instance.master().map(|claim| claim.source),
            master_priority: instance.master().map(|claim| claim.priority),
            interval_milliseconds: milliseconds(instance.interval()),
            master_down_microseconds: microseconds(instance.master_down()),
            timer_microseconds: instance.timer().map(|at| microseconds(at.since(now))),
            addresses: addresses.collect(),
            tracks: tracks.collect(),
            counters: CountersStatus {
                sent: statistics.sent,
                priority_zero_sent: statistics.priority_zero_sent,
                accepted: statistics.accepted,
                priority_zero_received: statistics.priority_zero_received,
                lower_priority_received: statistics.lower,
                looped: statistics.looped,
                became_master: statistics.became_master,
                restored: self.reconciler.restored(name),
                dropped: words(&statistics.dropped),
            },
            peers: member.peers.iter().map(|(source, s)| peer_status(*source, s, now)).collect(),
            has_conflict: member.peers.iter().any(|(_, s)| s.conflict.is_some()),
            pair: settings.pair.clone(),
            assert: self.assertions.status(name, now),
        }
    }

    fn waits_for(&self, member: &Member) -> Option<String> {
        if !member.is_before_backup() || member.fault.is_some() {
            return None;
        }
        let gate = member.gated_since.map(|_| "the services of its addresses".to_owned());
        member.waits_for.clone().or(gate)
    }

    fn track_status(&self, track: &Track, host: &Host, now: Instant) -> TrackStatus {
        let mut level = levels::level_words(&track.target, self.levels.measured(&track.target, host));
        if let Some(until) = self.levels.damped.until(&track.target, now) {
            let _ = write!(level, ", counts as failed for {} s more (damping)", seconds(until.since(now)));
        }
        TrackStatus { what: levels::words(&track.target), weight: track.weight, level }
    }
}

fn peer_status(source: IpAddr, peer: &PeerRecord, now: Instant) -> PeerStatus {
    let profile = &peer.profile;
    PeerStatus {
        source,
        version: profile.version.map(Version::number),
        is_multicast: profile.is_multicast,
        authentication: profile.authentication.to_owned(),
        priority: profile.priority,
        interval_milliseconds: profile.interval.map(milliseconds),
        addresses: profile.count,
        has_pseudo_header: profile.checksum.map(|form| form == Checksum::PseudoHeader),
        accepted: peer.accepted,
        refused: peer.refused,
        silent_milliseconds: milliseconds(now.since(peer.last)),
        last_refusal: peer.last_refusal.clone(),
        conflict: peer.conflict.as_ref().map(|c| c.what.clone()),
    }
}

fn words(counted: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    counted.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect()
}
