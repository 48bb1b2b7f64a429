//! Words and values: numbers, times, addresses, ports, groups, duplicates, words of forks and of old releases.

use super::{GOOD, Odd, refused, rs, runs, tcp, top, vs};

pub(super) fn cases() -> Vec<Odd> {
    let mut all = numbers_and_times();
    all.extend(addresses());
    all.extend(duplicates_and_groups());
    all.extend(words());
    all
}

fn numbers_and_times() -> Vec<Odd> {
    vec![
        runs("a weight too large", rs("weight 2147483648"), 1, "out of range"),
        runs("a negative weight", rs("weight -1"), 1, "out of range"),
        runs(
            "a weight of nothing",
            rs("weight 0"),
            1,
            "every real server has weight 0: it takes no connections",
        ),
        runs("a plus sign", rs("weight +1"), 0, ""),
        runs("leading zeros", rs("weight 007"), 0, ""),
        refused("a hexadecimal number", rs("weight 0x10"), 1, "`0x10`"),
        refused("a broken number", rs("weight 1.5"), 1, "`1.5`"),
        refused("an exponent", rs("weight 1e3"), 1, "`1e3`"),
        refused("a number with a comma", rs("weight 1,000"), 1, "`1,000`"),
        refused("wide digits", rs("weight １"), 1, "`１`"),
        refused("arabic digits", rs("weight ١"), 1, "`١`"),
        refused("a number in words", rs("weight one"), 1, "`one`"),
        refused("a percentage", rs("weight 50%"), 1, "`50%`"),
        runs("more than any number", rs("weight 99999999999999999999999999"), 1, "out of range"),
        refused("a weight without a number", rs("weight"), 1, "`weight` needs a value"),
        runs("two weights", rs("weight 1\nweight 2"), 1, "`weight` is given twice"),
        runs("a quorum too large", vs("quorum 5"), 1, "quorum"),
        runs("a quorum of nothing", vs("quorum 0"), 1, "quorum"),
        runs("a hysteresis above the quorum", vs("quorum 1\nhysteresis 5"), 1, "hysteresis"),
        runs("a time with its unit", GOOD.replace("delay_loop 5", "delay_loop 5s"), 1, "`5s` is 5 seconds"),
        runs("a time in minutes", GOOD.replace("delay_loop 5", "delay_loop 2m"), 1, "`2m` is 120 seconds"),
        runs("a broken time", GOOD.replace("delay_loop 5", "delay_loop 0.5"), 0, ""),
        runs("a time too exact", GOOD.replace("delay_loop 5", "delay_loop 0.12345678"), 1, "six decimals"),
        runs("no time at all", GOOD.replace("delay_loop 5", "delay_loop 0"), 1, "out of range"),
        runs("a negative time", GOOD.replace("delay_loop 5", "delay_loop -5"), 1, "out of range"),
        runs("a time and its unit apart", GOOD.replace("delay_loop 5", "delay_loop 5 s"), 1, "surplus"),
        refused("a time in days", GOOD.replace("delay_loop 5", "delay_loop 1d"), 1, "`1d`"),
        refused("a time with a comma", GOOD.replace("delay_loop 5", "delay_loop 0,5"), 1, "`0,5`"),
        runs("persistence without a number", vs("persistence_timeout"), 0, ""),
        runs("persistence of nothing", vs("persistence_timeout 0"), 1, "out of range"),
        refused("persistence with its unit in words", vs("persistence_timeout 50sec"), 1, "`50sec`"),
        runs("a flag of a word", rs("inhibit_on_failure maybe"), 1, "`maybe`"),
        runs("a flag of a one", vs("alpha 1"), 1, "`1`"),
        runs("a flag in capitals", rs("inhibit_on_failure ON"), 1, "`ON`"),
    ]
}

