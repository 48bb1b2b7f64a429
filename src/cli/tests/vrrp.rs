//! What is said of virtual routers, and of checkers that are not built.

use std::path::Path;

use crate::cli::check::report;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::daemon::startup::Exit;
use crate::syntax::files::MemoryFiles;

/// Two hosts, each Master of one address; a comment without its sign.
#[test]
fn a_comment_without_its_sign_is_an_error_that_says_so() {
    let text = "\
global_defs {
   vrrp_skip_check_adv_addr
#   vrrp_strict
   vrrp_garp_interval 0
}
vrrp_instance VI_1 { #启动一个实例
    state MASTER #角色
    interface eth0
    virtual_router_id 51 #虚拟路由id,0-255
    priority 100
    advert_int 1  #宣告消息间隔1s
    mcast_src_ip 192.168.2.188
    nopreempt
    authentication { 认证
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.2.30
     }
}
";
    refused(
        text,
        r#"
warning: `vrrp_garp_interval` is out of range, and ignored: `0` is not seconds from 0.000001 to 60
 --> keepalived.conf:4:23
  |
4 |    vrrp_garp_interval 0
  |                       ^

warning: vrrp_instance VI_1: `nopreempt` does not go with `state MASTER`, and is ignored
  --> keepalived.conf:13:5
   |
13 |     nopreempt
   |     ^^^^^^^^^
   |
   = help: write `state BACKUP`: a Master that was away then leaves the other one alone

error: `认证` is not a keyword of authentication
  --> keepalived.conf:14:22
   |
14 |     authentication { 认证
   |                      ^^^^
   |
   = help: no keyword is written so; a comment needs a `#` before it: `# 认证`

keepalived.conf: 1 error, 2 warnings: cannot be run
"#,
    );
}

#[test]
fn its_peer_without_that_comment_runs() {
    let text = "\
global_defs {
   vrrp_garp_interval 0
}
vrrp_instance VI_1 {
    state BACKUP
    interface ens33
    virtual_router_id 51
    priority 90
    nopreempt
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.2.30
    }
 
}
";
    runs(
        text,
        r#"
warning: `vrrp_garp_interval` is out of range, and ignored: `0` is not seconds from 0.000001 to 60
 --> keepalived.conf:2:23
  |
2 |    vrrp_garp_interval 0
  |                       ^

warning: this host has no interface `ens33`
 --> keepalived.conf:6:5
  |
6 |     interface ens33
  |     ^^^^^^^^^^^^^^^
  |
  = help: `ip link` lists those it has

keepalived.conf: 0 virtual servers, 0 real servers, 1 virtual router: 2 warnings: can be run
"#,
    );
}

/// Each host Master of one address and Backup of the other one's.
#[test]
fn a_director_of_two_addresses_runs_as_it_is_written() {
    let text = "\
! Configuration File for keepalived

global_defs {
   router_id LVS_DEVEL
   vrrp_skip_check_adv_addr
#   vrrp_strict
}

vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority 90
    advert_int 1
    mcast_src_ip 192.168.2.108
    nopreempt
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.2.30
    }
 
}

vrrp_instance VI_2 {
    state MASTER
    interface eth0
    virtual_router_id 52
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.2.31
    }
}
";
    runs(
        text,
        r#"
keepalived.conf: 0 virtual servers, 0 real servers, 2 virtual routers: no problems: can be run
"#,
    );
}

/// As people paste it, the torn word mended.
#[test]
fn a_script_with_a_weight_and_an_authenticated_instance_run_as_they_are_written() {
    let text = "\
vrrp_script chk_http_port {
    script \"/usr/local/src/nginx_check.sh\"
    interval 2 # （检测脚本执行的间隔）
    weight -20
}
vrrp_instance VI_1 {
    state MASTER #  备份服务器上将 MASTER  改为 BACKUP
    interface eth0 # 网卡
    virtual_router_id 233
    mcast_src_ip 192.168.1.129
    priority 100
    advert_int 1
    authentication {
        auth_type PASS # 验证类型为密码认证
        auth_pass 1111
    }
    track_script {
        chk_http_port
    }
    virtual_ipaddress {
        192.168.1.233  #虚拟地址
    } 
} 
";
    runs(
        text,
        r#"
keepalived.conf: 0 virtual servers, 0 real servers, 1 virtual router: no problems: can be run
"#,
    );
}

