//! `lvsd check --fix`: golden corrections, and what holds of every file.
//!
//! `integration/fixes/NAME.conf` (or `.yaml`) is the configuration, `NAME.out` the diff and the report on what it makes.
//! `LVSD_REWRITE=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::{check, fix as command, render};
use crate::config::Reading;
use crate::config::fix::{Fixed, fix};
use crate::config::load::load_from;
use crate::syntax::files::MemoryFiles;

fn files(name: &str, text: &[u8]) -> MemoryFiles {
    let files: [(PathBuf, Vec<u8>); 4] = [
        ("/links/eth0".into(), Vec::new()),
        ("/links/lo".into(), b"65536".to_vec()),
        ("/usr/local/src/nginx_check.sh".into(), b"#!/bin/sh\n".to_vec()),
        (name.into(), text.to_vec()),
    ];
    MemoryFiles(files.into())
}

fn fixed(name: &str, text: &[u8]) -> Fixed {
    fix(&files(name, text), Path::new(name), &Reading::default(), &render::has_secret)
}

fn name_of(path: &Path) -> &'static str {
    if path.extension().is_some_and(|e| e == "yaml") { "lvsd.yaml" } else { "keepalived.conf" }
}

/// The files of these folders that are configurations.
fn inputs(folders: &[&str]) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(root.join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf" || e == "yaml"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn every_correction_is_as_its_file_says() {
    let rewrites = std::env::var_os("LVSD_REWRITE").is_some_and(|value| value == "1");
    let inputs = inputs(&["integration/fixes"]);
    assert!(inputs.len() >= 6, "{inputs:?}");
    let mut wrong = String::new();
    for input in &inputs {
        let name = name_of(input);
        let fixed = fixed(name, &fs::read(input).unwrap());
        let diffs: String = fixed.changes.iter().map(command::diff).collect();
        let loaded = fixed.after.as_ref().unwrap_or(&fixed.before);
        let report = check::report(Path::new(name), loaded, false);
        let got = format!("{diffs}\n{}exit status {}\n", report.text, report.exit as u8);
        let output = input.with_extension("out");
        if rewrites {
            fs::write(&output, got).unwrap();
        } else if fs::read_to_string(&output).unwrap_or_default() != got {
            wrong.push_str(&format!("== {}\n{got}", output.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_corrected_file_has_no_more_errors_and_nothing_to_correct() {
    for path in inputs(&["integration/fixes", "integration/diagnostics"]) {
        let (name, text) = (name_of(&path), fs::read(&path).unwrap());
        let first = fixed(name, &text);
        let [change] = first.changes.as_slice() else { continue };
        let after = first.after.as_ref().unwrap();
        assert!(after.diagnostics.errors() <= first.before.diagnostics.errors(), "{}", path.display());
        assert_eq!(change.old.lines().count(), change.new.lines().count(), "{}", path.display());
        let second = fixed(name, change.new.as_bytes());
        assert_eq!(second.changes, [], "{}", path.display());
        // What was corrected is what is read.
        let read = load_from(
            &files(name, change.new.as_bytes()),
            Path::new(name),
            crate::config::Strictness::Strict,
        );
        assert_eq!(read.config, after.config, "{}", path.display());
    }
}

#[test]
fn a_correct_file_is_never_changed() {
    let mut count = 0;
    for path in inputs(&["examples", "integration/diagnostics"]) {
        let (name, text) = (name_of(&path), fs::read(&path).unwrap());
        let loaded = load_from(&files(name, &text), Path::new(name), crate::config::Strictness::Strict);
        if loaded.diagnostics.errors() + loaded.diagnostics.warnings() == 0 {
            count += 1;
            assert_eq!(fixed(name, &text).changes, [], "{}", path.display());
        }
    }
    assert!(count >= 15, "{count}");
}

/// A keyword with each slip of one letter, in a file that is right otherwise: it becomes the keyword again, or stays.
#[test]
fn a_slip_becomes_the_word_that_was_meant_or_stays() {
    let head = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";
    let text = |line: &str| format!("{head}{line}\nreal_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n");
    let mut mended = 0;
    for (keyword, value) in
        [("delay_loop", "7"), ("persistence_timeout", "50"), ("quorum", "1"), ("alpha", "")]
    {
        let right = text(&format!("{keyword} {value}"));
        let meant = load_from(
            &files("k.conf", right.as_bytes()),
            Path::new("k.conf"),
            crate::config::Strictness::Strict,
        );
        assert!(meant.config.is_some(), "{keyword}");
        for at in 0..keyword.len() {
            let (before, behind) = keyword.split_at(at);
            let dropped = format!("{before}{}", &behind[1..]);
            let doubled = format!("{before}{}{behind}", &behind[..1]);
            let wrong = format!("{before}x{}", &behind[1..]);
            for slip in [dropped, doubled, wrong] {
                let result = fixed("k.conf", text(&format!("{slip} {value}")).as_bytes());
                if let Some(after) = result.after.filter(|after| after.config.is_some()) {
                    assert_eq!(after.config, meant.config, "{slip}");
                    mended += 1;
                }
            }
        }
    }
    assert!(mended > 80, "{mended}");
}

/// A file that is included twice is corrected once; one that no longer is what was read is not.
#[test]
fn every_file_of_a_configuration_is_corrected() {
    let part = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n@\n}\n";
    let real = "real_server 10.0.0.1 80 {\nweigth 3\nTCP_CHECK {\n}\n}\n";
    let main = format!(
        "{}{}",
        part.replace('@', "include real.conf"),
        part.replace('@', "include real.conf").replace(".10", ".11")
    );
    let files = MemoryFiles::new(&[("/k/k.conf", &main), ("/k/real.conf", real)]);
    let result = fix(&files, Path::new("/k/k.conf"), &Reading::default(), &render::has_secret);
    assert!(result.after.is_some_and(|after| after.config.is_some()));
    let [change] = result.changes.as_slice() else { panic!("{:?}", result.changes) };
    assert_eq!(
        (change.path.to_str(), &*change.new),
        (Some("/k/real.conf"), &*real.replace("weigth", "weight"))
    );
}

/// Any text: corrections end, do no harm, and are not needed twice.
#[test]
fn shuffled_lines_are_corrected_once() {
    let lines: Vec<String> = inputs(&["integration/fixes", "integration/diagnostics"])
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .flat_map(|path| {
            String::from_utf8_lossy(&fs::read(path).unwrap()).lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|line| line.len() < 200)
        .collect();
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let text: String =
            (0..rng.usize(1..30)).map(|_| format!("{}\n", lines[rng.usize(..lines.len())])).collect();
        let first = fixed("k.conf", text.as_bytes());
        let [change] = first.changes.as_slice() else { continue };
        let after = first.after.unwrap();
        assert!(after.diagnostics.errors() <= first.before.diagnostics.errors(), "round {round}: {text}");
        assert_eq!(fixed("k.conf", change.new.as_bytes()).changes, [], "round {round}: {text}");
    }
}
