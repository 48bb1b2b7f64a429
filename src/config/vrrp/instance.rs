//! `vrrp_instance`: its keywords.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, Yaml, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::{Beginning, Version};

use super::address::{self, AddressOptions, PeerOptions};
use super::announcing::{AnnouncingOptions, HasAnnouncing};
use super::authentication::{AUTH_HMAC, AUTHENTICATION, AuthenticationOptions, HmacOptions};
use super::command::{self, command};
use super::global::VERSIONS;
use super::line::{self, Line};
use super::track::{HasTracked, Tracked};
use super::vmac::{self, VmacOptions};
use super::{name, number, one_of, route, rule, yaml_name};

/// `vrrp_instance` as it was written.
#[derive(Clone, Debug, Default)]
pub(crate) struct InstanceOptions {
    /// Its name; empty after saying that there is none.
    pub name: Box<str>,
    /// Where its name is.
    pub span: Span,
    pub interface: Slot<String>,
    pub vrid: Slot<u8>,
    pub priority: Slot<u32>,
    pub version: Slot<Version>,
    pub interval: Slot<Duration>,
    pub state: Slot<Beginning>,
    /// `preempt`, or the opposite of `nopreempt`.
    pub preempts: Slot<bool>,
    pub preempts_ill: Slot<bool>,
    pub preempt_delay: Slot<Duration>,
    pub is_strict: Slot<bool>,
    /// `mcast_src_ip`, `unicast_src_ip`.
    pub source: Slot<IpAddr>,
    pub group: Slot<IpAddr>,
    pub tracks_source: Slot<bool>,
    pub peers: Vec<PeerOptions>,
    /// A line of it is no peer, which was said.
    pub has_unread_peer: bool,
    /// Where `unicast_peer` is.
    pub unicast: Option<Span>,
    pub hop_limit: Slot<u32>,
    pub wants_peer: Slot<bool>,
    pub checks_source: Slot<bool>,
    pub checksum_as_v2: Slot<bool>,
    pub missed_adverts: Slot<u32>,
    pub ignores_lower: Slot<bool>,
    pub answers_higher: Slot<bool>,
    pub owner_ignores: Slot<bool>,
    pub receive_buffer: Slot<u32>,
    pub addresses: Vec<AddressOptions>,
    pub excluded: Vec<AddressOptions>,
    pub has_no_addresses: Slot<bool>,
    pub routes: Vec<Line>,
    pub rules: Vec<Line>,
    pub vmac: Slot<Option<VmacOptions>>,
    pub advertises_from_base: Slot<bool>,
    /// `authentication`, and where it is.
    pub authentication: Option<(Span, AuthenticationOptions)>,
    /// `auth_hmac`, and where it is.
    pub hmac: Option<(Span, HmacOptions)>,
    /// `garp_master_delay` and the like.
    pub announcing: AnnouncingOptions,
    pub ignores_own_link: Slot<bool>,
    pub promotes_secondaries: Slot<bool>,
    /// What it follows, and whom it tells.
    pub tracked: Tracked,
}

impl HasTracked for InstanceOptions {
    fn tracked(&mut self) -> &mut Tracked {
        &mut self.tracked
    }
}

impl HasAnnouncing for InstanceOptions {
    fn announcing(&mut self) -> &mut AnnouncingOptions {
        &mut self.announcing
    }
}

/// Keywords of `vrrp_instance`.
pub(crate) const INSTANCE: Table<InstanceOptions> = Table::of(
    "vrrp_instance",
    "vrrp_instance",
    &[OWN, ADVERTS, ADDRESSES, SECRETS, InstanceOptions::ANNOUNCING, InstanceOptions::TRACKING, OTHERS],
);

const fn flag(
    name: &'static str,
    slot: fn(&mut InstanceOptions) -> &mut Slot<bool>,
    doc: &'static str,
) -> Keyword<InstanceOptions> {
    Keyword::new(name, Kind::Flag(slot), doc)
}

/// `preempt`, a flag as in keepalived, and lvsd's own `preempt healthier`.
fn preempt(o: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    match node.values.first() {
        None => reader.store(&mut o.preempts, node, true),
        Some(word) if **word == *"healthier" => reader.store(&mut o.preempts_ill, node, true),
        Some(word) => match reader.boolean(word) {
            Some(value) => reader.store(&mut o.preempts, node, value),
            None => {
                let wanted = if reader.is_yaml() {
                    "`true`, `false` or `healthier`"
                } else {
                    "`healthier` or nothing"
                };
                let hint = nearest(word, ["healthier"].into_iter())
                    .map(|likely| format!("did you mean `{likely}`?"));
                reader.wrong(&node.keyword, word, wanted, Wrong::Malformed(hint));
            }
        },
    }
}

