//! The demonstration's second part: two directors, one VIP, a client that asks a hundred times a second. The Master is
//! stopped, its daemon is killed, its cable is cut; each time it returns. The output shows which host holds the VIP, as
//! rtnetlink tells, and what the client counted; the summary says how many requests were lost, and how long the slowest
//! took.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::load::Load;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim};

const CONF: &str = include_str!("director.conf");
/// Between two lines.
const TICK: Duration = Duration::from_millis(500);
/// How long each quiet part lasts.
const PART: Duration = seconds(3);
/// How long a request waits before it is lost.
const PATIENCE: Duration = seconds(3);
/// How long the VIP may take to move.
const MOVE: Duration = seconds(20);

/// A way for the Master to go, and to return.
struct Way {
    text: &'static str,
    name: &'static str,
    go: fn(&Lab, &mut Node) -> Verdict,
    come: fn(&Lab, &mut Node) -> Verdict,
}

const WAYS: [Way; 3] = [
    Way {
        text: "d1 is stopped (SIGTERM)",
        name: "stopped",
        go: |_, node| node.end(Signal::TERM),
        come: |lab, node| node.start(lab),
    },
    Way {
        text: "lvsd on d1 is killed (kill -9); its guardian sends priority 0",
        name: "killed",
        go: |_, node| node.kill_main(),
        come: |lab, node| node.start(lab),
    },
    Way {
        text: "d1's cable is cut: no host sends priority 0",
        name: "cut off",
        go: |lab, _| lab.cut("d1", "eth0"),
        come: |lab, _| lab.mend("d1", "eth0"),
    },
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    let file = |priority: u8| format!("$PRIORITY={priority}\n{CONF}");
    let mut first = Node::new(lab, "d1", Make::Lvsd, &file(150))?;
    let mut second = Node::new(lab, "d2", Make::Lvsd, &file(100))?;
    println!(
        "\nTwo directors share the VIP {VIP}: d1 with priority 150, d2 with 100, an advertisement a second. A client\n\
         asks http://{VIP}/ a hundred times a second; two real servers answer (DR).\n"
    );
    first.start(lab)?;
    second.start(lab)?;
    let show = Show { segment: &segment, load: None, started: Instant::now() };
    show.watch("both start; d1 becomes Master", "d1", MOVE)?;
    let load = Load::start(&segment.client, &format!("http://{VIP}/"), 100);
    load.wait_for_answers(20)?;
    let show = Show { load: Some(&load), ..show };
    show.quiet("all is well", PART)?;

    let mut told = String::new();
    for way in WAYS {
        load.slowest();
        let before = load.so_far().1;
        let begun = Instant::now();
        println!("== {}", way.text);
        (way.go)(lab, &mut first)?;
        let moved = segment.holders.wait("d2", VIP.into(), true, begun, MOVE)?;
        let moved = moved.saturating_duration_since(begun);
        show.quiet("d2 is Master", PART + PATIENCE)?;
        let (gone, slowest) = (load.so_far().1, load.slowest());
        (way.come)(lab, &mut first)?;
        show.watch("d1 returns and takes the VIP back", "d1", MOVE)?;
        show.quiet("d1 is Master", PART + PATIENCE)?;
        let _ = writeln!(
            told,
            "  {:<9} {:>14.2} s {:>16.2} s {:>20} {:>15}",
            way.name,
            moved.as_secs_f64(),
            slowest.as_secs_f64(),
            gone - before,
            load.so_far().1 - gone
        );
    }
    let hits = load.stop()?;
    println!("\n  d1 was    VIP on d2 after     slowest answer   lost when it went   when it came");
    println!("{told}\n  requests answered {}, lost {}", hits.total_answered(), hits.total_failed());
    first.end(Signal::TERM)?;
    second.end(Signal::TERM)
}

struct Show<'a> {
    segment: &'a Segment,
    load: Option<&'a Load>,
    started: Instant,
}

impl Show<'_> {
    /// Shows what happens until a director alone holds the VIP.
    fn watch(&self, text: &str, director: &str, most: Duration) -> Verdict {
        println!("== {text}");
        let begun = Instant::now();
        loop {
            let holders = self.line();
            if holders == [director] {
                return Ok(());
            }
            claim(begun.elapsed() < most, || format!("{director} does not get the VIP: {holders:?}"))?;
            pause(TICK);
        }
    }

    /// Shows what happens for this long.
    fn quiet(&self, text: &str, time: Duration) -> Verdict {
        println!("== {text}");
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.line();
            pause(TICK);
        }
        Ok(())
    }

    /// Prints one line; returns the host that holds the VIP.
    fn line(&self) -> Vec<String> {
        let holders = self.segment.holders.at(VIP.into(), Instant::now());
        let held = if holders.is_empty() { "nobody".to_owned() } else { holders.join(" and ") };
        let (answered, failed) = self.load.map(Load::so_far).unwrap_or_default();
        let time = self.started.elapsed().as_secs_f64();
        println!("{time:6.1} s  the VIP is on {held:<9}  answered {answered:>6}  lost {failed:>4}");
        holders
    }
}
