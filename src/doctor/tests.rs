use super::*;
use crate::config::Strictness;
use crate::config::load::load_from;
use crate::net::types::{HeldAddress, Link, LinkIndex, Prefix};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::files::MemoryFiles;

mod routers;

const DR: &str = "virtual_server 10.1.0.100 80 {\nlb_algo rr\nlb_kind DR\nprotocol TCP\n\
                  real_server 10.1.0.21 80 {\nweight 1\n}\nreal_server 10.1.0.22 80 {\nweight 1\n}\n}\n";
const DIRECTOR: &str = "10.1.0.11";
const VIP: &str = "10.1.0.100";
const RS1: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x21]);
const STRANGER: MacAddress = MacAddress([2, 0, 0, 0, 0, 0x99]);

#[test]
fn a_director_that_is_well_gets_hints_only() {
    let found = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]).examine(DR);
    assert!(found.iter().all(|finding| finding.severity == Severity::Hint), "{found:?}");
    assert!(found.iter().any(|finding| finding.what.contains("from this host itself")), "{found:?}");
}

#[test]
fn a_host_that_answers_for_the_vip_is_named_with_the_command_that_stops_it() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.holders = [(VIP.parse().unwrap(), RS1), (VIP.parse().unwrap(), STRANGER)].into();
    host.names = [(RS1, ["10.1.0.21".parse().unwrap()].into())].into();
    let found = host.broken(DR);
    assert_eq!(found[0].what, "real server 10.1.0.21 answers ARP for VIP 10.1.0.100");
    assert!(found[0].evidence.contains("02:00:00:00:00:21"), "{found:?}");
    let fix = found[0].fix.as_ref().unwrap();
    assert_eq!(fix.to_string(), "on 10.1.0.21: lvsd real-server up --vip 10.1.0.100");
    assert!(!fix.is_safe(), "another host's");
    assert_eq!(found[1].what, "another host has VIP 10.1.0.100, too");
    assert!(found[1].evidence.contains("02:00:00:00:00:99"), "{found:?}");

    // A standby hears the active director, and still finds the real server.
    host.held.retain(|(_, ip, _)| *ip != VIP);
    let found = host.broken(DR);
    assert_eq!(
        found.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(),
        ["real server 10.1.0.21 answers ARP for VIP 10.1.0.100"]
    );
}

#[test]
fn an_arp_problem_of_ipv6_is_named_and_its_fix_removes_the_vip_from_the_announcing_link() {
    let text = DR.replace("10.1.0.100", "fd00:1::100").replace("10.1.0.2", "fd00:1::2");
    let vip = "fd00:1::100";
    let mut host = Imagined::of(&[("eth0", "fd00:1::11", 64), ("eth0", vip, 128)]);
    host.holders = [(vip.parse().unwrap(), RS1)].into();
    host.names = [(RS1, ["fd00:1::21".parse().unwrap()].into())].into();
    let found = host.broken(&text);
    assert_eq!(found[0].what, "real server fd00:1::21 answers neighbour solicitations for VIP fd00:1::100");
    assert!(found[0].evidence.contains("02:00:00:00:00:21"), "{found:?}");
    let fix = found[0].fix.as_ref().unwrap().to_string();
    let up = "lvsd real-server up --vip fd00:1::100";
    assert_eq!(fix, format!("on fd00:1::21: ip addr flush to fd00:1::100 && {up}"));
}

#[test]
fn the_active_director_of_a_colocated_pair_is_no_arp_problem_but_its_peer_is() {
    let mut host = Imagined::of(&[("eth0", "10.1.0.22", 24), ("lo", VIP, 32)]);
    host.settings = [("ipv4.all.arp_ignore", 1), ("ipv4.all.arp_announce", 2)].into();
    host.directors = vec![("lvsd".to_owned(), 7)];
    host.holders = [(VIP.parse().unwrap(), RS1)].into();
    host.names = [(RS1, ["10.1.0.21".parse().unwrap()].into())].into();
    assert_eq!(host.broken(DR), [], "the peer holds the VIP");
    host.held.push(("eth0", VIP, 32));
    assert_eq!(host.broken(DR)[0].what, "real server 10.1.0.21 answers ARP for VIP 10.1.0.100");
}

