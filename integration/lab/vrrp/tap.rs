//! A tap on the segment's wire: every advertisement, announcement and membership report, and when it passed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::frame::{Advert, Message, read};
use super::packet_socket::{LONGEST, PacketSocket};
use super::segment::WIRE;
use crate::lab::Lab;
use crate::lab::topology::{SWITCH, batch};

/// What passed, and when.
#[derive(Clone, Debug)]
pub(crate) struct Passed {
    pub at: Instant,
    pub message: Message,
    /// The whole frame.
    pub frame: Vec<u8>,
}

/// How many frames are kept; older ones are forgotten. A day of ten instances is not to fill the guest.
const KEPT: usize = 200_000;

#[derive(Debug, Default)]
struct Record {
    passed: Mutex<VecDeque<Passed>>,
    changed: Condvar,
}

/// The tap; it records until the guest ends.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<Record>);

impl Tap {
    /// Listens on the segment's bridge.
    ///
    /// # Errors
    /// When there is no such bridge.
    pub(crate) fn start(lab: &Lab) -> Result<Tap, String> {
        Tap::on(lab, WIRE)
    }

    /// Listens on a bridge, which passes every frame up, for any destination.
    ///
    /// # Errors
    /// When there is no such bridge.
    pub(crate) fn on(lab: &Lab, bridge: &str) -> Result<Tap, String> {
        batch(Some(SWITCH), &format!("link set {bridge} promisc on\n"))?;
        let switch = lab.host(SWITCH)?;
        let socket = switch.enter(|| PacketSocket::open(bridge))?;
        let record = Arc::new(Record::default());
        let tap = Tap(Arc::clone(&record));
        std::thread::spawn(move || {
            let mut buffer = vec![0; LONGEST];
            while let Ok(frame) = socket.receive(&mut buffer) {
                let at = Instant::now();
                if let Some(message) = read(frame) {
                    let frame = frame.to_vec();
                    let mut passed = record.passed.lock().unwrap_or_else(PoisonError::into_inner);
                    if passed.len() == KEPT {
                        passed.pop_front();
                    }
                    passed.push_back(Passed { at, message, frame });
                    drop(passed);
                    record.changed.notify_all();
                }
            }
        });
        Ok(tap)
    }

    /// Waits for the first frame after `from` of which `pick` makes something.
    ///
    /// # Errors
    /// At the deadline, with what passed instead.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        from: Instant,
        patience: Duration,
        mut pick: impl FnMut(&Passed) -> Option<T>,
    ) -> Result<T, String> {
        let end = Instant::now() + patience;
        let mut passed = self.lock();
        loop {
            if let Some(found) = since(&passed, from).find_map(&mut pick) {
                return Ok(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let tail: Vec<String> =
                    passed.iter().rev().take(6).rev().map(|p| describe(p, from)).collect();
                return Err(format!(
                    "not on the wire within {:.3} s: {what}; last seen:\n{}",
                    patience.as_secs_f64(),
                    tail.join("\n")
                ));
            }
            passed = self.0.changed.wait_timeout(passed, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits for an advertisement after `from`.
    ///
    /// # Errors
    /// At the deadline, with what passed instead.
    pub(crate) fn wait_advert(
        &self,
        what: &str,
        from: Instant,
        patience: Duration,
        is_it: impl Fn(&Advert) -> bool,
    ) -> Result<(Instant, Advert), String> {
        self.wait(what, from, patience, |p| match &p.message {
            Message::Advert(advert) if is_it(advert) => Some((p.at, advert.clone())),
            _ => None,
        })
    }

    /// Everything that passed between two moments.
    pub(crate) fn between(&self, from: Instant, to: Instant) -> Vec<Passed> {
        since(&self.lock(), from).take_while(|p| p.at <= to).cloned().collect()
    }

    /// Advertisements of a VRID between two moments.
    pub(crate) fn adverts(&self, vrid: u8, from: Instant, to: Instant) -> Vec<(Instant, Advert)> {
        self.between(from, to)
            .into_iter()
            .filter_map(|p| match p.message {
                Message::Advert(advert) if advert.vrid == vrid => Some((p.at, advert)),
                _ => None,
            })
            .collect()
    }

    /// Who says, between two moments, that it is master of a VRID: each source once, in order.
    pub(crate) fn peers(&self, vrid: u8, from: Instant, to: Instant) -> Vec<IpAddr> {
        let mut found = Vec::new();
        for (_, advert) in self.adverts(vrid, from, to) {
            if advert.priority > 0 && !found.contains(&advert.source) {
                found.push(advert.source);
            }
        }
        found
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Passed>> {
        self.0.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What passed from a moment on. They are in the order of time, and many.
fn since(passed: &VecDeque<Passed>, from: Instant) -> impl Iterator<Item = &Passed> {
    passed.range(passed.partition_point(|p| p.at < from)..)
}

/// One line about a frame, in time since `from`.
fn describe(passed: &Passed, from: Instant) -> String {
    let sign = if passed.at < from { "-" } else { "+" };
    let off = passed.at.saturating_duration_since(from).max(from.saturating_duration_since(passed.at));
    format!("  {sign}{:.6} s {:?}", off.as_secs_f64(), passed.message)
}
