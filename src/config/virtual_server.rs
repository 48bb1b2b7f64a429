//! `virtual_server` and `real_server`: their keywords, and the options as they were written.

use std::net::{IpAddr, SocketAddr};

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Family, Forwarding, Protocol};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Spanned, Stance, Table};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};

use super::checker::{self, CheckerKind, CheckerOptions};
use super::timing::{HasTiming, TimingOptions};
use super::words;

/// What a virtual server answers for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// `IP [PORT]`; port 0 when it is not written.
    Address(SocketAddr),
    /// `fwmark N`.
    Fwmark(u32),
}

/// A virtual server as it was written.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the keyword of its name, documented in the table below")]
pub struct VirtualServerOptions {
    pub heading: Spanned<Heading>,
    pub scheduler: Slot<Scheduler>,
    pub forwarding: Slot<Forwarding>,
    pub protocol: Slot<Protocol>,
    pub ip_family: Slot<Family>,
    pub persistence_timeout: Slot<u32>,
    pub persistence_granularity: Slot<Granularity>,
    pub persistence_engine: Slot<String>,
    pub ops: Slot<bool>,
    pub flags: Vec<Spanned<&'static str>>,
    pub quorum: Slot<u32>,
    pub hysteresis: Slot<u32>,
    pub inhibit_on_failure: Slot<bool>,
    pub sorry_server: Slot<SocketAddr>,
    pub sorry_server_inhibit: Slot<bool>,
    pub sorry_server_forwarding: Slot<Forwarding>,
    pub weight: Slot<u32>,
    pub virtualhost: Slot<String>,
    pub timing: TimingOptions,
    pub real_servers: Vec<RealServerOptions>,
    /// A real server was written, whether or not it could be read.
    pub has_real_servers: bool,
    /// Nothing in its block was wrong: what is missing was not written.
    pub is_clean: bool,
}

/// `persistence_granularity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granularity {
    /// Prefix length of an IPv4 netmask.
    Mask(u8),
    /// Prefix length for IPv6.
    Prefix(u8),
}

/// A real server as it was written.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the keyword of its name, documented in the table below")]
pub struct RealServerOptions {
    pub address: Spanned<SocketAddr>,
    pub weight: Slot<u32>,
    pub forwarding: Slot<Forwarding>,
    pub inhibit_on_failure: Slot<bool>,
    pub upper_threshold: Slot<u32>,
    pub lower_threshold: Slot<u32>,
    pub virtualhost: Slot<String>,
    pub timing: TimingOptions,
    pub checkers: Vec<CheckerOptions>,
}

impl HasTiming for VirtualServerOptions {
    const MIN_RETRY: u32 = 1;

