//! What users rely on: the meaning of VRRP's blocks.

use std::path::Path;
use std::time::Duration;

use super::{Class, Config, Loaded, MemoryFiles, Strictness, load_from, messages, read, said};
use crate::net::types::{Hop, RouteKind, RuleAction};
use crate::script::Command;
use crate::vrrp::settings::{
    ArgumentMatch, AssertSettings, Authentication, Beginning, Checksum, Family, HmacMode, InstanceSettings,
    LinkDelays, OnCrash, Settings, TrackTarget, Transport, Version,
};

#[test]
fn what_is_not_written_is_as_in_keepalived() {
    let instance = one("virtual_ipaddress {\n192.0.2.10\n}");
    assert_eq!((instance.family, instance.version), (Family::Ipv4, Version::V2));
    assert_eq!((instance.vrid, instance.priority, instance.beginning), (51, 100, Beginning::Backup));
    assert_eq!(instance.advert_interval, Duration::from_secs(1));
    assert!(instance.preempts && instance.preempt_delay.is_zero() && !instance.is_strict);
    assert_eq!(instance.transport, Transport::Multicast("224.0.0.18".parse().unwrap()));
    assert_eq!((instance.checksum, instance.missed_adverts), (Checksum::PseudoHeader, 3));
    assert_eq!(instance.authentication, Authentication::None);
    let announcing = instance.announcing;
    assert_eq!((announcing.delay, announcing.repeat), (Duration::from_secs(5), 5));
    assert_eq!(
        (announcing.lower_priority_delay, announcing.lower_priority_repeat),
        (Duration::from_secs(5), 5)
    );
    assert_eq!((announcing.refresh, announcing.refresh_repeat), (Duration::ZERO, 1));
    let address = &instance.addresses[0];
    assert!(address.is_tracked);
    let address = &address.wanted;
    assert_eq!((address.prefix.to_string(), &*address.link), ("192.0.2.10/32".to_owned(), "eth0"));
    assert_eq!(
        (address.broadcast, address.scope, address.flags, address.preferred_lifetime),
        (None, 0, 0, None)
    );
    let settings = settings("");
    assert_eq!((settings.on_crash, settings.forwarding_weight), (OnCrash::Failover, 0));
    assert_eq!((settings.realtime.priority, settings.realtime.limit), (50, Duration::from_millis(10)));
}

#[test]
fn ipv6_is_version_3_and_its_addresses_are_no_sources() {
    let instance = one(
        "virtual_ipaddress {\nfe80::10/64\n2001:db8::10\n2001:db8::11/64 -nodad preferred_lft forever\n2001:db8::12/64\n}",
    );
    assert_eq!((instance.family, instance.version), (Family::Ipv6, Version::V3));
    assert_eq!(instance.transport, Transport::Multicast("ff02::12".parse().unwrap()));
    let address = |n: usize| {
        let wanted = &instance.addresses[n].wanted;
        (wanted.prefix.to_string(), wanted.flags, wanted.preferred_lifetime)
    };
    assert_eq!(address(0), ("fe80::10/64".to_owned(), 0x02, None));
    assert_eq!(address(1), ("2001:db8::10/128".to_owned(), 0x02, Some(0)));
    assert_eq!(address(2), ("2001:db8::11/64".to_owned(), 0, None));
    assert_eq!(address(3), ("2001:db8::12/64".to_owned(), 0x02, Some(0)));
}

#[test]
fn an_address_has_all_its_options() {
    let instance = one(
        "virtual_ipaddress {\n192.0.2.10/24 brd + dev eth1 scope link label eth1:vip peer 192.0.2.1/32 noprefixroute no_track preferred_lft 5\n\
         192.0.2.11/24 brd -\n192.0.2.12/25 broadcast 192.0.2.99 scope 200\n}\nvirtual_ipaddress_excluded {\n2001:db8::1/64 home mngtmpaddr\n}",
    );
    let first = &instance.addresses[0];
    assert!(!first.is_tracked);
    let wanted = &first.wanted;
    assert_eq!((&*wanted.link, wanted.scope, wanted.label.as_deref()), ("eth1", 253, Some("eth1:vip")));
    assert_eq!(wanted.broadcast, Some([192, 0, 2, 255].into()));
    assert_eq!(wanted.peer.map(|p| p.to_string()).as_deref(), Some("192.0.2.1/32"));
    assert_eq!((wanted.flags, wanted.preferred_lifetime), (0x200, Some(5)));
    assert_eq!(instance.addresses[1].wanted.broadcast, Some([192, 0, 2, 0].into()));
    assert_eq!(instance.addresses[2].wanted.broadcast, Some([192, 0, 2, 99].into()));
    assert_eq!(instance.addresses[2].wanted.scope, 200);
    assert_eq!(instance.excluded[0].wanted.flags, 0x02 | 0x10 | 0x100);
}

