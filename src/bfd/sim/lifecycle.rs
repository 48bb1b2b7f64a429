//! Reloads, hand-overs and ends.

use super::*;

#[test]
fn a_reload_that_changes_nothing_of_a_session_sends_nothing_and_keeps_its_discriminator() {
    let mut world = World::up(1);
    let (before, sent) = (world.status(0), world.hosts[0].sent.len());
    world.configure(0);
    assert_eq!(world.hosts[0].sent.len(), sent);
    assert_eq!(world.status(0), before);
    world.change(0, |s| s.weight = 10);
    assert_eq!(world.status(0).discriminator, before.discriminator);
    world.run(ms(2000));
    assert_eq!(world.downs(0) + world.downs(1), 0);
}

#[test]
fn a_session_that_a_reload_removes_says_that_it_is_administratively_down() {
    let mut world = World::up(2);
    world.hosts[0].settings.clear();
    world.configure(0);
    world.run(ms(5));
    assert_eq!(world.status(1).remote_state, State::AdminDown);
    assert_eq!(world.status(1).state, State::Down);
    assert!(world.hosts[0].sessions.status(world.now).is_empty());
    assert_eq!(world.hosts[0].sessions.deadline(), None);
}

#[test]
fn another_neighbour_is_another_session() {
    let mut world = World::up(3);
    let before = world.status(0).discriminator;
    world.change(0, |s| s.neighbor = [10, 0, 0, 9].into());
    assert_ne!(world.status(0).discriminator, before);
    assert!(world.hosts[0].sessions.levels().is_empty(), "nothing is known of the new one");
    world.run(ms(5));
    let is_told =
        |event: &Event| matches!(event, Event::Changed { remote_diagnostic: Diagnostic::ADMIN_DOWN, .. });
    assert!(world.hosts[1].events.iter().any(|(_, event)| is_told(event)), "the one before was ended");
}

#[test]
fn a_hand_over_flaps_no_session_though_the_pause_is_longer_than_the_detection_time() {
    for seed in 0..50 {
        let mut world = World::up(seed);
        world.act(0, Input::PrepareHandover);
        assert!(world.hosts[0].sessions.awaits_handover());
        world.run(ms(10));
        assert!(!world.hosts[0].sessions.awaits_handover(), "the neighbour has answered");
        let handed = world.hosts[0].sessions.hand_over();
        // As it is written and read.
        let handed: Vec<SessionHandover> =
            serde_json::from_str(&serde_json::to_string(&handed).unwrap()).unwrap();
        world.restart(0, &handed, ms(1500));
        assert!(world.last_level(0).1.is_up, "up from the beginning");
        world.run(ms(3000));
        assert_eq!(world.states(), [State::Up; 2]);
        assert_eq!((world.downs(0), world.downs(1)), (0, 0), "seed {seed}");
        assert_eq!(world.status(1).detection_microseconds, Some(150_000), "and as quick as before");
    }
}

#[test]
fn a_hand_over_that_nobody_follows_is_noticed_after_five_seconds() {
    let mut world = World::up(4);
    world.act(0, Input::PrepareHandover);
    world.run(ms(10));
    world.hosts[0].is_running = false;
    world.run(ms(4800));
    assert_eq!(world.status(1).state, State::Up);
    world.run(ms(500));
    assert_eq!(world.status(1).state, State::Down);
}

#[test]
fn what_was_handed_over_and_is_not_true_any_more_is_noticed_within_a_detection_time() {
    let mut world = World::up(5);
    world.act(0, Input::PrepareHandover);
    world.run(ms(10));
    let handed = world.hosts[0].sessions.hand_over();
    world.link.is_cut = true;
    world.restart(0, &handed, ms(300));
    world.run(ms(160));
    assert_eq!(world.status(0).state, State::Down);
    assert_eq!(world.last_level(0).1.silence, Some(ms(150)));
}

#[test]
fn a_session_that_was_stopped_does_nothing_any_more() {
    let mut world = World::up(6);
    world.act(0, Input::Stop);
    let sent = world.hosts[0].sent.len();
    world.run(ms(3000));
    assert_eq!(world.hosts[0].sent.len(), sent);
    assert_eq!(world.hosts[0].sessions.deadline(), None);
}
