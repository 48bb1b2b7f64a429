//! `virtual_server`: its keywords, and the options as they were written.

use std::net::{IpAddr, SocketAddr};

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Family, Forwarding, Protocol};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Spanned, Stance, Table, Yaml};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::checker::CheckerOptions;
use super::notice::UpDownOptions;
use super::real_server::{self, NO_SNMP, RealServerOptions};
use super::timing::{HasTiming, TimingOptions};
use super::types::MAX_WEIGHT;
use super::vrrp::command;
use super::words;

pub(crate) mod form;

/// What a virtual server answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// `IP [PORT]`; port 0 when it is not written.
    Address(SocketAddr),
    Fwmark(u32),
    Group(String),
}

/// A virtual server as it was written.
#[derive(Clone, Debug)]
pub(crate) struct VirtualServerOptions {
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
    pub path_check: Slot<bool>,
    pub sorry_server: Slot<SocketAddr>,
    pub sorry_server_inhibit: Slot<bool>,
    pub sorry_server_forwarding: Slot<Forwarding>,
    pub weight: Slot<u32>,
    pub virtualhost: Slot<String>,
    pub omega: Slot<bool>,
    pub commands: UpDownOptions,
    pub is_mailed: Slot<bool>,
    pub timing: TimingOptions,
    pub checkers: Vec<CheckerOptions>,
    pub real_servers: Vec<RealServerOptions>,
    /// An unknown block that was skipped here: it may have been a check.
    pub skipped: Option<Word>,
    /// A heading was written, whether or not it could be read.
    has_heading: bool,
    /// A real server was written, whether or not it could be read.
    pub has_real_servers: bool,
    /// Nothing in its block was wrong: what is missing was not written.
    pub is_clean: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granularity {
    /// Prefix length of an IPv4 netmask.
    Mask(u8),
    /// Prefix length for IPv6.
    Prefix(u8),
    /// Prefix length for either family, as YAML has it.
    Length(u8),
}

impl HasTiming for VirtualServerOptions {
    const MIN_RETRY: u32 = 1;

    fn timing(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

/// Keywords of `virtual_server`.
pub(crate) const VIRTUAL_SERVER: Table<VirtualServerOptions> = Table::of(
    "virtual_server",
    "a virtual server",
    &[form::OWN, VIRTUAL_SERVER_OWN, VirtualServerOptions::TIMING, VIRTUAL_SERVER_UNREAD],
);

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
    .or(&["lvs_sched"])
    .yaml(Yaml::As(&["scheduler"])),
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
    .or(&["lvs_method"])
    .yaml(Yaml::As(&["forwarding"]))
    .yaml_block(words::TUN, |o: &mut VirtualServerOptions, n, r| {
        words::forwarding_block(&mut o.forwarding, n, r)
    }),
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
        Kind::Number {
            min: 1,
            max: 2_678_400,
            bare: Some(360),
            slot: |o: &mut VirtualServerOptions| &mut o.persistence_timeout,
        },
        "Seconds a client stays with its real server.",
    )
    .yaml(Yaml::Instead("`persistence: 50s`")),
    Keyword::new(
        "persistence_granularity",
        Kind::Words {
            what: "a netmask, or an IPv6 prefix length from 1 to 128",
            min: 1,
            max: 1,
            read: granularity,
        },
        "Clients within such a network count as one.",
    )
    .yaml(Yaml::Instead("`persistence: {timeout: 50s, netmask: 24}`")),
    Keyword::new(
        "persistence_engine",
        Kind::Text { what: "NAME", max: 15, slot: |o: &mut VirtualServerOptions| &mut o.persistence_engine },
        "Persistence engine of the kernel, e.g. `sip`.",
    )
    .yaml(Yaml::Instead("`persistence: {timeout: 50s, engine: sip}`")),
    Keyword::new(
        "ops",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.ops),
        "Schedule every datagram on its own (UDP only).",
    )
    .yaml(Yaml::As(&["one_packet"])),
    flag("flag-1", "First flag of the scheduler."),
    flag("flag-2", "Second flag of the scheduler."),
    flag("flag-3", "Third flag of the scheduler."),
    flag("sh-fallback", "sh: take another real server when the chosen one is not available."),
    flag("sh-port", "sh: hash the source port, too."),
    flag("mh-fallback", "mh: take another real server when the chosen one is not available."),
    flag("mh-port", "mh: hash the source port, too."),
    Keyword::new(
        "quorum",
        Kind::Number {
            min: 1,
            max: i32::MAX as u32,
            bare: None,
            slot: |o: &mut VirtualServerOptions| &mut o.quorum,
        },
        "Weight of live real servers below which the sorry server takes over.",
    ),
    Keyword::new(
        "hysteresis",
        Kind::Number {
            min: 0,
            max: i32::MAX as u32,
            bare: None,
            slot: |o: &mut VirtualServerOptions| &mut o.hysteresis,
        },
        "Weight above the quorum to gain it, and below it to lose it.",
    ),
    Keyword::new(
        "inhibit_on_failure",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.inhibit_on_failure),
        "A failing real server gets weight 0 instead of being removed.",
    ),
    Keyword::new(
        "path_check",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.path_check),
        "DR and TUN: check that each real server takes packets for the VIP (lvsd's own word).",
    ),
    Keyword::new(
        "sorry_server",
        Kind::Words { what: "IP [PORT]", min: 1, max: 2, read: sorry_server },
        "Takes over when the quorum is lost; it is not checked.",
    )
    .yaml_block("sorry_server", form::sorry_server_block),
    Keyword::new(
        "sorry_server_inhibit",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.sorry_server_inhibit),
        "Keep the sorry server in the table with weight 0 while it is not needed.",
    )
    .yaml(Yaml::Instead("`sorry_server: {address: IP:PORT, inhibit: true}`")),
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
    )
    .yaml(Yaml::Instead("`sorry_server: {address: IP:PORT, forwarding: nat}`")),
    Keyword::new(
        "weight",
        Kind::Number {
            min: 1,
            max: MAX_WEIGHT,
            bare: None,
            slot: |o: &mut VirtualServerOptions| &mut o.weight,
        },
        "Weight of real servers that do not say theirs.",
    ),
    Keyword::new(
        "quorum_up",
        command::command(|o: &mut VirtualServerOptions, n, r| command::read(&mut o.commands.up, n, r)),
        "Script to run when the quorum is gained, and at the start where it is there.",
    ),
    Keyword::new(
        "quorum_down",
        command::command(|o: &mut VirtualServerOptions, n, r| command::read(&mut o.commands.down, n, r)),
        "Script to run when the quorum is lost.",
    ),
    Keyword::new(
        "omega",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.omega),
        "At a stop, tell that it and its real servers are down.",
    ),
    Keyword::new(
        "smtp_alert",
        Kind::Flag(|o: &mut VirtualServerOptions| &mut o.is_mailed),
        "Send mails when it loses and gains its quorum.",
    ),
    Keyword::new(
        "virtualhost",
        Kind::Text { what: "HOST", max: 255, slot: |o: &mut VirtualServerOptions| &mut o.virtualhost },
        "Host header of HTTP checks.",
    ),
    Keyword::new(
        "real_server",
        Kind::Block { what: "IP [PORT]", max: 2, read: real_server::read },
        "A server that does the work.",
    )
    .yaml(Yaml::As(&["real_servers"]))
    .yaml_block("real_server", real_server::read),
];