#[test]
fn an_instance_hears_all_its_words() {
    let instance = one(
        "state BACKUP\npriority 150\nversion 3\nadvert_int 0.25\nnopreempt\ndont_track_primary\ntrack_src_ip\npromote_secondaries\n\
         mcast_src_ip 192.0.2.2\nmcast_dst_ip 224.0.0.100\nv3_checksum_as_v2\ndown_timer_adverts 5\nlower_prio_no_advert\n\
         higher_prio_send_advert\nowner_ignore_adverts\nkernel_rx_buf_size 65536\n\
         garp_master_delay 1\ngarp_master_repeat 2\ngarp_master_refresh 60\ngarp_master_refresh_repeat 3\n\
         garp_lower_prio_delay 4\ngarp_lower_prio_repeat 0\ngarp_extra_if all 30\n\
         virtual_ipaddress {\n192.0.2.10/24\n}",
    );
    assert_eq!(
        (instance.priority, instance.version, instance.beginning),
        (150, Version::V3, Beginning::Backup)
    );
    assert_eq!(instance.advert_interval, Duration::from_millis(250));
    assert!(!instance.preempts && instance.ignores_own_link);
    assert_eq!(instance.source, Some([192, 0, 2, 2].into()));
    assert_eq!(instance.transport, Transport::Multicast([224, 0, 0, 100].into()));
    assert_eq!((instance.checksum, instance.missed_adverts), (Checksum::MessageOnly, 5));
    assert!(instance.ignores_lower_priority && instance.answers_higher_priority);
    let answers = |words: &str| {
        one(&format!("{words}\nvirtual_ipaddress {{\n192.0.2.10/24\n}}")).answers_higher_priority
    };
    let all = ["", "higher_prio_send_advert off", "strict_mode", "strict_mode\nhigher_prio_send_advert"];
    assert_eq!(all.map(answers), [true, false, false, true]);
    assert!(instance.owner_ignores_adverts && instance.promotes_secondaries);
    assert_eq!(instance.receive_buffer, Some(65_536));
    let a = instance.announcing;
    assert_eq!((a.delay, a.repeat, a.refresh, a.refresh_repeat), (secs(1), 2, secs(60), 3));
    assert_eq!((a.lower_priority_delay, a.lower_priority_repeat), (secs(4), 0));
    assert_eq!((a.extra, a.extra_on_all), (secs(30), true));
}

#[test]
fn common_words_are_the_defaults_of_instances() {
    let text = "global_defs {\nvrrp_version 3\nvrrp_mcast_group4 224.0.0.99\nvrrp_garp_master_delay 2\nvrrp_garp_master_repeat 3\n\
         vrrp_down_timer_adverts 4\nvrrp_lower_prio_no_advert\nv3_checksum_as_v2\nvrrp_garp_interval 0.002\nvrrp_gna_interval 0.003\n\
         vrrp_startup_delay 7\nlog_unknown_vrids\nvmac_prefix vr\nvrrp_rt_priority 20\nvrrp_rlimit_rttime 5000\nvrrp_cpu_affinity 1 65\n\
         vrrp_notify_priority_changes\nfifo_write_vrrp_states_on_reload\nvrrp_notify_fifo /run/a root adm\nvrrp_notify_fifo_script \"/bin/r x\"\n\
         notify_fifo /run/b\nscript_user nobody:nogroup\nenable_script_security\nvrrp_on_crash hold\nvrrp_forwarding_weight 30\n}\n\
         garp_group {\ngarp_interval 0.5\ninterfaces {\neth1 eth2\n}\n}\ninterface_up_down_delays {\neth0 1 2.5\neth1 3\n}\n";
    let instance = "vrrp_instance a {\ninterface eth0\nvirtual_router_id 7\nuse_vmac\nvirtual_ipaddress {\n192.0.2.1\n192.0.2.2 dev eth1\n}\n}\n\
         vrrp_instance b {\ninterface eth0\nvirtual_router_id 8\nversion 2\ngarp_master_delay 9\nvirtual_ipaddress {\n192.0.2.3\n}\n}\n";
    let settings = settings(&format!("{text}{instance}"));
    let [a, b] = &settings.instances[..] else { panic!() };
    assert_eq!((a.version, b.version), (Version::V3, Version::V2));
    assert_eq!(a.transport, Transport::Multicast([224, 0, 0, 99].into()));
    assert_eq!((a.announcing.delay, b.announcing.delay, b.announcing.repeat), (secs(2), secs(9), 3));
    assert_eq!((a.missed_adverts, a.checksum), (4, Checksum::MessageOnly));
    assert!(a.ignores_lower_priority && a.notify.notifies_priority);
    let vmac = a.vmac.as_ref().unwrap();
    assert_eq!((&*vmac.name, &*vmac.base, vmac.mac), ("vr.7", "eth0", [0, 0, 0x5e, 0, 1, 7]));
    let links: Vec<&str> = a.addresses.iter().map(|v| &*v.wanted.link).collect();
    assert_eq!(links, ["vr.7", "eth1"]);
    let [group, common] = &settings.pacing[..] else { panic!("{:?}", settings.pacing) };
    assert_eq!((group.links.join(" "), group.arp), ("eth1 eth2".to_owned(), Duration::from_millis(500)));
    assert!(common.links.is_empty());
    assert_eq!((common.arp, common.neighbour), (Duration::from_millis(2), Duration::from_millis(3)));
    assert_eq!((settings.startup_delay, settings.logs_unknown_vrids), (secs(7), true));
    assert_eq!((settings.realtime.priority, settings.realtime.limit), (20, Duration::from_millis(5)));
    assert_eq!((settings.realtime.cpus[0], settings.realtime.cpus[1]), (2, 2));
    assert_eq!((settings.on_crash, settings.forwarding_weight), (OnCrash::Hold, 30));
    assert!(settings.secures_scripts && settings.notify.repeats_on_reload);
    let [first, second] = &settings.notify.fifos[..] else { panic!() };
    assert_eq!(
        (first.path.as_path(), first.user.as_deref(), first.group.as_deref()),
        (Path::new("/run/a"), Some("root"), Some("adm"))
    );
    let reader = first.reader.as_ref().unwrap();
    assert_eq!(
        (reader.words.join(" "), reader.user.as_deref(), reader.group.as_deref()),
        ("/bin/r x".to_owned(), Some("nobody"), Some("nogroup"))
    );
    assert!(second.reader.is_none());
    assert_eq!(settings.link_delays["eth0"], LinkDelays { down: secs(1), up: Duration::from_millis(2500) });
    assert_eq!(settings.link_delays["eth1"], LinkDelays { down: secs(3), up: secs(3) });
}

