//! Checks of a director's environment: its cloud, other programs that manage its links, its units at boot, its
//! capabilities, and the modules of its kernel.

use std::collections::BTreeSet;

use super::{Finding, Fix, Severity, View, first_of};
use crate::config::Config;
use crate::vrrp::settings::Transport;

/// A host, beside its network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    /// The cloud or hypervisor, as its firmware says.
    pub cloud: Option<String>,
    /// Links that other programs configure.
    pub managed: Vec<Managed>,
    /// Units of directors; None: systemd does not run here.
    pub units: Option<Vec<Unit>>,
    /// What running lvsds may not do.
    pub lacking: Vec<(u32, BTreeSet<Capability>)>,
    /// Commands that the lvsds of this host may not run as they are configured, in words with what helps.
    pub commands: Vec<String>,
    /// Schedulers and other parts the kernel has, by their modules' names; None: not known.
    pub modules: Option<BTreeSet<String>>,
    /// Its kernel is another machine's.
    pub is_container: bool,
}

/// What may be lacking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the kernel's words")]
pub(crate) enum Capability {
    Chown,
    DacOverride,
    Kill,
    SetGid,
    SetUid,
    NetAdmin,
    NetRaw,
    IpcLock,
    SysNice,
}

impl Capability {
    /// All of them.
    pub(crate) const ALL: [Capability; 9] = [
        Capability::Chown,
        Capability::DacOverride,
        Capability::Kill,
        Capability::SetGid,
        Capability::SetUid,
        Capability::NetAdmin,
        Capability::NetRaw,
        Capability::IpcLock,
        Capability::SysNice,
    ];

    /// Its number (linux/capability.h).
    pub(crate) fn number(self) -> u8 {
        match self {
            Capability::Chown => 0,
            Capability::DacOverride => 1,
            Capability::Kill => 5,
            Capability::SetGid => 6,
            Capability::SetUid => 7,
            Capability::NetAdmin => 12,
            Capability::NetRaw => 13,
            Capability::IpcLock => 14,
            Capability::SysNice => 23,
        }
    }

    /// The kernel's name for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Capability::Chown => "CAP_CHOWN",
            Capability::DacOverride => "CAP_DAC_OVERRIDE",
            Capability::Kill => "CAP_KILL",
            Capability::SetGid => "CAP_SETGID",
            Capability::SetUid => "CAP_SETUID",
            Capability::NetAdmin => "CAP_NET_ADMIN",
            Capability::NetRaw => "CAP_NET_RAW",
            Capability::IpcLock => "CAP_IPC_LOCK",
            Capability::SysNice => "CAP_SYS_NICE",
        }
    }
}

/// Capabilities as a list in words.
pub(crate) fn names(all: &BTreeSet<Capability>) -> String {
    let names: Vec<&str> = all.iter().map(|capability| capability.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The program that configures a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub(crate) enum Manager {
    Networkd,
    NetworkManager,
}

/// A link that another program configures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Managed {
    pub link: String,
    pub manager: Manager,
    /// Their file for it.
    pub file: Option<String>,
    /// Addresses of others stay (`KeepConfiguration`).
    pub keeps_addresses: bool,
    /// Routes and rules of others stay (`ManageForeignRoutes=no`, `ManageForeignRoutingPolicyRules=no`).
    pub keeps_routes: bool,
}

/// A unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    /// `lvsd.service`.
    pub name: String,
    /// Something wants it at boot.
    pub is_enabled: bool,
    /// It is started after the network is up.
    pub waits_for_network: bool,
}

/// Clouds and hypervisors, by how their firmware begins, and what becomes of addresses that move there.
const CLOUDS: [(&str, Travel); 9] = [
    ("Amazon EC2", Travel::ByApi),
    ("Google", Travel::ByApi),
    ("Microsoft Corporation", Travel::Filtered),
    ("DigitalOcean", Travel::ByApi),
    ("Alibaba Cloud", Travel::ByApi),
    ("OpenStack", Travel::Filtered),
    ("Hetzner", Travel::ByApi),
    ("Oracle", Travel::ByApi),
    ("VMware", Travel::Filtered),
];

