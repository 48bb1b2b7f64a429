//! What an input costs does not grow with the configuration: counted in steps, and witnessed by the processor's time
//! for what is not counted.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::scenarios::{real_server, spec, tcp_server};
use crate::check::outcome::{Outcome, Phase};
use crate::check::schedule::RunId;
use crate::config::{Config, Global, RealServer, VirtualServer, VirtualServerId};
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::colocation::LocalAddresses;
use crate::director::colocation::placement::IngressMarks;
use crate::director::io::{Effect, Input};
use crate::director::reconcile::Request;
use crate::director::state::State;
use crate::director::vrrp_link::HostForwards;
use crate::director::{Director, steps};
use crate::ipvs::backend::Backend;
use crate::ipvs::memory::MemoryBackend;
use crate::ipvs::types::Protocol;
use crate::time::Instant;
use crate::vrrp::sim::scale::thread_time;

/// Outcomes of which the cost is measured.
const SAMPLE: usize = 1000;

/// What the outcomes of a sample cost on average, with the question when to wake.
#[derive(Clone, Copy, Debug)]
struct Cost {
    steps: usize,
    time: Duration,
}

/// Its name, what it costs with so many real servers, and with how many that is asked.
type Situation = (&'static str, fn(u32) -> Cost, [u32; 3]);

/// A director with its kernel, whose real servers answer at once.
struct Machine {
    director: Director,
    kernel: MemoryBackend,
    now: Instant,
    runs: VecDeque<RunId>,
    requests: VecDeque<Request>,
    /// When each real server was asked.
    asked: BTreeMap<SocketAddr, Vec<Instant>>,
    /// The kernel says nothing.
    is_mute: bool,
}

impl Machine {
    fn new(config: Config) -> Machine {
        let now = Instant::ZERO;
        let director = Director::new(Arc::new(config), State::default(), 1, now);
        let (runs, requests, asked) = (VecDeque::new(), VecDeque::new(), BTreeMap::new());
        let mut machine =
            Machine { director, kernel: MemoryBackend::new(), now, runs, requests, asked, is_mute: false };
        // Most hosts do not forward IPv6.
        machine.tell(Input::Host(HostForwards { ipv4: true, ipv6: false }));
        machine
    }

    fn tell(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.director.handle(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                Effect::StartProbe { run, spec, .. } => {
                    self.asked.entry(spec.target.address).or_default().push(self.now);
                    self.runs.push_back(run);
                }
                Effect::Kernel(request) => self.requests.push_back(request),
                Effect::Mark(fwmark_rules) => {
                    let marked = fwmark_rules.iter().map(|fwmark_rule| fwmark_rule.mark).collect();
                    self.tell(Input::IngressMarks(IngressMarks { marked, cannot_mark: false }));
                }
                _ => {}
            }
        }
    }

    /// Does the next thing that happens until then, but for outcomes: whether there was one.
    fn step(&mut self, end: Instant) -> bool {
        let answered = if self.is_mute { None } else { self.requests.pop_front() };
        if let Some(request) = answered {
            let answer = match request {
                Request::Snapshot(scope) => Input::Snapshot(self.kernel.snapshot(&scope)),
                Request::Apply(ops) => Input::Applied(self.kernel.apply(&ops)),
            };
            self.tell(answer);
            return true;
        }
        let next = self.now.max(self.director.deadline().expect("a check is due"));
        if next <= end {
            self.now = next;
            self.tell(Input::Wake);
        }
        next <= end
    }

    fn pass(&mut self) {
        if let Some(run) = self.runs.pop_front() {
            self.tell(Input::ProbeDone { run, outcome: Outcome::pass("connected") });
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while !self.runs.is_empty() || self.step(end) {
            self.pass();
        }
        self.now = end;
    }

    /// The least of some samples: a machine that does other things as well makes them dearer.
    fn sample(&mut self) -> Cost {
        let samples = (0..3).map(|_| self.one_sample());
        samples.min_by_key(|cost| cost.time).expect("three")
    }

    fn one_sample(&mut self) -> Cost {
        let mut cost = Cost { steps: 0, time: Duration::ZERO };
        for _ in 0..SAMPLE {
            while self.runs.is_empty() {
                self.step(Instant::from_nanos(u64::MAX));
            }
            let (steps, begin) = (steps::taken(), thread_time());
            self.pass();
            let _ = self.director.deadline();
            cost.time += thread_time() - begin;
            cost.steps += steps::taken() - steps;
        }
        Cost { steps: cost.steps / SAMPLE, time: cost.time / u32::try_from(SAMPLE).unwrap() }
    }
}

fn real(n: u32) -> Arc<RealServer> {
    let [_, b, c, d] = n.to_be_bytes();
    let mut real = real_server(1);
    Arc::make_mut(&mut real).address = SocketAddr::from(([10, b, c, d], 80));
    spec(&mut real).target.address = real.address;
    real
}

fn virtual_server(n: u32, real_servers: Vec<Arc<RealServer>>) -> VirtualServer {
    let [_, b, c, d] = n.to_be_bytes();
    let address = IpAddr::from([11, b, c, d]);
    let id = VirtualServerId::Address { protocol: Protocol::Tcp, address, port: 80 };
    VirtualServer { id, real_servers, ..tcp_server() }
}

/// Virtual servers of ten real servers each, none of which is another's.
fn configuration(real_servers: u32) -> Config {
    let asked_each_minute = |n: u32| {
        let mut real = real(n);
        Arc::make_mut(&mut spec(&mut real).timing).interval = Duration::from_secs(60);
        real
    };
    let reals = |n: u32| (n * 10..n * 10 + 10).map(asked_each_minute).collect();
    let virtual_servers = (0..real_servers / 10).map(|n| virtual_server(n, reals(n))).collect();
    let global = Global { quorum_counts: true, ..Global::default() };
    Config { global, virtual_servers, ..Config::default() }
}

fn converged(config: Config) -> Machine {
    let mut machine = Machine::new(config);
    machine.run(Duration::from_secs(10));
    assert!(machine.director.is_ready() && machine.director.is_in_sync());
    machine
}

/// While the table is as it should be.
fn at_rest(real_servers: u32) -> Cost {
    converged(configuration(real_servers)).sample()
}

/// First verdicts while the kernel has not answered.
fn at_the_start(real_servers: u32) -> Cost {
    let mut machine = Machine::new(configuration(real_servers));
    machine.is_mute = true;
    machine.sample()
}

/// Where this host is one of the real servers of every virtual server.
fn colocated(real_servers: u32) -> Cost {
    let mut config = configuration(real_servers);
    config.virtual_servers.iter_mut().for_each(|server| server.real_servers.push(real(9_999_999)));
    let own: IpAddr = real(9_999_999).address.ip();
    let mut machine = Machine::new(config);
    machine.tell(Input::LocalAddresses(LocalAddresses {
        own: [own].into(),
        on_network: [own].into(),
        ..LocalAddresses::default()
    }));
    machine.run(Duration::from_secs(10));
    machine.sample()
}

/// While real servers of many virtual servers serve their last connections.
fn leaving(real_servers: u32) -> Cost {
    let mut machine = converged(configuration(real_servers));
    for n in (0..real_servers).step_by(10) {
        let selector = Selector { address: real(n).address.ip(), port: None, virtual_server: None };
        let change = OverrideChange::Drain { limit: Duration::from_secs(200) };
        machine.tell(Input::Override { selector, change });
    }
    machine.is_mute = true;
    machine.sample()
}

#[test]
fn an_outcome_costs_the_same_with_a_hundred_real_servers_and_with_fifty_thousand() {
    let situations: [Situation; 4] = [
        ("at rest", at_rest, [100, 10_000, 50_000]),
        // Each outcome is the first of its server.
        ("at the start", at_the_start, [4000, 10_000, 50_000]),
        ("co-located", colocated, [100, 10_000, 50_000]),
        ("leaving", leaving, [100, 1000, 10_000]),
    ];
    for (name, cost, sizes) in situations {
        let [few, many, most] = sizes.map(|size| (size, cost(size)));
        println!("{name}: {few:?}, {many:?}, {most:?}");
        for more in [many, most] {
            assert!(more.1.steps <= few.1.steps + 1, "{name}: {few:?} and {more:?}");
            assert!(more.1.time < few.1.time * 8, "{name}: {few:?} and {more:?}");
        }
    }
}

#[test]
fn start_and_reload_cost_each_virtual_server_the_same_though_all_ask_the_same_servers() {
    let few = shared(2000);
    let many = shared(16_000);
    println!("2,000: {few:?}, 16,000: {many:?}");
    for (few, many) in few.into_iter().zip(many) {
        assert!(many < few * 24, "eight times as many virtual servers: {few:?} and {many:?}");
    }
}

/// A start, a reload of the same, of other checks of the same servers, and of nothing but one virtual server.
fn shared(virtual_servers: u32) -> [Duration; 4] {
    let reals: Vec<_> = (1..=4).map(real).collect();
    let all = |reals: &Vec<Arc<RealServer>>| {
        let virtual_servers = (0..virtual_servers).map(|n| virtual_server(n, reals.clone())).collect();
        Arc::new(Config { virtual_servers, ..Config::default() })
    };
    let config = all(&reals);
    let mut others = reals.clone();
    others.iter_mut().for_each(|real| spec(real).target.connect_timeout = Duration::from_secs(9));
    let one = Config { virtual_servers: vec![virtual_server(0, others.clone())], ..Config::default() };
    let others = all(&others);
    let begin = thread_time();
    let mut director = Director::new(Arc::clone(&config), State::default(), 1, Instant::ZERO);
    let start = thread_time() - begin;
    let mut reload = |config| {
        let begin = thread_time();
        director.handle(Instant::ZERO, Input::Reload(config), &mut Vec::new());
        thread_time() - begin
    };
    [start, reload(config), reload(others), reload(Arc::new(one))]
}

#[test]
fn results_shared_by_a_thousand_virtual_servers_do_not_recompute_each_of_them_a_hundred_times() {
    let reals: Vec<_> = (1..=100).map(real).collect();
    let virtual_servers = (0..1000).map(|n| virtual_server(n, reals.clone())).collect();
    let mut machine = Machine::new(Config { virtual_servers, ..Config::default() });
    machine.is_mute = true;
    while machine.runs.len() < 100 {
        machine.now = machine.now.max(machine.director.deadline().expect("all are to be asked"));
        machine.tell(Input::Wake);
    }
    let begin = steps::taken();
    for run in std::mem::take(&mut machine.runs) {
        machine.now = machine.now + Duration::from_micros(100);
        let outcome = Outcome::fail(Phase::Connect, "connection refused");
        machine.tell(Input::ProbeDone { run, outcome });
    }
    machine.now = machine.now + Duration::from_secs(1);
    machine.tell(Input::Wake);
    let taken = steps::taken() - begin;
    println!("{taken} steps");
    let is_down = |p: &crate::director::pool::Pool| p.members.values().all(|member| !member.is_up);
    assert!(machine.director.pools.values().all(is_down));
    assert!(taken < 1_000_000, "{taken} steps for 100 verdicts about 100,000 real servers");
}

#[test]
fn first_verdicts_come_within_a_second_and_checks_are_spread_over_their_interval_from_then_on() {
    const MINUTE: Duration = Duration::from_secs(60);
    let mut config = configuration(1000);
    let mut machine = Machine::new(config.clone());
    machine.run(Duration::from_secs(2));
    let asked = |machine: &mut Machine| std::mem::take(&mut machine.asked);
    let first = asked(&mut machine);
    let is_soon = |times: &Vec<Instant>| times[0] <= Instant::ZERO + Duration::from_secs(1);
    assert!(first.len() == 1000 && first.values().all(is_soon), "at the start");
    let spread = |asked: &BTreeMap<SocketAddr, Vec<Instant>>| {
        let mut seconds = [0; 60];
        for at in asked.values().flatten() {
            let second = at.since(Instant::ZERO).as_secs() % 60;
            seconds[usize::try_from(second).unwrap()] += 1;
        }
        (seconds.iter().min().copied(), seconds.iter().max().copied())
    };
    machine.run(MINUTE);
    let second = asked(&mut machine);
    machine.run(MINUTE);
    let third = asked(&mut machine);
    for minute in [&second, &third] {
        assert!(minute.values().all(|times| times.len() == 1), "each once a minute");
        assert!(
            spread(minute) >= (Some(14), Some(0)) && spread(minute).1 <= Some(19),
            "{:?}",
            spread(minute)
        );
    }
    let turns = |asked: &BTreeMap<SocketAddr, Vec<Instant>>| -> BTreeMap<SocketAddr, u128> {
        let turn = |at: &Vec<Instant>| at[0].since(Instant::ZERO).as_nanos() % MINUTE.as_nanos();
        asked.iter().map(|(real, at)| (*real, turn(at))).collect()
    };
    assert_eq!(turns(&third), turns(&second), "no drift");
    // One half goes on, the other is asked something else.
    let reals = config.virtual_servers.iter_mut().flat_map(|server| &mut server.real_servers);
    for real in reals.step_by(2) {
        spec(real).target.connect_timeout = Duration::from_secs(9);
    }
    machine.tell(Input::Reload(Arc::new(config)));
    machine.run(Duration::from_secs(2));
    assert!(asked(&mut machine).len() >= 500, "again within a second");
    machine.run(MINUTE);
    asked(&mut machine);
    machine.run(MINUTE);
    assert_eq!(turns(&asked(&mut machine)), turns(&second), "a reload keeps everybody's turn");
}
