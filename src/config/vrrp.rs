//! VRRP: its blocks, from words to [`Settings`](crate::vrrp::settings::Settings).
//!
//! Every block has its table of keywords, shared by both languages: keepalived.conf has the blocks at its top level
//! and the common settings in `global_defs`, YAML has all of it below `vrrp`. [`resolve`] applies defaults, [`verify`]
//! compares the blocks with each other, with the virtual servers and with this host.

use std::time::Duration;

use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{
    Keyword, KeywordInfo, Place, Reader, Slot, Support, Table, nearest, no_op, time, unread,
};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::global::GlobalOptions;
use super::options::options;
use super::root::RootOptions;
use address::AddressOptions;
use check::CheckOptions;
use global::VrrpGlobal;
use group::{PacingOptions, SyncGroupOptions};
use instance::InstanceOptions;
use line::Line;
use process::ProcessOptions;
use script::{FileOptions, ScriptOptions};

pub(crate) mod address;
pub(crate) mod announcing;
mod assert;
pub(crate) mod authentication;
pub(crate) mod check;
pub(crate) mod command;
pub(crate) mod damping;
pub(crate) mod global;
pub(crate) mod group;
pub(crate) mod host;
pub(crate) mod instance;
pub(crate) mod line;
pub(crate) mod names;
pub(crate) mod process;
pub(crate) mod resolve;
pub(crate) mod route;
pub(crate) mod rule;
pub(crate) mod script;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod track;
pub(crate) mod verify;
pub(crate) mod vmac;

options! {
    /// VRRP's blocks as they were written.
    pub(crate) struct VrrpOptions for HasVrrp {
        /// A virtual router.
        pub(crate) instances: Vec<InstanceOptions> = block(=> instance::read; "vrrp_instance", "NAME").yaml_block("vrrp_instance").in_vrrp("instances");
        /// Virtual routers that change state together.
        pub(crate) groups: Vec<SyncGroupOptions> = block(=> group::read; "vrrp_sync_group", "NAME").yaml_block("vrrp_sync_group").in_vrrp("sync_groups");
        /// A script that changes a priority.
        pub(crate) scripts: Vec<ScriptOptions> = block(=> script::read; "vrrp_script", "NAME").yaml_block("vrrp_script").in_vrrp("scripts");
        /// A process that changes a priority.
        pub(crate) processes: Vec<ProcessOptions> = block(=> process::read; "vrrp_track_process", "NAME").yaml_block("vrrp_track_process").in_vrrp("processes");
        /// A check that changes a priority (lvsd's own word).
        pub(crate) checks: Vec<CheckOptions> = block(=> check::read; "vrrp_check", "NAME").yaml_block("vrrp_check").in_vrrp("checks");
        /// A file whose number changes a priority.
        pub(crate) files: Vec<FileOptions> = block(=> script::read_file; "track_file", "NAME").or(&["vrrp_track_file"]).yaml_block("track_file").in_vrrp("files");
        /// Interfaces that share a rate of ARP announcements.
        pub(crate) pacing: Vec<PacingOptions> = block(=> group::read_pacing; "garp_group", "").yaml_block("garp_group").in_vrrp("garp_groups");
        /// Addresses that are always there.
        pub(crate) static_addresses: Vec<AddressOptions> = lines(=> address::read; "static_ipaddress", Some(address::TABLE)).in_vrrp("static_addresses");
        /// Routes that are always there.
        pub(crate) static_routes: Vec<Line> = lines(=> route::read; "static_routes", Some(route::TABLE)).in_vrrp("static_routes");
        /// Rules that are always there.
        pub(crate) static_rules: Vec<Line> = lines(=> rule::read; "static_rules", Some(rule::TABLE)).in_vrrp("static_rules");
        /// How long a change of an interface must last before it counts.
        pub(crate) delays: Vec<(Word, host::DelayOptions)> = lines(=> host::delays; "interface_up_down_delays", Some(host::DELAYS_TABLE)).in_vrrp("interface_delays");
    }
}

/// A block that has words of VRRP which YAML has below `vrrp`.
pub(crate) trait HasVrrp {
    /// Whether it is YAML's `vrrp`.
    const IS_YAML: bool = false;
}

impl HasVrrp for RootOptions {}
impl HasVrrp for GlobalOptions {}

