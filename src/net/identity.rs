//! When two routes or two rules are the same to the kernel: what it fills in by itself, and what it does not keep.

use super::types::{Hop, Prefix, Route, RouteKind, Rule, RuleAction};

const SCOPE_LINK: u8 = 253;
const SCOPE_HOST: u8 = 254;
const TABLE_MAIN: u32 = 254;
/// IP6_RT_PRIO_USER: the metric of an IPv6 route that was given none.
const IPV6_METRIC: u32 = 1024;

impl Route {
    /// Of IPv6.
    pub fn is_ipv6(&self) -> bool {
        self.destination.ip.is_ipv6()
    }

    /// As the kernel would show it, but for the links of gateways that it finds by itself.
    pub fn canonical(&self) -> Route {
        let is_ipv6 = self.is_ipv6();
        let metrics = self.metrics.iter().filter(|(_, value)| **value != 0).map(|(k, v)| (*k, *v)).collect();
        let mut hops: Vec<Hop> = if self.goes_nowhere() { Vec::new() } else { self.hops.clone() };
        let is_multipath = hops.len() > 1;
        for hop in &mut hops {
            hop.weight = if is_multipath { hop.weight.max(1) } else { 1 };
        }
        Route {
            destination: self.destination.network(),
            from: self.from.filter(|p| is_ipv6 && p.length > 0).map(Prefix::network),
            // A kernel's IPv6 routes have neither.
            tos: if is_ipv6 { 0 } else { self.tos },
            scope: Some(self.implied_scope()),
            table: if self.table == 0 { TABLE_MAIN } else { self.table },
            metric: Some(match self.metric.unwrap_or(0) {
                0 if is_ipv6 => IPV6_METRIC,
                metric => metric,
            }),
            metrics,
            hops,
            ..*self
        }
    }

    /// Whether what the kernel showed is this route, or a part of it: the hops of an IPv6 route go one by one.
    pub fn is_same(&self, shown: &Route) -> bool {
        let (mine, theirs) = (self.canonical(), shown.canonical());
        let is_same_hop = |mine: &Hop, theirs: &Hop, with_weight: bool| {
            let is_same_link = mine.link.is_none() || theirs.link.is_none() || mine.link == theirs.link;
            mine.via == theirs.via
                && is_same_link
                && mine.is_onlink == theirs.is_onlink
                && (!with_weight || mine.weight == theirs.weight)
        };
        let is_same_way = if mine.hops.len() == theirs.hops.len() {
            mine.hops.iter().zip(&theirs.hops).all(|(a, b)| is_same_hop(a, b, true))
        } else {
            let is_one_of_mine = |hop: &Hop| mine.hops.iter().any(|h| is_same_hop(h, hop, false));
            self.is_ipv6() && !theirs.hops.is_empty() && theirs.hops.iter().all(is_one_of_mine)
        };
        is_same_way && Route { hops: Vec::new(), ..mine } == Route { hops: Vec::new(), ..theirs }
    }

    /// Whether it drops packets or looks on, and so has no next hop.
    pub(super) fn goes_nowhere(&self) -> bool {
        use RouteKind::{Blackhole, Prohibit, Throw, Unreachable};
        matches!(self.kind, Blackhole | Unreachable | Prohibit | Throw)
    }

    /// The scope, where none was written that which `ip` chooses.
    pub(super) fn implied_scope(&self) -> u8 {
        if self.is_ipv6() {
            return 0;
        }
        self.scope.unwrap_or(match self.kind {
            RouteKind::Local => SCOPE_HOST,
            RouteKind::Broadcast | RouteKind::Multicast | RouteKind::Anycast => SCOPE_LINK,
            RouteKind::Unicast if self.hops.iter().all(|h| h.via.is_none()) => SCOPE_LINK,
            _ => 0,
        })
    }
}

impl Rule {
    /// As the kernel would show it, but for the priority it chooses by itself.
    pub fn canonical(&self) -> Rule {
        let network = |prefix: Option<Prefix>| prefix.filter(|p| p.length > 0).map(Prefix::network);
        Rule { from: network(self.from), to: network(self.to), ..self.clone() }
    }

