//! `real_server`: its keywords, and the options as they were written.

use std::net::{IpAddr, SocketAddr};

use crate::ipvs::types::Forwarding;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Spanned, Stance, Table, Yaml};
use crate::syntax::tree::{Node, Word};

use super::checker::{self, CheckerKind, CheckerOptions, form, not_yet};
use super::notice::UpDownOptions;
use super::timing::{HasTiming, TimingOptions};
use super::types::MAX_WEIGHT;
use super::virtual_server::VirtualServerOptions;
use super::vrrp::command;
use super::words;

/// A real server as it was written.
#[derive(Clone, Debug)]
pub(crate) struct RealServerOptions {
    pub address: Spanned<SocketAddr>,
    pub weight: Slot<u32>,
    pub forwarding: Slot<Forwarding>,
    pub inhibit_on_failure: Slot<bool>,
    pub path_check: Slot<bool>,
    pub upper_threshold: Slot<u32>,
    pub lower_threshold: Slot<u32>,
    pub virtualhost: Slot<String>,
    pub commands: UpDownOptions,
    pub is_mailed: Slot<bool>,
    pub timing: TimingOptions,
    pub checkers: Vec<CheckerOptions>,
    /// An unknown block that was skipped here: it may have been a check.
    pub skipped: Option<Word>,
    has_address: bool,
}

impl HasTiming for RealServerOptions {
    const MIN_RETRY: u32 = 1;

    fn timing(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

/// Keywords of `real_server`.
pub(crate) const REAL_SERVER: Table<RealServerOptions> = Table::of(
    "real_server",
    "a real server",
    &[REAL_SERVER_YAML, REAL_SERVER_OWN, RealServerOptions::TIMING, REAL_SERVER_UNREAD],
);

/// What a real server takes in YAML only.
const REAL_SERVER_YAML: &[Keyword<RealServerOptions>] = &[
    Keyword::new(
        "address",
        Kind::Words { what: "IP:PORT", min: 1, max: 1, read: real_server_address },
        "Its address and port.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "check",
        Kind::Words {
            what: "tcp, or a block with a type",
            min: 1,
            max: 1,
            read: |o: &mut RealServerOptions, n, r| o.checkers.extend(form::read_word(n, r)),
        },
        "Check of this real server; `checks` is a list, all of which must pass.",
    )
    .or(&["checks"])
    .yaml(Yaml::Only)
    .yaml_block("check", |o: &mut RealServerOptions, n, r| o.checkers.extend(form::read_block(n, r))),
];

const REAL_SERVER_OWN: &[Keyword<RealServerOptions>] = &[
    Keyword::new(
        "weight",
        Kind::Number { min: 0, max: MAX_WEIGHT, bare: None, slot: |o: &mut RealServerOptions| &mut o.weight },
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
    )
    .yaml(Yaml::As(&["forwarding"]))
    .yaml_block(words::TUN, |o: &mut RealServerOptions, n, r| {
        words::forwarding_block(&mut o.forwarding, n, r)
    }),
    Keyword::new(
        "inhibit_on_failure",
        Kind::Flag(|o: &mut RealServerOptions| &mut o.inhibit_on_failure),
        "On failure weight 0 instead of removal.",
    ),
    Keyword::new(
        "path_check",
        Kind::Flag(|o: &mut RealServerOptions| &mut o.path_check),
        "DR and TUN: check that it takes packets for the VIP (lvsd's own word).",
    ),
    Keyword::new(
        "uthreshold",
        Kind::Number {
            min: 0,
            max: i32::MAX as u32,
            bare: None,
            slot: |o: &mut RealServerOptions| &mut o.upper_threshold,
        },
        "Connections above which it gets no new ones; 0 is no limit.",
    )
    .yaml(Yaml::As(&["upper_threshold"])),
    Keyword::new(
        "lthreshold",
        Kind::Number {
            min: 0,
            max: i32::MAX as u32,
            bare: None,
            slot: |o: &mut RealServerOptions| &mut o.lower_threshold,
        },
        "Connections below which an overloaded real server is used again.",
    )
    .yaml(Yaml::As(&["lower_threshold"])),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: 255, slot: |o: &mut RealServerOptions| &mut o.virtualhost },
        "Host header of HTTP checks.",
    ),
    Keyword::new(
        "notify_up",
        command::command(|o: &mut RealServerOptions, n, r| command::read(&mut o.commands.up, n, r)),
        "Script to run when it comes up.",
    ),
    Keyword::new(
        "notify_down",
        command::command(|o: &mut RealServerOptions, n, r| command::read(&mut o.commands.down, n, r)),
        "Script to run when it goes down.",
    ),
    Keyword::new(
        "smtp_alert",
        Kind::Flag(|o: &mut RealServerOptions| &mut o.is_mailed),
        "Send mails when it goes down and comes up.",
    ),
    Keyword::new(
        "TCP_CHECK",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RealServerOptions, n, r| o.checkers.push(checker::read(CheckerKind::Tcp, n, r)),
        },
        "Up while it accepts TCP connections.",
    )
    .yaml(Yaml::Instead("`check: {type: tcp}`")),
    Keyword::new(
        "HTTP_GET",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RealServerOptions, n, r| o.checkers.push(checker::read(CheckerKind::Http, n, r)),
        },
        "Up while its URLs answer as they should.",
    )
    .yaml(Yaml::Instead("`check: {type: http, url: /}`")),
    Keyword::new(
        "SSL_GET",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RealServerOptions, n, r| o.checkers.push(checker::read(CheckerKind::Ssl, n, r)),
        },
        "Up while its URLs answer as they should over TLS.",
    )
    .yaml(Yaml::Instead("`check: {type: https, url: /}`")),
];

