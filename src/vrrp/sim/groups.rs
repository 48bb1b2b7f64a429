//! Scenarios of sync groups, faults and weights.

use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{group, instance, script, settings, vip};
use super::world::World;
use crate::net::types::{Op, Prefix};
use crate::vrrp::io::{DirectorLevel, State, TrackLevel};
use crate::vrrp::leave_init::FAULT_GRACE;
use crate::vrrp::settings::{InstanceSettings, LinkDelays, Settings, Track, TrackTarget, Transport};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn chk() -> TrackTarget {
    TrackTarget::Script("chk".to_owned())
}

/// Instance a on e0, b on e1, together.
fn grouped(priority: u8) -> Settings {
    let mut b = InstanceSettings { interface: Some("e1".to_owned()), ..instance("b", 52, priority) };
    b.addresses = vec![vip("e1", [10, 0, 1, 52].into(), 24)];
    let mut all = settings(vec![instance("a", 51, priority), b]);
    all.groups = vec![Arc::new(group("G", &["a", "b"]))];
    all
}

fn both(world: &World, node: usize, state: State) -> bool {
    world.state(node, "a") == Some(state) && world.state(node, "b") == Some(state)
}

fn alone(a: InstanceSettings) -> World {
    let mut world = World::new(3, 1);
    world.nodes[0].settings = settings(vec![a]).into();
    world.nodes[0].tracks = [(chk(), TrackLevel::Is(true))].into();
    world.start(0);
    world
}

#[test]
fn a_group_is_master_together_and_one_fault_takes_all_with_priority_zero_on_all() {
    let mut world = World::with(vec![grouped(150), grouped(100)]);
    world.run(10 * SECOND);
    assert!(both(&world, 0, State::Master) && both(&world, 1, State::Backup));
    assert_eq!(
        world.reported(0, "vrrp_group").last().unwrap(),
        "sync group G: Master: no advertisement of a Master received"
    );

    let e1 = world.nodes[0].link("e1");
    world.nodes[0].host.set_running(e1, false);
    world.run(2 * MILLISECOND);
    assert!(both(&world, 0, State::Fault));
    for vrid in [51, 52] {
        assert_eq!(world.sent(0, vrid).last().unwrap().1, 0, "priority 0 of {vrid}");
    }
    let reason = world.status(0, "a").reason;
    assert_eq!(reason, "sync group G: instance b: interface e1 has no carrier");
    let took = world.until("the other one", |w| both(w, 1, State::Master));
    assert!(took < 4 * SECOND, "{took:?}: b received no priority 0, its cable is cut");

    world.nodes[0].host.set_running(e1, true);
    world.run(20 * SECOND);
    assert!(both(&world, 0, State::Master) && both(&world, 1, State::Backup));
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_group_does_not_take_over_one_half() {
    let mut world = World::with(vec![grouped(150), grouped(100)]);
    world.run(10 * SECOND);
    // Host 1 hears host 0 on e1 only: a's time is up, b's never is.
    let e0 = world.nodes[1].link("e0");
    world.nodes[1].host.set_up(e0, false);
    world.run(SECOND);
    assert!(both(&world, 1, State::Fault), "its own link is a fault of its own");
    world.nodes[1].host.set_up(e0, true);
    world.run(SECOND);
    assert!(both(&world, 1, State::Backup));
    let foreign = InstanceSettings { vrid: 77, ..instance("a", 77, 150) };
    let mut other = grouped(150);
    other.instances[0] = Arc::new(foreign);
    world.reload(0, other);
    world.run(30 * SECOND);
    assert!(both(&world, 1, State::Backup), "51 has no Master, but b has");
    assert!(world.status(1, "a").waits_for_group);
    assert!(world.sent(1, 51).is_empty());
    world.crash(0);
    world.until("both", |w| both(w, 1, State::Master));
}

#[test]
fn a_group_that_loses_one_election_sends_priority_zero_for_the_others() {
    let mut world = World::with(vec![grouped(100), grouped(150)]);
    world.crash(1);
    world.run(10 * SECOND);
    assert!(both(&world, 0, State::Master));
    world.start(1);
    world.until("the better one", |w| both(w, 1, State::Master));
    world.run(5 * MILLISECOND);
    assert!(both(&world, 0, State::Backup));
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_group_that_meets_a_better_one_has_all_its_addresses_announced_again() {
    let mut world = World::with(vec![grouped(150), grouped(100)]);
    world.run(20 * SECOND);
    world.cut(0, 1, true);
    world.run(20 * SECOND);
    assert!(both(&world, 0, State::Master) && both(&world, 1, State::Master));
    let own = world.sent(1, 51).len();
    world.until("the worse one speaks", |w| w.sent(1, 51).len() > own);
    world.run(300 * MILLISECOND);
    world.cut(0, 1, false);
    let before = world.nodes[0].announced.len();
    world.until("it yields", |w| both(w, 1, State::Backup));
    world.run(2 * SECOND);
    let frames = &world.nodes[0].announced[before..];
    for vip in world.nodes[0].settings.instances.iter().flat_map(|i| &i.addresses) {
        let ip = vip.wanted.prefix.ip;
        let times = frames.iter().filter(|(_, _, frame)| invariants::announced(frame) == ip).count();
        assert_eq!(times, 5, "{ip}");
    }
    world.run(20 * SECOND);
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_link_down_a_lost_source_and_a_failed_script_are_faults_and_over_when_they_are() {
    let followed = InstanceSettings {
        tracks: vec![script("chk", 0)],
        source: Some([10, 0, 0, 201].into()),
        ..instance("a", 51, 100)
    };
    let own = Prefix { ip: [10, 0, 0, 201].into(), length: 24 };
    type Change = fn(&mut World);
    let faults: [(&str, Change, Change); 3] = [
        (
            "interface e0 is down",
            |w| {
                let e0 = w.nodes[0].link("e0");
                w.nodes[0].host.set_up(e0, false);
            },
            |w| {
                let e0 = w.nodes[0].link("e0");
                w.nodes[0].host.set_up(e0, true);
            },
        ),
        (
            "source address 10.0.0.201 is not on this host (yet): add it, or give mcast_src_ip an address of this host",
            |w| {
                let (link, prefix) =
                    (w.nodes[0].link("e0"), Prefix { ip: [10, 0, 0, 201].into(), length: 24 });
                w.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix }]);
            },
            |w| {
                w.nodes[0].host.add_address("e0", Prefix { ip: [10, 0, 0, 201].into(), length: 24 });
            },
        ),
        (
            "script chk fails",
            |w| w.track(0, chk(), TrackLevel::Is(false)),
            |w| w.track(0, chk(), TrackLevel::Is(true)),
        ),
    ];
    for (reason, breaks, mends) in faults {
        let mut world = alone(followed.clone());
        world.run(5 * SECOND);
        assert_eq!(world.state(0, "a"), Some(State::Master));
        breaks(&mut world);
        world.run(10 * MILLISECOND);
        assert_eq!((world.state(0, "a"), world.status(0, "a").reason.as_str()), (Some(State::Fault), reason));
        assert_eq!(world.sent(0, 51).last().unwrap().1, 0, "{reason}: priority 0");
        assert!(!world.nodes[0].has([10, 0, 0, 51]), "{reason}: no VIP");
        mends(&mut world);
        world.run(10 * MILLISECOND);
        assert_eq!(world.state(0, "a"), Some(State::Backup), "{reason}");
        let took = world.until("Master again", |w| w.state(0, "a") == Some(State::Master));
        assert!(took > 3590 * MILLISECOND, "{reason}: a full timer: {took:?}");
        assert!(world.nodes[0].host.host().addresses.iter().any(|h| h.prefix == own));
    }
}

