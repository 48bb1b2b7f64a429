//! The exact text of diagnostics about YAML, as `lvsd check` shows them.

use std::path::Path;

use crate::cli::check;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::daemon::startup::Exit;
use crate::syntax::files::MemoryFiles;

#[test]
fn an_unknown_key_gets_the_likely_one_suggested() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    shceduler: rr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `shceduler` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     shceduler: rr
  |     ^^^^^^^^^
  |
  = help: did you mean `scheduler`?
"#,
    );
}

#[test]
fn a_word_of_keepalived_conf_gets_its_spelling_in_yaml() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    lb_kind: DR
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `lb_kind` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     lb_kind: DR
  |     ^^^^^^^
  |
  = help: that is keepalived.conf's word; here write `forwarding`
"#,
    );
}

#[test]
fn a_word_yaml_says_in_another_form_gets_that_form() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    persistence_timeout: 50
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `persistence_timeout` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     persistence_timeout: 50
  |     ^^^^^^^^^^^^^^^^^^^
  |
  = help: that is keepalived.conf's word; here write `persistence: 50s`
"#,
    );
}

#[test]
fn a_word_yaml_does_not_have_says_why() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    ha_suspend: true
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `ha_suspend` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     ha_suspend: true
  |     ^^^^^^^^^^
  |
  = help: that is keepalived.conf's word, and not one of YAML: checks run whether or not this host has the VIP
"#,
    );
}

#[test]
fn a_number_out_of_range_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum: 0
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `quorum`: `0` is not a whole number from 1 to 2147483647
 --> lvsd.yaml:5:13
  |
5 |     quorum: 0
  |             ^
"#,
    );
}

#[test]
fn a_word_is_no_number() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum: two
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `quorum`: `two` is not a whole number from 1 to 2147483647
 --> lvsd.yaml:5:13
  |
5 |     quorum: two
  |             ^^^
"#,
    );
}

#[test]
fn a_time_has_a_unit_that_is_known() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    interval: 6d
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `interval`: `6d` is not a time from 0.000001s to 4294967295s, e.g. 500ms, 5s or 2m
 --> lvsd.yaml:5:15
  |
5 |     interval: 6d
  |               ^^
"#,
    );
}

#[test]
fn a_time_out_of_range_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    timeout: 2h
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `timeout`: `2h` is not a time from 0.000001s to 4294.967295s, e.g. 500ms, 5s or 2m
 --> lvsd.yaml:5:14
  |
5 |     timeout: 2h
  |              ^^
"#,
    );
}

#[test]
fn a_key_without_a_value_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum:
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `quorum` needs a value
 --> lvsd.yaml:5:5
  |
5 |     quorum:
  |     ^^^^^^
  |
  = help: write `quorum: VALUE`, VALUE being a whole number from 1 to 2147483647
"#,
    );
}

#[test]
fn a_quorum_nobody_can_reach_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum: 5
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: virtual server 192.0.2.10:80 tcp: quorum 5 is more than all real servers weigh
 --> lvsd.yaml:5:5
  |
5 |     quorum: 5
  |     ^^^^^^^^^
"#,
    );
}

#[test]
fn the_forwarding_method_must_be_written() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: virtual server 192.0.2.10:80 tcp: no forwarding is set
 --> lvsd.yaml:2:5
  |
2 |   - address: 192.0.2.10:80
  |     ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `forwarding: nat`, dr or tun
"#,
    );
}

#[test]
fn servers_need_an_address() {
    is_refused(
        r#"virtual_servers:
  - scheduler: rr
    forwarding: nat
    real_servers:
      - weight: 1
"#,
        r#"
error: a virtual server needs an address
 --> lvsd.yaml:2:5
  |
2 |   - scheduler: rr
  |     ^^^^^^^^^
  |
  = help: write `address: IP:PORT`, `fwmark: N` or `group: NAME`

error: a real server needs an address
 --> lvsd.yaml:5:9
  |
5 |       - weight: 1
  |         ^^^^^^
  |
  = help: write `address: IP:PORT`
"#,
    );
}

#[test]
fn a_key_stands_once() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    scheduler: rr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `scheduler` is given twice
 --> lvsd.yaml:5:5
  |
