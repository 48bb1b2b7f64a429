//! Scenarios of hand-overs: what the next life knows, one that comes late or never, and a process that hangs.

use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{group, instance, on_vmac, script, settings, vip};
use super::world::World;
use crate::vrrp::io::{State, TrackLevel};
use crate::vrrp::settings::{Authentication, InstanceSettings, Settings, TrackTarget, Version};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const VIP: [u8; 4] = [10, 0, 0, 51];

fn chk() -> TrackTarget {
    TrackTarget::Script("chk".to_owned())
}

/// The first is Master, with scripts that need some seconds for their first result.
fn pair(of: impl Fn(u8) -> Settings) -> World {
    let mut world = World::new(7, 2);
    for (node, priority) in [(0, 150), (1, 100)] {
        let this = &mut world.nodes[node];
        this.settings = Arc::new(of(priority));
        this.tracks = [(chk(), TrackLevel::Is(true))].into();
        this.first_result = 2500 * MILLISECOND;
        world.start(node);
    }
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world
}

fn alone(a: InstanceSettings) -> Settings {
    settings(vec![a])
}

/// Hands over to a successor that comes after a while.
fn hand_over(world: &mut World, after: Duration) {
    world.hand_over(0);
    world.run(after);
    world.start(0);
}

fn no_peer_noticed(world: &World) {
    let reported = world.reported(1, "vrrp_transition");
    assert!(reported.iter().all(|t| !t.contains("-> Master")), "{reported:?}");
    let reported = world.reported(0, "vrrp_transition");
    assert!(reported[2..].iter().all(|t| !t.contains("-> Backup")), "{reported:?}");
    assert!(world.nodes[0].has(VIP) && !world.nodes[1].has(VIP));
}

