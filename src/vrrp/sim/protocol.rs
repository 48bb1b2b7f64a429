//! Scenarios of the protocol: timers, priorities, elections. CONFORMANCE.md says which point each proves.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::invariants;
use super::site::{instance, instance6, settings};
use super::world::World;
use crate::vrrp::io::{Datagram, DirectorLevel, Input, State};
use crate::vrrp::packet::{self, Advertisement, Counters, Path};
use crate::vrrp::settings::{Authentication, Beginning, Checksum, Hmac, HmacMode, InstanceSettings, Version};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// How long something took, to within what the simulated wire and kernel take.
fn assert_about(took: Duration, expected: Duration) {
    let difference = took.abs_diff(expected);
    assert!(difference < Duration::from_micros(20), "took {took:?}, expected {expected:?}");
}

fn pair(a: InstanceSettings, b: InstanceSettings) -> World {
    World::with(vec![settings(vec![a]), settings(vec![b])])
}

fn is(world: &World, node: usize, state: State) -> bool {
    world.state(node, "a") == Some(state)
}

/// An advertisement of a sender that is no router of the world.
pub(super) fn stranger(world: &mut World, source: [u8; 4], change: impl FnOnce(&mut Advertisement)) {
    let datagram = advertisement(world, source, change);
    world.inject(None, datagram);
}

/// The same, as it arrives at host 0.
pub(super) fn advertisement(
    world: &World,
    source: [u8; 4],
    change: impl FnOnce(&mut Advertisement),
) -> Datagram {
    let settings = world.nodes[0].settings.instances[0].clone();
    let mut advert = Advertisement {
        version: settings.version,
        vrid: settings.vrid,
        priority: 50,
        interval: settings.advert_interval,
        addresses: settings.addresses.iter().map(|a| a.wanted.prefix.ip).collect(),
    };
    change(&mut advert);
    let (source, destination) = (IpAddr::from(source), IpAddr::from([224, 0, 0, 18]));
    let path = Path { source, destination, hop_limit: 255 };
    let none = Authentication::None;
    let checksum = Checksum::PseudoHeader;
    let bytes = packet::encode(&advert, &path, checksum, &none, &mut Counters::new(), Duration::ZERO);
    let link = world.nodes[0].link("e0");
    Datagram { link, protocol: 112, source, destination, hop_limit: 255, bytes }
}

#[test]
fn a_backup_that_receives_nothing_is_master_after_three_intervals_and_its_skew() {
    let v2 = InstanceSettings { version: Version::V2, ..instance("a", 51, 100) };
    let v3 = |interval| InstanceSettings { advert_interval: interval, ..instance("a", 51, 100) };
    let cases = [
        (v2, Duration::from_nanos(3_609_375_000)),
        (v3(SECOND), Duration::from_nanos(3_609_375_000)),
        (v3(100 * MILLISECOND), Duration::from_nanos(360_937_500)),
        (v3(10 * MILLISECOND), Duration::from_nanos(36_093_750)),
        (instance6("a", 51, 100), Duration::from_nanos(3_609_375_000)),
    ];
    for (alone, expected) in cases {
        let mut world = World::with(vec![settings(vec![alone])]);
        assert!(is(&world, 0, State::Backup));
        assert_about(world.until("Master", |w| is(w, 0, State::Master)), expected);
    }
}

#[test]
fn skew_counts_in_nanoseconds_so_that_at_ten_milliseconds_only_the_best_backup_takes_over() {
    let of = |priority| InstanceSettings { advert_interval: 10 * MILLISECOND, ..instance("a", 51, priority) };
    let all = [200, 254, 253].map(|priority| settings(vec![of(priority)]));
    let mut world = World::with(all.to_vec());
    world.delay = Duration::from_micros(31);
    world.until("one Master", |w| w.master("a").is_some());
    world.run(SECOND);
    assert_eq!(world.master("a"), Some(1));
    world.nodes[1].has_guardian = false;
    world.crash(1);
    world.until("the next one", |w| is(w, 2, State::Master));
    world.run(SECOND);
    assert!(world.sent(0, 51).is_empty(), "the last one never claimed");
}

#[test]
fn an_owner_is_master_at_once_and_says_so_before_it_has_the_address() {
    let world = World::with(vec![settings(vec![instance("a", 51, 255)])]);
    assert!(is(&world, 0, State::Master));
    assert_eq!(world.sent(0, 51), [(world.now, 255)]);
    let said = world.trace.iter().position(|l| l.contains("advertises")).expect("said");
    let asked = world.trace.iter().position(|l| l.contains("AddAddress")).expect("asked");
    assert!(said < asked, "advertised at {said}, asked for the address at {asked}");
}