#[test]
fn unicast_without_a_peer_is_a_fault() {
    let transport =
        Transport::Unicast { peers: Vec::new(), hop_limit: 255, checks_source: false, guards_ttl: false };
    let mut world = alone(InstanceSettings { transport, ..instance("a", 51, 100) });
    world.run(FAULT_GRACE);
    assert_eq!(world.status(0, "a").state, State::Fault);
    assert_eq!(world.status(0, "a").reason, "it has no unicast_peer");
}

#[test]
fn an_interface_that_comes_back_with_another_number_is_the_same_to_an_operator() {
    let mut world = alone(instance("a", 51, 100));
    world.run(5 * SECOND);
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.remove_link(e0);
    world.run(10 * MILLISECOND);
    assert_eq!(world.status(0, "a").reason, "interface e0 is not there");
    world.nodes[0].host.add_link("e0", crate::net::types::MacAddress([2, 0, 0, 0, 0, 1]));
    world.nodes[0].host.add_address("e0", Prefix { ip: [10, 0, 0, 201].into(), length: 24 });
    world.until("Master again", |w| w.state(0, "a") == Some(State::Master));
    world.run(10 * MILLISECOND);
    assert!(world.nodes[0].has([10, 0, 0, 51]));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn weights_move_the_pending_takeover_by_the_difference_of_skews() {
    let followed = InstanceSettings { tracks: vec![script("chk", -64)], ..instance("a", 51, 200) };
    let mut world = alone(followed);
    world.run(SECOND);
    let before = world.status(0, "a").timer_microseconds.unwrap();
    world.track(0, chk(), TrackLevel::Is(false));
    let status = world.status(0, "a");
    assert_eq!(status.priority, 136);
    assert_eq!(status.timer_microseconds.unwrap() - before, 250_000, "64/256 of a second");
    assert_eq!(world.reported(0, "vrrp_priority"), ["instance a: priority 200 -> 136: script chk fails"]);
}

#[test]
fn the_sum_of_weights_is_not_clamped_though_the_priority_is_and_an_owner_is_immune() {
    let up = |name: &str| Track { weight: 200, ..script(name, 0) };
    let followed = |priority| InstanceSettings {
        tracks: vec![up("chk"), script("low", -200)],
        ..instance("a", 51, priority)
    };
    let mut world = alone(followed(100));
    let low = TrackTarget::Script("low".to_owned());
    world.track(0, low.clone(), TrackLevel::Is(true));
    assert_eq!(world.status(0, "a").priority, 254);
    world.track(0, low.clone(), TrackLevel::Is(false));
    assert_eq!(world.status(0, "a").priority, 100);
    let mut owner = alone(followed(255));
    owner.track(0, low, TrackLevel::Is(false));
    assert_eq!(owner.status(0, "a").priority, 255);
}

#[test]
fn a_failing_script_with_a_weight_hands_over_to_the_other_host() {
    let followed = |priority| {
        settings(vec![InstanceSettings { tracks: vec![script("chk", -20)], ..instance("a", 51, priority) }])
    };
    let mut world = World::with(vec![followed(101), followed(100)]);
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world.track(0, chk(), TrackLevel::Is(false));
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(1));
    world.track(0, chk(), TrackLevel::Is(true));
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
}

