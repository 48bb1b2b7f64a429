//! lvsd's rtnetlink passes, against this kernel, the conformance suite that the host in memory passes in the unit
//! tests, with `ip` as judge of what was written; macvlans get and give back the settings they need, also by a
//! second life that only finds them; lost events are reported; a missing capability is named.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lvsd::internals::net::conformance::{self, Meddling, Subject};
use lvsd::internals::net::sysctl;
use lvsd::internals::net::{
    Address, Hop, Host, HostEvent, LinkIndex, MacAddress, Op, PROTOCOL, Prefix, Refusal, Route, Rule,
    RuleAction, Vmac,
};
use lvsd::internals::net::{FILTER_PRIORITIES, MarkFilter, ServiceAddress, changes};
use lvsd::internals::net::{Kernel, Watch, WatchBatch};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use tokio::runtime::{Builder, Runtime};

use crate::lab::host::set_sysctls;
use crate::lab::{Lab, Verdict, claim, judge, same};

/// More changes than the receive buffer holds events of.
const FLOOD: u32 = 12_000;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    judge::modprobe(&["macvlan"])?;
    let host = lab.host("d2")?;
    let claims = host.enter(|| conformance::run(&mut Live::open()?, "eth0"))?;
    lab.step(format!("{claims} claims hold"));

    lab.step("what was written, as ip reads it");
    host.enter(written)?;

    lab.step("macvlans and their settings");
    host.enter(macvlans)?;

    lab.step("marks at a link's ingress, as tc reads them, between filters of others");
    host.enter(ingress_marks)?;

    lab.step("neighbours are looked up, and told");
    host.enter(neighbours)?;

    lab.step("lost events are reported");
    host.enter(flood)?;

    lab.step("a missing capability is named");
    host.enter(unprivileged)
}

/// This kernel, asked and heard by one thread.
struct Live {
    kernel: Kernel,
    watch: Watch,
    runtime: Runtime,
    heard: Vec<HostEvent>,
}

impl Live {
    fn open() -> Result<Live, String> {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let watch = {
            let _inside = runtime.enter();
            Watch::open()?
        };
        let mut this = Live { kernel: Kernel::open()?, watch, runtime, heard: Vec::new() };
        let host = this.kernel.host()?;
        this.watch.learn(&host);
        Ok(this)
    }

    fn hear(&mut self, limit: Duration) -> Result<Option<WatchBatch>, String> {
        let watch = &mut self.watch;
        self.runtime.block_on(async {
            match tokio::time::timeout(limit, watch.next()).await {
                Ok(told) => told.map(Some),
                Err(_) => Ok(None),
            }
        })
    }
}

impl Subject for Live {
    fn apply(&mut self, ops: &[Op]) -> Vec<Refusal> {
        self.kernel.apply(ops)
    }

    fn host(&mut self) -> Result<Host, String> {
        self.kernel.host_with_routes(&[PROTOCOL, 4].into())
    }

    fn next_event(&mut self) -> Result<Option<HostEvent>, String> {
        while self.heard.is_empty() {
            match self.hear(Duration::from_secs(1))? {
                None => return Ok(None),
                Some(WatchBatch::Lost) => return Err("events were lost".into()),
                Some(WatchBatch::Events(events)) => self.heard = events,
            }
        }
        Ok(Some(self.heard.remove(0)))
    }

    fn meddle(&mut self, what: &Meddling<'_>) -> Result<(), String> {
        let (of, text);
        let arguments: Vec<&str> = match what {
            Meddling::MakeLink(link) => {
                judge::run(&["ip", "link", "add", link, "type", "dummy"])?;
                vec!["link", "set", link, "up"]
            }
            Meddling::RemoveLink(link) => vec!["link", "del", link],
            Meddling::Switch(link, is_on) => vec!["link", "set", link, if *is_on { "up" } else { "down" }],
            Meddling::Promote(link, promotes) => {
                of = conf(link, "promote_secondaries");
                return set_sysctls(&[(&of, if *promotes { "1" } else { "0" })]);
            }
            Meddling::Add(link, prefix) => {
                text = prefix.to_string();
                vec!["addr", "add", &text, "dev", link]
            }
            Meddling::Remove(link, prefix) => {
                text = prefix.to_string();
                vec!["addr", "del", &text, "dev", link]
            }
        };
        judge::run(&[&["ip"], arguments.as_slice()].concat()).map(drop)
    }
}

