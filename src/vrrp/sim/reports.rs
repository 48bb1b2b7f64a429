//! Scenarios of what an operator's scripts, FIFO and mails are given, and in which order.

use std::sync::Arc;
use std::time::Duration;

use super::protocol::stranger;
use super::site::{address, group, instance, on_vmac, settings, vip};
use super::world::World;
use crate::net::types::{Op, Prefix};
use crate::vrrp::event::Event;
use crate::vrrp::io::{DirectorLevel, Input, State};
use crate::vrrp::leave_init::FAULT_GRACE;
use crate::vrrp::settings::{InstanceSettings, LinkDelays, Settings};

const SECOND: Duration = Duration::from_secs(1);
const OWN: Prefix = Prefix { ip: std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 201)), length: 24 };

/// The states of an instance, or of a group, in the order of their reports.
fn reports(world: &World, node: usize, name: &str) -> Vec<State> {
    let events = world.nodes[node].events.iter();
    let of = |event: &Event| match event {
        Event::Transition { instance, to, .. } if instance == name => Some(*to),
        Event::Group { group, to, .. } if group == name => Some(*to),
        _ => None,
    };
    events.filter_map(|(_, event)| of(event)).collect()
}

fn reason(world: &World, name: &str) -> String {
    world.status(0, name).reason
}

/// A host whose e0 has no IPv4 address yet.
fn without_address(all: Settings) -> World {
    let mut world = World::new(7, 1);
    let link = world.nodes[0].link("e0");
    world.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix: OWN }]);
    world.nodes[0].settings = Arc::new(all);
    world.start(0);
    world
}

#[test]
fn a_vmac_that_is_on_its_way_is_no_fault() {
    for seed in 0..64 {
        let mut world = World::new(seed, 1);
        world.nodes[0].settings = Arc::new(settings(vec![on_vmac(instance("a", 51, 100))]));
        world.start(0);
        world.run(5 * SECOND);
        assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master], "seed {seed}");
        // By a reload, too.
        let all = vec![on_vmac(instance("a", 51, 100)), on_vmac(instance("b", 52, 100))];
        world.reload(0, settings(all));
        world.run(5 * SECOND);
        assert_eq!(reports(&world, 0, "b"), [State::Backup, State::Master], "seed {seed}");
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_static_address_that_is_on_its_way_is_no_fault() {
    let mut all = settings(vec![instance("a", 51, 100)]);
    all.static_addresses = vec![Arc::new(address("e0", OWN.ip, OWN.length))];
    let mut world = without_address(all);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn an_address_that_comes_late_is_no_fault_and_the_status_says_what_is_missing() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    world.run(4 * SECOND);
    let reason = reason(&world, "a");
    assert!(reason.starts_with("not ready yet: interface e0 has no IPv4 address of its own"), "{reason}");
    assert_eq!(world.state(0, "a"), Some(State::Init));
    world.nodes[0].host.add_address("e0", OWN);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn a_fault_at_the_start_that_lasts_is_reported_once_and_so_is_its_end() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    let took = world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
    assert_eq!(took, FAULT_GRACE);
    assert!(reason(&world, "a").starts_with("interface e0 has no IPv4 address of its own"));
    world.run(60 * SECOND);
    world.nodes[0].host.add_address("e0", OWN);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Fault, State::Backup, State::Master]);
    // It has begun: from now on a fault counts at once.
    let link = world.nodes[0].link("e0");
    world.nodes[0].host.apply(&[Op::RemoveAddress { link, prefix: OWN }]);
    world.run(Duration::from_millis(10));
    assert_eq!(world.state(0, "a"), Some(State::Fault));
}

#[test]
fn a_startup_delay_holds_through_a_fault() {
    let delayed = Settings { startup_delay: 20 * SECOND, ..settings(vec![instance("a", 51, 100)]) };
    let mut world = without_address(delayed.clone());
    let took = world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
    assert_eq!(took, 20 * SECOND, "no report before the configured wait is over");
    let mut world = without_address(delayed);
    world.run(10 * SECOND);
    world.nodes[0].host.add_address("e0", OWN);
    let took = world.until("Backup", |w| w.state(0, "a") == Some(State::Backup));
    assert_eq!(took, 10 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup]);
}

