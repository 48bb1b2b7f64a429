//! A reload or a restart replaces the only real server, which is checked before it serves (alpha): under load, with
//! the requests counted, beside keepalived. The old one serves until the new one is up; a new one that is dead leaves
//! it in its place.

use rustix::process::Signal;

use super::Ledger;
use crate::lab::daemon::{Daemon, configure, control, lvsd, run_dir};
use crate::lab::wait::{pause, seconds};
use crate::lab::{Lab, Verdict, claim, same};

/// A configuration with these real servers, by their last octet, and their weights.
fn text(servers: &[(&str, u32)]) -> String {
    let real = |(last, weight): &(&str, u32)| {
        format!(
            "    real_server 10.1.0.{last} 80 {{\n        weight {weight}\n        HTTP_GET {{\n            url {{\n                \
             path /health\n                status_code 200\n            }}\n            connect_timeout 1\n            \
             retry 0\n            warmup 0\n        }}\n    }}\n"
        )
    };
    let reals: String = servers.iter().map(real).collect();
    let head = "delay_loop 1\n    lb_algo rr\n    lb_kind DR\n    protocol TCP\n    alpha\n";
    format!(
        "global_defs {{\n    lvs_timeouts tcpfin 2\n}}\n\nvirtual_server 10.1.0.100 80 {{\n    {head}{reals}}}\n"
    )
}

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let director = site.director.clone();
    let (first, second) = (text(&[("21", 1)]), text(&[("22", 1)]));
    let mut ledger = Ledger::default();

    lab.step("keepalived");
    let keepalived = Daemon::keepalived(lab, &director, &first)?;
    site.wait_for_serving(&["10.1.0.21:80"])?;
    ledger.count(&site, "keepalived: a reload replaces the only real server", |site| {
        lab.write("d1.keepalived.conf", &second)?;
        keepalived.reload()?;
        site.wait_for_serving(&["10.1.0.22:80"])
    })?;
    keepalived.end(Signal::TERM)?;
    let lost_by_keepalived = ledger.0.last().map(|(_, hits)| hits.total_failed());
    ledger.0.clear();

    lab.step("lvsd");
    let daemon = Daemon::lvsd(lab, &director, &first)?;
    site.wait_for_serving(&["10.1.0.21:80"])?;
    let planned = lab.write("planned.conf", &second)?;
    let planned =
        lvsd(&director, &["plan", "-c", &planned.to_string_lossy(), "--run-dir", &run_dir(&director)])?;
    claim(planned.stdout.contains("serves until what replaces it is up (2 minutes at most)"), || {
        format!("plan says when the old one leaves: {planned:?}")
    })?;
    for (what, servers, serving) in [
        ("a reload replaces the only real server", &[("22", 1)][..], &["10.1.0.22:80"][..]),
        ("a reload replaces it by two", &[("21", 1), ("23", 1)], &["10.1.0.21:80", "10.1.0.23:80"]),
        ("weight 0 for them, and a new one", &[("21", 0), ("23", 0), ("22", 1)], &["10.1.0.22:80"]),
    ] {
        ledger.count(&site, what, |site| {
            configure(lab, &director, &text(servers))?;
            daemon.reload()?;
            site.wait_for_serving(serving)
        })?;
    }
    ledger.count(&site, "two reloads at once", |site| {
        configure(lab, &director, &text(&[("23", 1)]))?;
        daemon.reload()?;
        configure(lab, &director, &first)?;
        daemon.reload()?;
        site.wait_for_serving(&["10.1.0.21:80"])
    })?;
    let mut successor = None;
    ledger.count(&site, "a hand-over to another file", |site| {
        daemon.hand_over()?;
        successor = Some(Daemon::lvsd(lab, &director, &second)?);
        site.wait_for_serving(&["10.1.0.22:80"])
    })?;
    let mut daemon = successor.ok_or("lvsd was not started again")?;

    lab.step("the replacement is dead");
    site.web("rs3")?.set_health_status(500);
    ledger.count(&site, "a reload replaces it by a dead one", |site| {
        configure(lab, &director, &text(&[("23", 1)]))?;
        daemon.reload()?;
        daemon.wait_log("serves until what replaces it is up", seconds(5))?;
        pause(seconds(100));
        site.wait_for_serving(&["10.1.0.22:80"])
    })?;
    let status = lvsd(&director, &["status", "--control", &control(&run_dir(&director))])?.stdout;
    claim(status.contains("10.1.0.22:80 is taken out by the configuration, and serves until"), || {
        status.clone()
    })?;
    site.web("rs3")?.set_health_status(200);
    ledger.count(&site, "the dead one comes up", |site| site.wait_for_serving(&["10.1.0.23:80"]))?;
    site.web("rs1")?.set_health_status(500);
    configure(lab, &director, &first)?;
    daemon.reload()?;
    daemon.wait_log("leaves after 2 minutes although nothing that replaces it is up", seconds(150))?;
    site.wait_for_serving(&[])?;

    print!("{ledger}");
    lab.note(format!("keepalived lost {lost_by_keepalived:?} at the first of them"));
    daemon.end(Signal::TERM)?;
    let lost: u64 = ledger.0.iter().map(|(_, hits)| hits.total_failed()).sum();
    same("requests that were lost", &lost, &0)?;
    claim(lost_by_keepalived.is_some_and(|lost| lost > 0), || "keepalived loses none any more".to_owned())
}
