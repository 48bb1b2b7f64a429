//! The top level of a configuration: its blocks, and what is read of each.

use std::collections::BTreeMap;

use crate::net::namespace;
use crate::syntax::keyword::{KeywordInfo, Language, Reader, Slot, Support, Table};
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

use super::checker;
use super::defaults::Dialect;
use super::global::{GLOBAL_DEFS, GlobalOptions, IPVS, IPVS_TIMEOUTS};
use super::group::{self, GROUP, Group};
use super::options::options;
use super::real_server::REAL_SERVER;
use super::tls::{SSL, SslOptions};
use super::url::URL;
use super::virtual_server::{self, PERSISTENCE, SORRY_SERVER, VIRTUAL_SERVER, VirtualServerOptions};
use super::vrrp::session::SessionOptions;
use super::vrrp::{self, VrrpOptions, YamlVrrp};

options! {
    /// Everything as it was written.
    pub(crate) struct RootOptions {
        /// What concerns the whole director.
        pub(crate) global: GlobalOptions = block(=> read_global; "global_defs", "").yaml(&["global"]).yaml_block("global_defs");
        /// Whose defaults apply to what is not written: keepalived or native (lvsd's own word).
        pub(crate) defaults: Slot<Dialect> = word(=> defaults; "defaults", "keepalived or native");
        /// Settings of the kernel's load balancer (lvsd's own word; in keepalived.conf it has `sysctl`).
        _ = block(@global => read_ipvs; "ipvs", "").yaml_block("ipvs");
        /// Traffic to an address and port, or with a firewall mark, and the servers it goes to.
        pub(crate) virtual_servers: Vec<VirtualServerOptions> = block(=> virtual_server::read; "virtual_server", "IP [PORT]").yaml(&["virtual_servers"]).yaml_block("virtual_server");
        /// Several addresses and firewall marks for one virtual server.
        pub(crate) groups: Vec<Group> = block(=> group::read; "virtual_server_group", "NAME").yaml(&["virtual_server_groups"]).yaml_block("virtual_server_group");
        /// A BFD session: whether a neighbour can be reached, known within a fraction of a second.
        pub(crate) sessions: Vec<SessionOptions> = block(=> vrrp::session::read; "bfd_instance", "NAME").yaml(&["bfd"]).yaml_block("bfd_instance");
        /// Virtual routers, and what is common to them.
        _ = block(=> read_vrrp; "vrrp", "").only_yaml().yaml_block("vrrp");
        include pub(crate) vrrp: VrrpOptions;
        /// The certificate that checks over TLS show to servers that ask for one.
        pub(crate) ssl: SslOptions = block(=> read_ssl; "SSL", "").yaml(&["tls"]).yaml_block("SSL");
        /// Addresses that full NAT takes as its source, in forks of keepalived.
        _ = unread("local_address_group", Support::Ignored("full NAT is not in the kernel's IPVS"));
        /// Network namespace to run in, by its name in /run/netns; a reload cannot change it.
        pub(crate) net_namespace: Slot<String> = word(=> net_namespace; "net_namespace", "NAME");
        /// Network namespace of the table.
        _ = unread("net_namespace_ipvs", NAMESPACE_IPVS);
        /// Name for pid files.
        _ = unread("instance", ONE_PROCESS);
        /// Where pid files go.
        _ = unread("use_pid_dir", ONE_PROCESS);
        /// How long to wait for child processes.
        _ = unread("child_wait_time", ONE_PROCESS);
        /// Virtual routers that static addresses follow.
        _ = unread("track_group", vrrp::TRACK_GROUP);
        /// Poll for links.
        _ = unread("linkbeat_use_polling", LINKS);
        /// Interfaces to poll.
        _ = unread("linkbeat_interfaces", LINKS);
        /// Use ipsets in a namespace.
        _ = unread("namespace_with_ipsets", Support::Ignored("lvsd uses no ipsets"));
    }
}

/// Keywords of the top level.
pub(crate) const ROOT: Table<RootOptions> =
    Table::of(TOP_LEVEL, TOP_LEVEL, &[RootOptions::keywords(), VrrpOptions::keywords()]);

/// The name of the top level.
pub(crate) const TOP_LEVEL: &str = "the top level";

const NAMESPACE_IPVS: Support = Support::Refused(
    "the table is that of the namespace lvsd works in: run an lvsd in each, with a `--run-dir` of its own, one \
     for the virtual servers and one for the virtual routers",
);
const LINKS: Support = Support::Ignored("the kernel reports changes of links");
const ONE_PROCESS: Support = Support::Ignored("lvsd has one process and one run directory (`--run-dir`)");

/// Every keyword, block by block.
pub(crate) fn listing() -> Vec<KeywordInfo> {
    [
        ROOT.listing(),
        GLOBAL_DEFS.listing(),
        SSL.listing(),
        IPVS.listing(),
        IPVS_TIMEOUTS.listing(),
        GROUP.listing(),
        VIRTUAL_SERVER.listing(),
        PERSISTENCE.listing(),
        SORRY_SERVER.listing(),
        REAL_SERVER.listing(),
        checker::listing(),
        URL.listing(),
        vrrp::listing(),
    ]
    .concat()
}

/// In which block each word is a keyword; the outermost, if in several.
pub(crate) fn block_of(language: Language) -> BTreeMap<&'static str, &'static str> {
    let mut block_of = BTreeMap::new();
    for keyword in listing() {
        let (names, block) = match language {
            Language::Keepalived => (keyword.names, keyword.block),
            Language::Yaml => (keyword.yaml, keyword.yaml_block),
        };
        for name in names {
            block_of.entry(name).or_insert(block);
        }
    }
    block_of
}

fn read_global(global: &mut GlobalOptions, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&GLOBAL_DEFS, node.statements(), global);
}

fn read_ipvs(global: &mut GlobalOptions, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&IPVS, node.statements(), global);
}

/// YAML's `vrrp` has what keepalived.conf has at its top level and in `global_defs`.
fn read_vrrp(options: &mut RootOptions, node: &Node, reader: &mut Reader<'_>) {
    let (blocks, common) = (&mut options.vrrp, &mut options.global.vrrp);
    let mut vrrp = YamlVrrp { blocks: std::mem::take(blocks), common: std::mem::take(common) };
    reader.block(&vrrp::VRRP, node.statements(), &mut vrrp);
    (*blocks, *common) = (vrrp.blocks, vrrp.common);
}

fn read_ssl(ssl: &mut SslOptions, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&SSL, node.statements(), ssl);
}

fn net_namespace(slot: &mut Slot<String>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if namespace::is_name(&word.text) {
        reader.store(slot, node, word.text.to_string());
    } else {
        reader.wrong("net_namespace", word, "a name in /run/netns, without a slash", Wrong::Malformed(None));
    }
}

fn defaults(slot: &mut Slot<Dialect>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match &*word.text {
        "keepalived" => reader.store(slot, node, Dialect::Keepalived),
        "native" => reader.store(slot, node, Dialect::Native),
        _ => reader.wrong("defaults", word, "keepalived or native", Wrong::Malformed(None)),
    }
}
