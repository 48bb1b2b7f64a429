//! Examines a host, director or real server, for a configuration: each finding has its evidence, its reason and a fix.
//!
//! [`examine`] runs all checks; [`host_checks`] are settings, `director`, `arp_problem`, `firewall`, `routers` and
//! [`environment`] concern a director, `real_server` a real server. Pure: `cli` reads the host, prints, and performs safe
//! fixes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::director::status::Status;
use crate::host_setup::plan;
use crate::net::firewall::Rules;
use crate::net::question::Answer;
use crate::net::types::{Host, MacAddress};
use crate::syntax::diagnostic::Code;
use crate::vrrp::status::Status as RouterStatus;
use environment::Environment;
use host_checks::HostProblem;

mod arp_problem;
mod director;
pub(crate) mod environment;
mod firewall;
pub(crate) mod host_checks;
mod real_server;
mod routers;
mod service;
#[cfg(test)]
mod tests;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Clients fail, or soon will.
    Broken,
    /// Something fails now and then, or when a server does.
    Warning,
    /// What cannot be told from here, or surprises.
    Hint,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fix {
    /// A setting of this host, by its dotted name.
    Setting {
        name: String,
        /// The right value.
        value: String,
    },
    /// A link of this host is switched on.
    LinkUp(String),
    /// This host is prepared as a real server, by this command.
    Prepare(String),
    /// What is too much to be done unasked: a command, or words.
    ByHand(String),
    /// The same on another host.
    On(IpAddr, String),
}

impl Fix {
    /// Whether it may be done unasked: it can be undone, and takes nothing away.
    pub fn is_safe(&self) -> bool {
        matches!(self, Fix::Setting { .. } | Fix::LinkUp(_) | Fix::Prepare(_))
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fix::Setting { name, value } => write!(f, "sysctl -w {name}={value}"),
            Fix::LinkUp(link) => write!(f, "ip link set {link} up"),
            Fix::Prepare(text) | Fix::ByHand(text) => f.write_str(text),
            Fix::On(host, text) => write!(f, "on {host}: {text}"),
        }
    }
}

/// Something that is wrong, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a line.
    pub what: String,
    /// What was seen.
    pub evidence: String,
    /// Why it matters.
    pub why: String,
    /// What helps, where something does.
    pub fix: Option<Fix>,
}

/// A finding for machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// How bad it is.
    pub severity: Severity,
    /// What it is, in a line.
    pub what: String,
    /// What was seen.
    pub evidence: String,
    /// Why it matters.
    pub why: String,
    pub fix: Option<String>,
    /// Whether `lvsd doctor --fix` does it.
    pub is_safe_fix: bool,
}

impl From<Finding> for Listed {
    fn from(finding: Finding) -> Listed {
        Listed {
            severity: finding.severity,
            what: finding.what,
            evidence: finding.evidence,
            why: finding.why,
            is_safe_fix: finding.fix.as_ref().is_some_and(Fix::is_safe),
            fix: finding.fix.map(|fix| fix.to_string()),
        }
    }
}

/// The kernel's IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ipvs {
    /// It is there.
    Loaded,
    /// Its module is, and is not loaded.
    Loadable,
    Absent,
}

/// What the running lvsd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    /// What is wrong with itself.
    pub trouble: Option<String>,
    /// What it directs.
    pub director: Status,
    /// Its virtual routers; None when it has none.
    pub router: Option<RouterStatus>,
    /// The errors of the last reload, where it was rejected.
    pub rejected: Option<Vec<String>>,
}

/// An advertisement that arrived while it was listened for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Advert {
    /// The link it arrived on.
    pub link: String,
    /// The sender.
    pub source: IpAddr,
    /// Its virtual router.
    pub vrid: u8,
    /// Version of the protocol.
    pub version: u8,
    /// Its priority; 0: the Master leaves.
    pub priority: u8,
    /// The addresses it names.
    pub addresses: BTreeSet<IpAddr>,
}

