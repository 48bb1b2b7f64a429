//! ARP and neighbour announcements: an instance's words, and `global_defs`' words of the same meaning.

use std::time::Duration;

use crate::config::options::options;
use crate::syntax::keyword::{Reader, Slot, get};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::Announcing;

use super::{DAY, day};

options! {
    /// What was written of announcements: an instance's words.
    #[derive(Clone)]
    pub(crate) struct AnnouncingOptions {
        /// Time before ARP announcements are repeated; 0 is never.
        pub(crate) delay: Slot<Duration> = day("garp_master_delay");
        /// Announcements of an address at once.
        pub(crate) repeat: Slot<u32> = number("garp_master_repeat", 1, MAX_REPEAT);
        /// Time between later announcements; 0 is none.
        pub(crate) refresh: Slot<Duration> = day("garp_master_refresh");
        /// Announcements of an address then.
        pub(crate) refresh_repeat: Slot<u32> = number("garp_master_refresh_repeat", 1, MAX_REPEAT);
        /// The delay after a lower priority was heard.
        pub(crate) lower_delay: Slot<Duration> = day("garp_lower_prio_delay");
        /// The announcements after a lower priority was heard.
        pub(crate) lower_repeat: Slot<u32> = number("garp_lower_prio_repeat", 0, MAX_REPEAT);
        /// Announce on the other interfaces of addresses, too, so often.
        pub(crate) extra: Slot<(bool, Duration)> = words(=> read_extra; "garp_extra_if", EXTRA, 1, 2);
    }
}

/// Most announcements of an address at once: each is a packet, and an address may be one of hundreds.
pub(super) const MAX_REPEAT: u32 = 1000;
/// The form of `garp_extra_if`.
pub(super) const EXTRA: &str = "[all] SECONDS";

/// Reads `[all] SECONDS`.
pub(crate) fn read_extra(slot: &mut Slot<(bool, Duration)>, node: &Node, reader: &mut Reader<'_>) {
    let (is_all, rest) = match node.values.split_first() {
        Some((first, rest)) if &*first.text == "all" => (true, rest),
        _ => (false, &node.values[..]),
    };
    let Some(word) = rest.first() else {
        let text = format!("`{}` needs a time", node.keyword.text);
        return reader.error(node.keyword.span, text);
    };
    let wanted = "[all] and seconds from 0 to 86400";
    match value::time(word) {
        Ok(time) if time.duration <= DAY => reader.store(slot, node, (is_all, time.duration)),
        Ok(_) => reader.wrong(&node.keyword, word, wanted, Wrong::OutOfRange),
        Err(wrong) => reader.wrong(&node.keyword, word, wanted, wrong),
    }
}

/// An instance's announcements: its own words, else the common ones, else keepalived's defaults.
pub(crate) fn resolve(
    own: &AnnouncingOptions,
    common: &AnnouncingOptions,
    is_minimal: bool,
    is_strict: bool,
) -> Announcing {
    fn either<V: Clone>(own: &Slot<V>, common: &Slot<V>) -> Option<V> {
        get(own).or_else(|| get(common))
    }
    let (delay, repeat) = if is_minimal { (Duration::ZERO, 1) } else { (Duration::from_secs(5), 5) };
    let delay = either(&own.delay, &common.delay).unwrap_or(delay);
    let repeat = either(&own.repeat, &common.repeat).unwrap_or(repeat);
    let (extra_on_all, extra) = either(&own.extra, &common.extra).unwrap_or((false, Duration::ZERO));
    Announcing {
        delay,
        repeat,
        refresh: either(&own.refresh, &common.refresh).unwrap_or(Duration::ZERO),
        refresh_repeat: either(&own.refresh_repeat, &common.refresh_repeat).unwrap_or(1),
        lower_priority_delay: either(&own.lower_delay, &common.lower_delay).unwrap_or(delay),
        lower_priority_repeat: match is_strict {
            true => 0,
            false => either(&own.lower_repeat, &common.lower_repeat).unwrap_or(repeat),
        },
        extra,
        extra_on_all,
    }
}
