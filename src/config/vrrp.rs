//! VRRP: its blocks, from words to [`Settings`](crate::vrrp::settings::Settings).
//!
//! Every block has its table of keywords, shared by both languages: keepalived.conf has the blocks at its top level
//! and the common settings in `global_defs`, YAML has all of it below `vrrp`. [`resolve`] applies defaults, [`verify`]
//! compares the blocks with each other, with the virtual servers and with this host.

use std::time::Duration;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Listed, Reader, Slot, Stance, Table, Yaml, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::Wrong;

use super::root::RootOptions;
use address::AddressOptions;
use global::HasVrrp;
use group::{PacingOptions, SyncGroupOptions};
use instance::InstanceOptions;
use line::Line;
use process::ProcessOptions;
use script::{FileOptions, ScriptOptions};

pub(crate) mod address;
pub(crate) mod announcing;
pub(crate) mod authentication;
pub(crate) mod command;
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
pub(crate) mod shell;
pub(crate) mod track;
pub(crate) mod verify;
pub(crate) mod vmac;

/// VRRP's blocks as they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct VrrpOptions {
    /// `vrrp_instance`, in the file's order.
    pub instances: Vec<InstanceOptions>,
    pub groups: Vec<SyncGroupOptions>,
    pub scripts: Vec<ScriptOptions>,
    pub files: Vec<FileOptions>,
    pub processes: Vec<ProcessOptions>,
    pub pacing: Vec<PacingOptions>,
    pub static_addresses: Vec<AddressOptions>,
    pub static_routes: Vec<Line>,
    pub static_rules: Vec<Line>,
    pub delays: Vec<(Word, host::DelayOptions)>,
}

/// A row for each language, of one declaration: keepalived.conf has such blocks at its top level, YAML below `vrrp`.
macro_rules! blocks {
    ($(($name:literal, $aliases:expr, $yaml:literal, $table:expr, $what:literal, $read:expr, $doc:literal)),+ $(,)?) => {
        /// VRRP's keywords of keepalived.conf's top level.
        pub(crate) const BLOCKS: &[Keyword<RootOptions>] = &[$(
            Keyword::new($name, kind($what, $table, $read), $doc)
                .or($aliases)
                .yaml(Yaml::Instead(concat!("it below `vrrp`, as `", $yaml, "`")))
        ),+];
        const YAML_BLOCKS: &[Keyword<RootOptions>] =
            &[$(in_yaml(Keyword::new($yaml, kind($what, $table, $read), $doc).yaml(Yaml::Only), $table, $read)),+];
    };
}

/// Marks blocks of lines.
const LINES: &[u8] = b"LINES";

