use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::syntax::files::MemoryFiles;
use crate::syntax::keyword::Support;

/// The other files that configurations of the corpus look for.
fn beside() -> Vec<(PathBuf, Vec<u8>)> {
    let addresses =
        ["192.0.2.1", "192.0.2.200", "192.168.1.129", "192.168.2.108", "192.168.2.188", "192.168.177.191"];
    let addresses: String = addresses.iter().map(|a| format!("  |-- {a}\n     /32 host LOCAL\n")).collect();
    vec![
        ("/links/eth0".into(), Vec::new()),
        ("/links/lo".into(), b"65536".to_vec()),
        ("/proc/net/fib_trie".into(), addresses.into_bytes()),
        ("/usr/local/src/nginx_check.sh".into(), b"#!/bin/sh\n".to_vec()),
    ]
}

fn files(name: &Path, text: &[u8]) -> MemoryFiles {
    MemoryFiles(beside().into_iter().chain([(name.to_owned(), text.to_vec())]).collect())
}

fn converted(from: Language, text: &[u8]) -> Result<Converted, Failure> {
    let (name, to) = match from {
        Language::Keepalived => ("/etc/k.conf", "/etc/k.yaml"),
        Language::Yaml => ("/etc/k.yaml", "/etc/k.conf"),
    };
    convert(&files(Path::new(name), text), Path::new(name), from, Path::new(to), &Reading::default())
}

fn corpus() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "examples",
        "integration/diagnostics",
        "integration/fixes",
        "integration/conversions",
        "integration/scenarios/same_table",
        "integration/scenarios/languages",
    ];
    let mut paths: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(root.join(folder)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf" || e == "yaml"))
        .collect();
    paths.sort();
    paths
}

/// The configuration there and back; None where it cannot be run.
fn there_and_back(path: &Path, wrong: &mut String) -> Option<bool> {
    let name = path.display();
    let from = language_of(path);
    let text = fs::read(path).unwrap();
    let there = match converted(from, &text) {
        Ok(there) => there,
        Err(Failure::Unreadable(_)) => return None,
        Err(failure) => {
            wrong.push_str(&format!("{name}: {}\n", described(&failure)));
            return Some(false);
        }
    };
    if there.has_lost() {
        let lost = there.left.iter().filter(|left| left.kind == Kind::Lost);
        wrong.push_str(&format!("{name}: {:#?}\n{}", lost.collect::<Vec<_>>(), there.text));
        return Some(false);
    }
    let other = match from {
        Language::Keepalived => Language::Yaml,
        Language::Yaml => Language::Keepalived,
    };
    match converted(other, there.text.as_bytes()) {
        Ok(back) if back.has_lost() => {
            let lost = back.left.iter().filter(|left| left.kind == Kind::Lost);
            wrong.push_str(&format!(
                "{name}, back: {:#?}\n{}{}",
                lost.collect::<Vec<_>>(),
                there.text,
                back.text
            ));
        }
        Ok(back) => {
            let (first, last) = (there.before.config.as_ref().unwrap(), back.before.config.as_ref().unwrap());
            if !differences(first, last).is_empty() {
                wrong.push_str(&format!("{name}: not the same\n"));
            }
        }
        Err(failure) => wrong.push_str(&format!("{name}, back: {}\n{}", described(&failure), there.text)),
    }
    Some(true)
}

fn described(failure: &Failure) -> String {
    match failure {
        Failure::Unreadable(loaded) | Failure::Rejected(loaded) => {
            format!("{:#?}\n", loaded.lines(Class::Error)) + &loaded.sources.text(FileId::default())
        }
        Failure::Unwritable => "unwritable".to_owned(),
    }
}