    fn timing(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

impl HasTiming for RealServerOptions {
    const MIN_RETRY: u32 = 1;

    fn timing(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

/// Keywords of `virtual_server`.
pub const VIRTUAL_SERVER: Table<VirtualServerOptions> = Table {
    block: "virtual_server",
    keywords: &[VIRTUAL_SERVER_OWN, VirtualServerOptions::TIMING, VIRTUAL_SERVER_UNREAD],
};

/// Keywords of `real_server`.
pub const REAL_SERVER: Table<RealServerOptions> = Table {
    block: "real_server",
    keywords: &[REAL_SERVER_OWN, RealServerOptions::TIMING, REAL_SERVER_UNREAD],
};

const VIRTUAL_SERVER_OWN: &[Keyword<VirtualServerOptions>] = &[
    Keyword::new(
        "lb_algo",
        Kind::Words {
            what: "a scheduler, e.g. `wlc`",
            min: 1,
            max: 1,
            read: |o: &mut VirtualServerOptions, n, r| words::scheduler(&mut o.scheduler, n, r),
        },
        "Scheduler: how the kernel picks a real server for a connection.",
    )
    .or(&["lvs_sched"]),
    Keyword::new(
        "lb_kind",
        Kind::Words {
            what: words::FORWARDING,
            min: 1,
            max: 8,
            read: |o: &mut VirtualServerOptions, n, r| words::forwarding(&mut o.forwarding, n, r),
        },
        "Forwarding method: how packets reach the real servers.",
    )
    .or(&["lvs_method"]),
    Keyword::new(
        "protocol",
        Kind::Words { what: "TCP, UDP or SCTP", min: 1, max: 1, read: protocol },
        "Transport protocol.",
    ),
    Keyword::new(
        "ip_family",
        Kind::Words { what: "inet or inet6", min: 1, max: 1, read: ip_family },
        "Address family of a virtual server by firewall mark.",
    ),
    Keyword::new(
        "persistence_timeout",
        Kind::Number { min: 1, max: 2_678_400, bare: Some(360), slot: |o| &mut o.persistence_timeout },
        "Seconds a client stays with its real server.",
    ),
    Keyword::new(
        "persistence_granularity",
        Kind::Words {
            what: "a netmask, or an IPv6 prefix length from 1 to 128",
            min: 1,
            max: 1,
            read: granularity,
        },
        "Clients within such a network count as one.",
    ),
    Keyword::new(
        "persistence_engine",
        Kind::Text { what: "NAME", max: 15, slot: |o| &mut o.persistence_engine },
        "Persistence engine of the kernel, e.g. `sip`.",
    ),
    Keyword::new("ops", Kind::Flag(|o| &mut o.ops), "Schedule every datagram on its own (UDP only)."),
    flag("flag-1", "First flag of the scheduler."),
    flag("flag-2", "Second flag of the scheduler."),
    flag("flag-3", "Third flag of the scheduler."),
    flag("sh-fallback", "sh: take another real server when the chosen one is not available."),
    flag("sh-port", "sh: hash the source port, too."),
    flag("mh-fallback", "mh: take another real server when the chosen one is not available."),
    flag("mh-port", "mh: hash the source port, too."),
    Keyword::new(
        "quorum",
        Kind::Number { min: 1, max: i32::MAX as u32, bare: None, slot: |o| &mut o.quorum },
        "Weight of live real servers below which the sorry server takes over.",
    ),
    Keyword::new(
        "hysteresis",
        Kind::Number { min: 0, max: i32::MAX as u32, bare: None, slot: |o| &mut o.hysteresis },
        "Weight above the quorum to gain it, and below it to lose it.",
    ),
    Keyword::new(
        "inhibit_on_failure",
        Kind::Flag(|o| &mut o.inhibit_on_failure),
        "A failing real server gets weight 0 instead of being removed.",
    ),
    Keyword::new(
        "sorry_server",
        Kind::Words { what: "IP [PORT]", min: 1, max: 2, read: sorry_server },
        "Takes over when the quorum is lost; it is not checked.",
    ),
    Keyword::new(
        "sorry_server_inhibit",
        Kind::Flag(|o| &mut o.sorry_server_inhibit),
        "Keep the sorry server in the table with weight 0 while it is not needed.",
    ),
    Keyword::new(
        "sorry_server_lvs_method",
        Kind::Words {
            what: words::FORWARDING,
            min: 1,
            max: 8,
            read: |o: &mut VirtualServerOptions, n, r| {
                words::forwarding(&mut o.sorry_server_forwarding, n, r)
            },
        },
        "Forwarding method of the sorry server.",
    ),
    Keyword::new(
        "weight",
        Kind::Number { min: 1, max: i32::MAX as u32, bare: None, slot: |o| &mut o.weight },
        "Weight of real servers that do not say theirs.",
    ),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: 255, slot: |o| &mut o.virtualhost },
        "Host header of HTTP checks.",
    ),
    Keyword::new(
        "real_server",
        Kind::Block { what: "IP [PORT]", max: 2, read: real_server },
        "A server that does the work.",
    ),
];

const VIRTUAL_SERVER_UNREAD: &[Keyword<VirtualServerOptions>] = &[
    Keyword::unread(
        "hashed",
        Stance::Ignored("it is obsolete and never had an effect"),
        "Obsolete flag of keepalived.",
    ),
    Keyword::unread("omega", Stance::NotYet("no notification is sent at stop"), "Notify at stop, too."),
    Keyword::unread(
        "ha_suspend",
        Stance::NotYet("checks run whether or not this host has the VIP"),
        "Check only while this host has the VIP.",
    ),
    Keyword::unread("quorum_up", NO_SCRIPT, "Script to run when the quorum is gained."),
    Keyword::unread("quorum_down", NO_SCRIPT, "Script to run when the quorum is lost."),
    Keyword::unread("smtp_alert", NO_MAIL, "Send mails about this virtual server."),
    Keyword::unread("snmp_name", NO_SNMP, "Name in SNMP."),
];

const REAL_SERVER_OWN: &[Keyword<RealServerOptions>] = &[
    Keyword::new(
        "weight",
        Kind::Number { min: 0, max: i32::MAX as u32, bare: None, slot: |o| &mut o.weight },
        "Share of the connections; 0 gets no new ones.",
    ),
    Keyword::new(
        "lvs_method",
        Kind::Words {
            what: words::FORWARDING,
            min: 1,
            max: 8,
            read: |o: &mut RealServerOptions, n, r| words::forwarding(&mut o.forwarding, n, r),
        },
        "Forwarding method of this real server.",
    ),
    Keyword::new(
        "inhibit_on_failure",
        Kind::Flag(|o| &mut o.inhibit_on_failure),
        "On failure weight 0 instead of removal.",
    ),
    Keyword::new(
        "uthreshold",
        Kind::Number { min: 0, max: u32::MAX, bare: None, slot: |o| &mut o.upper_threshold },
        "Connections above which it gets no new ones; 0 is no limit.",
    ),
    Keyword::new(
        "lthreshold",
        Kind::Number { min: 0, max: u32::MAX, bare: None, slot: |o| &mut o.lower_threshold },
        "Connections below which an overloaded real server is used again.",
    ),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: 255, slot: |o| &mut o.virtualhost },
        "Host header of HTTP checks.",
    ),
    Keyword::new(
        "TCP_CHECK",
        Kind::Block {
            what: "",
            max: 0,
            read: |o, n, r| o.checkers.push(checker::read(CheckerKind::Tcp, n, r)),
        },
        "Up while it accepts TCP connections.",
    ),
    Keyword::new(
        "HTTP_GET",
        Kind::Block {
            what: "",
            max: 0,
            read: |o, n, r| o.checkers.push(checker::read(CheckerKind::Http, n, r)),
        },
        "Up while its URLs answer as they should.",
    ),
    Keyword::new(
        "SSL_GET",
        Kind::Block {
            what: "",
            max: 0,
            read: |o, n, r| o.checkers.push(checker::read(CheckerKind::Ssl, n, r)),
        },
        "Up while its URLs answer as they should over TLS.",
    ),
];