#[test]
fn an_owner_that_is_configured_to_begin_as_backup_does() {
    let owner = InstanceSettings { beginning: Beginning::Backup, ..instance("a", 51, 255) };
    let world = World::with(vec![settings(vec![owner])]);
    assert!(is(&world, 0, State::Backup));
}

#[test]
fn priority_zero_costs_the_skew_and_no_more() {
    let of =
        |priority| InstanceSettings { advert_interval: 100 * MILLISECOND, ..instance("a", 51, priority) };
    let mut world = pair(of(150), of(100));
    world.delay = Duration::from_micros(31);
    world.run(5 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world.handle(0, Input::Stop);
    let took = world.until("Master", |w| is(w, 1, State::Master));
    assert_about(took.checked_sub(Duration::from_micros(30)).unwrap(), Duration::from_nanos(60_937_500));
    let reported = world.reported(1, "vrrp_transition");
    assert!(reported.last().unwrap().contains("10.0.0.201 sent priority 0"), "{reported:?}");
}

#[test]
fn priority_zero_repeated_for_ever_do_not_keep_a_backup_from_taking_over() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    for _ in 0..100 {
        stranger(&mut world, [10, 0, 0, 9], |advert| advert.priority = 0);
        world.run(20 * MILLISECOND);
    }
    assert!(is(&world, 0, State::Master), "in two seconds, its skew is 609 ms");
}

