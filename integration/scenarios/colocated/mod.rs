//! Two nodes that are director and real server, from a file that is everywhere: under plain keepalived a quarter of the
//! clients and half of the nodes' own requests go round until they die. Under lvsd none does, in every order of start,
//! failover, failback, crash and change-over. Prints both columns.

mod fallback;
mod lifecycle;
mod pair;
mod persistence;

use std::collections::BTreeMap;
use std::fmt;

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim};

pub(super) use fallback::run as run_fallback;
use pair::{Director, Pair, Round};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let pair = Pair::build(lab)?;
    let mut ledger = Ledger::default();
    ledger.life(lab, &pair, &Director::Keepalived)?;
    pair.bare()?;
    ledger.life(lab, &pair, &Director::Lvsd)?;
    lab.note(ledger.to_string());
    ledger.judge(lab)?;
    lifecycle::orders_of_start(lab, &pair)?;
    lifecycle::families_and_tunnels(lab, &pair)?;
    lifecycle::change_over(lab, &pair)?;
    lifecycle::network_changes(lab, &pair)?;
    lifecycle::ends(lab, &pair)
}

/// Clients stay at their node across failovers.
pub(super) fn run_persistence(lab: &mut Lab) -> Verdict {
    let pair = Pair::build(lab)?;
    persistence::holds(lab, &pair)
}

/// What came of each situation, under each director.
#[derive(Default)]
struct Ledger {
    rows: Vec<String>,
    rounds: BTreeMap<(String, &'static str), Round>,
}

impl Ledger {
    /// A pair's life, from its start to its masters' deaths.
    fn life(&mut self, lab: &Lab, pair: &Pair, director: &Director) -> Verdict {
        let mut a = Some(director.start(lab, &pair.a)?);
        let mut b = Some(director.start(lab, &pair.b)?);
        director.vip_to(pair, &pair.a)?;
        director.wait_until_whole(&[&pair.a, &pair.b])?;
        self.round(lab, pair, director, "a is master")?;
        self.round(lab, pair, director, "once more")?;
        self.own(lab, pair, director, "requests of a")?;
        self.own(lab, pair, director, "requests of b")?;

        end(&mut a, director)?;
        director.vip_to(pair, &pair.b)?;
        self.round(lab, pair, director, "a ended, b is master")?;
        a = Some(director.start(lab, &pair.a)?);
        director.vip_to(pair, &pair.a)?;
        director.wait_until_whole(&[&pair.a, &pair.b])?;
        self.round(lab, pair, director, "a is back")?;

        director.kill(&mut a)?;
        director.vip_to(pair, &pair.b)?;
        self.round(lab, pair, director, "kill -9 of a, b is master")?;
        self.own(lab, pair, director, "requests of b then")?;
        a = Some(director.start(lab, &pair.a)?);
        director.vip_to(pair, &pair.a)?;
        director.wait_until_whole(&[&pair.a, &pair.b])?;
        self.round(lab, pair, director, "a was started again")?;
        end(&mut a, director)?;
        end(&mut b, director)
    }

    fn round(&mut self, lab: &Lab, pair: &Pair, director: &Director, row: &str) -> Verdict {
        self.add(lab, director, row, pair.clients_ask()?);
        Ok(())
    }

    fn own(&mut self, lab: &Lab, pair: &Pair, director: &Director, row: &str) -> Verdict {
        let host = if row.contains(" a") { &pair.a } else { &pair.b };
        self.add(lab, director, row, pair.asks_itself(host)?);
        Ok(())
    }

    fn add(&mut self, lab: &Lab, director: &Director, row: &str, round: Round) {
        lab.step(format!("{}: {row}: {round}", director.name()));
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        self.rounds.insert((row.to_owned(), director.name()), round);
    }

    /// Under lvsd every request succeeds, nothing goes round, clients stay where they were; under keepalived the same
    /// file fails, or this scenario shows nothing.
    fn judge(&self, lab: &Lab) -> Verdict {
        let of = |row: &str, name| self.rounds.get(&(row.to_owned(), name));
        for row in &self.rows {
            let Some(round) = of(row, "lvsd") else { continue };
            round.judge(lab, &format!("lvsd: {row}"))?;
        }
        let both = of("a is master", "lvsd").ok_or("no first round")?;
        claim(both.answered.len() == 2, || format!("not both serve: {both}"))?;
        let again = of("once more", "lvsd").ok_or("no second round")?;
        claim(both.by_client == again.by_client, || format!("persistence does not hold: {both} / {again}"))?;
        let failures: u64 =
            self.rounds.iter().filter(|((_, n), _)| *n == "keepalived").map(|(_, r)| r.failed).sum();
        claim(failures > 0, || "nothing fails under keepalived: is the scenario broken?".to_owned())
    }
}

fn end(daemon: &mut Option<Daemon>, director: &Director) -> Verdict {
    if let Some(daemon) = daemon.take() {
        daemon.end(Signal::TERM)?;
    }
    // keepalived's parent ends before the table is empty.
    if matches!(director, Director::Keepalived) {
        pause(seconds(1));
    }
    Ok(())
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:28} {:38} lvsd", "", "keepalived and lvs_dr.sh")?;
        for row in &self.rows {
            let cell = |name| {
                let round = self.rounds.get(&(row.clone(), name));
                round.map_or("-".to_owned(), Round::to_string)
            };
            writeln!(f, "{row:28} {:38} {}", cell("keepalived"), cell("lvsd"))?;
        }
        Ok(())
    }
}
