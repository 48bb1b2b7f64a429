//! What may wait for the kernel's locks, in two threads beside the router's: one changes the host, one does the rest.
//!
//! An advertisement must not be late because another program's interface comes up slowly, and a takeover must not wait
//! for a dump of ten thousand interfaces. Neither is a real-time thread: RLIMIT_RTTIME counts time without a pause, and
//! a long dump has none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use socket2::Socket;
use tokio::sync::mpsc;

use super::groups::Groups;
use super::{realtime, socket};
use crate::net::kernel::Kernel;
use crate::net::sysctl;
use crate::net::types::{Host, LinkIndex, Op, Refusal};
use crate::vrrp::binding::sockets::SocketFailure;
use crate::vrrp::io::Endpoint;
use crate::vrrp::settings::Realtime;

/// Jobs under way: one of each kind, and one that was just begun.
const UNDER_WAY: usize = 8;

const ALIVE: &str = "a helper ends when its queue does, and there is room for all jobs there can be";

/// A job; of each kind one at a time.
pub(super) enum Job {
    /// Read all that the host has: its routes and rules, too, where routes of a protocol are asked for.
    Read(BTreeSet<u8>),
    Apply(Vec<Op>),
    /// Find out which of these links forward IPv6.
    FindRouters(BTreeMap<LinkIndex, String>),
    /// Open sockets that receive, by what they are known by.
    Open(Vec<(u64, Endpoint)>),
    Close(Vec<OwnedFd>),
    /// Be a member of exactly these groups; None: try again what failed.
    Join(Option<BTreeSet<(LinkIndex, IpAddr)>>),
}

/// What came of it.
pub(super) enum Done {
    /// Of [`Job::Read`].
    Host(Result<Host, String>),
    /// Of [`Job::Apply`]: what was refused, and what operators should know of the rest.
    Applied(Vec<Refusal>, Vec<String>),
    /// Of [`Job::FindRouters`].
    Routers(BTreeSet<LinkIndex>),
    /// Of [`Job::Open`].
    Opened(Vec<(u64, Result<Socket, SocketFailure>)>),
    /// Of [`Job::Close`].
    Closed,
    /// Of [`Job::Join`]: what is new to operators.
    Joined(Vec<String>),
}

pub(super) struct Helper {
    changes: SyncSender<Job>,
    others: SyncSender<Job>,
    done: mpsc::Receiver<Done>,
}

impl Helper {
    /// Starts them, each with a connection to the kernel in this thread's network namespace.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start(realtime: &Realtime) -> Result<Helper, String> {
        // Full: a helper waits for the router's thread, which empties it.
        let (outbox, done) = mpsc::channel(UNDER_WAY);
        let changes = spawn("lvsd-addresses", *realtime, outbox.clone())?;
        let others = spawn("lvsd-host", *realtime, outbox)?;
        Ok(Helper { changes, others, done })
    }

    /// Begins a job.
    pub(super) fn begin(&self, job: Job) {
        let jobs = if matches!(job, Job::Apply(_)) { &self.changes } else { &self.others };
        jobs.try_send(job).expect(ALIVE);
    }

    /// What came of the next job.
    pub(super) async fn done(&mut self) -> Done {
        self.done.recv().await.expect(ALIVE)
    }
}

fn spawn(name: &str, realtime: Realtime, outbox: mpsc::Sender<Done>) -> Result<SyncSender<Job>, String> {
    let mut kernel = Kernel::open()?;
    // Full: never, since the router's thread begins the next job of a kind after the last one's end.
    let (jobs, inbox) = sync_channel(UNDER_WAY);
    let work = move || {
        realtime::assist(&realtime);
        let mut groups = Groups::default();
        while let Ok(job) = inbox.recv() {
            if outbox.blocking_send(perform(&mut kernel, &mut groups, job)).is_err() {
                return;
            }
        }
    };
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(jobs)
}

fn perform(kernel: &mut Kernel, groups: &mut Groups, job: Job) -> Done {
    match job {
        Job::Read(protocols) if protocols.is_empty() => Done::Host(kernel.host()),
        Job::Read(protocols) => Done::Host(kernel.host_with_routes(&protocols)),
        Job::Apply(ops) => {
            let refusals = kernel.apply(&ops);
            Done::Applied(refusals, kernel.take_remarks())
        }
        Job::Open(endpoints) => Done::Opened(
            endpoints.into_iter().map(|(key, endpoint)| (key, socket::receiving(&endpoint))).collect(),
        ),
        Job::Close(sockets) => {
            drop(sockets);
            Done::Closed
        }
        Job::Join(wanted) => Done::Joined(match wanted {
            Some(wanted) => groups.want(wanted),
            None => groups.tend(),
        }),
        Job::FindRouters(links) => {
            let forwards = |name: &String| {
                sysctl::read_of_link("ipv6", name, "forwarding").is_ok_and(|value| value.trim() != "0")
            };
            Done::Routers(
                links.into_iter().filter(|(_, name)| forwards(name)).map(|(index, _)| index).collect(),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RLIMIT_RTTIME is the process's: a long dump of a real-time helper would make an ordinary thread of the router's.
    #[test]
    fn helpers_of_a_real_time_thread_are_ordinary_threads() {
        let found = thread::spawn(|| {
            let wanted = Realtime { priority: 1, ..Realtime::default() };
            // Without the permission to be real-time there is nothing to pass on.
            realtime::schedule(0, wanted.priority).ok()?;
            let mut helper = Helper::start(&wanted).unwrap();
            helper.begin(Job::Apply(Vec::new()));
            helper.begin(Job::Close(Vec::new()));
            // They have begun to work, under their names.
            for _ in 0..2 {
                helper.done.blocking_recv().unwrap();
            }
            let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten().map(|entry| entry.path());
            let seen = |folder: std::path::PathBuf| {
                let stat = std::fs::read_to_string(folder.join("stat")).ok()?;
                let (name, fields) = stat.split_once('(')?.1.rsplit_once(')')?;
                let policy = fields.split_whitespace().nth(38)?.to_owned();
                Some((name.to_owned(), policy))
            };
            let is_helpers = |name: &str| matches!(name, "lvsd-addresses" | "lvsd-host");
            Some(threads.filter_map(seen).filter(|(name, _)| is_helpers(name)).collect::<BTreeSet<_>>())
        });
        let Some(found) = found.join().unwrap() else { return };
        let ordinary =
            ["lvsd-addresses", "lvsd-host"].map(|name| (name.to_owned(), libc::SCHED_OTHER.to_string()));
        assert_eq!(found, ordinary.into());
    }
}
