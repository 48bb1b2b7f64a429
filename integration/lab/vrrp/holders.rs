//! Who holds which address: rtnetlink's events of the directors, as they come.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use neli::consts::socket::{Msg, NlFamily};
use neli::socket::NlSocket;
use neli::utils::Groups;

use crate::lab::host::Host;

/// RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV6_IFADDR.
const GROUPS: [u32; 2] = [5, 9];
const NEW_ADDRESS: u16 = 20;
const DELETE_ADDRESS: u16 = 21;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;

/// An address that came or went.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub at: Instant,
    pub host: String,
    pub address: IpAddr,
    pub prefix: u8,
    pub is_there: bool,
}

#[derive(Debug, Default)]
struct Record {
    changes: Mutex<VecDeque<Change>>,
    changed: Condvar,
}

/// How many changes are kept: those of some hundred failovers. A host that has an address longer than these has had it
/// too long for any question a scenario asks.
const KEPT: usize = 2_000;

/// The events of some hosts; it is recorded until the guest ends.
#[derive(Clone, Debug)]
pub(crate) struct Holders(Arc<Record>);

impl Holders {
    /// Listens in these hosts. What they have before is not known: start before the daemons.
    ///
    /// # Errors
    /// When the kernel refuses a socket.
    pub(crate) fn start(hosts: &[Host]) -> Result<Holders, String> {
        let record = Arc::new(Record::default());
        for host in hosts {
            let name = host.name().to_owned();
            let socket = host.enter(|| {
                NlSocket::connect(NlFamily::Route, None, Groups::new_groups(&GROUPS))
                    .map_err(|e| format!("rtnetlink: {e}"))
            })?;
            let record = Arc::clone(&record);
            std::thread::spawn(move || {
                let mut buffer = vec![0; 1 << 16];
                while let Ok((n, _)) = socket.recv(&mut buffer, Msg::empty()) {
                    let at = Instant::now();
                    for (address, prefix, is_there) in address_changes(buffer.get(..n).unwrap_or_default()) {
                        let change = Change { at, host: name.clone(), address, prefix, is_there };
                        let mut changes = record.changes.lock().unwrap_or_else(PoisonError::into_inner);
                        if changes.len() == KEPT {
                            changes.pop_front();
                        }
                        changes.push_back(change);
                        drop(changes);
                        record.changed.notify_all();
                    }
                }
            });
        }
        Ok(Holders(record))
    }

    /// Waits until a host gets, or loses, an address after `from`, and answers when that was.
    ///
    /// # Errors
    /// At the deadline, with what came and went instead.
    pub(crate) fn wait(
        &self,
        host: &str,
        address: IpAddr,
        is_there: bool,
        from: Instant,
        patience: Duration,
    ) -> Result<Instant, String> {
        let end = Instant::now() + patience;
        let mut changes = self.lock();
        loop {
            let wanted = |c: &&Change| {
                c.at >= from && c.host == host && c.address == address && c.is_there == is_there
            };
            if let Some(change) = changes.iter().find(wanted) {
                return Ok(change.at);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let seen: Vec<String> =
                    changes.iter().rev().take(6).rev().map(|c| format!("  {c:?}")).collect();
                let verb = if is_there { "gets" } else { "loses" };
                return Err(format!(
                    "not within {:.3} s: {host} {verb} {address}; last seen:\n{}",
                    patience.as_secs_f64(),
                    seen.join("\n")
                ));
            }
            changes = self.0.changed.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Who held an address at a moment.
    pub(crate) fn at(&self, address: IpAddr, moment: Instant) -> Vec<String> {
        let mut held = BTreeMap::new();
        for change in self.lock().iter().filter(|c| c.at <= moment && c.address == address) {
            // An address may be there twice, with two prefixes.
            held.insert((change.host.clone(), change.prefix), change.is_there);
        }
        let mut names: Vec<String> =
            held.into_iter().filter(|(_, is)| *is).map(|((name, _), _)| name).collect();
        names.dedup();
        names
    }

    /// What came and went of an address between two moments.
    pub(crate) fn changes(&self, address: IpAddr, from: Instant, to: Instant) -> Vec<Change> {
        self.lock().iter().filter(|c| c.address == address && c.at >= from && c.at <= to).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The addresses a datagram of rtnetlink tells about.
fn address_changes(mut datagram: &[u8]) -> Vec<(IpAddr, u8, bool)> {
    let mut found = Vec::new();
    while let Some(length) = native(datagram, 0..4).filter(|l| *l >= 16) {
        let kind = native(datagram, 4..6);
        let message = datagram.get(16..length).unwrap_or_default();
        let is_there = match kind {
            Some(k) if k == usize::from(NEW_ADDRESS) => Some(true),
            Some(k) if k == usize::from(DELETE_ADDRESS) => Some(false),
            _ => None,
        };
        if let (Some(is_there), Some(prefix), Some(address)) = (is_there, message.get(1), address(message)) {
            found.push((address, *prefix, is_there));
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The address of an `ifaddrmsg`: IFA_LOCAL where there is one, which is how a peer's address tells itself apart.
fn address(message: &[u8]) -> Option<IpAddr> {
    let mut attributes = message.get(8..)?;
    let mut found = None;
    while let Some(length) = native(attributes, 0..2).filter(|l| *l >= 4) {
        let kind = native(attributes, 2..4)?;
        let value = attributes.get(4..length)?;
        let address = match *value {
            [a, b, c, d] => Some(IpAddr::from([a, b, c, d])),
            _ => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        };
        if kind == usize::from(IFA_LOCAL) || (kind == usize::from(IFA_ADDRESS) && found.is_none()) {
            found = address;
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// A number of two or four bytes in the machine's order.
fn native(bytes: &[u8], range: std::ops::Range<usize>) -> Option<usize> {
    match *bytes.get(range)? {
        [a, b] => Some(usize::from(u16::from_ne_bytes([a, b]))),
        [a, b, c, d] => usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok(),
        _ => None,
    }
}
