//! What this host says of its interfaces and addresses, and `interface_up_down_delays`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use crate::config::options::options;
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::LinkDelays;

use super::damping::{self, DampingOptions};
use super::line::lines;
use super::yaml_name;

/// Where the kernel shows its addresses.
const IPV4: &str = "/proc/net/fib_trie";
const IPV6: &str = "/proc/net/if_inet6";
const MAX_BYTES: usize = 4 << 20;

/// The table of YAML's mappings.
pub(crate) const DELAYS_TABLE: &str = "interface_delay";
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(255);

options! {
    /// A line of `interface_up_down_delays`; its keywords are those of YAML.
    pub(crate) struct DelayOptions {
        _ = yaml_name();
        /// How long it must be down before that counts.
        down: Slot<Duration> = time("down", Duration::ZERO, LONGEST).only_yaml();
        /// How long it must be up before that counts.
        up: Slot<Duration> = time("up", Duration::ZERO, LONGEST).only_yaml();
        /// When it fails more than LIMIT times in about HALF_LIFE, it must be up for ever longer before it counts.
        pub(crate) damping: DampingOptions = words(=> damping::read; "damping", damping::WANTED, 2, 2).only_yaml().yaml_block(damping::TABLE);
    }
}

/// Keywords of YAML's `interface_delays`.
pub(crate) const DELAYS: Table<DelayOptions> =
    Table::of(DELAYS_TABLE, DELAYS_TABLE, &[DelayOptions::keywords()]);

/// Reads `INTERFACE DOWN [UP]` lines.
pub(crate) fn delays(found: &mut Vec<(Word, DelayOptions)>, node: &Node, reader: &mut Reader<'_>) {
    if reader.is_yaml() {
        for line in lines(&DELAYS, "name", node, reader) {
            let mut options = DelayOptions::default();
            reader.options(&DELAYS, &line.options, &mut options);
            found.extend(line.first.into_iter().next().map(|name| (name, options)));
        }
        return;
    }
    for line in node.statements() {
        if !super::line::has_no_block(line, node, reader) {
            continue;
        }
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
