//! keepalived's `global_defs`: what concerns the whole director.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ipvs::types::{SyncDaemon, SyncRole};
use crate::syntax::diagnostic::{Class, Diagnostic};
use crate::syntax::keyword::{Keyword, Reader, Slot, Spanned, Support, Table, get, nearest, unread};
use crate::syntax::tree::{Node, Word};
use crate::syntax::value::{self, Wrong};

use crate::vrrp::settings::InstanceSettings;

use super::checker::MAX_INTERFACE;
use super::defaults::Dialect;
use super::mail::MailOptions;
use super::notice::{self, NoticeOptions};
use super::options::options;
use super::types::{Config, Global, MarkBase, SysctlValue, TimeoutOptions, VirtualServerId};
use super::vrrp::command::{self, UserOptions, command};
use super::vrrp::global::VrrpGlobal;
use super::vrrp::instance::InstanceOptions;
use super::{values, vrrp};

options! {
    /// `global_defs` as it was written.
    pub(crate) struct GlobalOptions {
        /// Name of this director in logs and mails.
        router_id: Slot<String> = text("router_id", "NAME", 255);
        /// Old name of `router_id`, of keepalived before 1.1.8.
        _ = text(@router_id; "lvs_id", "NAME", 255).but(Support::Deprecated("write `router_id`: keepalived has ignored `lvs_id` since 1.1.8, lvsd reads it as `router_id`")).not_yaml();
        /// Connection timeouts of the kernel; what is not written stays as the kernel has it.
        timeouts: Slot<TimeoutOptions> = words(=> lvs_timeouts; "lvs_timeouts", TIMEOUTS, 2, 6).yaml_instead("`ipvs: {timeouts: {tcp: 15m, tcp_fin: 2m, udp: 30s}}`");
        /// At start, delete services that are not configured here.
        _ = flag(@ipvs.flush; "lvs_flush").bare().yaml_instead("`ipvs: {flush: true}`");
        /// Replicate connections between directors over this interface.
        _ = words(@ipvs => lvs_sync_daemon; "lvs_sync_daemon", SYNC, 1, 16).yaml_instead("`ipvs: {sync_daemon: {interface: eth0}}`");
        /// Log every failing check, not only the one that decides.
        pub(crate) log_all_failures: Slot<bool> = flag("checker_log_all_failures").yaml(&["log_all_failures"]), default false;
        /// Where lvsd's own firewall marks begin: it uses 16,384 (lvsd's own word).
        mark_base: Slot<MarkBase> = word(=> mark_base; "mark_base", MARK_BASE), default MarkBase::default();
        /// At stop, flush the table.
        _ = unread("lvs_flush_on_stop", Support::Ignored("at stop lvsd removes its own services and leaves those of others")).or(&["lvs_flush_onstop"]);
        /// User and group of scripts that do not say theirs; without it keepalived_script, if there is such a user.
        _ = words(@vrrp.script_user => command::read_user; "script_user", "USER [GROUP]", 1, 2);
        /// A script of root's that others could exchange is not run, and counts as failed.
        _ = flag(@vrrp.secures_scripts; "enable_script_security").bare();
        /// FIFO for all changes of state.
        _ = words(@vrrp.any_fifo => command::read; "notify_fifo", notice::FIFO, 1, 3);
        /// Script that reads it: kept running, the FIFO's path is its last argument.
        _ = command(@vrrp.any_fifo_reader => command::read; "notify_fifo_script");
        include pub(crate) ipvs: IpvsOptions;
        include pub(crate) mail: MailOptions;
        include pub(crate) notices: NoticeOptions;
        include pub(crate) vrrp: VrrpGlobal;
    }
}

options! {
    /// YAML's `ipvs` as it was written.
    pub(crate) struct IpvsOptions {
        /// Connection timeouts of the kernel; what is not written stays as the kernel has it.
        timeouts: TimeoutSlots = block(=> timeouts; "timeouts", "").only_yaml().yaml_block("ipvs.timeouts");
        /// Settings of the kernel below net.ipv4.vs (lvsd's own word).
        sysctl: BTreeMap<String, SysctlValue> = block(=> sysctl; "sysctl", "");
        /// At start, delete services that are not configured here.
        flush: Slot<bool> = flag("flush").only_yaml(), default false;
        /// Replicate connections between directors over this interface: interface, id, max_len, port, ttl, group.
        _ = block(=> sync_daemon; "sync_daemon", "").only_yaml();
        sync: Slot<Vec<SyncDaemon>>;
        /// The instance the sync daemons follow.
        pub(crate) sync_follows: Option<Word>;
        /// Whether the sync daemons' `id` was written.
        sync_has_id: bool;
    }
}

