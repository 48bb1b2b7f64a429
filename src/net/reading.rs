//! A host that is read while it changes: what is announced between the beginning of the reading and its end is newer
//! than what was read, and must not be lost with it.
//!
//! Every event that arrives during the reading is applied to what was read. It may be contained already, which does
//! no harm: events say how something is, not by how much it changed, and the last one about a thing decides.

use super::types::{Host, HostEvent};

/// Events that are kept while the host is read.
const MOST: usize = 65_536;

/// A reading that is under way.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    events: Vec<HostEvent>,
    is_overrun: bool,
}

impl Reading {
    /// The host changed.
    pub(crate) fn record(&mut self, event: &HostEvent) {
        if self.events.len() < MOST {
            self.events.push(event.clone());
        } else {
            self.is_overrun = true;
        }
    }

    /// Events were lost: what is being read may be older than they.
    pub(crate) fn lose(&mut self) {
        self.is_overrun = true;
    }

    /// The host as it is now; None when it has to be read again.
    pub(crate) fn finish(self, mut host: Host) -> Option<Host> {
        self.events.iter().for_each(|event| host.apply(event));
        Some(host).filter(|_| !self.is_overrun)
    }
}

impl Host {
    /// It changed.
    pub fn apply(&mut self, event: &HostEvent) {
        match event {
            HostEvent::Link(link) => drop(self.links.insert(link.clone())),
            HostEvent::LinkGone(index) => {
                self.links.remove(*index);
                self.addresses.remove_all(*index);
            }
            HostEvent::Address(held) => {
                self.addresses.insert(*held);
            }
            HostEvent::AddressGone(held) => {
                self.addresses.remove(held.link, held.prefix);
            }
            HostEvent::RouteGone(route) => self.routes.retain(|shown| !shown.is_same(route)),
            HostEvent::RuleGone(rule) => self.rules.retain(|shown| shown != rule),
            HostEvent::Neighbour(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::memory::MemoryHost;
    use crate::net::types::{LinkIndex, MacAddress, Prefix};

    #[test]
    fn a_host_that_changes_while_it_is_read_is_known_as_it_is_whenever_it_was_read() {
        let own = Prefix { ip: [10, 1, 0, 11].into(), length: 24 };
        for read_after in 0..7 {
            let mut memory = MemoryHost::new();
            let eth0 = memory.add_link("eth0", MacAddress([2, 0, 0, 0, 0, 1]));
            memory.take_events();
            let mut read = None;
            for step in 0..7 {
                if step == read_after {
                    read = Some(memory.host().clone());
                }
                match step {
                    0 | 4 => memory.add_address("eth0", own),
                    1 => memory.set_running(eth0, false),
                    2 => drop(memory.add_link("eth1", MacAddress([2, 0, 0, 0, 0, 2]))),
                    3 => memory.remove_address("eth0", own),
                    5 => memory.set_running(eth0, true),
                    _ => memory.remove_link(memory.host().link("eth1").unwrap().index),
                }
            }
            let mut reading = Reading::default();
            memory.take_events().iter().for_each(|event| reading.record(event));
            let found = reading.finish(read.unwrap()).unwrap();
            assert_eq!(&found, memory.host(), "read before step {read_after}");
        }
    }

    #[test]
    fn a_reading_that_missed_something_is_done_again() {
        let mut lost = Reading::default();
        lost.lose();
        assert_eq!(lost.finish(Host::default()), None);
        let mut flooded = Reading::default();
        (0..=MOST).for_each(|_| flooded.record(&HostEvent::LinkGone(LinkIndex(7))));
        assert_eq!(flooded.finish(Host::default()), None);
    }
}
