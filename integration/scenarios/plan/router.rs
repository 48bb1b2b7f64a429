//! A Master with a sync daemon: `plan` knows which of them runs where, and of two `lvs_sync_daemon` the first one
//! counts, as in keepalived.

use rustix::process::Signal;

use super::{THEN, unchanged};
use crate::lab::daemon::{Daemon, configure};
use crate::lab::host::Host;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge, same};

const ROUTER: &str = "global_defs {
    lvs_sync_daemon eth0 web id 5
    lvs_sync_daemon lo web id 6
}

vrrp_instance web {
    interface eth0
    virtual_router_id 51
    priority 150
    virtual_ipaddress {
        10.1.0.180/24
    }
}

";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    let site = lab.dr_site()?;
    let director = &site.director;
    let text = format!("{ROUTER}{THEN}");

    lab.step("keepalived runs the first one");
    let keepalived = Daemon::keepalived(lab, director, &text)?;
    runs_as_master(director)?;
    keepalived.end(Signal::TERM)?;

    lab.step("lvsd does, too, and has nothing to change as Master");
    let file = configure(lab, director, &text)?;
    let daemon = Daemon::lvsd(lab, director, &text)?;
    runs_as_master(director)?;
    let log = daemon.log_text();
    claim(log.contains("`lvs_sync_daemon` is given twice: the first one counts"), || log.clone())?;
    let planned = unchanged(director, &file)?;
    same(&format!("exit code: {planned:?}"), &planned.code, &Some(0))?;
    let other = lab.write("other.conf", &text.replace("web id 5", "web id 7"))?;
    let planned = unchanged(director, &other)?;
    claim(planned.stdout.contains("sync daemon (master)") && planned.stdout.contains("2 changes"), || {
        format!("another number is another sync daemon: {planned:?}")
    })?;
    daemon.end(Signal::TERM)
}

/// The first one's sender runs, and nothing else.
fn runs_as_master(director: &Host) -> Verdict {
    wait_for("the master sync daemon runs at eth0 as number 5", seconds(20), || {
        let found = judge::output(director, &["ipvsadm", "-l", "--daemon"])?;
        let is_it = found.contains("master sync daemon (mcast=eth0, syncid=5") && !found.contains("backup");
        if is_it { Ok(()) } else { Err(found) }
    })
}
