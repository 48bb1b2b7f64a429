//! What the router reports: one value per change, for log, scripts, FIFOs, metrics and history alike.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use super::io::State;
use crate::bfd::sessions;
use crate::net::types::Prefix;

/// Something changed that an operator may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An instance changed its state.
    Transition {
        instance: String,
        vrid: u8,
        /// The state it left.
        from: State,
        /// The state it is in.
        to: State,
        /// Its effective priority.
        priority: u8,
        /// Why, in the operator's words.
        reason: String,
        /// The Master heard of, where there is one and it is not this host.
        master: Option<IpAddr>,
    },
    /// A sync group changed its state.
    Group {
        group: String,
        /// The state it is in.
        to: State,
        reason: String,
    },
    /// An instance or a sync group has another name, and is otherwise what it was.
    Renamed {
        /// It is a sync group.
        is_group: bool,
        /// Its name before.
        before: String,
        /// Another instance that was renamed has that name now.
        is_taken: bool,
        /// Its name now.
        name: String,
        /// The state it is in.
        state: State,
        /// Its effective priority; 0 for a group.
        priority: u8,
    },
    /// An instance's effective priority changed.
    Priority { instance: String, state: State, from: u8, to: u8, reason: String },
    /// A Master hears a lower priority, and later once more that it is no longer heard: by then the other host's scripts
    /// have run, so what they moved (a cloud provider's address) can be taken back.
    LowerPriority {
        instance: String,
        source: IpAddr,
        theirs: u8,
        ours: u8,
        /// No more advertisements arrive from it.
        is_over: bool,
    },
    /// Another program removed an address, route or rule, and it was added again.
    Restored {
        /// Whose it is; empty for a static one.
        instance: String,
        /// What: an address, route or rule.
        what: String,
        /// How often that happened since the start.
        times: u64,
    },
    /// An address was there already when it was to be added, or left over from an earlier life.
    LeftOver {
        /// The address as found.
        prefix: Prefix,
        /// The link's name.
        link: String,
        /// Whether it is kept.
        is_adopted: bool,
    },
    /// An address of the host's own is configured as a virtual address of an instance that is no owner: it stays.
    HostsOwn {
        /// The address as found.
        prefix: Prefix,
        /// The link's name.
        link: String,
    },
    /// The kernel refused an address, route, rule or link.
    Refused {
        /// Whose it is; empty for a static one.
        instance: String,
        /// What, and the kernel's words.
        what: String,
    },
    /// Another peer and this one cannot agree: what to change is said.
    Conflict {
        instance: String,
        source: IpAddr,
        /// In the operator's words, with the next step.
        what: String,
    },
    /// Such a conflict is over.
    ConflictEnded {
        instance: String,
        /// The sender.
        source: IpAddr,
    },
    /// A packet was dropped; one event per kind, source and minute.
    Dropped {
        /// The instance it was for, where that is known.
        instance: Option<String>,
        /// The sender.
        source: IpAddr,
        /// What was wrong with it.
        reason: String,
        /// Packets of the same kind and source that were not reported since the last time.
        suppressed: u64,
    },
    /// Timers ran late: this host was short of time.
    Late {
        /// How late, in milliseconds.
        milliseconds: u64,
    },
    /// Something that is followed became well after it had failed too often: it counts as failed for a while.
    Damped {
        /// What is followed.
        what: String,
        /// For how long.
        rest: Duration,
    },
    /// The command of `assert` succeeded, for the first time since the instance is Master, or after failures.
    Asserted {
        instance: String,
        /// Runs that took.
        attempts: u32,
        /// How long the last one took.
        took: Duration,
    },
    /// The command of `assert` failed.
    NotAsserted {
        instance: String,
        /// How it ended, with the last line it wrote.
        how: String,
        /// When it runs again.
        retry_in: Duration,
    },
    /// An instance is another node's, and is not run here.
    OtherNode {
        instance: String,
        /// Its `unicast_src_ip`.
        node: IpAddr,
    },
    /// A start went on without the director's services.
    NotReady {
        instance: String,
        /// What it waited for.
        waited_for: String,
    },
    /// Of a BFD session.
    Session(sessions::Event),
}

