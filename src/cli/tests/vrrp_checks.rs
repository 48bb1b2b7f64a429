//! What virtual routers say of each other, of virtual servers and of this host, word by word.

use std::path::Path;

use crate::cli::check::report;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::MemoryFiles;

#[test]
fn intervals_are_those_of_the_version() {
    refused(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    advert_int 0.5
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    advert_int 1.5
    virtual_ipaddress {
        192.0.2.2
    }
}
vrrp_instance c {
    interface eth0
    virtual_router_id 3
    version 3
    advert_int 0.015
    virtual_ipaddress {
        192.0.2.3
    }
}
vrrp_instance d {
    interface eth0
    virtual_router_id 4
    version 3
    advert_int 41
    virtual_ipaddress {
        192.0.2.4
    }
}
vrrp_instance e {
    interface eth0
    virtual_router_id 5
    version 2
    virtual_ipaddress {
        fe80::5
    }
}
",
        r#"
error: `advert_int`: version 2 counts in whole seconds: 0.5 s is none
 --> keepalived.conf:4:5
  |
4 |     advert_int 0.5
  |     ^^^^^^^^^^^^^^
  |
  = help: write `version 3` in this instance, on all routers of it, or a whole number

warning: `advert_int`: version 2 counts in whole seconds: 1.5 s is none, 2 s is taken
  --> keepalived.conf:12:5
   |
12 |     advert_int 1.5
   |     ^^^^^^^^^^^^^^

warning: `advert_int`: version 3 counts in steps of 0.01 s: 0.015 s is none, 0.02 s is taken
  --> keepalived.conf:21:5
   |
21 |     advert_int 0.015
   |     ^^^^^^^^^^^^^^^^

error: `advert_int`: version 3 can say 40.95 s at most: 41 s is more
  --> keepalived.conf:30:5
   |
30 |     advert_int 41
   |     ^^^^^^^^^^^^^

error: vrrp_instance e: version 2 knows no IPv6
  --> keepalived.conf:38:5
   |
38 |     version 2
   |     ^^^^^^^^^
   |
   = help: write version 3 on all routers of it, or leave it out

keepalived.conf: 3 errors, 2 warnings: cannot be run
"#,
    );
}

#[test]
fn preemption_that_cannot_be_is_told() {
    runs(
        "\
vrrp_instance a {
    state MASTER
    interface eth0
    virtual_router_id 1
    priority 150
    nopreempt
    preempt_delay 5
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    priority 255
    nopreempt
    virtual_ipaddress {
        192.0.2.2
    }
}
vrrp_instance c {
    interface eth0
    virtual_router_id 3
    nopreempt
    preempt_delay 5
    virtual_ipaddress {
        192.0.2.3
    }
}
",
        r#"
warning: vrrp_instance a: `nopreempt` does not go with `state MASTER`, and is ignored
 --> keepalived.conf:6:5
  |
6 |     nopreempt
  |     ^^^^^^^^^
  |
  = help: write `state BACKUP`: a Master that was away then leaves the other one alone

warning: vrrp_instance a: `preempt_delay` does not go with `state MASTER`, and is ignored
 --> keepalived.conf:7:5
  |
7 |     preempt_delay 5
  |     ^^^^^^^^^^^^^^^
  |
  = help: write `state BACKUP`: it still becomes Master, after the delay

warning: vrrp_instance b: `nopreempt` does not go with priority 255, and is ignored
  --> keepalived.conf:16:5
   |
16 |     nopreempt
   |     ^^^^^^^^^
   |
   = help: an owner of addresses always preempts: write a priority up to 254

warning: vrrp_instance c: `preempt_delay` does not go with `nopreempt`, and is ignored
  --> keepalived.conf:25:5
   |
25 |     preempt_delay 5
   |     ^^^^^^^^^^^^^^^
   |
   = help: remove it

keepalived.conf: 0 virtual servers, 0 real servers, 3 virtual routers: 4 warnings: can be run
"#,
    );
}

