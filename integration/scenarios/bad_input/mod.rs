//! Bad input anywhere: a clear error with its place, exit code 78, nothing programmed; to a running daemon the
//! same file changes nothing. Wrong command lines exit with 64. Nothing panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::lab::daemon::{Daemon, Finished, READY, control, lvsd, lvsd_binary, run_dir, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

/// A file that must be refused, and what the error must say.
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

pub(super) fn run(lab: &mut Lab) -> Verdict {
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
    lab.step("what cannot be written was not said");
    fs::write(&conf, good).map_err(|e| format!("{}: {e}", conf.display()))?;
    unwritten(director, &conf.to_string_lossy())?;
    names_of_files(lab, director)?;

    lab.step("a log without a reader delays nothing");
    daemon.end(Signal::TERM)?;
    hung_log(director, &conf)?;
    let mut daemon = Daemon::start_lvsd(lab, director, &conf, &run_dir(director), &[])?;
    daemon.wait_log(READY, seconds(30))?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;

    lab.step("the file goes, and becomes one that never answers");
    fs::remove_file(&conf).map_err(|e| format!("{}: {e}", conf.display()))?;
    daemon.reload()?;
    site.answers("rs1=4 rs2=4 rs3=4")?;

    lab.step("a FIFO is no configuration, and a pattern that stands for everything is not followed");
    judge::run(&["mkfifo", &conf.to_string_lossy()])?;
    let logged = daemon.log_text().len();
    daemon.reload()?;
    wait_for("the reload is rejected", seconds(15), || {
        let new = daemon.log_text().split_off(logged);
        if new.contains("is a pipe (FIFO), not a regular file") { Ok(()) } else { Err(new) }
    })?;
    let everything = lab.write("everything.conf", "include /*/*/*/*/*\n")?;
    let finished = lvsd(director, &["check", "-c", &everything.to_string_lossy()])?;
    refused(&["check"], &finished, 78)?;
    claim(
        finished.stdout.contains("everything.conf:1:9") && finished.stdout.contains("`/*/*/*/*/*`"),
        || format!("{finished:?}"),
    )?;
    claim(!daemon.log_text().contains("panicked"), || "no panic".to_owned())?;
    daemon.end(Signal::TERM)
}

/// Output that is lost is a failure of the command; a reader that has read enough is none.
fn unwritten(director: &Host, conf: &str) -> Verdict {
    let lvsd = lvsd_binary().display().to_string();
    let (run_dir, control) = (run_dir(director), control(&run_dir(director)));
    for command in [
        "check --keywords".to_owned(),
        format!("check -c {conf}"),
        format!("check --json -c {conf}"),
        format!("status --control {control}"),
        format!("status --json --control {control}"),
        format!("why 10.1.0.21 --control {control}"),
        format!("plan -c {conf} --run-dir {run_dir}"),
        format!("doctor -c {conf} --run-dir {run_dir}"),
        format!("reload --control {control}"),
        "genhash http://10.1.0.21/".to_owned(),
        "--help".to_owned(),
        "--signum=DATA".to_owned(),
    ] {
        let said =
            judge::output(director, &["sh", "-c", &format!("{lvsd} {command} 2>&1 >/dev/full; echo $?")])?;
        claim(
            said.contains("standard output cannot be written: No space left") && said.ends_with("74\n"),
            || format!("lvsd {command} > /dev/full: {said}"),
        )?;
        let piped =
            format!("{{ {lvsd} {command} 2>&1 >&3 | sed s/^/error:/ >&2; }} 3>&1 | head -c 1 >/dev/null");
        let output = director.enter(|| {
            let shell = Command::new("sh").args(["-c", &piped]).output();
            shell.map_err(|e| format!("sh: {e}"))
        })?;
        let said = String::from_utf8_lossy(&output.stderr);
        claim(!said.contains("standard output"), || format!("lvsd {command} | head: {said}"))?;
    }
    Ok(())
}

/// Its standard error is a pipe whose reader hangs, which holds much less than this says.
fn hung_log(director: &Host, conf: &Path) -> Verdict {
    let (reader, writer) = std::io::pipe().map_err(|e| format!("pipe: {e}"))?;
    let holds = rustix::pipe::fcntl_setpipe_size(&writer, 4096).map_err(|e| format!("pipe: {e}"))?;
    let mut command = Command::new(lvsd_binary());
    let run_dir = run_dir(director);
    command.arg("run").arg("-c").arg(conf).args(["--run-dir", &run_dir, "--control", &control(&run_dir)]);
    command.env("LVSD_LOG", "debug").stdin(Stdio::null()).stdout(Stdio::null()).stderr(writer);
    let mut daemon = director.start(&mut command)?;
    drop(command);
    wait_for("it serves", seconds(20), || status(director).map(drop))?;
    for _ in 0..30 {
        let reloaded = lvsd(director, &["reload", "--control", &control(&run_dir)])?;
        same("a reload's exit code", &reloaded.code, &Some(0))?;
    }
    let waits = rustix::io::ioctl_fionread(&reader).map_err(|e| format!("pipe: {e}"))?;
    claim(waits + 500 > holds as u64, || format!("the pipe is full: {waits} of {holds}"))?;
    let pid = Pid::from_child(&daemon);
    rustix::process::kill_process(pid, Signal::TERM).map_err(|e| format!("SIGTERM: {e}"))?;
    let ended = daemon.wait().map_err(|e| format!("lvsd: {e}"))?;
    same("its end", &ended.code(), &Some(0))
}

/// A file's name may end the line, go on as if it were lvsd, and clear the screen: none of that is done.
fn names_of_files(lab: &Lab, director: &Host) -> Verdict {
    let file = lab.write("odd\nlvsd: all is well\u{1b}[2J\u{202e}.conf", "virtual_sever\n")?;
    for arguments in
        [&["check", "-c"][..], &["check", "--json", "-c"], &["run", "--run-dir", "/run/odd", "-c"]]
    {
        let finished = lvsd(director, &[arguments, &[&*file.to_string_lossy()]].concat())?;
        refused(arguments, &finished, 78)?;
        let said = format!("{}{}", finished.stdout, finished.stderr);
        let steers = said.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}'));
        claim(!steers && !said.lines().any(|line| line.starts_with("lvsd: all")), || format!("{said:?}"))?;
        let is_whole = said.contains("odd\\nlvsd: all is well\\u001b[2J\\u202e.conf");
        claim(is_whole, || format!("the name is shown: {said:?}"))?;
    }
    Ok(())
}

/// Ended with this code, with words, without a panic.
fn refused(arguments: &[&str], finished: &Finished, code: i32) -> Verdict {
    let said = format!("{}{}", finished.stdout, finished.stderr);
    let calm = !said.contains("panicked") && !said.is_empty();
    claim(finished.code == Some(code) && calm, || {
        format!("{arguments:?} exits with {code} and words: {finished:?}")
    })
}
