//! What generated configurations say: words of virtual servers and virtual routers that Debian's keepalived and lvsd
//! both know, in a place where both mean the same. What they differ in by intention is a row of docs/differences.md, and is
//! not generated.
#![allow(clippy::indexing_slicing)] // by numbers drawn below the length

use super::text::{Statement, block, line};

/// Where generated files find scripts, tracked files and FIFOs; DIRECTOR stands for the host that reads the file.
pub(super) const FOLDER: &str = "/run/differential";
/// Tracked scripts, files and processes by their number.
pub(super) const TRACKED: u8 = 3;

/// A configuration of both sides.
pub(super) fn configuration(rng: &mut fastrand::Rng, schedulers: &[&str], servers: u8) -> Vec<Statement> {
    let mut all = vec![global(rng)];
    let mut groups = Vec::new();
    for n in 0..servers {
        virtual_server(rng, schedulers, n, &mut groups, &mut all);
    }
    routers(rng, &mut all);
    // An order of no meaning, as definitions by name are found wherever they stand; keepalived wants groups, scripts and
    // files before what uses them.
    all.splice(1..1, groups);
    all
}

fn one_in(rng: &mut fastrand::Rng, n: u32) -> bool {
    rng.u32(0..n) == 0
}

fn pick<'a>(rng: &mut fastrand::Rng, words: &[&'a str]) -> &'a str {
    rng.choice(words).copied().unwrap_or_default()
}

/// Adds a statement once in `n` times.
fn sometimes(rng: &mut fastrand::Rng, n: u32, to: &mut Vec<Statement>, words: impl AsRef<str>) {
    if one_in(rng, n) {
        to.push(line(words));
    }
}

fn global(rng: &mut fastrand::Rng) -> Statement {
    let mut all = vec![
        line("router_id \"a director\""),
        line("script_user root"),
        line("enable_script_security"),
        line(format!("notify_fifo {FOLDER}/DIRECTOR/all")),
        line(format!("lvs_notify_fifo {FOLDER}/DIRECTOR/lvs")),
        line(format!("vrrp_notify_fifo {FOLDER}/DIRECTOR/vrrp")),
    ];
    let n = |rng: &mut fastrand::Rng, from, to| rng.u32(from..to);
    if rng.bool() {
        let (tcp, fin, udp) = (n(rng, 1, 9000), n(rng, 1, 900), n(rng, 1, 900));
        all.push(line(format!("lvs_timeouts tcp {tcp} tcpfin {fin} udp {udp}")));
    }
    if rng.bool() {
        let id = n(rng, 0, 256);
        all.push(line(format!(
            "lvs_sync_daemon eth0 id {id} maxlen 1400 port {} ttl {}",
            n(rng, 1000, 9999),
            n(rng, 1, 9)
        )));
    }
    if rng.bool() {
        all.push(block(
            "notification_email",
            vec![line("root@example.com"), line("\"Night Shift <night@example.com>\"")],
        ));
        all.push(line("smtp_server 10.9.9.9 25"));
        all.push(line("smtp_alert off"));
        sometimes(rng, 2, &mut all, "notification_email_from lb@example.com");
        sometimes(rng, 2, &mut all, "smtp_connect_timeout 3");
        sometimes(rng, 2, &mut all, "smtp_helo_name lb.example.com");
    }
    for words in [
        "vrrp_notify_priority_changes true",
        "checker_log_all_failures",
        "no_email_faults",
        "vrrp_garp_master_delay 2",
        "vrrp_garp_master_repeat 2",
        "vrrp_garp_interval 0.001",
        "vrrp_gna_interval 0.002",
        "vrrp_garp_lower_prio_repeat 1",
        "vrrp_mcast_group4 224.0.0.99",
        "vrrp_mcast_group6 ff02::99",
        "vrrp_check_unicast_src",
        "vrrp_skip_check_adv_addr",
        "vrrp_higher_prio_send_advert true",
        "vrrp_lower_prio_no_advert off",
        "vrrp_priority -5",
        "checker_priority -5",
        "vrrp_no_swap",
        "process_names",
        "umask 022",
        "max_auto_priority 50",
        "snmp_socket udp:127.0.0.1:705",
    ] {
        sometimes(rng, 6, &mut all, words);
    }
    if one_in(rng, 2) {
        all.push(line(format!("vrrp_version {}", n(rng, 2, 4))));
    }
    sometimes(rng, 3, &mut all, "rs_init_notifies");
    let first = all.remove(0);
    rng.shuffle(&mut all);
    all.insert(0, first);
    block("global_defs", all)
}

