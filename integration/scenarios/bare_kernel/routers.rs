//! Virtual routers alone on a kernel without IPVS, beside keepalived; then the first virtual server comes by a reload,
//! where the module cannot be loaded and where it can.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, Finished, READY, configure, control, lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::topology::Topology;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict, claim, judge, same};

const VIPS: [&str; 2] = ["10.1.0.100", "10.1.0.101"];
const METRICS: &str = "127.0.0.1:7112";
/// There once the kernel has IPVS.
const TABLE: &str = "/proc/net/ip_vs";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    let mut topology = Topology::new(&["front"]);
    topology.host("d1").plug("d1", "eth0", "front", &["10.1.0.11/24"]);
    topology.host("d2").plug("d2", "eth0", "front", &["10.1.0.12/24"]);
    topology.host("c").plug("c", "eth0", "front", &["10.1.0.50/24"]);
    lab.build(&topology)?;
    let (d1, d2) = (lab.host("d1")?, lab.host("d2")?);
    if Path::new(TABLE).exists() {
        return lab.skip("this kernel has IPVS built in: nothing to take away");
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = format!("/lib/modules/{release}/kernel/net/netfilter/ipvs");
    mount("tmpfs", &modules, "tmpfs", MountFlags::empty(), None).map_err(|e| format!("{modules}: {e}"))?;

    lab.step("lvsd and keepalived share two VIPs, and neither has IPVS");
    let webs = [Web::start(&d1)?, Web::start(&d2)?];
    let keepalived = Daemon::keepalived(lab, &d2, &routers("d2"))?;
    let file = configure(lab, &d1, &routers("d1"))?;
    let more = ["--metrics", METRICS];
    let mut daemon = Daemon::start_lvsd(lab, &d1, &file, &run_dir(&d1), &more)?;
    daemon.wait_log(READY, seconds(10))?;
    one_each(lab)?;
    let said = daemon.log_text();
    claim(!said.contains("IPVS") && !said.contains("ip_vs"), || format!("no word of IPVS: {said}"))?;
    is_well_without_ipvs(&d1)?;
    let doctor = lvsd(&d1, &["doctor", "-c", &file.to_string_lossy(), "--run-dir", &run_dir(&d1)])?.stdout;
    claim(!doctor.contains("IPVS") && !doctor.contains("ip_vs"), || doctor.clone())?;

    lab.step("HAProxy fails on one node, and the other takes over; it recovers, and the VIP returns");
    for (name, other) in [("d1", "d2"), ("d2", "d1")] {
        let trouble = format!("/run/haproxy-is-down-{name}");
        fs::write(&trouble, "").map_err(|e| e.to_string())?;
        wait_for("the other has it", seconds(10), || {
            answers(lab, VIPS[0], if name == "d1" { other } else { "d1" })
        })?;
        fs::remove_file(&trouble).map_err(|e| e.to_string())?;
        one_each(lab)?;
    }

    lab.step("each of them stops: its VIP goes over, and returns with it");
    keepalived.end(Signal::TERM)?;
    wait_for("d1 answers for VI_2", seconds(10), || answers(lab, VIPS[1], "d1"))?;
    let mut keepalived = Daemon::keepalived(lab, &d2, &routers("d2"))?;
    one_each(lab)?;
    daemon.end(Signal::TERM)?;
    wait_for("d2 answers for VI_1", seconds(10), || answers(lab, VIPS[0], "d2"))?;
    same("what is left on d1", &held(&d1)?, &Vec::new())?;
    let mut daemon = Daemon::start_lvsd(lab, &d1, &file, &run_dir(&d1), &more)?;
    one_each(lab)?;

    lab.step(
        "a reload brings the first virtual server, and the kernel has no module: refused, nothing changes",
    );
    let with_server = format!("{}\n{}", routers("d1"), include_str!("keepalived.conf"));
    configure(lab, &d1, &with_server)?;
    let before = states(&d1)?;
    let refused = order(&d1, "reload")?;
    lab.note(&refused.stderr);
    same("exit code", &refused.code, &Some(78))?;
    for words in ["virtual server 10.1.0.100:80 tcp needs IPVS", "modprobe ip_vs", "rejected"] {
        claim(refused.stderr.contains(words), || format!("no {words:?} in {}", refused.stderr))?;
    }
    pause(seconds(4));
    same("the instances", &states(&d1)?, &before)?;
    one_each(lab)?;
    is_well_without_ipvs(&d1)?;
    let told = order(&d1, "status")?.stdout;
    claim(told.contains("REJECTED") && told.contains("needs IPVS"), || told.clone())?;

    lab.step("keepalived dies of the same file, and its VIP goes over");
    lab.write("d2.keepalived.conf", &format!("{}\n{}", routers("d2"), include_str!("keepalived.conf")))?;
    keepalived.reload()?;
    keepalived.wait_exit(seconds(10))?;
    wait_for("d1 answers for VI_2", seconds(10), || answers(lab, VIPS[1], "d1"))?;
    let keepalived = Daemon::keepalived(lab, &d2, &routers("d2"))?;
    one_each(lab)?;

    lab.step("the module can be loaded: the same file is put in force, and no VIP moves");
    unmount(&modules, UnmountFlags::empty()).map_err(|e| format!("{modules}: {e}"))?;
    claim(!Path::new(TABLE).exists(), || "it is not loaded yet".to_owned())?;
    let before = states(&d1)?;
    let accepted = order(&d1, "reload")?;
    same("exit code", &accepted.code, &Some(0))?;
    wait_for("the table has the virtual server", seconds(10), || counts(&d1, (1, 1)))?;
    same("the instances", &states(&d1)?, &before)?;
    same("IPVS is used", &is_ipvs_used(&d1)?, &Some(true))?;

    lab.step("it dies, and its successor has virtual routers alone: what was left in the table is removed");
    daemon.kill()?;
    configure(lab, &d1, &routers("d1"))?;
    daemon = Daemon::start_lvsd(lab, &d1, &file, &run_dir(&d1), &more)?;
    wait_for("the table is empty", seconds(10), || counts(&d1, (0, 0)))?;
    one_each(lab)?;
    wait_for("IPVS is left alone", seconds(10), || match is_ipvs_used(&d1)? {
        Some(false) => Ok(()),
        other => Err(format!("is_ipvs_used: {other:?}")),
    })?;
    daemon.end(Signal::TERM)?;
    drop((keepalived, webs));
    Ok(())
}

