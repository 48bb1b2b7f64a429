//! The same file on two directors, in every flavour: they understand each other, the VIP moves both ways in the
//! protocol's time, is on exactly one of them 50 ms after each change, and neither complains of the other.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::vrrp::frame::Advert;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, VIP6, address, link_local};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, same};

/// A way two directors can speak.
struct Flavour {
    name: &'static str,
    conf: &'static str,
    vrids: &'static [u8],
    interval: Duration,
    vips: &'static [Vip],
    source: SourceKind,
}

/// Which VIP.
#[derive(Clone, Copy)]
enum Vip {
    V4,
    V6,
}

/// From which of its addresses a director speaks.
#[derive(Clone, Copy)]
enum SourceKind {
    V4,
    LinkLocal,
    Global6,
    /// IPv4 for the first VRID, the link-local address for the second.
    Both,
}

const SECOND: Duration = seconds(1);
const QUARTER: Duration = Duration::from_millis(250);
/// A change of Master is over for addresses after this.
const SETTLED: Duration = Duration::from_millis(50);
/// How far from the protocol's time a takeover may be on the wire.
const EXACT: Duration = Duration::from_millis(2);

macro_rules! flavour {
    ($name:literal, $vrids:expr, $interval:expr, $vips:expr, $source:expr) => {
        Flavour {
            name: $name,
            conf: include_str!(concat!($name, ".conf")),
            vrids: $vrids,
            interval: $interval,
            vips: $vips,
            source: $source,
        }
    };
}

const FLAVOURS: [Flavour; 13] = [
    flavour!("v2", &[51], SECOND, &[Vip::V4], SourceKind::V4),
    flavour!("v2-pass", &[53], SECOND, &[Vip::V4], SourceKind::V4),
    flavour!("v2-ah", &[54], SECOND, &[Vip::V4], SourceKind::V4),
    flavour!("v3", &[55], QUARTER, &[Vip::V4], SourceKind::V4),
    flavour!("v3-ip6", &[56], QUARTER, &[Vip::V6], SourceKind::LinkLocal),
    flavour!("v3-unicast", &[58], QUARTER, &[Vip::V4], SourceKind::V4),
    flavour!("v3-unicast6", &[59], QUARTER, &[Vip::V6], SourceKind::Global6),
    flavour!("v3-vmac", &[61], QUARTER, &[Vip::V4], SourceKind::V4),
    flavour!("v3-vmac6", &[62], QUARTER, &[Vip::V6], SourceKind::LinkLocal),
    flavour!("sync-group", &[71, 72], QUARTER, &[Vip::V4, Vip::V6], SourceKind::Both),
    flavour!("v2-hmac", &[64], SECOND, &[Vip::V4], SourceKind::V4),
    flavour!("v3-hmac", &[65], QUARTER, &[Vip::V4], SourceKind::V4),
    flavour!("v3-hmac6", &[66], QUARTER, &[Vip::V6], SourceKind::LinkLocal),
];

/// Debian's keepalived has no `auth_hmac`.
const OURS_ALONE: &str = "hmac";

/// The daemons of the first and the second director.
const PAIRS: [(Make, Make); 4] = [
    (Make::Keepalived, Make::Keepalived),
    (Make::Lvsd, Make::Keepalived),
    (Make::Keepalived, Make::Lvsd),
    (Make::Lvsd, Make::Lvsd),
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    let mut wrong = Vec::new();
    for (first, second) in PAIRS {
        let can = |make: Make, flavour: &Flavour| make == Make::Lvsd || !flavour.name.contains(OURS_ALONE);
        for flavour in FLAVOURS.iter().filter(|f| can(first, f) && can(second, f)) {
            let who = format!("{} {} and {}", flavour.name, first.name(), second.name());
            lab.step(&who);
            // The others are told, too: what a flavour breaks says much about why.
            if let Err(e) = Pair::new(lab, &segment, flavour, first, second).and_then(|mut p| p.run_case()) {
                lab.step(format!("wrong: {e}"));
                wrong.push(format!("{who}: {e}"));
            }
        }
    }
    claim(wrong.is_empty(), || wrong.join("\n"))
}

struct Pair<'a> {
    lab: &'a Lab,
    segment: &'a Segment,
    flavour: &'a Flavour,
    first: Node,
    second: Node,
}

