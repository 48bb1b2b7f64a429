//! What is notified of changes, in both languages.

use std::path::Path;
use std::time::Duration;

use crate::config::load::load_from;
use crate::config::{Config, LifeScript, Strictness, UpDown};
use crate::script::Command;
use crate::syntax::diagnostic::Class;
use crate::syntax::files::MemoryFiles;
use crate::vrrp::settings::Fifo;

const CONF: &str = r#"
global_defs {
    script_user web adm
    enable_script_security
    rs_init_notifies
    notify_fifo /run/all root web
    lvs_notify_fifo /run/lvs
    lvs_notify_fifo_script "/bin/reader 'a b'" web
    startup_script "/bin/up all" root
    startup_script_timeout 1000
    shutdown_script /bin/down
}
virtual_server_group vips {
    192.0.2.10-11 80
}
virtual_server group vips {
    protocol TCP
    lb_algo rr
    lb_kind DR
    omega
    quorum_up "/bin/up vip" root
    quorum_down /bin/down
    real_server 192.0.2.21 80 {
        notify_down "/bin/down rs"
    }
    real_server 192.0.2.22 80 {
    }
}
virtual_server group vips {
    protocol UDP
    lb_algo rr
    lb_kind DR
    real_server 192.0.2.21 80 {
    }
}
"#;

const YAML: &str = r#"
global:
  script_user: [web, adm]
  enable_script_security: true
  rs_init_notifies: true
  notify_fifo: [/run/all, root, web]
  lvs_notify_fifo: /run/lvs
  lvs_notify_fifo_script: ["/bin/reader 'a b'", web]
  startup_script: [/bin/up all, root]
  startup_script_timeout: 1000s
  shutdown_script: /bin/down
virtual_server_groups:
  - name: vips
    addresses: ["192.0.2.10-11:80"]
virtual_servers:
  - group: vips
    scheduler: rr
    forwarding: dr
    omega: true
    quorum_up: [/bin/up vip, root]
    quorum_down: /bin/down
    real_servers:
      - address: 192.0.2.21:80
        notify_down: /bin/down rs
      - address: 192.0.2.22:80
  - group: vips
    protocol: udp
    scheduler: rr
    forwarding: dr
    real_servers:
      - address: 192.0.2.21:80
"#;

fn load(name: &str, text: &str, others: &[(&str, &str)]) -> (Option<Config>, Vec<String>) {
    let mut all = vec![(name, text)];
    all.extend(others);
    let loaded = load_from(&MemoryFiles::new(&all), Path::new(name), Strictness::Strict);
    let lines = [loaded.lines(Class::Error), loaded.lines(Class::Warning)].concat();
    (loaded.config, lines)
}

fn command(words: &[&str], user: Option<&str>, group: Option<&str>) -> Option<Command> {
    let words = words.iter().map(|w| (*w).to_owned()).collect();
    Some(Command { words, user: user.map(str::to_owned), group: group.map(str::to_owned) })
}

#[test]
fn commands_and_fifos_are_as_they_were_written_in_both_languages() {
    let programs = [("/bin/up", ""), ("/bin/down", ""), ("/bin/reader", "")];
    for (name, text) in [("keepalived.conf", CONF), ("lvsd.yaml", YAML)] {
        let (config, problems) = load(name, text, &programs);
        assert_eq!(problems, [""; 0], "{name}");
        let config = config.unwrap();
        assert!(config.vrrp.secures_scripts && config.global.tells_first_servers);
        let fifo = |path: &str, user: Option<&str>, group: Option<&str>, reader| Fifo {
            path: path.into(),
            user: user.map(str::to_owned),
            group: group.map(str::to_owned),
            reader,
        };
        let reader = command(&["/bin/reader", "a b"], Some("web"), None);
        let expected =
            [fifo("/run/all", Some("root"), Some("web"), None), fifo("/run/lvs", None, None, reader)];
        assert_eq!(config.global.fifos, expected, "{name}");
        let script = |command: Option<Command>, seconds| {
            command.map(|command| LifeScript { command, limit: Duration::from_secs(seconds) })
        };
        let startup = script(command(&["/bin/up", "all"], Some("root"), None), 1000);
        let shutdown = script(command(&["/bin/down"], Some("web"), Some("adm")), 10);
        assert_eq!((&config.global.startup, &config.global.shutdown), (&startup, &shutdown), "{name}");
        let servers = &config.virtual_servers;
        let groups: Vec<_> = servers.iter().map(|s| s.notices.group.as_deref().unwrap()).collect();
        assert_eq!(groups, ["[vips]:0", "[vips]:0", "[vips]:1", "[vips]:1"], "{name}");
        let notices = &servers.first().unwrap().notices;
        let expected = UpDown {
            up: command(&["/bin/up", "vip"], Some("root"), None),
            down: command(&["/bin/down"], Some("web"), Some("adm")),
        };
        assert_eq!((notices.commands.as_deref(), notices.is_told_at_stop), (Some(&expected), true), "{name}");
        let reals = &servers.first().unwrap().real_servers;
        let down = command(&["/bin/down", "rs"], Some("web"), Some("adm"));
        let expected = UpDown { up: None, down };
        let commands: Vec<_> = reals.iter().map(|r| r.commands.as_deref()).collect();
        assert_eq!(commands, [Some(&expected), None], "{name}");
        assert_eq!(servers.last().unwrap().notices.commands, None);
    }
}

#[test]
fn scripts_run_as_keepalived_script_where_nobody_says_and_it_exists() {
    let text = "virtual_server 192.0.2.10 80 {\n protocol TCP\n lb_algo rr\n lb_kind DR\n quorum_up /bin/up\n \
                real_server 192.0.2.21 80 {\n }\n}\n";
    for (users, expected) in
        [("root:x:0:0:::\n", None), ("keepalived_script:x:9:9:::\n", Some("keepalived_script"))]
    {
        let (config, problems) = load("keepalived.conf", text, &[("/bin/up", ""), ("/etc/passwd", users)]);
        assert_eq!(problems, [""; 0]);
        let commands = config.unwrap().virtual_servers.first().unwrap().notices.commands.clone().unwrap();
        assert_eq!(commands.up, command(&["/bin/up"], expected, None));
    }
}

#[test]
fn what_cannot_be_meant_is_told() {
    let text = "global_defs {\n lvs_notify_fifo_script /bin/reader\n startup_script /bin/up\n shutdown_script_timeout 3\n}\n\
                virtual_server 192.0.2.10 80 {\n protocol TCP\n lb_algo rr\n lb_kind DR\n quorum_up /bin/up\n \
                real_server 192.0.2.21 80 {\n notify_up \"/bin/x 'y\"\n }\n}\n";
    let (config, problems) = load("keepalived.conf", text, &[]);
    assert!(config.is_none());
    let expected = [
        "keepalived.conf:12:13: `notify_up`: a quote ' is not closed",
        "keepalived.conf:2:2: a script that reads the FIFO, and no FIFO: write `lvs_notify_fifo PATH`",
        "keepalived.conf:2:2: `lvs_notify_fifo_script`: /bin/reader: there is no such file: it is looked for again each \
         time it is to run",
        "keepalived.conf:3:2: `startup_script`: /bin/up: there is no such file: it is looked for again when it is to \
         run, and without it lvsd goes on",
        "keepalived.conf:4:2: the time of a script, and no `shutdown_script`: write `shutdown_script COMMAND`, or leave it \
         out",
        "keepalived.conf:10:2: `quorum_up`: /bin/up: there is no such file: it is looked for again each time it is to run",
    ];
    assert_eq!(problems, expected);
}
