//! Invalid frames, sent to a running director, as Backup and as Master: its state and its timers, to the
//! millisecond, and its memory are as if they had never come. Then a flood of a hundred thousand frames a second of
//! virtual routers of others.

mod frames;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use self::frames::{Fate, Kind, LONG, PRIORITY, SENDER, THREE, TWO, VIP2, VIP3, all, good};
use crate::lab::daemon::status;
use crate::lab::topology::{SWITCH, batch};
use crate::lab::vrrp::frame::{Advert, Forged, message_v3};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::packet_socket::PacketSocket;
use crate::lab::vrrp::segment::{Segment, WIRE, address};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("director.conf");
const INTERVAL: Duration = seconds(1);
/// Three intervals, and the skew of priority 100.
const MASTER_DOWN: Duration = Duration::from_micros(3_609_375);
const EXACT: Duration = Duration::from_millis(2);
/// When, after the last good advertisement, the frames of a kind come.
const MOMENTS: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_millis(1300), Duration::from_millis(2900)];
/// Frames of the flood, and how many of them come together, a millisecond apart.
const FLOOD: usize = 100_000;
const BURST: usize = 100;
/// By how much memory may grow, in KiB: what a heap that was never asked so much before takes.
const GROWTH: u64 = 1024;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(1)?;
    // Jumbo frames pass between the switch and the director.
    batch(Some(SWITCH), &format!("link set d1-eth0 mtu {LONG}\nlink set {WIRE} mtu {LONG}\n"))?;
    batch(Some("d1"), &format!("link set eth0 mtu {LONG}\n"))?;
    let wire = lab.host(SWITCH)?.enter(|| PacketSocket::open(WIRE))?;
    let mut wrong = Vec::new();
    for make in [Make::Keepalived, Make::Lvsd] {
        let mut hostile = Hostile { segment: &segment, wire: &wire, node: Node::new(lab, "d1", make, CONF)? };
        let begun = Instant::now();
        hostile.node.start(lab)?;
        for vrid in [TWO, THREE] {
            hostile.speaks(vrid, begun)?;
        }
        let kinds = all();
        let memory = hostile.node.daemon()?.memory()?;
        for kind in &kinds {
            lab.step(format!("{}: {}", make.name(), kind.name));
            let judged = hostile.as_backup(kind).and_then(|()| hostile.as_master(kind));
            let judged = if make == Make::Keepalived && kind.beyond_keepalived {
                // What it is known to do wrong shows that this judge would see it.
                pause(MASTER_DOWN * 2);
                claim(judged.is_err(), || "keepalived passes what it is known to fail".to_owned())
            } else {
                judged.and_then(|()| hostile.said(kind))
            };
            if let Err(e) = judged {
                lab.step(format!("wrong: {e}"));
                wrong.push(format!("{}: {}: {e}", make.name(), kind.name));
                pause(MASTER_DOWN * 2);
            }
        }
        lab.step("a flood");
        let took = hostile.flood()?;
        let grown = hostile.node.daemon()?.memory()?.saturating_sub(memory);
        claim(grown <= GROWTH, || format!("{}: memory grew by {grown} KiB", make.name()))?;
        lab.note(format!(
            "{}: {} kinds, {} frames; a flood of {FLOOD} frames in {:.1} s; memory grew by {grown} KiB",
            make.name(),
            kinds.len(),
            kinds.iter().map(|k| k.frames.len() * (MOMENTS.len() * 2)).sum::<usize>(),
            took.as_secs_f64()
        ));
        if make == Make::Lvsd
            && let Err(e) = hostile.counted().and_then(|()| hostile.one_line_a_minute())
        {
            wrong.push(e);
        }
        hostile.node.end(Signal::TERM)?;
    }
    claim(wrong.is_empty(), || wrong.join("\n"))
}

struct Hostile<'a> {
    segment: &'a Segment,
    wire: &'a PacketSocket,
    node: Node,
}