#[test]
fn unicast_speaks_to_peers_and_hears_them_only_where_asked() {
    let words = "virtual_ipaddress {\n192.0.2.10\n}\nunicast_src_ip 192.0.2.1\nunicast_ttl 9\n";
    let instance = one(&format!("{words}unicast_peer {{\n192.0.2.2\n192.0.2.3 min_ttl 254 max_ttl 255\n}}"));
    let Transport::Unicast { peers, hop_limit, checks_source, .. } = &instance.transport else { panic!() };
    assert_eq!((*hop_limit, *checks_source), (9, true));
    let of = |n: usize| (peers[n].address.to_string(), peers[n].min_hop_limit, peers[n].max_hop_limit);
    assert_eq!((of(0), of(1)), (("192.0.2.2".to_owned(), 0, 255), ("192.0.2.3".to_owned(), 254, 255)));
    let instance = one("virtual_ipaddress {\n192.0.2.10\n}\nunicast_peer {\n192.0.2.2\n}");
    assert!(matches!(instance.transport, Transport::Unicast { hop_limit: 255, checks_source: false, .. }));
    let text = "vrrp_instance VI {\nvirtual_router_id 1\nunicast_peer {\n192.0.2.2\n}\nvirtual_ipaddress {\n192.0.2.10 dev eth0\n}\n}\n";
    assert_eq!(settings(text).instances[0].interface, None);
}

#[test]
fn secrets_are_kept_and_not_told() {
    let pass =
        one("virtual_ipaddress {\n192.0.2.10\n}\nauthentication {\nauth_type PASS\nauth_pass s3cret\n}");
    assert_eq!(pass.authentication, Authentication::Password(*b"s3cret\0\0"));
    let header =
        one("virtual_ipaddress {\n192.0.2.10\n}\nauthentication {\nauth_type AH\nauth_pass s3cret\n}");
    assert_eq!(header.authentication, Authentication::Header(*b"s3cret\0\0"));
    let hmac = one(
        "virtual_ipaddress {\n192.0.2.10\n}\nauth_hmac {\nkey 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\
         key 2 ascii:abcdefghabcdefghabcdefghabcdefgh\nkey 3 file:/etc/key\nactive_key 2\nanti_replay monotonic\nmode permissive\n}",
    );
    let Authentication::Hmac(keys) = &hmac.authentication else { panic!() };
    assert_eq!(keys.keys[&1], (0..32).collect::<Vec<u8>>());
    assert_eq!(keys.keys[&3], b"0123456789abcdef0123456789abcdef");
    assert_eq!(
        (keys.active, keys.window, keys.is_monotonic, keys.mode),
        (2, secs(5), true, HmacMode::Permissive)
    );
    for instance in [pass, header, hmac] {
        let told = format!("{instance:?}");
        assert!(!told.contains("115, 51") && !told.contains("97, 98") && !told.contains("s3cret"), "{told}");
    }
}

#[test]
fn yaml_checks_unicast_peers_by_default_and_keepalived_conf_is_warned() {
    let yaml = |more: &str| {
        let text = format!(
            "vrrp:\n  instances:\n    - name: a\n      interface: eth0\n      virtual_router_id: 1\n      \
             unicast_peers: [192.0.2.2]\n      addresses: [192.0.2.1/24]\n{more}"
        );
        let transport = config(yaml_loaded(&text)).vrrp.instances[0].transport.clone();
        let Transport::Unicast { checks_source, guards_ttl, .. } = transport else { panic!() };
        (checks_source, guards_ttl)
    };
    assert_eq!(yaml(""), (true, true));
    assert_eq!(yaml("      unicast_ttl: 64\n"), (true, false), "peers have the same TTL");
    assert_eq!(yaml("      check_unicast_src: false\n"), (false, false));
    assert_eq!(yaml("defaults: keepalived\n"), (false, false));
    let warnings = |more: &str| {
        let text = format!(
            "vrrp_instance VI {{\ninterface eth0\nvirtual_router_id 1\nunicast_peer {{\n192.0.2.2\n}}\n\
             virtual_ipaddress {{\n192.0.2.10\n}}\n{more}\n}}\n"
        );
        let loaded = load_from(&files("k.conf", &text), Path::new("k.conf"), Strictness::Strict);
        loaded.diagnostics.iter().filter(|d| d.message.contains("listens to every sender")).count()
    };
    assert_eq!((warnings(""), warnings("auth_hmac {\nkey 1 file:/etc/key\n}")), (1, 0));
    assert_eq!(warnings("check_unicast_src"), 0);
}

#[test]
fn an_advertisement_without_room_leaves_addresses_unadvertised() {
    let addresses: String = (0..300).map(|n| format!("192.0.{}.{}\n", 2 + n / 200, n % 200)).collect();
    let instance =
        one(&format!("virtual_ipaddress {{\n{addresses}}}\nvirtual_ipaddress_excluded {{\n198.51.100.1\n}}"));
    assert_eq!((instance.addresses.len(), instance.excluded.len()), (255, 46));
    assert_eq!(instance.excluded[0].wanted.prefix.ip.to_string(), "192.0.3.55");
    let addresses: String = (0..100).map(|n| format!("fe80::{n:x}\n")).collect();
    let instance = one(&format!("virtual_ipaddress {{\n{addresses}}}"));
    assert_eq!((instance.addresses.len(), instance.excluded.len()), (90, 10));
}

