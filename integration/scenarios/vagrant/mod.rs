//! The Vagrantfile's site: its machines, prepared by the very script that prepares them there, live here what docs/vagrant.md
//! proposes to break. What is left to Vagrant is what a machine is made of: disks, packages, systemd, whose part is
//! played here by running what the installed units say.

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use crate::lab::client::hits;
use crate::lab::daemon::{Daemon, READY, lvsd_binary};
use crate::lab::host::Host;
use crate::lab::machine::{Machine, said};
use crate::lab::topology::Topology;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const VAGRANTFILE: &str = include_str!("../../../Vagrantfile");
const VIP: &str = "192.168.56.100";
const INSTALLED: &str = "/usr/local/sbin/lvsd";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let machines = machines(lab)?;
    let find = |name: &str| {
        machines.iter().find(|m| m.host().name() == name).cloned().ok_or_else(|| format!("no machine {name}"))
    };
    let (client, d1, d2) = (find("client")?, find("d1")?, find("d2")?);
    let (rs2, rs3) = (find("rs2")?, find("rs3")?);
    let client = client.host();

    let mut nginx = Vec::new();
    for name in ["rs1", "rs2", "rs3"] {
        let machine = find(name)?;
        machine.obey("lvsd-real-server.service", "ExecStart")?;
        nginx.push(start_nginx(lab, &machine)?);
    }
    let one = start_director(lab, &d1)?;
    wait_for_vip(&d1)?;
    let two = start_director(lab, &d2)?;
    answers(client, "rs1=4 rs2=4 rs3=4")?;
    lab.step("what docs/vagrant.md says is seen is seen");

    let page = judge::output(client, &["curl", "-sS", "-m", "3", &format!("http://{VIP}/")])?;
    claim(page.starts_with("rs"), || format!("the page is a name: {page}"))?;
    claim(find("client")?.succeed(&["getent", "hosts", "vip"])?.contains(VIP), || {
        "vip has a name".to_owned()
    })?;

    lab.step("a web server is stopped, and started again");
    // A killed one would leave its workers to go on.
    nginx.remove(1).end(Signal::TERM)?;
    answers(client, "rs1=6 rs3=6")?;
    nginx.push(start_nginx(lab, &rs2)?);
    answers(client, "rs1=4 rs2=4 rs3=4")?;

    lab.step("the Master is killed: the other one serves, and stays Master when it returns");
    one.kill()?;
    wait_for_vip(&d2)?;
    claim(!holds(&d1)?, || "d1 still has the VIP".to_owned())?;
    answers(client, "rs1=4 rs2=4 rs3=4")?;
    let one = start_director(lab, &d1)?;
    answers(client, "rs1=4 rs2=4 rs3=4")?;
    claim(!holds(&d1)? && holds(&d2)?, || "the VIP moved for nothing".to_owned())?;

    lab.step("a real server leaks the VIP; it says what is wrong, and is made silent again");
    let status = ["lvsd", "real-server", "status", "-c", "/etc/lvsd/lvsd.yaml"];
    let quiet = rs3.run(&status)?;
    claim(quiet.status.code() == Some(0), || said(&quiet))?;
    rs3.succeed(&["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0", "net.ipv4.conf.lo.arp_ignore=0"])?;
    let leaking = rs3.run(&status)?;
    claim(leaking.status.code() == Some(2), || said(&leaking))?;
    claim(said(&leaking).contains("net/ipv4/conf/all/arp_ignore=1"), || said(&leaking))?;
    claim(said(&leaking).contains("eth1: ANSWERS its neighbours"), || said(&leaking))?;
    rs3.obey("lvsd-real-server.service", "ExecStop")?;
    rs3.obey("lvsd-real-server.service", "ExecStart")?;
    let quiet = rs3.run(&status)?;
    claim(quiet.status.code() == Some(0), || said(&quiet))?;

    lab.step("the directors are stopped, one after the other: the VIP goes with the last");
    two.end(Signal::TERM)?;
    wait_for_vip(&d1)?;
    answers(client, "rs1=4 rs2=4 rs3=4")?;
    one.end(Signal::TERM)?;
    claim(!holds(&d1)? && !holds(&d2)?, || "the VIP is left behind".to_owned())
}

