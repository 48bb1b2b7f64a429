//! Scripts with words that only a shell would understand, beside keepalived: each has the same verdict from both, the
//! same files are written and not written, and `lvsd check` says which of them do not do what they look like.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, lvsd};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("director.conf");
/// What each script comes to.
const VERDICTS: [(&str, bool); 6] = [
    ("redirected", true),
    ("both", true),
    ("piped", false),
    ("open_file", true),
    // Debian's /bin/sh is dash, which opens no sockets.
    ("open_socket", false),
    ("by_a_shell", true),
];
const NEVER_WRITTEN: &str = "/run/redirected";
const WRITTEN: &str = "/run/written";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let _segment = lab.segment(1)?;
    let d1 = lab.host("d1")?;
    let word = |is_up| if is_up { "succeeded" } else { "failed" };

    lab.step("keepalived");
    let mut keepalived = Daemon::keepalived(lab, &d1, CONF)?;
    for (name, is_up) in VERDICTS {
        keepalived.wait_log(&format!("VRRP_Script({name}) {}", word(is_up)), seconds(15))?;
    }
    keepalived.wait_log("preempt delay will not work with initial state MASTER - clearing", seconds(1))?;
    files()?;
    keepalived.end(Signal::TERM)?;

    lab.step("lvsd");
    let mut daemon = Daemon::lvsd(lab, &d1, CONF)?;
    for (name, is_up) in VERDICTS {
        daemon.wait_log(&format!("vrrp_script {name}: {}", word(is_up)), seconds(15))?;
    }
    files()?;
    daemon.end(Signal::TERM)?;

    lab.step("lvsd check");
    let file = configure(lab, &d1, CONF)?;
    let checked = lvsd(&d1, &["check", "-c", &file.to_string_lossy()])?;
    let said = format!("{}{}", checked.stdout, checked.stderr);
    for words in [
        "vrrp_script redirected: no shell reads this command: `>` is an argument of /bin/echo",
        "write `/bin/sh -c '/bin/echo a > /run/redirected'`",
        "vrrp_script both: no shell reads this command: `&&` is an argument of /bin/true",
        "vrrp_script piped: no shell reads this command: `|` is an argument of /bin/false",
        "only bash knows /dev/tcp/127.0.0.1/9",
        "`preempt_delay` does not go with `state MASTER`",
    ] {
        claim(said.contains(words), || format!("no {words:?} in\n{said}"))?;
    }
    for name in ["open_file", "by_a_shell"] {
        claim(!said.contains(&format!("vrrp_script {name}:")), || said.clone())?;
    }
    same("exit code", &checked.code, &Some(0))
}

/// What was written, and what was not; then both are gone.
fn files() -> Verdict {
    claim(!Path::new(NEVER_WRITTEN).exists(), || format!("{NEVER_WRITTEN} was written"))?;
    fs::remove_file(WRITTEN).map_err(|e| format!("{WRITTEN}: {e}"))
}
