//! The wall between layers, as a test: no file uses a layer above its own, and none below the shell reads a clock.

use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. Entries of one row do not use each other.
const LAYERS: &[&[&str]] = &[
    &["time", "date", "text"],
    &["script", "syntax"],
    &["netlink"],
    &["ipvs", "net"],
    &["bfd", "check"],
    &["vrrp"],
    &["notify"],
    &["config"],
    &["director", "host_setup"],
    &["doctor"],
    &["daemon"],
    &["cli"],
];

#[test]
fn no_layer_uses_one_above_or_beside_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).expect("a file below src");
        let Some(own) = layer_of(relative) else { continue };
        let text = fs::read_to_string(&path).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            for used in uses(line) {
                seen += 1;
                let rank = |name: &str| LAYERS.iter().position(|row| row.contains(&name));
                let is_fine = used == own || rank(used) < rank(own);
                assert!(is_fine, "{}:{}: {own} may not use {used}", relative.display(), number + 1);
            }
        }
    }
    assert!(seen > 100, "the walk found only {seen} uses: is it broken?");
}

#[test]
fn specifications_of_checks_use_no_conversation() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for path in rust_files(&source.join("check/spec")) {
        let text = fs::read_to_string(&path).expect("a source file");
        let is_root = path.ends_with("mod.rs");
        for (number, line) in text.lines().enumerate() {
            let leaves = line.contains("super::super::") || is_root && line.contains("super::");
            let leaves = leaves || line.replace("crate::check::spec", "").contains("crate::check");
            assert!(!leaves, "{}:{}: {line}", path.display(), number + 1);
        }
        seen += 1;
    }
    assert!(seen > 5, "the walk found only {seen} files: is it broken?");
}

/// Files that may do what .clippy.toml forbids: read a clock, sleep, and the like.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("daemon/clock.rs", "the clock that everything else is handed"),
    ("cli/handover.rs", "the pause of a command that waits for what nothing announces"),
    ("cli/order.rs", "the same"),
    ("vrrp/sim/scale.rs", "the CPU time that events of large settings cost"),
    ("check/tls/tests.rs", "the CPU time of a measurement that is run by hand"),
];

#[test]
fn clocks_are_read_in_the_shell_alone() {
    // Clippy refuses every way to read one, daemon::clock is the shell's, and the test above keeps layers below from
    // using the shell: what is left is who switches the lint off.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    for path in rust_files(&source) {
        let relative = path.strip_prefix(&source).expect("a file below src").display().to_string();
        let text = fs::read_to_string(&path).expect("a source file");
        if relative != "layers.rs" && text.contains("disallowed_methods") {
            found.push(relative);
        }
    }
    found.sort();
    let mut allowed: Vec<&str> = EXCEPTIONS.iter().map(|(file, _)| *file).collect();
    allowed.sort_unstable();
    assert_eq!(found, allowed);
    let lints = include_str!("../.clippy.toml");
    for way in ["std::time::Instant::now", "std::time::SystemTime::now", "rustix::time::clock_gettime"] {
        assert!(lints.contains(&format!("\"{way}\"")), "{way} is not refused");
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten().map(|e| e.path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|p| p.is_dir());
    let is_rust = |p: &PathBuf| p.extension().is_some_and(|e| e == "rs");
    files.into_iter().filter(is_rust).chain(folders.iter().flat_map(|f| rust_files(f))).collect()
}

fn layer_of(file: &Path) -> Option<&'static str> {
    let first = file.components().next()?.as_os_str().to_str()?;
    let name = first.trim_end_matches(".rs");
    LAYERS.iter().flat_map(|row| row.iter()).find(|layer| **layer == name).copied()
}

/// The layers named after `crate::` in a line, whether in a `use` or in the middle of an expression.
fn uses(line: &str) -> impl Iterator<Item = &'static str> {
    let words = line.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest.get(..end).unwrap_or("").to_owned()
    });
    let names: Vec<String> = words.collect();
    names
        .into_iter()
        .filter_map(|name| LAYERS.iter().flat_map(|row| row.iter()).find(|layer| **layer == name).copied())
}