#[test]
fn what_is_followed_brings_its_weight() {
    let text = "vrrp_script a {\nscript \"/bin/a 'b c'\"\ninterval 2\nweight -20\nfall 3\nrise 2\nuser nobody\n}\n\
         vrrp_script b {\nscript </run/well\ntimeout 5\ninit_fail\nweight 10 reverse\n}\n\
         track_file f {\nfile /run/f\ninit_file 7 overwrite\n}\nvrrp_track_process p {\nprocess nginx -g x\nquorum 2\ndelay 0.5\nparam_match initial\n}\n\
         vrrp_track_process none {\nprocess bad\nquorum_max 0\n}\n\
         vrrp_sync_group G {\ngroup {\nVI VJ\n}\ntrack_interface {\neth1\n}\nsync_group_tracking_weight\n}\n\
         vrrp_instance VJ {\ninterface eth0\nvirtual_router_id 52\nvirtual_ipaddress {\n192.0.2.11\n}\n}\n\
         vrrp_instance VI {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n192.0.2.10\n}\n\
         track_script {\na\nb weight 5\n}\ntrack_file {\nf\n}\ntrack_process {\np weight -3 reverse\nnone\n}\ntrack_interface {\neth1 weight -5\n}\n}\n";
    let settings = settings(text);
    let tracks: Vec<String> = settings.instances[1]
        .tracks
        .iter()
        .map(|t| format!("{:?} {} {}", t.target, t.weight, t.is_reversed))
        .collect();
    assert_eq!(
        tracks,
        [
            "Interface(\"eth1\") -5 false",
            "Script(\"a\") -20 false",
            "Script(\"b\") 5 true",
            "File(\"f\") 1 false",
            "Process(\"p\") -3 true",
            "Process(\"none\") 0 false",
        ]
    );
    let a = &settings.scripts["a"];
    assert_eq!(
        (a.command.words.join("|"), a.command.user.as_deref()),
        ("/bin/a|b c".to_owned(), Some("nobody"))
    );
    assert_eq!((a.interval, a.timeout, a.rise, a.fall, a.begins_failed), (secs(2), secs(2), 2, 3, false));
    let b = &settings.scripts["b"];
    assert_eq!(
        (b.command.words.join("|"), b.interval, b.timeout),
        ("<|/run/well".to_owned(), secs(1), secs(5))
    );
    assert_eq!(
        (b.rise, b.fall, b.begins_failed, b.command.user.as_deref()),
        (1, 1, true, Some("keepalived_script"))
    );
    assert_eq!(settings.files["f"].initial, Some((7, true)));
    let p = &settings.processes["p"];
    assert_eq!((p.command.join(" "), p.arguments), ("nginx -g x".to_owned(), ArgumentMatch::Initial));
    assert_eq!((p.quorum, p.quorum_max, p.start_delay), (2, u32::MAX, Duration::from_millis(500)));
    assert_eq!((settings.processes["none"].quorum, settings.processes["none"].quorum_max), (0, 0));
    let group = &settings.groups[0];
    assert_eq!((group.members.join(" "), group.counts_weights), ("VI VJ".to_owned(), true));
    assert_eq!(group.tracks[0].target, TrackTarget::Interface("eth1".into()));
}

#[test]
fn whom_an_instance_tells() {
    let instance = one(
        "virtual_ipaddress {\n192.0.2.10\n}\nnotify \"/bin/n a\" root\nnotify_master /bin/m\nnotify_backup /bin/b nobody nogroup\n\
         notify_fault /bin/f\nnotify_stop /bin/s\nnotify_deleted\nnotify_master_rx_lower_pri /bin/l\nnotify_priority_changes\n",
    );
    let n = &instance.notify;
    let shown = |c: &Option<crate::vrrp::settings::Command>| {
        let c = c.as_ref().unwrap();
        format!("{} {:?} {:?}", c.words.join("|"), c.user.as_deref(), c.group.as_deref())
    };
    assert_eq!(shown(&n.any), "/bin/n|a Some(\"root\") None");
    assert_eq!(shown(&n.master), "/bin/m Some(\"keepalived_script\") None");
    assert_eq!(shown(&n.backup), "/bin/b Some(\"nobody\") Some(\"nogroup\")");
    assert!(n.fault.is_some() && n.stop.is_some() && n.master_heard_lower_priority.is_some());
    assert!(n.notifies_deleted && n.deleted.is_none() && n.notifies_priority && !n.mail);
}

#[test]
fn routes_are_ip_s_words() {
    let instance = one(
        "virtual_ipaddress {\n192.0.2.10\n}\nvirtual_routes {\ndefault via 192.0.2.254 dev eth0 metric 10 table mine\n\
         src 192.0.2.10 to 198.51.100.0/24 via 192.0.2.1 dev eth0 onlink mtu 1400 rtt 20ms quickack 1 features ecn scope link proto static no_track\n\
         blackhole 203.0.113.0/24\n2001:db8::/32 via fe80::1 dev eth0\ndefault via fe80::1 dev eth0\n\
         198.51.101.0/24 nexthop via 192.0.2.1 weight 3 nexthop via 192.0.2.2 dev eth1\n10.0.0.0/8 via inet6 fe80::2 dev eth0\n}",
    );
    let routes: Vec<_> = instance.routes.iter().map(|r| &r.wanted).collect();
    assert_eq!((routes[0].destination.to_string(), routes[0].table), ("0.0.0.0/0".to_owned(), 77));
    assert_eq!((routes[0].metric, routes[0].protocol, routes[0].kind), (Some(10), 18, RouteKind::Unicast));
    let second = routes[1];
    assert_eq!((second.source, second.scope, second.protocol), (Some([192, 0, 2, 10].into()), Some(253), 4));
    assert_eq!(second.metrics, [(2, 1400), (4, 160), (12, 1), (15, 1)].into());
    assert!(second.hops[0].is_onlink && !instance.routes[1].is_tracked);
    assert_eq!((routes[2].kind, routes[2].hops.len()), (RouteKind::Blackhole, 0));
    assert_eq!(routes[3].destination.to_string(), "2001:db8::/32");
    assert_eq!(routes[4].destination.to_string(), "::/0");
    let hop = |via: &str, link: Option<&str>, weight| Hop {
        via: Some(via.parse().unwrap()),
        link: link.map(str::to_owned),
        weight,
        is_onlink: false,
    };
    assert_eq!(routes[5].hops, [hop("192.0.2.1", None, 3), hop("192.0.2.2", Some("eth1"), 1)]);
    assert_eq!(routes[6].hops, [hop("fe80::2", Some("eth0"), 1)]);
}

