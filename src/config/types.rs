//! [`Config`] and what it consists of, in the operator's words.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::check::spec::{CheckerSpec, Timing};
use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Family, Forwarding, Persistence, Protocol, ServiceFlags, SyncDaemon};
use crate::notify::mail::MailSettings;
use crate::script::Command;
use crate::vrrp::settings::{Fifo, Settings};

/// A validated configuration, defaults applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// keepalived `global_defs`.
    pub global: Global,
    /// Virtual servers, in the file's order; identities are unique.
    pub virtual_servers: Vec<VirtualServer>,
    /// Virtual routers.
    pub vrrp: Arc<Settings>,
}

impl Config {
    /// What in it needs the kernel's IPVS, in words: the first of it. Virtual routers do not.
    pub fn ipvs_need(&self) -> Option<String> {
        let server = self.virtual_servers.first().map(|server| format!("virtual server {}", server.id));
        let daemon = || (!self.global.sync_daemons.is_empty()).then(|| "lvs_sync_daemon".to_owned());
        let timeouts =
            || (self.global.timeouts != TimeoutOptions::default()).then(|| "lvs_timeouts".to_owned());
        server.or_else(daemon).or_else(timeouts)
    }
}

/// What concerns the whole director.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// Name of this director in logs and mails (keepalived `router_id`).
    pub router_id: Option<String>,
    /// Network namespace to run in (keepalived `net_namespace`); None: where lvsd was started.
    pub net_namespace: Option<String>,
    /// Connection timeouts; each None leaves the kernel's (keepalived `lvs_timeouts`).
    pub timeouts: TimeoutOptions,
    /// Delete services that are not configured, at start (keepalived `lvs_flush`).
    pub flush: bool,
    /// Sync daemons to keep running, sender and receiver (keepalived `lvs_sync_daemon`).
    pub sync_daemons: Vec<SyncDaemon>,
    /// The instance whose state says which of them runs: the sender while it is Master, else the receiver.
    /// None: both run always.
    pub sync_follows: Option<String>,
    /// The `virtual_router_id` of that instance.
    pub sync_follows_vrid: Option<u8>,
    /// A virtual server without quorum and without sorry server counts as this host's inability to forward.
    pub quorum_counts: bool,
    /// Runs before anything is begun (`startup_script`).
    pub startup: Option<LifeScript>,
    /// Runs when a stop has given everything back (`shutdown_script`).
    pub shutdown: Option<LifeScript>,
    /// Where changes of virtual servers and real servers are written (`lvs_notify_fifo`, `notify_fifo`).
    pub fifos: Vec<Fifo>,
    /// Recipients and server of mails; None: no mail is sent.
    pub mail: Option<Arc<MailSettings>>,
    /// Real servers that are up at the start are told of, too (`rs_init_notifies`).
    pub tells_first_servers: bool,
    /// Where lvsd's own firewall marks begin.
    pub mark_base: MarkBase,
    /// Settings of the kernel below `net.ipv4.vs`, by their names there: letters, digits and `_` only.
    pub sysctl: BTreeMap<String, SysctlValue>,
}

/// Where lvsd's own firewall marks begin: a multiple of 0x10000, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkBase(pub u32);

impl MarkBase {
    /// How many marks there are from it on: the low bits that Kubernetes uses (0x4000, 0x8000) are left out.
    pub const MARKS: u32 = 0x4000;

    /// Whether a mark is one of lvsd's own.
    pub fn contains(self, mark: u32) -> bool {
        mark >= self.0 && mark - self.0 < MarkBase::MARKS
    }
}

impl Default for MarkBase {
    /// A number few will choose.
    fn default() -> MarkBase {
        MarkBase(0x6c76_0000)
    }
}

/// A script around the daemon's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifeScript {
    pub command: Command,
    pub limit: Duration,
}

/// The value of a setting of the kernel: one whole number, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysctlValue(pub Vec<u32>);

impl fmt::Display for SysctlValue {
    /// As the kernel reads it: `1`, `3 50`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, n)| {
            f.write_str(if at == 0 { "" } else { " " })?;
            write!(f, "{n}")
        })
    }
}

/// Connection timeouts to set, in seconds, 0-2678400.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutOptions {
    pub tcp: Option<u32>,
    /// TCP after a FIN.
    pub tcp_fin: Option<u32>,
    pub udp: Option<u32>,
}

/// What identifies a virtual server, across reloads and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum VirtualServerId {
    /// Protocol, VIP and port.
    Address {
        /// Transport protocol.
        protocol: Protocol,
        /// The VIP.
        address: IpAddr,
        /// Port; 0 = every port (persistent virtual servers only).
        port: u16,
    },
    /// Firewall mark and family.
    Fwmark {
        /// Family of the packets.
        family: Family,
        /// The mark, never 0.
        mark: u32,
    },
}

/// A virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    pub id: VirtualServerId,
    /// Scheduler (`lb_algo`).
    pub scheduler: Scheduler,
    /// Scheduler flags and one-packet scheduling.
    pub flags: ServiceFlags,
    pub persistence: Option<Persistence>,
    /// Persistence engine, e.g. `sip`.
    pub persistence_engine: Option<String>,
    /// Weight of live real servers needed, at least 1.
    pub quorum: u32,
    /// Added to quorum to gain it, subtracted to lose it; less than quorum.
    pub hysteresis: u32,
    /// Takes over when quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// Real servers in the file's order, at least one; addresses are unique. Shared with the director's pools.
    pub real_servers: Vec<Arc<RealServer>>,
    /// Its real servers are checked only while this host has the VIP (`ha_suspend`).
    pub checks_need_vip: bool,
    /// What is notified of its quorum.
    pub notices: ServerNotices,
}

