//! A change in the words of keepalived's mails, which people's filters know.

use super::super::notification::{Subject, plain};

/// What a mail says about one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailContent {
    /// Without the director's name.
    pub subject: String,
    pub body: String,
    /// Why, in the operator's words; keepalived gives no reason.
    pub cause: String,
}

/// What a virtual server's mail says of its quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QuorumNumbers {
    /// Weight of live real servers.
    pub weight: u64,
    pub quorum: u32,
    pub hysteresis: u32,
}

/// The occasion of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// At the start, or since a reload.
    Start,
    /// It has just changed.
    Change,
    Stop,
}

/// Of a virtual router or a group of them, in a new state.
pub(crate) fn of_router(subject: &Subject, state: &str, cause: &str) -> MailContent {
    let (who, body) = match subject {
        Subject::Group(name) => {
            (format!("VRRP Group {name}"), format!("All VRRP group instances are now in {state} state"))
        }
        other => {
            let verb = if state == "MASTER" { "now" } else { "no longer" };
            (format!("VRRP Instance {}", other.name()), format!("VRRP Instance is {verb} owning VRRP VIPs"))
        }
    };
    MailContent::new(&format!("{who} - Entering {state} state"), &body, cause)
}

/// Of a real server; the cause begins with the word of its checker, as `TCP_CHECK: connection refused`.
pub(crate) fn of_real_server(subject: &Subject, is_up: bool, occasion: Occasion, cause: &str) -> MailContent {
    let checker = cause.split([':', ' ']).next().unwrap_or_default();
    let body = match (occasion, checker.strip_suffix("_CHECK"), is_up) {
        (Occasion::Stop, ..) => "Shutting down".to_owned(),
        (_, Some(kind), true) => format!("{kind} CHECK succeed on service"),
        (_, Some(kind), false) => format!("{kind} CHECK failed on service"),
        (_, None, true) => "CHECK succeed on service".to_owned(),
        (_, None, false) => "CHECK failed on service : HTTP request failed".to_owned(),
    };
    let Subject::RealServer(real, server) = subject else {
        return MailContent::new(subject.name(), &body, cause);
    };
    let subject = format!("Realserver {real} of virtual server {} - {}", server.text, word(is_up));
    MailContent::new(&subject, &body, cause)
}

/// Of a virtual server.
pub(crate) fn of_virtual_server(
    subject: &Subject,
    is_up: bool,
    occasion: Occasion,
    numbers: QuorumNumbers,
    cause: &str,
) -> MailContent {
    let QuorumNumbers { weight, quorum, hysteresis } = numbers;
    let begin = match (occasion, is_up) {
        (Occasion::Start, true) => "Starting with quorum up",
        (Occasion::Start, false) => "Starting with quorum down",
        (_, true) => "Gained quorum",
        (_, false) => "Lost quorum",
    };
    // Of a loss keepalived writes the weight below which it is one, though behind a plus.
    let sum = match (occasion, is_up) {
        (Occasion::Change, false) => u64::from(quorum.saturating_sub(hysteresis)),
        _ => u64::from(quorum) + u64::from(hysteresis),
    };
    let body = match occasion {
        Occasion::Stop => "Shutting down".to_owned(),
        _ => format!("{begin} {quorum}+{hysteresis}={sum} <= {weight}"),
    };
    MailContent::new(&format!("Virtualserver {} - {}", subject.name(), word(is_up)), &body, cause)
}

impl MailContent {
    /// Names and causes may quote strangers: each is one line.
    fn new(subject: &str, body: &str, cause: &str) -> MailContent {
        MailContent { subject: plain(subject), body: plain(&format!("=> {body} <=")), cause: plain(cause) }
    }
}

fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}

#[cfg(test)]
mod tests;
