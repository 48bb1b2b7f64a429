//! What the director tells the world: one value per change of state, for log, scripts, metrics and history alike.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use crate::config::VirtualServerId;
use crate::ipvs::types::ServiceKey;

/// Something changed that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The kernel's table is what configuration and health say, for the first time since the start.
    Ready {
        /// Services in the table.
        services: usize,
        /// Their destinations.
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
    /// A failing attempt of a checker (with keepalived's `log_all_failures`).
    Attempt {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Whom it asked.
        target: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// A checker cannot run for a reason of this host, or can again.
    Unverified {
        /// keepalived's word for the checker.
        checker: &'static str,
        /// Whom it asks.
        target: SocketAddr,
        /// The reason while it cannot; None once it can again.
        reason: Option<String>,
    },
    /// A virtual server gained or lost quorum.
    Quorum {
        /// Which.
        virtual_server: VirtualServerId,
        /// Whether it has quorum now.
        has_quorum: bool,
        /// Weight of its live real servers.
        weight: u64,
        /// Weight it needs.
        quorum: u32,
    },
    /// The sorry server took over, or was relieved.
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
        /// Which.
        #[serde(serialize_with = "as_text")]
        service: ServiceKey,
        /// Destinations found with it.
        destinations: usize,
    },
    /// A service nobody configured appeared in the kernel, or went. It is left alone.
    Foreign {
        /// Which.
        #[serde(serialize_with = "as_text")]
        service: ServiceKey,
        /// Whether it is there now.
        is_present: bool,
    },
    /// Somebody else changed one of our services; it is put right again.
    Drift {
        /// Which.
        #[serde(serialize_with = "as_text")]
        service: ServiceKey,
        /// What was found.
        what: String,
    },
    /// The kernel refuses a part of a service; the rest of it works, and it is tried again.
    Degraded {
        /// Which.
        #[serde(serialize_with = "as_text")]
        service: ServiceKey,
        /// The kernel's reason.
        reason: String,
    },
    /// A degraded service is whole again.
    Restored {
        /// Which.
        #[serde(serialize_with = "as_text")]
        service: ServiceKey,
    },
    /// The kernel does not answer as it should, or does again.
    Kernel {
        /// What is wrong; None once it answers again.
        trouble: Option<String>,
    },
}

/// How urgently somebody should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A transition.
    Info,
    /// An operator should look.
    Warn,
    /// The director cannot do its job.
    Error,
}

impl Event {
    /// How urgently somebody should look.
    pub fn severity(&self) -> Severity {
        match self {
            Event::Kernel { trouble: Some(_) } | Event::Degraded { .. } => Severity::Error,
            Event::RealServer { is_up: false, .. }
            | Event::Quorum { has_quorum: false, .. }
            | Event::Drift { .. }
            | Event::Unverified { reason: Some(_), .. }
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
                write!(f, "ready: {services} services with {destinations} destinations in the kernel")
            }
            Event::RealServer { virtual_server, real_server, is_up, reason } => {
                let state = if *is_up { "up" } else { "down" };
                write!(f, "real server {real_server} of virtual server {virtual_server} is {state}: {reason}")
            }
            Event::Attempt { checker, target, reason } => write!(f, "{checker} of {target} failed: {reason}"),
            Event::Unverified { checker, target, reason: Some(reason) } => {
                write!(f, "{checker} of {target} cannot run here, its verdict is held: {reason}")
            }
            Event::Unverified { checker, target, reason: None } => {
                write!(f, "{checker} of {target} runs again")
            }
            Event::Quorum { virtual_server, has_quorum, weight, quorum } => {
                let verb = if *has_quorum { "gained" } else { "lost" };
                write!(f, "virtual server {virtual_server} {verb} quorum: weight {weight} of {quorum} needed")
            }
            Event::SorryServer { virtual_server, sorry_server, is_active } => {
                let state = if *is_active { "serves" } else { "is relieved" };
                write!(f, "sorry server {sorry_server} of virtual server {virtual_server} {state}")
            }
            Event::Adopted { service, destinations } => {
                write!(f, "service {service}: adopted from the kernel with {destinations} destinations")
            }
            Event::Foreign { service, is_present: true } => {
                write!(f, "service {service}: in the kernel but not in the configuration, left alone")
            }
            Event::Foreign { service, is_present: false } => write!(f, "service {service}: foreign, gone"),
            Event::Drift { service, what } => {
                write!(f, "service {service}: changed by somebody else, put right again: {what}")
            }
            Event::Degraded { service, reason } => write!(f, "service {service}: degraded: {reason}"),
            Event::Restored { service } => write!(f, "service {service}: whole again"),
            Event::Kernel { trouble: Some(trouble) } => write!(f, "kernel: {trouble}"),
            Event::Kernel { trouble: None } => write!(f, "kernel: answers again"),
        }
    }
}

fn as_text<T: fmt::Display, S: serde::Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}