#[test]
fn path_check_findings_of_the_running_lvsd_are_reported_with_their_fix() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    let real = |address: &str, path: serde_json::Value| {
        serde_json::json!({"real_server": address, "health": "down", "is_up": false, "since_seconds": 5, "reason": "",
            "unverified_seconds": null, "checks": 9, "check_failures": 3, "forwarding": "dr", "order": null, "weight": 1,
            "kernel_weight": null, "connections": {"active": 0, "inactive": 0, "persistent": 0},
            "stats": {"connections": 0, "packets_in": 0, "packets_out": 0, "bytes_in": 0, "bytes_out": 0},
            "path": path})
    };
    let status = |is_good: Option<bool>| {
        let path =
            serde_json::json!({"is_good": is_good, "words": "VIP missing on lo, or reply path broken"});
        let server = serde_json::json!({"virtual_server": "10.1.0.100:80 tcp", "scheduler": "rr", "has_quorum": true,
            "live_weight": 1, "quorum": 1, "degraded": null, "is_in_kernel": true, "sample_age_seconds": null,
            "stats": {"connections": 0, "packets_in": 0, "packets_out": 0, "bytes_in": 0, "bytes_out": 0},
            "real_servers": [real("10.1.0.21:80", serde_json::Value::Null), real("10.1.0.22:80", path)],
            "sorry_server": null, "leaving": []});
        let director = serde_json::json!({"is_converged": true, "is_ready": true, "is_ipvs_used": true, "kernel_trouble": null,
            "virtual_servers": [server.clone(), server], "foreign_services": [], "drift_repaired": 0, "last_drift": null,
            "services_adopted": 0, "kernel_errors": 0, "checkers": 4, "overdue_milliseconds": 0});
        Some(Running {
            trouble: None,
            director: serde_json::from_value(director).unwrap(),
            router: None,
            rejected: None,
        })
    };
    host.running = status(Some(false));
    let [found] = &host.broken(DR)[..] else { panic!("{:?}", host.broken(DR)) };
    assert_eq!(found.what, "real server 10.1.0.22 does not answer packets for VIP 10.1.0.100");
    assert_eq!(found.evidence, "VIP missing on lo, or reply path broken");
    assert_eq!(found.fix.as_ref().unwrap().to_string(), "on 10.1.0.22: lvsd real-server up --vip 10.1.0.100");
    host.running = status(None);
    assert_eq!(host.broken(DR), [], "no verdict is none");

    // What cannot be checked from here is found, once for each reason.
    for server in &mut host.running.as_mut().unwrap().director.virtual_servers {
        for real in &mut server.real_servers {
            real.unchecked = Some("no file descriptors left: raise LimitNOFILE".to_owned());
        }
    }
    let [found] = &host.broken(DR)[..] else { panic!("{:?}", host.broken(DR)) };
    assert_eq!(found.what, "10.1.0.21:80 and 1 more cannot be checked from here");
    assert_eq!(found.evidence, "no file descriptors left: raise LimitNOFILE");
}

#[test]
fn problems_of_the_host_come_with_their_commands() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.sysctls = [("net.ipv4.ip_forward", "0"), ("net.ipv4.vs.expire_quiescent_template", "0")].into();
    let text = DR.replace("DR", "NAT").replace("lb_kind", "persistence_timeout 50\nlb_kind");
    let found = host.examine(&text);
    let fix = |what: &str| {
        let found = found.iter().find(|f| f.what == what).unwrap_or_else(|| panic!("{what}: {found:?}"));
        (found.severity, found.fix.as_ref().unwrap().to_string(), found.fix.as_ref().unwrap().is_safe())
    };
    let command = "sysctl -w net.ipv4.ip_forward=1".to_owned();
    assert_eq!(fix("net.ipv4.ip_forward is 0"), (Severity::Broken, command, true));
    let command = "sysctl -w net.ipv4.vs.expire_quiescent_template=1".to_owned();
    assert_eq!(fix("net.ipv4.vs.expire_quiescent_template is 0"), (Severity::Warning, command, true));
    assert_eq!(found[0].severity, Severity::Broken, "the worst first");
    let ways: Vec<_> = found.iter().filter(|f| f.what.starts_with("NAT: ")).collect();
    assert_eq!(ways.len(), 1, "one word for a network: {ways:?}");
    assert!(ways[0].what.contains("answers clients of 10.1.0.0/24 directly"), "{ways:?}");
}

