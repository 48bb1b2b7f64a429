//! lvsd's own firewall marks, from `mark_base` on: which virtual server's packets get which, and which are for the probe
//! services of path_check. Marks that the configuration uses itself are left out.

use std::collections::BTreeSet;

use crate::config::{Config, MarkBase, VirtualServerId};
use crate::ipvs::types::ServiceKey;

/// Probe services that can exist at once, of each family: the last marks are theirs.
pub(crate) const PROBE_MARKS: u32 = 64;

/// The marks of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    base: MarkBase,
    taken: BTreeSet<u32>,
    is_used_up: bool,
}

impl Marks {
    /// Those left by what virtual servers and checkers use themselves.
    pub(crate) fn of(config: &Config) -> Marks {
        let of_id = config.virtual_servers.iter().filter_map(|server| match server.id {
            VirtualServerId::Fwmark { mark, .. } => Some(mark),
            VirtualServerId::Address { .. } => None,
        });
        let checkers =
            config.virtual_servers.iter().flat_map(|s| &s.real_servers).flat_map(|real| &real.checkers);
        let of_checkers = checkers.filter_map(|checker| checker.spec.target.source().fwmark);
        let base = config.global.mark_base;
        let taken = of_id.chain(of_checkers).filter(|mark| base.contains(*mark)).collect();
        Marks { base, taken, is_used_up: false }
    }

    /// The marks of probe services.
    pub(crate) fn probe_marks(&self) -> impl Iterator<Item = u32> + '_ {
        let last = self.base.0 + MarkBase::MARKS;
        (last - PROBE_MARKS..last).filter(|mark| !self.taken.contains(mark))
    }

    /// Whether a mark is that of a probe service.
    pub(crate) fn is_probe_mark(&self, mark: u32) -> bool {
        let is_last = self.base.contains(mark) && mark - self.base.0 >= MarkBase::MARKS - PROBE_MARKS;
        is_last && !self.taken.contains(&mark)
    }

    /// Whether a service is one of such a mark.
    pub(crate) fn is_probe_service(&self, key: ServiceKey) -> bool {
        matches!(key, ServiceKey::Fwmark { mark, .. } if self.is_probe_mark(mark))
    }

    /// A mark that follows from the identity alone: on all directors the same, because the kernel's replicated
    /// connections name it, and after a restart the same, because packets carry it meanwhile.
    pub(crate) fn take(&mut self, id: VirtualServerId) -> Option<u32> {
        // FNV-1a
        let hash = id
            .to_string()
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let mut candidates = (0..MarkBase::MARKS)
            .map(|step| self.base.0 + hash.wrapping_add(step) % MarkBase::MARKS)
            .filter(|mark| !self.is_probe_mark(*mark));
        // Thousands more may ask in vain.
        let free = if self.is_used_up { None } else { candidates.find(|mark| !self.taken.contains(mark)) };
        self.is_used_up = free.is_none();
        let mark = free?;
        self.taken.insert(mark);
        Some(mark)
    }
}
