//! Groups: of instances that change state together, of interfaces that share a rate of announcements.

use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::only_on::Elsewhere;
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::vrrp::settings::Pacing;

use super::line::names;
use super::track::Tracked;
use super::{day, name, yaml_name};

options! {
    /// `vrrp_sync_group` as it was written.
    pub(crate) struct SyncGroupOptions {
        pub(crate) name: Word;
        _ = yaml_name();
        _ = only_on();
        /// Its instances.
        pub(crate) members: Vec<Word> = lines(=> names; "group", None).yaml(&["members"]);
        /// Some of them are other hosts'.
        pub(crate) has_members_elsewhere: bool;
        /// Let what members track change their priorities.
        pub(crate) counts_weights: Slot<bool> = flag("sync_group_tracking_weight").bare().yaml(&["counts_weights"]);
        /// A word of the past.
        _ = unread("global_tracking", Support::Ignored("what a group's members track puts all of it in Fault in any case"));
        include pub(crate) tracked: Tracked;
    }
}

/// Keywords of `vrrp_sync_group`.
pub(crate) const SYNC_GROUP: Table<SyncGroupOptions> =
    Table::of("vrrp_sync_group", "vrrp_sync_group", &[SyncGroupOptions::keywords(), Tracked::keywords()]);

options! {
    /// `garp_group` as it was written.
    pub(crate) struct PacingOptions {
        /// Least time between ARP announcements.
        arp: Slot<Duration> = day("garp_interval");
        /// Least time between neighbour advertisements.
        neighbour: Slot<Duration> = day("gna_interval");
        /// Its interface.
        pub(crate) links: Vec<Word> = word(=> one_link; "interface", "INTERFACE");
        /// Its interfaces.
        _ = lines(@links => names; "interfaces", None);
    }
}

/// Keywords of `garp_group`.
pub(crate) const GARP_GROUP: Table<PacingOptions> =
    Table::of("garp_group", "garp_group", &[PacingOptions::keywords()]);

fn one_link(links: &mut Vec<Word>, node: &Node, _: &mut Reader<'_>) {
    links.extend(node.values.iter().cloned());
}

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

impl SyncGroupOptions {
    /// Leaves out the members that are other hosts'.
    pub(crate) fn leave_out(&mut self, elsewhere: &[Elsewhere]) {
        let before = self.members.len();
        let is_elsewhere = |member: &Word| {
            elsewhere.iter().any(|e| e.key == "instances" && e.name.as_deref() == Some(&*member.text))
        };
        self.members.retain(|member| !is_elsewhere(member));
        self.has_members_elsewhere = self.members.len() < before;
    }
}

/// Reads `vrrp_sync_group NAME`.
pub(crate) fn read(groups: &mut Vec<SyncGroupOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let stand_in = name.clone().unwrap_or_else(|| node.keyword.clone());
    let mut options = SyncGroupOptions { name: stand_in, ..SyncGroupOptions::default() };
    reader.block(&SYNC_GROUP, node.statements(), &mut options);
    groups.extend(name.map(|_| options));
}

/// Reads `garp_group`.
pub(crate) fn read_pacing(groups: &mut Vec<PacingOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut options = PacingOptions::default();
    reader.block(&GARP_GROUP, node.statements(), &mut options);
    let problem = |span: Span, text: &str| Diagnostic::error(span, format!("garp_group: {text}"));
    if let Some(link) = options.links.iter().find(|link| link.len() > MAX_INTERFACE) {
        let text = format!("`{}` is too long for the name of an interface", link.text);
        reader.diagnostics.push(problem(link.span, &text));
    }
    if options.links.is_empty() {
        let problem =
            reader.compat_diagnostic(node.keyword.span, "`garp_group` has no interface", ": it says nothing");
        let problem = problem.code(Code::Unheeded(node.keyword.span));
        return reader.diagnostics.push(problem.help("write `interfaces { ... }`"));
    }
    groups.push(options);
}
