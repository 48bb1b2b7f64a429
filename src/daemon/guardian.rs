//! The guardian: a process that outlives the daemon by a moment, to say good-bye and take its addresses away.
//!
//! A Master that dies without a word costs three advertisements, and keeps answering for addresses that another
//! has by then. So the router bequeaths, with every advertisement, what is to be sent and removed; it lies in memory
//! shared with the guardian, whom a pipe tells of the daemon's death. A planned end disarms it first. It is forked
//! before there are threads, because a reload may bring the first VIP; until then it locks no memory. It keeps nothing
//! of the daemon's but that memory and pipe, and hears no signal: what a service manager sends to a whole group is the
//! daemon's affair. It refuses to decide anything.

mod end;
mod page;
mod will;

use std::io;
use std::os::fd::AsRawFd;

use rustix::fd::OwnedFd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use self::page::Page;
use self::will::Will;
use crate::vrrp::exchange::Testament;

/// Its name as a process.
pub const NAME: &str = "lvsd: guardian";

/// The daemon's hold on its guardian. Dropped while armed, as by a panic, it is the daemon's death.
#[derive(Debug)]
pub struct Guardian {
    page: &'static Page,
    will: Will,
    pid: Pid,
    /// Its end is the message of the daemon's death.
    alive: OwnedFd,
}

impl Guardian {
    /// Forks it, in this thread's network namespace.
    ///
    /// # Errors
    /// When there are threads already, or the system refuses.
    pub fn spawn() -> io::Result<Guardian> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("a guardian is forked before there are threads"));
        }
        let page = Page::map()?;
        let (death, alive) = pipe_with(PipeFlags::CLOEXEC)?;
        match fork()? {
            Some(pid) => Ok(Guardian { page, will: Will::default(), pid, alive }),
            None => {
                // Whatever happens, this process never becomes a second daemon.
                let keep = death.as_raw_fd();
                let ended = std::panic::catch_unwind(|| end::await_death(page, &death, keep));
                std::process::exit(i32::from(ended.is_err()));
            }
        }
    }

    /// There is something to guard: it makes sure of what it will need.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn engage(&self) -> io::Result<()> {
        rustix::io::write(&self.alive, &[0]).map(drop).map_err(io::Error::from)
    }

    /// From now on this is what it does when the daemon dies.
    ///
    /// # Errors
    /// When it is longer than the memory they share: then what fits is done, good-byes first.
    pub fn bequeath(&mut self, testament: &Testament) -> io::Result<()> {
        let is_whole = self.page.publish(self.will.write(testament));
        if is_whole { Ok(()) } else { Err(io::Error::other("the testament is longer than its page")) }
    }

    /// From now on it does nothing, until something is bequeathed again: a planned end, a hand-over,
    /// `on_crash hold`.
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
