//! The director's inputs and effects: everything that crosses the line between decisions and the shell.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::admin_override::{OverrideChange, Selector};
use super::arp_problem::ArpProblems;
use super::colocation::LocalAddresses;
use super::colocation::placement::IngressMarks;
use super::event::Event;
use super::files::FileLevel;
use super::reconcile::Request;
use super::state::State;
use super::vrrp_link::HostForwards;
use crate::bfd::sessions::Level;
use crate::check::outcome::Outcome;
use crate::check::path::ProbePath;
use crate::check::schedule::RunId;
use crate::check::source::Sources;
use crate::check::spec::CheckerSpec;
use crate::config::Config;
use crate::ipvs::backend::{Error, Refusal, Snapshot};
use crate::ipvs::connections::{Flow, Handshakes};
use crate::net::tc::ingress::FwmarkRule;
use crate::notify::notification::Notification;
use crate::vrrp::io::{DirectorLevel, InstanceLevel};

/// An input of the director.
#[derive(Debug)]
pub enum Input {
    /// It is the time the director asked for.
    Wake,
    /// A probe of [`Effect::StartProbe`] ended.
    ProbeDone {
        /// The run that began.
        run: RunId,
        /// What the probe found.
        outcome: Outcome,
    },
    /// The kernel answered a read.
    Snapshot(Result<Snapshot, Error>),
    /// The kernel answered a write: what it refused, by the index of the operation; empty when all was done.
    Applied(Result<Vec<Refusal>, Error>),
    /// A new configuration, validated.
    Reload(Arc<Config>),
    /// An operator's order about some real servers.
    Override {
        /// The real servers.
        selector: Selector,
        /// What changes for each of them.
        change: OverrideChange,
    },
    /// An instance of the router changed its state or its addresses, or is new.
    Instance(InstanceLevel),
    /// An instance of the router, by its name, was removed.
    InstanceGone(String),
    /// A BFD session came up or went down, or its level is known for the first time.
    Session(Level),
    /// A BFD session, by its name, was removed.
    SessionGone(String),
    /// A file that checks follow was read for the first time, or says something else than before.
    File(FileLevel),
    /// Whether this host forwards packets: at the start, and whenever it changes.
    Host(HostForwards),
    /// All addresses of this host: at the start, and whenever one changes.
    LocalAddresses(LocalAddresses),
    /// What became of the marks of [`Effect::Mark`]: whenever it changes.
    IngressMarks(IngressMarks),
    /// All real servers that answer ARP for a VIP: whenever one changes.
    ArpProblems(ArpProblems),
    /// Whether the state of [`Effect::SaveState`] was saved: after a save that failed, and after the first one that
    /// succeeded again.
    Saved(bool),
    /// An operator asked for the kernel's table as it is now: the whole of it is read at once.
    ReadKernel,
    /// All half-open connections of clients, sampled.
    Handshakes(BTreeMap<Flow, Handshakes>),
    /// A stop was requested, and [`Input::Stop`] will follow when the virtual routers are gone. Until then the services
    /// stay; what a stop notifies is notified now.
    StopRequested,
    /// Remove all services that are ours, then finish.
    Stop,
    /// Leave everything as it is, then finish.
    HandOver,
}

/// What the director wants done, in this order.
#[derive(Debug)]
pub enum Effect {
    /// Run a probe; [`Input::ProbeDone`] follows.
    StartProbe {
        /// Names the probe in [`Input::ProbeDone`] and [`Effect::CancelProbe`].
        run: RunId,
        /// Target, question and time limits.
        spec: Arc<CheckerSpec>,
        /// The path of client traffic it takes, where it checks one.
        path: Option<ProbePath>,
        /// Addresses it must not leave from, where the kernel could choose one of them.
        sources: Option<Arc<Sources>>,
    },
    /// The outcome of this run is not needed any more.
    CancelProbe(RunId),
    /// Keep this for a successor, before any request that follows; [`Input::Saved`] reports a failure.
    SaveState(State),
    /// Ask the kernel; [`Input::Snapshot`] or [`Input::Applied`] follows. One at a time.
    Kernel(Request),
    /// Mark these packets on arrival, and no others; at every change.
    Mark(Vec<FwmarkRule>),
    /// Whether the kernel must schedule a persistent client anew when its real server has weight 0
    /// (`net.ipv4.vs.expire_quiescent_template`); false leaves the setting as it was found. At every change.
    ExpireTemplates(bool),
    /// What the router has to know; at every change.
    Router(DirectorLevel),
    /// A check that virtual routers track is up, or down; at every change.
    TrackCheck {
        /// Its name.
        name: String,
        /// Whether it is up now.
        is_up: bool,
    },
    /// Log an event.
    Event(Event),
    /// Run the scripts, write the FIFO line and send the mail of a change.
    Notify(Box<Notification>),
    /// The director is done.
    Finished {
        /// False when a stop ran out of time with some of our services still in the kernel.
        is_clean: bool,
    },
}
