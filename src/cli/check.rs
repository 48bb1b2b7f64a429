//! `lvsd check`: everything that is to be said about a configuration file.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use serde::Serialize;

use super::{ConfigArguments, fix, keywords, print, render};
use crate::config::{self, Config, Loaded, Namespace, Reading, VirtualServerId};
use crate::daemon::host_checks;
use crate::daemon::rights::Rights;
use crate::daemon::startup::Exit;
use crate::director::event::count;
use crate::ipvs::types::{Forwarding, Protocol};
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// For programs: one JSON object
    #[arg(long)]
    json: bool,
    /// A configuration with warnings cannot be run, either
    #[arg(long)]
    deny_warnings: bool,
    /// Say nothing that depends on this host: its files, interfaces, addresses and settings
    #[arg(long)]
    offline: bool,
    /// Correct slips that can mean nothing else: a unified diff on standard output, the report on the corrected
    /// configuration on standard error
    #[arg(long)]
    fix: bool,
    /// With --fix: replace the files, each whole or not at all
    #[arg(long, requires = "fix")]
    write: bool,
    /// Read no configuration: list every keyword, and what lvsd does with it; or all about one WORD
    #[arg(long, value_name = "WORD", num_args = 0..=1, conflicts_with_all = ["file", "config", "deny_warnings", "fix", "lenient", "schema"])]
    keywords: Option<Option<String>>,
    /// Read no configuration: print the JSON Schema of lvsd.yaml
    #[arg(long, conflicts_with_all = ["file", "config", "deny_warnings", "fix", "lenient", "json"])]
    schema: bool,
}

pub(super) fn run(arguments: &CheckArguments) -> Exit {
    match &arguments.keywords {
        Some(None) => {
            print(&if arguments.json { keywords::json() } else { keywords::table() });
            return Exit::Ok;
        }
        Some(Some(word)) => return keywords::explain(word, arguments.json),
        None => {}
    }
    if arguments.schema {
        print(&super::schema::text());
        return Exit::Ok;
    }
    let path = arguments.config.path();
    let reading =
        Reading { is_offline: arguments.offline, namespace: Namespace::Look, ..arguments.config.reading() };
    if arguments.fix {
        return fix::run(&path, &reading, arguments.into());
    }
    let loaded = config::load_once(&path, &reading);
    let mut report = report(&path, &loaded, arguments.deny_warnings);
    // What on this host will hurt the configuration, where this host is a director: no fault of the file's.
    let here = loaded.config.as_ref().filter(|_| !arguments.offline);
    let mut problems = here.map(host_checks::check).unwrap_or_default();
    if let Some(config) = here {
        let lacking = Rights::of_directors().into_iter().filter_map(|rights| rights.lacking(config));
        problems.extend(lacking.map(|lacking| lacking.to_string()));
    }
    // Nothing needs to be done about these.
    let mut colocations = here.map(host_checks::colocations).unwrap_or_default();
    colocations.extend(here.map(host_checks::other_nodes).unwrap_or_default());
    colocations.extend(loaded.elsewhere.iter().cloned());
    let hints = loaded.config.as_ref().and_then(pathless).into_iter().chain(fixable(&path, &loaded));
    let hints: Vec<String> = hints.collect();
    if arguments.json {
        print(&json(&path, &loaded, report.exit, [problems, colocations].concat(), hints));
    } else {
        if !problems.is_empty() {
            report.text.push_str(&format!("this host: {}\n", count(problems.len(), "warning")));
        }
        let warnings = problems.into_iter().map(|problem| format!("warning: this host: {problem}\n\n"));
        let notes = colocations.into_iter().chain(hints).map(|found| format!("note: {found}\n\n"));
        print(&(warnings.chain(notes).collect::<String>() + &report.text));
    }
    report.exit
}

impl From<&CheckArguments> for fix::Options {
    fn from(arguments: &CheckArguments) -> fix::Options {
        fix::Options {
            is_json: arguments.json,
            denies_warnings: arguments.deny_warnings,
            writes: arguments.write,
        }
    }
}

/// The hint that some problems can be corrected by `--fix`.
fn fixable(path: &Path, loaded: &Loaded) -> Option<String> {
    let problems = match config::fix::count(loaded) {
        0 => return None,
        1 => "one of these problems".to_owned(),
        problems => format!("{problems} of these problems"),
    };
    let path = path.display().to_string();
    Some(format!("`lvsd check --fix {}` shows the correction of {problems}", text::line(&path)))
}