#[test]
fn a_delay_of_the_link_holds_through_a_fault_at_the_start() {
    let mut world = World::new(7, 1);
    let mut patient = settings(vec![instance("a", 51, 100)]);
    patient.link_delays = [("e0".to_owned(), LinkDelays { down: SECOND, up: 10 * SECOND })].into();
    let e0 = world.nodes[0].link("e0");
    world.nodes[0].host.set_running(e0, false);
    world.nodes[0].settings = Arc::new(patient);
    world.start(0);
    world.run(2 * SECOND);
    world.nodes[0].host.set_running(e0, true);
    world.run(20 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
}

#[test]
fn services_are_waited_for_after_a_fault_at_the_start_too() {
    let mut world = without_address(settings(vec![instance("a", 51, 100)]));
    let not_ready = [std::net::IpAddr::from([10, 0, 0, 51])].into();
    world.direct(0, DirectorLevel { not_ready, ..DirectorLevel::default() });
    world.run(6 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    world.nodes[0].host.add_address("e0", OWN);
    world.run(6 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Fault));
    assert_eq!(world.status(0, "a").waits_for.as_deref(), Some("the services of its addresses"));
    world.direct(0, DirectorLevel::default());
    assert_eq!(world.state(0, "a"), Some(State::Backup));
}

#[test]
fn what_is_not_ready_yet_takes_no_sync_group_along() {
    let grouped = |instances: Vec<InstanceSettings>| {
        let names: Vec<String> = instances.iter().map(|i| i.name.clone()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Settings { groups: vec![Arc::new(group("G", &names))], ..settings(instances) }
    };
    let (a, b) = (instance("a", 51, 100), instance("b", 52, 100));
    let mut world = World::with(vec![grouped(vec![a.clone(), b.clone()])]);
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    world.reload(0, grouped(vec![a, b, on_vmac(instance("c", 53, 100))]));
    world.run(10 * SECOND);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
    assert_eq!(reports(&world, 0, "c"), [State::Backup, State::Master]);
}

/// When a Master reported a rival, and whether as gone.
fn rivals(world: &World) -> Vec<(crate::time::Instant, bool)> {
    let events = world.nodes[0].events.iter();
    let of = |(at, event): &(crate::time::Instant, Event)| match event {
        Event::LowerPriority { is_over, .. } => Some((*at, *is_over)),
        _ => None,
    };
    events.filter_map(of).collect()
}

/// A router of lower priority is Master for some intervals; when it last said so.
fn claims(world: &mut World, times: u32, interval: Duration) -> crate::time::Instant {
    let mut last = world.now;
    for _ in 0..times {
        last = world.now;
        stranger(world, [10, 0, 0, 9], |_| ());
        world.run(interval);
    }
    last
}

#[test]
fn after_a_peer_was_master_for_seconds_there_is_one_more_report_when_it_no_longer_is() {
    for interval in [SECOND, SECOND / 10] {
        for says_zero in [false, true] {
            let own = InstanceSettings { advert_interval: interval, ..instance("a", 51, 150) };
            let mut world = World::with(vec![settings(vec![own])]);
            world.run(10 * SECOND);
            let end = claims(&mut world, 3, interval);
            if says_zero {
                stranger(&mut world, [10, 0, 0, 9], |advert| advert.priority = 0);
            }
            assert_eq!(rivals(&world).len(), 1, "while it claims");
            world.run(20 * SECOND);
            let all = rivals(&world);
            assert_eq!(all.iter().map(|(_, is_over)| *is_over).collect::<Vec<_>>(), [false, true]);
            let after = all[1].0.since(end);
            assert!(after >= 3 * interval && after < 4 * interval, "{after:?} after its last claim");
            assert_eq!(world.broken, [""; 0]);
        }
    }
}

#[test]
fn the_report_of_a_rivals_end_survives_what_happens_meanwhile() {
    type Meanwhile = fn(&mut World);
    let cases: [(&str, Meanwhile); 5] = [
        ("it claims again at once", |w| {
            w.run(SECOND);
            claims(w, 2, SECOND);
        }),
        ("it claims more slowly than an contention lasts", |w| {
            w.run(5 * SECOND);
            claims(w, 2, 4 * SECOND);
        }),
        ("this host is paused", |w| {
            w.pause(0);
            w.run(4 * SECOND);
            w.resume(0);
        }),
        ("the Master gets another priority and another name", |w| {
            let mut other = instance("b", 51, 120);
            other.addresses = instance("a", 51, 150).addresses;
            w.reload(0, settings(vec![other]));
        }),
        ("two claim beside each other", |w| {
            for _ in 0..3 {
                stranger(w, [10, 0, 0, 9], |_| ());
                w.run(SECOND / 2);
                stranger(w, [10, 0, 0, 8], |_| ());
                w.run(SECOND / 2);
            }
        }),
    ];
    for (what, meanwhile) in cases {
        let mut world = World::with(vec![settings(vec![instance("a", 51, 150)])]);
        world.run(10 * SECOND);
        claims(&mut world, 2, SECOND);
        meanwhile(&mut world);
        world.run(20 * SECOND);
        let all: Vec<bool> = rivals(&world).into_iter().map(|(_, is_over)| is_over).collect();
        let pairs: Vec<bool> = [false, true].into_iter().cycle().take(all.len()).collect();
        assert!(!all.is_empty() && all == pairs && all.len().is_multiple_of(2), "{what}: {all:?}");
    }
}

#[test]
fn a_rival_that_claims_within_the_first_interval_of_a_master_is_reported_too() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)])]);
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    stranger(&mut world, [10, 0, 0, 9], |_| ());
    world.run(10 * SECOND);
    assert_eq!(rivals(&world).len(), 2);
}

