//! A Master hands over to its next process, which comes at once, cannot start, comes late or never; and one whose
//! process stands still. The VIP is never on two hosts, nor on none, for longer than the protocol itself takes.
//!
//! The wire shows which host advertised when, rtnetlink which one held the VIP. The peer is keepalived, then lvsd.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, run_dir};
use crate::lab::vrrp::frame::Advert;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP, address};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("director.conf");
const VRID: u8 = 51;
const INTERVAL: Duration = seconds(1);
/// Silence after which the peer, of priority 100, takes over.
const MASTER_DOWN: Duration = Duration::from_micros(3_609_375);
/// What it waits for after priority 0.
const SKEW: Duration = Duration::from_micros(609_375);
/// What a busy machine may add: less than what would let the peer take over first.
const SLACK: Duration = seconds(1);

/// The director that hands over, and its peer.
struct Pair<'a> {
    lab: &'a Lab,
    segment: Segment,
    first: Node,
    second: Node,
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut segment = Some(lab.segment(2)?);
    for make in [Make::Keepalived, Make::Lvsd] {
        lab.step(format!("the peer is {}", make.name()));
        let mut pair = Pair {
            lab,
            segment: segment.take().ok_or("no segment")?,
            first: Node::new(lab, "d1", Make::Lvsd, &configuration(150))?,
            second: Node::new(lab, "d2", make, &configuration(100))?,
        };
        let told = pair.run_case().map_err(|e| format!("{}: {e}", make.name()))?;
        lab.note(told.join("\n"));
        segment = Some(pair.segment);
    }
    Ok(())
}

fn configuration(priority: u8) -> String {
    format!("$PRIORITY={priority}\n{CONF}")
}

impl Pair<'_> {
    fn run_case(&mut self) -> Result<Vec<String>, String> {
        let begun = Instant::now();
        self.second.start(self.lab)?;
        self.first.start(self.lab)?;
        self.is_master("d1", begun)?;
        let mut told = Vec::new();

        self.lab
            .step("the next process comes at once: no state changes, though its script takes two seconds");
        let from = Instant::now();
        self.first.hand_over()?;
        self.first.start(self.lab)?;
        pause(MASTER_DOWN + 2 * INTERVAL);
        let now = Instant::now();
        same("who spoke", &self.segment.tap.peers(VRID, from, now), &vec![address("d1")?])?;
        let changes = self.segment.holders.changes(VIP.into(), from, now);
        claim(changes.is_empty(), || format!("the VIP does not move: {changes:?}"))?;
        let log = self.first.log();
        claim(log.contains("handed over by a predecessor") && !log.contains("Master -> "), || log)?;

        self.lab.step("a typo, then a restart: it cannot start, and the peer takes over at once");
        let from = Instant::now();
        self.first.hand_over()?;
        self.first.rewrite(&configuration(150).replace("virtual_router_id", "virtual_ruter_id"))?;
        self.first.start(self.lab)?;
        same("exit code", &self.first.daemon()?.wait_exit(seconds(10))?, &78)?;
        let ended = Instant::now();
        told.push(self.gives_up("cannot start (78)", from, 2 * INTERVAL)?);
        self.gave_up_by(ended)?;
        self.first.rewrite(&configuration(150))?;
        self.returns()?;

        self.lab.step("the next process finds its metrics port taken away");
        let from = Instant::now();
        self.first.hand_over()?;
        let host = self.first.host.clone();
        let file = crate::lab::daemon::configure(self.lab, &host, &configuration(150))?;
        let more = ["--metrics", "192.0.2.1:9"];
        let mut failing = Daemon::start_lvsd(self.lab, &host, &file, &run_dir(&host), &more)?;
        same("exit code", &failing.wait_exit(seconds(10))?, &69)?;
        let ended = Instant::now();
        told.push(self.gives_up("cannot start (69)", from, 2 * INTERVAL)?);
        self.gave_up_by(ended)?;
        self.returns()?;

        self.lab.step("the next process comes late");
        let from = Instant::now();
        self.first.hand_over()?;
        told.push(self.gives_up("late", from, 2 * INTERVAL)?);
        let late = Instant::now();
        self.first.start(self.lab)?;
        self.is_master("d1", late)?;

        self.lab.step("the process is killed");
        let from = Instant::now();
        self.first.kill_main()?;
        told.push(self.gives_up("killed", from, Duration::ZERO)?);
        self.returns()?;

        self.lab.step("the process stands still, and goes on after the peer has taken over");
        let from = Instant::now();
        self.first.signal(Signal::STOP)?;
        told.push(self.gives_up("stands still", from, 7 * INTERVAL / 2)?);
        let woken = Instant::now();
        self.first.signal(Signal::CONT)?;
        self.is_master("d1", woken)?;

        self.first.end(Signal::TERM)?;
        self.second.end(Signal::TERM)?;
        Ok(told)
    }

    /// The first gives the VIP up in this time after its last advertisement, and the second has it in the protocol's.
    fn gives_up(&self, what: &str, from: Instant, within: Duration) -> Result<String, String> {
        let holders = &self.segment.holders;
        let patience = within + MASTER_DOWN + SLACK;
        let gone = holders.wait("d1", VIP.into(), false, from, patience)?;
        let taken = holders.wait("d2", VIP.into(), true, from, patience)?;
        // What the command itself takes on a busy machine is none of its time: it speaks once more when it hands over.
        let source = address("d1")?;
        let adverts = self.segment.tap.adverts(VRID, from, gone);
        let last = adverts.iter().rfind(|(_, a)| a.source == source && a.priority > 0).map(|(at, _)| *at);
        let kept = gone.saturating_duration_since(last.unwrap_or(from));
        claim(kept <= within + SLACK, || format!("{what}: the first keeps the VIP for {kept:?}"))?;
        let (both, none) = (gone.saturating_duration_since(taken), taken.saturating_duration_since(gone));
        claim(both.is_zero(), || format!("{what}: the VIP is on both for {both:?}"))?;
        claim(none <= SKEW + SLACK, || format!("{what}: the VIP is on none for {none:?}"))?;
        self.is_master("d2", from)?;
        Ok(format!(
            "{what:<18} kept for {:.3} s, then on none for {:.3} s",
            kept.as_secs_f64(),
            none.as_secs_f64()
        ))
    }

    /// A start that has failed leaves nothing to wait for, however long it took on a busy machine.
    fn gave_up_by(&self, ended: Instant) -> Verdict {
        let holders = self.segment.holders.at(VIP.into(), ended + SLACK);
        claim(!holders.contains(&"d1".to_owned()), || "a failed start is waited for".to_owned())
    }

    fn returns(&mut self) -> Verdict {
        let begun = Instant::now();
        self.first.start(self.lab)?;
        self.is_master("d1", begun)
    }

    /// A director is the only one that advertises, and the only one that has the VIP.
    fn is_master(&self, director: &str, from: Instant) -> Verdict {
        let source = address(director)?;
        let is_it = |a: &Advert| a.vrid == VRID && a.source == source && a.priority > 0;
        self.segment.tap.wait_advert(&format!("{director} speaks"), from, seconds(20), is_it)?;
        // A Master that was late when it yielded says one more word, an interval later.
        pause(4 * INTERVAL);
        let now = Instant::now();
        same("who speaks", &self.segment.tap.peers(VRID, now - INTERVAL * 3 / 2, now), &vec![source])?;
        same("who holds the VIP", &self.segment.holders.at(VIP.into(), now), &vec![director.to_owned()])
    }
}