options! {
    /// YAML's `ipvs: {timeouts: ...}` as it was written.
    pub(crate) struct TimeoutSlots {
        /// Established TCP connections.
        tcp: Slot<u32> = word(=> whole; "tcp", WHOLE).only_yaml();
        /// TCP connections after a FIN.
        tcp_fin: Slot<u32> = word(=> whole; "tcp_fin", WHOLE).only_yaml();
        /// UDP: time after the last datagram.
        udp: Slot<u32> = word(=> whole; "udp", WHOLE).only_yaml();
    }
}

impl GlobalOptions {
    /// The settings, defaults applied.
    pub(crate) fn resolve(
        self,
        dialect: Dialect,
        usual: &UserOptions,
        instances: &[Arc<InstanceSettings>],
    ) -> Global {
        let timeouts = get(&self.timeouts).unwrap_or_default();
        // With keepalived's defaults the kernel's settings are the operator's.
        let mut sysctl: BTreeMap<_, _> = dialect
            .sysctl()
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SysctlValue(vec![*value])))
            .collect();
        let flush = self.ipvs.flush(dialect);
        let (mark_base, tells_first_servers) =
            (self.mark_base(dialect), self.notices.tells_first_servers(dialect));
        sysctl.extend(self.ipvs.sysctl);
        let sync_follows = self.ipvs.sync_follows.map(|word| word.text.to_string());
        let followed = instances.iter().find(|i| sync_follows.as_ref() == Some(&i.name));
        let mut sync_daemons = get(&self.ipvs.sync).unwrap_or_default();
        if let Some(instance) = followed.filter(|_| !self.ipvs.sync_has_id) {
            sync_daemons.iter_mut().for_each(|daemon| daemon.sync_id = instance.vrid);
        }
        Global {
            mark_base,
            sysctl,
            startup: self.notices.startup.resolve(usual),
            shutdown: self.notices.shutdown.resolve(usual),
            fifos: self.notices.fifos(self.vrrp.any_fifo(usual), usual),
            tells_first_servers,
            mail: self.mail.resolve(get(&self.router_id)).map(Arc::new),
            router_id: get(&self.router_id),
            net_namespace: None,
            timeouts: TimeoutOptions {
                tcp: get(&self.ipvs.timeouts.tcp).or(timeouts.tcp),
                tcp_fin: get(&self.ipvs.timeouts.tcp_fin).or(timeouts.tcp_fin),
                udp: get(&self.ipvs.timeouts.udp).or(timeouts.udp),
            },
            flush,
            sync_daemons,
            sync_follows,
            sync_follows_vrid: followed.map(|instance| instance.vrid),
            quorum_counts: get(&self.vrrp.quorum_counts).unwrap_or(false),
        }
    }
}

/// Keywords of `global_defs`.
pub(crate) const GLOBAL_DEFS: Table<GlobalOptions> = Table::of(
    "global_defs",
    "global",
    &[
        GlobalOptions::keywords(),
        MailOptions::keywords(),
        SCRIPT,
        GROUPS,
        NoticeOptions::keywords(),
        PROCESS,
        FILE,
        SNMP,
        BUFFERS,
        RELOAD,
        RELOAD_TIME,
        RELOAD_FILE,
        NFTABLES,
        VrrpGlobal::keywords(),
        vrrp::global::ONLY_CONF,
    ],
);

/// Keywords of YAML's `ipvs`.
pub(crate) const IPVS: Table<GlobalOptions> = Table::of("ipvs", "ipvs", &[IpvsOptions::keywords()]);

/// Keywords of YAML's `ipvs: {timeouts: ...}`.
pub(crate) const IPVS_TIMEOUTS: Table<TimeoutSlots> =
    Table::of("ipvs.timeouts", "ipvs.timeouts", &[TimeoutSlots::keywords()]);

const WHOLE: &str = "a time of whole seconds, e.g. 15m";
const MARK_BASE: &str = "a multiple of 0x10000 from 0x10000 to 0xffff0000";
const TIMEOUTS: &str = "[tcp SECONDS] [tcpfin SECONDS] [udp SECONDS], each from 0 to 2678400";
const SYNC: &str =
    "INTERFACE [[inst] INSTANCE] [id 0-255] [maxlen 1-65507] [port N] [ttl 1-255] [group ADDRESS]";
/// 31 days, the kernel's bound.
const LONGEST_TIMEOUT: u32 = 2_678_400;

