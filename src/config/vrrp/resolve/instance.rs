//! One instance: what follows from its words, the common ones, and keepalived's corrections.
//!
//! The file is long because it is one walk over the options of an instance, in the order in which corrections depend on
//! each other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::Resolve;
use crate::config::vrrp::address::AddressOptions;
use crate::config::vrrp::instance::{InstanceOptions, WORDS};
use crate::config::vrrp::{announcing, host, span_of, vmac};
use crate::net::types::Address;
use crate::syntax::diagnostic::{Code, Diagnostic};
use crate::syntax::keyword::{Reader, Slot, get};
use crate::syntax::source::Span;
use crate::vrrp::settings::{
    Authentication, Beginning, Checksum, Family, InstanceSettings, NotifyCommands, Transport, Version,
    Virtual,
};

const GROUP4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const GROUP6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// The owner of its addresses.
const OWNER: u8 = 255;
/// The longest time version 3 can say.
const LONGEST_V3: Duration = Duration::from_millis(40_950);
const SECOND: Duration = Duration::from_secs(1);
/// Most addresses an advertisement can count.
const MAX_ADDRESSES: usize = 255;
/// Bytes of a signature of `auth_hmac`.
const TRAILER: usize = 28;

impl Resolve<'_> {
    /// The settings of an instance: in YAML two, where it has addresses of both families. None where its number or what it is
    /// on is missing, which was said.
    pub(super) fn instances(&self, o: &InstanceOptions, reader: &mut Reader<'_>) -> Vec<InstanceSettings> {
        if !is_pair(o, reader) {
            return self.instance(o, family(o), None, reader).into_iter().collect();
        }
        let families = [Family::Ipv4, Family::Ipv6];
        families.into_iter().filter_map(|family| self.instance(o, family, Some(&o.name), reader)).collect()
    }

    /// The settings of an instance, or of one family of it.
    fn instance(
        &self,
        o: &InstanceOptions,
        family: Family,
        pair: Option<&str>,
        reader: &mut Reader<'_>,
    ) -> Option<InstanceSettings> {
        let global = self.global;
        let vrid = get(&o.vrid)?;
        let is_six = pair.is_some() && family == Family::Ipv6;
        let priority = self.priority(o, reader);
        let is_strict = get(&o.is_strict).or(get(&global.is_strict)).unwrap_or(false);
        let version = self.version(o, family, reader);
        let interval = interval(o, version, reader);
        let either = |own: &Slot<bool>, common: &Slot<bool>| get(own).or(get(common)).unwrap_or(false);
        let transport = self.transport(o, family, is_strict, reader);
        let is_unicast = matches!(transport, Transport::Unicast { .. });
        let (beginning, preempts, preempts_ill, preempt_delay) = beginning(o, priority, is_strict, reader);
        let interface = get(&o.interface);
        let prefix = get(&global.vmac_prefix).unwrap_or_else(|| "vrrp".to_owned());
        let vmac = o.vmac.as_ref().and_then(|written| {
            let options = written.value.as_ref()?;
            let Some(base) = &interface else {
                let text = format!("vrrp_instance {}: a virtual MAC address needs an interface", o.name);
                reader.error(written.span, text);
                return None;
            };
            vmac::resolve(options, (&prefix, vrid, family), is_six, base, written.span, reader)
        });
        let advertises_from_base =
            self.advertises_from_base(o, vmac.is_some(), is_unicast, is_strict, reader);
        let authentication = self.authentication(o, (family, version), interval, is_strict, reader);
        let link = vmac.as_ref().map(|v| v.name.clone()).or_else(|| interface.clone());
        // Only an instance of unicast may lack an interface: of another one that was said, and is not said of each address.
        let link = link.or_else(|| o.unicast.is_none().then(String::new));
        let own: Vec<AddressOptions> = own_family(o, family, reader);
        let mut addresses = self.addresses(&own, link.as_deref(), reader);
        let mut excluded = self.addresses(&o.excluded, link.as_deref(), reader);
        if pair.is_some() {
            excluded.retain(|a| a.wanted.prefix.ip.is_ipv6() == is_six);
        }
        once(o, &mut addresses, &mut excluded, reader);
        let room = self.room(o, family, version, &authentication);
        if addresses.len() > room {
            let text = format!(
                "vrrp_instance {}: {} addresses, and an advertisement has room for {room}",
                o.name,
                addresses.len()
            );
            let span = own.get(room).map_or(o.span, |a| a.span);
            let problem = Diagnostic::warning(span, text);
            reader
                .diagnostics
                .push(problem.help("this one and those behind it are held, and not advertised"));
            let surplus = addresses.split_off(room);
            excluded.splice(0..0, surplus);
        }
        let hears = |owner: &Slot<bool>, common: &Slot<bool>| get(owner).or(get(common)).unwrap_or(is_strict);
        let mut routes = self.routes(&o.routes, reader);
        let mut rules = self.rules(&o.rules, reader);
        if pair.is_some() {
            routes.retain(|route| route.wanted.destination.ip.is_ipv6() == is_six);
            rules.retain(|rule| rule.wanted.is_ipv6 == is_six);
        }
        Some(InstanceSettings {
            name: if is_six { format!("{}/6", o.name) } else { o.name.to_string() },
            family,
            interface,
            vrid,
            priority,
            version,
            advert_interval: interval,
            beginning,
            preempts,
            preempts_ill,
            preempt_delay,
            is_strict,
            transport,
            source: self.source(o, family, reader),
            checksum: match either(&o.checksum_as_v2, &global.checksum_as_v2) {
                true => Checksum::MessageOnly,
                false => Checksum::PseudoHeader,
            },
            authentication,
            vmac,
            advertises_from_base,
            addresses,
            excluded,
            routes,
            rules,
            announcing: announcing::resolve(
                &o.announcing,
                &global.announcing,
                get(&global.is_minimal).unwrap_or(false),
                is_strict,
            ),
            missed_adverts: get(&o.missed_adverts)
                .or(get(&global.missed_adverts))
                .and_then(|n| u8::try_from(n).ok())
                .unwrap_or(3),
            ignores_lower_priority: hears(&o.ignores_lower, &global.ignores_lower),
            // The standard knows no such word; without it a healed partition may leave neighbours with the wrong host.
            answers_higher_priority: get(&o.answers_higher)
                .or(get(&global.answers_higher))
                .unwrap_or(!is_strict),
            owner_ignores_adverts: hears(&o.owner_ignores, &global.owner_ignores),
            ignores_own_link: get(&o.ignores_own_link).unwrap_or(false),
            promotes_secondaries: get(&o.promotes_secondaries).unwrap_or(false),
            pair: pair.map(str::to_owned),
            tracks: self.tracks(&o.tracked, reader),
            receive_buffer: get(&o.receive_buffer),
            // Of a pair the one of IPv4 has what there is once.
            assert: o.assert.resolve(self.dialect, &self.user).filter(|_| !is_six),
            notify: if is_six {
                NotifyCommands::default()
            } else {
                let notifies_priority = get(&global.notifies_priority).unwrap_or(false);
                o.tracked.notify.resolve(&self.user, notifies_priority, self.alerts)
            },
        })
    }

    fn priority(&self, o: &InstanceOptions, reader: &mut Reader<'_>) -> u8 {
        if let Some(priority) = get(&o.priority).and_then(|n| u8::try_from(n).ok()) {
            return priority;
        }
        let Some(state) = o.state.as_ref().filter(|s| s.value == Beginning::Master) else { return 100 };
        if !self.dialect.owner_by_state() {
            return 100;
        }
        let text = format!(
            "vrrp_instance {}: `state MASTER` without `priority` makes it the owner of its addresses: priority 255 is taken",
            o.name
        );
        let problem = Diagnostic::warning(state.span, text);
        reader.diagnostics.push(problem.help("write `priority 150`, or another number up to 254"));
        OWNER
    }

    fn version(&self, o: &InstanceOptions, family: Family, reader: &mut Reader<'_>) -> Version {
        let written = o.version.as_ref().or(self.global.version.as_ref());
        match (written, family) {
            (Some(version), Family::Ipv6)
                if version.value == Version::V2 && o.version.is_some() && !is_pair(o, reader) =>
            {
                let text = format!("vrrp_instance {}: version 2 knows no IPv6", o.name);
                let problem = Diagnostic::error(version.span, text);
                reader
                    .diagnostics
                    .push(problem.help("write version 3 on all routers of it, or leave it out"));
                Version::V3
            }
            (_, Family::Ipv6) => Version::V3,
            (Some(version), Family::Ipv4) => version.value,
            (None, Family::Ipv4) => Version::V2,
        }
    }

    /// Unicast that any host can take part in: keepalived's default.
    fn warn_of_strangers(&self, o: &InstanceOptions, span: Span, reader: &mut Reader<'_>) {
        let is_header = o.authentication.as_ref().is_some_and(|(_, written)| written.is_header());
        if o.hmac.is_some() || is_header {
            return;
        }
        let text = format!(
            "vrrp_instance {}: it listens to every sender, not to its peers only: one packet from anywhere makes this \
             host yield its addresses",
            o.name
        );
        let help = format!("write `{}` in it", reader.example(WORDS, "check_unicast_src", ""));
        reader.diagnostics.push(Diagnostic::warning(span, text).help(help));
    }

    fn transport(
        &self,
        o: &InstanceOptions,
        family: Family,
        is_strict: bool,
        reader: &mut Reader<'_>,
    ) -> Transport {
        let is_ours = |ip: IpAddr| ip.is_ipv4() == (family == Family::Ipv4);
        if let Some(span) = o.unicast {
            if is_strict {
                let text = format!("vrrp_instance {}: strict mode knows no unicast", o.name);
                let problem = Diagnostic::error(span, text);
                reader.diagnostics.push(problem.help("remove unicast_peer, or write `strict_mode off`"));
            }
            let is_pair = is_pair(o, reader);
            let ours = || o.peers.iter().filter(|peer| is_ours(peer.peer.address));
            for peer in o.peers.iter().filter(|peer| !is_ours(peer.peer.address) && !is_pair) {
                let text = format!(
                    "vrrp_instance {}: peer {} is not of the family of its addresses",
                    o.name, peer.peer.address
                );
                reader.error(peer.span, text);
            }
            if is_pair && !o.peers.is_empty() && ours().next().is_none() {
                let family = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
                let text = format!("vrrp_instance {}: unicast_peers names no peer of {family}", o.name);
                let help = "it has addresses of both families: write the peers' addresses of both";
                reader.diagnostics.push(Diagnostic::error(span, text).help(help));
            }
            if o.peers.is_empty() && o.has_unread_peer {
                // The line was refused, and that was said.
            } else if o.peers.is_empty() {
                let text = format!("vrrp_instance {}: unicast_peer names no peer", o.name);
                let problem = match get(&o.wants_peer).unwrap_or(false) {
                    true => Diagnostic::error(span, text),
                    false => reader.compat_diagnostic(span, text, ": multicast is used"),
                };
                reader.diagnostics.push(problem.help("write the other routers' addresses, one a line"));
            } else {
                let written = get(&o.checks_source).or(get(&self.global.checks_source));
                let has_range = o.peers.iter().any(|p| p.has_range);
                let checks_source = written.unwrap_or(self.dialect.checks_peers()) || has_range;
                let hop_limit = get(&o.hop_limit).and_then(|n| u8::try_from(n).ok()).unwrap_or(255);
                if written.is_none() && !checks_source && !is_strict {
                    self.warn_of_strangers(o, span, reader);
                }
                return Transport::Unicast {
                    peers: ours().map(|p| p.peer.clone()).collect(),
                    hop_limit,
                    checks_source,
                    // Peers whose packets have a lower TTL have the same unicast_ttl.
                    guards_ttl: self.dialect.checks_peers() && checks_source && hop_limit == 255,
                };
            }
        }
        let (common, usual): (_, IpAddr) = match family {
            Family::Ipv4 => (&self.global.group4, GROUP4.into()),
            Family::Ipv6 => (&self.global.group6, GROUP6.into()),
        };
        let own = o.group.as_ref().filter(|group| !is_pair(o, reader) || is_ours(group.value));
        let Some(written) = own.or(common.as_ref()) else { return Transport::Multicast(usual) };
        let is_group = match written.value {
            IpAddr::V4(ip) => family == Family::Ipv4 && ip.is_multicast(),
            // Link-local scope: ff02::/16 and its kin.
            IpAddr::V6(ip) => {
                family == Family::Ipv6 && ip.segments().first().is_some_and(|s| s & 0xff0f == 0xff02)
            }
        };
        if !is_group {
            let wanted = if family == Family::Ipv4 {
                "a multicast address of IPv4"
            } else {
                "a link-local multicast address of IPv6"
            };
            reader
                .error(written.span, format!("vrrp_instance {}: {} is not {wanted}", o.name, written.value));
        }
        Transport::Multicast(written.value)
    }

    fn source(&self, o: &InstanceOptions, family: Family, reader: &mut Reader<'_>) -> Option<IpAddr> {
        let is_ours = |ip: IpAddr| ip.is_ipv4() == (family == Family::Ipv4);
        let source = o.source.as_ref().filter(|source| !is_pair(o, reader) || is_ours(source.value))?;
        if source.value.is_ipv4() != (family == Family::Ipv4) {
            let text =
                format!("vrrp_instance {}: {} is not of the family of its addresses", o.name, source.value);
            reader.error(source.span, text);
        }
        Some(source.value)
    }

    fn advertises_from_base(
        &self,
        o: &InstanceOptions,
        has_vmac: bool,
        is_unicast: bool,
        is_strict: bool,
        reader: &mut Reader<'_>,
    ) -> bool {
        let Some(written) = o.advertises_from_base.as_ref().filter(|w| w.value) else {
            // A peer's answer would not come to the macvlan.
            return has_vmac && is_unicast;
        };
        let problem = match (has_vmac, is_strict) {
            (false, _) => "`vmac_xmit_base` needs `use_vmac`",
            (true, true) => "`vmac_xmit_base` does not go with strict mode",
            (true, false) => return true,
        };
        reader.compat_unheeded(
            written.span,
            format!("vrrp_instance {}: {problem}", o.name),
            ", and is ignored",
        );
        false
    }

    fn authentication(
        &self,
        o: &InstanceOptions,
        (family, version): (Family, Version),
        interval: Duration,
        is_strict: bool,
        reader: &mut Reader<'_>,
    ) -> Authentication {
        let signed = o.hmac.as_ref().and_then(|(at, hmac)| hmac.resolve(*at, interval, self.files, reader));
        let Some((at, written)) = &o.authentication else { return signed.unwrap_or(Authentication::None) };
        let found = written.resolve(*at, reader).unwrap_or(Authentication::None);
        let why = match (is_strict, family, version) {
            (true, ..) => "in strict mode",
            (_, Family::Ipv6, _) => "of IPv6",
            (_, _, Version::V3) => "of version 3",
            _ if signed.is_some() => "beside `auth_hmac`",
            _ => return found,
        };
        let (text, then) = (format!("vrrp_instance {}: authentication {why}", o.name), " is ignored");
        let problem =
            reader.compat_diagnostic(*at, text, then).code(Code::Unheeded(*at)).help(match is_strict {
                true => "remove it, or strict mode: VRRP has no authentication",
                false => "remove it: only version 2 on IPv4 has it; `auth_hmac` is for all",
            });
        let strict = o.is_strict.as_ref().or(self.global.is_strict.as_ref()).filter(|_| is_strict);
        reader.diagnostics.push(match strict {
            Some(strict) => problem.at(strict.span, "strict mode is set here"),
            None => problem,
        });
        signed.unwrap_or(Authentication::None)
    }

    /// How many addresses go into one advertisement.
    fn room(
        &self,
        o: &InstanceOptions,
        family: Family,
        version: Version,
        authentication: &Authentication,
    ) -> usize {
        let mtu = o.interface.as_ref().map_or(1500, |link| host::mtu(&link.value, self.files));
        let (header, each) = match family {
            Family::Ipv4 => (20 + 8, 4),
            Family::Ipv6 => (40 + 8, 16),
        };
        let more = match authentication {
            Authentication::Hmac(_) => TRAILER,
            Authentication::Header(_) => 24,
            _ => 0,
        } + if version == Version::V2 { 8 } else { 0 };
        (mtu.saturating_sub(header + more) / each).clamp(1, MAX_ADDRESSES)
    }
}

