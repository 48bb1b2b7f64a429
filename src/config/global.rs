//! keepalived's `global_defs`: what concerns the whole director.

use std::collections::BTreeMap;

use crate::ipvs::types::{SyncDaemon, SyncRole};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Keyword, Kind, Reader, Slot, Stance, Table, get};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use super::checker::MAX_INTERFACE;
use super::types::{Global, TimeoutOptions};

/// `global_defs` as it was written.
#[derive(Clone, Debug, Default)]
pub struct GlobalOptions {
    router_id: Slot<String>,
    timeouts: Slot<TimeoutOptions>,
    flush: Slot<bool>,
    sync: Slot<Vec<SyncDaemon>>,
    log_all_failures: Slot<bool>,
}

impl GlobalOptions {
    /// `checker_log_all_failures`.
    pub fn log_all_failures(&self) -> bool {
        get(&self.log_all_failures).unwrap_or(false)
    }

    /// The settings, defaults applied.
    pub fn resolve(self) -> Global {
        Global {
            router_id: get(&self.router_id),
            timeouts: get(&self.timeouts).unwrap_or_default(),
            flush: get(&self.flush).unwrap_or(false),
            sync_daemons: get(&self.sync).unwrap_or_default(),
            // With keepalived.conf the kernel's settings are the operator's.
            sysctl: BTreeMap::new(),
        }
    }
}

/// Keywords of `global_defs`.
pub const GLOBAL_DEFS: Table<GlobalOptions> = Table {
    block: "global_defs",
    keywords: &[SUPPORTED, OTHERS, MAIL, SCRIPT, FIFO, PROCESS, FILE, SNMP, BUFFERS, RELOAD, NFTABLES, VRRP],
};

const SUPPORTED: &[Keyword<GlobalOptions>] = &[
    Keyword::new(
        "router_id",
        Kind::Text { what: "NAME", max: 255, slot: |o| &mut o.router_id },
        "Name of this director in logs and mails.",
    ),
    Keyword::new(
        "lvs_timeouts",
        Kind::Words { what: TIMEOUTS, min: 2, max: 6, read: lvs_timeouts },
        "Connection timeouts of the kernel; what is not written stays as the kernel has it.",
    ),
    Keyword::new(
        "lvs_flush",
        Kind::Flag(|o| &mut o.flush),
        "At start, delete services that are not configured here.",
    ),
    Keyword::new(
        "lvs_sync_daemon",
        Kind::Words { what: SYNC, min: 1, max: 16, read: lvs_sync_daemon },
        "Replicate connections between directors over this interface.",
    ),
    Keyword::new(
        "checker_log_all_failures",
        Kind::Flag(|o| &mut o.log_all_failures),
        "Log every failing check, not only the one that decides.",
    ),
];

const OTHERS: &[Keyword<GlobalOptions>] = &[Keyword::unread(
    "lvs_flush_on_stop",
    Stance::Ignored("at stop lvsd removes its own services and leaves those of others"),
    "At stop, flush the table.",
)
.or(&["lvs_flush_onstop"])];

const TIMEOUTS: &str = "[tcp SECONDS] [tcpfin SECONDS] [udp SECONDS], each from 0 to 2678400";
const SYNC: &str = "INTERFACE [id 0-255] [maxlen 1-65507] [port N] [ttl 1-255] [group ADDRESS]";
/// 31 days, the kernel's bound.
const LONGEST_TIMEOUT: u32 = 2_678_400;

/// Keywords whose values are not read: one row for all that share a stance.
macro_rules! unread {
    ($group:ident: $stance:expr, $doc:literal, $($name:literal),+ $(,)?) => {
        const $group: &[Keyword<GlobalOptions>] = &[$(Keyword::unread($name, $stance, $doc)),+];
    };
}

