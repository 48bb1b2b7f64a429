//! What is common to all virtual routers: in keepalived.conf words of `global_defs`, in YAML words of `vrrp`.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::config::global::GlobalOptions;
use crate::config::root::RootOptions;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Yaml, get};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::{Fifo, OnCrash, Realtime, Version};

use super::announcing::{AnnouncingOptions, MAX_REPEAT, extra, read_extra, repeat};
use super::command::{self, CommandOptions, UserOptions, command};
use super::{MICROSECOND, number, one_of, time};

/// What was written of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct VrrpGlobal {
    pub group4: Slot<IpAddr>,
    pub group6: Slot<IpAddr>,
    pub version: Slot<Version>,
    /// `vrrp_garp_master_delay` and the like.
    pub announcing: AnnouncingOptions,
    pub is_minimal: Slot<bool>,
    pub arp_interval: Slot<Duration>,
    pub neighbour_interval: Slot<Duration>,
    pub missed_adverts: Slot<u32>,
    pub ignores_lower: Slot<bool>,
    pub answers_higher: Slot<bool>,
    pub owner_ignores: Slot<bool>,
    pub checksum_as_v2: Slot<bool>,
    pub checks_source: Slot<bool>,
    pub is_strict: Slot<bool>,
    pub startup_delay: Slot<Duration>,
    pub tells_unknown: Slot<bool>,
    pub vmac_prefix: Slot<String>,
    pub default_interface: Slot<String>,
    pub tells_priority: Slot<bool>,
    pub repeats_on_reload: Slot<bool>,
    pub script_user: Slot<UserOptions>,
    pub secures_scripts: Slot<bool>,
    pub on_crash: Slot<OnCrash>,
    pub forwarding_weight: Slot<u32>,
    pub quorum_counts: Slot<bool>,
    fifo: Slot<CommandOptions>,
    fifo_reader: Slot<CommandOptions>,
    pub any_fifo: Slot<CommandOptions>,
    pub any_fifo_reader: Slot<CommandOptions>,
    rt_priority: Slot<u32>,
    rt_limit: Slot<u32>,
    cpus: Slot<[u64; 16]>,
}

