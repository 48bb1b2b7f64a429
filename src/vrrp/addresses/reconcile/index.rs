//! Where in the list of what is desired a thing stands: what one event costs must not grow with the number of VIPs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{AddressKey, Key, address_key};
use crate::net::types::{Address, Prefix, Route, Rule};
use crate::vrrp::addresses::desired::{Desired, DesiredNetwork};

/// Places in the lists of [`DesiredNetwork`]; of what is listed twice, the first one.
#[derive(Debug, Default)]
pub(crate) struct Index {
    places: BTreeMap<Key, usize>,
    /// Routes by table and destination as the kernel shows them.
    routes: BTreeMap<(u32, Prefix), Vec<usize>>,
    /// Rules as the kernel shows them, but for their priority.
    rules: BTreeMap<Rule, Vec<usize>>,
    links: BTreeSet<String>,
    /// There is a route whose link the kernel finds.
    has_free_route: bool,
}

impl Index {
    pub(crate) fn of(desired: &DesiredNetwork) -> Index {
        let mut index = Index::default();
        let vmacs = desired.vmacs.iter().map(|v| Key::Vmac(v.name.clone())).enumerate();
        let addresses =
            desired.addresses.iter().map(|entry| Key::Address(address_key(&entry.value))).enumerate();
        let routes = desired.routes.iter().map(|entry| Key::Route(Arc::clone(&entry.value))).enumerate();
        let rules = desired.rules.iter().map(|entry| Key::Rule(Arc::clone(&entry.value))).enumerate();
        for (place, key) in vmacs.chain(addresses).chain(routes).chain(rules) {
            index.places.entry(key).or_insert(place);
        }
        index.links.extend(desired.vmacs.iter().flat_map(|vmac| [vmac.name.clone(), vmac.base.clone()]));
        index.links.extend(desired.addresses.iter().map(|entry| entry.value.link.clone()));
        index.links.extend(desired.forbidden.iter().map(|(link, _)| link.clone()));
        let hops = || desired.routes.iter().flat_map(|entry| &entry.value.hops);
        index.links.extend(hops().filter_map(|hop| hop.link.clone()));
        index.has_free_route = hops().any(|hop| hop.link.is_none());
        let rules = desired.rules.iter().map(|entry| &entry.value);
        index.links.extend(rules.flat_map(|rule| rule.input_link.iter().chain(&rule.output_link).cloned()));
        for (place, entry) in desired.routes.iter().enumerate() {
            index.routes.entry(of_route(&entry.value)).or_default().push(place);
        }
        for (place, entry) in desired.rules.iter().enumerate() {
            index.rules.entry(of_rule(&entry.value)).or_default().push(place);
        }
        index
    }

    /// Whether something desired may depend on that link.
    pub(crate) fn needs_link(&self, name: &str) -> bool {
        self.has_free_route || self.links.contains(name)
    }

    /// Whether it is desired.
    pub(crate) fn contains(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    pub(crate) fn place(&self, key: &Key) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// The desired address of that link, address and length.
    pub(crate) fn address<'a>(
        &self,
        desired: &'a DesiredNetwork,
        key: &AddressKey,
    ) -> Option<&'a Desired<Address>> {
        desired.addresses.get(self.place(&Key::Address(key.clone()))?)
    }

    /// Whether an address is desired on that link, with any prefix length.
    pub(crate) fn has_address(&self, link: &str, ip: IpAddr) -> bool {
        let first = Key::Address((link.to_owned(), Prefix { ip, length: 0 }));
        let next = self.places.range(first..).next();
        matches!(next, Some((Key::Address((at, prefix)), _)) if at == link && prefix.ip == ip)
    }

    /// The desired route that the kernel shows so.
    pub(crate) fn route<'a>(&self, desired: &'a DesiredNetwork, shown: &Route) -> Option<&'a Arc<Route>> {
        let places = self.routes.get(&of_route(shown))?.iter();
        places
            .filter_map(|place| desired.routes.get(*place))
            .map(|entry| &entry.value)
            .find(|it| it.is_same(shown))
    }

    /// The desired rule that the kernel shows so.
    pub(crate) fn rule<'a>(&self, desired: &'a DesiredNetwork, shown: &Rule) -> Option<&'a Arc<Rule>> {
        let places = self.rules.get(&of_rule(shown))?.iter();
        places
            .filter_map(|place| desired.rules.get(*place))
            .map(|entry| &entry.value)
            .find(|it| it.is_same(shown))
    }
}

pub(crate) fn of_route(route: &Route) -> (u32, Prefix) {
    let canonical = route.canonical();
    (canonical.table, canonical.destination)
}

pub(crate) fn of_rule(rule: &Rule) -> Rule {
    Rule { priority: None, ..rule.canonical() }
}