#[test]
fn a_source_of_checks_that_is_another_directors_is_found() {
    let host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    let text =
        |source: &str| DR.replace("weight 1\n", &format!("weight 1\nTCP_CHECK {{\nbindto {source}\n}}\n"));
    let [found] = &host.broken(&text("10.1.0.12"))[..] else {
        panic!("{:?}", host.broken(&text("10.1.0.12")))
    };
    assert_eq!(found.what, "bindto 10.1.0.12 is not an address of this host");
    assert!(found.why.starts_with("real server 10.1.0.21:80 and 1 more cannot be checked"), "{found:?}");
    assert_eq!(host.broken(&text(DIRECTOR)), []);
}

#[test]
fn mh_without_fallback_is_worse_where_weight_0_is_kept() {
    let host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    let mh = DR.replace("lb_algo rr", "lb_algo mh");
    let of = |text: &str| {
        let found = host.examine(text).into_iter().find(|f| f.what.ends_with("mh without mh-fallback"));
        found.map(|f| f.severity)
    };
    assert_eq!(of(&mh), Some(Severity::Warning));
    assert_eq!(of(&mh.replacen("weight 1", "weight 1\ninhibit_on_failure", 1)), Some(Severity::Broken));
    assert_eq!(of(&mh.replace("lb_algo mh", "lb_algo mh\nmh-fallback")), None);
    assert_eq!(of(&DR.replace("lb_algo rr", "lb_algo sh")), None);
    let one = "virtual server 10.1.0.100:80 tcp: mh sends all of a client's connections to one real server";
    let hints = |text: &str| {
        host.examine(text).into_iter().filter(|f| f.what == one).map(|f| f.severity).collect::<Vec<_>>()
    };
    assert_eq!(hints(&mh), [Severity::Hint]);
    assert_eq!(hints(&mh.replace("lb_algo mh", "lb_algo mh\nmh-port")), []);
}

#[test]
fn a_real_server_gets_exactly_the_findings_it_needs() {
    let mut host = Imagined::of(&[("eth0", "10.1.0.21", 24)]);
    host.ipvs = Ipvs::Absent;
    let found = host.broken(DR);
    let whats: Vec<&str> = found.iter().map(|f| f.what.as_str()).collect();
    assert_eq!(whats, ["arp_ignore lets this host announce the VIP", "VIP 10.1.0.100 is missing on lo"]);
    assert!(found.iter().all(|f| f.fix.as_ref().is_some_and(Fix::is_safe)), "{found:?}");
    host.settings = [("ipv4.all.arp_ignore", 1), ("ipv4.all.arp_announce", 2)].into();
    host.held.push(("lo", VIP, 32));
    assert_eq!(host.examine(DR), [], "a director's matters are none of a real server's");
    host.held.last_mut().unwrap().2 = 24;
    let found = host.broken(DR);
    assert_eq!(found.len(), 1, "{found:?}");
    let fix = found[0].fix.as_ref().unwrap();
    assert!(fix.to_string().starts_with("ip addr del 10.1.0.100/24 dev lo && ") && !fix.is_safe());
}

#[test]
fn a_tunnel_s_strict_filter_is_named_with_its_link() {
    let mut host = Imagined::of(&[("eth0", "10.1.0.21", 24), ("lo", VIP, 32)]);
    host.held.push(("tunl0", "10.9.9.9", 32));
    host.settings =
        [("ipv4.all.arp_ignore", 1), ("ipv4.all.arp_announce", 2), ("ipv4.tunl0.rp_filter", 1)].into();
    let tun = DR.replace("DR", "TUN");
    let found = host.broken(&tun);
    assert_eq!(
        found.iter().map(|f| f.what.as_str()).collect::<Vec<_>>(),
        ["rp_filter drops what comes out of tunl0"]
    );
    assert!(found[0].evidence.contains("net.ipv4.conf.tunl0.rp_filter is 1"), "{found:?}");
    host.settings.insert("ipv4.tunl0.rp_filter", 0);
    assert_eq!(host.broken(&tun), []);
}