fn timeouts(slots: &mut TimeoutSlots, node: &Node, reader: &mut Reader<'_>) {
    reader.block(&IPVS_TIMEOUTS, node.statements(), slots);
}

fn whole(slot: &mut Slot<u32>, node: &Node, reader: &mut Reader<'_>) {
    if let Some(seconds) = values::whole_seconds(node, (1, LONGEST_TIMEOUT), reader) {
        reader.store(slot, node, seconds);
    }
}

/// The settings this was written with in mind; a kernel may have others.
const SYSCTLS: &[&str] = &[
    "am_droprate",
    "amemthresh",
    "backup_only",
    "cache_bypass",
    "conn_reuse_mode",
    "conntrack",
    "drop_entry",
    "drop_packet",
    "est_nice",
    "expire_nodest_conn",
    "expire_quiescent_template",
    "ignore_tunneled",
    "nat_icmp_send",
    "pmtu_disc",
    "run_estimation",
    "schedule_icmp",
    "secure_tcp",
    "sloppy_sctp",
    "sloppy_tcp",
    "snat_reroute",
    "sync_persist_mode",
    "sync_ports",
    "sync_qlen_max",
    "sync_refresh_period",
    "sync_retries",
    "sync_sock_size",
    "sync_threshold",
    "sync_version",
];
/// Most settings, and most numbers of one.
const MAX_SYSCTLS: usize = 64;
const MAX_NUMBERS: usize = 8;

fn sysctl(settings: &mut BTreeMap<String, SysctlValue>, node: &Node, reader: &mut Reader<'_>) {
    for setting in node.statements() {
        let name = &setting.keyword;
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(is_name) {
            let problem = Diagnostic::error(
                name.span,
                format!("`{}` is not the name of a setting below net.ipv4.vs", name.text),
            );
            reader.diagnostics.push(problem.help("write its name alone, e.g. `conntrack`"));
            continue;
        }
        let likely = nearest(name, SYSCTLS.iter().copied());
        if let Some(likely) = likely.filter(|_| !SYSCTLS.contains(&&*name.text)) {
            let problem = Diagnostic::warning(
                name.span,
                format!("`{}` is not a setting of any kernel known here", name.text),
            );
            reader.diagnostics.push(problem.help(format!("did you mean `{likely}`?")));
        }
        let mut numbers = Vec::new();
        for word in &setting.values {
            match value::boolean(word).map(u32::from).or_else(|| value::number(word, 0, i32::MAX as u32).ok())
            {
                Some(number) => numbers.push(number),
                None => {
                    let wanted = format!("true, false or a whole number from 0 to {}", i32::MAX);
                    reader.wrong(name, word, &wanted, Wrong::Malformed(None));
                }
            }
        }
        if setting.values.is_empty() || setting.block.is_some() || numbers.len() > MAX_NUMBERS {
            let problem = Diagnostic::error(name.span, format!("`{}` needs a value", name.text));
            reader.diagnostics.push(problem.help("write true, false, or a number, or a list of numbers"));
        } else if settings.len() >= MAX_SYSCTLS {
            return reader.error(name.span, format!("there are more than {MAX_SYSCTLS} settings"));
        } else {
            settings.insert(name.text.to_string(), SysctlValue(numbers));
        }
    }
}

/// YAML's spellings of the options of `lvs_sync_daemon`.
const SYNC_OPTIONS: &[(&str, &str)] = &[
    ("instance", "inst"),
    ("id", "id"),
    ("max_len", "maxlen"),
    ("port", "port"),
    ("ttl", "ttl"),
    ("group", "group"),
];

fn sync_daemon(options: &mut IpvsOptions, node: &Node, reader: &mut Reader<'_>) {
    let mut interface = None;
    let mut rest = Vec::new();
    for option in node.statements() {
        let (name, value) = (&option.keyword, option.values.first());
        let known = SYNC_OPTIONS.iter().find(|(yaml, _)| *yaml == &*name.text);
        match (&*name.text, known, value) {
            ("interface", _, Some(word)) => interface = Some(word.clone()),
            (_, Some((_, word)), Some(value)) => {
                rest.push(Word { text: (*word).into(), ..name.clone() });
                rest.push(value.clone());
            }
            ("interface", _, None) | (_, Some(_), None) => {
                reader.error(name.span, format!("`{}` needs a value", name.text));
            }
            (_, None, _) => {
                let names = SYNC_OPTIONS.iter().map(|(yaml, _)| *yaml).chain(["interface"]);
                let likely = nearest(name, names).map(|l| format!("did you mean `{l}`?"));
                let problem =
                    Diagnostic::error(name.span, format!("`{}` is not a keyword of sync_daemon", name.text));
                reader.diagnostics.push(Diagnostic { help: likely, ..problem });
            }
        }
    }
    let Some(interface) = interface else {
        let problem = Diagnostic::error(node.keyword.span, "`sync_daemon` needs an interface");
        return reader.diagnostics.push(problem.help("write e.g. `interface: eth0`"));
    };
    let values = std::iter::once(interface).chain(rest).collect();
    lvs_sync_daemon(options, &Node { keyword: node.keyword.clone(), values, block: None }, reader);
}

