//! `vrrp_check` and `track_check`.

use std::path::Path;
use std::time::Duration;

use super::{MemoryFiles, Strictness, config, load_from, messages, read};
use crate::check::spec::{CheckerSpec, Question};
use crate::config::Config;
use crate::vrrp::settings::{CheckSettings, Damping, Settings, Track, TrackTarget};

const MS: Duration = Duration::from_millis(1);
const INSTANCE: &str = "interface lo0\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n";

fn yaml(text: &str) -> Config {
    let files = MemoryFiles::new(&[("lvsd.yaml", text)]);
    config(load_from(&files, Path::new("lvsd.yaml"), Strictness::Strict))
}

/// A check with these words, tracked by an instance as this line says.
fn written(words: &str, line: &str) -> Settings {
    let text = format!("vrrp_check web {{\n{words}\n}}\nvrrp_instance a {{\n{INSTANCE} {line}\n}}\n");
    Settings::clone(&config(read(&text)).vrrp)
}

fn only(settings: &Settings) -> CheckSettings {
    CheckSettings::clone(&settings.checks["web"])
}

fn spec(settings: &Settings) -> CheckerSpec {
    CheckerSpec::clone(&only(settings).checkers[0])
}

fn track(weight: i16, is_reversed: bool) -> Track {
    Track { target: TrackTarget::Check("web".to_owned()), weight, is_reversed }
}

#[test]
fn what_is_not_written_is_the_same_in_both_languages() {
    let conf = written("TCP_CHECK {\n connect_port 80\n}", "track_check web");
    let native = yaml(
        "vrrp:\n  checks:\n    - {name: web, check: {type: tcp, connect_port: 80}}\n  instances:\n    - name: a\n      \
         interface: lo0\n      virtual_router_id: 1\n      addresses: [192.0.2.1]\n      track_check: [web]\n",
    );
    for settings in [&conf, &*native.vrrp] {
        let spec = spec(settings);
        assert_eq!(spec.target.address, "127.0.0.1:80".parse().unwrap());
        assert_eq!((spec.question, spec.target.connect_timeout), (Question::Tcp, 1000 * MS));
        let timing = &spec.timing;
        assert_eq!((timing.interval, timing.retry, timing.rise), (1000 * MS, 2, 2));
        assert_eq!((timing.pause_before_retry(), timing.warmup), (1000 * MS, Some(Duration::ZERO)));
        assert_eq!(settings.instances[0].tracks, [track(0, false)]);
        assert!(!only(settings).begins_failed);
    }
}

#[test]
fn every_word_is_heard_in_both_languages() {
    let words = "interval 0.5\n timeout 0.2\n weight -30 reverse\n rise 4\n fall 5\n init_fail\n \
                 virtualhost www.example.com\n HTTP_GET {\n url {\n path /health\n status_code 200\n }\n \
                 connect_ip 10.0.0.5\n \
                 connect_port 8080\n bindto 10.0.0.1\n fwmark 7\n}";
    let conf = written(words, "track_check web");
    let native = yaml(
        "vrrp:\n  checks:\n    - name: web\n      address: 10.0.0.5:8080\n      interval: 500ms\n      timeout: 200ms\n      \
         weight: [-30, reverse]\n      rise: 4\n      fall: 5\n      init_fail: true\n      virtualhost: www.example.com\n      \
         check: {type: http, url: /health, status: 200, bind_address: 10.0.0.1, fwmark: 7}\n  instances:\n    - name: a\n      \
         interface: lo0\n      virtual_router_id: 1\n      addresses: [192.0.2.1]\n      track_check: [web]\n",
    );
    let spec = spec(&conf);
    assert_eq!(spec.target.address, "10.0.0.5:8080".parse().unwrap());
    assert_eq!((spec.timing.interval, spec.target.connect_timeout), (500 * MS, 200 * MS));
    assert_eq!((spec.timing.retry, spec.timing.rise), (4, 4));
    let source = spec.target.source();
    assert_eq!((source.address, source.fwmark), (Some("10.0.0.1".parse().unwrap()), Some(7)));
    let Question::Http(question) = &spec.question else { panic!("{spec:?}") };
    assert_eq!(question.urls[0].virtualhost.as_deref(), Some("www.example.com"));
    assert!(only(&conf).begins_failed);
    assert_eq!(conf.instances[0].tracks, [track(-30, true)]);
    assert_eq!(native.vrrp.checks, conf.checks);
    assert_eq!(native.vrrp.instances[0].tracks, conf.instances[0].tracks);
}

