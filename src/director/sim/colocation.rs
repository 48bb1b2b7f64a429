//! A host that is one of its own real servers: where the service is, and how it gets there.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::scenarios::{config, real, tcp_server, told};
use super::world::{Server, World};
use crate::director::colocation::LocalAddresses;
use crate::director::colocation::placement::IngressMarks;
use crate::director::io::Input;
use crate::ipvs::types::{Connections, ServiceKey};
use crate::vrrp::io::{InstanceLevel, State};

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_first_write_is_the_service_by_mark_and_reports_still_name_it_by_its_address() {
    let mut world = colocated();
    world.start(&config(tcp_server()));
    mark(&mut world);
    world.run(5 * SECOND);
    assert_eq!(shape(&world), ["mark: 1:0=1 2:0=1 3:0=1"]);
    assert!(world.ops.iter().all(|(_, op)| op.service().is_none_or(is_by_mark)), "{:?}", world.ops);
    assert_eq!(world.fwmark_rules[0].peers, BTreeSet::from([real(2).ip(), real(3).ip()]));
    let status = world.director().unwrap().status(world.now);
    let server = &status.virtual_servers[0];
    assert_eq!(server.virtual_server.to_string(), "10.0.0.1:80 tcp");
    assert!(server.is_in_kernel && server.colocated.as_ref().is_some_and(|c| c.is_marked));
    assert!(server.real_servers.iter().all(|r| r.kernel_weight == Some(1)), "{server:?}");
    assert_eq!(told(&world, "this host is one of its real servers"), 1);
    // Another program's change is reported of the virtual server, not of a mark that is in no file.
    let key = *world.kernel.table().keys().next().unwrap();
    world.kernel.table_mut().get_mut(&key).unwrap().destinations.clear();
    world.run(30 * SECOND);
    assert_eq!(shape(&world), ["mark: 1:0=1 2:0=1 3:0=1"]);
    let drift = world.events.iter().map(|(_, e)| e.to_string()).find(|e| e.contains("repaired")).unwrap();
    assert!(drift.starts_with("service 10.0.0.1:80 tcp: "), "{drift}");
    let director = world.director().unwrap();
    assert_eq!(director.status(world.now).last_drift.unwrap().virtual_server.to_string(), "10.0.0.1:80 tcp");
}

#[test]
fn a_service_by_address_goes_only_when_packets_find_the_other_and_its_connections_have_ended() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(5 * SECOND);
    let by_address = *world.kernel.table().keys().next().unwrap();
    for n in 1..=3 {
        let some = Connections { active: 1, ..Connections::default() };
        assert!(world.kernel.set_connections(&by_address, &real(n), some));
    }
    world.tell(Input::LocalAddresses(around(true, true)));
    world.run(5 * SECOND);
    let whole = "address: 1:80=1 2:80=1 3:80=1";
    assert_eq!(shape(&world), [whole, "mark: 1:0=1 2:0=1 3:0=1"], "no packet is marked yet");
    mark(&mut world);
    world.run(5 * SECOND);
    let quiesced = "address: 1:80=1 2:80=0 3:80=0";
    assert_eq!(shape(&world), [quiesced, "mark: 1:0=1 2:0=1 3:0=1"], "what peers send is answered here");
    for n in 2..=3 {
        world.kernel.set_connections(&by_address, &real(n), Connections::default());
    }
    world.run(5 * SECOND);
    assert_eq!(shape(&world), ["mark: 1:0=1 2:0=1 3:0=1"]);
    assert_eq!(world.saved().owned.len(), 1);
    assert_eq!(world.broken, Vec::<String>::new());
}

#[test]
fn a_service_by_address_without_connections_goes_as_soon_as_packets_find_the_other() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(5 * SECOND);
    for n in 1..=3 {
        world.servers.insert(real(n), Server::Refuses);
    }
    world.run(30 * SECOND);
    assert_eq!(shape(&world), ["address:"]);
    world.tell(Input::LocalAddresses(around(true, true)));
    mark(&mut world);
    world.run(Duration::from_millis(100));
    assert_eq!(shape(&world), ["mark:"]);
}

