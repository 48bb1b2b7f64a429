//! `inhibit_on_failure`: a real server that fails stays in the table with weight 0, gets no new connection,
//! and has its weight back when it is well.

use rustix::process::Signal;

use crate::lab::daemon::Daemon;
use crate::lab::table::{Table, wait_for_table};
use crate::lab::wait::seconds;
use crate::lab::{Lab, Verdict};

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut site = lab.dr_site()?;
    let daemon = Daemon::lvsd(lab, &site.director, include_str!("keepalived.conf"))?;
    wait_for_table(&site.director, "all have their weight", seconds(15), &table([3, 3, 3])?)?;

    lab.step("one fails");
    site.web("rs2")?.set_health_status(500);
    wait_for_table(&site.director, "the ill one is quiesced", seconds(15), &table([3, 0, 3])?)?;
    site.answers("rs1=6 rs3=6")?;

    lab.step("it is well again");
    site.web("rs2")?.set_health_status(200);
    wait_for_table(&site.director, "it has its weight back", seconds(15), &table([3, 3, 3])?)?;
    site.answers("rs1=4 rs2=4 rs3=4")?;
    daemon.end(Signal::TERM)
}

fn table(weights: [u32; 3]) -> Result<Table, String> {
    let mut text = "-A -t 10.1.0.100:80 -s rr\n".to_owned();
    for (weight, number) in weights.into_iter().zip(21..) {
        text.push_str(&format!("-a -t 10.1.0.100:80 -r 10.1.0.{number}:80 -g -w {weight}\n"));
    }
    Table::parse(&text)
}