/// A block that has these words.
pub(crate) trait HasVrrp: Sized + 'static {
    /// Whether they are YAML's.
    const IS_YAML: bool;

    /// Where they go.
    fn vrrp(&mut self) -> &mut VrrpGlobal;

    const VRRP_WORDS: &'static [Keyword<Self>] = &[
        word(
            "vrrp_version",
            "version",
            Kind::Words { what: "2 or 3", min: 1, max: 1, read: version::<Self> },
            "Version of VRRP of instances that do not say theirs.",
        ),
        word(
            "vrrp_mcast_group4",
            "multicast_group4",
            Kind::Address(|o: &mut Self| &mut o.vrrp().group4),
            "Group of IPv4 advertisements.",
        ),
        word(
            "vrrp_mcast_group6",
            "multicast_group6",
            Kind::Address(|o: &mut Self| &mut o.vrrp().group6),
            "Group of IPv6 advertisements.",
        ),
        word(
            "vrrp_garp_master_delay",
            "garp_master_delay",
            time(|o: &mut Self| &mut o.vrrp().announcing.delay),
            "Time before ARP announcements are repeated; 0 is never.",
        ),
        word(
            "vrrp_garp_master_repeat",
            "garp_master_repeat",
            repeat(|o: &mut Self| &mut o.vrrp().announcing.repeat),
            "ARP announcements of an address at once.",
        ),
        word(
            "vrrp_garp_master_refresh",
            "garp_master_refresh",
            time(|o: &mut Self| &mut o.vrrp().announcing.refresh),
            "Time between later ARP announcements; 0 is none.",
        ),
        word(
            "vrrp_garp_master_refresh_repeat",
            "garp_master_refresh_repeat",
            repeat(|o: &mut Self| &mut o.vrrp().announcing.refresh_repeat),
            "ARP announcements of an address then.",
        ),
        word(
            "vrrp_garp_lower_prio_delay",
            "garp_lower_prio_delay",
            time(|o: &mut Self| &mut o.vrrp().announcing.lower_delay),
            "Time before they are repeated after a lower priority was heard.",
        ),
        word(
            "vrrp_garp_lower_prio_repeat",
            "garp_lower_prio_repeat",
            number(0, MAX_REPEAT, |o: &mut Self| &mut o.vrrp().announcing.lower_repeat),
            "ARP announcements after a lower priority was heard.",
        ),
        word(
            "vrrp_garp_interval",
            "garp_interval",
            interval(|o: &mut Self| &mut o.vrrp().arp_interval),
            "Least time between ARP announcements of an interface.",
        ),
        word(
            "vrrp_gna_interval",
            "gna_interval",
            interval(|o: &mut Self| &mut o.vrrp().neighbour_interval),
            "Least time between neighbour advertisements of an interface.",
        ),
        word(
            "vrrp_min_garp",
            "min_garp",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().is_minimal),
            "One ARP announcement, and no repetition.",
        ),
        word(
            "vrrp_garp_extra_if",
            "garp_extra_if",
            extra(|o: &mut Self, n, r| read_extra(&mut o.vrrp().announcing.extra, n, r)),
            "Announce on the other interfaces of addresses, too, so often.",
        ),
        word(
            "vrrp_down_timer_adverts",
            "down_timer_adverts",
            number(1, 100, |o: &mut Self| &mut o.vrrp().missed_adverts),
            "Advertisements missed before an instance takes over.",
        ),
        word(
            "vrrp_lower_prio_no_advert",
            "lower_prio_no_advert",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().ignores_lower),
            "Do not answer a lower priority.",
        ),
        word(
            "vrrp_higher_prio_send_advert",
            "higher_prio_send_advert",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().answers_higher),
            "Answer a higher priority once before yielding: on, unless in strict mode.",
        ),
        word(
            "vrrp_owner_ignore_adverts",
            "owner_ignore_adverts",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().owner_ignores),
            "An owner hears nothing.",
        ),
        word(
            "v3_checksum_as_v2",
            "v3_checksum_as_v2",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().checksum_as_v2),
            "Send checksums of version 3 on IPv4 without pseudo header, as RFC 9568 says; both are understood.",
        ),
        word(
            "vrrp_check_unicast_src",
            "check_unicast_src",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().checks_source),
            "Hear configured peers only.",
        ),
        word(
            "vrrp_strict",
            "strict_mode",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().is_strict),
            "Nothing the standard does not have.",
        ),
        word(
            "vrrp_startup_delay",
            "startup_delay",
            time(|o: &mut Self| &mut o.vrrp().startup_delay),
            "Time before instances begin.",
        ),
        word(
            "log_unknown_vrids",
            "log_unknown_vrids",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().tells_unknown),
            "Tell of advertisements of virtual routers nobody configured.",
        ),
        word(
            "vmac_prefix",
            "vmac_prefix",
            Kind::Text {
                what: "NAME",
                max: MAX_INTERFACE - 2,
                slot: |o: &mut Self| &mut o.vrrp().vmac_prefix,
            },
            "Beginning of the names of interfaces of virtual MAC addresses.",
        ),
        word(
            "default_interface",
            "default_interface",
            Kind::Text {
                what: "INTERFACE",
                max: MAX_INTERFACE,
                slot: |o: &mut Self| &mut o.vrrp().default_interface,
            },
            "Interface of static addresses that do not say theirs; without it eth0.",
        ),
        word(
            "vrrp_notify_fifo",
            "notify_fifo",
            command(|o: &mut Self, n, r| command::read(&mut o.vrrp().fifo, n, r)),
            "FIFO for changes of state: PATH [USER [GROUP]].",
        ),
        word(
            "vrrp_notify_fifo_script",
            "notify_fifo_script",
            command(|o: &mut Self, n, r| command::read(&mut o.vrrp().fifo_reader, n, r)),
            "Script that reads the FIFO.",
        ),
        word(
            "vrrp_notify_priority_changes",
            "notify_priority_changes",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().tells_priority),
            "Tell the FIFO about priorities, too.",
        ),
        word(
            "fifo_write_vrrp_states_on_reload",
            "fifo_write_states_on_reload",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().repeats_on_reload),
            "Tell the FIFO all states again after a reload.",
        ),
        word(
            "vrrp_rt_priority",
            "rt_priority",
            number(0, 99, |o: &mut Self| &mut o.vrrp().rt_priority),
            "Real-time priority of the thread of virtual routers; 0 is none, 50 what is not written.",
        ),
        word(
            "vrrp_rlimit_rttime",
            "rt_limit_us",
            number(1, 10_000_000, |o: &mut Self| &mut o.vrrp().rt_limit),
            "Longest time that thread may run without a pause, in microseconds; 10000 what is not written.",
        ),
        word(
            "vrrp_cpu_affinity",
            "cpu_affinity",
            Kind::Words { what: "CPU...", min: 1, max: 64, read: cpus::<Self> },
            "CPUs that thread may run on.",
        ),
        word(
            "vrrp_on_crash",
            "on_crash",
            Kind::Words { what: "failover or hold", min: 1, max: 1, read: on_crash::<Self> },
            "When the daemon dies: say good-bye and remove the addresses (failover), or leave them (hold). A word of lvsd's.",
        ),
        word(
            "vrrp_forwarding_counts_quorum",
            "forwarding_counts_quorum",
            Kind::Flag(|o: &mut Self| &mut o.vrrp().quorum_counts),
            "A virtual server without quorum and without sorry server is such an inability, too. A word of lvsd's.",
        ),
        word(
            "vrrp_forwarding_weight",
            "forwarding_weight",
            number(0, 253, |o: &mut Self| &mut o.vrrp().forwarding_weight),
            "What this host's inability to forward takes from the priorities; 0 is nothing. A word of lvsd's.",
        ),
    ];
}