const VIRTUAL_SERVER_UNREAD: &[Keyword<VirtualServerOptions>] = &[
    Keyword::unread(
        "hashed",
        Stance::Ignored("it is obsolete and never had an effect"),
        "Obsolete flag of keepalived.",
    ),
    Keyword::unread(
        "ha_suspend",
        Stance::NotYet("checks run whether or not this host has the VIP"),
        "Check only while this host has the VIP.",
    ),
    Keyword::unread("snmp_name", NO_SNMP, "Name in SNMP."),
];

const fn flag(name: &'static str, doc: &'static str) -> Keyword<VirtualServerOptions> {
    Keyword::new(name, Kind::Words { what: "", min: 0, max: 0, read: scheduler_flag }, doc)
        .yaml(Yaml::Instead("it in `scheduler_flags`"))
}

/// Reads `virtual_server IP [PORT]`, `virtual_server fwmark N`. None after saying what is wrong.
pub(crate) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<VirtualServerOptions> {
    if reader.is_yaml() {
        return form::read(node, reader);
    }
    let heading = heading(node, reader).map(|value| Spanned { value, span: node.span() });
    // An unreadable heading does not keep the problems inside from being told.
    let stand_in = Heading::Address(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0));
    let mut options =
        VirtualServerOptions::new(heading.clone().unwrap_or(Spanned { value: stand_in, span: node.span() }));
    options.read(node, reader);
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
            let Some(name) = node.values.get(1) else {
                let help = "write e.g. `virtual_server group web`";
                let problem = Diagnostic::error(first.span, "`virtual_server group` needs a value");
                reader.diagnostics.push(problem.help(help));
                return None;
            };
            Some(Heading::Group(name.text.to_string()))
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
    /// Its VIP and port, and where it is written; None for a firewall mark or a group.
    pub(crate) fn address(&self) -> Option<(SocketAddr, Span)> {
        match self.heading.value {
            Heading::Address(address) => Some((address, self.heading.span)),
            _ => None,
        }
    }

    fn read(&mut self, node: &Node, reader: &mut Reader<'_>) {
        let errors = reader.diagnostics.errors();
        let outer = reader.skipped.take();
        reader.block(&VIRTUAL_SERVER, node.statements(), self);
        self.skipped = std::mem::replace(&mut reader.skipped, outer);
        self.is_clean = reader.diagnostics.errors() == errors;
        self.real_servers.shrink_to_fit();
    }

    /// Takes YAML's heading: one of address, fwmark and group.
    fn head(&mut self, value: Option<Heading>, node: &Node, reader: &mut Reader<'_>) {
        if self.has_heading {
            let problem = Diagnostic::error(
                node.keyword.span,
                format!("`{}`: the virtual server has an address", node.keyword.text),
            )
            .at(self.heading.span, "it is here");
            reader.diagnostics.push(problem.help("write one of address, fwmark and group"));
        }
        self.has_heading = true;
        let span = node.span();
        match value {
            Some(value) => self.heading = Spanned { value, span },
            None => self.heading.span = span,
        }
    }

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
            path_check: None,
            sorry_server: None,
            sorry_server_inhibit: None,
            sorry_server_forwarding: None,
            weight: None,
            virtualhost: None,
            omega: None,
            commands: UpDownOptions::default(),
            is_mailed: None,
            timing: TimingOptions::default(),
            checkers: Vec::new(),
            real_servers: Vec::new(),
            skipped: None,
            has_heading: false,
            has_real_servers: false,
            is_clean: true,
        }
    }
}

fn protocol(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let protocol = match word.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            let wanted = if reader.is_yaml() { "tcp, udp or sctp" } else { "TCP, UDP or SCTP" };
            return reader.wrong("protocol", word, wanted, Wrong::Malformed(None));
        }
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
