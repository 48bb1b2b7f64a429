//! What a router learns of its host: readings of all of it, and the kernel's events in between.

use std::time::Duration;

use super::World;
use super::happening::Happening;
use crate::net::reading::Reading;
use crate::net::types::{Host, HostEvent};
use crate::vrrp::io::Input;

/// From one reading of the host to the next.
const READING_INTERVAL: Duration = Duration::from_secs(60);

impl World {
    /// A reading of the host begins, as after lost events.
    pub(in crate::vrrp::sim) fn read(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        match &mut self.nodes[node].reading {
            Some(reading) => reading.lose(),
            none => {
                *none = Some(Reading::default());
                let after = self.while_reading();
                self.schedule(after, Happening::HostIsRead { node, incarnation });
            }
        }
    }

    /// Events that are on their way are lost, and the host is read again.
    pub(in crate::vrrp::sim) fn lose_news(&mut self, node: usize) {
        self.collect_news(node);
        self.nodes[node].host_events.clear();
        self.read(node);
    }

    pub(in crate::vrrp::sim) fn while_reading(&mut self) -> Duration {
        let longest = u64::try_from(self.reading.as_micros()).unwrap_or(0).max(100);
        Duration::from_micros(self.rng.u64(1..=longest))
    }

    pub(in crate::vrrp::sim) fn read_again(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        let after = READING_INTERVAL + Duration::from_millis(self.rng.u64(0..6000));
        self.schedule(after, Happening::ReadsAgain { node, incarnation });
    }

    pub(in crate::vrrp::sim) fn host_was_read(&mut self, node: usize, host: Host) {
        // What has arrived is heard first.
        self.collect_news(node);
        while let Some(event) = self.nodes[node].host_events.pop_front() {
            self.hear(node, event);
        }
        let read = self.nodes[node].reading.take().and_then(|reading| reading.finish(host));
        match read {
            Some(host) => {
                self.handle(node, Input::Host(host));
                self.read_again(node);
            }
            None => self.read(node),
        }
    }

    pub(in crate::vrrp::sim) fn hear(&mut self, node: usize, event: HostEvent) {
        if let Some(reading) = &mut self.nodes[node].reading {
            reading.record(&event);
        }
        self.handle(node, Input::HostEvent(event));
    }

    pub(in crate::vrrp::sim) fn collect_news(&mut self, node: usize) {
        let incarnation = self.nodes[node].incarnation;
        for event in self.nodes[node].host.take_events() {
            if let HostEvent::AddressGone(held) = &event {
                self.nodes[node].lost.insert(held.prefix.ip, self.now);
            }
            self.nodes[node].host_events.push_back(event);
            let longest = u64::try_from(self.nodes[node].news_delay.as_micros()).unwrap_or(100);
            let delay =
                Duration::from_micros(if longest > 100 { self.rng.u64(100..longest) } else { longest });
            // One after the other, in order.
            let spacing = Duration::from_micros(50);
            let at = (self.nodes[node].last_event + spacing).max(self.now + delay);
            self.nodes[node].last_event = at;
            self.schedule(at.since(self.now), Happening::KernelTells { node, incarnation });
        }
    }
}