/// Each row was tried beside keepalived 2.2.7: its words, and what it makes of them.
#[test]
fn what_keepalived_corrects_of_state_and_preemption_is_corrected_alike() {
    use crate::vrrp::settings::Beginning::{Backup, Master};
    const DELAY: &str = "preempt_delay 20";
    for (words, priority, is_strict, state, preempts, delay, warnings) in [
        ("state MASTER", 100, false, Master, true, 0, 0),
        ("state MASTER; preempt_delay 20", 100, false, Master, true, 0, 1),
        ("state BACKUP; preempt_delay 20", 100, false, Backup, true, 20, 0),
        (DELAY, 100, false, Backup, true, 20, 0),
        ("state MASTER; nopreempt", 100, false, Master, true, 0, 1),
        ("state MASTER; nopreempt; preempt_delay 20", 100, false, Master, true, 0, 2),
        ("state BACKUP; nopreempt; preempt_delay 20", 100, false, Backup, false, 0, 1),
        ("state BACKUP; preempt_delay 20", 255, false, Backup, true, 20, 0),
        ("state MASTER; preempt_delay 20", 255, false, Master, true, 0, 1),
        (DELAY, 255, false, Master, true, 0, 1),
        ("nopreempt; preempt_delay 20", 255, false, Master, true, 0, 2),
        ("state BACKUP; nopreempt", 255, false, Backup, true, 0, 1),
        ("state MASTER", 100, true, Backup, true, 0, 1),
        ("state MASTER; nopreempt", 100, true, Backup, false, 0, 1),
        ("state MASTER; preempt_delay 20", 100, true, Backup, true, 0, 2),
        ("state BACKUP; nopreempt", 100, true, Backup, false, 0, 0),
        ("state BACKUP", 255, true, Master, true, 0, 1),
        ("state BACKUP; preempt_delay 20", 255, true, Master, true, 0, 2),
    ] {
        let strict = if is_strict { "strict_mode on" } else { "" };
        let text = format!(
            "vrrp_instance a {{\n interface eth0\n virtual_router_id 1\n priority {priority}\n {}\n {strict}\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n",
            words.replace("; ", "\n ")
        );
        let files = MemoryFiles::new(&[("keepalived.conf", &*text), ("/links/eth0", "")]);
        let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
        let config = loaded.config.as_ref().expect(words);
        let instance = &config.vrrp.instances[0];
        let got = (instance.beginning, instance.preempts, instance.preempt_delay.as_secs());
        assert_eq!(got, (state, preempts, delay), "{words}, priority {priority}, strict {is_strict}");
        let told = loaded.diagnostics.iter().filter(|d| d.message.contains("is ignored")).count();
        assert_eq!(told, warnings, "{words}, priority {priority}, strict {is_strict}");
    }
}