#[test]
fn strict_mode_with_authentication_and_a_script_that_is_not_there_are_warnings() {
    let text = "\
global_defs {
   vrrp_strict
}
vrrp_script check_haproxy {
        script \"/etc/keepalived/check_haproxy_status.sh\"
        interval 5
        weight  -20
}
vrrp_instance VI_1 {
    state MASTER
    interface eth0
    virtual_router_id 51
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.200.16
    }
     track_script {
        check_haproxy
        }
}
";
    runs(
        text,
        r#"
warning: vrrp_script check_haproxy: /etc/keepalived/check_haproxy_status.sh: there is no such file
 --> keepalived.conf:5:9
  |
5 |         script "/etc/keepalived/check_haproxy_status.sh"
  |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  |
  = help: until it is there, the script counts as failed; keepalived leaves it out, as if it never failed

warning: vrrp_instance VI_1: `state MASTER` without `priority` makes it the owner of its addresses: priority 255 is taken
  --> keepalived.conf:10:5
   |
10 |     state MASTER
   |     ^^^^^^^^^^^^
   |
   = help: write `priority 150`, or another number up to 254

warning: vrrp_instance VI_1: authentication in strict mode is ignored
  --> keepalived.conf:13:5
   |
13 |     authentication {
   |     ^^^^^^^^^^^^^^
   |
   = help: remove it, or strict mode: VRRP has no authentication
note: strict mode is set here
  --> keepalived.conf:2:4
   |
 2 |    vrrp_strict
   |    ^^^^^^^^^^^

keepalived.conf: 0 virtual servers, 0 real servers, 1 virtual router: 3 warnings: can be run
"#,
    );
}

#[test]
fn a_torn_virtual_ipaddress_is_an_error_that_puts_it_together() {
    let text = "\
vrrp_script chk_http_port {
    script \"/usr/local/src/nginx_check.sh\"
    interval 2 # （检测脚本执行的间隔）
    weight -20
}
vrrp_instance VI_1 {
    state MASTER #  备份服务器上将 MASTER  改为 BACKUP
    interface eth0 # 网卡
    virtual_router_id 233
    priority 100
    advert_int 1
    authentication {
        auth_type PASS # 验证类型为密码认证
        auth_pass 1111
    }
    track_script {
        chk_http_port
    }
    virtual _ipaddress {
        192.168.1.233  #虚拟地址
    } 
} 
";
    refused(
        text,
        r#"
error: `virtual` is not a keyword of vrrp_instance
  --> keepalived.conf:19:5
   |
19 |     virtual _ipaddress {
   |     ^^^^^^^^^^^^^^^^^^
   |
   = help: did you mean `virtual_ipaddress`?

keepalived.conf: 1 error: cannot be run
"#,
    );
    let lenient = said(text, Strictness::Lenient);
    assert!(
        lenient
            .0
            .contains("error: `virtual` was skipped, and leaves vrrp_instance VI_1 without an address\n"),
        "{}",
        lenient.0
    );
    assert_eq!(lenient.1, Exit::Config);
}

#[test]
fn nb_get_retry_in_tcp_check_and_persistence_beside_vrrp_run() {
    let text = "\
vrrp_instance VI_1 {
    # 与master不同,备份节点为BACKUP
    state BACKUP
    interface eth0 
    virtual_router_id 51
    mcast_src_ip 192.168.177.191
    priority 90
    virtual_ipaddress {
        # VIP 要同master 一致
        192.168.177.100
    }
}
virtual_server 192.168.177.100 443 {
    delay_loop 6       
    lb_algo rr
    lb_kind NAT
    persistence_timeout 50
    protocol TCP
    real_server 192.168.177.191 443 {
        weight 1
        
    TCP_CHECK {
            connect_timeout 3
            nb_get_retry 3
            connect_port 23
        }
   }
}
";
    runs(
        text,
        r#"
warning: `nb_get_retry` is deprecated
  --> keepalived.conf:24:13
   |
24 |             nb_get_retry 3
   |             ^^^^^^^^^^^^
   |
   = help: write `retry`: keepalived does not know `nb_get_retry` in TCP_CHECK and ignores it, lvsd reads it as `retry`

keepalived.conf: 1 virtual server, 1 real server, 1 virtual router: 1 warning: can be run
"#,
    );
}

