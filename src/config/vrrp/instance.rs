//! `vrrp_instance`: its keywords, and what of it is compared.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Form, Keyword, Kind, Reader, Slot, Table};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value;

use super::track::{HasTracked, Tracked};
use super::{COMMAND, COUNT, NAME, TIME, VRRP, address, kept, list, name, number, old, word};

/// `vrrp_instance` as it was written.
#[derive(Clone, Debug)]
pub struct InstanceOptions {
    /// Its name.
    pub name: Word,
    /// `interface`.
    pub interface: Slot<String>,
    /// `strict_mode`.
    pub is_strict: Slot<bool>,
    /// Where `authentication` is.
    pub authentication: Option<Span>,
    /// What it follows.
    pub tracked: Tracked,
    addresses: Vec<IpAddr>,
    has_no_addresses: Slot<bool>,
    is_unicast: bool,
}

impl HasTracked for InstanceOptions {
    fn tracked(&mut self) -> &mut Tracked {
        &mut self.tracked
    }
}

/// Keywords of `vrrp_instance`.
pub const INSTANCE: Table<InstanceOptions> = Table {
    block: "vrrp_instance",
    yaml: "vrrp_instance",
    keywords: &[OWN, ADVERTS, ADDRESSES, SECRETS, ANNOUNCEMENTS, InstanceOptions::TRACKING, OTHERS],
};

const OWN: &[Keyword<InstanceOptions>] = &[
    kept(
        "state",
        Kind::Words { what: "MASTER or BACKUP", min: 1, max: 1, read: state },
        "What it is to be at the start.",
    ),
    kept(
        "interface",
        Kind::Text {
            what: "INTERFACE",
            max: MAX_INTERFACE,
            slot: |o: &mut InstanceOptions| &mut o.interface,
        },
        "The interface of its advertisements.",
    ),
    kept(
        "virtual_router_id",
        Kind::Words { what: "a whole number from 1 to 255", min: 1, max: 1, read: router_id },
        "Its number, the same on every router of it.",
    ),
    word("priority", number(1, 255), "The highest becomes Master; 255 is the owner of the addresses."),
    word(
        "advert_int",
        Form::Time { min: Duration::from_millis(10), max: Duration::from_secs(255) },
        "Time between advertisements.",
    ),
    word("version", Form::OneOf(&["2", "3"]), "Version of VRRP."),
    word("nopreempt", Form::Flag, "Leave a Master of lower priority alone."),
    word("preempt", Form::Flag, "Replace a Master of lower priority."),
    word(
        "preempt_delay",
        Form::Time { min: Duration::ZERO, max: Duration::from_secs(1000) },
        "Time before that.",
    ),
    word("accept", Form::Flag, "Accept packets to its addresses."),
    word("no_accept", Form::Flag, "Drop packets to its addresses, unless it owns them."),
    kept(
        "strict_mode",
        Kind::Flag(|o: &mut InstanceOptions| &mut o.is_strict),
        "Nothing the standard does not have.",
    ),
    word("vrf", NAME, "The VRF of unicast without an interface."),
];

const ADVERTS: &[Keyword<InstanceOptions>] = &[
    word("mcast_src_ip", Form::Address, "Source address of multicast advertisements."),
    word("unicast_src_ip", Form::Address, "Source address of unicast advertisements."),
    word("mcast_dst_ip", Form::Address, "Group of multicast advertisements."),
    word("track_src_ip", Form::Flag, "Fault while the source address is not there."),
    list(
        "unicast_peer",
        VRRP,
        |o: &mut InstanceOptions, n, r| {
            o.is_unicast = true;
            address::peers(n, r);
        },
        "Whom advertisements are sent to, instead of the group.",
    ),
    word("unicast_ttl", number(0, 255), "TTL of unicast advertisements."),
    word("unicast_fault_no_peer", Form::Flag, "Fault without a peer."),
    word("check_unicast_src", Form::Flag, "Hear configured peers only."),
    word(
        "old_unicast_checksum",
        Form::Words { what: "[never]", min: 0, max: 1 },
        "Checksums of old versions.",
    ),
    word("v3_checksum_as_v2", Form::Flag, "Checksums of version 3 without pseudo header."),
    word("skip_check_adv_addr", Form::Flag, "Compare the addresses of the first advertisement only."),
    word("down_timer_adverts", number(1, 100), "Advertisements missed before it takes over."),
    word("lower_prio_no_advert", Form::Flag, "Do not answer a lower priority."),
    word("higher_prio_send_advert", Form::Flag, "Answer a higher priority once."),
    word("owner_ignore_adverts", Form::Flag, "An owner hears nothing."),
    word(
        "timer_expired_backup",
        Form::Number { min: 1, max: 254, is_optional: true },
        "Backup after late timers.",
    ),
    word("kernel_rx_buf_size", COUNT, "Size of the socket's buffer."),
];