#[test]
fn every_configuration_means_the_same_in_the_other_language() {
    let mut wrong = String::new();
    let mut count = 0;
    // What is for some nodes only cannot be carried, nor can one virtual router with addresses of both families: in YAML
    // they are two.
    let others = ["nodes.conf", "vrrp-addresses.conf"];
    let is_whole =
        |path: &PathBuf| path.file_name().is_none_or(|name| others.iter().all(|other| name != *other));
    for path in corpus().into_iter().filter(is_whole) {
        count += usize::from(there_and_back(&path, &mut wrong).is_some());
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(count > 60, "{count}");
}

/// A statement of a block within all that it needs; None for a block that is no block of keepalived.conf.
fn around(block: &str, line: &str) -> Option<String> {
    let server = |heading: &str, server: &str, real: &str| {
        format!(
            "virtual_server {heading} {{\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n{server}\nreal_server 10.0.0.1 80 {{\n{real}\n}}\n}}\n"
        )
    };
    let plain = server("192.0.2.99 80", "", "TCP_CHECK {\n}");
    let instance = |more: &str| {
        format!(
            "vrrp_script chk {{\nscript /bin/true\n}}\ntrack_file f {{\nfile /tmp/f\n}}\nvrrp_track_process p {{\nprocess x\n}}\nbfd_instance b {{\nneighbor_ip 192.0.2.200\n}}\nvrrp_instance a {{\ninterface eth0\nvirtual_router_id 5\npriority 100\nvirtual_ipaddress {{\n192.0.2.50/24\n}}\n{more}\n}}\n"
        )
    };
    // What the statement says itself.
    let unless = |usual: &'static str| {
        if line.split(' ').next() == usual.split(' ').next() { "" } else { usual }
    };
    Some(match block {
        root::TOP_LEVEL => format!("{line}\n{}", plain + &instance("")),
        "global_defs" => format!("global_defs {{\n{line}\n}}\n{}", plain + &instance("")),
        "ipvs" => format!("ipvs {{\n{line}\n}}\n{plain}"),
        "SSL" => format!("SSL {{\n{line}\n}}\n{plain}"),
        "virtual_server" => server("192.0.2.10 80", line, "TCP_CHECK {\n}"),
        "real_server" => server("192.0.2.10 80", "", line),
        "url" => {
            server("192.0.2.10 80", "", &format!("HTTP_GET {{\nurl {{\n{}\n{line}\n}}\n}}", unless("path /")))
        }
        "HTTP_GET" | "SSL_GET" => {
            server("192.0.2.10 80", "", &format!("{block} {{\nurl {{\npath /x\n}}\n{line}\n}}"))
        }
        "MISC_CHECK" => server(
            "192.0.2.10 80",
            "",
            &format!("MISC_CHECK {{\n{}\n{line}\n}}", unless("misc_path /bin/true")),
        ),
        "BFD_CHECK" => {
            server("192.0.2.10 80", "", &format!("BFD_CHECK {{\n{}\n{line}\n}}", unless("name b")))
                + &instance("")
        }
        "vrrp_check" => {
            format!("vrrp_check c {{\nTCP_CHECK {{\nconnect_port 80\n}}\n{line}\n}}\n{}", instance(""))
        }
        "FILE_CHECK" => {
            let check = format!("FILE_CHECK {{\n{}\n{line}\n}}", unless("track_file f"));
            server("192.0.2.10 80", "", &check) + &instance("")
        }
        checker if super::super::is_checker(checker) => {
            server("192.0.2.10 80", "", &format!("{checker} {{\n{line}\n}}"))
        }
        "vrrp_instance" => instance(line),
        "authentication" => {
            instance(&format!("authentication {{\nauth_type PASS\nauth_pass abc\n{line}\n}}"))
        }
        "auth_hmac" => instance(&format!(
            "version 3\nauth_hmac {{\nkey 1 ascii:0123456789abcdef0123456789abcdef\n{line}\n}}"
        )),
        "address" => instance(&format!("virtual_ipaddress_excluded {{\n192.0.2.60/24 {line}\n}}")),
        "peer" => instance(&format!("unicast_peer {{\n192.0.2.7 {line}\n}}")),
        "route" => instance(&format!(
            "virtual_routes {{\n{} {} {line}\n}}",
            unless("to 198.51.100.0/24"),
            unless("dev eth0")
        )),
        "rule" => {
            let does = ["nop", "blackhole", "unreachable", "prohibit", "goto", "table"];
            let table = if does.iter().any(|word| line.starts_with(word)) { "" } else { "table 100" };
            let from =
                if line.starts_with("inet6") { "from 2001:db8::/64" } else { unless("from 198.51.100.0/24") };
            instance(&format!("virtual_rules {{\n{from} {table} {line}\n}}"))
        }
        "track" => instance(&format!("track_script {{\nchk {line}\n}}")),
        "vrrp_sync_group" => format!("vrrp_sync_group g {{\ngroup {{\na\n}}\n{line}\n}}\n{}", instance("")),
        "garp_group" => format!("garp_group {{\ninterfaces {{\neth0\n}}\n{line}\n}}\n{}", instance("")),
        "vrrp_script" => {
            format!("vrrp_script s {{\n{}\n{line}\n}}\n{}", unless("script /bin/true"), instance(""))
        }
        "track_file" => format!("track_file t {{\n{}\n{line}\n}}\n{}", unless("file /tmp/t"), instance("")),
        "vrrp_track_process" => {
            format!("vrrp_track_process q {{\n{}\n{line}\n}}\n{}", unless("process y"), instance(""))
        }
        "bfd_instance" => {
            format!("bfd_instance c {{\n{}\n{line}\n}}\n{}", unless("neighbor_ip 192.0.2.201"), instance(""))
        }
        _ => return None,
    })
}