fn written() -> Verdict {
    let mut kernel = Kernel::open()?;
    let vip = Address {
        broadcast: Some([10, 1, 0, 255].into()),
        label: Some("eth0:vip".into()),
        preferred_lifetime: Some(0),
        flags: 0x200,
        ..address("10.1.0.100/24")?
    };
    let vip6 = Address { flags: 2, preferred_lifetime: Some(0), ..address("fd00:1::100/128")? };
    let plain = Route {
        source: Some([10, 1, 0, 100].into()),
        tos: 8,
        table: 1000,
        metric: Some(7),
        metrics: BTreeMap::from([(2, 1400), (8, 1300), (11, 20), (14, 30)]),
        ..Route::plain(prefix("10.9.0.0/16")?, vec![hop("10.1.0.1", 3)?, hop("10.1.0.2", 1)?])
    };
    let through_ipv6 = Route {
        destination: prefix("10.10.0.0/16")?,
        source: None,
        tos: 0,
        metrics: BTreeMap::new(),
        hops: vec![hop("fd00:1::1", 1)?],
        ..plain.clone()
    };
    let rule = Rule {
        is_inverted: true,
        from: Some(prefix("10.8.0.0/16")?),
        tos: 8,
        fwmark: Some((7, 0xff)),
        input_link: Some("eth0".into()),
        uids: Some((1000, 1999)),
        ip_protocol: Some(6),
        destination_ports: Some((80, 81)),
        suppress_prefix_length: Some(0),
        priority: Some(4000),
        ..Rule::plain(false, RuleAction::Table(1000))
    };
    let (plain, through_ipv6, rule) = (Arc::new(plain), Arc::new(through_ipv6), Arc::new(rule));
    let refused = kernel.apply(&[
        Op::AddAddress(Arc::new(vip)),
        Op::AddAddress(Arc::new(vip6)),
        Op::AddRoute(plain.clone()),
        Op::AddRoute(through_ipv6.clone()),
        Op::AddRule(rule.clone()),
    ]);
    same("what was refused", &refused, &Vec::new())?;
    let shown = |command: &[&str], words: &[&str]| -> Verdict {
        let text = judge::run(command)?.split_whitespace().collect::<Vec<_>>().join(" ");
        words.iter().try_for_each(|w| claim(text.contains(w), || format!("{command:?}: no {w:?} in {text}")))
    };
    let all = "inet 10.1.0.100/24 brd 10.1.0.255 scope global secondary deprecated noprefixroute eth0:vip";
    shown(&["ip", "-4", "addr", "show", "dev", "eth0"], &[all])?;
    let all = "inet6 fd00:1::100/128 scope global nodad deprecated valid_lft forever preferred_lft 0sec";
    shown(&["ip", "-6", "addr", "show", "dev", "eth0"], &[all])?;
    let all = [
        // The name of a TOS depends on the files of iproute2.
        "10.9.0.0/16 tos",
        "proto keepalived src 10.1.0.100 metric 7 mtu 1400 advmss 1300 initcwnd 20 initrwnd 30",
        "nexthop via 10.1.0.1 dev eth0 weight 3",
        "nexthop via 10.1.0.2 dev eth0 weight 1",
        "10.10.0.0/16 via inet6 fd00:1::1 dev eth0 proto keepalived metric 7",
    ];
    shown(&["ip", "route", "show", "table", "1000"], &all)?;
    let all = "fwmark 0x7/0xff iif eth0 uidrange 1000-1999 ipproto tcp dport 80-81 lookup 1000 \
               suppress_prefixlength 0";
    shown(&["ip", "rule", "show"], &["4000: not from 10.8.0.0/16 tos", all])?;
    let eth0 = index(&mut kernel, "eth0")?;
    let refused = kernel.apply(&[
        Op::RemoveRule(rule),
        Op::RemoveRoute(through_ipv6),
        Op::RemoveRoute(plain),
        Op::RemoveAddress { link: eth0, prefix: prefix("10.1.0.100/24")? },
        Op::RemoveAddress { link: eth0, prefix: prefix("fd00:1::100/128")? },
    ]);
    same("what was refused", &refused, &Vec::new())?;
    let left = judge::run(&["ip", "rule", "show"])?;
    claim(!left.contains("4000:"), || format!("the rule stayed: {left}"))
}

