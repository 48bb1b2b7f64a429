//! BFD: `bfd_instance`, `track_bfd`, BFD_CHECK.

use std::path::Path;
use std::time::Duration;

use super::{MemoryFiles, Strictness, config, load_from, messages, read};
use crate::bfd::settings::SessionSettings;
use crate::check::spec::Question;
use crate::config::Config;
use crate::vrrp::settings::{Track, TrackTarget};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn yaml(text: &str) -> Config {
    let files = MemoryFiles::new(&[("lvsd.yaml", text)]);
    config(load_from(&files, Path::new("lvsd.yaml"), Strictness::Strict))
}

fn only(config: &Config) -> SessionSettings {
    let mut all = config.vrrp.sessions.values();
    let first = SessionSettings::clone(all.next().expect("a session"));
    assert!(all.next().is_none());
    first
}

fn written(words: &str) -> SessionSettings {
    only(&config(read(&format!("bfd_instance a {{\n{words}\n}}\n"))))
}

/// keepalived 2.2.7's defaults, as its own dump shows them.
#[test]
fn what_is_not_written_is_as_in_keepalived_and_in_yaml_slower() {
    let session = written("neighbor_ip 10.0.0.2");
    let expected = SessionSettings {
        name: "a".to_owned(),
        neighbor: [10, 0, 0, 2].into(),
        source: None,
        interface: None,
        is_multihop: false,
        min_rx: ms(10),
        min_tx: ms(10),
        idle_tx: ms(1000),
        multiplier: 5,
        is_passive: false,
        hop_limit: 255,
        least_hop_limit: 255,
        weight: 0,
        is_reversed: false,
    };
    assert_eq!(session, expected);
    let native = only(&yaml("bfd:\n  - name: a\n    neighbor: 10.0.0.2\n"));
    assert_eq!(native, SessionSettings { min_rx: ms(300), min_tx: ms(300), multiplier: 3, ..expected });
}

#[test]
fn every_word_of_a_session_is_heard_in_both_languages() {
    let words = "neighbour_ip fe80::2\n source_ip fe80::1\n interface eth0\n min_rx 50\n min_tx 3.312\n idle_tx 2000\n \
                 multiplier 4\n passive\n hoplimit 200\n max_hops 3\n multihop\n weight -20 reverse\n vrrp\n checker";
    let session = written(words);
    let expected = SessionSettings {
        name: "a".to_owned(),
        neighbor: "fe80::2".parse().unwrap(),
        source: Some("fe80::1".parse().unwrap()),
        interface: Some("eth0".to_owned()),
        is_multihop: true,
        min_rx: ms(50),
        min_tx: Duration::from_micros(3312),
        idle_tx: ms(2000),
        multiplier: 4,
        is_passive: true,
        hop_limit: 200,
        least_hop_limit: 197,
        weight: -20,
        is_reversed: true,
    };
    assert_eq!(session, expected);
    let native = "bfd:\n  - name: a\n    neighbor: fe80::2\n    source: fe80::1\n    interface: eth0\n    min_rx: 50ms\n    \
                  min_tx: 3.312ms\n    idle_tx: 2s\n    multiplier: 4\n    passive: true\n    ttl: 200\n    max_hops: 3\n    \
                  multihop: true\n    weight: [-20, reverse]\n    vrrp: true\n    checker: true\n";
    assert_eq!(only(&yaml(native)), expected);
}

#[test]
fn the_least_ttl_follows_from_ttl_and_max_hops() {
    // keepalived sends IPv6 packets with 64, unless it is told otherwise, and so much is accepted of it.
    for (words, sent, least) in [
        ("neighbor_ip 10.0.0.2", 255, 255),
        ("neighbor_ip 10.0.0.2\nmax_hops 2", 255, 253),
        ("neighbor_ip 10.0.0.2\nmax_hops 255", 255, 0),
        ("neighbor_ip 10.0.0.2\nmax_hops -1", 255, 0),
        ("neighbor_ip 10.0.0.2\nttl 64\nmax_hops 100", 64, 0),
        ("neighbor_ip fd00::2", 255, 64),
        ("neighbor_ip fd00::2\nhoplimit 255", 255, 255),
        ("neighbor_ip fd00::2\nmax_hops 4", 255, 60),
        ("neighbor_ip 10.0.0.2\nmultihop", 255, 0),
        ("neighbor_ip 10.0.0.2\nmultihop\nmax_hops 5", 255, 250),
    ] {
        let session = written(words);
        assert_eq!((session.hop_limit, session.least_hop_limit), (sent, least), "{words}");
    }
    let native = only(&yaml("bfd:\n  - name: a\n    neighbor: fd00::2\n"));
    assert_eq!((native.hop_limit, native.least_hop_limit), (255, 255), "RFC 5881");
}