fn grouped(names: &[&str], instances: Vec<InstanceSettings>) -> Settings {
    Settings { groups: vec![Arc::new(group("G", names))], ..settings(instances) }
}

#[test]
fn an_instance_that_joins_a_masters_group_does_not_move_the_group() {
    let all = || vec![instance("a", 51, 150), instance("b", 52, 150), instance("c", 53, 150)];
    let two = || vec![instance("a", 51, 150), instance("b", 52, 150)];
    // A new one, one that was alone, and one that was alone and Backup.
    let shy = |name, vrid| InstanceSettings { preempts: false, ..instance(name, vrid, 150) };
    for before in [grouped(&["a", "b"], two()), grouped(&["a", "b"], all())] {
        let mut world = World::with(vec![before]);
        world.run(10 * SECOND);
        world.reload(0, grouped(&["a", "b", "c"], all()));
        assert_eq!(world.whole_status(0).groups[0].state, State::Master);
        world.run(20 * SECOND);
        assert_eq!(reports(&world, 0, "G"), [State::Backup, State::Master]);
        assert_eq!(reports(&world, 0, "c"), [State::Backup, State::Master]);
        // And it leaves again.
        world.reload(0, grouped(&["a", "b"], all()));
        world.run(10 * SECOND);
        assert_eq!(reports(&world, 0, "G"), [State::Backup, State::Master]);
        assert_eq!(world.broken, [""; 0]);
    }
    let mut world = World::with(vec![grouped(&["a", "b"], two()), settings(vec![shy("c", 53)])]);
    world.run(10 * SECOND);
    assert_eq!(world.state(1, "c"), Some(State::Master));
    let joins = vec![
        instance("a", 51, 150),
        instance("b", 52, 150),
        InstanceSettings { preempts: false, ..instance("c", 53, 160) },
    ];
    world.reload(0, grouped(&["a", "b", "c"], joins));
    world.run(10 * SECOND);
    assert_eq!(
        (world.state(0, "c"), world.state(1, "c")),
        (Some(State::Master), Some(State::Backup)),
        "it joins the Master"
    );
    assert_eq!(reports(&world, 0, "G"), [State::Backup, State::Master]);
}

