//! Many seeds over bad links: what must hold in every case.

use super::*;

/// Both ends agree soon after a link is good again, however bad it was before; neither sends faster than it may.
#[test]
fn both_ends_are_up_five_seconds_after_a_bad_link_is_good_again() {
    for seed in 0..150 {
        let mut world = World::new(seed);
        for _ in 0..20 {
            world.link = Link {
                loss: world.rng.u32(0..=60),
                doubled: world.rng.u32(0..=40),
                delay: (ms(world.rng.u64(0..5)), ms(world.rng.u64(5..120))),
                is_cut: world.rng.u32(0..5) == 0,
            };
            match world.rng.u32(0..8) {
                0 => {
                    let (host, pause) = (world.rng.usize(0..2), world.rng.u64(0..400));
                    let handed = world.hosts[host].sessions.hand_over();
                    world.restart(host, &handed, ms(pause));
                }
                1 => {
                    let (host, pause) = (world.rng.usize(0..2), world.rng.u64(0..400));
                    world.restart(host, &[], ms(pause));
                }
                2 => {
                    let (host, tx, rx) =
                        (world.rng.usize(0..2), world.rng.u64(10..300), world.rng.u64(10..300));
                    world.change(host, |s| (s.min_tx, s.min_rx) = (ms(tx), ms(rx)));
                }
                _ => {}
            }
            let time = world.rng.u64(10..900);
            world.run(ms(time));
        }
        world.link = Link { delay: (ms(1), ms(2)), ..Link::default() };
        world.run(ms(5500));
        assert_eq!(world.states(), [State::Up; 2], "seed {seed}");
        let downs = [world.downs(0), world.downs(1)];
        world.run(ms(10_000));
        assert_eq!([world.downs(0), world.downs(1)], downs, "seed {seed}: a good link loses no session");
        for host in 0..2 {
            let up_downs: Vec<bool> = world.hosts[host].levels.iter().map(|(_, level)| level.is_up).collect();
            assert_eq!(up_downs.last(), Some(&true), "seed {seed}: the level is the state");
        }
    }
}

/// Every bit of a packet of an established session, turned: nothing panics, and no deadline lies in the past for ever.
#[test]
fn every_bit_may_be_turned() {
    for bit in 0..LENGTH * 8 {
        let mut world = World::up(31);
        let mut bytes = bytes(world.neighbors_packet(0));
        bytes[bit / 8] ^= 1 << (bit % 8);
        world.deliver(0, 255, &bytes);
        world.run(ms(9000));
        assert_eq!(world.states(), [State::Up; 2], "bit {bit}");
    }
}