/// The real servers `1..=4` of either family answer; those beyond do not exist.
fn virtual_server(
    rng: &mut fastrand::Rng,
    schedulers: &[&str],
    n: u8,
    groups: &mut Vec<Statement>,
    all: &mut Vec<Statement>,
) {
    let is_six = rng.bool();
    let is_group = one_in(rng, 5);
    let is_marked = !is_group && one_in(rng, 7);
    let is_udp = !is_marked && one_in(rng, 4);
    let kind = pick(rng, &["NAT", "DR", "TUN"]);
    let mut body = Vec::new();
    let is_persistent = !is_udp && rng.bool();
    let heading = if is_group {
        groups.push(group(rng, n, is_six, kind));
        format!("virtual_server group GROUP_{n}")
    } else if is_marked {
        format!("virtual_server fwmark {}", u32::from(n) + 1)
    } else if is_six {
        format!("virtual_server fd00:1::1:{n:x} 80")
    } else {
        format!("virtual_server 10.1.1.{n} 80")
    };
    let scheduler = rng.choice(schedulers).copied().unwrap_or("rr");
    body.push(line(format!("{} {scheduler}", pick(rng, &["lb_algo", "lvs_sched"]))));
    if matches!(scheduler, "sh" | "mh") {
        sometimes(rng, 2, &mut body, format!("{scheduler}-port"));
        sometimes(rng, 2, &mut body, format!("{scheduler}-fallback"));
    } else {
        sometimes(rng, 8, &mut body, format!("flag-{}", rng.clone().u8(1..4)));
    }
    let tunnel = if kind == "TUN" {
        pick(
            rng,
            &[
                "",
                " type ipip",
                " type gre",
                " type gre csum",
                " type gue port 6080",
                " type gue port 6081 nocsum",
            ],
        )
    } else {
        ""
    };
    body.push(line(format!("{} {kind}{tunnel}", pick(rng, &["lb_kind", "lvs_method"]))));
    if is_marked {
        body.push(line(format!("ip_family {}", if is_six { "inet6" } else { "inet" })));
    } else {
        body.push(line(format!(
            "protocol {}",
            if is_udp { pick(rng, &["UDP", "udp"]) } else { pick(rng, &["TCP", "tcp", "SCTP"]) }
        )));
    }
    if is_udp {
        sometimes(rng, 3, &mut body, "ops");
    } else if is_persistent {
        body.push(line(match rng.u8(0..3) {
            0 => "persistence_timeout".to_owned(),
            _ => format!("persistence_timeout {}", rng.u32(1..5000)),
        }));
        if !is_group {
            sometimes(
                rng,
                2,
                &mut body,
                format!("persistence_granularity {}", if is_six { "64" } else { "255.255.255.0" }),
            );
        }
    }
    body.push(line(format!("delay_loop {}", pick(rng, &["1", "2", "3", "1.5"]))));
    let quorum = rng.u8(1..4);
    if rng.bool() {
        body.push(line(format!("quorum {quorum}")));
        sometimes(rng, 2, &mut body, format!("hysteresis {}", rng.clone().u8(0..quorum)));
    }
    for words in [
        "alpha",
        "omega",
        "inhibit_on_failure",
        "weight 2",
        "retry 1",
        "delay_before_retry 1",
        "warmup 1",
        "connect_timeout 2",
        "virtualhost www.example.com",
        "smtp_alert off",
    ] {
        sometimes(rng, 6, &mut body, words);
    }
    let address = |n: u8| if is_six { format!("fd00:1::2:{n:x}") } else { format!("10.1.2.{n}") };
    let port = if is_marked && kind != "NAT" { "" } else { " 80" };
    if rng.bool() {
        body.push(line(format!("sorry_server {}{port}", address(250))));
        sometimes(rng, 3, &mut body, "sorry_server_inhibit");
        if !is_marked {
            sometimes(rng, 5, &mut body, format!("sorry_server_lvs_method {kind}{tunnel}"));
        }
    }
    for real in 1..rng.u8(2..5) {
        body.push(real_server(rng, &format!("{}{port}", address(real)), kind));
    }
    all.push(block(heading, body));
}

