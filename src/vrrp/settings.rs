//! What virtual routers are to be, in the protocol's words: the configuration after defaults and checks.
//!
//! Made by `config`, read by the [`Router`](super::router::Router). Nothing here is optional that has a default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bfd::settings::SessionSettings;
use crate::check::spec::CheckerSpec;
use crate::net::types::{Address, PROTOCOL, Route, Rule, Vmac};
pub(crate) use crate::script::Command;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `vrrp_instance`, in the file's order.
    pub instances: Vec<Arc<InstanceSettings>>,
    pub groups: Vec<Arc<GroupSettings>>,
    /// `vrrp_script`, by name.
    pub scripts: BTreeMap<String, Arc<ScriptSettings>>,
    /// `track_file`, by name.
    pub files: BTreeMap<String, Arc<FileSettings>>,
    /// `vrrp_track_process`, by name.
    pub processes: BTreeMap<String, Arc<ProcessSettings>>,
    /// `vrrp_check`, by name.
    pub checks: BTreeMap<String, Arc<CheckSettings>>,
    /// `bfd_instance`, by name: virtual routers and checkers follow them.
    pub(crate) sessions: BTreeMap<String, Arc<SessionSettings>>,
    pub static_addresses: Vec<Arc<Address>>,
    pub static_routes: Vec<Arc<Route>>,
    pub static_rules: Vec<Arc<Rule>>,
    /// `garp_group` and the global spacing: announcements of these links share one rate.
    pub pacing: Vec<Pacing>,
    /// Before the first instance leaves Init (`vrrp_startup_delay`).
    pub startup_delay: Duration,
    /// What becomes of addresses when the daemon dies (`vrrp_on_crash`).
    pub on_crash: OnCrash,
    /// How much this host's lost ability to forward lowers priorities; 0 is not at all.
    pub forwarding_weight: u8,
    /// Real-time scheduling of the router's thread.
    pub realtime: Realtime,
    /// Advertisements of VRIDs that are not configured are logged (`log_unknown_vrids`).
    pub logs_unknown_vrids: bool,
    /// How long changes of links must last before they count (`interface_up_down_delays`), by name.
    pub link_delays: BTreeMap<String, LinkDelays>,
    /// What is damped, and how.
    pub damping: BTreeMap<TrackTarget, Damping>,
    /// A command that others than root could exchange is not run as root, and counts as failed
    /// (`enable_script_security`).
    pub secures_scripts: bool,
    /// FIFOs, and other places for state lines.
    pub notify: NotifySettings,
}

impl Settings {
    /// The protocols that its routes carry the numbers of: what of the host's routes is to be read. Nothing where there
    /// is neither a route nor a rule.
    pub fn route_protocols(&self) -> BTreeSet<u8> {
        let of_instances = self.instances.iter().flat_map(|i| &i.routes).map(|route| route.wanted.protocol);
        let all = self.static_routes.iter().map(|route| route.protocol).chain(of_instances);
        let has_rules = !self.static_rules.is_empty() || self.instances.iter().any(|i| !i.rules.is_empty());
        all.chain(has_rules.then_some(PROTOCOL)).collect()
    }

    /// What instances and sync groups follow.
    pub fn tracks(&self) -> impl Iterator<Item = &Track> {
        let of_instances = self.instances.iter().flat_map(|i| &i.tracks);
        of_instances.chain(self.groups.iter().flat_map(|g| &g.tracks))
    }

    /// The targets of [`Settings::tracks`], each once.
    pub fn followed(&self) -> BTreeSet<TrackTarget> {
        self.tracks().map(|track| track.target.clone()).collect()
    }

    /// Whether there is anything to do.
    pub fn is_empty(&self) -> bool {
        let has_static = !self.static_addresses.is_empty() || !self.static_routes.is_empty();
        self.instances.is_empty() && !has_static && self.static_rules.is_empty() && self.sessions.is_empty()
    }
}

/// How long a change of a link must last before it counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkDelays {
    /// Of its going down.
    pub down: Duration,
    /// Of its coming up.
    pub up: Duration,
}

/// What becomes of the addresses of a daemon that died.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCrash {
    /// Its guardian sends priority 0 and removes them.
    #[default]
    Failover,
    /// They stay until the next start.
    Hold,
}