5 |     scheduler: rr
  |     ^^^^^^^^^
  |
  = help: remove one: a key stands once in its mapping
note: the first one is here
 --> lvsd.yaml:3:5
  |
3 |     scheduler: wrr
  |     ^^^^^^^^^
"#,
    );
}

#[test]
fn direct_routing_cannot_change_the_port() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:8080
"#,
        r#"
error: real server 192.0.2.11:8080: DR and TUN cannot change the port
 --> lvsd.yaml:6:9
  |
6 |       - address: 192.0.2.11:8080
  |         ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write port 80, or none; a check's `connect_port` may differ
"#,
    );
}

#[test]
fn only_tunnels_cross_families() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: "[fd00::1]:80"
"#,
        r#"
error: real server fd00::1: its family is not that of virtual server 192.0.2.10:80 tcp
 --> lvsd.yaml:6:9
  |
6 |       - address: "[fd00::1]:80"
  |         ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: only tunnels cross families: write `forwarding: tun`, or an address of the same family
"#,
    );
}

#[test]
fn a_virtual_server_is_defined_once() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    forwarding: nat
    real_servers:
      - address: 10.0.0.1:80
  - address: 192.0.2.10:80
    forwarding: nat
    real_servers:
      - address: 10.0.0.1:80
"#,
        r#"
error: virtual server 192.0.2.10:80 tcp is defined twice
 --> lvsd.yaml:6:5
  |
6 |   - address: 192.0.2.10:80
  |     ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: put its real servers into one virtual_server
note: the first one is here
 --> lvsd.yaml:2:5
  |
2 |   - address: 192.0.2.10:80
  |     ^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_type_of_check_gets_the_likely_one_suggested() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: htpp, url: /}
"#,
        r#"
error: `type`: `htpp` is not a type of check: tcp, http, https, dns, smtp, udp or ping
 --> lvsd.yaml:7:23
  |
7 |         check: {type: htpp, url: /}
  |                       ^^^^
  |
  = help: did you mean `http`?
"#,
    );
}

#[test]
fn a_type_of_check_that_is_not_built_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: misc}
"#,
        r#"
error: a check of type misc is not yet supported: without it the real server would always count as up
 --> lvsd.yaml:7:23
  |
7 |         check: {type: misc}
  |                       ^^^^
"#,
    );
}

#[test]
fn a_check_needs_a_type() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {url: /}
"#,
        r#"
error: `check` needs a `type`
 --> lvsd.yaml:7:9
  |
7 |         check: {url: /}
  |         ^^^^^
  |
  = help: write `type: tcp`, http, https, dns, smtp, udp or ping
"#,
    );
}

#[test]
fn a_check_of_http_needs_a_url() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: http}
"#,
        r#"
error: a check of type http needs a `url`
 --> lvsd.yaml:7:9
  |
7 |         check: {type: http}
  |         ^^^^^
  |
  = help: write `url: /`
"#,
    );
}

#[test]
fn the_path_check_is_of_real_servers_and_says_where_it_cannot_be() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: tcp, path_check: true}
"#,
        r#"
error: `path_check` is not a keyword of a check of type tcp
 --> lvsd.yaml:7:28
  |
7 |         check: {type: tcp, path_check: true}
  |                            ^^^^^^^^^^
  |
  = help: it belongs in a virtual server
"#,
    );
}

#[test]
fn a_path_check_that_cannot_be_made_says_why() {
    says(
        r#"virtual_servers:
  - {address: '192.0.2.10:80', forwarding: nat, path_check: true, real_servers: [{address: 192.0.2.11}]}
  - {fwmark: 7, forwarding: dr, path_check: true, real_servers: [{address: 192.0.2.11}]}
  - {address: '192.0.2.10:53', protocol: udp, forwarding: dr, path_check: true, real_servers: [{address: 192.0.2.11}]}
"#,
        r#"
warning: `path_check` has no effect here: packets to real servers by NAT are not for the VIP any more
 --> lvsd.yaml:2:49
  |
2 |   - {address: '192.0.2.10:80', forwarding: nat, path_check: true, real_servers: [{address: 192.0.2.11}]}
  |                                                 ^^^^^^^^^^^^^^^^

warning: `path_check` has no effect here: a firewall mark does not say at which VIP to ask
 --> lvsd.yaml:3:33
  |
3 |   - {fwmark: 7, forwarding: dr, path_check: true, real_servers: [{address: 192.0.2.11}]}
  |                                 ^^^^^^^^^^^^^^^^

warning: `path_check` has no effect here: there is no connection to be made by udp
 --> lvsd.yaml:4:63
  |
4 |   - {address: '192.0.2.10:53', protocol: udp, forwarding: dr, path_check: true, real_servers: [{address: 192.0.2.11}]}
  |                                                               ^^^^^^^^^^^^^^^^
"#,
        Exit::Ok,
    );
}

