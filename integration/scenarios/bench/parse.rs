//! Reading a file of 10,000 real servers with checks, and nothing else.

use std::fmt::Write as _;

use crate::lab::daemon::lvsd_binary;
use crate::lab::vrrp::node::Make;

use super::Bench;
use super::report::{Row, Value};
use super::subject::{Group, keepalived, millions, program};

pub(super) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "parse".to_owned(),
            about: "CPU of a check of a file with 10,000 real servers".to_owned(),
            unit: "million instructions",
            want: Some(0.25),
        },
        Row {
            name: "parse-peak".to_owned(),
            about: "the most memory (RSS) of that".to_owned(),
            unit: "KiB",
            want: Some(1.0),
        },
    ]
}

pub(super) fn measure(bench: &Bench, make: Make) -> Result<Vec<Value>, String> {
    let file = bench.lab.write("parse.conf", &configuration())?;
    let group = Group::new()?;
    let mut command = group.command(&program("time")?);
    command.args(["-f", "peak %M"]);
    match make {
        Make::Lvsd => command.arg(lvsd_binary()).args(["check", "--offline"]).arg(&file),
        Make::Keepalived => command.arg(keepalived()?).args(["-t", "-f"]).arg(&file),
    };
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let peak = said.lines().find_map(|l| l.strip_prefix("peak ")).and_then(|n| n.trim().parse().ok());
    let peak = peak.ok_or_else(|| format!("time: {said}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}: {said}", output.status));
    }
    Ok(vec![Value::new("parse", millions(group.cpu()?)), Value::new("parse-peak", peak)])
}

fn configuration() -> String {
    let mut text = String::new();
    for n in 0..1000 {
        let (high, low) = (n / 250, n % 250 + 1);
        let _ = writeln!(
            text,
            "virtual_server 10.10.{high}.{low} 80 {{\n    delay_loop 10\n    lb_algo rr\n    lb_kind NAT\n    protocol TCP"
        );
        for k in 1..=10 {
            let _ = writeln!(
                text,
                "    real_server 10.{}.{high}.{low} 80 {{\n        weight 1\n        TCP_CHECK {{\n            connect_timeout 3\n        }}\n    }}",
                20 + k
            );
        }
        text.push_str("}\n");
    }
    text
}
