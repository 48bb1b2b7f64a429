//! What a new configuration changes of the one in force, in the operator's words: what a reload reports, and which
//! reload is refused because it would take too much away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::types::{Config, RealServer, VirtualServer};
use crate::vrrp::settings::{InstanceSettings, Settings};

/// Names shown of what would go.
pub(crate) const SHOWN: usize = 5;

/// One thing that is added (no `before`), removed (no `after`) or set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// `virtual server 10.0.0.1:80 tcp`; a real server's stands under its virtual server's.
    pub what: String,
    /// What kind of thing it is.
    pub noun: Noun,
    /// As it was.
    pub before: Option<String>,
    /// As it is now.
    pub after: Option<String>,
}

/// Kinds of things a configuration has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Noun {
    VirtualServer,
    RealServer,
    VirtualRouter,
    /// `global_defs`, sync groups, scripts, static addresses and so on.
    Setting,
}

/// All differences, in the order of the new configuration; what is gone comes last.
pub(crate) fn changes(before: &Config, after: &Config) -> Vec<Change> {
    let mut all = Vec::new();
    let old: BTreeMap<_, _> = before.virtual_servers.iter().map(|s| (s.id, s)).collect();
    let new: BTreeMap<_, _> = after.virtual_servers.iter().map(|s| (s.id, s)).collect();
    for server in &after.virtual_servers {
        of_virtual_server(old.get(&server.id).copied(), Some(server), &mut all);
    }
    for server in before.virtual_servers.iter().filter(|s| !new.contains_key(&s.id)) {
        of_virtual_server(Some(server), None, &mut all);
    }
    of_virtual_routers(&before.vrrp, &after.vrrp, &mut all);
    let setting = |what: &str| Change {
        what: what.to_owned(),
        noun: Noun::Setting,
        before: Some(String::new()),
        after: Some("changed".to_owned()),
    };
    if before.global != after.global {
        all.push(setting("global settings"));
    }
    if before.vrrp.sessions != after.vrrp.sessions {
        all.push(setting("BFD sessions"));
    }
    let rest = |settings: &Settings| Settings {
        instances: Vec::new(),
        sessions: BTreeMap::new(),
        ..settings.clone()
    };
    if rest(&before.vrrp) != rest(&after.vrrp) {
        all.push(setting("groups, tracking or static settings of virtual routers"));
    }
    all
}

fn of_virtual_server(before: Option<&VirtualServer>, after: Option<&VirtualServer>, all: &mut Vec<Change>) {
    let Some(id) = after.or(before).map(|server| server.id) else { return };
    let servers = |server: Option<&VirtualServer>| -> BTreeMap<SocketAddr, Arc<RealServer>> {
        server.into_iter().flat_map(|s| &s.real_servers).map(|r| (r.address, Arc::clone(r))).collect()
    };
    let (old, new) = (servers(before), servers(after));
    let alone = |server: &VirtualServer| VirtualServer { real_servers: Vec::new(), ..server.clone() };
    if before.map(alone) != after.map(alone) {
        let (before, after) = set_apart(before.map(virtual_server_words), after.map(virtual_server_words));
        all.push(Change { what: format!("virtual server {id}"), noun: Noun::VirtualServer, before, after });
    }
    let gone = old.iter().filter(|(at, _)| !new.contains_key(*at)).map(|(at, _)| at);
    for at in new.keys().chain(gone) {
        let (before, after) = (old.get(at), new.get(at));
        if before == after {
            continue;
        }
        let words = |real: &Arc<RealServer>| format!("{} weight {}", real.forwarding, real.weight);
        let (before, after) = set_apart(before.map(words), after.map(words));
        let what = format!("real server {at} of virtual server {id}");
        all.push(Change { what, noun: Noun::RealServer, before, after });
    }
}

fn of_virtual_routers(before: &Settings, after: &Settings, all: &mut Vec<Change>) {
    let by_name = |settings: &Settings| -> BTreeMap<String, Arc<InstanceSettings>> {
        settings.instances.iter().map(|i| (i.name.clone(), Arc::clone(i))).collect()
    };
    let (old, new) = (by_name(before), by_name(after));
    let gone = old.iter().filter(|(name, _)| !new.contains_key(*name)).map(|(name, _)| name);
    for name in new.keys().chain(gone) {
        let (before, after) = (old.get(name), new.get(name));
        if before == after {
            continue;
        }
        let words = |i: &Arc<InstanceSettings>| {
            let count = i.addresses.len() + i.excluded.len();
            let plural = if count == 1 { "" } else { "es" };
            format!("VRID {} priority {}, {count} address{plural}", i.vrid, i.priority)
        };
        let (before, after) = set_apart(before.map(words), after.map(words));
        all.push(Change { what: format!("virtual router {name}"), noun: Noun::VirtualRouter, before, after });
    }
}

