//! Groups: of instances that change state together, of instances static addresses follow, of interfaces.

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Form, Reader, Table};
use crate::syntax::tree::{Node, Word};

use super::track::{HasTracked, Tracked};
use super::{TIME, VRRP, list, name, old, word};

/// `vrrp_sync_group` as it was written.
#[derive(Clone, Debug)]
pub struct SyncGroupOptions {
    /// Its name.
    pub name: Word,
    /// Its instances.
    pub members: Vec<Word>,
    /// What it follows.
    pub tracked: Tracked,
}

impl HasTracked for SyncGroupOptions {
    fn tracked(&mut self) -> &mut Tracked {
        &mut self.tracked
    }
}

/// Keywords of `vrrp_sync_group`.
pub const SYNC_GROUP: Table<SyncGroupOptions> = Table {
    block: "vrrp_sync_group",
    yaml: "vrrp_sync_group",
    keywords: &[
        &[
            list(
                "group",
                VRRP,
                |o: &mut SyncGroupOptions, n, r| o.members.extend(members(n, r)),
                "Its instances.",
            ),
            word(
                "sync_group_tracking_weight",
                Form::Flag,
                "Let what members follow change their priorities.",
            ),
            old("global_tracking", Form::Flag, "remove it: groups follow what they say they do"),
        ],
        SyncGroupOptions::TRACKING,
    ],
};

/// Keywords of `track_group`.
pub const TRACK_GROUP: Table<()> = Table {
    block: "track_group",
    yaml: "track_group",
    keywords: &[&[list("group", VRRP, |_: &mut (), n, r| drop(members(n, r)), "Its instances.")]],
};

/// Keywords of `garp_group`.
pub const GARP_GROUP: Table<()> = Table {
    block: "garp_group",
    yaml: "garp_group",
    keywords: &[&[
        word("garp_interval", TIME, "Time between ARP announcements."),
        word("gna_interval", TIME, "Time between neighbour advertisements."),
        word("interface", Form::Words { what: "INTERFACE", min: 1, max: 1 }, "Its interface."),
        list("interfaces", VRRP, |_: &mut (), n, r| drop(members(n, r)), "Its interfaces."),
    ]],
};

/// Reads `vrrp_sync_group NAME`.
pub fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SyncGroupOptions> {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = SyncGroupOptions { name: stand_in, members: Vec::new(), tracked: Tracked::default() };
    reader.block(&SYNC_GROUP, node.statements(), &mut options);
    name.map(|_| options)
}

/// Names, one or several a line.
fn members(node: &Node, reader: &mut Reader<'_>) -> Vec<Word> {
    if let Some(line) = node.statements().iter().find(|line| line.block.is_some()) {
        let text = format!("`{}` in `{}` has no block", line.keyword.text, node.keyword.text);
        let problem = Diagnostic::error(line.keyword.span, text);
        reader.diagnostics.push(problem.help("look for a missing or surplus brace above"));
    }
    let lines = node.statements().iter();
    lines.flat_map(|line| std::iter::once(&line.keyword).chain(&line.values)).cloned().collect()
}