const ADDRESSES: &[Keyword<InstanceOptions>] = &[
    list(
        "virtual_ipaddress",
        VRRP,
        |o: &mut InstanceOptions, n, r| o.addresses.extend(address::read(n, r)),
        "Its addresses.",
    ),
    list(
        "virtual_ipaddress_excluded",
        VRRP,
        |o: &mut InstanceOptions, n, r| o.addresses.extend(address::read(n, r)),
        "Addresses that are not advertised.",
    ),
    kept(
        "no_virtual_ipaddress",
        Kind::Flag(|o: &mut InstanceOptions| &mut o.has_no_addresses),
        "It has none.",
    ),
    list("virtual_routes", VRRP, address::lines, "Routes of the Master."),
    list("virtual_rules", VRRP, address::lines, "Rules of the Master."),
    word(
        "use_vmac",
        Form::Words { what: "[NAME] [MAC] [OPTION...]", min: 0, max: 6 },
        "Its addresses have a MAC address of their own.",
    ),
    word("vmac_xmit_base", Form::Flag, "Advertise with the interface's own MAC address."),
    word("use_vmac_addr", Form::Flag, "The same for addresses of other interfaces."),
    word(
        "use_ipvlan",
        Form::Words { what: "[NAME] [ADDRESS] [MODE] [OPTION...]", min: 0, max: 6 },
        "Its addresses are on an ipvlan.",
    ),
    word("promote_secondaries", Form::Flag, "Removing an address leaves the others of its network."),
];

const SECRETS: &[Keyword<InstanceOptions>] = &[
    list(
        "authentication",
        VRRP,
        |o: &mut InstanceOptions, n, r| {
            o.authentication = Some(n.keyword.span);
            r.block(&AUTHENTICATION, n.statements(), &mut ());
        },
        "How advertisements of version 2 are authenticated.",
    ),
    list(
        "auth_hmac",
        VRRP,
        |_: &mut InstanceOptions, n, r| r.block(&AUTH_HMAC, n.statements(), &mut ()),
        "How advertisements are signed.",
    ),
];

/// Keywords of `authentication`.
pub const AUTHENTICATION: Table<()> = Table {
    block: "authentication",
    yaml: "authentication",
    keywords: &[&[
        word("auth_type", Form::OneOf(&["PASS", "AH"]), "A password, or a hash over it."),
        kept(
            "auth_pass",
            Kind::Words { what: "PASSWORD of at most 8 bytes", min: 1, max: 1, read: password },
            "The password.",
        ),
    ]],
};

/// Keywords of `auth_hmac`.
pub const AUTH_HMAC: Table<()> = Table {
    block: "auth_hmac",
    yaml: "auth_hmac",
    keywords: &[&[
        word("key", Form::Words { what: "ID hex:KEY, file:PATH or ascii:KEY", min: 2, max: 2 }, "A key."),
        word("active_key", number(0, 255), "The key to sign with."),
        word(
            "time_window",
            Form::Time { min: Duration::from_secs(1), max: Duration::from_secs(300) },
            "How old a signature may be.",
        ),
        word("anti_replay", Form::OneOf(&["time", "monotonic"]), "How repeated packets are told."),
        word(
            "mode",
            Form::OneOf(&["enforce", "permissive", "receive-only"]),
            "What becomes of packets without signature.",
        ),
    ]],
};

