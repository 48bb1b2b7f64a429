//! A client that a persistent service knows, and an operator who takes its server out: a drain sends the client
//! elsewhere and comes to its end, also across a crash, and the kernel's setting is put back; weight 0 keeps the client
//! and says for how long.

use std::net::TcpStream;

use rustix::process::Signal;

use super::{CONF, ask};
use crate::lab::daemon::{Daemon, control, lvsd, run_dir};
use crate::lab::site::Site;
use crate::lab::topology::{REAL_SERVERS, VIP};
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// The operator wants known clients to stay.
const KEPT: &str = "ipvs: {sysctl: {expire_quiescent_template: false}}
virtual_servers:
  - address: 10.1.0.100:80
    protocol: tcp
    scheduler: rr
    forwarding: dr
    persistence: 50s
    check: {type: tcp, interval: 1s}
    real_servers: [{address: '10.1.0.21:80'}, {address: '10.1.0.22:80'}]
";
const SETTING: &str = "/proc/sys/net/ipv4/vs/expire_quiescent_template";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let text = CONF.replace("lb_kind DR", "lb_kind DR\n    persistence_timeout 50");
    claim(text != CONF, || "the service is persistent".to_owned())?;
    let daemon = Daemon::lvsd(lab, &site.director, &text)?;
    site.wait_for_serving(&super::ALL)?;
    let load = site.load()?;
    let known = server(&site)?;
    let address = address(&known)?;

    lab.step(format!("weight 0: {known} keeps its client, and that is said"));
    let weighed = order(&site, &["weight", &address, "0"])?;
    claim(
        weighed.contains("until they have been silent for 50 s; `lvsd drain` sends them elsewhere"),
        || weighed.clone(),
    )?;
    load.wait_for_answers(50)?;
    same("who answers", &server(&site)?, &known)?;
    order(&site, &["weight", &address, "default"])?;

    lab.step(format!("a drain of {known}, which has a connection, and a crash"));
    let held = site.client.enter(|| TcpStream::connect((VIP, 80)).map_err(|e| e.to_string()))?;
    same("the setting before", &setting(&site)?, &"0".to_owned())?;
    let drained = order(&site, &["drain", &address, "--deadline", "100s"])?;
    claim(!drained.contains("persistent"), || drained.clone())?;
    load.wait_for_answers(50)?;
    same("the setting while it drains", &setting(&site)?, &"1".to_owned())?;
    let other = server(&site)?;
    claim(other != known, || format!("{known} still gets its client"))?;
    daemon.kill()?;
    let daemon = Daemon::lvsd(lab, &site.director, &text)?;
    load.wait_for_answers(50)?;
    same("the setting after a crash", &setting(&site)?, &"1".to_owned())?;
    same("who answers after a crash", &server(&site)?, &other)?;
    let plan =
        lvsd(&site.director, &["plan", "-c", &config(lab, &site), "--run-dir", &run_dir(&site.director)])?;
    claim(!plan.stdout.contains("expire_quiescent_template"), || format!("it is in force: {plan:?}"))?;
    drop(held);
    wait_for("it has left", seconds(60), || {
        let table = site.table()?.to_string();
        if table.contains(&address) { Err(table) } else { Ok(()) }
    })?;
    wait_for("the setting is put back", seconds(2), || {
        let now = setting(&site)?;
        if now == "0" { Ok(()) } else { Err(now) }
    })?;

    lab.step("drain --wait comes to its end while the client goes on");
    let address = self::address(&other)?;
    let waited = ask(&site.director, &["drain", &address, "--wait", "--deadline", "100s"])?;
    claim(waited.stdout.contains("has left the kernel"), || format!("{waited:?}"))?;
    claim(server(&site)? != other, || format!("{other} still gets its client"))?;
    let hits = load.stop()?;
    lab.step(format!("load: {hits}"));
    same("requests that failed", &hits.total_failed(), &0)?;
    same("the setting after it", &setting(&site)?, &"0".to_owned())?;

    lab.step("disable sends the client elsewhere at once");
    for name in [&known, &other] {
        order(&site, &["undrain", &self::address(name)?])?;
    }
    site.wait_for_serving(&super::ALL)?;
    let last = server(&site)?;
    let disabled = order(&site, &["disable", &self::address(&last)?])?;
    same("what it says besides", &disabled, &String::new())?;
    wait_for("another one answers", seconds(2), || {
        let now = server(&site)?;
        if now == last { Err(now) } else { Ok(()) }
    })?;
    order(&site, &["enable", &self::address(&last)?])?;
    daemon.end(Signal::TERM)?;

    lab.step("where the operator wants the setting to be 0, a drain says what persistence does");
    let file = lab.write("d1.yaml", KEPT)?;
    let daemon = Daemon::start_lvsd(lab, &site.director, &file, &run_dir(&site.director), &[])?;
    site.wait_for_serving(&super::ALL[..2])?;
    let known = server(&site)?;
    let drained = order(&site, &["drain", &self::address(&known)?, "--deadline", "90s"])?;
    let words = "expire_quiescent_template is 0: clients it knows go on to the drained server until they have been silent \
                 for 50 s; what is left after 90 s is cut";
    claim(drained.contains(words), || drained.clone())?;
    same("who answers", &server(&site)?, &known)?;
    same("the setting", &setting(&site)?, &"0".to_owned())?;
    daemon.end(Signal::TERM)
}

/// The real server that answers this client, which is always the same one.
fn server(site: &Site) -> Result<String, String> {
    let hits = site.hits()?.to_string();
    let name = REAL_SERVERS.into_iter().find(|name| hits == format!("{name}=12"));
    name.map(str::to_owned).ok_or_else(|| format!("one answers all: {hits}"))
}

fn address(name: &str) -> Result<String, String> {
    let n = name.strip_prefix("rs").ok_or_else(|| format!("{name} is no real server"))?;
    Ok(format!("10.1.0.2{n}"))
}

fn setting(site: &Site) -> Result<String, String> {
    let read = || std::fs::read_to_string(SETTING).map_err(|e| format!("{SETTING}: {e}"));
    site.director.enter(read).map(|value| value.trim().to_owned())
}

fn config(lab: &Lab, site: &Site) -> String {
    lab.out().join(format!("{}.conf", site.director.name())).to_string_lossy().into_owned()
}

/// An order that must succeed; what it says besides.
fn order(site: &Site, arguments: &[&str]) -> Result<String, String> {
    let control = control(&run_dir(&site.director));
    let mut all = arguments.to_vec();
    all.extend(["--control", &control]);
    let finished = lvsd(&site.director, &all)?;
    same(&format!("lvsd {arguments:?}: {finished:?}"), &finished.code, &Some(0))?;
    Ok(finished.stderr)
}
