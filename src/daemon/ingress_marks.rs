//! Reads this host's network, and makes the tc filters of its links what the director's rules say.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::host_watch;
use crate::director::colocation::LocalAddresses;
use crate::director::colocation::placement::IngressMarks;
use crate::net::kernel::Kernel;
use crate::net::kernel::tc::TcError;
use crate::net::tc::ingress::{self, FwmarkRule, MarkFilter, Neighbours};
use crate::net::types::{Host, LinkIndex};

/// Keeps what one reading needs of those before it.
#[derive(Debug, Default)]
pub(super) struct Reconciler {
    kernel: Option<Kernel>,
    /// The last known link-layer address of each peer: the kernel forgets silent neighbours.
    neighbours: Neighbours,
    /// Links that may have filters of ours; None before the first reading of filters.
    filtered: Option<BTreeSet<LinkIndex>>,
    /// This kernel lacks clsact or flower.
    cannot_mark: bool,
}

/// What a reading found and did.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// None when the host could not be read.
    pub(super) around: Option<LocalAddresses>,
    /// None when the host or its filters could not be read.
    pub(super) host: Option<Host>,
    pub(super) neighbours: Neighbours,
    pub(super) marks: IngressMarks,
    pub(super) troubles: BTreeSet<String>,
    pub(super) done: Vec<String>,
}

impl Reconciler {
    /// Reads the host, and leaves filters as they are.
    pub(super) fn read_host(&mut self) -> Found {
        self.run(None)
    }

    /// Reads the host, and makes the filters what the rules say.
    pub(super) fn reconcile(&mut self, rules: &[FwmarkRule]) -> Found {
        self.run(Some(rules))
    }

    fn run(&mut self, rules: Option<&[FwmarkRule]>) -> Found {
        let mut found = Found::default();
        if let Err(trouble) = self.run_with(rules, &mut found) {
            found.troubles.insert(format!("this host's network cannot be read: {trouble}"));
            self.kernel = None;
        }
        found
    }

    fn run_with(&mut self, rules: Option<&[FwmarkRule]>, found: &mut Found) -> Result<(), String> {
        let mut kernel = self.kernel.take().map_or_else(Kernel::open, Ok)?;
        let host = kernel.host()?;
        found.around = Some(host_watch::around(&host));
        if let Some(rules) = rules {
            self.put_right(&mut kernel, &host, rules, found)?;
        }
        found.host = Some(host);
        self.kernel = Some(kernel);
        Ok(())
    }

    fn put_right(
        &mut self,
        kernel: &mut Kernel,
        host: &Host,
        rules: &[FwmarkRule],
        found: &mut Found,
    ) -> Result<(), String> {
        found.marks.cannot_mark = self.cannot_mark;
        let is_idle = rules.is_empty() && self.filtered.as_ref().is_some_and(BTreeSet::is_empty);
        if is_idle {
            return Ok(());
        }
        let peers: BTreeSet<IpAddr> = rules.iter().flat_map(|rule| &rule.peers).copied().collect();
        for known in kernel.neighbours()?.into_iter().filter(|known| peers.contains(&known.ip)) {
            self.neighbours.insert((known.link, known.ip), known.mac);
        }
        self.neighbours.retain(|(link, ip), _| host.links.contains_key(link) && peers.contains(ip));
        found.neighbours.clone_from(&self.neighbours);
        let unresolved = ingress::unresolved_peers(host, &self.neighbours, rules);
        // A peer that does not answer is no trouble: it becomes a neighbour before it sends packets.
        let _ = kernel.look_up(&unresolved);
        let desired = ingress::desired(host, &self.neighbours, rules);
        let mut unmarked = BTreeSet::new();
        // The first reading finds filters of an earlier process that had other links or peers.
        let all = || ingress::eligible_links(host).map(|link| link.index).collect();
        let filtered = self.filtered.get_or_insert_with(all);
        filtered.extend(desired.keys());
        filtered.retain(|link| host.links.contains_key(link));
        for link in filtered.clone() {
            let filters = desired.get(&link).cloned().unwrap_or_default();
            let keeps_unknown_peers = unresolved.iter().any(|(of, _)| *of == link);
            let name = host.links.get(&link).map(|link| link.name.as_str()).unwrap_or_default();
            match put_link_right(kernel, link, &filters, keeps_unknown_peers) {
                Ok(0) => {}
                Ok(n) => found.done.push(format!("{name}: {n} tc filters at its ingress were repaired")),
                Err(error) => {
                    self.cannot_mark |= error.is_unsupported;
                    unmarked.extend(filters.iter().map(|filter| filter.mark));
                    let words = error.words;
                    found.troubles.insert(format!("{name}: arriving packets cannot be marked: {words}"));
                }
            }
            if filters.is_empty() {
                filtered.remove(&link);
            }
        }
        found.marks.cannot_mark = self.cannot_mark;
        // Packets arrive only at links that can have filters.
        found.marks.marked =
            rules.iter().map(|rule| rule.mark).filter(|mark| !unmarked.contains(mark)).collect();
        Ok(())
    }
}

/// Makes the filters of a link's ingress the desired ones; returns how many were added or removed.
fn put_link_right(
    kernel: &mut Kernel,
    link: LinkIndex,
    desired: &BTreeSet<MarkFilter>,
    keeps_unknown_peers: bool,
) -> Result<usize, TcError> {
    let (installed, has_others) = kernel.ingress_filters(link).map_err(TcError::no_answer)?;
    let changes = ingress::changes(&installed, desired, keeps_unknown_peers);
    if !desired.is_empty() && installed.is_empty() {
        kernel.add_clsact(link)?;
    }
    for change in &changes {
        kernel.change_filter(link, change)?;
    }
    // A clsact without filters does nothing.
    if desired.is_empty() && !installed.is_empty() && !has_others {
        kernel.remove_clsact(link).map_err(TcError::no_answer)?;
    }
    Ok(changes.len())
}
