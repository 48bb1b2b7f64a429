//! Hostile and broken packets: each is dropped and counted, and no session changes its state.

use super::*;

/// What is counted as dropped of a session that is up, after these packets; it must not have moved.
fn dropped(kind: &str, send: impl Fn(&mut World)) {
    let mut world = World::up(21);
    let before = world.status(0);
    let sent = world.hosts[0].sent.len();
    send(&mut world);
    let after = world.status(0);
    assert_eq!(after.dropped.get(kind), Some(&1), "{kind}: {:?}", after.dropped);
    let of_interest = |s: &SessionStatus| (s.state, s.remote_state, s.detection_microseconds, s.received);
    assert_eq!(of_interest(&after), of_interest(&before), "{kind}");
    assert_eq!(world.hosts[0].sent.len(), sent, "{kind}: nothing is answered");
    let events = world.hosts[0].events.iter().filter(|(_, event)| matches!(event, Event::Dropped { .. }));
    assert_eq!(events.count(), 1, "{kind}");
}

#[test]
fn each_kind_is_dropped_counted_and_reported_and_moves_nothing() {
    let down = |world: &World| Packet { state: State::Down, is_poll: true, ..world.neighbors_packet(0) };
    let raw = |world: &mut World, change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes(down(world)).to_vec();
        change(&mut bytes);
        world.deliver(0, 255, &bytes);
    };
    dropped("hop_limit", |world| {
        let packet = bytes(down(world));
        world.deliver(0, 254, &packet);
    });
    dropped("unknown_session", |world| {
        let packet = Packet { yours: world.status(0).discriminator ^ 1, ..down(world) };
        world.deliver(0, 255, &bytes(packet));
    });
    dropped("multiplier", |world| raw(world, &|bytes| bytes[2] = 0));
    dropped("length", |world| raw(world, &|bytes| bytes[3] = 200));
    dropped("length", |world| raw(world, &|bytes| bytes.truncate(23)));
    dropped("version", |world| raw(world, &|bytes| bytes[0] = 0x60));
    dropped("multipoint", |world| raw(world, &|bytes| bytes[1] |= 0x01));
    dropped("no_discriminator", |world| raw(world, &|bytes| bytes[4..8].fill(0)));
    dropped("authentication", |world| {
        raw(world, &|bytes| {
            bytes[1] |= 0x04;
            bytes[3] = 28;
            bytes.extend([1, 4, 0, 0]);
        });
    });
    dropped("no_session", |world| {
        let packet = Packet { state: State::Up, yours: 0, ..down(world) };
        world.deliver(0, 255, &bytes(packet));
    });
}

#[test]
fn a_stranger_who_knows_the_discriminator_cannot_speak_for_the_neighbour() {
    let mut world = World::up(22);
    let packet = bytes(Packet { state: State::Down, ..world.neighbors_packet(0) });
    let destination = world.hosts[0].address;
    let datagram = Datagram {
        source: [10, 0, 0, 66].into(),
        destination,
        hop_limit: 255,
        is_multihop: false,
        bytes: &packet,
    };
    world.act(0, Input::Received(datagram));
    world.act(0, Input::Received(Datagram { source: address(1), is_multihop: true, ..datagram }));
    let elsewhere = [10, 0, 0, 7].into();
    world.act(0, Input::Received(Datagram { source: address(1), destination: elsewhere, ..datagram }));
    assert_eq!(world.status(0).state, State::Up);
    assert_eq!(world.hosts[0].sessions.unknown().get("unknown_session"), Some(&3));
}

#[test]
fn a_flood_is_reported_once_a_minute() {
    let mut world = World::up(23);
    world.hosts[0].events.clear();
    let packet = bytes(Packet { state: State::Down, ..world.neighbors_packet(0) });
    for _ in 0..500 {
        world.deliver(0, 1, &packet);
    }
    world.run(ms(61_000));
    world.deliver(0, 1, &packet);
    let reported: Vec<u64> = world.hosts[0]
        .events
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Dropped { suppressed, .. } => Some(*suppressed),
            Event::Changed { .. } => None,
        })
        .collect();
    assert_eq!(reported, [0, 499]);
}

#[test]
fn answers_are_no_more_than_questions() {
    let mut world = World::up(24);
    world.hosts[1].is_running = false;
    let before = world.hosts[0].sent.len();
    let poll = bytes(Packet { is_poll: true, ..world.neighbors_packet(0) });
    for _ in 0..100 {
        world.deliver(0, 255, &poll);
    }
    assert_eq!(world.hosts[0].sent.len() - before, 100);
}
