//! `lvsd check` and its options.

use std::path::Path;

use crate::cli::check::{json, pathless, report};
use crate::config::load::load_from;
use crate::config::{Loaded, Strictness};
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Class;
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

#[test]
fn lenient_skips_unknown_words_with_their_blocks_and_reads_what_follows() {
    let text = format!(
        "frobnicate {{\nvirtual_server 192.0.2.99 80 {{\n}}\n}}\n{HEAD}shiny on\nreal_server 10.0.0.1 80 {{\nwieght 5\nTCP_CHECK {{\nconect_port 81\n}}\n}}\n}}\n"
    );
    let loaded = conf(&text, Strictness::Lenient);
    let wanted = [
        "k.conf:1:1: `frobnicate` is not a keyword of the top level: its block is skipped: what it means is not known: write the word that was meant, or remove it and its block",
        "k.conf:9:1: `shiny` is not a keyword of virtual_server, and is skipped: remove it, or make it a comment with `#`: what it means is not known",
        "k.conf:11:1: `wieght` is not a keyword of real_server, and is skipped: did you mean `weight`?",
        "k.conf:13:1: `conect_port` is not a keyword of TCP_CHECK, and is skipped: did you mean `connect_port`?",
    ];
    assert_eq!(loaded.lines(Class::Warning), wanted);
    let servers = loaded.config.unwrap().virtual_servers;
    assert_eq!(servers.len(), 1);
    assert_eq!((servers[0].real_servers[0].weight, servers[0].real_servers[0].checkers.len()), (1, 1));
    assert_eq!(conf(&text, Strictness::Strict).diagnostics.errors(), 4);
}

#[test]
fn lenient_never_leaves_a_server_without_its_check() {
    let loaded =
        conf(&format!("{HEAD}real_server 10.0.0.1 80 {{\nTCP_CHEK {{\n}}\n}}\n}}\n"), Strictness::Lenient);
    let wanted = "k.conf:6:1: `TCP_CHEK` was skipped, and leaves real server 10.0.0.1:80 without a check: it may have been one: correct or remove it";
    assert_eq!(loaded.lines(Class::Error), [wanted]);
    // A check that is known and not built is no unknown word.
    let loaded =
        conf(&format!("{HEAD}real_server 10.0.0.1 80 {{\nMISC_CHECK {{\n}}\n}}\n}}\n"), Strictness::Lenient);
    assert!(loaded.config.is_none());
    // Another server's word leaves this one alone.
    let loaded = conf(
        &format!(
            "{HEAD}real_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\nshiny {{\n}}\n}}\nreal_server 10.0.0.2 80 {{\n}}\n}}\n"
        ),
        Strictness::Lenient,
    );
    assert!(loaded.config.is_some());
}

#[test]
fn lenient_yaml_keeps_the_check_of_the_virtual_server() {
    let text = |key: &str| {
        format!(
            "virtual_servers:\n  - address: 192.0.2.10:80\n    forwarding: nat\n    {key}: {{type: tcp}}\n    real_servers:\n      - {{address: 10.0.0.1:80}}\n"
        )
    };
    let lenient = |text: &str| {
        load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), Path::new("lvsd.yaml"), Strictness::Lenient)
    };
    assert!(lenient(&text("check")).config.is_some());
    let loaded = lenient(&text("chek"));
    let wanted = "lvsd.yaml:4:5: `chek` was skipped, and leaves real server 10.0.0.1:80 without a check: it may have been one: correct or remove it";
    assert_eq!(loaded.lines(Class::Error), [wanted]);
}

fn conf(text: &str, strictness: Strictness) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), strictness)
}

fn yaml(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), Path::new("lvsd.yaml"), Strictness::Strict)
}

#[test]
fn who_does_not_check_ways_is_told_of_it_and_nobody_must() {
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