const REAL_SERVER_UNREAD: &[Keyword<RealServerOptions>] = &[
    Keyword::unread("SMTP_CHECK", NO_CHECKER, "Up while its mail server greets."),
    Keyword::unread("DNS_CHECK", NO_CHECKER, "Up while it answers a DNS query."),
    Keyword::unread("MISC_CHECK", NO_CHECKER, "Up while a script says so."),
    Keyword::unread("UDP_CHECK", NO_CHECKER, "Up while a datagram is answered, or not refused."),
    Keyword::unread("PING_CHECK", NO_CHECKER, "Up while it answers ICMP echo."),
    Keyword::unread("FILE_CHECK", NO_CHECKER, "Weight from the number in a file."),
    Keyword::unread("BFD_CHECK", NO_CHECKER, "Up while a BFD session is."),
    Keyword::unread("notify_up", NO_SCRIPT, "Script to run when it comes up."),
    Keyword::unread("notify_down", NO_SCRIPT, "Script to run when it goes down."),
    Keyword::unread("smtp_alert", NO_MAIL, "Send mails about this real server."),
    Keyword::unread("snmp_name", NO_SNMP, "Name in SNMP."),
];

const NO_CHECKER: Stance = Stance::NotYetError("without this check the real server would always count as up");
const NO_SCRIPT: Stance = Stance::NotYet("the script is not run");
const NO_MAIL: Stance = Stance::NotYet("no mail is sent");
const NO_SNMP: Stance = Stance::NotYet("there is no SNMP agent");

const fn flag(name: &'static str, doc: &'static str) -> Keyword<VirtualServerOptions> {
    Keyword::new(name, Kind::Words { what: "", min: 0, max: 0, read: scheduler_flag }, doc)
}

/// Reads `virtual_server IP [PORT]`, `virtual_server fwmark N`. None after saying what is wrong.
pub fn read(node: &Node, reader: &mut Reader<'_>) -> Option<VirtualServerOptions> {
    let heading = heading(node, reader).map(|value| Spanned { value, span: node.span() });
    // An unreadable heading does not keep the problems inside from being told.
    let stand_in = Heading::Address(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0));
    let mut options =
        VirtualServerOptions::new(heading.clone().unwrap_or(Spanned { value: stand_in, span: node.span() }));
    let errors = reader.diagnostics.errors();
    reader.block(&VIRTUAL_SERVER, node.statements(), &mut options);
    options.is_clean = reader.diagnostics.errors() == errors;
    heading.map(|_| options)
}

