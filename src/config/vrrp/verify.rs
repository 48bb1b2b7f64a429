//! What VRRP's blocks say of each other, of the virtual servers, and of this host.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::config::types::{Config, VirtualServerId};
use crate::syntax::diagnostic::{Class, Code, Diagnostic, Diagnostics};
use crate::syntax::files::Files;
use crate::syntax::keyword::{Reader, get, nearest};
use crate::syntax::source::Span;
use crate::syntax::tree::Word;
use crate::vrrp::other_nodes;
use crate::vrrp::settings::{Family, InstanceSettings, TrackTarget, Transport};

use super::global::VrrpGlobal;
use super::group::SyncGroupOptions;
use super::instance::{InstanceOptions, WORDS};
use super::session::{Follower, SessionOptions};
use super::track::{Kind, TrackOptions, Tracked};
use super::{VrrpOptions, command, host, session};

/// Names that are defined, and where.
pub(crate) type Names<'a> = BTreeMap<&'a str, Span>;

/// This host's addresses, IPv4 and IPv6; None where it does not show them.
type Own = [Option<BTreeSet<IpAddr>>; 2];

/// All that is compared.
pub(crate) struct Verify<'a> {
    pub options: &'a VrrpOptions,
    /// BFD sessions.
    pub sessions: &'a [SessionOptions],
    /// What is common to them.
    pub global: &'a VrrpGlobal,
    /// What became of them.
    pub config: &'a Config,
    /// The instance the sync daemons follow.
    pub sync_follows: Option<&'a Word>,
    /// Virtual servers by address, and where each is.
    pub virtual_servers: &'a [(SocketAddr, Span)],
    /// The files of this host.
    pub files: &'a dyn Files,
}

