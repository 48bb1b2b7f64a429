//! What a host does that lvsd did not ask for: addresses go with the first one of their network, and routes go with
//! their link's last address without being announced.

use std::sync::Arc;

use super::Meddling;
use super::suite::{Outcome, Suite, add, address, prefix, remove};
use crate::net::types::{Hop, HostEvent, Op, Route, Rule, RuleAction};

/// Two links of these parts alone: that they lose their addresses must not harm the host.
const SPARE: &str = "spare0";
const OTHER: &str = "spare1";

/// Runs a part on links that are made for it.
fn on_spare_links(suite: &mut Suite<'_>, part: fn(&mut Suite<'_>) -> Outcome) -> Outcome {
    for link in [SPARE, OTHER] {
        suite.subject.meddle(&Meddling::MakeLink(link))?;
        suite.subject.meddle(&Meddling::Promote(link, false))?;
    }
    let link = std::mem::replace(&mut suite.link, SPARE.to_owned());
    let outcome = part(suite);
    suite.link = link;
    for link in [SPARE, OTHER] {
        suite.subject.meddle(&Meddling::RemoveLink(link))?;
    }
    outcome?;
    let is_it = |event: &HostEvent| matches!(event, HostEvent::LinkGone(_));
    suite.expect_event("that the first spare link went", is_it)?;
    suite.expect_event("that the second spare link went", is_it)
}

/// What is added by lvsd carries its mark, what others add does not.
pub(super) fn marks(suite: &mut Suite<'_>) -> Outcome {
    on_spare_links(suite, |suite| {
        let (ours, theirs) = (address(SPARE, "10.7.0.100/24")?, prefix("10.7.0.5/24")?);
        suite.accept(&[add(&ours)])?;
        suite.subject.meddle(&Meddling::Add(SPARE, theirs))?;
        let host = suite.subject.host()?;
        for held in &host.addresses {
            if [ours.prefix, theirs].contains(&held.prefix) {
                suite.same("whether it is marked", &held.is_marked(), &(held.prefix == ours.prefix))?;
            }
        }
        let rule = Rule { priority: Some(4000), ..Rule::plain(false, RuleAction::Table(1000)) };
        let route = Route::plain(prefix("10.9.0.0/16")?, vec![dev(SPARE)]);
        let (route, rule) = (Arc::new(route), Arc::new(rule));
        suite.accept(&[Op::AddRoute(Arc::clone(&route)), Op::AddRule(Arc::clone(&rule))])?;
        let host = suite.subject.host()?;
        suite.same("routes that are read", &host.routes.iter().filter(|r| route.is_same(r)).count(), &1)?;
        suite.same("rules that are read", &host.rules.iter().filter(|r| rule.is_same(r)).count(), &1)?;
        // A rule outlives its link and the process that added it.
        suite.accept(&[Op::RemoveRoute(route), Op::RemoveRule(rule)])
    })
}

/// The first address of a network is its primary one. Without promote_secondaries the others go with it when a program
/// removes it; with it they stay.
pub(super) fn primary_addresses(suite: &mut Suite<'_>) -> Outcome {
    on_spare_links(suite, |suite| {
        let (first, vip) = (prefix("10.7.0.5/24")?, address(SPARE, "10.7.0.100/24")?);
        let other = address(SPARE, "10.7.0.101/32")?;
        for promotes in [false, true] {
            suite.subject.meddle(&Meddling::Promote(SPARE, promotes))?;
            suite.subject.meddle(&Meddling::Add(SPARE, first))?;
            suite.accept(&[add(&vip), add(&other)])?;
            suite.is_secondary(vip.prefix, Some(true))?;
            suite.is_secondary(other.prefix, Some(false))?;
            suite.subject.meddle(&Meddling::Remove(SPARE, first))?;
            suite.is_secondary(vip.prefix, promotes.then_some(false))?;
            let is_it = |prefix| move |event: &HostEvent| matches!(event, HostEvent::AddressGone(h) if h.prefix == prefix);
            if promotes {
                suite.expect_event("that the first one went", is_it(first))?;
                let is_promoted = |event: &HostEvent| matches!(event, HostEvent::Address(h) if h.prefix == vip.prefix && !h.is_secondary);
                suite.expect_event("that the other one is promoted", is_promoted)?;
            } else {
                suite.expect_event("that the other one went with it", is_it(vip.prefix))?;
                suite.expect_event("that the first one went", is_it(first))?;
            }
            let index = suite.index()?;
            suite.accept(&[remove(index, vip.prefix), remove(index, other.prefix)])?;
        }
        Ok(())
    })
}

