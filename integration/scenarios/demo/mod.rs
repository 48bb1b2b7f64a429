//! The demonstration: a client asks a director's virtual server a hundred times a second; one of three real
//! servers dies and comes back. What is shown is the kernel's table as ipvsadm reads it, and what the servers
//! and the client counted; the summary says how many requests failed, and when.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, lvsd};
use crate::lab::load::Load;
use crate::lab::site::Site;
use crate::lab::topology::{REAL_SERVERS, VIP, front};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, judge, shell};

/// Between two pictures.
const TICK: Duration = Duration::from_millis(500);
/// How long each quiet part lasts.
const PART: Duration = seconds(5);
/// How long lvsd may take to notice a death or a return.
const NOTICE: Duration = seconds(15);
/// The real server that dies.
const VICTIM: &str = "rs2";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    site.expire_nodest_conn()?;
    let daemon = Daemon::lvsd(lab, &site.director, include_str!("keepalived.conf"))?;
    println!(
        "\nA client asks http://{VIP}/ a hundred times a second. lvsd on the director d1 checks three real"
    );
    println!(
        "servers and keeps the kernel's table true; the kernel sends each request to one of them (DR).\n"
    );
    let mut show = Show::new(site.load()?);

    show.watch(&mut site, "all is well", PART, |_| false)?;
    let before = show.load.so_far().1;
    site.web(VICTIM)?.stop();
    let died = Instant::now();
    let text = format!("{VICTIM} dies: connections are refused");
    show.watch(&mut site, &text, NOTICE, |rows| !rows.contains_key(VICTIM))?;
    let noticed = died.elapsed();
    let during = show.load.so_far().1 - before;
    show.watch(&mut site, &format!("{VICTIM} is out of the table, the others serve"), PART, |_| false)?;
    site.web(VICTIM)?.resume()?;
    let text = format!("{VICTIM} is back");
    show.watch(&mut site, &text, NOTICE, |rows| rows.contains_key(VICTIM))?;
    show.watch(&mut site, &format!("{VICTIM} is in the table again"), PART, |_| false)?;

    let hits = show.load.stop()?;
    println!("\n  real server   requests answered");
    for name in REAL_SERVERS {
        println!("  {name:<13} {:>17}", hits.answered.get(name).copied().unwrap_or_default());
    }
    println!("  together      {:>17}", hits.total_answered());
    let otherwise = hits.total_failed().saturating_sub(during);
    println!("\n  failed requests");
    println!("  while {VICTIM} was dead and not yet noticed ({:.1} s) {during:>6}", noticed.as_secs_f64());
    println!("  at any other time                           {otherwise:>6}");
    // The first commands of a new user need no options.
    shell::usual_places(lab, &site.director)?;
    for command in [&["status"][..], &["why", "10.1.0.21"], &["check"], &["plan"]] {
        let said = lvsd(&site.director, command)?;
        claim(said.code == Some(0), || format!("lvsd {command:?}: {said:?}"))?;
    }
    if lab.is_interactive() {
        shell::run(lab, "d1")?;
    }
    daemon.end(Signal::TERM)?;
    claim(otherwise == 0, || format!("no request fails but those to a dead server: {hits}"))
}

/// A destination as ipvsadm shows it.
struct Row {
    weight: String,
    active: String,
}

/// The live table.
struct Show {
    load: Load,
    started: Instant,
    /// On a terminal the table is drawn over itself, elsewhere each picture is one line.
    live: bool,
    drawn: usize,
}

impl Show {
    fn new(load: Load) -> Show {
        Show { load, started: Instant::now(), live: std::env::var_os("LAB_TERMINAL").is_some(), drawn: 0 }
    }

    /// Shows what happens for this long, or until `done`.
    fn watch(
        &mut self,
        site: &mut Site,
        text: &str,
        most: Duration,
        done: impl Fn(&BTreeMap<&'static str, Row>) -> bool,
    ) -> Verdict {
        let begun = Instant::now();
        self.drawn = 0;
        println!("{}== {text}", if self.live { "\n" } else { "" });
        loop {
            let rows = rows(site)?;
            self.draw(site, &rows)?;
            if done(&rows) || begun.elapsed() >= most {
                return Ok(());
            }
            pause(TICK);
        }
    }

    fn draw(&mut self, site: &mut Site, rows: &BTreeMap<&'static str, Row>) -> Verdict {
        let time = self.started.elapsed().as_secs_f64();
        let (answered, failed) = self.load.so_far();
        let mut picture = Vec::new();
        if self.live {
            picture.push(format!("{VIP}:80 tcp wrr   {time:5.1} s   answered {answered}   failed {failed}"));
            picture.push("  real server      state     weight  active  requests".to_owned());
        }
        let mut line = format!("{time:5.1} s  answered {answered:>5} failed {failed:>3} ");
        for name in REAL_SERVERS {
            let served = site.web(name)?.served();
            let address = front(name).map_or_else(String::new, |[v4, _]| v4.to_string());
            let (state, weight, active) = match rows.get(name) {
                Some(row) if row.weight == "0" => ("quiesced", "0", row.active.as_str()),
                Some(row) => ("serving", row.weight.as_str(), row.active.as_str()),
                None => ("gone", "-", "-"),
            };
            if self.live {
                picture.push(format!(
                    "  {name:<4} {address:<11} {state:<9} {weight:>6}  {active:>6}  {served:>8}"
                ));
            }
            let _ = write!(line, " | {name} {state} w{weight} {served:>5}");
        }
        let mut out = std::io::stdout().lock();
        let mut text = String::new();
        if self.live {
            if self.drawn > 0 {
                let _ = write!(text, "\x1b[{}A", self.drawn);
            }
            for line in &picture {
                let _ = writeln!(text, "{line}\x1b[K");
            }
            self.drawn = picture.len();
        } else {
            let _ = writeln!(text, "{line}");
        }
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| format!("stdout: {e}"))
    }
}

/// The virtual server's destinations by host name, from `ipvsadm -Ln`.
fn rows(site: &Site) -> Result<BTreeMap<&'static str, Row>, String> {
    let text = judge::output(&site.director, &["ipvsadm", "-Ln"])?;
    let mut rows = BTreeMap::new();
    for name in REAL_SERVERS {
        let address = front(name).map_or_else(String::new, |[v4, _]| format!("{v4}:80"));
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["->", at, _, weight, active, ..] = &words[..]
                && *at == address
            {
                rows.insert(name, Row { weight: (*weight).to_owned(), active: (*active).to_owned() });
            }
        }
    }
    Ok(rows)
}
