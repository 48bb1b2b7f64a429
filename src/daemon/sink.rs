//! Where events go: the log. The only place that logs changes of state, so that log and status never disagree.

use tracing::{error, info, warn};

use crate::director::event::{Event, Severity};
use crate::vrrp::event as vrrp;

/// Prefix of the fields that repeat a message for machines; the text form of the log leaves them out.
pub const MACHINE_FIELDS: &str = "event";

/// Logs an event: a sentence for people, and as fields for machines what it is and whom it is about.
pub fn log(event: &Event) {
    let subject = event.subject();
    let (server, real) = (subject.virtual_server.as_deref(), subject.real_server.as_deref());
    let kind = event.kind();
    match event.severity() {
        Severity::Info => {
            info!(event = kind, event.virtual_server = server, event.real_server = real, "{event}")
        }
        Severity::Warn => {
            warn!(event = kind, event.virtual_server = server, event.real_server = real, "{event}")
        }
        Severity::Error => {
            error!(event = kind, event.virtual_server = server, event.real_server = real, "{event}");
        }
    }
}

/// Logs an event of the router in the same form.
pub fn log_router(event: &vrrp::Event) {
    let (kind, instance) = (event.kind(), event.instance());
    match event.severity() {
        vrrp::Severity::Info => info!(event = kind, event.instance = instance, "{event}"),
        vrrp::Severity::Warn => warn!(event = kind, event.instance = instance, "{event}"),
        vrrp::Severity::Error => error!(event = kind, event.instance = instance, "{event}"),
    }
}
