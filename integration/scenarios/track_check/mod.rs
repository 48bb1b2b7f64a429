//! `track_check`: two directors whose priorities follow the nginx on their hosts. It is stopped, it hangs, it answers with the
//! wrong status, and each time it comes back: the VIP goes and returns, and status, `lvsd why` and metrics say why. A pair of
//! keepalived does the same with curl as a script, for comparison: how long it takes, and how many processes.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::lab::client::get_here;
use crate::lab::daemon::{Daemon, lvsd, processes, run_dir, status};
use crate::lab::vrrp::node::{Make, Node};
use crate::lab::vrrp::segment::{Segment, VIP};
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

/// From a failure to the VIP on the Backup: three failures a second apart, each with its timeout where nginx hangs, and a
/// master-down interval.
const REFUSED: Duration = Duration::from_millis(3000 + 1000 + 3700);
const HANGS: Duration = Duration::from_millis(3000 + 4000 + 3700);
/// From nginx's return to the VIP's: two passes, after a run that still hangs, and a master-down interval.
const RETURN: Duration = seconds(10);
const PATIENCE: Duration = seconds(20);
/// Over this time processes are counted.
const COUNTED: Duration = seconds(60);

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let segment = lab.segment(2)?;
    for make in [Make::Lvsd, Make::Keepalived] {
        lab.step(make.name().trim());
        Pair::start(lab, &segment, make)
            .and_then(|mut pair| pair.live())
            .map_err(|e| format!("{}: {e}", make.name()))?;
    }
    Ok(())
}

struct Pair<'a> {
    lab: &'a Lab,
    segment: &'a Segment,
    make: Make,
    nodes: [Node; 2],
    /// nginx on the better director, and on the other one.
    nginx: Option<Daemon>,
    other: Option<Daemon>,
}