    /// One of those a network namespace is born with.
    pub(super) fn is_of_every_host(&self) -> bool {
        const BORN: [(u32, u32); 3] = [(0, 255), (32766, 254), (32767, 253)];
        let plain = Rule { priority: self.priority, ..Rule::plain(self.is_ipv6, self.action) };
        let is_plain = Rule { protocol: plain.protocol, ..self.clone() } == plain;
        let is_born =
            |(priority, table)| self.priority == Some(priority) && self.action == RuleAction::Table(table);
        is_plain && BORN.into_iter().any(is_born)
    }

    /// Whether what the kernel showed is this rule.
    pub fn is_same(&self, shown: &Rule) -> bool {
        let (mine, theirs) = (self.canonical(), shown.canonical());
        let priority = mine.priority.or(theirs.priority);
        // A kernel that keeps no such mark shows 0.
        let protocol = if theirs.protocol == 0 { 0 } else { mine.protocol };
        Rule { priority, protocol, ..mine } == theirs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_the_kernel_fills_in_make_no_other_route() {
        let wanted = route("10.9.1.7/16", &[("10.1.0.1", None, 0)]);
        let shown = Route {
            metric: Some(0),
            scope: Some(0),
            ..route("10.9.0.0/16", &[("10.1.0.1", Some("eth0"), 1)])
        };
        assert!(wanted.is_same(&shown));
        for other in [
            Route { metric: Some(5), ..shown.clone() },
            Route { table: 100, ..shown.clone() },
            Route { tos: 4, ..shown.clone() },
            route("10.9.0.0/17", &[("10.1.0.1", Some("eth0"), 1)]),
            route("10.9.0.0/16", &[("10.1.0.2", Some("eth0"), 1)]),
            route("10.9.0.0/16", &[("10.1.0.1", Some("eth0"), 1), ("10.1.0.2", None, 1)]),
        ] {
            assert!(!wanted.is_same(&other), "{other:?}");
        }
    }

    #[test]
    fn a_hop_of_an_ipv6_route_that_went_is_the_routes_loss() {
        let wanted = route("fd00:9::/64", &[("fe80::1", Some("eth0"), 2), ("fe80::2", Some("eth0"), 1)]);
        assert!(wanted.is_same(&route("fd00:9::/64", &[("fe80::2", Some("eth0"), 1)])));
        assert!(!wanted.is_same(&route("fd00:9::/64", &[("fe80::3", Some("eth0"), 1)])));
        let ipv4 = route("10.9.0.0/16", &[("10.1.0.1", None, 0), ("10.1.0.2", None, 0)]);
        assert!(!ipv4.is_same(&route("10.9.0.0/16", &[("10.1.0.1", None, 0)])));
    }

    #[test]
    fn a_rule_without_priority_is_any_of_the_same_content() {
        let wanted = Rule { priority: None, from: Some(prefix("10.9.1.1/16")), ..rule() };
        let shown = Rule { priority: Some(32765), from: Some(prefix("10.9.0.0/16")), ..rule() };
        assert!(wanted.is_same(&shown));
        assert!(!Rule { priority: Some(5), ..wanted.clone() }.is_same(&shown));
        assert!(!Rule { tos: 8, ..wanted }.is_same(&shown));
    }

    fn prefix(text: &str) -> Prefix {
        let (ip, length) = text.split_once('/').unwrap();
        Prefix { ip: ip.parse().unwrap(), length: length.parse().unwrap() }
    }

    fn route(destination: &str, hops: &[(&str, Option<&str>, u16)]) -> Route {
        let hop = |(via, link, weight): &(&str, Option<&str>, u16)| Hop {
            via: Some(via.parse().unwrap()),
            link: link.map(str::to_owned),
            weight: *weight,
            is_onlink: false,
        };
        Route::plain(prefix(destination), hops.iter().map(hop).collect())
    }

    fn rule() -> Rule {
        Rule::plain(false, crate::net::types::RuleAction::Table(100))
    }
}
