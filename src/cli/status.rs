//! `lvsd status`.

use super::socket::{SocketArguments, misunderstood};
use super::table::Table;
use super::{print, router_status};
use crate::daemon::control::{Command, DaemonStatus, ReloadOutcome, Reply};
use crate::daemon::mails::MailStatus;
use crate::daemon::startup::Exit;
use crate::date::day;
use crate::director::problems::Kind;
use crate::director::status::{HealthStatus, RealServerStatus, Status, VirtualServerStatus};
use crate::text;
use std::fmt::Write;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    #[command(flatten)]
    socket: SocketArguments,
    /// Read the kernel's table now, and say how it is; else what was read in the last ten seconds
    #[arg(long)]
    now: bool,
    /// For machines
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &StatusArguments) -> Exit {
    let command = if arguments.now { Command::StatusNow } else { Command::Status };
    let status = match arguments.socket.ask(command) {
        Ok(Reply::Status(status)) => status,
        Ok(_) => return misunderstood(),
        Err(exit) => return exit,
    };
    if arguments.json {
        print(&status.to_json());
    } else {
        print(&render(&status));
    }
    Exit::Ok
}

/// The status as text.
pub(super) fn render(daemon: &DaemonStatus) -> String {
    let mut text = format!(
        "lvsd {}, pid {}, up {}, {}\n",
        daemon.version,
        daemon.pid,
        span(daemon.uptime_seconds),
        text::line(&daemon.config.display().to_string())
    );
    let _ = writeln!(text, "{}", kernel_line(&daemon.director));
    if let Some(drift) = &daemon.director.last_drift {
        let ago = span(drift.seconds_ago);
        let _ = writeln!(
            text,
            "last repaired {ago} ago: virtual server {}: {}",
            drift.virtual_server, drift.what
        );
    }
    if let Some(trouble) = &daemon.trouble {
        let _ = writeln!(text, "TROUBLE: {trouble}");
    }
    if let Some(error) = &daemon.unsaved {
        let _ = writeln!(
            text,
            "NOT SAVED: the state file cannot be written: {error}: orders, and which servers are down, would not survive a restart"
        );
    }
    if let Some(reload) = &daemon.last_reload {
        text.push_str(&reload_lines(reload));
    }
    if let Some(mail) = &daemon.mail {
        text.push_str(&mail_lines(mail));
    }
    for host in &daemon.host {
        let _ = writeln!(text, "THIS HOST: {}: {}", host.what, host.why);
    }
    text.push_str(&unchecked_line(&daemon.director));
    for foreign in &daemon.director.foreign_services {
        let _ = writeln!(text, "foreign service {foreign}: in the kernel but not in the configuration");
    }
    if let Some(router) = &daemon.router {
        router_status::render(router, &mut text);
    }
    if !daemon.director.vrrp_checks.is_empty() {
        router_status::render_checks(&daemon.director.vrrp_checks, &mut text);
    }
    if daemon.router.is_some() && daemon.director.virtual_servers.is_empty() {
        return text::lines(&text).into_owned();
    }
    text.push('\n');
    let mut table = Table::default();
    let heads = ["REAL SERVER", "METHOD", "WEIGHT", "KERNEL", "ACTIVE", "INACTIVE", "HEALTH", "SINCE", "WHY"];
    table.row(heads);
    for server in &daemon.director.virtual_servers {
        virtual_server_rows(server, &mut table);
    }
    text.push_str(&table.render());
    text::lines(&text).into_owned()
}

fn kernel_line(status: &Status) -> String {
    let drift = match status.drift_repaired {
        0 => String::new(),
        1 => ", corrected once after a change by another program".to_owned(),
        n => format!(", corrected {n} times after changes by another program"),
    };
    match &status.kernel_trouble {
        Some(trouble) => format!("kernel: {trouble}"),
        None if !status.is_ipvs_used => "kernel: IPVS is not used, there are no virtual servers".to_owned(),
        None if is_meddled(status) => format!("kernel: changed by another program again and again{drift}"),
        None if status.is_converged => match status.read_seconds {
            Some(seconds) => format!("kernel: in sync, read {} ago{drift}", span(seconds)),
            None => format!("kernel: in sync{drift}"),
        },
        None => format!("kernel: being changed{drift}"),
    }
}

/// Whether another program's changes recur: between one and its repair the table is not in sync.
fn is_meddled(status: &Status) -> bool {
    let mut problems = status.virtual_servers.iter().flat_map(|server| &server.problems);
    problems.any(|problem| problem.kind() == Kind::Recurring)
}