/// What stands behind a keyword whose words have a form of their own.
fn words_of(block: &str, name: &str, takes: &str) -> Option<&'static str> {
    Some(match (block, name) {
        (_, "lb_kind" | "lvs_method" | "sorry_server_lvs_method") => "DR",
        (_, "lb_algo") => "wlc",
        (_, "vrrp_assert") => "\"/bin/true a\" interval 5 timeout 2",
        (_, "protocol") if block == "virtual_server" => "UDP",
        (_, "ip_family") => "inet",
        (_, "persistence_granularity") => "255.255.255.0",
        (_, "sorry_server") => "192.0.2.77 80",
        (_, "lvs_timeouts") => "tcp 900 udp 30",
        (_, "lvs_sync_daemon") => "eth0 a id 5",
        (_, "mark_base") => "0x10000",
        (_, "script_user" | "user") => "root root",
        (_, "notify_fifo" | "lvs_notify_fifo" | "vrrp_notify_fifo") => "/run/fifo root",
        (_, "defaults") => "native",
        (_, "state") => "BACKUP",
        (_, "virtual_router_id") => "7",
        (_, "version" | "vrrp_version") => "2",
        (_, "preempt") => "healthier",
        (_, "use_vmac") => "vrrp.9",
        (_, "weight") => "5 reverse",
        (_, "damping") => "60 3",
        (_, "file") => "/tmp/other",
        (_, "init_file") => "5 overwrite",
        (_, "process") => "nginx master",
        (_, "param_match") => "initial",
        (_, "min_rx" | "min_tx") => "50",
        (_, "idle_tx") => "2000",
        (_, "max_hops") => "3",
        (_, "auth_type") => "AH",
        (_, "auth_pass") => "secret",
        (_, "key") if block == "auth_hmac" => "2 ascii:0123456789abcdef0123456789abcdeF\nactive_key 1",
        (_, "anti_replay") => "monotonic",
        (_, "mode") => "permissive",
        (_, "vrrp_cpu_affinity") => "0 2",
        (_, "vrrp_on_crash") => "hold",
        (_, "garp_extra_if" | "vrrp_garp_extra_if") => "all 10",
        (_, "notification_email_from") => "a@example.com",
        (_, "smtp_server") => "192.0.2.25 26",
        (_, "smtp_helo_name") => "me.example.com",
        (_, "status_code") => "200-204 301",
        (_, "digest") => "0123456789abcdef0123456789abcdef",
        (_, "regex") => "\"^a\\\\\\\\d\\042$\"",
        (_, "regex_options") => "caseless\nregex \"x\"",
        (_, "http_protocol") => "1.1",
        ("DNS_CHECK", "type") => "AAAA",
        ("DNS_CHECK", "expect") => "2001:db8::1",
        (_, "payload") => "00ff",
        (_, "require_reply") => "0xff",
        (_, "no_checker_emails" | "vrrp_skip_check_adv_addr" | "skip_check_adv_addr") => "on",
        (_, "vrrp_vmac_garp_intvl") => "all 10",
        (_, "dynamic_interfaces") => "",
        (_, "vrrp_unicast_peer") => "192.0.2.7",
        ("BFD_CHECK", "name") => "b",
        ("FILE_CHECK", "track_file") => "f",
        (_, "net_namespace" | "net_namespace_ipvs") => "blue",
        ("route", "to") => "default",
        ("route", "from") => "2001:db8:2::/64",
        ("rule", "from") => "203.0.113.0/24",
        ("rule", "table") => "7",
        ("rule", "goto") => "40000",
        ("route" | "next_hop", "via") => "192.0.2.254",
        ("route", "or") => "192.0.2.253",
        ("route", "type") => "unicast",
        ("route", "tos") => "8",
        ("rule", "tos") => "8",
        (
            "route" | "rule",
            "mtu" | "window" | "ssthresh" | "cwnd" | "advmss" | "reordering" | "hoplimit" | "initcwnd"
            | "initrwnd",
        ) => "50",
        ("route", "rtt" | "rttvar" | "rto_min") => "50ms",
        ("route", "features") => "ecn",
        ("route", "quickack") => "1",
        ("rule", "fwmark") => "0x1/0xff",
        ("rule", "uidrange") => "1-5",
        ("rule", "sport" | "dport") => "80-90",
        ("rule", "suppress_prefixlength" | "suppress_ifgroup" | "priority") => "5",
        ("rule", "to") => "203.0.113.0/24",
        ("address", "peer") => "192.0.2.61/32",
        ("address", "preferred_lft") => "forever",
        (_, "interface") => "eth0",
        _ if takes.starts_with("COMMAND") || takes.starts_with("[COMMAND") => "\"/bin/true a\" root",
        _ if takes.is_empty() => "",
        _ => return None,
    })
}

