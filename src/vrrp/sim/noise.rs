//! Inputs in no sensible order, from a shell, a kernel and a network that have lost their minds: nothing panics,
//! nothing spins, nothing grows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::seeds;
use super::sweep::random_site;
use crate::net::types::{HeldAddress, Host, HostEvent, Link, LinkIndex, MacAddress, Op, Prefix, Refusal};
use crate::time::Instant;
use crate::vrrp::binding::sockets::{SocketFailure, SocketStates, SocketStep};
use crate::vrrp::handover::{Handover, InstanceHandover};
use crate::vrrp::io::{Datagram, DirectorLevel, Effect, Endpoint, Input, TrackLevel};
use crate::vrrp::packet::{Counters, ReplayWindow};
use crate::vrrp::router::Router;
use crate::vrrp::settings::{Family, TrackTarget};

#[test]
fn no_order_of_inputs_makes_it_panic_or_spin() {
    for seed in seeds() {
        let mut rng = fastrand::Rng::with_seed(seed);
        let settings = random_site(&mut rng, 2).remove(0);
        let mut now = Instant::from_nanos(rng.u64(0..1 << 50));
        let mut router = Router::new(Arc::new(settings), seed, now);
        let mut sent: Vec<Datagram> = Vec::new();
        for step in 0..500 {
            now = now + Duration::from_micros(rng.choice([0, 1, 1000, 1_000_000]).expect("not empty"));
            let mut effects = Vec::new();
            router.handle(now, random_input(&mut rng, &sent), &mut effects);
            let deadline = router.deadline();
            assert!(deadline.is_none_or(|at| at > now), "seed {seed}, step {step}: {deadline:?} at {now:?}");
            assert!(effects.len() < 2000, "seed {seed}, step {step}: {} effects", effects.len());
            for effect in effects {
                if let Effect::Listen(endpoints) = effect {
                    // Most of the time all is well.
                    let open = if rng.u32(0..4) > 0 { BTreeSet::clone(&endpoints) } else { BTreeSet::new() };
                    let listening = SocketStates { open, ..SocketStates::default() };
                    router.handle(now, Input::Sockets(listening), &mut Vec::new());
                } else if let Effect::Send(t) = effect {
                    let (destination, hop_limit) = (t.destination, t.hop_limit);
                    let (link, protocol) = (t.endpoint.link.unwrap_or(LinkIndex(1)), t.endpoint.protocol);
                    let source = IpAddr::from([10, 0, 0, rng.u8(..)]);
                    let source = if destination.is_ipv4() { source } else { t.endpoint.source };
                    let bytes = t.bytes;
                    sent.push(Datagram { link, protocol, source, destination, hop_limit, bytes });
                }
            }
            sent.truncate(8);
            let _ = router.status(now);
        }
    }
}

fn random_input(rng: &mut fastrand::Rng, sent: &[Datagram]) -> Input {
    match rng.u32(0..40) {
        0..=9 => Input::Wake,
        10 => Input::Host(random_host(rng)),
        11..=16 => Input::HostEvent(random_event(rng)),
        17..=24 => Input::Received(random_datagram(rng, sent)),
        25..=27 => Input::CaughtUp,
        28 => Input::Tracked {
            target: TrackTarget::Script("chk".to_owned()),
            level: if rng.bool() { TrackLevel::Is(rng.bool()) } else { TrackLevel::Counts(rng.i64(..)) },
        },
        29 => Input::Director(DirectorLevel {
            not_ready: (0..rng.u8(0..3)).map(|n| IpAddr::from([10, 0, 0, 51 + n])).collect(),
            cannot_forward: rng.bool().then(|| "some reason".to_owned()),
        }),
        30 => Input::Clock(Duration::from_secs(rng.u64(..))),
        31..=35 => Input::Applied(random_refusals(rng)),
        37 => Input::RouterLinks((0..rng.u32(0..3)).map(LinkIndex).collect()),
        36 => Input::Sockets(random_listening(rng, sent)),
        38 => {
            Input::Inherited { handover: random_handover(rng), age: Duration::from_millis(rng.u64(0..4000)) }
        }
        _ if rng.u32(0..20) == 0 => Input::Stop,
        _ => Input::Reload(Arc::new(random_site(rng, 2).remove(0))),
    }
}

/// States of random sockets, some of which may be needed ones.
fn random_listening(rng: &mut fastrand::Rng, sent: &[Datagram]) -> SocketStates {
    let mut listening = SocketStates::default();
    for datagram in sent {
        let endpoint = Endpoint {
            link: Some(datagram.link),
            protocol: datagram.protocol,
            group: Some(datagram.destination).filter(IpAddr::is_multicast),
            source: datagram.source,
            receive_buffer: 0,
        };
        if rng.bool() {
            listening.open.insert(endpoint);
        } else {
            listening.failed.insert(endpoint, SocketFailure { step: SocketStep::Join, errno: 105 });
        }
    }
    listening
}

