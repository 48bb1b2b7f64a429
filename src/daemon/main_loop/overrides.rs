//! Operators' orders about real servers: each is answered once it holds, with what it does not do.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use super::super::control::{Ordered, Reply};
use super::super::sysctls;
use super::Shell;
use crate::config::VirtualServer;
use crate::director::admin_override::{OverrideChange, Selector};

/// An order whose command waits for an answer.
pub(crate) struct PendingOverride {
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) selector: Selector,
    pub(super) change: OverrideChange,
}

impl Shell {
    /// An order is answered once it holds, with what it does not do.
    pub(super) fn answer_override(&mut self) {
        let Some(PendingOverride { reply, selector, change }) = self.pending_override.take() else { return };
        let servers = self.director.select(&selector);
        let ids: BTreeSet<_> = servers.iter().map(|(id, _)| *id).collect();
        let persistent = self.config.virtual_servers.iter().filter(|s| ids.contains(&s.id));
        let mut remarks: Vec<String> =
            persistent.filter_map(|server| persistence_remark(server, change)).collect();
        if let Some(error) = &self.unsaved {
            remarks.push(format!(
                "this order holds now, but would not survive a restart: the state file cannot be written: {error}; it \
                 is tried again, and `lvsd status` says so while it fails"
            ));
        }
        // The requester has gone: nothing to send.
        let _ = reply.send(Reply::Ordered(Ordered { servers, remarks }));
    }
}

/// What persistence does to an order about a real server of a virtual server, where the kernel keeps its clients there.
fn persistence_remark(server: &VirtualServer, change: OverrideChange) -> Option<String> {
    let timeout = server.persistence.as_ref()?.timeout;
    if sysctls::read(sysctls::EXPIRES_TEMPLATES).is_ok_and(|value| value != "0") {
        return None;
    }
    let (id, setting) = (server.id, sysctls::full(sysctls::EXPIRES_TEMPLATES));
    match change {
        OverrideChange::Drain { limit } => Some(format!(
            "virtual server {id} is persistent and {setting} is 0: clients it knows go on to the drained server until \
             they have been silent for {timeout} s; what is left after {} s is cut",
            limit.as_secs()
        )),
        OverrideChange::Weight(Some(0)) => Some(format!(
            "virtual server {id} is persistent and {setting} is 0: clients it knows go on to the server of weight 0 \
             until they have been silent for {timeout} s; `lvsd drain` sends them elsewhere at once"
        )),
        _ => None,
    }
}
