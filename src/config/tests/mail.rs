//! Recipients, servers and subjects of mails, in both languages.

use std::path::Path;
use std::time::Duration;

use crate::config::load::load_from;
use crate::config::{Config, Strictness};
use crate::notify::mail::Server;
use crate::syntax::diagnostic::Class;
use crate::syntax::files::MemoryFiles;

const CONF: &str = r#"
global_defs {
    router_id lb1
    notification_email {
        ops@example.org root
        "Duty <duty@example.org>"
    }
    notification_email_from "LVS <lvs@example.org>"
    smtp_server mx.example.org 2525
    smtp_helo_name lb1.example.org
    smtp_connect_timeout 0
    smtp_alert_vrrp
    no_email_faults
    no_checker_emails
}
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    virtual_ipaddress {
        192.0.2.1
    }
}
vrrp_instance b {
    interface eth0
    virtual_router_id 2
    smtp_alert off
    virtual_ipaddress {
        192.0.2.2
    }
}
virtual_server 192.0.2.10 80 {
    protocol TCP
    lb_algo rr
    lb_kind DR
    smtp_alert
    real_server 192.0.2.21 80 {
        smtp_alert off
    }
    real_server 192.0.2.22 80 {
    }
}
"#;

const YAML: &str = r#"
defaults: keepalived
global:
  router_id: lb1
  notification_email: [ops@example.org, root, Duty <duty@example.org>]
  notification_email_from: LVS <lvs@example.org>
  smtp_server: mx.example.org:2525
  smtp_helo_name: lb1.example.org
  smtp_connect_timeout: 1s
  smtp_alert_vrrp: true
  no_email_faults: true
vrrp:
  instances:
    - {name: a, interface: eth0, virtual_router_id: 1, addresses: [192.0.2.1]}
    - {name: b, interface: eth0, virtual_router_id: 2, addresses: [192.0.2.2], smtp_alert: false}
virtual_servers:
  - address: 192.0.2.10:80
    protocol: tcp
    scheduler: rr
    forwarding: dr
    smtp_alert: true
    real_servers:
      - {address: 192.0.2.21:80, smtp_alert: false}
      - {address: 192.0.2.22:80}
"#;

fn load(name: &str, text: &str) -> (Option<Config>, Vec<String>) {
    let files = MemoryFiles::new(&[(name, text), ("/sys/class/net/eth0/operstate", "up\n")]);
    let loaded = load_from(&files, Path::new(name), Strictness::Strict);
    let lines = [loaded.lines(Class::Error), loaded.lines(Class::Warning)].concat();
    (loaded.config, lines)
}

#[test]
fn mails_are_as_they_were_written_in_both_languages() {
    for (name, text) in [("keepalived.conf", CONF), ("lvsd.yaml", YAML)] {
        let (config, problems) = load(name, text);
        assert_eq!(problems, [""; 0], "{name}");
        let config = config.unwrap();
        let mail = config.global.mail.clone().unwrap();
        assert_eq!(mail.server, Server::Named("mx.example.org".to_owned(), 2525), "{name}");
        let to: Vec<String> = mail.to.iter().map(ToString::to_string).collect();
        assert_eq!(to, ["ops@example.org", "root@localhost", "Duty <duty@example.org>"], "{name}");
        assert_eq!(mail.from.as_ref().unwrap().to_string(), "LVS <lvs@example.org>", "{name}");
        assert_eq!((mail.hello.as_deref(), mail.router.as_deref()), (Some("lb1.example.org"), Some("lb1")));
        assert_eq!(mail.connect_timeout, Duration::from_secs(1), "{name}");
        let instances: Vec<bool> = config.vrrp.instances.iter().map(|i| i.notify.mail).collect();
        assert_eq!((instances, config.vrrp.notify.mails_no_faults), (vec![true, false], true), "{name}");
        let server = config.virtual_servers.first().unwrap();
        let reals: Vec<bool> = server.real_servers.iter().map(|r| r.is_mailed).collect();
        assert_eq!((server.notices.is_mailed, reals), (true, vec![false, true]), "{name}");
    }
}