fn addresses() -> Vec<Odd> {
    let server = |address: &str| GOOD.replace("192.0.2.11 80", address);
    let vip = |address: &str| GOOD.replace("192.0.2.10 80", address);
    let six = |vip: &str, server: &str| GOOD.replace("192.0.2.10", vip).replace("192.0.2.11", server);
    vec![
        runs("ipv6", six("2001:db8::10", "2001:db8::11"), 0, ""),
        runs("ipv6 in capitals", six("2001:DB8::10", "2001:DB8:0:0:0:0:0:11"), 0, ""),
        runs("ipv6 in full", six("2001:0db8:0000:0000:0000:0000:0000:0010", "2001:db8::11"), 0, ""),
        refused("ipv6 in brackets", six("[2001:db8::10]", "2001:db8::11"), 1, "without brackets"),
        runs(
            "ipv6 with a prefix length",
            six("2001:db8::10/64", "2001:db8::11"),
            1,
            "is the address of a host",
        ),
        refused("ipv6 with a zone", six("fe80::1%eth0", "2001:db8::11"), 1, "fe80::1%eth0"),
        refused("ipv6 with two gaps", six("2001::db8::10", "2001:db8::11"), 1, "2001::db8::10"),
        refused("ipv6 cut short", six("2001:db8:10", "2001:db8::11"), 1, "2001:db8:10"),
        refused("a mapped address", six("::ffff:192.0.2.10", "192.0.2.11"), 1, "::ffff:192.0.2.10"),
        refused("families mixed", six("192.0.2.10", "2001:db8::11"), 1, "2001:db8::11"),
        refused("the unspecified address", server("0.0.0.0 80"), 1, "is not the address of a host"),
        refused("a multicast address", server("224.0.0.1 80"), 1, "is not the address of a host"),
        refused("the broadcast address", server("255.255.255.255 80"), 1, "is not the address of a host"),
        refused("an octet too large", server("192.0.2.256 80"), 1, "192.0.2.256"),
        refused("an address of three octets", server("192.0.2 80"), 1, "192.0.2"),
        refused("an address of five octets", server("192.0.2.1.1 80"), 1, "192.0.2.1.1"),
        refused("an address with a leading zero", server("192.0.02.11 80"), 1, "192.0.02.11"),
        refused("an address as a number", server("3221225994 80"), 1, "3221225994"),
        runs("an address with its prefix length", server("192.0.2.11/24 80"), 1, "is the address of a host"),
        refused("an address with its port glued", server("192.0.2.11:80"), 1, "a word of its own"),
        refused("a name for an address", server("web1.example.com 80"), 1, "names are not resolved"),
        refused("an address and a name", server("192.0.2.11 http"), 1, "`http`"),
        refused("no address", server(""), 1, "real_server"),
        refused("an address with a comma", server("192.0.2.11, 80"), 1, "192.0.2.11,"),
        refused("a port too large", server("192.0.2.11 65536"), 1, "65536"),
        refused("a negative port", server("192.0.2.11 -1"), 1, "-1"),
        refused("a range of ports", vip("192.0.2.10 80-90"), 1, "80-90"),
        refused("a port glued to a brace of a template", server("192.0.2.11 {{port}}"), 1, "{"),
        runs("no port", GOOD.replace("192.0.2.11 80", "192.0.2.11"), 0, ""),
        runs("a virtual server without port", vip("192.0.2.10"), 1, "port"),
        runs("a firewall mark", vip("fwmark 7").replace("    protocol TCP\n", ""), 0, ""),
        refused("a firewall mark of nothing", vip("fwmark 0").replace("    protocol TCP\n", ""), 1, "fwmark"),
        refused(
            "a firewall mark in hexadecimal",
            vip("fwmark 0x7").replace("    protocol TCP\n", ""),
            1,
            "0x7",
        ),
        refused("a firewall mark without its number", vip("fwmark"), 1, "fwmark"),
        refused("a firewall mark too large", vip("fwmark 4294967296"), 1, "4294967296"),
        runs("a surplus word of a virtual server", vip("192.0.2.10 80 tcp"), 1, "surplus"),
        runs("a port of a checker too large", tcp("connect_port 70000"), 1, "70000"),
        refused("a name for the address of a check", tcp("connect_ip localhost"), 1, "localhost"),
    ]
}

fn duplicates_and_groups() -> Vec<Odd> {
    let group = |entries: &str| {
        format!("virtual_server_group web {{\n{entries}\n}}\n{}", GOOD.replace("192.0.2.10 80", "group web"))
    };
    let second = GOOD.replace("192.0.2.10", "192.0.2.12");
    vec![
        refused("a virtual server twice", format!("{GOOD}{GOOD}"), 1, "192.0.2.10"),
        runs(
            "a virtual server over two protocols",
            format!("{GOOD}{}", GOOD.replace("TCP\n", "UDP\n")),
            0,
            "",
        ),
        runs("two virtual servers", format!("{GOOD}{second}"), 0, ""),
        refused("a real server twice", vs("real_server 192.0.2.11 80 {\n}"), 1, "192.0.2.11"),
        runs("a real server over two ports", vs("real_server 192.0.2.11 81 {\nTCP_CHECK {\n}\n}"), 0, ""),
        runs("global_defs twice", top("global_defs {\nrouter_id a\n}\nglobal_defs {\nlvs_flush\n}"), 0, ""),
        runs("router_id twice", top("global_defs {\nrouter_id a\nrouter_id b\n}"), 1, "given twice"),
        runs("a group", group("192.0.2.20 80\n192.0.2.21 80"), 0, ""),
        runs("a group of a range", group("192.0.2.20-29 80"), 0, ""),
        runs("a group of marks", group("fwmark 1\nfwmark 2").replace("    protocol TCP\n", ""), 0, ""),
        runs(
            "a group of a range of ipv6",
            group("2001:db8::10-1f 80").replace("192.0.2.11", "2001:db8::99"),
            0,
            "",
        ),
        refused("a group backwards", group("192.0.2.29-20 80"), 1, "192.0.2.29-20"),
        runs("a group of whole addresses", group("192.0.2.20-192.0.2.29 80"), 0, ""),
        refused("a group beyond its octet", group("192.0.2.20-300 80"), 1, "192.0.2.20-300"),
        refused("a group of nothing", group(""), 1, "is empty"),
        refused("an undefined group", GOOD.replace("192.0.2.10 80", "group web"), 1, "web"),
        refused("a group without its name", GOOD.replace("192.0.2.10 80", "group"), 1, "group"),
        refused(
            "a group twice",
            format!("virtual_server_group web {{\n192.0.2.20 80\n}}\n{}", group("192.0.2.21 80")),
            1,
            "web",
        ),
        refused("a group that says an address twice", group("192.0.2.20 80\n192.0.2.20 80"), 1, "192.0.2.20"),
        refused(
            "two groups of one address",
            group("192.0.2.20 80") + &GOOD.replace("192.0.2.10", "192.0.2.20"),
            1,
            "192.0.2.20",
        ),
        refused("a group of families mixed", group("192.0.2.20 80\n2001:db8::20 80"), 1, "2001:db8::20"),
        runs("an unused group", top("virtual_server_group idle {\n192.0.2.40 80\n}"), 0, ""),
    ]
}