const REAL_SERVER_UNREAD: &[Keyword<RealServerOptions>] = &[
    unbuilt(
        "SMTP_CHECK",
        |_, n, r| not_yet::read(&not_yet::SMTP_CHECK, n, r),
        "Up while its mail server greets.",
    ),
    unbuilt(
        "DNS_CHECK",
        |_, n, r| not_yet::read(&not_yet::DNS_CHECK, n, r),
        "Up while it answers a DNS query.",
    ),
    unbuilt("MISC_CHECK", |_, n, r| not_yet::read(&not_yet::MISC_CHECK, n, r), "Up while a script says so."),
    unbuilt(
        "UDP_CHECK",
        |_, n, r| not_yet::read(&not_yet::UDP_CHECK, n, r),
        "Up while a datagram is answered, or not refused.",
    ),
    unbuilt(
        "PING_CHECK",
        |_, n, r| not_yet::read(&not_yet::PING_CHECK, n, r),
        "Up while it answers ICMP echo.",
    ),
    unbuilt(
        "FILE_CHECK",
        |_, n, r| not_yet::read(&not_yet::FILE_CHECK, n, r),
        "Weight from the number in a file.",
    ),
    unbuilt("BFD_CHECK", |_, n, r| not_yet::read(&not_yet::BFD_CHECK, n, r), "Up while a BFD session is."),
    Keyword::unread("snmp_name", NO_SNMP, "Name in SNMP."),
];

/// A checker that is not built.
const fn unbuilt(
    name: &'static str,
    read: fn(&mut RealServerOptions, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<RealServerOptions> {
    Keyword::new(name, Kind::Block { what: "", max: 0, read }, doc).but(NO_CHECKER).yaml(Yaml::Absent)
}

/// Reads `real_server IP [PORT]`, or one of YAML's `real_servers`.
pub(crate) fn read(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    options.has_real_servers = true;
    let is_yaml = reader.is_yaml();
    let address = if is_yaml { None } else { words::address_and_port(&node.values, node, reader) };
    let stand_in = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0);
    let mut real_server = RealServerOptions {
        address: Spanned {
            value: address.unwrap_or(stand_in),
            span: if is_yaml { node.keyword.span } else { node.span() },
        },
        weight: None,
        forwarding: None,
        inhibit_on_failure: None,
        path_check: None,
        upper_threshold: None,
        lower_threshold: None,
        virtualhost: None,
        commands: UpDownOptions::default(),
        is_mailed: None,
        timing: TimingOptions::default(),
        checkers: Vec::new(),
        skipped: None,
        has_address: address.is_some(),
    };
    let outer = reader.skipped.take();
    reader.block(&REAL_SERVER, node.statements(), &mut real_server);
    real_server.skipped = std::mem::replace(&mut reader.skipped, outer);
    if is_yaml && !node.statements().iter().any(|s| &*s.keyword.text == "address") {
        let problem = Diagnostic::error(node.keyword.span, "a real server needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`"));
    }
    // Most have one check, for which a vector takes the room of four.
    real_server.checkers.shrink_to_fit();
    if real_server.has_address {
        options.real_servers.push(real_server);
    }
}

fn real_server_address(options: &mut RealServerOptions, node: &Node, reader: &mut Reader<'_>) {
    if let Some(value) = words::address_and_port(&node.values, node, reader) {
        options.address = Spanned { value, span: node.span() };
        options.has_address = true;
    }
}

const NO_CHECKER: Stance = Stance::NotYetError("without this check the real server would always count as up");
pub(super) const NO_SNMP: Stance = Stance::NotYet("there is no SNMP agent");