#[test]
fn shell_words_that_no_shell_will_see_and_programs_out_of_path_are_told_for_every_script() {
    let text = "\
global_defs {
    startup_script \"echo up > /run/up\"
    vrrp_notify_fifo /run/fifo
    vrrp_notify_fifo_script \"/usr/local/src/nginx_check.sh | logger\"
}
vrrp_script a {
    script \"/usr/local/src/nginx_check.sh && exit 0\"
}
vrrp_script b {
    script \"killall -0 nginx\"
}
vrrp_script c {
    script \"</dev/tcp/127.0.0.1/3306\"
}
vrrp_script d {
    script \"if [ -e '/run/a' ]; then exit 1; fi\"
}
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    notify_master \"/usr/local/src/nginx_check.sh $HOME\"
    virtual_ipaddress {
        192.0.2.1
    }
    track_script {
        a
        b
        c
        d
    }
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    quorum_up \"/usr/local/src/nginx_check.sh up; true\"
    real_server 10.0.0.1 80 {
        notify_down \"/usr/local/src/nginx_check.sh 2>&1\"
        TCP_CHECK {
        }
    }
}
";
    let files = MemoryFiles::new(&[
        ("keepalived.conf", text),
        ("/links/eth0", ""),
        ("/bin/sh", ""),
        ("/usr/local/src/nginx_check.sh", "#!/bin/sh\n"),
    ]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    let config = loaded.config.as_ref().expect("it runs");
    assert_eq!(config.vrrp.scripts["c"].command.words, ["/bin/sh", "-c", "</dev/tcp/127.0.0.1/3306"]);
    let told = |d: &Diagnostic| format!("{} = {}", d.message, d.help.as_deref().unwrap_or_default());
    let about = ["no shell reads", "there is no such program", "only bash"];
    let mut said: Vec<String> = loaded.diagnostics.iter().map(told).collect();
    said.retain(|line| about.iter().any(|words| line.contains(words)));
    said.sort();
    let gone =
        "until it is there, the script counts as failed; keepalived leaves it out, as if it never failed";
    let folders = "/usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin";
    let argument = |what: &str, word: &str, fixed: &str| {
        let program = "/usr/local/src/nginx_check.sh";
        format!(
            "{what}: no shell reads this command: `{word}` is an argument of {program} = write `/bin/sh -c '{program} {fixed}'`, or put it into a script; keepalived starts none either"
        )
    };
    let mut wanted = vec![
        argument("`notify_down`", "2>&1", "2>&1"),
        argument("`quorum_up`", "up;", "up; true"),
        argument("the FIFO's script", "|", "| logger"),
        argument("vrrp_instance a", "$HOME", "$HOME"),
        argument("vrrp_script a", "&&", "&& exit 0"),
        "`script`: only bash knows /dev/tcp/127.0.0.1/3306, it is no file = write `/bin/bash -c '</dev/tcp/127.0.0.1/3306'`: /bin/sh runs this one, as for keepalived, and where that is dash (Debian, Ubuntu) it always fails".to_owned(),
        "`startup_script`: no shell reads this command: `>` is an argument of echo = write `/bin/sh -c 'echo up > /run/up'`, or put it into a script; keepalived starts none either".to_owned(),
        format!("vrrp_script b: killall: there is no such program in {folders} = write its whole path; {gone}"),
        format!(
            "vrrp_script d: no shell reads this command: `if` is looked for as a program = put it into a script, and write the script's path; {gone}"
        ),
    ];
    wanted.sort();
    assert_eq!(said, wanted);
    // A host that shows no shell shows none of its programs.
    let files = MemoryFiles::new(&[("keepalived.conf", text), ("/links/eth0", "")]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    assert!(loaded.diagnostics.iter().all(|d| !d.message.contains("no such program")));
}

#[test]
fn strict_mode_on_the_address_of_a_virtual_server_is_told() {
    refused(
        "\
global_defs {
    vrrp_strict
}
vrrp_instance a {
    state MASTER
    interface eth0
    virtual_router_id 1
    priority 150
    preempt_delay 5
    use_vmac
    vmac_xmit_base
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    priority 100
    unicast_peer {
        192.0.2.9
    }
    virtual_ipaddress {
        192.0.2.2
    }
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 80 {
    }
}
",
        r#"
warning: vrrp_instance a: in strict mode lvsd accepts packets to its addresses all the same
  --> keepalived.conf:2:5
   |
 2 |     vrrp_strict
   |     ^^^^^^^^^^^
   |
   = help: keepalived drops them before IPVS sees them (no_accept), and with them all traffic of that virtual server: remove strict mode
note: 192.0.2.1:80 is one of its addresses
  --> keepalived.conf:27:1
   |
27 | virtual_server 192.0.2.1 80 {
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^

warning: vrrp_instance b: in strict mode lvsd accepts packets to its addresses all the same
 --> keepalived.conf:2:5
  |
2 |     vrrp_strict
  |     ^^^^^^^^^^^
  |
  = help: keepalived drops them (no_accept); a director must not, or its virtual servers get no traffic

warning: vrrp_instance a: `state MASTER` in strict mode is for priority 255, and is ignored
 --> keepalived.conf:5:5
  |
5 |     state MASTER
  |     ^^^^^^^^^^^^
  |
  = help: write `state BACKUP`: the highest priority becomes Master in any case

warning: vrrp_instance a: `preempt_delay` does not go with strict mode, and is ignored
 --> keepalived.conf:9:5
  |
9 |     preempt_delay 5
  |     ^^^^^^^^^^^^^^^
  |
  = help: remove it

warning: vrrp_instance a: `vmac_xmit_base` does not go with strict mode, and is ignored
  --> keepalived.conf:11:5
   |
11 |     vmac_xmit_base
   |     ^^^^^^^^^^^^^^

error: vrrp_instance b: strict mode knows no unicast
  --> keepalived.conf:20:5
   |
20 |     unicast_peer {
   |     ^^^^^^^^^^^^
   |
   = help: remove unicast_peer, or write `strict_mode off`

keepalived.conf: 1 error, 5 warnings: cannot be run
"#,
    );
}

#[test]
fn one_number_is_one_virtual_router_of_a_link() {
    refused(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance c {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        fe80::1
    }
}
vrrp_instance d {
    interface lo
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.4
    }
}
",
        r#"
error: vrrp_instance b: a has virtual_router_id 1 of IPv4 on eth0, too
  --> keepalived.conf:10:5
   |
10 |     virtual_router_id 1
   |     ^^^^^^^^^^^^^^^^^^^
   |
   = help: give each virtual router of a network its own number

warning: vrrp_instance b: 192.0.2.1 is an address of a, too
  --> keepalived.conf:12:9
   |
12 |         192.0.2.1
   |         ^^^^^^^^^
   |
   = help: the one that stops being Master takes it away from the other one

error: vrrp_instance d: advertisements cannot travel on the loopback interface
  --> keepalived.conf:23:5
   |
23 |     interface lo
   |     ^^^^^^^^^^^^
   |
   = help: write the interface that leads to the other routers

keepalived.conf: 2 errors, 1 warning: cannot be run
"#,
    );
}

