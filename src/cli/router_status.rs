//! Virtual routers, the checks they track, and BFD sessions in `lvsd status`: a line each, and what is wrong below it.

use std::fmt::Write;

use super::status::{health, span};
use super::table::Table;
use crate::bfd::packet::State as SessionState;
use crate::bfd::status::SessionStatus;
use crate::director::track_checks::TrackCheckStatus;
use crate::vrrp::assertion::AssertStatus;
use crate::vrrp::io::State;
use crate::vrrp::status::{InstanceStatus, Status};

/// Appends them.
pub(super) fn render(router: &Status, text: &mut String) {
    if !router.sessions.is_empty() {
        render_sessions(&router.sessions, text);
    }
    // With sessions alone there is nothing of virtual routers to be seen.
    if router.instances.is_empty() && !router.sessions.is_empty() {
        return render_refused(router, text);
    }
    text.push('\n');
    let mut table = Table::default();
    table.row(["INSTANCE", "VRID", "STATE", "PRIORITY", "SINCE", "MASTER", "ADDRESSES", "WHY"]);
    for instance in &router.instances {
        let other = other_family(router, instance);
        // The row of IPv4 stands for both while they are alike; their troubles are said of each.
        match other.filter(|other| is_alike(instance, other)) {
            Some(_) if Some(&instance.name) != instance.pair.as_ref() => {}
            alike => table.row(cells(instance, alike)),
        }
        let assert = instance.assert.as_ref().and_then(|assert| assert_line(assert, instance.state));
        for line in assert.into_iter().chain(troubles(instance)) {
            table.row([format!("  {line}")]);
        }
    }
    text.push_str(&table.render());
    for group in router.groups.iter().filter(|group| !group.is_pair) {
        let _ = writeln!(text, "sync group {}: {} ({})", group.name, group.state, group.members.join(", "));
    }
    for (instance, node) in &router.other_nodes {
        let _ = writeln!(text, "vrrp_instance {instance} is for the node with {node}: not run here");
    }
    render_refused(router, text);
}

/// Appends the checks that virtual routers track.
pub(super) fn render_checks(checks: &[TrackCheckStatus], text: &mut String) {
    text.push('\n');
    let mut table = Table::default();
    table.row(["CHECK", "HEALTH", "SINCE", "RUNS", "FAILED", "WHY"]);
    for check in checks {
        let why = match check.unverified_seconds {
            Some(seconds) => format!("{} (unverified for {})", check.reason, span(seconds)),
            None => check.reason.clone(),
        };
        table.row([
            check.name.clone(),
            check_state(check).to_owned(),
            span(check.since_seconds),
            check.checks.to_string(),
            check.check_failures.to_string(),
            why,
        ]);
    }
    text.push_str(&table.render());
}

/// How a check is, in a word.
pub(super) fn check_state(check: &TrackCheckStatus) -> &'static str {
    match check.is_up {
        None => "unknown",
        Some(is_up) => health(check.health, is_up),
    }
}

fn render_refused(router: &Status, text: &mut String) {
    for refused in &router.refused {
        let _ = writeln!(text, "REFUSED by the kernel: {refused}");
    }
}

fn render_sessions(sessions: &[SessionStatus], text: &mut String) {
    text.push('\n');
    let mut table = Table::default();
    table.row(["BFD SESSION", "NEIGHBOR", "STATE", "REMOTE", "SINCE", "DETECTION", "WENT DOWN", "WHY"]);
    for session in sessions {
        let detection =
            session.detection_microseconds.map_or("-".to_owned(), |us| format!("{} ms", us / 1000));
        let why = match session.diagnostic.as_str() {
            _ if session.state == SessionState::Up => String::new(),
            // Of one that was never up, nothing else is to be said.
            "no diagnostic" if session.received == 0 => "nothing was heard of it".to_owned(),
            "no diagnostic" => String::new(),
            diagnostic => diagnostic.to_owned(),
        };
        table.row([
            session.name.clone(),
            session.neighbor.to_string(),
            session.state.to_string(),
            session.remote_state.to_string(),
            span(session.since_milliseconds / 1000),
            detection,
            session.went_down.to_string(),
            why,
        ]);
        if let Some(trouble) = &session.trouble {
            table.row([format!("  {trouble}")]);
        }
        let dropped: u64 = session.dropped.values().sum();
        if dropped > 0 && session.state != SessionState::Up {
            let kinds: Vec<&str> = session.dropped.keys().map(String::as_str).collect();
            table.row([format!("  packets dropped: {dropped} ({})", kinds.join(", "))]);
        }
    }
    text.push_str(&table.render());
}