#[test]
fn rules_are_ip_s_words() {
    let instance = one(
        "virtual_ipaddress {\n192.0.2.10\n}\nvirtual_rules {\nfrom 192.0.2.0/24 table mine priority 100\n\
         not fwmark 0x7/0xff iif eth0 oif eth1 tos 0x10 uidrange 0-99 ipproto tcp sport 80 dport 90-99 lookup main no_track\n\
         to 2001:db8::/32 suppress_prefixlength 0 lookup 5\nfrom all goto 200\nfrom all iif eth0 prohibit\ninet6 nop\n}",
    );
    let rules: Vec<_> = instance.rules.iter().map(|r| &r.wanted).collect();
    assert_eq!(rules[0].from.map(|p| p.to_string()).as_deref(), Some("192.0.2.0/24"));
    assert_eq!(
        (rules[0].action, rules[0].priority, rules[0].is_ipv6),
        (RuleAction::Table(77), Some(100), false)
    );
    let second = rules[1];
    assert!(second.is_inverted && !instance.rules[1].is_tracked);
    assert_eq!((second.fwmark, second.tos, second.uids), (Some((7, 255)), 16, Some((0, 99))));
    assert_eq!((second.input_link.as_deref(), second.output_link.as_deref()), (Some("eth0"), Some("eth1")));
    assert_eq!(
        (second.ip_protocol, second.source_ports, second.destination_ports),
        (Some(6), Some((80, 80)), Some((90, 99)))
    );
    assert_eq!(second.action, RuleAction::Table(254));
    assert_eq!(
        (rules[2].is_ipv6, rules[2].suppress_prefix_length, rules[2].action),
        (true, Some(0), RuleAction::Table(5))
    );
    assert_eq!((rules[3].action, rules[4].action), (RuleAction::Goto(200), RuleAction::Prohibit));
    assert_eq!((rules[5].is_ipv6, rules[5].action), (true, RuleAction::Nop));
}

#[test]
fn sync_daemons_that_follow_an_instance_have_its_number() {
    for (words, id) in [("inst VI", 51), ("VI id 7", 7), ("", 0)] {
        let text = format!(
            "global_defs {{\nlvs_sync_daemon eth0 {words}\nvrrp_forwarding_counts_quorum\n}}\n\
             vrrp_instance VI {{\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {{\n192.0.2.1\n}}\n}}\n"
        );
        let global =
            config(load_from(&files("k.conf", &text), Path::new("k.conf"), Strictness::Strict)).global;
        assert!(
            global.quorum_counts && global.sync_daemons.iter().all(|daemon| daemon.sync_id == id),
            "{words}"
        );
        assert_eq!(global.sync_follows.as_deref(), (!words.is_empty()).then_some("VI"));
    }
}

/// Where keepalived says "already specified - ignoring".
#[test]
fn of_scripts_sync_daemons_and_what_is_followed_the_first_one_counts() {
    let loaded = read(
        "global_defs {\nlvs_sync_daemon eth0 VI id 5\nlvs_sync_daemon eth1 id 6\nnotify_fifo /run/a\nnotify_fifo /run/b\n}\n\
         track_file f {\nfile /a\nfile /b\nweight 4\nweight 5\n}\n\
         vrrp_track_process p {\nprocess a\nprocess b\nweight 4\nweight 5\n}\n\
         vrrp_instance VI {\ninterface eth0\nvirtual_router_id 51\nvirtual_ipaddress {\n10.0.0.9/24\n}\n\
         notify_master /bin/a\nnotify_master /bin/b\ntrack_file {\nf weight 6\nf weight 7\n}\ntrack_process {\np\n}\n}\n",
    );
    let twice = loaded.diagnostics.iter().filter(|d| d.message.ends_with("twice: the first one counts"));
    assert_eq!(twice.count(), 8, "{}", messages(&loaded.diagnostics));
    let config = config(loaded);
    let daemon = &config.global.sync_daemons[0];
    assert_eq!((&*daemon.interface, daemon.sync_id), ("eth0", 5));
    assert_eq!(config.global.sync_follows.as_deref(), Some("VI"));
    let instance = &config.vrrp.instances[0];
    assert_eq!(
        instance.notify.master.as_ref().map(|command| command.words.join(" ")).as_deref(),
        Some("/bin/a")
    );
    assert_eq!(instance.tracks.iter().map(|track| track.weight).collect::<Vec<_>>(), [6, 4]);
}

#[test]
fn strict_mode_is_the_standard_s() {
    let instance = one("strict_mode\npriority 255\nvirtual_ipaddress {\n192.0.2.10\n}");
    assert!(instance.is_strict && instance.ignores_lower_priority && instance.owner_ignores_adverts);
    assert_eq!(instance.announcing.lower_priority_repeat, 0);
    assert_eq!(instance.beginning, Beginning::Master);
}