const OWN: &[Keyword<InstanceOptions>] = &[
    yaml_name(),
    Keyword::new(
        "state",
        Kind::Words { what: "MASTER or BACKUP", min: 1, max: 1, read: state },
        "What it is to be at the start; only an owner of its addresses (priority 255) is Master at once.",
    ),
    Keyword::new(
        "interface",
        Kind::Text {
            what: "INTERFACE",
            max: MAX_INTERFACE,
            slot: |o: &mut InstanceOptions| &mut o.interface,
        },
        "The interface of its advertisements.",
    ),
    Keyword::new(
        "virtual_router_id",
        Kind::Words { what: "a whole number from 1 to 255", min: 1, max: 1, read: router_id },
        "Its number, the same on every router of it.",
    ),
    Keyword::new(
        "priority",
        number(1, 255, |o: &mut InstanceOptions| &mut o.priority),
        "The highest becomes Master; 255 is the owner of the addresses.",
    ),
    Keyword::new(
        "advert_int",
        Kind::Time {
            min: Duration::from_millis(10),
            max: Duration::from_secs(255),
            slot: |o: &mut InstanceOptions| &mut o.interval,
        },
        "Time between advertisements: version 2 whole seconds, version 3 steps of 10 ms to 40.95 s.",
    )
    .yaml(Yaml::As(&["advert_interval"])),
    Keyword::new(
        "version",
        Kind::Words {
            what: "2 or 3",
            min: 1,
            max: 1,
            read: |o: &mut InstanceOptions, n, r| one_of(&mut o.version, n, r, VERSIONS),
        },
        "Version of VRRP; without it 2 for IPv4 and 3 for IPv6.",
    ),
    Keyword::new(
        "nopreempt",
        Kind::Words {
            what: "",
            min: 0,
            max: 0,
            read: |o: &mut InstanceOptions, n, r| r.store(&mut o.preempts, n, false),
        },
        "Leave a Master of lower priority alone.",
    )
    .yaml(Yaml::Instead("`preempt: false`")),
    Keyword::new(
        "preempt",
        Kind::Words { what: "[healthier]", min: 0, max: 1, read: preempt },
        "Replace a Master of lower priority; `healthier`: only one whose tracks have lowered its priority.",
    ),
    Keyword::new(
        "preempt_delay",
        Kind::Time {
            min: Duration::ZERO,
            max: Duration::from_secs(1000),
            slot: |o: &mut InstanceOptions| &mut o.preempt_delay,
        },
        "Time before that.",
    ),
    Keyword::new(
        "accept",
        Kind::Words { what: "", min: 0, max: 0, read: |_, _, _| {} },
        "Accept packets to its addresses, as is always done.",
    )
    .yaml(Yaml::Absent),
    Keyword::unread(
        "no_accept",
        Stance::Refused(
            "its rules would drop what clients send to virtual servers on these addresses before IPVS sees it, and lvsd has no nftables support to drop anything else: remove it",
        ),
        "Drop packets to its addresses, unless it owns them.",
    ),
    flag("strict_mode", |o| &mut o.is_strict, "Nothing the standard does not have."),
    Keyword::unread(
        "vrf",
        Stance::Refused("lvsd opens no sockets in a VRF: name the interface, which may be in one"),
        "The VRF of unicast without an interface.",
    ),
];