#[test]
fn a_vip_that_failed_duplicate_address_detection_is_reported() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.unusable = Some(VIP);
    assert_eq!(host.broken(DR)[0].what, "VIP 10.1.0.100 is not usable");
    host.unusable = None;
    assert_eq!(host.broken(DR), []);
}

#[test]
fn two_directors_and_a_missing_kernel_part_are_broken() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.directors = vec![("lvsd".to_owned(), 7), ("lvsd".to_owned(), 8)];
    host.ipvs = Ipvs::Absent;
    let whats: Vec<String> = host.broken(DR).into_iter().map(|f| f.what).collect();
    assert_eq!(whats, ["the kernel has no IPVS", "two directors share one table"]);
    host.directors = vec![("keepalived".to_owned(), 7), ("keepalived".to_owned(), 8)];
    host.ipvs = Ipvs::Loaded;
    assert_eq!(host.broken(DR), [], "keepalived is several processes");
}

#[test]
fn a_firewalls_drops_are_reported_with_their_effect_on_each_method() {
    let rules = |saved: &str| Rules { tables: crate::net::firewall::iptables::read(saved, true).tables };
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    host.firewall = rules(
        "*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A FORWARD -m conntrack --ctstate INVALID -j DROP\n",
    );
    let nat = DR.replace("DR", "NAT");
    let of = |host: &Imagined, text: &str| {
        let found = host.examine(text).into_iter().filter(|f| f.what.contains("firewall"));
        found.map(|f| (f.severity, f.what, f.fix.unwrap().to_string())).collect::<Vec<_>>()
    };
    host.sysctls = [("net.ipv4.vs.conntrack", "0"), ("net.ipv4.ip_forward", "1")].into();
    let invalid = "this host's firewall drops as invalid what clients send to VIP 10.1.0.100".to_owned();
    let untrack = "iptables -t raw -I PREROUTING -d 10.1.0.100 -j CT --notrack".to_owned();
    assert_eq!(of(&host, DR), [(Severity::Warning, invalid.clone(), untrack.clone())]);
    let replies = "this host's firewall drops replies of real server 10.1.0.21:80".to_owned();
    let remember = "sysctl -w net.ipv4.vs.conntrack=1".to_owned();
    assert_eq!(of(&host, &nat), [(Severity::Broken, replies.clone(), remember)]);
    host.sysctls.insert("net.ipv4.vs.conntrack", "1");
    assert_eq!(of(&host, DR), [(Severity::Broken, invalid, untrack)]);
    assert_eq!(of(&host, &nat), []);

    host.firewall = rules("*filter\n:INPUT DROP\n:FORWARD DROP\n-A INPUT -p tcp --dport 22 -j ACCEPT\n");
    let clients =
        "this host's firewall drops what clients send to virtual server 10.1.0.100:80 tcp".to_owned();
    let accept = "iptables -t filter -I INPUT -d 10.1.0.100 -p tcp --dport 80 -j ACCEPT".to_owned();
    assert_eq!(of(&host, DR), [(Severity::Broken, clients.clone(), accept.clone())]);
    let back = "iptables -t filter -I FORWARD -s 10.1.0.21 -p tcp --sport 80 -j ACCEPT".to_owned();
    assert_eq!(of(&host, &nat), [(Severity::Broken, clients, accept), (Severity::Broken, replies, back)]);
}

#[test]
fn a_full_table_of_connections_is_seen_before_it_is_full() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    let mut of = |count| {
        host.sysctls =
            [("net.netfilter.nf_conntrack_count", count), ("net.netfilter.nf_conntrack_max", "1000")].into();
        let found = host.examine(DR).into_iter().find(|f| f.what.contains("tracked connections"));
        found.map(|f| (f.severity, f.fix.unwrap().to_string()))
    };
    let fix = "sysctl -w net.netfilter.nf_conntrack_max=2000".to_owned();
    assert_eq!(of("799"), None);
    assert_eq!(of("800"), Some((Severity::Warning, fix.clone())));
    assert_eq!(of("1000"), Some((Severity::Broken, fix)));
}