/// What reads a block into all there is.
type Read = fn(&mut RootOptions, &Node, &mut Reader<'_>);

const fn kind(what: &'static str, table: Option<&'static str>, read: Read) -> Kind<RootOptions> {
    match what.as_bytes() {
        LINES => Kind::Lines { table, read },
        b"" => Kind::Block { what, max: 0, read },
        _ => Kind::Block { what, max: 1, read },
    }
}

const fn in_yaml(
    keyword: Keyword<RootOptions>,
    table: Option<&'static str>,
    read: Read,
) -> Keyword<RootOptions> {
    match (&keyword.kind, table) {
        (Kind::Block { .. }, Some(table)) => keyword.yaml_block(table, read),
        _ => keyword,
    }
}

blocks![
    (
        "vrrp_instance",
        &[],
        "instances",
        Some("vrrp_instance"),
        "NAME",
        |o, n, r| o.vrrp.instances.extend(instance::read(n, r)),
        "A virtual router."
    ),
    (
        "vrrp_sync_group",
        &[],
        "sync_groups",
        Some("vrrp_sync_group"),
        "NAME",
        |o, n, r| o.vrrp.groups.extend(group::read(n, r)),
        "Virtual routers that change state together."
    ),
    (
        "vrrp_script",
        &[],
        "scripts",
        Some("vrrp_script"),
        "NAME",
        |o, n, r| o.vrrp.scripts.extend(script::read(n, r)),
        "A script that changes a priority."
    ),
    (
        "vrrp_track_process",
        &[],
        "processes",
        Some("vrrp_track_process"),
        "NAME",
        |o, n, r| o.vrrp.processes.extend(process::read(n, r)),
        "A process that changes a priority."
    ),
    (
        "track_file",
        &["vrrp_track_file"],
        "files",
        Some("track_file"),
        "NAME",
        |o, n, r| o.vrrp.files.extend(script::read_file(n, r)),
        "A file whose number changes a priority."
    ),
    (
        "garp_group",
        &[],
        "garp_groups",
        Some("garp_group"),
        "",
        |o, n, r| o.vrrp.pacing.extend(group::read_pacing(n, r)),
        "Interfaces that share a rate of ARP announcements."
    ),
    (
        "static_ipaddress",
        &[],
        "static_addresses",
        Some(address::TABLE),
        "LINES",
        |o, n, r| o.vrrp.static_addresses.extend(address::read(n, r)),
        "Addresses that are always there."
    ),
    (
        "static_routes",
        &[],
        "static_routes",
        Some(route::TABLE),
        "LINES",
        |o, n, r| o.vrrp.static_routes.extend(line::whole(&route::ROUTE, n, r)),
        "Routes that are always there."
    ),
    (
        "static_rules",
        &[],
        "static_rules",
        Some(rule::TABLE),
        "LINES",
        |o, n, r| o.vrrp.static_rules.extend(line::whole(&rule::RULE, n, r)),
        "Rules that are always there."
    ),
    (
        "interface_up_down_delays",
        &[],
        "interface_delays",
        Some(host::DELAYS_TABLE),
        "LINES",
        |o, n, r| o.vrrp.delays.extend(host::delays(n, r)),
        "How long a change of an interface must last before it counts."
    ),
];

/// Keywords of the top level that do nothing.
pub(crate) const UNREAD: &[Keyword<RootOptions>] = &[
    Keyword::unread("track_group", TRACK_GROUP, "Virtual routers that static addresses follow."),
    Keyword::unread("bfd_instance", NO_BFD, "A BFD session."),
    Keyword::unread("linkbeat_use_polling", LINKS_TELL, "Poll for links."),
    Keyword::unread("linkbeat_interfaces", LINKS_TELL, "Interfaces to poll."),
    Keyword::unread(
        "namespace_with_ipsets",
        Stance::Ignored("lvsd uses no ipsets"),
        "Use ipsets in a namespace.",
    ),
];

/// Keywords of YAML's `vrrp`.
pub(crate) const VRRP: Table<RootOptions> =
    Table::of("vrrp", "vrrp", &[YAML_BLOCKS, RootOptions::VRRP_WORDS]);

const TRACK_GROUP: Stance = Stance::Ignored(
    "what static_ipaddress, static_routes and static_rules say is put back at once when it is taken away: nothing has to follow it",
);
const NO_BFD: Stance = Stance::Ignored("lvsd opens no BFD session");
const LINKS_TELL: Stance = Stance::Ignored("the kernel tells of links as they change");

/// Keywords of blocks that are ignored as a whole, for the listing.
const IGNORED: &[Table<RootOptions>] = &[
    Table::of("track_group", "track_group", &[&[Keyword::unread("group", TRACK_GROUP, "Its instances.")]]),
    Table::of(
        "bfd_instance",
        "bfd_instance",
        &[&[
            Keyword::unread("neighbor_ip", NO_BFD, "Whom the session is with."),
            Keyword::unread("source_ip", NO_BFD, "Source address."),
            Keyword::unread("min_rx", NO_BFD, "Least time between packets received."),
            Keyword::unread("min_tx", NO_BFD, "Least time between packets sent."),
            Keyword::unread("idle_tx", NO_BFD, "Time between packets sent while down."),
            Keyword::unread("multiplier", NO_BFD, "Packets missed before it is down."),
            Keyword::unread("passive", NO_BFD, "Do not open the session."),
            Keyword::unread("ttl", NO_BFD, "TTL of the packets sent."),
            Keyword::unread("hoplimit", NO_BFD, "Hop limit of the packets sent."),
            Keyword::unread("max_hops", NO_BFD, "Hops a packet may have taken."),
            Keyword::unread("weight", NO_BFD, "What is added to the priority."),
            Keyword::unread("vrrp", NO_BFD, "For virtual routers only."),
            Keyword::unread("checker", NO_BFD, "For checkers only."),
        ]],
    ),
];

/// The lines of the listing.
pub(crate) fn listing() -> Vec<Listed> {
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
        host::DELAYS.listing(),
        IGNORED.iter().flat_map(Table::listing).collect(),
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
        let help = match reader.is_yaml() {
            true => "write `name: NAME` in it".to_owned(),
            false => format!("write `{} NAME {{ ... }}`", keyword.text),
        };
        reader.diagnostics.push(problem.help(help));
    }
    name
}

/// `name`, where YAML writes it: read before the table is.
pub(super) const fn yaml_name<T>() -> Keyword<T> {
    Keyword::new("name", Kind::Words { what: "NAME", min: 1, max: 1, read: |_, _, _| {} }, "Its name.")
        .yaml(Yaml::Only)
}

/// One of some words; YAML writes them in small letters, too.
pub(super) fn one_of<V: Copy>(
    slot: &mut Slot<V>,
    node: &Node,
    reader: &mut Reader<'_>,
    choices: &[(&'static str, V)],
) {
    let Some(word) = node.values.first() else { return };
    let is = |name: &str| *name == *word.text || (reader.is_yaml() && name.eq_ignore_ascii_case(word));
    match choices.iter().find(|(name, _)| is(name)) {
        Some((_, value)) => reader.store(slot, node, *value),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let wanted = match names.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                _ => names.concat(),
            };
            let hint = nearest(word, names.into_iter()).map(|likely| format!("did you mean `{likely}`?"));
            reader.wrong(&node.keyword, word, &wanted, Wrong::Malformed(hint));
        }
    }
}

/// Where something is, if it was written.
pub(super) fn span_of<V>(slot: &Slot<V>) -> Option<Span> {
    slot.as_ref().map(|s| s.span)
}

/// The longest time.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// The shortest time that is one.
pub(super) const MICROSECOND: Duration = Duration::from_micros(1);

/// A word whose value is a time from nothing to a day.
pub(super) const fn time<T>(slot: fn(&mut T) -> &mut Slot<Duration>) -> Kind<T> {
    Kind::Time { min: Duration::ZERO, max: DAY, slot }
}

/// A word whose value is a whole number.
pub(super) const fn number<T>(min: u32, max: u32, slot: fn(&mut T) -> &mut Slot<u32>) -> Kind<T> {
    Kind::Number { min, max, bare: None, slot }
}
