//! Probe services: each a service of one of lvsd's marks with one destination, in the kernel while a probe needs it.
//!
//! They belong to no virtual server, so neither the reconciler nor the state file knows them. A service with such a
//! mark that no probe needs was left by an earlier process, or by a request whose result is unknown: it is removed
//! when it is seen. There are at most as many as marks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::director::checkers::CheckerId;
use crate::director::marks::Marks;
use crate::director::reconcile::Request;
use crate::director::reconcile::op_error::{back_off, explain, is_surprise};
use crate::ipvs::backend::{Error, Op, Refusal};
use crate::ipvs::types::{Destination, Family, Service, ServiceKey};
use crate::time::Instant;

#[derive(Debug, Default)]
pub(super) struct ProbeServices {
    marks: Marks,
    services: BTreeMap<ServiceKey, ProbeService>,
    /// A request of ours is under way.
    in_flight: Option<Vec<Op>>,
    failures: u32,
    retry_at: Instant,
}

#[derive(Clone, Debug)]
enum ProbeService {
    /// To be created for a check.
    Requested(CheckerId, Service, SocketAddr, Destination),
    /// The kernel was asked to create it; None when the check has ended since.
    Creating(Option<CheckerId>),
    Ready,
    /// To be removed.
    Unneeded,
    Removing,
}

/// The result of a requested probe service.
#[derive(Debug)]
pub(super) enum Created {
    Ready(CheckerId, ServiceKey),
    Failed(CheckerId, String),
}

impl ProbeServices {
    pub(super) fn configure(&mut self, marks: Marks) {
        self.marks = marks;
    }

    pub(super) fn contains(&self, key: ServiceKey) -> bool {
        self.marks.is_probe_service(key) || self.services.contains_key(&key)
    }

    /// A key that is not in use.
    pub(super) fn free_key(&self, family: Family) -> Option<ServiceKey> {
        let keys = self.marks.probe_marks().map(|mark| ServiceKey::Fwmark { family, mark });
        keys.into_iter().find(|key| !self.services.contains_key(key))
    }

    /// Has the probe service of a check created.
    pub(super) fn create(
        &mut self,
        key: ServiceKey,
        check: CheckerId,
        service: Service,
        (at, destination): (SocketAddr, Destination),
    ) {
        self.services.insert(key, ProbeService::Requested(check, service, at, destination));
    }

    /// Has a probe service removed that no check needs any more.
    pub(super) fn remove(&mut self, key: ServiceKey) {
        match self.services.get_mut(&key) {
            Some(ProbeService::Requested(..)) => drop(self.services.remove(&key)),
            Some(ProbeService::Creating(check)) => *check = None,
            Some(service @ ProbeService::Ready) => *service = ProbeService::Unneeded,
            Some(ProbeService::Unneeded | ProbeService::Removing) | None => {}
        }
    }

    pub(super) fn remove_all(&mut self) {
        for key in self.services.keys().copied().collect::<Vec<_>>() {
            self.remove(key);
        }
    }

    /// Has every service removed that was found in the kernel and that is unknown here.
    pub(super) fn on_keys(&mut self, present: &BTreeSet<ServiceKey>) {
        for key in present.iter().filter(|key| self.contains(**key)).copied().collect::<Vec<_>>() {
            self.services.entry(key).or_insert(ProbeService::Unneeded);
        }
    }

    /// The next request.
    pub(super) fn request(&mut self, now: Instant) -> Option<Request> {
        if self.in_flight.is_some() || now < self.retry_at {
            return None;
        }
        let mut ops = Vec::new();
        for (key, service) in &mut self.services {
            match service {
                ProbeService::Requested(check, settings, at, destination) => {
                    ops.push(Op::AddService(*key, settings.clone()));
                    ops.push(Op::AddDestination(*key, *at, *destination));
                    *service = ProbeService::Creating(Some(*check));
                }
                ProbeService::Unneeded => {
                    ops.push(Op::RemoveService(*key));
                    *service = ProbeService::Removing;
                }
                ProbeService::Creating(_) | ProbeService::Ready | ProbeService::Removing => {}
            }
        }
        if ops.is_empty() {
            return None;
        }
        self.in_flight = Some(ops.clone());
        Some(Request::Apply(ops))
    }

    /// Takes the kernel's answer to its request.
    pub(super) fn on_applied(&mut self, now: Instant, result: &Result<Vec<Refusal>, Error>) -> Vec<Created> {
        let Some(ops) = self.in_flight.take() else { return Vec::new() };
        let refused: BTreeMap<ServiceKey, (Op, Refusal)> = match result {
            Ok(refusals) => {
                (self.failures, self.retry_at) = (0, Instant::ZERO);
                refusals
                    .iter()
                    .rev()
                    .filter_map(|r| Some((ops.get(r.index)?, r)))
                    .filter_map(|(op, r)| Some((*op.service()?, (op.clone(), r.clone()))))
                    .collect()
            }
            Err(_) => {
                self.failures += 1;
                self.retry_at = now + back_off(self.failures);
                BTreeMap::new()
            }
        };
        let mut created = Vec::new();
        let touched: BTreeSet<ServiceKey> = ops.iter().filter_map(|op| op.service().copied()).collect();
        for key in touched {
            let failure = match (result, refused.get(&key)) {
                (Err(error), _) => Some(error.to_string()),
                (Ok(_), Some((op, refusal))) => Some(explain(op, refusal)),
                (Ok(_), None) => None,
            };
            let is_absent = refused.get(&key).is_some_and(|(op, refusal)| is_surprise(op, refusal.errno));
            let next = match (self.services.remove(&key), failure) {
                (Some(ProbeService::Creating(Some(check))), None) => {
                    created.push(Created::Ready(check, key));
                    Some(ProbeService::Ready)
                }
                (Some(ProbeService::Creating(check)), Some(failure)) => {
                    created.extend(check.map(|check| Created::Failed(check, failure)));
                    Some(ProbeService::Unneeded)
                }
                (Some(ProbeService::Creating(None)), None) => Some(ProbeService::Unneeded),
                (Some(ProbeService::Removing), None) => None,
                (Some(ProbeService::Removing), Some(_)) if is_absent => None,
                (Some(ProbeService::Removing), Some(_)) => {
                    // Refused for another reason: not at once again.
                    self.retry_at = self.retry_at.max(now + back_off(self.failures.max(1)));
                    Some(ProbeService::Unneeded)
                }
                (service, _) => service,
            };
            if let Some(next) = next {
                self.services.insert(key, next);
            }
        }
        created
    }

    fn has_work(&self) -> bool {
        let is_work = |s: &ProbeService| matches!(s, ProbeService::Requested(..) | ProbeService::Unneeded);
        self.services.values().any(is_work)
    }

    /// When there is something to write that no answer announces.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.in_flight.is_none() && self.has_work()).then_some(self.retry_at)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether none is left in the kernel.
    pub(super) fn is_released(&self) -> bool {
        self.services.is_empty() && self.in_flight.is_none()
    }
}