fn macvlans() -> Verdict {
    let settings: [(&str, &str, &str, &str); 8] = [
        ("eth0", "arp_ignore", "0", "1"),
        ("eth0", "arp_filter", "0", "1"),
        ("all", "rp_filter", "1", "0"),
        ("eth0", "rp_filter", "0", "1"),
        ("eth1", "rp_filter", "2", "2"),
        ("default", "rp_filter", "0", "1"),
        ("lo", "rp_filter", "0", "1"),
        ("all", "arp_ignore", "0", "0"),
    ];
    let before: Vec<_> = settings.iter().map(|(link, name, value, _)| (conf(link, name), *value)).collect();
    set_sysctls(&before.iter().map(|(name, value)| (name.as_str(), *value)).collect::<Vec<_>>())?;
    let are = |with_macvlan: bool, rows: &[(&str, &str, &str, &str)]| -> Verdict {
        rows.iter().try_for_each(|(link, name, without, with)| {
            let value =
                sysctl::read_of_link("ipv4", link, name).map_err(|e| format!("{link} {name}: {e}"))?;
            same(&format!("{link} {name}"), &value.as_str(), if with_macvlan { with } else { without })
        })
    };
    let vmac = |vrid: u8| {
        let name = format!("vrrp.{vrid}");
        Arc::new(Vmac { name, base: "eth0".into(), mac: [0, 0, 0x5e, 0, 1, vrid], is_ipv6: false })
    };
    let mut first = Kernel::open()?;
    let refused = first.apply(&[Op::AddVmac(vmac(51)), Op::AddVmac(vmac(52))]);
    same("what was refused", &refused, &Vec::new())?;
    are(true, &settings)?;
    let own = [
        ("vrrp.51", "arp_ignore", "1", "1"),
        ("vrrp.51", "accept_local", "1", "1"),
        ("vrrp.51", "rp_filter", "0", "0"),
        ("vrrp.52", "rp_filter", "0", "0"),
        ("vrrp.51", "promote_secondaries", "1", "1"),
    ];
    are(true, &own)?;
    let shown = judge::run(&["ip", "-d", "link", "show", "vrrp.51"])?;
    for words in ["00:00:5e:00:01:33", "macvlan mode private", "addrgenmode none", "vrrp.51@eth0", "UP"] {
        claim(shown.contains(words), || format!("no {words:?} in {shown}"))?;
    }
    let addresses = judge::run(&["ip", "-6", "addr", "show", "dev", "vrrp.51"])?;
    claim(addresses.is_empty(), || format!("an IPv4 macvlan has IPv6 addresses: {addresses}"))?;
    same("what was refused", &first.apply(&[Op::RemoveVmac(vmac(52))]), &Vec::new())?;
    are(true, &settings)?;
    same("what was refused", &first.apply(&[Op::RemoveVmac(vmac(51))]), &Vec::new())?;
    are(false, &settings)?;

    // A life that ends without a word leaves them; the next one finds them and knows.
    same("what was refused", &first.apply(&[Op::AddVmac(vmac(51))]), &Vec::new())?;
    drop(first);
    let mut second = Kernel::open()?;
    same("what was refused", &second.apply(&[Op::AddVmac(vmac(51))]), &Vec::new())?;
    are(true, &settings)?;
    same("what was refused", &second.apply(&[Op::RemoveVmac(vmac(51))]), &Vec::new())?;
    // The links' own filters are still what `all` was: what counts is the larger one.
    let exact: Vec<_> =
        settings.iter().filter(|row| row.1 != "rp_filter" || row.0 == "all").copied().collect();
    are(false, &exact)?;

    judge::run(&["ip", "link", "add", "vrrp.53", "type", "dummy"])?;
    let refused = second.apply(&[Op::AddVmac(vmac(53)), Op::RemoveVmac(vmac(53))]);
    let words = refused.iter().map(|r| r.text.as_str()).collect::<Vec<_>>();
    same("what was refused", &words, &vec!["a link vrrp.53 is there and is no private macvlan on eth0"])?;
    judge::run(&["ip", "link", "del", "vrrp.53"]).map(drop)
}