/// How an address moves from one machine to another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Travel {
    /// By the cloud's API; no multicast.
    ByApi,
    /// By ARP, once the virtual switch lets it.
    Filtered,
}

/// Whether a vendor's name is one of a cloud or hypervisor that is known to stand in the way.
pub(crate) fn is_known(vendor: &str) -> bool {
    CLOUDS.iter().any(|(name, _)| vendor.starts_with(name))
}

pub(super) fn check(config: &Config, view: &View<'_>, found: &mut Vec<Finding>) {
    found.extend(cloud(config, view));
    found.extend(view.environment.managed.iter().filter_map(|managed| removes(config, view, managed)));
    found.extend(boot(config, view));
    found.extend(capabilities(config, view));
    found.extend(view.environment.commands.iter().map(|command| Finding {
        severity: Severity::Broken,
        what: command.clone(),
        evidence: "CapEff in /proc, or the unit's CapabilityBoundingSet".to_owned(),
        why: "it fails when it is needed, and is not ended when it hangs".to_owned(),
        fix: None,
    }));
    found.extend(schedulers(config, view));
}

fn cloud(config: &Config, view: &View<'_>) -> Option<Finding> {
    let vendor = view.environment.cloud.as_deref()?;
    let (_, travel) = CLOUDS.iter().find(|(name, _)| vendor.starts_with(name))?;
    let is_multicast = |instance: &crate::vrrp::settings::InstanceSettings| {
        matches!(instance.transport, Transport::Multicast(_))
    };
    let first = config.vrrp.instances.first()?;
    let name = &first.name;
    let evidence = format!("this machine's firmware says {vendor}");
    Some(match travel {
        Travel::ByApi if config.vrrp.instances.iter().any(|instance| is_multicast(instance)) => Finding {
            severity: Severity::Warning,
            what: format!("vrrp_instance {name} speaks by multicast in a cloud that carries none"),
            evidence,
            why: "routers that do not hear each other all become Master".to_owned(),
            fix: Some(Fix::ByHand(
                "write unicast_src_ip and unicast_peer in all routers' files; move the address by the cloud's API in \
                 notify_master"
                    .to_owned(),
            )),
        },
        Travel::ByApi => Finding {
            severity: Severity::Hint,
            what: "gratuitous ARP moves no address in this cloud".to_owned(),
            evidence,
            why: "the cloud delivers by its own tables".to_owned(),
            fix: Some(Fix::ByHand("move the address by the cloud's API in notify_master".to_owned())),
        },
        Travel::Filtered => Finding {
            severity: Severity::Hint,
            what: "the virtual switch may drop what names an address it does not know for this machine".to_owned(),
            evidence,
            why: "then no client finds the VIP, although a Master has it".to_owned(),
            fix: Some(Fix::ByHand(
                "allow the VIP for this machine's port (allowed address pairs), and MAC addresses of its own \
                 where use_vmac is \
                 written"
                    .to_owned(),
            )),
        },
    })
}