#[test]
fn a_higher_priority_preempts_though_lower_advertisements_come_all_the_time() {
    let mut world = pair(instance("a", 51, 100), instance("a", 51, 150));
    world.crash(1);
    world.run(10 * SECOND);
    assert_eq!(world.master("a"), Some(0));
    world.start(1);
    let took = world.until("the better one", |w| is(w, 1, State::Master));
    let down = 3 * SECOND + SECOND * (256 - 150) / 256;
    assert_about(took, down);
    let yielded = world.until("the other yields", |w| is(w, 0, State::Backup));
    assert!(yielded < MILLISECOND, "one advertisement is enough: {yielded:?}");
    world.run(MILLISECOND * 10);
    invariants::at_rest(&mut world);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn when_a_partition_heals_the_winner_announces_its_addresses_again_whichever_sends_first() {
    for (answers, phase, expected) in [(true, 300, 5), (true, 900, 5), (false, 300, 0)] {
        let of =
            |priority| InstanceSettings { answers_higher_priority: answers, ..instance("a", 51, priority) };
        let mut world = pair(of(150), of(100));
        world.run(10 * SECOND);
        world.cut(0, 1, true);
        world.run(20 * SECOND);
        assert!(is(&world, 0, State::Master) && is(&world, 1, State::Master));
        // At 300 ms after the loser's advertisement the winner's comes first, at 900 ms the loser's own.
        let own = world.sent(1, 51).len();
        world.until("the loser speaks", |w| w.sent(1, 51).len() > own);
        world.run(Duration::from_millis(phase));
        world.cut(0, 1, false);
        let announced = world.nodes[0].announced.len();
        world.until("the loser yields", |w| is(w, 1, State::Backup));
        world.run(100 * MILLISECOND);
        assert_eq!(world.nodes[0].announced.len() - announced, expected, "answers {answers}, at {phase} ms");
        assert!(is(&world, 0, State::Master));
        world.run(20 * SECOND);
        invariants::at_rest(&mut world);
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn the_last_word_of_a_master_that_is_preempted_is_no_news_to_its_successor() {
    let mut world = pair(instance("a", 51, 100), instance("a", 51, 150));
    world.crash(1);
    world.run(10 * SECOND);
    world.start(1);
    world.until("the better one", |w| is(w, 1, State::Master) && is(w, 0, State::Backup));
    let announced = world.nodes[1].announced.len();
    world.run(20 * SECOND);
    assert_eq!(world.reported(1, "vrrp_lower_priority"), [""; 0]);
    assert!(world.nodes[1].announced.len() - announced <= 15, "the bursts of a takeover, and one more");
    // A sender that goes on advertising is another case.
    stranger(&mut world, [10, 0, 0, 9], |_| ());
    world.run(SECOND);
    assert_eq!(world.reported(1, "vrrp_lower_priority").len(), 1);
}

#[test]
fn of_equal_priorities_the_higher_address_wins_in_both_families() {
    for of in [instance, instance6] {
        // Both claim at the same moment.
        let mut world = pair(of("a", 51, 100), of("a", 51, 100));
        world.run(10 * SECOND);
        assert_eq!(world.master("a"), Some(1));
        assert!(
            world
                .reported(0, "vrrp_transition")
                .last()
                .unwrap()
                .contains("the same priority and a higher address")
        );
    }
    // Numerically: 10.0.0.9 is lower than 10.0.0.201.
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(5 * SECOND);
    stranger(&mut world, [10, 0, 0, 9], |advert| advert.priority = 100);
    world.run(SECOND);
    assert!(is(&world, 0, State::Master));
    stranger(&mut world, [10, 0, 1, 9], |advert| advert.priority = 100);
    world.run(MILLISECOND);
    assert!(is(&world, 0, State::Backup));
}

#[test]
fn without_preempting_it_waits_for_silence_or_priority_zero() {
    let shy = InstanceSettings { preempts: false, ..instance("a", 51, 200) };
    for is_stopped in [true, false] {
        let mut world = pair(instance("a", 51, 100), shy.clone());
        world.crash(1);
        world.run(10 * SECOND);
        world.start(1);
        world.run(60 * SECOND);
        assert_eq!(world.master("a"), Some(0), "it stays Backup");
        world.nodes[0].has_guardian = false;
        let took = if is_stopped {
            world.handle(0, Input::Stop);
            world.until("Master", |w| is(w, 1, State::Master))
        } else {
            world.crash(0);
            world.until("Master", |w| is(w, 1, State::Master))
        };
        let skew = SECOND * (256 - 200) / 256;
        let limit = if is_stopped { skew } else { 3 * SECOND + skew } + MILLISECOND;
        assert!(took <= limit, "{took:?} of {limit:?}");
    }
}

#[test]
fn a_preempt_delay_holds_a_better_backup_back_but_never_a_needed_one() {
    let patient = InstanceSettings { preempt_delay: 10 * SECOND, ..instance("a", 51, 150) };
    let mut world = pair(instance("a", 51, 100), patient);
    world.nodes[0].has_guardian = false;
    world.crash(1);
    world.run(10 * SECOND);
    world.start(1);
    let took = world.until("the better one", |w| is(w, 1, State::Master));
    assert!(took >= 13 * SECOND && took < 15 * SECOND, "ten seconds, then master-down: {took:?}");

    world.crash(1);
    world.run(10 * SECOND);
    world.start(1);
    world.run(5 * SECOND);
    world.crash(0);
    let took = world.until("the only one", |w| is(w, 1, State::Master));
    assert!(took < 4 * SECOND, "{took:?}");
}

#[test]
fn a_storm_of_lower_priorities_is_answered_a_few_times_with_one_burst_and_one_event() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 150)])]);
    world.run(20 * SECOND);
    let (sent, announced) = (world.sent(0, 51).len(), world.nodes[0].announced.len());
    stranger(&mut world, [10, 0, 0, 9], |_| ());
    world.run(MILLISECOND);
    assert_eq!(world.sent(0, 51).len(), sent + 1, "at once");
    for _ in 0..1000 {
        stranger(&mut world, [10, 0, 0, 9], |_| ());
        world.run(MILLISECOND);
    }
    assert!(is(&world, 0, State::Master));
    assert!(world.sent(0, 51).len() - sent <= 10, "{}", world.sent(0, 51).len() - sent);
    assert_eq!(world.nodes[0].announced.len() - announced, 5, "one burst");
    assert_eq!(world.reported(0, "vrrp_lower_priority").len(), 1);
}

#[test]
fn a_master_answers_priority_zero_at_once_and_stays() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    world.run(10 * SECOND + 500 * MILLISECOND);
    let sent = world.sent(0, 51).len();
    stranger(&mut world, [10, 0, 0, 9], |advert| advert.priority = 0);
    world.run(MILLISECOND);
    assert_eq!(world.sent(0, 51).len(), sent + 1);
    assert!(is(&world, 0, State::Master));
}

