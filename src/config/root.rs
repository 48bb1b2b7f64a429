//! The top level of a configuration: its blocks, and what is read of each.

use std::collections::BTreeMap;

use crate::syntax::keyword::{Keyword, Kind, Listed, Reader, Stance, Table};

use super::checker;
use super::global::{GLOBAL_DEFS, GlobalOptions};
use super::tls::{SSL, SslOptions};
use super::virtual_server::{self, REAL_SERVER, VIRTUAL_SERVER, VirtualServerOptions};

/// Everything as it was written.
#[derive(Clone, Debug, Default)]
pub struct RootOptions {
    /// `global_defs`; several add up.
    pub global: GlobalOptions,
    /// `SSL`; several add up.
    pub ssl: SslOptions,
    /// `virtual_server`, in the file's order.
    pub virtual_servers: Vec<VirtualServerOptions>,
}

/// Keywords of the top level.
pub const ROOT: Table<RootOptions> = Table { block: TOP_LEVEL, keywords: &[BLOCKS] };

const TOP_LEVEL: &str = "the top level";

const BLOCKS: &[Keyword<RootOptions>] = &[
    Keyword::new(
        "global_defs",
        Kind::Block {
            what: "",
            max: 0,
            read: |o, n, r| r.block(&GLOBAL_DEFS, n.statements(), &mut o.global),
        },
        "What concerns the whole director.",
    ),
    Keyword::new(
        "virtual_server",
        Kind::Block {
            what: "IP [PORT]",
            max: 2,
            read: |o, n, r| o.virtual_servers.extend(virtual_server::read(n, r)),
        },
        "Traffic to an address and port, or with a firewall mark, and who serves it.",
    ),
    Keyword::unread(
        "virtual_server_group",
        Stance::NotYet("a virtual_server that uses the group is refused"),
        "Several addresses for one virtual server.",
    ),
    Keyword::new(
        "SSL",
        Kind::Block { what: "", max: 0, read: |o, n, r| r.block(&SSL, n.statements(), &mut o.ssl) },
        "Who SSL_GET is towards servers that ask for it.",
    ),
    Keyword::unread("track_file", Stance::NotYet("files are not tracked"), "A file whose number counts.")
        .or(&["vrrp_track_file"]),
    Keyword::unread("vrrp_instance", VIPS, "A virtual router."),
    Keyword::unread("vrrp_sync_group", VRRP, "Virtual routers that change state together."),
    Keyword::unread("vrrp_script", VRRP, "A script that changes a priority."),
    Keyword::unread("vrrp_track_process", VRRP, "A process that changes a priority."),
    Keyword::unread("garp_group", VRRP, "Interfaces that share a rate of ARP announcements."),
    Keyword::unread("bfd_instance", Stance::NotYet("no BFD session is opened"), "A BFD session."),
    Keyword::unread("static_ipaddress", STATIC, "Addresses that are always there."),
    Keyword::unread("static_routes", STATIC, "Routes that are always there."),
    Keyword::unread("static_rules", STATIC, "Rules that are always there."),
    Keyword::unread("linkbeat_use_polling", VRRP, "Poll for links."),
    Keyword::unread("linkbeat_interfaces", VRRP, "Interfaces to poll."),
    Keyword::unread("interface_up_down_delays", VRRP, "Delays for changing links."),
    Keyword::unread("net_namespace", NAMESPACE, "Network namespace to run in."),
    Keyword::unread("net_namespace_ipvs", NAMESPACE, "Network namespace of the table."),
    Keyword::unread("namespace_with_ipsets", VRRP, "Use ipsets in a namespace."),
    Keyword::unread("instance", ONE_PROCESS, "Name for pid files."),
    Keyword::unread("use_pid_dir", ONE_PROCESS, "Where pid files go."),
    Keyword::unread("child_wait_time", ONE_PROCESS, "How long to wait for child processes."),
];

const VIPS: Stance = Stance::NotYet(
    "lvsd does not move VIPs yet; put its addresses on an interface by other means, or this host gets no traffic for them",
);
const VRRP: Stance = Stance::NotYet("lvsd does not move VIPs yet");
const STATIC: Stance = Stance::NotYet("lvsd sets no addresses, routes or rules yet");
const NAMESPACE: Stance =
    Stance::NotYetError("start lvsd in that namespace instead: `ip netns exec NAME lvsd run`");
const ONE_PROCESS: Stance = Stance::Ignored("lvsd has one process and one run directory (`--run-dir`)");

/// Every keyword, block by block.
pub fn listing() -> Vec<Listed> {
    let mut all = ROOT.listing();
    all.extend(GLOBAL_DEFS.listing());
    all.extend(SSL.listing());
    all.extend(VIRTUAL_SERVER.listing());
    all.extend(REAL_SERVER.listing());
    all.extend(checker::TCP_CHECK.listing());
    all.extend(checker::HTTP_GET.listing());
    all.extend(checker::SSL_GET.listing());
    all.extend(super::url::SSL_URL.listing());
    all
}

/// In which block each word is a keyword; the outermost, if in several.
pub fn homes() -> BTreeMap<&'static str, &'static str> {
    let mut homes = BTreeMap::new();
    for keyword in listing() {
        for name in std::iter::once(keyword.name).chain(keyword.aliases.iter().copied()) {
            homes.entry(name).or_insert(keyword.block);
        }
    }
    homes
}

/// Reads a tree.
pub fn read(nodes: &[crate::syntax::tree::Node], reader: &mut Reader<'_>) -> RootOptions {
    let mut options = RootOptions::default();
    reader.block(&ROOT, nodes, &mut options);
    options
}