/// Nearly every word there is, and nothing to say but what is deprecated or ignored.
#[test]
fn every_word_of_an_instance_is_known() {
    let text = "\
vrrp_instance VI_1 {
    state BACKUP
    interface eth0
    virtual_router_id 1
    priority 200
    advert_int 0.5
    version 3
    preempt
    preempt_delay 10
    accept
    strict_mode off
    track_src_ip
    unicast_src_ip 192.0.2.1
    unicast_peer {
        192.0.2.2 min_ttl 254 max_ttl 255
        192.0.2.3
    }
    unicast_ttl 255
    old_unicast_checksum never
    auth_hmac {
        key 1 ascii:0123456789abcdef0123456789abcdef
        active_key 1
        time_window 5
        anti_replay time
        mode enforce
    }
    use_vmac vrrp.1
    vmac_xmit_base
    track_interface {
        eth0 weight -20 reverse
        eth0
    }
    track_process {
        nginx weight 2
    }
    track_file {
        f
    }
    virtual_ipaddress {
        192.0.2.10/24 brd + dev eth0 label eth0:1
        192.0.2.11 scope link no_track
    }
    virtual_ipaddress_excluded {
        2001:db8::10/64 preferred_lft forever -nodad
    }
    virtual_routes {
        default via 192.0.2.254 dev eth0 metric 10
        198.51.100.0/24 nexthop via 192.0.2.1 weight 1 nexthop via 192.0.2.2 weight 2
    }
    virtual_rules {
        from 192.0.2.0/24 table 100 priority 10
    }
    garp_master_delay 1
    garp_extra_if all 60
    notify_master \"/etc/notify.sh master\" root
    notify /etc/notify.sh
    notify_deleted
    smtp_alert
    timer_expired_backup
    down_timer_adverts 5
}
vrrp_sync_group G1 {
    group {
        VI_1
    }
    sync_group_tracking_weight
    notify /etc/notify.sh
    track_script {
        chk
    }
}
vrrp_script chk {
    script </etc/flag
    interval 0.3
    rise 2
    fall 3
    weight 10 reverse
    user nobody nogroup
    init_fail
}
track_file f {
    file /etc/f
    weight 2
    init_file 1 overwrite
}
vrrp_track_process nginx {
    process nginx -g x
    param_match initial
    quorum 2
}
bfd_instance b {
    neighbor_ip 192.0.2.9
    min_rx 50
    multiplier 3
}
static_ipaddress {
    192.0.2.100/32 dev eth0 scope global
}
static_routes {
    198.51.100.0/24 via 192.0.2.1
    blackhole 203.0.113.0/24 table 7
}
static_rules {
    from 192.0.2.0/24 fwmark 0x1/0xff ipproto tcp dport 80-90 lookup main
}
interface_up_down_delays {
    eth0 1 2.5
}
garp_group {
    garp_interval 0.001
    interfaces {
        eth0
    }
}
";
    runs(
        text,
        r#"
warning: `old_unicast_checksum` is ignored: checksums of keepalived before 1.3.7 are neither sent nor understood
  --> keepalived.conf:19:5
   |
19 |     old_unicast_checksum never
   |     ^^^^^^^^^^^^^^^^^^^^

warning: vrrp_instance VI_1 follows `eth0` twice: the first one counts
  --> keepalived.conf:31:9
   |
31 |         eth0
   |         ^^^^
   |
note: the first one is here
  --> keepalived.conf:30:9
   |
30 |         eth0 weight -20 reverse
   |         ^^^^

warning: vrrp_instance VI_1: /etc/notify.sh: there is no such file
  --> keepalived.conf:55:5
   |
55 |     notify_master "/etc/notify.sh master" root
   |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   |
   = help: nobody hears of its changes without it

warning: vrrp_instance VI_1: /etc/notify.sh: there is no such file
  --> keepalived.conf:56:5
   |
56 |     notify /etc/notify.sh
   |     ^^^^^^^^^^^^^^^^^^^^^
   |
   = help: nobody hears of its changes without it

warning: no mail is sent: there is no `smtp_server` and no `notification_email`
  --> keepalived.conf:58:5
   |
58 |     smtp_alert
   |     ^^^^^^^^^^
   |
   = help: write both in global_defs, or take `smtp_alert` out

warning: `timer_expired_backup` is ignored: after late timers lvsd always reads what arrived before it claims anything
  --> keepalived.conf:59:5
   |
59 |     timer_expired_backup
   |     ^^^^^^^^^^^^^^^^^^^^

warning: vrrp_sync_group G1 has one instance: there is nothing to keep in step
  --> keepalived.conf:62:17
   |
62 | vrrp_sync_group G1 {
   |                 ^^
   |
   = help: name at least two in `group { ... }`, or remove it

warning: vrrp_sync_group G1: /etc/notify.sh: there is no such file
  --> keepalived.conf:67:5
   |
67 |     notify /etc/notify.sh
   |     ^^^^^^^^^^^^^^^^^^^^^
   |
   = help: nobody hears of its changes without it

warning: vrrp_script chk: /etc/flag: there is no such file
  --> keepalived.conf:73:5
   |
73 |     script </etc/flag
   |     ^^^^^^^^^^^^^^^^^
   |
   = help: until it is there, the script counts as failed; keepalived leaves it out, as if it never failed

warning: `bfd_instance b` is ignored: lvsd opens no BFD session
  --> keepalived.conf:91:1
   |
91 | bfd_instance b {
   | ^^^^^^^^^^^^^^

keepalived.conf: 0 virtual servers, 0 real servers, 1 virtual router: 10 warnings: can be run
"#,
    );
}

#[test]
fn what_is_wrong_within_a_block_is_told_at_its_place() {
    let text = "\
vrrp_instance VI_1 {
    state master
    virtual_router_id 256
    priority 300
    advert_int 1s
    versoin 3
    auth_pass 1111
    native_ipv6
    authentication
    notify_master
    authentication {
        auth_type PAS
        auth_pass 123456789
    }
    track_script {
        chk weigth 10
        chk_nginx weight ten
    }
    virtual_ipaddress {
        192.0.2.256
        192.0.2.10/33
        192.0.2.11 dve eth0
        192.0.2.12 dev
        2001:db8::1
        192.0.2.13
        interface {
        }
    }
}
vrrp_instance VI_1 {
    interface eth0/..
    virtual_router_id 2
}
vrrp_sync_group {
    group {
        VI_2
    }
}
vrrp_script chk_nginx {
    intervall 2
    weight -300
}
vrrp_script
";
    refused(
        text,
        r#"
error: vrrp_instance VI_1 has no `interface`
 --> keepalived.conf:1:1
  |
1 | vrrp_instance VI_1 {
  | ^^^^^^^^^^^^^^^^^^
  |
  = help: write `interface NAME`

warning: `state`: `master` is neither MASTER nor BACKUP: keepalived takes BACKUP
 --> keepalived.conf:2:11
  |
2 |     state master
  |           ^^^^^^
  |
  = help: write it in capitals

error: `virtual_router_id`: `256` is not a whole number from 1 to 255
 --> keepalived.conf:3:23
  |
3 |     virtual_router_id 256
  |                       ^^^

warning: `priority` is out of range, and ignored: `300` is not a whole number from 1 to 255
 --> keepalived.conf:4:14
  |
4 |     priority 300
  |              ^^^

warning: `1s` is 1 seconds
 --> keepalived.conf:5:16
  |
5 |     advert_int 1s
  |                ^^
  |
  = help: write `1`: keepalived knows no units and misreads it

error: `versoin` is not a keyword of vrrp_instance
 --> keepalived.conf:6:5
  |
6 |     versoin 3
  |     ^^^^^^^
  |
  = help: did you mean `version`?

warning: `auth_pass` is not a keyword of vrrp_instance, and ignored here
 --> keepalived.conf:7:5
  |
7 |     auth_pass ****
  |     ^^^^^^^^^
  |
  = help: it belongs in authentication

warning: `native_ipv6` is ignored: it is obsolete and has no effect
 --> keepalived.conf:8:5
  |
8 |     native_ipv6
  |     ^^^^^^^^^^^

error: `authentication` needs a block
 --> keepalived.conf:9:5
  |
9 |     authentication
  |     ^^^^^^^^^^^^^^
  |
  = help: write `authentication { ... }`

error: `notify_master` needs a value
  --> keepalived.conf:10:5
   |
10 |     notify_master
   |     ^^^^^^^^^^^^^
   |
   = help: write `notify_master` and COMMAND [USER [GROUP]], a command of several words in quotes

error: `auth_type`: `PAS` is not PASS or AH
  --> keepalived.conf:12:19
   |
12 |         auth_type PAS
   |                   ^^^
   |
   = help: did you mean `PASS`?

warning: `auth_pass` is longer than 8 bytes: only the first 8 count
  --> keepalived.conf:13:9
   |
13 |         auth_pass *********
   |         ^^^^^^^^^

error: there is no vrrp_script `chk`
  --> keepalived.conf:16:9
   |
16 |         chk weigth 10
   |         ^^^
   |
   = help: define it with `vrrp_script chk { ... }`, or remove it here

error: `weigth` is not a keyword of track
  --> keepalived.conf:16:13
   |
16 |         chk weigth 10
   |             ^^^^^^
   |
   = help: did you mean `weight`?

error: `weight`: `ten` is not a whole number from -254 to 254
  --> keepalived.conf:17:26
   |
17 |         chk_nginx weight ten
   |                          ^^^

error: `virtual_ipaddress`: `192.0.2.256` is not an IP address, with a prefix length or without
  --> keepalived.conf:20:9
   |
20 |         192.0.2.256
   |         ^^^^^^^^^^^

error: `virtual_ipaddress`: `192.0.2.10/33` is not an address with a prefix length from 0 to 32
  --> keepalived.conf:21:9
   |
21 |         192.0.2.10/33
   |         ^^^^^^^^^^^^^

error: `dve` is not a keyword of address
  --> keepalived.conf:22:20
   |
22 |         192.0.2.11 dve eth0
   |                    ^^^
   |
   = help: did you mean `dev`?

error: `dev` needs a value
  --> keepalived.conf:23:20
   |
23 |         192.0.2.12 dev
   |                    ^^^
   |
   = help: write `dev` and INTERFACE

error: `interface` in `virtual_ipaddress` has no block
  --> keepalived.conf:26:9
   |
26 |         interface {
   |         ^^^^^^^^^
   |
   = help: look for a missing or surplus brace above

error: `virtual_ipaddress`: `interface` is not an IP address, with a prefix length or without
  --> keepalived.conf:26:9
   |
26 |         interface {
   |         ^^^^^^^^^
   |
   = help: write the address: names are not resolved here

error: vrrp_instance VI_1 is defined twice
  --> keepalived.conf:30:15
   |
30 | vrrp_instance VI_1 {
   |               ^^^^
   |
note: the first one is here
  --> keepalived.conf:1:15
   |
 1 | vrrp_instance VI_1 {
   |               ^^^^

warning: this host has no interface `eth0/..`
  --> keepalived.conf:31:5
   |
31 |     interface eth0/..
   |     ^^^^^^^^^^^^^^^^^
   |
   = help: `ip link` lists those it has

error: `vrrp_sync_group` needs a name
  --> keepalived.conf:34:1
   |
34 | vrrp_sync_group {
   | ^^^^^^^^^^^^^^^
   |
   = help: write `vrrp_sync_group NAME { ... }`

error: vrrp_script chk_nginx has no `script`
  --> keepalived.conf:39:1
   |
39 | vrrp_script chk_nginx {
   | ^^^^^^^^^^^^^^^^^^^^^
   |
   = help: write `script "/PATH ARGUMENTS"`

error: `intervall` is not a keyword of vrrp_script
  --> keepalived.conf:40:5
   |
40 |     intervall 2
   |     ^^^^^^^^^
   |
   = help: did you mean `interval`?

warning: `weight` is out of range, and ignored: `-300` is not a whole number from -254 to 254
  --> keepalived.conf:41:12
   |
41 |     weight -300
   |            ^^^^

error: `vrrp_script` needs a block
  --> keepalived.conf:43:1
   |
43 | vrrp_script
   | ^^^^^^^^^^^
   |
   = help: write `vrrp_script NAME { ... }`

keepalived.conf: 20 errors, 8 warnings: cannot be run
"#,
    );
}

#[test]
fn the_words_of_checkers_are_known_built_or_not() {
    let text = "\
virtual_server 192.0.2.10 25 {
    protocol TCP
    lb_algo rr
    lb_kind NAT
    real_server 10.0.0.1 25 {
        SMTP_CHECK {
            helo_name a.example
            connect_timeout 3
            retry 2
            host {
                connect_ip 10.0.0.2
            }
            host {
                connect_ip 10.0.0.3
            }
        }
        DNS_CHECK {
            type SOAP
            name example
        }
        MISC_CHECK {
            misc_path \"/bin/check 10.0.0.1\"
            misc_timeout 3
            misc_dynamc
        }
        UDP_CHECK {
            payload 00ff
            require_reply
        }
        PING_CHECK {
            retry 3
        }
        FILE_CHECK {
            track_file
        }
        BFD_CHECK {
            name b
        }
    }
}
";
    refused(
        text,
        r#"
warning: `host` is deprecated
  --> keepalived.conf:10:13
   |
10 |             host {
   |             ^^^^
   |
   = help: write its words in SMTP_CHECK itself, and one SMTP_CHECK for each host

warning: `host` is deprecated
  --> keepalived.conf:13:13
   |
13 |             host {
   |             ^^^^
   |
   = help: write its words in SMTP_CHECK itself, and one SMTP_CHECK for each host

error: `type`: `SOAP` is not A, NS, CNAME, SOA, MX, TXT, AAAA, RRSIG or DNSKEY
  --> keepalived.conf:18:18
   |
18 |             type SOAP
   |                  ^^^^
   |
   = help: did you mean `SOA`?

error: `MISC_CHECK` is not yet supported: without this check the real server would always count as up
  --> keepalived.conf:21:9
   |
21 |         MISC_CHECK {
   |         ^^^^^^^^^^

error: `misc_dynamc` is not a keyword of MISC_CHECK
  --> keepalived.conf:24:13
   |
24 |             misc_dynamc
   |             ^^^^^^^^^^^
   |
   = help: did you mean `misc_dynamic`?

error: `FILE_CHECK` is not yet supported: without this check the real server would always count as up
  --> keepalived.conf:33:9
   |
33 |         FILE_CHECK {
   |         ^^^^^^^^^^

error: `track_file` needs a value
  --> keepalived.conf:34:13
   |
34 |             track_file
   |             ^^^^^^^^^^
   |
   = help: write `track_file` and NAME

error: `BFD_CHECK` is not yet supported: without this check the real server would always count as up
  --> keepalived.conf:36:9
   |
36 |         BFD_CHECK {
   |         ^^^^^^^^^

keepalived.conf: 6 errors, 2 warnings: cannot be run
"#,
    );
}

/// On a host that does not show its interfaces nothing is said about them.
#[test]
fn interfaces_nobody_can_tell_of_are_not_missed() {
    let text = "vrrp_instance a {\ninterface none\nvirtual_router_id 1\n}\n";
    let files = MemoryFiles::new(&[("keepalived.conf", text)]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    assert_eq!(loaded.diagnostics.warnings(), 1, "it has no address");
}

fn runs(text: &str, wanted: &str) {
    let (said, exit) = said(text, Strictness::Strict);
    assert_eq!(format!("\n{said}"), wanted);
    assert_eq!(exit, Exit::Ok);
}

fn refused(text: &str, wanted: &str) {
    let (said, exit) = said(text, Strictness::Strict);
    assert_eq!(format!("\n{said}"), wanted);
    assert_eq!(exit, Exit::Config);
}

/// The report, on a host with one interface and two files.
fn said(text: &str, strictness: Strictness) -> (String, Exit) {
    let path = Path::new("keepalived.conf");
    let files = MemoryFiles::new(&[
        ("keepalived.conf", text),
        ("/links/eth0", ""),
        ("/links/lo", "65536"),
        ("/usr/local/src/nginx_check.sh", "#!/bin/sh\n"),
    ]);
    let report = report(path, &load_from(&files, path, strictness), false);
    (report.text, report.exit)
}