fn reload_lines(reload: &ReloadOutcome) -> String {
    let ago = span(reload.seconds_ago);
    if reload.is_accepted {
        return format!("last reload: accepted {ago} ago\n");
    }
    let mut text = format!("last reload: REJECTED {ago} ago, the configuration before it is in force:\n");
    for line in &reload.errors {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// Real servers whose verdict is held because this host cannot check them.
fn unchecked_line(status: &Status) -> String {
    let servers = status.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let unchecked: Vec<(SocketAddr, &str)> =
        servers.filter_map(|real| Some((real.name(), real.unchecked.as_deref()?))).collect();
    let Some((first, why)) = unchecked.first() else { return String::new() };
    let more = match unchecked.len() - 1 {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("NOT CHECKED: {first}{more} cannot be checked from here, the last verdict stands: {why}\n")
}

fn mail_lines(mail: &MailStatus) -> String {
    let counts = [(mail.waiting as u64, "wait"), (mail.failed, "failed"), (mail.dropped, "were dropped")];
    let more = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    let more: String = more.collect();
    let state = if mail.is_failing { "NOT TAKEN by" } else { "by" };
    let mut text = format!("mails {state} {}: {} changes reported{more}\n", mail.server, mail.sent);
    if let (Some(error), Some(seconds)) = (&mail.last_error, mail.last_error_seconds) {
        let _ = writeln!(text, "  last trouble {} ago: {error}", span(seconds));
    }
    text
}

fn virtual_server_rows(server: &VirtualServerStatus, table: &mut Table) {
    let quorum = if server.has_quorum { "" } else { "  QUORUM LOST" };
    table.row([format!(
        "{} {}  weight {}, quorum {}{quorum}",
        server.virtual_server, server.scheduler, server.live_weight, server.quorum
    )]);
    if let Some(colocated) = &server.colocated {
        table.row([format!("  {}", colocated.what)]);
        if colocated.mark.is_some() && !colocated.is_marked {
            table.row(["  NOT MARKED yet: this host answers all requests itself"]);
        }
    }
    if let Some(suspended) = &server.suspended {
        table.row([format!("  {suspended}")]);
    }
    for problem in &server.problems {
        table.row([format!("  PROBLEM: {problem}; {}", problem.advice())]);
    }
    if let Some(degraded) = &server.degraded {
        table.row([format!("  DEGRADED: {degraded}")]);
    } else if !server.is_in_kernel {
        table.row(["  not in the kernel yet"]);
    }
    for real in &server.real_servers {
        table.row(real_server_cells(real));
    }
    if let Some(sorry) = &server.sorry_server {
        let state = if sorry.is_active { "serves" } else { "stands by" };
        table.row([format!("  sorry server {} {state}", sorry.sorry_server)]);
    }
    for at in &server.staying {
        table.row([format!(
            "  {at} is taken out by the configuration, and serves until what replaces it is up"
        )]);
    }
    // One that is drained has its row, with the order.
    let is_shown = |at: &SocketAddr| server.real_servers.iter().any(|real| real.real_server == *at);
    for at in server.leaving.iter().filter(|at| !is_shown(at)) {
        table.row([format!("  {at} leaves, serving its last connections")]);
    }
}

fn real_server_cells(real: &RealServerStatus) -> [String; 9] {
    // A healthy server needs no reason here, and the line would be too long for most terminals; `lvsd why` has it.
    let why = match real.unverified_seconds {
        Some(seconds) => format!("{} (unverified for {})", real.reason, span(seconds)),
        None if real.health == HealthStatus::Up => String::new(),
        None => real.reason.clone(),
    };
    let and = |why: String| if why.is_empty() { why } else { format!("; {why}") };
    let why = match real.certificates.iter().map(|c| c.not_after).min() {
        Some(end) if why.is_empty() => format!("certificate until {}", day(end)),
        Some(end) => format!("{why}; certificate until {}", day(end)),
        None => why,
    };
    // The first failing checker is the reason; the path is looked at where no checker fails.
    let path = real.path.as_ref().filter(|path| path.is_good != Some(true) && !why.contains(&path.words));
    let why = match path {
        Some(path) if why.is_empty() => format!("path_check: {}", path.words),
        Some(path) => format!("{why}; path_check: {}", path.words),
        None => why,
    };
    let why = match &real.leak {
        Some(leak) => format!("{leak}{}", and(why)),
        None => why,
    };
    let why = match &real.order {
        Some(order) => format!("by order {order}{}", and(why)),
        None => why,
    };
    [
        format!("  {}", real.name()),
        real.forwarding.to_string(),
        real.weight.to_string(),
        real.kernel_weight.map_or("-".to_owned(), |w| w.to_string()),
        real.connections.active.to_string(),
        real.connections.inactive.to_string(),
        health(real.health, real.is_up).to_owned(),
        span(real.since_seconds),
        why,
    ]
}

/// Health in words.
pub(super) fn health(health: HealthStatus, is_up: bool) -> &'static str {
    match (health, is_up) {
        (HealthStatus::Up, _) => "up",
        (HealthStatus::Failing, _) => "failing",
        (HealthStatus::Unknown, true) => "up, unchecked",
        (HealthStatus::Unknown, false) => "waits for a check",
        (HealthStatus::Rising, _) => "DOWN, rising",
        (HealthStatus::Down, _) => "DOWN",
    }
}

/// A time span in its two largest units: `45s`, `3m 5s`, `2h 7m`, `12d 4h`.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, m) => format!("{m}m {}s", seconds % 60),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_spans_read_as_people_say_them() {
        let spans = [0, 45, 185, 7620, 1_051_200].map(span);
        assert_eq!(spans, ["0s", "45s", "3m 5s", "2h 7m", "12d 4h"]);
    }
}
