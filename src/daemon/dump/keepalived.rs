//! The virtual routers in the form of keepalived's dumps, as far as exporters read it: what `kill -USR1`, `-USR2` and
//! the signal for JSON make keepalived write. What lvsd does not know is left out.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::daemon::control::DaemonStatus;
use crate::vrrp::io::State;
use crate::vrrp::status::InstanceStatus;

/// The files' names and their content.
pub(super) fn files(status: &DaemonStatus) -> [(&'static str, String); 3] {
    let instances = status.router.iter().flat_map(|router| &router.instances);
    let mut data = "------< VRRP Topology >------\n".to_owned();
    let mut stats = String::new();
    for instance in instances.clone() {
        describe(instance, &mut data);
        count(instance, &mut stats);
    }
    let all: Vec<Value> = instances.map(as_json).collect();
    let mut json = Value::from(all).to_string();
    json.push('\n');
    [("keepalived.data", data), ("keepalived.stats", stats), ("keepalived.json", json)]
}

fn describe(instance: &InstanceStatus, text: &mut String) {
    let state = state(instance).1;
    let lines = [
        ("VRRP Version", instance.version.to_string()),
        ("State", state.to_owned()),
        ("Wantstate", state.to_owned()),
        ("Interface", instance.interface.clone().unwrap_or_default()),
        ("Virtual Router ID", instance.vrid.to_string()),
        ("Priority", instance.base_priority.to_string()),
        ("Effective priority", instance.priority.to_string()),
    ];
    let _ = writeln!(text, " VRRP Instance = {}", instance.name);
    for (key, value) in lines {
        let _ = writeln!(text, "   {key} = {value}");
    }
    let _ = writeln!(text, "   Virtual IP ({}):", instance.addresses.len());
    for address in addresses(instance) {
        let _ = writeln!(text, "     {address}");
    }
}

fn count(instance: &InstanceStatus, text: &mut String) {
    let counted = Counted::of(instance);
    let _ = write!(
        text,
        "VRRP Instance: {}\n  Advertisements:\n    Received: {}\n    Sent: {}\n  Became master: {}\n  \
         Released master: {}\n  Packet Errors:\n    Length: {}\n    TTL: {}\n    Invalid Type: {}\n    \
         Advertisement Interval: {}\n    Address List: {}\n  Authentication Errors:\n    Invalid Type: {}\n    \
         Type Mismatch: {}\n    Failure: {}\n  Priority Zero:\n    Received: {}\n    Sent: {}\n",
        instance.name,
        instance.counters.accepted,
        instance.counters.sent,
        instance.counters.became_master,
        counted.released,
        counted.length,
        counted.ttl,
        counted.kind,
        counted.interval,
        counted.addresses,
        counted.authentication_type,
        0,
        counted.authentication,
        instance.counters.priority_zero_received,
        instance.counters.priority_zero_sent,
    );
}

fn as_json(instance: &InstanceStatus) -> Value {
    let counted = Counted::of(instance);
    let number = state(instance).0;
    json!({
        "data": {
            "iname": instance.name,
            "ifp_ifname": instance.interface,
            "vrid": instance.vrid,
            "version": instance.version,
            "base_priority": instance.base_priority,
            "effective_priority": instance.priority,
            "master_priority": instance.master_priority.unwrap_or(0),
            "state": number,
            "wantstate": number,
            "vipset": instance.addresses.iter().any(|a| a.is_held),
            "vips": addresses(instance),
        },
        "stats": {
            "advert_rcvd": instance.counters.accepted,
            "advert_sent": instance.counters.sent,
            "become_master": instance.counters.became_master,
            "release_master": counted.released,
            "packet_len_err": counted.length,
            "advert_interval_err": counted.interval,
            "ip_ttl_err": counted.ttl,
            "invalid_type_rcvd": counted.kind,
            "addr_list_err": counted.addresses,
            "invalid_authtype": counted.authentication_type,
            "authtype_mismatch": 0,
            "auth_failure": counted.authentication,
            "pri_zero_rcvd": instance.counters.priority_zero_received,
            "pri_zero_sent": instance.counters.priority_zero_sent,
        },
    })
}

/// keepalived's number and word of a state.
fn state(instance: &InstanceStatus) -> (u8, &'static str) {
    match instance.state {
        State::Init => (0, "INIT"),
        State::Backup => (1, "BACKUP"),
        State::Master => (2, "MASTER"),
        State::Fault => (3, "FAULT"),
    }
}

fn addresses(instance: &InstanceStatus) -> Vec<String> {
    let line = |a: &crate::vrrp::status::AddressStatus| {
        let set = if a.is_held { " set" } else { "" };
        // Without its length where that of a host is meant.
        let address = a.address.trim_end_matches("/32").trim_end_matches("/128");
        format!("{address} dev {} scope global{set}", a.link)
    };
    instance.addresses.iter().map(line).collect()
}

/// Dropped packets by keepalived's kinds.
struct Counted {
    released: u64,
    length: u64,
    ttl: u64,
    kind: u64,
    interval: u64,
    addresses: u64,
    authentication_type: u64,
    authentication: u64,
}

impl Counted {
    fn of(instance: &InstanceStatus) -> Counted {
        let counters = &instance.counters;
        let dropped = |kinds: &[&str]| kinds.iter().filter_map(|kind| counters.dropped.get(*kind)).sum();
        let is_master = u64::from(instance.state == State::Master);
        Counted {
            released: counters.became_master.saturating_sub(is_master),
            length: dropped(&["length"]),
            ttl: dropped(&["hop_limit"]),
            kind: dropped(&["type", "version"]),
            interval: dropped(&["interval"]),
            addresses: dropped(&["addresses"]),
            authentication_type: dropped(&["authentication_type"]),
            authentication: dropped(&["authentication", "replay"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::vrrp::status::{AddressStatus, CountersStatus};

    #[test]
    fn exporters_find_the_lines_and_fields_they_read() {
        let address = |address: &str| AddressStatus {
            address: address.to_owned(),
            link: "eth0".to_owned(),
            is_held: true,
            is_advertised: true,
        };
        let instance = InstanceStatus {
            name: "web".to_owned(),
            vrid: 51,
            version: 2,
            interface: Some("eth0".to_owned()),
            is_multicast: true,
            state: State::Master,
            since_milliseconds: 0,
            reason: String::new(),
            waits_for: None,
            waits_for_group: false,
            holds_back: None,
            base_priority: 150,
            priority: 130,
            source: None,
            master: None,
            master_priority: None,
            interval_milliseconds: 1000,
            master_down_microseconds: 0,
            timer_microseconds: None,
            addresses: vec![address("10.1.0.100/32"), address("10.1.0.101/24")],
            tracks: Vec::new(),
            counters: CountersStatus {
                sent: 7,
                became_master: 3,
                dropped: BTreeMap::from([("hop_limit".to_owned(), 5)]),
                ..CountersStatus::default()
            },
            peers: Vec::new(),
            has_conflict: false,
            assert: None,
            pair: None,
        };
        let mut data = String::new();
        describe(&instance, &mut data);
        let wanted = " VRRP Instance = web\n   VRRP Version = 2\n   State = MASTER\n   Wantstate = MASTER\n   \
                      Interface = eth0\n   Virtual Router ID = 51\n   Priority = 150\n   Effective priority = 130\n   \
                      Virtual IP (2):\n     10.1.0.100 dev eth0 scope global set\n     \
                      10.1.0.101/24 dev eth0 scope global set\n";
        assert_eq!(data, wanted);
        let mut stats = String::new();
        count(&instance, &mut stats);
        // As keepalived 2.2.7 indents them.
        for line in
            ["VRRP Instance: web", "    Sent: 7", "  Became master: 3", "  Released master: 2", "    TTL: 5"]
        {
            assert!(stats.lines().any(|l| l == line), "{line}:\n{stats}");
        }
        let json = as_json(&instance);
        assert_eq!((&json["data"]["state"], &json["stats"]["ip_ttl_err"]), (&json!(2), &json!(5)));
        assert_eq!(json["data"]["vips"][0], "10.1.0.100 dev eth0 scope global set");
    }
}