/// Scheduling of the router's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Realtime {
    /// SCHED_RR priority, 1 to 99; 0 leaves it an ordinary thread (`vrrp_rt_priority`).
    pub priority: u8,
    /// Longest time it may run without sleeping (RLIMIT_RTTIME, `vrrp_rlimit_rttime`).
    pub limit: Duration,
    /// CPUs it may run on; empty is all (`vrrp_cpu_affinity`).
    pub cpus: [u64; 16],
}

impl Default for Realtime {
    fn default() -> Realtime {
        Realtime { priority: 50, limit: Duration::from_millis(10), cpus: [0; 16] }
    }
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// RFC 3768: whole seconds, IPv4.
    V2,
    /// RFC 9568: centiseconds, both families.
    V3,
}

impl Version {
    /// As it is written, in packets too.
    pub fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

/// The family of a virtual router's advertisements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Family {
    Ipv4,
    Ipv6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "keepalived's words")]
pub enum Beginning {
    Master,
    Backup,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSettings {
    pub name: String,
    /// Family of its advertisements: that of its addresses.
    pub family: Family,
    /// The interface of its advertisements; None for unicast without one.
    pub interface: Option<String>,
    /// `virtual_router_id`, 1 to 255.
    pub vrid: u8,
    /// 1 to 255; 255 is the owner of the addresses.
    pub priority: u8,
    pub version: Version,
    /// `advert_int`: v2 whole seconds to 255, v3 10 ms to 40.95 s in steps of 10 ms.
    pub advert_interval: Duration,
    pub beginning: Beginning,
    /// Whether it replaces a Master of lower priority.
    pub preempts: bool,
    /// `preempt healthier`: beyond `preempts`, it replaces a Master whose tracks have lowered its priority.
    pub preempts_ill: bool,
    pub preempt_delay: Duration,
    /// Nothing the standard does not have (`strict_mode`).
    pub is_strict: bool,
    /// How advertisements travel.
    pub transport: Transport,
    /// `mcast_src_ip`, `unicast_src_ip`, without which it is in Fault; None: an address of the interface is chosen.
    pub source: Option<IpAddr>,
    /// Form of checksum that is sent; both are understood. For version 3 on IPv4.
    pub checksum: Checksum,
    /// How advertisements are authenticated.
    pub authentication: Authentication,
    pub vmac: Option<Arc<Vmac>>,
    /// Advertise from the interface itself all the same (`vmac_xmit_base`).
    pub advertises_from_base: bool,
    /// `virtual_ipaddress`: advertised. At most 255.
    pub addresses: Vec<VirtualAddress>,
    /// `virtual_ipaddress_excluded`: kept, not advertised.
    pub excluded: Vec<VirtualAddress>,
    pub routes: Vec<Virtual<Route>>,
    pub rules: Vec<Virtual<Rule>>,
    /// ARP and neighbour announcements.
    pub announcing: Announcing,
    /// Advertisements missed before it takes over, 1 to 100 (`down_timer_adverts`).
    pub missed_adverts: u8,
    /// A Master stays silent when it hears a lower priority (`lower_prio_no_advert`).
    pub ignores_lower_priority: bool,
    /// A Master sends one advertisement before it yields (`higher_prio_send_advert`), so that the better one announces
    /// its addresses again.
    pub answers_higher_priority: bool,
    /// The address owner ignores received advertisements (`owner_ignore_adverts`).
    pub owner_ignores_adverts: bool,
    /// The state of its interface does not matter (`dont_track_primary`).
    pub ignores_own_link: bool,
    /// Its interface keeps addresses whose network's first one goes (`promote_secondaries`).
    pub promotes_secondaries: bool,
    /// The instance of the configuration that it is one family of, which has addresses of both: they change state together,
    /// and the one of IPv4 has its name. None: it has one family.
    pub pair: Option<String>,
    /// What it follows.
    pub tracks: Vec<Track>,
    /// Bytes of the receive buffer; None: the system's (`kernel_rx_buf_size`).
    pub receive_buffer: Option<u32>,
    /// What makes its addresses this host's elsewhere, while it is Master (`assert`).
    pub assert: Option<Arc<AssertSettings>>,
    /// Its `notify*` scripts.
    pub notify: NotifyCommands,
}

/// `assert`: a command that makes the addresses of a Master its own outside this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssertSettings {
    pub command: Command,
    /// From one run that succeeded to the next.
    pub interval: Duration,
    /// Longest time a run may take.
    pub timeout: Duration,
}

/// What is held while Master, and whether its loss is reported and repaired (`no_track` is not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Virtual<T> {
    pub wanted: Arc<T>,
    /// False for `no_track`.
    pub is_tracked: bool,
}

