//! Bad input anywhere: a clear error with its place, exit code 78, nothing programmed; to a running daemon the
//! same file changes nothing. Wrong command lines exit with 64. Nothing panics.

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, Finished, READY, lvsd, run_dir};
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

/// A file nobody should run, and what the error must say.
struct Bad {
    name: &'static str,
    content: &'static [u8],
    says: &'static [&'static str],
}

const BAD: &[Bad] = &[
    Bad {
        name: "unknown-word.conf",
        content: include_bytes!("unknown-word.conf"),
        says: &["unknown-word.conf:2:5", "lb_algo"],
    },
    Bad { name: "open-brace.conf", content: include_bytes!("open-brace.conf"), says: &["open-brace.conf:"] },
    Bad {
        name: "extra-brace.conf",
        content: include_bytes!("extra-brace.conf"),
        says: &["extra-brace.conf:6"],
    },
    Bad {
        name: "bad-address.conf",
        content: include_bytes!("bad-address.conf"),
        says: &["bad-address.conf:1:16", "10.1.0.1000"],
    },
    Bad {
        name: "bad-port.conf",
        content: include_bytes!("bad-port.conf"),
        says: &["bad-port.conf:1:27", "99999"],
    },
    Bad {
        name: "bad-time.conf",
        content: include_bytes!("bad-time.conf"),
        says: &["bad-time.conf:2:16", "soon"],
    },
    Bad {
        name: "no-checker-yet.conf",
        content: include_bytes!("no-checker-yet.conf"),
        says: &["no-checker-yet.conf:4:9", "SMTP_CHECK"],
    },
    Bad {
        name: "torn-word.conf",
        content: include_bytes!("torn-word.conf"),
        says: &["torn-word.conf:5:5", "virtual_ipaddress"],
    },
    Bad {
        name: "missing-include.conf",
        content: include_bytes!("missing-include.conf"),
        says: &["missing-include.conf:1", "/nowhere/at-all.conf"],
    },
    Bad {
        name: "includes-itself.conf",
        content: include_bytes!("includes-itself.conf"),
        says: &["includes-itself.conf"],
    },
    Bad { name: "not-text.conf", content: include_bytes!("not-text.conf"), says: &["not-text.conf"] },
    Bad { name: "open-quote.conf", content: include_bytes!("open-quote.conf"), says: &["open-quote.conf:2"] },
];

pub fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    let mut files: Vec<(PathBuf, &[&str])> = Vec::new();
    for bad in BAD {
        let path = lab.out().join(bad.name);
        fs::write(&path, bad.content).map_err(|e| format!("{}: {e}", path.display()))?;
        files.push((path, bad.says));
    }
    let deep = lab.write("deep.conf", &"a { ".repeat(100_000))?;
    let directory = lab.out().join("directory.conf");
    fs::create_dir(&directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    files.push((deep, &["deep.conf"]));
    files.push((directory, &["directory.conf"]));
    files.push((lab.out().join("absent.conf"), &["absent.conf"]));

    lab.step("check and run refuse every bad file");
    for (path, says) in &files {
        let file = path.to_string_lossy();
        for arguments in
            [vec!["check", "-c", &file], vec!["run", "-c", &file, "--run-dir", &run_dir(director)]]
        {
            let finished = lvsd(director, &arguments)?;
            refused(&arguments, &finished, 78)?;
            for words in *says {
                let text = format!("{}{}", finished.stderr, finished.stdout);
                claim(text.contains(words), || format!("{arguments:?} says {words:?}: {finished:?}"))?;
            }
        }
    }
    same("nothing was programmed", &site.table()?, &Table::default())?;

    lab.step("a wrong command line");
    for arguments in [&["rnu"][..], &["run", "--no-such-option"], &["check", "-c"]] {
        refused(arguments, &lvsd(director, arguments)?, 64)?;
    }

    lab.step("reloads of bad files change nothing");
    let good = include_str!("good.conf");
    let conf = lab.write("running.conf", good)?;
    let mut daemon = Daemon::start_lvsd(lab, director, &conf, &run_dir(director), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;
    let before = site.table()?;
    for bad in BAD {
        fs::write(&conf, bad.content).map_err(|e| format!("{}: {e}", conf.display()))?;
        let logged = daemon.log_text().len();
        daemon.reload()?;
        wait_for(&format!("the log speaks of {}", bad.name), seconds(15), || {
            let new = daemon.log_text().split_off(logged);
            if new.contains("running.conf") { Ok(()) } else { Err(new) }
        })?;
        same("the table", &site.table()?, &before)?;
        claim(daemon.is_running(), || format!("{}: still running", bad.name))?;
    }
    fs::remove_file(&conf).map_err(|e| format!("{}: {e}", conf.display()))?;
    daemon.reload()?;
    site.answers("rs1=4 rs2=4 rs3=4")?;

    lab.step("a stop ends the daemon though a reload waits for a file that never answers");
    judge::run(&["mkfifo", &conf.to_string_lossy()])?;
    let logged = daemon.log_text().len();
    daemon.reload()?;
    wait_for("the reload has begun", seconds(15), || {
        let new = daemon.log_text().split_off(logged);
        if new.contains("reading") { Ok(()) } else { Err(new) }
    })?;
    claim(!daemon.log_text().contains("panicked"), || "no panic".to_owned())?;
    daemon.end(Signal::TERM)
}

/// Ended with this code, with words, without a panic.
fn refused(arguments: &[&str], finished: &Finished, code: i32) -> Verdict {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    let calm = !said.contains("panicked") && !said.is_empty();
    claim(finished.code == Some(code) && calm, || {
        format!("{arguments:?} exits with {code} and words: {finished:?}")
    })
}