/// Addresses of both families in YAML: two virtual routers, one of each. keepalived.conf keeps keepalived's correction.
pub(in crate::config::vrrp) fn is_pair(o: &InstanceOptions, reader: &Reader<'_>) -> bool {
    let has = |is_ipv6: bool| o.addresses.iter().any(|a| a.ip.is_ipv6() == is_ipv6);
    reader.is_yaml() && has(true) && has(false)
}

/// The family of its advertisements: that of its addresses, or where it has none of what else it says.
fn family(o: &InstanceOptions) -> Family {
    let addresses = o.addresses.iter().map(|a| a.ip);
    let others = get(&o.source).into_iter().chain(o.peers.iter().map(|p| p.peer.address));
    let first = addresses.chain(others).chain(get(&o.group)).chain(o.excluded.iter().map(|a| a.ip)).next();
    if first.is_some_and(|ip| ip.is_ipv6()) { Family::Ipv6 } else { Family::Ipv4 }
}

/// `state`, `preempt`, `preempt healthier` and `preempt_delay`, as far as they go together.
fn beginning(
    o: &InstanceOptions,
    priority: u8,
    is_strict: bool,
    reader: &mut Reader<'_>,
) -> (Beginning, bool, bool, Duration) {
    let is_owner = priority == OWNER;
    let usual = if is_owner { Beginning::Master } else { Beginning::Backup };
    let mut state = get(&o.state).unwrap_or(usual);
    let name = &o.name;
    let mut ignored = |span: Option<Span>, what: &str, help: &str, code: Option<Code>| {
        let problem = reader.compat_diagnostic(
            span.unwrap_or(o.span),
            format!("vrrp_instance {name}: {what}"),
            ", and is ignored",
        );
        reader.diagnostics.push(Diagnostic { code, ..problem.help(help) });
    };
    if is_strict && state == Beginning::Master && !is_owner {
        ignored(
            span_of(&o.state),
            "`state MASTER` in strict mode is for priority 255",
            "write `state BACKUP`: the highest priority becomes Master in any case",
            None,
        );
        state = Beginning::Backup;
    } else if is_strict && state == Beginning::Backup && is_owner {
        ignored(
            span_of(&o.state),
            "`state BACKUP` in strict mode is for priorities below 255",
            "remove it: an owner of addresses begins as Master",
            None,
        );
        state = Beginning::Master;
    }
    let mut is_healthier = get(&o.preempts_ill).unwrap_or(false);
    let mut preempts = !is_healthier && get(&o.preempts).unwrap_or(true);
    let (word, span) = match &o.preempts_ill {
        Some(written) => ("preempt healthier", Some(written.span)),
        None => ("nopreempt", span_of(&o.preempts)),
    };
    let without_effect = (!preempts && !is_healthier).then_some(Code::NopreemptIgnored);
    if !preempts && is_owner {
        ignored(
            span,
            &format!("`{word}` does not go with priority 255"),
            "an owner of addresses always preempts: write a priority up to 254",
            without_effect,
        );
        preempts = true;
    } else if !preempts && state == Beginning::Master {
        ignored(
            span,
            &format!("`{word}` does not go with `state MASTER`"),
            "write `state BACKUP`: a Master that was away then leaves the other one alone",
            without_effect,
        );
        preempts = true;
    }
    is_healthier &= !preempts;
    let mut delay = get(&o.preempt_delay).unwrap_or_default();
    let remove = "remove it";
    let conflict = match state {
        _ if delay.is_zero() => None,
        _ if is_strict => Some(("strict mode", remove)),
        _ if !(preempts || is_healthier) => Some(("`nopreempt`", remove)),
        Beginning::Master if is_owner && o.state.is_none() => {
            Some(("priority 255", "an owner of addresses begins as Master: write a priority up to 254"))
        }
        Beginning::Master => {
            Some(("`state MASTER`", "write `state BACKUP`: it still becomes Master, after the delay"))
        }
        Beginning::Backup => None,
    };
    if let Some((what, help)) = conflict {
        ignored(span_of(&o.preempt_delay), &format!("`preempt_delay` does not go with {what}"), help, None);
        delay = Duration::ZERO;
    }
    (state, preempts, is_healthier, delay)
}