#[test]
fn retry_is_fall_in_yaml() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: tcp, retry: 2}
"#,
        r#"
error: `retry` is not a keyword of a check of type tcp
 --> lvsd.yaml:7:28
  |
7 |         check: {type: tcp, retry: 2}
  |                            ^^^^^
  |
  = help: that is keepalived.conf's word; here write `fall`, which is one more than `retry`
"#,
    );
}

#[test]
fn fall_is_at_least_one() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: tcp, fall: 0}
"#,
        r#"
error: `fall`: `0` is not a whole number from 1 to 4294967295
 --> lvsd.yaml:7:34
  |
7 |         check: {type: tcp, fall: 0}
  |                                  ^
"#,
    );
}

#[test]
fn a_status_is_a_number_or_a_range() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: http, url: /, status: [200, abc]}
"#,
        r#"
error: `status`: `abc` is not a status from 100 to 599, or a range of them
 --> lvsd.yaml:7:51
  |
7 |         check: {type: http, url: /, status: [200, abc]}
  |                                                   ^^^
  |
  = help: write e.g. `status: 200` or `status: [200-299, 304]`
"#,
    );
}

#[test]
fn a_key_of_another_type_of_check_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        check: {type: tcp, url: /}
"#,
        r#"
error: `url` is not a keyword of a check of type tcp
 --> lvsd.yaml:7:28
  |
7 |         check: {type: tcp, url: /}
  |                            ^^^
  |
  = help: it belongs in a check of type http
"#,
    );
}

#[test]
fn a_gue_tunnel_needs_a_port() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: {tun: {type: gue}}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `forwarding`: a tunnel of type gue needs a port
 --> lvsd.yaml:4:24
  |
4 |     forwarding: {tun: {type: gue}}
  |                        ^^^^^^^^^
  |
  = help: write `forwarding: {tun: {type: gue, port: N}}`, N being the UDP port real servers unpack at
"#,
    );
}

#[test]
fn a_forwarding_method_gets_the_likely_one_suggested() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: drr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `forwarding`: `drr` is not a forwarding method: nat, dr or tun
 --> lvsd.yaml:4:17
  |
4 |     forwarding: drr
  |                 ^^^
  |
  = help: did you mean `dr`?
"#,
    );
}

#[test]
fn only_tunnels_have_options() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: {dr: {port: 1}}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `forwarding`: only tun has options, not `dr`
 --> lvsd.yaml:4:18
  |
4 |     forwarding: {dr: {port: 1}}
  |                  ^^
  |
  = help: write `forwarding: dr`
"#,
    );
}

#[test]
fn a_virtual_router_needs_a_number_and_an_interface() {
    is_refused(
        r#"vrrp:
  instances:
    - {name: VI_1}
    - {virtual_router_id: 1, interface: eth0}
"#,
        r#"
error: vrrp_instance VI_1 has no `virtual_router_id`
 --> lvsd.yaml:3:8
  |
3 |     - {name: VI_1}
  |        ^^^^
  |
  = help: write `virtual_router_id: N`, N from 1 to 255

error: vrrp_instance VI_1 has no `interface`
 --> lvsd.yaml:3:8
  |
3 |     - {name: VI_1}
  |        ^^^^
  |
  = help: write `interface: NAME`

error: `instances` needs a name
 --> lvsd.yaml:4:8
  |
4 |     - {virtual_router_id: 1, interface: eth0}
  |        ^^^^^^^^^^^^^^^^^
  |
  = help: write `name: NAME` in it
"#,
    );
}

