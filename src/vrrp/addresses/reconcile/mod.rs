//! Reconciles the kernel's addresses, routes, rules and VMACs with the desired ones.
//!
//! One request is under way at a time. What the kernel reports about addresses and links counts more than what was asked
//! of it. Routes and rules count as present from the kernel's answer on, and are read now and then. Why an entry is
//! desired is not known here.

mod index;
mod observe;
mod owner;
mod plan;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::index::Index;
use super::desired::{Desired, DesiredNetwork};
use crate::net::types::{Address, HeldAddress, Host, LinkIndex, Op, Prefix, Refusal, Route, Rule, Vmac};
use crate::time::Instant;
use crate::vrrp::event::Event;

/// First pause after a refusal, doubled up to the last.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// First pause between two repairs of the same entry, doubled up to the last: another program removes it again and again.
const FIGHT_PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(10));
/// Peace after which the next repair is immediate again.
const PEACE: Duration = Duration::from_secs(60);

/// An address as the kernel identifies it: link and prefix.
pub(crate) type AddressKey = (String, Prefix);

/// Something that can be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Vmac(String),
    Address(AddressKey),
    Route(Arc<Route>),
    Rule(Arc<Rule>),
}

/// An address of an instance that came to be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Appeared {
    /// Whose it is.
    pub instance: String,
    pub link: String,
    pub ip: IpAddr,
}

#[derive(Debug, Default)]
struct Pause {
    next: Instant,
    last: Instant,
    length: Duration,
    is_reported: bool,
}

/// A request that is under way.
#[derive(Debug, Default)]
struct InFlight {
    ops: Vec<(Key, Op)>,
    /// Addresses in it; whether the last operation adds or removes them.
    addresses: BTreeMap<AddressKey, bool>,
}

impl InFlight {
    fn new(ops: Vec<(Key, Op)>) -> InFlight {
        let addresses = ops.iter().filter_map(|(key, op)| match key {
            Key::Address(key) => Some((key.clone(), matches!(op, Op::AddAddress(_)))),
            _ => None,
        });
        InFlight { addresses: addresses.collect(), ops }
    }
}

/// What is, and what should be.
#[derive(Debug)]
pub(crate) struct AddressReconciler {
    desired: DesiredNetwork,
    index: Index,
    /// Addresses that are ours to remove, and as what they were added.
    ours: BTreeMap<AddressKey, Arc<Address>>,
    /// The host's own, though they are configured as virtual addresses.
    hosts_own: BTreeSet<AddressKey>,
    /// Routes, rules and VMACs that are there as far as is known.
    done: BTreeSet<Key>,
    /// Routes and rules that are ours to remove, until the kernel says that they are not there.
    added: BTreeSet<Key>,
    vmacs: BTreeMap<String, Arc<Vmac>>,
    /// Links that are switched off, however they count.
    off: BTreeSet<LinkIndex>,
    in_flight: Option<InFlight>,
    /// Addresses the kernel reported while a request was under way: its report counts.
    touched: BTreeSet<AddressKey>,
    pauses: BTreeMap<Key, Pause>,
    /// Not to be mended (`no_track`), until they are desired anew.
    not_restored: BTreeSet<Key>,
    /// Removed by another program, not yet restored.
    removed_by_others: BTreeSet<Key>,
    restored: BTreeMap<String, u64>,
    refused: BTreeMap<Key, String>,
    is_dirty: bool,
    wake: Option<Instant>,
    events: Vec<Event>,
    /// Addresses of instances that are there, and those that came since the last query.
    present: BTreeSet<Appeared>,
    appeared: BTreeSet<Appeared>,
    rng: fastrand::Rng,
}