impl Verify<'_> {
    /// Says what does not go together, and what this host does not have.
    pub(crate) fn verify(&self, reader: &mut Reader<'_>) {
        let options = self.options;
        let named = |i: &InstanceOptions| (i.name.clone(), i.span);
        let all: Vec<(Box<str>, Span)> = options.instances.iter().map(named).collect();
        let instances = unique("vrrp_instance", all.iter().map(|(name, span)| (&**name, *span)), reader);
        unique("vrrp_sync_group", options.groups.iter().map(|g| place(&g.name)), reader);
        self.pairs(&instances, reader);
        let defined = Defined {
            scripts: unique("vrrp_script", options.scripts.iter().map(|s| place(&s.name)), reader),
            files: unique("track_file", options.files.iter().map(|f| place(&f.name)), reader),
            processes: unique("vrrp_track_process", options.processes.iter().map(|p| place(&p.name)), reader),
            checks: unique("vrrp_check", options.checks.iter().map(|c| place(&c.name)), reader),
            sessions: unique("bfd_instance", self.sessions.iter().map(|s| place(&s.name)), reader),
        };
        session::verify(self.sessions, self.files, reader);
        self.scripts(reader);
        let is_asked = options.instances.iter().any(|i| i.source.is_some() || !i.peers.is_empty());
        let own: Own =
            [true, false].map(|is_ipv4| is_asked.then(|| host::addresses(is_ipv4, self.files)).flatten());
        for instance in &options.instances {
            self.instance(instance, &own, reader);
            self.followed(&instance.tracked, &format!("vrrp_instance {}", instance.name), &defined, reader);
        }
        self.router_numbers(reader);
        self.groups(&instances, reader);
        self.ill_masters(reader);
        for group in &options.groups {
            self.followed(&group.tracked, &format!("vrrp_sync_group {}", group.name.text), &defined, reader);
        }
        for address in &options.static_addresses {
            if let Some((link, span)) = address.link() {
                self.on_this_host(link, span, reader);
            }
        }
        self.held_twice(reader);
        self.services(reader);
        if let Some(name) = self.sync_follows {
            is_there("vrrp_instance", name, &instances, reader);
        }
        self.sync_daemon(reader);
    }

    fn scripts(&self, reader: &mut Reader<'_>) {
        for script in &self.options.scripts {
            if let Some(written) = &script.command {
                let what = format!("vrrp_script {}", script.name.text);
                let then = "until it is there, the script counts as failed; keepalived leaves it out, as if it never failed";
                command::verify(&written.value, &what, then, self.files, reader);
            }
        }
        for written in self.global.readers() {
            command::verify(
                written,
                "the FIFO's script",
                "without it the FIFO has no reader",
                self.files,
                reader,
            );
        }
    }

    fn instance(&self, instance: &InstanceOptions, own: &Own, reader: &mut Reader<'_>) {
        let name = &instance.name;
        if let Some(interface) = &instance.interface {
            self.on_this_host(&interface.value, interface.span, reader);
            if interface.value == "lo" {
                let text =
                    format!("vrrp_instance {name}: advertisements cannot travel on the loopback interface");
                let problem = Diagnostic::error(interface.span, text);
                reader.diagnostics.push(problem.help("write the interface that leads to the other routers"));
            }
        }
        for address in instance.addresses.iter().chain(&instance.excluded) {
            if let Some((link, span)) = address.link() {
                self.on_this_host(link, span, reader);
            }
        }
        // In YAML an instance may have both families.
        let first = instance.addresses.iter().find(|a| !reader.is_yaml() || a.ip.is_ipv6());
        if let Some(first) = first
            && let IpAddr::V6(ip) = first.ip
            && !ip.is_unicast_link_local()
        {
            let text = format!("vrrp_instance {name}: {ip}: the first IPv6 address is not a link-local one");
            let problem = Diagnostic::warning(first.span, text);
            reader.diagnostics.push(problem.help(
                "RFC 9568 wants one, and other routers may drop advertisements without: write e.g. `fe80::1/64` before it",
            ));
        }
        let is_empty = instance.addresses.is_empty() && instance.excluded.is_empty();
        if is_empty && !get(&instance.has_no_addresses).unwrap_or(false) && reader.diagnostics.errors() == 0 {
            let problem = Diagnostic::warning(instance.span, format!("vrrp_instance {name} has no address"))
                .code(Code::Missing);
            let word = reader.example(WORDS, "no_virtual_ipaddress", "");
            let help = format!("write its addresses, or `{word}` where that is meant");
            reader.diagnostics.push(problem.help(help));
        }
        source_of_this_host(instance, own, reader);
        if let Some(written) = &instance.assert.command {
            let what = format!("`{}` of vrrp_instance {name}", reader.spelling(WORDS, "vrrp_assert"));
            let then = "until it is there, its addresses are not asserted";
            command::verify(&written.value, &what, then, self.files, reader);
        }
        for written in instance.tracked.notify.commands() {
            let what = format!("vrrp_instance {name}");
            command::verify(written, &what, "without it its changes are not reported", self.files, reader);
        }
    }

    /// The names of the two families of an instance are no others'.
    fn pairs(&self, instances: &Names<'_>, reader: &mut Reader<'_>) {
        let pairs = self.settings().filter(|i| i.family == Family::Ipv6 && i.pair.is_some());
        for six in pairs {
            let pair = six.pair.as_deref().unwrap_or_default();
            let of_instance = instances.get(&*six.name).map(|span| ("vrrp_instance", &*six.name, *span));
            let group = self.options.groups.iter().find(|g| *g.name.text == *pair);
            let of_group = group.map(|g| ("vrrp_sync_group", pair, g.name.span));
            for (kind, name, span) in of_instance.into_iter().chain(of_group) {
                let text = format!(
                    "{kind} {name}: instance {pair} has addresses of both families, and needs that name for itself"
                );
                reader.diagnostics.push(Diagnostic::error(span, text).help("write another name"));
            }
        }
    }

    /// One number is one virtual router on a link.
    fn router_numbers(&self, reader: &mut Reader<'_>) {
        let mut seen: BTreeMap<_, Vec<&InstanceSettings>> = BTreeMap::new();
        for instance in self.settings() {
            let group = match &instance.transport {
                Transport::Multicast(group) => Some(*group),
                Transport::Unicast { .. } => None,
            };
            let key = (instance.vrid, instance.interface.as_deref(), instance.family, group);
            let before = seen.entry(key).or_default();
            let first = before.iter().find(|first| !self.are_apart(first, instance)).map(|i| &*i.name);
            before.push(instance);
            let Some(first) = first else { continue };
            let family = if instance.family == Family::Ipv4 { "IPv4" } else { "IPv6" };
            let place = instance.interface.as_deref().unwrap_or("unicast");
            let text = format!(
                "vrrp_instance {}: {first} has virtual_router_id {} of {family} on {place}, too",
                instance.name, instance.vrid
            );
            let name = instance.pair.as_deref().unwrap_or(&instance.name);
            let written = self.options.instances.iter().rev().find(|i| *i.name == *name);
            let at = written.and_then(|i| i.vrid.as_ref()).map(|v| v.span).unwrap_or_default();
            let problem =
                Diagnostic::error(at, text).help("give each virtual router of a network its own number");
            reader.diagnostics.push(problem);
        }
    }

    fn groups(&self, instances: &Names<'_>, reader: &mut Reader<'_>) {
        let mut block_of: BTreeMap<&str, &Word> = BTreeMap::new();
        for group in &self.options.groups {
            let name = &group.name.text;
            for member in &group.members {
                is_there("vrrp_instance", member, instances, reader);
                if let Some(first) = block_of.insert(&member.text, &group.name) {
                    let text =
                        format!("vrrp_instance {} is in vrrp_sync_group {} already", member.text, first.text);
                    let problem = Diagnostic::error(member.span, text);
                    reader.diagnostics.push(problem.at(first.span, "that group is here"));
                }
            }
            if group.members.len() < 2 && !group.has_members_elsewhere {
                let count = if group.members.is_empty() { "no instance" } else { "one instance" };
                let text = format!("vrrp_sync_group {name} has {count}: there is nothing to keep in step");
                let problem = Diagnostic::warning(group.name.span, text);
                reader.diagnostics.push(problem.help("name at least two in `group { ... }`, or remove it"));
            }
            self.mixed(group, reader);
            for written in group.tracked.notify.commands() {
                let what = format!("vrrp_sync_group {name}");
                command::verify(
                    written,
                    &what,
                    "without it its changes are not reported",
                    self.files,
                    reader,
                );
            }
        }
    }

    /// Warns of a Master whose tracks lower its priority, where no Backup may replace it.
    fn ill_masters(&self, reader: &mut Reader<'_>) {
        for instance in self.settings().filter(|i| !i.preempts && !i.preempts_ill) {
            let groups =
                self.options.groups.iter().filter(|g| g.members.iter().any(|m| *m.text == *instance.name));
            let counts_own = groups.clone().all(|g| get(&g.counts_weights).unwrap_or(false));
            let own = instance.tracks.iter().find(|t| counts_own && t.weight != 0);
            let names: Vec<&str> = groups.map(|g| &*g.name.text).collect();
            let shared =
                self.config.vrrp.groups.iter().filter(|g| names.contains(&&*g.name)).flat_map(|g| &g.tracks);
            let Some(track) = own.or_else(|| shared.into_iter().find(|t| t.weight != 0)) else { continue };
            let written = self.written(instance);
            let span = written.and_then(|i| i.preempts.as_ref().map(|p| p.span).or(Some(i.span)));
            let Some(span) = span else { continue };
            let text = format!(
                "vrrp_instance {}: a Master whose priority is lowered by weight {} stays Master: nopreempt keeps every Backup from replacing it",
                instance.name, track.weight
            );
            let word = reader.example(WORDS, "preempt", "healthier");
            let problem = Diagnostic::warning(span, text);
            reader.diagnostics.push(problem.help(format!(
                "write `{word}` instead: only such a Master is replaced; or give what is followed weight 0: a fault"
            )));
        }
    }

    /// Members that would not move together.
    fn mixed(&self, group: &SyncGroupOptions, reader: &mut Reader<'_>) {
        let is_member = |i: &&InstanceSettings| group.members.iter().any(|m| *m.text == *i.name);
        let members: Vec<&InstanceSettings> = self.settings().filter(is_member).collect();
        let name = &group.name.text;
        if let (Some(yes), Some(no)) =
            (members.iter().find(|i| i.preempts), members.iter().find(|i| !i.preempts && !i.preempts_ill))
        {
            let text = format!(
                "vrrp_sync_group {name}: {} preempts and {} does not, and they change state together",
                yes.name, no.name
            );
            let problem = Diagnostic::warning(group.name.span, text);
            reader.diagnostics.push(problem.help("write `nopreempt` in all of them, or in none"));
        }
        if get(&group.counts_weights).unwrap_or(false) {
            return;
        }
        if let Some((member, track)) =
            members.iter().find_map(|i| Some((i, i.tracks.iter().find(|t| t.weight != 0)?)))
        {
            let written = self.written(member);
            let span = written.map_or(group.name.span, |i| i.span);
            let text = format!(
                "vrrp_instance {}: weight {} of what it follows does not count: it is in vrrp_sync_group {name}",
                member.name, track.weight
            );
            let word = reader.example(
                SyncGroupOptions::keywords::<SyncGroupOptions>(),
                "sync_group_tracking_weight",
                "",
            );
            let problem = Diagnostic::warning(span, text);
            reader.diagnostics.push(problem.help(format!("write `{word}` in the group, or follow it there")));
        }
    }

    fn held_twice(&self, reader: &mut Reader<'_>) {
        let mut seen: BTreeMap<(IpAddr, &str), Vec<&InstanceSettings>> = BTreeMap::new();
        for instance in self.settings() {
            for address in instance.addresses.iter().chain(&instance.excluded) {
                let (ip, link) = (address.wanted.prefix.ip, &*address.wanted.link);
                let before = seen.entry((ip, link)).or_default();
                let first = before.iter().find(|first| !self.are_apart(first, instance)).map(|i| &*i.name);
                before.push(instance);
                let Some(first) = first else { continue };
                let text = format!("vrrp_instance {}: {ip} is an address of {first}, too", instance.name);
                let written = self.written(instance);
                let span = written.and_then(|i| i.addresses.iter().chain(&i.excluded).find(|a| a.ip == ip));
                let problem = Diagnostic::warning(span.map(|a| a.span).unwrap_or_default(), text);
                reader
                    .diagnostics
                    .push(problem.help("the one that stops being Master takes it away from the other one"));
            }
        }
    }

    /// Virtual servers and the instances that hold their addresses.
    fn services(&self, reader: &mut Reader<'_>) {
        let mut held: BTreeMap<IpAddr, &str> = BTreeMap::new();
        for instance in self.settings() {
            for address in instance.addresses.iter().chain(&instance.excluded) {
                held.entry(address.wanted.prefix.ip).or_insert(&instance.name);
            }
        }
        let holder = |vip: IpAddr| held.get(&vip).copied();
        let has_holder = self.virtual_servers.iter().any(|(vip, _)| holder(vip.ip()).is_some());
        for (vip, span) in
            self.virtual_servers.iter().filter(|(vip, _)| has_holder && holder(vip.ip()).is_none())
        {
            let text = format!(
                "virtual server {vip}: no vrrp_instance holds its address, though instances hold those of others"
            );
            let help = "add it to `virtual_ipaddress`, or see that this host gets its traffic in another way";
            reader.diagnostics.push(Diagnostic::warning(*span, text).help(help));
        }
        for instance in self.settings().filter(|i| i.is_strict && i.priority != u8::MAX) {
            let written = self.written(instance);
            let own = written.and_then(|i| i.is_strict.as_ref());
            let Some(strict) = own.or(self.global.is_strict.as_ref()) else { continue };
            let text = format!(
                "vrrp_instance {}: in strict mode lvsd accepts packets to its addresses all the same",
                instance.name
            );
            let problem = Diagnostic::warning(strict.span, text);
            let held = self.virtual_servers.iter().find(|(vip, _)| holder(vip.ip()) == Some(&*instance.name));
            reader.diagnostics.push(match held {
                Some((vip, span)) => problem
                    .help("keepalived drops them before IPVS sees them (no_accept), and with them all traffic of that virtual server: remove strict mode")
                    .at(*span, format!("{vip} is one of its addresses")),
                None => problem.help("keepalived drops them (no_accept); a director must not, or its virtual servers get no traffic"),
            });
        }
    }

    /// The kernel refuses to replicate connections where a service has destinations of the other family.
    fn sync_daemon(&self, reader: &mut Reader<'_>) {
        let Some(daemon) = self.config.global.sync_daemons.first() else { return };
        let mixed = self.config.virtual_servers.iter().find_map(|server| {
            let is_ipv4 = server.id.family() == crate::ipvs::types::Family::Inet;
            let sorry = server.sorry_server.iter().map(|s| s.address);
            let mut all = server.real_servers.iter().map(|r| r.address).chain(sorry);
            Some((server.id, all.find(|address| address.is_ipv4() != is_ipv4)?))
        });
        let Some((id, address)) = mixed else { return };
        let is_it = |vip: &SocketAddr| matches!(id, VirtualServerId::Address { address, port, .. } if *vip == SocketAddr::new(address, port));
        let place = self.virtual_servers.iter().find(|(vip, _)| is_it(vip)).map(|(_, span)| *span);
        let text = format!(
            "lvs_sync_daemon {} does not go with virtual server {id}: its real server {address} is of the other family, and the kernel refuses both together",
            daemon.interface
        );
        let problem = Diagnostic::new(Class::Error, place, text);
        let help = "remove lvs_sync_daemon, or use real servers of the virtual server's family";
        reader.diagnostics.push(problem.help(help));
    }

    fn followed(&self, tracked: &Tracked, by: &str, defined: &Defined<'_>, reader: &mut Reader<'_>) {
        for interface in &tracked.interfaces {
            self.on_this_host(&interface.name, interface.name.span, reader);
        }
        for (kind, names, all) in [
            ("vrrp_script", &defined.scripts, &tracked.scripts),
            ("track_file", &defined.files, &tracked.files),
            ("vrrp_track_process", &defined.processes, &tracked.processes),
            ("vrrp_check", &defined.checks, &tracked.checks),
            ("bfd_instance", &defined.sessions, &tracked.sessions),
        ] {
            for track in all {
                is_there(kind, &track.name, names, reader);
            }
        }
        self.damped_and_reversed(tracked, by, reader);
        for track in &tracked.sessions {
            session::may_follow(self.sessions, &track.name, &Follower::Router, reader);
        }
        let all = [
            &tracked.interfaces,
            &tracked.scripts,
            &tracked.files,
            &tracked.processes,
            &tracked.checks,
            &tracked.sessions,
        ];
        all.into_iter().for_each(|all| twice(all, by, reader));
    }

    /// Damping counts as failed what fails too often; reversed, that would be well.
    fn damped_and_reversed(&self, tracked: &Tracked, by: &str, reader: &mut Reader<'_>) {
        let vrrp = &self.config.vrrp;
        if vrrp.damping.is_empty() {
            return;
        }
        let reversed: BTreeSet<&TrackTarget> = vrrp
            .tracks()
            .filter(|t| t.is_reversed && vrrp.damping.contains_key(&t.target))
            .map(|t| &t.target)
            .collect();
        let kinds: [(&[TrackOptions], Kind); 4] = [
            (&tracked.interfaces, TrackTarget::Interface),
            (&tracked.scripts, TrackTarget::Script),
            (&tracked.processes, TrackTarget::Process),
            (&tracked.checks, TrackTarget::Check),
        ];
        let named = kinds.into_iter().flat_map(|(tracks, target)| tracks.iter().map(move |t| (t, target)));
        for (track, _) in named.filter(|(t, target)| reversed.contains(&target(t.name.text.to_string()))) {
            let name = &track.name.text;
            let text = format!("{by} follows `{name}` reversed, and `{name}` is damped");
            let problem = Diagnostic::error(track.name.span, text);
            reader
                .diagnostics
                .push(problem.help("damping counts what fails too often as failed: remove one of both"));
        }
    }

    /// Whether two instances are for different nodes; of a pair one family may say so.
    fn are_apart(&self, a: &InstanceSettings, b: &InstanceSettings) -> bool {
        let all = |of: &InstanceSettings| {
            let (name, pair) = (of.name.clone(), of.pair.clone());
            self.settings().filter(move |i| i.name == name || (pair.is_some() && i.pair == pair))
        };
        all(a).any(|a| all(b).any(|b| other_nodes::are_apart(a, b)))
    }

    /// The block that an instance, or one family of it, comes from.
    fn written(&self, instance: &InstanceSettings) -> Option<&InstanceOptions> {
        let name = instance.pair.as_deref().unwrap_or(&instance.name);
        self.options.instances.iter().find(|i| *i.name == *name)
    }

    fn settings(&self) -> impl Iterator<Item = &InstanceSettings> {
        self.config.vrrp.instances.iter().map(|i| &**i)
    }

    fn on_this_host(&self, interface: &str, span: Span, reader: &mut Reader<'_>) {
        // What an instance makes itself is not there yet.
        let is_made = self.settings().filter_map(|i| i.vmac.as_ref()).any(|vmac| vmac.name == interface);
        if !is_made && host::has_interface(interface, self.files) == Some(false) {
            let problem = Diagnostic::warning(span, format!("this host has no interface `{interface}`"));
            reader.diagnostics.push(problem.of_this_host().help("`ip link` lists those it has"));
        }
    }
}

