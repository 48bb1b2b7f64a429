use super::*;
use crate::doctor::environment::{Capability, Managed, Manager, Unit};
use crate::vrrp::io::State;
use crate::vrrp::status::{CountersStatus, InstanceStatus, PeerStatus};

const PEER: &str = "10.1.0.12";

/// `DR`, with the host that holds its VIP.
fn routed(more: &str) -> String {
    format!(
        "vrrp_instance WEB {{\ninterface eth0\nvirtual_router_id 51\npriority 100\n{more}\nvirtual_ipaddress {{\n\
         {VIP}/24\n}}\n}}\n{DR}"
    )
}

fn master() -> Imagined {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.asked = [VIP.parse().unwrap()].into();
    host.directors = vec![("lvsd".to_owned(), 7)];
    host.running = Some(running(State::Master, Vec::new()));
    host
}

fn standby() -> Imagined {
    let mut host = master();
    host.held.retain(|(_, ip, _)| *ip != VIP);
    host.running = Some(running(State::Backup, Vec::new()));
    host.adverts = [advert(PEER, 51, &[VIP])].into();
    host.holders = [(VIP.parse().unwrap(), STRANGER)].into();
    host
}

fn advert(source: &str, vrid: u8, addresses: &[&str]) -> Advert {
    Advert {
        link: "eth0".to_owned(),
        source: source.parse().unwrap(),
        vrid,
        version: 2,
        priority: 150,
        addresses: addresses.iter().map(|ip| ip.parse().unwrap()).collect(),
    }
}

fn running(state: State, peers: Vec<PeerStatus>) -> Running {
    let instance = InstanceStatus {
        name: "WEB".to_owned(),
        vrid: 51,
        version: 2,
        interface: Some("eth0".to_owned()),
        is_multicast: true,
        state,
        since_milliseconds: 60_000,
        reason: "link eth0 is down".to_owned(),
        waits_for: None,
        waits_for_group: false,
        holds_back: None,
        base_priority: 100,
        priority: 100,
        source: None,
        master: None,
        master_priority: None,
        interval_milliseconds: 1000,
        master_down_microseconds: 3_600_000,
        timer_microseconds: None,
        addresses: Vec::new(),
        tracks: Vec::new(),
        counters: CountersStatus::default(),
        peers,
        has_conflict: false,
        assert: None,
        pair: None,
    };
    let router = RouterStatus { instances: vec![instance], ..RouterStatus::default() };
    Running { trouble: None, director: Status::default(), router: Some(router), rejected: None }
}

fn peer(refusal: Option<&str>, conflict: Option<&str>) -> PeerStatus {
    PeerStatus {
        source: PEER.parse().unwrap(),
        version: Some(2),
        is_multicast: true,
        authentication: "none".to_owned(),
        priority: Some(150),
        interval_milliseconds: None,
        addresses: None,
        has_pseudo_header: None,
        accepted: 0,
        refused: 3,
        silent_milliseconds: 100,
        last_refusal: refusal.map(str::to_owned),
        conflict: conflict.map(str::to_owned),
    }
}

/// What is found beyond hints: what, evidence and fix.
fn found(host: &Imagined, text: &str) -> Vec<(String, String, String)> {
    let all = host.examine(text).into_iter().filter(|finding| finding.severity != Severity::Hint);
    all.map(|f| (f.what, f.evidence, f.fix.map_or_else(String::new, |fix| fix.to_string()))).collect()
}

#[test]
fn a_healthy_pair_has_no_finding() {
    assert_eq!(found(&master(), &routed("")), []);
    assert_eq!(found(&standby(), &routed("")), []);
}

#[test]
fn two_masters_are_reported_with_the_direction_that_is_cut() {
    let mut host = master();
    host.holders = [(VIP.parse().unwrap(), STRANGER)].into();
    let said = |host: &Imagined| {
        let all = found(host, &routed(""));
        assert_eq!((all.len(), all[0].0.as_str()), (1, "another host has VIP 10.1.0.100, too"), "{all:?}");
        (all[0].1.clone(), all[0].2.clone())
    };
    let (seen, fix) = said(&host);
    assert!(seen.ends_with("vrrp_instance WEB is Master, and no advertisement of another router arrives"));
    assert!(fix.contains("112 to 224.0.0.18 pass between both hosts"), "{fix}");
    host.adverts = [advert(PEER, 51, &[VIP])].into();
    let (seen, fix) = said(&host);
    assert!(seen.ends_with("advertisements of 10.1.0.12 arrive at eth0 and do not reach lvsd"), "{seen}");
    assert_eq!(fix, "let IP protocol 112 pass this host's firewall");
    let mut silent = peer(None, None);
    silent.silent_milliseconds = 4000;
    host.running = Some(running(State::Master, vec![silent]));
    assert_eq!(said(&host).1, fix, "it was heard before");
    host.running = Some(running(State::Master, vec![peer(Some("its password is another one"), None)]));
    let (seen, fix) = said(&host);
    assert!(seen.ends_with("hears 10.1.0.12: its password is another one"), "{seen}");
    assert!(fix.contains("from this host to 10.1.0.12"), "{fix}");
}

