//! `ha_suspend`: without the VIP nothing is checked and what was found stands, in keepalived and lvsd. With the VIP lvsd
//! checks at once, keepalived when the next check is due.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, control, lvsd, run_dir, status};
use crate::lab::site::Site;
use crate::lab::topology::{VIP, batch};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// Longer than a check takes, much shorter than the interval of the file.
const AT_ONCE: Duration = Duration::from_millis(1500);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    for is_lvsd in [false, true] {
        let name = if is_lvsd { "lvsd" } else { "keepalived" };
        one(lab, &mut site, is_lvsd).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn one(lab: &Lab, site: &mut Site, is_lvsd: bool) -> Verdict {
    lab.step(if is_lvsd { "lvsd" } else { "keepalived" });
    let file = include_str!("checked.conf");
    let mut daemon = match is_lvsd {
        true => Daemon::lvsd(lab, &site.director, file)?,
        false => Daemon::keepalived(lab, &site.director, file)?,
    };
    site.web("rs1")?.stop();
    serve(site, &["10.1.0.22:80"], seconds(40))?;

    // The VIP is not here any more: neither a dead nor a living server is seen.
    has_vip(false)?;
    pause(seconds(2));
    site.web("rs1")?.resume()?;
    site.web("rs2")?.stop();
    let asked = site.web("rs1")?.checked();
    pause(seconds(120));
    same("who serves while the VIP is elsewhere", &serving(site)?, &vec!["10.1.0.22:80".to_owned()])?;
    same("checks meanwhile", &site.web("rs1")?.checked(), &asked)?;
    if is_lvsd {
        says(site, "checks are suspended because this host does not have 10.1.0.100")?;
        daemon.wait_log("are suspended: this host does not have 10.1.0.100", seconds(1))?;
        let why =
            lvsd(&site.director, &["why", "10.1.0.22", "--control", &control(&run_dir(&site.director))])?;
        claim(why.stdout.contains("suspended until this host has the VIP"), || why.stdout.clone())?;
    }

    let begun = Instant::now();
    has_vip(true)?;
    serve(site, &["10.1.0.21:80"], seconds(60))?;
    let took = begun.elapsed();
    lab.note(format!("right {:.2} s after the VIP came", took.as_secs_f64()));
    if is_lvsd {
        claim(took <= AT_ONCE, || format!("within {AT_ONCE:?}: {took:?}"))?;
        let shown = status(&site.director)?.to_string();
        claim(!shown.contains("suspended\":"), || format!("nothing is suspended: {shown}"))?;
    }
    site.web("rs2")?.resume()?;
    serve(site, &["10.1.0.21:80", "10.1.0.22:80"], seconds(60))?;
    daemon.end(Signal::TERM)
}

fn has_vip(here: bool) -> Verdict {
    let verb = if here { "add" } else { "del" };
    batch(Some("d1"), &format!("addr {verb} {VIP}/32 dev eth0\n"))
}

fn serving(site: &Site) -> Result<Vec<String>, String> {
    let table = site.table()?;
    Ok(table.serving("-t 10.1.0.100:80").into_iter().map(str::to_owned).collect())
}

fn serve(site: &Site, want: &[&str], patience: Duration) -> Verdict {
    let want: Vec<String> = want.iter().map(|at| (*at).to_owned()).collect();
    wait_for("who serves", patience, || same("who serves", &serving(site)?, &want))
}

fn says(site: &Site, words: &str) -> Verdict {
    let shown = status(&site.director)?.to_string();
    claim(shown.contains(words), || format!("status says `{words}`: {shown}"))
}
