//! The top level of a configuration: its blocks, and what is read of each.

use std::collections::BTreeMap;

use crate::syntax::keyword::{Keyword, Kind, Language, Listed, Reader, Slot, Stance, Table, Yaml};
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

use super::checker;
use super::defaults::Dialect;
use super::global::{GLOBAL_DEFS, GlobalOptions, IPVS, IPVS_TIMEOUTS};
use super::group::{self, GROUP, Group};
use super::real_server::REAL_SERVER;
use super::tls::{SSL, SslOptions};
use super::virtual_server::form::{PERSISTENCE, SORRY_SERVER};
use super::virtual_server::{self, VIRTUAL_SERVER, VirtualServerOptions};
use super::vrrp::{self, VrrpOptions};

/// Everything as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct RootOptions {
    /// `global_defs`; several add up.
    pub global: GlobalOptions,
    /// `SSL`; several add up.
    pub ssl: SslOptions,
    /// `virtual_server`, in the file's order.
    pub virtual_servers: Vec<VirtualServerOptions>,
    pub groups: Vec<Group>,
    pub vrrp: VrrpOptions,
    pub defaults: Slot<Dialect>,
}

/// Keywords of the top level.
pub(crate) const ROOT: Table<RootOptions> =
    Table::of(TOP_LEVEL, TOP_LEVEL, &[BLOCKS, vrrp::BLOCKS, vrrp::UNREAD]);

/// The name of the top level.
pub(crate) const TOP_LEVEL: &str = "the top level";

const BLOCKS: &[Keyword<RootOptions>] = &[
    Keyword::new(
        "global_defs",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RootOptions, n, r| r.block(&GLOBAL_DEFS, n.statements(), &mut o.global),
        },
        "What concerns the whole director.",
    )
    .yaml(Yaml::As(&["global"]))
    .yaml_block("global_defs", |o: &mut RootOptions, n, r| {
        r.block(&GLOBAL_DEFS, n.statements(), &mut o.global)
    }),
    Keyword::new(
        "defaults",
        Kind::Words { what: "keepalived or native", min: 1, max: 1, read: defaults },
        "Whose defaults apply to what is not written: keepalived or native.",
    )
    .yaml(Yaml::Only),
    Keyword::new(
        "ipvs",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RootOptions, n, r| r.block(&IPVS, n.statements(), &mut o.global),
        },
        "Settings of the kernel's load balancer.",
    )
    .yaml(Yaml::Only)
    .yaml_block("ipvs", |o: &mut RootOptions, n, r| r.block(&IPVS, n.statements(), &mut o.global)),
    Keyword::new(
        "virtual_server",
        Kind::Block {
            what: "IP [PORT]",
            max: 2,
            read: |o: &mut RootOptions, n, r| o.virtual_servers.extend(virtual_server::read(n, r)),
        },
        "Traffic to an address and port, or with a firewall mark, and who serves it.",
    )
    .yaml(Yaml::As(&["virtual_servers"]))
    .yaml_block("virtual_server", |o: &mut RootOptions, n, r| {
        o.virtual_servers.extend(virtual_server::read(n, r))
    }),
    Keyword::new(
        "virtual_server_group",
        Kind::Block {
            what: "NAME",
            max: 1,
            read: |o: &mut RootOptions, n, r| o.groups.push(group::read(n, r)),
        },
        "Several addresses and firewall marks for one virtual server.",
    )
    .yaml(Yaml::As(&["virtual_server_groups"]))
    .yaml_block("virtual_server_group", |o: &mut RootOptions, n, r| o.groups.push(group::read(n, r))),
    Keyword::new(
        "vrrp",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RootOptions, n, r| r.block(&vrrp::VRRP, n.statements(), o),
        },
        "Virtual routers, and what is common to them.",
    )
    .yaml(Yaml::Only)
    .yaml_block("vrrp", |o: &mut RootOptions, n, r| r.block(&vrrp::VRRP, n.statements(), o)),
    Keyword::new(
        "SSL",
        Kind::Block {
            what: "",
            max: 0,
            read: |o: &mut RootOptions, n, r| r.block(&SSL, n.statements(), &mut o.ssl),
        },
        "Who checks over TLS are towards servers that ask for it.",
    )
    .yaml(Yaml::As(&["tls"]))
    .yaml_block("SSL", |o: &mut RootOptions, n, r| r.block(&SSL, n.statements(), &mut o.ssl)),
    Keyword::unread("net_namespace", NAMESPACE, "Network namespace to run in."),
    Keyword::unread("net_namespace_ipvs", NAMESPACE, "Network namespace of the table."),
    Keyword::unread("instance", ONE_PROCESS, "Name for pid files."),
    Keyword::unread("use_pid_dir", ONE_PROCESS, "Where pid files go."),
    Keyword::unread("child_wait_time", ONE_PROCESS, "How long to wait for child processes."),
];

const NAMESPACE: Stance =
    Stance::NotYetError("start lvsd in that namespace instead: `ip netns exec NAME lvsd run`");
const ONE_PROCESS: Stance = Stance::Ignored("lvsd has one process and one run directory (`--run-dir`)");

/// Every keyword, block by block.
pub(crate) fn listing() -> Vec<Listed> {
    let mut all = ROOT.listing();
    all.extend(GLOBAL_DEFS.listing());
    all.extend(SSL.listing());
    all.extend(IPVS.listing());
    all.extend(IPVS_TIMEOUTS.listing());
    all.extend(GROUP.listing());
    all.extend(VIRTUAL_SERVER.listing());
    all.extend(PERSISTENCE.listing());
    all.extend(SORRY_SERVER.listing());
    all.extend(REAL_SERVER.listing());
    all.extend(checker::TCP_CHECK.listing());
    all.extend(checker::HTTP_GET.listing());
    all.extend(checker::SSL_GET.listing());
    all.extend(super::url::SSL_URL.listing());
    all.extend(checker::not_yet::listing());
    all.extend(vrrp::listing());
    all
}

/// In which block each word is a keyword; the outermost, if in several.
pub(crate) fn homes(language: Language) -> BTreeMap<&'static str, &'static str> {
    let mut homes = BTreeMap::new();
    for keyword in listing() {
        let (names, block) = match language {
            Language::Keepalived => (keyword.names, keyword.block),
            Language::Yaml => (keyword.yaml, keyword.yaml_block),
        };
        for name in names {
            homes.entry(name).or_insert(block);
        }
    }
    homes
}

fn defaults(options: &mut RootOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match &*word.text {
        "keepalived" => reader.store(&mut options.defaults, node, Dialect::Keepalived),
        "native" => reader.store(&mut options.defaults, node, Dialect::Native),
        _ => reader.wrong("defaults", word, "keepalived or native", Wrong::Malformed(None)),
    }
}
