//! Scripts and a FIFO hear of virtual servers and real servers: the same words from lvsd as from Debian's keepalived,
//! for the same file and the same deaths; scripts of one subject in order, though one hangs; a FIFO without a reader
//! delays nothing else.

pub(super) mod life;
pub(super) mod routers;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::site::Site;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const FOLDER: &str = "/run/notices";
/// Its arguments, one by one, and what lvsd adds to the environment.
const TELL: &str = "#!/bin/sh\nline=\nfor word; do line=\"$line<$word>\"; done\necho \"$line\" >> /run/notices/told.new\n\
                    echo \"$1 $LVSD_KIND $LVSD_PREVIOUS>$LVSD_STATE $LVSD_CAUSE\" >> /run/notices/why\n";
const READER: &str = "#!/bin/sh\nexec cat \"$1\" > /run/notices/heard\n";

/// The last step.
const END: &str = "end";

/// What was told in one step: the scripts' arguments, and the FIFO's lines.
#[derive(Debug, PartialEq, Eq)]
struct Received {
    /// keepalived starts them beside each other: their order says nothing.
    scripts: BTreeSet<String>,
    lines: Vec<String>,
}

/// How a daemon is started.
type Start = fn(&Lab, &Host, &str) -> Result<Daemon, String>;

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    lab.step("keepalived");
    let theirs = steps_of(lab, &mut site, Daemon::keepalived)?;
    lab.step("lvsd");
    let ours = steps_of(lab, &mut site, Daemon::lvsd)?;
    agree(lab, &ours, &theirs)?;
    same("lines at lvsd's end", &ours.last().map_or(0, |(_, told)| told.lines.len()), &2)?;
    let why = fs::read_to_string(format!("{FOLDER}/why")).map_err(|e| e.to_string())?;
    let cause = "rs1 RS UP>DOWN HTTP_GET: status 500, wanted 200";
    claim(why.contains(cause), || format!("a script of lvsd's hears why: {why}"))?;
    hanging(lab, &mut site)
}

/// Both daemons told the same in each step.
fn agree(lab: &Lab, ours: &[(&'static str, Received)], theirs: &[(&'static str, Received)]) -> Verdict {
    for ((step, ours), (_, theirs)) in ours.iter().zip(theirs) {
        lab.note(format!("{step}: {ours:?}"));
        same(
            &format!("{step}: what lvsd's scripts are told, and keepalived's"),
            &ours.scripts,
            &theirs.scripts,
        )?;
        // At its end keepalived closes the FIFO before the lines are read.
        if *step != END {
            same(
                &format!("{step}: what is read from lvsd's FIFO, and keepalived's"),
                &ours.lines,
                &theirs.lines,
            )?;
        }
    }
    Ok(())
}

/// A folder without traces of the daemon before.
fn prepare() -> Verdict {
    // The first time there is none.
    let _ = fs::remove_dir_all(FOLDER);
    fs::create_dir_all(FOLDER).map_err(|e| e.to_string())?;
    program("tell", TELL)?;
    program("reader", READER)
}

/// All that one daemon tells: at its start, of a death, of a lost quorum, of the return, of its end.
fn steps_of(lab: &Lab, site: &mut Site, start: Start) -> Result<Vec<(&'static str, Received)>, String> {
    prepare()?;
    let daemon = start(lab, &site.director, CONF)?;
    let mut receiver = Receiver::default();
    let mut steps = vec![("start", receiver.received("start", 2, 3)?)];
    site.web("rs1")?.set_health_status(500);
    steps.push(("rs1 dies", receiver.received("rs1 dies", 2, 2)?));
    site.web("rs2")?.set_health_status(500);
    steps.push(("rs2 dies", receiver.received("rs2 dies", 3, 5)?));
    site.web("rs1")?.set_health_status(200);
    steps.push(("rs1 returns", receiver.received("rs1 returns", 1, 1)?));
    site.web("rs2")?.set_health_status(200);
    steps.push(("rs2 returns", receiver.received("rs2 returns", 3, 6)?));
    daemon.end(Signal::TERM)?;
    steps.push((END, receiver.received(END, 2, 0)?));
    let is_there = fs::exists(format!("{FOLDER}/fifo")).unwrap_or(true);
    claim(!is_there, || "the FIFO that was made is gone".to_owned())?;
    Ok(steps)
}

/// Hears what scripts and the FIFO's reader wrote down.
#[derive(Debug, Default)]
struct Receiver {
    heard: usize,
}

impl Receiver {
    /// What was told since the last step: waits for as much as must come, then whether more comes.
    fn received(&mut self, step: &str, scripts: usize, lines: usize) -> Result<Received, String> {
        let new = format!("{FOLDER}/told.new");
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let look = || {
            let text = read(&format!("{FOLDER}/heard"));
            let fresh: Vec<String> =
                text.get(self.heard..).unwrap_or_default().lines().map(str::to_owned).collect();
            let scripts: Vec<String> = read(&new).lines().map(str::to_owned).collect();
            (scripts, fresh, text.len())
        };
        wait_for(&format!("{step}: {scripts} scripts and {lines} lines"), seconds(20), || {
            let (told, fresh, _) = look();
            let is_all = told.len() >= scripts && fresh.len() >= lines;
            if is_all { Ok(()) } else { Err(format!("{told:#?} {fresh:#?}")) }
        })?;
        pause(seconds(6));
        let (told, fresh, length) = look();
        let is_exact = told.len() == scripts && (fresh.len() == lines || step == END);
        claim(is_exact, || format!("{step}: no more than {scripts} and {lines}: {told:#?} {fresh:#?}"))?;
        self.heard = length;
        let _ = fs::remove_file(&new);
        Ok(Received { scripts: told.into_iter().collect(), lines: fresh })
    }
}

/// A script that hangs delays its own subject only; a FIFO without a reader delays nothing.
fn hanging(lab: &Lab, site: &mut Site) -> Verdict {
    lab.step("a script that hangs, and a FIFO without a reader");
    fs::create_dir_all(FOLDER).map_err(|e| e.to_string())?;
    program("tell", &format!("{TELL}[ \"$1$2\" = rs1down ] && sleep 10000\nexit 0\n"))?;
    program("reader", "#!/bin/sh\nsleep 100000\n")?;
    let mut daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    let all = || fs::read_to_string(format!("{FOLDER}/told.new")).unwrap_or_default();
    let wait = |words: &str| {
        wait_for(words, seconds(60), || if all().contains(words) { Ok(()) } else { Err(all()) })
    };
    site.web("rs1")?.set_health_status(500);
    wait("<rs1><down>")?;
    site.web("rs2")?.set_health_status(500);
    wait("<rs2><down>")?;
    site.web("rs1")?.set_health_status(200);
    site.web("rs2")?.set_health_status(200);
    wait("<rs2><up>")?;
    claim(!all().contains("<rs1><up>"), || {
        format!("rs1's next script waits for the hanging one: {}", all())
    })?;
    daemon.wait_log("takes too long, and is ended: a later change waits", seconds(60))?;
    wait("<rs1><up>")?;
    daemon.end(Signal::TERM)
}

fn program(name: &str, text: &str) -> Verdict {
    let path = format!("{FOLDER}/{name}");
    fs::write(&path, text).map_err(|e| e.to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())
}