fn virtual_server_words(server: &VirtualServer) -> String {
    let mut text = format!("{} quorum {}", server.scheduler, server.quorum);
    if let Some(persistence) = &server.persistence {
        text.push_str(&format!(" persistent {} s", persistence.timeout));
    }
    if let Some(sorry) = &server.sorry_server {
        text.push_str(&format!(" sorry server {}", sorry.address));
    }
    text
}

/// Where the words do not show the difference, they say that there is one.
fn set_apart(before: Option<String>, after: Option<String>) -> (Option<String>, Option<String>) {
    let is_alike = before.is_some() && before == after;
    let after = after.map(|text| if is_alike { format!("{text}, other options") } else { text });
    (before, after)
}

/// `1 virtual server added, 2 real servers removed`; `nothing changed` without any.
pub(crate) fn summary(changes: &[Change]) -> String {
    let mut parts = Vec::new();
    for (noun, one, many) in [
        (Noun::VirtualServer, "virtual server", "virtual servers"),
        (Noun::RealServer, "real server", "real servers"),
        (Noun::VirtualRouter, "virtual router", "virtual routers"),
    ] {
        let of_kind = |is_before, is_after| {
            let is_it = |c: &&Change| {
                c.noun == noun && c.before.is_some() == is_before && c.after.is_some() == is_after
            };
            changes.iter().filter(is_it).count()
        };
        for (count, verb) in [
            (of_kind(false, true), "added"),
            (of_kind(true, false), "removed"),
            (of_kind(true, true), "changed"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {} {verb}", if count == 1 { one } else { many }));
            }
        }
    }
    parts.extend(changes.iter().filter(|c| c.noun == Noun::Setting).map(|c| format!("{} changed", c.what)));
    if parts.is_empty() { "nothing changed".to_owned() } else { parts.join(", ") }
}

/// So much of what is in force is missing in a new configuration that it is more likely torn, empty or the wrong file
/// than meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Removal {
    noun: &'static str,
    in_force: usize,
    left: usize,
    gone: usize,
    /// Some of those that would go.
    names: Vec<String>,
}

/// What an unattended reload must not remove: the last one of its kind, or so much that less than half of the number
/// in force is left. What is replaced by as many others is no removal.
pub(crate) fn removals(in_force: &Config, new: &Config) -> Vec<Removal> {
    fn of<K: Ord + ToString>(
        noun: &'static str,
        in_force: Vec<K>,
        new: Vec<K>,
        least: usize,
    ) -> Option<Removal> {
        let (before, left) = (in_force.len(), new.len());
        if left >= least || before == 0 {
            return None;
        }
        let kept: BTreeSet<&K> = new.iter().collect();
        let gone = || in_force.iter().filter(|name| !kept.contains(name));
        let names = gone().take(SHOWN).map(K::to_string).collect();
        Some(Removal { noun, in_force: before, left, gone: gone().count(), names })
    }
    let half = |count: usize| count.div_ceil(2);
    let servers = |config: &Config| config.virtual_servers.iter().map(|s| s.id).collect::<Vec<_>>();
    let real_servers = |config: &Config| -> Vec<SocketAddr> {
        config.virtual_servers.iter().flat_map(|s| s.real_servers.iter().map(|r| r.address)).collect()
    };
    let routers = |config: &Config| config.vrrp.instances.iter().map(|i| i.name.clone()).collect::<Vec<_>>();
    let (old_servers, new_servers) = (servers(in_force), servers(new));
    let (old_routers, new_routers) = (routers(in_force), routers(new));
    let (least_servers, least_routers) = (half(old_servers.len()), half(old_routers.len()));
    let has_servers = !new_servers.is_empty();
    let all = [
        of("virtual servers", old_servers, new_servers, least_servers),
        // Pools grow and shrink with the day; only an empty one is a mistake.
        of("real servers", real_servers(in_force), real_servers(new), 1).filter(|_| has_servers),
        of("virtual routers", old_routers, new_routers, least_routers),
    ];
    all.into_iter().flatten().collect()
}