/// `advert_int`, in steps of the version.
fn interval(o: &InstanceOptions, version: Version, reader: &mut Reader<'_>) -> Duration {
    let Some(written) = &o.interval else { return SECOND };
    let (value, span) = (written.value, written.span);
    let keyword = reader.spelling(WORDS, "advert_int");
    let shown = format!("{} s", value.as_secs_f64());
    match version {
        Version::V2 if value < SECOND => {
            let text = format!("`{keyword}`: version 2 counts in whole seconds: {shown} is none");
            let word = reader.example(WORDS, "version", "3");
            let help = format!("write `{word}` in this instance, on all routers of it, or a whole number");
            reader.diagnostics.push(Diagnostic::error(span, text).help(help));
            SECOND
        }
        Version::V2 if value.subsec_nanos() != 0 => {
            let rounded = Duration::from_secs((value.as_millis() + 500) as u64 / 1000);
            let text = format!("`{keyword}`: version 2 counts in whole seconds: {shown} is none");
            let then = format!(", {} s is taken", rounded.as_secs());
            let problem = reader.compat_diagnostic(span, text, &then);
            reader.diagnostics.push(problem.code(taken(rounded)));
            rounded
        }
        Version::V2 => value,
        Version::V3 if value > LONGEST_V3 => {
            let text = format!("`{keyword}`: version 3 can say 40.95 s at most: {shown} is more");
            reader.error(span, text);
            LONGEST_V3
        }
        Version::V3 => {
            let steps = (value.as_micros() + 5000) / 10_000;
            let rounded =
                Duration::from_millis(10).saturating_mul(u32::try_from(steps).unwrap_or(1)).min(LONGEST_V3);
            if rounded != value {
                let text = format!("`{keyword}`: version 3 counts in steps of 0.01 s: {shown} is none");
                let then = format!(", {} s is taken", rounded.as_secs_f64());
                let problem = reader.compat_diagnostic(span, text, &then);
                reader.diagnostics.push(problem.code(taken(rounded)));
            }
            rounded
        }
    }
}

