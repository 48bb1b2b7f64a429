//! `lvsd why`: the last attempts of a real server's checkers, or of a check that virtual routers track.

use std::convert::Infallible;
use std::fmt::Write;
use std::str::FromStr;

use super::router_status::check_state;
use super::socket::{SocketArguments, misunderstood};
use super::status::{health, span};
use super::table::Table;
use super::{complain, print};
use crate::check::outcome::{Outcome, ProbeResult};
use crate::daemon::control::{Command, Reply};
use crate::daemon::startup::Exit;
use crate::date::moment;
use crate::director::admin_override::Selector;
use crate::director::status::{CheckerHistory, ProbeHistory, RealServerHistory};
use crate::director::track_checks::TrackCheckHistory;
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct WhyArguments {
    /// The real server, ADDRESS or ADDRESS:PORT, or the name of a vrrp_check
    #[arg(value_name = "REAL_SERVER|CHECK")]
    about: About,
    #[command(flatten)]
    socket: SocketArguments,
    /// For machines
    #[arg(long)]
    json: bool,
}

/// Whose checks are meant.
#[derive(Clone, Debug)]
enum About {
    RealServer(Selector),
    Check(String),
}

impl FromStr for About {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<About, Infallible> {
        Ok(text.parse().map_or_else(|_| About::Check(text.to_owned()), About::RealServer))
    }
}

pub(super) fn run(arguments: &WhyArguments) -> Exit {
    match &arguments.about {
        About::RealServer(selector) => run_real_server(arguments, *selector),
        About::Check(name) => run_check(arguments, name),
    }
}

fn run_check(arguments: &WhyArguments, name: &str) -> Exit {
    let histories = match arguments.socket.ask(Command::WhyChecks) {
        Ok(Reply::WhyChecks(histories)) => histories,
        Ok(_) => return misunderstood(),
        Err(exit) => return exit,
    };
    let Some(history) = histories.iter().find(|history| history.status.name == name) else {
        let known: Vec<&str> = histories.iter().map(|history| &*history.status.name).collect();
        let known = match known.as_slice() {
            [] => "no check is tracked".to_owned(),
            known => format!("tracked are: {}", known.join(", ")),
        };
        complain(&format!(
            "{}: there is no such vrrp_check ({known}), and a real server is named by its address",
            text::line(name)
        ));
        return Exit::Usage;
    };
    if arguments.json {
        print(&(serde_json::to_string_pretty(history).unwrap_or_default() + "\n"));
    } else {
        print(&text::lines(&render_check(history)));
    }
    Exit::Ok
}

fn render_check(history: &TrackCheckHistory) -> String {
    let status = &history.status;
    let state = check_state(status);
    let mut text = format!(
        "vrrp_check {}: {state} for {}: {}\n",
        status.name,
        span(status.since_seconds),
        status.reason
    );
    for checker in &history.checkers {
        text.push_str(&render_checker(checker));
    }
    text
}

fn run_real_server(arguments: &WhyArguments, selector: Selector) -> Exit {
    let histories = match arguments.socket.ask(Command::Why(selector)) {
        Ok(Reply::Why(histories)) => histories,
        Ok(_) => return misunderstood(),
        Err(exit) => return exit,
    };
    if arguments.json {
        print(&(serde_json::to_string_pretty(&histories).unwrap_or_default() + "\n"));
    } else {
        print(&render(&histories));
    }
    Exit::Ok
}

fn render(histories: &[RealServerHistory]) -> String {
    let mut text = String::new();
    for history in histories {
        let real = &history.status;
        let _ = writeln!(
            text,
            "{} of {}: {} for {}: {}",
            real.name(),
            history.virtual_server,
            health(real.health, real.is_up),
            span(real.since_seconds),
            real.reason
        );
        if let Some(leak) = &real.leak {
            let _ = writeln!(text, "  {leak}: some clients go straight there");
        }
        if let Some(order) = &real.order {
            let _ = writeln!(text, "  by order: {order}");
        }
        for checker in &history.checkers {
            text.push_str(&render_checker(checker));
        }
    }
    text
}

fn render_checker(checker: &CheckerHistory) -> String {
    let next = match checker.next_run_ms {
        Some(ms) => format!("next run in {}", short(ms)),
        None if checker.is_suspended => "suspended until this host has the VIP".to_owned(),
        None => "running now".to_owned(),
    };
    let certificate = checker.certificate_not_after.map(|end| format!(", certificate until {}", moment(end)));
    let certificate = certificate.unwrap_or_default();
    let mut text = format!("  {} {}, {next}{certificate}\n", checker.checker, checker.target);
    if checker.attempts.is_empty() {
        return text + "    no attempt yet\n";
    }
    let mut table = Table::default();
    for attempt in &checker.attempts {
        table.row(cells(attempt));
    }
    text.push_str(&table.render());
    text
}

fn cells(attempt: &ProbeHistory) -> [String; 5] {
    let Outcome { result, phase, reason, errno, took, first_bytes, .. } = &attempt.outcome;
    let result = match result {
        ProbeResult::Pass => "passed",
        ProbeResult::Fail => "FAILED",
        ProbeResult::Inconclusive => "not made",
    };
    let when = match attempt.count {
        1 => format!("    {} ago", short(attempt.last_ms_ago)),
        n => format!("    {n} times, {} to {} ago", short(attempt.first_ms_ago), short(attempt.last_ms_ago)),
    };
    let errno = errno.map(|e| format!(" (errno {e})")).unwrap_or_default();
    // Some reasons quote them already.
    let quote = first_bytes.as_ref().filter(|first| !reason.contains(first.get(..16).unwrap_or(first)));
    let answer = quote.map(|first| format!("; the answer began \"{first}\"")).unwrap_or_default();
    let said = format!("{reason}{errno}{answer}");
    // No run takes no time: this verdict is one of another checker, or of the process before this one.
    if took.is_zero() {
        return [when, result.to_owned(), "carried over".to_owned(), String::new(), said];
    }
    let took = format!("took {:.1} ms", took.as_secs_f64() * 1000.0);
    [when, result.to_owned(), phase.to_string(), took, said]
}

/// `850ms`, `4.2s`, `3m 5s`.
fn short(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => span(ms / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_reply_is_shown_once() {
        let said = |reason: &'static str, first: &[u8]| {
            let outcome = Outcome::fail(crate::check::outcome::Phase::Judge, reason).with_first_bytes(first);
            let [.., said] = cells(&ProbeHistory { count: 1, first_ms_ago: 5, last_ms_ago: 5, outcome });
            said
        };
        assert_eq!(
            said("status 503, wanted 200-299", b"HTTP/1.0 503 Busy\r\n"),
            "status 503, wanted 200-299; the answer began \"HTTP/1.0 503 Busy\\r\\n\""
        );
        let quoted = "not an HTTP reply: \"SSH-2.0-OpenSSH_9.2\\r\\n\"";
        assert_eq!(said(quoted, b"SSH-2.0-OpenSSH_9.2\r\n"), quoted);
        assert_eq!(said("connection refused", b""), "connection refused");
    }

    #[test]
    fn short_spans_keep_what_matters() {
        assert_eq!([850, 4230, 185_000].map(short), ["850ms", "4.2s", "3m 5s"]);
    }
}
