//! A director without anything of IPVS: virtual routers alone, on a kernel that has it or has it not.

use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{config, rr, sync_daemon, tcp_server, told};
use super::world::World;
use crate::config::{Config, Global, TimeoutOptions};
use crate::director::io::Input;
use crate::ipvs::backend::{Backend, Op};
use crate::ipvs::types::{Family, ServiceKey, SyncRole};

const HOUR: Duration = Duration::from_secs(3600);
const FOREIGN: ServiceKey = ServiceKey::Fwmark { family: Family::Inet, mark: 7 };

#[test]
fn virtual_routers_alone_ask_the_kernel_nothing_of_ipvs_and_are_ready_at_once() {
    for has_ipvs in [true, false] {
        let mut world = World::new(1);
        world.has_ipvs = has_ipvs;
        world.start(&Arc::default());
        world.run(HOUR);
        assert_eq!(world.requests, 0);
        assert_eq!(told(&world, "ready"), 1);
        let level = world.router.clone().expect("the router was told");
        assert!(level.not_ready.is_empty() && level.cannot_forward.is_none(), "{level:?}");
        let status = world.director().unwrap().status(world.now);
        assert_eq!((status.is_converged, status.is_ipvs_used, status.kernel_trouble), (true, false, None));
        world.tell(Input::Stop);
        assert_eq!((world.finished, world.requests), (Some(true), 0), "a stop waits for nothing");
    }
}

#[test]
fn the_first_virtual_server_of_a_reload_opens_ipvs_and_with_the_last_one_it_is_left_alone_again() {
    let mut world = World::new(1);
    world.kernel.apply(&[foreign()]).unwrap();
    world.start(&Arc::default());
    world.run(HOUR);
    for _ in 0..2 {
        world.tell(Input::Reload(config(tcp_server())));
        world.run(Duration::from_secs(5));
        assert_eq!(world.kernel.table().len(), 2, "ours and the foreign one");
        assert_eq!(world.director().unwrap().status(world.now).foreign_services.len(), 1);
        world.tell(Input::Reload(Arc::default()));
        world.run(HOUR);
        assert_eq!(world.kernel.table().keys().collect::<Vec<_>>(), [&FOREIGN]);
        let requests = world.requests;
        world.run(HOUR);
        assert_eq!(world.requests, requests);
        let status = world.director().unwrap().status(world.now);
        assert_eq!(
            (status.is_converged, status.foreign_services.len()),
            (true, 0),
            "the table is not read any more"
        );
    }
    assert_eq!(world.broken, Vec::<String>::new());
}

#[test]
fn what_a_predecessor_left_is_removed_though_no_virtual_server_is_configured_any_more() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(Duration::from_secs(5));
    world.crash();
    world.start(&Arc::default());
    world.run(Duration::from_secs(5));
    assert!(world.kernel.table().is_empty() && world.saved().owned.is_empty());
    let requests = world.requests;
    world.run(HOUR);
    assert_eq!(world.requests, requests);
}

#[test]
fn what_a_predecessor_left_is_forgotten_where_the_kernel_has_lost_ipvs() {
    let mut world = World::new(1);
    world.start(&config(tcp_server()));
    world.run(Duration::from_secs(5));
    let left = world.saved().clone();
    assert!(!left.owned.is_empty());
    let forgotten = left.without_ipvs();
    assert!(forgotten.owned.is_empty() && forgotten.leaving.is_empty());
}

#[test]
fn timeouts_or_a_sync_daemon_alone_open_ipvs_too_and_are_put_back() {
    let daemon = sync_daemon(SyncRole::Backup);
    let timeouts = TimeoutOptions { tcp: Some(60), ..TimeoutOptions::default() };
    for global in
        [Global { timeouts, ..Global::default() }, Global { sync_daemons: vec![daemon], ..Global::default() }]
    {
        let wanting = Arc::new(Config { global, ..Config::default() });
        assert!(wanting.ipvs_need().is_some());
        let mut world = World::new(1);
        world.kernel.set_interface("eth0", true);
        world.start(&Arc::default());
        world.run(HOUR);
        assert_eq!(world.requests, 0);
        let before = settings(&mut world);
        world.tell(Input::Reload(wanting));
        world.run(Duration::from_secs(5));
        assert_ne!(settings(&mut world), before);
        world.tell(Input::Reload(Arc::default()));
        world.run(HOUR);
        assert_eq!(settings(&mut world), before);
        let requests = world.requests;
        world.run(HOUR);
        assert_eq!(world.requests, requests);
    }
}

#[test]
fn a_flush_waits_for_the_first_virtual_server_and_happens_once() {
    let flushing = |config: &Config| {
        let global = Global { flush: true, ..Global::default() };
        Arc::new(Config { global, ..config.clone() })
    };
    let mut world = World::new(1);
    world.kernel.apply(&[foreign()]).unwrap();
    world.start(&flushing(&Config::default()));
    world.run(HOUR);
    assert!(
        world.kernel.table().contains_key(&FOREIGN),
        "as keepalived, which does not start its checkers then"
    );
    world.tell(Input::Reload(flushing(&config(tcp_server()))));
    world.run(Duration::from_secs(5));
    assert!(!world.kernel.table().contains_key(&FOREIGN));
    world.tell(Input::Reload(Arc::default()));
    world.run(HOUR);
    world.kernel.apply(&[foreign()]).unwrap();
    world.tell(Input::Reload(flushing(&config(tcp_server()))));
    world.run(Duration::from_secs(5));
    assert!(world.kernel.table().contains_key(&FOREIGN), "the table is flushed at the start alone");
}

fn foreign() -> Op {
    Op::AddService(FOREIGN, rr())
}

fn settings(world: &mut World) -> String {
    use crate::ipvs::backend::{Scope, Snapshot};
    match world.kernel.snapshot(&Scope::Settings) {
        Ok(Snapshot::Settings(settings)) => format!("{:?} {:?}", settings.timeouts, settings.sync_daemons),
        other => panic!("{other:?}"),
    }
}
