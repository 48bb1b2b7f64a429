//! What is on this host beside its network: firmware, managers of links, units, capabilities, modules. Only read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::daemon::{process, units};
use crate::doctor::environment::{Capability, Environment, Managed, Manager, Unit, is_known};
use crate::net::types::Host;

/// Longest file that is read, in bytes.
const LIMIT: u64 = 8 << 20;

/// All of it. `root` is `/`, or a test's.
pub(super) fn collect(root: &Path, host: &Host, lvsds: &[u32]) -> Environment {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let vendor = read(&at("/sys/class/dmi/id/sys_vendor")).map(|text| text.trim().to_owned());
    let product = read(&at("/sys/class/dmi/id/product_name")).map(|text| text.trim().to_owned());
    let is_container =
        ["/run/.containerenv", "/.dockerenv", "/run/systemd/container"].iter().any(|file| at(file).exists());
    Environment {
        cloud: [vendor, product].into_iter().flatten().find(|name| is_known(name)),
        managed: managed(root, host),
        units: at("/run/systemd/system").is_dir().then(|| directors_units(root)),
        lacking: lvsds.iter().filter_map(|pid| lacking(root, *pid)).collect(),
        commands: Vec::new(),
        modules: modules(root),
        is_container,
    }
}

/// A file's text; None when it is not there, or too long.
fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(LIMIT).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The value of a line `KEY=value`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))
        .map(str::trim)
}

fn managed(root: &Path, host: &Host) -> Vec<Managed> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let mut found = Vec::new();
    let is_no = |word: Option<&str>| word.is_some_and(|word| ["no", "false", "0", "off"].contains(&word));
    let daemon = with_drop_ins(root, "/etc/systemd/networkd.conf");
    let keeps_routes = is_no(value(&daemon, "ManageForeignRoutes"))
        && is_no(value(&daemon, "ManageForeignRoutingPolicyRules"));
    for link in host.links.values().filter(|link| !link.is_loopback) {
        // What systemd-networkd and NetworkManager say of a link, for others to read; gone when they do not run.
        if let Some(state) = read(&at(&format!("/run/systemd/netif/links/{}", link.index.0)))
            && value(&state, "NETWORK_FILE").is_some()
        {
            let file = value(&state, "NETWORK_FILE").map(str::to_owned);
            let text = file.as_deref().map(|file| with_drop_ins(root, file)).unwrap_or_default();
            let keeps = value(&text, "KeepConfiguration");
            found.push(Managed {
                link: link.name.clone(),
                manager: Manager::Networkd,
                file,
                keeps_addresses: keeps
                    .is_some_and(|word| ["yes", "true", "1", "on", "static"].contains(&word)),
                keeps_routes,
            });
        }
        if let Some(state) = read(&at(&format!("/run/NetworkManager/devices/{}", link.index.0)))
            && value(&state, "managed-type").is_some_and(|kind| kind == "full")
        {
            found.push(Managed {
                link: link.name.clone(),
                manager: Manager::NetworkManager,
                file: value(&state, "connection-uuid").map(|id| format!("connection {id}")),
                keeps_addresses: false,
                keeps_routes: false,
            });
        }
    }
    found
}

/// A file of systemd's with what was dropped in beside its name, in the order in which it counts.
fn with_drop_ins(root: &Path, file: &str) -> String {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let mut text = read(&at(file)).unwrap_or_default();
    let (folder, name) = file.rsplit_once('/').unwrap_or(("", file));
    let below = folder.rsplit_once("/systemd").map_or("", |(_, below)| below);
    let mut drop_ins: Vec<_> = ["/usr/lib", "/lib", "/run", "/etc"]
        .iter()
        .flat_map(|top| entries(&at(&format!("{top}/systemd{below}/{name}.d"))))
        .filter(|path| path.extension().is_some_and(|end| end == "conf"))
        .collect();
    drop_ins.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
    for path in drop_ins {
        text.push('\n');
        text.push_str(&read(&path).unwrap_or_default());
    }
    text
}

fn entries(folder: &Path) -> Vec<std::path::PathBuf> {
    fs::read_dir(folder)
        .map(|all| all.flatten().map(|entry| entry.path()).take(1024).collect())
        .unwrap_or_default()
}

