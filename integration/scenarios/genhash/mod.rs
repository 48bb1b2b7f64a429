//! `lvsd genhash` prints what Debian's genhash prints, of every plain body; what it pastes is a check that passes.

use std::process::{Command, Output};

use crate::lab::daemon::{Daemon, READY, lvsd_binary, run_dir, status};
use crate::lab::host::Host;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const SERVER: &str = "10.1.0.21";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let (dir, host) = (lab.out().display().to_string(), lab.host("rs1")?);
    let long = "0123456789abcdef".repeat(5000);
    lab.write("long", &long)?;
    let http = format!(
        "server {{ listen 8080;\n\
         location = /plain {{ return 200 \"hello world\\n\"; }}\n\
         location = /empty {{ return 200 \"\"; }}\n\
         location = /busy {{ return 503 \"come back later\\n\"; }}\n\
         location = /long {{ alias {dir}/long; }} }}"
    );
    let _nginx = Daemon::nginx_with(lab, &host, &http)?;
    let server = ["-s", SERVER, "-p", "8080"];
    for flags in [
        &["-u", "/plain"][..],
        &["-u", "/empty"],
        &["-u", "/busy"],
        &["-u", "/long"],
        &["-u", "/plain", "-P", "1.1"],
        &["-u", "/plain", "-V", "www.lab.example"],
        &["-u", "/plain", "-v"],
    ] {
        lab.step(flags.join(" "));
        let theirs = judge::output(&site.director, &[&["genhash"], &server[..], flags].concat())?;
        let ours = genhash(&site.director, &[&server[..], flags].concat())?;
        same("exit code", &ours.status.code(), &Some(0))?;
        same("what is printed", &timeless(&text(&ours.stdout)), &timeless(&theirs))?;
        let is_said = text(&ours.stderr).contains("status 503");
        same("the status is told", &is_said, &flags.contains(&"/busy"))?;
    }
    lab.step("what cannot be asked has no digest, and another exit code than keepalived's 0");
    let ours = genhash(&site.director, &["-s", SERVER, "-p", "81", "-u", "/"])?;
    same("exit code", &ours.status.code(), &Some(69))?;
    let said = text(&ours.stderr);
    claim(ours.stdout.is_empty() && said.contains("connection refused"), || said.clone())?;

    lab.step("what --config prints is a check that passes, in both languages");
    let url = format!("http://{SERVER}:8080/plain");
    let said = text(&genhash(&site.director, &["--config", &url])?.stdout);
    let (conf, yaml) = said.split_once("# YAML\n").ok_or("two parts")?;
    let conf = format!(
        "virtual_server 10.1.0.100 80 {{\n lb_algo rr\n lb_kind DR\n protocol TCP\n delay_loop 1\n\
         real_server {SERVER} 80 {{\n{}}}\n}}\n",
        conf.replace("HTTP_GET {", "HTTP_GET {\n connect_port 8080")
    );
    let indented: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
    let yaml = format!(
        "virtual_servers:\n  - address: 10.1.0.100:80\n    scheduler: rr\n    forwarding: dr\n{}      \
         connect_port: 8080\n      interval: 1s\n    real_servers:\n      - address: {SERVER}:80\n",
        indented
    );
    for (name, text) in [("conf", conf), ("yaml", yaml)] {
        let file = lab.write(&format!("genhash.{name}"), &text)?;
        let mut daemon = Daemon::start_lvsd(lab, &site.director, &file, &run_dir(&site.director), &[])?;
        daemon.wait_log(READY, seconds(30))?;
        wait_for("the check passes", seconds(20), || {
            let said = status(&site.director)?.to_string();
            if said.contains("digest as wanted") { Ok(()) } else { Err(said) }
        })?;
        daemon.end(rustix::process::Signal::TERM)?;
    }
    Ok(())
}

fn genhash(host: &Host, arguments: &[&str]) -> Result<Output, String> {
    host.enter(|| {
        let output = Command::new(lvsd_binary()).arg("genhash").args(arguments).output();
        output.map_err(|error| format!("lvsd genhash: {error}"))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Without what differs from one asking to the next.
fn timeless(text: &str) -> String {
    let is_clock = |line: &str| line.contains("Global response time") || line.starts_with("Date: ");
    // A dump of the header holds its date, too, from its third line on.
    let is_dated = |line: &str| line.get(4..6) == Some("  ") && line.get(..4).is_some_and(|at| at >= "0032");
    text.lines().filter(|line| !is_clock(line) && !is_dated(line)).collect::<Vec<_>>().join("\n")
}