/// Everything in both languages.
#[test]
fn yaml_says_the_same() {
    let conf = "global_defs {\nvrrp_version 3\nvrrp_min_garp\nvrrp_notify_fifo /run/a root\nvrrp_on_crash hold\n}\n\
         vrrp_script web {\nscript \"/bin/a b\"\ninterval 2\nweight -20\nuser nobody nogroup\n}\n\
         track_file f {\nfile /run/f\nweight 2\ninit_file 1 overwrite\n}\nvrrp_track_process p {\nprocess nginx -g\nquorum 2\n}\n\
         garp_group {\ngarp_interval 0.5\ninterfaces {\neth1 eth2\n}\n}\ninterface_up_down_delays {\neth0 1 2\n}\n\
         static_ipaddress {\n192.0.2.99/24 dev eth1\n}\nstatic_routes {\n198.51.100.0/24 nexthop via 192.0.2.1 weight 3 nexthop dev eth1\n}\n\
         static_rules {\nfrom 192.0.2.0/24 table 5\nblackhole priority 7\n}\n\
         vrrp_sync_group G {\ngroup {\nVI VJ\n}\nsync_group_tracking_weight\nnotify /bin/n\n}\n\
         vrrp_instance VI {\ninterface eth0\nvirtual_router_id 51\nstate MASTER\npriority 150\nadvert_int 0.1\nuse_vmac vip 02:00:00:00:00:09\nvmac_xmit_base\n\
         unicast_src_ip 192.0.2.1\nunicast_peer {\n192.0.2.2\n192.0.2.3 min_ttl 250\n}\n\
         auth_hmac {\nkey 1 file:/etc/key\ntime_window 9\n}\n\
         virtual_ipaddress {\n192.0.2.10/24\n192.0.2.11/24 dev eth1 no_track\n}\nvirtual_ipaddress_excluded {\n2001:db8::1/64 -nodad\n}\n\
         virtual_routes {\ndefault via 192.0.2.254 no_track\n}\nvirtual_rules {\nto 192.0.2.0/24 lookup 9\n}\n\
         track_script {\nweb\n}\ntrack_file {\nf weight 3 reverse\n}\ntrack_process {\np\n}\ntrack_interface {\neth1 weight -5\n}\nnotify_deleted\n}\n\
         vrrp_instance VJ {\ninterface eth0\nvirtual_router_id 52\nversion 2\nnopreempt\nauthentication {\nauth_type PASS\nauth_pass 1111\n}\n\
         virtual_ipaddress {\n192.0.2.20\n}\n}\n";
    let yaml = "
defaults: keepalived
vrrp:
  version: 3
  min_garp: true
  notify_fifo: [/run/a, root]
  on_crash: hold
  scripts: [{name: web, command: /bin/a b, interval: 2s, weight: -20, user: [nobody, nogroup]}]
  files: [{name: f, path: /run/f, weight: 2, init_file: [1, overwrite]}]
  processes: [{name: p, process: [nginx, -g], quorum: 2}]
  garp_groups: [{garp_interval: 500ms, interfaces: [eth1, eth2]}]
  interface_delays: [{name: eth0, down: 1s, up: 2s}]
  static_addresses: [{address: 192.0.2.99/24, dev: eth1}]
  static_routes: [{to: 198.51.100.0/24, nexthops: [{via: 192.0.2.1, weight: 3}, {dev: eth1}]}]
  static_rules: [from 192.0.2.0/24 table 5, blackhole priority 7]
  sync_groups: [{name: G, members: [VI, VJ], counts_weights: true, notify: /bin/n}]
  instances:
    - name: VI
      interface: eth0
      virtual_router_id: 51
      state: master
      priority: 150
      advert_interval: 100ms
      use_vmac: {name: vip, mac: '02:00:00:00:00:09'}
      vmac_xmit_base: true
      source: 192.0.2.1
      unicast_peers: [192.0.2.2, 192.0.2.3 min_ttl 250]
      auth_hmac: {keys: [{id: 1, secret: 'file:/etc/key'}], time_window: 9s}
      addresses: [192.0.2.10/24, {address: 192.0.2.11/24, dev: eth1, no_track: true}]
      excluded_addresses: [{address: '2001:db8::1/64', detect_duplicates: true}]
      routes: [default via 192.0.2.254 no_track]
      rules: [{to: 192.0.2.0/24, table: 9}]
      track_script: [web]
      track_file: [{name: f, weight: 3, reverse: true}]
      track_process: p
      track_interface: [eth1 weight -5]
      notify_deleted: true
    - name: VJ
      interface: eth0
      virtual_router_id: 52
      version: 2
      preempt: false
      authentication: {type: pass, password: 1111}
      addresses: 192.0.2.20
";
    let native = config(yaml_loaded(yaml)).vrrp;
    assert_eq!(*native, *settings(conf));
}

#[test]
fn preempt_healthier_replaces_only_masters_that_fell_ill() {
    let how = |statements: &str| {
        let it =
            one(&format!("state BACKUP\npriority 150\n{statements}\nvirtual_ipaddress {{\n192.0.2.10\n}}"));
        (it.preempts, it.preempts_ill, it.preempt_delay)
    };
    assert_eq!(how("preempt"), (true, false, secs(0)));
    assert_eq!(how("nopreempt"), (false, false, secs(0)));
    // With both words keepalived, which takes the last one, leaves the Master alone.
    assert_eq!(how("preempt healthier\nnopreempt"), (false, true, secs(0)));
    assert_eq!(how("preempt healthier\npreempt_delay 5"), (false, true, secs(5)));
    let yaml = "vrrp:\n  instances:\n    - {name: a, interface: eth0, virtual_router_id: 1, preempt: healthier, addresses: [192.0.2.1]}\n";
    let native = config(yaml_loaded(yaml)).vrrp;
    assert!(!native.instances[0].preempts && native.instances[0].preempts_ill);
    let wrong = "vrrp_instance VI {\ninterface eth0\nvirtual_router_id 51\npreempt healthy\nvirtual_ipaddress {\n192.0.2.10\n}\n}\n";
    let loaded = load_from(&files("k.conf", wrong), Path::new("k.conf"), Strictness::Strict);
    assert!(loaded.lines(Class::Error).iter().any(|line| line.contains("`healthier` or nothing")));
}

