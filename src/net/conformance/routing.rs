//! Routes and rules.

use std::net::IpAddr;
use std::sync::Arc;

use super::suite::{EXIST, INVAL, Outcome, Suite, add, address, prefix, remove};
use crate::net::types::{Hop, HostEvent, Op, Route, RouteKind, Rule, RuleAction};

fn ip(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|e| format!("{text}: {e}"))
}

fn via(text: &str) -> Result<Hop, String> {
    Ok(Hop { via: Some(ip(text)?), ..Hop::default() })
}

fn route(destination: &str, hops: Vec<Hop>) -> Result<Route, String> {
    Ok(Route::plain(prefix(destination)?, hops))
}

/// Every kind of route comes, comes again, goes, is reported, goes again.
pub(super) fn routes(suite: &mut Suite<'_>) -> Outcome {
    let link = Some(suite.link.clone());
    let dev = Hop { link: link.clone(), ..Hop::default() };
    let (near, near6) = (via("10.1.0.1")?, via("fd00:1::1")?);
    let both = |hop: &Hop| Hop { link: link.clone(), ..hop.clone() };
    let onlink = |hop: &Hop| Hop { is_onlink: true, ..both(hop) };
    let v4 = route("10.9.0.0/16", vec![near.clone()])?;
    let v6 = route("fd00:9::/64", vec![near6.clone()])?;
    let mut kinds = vec![
        Route { hops: vec![dev.clone()], ..v4.clone() },
        Route { hops: vec![both(&near)], ..v4.clone() },
        Route { hops: vec![onlink(&via("10.77.0.1")?)], ..v4.clone() },
        Route { hops: vec![both(&via("fd00:1::1")?)], ..v4.clone() },
        Route { table: 1000, metric: Some(7), ..v4.clone() },
        Route { source: Some(ip("10.1.0.12")?), tos: 8, ..v4.clone() },
        Route { metrics: [(2, 1400), (8, 1300), (11, 20), (13, 200)].into(), ..v4.clone() },
        Route { metric: Some(500), destination: prefix("0.0.0.0/0")?, ..v4.clone() },
        Route {
            hops: vec![Hop { weight: 3, ..near.clone() }, Hop { weight: 1, ..both(&via("10.1.0.2")?) }],
            ..v4.clone()
        },
        Route { kind: RouteKind::Local, hops: vec![dev.clone()], table: 100, ..v4.clone() },
        Route { kind: RouteKind::Broadcast, hops: vec![dev.clone()], table: 100, ..v4.clone() },
        v4.clone(),
        Route { hops: vec![dev], ..v6.clone() },
        Route { hops: vec![both(&via("fe80::1")?)], ..v6.clone() },
        Route { table: 1000, metric: Some(7), ..v6.clone() },
        Route { source: Some(ip("fd00:1::12")?), ..v6.clone() },
        Route { metrics: [(2, 1400), (8, 1300)].into(), ..v6.clone() },
        Route { metric: Some(500), destination: prefix("::/0")?, ..v6.clone() },
        Route {
            hops: vec![Hop { weight: 3, ..near6 }, Hop { weight: 1, ..both(&via("fd00:1::2")?) }],
            ..v6.clone()
        },
    ];
    for kind in [RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit, RouteKind::Throw] {
        for plain in [&v4, &v6] {
            kinds.push(Route { kind, hops: Vec::new(), ..plain.clone() });
        }
    }
    kinds.push(v6);
    for kind in kinds {
        let kind = Arc::new(kind);
        suite.accept(&[Op::AddRoute(kind.clone())]).map_err(|e| format!("{kind:?}: {e}"))?;
        suite.accept(&[Op::AddRoute(kind.clone()), Op::AddRoute(kind.clone())])?;
        suite.accept(&[Op::RemoveRoute(kind.clone())])?;
        let is_it = |event: &HostEvent| matches!(event, HostEvent::RouteGone(gone) if kind.is_same(gone));
        suite.expect_event(&format!("that {kind:?} went"), is_it)?;
        suite.accept(&[Op::RemoveRoute(kind)])?;
    }
    let nowhere = Arc::new(Route { hops: vec![via("10.66.0.1")?], ..v4.clone() });
    let nowhere = Op::AddRoute(nowhere);
    suite.refuse(std::slice::from_ref(&nowhere), &[(nowhere.clone(), None)])?;
    let strange = Op::AddRoute(Arc::new(Route { source: Some(ip("10.1.0.99")?), ..v4.clone() }));
    suite.refuse(std::slice::from_ref(&strange), &[(strange.clone(), Some(INVAL))])?;
    let lost = Hop { link: Some("nosuchlink".into()), ..Hop::default() };
    let lost = Arc::new(Route { hops: vec![lost], ..v4 });
    suite.accept(&[Op::RemoveRoute(lost.clone())])?;
    let lost = Op::AddRoute(lost);
    suite.refuse(std::slice::from_ref(&lost), &[(lost.clone(), Some(super::NODEV))])
}

