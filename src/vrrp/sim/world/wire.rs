//! Sockets, packets and frames: which node receives what, and what is lost on the way.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::World;
use super::happening::Happening;
use crate::net::types::LinkIndex;
use crate::vrrp::binding::sockets::SocketStates;
use crate::vrrp::io::{Datagram, Transmission};
use crate::vrrp::packet;
use crate::vrrp::sim::invariants;

impl World {
    /// Whether a link's queue takes one more frame; one that is full says when it is empty.
    pub(in crate::vrrp::sim) fn has_room(&mut self, node: usize, link: LinkIndex, name: &str) -> bool {
        let this = &mut self.nodes[node];
        let Some((room, pause)) = this.frame_queue else { return true };
        let used = this.queued.entry(link).or_default();
        if *used < room {
            *used += 1;
            return true;
        }
        if *used == room {
            *used += 1;
            let (incarnation, name) = (this.incarnation, name.to_owned());
            self.schedule(pause, Happening::QueueEmpties { node, incarnation, link, name });
        }
        false
    }

    /// Opens what was asked for and can be opened; the rest is tried again every second.
    pub(in crate::vrrp::sim) fn open_sockets(&mut self, node: usize) -> SocketStates {
        let this = &mut self.nodes[node];
        let mut listening = SocketStates::default();
        for endpoint in this.asked.iter().cloned() {
            let is_open = this.listening.contains(&endpoint);
            if let Some(failure) = this.refuses_sockets.filter(|_| !is_open) {
                listening.failed.insert(endpoint, failure);
            } else {
                listening.open.insert(endpoint);
            }
        }
        this.listening = Arc::new(listening.open.clone());
        this.unopened = listening.failed.clone();
        let incarnation = this.incarnation;
        if !listening.failed.is_empty() {
            self.schedule(Duration::from_secs(1), Happening::SocketsAreTried { node, incarnation });
        }
        listening
    }

    /// A packet leaves: every node with a matching socket receives it, unless the wire drops it.
    pub(in crate::vrrp::sim) fn send(&mut self, from: usize, transmission: &Transmission) {
        let Transmission { endpoint, destination, hop_limit, bytes } = transmission;
        let link = endpoint.link.unwrap_or_else(|| self.nodes[from].link("e0"));
        let source = match endpoint.source {
            IpAddr::V4(_) => <[u8; 4]>::try_from(&bytes[12..16]).expect("a source").into(),
            other => other,
        };
        let datagram = Datagram {
            link,
            protocol: endpoint.protocol,
            source,
            destination: *destination,
            hop_limit: *hop_limit,
            bytes: bytes.clone(),
        };
        let heard = packet::decode(&datagram).expect("own packets are well formed");
        let (vrid, priority) = (heard.advert.vrid, heard.advert.priority);
        if self.nodes[from].unopened.contains_key(endpoint) {
            self.trace(from, "cannot send: its socket is not open");
            return;
        }
        invariants::has_that_socket(self, from, endpoint);
        invariants::heard_before_it_claims(self, from, vrid, priority);
        if priority == 0 {
            invariants::leaves_what_it_does_not_hold(self, from, vrid, source);
        }
        invariants::speaks_from_its_own(self, from, vrid, priority, source);
        invariants::speaks_to_others(self, from, vrid, source, *destination);
        self.trace(from, &format!("advertises {vrid} with {priority} to {destination}"));
        let now = self.now;
        self.nodes[from].sent.push((now, vrid, priority, *destination));
        if priority > 0 {
            self.nodes[from].last_claim.insert(vrid, now);
        } else {
            self.nodes[from].last_claim.remove(&vrid);
        }
        self.inject(Some(from), datagram);
    }

    /// A packet is on the wire, of a node or of a stranger.
    pub(in crate::vrrp::sim) fn inject(&mut self, from: Option<usize>, datagram: Datagram) {
        let segment = match from {
            Some(from) => self.nodes[from].segment(datagram.link),
            None => Some("e0".to_owned()),
        };
        let Some(segment) = segment else { return };
        for node in 0..self.nodes.len() {
            if Some(node) == from || from.is_some_and(|from| self.deaf.contains(&(from, node))) {
                continue;
            }
            let links = self.nodes[node].hears(&segment, &datagram);
            let copies = 1 + u32::from(self.rng.u32(0..100) < self.duplication);
            for _ in 0..copies {
                if self.rng.u32(0..100) >= self.loss {
                    let longest = u64::try_from(self.delay.as_micros()).unwrap_or(1).max(31);
                    let after = Duration::from_micros(self.rng.u64(30..longest));
                    for link in links.iter().copied() {
                        let datagram = Datagram { link, ..datagram.clone() };
                        self.schedule(after, Happening::Arrives { node, datagram });
                    }
                }
            }
        }
    }
}