impl HasVrrp for GlobalOptions {
    const IS_YAML: bool = false;

    fn vrrp(&mut self) -> &mut VrrpGlobal {
        &mut self.vrrp
    }
}

impl HasVrrp for RootOptions {
    const IS_YAML: bool = true;

    fn vrrp(&mut self) -> &mut VrrpGlobal {
        &mut self.global.vrrp
    }
}

const fn word<T: HasVrrp>(
    name: &'static str,
    yaml: &'static str,
    kind: Kind<T>,
    doc: &'static str,
) -> Keyword<T> {
    if T::IS_YAML {
        Keyword::new(yaml, kind, doc).yaml(Yaml::Only)
    } else {
        Keyword::new(name, kind, doc).yaml(Yaml::Instead("it below `vrrp`, without `vrrp_`"))
    }
}

/// keepalived takes no pause of nothing.
const fn interval<T>(slot: fn(&mut T) -> &mut Slot<Duration>) -> Kind<T> {
    Kind::Time { min: MICROSECOND, max: Duration::from_secs(60), slot }
}

/// Keywords of `global_defs` alone.
pub(crate) const ONLY_CONF: &[Keyword<GlobalOptions>] = &[
    Keyword::new("vrrp_vmac_garp_intvl", extra(|o: &mut GlobalOptions, n, r| read_extra(&mut o.vrrp.announcing.extra, n, r)), "Old name of `vrrp_garp_extra_if`.")
            .but(Stance::Deprecated("write `vrrp_garp_extra_if`")).yaml(Yaml::Absent),
    Keyword::new("vrrp_rlimit_rtime", number(1, 10_000_000, |o: &mut GlobalOptions| &mut o.vrrp.rt_limit), "Old name of `vrrp_rlimit_rttime`.")
            .but(Stance::Deprecated("write `vrrp_rlimit_rttime`")).yaml(Yaml::Absent),
    Keyword::new("vrrp_skip_check_adv_addr", Kind::Words { what: "[on|off]", min: 0, max: 1, read: |_, _, _| {} }, "The addresses of an advertisement do not decide: lvsd compares them, tells of a difference, and goes on.").yaml(Yaml::Absent),
    Keyword::new("dynamic_interfaces", Kind::Words { what: "[allow_if_changes]", min: 0, max: 1, read: |_, _, _| {} }, "Interfaces may be absent at the start: with lvsd they always may, and their instances are in Fault.").yaml(Yaml::Absent),
    unread("vrrp_iptables", NO_RULES, "Chains for rules that drop packets."),
    unread("vrrp_ipsets", NO_RULES, "Sets for the rules that drop packets."),
    unread("nftables", NO_RULES, "Table for rules that drop packets."),
    unread("nftables_priority", NO_RULES, "Priority of that table."),
    unread("nftables_ifindex", NO_RULES, "Form of these rules."),
    unread("nftables_counters", NO_RULES, "Count the packets of these rules."),
    unread("disable_local_igmp", Stance::Ignored("reports of local groups are the kernel's: set net.ipv4.igmp_link_local_mcast_reports"), "Send no reports of local groups."),
    unread("vrrp_delay_after_boot", Stance::Ignored("instances wait for their services in any case, and `vrrp_startup_delay` for longer"), "Time after boot before instances begin."),
    unread("vmac_addr_prefix", Stance::Ignored("lvsd makes virtual MAC addresses for whole instances only"), "Beginning of the names of interfaces of addresses with a virtual MAC address."),
    unread("vrrp_priority", SCHEDULING, "Priority of keepalived's process of virtual routers."),
    unread("vrrp_no_swap", Stance::Ignored("lvsd keeps its memory in any case, where it is allowed to"), "Keep the memory of keepalived's process."),
    unread("vrrp_process_name", SCHEDULING, "Name of keepalived's process."),
    unread("vrrp_rx_bufs_policy", BUFFERS, "Size of the buffers of sockets."),
    unread("vrrp_rx_bufs_multiplier", BUFFERS, "Size of the buffers of sockets."),
    unread("vrrp_netlink_cmd_rcv_bufs", BUFFERS, "Size of the buffers of netlink."),
    unread("vrrp_netlink_cmd_rcv_bufs_force", BUFFERS, "Size of the buffers of netlink."),
    unread("vrrp_netlink_monitor_rcv_bufs", BUFFERS, "Size of the buffers of netlink."),
    unread("vrrp_netlink_monitor_rcv_bufs_force", BUFFERS, "Size of the buffers of netlink."),
    unread("enable_snmp_vrrp", NO_SNMP, "One of the settings of SNMP."),
    unread("enable_snmp_keepalived", NO_SNMP, "One of the settings of SNMP."),
    unread("enable_snmp_rfc", NO_SNMP, "One of the settings of SNMP."),
    unread("enable_snmp_rfcv2", NO_SNMP, "One of the settings of SNMP."),
    unread("enable_snmp_rfcv3", NO_SNMP, "One of the settings of SNMP."),
    unread("bfd_process_name", NO_BFD, "One of the settings of BFD."),
    unread("bfd_priority", NO_BFD, "One of the settings of BFD."),
    unread("bfd_rt_priority", NO_BFD, "One of the settings of BFD."),
    unread("bfd_no_swap", NO_BFD, "One of the settings of BFD."),
    unread("bfd_rlimit_rttime", NO_BFD, "One of the settings of BFD."),
    unread("bfd_rlimit_rtime", NO_BFD, "One of the settings of BFD."),
    unread("bfd_cpu_affinity", NO_BFD, "One of the settings of BFD."),
];

