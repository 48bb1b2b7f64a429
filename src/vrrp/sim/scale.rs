//! Hundreds and thousands of VIPs: none is left out, and what each event costs does not grow with them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::site::{instance, settings, vip};
use super::world::World;
use crate::net::types::{HeldAddress, Host, HostEvent, Link, LinkIndex, MacAddress, Op, Prefix};
use crate::time::Instant;
use crate::vrrp::binding::sockets::SocketStates;
use crate::vrrp::io::{DirectorLevel, Effect, Input, State};
use crate::vrrp::router::Router;
use crate::vrrp::settings::Settings;

fn with_vips(count: u16, priority: u8) -> Settings {
    let mut big = instance("a", 51, priority);
    big.excluded = (0..count).map(|n| vip("e0", number(n), 32)).collect();
    settings(vec![big])
}

fn number(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    [10, 1, high, low].into()
}

#[test]
fn a_full_queue_delays_announcements_and_loses_none_and_no_vip_has_two_before_all_have_one() {
    let mut world = World::with(vec![with_vips(600, 101)]);
    world.nodes[0].frame_queue = Some((278, Duration::from_millis(30)));
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    let begin = world.now;
    world.run(Duration::from_secs(1));
    let announced: Vec<Vec<u8>> =
        world.nodes[0].announced.iter().map(|(_, _, frame)| frame.clone()).collect();
    // Sender's address in an ARP packet.
    let ips: Vec<&[u8]> = announced.iter().map(|frame| &frame[28..32]).collect();
    assert_eq!(ips.len(), 5 * 601, "five of each within the first second");
    for round in ips.chunks(601) {
        assert_eq!(round.iter().collect::<BTreeSet<_>>().len(), 601, "each once before any again");
    }
    let first = world.nodes[0].announced[..601].iter().map(|(at, ..)| at.since(begin)).max();
    assert!(first < Some(Duration::from_millis(200)), "{first:?}");
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn what_waits_for_a_full_queue_is_not_announced_any_more_once_the_master_yields() {
    let mut world = World::with(vec![with_vips(600, 101), with_vips(600, 90)]);
    world.nodes[0].frame_queue = Some((100, Duration::from_millis(200)));
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    world.run(Duration::from_millis(100));
    assert_eq!(world.nodes[0].announced.len(), 100);
    world.handle(0, Input::Stop);
    world.run(Duration::from_secs(5));
    assert_eq!(world.nodes[0].announced.len(), 100);
    assert_eq!(world.state(1, "a"), Some(State::Master));
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn late_news_of_its_own_changes_are_no_strangers_doing() {
    let mut world = World::with(vec![with_vips(100, 101)]);
    world.nodes[0].news_delay = Duration::from_secs(1);
    for _ in 0..3 {
        world.until("Master", |w| w.state(0, "a") == Some(State::Master));
        world.run(Duration::from_millis(700));
        let e0 = world.nodes[0].link("e0");
        world.nodes[0].host.set_running(e0, false);
        world.until("Fault", |w| w.state(0, "a") == Some(State::Fault));
        world.run(Duration::from_millis(700));
        world.nodes[0].host.set_running(e0, true);
    }
    world.until("Master", |w| w.state(0, "a") == Some(State::Master));
    world.run(Duration::from_secs(10));
    for event in ["vrrp_left_over", "vrrp_restored"] {
        assert_eq!(world.reported(0, event), [""; 0]);
    }
    assert_eq!(world.nodes[0].host.host().addresses.iter().filter(|h| h.prefix.length == 32).count(), 100);
    assert_eq!(world.broken, [""; 0]);
}

#[test]
fn a_news_item_costs_the_same_with_a_hundred_vips_and_with_two_thousand() {
    let few = news_cost(100);
    let many = news_cost(2000);
    for (what, few, many) in [
        ("its own, while the kernel works", few.0, many.0),
        ("its own, afterwards", few.1, many.1),
        ("links of containers", few.2, many.2),
    ] {
        assert!(many < few * 5, "{what}: {few:?} with 100 VIPs, {many:?} with 2,000");
    }
    let (few, many) = (few.3, many.3);
    assert!(many < few * 20 * 4, "the kernel's answer: {few:?} for 100 VIPs, {many:?} for 2,000");
}

/// Of a hundred events: of addresses it adds, of the same again, of others' links; then of the answer to all.
type Costs = (Duration, Duration, Duration, Duration);

/// What they cost, the least of some attempts.
fn news_cost(count: u16) -> Costs {
    let least = |a: Costs, b: Costs| (a.0.min(b.0), a.1.min(b.1), a.2.min(b.2), a.3.min(b.3));
    (0..4).map(|_| one_takeover(count)).reduce(least).expect("four")
}

fn one_takeover(count: u16) -> Costs {
    let e0 = LinkIndex(2);
    let link = Link { mac: Some(MacAddress([2, 0, 0, 0, 0, 1])), ..Link::plain(e0, "e0") };
    let own = HeldAddress::plain(e0, Prefix { ip: [10, 0, 0, 201].into(), length: 24 });
    let host = Host { links: [(e0, link)].into(), addresses: [own].into(), ..Host::default() };
    let mut now = Instant::from_nanos(1_000_000_000_000);
    let mut router = Router::new(Arc::new(with_vips(count, 101)), 7, now);
    let mut ops = Vec::new();
    let mut begun = Vec::new();
    for input in [Input::Clock(Duration::ZERO), Input::Director(DirectorLevel::default()), Input::Host(host)]
    {
        router.handle(now, input, &mut begun);
    }
    for effect in begun {
        if let Effect::Listen(endpoints) = effect {
            let listening = SocketStates { open: BTreeSet::clone(&endpoints), ..SocketStates::default() };
            router.handle(now, Input::Sockets(listening), &mut Vec::new());
        }
    }
    while ops.is_empty() {
        now = router.deadline().expect("it waits to become Master");
        let mut effects = Vec::new();
        router.handle(now, Input::Wake, &mut effects);
        if effects.iter().any(|effect| matches!(effect, Effect::CatchUp)) {
            router.handle(now, Input::CaughtUp, &mut effects);
        }
        ops = effects
            .into_iter()
            .filter_map(|e| if let Effect::Apply(ops) = e { Some(ops) } else { None })
            .collect();
    }
    let added = ops.concat().into_iter().filter_map(|op| match op {
        Op::AddAddress(address) => Some(HostEvent::Address(HeldAddress::plain(e0, address.prefix))),
        _ => None,
    });
    let added: Vec<HostEvent> = added.collect();
    assert_eq!(added.len(), usize::from(count) + 1);
    let sample = |events: &[HostEvent]| events.iter().rev().take(100).cloned().collect::<Vec<_>>();
    let feed = |router: &mut Router, events: Vec<HostEvent>| {
        let begin = thread_time();
        for event in events {
            router.handle(now, Input::HostEvent(event), &mut Vec::new());
        }
        thread_time() - begin
    };
    let during = feed(&mut router, sample(&added));
    feed(&mut router, added.clone());
    let begin = thread_time();
    router.handle(now, Input::Applied(Vec::new()), &mut Vec::new());
    let answer = thread_time() - begin;
    let afterwards = feed(&mut router, sample(&added));
    let mac = Some(MacAddress([2, 0, 0, 0, 9, 1]));
    let veth = |n: u32| Link { mac, ..Link::plain(LinkIndex(n), &format!("veth{n}")) };
    let links = (100..200).map(|n| HostEvent::Link(veth(n))).collect();
    (during, afterwards, feed(&mut router, links), answer)
}

/// Processor time of this thread: a busy machine does not count.
#[allow(clippy::disallowed_methods, reason = "no time of day: what a step costs is what is tested")]
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let part = |n: i64| u64::try_from(n).unwrap_or(0);
    Duration::from_nanos(part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec))
}
