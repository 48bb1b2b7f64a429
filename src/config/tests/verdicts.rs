//! Whole configurations and their verdicts: the examples, and what users paste from the web.

use std::path::Path;

use super::*;
use crate::config::{Reading, load};
use crate::syntax::files::Files;
use crate::syntax::files::OsFiles;

#[test]
fn every_example_checks_clean() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "conf" || e == "yaml") {
            let loaded = load_from(&Elsewhere, &path, Strictness::Strict);
            assert!(loaded.config.is_some());
            assert_eq!(said(&loaded), "", "{}", path.display());
            checked += 1;
        }
    }
    assert!(checked >= 25);
}

/// A host that has the examples and every script, and does not show its interfaces.
struct Elsewhere;

impl Files for Elsewhere {
    fn read(&self, path: &Path, limit: usize) -> std::io::Result<Vec<u8>> {
        match path.starts_with(env!("CARGO_MANIFEST_DIR")) {
            true => OsFiles.read(path, limit),
            false => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    fn host(&self) -> String {
        "elsewhere".to_owned()
    }

    fn exists(&self, _: &Path) -> bool {
        true
    }

    fn list(&self, _: &Path, _: usize) -> std::io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// A NAT director with VRRP, comments in Chinese, and `nb_get_retry` where keepalived does not know it.
#[test]
fn a_nat_director_with_vrrp_runs_with_warnings() {
    let loaded = read(
        r#"! Configuration File for keepalived

global_defs {
   notification_email {
     # 邮件通知
     root@localhost
   }
   notification_email_from Alexandre.Cassen@firewall.loc
   smtp_server 127.0.0.1
   smtp_connect_timeout 30
   # 此处注意router_id为负载均衡标识
   router_id LVS_DEVEL_181
}
vrrp_script chk_nginx {
       script "/etc/keepalived/nginx_check.sh"
       interval 2
       weight -20
}
vrrp_instance VI_1 {
    state MASTER
    interface ens32
    virtual_router_id 51
    authentication {
        auth_type PASS
        auth_pass 1111  
    }
    virtual_ipaddress {
        192.168.177.100
    }
    track_script {
       # nginx存活状态检测脚本
       chk_nginx
    }
}
virtual_server 192.168.177.100 443 {
    # 健康检查间隔,单位为秒
    delay_loop 6
    lb_algo rr
    lb_kind NAT
    persistence_timeout 50
    protocol TCP
    
    real_server 192.168.177.181 443 {
        weight 1
    TCP_CHECK {
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
            connect_port 23
        }
   }
}
"#,
    );
    let config = loaded.config.as_ref().expect("it can be run");
    assert_eq!(config.global.router_id.as_deref(), Some("LVS_DEVEL_181"));
    let checker = &config.virtual_servers[0].real_servers[0].checkers[0];
    assert_eq!(checker.spec.timing.retry, 3);
    assert_eq!(checker.spec.target.address, "192.168.177.181:23".parse().unwrap());
    assert_eq!(loaded.diagnostics.warnings(), 3, "{}", said(&loaded));
}

#[test]
fn a_direct_routing_director_on_a_real_server_runs_with_warnings() {
    let real_server = |address: &str| {
        format!(
            "    real_server {address} 80 {{\n        weight 1\n        HTTP_GET {{\n            url {{\n              path /\n\
             status_code 200\n            }}\n            connect_timeout 3\n            nb_get_retry 3\n\
             delay_before_retry 3\n        }}\n    }}\n"
        )
    };
    let loaded = read(&format!(
        "virtual_server 192.168.1.233 80 {{\n    delay_loop 6\n    lb_algo wrr\n    lb_kind DR\n\
         persistence_timeout 50\n    protocol TCP\n\n{}{}\n}}\n\n\n",
        real_server("192.168.1.129"),
        real_server("192.168.1.131")
    ));
    assert_eq!(loaded.config.as_ref().expect("it can be run").virtual_servers[0].real_servers.len(), 2);
    assert_eq!(loaded.diagnostics.warnings(), 2, "{}", said(&loaded));
}

#[test]
fn every_problem_is_reported_and_not_only_the_first() {
    let loaded = read(
        "virtual_server 192.0.2.10 80 {\n    lb_algo x\n    lb_kind y\n    delay_loop z\n    real_server a 80 {\n\
         weight b\n    }\n}\nglobal_def {\n}\n",
    );
    assert!(loaded.config.is_none());
    assert_eq!(loaded.diagnostics.errors(), 6, "{}", said(&loaded));
}

#[test]
fn a_hundred_thousand_lines_are_checked_within_seconds() {
    let mut text = String::new();
    for i in 0..5000 {
        let (a, b) = (i / 250, i % 250);
        text.push_str(&format!(
            "virtual_server 10.{a}.{b}.1 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind DR\ndelay_loop 5\n"
        ));
        for j in 1..4 {
            text.push_str(&format!(
                "real_server 172.16.{a}.{j} 80 {{\nTCP_CHECK {{\nconnect_timeout 3\n}}\n}}\n"
            ));
        }
        text.push_str("}\n");
    }
    assert!(text.lines().count() > 100_000);
    let loaded = read(&text);
    assert_eq!(said(&loaded), "");
    assert_eq!(config(loaded).virtual_servers.len(), 5000);
}

#[test]
fn a_configuration_is_there_exactly_when_there_is_no_error() {
    for text in ["", "global_defs {\n}\n", "globul_defs {\n}\n", "}"] {
        let files = MemoryFiles::new(&[("k", text)]);
        let loaded = load_from(&files, Path::new("k"), Strictness::Strict);
        let has_error = loaded.diagnostics.iter().any(|d| d.class == Class::Error);
        assert_eq!(loaded.config.is_none(), has_error, "{text}");
    }
}

#[test]
fn the_files_of_this_machine_are_read_with_their_includes() {
    let directory = std::env::temp_dir().join(format!("lvsd-check-{}", std::process::id()));
    std::fs::create_dir_all(directory.join("conf.d")).unwrap();
    std::fs::write(directory.join("main.conf"), "include conf.d/*.conf\n").unwrap();
    std::fs::write(directory.join("conf.d/a.conf"), "global_defs {\nrouter_id a\n}\n").unwrap();
    std::fs::write(directory.join("conf.d/ignored.txt"), "nonsense\n").unwrap();
    let loaded = load(&directory.join("main.conf"), &Reading::default());
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(loaded.config.unwrap().global.router_id.as_deref(), Some("a"));
}

#[test]
fn what_depends_on_the_host_is_counted_apart_and_left_out_offline() {
    let text = "vrrp_script s {\nscript \"/no/such\"\n}\nvrrp_instance V {\ninterface eth0\nvirtual_router_id 4\nvirtual_ipaddress {\n192.0.2.4/32\n}\ntrack_script {\ns\n}\n}\n";
    let read = |is_offline| {
        let files = MemoryFiles::new(&[("k.conf", text), ("/links/lo", "65536")]);
        let reading = crate::config::Reading { is_offline, ..Default::default() };
        crate::config::load::load_as(&files, Path::new("k.conf"), &reading).diagnostics
    };
    let here = read(false);
    assert!(here.host_warnings() >= 1 && here.host_warnings() == here.warnings(), "{}", messages(&here));
    let elsewhere = read(true);
    assert_eq!((elsewhere.warnings(), elsewhere.errors()), (0, 0), "{}", messages(&elsewhere));
}

#[test]
fn what_is_missing_says_that_lines_for_other_hosts_were_skipped() {
    let instance = "vrrp_instance V {\ninterface eth0\n@other virtual_router_id 4\n@other priority 9\nvirtual_ipaddress {\n192.0.2.4/32\n}\n}\n";
    let note = "note: 2 lines are skipped, this one first: `@` names another host, this one is `here` (`--config-id` names another)\n";
    let said = said(&read(instance));
    assert_eq!(said.matches("skipped").count(), 1, "{said}");
    assert!(said.contains("has no `virtual_router_id`") && said.contains(note), "{said}");
    let whole = "@other x\n".to_owned() + &instance.replace("@other ", "");
    assert_eq!(self::said(&read(&whole)).matches("skipped").count(), 0);
}

fn conf(text: &str, strictness: Strictness) -> Loaded {
    load_from(&MemoryFiles::new(&[("k.conf", text)]), Path::new("k.conf"), strictness)
}

#[test]
fn one_missing_or_surplus_brace_is_one_error_and_nothing_that_follows_from_it() {
    let server = |n: u8| {
        format!(
            "virtual_server 192.0.2.{n} 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind NAT\nreal_server 10.0.0.1 80 {{\nTCP_CHECK {{\nretry 1\n}}\n}}\nreal_server 10.0.0.2 80 {{\nweight 2\n}}\n}}\n"
        )
    };
    let router = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress {\n192.0.2.1\n}\ntrack_script {\nS\n}\n}\nvrrp_script S {\nscript \"/bin/true\"\n}\n";
    let text = format!("{}{router}{}", server(1), server(2));
    assert_eq!(conf(&text, Strictness::Strict).diagnostics.errors(), 0);
    let lines: Vec<&str> = text.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n")
    };
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains(['{', '}'])) {
        let less = with(at, &line.replace(['{', '}'], ""));
        let more = [with(at, &format!("{line}\n}}")), with(at, &format!("{line}\n{{"))];
        for text in more.iter().chain([&less]) {
            let loaded = conf(text, Strictness::Strict);
            let said = loaded.lines(Class::Error);
            assert_eq!(said.len(), 1, "line {}: {said:#?}\n{text}", at + 1);
        }
    }
}

#[test]
fn what_a_slip_takes_away_is_not_said_to_lack() {
    let errors = |text: &str| conf(text, Strictness::Strict).lines(Class::Error);
    let text =
        "vrrp_instance A {\ninterfce eth0\nvirtual_router_id 7\nvirtual_ipaddress {\n192.0.2.1\n}\n}\n";
    assert_eq!(
        errors(text),
        ["k.conf:2:1: `interfce` is not a keyword of vrrp_instance: did you mean `interface`?"]
    );
    let text = "vrrp_instance A {\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress {\n192.0.2.1\n}\ntrack_script {\nS\n}\n}\nvrrp_sync_group G {\ngroup {\nA\n}\ntrack_script {\nS\n}\n}\n";
    assert_eq!(
        errors(text),
        [
            "k.conf:8:1: there is no vrrp_script `S`: define it with `vrrp_script S { ... }`, or remove it here"
        ]
    );
    let text = format!("{text}vrrp_scrip S {{\nscript \"/bin/true\"\n}}\n");
    assert_eq!(
        errors(&text),
        ["k.conf:19:1: `vrrp_scrip` is not a keyword of the top level: did you mean `vrrp_script`?"]
    );
}
