//! A director's life without checks: start, memory, idleness, reloads, stop.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use crate::lab::Verdict;
use crate::lab::daemon::{control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::vrrp::node::Make;
use crate::lab::wait::{pause, seconds, wait_for};

use super::report::{Row, Value};
use super::subject::{Subject, millions};
use super::{Bench, PATIENCE, POLL};

/// How long it is left alone before memory and idleness are looked at.
const SETTLING: Duration = seconds(20);
/// How long it is watched idle.
const IDLE: Duration = seconds(60);
/// Reloads after which memory is looked at again.
const RELOADS: u32 = 10;

/// Aims for so many real servers: memory, start, idle, reload.
struct Aims {
    memory: f64,
    start: Option<f64>,
    reload: Option<f64>,
}

fn aims(servers: u32) -> Aims {
    match servers {
        0..=100 => Aims { memory: 1.5, start: Some(0.6), reload: None },
        101..=1000 => Aims { memory: 1.5, start: Some(0.5), reload: Some(0.3) },
        1001..=10_000 => Aims { memory: 1.0, start: Some(0.5), reload: Some(0.3) },
        _ => Aims { memory: 0.8, start: None, reload: None },
    }
}

pub(super) fn rows(servers: u32) -> Vec<Row> {
    let aims = aims(servers);
    let row = |kind: &str, about: &str, unit, want| Row {
        name: format!("{kind}-{servers}"),
        about: format!("{about}, {servers} real servers"),
        unit,
        want,
    };
    vec![
        row("start", "CPU from start to complete table", "million instructions", aims.start),
        row("memory", "memory (PSS)", "KiB", Some(aims.memory)),
        row("idle", "CPU of a second in which nothing is due", "million instructions", None),
        row("reload", "CPU of a reload that changes one weight", "million instructions", aims.reload),
        row("memory-reloaded", "memory after ten more reloads", "KiB", Some(aims.memory)),
        row("stop", "CPU of a stop", "million instructions", None),
        row("status", "CPU of lvsd status", "million instructions", None),
    ]
}

pub(super) fn measure(bench: &Bench, make: Make, services: u32, each: u32) -> Result<Vec<Value>, String> {
    let servers = services * each;
    let value = |kind: &str, figure| Value::new(format!("{kind}-{servers}"), figure);
    let host = &bench.director;
    let subject = Subject::start(bench.lab, host, make, &configuration(services, each, 1))?;
    // Looking costs more the more there is to be seen.
    let poll = POLL * (1 + servers / 1000);
    wait_table(host, poll, servers, 0)?;
    let start = subject.group.cpu()?;
    pause(SETTLING);
    let memory = subject.group.memory()?;
    let before = subject.group.cpu()?;
    pause(IDLE);
    let idle = subject.group.cpu()?.saturating_sub(before) / IDLE.as_secs().try_into().unwrap_or(1);

    let before = subject.group.cpu()?;
    subject.reload(&configuration(services, each, 2))?;
    wait_table(host, poll, servers, 1)?;
    pause(SETTLING);
    let settled = idle * SETTLING.as_secs().try_into().unwrap_or(1);
    let reload = subject.group.cpu()?.saturating_sub(before).saturating_sub(settled);

    for run in 0..RELOADS {
        let weight = 1 + run % 2;
        subject.reload(&configuration(services, each, weight))?;
        wait_table(host, poll, servers, weight - 1)?;
        pause(seconds(5));
    }
    pause(SETTLING);
    let reloaded = subject.group.memory()?;

    let mut values = Vec::new();
    if make == Make::Lvsd {
        let before = subject.group.cpu()?;
        let finished = lvsd(host, &["status", "--json", "--control", &control(&run_dir(host))])?;
        if finished.code != Some(0) {
            return Err(format!("lvsd status: {finished:?}"));
        }
        values.push(value("status", millions(subject.group.cpu()?.saturating_sub(before))));
    }
    let stop = subject.stop()?;
    values.extend([
        value("start", millions(start)),
        value("memory", memory),
        value("idle", millions(idle)),
        value("reload", millions(reload)),
        value("memory-reloaded", reloaded),
        value("stop", millions(stop)),
    ]);
    Ok(values)
}

/// Waits until the kernel has so many destinations, so many of them with a weight of 2.
fn wait_table(host: &Host, poll: Duration, servers: u32, changed: u32) -> Verdict {
    wait_for(&format!("{servers} destinations, {changed} changed"), PATIENCE, || {
        pause(poll);
        let (all, heavy) = host.enter(|| {
            let text = fs::read_to_string("/proc/thread-self/net/ip_vs")
                .map_err(|e| format!("/proc/net/ip_vs: {e}"))?;
            let weights = text.lines().filter(|l| l.starts_with("  -> ")).skip(1);
            let weights: Vec<&str> = weights.filter_map(|l| l.split_ascii_whitespace().nth(3)).collect();
            Ok((weights.len(), weights.iter().filter(|w| **w == "2").count()))
        })?;
        let is_there =
            [(all, servers), (heavy, changed)].iter().all(|(n, want)| u32::try_from(*n) == Ok(*want));
        if is_there { Ok(()) } else { Err(format!("{all} destinations, {heavy} changed")) }
    })
}

/// So many virtual servers with so many real servers each, without checks; the very last has this weight.
fn configuration(services: u32, each: u32, weight: u32) -> String {
    let mut text = String::new();
    for n in 0..services {
        let (high, low) = (n / 250, n % 250 + 1);
        let _ = writeln!(
            text,
            "virtual_server 10.10.{high}.{low} 80 {{\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP"
        );
        for k in 1..=each {
            let weight = if n + 1 == services && k == each { weight } else { 1 };
            let _ = writeln!(
                text,
                "    real_server 10.{}.{high}.{low} 80 {{\n        weight {weight}\n    }}",
                20 + k
            );
        }
        text.push_str("}\n");
    }
    text
}