fn group(rng: &mut fastrand::Rng, n: u8, is_six: bool, kind: &str) -> Statement {
    let port = if kind == "NAT" || rng.bool() { 80 } else { 81 };
    let mut entries = Vec::new();
    for part in 0..rng.u8(1..4) {
        let at = part * 16;
        entries.push(line(match (is_six, rng.u8(0..3)) {
            (false, 0) => format!("10.1.{}.{}-{} {port}", u32::from(n) + 20, at + 1, at + rng.u8(2..9)),
            (false, 1) => format!("10.1.{}.{}/30 {port}", u32::from(n) + 20, at),
            (true, 0) => {
                format!("fd00:1::{:x}:{:x}-{:x} {port}", u32::from(n) + 32, at + 1, at + rng.u8(2..9))
            }
            (false, _) => format!("10.1.{}.{} {port}", u32::from(n) + 20, at + 1),
            (true, _) => format!("fd00:1::{:x}:{:x} {port}", u32::from(n) + 32, at + 1),
        }));
    }
    block(format!("virtual_server_group GROUP_{n}"), entries)
}

fn real_server(rng: &mut fastrand::Rng, at: &str, kind: &str) -> Statement {
    let mut body = Vec::new();
    sometimes(rng, 2, &mut body, format!("weight {}", rng.clone().u32(0..9)));
    if one_in(rng, 4) {
        let upper = rng.u32(10..10_000);
        body.push(line(format!("uthreshold {upper}")));
        body.push(line(format!("lthreshold {}", rng.u32(1..upper))));
    }
    sometimes(rng, 8, &mut body, format!("lvs_method {kind}"));
    sometimes(rng, 8, &mut body, "inhibit_on_failure");
    sometimes(rng, 8, &mut body, "virtualhost real.example.com");
    sometimes(rng, 8, &mut body, "smtp_alert off");
    let common = |rng: &mut fastrand::Rng, body: &mut Vec<Statement>| {
        for words in ["connect_timeout 2", "delay_loop 2", "warmup 0", "log_all_failures"] {
            sometimes(rng, 6, body, words);
        }
        // What fails once has failed.
        body.push(line("retry 1"));
        body.push(line("delay_before_retry 1"));
        body.push(line("connect_port 80"));
    };
    match rng.u8(0..4) {
        0 => {
            let mut check = Vec::new();
            common(rng, &mut check);
            body.push(block("TCP_CHECK", check));
        }
        1 | 2 => {
            let mut check = Vec::new();
            common(rng, &mut check);
            let mut url = vec![line("path /health")];
            sometimes(rng, 2, &mut url, "status_code 200");
            sometimes(rng, 4, &mut url, "digest d36f8f9425c4a8000ad9c4a97185aca5");
            sometimes(rng, 4, &mut url, "virtualhost url.example.com");
            check.push(block("url", url));
            sometimes(rng, 4, &mut check, "http_protocol 1.1");
            body.push(block("HTTP_GET", check));
        }
        _ => {}
    }
    block(format!("real_server {at}"), body)
}

