//! What users rely on: the meaning of files.

mod checkers;
mod group;
mod lenient;
mod mail;
mod notice;
pub(crate) mod odd;
mod sessions;
mod track_checks;
mod verdicts;
mod vrrp;
mod vrrp_checks;
mod yaml;

use std::path::Path;
use std::time::Duration;

use crate::check::spec::Question;
use crate::check::spec::http::{HttpVersion, Url};
use crate::ipvs::types::{
    Family, Forwarding, Persistence, Protocol, ServiceFlags, SyncRole, Tunnel, TunnelChecksum,
};
use crate::syntax::diagnostic::{Class, Diagnostics};
use crate::syntax::files::MemoryFiles;
use crate::syntax::keyword::Support;

use super::load::load_from;
use super::types::*;
use super::{Loaded, Strictness, root};

#[test]
fn what_is_not_written_is_as_in_keepalived() {
    let server = one_server(
        "192.0.2.10 80",
        "real_server 10.0.0.1 80 {\n TCP_CHECK {\n }\n HTTP_GET {\n url { path /x }\n }\n}",
    );
    let VirtualServerId::Address { protocol, address, port } = server.id else { panic!("{}", server.id) };
    assert_eq!((protocol, address, port), (Protocol::Udp, [192, 0, 2, 10].into(), 80));
    assert_eq!(server.scheduler.as_str(), "wlc");
    assert_eq!((server.quorum, server.hysteresis, server.persistence), (1, 0, None));
    let real = &server.real_servers[0];
    assert_eq!((real.forwarding, real.weight, real.inhibit_on_failure), (Forwarding::Nat, 1, false));
    let [tcp, http] = &real.checkers[..] else { panic!("{:?}", real.checkers) };
    assert_eq!((tcp.spec.target.address.to_string(), tcp.alpha), ("10.0.0.1:80".to_owned(), false));
    assert_eq!(tcp.spec.target.connect_timeout, Duration::from_secs(5));
    assert_eq!((tcp.spec.timing.interval, tcp.spec.timing.retry), (Duration::from_secs(60), 1));
    assert_eq!(tcp.spec.timing.delay_before_retry, Duration::from_secs(1));
    assert_eq!((http.spec.timing.retry, http.spec.timing.delay_before_retry), (1, Duration::from_secs(3)));
    let Question::Http(question) = &http.spec.question else { panic!("{:?}", http.spec.question) };
    assert_eq!(question.version, HttpVersion::V1_0);
    assert_eq!(question.urls, [Url::new("/x")]);
}

#[test]
fn the_innermost_timing_counts() {
    let server = one_server(
        "192.0.2.10 80",
        "delay_loop 10\nconnect_timeout 1\nretry 4\ndelay_before_retry 0.5\nwarmup 0\nalpha\n\
         real_server 10.0.0.1 80 {\n retry 5\n alpha off\n TCP_CHECK {\n }\n TCP_CHECK {\n retry 0\n connect_timeout 2.5\n alpha\n }\n}",
    );
    let [outer, inner] = &server.real_servers[0].checkers[..] else { panic!() };
    assert_eq!((outer.spec.timing.interval, outer.spec.timing.retry), (Duration::from_secs(10), 5));
    assert_eq!(outer.spec.timing.delay_before_retry, Duration::from_millis(500));
    assert_eq!((outer.spec.timing.warmup, outer.alpha), (Some(Duration::ZERO), false));
    assert_eq!((inner.spec.timing.retry, inner.alpha), (0, true));
    assert_eq!(inner.spec.target.connect_timeout, Duration::from_millis(2500));
    assert_eq!(outer.spec.target.connect_timeout, Duration::from_secs(1));
}

