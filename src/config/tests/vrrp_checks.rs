//! What is said about virtual routers beside what keepalived makes of the same words, and on hosts that do not show
//! everything.

use std::path::Path;

use super::{MemoryFiles, Strictness, load_from};
use crate::syntax::diagnostic::Diagnostic;

/// Each row was tried beside keepalived 2.2.7: its words, and what it makes of them.
#[test]
fn what_keepalived_corrects_of_state_and_preemption_is_corrected_alike() {
    use crate::vrrp::settings::Beginning::{Backup, Master};
    const DELAY: &str = "preempt_delay 20";
    for (words, priority, is_strict, state, preempts, delay, warnings) in [
        ("state MASTER", 100, false, Master, true, 0, 0),
        ("state MASTER; preempt_delay 20", 100, false, Master, true, 0, 1),
        ("state BACKUP; preempt_delay 20", 100, false, Backup, true, 20, 0),
        (DELAY, 100, false, Backup, true, 20, 0),
        ("state MASTER; nopreempt", 100, false, Master, true, 0, 1),
        ("state MASTER; nopreempt; preempt_delay 20", 100, false, Master, true, 0, 2),
        ("state BACKUP; nopreempt; preempt_delay 20", 100, false, Backup, false, 0, 1),
        ("state BACKUP; preempt_delay 20", 255, false, Backup, true, 20, 0),
        ("state MASTER; preempt_delay 20", 255, false, Master, true, 0, 1),
        (DELAY, 255, false, Master, true, 0, 1),
        ("nopreempt; preempt_delay 20", 255, false, Master, true, 0, 2),
        ("state BACKUP; nopreempt", 255, false, Backup, true, 0, 1),
        ("state MASTER", 100, true, Backup, true, 0, 1),
        ("state MASTER; nopreempt", 100, true, Backup, false, 0, 1),
        ("state MASTER; preempt_delay 20", 100, true, Backup, true, 0, 2),
        ("state BACKUP; nopreempt", 100, true, Backup, false, 0, 0),
        ("state BACKUP", 255, true, Master, true, 0, 1),
        ("state BACKUP; preempt_delay 20", 255, true, Master, true, 0, 2),
    ] {
        let strict = if is_strict { "strict_mode on" } else { "" };
        let text = format!(
            "vrrp_instance a {{\n interface eth0\n virtual_router_id 1\n priority {priority}\n {}\n {strict}\n virtual_ipaddress {{\n 192.0.2.1\n }}\n}}\n",
            words.replace("; ", "\n ")
        );
        let files = MemoryFiles::new(&[("keepalived.conf", &*text), ("/links/eth0", "")]);
        let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
        let config = loaded.config.as_ref().expect(words);
        let instance = &config.vrrp.instances[0];
        let got = (instance.beginning, instance.preempts, instance.preempt_delay.as_secs());
        assert_eq!(got, (state, preempts, delay), "{words}, priority {priority}, strict {is_strict}");
        let told = loaded.diagnostics.iter().filter(|d| d.message.contains("is ignored")).count();
        assert_eq!(told, warnings, "{words}, priority {priority}, strict {is_strict}");
    }
}

#[test]
fn shell_words_that_no_shell_will_see_and_programs_out_of_path_are_told_for_every_script() {
    let text = "\
global_defs {
    startup_script \"echo up > /run/up\"
    vrrp_notify_fifo /run/fifo
    vrrp_notify_fifo_script \"/usr/local/src/nginx_check.sh | logger\"
}
vrrp_script a {
    script \"/usr/local/src/nginx_check.sh && exit 0\"
}
vrrp_script b {
    script \"killall -0 nginx\"
}
vrrp_script c {
    script \"</dev/tcp/127.0.0.1/3306\"
}
vrrp_script d {
    script \"if [ -e '/run/a' ]; then exit 1; fi\"
}
vrrp_instance a {
    interface eth0
    virtual_router_id 1
    notify_master \"/usr/local/src/nginx_check.sh $HOME\"
    virtual_ipaddress {
        192.0.2.1
    }
    track_script {
        a
        b
        c
        d
    }
}
virtual_server 192.0.2.1 80 {
    protocol TCP
    quorum_up \"/usr/local/src/nginx_check.sh up; true\"
    real_server 10.0.0.1 80 {
        notify_down \"/usr/local/src/nginx_check.sh 2>&1\"
        TCP_CHECK {
        }
    }
}
";
    let files = MemoryFiles::new(&[
        ("keepalived.conf", text),
        ("/links/eth0", ""),
        ("/bin/sh", ""),
        ("/usr/local/src/nginx_check.sh", "#!/bin/sh\n"),
    ]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    let config = loaded.config.as_ref().expect("it runs");
    assert_eq!(config.vrrp.scripts["c"].command.words, ["/bin/sh", "-c", "</dev/tcp/127.0.0.1/3306"]);
    let told = |d: &Diagnostic| format!("{} = {}", d.message, d.help.as_deref().unwrap_or_default());
    let about = ["no shell reads", "there is no such program", "only bash"];
    let mut said: Vec<String> = loaded.diagnostics.iter().map(told).collect();
    said.retain(|line| about.iter().any(|words| line.contains(words)));
    said.sort();
    let gone =
        "until it is there, the script counts as failed; keepalived leaves it out, as if it never failed";
    let folders = "/usr/local/sbin, /usr/local/bin, /usr/sbin, /usr/bin, /sbin, /bin";
    let argument = |what: &str, word: &str, fixed: &str| {
        let program = "/usr/local/src/nginx_check.sh";
        format!(
            "{what}: no shell reads this command: `{word}` is an argument of {program} = write `/bin/sh -c '{program} {fixed}'`, or put it into a script; keepalived starts none either"
        )
    };
    let mut wanted = vec![
        argument("`notify_down`", "2>&1", "2>&1"),
        argument("`quorum_up`", "up;", "up; true"),
        argument("the FIFO's script", "|", "| logger"),
        argument("vrrp_instance a", "$HOME", "$HOME"),
        argument("vrrp_script a", "&&", "&& exit 0"),
        "`script`: only bash knows /dev/tcp/127.0.0.1/3306, it is no file = write `/bin/bash -c '</dev/tcp/127.0.0.1/3306'`: /bin/sh runs this one, as for keepalived, and where that is dash (Debian, Ubuntu) it always fails".to_owned(),
        "`startup_script`: no shell reads this command: `>` is an argument of echo = write `/bin/sh -c 'echo up > /run/up'`, or put it into a script; keepalived starts none either".to_owned(),
        format!("vrrp_script b: killall: there is no such program in {folders} = write its whole path; {gone}"),
        format!(
            "vrrp_script d: no shell reads this command: `if` is looked for as a program = put it into a script, and write the script's path; {gone}"
        ),
    ];
    wanted.sort();
    assert_eq!(said, wanted);
    // A host that shows no shell shows none of its programs.
    let files = MemoryFiles::new(&[("keepalived.conf", text), ("/links/eth0", "")]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    assert!(loaded.diagnostics.iter().all(|d| !d.message.contains("no such program")));
}

#[test]
fn unknown_interfaces_are_not_missed_on_a_host_that_shows_none() {
    let text = "vrrp_instance a {\ninterface none\nvirtual_router_id 1\n}\n";
    let files = MemoryFiles::new(&[("keepalived.conf", text)]);
    let loaded = load_from(&files, Path::new("keepalived.conf"), Strictness::Strict);
    assert_eq!(loaded.diagnostics.warnings(), 1, "it has no address");
}
