//! What is common to all virtual routers: in keepalived.conf words of `global_defs`, in YAML words of `vrrp`.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::MAX_INTERFACE;
use crate::config::global::GlobalOptions;
use crate::config::options::options;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Reader, Slot, Support, get, no_op, number, unread, words};
use crate::syntax::tree::Node;
use crate::syntax::value::{self, Wrong};
use crate::vrrp::settings::{Fifo, OnCrash, Realtime, Version};

use super::announcing::{AnnouncingOptions, EXTRA, MAX_REPEAT, read_extra};
use super::command::{self, CommandOptions, UserOptions, command};
use super::{HasVrrp, MICROSECOND, day, one_of};

options! {
    /// What was written of it.
    #[derive(Clone)]
    pub(crate) struct VrrpGlobal for HasVrrp {
        /// Version of VRRP of instances that do not say theirs.
        pub(crate) version: Slot<Version> = word(=> one_of[VERSIONS]; "vrrp_version", "2 or 3").in_vrrp("version");
        /// Group of IPv4 advertisements.
        pub(crate) group4: Slot<IpAddr> = address("vrrp_mcast_group4").in_vrrp("multicast_group4");
        /// Group of IPv6 advertisements.
        pub(crate) group6: Slot<IpAddr> = address("vrrp_mcast_group6").in_vrrp("multicast_group6");
        /// Time before ARP announcements are repeated; 0 is never.
        _ = day(@announcing.delay; "vrrp_garp_master_delay").in_vrrp("garp_master_delay");
        /// ARP announcements of an address at once.
        _ = number(@announcing.repeat; "vrrp_garp_master_repeat", 1, MAX_REPEAT).in_vrrp("garp_master_repeat");
        /// Time between later ARP announcements; 0 is none.
        _ = day(@announcing.refresh; "vrrp_garp_master_refresh").in_vrrp("garp_master_refresh");
        /// ARP announcements of an address then.
        _ = number(@announcing.refresh_repeat; "vrrp_garp_master_refresh_repeat", 1, MAX_REPEAT).in_vrrp("garp_master_refresh_repeat");
        /// Time before they are repeated after a lower priority was heard.
        _ = day(@announcing.lower_delay; "vrrp_garp_lower_prio_delay").in_vrrp("garp_lower_prio_delay");
        /// ARP announcements after a lower priority was heard.
        _ = number(@announcing.lower_repeat; "vrrp_garp_lower_prio_repeat", 0, MAX_REPEAT).in_vrrp("garp_lower_prio_repeat");
        /// Least time between ARP announcements of an interface.
        pub(crate) arp_interval: Slot<Duration> = time("vrrp_garp_interval", MICROSECOND, MINUTE).in_vrrp("garp_interval");
        /// Least time between neighbour advertisements of an interface.
        pub(crate) neighbour_interval: Slot<Duration> = time("vrrp_gna_interval", MICROSECOND, MINUTE).in_vrrp("gna_interval");
        /// One ARP announcement, and no repetition.
        pub(crate) is_minimal: Slot<bool> = flag("vrrp_min_garp").in_vrrp("min_garp");
        /// Announce on the other interfaces of addresses, too, so often.
        _ = words(@announcing.extra => read_extra; "vrrp_garp_extra_if", EXTRA, 1, 2).in_vrrp("garp_extra_if");
        /// Advertisements missed before an instance takes over.
        pub(crate) missed_adverts: Slot<u32> = number("vrrp_down_timer_adverts", 1, 100).in_vrrp("down_timer_adverts");
        /// Do not answer a lower priority.
        pub(crate) ignores_lower: Slot<bool> = flag("vrrp_lower_prio_no_advert").in_vrrp("lower_prio_no_advert");
        /// Answer a higher priority once before yielding: on, unless in strict mode.
        pub(crate) answers_higher: Slot<bool> = flag("vrrp_higher_prio_send_advert").in_vrrp("higher_prio_send_advert");
        /// An owner hears nothing.
        pub(crate) owner_ignores: Slot<bool> = flag("vrrp_owner_ignore_adverts").in_vrrp("owner_ignore_adverts");
        /// Send checksums of version 3 on IPv4 without pseudo header, as RFC 9568 says; both are understood.
        pub(crate) checksum_as_v2: Slot<bool> = flag("v3_checksum_as_v2").in_vrrp("v3_checksum_as_v2");
        /// Hear configured peers only.
        pub(crate) checks_source: Slot<bool> = flag("vrrp_check_unicast_src").bare().in_vrrp("check_unicast_src");
        /// Nothing the standard does not have.
        pub(crate) is_strict: Slot<bool> = flag("vrrp_strict").bare().in_vrrp("strict_mode");
        /// Time before instances begin.
        pub(crate) startup_delay: Slot<Duration> = day("vrrp_startup_delay").in_vrrp("startup_delay");
        /// Log advertisements of virtual routers that are not configured here.
        pub(crate) tells_unknown: Slot<bool> = flag("log_unknown_vrids").bare().in_vrrp("log_unknown_vrids");
        /// Beginning of the names of interfaces of virtual MAC addresses.
        pub(crate) vmac_prefix: Slot<String> = text("vmac_prefix", "NAME", MAX_INTERFACE - 2).in_vrrp("vmac_prefix");
        /// Interface of static addresses that do not say theirs; without it eth0.
        pub(crate) default_interface: Slot<String> = text("default_interface", "INTERFACE", MAX_INTERFACE).in_vrrp("default_interface");
        /// FIFO for changes of state: PATH [USER [GROUP]].
        fifo: Slot<CommandOptions> = command(=> command::read; "vrrp_notify_fifo").in_vrrp("notify_fifo");
        /// Script that reads the FIFO.
        fifo_reader: Slot<CommandOptions> = command(=> command::read; "vrrp_notify_fifo_script").in_vrrp("notify_fifo_script");
        /// Tell the FIFO about priorities, too.
        pub(crate) notifies_priority: Slot<bool> = flag("vrrp_notify_priority_changes").in_vrrp("notify_priority_changes");
        /// Tell the FIFO all states again after a reload.
        pub(crate) repeats_on_reload: Slot<bool> = flag("fifo_write_vrrp_states_on_reload").bare().in_vrrp("fifo_write_states_on_reload");
        /// Real-time priority of the thread of virtual routers; 0 is none, 50 what is not written.
        rt_priority: Slot<u32> = number("vrrp_rt_priority", 0, 99).in_vrrp("rt_priority");
        /// Longest time that thread may run without a pause, in microseconds; 10000 what is not written.
        rt_limit: Slot<u32> = number("vrrp_rlimit_rttime", 1, 10_000_000).in_vrrp("rt_limit_us");
        /// CPUs that thread may run on.
        cpus: Slot<[u64; 16]> = words(=> cpus; "vrrp_cpu_affinity", "CPU...", 1, 64).in_vrrp("cpu_affinity");
        /// When the daemon dies: sends priority 0 and remove the addresses (failover), or leave them (hold). A word of lvsd's.
        pub(crate) on_crash: Slot<OnCrash> = word(=> one_of[ON_CRASH]; "vrrp_on_crash", "failover or hold").in_vrrp("on_crash");
        /// A virtual server without quorum and without sorry server is such an inability, too. A word of lvsd's.
        pub(crate) quorum_counts: Slot<bool> = flag("vrrp_forwarding_counts_quorum").in_vrrp("forwarding_counts_quorum");
        /// What this host's inability to forward takes from the priorities; 0 is nothing. A word of lvsd's.
        pub(crate) forwarding_weight: Slot<u32> = number("vrrp_forwarding_weight", 0, 253).in_vrrp("forwarding_weight");
        pub(crate) script_user: Slot<UserOptions>;
        pub(crate) secures_scripts: Slot<bool>;
        pub(crate) any_fifo: Slot<CommandOptions>;
        pub(crate) any_fifo_reader: Slot<CommandOptions>;
        include pub(crate) announcing: AnnouncingOptions;
    }
}