#[test]
fn a_group_whose_new_member_has_a_better_master_elsewhere_yields_as_a_whole() {
    let two = vec![instance("a", 51, 150), instance("b", 52, 150)];
    let mut world = World::with(vec![
        grouped(&["a", "b"], two.clone()),
        grouped(&["a", "b"], vec![instance("a", 51, 100), instance("b", 52, 100), instance("c", 53, 200)]),
    ]);
    world.run(10 * SECOND);
    assert_eq!((world.master("a"), world.master("c")), (Some(0), Some(1)));
    world.reload(0, grouped(&["a", "b", "c"], [two, vec![instance("c", 53, 150)]].concat()));
    world.run(10 * SECOND);
    let states = ["a", "b", "c"].map(|name| world.state(0, name));
    assert_eq!(states, [Some(State::Backup); 3]);
    assert_eq!(world.master("a"), Some(1));
    assert_eq!(reports(&world, 0, "G"), [State::Backup, State::Master, State::Backup]);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn what_waited_for_a_member_that_leaves_its_group_takes_over() {
    let all = || vec![instance("a", 51, 100), instance("b", 52, 100)];
    let mut world = World::with(vec![grouped(&["a", "b"], all()), settings(vec![instance("b", 52, 200)])]);
    world.run(20 * SECOND);
    assert!(world.status(0, "a").waits_for_group);
    world.reload(0, settings(all()));
    world.run(SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_group_with_another_name_and_one_over_masters_are_reported_as_they_are() {
    let all = || vec![instance("a", 51, 150), instance("b", 52, 150)];
    let mut world = World::with(vec![settings(all())]);
    world.run(10 * SECOND);
    world.reload(0, grouped(&["a", "b"], all()));
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "G"), [State::Master], "as it is");
    let renamed = Settings { groups: vec![Arc::new(group("H", &["b", "a"]))], ..settings(all()) };
    world.reload(0, renamed);
    world.run(5 * SECOND);
    assert_eq!(reports(&world, 0, "H"), [], "nothing changed but its name");
    assert_eq!(
        world.reported(0, "vrrp_renamed"),
        ["sync group H: renamed from G by the reload, state stays Master"]
    );
    world.handle(0, Input::Stop);
    assert_eq!(reports(&world, 0, "H"), [State::Init]);
    assert_eq!(world.broken, [""; 0]);
}

/// VRID and addresses of one, name of another.
fn named(name: &str, of: &InstanceSettings) -> InstanceSettings {
    InstanceSettings { name: name.to_owned(), ..of.clone() }
}

#[test]
fn instances_that_swap_their_names_change_nothing_on_the_wire() {
    let (a, b) = (instance("a", 51, 150), instance("b", 52, 50));
    let (peer_a, peer_b) = (instance("a", 51, 100), instance("b", 52, 100));
    let mut world = World::with(vec![settings(vec![a.clone(), b.clone()]), settings(vec![peer_a, peer_b])]);
    world.run(20 * SECOND);
    let ops = world.nodes[0].ops.len();
    world.reload(0, settings(vec![named("b", &a), named("a", &b)]));
    world.run(20 * SECOND);
    assert_eq!((world.state(0, "a"), world.state(0, "b")), (Some(State::Backup), Some(State::Master)));
    assert_eq!(world.nodes[0].ops.len(), ops, "no address moved");
    assert!(world.sent(0, 51).iter().all(|(_, priority)| *priority > 0));
    assert_eq!(reports(&world, 1, "a"), [State::Backup]);
    assert_eq!(reports(&world, 1, "b"), [State::Backup, State::Master]);
    assert_eq!(renames(&world), [("a".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(world.broken, [""; 0]);
}

/// The names before, and whether another renamed one has them now.
fn renames(world: &World) -> Vec<(String, bool)> {
    let events = world.nodes[0].events.iter().map(|(_, event)| event);
    let mut all: Vec<_> = events
        .filter_map(|event| match event {
            Event::Renamed { before, is_taken, .. } => Some((before.clone(), *is_taken)),
            _ => None,
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_name_that_a_new_instance_gets_is_not_taken_by_a_renamed_one() {
    let a = instance("a", 51, 150);
    let mut world = World::with(vec![settings(vec![a.clone()])]);
    world.run(20 * SECOND);
    world.reload(0, settings(vec![named("b", &a), instance("a", 52, 150)]));
    world.run(20 * SECOND);
    assert_eq!(renames(&world), [("a".to_owned(), false)]);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_vrid_that_another_instance_has_taken_is_not_left() {
    let first = instance("a", 51, 150);
    let mut moved = InstanceSettings { vrid: 61, ..first.clone() };
    moved.addresses = vec![vip("e0", [10, 0, 0, 61].into(), 24)];
    // a leaves 51 to a new c, keeping its addresses or not.
    for keeps in [true, false] {
        let mut world =
            World::with(vec![settings(vec![first.clone()]), settings(vec![instance("a", 51, 100)])]);
        world.run(10 * SECOND);
        let (mut a, mut c) = (moved.clone(), named("c", &first));
        if keeps {
            a.addresses = first.addresses.clone();
            c.addresses = vec![vip("e0", [10, 0, 0, 71].into(), 24)];
        }
        world.reload(0, settings(vec![a, c]));
        world.run(10 * SECOND);
        assert_eq!((world.state(0, "a"), world.state(0, "c")), (Some(State::Master), Some(State::Master)));
        assert!(world.sent(0, 51).iter().all(|(_, priority)| *priority > 0), "51 is held by c");
        assert_eq!(reports(&world, 1, "a"), [State::Backup]);
        let first = world.sent(0, 61)[0].0;
        assert!(first.since(world.sent(0, 51)[0].0) > 3 * SECOND);
        for ip in [[10, 0, 0, 51], if keeps { [10, 0, 0, 71] } else { [10, 0, 0, 61] }] {
            assert!(world.nodes[0].has(ip), "{ip:?}");
        }
        assert_eq!(world.broken, [""; 0]);
    }
    // There and back before the old one has been left.
    let mut world =
        World::with(vec![settings(vec![on_vmac(first.clone())]), settings(vec![instance("a", 51, 100)])]);
    world.run(10 * SECOND);
    world.reload(0, settings(vec![on_vmac(InstanceSettings { vrid: 61, ..first.clone() })]));
    world.reload(0, settings(vec![on_vmac(first)]));
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_master_that_moves_to_another_vrid_is_not_reported_again() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)])]);
    world.run(10 * SECOND);
    world.reload(0, settings(vec![InstanceSettings { vrid: 61, ..instance("a", 51, 150) }]));
    world.run(10 * SECOND);
    assert_eq!(world.state(0, "a"), Some(State::Master));
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master]);
    world.handle(0, Input::Stop);
    assert_eq!(reports(&world, 0, "a"), [State::Backup, State::Master, State::Init]);
}
