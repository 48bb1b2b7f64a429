//! Watches this host's links, addresses and neighbours, informs the director, and keeps the marks of arriving packets.
//!
//! Level-triggered: after any change everything is read, compared and put right, in one blocking job at a time. Filters
//! stay in the kernel when this process dies; only a stop removes them. Without rules it installs nothing, and reads
//! only when addresses change, or links that have some: hosts of containers make and lose other links all day, and have
//! thousands of them to read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::clock;
use super::ingress_marks::{Found, Reconciler};
use crate::director::colocation::LocalAddresses;
use crate::director::colocation::placement::IngressMarks;
use crate::director::io::Input;
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::net::kernel::watch::{Watch, WatchBatch};
use crate::net::tc::ingress::FwmarkRule;
use crate::net::types::{Host, HostEvent, LinkIndex, MacAddress};
use crate::time::Instant;

/// From a change to the reading that it causes, so that one reading serves many changes.
const PAUSE: Duration = Duration::from_millis(20);
/// From the start to the first look at filters that an earlier process has left.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct HostWatcher {
    watch: Option<Watch>,
    watches_neighbours: bool,
    rules: Arc<Vec<FwmarkRule>>,
    /// The peers of all rules.
    peers: BTreeSet<IpAddr>,
    /// None while a job has it.
    reconciler: Option<Reconciler>,
    job: Option<JoinHandle<(Reconciler, Found)>>,
    /// When everything is read again.
    read_at: Option<Instant>,
    known_macs: BTreeMap<IpAddr, BTreeSet<MacAddress>>,
    /// The host as it was read last, with the changes since; None when a change may have been lost.
    host: Option<Host>,
    inputs: VecDeque<Input>,
    around: Option<LocalAddresses>,
    marks: IngressMarks,
    troubles: BTreeSet<String>,
}

impl HostWatcher {
    /// Begins to watch, inside an event loop, and reads the host at once, because a director needs its addresses first.
    pub(crate) fn open() -> HostWatcher {
        let mut watcher = HostWatcher {
            watch: None,
            watches_neighbours: false,
            rules: Arc::default(),
            peers: BTreeSet::new(),
            reconciler: None,
            job: None,
            read_at: None,
            known_macs: BTreeMap::new(),
            host: None,
            inputs: VecDeque::new(),
            around: None,
            marks: IngressMarks::default(),
            troubles: BTreeSet::new(),
        };
        watcher.subscribe();
        let mut reconciler = Reconciler::default();
        let found = reconciler.read_host();
        watcher.take(reconciler, found);
        // The director sets its rules before filters of an earlier process are removed.
        watcher.read_at = Some(clock::now() + TIDY_AFTER);
        watcher
    }

    /// Marks packets by these rules from now on, and by no others.
    pub(crate) fn set_rules(&mut self, rules: Vec<FwmarkRule>) {
        self.peers = rules.iter().flat_map(|rule| &rule.peers).copied().collect();
        self.rules = Arc::new(rules);
        if self.watches_neighbours == self.rules.is_empty() {
            self.subscribe();
        }
        self.read_at = Some(clock::now());
    }

