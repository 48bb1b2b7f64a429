//! What YAML means: its own defaults, keepalived's when it says so, and files no parser should see.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use crate::check::spec::{Question, Timing};
use crate::config::load::load_from;
use crate::config::*;
use crate::ipvs::types::{Forwarding, Persistence, Protocol, ServiceFlags, SyncRole, Tunnel, TunnelChecksum};
use crate::syntax::diagnostic::Class;
use crate::syntax::files::MemoryFiles;

#[test]
fn each_example_in_both_languages_is_the_same_configuration() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut pairs = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let conf = entry.unwrap().path();
        let yaml = conf.with_extension("yaml");
        if conf.extension().is_some_and(|e| e == "conf") {
            let config = |path: &Path| load(path, &crate::config::Reading::default()).config.unwrap();
            assert_eq!(config(&conf), config(&yaml), "{}", conf.display());
            pairs += 1;
        }
    }
    assert!(pairs >= 7);
}

#[test]
fn what_is_not_written_is_lvsds_own_default() {
    let config = config(
        "virtual_servers:\n  - address: 192.0.2.10:80\n    forwarding: dr\n    check: tcp\n    real_servers:\n      - address: 10.0.0.1\n",
    );
    let [server] = &config.virtual_servers[..] else { panic!() };
    assert_eq!((server.id.to_string().as_str(), server.scheduler.as_str()), ("192.0.2.10:80 tcp", "wlc"));
    assert_eq!((server.quorum, server.hysteresis, &server.persistence), (1, 0, &None));
    let [real] = &server.real_servers[..] else { panic!() };
    assert_eq!(
        (real.address.to_string().as_str(), real.weight, real.forwarding),
        ("10.0.0.1:80", 1, Forwarding::Dr)
    );
    let [checker] = &real.checkers[..] else { panic!() };
    assert!(checker.alpha, "check before add");
    assert_eq!(checker.spec.target.connect_timeout, Duration::from_secs(3));
    let timing = Timing {
        interval: Duration::from_secs(5),
        retry: 2,
        delay_before_retry: Duration::from_secs(1),
        confirm: Some(Duration::from_millis(200)),
        rise: 2,
        warmup: None,
    };
    assert_eq!(*checker.spec.timing, timing);
    let sysctl: Vec<String> =
        config.global.sysctl.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(sysctl, ["expire_nodest_conn 1", "expire_quiescent_template 1"]);
}

#[test]
fn ways_are_checked_by_default_where_there_are_any_and_the_innermost_word_counts() {
    let text = "virtual_servers:
  - address: 192.0.2.10:80
    forwarding: dr
    check: {type: tcp, interval: 7s, timeout: 2s}
    real_servers:
      - address: 10.0.0.1
      - {address: 10.0.0.2, path_check: false}
      - {address: 10.0.0.3, forwarding: tun}
      - {address: '10.0.0.4:80', forwarding: nat}
  - {address: '192.0.2.10:53', protocol: udp, forwarding: dr, real_servers: [{address: 10.0.0.1}]}
  - {fwmark: 7, forwarding: dr, real_servers: [{address: 10.0.0.1}]}
";
    let checked = |config: &Config| -> Vec<String> {
        let reals = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
        reals.filter(|real| real.path_check.is_some()).map(|real| real.address.ip().to_string()).collect()
    };
    let native = config(text);
    assert_eq!(checked(&native), ["10.0.0.1", "10.0.0.3"]);
    let real = &native.virtual_servers[0].real_servers[0];
    let check = real.path_check.as_ref().unwrap();
    assert!(Arc::ptr_eq(check, native.virtual_servers[0].real_servers[2].path_check.as_ref().unwrap()));
    assert!(Arc::ptr_eq(&check.timing, &real.checkers[0].spec.timing), "as the real server's own check");
    assert_eq!((check.connect_timeout, check.port, check.alpha), (Duration::from_secs(2), 80, true));
    assert_eq!(checked(&config(&format!("defaults: keepalived\n{text}"))), [""; 0]);
    let off = text.replacen("    forwarding: dr\n", "    forwarding: dr\n    path_check: false\n", 1);
    assert_eq!(checked(&config(&off)), [""; 0]);
    let conf = |word: &str| {
        let text = format!(
            "virtual_server 192.0.2.10 80 {{\nlb_kind DR\nlb_algo rr\nprotocol TCP\n{word}\nreal_server 10.0.0.1 80 {{\n}}\n}}\n"
        );
        checked(&load_conf(&text).config.unwrap())
    };
    assert_eq!(
        (conf(""), conf("path_check"), conf("path_check off")),
        (vec![], vec!["10.0.0.1".to_owned()], vec![])
    );
}

