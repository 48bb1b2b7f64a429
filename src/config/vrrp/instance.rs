//! `vrrp_instance`: its keywords.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::config::options::options;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Keyword, Reader, Slot, Support, Table, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::{Beginning, Version};

use super::address::{self, AddressOptions, PeerOptions};
use super::announcing::AnnouncingOptions;
use super::assert::{self, AssertOptions};
use super::authentication::{AUTH_HMAC, AUTHENTICATION, AuthenticationOptions, HmacOptions};
use super::command::{self, command};
use super::global::VERSIONS;
use super::line::Line;
use super::track::Tracked;
use super::vmac::{self, VmacOptions};
use super::{name, one_of, route, rule, yaml_name};

options! {
    /// `vrrp_instance` as it was written.
    pub(crate) struct InstanceOptions {
        /// Its name; empty after reporting that there is none.
        pub(crate) name: Box<str>;
        /// Where its name is.
        pub(crate) span: Span;
        _ = yaml_name();
        _ = only_on();
        /// What it is to be at the start; only an owner of its addresses (priority 255) is Master at once.
        pub(crate) state: Slot<Beginning> = word(=> state; "state", "MASTER or BACKUP");
        /// The interface of its advertisements.
        pub(crate) interface: Slot<String> = text("interface", "INTERFACE", MAX_INTERFACE);
        /// Its number, the same on every router of it.
        pub(crate) vrid: Slot<u8> = word(=> router_id; "virtual_router_id", "a whole number from 1 to 255");
        /// The highest becomes Master; 255 is the owner of the addresses.
        pub(crate) priority: Slot<u32> = number("priority", 1, 255);
        /// Time between advertisements: version 2 whole seconds, version 3 steps of 10 ms to 40.95 s.
        pub(crate) interval: Slot<Duration> = time("advert_int", Duration::from_millis(10), Duration::from_secs(255)).yaml(&["advert_interval"]);
        /// Version of VRRP; without it 2 for IPv4 and 3 for IPv6.
        pub(crate) version: Slot<Version> = word(=> one_of[VERSIONS]; "version", "2 or 3");
        /// Leave a Master of lower priority alone.
        _ = words(@preempts => nopreempt; "nopreempt", "", 0, 0).yaml_instead("`preempt: false`");
        /// Replace a Master of lower priority; `healthier`: only one whose tracks have lowered its priority.
        _ = words(=> preempt; "preempt", "[healthier]", 0, 1);
        /// `preempt`, or the opposite of `nopreempt`.
        pub(crate) preempts: Slot<bool>;
        /// `preempt healthier`.
        pub(crate) preempts_ill: Slot<bool>;
        /// Time before that.
        pub(crate) preempt_delay: Slot<Duration> = time("preempt_delay", Duration::ZERO, Duration::from_secs(1000));
        /// Accept packets to its addresses, as is always done.
        _ = no_op("accept", "", 0, 0).not_yaml();
        /// Drop packets to its addresses, unless it owns them.
        _ = unread("no_accept", Support::Ignored(NO_ACCEPT));
        /// Nothing the standard does not have.
        pub(crate) is_strict: Slot<bool> = flag("strict_mode");
        /// The VRF of unicast without an interface.
        _ = unread("vrf", Support::Refused("lvsd opens no sockets in a VRF: name the interface, which may be in one"));
        /// Source address of its advertisements.
        pub(crate) source: Slot<IpAddr> = address("mcast_src_ip").or(&["unicast_src_ip"]).yaml(&["source"]);
        /// Group of multicast advertisements.
        pub(crate) group: Slot<IpAddr> = address("mcast_dst_ip").yaml(&["multicast_group"]);
        /// Fault while the source address is not on this host; lvsd always does so.
        pub(crate) tracks_source: Slot<bool> = flag("track_src_ip").bare().yaml(&["track_source"]);
        /// Whom advertisements are sent to, instead of the group.
        _ = lines(=> peers; "unicast_peer", Some(address::PEER_TABLE)).yaml(&["unicast_peers"]);
        pub(crate) peers: Vec<PeerOptions>;
        /// A line of it is no peer, which was reported.
        pub(crate) has_unread_peer: bool;
        /// Where `unicast_peer` is.
        pub(crate) unicast: Option<Span>;
        /// TTL or hop limit of unicast advertisements; without it 255.
        pub(crate) hop_limit: Slot<u32> = number("unicast_ttl", 1, 255);
        /// Without a peer the configuration is refused.
        pub(crate) wants_peer: Slot<bool> = flag("unicast_fault_no_peer").bare().not_yaml();
        /// Listen to configured peers only.
        pub(crate) checks_source: Slot<bool> = flag("check_unicast_src").bare();
        /// Checksums of old versions.
        _ = unread("old_unicast_checksum", Support::Ignored("checksums of keepalived before 1.3.7 are neither sent nor understood"));
        /// Send checksums of version 3 on IPv4 without pseudo header, as RFC 9568 says; both are understood.
        pub(crate) checksum_as_v2: Slot<bool> = flag("v3_checksum_as_v2");
        /// The addresses of an advertisement do not decide: lvsd compares them, logs a difference, and goes on.
        _ = no_op("skip_check_adv_addr", "[on|off]", 0, 1).not_yaml();
        /// Advertisements missed before it takes over.
        pub(crate) missed_adverts: Slot<u32> = number("down_timer_adverts", 1, 100);
        /// Do not answer a lower priority.
        pub(crate) ignores_lower: Slot<bool> = flag("lower_prio_no_advert");
        /// Answer a higher priority once before yielding: on, unless in strict mode.
        pub(crate) answers_higher: Slot<bool> = flag("higher_prio_send_advert");
        /// The address owner ignores received advertisements.
        pub(crate) owner_ignores: Slot<bool> = flag("owner_ignore_adverts");
        /// Backup after late timers.
        _ = unread("timer_expired_backup", Support::Ignored("after late timers lvsd always reads what arrived before it claims anything"));
        /// Least size of its socket's buffer, in bytes.
        pub(crate) receive_buffer: Slot<u32> = number("kernel_rx_buf_size", 2048, 64 << 20);
        /// Its addresses.
        pub(crate) addresses: Vec<AddressOptions> = lines(=> address::read; "virtual_ipaddress", Some(address::TABLE)).yaml(&["addresses"]);
        /// Addresses that are not advertised, of any family.
        pub(crate) excluded: Vec<AddressOptions> = lines(=> address::read; "virtual_ipaddress_excluded", Some(address::TABLE)).yaml(&["excluded_addresses"]);
        /// It has none.
        pub(crate) has_no_addresses: Slot<bool> = flag("no_virtual_ipaddress");
        /// Routes of the Master.
        pub(crate) routes: Vec<Line> = lines(=> route::read; "virtual_routes", Some(route::TABLE)).yaml(&["routes"]);
        /// Rules of the Master.
        pub(crate) rules: Vec<Line> = lines(=> rule::read; "virtual_rules", Some(rule::TABLE)).yaml(&["rules"]);
        /// Its addresses have a MAC address of their own.
        pub(crate) vmac: Slot<Option<VmacOptions>> = words(=> vmac::read; "use_vmac", vmac::FORM, 0, 8).yaml_block("vmac");
        /// Advertise with the interface's own MAC address.
        pub(crate) advertises_from_base: Slot<bool> = flag("vmac_xmit_base").bare();
        /// A MAC address of their own for addresses of other interfaces.
        _ = unread("use_vmac_addr", Support::Refused("lvsd makes virtual MAC addresses for whole instances: write an instance for the other interface"));
        /// Its addresses are on an ipvlan.
        _ = unread("use_ipvlan", Support::Refused(NO_IPVLAN));
        /// Removing an address leaves the others of its network: the interface's setting is kept at 1.
        pub(crate) promotes_secondaries: Slot<bool> = flag("promote_secondaries").bare();
        /// How advertisements of version 2 are authenticated.
        pub(crate) authentication: Option<(Span, AuthenticationOptions)> = block(=> authentication; "authentication", "").yaml_block("authentication");
        /// How advertisements are signed, as keepalived 2.4 does.
        pub(crate) hmac: Option<(Span, HmacOptions)> = block(=> hmac; "auth_hmac", "").yaml_block("auth_hmac");
        include pub(crate) announcing: AnnouncingOptions;
        include pub(crate) tracked: Tracked;
        /// Script to run when a Master hears a lower priority.
        _ = command(@tracked.notify.lower_priority => command::read; "notify_master_rx_lower_pri");
        /// What makes its addresses this host's elsewhere, as at a cloud provider: runs on becoming Master until it succeeds, then each interval, and when another host claims them.
        pub(crate) assert: AssertOptions = words(=> assert::read; "vrrp_assert", assert::WANTED, 1, 8).yaml(&["assert"]).yaml_block(assert::TABLE);
        /// The state of its interface does not matter.
        pub(crate) ignores_own_link: Slot<bool> = flag("dont_track_primary").bare();
        /// A word of the past.
        _ = unread("native_ipv6", NO_EFFECT);
        /// Poll for the link.
        _ = unread("linkbeat_use_polling", Support::Ignored("the kernel reports changes of links"));
        /// Replicate connections over this interface; the first instance that says so counts.
        pub(crate) sync_interface: Slot<String> = text("lvs_sync_daemon_interface", "INTERFACE", MAX_INTERFACE).or(&["lvs_sync_daemon_inteface"]).but(Support::Deprecated("write `lvs_sync_daemon INTERFACE inst NAME` in global_defs")).not_yaml();
        /// Source of unicast advertisements, in forks of keepalived.
        _ = address(@source; "vrrp_unicast_bind").but(Support::Deprecated("write `unicast_src_ip`: keepalived itself has no `vrrp_unicast_bind`")).not_yaml();
        /// A peer of unicast, in forks of keepalived.
        _ = word(=> old_peer; "vrrp_unicast_peer", "IP").but(Support::Deprecated("write `unicast_peer { IP }`: keepalived itself has no `vrrp_unicast_peer`")).not_yaml();
        /// A word of the past.
        _ = unread("debug", NO_EFFECT);
    }
}

