//! What a virtual server takes in YAML only: its heading as keys, and forms that say in one key what keepalived.conf
//! says in several.

use std::net::{IpAddr, SocketAddr};

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Spanned, Table, Yaml, nearest};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};

use super::{Granularity, Heading, VirtualServerOptions, sorry_server};
use crate::config::checker::form as check;
use crate::config::words;

/// Keywords of YAML's `persistence`.
pub(crate) const PERSISTENCE: Table<VirtualServerOptions> = Table::of(
    "persistence",
    "persistence",
    &[&[
        Keyword::new(
            "timeout",
            Kind::Words { what: PERSISTENCE_TIME, min: 1, max: 1, read: persistence },
            "Time a client stays with its real server.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "netmask",
            Kind::Words { what: "a prefix length, e.g. 24, or a netmask", min: 1, max: 1, read: netmask },
            "Clients within such a network count as one.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "engine",
            Kind::Text {
                what: "NAME",
                max: 15,
                slot: |o: &mut VirtualServerOptions| &mut o.persistence_engine,
            },
            "Persistence engine of the kernel, e.g. sip.",
        )
        .yaml(Yaml::Only),
    ]],
);

/// Keywords of YAML's `sorry_server`.
pub(crate) const SORRY_SERVER: Table<VirtualServerOptions> = Table::of(
    "sorry_server",
    "sorry_server",
    &[&[
        Keyword::new(
            "address",
            Kind::Words { what: "IP:PORT", min: 1, max: 1, read: sorry_server },
            "Its address and port.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "inhibit",
            Kind::Flag(|o: &mut VirtualServerOptions| &mut o.sorry_server_inhibit),
            "Keep it in the table with weight 0 while it is not needed.",
        )
        .yaml(Yaml::Only),
        Keyword::new(
            "forwarding",
            Kind::Words {
                what: YAML_FORWARDING,
                min: 1,
                max: 1,
                read: |o: &mut VirtualServerOptions, n, r| {
                    words::forwarding(&mut o.sorry_server_forwarding, n, r)
                },
            },
            "Its forwarding method.",
        )
        .yaml(Yaml::Only)
        .yaml_block(words::TUN, |o: &mut VirtualServerOptions, n, r| {
            words::forwarding_block(&mut o.sorry_server_forwarding, n, r)
        }),
    ]],
);

/// What a virtual server takes in YAML only.
pub(super) const OWN: &[Keyword<VirtualServerOptions>] = &[
    Keyword::new(
        "address",
        Kind::Words { what: "IP:PORT", min: 1, max: 1, read: yaml_address },
        "The VIP and the port.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "fwmark",
        Kind::Words { what: "a whole number from 1 to 4294967295", min: 1, max: 1, read: yaml_fwmark },
        "Firewall mark of the packets, instead of an address.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "group",
        Kind::Words { what: "the name of a group", min: 1, max: 1, read: yaml_group },
        "Group of addresses and firewall marks, instead of an address.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "persistence",
        Kind::Words { what: PERSISTENCE_TIME, min: 1, max: 1, read: persistence },
        "Time a client stays with its real server; or {timeout, netmask, engine}.",
    )
    .yaml(Yaml::Only)
    .yaml_block("persistence", persistence_block),
    Keyword::new(
        "scheduler_flags",
        Kind::Words {
            what: "flags of the scheduler, e.g. [sh-port, sh-fallback]",
            min: 1,
            max: 3,
            read: scheduler_flags,
        },
        "Flags of the scheduler: sh-port, sh-fallback, mh-port, mh-fallback, flag-1, flag-2, flag-3.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "check",
        Kind::Words {
            what: "tcp, or a block with a type",
            min: 1,
            max: 1,
            read: |o: &mut VirtualServerOptions, n, r| o.checkers.extend(check::read_word(n, r)),
        },
        "Check of the real servers that have none of their own; `checks` is a list.",
    )
    .or(&["checks"])
    .yaml(Yaml::Only)
    .yaml_block("check", |o: &mut VirtualServerOptions, n, r| o.checkers.extend(check::read_block(n, r))),
];

/// Reads one of YAML's `virtual_servers`, whose heading is one of its statements.
pub(super) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<VirtualServerOptions> {
    let stand_in = Heading::Address(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0));
    let mut options = VirtualServerOptions::new(Spanned { value: stand_in.clone(), span: node.keyword.span });
    options.read(node, reader);
    if !options.has_heading {
        let problem = Diagnostic::error(node.keyword.span, "a virtual server needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`, `fwmark: N` or `group: NAME`"));
    }
    (options.heading.value != stand_in).then_some(options)
}

fn yaml_address(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let value = words::address_and_port(&node.values, node, reader).map(Heading::Address);
    options.head(value, node, reader);
}

fn yaml_fwmark(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let value = match value::number(word, 1, u32::MAX) {
        Ok(mark) => Some(Heading::Fwmark(mark)),
        Err(wrong) => {
            reader.wrong("fwmark", word, "a whole number from 1 to 4294967295", wrong);
            None
        }
    };
    options.head(value, node, reader);
}

fn yaml_group(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let value = node.values.first().map(|word| Heading::Group(word.text.to_string()));
    options.head(value, node, reader);
}

fn persistence(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    if let Some(seconds) = words::whole_seconds(node, (1, 2_678_400), reader) {
        reader.store(&mut options.persistence_timeout, node, seconds);
    }
}

fn persistence_block(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&PERSISTENCE, node.statements(), options);
    if !node.statements().iter().any(|s| &*s.keyword.text == "timeout") {
        let problem = Diagnostic::error(node.keyword.span, "`persistence` needs a timeout");
        reader.diagnostics.push(problem.help("write e.g. `timeout: 50s`"));
    }
}

fn netmask(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let length = value::number(word, 1, 128).ok().and_then(|n| u8::try_from(n).ok());
    let mask = value::address(word).ok().and_then(words::prefix_of_mask);
    match (length, mask) {
        (Some(length), _) => {
            reader.store(&mut options.persistence_granularity, node, Granularity::Length(length))
        }
        (None, Some(prefix)) => {
            reader.store(&mut options.persistence_granularity, node, Granularity::Mask(prefix))
        }
        (None, None) => {
            reader.wrong("netmask", word, "a prefix length, e.g. 24, or a netmask", Wrong::Malformed(None))
        }
    }
}

fn scheduler_flags(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        match SCHEDULER_FLAGS.iter().find(|flag| **flag == &*word.text) {
            Some(flag) => options.flags.push(Spanned { value: flag, span: word.span }),
            None => {
                let likely = nearest(word, SCHEDULER_FLAGS.iter().copied());
                let hint = likely.map_or_else(
                    || format!("write some of {}", SCHEDULER_FLAGS.join(" ")),
                    |l| format!("did you mean `{l}`?"),
                );
                reader.wrong(&node.keyword, word, "a flag of a scheduler", Wrong::Malformed(Some(hint)));
            }
        }
    }
}

const SCHEDULER_FLAGS: &[&str] =
    &["sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3"];

pub(super) fn sorry_server_block(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&SORRY_SERVER, node.statements(), options);
    if !node.statements().iter().any(|s| &*s.keyword.text == "address") {
        let problem = Diagnostic::error(node.keyword.span, "`sorry_server` needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`"));
    }
}

const PERSISTENCE_TIME: &str = "a time of whole seconds, e.g. 50s";
const YAML_FORWARDING: &str = "nat, dr or tun";