/// Virtual routers of these numbers and names; none has a competitor.
fn routers(rng: &mut fastrand::Rng, all: &mut Vec<Statement>) {
    for n in 0..TRACKED {
        let mut script = vec![line(format!(
            "script {}",
            pick(rng, &["\"FOLDER/script-N 0\"", "FOLDER/script-N"])
                .replace("FOLDER", FOLDER)
                .replace('N', &n.to_string())
        ))];
        script.push(line("interval 1"));
        script.push(line(format!("rise {}", rng.u8(1..3))));
        script.push(line(format!("fall {}", rng.u8(1..3))));
        sometimes(rng, 2, &mut script, "timeout 1");
        sometimes(rng, 2, &mut script, format!("weight {}", rng.clone().i32(-60..60)));
        sometimes(rng, 4, &mut script, "user root root");
        all.push(block(format!("vrrp_script SCRIPT_{n}"), script));
        let mut file = vec![line(format!("file {FOLDER}/number-{n}"))];
        sometimes(rng, 2, &mut file, format!("weight {}", rng.clone().i32(-9..9)));
        all.push(block(format!("{} FILE_{n}", pick(rng, &["track_file", "vrrp_track_file"])), file));
        let mut process = vec![line(format!("process judged-{n}"))];
        sometimes(rng, 2, &mut process, format!("weight {}", rng.clone().i32(-60..60)));
        sometimes(rng, 2, &mut process, "quorum 1");
        sometimes(rng, 3, &mut process, "delay 1");
        all.push(block(format!("vrrp_track_process PROCESS_{n}"), process));
    }
    if one_in(rng, 3) {
        all.push(block(
            "static_ipaddress",
            vec![line("10.5.0.1/24 dev eth1 scope link"), line("fd00:5::1/64 dev eth1")],
        ));
        all.push(block(
            "static_routes",
            vec![line("10.6.0.0/16 via 10.1.0.254 dev eth0 metric 7"), line("blackhole 10.7.0.0/16")],
        ));
        all.push(block("static_rules", vec![line("from 10.5.0.0/24 table 77 priority 7700")]));
    }
    let mut groups: [Vec<Statement>; 2] = Default::default();
    let instances = rng.u8(1..6);
    for n in 0..instances {
        let name = format!("VI_{n}");
        let in_group = if one_in(rng, 2) { groups.get_mut(rng.usize(0..2)) } else { None };
        let is_grouped = in_group.is_some();
        if let Some(group) = in_group {
            group.push(line(&name));
        }
        let body = instance(rng, n, is_grouped);
        all.push(block(format!("vrrp_instance {name}"), body));
    }
    for (n, members) in groups.into_iter().enumerate() {
        // A group of one is a group, and a warning.
        if members.len() > 1 {
            let mut body = vec![block("group", members)];
            tracks(rng, &mut body, false);
            sometimes(rng, 4, &mut body, "smtp_alert off");
            sometimes(rng, 4, &mut body, "global_tracking");
            all.push(block(format!("vrrp_sync_group VG_{n}"), body));
        }
    }
}

