//! `assert`: the command that makes a Master's addresses its own outside this host.

use std::sync::Arc;
use std::time::Duration;

use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, Table, get, nearest};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::AssertSettings;

use super::DAY;
use super::command::{self, CommandOptions, UserOptions, command};

/// The table of YAML's mapping.
pub(crate) const TABLE: &str = "assert";
/// What stands behind the keyword in keepalived.conf.
pub(crate) const WANTED: &str =
    "COMMAND [interval SECONDS] [timeout SECONDS] [user USER [GROUP]], a command of several words in quotes";

const SECOND: Duration = Duration::from_secs(1);
const WORDS: [&str; 3] = ["interval", "timeout", "user"];

options! {
    /// `assert` as it was written; its keywords are those of YAML's mapping.
    pub(crate) struct AssertOptions {
        /// The command to run.
        pub(crate) command: Slot<CommandOptions> = command(=> command::read; "command").only_yaml();
        /// Time from one run that succeeded to the next.
        interval: Slot<Duration> = time("interval", SECOND, DAY).only_yaml(), default Duration::from_secs(60);
        /// Longest time a run may take.
        timeout: Slot<Duration> = time("timeout", SECOND, DAY).only_yaml(), default Duration::from_secs(30);
        /// User and group of its runs.
        user: Slot<UserOptions> = words(=> command::read_user; "user", "USER [GROUP]", 1, 2).only_yaml();
    }
}

/// Keywords of YAML's `assert`.
pub(crate) const ASSERT: Table<AssertOptions> = Table::of(TABLE, TABLE, &[AssertOptions::keywords()]);

/// Reads `vrrp_assert COMMAND ...`, or YAML's mapping.
pub(crate) fn read(options: &mut AssertOptions, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_some() {
        reader.block(&ASSERT, node.statements(), options);
        if !node.statements().iter().any(|s| &*s.keyword.text == "command") {
            let problem =
                Diagnostic::error(node.keyword.span, "`assert` has no `command`").code(Code::Missing);
            reader
                .diagnostics
                .push(problem.help("write e.g. `assert: {command: /usr/local/bin/take-address}`"));
        }
        return;
    }
    let Some((_, mut rest)) = node.values.split_first() else { return };
    let is_first = options.command.is_none();
    let command = Node { values: node.values.iter().take(1).cloned().collect(), ..node.clone() };
    command::read(&mut options.command, &command, reader);
    if !is_first {
        // That was said, and nothing of it counts.
        return;
    }
    while let Some((word, behind)) = rest.split_first() {
        rest = match (&*word.text, behind) {
            ("interval", [time, rest @ ..]) => {
                seconds(&mut options.interval, node, time, reader);
                rest
            }
            ("timeout", [time, rest @ ..]) => {
                seconds(&mut options.timeout, node, time, reader);
                rest
            }
            ("user", [_, ..]) => {
                let end = behind.iter().skip(1).take(1).filter(|w| !WORDS.contains(&&*w.text)).count() + 1;
                let (user, rest) = behind.split_at(end);
                reader.store(&mut options.user, node, UserOptions::new(user));
                rest
            }
            (text, _) => {
                let hint = nearest(text, WORDS.into_iter()).map(|likely| format!("did you mean `{likely}`?"));
                let wanted =
                    "`interval SECONDS`, `timeout SECONDS` or `user USER [GROUP]` behind the command";
                return reader.wrong(&node.keyword, word, wanted, Wrong::Malformed(hint));
            }
        };
    }
}

fn seconds(slot: &mut Slot<Duration>, node: &Node, word: &Word, reader: &mut Reader<'_>) {
    let wanted = "a time from 1 second to 1 day";
    match value::time(word) {
        Ok(time) if (SECOND..=DAY).contains(&time.duration) => reader.store(slot, node, time.duration),
        Ok(_) => reader.wrong(&node.keyword, word, wanted, Wrong::OutOfRange),
        Err(wrong) => reader.wrong(&node.keyword, word, wanted, wrong),
    }
}

impl AssertOptions {
    /// The command, where there is one.
    pub(crate) fn resolve(&self, dialect: Dialect, usual: &UserOptions) -> Option<Arc<AssertSettings>> {
        let command = &self.command.as_ref()?.value;
        let own = get(&self.user).filter(|u| u.user.is_some());
        Some(Arc::new(AssertSettings {
            command: command::resolve(command, own.as_ref().unwrap_or(usual)),
            interval: self.interval(dialect),
            timeout: self.timeout(dialect),
        }))
    }
}