/// An instance speaks from an address that its host has. Where the host has a peer's address instead, the instance is
/// that other node's, and not run here.
fn source_of_this_host(instance: &InstanceOptions, own: &Own, reader: &mut Reader<'_>) {
    let Some(source) = &instance.source else { return };
    let [ipv4, ipv6] = own;
    let Some(own) = (if source.value.is_ipv4() { ipv4 } else { ipv6 }) else { return };
    let is_other_node = instance.peers.iter().any(|peer| own.contains(&peer.peer.address));
    if own.contains(&source.value) || is_other_node {
        return;
    }
    let text = format!("vrrp_instance {}: {} is not an address of this host", instance.name, source.value);
    let problem = Diagnostic::warning(source.span, text).of_this_host();
    reader
        .diagnostics
        .push(problem.help("the instance is in Fault until this host has it: write one of `ip addr`"));
}

/// What can be followed.
struct Defined<'a> {
    scripts: Names<'a>,
    files: Names<'a>,
    processes: Names<'a>,
    checks: Names<'a>,
    sessions: Names<'a>,
}

fn place(word: &Word) -> (&str, Span) {
    (&word.text, word.span)
}

/// The names of one kind of block; says which are given twice.
fn unique<'a>(
    kind: &str,
    names: impl Iterator<Item = (&'a str, Span)>,
    reader: &mut Reader<'_>,
) -> Names<'a> {
    let mut found = Names::new();
    for (name, span) in names {
        match found.get(name) {
            Some(first) => {
                let problem = Diagnostic::error(span, format!("{kind} {name} is defined twice"));
                reader.diagnostics.push(problem.at(*first, "the first one is here"));
            }
            None => {
                found.insert(name, span);
            }
        }
    }
    found
}