const NO_RULES: Stance = Stance::Ignored("lvsd drops no packets, and has no rules to put anywhere");
const SCHEDULING: Stance = Stance::Ignored(
    "lvsd is one process; `vrrp_rt_priority` is the priority of its thread of virtual routers",
);
const BUFFERS: Stance = Stance::Ignored(
    "the system's buffers hold hundreds of advertisements; `kernel_rx_buf_size` of an instance makes them larger",
);
/// There is none of it.
pub(crate) const NO_SNMP: Stance = Stance::Ignored(
    "lvsd has no SNMP agent and no D-Bus service: `lvsd status` and its metrics tell the same",
);
const NO_BFD: Stance = Stance::Ignored("lvsd opens no BFD session");

const fn unread(name: &'static str, stance: Stance, doc: &'static str) -> Keyword<GlobalOptions> {
    Keyword::unread(name, stance, doc)
}

fn version<T: HasVrrp>(options: &mut T, node: &Node, reader: &mut Reader<'_>) {
    one_of(&mut options.vrrp().version, node, reader, VERSIONS);
}

/// How versions are written.
pub(crate) const VERSIONS: &[(&str, Version)] = &[("2", Version::V2), ("3", Version::V3)];

fn on_crash<T: HasVrrp>(options: &mut T, node: &Node, reader: &mut Reader<'_>) {
    let choices = [("failover", OnCrash::Failover), ("hold", OnCrash::Hold)];
    one_of(&mut options.vrrp().on_crash, node, reader, &choices);
}