/// An address of a virtual router. `wanted.link` is its `dev`, the VMAC's, or the instance's interface.
pub(crate) type VirtualAddress = Virtual<Address>;

/// How advertisements travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transport {
    /// To a group: 224.0.0.18, ff02::12 or `mcast_dst_ip`.
    Multicast(IpAddr),
    /// To each peer.
    Unicast {
        peers: Vec<Peer>,
        /// `unicast_ttl`, 255 unless given.
        hop_limit: u8,
        /// Hear these only (`check_unicast_src`).
        checks_source: bool,
        /// IPv4 peers in a network of the interface send with TTL 255 (RFC 5082), unless their least is given.
        guards_ttl: bool,
    },
}

impl Transport {
    /// The addresses of unicast peers; none for multicast.
    pub fn peers(&self) -> impl Iterator<Item = IpAddr> {
        let peers = match self {
            Transport::Unicast { peers, .. } => peers.as_slice(),
            Transport::Multicast(_) => &[],
        };
        peers.iter().map(|peer| peer.address)
    }
}

/// A peer of unicast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it is.
    pub address: IpAddr,
    /// Least hop limit its advertisements may have.
    pub min_hop_limit: u8,
    pub max_hop_limit: u8,
}

/// Whether the checksum of version 3 on IPv4 covers a pseudo header: RFC 5798 could be read both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checksum {
    /// It does: keepalived's default, FRR's.
    PseudoHeader,
    /// It does not: RFC 9568, `v3_checksum_as_v2`.
    MessageOnly,
}

/// How advertisements are authenticated. Debug shows no secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// `auth_type PASS`: sent in clear text; version 2 only. Padded with zeros.
    Password([u8; 8]),
    /// `auth_type AH`: HMAC-MD5 in an authentication header; version 2 only. Padded with zeros.
    Header([u8; 8]),
    Hmac(Arc<Hmac>),
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authentication::None => f.write_str("None"),
            Authentication::Password(_) => f.write_str("Password(..)"),
            Authentication::Header(_) => f.write_str("Header(..)"),
            Authentication::Hmac(hmac) => f.debug_tuple("Hmac").field(hmac).finish(),
        }
    }
}

/// `auth_hmac`. Debug shows no key.
#[derive(Clone, PartialEq, Eq)]
pub struct Hmac {
    /// Keys of 32 to 64 bytes by their id.
    pub keys: BTreeMap<u8, Vec<u8>>,
    /// The key to sign with.
    pub active: u8,
    /// How far sender's and own clock may be apart.
    pub window: Duration,
    /// Replayed packets are recognized by a counter too (`anti_replay monotonic`), not by time alone.
    pub is_monotonic: bool,
    /// What becomes of advertisements without signature.
    pub mode: HmacMode,
}

impl fmt::Debug for Hmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Hmac { keys, active, window, is_monotonic, mode } = self;
        let keys: Vec<&u8> = keys.keys().collect();
        write!(
            f,
            "Hmac {{ keys: {keys:?}, active: {active}, window: {window:?}, is_monotonic: {is_monotonic}, mode: {mode:?} }}"
        )
    }
}

/// What becomes of advertisements without signature (`mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    Enforce,
    /// Accepted, and so are badly signed ones; both are reported.
    Permissive,
    /// Accepted; own ones are not signed.
    ReceiveOnly,
}

/// ARP and neighbour announcements of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcing {
    /// Before the second burst; zero: none (`garp_master_delay`).
    pub delay: Duration,
    /// Announcements per address in a burst (`garp_master_repeat`).
    pub repeat: u32,
    /// Between later ones while Master; zero: none (`garp_master_refresh`).
    pub refresh: Duration,
    /// Announcements per address then (`garp_master_refresh_repeat`).
    pub refresh_repeat: u32,
    /// Before the second burst after a lower priority was heard (`garp_lower_prio_delay`).
    pub lower_priority_delay: Duration,
    /// Announcements in bursts after a lower priority was heard; 0: none (`garp_lower_prio_repeat`).
    pub lower_priority_repeat: u32,
    /// Between announcements on the other interfaces of addresses; zero: none (`garp_extra_if`).
    pub extra: Duration,
    pub extra_on_all: bool,
}

/// Links whose announcements share a rate (`garp_group`, `vrrp_garp_interval`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Names of links; empty is each link for itself.
    pub links: Vec<String>,
    /// Least time between two ARP announcements.
    pub arp: Duration,
    /// Least time between two neighbour advertisements.
    pub neighbour: Duration,
}

