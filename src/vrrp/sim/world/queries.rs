//! What tests ask of the world.

use std::collections::VecDeque;

use super::World;
use crate::time::Instant;
use crate::vrrp::io::{Datagram, State};
use crate::vrrp::status::{InstanceStatus, Status};

impl World {
    /// How a router is.
    pub(in crate::vrrp::sim) fn whole_status(&self, node: usize) -> Status {
        self.nodes[node].router.as_ref().expect("a router").status(self.now)
    }

    /// How an instance of a host is.
    pub(in crate::vrrp::sim) fn status(&self, node: usize, name: &str) -> InstanceStatus {
        let status = self.whole_status(node);
        status.instances.into_iter().find(|i| i.name == name).expect("an instance")
    }

    /// Its state; None while nothing runs there.
    pub(in crate::vrrp::sim) fn state(&self, node: usize, name: &str) -> Option<State> {
        let node = &self.nodes[node];
        node.router.as_ref().and_then(|_| node.states.get(name).copied())
    }

    /// The only Master of an instance; None when there is none or more than one.
    pub(in crate::vrrp::sim) fn master(&self, name: &str) -> Option<usize> {
        let is_master = |n: &usize| self.state(*n, name) == Some(State::Master);
        let mut masters = (0..self.nodes.len()).filter(is_master);
        masters.next().filter(|_| masters.next().is_none())
    }

    /// Whether a process runs there and is not stopped.
    pub(in crate::vrrp::sim) fn is_running(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        node.router.is_some() && !node.is_paused && !node.is_finished
    }

    /// Whether a process is there, stopped or not.
    pub(in crate::vrrp::sim) fn is_paused(&self, node: usize) -> bool {
        self.nodes[node].is_paused
    }

    /// Whether something but packets waits to be read by a process.
    pub(in crate::vrrp::sim) fn has_unread(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        !node.waiting.is_empty() || !node.host_events.is_empty() || node.reading.is_some()
    }

    /// What waits to be read by a process.
    pub(in crate::vrrp::sim) fn arrived(&self, node: usize) -> &VecDeque<Datagram> {
        &self.nodes[node].arrived
    }

    /// The times at which a host advertised a VRID, with the priorities.
    pub(in crate::vrrp::sim) fn sent(&self, node: usize, vrid: u8) -> Vec<(Instant, u8)> {
        self.nodes[node].sent.iter().filter(|s| s.1 == vrid).map(|s| (s.0, s.2)).collect()
    }

    /// Events of a host that are of a kind.
    pub(in crate::vrrp::sim) fn reported(&self, node: usize, kind: &str) -> Vec<String> {
        let events = self.nodes[node].events.iter().filter(|(_, e)| e.kind() == kind);
        events.map(|(_, e)| e.to_string()).collect()
    }
}