#[test]
fn lvsds_marks_begin_where_they_are_told_to() {
    let text =
        "virtual_servers:\n  - {fwmark: 196609, forwarding: dr, real_servers: [{address: 10.0.0.1}]}\n";
    assert_eq!(config(text).global.mark_base, MarkBase(0x6c76_0000));
    let with = |base: &str| load_yaml(&format!("global: {{mark_base: {base}}}\n{text}"));
    assert_eq!(with("0x20000").config.unwrap().global.mark_base, MarkBase(0x2_0000));
    let clash = with("196608");
    assert_eq!(
        clash.lines(Class::Warning),
        [
            "virtual server fwmark 196609: 0x30001 is one of lvsd's own marks (0x30000 to 0x33fff): choose another mark, or another `mark_base` for lvsd's"
        ]
    );
    assert_eq!(clash.config.unwrap().global.mark_base, MarkBase(0x3_0000));
    for wrong in ["0", "1", "0x18000", "0x", "red", "4294967296"] {
        assert!(with(wrong).config.is_none(), "{wrong}");
    }
}

#[test]
fn keepalived_defaults_are_asked_for() {
    let text = "virtual_servers:\n  - address: 192.0.2.10:80\n    real_servers:\n      - {address: 10.0.0.1:80, check: tcp}\n";
    let yaml = config(&format!("defaults: keepalived\n{text}"));
    let conf = load_conf("virtual_server 192.0.2.10 80 {\nreal_server 10.0.0.1 80 {\nTCP_CHECK {\n}\n}\n}\n")
        .config
        .unwrap();
    assert_eq!(yaml, conf);
    assert_eq!(
        config(&format!("defaults: native\n{}", text.replace("    real", "    forwarding: nat\n    real")))
            .virtual_servers[0]
            .id
            .to_string(),
        "192.0.2.10:80 tcp"
    );
}