/// What the walk below does not try, and why: all other rows survive both ways.
const NOT_TRIED: &[(&str, &str, &str)] = &[
    ("SSL", "ca", "it needs a file of certificates"),
    ("SSL", "certificate", "it needs a file of a certificate"),
    ("SSL", "key", "it needs a file of a key"),
    ("SSL_GET", "verify", "it needs a file of certificates"),
    ("SSL_GET", "verify_name", "it needs `verify`"),
    ("url", "tls_compliant", "it needs a SSL_GET"),
    ("route", "from", "it is for IPv6"),
];

#[test]
fn every_supported_keyword_survives_both_ways() {
    let mut wrong = String::new();
    let mut tried = 0;
    for row in root::listing() {
        let Some(name) = row.names.first().copied() else { continue };
        let is_supported = matches!(row.support, Support::Supported | Support::Deprecated(_));
        let is_not_tried = NOT_TRIED.iter().any(|(block, word, _)| (*block, *word) == (row.block, name));
        if !is_supported || is_not_tried || matches!(row.form, Form::Unread) {
            continue;
        }
        let value = match row.form {
            Form::Flag { .. } => String::new(),
            Form::Number { min, max, .. } => min.saturating_add(1).min(max).to_string(),
            Form::Time { min, max } => seconds_text((min + std::time::Duration::from_secs(1)).min(max)),
            Form::Text => match name {
                "interface" | "dev" | "oif" | "iif" | "bind_if" => "eth0".to_owned(),
                "table" | "scope" | "protocol" | "ipproto" => "4".to_owned(),
                "label" => "eth0:1".to_owned(),
                "brd" => "+".to_owned(),
                "path" => "/p".to_owned(),
                "sni_name" | "virtualhost" | "verify_name" | "helo_name" => "www.example.com".to_owned(),
                "verify" => "system".to_owned(),
                _ => "some-word".to_owned(),
            },
            Form::Address => match name {
                "vrrp_mcast_group6" => "ff02::99".to_owned(),
                "vrrp_mcast_group4" | "mcast_dst_ip" => "224.0.0.99".to_owned(),
                _ => "192.0.2.44".to_owned(),
            },
            Form::Words { .. } => match words_of(row.block, name, &row.takes) {
                Some(words) => words.to_owned(),
                None => {
                    wrong
                        .push_str(&format!("{} {name}: the test knows no value: {}\n", row.block, row.takes));
                    continue;
                }
            },
            // Blocks and lines are what the other rows stand in.
            Form::Block { .. } | Form::Lines | Form::Unread => continue,
        };
        let line = format!("{name} {value}");
        let needs = match name {
            "sh-port" | "sh-fallback" => "lb_algo sh\n",
            "mh-port" | "mh-fallback" => "lb_algo mh\n",
            "ops" => "protocol UDP\n",
            "lthreshold" => "uthreshold 5\n",
            "vmac_xmit_base" => "use_vmac\n",
            "sorry_server_inhibit" | "sorry_server_lvs_method" => "sorry_server 192.0.2.77 80\n",
            _ => "",
        };
        let Some(text) = around(row.block, &format!("{needs}{line}")) else { continue };
        let at = text.rfind(&line).unwrap();
        let there = match converted(Language::Keepalived, text.as_bytes()) {
            Ok(there) => there,
            Err(failure) => {
                wrong.push_str(&format!("{} {name}: {}\n", row.block, described(&failure)));
                continue;
            }
        };
        tried += 1;
        let is_it = |left: &Left| left.span.is_some_and(|span| span.start as usize == at);
        let is_absent = row.spelling == Yaml::Absent;
        if there.has_lost() || there.left.iter().any(|left| !is_absent && is_it(left)) {
            wrong.push_str(&format!("{} {name}: {:?}\n{}", row.block, there.left, there.text));
            continue;
        }
        match converted(Language::Yaml, there.text.as_bytes()) {
            Ok(back) => {
                let (first, last) =
                    (there.before.config.as_ref().unwrap(), back.before.config.as_ref().unwrap());
                let differences = differences(first, last);
                if back.has_lost() || !differences.is_empty() {
                    wrong.push_str(&format!(
                        "{} {name}, back: {:?} {differences:?}\n{}{}",
                        row.block, back.left, there.text, back.text
                    ));
                }
            }
            Err(failure) => wrong.push_str(&format!("{} {name}, back: {}\n", row.block, described(&failure))),
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(tried > 200, "{tried}");
}

/// Whatever a file says, nothing panics, and what comes out can be read and is what was compared.
#[test]
fn a_changed_file_is_converted_or_refused() {
    let mut refused = String::new();
    let mut done = 0;
    for language in [Language::Keepalived, Language::Yaml] {
        let seeds: Vec<Vec<u8>> = corpus()
            .iter()
            .filter(|path| language_of(path) == language)
            .map(|path| fs::read(path).unwrap())
            .collect();
        let rows = root::listing();
        let words = rows.iter().flat_map(|row| match language {
            Language::Keepalived => row.names.clone(),
            Language::Yaml => row.yaml.clone(),
        });
        let words = words.map(|word| word.as_bytes().to_vec()).collect();
        let mut mutator = crate::fuzz::mutator::Mutator::new(7, seeds, words);
        for _ in 0..1500 {
            let text = mutator.next();
            match converted(language, &text) {
                Ok(there) => {
                    done += 1;
                    assert!(there.text.ends_with('\n'));
                }
                Err(Failure::Unreadable(_)) => {}
                Err(failure) => refused.push_str(&format!(
                    "{}\n----\n{}",
                    String::from_utf8_lossy(&text),
                    described(&failure)
                )),
            }
        }
    }
    assert!(refused.is_empty(), "{refused}");
    assert!(done > 60, "{done}");
}