#[test]
fn what_is_not_yaml_is_one_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
   scheduler: wrr
"#,
        r#"
error: this is not YAML: while parsing a block collection, did not find expected '-' indicator
 --> lvsd.yaml:3:4
  |
3 |    scheduler: wrr
  |    ^
  |
  = help: look at this line, and at the indentation of the one before
"#,
    );
}

#[test]
fn tabs_are_told() {
    is_refused(
        r#"virtual_servers:
	- address: 192.0.2.10:80
"#,
        r#"
error: this is not YAML: tabs disallowed within this context (block indentation)
 --> lvsd.yaml:2:2
  |
2 |     - address: 192.0.2.10:80
  |     ^
  |
  = help: indent with spaces: YAML takes no tabs
"#,
    );
}

#[test]
fn an_ipv6_address_goes_in_quotes() {
    is_refused(
        r#"virtual_servers:
  - address: [2001:db8::10]:80
"#,
        r#"
error: this is not YAML: while parsing a block mapping, did not find expected key
 --> lvsd.yaml:2:28
  |
2 |   - address: [2001:db8::10]:80
  |                            ^
  |
  = help: an IPv6 address with a port goes in quotes: "[2001:db8::10]:80"
"#,
    );
}

#[test]
fn the_top_level_is_a_mapping() {
    is_refused(
        r#"- a
- b
"#,
        r#"
error: the configuration is not a mapping
 --> lvsd.yaml:1:1
  |
1 | - a
  | ^^^
  |
  = help: write `virtual_servers:`, and below it what it is to be
"#,
    );
}

#[test]
fn there_is_one_document() {
    is_refused(
        r#"global: {router_id: a}
---
global: {}
"#,
        r#"
error: a second document begins here
 --> lvsd.yaml:2:1
  |
2 | ---
  | ^^^
  |
  = help: a configuration is one document: remove the line `---`
"#,
    );
}

#[test]
fn an_alias_of_nothing_is_an_error() {
    is_refused(
        r#"virtual_servers: *nope
"#,
        r#"
error: `*nope` is not defined before it is used
 --> lvsd.yaml:1:18
  |
1 | virtual_servers: *nope
  |                  ^^^^^
  |
  = help: mark what it stands for with `&nope`
"#,
    );
}

#[test]
fn an_alias_within_itself_is_an_error() {
    is_refused(
        r#"virtual_servers: &a [*a]
"#,
        r#"
error: this alias stands within what it stands for
 --> lvsd.yaml:1:22
  |
1 | virtual_servers: &a [*a]
  |                      ^^
"#,
    );
}

#[test]
fn a_tag_is_an_error() {
    is_refused(
        r#"global: !foo {router_id: a}
"#,
        r#"
error: a tag means nothing here
 --> lvsd.yaml:1:14
  |
1 | global: !foo {router_id: a}
  |              ^
  |
  = help: remove the word with `!` before this value
"#,
    );
}

#[test]
fn settings_of_the_kernel_have_names_and_numbers() {
    is_refused(
        r#"ipvs: {sysctl: {expire_nodest_con: 1, conntrack: maybe, a-b: 1}}
virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
warning: `expire_nodest_con` is not a setting of any kernel known here
 --> lvsd.yaml:1:17
  |
1 | ipvs: {sysctl: {expire_nodest_con: 1, conntrack: maybe, a-b: 1}}
  |                 ^^^^^^^^^^^^^^^^^
  |
  = help: did you mean `expire_nodest_conn`?

error: `conntrack`: `maybe` is not true, false or a whole number from 0 to 2147483647
 --> lvsd.yaml:1:50
  |
1 | ipvs: {sysctl: {expire_nodest_con: 1, conntrack: maybe, a-b: 1}}
  |                                                  ^^^^^

error: `a-b` is not the name of a setting below net.ipv4.vs
 --> lvsd.yaml:1:57
  |
1 | ipvs: {sysctl: {expire_nodest_con: 1, conntrack: maybe, a-b: 1}}
  |                                                         ^^^
  |
  = help: write its name alone, e.g. `conntrack`
"#,
    );
}