#[test]
fn virtual_server_problems_are_found_even_while_the_kernel_is_in_sync() {
    let mut host = Imagined::of(&[("eth0", DIRECTOR, 24), ("eth0", VIP, 32)]);
    let stats = serde_json::json!({"connections": 0, "packets_in": 0, "packets_out": 0, "bytes_in": 0, "bytes_out": 0});
    let problems = serde_json::json!([
        {"problem": "no_new_connections", "down": 0, "by_order": 1, "weight_zero": 1, "overloaded": 0},
        {"problem": "recurring_change", "times": 7, "period_milliseconds": 1000, "what": "the service was deleted"},
        {"problem": "half_open", "real_server": "10.1.0.21:80", "half_open": 5}]);
    let running = |problems: serde_json::Value, foreign: &str, sorry: serde_json::Value| {
        let server = serde_json::json!({"virtual_server": "10.1.0.100:0 tcp", "scheduler": "rr", "has_quorum": false,
            "live_weight": 0, "quorum": 1, "degraded": null, "is_in_kernel": true, "sample_age_seconds": null,
            "problems": problems, "stats": stats, "real_servers": [], "sorry_server": sorry, "leaving": []});
        let director = serde_json::json!({"is_converged": true, "is_ready": true, "is_ipvs_used": true, "kernel_trouble": null,
            "virtual_servers": [server], "foreign_services": [foreign], "drift_repaired": 0, "last_drift": null,
            "services_adopted": 0, "kernel_errors": 0, "checkers": 0, "overdue_milliseconds": 0});
        let rejected = Some(vec!["lvsd.conf:1:1: it is broken".to_owned()]);
        Some(Running {
            trouble: None,
            director: serde_json::from_value(director).unwrap(),
            router: None,
            rejected,
        })
    };
    let whats = |host: &Imagined| -> Vec<String> {
        let all = host.examine(DR).into_iter().filter(|finding| finding.severity != Severity::Hint);
        all.map(|finding| finding.what).collect()
    };
    host.running = running(problems, "10.1.0.100:80 tcp", serde_json::Value::Null);
    let found = whats(&host);
    for words in [
        "of its real servers 1 is out by an operator's order, 1 is of weight 0 in the configuration",
        "another program changes it every 1 s, repaired 7 times so far: the service was deleted",
        "no client completes a connection to 10.1.0.21:80",
        "a foreign service takes packets of virtual server 10.1.0.100:0 tcp: 10.1.0.100:80 tcp",
        "the last reload was rejected",
    ] {
        assert!(found.iter().any(|what| what.contains(words)), "{words}: {found:#?}");
    }
    assert!(!found.iter().any(|what| what.contains("has no quorum")), "said once: {found:#?}");
    let sorry = serde_json::json!({"sorry_server": "10.1.0.29:80", "is_active": true, "kernel_weight": 1});
    host.running = running(serde_json::json!([]), "10.1.0.101:80 tcp", sorry);
    let found = whats(&host);
    assert_eq!(found[0], "virtual server 10.1.0.100:0 tcp has no quorum");
    assert!(!found.iter().any(|what| what.contains("foreign")), "another VIP's: {found:#?}");

    host.running = None;
    host.silence = Some("lvsd (pid 7): no answer");
    assert_eq!(whats(&host), ["lvsd runs and does not answer"]);
    host.silence = None;
    host.services = Some(2);
    assert_eq!(whats(&host), ["no director runs, and the kernel has services"]);
    host.services = Some(0);
    assert_eq!(whats(&host), Vec::<String>::new());
    host.dark = Some("eth0");
    assert_eq!(whats(&host), ["link eth0, which has VIP 10.1.0.100, has no carrier"]);
}

struct Imagined {
    silence: Option<&'static str>,
    services: Option<usize>,
    dark: Option<&'static str>,
    held: Vec<(&'static str, &'static str, u8)>,
    settings: BTreeMap<&'static str, u32>,
    sysctls: BTreeMap<&'static str, &'static str>,
    ipvs: Ipvs,
    directors: Vec<(String, u32)>,
    holders: BTreeSet<(IpAddr, MacAddress)>,
    names: BTreeMap<MacAddress, BTreeSet<IpAddr>>,
    firewall: Rules,
    running: Option<Running>,
    asked: BTreeSet<IpAddr>,
    adverts: BTreeSet<Advert>,
    sync_messages: BTreeSet<SyncMessage>,
    environment: Environment,
    unusable: Option<&'static str>,
}