/// A message of another director's sync daemon that was heard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SyncMessage {
    /// The link it arrived on.
    pub link: String,
    /// The sender.
    pub source: IpAddr,
    /// Its sync id.
    pub sync_id: u8,
}

/// A warning of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remark {
    /// Which one it is, where that is known.
    pub code: Option<Code>,
    /// Where: file, line and column.
    pub place: String,
    pub what: String,
    /// What to write.
    pub help: Option<String>,
}

/// A host, as far as it was looked at.
pub(crate) struct View<'a> {
    /// Its settings and own addresses.
    pub host: host_checks::HostFacts<'a>,
    /// Its links and addresses.
    pub network: &'a Host,
    /// The same, as the preparation of a real server reads it; None where only a director is examined.
    pub prepared: Option<&'a dyn plan::View>,
    pub ipvs: Ipvs,
    /// Directors that run on this host: name and process id.
    pub directors: Vec<(String, u32)>,
    /// Other programs that are known to change the kernel's table: name and process id.
    pub others: Vec<String>,
    /// The answer of its lvsd.
    pub running: Option<Running>,
    /// Why there is none, though an lvsd runs.
    pub silence: Option<String>,
    /// How many services its kernel has; None when that is not known.
    pub services: Option<usize>,
    /// Other hosts in the network that claim a VIP.
    pub holders: BTreeSet<(IpAddr, MacAddress)>,
    /// The addresses that were asked for.
    pub asked: BTreeSet<IpAddr>,
    /// Advertisements of virtual routers, those of its own aside.
    pub adverts: BTreeSet<Advert>,
    /// Messages of other directors' sync daemons.
    pub sync_messages: BTreeSet<SyncMessage>,
    /// Warnings of the configuration.
    pub remarks: Vec<Remark>,
    /// What else is on this host.
    pub environment: Environment,
    /// Addresses by the link-layer address they were seen at.
    pub names: BTreeMap<MacAddress, BTreeSet<IpAddr>>,
    /// What this host's own links tell their neighbours of a VIP.
    pub answers: Vec<(IpAddr, Answer)>,
    /// What of its firewall could be read.
    pub firewall: Rules,
    /// The command that prepares this host as a real server.
    pub prepare: String,
    /// The configuration is YAML.
    pub is_yaml: bool,
}

/// What this host is to a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Role {
    /// It directs, or nothing says that it does not.
    pub is_director: bool,
    /// One of the real servers has its address.
    pub is_real_server: bool,
}

/// What a host of these addresses is; a real server is a director, too, while a director runs there.
pub(crate) fn role(config: &Config, own: &BTreeSet<IpAddr>, has_director: bool) -> Role {
    let mut reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let is_real_server = reals.any(|real| own.contains(&real.address.ip()));
    Role { is_director: !is_real_server || has_director, is_real_server }
}

/// All that is found, the worst first.
pub(crate) fn examine(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let role = role(config, &view.host.own, !view.directors.is_empty());
    let mut found = Vec::new();
    if role.is_director {
        director::check(config, view, &mut found);
        arp_problem::check(config, view, &mut found);
        firewall::check(config, view, &mut found);
        routers::check(config, view, &mut found);
        environment::check(config, view, &mut found);
    }
    if role.is_real_server {
        real_server::check(config, view, role, &mut found);
    }
    found.sort_by_key(|finding| finding.severity);
    found
}

/// What a running director examines itself every 30 seconds: settings, links, addresses, the firewall, and other hosts
/// that answer for its VIPs. No hints.
pub(crate) fn of_host(config: &Config, settings: Vec<HostProblem>, view: &View<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    director::of_host(config, settings, view, true, &mut found);
    arp_problem::check(config, view, &mut found);
    firewall::check(config, view, &mut found);
    found.retain(|finding| finding.severity != Severity::Hint);
    found.sort_by_key(|finding| finding.severity);
    found
}

/// `10.0.0.1`, or `10.0.0.1 and 3 more`.
fn first_of(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => one.clone(),
        [one, more @ ..] => format!("{one} and {} more", more.len()),
    }
}