/// The Vagrantfile's machines, configured by scripts/provision, twice: it must end in the same state.
fn machines(lab: &mut Lab) -> Result<Vec<Machine>, String> {
    judge::modprobe(&["ip_vs", "dummy", "sch_ingress", "cls_matchall", "act_mirred"])?;
    let mut listed = Vec::new();
    for line in VAGRANTFILE.lines().filter_map(|l| l.trim().strip_prefix("[\"")?.strip_suffix("\"],")) {
        match line.split("\", \"").collect::<Vec<_>>()[..] {
            [name, role, address] => listed.push((name, role, address)),
            _ => return Err(format!("Vagrantfile: a machine, not {line:?}")),
        }
    }
    same("machines", &listed.len(), &6)?;
    let mut topology = Topology::new(&["site"]);
    for (name, _, address) in &listed {
        topology.host(name).plug(name, "eth1", "site", &[&format!("{address}/24")]);
    }
    lab.build(&topology)?;

    let _ = fs::remove_file(INSTALLED);
    std::os::unix::fs::symlink(lvsd_binary(), INSTALLED).map_err(|e| format!("{INSTALLED}: {e}"))?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/provision");
    let script = script.to_string_lossy();
    let mut machines = Vec::new();
    for (name, role, address) in listed {
        let machine = Machine::of(&lab.host(name)?)?;
        let first = machine.succeed(&["bash", &script, "-c", role, address])?;
        claim(first.contains(&format!("{name} is a {role} of the site, {address}")), || first.clone())?;
        same("what it says again", &machine.succeed(&["bash", &script, "-c", role, address])?, &first)?;
        machines.push(machine);
    }
    let wrong =
        machines.first().ok_or("a machine")?.run(&["bash", &script, "-c", "director", "192.0.2.1"])?;
    claim(said(&wrong).contains("does not have the address 192.0.2.1"), || said(&wrong))?;
    lab.step("scripts/provision has prepared every machine");
    Ok(machines)
}

fn start_nginx(lab: &Lab, machine: &Machine) -> Result<Daemon, String> {
    let daemon = machine.start(lab, "nginx", &["nginx", "-g", "daemon off;"])?;
    wait_for("nginx is up", seconds(10), || {
        fs::read_to_string(machine.path("/run/nginx.pid")?).map(drop).map_err(|_| daemon.log_text())
    })?;
    Ok(daemon)
}

/// What lvsd.service starts, until it is ready.
fn start_director(lab: &Lab, machine: &Machine) -> Result<Daemon, String> {
    let words = machine.unit("lvsd.service", "ExecStart")?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut daemon = machine.start(lab, "lvsd", &words)?;
    daemon.wait_log(READY, seconds(30))?;
    Ok(daemon)
}

/// Twelve requests are answered by these, within some seconds.
fn answers(client: &Host, want: &str) -> Verdict {
    wait_for(&format!("twelve requests are answered by {want}"), seconds(20), || {
        let got = hits(client, 12, &format!("http://{VIP}/"))?.to_string();
        if got == want { Ok(()) } else { Err(got) }
    })
}

fn holds(machine: &Machine) -> Result<bool, String> {
    let addresses = judge::addresses(machine.host())?;
    Ok(addresses.get("eth1").is_some_and(|all| all.iter().any(|a| a.to_string() == VIP)))
}

fn wait_for_vip(machine: &Machine) -> Verdict {
    let what = format!("{} has the VIP", machine.host().name());
    wait_for(&what, seconds(10), || if holds(machine)? { Ok(()) } else { Err("not yet".to_owned()) })
}
