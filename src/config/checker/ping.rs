//! PING_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::config::timing::TimingOptions;
use crate::syntax::keyword::{Reader, Table};

/// PING_CHECK, which has no options of its own.
#[derive(Debug, Default)]
pub(in crate::config) struct PingCheck;

impl CheckerForm for PingCheck {
    const KEYWORD: &'static str = "PING_CHECK";
    const TYPE: &'static str = "ping";
    const EXAMPLE: &'static str = "`check: {type: ping}`";
    const DOC: &'static str = "Up while it answers ICMP echo.";
    const TABLE: Table<CheckerBlock<PingCheck>> = Table::of(
        "PING_CHECK",
        "a check of type ping",
        &[ConnectionOptions::keywords(), TimingOptions::keywords(), &[yaml_type()]],
    );
}

impl Ask for PingCheck {
    fn needs_port(&self) -> bool {
        false
    }

    fn question(&self, _: IpAddr, _: &Inherited<'_>, _: &mut Reader<'_>) -> Option<Question> {
        Some(Question::Ping)
    }
}