#[test]
fn a_weight_that_nopreempt_makes_useless_is_warned_about() {
    let warns = |preemption: &str, weight: i32, group: &str| {
        let text = format!(
            "vrrp_script chk {{\nscript /bin/true\n}}\nvrrp_instance VI {{\nstate BACKUP\ninterface eth0\nvirtual_router_id 51\n{preemption}\n\
             track_script {{\nchk weight {weight}\n}}\nvirtual_ipaddress {{\n192.0.2.10\n}}\n}}\n{group}"
        );
        let loaded = load_from(&files("k.conf", &text), Path::new("k.conf"), Strictness::Strict);
        loaded.lines(Class::Warning).iter().filter(|line| line.contains("stays Master: nopreempt")).count()
    };
    assert_eq!(warns("nopreempt", -60, ""), 1);
    assert_eq!(warns("nopreempt", 0, ""), 0, "a fault moves it");
    assert_eq!(warns("preempt", -60, ""), 0);
    assert_eq!(warns("preempt healthier", -60, ""), 0);
    let group = |word: &str| format!("vrrp_sync_group G {{\ngroup {{\nVI\n}}\n{word}\n}}\n");
    assert_eq!(warns("nopreempt", -60, &group("")), 0, "it does not count there");
    assert_eq!(warns("nopreempt", -60, &group("sync_group_tracking_weight")), 1);
    assert_eq!(warns("nopreempt", 0, &group("track_script {\nchk weight -5\n}")), 1);
}