fn is_ipvs_used(director: &Host) -> Result<Option<bool>, String> {
    Ok(status(director)?.pointer("/director/is_ipvs_used").and_then(|is| is.as_bool()))
}

fn routers(name: &str) -> String {
    let (first, second) = if name == "d1" { ("150", "100") } else { ("100", "150") };
    let text = include_str!("routers.conf").replace("@name", name);
    text.replace("@priority", first).replace("@other", second)
}

/// VI_1 is at d1, VI_2 at d2, for their neighbours.
fn one_each(lab: &Lab) -> Verdict {
    for (vip, name) in VIPS.into_iter().zip(["d1", "d2"]) {
        wait_for(&format!("{name} answers for {vip}"), seconds(15), || answers(lab, vip, name))?;
    }
    Ok(())
}

fn answers(lab: &Lab, vip: &str, name: &str) -> Verdict {
    let got = hits(&lab.host("c")?, 2, &format!("http://{vip}/"))?.to_string();
    if got == format!("{name}=2") { Ok(()) } else { Err(got) }
}

fn held(host: &Host) -> Result<Vec<&'static str>, String> {
    let all = judge::addresses(host)?;
    let own = all.get("eth0").ok_or("no eth0")?;
    Ok(VIPS.into_iter().filter(|vip| vip.parse().is_ok_and(|ip: IpAddr| own.contains(&ip))).collect())
}

fn counts(host: &Host, want: (usize, usize)) -> Verdict {
    let got = Table::read(host)?.counts();
    if got == want { Ok(()) } else { Err(format!("services and destinations: {got:?}")) }
}

fn order(host: &Host, command: &str) -> Result<Finished, String> {
    lvsd(host, &[command, "--control", &control(&run_dir(host))])
}

/// Name, state and number of transitions of each instance.
fn states(host: &Host) -> Result<Vec<String>, String> {
    let status = status(host)?;
    let all = status.pointer("/router/instances").and_then(|all| all.as_array()).ok_or("no instances")?;
    let words = ["name", "state", "transitions"];
    Ok(all
        .iter()
        .map(|i| words.map(|word| i.get(word).map(ToString::to_string).unwrap_or_default()).join(" "))
        .collect())
}

/// Status, health and metrics find nothing wrong, and the module has not been loaded.
fn is_well_without_ipvs(host: &Host) -> Verdict {
    let told = order(host, "status")?.stdout;
    claim(told.contains("kernel: IPVS is not used") && !told.contains("TROUBLE"), || told.clone())?;
    let (code, health) = judge::curl(host, &format!("http://{METRICS}/healthz"), seconds(5))?;
    same("health", &code, &200).map_err(|e| format!("{e}: {health}"))?;
    let (_, metrics) = judge::curl(host, &format!("http://{METRICS}/metrics"), seconds(5))?;
    for line in ["lvsd_kernel_up 1", "lvsd_kernel_errors_total 0", "lvsd_healthy 1", "lvsd_converged 1"] {
        claim(metrics.lines().any(|found| found == line), || format!("no {line} in {metrics}"))?;
    }
    claim(!Path::new(TABLE).exists(), || "the module was loaded".to_owned())
}
