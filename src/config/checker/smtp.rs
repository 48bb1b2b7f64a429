//! SMTP_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, MAX_HOST, MAX_PATH, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::smtp::SmtpQuestion;
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::config::tls::TlsOptions;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Table};
use crate::syntax::tree::Node;

options! {
    /// SMTP_CHECK as it was written.
    pub(in crate::config) struct SmtpCheck {
        /// Name to greet with.
        helo_name: Slot<String> = text("helo_name", "NAME", 255);
        /// Begin TLS by STARTTLS, which must succeed.
        starttls: Slot<bool> = flag("starttls").only_yaml(), default false;
        /// Server name to send in the TLS handshake.
        _ = text(@tls.sni_name; "sni_name", "NAME", MAX_HOST).only_yaml();
        /// Fail unless the certificate is valid and of one of these authorities.
        _ = text(@tls.verify; "verify", "FILE (PEM), or `system`", MAX_PATH).only_yaml();
        /// Name the certificate must have; else the one sent, or the address.
        _ = text(@tls.verify_name; "verify_name", "NAME", MAX_HOST).only_yaml();
        tls: TlsOptions;
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
        if self.hosts.is_empty() {
            return add(connection, self);
        }
        // Only keepalived.conf has hosts, and it has no TLS.
        let own = || SmtpCheck { helo_name: self.helo_name.clone(), ..SmtpCheck::default() };
        let own: Vec<SmtpCheck> = self.hosts.iter().map(|_| own()).collect();
        self.hosts.into_iter().zip(own).for_each(|(host, own)| add(host, own));
    }
}

impl Ask for SmtpCheck {
    fn question(&self, address: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        let helo_name = match (&self.helo_name, from.dialect) {
            (Some(written), _) if written.value.contains(|c: char| c.is_whitespace() || c.is_control()) => {
                reader.error(written.span, "`helo_name` is one word, without blanks");
                return None;
            }
            (Some(written), _) => written.value.as_str(),
            (None, Dialect::Keepalived) => "smtpchecker.keepalived.org",
            (None, Dialect::Native) => "localhost",
        };
        let starttls = if self.starttls(from.dialect) {
            Some(from.tls.resolve(&self.tls, None, address, reader)?.settings)
        } else {
            let words = [&self.tls.sni_name, &self.tls.verify, &self.tls.verify_name];
            if let Some(word) = words.into_iter().flatten().next() {
                let problem = Diagnostic::error(word.span, "this check speaks no TLS");
                reader.diagnostics.push(problem.help("write `starttls: true`, or remove this"));
            }
            None
        };
        Some(Question::Smtp(Box::new(SmtpQuestion { helo_name: helo_name.into(), starttls })))
    }
}