#[test]
fn native_defaults_take_from_priorities_what_a_director_cannot_do() {
    let text = "vrrp:\n  instances:\n    - {name: a, interface: eth0, virtual_router_id: 1, state: master, addresses: [192.0.2.1]}\n";
    let settings = config(yaml_loaded(text)).vrrp;
    assert_eq!((settings.forwarding_weight, settings.instances[0].priority), (50, 100));
    assert_eq!(settings.instances[0].version, Version::V2);
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn assert_has_a_command_its_times_and_its_user_in_both_languages() {
    let conf = one("vrrp_assert \"/take it\" timeout 5s user nobody interval 1m").assert.unwrap();
    let command = Command {
        words: vec!["/take".to_owned(), "it".to_owned()],
        user: Some("nobody".to_owned()),
        group: None,
    };
    let wanted = AssertSettings { command, interval: secs(60), timeout: secs(5) };
    assert_eq!(*conf, wanted);
    let yaml = |assert: &str| {
        let text = format!(
            "vrrp:\n  instances:\n    - {{name: a, interface: eth0, virtual_router_id: 1, addresses: [192.0.2.1/24], assert: {assert}}}\n"
        );
        config(yaml_loaded(&text)).vrrp.instances[0].assert.clone().unwrap()
    };
    assert_eq!(*yaml("{command: /take it, interval: 1m, timeout: 5s, user: nobody}"), wanted);
    let least = yaml("{command: /take}");
    assert_eq!((least.interval, least.timeout), (secs(60), secs(30)));
    assert_eq!(least.command.user.as_deref(), Some("keepalived_script"), "as other scripts");
    assert!(one("").assert.is_none());
}

#[test]
fn an_instance_of_yaml_with_addresses_of_both_families_is_two_virtual_routers_and_a_group() {
    let text = "vrrp:
  sync_groups:
    - {name: G, members: [web, other]}
  instances:
    - name: web
      interface: eth0
      virtual_router_id: 51
      priority: 150
      use_vmac: true
      source: 192.0.2.1
      unicast_peers: [192.0.2.2, 'fd00::2']
      addresses: [192.0.2.10/24, 'fd00::10/64', 'fe80::10/64']
      excluded_addresses: ['fd00::11/64', 192.0.2.11/24]
      notify: /bin/told
      assert: {command: /take}
    - {name: other, interface: eth0, virtual_router_id: 52, addresses: [192.0.2.20/24]}
";
    let settings = config(yaml_loaded(text)).vrrp;
    let [four, six, _] = &settings.instances[..] else { panic!("{:?}", settings.instances) };
    assert_eq!((&*four.name, &*six.name), ("web", "web/6"));
    assert_eq!((four.family, six.family), (Family::Ipv4, Family::Ipv6));
    assert_eq!((four.version, six.version, four.vrid, six.vrid), (Version::V2, Version::V3, 51, 51));
    assert_eq!((four.addresses.len(), six.addresses.len()), (1, 2));
    assert_eq!((four.excluded.len(), six.excluded.len()), (1, 1));
    let peers = |i: &InstanceSettings| i.transport.peers().map(|ip| ip.to_string()).collect::<Vec<_>>();
    assert_eq!((peers(four), peers(six)), (vec!["192.0.2.2".to_owned()], vec!["fd00::2".to_owned()]));
    assert_eq!((four.source, six.source), (Some("192.0.2.1".parse().unwrap()), None));
    let link = |i: &InstanceSettings| i.vmac.as_ref().map(|vmac| vmac.name.clone());
    assert_eq!((link(four).as_deref(), link(six).as_deref()), (Some("vrrp.51"), Some("vrrp6.51")));
    assert!(four.assert.is_some() && six.assert.is_none());
    assert!(four.notify.any.is_some() && six.notify.any.is_none());
    let groups: Vec<(&str, Vec<&str>, bool)> = settings
        .groups
        .iter()
        .map(|g| (&*g.name, g.members.iter().map(String::as_str).collect(), g.is_pair))
        .collect();
    assert_eq!(groups, [("G", vec!["web", "other", "web/6"], false), ("web", vec!["web", "web/6"], true)]);
    // In keepalived.conf the others are left out, as keepalived does.
    let mixed = one("virtual_ipaddress {\n192.0.2.10/24\nfd00::10/64\n}");
    assert_eq!((mixed.addresses.len(), mixed.pair), (1, None));
}

#[test]
fn what_yaml_says_for_other_hosts_is_skipped_and_named() {
    let text = "vrrp:
  sync_groups:
    - {name: G, members: [a, b]}
    - {name: H, members: [b], only_on: [here]}
  instances:
    - name: a
      only_on: [there, here]
      interface: eth0
      virtual_router_id: 51
      addresses: [192.0.2.10/24, {address: 192.0.2.11/24, only_on: there}]
    - name: b
      only_on: there
      interface: eth0
      virtual_router_id: 51
      addresses: [192.0.2.20/24]
virtual_servers:
  - address: 192.0.2.10:80
    forwarding: nat
    real_servers:
      - {address: 192.0.2.1:80}
      - {address: 192.0.2.2:80, only_on: there}
";
    let loaded = yaml_loaded(text);
    assert_eq!(
        loaded.elsewhere,
        [
            "k.yaml:10:59: `192.0.2.11/24` of `addresses` is for there: not run here (only_on)",
            "k.yaml:12:7: `b` of `instances` is for there: not run here (only_on)",
            "k.yaml:21:33: `192.0.2.2:80` of `real_servers` is for there: not run here (only_on)"
        ]
    );
    assert_eq!(loaded.lines(Class::Warning), [""; 0]);
    let config = config(loaded);
    let names: Vec<&str> = config.vrrp.instances.iter().map(|i| &*i.name).collect();
    assert_eq!((names, config.vrrp.instances[0].addresses.len()), (vec!["a"], 1));
    let groups: Vec<(&str, usize)> = config.vrrp.groups.iter().map(|g| (&*g.name, g.members.len())).collect();
    assert_eq!(groups, [("G", 1)]);
    assert_eq!(config.virtual_servers[0].real_servers.len(), 1);
    let missing = yaml_loaded(
        "vrrp:\n  instances:\n    - {name: a, only_on: {host: here}, interface: eth0, virtual_router_id: 5, addresses: [192.0.2.1/24]}\n",
    );
    assert!(
        missing.lines(Class::Error)[0].contains("`only_on` names no host"),
        "{:?}",
        missing.lines(Class::Error)
    );
}

/// The instance of these statements.
fn one(statements: &str) -> InstanceSettings {
    let text = format!("vrrp_instance VI {{\ninterface eth0\nvirtual_router_id 51\n{statements}\n}}\n");
    (*settings(&text).instances[0]).clone()
}

fn settings(text: &str) -> std::sync::Arc<Settings> {
    config(load_from(&files("k.conf", text), Path::new("k.conf"), Strictness::Strict)).vrrp
}

fn yaml_loaded(text: &str) -> Loaded {
    load_from(&files("k.yaml", text), Path::new("k.yaml"), Strictness::Strict)
}

fn files(path: &str, text: &str) -> MemoryFiles {
    MemoryFiles::new(&[
        (path, text),
        ("/etc/passwd", "root:x:0:0::/:/bin/sh\nkeepalived_script:x:99:99::/:/bin/false\n"),
        ("/etc/iproute2/rt_tables", "# names\n255 local\n0x4d mine\n"),
        ("/etc/key", "0123456789abcdef0123456789abcdef\n"),
    ])
}

fn config(loaded: Loaded) -> Config {
    let errors = loaded.lines(Class::Error);
    loaded.config.unwrap_or_else(|| panic!("{errors:#?}"))
}

#[test]
fn words_of_old_versions_and_forks_mean_what_they_meant() {
    let instance = |name: &str, vrid: u8, more: &str| {
        format!(
            "vrrp_instance {name} {{\ninterface eth0\nvirtual_router_id {vrid}\nvirtual_ipaddress {{\n192.0.2.{vrid}/32\n}}\n{more}\n}}\n"
        )
    };
    let text = format!(
        "global_defs {{\nlvs_id edge\n}}\n{}{}",
        instance("A", 51, "vrrp_unicast_bind 192.0.2.1\nvrrp_unicast_peer 192.0.2.2"),
        instance("B", 52, "lvs_sync_daemon_interface eth1")
    );
    let config = config(read(&text));
    assert_eq!(config.global.router_id.as_deref(), Some("edge"));
    let daemon = &config.global.sync_daemons[0];
    assert_eq!((daemon.interface.as_str(), daemon.sync_id), ("eth1", 52));
    assert_eq!(config.global.sync_follows.as_deref(), Some("B"));
    let Transport::Unicast { peers, .. } = &config.vrrp.instances[0].transport else { panic!("multicast") };
    assert_eq!(peers.iter().map(|p| p.address.to_string()).collect::<Vec<_>>(), ["192.0.2.2"]);
    assert_eq!(config.vrrp.instances[0].source, Some("192.0.2.1".parse().unwrap()));

    let twice = format!(
        "global_defs {{\nlvs_sync_daemon eth9 id 7\n}}\n{}",
        instance("B", 52, "lvs_sync_daemon_interface eth1")
    );
    let loaded = read(&twice);
    assert!(said(&loaded).contains("`lvs_sync_daemon_interface` is ignored: there is one sync daemon"));
    assert_eq!(self::config(loaded).global.sync_daemons[0].interface, "eth9");
}