impl AddressReconciler {
    /// Nothing desired, nothing there. `seed` is all its chance.
    pub(crate) fn new(seed: u64) -> AddressReconciler {
        AddressReconciler {
            desired: DesiredNetwork::default(),
            index: Index::default(),
            ours: BTreeMap::new(),
            hosts_own: BTreeSet::new(),
            done: BTreeSet::new(),
            added: BTreeSet::new(),
            vmacs: BTreeMap::new(),
            off: BTreeSet::new(),
            in_flight: None,
            touched: BTreeSet::new(),
            pauses: BTreeMap::new(),
            not_restored: BTreeSet::new(),
            removed_by_others: BTreeSet::new(),
            restored: BTreeMap::new(),
            refused: BTreeMap::new(),
            is_dirty: false,
            wake: None,
            events: Vec::new(),
            present: BTreeSet::new(),
            appeared: BTreeSet::new(),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Other things should be there.
    pub(crate) fn set_desired(&mut self, desired: DesiredNetwork) {
        if desired == self.desired {
            return;
        }
        let index = Index::of(&desired);
        let before = std::mem::replace(&mut self.index, index);
        self.desired = desired;
        self.is_dirty = true;
        let desired = &self.index;
        self.not_restored.retain(|key| desired.contains(key));
        self.removed_by_others.retain(|key| desired.contains(key));
        self.refused.retain(|key, _| desired.contains(key));
        // What is desired anew, or no longer, is tried at once.
        self.pauses.retain(|key, _| desired.contains(key) == before.contains(key));
    }

    fn is_tracked(&self, key: &Key) -> bool {
        let place = self.index.place(key);
        match key {
            Key::Vmac(_) => true,
            Key::Address(_) => {
                place.and_then(|n| self.desired.addresses.get(n)).is_some_and(|entry| entry.is_tracked)
            }
            Key::Route(_) => {
                place.and_then(|n| self.desired.routes.get(n)).is_some_and(|entry| entry.is_tracked)
            }
            Key::Rule(_) => {
                place.and_then(|n| self.desired.rules.get(n)).is_some_and(|entry| entry.is_tracked)
            }
        }
    }

    fn is_forbidden(&self, link: &str, ip: IpAddr) -> bool {
        self.desired.forbidden.contains(&(link.to_owned(), ip))
    }

    /// When there is something to try again.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wake.filter(|_| self.in_flight.is_none())
    }

    /// Nothing is under way, and nothing is left to do or to try again.
    pub(crate) fn is_converged(&self) -> bool {
        self.in_flight.is_none() && !self.is_dirty && self.wake.is_none()
    }

    fn present_addresses(&self, host: &Host) -> BTreeSet<Appeared> {
        self.held(host)
            .map(|(_, entry)| Appeared {
                instance: entry.instance.clone(),
                link: entry.value.link.clone(),
                ip: entry.value.prefix.ip,
            })
            .collect()
    }

    /// The kernel answered; `host` becomes what that makes of it.
    pub(crate) fn applied(&mut self, refusals: &[Refusal], host: &mut Host, now: Instant) {
        let Some(asked) = self.in_flight.take() else { return };
        let touched = std::mem::take(&mut self.touched);
        // Refusals have the order of what was asked.
        let mut refusals = refusals.iter().peekable();
        for (key, op) in asked.ops {
            match refusals.next_if(|refusal| refusal.op == op) {
                Some(refusal) => self.refused(key, refusal, now),
                None => {
                    self.refused.remove(&key);
                    if self.pauses.get(&key).is_some_and(|pause| pause.is_reported) {
                        self.pauses.remove(&key);
                    }
                    self.succeeded(op, key, &touched, host);
                }
            }
        }
        self.is_dirty = true;
    }

    fn succeeded(&mut self, op: Op, key: Key, touched: &BTreeSet<AddressKey>, host: &mut Host) {
        let place = match &key {
            Key::Address(place) => host.link(&place.0).map(|l| (l.index, place.clone())),
            _ => None,
        };
        let believed = place.filter(|(_, place)| !touched.contains(place));
        match op {
            Op::AddAddress(address) => {
                if let Some((link, place)) = believed {
                    host.addresses.insert(held(link, place.1, address.scope));
                }
            }
            Op::RemoveAddress { .. } => {
                if let Some((link, place)) = believed {
                    host.addresses.remove(link, place.1);
                }
            }
            Op::RemoveRoute(_) | Op::RemoveRule(_) => {
                self.done.remove(&key);
                self.added.remove(&key);
                return;
            }
            Op::RemoveVmac(vmac) => {
                self.done.remove(&key);
                self.vmacs.retain(|_, known| *known != vmac);
                return;
            }
            Op::AddVmac(_) | Op::AddRule(_) => {
                self.done.insert(key.clone());
            }
            Op::AddRoute(route) => {
                self.done.insert(key.clone());
                // What had its place has been replaced.
                let is_replaced = |other: &Key| *other != key && is_in_the_way_of(other, &route);
                self.added.retain(|other| !is_replaced(other));
                self.done.retain(|other| !is_replaced(other));
            }
        }
        if self.removed_by_others.remove(&key) {
            let instance = self.instance_of(&key);
            let times = self.restored.entry(instance.clone()).or_default();
            *times += 1;
            self.events.push(Event::Restored { instance, what: words(&key), times: *times });
        }
    }

    fn refused(&mut self, key: Key, refusal: &Refusal, now: Instant) {
        let instance = self.instance_of(&key);
        let text = format!("{}: {}", words(&key), refusal.text);
        let pause = self.pauses.entry(key.clone()).or_default();
        pause.length = (pause.length * 2).clamp(REFUSED_PAUSE.0, REFUSED_PAUSE.1);
        // Spread, or all that was refused together is tried together for ever.
        pause.next = now + pause.length + self.rng.u32(0..100) * pause.length / 800;
        if self.refused.insert(key, text.clone()).is_none() || !pause.is_reported {
            self.events.push(Event::Refused { instance, what: text });
        }
        pause.is_reported = true;
    }

    fn instance_of(&self, key: &Key) -> String {
        let place = self.index.place(key);
        let found = match key {
            Key::Vmac(_) => None,
            Key::Address(_) => place.and_then(|n| self.desired.addresses.get(n)).map(|entry| &entry.instance),
            Key::Route(_) => place.and_then(|n| self.desired.routes.get(n)).map(|entry| &entry.instance),
            Key::Rule(_) => place.and_then(|n| self.desired.rules.get(n)).map(|entry| &entry.instance),
        };
        found.cloned().unwrap_or_default()
    }

    /// Why a VMAC cannot be made.
    pub(crate) fn vmac_trouble(&self, name: &str) -> Option<&str> {
        self.refused.get(&Key::Vmac(name.to_owned())).map(String::as_str)
    }

    /// Whether a VMAC is there.
    pub(crate) fn has_vmac(&self, name: &str) -> bool {
        self.done.contains(&Key::Vmac(name.to_owned()))
    }

    /// Addresses of instances that are ours and there.
    pub(crate) fn held<'a>(
        &'a self,
        host: &'a Host,
    ) -> impl Iterator<Item = (LinkIndex, &'a Desired<Address>)> {
        self.desired.addresses.iter().filter(|entry| !entry.instance.is_empty()).filter_map(|entry| {
            let link = host.link(&entry.value.link)?;
            let is_hosts_own = self.is_hosts_own(&link.name, entry.value.prefix.ip);
            (is_hosts_own || is_present(host, link.index, entry.value.prefix)).then_some((link.index, entry))
        })
    }