fn twice(all: &[TrackOptions], by: &str, reader: &mut Reader<'_>) {
    let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
    for track in all {
        if let Some(first) = seen.get(&*track.name.text) {
            let text = format!("{by} follows `{}` twice", track.name.text);
            let problem = reader.compat_diagnostic(track.name.span, text, ": the first one counts");
            let unheeded = Code::Unheeded(track.name.span);
            reader.diagnostics.push(problem.at(*first, "the first one is here").code(unheeded));
        } else {
            seen.insert(&track.name.text, track.name.span);
        }
    }
}

/// Whether it is defined; says where it is not: what is followed and not defined would never fail.
pub(crate) fn is_there(kind: &str, name: &Word, defined: &Names<'_>, reader: &mut Reader<'_>) -> bool {
    if defined.contains_key(&*name.text) {
        return true;
    }
    let problem =
        Diagnostic::error(name.span, format!("there is no {kind} `{}`", name.text)).code(Code::Missing);
    // Of what is only counted, what was meant is not looked for: that costs.
    let keys = defined.keys().copied().filter(|_| reader.diagnostics.errors() < Diagnostics::MAX_KEPT);
    let help = match nearest(name, keys) {
        Some(likely) => format!("did you mean `{likely}`?"),
        None => format!("define it with `{kind} {} {{ ... }}`, or remove it here", name.text),
    };
    reader.diagnostics.push(problem.help(help));
    false
}
