//! From one table to another: the operations, in the order that never leaves a service without a server.
//!
//! A pure function over the union of keys. The order, for all services of a plan together: add services, add
//! destinations, update services, raise or change destinations, lower weights, delete destinations, delete
//! services. Services that are neither desired nor owned belong to other programs and stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::backend::Op;
use super::types::{
    DesiredService, Destination, DestinationEntry, DestinationKey, Forwarding, ServiceEntry, ServiceKey,
};

/// The operations that turn `actual` into `desired`, for the services named in `keys`.
///
/// A key absent from `actual` is a service the kernel does not have. A service outside `desired` is deleted
/// only when it is `owned`.
pub(crate) fn plan<'a>(
    keys: impl IntoIterator<Item = &'a ServiceKey>,
    desired: &BTreeMap<ServiceKey, Arc<DesiredService>>,
    actual: &BTreeMap<ServiceKey, ServiceEntry>,
    owned: &BTreeSet<ServiceKey>,
) -> Vec<Op> {
    let mut steps = Steps::default();
    for key in keys {
        match (desired.get(key), actual.get(key)) {
            (Some(want), have) => steps.service(*key, want, have),
            (None, Some(_)) if owned.contains(key) => steps.remove_services.push(Op::RemoveService(*key)),
            (None, _) => {}
        }
    }
    steps.in_order()
}

/// Whether the kernel's destination is what is wanted.
pub(crate) fn is_same_destination(want: &Destination, have: &DestinationEntry) -> bool {
    let have = have.destination;
    // Kernels may turn a destination that is this very host into "local"; that is theirs to decide.
    let forwarding = if have.forwarding == Forwarding::Local { want.forwarding } else { have.forwarding };
    *want == Destination { forwarding, ..have }
}

#[derive(Default)]
struct Steps {
    add_services: Vec<Op>,
    add_destinations: Vec<Op>,
    set_services: Vec<Op>,
    set_destinations: Vec<Op>,
    lower_weights: Vec<Op>,
    remove_destinations: Vec<Op>,
    remove_services: Vec<Op>,
}

impl Steps {
    fn service(&mut self, key: ServiceKey, want: &DesiredService, have: Option<&ServiceEntry>) {
        match have {
            None => self.add_services.push(Op::AddService(key, want.service.clone())),
            Some(have) if have.service != want.service => {
                self.set_services.push(Op::SetService(key, want.service.clone()));
            }
            Some(_) => {}
        }
        let none = BTreeMap::new();
        let present = have.map_or(&none, |h| &h.destinations);
        for (at, destination) in &want.destinations {
            self.destination(key, *at, *destination, present.get(at));
        }
        for at in present.keys().filter(|at| !want.destinations.contains_key(at)) {
            self.remove_destinations.push(Op::RemoveDestination(key, *at));
        }
    }

    fn destination(
        &mut self,
        key: ServiceKey,
        at: DestinationKey,
        want: Destination,
        have: Option<&DestinationEntry>,
    ) {
        match have {
            None => self.add_destinations.push(Op::AddDestination(key, at, want)),
            Some(have) if is_same_destination(&want, have) => {}
            Some(have) if want.weight < have.destination.weight => {
                self.lower_weights.push(Op::SetDestination(key, at, want));
            }
            Some(_) => self.set_destinations.push(Op::SetDestination(key, at, want)),
        }
    }