fn cpus<T: HasVrrp>(options: &mut T, node: &Node, reader: &mut Reader<'_>) {
    let mut cpus = [0_u64; 16];
    for word in &node.values {
        match value::number(word, 0, 1023) {
            Ok(cpu) => {
                if let Some(part) = cpus.get_mut(cpu as usize / 64) {
                    *part |= 1 << (cpu % 64);
                }
            }
            Err(Wrong::OutOfRange | Wrong::Malformed(_)) => {
                let text = format!("`{}`: `{}` is not a CPU from 0 to 1023", node.keyword.text, word.text);
                return reader.error(word.span, text);
            }
        }
    }
    reader.store(&mut options.vrrp().cpus, node, cpus);
}

impl VrrpGlobal {
    /// How the thread of virtual routers is scheduled.
    pub(crate) fn realtime(&self) -> Realtime {
        let usual = Realtime::default();
        let limit = get(&self.rt_limit).map(|us| Duration::from_micros(u64::from(us)));
        let priority = get(&self.rt_priority).and_then(|n| u8::try_from(n).ok());
        Realtime {
            priority: priority.unwrap_or(usual.priority),
            limit: limit.unwrap_or(usual.limit),
            cpus: get(&self.cpus).unwrap_or(usual.cpus),
        }
    }

    pub(crate) fn fifos(&self, usual: &UserOptions, reader: &mut Reader<'_>) -> Vec<Fifo> {
        let pairs = [(&self.fifo, &self.fifo_reader), (&self.any_fifo, &self.any_fifo_reader)];
        let mut fifos: Vec<Fifo> = Vec::new();
        for (fifo, script) in pairs {
            let Some(written) = fifo else {
                if let Some(script) = script {
                    let problem =
                        Diagnostic::warning(script.span, "a script that reads the FIFO, and no FIFO");
                    reader.diagnostics.push(problem.help("write `vrrp_notify_fifo PATH`"));
                }
                continue;
            };
            let path = written.value.words.join(" ");
            if !path.starts_with('/') {
                reader
                    .error(written.span, format!("`{path}` is not the path of a FIFO: it begins with no /"));
            } else if fifos.iter().any(|known| known.path == *path) {
                reader.error(written.span, format!("the FIFO {path} is given twice"));
            } else {
                fifos.push(Fifo {
                    path: path.into(),
                    user: written.value.user.user.clone(),
                    group: written.value.user.group.clone(),
                    reader: script.as_ref().map(|s| command::resolve(&s.value, usual)),
                });
            }
        }
        fifos
    }

    /// The FIFO that hears of virtual servers, too.
    pub(crate) fn any_fifo(&self, usual: &UserOptions) -> Option<Fifo> {
        let written = get(&self.any_fifo)?;
        let reader = self.any_fifo_reader.as_ref().map(|s| command::resolve(&s.value, usual));
        let path = written.words.join(" ").into();
        Some(Fifo { path, user: written.user.user, group: written.user.group, reader })
    }

    /// Scripts that read FIFOs.
    pub(crate) fn readers(&self) -> impl Iterator<Item = &CommandOptions> {
        [&self.fifo_reader, &self.any_fifo_reader].into_iter().flatten().map(|slot| &slot.value)
    }
}
