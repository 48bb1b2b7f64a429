//! Where in the list of what is desired a thing stands: what one news item costs must not grow with the number of VIPs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::{AddressKey, Key, Want, Wanted, address_key};
use crate::net::types::{Address, Prefix, Route, Rule};

/// Places in the lists of [`Wanted`]; of what is listed twice, the first one.
#[derive(Debug, Default)]
pub(super) struct Index {
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
    pub(super) fn of(wanted: &Wanted) -> Index {
        let mut index = Index::default();
        let vmacs = wanted.vmacs.iter().map(|v| Key::Vmac(v.name.clone())).enumerate();
        let addresses = wanted.addresses.iter().map(|w| Key::Address(address_key(&w.it))).enumerate();
        let routes = wanted.routes.iter().map(|w| Key::Route(Arc::clone(&w.it))).enumerate();
        let rules = wanted.rules.iter().map(|w| Key::Rule(Arc::clone(&w.it))).enumerate();
        for (place, key) in vmacs.chain(addresses).chain(routes).chain(rules) {
            index.places.entry(key).or_insert(place);
        }
        index.links.extend(wanted.vmacs.iter().flat_map(|vmac| [vmac.name.clone(), vmac.base.clone()]));
        index.links.extend(wanted.addresses.iter().map(|want| want.it.link.clone()));
        index.links.extend(wanted.forbidden.iter().map(|(link, _)| link.clone()));
        let hops = || wanted.routes.iter().flat_map(|want| &want.it.hops);
        index.links.extend(hops().filter_map(|hop| hop.link.clone()));
        index.has_free_route = hops().any(|hop| hop.link.is_none());
        let rules = wanted.rules.iter().map(|want| &want.it);
        index.links.extend(rules.flat_map(|rule| rule.input_link.iter().chain(&rule.output_link).cloned()));
        for (place, want) in wanted.routes.iter().enumerate() {
            index.routes.entry(of_route(&want.it)).or_default().push(place);
        }
        for (place, want) in wanted.rules.iter().enumerate() {
            index.rules.entry(of_rule(&want.it)).or_default().push(place);
        }
        index
    }

    /// Whether something desired may depend on that link.
    pub(super) fn needs_link(&self, name: &str) -> bool {
        self.has_free_route || self.links.contains(name)
    }

    /// Whether it is desired.
    pub(super) fn contains(&self, key: &Key) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn place(&self, key: &Key) -> Option<usize> {
        self.places.get(key).copied()
    }

    /// The desired address of that link, address and length.
    pub(super) fn address<'a>(&self, wanted: &'a Wanted, key: &AddressKey) -> Option<&'a Want<Address>> {
        wanted.addresses.get(self.place(&Key::Address(key.clone()))?)
    }

    /// Whether an address is desired on that link, with whatever length.
    pub(super) fn has_address(&self, link: &str, ip: IpAddr) -> bool {
        let first = Key::Address((link.to_owned(), Prefix { ip, length: 0 }));
        let next = self.places.range(first..).next();
        matches!(next, Some((Key::Address((at, prefix)), _)) if at == link && prefix.ip == ip)
    }

    /// The desired route that the kernel shows so.
    pub(super) fn route<'a>(&self, wanted: &'a Wanted, shown: &Route) -> Option<&'a Arc<Route>> {
        let places = self.routes.get(&of_route(shown))?.iter();
        places.filter_map(|place| wanted.routes.get(*place)).map(|want| &want.it).find(|it| it.is_same(shown))
    }

    /// The desired rule that the kernel shows so.
    pub(super) fn rule<'a>(&self, wanted: &'a Wanted, shown: &Rule) -> Option<&'a Arc<Rule>> {
        let places = self.rules.get(&of_rule(shown))?.iter();
        places.filter_map(|place| wanted.rules.get(*place)).map(|want| &want.it).find(|it| it.is_same(shown))
    }
}

pub(super) fn of_route(route: &Route) -> (u32, Prefix) {
    let canonical = route.canonical();
    (canonical.table, canonical.destination)
}

pub(super) fn of_rule(rule: &Rule) -> Rule {
    Rule { priority: None, ..rule.canonical() }
}