#[test]
fn version_3_learns_the_masters_interval_and_has_its_own_as_master() {
    let fast = InstanceSettings { advert_interval: 300 * MILLISECOND, ..instance("a", 51, 150) };
    let mut world = pair(fast, instance("a", 51, 100));
    world.delay = Duration::from_micros(31);
    world.run(10 * SECOND);
    assert_eq!(world.status(1, "a").master_down_microseconds, 900_000 + 182_812);
    world.nodes[0].has_guardian = false;
    let last = world.sent(0, 51).last().unwrap().0;
    world.crash(0);
    world.until("Master", |w| is(w, 1, State::Master));
    assert_about(world.now.since(last), Duration::from_nanos(900_000_000 + 182_812_500 + 30_000));
    world.run(5 * SECOND);
    let sent = world.sent(1, 51);
    assert!(sent.windows(2).all(|w| w[1].0.since(w[0].0) == SECOND), "{sent:?}");
}

#[test]
fn an_odd_interval_in_a_single_packet_is_reported_and_not_adopted() {
    for interval in [100 * MILLISECOND, Duration::from_millis(40_950)] {
        let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
        stranger(&mut world, [10, 0, 0, 9], |advert| {
            (advert.priority, advert.interval) = (200, interval);
        });
        world.run(MILLISECOND);
        assert_eq!(world.status(0, "a").interval_milliseconds, 1000);
        let reported = world.reported(0, "vrrp_conflict");
        assert!(
            reported.len() == 1 && reported[0].contains("too far apart to be believed at once"),
            "{reported:?}"
        );
    }
}

#[test]
fn an_interval_of_zero_neither_shortens_a_timer_nor_makes_a_master() {
    let mut world = World::with(vec![settings(vec![instance("a", 51, 100)])]);
    let before = world.status(0, "a").timer_microseconds;
    let mut datagram = advertisement(&world, [10, 0, 0, 9], |advert| advert.priority = 200);
    datagram.bytes[20 + 4..20 + 6].copy_from_slice(&[0, 0]);
    // Its checksum as it must be then: 100 less, so 100 more in the complement.
    let sum = u16::from_be_bytes([datagram.bytes[26], datagram.bytes[27]]);
    let (sum, carry) = sum.overflowing_add(100);
    datagram.bytes[26..28].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
    world.handle(0, Input::Received(datagram));
    let status = world.status(0, "a");
    assert_eq!((status.state, status.timer_microseconds), (State::Backup, before));
    assert_eq!(status.counters.dropped.get("interval"), Some(&1));
}

#[test]
fn version_2_drops_another_interval_and_says_so_loudly() {
    let v2 = InstanceSettings { version: Version::V2, ..instance("a", 51, 100) };
    let mut world = World::with(vec![settings(vec![v2])]);
    for _ in 0..10 {
        stranger(&mut world, [10, 0, 0, 9], |advert| {
            (advert.priority, advert.interval) = (200, 2 * SECOND);
        });
        world.run(SECOND / 2);
    }
    assert!(is(&world, 0, State::Master), "as RFC 3768 wants it");
    let reported = world.reported(0, "vrrp_conflict");
    assert_eq!(
        reported,
        [
            "instance a: 10.0.0.9 says it is master of VRID 51, but its packets are not accepted: it advertises every 2 s, \
          we every 1 s, and version 2 wants them equal: give both the same advert_int"
        ]
    );
}

#[test]
fn a_paused_backup_reads_what_has_arrived_before_it_claims() {
    let mut world = pair(instance("a", 51, 100), instance("a", 51, 150));
    world.run(10 * SECOND);
    for pause in [2500, 3300, 3550, 5000, 20_000] {
        world.pause(0);
        world.run(Duration::from_millis(pause));
        world.resume(0);
        world.run(SECOND);
        assert_eq!(world.sent(0, 51).len(), 0, "after {pause} ms");
    }
    assert_eq!(world.broken, [""; 0]);
    assert!(!world.reported(0, "vrrp_late").is_empty(), "and it says that it was late");
}

#[test]
fn a_paused_master_that_was_replaced_by_a_better_one_claims_nothing() {
    let mut world = pair(instance("a", 51, 150), instance("a", 51, 100));
    world.run(10 * SECOND);
    world.pause(0);
    world.run(5 * SECOND);
    let sent = world.sent(0, 51).len();
    // Meanwhile the other one became the better one.
    let better = settings(vec![instance("a", 51, 200)]);
    world.reload(1, better);
    world.run(2 * SECOND);
    world.resume(0);
    world.run(10 * MILLISECOND);
    assert_eq!(world.sent(0, 51).len(), sent, "before everything was read");
    assert_eq!(world.master("a"), Some(1));
    // Neighbours may have asked it meanwhile: the better one is reported, once, so that it announces its addresses.
    world.run(10 * SECOND);
    assert_eq!(world.sent(0, 51).len(), sent + 1);
    assert_eq!(world.master("a"), Some(1));
}