const ANNOUNCEMENTS: &[Keyword<InstanceOptions>] = &[
    word("garp_master_delay", TIME, "Time before ARP announcements are repeated; 0 is never."),
    word("garp_master_repeat", COUNT, "Announcements of an address at once."),
    word("garp_master_refresh", TIME, "Time between later announcements; 0 is none."),
    word("garp_master_refresh_repeat", COUNT, "Announcements of an address then."),
    word("garp_lower_prio_delay", TIME, "The delay after a lower priority was heard."),
    word("garp_lower_prio_repeat", COUNT, "The announcements after a lower priority was heard."),
    word(
        "garp_extra_if",
        Form::Words { what: "[all] SECONDS", min: 1, max: 2 },
        "Announce on other interfaces, too.",
    ),
];

const OTHERS: &[Keyword<InstanceOptions>] = &[
    word("notify_master_rx_lower_pri", COMMAND, "Script to run when a Master hears a lower priority."),
    word(
        "notify_deleted",
        Form::Words { what: "[COMMAND [USER [GROUP]]]", min: 0, max: 3 },
        "Script to run when a reload removes it.",
    ),
    word("dont_track_primary", Form::Flag, "The state of its interface does not matter."),
    old("native_ipv6", Form::Flag, "remove it: the addresses tell the family"),
    old("linkbeat_use_polling", Form::Flag, "write it at the top level, or `linkbeat_interfaces`"),
    old("lvs_sync_daemon_interface", NAME, "write `lvs_sync_daemon INTERFACE inst NAME` in global_defs"),
    old("debug", Form::Number { min: 0, max: 4, is_optional: true }, "remove it: keepalived does not use it"),
];

/// Reads `vrrp_instance NAME`.
pub fn read(node: &Node, reader: &mut Reader<'_>) -> Option<InstanceOptions> {
    let name = name(node, reader);
    let mut options = InstanceOptions {
        name: name.clone().unwrap_or_else(|| node.keyword.clone()),
        interface: None,
        is_strict: None,
        authentication: None,
        tracked: Tracked::default(),
        addresses: Vec::new(),
        has_no_addresses: None,
        is_unicast: false,
    };
    let outer = reader.skipped.take();
    reader.block(&INSTANCE, node.statements(), &mut options);
    let skipped = std::mem::replace(&mut reader.skipped, outer);
    let lacks = |what: &str, help: &str| {
        let text = format!("vrrp_instance {} has no {what}", options.name.text);
        Diagnostic::error(node.span(), text).help(help)
    };
    let has = |word: &str| node.statements().iter().any(|s| &*s.keyword.text == word);
    if !has("virtual_router_id") {
        let problem = lacks("`virtual_router_id`", "write `virtual_router_id N`, N from 1 to 255");
        reader.diagnostics.push(problem);
    }
    if !has("interface") && !options.is_unicast {
        reader.diagnostics.push(lacks("`interface`", "write `interface NAME`"));
    }
    if let (Some(skipped), true, None) = (&skipped, options.addresses.is_empty(), &options.has_no_addresses) {
        let text = format!(
            "`{}` was skipped, and leaves vrrp_instance {} without an address",
            skipped.text, options.name.text
        );
        let problem = Diagnostic::error(skipped.span, text);
        reader.diagnostics.push(problem.help("it may have been `virtual_ipaddress`: correct or remove it"));
    }
    name.map(|_| options)
}

fn state(_: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first().filter(|w| !matches!(&*w.text, "MASTER" | "BACKUP")) else { return };
    let text = format!("`state`: `{}` is neither MASTER nor BACKUP", word.text);
    let problem = reader.lapsed(word.span, text, ": keepalived takes BACKUP");
    reader.diagnostics.push(problem.help("write it in capitals"));
}

fn router_id(_: &mut InstanceOptions, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    if value::number(word, 1, 255).is_err() {
        let text = format!("`virtual_router_id`: `{}` is not a whole number from 1 to 255", word.text);
        reader.error(word.span, text);
    }
}

fn password(_: &mut (), node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first().filter(|w| w.len() > 8) else { return };
    reader.lapse(word.span, "`auth_pass` is longer than 8 bytes", ": keepalived takes the first 8");
}
