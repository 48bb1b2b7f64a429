//! Scenarios of starts, stops, hand-overs, deaths and reloads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{instance, on_vmac, settings, vip};
use super::world::World;
use crate::net::types::Op;
use crate::vrrp::io::{Input, State};
use crate::vrrp::settings::{Authentication, InstanceSettings, OnCrash, Settings, Version};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const VIP: [u8; 4] = [10, 0, 0, 51];

fn pair() -> World {
    let mut world =
        World::with(vec![settings(vec![instance("a", 51, 150)]), settings(vec![instance("a", 51, 100)])]);
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

fn assert_vip_iff_master(world: &mut World) {
    invariants::vip_iff_master(world, 0, "a");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_stop_sends_priority_zero_before_it_removes_the_address_and_leaves_nothing() {
    let mut world = pair();
    world.handle(0, Input::Stop);
    assert_eq!(world.sent(0, 51).last(), Some(&(world.now, 0)));
    let said = world.trace.iter().rposition(|l| l.contains("advertises 51 with 0")).unwrap();
    let asked = world.trace.iter().rposition(|l| l.contains("asks [RemoveAddress")).unwrap();
    assert!(said < asked);
    world.run(100 * MILLISECOND);
    invariants::nothing_is_left(&mut world, 0);
    assert_eq!(world.broken, [""; 0]);
    assert!(
        world
            .reported(0, "vrrp_transition")
            .last()
            .unwrap()
            .contains("Master -> Init, priority 150: stopped")
    );
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_kernel_that_refuses() {
    let mut world = pair();
    world.nodes[0].host.refuse(1000);
    world.handle(0, Input::Stop);
    let took = world.until("done", |w| w.nodes[0].is_finished);
    assert!(took <= 5 * SECOND, "{took:?}");
}

#[test]
fn a_hand_over_changes_nothing_and_the_successor_goes_on() {
    let mut world = pair();
    let ops = world.nodes[0].ops.len();
    world.hand_over(0);
    assert!(world.nodes[0].is_finished);
    world.run(300 * MILLISECOND);
    world.start(0);
    assert_eq!(world.master("a"), Some(0));
    world.run(10 * SECOND);
    assert_eq!((world.master("a"), world.nodes[0].ops.len()), (Some(0), ops));
    assert_eq!(world.reported(1, "vrrp_transition").len(), 1, "the other one noticed nothing");
    assert_vip_iff_master(&mut world);
}

#[test]
fn a_death_costs_the_skew_where_there_is_a_guardian_and_the_master_down_time_where_not() {
    for (has_guardian, most) in [(true, 660 * MILLISECOND), (false, 3700 * MILLISECOND)] {
        let mut world = pair();
        world.nodes[0].has_guardian = has_guardian;
        world.crash(0);
        let took = world.until("the other one", |w| w.state(1, "a") == Some(State::Master));
        assert!(took < most, "{took:?}");
        assert_eq!(world.nodes[0].has(VIP), !has_guardian);
    }
}

#[test]
fn on_crash_hold_leaves_everything() {
    let mut world = pair();
    let held = Settings { on_crash: OnCrash::Hold, ..Settings::clone(&world.nodes[0].settings) };
    world.reload(0, held);
    world.crash(0);
    world.run(SECOND);
    assert!(world.nodes[0].has(VIP));
    assert_ne!(world.sent(0, 51).last().unwrap().1, 0);
}

#[test]
fn the_crash_plan_is_signed_anew_with_every_advertisement() {
    let of = |priority| {
        let authentication = Authentication::Header(*b"s3cret\0\0");
        settings(vec![InstanceSettings {
            version: Version::V2,
            authentication,
            ..instance("a", 51, priority)
        }])
    };
    let mut world = World::with(vec![of(150), of(100)]);
    world.run(60 * SECOND);
    world.crash(0);
    let took = world.until("the other one", |w| w.state(1, "a") == Some(State::Master));
    assert!(took < 700 * MILLISECOND, "its number is later than the last: {took:?}");
}

#[test]
fn a_restart_after_a_death_without_guardian_removes_what_was_left_before_it_speaks() {
    let mut world = pair();
    world.nodes[0].has_guardian = false;
    world.crash(0);
    world.run(2 * SECOND);
    assert!(world.nodes[0].has(VIP));
    world.start(0);
    world.run(10 * MILLISECOND);
    assert!(!world.nodes[0].has(VIP));
    world.run(20 * SECOND);
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_reload_of_the_same_settings_does_nothing_at_all() {
    let mut world = pair();
    let effects: Vec<_> = world.nodes.iter().map(|n| n.effects).collect();
    for node in 0..2 {
        let same = Settings::clone(&world.nodes[node].settings);
        world.reload(node, same);
    }
    assert_eq!(world.nodes.iter().map(|n| n.effects).collect::<Vec<_>>(), effects);
}

#[test]
fn a_changed_list_of_addresses_is_a_difference_and_only_the_new_ones_are_announced() {
    let mut world = pair();
    world.run(10 * SECOND);
    let (ops, announced) = (world.nodes[0].ops.len(), world.nodes[0].announced.len());
    let mut new = Settings::clone(&world.nodes[0].settings);
    Arc::make_mut(&mut new.instances[0]).excluded = vec![vip("e0", [10, 0, 0, 77].into(), 24)];
    world.reload(0, new.clone());
    world.run(SECOND);
    let added: Vec<_> = world.nodes[0].ops[ops..].iter().map(|(_, op)| op.clone()).collect();
    assert!(
        matches!(&added[..], [Op::AddAddress(a)] if a.prefix.ip == IpAddr::from([10, 0, 0, 77])),
        "{added:?}"
    );
    let frames = &world.nodes[0].announced[announced..];
    assert_eq!(frames.len(), 5);
    assert!(frames.iter().all(|f| invariants::announced(&f.2) == IpAddr::from([10, 0, 0, 77])));
    Arc::make_mut(&mut new.instances[0]).excluded.clear();
    world.reload(0, new);
    world.run(SECOND);
    assert!(!world.nodes[0].has([10, 0, 0, 77]) && world.nodes[0].has(VIP));
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2, "it stayed Master");
}

#[test]
fn another_priority_or_interval_moves_no_master() {
    let mut world = pair();
    let faster = InstanceSettings { advert_interval: 300 * MILLISECOND, ..instance("a", 51, 160) };
    world.reload(0, settings(vec![faster]));
    world.run(10 * SECOND);
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2);
    assert_eq!(world.reported(1, "vrrp_transition").len(), 1);
    let sent = world.sent(0, 51);
    let last = &sent[sent.len() - 2..];
    assert_eq!((last[1].0.since(last[0].0), last[1].1), (300 * MILLISECOND, 160));
}

#[test]
fn an_instance_with_another_name_is_the_same_one() {
    let mut world = pair();
    let ops = world.nodes[0].ops.len();
    let mut renamed = instance("b", 51, 150);
    renamed.addresses = instance("a", 51, 150).addresses;
    world.reload(0, settings(vec![renamed]));
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "b"), Some(State::Master));
    assert_eq!(world.nodes[0].ops.len(), ops);
    assert_eq!(world.reported(1, "vrrp_transition").len(), 1);
    assert!(world.sent(0, 51).iter().all(|(_, priority)| *priority > 0));
}

