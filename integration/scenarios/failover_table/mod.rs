//! How long a failover takes: lvsd and keepalived, one after the other in one boot, with the same files, twenty times
//! for each interval and each way to go. What the protocol itself asks for is taken off: what remains is the daemon's.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};

use crate::lab::vrrp::failover::{Case, Failover};
use crate::lab::vrrp::frame::Advert;
use crate::lab::vrrp::node::{Make, Node, kill_at_once};
use crate::lab::vrrp::segment::{Segment, VIP, address};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict};

const VRID: u8 = 51;
const CONF: &str = include_str!("director.conf");
/// Runs of each cell, unless LVSD_RUNS says otherwise.
const RUNS: u32 = 20;
/// Whose tables are made.
const MAKES: [Make; 2] = [Make::Keepalived, Make::Lvsd];
/// The intervals, as a file writes them.
const INTERVALS: [(&str, Duration); 3] =
    [("1", seconds(1)), ("0.1", Duration::from_millis(100)), ("0.01", Duration::from_millis(10))];
/// The survivor's priority.
const PRIORITY: u32 = 100;

/// A way to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// SIGKILL to all its processes at once: nothing is left that could send priority 0.
    Killed,
    /// SIGKILL to the process that speaks VRRP. lvsd's guardian sends priority 0 for it; keepalived's parent starts another,
    /// which takes the VIP away and begins anew.
    Crashed,
    /// SIGTERM.
    Stopped,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Killed => "kill -9 all",
            Way::Crashed => "kill -9",
            Way::Stopped => "SIGTERM",
        }
    }
}

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let runs = match std::env::var("LVSD_RUNS") {
        Ok(text) => text.parse().map_err(|_| format!("LVSD_RUNS={text}: not a number"))?,
        Err(_) => RUNS,
    };
    let segment = lab.segment(2)?;
    let mut table = format!(
        "{:<11} {:>8} {:<11} {:>4}  {:>26}  {:>26}  {:>9}\n",
        "", "interval", "way", "runs", "T0 to VIP (ms)", "last to first advert (ms)", "- theory"
    );
    let _ = writeln!(
        table,
        "{:>38}  {:>26}  {:>26}  {:>9}",
        "", "median / min / max", "median / min / max", "median"
    );
    for make in MAKES {
        for (text, interval) in INTERVALS {
            for way in [Way::Killed, Way::Crashed, Way::Stopped] {
                let cell = Cell { lab, segment: &segment, make, text, interval, way };
                let measured = cell.measure(runs)?;
                let line = cell.line(&measured);
                lab.step(&line);
                table.push_str(&line);
                table.push('\n');
            }
        }
    }
    lab.note(table);
    Ok(())
}

struct Cell<'a> {
    lab: &'a Lab,
    segment: &'a Segment,
    make: Make,
    text: &'static str,
    interval: Duration,
    way: Way,
}

impl Cell<'_> {
    /// The VIP goes from the first to the second so often, at phases spread evenly over the last three quarters of
    /// the interval. The run before
    /// the first is not counted: what is executed for the first time costs more.
    fn measure(&self, runs: u32) -> Result<Vec<Failover>, String> {
        let file = |priority: u32| format!("$PRIORITY={priority}\n$INTERVAL={}\n{CONF}", self.text);
        let mut first = Node::new(self.lab, "d1", self.make, &file(150))?;
        let mut second = Node::new(self.lab, "d2", self.make, &file(PRIORITY))?;
        second.start(self.lab)?;
        let mut measured = Vec::new();
        for run in 0..=runs {
            let begun = Instant::now();
            first.start(self.lab)?;
            self.speaks("d1", begun)?;
            // The second has yielded and the first has spoken some more: nothing is left of the run before.
            pause(self.interval * 5);
            self.speaks("d1", Instant::now())?;
            // Not in the first quarter: one that is started anew then has waited long enough before the other has.
            pause(self.interval / 4 + self.interval * 3 / 4 * run / (runs + 1));
            let case = Case {
                segment: self.segment,
                vrid: VRID,
                vip: VIP.into(),
                from: address("d1")?,
                survivor: "d2",
                to: address("d2")?,
                patience: self.interval * 8 + seconds(1),
            };
            // Whom to kill is known before: looking for them takes time here.
            let (family, peer) = (first.family()?, first.peer()?);
            let failover = case.measure(|| match self.way {
                Way::Killed => {
                    kill_at_once(&family);
                    Ok(())
                }
                Way::Crashed => kill_process(peer, Signal::KILL).map_err(|e| format!("kill: {e}")),
                Way::Stopped => first.signal(Signal::TERM),
            })?;
            match self.way {
                Way::Killed => first.is_dead(&family)?,
                Way::Crashed => {
                    // What was started since goes, too.
                    first.kill_all()?;
                    first.is_dead(&family)?;
                }
                Way::Stopped => first.wait_end()?,
            }
            if run > 0 {
                measured.push(failover);
            }
        }
        second.end(Signal::TERM)?;
        Ok(measured)
    }

    fn speaks(&self, director: &str, from: Instant) -> Verdict {
        let source = address(director)?;
        let is_it = |a: &Advert| a.vrid == VRID && a.source == source && a.priority > 0;
        let patience = self.interval * 8 + seconds(2);
        self.segment.tap.wait_advert(&format!("{director} speaks"), from, patience, is_it).map(drop)
    }

    /// What the protocol asks for between the last word of the one and the first of the other.
    fn theory(&self) -> Duration {
        let skew = self.interval * (256 - PRIORITY) / 256;
        match self.way {
            Way::Killed => self.interval * 3 + skew,
            Way::Crashed if self.make == Make::Keepalived => self.interval * 3 + skew,
            Way::Crashed | Way::Stopped => skew,
        }
    }

    fn line(&self, measured: &[Failover]) -> String {
        let spread = |pick: fn(&Failover) -> Duration| {
            let mut all: Vec<f64> = measured.iter().map(|f| pick(f).as_secs_f64() * 1e3).collect();
            all.sort_by(f64::total_cmp);
            let at = |n: usize| all.get(n).copied().unwrap_or(f64::NAN);
            let upper = all.len() / 2;
            let lower = all.len().saturating_sub(1) / 2;
            (f64::midpoint(at(lower), at(upper)), at(0), at(all.len().saturating_sub(1)))
        };
        let (vip, vip_min, vip_max) = spread(|f| f.vip);
        let (silence, min, max) = spread(|f| f.silence);
        let theory = self.theory().as_secs_f64() * 1e3;
        format!(
            "{:<11} {:>6} s {:<11} {:>4}  {:>26}  {:>26}  {:>9.3}",
            self.make.name(),
            self.text,
            self.way.name(),
            measured.len(),
            format!("{vip:.2} / {vip_min:.2} / {vip_max:.2}"),
            format!("{silence:.2} / {min:.2} / {max:.2}"),
            silence - theory
        )
    }
}
