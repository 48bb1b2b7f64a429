//! Where events go: the log. The only place that logs changes of state, so that log and status never disagree.

use tracing::{error, info, warn};

use crate::director::event::{Event, Severity};

/// Logs an event in words, with its parts as one field for machines.
pub fn log(event: &Event) {
    let fields = serde_json::to_string(event).unwrap_or_default();
    match event.severity() {
        Severity::Info => info!(target: "lvsd::event", event = fields, "{event}"),
        Severity::Warn => warn!(target: "lvsd::event", event = fields, "{event}"),
        Severity::Error => error!(target: "lvsd::event", event = fields, "{event}"),
    }
}
