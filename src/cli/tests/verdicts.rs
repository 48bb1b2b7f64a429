//! Verdicts: on the examples, on what users paste from the web, on files that are none.

use std::path::Path;

use proptest::prelude::*;

use crate::cli::check::{Report, report};
use crate::config::load::load_from;
use crate::config::{Config, Strictness, load};
use crate::daemon::startup::Exit;
use crate::syntax::diagnostic::Class;
use crate::syntax::files::{Files, MemoryFiles, OsFiles};

#[test]
fn every_example_checks_clean() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut checked = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "conf" || e == "yaml") {
            let report = report(&path, &load_from(&Elsewhere, &path, Strictness::Strict), false);
            assert!(report.text.ends_with("no problems: can be run\n"), "{}", report.text);
            assert_eq!(report.exit, Exit::Ok);
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

#[test]
fn a_file_that_does_not_exist_is_one_error() {
    let report = check(Path::new("/nonexistent/keepalived.conf"));
    let wanted = "error: /nonexistent/keepalived.conf: there is no such file\n\n\
                  /nonexistent/keepalived.conf: 1 error: cannot be run\n";
    assert_eq!(report, Report { text: wanted.to_owned(), exit: Exit::Config });
}

#[test]
fn a_directory_is_one_error() {
    let report = check(Path::new("/"));
    assert_eq!(report.text, "error: /: is a directory, not a file\n\n/: 1 error: cannot be run\n");
    assert_eq!(report.exit, Exit::Config);
}

#[test]
fn an_empty_file_runs_and_says_that_it_does_nothing() {
    let (report, config) = verdict("# nothing\n\n");
    assert_eq!(config.unwrap(), Config::default());
    assert!(
        report.text.starts_with("warning: keepalived.conf: there is no virtual server"),
        "{}",
        report.text
    );
}

/// A NAT director with VRRP, comments in Chinese, and `nb_get_retry` where keepalived does not know it.
#[test]
fn a_nat_director_with_vrrp_runs_with_warnings() {
    let (report, config) = verdict(
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
    let config = config.expect("it can be run");
    assert_eq!(config.global.router_id.as_deref(), Some("LVS_DEVEL_181"));
    let checker = &config.virtual_servers[0].real_servers[0].checkers[0];
    assert_eq!(checker.spec.timing.retry, 3);
    assert_eq!(checker.spec.target.address, "192.168.177.181:23".parse().unwrap());
    assert!(
        report.text.ends_with("1 virtual server, 1 real server, 1 virtual router: 3 warnings: can be run\n"),
        "{}",
        report.text
    );
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
    let (report, config) = verdict(&format!(
        "virtual_server 192.168.1.233 80 {{\n    delay_loop 6\n    lb_algo wrr\n    lb_kind DR\n\
         persistence_timeout 50\n    protocol TCP\n\n{}{}\n}}\n\n\n",
        real_server("192.168.1.129"),
        real_server("192.168.1.131")
    ));
    assert_eq!(config.expect("it can be run").virtual_servers[0].real_servers.len(), 2);
    assert!(
        report.text.ends_with("1 virtual server, 2 real servers: 2 warnings: can be run\n"),
        "{}",
        report.text
    );
}

#[test]
fn every_problem_is_told_and_not_only_the_first() {
    let (report, config) = verdict(
        "virtual_server 192.0.2.10 80 {\n    lb_algo x\n    lb_kind y\n    delay_loop z\n    real_server a 80 {\n\
         weight b\n    }\n}\nglobal_def {\n}\n",
    );
    assert!(config.is_none());
    assert!(report.text.ends_with("keepalived.conf: 6 errors: cannot be run\n"), "{}", report.text);
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
    let (report, config) = verdict(&text);
    assert_eq!(config.expect("nothing is wrong with it").virtual_servers.len(), 5000);
    assert!(report.text.ends_with("no problems: can be run\n"));
}

#[test]
fn a_file_of_nothing_but_mistakes_has_a_bounded_report() {
    let (report, config) = verdict(&"delay_lop 5\n".repeat(100_000));
    assert!(config.is_none());
    assert!(report.text.len() < 1_000_000);
    assert!(
        report.text.contains("99980 errors more: mend these first, or list all with `lvsd check --json`"),
        "{}",
        report.text.len()
    );
    assert!(report.text.ends_with("keepalived.conf: 100000 errors: cannot be run\n"));
}

#[test]
fn one_line_of_a_megabyte_is_shown_in_part() {
    let (report, _) = verdict(&"délay_lop ".repeat(100_000));
    assert!(report.text.len() < 2000, "{}", report.text.len());
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
    let loaded = load(&directory.join("main.conf"), Strictness::Strict);
    std::fs::remove_dir_all(&directory).unwrap();
    assert_eq!(loaded.config.unwrap().global.router_id.as_deref(), Some("a"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_a_report(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let files = MemoryFiles([("k".into(), bytes)].into());
        let loaded = load_from(&files, Path::new("k"), Strictness::Strict);
        let report = report(Path::new("k"), &loaded, false);
        prop_assert_eq!(report.exit == Exit::Ok, loaded.config.is_some());
    }

    #[test]
    fn shuffled_words_of_the_language_get_a_report(words in proptest::collection::vec(word(), 0..120)) {
        let files = MemoryFiles::new(&[("k", &words.concat())]);
        let loaded = load_from(&files, Path::new("k"), Strictness::Strict);
        let report = report(Path::new("k"), &loaded, false);
        prop_assert_eq!(report.exit == Exit::Ok, loaded.config.is_some());
    }
}

/// Words, braces and signs that mean something, glued in any way.
fn word() -> impl Strategy<Value = String> {
    let signs = vec![
        "{",
        "}",
        "\n",
        "\n",
        " ",
        " ",
        "\"",
        "#",
        "!",
        "\\",
        "\\#",
        "\\\n",
        "$",
        "${",
        "$A",
        "${A}",
        "$A=",
        "$B=$A",
        "\r\n",
        "\u{a0}",
        "\u{feff}",
        "é",
        "@x ",
        "~SEQ(",
        "include ",
        "k",
        "*",
        "80 ",
        "192.0.2.1 ",
        "fd00::1 ",
        "5 ",
        "0.5 ",
    ];
    let listed: Vec<String> = crate::config::root::listing()
        .iter()
        .flat_map(|k| k.names.clone())
        .map(|n| format!("{n} "))
        .collect();
    prop_oneof![proptest::sample::select(signs).prop_map(str::to_owned), proptest::sample::select(listed),]
}

fn verdict(text: &str) -> (Report, Option<Config>) {
    let path = Path::new("keepalived.conf");
    let loaded = load_from(&MemoryFiles::new(&[("keepalived.conf", text)]), path, Strictness::Strict);
    (report(path, &loaded, false), loaded.config)
}

fn check(path: &Path) -> Report {
    report(path, &load(path, Strictness::Strict), false)
}
