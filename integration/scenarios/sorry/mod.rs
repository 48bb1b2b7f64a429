//! All real servers die and the sorry server answers, alone; as soon as one is back, it answers, alone.

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::table::Table;
use crate::lab::topology::REAL_SERVERS;
use crate::lab::{Lab, Verdict, same};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let daemon = Daemon::lvsd(lab, &site.director, include_str!("keepalived.conf"))?;
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;

    lab.step("all die");
    for name in REAL_SERVERS {
        site.web(name)?.set_health_status(500);
    }
    site.wait_for_serving(&["10.1.0.29:80"])?;
    site.answers("sorry=12")?;

    lab.step("one returns");
    site.web("rs2")?.set_health_status(200);
    site.wait_for_serving(&["10.1.0.22:80"])?;
    site.answers("rs2=12")?;

    lab.step("the others return");
    for name in REAL_SERVERS {
        site.web(name)?.set_health_status(200);
    }
    site.wait_for_serving(&["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"])?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    daemon.end(Signal::TERM)?;
    same("the table after a stop", &site.table()?, &Table::default())
}