#[test]
fn the_innermost_virtualhost_counts() {
    let server = one_server(
        "192.0.2.10 80",
        "virtualhost vs\nreal_server 10.0.0.1 80 {\n HTTP_GET {\n url { path / }\n }\n}\n\
         real_server 10.0.0.2 80 {\n virtualhost rs\n HTTP_GET {\n url { path / }\n }\n HTTP_GET {\n virtualhost checker\n\
         url { path / }\n url {\n path /\n virtualhost url\n }\n }\n}",
    );
    let hosts: Vec<Option<&str>> = server
        .real_servers
        .iter()
        .flat_map(|r| &r.checkers)
        .flat_map(|c| match &c.spec.question {
            Question::Http(http) => http.urls.iter().map(|u| u.virtualhost.as_deref()).collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(hosts, [Some("vs"), Some("rs"), Some("checker"), Some("url")]);
}

#[test]
fn every_word_of_a_checker_is_heard() {
    let server = one_server(
        "192.0.2.10 80",
        "real_server 10.0.0.1 80 {\n HTTP_GET {\n http_protocol 1.1\n connect_ip 10.0.0.9\n connect_port 8080\n bindto 10.0.0.3\n\
         bind_port 1024\n bind_if eth1\n fwmark 7\n log_all_failures\n delay_loop 2\n warmup 3\n\
         url {\n path \"/a b?c#d\"\n status_code 301 200-204 204-206 404\n status_code 207\n digest 6F5902AC237024BDD0C176CB93063DC4\n }\n }\n}",
    );
    let spec = &server.real_servers[0].checkers[0].spec;
    let source = spec.target.source();
    assert_eq!(spec.target.address.to_string(), "10.0.0.9:8080");
    assert_eq!((source.address, source.port), (Some([10, 0, 0, 3].into()), Some(1024)));
    assert_eq!((source.interface.as_deref(), source.fwmark), (Some("eth1"), Some(7)));
    assert_eq!(
        (spec.timing.interval, spec.timing.warmup),
        (Duration::from_secs(2), Some(Duration::from_secs(3)))
    );
    assert!(spec.log_all_failures);
    let Question::Http(question) = &spec.question else { panic!() };
    assert_eq!((question.version, &*question.urls[0].path), (HttpVersion::V1_1, "/a b?c#d"));
    assert_eq!(question.urls[0].status, [(200, 207), (301, 301), (404, 404)]);
    assert_eq!(question.urls[0].digest.unwrap().to_string(), "6f5902ac237024bdd0c176cb93063dc4");
}

#[test]
fn a_regex_is_heard_with_all_its_words() {
    let config = config(read(
        "virtual_server 192.0.2.10 80 {\nreal_server 10.0.0.1 80 {\nHTTP_GET {\nurl {\n path /\n regex \"it # works\\\\.{2}\"\n\
         regex_no_match\n regex_options caseless dotall\n regex_options utf\n regex_min_offset 3\n regex_max_offset 9\n\
         regex_stack 1 2\n}\nurl {\n path /b\n regex works\n regex_max_offset 0\n}\n}\n}\n}\n",
    ));
    let urls = urls(&config);
    let [first, second] = [&urls[0], &urls[1]].map(|url| url.pattern.as_ref().unwrap());
    // caseless, dotall, utf.
    assert_eq!(format!("{first:?}"), r"Pattern(it # works\\.{2}, 0x80028, 3..=Some(9))");
    assert!(first.is_unwanted);
    assert_eq!(format!("{second:?}"), "Pattern(works, 0x0, 0..=None)");
    assert!(!second.is_unwanted);
}

#[test]
fn every_word_of_ssl_get_is_heard() {
    let files = tls_files(
        "SSL {\n certificate us.pem\n key /k/us.key\n}\n",
        "SSL_GET {\n enable_sni\n virtualhost www.example:8443\n tls_compliant\n verify ca.pem\n verify_name cert.example\n\
         url { path / }\n url {\n path /b\n virtualhost url.example\n }\n}",
    );
    let config = config(load_from(&files, Path::new("/k/k.conf"), Strictness::Strict));
    let urls = urls(&config);
    for (url, name) in [(&urls[0], "www.example"), (&urls[1], "url.example")] {
        let tls = url.tls.as_ref().unwrap();
        assert!(tls.close_notify);
        let settings = &tls.settings;
        assert_eq!(settings.server_name.as_deref(), Some(name));
        assert_eq!(settings.verify.as_ref().map(|(_, name)| name.as_str()), Some("cert.example"));
        assert!(settings.identity.is_some());
    }
    let checker = &config.virtual_servers[0].real_servers[0].checkers[0];
    assert_eq!(checker.spec.question.keyword(), "SSL_GET");
    assert_eq!(checker.spec.timing.delay_before_retry, Duration::from_secs(3));
}

#[test]
fn the_server_name_is_sni_name_else_the_innermost_virtualhost_and_only_if_wanted() {
    for (words, sent) in [
        ("virtualhost a.example", None),
        ("virtualhost a.example\nenable_sni off", None),
        ("virtualhost a.example\nenable_sni", Some("a.example")),
        ("virtualhost a.example\nsni_name b.example", Some("b.example")),
        ("enable_sni", Some("rs.example")),
        ("virtualhost 10.0.0.1:443\nenable_sni", None),
        ("virtualhost [fd00::1]\nenable_sni", None),
        ("virtualhost fd00::1\nenable_sni", None),
    ] {
        let files = tls_files("", &format!("SSL_GET {{\n{words}\nurl {{ path / }}\n}}"));
        let config = config(load_from(&files, Path::new("/k/k.conf"), Strictness::Strict));
        let tls = urls(&config)[0].tls.clone().unwrap();
        assert_eq!(tls.settings.server_name.as_deref(), sent, "{words}");
    }
}

#[test]
fn the_name_to_verify_is_the_one_sent_else_the_virtualhost_else_the_address() {
    for (words, name) in [
        ("verify ca.pem", "rs.example"),
        ("verify ca.pem\nvirtualhost a.example:443", "a.example"),
        ("verify ca.pem\nvirtualhost a.example\nsni_name b.example", "b.example"),
        ("verify ca.pem\nsni_name b.example\nverify_name c.example", "c.example"),
        ("verify ca.pem\nverify_name fd00::1", "fd00::1"),
    ] {
        let files = tls_files("", &format!("SSL_GET {{\n{words}\nurl {{ path / }}\n}}"));
        let config = config(load_from(&files, Path::new("/k/k.conf"), Strictness::Strict));
        let tls = urls(&config)[0].tls.clone().unwrap();
        assert_eq!(tls.settings.verify.as_ref().unwrap().1, name, "{words}");
    }
    let text = "virtual_server 192.0.2.10 443 {\nreal_server 10.0.0.1 443 {\nSSL_GET {\nverify /k/ca.pem\nurl { path / }\n}\n}\n}\n";
    let files = tls_files_with(text);
    let config = config(load_from(&files, Path::new("/k/k.conf"), Strictness::Strict));
    let tls = urls(&config)[0].tls.clone().unwrap();
    assert_eq!(tls.settings.verify.as_ref().unwrap().1, "10.0.0.1");
}

#[test]
fn the_same_tls_settings_are_shared_within_a_configuration_and_equal_across_reloads() {
    let body = "SSL_GET {\nverify ca.pem\nurl { path / }\n url { path /b }\n}";
    let files = tls_files("", body);
    let read = || config(load_from(&files, Path::new("/k/k.conf"), Strictness::Strict));
    let (first, second) = (read(), read());
    let settings = |config: &Config, url: usize| urls(config)[url].tls.clone().unwrap().settings;
    assert!(std::sync::Arc::ptr_eq(&settings(&first, 0), &settings(&first, 1)));
    assert_eq!(first, second);
    let mut other = files.clone();
    let renewed = TestCertificate::new().certificate;
    other.0.insert("/k/ca.pem".into(), renewed.into_bytes());
    assert_ne!(first, config(load_from(&other, Path::new("/k/k.conf"), Strictness::Strict)));
}

#[test]
fn what_is_wrong_with_a_file_of_tls_is_said_at_the_word_that_names_it() {
    let get = "SSL_GET {\n url { path / }\n}";
    for (block, checker, wanted) in [
        ("SSL {\n ca none.pem\n}", get, "k.conf:2:2: `ca` none.pem: there is no such file"),
        ("SSL {\n certificate none.pem\n}", get, "k.conf:2:2: `certificate` none.pem: there is no such file"),
        (
            "SSL {\n certificate us.pem\n key k.conf\n}",
            get,
            "k.conf:3:2: `key` k.conf: there is no private key in it (PEM)",
        ),
        (
            "SSL {\n certificate us.pem\n}",
            get,
            "k.conf:2:2: `certificate` us.pem: there is no private key in it (PEM)",
        ),
        (
            "SSL {\n certificate us.pem\n key other.key\n}",
            get,
            "k.conf:3:2: `key` other.key: this key does not belong to the certificate",
        ),
        (
            "SSL {\n key us.key\n}",
            get,
            "k.conf:2:2: `key` has no certificate: write `certificate FILE` beside it",
        ),
        (
            "",
            "SSL_GET {\n verify us.key\n url { path / }\n}",
            "k.conf:6:2: `verify` us.key: there is no certificate in it (PEM)",
        ),
        (
            "",
            "SSL_GET {\n verify system\n url { path / }\n}",
            "k.conf:6:2: `verify` system: this host has no file of authorities: install its package ca-certificates, or name a file",
        ),
        (
            "",
            "SSL_GET {\n verify_name a.example\n url { path / }\n}",
            "k.conf:6:2: `verify_name` verifies nothing without `verify`: write `verify FILE` or `verify system`",
        ),
        (
            "",
            "SSL_GET {\n sni_name 10.0.0.1\n url { path / }\n}",
            "k.conf:6:2: `sni_name`: `10.0.0.1` is not the name of a host",
        ),
    ] {
        let loaded = load_from(&tls_files(block, checker), Path::new("/k/k.conf"), Strictness::Strict);
        let errors = loaded.lines(Class::Error);
        assert_eq!(errors, [format!("/k/{wanted}")], "{block} {checker}");
    }
}

#[test]
fn every_word_of_a_virtual_server_is_heard() {
    let server = one_server(
        "192.0.2.10 80",
        "lvs_sched sh\nlvs_method TUN type gue port 6080 remcsum\nprotocol udp\nops\nsh-port\nsh-fallback\nflag-3\n\
         persistence_timeout\npersistence_granularity 255.255.255.0\npersistence_engine sip\nquorum 3\nhysteresis 2\n\
         inhibit_on_failure\nweight 5\nsorry_server 10.0.0.9\nsorry_server_inhibit\nsorry_server_lvs_method NAT\n\
         real_server 10.0.0.1 80 {\n inhibit_on_failure off\n}\n\
         real_server 10.0.0.2 80 {\n weight 0\n lvs_method TUN type gre csum\n uthreshold 10\n lthreshold 5\n}",
    );
    assert_eq!(server.id.to_string(), "192.0.2.10:80 udp");
    assert_eq!((server.scheduler.as_str(), server.flags), ("sh", ServiceFlags::USER));
    assert_eq!(server.persistence, Some(Persistence { timeout: 360, prefix: 24 }));
    assert_eq!(server.persistence_engine.as_deref(), Some("sip"));
    assert_eq!((server.quorum, server.hysteresis), (3, 2));
    let sorry =
        SorryServer { address: "10.0.0.9:80".parse().unwrap(), forwarding: Forwarding::Nat, inhibit: true };
    assert_eq!(server.sorry_server, Some(sorry));
    let [first, second] = &server.real_servers[..] else { panic!() };
    assert_eq!((first.weight, first.inhibit_on_failure), (5, false));
    let gue = Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote };
    assert_eq!(first.forwarding, Forwarding::Tun(gue));
    assert_eq!((second.weight, second.inhibit_on_failure), (0, true));
    assert_eq!(second.forwarding, Forwarding::Tun(Tunnel::Gre { checksum: TunnelChecksum::Checksum }));
    assert_eq!((second.upper_threshold, second.lower_threshold), (10, 5));
}

#[test]
fn ports_follow_the_forwarding_method() {
    let ports = |heading: &str, kind: &str, written: &str| {
        let server = one_server(heading, &format!("lb_kind {kind}\nreal_server 10.0.0.1 {written} {{\n}}"));
        server.real_servers[0].address.port()
    };
    assert_eq!(ports("192.0.2.10 80", "NAT", ""), 80);
    assert_eq!(ports("192.0.2.10 80", "NAT", "8080"), 8080);
    assert_eq!(ports("192.0.2.10 80", "DR", ""), 80);
    assert_eq!(ports("192.0.2.10 80", "DR", "8080"), 80);
    assert_eq!(ports("192.0.2.10 80", "TUN", "8080"), 80);
    assert_eq!(ports("fwmark 1", "DR", "80"), 0);
    assert_eq!(ports("fwmark 1", "NAT", "8080"), 8080);
    assert_eq!(ports("192.0.2.10", "DR", ""), 0);
}

#[test]
fn a_check_asks_where_the_real_server_was_said_to_listen() {
    let server = one_server("192.0.2.10 80", "lb_kind DR\nreal_server 10.0.0.1 8080 {\n TCP_CHECK {\n }\n}");
    assert_eq!(server.real_servers[0].address.port(), 80);
    assert_eq!(server.real_servers[0].checkers[0].spec.target.address.port(), 8080);
}

#[test]
fn a_mark_has_the_family_that_is_said_or_that_of_its_real_servers() {
    let family = |body: &str| one_server("fwmark 7", body).id.family();
    assert_eq!(family("real_server 10.0.0.1 80 {\n}"), Family::Inet);
    assert_eq!(family("real_server fd00::1 80 {\n}"), Family::Inet6);
    assert_eq!(family("ip_family inet6\nlb_kind TUN\nreal_server 10.0.0.1 80 {\n}"), Family::Inet6);
}

#[test]
fn ipv6_is_served_and_tunnels_cross_families() {
    let server = one_server(
        "fd00::10 80",
        "lb_kind TUN\npersistence_granularity 64\nreal_server 10.0.0.1 80 {\n}\nreal_server fd00::1 80 {\n}",
    );
    assert_eq!(server.persistence, Some(Persistence { timeout: 360, prefix: 64 }));
    assert_eq!(server.real_servers.len(), 2);
}

#[test]
fn global_settings_are_heard() {
    let loaded = read(
        "global_defs {\n router_id \"edge 1\"\n lvs_timeouts udp 30 tcp 900\n lvs_flush\n\
         lvs_sync_daemon eth0 id 3 maxlen 1400 port 9000 ttl 2 group 224.0.0.82\n checker_log_all_failures\n}\n\
         virtual_server 192.0.2.10 80 {\n real_server 10.0.0.1 80 {\n TCP_CHECK {\n }\n TCP_CHECK {\n log_all_failures no\n connect_port 81\n }\n }\n}\n",
    );
    let config = config(loaded);
    assert_eq!(config.global.router_id.as_deref(), Some("edge 1"));
    assert_eq!(config.global.timeouts, TimeoutOptions { tcp: Some(900), tcp_fin: None, udp: Some(30) });
    assert!(config.global.flush);
    let [master, backup] = &config.global.sync_daemons[..] else { panic!("both halves run") };
    assert_eq!((master.role, backup.role), (SyncRole::Master, SyncRole::Backup));
    assert_eq!(
        (master.sync_id, master.max_len, master.port, master.ttl),
        (3, Some(1400), Some(9000), Some(2))
    );
    assert_eq!(backup.group, Some([224, 0, 0, 82].into()));
    let checkers = &config.virtual_servers[0].real_servers[0].checkers;
    assert!(checkers[0].spec.log_all_failures && !checkers[1].spec.log_all_failures);
}

#[test]
fn the_same_address_with_another_protocol_or_port_is_another_virtual_server() {
    let server = |heading: &str, protocol: &str| {
        format!("virtual_server {heading} {{\nprotocol {protocol}\nreal_server 10.0.0.1 80 {{\n}}\n}}\n")
    };
    let text =
        [server("192.0.2.10 80", "TCP"), server("192.0.2.10 80", "UDP"), server("192.0.2.10 81", "TCP")]
            .concat();
    assert_eq!(config(read(&text)).virtual_servers.len(), 3);
}

#[test]
fn an_include_brings_real_servers_into_a_block() {
    let files = MemoryFiles::new(&[
        ("/etc/k.conf", "$PORT=80\nvirtual_server 192.0.2.10 $PORT\n{\ninclude servers/*.conf\n}\n"),
        ("/etc/servers/a.conf", "real_server 10.0.0.1 $PORT {\n}\n"),
        ("/etc/servers/b.conf", "include more/c.conf\n"),
        ("/etc/servers/more/c.conf", "real_server 10.0.0.2 ${PORT}80 {\n}\n"),
    ]);
    let servers = config(load_from(&files, Path::new("/etc/k.conf"), Strictness::Strict)).virtual_servers;
    let addresses: Vec<String> = servers[0].real_servers.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.1:80", "10.0.0.2:8080"]);
}

#[test]
fn real_servers_of_weight_zero_leave_a_quorum_of_one() {
    let server = one_server("192.0.2.10 80", "quorum 2\nreal_server 10.0.0.1 80 {\n weight 0\n}");
    assert_eq!(server.quorum, 1);
}

#[test]
fn every_keyword_has_one_meaning_and_a_sentence() {
    let all = root::listing();
    for (i, keyword) in all.iter().enumerate() {
        let what = || format!("{} {:?} {:?}", keyword.block, keyword.names, keyword.yaml);
        assert!(keyword.doc.ends_with('.'), "{}", what());
        assert!(!keyword.names.is_empty() || !keyword.yaml.is_empty(), "{}", what());
        for other in all.iter().skip(i + 1).filter(|other| other.block == keyword.block) {
            let shares = |a: &[&str], b: &[&str]| a.iter().any(|name| b.contains(name));
            assert!(
                !shares(&keyword.names, &other.names) && !shares(&keyword.yaml, &other.yaml),
                "{}",
                what()
            );
        }
        if let Support::Ignored(why) | Support::Refused(why) = keyword.support {
            assert!(!why.is_empty() && !why.ends_with('.'), "{}", what());
        }
    }
    assert!(all.len() > 150);
}

/// A configuration in /k/k.conf with files of certificates beside it; its real server's virtualhost is rs.example.
fn tls_files(block: &str, checker: &str) -> MemoryFiles {
    tls_files_with(&format!(
        "{block}\nvirtual_server 192.0.2.10 443 {{\nreal_server 10.0.0.1 443 {{\nvirtualhost rs.example\n{checker}\n}}\n}}\n"
    ))
}

fn tls_files_with(text: &str) -> MemoryFiles {
    let us = TestCertificate::new();
    MemoryFiles::new(&[
        ("/k/k.conf", text),
        ("/k/us.pem", &us.certificate),
        ("/k/us.key", &us.key),
        ("/k/other.key", &TestCertificate::new().key),
        ("/k/ca.pem", &TestCertificate::new().certificate),
    ])
}

struct TestCertificate {
    certificate: String,
    key: String,
}

impl TestCertificate {
    fn new() -> TestCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        TestCertificate { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }
}

fn urls(config: &Config) -> Vec<Url> {
    let checkers = config.virtual_servers.iter().flat_map(|v| &v.real_servers).flat_map(|r| &r.checkers);
    checkers
        .flat_map(|c| match &c.spec.question {
            Question::Http(question) => question.urls.clone(),
            other => panic!("{other:?}"),
        })
        .collect()
}

fn read(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), Strictness::Strict)
}

fn config(loaded: Loaded) -> Config {
    let problems = messages(&loaded.diagnostics);
    loaded.config.unwrap_or_else(|| panic!("{problems}"))
}

/// All that is said about a configuration, without its places.
fn said(loaded: &Loaded) -> String {
    let said = loaded.diagnostics.iter().map(|d| {
        let class = match d.class {
            Class::Error => "error",
            Class::Warning => "warning",
        };
        let help = d.help.iter().map(|help| format!("  = help: {help}\n"));
        let notes = d.notes.iter().map(|note| format!("note: {}\n", note.text));
        format!("{class}: {}\n{}", d.message, help.chain(notes).collect::<String>())
    });
    said.collect()
}

fn messages(diagnostics: &Diagnostics) -> String {
    diagnostics.iter().map(|d| format!("{:?}: {}\n", d.class, d.message)).collect()
}

fn one_server(heading: &str, body: &str) -> VirtualServer {
    let mut servers = config(read(&format!("virtual_server {heading} {{\n{body}\n}}\n"))).virtual_servers;
    assert_eq!(servers.len(), 1);
    servers.remove(0)
}
