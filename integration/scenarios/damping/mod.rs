//! `damping` in a pair: what the Master follows fails again and again. Without damping the VIP moves each time; with it, it moves
//! a few times and stays with the other director, status says for how long, and it returns after a rest.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::daemon::status;
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// How often it fails, for how long, and how long it is well in between: long enough for the VIP to move each time.
const FLAPS: usize = 10;
const ILL: Duration = seconds(6);
const WELL: Duration = seconds(8);
/// Nothing is kept back for more than four half-lives of 30 seconds.
const LONGEST: Duration = seconds(4 * 30 + 10);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    let undamped = flap(lab, &segment, "")?;
    let damped = flap(lab, &segment, "damping 30 2")?;
    lab.note(format!(
        "{FLAPS} failures: the VIP left {undamped} times without damping, {damped} times with it"
    ));
    claim(undamped == FLAPS, || format!("without damping it moves each time: {undamped}"))?;
    // Two failures are put up with, the third one is too many.
    claim(damped == 3, || format!("with damping it moves three times: {damped}"))
}

/// How often the VIP came to the other director.
fn flap(lab: &Lab, segment: &Segment, damping: &str) -> Result<usize, String> {
    let node = |own: &str, priority: &str| {
        let text = include_str!("pair.conf")
            .replace("@own", own)
            .replace("@priority", priority)
            .replace("@damping", damping);
        set(own, true)?;
        Node::new(lab, own, Make::Lvsd, &text)
    };
    let mut nodes = [node("d1", "150")?, node("d2", "100")?];
    let begun = Instant::now();
    for node in &mut nodes {
        node.start(lab)?;
    }
    segment.holders.wait("d1", VIP.into(), true, begun, seconds(20))?;
    pause(seconds(5));
    let begun = Instant::now();
    for _ in 0..FLAPS {
        set("d1", false)?;
        pause(ILL);
        set("d1", true)?;
        pause(WELL);
    }
    let changes = segment.holders.changes(VIP.into(), begun, Instant::now());
    let count = changes.iter().filter(|change| change.host == "d2" && change.is_there).count();
    if !damping.is_empty() {
        let now = status(&nodes[0].host)?;
        let instance = now.pointer("/router/instances/0").unwrap_or(&Value::Null);
        let level = instance.pointer("/tracks/0/level").and_then(|level| level.as_str()).unwrap_or_default();
        claim(
            level.starts_with("succeeds, counts as failed for ") && level.ends_with(" s more (damping)"),
            || instance.to_string(),
        )?;
        claim(instance["priority"] == 90, || instance.to_string())?;
        let log = nodes[0].log();
        claim(log.contains("script well is well, and failed too often lately"), || log.clone())?;
        // It is well now, and that counts in the end.
        let rested = Instant::now();
        let back = segment.holders.wait("d1", VIP.into(), true, rested, LONGEST)?;
        lab.note(format!("after a rest of {:.0} s the VIP is back", (back - rested).as_secs_f64()));
        wait_for("nothing is kept back", seconds(10), || {
            let now = status(&nodes[0].host)?;
            let level = now.pointer("/router/instances/0/tracks/0/level").unwrap_or(&Value::Null);
            claim(*level == "succeeds", || level.to_string())
        })?;
    }
    for node in &mut nodes {
        node.end(Signal::TERM)?;
    }
    Ok(count)
}

/// Whether what a director follows is well.
fn set(name: &str, is_well: bool) -> Verdict {
    let path = format!("/run/well-{name}");
    match is_well {
        true => fs::write(&path, ""),
        false => fs::remove_file(&path),
    }
    .map_err(|e| format!("{path}: {e}"))
}
