//! Hears this host's links, addresses and neighbours, tells the director, and has arriving packets marked as it wants.
//!
//! Level-triggered: whatever happened, everything is read, compared and put right in one blocking job at a time. What
//! was put there outlives this process, which is its point: only a stop takes it away. Without anything to mark it
//! touches nothing, and reads only when addresses change, or links that have some: hosts of containers make and lose
//! others all day, and have thousands of them to read.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::clock;
use crate::director::Input;
use crate::director::colocated::Around;
use crate::director::places::Doors;
use crate::director::reconcile::SWEEP_INTERVAL;
use crate::net::door::{self, Marking, Neighbours};
use crate::net::kernel::traffic::Refused;
use crate::net::kernel::{Kernel, Told, Watch};
use crate::net::types::{Host, LinkIndex, MacAddress, News};
use crate::time::Instant;

/// From the end of one look to the beginning of the next, whatever happens meanwhile.
const PAUSE: Duration = Duration::from_millis(20);
/// From the start to the first look at what others have left.
const TIDY_AFTER: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(crate) struct DoorKeeper {
    watch: Option<Watch>,
    hears_neighbours: bool,
    markings: Arc<Vec<Marking>>,
    /// The peers of all of them.
    peers: BTreeSet<IpAddr>,
    /// None while a job has it.
    memory: Option<Memory>,
    job: Option<JoinHandle<(Memory, Found)>>,
    /// When everything is read again.
    look_at: Option<Instant>,
    known_macs: BTreeMap<IpAddr, BTreeSet<MacAddress>>,
    /// The host as it was read last, and what was heard since; None when something may have been missed.
    host: Option<Host>,
    inputs: VecDeque<Input>,
    around: Option<Around>,
    doors: Doors,
    troubles: BTreeSet<String>,
}

/// What goes from one look to the next.
#[derive(Debug, Default)]
struct Memory {
    kernel: Option<Kernel>,
    /// By what each peer was last known: it stays so when the kernel forgets a silent one.
    neighbours: Neighbours,
    /// Links at whose doors something of ours may stand; None before the first look at them.
    attended: Option<BTreeSet<LinkIndex>>,
    /// This kernel has no such doors or filters, which it gets only while nobody looks.
    cannot_mark: bool,
}

/// What a look found.
#[derive(Debug, Default)]
struct Found {
    /// None when the host could not be read.
    around: Option<Around>,
    host: Option<Host>,
    neighbours: Neighbours,
    doors: Doors,
    troubles: BTreeSet<String>,
    done: Vec<String>,
}

impl DoorKeeper {
    /// Begins to hear, inside an event loop, and takes the first look: whoever starts a director wants to know where it
    /// is before anything else.
    pub(crate) fn open() -> DoorKeeper {
        let mut keeper = DoorKeeper {
            watch: None,
            hears_neighbours: false,
            markings: Arc::default(),
            peers: BTreeSet::new(),
            memory: None,
            job: None,
            look_at: None,
            known_macs: BTreeMap::new(),
            host: None,
            inputs: VecDeque::new(),
            around: None,
            doors: Doors::default(),
            troubles: BTreeSet::new(),
        };
        keeper.hear();
        let mut memory = Memory::default();
        let found = memory.look(None);
        keeper.take(memory, found);
        // What a life before this one left is taken away only once the director had a word in it.
        keeper.look_at = Some(clock::now() + TIDY_AFTER);
        keeper
    }

    /// Marks these packets from now on, and no others.
    pub(crate) fn want(&mut self, markings: Vec<Marking>) {
        self.peers = markings.iter().flat_map(|marking| &marking.peers).copied().collect();
        self.markings = Arc::new(markings);
        if self.hears_neighbours == self.markings.is_empty() {
            self.hear();
        }
        self.look_at = Some(clock::now());
    }

    /// What the director is to be told, if it is known already.
    pub(crate) fn known(&mut self) -> Option<Input> {
        self.inputs.pop_front()
    }

    /// What the director is to be told; waits for it.
    pub(crate) async fn next(&mut self) -> Input {
        loop {
            if let Some(input) = self.inputs.pop_front() {
                return input;
            }
            self.begin();
            let look_at = self.look_at.filter(|_| self.job.is_none());
            tokio::select! {
                ended = ended(&mut self.job) => {
                    self.job = None;
                    let (memory, found) = ended;
                    self.take(memory, found);
                }
                told = heard(&mut self.watch) => self.hear_of(told),
                () = clock::sleep_until(look_at) => {}
            }
        }
    }

    /// Takes everything of ours away.
    pub(crate) async fn release(&mut self) {
        if let Some(job) = self.job.take() {
            self.memory = job.await.ok().map(|(memory, _)| memory);
        }
        let mut memory = self.memory.take().unwrap_or_default();
        let found = memory.look(Some(&[]));
        self.tell(&found);
    }

    fn hear(&mut self) {
        self.hears_neighbours = !self.markings.is_empty();
        match Watch::around(self.hears_neighbours) {
            Ok(watch) => self.watch = Some(watch),
            Err(trouble) => self.deaf(&trouble),
        }
    }

