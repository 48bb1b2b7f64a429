//! The exact text of diagnostics, as `lvsd check` shows them.

use std::path::Path;

use crate::cli::check;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::config::root;
use crate::daemon::startup::Exit;
use crate::syntax::files::MemoryFiles;
use crate::syntax::keyword::{Shape, Stance};

#[test]
fn an_unknown_word_of_the_top_level_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_sever 192.0.2.10 80 {
    lb_algo rr
}"#,
        ),
        r#"
error: `virtual_sever` is not a keyword of the top level
 --> keepalived.conf:1:1
  |
1 | virtual_sever 192.0.2.10 80 {
  | ^^^^^^^^^^^^^
  |
  = help: did you mean `virtual_server`?
"#,
    );
}

#[test]
fn an_unknown_word_gets_the_likely_one_suggested() {
    is_refused(
        virtual_server(r#"    lb_alog rr"#),
        r#"
error: `lb_alog` is not a keyword of virtual_server
 --> keepalived.conf:5:5
  |
5 |     lb_alog rr
  |     ^^^^^^^
  |
  = help: did you mean `lb_algo`?
"#,
    );
}

#[test]
fn an_unknown_word_nothing_is_like_is_an_error_too() {
    is_refused(
        virtual_server(r#"    frobnicate 3"#),
        r#"
error: `frobnicate` is not a keyword of virtual_server
 --> keepalived.conf:5:5
  |
5 |     frobnicate 3
  |     ^^^^^^^^^^
  |
  = help: remove it, or make it a comment with `#`: what it means is not known
"#,
    );
}

#[test]
fn an_unknown_block_is_skipped_and_does_not_derail_what_follows() {
    is_refused(
        real_server(
            r#"    TCP_CHEK {
        connect_timeout 3
    }
    wieght 1"#,
        ),
        r#"
error: `TCP_CHEK` is not a keyword of real_server
 --> keepalived.conf:6:5
  |
6 |     TCP_CHEK {
  |     ^^^^^^^^
  |
  = help: did you mean `TCP_CHECK`?

error: `wieght` is not a keyword of real_server
 --> keepalived.conf:9:5
  |
9 |     wieght 1
  |     ^^^^^^
  |
  = help: did you mean `weight`?
"#,
    );
}

#[test]
fn a_keyword_torn_in_two_is_put_together() {
    is_refused(
        real_server(
            r#"    TCP _CHECK {
    }"#,
        ),
        r#"
error: `TCP` is not a keyword of real_server
 --> keepalived.conf:6:5
  |
6 |     TCP _CHECK {
  |     ^^^^^^^^^^
  |
  = help: did you mean `TCP_CHECK`?
"#,
    );
}

#[test]
fn a_keyword_of_another_block_is_ignored_as_keepalived_does() {
    runs(
        real_server(r#"    lb_kind NAT"#),
        r#"
warning: `lb_kind` is not a keyword of real_server, and ignored here
 --> keepalived.conf:6:5
  |
6 |     lb_kind NAT
  |     ^^^^^^^
  |
  = help: it belongs in virtual_server
"#,
    );
}

#[test]
fn a_block_of_another_block_is_an_error() {
    is_refused(
        virtual_server(
            r#"    HTTP_GET {
        url { path / }
    }"#,
        ),
        r#"
error: `HTTP_GET` is not a keyword of virtual_server
 --> keepalived.conf:5:5
  |
5 |     HTTP_GET {
  |     ^^^^^^^^
  |
  = help: it belongs in real_server: look for a missing or surplus brace above
"#,
    );
}

#[test]
fn a_keyword_without_its_value_is_an_error() {
    is_refused(
        virtual_server(r#"    delay_loop"#),
        r#"
error: `delay_loop` needs a value
 --> keepalived.conf:5:5
  |
5 |     delay_loop
  |     ^^^^^^^^^^
  |
  = help: write `delay_loop` and seconds from 0.000001 to 4294967295
"#,
    );
}

#[test]
fn surplus_words_are_ignored_with_a_warning() {
    runs(
        real_server(r#"    weight 1 inhibit_on_failure"#),
        r#"
warning: behind `weight` there is a surplus word, which is ignored
 --> keepalived.conf:6:14
  |
6 |     weight 1 inhibit_on_failure
  |              ^^^^^^^^^^^^^^^^^^
  |
  = help: start a new line before `inhibit_on_failure`
"#,
    );
}

#[test]
fn whoever_follows_the_help_for_a_block_loses_nothing() {
    for (text, help) in [
        ("weight 1 MISC_CHECK {\n misc_path /bin/true\n }", "start a new line before `MISC_CHECK`"),
        (
            "weight 1 {\n TCP_CHECK {\n }\n }",
            "remove the braces, and leave what is in them: `TCP_CHECK` belongs here",
        ),
        ("weight 1 {\n }", "remove the braces"),
        ("weight 1 {\n pony\n }", "remove the braces and what is in them, which belongs to something else"),
        (
            "pony TCP_CHECK {\n }",
            "`TCP_CHECK` may begin a statement: remove `pony` before it, or make all of it a comment with `#`",
        ),
        ("pony {\n weight 1\n }", "write the word that was meant, or remove it and its block"),
    ] {
        let report = text_of(&String::from_utf8(real_server(text)).unwrap());
        assert!(report.contains(&format!("{help}\n")), "{report}");
    }
}

/// Each keyword behind each flag, number and time of its block.
#[test]
fn a_keyword_behind_another_ones_value_is_to_begin_a_new_line() {
    let frames = [
        ("virtual_server", "virtual_server 192.0.2.1 80 {\n@\n}\n"),
        ("real_server", "virtual_server 192.0.2.1 80 {\n real_server 10.0.0.1 80 {\n@\n}\n}\n"),
        ("HTTP_GET", "virtual_server 192.0.2.1 80 {\n real_server 10.0.0.1 80 {\n HTTP_GET {\n@\n}\n}\n}\n"),
        ("vrrp_instance", "vrrp_instance V {\n@\n}\n"),
        ("vrrp_script", "vrrp_script V {\n@\n}\n"),
        ("global_defs", "global_defs {\n@\n}\n"),
    ];
    let listing = root::listing();
    let mut wrong = Vec::new();
    for (block, frame) in frames {
        let own: Vec<_> = listing.iter().filter(|k| k.block == block && !k.names.is_empty()).collect();
        let first = own.iter().filter(|k| k.stance == Stance::Supported).filter_map(|k| match k.shape {
            Shape::Flag => Some(k.names[0].to_owned()),
            Shape::Number { min, .. } => Some(format!("{} {}", k.names[0], min.max(1))),
            Shape::Time => Some(format!("{} 1", k.names[0])),
            _ => None,
        });
        let first: Vec<String> = first.collect();
        assert!(!first.is_empty() && own.len() > 5, "{block}");
        for (before, behind) in first.iter().flat_map(|a| own.iter().map(move |b| (a, b.names[0]))) {
            for rest in ["{\n}", "x"] {
                let statement = format!("{before} {behind} {rest}");
                let report = text_of(&frame.replace('@', &statement));
                if !report.contains(&format!("start a new line before `{behind}`\n")) {
                    wrong.push(format!("{block}: {statement}\n{report}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of them, e.g. {}", wrong.len(), wrong[..wrong.len().min(5)].join("\n"));
}

#[test]
fn an_option_given_twice_counts_the_last_time() {
    runs(
        virtual_server(
            r#"    delay_loop 5
    delay_loop 6"#,
        ),
        r#"
warning: `delay_loop` is given twice: the last one counts
 --> keepalived.conf:6:5
  |
6 |     delay_loop 6
  |     ^^^^^^^^^^
  |
note: the first one is here
 --> keepalived.conf:5:5
  |
5 |     delay_loop 5
  |     ^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_number_out_of_range_is_ignored() {
    runs(
        real_server(r#"    weight 2147483648"#),
        r#"
warning: `weight` is out of range, and ignored: `2147483648` is not a whole number from 0 to 2147483647
 --> keepalived.conf:6:12
  |
6 |     weight 2147483648
  |            ^^^^^^^^^^
"#,
    );
}

#[test]
fn a_number_with_a_unit_is_an_error() {
    is_refused(
        real_server(r#"    weight 5x"#),
        r#"
error: `weight`: `5x` is not a whole number from 0 to 2147483647
 --> keepalived.conf:6:12
  |
6 |     weight 5x
  |            ^^
  |
  = help: write `5`
"#,
    );
}

#[test]
fn a_time_with_a_unit_is_understood_with_a_warning() {
    runs(
        virtual_server(r#"    delay_loop 6s"#),
        r#"
warning: `6s` is 6 seconds
 --> keepalived.conf:5:16
  |
5 |     delay_loop 6s
  |                ^^
  |
  = help: write `6`: keepalived knows no units and misreads it
"#,
    );
}

#[test]
fn a_time_with_seven_decimals_is_rounded() {
    runs(
        virtual_server(r#"    delay_loop 1.0000001"#),
        r#"
warning: `1.0000001` is rounded to 1 seconds: six decimals count
 --> keepalived.conf:5:16
  |
5 |     delay_loop 1.0000001
  |                ^^^^^^^^^
"#,
    );
}

#[test]
fn a_time_that_is_none_is_an_error() {
    is_refused(
        virtual_server(r#"    delay_loop soon"#),
        r#"
error: `delay_loop`: `soon` is not seconds from 0.000001 to 4294967295
 --> keepalived.conf:5:16
  |
5 |     delay_loop soon
  |                ^^^^
"#,
    );
}

#[test]
fn a_time_of_nothing_is_out_of_range() {
    runs(
        virtual_server(r#"    delay_loop 0"#),
        r#"
warning: `delay_loop` is out of range, and ignored: `0` is not seconds from 0.000001 to 4294967295
 --> keepalived.conf:5:16
  |
5 |     delay_loop 0
  |                ^
"#,
    );
}

#[test]
fn a_connect_timeout_beyond_keepalived_s_bound_is_ignored() {
    runs(
        virtual_server(r#"    connect_timeout 5000"#),
        r#"
warning: `connect_timeout` is out of range, and ignored: `5000` is not seconds from 0.000001 to 4294.967295
 --> keepalived.conf:5:21
  |
5 |     connect_timeout 5000
  |                     ^^^^
"#,
    );
}

#[test]
fn a_flag_takes_only_yes_or_no() {
    is_refused(
        virtual_server(r#"    inhibit_on_failure maybe"#),
        r#"
error: `inhibit_on_failure`: `maybe` is not `on` or `off`
 --> keepalived.conf:5:24
  |
5 |     inhibit_on_failure maybe
  |                        ^^^^^
"#,
    );
}

#[test]
fn a_scheduler_nobody_knows_is_an_error() {
    is_refused(
        virtual_server(r#"    lvs_sched wlcc"#),
        r#"
error: `lvs_sched`: `wlcc` is not a scheduler
 --> keepalived.conf:5:15
  |
5 |     lvs_sched wlcc
  |               ^^^^
  |
  = help: did you mean `wlc`?
"#,
    );
}

#[test]
fn a_forwarding_method_in_lower_case_is_an_error() {
    is_refused(
        virtual_server(r#"    lvs_method dr"#),
        r#"
error: `lvs_method`: `dr` is not a forwarding method: NAT, DR or TUN
 --> keepalived.conf:5:16
  |
5 |     lvs_method dr
  |                ^^
  |
  = help: did you mean `DR`?
"#,
    );
}

#[test]
fn a_gue_tunnel_needs_a_port() {
    is_refused(
        virtual_server(r#"    lvs_method TUN type gue"#),
        r#"
error: `lvs_method`: a tunnel of type gue needs a port
 --> keepalived.conf:5:20
  |
5 |     lvs_method TUN type gue
  |                    ^^^^^^^^
  |
  = help: write `lvs_method TUN type gue port N`, N being the UDP port real servers unpack at
"#,
    );
}

#[test]
fn an_ipip_tunnel_has_no_checksum() {
    is_refused(
        virtual_server(r#"    lvs_method TUN csum"#),
        r#"
error: `lvs_method`: a tunnel of type ipip has no checksum
 --> keepalived.conf:5:20
  |
5 |     lvs_method TUN csum
  |                    ^^^^
"#,
    );
}

#[test]
fn a_protocol_nobody_knows_is_an_error() {
    is_refused(
        virtual_server(r#"    protocol HTTP"#),
        r#"
error: `protocol`: `HTTP` is not TCP, UDP or SCTP
 --> keepalived.conf:5:14
  |
5 |     protocol HTTP
  |              ^^^^
"#,
    );
}

#[test]
fn a_port_glued_to_the_address_is_told_apart() {
    is_refused(
        top_level(
            r#"virtual_server 192.0.2.10:80 {
}"#,
        ),
        r#"
error: `virtual_server`: `192.0.2.10:80` is not an IP address
 --> keepalived.conf:1:16
  |
1 | virtual_server 192.0.2.10:80 {
  |                ^^^^^^^^^^^^^
  |
  = help: write the port as a word of its own: `192.0.2.10 80`
"#,
    );
}

#[test]
fn a_name_instead_of_an_address_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_server www.example.com 80 {
}"#,
        ),
        r#"
error: `virtual_server`: `www.example.com` is not an IP address
 --> keepalived.conf:1:16
  |
1 | virtual_server www.example.com 80 {
  |                ^^^^^^^^^^^^^^^
  |
  = help: write the address: names are not resolved here
"#,
    );
}

#[test]
fn a_port_out_of_range_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_server 192.0.2.10 65536 {
}"#,
        ),
        r#"
error: `virtual_server`: `65536` is not a port from 0 to 65535
 --> keepalived.conf:1:27
  |
1 | virtual_server 192.0.2.10 65536 {
  |                           ^^^^^
"#,
    );
}

#[test]
fn a_virtual_server_without_address_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_server {
}"#,
        ),
        r#"
error: `virtual_server` needs a value
 --> keepalived.conf:1:1
  |
1 | virtual_server {
  | ^^^^^^^^^^^^^^
  |
  = help: write `virtual_server IP [PORT]`, e.g. `virtual_server 192.0.2.10 80`
"#,
    );
}

#[test]
fn a_virtual_server_needs_a_block() {
    is_refused(
        top_level(r#"virtual_server 192.0.2.10 80"#),
        r#"
error: `virtual_server` needs a block
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80
  | ^^^^^^^^^^^^^^
  |
  = help: write `virtual_server IP [PORT] { ... }`
"#,
    );
}

#[test]
fn what_is_not_written_is_keepalived_s_default_with_a_warning() {
    runs(
        top_level(
            r#"virtual_server 192.0.2.10 80 {
    real_server 10.0.0.1 80 {
    }
}"#,
        ),
        r#"
warning: virtual server 192.0.2.10:80: no protocol is set: udp is taken
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `protocol TCP` or `protocol UDP`

warning: virtual server 192.0.2.10:80 udp: no lb_algo is set: wlc is taken
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `lb_algo wlc`

warning: virtual server 192.0.2.10:80 udp: no lb_kind is set: NAT is taken
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `lb_kind NAT`, DR or TUN
"#,
    );
}

#[test]
fn a_virtual_server_without_real_servers_is_left_out() {
    runs(
        top_level(
            r#"virtual_server 192.0.2.10 80 {
    protocol TCP
}"#,
        ),
        r#"
warning: keepalived.conf: there is no virtual server: nothing is directed

warning: virtual server 192.0.2.10:80 tcp: has no real server, and is left out
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_virtual_server_defined_twice_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_server 192.0.2.10 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 80 {
    }
}
virtual_server 192.0.2.10 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.2 80 {
    }
}"#,
        ),
        r#"
error: virtual server 192.0.2.10:80 tcp is defined twice
 --> keepalived.conf:8:1
  |
8 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: put its real servers into one virtual_server
note: the first one is here
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_real_server_defined_twice_is_an_error() {
    is_refused(
        virtual_server(
            r#"    real_server 10.0.0.1 {
    }"#,
        ),
        r#"
error: virtual server 192.0.2.10:80 tcp: real server 10.0.0.1:80 is defined twice
 --> keepalived.conf:7:1
  |
7 | real_server 10.0.0.1 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^
  |
note: the first one is here
 --> keepalived.conf:5:5
  |
5 |     real_server 10.0.0.1 {
  |     ^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_real_server_of_the_other_family_needs_a_tunnel() {
    is_refused(
        virtual_server(
            r#"    real_server fd00::1 80 {
    }"#,
        ),
        r#"
error: real server fd00::1: its family is not that of virtual server 192.0.2.10:80 tcp
 --> keepalived.conf:5:5
  |
5 |     real_server fd00::1 80 {
  |     ^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: only tunnels cross families: write `lb_kind TUN`, or an address of the same family
"#,
    );
}

#[test]
fn direct_routing_cannot_change_the_port() {
    runs(
        virtual_server(
            r#"    sorry_server 10.0.0.9 8080
    sorry_server_lvs_method DR"#,
        ),
        r#"
warning: sorry server 10.0.0.9:8080: DR and TUN cannot change the port: 80 is taken
 --> keepalived.conf:5:5
  |
5 |     sorry_server 10.0.0.9 8080
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn every_port_needs_persistence() {
    runs(
        top_level(
            r#"virtual_server 192.0.2.10 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 {
    }
}"#,
        ),
        r#"
warning: virtual server 192.0.2.10:0 tcp: a virtual server of every port must be persistent: persistence_timeout 360 is taken
 --> keepalived.conf:1:1
  |
1 | virtual_server 192.0.2.10 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write a port behind the address, or `persistence_timeout`
"#,
    );
}

#[test]
fn a_quorum_nobody_can_reach_is_lowered() {
    runs(
        virtual_server(r#"    quorum 5"#),
        r#"
warning: virtual server 192.0.2.10:80 tcp: quorum 5 is more than all real servers weigh: 1 is taken
 --> keepalived.conf:5:5
  |
5 |     quorum 5
  |     ^^^^^^^^
"#,
    );
}

#[test]
fn hysteresis_stays_below_the_quorum() {
    runs(
        virtual_server(r#"    hysteresis 5"#),
        r#"
warning: virtual server 192.0.2.10:80 tcp: hysteresis 5 is not less than quorum 1: 0 is taken
 --> keepalived.conf:5:5
  |
5 |     hysteresis 5
  |     ^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_quorum_that_can_never_be_gained_is_named() {
    runs(
        virtual_server("    weight 3\n    quorum 3\n    hysteresis 2"),
        r#"
warning: virtual server 192.0.2.10:80 tcp: quorum 3 and hysteresis 2 are more than all real servers weigh: quorum is never gained
 --> keepalived.conf:7:5
  |
7 |     hysteresis 2
  |     ^^^^^^^^^^^^
  |
  = help: gaining it takes weight 5 of 3: lower one of them
"#,
    );
}

#[test]
fn a_flag_of_another_scheduler_is_ignored() {
    runs(
        virtual_server(r#"    mh-port"#),
        r#"
warning: `mh-port` is ignored: it belongs to the scheduler mh, not to rr
 --> keepalived.conf:5:5
  |
5 |     mh-port
  |     ^^^^^^^
"#,
    );
}

#[test]
fn ops_is_for_udp() {
    runs(
        virtual_server(r#"    ops"#),
        r#"
warning: `ops` is ignored: it is for UDP, not for tcp
 --> keepalived.conf:5:5
  |
5 |     ops
  |     ^^^
"#,
    );
}

#[test]
fn granularity_of_ipv4_is_a_netmask() {
    is_refused(
        virtual_server(r#"    persistence_granularity 24"#),
        r#"
error: `persistence_granularity` of an IPv4 virtual server is a netmask
 --> keepalived.conf:5:5
  |
5 |     persistence_granularity 24
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write a netmask, e.g. 255.255.255.0
"#,
    );
}

#[test]
fn a_lower_threshold_the_kernel_refuses_is_left_out() {
    runs(
        real_server(r#"    lthreshold 10"#),
        r#"
warning: `lthreshold` is left out: the kernel refuses 10 above a uthreshold of 0
 --> keepalived.conf:6:5
  |
6 |     lthreshold 10
  |     ^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_group_that_does_not_exist_is_an_error() {
    is_refused(
        top_level(
            r#"virtual_server_group web {
    192.0.2.10 80
    192.0.2.20-192.0.2.10 80
}
virtual_server group wbe {
    real_server 10.0.0.1 80 {
    }
}"#,
        ),
        r#"
error: `192.0.2.20-192.0.2.10` is not an entry of a virtual_server_group: it ends before it begins
 --> keepalived.conf:3:5
  |
3 |     192.0.2.20-192.0.2.10 80
  |     ^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write IP [PORT], IP-LAST [PORT], IP-IP [PORT], IP/PREFIX [PORT] or fwmark N [inet|inet6]

error: there is no virtual_server_group wbe
 --> keepalived.conf:5:1
  |
5 | virtual_server group wbe {
  | ^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: did you mean `web`?
"#,
    );
}

#[test]
fn a_path_or_host_that_a_request_cannot_carry_is_told() {
    runs(
        real_server(
            r#"    HTTP_GET {
        url { path health }
        url { path "/a b" }
    }"#,
        ),
        r#"
warning: `path`: a path begins with a slash: `/health` is asked for
 --> keepalived.conf:7:15
  |
7 |         url { path health }
  |               ^^^^^^^^^^^

warning: `path`: a request cannot carry it as it is: `/a%20b` is asked for
 --> keepalived.conf:8:15
  |
8 |         url { path "/a b" }
  |               ^^^^^^^^^^
"#,
    );
    is_refused(
        real_server("    HTTP_GET {\n        virtualhost \"a\u{7}b\"\n        url { path / }\n    }"),
        r#"
error: `virtualhost`: a request cannot carry `a\u{7}b`
 --> keepalived.conf:7:9
  |
7 |         virtualhost "a␇b"
  |         ^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_regex_that_is_none_is_an_error_at_its_place() {
    is_refused(
        real_server(
            r#"    HTTP_GET {
        url {
            path /
            regex "ok(now"
        }
        url {
            path /
            regex "say \"ok\""
        }
        url {
            path /
            regex ok
            regex_options casless
            regex_min_offset 9
            regex_max_offset 3
        }
    }"#,
        ),
        r#"
error: `regex`: missing closing parenthesis, after `ok(now`
 --> keepalived.conf:9:13
  |
9 |             regex "ok(now"
  |             ^^^^^^^^^^^^^

error: `regex`: a backslash stands at the end
  --> keepalived.conf:13:20
   |
13 |             regex "say \"ok\""
   |                    ^^^^^
   |
   = help: a double quote within is written `\x22`, a backslash `\\\\`

warning: behind `regex` there are surplus words, which are ignored
  --> keepalived.conf:13:26
   |
13 |             regex "say \"ok\""
   |                          ^^^^
   |
   = help: one statement a line; a comment begins with `#`

error: `regex_options`: `casless` is not an option of PCRE2
  --> keepalived.conf:18:27
   |
18 |             regex_options casless
   |                           ^^^^^^^
   |
   = help: did you mean `caseless`?

error: `regex_max_offset` is less than `regex_min_offset`: nothing can match
  --> keepalived.conf:20:13
   |
20 |             regex_max_offset 3
   |             ^^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn what_a_regex_probably_does_not_mean_is_told() {
    runs(
        real_server(
            r#"    HTTP_GET {
        url {
            path /
            regex "\d+ users"
        }
        url {
            path /
            regex "\\d+ users\x21"
            regex_stack 1000 2000
        }
        url {
            path /
            regex_no_match
        }
    }"#,
        ),
        r#"
warning: `regex`: `\d` is read as `d`, as keepalived reads it
 --> keepalived.conf:9:20
  |
9 |             regex "\d+ users"
  |                    ^^^^^^^^^
  |
  = help: write `\\d` if PCRE2 is to see the backslash

warning: `regex_stack` is ignored: the matcher takes what memory it needs, up to 64 MiB
  --> keepalived.conf:14:13
   |
14 |             regex_stack 1000 2000
   |             ^^^^^^^^^^^

warning: this is ignored: the url has no `regex`
  --> keepalived.conf:18:13
   |
18 |             regex_no_match
   |             ^^^^^^^^^^^^^^
   |
note: this one
  --> keepalived.conf:16:9
   |
16 |         url {
   |         ^^^
"#,
    );
}

#[test]
fn what_ssl_get_says_without_effect_is_told() {
    runs(
        real_server(
            r#"    SSL_GET {
        enable_sni
        url { path / }
    }
    SSL_GET {
        virtualhost 10.0.0.1
        enable_sni
        url { path / }
    }
    HTTP_GET {
        enable_sni
        url { path / }
    }"#,
        ),
        r#"
warning: `enable_sni` sends no name: there is no virtualhost
 --> keepalived.conf:7:9
  |
7 |         enable_sni
  |         ^^^^^^^^^^
  |
  = help: write `sni_name NAME`

warning: `enable_sni` sends no name: the virtualhost is not that of a host
  --> keepalived.conf:12:9
   |
12 |         enable_sni
   |         ^^^^^^^^^^
   |
   = help: write `sni_name NAME`
note: this one
  --> keepalived.conf:11:9
   |
11 |         virtualhost 10.0.0.1
   |         ^^^^^^^^^^^^^^^^^^^^

warning: `enable_sni` is ignored: HTTP_GET speaks no TLS
  --> keepalived.conf:16:9
   |
16 |         enable_sni
   |         ^^^^^^^^^^
"#,
    );
}

#[test]
fn a_checker_that_is_not_built_is_an_error() {
    is_refused(
        real_server(
            r#"    MISC_CHECK {
        misc_path "/bin/true"
    }"#,
        ),
        r#"
error: `MISC_CHECK` is not yet supported: without this check the real server would always count as up
 --> keepalived.conf:6:5
  |
6 |     MISC_CHECK {
  |     ^^^^^^^^^^
"#,
    );
}

#[test]
fn nb_get_retry_is_read_as_retry() {
    runs(
        real_server(
            r#"    TCP_CHECK {
        nb_get_retry 3
    }
    HTTP_GET {
        nb_get_retry 3
        url { path / }
    }"#,
        ),
        r#"
warning: `nb_get_retry` is deprecated
 --> keepalived.conf:7:9
  |
7 |         nb_get_retry 3
  |         ^^^^^^^^^^^^
  |
  = help: write `retry`: keepalived does not know `nb_get_retry` in TCP_CHECK and ignores it, lvsd reads it as `retry`

warning: `nb_get_retry` is deprecated
  --> keepalived.conf:10:9
   |
10 |         nb_get_retry 3
   |         ^^^^^^^^^^^^
   |
   = help: write `retry`
"#,
    );
}

#[test]
fn http_get_needs_a_url_and_a_url_a_path() {
    is_refused(
        real_server(
            r#"    HTTP_GET {
    }
    HTTP_GET {
        url { status_code 200 }
    }"#,
        ),
        r#"
error: `HTTP_GET` needs a `url`
 --> keepalived.conf:6:5
  |
6 |     HTTP_GET {
  |     ^^^^^^^^
  |
  = help: write `url { path / }`

error: `url` needs a `path`
 --> keepalived.conf:9:9
  |
9 |         url { status_code 200 }
  |         ^^^
  |
  = help: write e.g. `path /`
"#,
    );
}

#[test]
fn a_status_that_is_none_is_an_error() {
    is_refused(
        real_server(
            r#"    HTTP_GET {
        url {
            path /
            status_code 200 600 300-200
        }
    }"#,
        ),
        r#"
error: `status_code`: `600` is not a status from 100 to 599, or a range of them
 --> keepalived.conf:9:29
  |
9 |             status_code 200 600 300-200
  |                             ^^^
  |
  = help: write e.g. `status_code 200` or `status_code 200-299 304`

error: `status_code`: `300-200` is not a status from 100 to 599, or a range of them
 --> keepalived.conf:9:33
  |
9 |             status_code 200 600 300-200
  |                                 ^^^^^^^
  |
  = help: write e.g. `status_code 200` or `status_code 200-299 304`
"#,
    );
}

#[test]
fn a_digest_of_another_length_is_an_error() {
    is_refused(
        real_server(
            r#"    HTTP_GET {
        url {
            path /
            digest 6f5902ac
        }
    }"#,
        ),
        r#"
error: `digest`: `6f5902ac` is not 32 hex digits (MD5), or sha256: and 64 hex digits
 --> keepalived.conf:9:20
  |
9 |             digest 6f5902ac
  |                    ^^^^^^^^
"#,
    );
}

#[test]
fn a_check_without_port_is_an_error() {
    is_refused(
        real_server_of_a_mark(
            r#"    TCP_CHECK {
    }"#,
        ),
        r#"
error: this checker has no port to connect to
 --> keepalived.conf:5:5
  |
5 |     TCP_CHECK {
  |     ^^^^^^^^^
  |
  = help: write `connect_port N`
"#,
    );
}

#[test]
fn a_source_of_the_other_family_is_an_error() {
    is_refused(
        real_server(
            r#"    TCP_CHECK {
        bindto fd00::2
    }"#,
        ),
        r#"
error: `bindto` fd00::2 and the address to check, 10.0.0.1, are of different families
 --> keepalived.conf:7:9
  |
7 |         bindto fd00::2
  |         ^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn mails_that_will_not_be_sent_are_told() {
    runs(
        top_level(
            r#"global_defs {
    notification_email {
        root@localhost
    }
    router_id edge-1
}"#,
        ),
        r#"
warning: keepalived.conf: there is no virtual server: nothing is directed

warning: no mail is sent: there is no `smtp_server`
 --> keepalived.conf:2:5
  |
2 |     notification_email {
  |     ^^^^^^^^^^^^^^^^^^
  |
  = help: write `smtp_server ADDRESS`
"#,
    );
    runs(
        top_level(
            r#"global_defs {
    smtp_server mx.example.org
    smtp_alert_vrrp
}"#,
        ),
        r#"
warning: keepalived.conf: there is no virtual server: nothing is directed

warning: no mail is sent: there is no `notification_email`
 --> keepalived.conf:2:5
  |
2 |     smtp_server mx.example.org
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `notification_email { ... }` with an address a line
"#,
    );
    runs(
        top_level(
            r#"global_defs {
    notification_email {
        root@localhost
    }
    smtp_server 192.0.2.25 587
}"#,
        ),
        r#"
warning: keepalived.conf: there is no virtual server: nothing is directed

warning: no mail is sent: nobody asks for any
 --> keepalived.conf:5:5
  |
5 |     smtp_server 192.0.2.25 587
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: write `smtp_alert`
"#,
    );
}

#[test]
fn mail_addresses_and_servers_are_looked_at() {
    is_refused(
        top_level(
            r#"global_defs {
    notification_email {
        ops@example.org "Duty <duty@example.org>" root
        Somebody <some@example.org>
        "nobody@"
    }
    notification_email_from "a b"
    smtp_server 192.0.2.300
    smtp_helo_name "two words"
    smtp_connect_timeout 1000
}"#,
        ),
        r#"
warning: `notification_email`: `Somebody` is not a mail address, and is left out
 --> keepalived.conf:4:9
  |
4 |         Somebody <some@example.org>
  |         ^^^^^^^^
  |
  = help: put name and address together into double quotes: `"NAME <USER@HOST>"`

warning: `notification_email`: `nobody@` is not a mail address, and is left out
 --> keepalived.conf:5:10
  |
5 |         "nobody@"
  |          ^^^^^^^
  |
  = help: write USER@HOST, or `"NAME <USER@HOST>"` in double quotes

warning: `notification_email_from`: `a b` is not a mail address, and is left out
 --> keepalived.conf:7:30
  |
7 |     notification_email_from "a b"
  |                              ^^^
  |
  = help: write USER@HOST, or `"NAME <USER@HOST>"` in double quotes

error: `smtp_server`: `192.0.2.300` is not an address or the name of a host, and a port from 1 to 65535 where it is not 25
 --> keepalived.conf:8:17
  |
8 |     smtp_server 192.0.2.300
  |                 ^^^^^^^^^^^

error: `smtp_helo_name`: `two words` is not the name of a host
 --> keepalived.conf:9:21
  |
9 |     smtp_helo_name "two words"
  |                     ^^^^^^^^^

warning: `smtp_connect_timeout` is out of range, and ignored: `1000` is not seconds from 0 to 600
  --> keepalived.conf:10:26
   |
10 |     smtp_connect_timeout 1000
   |                          ^^^^
"#,
    );
}

#[test]
fn a_sync_daemon_follows_one_instance() {
    is_refused(
        top_level(
            r#"global_defs {
    lvs_sync_daemon eth0 inst VI_1 prot 8848
}"#,
        ),
        r#"
error: `lvs_sync_daemon`: `prot` is not an option of a sync daemon
 --> keepalived.conf:2:36
  |
2 |     lvs_sync_daemon eth0 inst VI_1 prot 8848
  |                                    ^^^^
  |
  = help: did you mean `port`?
"#,
    );
}

#[test]
fn timeouts_have_a_range() {
    is_refused(
        top_level(
            r#"global_defs {
    lvs_timeouts tcp 9999999
    lvs_timeouts icmp 3
    lvs_timeouts tcp 9 udp
}"#,
        ),
        r#"
warning: `lvs_timeouts` is out of range, and ignored: `9999999` is not a whole number from 0 to 2678400
 --> keepalived.conf:2:22
  |
2 |     lvs_timeouts tcp 9999999
  |                      ^^^^^^^

error: `lvs_timeouts`: `icmp` is not tcp, tcpfin or udp
 --> keepalived.conf:3:18
  |
3 |     lvs_timeouts icmp 3
  |                  ^^^^

error: `lvs_timeouts`: `udp` needs a value
 --> keepalived.conf:4:24
  |
4 |     lvs_timeouts tcp 9 udp
  |                        ^^^
  |
  = help: write a whole number from 0 to 2678400 behind it
"#,
    );
}

#[test]
fn a_quote_that_is_never_closed_is_an_error() {
    is_refused(
        top_level(
            r#"global_defs {
    router_id "edge 1
}"#,
        ),
        r#"
error: this quote is never closed
 --> keepalived.conf:2:15
  |
2 |     router_id "edge 1
  |               ^
  |
  = help: write the closing `"` on the same line
"#,
    );
}

#[test]
fn a_brace_that_is_never_closed_is_shown() {
    is_refused(
        top_level(
            r#"global_defs {
    router_id edge-1

virtual_server 192.0.2.10 80 {
    protocol TCP
}"#,
        ),
        r#"
error: the block of `global_defs` is never closed
 --> keepalived.conf:1:13
  |
1 | global_defs {
  |             ^
  |
  = help: write the missing `}`

error: `virtual_server` is not a keyword of global_defs
 --> keepalived.conf:4:1
  |
4 | virtual_server 192.0.2.10 80 {
  | ^^^^^^^^^^^^^^
  |
  = help: it belongs in the top level: look for a missing or surplus brace above
"#,
    );
}

#[test]
fn a_brace_that_closes_nothing_is_an_error() {
    is_refused(
        top_level(
            r#"global_defs {
}
}"#,
        ),
        r#"
error: `}` closes nothing
 --> keepalived.conf:3:1
  |
3 | }
  | ^
  |
  = help: remove it, or write the missing `{` above
"#,
    );
}

#[test]
fn a_brace_without_keyword_is_an_error() {
    is_refused(
        top_level(
            r#"{
    router_id edge-1
}"#,
        ),
        r#"
error: `{` without a keyword before it
 --> keepalived.conf:1:1
  |
1 | {
  | ^
  |
  = help: write the keyword whose block this is before the brace
"#,
    );
}

#[test]
fn a_definition_by_itself_is_an_error() {
    is_refused(
        top_level(
            r#"$IF=$NIC
$NIC=$IF
global_defs {
    router_id $IF
}"#,
        ),
        r#"
error: `$IF` is defined by itself: $IF -> $NIC -> $IF
 --> keepalived.conf:4:15
  |
4 |     router_id $IF
  |               ^^^
  |
note: `$IF` is defined here
 --> keepalived.conf:2:1
  |
2 | $NIC=$IF
  | ^^^^^
"#,
    );
}

#[test]
fn a_definition_nobody_made_is_an_error_in_braces() {
    is_refused(
        top_level(
            r#"$NAME=edge-1
global_defs {
    router_id ${NAMES}
}"#,
        ),
        r#"
error: `${NAMES}` is not defined
 --> keepalived.conf:3:15
  |
3 |     router_id ${NAMES}
  |               ^^^^^^^^
  |
  = help: did you mean `$NAME`?
"#,
    );
}

#[test]
fn a_dollar_word_nobody_defined_stays() {
    runs(
        top_level(
            r#"global_defs {
    router_id $HOSTNAME
}"#,
        ),
        r#"
warning: keepalived.conf: there is no virtual server: nothing is directed

warning: `$HOSTNAME` is not defined and stays as it is
 --> keepalived.conf:2:15
  |
2 |     router_id $HOSTNAME
  |               ^^^^^^^^^
  |
  = help: define it above: `$HOSTNAME=value`
"#,
    );
}

#[test]
fn a_word_out_of_a_definition_is_shown_at_its_use_and_its_definition() {
    is_refused(
        virtual_server(
            r#"$ALGO=wlcc
lvs_sched $ALGO"#,
        ),
        r#"
error: `lvs_sched`: `wlcc` is not a scheduler
 --> keepalived.conf:6:11
  |
6 | lvs_sched $ALGO
  |           ^^^^^
  |
  = help: did you mean `wlc`?
note: `$ALGO` is defined here
 --> keepalived.conf:5:1
  |
5 | $ALGO=wlcc
  | ^^^^^^
"#,
    );
}

#[test]
fn a_line_of_a_definition_of_several_lines_is_shown_itself() {
    is_refused(
        virtual_server(
            r#"$COMMON= \
    delay_loop 5 \
    weihgt 3
$COMMON"#,
        ),
        r#"
error: `weihgt` is not a keyword of virtual_server
 --> keepalived.conf:7:5
  |
7 |     weihgt 3
  |     ^^^^^^
  |
  = help: did you mean `weight`?
"#,
    );
}

#[test]
fn what_cannot_be_had_of_the_environment_or_by_chance_is_an_error() {
    is_refused(
        top_level(
            r#"global_defs {
    router_id ${_RANDOM 5 1}
    router_id ${_ENV LVSD_NOT_THERE}
    router_id ${_ENV}
}"#,
        ),
        r#"
error: `${_RANDOM 5 1}`: this is not a range
 --> keepalived.conf:2:15
  |
2 |     router_id ${_RANDOM 5 1}
  |               ^^^^^^^^^^^^^^
  |
  = help: write `${_RANDOM MIN MAX}`, two whole numbers, the lesser first

error: `${_ENV LVSD_NOT_THERE}`: the environment has no variable LVSD_NOT_THERE
 --> keepalived.conf:3:15
  |
3 |     router_id ${_ENV LVSD_NOT_THERE}
  |               ^^^^^^^^^^^^^^^^^^^^^^

error: `${_ENV}` needs the name of a variable
 --> keepalived.conf:4:15
  |
4 |     router_id ${_ENV}
  |               ^^^^^^^
  |
  = help: write e.g. `${_ENV SITE}`
"#,
    );
}

#[test]
fn a_repetition_that_cannot_be_read_is_an_error() {
    is_refused(
        top_level("~SEQ(i,1,0,3) router_id $i\n~LST({a,b},{1}) x"),
        r#"
error: this repetition cannot be read: a step of 0 never ends
 --> keepalived.conf:1:1
  |
1 | ~SEQ(i,1,0,3) router_id $i
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^

error: this repetition cannot be read: each row needs as many values as there are names
 --> keepalived.conf:2:1
  |
2 | ~LST({a,b},{1}) x
  | ^^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn a_carriage_return_alone_is_an_error() {
    let text = b"# all of this is a comment\rglobal_defs {\r}\r";
    let report = "error: a line ends with a carriage return alone\n --> keepalived.conf:1:27\n";
    let path = Path::new("keepalived.conf");
    let loaded = load_from(&MemoryFiles([(path.to_owned(), text.to_vec())].into()), path, Strictness::Strict);
    assert!(
        check::report(path, &loaded, false).text.starts_with(report),
        "{}",
        check::report(path, &loaded, false).text
    );
    assert!(loaded.config.is_none());
}

#[test]
fn a_space_of_the_web_is_read_as_a_space() {
    runs(
        top_level("global_defs {\n    router_id\u{a0}edge-1\n    lvs_flush\u{3000}on\n}"),
        "\nwarning: keepalived.conf: there is no virtual server: nothing is directed\n\nwarning: a no-break space (U+00A0) stands here, which is read as a space (2 of them in this file)\n --> keepalived.conf:2:14\n  |\n2 |     router_id\u{a0}edge-1\n  |              ^\n  |\n  = help: replace it by an ordinary space: keepalived takes it for a letter\n",
    );
}

#[test]
fn a_word_that_is_not_utf_8_is_an_error() {
    is_refused(
        of_bytes(b"# caf\xe9\nglobal_defs {\n    router_id caf\xe9\n}\n"),
        r#"
error: this word is not UTF-8
 --> keepalived.conf:3:15
  |
3 |     router_id caf�
  |               ^^^^
  |
  = help: save the file in UTF-8, or correct the word
"#,
    );
}

#[test]
fn a_binary_file_is_said_to_be_one() {
    is_refused(
        of_bytes(b"\x7fELF\x00\x01"),
        r#"
error: keepalived.conf: is not a text file (it holds NUL bytes)
"#,
    );
}

#[test]
fn a_byte_order_mark_is_skipped() {
    runs(
        of_bytes(b"\xef\xbb\xbfglobal_defs {\r\n    lvs_flush\r\n}\r\n"),
        "\nwarning: keepalived.conf: there is no virtual server: nothing is directed\n\nwarning: the file begins with a byte order mark, which is skipped here\n --> keepalived.conf:1:1\n  |\n1 | \u{feff}global_defs {\n  | ^\n  |\n  = help: save the file without it: keepalived takes it as part of the first word\n",
    );
}

#[test]
fn an_include_that_does_not_exist_is_an_error() {
    is_refused(
        top_level(
            r#"include none.conf
include conf.d/*.conf
includew conf.d/*.conf
include"#,
        ),
        r#"
error: none.conf: there is no such file
 --> keepalived.conf:1:9
  |
1 | include none.conf
  |         ^^^^^^^^^

warning: `conf.d/*.conf` matches no file
 --> keepalived.conf:2:9
  |
2 | include conf.d/*.conf
  |         ^^^^^^^^^^^^^

error: `conf.d/*.conf` matches no file
 --> keepalived.conf:3:10
  |
3 | includew conf.d/*.conf
  |          ^^^^^^^^^^^^^

error: `include` needs a value
 --> keepalived.conf:4:1
  |
4 | include
  | ^^^^^^^
  |
  = help: write `include FILE`, e.g. `include conf.d/*.conf`
"#,
    );
}

#[test]
fn a_file_that_includes_itself_is_an_error() {
    is_refused(
        top_level(r#"include keepalived.conf"#),
        r#"
error: keepalived.conf: includes itself
 --> keepalived.conf:1:9
  |
1 | include keepalived.conf
  |         ^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn an_include_in_the_middle_of_a_line_is_an_error() {
    is_refused(
        top_level(r#"global_defs { include x.conf }"#),
        r#"
error: `include` must begin its line
 --> keepalived.conf:1:15
  |
1 | global_defs { include x.conf }
  |               ^^^^^^^
  |
  = help: write it on a line of its own
"#,
    );
}

#[test]
fn blocks_have_a_depth_at_most() {
    is_refused(
        top_level(&("a { ".repeat(40) + &"} ".repeat(40))),
        r#"
error: `a` is not a keyword of the top level
 --> keepalived.conf:1:1
  |
1 | a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a...
  | ^
  |
  = help: what it means is not known: write the word that was meant, or remove it and its block

error: blocks nest deeper than 32
 --> keepalived.conf:1:131
  |
1 | ...{ a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { } } } } } } } } } } } } } } } } } } ...
  |                                                                    ^
"#,
    );
}

fn runs(text: Vec<u8>, wanted: &str) {
    says(text, wanted, Exit::Ok);
}

fn is_refused(text: Vec<u8>, wanted: &str) {
    says(text, wanted, Exit::Config);
}

fn text_of(text: &str) -> String {
    let path = Path::new("keepalived.conf");
    let files = MemoryFiles([(path.to_owned(), text.as_bytes().to_vec())].into());
    check::report(path, &load_from(&files, path, Strictness::Strict), false).text
}

fn says(text: Vec<u8>, wanted: &str, exit: Exit) {
    let path = Path::new("keepalived.conf");
    let files = MemoryFiles([(path.to_owned(), text)].into());
    let loaded = load_from(&files, path, Strictness::Strict);
    let report = check::report(path, &loaded, false);
    let (said, _verdict) =
        report.text.trim_end().rsplit_once("\n\n").expect("the verdict is behind an empty line");
    assert_eq!(format!("\n{said}\n"), wanted);
    assert_eq!(report.exit, exit);
}

fn of_bytes(text: &[u8]) -> Vec<u8> {
    text.to_vec()
}

fn top_level(text: &str) -> Vec<u8> {
    format!("{text}\n").into_bytes()
}

/// In a virtual server that lacks nothing.
fn virtual_server(text: &str) -> Vec<u8> {
    let head = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";
    format!("{head}{text}\nreal_server 10.0.0.1 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n").into_bytes()
}

/// In a real server of a virtual server that lacks nothing.
fn real_server(text: &str) -> Vec<u8> {
    let head = "virtual_server 192.0.2.10 80 {\nprotocol TCP\nlb_algo rr\nlb_kind NAT\n";
    format!("{head}real_server 10.0.0.1 80 {{\n{text}\n}}\n}}\n").into_bytes()
}

fn real_server_of_a_mark(text: &str) -> Vec<u8> {
    let head = "virtual_server fwmark 1 {\nlb_algo rr\nlb_kind DR\n";
    format!("{head}real_server 10.0.0.1 {{\n{text}\n}}\n}}\n").into_bytes()
}