fn taken(time: Duration) -> Code {
    Code::Taken(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
}

/// The addresses of its family; of others keepalived advertises none.
fn own_family(o: &InstanceOptions, family: Family, reader: &mut Reader<'_>) -> Vec<AddressOptions> {
    let is_ours = |a: &&AddressOptions| a.ip.is_ipv4() == (family == Family::Ipv4);
    if let Some(foreign) = o.addresses.iter().find(|a| !is_ours(a)).filter(|_| !is_pair(o, reader)) {
        let word = reader.spelling(WORDS, "virtual_ipaddress");
        let text = format!("vrrp_instance {}: `{word}` mixes IPv4 and IPv6", o.name);
        let problem =
            reader.compat_diagnostic(foreign.span, text, ": those of the family of the first one stay");
        let excluded = reader.spelling(WORDS, "virtual_ipaddress_excluded");
        reader
            .diagnostics
            .push(problem.help(format!("write an instance for each family, or use {excluded}")));
    }
    o.addresses.iter().filter(is_ours).cloned().collect()
}

/// Leaves each address once.
fn once(
    o: &InstanceOptions,
    addresses: &mut Vec<Virtual<Address>>,
    excluded: &mut Vec<Virtual<Address>>,
    reader: &mut Reader<'_>,
) {
    let mut seen = std::collections::BTreeSet::new();
    let mut twice = Vec::new();
    for list in [addresses, excluded] {
        list.retain(|a| {
            let is_new = seen.insert((a.wanted.link.clone(), a.wanted.prefix.ip));
            if !is_new {
                twice.push(a.wanted.prefix.ip);
            }
            is_new
        });
    }
    for ip in twice {
        let text = format!("vrrp_instance {}: {ip} is given twice", o.name);
        let mut all = o.addresses.iter().chain(&o.excluded).rev();
        let span = all.find(|a| a.ip == ip).map_or(o.span, |a| a.span);
        reader.compat_unheeded(span, text, ": the first one counts");
    }
}
