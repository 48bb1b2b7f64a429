//! `lvsd convert`: golden conversions.
//!
//! `integration/conversions/NAME.conf` (or `.yaml`) is the configuration, `NAME.out` what is said of its conversion, and
//! the result. `LVSD_REWRITE=1` writes them anew.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::convert::report;
use crate::config::Reading;
use crate::config::convert::convert;
use crate::config::load::language_of;
use crate::syntax::files::MemoryFiles;
use crate::syntax::keyword::Language;

#[test]
fn every_conversion_is_as_its_file_says() {
    let rewrites = std::env::var_os("LVSD_REWRITE").is_some_and(|value| value == "1");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/conversions");
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "conf" || e == "yaml")).collect();
    inputs.sort();
    assert!(inputs.len() >= 4, "{inputs:?}");
    let mut wrong = String::new();
    for input in &inputs {
        let (name, to) = match language_of(input) {
            Language::Keepalived => ("/etc/k.conf", "/etc/k.yaml"),
            Language::Yaml => ("/etc/k.yaml", "/etc/k.conf"),
        };
        let files: [(PathBuf, Vec<u8>); 4] = [
            ("/links/eth0".into(), Vec::new()),
            ("/links/lo".into(), b"65536".to_vec()),
            ("/usr/local/src/nginx_check.sh".into(), b"#!/bin/sh\n".to_vec()),
            (name.into(), fs::read(input).unwrap()),
        ];
        let (files, name) = (MemoryFiles(files.into()), Path::new(name));
        let converted =
            convert(&files, name, language_of(input), Path::new(to), &Reading::default()).unwrap();
        let got = report(name, &converted) + "\n" + &converted.text;
        let output = input.with_extension("out");
        if rewrites {
            fs::write(&output, got).unwrap();
        } else if fs::read_to_string(&output).unwrap_or_default() != got {
            wrong.push_str(&format!("== {}\n{got}", output.display()));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
