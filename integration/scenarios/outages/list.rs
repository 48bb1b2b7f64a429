//! The outages.

use std::fs;

use rustix::process::Signal;

use super::files::{checks, real, server, site};
use super::{Net, Outage};
use crate::lab::Verdict;
use crate::lab::host::{Host, set_sysctls};
use crate::lab::judge::output;
use crate::lab::table::load;
use crate::lab::topology::{REAL_SERVERS, SWITCH, batch};
use crate::lab::web::Web;

const RECURS: &str = "another program changes it every";
const HALF_OPEN: &str = "no client completes a connection to 10.1.0.21:80";
const BROKEN_HOST: &str = "lvsd_host_problems{severity=\"broken\"} 1";
const WARNED_HOST: &str = "lvsd_host_problems{severity=\"warning\"} 1";
const METRIC_IDLE: &str = "problem=\"no_new_connections\"} 1";
const METRIC_RECURS: &str = "problem=\"recurring_change\"} 1";
const METRIC_HALF: &str = "problem=\"half_open\"} 1";
const METRIC_ALL_HALF: &str = "problem=\"half_open\"} 3";
const METRIC_PATH: &str =
    "lvsd_real_server_path_good{virtual_server=\"10.1.0.100:80 tcp\",real_server=\"10.1.0.21:80\"} 0";
const METRIC_DOWN: &str = "lvsd_virtual_server_up{virtual_server=\"10.1.0.100:80 tcp\"} 0";

pub(super) fn all() -> Vec<Outage> {
    [network(), firewall(), table(), weights(), ways(), health(), daemons()].into_iter().flatten().collect()
}

fn dr() -> String {
    site("DR", "")
}

/// The clients' link, the VIP, and other hosts that answer for it.
fn network() -> Vec<Outage> {
    let down = "link eth0, which has VIP 10.1.0.100, is switched off";
    let dark = "link eth0, which has VIP 10.1.0.100, has no carrier";
    vec![
        Outage::new(
            "the clients' link is switched off",
            dr(),
            |_| batch(Some("d1"), "link set eth0 down\n"),
            |_| batch(Some("d1"), "link set eth0 up\nroute replace 0.0.0.0/0 via 10.1.0.1\n"),
        )
        .by([down, down, down, BROKEN_HOST]),
        Outage::new(
            "the clients' link has no carrier",
            dr(),
            |_| batch(Some(SWITCH), "link set d1-eth0 down\n"),
            |_| batch(Some(SWITCH), "link set d1-eth0 up\n"),
        )
        .by([dark, dark, dark, BROKEN_HOST]),
        Outage::new(
            "no host has the VIP",
            dr(),
            |_| batch(Some("d1"), "addr del 10.1.0.100/32 dev eth0\n"),
            |_| batch(Some("d1"), "addr add 10.1.0.100/32 dev eth0\n"),
        )
        .by(["no host has VIP 10.1.0.100"; 3].with(WARNED_HOST)),
        Outage::new(
            "the Master's VIP is removed every second",
            vrrp() + &dr(),
            |net| net.every("d1", "ip addr del 10.1.0.101/32 dev eth0"),
            |_| Ok(()),
        )
        .by([
            "another program removed address 10.1.0.101/32",
            "",
            "another program removes what it holds",
            "restored_total",
        ]),
        Outage::new("a real server answers ARP for the VIP", dr(), |_| arp("rs1", "0"), |_| arp("rs1", "1"))
            .by(["real server 10.1.0.21 answers ARP for VIP 10.1.0.100"; 3].with(BROKEN_HOST)),
        Outage::new(
            "another host has the VIP, too",
            dr(),
            |_| batch(Some("d2"), "addr add 10.1.0.100/32 dev eth0\n"),
            |_| batch(Some("d2"), "addr del 10.1.0.100/32 dev eth0\n"),
        )
        .by(["another host has VIP 10.1.0.100, too"; 3].with(BROKEN_HOST)),
        Outage::new(
            "no route to the clients (NAT)",
            site("NAT", ""),
            |_| nat(true).and_then(|()| batch(Some("d1"), "route del 0.0.0.0/0\n")),
            |_| nat(false).and_then(|()| batch(Some("d1"), "route replace 0.0.0.0/0 via 10.1.0.1\n")),
        )
        .by(["no client completes a connection to 10.3.0.21:80"; 3].with(METRIC_ALL_HALF)),
        Outage::new(
            "net.ipv4.ip_forward is 0 (NAT)",
            site("NAT", ""),
            |net| nat(true).and_then(|()| net.director.sysctl(&[("net.ipv4.ip_forward", "0")])),
            |net| nat(false).and_then(|()| net.director.sysctl(&[("net.ipv4.ip_forward", "1")])),
        )
        .by(["net.ipv4.ip_forward is 0"; 3].with(BROKEN_HOST)),
    ]
}

