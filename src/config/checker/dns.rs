//! DNS_CHECK.

use std::net::IpAddr;
use std::time::Duration;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, yaml_type};
use crate::check::dns::is_name;
use crate::check::spec::Question;
use crate::check::spec::dns::{DnsQuestion, DnsType};
use crate::config::defaults::Dialect;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::config::vrrp::one_of;
use crate::syntax::keyword::{Reader, Slot, Table};
use crate::syntax::tree::Node;

options! {
    /// DNS_CHECK as it was written.
    pub(in crate::config) struct DnsCheck {
        /// Type of the records to ask for.
        record: Slot<DnsType> = word(=> one_of[&DnsType::ALL]; "type", "A, NS, CNAME, SOA, MX, TXT, AAAA, RRSIG or DNSKEY").yaml(&["record"]), default DnsType::Soa;
        /// Name to ask for.
        name: Slot<String> = text("name", "NAME", 255);
        /// Records that the answer must hold (lvsd's own word).
        expected: Vec<String> = words(=> expect; "expect", "data of records, e.g. 192.0.2.1", 1, MAX_EXPECTED);
    }
}

const MAX_EXPECTED: usize = 100;

fn expect(expected: &mut Vec<String>, node: &Node, _: &mut Reader<'_>) {
    expected.extend(node.values.iter().map(|word| word.text.to_string()));
}

impl CheckerForm for DnsCheck {
    const KEYWORD: &'static str = "DNS_CHECK";
    const TYPE: &'static str = "dns";
    const EXAMPLE: &'static str = "`check: {type: dns, name: example.org}`";
    const DOC: &'static str = "Up while it answers a DNS query.";
    const TABLE: Table<CheckerBlock<DnsCheck>> = Table::of(
        "DNS_CHECK",
        "a check of type dns",
        &[ConnectionOptions::keywords(), TimingOptions::keywords(), DnsCheck::keywords(), &[yaml_type()]],
    );
}

impl Ask for DnsCheck {
    fn question(&self, _: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question> {
        let name = match &self.name {
            Some(written) if !is_name(&written.value) => {
                reader.error(written.span, format!("`{}` is no name that DNS can ask for", written.value));
                return None;
            }
            Some(written) => written.value.as_str(),
            None => ".",
        };
        let expected = self.expected.iter().map(|text| text.as_str().into()).collect();
        Some(Question::Dns(Box::new(DnsQuestion {
            name: name.into(),
            record: self.record(from.dialect),
            expected,
        })))
    }

    fn retry(&self, dialect: Dialect) -> Option<u32> {
        (dialect == Dialect::Keepalived).then_some(3)
    }

    fn delay_before_retry(&self, dialect: Dialect, interval: Duration) -> Duration {
        if dialect == Dialect::Keepalived { interval } else { dialect.delay_before_retry() }
    }
}
