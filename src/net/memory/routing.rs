//! Routes and rules of a host without a kernel.

use std::collections::BTreeSet;
use std::net::IpAddr;

use rustix::io::Errno;

use super::{MemoryHost, Refused};
use crate::net::types::{Hop, HostEvent, Link, LinkIndex, Route, Rule};

/// Priority above which the kernel puts rules that were given none.
const LAST_PRIORITY: u32 = 32766;

impl MemoryHost {
    pub(super) fn add_route(&mut self, route: &Route) -> Result<(), Refused> {
        let mut route = route.canonical();
        for hop in &mut route.hops {
            hop.link = Some(self.way(hop)?);
        }
        if !route.goes_nowhere() && route.hops.is_empty() {
            return Err((Errno::NODEV, "a route needs a link or a gateway".into()));
        }
        if let Some(source) = route.source
            && self.holders(source).is_empty()
        {
            return Err((Errno::INVAL, format!("{source} is no address of this host")));
        }
        if let Some(there) = self.host.routes.iter().find(|there| is_in_the_way(there, &route)).cloned() {
            if there.protocol != route.protocol {
                let text = format!("another route to {} is there already", route.destination);
                return Err((Errno::EXIST, text));
            }
            self.host.routes.remove(&there);
        }
        self.host.routes.insert(route);
        Ok(())
    }

    pub(super) fn remove_route(&mut self, route: &Route) {
        let found = self.host.routes.iter().find(|there| route.is_same(there)).cloned();
        if let Some(route) = found {
            self.host.routes.remove(&route);
            self.events.push_back(HostEvent::RouteGone(route));
        }
    }

    pub(super) fn add_rule(&mut self, rule: &Rule) -> Result<(), Refused> {
        if self.host.rules.iter().any(|there| rule.is_same(there)) {
            return Ok(());
        }
        if self
            .host
            .rules
            .iter()
            .any(|there| Rule { protocol: there.protocol, ..rule.clone() }.is_same(there))
        {
            return Err((Errno::EXIST, "the same rule is there already, made by another".into()));
        }
        let first = self
            .host
            .rules
            .iter()
            .filter(|there| there.is_ipv6 == rule.is_ipv6)
            .filter_map(|r| r.priority)
            .min();
        let chosen = first.unwrap_or(LAST_PRIORITY).min(LAST_PRIORITY).saturating_sub(1);
        let rule = rule.canonical();
        self.host.rules.insert(Rule { priority: rule.priority.or(Some(chosen)), ..rule });
        Ok(())
    }

    pub(super) fn remove_rule(&mut self, rule: &Rule) {
        let found = self.host.rules.iter().find(|there| rule.is_same(there)).cloned();
        if let Some(rule) = found {
            self.host.rules.remove(&rule);
            self.events.push_back(HostEvent::RuleGone(rule));
        }
    }

    /// A link was switched off or went: IPv6 tells of each route, IPv4 of none.
    pub(super) fn lose_routes_of(&mut self, index: LinkIndex, is_gone: bool) {
        let Some(name) = self.host.links.get(&index).map(|link| link.name.clone()) else { return };
        let is_through = |route: &Route| route.hops.iter().any(|hop| hop.link.as_ref() == Some(&name));
        if is_gone {
            self.lose_routes(is_through);
        } else {
            self.lose_routes(|route| route.is_ipv6() && is_through(route));
            self.lose_ipv4_routes_of(index);
        }
    }

    /// A link was switched off or lost its last IPv4 address. A route of several hops stays while another one works.
    pub(super) fn lose_ipv4_routes_of(&mut self, index: LinkIndex) {
        let Some(lost) = self.host.links.get(&index).map(|link| link.name.clone()) else { return };
        let works = |name: &String| {
            let link = self.host.link(name).filter(|link| link.is_up && *name != lost);
            link.is_some_and(|link| self.has_ipv4(link.index))
        };
        let alive: BTreeSet<String> =
            self.host.links.values().map(|link| link.name.clone()).filter(works).collect();
        self.lose_routes(|route| {
            let mut links = route.hops.iter().filter_map(|hop| hop.link.as_ref());
            let is_through = route.hops.iter().any(|hop| hop.link.as_ref() == Some(&lost));
            is_through && !route.is_ipv6() && !links.any(|name| alive.contains(name))
        });
    }

    /// An address went: routes go that have it as their source.
    pub(super) fn lose_routes_from(&mut self, ip: IpAddr) {
        if self.holders(ip).is_empty() && ip.is_ipv4() {
            self.lose_routes(|route| route.source == Some(ip));
        }
    }

    fn lose_routes(&mut self, is_lost: impl Fn(&Route) -> bool) {
        let lost: Vec<_> = self.host.routes.iter().filter(|route| is_lost(route)).cloned().collect();
        for route in lost {
            self.host.routes.remove(&route);
            if route.is_ipv6() {
                self.events.push_back(HostEvent::RouteGone(route));
            }
        }
    }

    /// The link a hop leads through.
    fn way(&self, hop: &Hop) -> Result<String, Refused> {
        let link = match &hop.link {
            Some(name) => self.find_link(name)?,
            None => {
                let via = hop.via.ok_or((Errno::NODEV, "a route needs a link or a gateway".to_owned()))?;
                let near = self.host.addresses.iter().find(|held| held.prefix.contains(via));
                let near = near.and_then(|held| self.host.links.get(&held.link));
                near.ok_or((Errno::NETUNREACH, format!("gateway {via} is on no network of this host")))?
            }
        };
        if !link.is_up {
            return Err((Errno::NETDOWN, format!("{} is switched off", link.name)));
        }
        if let Some(via) = hop.via.filter(|_| !hop.is_onlink)
            && !self.is_near(link, via)
        {
            return Err((Errno::NETUNREACH, format!("gateway {via} is on no network of {}", link.name)));
        }
        Ok(link.name.clone())
    }

    fn is_near(&self, link: &Link, ip: IpAddr) -> bool {
        super::is_link_local(ip)
            || self.held_by(link.index).iter().any(|held| held.prefix.contains(ip))
            || self.host.routes.iter().any(|route| {
                route.destination.contains(ip)
                    && route.hops.iter().any(|h| h.via.is_none() && h.link.as_ref() == Some(&link.name))
            })
    }
}

/// The kernel keeps one route for each of these.
fn is_in_the_way(a: &Route, b: &Route) -> bool {
    (a.destination, a.from, a.table, a.tos, a.metric) == (b.destination, b.from, b.table, b.tos, b.metric)
}