#[test]
fn timeouts_of_the_kernel_are_whole_seconds() {
    is_refused(
        r#"ipvs: {timeouts: {tcp: 1500ms, tcpfin: 2m}}
virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `tcp`: `1500ms` is not a time from 1s to 2678400s, in whole seconds
 --> lvsd.yaml:1:24
  |
1 | ipvs: {timeouts: {tcp: 1500ms, tcpfin: 2m}}
  |                        ^^^^^^

error: `tcpfin` is not a keyword of ipvs.timeouts
 --> lvsd.yaml:1:32
  |
1 | ipvs: {timeouts: {tcp: 1500ms, tcpfin: 2m}}
  |                                ^^^^^^
  |
  = help: did you mean `tcp_fin`?
"#,
    );
}

#[test]
fn names_are_not_resolved() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: web1:80
"#,
        r#"
error: `address`: `web1:80` is not an IP address, with a port or without
 --> lvsd.yaml:6:18
  |
6 |       - address: web1:80
  |                  ^^^^^^^
  |
  = help: write the address: names are not resolved here
"#,
    );
}

#[test]
fn a_port_is_in_its_range() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:99999
"#,
        r#"
error: `address`: `192.0.2.11:99999` is not an IP address, with a port or without
 --> lvsd.yaml:6:18
  |
6 |       - address: 192.0.2.11:99999
  |                  ^^^^^^^^^^^^^^^^
  |
  = help: `99999` is not a port from 0 to 65535
"#,
    );
}

#[test]
fn a_flag_is_true_or_false() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    inhibit_on_failure: maybe
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `inhibit_on_failure`: `maybe` is not `true` or `false`
 --> lvsd.yaml:5:25
  |
5 |     inhibit_on_failure: maybe
  |                         ^^^^^
"#,
    );
}

#[test]
fn one_packet_is_for_udp() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    one_packet: true
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `one_packet` is for UDP, not for tcp
 --> lvsd.yaml:5:5
  |
5 |     one_packet: true
  |     ^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn flags_belong_to_their_scheduler() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    scheduler_flags: [sh-port, fooo]
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `sh-port` belongs to the scheduler sh, not to wrr
 --> lvsd.yaml:5:23
  |
5 |     scheduler_flags: [sh-port, fooo]
  |                       ^^^^^^^

error: `scheduler_flags`: `fooo` is not a flag of a scheduler
 --> lvsd.yaml:5:32
  |
5 |     scheduler_flags: [sh-port, fooo]
  |                                ^^^^
  |
  = help: write some of sh-port sh-fallback mh-port mh-fallback flag-1 flag-2 flag-3
"#,
    );
}

#[test]
fn a_virtual_server_needs_real_servers() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    forwarding: nat
    real_servers: []
"#,
        r#"
error: virtual server 192.0.2.10:80 tcp: has no real server
 --> lvsd.yaml:2:5
  |
2 |   - address: 192.0.2.10:80
  |     ^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_virtual_server_of_every_port_is_persistent() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: virtual server 192.0.2.10:0 tcp: one of every port must be persistent
 --> lvsd.yaml:2:5
  |
2 |   - address: 192.0.2.10
  |     ^^^^^^^^^^^^^^^^^^^
  |
  = help: write a port behind the address, or `persistence: 6m`

error: real server 192.0.2.11:80: DR and TUN cannot change the port
 --> lvsd.yaml:6:9
  |
6 |       - address: 192.0.2.11:80
  |         ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write port 0, or none; a check's `connect_port` may differ
"#,
    );
}

#[test]
fn a_netmask_is_of_the_family() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    persistence: {timeout: 50s, netmask: 64}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `netmask` is not one of the virtual server's family: write a prefix length from 1 to 32
 --> lvsd.yaml:5:33
  |
5 |     persistence: {timeout: 50s, netmask: 64}
  |                                 ^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_virtual_server_has_one_address() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    fwmark: 7
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `fwmark`: the virtual server has an address
 --> lvsd.yaml:5:5
  |
5 |     fwmark: 7
  |     ^^^^^^
  |
  = help: write one of address, fwmark and group
note: it is here
 --> lvsd.yaml:2:5
  |
