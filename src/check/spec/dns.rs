//! What DNS_CHECK asks.

use serde::Serialize;

/// What DNS_CHECK asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct DnsQuestion {
    /// Name to ask for (keepalived `name`).
    pub name: Box<str>,
    /// Type to ask for (keepalived `type`).
    pub record: DnsType,
    /// Records that the answer must hold, as zone files write their data; none: any answer passes.
    pub expected: Box<[Box<str>]>,
}

/// The types of records that keepalived knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DnsType {
    A,
    Ns,
    Cname,
    #[default]
    Soa,
    Mx,
    Txt,
    Aaaa,
    Rrsig,
    Dnskey,
}

impl DnsType {
    /// Every type by its name.
    pub(crate) const ALL: [(&'static str, DnsType); 9] = [
        ("A", DnsType::A),
        ("NS", DnsType::Ns),
        ("CNAME", DnsType::Cname),
        ("SOA", DnsType::Soa),
        ("MX", DnsType::Mx),
        ("TXT", DnsType::Txt),
        ("AAAA", DnsType::Aaaa),
        ("RRSIG", DnsType::Rrsig),
        ("DNSKEY", DnsType::Dnskey),
    ];
}