#[test]
fn a_paused_master_that_does_not_preempt_has_lost_its_place() {
    let shy = |priority| InstanceSettings { preempts: false, ..instance("a", 51, priority) };
    let mut world = pair(shy(150), shy(100));
    world.run(3 * SECOND + 500 * MILLISECOND);
    world.until("the better one first", |w| w.master("a") == Some(0));
    world.run(SECOND);
    world.pause(0);
    world.run(10 * SECOND);
    let sent = world.sent(0, 51).len();
    world.resume(0);
    world.run(30 * SECOND);
    assert_eq!((world.master("a"), world.sent(0, 51).len()), (Some(1), sent));
}

#[test]
fn two_owners_converge_to_one_master_and_it_is_reported_once() {
    let mut world = pair(instance("a", 51, 255), instance("a", 51, 255));
    world.run(30 * SECOND);
    assert_eq!(world.master("a"), Some(1), "the higher address");
    let reported: Vec<_> = (0..2).flat_map(|n| world.reported(n, "vrrp_conflict")).collect();
    assert!(!reported.is_empty() && reported.len() <= 2, "{reported:?}");
    assert!(reported[0].contains("both have priority 255"), "{reported:?}");
}

#[test]
fn a_takeover_waits_for_no_service_and_only_init_does() {
    let mut world = pair(instance("a", 51, 150), instance("a", 51, 100));
    world.run(10 * SECOND);
    let not_ready = [IpAddr::from([10, 0, 0, 51])].into();
    world.direct(1, DirectorLevel { not_ready, cannot_forward: None });
    world.nodes[0].has_guardian = false;
    world.crash(0);
    let took = world.until("Master", |w| is(w, 1, State::Master));
    assert!(took < 4 * SECOND, "{took:?}");
}

#[test]
fn init_waits_for_the_services_of_its_addresses_and_goes_on_after_ten_seconds() {
    let mut world = World::new(1, 1);
    world.nodes[0].settings = settings(vec![instance("a", 51, 100)]).into();
    world.nodes[0].director.not_ready = [IpAddr::from([10, 0, 0, 51])].into();
    world.start(0);
    world.run(9 * SECOND);
    assert!(is(&world, 0, State::Init));
    assert_eq!(world.status(0, "a").waits_for.as_deref(), Some("the services of its addresses"));
    world.direct(0, DirectorLevel::default());
    assert!(is(&world, 0, State::Backup), "as soon as they are there");

    world.crash(0);
    world.nodes[0].director.not_ready = [IpAddr::from([10, 0, 0, 51])].into();
    world.start(0);
    assert_about(world.until("on", |w| is(w, 0, State::Backup)), 10 * SECOND);
    let reported = world.reported(0, "vrrp_not_ready");
    assert!(reported.len() == 1 && reported[0].contains("the services of 10.0.0.51"), "{reported:?}");
}

#[test]
fn a_start_may_be_delayed() {
    let mut world = World::new(1, 1);
    let mut delayed = settings(vec![instance("a", 51, 255)]);
    delayed.startup_delay = 30 * SECOND;
    world.nodes[0].settings = delayed.into();
    world.start(0);
    assert_about(world.until("Master", |w| is(w, 0, State::Master)), 30 * SECOND);
}

#[test]
fn a_step_of_the_wall_clock_moves_no_timer() {
    let hmac = Hmac {
        keys: [(1, vec![7; 32])].into(),
        active: 1,
        window: 5 * SECOND,
        is_monotonic: false,
        mode: HmacMode::Enforce,
    };
    // Signatures carry the time of day: of both hosts at once it may be set as well.
    for authentication in [Authentication::None, Authentication::Hmac(Arc::new(hmac))] {
        let of = |priority| InstanceSettings {
            authentication: authentication.clone(),
            ..instance("a", 51, priority)
        };
        let mut world = pair(of(150), of(100));
        world.run(10 * SECOND);
        let (before, changes) = (world.sent(0, 51).len(), world.reported(1, "vrrp_transition").len());
        for seconds in [1_700_003_600, 1_699_996_400, 0] {
            for node in 0..2 {
                world.handle(node, Input::Clock(Duration::from_secs(seconds)));
            }
            world.run(10 * SECOND);
        }
        assert_eq!(world.sent(0, 51).len() - before, 30, "{authentication:?}");
        assert_eq!(world.reported(1, "vrrp_transition").len(), changes, "{authentication:?}");
    }
}
