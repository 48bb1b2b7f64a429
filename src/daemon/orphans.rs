//! Reaps processes that were left to this one: as process 1 of a container, or as their nearest subreaper.
//!
//! A check or script that leaves children behind makes them ours when it ends, and each that nothing waits for keeps a
//! place in the table of processes until fork fails. Children that this process made itself are waited for elsewhere,
//! at once; so one that is still there after several looks is an orphan, and taking it early is the only mistake.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, WaitOptions, getpid, waitid, waitpid};
use tracing::debug;

/// From one look to the next.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks in which an ended process is seen before it is taken. The event loop has had its turn between any two.
const PATIENCE: u8 = 3;

/// Reaps for ever, where there can be orphans. Runs in the main event loop: it is the one that reaps own children.
pub(crate) async fn reap() {
    if !is_heir() {
        return;
    }
    let mut seen = BTreeMap::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        look(&mut seen);
    }
}

/// Whether orphans become this process's children.
fn is_heir() -> bool {
    getpid().is_init() || rustix::process::child_subreaper().is_ok_and(|it| it.is_some())
}

/// One look: takes what was seen often enough, and remembers the rest.
fn look(seen: &mut BTreeMap<i32, u8>) {
    // Does not take it: whether any child has ended at all.
    let peek = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    if !matches!(waitid(WaitId::All, peek), Ok(Some(_))) {
        return seen.clear();
    }
    let ended = ended_children();
    seen.retain(|pid, _| ended.contains(pid));
    ended.into_iter().filter_map(Pid::from_raw).for_each(|pid| take_if_patient(pid, seen));
}

/// An ended child was seen; taken, when it was often enough.
fn take_if_patient(pid: Pid, seen: &mut BTreeMap<i32, u8>) {
    let number = pid.as_raw_pid();
    let times = seen.entry(number).or_default();
    *times += 1;
    if *times >= PATIENCE {
        seen.remove(&number);
        let taken = waitpid(Some(pid), WaitOptions::NOHANG);
        debug!("reaped process {number}, which was left to this one: {taken:?}");
    }
}

/// Children of this process that have ended and that nothing has waited for. Reads /proc.
fn ended_children() -> Vec<i32> {
    let own = getpid().as_raw_pid();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|pid| is_ended_child(*pid, own).unwrap_or(false)).collect()
}

fn is_ended_child(pid: i32, own: i32) -> Option<bool> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may contain anything.
    let rest = stat.get(stat.iter().rposition(|b| *b == b')')? + 1..)?;
    let mut words = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let (state, parent) = (words.next()?, words.next()?);
    Some(state == "Z" && parent.parse() == Ok(own))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn an_orphan_is_reaped_after_several_scans_and_not_before() {
        #[allow(clippy::zombie_processes, reason = "it is what the test is about")]
        let child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let own = getpid().as_raw_pid();
        while is_ended_child(pid, own) != Some(true) {
            std::thread::yield_now();
        }
        // Only this child: others are of tests that run beside this one.
        let (mut seen, mut looks) = (BTreeMap::new(), 0);
        while is_ended_child(pid, own) == Some(true) {
            looks += 1;
            assert!(looks <= PATIENCE, "{seen:?}");
            let orphan = Pid::from_raw(pid).unwrap();
            take_if_patient(orphan, &mut seen);
        }
        assert_eq!(looks, PATIENCE);
    }
}