impl Hostile<'_> {
    /// Waits until the director speaks for a VRID.
    fn speaks(&self, vrid: u8, from: Instant) -> Result<Instant, String> {
        let source = address("d1")?;
        let is_it = |a: &Advert| a.vrid == vrid && a.source == source && a.priority > 0;
        let tap = &self.segment.tap;
        tap.wait_advert(&format!("VRID {vrid}"), from, seconds(12), is_it).map(|(at, _)| at)
    }

    /// The director is Backup of a Master that dies. Frames that are ignored change nothing: it takes over after
    /// master-down, counted from the last good advertisement; one that is heard begins it anew.
    fn as_backup(&self, kind: &Kind) -> Verdict {
        let mut heard = Instant::now();
        self.send(&good(kind.vrid).frame())?;
        let vip = IpAddr::from(if kind.vrid == TWO { VIP2 } else { VIP3 });
        pause(INTERVAL / 2);
        same("who holds the VIP", &self.segment.holders.at(vip, Instant::now()), &Vec::new())?;
        let last = Instant::now();
        self.send(&good(kind.vrid).frame())?;
        for moment in MOMENTS {
            pause((last + moment).saturating_duration_since(Instant::now()));
            if kind.fate == Fate::Heard {
                heard = Instant::now();
            }
            self.all(kind)?;
        }
        if kind.fate == Fate::Ignored {
            heard = last;
        }
        // The VIP says who is Master; what is injected may look like the director's own word.
        let took = self.segment.holders.wait("d1", vip, true, last, seconds(12))?;
        let took = took.saturating_duration_since(heard);
        let off = took.max(MASTER_DOWN) - took.min(MASTER_DOWN);
        claim(off <= EXACT, || {
            format!("Backup takes over {took:?} after the last it should have heard, not {MASTER_DOWN:?}")
        })
    }

    /// The director is Master: it goes on speaking, an interval apart, unless it hears one that is above it.
    fn as_master(&self, kind: &Kind) -> Verdict {
        if kind.fate == Fate::Heard {
            return Ok(());
        }
        let from = self.speaks(kind.vrid, Instant::now())?;
        for moment in MOMENTS {
            pause((from + moment).saturating_duration_since(Instant::now()));
            self.all(kind)?;
        }
        pause((from + INTERVAL * 4 + EXACT).saturating_duration_since(Instant::now()));
        if self.node.make == Make::Keepalived {
            // keepalived begins its interval anew with every packet, the worst garbage included.
            return self.speaks(kind.vrid, from + MOMENTS[2]).map(drop);
        }
        self.on_time(kind.vrid, from, 5, EXACT)
    }

    /// From a moment on the director has spoken so often, an interval apart.
    fn on_time(&self, vrid: u8, from: Instant, times: usize, jitter: Duration) -> Verdict {
        let own = address("d1")?;
        let spoken: Vec<Instant> = self
            .segment
            .tap
            .adverts(vrid, from, Instant::now())
            .into_iter()
            .filter(|(_, a)| a.source == own && a.priority == 100)
            .map(|(at, _)| at)
            .collect();
        let beats: Vec<Duration> = spoken.iter().map(|at| at.saturating_duration_since(from)).collect();
        let missing = (0..times).find(|n| {
            let want = INTERVAL * u32::try_from(*n).unwrap_or(u32::MAX);
            !beats.iter().any(|b| (*b).max(want) - (*b).min(want) <= jitter)
        });
        claim(missing.is_none(), || format!("Master speaks every second; it spoke at {beats:?}"))
    }

    /// It says what is wrong, where keepalived has words for it.
    fn said(&self, kind: &Kind) -> Verdict {
        let log = self.node.log();
        claim(self.node.make == Make::Lvsd || log.contains(kind.words), || {
            format!("nothing about {:?} in its log", kind.words)
        })
    }

    /// Its status counts what it dropped, by kind, and the unknown VRIDs of the flood.
    fn counted(&self) -> Verdict {
        let status = status(&self.node.host)?;
        let dropped = |instance: usize| -> BTreeMap<String, u64> {
            let path = format!("/router/instances/{instance}/counters/dropped");
            status.pointer(&path).and_then(|d| serde_json::from_value(d.clone()).ok()).unwrap_or_default()
        };
        for (instance, least) in [(0, 7), (1, 6)] {
            let kinds = dropped(instance);
            claim(kinds.len() >= least && kinds.values().all(|n| *n >= 3), || {
                format!("kinds of dropped packets in its status: {kinds:?}")
            })?;
        }
        let unknown = status.pointer("/router/unknown_vrid").map(ToString::to_string).unwrap_or_default();
        claim(unknown.len() > "{}".len(), || format!("packets of unknown VRIDs in its status: {unknown}"))
    }

    /// What it says of dropped packets it says once a minute.
    fn one_line_a_minute(&self) -> Verdict {
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        for line in self.node.log().lines().filter(|l| l.contains(" was dropped: ")) {
            let (time, text) = line.split_once(' ').unwrap_or_default();
            let number = |from: usize, to: usize| time.get(from..to).and_then(|t| t.parse::<f64>().ok());
            let (Some(hours), Some(minutes), Some(seconds)) =
                (number(11, 13), number(14, 16), number(17, 26))
            else {
                return Err(format!("no time: {line}"));
            };
            let now = (hours * 60.0 + minutes) * 60.0 + seconds;
            let kind = text.split(" (").next().unwrap_or_default().to_owned();
            if let Some(before) = last.insert(kind, now) {
                // Midnight may come between.
                claim((now - before).rem_euclid(86400.0) >= 60.0, || format!("twice in a minute: {line}"))?;
            }
        }
        claim(last.len() >= 8, || format!("it says what it drops: {last:?}"))
    }

    /// A hundred thousand frames a second, each right in itself, for virtual routers this director has not.
    fn flood(&self) -> Result<Duration, String> {
        let from = self.speaks(TWO, Instant::now())?;
        let mut frames = Vec::new();
        for vrid in (1..=255).filter(|v| ![TWO, THREE].contains(v)) {
            frames.push(Forged::new(SENDER, message_v3(vrid, PRIORITY, 100, &[VIP3])).sum_v3().frame());
        }
        let begun = Instant::now();
        for (n, frame) in frames.iter().cycle().take(FLOOD).enumerate() {
            self.send(frame)?;
            if n % BURST == BURST - 1 {
                pause(Duration::from_millis(1));
            }
        }
        let took = begun.elapsed();
        pause((from + INTERVAL * 4 + EXACT).saturating_duration_since(Instant::now()));
        self.on_time(TWO, from, 5, INTERVAL / 4)?;
        Ok(took)
    }

    fn all(&self, kind: &Kind) -> Verdict {
        kind.frames.iter().try_for_each(|frame| self.send(frame))
    }

    fn send(&self, frame: &[u8]) -> Verdict {
        self.wire.send(frame).map_err(|e| format!("injecting {} bytes: {e}", frame.len()))
    }
}
