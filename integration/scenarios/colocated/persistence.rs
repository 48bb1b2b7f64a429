//! Where clients go after a failover: with the kernel's sync daemons on both nodes, to the node that answered them
//! before; without, wherever the other node's scheduler sends them.

use rustix::process::Signal;

use super::pair::{Director, Pair, Round, URL, configuration, is_marked};
use crate::lab::client::get_from;
use crate::lab::daemon::Daemon;
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::wait::{pause, seconds, wait_for};
use crate::lab::{Lab, Verdict, claim};

/// The kernel sends what it gathered every two seconds, and once more for good measure.
const TOLD: u64 = 5;

/// Templates live for 50 seconds, closed connections for two minutes.
const FORGOTTEN: u64 = 200;
/// A client that asks only then.
const STRANGER: [u8; 4] = [192, 168, 1, 50];

/// Clients stay, and without the daemons they do not.
pub(super) fn holds(lab: &Lab, pair: &Pair) -> Verdict {
    let mut lines = Vec::new();
    for has_sync in [false, true] {
        let [stopped, killed] = failovers(lab, pair, has_sync)?;
        let how = if has_sync { "with lvs_sync_daemon" } else { "without" };
        lines.push(format!(
            "{how:22} clients that stay where they were: {stopped} of 20 after a stop of the master, {killed} \
             of 20 after \
             kill -9"
        ));
        let is_expected = match has_sync {
            true => (stopped, killed) == (20, 20),
            false => stopped < 20 && killed < 20,
        };
        claim(is_expected, || lines.join("\n"))?;
    }
    lab.note(lines.join("\n"));
    Ok(())
}

/// How many clients stay at their node after the master was stopped, and after it was killed.
fn failovers(lab: &Lab, pair: &Pair, has_sync: bool) -> Result<[usize; 2], String> {
    let mut stay = Vec::new();
    for signal in [Signal::TERM, Signal::KILL] {
        pair.bare()?;
        // The kernel remembers clients beyond the life of a table, and a table made anew finds them.
        pause(seconds(FORGOTTEN));
        let [a, b] = [start(lab, &pair.a, has_sync)?, start(lab, &pair.b, has_sync)?];
        Director::Lvsd.vip_to(pair, &pair.a)?;
        for host in [&pair.a, &pair.b] {
            wait_for(&format!("{} is whole", host.name()), seconds(30), || is_marked(host))?;
            if has_sync {
                let role = if host.name() == "a" { "master" } else { "backup" };
                wait_for(&format!("{} is sync {role}", host.name()), seconds(10), || {
                    let daemons = judge::output(host, &["ipvsadm", "-l", "--daemon"])?;
                    if daemons.contains(role) { Ok(()) } else { Err(daemons) }
                })?;
            }
        }
        let before = well(pair)?;
        pause(seconds(TOLD));
        match signal {
            Signal::TERM => a.end(Signal::TERM)?,
            _ => a.kill().map(drop)?,
        }
        Director::Lvsd.vip_to(pair, &pair.b)?;
        // A director without the persistence entries counts anew: with one more client first, all clients go to the
        // other node.
        pair.client.enter(|| get_from(Some(STRANGER.into()), URL).map(drop))?;
        let after = well(pair)?;
        lab.step(format!("persistence, sync daemon {has_sync}, {signal:?}: {before} / {after}"));
        let same = before.by_client.iter().filter(|(client, node)| after.by_client.get(client) == Some(node));
        stay.push(same.count());
        b.end(Signal::TERM)?;
        // What a killed one left: the next start takes it over, and removes it.
        if signal == Signal::KILL {
            start(lab, &pair.a, has_sync)?.end(Signal::TERM)?;
        }
    }
    stay.try_into().map_err(|_| "two failovers".to_owned())
}

fn well(pair: &Pair) -> Result<Round, String> {
    let round = pair.clients_ask()?;
    claim(round.failed == 0 && round.answered.len() == 2, || round.to_string())?;
    Ok(round)
}

fn start(lab: &Lab, host: &Host, has_sync: bool) -> Result<Daemon, String> {
    let text = configuration(host);
    let more = "global_defs {\n    lvs_sync_daemon eth0 VI_1";
    let text = if has_sync { text.replacen("global_defs {", more, 1) } else { text.to_owned() };
    Daemon::lvsd(lab, host, &text)
}