fn instance(rng: &mut fastrand::Rng, n: u8, _is_grouped: bool) -> Vec<Statement> {
    let is_six = one_in(rng, 3);
    let mut body = vec![
        line(format!("state {}", pick(rng, &["BACKUP", "MASTER"]))),
        line("interface eth0"),
        line(format!("virtual_router_id {}", 10 + n)),
        line(format!("priority {}", rng.u8(1..255))),
        line(format!("advert_int {}", rng.u8(1..3))),
    ];
    if is_six {
        sometimes(rng, 3, &mut body, "native_ipv6");
    } else {
        sometimes(rng, 3, &mut body, format!("version {}", rng.clone().u8(2..4)));
    }
    let is_password = !is_six && body.iter().all(|l| l.words != ["version", "3"]) && one_in(rng, 3);
    if is_password {
        body.push(line("version 2"));
        body.push(block("authentication", vec![line("auth_type PASS"), line("auth_pass secret")]));
        let mut versions = 0;
        body.retain(|l| {
            l.words[0] != "version" || {
                versions += 1;
                versions == 1
            }
        });
        for l in &mut body {
            if l.words[0] == "version" {
                l.words[1] = "2".to_owned();
            }
        }
    }
    for words in [
        "nopreempt",
        "accept",
        "preempt_delay 1",
        "garp_master_delay 1",
        "garp_master_refresh 5",
        "garp_lower_prio_delay 1",
        "dont_track_primary",
        "track_src_ip",
        "smtp_alert off",
        "debug 2",
        "notify_priority_changes true",
        "higher_prio_send_advert true",
        "skip_check_adv_addr",
    ] {
        sometimes(rng, 7, &mut body, words);
    }
    if body.iter().any(|l| l.words[0] == "nopreempt" || l.words[0] == "preempt_delay") {
        body[0] = line("state BACKUP");
        body.retain(|l| l.words[0] != "preempt_delay");
    }
    if one_in(rng, 4) {
        let (own, peer) = if is_six { ("fd00:1::11", "fd00:1::99") } else { ("10.1.0.11", "10.1.0.99") };
        body.push(line(format!("unicast_src_ip {own}")));
        body.push(block("unicast_peer", vec![line(peer)]));
    } else if !is_six {
        sometimes(rng, 4, &mut body, "mcast_src_ip 10.1.0.11");
    }
    let mut vips = Vec::new();
    for v in 0..rng.u8(1..4) {
        vips.push(line(match (is_six, rng.u8(0..5)) {
            (true, 0) if v > 0 => format!("fd00:1::9:{n:x}{v:x}/64 dev eth1"),
            (true, 1) if v > 0 => format!("fd00:1::9:{n:x}{v:x}/128 preferred_lft 0"),
            (true, _) if v > 0 => format!("fd00:1::9:{n:x}{v:x}"),
            (true, _) => format!("fe80::9:{n:x}"),
            (false, 0) => format!("10.1.9.{}/24 dev eth1 label eth1:{n}{v}", n * 8 + v),
            (false, 1) => format!("10.1.9.{}/32 brd 10.1.9.255 scope global", n * 8 + v),
            (false, 2) => format!("10.1.9.{}/24 brd + dev eth0 scope link", n * 8 + v),
            (false, 3) => format!("10.1.9.{} noprefixroute", n * 8 + v),
            (false, _) => format!("10.1.9.{}", n * 8 + v),
        }));
    }
    body.push(block("virtual_ipaddress", vips));
    if one_in(rng, 3) {
        body.push(block(
            "virtual_ipaddress_excluded",
            vec![line(format!("10.1.10.{n}/32 dev eth1")), line(format!("fd00:1::a:{n:x}/64 dev eth0"))],
        ));
    }
    if one_in(rng, 3) {
        let mut routes = vec![line(format!("10.20.{n}.0/24 via 10.1.0.254 dev eth0"))];
        for words in [
            "blackhole 10.21.N.0/24",
            "10.22.N.0/24 dev eth1 scope link",
            "10.23.N.0/24 via 10.1.0.254 metric 9 table 55 mtu 1400 advmss 1360",
            "unreachable 10.24.N.0/24 metric 3",
            "fd00:24:N::/64 via fd00:1::254 dev eth0",
            "10.25.N.0/24 nexthop via 10.1.0.254 dev eth0 weight 2 nexthop via 10.1.0.253 dev eth0 weight 3",
        ] {
            sometimes(rng, 3, &mut routes, words.replace('N', &n.to_string()));
        }
        body.push(block("virtual_routes", routes));
    }
    if one_in(rng, 3) {
        let mut rules = vec![line(format!("from 10.30.{n}.0/24 table 100 priority {}", 3000 + u32::from(n)))];
        for (at, words) in [
            "to 10.31.N.0/24 lookup 101",
            "iif eth1 fwmark 0x1/0xff table 102",
            "from 10.32.N.0/24 blackhole",
            "inet6 from fd00:33:N::/64 table 103",
            "ipproto tcp dport 80-81 table 104",
            "not from 10.34.N.0/24 unreachable",
        ]
        .iter()
        .enumerate()
        {
            let priority = 4000 + u32::from(n) * 10 + u32::try_from(at).unwrap_or(0);
            sometimes(
                rng,
                3,
                &mut rules,
                format!("{} priority {priority}", words.replace('N', &n.to_string())),
            );
        }
        body.push(block("virtual_rules", rules));
    }
    tracks(rng, &mut body, true);
    body
}

/// What an instance or a group tracks.
fn tracks(rng: &mut fastrand::Rng, body: &mut Vec<Statement>, is_instance: bool) {
    let weight = |rng: &mut fastrand::Rng| match rng.u8(0..3) {
        0 if is_instance => format!(" weight {}", rng.i32(-40..40)),
        _ => String::new(),
    };
    for (word, name) in [
        ("track_interface", "eth"),
        ("track_script", "SCRIPT_"),
        ("track_file", "FILE_"),
        ("track_process", "PROCESS_"),
    ] {
        if !one_in(rng, if is_instance { 3 } else { 5 }) {
            continue;
        }
        let mut lines = Vec::new();
        for n in 0..TRACKED {
            if rng.bool() || lines.is_empty() && n + 1 == TRACKED {
                lines.push(line(format!("{name}{n}{}", weight(rng))));
            }
        }
        body.push(block(word, lines));
    }
}
