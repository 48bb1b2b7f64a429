//! Virtual routers: what a Backup costs that hears a Master, and what a Master costs.

use std::fmt::Write as _;
use std::time::Duration;

use crate::lab::vrrp::node::Make;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Verdict, judge};

use super::report::{Row, Value};
use super::subject::{Subject, millions};
use super::{Bench, PATIENCE};

/// Virtual routers, and what a file writes as their interval.
const CASES: [(u32, &str); 3] = [(1, "1"), (255, "1"), (255, "0.1")];
const WATCHED: Duration = seconds(30);

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (count, interval) in CASES {
        let want = match (count, interval) {
            (1, _) => Some(2.0),
            (_, "0.1") => Some(0.5),
            _ => None,
        };
        for (role, want) in [("backup", want), ("master", None)] {
            rows.push(Row {
                name: format!("{role}-{count}-{interval}s"),
                about: format!("CPU of a second as {role} of {count} virtual routers, advert_int {interval}"),
                unit: "million instructions",
                want,
            });
        }
    }
    rows
}

pub(super) fn measure(bench: &Bench, make: Make) -> Result<Vec<Value>, String> {
    let mut values = Vec::new();
    let other = bench.lab.host("d2")?;
    for (count, interval) in CASES {
        for (role, priority) in [("backup", 50), ("master", 150)] {
            let peer = Subject::start(bench.lab, &other, Make::Lvsd, &configuration(count, interval, 100))?;
            is_master(&other, count)?;
            let subject =
                Subject::start(bench.lab, &bench.director, make, &configuration(count, interval, priority))?;
            if role == "master" {
                is_master(&bench.director, count)?;
            }
            pause(seconds(10));
            let before = subject.group.cpu()?;
            pause(WATCHED);
            let cost =
                subject.group.cpu()?.saturating_sub(before) / WATCHED.as_secs().try_into().unwrap_or(1);
            values.push(Value::new(format!("{role}-{count}-{interval}s"), millions(cost)));
            subject.stop()?;
            peer.stop()?;
        }
    }
    Ok(values)
}

fn is_master(host: &crate::lab::host::Host, count: u32) -> Verdict {
    wait_for("Master of all", PATIENCE, || {
        pause(seconds(1));
        let addresses = judge::addresses(host)?;
        let vips = addresses.values().flatten().filter(|a| a.to_string().starts_with("10.88.")).count();
        if u32::try_from(vips) == Ok(count) { Ok(()) } else { Err(format!("{vips} of {count}")) }
    })
}

fn configuration(count: u32, interval: &str, priority: u32) -> String {
    let mut text = String::new();
    for n in 1..=count {
        let _ = writeln!(
            text,
            "vrrp_instance R{n} {{\n state BACKUP\n interface eth0\n virtual_router_id {n}\n priority {priority}\n \
             advert_int {interval}\n virtual_ipaddress {{\n 10.88.0.{n}/32\n }}\n}}"
        );
    }
    text
}
