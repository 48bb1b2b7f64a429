use super::*;

const ALL: [Hook; 2] = [Hook::Prerouting, Hook::Input];

#[test]
fn a_packet_is_dropped_where_every_way_drops_it_and_the_rule_is_named() {
    let rules = nft(
        "inet",
        "input",
        0,
        "accept",
        r#"[{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":"invalid"}},{"counter":{"packets":0,"bytes":0}},{"drop":null}]"#,
    );
    let said = rules.what_drops(&web(Tracked::Invalid), &ALL);
    assert_eq!(
        said.map(|d| d.to_string()).as_deref(),
        Some("nft inet t, chain input: ct state invalid drop (handle 1)")
    );
    assert_eq!(rules.what_drops(&web(Tracked::New), &ALL), None);
    assert_eq!(rules.what_drops(&web(Tracked::Invalid), &[Hook::Output]), None, "another hook");
    let six = Packet { is_ipv4: false, ..web(Tracked::Invalid) };
    assert!(rules.what_drops(&six, &ALL).is_some());
    assert_eq!(rules_of("ip").what_drops(&six, &ALL), None, "another family's table");
}

#[test]
fn an_unreadable_rule_is_never_a_certain_drop() {
    let open = r#"[{"match":{"op":"==","left":{"fib":{}},"right":"local"}},{"accept":null}]"#;
    assert_eq!(nft("ip", "input", 0, "drop", open).what_drops(&web(Tracked::New), &ALL), None);
    let closed = r#"[{"match":{"op":"==","left":{"fib":{}},"right":"local"}},{"drop":null}]"#;
    assert_eq!(nft("ip", "input", 0, "accept", closed).what_drops(&web(Tracked::New), &ALL), None);
    let other = r#"[{"match":{"op":"==","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":{"set":[22,443]}}},{"accept":null}]"#;
    let said = nft("ip", "input", 0, "drop", other).what_drops(&web(Tracked::New), &ALL);
    assert_eq!(
        said.map(|d| d.to_string()).as_deref(),
        Some("nft ip t, chain input: what no rule accepts is dropped")
    );
    let range = other.replace("[22,443]", r#"[{"range":[79,81]}]"#);
    assert_eq!(nft("ip", "input", 0, "drop", &range).what_drops(&web(Tracked::New), &ALL), None);
}

#[test]
fn sets_maps_and_what_is_not_tracked_are_followed() {
    let strict = r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"@vips"}},{"drop":null}]"#;
    let set = r#"{"set":{"family":"ip","name":"vips","table":"t","type":"ipv4_addr","elem":["10.1.0.99",{"elem":{"val":"10.1.0.100"}}]}},"#;
    assert!(with(set, "ip", "input", 0, "accept", strict).what_drops(&web(Tracked::New), &ALL).is_some());
    let other = set.replace("10.1.0.100", "10.1.0.101");
    assert_eq!(with(&other, "ip", "input", 0, "accept", strict).what_drops(&web(Tracked::New), &ALL), None);

    let map = r#"[{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[[["established","related"],{"accept":null}],["invalid",{"drop":null}]]}}}]"#;
    let rules = nft("inet", "input", 0, "accept", map);
    assert!(rules.what_drops(&web(Tracked::Invalid), &ALL).is_some());
    let untracked = r#"[{"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"daddr"}},"right":"10.1.0.100"}},{"notrack":null}]"#;
    let mut both = nft("ip", "prerouting", -300, "accept", untracked);
    both.tables.extend(rules.tables);
    assert_eq!(both.what_drops(&web(Tracked::Invalid), &ALL), None);
}

#[test]
fn a_chain_that_calls_itself_ends() {
    let loops = r#"[{"jump":{"target":"input"}}]"#;
    assert_eq!(nft("ip", "input", 0, "drop", loops).what_drops(&web(Tracked::New), &ALL), None);
}