impl Imagined {
    fn of(held: &[(&'static str, &'static str, u8)]) -> Imagined {
        Imagined {
            silence: None,
            services: None,
            dark: None,
            held: held.to_vec(),
            settings: [("ipv4.all.arp_ignore", 0), ("ipv4.all.arp_announce", 2)].into(),
            sysctls: BTreeMap::new(),
            ipvs: Ipvs::Loaded,
            directors: Vec::new(),
            holders: BTreeSet::new(),
            names: BTreeMap::new(),
            firewall: Rules::default(),
            running: None,
            asked: BTreeSet::new(),
            adverts: BTreeSet::new(),
            sync_messages: BTreeSet::new(),
            environment: Environment::default(),
            unusable: None,
        }
    }

    fn broken(&self, text: &str) -> Vec<Finding> {
        self.examine(text).into_iter().filter(|finding| finding.severity == Severity::Broken).collect()
    }

    fn examine(&self, text: &str) -> Vec<Finding> {
        let files = MemoryFiles::new(&[("/keepalived.conf", text)]);
        let path = std::path::Path::new("/keepalived.conf");
        let loaded = load_from(&files, path, Strictness::Strict);
        let remark = |diagnostic: &Diagnostic| Remark {
            code: diagnostic.code,
            place: diagnostic.span.map(|span| loaded.sources.describe(span)).unwrap_or_default(),
            what: diagnostic.message.clone(),
            help: diagnostic.help.clone(),
        };
        let remarks = loaded.diagnostics.iter().map(remark).collect();
        let config = loaded.config.expect("a configuration");
        let network = self.network();
        let own = network.addresses.iter().map(|held| held.prefix.ip).collect();
        let view = View {
            host: host_checks::HostFacts {
                sysctl: &|name| self.sysctls.get(name).map(|value| (*value).to_owned()),
                is_loopback_up: true,
                kernel: (6, 1),
                own,
            },
            network: &network,
            prepared: Some(self),
            others: Vec::new(),
            silence: self.silence.map(str::to_owned),
            services: self.services,
            ipvs: self.ipvs,
            directors: self.directors.clone(),
            running: self.running.clone(),
            asked: self.asked.clone(),
            adverts: self.adverts.clone(),
            sync_messages: self.sync_messages.clone(),
            remarks,
            environment: self.environment.clone(),
            holders: self.holders.clone(),
            names: self.names.clone(),
            answers: Vec::new(),
            firewall: self.firewall.clone(),
            prepare: "lvsd real-server up -c FILE".to_owned(),
            is_yaml: false,
        };
        examine(&config, &view)
    }

    fn network(&self) -> Host {
        let names = ["lo", "eth0", "tunl0"];
        let index = |name: &str| {
            let at = names.iter().position(|known| *known == name).unwrap();
            LinkIndex(u32::try_from(at).unwrap() + 1)
        };
        let link = |name: &str| Link {
            mac: (name == "eth0").then_some(MacAddress([2, 0, 0, 0, 0, 1])),
            is_loopback: name == "lo",
            is_silent: name == "tunl0",
            is_running: self.dark != Some(name),
            ..Link::plain(index(name), name)
        };
        let held = self.held.iter().map(|(link, ip, length)| HeldAddress {
            is_unusable: self.unusable == Some(*ip),
            ..HeldAddress::plain(index(link), Prefix { ip: ip.parse().unwrap(), length: *length })
        });
        Host {
            links: names.map(|name| (index(name), link(name))).into(),
            addresses: held.collect(),
            ..Host::default()
        }
    }
}

impl plan::View for Imagined {
    fn setting(&self, family: &str, link: &str, name: &str) -> Option<u32> {
        self.settings.get(format!("{family}.{link}.{name}").as_str()).copied()
    }

    fn link(&self, name: &str) -> Option<bool> {
        (name == "lo" || self.held.iter().any(|(link, ..)| *link == name)).then_some(true)
    }

    fn lengths(&self, link: &str, ip: IpAddr) -> Vec<u8> {
        let held = self.held.iter().filter(|(l, i, _)| *l == link && i.parse() == Ok(ip));
        held.map(|(.., length)| *length).collect()
    }
}