unread!(MAIL: Stance::NotYet("no mail is sent"), "One of the settings of mails.", "notification_email", "notification_email_from", "smtp_server", "smtp_helo_name", "smtp_connect_timeout", "smtp_alert", "smtp_alert_checker", "no_checker_emails");
unread!(SCRIPT: Stance::NotYet("no script is run"), "One of the settings of scripts.", "script_user", "enable_script_security", "use_symlink_paths", "set_supplementary_groups", "startup_script", "startup_script_timeout", "shutdown_script", "shutdown_script_timeout");
unread!(FIFO: Stance::NotYet("no events are written to it"), "One of the settings of the notification FIFO.", "lvs_notify_fifo", "lvs_notify_fifo_script", "notify_fifo", "notify_fifo_script", "rs_init_notifies");
unread!(PROCESS: Stance::Ignored("lvsd is one process, and the service manager sets its priority, limits and name"), "One of the settings of keepalived's processes.", "checker_priority", "checker_rt_priority", "checker_rlimit_rttime", "checker_rlimit_rtime", "checker_no_swap", "checker_cpu_affinity", "max_auto_priority", "min_auto_priority_delay", "process_names", "process_name", "checker_process_name", "lvs_process_name", "umask", "random_seed");
unread!(FILE: Stance::Ignored("lvsd writes no such files: ask `lvsd status`"), "One of the settings of keepalived's own files.", "tmp_config_directory", "config_save_dir", "data_use_instance", "state_dump_file", "stats_dump_file", "json_dump_file", "json_version");
unread!(SNMP: Stance::NotYet("there is no SNMP agent and no D-Bus service"), "One of the settings of SNMP and D-Bus.", "enable_snmp_checker", "snmp_socket", "enable_traps", "snmp_vs_stats_update_interval", "snmp_rs_stats_update_interval", "enable_dbus", "dbus_service_name", "dbus_no_interface_name");
unread!(BUFFERS: Stance::Ignored("lvsd sizes its sockets itself"), "One of the sizes of netlink sockets.", "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs", "lvs_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs", "process_monitor_rcv_bufs_force");
unread!(RELOAD: Stance::Ignored("lvsd always checks a configuration fully before a reload, and errors change nothing"), "One of the settings of reloading.", "reload_check_config", "reload_time_file", "reload_repeat", "reload_file", "include_check");
unread!(NFTABLES: Stance::NotYet("a group is not turned into nftables sets"), "One of the settings of groups by nftables.", "nftables_ipvs", "nftables_ipvs_priority", "nftables_ipvs_start_fwmark", "nftables_counters");
unread!(VRRP: Stance::NotYet("lvsd does not move VIPs yet"), "One of the settings of VRRP and BFD.", "vrrp_mcast_group4", "vrrp_mcast_group6", "vrrp_version", "vrrp_garp_master_delay", "vrrp_garp_master_repeat", "vrrp_garp_master_refresh", "vrrp_garp_master_refresh_repeat", "vrrp_garp_lower_prio_delay", "vrrp_garp_lower_prio_repeat", "vrrp_garp_interval", "vrrp_gna_interval", "vrrp_min_garp", "vrrp_garp_extra_if", "vrrp_vmac_garp_intvl", "vrrp_down_timer_adverts", "vrrp_lower_prio_no_advert", "vrrp_higher_prio_send_advert", "vrrp_owner_ignore_adverts", "vrrp_check_unicast_src", "vrrp_skip_check_adv_addr", "vrrp_strict", "vrrp_iptables", "vrrp_ipsets", "vrrp_nftables", "vrrp_startup_delay", "vrrp_delay_after_boot", "vrrp_log_unknown_vrids", "vrrp_notify_fifo", "vrrp_notify_fifo_script", "vrrp_notify_priority_changes", "vrrp_priority", "vrrp_no_swap", "vrrp_rt_priority", "vrrp_rlimit_rttime", "vrrp_rlimit_rtime", "vrrp_cpu_affinity", "vrrp_process_name", "vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier", "vrrp_netlink_cmd_rcv_bufs", "vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs", "vrrp_netlink_monitor_rcv_bufs_force", "v3_checksum_as_v2", "default_interface", "dynamic_interfaces", "allow_if_changes", "disable_local_igmp", "nftables", "nftables_priority", "nftables_ifindex", "fifo_write_vrrp_states_on_reload", "smtp_alert_vrrp", "no_email_faults", "enable_snmp_vrrp", "enable_snmp_keepalived", "enable_snmp_rfc", "enable_snmp_rfcv2", "enable_snmp_rfcv3", "bfd_process_name", "bfd_priority", "bfd_rt_priority", "bfd_no_swap", "bfd_rlimit_rttime", "bfd_rlimit_rtime", "bfd_cpu_affinity");

