//! Every scheduler of lvsd's table in one file, one virtual server each. Those the kernel has (ipvsadm tries
//! on another host) are programmed and carry traffic; a virtual server whose scheduler the kernel lacks is
//! degraded alone: the log names it, the others are untouched.

use std::fmt::Write as _;

use lvsd::internals::ipvs::SCHEDULERS;
use rustix::process::Signal;

use crate::lab::client::get;
use crate::lab::daemon::Daemon;
use crate::lab::table::{Table, ipvsadm, wait_for_table};
use crate::lab::topology::VIP;
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict, claim, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.plain_site()?;
    lab.nat_real_servers()?;
    let judge = lab.host("d2")?;

    let mut conf = String::new();
    let mut want = String::new();
    let mut missing = Vec::new();
    for (scheduler, port) in SCHEDULERS.iter().zip(8001..) {
        let name = scheduler.name;
        let _ = writeln!(
            conf,
            "virtual_server {VIP} {port} {{\n    lb_algo {name}\n    lb_kind NAT\n    protocol TCP\n    \
             real_server 10.3.0.21 80 {{\n    }}\n}}"
        );
        if ipvsadm(&judge, &format!("-A -t {VIP}:{port} -s {name}")).is_ok() {
            let _ =
                writeln!(want, "-A -t {VIP}:{port} -s {name}\n-a -t {VIP}:{port} -r 10.3.0.21:80 -m -w 1");
        } else {
            missing.push((name, port));
        }
    }
    lab.step(format!("the kernel lacks {missing:?}"));
    claim(SCHEDULERS.len() - missing.len() >= 10, || "a kernel with nearly all schedulers".to_owned())?;

    let mut daemon = Daemon::lvsd(lab, &site.director, &conf)?;
    wait_for_table(&site.director, "every scheduler the kernel has", seconds(20), &Table::parse(&want)?)?;
    for (scheduler, port) in SCHEDULERS.iter().zip(8001..) {
        if missing.contains(&(scheduler.name, port)) {
            daemon.wait_log(&format!("{VIP}:{port}"), seconds(10))?;
            daemon.wait_log(scheduler.name, seconds(10))?;
        } else {
            let answer = get(&site.client, &format!("http://{VIP}:{port}/"))?;
            same(&format!("{} carries traffic", scheduler.name), &answer.body.as_str(), &"rs1")?;
        }
    }
    claim(daemon.is_running(), || format!("a missing scheduler ends nothing:\n{}", daemon.log_text()))?;
    daemon.end(Signal::TERM)?;
    same("the table after a stop", &site.table()?, &Table::default())
}