const NO_ACCEPT: &str = "lvsd drops no packets to its addresses, and this host accepts them: where it should not, write a firewall rule in a chain of hook input with priority 200, which sees only what IPVS does not take (docs/vrrp.md has one)";
const NO_IPVLAN: &str = "lvsd makes no ipvlan: it would have the MAC address of its base, as the interface itself has; remove it, or write `use_vmac`";
const NO_EFFECT: Support = Support::Ignored("it is obsolete and has no effect");

/// Keywords of `vrrp_instance`.
pub(crate) const INSTANCE: Table<InstanceOptions> = Table::of(
    "vrrp_instance",
    "vrrp_instance",
    &[InstanceOptions::keywords(), AnnouncingOptions::keywords(), Tracked::keywords()],
);

fn nopreempt(slot: &mut Slot<bool>, node: &Node, reader: &mut Reader<'_>) {
    reader.store(slot, node, false);
}

fn peers(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    options.unicast = Some(node.keyword.span);
    let (peers, has_unread) = address::peers(node, reader);
    options.peers.extend(peers);
    options.has_unread_peer |= has_unread;
}

/// `vrrp_unicast_peer IP`.
fn old_peer(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    options.unicast = Some(node.keyword.span);
    match reader.address(&node.keyword.text, word) {
        Some(address) => options.peers.push(PeerOptions::of(address, node.span())),
        None => options.has_unread_peer = true,
    }
}

