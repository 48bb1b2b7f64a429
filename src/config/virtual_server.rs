//! `virtual_server`: its keywords, and the options as they were written.

use std::net::{IpAddr, SocketAddr};

use crate::ipvs::scheduler::Scheduler;
use crate::ipvs::types::{Family, Forwarding, Protocol};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Reader, Slot, Spanned, Support, Table};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::checker::{self, CheckerOptions};
use super::notice::UpDownOptions;
use super::options::options;
use super::real_server::{self, RealServerOptions};
use super::timing::{HasTiming, TimingOptions};
use super::types::MAX_WEIGHT;
use super::values;
use super::vrrp::command::{self, command};
use super::vrrp::global::NO_SNMP;

mod yaml;

/// What a virtual server answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heading {
    /// `IP [PORT]`; port 0 when it is not written.
    Address(SocketAddr),
    Fwmark(u32),
    Group(String),
}

impl Default for Heading {
    /// Stands where a heading could not be read.
    fn default() -> Heading {
        Heading::Address(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), 0))
    }
}

options! {
    /// A virtual server as it was written.
    pub(crate) struct VirtualServerOptions {
        pub(crate) heading: Spanned<Heading>;
        _ = only_on();
        /// The VIP and the port.
        _ = word(=> yaml::address; "address", "IP:PORT").only_yaml();
        /// Firewall mark of the packets, instead of an address.
        _ = word(=> yaml::fwmark; "fwmark", "a whole number from 1 to 4294967295").only_yaml();
        /// Group of addresses and firewall marks, instead of an address.
        _ = word(=> yaml::group; "group", "the name of a group").only_yaml();
        /// Time a client stays with its real server; or {timeout, netmask, engine}.
        pub(crate) persistence: PersistenceOptions = word(=> yaml::persistence; "persistence", yaml::PERSISTENCE_TIME).only_yaml().yaml_block("persistence");
        /// Flags of the scheduler: sh-port, sh-fallback, mh-port, mh-fallback, flag-1, flag-2, flag-3.
        pub(crate) flags: Vec<Spanned<&'static str>> = words(=> yaml::scheduler_flags; "scheduler_flags", "flags of the scheduler, e.g. [sh-port, sh-fallback]", 1, 3).only_yaml();
        /// Check of the real servers that have none of their own; `checks` is a list.
        pub(crate) checkers: Vec<CheckerOptions> = word(=> checker::yaml::read; "check", "tcp, or a block with a type").or(&["checks"]).only_yaml().yaml_block("check");
        /// Scheduler: how the kernel picks a real server for a connection.
        pub(crate) scheduler: Slot<Scheduler> = word(=> values::scheduler; "lb_algo", "a scheduler, e.g. `wlc`").or(&["lvs_sched"]).yaml(&["scheduler"]);
        /// Forwarding method: how packets reach the real servers.
        pub(crate) forwarding: Slot<Forwarding> = words(=> values::forwarding; "lb_kind", values::FORWARDING, 1, 8).or(&["lvs_method"]).yaml(&["forwarding"]).yaml_block(values::TUN);
        /// Transport protocol.
        pub(crate) protocol: Slot<Protocol> = word(=> protocol; "protocol", "TCP, UDP or SCTP"), default Protocol::Udp, native Protocol::Tcp;
        /// Address family of a virtual server by firewall mark.
        pub(crate) ip_family: Slot<Family> = word(=> ip_family; "ip_family", "inet or inet6");
        /// Seconds a client stays with its real server.
        _ = number(@persistence.timeout; "persistence_timeout", 1, MAX_PERSISTENCE).or_alone(DEFAULT_PERSISTENCE).yaml_instead("`persistence: 50s`");
        /// Clients within such a network count as one.
        _ = word(@persistence.granularity => granularity; "persistence_granularity", "a netmask, or an IPv6 prefix length from 1 to 128").yaml_instead("`persistence: {timeout: 50s, netmask: 24}`");
        /// Persistence engine of the kernel, e.g. `sip`.
        _ = text(@persistence.engine; "persistence_engine", "NAME", 15).yaml_instead("`persistence: {timeout: 50s, engine: sip}`");
        /// Schedule every datagram on its own (UDP only).
        pub(crate) ops: Slot<bool> = flag("ops").bare().yaml(&["one_packet"]);
        /// First flag of the scheduler.
        _ = words(@flags => scheduler_flag; "flag-1", "", 0, 0).yaml_member("scheduler_flags");
        /// Second flag of the scheduler.
        _ = words(@flags => scheduler_flag; "flag-2", "", 0, 0).yaml_member("scheduler_flags");
        /// Third flag of the scheduler.
        _ = words(@flags => scheduler_flag; "flag-3", "", 0, 0).yaml_member("scheduler_flags");
        /// sh: take another real server when the chosen one is not available.
        _ = words(@flags => scheduler_flag; "sh-fallback", "", 0, 0).yaml_member("scheduler_flags");
        /// sh: hash the source port, too.
        _ = words(@flags => scheduler_flag; "sh-port", "", 0, 0).yaml_member("scheduler_flags");
        /// mh: take another real server when the chosen one is not available.
        _ = words(@flags => scheduler_flag; "mh-fallback", "", 0, 0).yaml_member("scheduler_flags");
        /// mh: hash the source port, too.
        _ = words(@flags => scheduler_flag; "mh-port", "", 0, 0).yaml_member("scheduler_flags");
        /// Weight of live real servers below which the sorry server takes over.
        pub(crate) quorum: Slot<u32> = number("quorum", 1, MAX_NUMBER), default 1;
        /// Weight above the quorum to gain it, and below it to lose it.
        pub(crate) hysteresis: Slot<u32> = number("hysteresis", 0, MAX_NUMBER), default 0;
        /// A failing real server gets weight 0 instead of being removed.
        pub(crate) inhibit_on_failure: Slot<bool> = flag("inhibit_on_failure").bare();
        /// DR and TUN: check that each real server takes packets for the VIP (lvsd's own word).
        pub(crate) path_check: Slot<bool> = flag("path_check"), default false, native true;
        /// Takes over when the quorum is lost; it is not checked.
        pub(crate) sorry_server: SorryServerOptions = words(=> yaml::sorry_server; "sorry_server", "IP [PORT]", 1, 2).yaml_block("sorry_server");
        /// Keep the sorry server in the table with weight 0 while it is not needed.
        _ = flag(@sorry_server.inhibit; "sorry_server_inhibit").yaml_instead("`sorry_server: {address: IP:PORT, inhibit: true}`");
        /// Forwarding method of the sorry server.
        _ = words(@sorry_server.forwarding => values::forwarding; "sorry_server_lvs_method", values::FORWARDING, 1, 8).yaml_instead("`sorry_server: {address: IP:PORT, forwarding: nat}`");
        /// Weight of real servers that do not say theirs.
        pub(crate) weight: Slot<u32> = number("weight", 1, MAX_WEIGHT), default 1;
        /// Script to run when the quorum is gained, and at the start where it is there.
        _ = command(@commands.up => command::read; "quorum_up");
        /// Script to run when the quorum is lost.
        _ = command(@commands.down => command::read; "quorum_down");
        pub(crate) commands: UpDownOptions;
        /// At a stop, notify that it and its real servers are down.
        pub(crate) omega: Slot<bool> = flag("omega").bare(), default false;
        /// Send mails when it loses and gains its quorum.
        pub(crate) is_mailed: Slot<bool> = flag("smtp_alert");
        /// Host header of HTTP checks.
        pub(crate) virtualhost: Slot<String> = text("virtualhost", "HOST", 255);
        /// A server that does the work.
        _ = block(=> real_server::read; "real_server", "IP [PORT]").yaml(&["real_servers"]).yaml_block("real_server");
        pub(crate) real_servers: Vec<RealServerOptions>;
        /// Netmask of NAT, of old versions of keepalived.
        _ = unread("nat_mask", Support::Ignored("it is obsolete: NAT needs no netmask, and keepalived has no such keyword any more"));
        /// Addresses that full NAT takes as its source, in forks of keepalived.
        _ = unread("laddr_group_name", Support::Ignored("full NAT is not in the kernel's IPVS"));
        /// Answer SYN packets for the real server, in forks of keepalived.
        _ = unread("syn_proxy", Support::Ignored("the kernel's IPVS has no SYN proxy: net.ipv4.tcp_syncookies of the real servers does the work"));
        /// Interface to put the VIP on, in forks of keepalived.
        _ = unread("vip_bind_dev", Support::Ignored("lvsd puts no VIP on an interface for a virtual server: write it into a vrrp_instance, or let the system have it"));
        /// Clients that are refused, in forks of keepalived.
        _ = unread("blklst_addr_gname", Support::Refused("the kernel's IPVS refuses no clients, and these would be served: refuse them by a firewall rule, and remove it"));
        /// The only clients that are served, in forks of keepalived.
        _ = unread("whtlst_addr_gname", Support::Refused("the kernel's IPVS refuses no clients, and all others would be served, too: refuse them by a firewall rule, and remove it"));
        /// Time an established connection is remembered, in forks of keepalived.
        _ = unread("establish_timeout", FOR_ALL).or(&["est_timeout"]);
        /// Time a connection is remembered, in forks of keepalived.
        _ = unread("conn_timeout", FOR_ALL);
        /// Most bytes a second, in forks of keepalived.
        _ = unread("bps", NO_RATES).or(&["bps_limit"]);
        /// Most connections a second, in forks of keepalived.
        _ = unread("cps_limit", NO_RATES);
        /// Obsolete flag of keepalived.
        _ = unread("hashed", Support::Ignored("it is obsolete and never had an effect"));
        /// Check only while this host has the VIP.
        pub(crate) ha_suspend: Slot<bool> = flag("ha_suspend").bare().yaml(&["check_only_with_vip"]), default false;
        /// Name in SNMP.
        _ = unread("snmp_name", NO_SNMP);
        include pub(crate) timing: TimingOptions;
        /// An unknown block that was skipped here: it may have been a check.
        pub(crate) skipped: Option<Word>;
        /// A heading was written, whether or not it could be read.
        has_heading: bool;
        /// A real server was written, whether or not it could be read.
        pub(crate) has_real_servers: bool;
        /// Nothing in its block was wrong: what is missing was not written.
        pub(crate) is_clean: bool;
    }
}