fn ingress_marks() -> Verdict {
    let mut kernel = Kernel::open()?;
    let eth0 = index(&mut kernel, "eth0")?;
    let target = |ip: &str, protocol, port| -> Result<ServiceAddress, String> {
        Ok(ServiceAddress { ip: ip.parse().map_err(|e| format!("{ip}: {e}"))?, protocol, port })
    };
    let peer = Some(MacAddress([2, 0, 0, 0, 0, 7]));
    let mut all = BTreeSet::new();
    for (number, to) in [
        target("10.1.0.100", 6, Some(80))?,
        target("10.1.0.100", 17, Some(53))?,
        target("10.1.0.100", 132, Some(80))?,
        target("10.1.0.101", 6, None)?,
        target("fd00:1::100", 6, Some(80))?,
        target("fd00:1::100", 17, None)?,
    ]
    .into_iter()
    .enumerate()
    {
        let mark = 0x6c76_0000 + u32::try_from(number).map_err(|e| e.to_string())?;
        all.insert(MarkFilter { from: None, to, mark });
        all.insert(MarkFilter { from: peer, to, mark: 0 });
    }
    same("the filters at first", &kernel.ingress_filters(eth0)?, &(Vec::new(), false))?;
    same("clsact was added", &kernel.add_clsact(eth0), &Ok(true))?;
    same("clsact was there", &kernel.add_clsact(eth0), &Ok(false))?;
    let others = ["tc", "filter", "add", "dev", "eth0", "ingress"];
    let other = |words: &str| judge::run(&[&others[..], &words.split(' ').collect::<Vec<_>>()[..]].concat());
    other("prio 7 protocol ip flower dst_ip 10.9.9.9 action drop")?;
    other("prio 3000 protocol ip flower dst_ip 10.9.9.8 action drop")?;
    let wrong = format!("prio {} protocol ip flower dst_ip 10.9.9.7 action drop", FILTER_PRIORITIES.start());
    other(&wrong)?;

    let take = |kernel: &mut Kernel, wanted: &BTreeSet<MarkFilter>| -> Result<usize, String> {
        let changes = changes(&kernel.ingress_filters(eth0)?.0, wanted, false);
        changes.iter().try_for_each(|change| {
            kernel.change_filter(eth0, change).map_err(|e| format!("{change:?}: {e:?}"))
        })?;
        Ok(changes.len())
    };
    same("changes", &take(&mut kernel, &all)?, &(all.len() + 1))?;
    let (found, has_others) = kernel.ingress_filters(eth0)?;
    let read: BTreeSet<MarkFilter> = found.iter().filter_map(|s| s.filter).collect();
    same("what is read is what was written", &(read, has_others), &(all.clone(), true))?;
    same("changes", &take(&mut kernel, &all)?, &0)?;
    let shown = judge::run(&["tc", "filter", "show", "dev", "eth0", "ingress"])?;
    for words in
        ["dst_port 53", "src_mac 02:00:00:00:00:07", "mark 1819672576 continue", "10.9.9.9", "10.9.9.8"]
    {
        claim(shown.contains(words), || format!("no {words:?} in {shown}"))?;
    }
    claim(!shown.contains("10.9.9.7"), || format!("a foreign filter at our priority: {shown}"))?;
    let one: BTreeSet<MarkFilter> = all.iter().take(1).copied().collect();
    take(&mut kernel, &one)?;
    take(&mut kernel, &BTreeSet::new())?;
    same("what is left", &kernel.ingress_filters(eth0)?, &(Vec::new(), true))?;
    kernel.remove_clsact(eth0)?;
    same("what is left", &kernel.ingress_filters(eth0)?, &(Vec::new(), false))
}