/// What this host's firewall and connection tracking drop.
fn firewall() -> Vec<Outage> {
    let input = "this host's firewall drops what clients send to virtual server 10.1.0.100:80 tcp";
    let full = "the kernel's table of tracked connections is nearly full";
    vec![
        Outage::new(
            "the firewall drops clients (input)",
            dr(),
            |net| net.nft(&rule("input", "tcp dport 80 drop")),
            |net| net.nft("flush ruleset"),
        )
        .by([input; 3].with(BROKEN_HOST)),
        Outage::new(
            "the firewall drops replies (forward, NAT)",
            site("NAT", ""),
            |net| nat(true).and_then(|()| net.nft(&rule("forward", "tcp sport 80 drop"))),
            |net| nat(false).and_then(|()| net.nft("flush ruleset")),
        )
        .by(["this host's firewall drops replies of real server 10.3.0.21:80"; 3].with(BROKEN_HOST)),
        Outage::new(
            "the firewall drops what leaves for real servers",
            dr(),
            |net| net.nft(&rule("output", "tcp dport 80 drop")),
            |net| net.nft("flush ruleset"),
        )
        .by(["takes no new connections: of its real servers 3 are down"; 3].with(METRIC_IDLE)),
        // Who asks for metrics is a new connection, too.
        Outage::new(
            "the table of tracked connections is full",
            dr(),
            |net| {
                net.nft(&rule("input", "ct state invalid accept"))?;
                set_sysctls(&[("net.netfilter.nf_conntrack_max", "1")])
            },
            |net| {
                set_sysctls(&[("net.netfilter.nf_conntrack_max", "65536")])?;
                net.nft("flush ruleset")
            },
        )
        .by([full; 3].with("")),
    ]
}

/// Others in the kernel's table.
fn table() -> Vec<Outage> {
    let left_alone = "in the kernel but not in the configuration";
    vec![
        Outage::new(
            "our service is deleted every second",
            dr(),
            |net| net.every("d1", "ipvsadm -D -t 10.1.0.100:80"),
            |_| Ok(()),
        )
        .by([RECURS; 3].with(METRIC_RECURS)),
        Outage::new(
            "weights are set to 0 every second",
            dr(),
            |net| {
                let command = "for n in 21 22 23; do ipvsadm -e -t 10.1.0.100:80 -r 10.1.0.$n -g -w 0; done";
                net.every("d1", command)
            },
            |_| Ok(()),
        )
        .by([RECURS; 3].with(METRIC_RECURS)),
        Outage::new(
            "a foreign service before ours (all ports)",
            dr().replace(" 80 {\n    delay_loop", " 0 {\n    persistence_timeout 60\n    delay_loop"),
            |net| load(&net.director, "-A -t 10.1.0.100:80 -s rr\n"),
            |_| Ok(()),
        )
        .by([
            left_alone,
            left_alone,
            "a foreign service takes packets of virtual server 10.1.0.100:0 tcp",
            "lvsd_foreign_services 1",
        ]),
        Outage::new(
            "a foreign service by mark before ours",
            dr(),
            |net| {
                load(&net.director, "-A -f 7 -s rr\n")?;
                let mark = rule("prerouting", "ip daddr 10.1.0.100 meta mark set 7");
                net.nft(&mark.replace("priority 0", "priority mangle"))
            },
            |net| net.nft("flush ruleset"),
        )
        .by([
            left_alone,
            left_alone,
            "a foreign service of firewall mark 7 comes before",
            "lvsd_foreign_services 1",
        ]),
    ]
}

/// Real servers that are healthy and take no new connections.
fn weights() -> Vec<Outage> {
    let each =
        |more: &str| server("DR", "", &[21, 22, 23].map(|n| real(&format!("10.1.0.{n}"), more)).concat());
    let pinned = server(
        "DR",
        "    persistence_timeout 600",
        &[21, 22].map(|n| real(&format!("10.1.0.{n}"), "inhibit_on_failure")).concat(),
    );
    vec![
        Outage::new("all weights are 0", each("weight 0"), |_| Ok(()), |_| Ok(()))
            .first()
            .by(["of its real servers 3 are of weight 0 in the configuration"; 3].with(METRIC_IDLE)),
        Outage::new("all real servers are drained", dr(), |net| net.order(&["drain"]), |_| Ok(()))
            .by(["of its real servers 3 are out by an operator's order"; 3].with(METRIC_IDLE)),
        Outage::new("all real servers are at their threshold", each("uthreshold 1"), |_| Ok(()), |_| Ok(()))
            .by(["of its real servers 3 are at the upper threshold"; 3].with(METRIC_IDLE)),
        Outage::new(
            "persistence holds clients at a dead server",
            pinned,
            |net| {
                net.director.sysctl(&[("net.ipv4.vs.expire_quiescent_template", "0")])?;
                net.site.web("rs1")?.set_health_status(500);
                Ok(())
            },
            |net| {
                net.site.web("rs1")?.set_health_status(200);
                Ok(())
            },
        )
        .first()
        .by(["net.ipv4.vs.expire_quiescent_template is 0"; 3].with(WARNED_HOST)),
    ]
}