#[test]
fn iptables_says_the_same_in_its_own_words() {
    let saved = "# Generated\n*raw\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n\
                 :mine - [0:0]\n-A INPUT -i lo -j ACCEPT\n-A INPUT -m comment --comment \"all of it\" -j mine\n\
                 -A INPUT ! -d 10.1.0.0/24 -j ACCEPT\n\
                 -A mine -m conntrack --ctstate INVALID -j DROP\n-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\nCOMMIT\n";
    let rules = iptables::read(saved, true);
    let said = rules.what_drops(&web(Tracked::Invalid), &ALL);
    let words = "iptables -t filter, chain INPUT: -m conntrack --ctstate INVALID -j DROP";
    assert_eq!(said.map(|d| d.to_string()).as_deref(), Some(words));
    assert_eq!(rules.what_drops(&web(Tracked::New), &ALL), None);
    assert!(rules.what_drops(&web(Tracked::Invalid), &[Hook::Forward]).is_some(), "by its policy");
    assert_eq!(rules.what_drops(&web(Tracked::Established), &[Hook::Forward]), None);
    let untracked = saved.replace(
        "*raw\n:PREROUTING ACCEPT [0:0]\n",
        "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 10.1.0.100/32 -j CT --notrack\n",
    );
    assert_eq!(iptables::read(&untracked, true).what_drops(&web(Tracked::Invalid), &ALL), None);
    let vrrp = Packet {
        protocol: 112,
        destination: "224.0.0.18".parse().ok(),
        destination_port: None,
        ..web(Tracked::New)
    };
    let closed = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -m limit --limit 1/s -j LOG\nCOMMIT\n";
    assert!(iptables::read(closed, true).what_drops(&vrrp, &ALL).is_some());
    let open = closed.replace("COMMIT", "-A INPUT -p vrrp -j ACCEPT\nCOMMIT");
    assert_eq!(iptables::read(&open, true).what_drops(&vrrp, &ALL), None);
    let maybe = closed.replace("COMMIT", "-A INPUT -m set --match-set peers src -j ACCEPT\nCOMMIT");
    assert_eq!(iptables::read(&maybe, true).what_drops(&vrrp, &ALL), None);
}

#[test]
fn anything_at_all_is_read_or_refused() {
    assert!(nft::read("{").is_err() && nft::read("{}").is_err());
    let odd = r#"{"nftables":[{"chain":{"family":"ip"}},{"rule":{"family":"ip","table":"t","chain":"c","expr":[1,{},{"match":{}}]}},{"set":{}}]}"#;
    assert_eq!(nft::read(odd), Ok(nft::Listing::default()));
    for text in ["*", ":", "-A", "*filter\n:INPUT\n-A INPUT -j\n-A INPUT ! -m\n-A INPUT --comment \"a"] {
        let _ = iptables::read(text, true);
    }
}

fn web(tracked: Tracked) -> Packet {
    Packet {
        is_ipv4: true,
        protocol: 6,
        source: None,
        destination: "10.1.0.100".parse().ok(),
        destination_port: Some(80),
        source_port: None,
        arrives_by: None,
        leaves_by: None,
        tracked: Some(tracked),
    }
}

fn rules_of(family: &str) -> Rules {
    nft(family, "input", 0, "drop", "[]")
}

fn nft(family: &str, hook: &str, order: i32, policy: &str, expressions: &str) -> Rules {
    with("", family, hook, order, policy, expressions)
}

fn with(set: &str, family: &str, hook: &str, order: i32, policy: &str, expressions: &str) -> Rules {
    let json = format!(
        r#"{{"nftables":[{{"metainfo":{{}}}},{set}{{"chain":{{"family":"{family}","table":"t","name":"{hook}","hook":"{hook}","prio":{order},"policy":"{policy}"}}}},{{"rule":{{"family":"{family}","table":"t","chain":"{hook}","handle":1,"expr":{expressions}}}}}]}}"#
    );
    nft::read(&json).unwrap().rules
}
