//! A real server dies in every way the checker must see: refusing (RST), hanging, silent (cut cable), wrong
//! status, wrong body. Each time it leaves the table, the others answer everything, the status says why, and
//! it returns when it is well.

use rustix::process::Signal;

use crate::lab::daemon::{Daemon, status};
use crate::lab::site::Site;
use crate::lab::{Lab, Verdict, claim};

const ALL: [&str; 3] = ["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"];

/// A way to fall ill, and back.
struct Illness {
    name: &'static str,
    /// What the status must mention while it lasts; empty: nothing in particular.
    reason: &'static str,
    begin: fn(&Lab, &mut Site) -> Verdict,
    end: fn(&Lab, &mut Site) -> Verdict,
}

const ILLNESSES: &[Illness] = &[
    Illness {
        name: "RST",
        reason: "refused",
        begin: |_, site| {
            site.web("rs1")?.stop();
            Ok(())
        },
        end: |_, site| site.web("rs1")?.resume(),
    },
    Illness {
        name: "wrong status",
        reason: "503",
        begin: |_, site| {
            site.web("rs1")?.set_health_status(503);
            Ok(())
        },
        end: |_, site| {
            site.web("rs1")?.set_health_status(200);
            Ok(())
        },
    },
    Illness {
        name: "wrong digest",
        reason: "digest",
        begin: |_, site| {
            site.web("rs1")?.set_health_body("not OK\n");
            Ok(())
        },
        end: |_, site| {
            site.web("rs1")?.set_health_body("OK\n");
            Ok(())
        },
    },
    Illness {
        name: "accepts and says nothing",
        reason: "",
        begin: |_, site| {
            site.web("rs1")?.hang(true);
            Ok(())
        },
        end: |_, site| {
            site.web("rs1")?.hang(false);
            Ok(())
        },
    },
    Illness {
        name: "silence",
        reason: "",
        begin: |lab, _| lab.cut("rs1", "eth0"),
        end: |lab, _| lab.mend("rs1", "eth0"),
    },
];

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    site.expire_nodest_conn()?;
    let daemon = Daemon::lvsd(lab, &site.director, include_str!("keepalived.conf"))?;
    site.wait_for_serving(&ALL)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    for illness in ILLNESSES {
        lab.step(illness.name);
        (illness.begin)(lab, &mut site)?;
        site.wait_for_serving(&["10.1.0.22:80", "10.1.0.23:80"])?;
        site.answers("rs2=6 rs3=6")?;
        let said = status(&site.director)?.to_string();
        claim(said.contains(illness.reason), || format!("the status says {:?}: {said}", illness.reason))?;
        (illness.end)(lab, &mut site)?;
        site.wait_for_serving(&ALL)?;
        site.answers("rs1=4 rs2=4 rs3=4")?;
    }
    daemon.end(Signal::TERM)
}