#[test]
fn another_vrid_is_master_on_the_new_one_before_it_leaves_the_old_one() {
    for has_vmac in [false, true] {
        let of = |vrid| {
            let mut new = InstanceSettings { vrid, ..instance("a", 51, 150) };
            if has_vmac {
                new = on_vmac(new);
            }
            settings(vec![new])
        };
        let mut world = World::with(vec![of(51)]);
        world.run(10 * SECOND);
        world.reload(0, of(61));
        world.run(SECOND);
        let said = |vrid| world.sent(0, vrid);
        let (first, last) = (said(61)[0], *said(51).last().unwrap());
        assert_eq!((first.1, last.1), (150, 0));
        assert!(first.0 <= last.0, "claims 61 at {:?}, leaves 51 at {:?}", first.0, last.0);
        let claims = world.trace.iter().position(|l| l.contains("advertises 61")).unwrap();
        let leaves = world.trace.iter().position(|l| l.contains("advertises 51 with 0")).unwrap();
        assert!(claims < leaves);
        invariants::vip_iff_master(&mut world, 0, "a");
        assert_eq!(world.broken, [""; 0]);
        world.handle(0, Input::Stop);
        world.run(SECOND);
        invariants::nothing_is_left(&mut world, 0);
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_removed_instance_sends_priority_zero_and_leaves_nothing_and_a_new_one_begins() {
    let mut world = pair();
    world.reload(0, settings(vec![instance("b", 52, 100)]));
    assert_eq!(world.sent(0, 51).last().unwrap().1, 0);
    world.run(10 * MILLISECOND);
    assert!(!world.nodes[0].has(VIP));
    let reported = world.reported(0, "vrrp_transition");
    assert!(
        reported.iter().any(|t| t.contains("Master -> Init") && t.contains("removed from the configuration"))
    );
    assert_eq!(world.state(0, "b"), Some(State::Backup));
    world.run(5 * SECOND);
    assert_eq!((world.state(0, "b"), world.state(1, "a")), (Some(State::Master), Some(State::Master)));
}
