//! What an operator, a monitoring system and a service manager see: metrics as Prometheus reads them, health, the
//! verdict of a reload, and the messages of sd_notify(3), through a life with an ill server and a bad file.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use crate::lab::daemon::{Daemon, READY, configure, control, lvsd, lvsd_binary, run_dir, status};
use crate::lab::host::Host;
use crate::lab::judge::{curl, output};
use crate::lab::manager::Manager;
use crate::lab::prometheus::Scrape;
use crate::lab::site::Site;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const METRICS: &str = "10.1.0.11:9100";
const WEB: (&str, &str) = ("virtual_server", "10.1.0.100:80 tcp");
const RS3: (&str, &str) = ("real_server", "10.1.0.23:80");

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let director = site.director.clone();
    let mut manager = Manager::listen("/run/notify-d1")?;
    same("a reload without a daemon", &reload(&director)?.0, &Some(69))?;

    let file = configure(lab, &director, CONF)?;
    let elsewhere = ["--metrics", "10.1.0.99:9100"];
    let mut daemon = Daemon::start_lvsd(lab, &director, &file, &run_dir(&director), &elsewhere)?;
    same("exit code with an address of another host", &daemon.wait_exit(seconds(15))?, &69)?;
    claim(daemon.log_text().contains("choose another --metrics"), || daemon.log_text())?;

    lab.step("start");
    let mut daemon = start(lab, &director, &manager)?;
    let ready = manager.wait_for("READY=1", seconds(30))?;
    same("the first READY", &ready.as_str(), &"READY=1\nSTATUS=1 virtual server, 3 of 3 real servers up")?;
    daemon.wait_log(READY, seconds(5))?;
    manager.forget()?;
    manager.wait_for("WATCHDOG=1", seconds(10))?;

    lab.step("metrics");
    scrapes(&site)?;
    refuses(lab, &site)?;

    lab.step("a server falls ill");
    site.web("rs3")?.set_health_status(503);
    manager.wait_for("STATUS=1 virtual server, 2 of 3 real servers up", seconds(20))?;
    let ill = scrape(&director)?;
    same("rs3 is up", &ill.value("lvsd_real_server_up", &[WEB, RS3])?, &0.0)?;
    claim(ill.value("lvsd_real_server_check_failures_total", &[RS3])? >= 1.0, || {
        "a failure counts".to_owned()
    })?;
    same("live weight", &ill.value("lvsd_virtual_server_live_weight", &[WEB])?, &2.0)?;
    claim(ill.value("lvsd_real_server_kernel_weight", &[RS3]).is_err(), || "rs3 left the kernel".to_owned())?;

    lab.step("reloads");
    reloads(lab, &director, &mut manager)?;
    let after = scrape(&director)?;
    let count = |result| after.value("lvsd_reloads_total", &[("result", result)]);
    same("reloads", &(count("accepted")?, count("rejected")?), &(2.0, 1.0))?;
    same("rs3 is still down", &after.value("lvsd_real_server_up", &[RS3])?, &0.0)?;

    lab.step("stop");
    manager.forget()?;
    daemon.end(Signal::TERM)?;
    manager.wait_for("STOPPING=1", seconds(5))?;
    claim(manager.heard()?.iter().all(|m| !m.contains("READY=1")), || {
        "nothing is ready at the end".to_owned()
    })
}

fn start(lab: &Lab, director: &Host, manager: &Manager) -> Result<Daemon, String> {
    let file = configure(lab, director, CONF)?;
    let run_dir = run_dir(director);
    let mut command = Command::new(lvsd_binary());
    command.arg("run").arg("-c").arg(file);
    command.args(["--run-dir", &run_dir, "--control", &control(&run_dir), "--metrics", METRICS]);
    command.env("NOTIFY_SOCKET", manager.path()).env("WATCHDOG_USEC", "1000000").env_remove("WATCHDOG_PID");
    Daemon::start(lab, director, "lvsd", &mut command)
}

/// Counters follow real traffic, and the three pages agree.
fn scrapes(site: &Site) -> Verdict {
    let director = &site.director;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    wait_for("twelve connections are counted", seconds(40), || {
        let counted = scrape(director)?.value("lvsd_virtual_server_connections_total", &[WEB])?;
        if counted >= 12.0 { Ok(()) } else { Err(counted.to_string()) }
    })?;
    let all = scrape(director)?;
    for (name, want) in [
        ("lvsd_ready", 1.0),
        ("lvsd_healthy", 1.0),
        ("lvsd_converged", 1.0),
        ("lvsd_kernel_up", 1.0),
        ("lvsd_foreign_services", 0.0),
        ("lvsd_drift_repaired_total", 0.0),
        ("lvsd_services_adopted_total", 0.0),
        ("lvsd_build_info", 1.0),
        ("lvsd_checkers", 3.0),
        ("lvsd_virtual_server_up", 1.0),
        ("lvsd_virtual_server_quorum", 1.0),
    ] {
        same(name, &all.value(name, &[])?, &want)?;
    }
    let age = all.value("lvsd_virtual_server_sample_age_seconds", &[WEB])?;
    claim(age <= 30.0, || format!("the sample is {age} s old"))?;
    same("rs3 is up", &all.value("lvsd_real_server_up", &[WEB, RS3])?, &1.0)?;
    same("healthz", &curl(director, &url("healthz"), seconds(10))?, &(200, "ok\n".to_owned()))?;
    let (code, page) = curl(director, &url("status"), seconds(10))?;
    same("the status page", &code, &200)?;
    let page: serde_json::Value = serde_json::from_str(&page).map_err(|e| e.to_string())?;
    let told = status(director)?;
    for part in ["/pid", "/version", "/config"] {
        same("the status page and the command", &page.pointer(part), &told.pointer(part))?;
    }
    Ok(())
}

