//! The identities a virtual server has: one by its address or firewall mark, many by its group.

use std::collections::BTreeMap;

use crate::ipvs::types::Family;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{Reader, get, nearest};

use super::defaults::Dialect;
use super::group::{Entry, Group, MAX_SERVICES};
use super::types::VirtualServerId;
use super::virtual_server::{Heading, VirtualServerOptions};

/// Groups by name, names unique.
pub(crate) fn named<'a>(groups: &'a [Group], reader: &mut Reader<'_>) -> BTreeMap<&'a str, &'a Group> {
    let mut named: BTreeMap<&str, &Group> = BTreeMap::new();
    for group in groups {
        let Some(name) = &group.name else { continue };
        if let Some(first) = named.get(name.value.as_str()).and_then(|g| g.name.as_ref()) {
            let problem =
                Diagnostic::error(name.span, format!("virtual_server_group {} is defined twice", name.value))
                    .at(first.span, "the first one is here");
            reader.diagnostics.push(problem);
        } else {
            named.insert(&name.value, group);
        }
    }
    named
}

/// The identities a virtual server has: one, or those of its group.
pub(crate) fn identities(
    options: &VirtualServerOptions,
    groups: &BTreeMap<&str, &Group>,
    dialect: Dialect,
    room: &mut usize,
    reader: &mut Reader<'_>,
) -> Vec<VirtualServerId> {
    let Heading::Group(name) = &options.heading.value else {
        return vec![identity(options, &options.heading.value, dialect, reader)];
    };
    let span = options.heading.span;
    let Some(group) = groups.get(name.as_str()) else {
        let likely = nearest(name, groups.keys().copied()).map(|l| format!("did you mean `{l}`?"));
        let problem = Diagnostic::error(span, format!("there is no virtual_server_group {name}"));
        reader.diagnostics.push(Diagnostic { help: likely, ..problem });
        return Vec::new();
    };
    let count: usize = group.entries.iter().map(|e| e.value.count()).sum();
    let Some(left) = room.checked_sub(count) else {
        let text = format!(
            "virtual_server_group {name}: all groups together stand for more than {MAX_SERVICES} services"
        );
        reader.error(span, text);
        return Vec::new();
    };
    *room = left;
    let mut ids = Vec::new();
    for entry in &group.entries {
        match entry.value {
            Entry::Fwmark(mark, family) => {
                let written = || get(&options.ip_family).or_else(|| of_servers(options));
                ids.push(VirtualServerId::Fwmark {
                    family: family.or_else(written).unwrap_or(Family::Inet),
                    mark,
                });
            }
            Entry::Addresses { .. } => {
                ids.extend(entry.value.addresses().map(|at| VirtualServerId::Address {
                    protocol: options.protocol(dialect),
                    address: at.ip(),
                    port: at.port(),
                }))
            }
        }
    }
    let has_address = ids.iter().any(|id| matches!(id, VirtualServerId::Address { .. }));
    if has_address && options.protocol.is_none() {
        no_protocol(options, format!("group {name}"), dialect, reader);
    }
    ids
}

/// Says that keepalived's default is taken.
fn no_protocol(options: &VirtualServerOptions, what: String, dialect: Dialect, reader: &mut Reader<'_>) {
    if options.is_clean && !reader.is_yaml() {
        let text =
            format!("virtual server {what}: no protocol is set: {} is taken", options.protocol(dialect));
        let problem =
            Diagnostic::warning(options.heading.span, text).help("write `protocol TCP` or `protocol UDP`");
        reader.diagnostics.push(problem);
    }
}

/// The family of the first real server.
fn of_servers(options: &VirtualServerOptions) -> Option<Family> {
    options.real_servers.first().and_then(|real| get(&real.address)).map(|address| Family::of(address.ip()))
}

/// The one identity a heading without a group stands for.
fn identity(
    options: &VirtualServerOptions,
    heading: &Heading,
    dialect: Dialect,
    reader: &mut Reader<'_>,
) -> VirtualServerId {
    match *heading {
        Heading::Address(at) => {
            let protocol = get(&options.protocol).unwrap_or_else(|| {
                no_protocol(options, at.to_string(), dialect, reader);
                options.protocol(dialect)
            });
            if let Some(family) = options.ip_family.as_ref().filter(|f| f.value != Family::of(at.ip())) {
                let text = "`ip_family` is not the family of the virtual server's address";
                reader.compat_unheeded(family.span, text, ": it is ignored");
            }
            VirtualServerId::Address { protocol, address: at.ip(), port: at.port() }
        }
        Heading::Fwmark(mark) => {
            if let Some(protocol) = &options.protocol {
                let text = "`protocol`: a firewall mark stands for any protocol";
                reader.compat_unheeded(protocol.span, text, ": it is ignored");
            }
            let family = get(&options.ip_family).or_else(|| of_servers(options)).unwrap_or(Family::Inet);
            VirtualServerId::Fwmark { family, mark }
        }
        // Has many, which `identities` knows.
        Heading::Group(_) => VirtualServerId::Fwmark { family: Family::Inet, mark: 0 },
    }
}
