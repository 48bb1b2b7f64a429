//! What a virtual server takes in YAML only: its heading as keys, and forms that say in one key what keepalived.conf
//! says in several.

use std::net::SocketAddr;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Spanned, nearest};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};

use super::{
    Granularity, Heading, MAX_PERSISTENCE, PERSISTENCE, PersistenceOptions, SORRY_SERVER, SorryServerOptions,
    VirtualServerOptions,
};
use crate::config::values;

/// Reads one of YAML's `virtual_servers`, whose heading is one of its statements.
pub(super) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<VirtualServerOptions> {
    let heading = Spanned { value: Heading::default(), span: node.keyword.span };
    let mut options = VirtualServerOptions { heading, ..VirtualServerOptions::default() };
    options.read(node, reader);
    if !options.has_heading {
        let problem = Diagnostic::error(node.keyword.span, "a virtual server needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`, `fwmark: N` or `group: NAME`"));
    }
    (options.heading.value != Heading::default()).then_some(options)
}

pub(super) fn address(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let value = values::address_and_port(&node.values, node, reader).map(Heading::Address);
    options.head(value, node, reader);
}

pub(super) fn fwmark(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
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

pub(super) fn group(options: &mut VirtualServerOptions, node: &Node, reader: &mut Reader<'_>) {
    let value = node.values.first().map(|word| Heading::Group(word.text.to_string()));
    options.head(value, node, reader);
}

pub(super) fn persistence_time(slot: &mut Slot<u32>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(seconds) = values::whole_seconds(node, (1, MAX_PERSISTENCE), reader) {
        reader.store(slot, node, seconds);
    }
}

pub(super) fn persistence(options: &mut PersistenceOptions, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_none() {
        return persistence_time(&mut options.timeout, node, reader);
    }
    reader.block(&PERSISTENCE, node.statements(), options);
    // The engine may be named for the day when there is a time.
    if !node.statements().iter().any(|s| matches!(&*s.keyword.text, "timeout" | "engine")) {
        let problem = Diagnostic::error(node.keyword.span, "`persistence` needs a timeout");
        reader.diagnostics.push(problem.help("write e.g. `timeout: 50s`"));
    }
}

pub(super) fn netmask(slot: &mut Slot<Granularity>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let length = value::number(word, 1, 128).ok().and_then(|n| u8::try_from(n).ok());
    let mask = value::address(word).ok().and_then(values::prefix_of_mask);
    match (length, mask) {
        (Some(length), _) => reader.store(slot, node, Granularity::Length(length)),
        (None, Some(prefix)) => reader.store(slot, node, Granularity::Mask(prefix)),
        (None, None) => {
            reader.wrong("netmask", word, "a prefix length, e.g. 24, or a netmask", Wrong::Malformed(None))
        }
    }
}

pub(super) fn scheduler_flags(flags: &mut Vec<Spanned<&'static str>>, node: &Node, reader: &mut Reader<'_>) {
    for word in &node.values {
        match SCHEDULER_FLAGS.iter().find(|flag| **flag == &*word.text) {
            Some(flag) => flags.push(Spanned { value: flag, span: word.span }),
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

pub(super) const SCHEDULER_FLAGS: &[&str] =
    &["sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3"];

pub(super) fn sorry_address(slot: &mut Slot<SocketAddr>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(address) = values::address_and_port(&node.values, node, reader) {
        reader.store(slot, node, address);
    }
}

/// Its address in either language, or YAML's block.
pub(super) fn sorry_server(options: &mut SorryServerOptions, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_none() {
        return sorry_address(&mut options.address, node, reader);
    }
    reader.block(&SORRY_SERVER, node.statements(), options);
    if !node.statements().iter().any(|s| &*s.keyword.text == "address") {
        let problem = Diagnostic::error(node.keyword.span, "`sorry_server` needs an address");
        reader.diagnostics.push(problem.help("write `address: IP:PORT`"));
    }
}

pub(super) const PERSISTENCE_TIME: &str = "a time of whole seconds, e.g. 50s";