/// keepalived takes no pause of nothing.
const MINUTE: Duration = Duration::from_secs(60);

/// Keywords of `global_defs` alone.
pub(crate) const ONLY_CONF: &[Keyword<GlobalOptions>] = &[
    words(|o: &mut GlobalOptions, n, r| read_extra(&mut o.vrrp.announcing.extra, n, r), "vrrp_vmac_garp_intvl", EXTRA, 1, 2)
        .but(Support::Deprecated("write `vrrp_garp_extra_if`"))
        .not_yaml()
        .doc("Old name of `vrrp_garp_extra_if`."),
    number(|o: &mut GlobalOptions| &mut o.vrrp.rt_limit, "vrrp_rlimit_rtime", 1, 10_000_000)
        .but(Support::Deprecated("write `vrrp_rlimit_rttime`"))
        .not_yaml()
        .doc("Old name of `vrrp_rlimit_rttime`."),
    no_op("vrrp_skip_check_adv_addr", "[on|off]", 0, 1).not_yaml().doc("The addresses of an advertisement do not decide: lvsd compares them, logs a difference, and goes on."),
    no_op("dynamic_interfaces", "[allow_if_changes]", 0, 1).not_yaml().doc("Interfaces may be absent at the start: with lvsd they always may, and their instances are in Fault."),
    unread("vrrp_iptables", NO_RULES).doc("Chains for rules that drop packets."),
    unread("vrrp_ipsets", NO_RULES).doc("Sets for the rules that drop packets."),
    unread("nftables", NO_RULES).doc("Table for rules that drop packets."),
    unread("nftables_priority", NO_RULES).doc("Priority of that table."),
    unread("nftables_ifindex", NO_RULES).doc("Form of these rules."),
    unread("nftables_counters", NO_RULES).doc("Count the packets of these rules."),
    unread("disable_local_igmp", Support::Ignored("reports of local groups are the kernel's: set net.ipv4.igmp_link_local_mcast_reports")).doc("Send no reports of local groups."),
    unread("vrrp_delay_after_boot", Support::Ignored("instances wait for their services in any case, and `vrrp_startup_delay` for longer")).doc("Time after boot before instances begin."),
    unread("vmac_addr_prefix", Support::Ignored("lvsd makes virtual MAC addresses for whole instances only")).doc("Beginning of the names of interfaces of addresses with a virtual MAC address."),
    unread("vrrp_priority", SCHEDULING).doc("Priority of keepalived's process of virtual routers."),
    unread("vrrp_no_swap", Support::Ignored("lvsd keeps its memory in any case, where it is allowed to")).doc("Keep the memory of keepalived's process."),
    unread("vrrp_process_name", SCHEDULING).doc("Name of keepalived's process."),
    unread("vrrp_rx_bufs_policy", BUFFERS).doc("Size of the buffers of sockets."),
    unread("vrrp_rx_bufs_multiplier", BUFFERS).doc("Size of the buffers of sockets."),
    unread("vrrp_netlink_cmd_rcv_bufs", BUFFERS).doc("Size of the buffers of netlink."),
    unread("vrrp_netlink_cmd_rcv_bufs_force", BUFFERS).doc("Size of the buffers of netlink."),
    unread("vrrp_netlink_monitor_rcv_bufs", BUFFERS).doc("Size of the buffers of netlink."),
    unread("vrrp_netlink_monitor_rcv_bufs_force", BUFFERS).doc("Size of the buffers of netlink."),
    unread("enable_snmp_vrrp", NO_SNMP).doc("One of the settings of SNMP."),
    unread("enable_snmp_keepalived", NO_SNMP).doc("One of the settings of SNMP."),
    unread("enable_snmp_rfc", NO_SNMP).doc("One of the settings of SNMP."),
    unread("enable_snmp_rfcv2", NO_SNMP).doc("One of the settings of SNMP."),
    unread("enable_snmp_rfcv3", NO_SNMP).doc("One of the settings of SNMP."),
    unread("bfd_process_name", BFD).doc("One of the settings of BFD."),
    unread("bfd_priority", BFD).doc("One of the settings of BFD."),
    unread("bfd_rt_priority", BFD).doc("One of the settings of BFD."),
    unread("bfd_no_swap", BFD).doc("One of the settings of BFD."),
    unread("bfd_rlimit_rttime", BFD).doc("One of the settings of BFD."),
    unread("bfd_rlimit_rtime", BFD).doc("One of the settings of BFD."),
    unread("bfd_cpu_affinity", BFD).doc("One of the settings of BFD."),
];

const NO_RULES: Support = Support::Ignored("lvsd drops no packets, and has no rules to put anywhere");
const SCHEDULING: Support = Support::Ignored(
    "lvsd is one process; `vrrp_rt_priority` is the priority of its thread of virtual routers",
);
const BFD: Support =
    Support::Ignored("BFD runs in the thread of virtual routers, whose priority is `vrrp_rt_priority`");
const BUFFERS: Support = Support::Ignored(
    "the system's buffers hold hundreds of advertisements; `kernel_rx_buf_size` of an instance makes them larger",
);
/// There is none of it.
pub(crate) const NO_SNMP: Support = Support::Ignored(
    "lvsd has no SNMP agent and no D-Bus service: `lvsd status --json` and its metrics tell the same",
);
/// How versions are written.
pub(crate) const VERSIONS: &[(&str, Version)] = &[("2", Version::V2), ("3", Version::V3)];

const ON_CRASH: &[(&str, OnCrash)] = &[("failover", OnCrash::Failover), ("hold", OnCrash::Hold)];

fn cpus(slot: &mut Slot<[u64; 16]>, node: &Node, reader: &mut Reader<'_>) {
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
    reader.store(slot, node, cpus);
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

    /// The FIFOs.
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