/// Virtual server, real server, instance, sync group.
#[test]
fn the_innermost_word_counts_and_without_any_real_servers_alone_are_told_of() {
    let told = |global: &str, server: &str, group: &str| {
        let text = format!(
            "global_defs {{\nnotification_email {{\na@b.c\n}}\nsmtp_server 192.0.2.25\n{global}\n}}\n\
             vrrp_sync_group g {{\ngroup {{\nv\nw\n}}\n{group}\n}}\n\
             vrrp_instance v {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n192.0.2.1\n}}\n}}\n\
             vrrp_instance w {{\ninterface eth0\nvirtual_router_id 2\nvirtual_ipaddress {{\n192.0.2.2\n}}\n}}\n\
             virtual_server 192.0.2.10 80 {{\nprotocol TCP\nlb_algo rr\nlb_kind DR\n{server}\n\
             real_server 192.0.2.21 80 {{\n}}\n}}\n"
        );
        let (config, _) = load("keepalived.conf", &text);
        let config = config.unwrap();
        let server = config.virtual_servers.first().unwrap();
        let [instance, group] =
            [&config.vrrp.instances.first().unwrap().notify, &config.vrrp.groups.first().unwrap().notify];
        [server.notices.is_mailed, server.real_servers[0].is_mailed, instance.mail, group.mail]
    };
    let table = [
        ("", "", "", [false, true, false, false]),
        ("smtp_alert", "", "", [true, true, true, true]),
        ("smtp_alert off", "", "", [false, false, false, false]),
        ("smtp_alert\nsmtp_alert_checker off", "", "", [false, false, true, true]),
        ("smtp_alert off\nsmtp_alert_vrrp", "", "", [false, false, true, true]),
        ("smtp_alert", "smtp_alert off", "smtp_alert off", [false, true, true, false]),
        ("smtp_alert off", "smtp_alert", "smtp_alert", [true, false, false, true]),
    ];
    for (global, server, group, expected) in table {
        assert_eq!(told(global, server, group), expected, "{global} {server} {group}");
    }
}

#[test]
fn a_mail_server_is_an_address_or_a_name_with_a_port_or_without() {
    let server = |words: &str| {
        let text = format!("global_defs {{\nnotification_email {{\na@b.c\n}}\nsmtp_server {words}\n}}\n");
        let (config, problems) = load("keepalived.conf", &text);
        match config {
            Some(config) => config.global.mail.clone().unwrap().server.to_string(),
            None => problems.first().cloned().unwrap(),
        }
    };
    for (words, expected) in [
        ("192.0.2.25", "192.0.2.25:25"),
        ("192.0.2.25 587", "192.0.2.25:587"),
        ("2001:db8::25 26", "[2001:db8::25]:26"),
        ("[2001:db8::25]:26", "[2001:db8::25]:26"),
        ("localhost", "localhost:25"),
        ("mx:26", "mx:26"),
    ] {
        assert_eq!(server(words), expected, "{words}");
    }
    for words in
        ["192.0.2.25 0", "192.0.2.25:0", "192.0.2", "mx 70000", "mx:", "\"mx 25\"", "m\u{fc}x", "mx -25"]
    {
        assert!(
            server(words).contains("is not an address or the name of a host"),
            "{words}: {}",
            server(words)
        );
    }
}

#[test]
fn no_word_of_yaml_can_break_out_of_a_line() {
    for word in ["notification_email", "notification_email_from", "smtp_server", "smtp_helo_name"] {
        for value in
            ["a@b.c\\r\\nBcc: x@y.z", "a\\r\\n b <a@b.c>", "a\\n <a@b.c>", "a\\tb <a@b.c>", "mx\\r\\n"]
        {
            let text = format!("global:\n  {word}: \"{value}\"\n");
            let (config, problems) = load("lvsd.yaml", &text);
            assert!(config.is_none(), "{word}: {value}: {problems:?}");
        }
    }
}