#[test]
fn the_inner_block_goes_before_the_outer_one() {
    let settings = written(
        "interval 9\n timeout 8\n SSL_GET {\n connect_ip 10.0.0.6\n connect_port 443\n \
         connect_timeout 2\n delay_before_retry 3\n url {\n path /\n }\n}",
        "track_check web",
    );
    let spec = spec(&settings);
    assert_eq!(spec.target.address, "10.0.0.6:443".parse().unwrap());
    assert_eq!((spec.timing.interval, spec.target.connect_timeout), (9000 * MS, 2000 * MS));
    assert_eq!(spec.timing.pause_before_retry(), 3000 * MS);
}

#[test]
fn a_line_and_a_block_are_the_same_and_the_own_weight_goes_before_the_checks() {
    let check = "weight 10\n TCP_CHECK {\n connect_port 80\n}";
    for (line, expected) in [
        ("track_check web", track(10, false)),
        ("track_check web weight -20", track(-20, false)),
        ("track_check web weight -20 reverse", track(-20, true)),
        ("track_check {\n web weight -20 reverse\n }", track(-20, true)),
        ("track_check {\n web\n }", track(10, false)),
    ] {
        assert_eq!(written(check, line).instances[0].tracks, [expected], "{line}");
    }
    let text = format!(
        "vrrp_check web {{\n{check}\n}}\nvrrp_instance a {{\n{INSTANCE}}}\nvrrp_instance b {{\ninterface lo0\n \
         virtual_router_id 2\n virtual_ipaddress {{\n 192.0.2.2\n }}\n}}\nvrrp_sync_group g {{\n group {{\n a\n b\n }}\n \
         track_check web weight 5\n}}\n"
    );
    assert_eq!(config(read(&text)).vrrp.groups[0].tracks, [track(5, false)]);
}

#[test]
fn every_type_of_check_with_a_conversation_can_be_tracked_and_several_at_once() {
    let settings = written(
        "SMTP_CHECK {\n connect_port 25\n}\n DNS_CHECK {\n connect_port 53\n}\n UDP_CHECK {\n connect_port 9\n}\n \
         PING_CHECK {\n connect_ip 10.0.0.254\n}",
        "track_check web weight 5",
    );
    let keywords: Vec<_> = only(&settings).checkers.iter().map(|spec| spec.question.keyword()).collect();
    assert_eq!(keywords, ["SMTP_CHECK", "DNS_CHECK", "UDP_CHECK", "PING_CHECK"]);
    let native = yaml(
        "vrrp:\n  checks:\n    - name: web\n      damping: {half_life: 60s, limit: 3}\n      checks:\n        \
         - {type: tcp, connect_port: 80}\n        - {type: ping, connect_address: 10.0.0.254}\n  instances:\n    - name: a\n      \
         interface: lo0\n      virtual_router_id: 1\n      addresses: [192.0.2.1]\n      track_check: [{name: web, weight: 5}]\n",
    );
    assert_eq!(only(&native.vrrp).checkers.len(), 2);
    let damping = Damping { half_life: 60_000 * MS, limit: 3 };
    assert_eq!(native.vrrp.damping, [(TrackTarget::Check("web".to_owned()), damping)].into());
}

#[test]
fn what_cannot_be_is_said() {
    let said = |words: &str, line: &str| {
        messages(
            &read(&format!("vrrp_check web {{\n{words}\n}}\nvrrp_instance a {{\n{INSTANCE} {line}\n}}\n"))
                .diagnostics,
        )
    };
    let has = |words: &str, line: &str, expected: &str| {
        let said = said(words, line);
        assert!(said.contains(expected), "{said}");
    };
    let tcp = "TCP_CHECK {\n connect_port 80\n}";
    has("interval 1", "track_check web", "vrrp_check web asks nothing");
    has("TCP_CHECK {\n}", "track_check web", "this checker has no port to connect to");
    has("MISC_CHECK {\n misc_path /bin/true\n}", "track_check web", "this is no check for virtual routers");
    has(tcp, "track_check wep", "there is no vrrp_check `wep`");
    has(tcp, "track_check", "`track_check` needs a block");
    has(tcp, "track_check web weight 300", "not a whole number from -254 to 254");
    has(&format!("{tcp}\n fall 0"), "track_check web", "`fall`");
}