2 |   - address: 192.0.2.10:80
  |     ^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_group_exists_and_its_entries_are_addresses() {
    is_refused(
        r#"virtual_servers:
  - group: wbe
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
virtual_server_groups:
  - name: web
    addresses: [192.0.2.1-300:80, 10.0.0.1:x]
"#,
        r#"
error: there is no virtual_server_group wbe
 --> lvsd.yaml:2:5
  |
2 |   - group: wbe
  |     ^^^^^^^^^^
  |
  = help: did you mean `web`?

error: `192.0.2.1-300` is not an entry of a virtual_server_group: its end is none
 --> lvsd.yaml:9:17
  |
9 |     addresses: [192.0.2.1-300:80, 10.0.0.1:x]
  |                 ^^^^^^^^^^^^^^^^
  |
  = help: write IP:PORT, IP-LAST:PORT, IP-IP:PORT or IP/PREFIX:PORT, an IPv6 address in brackets

error: `x` is not a port from 0 to 65535
 --> lvsd.yaml:9:35
  |
9 |     addresses: [192.0.2.1-300:80, 10.0.0.1:x]
  |                                   ^^^^^^^^^^
"#,
    );
}

#[test]
fn a_key_of_another_block_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    router_id: x
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `router_id` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     router_id: x
  |     ^^^^^^^^^
  |
  = help: it belongs in global
"#,
    );
}

#[test]
fn a_block_of_another_block_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    ipvs: {}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `ipvs` is not a keyword of a virtual server
 --> lvsd.yaml:5:5
  |
5 |     ipvs: {}
  |     ^^^^
  |
  = help: it belongs in the top level: look at the indentation
"#,
    );
}

#[test]
fn defaults_are_of_a_known_dialect() {
    is_refused(
        r#"defaults: keepalive
virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `defaults`: `keepalive` is not keepalived or native
 --> lvsd.yaml:1:11
  |
1 | defaults: keepalive
  |           ^^^^^^^^^
"#,
    );
}

#[test]
fn a_real_server_is_a_block() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - 192.0.2.11:80
"#,
        r#"
error: `real_servers` needs a block
 --> lvsd.yaml:5:5
  |
5 |     real_servers:
  |     ^^^^^^^^^^^^
  |
  = help: write `key: value` lines below `real_servers:`, each indented
"#,
    );
}

#[test]
fn a_list_within_a_list_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    scheduler_flags: [[sh-port], {a: 1}]
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `scheduler_flags`: a list stands within a list
 --> lvsd.yaml:5:23
  |
5 |     scheduler_flags: [[sh-port], {a: 1}]
  |                       ^^^^^^^^^
  |
  = help: remove the inner brackets, or the surplus `-`

error: `scheduler_flags` has no block
 --> lvsd.yaml:5:35
  |
5 |     scheduler_flags: [[sh-port], {a: 1}]
  |                                   ^
  |
  = help: write `scheduler_flags: VALUE`, VALUE being flags of the scheduler, e.g. [sh-port, sh-fallback]
"#,
    );
}

#[test]
fn a_block_where_a_value_belongs_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum: {a: 1}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `quorum` has no block
 --> lvsd.yaml:5:5
  |
5 |     quorum: {a: 1}
  |     ^^^^^^
  |
  = help: write `quorum: VALUE`, VALUE being a whole number from 1 to 2147483647
"#,
    );
}

#[test]
fn surplus_values_are_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    quorum: [1, 2]
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `quorum` takes fewer values
 --> lvsd.yaml:5:17
  |
5 |     quorum: [1, 2]
  |                 ^
  |
  = help: remove these
"#,
    );
}

#[test]
fn a_sync_daemon_needs_an_interface() {
    is_refused(
        r#"ipvs: {sync_daemon: {id: 3, maxlen: 5}}
virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `sync_daemon` needs an interface
 --> lvsd.yaml:1:8
  |
1 | ipvs: {sync_daemon: {id: 3, maxlen: 5}}
  |        ^^^^^^^^^^^
  |
  = help: write e.g. `interface: eth0`

error: `maxlen` is not a keyword of sync_daemon
 --> lvsd.yaml:1:29
  |
1 | ipvs: {sync_daemon: {id: 3, maxlen: 5}}
  |                             ^^^^^^
  |
  = help: did you mean `max_len`?
"#,
    );
}

