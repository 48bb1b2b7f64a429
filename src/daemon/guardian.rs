//! The guardian: a process that outlives the daemon by a moment, to send priority 0 and remove its addresses.
//!
//! A Master that dies without priority 0 costs its peers a master-down interval, and keeps answering for addresses that
//! another router has by then. So the router publishes a crash plan whenever it changes: what to send and what to
//! remove. The plan lies in memory shared with the guardian; a socket that closes reports the daemon's death. A planned end
//! disarms the guardian first. It is forked before there are threads, because a reload may bring the first VIP; until then
//! it locks no memory. It keeps nothing of the daemon's but that memory and socket, and blocks all signals: what a service
//! manager sends to the whole group concerns the daemon. It decides nothing.
//!
//! It also outlives a hand-over until the next process has taken over ([`claim`]): if that process fails to start or is
//! late, a peer takes the addresses, and they must not be on two hosts. It also limits the daemon's silence, because peers
//! take over from a thread that hangs.

pub(crate) mod claim;
mod end;
mod page;
mod plan;

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, WaitOptions, waitpid};

use self::claim::HandoverPlace;
use self::page::Page;
use self::plan::PlanWriter;
use super::clock;
use crate::time::Instant;
use crate::vrrp::io::CrashPlan;

/// Its name as a process.
pub const NAME: &str = "lvsd: guardian";

/// There is something to guard.
const ENGAGE: u8 = 0;
/// The daemon is about to hand over; answered by 1 when the guardian listens for the next process.
const HAND_OVER: u8 = 1;
/// The daemon has moved into another network namespace.
const FOLLOW: u8 = 2;
/// How long the daemon waits for that answer.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// The daemon's hold on its guardian. Dropped while armed, as by a panic, it is the daemon's death.
#[derive(Debug)]
pub struct Guardian {
    page: &'static Page,
    writer: PlanWriter,
    /// The last plan was not empty.
    is_armed: bool,
    pid: Pid,
    /// When this end closes, the guardian knows that the daemon died.
    alive: OwnedFd,
}

impl Guardian {
    /// Forks it, in this thread's network namespace. Hand-overs happen in the run directory.
    ///
    /// # Errors
    /// When there are threads already, or the system refuses.
    pub fn spawn(run_dir: &Path) -> io::Result<Guardian> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("a guardian is forked before there are threads"));
        }
        let page = Page::map()?;
        let place = HandoverPlace::of(run_dir).ok();
        let (life, alive) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        match fork()? {
            Some(pid) => Ok(Guardian { page, writer: PlanWriter::default(), is_armed: false, pid, alive }),
            None => {
                // In no case does this process become a second daemon.
                let keep = life.as_raw_fd();
                let ended = std::panic::catch_unwind(|| end::await_death(page, &life, keep, place.as_ref()));
                std::process::exit(i32::from(ended.is_err()));
            }
        }
    }

    /// There is something to guard: it makes sure of what it will need.
    ///
    /// # Errors
    /// When it does not get the message.
    pub fn engage(&self) -> io::Result<()> {
        self.beat(clock::now());
        rustix::io::write(&self.alive, &[ENGAGE]).map(drop).map_err(io::Error::from)
    }

    /// The daemon has moved into another network namespace: so does it.
    ///
    /// # Errors
    /// When it does not get the message.
    pub fn follow(&self) -> io::Result<()> {
        rustix::io::write(&self.alive, &[FOLLOW]).map(drop).map_err(io::Error::from)
    }

    /// The daemon is alive: comes at least as often as an advertisement.
    pub fn beat(&self, now: Instant) {
        self.page.beat(now);
    }

    /// From now on this is what it does when the daemon dies.
    ///
    /// # Errors
    /// When it is longer than the memory they share: then what fits is done, priority 0 first.
    pub fn publish(&mut self, crash_plan: &CrashPlan) -> io::Result<()> {
        self.is_armed = !crash_plan.priority_zero.is_empty() || !crash_plan.addresses.is_empty();
        let is_whole = self.page.publish(self.writer.write(crash_plan));
        self.page.allow_silence(crash_plan.silence);
        if is_whole { Ok(()) } else { Err(io::Error::other("the crash plan is longer than its page")) }
    }

    /// From now on it does nothing, until a plan is published again: a planned end, a hand-over,
    /// `vrrp_on_crash hold`.
    pub fn disarm(&self) {
        self.page.withdraw();
    }

    /// What will keep it from acting, in words; None when nothing is known to.
    pub fn trouble(&self) -> Option<String> {
        if matches!(waitpid(Some(self.pid), WaitOptions::NOHANG), Ok(Some(_)) | Err(_)) {
            return Some("the guardian has ended: a crash would leave the addresses here".into());
        }
        let errno = self.page.trouble()?;
        let error = io::Error::from_raw_os_error(errno);
        Some(format!(
            "the guardian cannot open its sockets ({error}): it needs CAP_NET_ADMIN and CAP_NET_RAW"
        ))
    }

    /// Leaves everything to the next process, which has to claim by a time and to be done by another: else this is the
    /// daemon's death. Whether it is so; where there is nothing to guard, the guardian ends.
    ///
    /// # Errors
    /// When it cannot listen for the next process; then it has ended, too.
    pub fn hand_over(self, claim_by: Instant, done_by: Instant) -> io::Result<bool> {
        if !self.is_armed {
            self.dismiss();
            return Ok(false);
        }
        let is_listening = self.ask_to_listen();
        if is_listening.is_err() {
            self.dismiss();
            return is_listening.map(|()| false);
        }
        // From now on its daemon's end is no death.
        self.page.hand_over(claim_by, done_by);
        Ok(true)
    }

    fn ask_to_listen(&self) -> io::Result<()> {
        rustix::io::write(&self.alive, &[HAND_OVER])?;
        let limit = Timespec::try_from(ANSWER_LIMIT).ok();
        if poll(&mut [PollFd::new(&self.alive, PollFlags::IN)], limit.as_ref())? == 0 {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let mut answer = [0];
        match rustix::io::read(&self.alive, &mut answer)? {
            1 if answer == [1] => Ok(()),
            _ => Err(io::Error::other("it cannot listen in the run directory")),
        }
    }

    /// Disarms it, and waits until it has ended: where there is nothing to guard.
    pub fn dismiss(self) {
        self.disarm();
        let Guardian { pid, alive, .. } = self;
        drop(alive);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}

/// Forks with all signals blocked; the parent gets its own mask back. None in the child.
fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the sets are plain memory that sigfillset and sigprocmask fill before they are read, and no other
    // thread exists whose locks the child could find held.
    #[allow(unsafe_code)]
    let (pid, error) = unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let pid = libc::fork();
        let error = io::Error::last_os_error();
        if pid != 0 {
            libc::sigprocmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        }
        (pid, error)
    };
    if pid < 0 { Err(error) } else { Ok(Pid::from_raw(pid)) }
}