#[test]
fn routers_and_groups_follow_sessions_with_their_own_weight_or_the_sessions() {
    let text = "bfd_instance a {\n neighbor_ip 10.0.0.2\n weight 30 reverse\n}\n\
                bfd_instance b {\n neighbor_ip 10.0.0.3\n}\n\
                vrrp_instance v {\n interface lo0\n virtual_router_id 1\n track_bfd {\n a\n b weight -7\n }\n \
                virtual_ipaddress {\n 192.0.2.1\n }\n}\n\
                vrrp_instance w {\n interface lo0\n virtual_router_id 2\n virtual_ipaddress {\n 192.0.2.2\n }\n}\n\
                vrrp_sync_group g {\n group {\n v\n w\n }\n track_bfd {\n b\n }\n}\n";
    let loaded = config(read(text)).vrrp;
    let bfd = |name: &str, weight, is_reversed| Track {
        target: TrackTarget::Bfd(name.to_owned()),
        weight,
        is_reversed,
    };
    assert_eq!(loaded.instances[0].tracks, [bfd("a", 30, true), bfd("b", -7, false)]);
    assert_eq!(loaded.groups[0].tracks, [bfd("b", 0, false)]);
    let native = yaml(
        "bfd:\n  - {name: a, neighbor: 10.0.0.2}\nvrrp:\n  instances:\n    - name: v\n      interface: lo0\n      \
         virtual_router_id: 1\n      track_bfd:\n        - {name: a, weight: 5}\n      addresses: [192.0.2.1]\n",
    );
    assert_eq!(native.vrrp.instances[0].tracks, [bfd("a", 5, false)]);
}

#[test]
fn a_check_takes_its_session_as_the_verdict_without_retries() {
    let text = "bfd_instance s {\n neighbor_ip 10.0.0.1\n}\nvirtual_server 192.0.2.10 80 {\n retry 3\n \
                real_server 10.0.0.1 80 {\n BFD_CHECK {\n name s\n alpha\n }\n }\n}\n";
    let server = config(read(text)).virtual_servers.remove(0);
    let checker = &server.real_servers[0].checkers[0];
    assert_eq!(checker.spec.question, Question::bfd("s"));
    assert_eq!((checker.alpha, checker.spec.timing.retry, checker.spec.timing.rise), (true, 0, 1));
    let native = yaml(
        "bfd: [{name: s, neighbor: 10.0.0.1}]\nvirtual_servers:\n  - address: 192.0.2.10:80\n    forwarding: nat\n    real_servers:\n      \
         - address: 10.0.0.1:80\n        check: {type: bfd, session: s}\n",
    );
    let checker = &native.virtual_servers[0].real_servers[0].checkers[0];
    assert_eq!(checker.spec.question, Question::bfd("s"));
    assert_eq!(
        (checker.spec.timing.retry, checker.spec.timing.rise),
        (0, 1),
        "with the defaults of both dialects"
    );
}

#[test]
fn a_name_that_no_session_has_is_an_error_wherever_it_is_followed() {
    let session = "bfd_instance gateway {\n neighbor_ip 10.0.0.2\n}\n";
    let router = "vrrp_instance v {\n interface lo0\n virtual_router_id 1\n track_bfd {\n gatewey\n }\n \
                  virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
    let check = "virtual_server 192.0.2.10 80 {\n real_server 10.0.0.1 80 {\n BFD_CHECK {\n name gatewey\n }\n }\n}\n";
    for follower in [router, check] {
        let loaded = read(&format!("{session}{follower}"));
        assert!(loaded.config.is_none());
        let said = messages(&loaded.diagnostics);
        assert!(said.contains("Error: there is no bfd_instance `gatewey`"), "{said}");
    }
}

#[test]
fn a_session_for_one_kind_of_follower_is_not_for_the_other() {
    let session = |word: &str| format!("bfd_instance s {{\n neighbor_ip 10.0.0.2\n {word}\n}}\n");
    let router = "vrrp_instance v {\n interface lo0\n virtual_router_id 1\n track_bfd {\n s\n }\n \
                  virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
    let check =
        "virtual_server 192.0.2.10 80 {\n real_server 10.0.0.1 80 {\n BFD_CHECK {\n name s\n }\n }\n}\n";
    for (word, follower, is_fine) in [
        ("", router, true),
        ("", check, true),
        ("vrrp", router, true),
        ("vrrp", check, false),
        ("checker", router, false),
        ("checker", check, true),
        ("vrrp\n checker", check, true),
    ] {
        let loaded = read(&format!("{}{follower}", session(word)));
        assert_eq!(loaded.config.is_some(), is_fine, "{word}: {}", messages(&loaded.diagnostics));
    }
}
