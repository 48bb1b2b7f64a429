//! Scripts and files that priorities depend on.

use std::time::Duration;

use crate::config::checker::MAX_PATH;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Table, Yaml, get};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{Wrong, boolean};
use crate::vrrp::settings::{Command, FileSettings, ScriptSettings};

use super::command::{self, CommandOptions, UserOptions, command};
use super::track::{HasWeight, WeightOptions, weight};
use super::{DAY, name, number, yaml_name};

/// `vrrp_script` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct ScriptOptions {
    pub name: Word,
    pub command: Slot<CommandOptions>,
    interval: Slot<Duration>,
    timeout: Slot<Duration>,
    pub weight: Slot<WeightOptions>,
    rise: Slot<u32>,
    fall: Slot<u32>,
    user: Slot<UserOptions>,
    begins_failed: Slot<bool>,
}

impl HasWeight for ScriptOptions {
    fn weight(&mut self) -> &mut Slot<WeightOptions> {
        &mut self.weight
    }
}

/// Most successes or failures in a row.
const MAX_COUNT: u32 = 1_000_000;
const TIME_MIN: Duration = Duration::from_millis(1);

/// Keywords of `vrrp_script`.
pub(crate) const SCRIPT: Table<ScriptOptions> = Table::of(
    "vrrp_script",
    "vrrp_script",
    &[&[
        yaml_name(),
        Keyword::new(
            "script",
            command(|o: &mut ScriptOptions, n, r| read_command(o, n, r)),
            "The command to run; \"</PATH\" runs none: it is well while that file can be opened.",
        )
        .yaml(Yaml::As(&["command"])),
        Keyword::new(
            "interval",
            Kind::Time { min: TIME_MIN, max: DAY, slot: |o: &mut ScriptOptions| &mut o.interval },
            "Time between runs.",
        ),
        Keyword::new(
            "timeout",
            Kind::Time { min: TIME_MIN, max: DAY, slot: |o: &mut ScriptOptions| &mut o.timeout },
            "Longest time a run may take; without it the interval.",
        ),
        Keyword::new("weight", weight(), "What is added to the priority; 0 puts the instance in Fault."),
        Keyword::new(
            "rise",
            number(1, MAX_COUNT, |o: &mut ScriptOptions| &mut o.rise),
            "Successes in a row before it counts as up.",
        ),
        Keyword::new(
            "fall",
            number(1, MAX_COUNT, |o: &mut ScriptOptions| &mut o.fall),
            "Failures in a row before it counts as down.",
        ),
        Keyword::new(
            "user",
            Kind::Words {
                what: "USER [GROUP]",
                min: 1,
                max: 2,
                read: |o: &mut ScriptOptions, n, r| r.store(&mut o.user, n, UserOptions::new(&n.values)),
            },
            "Whom it runs as.",
        ),
        Keyword::new(
            "init_fail",
            Kind::Flag(|o: &mut ScriptOptions| &mut o.begins_failed),
            "Down until its first successes.",
        ),
    ]],
);

/// `track_file` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct FileOptions {
    pub name: Word,
    path: Slot<String>,
    pub weight: Slot<WeightOptions>,
    initial: Slot<(i32, bool)>,
}

impl HasWeight for FileOptions {
    const FIRST_COUNTS: bool = true;

    fn weight(&mut self) -> &mut Slot<WeightOptions> {
        &mut self.weight
    }
}

/// Keywords of `track_file`.
pub(crate) const TRACK_FILE: Table<FileOptions> = Table::of(
    "track_file",
    "track_file",
    &[&[
        yaml_name(),
        Keyword::new(
            "file",
            Kind::Words { what: "PATH", min: 1, max: 1, read: path },
            "The file whose number counts.",
        )
        .yaml(Yaml::As(&["path"])),
        Keyword::new(
            "weight",
            weight(),
            "What its number is multiplied with; 0: another number than 0 is Fault.",
        ),
        Keyword::new(
            "init_file",
            Kind::Words { what: "[VALUE] [overwrite]", min: 0, max: 2, read: initial },
            "Write it at the start, where it is not there or in any case.",
        ),
    ]],
);

fn path(options: &mut FileOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if word.is_empty() || word.len() > MAX_PATH {
        let wanted = format!("PATH of 1 to {MAX_PATH} bytes");
        return reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(None));
    }
    reader.store_first(&mut options.path, node, word.text.to_string());
}

/// Reads `vrrp_script NAME`.
pub(crate) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<ScriptOptions> {
    let name = name(node, reader);
    let mut options = ScriptOptions {
        name: name.clone().unwrap_or_else(|| node.keyword.clone()),
        command: None,
        interval: None,
        timeout: None,
        weight: None,
        rise: None,
        fall: None,
        user: None,
        begins_failed: None,
    };
    reader.block(&SCRIPT, node.statements(), &mut options);
    let word = if reader.is_yaml() { "command" } else { "script" };
    if !node.statements().iter().any(|s| &*s.keyword.text == word) {
        let text = format!("vrrp_script {} has no `{word}`", options.name.text);
        let help = if reader.is_yaml() { "command: /PATH ARGUMENTS" } else { "script \"/PATH ARGUMENTS\"" };
        let problem = Diagnostic::error(node.span(), text).help(format!("write `{help}`"));
        reader.diagnostics.push(problem);
    }
    name.map(|_| options)
}

