//! What will happen in the world at a point in virtual time, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::World;
use crate::net::types::{Host, LinkIndex, Op, Refusal};
use crate::script::Ending;
use crate::vrrp::io::{CrashPlan, Datagram, Input};
use crate::vrrp::settings::TrackTarget;

/// Something that will happen.
pub(super) enum Happening {
    Arrives {
        node: usize,
        datagram: Datagram,
    },
    KernelActs {
        node: usize,
        incarnation: u32,
        ops: Vec<Op>,
    },
    KernelAnswers {
        node: usize,
        incarnation: u32,
        refusals: Vec<Refusal>,
    },
    /// The oldest event that has not been heard arrives.
    KernelTells {
        node: usize,
        incarnation: u32,
    },
    /// The host is read at this moment; the router is told later.
    HostIsRead {
        node: usize,
        incarnation: u32,
    },
    HostWasRead {
        node: usize,
        incarnation: u32,
        host: Host,
    },
    ReadsAgain {
        node: usize,
        incarnation: u32,
    },
    CatchesUp {
        node: usize,
        incarnation: u32,
    },
    SocketsAreTried {
        node: usize,
        incarnation: u32,
    },
    QueueEmpties {
        node: usize,
        incarnation: u32,
        link: LinkIndex,
        name: String,
    },
    GuardianActs {
        node: usize,
        crash_plan: Arc<CrashPlan>,
    },
    /// A hand-over's time is over.
    NobodyClaims {
        node: usize,
        incarnation: u32,
        crash_plan: Arc<CrashPlan>,
    },
    /// A process that is stopped was silent for longer than its guardian allows.
    IsSilent {
        node: usize,
        pause: u32,
    },
    /// What is followed has its first result.
    FirstResult {
        node: usize,
        incarnation: u32,
        target: TrackTarget,
    },
    /// A command of `assert` ends.
    CommandEnds {
        node: usize,
        incarnation: u32,
        number: u64,
        ending: Ending,
    },
}

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrives { node, datagram } => {
                // It was on its way when the socket was closed, or the link went down.
                let link = self.nodes[node].host.host().links.get(&datagram.link);
                if link.is_some_and(|link| link.is_working()) {
                    self.handle(node, Input::Received(datagram));
                }
            }
            Happening::KernelActs { node, incarnation, ops } => {
                // The last wish of a dead process may or may not have reached the kernel.
                if incarnation != self.nodes[node].incarnation && self.rng.bool() {
                    return;
                }
                // What happened before is an event already.
                self.collect_news(node);
                let refusals = self.nodes[node].host.apply(&ops);
                self.collect_news(node);
                // An answer comes after its events.
                let last_event = self.nodes[node].last_event.since(self.now);
                let after = Duration::from_micros(self.rng.u64(1..500)).max(last_event);
                self.schedule(after, Happening::KernelAnswers { node, incarnation, refusals });
            }
            Happening::KernelAnswers { node, incarnation, refusals } => {
                if incarnation == self.nodes[node].incarnation {
                    self.nodes[node].is_asking = false;
                    self.handle(node, Input::Applied(refusals));
                }
            }
            Happening::KernelTells { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation
                    && let Some(event) = self.nodes[node].host_events.pop_front()
                {
                    self.hear(node, event);
                }
            }
            Happening::HostIsRead { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    let host = self.nodes[node].host.host().clone();
                    let after = self.while_reading();
                    self.schedule(after, Happening::HostWasRead { node, incarnation, host });
                }
            }
            Happening::HostWasRead { node, incarnation, host } => {
                if incarnation == self.nodes[node].incarnation {
                    self.host_was_read(node, host);
                }
            }
            Happening::ReadsAgain { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    self.read(node);
                }
            }
            Happening::SocketsAreTried { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation && !self.nodes[node].unopened.is_empty() {
                    let listening = self.open_sockets(node);
                    self.handle(node, Input::Sockets(listening));
                }
            }
            Happening::QueueEmpties { node, incarnation, link, name } => {
                self.nodes[node].queued.remove(&link);
                let is_there = self.nodes[node].host.host().links.contains_key(&link);
                if incarnation == self.nodes[node].incarnation && is_there {
                    self.handle(node, Input::Writable(name));
                }
            }
            Happening::CatchesUp { node, incarnation } if self.nodes[node].is_paused => {
                self.schedule(Duration::from_millis(1), Happening::CatchesUp { node, incarnation });
            }
            Happening::CatchesUp { node, incarnation } => {
                if incarnation == self.nodes[node].incarnation {
                    while let Some(datagram) = self.nodes[node].arrived.pop_front() {
                        self.handle(node, Input::Received(datagram));
                    }
                    self.handle(node, Input::CaughtUp);
                }
            }
            Happening::FirstResult { node, incarnation, target } => {
                let this = &self.nodes[node];
                if let Some(level) =
                    this.tracks.get(&target).copied().filter(|_| incarnation == this.incarnation)
                {
                    self.handle(node, Input::Tracked { target, level });
                }
            }
            Happening::CommandEnds { node, incarnation, number, ending } => {
                self.command_ended(node, incarnation, number, ending);
            }
            Happening::NobodyClaims { node, incarnation, crash_plan } => {
                if incarnation == self.nodes[node].incarnation
                    && self.nodes[node].handed_over.take().is_some()
                {
                    self.happen(Happening::GuardianActs { node, crash_plan });
                }
            }
            Happening::IsSilent { node, pause } => {
                let this = &self.nodes[node];
                if this.is_paused && this.pauses == pause && this.router.is_some() {
                    let (crash_plan, listening) = (Arc::clone(&this.crash_plan), Arc::clone(&this.listening));
                    self.happen(Happening::GuardianActs { node, crash_plan });
                    // The process still has its sockets.
                    self.nodes[node].listening = listening;
                }
            }
            Happening::GuardianActs { node, crash_plan } => {
                self.trace(node, "its guardian acts");
                // A new process may have its own sockets by now.
                let others = Arc::clone(&self.nodes[node].listening);
                for priority_zero in &crash_plan.priority_zero {
                    self.nodes[node].listening = Arc::new(BTreeSet::from([priority_zero.endpoint.clone()]));
                    self.send(node, priority_zero);
                }
                self.nodes[node].listening = others;
                for (link, prefixes) in &crash_plan.addresses {
                    for prefix in prefixes {
                        let op = Op::RemoveAddress { link: *link, prefix: *prefix };
                        self.nodes[node].host.apply(&[op]);
                    }
                }
            }
        }
    }
}
