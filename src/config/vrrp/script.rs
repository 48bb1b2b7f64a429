//! Scripts and files that priorities depend on.

use std::time::Duration;

use crate::config::checker::MAX_PATH;
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{Wrong, boolean};
use crate::vrrp::settings::{Command, FileSettings, ScriptSettings};

use super::command::{self, CommandOptions, UserOptions, command};
use super::damping::{self, DampingOptions};
use super::track::{self, WEIGHT, WeightOptions};
use super::{DAY, name, yaml_name};

options! {
    /// `vrrp_script` as it was written.
    pub(crate) struct ScriptOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// The command to run; "</PATH" runs none: it is well while that file can be opened.
        pub(crate) command: Slot<CommandOptions> = command(=> read_command; "script").yaml(&["command"]);
        /// Time between runs.
        interval: Slot<Duration> = time("interval", MILLISECOND, DAY), default Duration::from_secs(1);
        /// Longest time a run may take; without it the interval.
        timeout: Slot<Duration> = time("timeout", MILLISECOND, DAY);
        /// What is added to the priority; 0 puts the instance in Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> track::read_weight; "weight", WEIGHT, 1, 2);
        /// Successes in a row before it counts as up.
        rise: Slot<u32> = number("rise", 1, MAX_COUNT), default 1;
        /// Failures in a row before it counts as down.
        fall: Slot<u32> = number("fall", 1, MAX_COUNT), default 1;
        /// User and group of its runs.
        user: Slot<UserOptions> = words(=> command::read_user; "user", "USER [GROUP]", 1, 2);
        /// When it fails more than LIMIT times in about HALF_LIFE, it must be well for ever longer before it counts.
        pub(crate) damping: DampingOptions = words(=> damping::read; "damping", damping::WANTED, 2, 2).yaml_block(damping::TABLE);
        /// Down until its first successes.
        begins_failed: Slot<bool> = flag("init_fail").bare(), default false;
    }
}

/// Most successes or failures in a row.
const MAX_COUNT: u32 = 1_000_000;
const MILLISECOND: Duration = Duration::from_millis(1);

/// Keywords of `vrrp_script`.
pub(crate) const SCRIPT: Table<ScriptOptions> =
    Table::of("vrrp_script", "vrrp_script", &[ScriptOptions::keywords()]);

options! {
    /// `track_file` as it was written.
    pub(crate) struct FileOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// The file whose number counts.
        path: Slot<String> = word(=> path; "file", "PATH").yaml(&["path"]);
        /// What its number is multiplied with; 0: another number than 0 is Fault.
        pub(crate) weight: Slot<WeightOptions> = words(=> track::read_first_weight; "weight", WEIGHT, 1, 2);
        /// Write it at the start, where it is not there or in any case.
        initial: Slot<(i32, bool)> = words(=> initial; "init_file", "[VALUE] [overwrite]", 0, 2);
    }
}

/// Keywords of `track_file`.
pub(crate) const TRACK_FILE: Table<FileOptions> =
    Table::of("track_file", "track_file", &[FileOptions::keywords()]);

fn path(slot: &mut Slot<String>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if word.is_empty() || word.len() > MAX_PATH {
        let wanted = format!("PATH of 1 to {MAX_PATH} bytes");
        return reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(None));
    }
    reader.store_first(slot, node, word.text.to_string());
}

/// Reads `vrrp_script NAME`.
pub(crate) fn read(scripts: &mut Vec<ScriptOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = ScriptOptions { name: stand_in, ..ScriptOptions::default() };
    let unknown = reader.unknown;
    reader.block(&SCRIPT, node.statements(), &mut options);
    let word = reader.spelling(ScriptOptions::keywords::<ScriptOptions>(), "script");
    if reader.unknown == unknown && !node.statements().iter().any(|s| &*s.keyword.text == word) {
        let text = format!("vrrp_script {} has no `{word}`", options.name.text);
        let command = reader.by_language("\"/PATH ARGUMENTS\"", "/PATH ARGUMENTS");
        let help = reader.example(ScriptOptions::keywords::<ScriptOptions>(), "script", command);
        let problem =
            Diagnostic::error(node.span(), text).code(Code::Missing).help(format!("write `{help}`"));
        reader.diagnostics.push(problem);
    }
    scripts.extend(name.map(|_| options));
}

fn read_command(slot: &mut Slot<CommandOptions>, node: &Node, reader: &mut Reader<'_>) {
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
        return reader.store(slot, node, command);
    }
    command::read(slot, node, reader);
}

/// `tcp/HOST/PORT`, `udp/HOST/PORT`: connections that bash opens as if they were files below /dev.
fn is_socket(way: &str) -> bool {
    way.starts_with("tcp/") || way.starts_with("udp/")
}

impl ScriptOptions {
    /// The script; None where it has no command, which was said.
    pub(crate) fn resolve(&self, dialect: Dialect, usual: &UserOptions) -> Option<ScriptSettings> {
        let command = &self.command.as_ref()?.value;
        let own = get(&self.user).filter(|u| u.user.is_some());
        let Command { words, user, group } = command::resolve(command, own.as_ref().unwrap_or(usual));
        let interval = self.interval(dialect);
        let weight = get(&self.weight);
        Some(ScriptSettings {
            name: self.name.text.to_string(),
            command: Command { words, user, group },
            interval,
            timeout: get(&self.timeout).unwrap_or(interval),
            weight: weight.map_or(0, |w| w.weight),
            is_reversed: weight.and_then(|w| w.is_reversed).unwrap_or(false),
            rise: self.rise(dialect),
            fall: self.fall(dialect),
            begins_failed: self.begins_failed(dialect),
        })
    }
}

/// Reads `track_file NAME`.
pub(crate) fn read_file(files: &mut Vec<FileOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = FileOptions { name: stand_in, ..FileOptions::default() };
    let unknown = reader.unknown;
    reader.block(&TRACK_FILE, node.statements(), &mut options);
    let word = reader.spelling(FileOptions::keywords::<FileOptions>(), "file");
    if reader.unknown == unknown && !node.statements().iter().any(|s| &*s.keyword.text == word) {
        let text = format!("track_file {} has no `{word}`", options.name.text);
        let problem = Diagnostic::error(node.span(), text).code(Code::Missing);
        reader.diagnostics.push(problem.help(format!("write `{word}` and the path of a file")));
    }
    files.extend(name.map(|_| options));
}

fn initial(slot: &mut Slot<(i32, bool)>, node: &Node, reader: &mut Reader<'_>) {
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
    reader.store(slot, node, (number, overwrites));
}

impl FileOptions {
    /// What its followers inherit.
    pub(crate) fn usual_weight(&self) -> WeightOptions {
        get(&self.weight).unwrap_or(WeightOptions { weight: 1, is_reversed: None })
    }

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
