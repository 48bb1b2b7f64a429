//! Links besides an instance's own that it needs while it is Master: those of its addresses, routes and rules.
//!
//! keepalived tracks them, unless `no_track` stands behind the address, route or rule; a weight in `track_interface`
//! does not change that. A Master whose inside is dead must let its peer take over, though its outside works.

use std::collections::BTreeSet;

use crate::net::types::{Host, Link, Route, Rule};
use crate::vrrp::settings::{InstanceSettings, Virtual};

/// Which of them is missing or does not work, and why that matters.
pub(in crate::vrrp) fn fault(settings: &InstanceSettings, host: &Host) -> Option<String> {
    let vmac = settings.vmac.as_ref().map(|vmac| vmac.name.as_str());
    // The instance's own links are looked at with their own rules (`dont_track_primary`).
    let mut well: BTreeSet<&str> = settings.interface.as_deref().into_iter().chain(vmac).collect();
    let addresses = settings.addresses.iter().chain(&settings.excluded).filter(|a| a.is_tracked);
    for address in addresses.map(|a| &a.wanted) {
        if let Some(trouble) = trouble(&address.link, host, &mut well) {
            let prefix = address.prefix;
            return Some(format!(
                "interface {}, which has the virtual address {prefix}, {trouble}",
                address.link
            ));
        }
    }
    for route in tracked(&settings.routes) {
        if let Some((link, trouble)) = of_route(route, host, &mut well) {
            let to = route.destination;
            return Some(format!(
                "interface {link}, which the virtual route to {to} leads through, {trouble}"
            ));
        }
    }
    for rule in tracked(&settings.rules) {
        for link in links_of(rule) {
            if let Some(trouble) = trouble(link, host, &mut well) {
                return Some(format!("interface {link}, which a virtual rule names, {trouble}"));
            }
        }
    }
    None
}

fn tracked<T>(all: &[Virtual<T>]) -> impl Iterator<Item = &T> {
    all.iter().filter(|it| it.is_tracked).map(|it| &*it.wanted)
}

/// What is wrong with a link; those that are `well` are not looked at twice.
fn trouble<'a>(name: &'a str, host: &Host, well: &mut BTreeSet<&'a str>) -> Option<&'static str> {
    if well.contains(name) {
        return None;
    }
    let found = of(host.link(name));
    if found.is_none() {
        well.insert(name);
    }
    found
}

/// What is wrong with a link, in words that follow its name.
fn of(link: Option<&Link>) -> Option<&'static str> {
    match link {
        None => Some("is not there"),
        Some(link) if !link.is_up => Some("is down"),
        Some(link) if !link.is_running => Some("has no carrier"),
        Some(_) => None,
    }
}

/// A route of several hops has another way while one of them works.
fn of_route<'a>(
    route: &'a Route,
    host: &Host,
    well: &mut BTreeSet<&'a str>,
) -> Option<(&'a str, &'static str)> {
    let mut first = None;
    for hop in &route.hops {
        // A gateway without a link is looked for on any.
        let link = hop.link.as_deref()?;
        let trouble = trouble(link, host, well)?;
        first = first.or(Some((link, trouble)));
    }
    first
}

/// The links a rule names.
fn links_of(rule: &Rule) -> impl Iterator<Item = &str> {
    [&rule.input_link, &rule.output_link].into_iter().flatten().map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::net::memory::MemoryHost;
    use crate::net::types::{Hop, MacAddress, RuleAction};
    use crate::vrrp::sim::site::{instance, vip};

    /// e0 and e1 work, e2 has no carrier, e3 is down, e4 is not there.
    fn host() -> Host {
        let mut host = MemoryHost::new();
        for (number, name) in (0..).zip(["e0", "e1", "e2", "e3"]) {
            let index = host.add_link(name, MacAddress([2, 0, 0, 0, 0, number]));
            host.set_running(index, name != "e2");
            host.set_up(index, name != "e3");
        }
        host.host().clone()
    }

    fn virtual_of<T>(wanted: T) -> Virtual<T> {
        Virtual { wanted: Arc::new(wanted), is_tracked: true }
    }

    #[test]
    fn each_link_that_something_of_it_is_on_must_work_and_is_named_with_what_it_is_for() {
        let with = |link: &str| InstanceSettings {
            excluded: vec![vip(link, [10, 9, 0, 1].into(), 24)],
            ..instance("a", 51, 100)
        };
        let why = |link: &str| fault(&with(link), &host());
        let has = "which has the virtual address 10.9.0.1/24";
        assert_eq!((why("e0"), why("e1")), (None, None));
        assert_eq!(why("e2").unwrap(), format!("interface e2, {has}, has no carrier"));
        assert_eq!(why("e3").unwrap(), format!("interface e3, {has}, is down"));
        assert_eq!(why("e4").unwrap(), format!("interface e4, {has}, is not there"));
        let mut untracked = with("e2");
        untracked.excluded[0].is_tracked = false;
        assert_eq!(fault(&untracked, &host()), None, "no_track");
    }

    #[test]
    fn a_route_needs_one_of_its_hops_and_a_rule_every_link_it_names() {
        let to = crate::net::types::Prefix { ip: [172, 16, 0, 0].into(), length: 16 };
        let through = |links: &[&str]| {
            let hop = |link: &&str| Hop { link: Some((*link).to_owned()), ..Hop::default() };
            let route = Route::plain(to, links.iter().map(hop).collect());
            fault(&InstanceSettings { routes: vec![virtual_of(route)], ..instance("a", 51, 100) }, &host())
        };
        assert_eq!(through(&["e1"]), None);
        assert_eq!(
            through(&["e2"]).unwrap(),
            "interface e2, which the virtual route to 172.16.0.0/16 leads through, has no carrier"
        );
        assert_eq!((through(&["e2", "e1"]), through(&["e1", "e2"])), (None, None));
        assert!(through(&["e2", "e3"]).unwrap().starts_with("interface e2,"));
        let mut gateway = Route::plain(to, vec![Hop { via: Some([10, 0, 0, 9].into()), ..Hop::default() }]);
        gateway.hops[0].weight = 1;
        let rule = |input: Option<&str>, output: Option<&str>| {
            let (input_link, output_link) = (input.map(str::to_owned), output.map(str::to_owned));
            let rule = Rule { input_link, output_link, ..Rule::plain(false, RuleAction::Table(100)) };
            fault(
                &InstanceSettings {
                    rules: vec![virtual_of(rule)],
                    routes: vec![virtual_of(gateway.clone())],
                    ..instance("a", 51, 100)
                },
                &host(),
            )
        };
        assert_eq!((rule(None, None), rule(Some("e1"), Some("e0"))), (None, None));
        assert_eq!(
            rule(Some("e1"), Some("e3")).unwrap(),
            "interface e3, which a virtual rule names, is down"
        );
    }

    #[test]
    fn its_own_links_are_no_matter_here() {
        let own = InstanceSettings {
            interface: Some("e3".to_owned()),
            addresses: vec![vip("e3", [10, 9, 0, 1].into(), 24)],
            ..instance("a", 51, 100)
        };
        assert_eq!(fault(&own, &host()), None);
    }
}
