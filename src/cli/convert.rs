//! `lvsd convert`: a configuration in the other language.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use super::{ConfigArguments, check, complain, print, print_beside, print_raw};
use crate::config::convert::{Converted, Failure, Kind, convert};
use crate::config::load::language_of;
use crate::config::local_host::LocalHost;
use crate::daemon::startup::Exit;
use crate::director::event::count;
use crate::syntax::keyword::Language;
use crate::text;

#[derive(Debug, clap::Args)]
pub(super) struct ConvertArguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// The language to write [default: the one that FILE is not in]
    #[arg(long, value_name = "LANGUAGE")]
    to: Option<To>,
    /// Write the result to this file, readable by its owner alone, instead of standard output
    #[arg(short, long, value_name = "OUT")]
    output: Option<PathBuf>,
    /// For programs: one JSON object with the text and what is not as it was
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    /// lvsd's own language.
    Yaml,
    /// keepalived.conf.
    Conf,
}

/// What is printed for programs.
#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    /// yaml or conf.
    to: &'static str,
    text: &'a str,
    /// Nothing that had an effect is missing.
    is_whole: bool,
    left: Vec<Listed>,
    /// More than are listed.
    not_listed: usize,
}

#[derive(Serialize)]
struct Listed {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    kind: &'static str,
    what: String,
    why: String,
}

pub(super) fn run(arguments: &ConvertArguments) -> Exit {
    let path = arguments.config.path();
    let from = language_of(&path);
    let (to, extension) = match (arguments.to, from) {
        (Some(To::Yaml), Language::Yaml) | (Some(To::Conf), Language::Keepalived) => {
            let shown = path.display().to_string();
            complain(&format!("{}: it is in that language already, by its name", text::line(&shown)));
            return Exit::Usage;
        }
        (_, Language::Keepalived) => (Language::Yaml, "yaml"),
        (_, Language::Yaml) => (Language::Keepalived, "conf"),
    };
    if let Some(output) = arguments.output.as_deref()
        && language_of(output) != to
    {
        complain(match to {
            Language::Yaml => "-o: the name of a file in YAML ends in .yaml: lvsd knows it by that",
            Language::Keepalived => {
                "-o: a name that ends in .yaml is read as YAML: write one that ends in .conf"
            }
        });
        return Exit::Usage;
    }
    // Relative paths in it begin at its folder.
    let target = arguments.output.clone().unwrap_or_else(|| match path.to_str() {
        Some("/dev/stdin") => PathBuf::from(format!("lvsd.{extension}")),
        _ => path.with_extension(extension),
    });
    let reading = arguments.config.reading();
    let files = LocalHost::once(&path).named(reading.id.clone());
    let converted = match convert(&files, &path, from, &target, &reading) {
        Ok(converted) => converted,
        Err(failure) => return fail(&path, &failure),
    };
    if let Some(output) = &arguments.output
        && let Err(error) = write(output, &converted.text)
    {
        complain(&format!("{}: {error}: nothing was written", text::line(&output.display().to_string())));
        return match error.kind() {
            ErrorKind::PermissionDenied => Exit::Permission,
            ErrorKind::StorageFull | ErrorKind::ReadOnlyFilesystem | ErrorKind::QuotaExceeded => {
                Exit::TryAgain
            }
            _ => Exit::Output,
        };
    }
    if arguments.json {
        print(&json(&path, extension, &converted));
    } else {
        print_beside(&report(&path, &converted));
        if arguments.output.is_none() {
            print_raw(&converted.text);
        }
    }
    if converted.has_lost() { Exit::Warnings } else { Exit::Ok }
}

fn fail(path: &Path, failure: &Failure) -> Exit {
    match failure {
        Failure::Unreadable(loaded) => {
            print_beside(&check::report(path, loaded, false).text);
            Exit::Config
        }
        Failure::Rejected(loaded) => {
            print_beside(&check::report(path, loaded, false).text);
            complain("the result cannot be run, as it says above: nothing was written. Please report this");
            Exit::Bug
        }
        Failure::Unwritable => {
            complain("the result cannot be written in the other language. Please report this");
            Exit::Bug
        }
    }
}

/// What is said to people about what is not as it was.
pub(crate) fn report(path: &Path, converted: &Converted) -> String {
    let mut out = String::new();
    for left in listed(converted) {
        let place = match (left.file, left.line, left.column) {
            (Some(file), Some(line), Some(column)) => format!("{}:{line}:{column}: ", text::line(&file)),
            _ => String::new(),
        };
        out.push_str(&format!(
            "{}: {place}{}: {}\n",
            left.kind,
            text::line(&left.what),
            text::line(&left.why)
        ));
    }
    if converted.not_listed > 0 {
        out.push_str(&format!("and {} more\n", converted.not_listed));
    }
    let count_of = |kind| converted.left.iter().filter(|left| left.kind == kind).count();
    let parts = [
        (count_of(Kind::Lost), "lost"),
        (count_of(Kind::Expanded), "expanded"),
        (count_of(Kind::Unused), "left out, without effect before"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{} {what}", count(*number, "statement")))
        .collect();
    let verdict = match (converted.has_lost(), parts.is_empty()) {
        (_, true) => "it means the same".to_owned(),
        (false, false) => format!("it means the same: {}", parts.join(", ")),
        (true, false) => format!("it does not mean the same: {}", parts.join(", ")),
    };
    out + &format!("{}: {verdict}\n", text::line(&path.display().to_string()))
}

fn json(path: &Path, to: &'static str, converted: &Converted) -> String {
    super::json(&Answer {
        file: path.display().to_string(),
        to,
        text: &converted.text,
        is_whole: !converted.has_lost(),
        left: listed(converted),
        not_listed: converted.not_listed,
    })
}

fn listed(converted: &Converted) -> Vec<Listed> {
    let sources = &converted.before.sources;
    let each = |left: &crate::config::convert::Left| {
        let at = left.span.map(|span| sources.position(span));
        Listed {
            file: left.span.map(|span| sources.path(span.file).display().to_string()),
            line: at.map(|at| at.line),
            column: at.map(|at| at.column),
            kind: match left.kind {
                Kind::Lost => "lost",
                Kind::Expanded => "expanded",
                Kind::Unused => "left out",
            },
            what: left.what.clone(),
            why: left.why.clone(),
        }
    };
    converted.left.iter().map(each).collect()
}

/// Writes a file whole or not at all. It may have passwords: only its owner can read it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or(ErrorKind::InvalidFilename)?;
    let mut fresh = std::ffi::OsString::from(".");
    fresh.push(name);
    fresh.push(format!(".{}", std::process::id()));
    let fresh = path.with_file_name(fresh);
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    if result.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    result
}
