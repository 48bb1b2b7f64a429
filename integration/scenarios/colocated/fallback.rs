//! A kernel that cannot mark packets on arrival: the service is there only while its host holds the VIP, which saves the
//! clients, and lvsd says what it does not save.

use std::fs;

use rustix::process::Signal;

use super::pair::{BY_ADDRESS, Director, Pair};
use crate::lab::daemon::{lvsd, run_dir, status};
use crate::lab::host::Host;
use crate::lab::table::Table;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, judge};

const LVSD: Director = Director::Script;
/// One of the modules that marks need, made impossible.
const BARRED: &str = "install cls_flower /bin/false\nblacklist cls_flower\n";

pub(crate) fn run(lab: &mut Lab) -> Verdict {
    fs::write("/etc/modprobe.d/lab-barred.conf", BARRED).map_err(|e| format!("modprobe.d: {e}"))?;
    let pair = Pair::build(lab)?;
    LVSD.vip_to(&pair, &pair.a)?;
    let mut daemons = [LVSD.start(lab, &pair.a)?, LVSD.start(lab, &pair.b)?];
    for daemon in &mut daemons {
        daemon.wait_log("arriving packets cannot be marked", seconds(30))?;
    }
    for (active, standby) in [(&pair.a, &pair.b), (&pair.b, &pair.a), (&pair.a, &pair.b)] {
        LVSD.vip_to(&pair, active)?;
        wait_for("only the active node has a table", seconds(30), || {
            let (has, has_not) = (Table::read(active)?, Table::read(standby)?);
            let is_so = has.serving(BY_ADDRESS).len() == 2 && has_not.0.is_empty();
            if is_so { Ok(()) } else { Err(format!("{has}{has_not}")) }
        })?;
        pair.clients_ask()?.judge(lab, &format!("{} is active: clients", active.name()))?;
        pair.asks_itself(standby)?.judge(lab, &format!("{} stands by: its own", standby.name()))?;
        for host in [active, standby] {
            let file = lab.out().join(format!("{}.conf", host.name()));
            let plan = lvsd(host, &["plan", "-c", &file.to_string_lossy(), "--run-dir", &run_dir(host)])?;
            claim(plan.code == Some(0), || format!("{}: plan: nothing to change: {plan:?}", host.name()))?;
        }
        says(active, "a request to the VIP made on this host itself may fail then")?;
    }
    let filters = judge::output(&pair.a, &["tc", "filter", "show", "dev", "eth0", "ingress"])?;
    claim(filters.is_empty(), || filters.clone())?;
    daemons.into_iter().try_for_each(|daemon| daemon.end(Signal::TERM))
}

fn says(host: &Host, words: &str) -> Verdict {
    let said = status(host)?.to_string();
    claim(said.contains(words), || said.clone())
}