#[test]
fn in_a_group_weights_of_members_count_only_where_that_is_asked_for() {
    let mut plain = grouped(100);
    Arc::make_mut(&mut plain.instances[0]).tracks = vec![script("chk", -20)];
    let mut counting = plain.clone();
    Arc::make_mut(&mut counting.groups[0]).counts_weights = true;
    for (all, priority) in [(plain, 100), (counting, 80)] {
        let mut world = World::new(3, 1);
        world.nodes[0].settings = all.into();
        world.start(0);
        world.track(0, chk(), TrackLevel::Is(false));
        assert_eq!(world.status(0, "a").priority, priority);
    }
}

#[test]
fn a_script_that_could_be_a_fault_is_awaited_in_init() {
    let mut world = World::new(3, 1);
    let followed = InstanceSettings { tracks: vec![script("chk", 0)], ..instance("a", 51, 255) };
    world.nodes[0].settings = settings(vec![followed]).into();
    world.start(0);
    world.run(5 * SECOND);
    let status = world.status(0, "a");
    assert_eq!((status.state, status.waits_for.as_deref()), (State::Init, Some("script chk")));
    world.track(0, chk(), TrackLevel::Is(false));
    world.run(FAULT_GRACE);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert!(world.sent(0, 51).is_empty(), "it never claimed");
}

#[test]
fn a_host_that_cannot_forward_lowers_its_priority_and_is_no_fault() {
    let of = |priority| Settings { forwarding_weight: 60, ..settings(vec![instance("a", 51, priority)]) };
    let mut world = World::with(vec![of(150), of(100)]);
    world.run(10 * SECOND);
    let cannot_forward = Some("ip_vs is not loaded".to_owned());
    world.direct(0, DirectorLevel { cannot_forward: cannot_forward.clone(), ..DirectorLevel::default() });
    assert_eq!(
        world.reported(0, "vrrp_priority"),
        ["instance a: priority 150 -> 90: this host cannot forward: ip_vs is not loaded"]
    );
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(1));
    world.direct(1, DirectorLevel { cannot_forward, ..DirectorLevel::default() });
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0), "better a Master that cannot forward than none");
}

#[test]
fn a_cable_that_flickers_counts_only_when_it_lasts() {
    let mut patient = settings(vec![instance("a", 51, 100)]);
    patient.link_delays = [("e0".to_owned(), LinkDelays { down: 2 * SECOND, up: SECOND })].into();
    let mut world = World::with(vec![patient]);
    world.run(10 * SECOND);
    let e0 = world.nodes[0].link("e0");
    let plugged = |world: &mut World, is: bool| world.nodes[0].host.set_running(e0, is);
    for _ in 0..10 {
        plugged(&mut world, false);
        world.run(1500 * MILLISECOND);
        plugged(&mut world, true);
        world.run(100 * MILLISECOND);
    }
    assert_eq!(world.reported(0, "vrrp_transition").len(), 2, "it stayed Master");
    plugged(&mut world, false);
    let down = world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
    assert!(down.abs_diff(2 * SECOND) < MILLISECOND, "{down:?}");
    plugged(&mut world, true);
    let up = world.until("Backup", |w| w.state(0, "a") == Some(State::Backup));
    assert!(up.abs_diff(SECOND) < MILLISECOND, "{up:?}");
}