/// Our own route is brought up to date; another's of the same metric is neither doubled nor replaced.
pub(super) fn in_the_way(suite: &mut Suite<'_>) -> Outcome {
    for (destination, first, second) in
        [("10.9.0.0/16", "10.1.0.1", "10.1.0.2"), ("fd00:9::/64", "fd00:1::1", "fd00:1::2")]
    {
        let old = route(destination, vec![via(first)?])?;
        let new = Arc::new(route(destination, vec![via(second)?])?);
        suite.accept(&[Op::AddRoute(Arc::new(old.clone())), Op::AddRoute(new.clone())])?;
        suite.accept(&[Op::RemoveRoute(new.clone())])?;
        let is_it = |event: &HostEvent| matches!(event, HostEvent::RouteGone(gone) if new.is_same(gone));
        suite.expect_event("that the newer one went", is_it)?;
        let foreign = Arc::new(Route { protocol: 4, ..old });
        let ours = Op::AddRoute(new);
        suite.accept(&[Op::AddRoute(foreign.clone())])?;
        suite.refuse(std::slice::from_ref(&ours), &[(ours.clone(), Some(EXIST))])?;
        suite.accept(&[Op::RemoveRoute(foreign.clone())])?;
        let is_it = |event: &HostEvent| matches!(event, HostEvent::RouteGone(gone) if foreign.is_same(gone));
        suite.expect_event("that the stranger's went", is_it)?;
    }
    Ok(())
}

/// What belongs together is done in order, also when an address must be made anew under its routes.
pub(super) fn order(suite: &mut Suite<'_>) -> Outcome {
    let vip = address(&suite.link, "10.1.0.100/32")?;
    let from_vip = Route { source: Some(ip("10.1.0.100")?), ..route("10.9.0.0/16", vec![via("10.1.0.1")?])? };
    let from_vip = Arc::new(from_vip);
    let index = suite.index()?;
    suite.accept(&[add(&vip), Op::AddRoute(from_vip.clone())])?;
    let otherwise = crate::net::types::Address { scope: 253, ..vip.clone() };
    suite.accept(&[add(&otherwise), Op::AddRoute(from_vip.clone())])?;
    suite.holds(&otherwise)?;
    suite.accept(&[Op::RemoveRoute(from_vip.clone()), remove(index, vip.prefix)])?;
    suite.expect_event(
        "that its route went",
        |event| matches!(event, HostEvent::RouteGone(gone) if from_vip.is_same(gone)),
    )
}

/// Every kind of rule comes, comes again, goes, is reported, goes again.
pub(super) fn rules(suite: &mut Suite<'_>) -> Outcome {
    for is_ipv6 in [false, true] {
        let plain = Rule { priority: Some(4000), ..Rule::plain(is_ipv6, RuleAction::Table(1000)) };
        let (from, to) =
            if is_ipv6 { ("fd00:8::/64", "fd00:9::1/128") } else { ("10.8.0.0/16", "10.9.0.1/32") };
        let kinds = [
            Rule { from: Some(prefix(from)?), to: Some(prefix(to)?), ..plain.clone() },
            Rule { priority: None, from: Some(prefix(from)?), ..plain.clone() },
            Rule { is_inverted: true, from: Some(prefix(from)?), ..plain.clone() },
            Rule { tos: 8, ..plain.clone() },
            Rule { fwmark: Some((7, 0xff)), ..plain.clone() },
            Rule { fwmark: Some((7, u32::MAX)), ..plain.clone() },
            Rule {
                input_link: Some(suite.link.clone()),
                output_link: Some("nosuchlink".into()),
                ..plain.clone()
            },
            Rule { uids: Some((1000, 1999)), ..plain.clone() },
            Rule {
                ip_protocol: Some(6),
                source_ports: Some((1, 9)),
                destination_ports: Some((80, 80)),
                ..plain.clone()
            },
            Rule { suppress_prefix_length: Some(0), suppress_group: Some(3), ..plain.clone() },
            Rule { action: RuleAction::Table(100_000), ..plain.clone() },
            Rule { action: RuleAction::Goto(32766), ..plain.clone() },
            Rule { action: RuleAction::Nop, ..plain.clone() },
            Rule { action: RuleAction::Blackhole, ..plain.clone() },
            Rule { action: RuleAction::Unreachable, ..plain.clone() },
            Rule { action: RuleAction::Prohibit, ..plain },
        ];
        for kind in kinds {
            let kind = Arc::new(kind);
            suite.accept(&[Op::AddRule(kind.clone())]).map_err(|e| format!("{kind:?}: {e}"))?;
            suite.accept(&[Op::AddRule(kind.clone()), Op::AddRule(kind.clone())])?;
            suite.accept(&[Op::RemoveRule(kind.clone())])?;
            let is_it = |event: &HostEvent| matches!(event, HostEvent::RuleGone(gone) if kind.is_same(gone));
            suite.expect_event(&format!("that {kind:?} went"), is_it)?;
            suite.accept(&[Op::RemoveRule(kind)])?;
        }
    }
    Ok(())
}
