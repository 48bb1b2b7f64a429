//! What this host says of its interfaces and addresses, and `interface_up_down_delays`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::syntax::files::Files;
use crate::syntax::keyword::{Keyword, Reader, Slot, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::LinkDelays;

use super::line::lines;

/// Where the kernel shows its addresses.
const IPV4: &str = "/proc/net/fib_trie";
const IPV6: &str = "/proc/net/if_inet6";
const MAX_BYTES: usize = 4 << 20;

/// The table of YAML's mappings.
pub(crate) const DELAYS_TABLE: &str = "interface_delay";
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(255);

/// A line of `interface_up_down_delays`.
#[derive(Clone, Debug, Default)]
pub(crate) struct DelayOptions {
    down: Slot<Duration>,
    up: Slot<Duration>,
}

/// Keywords of YAML's `interface_delays`.
pub(crate) const DELAYS: Table<DelayOptions> = Table::of(
    DELAYS_TABLE,
    DELAYS_TABLE,
    &[&[
        super::yaml_name(),
        delay("down", |o| &mut o.down, "How long it must be down before that counts."),
        delay("up", |o| &mut o.up, "How long it must be up before that counts."),
    ]],
);

const fn delay(
    name: &'static str,
    slot: fn(&mut DelayOptions) -> &mut Slot<Duration>,
    doc: &'static str,
) -> Keyword<DelayOptions> {
    let kind = crate::syntax::keyword::Kind::Time { min: Duration::ZERO, max: LONGEST, slot };
    Keyword::new(name, kind, doc).yaml(crate::syntax::keyword::Yaml::Only)
}

/// Reads `INTERFACE DOWN [UP]` lines.
pub(crate) fn delays(node: &Node, reader: &mut Reader<'_>) -> Vec<(Word, DelayOptions)> {
    if reader.is_yaml() {
        let found = lines(&DELAYS, "name", node, reader);
        return found
            .into_iter()
            .filter_map(|line| {
                let mut options = DelayOptions::default();
                reader.block(&DELAYS, &line.options, &mut options);
                Some((line.first.into_iter().next()?, options))
            })
            .collect();
    }
    let mut found = Vec::new();
    for line in node.statements() {
        super::line::has_no_block(line, node, reader);
        let mut options = DelayOptions::default();
        let wanted = "INTERFACE DOWN [UP], each a time from 0 to 255 seconds";
        if line.values.is_empty() {
            let text = format!("`{}`: `{}` has no delay", node.keyword.text, line.keyword.text);
            reader.error(line.keyword.span, text);
        }
        for (word, slot) in line.values.iter().zip([&mut options.down, &mut options.up]) {
            match value::time(word) {
                Ok(time) if time.duration <= LONGEST => reader.store(slot, line, time.duration),
                Ok(_) => reader.wrong(&node.keyword, word, wanted, Wrong::OutOfRange),
                Err(wrong) => reader.wrong(&node.keyword, word, wanted, wrong),
            }
        }
        found.push((line.keyword.clone(), options));
    }
    found
}

impl DelayOptions {
    /// The delays; without an own one, coming up waits as long as going down.
    pub(crate) fn resolve(&self) -> LinkDelays {
        let down = get(&self.down).unwrap_or_default();
        LinkDelays { down, up: get(&self.up).unwrap_or(down) }
    }
}

/// Whether this host has such an interface; None where it does not show them.
pub(crate) fn has_interface(name: &str, files: &dyn Files) -> Option<bool> {
    files.links().map(|links| links.contains_key(name))
}

/// The largest packet of an interface, in bytes; Ethernet's where that is not shown.
pub(crate) fn mtu(name: &str, files: &dyn Files) -> usize {
    files.links().and_then(|links| links.get(name).copied()).unwrap_or(1500)
}

/// This host's addresses of a family; None where it does not show them.
pub(crate) fn addresses(is_ipv4: bool, files: &dyn Files) -> Option<BTreeSet<IpAddr>> {
    let path = Path::new(if is_ipv4 { IPV4 } else { IPV6 });
    let bytes = files.read(path, MAX_BYTES).ok().filter(|bytes| bytes.len() <= MAX_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut found = BTreeSet::new();
    if !is_ipv4 {
        let number = |line: &str| u128::from_str_radix(line.split_whitespace().next()?, 16).ok();
        found.extend(text.lines().filter_map(number).map(|n| IpAddr::from(Ipv6Addr::from(n))));
        return Some(found);
    }
    // A leaf, and below it what the address is: `|-- 10.0.0.1` and `/32 host LOCAL`.
    let mut leaf: Option<Ipv4Addr> = None;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => leaf = address.parse().ok(),
            None if line == "/32 host LOCAL" => found.extend(leaf.map(IpAddr::from)),
            None => {}
        }
    }
    Some(found)
}
