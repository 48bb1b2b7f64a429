//! Two hosts in virtual time, and the link between them: it loses, delays, doubles and reorders.

mod hostile;
mod lifecycle;
mod protocol;
mod sweep;
mod timing;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::packet::{Diagnostic, LENGTH, Packet, State, decode, encode};
use super::session::SessionHandover;
use super::sessions::{Datagram, Effect, Event, Input, Level, Sessions};
use super::settings::SessionSettings;
use super::status::SessionStatus;
use crate::time::Instant;

const NAME: &str = "peer";

/// What the link does to packets.
#[derive(Clone, Copy, Debug, Default)]
struct Link {
    /// Of 100 packets.
    loss: u32,
    doubled: u32,
    /// Shortest and longest way.
    delay: (Duration, Duration),
    is_cut: bool,
}

struct Host {
    sessions: Sessions,
    address: IpAddr,
    settings: BTreeMap<String, Arc<SessionSettings>>,
    events: Vec<(Instant, Event)>,
    levels: Vec<(Instant, Level)>,
    /// Packets it sent.
    sent: Vec<(Instant, Packet)>,
    is_running: bool,
}

struct World {
    now: Instant,
    hosts: [Host; 2],
    link: Link,
    /// On their way: when they arrive, and at which host.
    flying: Vec<(Instant, usize, [u8; LENGTH])>,
    rng: fastrand::Rng,
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn address(host: usize) -> IpAddr {
    [10, 0, 0, if host == 0 { 1 } else { 2 }].into()
}

/// 50 ms, three packets: 150 ms.
fn settings(host: usize) -> SessionSettings {
    SessionSettings { source: Some(address(host)), ..SessionSettings::sample(NAME, address(1 - host)) }
}

impl World {
    fn new(seed: u64) -> World {
        World::with(seed, [settings(0), settings(1)])
    }

    fn with(seed: u64, settings: [SessionSettings; 2]) -> World {
        let mut number = 0;
        let now = Instant::of_uptime(seed);
        let hosts = settings.map(|settings| {
            number += 1;
            Host {
                sessions: Sessions::new(seed * 2 + number),
                address: address(usize::from(number == 2)),
                settings: BTreeMap::from([(settings.name.clone(), Arc::new(settings))]),
                events: Vec::new(),
                levels: Vec::new(),
                sent: Vec::new(),
                is_running: true,
            }
        });
        let link = Link { delay: (ms(1), ms(1)), ..Link::default() };
        let mut world = World { now, hosts, link, flying: Vec::new(), rng: fastrand::Rng::with_seed(seed) };
        (0..2).for_each(|host| world.configure(host));
        world
    }

    /// Both ends up, and the polls that follow answered.
    fn up(seed: u64) -> World {
        let mut world = World::new(seed);
        world.run(ms(4000));
        assert_eq!(world.states(), [State::Up; 2]);
        world
    }

    fn configure(&mut self, host: usize) {
        let settings = self.hosts[host].settings.clone();
        self.act(host, Input::Configure(&settings));
    }

    fn change(&mut self, host: usize, change: impl FnOnce(&mut SessionSettings)) {
        let mut new = (**self.hosts[host].settings.get(NAME).unwrap()).clone();
        change(&mut new);
        self.hosts[host].settings = BTreeMap::from([(new.name.clone(), Arc::new(new))]);
        self.configure(host);
    }

    fn act(&mut self, host: usize, input: Input<'_>) {
        let mut effects = Vec::new();
        self.hosts[host].sessions.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Send { bytes, .. } => self.send(host, bytes),
                Effect::Level(level) => self.hosts[host].levels.push((self.now, level)),
                Effect::Event(event) => self.hosts[host].events.push((self.now, event)),
                Effect::Gone(_) => {}
            }
        }
    }

    fn send(&mut self, host: usize, bytes: [u8; LENGTH]) {
        let packet = decode(&bytes).expect("what is sent can be read");
        self.hosts[host].sent.push((self.now, packet));
        let copies = if self.rng.u32(0..100) < self.link.doubled { 2 } else { 1 };
        for _ in 0..copies {
            if self.link.is_cut || self.rng.u32(0..100) < self.link.loss {
                continue;
            }
            let (least, most) = self.link.delay;
            let spread = most.saturating_sub(least) * self.rng.u32(0..=1000) / 1000;
            self.flying.push((self.now + least + spread, 1 - host, bytes));
        }
    }

    /// Runs for so long; a packet that arrives with a deadline is handled before it, as the shell does.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flying.iter().map(|(at, ..)| *at).min();
            let running = self.hosts.iter().filter(|host| host.is_running);
            let deadline = running.filter_map(|host| host.sessions.deadline()).min();
            let next = arrival.into_iter().chain(deadline).min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let now = self.now;
            let (due, flying): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.flying).into_iter().partition(|(at, ..)| *at <= now);
            self.flying = flying;
            for (_, host, bytes) in due {
                if self.hosts[host].is_running {
                    self.deliver(host, 255, &bytes);
                }
            }
            for host in 0..2 {
                let is_due = self.hosts[host].sessions.deadline().is_some_and(|at| at <= now);
                if is_due && self.hosts[host].is_running {
                    self.act(host, Input::Wake);
                    let next = self.hosts[host].sessions.deadline();
                    assert!(next.is_none_or(|at| at > now), "a deadline that was handled is over");
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, host: usize, hop_limit: u8, bytes: &[u8]) {
        let (source, destination) = (self.hosts[1 - host].address, self.hosts[host].address);
        let datagram = Datagram { source, destination, hop_limit, is_multihop: false, bytes };
        self.act(host, Input::Received(datagram));
    }

    fn status(&self, host: usize) -> SessionStatus {
        self.hosts[host].sessions.status(self.now).remove(0)
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|host| self.status(host).state)
    }

    /// How often the session of a host went down.
    fn downs(&self, host: usize) -> u64 {
        self.status(host).went_down
    }

    fn last_level(&self, host: usize) -> &(Instant, Level) {
        self.hosts[host].levels.last().unwrap()
    }

    /// A packet that the host's neighbour might send, in reply to its discriminator.
    fn neighbors_packet(&self, host: usize) -> Packet {
        let (own, other) = (self.status(host), self.status(1 - host));
        Packet {
            diagnostic: Diagnostic::NONE,
            state: other.state,
            is_poll: false,
            is_final: false,
            is_demand: false,
            multiplier: 3,
            mine: other.discriminator,
            yours: own.discriminator,
            desired_tx: ms(50),
            required_rx: ms(50),
        }
    }

    /// The process of a host ends, and another one begins after a while.
    fn restart(&mut self, host: usize, handed: &[SessionHandover], pause: Duration) {
        self.hosts[host].is_running = false;
        self.run(pause);
        self.hosts[host].sessions = Sessions::new(self.rng.u64(..));
        self.hosts[host].is_running = true;
        self.act(host, Input::Inherited(handed));
        self.configure(host);
    }
}

fn bytes(packet: Packet) -> [u8; LENGTH] {
    encode(&packet)
}