/// Keywords whose values are not read: one row for keywords that share support and meaning.
macro_rules! unread {
    ($($name:ident: $support:expr, $doc:literal, $($keyword:literal),+;)+) => {
        $(const $name: &[Keyword<GlobalOptions>] = &[$(unread($keyword, $support).doc($doc)),+];)+
    };
}

unread! {
    SCRIPT: Support::Ignored("a script runs by the path that was written, and enable_script_security looks where links lead"), "One of the settings of scripts.",
        "use_symlink_paths";
    GROUPS: Support::Ignored("scripts have their user's own group and no others"), "One of the settings of scripts.",
        "set_supplementary_groups";
    PROCESS: Support::Ignored("lvsd is one process, and the service manager sets its priority, limits and name"), "One of the settings of keepalived's processes.",
        "checker_priority", "checker_rt_priority", "checker_rlimit_rttime", "checker_rlimit_rtime",
        "checker_no_swap", "checker_cpu_affinity", "max_auto_priority", "min_auto_priority_delay",
        "process_names", "process_name", "checker_process_name", "lvs_process_name", "umask", "random_seed";
    FILE: Support::Ignored("lvsd writes no such files: ask `lvsd status`"), "One of the settings of keepalived's own files.",
        "tmp_config_directory", "config_save_dir", "data_use_instance", "state_dump_file", "stats_dump_file",
        "json_dump_file", "json_version";
    SNMP: vrrp::global::NO_SNMP, "One of the settings of SNMP and D-Bus.",
        "enable_snmp_checker", "snmp_socket", "enable_traps", "snmp_vs_stats_update_interval",
        "snmp_rs_stats_update_interval", "enable_dbus", "dbus_service_name", "dbus_no_interface_name";
    BUFFERS: Support::Ignored("lvsd sizes its sockets itself"), "One of the sizes of netlink sockets.",
        "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs_force", "lvs_netlink_monitor_rcv_bufs",
        "lvs_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs", "process_monitor_rcv_bufs_force";
    RELOAD: Support::Ignored("lvsd always checks a configuration fully before a reload, and errors change nothing"), "One of the settings of reloading.",
        "reload_check_config", "include_check";
    RELOAD_TIME: Support::Ignored("lvsd reads no times from a file: have a timer of systemd, or cron, run `lvsd reload` at the time, which exits with 78 when the file has errors"), "One of the settings of reloads at a time.",
        "reload_time_file", "reload_repeat";
    RELOAD_FILE: Support::Ignored("lvsd writes no mark while it reads: `lvsd reload` ends when the configuration is in force, or refused"), "File that exists while the configuration is read.",
        "reload_file";
    NFTABLES: Support::Ignored("lvsd has a service for each address and port of a group, which directs the same connections: for one service alone, mark the packets by a firewall rule of your own and write `virtual_server fwmark N`"), "One of the settings of groups by nftables.",
        "nftables_ipvs", "nftables_ipvs_priority", "nftables_ipvs_start_fwmark";
}

fn mark_base(slot: &mut Slot<MarkBase>, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = node.values.first() else { return };
    let number = match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value::number(word, 1, u32::MAX).ok(),
    };
    match number.filter(|n| *n != 0 && n.trailing_zeros() >= 16) {
        Some(number) => reader.store(slot, node, MarkBase(number)),
        None => reader.wrong("mark_base", word, MARK_BASE, Wrong::Malformed(None)),
    }
}

/// Marks of the configuration that are lvsd's own: they are left alone, but the operator may have meant others.
pub(crate) fn verify_marks(config: &Config, reader: &mut Reader<'_>) {
    let base = config.global.mark_base;
    for server in &config.virtual_servers {
        let VirtualServerId::Fwmark { mark, .. } = server.id else { continue };
        if base.contains(mark) {
            let (first, last) = (base.0, base.0 + (MarkBase::MARKS - 1));
            let text = format!(
                "virtual server {}: {mark:#x} is one of lvsd's own marks ({first:#x} to {last:#x})",
                server.id
            );
            let help = "choose another mark, or another `mark_base` for lvsd's";
            reader.diagnostics.push(Diagnostic::new(Class::Warning, None, text).help(help));
        }
    }
}

