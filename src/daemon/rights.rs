//! What an lvsd may not do that the commands of a configuration need: said before the first of them runs, for it would
//! be said only then else.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use super::{process, units};
use crate::config::Config;
use crate::doctor::environment::{Capability, names};
use crate::script::{self, Command};

/// The unit that starts lvsd.
const UNIT: &str = "lvsd.service";

/// The user of an lvsd, and its capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// `lvsd (pid 7)`.
    pub whose: String,
    uid: u32,
    gid: u32,
    /// A bit a capability.
    effective: u64,
}

/// What one may not do, and what needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpermitted {
    /// Whose rights these are.
    pub whose: String,
    /// The first command that needs them, and its user.
    pub example: String,
    /// What is missing.
    pub lacking: BTreeSet<Capability>,
}

impl fmt::Display for Unpermitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Unpermitted { whose, example, lacking } = self;
        let all: Vec<&str> = lacking.iter().map(|capability| capability.name()).collect();
        let (list, line) = (names(lacking), all.join(" "));
        write!(
            f,
            "{example}, which {whose} may not do: it lacks {list}; add `CapabilityBoundingSet={line}` to [Service] \
             of its unit (systemctl edit {UNIT}) and restart it"
        )
    }
}

impl Rights {
    pub(crate) fn own() -> Option<Rights> {
        Rights::of_status("lvsd".to_owned(), Path::new("/proc/self/status"))
    }

    /// Those of the lvsds that direct here; where none does, what its unit will leave it.
    pub(crate) fn of_directors() -> Vec<Rights> {
        let running: Vec<Rights> = process::rivals()
            .iter()
            .filter(|rival| rival.name == "lvsd")
            .filter_map(|rival| {
                let status = PathBuf::from(format!("/proc/{}/status", rival.pid));
                Rights::of_status(rival.to_string(), &status)
            })
            .collect();
        if running.is_empty() { Rights::of_unit(Path::new("/")).into_iter().collect() } else { running }
    }

    fn of_status(whose: String, path: &Path) -> Option<Rights> {
        let text = std::fs::read_to_string(path).ok()?;
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
        // The second number is the effective one.
        let id = |key| value(key)?.split_ascii_whitespace().nth(1)?.parse().ok();
        let effective = process::effective_capabilities(&text)?;
        Some(Rights { whose, uid: id("Uid:")?, gid: id("Gid:")?, effective })
    }

    /// What a unit leaves to root; None where there is no unit, or it says more than this understands.
    fn of_unit(root: &Path) -> Option<Rights> {
        let text = units::text(root, UNIT)?;
        let mut effective = None;
        for (key, value) in text.lines().filter_map(|line| line.trim().split_once('=')) {
            match (key.trim(), value.trim()) {
                ("User", user) if !["", "root", "0"].contains(&user) => return None,
                ("CapabilityBoundingSet", value) if value.starts_with('~') => return None,
                ("CapabilityBoundingSet", "") => effective = Some(0),
                ("CapabilityBoundingSet", value) => {
                    let is_named = |capability: &Capability| {
                        value.split_ascii_whitespace().any(|word| word == capability.name())
                    };
                    let named = Capability::ALL.into_iter().filter(is_named);
                    let bits = named.fold(0, |bits, capability| bits | 1 << capability.number());
                    effective = Some(effective.unwrap_or(0) | bits);
                }
                _ => {}
            }
        }
        Some(Rights { whose: UNIT.to_owned(), uid: 0, gid: 0, effective: effective? })
    }

