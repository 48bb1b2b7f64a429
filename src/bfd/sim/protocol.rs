//! What the standard says of states, polls and discriminators.

use super::*;

#[test]
fn two_sessions_come_up_and_each_knows_the_others_discriminator() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        world.run(ms(3500));
        assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
        let [a, b] = [world.status(0), world.status(1)];
        assert_eq!((a.remote_discriminator, b.remote_discriminator), (b.discriminator, a.discriminator));
        assert_eq!((a.remote_state, a.diagnostic.as_str()), (State::Up, "no diagnostic"));
    }
}

#[test]
fn a_session_that_does_not_come_up_is_said_to_be_down_after_three_seconds_and_sends_once_a_second() {
    let mut world = World::new(7);
    world.link.is_cut = true;
    world.run(ms(20_000));
    let [(at, level)] = &world.hosts[0].levels[..] else { panic!("{:?}", world.hosts[0].levels) };
    let expected = (Instant::of_uptime(7) + ms(3000), false, "it has not come up yet");
    assert_eq!((*at, level.is_up, level.reason.as_str()), expected);
    let sent = world.hosts[0].sent.len();
    assert!((20..=28).contains(&sent), "{sent} packets in 20 s");
    let all = world.hosts[0].sent.iter().map(|(_, packet)| packet);
    all.for_each(|packet| assert_eq!((packet.desired_tx, packet.required_rx), (ms(1000), ms(50))));
}

#[test]
fn a_session_that_comes_up_in_time_was_never_said_to_be_down() {
    let world = World::up(8);
    let levels: Vec<bool> = world.hosts[0].levels.iter().map(|(_, level)| level.is_up).collect();
    assert_eq!(levels, [true]);
}

#[test]
fn once_up_it_polls_until_the_neighbour_answers_and_then_sends_at_the_fast_rate() {
    let world = World::up(3);
    let up: Vec<&Packet> =
        world.hosts[0].sent.iter().map(|(_, p)| p).filter(|p| p.state == State::Up).collect();
    let polls = up.iter().filter(|p| p.is_poll).count();
    let finals = up.iter().filter(|p| p.is_final).count();
    assert!((1..=3).contains(&polls) && (1..=3).contains(&finals), "{polls} polls, {finals} finals");
    assert!(up.iter().all(|p| !(p.is_poll && p.is_final)), "section 6.5: never both");
    assert!(up.iter().all(|p| p.desired_tx == ms(50)));
    assert!(!up.last().unwrap().is_poll);
}

#[test]
fn a_passive_session_is_silent_until_it_hears_its_neighbour() {
    let passive = SessionSettings { is_passive: true, ..settings(1) };
    let mut world = World::with(5, [settings(0), passive.clone()]);
    world.hosts[0].is_running = false;
    world.run(ms(10_000));
    assert!(world.hosts[1].sent.is_empty());
    world.hosts[0].is_running = true;
    world.run(ms(4000));
    assert_eq!(world.states(), [State::Up; 2]);
    let mut both = World::with(6, [SessionSettings { is_passive: true, ..settings(0) }, passive]);
    both.run(ms(60_000));
    assert!(both.hosts.iter().all(|host| host.sent.is_empty()), "two that are passive never meet");
}

#[test]
fn a_neighbour_that_says_down_takes_the_session_down_at_once_and_it_is_no_expiry() {
    let mut world = World::up(11);
    let packet = Packet { state: State::Down, yours: 0, ..world.neighbors_packet(0) };
    world.deliver(0, 255, &bytes(packet));
    let status = world.status(0);
    assert_eq!((status.state, status.diagnostic.as_str()), (State::Down, "neighbor signaled session down"));
    assert_eq!(world.last_level(0).1.silence, None);
    let (_, sent) = world.hosts[0].sent.last().unwrap();
    assert_eq!((sent.state, sent.diagnostic), (State::Down, Diagnostic::NEIGHBOR_DOWN));
    world.run(ms(5000));
    assert_eq!(world.states(), [State::Up; 2], "they come up again");
}

#[test]
fn a_neighbour_that_is_administratively_down_holds_the_session_down() {
    let mut world = World::up(12);
    world.act(1, Input::Stop);
    world.run(ms(5));
    let status = world.status(0);
    assert_eq!((status.state, status.remote_state), (State::Down, State::AdminDown));
    assert_eq!(status.remote_diagnostic, "administratively down");
    let said = world.hosts[1].sent.last().unwrap().1;
    assert_eq!((said.state, said.diagnostic), (State::AdminDown, Diagnostic::ADMIN_DOWN));
    assert_eq!(world.last_level(0).1.silence, None, "it was told, and did not have to wait");
}

#[test]
fn a_neighbour_in_demand_mode_gets_no_packets_but_polls_and_answers() {
    let mut world = World::up(13);
    world.hosts[1].is_running = false;
    let quiet = Packet { is_demand: true, multiplier: 255, ..world.neighbors_packet(0) };
    world.deliver(0, 255, &bytes(quiet));
    let before = world.hosts[0].sent.len();
    world.run(ms(2000));
    assert_eq!(world.hosts[0].sent.len(), before);
    world.deliver(0, 255, &bytes(Packet { is_poll: true, ..quiet }));
    assert_eq!(world.hosts[0].sent.len(), before + 1);
    assert!(world.hosts[0].sent.last().unwrap().1.is_final);
}

#[test]
fn a_neighbour_that_wants_no_packets_gets_none() {
    let mut world = World::up(14);
    world.hosts[1].is_running = false;
    let unwilling = Packet { required_rx: Duration::ZERO, multiplier: 255, ..world.neighbors_packet(0) };
    world.deliver(0, 255, &bytes(unwilling));
    let before = world.hosts[0].sent.len();
    world.run(ms(2000));
    assert_eq!(world.hosts[0].sent.len(), before);
    assert_eq!(world.status(0).transmit_microseconds, None);
}

#[test]
fn a_neighbour_that_begins_anew_is_met_anew() {
    let mut world = World::up(15);
    world.restart(1, &[], ms(20));
    world.run(ms(4000));
    assert_eq!(world.states(), [State::Up; 2]);
    assert_eq!(world.downs(0), 1);
    assert_eq!(world.status(0).remote_discriminator, world.status(1).discriminator);
}
