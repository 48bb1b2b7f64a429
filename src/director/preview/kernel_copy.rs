//! A copy of a kernel's IPVS state, on which a preview lets a director work: it takes every operation.
//!
//! A kernel may refuse some, for a module or a link that it lacks; only the kernel itself can say so, and the director
//! reports it when it happens.

use super::KernelTable;
use crate::director::reconcile::record;
use crate::ipvs::backend::{Op, Scope, Snapshot};
use crate::ipvs::types::{Settings, Timeouts};

/// Length of a sync message in bytes where none is configured, by a link with an MTU of 1500: IPv4 and IPv6.
const SYNC_LENGTH: (u16, u16) = (1472, 1452);

/// What a kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KernelCopy {
    pub table: KernelTable,
    pub settings: Settings,
}

impl KernelCopy {
    /// IPVS that was just loaded: no services, and the kernel's own timeouts (net/netfilter/ipvs/ip_vs_proto_tcp.c and
    /// ip_vs_proto_udp.c).
    pub(crate) fn just_loaded() -> KernelCopy {
        let timeouts = Timeouts { tcp: 900, tcp_fin: 120, udp: 300 };
        KernelCopy { table: KernelTable::new(), settings: Settings { timeouts, ..Settings::default() } }
    }

    /// Reads it.
    pub(super) fn snapshot(&self, scope: &Scope) -> Snapshot {
        match scope {
            Scope::Keys => Snapshot::Keys(self.table.keys().copied().collect()),
            Scope::Entries(keys) => {
                Snapshot::Entries(keys.iter().map(|key| (*key, self.table.get(key).cloned())).collect())
            }
            Scope::Settings => Snapshot::Settings(self.settings.clone()),
        }
    }

    /// Writes to it.
    pub(super) fn apply(&mut self, ops: Vec<Op>) {
        for op in ops {
            match op {
                Op::SetTimeouts(timeouts) => self.settings.timeouts = timeouts,
                Op::StartSync(daemon) => {
                    let (ipv4, ipv6) = SYNC_LENGTH;
                    let is_ipv6 = daemon.group.is_some_and(|group| group.is_ipv6());
                    self.settings.sync_daemons.push(daemon.running(Some(if is_ipv6 { ipv6 } else { ipv4 })));
                }
                Op::StopSync(role) => self.settings.sync_daemons.retain(|daemon| daemon.role != role),
                op => record(&mut self.table, op),
            }
        }
    }
}
