//! `lvsd check`: everything that is to be said about a configuration file.

use std::path::Path;

use crate::config::{self, Loaded};
use crate::daemon::startup::Exit;
use crate::daemon::traps;

use super::render;

/// What `lvsd check` prints, and its exit status: 0 when the configuration can be run, 78 when not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The diagnostics and the verdict.
    pub text: String,
    /// Exit status.
    pub exit: Exit,
}

/// Checks a configuration file.
pub fn check(path: &Path) -> Report {
    report(path, &config::load(path))
}

/// As [`check`], and what on this host will hurt the configuration, where this host is a director.
pub fn check_here(path: &Path) -> Report {
    let loaded = config::load(path);
    let mut report = report(path, &loaded);
    let traps = loaded.config.as_ref().map(traps::here).unwrap_or_default();
    let traps: String = traps.into_iter().map(|trap| format!("warning: this host: {trap}\n\n")).collect();
    report.text = traps + &report.text;
    report
}

/// The report on a configuration that was read.
pub fn report(path: &Path, loaded: &Loaded) -> Report {
    let mut text = render::render(&loaded.diagnostics, &loaded.sources);
    text.push_str(&verdict(path, loaded));
    Report { text, exit: if loaded.config.is_some() { Exit::Ok } else { Exit::Config } }
}

/// One line: `FILE: 2 errors, 1 warning: cannot be run`.
fn verdict(path: &Path, loaded: &Loaded) -> String {
    let path = path.display();
    let (errors, warnings) = (loaded.diagnostics.errors(), loaded.diagnostics.warnings());
    let problems = match (errors, warnings) {
        (0, 0) => "no problems".to_owned(),
        (0, w) => count(w, "warning"),
        (e, 0) => count(e, "error"),
        (e, w) => format!("{}, {}", count(e, "error"), count(w, "warning")),
    };
    match &loaded.config {
        Some(config) => {
            let virtual_servers = config.virtual_servers.len();
            let real_servers = config.virtual_servers.iter().map(|v| v.real_servers.len()).sum();
            let what = format!(
                "{}, {}",
                count(virtual_servers, "virtual server"),
                count(real_servers, "real server")
            );
            format!("{path}: {what}: {problems}: can be run\n")
        }
        None => format!("{path}: {problems}: cannot be run\n"),
    }
}

fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}
