//! Three directors, keepalived among two of lvsd: of two Backups the better one takes over and the other never speaks,
//! whichever the better one is; and a director that returns takes its former role.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::vrrp::frame::Advert;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, address};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, same};

const VRID: u8 = 51;
const CONF: &str = include_str!("director.conf");
const INTERVAL: Duration = Duration::from_millis(100);
const EXACT: Duration = Duration::from_millis(1);
const NAMES: [&str; 3] = ["d1", "d2", "d3"];
const PRIORITIES: [u32; 3] = [150, 120, 100];
/// Who is where: keepalived as the better Backup, then as the lesser one, then as the Master.
const MAKES: [[Make; 3]; 3] = [
    [Make::Lvsd, Make::Keepalived, Make::Lvsd],
    [Make::Lvsd, Make::Lvsd, Make::Keepalived],
    [Make::Keepalived, Make::Lvsd, Make::Lvsd],
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(3)?;
    for makes in MAKES {
        lab.step(makes.map(Make::name).join(", "));
        let three = NAMES.into_iter().zip(PRIORITIES).zip(makes);
        let nodes = three.map(|((name, priority), make)| {
            Node::new(lab, name, make, &format!("$PRIORITY={priority}\n{CONF}"))
        });
        let mut nodes: Vec<Node> = nodes.collect::<Result<_, _>>()?;
        let [first, second, third] = &mut nodes[..] else { return Err("not three".to_owned()) };

        let begun = Instant::now();
        for node in [&mut *first, second, third] {
            node.start(lab)?;
        }
        only(&segment, "d1", begun, None)?;
        let died = Instant::now();
        first.kill_all()?;
        only(&segment, "d2", died, Some(INTERVAL * 3 + skew(120)))?;
        let left = Instant::now();
        second.end(Signal::TERM)?;
        only(&segment, "d3", left, Some(skew(100)))?;
        let returned = Instant::now();
        second.start(lab)?;
        only(&segment, "d2", returned, None)?;
        let returned = Instant::now();
        first.start(lab)?;
        only(&segment, "d1", returned, None)?;
        for node in [third, second, first] {
            node.end(Signal::TERM)?;
            node.no_complaint()?;
        }
    }
    Ok(())
}

fn skew(priority: u32) -> Duration {
    INTERVAL * (256 - priority) / 256
}

/// Waits until a director speaks. From a moment later on it is the only one, and it alone holds the VIP; and it has
/// kept this silence, where that is said.
fn only(segment: &Segment, director: &str, from: Instant, silence: Option<Duration>) -> Verdict {
    let source = address(director)?;
    let is_it = |a: &Advert| a.vrid == VRID && a.source == source && a.priority > 0;
    let (spoke, _) = segment.tap.wait_advert(&format!("{director} speaks"), from, seconds(6), is_it)?;
    if let Some(want) = silence {
        let before = segment.tap.adverts(VRID, from - INTERVAL * 2, spoke);
        let last = before.iter().rev().find(|(at, a)| a.source != source && *at < spoke);
        let (last, _) = last.ok_or_else(|| format!("no director advertised before {director}"))?;
        let got = spoke.saturating_duration_since(*last);
        let off = got.max(want) - got.min(want);
        claim(off <= EXACT, || format!("{director} speaks after a silence of {got:?}, want {want:?}"))?;
    }
    pause(INTERVAL * 10);
    let now = Instant::now();
    // Who yields says one last word, at once.
    same("who speaks", &segment.tap.peers(VRID, spoke + EXACT, now), &vec![source])?;
    let mut holders = segment.holders.at(VIP.into(), now);
    // The first was killed whenever another one speaks here, and could not give it up.
    holders.retain(|h| h == director || h != "d1");
    same("who holds the VIP", &holders, &vec![director.to_owned()])
}
