//! `lvsd check` and its options.

use std::path::Path;

use crate::cli::check::{json, pathless, report};
use crate::config::load::load_from;
use crate::config::{Loaded, Strictness};
use crate::daemon::startup::Exit;
use crate::syntax::files::MemoryFiles;

const HEAD: &str = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";

#[test]
fn denied_warnings_forbid_to_run() {
    let loaded = conf(
        &format!("{HEAD}quorum 9\nreal_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n"),
        Strictness::Strict,
    );
    let path = Path::new("k.conf");
    assert_eq!(report(path, &loaded, false).exit, Exit::Ok);
    let denied = report(path, &loaded, true);
    assert_eq!(denied.exit, Exit::Config);
    assert!(
        denied.text.ends_with(
            "\nk.conf: 1 virtual server, 1 real server: 1 warning: warnings are denied: not to be run\n"
        ),
        "{}",
        denied.text
    );
    let clean =
        conf(&format!("{HEAD}real_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n"), Strictness::Strict);
    assert_eq!(report(path, &clean, true).exit, Exit::Ok);
}

#[test]
fn programs_get_every_place() {
    let loaded = yaml(
        "virtual_servers:\n  - address: 192.0.2.10:80\n    address: 192.0.2.11:80\n    forwarding: nat\n    real_servers:\n      - {address: 10.0.0.1:80, wieght: 3}\n",
    );
    let text = json(Path::new("lvsd.yaml"), &loaded, Exit::Config, vec!["lo is down".to_owned()], Vec::new());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let wanted = serde_json::json!({
        "file": "lvsd.yaml", "can_be_run": false, "errors": 2, "warnings": 0, "not_listed": 0, "this_host": ["lo is down"], "hints": [],
        "diagnostics": [
            {
                "file": "lvsd.yaml", "line": 3, "column": 5, "class": "error", "message": "`address` is given twice",
                "help": "remove one: a key stands once in its mapping",
                "notes": [{"file": "lvsd.yaml", "line": 2, "column": 5, "message": "the first one is here"}],
            },
            {
                "file": "lvsd.yaml", "line": 6, "column": 32, "class": "error", "message": "`wieght` is not a keyword of a real server",
                "help": "did you mean `weight`?",
                "suggestion": {"certainty": "if_clean", "edits": [{
                    "file": "lvsd.yaml", "line": 6, "column": 32, "end_line": 6, "end_column": 38, "text": "weight",
                }]},
            },
        ],
    });
    assert_eq!(value, wanted);
}

#[test]
fn a_problem_of_a_file_as_a_whole_has_no_place_for_programs() {
    let path = Path::new("none.conf");
    let loaded = load_from(&MemoryFiles::default(), path, Strictness::Strict);
    let value: serde_json::Value =
        serde_json::from_str(&json(path, &loaded, Exit::Config, vec!["lo is down".to_owned()], Vec::new()))
            .unwrap();
    let wanted =
        serde_json::json!([{"class": "error", "message": "none.conf: there is no such file", "help": null}]);
    assert_eq!(value["diagnostics"], wanted);
}

fn conf(text: &str, strictness: Strictness) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), strictness)
}

fn yaml(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), Path::new("lvsd.yaml"), Strictness::Strict)
}

#[test]
fn a_missing_path_check_is_only_a_hint() {
    let server = |kind: &str, word: &str| {
        let text = format!(
            "virtual_server 192.0.2.10 80 {{\nlb_kind {kind}\nlb_algo rr\nprotocol TCP\n{word}\nreal_server 192.0.2.11 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n"
        );
        let loaded = conf(&text, Strictness::Strict);
        assert_eq!(loaded.diagnostics.warnings(), 0, "--deny-warnings has nothing to deny");
        pathless(&loaded.config.unwrap())
    };
    assert!(server("DR", "").unwrap().starts_with("1 real server by DR or TUN: a check of its own address"));
    assert_eq!((server("DR", "path_check"), server("NAT", "")), (None, None));
}
