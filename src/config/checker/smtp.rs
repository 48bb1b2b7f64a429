//! SMTP_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::smtp::SmtpQuestion;
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::syntax::keyword::{Reader, Slot, Table};
use crate::syntax::tree::Node;

options! {
    /// SMTP_CHECK as it was written.
    pub(in crate::config) struct SmtpCheck {
        /// Name to greet with.
        helo_name: Slot<String> = text("helo_name", "NAME", 255);
        /// Another address to check.
        hosts: Vec<ConnectionOptions> = block(=> host; "host", "").but(Support::Deprecated("write its words in SMTP_CHECK itself, and one SMTP_CHECK for each host")).not_yaml();
    }
}

const HOST: Table<ConnectionOptions> = Table::of("host", "host", &[ConnectionOptions::keywords()]);

fn host(hosts: &mut Vec<ConnectionOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut written = ConnectionOptions::default();
    reader.block(&HOST, node.statements(), &mut written);
    hosts.push(written);
}

impl CheckerForm for SmtpCheck {
    const KEYWORD: &'static str = "SMTP_CHECK";
    const TYPE: &'static str = "smtp";
    const EXAMPLE: &'static str = "`check: {type: smtp}`";
    const DOC: &'static str = "Up while its mail server greets.";
    const TABLE: Table<CheckerBlock<SmtpCheck>> = Table::of(
        "SMTP_CHECK",
        "a check of type smtp",
        &[ConnectionOptions::keywords(), TimingOptions::keywords(), SmtpCheck::keywords(), &[yaml_type()]],
    );

    fn each(self, connection: ConnectionOptions, add: &mut dyn FnMut(ConnectionOptions, SmtpCheck)) {
        let SmtpCheck { helo_name, hosts } = self;
        let own = || SmtpCheck { helo_name: helo_name.clone(), hosts: Vec::new() };
        if hosts.is_empty() {
            return add(connection, own());
        }
        hosts.into_iter().for_each(|host| add(host, own()));
    }
}

impl Ask for SmtpCheck {
    fn question(&self, _: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        let helo_name = match (&self.helo_name, from.dialect) {
            (Some(written), _) if written.value.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                reader.error(written.span, "`helo_name` is one word, without blanks");
                return None;
            }
            (Some(written), _) => written.value.as_str(),
            (None, Dialect::Keepalived) => "smtpchecker.keepalived.org",
            (None, Dialect::Native) => "localhost",
        };
        Some(Question::Smtp(Box::new(SmtpQuestion { helo_name: helo_name.into() })))
    }
}
