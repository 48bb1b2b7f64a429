//! Options to configuration: defaults, inheritance, keepalived's corrections, and what one option says about
//! another.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::ipvs::types::{Family, Forwarding, Persistence, Protocol, ServiceFlags};
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, get};
use crate::syntax::source::Span;

use super::checker::{self, Inherited, Scripts};
use super::defaults::Dialect;
use super::group::{Group, MAX_SERVICES};
use super::identity::{identities, named};
use super::mail::Alerts;
use super::notice;
use super::real_server::RealServerOptions;
use super::timing::Timings;
use super::tls::TlsReader;
use super::types::{RealServer, ServerNotices, SorryServer, VirtualServer, VirtualServerId};
use super::virtual_server::{DEFAULT_PERSISTENCE, Granularity, Heading, VirtualServerOptions, WORDS};
use super::vrrp::command::UserOptions;
use super::vrrp::script::FileOptions;
use super::vrrp::session::SessionOptions;

mod path;

/// What `global_defs` says of all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common<'a> {
    /// Whom scripts run as that do not say.
    pub usual: &'a UserOptions,
    /// Whether mails are sent about a virtual server or instance that does not say it.
    pub alerts: Alerts,
    pub log_all_failures: bool,
    /// `enable_script_security`.
    pub is_secure: bool,
    /// BFD sessions.
    pub sessions: &'a [SessionOptions],
    /// Files whose numbers count (`track_file`).
    pub files: &'a [FileOptions],
}

/// All virtual servers that can run, identities unique.
pub(crate) fn virtual_servers(
    all: Vec<VirtualServerOptions>,
    groups: &[Group],
    common: Common<'_>,
    dialect: Dialect,
    tls: &TlsReader<'_>,
    reader: &mut Reader<'_>,
) -> Vec<VirtualServer> {
    let groups = named(groups, reader);
    let mut seen: BTreeMap<VirtualServerId, Span> = BTreeMap::new();
    let mut out: Vec<VirtualServer> = Vec::new();
    let mut room = MAX_SERVICES;
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    for options in all {
        let span = options.heading.span;
        // Of one group, what has the same family and port differs in nothing but its identity.
        let mut alike: BTreeMap<(Family, Option<u16>), Option<VirtualServer>> = BTreeMap::new();
        let group = group_name(&options, &mut users);
        let ids = identities(&options, &groups, dialect, &mut room, reader);
        let is_one = ids.len() == 1;
        for id in ids {
            if let Some(first) = seen.insert(id, span) {
                seen.insert(id, first);
                let problem = Diagnostic::error(span, format!("virtual server {id} is defined twice"))
                    .at(first, "the first one is here")
                    .help("put its real servers into one virtual_server");
                reader.diagnostics.push(problem);
            }
            let port = match id {
                VirtualServerId::Address { port, .. } => Some(port),
                VirtualServerId::Fwmark { .. } => None,
            };
            let resolve = Resolve { id, dialect, tls, common, group: &group };
            if is_one {
                out.extend(resolve.virtual_server(&options, reader));
                continue;
            }
            let resolved =
                alike.entry((id.family(), port)).or_insert_with(|| resolve.virtual_server(&options, reader));
            out.extend(resolved.iter().map(|server| VirtualServer { id, ..server.clone() }));
        }
    }
    out
}

/// What keepalived calls a virtual server of a group: the group's name, and how many used it before.
fn group_name(options: &VirtualServerOptions, users: &mut BTreeMap<String, usize>) -> Option<Arc<str>> {
    let Heading::Group(name) = &options.heading.value else { return None };
    let ordinal = users.entry(name.clone()).or_default();
    let text = format!("[{name}]:{ordinal}");
    *ordinal += 1;
    Some(text.into())
}

/// One virtual server in the making.
struct Resolve<'a> {
    id: VirtualServerId,
    dialect: Dialect,
    tls: &'a TlsReader<'a>,
    common: Common<'a>,
    group: &'a Option<Arc<str>>,
}