const ADVERTS: &[Keyword<InstanceOptions>] = &[
    Keyword::new(
        "mcast_src_ip",
        Kind::Address(|o: &mut InstanceOptions| &mut o.source),
        "Source address of its advertisements.",
    )
    .or(&["unicast_src_ip"])
    .yaml(Yaml::As(&["source"])),
    Keyword::new(
        "mcast_dst_ip",
        Kind::Address(|o: &mut InstanceOptions| &mut o.group),
        "Group of multicast advertisements.",
    )
    .yaml(Yaml::As(&["multicast_group"])),
    flag("track_src_ip", |o| &mut o.tracks_source, "Fault while the source address is not on this host; lvsd always does so.")
        .yaml(Yaml::As(&["track_source"])),
    Keyword::new(
        "unicast_peer",
        Kind::Lines {
            table: Some(address::PEER_TABLE),
            read: |o: &mut InstanceOptions, n, r| {
                o.unicast = Some(n.keyword.span);
                let (peers, has_unread) = address::peers(n, r);
                o.peers.extend(peers);
                o.has_unread_peer |= has_unread;
            },
        },
        "Whom advertisements are sent to, instead of the group.",
    )
    .yaml(Yaml::As(&["unicast_peers"])),
    Keyword::new(
        "unicast_ttl",
        number(1, 255, |o: &mut InstanceOptions| &mut o.hop_limit),
        "TTL or hop limit of unicast advertisements; without it 255.",
    ),
    flag("unicast_fault_no_peer", |o| &mut o.wants_peer, "Without a peer the configuration is refused.")
        .yaml(Yaml::Absent),
    flag("check_unicast_src", |o| &mut o.checks_source, "Listen to configured peers only."),
    Keyword::unread(
        "old_unicast_checksum",
        Stance::Ignored("checksums of keepalived before 1.3.7 are neither sent nor understood"),
        "Checksums of old versions.",
    ),
    flag(
        "v3_checksum_as_v2",
        |o| &mut o.checksum_as_v2,
        "Send checksums of version 3 on IPv4 without pseudo header, as RFC 9568 says; both are understood.",
    ),
    Keyword::new(
        "skip_check_adv_addr",
        Kind::Words { what: "[on|off]", min: 0, max: 1, read: |_, _, _| {} },
        "The addresses of an advertisement do not decide: lvsd compares them, tells of a difference, and goes on.",
    )
    .yaml(Yaml::Absent),
    Keyword::new(
        "down_timer_adverts",
        number(1, 100, |o: &mut InstanceOptions| &mut o.missed_adverts),
        "Advertisements missed before it takes over.",
    ),
    flag("lower_prio_no_advert", |o| &mut o.ignores_lower, "Do not answer a lower priority."),
    flag("higher_prio_send_advert", |o| &mut o.answers_higher, "Answer a higher priority once before yielding: on, unless in strict mode."),
    flag("owner_ignore_adverts", |o| &mut o.owner_ignores, "An owner hears nothing."),
    Keyword::unread(
        "timer_expired_backup",
        Stance::Ignored("after late timers lvsd always hears what arrived before it claims anything"),
        "Backup after late timers.",
    ),
    Keyword::new(
        "kernel_rx_buf_size",
        number(2048, 64 << 20, |o: &mut InstanceOptions| &mut o.receive_buffer),
        "Least size of its socket's buffer, in bytes.",
    ),
];

const fn lines(
    name: &'static str,
    yaml: &'static [&'static str],
    table: &'static str,
    read: fn(&mut InstanceOptions, &Node, &mut Reader<'_>),
    doc: &'static str,
) -> Keyword<InstanceOptions> {
    Keyword::new(name, Kind::Lines { table: Some(table), read }, doc).yaml(Yaml::As(yaml))
}

const ADDRESSES: &[Keyword<InstanceOptions>] = &[
    lines(
        "virtual_ipaddress",
        &["addresses"],
        address::TABLE,
        |o, n, r| o.addresses.extend(address::read(n, r)),
        "Its addresses.",
    ),
    lines(
        "virtual_ipaddress_excluded",
        &["excluded_addresses"],
        address::TABLE,
        |o, n, r| o.excluded.extend(address::read(n, r)),
        "Addresses that are not advertised, of any family.",
    ),
    flag("no_virtual_ipaddress", |o| &mut o.has_no_addresses, "It has none."),
    lines(
        "virtual_routes",
        &["routes"],
        route::TABLE,
        |o, n, r| o.routes.extend(line::whole(&route::ROUTE, n, r)),
        "Routes of the Master.",
    ),
    lines(
        "virtual_rules",
        &["rules"],
        rule::TABLE,
        |o, n, r| o.rules.extend(line::whole(&rule::RULE, n, r)),
        "Rules of the Master.",
    ),
    Keyword::new(
        "use_vmac",
        Kind::Words {
            what: vmac::FORM,
            min: 0,
            max: 8,
            read: |o: &mut InstanceOptions, n, r| vmac::read(&mut o.vmac, n, r),
        },
        "Its addresses have a MAC address of their own.",
    )
    .yaml_block("vmac", |o: &mut InstanceOptions, n, r| vmac::read_block(&mut o.vmac, n, r)),
    flag(
        "vmac_xmit_base",
        |o| &mut o.advertises_from_base,
        "Advertise with the interface's own MAC address.",
    ),
    Keyword::unread(
        "use_vmac_addr",
        Stance::Refused(
            "lvsd makes virtual MAC addresses for whole instances: write an instance for the other interface",
        ),
        "A MAC address of their own for addresses of other interfaces.",
    ),
    Keyword::unread(
        "use_ipvlan",
        Stance::Refused(
            "lvsd makes no ipvlan: it would have the MAC address of its base, as the interface itself has; remove it, or write `use_vmac`",
        ),
        "Its addresses are on an ipvlan.",
    ),
    flag(
        "promote_secondaries",
        |o| &mut o.promotes_secondaries,
        "Removing an address leaves the others of its network: the interface's setting is kept at 1.",
    ),
];