impl<'a> Pair<'a> {
    fn start(lab: &'a Lab, segment: &'a Segment, make: Make) -> Result<Pair<'a>, String> {
        let file = |priority: &str| {
            let text = match make {
                Make::Lvsd => include_str!("lvsd.conf"),
                Make::Keepalived => include_str!("keepalived.conf"),
            };
            text.replace("@priority", priority)
        };
        let nodes = [Node::new(lab, "d1", make, &file("150"))?, Node::new(lab, "d2", make, &file("100"))?];
        let (nginx, other) = (nginx(lab, "d1")?, nginx(lab, "d2")?);
        let mut pair = Pair { lab, segment, make, nodes, nginx: Some(nginx), other: Some(other) };
        let begun = Instant::now();
        for node in &mut pair.nodes {
            node.start(lab)?;
        }
        segment.holders.wait("d1", VIP.into(), true, begun, PATIENCE)?;
        Ok(pair)
    }

    fn live(&mut self) -> Verdict {
        pause(seconds(6));
        self.count_processes()?;
        for (what, limit) in [("stopped", REFUSED), ("hangs", HANGS), ("wrong status", REFUSED)] {
            let ill = Instant::now();
            match what {
                "stopped" => self.nginx.take().map_or(Ok(()), |nginx| nginx.end(Signal::TERM))?,
                "hangs" => self.signal_nginx(Signal::STOP)?,
                _ => fs::write(sick("d1"), "").map_err(|e| e.to_string())?,
            }
            let left = self.segment.holders.wait("d2", VIP.into(), true, ill, PATIENCE)?;
            self.took(&format!("nginx {what}"), left.saturating_duration_since(ill), limit)?;
            self.is_said(what)?;
            pause(seconds(3));
            let well = Instant::now();
            match what {
                "stopped" => self.nginx = Some(nginx(self.lab, "d1")?),
                "hangs" => self.signal_nginx(Signal::CONT)?,
                _ => fs::remove_file(sick("d1")).map_err(|e| e.to_string())?,
            }
            let back = self.segment.holders.wait("d1", VIP.into(), true, well, PATIENCE)?;
            self.took("nginx is back", back.saturating_duration_since(well), RETURN)?;
            pause(seconds(3));
        }
        self.reload()?;
        for node in &mut self.nodes {
            node.end(Signal::TERM)?;
        }
        // Killed, it would leave its worker behind, and with it the port.
        let mut all = self.nginx.take().into_iter().chain(self.other.take());
        all.try_for_each(|nginx| nginx.end(Signal::TERM))
    }

    fn took(&self, what: &str, took: Duration, limit: Duration) -> Verdict {
        let name = self.make.name().trim();
        self.lab.note(format!("{name}: {what}: the VIP moved after {:.2} s", took.as_secs_f64()));
        claim(took <= limit, || format!("{what}: within {limit:?}, not {took:?}"))
    }

    fn count_processes(&self) -> Verdict {
        let before = forks()?;
        pause(COUNTED);
        let forked = forks()? - before;
        let name = self.make.name().trim();
        self.lab.note(format!("{name}: {forked} processes in {COUNTED:?}, both directors and the lab"));
        match self.make {
            Make::Lvsd => claim(forked < 30, || format!("checks need no processes: {forked}")),
            Make::Keepalived => claim(forked >= 100, || format!("a script is a process a run: {forked}")),
        }
    }

    fn signal_nginx(&self, signal: Signal) -> Verdict {
        let pid = self.nginx.as_ref().map(Daemon::pid).ok_or("no nginx runs")?;
        let is_its = |id: &String| {
            let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            *id == pid.to_string() || status.lines().any(|line| line == format!("PPid:\t{pid}"))
        };
        let all: Vec<String> = processes("nginx")?.into_iter().filter(is_its).collect();
        claim(all.len() == 2, || format!("nginx and its worker, not {all:?}"))?;
        for pid in all.iter().filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
            kill_process(pid, signal).map_err(|e| format!("nginx: {e}"))?;
        }
        Ok(())
    }

    /// What lvsd says while nginx on d1 is ill.
    fn is_said(&mut self, what: &str) -> Verdict {
        if self.make != Make::Lvsd {
            return Ok(());
        }
        let why = match what {
            "stopped" => "HTTP_GET of 127.0.0.1:8080: connection refused",
            "hangs" => "no answer",
            _ => "status 503",
        };
        let host = &self.nodes[0].host;
        let now = status(host)?;
        let check = now.pointer("/director/vrrp_checks/0").unwrap_or(&Value::Null);
        let reason = check["reason"].as_str().unwrap_or_default();
        claim(check["is_up"] == false && reason.contains(why), || format!("{what}: {check}"))?;
        let instance = now.pointer("/router/instances/0").unwrap_or(&Value::Null);
        let track = instance.pointer("/tracks/0").unwrap_or(&Value::Null);
        claim(instance["priority"] == 90, || instance.to_string())?;
        claim(track["what"] == "check web" && track["level"] == "fails", || track.to_string())?;
        let directory = run_dir(host);
        let text = lvsd(host, &["status", "--run-dir", &directory])?.stdout;
        claim(text.lines().any(|l| l.starts_with("web") && l.contains("DOWN")), || text.clone())?;
        let text = lvsd(host, &["why", "web", "--run-dir", &directory])?;
        claim(text.code == Some(0) && text.stdout.contains("FAILED"), || format!("{text:?}"))?;
        let log = self.nodes[0].log();
        claim(log.contains("vrrp_check web: failed: HTTP_GET of 127.0.0.1:8080"), || log.clone())
    }

    /// A reload keeps what is known of a check that stays the same, and begins one that is new.
    fn reload(&mut self) -> Verdict {
        if self.make != Make::Lvsd {
            return Ok(());
        }
        let text = include_str!("lvsd.conf").replace("@priority", "150");
        let more = text.replace("track_check web\n", "track_check web\n    track_check ping weight -1\n");
        let more = format!(
            "{more}\nvrrp_check ping {{\n    PING_CHECK {{\n        connect_ip 10.77.0.21\n    }}\n}}\n"
        );
        let checks = |node: &Node| -> Result<Vec<(String, u64)>, String> {
            let now = status(&node.host)?;
            let all = now.pointer("/director/vrrp_checks").and_then(|all| all.as_array().cloned());
            let of = |check: &Value| {
                let name = check["name"].as_str().unwrap_or_default().to_owned();
                (check["is_up"] == true).then(|| (name, check["checks"].as_u64().unwrap_or_default()))
            };
            Ok(all.unwrap_or_default().iter().filter_map(of).collect())
        };
        let before = checks(&self.nodes[0])?;
        let begun = Instant::now();
        self.nodes[0].rewrite(&more)?;
        self.nodes[0].daemon()?.reload()?;
        let after = wait_for("the new check is well", PATIENCE, || {
            let now = checks(&self.nodes[0])?;
            if now.len() == 2 { Ok(now) } else { Err(format!("{now:?}")) }
        })?;
        same(
            "checks by name",
            &after.iter().map(|(name, _)| &**name).collect::<Vec<_>>(),
            &vec!["ping", "web"],
        )?;
        let runs = |all: &[(String, u64)]| all.iter().find(|(name, _)| name == "web").map(|(_, runs)| *runs);
        claim(runs(&after) >= runs(&before), || format!("web goes on: {before:?}, {after:?}"))?;
        pause(seconds(5));
        let moved = self.segment.holders.changes(VIP.into(), begun, Instant::now()).len();
        same("what came and went of the VIP", &moved, &0)
    }
}

/// nginx with /health, which fails while a file is there.
fn nginx(lab: &Lab, name: &str) -> Result<Daemon, String> {
    let _ = fs::remove_file(sick(name));
    let host = lab.host(name)?;
    let location = format!("if (-f {}) {{ return 503; }} return 200 \"OK\\n\";", sick(name));
    let server = format!("server {{ listen 127.0.0.1:8080; location /health {{ {location} }} }}");
    let nginx = Daemon::nginx_with(lab, &host, &format!("access_log off; {server}"))?;
    host.enter(|| {
        wait_for("nginx answers", seconds(10), || get_here("http://127.0.0.1:8080/health").map(drop))
    })?;
    Ok(nginx)
}

fn sick(name: &str) -> String {
    format!("/run/sick-{name}")
}

/// Processes made since the boot.
fn forks() -> Result<u64, String> {
    let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
    let count = text.lines().find_map(|line| line.strip_prefix("processes "));
    count.and_then(|count| count.trim().parse().ok()).ok_or_else(|| text.clone())
}
