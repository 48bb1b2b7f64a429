//! Virtual routers in `lvsd status`: a line an instance, and what is wrong below it.

use std::fmt::Write;

use super::status::span;
use super::table::Table;
use crate::vrrp::io::State;
use crate::vrrp::status::{InstanceStatus, Status};

/// Appends them.
pub(super) fn render(router: &Status, text: &mut String) {
    text.push('\n');
    let mut table = Table::default();
    table.row(["INSTANCE", "VRID", "STATE", "PRIORITY", "SINCE", "MASTER", "ADDRESSES", "WHY"]);
    for instance in &router.instances {
        table.row(cells(instance));
        for line in troubles(instance) {
            table.row([format!("  {line}")]);
        }
    }
    text.push_str(&table.render());
    for group in &router.groups {
        let _ = writeln!(text, "sync group {}: {} ({})", group.name, group.state, group.members.join(", "));
    }
    for refused in &router.refused {
        let _ = writeln!(text, "REFUSED by the kernel: {refused}");
    }
}

fn cells(instance: &InstanceStatus) -> [String; 8] {
    let is_master = instance.state == State::Master;
    let master = match instance.master {
        _ if is_master => "this host".to_owned(),
        Some(at) => at.to_string(),
        None => "-".to_owned(),
    };
    let held = instance.addresses.iter().filter(|address| address.is_held).count();
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
        format!("{held} of {}", instance.addresses.len()),
        why,
    ]
}

/// What an operator should look at.
fn troubles(instance: &InstanceStatus) -> Vec<String> {
    let is_master = instance.state == State::Master;
    let missing = instance.addresses.iter().filter(|address| is_master && !address.is_held);
    let missing = missing.map(|a| format!("address {} is not on {} yet", a.address, a.link));
    let conflicts = instance.peers.iter().filter_map(|s| s.conflict.as_ref());
    missing.chain(conflicts.map(|what| format!("CONFLICT: {what}"))).collect()
}