/// The way to real servers, and back from them.
fn ways() -> Vec<Outage> {
    let pathed = dr().replace("lb_kind DR\n", "lb_kind DR\n    path_check\n");
    let past = server("NAT", "", &[21, 22, 23].map(|n| real(&format!("10.1.0.{n}"), "")).concat());
    vec![
        Outage::new(
            "a prohibit route to the real servers",
            dr(),
            |_| batch(Some("d1"), &[21, 22, 23].map(|n| format!("route add prohibit 10.1.0.{n}\n")).concat()),
            |_| batch(Some("d1"), &[21, 22, 23].map(|n| format!("route del prohibit 10.1.0.{n}\n")).concat()),
        )
        .by(["prohibited by a route of this host"; 3].with(METRIC_IDLE)),
        Outage::new(
            "a blackhole route to one real server",
            dr(),
            |_| batch(Some("d1"), "route add blackhole 10.1.0.21\n"),
            |_| batch(Some("d1"), "route del blackhole 10.1.0.21\n"),
        )
        .by(["blackholed by a route of this host"; 3].with("real_server=\"10.1.0.21:80\"} 0")),
        Outage::new("a real server has no VIP (DR)", dr(), |_| vip("rs1", "del"), |_| vip("rs1", "add"))
            .by([HALF_OPEN; 3].with(METRIC_HALF)),
        Outage::new("the same with path_check", pathed, |_| vip("rs1", "del"), |_| vip("rs1", "add")).by([
            "10.1.0.21:80 of virtual server 10.1.0.100:80 tcp is down: path_check: VIP missing on lo",
            "path_check: VIP missing on lo",
            "real server 10.1.0.21 does not answer packets for VIP 10.1.0.100",
            METRIC_PATH,
        ]),
        Outage::new(
            "rp_filter at the tunnels of real servers (TUN)",
            site("TUN", ""),
            |_| tunnel_filter("1"),
            |_| tunnel_filter("0"),
        )
        .by([HALF_OPEN; 3].with(METRIC_ALL_HALF)),
        Outage::new("real servers answer past the director (NAT)", past, |_| Ok(()), |_| Ok(()))
            .by([HALF_OPEN; 3].with(METRIC_ALL_HALF)),
    ]
}

/// Checks that cannot be made, that are green in spite of all, and servers that are dead.
fn health() -> Vec<Outage> {
    let idle = "takes no new connections: of its real servers 3 are down";
    let sorry = dr().replace("lb_kind DR\n", "lb_kind DR\n    sorry_server 10.1.0.29 80\n");
    vec![
        Outage::new(
            "checks leave from another node's address",
            checks("DR", "bindto 10.1.0.12\n", 80),
            |net| {
                net.site.web("rs1")?.stop();
                Ok(())
            },
            |net| net.site.web("rs1")?.resume(),
        )
        .first()
        .by([
            "bindto 10.1.0.12 is not an address of this host",
            "NOT CHECKED",
            "cannot be checked from here",
            "lvsd_checkers_stale 3",
        ]),
        Outage::new(
            "checks ask another port than clients",
            checks("DR", "", 8080),
            |net| {
                for name in REAL_SERVERS {
                    net.others.push(Web::start_at(&Host::new(name), 8080)?);
                }
                net.webs(stop)
            },
            |net| {
                net.others.clear();
                net.webs(Web::resume)
            },
        )
        .first()
        .by([HALF_OPEN; 3].with(METRIC_ALL_HALF)),
        Outage::new(
            "no file descriptors left",
            dr(),
            |net| net.descriptors(true),
            |net| net.descriptors(false),
        )
        .by(["no file descriptors left", "does not answer", "lvsd runs and does not answer", ""]),
        Outage::new(
            "all real servers are dead from the start",
            dr(),
            |net| net.webs(stop),
            |net| net.webs(Web::resume),
        )
        .first()
        .by([idle; 3].with(METRIC_DOWN)),
        Outage::new("all real servers die", dr(), |net| net.webs(stop), |net| net.webs(Web::resume))
            .by([idle; 3].with(METRIC_DOWN)),
        Outage::new(
            "the application answers 500",
            dr(),
            |net| net.webs(|web| answer(web, 500)),
            |net| net.webs(|web| answer(web, 200)),
        )
        .by(["status 500, wanted 200"; 3].with(METRIC_DOWN)),
        Outage::new(
            "no quorum, and the sorry server is dead",
            sorry,
            |net| {
                net.site.web("sorry")?.stop();
                net.webs(stop)
            },
            |net| {
                net.site.web("sorry")?.resume()?;
                net.webs(Web::resume)
            },
        )
        .by(["no client completes a connection to 10.1.0.29:80"; 3].with(METRIC_DOWN)),
    ]
}

