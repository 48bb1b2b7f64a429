//! What the director reports: one value per change of state, for the log and for notifications alike.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::admin_override::AdminOverride;
use super::arp_problem;
use super::problems::{self, Problem};
use super::staying::STAY_LIMIT;
use crate::check::outcome::CertificateTime;
use crate::config::VirtualServerId;
use crate::net::types::MacAddress;
pub(crate) use crate::vrrp::event::Severity;

/// Something changed that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel's table is what configuration and health say, for the first time since the start.
    Ready {
        /// Services in the table.
        services: usize,
        destinations: usize,
    },
    /// A real server's health changed.
    RealServer {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// Whether it is up now.
        is_up: bool,
        /// Why, in the operator's words.
        reason: String,
    },
    /// A checker asked for another weight (MISC_CHECK with `misc_dynamic`).
    Weight {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// Its weight from now on, while it serves and no order says otherwise.
        weight: u32,
        /// What the checkers said.
        reason: String,
    },
    /// A failing attempt of a checker (with keepalived's `log_all_failures`).
    Attempt {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Address and port it checked.
        target: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// A checker could not run for several intervals: the verdict that is held is not to be believed any more.
    Stale {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Address and port it checks.
        target: SocketAddr,
        /// The verdict that is held; None before the first.
        is_up: Option<bool>,
        /// For how long.
        unchecked_for: Duration,
        /// Why it cannot run.
        reason: String,
    },
    /// A check that virtual routers track came up, went down, or has its first verdict.
    TrackCheck {
        name: String,
        /// Whether it is up now.
        is_up: bool,
        /// Why, in the operator's words.
        reason: String,
    },
    /// A checker cannot run for a reason of this host, or can again.
    Inconclusive {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Address and port it checks.
        target: SocketAddr,
        /// The reason while it cannot; None once it can again.
        reason: Option<String>,
    },
    /// Checks that run only while this host has the VIP stop, or begin again.
    Suspended {
        vip: IpAddr,
        /// Virtual servers of it whose checks they are.
        servers: usize,
        /// Whether they stop.
        is_suspended: bool,
    },
    /// An operator gave an order about a real server, or took it back.
    Override {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// What holds now.
        admin: AdminOverride,
    },
    /// A healthy real server that the configuration takes out serves on until it is replaced, or for as long as it may.
    Stays {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// It stayed as long as it may, and nothing that replaces it has come up.
        is_over: bool,
    },
    /// A destination that was leaving is gone.
    Left {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// Active connections that were cut at the deadline.
        cut: u32,
    },
    /// The certificate a checker was shown must be renewed, is over, or was renewed.
    Certificate {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Address and port it checks.
        target: SocketAddr,
        /// What is to be said of it now.
        time: CertificateTime,
        /// How long it is still valid.
        expires_in: Duration,
    },
    /// A virtual server gained or lost quorum.
    Quorum {
        virtual_server: VirtualServerId,
        /// Whether it has quorum now.
        has_quorum: bool,
        /// Weight of its live real servers.
        weight: u64,
        /// Weight it needs.
        quorum: u32,
    },
    /// The sorry server began to serve, or no longer serves.
    SorryServer {
        /// For which virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        sorry_server: SocketAddr,
        /// Whether it serves now.
        is_active: bool,
    },
    /// A service that was in the kernel already is ours now.
    Adopted {
        service: VirtualServerId,
        /// Destinations found with it.
        destinations: usize,
    },
    /// A service that is not configured appeared in the kernel, or is gone. It is left alone.
    Foreign {
        service: VirtualServerId,
        /// Whether it is there now.
        is_present: bool,
    },
    /// Another program changed one of our services; it is repaired.
    Drift {
        service: VirtualServerId,
        /// What was found.
        what: String,
    },
    /// Clients of a virtual server suffer, or no longer.
    Problem {
        virtual_server: VirtualServerId,
        /// What they suffer, or suffered last.
        problem: Problem,
        /// It is over.
        is_over: bool,
    },
    /// The kernel refuses a part of a service; the rest of it works, and it is tried again.
    Degraded {
        service: VirtualServerId,
        /// The kernel's reason.
        reason: String,
    },
    /// A degraded service is whole again.
    Restored { service: VirtualServerId },
    /// This host is one of a virtual server's real servers, or no longer.
    Colocated {
        virtual_server: VirtualServerId,
        /// What is done about it, in words; None when it is one no longer.
        what: Option<String>,
        /// Whether that does not help every request.
        has_limits: bool,
    },
    /// A real server answers its neighbours for the VIP, or no longer.
    ArpProblem {
        /// Its virtual server.
        virtual_server: VirtualServerId,
        /// Address and port.
        real_server: SocketAddr,
        /// The link-layer address it answers with, while it does.
        mac: Option<MacAddress>,
    },
    /// The kernel does not answer as it should, or does again.
    Kernel {
        /// What is wrong; None once it answers again.
        trouble: Option<String>,
    },
}