fn neighbours() -> Verdict {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let mut watch = {
        let _inside = runtime.enter();
        Watch::around(true)?
    };
    let mut kernel = Kernel::open()?;
    let link = index(&mut kernel, "eth0")?;
    let ip: IpAddr = "10.1.0.21".parse().map_err(|e| format!("{e}"))?;
    judge::run(&["ip", "neigh", "flush", "dev", "eth0"])?;
    kernel.look_up(&BTreeSet::from([(link, ip)]))?;
    let heard = runtime
        .block_on(async {
            let told = async {
                loop {
                    let WatchBatch::Events(events) = watch.next().await? else { continue };
                    for event in events {
                        if let HostEvent::Neighbour(neighbour) = event {
                            return Ok(neighbour);
                        }
                    }
                }
            };
            tokio::time::timeout(Duration::from_secs(3), told).await.map_err(|e| e.to_string())?
        })
        .map_err(|e: String| e)?;
    same("who was heard", &(heard.link, heard.ip), &(link, ip))?;
    same("the neighbours", &kernel.neighbours()?.contains(&heard), &true)
}

fn flood() -> Verdict {
    let mut live = Live::open()?;
    let eth0 = index(&mut live.kernel, "eth0")?;
    let all = |n: u32| Prefix::host(std::net::Ipv4Addr::from(0x0a40_0000 + n).into());
    let template = address("10.64.0.0/32")?;
    let add = |n| Op::AddAddress(Arc::new(Address { prefix: all(n), ..template.clone() }));
    let adds: Vec<Op> = (0..FLOOD).map(add).collect();
    let removes: Vec<Op> = (0..FLOOD).map(|n| Op::RemoveAddress { link: eth0, prefix: all(n) }).collect();
    same("what was refused", &live.kernel.apply(&adds).len(), &0)?;
    same("addresses", &(live.kernel.host()?.addresses.len() > FLOOD as usize), &true)?;
    same("what was refused", &live.kernel.apply(&removes).len(), &0)?;
    loop {
        match live.hear(Duration::from_secs(1))? {
            Some(WatchBatch::Lost) => break,
            Some(WatchBatch::Events(_)) => {}
            None => return Err(format!("{} changes were told, none was lost", 2 * FLOOD)),
        }
    }
    same("what is told of the past after that", &live.hear(Duration::from_millis(200))?, &None)?;
    let (once, back) = (adds.get(..1).unwrap_or_default(), removes.get(..1).unwrap_or_default());
    same("what was refused", &live.kernel.apply(once).len(), &0)?;
    same("what is told then", &matches!(live.next_event()?, Some(HostEvent::Address(_))), &true)?;
    same("what was refused", &live.kernel.apply(back).len(), &0)
}

fn unprivileged() -> Verdict {
    let sets = capabilities(None).map_err(|e| e.to_string())?;
    let mut fewer = sets;
    fewer.effective.remove(CapabilitySet::NET_ADMIN);
    set_capabilities(None, fewer).map_err(|e| e.to_string())?;
    let mut live = Live::open()?;
    let refused = live.kernel.apply(&[Op::AddAddress(Arc::new(address("10.1.0.100/32")?))]);
    let words = refused.first().map(|r| r.text.clone()).unwrap_or_default();
    claim(words.contains("CAP_NET_ADMIN"), || format!("no capability is named: {refused:?}"))
}

fn index(kernel: &mut Kernel, name: &str) -> Result<LinkIndex, String> {
    kernel.host()?.link(name).map(|link| link.index).ok_or_else(|| format!("no {name}"))
}

fn conf(link: &str, name: &str) -> String {
    format!("net.ipv4.conf.{link}.{name}")
}

fn hop(via: &str, weight: u16) -> Result<Hop, String> {
    let via = Some(via.parse().map_err(|e| format!("{via}: {e}"))?);
    Ok(Hop { via, link: Some("eth0".into()), weight, is_onlink: false })
}

fn prefix(text: &str) -> Result<Prefix, String> {
    let (ip, length) = text.split_once('/').ok_or_else(|| format!("{text}: no length"))?;
    let length = length.parse().map_err(|e| format!("{text}: {e}"))?;
    Ok(Prefix { ip: ip.parse().map_err(|e| format!("{text}: {e}"))?, length })
}

fn address(text: &str) -> Result<Address, String> {
    Ok(Address::plain("eth0", prefix(text)?))
}