#[test]
fn what_a_predecessor_left_by_address_goes_the_same_way_after_five_minutes_at_the_latest() {
    for is_ours in [true, false] {
        let mut world = World::new(1);
        world.start(&config(tcp_server()));
        world.run(5 * SECOND);
        let by_address = *world.kernel.table().keys().next().unwrap();
        let for_ever = Connections { active: 1, ..Connections::default() };
        assert!(world.kernel.set_connections(&by_address, &real(2), for_ever));
        world.crash();
        if !is_ours {
            world.forget();
        }
        world.local = around(true, true);
        world.start(&config(tcp_server()));
        mark(&mut world);
        world.run(60 * SECOND);
        assert_eq!(shape(&world), ["address: 1:80=1 2:80=0 3:80=0", "mark: 1:0=1 2:0=1 3:0=1"], "{is_ours}");
        assert_eq!(told(&world, "left alone"), 0);
        world.run(300 * SECOND);
        assert_eq!(shape(&world), ["mark: 1:0=1 2:0=1 3:0=1"], "{is_ours}");
    }
}

#[test]
fn a_host_that_is_a_real_server_no_longer_goes_back_make_before_break() {
    let mut world = colocated();
    world.start(&config(tcp_server()));
    mark(&mut world);
    world.run(5 * SECOND);
    let by_mark = *world.kernel.table().keys().next().unwrap();
    let at = SocketAddr::new(real(2).ip(), 0);
    let some = Connections { active: 1, ..Connections::default() };
    assert!(world.kernel.set_connections(&by_mark, &at, some));
    world.tell(Input::LocalAddresses(around(false, true)));
    assert!(world.fwmark_rules.is_empty());
    world.run(5 * SECOND);
    assert_eq!(shape(&world), ["address: 1:80=1 2:80=1 3:80=1", "mark: 1:0=1 2:0=1 3:0=1"], "still marked");
    mark(&mut world);
    world.run(5 * SECOND);
    assert_eq!(shape(&world), ["address: 1:80=1 2:80=1 3:80=1", "mark: 1:0=0 2:0=0 3:0=0"]);
    world.kernel.set_connections(&by_mark, &at, Connections::default());
    world.run(5 * SECOND);
    assert_eq!(shape(&world), ["address: 1:80=1 2:80=1 3:80=1"]);
    assert_eq!(told(&world, "none of its real servers any more"), 1);
}

#[test]
fn a_restart_changes_nothing_and_a_stop_leaves_nothing() {
    let mut world = colocated();
    world.start(&config(tcp_server()));
    mark(&mut world);
    world.run(5 * SECOND);
    world.servers.insert(real(2), Server::Refuses);
    world.run(60 * SECOND);
    let before = shape(&world);
    assert_eq!(before, ["mark: 1:0=1 3:0=1"]);
    let written = world.ops.len();
    world.crash();
    world.start(&config(tcp_server()));
    mark(&mut world);
    world.run(60 * SECOND);
    assert_eq!((shape(&world), world.ops.len()), (before, written));
    world.tell(Input::Stop);
    world.run(10 * SECOND);
    assert_eq!((shape(&world), world.finished), (Vec::new(), Some(true)));
}

#[test]
fn without_marks_the_service_is_there_only_while_this_host_holds_the_vip() {
    let mut world = colocated();
    world.local = around(true, false);
    world.start(&config(tcp_server()));
    world.tell(Input::IngressMarks(IngressMarks { marked: BTreeSet::new(), cannot_mark: true }));
    world.run(5 * SECOND);
    assert_eq!(shape(&world), Vec::<String>::new());
    let whole = ["address: 1:80=1 2:80=1 3:80=1"];
    world.tell(Input::LocalAddresses(around(true, true)));
    world.run(SECOND);
    assert_eq!(shape(&world), whole);
    // What the router says is known sooner than what it does.
    for (state, expected) in [(State::Backup, &[][..]), (State::Master, &whole[..]), (State::Fault, &[])] {
        let prefix = crate::net::types::Prefix::host(VIP);
        let addresses = BTreeSet::from([prefix]);
        world.tell(Input::Instance(InstanceLevel { name: "VI_1".into(), vrid: 51, state, addresses }));
        world.run(SECOND);
        assert_eq!(shape(&world), expected, "{state}");
    }
    world.tell(Input::InstanceGone("VI_1".into()));
    world.run(SECOND);
    assert_eq!(shape(&world), whole);
    // What was in place before the kernel refused to mark goes on a standby, too.
    world.tell(Input::IngressMarks(IngressMarks::default()));
    world.tell(Input::LocalAddresses(around(true, false)));
    mark(&mut world);
    world.run(10 * SECOND);
    assert_eq!(shape(&world), ["mark: 1:0=1 2:0=1 3:0=1"]);
    world.tell(Input::IngressMarks(IngressMarks { marked: BTreeSet::new(), cannot_mark: true }));
    world.run(10 * SECOND);
    assert_eq!(shape(&world), Vec::<String>::new());
    assert_eq!(world.broken, Vec::<String>::new());
}

