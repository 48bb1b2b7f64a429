//! What lvsd costs beside keepalived: both in one boot of a guest whose clock counts instructions, each row so often
//! that its spread can be seen, as ratios. `scripts/bench` runs it and writes docs/performance.md.
//!
//! A repetition measures one stage for the one and then for the other. The first of each stage is dropped: what is
//! executed for the first time is read from the disk, and costs more.

mod checks;
mod parse;
mod report;
mod routers;
mod subject;
mod table;

use std::time::Duration;

use crate::lab::host::Host;
use crate::lab::topology::Topology;
use crate::lab::vrrp::node::Make;
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, judge};

use report::{Report, Row, Value};

pub(super) const NAME: &str = "bench";
/// Repetitions that count, unless LVSD_RUNS says otherwise.
const RUNS: u32 = 3;
/// In the order in which they are measured.
const MAKES: [Make; 2] = [Make::Keepalived, Make::Lvsd];
/// Between two looks at the table: a shorter time would take the only processor from what is measured.
const POLL: Duration = Duration::from_millis(20);

/// Rows that are measured together, because they are moments of one life.
struct Stage {
    name: &'static str,
    rows: fn() -> Vec<Row>,
    /// Left out unless it is named: takes long.
    is_long: bool,
    measure: fn(&Bench, Make) -> Result<Vec<Value>, String>,
}

/// What every stage has.
struct Bench<'a> {
    lab: &'a Lab,
    /// The director of both; only one of them runs at a time.
    director: Host,
}

const STAGES: &[Stage] = &[
    Stage { name: "parse", rows: parse::rows, is_long: false, measure: parse::measure },
    Stage {
        name: "table-1",
        rows: || table::rows(1),
        is_long: false,
        measure: |b, m| table::measure(b, m, 1, 1),
    },
    Stage {
        name: "table-100",
        rows: || table::rows(100),
        is_long: false,
        measure: |b, m| table::measure(b, m, 10, 10),
    },
    Stage {
        name: "table-1000",
        rows: || table::rows(1000),
        is_long: false,
        measure: |b, m| table::measure(b, m, 100, 10),
    },
    Stage {
        name: "table-10000",
        rows: || table::rows(10_000),
        is_long: false,
        measure: |b, m| table::measure(b, m, 1000, 10),
    },
    Stage {
        name: "table-50000",
        rows: || table::rows(50_000),
        is_long: true,
        measure: |b, m| table::measure(b, m, 5000, 10),
    },
    Stage { name: "tcp", rows: checks::tcp_rows, is_long: false, measure: checks::tcp },
    Stage { name: "http", rows: checks::http_rows, is_long: false, measure: checks::http },
    Stage { name: "vrrp", rows: routers::rows, is_long: false, measure: routers::measure },
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let runs = match std::env::var("LVSD_RUNS") {
        Ok(text) => text.parse().map_err(|_| format!("LVSD_RUNS={text}: not a number"))?,
        Err(_) => RUNS,
    };
    let wanted = std::env::var("LVSD_BENCH_ROWS").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|w| !w.is_empty()).collect();
    let stages = chosen(&wanted)?;

    judge::modprobe(&["ip_vs", "ip_vs_rr"])?;
    subject::mount_groups()?;
    let mut network = Topology::new(&["front"]);
    for (name, number) in [("d1", 11), ("d2", 12)] {
        network.host(name).plug(name, "eth0", "front", &[&format!("10.77.0.{number}/24")]);
    }
    lab.build(&network)?;
    let bench = Bench { lab, director: lab.host("d1")? };

    let mut all = Report::default();
    let mut rows = Vec::new();
    for stage in stages {
        for run in 0..=runs {
            for make in MAKES {
                let values = (stage.measure)(&bench, make)
                    .map_err(|e| format!("{}, {}: {e}", stage.name, make.name()))?;
                lab.step(format!("{} {run}/{runs} {}: {}", stage.name, make.name(), report::line(&values)));
                if run > 0 {
                    all.add(make, values);
                }
            }
        }
        rows.extend((stage.rows)());
    }
    let lines = all.lines(rows);
    lab.note(report::table(&lines));
    // What scripts/bench takes out of the log.
    for (mark, text) in
        [("json", report::json(&lines)), ("markdown", report::markdown(&lines)), ("svg", report::svg(&lines))]
    {
        for line in text.lines() {
            println!("{mark}: {line}");
        }
    }
    Ok(())
}

/// The stages that have a row of these names, or are named so; without names all that are not long.
fn chosen(wanted: &[&str]) -> Result<Vec<&'static Stage>, String> {
    let is =
        |stage: &Stage, name: &str| stage.name == name || (stage.rows)().iter().any(|row| row.name == name);
    for name in wanted {
        if !STAGES.iter().any(|stage| is(stage, name)) {
            let names: Vec<String> = STAGES
                .iter()
                .flat_map(|stage| {
                    let rows: Vec<String> = (stage.rows)().into_iter().map(|row| row.name).collect();
                    [stage.name.to_owned()].into_iter().chain(rows)
                })
                .collect();
            return Err(format!("no row {name}; there are {}", names.join(", ")));
        }
    }
    let is_chosen = |stage: &&Stage| match wanted {
        [] => !stage.is_long,
        names => names.iter().any(|name| is(stage, name)),
    };
    Ok(STAGES.iter().filter(is_chosen).collect())
}

/// How long a stage may take to get where it can be measured.
const PATIENCE: Duration = seconds(300);