/// A manager that configures the link again removes what is not in its file.
fn removes(config: &Config, view: &View<'_>, managed: &Managed) -> Option<Finding> {
    let link = &managed.link;
    let instances = || config.vrrp.instances.iter();
    let is_on = |wanted: &String| wanted == link;
    let has_addresses = instances()
        .any(|i| i.addresses.iter().chain(&i.excluded).any(|a| is_on(&a.wanted.link)))
        || config.virtual_servers.iter().filter_map(|s| s.id.address()).any(|ip| {
            view.network.addresses.iter().any(|held| {
                held.prefix.ip == ip
                    && view.network.links.get(&held.link).is_some_and(|shown| shown.name == *link)
            })
        });
    let has_routes = instances().any(|i| {
        let hops = i.routes.iter().flat_map(|route| &route.wanted.hops);
        hops.filter_map(|hop| hop.link.as_ref()).any(is_on)
            || (!i.rules.is_empty() && i.interface.as_ref().is_some_and(is_on))
    });
    let removes_addresses = has_addresses && !managed.keeps_addresses;
    let removes_routes = has_routes && !managed.keeps_routes;
    if !removes_addresses && !removes_routes {
        return None;
    }
    let file = managed.file.as_deref().unwrap_or("a file of its own");
    let (who, missing, fix) = match managed.manager {
        Manager::Networkd if removes_addresses => (
            "systemd-networkd",
            "no KeepConfiguration",
            networkd_fix(link, file),
        ),
        Manager::Networkd => (
            "systemd-networkd",
            "ManageForeignRoutes is not no",
            "mkdir -p /etc/systemd/networkd.conf.d && printf '[Network]\\nManageForeignRoutes=no\\n\
             ManageForeignRoutingPolicyRules=no\\n' > /etc/systemd/networkd.conf.d/lvsd.conf && systemctl restart \
             systemd-networkd"
                .to_owned(),
        ),
        Manager::NetworkManager => (
            "NetworkManager",
            "the link is managed",
            format!(
                "configure {link} by another program, and: printf \
                 '[keyfile]\\nunmanaged-devices=interface-name:{link}\\n' > \
                 /etc/NetworkManager/conf.d/lvsd.conf && nmcli general reload"
            ),
        ),
    };
    let what = if removes_addresses { "VIPs" } else { "routes and rules" };
    Some(Finding {
        severity: Severity::Warning,
        what: format!("{who} removes {what} from {link} whenever it configures it anew"),
        evidence: format!("{link} is configured by {file}: {missing}"),
        why: "what is not in its file is taken for a leftover: at its restart, or when the cable was out, \
         clients lose the \
              VIP until it is put back"
            .to_owned(),
        fix: Some(Fix::ByHand(fix)),
    })
}

/// A drop-in beside the link's file, wherever that one is.
fn networkd_fix(link: &str, file: &str) -> String {
    let name = file.rsplit('/').next().filter(|name| name.ends_with(".network"));
    let Some(name) = name else {
        return format!("write KeepConfiguration=static into [Network] of the file for {link}");
    };
    let folder = format!("/etc/systemd/network/{name}.d");
    format!(
        "mkdir -p {folder} && printf '[Network]\\nKeepConfiguration=static\\n' > {folder}/lvsd.conf && \
         networkctl reload"
    )
}

fn boot(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let Some(units) = &view.environment.units else { return Vec::new() };
    let is_running = view.directors.iter().any(|(name, _)| name == "lvsd");
    let unit = |name: &str| units.iter().find(|unit| unit.name == name);
    let mut found = Vec::new();
    let lvsd = unit("lvsd.service");
    if is_running && !lvsd.is_some_and(|unit| unit.is_enabled) {
        found.push(Finding {
            severity: Severity::Warning,
            what: "nothing starts lvsd at boot".to_owned(),
            evidence: match lvsd {
                Some(_) => "lvsd.service is there, and nothing wants it".to_owned(),
                None => "lvsd runs, and there is no lvsd.service".to_owned(),
            },
            why: "after a reboot this host directs nothing".to_owned(),
            fix: Some(Fix::ByHand(match lvsd {
                Some(_) => "systemctl enable lvsd".to_owned(),
                None => "copy examples/lvsd.service to /etc/systemd/system, then: systemctl enable lvsd"
                    .to_owned(),
            })),
        });
    }
    let keepalived = unit("keepalived.service").filter(|unit| unit.is_enabled);
    if lvsd.is_some_and(|unit| unit.is_enabled) && keepalived.is_some() && !config.virtual_servers.is_empty()
    {
        found.push(Finding {
            severity: Severity::Warning,
            what: "keepalived is started at boot, too".to_owned(),
            evidence: "both lvsd.service and keepalived.service are enabled".to_owned(),
            why: "two directors undo each other's work, unless keepalived's file has no virtual_server"
                .to_owned(),
            fix: Some(Fix::ByHand("systemctl disable --now keepalived".to_owned())),
        });
    }
    if let Some(unit) =
        lvsd.into_iter().chain(keepalived).find(|unit| unit.is_enabled && !unit.waits_for_network)
    {
        let (is_lvsd, name) = (unit.name == "lvsd.service", &unit.name);
        found.push(Finding {
            severity: if is_lvsd { Severity::Hint } else { Severity::Warning },
            what: format!("{name} does not wait for the network at boot"),
            evidence: format!("{name} has no After=network-online.target"),
            why: match is_lvsd {
                true => "checks that cannot be made yet count for nothing, and instances wait in Fault for \
                 their links".to_owned(),
                false => "keepalived may find no address, and stay in Fault".to_owned(),
            },
            fix: Some(Fix::ByHand(format!(
                "mkdir -p /etc/systemd/system/{name}.d && printf '[Unit]\\nWants=network-online.target\\n\
                 After=network-online.target\\n' > /etc/systemd/system/{name}.d/network.conf && systemctl daemon-reload"
            ))),
        });
    }
    found
}