/// lvsd itself, and its peer.
fn daemons() -> Vec<Outage> {
    vec![
        Outage::new("lvsd stands still", dr(), |net| net.signal(Signal::STOP), |_| Ok(())).by([
            "",
            "does not answer",
            "lvsd runs and does not answer",
            "",
        ]),
        Outage::new("lvsd is dead", dr(), |net| net.signal(Signal::KILL), |_| Ok(())).by([
            "",
            "is lvsd running?",
            "no director runs, and the kernel has services",
            "",
        ]),
        Outage::new("the other director has another sync id", sync(51) + &dr(), other_sync, |_| {
            let _ = output(&Host::new("d2"), &["ipvsadm", "--stop-daemon", "master"]);
            output(&Host::new("d2"), &["ipvsadm", "-C"]).map(drop)
        })
        .by(["sends its connections with sync id 52, and this director has 51"; 3].with(WARNED_HOST)),
        Outage::new(
            "the file is broken, the old one is in force",
            dr(),
            |net| {
                fs::write(&net.file, "virtual_server {\n").map_err(|e| e.to_string())?;
                net.signal(Signal::HUP)?;
                crate::lab::wait::pause(crate::lab::wait::seconds(2));
                fs::write(&net.file, dr()).map_err(|e| e.to_string())
            },
            |_| Ok(()),
        )
        .by([
            "reload rejected, nothing changed",
            "last reload: REJECTED",
            "the last reload was rejected",
            "lvsd_last_reload_accepted 0",
        ]),
    ]
}

/// The same words for log, status and doctor, and those of a metric.
trait With {
    fn with(self, metric: &'static str) -> [&'static str; 4];
}

impl With for [&'static str; 3] {
    fn with(self, metric: &'static str) -> [&'static str; 4] {
        let [log, status, doctor] = self;
        [log, status, doctor, metric]
    }
}

/// One rule in one chain of a table of its own.
fn rule(hook: &str, rule: &str) -> String {
    let chain = format!("add chain inet t c {{ type filter hook {hook} priority 0; }}");
    format!("add table inet t; {chain}; add rule inet t c {rule}")
}

fn vrrp() -> String {
    "vrrp_instance A {\n    interface eth0\n    virtual_router_id 51\n    priority 150\n    virtual_ipaddress {\n        \
     10.1.0.101/32 dev eth0\n    }\n}\n"
        .to_owned()
}

/// A director that receives connections while it is Backup.
fn sync(id: u8) -> String {
    format!("global_defs {{\n    lvs_sync_daemon eth1 A id {id}\n}}\n{}", vrrp())
}

/// The other director is Master, and sends its connections.
fn other_sync(net: &mut Net) -> Verdict {
    let other = Host::new("d2");
    output(&other, &["ipvsadm", "--start-daemon", "master", "--mcast-interface", "eth1", "--syncid", "52"])?;
    load(&other, "-A -t 10.1.0.12:80 -s rr\n-a -t 10.1.0.12:80 -r 10.3.0.21:80 -m\n")?;
    nat_of("10.3.0.12")?;
    net.every("c", "curl -s -m 1 http://10.1.0.12/ >/dev/null")
}

fn arp(host: &str, value: &str) -> Verdict {
    Host::new(host).sysctl(&[("net.ipv4.conf.all.arp_ignore", value)])
}

fn vip(host: &str, verb: &str) -> Verdict {
    batch(Some(host), &format!("addr {verb} 10.1.0.100/32 dev lo\n"))
}

fn nat(is_on: bool) -> Verdict {
    nat_of(if is_on { "10.3.0.11" } else { "10.1.0.1" })
}

fn nat_of(gateway: &str) -> Verdict {
    REAL_SERVERS
        .iter()
        .try_for_each(|name| batch(Some(name), &format!("route replace 0.0.0.0/0 via {gateway}\n")))
}

fn tunnel_filter(value: &str) -> Verdict {
    REAL_SERVERS
        .iter()
        .try_for_each(|name| Host::new(name).sysctl(&[("net.ipv4.conf.tunl0.rp_filter", value)]))
}

fn stop(web: &mut Web) -> Verdict {
    web.stop();
    Ok(())
}

fn answer(web: &mut Web, status: u16) -> Verdict {
    web.set_health_status(status);
    Ok(())
}
