//! Scripts and a FIFO hear of virtual routers and a sync group: the same words from lvsd as from Debian's keepalived,
//! when they begin, when a script fails and succeeds, when a file's number changes, and at the end.

use std::fmt::Write as _;
use std::fs;

use rustix::process::Signal;

use super::{END, FOLDER, Received, Receiver, Start, agree, prepare, program};
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge};

const CONF: &str = include_str!("routers.conf");

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let host = lab.host("d1")?;
    lab.step("keepalived");
    let theirs = steps_of(lab, &host, Daemon::keepalived)?;
    lab.step("lvsd");
    let ours = steps_of(lab, &host, Daemon::lvsd)?;
    agree(lab, &ours, &theirs)?;
    let why = fs::read_to_string(format!("{FOLDER}/why")).map_err(|e| e.to_string())?;
    claim(why.contains("VI_1 INSTANCE MASTER>FAULT "), || format!("a script of lvsd's hears why: {why}"))?;
    crowd(lab, &host)
}

/// Scripts of real servers that hang, more than run at once, keep no virtual router's waiting; and a script that waits
/// presses them.
fn crowd(lab: &Lab, host: &Host) -> Verdict {
    lab.step("forty scripts of real servers hang");
    prepare()?;
    program("well", "#!/bin/sh\nexit 0\n")?;
    program("hang", "#!/bin/sh\necho $1 >> /run/notices/hanging\nexec sleep 10000\n")?;
    number("0")?;
    let mut servers = String::new();
    for port in 9001..9041 {
        // Nothing listens there.
        let notify = format!("notify_down \"/run/notices/hang {port}\"");
        let _ = writeln!(servers, "real_server 10.1.0.21 {port} {{\n{notify}\nTCP_CHECK {{\n}}\n}}");
    }
    let head =
        "virtual_server 10.1.0.100 80 {\ndelay_loop 1\nretry 0\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n";
    let mut daemon = Daemon::lvsd(lab, host, &format!("{CONF}\n{head}{servers}}}\n"))?;
    let hanging = || fs::read_to_string(format!("{FOLDER}/hanging")).unwrap_or_default().lines().count();
    wait_for("thirty-two scripts hang", seconds(20), || match hanging() {
        32 => Ok(()),
        count => Err(format!("{count} do")),
    })?;
    program("well", "#!/bin/sh\nexit 1\n")?;
    let told = || fs::read_to_string(format!("{FOLDER}/told.new")).unwrap_or_default();
    wait_for("VI_1's fault is told beside them", seconds(10), || {
        if told().contains("<VI_1><fault>") { Ok(()) } else { Err(told()) }
    })?;
    daemon.wait_log("takes too long, and is ended: other scripts wait for its place", seconds(45))?;
    wait_for("all forty have run", seconds(20), || match hanging() {
        40 => Ok(()),
        count => Err(format!("{count} have")),
    })?;
    daemon.end(Signal::TERM)?;
    judge::run(&["pkill", "-KILL", "sleep"]).map(drop)
}

fn steps_of(lab: &Lab, host: &Host, start: Start) -> Result<Vec<(&'static str, Received)>, String> {
    prepare()?;
    program("well", "#!/bin/sh\nexit 0\n")?;
    number("0")?;
    let daemon = start(lab, host, CONF)?;
    let mut receiver = Receiver::default();
    let mut steps = vec![("start", receiver.received("start", 8, 6)?)];
    number("15")?;
    steps.push(("number", receiver.received("number", 0, 1)?));
    program("well", "#!/bin/sh\nexit 1\n")?;
    steps.push(("fault", receiver.received("fault", 4, 2)?));
    program("well", "#!/bin/sh\nexit 0\n")?;
    steps.push(("recovery", receiver.received("recovery", 7, 4)?));
    daemon.end(Signal::TERM)?;
    steps.push((END, receiver.received(END, 4, 0)?));
    // Of each its lines are in order; how two that have nothing to do with each other follow is chance.
    let subject = |line: &String| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    steps.iter_mut().for_each(|(_, told)| told.lines.sort_by_key(subject));
    Ok(steps)
}

fn number(text: &str) -> Verdict {
    let (new, path) = (format!("{FOLDER}/number.new"), format!("{FOLDER}/number"));
    fs::write(&new, format!("{text}\n")).and_then(|()| fs::rename(&new, &path)).map_err(|e| e.to_string())
}