impl<'a> Pair<'a> {
    fn new(
        lab: &'a Lab,
        segment: &'a Segment,
        flavour: &'a Flavour,
        first: Make,
        second: Make,
    ) -> Result<Pair<'a>, String> {
        let file = |priority: u8, own: u8, peer: u8| {
            format!("$PRIORITY={priority}\n$SELF={own}\n$PEER={peer}\n{}", flavour.conf)
        };
        Ok(Pair {
            lab,
            segment,
            flavour,
            first: Node::new(lab, "d1", first, &file(150, 1, 2))?,
            second: Node::new(lab, "d2", second, &file(100, 2, 1))?,
        })
    }

    fn run_case(&mut self) -> Verdict {
        let begun = Instant::now();
        self.first.start(self.lab)?;
        self.second.start(self.lab)?;
        self.is_master("d1", begun, None)?;

        // The first leaves: the second waits its skew. It returns: the second yields at its first word.
        let left = Instant::now();
        self.first.end(Signal::TERM)?;
        self.is_master("d2", left, Some(self.skew(100)))?;
        let returned = Instant::now();
        self.first.start(self.lab)?;
        self.is_master("d1", returned, None)?;

        // The second leaves and returns: no state changes.
        let quiet = Instant::now();
        self.second.end(Signal::TERM)?;
        self.second.start(self.lab)?;
        pause(self.flavour.interval * 5);
        let now = Instant::now();
        for vrid in self.flavour.vrids {
            let want = vec![self.source("d1", *vrid)?];
            same("who speaks while the second is away", &self.segment.tap.peers(*vrid, quiet, now), &want)?;
        }

        // It dies without a word.
        let killed = Instant::now();
        self.first.kill_all()?;
        self.is_master("d2", killed, Some(self.flavour.interval * 3 + self.skew(100)))?;
        self.first.start(self.lab)?;
        self.is_master("d1", killed + self.flavour.interval * 4, None)?;
        self.second.end(Signal::TERM)?;
        self.first.end(Signal::TERM)?;
        self.first.no_complaint()?;
        self.second.no_complaint()
    }

    /// Waits until a director speaks for every VRID. It then is the only one, and alone has the VIPs; and it has
    /// waited so long after the other's last word, where that is said.
    fn is_master(&self, director: &str, from: Instant, silence: Option<Duration>) -> Verdict {
        let tap = &self.segment.tap;
        let mut changed = from;
        for vrid in self.flavour.vrids {
            let source = self.source(director, *vrid)?;
            let is_it = |a: &Advert| a.vrid == *vrid && a.source == source && a.priority > 0;
            let what = format!("{director} speaks for VRID {vrid}");
            let (spoke, _) = tap.wait_advert(&what, from, seconds(15), is_it)?;
            changed = changed.max(spoke);
            let earlier = tap.adverts(*vrid, from.checked_sub(seconds(5)).unwrap_or(from), spoke);
            let last = earlier.iter().rev().find(|(at, a)| a.source != source && *at < spoke);
            if let (Some(want), Some((last, _))) = (silence, last) {
                let got = spoke.saturating_duration_since(*last);
                let off = got.max(want) - got.min(want);
                claim(off <= EXACT, || {
                    format!("{what} after the other's last word: want {want:?}, got {got:?}")
                })?;
            }
        }
        pause(SETTLED);
        let settled = changed + SETTLED;
        for vip in self.flavour.vips {
            let vip = vip.address();
            let mut holders = self.segment.holders.at(vip, settled);
            // Who was killed cannot give it up: kill -9 leaves it to the kernel.
            if silence.is_some_and(|s| s > self.flavour.interval) {
                holders.retain(|h| h == director);
            }
            same(&format!("who holds {vip}"), &holders, &vec![director.to_owned()])?;
        }
        pause(self.flavour.interval * 3);
        let now = Instant::now();
        for vrid in self.flavour.vrids {
            let want = vec![self.source(director, *vrid)?];
            same(&format!("who speaks for VRID {vrid}"), &tap.peers(*vrid, settled, now), &want)?;
        }
        Ok(())
    }

    fn skew(&self, priority: u32) -> Duration {
        self.flavour.interval * (256 - priority) / 256
    }

    fn source(&self, director: &str, vrid: u8) -> Result<IpAddr, String> {
        match self.flavour.source {
            SourceKind::LinkLocal => link_local(director),
            SourceKind::Both if self.flavour.vrids.first() != Some(&vrid) => link_local(director),
            SourceKind::V4 | SourceKind::Both => address(director),
            SourceKind::Global6 => {
                let number = director.trim_start_matches('d');
                format!("fd77::{number}").parse().map_err(|e| format!("{director}: {e}"))
            }
        }
    }
}

impl Vip {
    fn address(self) -> IpAddr {
        match self {
            Vip::V4 => VIP.into(),
            Vip::V6 => VIP6.into(),
        }
    }
}