/// `preempt`, a flag as in keepalived, and lvsd's own `preempt healthier`.
fn preempt(o: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    match node.values.first() {
        None => reader.store(&mut o.preempts, node, true),
        Some(word) if **word == *"healthier" => reader.store(&mut o.preempts_ill, node, true),
        Some(word) => match reader.boolean(word) {
            Some(value) => reader.store(&mut o.preempts, node, value),
            None => {
                let wanted = reader.by_language("`healthier` or nothing", "`true`, `false` or `healthier`");
                let hint = nearest(word, ["healthier"].into_iter())
                    .map(|likely| format!("did you mean `{likely}`?"));
                reader.wrong(&node.keyword, word, wanted, Wrong::Malformed(hint));
            }
        },
    }
}

fn authentication(slot: &mut Option<(Span, AuthenticationOptions)>, node: &Node, reader: &mut Reader<'_>) {
    let mut found = AuthenticationOptions::default();
    reader.block(&AUTHENTICATION, node.statements(), &mut found);
    if let Some((first, _)) = slot.replace((node.keyword.span, found)) {
        let problem = reader.compat_diagnostic(
            node.keyword.span,
            "`authentication` is given twice",
            ": the last one counts",
        );
        reader.diagnostics.push(problem.at(first, "the first one is here").code(Code::Unheeded(first)));
    }
}