fn lvs_timeouts(options: &mut GlobalOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut timeouts = TimeoutOptions::default();
    let mut words = node.values.iter();
    while let Some(word) = words.next() {
        let slot = match &*word.text {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => return reader.wrong("lvs_timeouts", word, "tcp, tcpfin or udp", Wrong::Malformed(None)),
        };
        match number_behind(word, words.next(), "lvs_timeouts", (0, LONGEST_TIMEOUT), reader) {
            Some(seconds) => *slot = Some(seconds),
            None => return,
        }
    }
    reader.store(&mut options.timeouts, node, timeouts);
}

/// The number behind an option's name. None after saying what is wrong.
fn number_behind(
    name: &Word,
    word: Option<&Word>,
    keyword: &str,
    (min, max): (u32, u32),
    reader: &mut Reader<'_>,
) -> Option<u32> {
    let wanted = format!("a whole number from {min} to {max}");
    let Some(word) = word else {
        let problem = Diagnostic::error(name.span, format!("`{keyword}`: `{}` needs a value", name.text))
            .help(format!("write {wanted} behind it"));
        reader.diagnostics.push(problem);
        return None;
    };
    value::number(word, min, max).map_err(|wrong| reader.wrong(keyword, word, &wanted, wrong)).ok()
}

fn lvs_sync_daemon(options: &mut GlobalOptions, node: &Node, reader: &mut Reader<'_>) {
    let keyword = "lvs_sync_daemon";
    let Some((interface, rest)) = node.values.split_first() else { return };
    if interface.is_empty() || interface.len() > MAX_INTERFACE {
        let wanted = format!("an interface (1 to {MAX_INTERFACE} bytes)");
        return reader.wrong(keyword, interface, &wanted, Wrong::Malformed(None));
    }
    let mut daemon = SyncDaemon {
        role: SyncRole::Master,
        interface: interface.text.to_string(),
        sync_id: 0,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let range = match &*word.text {
            "id" => (0, 255),
            "maxlen" => (1, 65507),
            "port" => (1, 65535),
            "ttl" => (1, 255),
            "group" => {
                match words.next().map(|w| (w, value::address(w))) {
                    Some((_, Ok(group))) if group.is_multicast() => daemon.group = Some(group),
                    Some((w, _)) => {
                        return reader.wrong(keyword, w, "a multicast address", Wrong::Malformed(None));
                    }
                    None => return reader.error(word.span, format!("`{keyword}`: `group` needs a value")),
                }
                continue;
            }
            _ => {
                let text = format!(
                    "`{keyword}`: following the VRRP instance `{}` is not yet supported: no sync daemon is started",
                    word.text
                );
                return reader.warning(word.span, text);
            }
        };
        let Some(number) = number_behind(word, words.next(), keyword, range, reader) else { return };
        let (byte, short) = (u8::try_from(number).ok(), u16::try_from(number).ok());
        match &*word.text {
            "id" => daemon.sync_id = byte.unwrap_or(0),
            "maxlen" => daemon.max_len = short,
            "port" => daemon.port = short,
            _ => daemon.ttl = byte,
        }
    }
    // Without an instance to follow, keepalived runs both halves.
    let backup = SyncDaemon { role: SyncRole::Backup, ..daemon.clone() };
    reader.store(&mut options.sync, node, vec![daemon, backup]);
}