/// What an event is about, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// Virtual server, or a service in the kernel.
    pub virtual_server: Option<String>,
    /// Real server, sorry server, or the target of a checker.
    pub real_server: Option<String>,
}

impl Event {
    /// Its name for machines; a field of its line in the log.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Ready { .. } => "ready",
            Event::RealServer { is_up: true, .. } => "real_server_up",
            Event::RealServer { is_up: false, .. } => "real_server_down",
            Event::Weight { .. } => "real_server_weight",
            Event::Attempt { .. } => "attempt_failed",
            Event::Stale { .. } => "checker_stale",
            Event::TrackCheck { is_up: true, .. } => "vrrp_check_up",
            Event::TrackCheck { is_up: false, .. } => "vrrp_check_down",
            Event::Inconclusive { reason: Some(_), .. } => "checker_unverified",
            Event::Inconclusive { reason: None, .. } => "checker_verified",
            Event::Suspended { is_suspended: true, .. } => "checks_suspended",
            Event::Suspended { is_suspended: false, .. } => "checks_resumed",
            Event::Override { .. } => "order",
            Event::Stays { is_over: false, .. } => "real_server_stays",
            Event::Stays { is_over: true, .. } => "real_server_not_replaced",
            Event::Left { .. } => "real_server_left",
            Event::Certificate { time: CertificateTime::Short, .. } => "certificate_expiring",
            Event::Certificate { time: CertificateTime::Over, .. } => "certificate_expired",
            Event::Certificate { time: CertificateTime::Enough, .. } => "certificate_renewed",
            Event::Quorum { has_quorum: true, .. } => "quorum_gained",
            Event::Quorum { has_quorum: false, .. } => "quorum_lost",
            Event::SorryServer { is_active: true, .. } => "sorry_server_serves",
            Event::SorryServer { is_active: false, .. } => "sorry_server_relieved",
            Event::Adopted { .. } => "service_adopted",
            Event::Foreign { is_present: true, .. } => "foreign_service_found",
            Event::Foreign { is_present: false, .. } => "foreign_service_gone",
            Event::Drift { .. } => "drift_repaired",
            Event::Problem { is_over: false, .. } => "problem",
            Event::Problem { is_over: true, .. } => "problem_over",
            Event::Degraded { .. } => "service_degraded",
            Event::Restored { .. } => "service_restored",
            Event::Colocated { what: Some(_), .. } => "colocated",
            Event::Colocated { what: None, .. } => "colocated_no_more",
            Event::ArpProblem { mac: Some(_), .. } => "vip_leak",
            Event::ArpProblem { mac: None, .. } => "vip_leak_over",
            Event::Kernel { trouble: Some(_) } => "kernel_trouble",
            Event::Kernel { trouble: None } => "kernel_well",
        }
    }

    /// The servers it is about.
    pub fn subject(&self) -> Subject {
        let (virtual_server, real_server) = match self {
            Event::RealServer { virtual_server, real_server, .. }
            | Event::Weight { virtual_server, real_server, .. }
            | Event::Override { virtual_server, real_server, .. }
            | Event::Stays { virtual_server, real_server, .. }
            | Event::Left { virtual_server, real_server, .. }
            | Event::ArpProblem { virtual_server, real_server, .. }
            | Event::SorryServer { virtual_server, sorry_server: real_server, .. } => {
                (Some(virtual_server.to_string()), Some(real_server))
            }
            Event::Problem { virtual_server, problem: Problem::HalfOpen { real_server, .. }, .. } => {
                (Some(virtual_server.to_string()), Some(real_server))
            }
            Event::Quorum { virtual_server, .. }
            | Event::Colocated { virtual_server, .. }
            | Event::Problem { virtual_server, .. } => (Some(virtual_server.to_string()), None),
            Event::Attempt { target, .. }
            | Event::Inconclusive { target, .. }
            | Event::Stale { target, .. }
            | Event::Certificate { target, .. } => (None, Some(target)),
            Event::Adopted { service: virtual_server, .. }
            | Event::Foreign { service: virtual_server, .. }
            | Event::Drift { service: virtual_server, .. }
            | Event::Degraded { service: virtual_server, .. }
            | Event::Restored { service: virtual_server } => (Some(virtual_server.to_string()), None),
            Event::Ready { .. }
            | Event::Kernel { .. }
            | Event::Suspended { .. }
            | Event::TrackCheck { .. } => (None, None),
        };
        Subject { virtual_server, real_server: real_server.map(ToString::to_string) }
    }

    /// The level of its line in the log.
    pub fn severity(&self) -> Severity {
        match self {
            Event::Kernel { trouble: Some(_) }
            | Event::Degraded { .. }
            | Event::Stale { .. }
            | Event::Problem { is_over: false, .. } => Severity::Error,
            Event::RealServer { is_up: false, .. }
            | Event::TrackCheck { is_up: false, .. }
            | Event::Stays { is_over: true, .. }
            | Event::Quorum { has_quorum: false, .. }
            | Event::Drift { .. }
            | Event::Inconclusive { reason: Some(_), .. }
            | Event::Certificate { time: CertificateTime::Short | CertificateTime::Over, .. }
            | Event::Colocated { has_limits: true, .. }
            | Event::ArpProblem { mac: Some(_), .. }
            | Event::Foreign { is_present: true, .. }
            | Event::SorryServer { is_active: true, .. } => Severity::Warn,
            _ => Severity::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Ready { services, destinations } => {
                let (services, destinations) =
                    (count(*services, "service"), count(*destinations, "destination"));
                write!(f, "ready: {services} with {destinations} in the kernel")
            }
            Event::RealServer { virtual_server, real_server, is_up, reason } => {
                let state = if *is_up { "up" } else { "down" };
                write!(f, "real server {real_server} of virtual server {virtual_server} is {state}: {reason}")
            }
            Event::Weight { virtual_server, real_server, weight, reason } => {
                write!(
                    f,
                    "real server {real_server} of virtual server {virtual_server} has weight {weight}: {reason}"
                )
            }
            Event::Attempt { checker, target, reason } => write!(f, "{checker} of {target} failed: {reason}"),
            Event::Stale { checker, target, is_up, unchecked_for, reason } => {
                let held = match is_up {
                    Some(true) => "it still counts as up, and clients may be sent to a dead server",
                    Some(false) => "it still counts as down, and may be well",
                    None => "it was never checked",
                };
                let seconds = unchecked_for.as_secs();
                write!(f, "{target} could not be checked for {seconds} s ({checker}): {held}: {reason}")
            }
            Event::TrackCheck { name, is_up, reason } => {
                let verb = if *is_up { "succeeded" } else { "failed" };
                write!(f, "vrrp_check {name}: {verb}: {reason}")
            }
            Event::Inconclusive { checker, target, reason: Some(reason) } => {
                write!(f, "{checker} of {target} cannot run here, its verdict is held: {reason}")
            }
            Event::Inconclusive { checker, target, reason: None } => {
                write!(f, "{checker} of {target} runs again")
            }
            Event::Suspended { vip, servers, is_suspended } => {
                let servers = count(*servers, "virtual server");
                match is_suspended {
                    true => write!(
                        f,
                        "checks for {servers} of {vip} are suspended: this host does not have {vip}, and the \
                         last verdicts stand"
                    ),
                    false => write!(f, "checks for {servers} of {vip} run: this host has {vip}"),
                }
            }
            Event::Override { virtual_server, real_server, admin } => {
                let what = if admin.is_none() { "as configured".to_owned() } else { admin.to_string() };
                write!(f, "real server {real_server} of virtual server {virtual_server}: by order {what}")
            }
            Event::Stays { virtual_server, real_server, is_over } => {
                let minutes = STAY_LIMIT.as_secs() / 60;
                write!(f, "real server {real_server} of virtual server {virtual_server} ")?;
                match is_over {
                    false => write!(
                        f,
                        "serves until what replaces it is up, for {minutes} minutes at most: the configuration \
                         takes it out"
                    ),
                    true => {
                        write!(f, "leaves after {minutes} minutes although nothing that replaces it is up")
                    }
                }
            }
            Event::Left { virtual_server, real_server, cut } => {
                write!(f, "real server {real_server} has left virtual server {virtual_server}")?;
                match cut {
                    0 => Ok(()),
                    n => write!(f, ", {} cut at the deadline", count(*n as usize, "connection")),
                }
            }
            Event::Certificate { checker, target, time, expires_in } => {
                let left = match expires_in.as_secs() / 86_400 {
                    0 => "less than a day".to_owned(),
                    days => count(usize::try_from(days).unwrap_or(usize::MAX), "day"),
                };
                write!(f, "{checker} of {target}: ")?;
                match time {
                    CertificateTime::Over => f.write_str("certificate has expired"),
                    CertificateTime::Short => write!(f, "certificate expires in {left}"),
                    CertificateTime::Enough => write!(f, "certificate is good again, for {left}"),
                }
            }
            Event::Quorum { virtual_server, has_quorum, weight, quorum } => {
                let verb = if *has_quorum { "gained" } else { "lost" };
                write!(f, "virtual server {virtual_server} {verb} quorum: weight {weight}, quorum {quorum}")
            }
            Event::SorryServer { virtual_server, sorry_server, is_active } => {
                let state = if *is_active { "serves" } else { "is no longer active" };
                write!(f, "sorry server {sorry_server} of virtual server {virtual_server} {state}")
            }
            Event::Adopted { service, destinations } => {
                write!(
                    f,
                    "service {service}: adopted from the kernel with {}",
                    count(*destinations, "destination")
                )
            }
            Event::Foreign { service, is_present: true } => {
                write!(f, "service {service}: in the kernel but not in the configuration, left alone")
            }
            Event::Foreign { service, is_present: false } => write!(f, "service {service}: foreign, gone"),
            Event::Drift { service, what } => {
                write!(
                    f,
                    "service {service}: changed by another program, repaired: {what}; what is to stay is said by \
                     the configuration, or by lvsd weight, drain and disable"
                )
            }
            Event::Problem { virtual_server, problem, is_over: false } => {
                write!(f, "virtual server {virtual_server}: {problem}; {}", problem.advice())
            }
            Event::Problem { virtual_server, problem, is_over: true } => {
                write!(f, "virtual server {virtual_server}: {}", problems::over(problem))
            }
            Event::Degraded { service, reason } => write!(f, "service {service}: degraded: {reason}"),
            Event::Restored { service } => write!(f, "service {service}: whole again"),
            Event::Colocated { virtual_server, what: Some(what), .. } => {
                write!(f, "virtual server {virtual_server}: {what}")
            }
            Event::Colocated { virtual_server, what: None, .. } => {
                write!(f, "virtual server {virtual_server}: this host is none of its real servers any more")
            }
            Event::ArpProblem { virtual_server, real_server, mac } => {
                let question = virtual_server.address().map_or("ARP", arp_problem::question);
                write!(
                    f,
                    "real server {real_server} of virtual server {virtual_server} answers {question} for the VIP"
                )?;
                match mac {
                    Some(mac) => write!(f, " (MAC {mac}): some clients go straight there"),
                    None => f.write_str(" no longer"),
                }
            }
            Event::Kernel { trouble: Some(trouble) } => write!(f, "kernel: {trouble}"),
            Event::Kernel { trouble: None } => write!(f, "kernel: answers again"),
        }
    }
}

/// `1 service`, `2 services`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