fn random_handover(rng: &mut fastrand::Rng) -> Box<Handover> {
    let mut instances = BTreeMap::new();
    for (name, vrid) in [("a", 51), ("b", 52), ("nobody", 53)] {
        let handed = InstanceHandover {
            vrid,
            family: if rng.bool() { Family::Ipv4 } else { Family::Ipv6 },
            interface: Some("e0".to_owned()),
            is_sole_for: rng.bool().then(|| Duration::from_millis(rng.u64(0..4000))),
            interval: Duration::from_millis(rng.u64(1..2000)),
            counters: Counters::new(),
            replay: ReplayWindow::new(),
        };
        instances.insert(name.to_owned(), handed);
    }
    let level = if rng.bool() { TrackLevel::Is(rng.bool()) } else { TrackLevel::Counts(rng.i64(..)) };
    Box::new(Handover {
        instances,
        tracks: vec![(TrackTarget::Script("chk".to_owned()), level)],
        damped: Vec::new(),
        sessions: Vec::new(),
    })
}

fn random_refusals(rng: &mut fastrand::Rng) -> Vec<Refusal> {
    let prefix = random_prefix(rng);
    let op = Op::RemoveAddress { link: LinkIndex(rng.u32(0..4)), prefix };
    let refusal = Refusal { op, errno: 5, text: "input/output error".to_owned() };
    if rng.bool() { Vec::new() } else { vec![refusal] }
}

fn random_host(rng: &mut fastrand::Rng) -> Host {
    let links = (0..rng.u32(0..4)).map(|_| random_link(rng)).map(|link| (link.index, link)).collect();
    let addresses = (0..rng.u32(0..6)).map(|_| random_address(rng)).collect();
    Host { links, addresses, ..Host::default() }
}

fn random_link(rng: &mut fastrand::Rng) -> Link {
    let index = rng.u32(1..5);
    let name = ["e0", "e1", "vrrp.51", "vrrp.52"][usize::try_from(index - 1).expect("small")];
    Link {
        mac: rng.bool().then_some(MacAddress([2, 0, 0, 0, 0, 1])),
        is_up: rng.u32(0..4) > 0,
        is_running: rng.u32(0..4) > 0,
        ..Link::plain(LinkIndex(index), name)
    }
}

fn random_address(rng: &mut fastrand::Rng) -> HeldAddress {
    HeldAddress {
        is_secondary: rng.bool(),
        is_unusable: rng.u32(0..4) == 0,
        is_deprecated: rng.u32(0..4) == 0,
        is_temporary: rng.u32(0..4) == 0,
        protocol: rng.choice([0, 3, 18]).expect("not empty"),
        ..HeldAddress::plain(LinkIndex(rng.u32(1..5)), random_prefix(rng))
    }
}

fn random_prefix(rng: &mut fastrand::Rng) -> Prefix {
    match rng.u32(0..3) {
        0 => Prefix { ip: [10, 0, 0, rng.u8(50..54)].into(), length: rng.u8(0..33) },
        1 => Prefix { ip: [10, 0, 0, 201].into(), length: 24 },
        _ => Prefix { ip: IpAddr::from([0xfe80, 0, 0, 0, 0, 0, rng.u16(0..2), rng.u16(50..54)]), length: 64 },
    }
}

fn random_event(rng: &mut fastrand::Rng) -> HostEvent {
    match rng.u32(0..4) {
        0 => HostEvent::Link(random_link(rng)),
        1 => HostEvent::LinkGone(LinkIndex(rng.u32(0..5))),
        2 => HostEvent::Address(random_address(rng)),
        _ => HostEvent::AddressGone(random_address(rng)),
    }
}

/// Own packets that come back, from other addresses, whole or spoilt; and noise.
fn random_datagram(rng: &mut fastrand::Rng, sent: &[Datagram]) -> Datagram {
    let mut datagram = rng.choice(sent).cloned().unwrap_or_else(|| Datagram {
        link: LinkIndex(1),
        protocol: rng.choice([51, 112]).expect("not empty"),
        source: [10, 0, 0, 9].into(),
        destination: [224, 0, 0, 18].into(),
        hop_limit: 255,
        bytes: (0..rng.usize(0..80)).map(|_| rng.u8(..)).collect(),
    });
    if rng.bool() && !datagram.bytes.is_empty() {
        let at = rng.usize(0..datagram.bytes.len());
        datagram.bytes[at] = rng.u8(..);
    }
    datagram
}