    fn in_order(self) -> Vec<Op> {
        [
            self.add_services,
            self.add_destinations,
            self.set_services,
            self.set_destinations,
            self.lower_weights,
            self.remove_destinations,
            self.remove_services,
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ipvs::scheduler::Scheduler;
    use crate::ipvs::types::{Protocol, Service, ServiceFlags, Stats};

    #[test]
    fn an_empty_kernel_gets_services_first_and_then_their_destinations() {
        let ops =
            plan_all(&wanted(&[(1, "rr", &[(1, 1), (2, 1)]), (2, "rr", &[(3, 1)])]), &BTreeMap::new(), &[]);
        assert_eq!(shape(&ops), ["+s1", "+s2", "+d1.1", "+d1.2", "+d2.3"]);
    }

    #[test]
    fn a_replacement_arrives_before_its_predecessor_leaves() {
        let have = kernel(&wanted(&[(1, "rr", &[(1, 1), (2, 5)])]));
        let want = wanted(&[(1, "wrr", &[(2, 1), (3, 1)])]);
        assert_eq!(shape(&plan_all(&want, &have, &[])), ["+d1.3", "=s1", "=d1.2", "-d1.1"]);
    }

    #[test]
    fn weights_rise_before_others_fall() {
        let have = kernel(&wanted(&[(1, "rr", &[(1, 5), (2, 0)])]));
        let want = wanted(&[(1, "rr", &[(1, 0), (2, 5)])]);
        assert_eq!(shape(&plan_all(&want, &have, &[])), ["=d1.2", "=d1.1"]);
    }

    #[test]
    fn a_strangers_service_is_left_alone_and_an_owned_one_goes_last() {
        let have = kernel(&wanted(&[(1, "rr", &[(1, 1)]), (2, "rr", &[(1, 1)])]));
        let want = wanted(&[(3, "rr", &[])]);
        assert_eq!(shape(&plan_all(&want, &have, &[])), ["+s3"]);
        assert_eq!(shape(&plan_all(&want, &have, &[2])), ["+s3", "-s2"]);
    }

    #[test]
    fn a_destination_the_kernel_calls_local_is_not_fought_over() {
        let want = wanted(&[(1, "rr", &[(1, 1)])]);
        let mut have = kernel(&want);
        for d in have.get_mut(&key(1)).unwrap().destinations.values_mut() {
            d.destination.forwarding = Forwarding::Local;
        }
        assert!(plan_all(&want, &have, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn applying_a_plan_leads_to_the_desired_table_and_a_second_plan_is_empty(
            want in tables(), have in tables(), owned in prop::collection::vec(0u8..4, 0..4)
        ) {
            let mut table = kernel(&want_of(&have));
            let want = want_of(&want);
            for op in plan_all(&want, &table, &owned) {
                apply(&mut table, op);
            }
            prop_assert_eq!(plan_all(&want, &table, &owned), vec![]);
            for (k, w) in &want {
                let got: BTreeMap<_, _> =
                    table[k].destinations.iter().map(|(a, d)| (*a, d.destination)).collect();
                prop_assert_eq!(&got, &w.destinations);
            }
            for (id, _) in have {
                let kept = want.contains_key(&key(id)) || !owned.contains(&id);
                prop_assert_eq!(table.contains_key(&key(id)), kept);
            }
        }
    }

    /// A service: id, scheduler, destinations with their weights.
    type Sketch<'a> = (u8, &'a str, &'a [(u8, u32)]);

    type Wanted = BTreeMap<ServiceKey, Arc<DesiredService>>;

    fn plan_all(want: &Wanted, have: &BTreeMap<ServiceKey, ServiceEntry>, owned: &[u8]) -> Vec<Op> {
        let keys: BTreeSet<_> = want.keys().chain(have.keys()).copied().collect();
        plan(&keys, want, have, &owned.iter().map(|id| key(*id)).collect())
    }

    fn tables() -> impl Strategy<Value = BTreeMap<u8, Vec<(u8, u32)>>> {
        prop::collection::btree_map(0u8..4, prop::collection::vec((0u8..4, 0u32..3), 0..4), 0..4)
    }

    fn want_of(table: &BTreeMap<u8, Vec<(u8, u32)>>) -> Wanted {
        table.iter().flat_map(|(id, d)| wanted(&[(*id, "rr", d)])).collect()
    }

    fn wanted(services: &[Sketch]) -> Wanted {
        let service = |scheduler: &str, destinations: &[(u8, u32)]| DesiredService {
            service: Service {
                scheduler: Scheduler::new(scheduler).unwrap(),
                flags: ServiceFlags::default(),
                persistence: None,
                persistence_engine: None,
            },
            destinations: destinations.iter().map(|(id, w)| (at(*id), destination(*w))).collect(),
        };
        services.iter().map(|(id, scheduler, d)| (key(*id), Arc::new(service(scheduler, d)))).collect()
    }

    fn kernel(want: &Wanted) -> BTreeMap<ServiceKey, ServiceEntry> {
        let mut table = BTreeMap::new();
        for (k, w) in want {
            apply(&mut table, Op::AddService(*k, w.service.clone()));
            for (a, d) in &w.destinations {
                apply(&mut table, Op::AddDestination(*k, *a, *d));
            }
        }
        table
    }

    /// A kernel that refuses nothing.
    fn apply(table: &mut BTreeMap<ServiceKey, ServiceEntry>, op: Op) {
        let entry = |destination| DestinationEntry {
            destination,
            connections: Default::default(),
            stats: Stats::default(),
        };
        match op {
            Op::AddService(k, service) => {
                let fresh = ServiceEntry { service, stats: Stats::default(), destinations: BTreeMap::new() };
                assert!(table.insert(k, fresh).is_none());
            }
            Op::SetService(k, service) => table.get_mut(&k).unwrap().service = service,
            Op::RemoveService(k) => assert!(table.remove(&k).is_some()),
            Op::AddDestination(k, a, d) => {
                assert!(table.get_mut(&k).unwrap().destinations.insert(a, entry(d)).is_none());
            }
            Op::SetDestination(k, a, d) => {
                table.get_mut(&k).unwrap().destinations.get_mut(&a).unwrap().destination = d;
            }
            Op::RemoveDestination(k, a) => {
                assert!(table.get_mut(&k).unwrap().destinations.remove(&a).is_some());
            }
            Op::SetTimeouts(_) | Op::StartSync(_) | Op::StopSync(_) => unreachable!("not planned here"),
        }
    }

    fn shape(ops: &[Op]) -> Vec<String> {
        let id = |k: &ServiceKey| (1..9).find(|i| key(*i) == *k).unwrap();
        ops.iter()
            .map(|op| match op {
                Op::AddService(k, _) => format!("+s{}", id(k)),
                Op::SetService(k, _) => format!("=s{}", id(k)),
                Op::RemoveService(k) => format!("-s{}", id(k)),
                Op::AddDestination(k, a, _) => format!("+d{}.{}", id(k), a.port()),
                Op::SetDestination(k, a, _) => format!("=d{}.{}", id(k), a.port()),
                Op::RemoveDestination(k, a) => format!("-d{}.{}", id(k), a.port()),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn key(id: u8) -> ServiceKey {
        ServiceKey::Address { protocol: Protocol::Tcp, address: [10, 0, 0, id].into(), port: 80 }
    }

    fn at(id: u8) -> DestinationKey {
        DestinationKey::new([10, 1, 0, id].into(), u16::from(id))
    }

    fn destination(weight: u32) -> Destination {
        Destination { forwarding: Forwarding::Dr, weight, upper_threshold: 0, lower_threshold: 0 }
    }
}
