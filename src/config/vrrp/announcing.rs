//! ARP and neighbour announcements: an instance's words, and `global_defs`' words of the same meaning.

use std::time::Duration;

use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, get};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::Announcing;

use super::{DAY, number, time};

/// What was written of announcements.
#[derive(Clone, Debug, Default)]
pub(crate) struct AnnouncingOptions {
    pub delay: Slot<Duration>,
    pub repeat: Slot<u32>,
    pub refresh: Slot<Duration>,
    pub refresh_repeat: Slot<u32>,
    pub lower_delay: Slot<Duration>,
    pub lower_repeat: Slot<u32>,
    /// `garp_extra_if [all] SECONDS`.
    pub extra: Slot<(bool, Duration)>,
}

/// Most announcements of an address at once: each is a packet, and an address may be one of hundreds.
pub(crate) const MAX_REPEAT: u32 = 1000;

/// A block with such words.
pub(crate) trait HasAnnouncing: Sized + 'static {
    /// Where they go.
    fn announcing(&mut self) -> &mut AnnouncingOptions;

    /// The words of an instance.
    const ANNOUNCING: &'static [Keyword<Self>] = &[
        Keyword::new(
            "garp_master_delay",
            time(|o: &mut Self| &mut o.announcing().delay),
            "Time before ARP announcements are repeated; 0 is never.",
        ),
        Keyword::new(
            "garp_master_repeat",
            repeat(|o: &mut Self| &mut o.announcing().repeat),
            "Announcements of an address at once.",
        ),
        Keyword::new(
            "garp_master_refresh",
            time(|o: &mut Self| &mut o.announcing().refresh),
            "Time between later announcements; 0 is none.",
        ),
        Keyword::new(
            "garp_master_refresh_repeat",
            repeat(|o: &mut Self| &mut o.announcing().refresh_repeat),
            "Announcements of an address then.",
        ),
        Keyword::new(
            "garp_lower_prio_delay",
            time(|o: &mut Self| &mut o.announcing().lower_delay),
            "The delay after a lower priority was heard.",
        ),
        Keyword::new(
            "garp_lower_prio_repeat",
            number(0, MAX_REPEAT, |o: &mut Self| &mut o.announcing().lower_repeat),
            "The announcements after a lower priority was heard.",
        ),
        Keyword::new(
            "garp_extra_if",
            extra(|o: &mut Self, n, r| read_extra(&mut o.announcing().extra, n, r)),
            "Announce on the other interfaces of addresses, too, so often.",
        ),
    ];
}

/// How many announcements.
pub(crate) const fn repeat<T>(slot: fn(&mut T) -> &mut Slot<u32>) -> Kind<T> {
    number(1, MAX_REPEAT, slot)
}

/// `[all] SECONDS`.
pub(crate) const fn extra<T>(read: fn(&mut T, &Node, &mut Reader<'_>)) -> Kind<T> {
    Kind::Words { what: "[all] SECONDS", min: 1, max: 2, read }
}

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