#[test]
fn groups_are_of_several_instances_that_move_alike() {
    refused(
        "\
vrrp_script chk {
    script /usr/local/src/nginx_check.sh
    weight 10
}
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    track_script {
        chk
    }
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    nopreempt
    track_script {
        chk weight 254
        chkk
    }
    virtual_ipaddress {
        192.0.2.2
    }
}
vrrp_sync_group G {
    group {
        a
        b
    }
}
vrrp_sync_group H {
    group {
        a
    }
}
vrrp_sync_group I {
    group {
        c
        b
    }
}
",
        r#"
warning: vrrp_instance a: weight 10 of what it follows does not count: it is in vrrp_sync_group G
 --> keepalived.conf:5:15
  |
5 | vrrp_instance a {
  |               ^
  |
  = help: write `sync_group_tracking_weight` in the group, or follow it there

warning: vrrp_instance a: weight 10 of what it follows does not count: it is in vrrp_sync_group H
 --> keepalived.conf:5:15
  |
5 | vrrp_instance a {
  |               ^
  |
  = help: write `sync_group_tracking_weight` in the group, or follow it there

warning: vrrp_instance b: weight 10 of what it follows does not count: it is in vrrp_sync_group I
  --> keepalived.conf:15:15
   |
15 | vrrp_instance b {
   |               ^
   |
   = help: write `sync_group_tracking_weight` in the group, or follow it there

warning: `weight` of `chk` is not from -253 to 253, and is ignored
  --> keepalived.conf:20:13
   |
20 |         chk weight 254
   |             ^^^^^^^^^^

error: there is no vrrp_script `chkk`
  --> keepalived.conf:21:9
   |
21 |         chkk
   |         ^^^^
   |
   = help: did you mean `chk`?

warning: vrrp_sync_group G: a preempts and b does not, and they change state together
  --> keepalived.conf:27:17
   |
27 | vrrp_sync_group G {
   |                 ^
   |
   = help: write `nopreempt` in all of them, or in none

warning: vrrp_sync_group H has one instance: there is nothing to keep in step
  --> keepalived.conf:33:17
   |
33 | vrrp_sync_group H {
   |                 ^
   |
   = help: name at least two in `group { ... }`, or remove it

error: vrrp_instance a is in vrrp_sync_group G already
  --> keepalived.conf:35:9
   |
35 |         a
   |         ^
   |
note: that group is here
  --> keepalived.conf:27:17
   |
27 | vrrp_sync_group G {
   |                 ^

error: there is no vrrp_instance `c`
  --> keepalived.conf:40:9
   |
40 |         c
   |         ^
   |
   = help: define it with `vrrp_instance c { ... }`, or remove it here

error: vrrp_instance b is in vrrp_sync_group G already
  --> keepalived.conf:41:9
   |
41 |         b
   |         ^
   |
note: that group is here
  --> keepalived.conf:27:17
   |
27 | vrrp_sync_group G {
   |                 ^

keepalived.conf: 4 errors, 6 warnings: cannot be run
"#,
    );
}

#[test]
fn addresses_that_do_not_go_together_are_told() {
    runs(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
        192.0.2.1/24
        2001:db8::1
        192.0.2.3 dev eth7
    }
    virtual_ipaddress_excluded {
        2001:db8::2 label x brd +
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    virtual_ipaddress {
        2001:db8::9
    }
}
vrrp_instance c {
    interface eth0
    virtual_router_id 3
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 80 {
    }
}
virtual_server 192.0.2.7 80 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 80 {
    }
}
",
        r#"
warning: vrrp_instance a: 192.0.2.1 is given twice: the first one counts
 --> keepalived.conf:6:9
  |
6 |         192.0.2.1/24
  |         ^^^^^^^^^^^^

warning: vrrp_instance a: `virtual_ipaddress` mixes IPv4 and IPv6: those of the family of the first one stay
 --> keepalived.conf:7:9
  |
7 |         2001:db8::1
  |         ^^^^^^^^^^^
  |
  = help: write an instance for each family, or use virtual_ipaddress_excluded

warning: this host has no interface `eth7`
 --> keepalived.conf:8:19
  |
8 |         192.0.2.3 dev eth7
  |                   ^^^^^^^^
  |
  = help: `ip link` lists those it has

warning: `label` is IPv4's: address 2001:db8::2/128 has none, and it is ignored
  --> keepalived.conf:11:21
   |
11 |         2001:db8::2 label x brd +
   |                     ^^^^^^^

warning: `brd` is IPv4's: address 2001:db8::2/128 has none, and it is ignored
  --> keepalived.conf:11:29
   |
11 |         2001:db8::2 label x brd +
   |                             ^^^^^

warning: vrrp_instance b: 2001:db8::9: the first IPv6 address is not a link-local one
  --> keepalived.conf:18:9
   |
18 |         2001:db8::9
   |         ^^^^^^^^^^^
   |
   = help: RFC 9568 wants one, and other routers may drop advertisements without: write e.g. `fe80::1/64` before it

warning: vrrp_instance c has no address
  --> keepalived.conf:21:15
   |
21 | vrrp_instance c {
   |               ^
   |
   = help: write its addresses, or `no_virtual_ipaddress` where that is meant

warning: virtual server 192.0.2.7:80: no vrrp_instance holds its address, though instances hold those of others
  --> keepalived.conf:32:1
   |
32 | virtual_server 192.0.2.7 80 {
   | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: add it to `virtual_ipaddress`, or see that this host gets its traffic in another way

keepalived.conf: 2 virtual servers, 2 real servers, 3 virtual routers: 8 warnings: can be run
"#,
    );
}

#[test]
fn unicast_is_between_addresses_that_hosts_have() {
    refused(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    unicast_src_ip 10.9.9.9
    unicast_peer {
        192.0.2.200
        10.0.0.2 min_ttl 255 max_ttl 254
        fe80::2
    }
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    unicast_peer {
    }
    unicast_fault_no_peer
    mcast_dst_ip 192.0.2.5
    virtual_ipaddress {
        192.0.2.2
    }
}
",
        r#"
warning: vrrp_instance a: 10.9.9.9 is not an address of this host
 --> keepalived.conf:4:5
  |
4 |     unicast_src_ip 10.9.9.9
  |     ^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: the instance is in Fault until this host has it: write one of `ip addr`

warning: vrrp_instance a: 192.0.2.200 is this host's own address
 --> keepalived.conf:6:9
  |
6 |         192.0.2.200
  |         ^^^^^^^^^^^
  |
  = help: unicast_peer is for the other routers: remove it

error: `unicast_peer`: min_ttl is more than max_ttl
 --> keepalived.conf:7:9
  |
7 |         10.0.0.2 min_ttl 255 max_ttl 254
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: vrrp_instance a: peer fe80::2 is not of the family of its addresses
 --> keepalived.conf:8:9
  |
8 |         fe80::2
  |         ^^^^^^^

error: vrrp_instance b: unicast_peer names no peer
  --> keepalived.conf:17:5
   |
17 |     unicast_peer {
   |     ^^^^^^^^^^^^
   |
   = help: write the other routers' addresses, one a line

error: vrrp_instance b: 192.0.2.5 is not a multicast address of IPv4
  --> keepalived.conf:20:5
   |
20 |     mcast_dst_ip 192.0.2.5
   |     ^^^^^^^^^^^^^^^^^^^^^^

keepalived.conf: 4 errors, 2 warnings: cannot be run
"#,
    );
}

#[test]
fn secrets_that_are_none_are_told_and_not_shown() {
    refused(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    authentication {
        auth_type PASS
        auth_pass longer-than-eight
    }
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    version 3
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.0.2.2
    }
}
vrrp_instance c {
    interface eth0
    virtual_router_id 3
    auth_hmac {
        key 1 hex:0011
        key 2 file:/none
        key 1 ascii:abc
        active_key 9
    }
    virtual_ipaddress {
        192.0.2.3
    }
}
vrrp_instance d {
    interface eth0
    virtual_router_id 4
    authentication {
        auth_type AH
    }
    virtual_ipaddress {
        192.0.2.4
    }
}
",
        r#"
warning: `auth_pass` is longer than 8 bytes: only the first 8 count
 --> keepalived.conf:6:9
  |
6 |         auth_pass *****************
  |         ^^^^^^^^^

warning: vrrp_instance b: authentication of version 3 is ignored
  --> keepalived.conf:16:5
   |
16 |     authentication {
   |     ^^^^^^^^^^^^^^
   |
   = help: remove it: only version 2 on IPv4 has it; `auth_hmac` is for all

error: key 1 has 2 bytes: it needs 32 to 64
  --> keepalived.conf:28:9
   |
28 |         key 1 hex:****
   |         ^^^

error: key 2: /none: there is no such file
  --> keepalived.conf:29:9
   |
29 |         key 2 file:/none
   |         ^^^

error: key 1 is defined twice
  --> keepalived.conf:30:13
   |
30 |         key 1 ascii:***
   |             ^

error: `active_key`: there is no key 9
  --> keepalived.conf:31:9
   |
31 |         active_key 9
   |         ^^^^^^^^^^^^

error: `authentication` has no password
  --> keepalived.conf:40:5
   |
40 |     authentication {
   |     ^^^^^^^^^^^^^^
   |
   = help: write `auth_pass WORD`, of at most 8 bytes

keepalived.conf: 5 errors, 2 warnings: cannot be run
"#,
    );
}

#[test]
fn words_that_would_break_a_director_are_refused() {
    refused(
        "\
global_defs {
    vrrp_iptables
    nftables keepalived
    enable_snmp_vrrp
    vrrp_cpu_affinity 4096
    vrrp_notify_fifo fifo
}
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    no_accept
    use_ipvlan
    use_vmac_addr
    track_bfd {
        b
    }
    virtual_ipaddress {
        192.0.2.1 use_vmac
        192.0.2.2 brd x scope lnik
    }
}
",
        r#"
warning: `vrrp_iptables` is ignored: lvsd drops no packets, and has no rules to put anywhere
 --> keepalived.conf:2:5
  |
2 |     vrrp_iptables
  |     ^^^^^^^^^^^^^

warning: `nftables` is ignored: lvsd drops no packets, and has no rules to put anywhere
 --> keepalived.conf:3:5
  |
3 |     nftables keepalived
  |     ^^^^^^^^

warning: `enable_snmp_vrrp` is ignored: lvsd has no SNMP agent and no D-Bus service: `lvsd status` and its metrics tell the same
 --> keepalived.conf:4:5
  |
4 |     enable_snmp_vrrp
  |     ^^^^^^^^^^^^^^^^

error: `vrrp_cpu_affinity`: `4096` is not a CPU from 0 to 1023
 --> keepalived.conf:5:23
  |
5 |     vrrp_cpu_affinity 4096
  |                       ^^^^

error: `fifo` is not the path of a FIFO: it begins with no /
 --> keepalived.conf:6:5
  |
6 |     vrrp_notify_fifo fifo
  |     ^^^^^^^^^^^^^^^^^^^^^

error: `no_accept` is refused: its rules would drop what clients send to virtual servers on these addresses before IPVS sees it, and lvsd has no nftables support to drop anything else: remove it
  --> keepalived.conf:11:5
   |
11 |     no_accept
   |     ^^^^^^^^^

error: `use_ipvlan` is refused: lvsd makes no ipvlan: it would have the MAC address of its base, as the interface itself has; remove it, or write `use_vmac`
  --> keepalived.conf:12:5
   |
12 |     use_ipvlan
   |     ^^^^^^^^^^

error: `use_vmac_addr` is refused: lvsd makes virtual MAC addresses for whole instances: write an instance for the other interface
  --> keepalived.conf:13:5
   |
13 |     use_vmac_addr
   |     ^^^^^^^^^^^^^

error: `track_bfd` is refused: lvsd opens no BFD session, and would never notice what this is to notice: follow an interface or a script
  --> keepalived.conf:14:5
   |
14 |     track_bfd {
   |     ^^^^^^^^^

error: `use_vmac` is refused: lvsd makes virtual MAC addresses for whole instances: write an instance for this interface
  --> keepalived.conf:18:19
   |
18 |         192.0.2.1 use_vmac
   |                   ^^^^^^^^

error: `brd`: `x` is not an IPv4 address, + or -
  --> keepalived.conf:19:19
   |
19 |         192.0.2.2 brd x scope lnik
   |                   ^^^^^

error: `lnik` is not the name of a scope
  --> keepalived.conf:19:25
   |
19 |         192.0.2.2 brd x scope lnik
   |                         ^^^^^^^^^^
   |
   = help: did you mean `link`?

keepalived.conf: 9 errors, 3 warnings: cannot be run
"#,
    );
}

#[test]
fn routes_and_rules_that_are_none_are_told() {
    refused(
        "\
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
    }
    virtual_routes {
        192.0.2.1/24 dev eth0
        198.51.100.0/24
        198.51.101.0/24 via 192.0.2.1 tabel 5
        198.51.102.0/24 via 192.0.2.1 table none
        via 192.0.2.1
        blackhole 198.51.103.0/24 dev eth0
        198.51.104.0/24 via 192.0.2.1 realms 5
        2001:db8::/32 via 192.0.2.1
        defualt via 192.0.2.1
    }
    virtual_rules {
        from 192.0.2.0/24
        form 192.0.2.0/24 table 5
        from 192.0.2.0/24 to 2001:db8::/32 table 5
        from 192.0.2.0/24 table 5 prohibit
        dport 80-70 table 5
    }
}
",
        r#"
error: `route`: 192.0.2.1/24 has bits beyond its length: the kernel refuses it
 --> keepalived.conf:8:9
  |
8 |         192.0.2.1/24 dev eth0
  |         ^^^^^^^^^^^^
  |
  = help: write 192.0.2.0/24

error: the route to 198.51.100.0/24 has neither gateway nor interface
 --> keepalived.conf:9:9
  |
9 |         198.51.100.0/24
  |         ^^^^^^^^^^^^^^^
  |
  = help: write `via ADDRESS` or `dev INTERFACE` behind it

error: `tabel` is not a keyword of route
  --> keepalived.conf:10:39
   |
10 |         198.51.101.0/24 via 192.0.2.1 tabel 5
   |                                       ^^^^^
   |
   = help: did you mean `table`?

error: `none` is not the name of a routing table
  --> keepalived.conf:11:39
   |
11 |         198.51.102.0/24 via 192.0.2.1 table none
   |                                       ^^^^^^^^^^
   |
   = help: write its number, or name it in /etc/iproute2/rt_tables

error: this route leads nowhere
  --> keepalived.conf:12:9
   |
12 |         via 192.0.2.1
   |         ^^^^^^^^^^^^^
   |
   = help: write a prefix, or `default`, at its beginning

error: the route to 198.51.103.0/24 goes nowhere: remove its gateway and interface
  --> keepalived.conf:13:9
   |
13 |         blackhole 198.51.103.0/24 dev eth0
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: `realms` is refused: lvsd makes no such routes: make this one with `ip route`, where the system makes its own
  --> keepalived.conf:14:39
   |
14 |         198.51.104.0/24 via 192.0.2.1 realms 5
   |                                       ^^^^^^

error: the route to 2001:db8::/32 mixes IPv4 and IPv6
  --> keepalived.conf:15:9
   |
15 |         2001:db8::/32 via 192.0.2.1
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: `defualt` is not where a route can lead
  --> keepalived.conf:16:9
   |
16 |         defualt via 192.0.2.1
   |         ^^^^^^^
   |
   = help: did you mean `default`?

error: this rule says nothing of what is to be done
  --> keepalived.conf:19:9
   |
19 |         from 192.0.2.0/24
   |         ^^^^^^^^^^^^^^^^^
   |
   = help: write `table NUMBER` behind it

error: `form` is not a word of a rule
  --> keepalived.conf:20:9
   |
20 |         form 192.0.2.0/24 table 5
   |         ^^^^
   |
   = help: did you mean `from`?

error: this rule mixes IPv4 and IPv6
  --> keepalived.conf:21:9
   |
21 |         from 192.0.2.0/24 to 2001:db8::/32 table 5
   |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

error: `prohibit`: this rule does something else already
  --> keepalived.conf:22:35
   |
22 |         from 192.0.2.0/24 table 5 prohibit
   |                                   ^^^^^^^^

error: `dport`: `80-70` is not a number from 0 to 65535, or FIRST-LAST
  --> keepalived.conf:23:15
   |
23 |         dport 80-70 table 5
   |               ^^^^^

keepalived.conf: 14 errors: cannot be run
"#,
    );
}

#[test]
fn the_sync_daemon_does_not_go_with_real_servers_of_another_family() {
    refused(
        "\
global_defs {
    lvs_sync_daemon eth0 inst VI_2
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    lb_algo rr
    lb_kind TUN
    real_server 2001:db8::1 80 {
    }
}
",
        r#"
error: there is no vrrp_instance `VI_2`
 --> keepalived.conf:2:31
  |
2 |     lvs_sync_daemon eth0 inst VI_2
  |                               ^^^^
  |
  = help: define it with `vrrp_instance VI_2 { ... }`, or remove it here

error: lvs_sync_daemon eth0 does not go with virtual server 192.0.2.1:80 tcp: its real server [2001:db8::1]:80 is of the other family, and the kernel refuses both together
 --> keepalived.conf:4:1
  |
4 | virtual_server 192.0.2.1 80 {
  | ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: remove lvs_sync_daemon, or use real servers of the virtual server's family

keepalived.conf: 2 errors: cannot be run
"#,
    );
}

fn runs(text: &str, wanted: &str) {
    says(text, wanted, Exit::Ok);
}

fn refused(text: &str, wanted: &str) {
    says(text, wanted, Exit::Config);
}

/// The report, on a host with one interface, one address and one script.
fn says(text: &str, wanted: &str, exit: Exit) {
    let path = Path::new("keepalived.conf");
    let files = MemoryFiles::new(&[
        ("keepalived.conf", text),
        ("/links/eth0", ""),
        ("/links/lo", "65536"),
        (
            "/proc/net/fib_trie",
            "Local:\n  |-- 192.0.2.200\n     /32 host LOCAL\n  |-- 192.0.2.255\n     /32 link BROADCAST\n",
        ),
        ("/usr/local/src/nginx_check.sh", "#!/bin/sh\n"),
    ]);
    let report = report(path, &load_from(&files, path, Strictness::Strict), false);
    let said = report.text;
    assert_eq!(format!("\n{said}"), wanted);
    assert_eq!(report.exit, exit);
}
