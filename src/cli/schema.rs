//! `lvsd check --schema`: the JSON Schema of lvsd.yaml, from the same tables that read it.
//!
//! It is for editors, which complete and underline by it; what it cannot say (one value that depends on another)
//! `lvsd check` says.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::config::{is_checker, root};
use crate::syntax::keyword::{KeywordInfo, Shape, Support};

/// What YAML's forms are made of that no table reads.
const FORWARDING: &str = "forwarding";

/// The schema as text.
pub(crate) fn text() -> String {
    super::json(&schema())
}

/// The schema.
pub(crate) fn schema() -> Value {
    let mut tables: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    // Blocks YAML has no word of are none of its tables.
    for keyword in root::listing().into_iter().filter(|k| !k.yaml.is_empty()) {
        // The tables of checks are one form in YAML, told apart by its type.
        let table = if is_checker(keyword.block) { "check" } else { keyword.block };
        let properties = tables.entry(table).or_default();
        if keyword.support != Support::Supported {
            continue;
        }
        for name in &keyword.yaml {
            properties.insert((*name).to_owned(), property(&keyword));
        }
    }
    let root = tables.remove(root::TOP_LEVEL).unwrap_or_default();
    let mut defs: Map<String, Value> = tables
        .into_iter()
        .map(|(name, properties)| {
            let required = required(name);
            let object = json!({"type": "object", "additionalProperties": false, "properties": properties, "required": required});
            (name.to_owned(), object)
        })
        .collect();
    defs.insert(FORWARDING.to_owned(), forwarding());
    let scalar = json!({"type": ["string", "number", "boolean"]});
    defs.insert("scalar".to_owned(), scalar);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lvsd.yaml",
        "description": "The configuration of lvsd, a layer-4 Linux Virtual Server director.",
        "type": "object",
        "additionalProperties": false,
        "properties": root,
        "$defs": defs,
    })
}

/// What a mapping of a table must have.
fn required(table: &str) -> &'static [&'static str] {
    match table {
        "real_server" | "sorry_server" => &["address"],
        "virtual_server" => &["real_servers"],
        "virtual_server_group" => &["name"],
        "persistence" => &["timeout"],
        "check" => &["type"],
        "url" => &["path"],
        "vrrp_instance" => &["name", "virtual_router_id"],
        "vrrp_sync_group" => &["name", "members"],
        "vrrp_script" => &["name", "command"],
        "bfd_instance" => &["name", "neighbor"],
        "assert" => &["command"],
        "vrrp_track_process" => &["name", "process"],
        "vrrp_check" => &["name"],
        "track_file" => &["name", "path"],
        "track" | "interface_delay" => &["name"],
        "peer" => &["address"],
        _ => &[],
    }
}