impl fmt::Display for Removal {
    /// `it has only 1 virtual servers, and 7 of them are in force (10.0.0.1:80 tcp, ... and 1 more would be removed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Removal { noun, in_force, left, gone, names } = self;
        match left {
            0 => write!(f, "it has no {noun}, and {in_force} of them are in force")?,
            _ => write!(f, "it has only {left} {noun}, and {in_force} of them are in force")?,
        }
        write!(f, " ({}", names.join(", "))?;
        let others = gone - names.len();
        if others > 0 {
            write!(f, " and {others} more would be removed)")
        } else {
            f.write_str(" would be removed)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Strictness;
    use crate::config::load::load_from;
    use crate::syntax::files::MemoryFiles;

    fn read(text: &str) -> Config {
        let files = MemoryFiles::new(&[("/f", text)]);
        let loaded = load_from(&files, std::path::Path::new("/f"), Strictness::Strict);
        loaded
            .config
            .clone()
            .unwrap_or_else(|| panic!("{:?}", loaded.lines(crate::syntax::diagnostic::Class::Error)))
    }

    fn server(last: u8, reals: &[(u8, u32)]) -> String {
        let reals: String = reals
            .iter()
            .map(|(n, weight)| {
                format!("real_server 10.1.0.{n} 80 {{\n weight {weight}\n TCP_CHECK {{\n }}\n}}\n")
            })
            .collect();
        format!("virtual_server 10.0.0.{last} 80 {{\n protocol TCP\n lvs_method NAT\n{reals}}}\n")
    }

    fn router(name: &str, vrid: u8) -> String {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n priority 100\n \
             virtual_ipaddress {{\n 10.0.0.{vrid}/24\n }}\n}}\n"
        )
    }

    fn removals_of(before: &[String], after: &[String]) -> Vec<String> {
        removals(&read(&before.concat()), &read(&after.concat())).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_empty_file_and_one_cut_in_its_first_half_take_too_much_away() {
        let five: Vec<_> = (1..=5).map(|n| server(n, &[(1, 1)])).collect();
        assert_eq!(
            removals_of(&five, &[]),
            ["it has no virtual servers, and 5 of them are in force (10.0.0.1:80 tcp, 10.0.0.2:80 tcp, \
                 10.0.0.3:80 tcp, 10.0.0.4:80 tcp, 10.0.0.5:80 tcp would be removed)"]
        );
        assert_eq!(
            removals_of(&five, &five[..2]),
            ["it has only 2 virtual servers, and 5 of them are in force (10.0.0.3:80 tcp, 10.0.0.4:80 tcp, \
                 10.0.0.5:80 tcp would be removed)"]
        );
        assert_eq!(removals_of(&five, &five[..3]), Vec::<String>::new());
        let seven: Vec<_> = (1..=7).map(|n| server(n, &[(1, 1)])).collect();
        let all = removals_of(&seven, &[server(9, &[(1, 1)])]).concat();
        assert!(all.ends_with("10.0.0.5:80 tcp and 2 more would be removed)"), "{all}");
        let routers = [router("a", 51), router("b", 52)];
        assert_eq!(removals_of(&routers, &routers[..1]), Vec::<String>::new(), "half of them");
        assert_eq!(
            removals_of(&routers, &[]),
            ["it has no virtual routers, and 2 of them are in force (a, b would be removed)"]
        );
        assert_eq!(
            removals_of(&[router("a", 51), server(1, &[(1, 1)])], &[server(1, &[(1, 1)])]),
            ["it has no virtual routers, and 1 of them are in force (a would be removed)"]
        );
    }

    #[test]
    fn what_is_replaced_by_as_much_and_a_pool_that_shrinks_are_no_removal() {
        let before = [server(1, &[(1, 1), (2, 1), (3, 1), (4, 1)])];
        assert_eq!(
            removals_of(&before, &[server(2, &[(1, 1), (2, 1), (3, 1), (4, 1)])]),
            Vec::<String>::new()
        );
        assert_eq!(removals_of(&before, &[server(1, &[(1, 1)])]), Vec::<String>::new());
        assert_eq!(removals_of(&[], &[]), Vec::<String>::new());
    }

    #[test]
    fn every_difference_is_named_with_what_was_and_what_is() {
        let before = [server(1, &[(1, 1), (2, 1)]), server(2, &[(1, 1)]), router("a", 51)].concat();
        let after = [server(1, &[(1, 5), (3, 1)]), router("a", 61), server(3, &[(1, 1)])].concat();
        let all = changes(&read(&before), &read(&after));
        let lines: Vec<String> = all
            .iter()
            .map(|c| {
                let side = |s: &Option<String>| s.clone().unwrap_or_else(|| "-".to_owned());
                format!("{}: {} > {}", c.what, side(&c.before), side(&c.after))
            })
            .collect();
        assert_eq!(
            lines,
            [
                "real server 10.1.0.1:80 of virtual server 10.0.0.1:80 tcp: NAT weight 1 > NAT weight 5",
                "real server 10.1.0.3:80 of virtual server 10.0.0.1:80 tcp: - > NAT weight 1",
                "real server 10.1.0.2:80 of virtual server 10.0.0.1:80 tcp: NAT weight 1 > -",
                "virtual server 10.0.0.3:80 tcp: - > wlc quorum 1",
                "real server 10.1.0.1:80 of virtual server 10.0.0.3:80 tcp: - > NAT weight 1",
                "virtual server 10.0.0.2:80 tcp: wlc quorum 1 > -",
                "real server 10.1.0.1:80 of virtual server 10.0.0.2:80 tcp: NAT weight 1 > -",
                "virtual router a: VRID 51 priority 100, 1 address > VRID 61 priority 100, 1 address",
            ]
        );
        assert_eq!(
            summary(&all),
            "1 virtual server added, 1 virtual server removed, 2 real servers added, 2 real servers removed, \
             1 real server changed, 1 virtual router changed"
        );
        assert_eq!(summary(&changes(&read(&before), &read(&before))), "nothing changed");
    }
}