/// The hint that `path_check` would see more, where it is not used.
pub(super) fn pathless(config: &Config) -> Option<String> {
    let is_tcp = |id| matches!(id, VirtualServerId::Address { protocol: Protocol::Tcp, .. });
    let servers = config.virtual_servers.iter().filter(|server| is_tcp(server.id));
    let direct: BTreeSet<SocketAddr> = servers
        .flat_map(|server| &server.real_servers)
        .filter(|real| real.path_check.is_none())
        .filter(|real| matches!(real.forwarding, Forwarding::Dr | Forwarding::Tun(_)))
        .map(|real| real.address)
        .collect();
    (!direct.is_empty()).then(|| {
        format!(
            "{} by DR or TUN: a check of its own address does not show whether it takes packets for the VIP; \
             `path_check` in the virtual server does, and removes a server that does not",
            count(direct.len(), "real server")
        )
    })
}

/// What `lvsd check` prints, and its exit status: 0 when the configuration can be run, 78 when not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// The diagnostics and the verdict.
    pub text: String,
    /// Exit status.
    pub exit: Exit,
}

/// The report on a configuration that was read.
pub(crate) fn report(path: &Path, loaded: &Loaded, denies_warnings: bool) -> Report {
    let mut text = render::render(&loaded.diagnostics, &loaded.sources);
    let is_denied = denies_warnings && loaded.diagnostics.warnings() > 0;
    text.push_str(&verdict(path, loaded, is_denied));
    Report { text, exit: if loaded.config.is_some() && !is_denied { Exit::Ok } else { Exit::Config } }
}

/// What is printed for programs.
#[derive(Serialize)]
struct Verdict {
    file: String,
    can_be_run: bool,
    errors: usize,
    warnings: usize,
    /// More problems than are listed.
    not_listed: usize,
    diagnostics: Vec<render::Listed>,
    /// What on this host will hurt it, and what it is to it.
    this_host: Vec<String>,
    /// What may be done, and need not.
    hints: Vec<String>,
}

/// The report for programs.
pub(crate) fn json(
    path: &Path,
    loaded: &Loaded,
    exit: Exit,
    this_host: Vec<String>,
    hints: Vec<String>,
) -> String {
    let verdict = Verdict {
        file: path.display().to_string(),
        can_be_run: exit == Exit::Ok,
        errors: loaded.diagnostics.errors(),
        warnings: loaded.diagnostics.warnings(),
        not_listed: loaded.diagnostics.dropped(),
        diagnostics: loaded.diagnostics.iter().map(|d| render::listed(d, &loaded.sources)).collect(),
        this_host,
        hints,
    };
    super::json(&verdict)
}

/// One line: `FILE: 2 errors, 1 warning: cannot be run`.
fn verdict(path: &Path, loaded: &Loaded, is_denied: bool) -> String {
    let path = path.display().to_string();
    let path = text::line(&path);
    let host = loaded.diagnostics.host_warnings();
    let (errors, warnings) = (loaded.diagnostics.errors(), loaded.diagnostics.warnings() - host);
    let counts = [(errors, "error", ""), (warnings, "warning", ""), (host, "warning", " about this host")];
    let counts = counts.iter().filter(|(n, ..)| *n > 0);
    let counts: Vec<String> = counts.map(|(n, what, of)| format!("{}{of}", count(*n, what))).collect();
    let problems = if counts.is_empty() { "no problems".to_owned() } else { counts.join(", ") };
    match &loaded.config {
        Some(config) => {
            let virtual_servers = config.virtual_servers.len();
            let real_servers = config.virtual_servers.iter().map(|v| v.real_servers.len()).sum();
            let what = format!(
                "{}, {}",
                count(virtual_servers, "virtual server"),
                count(real_servers, "real server")
            );
            let what = match config.vrrp.instances.len() {
                0 => what,
                routers => format!("{what}, {}", count(routers, "virtual router")),
            };
            let what = match config.vrrp.sessions.len() {
                0 => what,
                sessions => format!("{what}, {}", count(sessions, "BFD session")),
            };
            let end = if is_denied { "warnings are denied: not to be run" } else { "can be run" };
            format!("{path}: {what}: {problems}: {end}\n")
        }
        None => format!("{path}: {problems}: cannot be run\n"),
    }
}