/// Strangers at the door: wrong questions, and connections that say nothing.
fn refuses(lab: &Lab, site: &Site) -> Verdict {
    let director = &site.director;
    same("another page", &curl(director, &url("secrets"), seconds(10))?.0, &404)?;
    let posted = output(
        director,
        &["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-d", "x", &url("metrics")],
    )?;
    same("a POST", &posted.as_str(), &"405")?;
    let address: std::net::SocketAddr = METRICS.parse().map_err(|e| format!("{METRICS}: {e}"))?;
    let slow = |host: &Host| {
        host.enter(|| {
            let connect = |_| -> std::io::Result<TcpStream> {
                let mut stream = TcpStream::connect_timeout(&address, seconds(5))?;
                // The server may have ended it by now.
                let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ");
                Ok(stream)
            };
            (0..1000).map(connect).collect::<Result<Vec<_>, _>>().map_err(|e| format!("connect: {e}"))
        })
    };
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).map_err(|e| e.to_string())?;
    let crowds = [slow(&lab.host("rs1")?)?, slow(director)?];
    let conversations: Vec<UnixStream> = (0..500)
        .map(|_| {
            UnixStream::connect(control(&run_dir(director))).map_err(|e| format!("the control socket: {e}"))
        })
        .collect::<Result<_, _>>()?;
    let begun = Instant::now();
    for host in [director, &lab.host("rs1")?, &lab.host("rs2")?] {
        for page in ["healthz", "metrics"] {
            let what = format!("{page} past 2,000 slow connections, from {}", host.name());
            same(&what, &curl(host, &url(page), seconds(10))?.0, &200)?;
        }
    }
    status(director)?;
    let took = begun.elapsed();
    claim(took < seconds(8), || format!("seven answers past slow connections took {took:?}"))?;
    drop((crowds, conversations));
    setrlimit(Resource::Nofile, limit).map_err(|e| e.to_string())
}

fn reloads(lab: &Lab, director: &Host, manager: &mut Manager) -> Verdict {
    manager.forget()?;
    let (code, said) = reload(director)?;
    claim(code == Some(0) && said.ends_with("d1.conf is in force: nothing changed\n"), || {
        format!("accepted: {code:?} {said}")
    })?;
    let begun = manager.wait_for("RELOADING=1", seconds(5))?;
    let time = begun.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|t| t.parse::<u64>().ok());
    claim(time.is_some_and(|t| t > 0), || format!("a time: {begun:?}"))?;
    manager.wait_for("READY=1", seconds(5))?;

    let typo = CONF.replacen("HTTP_GET", "HTTP_GTE", 1);
    let line = typo.lines().position(|l| l.contains("HTTP_GTE")).map_or(0, |n| n + 1);
    configure(lab, director, &typo)?;
    manager.forget()?;
    let (code, said) = reload(director)?;
    same("a typo's exit code", &code, &Some(78))?;
    for words in
        [&format!("d1.conf:{line}:9"), "HTTP_GTE {", "^^^^^^^^", "the configuration before it is in force"]
    {
        claim(said.contains(words), || format!("the verdict says {words:?}: {said}"))?;
    }
    manager.wait_for("the last reload was rejected", seconds(5))?;
    let told = status(director)?;
    same("the status says so", &told.pointer("/last_reload/is_accepted"), &Some(&false.into()))?;

    configure(lab, director, CONF)?;
    same("the file is mended", &reload(director)?.0, &Some(0))
}

/// `lvsd reload`: exit code, and all it said.
fn reload(director: &Host) -> Result<(Option<i32>, String), String> {
    let finished = lvsd(director, &["reload", "--control", &control(&run_dir(director))])?;
    Ok((finished.code, format!("{}{}", finished.stdout, finished.stderr)))
}

fn url(page: &str) -> String {
    format!("http://{METRICS}/{page}")
}

fn scrape(director: &Host) -> Result<Scrape, String> {
    Scrape::of(director, METRICS)
}