impl Resolve<'_> {
    fn virtual_server(
        &self,
        options: &VirtualServerOptions,
        reader: &mut Reader<'_>,
    ) -> Option<VirtualServer> {
        let (id, span) = (self.id, options.heading.span);
        if !options.has_real_servers {
            if options.is_clean {
                reader.compat_warning(
                    span,
                    format!("virtual server {id}: has no real server"),
                    ", and is left out",
                );
            }
            return None;
        }
        let scheduler = get(&options.scheduler).or_else(|| {
            let default = self.dialect.scheduler()?;
            self.missing(
                options,
                format!("no lb_algo is set: {default} is taken"),
                "write `lb_algo wlc`",
                reader,
            );
            Some(default)
        })?;
        let forwarding = self.forwarding(options, reader);
        let flags = self.flags(options, scheduler.as_str(), reader);
        let persistence = self.persistence(options, reader);
        let sorry_server = self.sorry_server(options, forwarding, reader);
        let real_servers = self.real_servers(options, forwarding, reader);
        self.tell_pathless(options, &real_servers, reader);
        let inhibited = real_servers.iter().any(|r| r.inhibit_on_failure);
        if scheduler.as_str() == "mh" && !flags.contains(ServiceFlags::SCHED1) && inhibited {
            let text = format!(
                "virtual server {id}: with mh, a real server of weight 0 keeps its share, and its clients are refused"
            );
            let flag = reader.example(WORDS, "mh-fallback", "");
            let help = format!("write `{flag}`, or leave out `inhibit_on_failure`");
            reader.diagnostics.push(Diagnostic::warning(span, text).help(help));
        }
        let total: u64 = real_servers.iter().map(|r| u64::from(r.weight)).sum();
        if total == 0 && !real_servers.is_empty() && sorry_server.is_none() {
            let text =
                format!("virtual server {id}: every real server has weight 0: it takes no connections");
            let help = "write a `weight` above 0 in a real server, or a sorry server";
            reader.diagnostics.push(Diagnostic::warning(span, text).help(help));
        }
        let (quorum, hysteresis) = self.quorum(options, total, reader);
        (!real_servers.is_empty()).then_some(VirtualServer {
            id,
            scheduler,
            flags,
            persistence,
            persistence_engine: get(&options.persistence.engine),
            quorum,
            hysteresis,
            sorry_server,
            real_servers,
            checks_need_vip: self.checks_need_vip(options, reader),
            notices: ServerNotices {
                commands: notice::up_down(&options.commands, self.common.usual),
                group: self.group.clone(),
                is_told_at_stop: options.omega(self.dialect),
                is_mailed: self.common.alerts.of_virtual_server(&options.is_mailed),
            },
        })
    }

    fn forwarding(&self, options: &VirtualServerOptions, reader: &mut Reader<'_>) -> Forwarding {
        get(&options.forwarding).unwrap_or_else(|| {
            let what = "no lb_kind is set: NAT is taken".to_owned();
            self.missing(options, what, "write `lb_kind NAT`, DR or TUN", reader);
            let everyone_says = options.real_servers.iter().all(|r| r.forwarding.is_some())
                && (options.sorry_server.address.is_none() || options.sorry_server.forwarding.is_some());
            if self.dialect.forwarding().is_none() && !everyone_says && options.is_clean {
                let text = format!("virtual server {}: no forwarding is set", self.id);
                let problem = Diagnostic::error(options.heading.span, text);
                reader.diagnostics.push(problem.help("write `forwarding: nat`, dr or tun"));
            }
            self.dialect.forwarding().unwrap_or(Forwarding::Nat)
        })
    }

    /// Says that keepalived's default is taken, unless the option may just have been unreadable.
    fn missing(&self, options: &VirtualServerOptions, what: String, help: &str, reader: &mut Reader<'_>) {
        if options.is_clean && !reader.is_yaml() {
            let text = format!("virtual server {}: {what}", self.id);
            reader.diagnostics.push(Diagnostic::warning(options.heading.span, text).help(help));
        }
    }

    fn flags(
        &self,
        options: &VirtualServerOptions,
        scheduler: &str,
        reader: &mut Reader<'_>,
    ) -> ServiceFlags {
        let mut flags = ServiceFlags::default();
        for flag in &options.flags {
            let bit = match flag.value {
                "flag-1" | "sh-fallback" | "mh-fallback" => ServiceFlags::SCHED1,
                "flag-2" | "sh-port" | "mh-port" => ServiceFlags::SCHED2,
                _ => ServiceFlags::SCHED3,
            };
            match flag.value.split_once('-') {
                Some((owner @ ("sh" | "mh"), _)) if owner != scheduler => {
                    let text =
                        format!("`{}` belongs to the scheduler {owner}, not to {scheduler}", flag.value);
                    reader.compat_unheeded(flag.span, text, ": it is ignored");
                }
                _ => flags = flags.with(bit),
            }
        }
        let Some(ops) = options.ops.as_ref().filter(|ops| ops.value) else { return flags };
        match self.id {
            VirtualServerId::Address { protocol, .. } if protocol != Protocol::Udp => {
                let word = reader.spelling(WORDS, "ops");
                let text = format!("`{word}` is for UDP, not for {protocol}");
                reader.compat_unheeded(ops.span, text, ": it is ignored");
                flags
            }
            _ => flags.with(ServiceFlags::ONE_PACKET),
        }
    }

    fn checks_need_vip(&self, options: &VirtualServerOptions, reader: &mut Reader<'_>) -> bool {
        let is_wanted = options.ha_suspend(self.dialect);
        let written = options.ha_suspend.as_ref().filter(|_| is_wanted);
        let (Some(written), VirtualServerId::Fwmark { .. }) = (written, self.id) else { return is_wanted };
        let word = reader.spelling(WORDS, "ha_suspend");
        let text =
            format!("`{word}`: a virtual server by firewall mark has no VIP that this host could lack");
        reader.compat_warning(written.span, text, ": its checks always run");
        false
    }

    fn persistence(&self, options: &VirtualServerOptions, reader: &mut Reader<'_>) -> Option<Persistence> {
        let family = self.id.family();
        let has_every_port = matches!(self.id, VirtualServerId::Address { port: 0, .. });
        let default = DEFAULT_PERSISTENCE;
        let timeout = get(&options.persistence.timeout).or_else(|| {
            if options.persistence.granularity.is_some() {
                return Some(default);
            }
            let what = format!(
                "a virtual server of every port must be persistent: persistence_timeout {default} is taken"
            );
            has_every_port.then(|| {
                if reader.is_yaml() && options.is_clean {
                    let text = format!("virtual server {}: one of every port must be persistent", self.id);
                    let problem = Diagnostic::error(options.heading.span, text);
                    reader
                        .diagnostics
                        .push(problem.help("write a port behind the address, or `persistence: 6m`"));
                }
                self.missing(
                    options,
                    what,
                    "write a port behind the address, or `persistence_timeout`",
                    reader,
                );
                default
            })
        })?;
        let prefix = match (options.persistence.granularity.as_ref().map(|g| (g.value, g.span)), family) {
            (None, _) => family.host_prefix(),
            (Some((Granularity::Mask(prefix), _)), Family::Inet)
            | (Some((Granularity::Prefix(prefix), _)), Family::Inet6) => prefix,
            (Some((Granularity::Length(length), _)), family) if length <= family.host_prefix() => length,
            (Some((_, span)), family) if reader.is_yaml() => {
                let text = format!(
                    "`netmask` is not one of the virtual server's family: write a prefix length from 1 to {}",
                    family.host_prefix()
                );
                reader.error(span, text);
                family.host_prefix()
            }
            (Some((_, span)), Family::Inet) => {
                let help = "write a netmask, e.g. 255.255.255.0";
                let problem = Diagnostic::error(
                    span,
                    "`persistence_granularity` of an IPv4 virtual server is a netmask",
                );
                reader.diagnostics.push(problem.help(help));
                family.host_prefix()
            }
            (Some((_, span)), Family::Inet6) => {
                let help = "write a prefix length from 1 to 128";
                let problem = Diagnostic::error(
                    span,
                    "`persistence_granularity` of an IPv6 virtual server is a prefix length",
                );
                reader.diagnostics.push(problem.help(help));
                family.host_prefix()
            }
        };
        Some(Persistence { timeout, prefix })
    }

    fn sorry_server(
        &self,
        options: &VirtualServerOptions,
        forwarding: Forwarding,
        reader: &mut Reader<'_>,
    ) -> Option<SorryServer> {
        let sorry = &options.sorry_server;
        let Some(written) = &sorry.address else {
            for (slot, keyword) in [
                // In YAML they stand in its block, whose address was missed already.
                (sorry.inhibit.as_ref().map(|s| s.span), "sorry_server_inhibit"),
                (sorry.forwarding.as_ref().map(|s| s.span), "sorry_server_lvs_method"),
            ] {
                if let (Some(span), true) = (slot, options.is_clean) {
                    reader.warning(span, format!("`{keyword}` is ignored: there is no sorry_server"));
                }
            }
            return None;
        };
        let forwarding = get(&sorry.forwarding).unwrap_or(forwarding);
        let address = self.destination(written.value, written.span, "sorry server", forwarding, reader)?;
        Some(SorryServer { address, forwarding, inhibit: sorry.inhibit(self.dialect) })
    }

    /// A destination's address with the port the forwarding method allows. None after saying why it cannot be one.
    fn destination(
        &self,
        written: SocketAddr,
        span: Span,
        what: &str,
        forwarding: Forwarding,
        reader: &mut Reader<'_>,
    ) -> Option<SocketAddr> {
        let ip = written.ip();
        if Family::of(ip) != self.id.family() && !matches!(forwarding, Forwarding::Tun(_)) {
            let text = format!("{what} {ip}: its family is not that of virtual server {}", self.id);
            let tunnel = reader.example(WORDS, "lb_kind", &reader.fixed("TUN"));
            let help =
                format!("only tunnels cross families: write `{tunnel}`, or an address of the same family");
            reader.diagnostics.push(Diagnostic::error(span, text).help(help));
            return None;
        }
        let is_broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if ip.is_multicast() || ip.is_unspecified() || is_broadcast {
            reader.error(span, format!("{what} {ip}: is not the address of a host"));
            return None;
        }
        let keeps_port = matches!(forwarding, Forwarding::Nat);
        let port = match self.id {
            VirtualServerId::Address { port, .. } if keeps_port && written.port() == 0 => port,
            VirtualServerId::Address { port, .. } if !keeps_port => {
                if written.port() != port && written.port() != 0 {
                    let problem = format!("{what} {written}: DR and TUN cannot change the port");
                    let problem = reader.compat_diagnostic(span, problem, &format!(": {port} is taken"));
                    let problem = problem.code(Code::Taken(port.into()));
                    let help = reader
                        .is_yaml()
                        .then(|| format!("write port {port}, or none; a check's `connect_port` may differ"));
                    reader.diagnostics.push(Diagnostic { help, ..problem });
                }
                port
            }
            VirtualServerId::Fwmark { .. } if !keeps_port => 0,
            _ => written.port(),
        };
        Some(SocketAddr::new(ip, port))
    }

    fn real_servers(
        &self,
        options: &VirtualServerOptions,
        forwarding: Forwarding,
        reader: &mut Reader<'_>,
    ) -> Vec<Arc<RealServer>> {
        let mut seen: BTreeMap<SocketAddr, Span> = BTreeMap::new();
        let mut timings = Timings::default();
        let mut out = Vec::with_capacity(options.real_servers.len());
        for written in &options.real_servers {
            let (Some(at), span) = (get(&written.address), written.span) else { continue };
            let forwarding = get(&written.forwarding).unwrap_or(forwarding);
            let Some(address) = self.destination(at, span, "real server", forwarding, reader) else {
                continue;
            };
            if let Some(first) = seen.get(&address) {
                let problem = Diagnostic::error(
                    span,
                    format!("virtual server {}: real server {address} is defined twice", self.id),
                )
                .at(*first, "the first one is here");
                reader.diagnostics.push(problem);
                continue;
            }
            seen.insert(address, span);
            let real = self.real_server(written, options, (at, address, forwarding), &mut timings, reader);
            out.push(Arc::new(real));
        }
        out
    }

    fn real_server(
        &self,
        written: &RealServerOptions,
        outer: &VirtualServerOptions,
        (written_address, address, forwarding): (SocketAddr, SocketAddr, Forwarding),
        timings: &mut Timings,
        reader: &mut Reader<'_>,
    ) -> RealServer {
        let inherited = Inherited {
            // Where it was said to listen; DR and TUN change the destination's port, not the server's.
            address: if written_address.port() == 0 { address } else { written_address },
            timing: &written.timing.clone().or(&outer.timing),
            virtualhost: written.virtualhost.clone().or_else(|| outer.virtualhost.clone()),
            tls: self.tls,
            log_all_failures: self.common.log_all_failures,
            scripts: Scripts { usual: self.common.usual, is_secure: self.common.is_secure },
            sessions: self.common.sessions,
            files: self.common.files,
            dialect: self.dialect,
            is_track: false,
        };
        let own = if written.checkers.is_empty() { &outer.checkers } else { &written.checkers };
        if let (true, Some(skipped)) = (own.is_empty(), written.skipped.as_ref().or(outer.skipped.as_ref())) {
            let text =
                format!("`{}` was skipped, and leaves real server {address} without a check", skipped.text);
            let problem = Diagnostic::error(skipped.span, text);
            reader.diagnostics.push(problem.help("it may have been one: correct or remove it"));
        }
        // Kept as long as the configuration is: as long as it need be, and mostly that is one.
        let mut checkers = Vec::with_capacity(own.len());
        checkers.extend(own.iter().filter_map(|c| checker::resolve(c, &inherited, timings, reader)));
        let path_check = self.path_check(written, outer, &checkers, (address, forwarding), timings);
        let weight = get(&written.weight).unwrap_or_else(|| outer.weight(self.dialect));
        let inhibit = get(&written.inhibit_on_failure).or_else(|| get(&outer.inhibit_on_failure));
        let (upper_threshold, lower_threshold) =
            thresholds(written.upper_threshold(self.dialect), &written.lower_threshold, reader);
        RealServer {
            address,
            written_port: written_address.port(),
            forwarding,
            weight,
            inhibit_on_failure: inhibit.unwrap_or(false),
            upper_threshold,
            lower_threshold,
            checkers,
            path_check,
            commands: notice::up_down(&written.commands, self.common.usual),
            is_mailed: self.common.alerts.of_real_server(&written.is_mailed),
        }
    }

    fn quorum(&self, options: &VirtualServerOptions, total: u64, reader: &mut Reader<'_>) -> (u32, u32) {
        let id = self.id;
        let most = u32::try_from(total.max(1)).unwrap_or(u32::MAX);
        let mut quorum = options.quorum(self.dialect);
        if let Some(written) = options.quorum.as_ref().filter(|q| q.value > most) {
            let text = format!("virtual server {id}: quorum {quorum} is more than all real servers weigh");
            let problem = reader.compat_diagnostic(written.span, text, &format!(": {most} is taken"));
            reader.diagnostics.push(problem.code(Code::Taken(most.into())));
            quorum = most;
        }
        let mut hysteresis = options.hysteresis(self.dialect);
        if let Some(written) = options.hysteresis.as_ref().filter(|h| h.value >= quorum && h.value > 0) {
            let text =
                format!("virtual server {id}: hysteresis {hysteresis} is not less than quorum {quorum}");
            let problem = reader.compat_diagnostic(written.span, text, &format!(": {} is taken", quorum - 1));
            reader.diagnostics.push(problem.code(Code::Taken((quorum - 1).into())));
            hysteresis = quorum - 1;
        }
        let needed = u64::from(quorum) + u64::from(hysteresis);
        if let Some(written) = options.hysteresis.as_ref().filter(|_| needed > u64::from(most)) {
            let text = format!(
                "virtual server {id}: quorum {quorum} and hysteresis {hysteresis} are more than all real servers \
                 weigh: quorum is never gained"
            );
            let help = format!("gaining it takes weight {needed} of {most}: lower one of them");
            reader.diagnostics.push(Diagnostic::warning(written.span, text).help(help));
        }
        (quorum, hysteresis)
    }
}

/// The kernel refuses a lower threshold above the upper one, which 0 (no limit) is to it.
fn thresholds(most: u32, lower: &Slot<u32>, reader: &mut Reader<'_>) -> (u32, u32) {
    match lower {
        Some(lower) if lower.value > most => {
            let [low, high] = ["lthreshold", "uthreshold"]
                .map(|name| reader.spelling(RealServerOptions::keywords::<RealServerOptions>(), name));
            let text = format!("`{low}`: the kernel refuses {} above the `{high}` of {most}", lower.value);
            reader.compat_unheeded(lower.span, text, ": it is left out");
            (most, 0)
        }
        lower => (most, get(lower).unwrap_or(0)),
    }
}
