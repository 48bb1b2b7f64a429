//! TCP_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, old_retry, yaml_type};
use crate::check::spec::Question;
use crate::config::timing::TimingOptions;
use crate::syntax::keyword::{Reader, Table};

/// TCP_CHECK, which has no options of its own.
#[derive(Debug, Default)]
pub(in crate::config) struct TcpCheck;

impl CheckerForm for TcpCheck {
    const KEYWORD: &'static str = "TCP_CHECK";
    const TYPE: &'static str = "tcp";
    const EXAMPLE: &'static str = "`check: {type: tcp}`";
    const DOC: &'static str = "Up while it accepts TCP connections.";
    const TABLE: Table<CheckerBlock<TcpCheck>> = Table::of(
        "TCP_CHECK",
        "a check of type tcp",
        &[
            ConnectionOptions::keywords(),
            TimingOptions::keywords(),
            &[yaml_type(), old_retry(OLD_RETRY), old_retry(FORKS_RETRY).renamed("nb_sock_retry")],
        ],
    );
}

const OLD_RETRY: &str = "write `retry`: keepalived does not know `nb_get_retry` in TCP_CHECK and ignores it, lvsd reads it as `retry`";
const FORKS_RETRY: &str =
    "write `retry`: `nb_sock_retry` is a word of forks of keepalived, lvsd reads it as `retry`";

impl Ask for TcpCheck {
    fn question(&self, _: IpAddr, _: &Inherited<'_>, _: &mut Reader<'_>) -> Option<Question> {
        Some(Question::Tcp)
    }
}
