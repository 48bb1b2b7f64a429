//! `damping`: what fails again and again must be well for ever longer before it counts.

use std::time::Duration;

use crate::config::options::options;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::Damping;

use super::DAY;

/// The table of YAML's mapping.
pub(crate) const TABLE: &str = "damping";
/// What stands behind the keyword in keepalived.conf.
pub(crate) const WANTED: &str = "HALF_LIFE LIMIT";

const SECOND: Duration = Duration::from_secs(1);
const MAX_LIMIT: u32 = 1000;

options! {
    /// Damping as it was written; its keywords are those of YAML's mapping.
    pub(crate) struct DampingOptions {
        /// The time in which a failure loses half of its effect.
        half_life: Slot<Duration> = time("half_life", SECOND, DAY).only_yaml();
        /// Failures within about that time that are put up with.
        limit: Slot<u32> = number("limit", 1, MAX_LIMIT).only_yaml();
    }
}

/// Keywords of YAML's `damping`.
pub(crate) const DAMPING: Table<DampingOptions> = Table::of(TABLE, TABLE, &[DampingOptions::keywords()]);

/// Reads `damping HALF_LIFE LIMIT`, or YAML's mapping.
pub(crate) fn read(options: &mut DampingOptions, node: &Node, reader: &mut Reader<'_>) {
    if node.block.is_some() {
        reader.block(&DAMPING, node.statements(), options);
        if options.half_life.is_none() || options.limit.is_none() {
            let problem = Diagnostic::error(node.keyword.span, "`damping` needs `half_life` and `limit`");
            reader.diagnostics.push(problem.help("write e.g. `damping: {half_life: 60s, limit: 3}`"));
        }
        return;
    }
    let [half_life, limit, ..] = node.values.as_slice() else { return };
    match value::time(half_life) {
        Ok(time) if (SECOND..=DAY).contains(&time.duration) => {
            reader.store(&mut options.half_life, node, time.duration);
        }
        Ok(_) => reader.wrong("damping", half_life, "a half-life from 1 second to 1 day", Wrong::OutOfRange),
        Err(wrong) => reader.wrong("damping", half_life, "a half-life from 1 second to 1 day", wrong),
    }
    match value::number(limit, 1, MAX_LIMIT) {
        Ok(number) => reader.store(&mut options.limit, node, number),
        Err(wrong) => reader.wrong("damping", limit, "a limit from 1 to 1000 failures", wrong),
    }
}

impl DampingOptions {
    /// The damping, where it is wanted.
    pub(crate) fn resolve(&self) -> Option<Damping> {
        Some(Damping { half_life: get(&self.half_life)?, limit: get(&self.limit)? })
    }
}
