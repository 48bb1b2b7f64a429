//! Intervals, jitter and detection times.

use super::*;

/// Between the packets of a host that are no answers, from a time on.
fn gaps(world: &World, host: usize, from: Instant) -> Vec<Duration> {
    let times: Vec<Instant> = world.hosts[host]
        .sent
        .iter()
        .filter(|(at, packet)| *at >= from && !packet.is_final)
        .map(|(at, _)| *at)
        .collect();
    times.windows(2).map(|pair| pair[1].since(pair[0])).collect()
}

#[test]
fn packets_come_within_75_to_100_percent_of_the_interval_and_never_alike() {
    let mut world = World::up(1);
    let from = world.now;
    world.run(ms(20_000));
    let gaps = gaps(&world, 0, from);
    assert!(gaps.iter().all(|gap| (ms(37)..=ms(50)).contains(gap)), "{gaps:?}");
    let distinct: std::collections::BTreeSet<_> = gaps.iter().collect();
    assert!(distinct.len() > 50, "jitter has {} values", distinct.len());
    assert_eq!(world.downs(0) + world.downs(1), 0);
}

#[test]
fn with_a_multiplier_of_1_a_packet_is_sent_before_90_percent_have_passed() {
    let single = |host| SessionSettings { multiplier: 1, ..settings(host) };
    let mut world = World::with(2, [single(0), single(1)]);
    world.run(ms(4000));
    let from = world.now;
    world.run(ms(20_000));
    assert!(gaps(&world, 0, from).iter().all(|gap| (ms(37)..=ms(45)).contains(gap)));
    assert_eq!(world.downs(0), 0, "1 ms of delay is within the rest");
}

#[test]
fn the_slower_of_both_ends_says_how_often_and_the_detection_time_follows() {
    // min_tx, min_rx of each, the interval of each, the detection time of each.
    let table = [
        ((50, 50), (50, 50), (50, 50), (150, 150)),
        ((20, 100), (50, 30), (30, 100), (300, 90)),
        ((300, 50), (50, 50), (300, 50), (150, 900)),
        ((50, 400), (50, 50), (50, 400), (1200, 150)),
    ];
    for (a, b, intervals, detections) in table {
        let of = |host, (tx, rx)| SessionSettings { min_tx: ms(tx), min_rx: ms(rx), ..settings(host) };
        let mut world = World::with(3, [of(0, a), of(1, b)]);
        world.run(ms(8000));
        let [first, second] = [world.status(0), world.status(1)];
        let times = |us: Option<u64>| us.unwrap() / 1000;
        let found = (times(first.transmit_microseconds), times(second.transmit_microseconds));
        assert_eq!(found, intervals, "{a:?} {b:?}");
        let found = (times(first.detection_microseconds), times(second.detection_microseconds));
        assert_eq!(found, detections, "{a:?} {b:?}");
    }
}

#[test]
fn a_cut_link_is_noticed_by_both_within_the_detection_time() {
    for seed in 0..100 {
        let mut world = World::up(seed);
        world.run(ms(seed * 7));
        world.link.is_cut = true;
        let cut = world.now;
        world.run(ms(152));
        assert_eq!(world.states(), [State::Down; 2], "seed {seed}");
        for host in 0..2 {
            let (at, level) = world.last_level(host);
            let took = at.since(cut);
            assert!((ms(99)..=ms(151)).contains(&took), "seed {seed}: {took:?}");
            assert_eq!((level.is_up, level.silence), (false, Some(ms(150))));
            let status = world.status(host);
            assert_eq!(status.diagnostic, "control detection time expired");
            assert_eq!(status.remote_discriminator, 0, "section 6.8.1: forgotten");
        }
        world.link.is_cut = false;
        world.run(ms(4000));
        assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
    }
}

#[test]
fn a_slower_rate_waits_for_the_neighbours_answer_and_costs_no_session() {
    for seed in 0..40 {
        let mut world = World::up(seed);
        world.link.is_cut = true;
        world.change(0, |s| s.min_tx = ms(400));
        let sent = world.hosts[0].sent.len();
        world.run(ms(45));
        assert_eq!(world.status(0).transmit_microseconds, Some(50_000), "seed {seed}: not before the answer");
        let polls = &world.hosts[0].sent[sent - 1..];
        assert!(polls.iter().all(|(_, p)| p.is_poll && p.desired_tx == ms(400)), "seed {seed}: {polls:?}");
        world.link.is_cut = false;
        world.run(ms(1500));
        assert_eq!(world.downs(0) + world.downs(1), 0, "seed {seed}");
        assert_eq!(world.status(0).transmit_microseconds, Some(400_000));
        assert_eq!(world.status(1).detection_microseconds, Some(1_200_000));
    }
}

#[test]
fn a_faster_rate_and_a_shorter_detection_time_cost_no_session_either() {
    for seed in 0..40 {
        let slow = |host| SessionSettings { min_tx: ms(500), min_rx: ms(500), ..settings(host) };
        let mut world = World::with(seed, [slow(0), slow(1)]);
        world.run(ms(6000));
        for host in [0, 1] {
            world.change(host, |s| (s.min_tx, s.min_rx) = (ms(20), ms(20)));
            world.run(ms(3000));
        }
        assert_eq!(world.downs(0) + world.downs(1), 0, "seed {seed}");
        assert_eq!(world.status(0).detection_microseconds, Some(60_000));
        assert_eq!(world.status(1).transmit_microseconds, Some(20_000));
    }
}

#[test]
fn an_old_packet_of_a_process_that_slept_is_read_before_its_own_timer_counts() {
    // The shell hands over what has arrived before it says that it is time; then no neighbor is taken for dead.
    let mut world = World::up(9);
    world.hosts[0].is_running = false;
    world.run(ms(200));
    world.hosts[0].is_running = true;
    let packet = bytes(Packet { state: State::Up, ..world.neighbors_packet(0) });
    world.deliver(0, 255, &packet);
    world.act(0, Input::Wake);
    assert_eq!(world.downs(0), 0);
}