#[test]
fn every_key_of_a_virtual_server_is_heard() {
    let server = one_server(
        "address: 192.0.2.10:80\nprotocol: udp\nscheduler: sh\nscheduler_flags: [sh-port, sh-fallback, flag-3]\nforwarding: {tun: {type: gue, port: 6080, checksum: remcsum}}\none_packet: true\n\
         persistence: {timeout: 6m, netmask: 24, engine: sip}\nquorum: 3\nhysteresis: 2\ninhibit_on_failure: yes\nweight: 5\n\
         sorry_server: {address: 10.0.0.9, inhibit: true, forwarding: nat}\nreal_servers:\n- {address: 10.0.0.1, inhibit_on_failure: false}\n\
         - {address: 10.0.0.2, weight: 0, forwarding: {tun: {type: gre, checksum: csum}}, upper_threshold: 10, lower_threshold: 5}",
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
    assert_eq!(
        first.forwarding,
        Forwarding::Tun(Tunnel::Gue { port: 6080, checksum: TunnelChecksum::Remote })
    );
    assert_eq!((second.weight, second.inhibit_on_failure), (0, true));
    assert_eq!(second.forwarding, Forwarding::Tun(Tunnel::Gre { checksum: TunnelChecksum::Checksum }));
    assert_eq!((second.upper_threshold, second.lower_threshold), (10, 5));
}

#[test]
fn every_key_of_a_check_is_heard() {
    let server = one_server(
        "address: 192.0.2.10:80\nforwarding: nat\nreal_servers:\n- address: 10.0.0.1\n  check:\n    type: http\n    url: [/a, /b]\n    status: [301, 200-204]\n    digest: 6F5902AC237024BDD0C176CB93063DC4\n\
         \x20   http_version: 1.1\n    virtualhost: www\n    connect_address: 10.0.0.9\n    connect_port: 8080\n    bind_address: 10.0.0.3\n    bind_port: 1024\n    bind_interface: eth1\n    fwmark: 7\n\
         \x20   log_all_failures: true\n    interval: 2s\n    timeout: 500ms\n    fall: 4\n    rise: 5\n    confirm: 50ms\n    warmup: 3s\n    check_before_add: false",
    );
    let checker = &server.real_servers[0].checkers[0];
    assert!(!checker.alpha);
    let target = &checker.spec.target;
    assert_eq!(target.address.to_string(), "10.0.0.9:8080");
    assert_eq!((target.source().address, target.source().port), (Some([10, 0, 0, 3].into()), Some(1024)));
    assert_eq!((target.source().interface.as_deref(), target.source().fwmark), (Some("eth1"), Some(7)));
    assert_eq!(target.connect_timeout, Duration::from_millis(500));
    assert!(checker.spec.log_all_failures);
    let timing = &checker.spec.timing;
    assert_eq!((timing.retry, timing.rise, timing.confirm), (3, 5, Some(Duration::from_millis(50))));
    assert_eq!((timing.interval, timing.warmup), (Duration::from_secs(2), Some(Duration::from_secs(3))));
    let Question::Http(http) = &checker.spec.question else { panic!() };
    let urls: Vec<_> = http
        .urls
        .iter()
        .map(|u| (&*u.path, u.virtualhost.as_deref(), &u.status[..], u.digest.is_some()))
        .collect();
    let status = &[(200, 204), (301, 301)][..];
    assert_eq!(urls, [("/a", Some("www"), status, true), ("/b", Some("www"), status, true)]);
}

#[test]
fn a_check_over_tls_and_an_expression_are_heard() {
    let server = one_server(
        "address: 192.0.2.10:443\nforwarding: nat\nreal_servers:\n- address: 10.0.0.1\n  check:\n    type: https\n    virtualhost: www.example.com\n    enable_sni: true\n    close_notify: true\n    urls:\n    - {path: /a, regex: '^ok \\d+$', regex_options: [caseless, dotall]}\n    - {path: /b, status: 204}",
    );
    let Question::Http(http) = &server.real_servers[0].checkers[0].spec.question else { panic!() };
    let [a, b] = &http.urls[..] else { panic!() };
    assert!(a.tls.as_ref().is_some_and(|tls| tls.close_notify) && b.tls.is_some());
    // In YAML no backslash is lost on the way to PCRE2.
    assert_eq!(serde_json::to_value(&a.pattern).unwrap()["text"], r"^ok \\d+$"); // escaped once, by its serializer
    assert!(b.pattern.is_none());
    assert_eq!(b.status, [(204, 204)]);
}

#[test]
fn a_real_servers_own_check_replaces_that_of_its_virtual_server() {
    let server = one_server(
        "address: 192.0.2.10:80\nforwarding: nat\ninterval: 7s\ncheck: {type: http, url: /}\nreal_servers:\n- address: 10.0.0.1\n- {address: 10.0.0.2, checks: [tcp, {type: tcp, connect_port: 22, interval: 1s}]}",
    );
    let asked = |n: usize| {
        let checkers = server.real_servers[n].checkers.iter();
        checkers
            .map(|c| {
                format!(
                    "{} {} {:?}",
                    c.spec.question.keyword(),
                    c.spec.target.address,
                    c.spec.timing.interval
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(asked(0), ["HTTP_GET 10.0.0.1:80 7s"]);
    assert_eq!(asked(1), ["TCP_CHECK 10.0.0.2:80 7s", "TCP_CHECK 10.0.0.2:22 1s"]);
}

#[test]
fn a_delay_that_is_written_is_not_overruled_by_the_default_of_confirm() {
    let confirm = |check: &str| {
        let server = one_server(&format!(
            "address: 192.0.2.10:80\nforwarding: nat\nreal_servers:\n- {{address: 10.0.0.1, check: {{type: tcp, {check}}}}}"
        ));
        server.real_servers[0].checkers[0].spec.timing.confirm
    };
    assert_eq!(confirm("delay_before_retry: 2s"), None);
    assert_eq!(confirm("delay_before_retry: 2s, confirm: 1s"), Some(Duration::from_secs(1)));
}

#[test]
fn settings_of_the_kernel_are_heard() {
    let config = config(
        "global: {router_id: edge 1}\nipvs:\n  timeouts: {tcp: 15m, udp: 30}\n  flush: true\n  sysctl: {expire_nodest_conn: false, sync_threshold: [3, 50], conn_reuse_mode: 1}\n\
         \x20 sync_daemon: {interface: eth0, id: 3, max_len: 1400, port: 9000, ttl: 2, group: 224.0.0.82}\n",
    );
    assert_eq!(config.global.router_id.as_deref(), Some("edge 1"));
    assert_eq!(config.global.timeouts, TimeoutOptions { tcp: Some(900), tcp_fin: None, udp: Some(30) });
    assert!(config.global.flush);
    let sysctl: Vec<String> =
        config.global.sysctl.iter().map(|(name, value)| format!("{name} {value}")).collect();
    assert_eq!(
        sysctl,
        ["conn_reuse_mode 1", "expire_nodest_conn 0", "expire_quiescent_template 1", "sync_threshold 3 50"]
    );
    let [master, backup] = &config.global.sync_daemons[..] else { panic!() };
    assert_eq!((master.role, backup.role), (SyncRole::Master, SyncRole::Backup));
    assert_eq!(
        (master.interface.as_str(), master.sync_id, master.max_len, master.port, master.ttl),
        ("eth0", 3, Some(1400), Some(9000), Some(2))
    );
}

#[test]
fn words_keep_their_spelling_whatever_type_yaml_gives_them() {
    for (written, read) in [
        ("1.10", "1.10"),
        ("off", "off"),
        ("0x10", "0x10"),
        ("'#1'", "#1"),
        ("\"a\\tb\"", "a\tb"),
        ("2024-01-01", "2024-01-01"),
    ] {
        let config = config(&format!("global: {{router_id: {written}}}\n"));
        assert_eq!(config.global.router_id.as_deref(), Some(read));
    }
}

#[test]
fn anchors_and_merges_are_used_with_what_stands_beside_them() {
    let config = config(
        "virtual_servers:\n  - &base\n    address: 192.0.2.10:80\n    forwarding: nat\n    real_servers: &pool\n      - {address: 10.0.0.1:80}\n  - <<: *base\n    address: 192.0.2.11:80\n    scheduler: rr\n  - {address: 192.0.2.12:80, forwarding: nat, real_servers: *pool}\n",
    );
    let told: Vec<String> = config
        .virtual_servers
        .iter()
        .map(|v| format!("{} {} {}", v.id, v.scheduler, v.real_servers[0].address))
        .collect();
    assert_eq!(
        told,
        [
            "192.0.2.10:80 tcp wlc 10.0.0.1:80",
            "192.0.2.11:80 tcp rr 10.0.0.1:80",
            "192.0.2.12:80 tcp wlc 10.0.0.1:80"
        ]
    );
}

#[test]
fn a_file_with_a_byte_order_mark_and_carriage_returns_is_read_with_the_right_places() {
    let loaded = load_yaml("\u{feff}global:\r\n  router_id: a\r\n  rooter_id: b\r\n");
    assert_eq!(
        loaded.lines(Class::Error),
        ["lvsd.yaml:3:3: `rooter_id` is not a keyword of global: did you mean `router_id`?"]
    );
}

#[test]
fn an_alias_bomb_is_one_error() {
    let mut text = "global: &a0 {router_id: x}\n".to_owned();
    for n in 1..40 {
        text += &format!("x{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", "));
    }
    let loaded = load_yaml(&text);
    let errors = loaded.lines(Class::Error);
    assert!(
        errors.iter().any(|e| e.contains(
            "the configuration has more than 1000000 values: an alias counts as often as it is used"
        )),
        "{errors:?}"
    );
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    for text in [
        "[".repeat(100_000),
        "a: ".repeat(100_000),
        "{a: ".repeat(5000),
        "- ".repeat(100_000),
        "? ".repeat(100_000),
    ] {
        let loaded = load_yaml(&text);
        assert!(loaded.config.is_none());
        assert!(loaded.diagnostics.errors() >= 1);
    }
}

#[test]
fn thousands_of_servers_are_read() {
    let mut text = "virtual_servers:\n".to_owned();
    for n in 0..2000 {
        text += &format!(
            "  - {{address: 10.1.{}.{}:80, forwarding: dr, check: tcp, real_servers: [{{address: 10.2.0.1:80}}, {{address: 10.2.0.2:80}}]}}\n",
            n / 250,
            n % 250
        );
    }
    assert_eq!(config(&text).virtual_servers.len(), 2000);
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_diagnostics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        has_config_exactly_without_errors(bytes)?;
    }

    #[test]
    fn shuffled_pieces_of_yaml_get_diagnostics(pieces in proptest::collection::vec(piece(), 0..80)) {
        has_config_exactly_without_errors(pieces.concat().into_bytes())?;
    }
}

fn has_config_exactly_without_errors(bytes: Vec<u8>) -> Result<(), TestCaseError> {
    for strictness in [Strictness::Strict, Strictness::Lenient] {
        let files = MemoryFiles([("k.yaml".into(), bytes.clone())].into());
        let loaded = load_from(&files, Path::new("k.yaml"), strictness);
        prop_assert_eq!(loaded.config.is_some(), loaded.diagnostics.errors() == 0);
        // Every place can be told.
        loaded.lines(Class::Error);
    }
    Ok(())
}

fn piece() -> impl Strategy<Value = String> {
    let signs = vec![
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "\n  - ",
        "\n      - ",
        ": ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\"",
        "'",
        "&a ",
        "*a",
        "<<: ",
        "~",
        "|\n",
        ">-\n",
        "# ",
        "---\n",
        "!t ",
        "? ",
        "\t",
        "é",
        "192.0.2.1:80",
        "10.0.0.1",
        "5s",
        "1",
        "true",
        "tcp",
        "http",
        "/x",
    ];
    let words: Vec<String> = root::listing().iter().flat_map(|k| k.yaml.clone()).map(str::to_owned).collect();
    prop_oneof![proptest::sample::select(signs).prop_map(str::to_owned), proptest::sample::select(words)]
}

fn load_yaml(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), Path::new("lvsd.yaml"), Strictness::Strict)
}

fn load_conf(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), Strictness::Strict)
}

fn config(text: &str) -> Config {
    let loaded = load_yaml(text);
    let errors = loaded.lines(Class::Error);
    loaded.config.unwrap_or_else(|| panic!("{errors:#?}"))
}

/// The virtual server of these lines.
fn one_server(lines: &str) -> VirtualServer {
    let indented: Vec<String> = lines.lines().map(|l| format!("    {l}")).collect();
    let text = format!("virtual_servers:\n  -\n{}\n", indented.join("\n"));
    let mut config = config(&text);
    assert_eq!(config.virtual_servers.len(), 1, "{text}");
    config.virtual_servers.remove(0)
}

#[test]
fn a_virtual_server_of_one_packet_is_udp() {
    let server = one_server(
        "address: 192.0.2.10:53\nprotocol: udp\nforwarding: nat\none_packet: true\nreal_servers:\n- address: 10.0.0.1",
    );
    assert!(matches!(server.id, VirtualServerId::Address { protocol: Protocol::Udp, .. }));
    assert!(server.flags.contains(ServiceFlags::ONE_PACKET));
}

#[test]
fn standard_input_is_yaml_where_it_begins_like_yaml() {
    let read = |text: &str| {
        let files = MemoryFiles::new(&[("/dev/stdin", text)]);
        let loaded = load_from(&files, Path::new("/dev/stdin"), Strictness::Strict);
        let lines = loaded.lines(Class::Error);
        (loaded.config.map(|config| config.virtual_servers.len()), lines)
    };
    let yaml = "virtual_servers:\n  - address: 192.0.2.10:80\n    protocol: tcp\n    scheduler: rr\n    forwarding: nat\n    real_servers: [{address: 10.0.0.1:80}]\n";
    for text in [yaml.to_owned(), format!("# hello\n\n---\n{yaml}"), format!("\u{feff}{yaml}")] {
        assert_eq!(read(&text), (Some(1), Vec::new()));
    }
    let conf = "virtual_server fd00::1 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server fd00::2 80 {\n}\n}\n";
    for text in [conf.to_owned(), format!("! hello: it's keepalived.conf\n\n{conf}"), format!("$A=b\n{conf}")]
    {
        assert_eq!(read(&text), (Some(1), Vec::new()));
    }
}