    /// The next input for the director, if there is one.
    pub(crate) fn known(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// The next input for the director; waits for it.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                return input;
            }
            self.begin();
            let read_at = self.read_at.filter(|_| self.job.is_none());
            tokio::select! {
                ended = ended(&mut self.job) => {
                    self.job = None;
                    let (reconciler, found) = ended;
                    self.take(reconciler, found);
                }
                batch = next_batch(&mut self.watch) => self.receive(batch),
                () = clock::sleep_until(read_at) => {}
            }
        }
    }

    /// Removes all filters.
    pub(crate) async fn release(&mut self) {
        if let Some(job) = self.job.take() {
            self.reconciler = job.await.ok().map(|(reconciler, _)| reconciler);
        }
        let mut reconciler = self.reconciler.take().unwrap_or_default();
        let found = reconciler.reconcile(&[]);
        self.log(&found);
    }

    fn subscribe(&mut self) {
        self.watches_neighbours = !self.rules.is_empty();
        match Watch::around(self.watches_neighbours) {
            Ok(watch) => self.watch = Some(watch),
            Err(trouble) => self.lose_watch(&trouble),
        }
    }

    fn lose_watch(&mut self, trouble: &str) {
        warn!("{trouble}: changes of this host's addresses are noticed only after {SWEEP_INTERVAL:?}");
        self.watch = None;
        self.read_at = Some(clock::now() + SWEEP_INTERVAL);
    }

    /// Begins the reading that is due.
    fn begin(&mut self) {
        let now = clock::now();
        if self.job.is_some() || self.read_at.is_none_or(|at| at > now) {
            return;
        }
        self.read_at = None;
        let mut reconciler = self.reconciler.take().unwrap_or_default();
        let rules = Arc::clone(&self.rules);
        self.job = Some(tokio::task::spawn_blocking(move || {
            let found = reconciler.reconcile(&rules);
            (reconciler, found)
        }));
    }

    fn receive(&mut self, batch: Result<WatchBatch, String>) {
        let matters = match batch {
            Ok(WatchBatch::Lost) => {
                self.host = None;
                true
            }
            // All of them update the host, whichever of them matters.
            Ok(WatchBatch::Events(events)) => events.iter().filter(|event| self.matters(event)).count() > 0,
            Err(trouble) => return self.lose_watch(&trouble),
        };
        if matters {
            let soon = clock::now() + PAUSE;
            self.read_at = Some(self.read_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn matters(&mut self, event: &HostEvent) -> bool {
        let matters = match event {
            HostEvent::Neighbour(heard) => {
                self.peers.contains(&heard.ip)
                    && !self.known_macs.get(&heard.ip).is_some_and(|macs| macs.contains(&heard.mac))
            }
            HostEvent::Link(link) => self.host.as_ref().is_none_or(|host| {
                host.links.get(&link.index) != Some(link) && host.addresses.of(link.index).next().is_some()
            }),
            HostEvent::LinkGone(index) => {
                self.host.as_ref().is_none_or(|host| host.addresses.of(*index).next().is_some())
            }
            HostEvent::Address(held) => {
                self.host.as_ref().is_none_or(|host| host.addresses.get(held.link, held.prefix) != Some(held))
            }
            HostEvent::AddressGone(held) => {
                self.host.as_ref().is_none_or(|host| host.addresses.get(held.link, held.prefix).is_some())
            }
            HostEvent::RouteGone(_) | HostEvent::RuleGone(_) => false,
        };
        self.host.iter_mut().for_each(|host| host.apply(event));
        matters
    }

    fn take(&mut self, reconciler: Reconciler, found: Found) {
        self.reconciler = Some(reconciler);
        self.log(&found);
        self.host = found.host;
        if let Some(around) = found.around.filter(|around| self.around.as_ref() != Some(around)) {
            self.around = Some(around.clone());
            self.inputs.push_back(Input::LocalAddresses(around));
        }
        if found.marks != self.marks {
            self.marks = found.marks.clone();
            self.inputs.push_back(Input::IngressMarks(found.marks));
        }
        self.known_macs.clear();
        for ((_, ip), mac) in found.neighbours {
            self.known_macs.entry(ip).or_default().insert(mac);
        }
        if !self.rules.is_empty() || self.watch.is_none() {
            let again = clock::now() + SWEEP_INTERVAL;
            self.read_at = Some(self.read_at.map_or(again, |at| at.min(again)));
        }
    }

    fn log(&mut self, found: &Found) {
        for done in &found.done {
            info!("{done}");
        }
        for trouble in found.troubles.difference(&self.troubles) {
            warn!("{trouble}");
        }
        self.troubles.clone_from(&found.troubles);
    }
}

/// The addresses of a host.
pub(crate) fn around(host: &Host) -> LocalAddresses {
    let usable = || host.addresses.iter().filter(|held| !held.is_unusable);
    let is_shown =
        |link: &LinkIndex| host.links.get(link).is_some_and(|link| !link.is_loopback && !link.is_silent);
    LocalAddresses {
        own: usable().map(|held| held.prefix.ip).collect(),
        on_network: usable().filter(|held| is_shown(&held.link)).map(|held| held.prefix.ip).collect(),
        links: usable().map(|held| (held.prefix.ip, held.link.0)).collect(),
    }
}

async fn ended(job: &mut Option<JoinHandle<(Reconciler, Found)>>) -> (Reconciler, Found) {
    let Some(job) = job else { return std::future::pending().await };
    job.await.unwrap_or_else(|error| {
        let trouble = format!("reading this host's network failed unexpectedly, please report this: {error}");
        (Reconciler::default(), Found { troubles: BTreeSet::from([trouble]), ..Found::default() })
    })
}

async fn next_batch(watch: &mut Option<Watch>) -> Result<WatchBatch, String> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{HeldAddress, Link, Prefix};

    #[tokio::test]
    async fn links_of_containers_cause_no_reading_and_own_links_and_addresses_do() {
        let mut watcher = HostWatcher::open();
        let eth0 = Link::plain(LinkIndex(9002), "eth0");
        let veth = |n: u32| Link::plain(LinkIndex(n), &format!("veth{n}"));
        let own = HeldAddress::plain(eth0.index, Prefix { ip: [10, 1, 0, 11].into(), length: 24 });
        watcher.host = Some(Host {
            links: [(eth0.index, eth0.clone())].into(),
            addresses: [own].into(),
            ..Host::default()
        });
        let mut is_read = |events: Vec<HostEvent>| {
            watcher.read_at = None;
            watcher.receive(Ok(WatchBatch::Events(events)));
            watcher.read_at.is_some()
        };
        assert!(!is_read((9100..9200).map(|n| HostEvent::Link(veth(n))).collect()));
        assert!(!is_read((9100..9200).map(|n| HostEvent::LinkGone(LinkIndex(n))).collect()));
        assert!(
            !is_read(vec![HostEvent::Link(eth0.clone()), HostEvent::Address(own)]),
            "nothing of it is new"
        );
        assert!(is_read(vec![
            HostEvent::Link(veth(9300)),
            HostEvent::Link(Link { is_up: false, ..eth0.clone() })
        ]));
        assert!(!is_read(vec![HostEvent::Link(Link { is_up: false, ..eth0 })]), "it is known by now");
        let other = HeldAddress::plain(LinkIndex(9300), own.prefix);
        assert!(is_read(vec![HostEvent::Address(other)]));
        assert!(is_read(vec![HostEvent::LinkGone(LinkIndex(9300))]), "it had an address");
        assert!(is_read(vec![HostEvent::AddressGone(own)]));
        assert!(!is_read(vec![HostEvent::AddressGone(own)]));
    }
}
