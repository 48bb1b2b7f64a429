//! The interface to a real table: read a part of it, change it. Two methods, blocking, one caller at a time.

use std::collections::BTreeMap;

use super::types::{
    Destination, DestinationKey, Service, ServiceEntry, ServiceKey, Settings, SyncDaemon, SyncRole, Timeouts,
};

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The keys of all services.
    Keys,
    /// These services with their destinations (the caller keeps the slice small).
    Entries(Vec<ServiceKey>),
    /// Timeouts, sync daemons, version.
    Settings,
}

/// What was read; the variant answers the [`Scope`] asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// Keys of all services, sorted.
    Keys(Vec<ServiceKey>),
    /// Every key asked for; None where there is no such service.
    Entries(BTreeMap<ServiceKey, Option<ServiceEntry>>),
    /// Timeouts, sync daemons, version.
    Settings(Settings),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// IPVS_CMD_NEW_SERVICE.
    AddService(ServiceKey, Service),
    /// IPVS_CMD_SET_SERVICE.
    SetService(ServiceKey, Service),
    /// IPVS_CMD_DEL_SERVICE, with all its destinations.
    RemoveService(ServiceKey),
    /// IPVS_CMD_NEW_DEST.
    AddDestination(ServiceKey, DestinationKey, Destination),
    /// IPVS_CMD_SET_DEST.
    SetDestination(ServiceKey, DestinationKey, Destination),
    /// IPVS_CMD_DEL_DEST.
    RemoveDestination(ServiceKey, DestinationKey),
    /// IPVS_CMD_SET_CONFIG.
    SetTimeouts(Timeouts),
    /// IPVS_CMD_NEW_DAEMON.
    StartSync(SyncDaemon),
    /// IPVS_CMD_DEL_DAEMON.
    StopSync(SyncRole),
}

impl Op {
    /// The service this operation is about, if any.
    pub fn service(&self) -> Option<&ServiceKey> {
        match self {
            Op::AddService(k, _)
            | Op::SetService(k, _)
            | Op::RemoveService(k)
            | Op::AddDestination(k, _, _)
            | Op::SetDestination(k, _, _)
            | Op::RemoveDestination(k, _) => Some(k),
            Op::SetTimeouts(_) | Op::StartSync(_) | Op::StopSync(_) => None,
        }
    }
}

/// An operation the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Index of the operation in the slice that was applied.
    pub index: usize,
    /// The kernel's errno, positive.
    pub errno: i32,
    /// The kernel's extended-ack text, when it gave one.
    pub text: Option<String>,
}

/// A request as a whole failed; after an `apply`, which operations took effect is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The kernel has no IPVS, and loading the module did not help.
    #[error("the kernel has no IPVS: {0}")]
    NoIpvs(String),
    /// No permission to talk to IPVS (CAP_NET_ADMIN in this network namespace is needed).
    #[error("not permitted to {0}: CAP_NET_ADMIN is needed")]
    NotPermitted(String),
    /// The kernel answered an error to a read.
    #[error("{what}: {} (errno {errno})", std::io::Error::from_raw_os_error(*errno))]
    Kernel {
        /// What was asked, in words.
        what: String,
        errno: i32,
    },
    /// The socket failed, a reply was lost, late, truncated or made no sense.
    #[error("IPVS socket: {0}")]
    Transport(String),
}

/// A real table. Implementations never panic on what the kernel says and bound every wait.
pub trait Backend: Send {
    /// Reads a part of the table.
    ///
    /// # Errors
    /// [`Error`] when nothing, or only a part, could be read: there is no partial answer.
    fn snapshot(&mut self, scope: &Scope) -> Result<Snapshot, Error>;

    /// Applies operations in order. A refused operation does not stop those behind it.
    ///
    /// # Errors
    /// [`Error`] when the outcome is unknown; otherwise the refused operations, by index, ascending.
    fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, Error>;
}