fn lvs_timeouts(slot: &mut Slot<TimeoutOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut timeouts = TimeoutOptions::default();
    let mut words = node.values.iter();
    while let Some(word) = words.next() {
        let timeout = match &*word.text {
            "tcp" => &mut timeouts.tcp,
            "tcpfin" => &mut timeouts.tcp_fin,
            "udp" => &mut timeouts.udp,
            _ => return reader.wrong("lvs_timeouts", word, "tcp, tcpfin or udp", Wrong::Malformed(None)),
        };
        match number_behind(word, words.next(), "lvs_timeouts", (0, LONGEST_TIMEOUT), reader) {
            Some(seconds) => *timeout = Some(seconds),
            None => return,
        }
    }
    reader.store(slot, node, timeouts);
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

fn lvs_sync_daemon(options: &mut IpvsOptions, node: &Node, reader: &mut Reader<'_>) {
    let keyword = &*node.keyword.text;
    let Some((interface, rest)) = node.values.split_first() else { return };
    if interface.is_empty() || interface.len() > MAX_INTERFACE {
        let wanted = format!("an interface (1 to {MAX_INTERFACE} bytes)");
        return reader.wrong(keyword, interface, &wanted, Wrong::Malformed(None));
    }
    let mut daemon = sync_daemon_of(&interface.text);
    let (mut follows, mut has_id) = (None, false);
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
            "inst" if follows.is_none() => {
                let Some(name) = words.next() else {
                    return reader
                        .error(word.span, format!("`{keyword}`: `inst` needs the name of a vrrp_instance"));
                };
                follows = Some(name.clone());
                continue;
            }
            _ if follows.is_none() => {
                follows = Some(word.clone());
                continue;
            }
            _ => {
                let known = ["id", "maxlen", "port", "ttl", "group"];
                let help = nearest(word, known.into_iter()).map(|likely| format!("did you mean `{likely}`?"));
                let text = format!("`{keyword}`: `{}` is not an option of a sync daemon", word.text);
                reader.diagnostics.push(Diagnostic { help, ..Diagnostic::error(word.span, text) });
                return;
            }
        };
        let Some(number) = number_behind(word, words.next(), keyword, range, reader) else { return };
        let (byte, short) = (u8::try_from(number).ok(), u16::try_from(number).ok());
        match &*word.text {
            "id" => (daemon.sync_id, has_id) = (byte.unwrap_or(0), true),
            "maxlen" => daemon.max_len = short,
            "port" => daemon.port = short,
            _ => daemon.ttl = byte,
        }
    }
    if options.sync.is_none() {
        options.sync_has_id = has_id;
        options.sync_follows = follows;
    }
    reader.store_first(&mut options.sync, node, both_roles(daemon));
}

/// The Master's half of a sync daemon that has no options.
fn sync_daemon_of(interface: &str) -> SyncDaemon {
    SyncDaemon {
        role: SyncRole::Master,
        interface: interface.to_owned(),
        sync_id: 0,
        max_len: None,
        group: None,
        port: None,
        ttl: None,
    }
}

/// Without an instance to follow, keepalived runs both halves.
fn both_roles(daemon: SyncDaemon) -> Vec<SyncDaemon> {
    let backup = SyncDaemon { role: SyncRole::Backup, ..daemon.clone() };
    vec![daemon, backup]
}

impl IpvsOptions {
    /// What instances say by `lvs_sync_daemon_interface`: the first one counts, and that only where `global_defs` has no
    /// sync daemon.
    pub(crate) fn sync_by_instances(&mut self, instances: &[InstanceOptions], reader: &mut Reader<'_>) {
        for instance in instances {
            let Some(Spanned { value, span }) = &instance.sync_interface else { continue };
            if let Some(first) = &self.sync {
                let problem = Diagnostic::warning(
                    *span,
                    "`lvs_sync_daemon_interface` is ignored: there is one sync daemon",
                );
                reader.diagnostics.push(problem.at(first.span, "the one that counts is here"));
                continue;
            }
            self.sync = Some(Spanned { value: both_roles(sync_daemon_of(value)), span: *span });
            self.sync_follows =
                Some(Word { text: (*instance.name).into(), span: instance.span, is_quoted: false });
        }
    }
}
