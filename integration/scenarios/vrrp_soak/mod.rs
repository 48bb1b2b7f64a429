//! A while of two directors' lives: everything that can happen to a pair, by chance, and after each burst of it a time
//! of calm, in which the one with the higher priority must come to be the only Master, alone with the VIP, and clients
//! must be answered. Now and then a director is migrated: the other make takes over its file.
//!
//! `LVSD_SOAK` and `LVSD_SOAK_SEED` mean what they mean for the scenario `soak`.

mod faults;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::soak::{Hours, host_time, length, nobody_panicked, seed};
use crate::lab::client::hits;
use crate::lab::topology::SWITCH;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::{Segment, VIP, WIRE, address};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// Its name.
pub(super) const NAME: &str = "vrrp-soak";

const VRID: u8 = 51;
const CONF: &str = include_str!("director.conf");
/// How long it lasts by default, in simulated time. Every start and every run of a script is a program executed,
/// which is what costs here.
const ORDINARY: Duration = seconds(600);
/// From the last event until the right one is Master: a start, a script's verdict, master-down, and a preemption.
const BOUND: Duration = seconds(20);
/// How long it must stay so.
const HOLD: Duration = seconds(10);
/// From then until clients are answered: an old Master's MAC address may be believed until its owner is asked.
const HEEDED: Duration = seconds(60);
/// Open descriptors no director of this size needs.
const DESCRIPTORS: usize = 80;
/// The makes a director may be of: mostly ours.
const MAKES: [Make; 3] = [Make::Lvsd, Make::Lvsd, Make::Keepalived];

/// A life under way.
struct Soak<'a> {
    lab: &'a Lab,
    segment: Segment,
    wire: PacketSocket,
    rng: fastrand::Rng,
    first: Director,
    second: Director,
    statistics: Statistics,
}

/// One of the two.
struct Director {
    name: &'static str,
    priority: u8,
    node: Node,
    /// Whether its daemon runs.
    runs: bool,
}

/// What came of it.
#[derive(Default)]
struct Statistics {
    rounds: u64,
    events: BTreeMap<&'static str, u64>,
    starts: u64,
    requests: u64,
    worst: Duration,
    makes: BTreeSet<&'static str>,
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let seed = seed()?;
    let Some(length) = length(ORDINARY)? else {
        return lab.skip("hours are for simulated time; LVSD_SOAK=20m asks for real ones");
    };
    lab.note(format!("seed {seed}: LVSD_SOAK_SEED={seed} repeats it"));
    let begun_by_host = host_time(lab, "begun")?;
    let segment = lab.segment(2)?;
    let wire = lab.host(SWITCH)?.enter(|| PacketSocket::open(WIRE))?;
    let mut rng = fastrand::Rng::with_seed(seed);
    let first = Director::new(lab, "d1", 150, pick(&mut rng))?;
    let second = Director::new(lab, "d2", 100, pick(&mut rng))?;
    let mut soak = Soak { lab, segment, wire, rng, first, second, statistics: Statistics::default() };
    let begun = Instant::now();
    soak.calm()?;
    let mut hours = Hours::default();
    while begun.elapsed() < length {
        soak.round()?;
        hours.tell(lab, begun.elapsed(), soak.statistics.rounds);
    }
    let mut memory = Vec::new();
    for Director { node, .. } in [&mut soak.first, &mut soak.second] {
        memory.push(format!("{} {} KiB", node.make.name(), node.daemon()?.memory()?));
        node.end(Signal::TERM)?;
    }
    let now = Instant::now();
    same("who holds the VIP in the end", &soak.segment.holders.at(VIP.into(), now), &Vec::new())?;
    let wall = host_time(lab, "ended")?.duration_since(begun_by_host).unwrap_or_default();
    lab.note(soak.statistics.summary(begun.elapsed(), wall, &memory.join(", ")));
    nobody_panicked(lab)
}

/// A make, by chance.
fn pick(rng: &mut fastrand::Rng) -> Make {
    rng.choice(MAKES).unwrap_or(Make::Lvsd)
}