#[test]
fn an_inherited_master_goes_on_at_once_though_its_scripts_take_seconds() {
    for weight in [0, 60, -60] {
        let of = |priority| {
            alone(InstanceSettings { tracks: vec![script("chk", weight)], ..instance("a", 51, priority) })
        };
        let mut world = pair(of);
        let priority = world.status(0, "a").priority;
        let handed_over = world.now;
        hand_over(&mut world, 300 * MILLISECOND);
        world.run(20 * SECOND);
        no_peer_noticed(&world);
        let sent: Vec<_> = world.sent(0, 51).into_iter().filter(|(at, _)| *at >= handed_over).collect();
        assert!(sent.iter().all(|(_, p)| *p == priority), "weight {weight}: {sent:?}");
        assert!(sent.windows(2).all(|two| two[1].0.since(two[0].0) <= SECOND), "weight {weight}: {sent:?}");
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_script_that_fails_in_the_new_life_counts_as_soon_as_it_is_known() {
    let of =
        |priority| alone(InstanceSettings { tracks: vec![script("chk", 0)], ..instance("a", 51, priority) });
    let mut world = pair(of);
    world.hand_over(0);
    world.nodes[0].tracks.insert(chk(), TrackLevel::Is(false));
    world.run(300 * MILLISECOND);
    world.start(0);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    world.run(3 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    world.run(SECOND);
    assert_eq!(world.master("a"), Some(1));
}

#[test]
fn a_handed_over_sync_group_goes_on_together_and_is_never_reported_as_backup() {
    let of = |priority| {
        let mut b = InstanceSettings { interface: Some("e1".to_owned()), ..instance("b", 52, priority) };
        b.addresses = vec![vip("e1", [10, 0, 1, 52].into(), 24)];
        b.tracks = vec![script("chk", 0)];
        let mut all = settings(vec![instance("a", 51, priority), b]);
        all.groups = vec![Arc::new(group("G", &["a", "b"]))];
        all
    };
    let mut world = pair(of);
    let before = world.reported(0, "vrrp_group").len();
    hand_over(&mut world, 300 * MILLISECOND);
    world.run(20 * SECOND);
    no_peer_noticed(&world);
    let groups = world.reported(0, "vrrp_group");
    assert!(groups[before..].iter().all(|g| g.contains("G: Master")), "{groups:?}");
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn numbers_of_authentication_go_on_where_the_life_before_ended() {
    let of = |priority| {
        let authentication = Authentication::Header(*b"s3cret\0\0");
        alone(InstanceSettings { version: Version::V2, authentication, ..instance("a", 51, priority) })
    };
    let mut world = pair(of);
    hand_over(&mut world, 300 * MILLISECOND);
    world.run(20 * SECOND);
    no_peer_noticed(&world);
    assert_eq!(world.status(1, "a").counters.dropped, [].into());
}

#[test]
fn a_late_successor_finds_the_vip_given_up_after_two_intervals_and_begins_as_backup() {
    for (missed_adverts, kept) in [(3, 2000), (2, 1000), (1, 500)] {
        let of = |priority| alone(InstanceSettings { missed_adverts, ..instance("a", 51, priority) });
        let mut world = pair(of);
        world.hand_over(0);
        world.run((kept - 10) * MILLISECOND);
        assert!(world.nodes[0].has(VIP), "down_timer_adverts {missed_adverts}: too early");
        world.run(20 * MILLISECOND);
        assert!(!world.nodes[0].has(VIP), "down_timer_adverts {missed_adverts}: no successor came");
        world.start(0);
        assert_eq!(world.state(0, "a"), Some(State::Backup));
        let took = world.until("the other one", |w| w.state(1, "a") == Some(State::Master));
        assert!(took < 620 * MILLISECOND, "{took:?}: it heard priority 0");
        assert!(!world.nodes[0].has(VIP));
        world.run(20 * SECOND);
        invariants::at_rest(&mut world);
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_successor_without_a_guardian_before_it_goes_on_only_while_no_peer_can_have_taken_over() {
    for (missed_adverts, after, is_kept) in
        [(3, 2900, true), (3, 3100, false), (1, 900, true), (1, 1100, false)]
    {
        let of = |priority| alone(InstanceSettings { missed_adverts, ..instance("a", 51, priority) });
        let mut world = pair(of);
        world.nodes[0].has_guardian = false;
        hand_over(&mut world, after * MILLISECOND);
        let state = if is_kept { State::Master } else { State::Backup };
        assert_eq!(world.state(0, "a"), Some(state), "down_timer_adverts {missed_adverts}, {after} ms");
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn what_an_inherited_master_stands_on_may_take_its_time_but_not_longer_than_peers_wait() {
    let of = |priority| alone(on_vmac(instance("a", 51, priority)));
    let mut world = pair(of);
    world.hand_over(0);
    let vmac = world.nodes[0].settings.instances[0].vmac.clone().expect("a VMAC").name.clone();
    let index = world.nodes[0].link(&vmac);
    world.nodes[0].host.remove_link(index);
    world.nodes[0].host.refuse(1000);
    world.run(300 * MILLISECOND);
    world.start(0);
    world.run(5 * SECOND);
    assert_eq!(world.state(1, "a"), Some(State::Master), "the first cannot speak");
    world.nodes[0].host.refuse(0);
    world.run(60 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_master_that_gets_a_script_by_reload_or_moves_with_one_goes_on_at_once() {
    for vrid in [51, 61] {
        let mut world = pair(|priority| alone(instance("a", 51, priority)));
        world.nodes[1].settings = Arc::new(settings(Vec::new()));
        let mut new = InstanceSettings { vrid, tracks: vec![script("slow", 0)], ..instance("a", vrid, 150) };
        new.addresses = instance("a", 51, 150).addresses;
        world.reload(0, alone(new));
        world.run(SECOND);
        assert_eq!(world.state(0, "a"), Some(State::Master), "number {vrid}");
        let first = world.sent(0, vrid).last().map(|(_, priority)| *priority);
        assert_eq!(first, Some(150), "number {vrid}");
        world.run(5 * SECOND);
        assert!(world.nodes[0].has(VIP));
        world.track(0, TrackTarget::Script("slow".to_owned()), TrackLevel::Is(false));
        assert_eq!(world.state(0, "a"), Some(State::Fault));
    }
}

#[test]
fn a_process_that_hangs_loses_its_vips_when_its_peers_take_over_and_goes_on_correctly() {
    for preempts in [true, false] {
        let of = |priority| alone(InstanceSettings { preempts, ..instance("a", 51, priority) });
        let mut world = World::with(vec![of(150)]);
        world.run(10 * SECOND);
        world = pair_of(world, of(100));
        let begun = world.now;
        world.hang(0);
        world.until("the VIP is given up", |w| !w.nodes[0].has(VIP));
        assert!(world.now.since(begun) <= 3500 * MILLISECOND, "{:?}", world.now.since(begun));
        world.until("the other one", |w| w.state(1, "a") == Some(State::Master));
        world.run(5 * SECOND);
        assert!(world.nodes[1].has(VIP));
        world.resume(0);
        world.run(20 * SECOND);
        assert_eq!(world.master("a"), Some(if preempts { 0 } else { 1 }));
        invariants::at_rest(&mut world);
        assert_eq!(world.broken, [""; 0]);
    }
}

/// The second one comes to a Master that is there.
fn pair_of(world: World, second: Settings) -> World {
    let first = Settings::clone(&world.nodes[0].settings);
    let mut both = World::new(7, 2);
    both.nodes[0].settings = Arc::new(first);
    both.nodes[1].settings = Arc::new(second);
    both.start(0);
    both.run(10 * SECOND);
    both.start(1);
    both.run(10 * SECOND);
    assert_eq!(both.master("a"), Some(0));
    both
}

/// Addresses that stay where they are while their instance becomes Master: after a hand-over, and on another VRID.
#[test]
fn a_master_whose_addresses_were_there_before_announces_them_as_any_other() {
    let refreshed = |vrid, priority| {
        let mut a = InstanceSettings { tracks: vec![script("chk", -60)], ..instance("a", vrid, priority) };
        a.addresses = vec![vip("e0", VIP.into(), 24)];
        a.announcing.refresh = 10 * SECOND;
        a
    };
    let mut world = pair(|priority| alone(refreshed(51, priority)));
    let announced = |world: &World, since: usize| world.nodes[0].announced.len() - since;
    let before = world.nodes[0].announced.len();
    hand_over(&mut world, 100 * MILLISECOND);
    world.run(4 * SECOND);
    assert_eq!(announced(&world, before), 5, "a burst");
    world.run(56 * SECOND);
    assert!(announced(&world, before) >= 5 + 5 + 5, "a second one, and refreshes");
    let before = world.nodes[0].announced.len();
    world.reload(0, alone(refreshed(52, 150)));
    world.run(60 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert!(announced(&world, before) >= 5 + 5 + 5, "a burst, a second one, and refreshes on another VRID");
}