fn directors_units(root: &Path) -> Vec<Unit> {
    let at = |path: &str| root.join(path.trim_start_matches('/'));
    let unit = |name: &str| {
        let text = units::text(root, name)?;
        let after = text.lines().filter_map(|line| line.trim().strip_prefix("After="));
        // A link in any target's folder; it leads out of a test's root, so it need not lead anywhere.
        let wanted = entries(&at("/etc/systemd/system"))
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "wants" || end == "requires"));
        let mut wanted = wanted.map(|folder| folder.join(name));
        Some(Unit {
            name: name.to_owned(),
            is_enabled: wanted.any(|link| link.symlink_metadata().is_ok()),
            waits_for_network: after
                .flat_map(str::split_whitespace)
                .any(|unit| unit == "network-online.target"),
        })
    };
    ["lvsd.service", "keepalived.service"].into_iter().filter_map(unit).collect()
}

/// What a process may not do, of what lvsd needs.
fn lacking(root: &Path, pid: u32) -> Option<(u32, BTreeSet<Capability>)> {
    let status = read(&root.join(format!("proc/{pid}/status")))?;
    let effective = process::effective_capabilities(&status)?;
    let lacking = Capability::ALL.into_iter().filter(|capability| effective >> capability.number() & 1 == 0);
    Some((pid, lacking.collect()))
}

/// Names of the modules that the running kernel has, loaded, built in or to be loaded.
fn modules(root: &Path) -> Option<BTreeSet<String>> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let folder = root.join("lib/modules").join(release);
    let mut all = BTreeSet::new();
    for file in ["modules.dep", "modules.builtin"] {
        // Without both, what is not named may be there all the same.
        let text = read(&folder.join(file))?;
        all.extend(text.lines().filter_map(|line| {
            let name = line.split(':').next()?.rsplit('/').next()?.split(".ko").next()?;
            Some(name.replace('-', "_"))
        }));
    }
    let loaded = read(&root.join("proc/modules")).unwrap_or_default();
    all.extend(loaded.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)));
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::types::{Link, LinkIndex};

    #[test]
    fn a_host_is_read_as_its_files_are() {
        let root = std::env::temp_dir().join(format!("lvsd-environment-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("sys/class/dmi/id/sys_vendor", "Amazon EC2\n");
        put(
            "run/systemd/netif/links/2",
            "ADMIN_STATE=configured\nNETWORK_FILE=/run/systemd/network/10-netplan-eth0.network\n",
        );
        put("run/systemd/network/10-netplan-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
        put("run/NetworkManager/devices/3", "[device]\nmanaged-type=full\nconnection-uuid=8-4\n");
        put("run/NetworkManager/devices/2", "[device]\nmanaged-type=unmanaged\n");
        put("etc/systemd/system/lvsd.service", include_str!("../../../examples/lvsd.service"));
        put("etc/systemd/system/multi-user.target.wants/lvsd.service", "");
        put("lib/systemd/system/keepalived.service", "[Unit]\nAfter=network.target\n");
        put("run/systemd/system/x", "");
        put("proc/7/status", "Name:\tlvsd\nCapEff:\t0000000000001000\n");
        let collect = || collect(&root, &host(), &[7, 8]);
        let seen = collect();
        assert_eq!(seen.cloud.as_deref(), Some("Amazon EC2"));
        let said: Vec<_> =
            seen.managed.iter().map(|m| (m.link.as_str(), m.manager, m.keeps_addresses)).collect();
        assert_eq!(said, [("eth0", Manager::Networkd, false), ("eth1", Manager::NetworkManager, false)]);
        let said = seen.units.unwrap();
        let said: Vec<_> =
            said.iter().map(|u| (u.name.as_str(), u.is_enabled, u.waits_for_network)).collect();
        assert_eq!(said, [("lvsd.service", true, true), ("keepalived.service", false, false)]);
        let others = Capability::ALL.into_iter().filter(|capability| *capability != Capability::NetAdmin);
        assert_eq!(seen.lacking, [(7, others.collect())], "8 is gone");
        assert_eq!((seen.modules, seen.is_container), (None, false));

        // What the finding's fix writes.
        put(
            "etc/systemd/network/10-netplan-eth0.network.d/lvsd.conf",
            "[Network]\nKeepConfiguration=static\n",
        );
        put(
            "etc/systemd/networkd.conf.d/lvsd.conf",
            "[Network]\nManageForeignRoutes=no\nManageForeignRoutingPolicyRules=no\n",
        );
        let seen = collect();
        assert!(seen.managed[0].keeps_addresses && seen.managed[0].keeps_routes, "{seen:?}");
        fs::remove_dir_all(&root).unwrap();
    }

    fn host() -> Host {
        let links = [(LinkIndex(2), "eth0"), (LinkIndex(3), "eth1")];
        let links = links.map(|(index, name)| (index, Link::plain(index, name)));
        Host { links: links.into(), ..Host::default() }
    }
}