/// The other family of an instance that has both.
fn other_family<'a>(router: &'a Status, instance: &InstanceStatus) -> Option<&'a InstanceStatus> {
    let pair = instance.pair.as_ref()?;
    router.instances.iter().find(|other| other.pair.as_ref() == Some(pair) && other.name != instance.name)
}

/// Two families that one row can stand for.
fn is_alike(one: &InstanceStatus, other: &InstanceStatus) -> bool {
    (one.state, one.priority, one.base_priority, &one.waits_for)
        == (other.state, other.priority, other.base_priority, &other.waits_for)
}

fn cells(instance: &InstanceStatus, other: Option<&InstanceStatus>) -> [String; 8] {
    let is_master = instance.state == State::Master;
    let master = match instance.master {
        _ if is_master => "this host".to_owned(),
        Some(at) => at.to_string(),
        None => "-".to_owned(),
    };
    let addresses = || instance.addresses.iter().chain(other.into_iter().flat_map(|o| &o.addresses));
    let held = addresses().filter(|address| address.is_held).count();
    let priority = match (instance.priority, instance.base_priority) {
        (own, base) if own == base => own.to_string(),
        (own, base) => format!("{own} of {base}"),
    };
    let why = match &instance.waits_for {
        Some(what) => format!("waits for {what}"),
        None if instance.waits_for_group => "waits for its sync group".to_owned(),
        None => instance.holds_back.clone().unwrap_or_else(|| instance.reason.clone()),
    };
    [
        instance.name.clone(),
        instance.vrid.to_string(),
        instance.state.to_string(),
        priority,
        span(instance.since_milliseconds / 1000),
        master,
        format!("{held} of {}", addresses().count()),
        why,
    ]
}

/// How its command gets on, while it is Master or its last run ends.
fn assert_line(assert: &AssertStatus, state: State) -> Option<String> {
    let running = assert.running_milliseconds.map(|ms| format!("running for {}", span(ms / 1000)));
    if state != State::Master {
        return running.map(|running| format!("assert: {}: {running}, and is being ended", assert.program));
    }
    let next = assert.next_milliseconds.map(|ms| format!("next in {}", span(ms.div_ceil(1000))));
    let how = match (assert.is_asserted, assert.failures) {
        (true, _) => "succeeded".to_owned(),
        (false, 0) => "has not succeeded yet".to_owned(),
        (false, n) => {
            let last = assert.last.as_deref().unwrap_or_default();
            format!("FAILING, {n} {}: {last}", if n == 1 { "attempt" } else { "attempts" })
        }
    };
    let ago = assert.last_milliseconds.map(|ms| format!("{} ago", span(ms / 1000)));
    let parts: Vec<String> = [ago, running, next].into_iter().flatten().collect();
    Some(format!("assert: {}: {how} ({})", assert.program, parts.join(", ")))
}

/// What an operator should look at.
fn troubles(instance: &InstanceStatus) -> Vec<String> {
    let is_master = instance.state == State::Master;
    let missing = instance.addresses.iter().filter(|address| is_master && !address.is_held);
    let missing = missing.map(|a| format!("address {} is not on {} yet", a.address, a.link));
    let conflicts = instance.peers.iter().filter_map(|s| s.conflict.as_ref());
    missing.chain(conflicts.map(|what| format!("CONFLICT: {what}"))).collect()
}
