//! Golden diagnostics: the whole report of `lvsd check` on each file of `integration/diagnostics`, and that the
//! suggestions in it lead to a configuration that works.
//!
//! `NAME.conf` or `NAME.yaml` is the configuration, `NAME.out` the report and the exit status. A file whose name ends
//! in `-lenient` is read with `--lenient`. `LVSD_REWRITE=1` writes the reports anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::check;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::config::root;
use crate::syntax::files::MemoryFiles;
use crate::syntax::keyword::{Shape, Support};

/// There are so many at least: a folder that is not found compares nothing.
const CASES: usize = 170;

#[test]
fn every_report_is_as_its_file_says() {
    let rewrites = std::env::var_os("LVSD_REWRITE").is_some_and(|value| value == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/diagnostics");
    let mut inputs = BTreeMap::new();
    let mut outputs = BTreeMap::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.extension().and_then(|e| e.to_str()) {
            Some("conf" | "yaml") => {
                let twice = inputs.insert(stem, path);
                assert!(
                    twice.is_none(),
                    "{twice:?} has a neighbour of the same name: their .out would be one"
                );
            }
            Some("out") => drop(outputs.insert(stem, path)),
            _ => {}
        }
    }
    assert!(inputs.len() >= CASES, "{} cases in {}", inputs.len(), folder.display());
    let mut wrong = String::new();
    for (stem, input) in &inputs {
        let got = report_on(stem, input);
        let output = outputs.remove(stem).unwrap_or_else(|| input.with_extension("out"));
        let wanted = fs::read_to_string(&output).unwrap_or_default();
        if got == wanted {
            continue;
        }
        if rewrites {
            fs::write(&output, got).unwrap();
        } else {
            wrong.push_str(&format!("== {}\n{}", output.display(), difference(&wanted, &got)));
        }
    }
    for (_, orphan) in outputs {
        if rewrites {
            fs::remove_file(orphan).unwrap();
        } else {
            wrong.push_str(&format!("== {}: no .conf or .yaml belongs to it\n", orphan.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "{wrong}\nIf the new text is what it should be: LVSD_REWRITE=1 cargo test --lib -- cli::tests::diagnostics, \
         and look at git diff"
    );
}

/// What `lvsd check` prints and returns, on a host with one interface, a few addresses and one script.
fn report_on(stem: &str, input: &Path) -> String {
    let name = if input.extension().is_some_and(|e| e == "yaml") { "lvsd.yaml" } else { "keepalived.conf" };
    let addresses =
        ["192.0.2.1", "192.0.2.200", "192.168.1.129", "192.168.2.108", "192.168.2.188", "192.168.177.191"];
    let addresses: String = addresses.iter().map(|a| format!("  |-- {a}\n     /32 host LOCAL\n")).collect();
    let files: [(PathBuf, Vec<u8>); 5] = [
        ("/links/eth0".into(), Vec::new()),
        ("/links/lo".into(), b"65536".to_vec()),
        (
            "/proc/net/fib_trie".into(),
            format!("Local:\n{addresses}  |-- 192.0.2.255\n     /32 link BROADCAST\n").into_bytes(),
        ),
        ("/usr/local/src/nginx_check.sh".into(), b"#!/bin/sh\n".to_vec()),
        (name.into(), fs::read(input).unwrap()),
    ];
    let strictness = if stem.ends_with("-lenient") { Strictness::Lenient } else { Strictness::Strict };
    let loaded = load_from(&MemoryFiles(files.into()), Path::new(name), strictness);
    let report = check::report(Path::new(name), &loaded, false);
    format!("{}exit status {}\n", report.text, report.exit as u8)
}

/// The lines from the first to the last that differ.
fn difference(wanted: &str, got: &str) -> String {
    let (wanted, got): (Vec<&str>, Vec<&str>) = (wanted.lines().collect(), got.lines().collect());
    let same = |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let before = same(&mut wanted.iter().zip(&got));
    let behind = same(&mut wanted[before..].iter().rev().zip(got[before..].iter().rev()));
    let lines = |sign: &str, all: &[&str]| {
        all[before..all.len() - behind].iter().map(|line| format!("{sign} {line}\n")).collect::<String>()
    };
    format!("line {}:\n{}{}", before + 1, lines("-", &wanted), lines("+", &got))
}

#[test]
fn following_the_help_for_a_block_loses_nothing() {
    for (text, help) in [
        ("weight 1 MISC_CHECK {\n misc_path /bin/true\n }", "start a new line before `MISC_CHECK`"),
        (
            "weight 1 {\n TCP_CHECK {\n }\n }",
            "remove the braces, and leave what is in them: `TCP_CHECK` belongs here",
        ),
        ("weight 1 {\n }", "remove the braces"),
        ("weight 1 {\n pony\n }", "remove the braces and what is in them, which belongs to something else"),
        (
            "pony TCP_CHECK {\n }",
            "`TCP_CHECK` may begin a statement: remove `pony` before it, or make all of it a comment with `#`",
        ),
        ("pony {\n weight 1\n }", "write the word that was meant, or remove it and its block"),
    ] {
        let report = text_of(&String::from_utf8(real_server(text)).unwrap());
        assert!(report.contains(&format!("{help}\n")), "{report}");
    }
}

/// Each keyword behind each flag, number and time of its block.
#[test]
fn a_keyword_behind_another_ones_value_is_to_begin_a_new_line() {
    let frames = [
        ("virtual_server", "virtual_server 192.0.2.1 80 {\n@\n}\n"),
        ("real_server", "virtual_server 192.0.2.1 80 {\n real_server 10.0.0.1 80 {\n@\n}\n}\n"),
        ("HTTP_GET", "virtual_server 192.0.2.1 80 {\n real_server 10.0.0.1 80 {\n HTTP_GET {\n@\n}\n}\n}\n"),
        ("vrrp_instance", "vrrp_instance V {\n@\n}\n"),
        ("vrrp_script", "vrrp_script V {\n@\n}\n"),
        ("global_defs", "global_defs {\n@\n}\n"),
    ];
    let listing = root::listing();
    let mut wrong = Vec::new();
    for (block, frame) in frames {
        let own: Vec<_> = listing.iter().filter(|k| k.block == block && !k.names.is_empty()).collect();
        let first = own.iter().filter(|k| k.support == Support::Supported).filter_map(|k| match k.shape {
            Shape::Flag => Some(k.names[0].to_owned()),
            Shape::Number { min, .. } => Some(format!("{} {}", k.names[0], min.max(1))),
            Shape::Time => Some(format!("{} 1", k.names[0])),
            _ => None,
        });
        let first: Vec<String> = first.collect();
        assert!(!first.is_empty() && own.len() > 5, "{block}");
        for (before, behind) in first.iter().flat_map(|a| own.iter().map(move |b| (a, b.names[0]))) {
            for rest in ["{\n}", "x"] {
                let statement = format!("{before} {behind} {rest}");
                let report = text_of(&frame.replace('@', &statement));
                if !report.contains(&format!("start a new line before `{behind}`\n")) {
                    wrong.push(format!("{block}: {statement}\n{report}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them, e.g. {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

fn text_of(text: &str) -> String {
    let path = Path::new("keepalived.conf");
    let files = MemoryFiles([(path.to_owned(), text.as_bytes().to_vec())].into());
    check::report(path, &load_from(&files, path, Strictness::Strict), false).text
}

/// In a real server of a virtual server that lacks nothing.
fn real_server(text: &str) -> Vec<u8> {
    let head = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";
    format!("{head}real_server 10.0.0.1 80 {{\n{text}\n}}\n}}\n").into_bytes()
}