impl Director {
    fn new(lab: &Lab, name: &'static str, priority: u8, make: Make) -> Result<Director, String> {
        let file = format!("$NAME={name}\n$PRIORITY={priority}\n{CONF}");
        Ok(Director { name, priority, node: Node::new(lab, name, make, &file)?, runs: false })
    }

    /// Its interface on the switch.
    fn port(&self) -> String {
        format!("{}-eth0", self.name)
    }
}

impl Soak<'_> {
    /// A burst of events, then calm.
    fn round(&mut self) -> Verdict {
        self.statistics.rounds += 1;
        for _ in 0..self.rng.u8(1..=5) {
            let Some((name, fault)) = faults::draw(&mut self.rng) else { continue };
            fault(self).map_err(|e| format!("{name}: {e}"))?;
            *self.statistics.events.entry(name).or_default() += 1;
            let most = self.rng.u64(..9_000);
            pause(Duration::from_millis(most));
        }
        self.calm()
    }

    /// Everything is mended and runs: the first comes to be Master, and stays so, and clients are answered.
    fn calm(&mut self) -> Verdict {
        faults::mend(self)?;
        let calm = Instant::now();
        let first = address(self.first.name)?;
        let mut right_since = calm;
        let mut wrong = String::new();
        while right_since.elapsed() < HOLD {
            pause(Duration::from_millis(500));
            let now = Instant::now();
            let holders = self.segment.holders.at(VIP.into(), now);
            let peers = self.segment.tap.peers(VRID, now - Duration::from_millis(1100), now);
            if holders != [self.first.name] || peers != [first] {
                right_since = now;
                wrong = format!("holders {holders:?}, peers {peers:?}");
            }
            let took = right_since.saturating_duration_since(calm);
            claim(took <= BOUND, || format!("{took:?} after the last event: {wrong}"))?;
        }
        self.statistics.worst = self.statistics.worst.max(right_since.saturating_duration_since(calm));
        wait_for("clients are answered", HEEDED, || {
            self.statistics.requests += 1;
            let hits = hits(&self.segment.client, 1, &format!("http://{VIP}/"))?;
            if hits.total_failed() == 0 { Ok(()) } else { Err(hits.to_string()) }
        })?;
        for director in [&mut self.first, &mut self.second] {
            let daemon = director.node.daemon()?;
            claim(daemon.is_running(), || format!("it has ended:\n{}", daemon.log_text()))?;
            let path = format!("/proc/{}/fd", daemon.pid());
            let open = std::fs::read_dir(&path).map_err(|e| format!("{path}: {e}"))?.count();
            claim(open < DESCRIPTORS, || format!("{open} open descriptors"))?;
        }
        Ok(())
    }

    /// Starts the directors that do not run.
    fn start(&mut self) -> Verdict {
        for director in [&mut self.first, &mut self.second] {
            if !std::mem::replace(&mut director.runs, true) {
                director.node.start(self.lab)?;
                self.statistics.starts += 1;
                self.statistics.makes.insert(director.node.make.name());
            }
        }
        Ok(())
    }

    /// One of the directors, by chance.
    fn any(&mut self) -> &mut Director {
        if self.rng.bool() { &mut self.first } else { &mut self.second }
    }
}

impl Statistics {
    fn summary(&self, lived: Duration, wall: Duration, memory: &str) -> String {
        let mut text = format!(
            "{:.2} hours lived in {:.0} s: {} rounds, {} starts of {:?}, {} requests\n",
            lived.as_secs_f64() / 3600.0,
            wall.as_secs_f64(),
            self.rounds,
            self.starts,
            self.makes,
            self.requests
        );
        let events: Vec<_> = self.events.iter().map(|(name, n)| format!("{name} {n}")).collect();
        let _ = writeln!(text, "events: {}", events.join(", "));
        let _ = writeln!(
            text,
            "longest from the last event to one Master that stayed: {:.1} s; at the end: {memory}",
            self.worst.as_secs_f64()
        );
        text
    }
}