fn words() -> Vec<Odd> {
    vec![
        runs("a word of dpvs: laddr_group_name", vs("laddr_group_name l1"), 1, "laddr_group_name"),
        runs("a word of dpvs: syn_proxy", vs("syn_proxy"), 1, "syn_proxy"),
        runs(
            "a word of dpvs: local_address_group",
            top("local_address_group l1 {\n192.0.2.200 eth0\n}"),
            1,
            "local_address_group",
        ),
        refused("a word of dpvs: fullnat", GOOD.replace("NAT", "FNAT"), 1, "FNAT"),
        refused("a word of dpvs: conhash", GOOD.replace("lb_algo rr", "lb_algo conhash"), 1, "conhash"),
        runs("a word of dpvs: bps", vs("bps 100"), 1, "bps"),
        refused("a word of tengine: check", vs("check interval=3000 rise=2"), 1, "check"),
        runs("a word of aliyun: est_timeout", vs("est_timeout 900"), 1, "est_timeout"),
        runs(
            "lvs_sched and lvs_method",
            GOOD.replace("lb_algo", "lvs_sched").replace("lb_kind", "lvs_method"),
            0,
            "",
        ),
        refused("a scheduler in capitals", GOOD.replace("lb_algo rr", "lb_algo RR"), 1, "`RR`"),
        refused("an unknown scheduler", GOOD.replace("lb_algo rr", "lb_algo roundrobin"), 1, "roundrobin"),
        runs("a forwarding method in lower case", GOOD.replace("lb_kind NAT", "lb_kind nat"), 1, "`nat`"),
        refused("an unknown forwarding method", GOOD.replace("lb_kind NAT", "lb_kind GATEWAY"), 1, "GATEWAY"),
        runs("a protocol in lower case", GOOD.replace("TCP\n", "tcp\n"), 0, ""),
        refused("an unknown protocol", GOOD.replace("TCP\n", "QUIC\n"), 1, "QUIC"),
        runs("no protocol", GOOD.replace("    protocol TCP\n", ""), 1, "protocol"),
        runs("no scheduler", GOOD.replace("    lb_algo rr\n", ""), 1, "wlc"),
        runs("no forwarding method", GOOD.replace("    lb_kind NAT\n", ""), 1, "NAT"),
        refused("a keyword in capitals", rs("WEIGHT 1"), 1, "did you mean `weight`?"),
        refused(
            "a checker in lower case",
            GOOD.replace("TCP_CHECK", "tcp_check"),
            1,
            "did you mean `TCP_CHECK`?",
        ),
        refused(
            "a checker with a hyphen",
            GOOD.replace("TCP_CHECK", "TCP-CHECK"),
            1,
            "did you mean `TCP_CHECK`?",
        ),
        runs("nb_get_retry of 1.x", tcp("nb_get_retry 3"), 1, "nb_get_retry"),
        runs(
            "persistence_granularity",
            vs("persistence_timeout 5\npersistence_granularity 255.255.255.0"),
            0,
            "",
        ),
        refused(
            "persistence_granularity full of holes",
            vs("persistence_granularity 255.0.255.0"),
            1,
            "255.0.255.0",
        ),
        runs("ha_suspend", vs("ha_suspend"), 0, ""),
        runs("an old word of the scheduler", vs("ops"), 1, "`ops` is for UDP"),
        runs("a word of another block", rs("router_id a"), 1, "it belongs in"),
        refused("a word of systemd", "[Unit]\nDescription=keepalived\n", 2, "[Unit]"),
        runs("a sorry server without port", vs("sorry_server 192.0.2.250"), 0, ""),
        refused("a sorry server of another family", vs("sorry_server 2001:db8::250 80"), 1, "2001:db8::250"),
        runs("no real server", "virtual_server 192.0.2.10 80 {\nprotocol TCP\n}\n", 2, "real server"),
        refused("a real server outside", "real_server 192.0.2.11 80 {\n}\n", 1, "it belongs in"),
        runs(
            "a real server without a checker",
            GOOD.replace("TCP_CHECK {\n            connect_timeout 3\n        }", ""),
            0,
            "",
        ),
    ]
}
