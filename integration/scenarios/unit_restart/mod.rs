//! The unit in examples/ under a real systemd: a restart hands over and the VIP never leaves, notify scripts live on, a
//! restart onto a file with a typo gives the VIP up at once, a stop takes everything away.
//!
//! systemd is the first process of a PID namespace. Its units have no default dependencies: nothing of a boot happens.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::lab::daemon::lvsd_binary;
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const UNIT: &str = include_str!("../../../examples/lvsd.service");
const DROP_IN: &str = include_str!("../../../examples/lvsd.service.d/vrrp.conf");
const BOOT: &str = include_str!("boot.sh");
/// Where the unit expects lvsd.
const INSTALLED: &str = "/usr/local/sbin/lvsd";
const FILE: &str = "/etc/lvsd-unit.conf";
const SCRIPT: &str = "/run/lvsd-unit/notify";
/// Only what the lab's machine lacks: a boot, ip_vs as a module of systemd's, a wait for the network.
const LAB: &str = "[Unit]
DefaultDependencies=no
Wants=
After=
[Service]
ExecStart=
ExecStart=/usr/local/sbin/lvsd run -c /etc/lvsd-unit.conf
StandardOutput=append:/run/lvsd-unit/log
StandardError=append:/run/lvsd-unit/log
";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    if fs::metadata("/usr/lib/systemd/systemd").is_err() {
        return lab.skip("there is no systemd here: nothing restarted the unit");
    }
    lab.standard()?;
    judge::modprobe(&["ip_vs"])?;
    let host = lab.host("d1")?;
    let before = judge::addresses(&host)?;
    fs::copy(lvsd_binary(), INSTALLED).map_err(|e| format!("{INSTALLED}: {e}"))?;
    let write = |path: &str, text: &str| {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        fs::create_dir_all(folder).and_then(|()| fs::write(path, text)).map_err(|e| format!("{path}: {e}"))
    };
    write("/run/systemd/system/lvsd.service", UNIT)?;
    write("/run/systemd/system/lvsd.service.d/vrrp.conf", DROP_IN)?;
    write("/run/systemd/system/lvsd.service.d/zz-lab.conf", LAB)?;
    write("/run/systemd/system/lab.target", "[Unit]\nDefaultDependencies=no\n")?;
    write("/run/lvsd-unit/boot.sh", BOOT)?;
    write(SCRIPT, "#!/bin/sh\nsleep 6\necho \"$3\" >> /run/lvsd-unit/notified\n")?;
    judge::run(&["chmod", "755", SCRIPT])?;
    write(FILE, CONF)?;
    let systemd = Systemd::boot(&host)?;

    lab.step("start");
    systemd.ctl(&["start", "lvsd.service"])?;
    let held = wait_for("its VIP is there", seconds(10), || {
        let now = judge::addresses(&host)?;
        if now == before { Err(log()) } else { Ok(now) }
    })?;

    lab.step("restart, while a notify script runs: the VIP stays, and the script ends by itself");
    let watch = Holding::begin(&host)?;
    systemd.ctl(&["restart", "lvsd.service"])?;
    wait_for("the next process goes on", seconds(10), || {
        if log().contains("handed over by a predecessor") { Ok(()) } else { Err(log()) }
    })?;
    pause(seconds(3));
    claim(!log().contains("Master -> "), log)?;
    watch.end("restart")?;
    wait_for("the first process's script", seconds(10), || {
        let text = fs::read_to_string("/run/lvsd-unit/notified").unwrap_or_default();
        if text.contains("MASTER") { Ok(()) } else { Err(text) }
    })?;

    lab.step("restart onto a file with a typo: the VIP goes at once, the operator is told");
    write(FILE, &CONF.replace("virtual_router_id", "virtual_ruter_id"))?;
    let begun = Instant::now();
    let _ = systemd.ctl(&["restart", "lvsd.service"]);
    wait_for("the VIP is gone", seconds(3), || {
        let now = judge::addresses(&host)?;
        if now == before { Ok(()) } else { Err(log()) }
    })?;
    lab.note(format!("gone after {:.2} s", begun.elapsed().as_secs_f64()));
    let said = log();
    claim(said.contains("the next start will fail") && said.contains("virtual_ruter_id"), || said.clone())?;

    lab.step("mended, started, stopped: nothing is left");
    write(FILE, CONF)?;
    systemd.ctl(&["start", "lvsd.service"])?;
    wait_for("its VIP is there", seconds(10), || {
        if judge::addresses(&host)? == held { Ok(()) } else { Err(log()) }
    })?;
    systemd.ctl(&["stop", "lvsd.service"])?;
    same("the addresses", &judge::addresses(&host)?, &before)
}

fn log() -> String {
    fs::read_to_string("/run/lvsd-unit/log").unwrap_or_default()
}

/// A service manager, killed with all it started when dropped.
struct Systemd {
    child: Child,
    first: String,
}

impl Systemd {
    fn boot(host: &Host) -> Result<Systemd, String> {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "sh",
            "/run/lvsd-unit/boot.sh",
        ]);
        let child = host.start(command.stdin(Stdio::null()))?;
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let first = wait_for("systemd", seconds(5), || {
            let text = fs::read_to_string(&children).map_err(|e| format!("{children}: {e}"))?;
            text.split_ascii_whitespace().next().map(str::to_owned).ok_or_else(|| "no child".to_owned())
        })?;
        let this = Systemd { child, first };
        wait_for("systemd answers", seconds(20), || {
            this.ctl(&["list-units"]).map_err(|e| {
                format!("{e}\n{}", fs::read_to_string("/run/lvsd-unit/systemd.log").unwrap_or_default())
            })
        })?;
        Ok(this)
    }

    fn ctl(&self, words: &[&str]) -> Verdict {
        let command = ["nsenter", "-t", &self.first, "-m", "-p", "-n", "systemctl", "--no-pager"];
        judge::run(&[&command[..], words].concat()).map(drop)
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks whether the addresses change.
struct Holding(crate::lab::vrrp::holders::Holders, Instant);

impl Holding {
    fn begin(host: &Host) -> Result<Holding, String> {
        Ok(Holding(crate::lab::vrrp::holders::Holders::start(std::slice::from_ref(host))?, Instant::now()))
    }

    fn end(&self, what: &str) -> Verdict {
        let vip = std::net::IpAddr::from([10, 1, 0, 100]);
        let changes = self.0.changes(vip, self.1, Instant::now());
        claim(changes.is_empty(), || format!("{what}: the VIP does not move: {changes:?}"))
    }
}