fn read_command(options: &mut ScriptOptions, node: &Node, reader: &mut Reader<'_>) {
    // `</path` has no blank between its two words.
    if let Some((word, path)) = node.values.first().and_then(|w| Some((w, w.strip_prefix('<')?.trim()))) {
        if !path.starts_with('/') {
            let problem = Diagnostic::error(
                word.span,
                format!("`{}`: `<` needs the path of a file", node.keyword.text),
            );
            return reader.diagnostics.push(problem.help("write e.g. `script \"</run/is-well\"`"));
        }
        let (words, user) = if let Some(way) = path.strip_prefix("/dev/").filter(|way| is_socket(way)) {
            let fixed = format!("/bin/bash -c '<{path}'");
            let text = format!("`{}`: only bash knows /dev/{way}, it is no file", node.keyword.text);
            let problem = Diagnostic::warning(word.span, text);
            let help = format!(
                "write `{fixed}`: {} runs this one, as for keepalived, and where that is dash (Debian, Ubuntu) it always fails",
                command::SHELL
            );
            reader.diagnostics.push(problem.help(help));
            let words = [command::SHELL, "-c", word].map(|word| word.to_string()).to_vec();
            (words, UserOptions::new(node.values.get(1..).unwrap_or_default()))
        } else {
            (vec!["<".to_owned(), path.to_owned()], UserOptions::default())
        };
        let command = CommandOptions { words, sign: None, span: node.span(), user };
        return reader.store(&mut options.command, node, command);
    }
    command::read(&mut options.command, node, reader);
}

/// `tcp/HOST/PORT`, `udp/HOST/PORT`: connections that bash opens as if they were files below /dev.
fn is_socket(way: &str) -> bool {
    way.starts_with("tcp/") || way.starts_with("udp/")
}

impl ScriptOptions {
    /// The script; None where it has no command, which was said.
    pub(crate) fn resolve(&self, usual: &UserOptions) -> Option<ScriptSettings> {
        let command = &self.command.as_ref()?.value;
        let own = get(&self.user).filter(|u| u.user.is_some());
        let Command { words, user, group } = command::resolve(command, own.as_ref().unwrap_or(usual));
        let interval = get(&self.interval).unwrap_or(Duration::from_secs(1));
        let weight = get(&self.weight);
        Some(ScriptSettings {
            name: self.name.text.to_string(),
            command: Command { words, user, group },
            interval,
            timeout: get(&self.timeout).unwrap_or(interval),
            weight: weight.map_or(0, |w| w.weight),
            is_reversed: weight.and_then(|w| w.is_reversed).unwrap_or(false),
            rise: get(&self.rise).unwrap_or(1),
            fall: get(&self.fall).unwrap_or(1),
            begins_failed: get(&self.begins_failed).unwrap_or(false),
        })
    }
}

/// Reads `track_file NAME`.
pub(crate) fn read_file(node: &Node, reader: &mut Reader<'_>) -> Option<FileOptions> {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = FileOptions { name: stand_in, path: None, weight: None, initial: None };
    reader.block(&TRACK_FILE, node.statements(), &mut options);
    let word = if reader.is_yaml() { "path" } else { "file" };
    if !node.statements().iter().any(|s| &*s.keyword.text == word) {
        let text = format!("track_file {} has no `{word}`", options.name.text);
        let problem = Diagnostic::error(node.span(), text);
        reader.diagnostics.push(problem.help(format!("write `{word}` and the path of a file")));
    }
    name.map(|_| options)
}

fn initial(options: &mut FileOptions, node: &Node, reader: &mut Reader<'_>) {
    let (mut number, mut overwrites) = (0, false);
    for word in &node.values {
        match (&*word.text, word.parse::<i32>()) {
            ("overwrite", _) => overwrites = true,
            (_, Ok(value)) => number = value,
            (text, _) if boolean(text) == Some(true) => {}
            _ => {
                return reader.wrong(
                    "init_file",
                    word,
                    "a whole number, or `overwrite`",
                    Wrong::Malformed(None),
                );
            }
        }
    }
    reader.store(&mut options.initial, node, (number, overwrites));
}

impl FileOptions {
    /// The file; None where it has no path, which was said.
    pub(crate) fn resolve(&self) -> Option<FileSettings> {
        let weight = get(&self.weight);
        Some(FileSettings {
            name: self.name.text.to_string(),
            path: get(&self.path)?.into(),
            weight: weight.map_or(1, |w| w.weight),
            is_reversed: weight.and_then(|w| w.is_reversed).unwrap_or(false),
            initial: get(&self.initial),
        })
    }
}
