//! The director's table, read and edited from within its namespace without executing anything: the stranger's
//! hand, and the judge's eye.

use lvsd::internals::ipvs::NetlinkBackend;
use lvsd::internals::ipvs::{Backend, Op, Refusal, Scope, Snapshot};

use super::truth::Table;
use crate::lab::host::Host;

/// A connection to the kernel of a host.
#[derive(Debug)]
pub(super) struct Kernel {
    host: Host,
    backend: NetlinkBackend,
}

impl Kernel {
    /// Connects.
    pub(super) fn open(host: &Host) -> Result<Kernel, String> {
        let backend = host.enter(|| NetlinkBackend::open().map_err(|e| e.to_string()))?;
        Ok(Kernel { host: host.clone(), backend })
    }

    /// The whole table.
    pub(super) fn read(&mut self) -> Result<Table, String> {
        let backend = &mut self.backend;
        // Within the host: after a doubt the backend connects anew, to the namespace it is called in.
        self.host.enter(|| {
            let mut snapshot = |scope| backend.snapshot(&scope).map_err(|e| e.to_string());
            let Snapshot::Keys(keys) = snapshot(Scope::Keys)? else { return Err("no keys".to_owned()) };
            let Snapshot::Entries(entries) = snapshot(Scope::Entries(keys))? else {
                return Err("no entries".to_owned());
            };
            Ok(entries.into_iter().filter_map(|(key, entry)| Some((key, entry?))).collect())
        })
    }

    /// Edits the table; what was refused.
    pub(super) fn apply(&mut self, ops: &[Op]) -> Result<Vec<Refusal>, String> {
        let backend = &mut self.backend;
        self.host.enter(|| backend.apply(ops).map_err(|e| e.to_string()))
    }
}