#[test]
fn a_vrid_in_use_by_another_router_is_reported_with_a_free_one() {
    let mut host = standby();
    host.adverts = [
        advert(PEER, 51, &[VIP]),
        advert("10.1.0.9", 51, &["10.1.0.200"]),
        advert("10.1.0.8", 1, &["10.1.0.201"]),
    ]
    .into();
    let all = found(&host, &routed(""));
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, "vrrp_instance WEB: another virtual router on eth0 has VRID 51, too");
    assert_eq!(all[0].1, "heard 10.1.0.9: VRID 51 (version 2), priority 150, for 10.1.0.200");
    assert_eq!(all[0].2, "write `virtual_router_id 2` in vrrp_instance WEB on all its routers");
    let hints = host.examine(&routed(""));
    let other = hints.iter().find(|f| f.what == "other virtual routers send on eth0").unwrap();
    assert!(other.severity == Severity::Hint && other.evidence.starts_with("10.1.0.8: VRID 1 "), "{other:?}");
}

#[test]
fn a_vip_that_a_master_advertises_and_no_host_answers_for_is_reported() {
    let mut host = standby();
    host.holders.clear();
    let all = found(&host, &routed(""));
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, "no host answers for VIP 10.1.0.100, though a Master advertises it");
    assert!(all[0].2.starts_with("on 10.1.0.12: ip addr show to 10.1.0.100"), "{all:?}");
    host.environment.cloud = Some("OpenStack Foundation".to_owned());
    assert!(found(&host, &routed(""))[0].2.contains("OpenStack Foundation drops it"));
    host.asked.clear();
    assert_eq!(found(&host, &routed("")), [], "no address was asked for");
}

#[test]
fn faults_and_conflicts_of_the_running_router_are_reported() {
    let mut host = standby();
    host.running = Some(running(State::Fault, Vec::new()));
    let all = found(&host, &routed(""));
    assert_eq!(all[0].0, "vrrp_instance WEB is in Fault");
    assert_eq!(all[0].1, "link eth0 is down");
    let conflict = "10.1.0.12 says it is master of VRID 51, but its packets are not accepted: its auth_pass is another one: give both the same";
    host.running = Some(running(State::Backup, vec![peer(None, Some(conflict))]));
    let all = found(&host, &routed(""));
    assert_eq!((all[0].1.as_str(), all[0].2.as_str()), (conflict, "give both the same"), "{all:?}");
}

#[test]
fn keywords_with_less_effect_than_expected_are_reported_with_what_to_write() {
    let all = found(&standby(), &routed("state MASTER\nnopreempt"));
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].0.contains("`nopreempt` does not go with `state MASTER`"), "{all:?}");
    assert!(
        all[0].1.starts_with("/keepalived.conf:6:") && all[0].2.contains("write `state BACKUP`"),
        "{all:?}"
    );
    let all = found(&standby(), &routed("authentication {\nauth_type PASS\nauth_pass 123456789\n}"));
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].0.contains("`auth_pass` is longer than 8 bytes"), "{all:?}");
    assert_eq!(found(&standby(), &routed("authentication {\nauth_type PASS\nauth_pass 12345678\n}")), []);
}

#[test]
fn keepalived_is_reported_where_it_runs() {
    let mut host = standby();
    let strict = routed("strict_mode on");
    assert_eq!(found(&host, &strict), [], "lvsd accepts");
    host.directors = vec![("keepalived".to_owned(), 7)];
    let all = found(&host, &strict);
    assert_eq!(all[0].0, "vrrp_instance WEB: strict mode, and a virtual server on its VIP 10.1.0.100");
    let hints: Vec<String> = host.examine(&strict).into_iter().map(|f| f.what).collect();
    assert!(hints.contains(&"vrrp_instance WEB announces its addresses only once".to_owned()), "{hints:?}");
    let refreshed = host.examine(&routed("garp_master_refresh 60"));
    assert!(refreshed.iter().all(|f| !f.what.contains("only once")), "{refreshed:?}");
}