/// How urgent an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    /// An operator should look.
    Warn,
    /// We cannot do our job.
    Error,
}

impl Event {
    /// How urgent an event is.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Event::Transition { to: State::Fault, .. } => Severity::Warn,
            Event::Transition { .. } | Event::Group { .. } | Event::Priority { .. } => Severity::Info,
            Event::Renamed { .. } | Event::OtherNode { .. } | Event::Asserted { .. } => Severity::Info,
            Event::ConflictEnded { .. } => Severity::Info,
            Event::LeftOver { is_adopted: true, .. } | Event::LowerPriority { is_over: true, .. } => {
                Severity::Info
            }
            Event::Session(event) if !event.is_warning() => Severity::Info,
            Event::Refused { .. } => Severity::Error,
            _ => Severity::Warn,
        }
    }

    /// The kind of event, a fixed word for machines.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Event::Transition { .. } => "vrrp_transition",
            Event::Group { .. } => "vrrp_group",
            Event::Renamed { .. } => "vrrp_renamed",
            Event::Priority { .. } => "vrrp_priority",
            Event::LowerPriority { .. } => "vrrp_lower_priority",
            Event::Restored { .. } => "vrrp_restored",
            Event::LeftOver { .. } => "vrrp_left_over",
            Event::HostsOwn { .. } => "vrrp_hosts_own",
            Event::Refused { .. } => "vrrp_refused",
            Event::Conflict { .. } => "vrrp_conflict",
            Event::ConflictEnded { .. } => "vrrp_conflict_ended",
            Event::Dropped { .. } => "vrrp_dropped",
            Event::Late { .. } => "vrrp_late",
            Event::Damped { .. } => "vrrp_damped",
            Event::Asserted { .. } => "vrrp_asserted",
            Event::NotAsserted { .. } => "vrrp_not_asserted",
            Event::OtherNode { .. } => "vrrp_other_node",
            Event::NotReady { .. } => "vrrp_not_ready",
            Event::Session(event) => event.kind(),
        }
    }

    /// The instance it is about, where it is about one.
    pub(crate) fn instance(&self) -> Option<&str> {
        match self {
            Event::Transition { instance, .. }
            | Event::Priority { instance, .. }
            | Event::LowerPriority { instance, .. }
            | Event::Restored { instance, .. }
            | Event::Refused { instance, .. }
            | Event::Conflict { instance, .. }
            | Event::ConflictEnded { instance, .. }
            | Event::Asserted { instance, .. }
            | Event::NotAsserted { instance, .. }
            | Event::OtherNode { instance, .. }
            | Event::NotReady { instance, .. } => {
                Some(instance).filter(|name| !name.is_empty()).map(|n| &**n)
            }
            Event::Renamed { is_group: false, name, .. } => Some(name),
            Event::Renamed { is_group: true, .. } => None,
            Event::Dropped { instance, .. } => instance.as_deref(),
            Event::Group { .. }
            | Event::LeftOver { .. }
            | Event::HostsOwn { .. }
            | Event::Damped { .. }
            | Event::Late { .. }
            | Event::Session(_) => None,
        }
    }

    /// The BFD session it is about, where it is about one.
    pub(crate) fn session(&self) -> Option<&str> {
        match self {
            Event::Session(event) => Some(event.session()),
            _ => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            State::Init => "Init",
            State::Backup => "Backup",
            State::Master => "Master",
            State::Fault => "Fault",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Transition { instance, vrid, from, to, priority, reason, master } => {
                write!(
                    f,
                    "instance {instance} (VRID {vrid}): {from} -> {to}, priority {priority}: {reason}"
                )?;
                master.map_or(Ok(()), |at| write!(f, "; Master is {at}"))
            }
            Event::Group { group, to, reason } => write!(f, "sync group {group}: {to}: {reason}"),
            Event::Renamed { is_group, before, name, state, .. } => {
                let kind = if *is_group { "sync group" } else { "instance" };
                write!(f, "{kind} {name}: renamed from {before} by the reload, state stays {state}")
            }
            Event::Priority { instance, from, to, reason, .. } => {
                write!(f, "instance {instance}: priority {from} -> {to}: {reason}")
            }
            Event::LowerPriority { instance, source, theirs, ours, is_over: false } => write!(
                f,
                "instance {instance}: {source} advertises as Master with priority {theirs}, ours is {ours}: we stay Master"
            ),
            Event::LowerPriority { instance, source, theirs, is_over: true, .. } => write!(
                f,
                "instance {instance}: {source} advertised as Master with priority {theirs} and no longer does: we are the only Master"
            ),
            Event::Restored { instance, what, times } => {
                let whose =
                    if instance.is_empty() { "static".to_owned() } else { format!("instance {instance}") };
                write!(f, "{whose}: another program removed {what}: restored ({times} times since the start)")
            }
            Event::LeftOver { prefix, link, is_adopted } => {
                let what = if *is_adopted { "kept" } else { "removed" };
                write!(f, "address {prefix} on {link} was there already: {what}")
            }
            Event::HostsOwn { prefix, link } => write!(
                f,
                "virtual address {} is an address of this host already ({prefix} on {link}), which lvsd did not add: \
                 it stays in every state, so two hosts may answer for it: choose another virtual address, or \
                 priority 255 on the host that owns it; if another program added it, as a keepalived that runs or \
                 was killed: stop that, then ip address del {prefix} dev {link}",
                prefix.ip
            ),
            Event::Refused { instance, what } if instance.is_empty() => write!(f, "{what}"),
            Event::Refused { instance, what } => write!(f, "instance {instance}: {what}"),
            Event::Conflict { instance, what, .. } => write!(f, "instance {instance}: {what}"),
            Event::ConflictEnded { instance, source } => {
                write!(f, "instance {instance}: the conflict with {source} is over")
            }
            Event::Dropped { instance, source, reason, suppressed } => {
                let whose = instance.as_ref().map_or("VRRP".to_owned(), |i| format!("instance {i}"));
                write!(f, "{whose}: a packet of {source} was dropped: {reason}")?;
                if *suppressed > 0 {
                    write!(f, " ({suppressed} more like it since the last report)")
                } else {
                    Ok(())
                }
            }
            Event::Late { milliseconds } => {
                write!(
                    f,
                    "VRRP's timers ran {milliseconds} ms late: this host is short of CPU time, or was paused"
                )
            }
            Event::Damped { what, rest } => {
                write!(
                    f,
                    "{what} is well, and failed too often lately: it counts as failed for {} s more",
                    seconds(*rest)
                )
            }
            Event::Asserted { instance, attempts, took } => write!(
                f,
                "instance {instance}: assert succeeded, at attempt {attempts}, within {:.1} s",
                took.as_secs_f64()
            ),
            Event::NotAsserted { instance, how, retry_in } => write!(
                f,
                "instance {instance}: assert failed: the command {how}; it runs again in {} s, until it succeeds",
                seconds(*retry_in)
            ),
            Event::OtherNode { instance, node } => {
                write!(f, "instance {instance}: it is for the node with {node}: not run here")
            }
            Event::Session(event) => write!(f, "{event}"),
            Event::NotReady { instance, waited_for } => write!(
                f,
                "instance {instance}: leaves Init without {waited_for}: not in the kernel after 10 s"
            ),
        }
    }
}

/// Whole seconds, a begun one too.
pub(super) fn seconds(time: Duration) -> u64 {
    time.as_millis().div_ceil(1000) as u64
}
