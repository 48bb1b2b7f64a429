//! Peers and priorities that change by a reload, as in a small file that is included: no Master moves by it.

use std::sync::Arc;
use std::time::Duration;

use super::site::{instance, settings, unicast};
use super::world::World;
use crate::vrrp::event::Event;
use crate::vrrp::io::State;
use crate::vrrp::settings::{InstanceSettings, Settings, Transport};

const SECOND: Duration = Duration::from_secs(1);

fn with(node: u8, priority: u8, others: &[u8], checks: bool) -> Settings {
    let mut transport = unicast(others);
    if let Transport::Unicast { checks_source, guards_ttl, .. } = &mut transport {
        (*checks_source, *guards_ttl) = (checks, checks);
    }
    let source = checks.then(|| [10, 0, 0, 200 + node].into());
    settings(vec![InstanceSettings { transport, source, ..instance("a", 51, priority) }])
}

/// Changes of state after this many events.
fn moves(world: &World, node: usize, seen: usize) -> Vec<String> {
    let events = world.nodes[node].events.iter().skip(seen).map(|(_, event)| event);
    events.filter(|event| matches!(event, Event::Transition { .. })).map(Event::to_string).collect()
}

#[test]
fn peers_and_priorities_change_by_a_reload_and_the_master_stays() {
    for checks in [false, true] {
        let mut world = World::new(7, 3);
        for (node, priority, other) in [(0, 150, 2), (1, 100, 1)] {
            world.nodes[node].settings = Arc::new(with(node as u8 + 1, priority, &[other], checks));
            world.start(node);
        }
        world.run(10 * SECOND);
        assert_eq!(world.master("a"), Some(0));
        let seen = [0, 1].map(|node| world.nodes[node].events.len());
        // A third node is added: to its own file and to those of the others, one after the other.
        world.nodes[2].settings = Arc::new(with(3, 50, &[1, 2], checks));
        for (node, priority, others) in [(0, 160, [2, 3]), (1, 120, [1, 3])] {
            world.reload(node, with(node as u8 + 1, priority, &others, checks));
            world.run(7 * SECOND);
        }
        world.start(2);
        world.run(20 * SECOND);
        // And the second one is taken out, after it was stopped.
        world.reload(2, with(3, 90, &[1, 2], checks));
        world.run(7 * SECOND);
        world.handle(1, crate::vrrp::io::Input::Stop);
        world.run(7 * SECOND);
        world.forget(1);
        world.reload(0, with(1, 140, &[3], checks));
        world.reload(2, with(3, 130, &[1], checks));
        world.run(20 * SECOND);
        assert_eq!(world.status(0, "a").priority, 140);
        assert_eq!(moves(&world, 0, seen[0]), [""; 0]);
        let stopped = moves(&world, 1, seen[1]);
        assert!(matches!(&stopped[..], [only] if only.contains("Backup -> Init")), "{stopped:?}");
        assert_eq!(world.state(2, "a"), Some(State::Backup));
        assert!(world.sent(0, 51).iter().all(|(_, priority)| *priority > 0));
        // What was reloaded holds: the other one takes over when it dies.
        world.crash(0);
        world.run(10 * SECOND);
        assert_eq!(world.master("a"), Some(2));
        assert_eq!(world.broken, [""; 0]);
    }
}

#[test]
fn a_reload_that_lowers_the_master_below_another_moves_it_once() {
    let mut world = World::new(7, 2);
    for (node, priority, other) in [(0, 150, 2), (1, 100, 1)] {
        world.nodes[node].settings = Arc::new(with(node as u8 + 1, priority, &[other], true));
        world.start(node);
    }
    world.run(10 * SECOND);
    let seen = [0, 1].map(|node| world.nodes[node].events.len());
    world.reload(0, with(1, 90, &[2], true));
    world.run(20 * SECOND);
    assert_eq!(world.master("a"), Some(1));
    assert_eq!((moves(&world, 0, seen[0]).len(), moves(&world, 1, seen[1]).len()), (1, 1));
    assert_eq!(world.broken, [""; 0]);
}
