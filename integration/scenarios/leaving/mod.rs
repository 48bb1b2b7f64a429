//! Everything that makes a healthy server leave or return, under load, with the requests counted: reload, sorry
//! server, orders, restarts. Prints the table of lost requests; it must be empty of them.

pub(super) mod replaced;

use rustix::process::Signal;

use crate::lab::client::Hits;
use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir};
use crate::lab::load::Load;
use crate::lab::site::Site;
use crate::lab::{Lab, Verdict, claim};

const ALL: [&str; 3] = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];
const FULL: &str = include_str!("keepalived.conf");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let mut daemon = Daemon::lvsd(lab, &site.director, FULL)?;
    site.wait_for_serving(&ALL)?;
    let mut ledger = Ledger::default();

    ledger.count(&site, "a reload removes a real server", |site| {
        reload(lab, site, &daemon, &FULL.replace(&block("22"), ""))?;
        site.wait_for_serving(&["10.1.0.21:80", "10.1.0.23:80"])
    })?;
    ledger.count(&site, "a reload adds one, changes scheduler and weights", |site| {
        reload(
            lab,
            site,
            &daemon,
            &FULL.replace("lb_algo rr", "lb_algo wlc").replace("weight 1", "weight 3"),
        )?;
        site.wait_for_serving(&ALL)
    })?;
    ledger.count(&site, "a reload makes a real server the sorry server too", |site| {
        let sorry = "sorry_server 10.1.0.21 80";
        reload(lab, site, &daemon, &FULL.replace("sorry_server 10.1.0.29 80", sorry))?;
        site.wait_for_serving(&ALL)
    })?;
    reload(lab, &site, &daemon, FULL)?;

    for order in
        [["drain", "10.1.0.22"], ["undrain", "10.1.0.22"], ["drain", "10.1.0.21"], ["enable", "10.1.0.21"]]
    {
        let [verb, server] = order;
        let at = format!("{server}:80");
        ledger.count(&site, &format!("lvsd {verb}"), |site| {
            let socket = control(&run_dir(&site.director));
            let done = lvsd(&site.director, &[verb, server, "--control", &socket])?;
            claim(done.code == Some(0), || format!("{done:?}"))?;
            let serving: Vec<&str> = ALL.into_iter().filter(|a| verb != "drain" || *a != at).collect();
            site.wait_for_serving(&serving)
        })?;
    }

    site.web("rs1")?.set_health_status(500);
    site.web("rs2")?.set_health_status(500);
    ledger.count(&site, "quorum is lost: the sorry server relieves a healthy server", |site| {
        site.wait_for_serving(&["10.1.0.29:80"])
    })?;
    site.web("rs1")?.set_health_status(200);
    site.web("rs2")?.set_health_status(200);
    ledger
        .count(&site, "quorum is back: the sorry server is relieved", |site| site.wait_for_serving(&ALL))?;

    for (event, is_killed) in [("kill -9 and start", true), ("hand-over and start", false)] {
        let before = daemon;
        let mut after = None;
        ledger.count(&site, event, |site| {
            if is_killed {
                before.kill().map(drop)?
            } else {
                before.hand_over()?
            }
            after = Some(Daemon::lvsd(lab, &site.director, FULL)?);
            site.wait_for_serving(&ALL)
        })?;
        daemon = after.ok_or("lvsd was not started again")?;
    }

    print!("{ledger}");
    daemon.end(Signal::TERM)?;
    claim(ledger.0.iter().all(|(_, hits)| hits.total_failed() == 0), || {
        format!("no request is lost:\n{ledger}")
    })
}

fn reload(lab: &Lab, site: &Site, daemon: &Daemon, text: &str) -> Verdict {
    configure(lab, &site.director, text)?;
    daemon.reload()
}

/// A real server's block in the file.
fn block(last: &str) -> String {
    let begin = format!("    real_server 10.1.0.{last} 80 {{");
    let rest = FULL.split_once(&begin).map(|(_, rest)| rest).unwrap_or_default();
    let body = rest.split_once("\n    }\n").map(|(body, _)| body).unwrap_or_default();
    format!("{begin}{body}\n    }}\n")
}

/// Events, and what became of the requests made during them.
#[derive(Default)]
struct Ledger(Vec<(String, Hits)>);

impl Ledger {
    /// Counts the requests from before the event until a hundred answers after it.
    fn count(&mut self, site: &Site, event: &str, happens: impl FnOnce(&Site) -> Verdict) -> Verdict {
        let load: Load = site.load()?;
        happens(site).map_err(|e| format!("{event}: {e}"))?;
        load.wait_for_answers(100)?;
        self.0.push((event.to_owned(), load.stop()?));
        Ok(())
    }
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  {:<66} {:>8} {:>6}", "event", "requests", "lost")?;
        for (event, hits) in &self.0 {
            let all = hits.total_answered() + hits.total_failed();
            writeln!(f, "  {event:<66} {all:>8} {:>6}", hits.total_failed())?;
        }
        Ok(())
    }
}