    fn deaf(&mut self, trouble: &str) {
        warn!("{trouble}: changes of this host's addresses are noticed only after {SWEEP_INTERVAL:?}");
        self.watch = None;
        self.look_at = Some(clock::now() + SWEEP_INTERVAL);
    }

    /// Begins the look that is due.
    fn begin(&mut self) {
        let now = clock::now();
        if self.job.is_some() || self.look_at.is_none_or(|at| at > now) {
            return;
        }
        self.look_at = None;
        let mut memory = self.memory.take().unwrap_or_default();
        let markings = Arc::clone(&self.markings);
        self.job = Some(tokio::task::spawn_blocking(move || {
            let found = memory.look(Some(&markings));
            (memory, found)
        }));
    }

    fn hear_of(&mut self, told: Result<Told, String>) {
        let matters = match told {
            Ok(Told::Lost) => {
                self.host = None;
                true
            }
            // All of them are heard, whichever of them matters.
            Ok(Told::News(news)) => news.iter().filter(|news| self.matters(news)).count() > 0,
            Err(trouble) => return self.deaf(&trouble),
        };
        if matters {
            let soon = clock::now() + PAUSE;
            self.look_at = Some(self.look_at.map_or(soon, |at| at.min(soon)));
        }
    }

    fn matters(&mut self, news: &News) -> bool {
        let matters = match news {
            News::Neighbour(heard) => {
                self.peers.contains(&heard.ip)
                    && !self.known_macs.get(&heard.ip).is_some_and(|macs| macs.contains(&heard.mac))
            }
            News::Link(link) => self.host.as_ref().is_none_or(|host| {
                host.links.get(&link.index) != Some(link) && host.addresses.of(link.index).next().is_some()
            }),
            News::LinkGone(index) => {
                self.host.as_ref().is_none_or(|host| host.addresses.of(*index).next().is_some())
            }
            News::Address(held) => {
                self.host.as_ref().is_none_or(|host| host.addresses.get(held.link, held.prefix) != Some(held))
            }
            News::AddressGone(held) => {
                self.host.as_ref().is_none_or(|host| host.addresses.get(held.link, held.prefix).is_some())
            }
            News::RouteGone(_) | News::RuleGone(_) => false,
        };
        self.host.iter_mut().for_each(|host| host.hear(news));
        matters
    }

    fn take(&mut self, memory: Memory, found: Found) {
        self.memory = Some(memory);
        self.tell(&found);
        self.host = found.host;
        if let Some(around) = found.around.filter(|around| self.around.as_ref() != Some(around)) {
            self.around = Some(around.clone());
            self.inputs.push_back(Input::Around(around));
        }
        if found.doors != self.doors {
            self.doors = found.doors.clone();
            self.inputs.push_back(Input::Doors(found.doors));
        }
        self.known_macs.clear();
        for ((_, ip), mac) in found.neighbours {
            self.known_macs.entry(ip).or_default().insert(mac);
        }
        if !self.markings.is_empty() || self.watch.is_none() {
            let again = clock::now() + SWEEP_INTERVAL;
            self.look_at = Some(self.look_at.map_or(again, |at| at.min(again)));
        }
    }

    fn tell(&mut self, found: &Found) {
        for done in &found.done {
            info!("{done}");
        }
        for trouble in found.troubles.difference(&self.troubles) {
            warn!("{trouble}");
        }
        self.troubles.clone_from(&found.troubles);
    }
}

impl Memory {
    /// Reads everything and puts right what is not as wanted, where something is.
    fn look(&mut self, markings: Option<&[Marking]>) -> Found {
        let mut found = Found::default();
        if let Err(trouble) = self.look_with(markings, &mut found) {
            found.troubles.insert(format!("this host's network cannot be read: {trouble}"));
            self.kernel = None;
        }
        found
    }

    fn look_with(&mut self, markings: Option<&[Marking]>, found: &mut Found) -> Result<(), String> {
        let mut kernel = self.kernel.take().map_or_else(Kernel::open, Ok)?;
        let host = kernel.host()?;
        found.around = Some(around(&host));
        if let Some(markings) = markings {
            self.attend(&mut kernel, &host, markings, found)?;
        }
        found.host = Some(host);
        self.kernel = Some(kernel);
        Ok(())
    }

