//! `lvsd drain`, `undrain`, `disable`, `enable`, `weight`: an operator's orders about real servers.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use super::socket::{SocketArguments, misunderstood};
use super::{complain, print, print_raw};
use crate::config::VirtualServerId;
use crate::config::types::MAX_WEIGHT;
use crate::daemon::control::{Command, Ordered, Reply};
use crate::daemon::startup::Exit;
use crate::director::admin_override::{OverrideChange, Selector};
use crate::director::checkers::PoolMemberKey;
use crate::ipvs::types::Connections;
use crate::syntax::value;

#[derive(Debug, clap::Args)]
pub(super) struct Selection {
    /// The real server: ADDRESS or ADDRESS:PORT, in every virtual server that has it
    real_server: Selector,
    /// Only in this virtual server, as status writes it, e.g. "10.0.0.1:80 tcp"
    #[arg(long, value_name = "ID")]
    virtual_server: Option<VirtualServerId>,
    #[command(flatten)]
    socket: SocketArguments,
}

#[derive(Debug, clap::Args)]
pub(super) struct DrainArguments {
    #[command(flatten)]
    selection: Selection,
    /// Return when the last connection has ended, showing how many there are
    #[arg(long)]
    wait: bool,
    /// Cut what is left after this long, e.g. 90s, 5m, 2h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    deadline: Duration,
}

#[derive(Debug, clap::Args)]
pub(super) struct WeightArguments {
    #[command(flatten)]
    selection: Selection,
    /// 0 to 2147483647, or `default` for the configured weight
    #[arg(value_parser = weight)]
    weight: DesiredWeight,
}

/// A weight that an operator sets; None is the configured one.
#[derive(Clone, Copy, Debug)]
struct DesiredWeight(Option<u32>);

pub(super) fn drain(arguments: &DrainArguments) -> Exit {
    let ordered = match order(&arguments.selection, OverrideChange::Drain { limit: arguments.deadline }) {
        Ok(ordered) => ordered,
        Err(exit) => return exit,
    };
    if arguments.wait { wait(&arguments.selection.socket, &ordered) } else { report(&ordered, "drains") }
}

pub(super) fn change(selection: &Selection, change: OverrideChange) -> Exit {
    let what = match change {
        OverrideChange::Drain { .. } => "drains",
        OverrideChange::Undrain => "is not drained any more",
        OverrideChange::Disable => "is disabled",
        OverrideChange::Enable => "may serve",
        OverrideChange::Weight(_) => "has its new weight",
    };
    match order(selection, change) {
        Ok(ordered) => report(&ordered, what),
        Err(exit) => exit,
    }
}

pub(super) fn set_weight(arguments: &WeightArguments) -> Exit {
    change(&arguments.selection, OverrideChange::Weight(arguments.weight.0))
}

fn order(selection: &Selection, change: OverrideChange) -> Result<Vec<PoolMemberKey>, Exit> {
    let selector = Selector { virtual_server: selection.virtual_server, ..selection.real_server };
    match selection.socket.ask(Command::Order { selector, change })? {
        Reply::Ordered(Ordered { servers, remarks }) => {
            remarks.iter().for_each(|remark| complain(remark));
            Ok(servers)
        }
        _ => Err(misunderstood()),
    }
}

fn report(ordered: &[PoolMemberKey], what: &str) -> Exit {
    let line = |(id, at): &PoolMemberKey| format!("{at} of {id} {what}\n");
    print(&ordered.iter().map(line).collect::<String>());
    Exit::Ok
}

/// Shows live counts until every one of them has left the kernel.
fn wait(socket: &SocketArguments, ordered: &[PoolMemberKey]) -> Exit {
    let is_live = std::io::stdout().is_terminal();
    let mut shown = String::new();
    loop {
        let status = match socket.ask(Command::Status) {
            Ok(Reply::Status(status)) => status,
            Ok(_) => return misunderstood(),
            Err(exit) => return exit,
        };
        let servers = status.director.virtual_servers.iter();
        let reals =
            servers.flat_map(|s| s.real_servers.iter().map(move |r| ((s.virtual_server, r.real_server), r)));
        let left: Vec<_> =
            reals.filter(|(key, r)| ordered.contains(key) && r.kernel_weight.is_some()).collect();
        let count = |of: fn(&Connections) -> u32| {
            left.iter().map(|(_, r)| u64::from(of(&r.connections))).sum::<u64>()
        };
        let (active, closed) = (count(|c| c.active), count(|c| c.inactive));
        let line = format!("waiting: {active} active connections, {closed} closed ones the kernel remembers");
        if left.is_empty() {
            print_raw(if is_live && !shown.is_empty() { "\r\x1b[K" } else { "" });
            return report(ordered, "has left the kernel");
        }
        if left.iter().any(|(_, r)| r.order.is_none()) {
            complain("the order was withdrawn meanwhile");
            return Exit::Unavailable;
        }
        if line != shown {
            print_raw(if is_live { "\r\x1b[K" } else { "" });
            print(&if is_live { line.clone() } else { format!("{line}\n") });
            let _ = std::io::stdout().flush();
            shown = line;
        }
        pause();
    }
}

/// The daemon reads connection counts of leaving servers once a second; nothing announces them.
#[expect(clippy::disallowed_methods, reason = "a command line tool that polls what nothing announces")]
fn pause() {
    std::thread::sleep(Duration::from_millis(500));
}

fn time(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a time: write e.g. 90s, 5m or 2h");
    value::time(text).map(|t| t.duration).map_err(|_| bad())
}

fn weight(text: &str) -> Result<DesiredWeight, String> {
    if text == "default" {
        return Ok(DesiredWeight(None));
    }
    let weight = text.parse().ok().filter(|w| *w <= MAX_WEIGHT);
    weight
        .map(|w| DesiredWeight(Some(w)))
        .ok_or_else(|| format!("{text:?} is not 0 to {MAX_WEIGHT}, nor `default`"))
}