#[test]
fn in_the_end_there_is_always_one_service_in_its_place() {
    for seed in 0..200 {
        let mut world = World::new(seed);
        let config = config(tcp_server());
        world.start(&config);
        for _ in 0..30 {
            match world.rng.u32(0..8) {
                0 | 1 => {
                    world.local = around(world.rng.bool(), world.rng.bool());
                    let local = world.local.clone();
                    world.tell(Input::LocalAddresses(local));
                }
                2 | 3 => mark(&mut world),
                4 => {
                    let cannot_mark = world.rng.u32(0..4) == 0;
                    world.tell(Input::IngressMarks(IngressMarks { marked: BTreeSet::new(), cannot_mark }));
                }
                5 => {
                    world.crash();
                    world.start(&config);
                }
                6 => world.tell(Input::Reload(std::sync::Arc::clone(&config))),
                _ => world.fault_rate = if world.rng.bool() { 20 } else { 0 },
            }
            let pause = world.rng.u64(0..4000);
            world.run(Duration::from_millis(pause));
        }
        world.fault_rate = 0;
        let (is_own, cannot_mark) = (world.rng.bool(), world.rng.u32(0..4) == 0);
        world.tell(Input::LocalAddresses(around(is_own, true)));
        world.tell(Input::IngressMarks(IngressMarks { marked: BTreeSet::new(), cannot_mark }));
        mark_unless(&mut world, cannot_mark);
        world.run(400 * SECOND);
        let expected = match is_own && !cannot_mark {
            true => "mark: 1:0=1 2:0=1 3:0=1",
            false => "address: 1:80=1 2:80=1 3:80=1",
        };
        assert_eq!(shape(&world), [expected], "seed {seed}");
        assert_eq!(world.saved().owned.len(), 1, "seed {seed}");
        assert_eq!(world.broken, Vec::<String>::new(), "seed {seed}");
    }
}

/// A world whose host is the first real server, and holds the VIP.
fn colocated() -> World {
    let mut world = World::new(1);
    world.local = around(true, true);
    world
}

fn around(is_own: bool, has_vip: bool) -> LocalAddresses {
    let own = if is_own { real(1).ip() } else { IpAddr::from([10, 1, 0, 200]) };
    let shown: BTreeSet<IpAddr> = if has_vip { [own, VIP].into() } else { [own].into() };
    LocalAddresses { own: [own, VIP].into(), on_network: shown, ..LocalAddresses::default() }
}

/// What the director wants marked is marked.
fn mark(world: &mut World) {
    mark_unless(world, false);
}

fn mark_unless(world: &mut World, cannot_mark: bool) {
    let marked = world.fwmark_rules.iter().map(|fwmark_rule| fwmark_rule.mark).collect();
    world.tell(Input::IngressMarks(IngressMarks { marked, cannot_mark }));
}

fn is_by_mark(key: &ServiceKey) -> bool {
    matches!(key, ServiceKey::Fwmark { .. })
}

/// The kernel's services: where, and each destination's last number, port and weight.
fn shape(world: &World) -> Vec<String> {
    let services = world.kernel.table().iter().map(|(key, entry)| {
        let place = if is_by_mark(key) { "mark" } else { "address" };
        let destinations = entry.destinations.iter().map(|(at, d)| {
            let ip = at.ip().to_string();
            let last = ip.rsplit('.').next().unwrap_or_default().to_owned();
            format!(" {last}:{}={}", at.port(), d.destination.weight)
        });
        format!("{place}:{}", destinations.collect::<String>())
    });
    services.collect()
}
