//! Odd files and their verdicts: what people paste, tear, template and save in the wrong way.
//!
//! A case is a name, a text, the verdict with its numbers of errors and warnings, and a phrase of what is said.
//! The texts are also what the fuzz targets begin with.

mod language;
mod values;
mod written;
mod yaml;

use std::path::Path;

use crate::config::Strictness;
use crate::config::load::load_from;
use crate::fuzz::configuration::{NeighbouringFiles, path};

use super::said;
use crate::syntax::diagnostic::Class;

/// An odd file.
pub(crate) struct Odd {
    pub(crate) name: &'static str,
    pub(crate) text: Vec<u8>,
    pub(crate) is_yaml: bool,
    runs: bool,
    errors: usize,
    warnings: usize,
    phrase: &'static str,
}

/// All odd files.
pub(crate) fn all() -> Vec<Odd> {
    let mut all = written::cases();
    all.extend(language::cases());
    all.extend(values::cases());
    all.extend(yaml::cases());
    all
}

#[test]
fn odd_files_get_the_verdict_they_deserve() {
    let mut wrong = String::new();
    for odd in all() {
        let path = path(odd.is_yaml);
        let loaded =
            load_from(&NeighbouringFiles::new(odd.is_yaml, odd.text), Path::new(path), Strictness::Strict);
        let said =
            said(&loaded) + &[loaded.lines(Class::Error), loaded.lines(Class::Warning)].concat().join("\n");
        let found = (loaded.config.is_some(), loaded.diagnostics.errors(), loaded.diagnostics.warnings());
        if found != (odd.runs, odd.errors, odd.warnings) || !said.contains(odd.phrase) {
            let wanted = (odd.runs, odd.errors, odd.warnings, odd.phrase);
            wrong.push_str(&format!("== {}: wanted {wanted:?}, found {found:?}\n{}\n", odd.name, said));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn there_are_a_hundred_and_fifty_odd_files_and_no_two_of_a_name() {
    let names: std::collections::BTreeSet<_> = all().iter().map(|odd| odd.name).collect();
    assert_eq!(names.len(), all().len());
    assert!(names.len() >= 150, "{}", names.len());
}

fn runs(name: &'static str, text: impl AsRef<[u8]>, warnings: usize, phrase: &'static str) -> Odd {
    let text = text.as_ref().to_vec();
    Odd { name, text, is_yaml: false, runs: true, errors: 0, warnings, phrase }
}

fn refused(name: &'static str, text: impl AsRef<[u8]>, errors: usize, phrase: &'static str) -> Odd {
    let text = text.as_ref().to_vec();
    Odd { name, text, is_yaml: false, runs: false, errors, warnings: 0, phrase }
}

impl Odd {
    /// With warnings beside the errors.
    fn and(self, warnings: usize) -> Odd {
        Odd { warnings, ..self }
    }
}

/// A whole configuration with nothing to say about.
const GOOD: &str = "virtual_server 192.0.2.10 80 {
    protocol TCP
    delay_loop 5
    lb_algo rr
    lb_kind NAT
    real_server 192.0.2.11 80 {
        TCP_CHECK {
            connect_timeout 3
        }
    }
}
";

/// Text before a good configuration.
fn top(text: &str) -> String {
    format!("{text}\n{GOOD}")
}

/// Statements of a virtual server that is otherwise good.
fn vs(text: &str) -> String {
    GOOD.replace("    real_server", &format!("{text}\n    real_server"))
}

/// Statements of a real server that is otherwise good.
fn rs(text: &str) -> String {
    GOOD.replace("        TCP_CHECK", &format!("{text}\n        TCP_CHECK"))
}

/// Statements of its checker.
fn tcp(text: &str) -> String {
    GOOD.replace("            connect_timeout 3", &format!("            connect_timeout 3\n{text}"))
}