    fn attend(
        &mut self,
        kernel: &mut Kernel,
        host: &Host,
        markings: &[Marking],
        found: &mut Found,
    ) -> Result<(), String> {
        found.doors.cannot_mark = self.cannot_mark;
        let nothing = markings.is_empty() && self.attended.as_ref().is_some_and(BTreeSet::is_empty);
        if nothing {
            return Ok(());
        }
        let peers: BTreeSet<IpAddr> = markings.iter().flat_map(|m| &m.peers).copied().collect();
        for heard in kernel.neighbours()?.into_iter().filter(|heard| peers.contains(&heard.ip)) {
            self.neighbours.insert((heard.link, heard.ip), heard.mac);
        }
        self.neighbours.retain(|(link, ip), _| host.links.contains_key(link) && peers.contains(ip));
        found.neighbours.clone_from(&self.neighbours);
        let unknown = door::unknown(host, &self.neighbours, markings);
        // An address nobody answers for is no trouble: it will be a neighbour before it sends anything.
        let _ = kernel.look_up(&unknown);
        let wanted = door::wanted(host, &self.neighbours, markings);
        let mut unmarked = BTreeSet::new();
        // In its first look somebody's who died with other links or peers is found, too.
        let attended = self.attended.get_or_insert_with(|| door::doors_of(host).map(|l| l.index).collect());
        attended.extend(wanted.keys());
        attended.retain(|link| host.links.contains_key(link));
        for link in attended.clone() {
            let filters = wanted.get(&link).cloned().unwrap_or_default();
            let is_kept = unknown.iter().any(|(of, _)| *of == link);
            let name = host.links.get(&link).map(|link| link.name.as_str()).unwrap_or_default();
            match keep_door(kernel, link, &filters, is_kept) {
                Ok(0) => {}
                Ok(n) => found.done.push(format!("{name}: {n} filters at its door were put right")),
                Err(trouble) => {
                    self.cannot_mark |= trouble.is_lacking;
                    unmarked.extend(filters.iter().map(|filter| filter.mark));
                    let words = trouble.words;
                    found.troubles.insert(format!("{name}: arriving packets cannot be marked: {words}"));
                }
            }
            if filters.is_empty() {
                attended.remove(&link);
            }
        }
        found.doors.cannot_mark = self.cannot_mark;
        // Where no door is, nothing arrives.
        found.doors.marked =
            markings.iter().map(|marking| marking.mark).filter(|mark| !unmarked.contains(mark)).collect();
        Ok(())
    }
}

/// Makes a door what is wanted; how many filters came or went.
fn keep_door(
    kernel: &mut Kernel,
    link: LinkIndex,
    wanted: &BTreeSet<door::Filter>,
    keeps_strangers: bool,
) -> Result<usize, Refused> {
    let (standing, has_others) = kernel.filters(link).map_err(Refused::silence)?;
    let steps = door::steps(&standing, wanted, keeps_strangers);
    if !wanted.is_empty() && standing.is_empty() {
        kernel.add_doors(link)?;
    }
    for step in &steps {
        kernel.take_step(link, step)?;
    }
    // A door without filters does nothing: nobody misses it.
    if wanted.is_empty() && !standing.is_empty() && !has_others {
        kernel.remove_doors(link).map_err(Refused::silence)?;
    }
    Ok(steps.len())
}

/// What a host has around its virtual servers.
pub(crate) fn around(host: &Host) -> Around {
    let usable = || host.addresses.iter().filter(|held| !held.is_unusable);
    let is_shown =
        |link: &LinkIndex| host.links.get(link).is_some_and(|link| !link.is_loopback && !link.is_silent);
    Around {
        own: usable().map(|held| held.prefix.ip).collect(),
        shown: usable().filter(|held| is_shown(&held.link)).map(|held| held.prefix.ip).collect(),
        links: usable().map(|held| (held.prefix.ip, held.link.0)).collect(),
    }
}

async fn ended(job: &mut Option<JoinHandle<(Memory, Found)>>) -> (Memory, Found) {
    let Some(job) = job else { return std::future::pending().await };
    job.await.unwrap_or_else(|error| {
        let trouble = format!("looking at this host's network broke, please report this: {error}");
        (Memory::default(), Found { troubles: BTreeSet::from([trouble]), ..Found::default() })
    })
}

async fn heard(watch: &mut Option<Watch>) -> Result<Told, String> {
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
    async fn links_of_containers_cost_no_look_and_own_links_and_addresses_do() {
        let mut keeper = DoorKeeper::open();
        let eth0 = Link::plain(LinkIndex(9002), "eth0");
        let veth = |n: u32| Link::plain(LinkIndex(n), &format!("veth{n}"));
        let own = HeldAddress::plain(eth0.index, Prefix { ip: [10, 1, 0, 11].into(), length: 24 });
        keeper.host = Some(Host {
            links: [(eth0.index, eth0.clone())].into(),
            addresses: [own].into(),
            ..Host::default()
        });
        let mut looks = |news: Vec<News>| {
            keeper.look_at = None;
            keeper.hear_of(Ok(Told::News(news)));
            keeper.look_at.is_some()
        };
        assert!(!looks((9100..9200).map(|n| News::Link(veth(n))).collect()));
        assert!(!looks((9100..9200).map(|n| News::LinkGone(LinkIndex(n))).collect()));
        assert!(!looks(vec![News::Link(eth0.clone()), News::Address(own)]), "nothing of it is new");
        assert!(looks(vec![News::Link(veth(9300)), News::Link(Link { is_up: false, ..eth0.clone() })]));
        assert!(!looks(vec![News::Link(Link { is_up: false, ..eth0 })]), "it is known by now");
        let other = HeldAddress::plain(LinkIndex(9300), own.prefix);
        assert!(looks(vec![News::Address(other)]));
        assert!(looks(vec![News::LinkGone(LinkIndex(9300))]), "it had an address");
        assert!(looks(vec![News::AddressGone(own)]));
        assert!(!looks(vec![News::AddressGone(own)]));
    }
}