/// A removal by lvsd takes no other address with it, with promote_secondaries on or off; the setting stays as it is.
pub(super) fn removal_takes_none_along(suite: &mut Suite<'_>) -> Outcome {
    on_spare_links(suite, |suite| {
        let (late, vip) = (prefix("10.7.0.5/24")?, address(SPARE, "10.7.0.100/24")?);
        let index = suite.index()?;
        suite.accept(&[add(&vip)])?;
        suite.subject.meddle(&Meddling::Add(SPARE, late))?;
        suite.is_secondary(late, Some(true))?;
        // Anew, it stands behind the other one.
        suite.accept(&[remove(index, vip.prefix), add(&vip)])?;
        suite.is_secondary(late, Some(false))?;
        suite.is_secondary(vip.prefix, Some(true))?;
        suite.accept(&[remove(index, vip.prefix)])?;
        suite.is_secondary(late, Some(false))?;
        suite.accept(&[add(&vip)])?;
        suite.subject.meddle(&Meddling::Remove(SPARE, late))?;
        suite.is_secondary(vip.prefix, None)
    })
}

/// IPv4 routes go without being announced when their link loses its last IPv4 address or is switched off; those with
/// another hop stay.
pub(super) fn silent_losses(suite: &mut Suite<'_>) -> Outcome {
    on_spare_links(suite, |suite| {
        let (own, other) = (prefix("10.7.0.5/24")?, prefix("10.8.0.5/24")?);
        let index = suite.index()?;
        let via = |ip: [u8; 4], link: &str| Hop { via: Some(ip.into()), ..dev(link) };
        let (near, far) = (via([10, 7, 0, 1], SPARE), via([10, 8, 0, 1], OTHER));
        let single = Arc::new(Route::plain(prefix("10.9.0.0/16")?, vec![near.clone()]));
        let double = Arc::new(Route::plain(prefix("10.10.0.0/16")?, vec![near, far]));
        suite.subject.meddle(&Meddling::Add(OTHER, other))?;
        for is_switched_off in [false, true] {
            suite.subject.meddle(&Meddling::Add(SPARE, own))?;
            let all = [Op::AddRoute(Arc::clone(&single)), Op::AddRoute(Arc::clone(&double))];
            suite.accept(&all)?;
            suite.quiet()?;
            if is_switched_off {
                suite.subject.meddle(&Meddling::Switch(SPARE, false))?;
            } else {
                suite.subject.meddle(&Meddling::Remove(SPARE, own))?;
            }
            let host = suite.subject.host()?;
            suite.same("routes through the link alone", &count(&host.routes, &single), &0)?;
            suite.same("routes through two links", &count(&host.routes, &double), &1)?;
            let is_announced = is_a_lost_route_announced(suite)?;
            suite.same("whether the lost route is announced", &is_announced, &false)?;
            suite.subject.meddle(&Meddling::Switch(SPARE, true))?;
            let host = suite.subject.host()?;
            suite.same("routes through the link that is back", &count(&host.routes, &single), &0)?;
        }
        suite.accept(&[Op::RemoveRoute(double), remove(index, own)])
    })
}

fn is_a_lost_route_announced(suite: &mut Suite<'_>) -> Result<bool, String> {
    let mut is_announced = false;
    while let Some(event) = suite.subject.next_event()? {
        is_announced |=
            matches!(event, HostEvent::RouteGone(route) if route.protocol == crate::net::types::PROTOCOL);
    }
    Ok(is_announced)
}

fn count(all: &std::collections::BTreeSet<Route>, wanted: &Route) -> usize {
    all.iter().filter(|shown| wanted.is_same(shown)).count()
}

fn dev(link: &str) -> Hop {
    Hop { link: Some(link.to_owned()), ..Hop::default() }
}