/// What is notified of a virtual server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerNotices {
    /// `quorum_up` and `quorum_down`.
    pub commands: Option<Arc<UpDown>>,
    /// The group it is one of, as keepalived writes it: it is told of as a whole.
    pub group: Option<Arc<str>>,
    /// All is told as down at a stop (`omega`).
    pub is_told_at_stop: bool,
    /// Mails are sent (`smtp_alert`).
    pub is_mailed: bool,
}

/// Commands to run when something comes up, or goes down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub struct UpDown {
    pub up: Option<Command>,
    pub down: Option<Command>,
}

/// The server of last resort; never checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Address and port.
    pub address: SocketAddr,
    pub forwarding: Forwarding,
    /// Kept in the table with weight 0 while not needed (`sorry_server_inhibit`).
    pub inhibit: bool,
}

/// Largest weight of a real server, the kernel's and keepalived's.
pub(crate) const MAX_WEIGHT: u32 = i32::MAX as u32;

/// A real server of one virtual server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Address and port; identity within its virtual server.
    pub address: SocketAddr,
    /// The port that was written; 0: none. By DR and TUN of a firewall mark the kernel knows no port, and `address` has
    /// none, but checks and operators have.
    pub written_port: u16,
    /// Forwarding method (`lb_kind`, `lvs_method`).
    pub forwarding: Forwarding,
    /// Weight while up, 0-2147483647.
    pub weight: u32,
    /// On failure weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// Connections above which no new ones are sent; 0 = no limit.
    pub upper_threshold: u32,
    /// Connections below which it is used again.
    pub lower_threshold: u32,
    /// Its checkers; all must be up. Without any it is always up.
    pub checkers: Vec<Checker>,
    /// How it is checked that it takes packets for the VIP; None where it is not.
    pub path_check: Option<Arc<PathCheck>>,
    /// `notify_up` and `notify_down`.
    pub commands: Option<Arc<UpDown>>,
    /// Mails are sent (`smtp_alert`).
    pub is_mailed: bool,
}

impl RealServer {
    /// Address and port as the file has them, which is how operators name the server.
    pub fn named(&self) -> SocketAddr {
        match self.address.port() {
            0 => SocketAddr::new(self.address.ip(), self.written_port),
            _ => self.address,
        }
    }
}

/// A checker of a real server: the specification is shared, these options are the subscriber's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checker {
    /// What is asked.
    pub spec: Arc<CheckerSpec>,
    /// Down until the first pass (`alpha`); otherwise up until the first failure.
    pub alpha: bool,
}

/// How it is checked that real servers take packets for the VIP (`path_check`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PathCheck {
    /// When, and how many failures count: as of the real server's own check.
    pub timing: Arc<Timing>,
    /// Time for an answer.
    pub connect_timeout: Duration,
    /// The port that is asked at the VIP.
    pub port: u16,
    /// Down until the first pass.
    pub alpha: bool,
}

impl VirtualServerId {
    /// Address family of its packets.
    pub fn family(&self) -> Family {
        match self {
            VirtualServerId::Address { address, .. } => Family::of(*address),
            VirtualServerId::Fwmark { family, .. } => *family,
        }
    }

    /// Its VIP; None when it is one by firewall mark.
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            VirtualServerId::Address { address, .. } => Some(*address),
            VirtualServerId::Fwmark { .. } => None,
        }
    }
}

impl fmt::Display for VirtualServerId {
    /// `10.0.0.1:80 tcp`, `[fd00::1]:80 tcp`, `fwmark 7`, `fwmark 7 inet6`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VirtualServerId::Address { protocol, address, port } => {
                write!(f, "{} {protocol}", SocketAddr::new(*address, *port))
            }
            VirtualServerId::Fwmark { family: Family::Inet, mark } => write!(f, "fwmark {mark}"),
            VirtualServerId::Fwmark { family: Family::Inet6, mark } => write!(f, "fwmark {mark} inet6"),
        }
    }
}

impl From<VirtualServerId> for String {
    fn from(id: VirtualServerId) -> String {
        id.to_string()
    }
}

/// A text that is no virtual server's identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a virtual server: write ADDRESS:PORT PROTOCOL or fwmark MARK")]
pub struct NotAVirtualServer(String);

impl TryFrom<String> for VirtualServerId {
    type Error = NotAVirtualServer;

    fn try_from(text: String) -> Result<VirtualServerId, NotAVirtualServer> {
        text.parse()
    }
}

impl std::str::FromStr for VirtualServerId {
    type Err = NotAVirtualServer;

    fn from_str(text: &str) -> Result<VirtualServerId, NotAVirtualServer> {
        parse_id(text).ok_or_else(|| NotAVirtualServer(text.to_owned()))
    }
}

fn parse_id(text: &str) -> Option<VirtualServerId> {
    let mut words = text.split_whitespace();
    let first = words.next()?;
    if first == "fwmark" {
        let mark = words.next()?.parse().ok().filter(|m| *m != 0)?;
        let family = match words.next() {
            None => Family::Inet,
            Some("inet6") => Family::Inet6,
            Some(_) => return None,
        };
        return Some(VirtualServerId::Fwmark { family, mark });
    }
    let at: SocketAddr = first.parse().ok()?;
    let protocol = match words.next()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return None,
    };
    words.next().is_none().then_some(VirtualServerId::Address { protocol, address: at.ip(), port: at.port() })
}
