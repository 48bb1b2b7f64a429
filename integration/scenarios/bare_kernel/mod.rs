//! A kernel without IPVS: `lvsd run` exits with 69 and the next step; where the module only is not loaded,
//! lvsd loads it.

mod routers;

pub(super) use routers::run as run_routers;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::lab::daemon::{Daemon, configure, lvsd, run_dir};
use crate::lab::table::Table;
use crate::lab::topology::Topology;
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut topology = Topology::new(&["front"]);
    topology.host("d1").plug("d1", "eth0", "front", &["10.1.0.11/24"]);
    lab.build(&topology)?;
    let host = lab.host("d1")?;
    if std::path::Path::new("/proc/net/ip_vs").exists() {
        return lab.skip("this kernel has IPVS built in: nothing to take away");
    }
    let file = configure(lab, &host, include_str!("keepalived.conf"))?;

    lab.step("no module");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = format!("/lib/modules/{release}/kernel/net/netfilter/ipvs");
    mount("tmpfs", &modules, "tmpfs", MountFlags::empty(), None).map_err(|e| format!("{modules}: {e}"))?;
    let mut daemon = Daemon::start_lvsd(lab, &host, &file, &run_dir(&host), &[])?;
    same("exit code", &daemon.wait_exit(seconds(15))?, &69)?;
    let said = daemon.log_text();
    claim(said.contains("ip_vs") && said.contains("modprobe"), || format!("it names the next step: {said}"))?;
    unmount(&modules, UnmountFlags::empty()).map_err(|e| format!("{modules}: {e}"))?;

    lab.step("a module that is not loaded");
    let file = file.to_string_lossy().into_owned();
    let plan = lvsd(&host, &["plan", "-c", &file, "--run-dir", &run_dir(&host)])?;
    same("exit code of a plan", &plan.code, &Some(2))?;
    claim(!std::path::Path::new("/proc/net/ip_vs").exists(), || "a plan loads no module".to_owned())?;
    let daemon = Daemon::lvsd(lab, &host, include_str!("keepalived.conf"))?;
    same("services and destinations", &Table::read(&host)?.counts(), &(1, 1))?;
    daemon.end(Signal::TERM)
}