const SECRETS: &[Keyword<InstanceOptions>] = &[
    Keyword::new(
        "authentication",
        Kind::Block { what: "", max: 0, read: authentication },
        "How advertisements of version 2 are authenticated.",
    )
    .yaml_block("authentication", authentication),
    Keyword::new(
        "auth_hmac",
        Kind::Block { what: "", max: 0, read: hmac },
        "How advertisements are signed, as keepalived 2.4 does.",
    )
    .yaml_block("auth_hmac", hmac),
];

const OTHERS: &[Keyword<InstanceOptions>] = &[
    Keyword::new(
        "notify_master_rx_lower_pri",
        command(|o: &mut InstanceOptions, n, r| command::read(&mut o.tracked.notify.lower_priority, n, r)),
        "Script to run when a Master hears a lower priority.",
    ),
    flag("dont_track_primary", |o| &mut o.ignores_own_link, "The state of its interface does not matter."),
    Keyword::unread("native_ipv6", NO_EFFECT, "A word of the past."),
    Keyword::unread(
        "linkbeat_use_polling",
        Stance::Ignored("the kernel tells of links as they change"),
        "Poll for the link.",
    ),
    Keyword::unread(
        "lvs_sync_daemon_interface",
        Stance::Refused("write `lvs_sync_daemon INTERFACE inst NAME` in global_defs"),
        "Replicate connections over this interface.",
    ),
    Keyword::unread("debug", NO_EFFECT, "A word of the past."),
];

const NO_EFFECT: Stance = Stance::Ignored("it is obsolete and has no effect");

fn authentication(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut found = AuthenticationOptions::default();
    reader.block(&AUTHENTICATION, node.statements(), &mut found);
    if let Some((first, _)) = options.authentication.replace((node.keyword.span, found)) {
        let problem =
            reader.lapsed(node.keyword.span, "`authentication` is given twice", ": the last one counts");
        reader.diagnostics.push(problem.at(first, "the first one is here"));
    }
}

fn hmac(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut found = HmacOptions::default();
    reader.block(&AUTH_HMAC, node.statements(), &mut found);
    options.hmac = Some((node.keyword.span, found));
}

/// Reads `vrrp_instance NAME`.
pub(crate) fn read(node: &Node, reader: &mut Reader<'_>) -> Option<InstanceOptions> {
    let name = name(node, reader);
    let named = name.clone().unwrap_or_else(|| Word { text: "".into(), ..node.keyword.clone() });
    let mut options =
        InstanceOptions { name: (*named.text).into(), span: named.span, ..InstanceOptions::default() };
    let outer = reader.skipped.take();
    reader.block(&INSTANCE, node.statements(), &mut options);
    let skipped = std::mem::replace(&mut reader.skipped, outer);
    let lacks = |what: &str, help: &str| {
        let text = format!("vrrp_instance {} has no {what}", options.name);
        Diagnostic::error(node.span(), text).help(help)
    };
    let has = |word: &str| node.statements().iter().any(|s| &*s.keyword.text == word);
    let is_yaml = reader.is_yaml();
    let write = |word: &str, value: &str| format!("{word}{} {value}", if is_yaml { ":" } else { "" });
    if !has("virtual_router_id") {
        let help = format!("write `{}`, N from 1 to 255", write("virtual_router_id", "N"));
        reader.diagnostics.push(lacks("`virtual_router_id`", &help));
    }
    if !has("interface") && options.unicast.is_none() {
        let help = format!("write `{}`", write("interface", "NAME"));
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
    name.map(|_| options)
}

fn state(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let written = if reader.is_yaml() { word.to_ascii_uppercase() } else { word.text.to_string() };
    match &*written {
        "MASTER" => reader.store(&mut options.state, node, Beginning::Master),
        "BACKUP" => reader.store(&mut options.state, node, Beginning::Backup),
        _ => {
            let text = format!("`state`: `{}` is neither MASTER nor BACKUP", word.text);
            let problem = reader.lapsed(word.span, text, ": keepalived takes BACKUP");
            reader.diagnostics.push(problem.help("write it in capitals"));
            reader.store(&mut options.state, node, Beginning::Backup);
        }
    }
}

fn router_id(options: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    match value::number(word, 1, 255).ok().and_then(|n| u8::try_from(n).ok()) {
        Some(vrid) => reader.store(&mut options.vrid, node, vrid),
        None => {
            let text = format!("`virtual_router_id`: `{}` is not a whole number from 1 to 255", word.text);
            reader.error(word.span, text);
        }
    }
}