fn property(keyword: &KeywordInfo) -> Value {
    let scalar = || json!({"$ref": "#/$defs/scalar"});
    let mut value = match keyword.shape {
        Shape::Flag => json!({"type": "boolean"}),
        Shape::Number { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Time => json!({"type": ["string", "number"], "pattern": r"^[0-9]*\.?[0-9]+(us|ms|s|m|h)?$"}),
        Shape::Words { max: 0 | 1, .. } => scalar(),
        Shape::Words { .. } => one_or_more(scalar()),
        Shape::Block { table, or_words } => {
            let block = json!({"$ref": format!("#/$defs/{table}")});
            one_or_more(if or_words { json!({"anyOf": [scalar(), block]}) } else { block })
        }
        Shape::Any => json!({}),
    };
    if let Some(object) = value.as_object_mut() {
        object.insert("description".to_owned(), keyword.doc.into());
    }
    value
}

/// A value, or a list of them.
fn one_or_more(value: Value) -> Value {
    json!({"anyOf": [value.clone(), {"type": "array", "items": value}]})
}

fn forwarding() -> Value {
    let tunnel = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "type": {"enum": ["ipip", "gue", "gre"]},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "checksum": {"enum": ["nocsum", "csum", "remcsum"]},
        },
    });
    json!({"type": "object", "additionalProperties": false, "properties": {"tun": tunnel}, "required": ["tun"]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_defined_and_every_table_of_yaml_is_referred_to() {
        let schema = schema();
        let text = schema.to_string();
        let defs = schema["$defs"].as_object().unwrap();
        for part in text.split("\"#/$defs/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(defs.contains_key(name), "{name}");
        }
        for name in defs.keys() {
            assert!(text.contains(&format!("\"#/$defs/{name}\"")), "{name}");
        }
    }

    /// A small validator of what this file writes: enough to see that examples and schema say the same.
    #[test]
    fn the_examples_are_valid_by_the_schema_and_a_typo_is_not() {
        let schema = schema();
        let valid = json!({
            "global": {"router_id": "edge-1"},
            "ipvs": {"timeouts": {"tcp": "15m"}, "sysctl": {"conntrack": true}},
            "virtual_servers": [{
                "address": "192.0.2.10:80", "scheduler": "wrr", "forwarding": {"tun": {"type": "gue", "port": 6080}},
                "persistence": {"timeout": "50s", "netmask": 24}, "quorum": 1,
                "check": {"type": "http", "url": "/health", "status": 200, "interval": "6s", "fall": 3, "rise": 2},
                "real_servers": [{"address": "192.0.2.11:80", "weight": 3, "checks": [{"type": "tcp"}]}],
            }],
            "vrrp": {
                "version": 3,
                "instances": [{
                    "name": "VI_1", "interface": "eth0", "virtual_router_id": 51, "advert_interval": "100ms",
                    "addresses": ["192.0.2.10/24", {"address": "192.0.2.11/24", "dev": "eth1"}],
                    "track_script": ["web", {"name": "db", "weight": -20}], "use_vmac": true,
                }],
                "scripts": [{"name": "web", "command": "/bin/true"}],
            },
        });
        assert!(is_valid(&schema, &valid, &schema));
        for (pointer, wrong) in [
            ("/virtual_servers/0", "shceduler"),
            ("/virtual_servers/0/check", "intervall"),
            ("/virtual_servers/0/real_servers/0", "wieght"),
            ("/ipvs/timeouts", "tcpfin"),
            ("/vrrp", "vrrp_version"),
            ("/vrrp/instances/0", "advert_int"),
            ("/vrrp/instances/0/addresses/1", "brdd"),
            ("", "virtual_server"),
        ] {
            let mut broken = valid.clone();
            broken.pointer_mut(pointer).unwrap()[wrong] = json!(1);
            assert!(!is_valid(&schema, &broken, &schema), "{wrong}");
        }
        let mut broken = valid.clone();
        broken["virtual_servers"][0]["quorum"] = json!(0);
        assert!(!is_valid(&schema, &broken, &schema));
    }

    fn is_valid(schema: &Value, value: &Value, root: &Value) -> bool {
        if let Some(name) = schema["$ref"].as_str() {
            return is_valid(root.pointer(name.trim_start_matches('#')).unwrap(), value, root);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            return any.iter().any(|s| is_valid(s, value, root));
        }
        if let Some(all) = schema["enum"].as_array() {
            return all.contains(value);
        }
        let is_of = |kind: &Value| match kind.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            _ => value.is_number(),
        };
        let has_type = match &schema["type"] {
            Value::Null => true,
            Value::Array(kinds) => kinds.iter().any(is_of),
            kind => is_of(kind),
        };
        let in_range = value.as_u64().is_none_or(|n| {
            n >= schema["minimum"].as_u64().unwrap_or(0)
                && n <= schema["maximum"].as_u64().unwrap_or(u64::MAX)
        });
        let items =
            value.as_array().is_none_or(|all| all.iter().all(|v| is_valid(&schema["items"], v, root)));
        let entries = value.as_object().is_none_or(|all| {
            all.iter().all(|(key, v)| match schema["properties"].get(key) {
                Some(s) => is_valid(s, v, root),
                None => schema["additionalProperties"] != json!(false),
            }) && schema["required"]
                .as_array()
                .into_iter()
                .flatten()
                .all(|k| all.contains_key(k.as_str().unwrap()))
        });
        has_type && in_range && items && entries
    }
}