    /// Addresses of instances that we added or are adding: to be removed when we die. One that is not there yet is
    /// removed without harm.
    pub(crate) fn added<'a>(&'a self, host: &'a Host) -> impl Iterator<Item = (LinkIndex, Prefix)> {
        let of_instances = self.desired.addresses.iter().filter(|entry| !entry.instance.is_empty());
        let added = of_instances.filter(|entry| self.ours.contains_key(&address_key(&entry.value)));
        added.filter_map(|entry| Some((host.link(&entry.value.link)?.index, entry.value.prefix)))
    }

    /// Whether an instance has that address there, so that it may be announced.
    pub(crate) fn has(&self, host: &Host, instance: &str, link: &str, ip: IpAddr) -> bool {
        let Some(index) = host.link(link).map(|link| link.index) else { return false };
        let is_hosts_own = self.is_hosts_own(link, ip);
        prefixes_of(host, index, ip).any(|held| {
            let entry = self.index.address(&self.desired, &(link.to_owned(), held.prefix));
            entry.is_some_and(|entry| entry.instance == instance)
        }) || is_hosts_own
    }

    /// How often something of an instance was put back.
    pub(crate) fn restored(&self, instance: &str) -> u64 {
        self.restored.get(instance).copied().unwrap_or(0)
    }

    /// What the kernel refuses, in words.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = &str> {
        self.refused.values().map(String::as_str)
    }

    /// What happened since the last time this was asked.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The addresses of an instance that are there count as new: it became Master, and had them before (after a hand-over,
    /// on another VRID).
    pub(crate) fn count_as_appeared(&mut self, instance: &str) {
        let present = self.present.iter().filter(|it| it.instance == instance);
        self.appeared.extend(present.cloned());
    }

    /// What came to be there since the last time this was asked.
    pub(crate) fn take_appeared(&mut self) -> BTreeSet<Appeared> {
        std::mem::take(&mut self.appeared)
    }
}

fn address_key(address: &Address) -> AddressKey {
    (address.link.clone(), address.prefix)
}

/// The kernel keeps one route for each of these; a newer one takes the place of the older.
fn is_in_the_way_of(key: &Key, route: &Route) -> bool {
    let Key::Route(other) = key else { return false };
    let identity = |route: &Route| {
        let r = route.canonical();
        (r.destination, r.from, r.table, r.tos, r.metric)
    };
    identity(other) == identity(route)
}

fn words(key: &Key) -> String {
    match key {
        Key::Vmac(name) => format!("VMAC {name}"),
        Key::Address((link, prefix)) => format!("address {prefix} on {link}"),
        Key::Route(route) => format!("route to {} in table {}", route.destination, route.table),
        Key::Rule(rule) => match rule.priority {
            Some(priority) => format!("rule {priority}"),
            None => "a rule".to_owned(),
        },
    }
}

fn held(link: LinkIndex, prefix: Prefix, scope: u8) -> HeldAddress {
    HeldAddress { scope, ..HeldAddress::plain(link, prefix) }
}

/// That address of a link, with any prefix length.
pub(crate) fn prefixes_of(host: &Host, link: LinkIndex, ip: IpAddr) -> impl Iterator<Item = &HeldAddress> {
    host.addresses.from(link, Prefix { ip, length: 0 }).take_while(move |h| h.prefix.ip == ip)
}

/// Whether a link has that address with that prefix length.
pub(crate) fn is_present(host: &Host, link: LinkIndex, prefix: Prefix) -> bool {
    host.addresses.get(link, prefix).is_some()
}