    /// What it would need for the commands of a configuration, and may not do. Reads the files of accounts.
    pub(crate) fn lacking(&self, config: &Config) -> Option<Unpermitted> {
        let mut known = BTreeMap::new();
        let mut is_other = |command: &Command| {
            let account = (command.user.clone(), command.group.clone());
            *known.entry(account).or_insert_with(|| {
                let found = script::account(command).ok().flatten();
                found.is_some_and(|account| (account.uid, account.gid) != (self.uid, self.gid))
            })
        };
        let mut needed = BTreeSet::new();
        let mut example = None;
        config.visit_commands(&mut |what, command| {
            if is_other(command) {
                // It is ended, too, when its time is over.
                needed.extend([Capability::SetUid, Capability::SetGid, Capability::Kill]);
                example.get_or_insert_with(|| {
                    let user = command.user.as_deref().unwrap_or_default();
                    format!("{} runs {} as user {user}", what(), command.program())
                });
            }
        });
        for fifo in config.fifos() {
            let owner = Command { words: Vec::new(), user: fifo.user.clone(), group: fifo.group.clone() };
            if is_other(&owner) {
                // It is given away where it is made, and opened the next time.
                needed.extend([Capability::Chown, Capability::DacOverride]);
                example.get_or_insert_with(|| {
                    let user = fifo.user.as_deref().unwrap_or_default();
                    format!("{} belongs to user {user}", fifo.path.display())
                });
            }
        }
        needed.retain(|capability| self.effective >> capability.number() & 1 == 0);
        let example = example.filter(|_| !needed.is_empty())?;
        Some(Unpermitted { whose: self.whose.clone(), example, lacking: needed })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Strictness;
    use crate::config::load::load_from;
    use crate::syntax::files::MemoryFiles;

    const UNIT_FILE: &str = include_str!("../../examples/lvsd.service");

    fn config(global: &str, instance: &str) -> Config {
        let text = format!(
            "global_defs {{\n{global}\n}}\nvrrp_instance web {{\ninterface eth0\nvirtual_router_id 51\n{instance}\n\
             virtual_ipaddress {{\n10.1.0.99/24\n}}\n}}\n"
        );
        let files = MemoryFiles::new(&[("/k.conf", &text)]);
        load_from(&files, Path::new("/k.conf"), Strictness::Strict).config.unwrap()
    }

    #[test]
    fn a_command_of_another_user_is_reported_with_the_lacking_right_and_the_line_that_grants_it() {
        let rights = |effective| Rights { whose: "lvsd (pid 7)".to_owned(), uid: 0, gid: 0, effective };
        let nobody = config("script_user nobody", "notify_master /bin/true");
        let said = rights(1 << 12).lacking(&nobody).unwrap().to_string();
        assert_eq!(
            said,
            "notify_master of vrrp_instance web runs /bin/true as user nobody, which lvsd (pid 7) may not do: it \
             lacks CAP_KILL, CAP_SETGID and CAP_SETUID; add `CapabilityBoundingSet=CAP_KILL CAP_SETGID CAP_SETUID` \
             to [Service] of its unit (systemctl edit lvsd.service) and restart it"
        );
        assert_eq!(rights(u64::MAX).lacking(&nobody), None);
        let own = config("script_user root", "notify_master /bin/true");
        assert_eq!(rights(1 << 12).lacking(&own), None, "it is root's");
        let fifo = config("vrrp_notify_fifo /run/x", "");
        assert_eq!(rights(1 << 12).lacking(&fifo), None);
    }

    #[test]
    fn the_unit_and_what_is_dropped_in_beside_it_say_what_lvsd_will_be_allowed() {
        let root = std::env::temp_dir().join(format!("lvsd-rights-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(Rights::of_unit(&root), None);
        put("usr/lib/systemd/system/lvsd.service", UNIT_FILE);
        let nobody = config("script_user nobody", "notify_master /bin/true");
        let lacking = || Rights::of_unit(&root).unwrap().lacking(&nobody).map(|found| found.lacking);
        assert_eq!(lacking(), None, "the unit that is shipped is enough");
        put("etc/systemd/system/lvsd.service", "[Service]\nCapabilityBoundingSet=CAP_NET_ADMIN CAP_KILL\n");
        assert_eq!(lacking(), Some([Capability::SetGid, Capability::SetUid].into()));
        put("etc/systemd/system/lvsd.service.d/a.conf", "[Service]\nCapabilityBoundingSet=CAP_SETUID\n");
        assert_eq!(lacking(), Some([Capability::SetGid].into()));
        put("run/systemd/system/lvsd.service.d/b.conf", "[Service]\nCapabilityBoundingSet=\n");
        assert_eq!(lacking().map(|all| all.len()), Some(3));
        put("run/systemd/system/lvsd.service.d/c.conf", "[Service]\nUser=lvsd\n");
        assert_eq!(Rights::of_unit(&root), None, "what it is left cannot be told");
        fs::remove_dir_all(&root).unwrap();
    }
}