/// What an instance or group follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    pub target: TrackTarget,
    /// -253 to 253 (files and processes 254): what it counts; 0: Fault.
    pub weight: i16,
    /// It counts the other way round.
    pub is_reversed: bool,
}

/// What can be followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TrackTarget {
    /// A link's ability to carry packets.
    Interface(String),
    Script(String),
    File(String),
    Process(String),
    /// A check that the director runs.
    Check(String),
    /// A BFD session.
    Bfd(String),
}

/// When something that fails again and again counts as well (`damping`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damping {
    /// The time in which a failure loses half of its effect; at least a second.
    pub half_life: Duration,
    /// Failures within about that time that are put up with, at least 1.
    pub limit: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    pub name: String,
    /// Its two instances are one in the configuration, which has the group's name: it is that one that is notified.
    pub is_pair: bool,
    /// Names of its instances.
    pub members: Vec<String>,
    /// What all of them follow.
    pub tracks: Vec<Track>,
    /// Weights of what members follow count (`sync_group_tracking_weight`); else only faults do.
    pub counts_weights: bool,
    /// Its `notify*` scripts.
    pub notify: NotifyCommands,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptSettings {
    pub name: String,
    /// What to run. The words `<` and a path: nothing is run, it is well while that file can be opened.
    pub command: Command,
    /// From one run to the next.
    pub interval: Duration,
    /// Longest time a run may take.
    pub timeout: Duration,
    /// Weight where the follower gives none.
    pub weight: i16,
    /// `reverse` where the follower says nothing.
    pub is_reversed: bool,
    /// Successes that make it up.
    pub rise: u32,
    /// Failures that make it down.
    pub fall: u32,
    /// Down until `rise` runs succeeded (`init_fail`).
    pub begins_failed: bool,
}

/// A check that virtual routers track: the director runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckSettings {
    pub name: String,
    /// What it asks; it is well while all of them are up. At least one.
    pub checkers: Vec<Arc<CheckerSpec>>,
    /// Down until it has passed often enough (`init_fail`); else its first result decides.
    pub begins_failed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSettings {
    pub name: String,
    /// Whose number counts.
    pub path: std::path::PathBuf,
    /// Factor where the follower gives none.
    pub weight: i16,
    /// `reverse` where the follower says nothing.
    pub is_reversed: bool,
    /// Written at the start when there is none (`init_file`), or in any case (true: `overwrite`).
    pub initial: Option<(i32, bool)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessSettings {
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How arguments are compared.
    pub arguments: ArgumentMatch,
    /// Weight where the follower gives none.
    pub weight: i16,
    /// `reverse` where the follower says nothing.
    pub is_reversed: bool,
    /// How many must run.
    pub quorum: u32,
    /// How many may run.
    pub quorum_max: u32,
    /// Before it counts as running (`fork_delay`).
    pub start_delay: Duration,
    /// Before it counts as ended (`terminate_delay`).
    pub end_delay: Duration,
    /// The whole command line names it, not its short name (`full_command`).
    pub is_full_command: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentMatch {
    /// They are not looked at.
    Any,
    /// All of them equal.
    Exact,
    /// The first ones equal.
    Initial,
    /// The first ones equal, the last of them in part.
    Partial,
}

/// Commands around an instance or group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "keepalived's words")]
pub struct NotifyCommands {
    pub master: Option<Command>,
    pub backup: Option<Command>,
    pub fault: Option<Command>,
    pub stop: Option<Command>,
    pub deleted: Option<Command>,
    /// `notify_deleted` without a command: DELETED is its own state.
    pub notifies_deleted: bool,
    pub any: Option<Command>,
    pub master_heard_lower_priority: Option<Command>,
    pub notifies_priority: bool,
    /// Mails are sent (`smtp_alert`).
    pub mail: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NotifySettings {
    /// `vrrp_notify_fifo` and `notify_fifo`.
    pub fifos: Vec<Fifo>,
    /// States are written again after a reload (`fifo_write_vrrp_states_on_reload`).
    pub repeats_on_reload: bool,
    /// No mails about faults (`no_email_faults`).
    pub mails_no_faults: bool,
}

/// A FIFO that state lines are written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fifo {
    pub path: std::path::PathBuf,
    /// Its owner where it is made; None: the daemon's.
    pub user: Option<String>,
    pub group: Option<String>,
    /// A command that reads it: started with its path as the last argument.
    pub reader: Option<Command>,
}