#[test]
fn a_program_that_removes_a_vip_is_reported_with_what_to_configure() {
    let mut host = standby();
    let managed = Managed {
        link: "eth0".to_owned(),
        manager: Manager::Networkd,
        file: Some("/run/systemd/network/10-netplan-eth0.network".to_owned()),
        keeps_addresses: false,
        keeps_routes: false,
    };
    host.environment.managed = vec![managed.clone()];
    let all = found(&host, &routed(""));
    assert_eq!(all[0].0, "systemd-networkd removes VIPs from eth0 whenever it configures it anew");
    let file = "/etc/systemd/network/10-netplan-eth0.network.d/lvsd.conf";
    assert!(all[0].2.contains("KeepConfiguration=static") && all[0].2.contains(file), "{all:?}");
    host.environment.managed = vec![Managed { keeps_addresses: true, ..managed.clone() }];
    assert_eq!(found(&host, &routed("")), []);
    let routes = routed("virtual_routes {\n10.9.0.0/24 via 10.1.0.1 dev eth0\n}");
    assert!(found(&host, &routes)[0].0.starts_with("systemd-networkd removes routes and rules from eth0"));
    host.environment.managed = vec![Managed { link: "eth1".to_owned(), ..managed.clone() }];
    assert_eq!(found(&host, &routed("")), [], "no VIP is there");
    host.environment.managed = vec![Managed { manager: Manager::NetworkManager, ..managed }];
    assert!(found(&host, &routed(""))[0].2.contains("unmanaged-devices=interface-name:eth0"));
}

#[test]
fn boot_units_and_missing_rights_are_reported() {
    let mut host = standby();
    let unit = |name: &str, is_enabled, waits_for_network| Unit {
        name: name.to_owned(),
        is_enabled,
        waits_for_network,
    };
    let mut told = |units: &[Unit]| {
        host.environment.units = Some(units.to_vec());
        found(&host, &routed("")).into_iter().map(|(what, ..)| what).collect::<Vec<_>>()
    };
    let (lvsd, keepalived) = (unit("lvsd.service", true, true), unit("keepalived.service", true, true));
    assert_eq!(told(std::slice::from_ref(&lvsd)), Vec::<String>::new());
    assert_eq!(told(&[]), ["nothing starts lvsd at boot"]);
    assert_eq!(told(&[unit("lvsd.service", false, true)]), ["nothing starts lvsd at boot"]);
    assert_eq!(told(&[lvsd.clone(), keepalived]), ["keepalived is started at boot, too"]);
    let early = unit("keepalived.service", true, false);
    let both =
        ["keepalived is started at boot, too", "keepalived.service does not wait for the network at boot"];
    assert_eq!(told(&[lvsd, early]), both);

    host.environment = Environment::default();
    host.environment.lacking = vec![(7, [Capability::SysNice].into())];
    assert_eq!(found(&host, &routed(""))[0].0, "lvsd (pid 7) lacks CAP_SYS_NICE");
    assert_eq!(found(&host, DR), [], "no advertisement can be late");
    host.environment.lacking = vec![(7, Capability::ALL.into())];
    assert_eq!(found(&host, &routed(""))[0].0, "lvsd (pid 7) lacks CAP_NET_ADMIN and CAP_NET_RAW");
}

#[test]
fn a_missing_scheduler_and_a_cloud_without_multicast_are_reported() {
    let mut host = standby();
    host.environment.modules = Some(["ip_vs", "ip_vs_rr"].map(str::to_owned).into());
    assert_eq!(found(&host, DR), []);
    assert_eq!(found(&host, &DR.replace("rr", "wrr"))[0].0, "the kernel has no scheduler wrr");
    host.environment.modules = None;
    host.environment.cloud = Some("Amazon EC2".to_owned());
    assert_eq!(
        found(&host, &routed(""))[0].0,
        "vrrp_instance WEB speaks by multicast in a cloud that carries none"
    );
    assert_eq!(found(&host, &routed("unicast_src_ip 10.1.0.11\nunicast_peer {\n10.1.0.12\n}")), []);
}
