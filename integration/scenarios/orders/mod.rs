//! An operator drains, disables and weighs real servers under load: requests under way are answered, new ones go
//! elsewhere, none fails; the orders survive a restart; `lvsd why` tells what the checkers saw.

pub(super) mod persistent;

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, Finished, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::site::WEB;
use crate::lab::topology::{REAL_SERVERS, VIP};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const ALL: [&str; 3] = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];
const CONF: &str = include_str!("keepalived.conf");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    site.wait_for_serving(&ALL)?;
    let held = site.client.enter(hold)?;
    let load = site.load()?;

    lab.step("drain a server that has a request under way");
    let waiting = std::thread::spawn({
        let director = site.director.clone();
        move || ask(&director, &["drain", "10.1.0.22", "--wait", "--deadline", "60s"])
    });
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.23:80"])?;
    // Connections made a moment before are still being answered.
    load.wait_for_answers(20)?;
    let served = site.web("rs2")?.served();
    load.wait_for_answers(100)?;
    same("new requests at the drained server", &site.web("rs2")?.served(), &served)?;
    claim(!waiting.is_finished(), || "drain --wait waits for the requests under way".to_owned())?;
    let names = site.client.enter(|| finish(held))?;
    claim(names.iter().any(|n| n == "rs2"), || format!("one was rs2's: {names:?}"))?;
    let drained = waiting.join().map_err(|_| "drain --wait panicked")??;
    claim(drained.stdout.contains("has left the kernel"), || format!("{drained:?}"))?;
    same("the drained server's entry", &site.table()?.to_string().contains("10.1.0.22"), &false)?;

    lab.step("a restart remembers it; undrain");
    daemon.hand_over()?;
    let daemon = Daemon::lvsd(lab, &site.director, CONF)?;
    load.wait_for_answers(50)?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.23:80"])?;
    ask(&site.director, &["undrain", "10.1.0.22:80"])?;
    site.wait_for_serving(&ALL)?;

    lab.step("weight, disable, enable");
    ask(&site.director, &["weight", "10.1.0.23", "7"])?;
    wait_for("ipvsadm shows weight 7", seconds(5), || {
        let table = site.table()?.to_string();
        if table.contains("10.1.0.23:80 -g -w 7") { Ok(()) } else { Err(table) }
    })?;
    ask(&site.director, &["weight", "10.1.0.23", "default"])?;
    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    site.expire_nodest_conn()?;
    ask(&site.director, &["disable", "10.1.0.21", "--virtual-server", "10.1.0.100:80 tcp"])?;
    site.wait_for_serving(&["10.1.0.22:80", "10.1.0.23:80"])?;
    site.answers("rs2=6 rs3=6")?;
    ask(&site.director, &["enable", "10.1.0.21"])?;
    site.wait_for_serving(&ALL)?;

    lab.step("an order that would not survive a restart");
    let in_the_way = format!("{}/.state.json.new", run_dir(&site.director));
    std::fs::create_dir(&in_the_way).map_err(|e| format!("{in_the_way}: {e}"))?;
    let unsaved = ask(&site.director, &["weight", "10.1.0.22", "3"])?;
    claim(unsaved.stderr.contains("would not survive a restart"), || format!("{unsaved:?}"))?;
    let says = || ask(&site.director, &["status"]).map(|status| status.stdout.contains("NOT SAVED"));
    same("the status says so", &says()?, &true)?;
    std::fs::remove_dir(&in_the_way).map_err(|e| format!("{in_the_way}: {e}"))?;
    wait_for("it is saved", seconds(10), || match says() {
        Ok(false) => Ok(()),
        other => Err(format!("{other:?}")),
    })?;
    let saved = ask(&site.director, &["weight", "10.1.0.22", "default"])?;
    same("what is said besides", &saved.stderr, &String::new())?;

    lab.step("why");
    site.web("rs1")?.set_health_status(503);
    site.wait_for_serving(&["10.1.0.22:80", "10.1.0.23:80"])?;
    let why = ask(&site.director, &["why", "10.1.0.21"])?;
    for words in ["DOWN", "HTTP_GET 10.1.0.21:80", "passed", "FAILED", "status 503, wanted 200"] {
        claim(why.stdout.contains(words), || format!("why says {words:?}: {}", why.stdout))?;
    }
    let unknown =
        lvsd(&site.director, &["drain", "10.9.9.9", "--control", &control(&run_dir(&site.director))])?;
    same("a server that is not there", &unknown.code, &Some(64))?;
    claim(unknown.stderr.contains("10.1.0.21:80"), || format!("names those there are: {unknown:?}"))?;
    same("the table", &site.table()?.serving(WEB), &vec!["10.1.0.22:80", "10.1.0.23:80"])?;
    daemon.end(Signal::TERM)
}

/// Runs a command of lvsd that must succeed.
fn ask(director: &Host, arguments: &[&str]) -> Result<Finished, String> {
    let control = control(&run_dir(director));
    let mut all = arguments.to_vec();
    all.extend(["--control", &control]);
    let finished = lvsd(director, &all)?;
    claim(finished.code == Some(0), || format!("lvsd {arguments:?}: {finished:?}"))?;
    Ok(finished)
}

/// Begins as many requests as there are real servers: with rr each gets one.
fn hold() -> Result<Vec<TcpStream>, String> {
    let begin = |_| {
        let mut stream = TcpStream::connect((VIP, 80)).map_err(|e| format!("connect: {e}"))?;
        stream.write_all(b"GET / HTTP/1.1\r\n").map_err(|e| format!("write: {e}"))?;
        stream.set_read_timeout(Some(seconds(10))).map_err(|e| format!("time limit: {e}"))?;
        Ok(stream)
    };
    (0..REAL_SERVERS.len()).map(begin).collect()
}

/// Ends the requests; the hosts that answered them.
fn finish(held: Vec<TcpStream>) -> Result<Vec<String>, String> {
    let end = |mut stream: TcpStream| {
        stream.write_all(b"Host: x\r\n\r\n").map_err(|e| format!("a held request: {e}"))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|e| format!("a held request's answer: {e}"))?;
        let body = answer.lines().last().unwrap_or_default().to_owned();
        claim(body.starts_with("rs"), || format!("a held request is answered: {answer:?}"))?;
        Ok(body)
    };
    held.into_iter().map(end).collect()
}
