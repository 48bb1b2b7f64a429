//! What is known of the kernel's table between two readings: our own operations written in, others' found out.

use std::collections::BTreeMap;

use crate::ipvs::backend::Op;
use crate::ipvs::plan::is_same_destination;
use crate::ipvs::types::{DestinationEntry, ServiceEntry, ServiceKey, Stats};

/// How many changes by another program are named, of one service at one time.
const NAMED: usize = 8;

/// Writes an operation the kernel took into what we know of it.
pub(crate) fn record(actual: &mut BTreeMap<ServiceKey, ServiceEntry>, op: Op) {
    match op {
        Op::AddService(key, service) => {
            let entry = ServiceEntry { service, stats: Stats::default(), destinations: BTreeMap::new() };
            actual.insert(key, entry);
        }
        Op::SetService(key, service) => {
            if let Some(entry) = actual.get_mut(&key) {
                entry.service = service;
            }
        }
        Op::RemoveService(key) => {
            actual.remove(&key);
        }
        Op::AddDestination(key, at, destination) | Op::SetDestination(key, at, destination) => {
            if let Some(entry) = actual.get_mut(&key) {
                let known = entry.destinations.get(&at);
                let connections = known.map(|d| d.connections).unwrap_or_default();
                let stats = known.map(|d| d.stats).unwrap_or_default();
                entry.destinations.insert(at, DestinationEntry { destination, connections, stats });
            }
        }
        Op::RemoveDestination(key, at) => {
            if let Some(entry) = actual.get_mut(&key) {
                entry.destinations.remove(&at);
            }
        }
        Op::SetTimeouts(_) | Op::StartSync(_) | Op::StopSync(_) => {}
    }
}

/// How the kernel's service differs from what we knew of it, in words; None when it does not.
pub(super) fn difference(known: &ServiceEntry, found: Option<&ServiceEntry>) -> Option<String> {
    let Some(found) = found else { return Some("the service was deleted".to_owned()) };
    let mut words = Vec::new();
    if known.service.scheduler != found.service.scheduler {
        words.push(format!("scheduler {} became {}", known.service.scheduler, found.service.scheduler));
    } else if known.service != found.service {
        words.push("the service's settings were changed".to_owned());
    }
    for (at, before) in &known.destinations {
        match found.destinations.get(at) {
            None => words.push(format!("destination {at} was deleted")),
            Some(after) if is_same_destination(&before.destination, after) => {}
            Some(after) if before.destination.weight != after.destination.weight => {
                let (before, after) = (before.destination.weight, after.destination.weight);
                words.push(format!("weight of destination {at} went from {before} to {after}"));
            }
            Some(_) => words.push(format!("destination {at} was changed")),
        }
    }
    for at in found.destinations.keys().filter(|at| !known.destinations.contains_key(at)) {
        words.push(format!("destination {at} was added"));
    }
    // Of thousands of changes the first few say enough.
    if let Some(more) = words.len().checked_sub(NAMED).filter(|more| *more > 0) {
        words.truncate(NAMED);
        words.push(format!("and {more} more changes"));
    }
    (!words.is_empty()).then(|| words.join(", "))
}
