//! MISC_CHECK.

use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, CheckerBlock, CheckerForm, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::misc::MiscQuestion;
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::config::vrrp::command::{self, CommandOptions, UserOptions, command};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::Node;

options! {
    /// MISC_CHECK as it was written.
    pub(in crate::config) struct MiscCheck {
        /// The command to run: exit status 0 is well.
        command: Slot<CommandOptions> = command(=> command::read; "misc_path").yaml(&["command"]);
        /// Longest time a run may take, in seconds; then it is ended and has failed.
        limit: Slot<u32> = number("misc_timeout", 0, u32::MAX).yaml(&["command_timeout"]);
        /// An exit status from 2 to 255 is well, too, and two more than the weight; 0 stands for the configured one.
        is_dynamic: Slot<bool> = flag("misc_dynamic").bare().yaml(&["dynamic_weight"]), default false;
        /// User and group of the command.
        user: Slot<UserOptions> = words(=> command::read_user; "user", "USER [GROUP]", 1, 2);
        /// Log every failing check, not only the one that decides.
        log_all_failures: Slot<bool> = flag("log_all_failures");
    }
}

impl CheckerForm for MiscCheck {
    const KEYWORD: &'static str = "MISC_CHECK";
    const TYPE: &'static str = "misc";
    const EXAMPLE: &'static str = "`check: {type: misc, command: /PATH}`";
    const DOC: &'static str = "Up while a command says so.";
    const TABLE: Table<CheckerBlock<MiscCheck>> = Table::of(
        "MISC_CHECK",
        "a check of type misc",
        &[TimingOptions::keywords(), MiscCheck::keywords(), &[yaml_type()]],
    );

    fn verify(node: &Node, reader: &mut Reader<'_>) {
        let word = reader.spelling(MiscCheck::keywords::<MiscCheck>(), "misc_path");
        if !node.statements().iter().any(|s| &*s.keyword.text == word) {
            let example = reader.example(MiscCheck::keywords::<MiscCheck>(), "misc_path", "/PATH");
            let text = format!("this check needs a `{word}`");
            reader
                .diagnostics
                .push(Diagnostic::error(node.keyword.span, text).help(format!("write `{example}`")));
        }
    }
}

impl Ask for MiscCheck {
    fn needs_port(&self) -> bool {
        false
    }

    fn command(&self) -> Option<&CommandOptions> {
        self.command.as_ref().map(|written| &written.value)
    }

    fn question(&self, _: IpAddr, from: &Inherited<'_>, _: &mut Reader<'_>) -> Option<Question> {
        let own = self.user.as_ref().map(|written| &written.value);
        let command = command::resolve(self.command()?, own.unwrap_or(from.scripts.usual));
        // 0 would end each run before it began.
        let limit = get(&self.limit).filter(|seconds| *seconds > 0).map(|s| Duration::from_secs(s.into()));
        Some(Question::Misc(Box::new(MiscQuestion {
            command,
            limit: limit.unwrap_or_else(|| from.timing.interval(from.dialect)),
            is_dynamic: self.is_dynamic(from.dialect),
            is_secure: from.scripts.is_secure,
        })))
    }

    fn no_track(&self) -> Option<&'static str> {
        Some("what a command says is tracked by `vrrp_script` and `track_script`")
    }

    fn log_all_failures(&self) -> Option<bool> {
        get(&self.log_all_failures)
    }

    fn retry(&self, dialect: Dialect) -> Option<u32> {
        (dialect == Dialect::Keepalived).then_some(0)
    }
}