fn heading(node: &Node, reader: &mut Reader<'_>) -> Option<Heading> {
    let mut words = node.values.iter();
    match (words.next(), words.next()) {
        (Some(first), Some(second)) if &*first.text == "fwmark" => match value::number(second, 1, u32::MAX) {
            Ok(mark) => Some(Heading::Fwmark(mark)),
            Err(_) => {
                let text = format!(
                    "`virtual_server fwmark`: `{}` is not a whole number from 1 to {}",
                    second.text,
                    u32::MAX
                );
                reader.error(second.span, text);
                None
            }
        },
        (Some(first), _) if &*first.text == "group" => {
            let text = "`virtual_server group` is not yet supported: its addresses would not be served";
            let help = "write one virtual_server for each address of the group";
            reader.diagnostics.push(Diagnostic::error(node.span(), text).help(help));
            None
        }
        (Some(first), None) if &*first.text == "fwmark" => {
            let help = "write e.g. `virtual_server fwmark 1`";
            reader
                .diagnostics
                .push(Diagnostic::error(first.span, "`virtual_server fwmark` needs a value").help(help));
            None
        }
        _ => words::address_and_port(&node.values, node, reader).map(Heading::Address),
    }
}

impl VirtualServerOptions {
    fn new(heading: Spanned<Heading>) -> VirtualServerOptions {
        VirtualServerOptions {
            heading,
            scheduler: None,
            forwarding: None,
            protocol: None,
            ip_family: None,
            persistence_timeout: None,
            persistence_granularity: None,
            persistence_engine: None,
            ops: None,
            flags: Vec::new(),
            quorum: None,
            hysteresis: None,
            inhibit_on_failure: None,
            sorry_server: None,
            sorry_server_inhibit: None,
            sorry_server_forwarding: None,
            weight: None,
            virtualhost: None,
            timing: TimingOptions::default(),
            real_servers: Vec::new(),
            has_real_servers: false,
            is_clean: true,
        }
    }
}

fn real_server(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    options.has_real_servers = true;
    let address = words::address_and_port(&node.values, node, reader);
    let stand_in = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let mut real_server = RealServerOptions {
        address: Spanned { value: address.unwrap_or(stand_in), span: node.span() },
        weight: None,
        forwarding: None,
        inhibit_on_failure: None,
        upper_threshold: None,
        lower_threshold: None,
        virtualhost: None,
        timing: TimingOptions::default(),
        checkers: Vec::new(),
    };
    reader.block(&REAL_SERVER, node.statements(), &mut real_server);
    if address.is_some() {
        options.real_servers.push(real_server);
    }
}

fn protocol(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let protocol = match word.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return reader.wrong("protocol", word, "TCP, UDP or SCTP", Wrong::Malformed(None)),
    };
    reader.store(&mut options.protocol, node, protocol);
}

fn ip_family(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let family = match &*word.text {
        "inet" => Family::Inet,
        "inet6" => Family::Inet6,
        _ => return reader.wrong("ip_family", word, "inet or inet6", Wrong::Malformed(None)),
    };
    reader.store(&mut options.ip_family, node, family);
}

fn granularity(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let prefix = value::number(word, 1, 128).ok().and_then(|n| u8::try_from(n).ok());
    let mask = value::address(word).ok().and_then(words::prefix_of_mask);
    let granularity = match (prefix, mask) {
        (Some(prefix), _) => Granularity::Prefix(prefix),
        (None, Some(prefix)) => Granularity::Mask(prefix),
        (None, None) => {
            let wanted = "a netmask such as 255.255.255.0, or an IPv6 prefix length from 1 to 128";
            return reader.wrong("persistence_granularity", word, wanted, Wrong::Malformed(None));
        }
    };
    reader.store(&mut options.persistence_granularity, node, granularity);
}

fn sorry_server(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    if let Some(address) = words::address_and_port(&node.values, node, reader) {
        reader.store(&mut options.sorry_server, node, address);
    }
}

fn scheduler_flag(options: &mut VirtualServerOptions, node: &Node, _: &mut Reader<'_>) {
    let name = VIRTUAL_SERVER_OWN.iter().map(|k| k.name).find(|name| *name == &*node.keyword.text);
    options.flags.extend(name.map(|value| Spanned { value, span: node.span() }));
}