impl<T: HasVrrp> Keyword<T> {
    /// YAML has it below `vrrp`, by this name.
    const fn in_vrrp(self, name: &'static str) -> Keyword<T> {
        if T::IS_YAML { self.renamed(name).only_yaml() } else { self.yaml_in("vrrp", name) }
    }
}

options! {
    /// YAML's `vrrp` as it was written.
    pub(super) struct YamlVrrp {
        include pub(super) blocks: VrrpOptions;
        include pub(super) common: VrrpGlobal;
    }
}

impl HasVrrp for YamlVrrp {
    const IS_YAML: bool = true;
}

/// Keywords of YAML's `vrrp`.
pub(super) const VRRP: Table<YamlVrrp> =
    Table::of("vrrp", "vrrp", &[VrrpOptions::keywords(), VrrpGlobal::keywords()]);

pub(super) const TRACK_GROUP: Support = Support::Ignored(
    "what static_ipaddress, static_routes and static_rules say is put back at once when it is taken away: nothing has to follow it",
);
/// Keywords of a block that is ignored as a whole, for the listing.
const IGNORED: Table<RootOptions> =
    Table::of("track_group", "track_group", &[&[unread("group", TRACK_GROUP).doc("Its instances.")]]);

/// The lines of the listing.
pub(super) fn listing() -> Vec<KeywordInfo> {
    [
        VRRP.listing(),
        instance::INSTANCE.listing(),
        address::ADDRESS.listing(),
        address::PEER.listing(),
        authentication::AUTHENTICATION.listing(),
        authentication::AUTH_HMAC.listing(),
        route::ROUTE.listing(),
        route::HOP.listing(),
        rule::RULE.listing(),
        vmac::VMAC.listing(),
        track::TRACK.listing(),
        group::SYNC_GROUP.listing(),
        group::GARP_GROUP.listing(),
        script::SCRIPT.listing(),
        script::TRACK_FILE.listing(),
        process::TRACK_PROCESS.listing(),
        check::CHECK.listing(),
        host::DELAYS.listing(),
        damping::DAMPING.listing(),
        assert::ASSERT.listing(),
        IGNORED.listing(),
        session::BFD_INSTANCE.listing(),
    ]
    .concat()
}

/// The name of a block: behind its keyword, or in YAML one of its statements. None after saying that there is none.
pub(super) fn name(node: &Node, reader: &mut Reader<'_>) -> Option<Word> {
    let name =
        if reader.is_yaml() { line::value_of("name", node).cloned() } else { node.values.first().cloned() };
    if name.is_none() {
        let keyword = &node.keyword;
        let problem = Diagnostic::error(keyword.span, format!("`{}` needs a name", keyword.text));
        // Such a block without a name is one of another block than the top level.
        let problem = if reader.is_yaml() { problem } else { problem.code(Code::Brace) };
        let help = reader.by_language(
            format!("write `{} NAME {{ ... }}`", keyword.text),
            "write `name: NAME` in it".to_owned(),
        );
        reader.diagnostics.push(problem.help(help));
    }
    name
}

/// `name`, where YAML writes it: read before the table is.
const fn yaml_name<T>() -> Keyword<T> {
    no_op("name", "NAME", 1, 1).only_yaml().doc("Its name.")
}

/// One of some words; YAML writes them in small letters, too.
pub(super) fn one_of<V: Copy>(
    slot: &mut Slot<V>,
    node: &Node,
    reader: &mut Reader<'_>,
    choices: &[(&'static str, V)],
) {
    let Some(word) = node.values.first() else { return };
    match choices.iter().find(|(name, _)| reader.is_fixed(word, name)) {
        Some((_, value)) => reader.store(slot, node, *value),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let wanted = reader.any_of(&names);
            let likely = nearest(word, names.into_iter());
            let hint = likely.map(|likely| format!("did you mean `{}`?", reader.fixed(likely)));
            reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(hint));
        }
    }
}

/// Where something is, if it was written.
pub(super) fn span_of<V>(slot: &Slot<V>) -> Option<Span> {
    slot.as_ref().map(|s| s.span)
}

/// The longest time.
const DAY: Duration = Duration::from_secs(86_400);
/// The shortest time that is one.
const MICROSECOND: Duration = Duration::from_micros(1);

/// A time from nothing to a day.
const fn day<T>(slot: Place<T, Slot<Duration>>, name: &'static str) -> Keyword<T> {
    time(slot, name, Duration::ZERO, DAY)
}
