//! Groups: of instances that change state together, of interfaces that share a rate of announcements.

use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, Yaml, get};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::Pacing;

use super::line::names;
use super::track::{HasTracked, Tracked};
use super::{name, time, yaml_name};

/// `vrrp_sync_group` as it was written.
#[derive(Clone, Debug)]
pub(crate) struct SyncGroupOptions {
    pub name: Word,
    pub members: Vec<Word>,
    /// What it follows.
    pub tracked: Tracked,
    pub counts_weights: Slot<bool>,
}

impl HasTracked for SyncGroupOptions {
    fn tracked(&mut self) -> &mut Tracked {
        &mut self.tracked
    }
}

/// Keywords of `vrrp_sync_group`.
pub(crate) const SYNC_GROUP: Table<SyncGroupOptions> = Table::of(
    "vrrp_sync_group",
    "vrrp_sync_group",
    &[
        &[
            yaml_name(),
            Keyword::new(
                "group",
                Kind::Lines {
                    table: None,
                    read: |o: &mut SyncGroupOptions, n, r| o.members.extend(names(n, r)),
                },
                "Its instances.",
            )
            .yaml(Yaml::As(&["members"])),
            Keyword::new(
                "sync_group_tracking_weight",
                Kind::Flag(|o: &mut SyncGroupOptions| &mut o.counts_weights),
                "Let what members follow change their priorities.",
            )
            .yaml(Yaml::As(&["counts_weights"])),
            Keyword::unread(
                "global_tracking",
                Stance::Ignored("what a group's members follow puts all of it in Fault in any case"),
                "A word of the past.",
            ),
        ],
        SyncGroupOptions::TRACKING,
    ],
);

/// `garp_group` as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct PacingOptions {
    arp: Slot<Duration>,
    neighbour: Slot<Duration>,
    pub links: Vec<Word>,
}

/// Keywords of `garp_group`.
pub(crate) const GARP_GROUP: Table<PacingOptions> = Table::of(
    "garp_group",
    "garp_group",
    &[&[
        Keyword::new(
            "garp_interval",
            time(|o: &mut PacingOptions| &mut o.arp),
            "Least time between ARP announcements.",
        ),
        Keyword::new(
            "gna_interval",
            time(|o: &mut PacingOptions| &mut o.neighbour),
            "Least time between neighbour advertisements.",
        ),
        Keyword::new(
            "interface",
            Kind::Words {
                what: "INTERFACE",
                min: 1,
                max: 1,
                read: |o: &mut PacingOptions, n, _| o.links.extend(n.values.iter().cloned()),
            },
            "Its interface.",
        ),
        Keyword::new(
            "interfaces",
            Kind::Lines { table: None, read: |o: &mut PacingOptions, n, r| o.links.extend(names(n, r)) },
            "Its interfaces.",
        ),
    ]],
);

impl PacingOptions {
    /// The rate its interfaces share.
    pub(crate) fn resolve(&self) -> Pacing {
        Pacing {
            links: self.links.iter().map(|word| word.text.to_string()).collect(),
            arp: get(&self.arp).unwrap_or_default(),
            neighbour: get(&self.neighbour).unwrap_or_default(),
        }
    }
}

/// Reads `vrrp_sync_group NAME`.
pub(crate) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<SyncGroupOptions> {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = SyncGroupOptions {
        name: stand_in,
        members: Vec::new(),
        tracked: Tracked::default(),
        counts_weights: None,
    };
    reader.block(&SYNC_GROUP, node.statements(), &mut options);
    name.map(|_| options)
}

pub(crate) fn read_pacing(node: &Node, reader: &mut Reader<'_>) -> Option<PacingOptions> {
    let mut options = PacingOptions::default();
    reader.block(&GARP_GROUP, node.statements(), &mut options);
    let problem = |span: Span, text: &str| Diagnostic::error(span, format!("garp_group: {text}"));
    if let Some(link) = options.links.iter().find(|link| link.len() > MAX_INTERFACE) {
        let text = format!("`{}` is too long for the name of an interface", link.text);
        reader.diagnostics.push(problem(link.span, &text));
    }
    if options.links.is_empty() {
        let problem = reader.lapsed(node.keyword.span, "`garp_group` has no interface", ": it says nothing");
        reader.diagnostics.push(problem.help("write `interfaces { ... }`"));
        return None;
    }
    Some(options)
}
