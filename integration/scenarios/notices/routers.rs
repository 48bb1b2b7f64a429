//! Scripts and a FIFO hear of virtual routers and a sync group: the same words from lvsd as from Debian's keepalived,
//! when they begin, when a script fails and succeeds, when a file's number changes, and at the end.

use std::fs;

use rustix::process::Signal;

use super::{END, Ear, FOLDER, Start, Told, agree, prepare, program};
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::{Lab, Verdict, claim};

const CONF: &str = include_str!("routers.conf");

pub fn run(lab: &mut Lab) -> Verdict {
    lab.standard()?;
    let host = lab.host("d1")?;
    lab.step("keepalived");
    let theirs = story(lab, &host, Daemon::keepalived)?;
    lab.step("lvsd");
    let ours = story(lab, &host, Daemon::lvsd)?;
    agree(lab, &ours, &theirs)?;
    let why = fs::read_to_string(format!("{FOLDER}/why")).map_err(|e| e.to_string())?;
    claim(why.contains("VI_1 INSTANCE MASTER>FAULT "), || format!("a script of lvsd's hears why: {why}"))
}

fn story(lab: &Lab, host: &Host, start: Start) -> Result<Vec<(&'static str, Told)>, String> {
    prepare()?;
    program("well", "#!/bin/sh\nexit 0\n")?;
    number("0")?;
    let daemon = start(lab, host, CONF)?;
    let mut ear = Ear::default();
    let mut steps = vec![("start", ear.told("start", 8, 6)?)];
    number("15")?;
    steps.push(("number", ear.told("number", 0, 1)?));
    program("well", "#!/bin/sh\nexit 1\n")?;
    steps.push(("fault", ear.told("fault", 4, 2)?));
    program("well", "#!/bin/sh\nexit 0\n")?;
    steps.push(("recovery", ear.told("recovery", 7, 4)?));
    daemon.end(Signal::TERM)?;
    steps.push((END, ear.told(END, 4, 0)?));
    // Of each its lines are in order; how two that have nothing to do with each other follow is chance.
    let subject = |line: &String| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
    steps.iter_mut().for_each(|(_, told)| told.lines.sort_by_key(subject));
    Ok(steps)
}

fn number(text: &str) -> Verdict {
    let (new, path) = (format!("{FOLDER}/number.new"), format!("{FOLDER}/number"));
    fs::write(&new, format!("{text}\n")).and_then(|()| fs::rename(&new, &path)).map_err(|e| e.to_string())
}
