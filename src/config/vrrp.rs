//! VRRP: its blocks, which are read and checked, and do nothing yet.
//!
//! Each block is one warning that says so; what is wrong within it is told as in every other block, so that a
//! file which keepalived would misread is never said to be fine. What the blocks say of each other and of this
//! host is compared in [`verify`].

use std::time::Duration;

use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Form, Keyword, Kind, Listed, Reader, Stance, Table, Yaml};
use crate::syntax::tree::{Node, Word};

use super::root::RootOptions;
use group::SyncGroupOptions;
use instance::InstanceOptions;
use script::ScriptOptions;

pub mod address;
pub mod command;
pub mod global;
pub mod group;
pub mod instance;
pub mod script;
pub mod track;
pub mod verify;

/// What VRRP's blocks say, as far as they are compared.
#[derive(Clone, Debug, Default)]
pub struct VrrpOptions {
    /// `vrrp_instance`, in the file's order.
    pub instances: Vec<InstanceOptions>,
    /// `vrrp_sync_group`.
    pub groups: Vec<SyncGroupOptions>,
    /// `vrrp_script`.
    pub scripts: Vec<ScriptOptions>,
}

/// Keywords of the top level.
pub const BLOCKS: &[Keyword<RootOptions>] = &[
    block(
        "vrrp_instance",
        VIPS,
        |o: &mut RootOptions, n, r| o.vrrp.instances.extend(instance::read(n, r)),
        "A virtual router.",
    ),
    block(
        "vrrp_sync_group",
        VRRP,
        |o: &mut RootOptions, n, r| o.vrrp.groups.extend(group::read(n, r)),
        "Virtual routers that change state together.",
    ),
    block(
        "vrrp_script",
        VRRP,
        |o: &mut RootOptions, n, r| o.vrrp.scripts.extend(script::read(n, r)),
        "A script that changes a priority.",
    ),
    block(
        "vrrp_track_process",
        VRRP,
        |_, n, r| named(&script::TRACK_PROCESS, n, r),
        "A process that changes a priority.",
    ),
    block(
        "track_file",
        Stance::NotYet("files are not tracked"),
        |_, n, r| named(&script::TRACK_FILE, n, r),
        "A file whose number counts.",
    )
    .or(&["vrrp_track_file"]),
    block(
        "track_group",
        VRRP,
        |_, n, r| named(&group::TRACK_GROUP, n, r),
        "Virtual routers that static addresses follow.",
    ),
    block(
        "bfd_instance",
        Stance::NotYet("no BFD session is opened"),
        |_, n, r| named(&script::BFD_INSTANCE, n, r),
        "A BFD session.",
    ),
    list(
        "garp_group",
        VRRP,
        |_, n, r| r.block(&group::GARP_GROUP, n.statements(), &mut ()),
        "Interfaces that share a rate of ARP announcements.",
    ),
    list("static_ipaddress", STATIC, |_, n, r| drop(address::read(n, r)), "Addresses that are always there."),
    list("static_routes", STATIC, address::lines, "Routes that are always there."),
    list("static_rules", STATIC, address::lines, "Rules that are always there."),
    word("linkbeat_use_polling", Form::Flag, "Poll for links."),
    list("linkbeat_interfaces", VRRP, address::lines, "Interfaces to poll."),
    list("interface_up_down_delays", VRRP, address::lines, "Delays for changing links."),
    word("namespace_with_ipsets", Form::Flag, "Use ipsets in a namespace."),
];

/// What a virtual router lacks as long as it is not built.
pub const VIPS: Stance = Stance::NotYet(
    "lvsd does not move VIPs yet; put its addresses on an interface by other means, or this host gets no traffic for them",
);
const NOT_BUILT: &str = "lvsd does not move VIPs yet";
/// What VRRP's other words lack.
pub const VRRP: Stance = Stance::NotYet(NOT_BUILT);
const STATIC: Stance = Stance::NotYet("lvsd sets no addresses, routes or rules yet");

/// The lines of the listing.
pub fn listing() -> Vec<Listed> {
    [
        instance::INSTANCE.listing_not_yet(NOT_BUILT),
        instance::AUTHENTICATION.listing_not_yet(NOT_BUILT),
        instance::AUTH_HMAC.listing_not_yet(NOT_BUILT),
        group::SYNC_GROUP.listing_not_yet(NOT_BUILT),
        group::TRACK_GROUP.listing_not_yet(NOT_BUILT),
        group::GARP_GROUP.listing_not_yet(NOT_BUILT),
        script::SCRIPT.listing_not_yet(NOT_BUILT),
        script::TRACK_PROCESS.listing_not_yet(NOT_BUILT),
        script::TRACK_FILE.listing_not_yet("files are not tracked"),
        script::BFD_INSTANCE.listing_not_yet("no BFD session is opened"),
    ]
    .concat()
}

/// A word whose value is looked at.
pub(super) const fn word<T>(name: &'static str, form: Form, doc: &'static str) -> Keyword<T> {
    kept(name, Kind::Form(form), doc)
}

/// A word whose value is compared with others.
pub(super) const fn kept<T>(name: &'static str, kind: Kind<T>, doc: &'static str) -> Keyword<T> {
    Keyword::new(name, kind, doc).but(VRRP).yaml(Yaml::Absent)
}

/// A word of the past.
pub(super) const fn old<T>(name: &'static str, form: Form, instead: &'static str) -> Keyword<T> {
    word(name, form, "A word of the past.").but(Stance::Deprecated(instead))
}

/// A block without a name.
pub(super) const fn list<T>(
    name: &'static str,
    stance: Stance,
    read: fn(&mut T, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<T> {
    kept(name, Kind::Block { what: "", max: 0, read }, doc).but(stance)
}

const fn block<T>(
    name: &'static str,
    stance: Stance,
    read: fn(&mut T, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<T> {
    kept(name, Kind::Block { what: "NAME", max: 1, read }, doc).but(stance)
}

/// Reads a block with a name, of which nothing is kept.
fn named(table: &Table<()>, node: &Node, reader: &mut Reader<'_>) {
    name(node, reader);
    reader.block(table, node.statements(), &mut ());
}

/// The name of a block. None after saying that there is none.
fn name(node: &Node, reader: &mut Reader<'_>) -> Option<Word> {
    let name = node.values.first().cloned();
    if name.is_none() {
        let keyword = &node.keyword;
        let problem = Diagnostic::error(keyword.span, format!("`{}` needs a name", keyword.text));
        reader.diagnostics.push(problem.help(format!("write `{} NAME {{ ... }}`", keyword.text)));
    }
    name
}

pub(super) const COMMAND: Form =
    Form::Words { what: "COMMAND [USER [GROUP]], a command of several words in quotes", min: 1, max: 3 };
pub(super) const NAME: Form = Form::Words { what: "NAME", min: 1, max: 1 };
pub(super) const COUNT: Form = number(0, u32::MAX);
pub(super) const TIME: Form = Form::Time { min: Duration::ZERO, max: DAY };
pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) const fn number(min: u32, max: u32) -> Form {
    Form::Number { min, max, is_optional: false }
}