#[test]
fn a_lower_threshold_needs_an_upper_one() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
        lower_threshold: 5
"#,
        r#"
error: `lower_threshold`: the kernel refuses 5 above an upper_threshold of 0
 --> lvsd.yaml:7:9
  |
7 |         lower_threshold: 5
  |         ^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn persistence_needs_a_timeout() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    persistence: {netmask: 24}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `persistence` needs a timeout
 --> lvsd.yaml:5:5
  |
5 |     persistence: {netmask: 24}
  |     ^^^^^^^^^^^
  |
  = help: write e.g. `timeout: 50s`
"#,
    );
}

#[test]
fn times_count_in_microseconds() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    interval: 1.0000001s
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `1.0000001s` has more than six decimals: times count in microseconds
 --> lvsd.yaml:5:15
  |
5 |     interval: 1.0000001s
  |               ^^^^^^^^^^
"#,
    );
}

#[test]
fn an_empty_item_is_an_error() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    scheduler_flags: [sh-port, ~]
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `sh-port` belongs to the scheduler sh, not to wrr
 --> lvsd.yaml:5:23
  |
5 |     scheduler_flags: [sh-port, ~]
  |                       ^^^^^^^

error: `scheduler_flags`: an item of the list is empty
 --> lvsd.yaml:5:32
  |
5 |     scheduler_flags: [sh-port, ~]
  |                                ^
"#,
    );
}

#[test]
fn a_key_is_a_word() {
    is_refused(
        r#"{a: 1}: b
"#,
        r#"
error: this key is not a word
 --> lvsd.yaml:1:1
  |
1 | {a: 1}: b
  | ^^^^^^
  |
  = help: write `key: value`; a value with braces goes in quotes
"#,
    );
}

#[test]
fn a_sorry_server_needs_an_address() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    sorry_server: {inhibit: true}
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `sorry_server` needs an address
 --> lvsd.yaml:5:5
  |
5 |     sorry_server: {inhibit: true}
  |     ^^^^^^^^^^^^
  |
  = help: write `address: IP:PORT`
"#,
    );
}

#[test]
fn a_merge_takes_a_mapping() {
    is_refused(
        r#"global: &g {router_id: a}
virtual_servers:
  - <<: 5
"#,
        r#"
error: a virtual server needs an address
 --> lvsd.yaml:2:1
  |
2 | virtual_servers:
  | ^^^^^^^^^^^^^^^
  |
  = help: write `address: IP:PORT`, `fwmark: N` or `group: NAME`

error: `<<` takes a mapping
 --> lvsd.yaml:3:9
  |
3 |   - <<: 5
  |         ^
  |
  = help: write e.g. `<<: *common`
"#,
    );
}

#[test]
fn a_scheduler_gets_the_likely_one_suggested() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wr
    forwarding: dr
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `scheduler`: `wr` is not a scheduler
 --> lvsd.yaml:3:16
  |
3 |     scheduler: wr
  |                ^^
  |
  = help: did you mean `rr`?
"#,
    );
}

#[test]
fn a_protocol_is_one_of_three() {
    is_refused(
        r#"virtual_servers:
  - address: 192.0.2.10:80
    scheduler: wrr
    forwarding: dr
    protocol: tpc
    real_servers:
      - address: 192.0.2.11:80
"#,
        r#"
error: `protocol`: `tpc` is not tcp, udp or sctp
 --> lvsd.yaml:5:15
  |
5 |     protocol: tpc
  |               ^^^
"#,
    );
}

fn is_refused(text: &str, wanted: &str) {
    says(text, wanted, Exit::Config);
}

fn says(text: &str, wanted: &str, exit: Exit) {
    let path = Path::new("lvsd.yaml");
    let loaded = load_from(&MemoryFiles::new(&[("lvsd.yaml", text)]), path, Strictness::Strict);
    let report = check::report(path, &loaded, false);
    let (said, _verdict) =
        report.text.trim_end().rsplit_once("\n\n").expect("the verdict is behind an empty line");
    assert_eq!(format!("\n{said}\n"), wanted);
    assert_eq!(report.exit, exit);
}
