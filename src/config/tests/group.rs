//! What groups mean, in both languages.

use std::path::Path;

use crate::config::load::load_from;
use crate::config::*;
use crate::syntax::diagnostic::Class;
use crate::syntax::files::MemoryFiles;

const SERVER: &str = "protocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.0.1 80 {\nTCP_CHECK {\n}\n}\n";

#[test]
fn a_group_is_a_virtual_server_for_each_of_its_entries() {
    let loaded = of(&format!(
        "virtual_server_group web {{\n192.0.2.10 80\n192.0.2.20-22 8080\nfwmark 7\nfwmark 8 inet\n}}\nvirtual_server group web {{\n{SERVER}}}\n"
    ));
    let servers = loaded.config.unwrap().virtual_servers;
    let ids: Vec<String> = servers.iter().map(|v| v.id.to_string()).collect();
    let wanted = [
        "192.0.2.10:80 tcp",
        "192.0.2.20:8080 tcp",
        "192.0.2.21:8080 tcp",
        "192.0.2.22:8080 tcp",
        "fwmark 7",
        "fwmark 8",
    ];
    assert_eq!(ids, wanted);
    // One question, however many ask it.
    let mut questions =
        servers.iter().flat_map(|v| &v.real_servers).flat_map(|r| &r.checkers).map(|c| &c.spec);
    let first = questions.next().unwrap();
    assert!(questions.all(|other| other == first));
}

#[test]
fn the_port_of_an_entry_is_the_one_direct_routing_uses() {
    let loaded = of(
        "virtual_server_group web {\n192.0.2.10 80\n192.0.2.10 443\n}\nvirtual_server group web {\nprotocol TCP\nlb_algo rr\nlb_kind DR\nreal_server 10.0.0.1 {\n}\n}\n",
    );
    let servers = loaded.config.unwrap().virtual_servers;
    let ports: Vec<u16> = servers.iter().map(|v| v.real_servers[0].address.port()).collect();
    assert_eq!(ports, [80, 443]);
}

#[test]
fn one_problem_of_a_large_group_is_said_once() {
    let loaded = of(&format!(
        "virtual_server_group web {{\n10.1.0.0/16 80\n}}\nvirtual_server group web {{\nquorum 9\n{SERVER}}}\n"
    ));
    assert_eq!(loaded.diagnostics.warnings(), 1);
    assert_eq!(loaded.config.unwrap().virtual_servers.len(), 65_536);
}

#[test]
fn groups_are_bounded_all_together() {
    let group = |name: &str, net: &str| {
        format!("virtual_server_group {name} {{\n{net} 80\n}}\nvirtual_server group {name} {{\n{SERVER}}}\n")
    };
    let loaded = of(&(group("a", "10.1.0.0/16") + &group("b", "10.2.0.0/30")));
    let wanted =
        "k.conf:16:1: virtual_server_group b: all groups together stand for more than 65536 services";
    assert_eq!(loaded.lines(Class::Error), [wanted]);
}

#[test]
fn what_is_wrong_with_a_group_is_said() {
    let errors = |text: &str| of(text).lines(Class::Error);
    assert_eq!(
        errors("virtual_server_group {\n10.0.0.1 80\n}\n"),
        ["k.conf:1:1: a virtual_server_group needs a name: write `virtual_server_group NAME { ... }`"]
    );
    assert_eq!(
        errors("virtual_server_group web {\n}\n"),
        ["k.conf:1:1: the virtual_server_group is empty: write the addresses its virtual_server answers for"]
    );
    assert_eq!(
        errors("virtual_server_group web {\n10.0.0.1 80\n}\nvirtual_server_group web {\n10.0.0.2 80\n}\n"),
        ["k.conf:4:1: virtual_server_group web is defined twice"]
    );
    assert_eq!(
        errors(&format!(
            "virtual_server_group web {{\n10.0.0.1 80\n10.0.0.1 80\n}}\nvirtual_server group web {{\n{SERVER}}}\n"
        )),
        [
            "k.conf:5:1: virtual server 10.0.0.1:80 tcp is defined twice: put its real servers into one virtual_server"
        ]
    );
    assert_eq!(
        errors(
            "virtual_server_group web {\nfwmark x\nfwmark 1 ipv4\nfwmark\n10.0.0.1 http\n10.0.0.0/8 80\n}\n"
        ),
        [
            "k.conf:2:8: `fwmark`: `x` is not a whole number from 1 to 4294967295",
            "k.conf:3:10: `fwmark`: `ipv4` is not inet or inet6",
            "k.conf:4:1: `fwmark` needs a value",
            "k.conf:5:10: `http` is not a port from 0 to 65535",
            "k.conf:6:1: `10.0.0.0/8` is not an entry of a virtual_server_group: it is larger than 65536 addresses: \
             write IP [PORT], IP-LAST [PORT], IP-IP [PORT], IP/PREFIX [PORT] or fwmark N [inet|inet6]",
        ]
    );
    assert_eq!(
        errors(&format!(
            "virtual_server group wbe {{\n{SERVER}}}\nvirtual_server_group web {{\n10.0.0.1 80\n}}\n"
        )),
        ["k.conf:1:1: there is no virtual_server_group wbe: did you mean `web`?"]
    );
}

fn of(text: &str) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), Strictness::Strict)
}