fn capabilities(config: &Config, view: &View<'_>) -> Vec<Finding> {
    let has_routers = !config.vrrp.instances.is_empty();
    let mut found = Vec::new();
    for (pid, lacking) in &view.environment.lacking {
        let fatal: Vec<&str> = lacking
            .iter()
            .filter(|c| **c == Capability::NetAdmin || (has_routers && **c == Capability::NetRaw))
            .map(|c| c.name())
            .collect();
        let late: Vec<&str> = lacking
            .iter()
            .filter(|c| has_routers && [Capability::SysNice, Capability::IpcLock].contains(c))
            .map(|c| c.name())
            .collect();
        let (severity, names, why) = match (fatal.is_empty(), late.is_empty()) {
            (false, _) => (Severity::Broken, fatal, "the kernel refuses what it asks for"),
            (true, false) => (
                Severity::Warning,
                late,
                "on a busy machine advertisements may come too late, and the others take over",
            ),
            (true, true) => continue,
        };
        let names = names.join(" and ");
        let place =
            if view.environment.is_container { "the container's definition (cap_add)" } else { "its unit" };
        found.push(Finding {
            severity,
            what: format!("lvsd (pid {pid}) lacks {names}"),
            evidence: format!("CapEff of /proc/{pid}/status"),
            why: why.to_owned(),
            fix: Some(Fix::ByHand(format!(
                "add {names} to {place}; examples/lvsd.service.d/vrrp.conf has what VRRP needs"
            ))),
        });
    }
    found
}

/// A scheduler that this kernel was built without.
fn schedulers(config: &Config, view: &View<'_>) -> Option<Finding> {
    let modules = view.environment.modules.as_ref().filter(|modules| modules.contains("ip_vs"))?;
    let wanted: BTreeSet<&str> =
        config.virtual_servers.iter().map(|server| server.scheduler.as_str()).collect();
    let missing: Vec<String> = wanted
        .into_iter()
        .filter(|name| !modules.contains(&format!("ip_vs_{name}")))
        .map(str::to_owned)
        .collect();
    (!missing.is_empty()).then(|| Finding {
        severity: Severity::Broken,
        what: format!("the kernel has no scheduler {}", first_of(&missing)),
        evidence: format!(
            "/lib/modules has ip_vs, and no ip_vs_{} for this kernel",
            missing.first().map_or("", String::as_str)
        ),
        why: "its virtual servers cannot be made".to_owned(),
        fix: Some(Fix::ByHand(match view.environment.is_container {
            true => "write another lb_algo, or install the module on the container's host".to_owned(),
            false => "write another lb_algo, or install the kernel's further modules (linux-modules-extra)"
                .to_owned(),
        })),
    })
}
