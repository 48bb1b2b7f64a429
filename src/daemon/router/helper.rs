//! What may wait for the kernel's locks: reading the host and changing it, in a thread beside the router's.
//!
//! An advertisement must not be late because somebody else's interface comes up slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use tokio::sync::mpsc;

use super::realtime;
use crate::net::kernel::Kernel;
use crate::net::sysctl;
use crate::net::types::{Host, LinkIndex, Op, Refusal};
use crate::vrrp::settings::Realtime;

/// Jobs under way: one of each kind, and one that was just begun.
const UNDER_WAY: usize = 8;

const ALIVE: &str = "the helper ends when its queue does, and there is room for all jobs there can be";

/// A job.
pub(super) enum Job {
    /// Read all that the host has: its routes and rules, too, where routes of a protocol are asked for.
    Read(BTreeSet<u8>),
    /// Change it.
    Apply(Vec<Op>),
    /// Find out which of these links forward IPv6.
    FindRouters(BTreeMap<LinkIndex, String>),
}

/// What came of it.
pub(super) enum Done {
    /// Of [`Job::Read`].
    Host(Result<Host, String>),
    /// Of [`Job::Apply`]: what was refused, and what operators should know of the rest.
    Applied(Vec<Refusal>, Vec<String>),
    /// Of [`Job::FindRouters`].
    Routers(BTreeSet<LinkIndex>),
}

/// The helper.
pub(super) struct Helper {
    jobs: SyncSender<Job>,
    done: mpsc::Receiver<Done>,
}

impl Helper {
    /// Starts it, with a connection to the kernel in this thread's network namespace.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn start(realtime: &Realtime) -> Result<Helper, String> {
        let kernel = Kernel::open()?;
        let realtime = *realtime;
        // Full: never, since the router's thread begins the next job of a kind after the last one's end.
        let (jobs, inbox) = sync_channel(UNDER_WAY);
        // Full: the helper waits for the router's thread, which empties it.
        let (outbox, done) = mpsc::channel(UNDER_WAY);
        let work = move || {
            // What was denied, the router's thread has told.
            let _ = realtime::apply(&realtime);
            let mut kernel = kernel;
            while let Ok(job) = inbox.recv() {
                if outbox.blocking_send(perform(&mut kernel, job)).is_err() {
                    return;
                }
            }
        };
        let started = thread::Builder::new().name("lvsd-addresses".to_owned()).spawn(work);
        started.map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Helper { jobs, done })
    }

    /// Begins a job.
    pub(super) fn begin(&self, job: Job) {
        self.jobs.try_send(job).expect(ALIVE);
    }

    /// What came of the next job.
    pub(super) async fn done(&mut self) -> Done {
        self.done.recv().await.expect(ALIVE)
    }
}

fn perform(kernel: &mut Kernel, job: Job) -> Done {
    match job {
        Job::Read(protocols) if protocols.is_empty() => Done::Host(kernel.host()),
        Job::Read(protocols) => Done::Host(kernel.host_with_routes(&protocols)),
        Job::Apply(ops) => {
            let refusals = kernel.apply(&ops);
            Done::Applied(refusals, kernel.take_remarks())
        }
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