fn hmac(slot: &mut Option<(Span, HmacOptions)>, node: &Node, reader: &mut Reader<'_>) {
    let mut found = HmacOptions::default();
    reader.block(&AUTH_HMAC, node.statements(), &mut found);
    *slot = Some((node.keyword.span, found));
}

/// Reads `vrrp_instance NAME`.
pub(crate) fn read(instances: &mut Vec<InstanceOptions>, node: &Node, reader: &mut Reader<'_>) {
    let name = name(node, reader);
    let named = name.clone().unwrap_or_else(|| Word { text: "".into(), ..node.keyword.clone() });
    let mut options =
        InstanceOptions { name: (*named.text).into(), span: named.span, ..InstanceOptions::default() };
    let outer = reader.skipped.take();
    let unknown = reader.unknown;
    reader.block(&INSTANCE, node.statements(), &mut options);
    let skipped = std::mem::replace(&mut reader.skipped, outer);
    let lacks = |what: &str, help: &str| {
        let text = format!("vrrp_instance {} has no {what}", options.name);
        Diagnostic::error(node.span(), text).code(Code::Missing).help(help)
    };
    // It may be what an unknown word was meant to be.
    let is_known = reader.unknown == unknown;
    let has = |word: &str| !is_known || node.statements().iter().any(|s| &*s.keyword.text == word);
    if !has("virtual_router_id") {
        let help = format!("write `{}`, N from 1 to 255", reader.example(WORDS, "virtual_router_id", "N"));
        reader.diagnostics.push(lacks("`virtual_router_id`", &help));
    }
    if !has("interface") && options.unicast.is_none() {
        let help = format!("write `{}`", reader.example(WORDS, "interface", "NAME"));
        reader.diagnostics.push(lacks("`interface`", &help));
    }
    let is_empty = options.addresses.is_empty() && options.excluded.is_empty();
    if let (Some(skipped), true, None) = (&skipped, is_empty, &options.has_no_addresses) {
        let text = format!(
            "`{}` was skipped, and leaves vrrp_instance {} without an address",
            skipped.text, options.name
        );
        let problem = Diagnostic::error(skipped.span, text);
        reader.diagnostics.push(problem.help("it may have been `virtual_ipaddress`: correct or remove it"));
    }
    instances.extend(name.map(|_| options));
}

/// Its words, for texts that show how to write one.
pub(crate) const WORDS: &[Keyword<InstanceOptions>] = InstanceOptions::keywords();

fn state(slot: &mut Slot<Beginning>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let states = [("MASTER", Beginning::Master), ("BACKUP", Beginning::Backup)];
    match states.into_iter().find(|(fixed, _)| reader.is_fixed(word, fixed)) {
        Some((_, state)) => reader.store(slot, node, state),
        None => {
            let text = format!("`state`: `{}` is neither MASTER nor BACKUP", word.text);
            let problem = reader.compat_diagnostic(word.span, text, ": keepalived takes BACKUP");
            reader.diagnostics.push(problem.help("write it in capitals"));
            reader.store(slot, node, Beginning::Backup);
        }
    }
}

fn router_id(slot: &mut Slot<u8>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match value::number(word, 1, 255).ok().and_then(|n| u8::try_from(n).ok()) {
        Some(vrid) => reader.store(slot, node, vrid),
        None => {
            let text = format!("`virtual_router_id`: `{}` is not a whole number from 1 to 255", word.text);
            reader.error(word.span, text);
        }
    }
}