options! {
    /// Persistence as it was written; its keywords are those of YAML's block.
    pub(crate) struct PersistenceOptions {
        /// Time a client stays with its real server.
        pub(crate) timeout: Slot<u32> = word(=> yaml::persistence_time; "timeout", yaml::PERSISTENCE_TIME).only_yaml();
        /// Clients within such a network count as one.
        pub(crate) granularity: Slot<Granularity> = word(=> yaml::netmask; "netmask", "a prefix length, e.g. 24, or a netmask").only_yaml();
        /// Persistence engine of the kernel, e.g. sip.
        pub(crate) engine: Slot<String> = text("engine", "NAME", 15).only_yaml();
    }
}

options! {
    /// The sorry server as it was written; its keywords are those of YAML's block.
    pub(crate) struct SorryServerOptions {
        /// Its address and port.
        pub(crate) address: Slot<SocketAddr> = word(=> yaml::sorry_address; "address", "IP:PORT").only_yaml();
        /// Keep it in the table with weight 0 while it is not needed.
        pub(crate) inhibit: Slot<bool> = flag("inhibit").only_yaml(), default false;
        /// Its forwarding method.
        pub(crate) forwarding: Slot<Forwarding> = word(=> values::forwarding; "forwarding", "nat, dr or tun").only_yaml().yaml_block(values::TUN);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granularity {
    /// Prefix length of an IPv4 netmask.
    Mask(u8),
    /// Prefix length for IPv6.
    Prefix(u8),
    /// Prefix length for either family, as YAML has it.
    Length(u8),
}

impl HasTiming for VirtualServerOptions {
    const IS_ALPHA_BARE: bool = true;
}

/// Keywords of `virtual_server`.
pub(crate) const VIRTUAL_SERVER: Table<VirtualServerOptions> = Table::of(
    "virtual_server",
    "a virtual server",
    &[VirtualServerOptions::keywords(), TimingOptions::keywords()],
);

/// Keywords of YAML's `persistence`.
pub(crate) const PERSISTENCE: Table<PersistenceOptions> =
    Table::of("persistence", "persistence", &[PersistenceOptions::keywords()]);

/// Keywords of YAML's `sorry_server`.
pub(crate) const SORRY_SERVER: Table<SorryServerOptions> =
    Table::of("sorry_server", "sorry_server", &[SorryServerOptions::keywords()]);

const FOR_ALL: Support = Support::Ignored(
    "the kernel has timeouts for all virtual servers together: write `lvs_timeouts` in global_defs",
);
const NO_RATES: Support = Support::Ignored(
    "the kernel's IPVS limits no rates: limit connections of a real server by `uthreshold`, or rates by a firewall rule",
);

/// The kernel's longest persistence: 31 days.
pub(crate) const MAX_PERSISTENCE: u32 = 2_678_400;
/// `persistence_timeout` where persistence is on without a time, in seconds.
pub(crate) const DEFAULT_PERSISTENCE: u32 = 360;
/// The largest number of the kernel's.
const MAX_NUMBER: u32 = i32::MAX as u32;

/// Its words, for texts that show how to write one.
pub(crate) const WORDS: &[Keyword<VirtualServerOptions>] = VirtualServerOptions::keywords();

/// Reads `virtual_server IP [PORT]`, `virtual_server fwmark N`. None after saying what is wrong.
pub(crate) fn read(servers: &mut Vec<VirtualServerOptions>, node: &Node, reader: &mut Reader<'_>) {
    servers.extend(if reader.is_yaml() { yaml::read(node, reader) } else { read_one(node, reader) });
}

fn read_one(node: &Node, reader: &mut Reader<'_>) -> Option<VirtualServerOptions> {
    let heading = heading(node, reader);
    let is_readable = heading.is_some();
    // An unreadable heading does not keep the problems inside from being reported.
    let heading = Spanned { value: heading.unwrap_or_default(), span: node.span() };
    let mut options = VirtualServerOptions { heading, ..VirtualServerOptions::default() };
    options.read(node, reader);
    is_readable.then_some(options)
}

fn heading(node: &Node, reader: &mut Reader<'_>) -> Option<Heading> {
    let mut words = node.values.iter();
    match (words.next(), words.next()) {
        (Some(first), Some(second)) if &*first.text == "fwmark" => match value::number(second, 1, u32::MAX) {
            Ok(mark) => Some(Heading::Fwmark(mark)),
            Err(_) => {
                let text = format!(
                    "`virtual_server fwmark`: `{}` is not a whole number from 1 to {}",
                    second.text,
                    u32::MAX
                );
                reader.error(second.span, text);
                None
            }
        },
        (Some(first), _) if &*first.text == "group" => {
            let Some(name) = node.values.get(1) else {
                let help = "write e.g. `virtual_server group web`";
                let problem = Diagnostic::error(first.span, "`virtual_server group` needs a value");
                reader.diagnostics.push(problem.help(help));
                return None;
            };
            Some(Heading::Group(name.text.to_string()))
        }
        (Some(first), None) if &*first.text == "fwmark" => {
            let help = "write e.g. `virtual_server fwmark 1`";
            reader
                .diagnostics
                .push(Diagnostic::error(first.span, "`virtual_server fwmark` needs a value").help(help));
            None
        }
        _ => values::address_and_port(&node.values, node, reader).map(Heading::Address),
    }
}

impl VirtualServerOptions {
    /// Its VIP and port, and where it is written; None for a firewall mark or a group.
    pub(crate) fn address(&self) -> Option<(SocketAddr, Span)> {
        match self.heading.value {
            Heading::Address(address) => Some((address, self.heading.span)),
            _ => None,
        }
    }

    fn read(&mut self, node: &Node, reader: &mut Reader<'_>) {
        let errors = reader.diagnostics.errors();
        let outer = reader.skipped.take();
        reader.block(&VIRTUAL_SERVER, node.statements(), self);
        self.skipped = std::mem::replace(&mut reader.skipped, outer);
        self.is_clean = reader.diagnostics.errors() == errors;
        self.real_servers.shrink_to_fit();
    }

    /// Takes YAML's heading: one of address, fwmark and group.
    fn head(&mut self, value: Option<Heading>, node: &Node, reader: &mut Reader<'_>) {
        if self.has_heading {
            let problem = Diagnostic::error(
                node.keyword.span,
                format!("`{}`: the virtual server has an address", node.keyword.text),
            )
            .at(self.heading.span, "it is here");
            reader.diagnostics.push(problem.help("write one of address, fwmark and group"));
        }
        self.has_heading = true;
        let span = node.span();
        match value {
            Some(value) => self.heading = Spanned { value, span },
            None => self.heading.span = span,
        }
    }
}

fn protocol(slot: &mut Slot<Protocol>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let protocol = match word.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => {
            let wanted = reader.any_of(&["TCP", "UDP", "SCTP"]);
            return reader.wrong("protocol", word, &wanted, Wrong::Malformed(None));
        }
    };
    reader.store(slot, node, protocol);
}

fn ip_family(slot: &mut Slot<Family>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let family = match &*word.text {
        "inet" => Family::Inet,
        "inet6" => Family::Inet6,
        _ => return reader.wrong("ip_family", word, "inet or inet6", Wrong::Malformed(None)),
    };
    reader.store(slot, node, family);
}

fn granularity(slot: &mut Slot<Granularity>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let prefix = value::number(word, 1, 128).ok().and_then(|n| u8::try_from(n).ok());
    let mask = value::address(word).ok().and_then(values::prefix_of_mask);
    let granularity = match (prefix, mask) {
        (Some(prefix), _) => Granularity::Prefix(prefix),
        (None, Some(prefix)) => Granularity::Mask(prefix),
        (None, None) => {
            let wanted = "a netmask such as 255.255.255.0, or an IPv6 prefix length from 1 to 128";
            return reader.wrong("persistence_granularity", word, wanted, Wrong::Malformed(None));
        }
    };
    reader.store(slot, node, granularity);
}

fn scheduler_flag(flags: &mut Vec<Spanned<&'static str>>, node: &Node, _: &mut Reader<'_>) {
    let name = yaml::SCHEDULER_FLAGS.iter().find(|name| **name == &*node.keyword.text);
    flags.extend(name.map(|value| Spanned { value: *value, span: node.span() }));
}
